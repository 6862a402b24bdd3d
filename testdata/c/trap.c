// trap: prints a line, then calls outer, middle and inner, which executes an
// unreachable instruction. A backtrace must show the three names.

#include <stdio.h>

// Volatile, and read after the calls, so that the compiler cannot see that inner
// never returns: it would otherwise merge the three into one.
static volatile int depth;

__attribute__((noinline)) static void inner(void)
{
    if (depth == 2) {
        __builtin_trap();
    }
}

__attribute__((noinline)) static void middle(void)
{
    depth++;
    inner();
    depth--;
}

__attribute__((noinline)) static void outer(void)
{
    depth++;
    middle();
    depth--;
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        fprintf(stderr, "usage: trap\n");
        return 2;
    }
    puts("about to trap");
    // A trap flushes nothing.
    fflush(stdout);
    outer();
    return 0;
}
