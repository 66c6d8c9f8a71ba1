#include "agent/log.h"

#include "tests/agent/harness.h"

#include <errno.h>
#include <regex.h>
#include <stdbool.h>
#include <sys/wait.h>

/* Runs `child` with a pipe as its standard error, which is the journal when `journal`; what it wrote is in `text`. */
static void run_child(void (*child)(void), bool journal, char *text, size_t room)
{
    int ends[2];
    struct stat st;
    char stream[64];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fstat(ends[1], &st), 0);
    pid_t pid = fork();
    assert_int_not_equal(pid, -1);
    if (pid == 0) {
        snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
                 (uintmax_t)st.st_ino + (journal ? 0 : 1));
        setenv("JOURNAL_STREAM", stream, 1);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        child();
        _exit(0);
    }
    close(ends[1]);
    size_t len = 0;
    for (ssize_t n; (n = read(ends[0], text + len, room - 1 - len)) > 0;)
        len += (size_t)n;
    text[len] = '\0';
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void assert_matches(const char *text, const char *pattern)
{
    regex_t regex;
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    if (regexec(&regex, text, 0, NULL, 0) != 0)
        fail_msg("\"%s\" is not like \"%s\"", text, pattern);
    regfree(&regex);
}

static void say_every_level(void)
{
    log_init(LOG_LEVEL_DEBUG);
    log_error("tail", "e %d", 1);
    log_warn("tail", "w");
    log_info("tail", "i");
    log_debug("tail", "d");
}

static void a_line_has_time_level_and_subsystem(void **state)
{
    (void)state;
    char text[1024];
    run_child(say_every_level, false, text, sizeof(text));
#define TIME "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z "
    assert_matches(text, "^" TIME "error tail: e 1\n" TIME "warn tail: w\n" TIME
                         "info tail: i\n" TIME "debug tail: d\n$");
}

static void the_journal_gets_priorities_and_no_time(void **state)
{
    (void)state;
    char text[1024];
    run_child(say_every_level, true, text, sizeof(text));
    assert_string_equal(text, "<3>tail: e 1\n<4>tail: w\n<6>tail: i\n<7>tail: d\n");
}

static void say_at_level_warn(void)
{
    log_init(LOG_LEVEL_WARN);
    log_error("a", "e");
    log_warn("a", "w");
    log_info("a", "i");
    log_debug("a", "d");
}

static void below_the_level_nothing_is_written(void **state)
{
    (void)state;
    char text[1024];
    run_child(say_at_level_warn, true, text, sizeof(text));
    assert_string_equal(text, "<3>a: e\n<4>a: w\n");
}

static void say_line_ends(void)
{
    log_init(LOG_LEVEL_INFO);
    log_info("a", "one\ntwo\r\nthree\n");
    log_info("a", "%s", "");
}

static void a_message_is_one_line(void **state)
{
    (void)state;
    char text[1024];
    run_child(say_line_ends, true, text, sizeof(text));
    assert_string_equal(text, "<6>a: one two  three \n<6>a: \n");
}

#define LONGEST 9000

static void say_long_lines(void)
{
    static char long_text[LONGEST + 1];
    log_init(LOG_LEVEL_INFO);
    memset(long_text, 'x', LONGEST);
    for (size_t len = 4000; len < 4200; len++)
        log_info("a", "%.*s", (int)len, long_text);
    log_info("a", "%s", long_text);
}

static void a_long_message_is_cut_and_still_one_line(void **state)
{
    (void)state;
    static char text[1 << 20];
    run_child(say_long_lines, true, text, sizeof(text));
    size_t lines = 0;
    for (char *at = text, *end; *at != '\0'; at = end + 1, lines++) {
        end = strchr(at, '\n');
        assert_non_null(end);
        *end = '\0';
        assert_int_equal(strncmp(at, "<6>a: xxxx", 10), 0);
        assert_true(strlen(at) > 4000 && strlen(at) < 4096);
        assert_int_equal(strspn(at + 6, "x"), strlen(at + 6));
    }
    assert_int_equal(lines, 201);
}

