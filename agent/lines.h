/* Bytes to lines: records that are slices into the bytes as read. */
#ifndef SPLASHDAM_LINES_H
#define SPLASHDAM_LINES_H

#include "agent/batch.h"

struct lines {
    /* in */
    struct slice bytes; /* as read */
    uint64_t offset;    /* of the first byte in its source */
    size_t scanned;     /* so many first bytes are known to have no newline */
    uint64_t max_line;  /* bytes of a line that are kept, its end not counted */
    int64_t time;       /* for the records */
    uint16_t origin;
    /* in and out */
    bool cut; /* the bytes begin inside a line of which the beginning was shipped */
    /* out */
    size_t consumed; /* the rest is an incomplete line, or found no room in the batch */
    uint64_t cut_lines;
    uint64_t cut_bytes; /* left out of cut lines */
};

/* Appends a record for each line. A line ends at \n; a \r before it belongs to the end. A line longer than
 * max_line becomes a record of its first max_line bytes, RECORD_CUT; when its end is not among the bytes,
 * all of them are consumed and `cut` is set. */
void lines_split(struct batch_private *batch, struct lines *lines);

#endif
