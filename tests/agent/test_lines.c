#include "agent/lines.h"

#include "tests/agent/harness.h"

struct rig {
    struct batch_pool pool;
    struct batch_private *batch;
};

static int rig_setup(void **state)
{
    struct rig *rig = (struct rig *)malloc(sizeof(*rig));
    assert_non_null(rig);
    batch_pool_init(&rig->pool, 4, (size_t)1 << 20);
    rig->batch = batch_take(&rig->pool, SLICE("h"));
    *state = rig;
    return 0;
}

static int rig_teardown(void **state)
{
    struct rig *rig = (struct rig *)*state;
    batch_pool_fini(&rig->pool);
    free(rig);
    return 0;
}

/* One record as `[text]`, cut ones as `[text…`; what was not consumed behind a `|`; a final `~` when inside a cut line.
 * NUL bytes are shown as 0. */
static void show(const struct batch_private *batch, const struct lines *lines, char *text,
                 size_t room)
{
    size_t len = 0;
    for (uint32_t i = 0; i < batch->b.n_records; i++) {
        const struct record *r = &batch->b.records[i];
        len += (size_t)snprintf(text + len, room - len, "[");
        for (size_t j = 0; j < r->line.len; j++)
            text[len++] = r->line.ptr[j] == '\0' ? '0' : r->line.ptr[j];
        len += (size_t)snprintf(text + len, room - len, "%s",
                                (r->flags & RECORD_CUT) != 0 ? "…" : "]");
    }
    len +=
        (size_t)snprintf(text + len, room - len, "|%.*s", (int)(lines->bytes.len - lines->consumed),
                         lines->bytes.ptr + lines->consumed);
    snprintf(text + len, room - len, "%s", lines->cut ? "~" : "");
}

static void bytes_become_lines(void **state)
{
    struct rig *rig = (struct rig *)*state;
    static const struct {
        struct slice bytes;
        bool cut;
        const char *shown;
        uint64_t cut_lines, cut_bytes;
    } rows[] = {
        {SLICE(""), false, "|", 0, 0},
        {SLICE("a\nb\n"), false, "[a][b]|", 0, 0},
        {SLICE("a\r\nb\r\n"), false, "[a][b]|", 0, 0},
        {SLICE("\n\r\n\n"), false, "[][][]|", 0, 0},
        {SLICE("a\r\r\n\ra\n"), false, "[a\r][\ra]|", 0, 0},
        {SLICE("a\0b\n\0\n"), false, "[a0b][0]|", 0, 0},
        {SLICE("a\nbc"), false, "[a]|bc", 0, 0},
        {SLICE("bc"), false, "|bc", 0, 0},
        {SLICE("bc\r"), false, "|bc\r", 0, 0},
        {SLICE("\xff\xc3\n"), false, "[\xff\xc3]|", 0, 0},
        /* max_line is 5 */
        {SLICE("1234\n"), false, "[1234]|", 0, 0},
        {SLICE("12345\n"), false, "[12345]|", 0, 0},
        {SLICE("12345\r\n"), false, "[12345]|", 0, 0},
        {SLICE("123456\n"), false, "[12345…|", 1, 1},
        {SLICE("123456\r\n"), false, "[12345…|", 1, 1},
        {SLICE("12345678\nx\n"), false, "[12345…[x]|", 1, 3},
        {SLICE("12345"), false, "|12345", 0, 0},
        {SLICE("12345\r"), false, "|12345\r", 0, 0},
        {SLICE("123456"), false, "|123456", 0, 0},
        {SLICE("1234567"), false, "[12345…|~", 1, 2},
        {SLICE("a\n1234567"), false, "[a][12345…|~", 1, 2},
        /* inside a cut line */
        {SLICE("rest\nnext\n"), true, "[next]|", 0, 4},
        {SLICE("rest"), true, "|~", 0, 4},
        {SLICE("\n"), true, "|", 0, 0},
        {SLICE(""), true, "|~", 0, 0},
        {SLICE("rest\n1234567"), true, "[12345…|~", 1, 6},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        char text[256];
        struct lines lines = {.bytes = rows[i].bytes, .max_line = 5, .cut = rows[i].cut};
        rig->batch->b.n_records = 0;
        lines_split(rig->batch, &lines);
        show(rig->batch, &lines, text, sizeof(text));
        if (strcmp(text, rows[i].shown) != 0)
            fail_msg("row %zu: %s instead of %s", i, text, rows[i].shown);
        assert_int_equal(lines.cut_lines, rows[i].cut_lines);
        assert_int_equal(lines.cut_bytes, rows[i].cut_bytes);
    }
}

