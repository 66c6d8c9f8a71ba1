/* What inotify can't tell of. Tails here are polled whenever a test says so, without a timer. */
#include "agent/tail_inner.h"

#include "tests/agent/inotify_faults.h"
#include "tests/agent/tail_rig.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

static const char *remote; /* the folder whose path ends so is on NFS */

/* Instead of libc's. */
int statfs(const char *path, struct statfs *st)
{
    size_t len = strlen(path), end = remote == NULL ? 0 : strlen(remote);
    bool here = end > 0 && len >= end && strcmp(path + len - end, remote) == 0;
    *st = (struct statfs){.f_type = here ? NFS_SUPER_MAGIC : EXT4_SUPER_MAGIC};
    return 0;
}

static int poll_setup(void **state)
{
    watches_left = instances_left = INT_MAX;
    remote = unreadable = NULL;
    watch_calls = init_calls = 0;
    return rig_setup(state);
}

static uint64_t counted(struct rig *rig, enum stat_id stat)
{
    uint64_t sums[STAT_COUNT] = {0};
    stats_read(&rig->sides[0].stream.stats, sums);
    return sums[stat];
}

static int64_t now = 1; /* stands still */

/* Without events: only what polling finds is read. */
static void assert_polled(struct rig *rig, const char *expected)
{
    struct tail *tail = tail_of(rig);
    tail_poll(tail, now);
    if (tail_wants_rescan(tail))
        tail_rescan(tail);
    tail_look_for_missed(tail);
    while (tail_ready(tail)) {
        struct batch_private *batch = take(rig, 0);
        tail_commit(batch);
        finish(rig, batch);
    }
    assert_text(rig, expected);
}

/* As if its folder had been at rest for long, so that it is listed only when it changes. */
static void age(const struct rig *rig, const char *folder)
{
    const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, at(rig, folder), times, 0), 0);
}

static void watched_folders_are_not_polled(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.poll = 250;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    assert_true(tail_poll_at(tail_of(rig)) == INT64_MAX);
    harness_append(at(rig, "a.log"), "2\n");
    assert_polled(rig, "");
    assert_read(rig, "2 ");
    assert_int_equal(counted(rig, STAT_watch_fallbacks), 0);
}

static void with_watch_poll_there_is_no_inotify(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.watch = WATCH_POLL;
    rig->sides[0].config.tail.poll = 70;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_polled(rig, "1 ");
    assert_true(tail_poll_at(tail_of(rig)) == now + 70 * (int64_t)1000000);
    assert_int_equal(watch_calls + init_calls, 0);
    assert_int_equal(counted(rig, STAT_watch_fallbacks), 0); /* it was wanted so */
}

static void polling_sees_all_that_files_do(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.watch = WATCH_POLL;
    start(rig);
    assert_polled(rig, "");
    harness_put(at(rig, "a.log"), "1\n");
    assert_polled(rig, "1 ");
    age(rig, "");
    assert_polled(rig, "");
    harness_append(at(rig, "a.log"), "2\n");
    assert_polled(rig, "2 ");
    harness_put(at(rig, "a.log"), "n\n");
    assert_polled(rig, "n ");
    move(rig, "a.log", "a.log.1");
    harness_append(at(rig, "a.log.1"), "last\n");
    harness_put(at(rig, "a.log"), "first\n");
    assert_polled(rig, "last first ");
    assert_int_equal(unlink(at(rig, "a.log")), 0);
    harness_put(at(rig, "a.log"), "another\n");
    harness_put(at(rig, "b.log"), "");
    assert_polled(rig, "another ");
    harness_append(at(rig, "b.log"), "b\n");
    assert_polled(rig, "b ");
    assert_int_equal(counted(rig, STAT_truncations), 1);
}

static void polling_sees_folders_come(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.watch = WATCH_POLL;
    free((void *)(uintptr_t)rig->paths[0]);
    rig->paths[0] = strdup(at(rig, "**/*.log"));
    start(rig);
    assert_polled(rig, "");
    assert_int_equal(mkdir(at(rig, "sub"), 0755), 0);
    assert_int_equal(mkdir(at(rig, "sub/sub"), 0755), 0);
    harness_put(at(rig, "sub/sub/a.log"), "1\n");
    assert_polled(rig, "1 ");
    harness_append(at(rig, "sub/sub/a.log"), "2\n");
    assert_polled(rig, "2 ");
    assert_int_equal(unlink(at(rig, "sub/sub/a.log")), 0);
    assert_int_equal(rmdir(at(rig, "sub/sub")), 0);
    assert_int_equal(rmdir(at(rig, "sub")), 0);
    assert_polled(rig, "");
    assert_int_equal(mkdir(at(rig, "sub"), 0755), 0);
    harness_put(at(rig, "sub/b.log"), "3\n");
    assert_polled(rig, "3 ");
}

