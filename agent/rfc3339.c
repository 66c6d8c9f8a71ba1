/* All places up to the seconds are fixed, so there is no scanning but for the fraction. */
#include "agent/rfc3339.h"

#define SECOND_NS INT64_C(1000000000)
#define NO_DIGITS 1000u /* above every limit that a two-digit number is held against */

enum { FIXED_LEN = 19 }; /* of 2016-10-06T00:17:09 */

static const char not_a_time[] = "the time is not one of RFC 3339";

static inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') <= 9;
}

static inline unsigned two_digits(const char *at)
{
    if (!is_digit(at[0]) || !is_digit(at[1]))
        return NO_DIGITS;
    return (unsigned)(at[0] - '0') * 10 + (unsigned)(at[1] - '0');
}

static inline bool is_leap_year(unsigned year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days from 1970-01-01 to the date at `at`, YYYY-MM-DD; false: there is none. */
static inline bool date_days(const char *at, int64_t *ret_days)
{
    enum {
        DAYS_TO_1970 = 719528
    }; /* from 0000-01-01, in the Gregorian calendar reckoned backwards */
    static const uint16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    static const uint8_t length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned century = two_digits(at);
    unsigned year = two_digits(at + 2);
    unsigned month = two_digits(at + 5);
    unsigned day = two_digits(at + 8);
    if (century > 99 || year > 99 || month - 1 > 11 || at[4] != '-' || at[7] != '-')
        return false;
    year += century * 100;
    bool leap = is_leap_year(year);
    if (day == 0 || day > length[month - 1] + (month == 2 && leap ? 1u : 0u))
        return false;
    int64_t last = (int64_t)year - 1; /* leap days of the years before, year 0 being one itself */
    int64_t leap_days = year == 0 ? 0 : last / 4 - last / 100 + last / 400 + 1;
    *ret_days = (int64_t)year * 365 + leap_days + before[month - 1] + (month > 2 && leap) + day -
                1 - DAYS_TO_1970;
    return true;
}

/* Past the fraction that begins at `at` with its point; NULL: there is no digit. */
static inline const char *fraction_ns(const char *at, const char *end, int64_t *ret_ns)
{
    int64_t ns = 0;
    int64_t unit = SECOND_NS;
    const char *first = ++at;
    for (; at < end && is_digit(*at); at++) {
        unit /= 10; /* 0 behind the ninth digit */
        ns += (*at - '0') * unit;
    }
    *ret_ns = ns;
    return at == first ? NULL : at;
}

/* Seconds that the offset, which is all of [at, end), is ahead of UTC; false: it is none. */
static inline bool offset_seconds(const char *at, const char *end, int64_t *ret_seconds)
{
    *ret_seconds = 0;
    if (end - at == 1)
        return *at == 'Z' || *at == 'z';
    if (end - at != 6 || (*at != '+' && *at != '-') || at[3] != ':')
        return false;
    unsigned hours = two_digits(at + 1);
    unsigned minutes = two_digits(at + 4);
    int64_t seconds = (int64_t)hours * 3600 + (int64_t)minutes * 60;
    *ret_seconds = *at == '-' ? -seconds : seconds;
    return hours <= 23 && minutes <= 59;
}

const char *rfc3339_parse(struct slice text, int64_t *ret_time)
{
    int64_t days, ns = 0, offset, time;
    if (text.len <= FIXED_LEN)
        return not_a_time;
    const char *at = text.ptr;
    const char *end = at + text.len;
    unsigned hour = two_digits(at + 11);
    unsigned minute = two_digits(at + 14);
    unsigned second = two_digits(at + 17);
    if ((at[10] != 'T' && at[10] != 't') || at[13] != ':' || at[16] != ':' || hour > 23 ||
        minute > 59 || second > 60 || !date_days(at, &days))
        return not_a_time;
    at += FIXED_LEN;
    if (*at == '.')
        at = fraction_ns(at, end, &ns);
    if (at == NULL || !offset_seconds(at, end, &offset))
        return not_a_time;
    int64_t seconds =
        days * 86400 + (int64_t)hour * 3600 + (int64_t)minute * 60 + (int64_t)second - offset;
    if (__builtin_mul_overflow(seconds, SECOND_NS, &time) || __builtin_add_overflow(time, ns, &time))
        return "the time is before 1678 or after April 2262";
    *ret_time = time;
    return NULL;
}
