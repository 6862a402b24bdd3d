// exit3: exits with status 3, and does nothing else.

#include <stdio.h>

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        fprintf(stderr, "usage: exit3\n");
        return 2;
    }
    return 3;
}
