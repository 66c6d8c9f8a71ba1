#include "agent/json.h"

#include "agent/arena.h"
#include "tests/agent/json_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MOST         512u

/* ---- scanning for tests ---- */

static struct arena arena;

static struct scan {
    char *text; /* a copy that ends with its last byte: the sanitizer sees what is read beyond it */
    struct json_object object;
    struct field members[MOST];
    size_t n;
    int result; /* the last of the scanner's */
} scan;

static void scan_free(void)
{
    free(scan.text);
    arena_reset(&arena);
    scan.text = NULL;
}

/* Takes every member. */
static int scan_slice(struct slice text)
{
    scan_free();
    scan.text = (char *)malloc(text.len == 0 ? 1 : text.len);
    assert_non_null(scan.text);
    if (text.len != 0)
        memcpy(scan.text, text.ptr, text.len);
    scan.n = 0;
    scan.result = json_object_open(&scan.object, slice_of(scan.text, text.len), &arena);
    while (scan.result != -1) {
        struct field member;
        scan.result = json_object_next(&scan.object, &member);
        if (scan.result != 1)
            break;
        assert_true(scan.n < MOST);
        scan.members[scan.n++] = member;
    }
    if (scan.result == -1) {
        assert_non_null(scan.object.error);
        assert_in_range(scan.object.error_offset, 0, text.len);
    } else {
        assert_null(scan.object.error);
    }
    return scan.result;
}

static int scan_text(const char *text)
{
    return scan_slice(slice_str(text));
}

static void assert_accepted(struct slice text)
{
    if (scan_slice(text) != 0)
        fail_msg("%.*s\nrejected: %s at %zu", (int)text.len, text.ptr, scan.object.error,
                 scan.object.error_offset);
}

static void assert_rejected(struct slice text)
{
    if (scan_slice(text) != -1)
        fail_msg("%.*s\naccepted", (int)text.len, text.ptr);
}

static void assert_slice(struct slice found, struct slice expected)
{
    if (!slice_equal(found, expected))
        fail_msg("\"%.*s\" is not \"%.*s\"", (int)found.len, found.ptr, (int)expected.len,
                 expected.ptr);
}

static void assert_member(size_t i, struct slice key, struct slice value, enum field_type type)
{
    assert_in_range(i, 0, scan.n - 1);
    assert_slice(scan.members[i].key, key);
    assert_slice(scan.members[i].value, value);
    assert_int_equal(scan.members[i].type, type);
}

/* ---- members ---- */

static void members_of_every_type_keep_their_text(void **state)
{
    (void)state;
    assert_int_equal(
        scan_text(" {\"s\" : \"text\" ,\t\"e\":\"\",\r\n\"n\": -1.50E+07, \"t\":true,\"f\":false,"
                  "\"z\":null,\"o\":{ \"a\" : [1 , 2] },\"a\":[ ] ,\"\":{}}\n "),
        0);
    assert_int_equal(scan.n, 9);
    assert_member(0, SLICE("s"), SLICE("text"), FIELD_STRING);
    assert_member(1, SLICE("e"), SLICE(""), FIELD_STRING);
    assert_member(2, SLICE("n"), SLICE("-1.50E+07"), FIELD_NUMBER);
    assert_member(3, SLICE("t"), SLICE("true"), FIELD_BOOL);
    assert_member(4, SLICE("f"), SLICE("false"), FIELD_BOOL);
    assert_member(5, SLICE("z"), SLICE("null"), FIELD_NULL);
    assert_member(6, SLICE("o"), SLICE("{ \"a\" : [1 , 2] }"), FIELD_JSON);
    assert_member(7, SLICE("a"), SLICE("[ ]"), FIELD_JSON);
    assert_member(8, SLICE(""), SLICE("{}"), FIELD_JSON);
}

static void an_empty_object_has_no_member(void **state)
{
    static const char *const texts[] = {"{}", " { } ", "\n{\t\r}\n"};
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        assert_int_equal(scan_text(texts[i]), 0);
        assert_int_equal(scan.n, 0);
    }
}

static void names_that_stand_twice_come_twice(void **state)
{
    (void)state;
    assert_int_equal(scan_text("{\"a\":1,\"a\":2}"), 0);
    assert_int_equal(scan.n, 2);
    assert_member(1, SLICE("a"), SLICE("2"), FIELD_NUMBER);
}

