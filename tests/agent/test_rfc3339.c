#include "agent/rfc3339.h"

#include "tests/agent/harness.h"

#include <inttypes.h>
#include <time.h>

#define UNTOUCHED INT64_C(-7)

/* A copy that ends with its last byte: the sanitizer sees what is read beyond it. */
static const char *parse(const char *text, size_t len, int64_t *time)
{
    char *copy = (char *)malloc(len == 0 ? 1 : len);
    assert_non_null(copy);
    memcpy(copy, text, len);
    *time = UNTOUCHED;
    const char *why = rfc3339_parse(slice_of(copy, len), time);
    free(copy);
    assert_true(why == NULL || *time == UNTOUCHED);
    return why;
}

static void times_are_nanoseconds_since_1970(void **state)
{
    static const struct {
        const char *text;
        int64_t time;
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:00z", 0},
        {"1969-12-31T23:59:59.999999999Z", -1},
        {"2016-10-06T00:17:09.669794202Z", 1475713029669794202},
        {"2016-10-06T02:17:09.669794202+02:00", 1475713029669794202},
        {"2016-10-05T18:47:09.669794202-05:30", 1475713029669794202},
        {"2016-10-06T00:17:09.669794202-00:00", 1475713029669794202},
        {"2016-10-06T00:17:09.6Z", 1475713029600000000},
        {"2016-10-06T00:17:09.000000001Z", 1475713029000000001},
        {"2016-10-06T00:17:09.6697942029999999999999999999999999Z", 1475713029669794202},
        {"2000-02-29T00:00:00Z", 951782400000000000},
        {"2024-02-29T23:59:59+23:59", 1709164859000000000},
        {"2016-12-31T23:59:60Z", 1483228800000000000},
        {"2016-12-31T23:59:60.5Z", 1483228800500000000},
        {"1677-09-21T00:12:44Z", -9223372036000000000},
        {"2262-04-11T23:47:16.854775807Z", INT64_MAX},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        int64_t time;
        const char *why = parse(rows[i].text, strlen(rows[i].text), &time);
        if (why != NULL || time != rows[i].time)
            fail_msg("%s: %" PRId64 " %s", rows[i].text, time, why == NULL ? "" : why);
    }
}

static void other_texts_are_refused(void **state)
{
    static const char *const rows[] = {
        "",
        "2016",
        "2016-10-06",
        "2016-10-06T00:17:09",
        "2016-10-06T00:17:09.Z",
        "2016-10-06T00:17:09.5",
        "2016-10-06T00:17:09,5Z",
        "2016-10-06 00:17:09Z",
        "2016-10-06T00:17:09Z ",
        " 2016-10-06T00:17:09Z",
        "2016-10-06T00:17:09ZZ",
        "2016-10-06T00:17:09+0200",
        "2016-10-06T00:17:09+02",
        "2016-10-06T00:17:09+24:00",
        "2016-10-06T00:17:09+00:60",
        "2016-10-06T00:17:09+0a:00",
        "2016-10-06T00:17:09*02:00",
        "2016-00-06T00:17:09Z",
        "2016-13-06T00:17:09Z",
        "2016-10-00T00:17:09Z",
        "2016-10-32T00:17:09Z",
        "2016-04-31T00:17:09Z",
        "2015-02-29T00:17:09Z",
        "1900-02-29T00:17:09Z",
        "2016-10-06T24:00:00Z",
        "2016-10-06T00:60:00Z",
        "2016-10-06T00:00:61Z",
        "2016/10-06T00:17:09Z",
        "2016-10/06T00:17:09Z",
        "2016-10-06T00.17:09Z",
        "2016-10-06T00:17.09Z",
        "-016-10-06T00:17:09Z",
        "20a6-10-06T00:17:09Z",
        "2016-1 -06T00:17:09Z",
        "20160-10-06T00:17:09Z",
        "99999999999999999999999999",
        "\xff\xff\xff\xff-\xff\xff-\xff\xffT\xff\xff:\xff\xff:\xff\xffZ",
        /* beyond 64 bits of nanoseconds */
        "0000-01-01T00:00:00Z",
        "1677-09-21T00:12:43Z",
        "2262-04-11T23:47:16.854775808Z",
        "9999-12-31T23:59:60-23:59",
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        int64_t time;
        if (parse(rows[i], strlen(rows[i]), &time) == NULL)
            fail_msg("%s: %" PRId64, rows[i], time);
    }
}

static void a_time_that_is_cut_or_has_a_nul_is_refused(void **state)
{
    static const char text[] = "2016-10-06T00:17:09.669794202+02:00";
    char copy[sizeof(text)];
    int64_t time;
    (void)state;
    for (size_t len = 0; len < sizeof(text) - 1; len++)
        assert_non_null(parse(text, len, &time));
    for (size_t at = 0; at < sizeof(text) - 1; at++) {
        memcpy(copy, text, sizeof(text));
        copy[at] = '\0';
        assert_non_null(parse(copy, sizeof(text) - 1, &time));
    }
}

/* gmtime_r() knows the calendar, too. */
static void every_day_of_the_range_is_that_of_the_c_library(void **state)
{
    (void)state;
    for (int64_t day = -106751; day <= 106751; day++) {
        char text[64];
        struct tm tm;
        time_t seconds = (time_t)(day * 86400);
        int64_t time;
        assert_non_null(gmtime_r(&seconds, &tm));
        snprintf(text, sizeof(text), "%04d-%02d-%02dT00:00:00Z", tm.tm_year + 1900, tm.tm_mon + 1,
                 tm.tm_mday);
        assert_null(rfc3339_parse(slice_str(text), &time));
        assert_true(time == day * 86400 * INT64_C(1000000000));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_nanoseconds_since_1970),
        cmocka_unit_test(other_texts_are_refused),
        cmocka_unit_test(a_time_that_is_cut_or_has_a_nul_is_refused),
        cmocka_unit_test(every_day_of_the_range_is_that_of_the_c_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
