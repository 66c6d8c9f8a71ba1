/* covers: agent/spool_sync.c, agent/spool_append.c: disks that fail. */
#include "tests/agent/spool_rig.h"

#include <limits.h>
#include <sys/syscall.h>

#include "agent/clock.h"

/* ---- a disk that fails, in place of libc's functions ---- */

static int writes_until = INT_MAX; /* so many succeed before one fails */
static int write_error;            /* 0: it is short, and the next one fails with ENOSPC */
static bool writes_fail_for_ever;
static atomic_int fsyncs_until = INT_MAX;
static atomic_int fsync_error;
static bool truncate_fails;
static int fsyncs;

ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    if (writes_until-- > 0)
        return syscall(SYS_pwrite64, fd, buf, n, offset);
    if (writes_fail_for_ever)
        writes_until = 0;
    if (write_error == 0) {
        write_error = ENOSPC;
        writes_until = 0;
        return syscall(SYS_pwrite64, fd, buf, n / 2, offset);
    }
    errno = write_error;
    return -1;
}

int fsync(int fd)
{
    fsyncs++;
    if (atomic_fetch_sub(&fsyncs_until, 1) > 0)
        return (int)syscall(SYS_fsync, fd);
    errno = atomic_load(&fsync_error);
    return -1;
}

int ftruncate(int fd, off_t length)
{
    if (!truncate_fails)
        return (int)syscall(SYS_ftruncate, fd, length);
    errno = EIO;
    return -1;
}

static void heal(void)
{
    writes_until = INT_MAX;
    writes_fail_for_ever = truncate_fails = false;
    atomic_store(&fsyncs_until, INT_MAX);
}

static int setup(void **state)
{
    heal();
    return rig_setup(state);
}

static int teardown(void **state)
{
    heal();
    return rig_teardown(state);
}

/* ---- writes ---- */

static void a_write_that_fails_leaves_nothing_and_is_told(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    static const int errors[] = {ENOSPC, EIO, EDQUOT, 0};
    for (size_t e = 0; e < ROWS(errors); e++) {
        for (int cut = 0; cut < 2; cut++) {
            rig_open(rig);
            uint64_t first = rig_stats(rig).frames + 1;
            rig_fill(rig, first, first + 1, 100);
            writes_until = 0;
            write_error = errors[e];
            truncate_fails = cut == 1;
            uint64_t bytes = rig_stats(rig).bytes;
            assert_int_equal(rig_append(rig, first + 2, 3, 100), SPOOL_FAILED);
            assert_int_equal(errno, errors[e] == 0 ? ENOSPC : errors[e]);
            assert_int_equal(rig_stats(rig).bytes, bytes);
            assert_int_equal(rig_stats(rig).write_failures, 1);
            if (cut == 0) /* nothing of it is left */
                assert_int_equal(rig_on_disk(rig), bytes);
            heal();
            rig_fill(rig, first + 2, first + 3, 100);
            rig_expect(rig, 1, first + 3);
            rig_reopen(rig);
            assert_int_equal(rig_stats(rig).damaged_frames, 0);
            assert_int_equal(rig_stats(rig).missing_frames, 0);
            rig_expect(rig, 1, first + 3);
            rig_close(rig);
        }
    }
}

static void a_full_disk_costs_nothing_however_long_it_lasts(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    rig_open(rig);
    writes_fail_for_ever = true;
    writes_until = 0;
    write_error = ENOSPC;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(rig_append(rig, 1, 3, 100), SPOOL_FAILED);
    assert_true(rig_count(rig, "spool/s") <= 1);
    heal();
    rig_fill(rig, 1, 2, 100);
    rig_expect(rig, 1, 2);
}

/* ---- fsync ---- */

static void a_frame_is_durable_after_its_fsync_and_not_before(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    rig_open(rig);
    rig_fill(rig, 1, 3, 100);
    flusher_wait(rig->flusher);
    assert_int_equal(spool_durable(rig->spool), 0);
    assert_true(spool_due_at(rig->spool) < INT64_MAX);
    assert_true(spool_due_at(rig->spool) > clock_monotonic());
    rig_flush(rig);
    assert_int_equal(spool_durable(rig->spool), 3);
    assert_int_equal(spool_due_at(rig->spool), INT64_MAX);
    rig_close(rig);
    rig->config.fsync = -1;
    rig_open(rig);
    rig_fill(rig, 4, 4, 100);
    flusher_wait(rig->flusher);
    assert_int_equal(spool_durable(rig->spool), 4);
}

static void after_a_failed_fsync_frames_are_written_anew_elsewhere(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    for (int until = 0; until < 4; until++) { /* which fsync: of a segment, or of the folder */
        for (int cut = 0; cut < 2; cut++) {
            rig_open(rig);
            uint64_t first = rig_stats(rig).frames + 1;
            rig_fill(rig, first, first + 1, 2000);
            rig_flush(rig);
            rig_fill(rig, first + 2, first + 30, 2000); /* over several segments */
            assert_int_equal(spool_durable(rig->spool), first + 1);
            atomic_store(&fsync_error, EIO);
            atomic_store(&fsyncs_until, until);
            truncate_fails = cut == 1;
            rig_expect(rig, 1, first + 20); /* the cursor stands where it is cut off */
            rig_flush(rig);
            assert_int_equal(rig_stats(rig).fsync_failures, 1);
            assert_int_equal(spool_durable(rig->spool), first + 1);
            rig_expect(rig, first + 21, first + 30);
            heal();
            rig_flush(rig);
            assert_int_equal(spool_durable(rig->spool), first + 30);
            rig_fill(rig, first + 31, first + 31, 2000);
            rig_reopen(rig);
            assert_int_equal(rig_stats(rig).missing_frames, 0);
            assert_int_equal(rig_stats(rig).damaged_frames, 0);
            if (until == 0 && cut == 0) /* what was written anew stands in one place only */
                assert_int_equal(rig_stats(rig).duplicate_frames, 0);
            rig_expect(rig, 1, first + 31);
            rig_close(rig);
        }
    }
}