static void strings_without_escapes_are_not_copied(void **state)
{
    (void)state;
    assert_int_equal(scan_text("{\"name\":\"value\",\"n\\u0061me\":\"v\\u0061lue\"}"), 0);
    assert_ptr_equal(scan.members[0].key.ptr, scan.text + 2);
    assert_ptr_equal(scan.members[0].value.ptr, scan.text + 9);
    assert_member(1, SLICE("name"), SLICE("value"), FIELD_STRING);
}

static void after_the_end_and_after_an_error_the_answer_stays(void **state)
{
    struct field member = {.type = FIELD_NULL};
    (void)state;
    assert_int_equal(scan_text("{\"a\":1}"), 0);
    assert_int_equal(json_object_next(&scan.object, &member), 0);
    assert_int_equal(scan_text("{\"a\":1]"), -1);
    assert_int_equal(json_object_next(&scan.object, &member), -1);
    assert_int_equal(scan_text("[]"), -1);
    assert_int_equal(json_object_next(&scan.object, &member), -1);
    assert_null(member.key.ptr);
}

/* ---- what is valid ---- */

/* Each value is tried as a member's, in an array, and in an object that is nested. */
static const char *const frames[] = {"{\"a\":%s}",     "{\"a\": %s }",       "{\"a\":[%s]}",
                                     "{\"a\":[0,%s]}", "{\"a\":{\"b\":%s}}", "{\"a\":[ %s , 1]}"};

#define EMPTY_ARRAY 2 /* the frame that is valid without a value, too */

static struct slice framed(size_t frame, struct slice value, char *buffer, size_t room)
{
    const char *hole = strchr(frames[frame], '%');
    size_t before = (size_t)(hole - frames[frame]);
    size_t after = strlen(hole + 2);
    assert_true(before + value.len + after < room);
    memcpy(buffer, frames[frame], before);
    memcpy(buffer + before, value.ptr, value.len);
    memcpy(buffer + before + value.len, hole + 2, after);
    return slice_of(buffer, before + value.len + after);
}

static void valid_values_are_accepted_wherever_they_stand(void **state)
{
    char buffer[256];
    (void)state;
    for (size_t i = 0; i < COUNT(valid_values); i++)
        for (size_t frame = 0; frame < COUNT(frames); frame++)
            assert_accepted(framed(frame, valid_values[i], buffer, sizeof(buffer)));
}

static void invalid_values_are_rejected_wherever_they_stand(void **state)
{
    char buffer[256];
    (void)state;
    for (size_t i = 0; i < COUNT(invalid_values); i++)
        for (size_t frame = 0; frame < COUNT(frames); frame++)
            if (invalid_values[i].len != 0 || frame != EMPTY_ARRAY)
                assert_rejected(framed(frame, invalid_values[i], buffer, sizeof(buffer)));
}

static void whole_texts_that_are_not_one_object_are_rejected(void **state)
{
    static const struct slice texts[] = {
        V(""),
        V(" "),
        V("\n"),
        V("null"),
        V("1"),
        V("\"a\""),
        V("[]"),
        V("[{}]"),
        V("{"),
        V("}"),
        V("{{}}"),
        V("{}{}"),
        V("{} {}"),
        V("{},"),
        V("{}]"),
        V("{}}"),
        V("{}#"),
        V("{}\0"),
        V("\0{}"),
        V("{\0}"),
        V("\xef\xbb\xbf{}"),
        V("\v{}"),
        V("{}\f"),
        V("{\"a\":1}x"),
        V("{\"a\":1},"),
        V("{\"a\":1}\"\""),
        V("{\"a\":1"),
        V("{\"a\":1,"),
        V("{\"a\":1,}"),
        V("{,\"a\":1}"),
        V("{,}"),
        V("{\"a\":1,,\"b\":2}"),
        V("{\"a\":1 \"b\":2}"),
        V("{\"a\"}"),
        V("{\"a\" \"b\"}"),
        V("{\"a\"::1}"),
        V("{\"a\"=1}"),
        V("{a:1}"),
        V("{'a':1}"),
        V("{1:2}"),
        V("{\"a\\x\":1}"),
        V("{\"a\t\":1}"),
        V("{\"a\":1]"),
        V("({})"),
        V("{\"a\":1;}"),
        V("{\"a\\uD8\":1}"),
        V("{\"a"),
        V("{\"a\\"),
        V("{\"a\\u"),
        V("{\"a\":"),
        V("{\"a\":\"\\"),
        V("/**/{}"),
        V("{}//"),
        V("{\"a\":/**/1}"),
    };
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_rejected(texts[i]);
}

