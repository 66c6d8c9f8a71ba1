/* The positions file's text.
 *
 *     splashdam-positions 1
 *     STREAM DEV INO BIRTH COPIED SEQUENCE GENERATION OFFSET CUT HEADLEN HEADHASH TAILLEN TAILHASH SHIPPED ANY
 *         DROPPED PATH
 *     …
 *     end COUNT CHECKSUM
 *
 * Numbers are decimal, hashes and GENERATION 16 hexadecimal digits, BIRTH and COPIED nanoseconds since 1970, CUT and ANY are 0 or 1; STREAM and PATH have %XX for
 * bytes up to 0x20, `%`, and from 0x7f on. CHECKSUM is XXH3-64 of all bytes before the line `end`.
 * The text is valid if and only if
 *   1. its first line is the one above (another version number: from a later splashdam);
 *   2. its last line is `end` with COUNT the number of lines between, and it ends with a newline;
 *   3. CHECKSUM agrees;
 *   4. every line between has these seventeen parts, each in its range.
 * A file that is cut, or has one bit changed, fails 1, 2 or 3. */
#ifndef SPLASHDAM_POSITIONS_TEXT_H
#define SPLASHDAM_POSITIONS_TEXT_H

#include "agent/positions.h"

struct position_list {
    struct position **items;
    size_t n;
    size_t room;
};

int position_list_add(struct position_list *list, struct position *position);
/* The last one takes its place. */
void position_list_remove(struct position_list *list, struct position *position);
void position_list_free(struct position_list *list); /* the entries, too */
void position_free(struct position *position);

/* malloc'ed, *ret_len bytes; NULL when there is no memory. */
char *positions_format(const struct position_list *list, size_t *ret_len);
/* -1 and *error when the text is not valid; the list is then empty. */
int positions_parse(struct slice text, struct position_list *list, struct error *error);

#endif
