// paths DIRECTORY: uses the file system API broadly, in a work directory that it
// creates below DIRECTORY and removes at the end. It prints one line a step:
//
//     step: ok            the call succeeded, and gave what it must
//     step: ENOENT        the call failed, with this error
//     step: mismatch      the call succeeded, and gave something else
//
// Some steps must fail; which error they give is the host's choice. The exit status
// is 1 if any step went otherwise than it must.
//
// A symbolic link `outside` to /etc that is in DIRECTORY already is tried, too.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wasi/libc.h>

#include "wasi.h"

// By number: wasi-libc's errno is the one of WASI.
static const char *const errno_names[] = {
    "ok", "E2BIG", "EACCES", "EADDRINUSE", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EAGAIN", "EALREADY",
    "EBADF", "EBADMSG", "EBUSY", "ECANCELED", "ECHILD", "ECONNABORTED", "ECONNREFUSED",
    "ECONNRESET", "EDEADLK", "EDESTADDRREQ", "EDOM", "EDQUOT", "EEXIST", "EFAULT", "EFBIG",
    "EHOSTUNREACH", "EIDRM", "EILSEQ", "EINPROGRESS", "EINTR", "EINVAL", "EIO", "EISCONN", "EISDIR",
    "ELOOP", "EMFILE", "EMLINK", "EMSGSIZE", "EMULTIHOP", "ENAMETOOLONG", "ENETDOWN", "ENETRESET",
    "ENETUNREACH", "ENFILE", "ENOBUFS", "ENODEV", "ENOENT", "ENOEXEC", "ENOLCK", "ENOLINK",
    "ENOMEM", "ENOMSG", "ENOPROTOOPT", "ENOSPC", "ENOSYS", "ENOTCONN", "ENOTDIR", "ENOTEMPTY",
    "ENOTRECOVERABLE", "ENOTSOCK", "ENOTSUP", "ENOTTY", "ENXIO", "EOVERFLOW", "EOWNERDEAD", "EPERM",
    "EPIPE", "EPROTO", "EPROTONOSUPPORT", "EPROTOTYPE", "ERANGE", "EROFS", "ESPIPE", "ESRCH",
    "ESTALE", "ETIMEDOUT", "ETXTBSY", "EXDEV", "ENOTCAPABLE",
};

_Static_assert(sizeof errno_names / sizeof *errno_names == ENOTCAPABLE + 1, "a name is missing");

#define WORK "paths-work"

// However deep the preopened directory is, this is a name in the host's root: no host
// that lets it through can leave it unnoticed.
#define OUTSIDE "../../../../../../../../../../paths-escaped"

static int unexpected;

static void print_step(const char *step, int error)
{
    if (error >= 0 && error <= ENOTCAPABLE) {
        printf("%s: %s\n", step, errno_names[error]);
    } else {
        printf("%s: errno %d\n", step, error);
    }
}

// These take what a POSIX call returned: negative for a failure, with errno set.
static bool must_work(const char *step, long long result)
{
    print_step(step, result < 0 ? errno : 0);
    unexpected += result < 0;
    return result >= 0;
}

static void must_fail(const char *step, long long result)
{
    print_step(step, result < 0 ? errno : 0);
    unexpected += result >= 0;
}

static void may_fail(const char *step, long long result)
{
    print_step(step, result < 0 ? errno : 0);
}

// For calls whose outcome is a value. The call must be a statement of its own before
// this one: arguments are evaluated in any order.
static void must_be(const char *step, long long result, bool is_right)
{
    if (result >= 0 && !is_right) {
        printf("%s: mismatch\n", step);
        unexpected++;
    } else {
        must_work(step, result);
    }
}

