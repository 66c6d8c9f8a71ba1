/* JSON: the scanner's interface is in plugin.h; here is the writing. */
#ifndef SPLASHDAM_JSON_H
#define SPLASHDAM_JSON_H

#include "plugins/plugin.h"

/* The most bytes that json_write_string() touches for a text of that length, quotes included. */
#define JSON_STRING_ROOM(len) (6 * (len) + 2)
/* The same for json_write_raw(). */
#define JSON_RAW_ROOM(len) (3 * (len))

/* Writes the text as a JSON string, quotes included; returns one past the last byte written. What
 * is not UTF-8 (RFC 3629) becomes U+FFFD, one for each maximal ill-formed part (Unicode, 3.9, U+FFFD
 * substitution), and is counted in *replaced (added to). */
char *json_write_string(char *to, struct slice text, uint64_t *replaced);

/* A closer bound than JSON_STRING_ROOM() for this very text, of which it looks at every byte. No
 * less than what json_write_raw() needs for it, too. */
size_t json_string_most(struct slice text);

/* Writes JSON as it stands, but for bytes in its strings that are not UTF-8: those are
 * replaced and counted in the same way. */
char *json_write_raw(char *to, struct slice json, uint64_t *replaced);

#endif
