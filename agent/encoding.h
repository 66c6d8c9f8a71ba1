/* Text of a file in another encoding than UTF-8, by iconv(3). An object is one thread's. */
#ifndef SPLASHDAM_ENCODING_H
#define SPLASHDAM_ENCODING_H

#include "agent/lines.h"

struct encoding;

/* NULL and *error: iconv doesn't know the name, or its lines can't be told apart without decoding them (UTF-7, ISO-2022 …:
 * bytes of other characters look like line ends). `name` is iconv's, in any case; utf-16 and utf-32 are little-endian, as a file
 * of that name is that has no byte order mark (encoding_by_mark() tells). */
struct encoding *encoding_new(const char *name, struct error *error);
void encoding_free(struct encoding **encoding);

/* Is it UTF-8 itself? Then nothing has to be decoded. */
bool encoding_is_utf8(const char *name);

/* Was the name utf-16 or utf-32, without a byte order: the file's first bytes say it? */
bool encoding_by_mark(const char *name);
/* utf-16be for the utf-16 of a file that begins with FE FF, and so on; the little-endian one when there is no mark. */
const char *encoding_marked(const char *name, struct slice first);

/* The line end `text` (UTF-8) in this encoding; where `with_cr`, a \r before it belongs to it. -1 and *error: it can't be
 * written in it, or is too long. encoding NULL: UTF-8. */
int encoding_line_end(struct encoding *encoding, struct slice text, bool with_cr,
                      struct line_end *ret_end, struct error *error);

/* The text as UTF-8, in the arena; what is ill-formed is U+FFFD, one for each run of bytes, added to *replaced. -1: the arena has no room. */
int encoding_decode(struct encoding *encoding, struct slice text, struct arena *arena,
                    struct slice *ret_text, uint64_t *replaced);

#endif
