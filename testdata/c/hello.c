// hello [NAME...]: greets the world, or each name on a line of its own.

#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc < 2) {
        puts("hello, world");
    }
    for (int i = 1; i < argc; i++) {
        printf("hello, %s\n", argv[i]);
    }
    // A full disk or a closed pipe only shows when the buffer is flushed.
    return fflush(stdout) == 0 ? 0 : 1;
}