static void keep_errno(void)
{
    log_init(LOG_LEVEL_INFO);
    close(STDERR_FILENO);
    errno = ENOSPC;
    log_info("a", "nowhere");
    if (errno != ENOSPC)
        _exit(1);
}

static void errno_outlives_a_message_that_can_not_be_written(void **state)
{
    (void)state;
    char text[64];
    run_child(keep_errno, false, text, sizeof(text));
    assert_string_equal(text, "");
}

static void quoting_leaves_nothing_that_could_break_a_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        const char *quoted;
    } rows[] = {
        {"", 0, "\"\""},
        {"/var/log/a b.log", 16, "\"/var/log/a b.log\""},
        {"say \"hi\"", 8, "\"say \\\"hi\\\"\""},
        {"back\\slash", 10, "\"back\\\\slash\""},
        {"a\nb\r\t", 5, "\"a\\x0ab\\x0d\\x09\""},
        {"a\0b", 3, "\"a\\x00b\""},
        {"\x7f\x80\xff", 3, "\"\\x7f\\x80\\xff\""},
        {"\xc3\xa4", 2, "\"\\xc3\\xa4\""},
    };
    for (size_t i = 0; i < ROWS(rows); i++)
        assert_string_equal(log_quote_len(rows[i].text, rows[i].len), rows[i].quoted);
    assert_string_equal(log_quote("x\"y"), "\"x\\\"y\"");
}

static void a_long_text_is_quoted_with_an_ellipsis_and_cut(void **state)
{
    (void)state;
    char text[3000];
    for (size_t len = 0; len <= sizeof(text); len++) {
        static const char kinds[] = {'x', '\n', '"'};
        for (size_t kind = 0; kind < sizeof(kinds); kind++) {
            memset(text, kinds[kind], sizeof(text));
            const char *quoted = log_quote_len(text, len);
            size_t each = kind == 0 ? 1 : kind == 1 ? 4 : 2;
            size_t quoted_len = strlen(quoted);
            bool cut = quoted_len > 4 && strcmp(quoted + quoted_len - 4, "…\"") == 0;
            assert_true(cut ? len * each > 900 : quoted_len == len * each + 2);
            assert_true(!cut || quoted_len > 900);
            assert_true(quoted_len < 1024);
        }
    }
}

static void eight_quoted_texts_live_side_by_side(void **state)
{
    (void)state;
    static const char *const texts[] = {"0", "1", "2", "3", "4", "5", "6", "7"};
    const char *quoted[8];
    char expected[8];
    for (size_t i = 0; i < 8; i++)
        quoted[i] = log_quote(texts[i]);
    for (size_t i = 0; i < 8; i++) {
        snprintf(expected, sizeof(expected), "\"%zu\"", i);
        assert_string_equal(quoted[i], expected);
    }
}

static void a_repeated_message_is_counted_and_held_back(void **state)
{
    (void)state;
    struct log_limit limit = {0};
    unsigned times = 99;
    assert_true(log_allowed(&limit, &times));
    assert_int_equal(times, 1);
    for (int i = 0; i < 5; i++)
        assert_false(log_allowed(&limit, &times));
    assert_int_equal(times, 1);
    limit.next = 0; /* the minute is over */
    assert_true(log_allowed(&limit, &times));
    assert_int_equal(times, 6);
    assert_false(log_allowed(&limit, &times));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_level_and_subsystem),
        cmocka_unit_test(the_journal_gets_priorities_and_no_time),
        cmocka_unit_test(below_the_level_nothing_is_written),
        cmocka_unit_test(a_message_is_one_line),
        cmocka_unit_test(a_long_message_is_cut_and_still_one_line),
        cmocka_unit_test(errno_outlives_a_message_that_can_not_be_written),
        cmocka_unit_test(quoting_leaves_nothing_that_could_break_a_line),
        cmocka_unit_test(a_long_text_is_quoted_with_an_ellipsis_and_cut),
        cmocka_unit_test(eight_quoted_texts_live_side_by_side),
        cmocka_unit_test(a_repeated_message_is_counted_and_held_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
