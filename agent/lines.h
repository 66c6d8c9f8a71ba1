/* Bytes to lines: records that are slices into the bytes as read. */
#ifndef SPLASHDAM_LINES_H
#define SPLASHDAM_LINES_H

#include "agent/batch.h"

#define LINE_END_MAX 64u

/* What ends a line, in the bytes of the file's encoding. */
struct line_end {
    char bytes[LINE_END_MAX];
    uint8_t len;
    uint8_t unit;   /* bytes of a code unit, 1, 2 or 4: the end stands at a multiple of it */
    uint8_t cr_len; /* one carriage return before it belongs to it; 0: none does */
    char cr[4];
    bool utf8; /* of an encoding in which a character may have several bytes, which are told apart */
};

/* \n with a \r that may stand before it, in one byte each. */
extern const struct line_end line_end_usual;

struct lines {
    /* in */
    struct slice bytes; /* as read */
    uint64_t offset;    /* of the first byte in its source */
    uint64_t max_line;  /* bytes of a line that are kept, its end not counted */
    int64_t time;       /* for the records */
    uint16_t origin;
    const struct line_end *end; /* NULL: line_end_usual */
    bool inside;                /* the bytes begin inside a line of which all before was shipped */
    bool incomplete;            /* a last line without an end is a record, too */
    /* in and out */
    bool cut; /* the bytes begin inside a line of which the beginning was shipped, and the rest will not be */
    /* out */
    size_t consumed; /* the rest is an incomplete line, or found no room in the batch */
    bool full;       /* the batch has no room for more records */
    uint64_t cut_lines;
    uint64_t cut_bytes; /* left out of cut lines */
};

/* Appends a record for each line. A line longer than max_line becomes a record of its first max_line bytes, RECORD_CUT; when
 * its end is not among the bytes, all of them are consumed and `cut` is set. When `inside`, the rest of the line is a
 * record of its own, none when nothing but the line's end is left of it. */
void lines_split(struct batch_private *batch, struct lines *lines);

/* A file's first line without the byte order mark of UTF-8, if it begins with it. */
static inline struct slice lines_without_mark(struct slice line)
{
    bool marked = line.len >= 3 && memcmp(line.ptr, "\xef\xbb\xbf", 3) == 0;
    return marked ? slice_of(line.ptr + 3, line.len - 3) : line;
}

/* Does the record that lines_split() made of these lines have its end? */
bool lines_has_end(const struct lines *lines, const struct record *record);

/* Bytes that were left out of a record that lines_split() made of these lines, for max_line. */
uint64_t lines_left_out(const struct lines *lines, const struct record *record);

#endif
