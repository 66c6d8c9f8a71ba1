#include "agent/stats.h"

#include "tests/agent/harness.h"

#include <pthread.h>

static void the_law_holds_only_when_every_line_is_accounted_for(void **state)
{
    (void)state;
    static const struct {
        uint64_t read, delivered, dropped, too_large, rejected, topic, memory, entered, settled;
        bool holds;
    } rows[] = {
        {.holds = true},
        {.read = 10, .delivered = 4, .dropped = 3, .entered = 7, .settled = 4, .holds = true},
        {.read = 10, .delivered = 4, .dropped = 3, .entered = 7, .settled = 5, .holds = false},
        {.read = 10, .delivered = 4, .dropped = 3, .entered = 6, .settled = 4, .holds = false},
        {.read = 10, .delivered = 9, .entered = 9, .settled = 9, .holds = false},
        {.read = 10, .delivered = 11, .entered = 11, .settled = 11, .holds = false},
        {.read = 10, .too_large = 1, .rejected = 2, .topic = 3, .memory = 4, .holds = true},
        {.read = 9, .too_large = 1, .rejected = 2, .topic = 3, .memory = 4, .holds = false},
        {.read = UINT64_MAX, .delivered = UINT64_MAX, .holds = true},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        uint64_t sums[STAT_COUNT] = {
            [STAT_read] = rows[i].read,
            [STAT_delivered] = rows[i].delivered,
            [STAT_dropped] = rows[i].dropped,
            [STAT_discarded_too_large] = rows[i].too_large,
            [STAT_discarded_rejected] = rows[i].rejected,
            [STAT_discarded_topic] = rows[i].topic,
            [STAT_discarded_memory] = rows[i].memory,
            [STAT_entered] = rows[i].entered,
            [STAT_settled] = rows[i].settled,
        };
        if (stats_law_holds(sums) != rows[i].holds)
            fail_msg("row %zu", i);
    }
}

static void reading_adds_to_the_sums(void **state)
{
    (void)state;
    static struct stats a, b;
    uint64_t sums[STAT_COUNT] = {0};
    stats_begin(&a);
    stats_add(&a, STAT_read, 5);
    stats_add(&a, STAT_read, 2);
    stats_end(&a);
    stats_begin(&b);
    stats_add(&b, STAT_read, 1);
    stats_add(&b, STAT_truncations, 9);
    stats_end(&b);
    stats_read(&a, sums);
    stats_read(&b, sums);
    assert_int_equal(sums[STAT_read], 8);
    assert_int_equal(sums[STAT_truncations], 9);
}

static void the_text_has_the_law_first_then_what_is_not_zero(void **state)
{
    (void)state;
    static const struct {
        uint64_t sums[STAT_COUNT];
        const char *text;
    } rows[] = {
        {{0}, "read=0 delivered=0 dropped=0 discarded=0 spooled=0 in_flight=0"},
        {{[STAT_read] = 9,
          [STAT_delivered] = 4,
          [STAT_dropped] = 1,
          [STAT_discarded_topic] = 2,
          [STAT_entered] = 6,
          [STAT_settled] = 4,
          [STAT_truncations] = UINT64_MAX},
         "read=9 delivered=4 dropped=1 discarded=2 spooled=0 in_flight=2 discarded_topic=2 "
         "entered=6 "
         "settled=4 truncations=18446744073709551615"},
    };
    char text[1024];
    for (size_t i = 0; i < ROWS(rows); i++) {
        stats_format(rows[i].sums, text, sizeof(text));
        assert_string_equal(text, rows[i].text);
    }
}

static void the_text_of_the_largest_numbers_fits_and_is_cut_at_any_room(void **state)
{
    (void)state;
    uint64_t sums[STAT_COUNT];
    char whole[1024], text[1024 + 1];
    memset(sums, 0xff, sizeof(sums));
    stats_format(sums, whole, sizeof(whole));
    assert_non_null(strstr(whole, " truncations=18446744073709551615"));
    for (size_t room = 1; room <= sizeof(whole); room++) {
        memset(text, 'x', sizeof(text));
        stats_format(sums, text, room);
        assert_int_equal(text[room], 'x');
        assert_true(strlen(text) < room);
        assert_memory_equal(text, whole, strlen(text));
    }
}

static void every_counter_has_a_name_and_a_help_of_its_own(void **state)
{
    (void)state;
    for (int i = 0; i < STAT_COUNT; i++) {
        assert_true(stat_name((enum stat_id)i)[0] != '\0');
        assert_true(stat_help((enum stat_id)i)[0] != '\0');
        for (int j = 0; j < i; j++)
            assert_string_not_equal(stat_name((enum stat_id)i), stat_name((enum stat_id)j));
    }
}

static struct stats shared;
static atomic_bool stop;

static void *write_consistently(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        stats_begin(&shared);
        stats_add(&shared, STAT_read, 3);
        stats_add(&shared, STAT_dropped, 1);
        stats_add(&shared, STAT_entered, 2);
        stats_end(&shared);
    }
    return NULL;
}

static void a_reader_never_sees_half_of_a_change(void **state)
{
    (void)state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_consistently, NULL), 0);
    uint64_t last = 0;
    unsigned changes = 0;
    while (changes < 2000) {
        uint64_t sums[STAT_COUNT] = {0};
        stats_read(&shared, sums);
        assert_true(stats_law_holds(sums));
        assert_int_equal(sums[STAT_read], 3 * sums[STAT_dropped]);
        assert_true(sums[STAT_read] >= last);
        changes += sums[STAT_read] != last;
        last = sums[STAT_read];
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_law_holds_only_when_every_line_is_accounted_for),
        cmocka_unit_test(reading_adds_to_the_sums),
        cmocka_unit_test(the_text_has_the_law_first_then_what_is_not_zero),
        cmocka_unit_test(the_text_of_the_largest_numbers_fits_and_is_cut_at_any_room),
        cmocka_unit_test(every_counter_has_a_name_and_a_help_of_its_own),
        cmocka_unit_test(a_reader_never_sees_half_of_a_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
