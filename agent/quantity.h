/* Numbers, sizes and times as people write them, with their units. */
#ifndef SPLASHDAM_QUANTITY_H
#define SPLASHDAM_QUANTITY_H

#include "plugins/plugin.h"

#define QUANTITY_ROOM 32u

/* Each: 0, or -1 when the text is not one or is too large; *ret_value is then as it was. */
int quantity_integer(const char *text, int64_t *ret_value); /* decimal, a `-` before it allowed */
int quantity_size(const char *text, int64_t *ret_bytes); /* 512 512B 64KiB 1MB 1GiB; up to 2^63-1 */
int quantity_time(const char *text, int64_t *ret_ms);    /* 200ms 5s 2m 1h 1d */

/* Back to the shortest exact text. */
void quantity_size_text(char buffer[QUANTITY_ROOM], int64_t bytes);
void quantity_time_text(char buffer[QUANTITY_ROOM], int64_t ms);

#endif