static void a_remote_folder_is_polled_and_its_neighbour_is_not(void **state)
{
    struct rig *rig = (struct rig *)*state;
    free((void *)(uintptr_t)rig->paths[0]);
    rig->paths[0] = strdup(at(rig, "*/*.log"));
    assert_int_equal(mkdir(at(rig, "far"), 0755), 0);
    assert_int_equal(mkdir(at(rig, "near"), 0755), 0);
    remote = "/far";
    start(rig);
    assert_polled(rig, "");
    harness_put(at(rig, "far/a.log"), "1\n");
    harness_put(at(rig, "near/a.log"), "2\n");
    assert_polled(rig, "1 ");
    harness_append(at(rig, "far/a.log"), "3\n");
    harness_append(at(rig, "near/a.log"), "4\n");
    assert_polled(rig, "3 ");
    assert_read(rig, "2 4 ");
    assert_int_equal(counted(rig, STAT_watch_fallbacks), 0);
    remote = NULL; /* another file system is mounted there */
    tail_rescan(tail_of(rig));
    assert_true(tail_poll_at(tail_of(rig)) == INT64_MAX);
    assert_null(tail_of(rig)->polled);
}

static void with_watch_inotify_remote_folders_are_not_polled(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.watch = WATCH_INOTIFY;
    remote = rig->folder;
    start(rig);
    assert_null(tail_of(rig)->polled);
}

static void folders_without_a_watch_are_polled_until_there_is_one(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char name[32];
    free((void *)(uintptr_t)rig->paths[0]);
    rig->paths[0] = strdup(at(rig, "*/*.log"));
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "d%d", i);
        assert_int_equal(mkdir(at(rig, name), 0755), 0);
    }
    rig->sides[0].config.tail.watch = WATCH_INOTIFY;
    watches_left = 6; /* some for the folders above */
    start(rig);
    uint64_t without = counted(rig, STAT_watch_fallbacks);
    assert_true(without > 0);
    assert_true(tail_poll_at(tail_of(rig)) <= now);
    for (int round = 0; round < 3; round++) { /* by event or by poll: each line once */
        for (int i = 0; i < 5; i++) {
            snprintf(name, sizeof(name), "d%d/a.log", i);
            harness_append(at(rig, name), "x\n");
        }
        events(rig);
        assert_polled(rig, "x x x x x ");
    }
    assert_int_equal(counted(rig, STAT_watch_fallbacks), without); /* each is counted once */
    watches_left = 100;
    tail_rescan(tail_of(rig));
    assert_true(tail_poll_at(tail_of(rig)) == INT64_MAX);
    harness_append(at(rig, "d4/a.log"), "y\n");
    assert_read(rig, "y ");
}

static void without_an_instance_everything_is_polled(void **state)
{
    struct rig *rig = (struct rig *)*state;
    instances_left = 0;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_polled(rig, "1 ");
    assert_true(counted(rig, STAT_watch_fallbacks) > 0);
    harness_append(at(rig, "a.log"), "2\n");
    assert_polled(rig, "2 ");
    instances_left = 1;
    harness_append(at(rig, "a.log"), "3\n"); /* before the first look after which events come */
    tail_rescan(tail_of(rig));
    assert_null(tail_of(rig)->polled);
    assert_read(rig, "3 ");
    harness_append(at(rig, "a.log"), "4\n");
    assert_read(rig, "4 ");
}

static void a_folder_that_may_not_be_read_is_polled_only_when_it_can_be_searched(void **state)
{
    struct rig *rig = (struct rig *)*state;
    free((void *)(uintptr_t)rig->paths[0]);
    rig->paths[0] = strdup(at(rig, "secret/a.log"));
    assert_int_equal(mkdir(at(rig, "secret"), 0711), 0);
    harness_put(at(rig, "secret/a.log"), "1\n");
    unreadable = "/secret";
    start(rig);
    assert_polled(rig, "1 ");
    harness_append(at(rig, "secret/a.log"), "2\n");
    assert_polled(rig, "2 ");
    unreadable = rig->folder; /* one on the way: the rescan sees it */
    unreadable = strrchr(unreadable, '/');
    tail_rescan(tail_of(rig));
    assert_null(tail_of(rig)->polled);
}

