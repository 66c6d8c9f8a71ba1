#include "tests/agent/harness.h"

#include "plugins/plugin.h"

#include <time.h>

/* What a line may cost, on an idle core; the callbacks of a sanitizer's build are slower. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MOST_MS 50.0
#else
#define MOST_MS 10.0
#endif

static double cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static struct regex *regex_must(const char *pattern)
{
    struct error error = {.text = ""};
    struct regex *regex = regex_new(pattern, &error);
    if (regex == NULL)
        fail_msg("%s: %s", pattern, error.text);
    return regex;
}

static struct slice group(struct regex *regex, unsigned i, const char *text)
{
    return regex_group(regex, i, slice_str(text));
}

static void matches_as_pcre2_does(void **state)
{
    static const struct {
        const char *pattern, *text;
        int result;
        const char *group1; /* NULL: took no part */
    } rows[] = {
        {"^(\\S+) ", "GET /x", 2, "GET"},
        {"(\\d+)$", "status 404", 2, "404"},
        {"x(a)?", "x", 1, NULL},
        {"x(a)?(b)", "xb", 3, NULL},
        {"x(a*)", "xb", 2, ""},
        {"(a)|b", "b", 1, NULL},
        {"(a)", "b", REGEX_NO_MATCH, NULL},
        {"", "", 1, NULL},
        {"()", "", 2, ""},
        {"^$", "", 1, NULL},
        {"(?i)(error)", "An Error", 2, "Error"},
        {".(.)", "\xC3\xA9", 2, "\xA9"},            /* bytes */
        {"(*UTF)(.).", "\xC3\xA9!", 2, "\xC3\xA9"}, /* characters */
        {"(*UCP)(*UTF)(\\w)", "\xC3\xA9", 2, "\xC3\xA9"},
        {"(*UTF)(b+)", "\xFF\xC3 bb\x80", 2, "bb"}, /* not valid UTF-8 */
        {"(*UTF)a.b",
         "a\xFF"
         "b",
         REGEX_NO_MATCH, NULL},
        {"(\xFF)", "a\xFF", 2, "\xFF"},
        {"foo\\K(bar)", "foobar", 2, "bar"},
        {"(?C1)(a)", "a", 2, "a"}, /* somebody's own callouts change nothing */
    };
    static const char *const prefixes[] = {"", "(*NO_JIT)"};
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++)
        for (size_t k = 0; k < ROWS(prefixes); k++) {
            char pattern[200];
            snprintf(pattern, sizeof(pattern), "%s%s", prefixes[k], rows[i].pattern);
            struct regex *regex = regex_must(pattern);
            int result = regex_match(regex, slice_str(rows[i].text));
            if (result != rows[i].result)
                fail_msg("%s on %s: %d", pattern, rows[i].text, result);
            struct slice one = group(regex, 1, rows[i].text);
            if (rows[i].group1 == NULL)
                assert_null(one.ptr);
            else
                assert_true(one.ptr != NULL && slice_equal(one, slice_str(rows[i].group1)));
            regex_free(&regex);
            assert_null(regex);
        }
}

static void text_without_memory_is_an_empty_text(void **state)
{
    (void)state;
    struct regex *regex = regex_must("^(a*)$");
    struct slice nothing = {NULL, 0};
    assert_int_equal(regex_match(regex, nothing), 2);
    assert_non_null(regex_group(regex, 1, nothing).ptr);
    assert_int_equal(regex_group(regex, 1, nothing).len, 0);
    regex_free(&regex);
}

static void groups_of_a_match_are_gone_with_the_next(void **state)
{
    (void)state;
    struct regex *regex = regex_must("(a)(b)?");
    assert_int_equal(regex_match(regex, SLICE("ab")), 3);
    assert_int_equal(regex_match(regex, SLICE("a")), 2);
    assert_non_null(group(regex, 1, "a").ptr);
    assert_null(group(regex, 2, "a").ptr);
    assert_int_equal(regex_match(regex, SLICE("x")), REGEX_NO_MATCH);
    assert_null(group(regex, 0, "x").ptr);
    assert_null(group(regex, 1, "x").ptr);
    assert_null(group(regex, 99, "x").ptr);
    regex_free(&regex);
}

static void names_are_known_by_group(void **state)
{
    (void)state;
    struct regex *regex = regex_must("(?J)(?<day>\\d)(x)(?:(?<at>a)|(?<at>b))");
    static const char *const names[] = {NULL, "day", NULL, "at", "at", NULL};
    assert_int_equal(regex_group_count(regex), 4);
    for (unsigned i = 0; i < ROWS(names); i++) {
        const char *name = regex_group_name(regex, i);
        if (names[i] == NULL)
            assert_null(name);
        else
            assert_string_equal(name, names[i]);
    }
    assert_int_equal(regex_match(regex, SLICE("1xb")), 5);
    assert_null(group(regex, 3, "1xb").ptr);
    assert_true(slice_equal(group(regex, 4, "1xb"), SLICE("b")));
    regex_free(&regex);
}

static void wrong_patterns_are_told_with_their_place(void **state)
{
    static const char *const rows[][2] = {
        {"(a", "missing closing parenthesis, at the end of the pattern (offset 2)"},
        {"a**b", "at offset 2 of the pattern, before \"*b\""},
        {"[z-a]x",
         "range out of order in character class, at offset 3 of the pattern, before \"a]x\""},
        {"(?<a>x)(?<a>y)", "; with (?J) before it that is allowed"},
        {"(?<1a>x)", "at offset "},
        {"\\", "\\ at end of pattern"},
        {"(*UTF)\xFF", "UTF-8 error"},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct error error = {.text = ""};
        assert_null(regex_new(rows[i][0], &error));
        if (strstr(error.text, rows[i][1]) == NULL)
            fail_msg("%s: \"%s\" does not say \"%s\"", rows[i][0], error.text, rows[i][1]);
    }
}

