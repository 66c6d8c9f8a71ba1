/* Any bytes with any line end, beside a splitter that looks at one byte after the other; and once more in two pieces. The
 * first bytes choose the limit of a line, the line end, and where the bytes are cut in two. */
#include "agent/lines.h"

#include <stdlib.h>

#define HEAD 3
#define MOST ((size_t)BATCH_RECORDS - 1) /* bytes: so all lines have room in one batch */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct line_end ends[] = {
    {.bytes = "\n", .len = 1, .unit = 1, .cr_len = 1, .cr = {'\r'}},
    {.bytes = "\n", .len = 1, .unit = 1},
    {.bytes = "", .len = 1, .unit = 1},
    {.bytes = "--\n", .len = 3, .unit = 1},
    {.bytes = "\n\n", .len = 2, .unit = 1, .cr_len = 1, .cr = {'\r'}},
    {.bytes = "\n\0", .len = 2, .unit = 2, .cr_len = 2, .cr = {'\r', 0}},
    {.bytes = "\0\0\0\n", .len = 4, .unit = 4, .cr_len = 4, .cr = {0, 0, 0, '\r'}},
};

/* What one line becomes. */
struct piece {
    uint64_t begin;
    size_t len;
    bool cut;
};

struct pieces {
    struct piece list[BATCH_RECORDS];
    size_t n;
    uint64_t consumed;
    uint64_t cut_lines;
    bool cut;
};

static bool ends_at(const struct line_end *end, const char *text, size_t len, size_t at)
{
    return at % end->unit == 0 && len - at >= end->len &&
           memcmp(text + at, end->bytes, end->len) == 0;
}

static void add_naive(struct pieces *pieces, size_t begin, size_t len, uint64_t max_line,
                      const struct line_end *end)
{
    bool cut = len > max_line;
    pieces->list[pieces->n++] =
        (struct piece){begin, cut ? max_line - max_line % end->unit : len, cut};
    pieces->cut_lines += cut;
}

static void split_naively(struct pieces *pieces, const char *text, size_t len, uint64_t max_line,
                          const struct line_end *end)
{
    size_t begin = 0;
    *pieces = (struct pieces){0};
    for (size_t at = 0; at < len;) {
        if (!ends_at(end, text, len, at)) {
            at++;
            continue;
        }
        size_t line = at - begin;
        if (end->cr_len > 0 && line >= end->cr_len &&
            memcmp(text + at - end->cr_len, end->cr, end->cr_len) == 0)
            line -= end->cr_len;
        add_naive(pieces, begin, line, max_line, end);
        begin = at += end->len;
    }
    pieces->consumed = begin;
    size_t rest = len - begin;
    if (rest < max_line + end->len + end->cr_len)
        return;
    add_naive(pieces, begin, rest, max_line, end); /* too long already, whatever comes */
    pieces->consumed = len - (end->len - 1u);
    pieces->cut = true;
}

/* What every call has to keep to. */
static void check_call(const struct batch *batch, uint32_t first, const struct lines *lines,
                       bool was_cut)
{
    assert(lines->consumed <= lines->bytes.len);
    for (uint32_t i = first; i < batch->n_records; i++) {
        const struct record *record = &batch->records[i];
        size_t at = (size_t)(record->begin - lines->offset);
        assert(record->begin >= lines->offset && record->end > record->begin);
        assert(record->end <= lines->offset + lines->consumed);
        assert(record->line.ptr == lines->bytes.ptr + at);
        assert(record->line.len <= record->end - record->begin);
        assert(record->line.len <= lines->max_line);
        if (i > first)
            assert(record->begin == batch->records[i - 1].end);
        else if (!was_cut)
            assert(record->begin == lines->offset);
    }
    if (batch->n_records > first && !was_cut)
        assert(batch->records[batch->n_records - 1].end == lines->offset + lines->consumed);
}

/* A file that is read when it has text[0..cut), and again when it has all of it. */
static void split_in_two(struct pieces *pieces, struct batch_private *batch, const char *text,
                         size_t len, size_t cut, uint64_t max_line, const struct line_end *end)
{
    const size_t ends_of[] = {cut, len};
    bool inside = false;
    *pieces = (struct pieces){0};
    batch->b.n_records = 0;
    for (size_t i = 0; i < 2; i++) {
        size_t n = ends_of[i] - pieces->consumed;
        uint32_t first = batch->b.n_records;
        char *bytes = (char *)malloc(n + 1); /* so that the address sanitizer sees a read past it */
        assert(bytes != NULL);
        memcpy(bytes, text + pieces->consumed, n);
        char *exact = (char *)realloc(bytes, n > 0 ? n : 1);
        assert(exact != NULL);
        struct lines lines = {.bytes = slice_of(exact, n),
                              .offset = pieces->consumed,
                              .max_line = max_line,
                              .end = end,
                              .cut = inside};
        lines_split(batch, &lines);
        check_call(&batch->b, first, &lines, inside);
        for (uint32_t r = first; r < batch->b.n_records; r++) {
            const struct record *record = &batch->b.records[r];
            pieces->list[pieces->n++] =
                (struct piece){record->begin, record->line.len, (record->flags & RECORD_CUT) != 0};
        }
        pieces->consumed += lines.consumed;
        pieces->cut_lines += lines.cut_lines;
        inside = lines.cut;
        free(exact);
    }
    pieces->cut = inside;
}

static void check_incomplete(struct batch_private *batch, const char *text, size_t len,
                             uint64_t max_line, const struct line_end *end)
{
    struct lines lines = {
        .bytes = slice_of(text, len), .max_line = max_line, .end = end, .incomplete = true};
    batch->b.n_records = 0;
    lines_split(batch, &lines);
    check_call(&batch->b, 0, &lines, false);
    assert(len == 0 || lines.consumed > 0); /* nothing waits for ever */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pieces naive, two;
    if (size < HEAD || size > HEAD + MOST)
        return 0;
    const char *text = (const char *)data + HEAD;
    size_t len = size - HEAD;
    uint64_t max_line = 4 + data[0] % 64;
    const struct line_end *end = &ends[data[1] % (sizeof(ends) / sizeof(ends[0]))];
    size_t cut = len * data[2] / 255;
    struct batch_pool pool;
    batch_pool_init(&pool, 4, 1 << 20);
    struct batch_private *batch = batch_take(&pool, SLICE("h"));
    assert(batch != NULL);
    split_naively(&naive, text, len, max_line, end);
    split_in_two(&two, batch, text, len, cut, max_line, end);
    assert(naive.n == two.n && naive.cut_lines == two.cut_lines);
    for (size_t i = 0; i < naive.n; i++) {
        assert(naive.list[i].begin == two.list[i].begin && naive.list[i].len == two.list[i].len);
        assert(naive.list[i].cut == two.list[i].cut);
    }
    assert(naive.cut == two.cut && (naive.cut || naive.consumed == two.consumed));
    check_incomplete(batch, text, len, max_line, end);
    batch_give(&pool, batch);
    batch_pool_fini(&pool);
    return 0;
}
