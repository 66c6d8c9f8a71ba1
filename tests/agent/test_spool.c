/* The spool's bounds: what each stream may have, and what happens then. */
#include "tests/agent/spool_rig.h"

#include <sys/syscall.h>

#include "agent/clock.h"

/* Seconds that both clocks are ahead, in place of libc's function. */
static int64_t ahead;

int clock_gettime(clockid_t clock_id, struct timespec *tp)
{
    int result = (int)syscall(SYS_clock_gettime, clock_id, tp);
    tp->tv_sec += ahead;
    return result;
}

#define CAP ((size_t)2 << 20)

static void setup_cap(struct spool_rig *rig, int when_full, size_t n_streams)
{
    ahead = 0;
    rig->config.max_bytes = CAP;
    rig->config.when_full = when_full;
    rig->config.compression = SPOOL_PLAIN;
    rig->n_streams = n_streams;
    rig_open(rig);
}

/* Frames of some 6 KB from n on, until one is not taken; returns the first that was not. */
static uint64_t fill_up(struct spool_rig *rig, uint64_t n, enum spool_append expected)
{
    enum spool_append result;
    while ((result = rig_append(rig, n, 3, 2000)) == SPOOL_APPENDED || result == SPOOL_WAIT) {
        if (result == SPOOL_WAIT)
            flusher_wait(rig->flusher);
        else
            n++;
        assert_true(rig_on_disk(rig) <= CAP);
    }
    assert_int_equal(result, expected);
    return n;
}

static void a_full_spool_blocks_until_something_is_acknowledged(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    setup_cap(rig, SPOOL_BLOCK, 1);
    uint64_t n = fill_up(rig, 1, SPOOL_FULL);
    assert_true(rig_on_disk(rig) > CAP - 10000); /* alone it has all of it */
    for (uint64_t i = 1; i <= 50; i++) {
        assert_int_equal(rig_next(rig), i);
        spool_ack(rig->spool, i);
    }
    assert_int_equal(rig_append(rig, n, 3, 2000), SPOOL_WAIT); /* the flusher deletes them now */
    flusher_wait(rig->flusher);
    uint64_t more = fill_up(rig, n, SPOOL_FULL);
    assert_true(more > n + 10);
    rig_expect(rig, 51, more - 1);
    assert_int_equal(rig_stats(rig).dropped_records, 0);
    rig_reopen(rig); /* what is there counts after a restart, too */
    assert_int_equal(rig_append(rig, more, 3, 2000), SPOOL_FULL);
}

static void the_newest_is_the_callers_to_count(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    setup_cap(rig, SPOOL_DROP_NEWEST, 1);
    uint64_t n = fill_up(rig, 1, SPOOL_DROPPED);
    rig_expect(rig, 1, n - 1);
    assert_int_equal(rig_next(rig), 0);
}

static void the_oldest_are_given_up_and_told(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    setup_cap(rig, SPOOL_DROP_OLDEST, 1);
    for (uint64_t n = 1; n <= 2000;) {
        enum spool_append result = rig_append(rig, n, 3, 2000);
        assert_true(result == SPOOL_APPENDED || result == SPOOL_WAIT);
        if (result == SPOOL_WAIT)
            flusher_wait(rig->flusher);
        else
            n++;
        assert_true(rig_on_disk(rig) <= CAP);
    }
    struct spool_stats stats = rig_stats(rig);
    assert_true(rig->dropped > 3000);
    assert_int_equal(stats.dropped_records, rig->dropped);
    assert_int_equal(stats.records + rig->dropped, 6000);
    for (int round = 0; round < 2; round++) {
        rig_expect(rig, rig->dropped / 3 + 1, 2000);
        assert_int_equal(rig_next(rig), 0);
        rig_reopen(rig);
        assert_int_equal(rig_stats(rig).missing_frames, 0);
        assert_int_equal(rig_stats(rig).records, stats.records);
    }
}

