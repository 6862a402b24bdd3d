// tree [DIRECTORY]: prints every entry below a directory (default: ".") with its
// size, in byte order of the names, and a last line with the totals.
//
// Directories are shown without a size, because theirs depends on the host's file
// system and the output should not.

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static unsigned long long directories, files, bytes;
static bool all_read = true;

static void complain(const char *path)
{
    fprintf(stderr, "tree: %s: %s\n", path, strerror(errno));
    all_read = false;
}

static int by_name(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

// The names in a directory, sorted: the order in which a host lists them differs.
static char **list(const char *path, size_t *count)
{
    *count = 0;
    DIR *directory = opendir(path);
    if (directory == NULL) {
        complain(path);
        return NULL;
    }
    char **names = NULL;
    size_t capacity = 0;
    struct dirent *entry;
    while (errno = 0, (entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (*count == capacity) {
            capacity = capacity == 0 ? 16 : capacity * 2;
            names = realloc(names, capacity * sizeof *names);
        }
        char *name = strdup(entry->d_name);
        if (names == NULL || name == NULL) {
            fprintf(stderr, "tree: out of memory\n");
            exit(1);
        }
        names[(*count)++] = name;
    }
    if (errno != 0) {
        complain(path);
    }
    closedir(directory);
    qsort(names, *count, sizeof *names, by_name);
    return names;
}

static void walk(const char *path)
{
    size_t count;
    char **names = list(path, &count);
    for (size_t i = 0; i < count; i++) {
        char child[PATH_MAX];
        int length = snprintf(child, sizeof child, "%s/%s", path, names[i]);
        struct stat status;
        if (length >= (int)sizeof child) {
            errno = ENAMETOOLONG;
            complain(path);
        } else if (lstat(child, &status) != 0) {
            complain(child);
        } else if (S_ISDIR(status.st_mode)) {
            directories++;
            printf("%12s %s/\n", "-", child);
            walk(child);
        } else {
            // Symbolic links count as files and are not followed: they may form
            // a cycle.
            files++;
            bytes += (unsigned long long)status.st_size;
            printf("%12lld %s\n", (long long)status.st_size, child);
        }
        free(names[i]);
    }
    free(names);
}

int main(int argc, char **argv)
{
    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
        fprintf(stderr, "usage: tree [DIRECTORY]\n");
        return 2;
    }
    walk(argc == 2 ? argv[1] : ".");
    printf("%llu directories, %llu files, %llu bytes\n", directories, files, bytes);
    return fflush(stdout) == 0 && all_read ? 0 : 1;
}
