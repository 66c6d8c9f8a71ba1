/* What open files hold, compared: tells a copy of a log from another file. */
#ifndef SPLASHDAM_CONTENT_H
#define SPLASHDAM_CONTENT_H

#include "agent/lines.h"

/* The mark of a position at `offset`, from what the file holds. -1: it can't be read so far. */
int content_mark(int fd, uint64_t offset, struct mark *ret_mark);
/* Where the line begins in which the byte before `offset` stands, or `offset` when that byte ends a line. */
uint64_t content_line_start(int fd, uint64_t offset, const struct line_end *end);
/* Do both hold the same `len` bytes there? False also when they can't be read. */
bool content_same(int a, int b, uint64_t offset, size_t len);

enum content_common {
    COMMON_ALL,  /* up to `end` */
    COMMON_PART, /* they differ at *ret_same */
    COMMON_LATER, /* the same up to *ret_same, where `most` bytes were compared or one could not be read */
};
/* Compares [*same, end), no more than `most` bytes of it, and moves *same. */
enum content_common content_common(int a, int b, uint64_t end, uint64_t most, uint64_t *same);

#endif
