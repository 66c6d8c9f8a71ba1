#include "agent/container.h"

#include "agent/arena.h"
#include "tests/agent/harness.h"

#define T      "2016-10-06T00:17:09.669794202Z"
#define T_NS   INT64_C(1475713029669794202)
#define J_TIME "\"time\":\"" T "\""
#define J_OUT  "\"stream\":\"stdout\"," J_TIME "}"
#define LIT(s) (s), sizeof(s) - 1

static struct arena arena;
static struct container_line got;
static char *held; /* the line: a copy that ends with its last byte */

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, NULL, (size_t)1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(held);
    held = NULL;
    arena_reset(&arena);
    return 0;
}

static const char *parse(const char *text, size_t len)
{
    free(held);
    held = (char *)malloc(len == 0 ? 1 : len);
    assert_non_null(held);
    memcpy(held, text, len);
    return container_parse(slice_of(held, len), &arena, &got);
}

struct good {
    const char *text;
    size_t len;
    const char *content;
    size_t content_len;
    bool partial;
    enum container_stream stream;
    const char *attrs;
};

static void check_good(const struct good *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct good *row = &rows[i];
        const char *why = parse(row->text, row->len);
        if (why != NULL)
            fail_msg("%s: %s", row->text, why);
        if (got.time != T_NS || got.partial != row->partial || got.stream != row->stream)
            fail_msg("%s: other time, tag or stream", row->text);
        if (!slice_equal(got.content, slice_of(row->content, row->content_len)))
            fail_msg("%s: %.*s", row->text, (int)got.content.len, got.content.ptr);
        if (row->attrs == NULL ? got.attrs.ptr != NULL
                               : !slice_equal(got.attrs, slice_str(row->attrs)))
            fail_msg("%s: other attrs", row->text);
    }
}

static void check_bad(const struct slice *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct container_line before = {.time = 5};
        got = before;
        const char *why = parse(rows[i].ptr, rows[i].len);
        if (why == NULL || why[0] == '\0')
            fail_msg("%.*s", (int)rows[i].len, rows[i].ptr);
        assert_memory_equal(&got, &before, sizeof(got));
    }
}

static void cri_lines_are_read(void **state)
{
    static const struct good rows[] = {
        {LIT(T " stdout F log content 1"), LIT("log content 1"), false, CONTAINER_STDOUT, NULL},
        {LIT(T " stderr P log content 2"), LIT("log content 2"), true, CONTAINER_STDERR, NULL},
        {LIT("2016-10-06T02:17:09.669794202+02:00 stdout F x"), LIT("x"), false, CONTAINER_STDOUT,
         NULL},
        {LIT(T " stdout F:new:more x"), LIT("x"), false, CONTAINER_STDOUT, NULL},
        {LIT(T " stdout P:F x"), LIT("x"), true, CONTAINER_STDOUT, NULL},
        {LIT(T " stdout F: x"), LIT("x"), false, CONTAINER_STDOUT, NULL},
        {LIT(T " stdout F"), LIT(""), false, CONTAINER_STDOUT, NULL},
        {LIT(T " stdout F "), LIT(""), false, CONTAINER_STDOUT, NULL},
        {LIT(T " stdout P"), LIT(""), true, CONTAINER_STDOUT, NULL},
        {LIT(T " stdout F   x "), LIT("  x "), false, CONTAINER_STDOUT, NULL},
        {LIT(T " stdout F a\0b\xff\r"), LIT("a\0b\xff\r"), false, CONTAINER_STDOUT, NULL},
        {LIT(T " stdout F {\"log\":1}"), LIT("{\"log\":1}"), false, CONTAINER_STDOUT, NULL},
    };
    (void)state;
    check_good(rows, ROWS(rows));
}

static void other_than_cri_lines_have_a_reason(void **state)
{
    static const struct slice rows[] = {
        {LIT("")},
        {LIT("\0")},
        {LIT(" ")},
        {LIT("plain text")},
        {LIT("2016 was a year")},
        {LIT("99999999999999999999999999999999999999999 stdout F x")},
        {LIT(" " T " stdout F x")},
        {LIT(T "stdout F x")},
        {LIT(T "  stdout F x")},
        {LIT(T " stdin F x")},
        {LIT(T " STDOUT F x")},
        {LIT(T " stdoutx F x")},
        {LIT(T " stdout\tF x")},
        {LIT(T " stdout  F x")},
        {LIT(T " stdout x")},
        {LIT(T " stdout FP x")},
        {LIT(T " stdout f x")},
        {LIT(T " stdout :F x")},
        {LIT(T "\0 stdout F x")},
        {LIT("2016-13-06T00:17:09Z stdout F x")},
        {LIT("2500-10-06T00:17:09Z stdout F x")},
    };
    (void)state;
    check_bad(rows, ROWS(rows));
}

