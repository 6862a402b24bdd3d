// witness [COUNT]: writes the decimal lines 0 to COUNT-1 (default 1000) to standard
// output with one fd_write each. Whoever sees line N knows that the calls of lines 0
// to N were made, so a log that was cut off can be held against the output.

#include <stdio.h>
#include <unistd.h>

#include "number.h"
#include "wasi.h"

int main(int argc, char **argv)
{
    uint64_t count = 1000;
    if (argc > 2 || (argc == 2 && !parse_number(argv[1], &count))) {
        fprintf(stderr, "usage: witness [COUNT]\n");
        return 2;
    }
    for (uint64_t number = 0; number < count; number++) {
        char line[32];
        int size = snprintf(line, sizeof line, "%llu\n", (unsigned long long)number);
        wasi_ciovec vector = {line, (size_t)size};
        size_t written = 0;
        wasi_errno error = wasi_fd_write(STDOUT_FILENO, &vector, 1, &written);
        // A second call for the rest of a line would break the numbering.
        if (error != 0 || written != vector.size) {
            fprintf(stderr, "witness: line %llu: errno %d, %zu of %zu bytes\n", (unsigned long long)number, error,
                    written, vector.size);
            return 1;
        }
    }
    return 0;
}
