// steady: keeps on making calls of one kind for as long as it is told, to measure what a
// recorder sustains once its buffers are full.
//
//     steady write PAYLOAD SIZE SECONDS FILE   writes pieces of SIZE bytes of PAYLOAD in turn, and
//                                              reads the clock after each
//     steady work FILE ROUNDS ITERATIONS       writes 64 bytes to FILE and reads them back, ROUNDS
//                                              times, with work of so many iterations before each
//                                              call
//     steady spin ITERATIONS                   does the work alone
//
// FILE stays as small as PAYLOAD (as 4096 bytes): each piece is written where the last one of its
// place was. PAYLOAD, at most 256 MiB, is in memory before the clock starts.
//
// One line on standard output says how many rounds there were, how many nanoseconds they took, and
// of `write` how long the rounds were at the 50th, 99th and 99.9th percentile and at most, in
// nanoseconds: a round is one write and one reading of the clock, with whatever made the guest
// wait in between. Percentiles are at most 7% too large, which is the width of a bucket.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "number.h"
#include "wasi.h"

enum { SMALL = 64, PLACES = 64 };

static int fail(const char *what)
{
    fprintf(stderr, "steady: %s: %s\n", what, strerror(errno));
    return 1;
}

static uint64_t now(void)
{
    uint64_t time = 0;
    wasi_clock_time_get(WASI_CLOCK_MONOTONIC, 1, &time);
    return time;
}

// How many rounds took so long: 16 buckets for each power of two.
static uint64_t buckets[64 * 16];

static size_t bucket_of(uint64_t ns)
{
    if (ns < 16) {
        return (size_t)ns;
    }
    int power = 63 - __builtin_clzll(ns);
    return (size_t)(power - 3) * 16 + (size_t)(ns >> (power - 4) & 15);
}

// The largest time that falls into the bucket.
static uint64_t end_of(size_t bucket)
{
    if (bucket < 16) {
        return bucket;
    }
    int power = (int)(bucket / 16) + 3;
    return ((16 + bucket % 16 + 1) << (power - 4)) - 1;
}

static uint64_t percentile(uint64_t rounds, double part)
{
    uint64_t left = (uint64_t)((double)rounds * part);
    for (size_t bucket = 0; bucket < sizeof buckets / sizeof *buckets; bucket++) {
        if (buckets[bucket] > left) {
            return end_of(bucket);
        }
        left -= buckets[bucket];
    }
    return 0;
}

static int write_for(const char *payload_path, size_t size, uint64_t seconds, const char *path)
{
    int payload_file = open(payload_path, O_RDONLY);
    off_t length = payload_file < 0 ? -1 : lseek(payload_file, 0, SEEK_END);
    if (length < 0 || lseek(payload_file, 0, SEEK_SET) != 0) {
        return fail(payload_path);
    }
    size_t total = (size_t)length / size * size;
    char *payload = total == 0 || length > 256 << 20 ? NULL : malloc(total);
    if (payload == NULL) {
        errno = EINVAL;
        return fail(payload_path);
    }
    for (size_t done = 0; done < total;) {
        ssize_t got = read(payload_file, payload + done, total - done);
        if (got <= 0) {
            return fail(payload_path);
        }
        done += (size_t)got;
    }
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (file < 0) {
        return fail(path);
    }
    uint64_t rounds = 0, longest = 0;
    uint64_t begin = now(), last = begin, end = begin + seconds * 1000000000;
    for (size_t at = 0; last < end; at = (at + size) % total) {
        // A piece that is written in part would not be the call that is measured.
        if (pwrite(file, payload + at, size, (off_t)at) != (ssize_t)size) {
            return fail(path);
        }
        uint64_t time = now();
        uint64_t took = time - last;
        last = time;
        buckets[bucket_of(took)]++;
        longest = took > longest ? took : longest;
        rounds++;
    }
    printf("rounds=%llu ns=%llu p50=%llu p99=%llu p999=%llu max=%llu\n", (unsigned long long)rounds,
           (unsigned long long)(last - begin), (unsigned long long)percentile(rounds, 0.5),
           (unsigned long long)percentile(rounds, 0.99), (unsigned long long)percentile(rounds, 0.999),
           (unsigned long long)longest);
    return 0;
}

// Each iteration needs the one before, so a compiler cannot make it shorter.
static volatile uint32_t result;

static void work(uint64_t iterations)
{
    uint32_t x = result;
    for (uint64_t i = 0; i < iterations; i++) {
        x = x * 1664525 + 1013904223 + (x >> 16);
    }
    result = x;
}

static int work_between(const char *path, uint64_t rounds, uint64_t iterations)
{
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
    if (file < 0) {
        return fail(path);
    }
    char piece[SMALL];
    memset(piece, 'x', sizeof piece);
    uint64_t begin = now();
    for (uint64_t round = 0; round < rounds; round++) {
        off_t place = (off_t)(round % PLACES * SMALL);
        memcpy(piece, &round, sizeof round);
        work(iterations);
        if (pwrite(file, piece, sizeof piece, place) != SMALL) {
            return fail(path);
        }
        work(iterations);
        if (pread(file, piece, sizeof piece, place) != SMALL) {
            return fail(path);
        }
    }
    printf("rounds=%llu ns=%llu\n", (unsigned long long)rounds, (unsigned long long)(now() - begin));
    return 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: steady write PAYLOAD SIZE SECONDS FILE\n"
                    "       steady work FILE ROUNDS ITERATIONS\n"
                    "       steady spin ITERATIONS\n");
    return 2;
}

int main(int argc, char **argv)
{
    uint64_t first, second;
    if (argc == 6 && strcmp(argv[1], "write") == 0) {
        if (!parse_number(argv[3], &first) || !parse_number(argv[4], &second) || first == 0 ||
            first > 1 << 24 || second > 86400) {
            return usage();
        }
        return write_for(argv[2], (size_t)first, second, argv[5]);
    }
    if (argc == 5 && strcmp(argv[1], "work") == 0) {
        if (!parse_number(argv[3], &first) || !parse_number(argv[4], &second)) {
            return usage();
        }
        return work_between(argv[2], first, second);
    }
    if (argc == 3 && strcmp(argv[1], "spin") == 0 && parse_number(argv[2], &first)) {
        uint64_t begin = now();
        work(first);
        printf("rounds=%llu ns=%llu\n", (unsigned long long)first, (unsigned long long)(now() - begin));
        return 0;
    }
    return usage();
}