static void cri_content_is_not_copied(void **state)
{
    (void)state;
    assert_null(parse(LIT(T " stdout F log")));
    assert_ptr_equal(got.content.ptr, held + sizeof(T " stdout F ") - 1);
    assert_int_equal(arena.size, 0);
}

static void a_cri_line_that_is_cut_is_none_up_to_its_tag(void **state)
{
    static const char text[] = T " stdout F:x log content";
    const size_t head = sizeof(T " stdout F") - 1;
    (void)state;
    for (size_t len = 0; len < sizeof(text); len++)
        assert_int_equal(parse(text, len) == NULL, len >= head);
}

static void docker_lines_are_read(void **state)
{
    static const struct good rows[] = {
        {LIT("{\"log\":\"text\\n\"," J_OUT), LIT("text"), false, CONTAINER_STDOUT, NULL},
        {LIT("{\"log\":\"text\\r\\n\"," J_OUT), LIT("text"), false, CONTAINER_STDOUT, NULL},
        {LIT("{\"log\":\"text\\u000a\"," J_OUT), LIT("text"), false, CONTAINER_STDOUT, NULL},
        {LIT("{\"log\":\"text\"," J_OUT), LIT("text"), true, CONTAINER_STDOUT, NULL},
        {LIT("{\"log\":\"text\\r\"," J_OUT), LIT("text\r"), true, CONTAINER_STDOUT, NULL},
        {LIT("{\"log\":\"\"," J_OUT), LIT(""), true, CONTAINER_STDOUT, NULL},
        {LIT("{\"log\":\"\\n\"," J_OUT), LIT(""), false, CONTAINER_STDOUT, NULL},
        {LIT("{\"log\":\"\\r\\n\"," J_OUT), LIT(""), false, CONTAINER_STDOUT, NULL},
        {LIT("{\"log\":\"\\n\\n\"," J_OUT), LIT("\n"), false, CONTAINER_STDOUT, NULL},
        {LIT("{\"log\":\"\\u0000\\u00e4\\n\"," J_OUT), LIT("\0\xc3\xa4"), false, CONTAINER_STDOUT,
         NULL},
        {LIT(" { " J_TIME " , \"stream\" : \"stderr\" , \"log\" : \"a\" } "), LIT("a"), true,
         CONTAINER_STDERR, NULL},
        {LIT("{\"log\":\"a\",\"attrs\":{\"tag\": \"x\"}," J_OUT), LIT("a"), true, CONTAINER_STDOUT,
         "{\"tag\": \"x\"}"},
        {LIT("{\"log\":\"a\",\"attrs\":null," J_OUT), LIT("a"), true, CONTAINER_STDOUT, NULL},
        {LIT("{\"log\":\"a\",\"attrs\":[1]," J_OUT), LIT("a"), true, CONTAINER_STDOUT, NULL},
        {LIT("{\"x\":[{}],\"y\":\"\\n\",\"log\":\"a\"," J_OUT), LIT("a"), true, CONTAINER_STDOUT,
         NULL},
        {LIT("{\"log\":1,\"stream\":\"x\",\"log\":\"a\"," J_OUT), LIT("a"), true, CONTAINER_STDOUT,
         NULL},
        {LIT("{\"\\u006cog\":\"a\"," J_OUT), LIT("a"), true, CONTAINER_STDOUT, NULL},
    };
    (void)state;
    check_good(rows, ROWS(rows));
}

static void other_than_docker_lines_have_a_reason(void **state)
{
    static const struct slice rows[] = {
        {LIT("{")},
        {LIT("{}")},
        {LIT("{\"log\":\"a\"}")},
        {LIT("{" J_OUT)},
        {LIT("{\"log\":\"a\",\"stream\":\"stdout\"}")},
        {LIT("{\"log\":\"a\"," J_TIME "}")},
        {LIT("{\"log\":1," J_OUT)},
        {LIT("{\"log\":null," J_OUT)},
        {LIT("{\"log\":{}," J_OUT)},
        {LIT("{\"log\":\"a\",\"stream\":\"stdin\"," J_TIME "}")},
        {LIT("{\"log\":\"a\",\"stream\":1," J_TIME "}")},
        {LIT("{\"log\":\"a\",\"stream\":\"stdout\",\"time\":1}")},
        {LIT("{\"log\":\"a\",\"stream\":\"stdout\",\"time\":\"now\"}")},
        {LIT("{\"log\":\"a\"," J_TIME ","
             "\"time\":\"\",\"stream\":\"stdout\"}")},
        {LIT("{\"log\":\"a\",\"log\":7," J_OUT)},
        {LIT("{\"log\":\"a\\x\"," J_OUT)},
        {LIT("{\"log\":\"a\0\"," J_OUT)},
        {LIT("{\"log\":\"a\"," J_OUT "{")},
        {LIT("{\"log\":\"a\"," J_OUT "\0")},
        {LIT("[{\"log\":\"a\"," J_OUT "]")},
    };
    (void)state;
    check_bad(rows, ROWS(rows));
}

