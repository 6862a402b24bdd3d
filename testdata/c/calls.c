// calls KIND [COUNT [FILE]]: makes COUNT host calls (default 1000000) of one kind, to
// measure what a call costs. The kinds:
//
//     clock      clock_time_get of the monotonic clock
//     write64    fd_write of 64 bytes in one vector
//     write4k    fd_write of 4096 bytes in one vector
//     random     random_get of 16 bytes
//     mixed      clock, write64 and random in turn
//
// Writes go to FILE, which is created or truncated, or else to standard output. The
// host calls of a run are exactly these, in this order:
//
//     fd_prestat_get, fd_prestat_dir_name for each preopened directory, and one
//     fd_prestat_get more that fails, which is how libc finds the end; then
//     args_sizes_get, args_get
//     with FILE: fd_fdstat_get of the directory it is in, path_open
//     COUNT calls as named above
//     fd_write of the summary, one line, to standard error
//
// The summary counts the COUNT calls only, without itself and libc's.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "number.h"
#include "wasi.h"

enum kind { CLOCK, WRITE64, WRITE4K, RANDOM, MIXED };

static const char *const kind_names[] = {"clock", "write64", "write4k", "random", "mixed"};

enum { SMALL_WRITE = 64, LARGE_WRITE = 4096, RANDOM_BYTES = 16 };

static unsigned long long clock_calls, write_calls, random_calls, bytes_written;

// What is written: text, and a different piece of it each time, because a payload
// that is always the same would flatter a recorder that compresses.
static char text[64 * 1024];

static void fill_text(void)
{
    uint32_t seed = 1;
    for (size_t i = 0; i < sizeof text; i++) {
        seed = seed * 1664525 + 1013904223;
        text[i] = i % 64 == 63 ? '\n' : (char)('a' + (seed >> 24) % 26);
    }
}

static wasi_errno call_clock(void)
{
    uint64_t time;
    clock_calls++;
    return wasi_clock_time_get(WASI_CLOCK_MONOTONIC, 1, &time);
}

static wasi_errno call_random(void)
{
    uint8_t bytes[RANDOM_BYTES];
    random_calls++;
    return wasi_random_get(bytes, sizeof bytes);
}

static wasi_errno call_write(int fd, uint64_t number, size_t size)
{
    wasi_ciovec vector = {text + number * 64 % (sizeof text - LARGE_WRITE), size};
    size_t written = 0;
    write_calls++;
    wasi_errno error = wasi_fd_write(fd, &vector, 1, &written);
    // A short write is not completed: that would be a call more.
    bytes_written += written;
    return error;
}

static wasi_errno call(enum kind kind, int fd, uint64_t number)
{
    switch (kind) {
    case CLOCK:
        return call_clock();
    case WRITE64:
        return call_write(fd, number, SMALL_WRITE);
    case WRITE4K:
        return call_write(fd, number, LARGE_WRITE);
    case RANDOM:
        return call_random();
    case MIXED:
        switch (number % 3) {
        case 0:
            return call_clock();
        case 1:
            return call_write(fd, number, SMALL_WRITE);
        default:
            return call_random();
        }
    }
    __builtin_unreachable();
}

static int find_kind(const char *name)
{
    for (int kind = 0; kind < (int)(sizeof kind_names / sizeof *kind_names); kind++) {
        if (strcmp(name, kind_names[kind]) == 0) {
            return kind;
        }
    }
    return -1;
}

int main(int argc, char **argv)
{
    uint64_t count = 1000000;
    int kind = argc > 1 ? find_kind(argv[1]) : -1;
    if (kind < 0 || argc > 4 || (argc > 2 && !parse_number(argv[2], &count))) {
        fprintf(stderr, "usage: calls clock|write64|write4k|random|mixed [COUNT [FILE]]\n");
        return 2;
    }
    int fd = STDOUT_FILENO;
    if (argc > 3) {
        fd = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC, 0666);
        if (fd < 0) {
            fprintf(stderr, "calls: %s: %s\n", argv[3], strerror(errno));
            return 1;
        }
    }
    fill_text();
    for (uint64_t number = 0; number < count; number++) {
        wasi_errno error = call((enum kind)kind, fd, number);
        if (error != 0) {
            fprintf(stderr, "calls: call %llu: %s\n", (unsigned long long)number, strerror(error));
            return 1;
        }
    }
    char summary[160];
    int size = snprintf(summary, sizeof summary,
                        "clock_time_get=%llu fd_write=%llu random_get=%llu bytes_written=%llu\n",
                        clock_calls, write_calls, random_calls, bytes_written);
    wasi_ciovec vector = {summary, (size_t)size};
    size_t written;
    return wasi_fd_write(STDERR_FILENO, &vector, 1, &written) == 0 ? 0 : 1;
}