static void creation(void)
{
    must_work("mkdir-sub", mkdir("sub", 0777));
    must_fail("mkdir-existing", mkdir("sub", 0777));
    int fd = open("file", O_RDWR | O_CREAT | O_EXCL, 0666);
    must_work("open-create", fd);
    must_work("close", close(fd));
    must_fail("open-exclusive", open("file", O_RDWR | O_CREAT | O_EXCL, 0666));
    must_fail("open-missing", open("missing", O_RDONLY));
    must_fail("open-in-missing-directory", open("missing/file", O_RDWR | O_CREAT, 0666));
    must_fail("open-file-as-directory", open("file", O_RDONLY | O_DIRECTORY));
    must_fail("open-below-file", open("file/below", O_RDONLY));
    must_fail("open-directory-for-writing", open("sub", O_WRONLY));
}

static void reading_and_writing(void)
{
    struct stat status;
    long long result;
    char bytes[16];

    int fd = open("file", O_RDWR);
    must_work("open", fd);
    result = write(fd, "0123456789", 10);
    must_be("write", result, result == 10);
    result = pwrite(fd, "ABC", 3, 4);
    must_be("pwrite", result, result == 3);
    result = pread(fd, bytes, 5, 3);
    must_be("pread", result, result == 5 && memcmp(bytes, "3ABC7", 5) == 0);
    result = __wasilibc_tell(fd);
    must_be("tell", result, result == 10);
    result = lseek(fd, 8, SEEK_SET);
    must_be("seek-set", result, result == 8);
    result = lseek(fd, -1, SEEK_CUR);
    must_be("seek-current", result, result == 7);
    result = lseek(fd, 2, SEEK_END);
    must_be("seek-end", result, result == 12);
    must_fail("seek-before-start", lseek(fd, -1, SEEK_SET));
    result = read(fd, bytes, sizeof bytes);
    must_be("read-past-end", result, result == 0);
    result = lseek(fd, 0, SEEK_SET);
    must_be("seek-start", result, result == 0);
    result = read(fd, bytes, sizeof bytes);
    must_be("read", result, result == 10 && memcmp(bytes, "0123ABC789", 10) == 0);
    result = fstat(fd, &status);
    must_be("fstat", result, status.st_size == 10 && S_ISREG(status.st_mode));
    must_work("ftruncate", ftruncate(fd, 4));
    result = fstat(fd, &status);
    must_be("fstat-truncated", result, status.st_size == 4);
    // Whether a host supports these two differs. They return their error.
    errno = posix_fallocate(fd, 0, 4);
    may_fail("fallocate", errno == 0 ? 0 : -1);
    errno = posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    may_fail("fadvise", errno == 0 ? 0 : -1);

    struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000001}};
    must_work("futimens", futimens(fd, times));
    result = fstat(fd, &status);
    must_be("fstat-times", result, status.st_mtim.tv_sec == 1000000001);
    must_work("fsync", fsync(fd));
    must_work("fdatasync", fdatasync(fd));
    must_work("fcntl-get-flags", fcntl(fd, F_GETFL));
    must_work("fcntl-set-append", fcntl(fd, F_SETFL, O_APPEND));
    must_work("close-written", close(fd));
    must_fail("read-closed", read(fd, bytes, 1));
    must_fail("close-closed", close(fd));

    fd = open("file", O_WRONLY | O_TRUNC);
    must_work("open-truncate", fd);
    result = fstat(fd, &status);
    must_be("fstat-empty", result, status.st_size == 0);
    must_fail("read-write-only", read(fd, bytes, 1));
    must_work("close-truncated", close(fd));

    for (int i = 0; i < 2; i++) {
        fd = open("file", O_WRONLY | O_APPEND);
        must_work("open-append", fd);
        result = write(fd, "line\n", 5);
        must_be("write-append", result, result == 5);
        must_work("close-appended", close(fd));
    }
    result = stat("file", &status);
    must_be("stat-appended", result, status.st_size == 10);

    fd = open("file", O_RDONLY);
    must_work("open-read-only", fd);
    must_fail("write-read-only", write(fd, "x", 1));
    int other = open("sub", O_RDONLY | O_DIRECTORY);
    must_work("open-directory", other);
    must_fail("read-directory", read(other, bytes, 1));
    // Renumbering closes `other` and gives its number to the file.
    must_work("renumber", __wasilibc_fd_renumber(fd, other));
    must_fail("read-renumbered", read(fd, bytes, 1));
    result = read(other, bytes, 5);
    must_be("read-new-number", result, result == 5);
    must_work("close-renumbered", close(other));
}

