#include "agent/number.h"

#include "tests/agent/harness.h"

#include <math.h>

static void numbers_are_ordered_by_value(void **state)
{
    static const struct {
        const char *a, *b;
        int order;
    } rows[] = {
        {"1", "1", 0},
        {"1", "2", -1},
        {"10", "9", 1},
        {"-1", "1", -1},
        {"-10", "-9", -1},
        {"-0", "0", 0},
        {"-0", "-1", 1},
        {"0", "-0.0", 0},
        {"1", "1.0", 0},
        {"1e3", "1000", 0},
        {"1E+3", "999.5", 1},
        {"0.1", "0.10", 0},
        {"-0.5", "0.5", -1},
        /* beyond what a double holds exactly */
        {"9007199254740993", "9007199254740992", 1},
        {"-9007199254740993", "-9007199254740992", -1},
        {"18446744073709551616", "18446744073709551615", 1},
        {"123456789012345678901234567890", "123456789012345678901234567891", -1},
        {"-123456789012345678901234567890", "99", -1},
        /* beyond its range */
        {"1e400", "1e399", 0}, /* both infinite */
        {"1e400", "1", 1},
        {"-1e400", "-1", -1},
        {"1e-400", "0", 0},
        {"1e999999999999999999999", "1e308", 1},
        {"1e-999999999999999999999", "1e-300", -1},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++)
        for (int swap = 0; swap < 2; swap++) {
            struct slice a = slice_str(swap ? rows[i].b : rows[i].a);
            struct slice b = slice_str(swap ? rows[i].a : rows[i].b);
            int order = number_compare(a, b);
            order = (order > 0) - (order < 0);
            if (order != (swap ? -rows[i].order : rows[i].order))
                fail_msg("%s and %s: %d", rows[i].a, rows[i].b, order);
        }
}

static void doubles_are_those_of_strtod(void **state)
{
    static const char *const rows[] = {
        "0",
        "-0",
        "0.1",
        "1.5",
        "-2.25",
        "123456.789",
        "1e10",
        "1E-10",
        "1.5e+3",
        "0.00000012",
        "0e5",
        "5e-324",
        "2.2e-308",
        "1.7976931348623157e308",
        "100000000000000000000000",
        "0.30000000000000004",
        "12345678901234567890.12345678901234567890123456789012345678901234567890e-3",
        "0."
        "000000000000000000000000000000000000000000000000000000000000000000001234567890123456789e6"
        "0",
        "1000000000000000000000000000000000000000000000000000000000000000000000000000000000000e-80",
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        double expected = strtod(rows[i], NULL);
        double got = number_double(slice_str(rows[i]));
        if (expected != got || signbit(expected) != signbit(got))
            fail_msg("%s: %.17g, not %.17g", rows[i], got, expected);
    }
}

static void text_of_any_length_is_a_double(void **state)
{
    enum { LEN = 5000 };
    char text[LEN + 3];
    (void)state;
    memset(text, '7', LEN);
    assert_true(isinf(number_double(slice_of(text, LEN))));
    memcpy(text, "0.", 2);
    memset(text + 2, '0', LEN);
    text[LEN] = '1';
    assert_true(number_double(slice_of(text, LEN + 1)) == 0.0);
    memcpy(text + LEN, "1e1", 3);
    assert_true(number_double(slice_of(text, LEN + 3)) == 0.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_ordered_by_value),
        cmocka_unit_test(doubles_are_those_of_strtod),
        cmocka_unit_test(text_of_any_length_is_a_double),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
