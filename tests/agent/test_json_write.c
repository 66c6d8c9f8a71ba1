#include "agent/json.h"

#include "agent/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define V(text)                   \
    {                             \
        "" text, sizeof(text) - 1 \
    }
#define R "\xEF\xBF\xBD"

/* ---- writing for tests: into exactly the room that was promised ---- */

typedef char *write_text(char *to, struct slice text, uint64_t *replaced);

static struct {
    char *in, *out;
    struct slice text;
    uint64_t replaced;
} written;

static void written_free(void)
{
    free(written.in);
    free(written.out);
    written.in = written.out = NULL;
}

static void write_with(write_text *write, struct slice text, size_t room)
{
    written_free();
    written.in = (char *)malloc(text.len == 0 ? 1 : text.len);
    written.out = (char *)malloc(room == 0 ? 1 : room);
    assert_non_null(written.in);
    assert_non_null(written.out);
    if (text.len != 0)
        memcpy(written.in, text.ptr, text.len);
    written.replaced = 0;
    char *end = write(written.out, slice_of(written.in, text.len), &written.replaced);
    written.text = slice_of(written.out, (size_t)(end - written.out));
    assert_in_range(written.text.len, 0, room);
}

static void write_string(struct slice text)
{
    size_t most = json_string_most(text);
    assert_in_range(most, text.len + 2, JSON_STRING_ROOM(text.len));
    write_with(json_write_string, text, most);
}

static void write_raw(struct slice text)
{
    write_with(json_write_raw, text, JSON_RAW_ROOM(text.len));
}

static void assert_written(struct slice expected)
{
    if (!slice_equal(written.text, expected))
        fail_msg("\"%.*s\" is not \"%.*s\"", (int)written.text.len, written.text.ptr,
                 (int)expected.len, expected.ptr);
}

/* ---- the same, written down in the slowest way ---- */

/* Is it one well-formed sequence? Decoded, and then looked at: RFC 3629, section 3. */
static bool is_sequence(const unsigned char *bytes, size_t len)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (len == 1)
        return bytes[0] < 0x80;
    if (len < 2 || len > 4 || ((unsigned)bytes[0] >> (7 - len)) != (0xFFu >> (7 - len)) - 1)
        return false;
    uint32_t code = bytes[0] & (0x7Fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((bytes[i] & 0xC0) != 0x80)
            return false;
        code = code << 6 | (bytes[i] & 0x3F);
    }
    return code >= least[len] && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
}

/* Can bytes behind it make it a well-formed sequence? Of all that may follow, these are the edges. */
static bool is_beginning(const unsigned char *bytes, size_t len)
{
    static const unsigned char next[] = {0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF};
    unsigned char more[4];
    if (len >= 4)
        return false;
    memcpy(more, bytes, len);
    for (size_t i = 0; i < COUNT(next); i++) {
        more[len] = next[i];
        if (is_sequence(more, len + 1) || is_beginning(more, len + 1))
            return true;
    }
    return false;
}

/* Repaired: one U+FFFD for each maximal subpart. Returns the length. */
static size_t repair_slowly(struct slice text, char *to, uint64_t *replaced)
{
    const unsigned char *bytes = (const unsigned char *)text.ptr;
    size_t n = 0;
    for (size_t at = 0; at < text.len;) {
        size_t left = text.len - at;
        size_t len = 1;
        while (len <= left && len <= 4 && !is_sequence(bytes + at, len))
            len++;
        if (len <= left && len <= 4) {
            memcpy(to + n, bytes + at, len);
            n += len;
            at += len;
            continue;
        }
        for (len = 1; len < left && is_beginning(bytes + at, len + 1);)
            len++;
        memcpy(to + n, R, 3);
        n += 3;
        at += len;
        ++*replaced;
    }
    return n;
}

