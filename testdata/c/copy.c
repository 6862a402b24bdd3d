// copy SOURCE DESTINATION [SIZE]: copies a file in pieces of SIZE bytes (default
// 4096), one read and one write a piece.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "number.h"

static int fail(const char *what)
{
    fprintf(stderr, "copy: %s: %s\n", what, strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    uint64_t piece = 4096;
    if (argc < 3 || argc > 4 || (argc == 4 && !parse_number(argv[3], &piece)) || piece == 0 || piece > INT32_MAX) {
        fprintf(stderr, "usage: copy SOURCE DESTINATION [SIZE]\n");
        return 2;
    }
    char *buffer = malloc((size_t)piece);
    if (buffer == NULL) {
        return fail("buffer");
    }
    int source = open(argv[1], O_RDONLY);
    if (source < 0) {
        return fail(argv[1]);
    }
    int destination = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (destination < 0) {
        return fail(argv[2]);
    }
    for (;;) {
        ssize_t size = read(source, buffer, (size_t)piece);
        if (size < 0) {
            return fail(argv[1]);
        }
        if (size == 0) {
            break;
        }
        for (ssize_t done = 0; done < size;) {
            ssize_t written = write(destination, buffer + done, (size_t)(size - done));
            if (written < 0) {
                return fail(argv[2]);
            }
            done += written;
        }
    }
    // Some file systems report a failed write only here.
    return close(destination) == 0 ? 0 : fail(argv[2]);
}
