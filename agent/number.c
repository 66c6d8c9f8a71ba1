/* A number keeps its text, so comparing works on texts: whole numbers by sign, length and digits (JSON
 * has no leading zeros), the others through strtod(), which needs a short text that ends. That text is
 * made of the first digits that count and an exponent, without a decimal point: no locale matters. */
#include "agent/number.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define DIGITS_MOST   40 /* those behind them can't change which double is nearest, but for ties */
#define EXPONENT_MOST 99999999 /* far outside of a double's range, and of an int's end */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_whole(struct slice text)
{
    for (size_t i = text.ptr[0] == '-'; i < text.len; i++)
        if (!is_digit(text.ptr[i]))
            return false;
    return true;
}

static int compare_whole(struct slice a, struct slice b)
{
    if (slice_equal(a, SLICE("-0")))
        a = SLICE("0");
    if (slice_equal(b, SLICE("-0")))
        b = SLICE("0");
    bool negative = a.ptr[0] == '-';
    if (negative != (b.ptr[0] == '-'))
        return negative ? -1 : 1;
    int order = a.len != b.len ? (a.len < b.len ? -1 : 1) : memcmp(a.ptr, b.ptr, a.len);
    return negative ? -order : order;
}

/* The exponent that stands at `at`, behind the e. */
static int64_t exponent_of(const char *at, const char *end)
{
    bool negative = at < end && *at == '-';
    int64_t exponent = 0;
    for (; at < end; at++)
        if (is_digit(*at) && exponent < EXPONENT_MOST)
            exponent = exponent * 10 + (*at - '0');
    return negative ? -exponent : exponent;
}

double number_double(struct slice text)
{
    char digits[DIGITS_MOST + 32];
    size_t n = 0;
    int64_t exponent = 0;
    bool fraction = false;
    const char *end = text.ptr + text.len;
    const char *at = text.ptr;
    if (at < end && *at == '-')
        digits[n++] = *at++;
    size_t first = n;
    for (; at < end && *at != 'e' && *at != 'E'; at++) {
        if (*at == '.') {
            fraction = true;
            continue;
        }
        bool counts = n < DIGITS_MOST && (n > first || *at != '0');
        if (counts)
            digits[n++] = *at;
        if (fraction && (counts || n == first))
            exponent--;
        else if (!fraction && !counts && n > first)
            exponent++;
    }
    if (at < end)
        exponent += exponent_of(at + 1, end);
    if (exponent > EXPONENT_MOST || exponent < -EXPONENT_MOST)
        exponent = exponent > 0 ? EXPONENT_MOST : -EXPONENT_MOST;
    if (n == first)
        digits[n++] = '0';
    snprintf(digits + n, sizeof(digits) - n, "e%" PRId64, exponent);
    return strtod(digits, NULL);
}

int number_compare(struct slice a, struct slice b)
{
    if (is_whole(a) && is_whole(b))
        return compare_whole(a, b);
    double x = number_double(a);
    double y = number_double(b);
    return x < y ? -1 : x > y;
}