static void a_text_cut_anywhere_is_rejected(void **state)
{
    static const char text[] = "{\"name\":\"va\\u00e9\\ud83d\\ude00\\n\",\"n\" : "
                               "-12.5e+3,\"t\":true,\"f\":false , \"z\":null,"
                               "\"o\":{\"a\":[1,\"\\u1234\",{\"b\":{}}],\"c\":[]},\"long\":"
                               "\"0123456789abcdef0123456789abcdef\"}";
    (void)state;
    for (size_t len = 0; len < sizeof(text) - 1; len++)
        assert_rejected(slice_of(text, len));
    assert_accepted(slice_of(text, sizeof(text) - 1));
}

static void a_byte_turned_into_a_control_character_is_rejected(void **state)
{
    char text[] =
        "{\"name\":\"0123456789abcdef0123456789\",\"o\":{\"k\":\"0123456789abcdefghij\"}}";
    (void)state;
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        char kept = text[i];
        text[i] = '\x01';
        assert_rejected(slice_of(text, sizeof(text) - 1));
        text[i] = kept;
    }
}

/* ---- nesting ---- */

/* {"a":[[[…]]]} of that many levels, the outermost object one of them. Kinds: 'a' arrays, 'o' objects, 'm' in turn. */
static struct slice nested(unsigned levels, char kind, char *buffer)
{
    static const char object[] = "{\"a\":";
    size_t len = 0;
    bool objects[256];
    for (unsigned i = 0; i < levels; i++) {
        objects[i] = i == 0 || kind == 'o' || (kind == 'm' && i % 2 == 0);
        size_t more = objects[i] ? sizeof(object) - 1 : 1;
        memcpy(buffer + len, objects[i] ? object : "[", more);
        len += more;
    }
    buffer[len++] = '1';
    for (unsigned i = levels; i > 0; i--)
        buffer[len++] = objects[i - 1] ? '}' : ']';
    return slice_of(buffer, len);
}

static void nesting_is_accepted_up_to_the_limit(void **state)
{
    static const char kinds[] = "aom";
    char buffer[2048];
    (void)state;
    for (size_t i = 0; i < COUNT(kinds) - 1; i++) {
        for (unsigned levels = 1; levels <= JSON_MAX_DEPTH; levels++)
            assert_accepted(nested(levels, kinds[i], buffer));
        for (unsigned levels = JSON_MAX_DEPTH + 1; levels < JSON_MAX_DEPTH + 70; levels++)
            assert_rejected(nested(levels, kinds[i], buffer));
    }
    assert_string_equal(scan.object.error, "values are nested too deep");
}

static void depth_is_given_back_when_a_level_is_closed(void **state)
{
    char buffer[4096] = "{\"a\":[";
    size_t len = strlen(buffer);
    (void)state;
    for (int i = 0; i < 300; i++, len += 11)
        memcpy(buffer + len, "[{\"b\":[]}],", 11);
    memcpy(buffer + len, "0]}", 3);
    assert_accepted(slice_of(buffer, len + 3));
}

static void a_million_open_brackets_end_soon(void **state)
{
    size_t len = (size_t)1 << 20;
    char *text = (char *)malloc(len);
    (void)state;
    assert_non_null(text);
    memset(text, '[', len);
    memcpy(text, "{\"a\":", 5);
    assert_rejected(slice_of(text, len));
    assert_int_equal(scan.object.error_offset, 5 + JSON_MAX_DEPTH - 1);
    free(text);
}

/* ---- strings ---- */

