// The host calls that some guests make directly instead of through libc, so that
// which calls they make, and how many, is written in their source and does not
// depend on what a version of libc does behind open() or write().

#ifndef WASI_H
#define WASI_H

#include <stddef.h>
#include <stdint.h>

#define WASI_IMPORT(name) \
    __attribute__((import_module("wasi_snapshot_preview1"), import_name(name)))

// An errno of WASI; 0 is success. wasi-libc's errno has the same numbers.
typedef uint16_t wasi_errno;

typedef struct {
    const void *data;
    size_t size;
} wasi_ciovec;

enum { WASI_CLOCK_MONOTONIC = 1 };
enum { WASI_LOOKUP_SYMLINK_FOLLOW = 1 };
enum { WASI_RIGHT_FD_READ = 1 << 1 };

WASI_IMPORT("clock_time_get")
wasi_errno wasi_clock_time_get(int32_t clock, uint64_t precision, uint64_t *time);

WASI_IMPORT("random_get")
wasi_errno wasi_random_get(void *buffer, size_t size);

WASI_IMPORT("fd_write")
wasi_errno wasi_fd_write(int32_t fd, const wasi_ciovec *vectors, size_t count, size_t *written);

WASI_IMPORT("path_open")
wasi_errno wasi_path_open(int32_t directory, uint32_t lookup_flags, const char *path, size_t path_size,
                          uint16_t open_flags, uint64_t rights, uint64_t inherited_rights, uint16_t fd_flags,
                          int32_t *fd);

#endif