static void a_failed_fsync_and_a_full_disk_leave_frames_in_memory(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    rig_open(rig);
    rig_fill(rig, 1, 20, 2000);
    atomic_store(&fsync_error, EIO);
    atomic_store(&fsyncs_until, 0);
    writes_fail_for_ever = true;
    writes_until = 3;
    write_error = ENOSPC;
    rig_flush(rig);
    assert_int_equal(spool_durable(rig->spool), 0);
    assert_int_equal(rig_append(rig, 21, 3, 100), SPOOL_FAILED);
    rig_expect(rig, 1, 3); /* those that had room again */
    struct spool_frame frame;
    assert_int_equal(spool_next(rig->spool, &rig->arena, &frame), SPOOL_READ_FULL);
    assert_false(spool_is_empty(rig->spool));
    heal();
    rig_flush(rig);
    assert_int_equal(spool_durable(rig->spool), 20);
    rig_fill(rig, 21, 21, 100);
    rig_expect(rig, 4, 21);
    rig_reopen(rig);
    rig_expect(rig, 1, 21);
}

static void frames_on_their_way_to_the_disk_have_a_bound(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    rig->config.compression = SPOOL_PLAIN;
    rig_open(rig);
    atomic_store(&fsync_error, EIO);
    atomic_store(&fsyncs_until, 0);
    uint64_t n = 1;
    while (rig_append(rig, n, 10, 10000) == SPOOL_APPENDED)
        n++;
    assert_true((n - 1) * 100000 <= SPOOL_UNSYNCED_MAX);
    assert_true(n * 110000 > SPOOL_UNSYNCED_MAX);
    assert_int_equal(rig_append(rig, n, 10, 10000), SPOOL_WAIT);
    flusher_wait(rig->flusher);
    heal();
    rig_flush(rig);
    assert_int_equal(spool_durable(rig->spool), n - 1);
    assert_int_equal(rig_append(rig, n, 10, 10000), SPOOL_APPENDED);
    rig_expect(rig, 1, n);
}

static void what_is_acknowledged_needs_no_fsync(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    rig_open(rig);
    rig_fill(rig, 1, 3, 100);
    rig_expect(rig, 1, 3);
    for (uint64_t n = 1; n <= 3; n++)
        spool_ack(rig->spool, n);
    assert_int_equal(spool_durable(rig->spool), 3);
    fsyncs = 0;
    rig_flush(rig);
    assert_int_equal(fsyncs, 2); /* the ack and its folder */
}

static void an_ack_that_cannot_be_saved_is_saved_later(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    rig_open(rig);
    rig_fill(rig, 1, 3, 100);
    assert_int_equal(mkdir(harness_path(rig->folder, "spool/s/ack.tmp"), 0700), 0);
    rig_expect(rig, 1, 3);
    spool_ack(rig->spool, 1);
    rig_flush(rig);
    assert_true(spool_due_at(rig->spool) < INT64_MAX);
    assert_int_equal(rmdir(harness_path(rig->folder, "spool/s/ack.tmp")), 0);
    rig_flush(rig);
    assert_int_equal(spool_due_at(rig->spool), INT64_MAX);
    rig_reopen(rig);
    assert_int_equal(rig_next(rig), 2);
}

/* Every write and fsync of a small life fails once, then for ever until it is healed: no frame that was durable is missing
 * afterwards, none is torn, damaged or out of order. */
static void whichever_call_fails_what_was_durable_is_there(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    uint64_t appended = 0, acked = 0;
    for (int call = 0; call < 40; call++) {
        rig_open(rig);
        writes_until = call % 2 == 0 ? call / 2 : INT_MAX;
        atomic_store(&fsyncs_until, call % 2 == 1 ? call / 2 : INT_MAX);
        atomic_store(&fsync_error, EIO);
        write_error = call % 3 == 0 ? 0 : EIO;
        writes_fail_for_ever = call % 4 >= 2;
        for (int i = 0; i < 30; i++) {
            if (rig_append(rig, appended + 1, 3, 2000) == SPOOL_APPENDED)
                appended++;
            if (i % 5 == 0)
                rig_flush(rig);
            if (i % 7 == 0 && rig_next(rig) != 0)
                spool_ack(rig->spool, ++acked);
        }
        heal();
        rig_flush(rig);
        assert_int_equal(spool_durable(rig->spool), appended);
        rig_reopen(rig);
        struct spool_stats stats = rig_stats(rig);
        assert_int_equal(stats.damaged_frames + stats.missing_frames + stats.aside, 0);
        rig_expect(rig, acked + 1, appended);
        assert_int_equal(rig_next(rig), 0);
        rig_close(rig);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_write_that_fails_leaves_nothing_and_is_told),
        TEST(a_full_disk_costs_nothing_however_long_it_lasts),
        TEST(a_frame_is_durable_after_its_fsync_and_not_before),
        TEST(after_a_failed_fsync_frames_are_written_anew_elsewhere),
        TEST(a_failed_fsync_and_a_full_disk_leave_frames_in_memory),
        TEST(frames_on_their_way_to_the_disk_have_a_bound),
        TEST(what_is_acknowledged_needs_no_fsync),
        TEST(an_ack_that_cannot_be_saved_is_saved_later),
        TEST(whichever_call_fails_what_was_durable_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
