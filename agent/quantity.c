/* Digits, then a unit from a table; every step is checked for overflow. */
#include "agent/quantity.h"

#include <inttypes.h>
#include <stdio.h>

struct unit {
    const char *name;
    int64_t factor;
};

/* Of each table the first name of a factor is the one that is written. */
static const struct unit size_units[] = {
    {"TiB", INT64_C(1) << 40},
    {"GiB", INT64_C(1) << 30},
    {"MiB", INT64_C(1) << 20},
    {"KiB", INT64_C(1) << 10},
    {"", 1},
    {"B", 1},
    {"TB", INT64_C(1000000000000)},
    {"GB", INT64_C(1000000000)},
    {"MB", INT64_C(1000000)},
    {"kB", INT64_C(1000)},
    {"KB", INT64_C(1000)},
    {NULL, 0},
};

static const struct unit time_units[] = {
    {"d", INT64_C(86400000)}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0},
};

/* Digits from *text on, which moves behind them. */
static int read_digits(const char **text, int64_t *ret_value)
{
    const char *at = *text;
    int64_t value = 0;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *at - '0', &value))
            return -1;
    if (at == *text)
        return -1;
    *text = at;
    *ret_value = value;
    return 0;
}

static int read_with_unit(const char *text, const struct unit *units, int64_t *ret_value)
{
    int64_t value;
    if (read_digits(&text, &value) == -1)
        return -1;
    for (const struct unit *unit = units; unit->name != NULL; unit++)
        if (strcmp(text, unit->name) == 0)
            return __builtin_mul_overflow(value, unit->factor, ret_value) ? -1 : 0;
    return -1;
}

static void write_with_unit(char buffer[QUANTITY_ROOM], const struct unit *units, int64_t value)
{
    const struct unit *best = units;
    while (value % best->factor != 0 || (value == 0 && best->factor != 1 && best[1].name != NULL))
        best++;
    snprintf(buffer, QUANTITY_ROOM, "%" PRId64 "%s", value / best->factor, best->name);
}

int quantity_integer(const char *text, int64_t *ret_value)
{
    bool negative = *text == '-';
    int64_t value;
    text += negative;
    if (read_digits(&text, &value) == -1 || *text != '\0')
        return -1;
    *ret_value = negative ? -value : value;
    return 0;
}

int quantity_size(const char *text, int64_t *ret_bytes)
{
    int64_t bytes;
    if (read_with_unit(text, size_units, &bytes) == -1)
        return -1;
    *ret_bytes = bytes;
    return 0;
}

int quantity_time(const char *text, int64_t *ret_ms)
{
    int64_t ms;
    if (read_with_unit(text, time_units, &ms) == -1)
        return -1;
    *ret_ms = ms;
    return 0;
}

void quantity_size_text(char buffer[QUANTITY_ROOM], int64_t bytes)
{
    write_with_unit(buffer, size_units, bytes);
}

void quantity_time_text(char buffer[QUANTITY_ROOM], int64_t ms)
{
    write_with_unit(buffer, time_units, ms);
}