static void escapes_are_decoded(void **state)
{
    static const struct {
        struct slice raw, text;
    } cases[] = {
        {V("\\\"\\\\\\/\\b\\f\\n\\r\\t"), V("\"\\/\b\f\n\r\t")},
        {V("\\u0000"), V("\0")},
        {V("a\\u0000b"), V("a\0b")},
        {V("\\u007f\\u0080"), V("\x7f\xc2\x80")},
        {V("\\u07ff\\u0800"), V("\xdf\xbf\xe0\xa0\x80")},
        {V("\\ud7ff\\ue000\\uffff"), V("\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf")},
        {V("\\uFFFE\\ufDd0"), V("\xef\xbf\xbe\xef\xb7\x90")},
        {V("\\ud800\\udc00"), V("\xf0\x90\x80\x80")},
        {V("\\uDBFF\\uDFFF"), V("\xf4\x8f\xbf\xbf")},
        {V("\\ud83d\\ude00!"), V("\xf0\x9f\x98\x80!")},
        {V("\\ud83d"), V("\xef\xbf\xbd")},
        {V("\\ude00"), V("\xef\xbf\xbd")},
        {V("\\ud83dx"), V("\xef\xbf\xbdx")},
        {V("\\ud83d\\n"), V("\xef\xbf\xbd\n")},
        {V("\\ud83d\\u0041"), V("\xef\xbf\xbd"
                                "A")},
        {V("\\ude00\\ud83d"), V("\xef\xbf\xbd\xef\xbf\xbd")},
        {V("\\ud83d\\ud83d\\ude00"), V("\xef\xbf\xbd\xf0\x9f\x98\x80")},
        {V("\\ud83d\\\\ude00"), V("\xef\xbf\xbd\\ude00")},
        {V("\xff\\n\xc0"), V("\xff\n\xc0")},
    };
    char buffer[256];
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int len =
            snprintf(buffer, sizeof(buffer), "{\"%s\":\"%s\"}", cases[i].raw.ptr, cases[i].raw.ptr);
        assert_accepted(slice_of(buffer, (size_t)len));
        assert_member(0, cases[i].text, cases[i].text, FIELD_STRING);
    }
}

/* Strings of 0 to 70 plain bytes with something special at each place: blocks end everywhere. */
static void an_escape_at_any_place_of_a_string_of_any_length(void **state)
{
    static const struct {
        struct slice raw, text; /* text ptr NULL: rejected */
    } specials[] = {
        {V("\\n"), V("\n")},
        {V("\\u20ac"), V("\xe2\x82\xac")},
        {V("\\ud83d\\ude00"), V("\xf0\x9f\x98\x80")},
        {V("\xff"), V("\xff")},
        {V("\\\""), V("\"")},
        {V("\x1f"), {NULL, 0}},
        {V("\\q"), {NULL, 0}},
        {V("\0"), {NULL, 0}},
        {V("\\\\\\\\"), V("\\\\")},
    };
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,-_~ /:";
    char raw[128];
    char text[128];
    (void)state;
    for (size_t len = 0; len < sizeof(plain); len++)
        for (size_t at = 0; at <= len; at++)
            for (size_t i = 0; i < COUNT(specials); i++) {
                size_t n = 6;
                memcpy(raw, "{\"k\":\"", 6);
                memcpy(raw + n, plain, at);
                memcpy(raw + n + at, specials[i].raw.ptr, specials[i].raw.len);
                memcpy(raw + n + at + specials[i].raw.len, plain + at, len - at);
                n += len + specials[i].raw.len;
                memcpy(raw + n, "\"}", 2);
                if (specials[i].text.ptr == NULL) {
                    assert_rejected(slice_of(raw, n + 2));
                    continue;
                }
                assert_accepted(slice_of(raw, n + 2));
                memcpy(text, plain, at);
                memcpy(text + at, specials[i].text.ptr, specials[i].text.len);
                memcpy(text + at + specials[i].text.len, plain + at, len - at);
                assert_member(0, SLICE("k"), slice_of(text, len + specials[i].text.len),
                              FIELD_STRING);
            }
}

static void a_string_of_a_mebibyte(void **state)
{
    size_t len = (size_t)1 << 20;
    char *text = (char *)malloc(len + 8);
    (void)state;
    assert_non_null(text);
    memset(text, 'x', len + 8);
    memcpy(text, "{\"k\":\"", 6);
    memcpy(text + len + 6, "\"}", 2);
    assert_accepted(slice_of(text, len + 8));
    assert_int_equal(scan.members[0].value.len, len);
    memcpy(text + len + 4, "\\n", 2);
    assert_accepted(slice_of(text, len + 8));
    assert_int_equal(scan.members[0].value.len, len - 1);
    assert_int_equal(scan.members[0].value.ptr[len - 2], '\n');
    free(text);
}

