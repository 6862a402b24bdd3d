// cat [FILE...]: copies files, or standard input when there are none, to standard
// output. A file that fails is reported, and the others are still copied.

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char buffer[64 * 1024];

static void write_all(const char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(STDOUT_FILENO, data, size);
        if (written < 0) {
            // Nothing that follows could be written either.
            fprintf(stderr, "cat: standard output: %s\n", strerror(errno));
            exit(1);
        }
        data += written;
        size -= (size_t)written;
    }
}

static bool copy(int fd, const char *name)
{
    for (;;) {
        ssize_t size = read(fd, buffer, sizeof buffer);
        if (size < 0) {
            fprintf(stderr, "cat: %s: %s\n", name, strerror(errno));
            return false;
        }
        if (size == 0) {
            return true;
        }
        write_all(buffer, (size_t)size);
    }
}

static bool copy_file(const char *path)
{
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        fprintf(stderr, "cat: %s: %s\n", path, strerror(errno));
        return false;
    }
    bool copied = copy(fd, path);
    close(fd);
    return copied;
}

int main(int argc, char **argv)
{
    // No option is known, so that one given by habit is not taken for a file.
    if (argc > 1 && argv[1][0] == '-' && argv[1][1] != '\0') {
        fprintf(stderr, "usage: cat [FILE...]\n");
        return 2;
    }
    bool all_copied = true;
    if (argc < 2) {
        all_copied = copy(STDIN_FILENO, "standard input");
    }
    for (int i = 1; i < argc; i++) {
        bool is_stdin = strcmp(argv[i], "-") == 0;
        bool copied = is_stdin ? copy(STDIN_FILENO, "standard input") : copy_file(argv[i]);
        all_copied = all_copied && copied;
    }
    return all_copied ? 0 : 1;
}
