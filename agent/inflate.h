/* A compressed log (gzip, Zstandard), decompressed step by step into an unlinked file in which offsets are those of the text: the
 * first INFLATE_HEAD bytes and everything from a given offset on are written, what lies between is a hole. */
#ifndef SPLASHDAM_INFLATE_H
#define SPLASHDAM_INFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INFLATE_HEAD \
    65536u /* for the fingerprint, and what a file's beginning tells of its lines */

struct inflate;

enum inflate_result {
    INFLATE_MORE,    /* there is more to do */
    INFLATE_END,     /* that was all */
    INFLATE_CUT,     /* the compressed file ends too early */
    INFLATE_CORRUPT, /* from here on it can't be decompressed */
    INFLATE_FAILED,  /* errno: reading or writing failed; the same step may be tried again */
};

/* By its name: can it be decompressed here? */
bool inflate_knows(const char *path);
/* Both descriptors stay the caller's. Text before `keep` is not written but for the first INFLATE_HEAD bytes. NULL: no memory. */
struct inflate *inflate_open(const char *path, int in, int out, uint64_t keep);
/* The text's first bytes, at most so many. Returns how many there are, or could be decompressed. */
size_t inflate_begin(const char *path, int in, char *ret_text, size_t most);
/* Decompresses some more, about `most` bytes of text. */
enum inflate_result inflate_step(struct inflate *job, size_t most);
/* How much text there was so far. */
uint64_t inflate_size(const struct inflate *job);
void inflate_close(struct inflate **job);

#endif