static void other_ends_of_lines(void **state)
{
    struct rig *rig = (struct rig *)*state;
    static const struct line_end dashes = {.bytes = "--\n", .len = 3, .unit = 1};
    static const struct line_end wide = {
        .bytes = "\n\0", .len = 2, .unit = 2, .cr_len = 2, .cr = "\r\0"};
    static const struct line_end cr = {.bytes = "\r", .len = 1, .unit = 1};
    static const struct {
        const struct line_end *end;
        struct slice bytes;
        bool cut;
        const char *shown;
        uint64_t cut_bytes;
    } rows[] = {
        {&cr, SLICE("a\rb\n\r"), false, "[a][b\n]|", 0},
        {&dashes, SLICE("a-\n--\n--\n-"), false, "[a-\n][]|-", 0},
        {&dashes, SLICE("123456-"), false, "|123456-", 0},
        {&dashes, SLICE("123456--"), false, "[12345…|--~", 1},
        {&dashes, SLICE("x--"), true, "|--~", 1},
        {&dashes, SLICE("x--\ny--\n"), true, "[y]|", 1},
        {&wide, SLICE("a\0\r\0\n\0"), false, "[a0]|", 0},
        {&wide, SLICE("x\n\0y\n\0"), false, "[x\n0y]|", 0},
        {&wide, SLICE("1\0002\0003\0\n\0"), false, "[1020…|", 2},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        char text[256];
        struct lines lines = {
            .bytes = rows[i].bytes, .max_line = 5, .cut = rows[i].cut, .end = rows[i].end};
        rig->batch->b.n_records = 0;
        lines_split(rig->batch, &lines);
        show(rig->batch, &lines, text, sizeof(text));
        if (strcmp(text, rows[i].shown) != 0)
            fail_msg("row %zu: %s instead of %s", i, text, rows[i].shown);
        assert_int_equal(lines.cut_bytes, rows[i].cut_bytes);
        uint64_t left_out = rows[i].cut ? 1 : 0;
        for (uint32_t j = 0; j < rig->batch->b.n_records; j++)
            left_out += lines_left_out(&lines, &rig->batch->b.records[j]);
        assert_int_equal(left_out, lines.cut_bytes);
    }
}

static void an_incomplete_line_can_go_out_and_its_rest_is_a_record(void **state)
{
    struct rig *rig = (struct rig *)*state;
    static const struct {
        struct slice bytes;
        bool inside;
        const char *shown;
    } rows[] = {
        {SLICE("a\nbc"), false, "[a][bc]|"},
        {SLICE("bc\r"), false, "[bc]|\r"},
        {SLICE("\r"), false, "[\r]|"},
        {SLICE(""), false, "|"},
        {SLICE("a\xe2\x82"), false, "[a]|\xe2\x82"},
        {SLICE("\xe2\x82"), false, "[\xe2\x82]|"},
        {SLICE("a\xe2\x82\xac"), false, "[a\xe2\x82\xac]|"},
        {SLICE("a\xf0\x9f\x98"), false, "[a]|\xf0\x9f\x98"},
        {SLICE("a\x82\x82\x82\x82"), false, "[a\x82\x82\x82\x82]|"},
        {SLICE("\nx\n"), true, "[x]|"},
        {SLICE("\r\nx\n"), true, "[x]|"},
        {SLICE("rest\n\n"), true, "[rest][]|"},
        {SLICE("rest"), true, "[rest]|"},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        char text[256];
        struct lines lines = {
            .bytes = rows[i].bytes, .max_line = 9, .inside = rows[i].inside, .incomplete = true};
        rig->batch->b.n_records = 0;
        lines_split(rig->batch, &lines);
        show(rig->batch, &lines, text, sizeof(text));
        if (strcmp(text, rows[i].shown) != 0)
            fail_msg("row %zu: %s instead of %s", i, text, rows[i].shown);
    }
}

static void a_record_knows_where_it_stands(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct lines lines = {.bytes = SLICE("ab\r\n\ncde\nf"),
                          .offset = (uint64_t)1 << 40,
                          .max_line = 100,
                          .time = 12345,
                          .origin = 3};
    static const uint64_t begins[] = {0, 4, 5}, ends[] = {4, 5, 9};
    lines_split(rig->batch, &lines);
    assert_int_equal(rig->batch->b.n_records, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct record *r = &rig->batch->b.records[i];
        assert_int_equal(r->begin, lines.offset + begins[i]);
        assert_int_equal(r->end, lines.offset + ends[i]);
        assert_int_equal(r->time, 12345);
        assert_int_equal(r->origin, 3);
        assert_int_equal(r->flags + r->n_fields, 0);
        assert_ptr_equal(r->line.ptr, lines.bytes.ptr + begins[i]); /* no copy */
    }
    assert_int_equal(lines.consumed, 9);
}

