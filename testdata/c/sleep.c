// sleep [SECONDS]: prints "sleeping", then waits in one poll_oneoff, or for ever in
// one after another.

#include <stdio.h>
#include <unistd.h>

#include "number.h"

int main(int argc, char **argv)
{
    uint64_t seconds = 0;
    if (argc > 2 || (argc == 2 && (!parse_number(argv[1], &seconds) || seconds > INT32_MAX))) {
        fprintf(stderr, "usage: sleep [SECONDS]\n");
        return 2;
    }
    puts("sleeping");
    fflush(stdout);
    if (argc == 2) {
        sleep((unsigned)seconds);
        return 0;
    }
    for (;;) {
        sleep(24 * 60 * 60);
    }
}
