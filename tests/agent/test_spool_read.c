#include "tests/agent/spool_rig.h"

static void frames_come_back_in_order_as_they_were(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    static const int compressions[] = {SPOOL_PLAIN, SPOOL_LZ4, SPOOL_ZSTD};
    uint64_t n = 1;
    for (size_t c = 0; c < ROWS(compressions); c++) {
        rig->config.compression = compressions[c];
        rig_open(rig);
        for (uint32_t records = 0; records < 12; records++)
            assert_int_equal(rig_append(rig, n++, records, records * 500), SPOOL_APPENDED);
        rig_close(rig);
    }
    rig_open(rig);
    rig_expect(rig, 1, n - 1);
    assert_int_equal(rig_next(rig), 0);
}

static void what_is_appended_while_reading_follows(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    rig_open(rig);
    for (uint64_t n = 1; n < 100; n++) {
        rig_fill(rig, n, n, 2000);
        assert_int_equal(rig_next(rig), n);
        assert_int_equal(rig_next(rig), 0);
    }
    assert_false(spool_is_empty(rig->spool));
    assert_true(rig_stats(rig).segments > 2);
}

static void only_the_prefix_that_is_acknowledged_counts(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    rig_open(rig);
    rig_fill(rig, 1, 5, 100);
    rig_expect(rig, 1, 4);
    spool_ack(rig->spool, 3);
    spool_ack(rig->spool, 2);
    spool_ack(rig->spool, 5); /* not read yet: means nothing */
    assert_int_equal(rig_stats(rig).frames, 5);
    rig_reopen(rig);
    rig_expect(rig, 1, 4);
    spool_ack(rig->spool, 2);
    spool_ack(rig->spool, 1);
    assert_int_equal(rig_stats(rig).frames, 3);
    assert_int_equal(rig_stats(rig).records, 9);
    rig_reopen(rig);
    assert_int_equal(rig_stats(rig).records, 9);
    rig_expect(rig, 3, 5);
}

static void segments_go_when_all_of_them_is_acknowledged(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    rig_open(rig);
    rig_fill(rig, 1, 100, 1500);
    size_t before = rig_stats(rig).segments;
    assert_true(before > 3);
    uint64_t n;
    for (n = 1; n <= 50; n++) {
        assert_int_equal(rig_next(rig), n);
        spool_ack(rig->spool, n);
    }
    rig_flush(rig);
    assert_true(rig_stats(rig).segments < before);
    assert_int_equal(rig_count(rig, "spool/s"), rig_stats(rig).segments + 1); /* the ack */
    for (; n <= 100; n++) {
        assert_int_equal(rig_next(rig), n);
        spool_ack(rig->spool, n);
    }
    assert_true(spool_is_empty(rig->spool));
    rig_flush(rig);
    assert_int_equal(rig_count(rig, "spool/s"), 1);
    assert_int_equal(rig_stats(rig).bytes, 0);
    assert_int_equal(rig_stats(rig).acked_records, 300);
    assert_int_equal(rig_stats(rig).lost_records, 0);
    rig_reopen(rig); /* numbers go on: an old ack must not hide new frames */
    rig_fill(rig, 101, 101, 10);
    assert_int_equal(rig_next(rig), 101);
}

static void after_a_rewind_what_is_not_acknowledged_comes_again(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    rig_open(rig);
    rig_fill(rig, 1, 60, 2000);
    rig_expect(rig, 1, 50);
    for (uint64_t n = 1; n <= 20; n++)
        spool_ack(rig->spool, n);
    spool_ack(rig->spool, 30);
    spool_rewind(rig->spool);
    rig_expect(rig, 21, 60);
    for (uint64_t n = 60; n > 20; n--)
        spool_ack(rig->spool, n);
    assert_true(spool_is_empty(rig->spool));
}

static void an_arena_without_room_leaves_the_cursor_where_it_is(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    struct arena small;
    struct spool_frame frame;
    rig_open(rig);
    rig_fill(rig, 1, 2, 60000);
    arena_init(&small, NULL, ARENA_CHUNK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(spool_next(rig->spool, &small, &frame), SPOOL_READ_FULL);
    arena_reset(&small);
    rig_expect(rig, 1, 2);
}

static void a_segment_that_is_deleted_meanwhile_is_passed_over(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    rig_open(rig);
    rig_fill(rig, 1, 60, 2000);
    rig_flush(rig);
    const char *path = rig_segment(rig, 1);
    assert_int_equal(rename(path, harness_path(rig->folder, "x")), 0);
    assert_int_equal(symlink(harness_path(rig->folder, "x"), path), 0);
    uint64_t n, last = 0, seen = 0;
    for (; (n = rig_next(rig)) != 0; last = n, seen++)
        assert_true(n > last);
    assert_int_equal(last, 60);
    assert_true(seen < 60);
    for (n = 1; n <= 60; n++)
        spool_ack(rig->spool, n);
    assert_true(spool_is_empty(rig->spool));
    assert_int_equal(rig_stats(rig).lost_records, 3 * (60 - seen));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(frames_come_back_in_order_as_they_were),
        TEST(what_is_appended_while_reading_follows),
        TEST(only_the_prefix_that_is_acknowledged_counts),
        TEST(segments_go_when_all_of_them_is_acknowledged),
        TEST(after_a_rewind_what_is_not_acknowledged_comes_again),
        TEST(an_arena_without_room_leaves_the_cursor_where_it_is),
        TEST(a_segment_that_is_deleted_meanwhile_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