static void a_full_batch_leaves_the_rest(void **state)
{
    struct rig *rig = (struct rig *)*state;
    static char bytes[2 * (BATCH_RECORDS + 10)];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = i % 2 == 0 ? 'x' : '\n';
    struct lines lines = {.bytes = {bytes, sizeof(bytes)}, .max_line = 100};
    rig->batch->b.n_records = 5; /* of another source */
    lines_split(rig->batch, &lines);
    assert_int_equal(rig->batch->b.n_records, BATCH_RECORDS);
    assert_int_equal(lines.consumed, 2 * (BATCH_RECORDS - 5));
    assert_int_equal(rig->batch->b.records[BATCH_RECORDS - 1].end, lines.consumed);
    lines_split(rig->batch, &lines);
    assert_int_equal(lines.consumed, 0);
    assert_int_equal(rig->batch->b.n_records, BATCH_RECORDS);
}

/* Reads `text` like a source does: up to each of the ends in turn, what was not consumed once more. */
static void split_up_to(struct batch_private *batch, struct slice text, const size_t *ends,
                        size_t n_ends, uint64_t max_line, struct lines *lines)
{
    size_t at = 0;
    uint64_t cut_lines = 0;
    *lines = (struct lines){.max_line = max_line};
    batch->b.n_records = 0;
    for (size_t i = 0; i < n_ends; i++) {
        lines->bytes = slice_of(text.ptr + at, ends[i] - at);
        lines->offset = at;
        lines_split(batch, lines);
        at += lines->consumed;
        cut_lines += lines->cut_lines;
    }
    lines->cut_lines = cut_lines;
    lines->bytes = slice_of(text.ptr + at, text.len - at);
    lines->consumed = 0;
}

struct outcome {
    char shown[512];
    uint64_t cut_lines;
    uint64_t begins[64];
};

static void outcome_of(struct batch_private *batch, struct slice text, const size_t *ends,
                       size_t n_ends, uint64_t max_line, struct outcome *outcome)
{
    struct lines lines;
    memset(outcome, 0, sizeof(*outcome));
    split_up_to(batch, text, ends, n_ends, max_line, &lines);
    show(batch, &lines, outcome->shown, sizeof(outcome->shown));
    outcome->cut_lines = lines.cut_lines;
    for (uint32_t i = 0; i < batch->b.n_records; i++)
        outcome->begins[i] = batch->b.records[i].begin;
}

static void where_buffers_end_makes_no_difference(void **state)
{
    struct rig *rig = (struct rig *)*state;
    static const struct slice texts[] = {
        SLICE("a\nbb\r\n\nccc\r\n\r\ndddd\neeeee\nffffff\nggggggg\nhhhhhhhh\n"),
        SLICE(
            "12345\r\n12345\n123456\r\n1234\r\r\n12345\r\r\n12345\rx\n123456\rx\n\r\r\r\r\r\r\r\n"),
        SLICE("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\n\0\0\0\0\0\0\0\0\0\nend without one"),
        SLICE("\r\n\n\r\r\n1\r2\n\n\n123456\r"),
    };
    struct outcome whole, split;
    size_t compared = 0;
    for (size_t t = 0; t < ROWS(texts); t++) {
        struct slice text = texts[t];
        for (uint64_t max_line = 1; max_line <= 9; max_line++) {
            outcome_of(rig->batch, text, &text.len, 1, max_line, &whole);
            for (size_t i = 0; i <= text.len; i++) {
                for (size_t j = i; j <= text.len; j++) {
                    outcome_of(rig->batch, text, (size_t[]){i, j, text.len}, 3, max_line, &split);
                    if (memcmp(&whole, &split, sizeof(whole)) != 0)
                        fail_msg("text %zu max_line %zu at %zu and %zu: %s instead of %s", t,
                                 (size_t)max_line, i, j, split.shown, whole.shown);
                    compared++;
                }
            }
            size_t each[128]; /* a byte at a time */
            for (size_t i = 0; i < text.len; i++)
                each[i] = i + 1;
            outcome_of(rig->batch, text, each, text.len, max_line, &split);
            assert_string_equal(split.shown, whole.shown);
        }
    }
    assert_true(compared > 10000);
}

#define RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RIG(bytes_become_lines),
        RIG(other_ends_of_lines),
        RIG(an_incomplete_line_can_go_out_and_its_rest_is_a_record),
        RIG(a_record_knows_where_it_stands),
        RIG(a_full_batch_leaves_the_rest),
        RIG(where_buffers_end_makes_no_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