static size_t write_slowly(struct slice text, char *to)
{
    static const char letters[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    size_t n = 0;
    to[n++] = '"';
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        const char *letter = letters;
        while (*letter != '\0' && *letter != (char)c)
            letter += 2;
        if (c != '\0' && *letter != '\0') {
            to[n++] = '\\';
            to[n++] = letter[1];
        } else if (c < 0x20) {
            n += (size_t)snprintf(to + n, 7, "\\u%04x", c);
        } else {
            to[n++] = (char)c;
        }
    }
    to[n++] = '"';
    return n;
}

/* Both writers give what the slow ones give. */
static void assert_like_slow(struct slice text)
{
    char repaired[1024];
    char string[4096];
    uint64_t replaced = 0;
    assert_in_range(text.len, 0, 300);
    size_t repaired_len = repair_slowly(text, repaired, &replaced);
    write_raw(text);
    assert_written(slice_of(repaired, repaired_len));
    assert_int_equal(written.replaced, replaced);
    size_t len = write_slowly(slice_of(repaired, repaired_len), string);
    write_string(text);
    assert_written(slice_of(string, len));
    assert_int_equal(written.replaced, replaced);
}

/* ---- tests ---- */

static void strings_are_escaped_as_the_rfc_says(void **state)
{
    static const struct {
        struct slice text, json;
    } cases[] = {
        {{NULL, 0}, V("\"\"")},
        {V("plain"), V("\"plain\"")},
        {V("\"\\/"), V("\"\\\"\\\\/\"")},
        {V("\b\f\n\r\t"), V("\"\\b\\f\\n\\r\\t\"")},
        {V("\0\x01\x0b\x1f\x7f"), V("\"\\u0000\\u0001\\u000b\\u001f\x7f\"")},
        {V("\xe2\x80\xa8\xe2\x80\xa9"), V("\"\xe2\x80\xa8\xe2\x80\xa9\"")},
        {V("\xd0\xa1\xd0\xbf\xd0\xbb\xd0\xb0\xd0\xb2 \xf0\x9f\xaa\xb5"),
         V("\"\xd0\xa1\xd0\xbf\xd0\xbb\xd0\xb0\xd0\xb2 \xf0\x9f\xaa\xb5\"")},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        write_string(cases[i].text);
        assert_written(cases[i].json);
        assert_int_equal(written.replaced, 0);
    }
}

