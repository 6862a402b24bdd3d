// Numbers given as arguments.

#ifndef NUMBER_H
#define NUMBER_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

// Parses a decimal number that is the whole of `text`. strtoull alone would take
// "-1" for a very large number.
static inline bool parse_number(const char *text, uint64_t *number)
{
    if (*text < '0' || *text > '9') {
        return false;
    }
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

#endif
