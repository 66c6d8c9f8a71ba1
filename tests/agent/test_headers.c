#include "agent/headers.h"

#include "tests/agent/harness.h"

static void headers_come_out_as_they_went_in(void **state)
{
    (void)state;
    char longer[300], bytes[1024];
    memset(longer, 'x', sizeof(longer));
    const struct slice pairs[][2] = {
        {SLICE("sd"), SLICE("\x01\x00\xff")},
        {SLICE("empty"), SLICE("")},
        {SLICE("sd"), SLICE("the same name again")},
        {SLICE("long"), {longer, sizeof(longer)}},
    };
    char *end = bytes;
    size_t room = 0;
    for (size_t i = 0; i < ROWS(pairs); i++) {
        end = headers_put(end, pairs[i][0], pairs[i][1]);
        room += headers_room(pairs[i][0], pairs[i][1]);
    }
    assert_true((size_t)(end - bytes) <= room);
    struct slice rest = slice_of(bytes, (size_t)(end - bytes)), name, value;
    for (size_t i = 0; i < ROWS(pairs); i++) {
        assert_int_equal(headers_next(&rest, &name, &value), 1);
        assert_true(slice_equal(name, pairs[i][0]));
        assert_true(slice_equal(value, pairs[i][1]));
    }
    assert_int_equal(headers_next(&rest, &name, &value), 0);
}

static void numbers_are_as_short_as_they_can_be(void **state)
{
    (void)state;
    static const struct {
        uint64_t number;
        struct slice bytes;
    } rows[] = {
        {0, {"\x00", 1}},
        {127, {"\x7f", 1}},
        {128, {"\x80\x01", 2}},
        {300, {"\xac\x02", 2}},
        {UINT64_MAX, {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", VARINT_MOST}},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        char bytes[VARINT_MOST];
        size_t len = (size_t)(varint_put(bytes, rows[i].number) - bytes);
        assert_true(slice_equal(slice_of(bytes, len), rows[i].bytes));
    }
}

static void bytes_that_are_cut_are_refused(void **state)
{
    (void)state;
    char bytes[64];
    const size_t len = (size_t)(headers_put(bytes, SLICE("name"), SLICE("value")) - bytes);
    for (size_t cut = 1; cut < len; cut++) {
        struct slice rest = slice_of(bytes, cut), name, value;
        assert_int_equal(headers_next(&rest, &name, &value), -1);
    }
    struct slice endless = SLICE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), name, value;
    assert_int_equal(headers_next(&endless, &name, &value), -1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_come_out_as_they_went_in),
        cmocka_unit_test(numbers_are_as_short_as_they_can_be),
        cmocka_unit_test(bytes_that_are_cut_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
