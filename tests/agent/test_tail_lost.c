#include "agent/tail_inner.h"
#include "tests/agent/tail_rig.h"

static uint64_t lost_bytes(struct rig *rig)
{
    uint64_t sums[STAT_COUNT] = {0};
    stats_read(&rig->sides[0].stream.stats, sums);
    return sums[STAT_lost_bytes];
}

static void what_is_lost_is_counted_also_when_it_is_not_logged(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "one\n");
    start(rig);
    assert_read(rig, "one ");
    struct tail *tail = rig->sides[0].stream.tail;
    struct source *source = tail_by_path(tail, at(rig, "a.log"));
    tail_lost(tail, source, 4, 10, "for a test");
    assert_int_equal(lost_bytes(rig), 6);
    tail_lost(tail, source, 10, 11, "for a test"); /* not logged again, but counted */
    assert_int_equal(lost_bytes(rig), 7);
}

static void an_empty_range_is_nothing_lost(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "one\n");
    start(rig);
    struct tail *tail = rig->sides[0].stream.tail;
    struct source *source = tail_by_path(tail, at(rig, "a.log"));
    tail_lost(tail, source, 4, 4, "for a test");
    tail_lost(tail, source, 5, 4, "for a test");
    assert_int_equal(lost_bytes(rig), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG(what_is_lost_is_counted_also_when_it_is_not_logged),
        RIG(an_empty_range_is_nothing_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