static void a_docker_line_that_is_cut_is_none(void **state)
{
    static const char text[] = "{\"log\":\"te\\u00e4xt\\n\",\"attrs\":{\"a\":\"b\"}," J_OUT;
    (void)state;
    for (size_t len = 0; len < sizeof(text) - 1; len++)
        assert_non_null(parse(text, len));
    assert_null(parse(text, sizeof(text) - 1));
}

static void a_log_without_escapes_is_not_copied(void **state)
{
    (void)state;
    assert_null(parse(LIT("{\"log\":\"text\"," J_OUT)));
    assert_ptr_equal(got.content.ptr, held + sizeof("{\"log\":\"") - 1);
    assert_int_equal(arena.size, 0);
}

static void a_full_arena_is_a_reason_and_shows(void **state)
{
    (void)state;
    arena_reset(&arena);
    arena_init(&arena, NULL, 0);
    assert_non_null(parse(LIT("{\"log\":\"text\\n\"," J_OUT)));
    assert_true(arena.overflowed);
}

static int add(struct container_join *join, const char *text, bool partial)
{
    struct container_line line = {.time = text[0], .partial = partial, .content = slice_str(text)};
    return container_join_add(join, &line, &arena);
}

static void parts_are_joined(void **state)
{
    struct container_join join = {.limit = 100};
    (void)state;
    assert_int_equal(add(&join, "whole", false), 1);
    assert_true(slice_equal(join.text, SLICE("whole")));
    assert_int_equal(arena.size, 0);
    assert_int_equal(add(&join, "a, ", true), 0);
    assert_true(join.open);
    assert_int_equal(add(&join, "", true), 0);
    assert_int_equal(add(&join, "b, ", true), 0);
    assert_int_equal(add(&join, "c", false), 1);
    assert_true(slice_equal(join.text, SLICE("a, b, c")));
    assert_int_equal(join.time, 'a');
    assert_int_equal(join.cut, 0);
    assert_int_equal(add(&join, "next", true), 0);
    assert_int_equal(add(&join, "", false),
                     1); /* how a runtime ends a part that nothing came behind */
    assert_true(slice_equal(join.text, SLICE("next")));
}

static void what_is_beyond_the_limit_is_left_out_and_counted(void **state)
{
    struct container_join join = {.limit = 7};
    (void)state;
    assert_int_equal(add(&join, "0123", true), 0);
    assert_int_equal(add(&join, "4567", true), 0);
    assert_int_equal(add(&join, "89", false), 1);
    assert_true(slice_equal(join.text, SLICE("0123456")));
    assert_int_equal(join.cut, 3);
    assert_int_equal(add(&join, "012345678", false), 1);
    assert_true(slice_equal(join.text, SLICE("0123456")));
    assert_int_equal(join.cut, 2);
}

static void many_parts_take_less_than_four_times_their_length(void **state)
{
    enum { PARTS = 2000, PART = 16 };
    struct container_join join = {.limit = (size_t)1 << 20};
    (void)state;
    for (int i = 0; i < PARTS; i++)
        assert_int_equal(add(&join, "0123456789abcdef", i + 1 < PARTS), i + 1 == PARTS);
    assert_int_equal(join.text.len, PARTS * PART);
    for (size_t i = 0; i < join.text.len; i++)
        assert_int_equal(join.text.ptr[i], "0123456789abcdef"[i % PART]);
    assert_in_range(arena.size, 1, 4 * PARTS * PART + ARENA_CHUNK);
}

static void a_join_without_room_is_as_it_was(void **state)
{
    struct container_join join = {.limit = 100};
    (void)state;
    arena_reset(&arena);
    arena_init(&arena, NULL, 0);
    assert_int_equal(add(&join, "abc", true), 0);
    assert_int_equal(add(&join, "def", false), -1);
    assert_true(arena.overflowed && join.open && join.cut == 0);
    assert_true(slice_equal(join.text, SLICE("abc")));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(cri_lines_are_read),
        TEST(other_than_cri_lines_have_a_reason),
        TEST(cri_content_is_not_copied),
        TEST(a_cri_line_that_is_cut_is_none_up_to_its_tag),
        TEST(docker_lines_are_read),
        TEST(other_than_docker_lines_have_a_reason),
        TEST(a_docker_line_that_is_cut_is_none),
        TEST(a_log_without_escapes_is_not_copied),
        TEST(a_full_arena_is_a_reason_and_shows),
        TEST(parts_are_joined),
        TEST(what_is_beyond_the_limit_is_left_out_and_counted),
        TEST(many_parts_take_less_than_four_times_their_length),
        TEST(a_join_without_room_is_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
