// grow [abort]: allocates and touches memory until there is no more, then prints how
// many MiB it got and exits with 1, or traps when "abort" was given. It is for runs
// under a memory limit: without one it takes all of the 4 GiB that wasm32 can have.

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MIB = 1024 * 1024, PAGE = 4096 };

int main(int argc, char **argv)
{
    bool abort_at_end = argc == 2 && strcmp(argv[1], "abort") == 0;
    if (argc > 1 && !abort_at_end) {
        fprintf(stderr, "usage: grow [abort]\n");
        return 2;
    }
    // The first use of stdout must not need memory when there is none left.
    puts("growing");
    fflush(stdout);
    unsigned blocks = 0;
    // The blocks are leaked on purpose. The compiler may drop a malloc that nothing
    // can observe, hence volatile; the host may hand out pages that nobody touches
    // for free, hence the loop.
    volatile char *block;
    while ((block = malloc(MIB)) != NULL) {
        for (int i = 0; i < MIB; i += PAGE) {
            block[i] = 1;
        }
        blocks++;
    }
    if (abort_at_end) {
        __builtin_trap();
    }
    printf("got %u MiB\n", blocks);
    return 1;
}
