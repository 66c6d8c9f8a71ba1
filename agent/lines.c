#include "agent/lines.h"

const struct line_end line_end_usual = {
    .bytes = "\n", .len = 1, .unit = 1, .cr_len = 1, .cr = {'\r'}, .utf8 = true};

/* The first line end that begins at `from` or later, of more than one byte; NULL: there is none. */
static const char *find_long_end(const struct lines *lines, const char *from, const char *end)
{
    const struct line_end *what = lines->end;
    while (from < end) {
        const char *at = (const char *)memmem(from, (size_t)(end - from), what->bytes, what->len);
        if (at == NULL)
            return NULL;
        if ((lines->offset + (uint64_t)(at - lines->bytes.ptr)) % what->unit == 0)
            return at;
        from = at + 1;
    }
    return NULL;
}

static const char *find_end(const struct lines *lines, const char *from, const char *end)
{
    if (lines->end->len != 1)
        return find_long_end(lines, from, end);
    return from < end ? (const char *)memchr(from, lines->end->bytes[0], (size_t)(end - from))
                      : NULL;
}

/* Of the bytes of a line, without those at its end that belong to the line end that follows. */
static size_t without_cr(const struct line_end *end, const char *line, size_t len)
{
    size_t cr = end->cr_len;
    return cr != 0 && len >= cr && memcmp(line + len - cr, end->cr, cr) == 0 ? len - cr : len;
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
        record->line.len = lines->max_line - lines->max_line % lines->end->unit;
        record->flags = RECORD_CUT;
        lines->cut_lines++;
        lines->cut_bytes += len - record->line.len;
    }
}

bool lines_has_end(const struct lines *lines, const struct record *record)
{
    const struct line_end *what = lines->end == NULL ? &line_end_usual : lines->end;
    const char *end = lines->bytes.ptr + (record->end - lines->offset);
    return record->end - record->begin >= what->len &&
           memcmp(end - what->len, what->bytes, what->len) == 0;
}

uint64_t lines_left_out(const struct lines *lines, const struct record *record)
{
    const struct line_end *what = lines->end == NULL ? &line_end_usual : lines->end;
    const char *start = lines->bytes.ptr + (record->begin - lines->offset);
    size_t len = (size_t)(record->end - record->begin);
    if (lines_has_end(lines, record))
        len = without_cr(what, start, len - what->len);
    return len > lines->max_line ? len - (lines->max_line - lines->max_line % what->unit) : 0;
}

/* Past the rest of a line that was cut before. */
static const char *skip_cut(struct lines *lines, const char *at, const char *end)
{
    const char *found = find_end(lines, at, end);
    /* The first bytes of a long end may be among the last ones here. */
    size_t kept = lines->incomplete                      ? 0
                  : (size_t)(end - at) < lines->end->len ? (size_t)(end - at)
                                                         : lines->end->len - 1u;
    const char *stop = found != NULL ? found : end - kept;
    lines->cut_bytes += (uint64_t)(stop - at);
    lines->cut = found == NULL;
    return found == NULL ? stop : found + lines->end->len;
}

/* How much of an incomplete line can go out: not a half code unit or character, and no \r that may be the line end's;
 * but all of it when there is nothing else. */
static size_t whole_part(const struct lines *lines, const char *line, size_t len)
{
    size_t whole = without_cr(lines->end, line, len - len % lines->end->unit);
    size_t back = 0; /* of UTF-8: bytes that follow another one */
    while (lines->end->utf8 && back < 3 && back < whole &&
           ((unsigned char)line[whole - back - 1] & 0xc0) == 0x80)
        back++;
    if (lines->end->utf8 && back < whole) {
        unsigned char first = (unsigned char)line[whole - back - 1];
        size_t needs = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : first >= 0xc0 ? 1 : 0;
        if (needs > back)
            whole -= back + 1;
    }
    return whole != 0 ? whole : len;
}

/* What is left when no further end is found: a line that is too long already, or one that is not to wait for its end. */
static const char *take_rest(struct batch_private *batch, struct lines *lines, const char *at,
                             const char *end)
{
    size_t len = (size_t)(end - at);
    /* The last bytes may be the beginning of an end, and a \r before it would belong to it. */
    if (len >= lines->max_line + lines->end->len + lines->end->cr_len) {
        len -= lines->end->len - 1u;
        add_record(batch, lines, at, len, at + len);
        lines->cut = true;
        return at + len;
    }
    if (!lines->incomplete || len == 0)
        return at;
    len = whole_part(lines, at, len);
    add_record(batch, lines, at, len, at + len);
    return at + len;
}

void lines_split(struct batch_private *batch, struct lines *lines)
{
    const char *at = lines->bytes.ptr;
    const char *end = at + lines->bytes.len;
    if (lines->end == NULL)
        lines->end = &line_end_usual;
    lines->cut_lines = lines->cut_bytes = 0;
    bool inside = lines->inside;
    if (lines->cut) {
        at = skip_cut(lines, at, end);
        inside = false;
    }
    while (!lines->cut && batch->b.n_records < BATCH_RECORDS) {
        const char *found = find_end(lines, at, end);
        if (found == NULL) {
            at = take_rest(batch, lines, at, end);
            break;
        }
        const char *next = found + lines->end->len;
        size_t len = without_cr(lines->end, at, (size_t)(found - at));
        if (len > 0 || !inside)
            add_record(batch, lines, at, len, next);
        inside = false;
        at = next;
    }
    lines->full = batch->b.n_records == BATCH_RECORDS;
    lines->consumed = (size_t)(at - lines->bytes.ptr);
}
