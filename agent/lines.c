#include "agent/lines.h"

/* Where an end of line has been looked for, from `from` on. */
static const char *find_newline(const char *from, const char *end)
{
    return from < end ? (const char *)memchr(from, '\n', (size_t)(end - from)) : NULL;
}

static void add_record(struct batch_private *batch, struct lines *lines, const char *start,
                       size_t len, const char *end)
{
    struct record *record = &batch->b.records[batch->b.n_records++];
    uint64_t begin = lines->offset + (uint64_t)(start - lines->bytes.ptr);
    *record = (struct record){
        .line = {start, len},
        .time = lines->time,
        .begin = begin,
        .end = begin + (uint64_t)(end - start),
        .origin = lines->origin,
    };
    if (len > lines->max_line) {
        record->line.len = lines->max_line;
        record->flags = RECORD_CUT;
        lines->cut_lines++;
        lines->cut_bytes += len - lines->max_line;
    }
}

/* Past the rest of a line that was cut before. */
static const char *skip_cut(struct lines *lines, const char *at, const char *end)
{
    const char *newline = find_newline(at, end);
    lines->cut_bytes += (uint64_t)((newline == NULL ? end : newline) - at);
    lines->cut = newline == NULL;
    return newline == NULL ? end : newline + 1;
}

void lines_split(struct batch_private *batch, struct lines *lines)
{
    const char *at = lines->bytes.ptr;
    const char *end = at + lines->bytes.len;
    const char *look = at + lines->scanned;
    lines->cut_lines = lines->cut_bytes = 0;
    if (lines->cut)
        look = at = skip_cut(lines, at, end);
    while (batch->b.n_records < BATCH_RECORDS) {
        const char *newline = find_newline(look, end);
        if (newline == NULL) {
            /* A \r at the end may still turn out to be the line end's. */
            size_t len = (size_t)(end - at);
            if (len > lines->max_line + 1) {
                add_record(batch, lines, at, len, end);
                lines->cut = true;
                at = end;
            }
            break;
        }
        size_t len = (size_t)(newline - at);
        if (len > 0 && newline[-1] == '\r')
            len--;
        add_record(batch, lines, at, len, newline + 1);
        look = at = newline + 1;
    }
    lines->consumed = (size_t)(at - lines->bytes.ptr);
}