static void names(void)
{
    struct stat status;
    long long result;
    char target[16];

    must_work("access", access("file", R_OK));
    must_fail("access-missing", access("missing", F_OK));
    must_fail("stat-missing", stat("missing", &status));
    struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 2}};
    must_work("utimensat", utimensat(AT_FDCWD, "file", times, 0));
    result = stat("file", &status);
    must_be("stat-times", result, status.st_mtim.tv_sec == 2);

    must_work("link", link("file", "hard"));
    result = stat("file", &status);
    must_be("stat-links", result, status.st_nlink == 2);
    must_fail("link-existing", link("file", "hard"));
    must_fail("link-missing", link("missing", "other"));

    must_work("symlink", symlink("file", "soft"));
    must_fail("symlink-existing", symlink("file", "soft"));
    result = readlink("soft", target, sizeof target);
    must_be("readlink", result, result == 4 && memcmp(target, "file", 4) == 0);
    must_fail("readlink-file", readlink("file", target, sizeof target));
    result = stat("soft", &status);
    must_be("stat-symlink", result, S_ISREG(status.st_mode));
    result = lstat("soft", &status);
    must_be("lstat-symlink", result, S_ISLNK(status.st_mode));
    int fd = open("soft", O_RDONLY);
    must_work("open-symlink", fd);
    must_work("close-symlink", close(fd));
    must_fail("open-symlink-nofollow", open("soft", O_RDONLY | O_NOFOLLOW));
    must_work("symlink-dangling", symlink("nothing", "dangling"));
    must_fail("open-dangling", open("dangling", O_RDONLY));
    must_work("symlink-loop", symlink("loop", "loop"));
    must_fail("open-loop", open("loop", O_RDONLY));

    must_work("rename", rename("file", "sub/moved"));
    must_fail("stat-renamed", stat("file", &status));
    must_fail("rename-missing", rename("missing", "other"));
    must_fail("rename-over-directory", rename("hard", "sub"));
    must_work("rename-over-file", rename("hard", "soft"));
}

