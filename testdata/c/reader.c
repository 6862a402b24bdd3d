// reader FILE [SIZE]: reads a file to its end in pieces of SIZE bytes (default 64),
// one fd_read with one vector each, and prints the number of bytes and a checksum.
//
// The checksum is two running sums, as Fletcher's but modulo 2^32:
//     first = first + byte; second = second + first
// It notices swapped bytes, and costs little beside the calls that are measured.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "number.h"

static int fail(const char *what)
{
    fprintf(stderr, "reader: %s: %s\n", what, strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    uint64_t piece = 64;
    if (argc < 2 || argc > 3 || (argc == 3 && !parse_number(argv[2], &piece)) || piece == 0 || piece > INT32_MAX) {
        fprintf(stderr, "usage: reader FILE [SIZE]\n");
        return 2;
    }
    unsigned char *buffer = malloc((size_t)piece);
    if (buffer == NULL) {
        return fail("buffer");
    }
    int fd = open(argv[1], O_RDONLY);
    if (fd < 0) {
        return fail(argv[1]);
    }
    unsigned long long total = 0;
    uint32_t first = 0, second = 0;
    for (;;) {
        ssize_t size = read(fd, buffer, (size_t)piece);
        if (size < 0) {
            return fail(argv[1]);
        }
        if (size == 0) {
            break;
        }
        total += (unsigned long long)size;
        for (ssize_t i = 0; i < size; i++) {
            first += buffer[i];
            second += first;
        }
    }
    printf("%llu bytes, checksum %08x%08x\n", total, (unsigned)second, (unsigned)first);
    return fflush(stdout) == 0 ? 0 : 1;
}
