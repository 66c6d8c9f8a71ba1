/* A message's headers as plain bytes: one behind the other, each
 *
 *     length of the name, varint | name | length of the value, varint | value
 *
 * so that they live in a batch's memory, and may be written to a file as they are. varint: seven bits a byte, the lowest
 * first, the highest bit set in all bytes but the last (LEB128). No bytes: no headers. Names may come twice. */
#ifndef SPLASHDAM_HEADERS_H
#define SPLASHDAM_HEADERS_H

#include "plugins/plugin.h"

#define VARINT_MOST 10u /* bytes of one number */

/* Returns what is behind it. */
static inline char *varint_put(char *to, uint64_t number)
{
    while (number >= 0x80) {
        *to++ = (char)(number | 0x80);
        number >>= 7;
    }
    *to++ = (char)number;
    return to;
}

/* The most bytes of one header. */
static inline size_t headers_room(struct slice name, struct slice value)
{
    return 2 * VARINT_MOST + name.len + value.len;
}

/* Appends one; returns what is behind it. */
char *headers_put(char *to, struct slice name, struct slice value);

/* Takes the first header off *rest. 1: there was one; 0: there is none left; -1: the bytes are not valid. */
int headers_next(struct slice *rest, struct slice *ret_name, struct slice *ret_value);

#endif