/* The Unicode Standard 15.0, section 3.9, tables 3-8 to 3-11, and RFC 3629's edges. */
static void ill_formed_parts_are_replaced_each_by_one(void **state)
{
    static const struct {
        struct slice bytes, text;
        uint64_t replaced;
    } cases[] = {
        {V("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), V(R R R R R R R R "A"), 8},   /* 3-8 */
        {V("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), V(R R R R R R R R "A"), 8},   /* 3-9 */
        {V("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), V(R R R R R "A" R R "B"), 7}, /* 3-10 */
        {V("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), V(R R R R "A"), 4},           /* 3-11 */
        {V("a\xC2"), V("a" R), 1},
        {V("a\xE2\x82"), V("a" R), 1},
        {V("a\xF0\x9F\x98"), V("a" R), 1},
        {V("\xC2\"\xE2\x82\"\xF0\x9F\x98\""), V(R "\"" R "\"" R "\""), 3},
        {V("\xC2\xC2\x80"), V(R "\xC2\x80"), 1},
        {V("\xC1\xBF\xC2\x80"), V(R R "\xC2\x80"), 2},
        {V("\xE0\x9F\xBF\xE0\xA0\x80"), V(R R R "\xE0\xA0\x80"), 3},
        {V("\xED\x9F\xBF\xEE\x80\x80"), V("\xED\x9F\xBF\xEE\x80\x80"), 0},
        {V("\xF0\x8F\xBF\xBF\xF0\x90\x80\x80"), V(R R R R "\xF0\x90\x80\x80"), 4},
        {V("\xF4\x8F\xBF\xBF\xF4\x90\x80\x80"), V("\xF4\x8F\xBF\xBF" R R R R), 4},
        {V("\xF5\x80\xFE\xFF"), V(R R R R), 4},
        {V("\xEF\xBF\xBD\xEF\xBF\xBE"), V("\xEF\xBF\xBD\xEF\xBF\xBE"), 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        write_raw(cases[i].bytes);
        assert_written(cases[i].text);
        assert_int_equal(written.replaced, cases[i].replaced);
        assert_like_slow(cases[i].bytes);
    }
}

static void every_sequence_of_edge_bytes(void **state)
{
    static const unsigned char edges[] = {0x00, 0x22, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0,
                                          0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED,
                                          0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF};
    static const unsigned char leads[] = {0xE0, 0xED, 0xF0, 0xF1, 0xF4};
    char bytes[4];
    (void)state;
    for (size_t a = 0; a < COUNT(edges); a++)
        for (size_t b = 0; b < COUNT(edges); b++)
            for (size_t c = 0; c < COUNT(edges); c++) {
                bytes[1] = (char)edges[a];
                bytes[2] = (char)edges[b];
                bytes[3] = (char)edges[c];
                assert_like_slow(slice_of(bytes + 1, 3));
                for (size_t i = 0; i < COUNT(leads); i++) {
                    bytes[0] = (char)leads[i];
                    assert_like_slow(slice_of(bytes, 4));
                }
            }
}

/* Blocks of 16, 8 and 4 bytes begin and end everywhere. */
static void every_byte_at_any_place_of_a_text_of_any_length(void **state)
{
    char text[40];
    (void)state;
    for (size_t len = 1; len <= sizeof(text); len++)
        for (size_t at = 0; at < len; at++) {
            for (size_t i = 0; i < len; i++)
                text[i] = (char)('a' + i % 26);
            for (unsigned c = 0; c < 256; c++) {
                text[at] = (char)c;
                assert_like_slow(slice_of(text, len));
            }
        }
}

static void special_bytes_in_any_mixture(void **state)
{
    static const char *const pieces[] = {"\"",
                                         "\\",
                                         "\n",
                                         "\x02",
                                         "\xc3\xa9",
                                         "\xe2\x82\xac",
                                         "\xff",
                                         "\xf0\x9f",
                                         "abc",
                                         "0123456789abcdef0",
                                         "\xf0\x9f\x98\x80"};
    char text[256];
    uint64_t random = 88172645463325252u;
    (void)state;
    for (int round = 0; round < 20000; round++) {
        size_t len = 0;
        for (int i = 0; i < 12; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            const char *piece = pieces[random % COUNT(pieces)];
            memcpy(text + len, piece, strlen(piece));
            len += strlen(piece);
        }
        assert_like_slow(slice_of(text, len));
    }
}

static void the_scanner_reads_back_what_was_written(void **state)
{
    char text[300];
    char object[3000];
    uint64_t replaced = 0;
    struct arena arena;
    struct json_object scanned;
    struct field member;
    (void)state;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(i % 128);
    char *end = object;
    *end++ = '{';
    end = json_write_string(end, SLICE("k\n"), &replaced);
    *end++ = ':';
    end = json_write_string(end, slice_of(text, sizeof(text)), &replaced);
    *end++ = '}';
    arena_init(&arena, NULL, (size_t)1 << 20);
    struct slice written_object = slice_of(object, (size_t)(end - object));
    assert_int_equal(json_object_open(&scanned, written_object, &arena), 0);
    assert_int_equal(json_object_next(&scanned, &member), 1);
    assert_true(slice_equal(member.key, SLICE("k\n")));
    assert_true(slice_equal(member.value, slice_of(text, sizeof(text))));
    assert_int_equal(json_object_next(&scanned, &member), 0);
    arena_reset(&arena);
}

static int free_all(void **state)
{
    (void)state;
    written_free();
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_escaped_as_the_rfc_says),
        cmocka_unit_test(ill_formed_parts_are_replaced_each_by_one),
        cmocka_unit_test(every_sequence_of_edge_bytes),
        cmocka_unit_test(every_byte_at_any_place_of_a_text_of_any_length),
        cmocka_unit_test(special_bytes_in_any_mixture),
        cmocka_unit_test(the_scanner_reads_back_what_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, free_all);
}