static int by_name(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

// What `names` leaves behind, sorted: hosts list in any order.
static const char *const expected_names[] = {"dangling", "loop", "soft", "sub"};

enum { EXPECTED = sizeof expected_names / sizeof *expected_names };

static void listing(void)
{
    int fd = open(".", O_RDONLY | O_DIRECTORY);
    DIR *directory = fdopendir(fd);
    if (!must_work("opendir", directory == NULL ? -1 : 0)) {
        return;
    }
    char *found[EXPECTED + 1] = {0};
    int count = 0;
    struct dirent *entry;
    errno = 0;
    while ((entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && count <= EXPECTED) {
            found[count++] = strdup(entry->d_name);
        }
    }
    bool is_right = count == EXPECTED;
    qsort(found, (size_t)count, sizeof *found, by_name);
    for (int i = 0; is_right && i < EXPECTED; i++) {
        is_right = strcmp(found[i], expected_names[i]) == 0;
    }
    must_be("readdir", errno == 0 ? 0 : -1, is_right);
    must_work("closedir", closedir(directory));
    must_fail("opendir-file", open("soft", O_RDONLY | O_DIRECTORY));
}

// Paths relative to a descriptor. A host may give such a descriptor fewer rights than
// a preopened directory has, so only reading is tried.
static void relative_to_descriptor(void)
{
    struct stat status;
    long long result;
    char bytes[16];

    int directory = open("sub", O_RDONLY | O_DIRECTORY);
    must_work("open-sub", directory);
    int fd = openat(directory, "moved", O_RDONLY);
    must_work("openat", fd);
    result = read(fd, bytes, 5);
    must_be("read-openat", result, result == 5 && memcmp(bytes, "line\n", 5) == 0);
    must_work("close-openat", close(fd));
    result = fstatat(directory, "moved", &status, 0);
    must_be("fstatat", result, status.st_size == 10);
    must_fail("openat-missing", openat(directory, "missing", O_RDONLY));
    // A descriptor's own directory is as far up as it reaches, though the preopened
    // one is above.
    must_fail("openat-parent", openat(directory, "../soft", O_RDONLY));
    must_work("close-sub", close(directory));
}

// path_open by hand: libc would refuse an absolute path that is in no preopened
// directory itself, and the host is what is to be tested.
static int raw_open(int directory, const char *path)
{
    int32_t fd;
    wasi_errno error =
        wasi_path_open(directory, WASI_LOOKUP_SYMLINK_FOLLOW, path, strlen(path), 0, WASI_RIGHT_FD_READ, 0, 0, &fd);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return fd;
}

// `root` is the directory of the argument, one above the current one.
static void escapes(int root)
{
    must_fail("escape-parent", raw_open(root, "../../etc/passwd"));
    must_fail("escape-far-up", raw_open(root, "../../../../../../../../../../etc/passwd"));
    must_fail("escape-down-and-up", raw_open(root, WORK "/../../../../etc/passwd"));
    must_fail("escape-absolute", raw_open(root, "/etc/passwd"));
    must_fail("escape-dot-dot", raw_open(root, ".."));
    // A host may refuse to create such a link. If it does not, it must not follow it.
    may_fail("symlink-to-etc", symlink("/etc", "etc"));
    must_fail("escape-symlink", raw_open(root, WORK "/etc/passwd"));
    may_fail("symlink-to-up", symlink("../../../../../../../../../../etc", "up"));
    must_fail("escape-relative-symlink", raw_open(root, WORK "/up/passwd"));
    // A host cannot refuse to create what it did not: the caller may put such a link
    // here before. Without it this is one more missing file.
    must_fail("escape-outside-symlink", raw_open(root, "outside/passwd"));
    must_fail("escape-mkdir", mkdir(OUTSIDE, 0777));
    must_fail("escape-rename", rename("soft", OUTSIDE));
    must_fail("escape-link", link("soft", OUTSIDE));
    must_fail("escape-symlink-place", symlink("soft", OUTSIDE));
    must_fail("escape-unlink", unlink(OUTSIDE));
    unlink("etc");
    unlink("up");
}

static void removal(void)
{
    must_fail("unlink-missing", unlink("missing"));
    must_fail("unlink-directory", unlink("sub"));
    must_fail("rmdir-missing", rmdir("missing"));
    must_fail("rmdir-file", rmdir("soft"));
    must_fail("rmdir-not-empty", rmdir("sub"));
    must_work("unlink", unlink("sub/moved"));
    must_work("rmdir", rmdir("sub"));
    must_work("unlink-file", unlink("soft"));
    must_work("unlink-dangling", unlink("dangling"));
    must_work("unlink-loop", unlink("loop"));
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: paths DIRECTORY\n");
        return 2;
    }
    int root = open(argv[1], O_RDONLY | O_DIRECTORY);
    if (root < 0 || chdir(argv[1]) != 0) {
        fprintf(stderr, "paths: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    // Nothing that was there before is touched, so a directory left behind by a run
    // that was killed is for the caller to remove.
    if (!must_work("mkdir", mkdir(WORK, 0777))) {
        fflush(stdout);
        fprintf(stderr, "paths: %s/%s: %s\n", argv[1], WORK, strerror(errno));
        return 1;
    }
    must_work("chdir", chdir(WORK));

    creation();
    reading_and_writing();
    names();
    relative_to_descriptor();
    listing();
    escapes(root);
    removal();
    must_work("chdir-back", chdir(".."));
    must_work("rmdir-work", rmdir(WORK));
    must_work("close-root", close(root));

    fflush(stdout);
    if (unexpected > 0) {
        fprintf(stderr, "paths: %d steps went otherwise than they must\n", unexpected);
        return 1;
    }
    return 0;
}
