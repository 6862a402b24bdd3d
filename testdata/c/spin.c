// spin: prints "spinning" and then loops for ever without a host call, so that only
// the engine can interrupt it.

#include <stdio.h>

// Volatile: a loop without effects may be removed.
static volatile unsigned counter;

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        fprintf(stderr, "usage: spin\n");
        return 2;
    }
    puts("spinning");
    fflush(stdout);
    for (;;) {
        counter++;
    }
}