static void what_was_read_is_never_given_up(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    setup_cap(rig, SPOOL_DROP_OLDEST, 1);
    rig_fill(rig, 1, 40, 2000);
    rig_expect(rig, 1, 3); /* in flight; these hold their segment */
    for (uint64_t n = 41; n <= 1000;) {
        enum spool_append result = rig_append(rig, n, 3, 2000);
        if (result == SPOOL_WAIT)
            flusher_wait(rig->flusher);
        n += result == SPOOL_APPENDED;
    }
    uint64_t next = rig_next(rig), n = next, last = 3, holes = 0;
    for (; n != 0; last = n, n = rig_next(rig))
        holes += n - last - 1;
    assert_int_equal(next, 4);
    assert_int_equal(last, 1000);
    assert_int_equal(holes * 3, rig->dropped);
    rig_reopen(rig); /* a crash now: those in flight come again, and nothing is missing */
    assert_int_equal(rig_stats(rig).missing_frames, 0);
    rig_expect(rig, 1, 4);
    for (n = 1; n <= 1000; n++)
        spool_ack(rig->spool, n);
    spool_rewind(rig->spool);
    while ((n = rig_next(rig)) != 0)
        spool_ack(rig->spool, n);
    assert_true(spool_is_empty(rig->spool));
    assert_int_equal(rig_stats(rig).lost_records, 0);
}

static void a_stream_fills_only_its_own_share(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    struct spool *bad, *others[3];
    setup_cap(rig, SPOOL_BLOCK, 4);
    fill_up(rig, 1, SPOOL_FULL);
    bad = rig->spool;
    assert_true(rig_on_disk(rig) <= CAP / 2 + CAP / 8);
    static const char *const names[] = {"b", "c", "d"};
    for (size_t i = 0; i < ROWS(names); i++) {
        uint64_t n = 1;
        others[i] = spool_open(rig->store, names[i], NULL, &rig->error);
        assert_non_null(others[i]);
        rig->spool = others[i];
        while (rig_append(rig, n, 3, 2000) == SPOOL_APPENDED)
            n++;
        assert_true(n * 6500 > CAP / 8);
    }
    for (size_t i = 0; i < ROWS(names); i++)
        spool_close(&others[i]);
    rig->spool = bad;
}

static void old_segments_are_given_up_by_time(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    rig->config.max_age = 60000;
    setup_cap(rig, SPOOL_BLOCK, 1);
    rig_fill(rig, 1, 3, 100);
    ahead = 40;
    rig_fill(rig, 4, 5, 100); /* in another segment, so that the first can go */
    spool_tick(rig->spool, clock_monotonic());
    assert_int_equal(rig->dropped, 0);
    ahead = 80;
    assert_true(spool_due_at(rig->spool) <= clock_monotonic());
    rig_flush(rig);
    assert_int_equal(rig->dropped, 9);
    rig_expect(rig, 4, 5);
    ahead = 0;
}

static void add_name(const char *stream, void *arg)
{
    char *all = (char *)arg;
    size_t len = strlen(all);
    snprintf(all + len, 64 - len, "%s,", stream);
}

static void streams_that_are_no_longer_configured_are_found(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    char all[64] = "";
    rig_open(rig);
    harness_put(harness_path(rig->folder, "spool/file"), "");
    assert_int_equal(spool_store_each(rig->store, add_name, all), 0);
    assert_string_equal(all, "s,");
}

static void a_record_that_cannot_be_is_refused(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    struct spool_record record = {.payload = SLICE("x")};
    uint64_t sequence;
    rig_open(rig);
    spool_batch_add_record(&rig->batch, &record); /* without a topic */
    assert_int_equal(spool_append(rig->spool, &rig->batch, false, &sequence), SPOOL_FAILED);
    rig_fill(rig, 1, 1, 1);
    assert_int_equal(rig_next(rig), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_full_spool_blocks_until_something_is_acknowledged),
        TEST(the_newest_is_the_callers_to_count),
        TEST(the_oldest_are_given_up_and_told),
        TEST(what_was_read_is_never_given_up),
        TEST(a_stream_fills_only_its_own_share),
        TEST(old_segments_are_given_up_by_time),
        TEST(streams_that_are_no_longer_configured_are_found),
        TEST(a_record_that_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