static void a_folder_that_is_listed_in_the_moment_of_its_change_is_listed_again(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct stat before;
    rig->sides[0].config.tail.watch = WATCH_POLL;
    start(rig);
    assert_int_equal(stat(rig->folder, &before), 0);
    harness_put(at(rig, "a.log"), "1\n");
    const struct timespec times[2] = {before.st_mtim, before.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, rig->folder, times, 0), 0); /* a clock that is too coarse */
    assert_polled(rig, "1 ");
}

static void it_is_not_time_before_the_interval_is_over(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.watch = WATCH_POLL;
    rig->sides[0].config.tail.poll = 100;
    start(rig);
    assert_polled(rig, "");
    harness_put(at(rig, "a.log"), "1\n");
    now += 99999999;
    assert_polled(rig, "");
    now++;
    assert_polled(rig, "1 ");
}

/* How many looks at everything so many regular ones are. */
static unsigned looks(struct rig *rig, int regular)
{
    unsigned before = tail_of(rig)->rescans;
    while (regular-- > 0) {
        tail_look_regularly(tail_of(rig));
        drain(rig);
    }
    return tail_of(rig)->rescans - before;
}

static void while_nothing_happens_looks_become_rare_and_something_makes_them_regular(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    drain(rig);
    assert_int_equal(looks(rig, 1), 1); /* it was read since */
    assert_int_equal(looks(rig, 1 + 1 + 1 + 3 + 1 + 7 + 1 + 15), 4);
    assert_int_equal(looks(rig, 160), 10);
    harness_append(at(rig, "a.log"), "2\n");
    drain(rig);
    assert_int_equal(looks(rig, 1), 1);
    assert_int_equal(looks(rig, 1 + 1 + 1 + 3 + 1 + 7 + 1 + 15), 4); /* from the beginning */
    assert_int_equal(symlink("b.log", at(rig, "b.log")), 0);         /* can't be looked at */
    drain(rig);
    assert_int_equal(looks(rig, 20), 20);
    assert_int_equal(unlink(at(rig, "b.log")), 0);
    assert_true(looks(rig, 160) < 20);
    watches_left = 0;
    assert_int_equal(mkdir(at(rig, "sub"), 0755), 0);
    rig->paths[1] = at(rig, "sub/*.log");
    rig->sides[0].config.tail.paths.n = 2;
    tail_rescan(tail_of(rig));
    assert_true(looks(rig, 20) >= 20); /* there may be watches again */
    rig->sides[0].config.tail.paths.n = 1;
}

static void lost_events_are_counted_and_nothing_else_is_lost(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    tail_event(tail_of(rig), NULL, IN_Q_OVERFLOW);
    tail_event(tail_of(rig), NULL, IN_Q_OVERFLOW);
    assert_int_equal(counted(rig, STAT_watch_overflows), 2);
    harness_put(at(rig, "b.log"), "2\n");
    assert_true(tail_wants_rescan(tail_of(rig)));
    tail_rescan(tail_of(rig));
    assert_read(rig, "1 2 ");
}

#define POLL(test) cmocka_unit_test_setup_teardown(test, poll_setup, rig_teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        POLL(watched_folders_are_not_polled),
        POLL(with_watch_poll_there_is_no_inotify),
        POLL(polling_sees_all_that_files_do),
        POLL(polling_sees_folders_come),
        POLL(a_remote_folder_is_polled_and_its_neighbour_is_not),
        POLL(with_watch_inotify_remote_folders_are_not_polled),
        POLL(folders_without_a_watch_are_polled_until_there_is_one),
        POLL(without_an_instance_everything_is_polled),
        POLL(a_folder_that_may_not_be_read_is_polled_only_when_it_can_be_searched),
        POLL(a_folder_that_is_listed_in_the_moment_of_its_change_is_listed_again),
        POLL(it_is_not_time_before_the_interval_is_over),
        POLL(while_nothing_happens_looks_become_rare_and_something_makes_them_regular),
        POLL(lost_events_are_counted_and_nothing_else_is_lost),
    };
    log_init(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