static void a_full_arena_is_an_error(void **state)
{
    static struct arena none;
    struct json_object object;
    struct field member;
    struct slice text = SLICE("{\"plain\":\"plain\",\"a\":\"\\n\"}");
    (void)state;
    arena_init(&none, NULL, 0);
    assert_int_equal(json_object_open(&object, text, &none), 0);
    assert_int_equal(json_object_next(&object, &member), 1);
    assert_int_equal(json_object_next(&object, &member), -1);
    assert_true(none.overflowed);
    assert_string_equal(object.error, "no memory left for the text");
}

/* ---- errors ---- */

static void errors_say_what_and_where(void **state)
{
    static const struct {
        const char *text, *error;
        size_t offset;
    } cases[] = {
        {"", "the text ends too early", 0},
        {"hello", "no JSON object begins here", 0},
        {"  [1]", "no JSON object begins here", 2},
        {"{1}", "a name in quotes is missing", 1},
        {"{\"a\":1,}", "a name in quotes is missing", 7},
        {"{\"a\" 1}", "a colon is missing", 5},
        {"{\"a\":x}", "there is no valid value", 5},
        {"{\"a\":01}", "a comma or a closing bracket is missing", 6},
        {"{\"a\":1 \"b\":2}", "a comma or a closing bracket is missing", 7},
        {"{\"a\":[1 2]}", "a comma or a closing bracket is missing", 8},
        {"{\"a\":{\"b\" 1}}", "a colon is missing", 10},
        {"{\"a\":{\"b\":1,}}", "a name in quotes is missing", 12},
        {"{\"a\":\"\\q\"}", "there is no such escape", 7},
        {"{\"a\":\"\\u12x4\"}", "\\u has four hexadecimal digits", 10},
        {"{\"a\":\"b\tc\"}", "a control character stands in a string", 7},
        {"{\"a\":1} x", "something stands behind the object", 8},
        {"{\"a\":1", "the text ends too early", 6},
        {"{\"a\":\"bcd", "the text ends too early", 9},
        {"{\"a\":[", "the text ends too early", 6},
        {"{\"a\":\"\\u1", "the text ends too early", 9},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(scan_text(cases[i].text), -1);
        assert_string_equal(scan.object.error, cases[i].error);
        assert_int_equal(scan.object.error_offset, cases[i].offset);
    }
}

/* ---- numbers ---- */

static bool is_number_value(struct slice text)
{
    return text.len != 0 && (text.ptr[0] == '-' || (text.ptr[0] >= '0' && text.ptr[0] <= '9'));
}

static void numbers_alone_are_told_like_numbers_in_objects(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(valid_values); i++)
        assert_int_equal(json_is_number(valid_values[i]), is_number_value(valid_values[i]));
    for (size_t i = 0; i < COUNT(invalid_values); i++)
        assert_false(json_is_number(invalid_values[i]));
    assert_false(json_is_number((struct slice){NULL, 0}));
    assert_false(json_is_number(SLICE(" 1")));
    assert_false(json_is_number(SLICE("1 ")));
}

static int free_all(void **state)
{
    (void)state;
    scan_free();
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_of_every_type_keep_their_text),
        cmocka_unit_test(an_empty_object_has_no_member),
        cmocka_unit_test(names_that_stand_twice_come_twice),
        cmocka_unit_test(strings_without_escapes_are_not_copied),
        cmocka_unit_test(after_the_end_and_after_an_error_the_answer_stays),
        cmocka_unit_test(valid_values_are_accepted_wherever_they_stand),
        cmocka_unit_test(invalid_values_are_rejected_wherever_they_stand),
        cmocka_unit_test(whole_texts_that_are_not_one_object_are_rejected),
        cmocka_unit_test(a_text_cut_anywhere_is_rejected),
        cmocka_unit_test(a_byte_turned_into_a_control_character_is_rejected),
        cmocka_unit_test(nesting_is_accepted_up_to_the_limit),
        cmocka_unit_test(depth_is_given_back_when_a_level_is_closed),
        cmocka_unit_test(a_million_open_brackets_end_soon),
        cmocka_unit_test(escapes_are_decoded),
        cmocka_unit_test(an_escape_at_any_place_of_a_string_of_any_length),
        cmocka_unit_test(a_string_of_a_mebibyte),
        cmocka_unit_test(a_full_arena_is_an_error),
        cmocka_unit_test(errors_say_what_and_where),
        cmocka_unit_test(numbers_alone_are_told_like_numbers_in_objects),
    };
    arena_init(&arena, NULL, (size_t)16 << 20);
    return cmocka_run_group_tests(tests, NULL, free_all);
}