/* ---- bounded cost ---- */

/* The least of some runs, so that what else the machine does doesn't count. */
static double match_ms(struct regex *regex, struct slice text, int *ret_result)
{
    double least = 1e9;
    for (int i = 0; i < 4 && least > MOST_MS / 2; i++) {
        double begin = cpu_ms();
        *ret_result = regex_match(regex, text);
        double ms = cpu_ms() - begin;
        least = ms < least ? ms : least;
    }
    return least;
}

enum { LONGEST = 1 << 20 };

/* Texts that make backtracking explode: one run; many runs, each too short for a limit at one place; words. */
static void fill_text(char *text, int kind)
{
    for (size_t i = 0; i < LONGEST; i++)
        text[i] = kind == 1 && i % 17 == 16 ? '!' : kind == 2 ? "ab aab, b\n"[i % 10] : 'a';
    text[LONGEST - 1] = '!';
}

static void exploding_patterns_cost_milliseconds_whatever_the_text(void **state)
{
    static const char *const patterns[] = {
        "(a+)+$",
        "^(a+)+$",
        "(a|aa)+$",
        "^(?:(a+)*)*$",
        "a*a*c$|a*b*d$",
        "([a-z]+)*x$",
        "(?:[^!]*a)*zz$",
        "(?:a?){30}a{40}b",
        "(.*)(.*)(.*)(.*)x$",
        "(a+)\\1+$",
        "^(\\w+\\s?)*$",
        "(?s).*(?:a|a)*y$",
        ".*.*=.*",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
        "(?:\\w+\\W*)+\\d",
    };
    static const char *const prefixes[] = {"", "(*NO_JIT)", "(*UTF)"};
    static const size_t lengths[] = {25, 60, 200, 1000, 4000, 30000, LONGEST};
    char *text = (char *)malloc(LONGEST);
    assert_non_null(text);
    unsigned limited = 0;
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        fill_text(text, kind);
        for (size_t i = 0; i < ROWS(patterns) * ROWS(prefixes); i++) {
            char pattern[200];
            snprintf(pattern, sizeof(pattern), "%s%s", prefixes[i / ROWS(patterns)],
                     patterns[i % ROWS(patterns)]);
            struct regex *regex = regex_must(pattern);
            for (size_t k = 0; k < ROWS(lengths); k++) {
                int result = REGEX_NO_MATCH;
                struct slice part = slice_of(text + LONGEST - lengths[k], lengths[k]);
                double ms = match_ms(regex, part, &result);
                if (ms > MOST_MS)
                    fail_msg("%s on %zu bytes, text %d: %.1f ms", pattern, lengths[k], kind, ms);
                limited += result == REGEX_LIMIT;
            }
            regex_free(&regex);
        }
    }
    free(text);
    assert_true(limited > 50); /* it was the limits that ended them */
}

static void stopped_text_leaves_the_next_one_alone(void **state)
{
    (void)state;
    struct regex *regex = regex_must("^(a+)+$");
    assert_int_equal(regex_match(regex, SLICE("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!")),
                     REGEX_LIMIT);
    assert_int_equal(regex_match(regex, SLICE("aaaa")), 2);
    assert_int_equal(regex_match(regex, SLICE("aaaa!")), REGEX_NO_MATCH);
    regex_free(&regex);
}

/* The low limits of the fast program must not change an outcome: patterns that need many steps. */
static void long_texts_still_match(void **state)
{
    static const struct {
        const char *pattern;
        int result;
    } rows[] = {
        {"^(?:[^,]*,)*end$", 1},
        {"end$", 1},
        {"(?:[^,]*,){5}", 1},
        {"^.*(\\d)nd", REGEX_NO_MATCH},
        {"(?<k>\\w+)=(?<v>\\w+)", REGEX_NO_MATCH},
        {"(?i)END", 1},
        {"^((?:\\w+,)+)(end)$", 3},
    };
    static const size_t lengths[] = {100, 1000, 3000, 20000, 60000};
    (void)state;
    for (size_t k = 0; k < ROWS(lengths); k++) {
        size_t len = lengths[k];
        char *text = (char *)malloc(len);
        assert_non_null(text);
        for (size_t i = 0; i < len; i++)
            text[i] = "word,"[i % 5];
        memcpy(text + len - 4, ",end", 4);
        for (size_t i = 0; i < ROWS(rows); i++) {
            struct regex *regex = regex_must(rows[i].pattern);
            for (int time = 0; time < 40; time++) { /* what one text costs isn't put on the next */
                int result = regex_match(regex, slice_of(text, len));
                if (result != rows[i].result)
                    fail_msg("%s on %zu bytes: %d", rows[i].pattern, len, result);
            }
            regex_free(&regex);
        }
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_as_pcre2_does),
        cmocka_unit_test(text_without_memory_is_an_empty_text),
        cmocka_unit_test(groups_of_a_match_are_gone_with_the_next),
        cmocka_unit_test(names_are_known_by_group),
        cmocka_unit_test(wrong_patterns_are_told_with_their_place),
        cmocka_unit_test(exploding_patterns_cost_milliseconds_whatever_the_text),
        cmocka_unit_test(stopped_text_leaves_the_next_one_alone),
        cmocka_unit_test(long_texts_still_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
