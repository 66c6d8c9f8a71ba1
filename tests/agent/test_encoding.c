#include "agent/encoding.h"

#include "agent/arena.h"
#include "tests/agent/harness.h"

static void every_usable_encoding_decodes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct slice bytes;
        const char *text;
        uint64_t replaced;
    } rows[] = {
        {"latin-1", SLICE("caf\xe9"), "caf\xc3\xa9", 0},
        {"ISO-8859-15", SLICE("\xa4"), "\xe2\x82\xac", 0},
        {"windows-1252", SLICE("\x80\x93x\x94"), "\xe2\x82\xac\xe2\x80\x9cx\xe2\x80\x9d", 0},
        {"windows-1252", SLICE("a\x81z"), "a\xef\xbf\xbdz", 1},
        {"utf-16le", SLICE("a\0\xac\x20"), "a\xe2\x82\xac", 0},
        {"utf-16be", SLICE("\0a\x20\xac"), "a\xe2\x82\xac", 0},
        {"UTF-16", SLICE("a\0"), "a", 0},
        {"utf-16le", SLICE("\x3d\xd8\x00\xde"), "\xf0\x9f\x98\x80", 0},
        {"utf-16le", SLICE("a\0\x3d\xd8z\0"), "a\xef\xbf\xbdz", 1},
        {"utf-16le", SLICE("a\0\x3d"), "a\xef\xbf\xbd", 1},
        {"utf-32be", SLICE("\0\0\0a"), "a", 0},
        {"shift_jis", SLICE("\x83\x5c"), "\xe3\x82\xbd", 0},
        {"gb18030", SLICE("\x81\x30\x81\x30"), "\xc2\x80", 0},
        {"euc-jp", SLICE("\xff\xff\xff!"), "\xef\xbf\xbd!", 1},
        {"koi8-r", SLICE(""), "", 0},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct error error = {.text = ""};
        struct encoding *encoding = encoding_new(rows[i].name, &error);
        if (encoding == NULL)
            fail_msg("%s: %s", rows[i].name, error.text);
        struct arena arena;
        struct slice text;
        uint64_t replaced = 0;
        arena_init(&arena, NULL, (size_t)1 << 20);
        assert_int_equal(encoding_decode(encoding, rows[i].bytes, &arena, &text, &replaced), 0);
        if (!slice_equal(text, slice_str(rows[i].text)) || replaced != rows[i].replaced)
            fail_msg("row %zu: %.*s, %ju replaced", i, (int)text.len, text.ptr, (uintmax_t)replaced);
        arena_reset(&arena);
        encoding_free(&encoding);
        assert_null(encoding);
    }
}

static void a_decoding_without_room_fails(void **state)
{
    (void)state;
    struct error error;
    struct encoding *encoding = encoding_new("latin-1", &error);
    struct arena arena;
    struct slice text;
    uint64_t replaced = 0;
    arena_init(&arena, NULL, 16);
    assert_int_equal(encoding_decode(encoding, SLICE("abc"), &arena, &text, &replaced), -1);
    assert_true(arena.overflowed);
    arena_reset(&arena);
    encoding_free(&encoding);
}

static void encodings_whose_lines_cannot_be_told_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"utf-7",  "iso-2022-jp",    "no-such-one", "ebcdic-us",
                                        "",       "utf-16//IGNORE", "ucs-2",       "hz",
                                        "UNICODE"};
    for (size_t i = 0; i < ROWS(names); i++) {
        struct error error = {.text = ""};
        struct encoding *encoding = encoding_new(names[i], &error);
        if (encoding != NULL || error.text[0] == '\0')
            fail_msg("%s", names[i]);
    }
}

static void line_ends_are_written_in_the_encoding(void **state)
{
    (void)state;
    struct error error;
    struct line_end end;
    struct encoding *wide = encoding_new("utf-16le", &error);
    assert_int_equal(encoding_line_end(wide, SLICE("\n"), true, &end, &error), 0);
    assert_int_equal(end.len, 2);
    assert_int_equal(end.unit, 2);
    assert_memory_equal(end.bytes, "\n\0", 2);
    assert_int_equal(end.cr_len, 2);
    assert_memory_equal(end.cr, "\r\0", 2);
    assert_int_equal(encoding_line_end(NULL, SLICE("--\n"), false, &end, &error), 0);
    assert_int_equal(end.len, 3);
    assert_int_equal(end.unit, 1);
    assert_int_equal(end.cr_len, 0);
    struct encoding *narrow = encoding_new("latin-1", &error);
    assert_int_equal(encoding_line_end(narrow, SLICE("\xe2\x82\xac"), false, &end, &error), -1);
    encoding_free(&wide);
    encoding_free(&narrow);
}

static void a_byte_order_mark_decides_where_the_name_does_not(void **state)
{
    (void)state;
    assert_true(encoding_by_mark("UTF-16") && encoding_by_mark("utf-32"));
    assert_false(encoding_by_mark("utf-16le") || encoding_by_mark("utf-8"));
    assert_string_equal(encoding_marked("utf-16", SLICE("\xfe\xff\0a")), "utf-16be");
    assert_string_equal(encoding_marked("utf-16", SLICE("\xff\xfe")), "utf-16le");
    assert_string_equal(encoding_marked("utf-16", SLICE("\xfe")), "utf-16le");
    assert_string_equal(encoding_marked("utf-32", SLICE("\0\0\xfe\xff")), "utf-32be");
    assert_true(encoding_is_utf8("UTF-8") && encoding_is_utf8("ascii"));
    assert_false(encoding_is_utf8("latin-1"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_usable_encoding_decodes),
        cmocka_unit_test(a_decoding_without_room_fails),
        cmocka_unit_test(encodings_whose_lines_cannot_be_told_are_refused),
        cmocka_unit_test(line_ends_are_written_in_the_encoding),
        cmocka_unit_test(a_byte_order_mark_decides_where_the_name_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
