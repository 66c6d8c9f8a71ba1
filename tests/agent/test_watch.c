#include "agent/watch.h"

#include "agent/log.h"
#include "tests/agent/harness.h"
#include "tests/agent/inotify_faults.h"

#include <errno.h>
#include <sys/inotify.h>

struct rig {
    char *folder;
    struct ev_loop *loop;
    struct watch *watch;
    const char *let_go; /* if not NULL: the next event lets a hold on this folder go, */
    int number;         /* which has this number */
    char seen[8192];    /* ` name:MASK` an event */
};

static void on_event(const char *path, uint32_t mask, void *arg)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } bits[] = {
        {IN_CREATE, "CREATE"},       {IN_MODIFY, "MODIFY"},   {IN_MOVED_FROM, "FROM"},
        {IN_MOVED_TO, "TO"},         {IN_DELETE, "DELETE"},   {IN_DELETE_SELF, "DELETE_SELF"},
        {IN_MOVE_SELF, "MOVE_SELF"}, {IN_IGNORED, "IGNORED"}, {IN_Q_OVERFLOW, "OVERFLOW"},
        {IN_ATTRIB, "ATTRIB"},
    };
    struct rig *rig = (struct rig *)arg;
    size_t used = strlen(rig->seen), len = strlen(rig->folder);
    if (rig->let_go != NULL)
        watch_let_go(rig->watch, rig->number, rig->let_go);
    rig->let_go = NULL;
    if (path != NULL)
        assert_memory_equal(path, rig->folder, len);
    for (size_t i = 0; i < ROWS(bits); i++)
        if ((mask & bits[i].bit) != 0)
            snprintf(rig->seen + used, sizeof(rig->seen) - used, "%s%s:%s", used > 0 ? " " : "",
                     path == NULL       ? ""
                     : path[len] == '/' ? path + len + 1
                                        : ".",
                     bits[i].name);
}

static int rig_setup(void **state)
{
    struct rig *rig = (struct rig *)calloc(1, sizeof(*rig));
    assert_non_null(rig);
    watches_left = instances_left = INT_MAX;
    rig->folder = harness_folder();
    rig->loop = ev_loop_new(0);
    rig->watch = watch_open(rig->loop, on_event, rig);
    assert_non_null(rig->watch);
    *state = rig;
    return 0;
}

static int rig_teardown(void **state)
{
    struct rig *rig = (struct rig *)*state;
    watch_close(&rig->watch);
    assert_null(rig->watch);
    watch_close(&rig->watch);
    ev_loop_destroy(rig->loop);
    harness_remove(rig->folder);
    free(rig);
    return 0;
}

/* The kernel queues an event before the call that caused it returns: no need to wait. */
static void assert_seen(struct rig *rig, const char *expected)
{
    ev_run(rig->loop, EVRUN_NOWAIT);
    assert_string_equal(rig->seen, expected);
    rig->seen[0] = '\0';
}

static void files_of_a_leaf_are_seen_in_all_they_do(void **state)
{
    struct rig *rig = (struct rig *)*state;
    assert_int_equal(watch_folder(rig->watch, rig->folder, true), 0);
    harness_put(harness_path(rig->folder, "a b"), "");
    assert_seen(rig, "a b:CREATE");
    harness_append(harness_path(rig->folder, "a b"), "x");
    assert_seen(rig, "a b:MODIFY");
    assert_int_equal(truncate(harness_path(rig->folder, "a b"), 0), 0);
    assert_seen(rig, "a b:MODIFY");
    assert_int_equal(rename(harness_path(rig->folder, "a b"), harness_path(rig->folder, "c")), 0);
    assert_seen(rig, "a b:FROM c:TO");
    assert_int_equal(chmod(harness_path(rig->folder, "c"), 0600), 0);
    assert_seen(rig, "c:ATTRIB");
    assert_int_equal(unlink(harness_path(rig->folder, "c")), 0);
    assert_seen(rig, "c:DELETE");
}

static void of_a_folder_on_the_way_only_what_comes_is_seen(void **state)
{
    struct rig *rig = (struct rig *)*state;
    assert_int_equal(watch_folder(rig->watch, rig->folder, false), 0);
    assert_int_equal(mkdir(harness_path(rig->folder, "sub"), 0755), 0);
    harness_put(harness_path(rig->folder, "f"), "x");
    assert_int_equal(unlink(harness_path(rig->folder, "f")), 0);
    assert_int_equal(rename(harness_path(rig->folder, "sub"), harness_path(rig->folder, "sub2")), 0);
    assert_seen(rig, "sub:CREATE f:CREATE sub2:TO");
    assert_int_equal(chmod(harness_path(rig->folder, "sub2"), 0700), 0);
    assert_seen(rig, "sub2:ATTRIB");
}

static void watching_again_adds_and_never_takes_away(void **state)
{
    struct rig *rig = (struct rig *)*state;
    assert_int_equal(watch_folder(rig->watch, rig->folder, false), 0);
    assert_int_equal(watch_folder(rig->watch, rig->folder, true), 0);
    assert_int_equal(watch_folder(rig->watch, rig->folder, false), 0);
    harness_put(harness_path(rig->folder, "f"), "x");
    assert_seen(rig, "f:CREATE f:MODIFY"); /* once each */
}

static void a_folder_with_two_paths_is_seen_under_both(void **state)
{
    struct rig *rig = (struct rig *)*state;
    assert_int_equal(mkdir(harness_path(rig->folder, "sub"), 0755), 0);
    assert_int_equal(symlink("sub", harness_path(rig->folder, "link")), 0);
    assert_int_equal(watch_folder(rig->watch, harness_path(rig->folder, "sub"), true), 0);
    assert_int_equal(watch_folder(rig->watch, harness_path(rig->folder, "link"), true), 0);
    harness_put(harness_path(rig->folder, "sub/f"), "");
    assert_seen(rig, "link/f:CREATE sub/f:CREATE");
}

static void a_paused_watch_keeps_its_events(void **state)
{
    struct rig *rig = (struct rig *)*state;
    assert_int_equal(watch_folder(rig->watch, rig->folder, true), 0);
    watch_pause(rig->watch, true);
    harness_put(harness_path(rig->folder, "f"), "");
    assert_seen(rig, "");
    watch_pause(rig->watch, false);
    assert_seen(rig, "f:CREATE");
}

static void a_folder_made_anew_can_be_watched_anew(void **state)
{
    struct rig *rig = (struct rig *)*state;
    const char *sub = harness_path(rig->folder, "sub");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mkdir(sub, 0755), 0);
        assert_int_equal(watch_folder(rig->watch, sub, true), 0);
        harness_put(harness_path(rig->folder, "sub/f"), "");
        assert_int_equal(unlink(harness_path(rig->folder, "sub/f")), 0);
        assert_int_equal(rmdir(sub), 0);
        assert_seen(rig, "sub/f:CREATE sub/f:DELETE sub:DELETE_SELF sub:IGNORED");
    }
}

static void what_is_no_folder_is_an_error(void **state)
{
    struct rig *rig = (struct rig *)*state;
    assert_int_equal(watch_folder(rig->watch, harness_path(rig->folder, "none"), true), -1);
    assert_int_equal(errno, ENOENT);
    harness_put(harness_path(rig->folder, "f"), "");
    assert_int_equal(watch_folder(rig->watch, harness_path(rig->folder, "f"), true), -1);
    assert_int_equal(errno, ENOTDIR);
}

static void many_folders_are_told_apart(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char name[32], expected[64];
    enum { N = 700 }; /* more than the table begins with, so that it grows */
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "d%d", i);
        assert_int_equal(mkdir(harness_path(rig->folder, name), 0755), 0);
        assert_int_equal(watch_folder(rig->watch, harness_path(rig->folder, name), true), 0);
    }
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "d%d/f", i);
        harness_put(harness_path(rig->folder, name), "");
        snprintf(expected, sizeof(expected), "d%d/f:CREATE", i);
        assert_seen(rig, expected);
    }
}

static void used_up_watches_are_an_error_until_there_are_some_again(void **state)
{
    struct rig *rig = (struct rig *)*state;
    assert_int_equal(mkdir(harness_path(rig->folder, "sub"), 0755), 0);
    watches_left = 1;
    assert_int_equal(watch_folder(rig->watch, rig->folder, true), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(watch_folder(rig->watch, harness_path(rig->folder, "sub"), true), -1);
        assert_int_equal(errno, ENOSPC);
    }
    assert_int_equal(watch_folder(rig->watch, rig->folder, true), 0); /* it has one */
    harness_put(harness_path(rig->folder, "sub/f"), "");
    harness_put(harness_path(rig->folder, "f"), "");
    assert_seen(rig, "f:CREATE");
    watches_left = 1;
    assert_int_equal(watch_folder(rig->watch, harness_path(rig->folder, "sub"), true), 0);
    harness_put(harness_path(rig->folder, "sub/g"), "");
    assert_seen(rig, "sub/g:CREATE");
}

static void without_an_instance_it_is_tried_again_with_each_folder(void **state)
{
    struct rig *rig = (struct rig *)*state;
    instances_left = 0;
    watch_pause(rig->watch, true);
    watch_pause(rig->watch, false);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(watch_folder(rig->watch, rig->folder, true), -1);
        assert_int_equal(errno, EMFILE);
    }
    assert_seen(rig, "");
    instances_left = 1;
    watch_pause(rig->watch, true); /* stays paused when it begins */
    assert_int_equal(watch_folder(rig->watch, rig->folder, true), 0);
    harness_put(harness_path(rig->folder, "f"), "");
    assert_seen(rig, "");
    watch_pause(rig->watch, false);
    assert_seen(rig, "f:CREATE");
}

static void a_held_folder_is_watched_until_it_is_let_go_as_often(void **state)
{
    struct rig *rig = (struct rig *)*state;
    int number = watch_hold(rig->watch, rig->folder, true);
    assert_int_not_equal(number, -1);
    assert_int_equal(watch_hold(rig->watch, rig->folder, true), number);
    watch_let_go(rig->watch, number, rig->folder);
    harness_put(harness_path(rig->folder, "a"), "");
    assert_seen(rig, "a:CREATE");
    watch_let_go(rig->watch, number, rig->folder);
    harness_put(harness_path(rig->folder, "b"), "");
    assert_seen(rig, "");
    watch_let_go(rig->watch, number, rig->folder); /* not there any more: nothing happens */
    assert_int_equal(watch_hold(rig->watch, harness_path(rig->folder, "none"), true), -1);
}

static void what_is_watched_for_good_outlives_its_holds(void **state)
{
    struct rig *rig = (struct rig *)*state;
    assert_int_equal(symlink(".", harness_path(rig->folder, "link")), 0);
    const char *link = harness_path(rig->folder, "link");
    assert_int_equal(watch_folder(rig->watch, rig->folder, true), 0);
    int number = watch_hold(rig->watch, rig->folder, true);
    assert_int_equal(watch_hold(rig->watch, link, true), number); /* another path of the same */
    harness_put(harness_path(rig->folder, "a"), "");
    assert_seen(rig, "link/a:CREATE a:CREATE");
    watch_let_go(rig->watch, number, rig->folder);
    watch_let_go(rig->watch, number, link);
    harness_put(harness_path(rig->folder, "b"), "");
    assert_seen(rig, "b:CREATE");
}

static void a_folder_may_be_let_go_by_its_own_event(void **state)
{
    struct rig *rig = (struct rig *)*state;
    assert_int_equal(symlink(".", harness_path(rig->folder, "link")), 0);
    const char *paths[] = {rig->folder, harness_path(rig->folder, "link")};
    for (size_t i = 0; i < ROWS(paths);
         i++) { /* of its two paths the one told first, or the one after it */
        rig->number = watch_hold(rig->watch, paths[0], true);
        assert_int_equal(watch_hold(rig->watch, paths[1], true), rig->number);
        rig->let_go = paths[i];
        harness_put(harness_path(rig->folder, "f"), "x");
        ev_run(rig->loop, EVRUN_NOWAIT);
        assert_non_null(strstr(rig->seen, "f:MODIFY"));
        rig->seen[0] = '\0';
        watch_let_go(rig->watch, rig->number, paths[1 - i]);
        harness_put(harness_path(rig->folder, "f"), "y");
        assert_seen(rig, "");
    }
}

static void a_held_folder_that_is_gone_can_be_let_go(void **state)
{
    struct rig *rig = (struct rig *)*state;
    const char *sub = harness_path(rig->folder, "sub");
    assert_int_equal(mkdir(sub, 0755), 0);
    int number = watch_hold(rig->watch, sub, true);
    assert_int_equal(rmdir(sub), 0);
    assert_seen(rig, "sub:DELETE_SELF sub:IGNORED");
    watch_let_go(rig->watch, number, sub);
}

static void doubted_folders_are_dropped_unless_they_are_watched_again_or_held(void **state)
{
    struct rig *rig = (struct rig *)*state;
    static const char *const names[] = {"again", "held", "dropped"};
    for (size_t i = 0; i < ROWS(names); i++) {
        assert_int_equal(mkdir(harness_path(rig->folder, names[i]), 0755), 0);
        assert_int_equal(watch_folder(rig->watch, harness_path(rig->folder, names[i]), true), 0);
    }
    int number = watch_hold(rig->watch, harness_path(rig->folder, "held"), true);
    harness_put(harness_path(rig->folder, "again/before"), "");
    watch_doubt(rig->watch);
    assert_int_equal(watch_folder(rig->watch, harness_path(rig->folder, "again"), true), 0);
    watch_drop_doubted(rig->watch);
    for (size_t i = 0; i < ROWS(names); i++) {
        char name[64];
        snprintf(name, sizeof(name), "%s/f", names[i]);
        harness_put(harness_path(rig->folder, name), "");
    }
    assert_seen(rig, "again/before:CREATE again/f:CREATE held/f:CREATE");
    watch_let_go(rig->watch, number, harness_path(rig->folder, "held"));
    harness_put(harness_path(rig->folder, "held/g"), "");
    harness_put(harness_path(rig->folder, "again/g"), "");
    assert_seen(rig, "again/g:CREATE");
}

#define RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RIG(files_of_a_leaf_are_seen_in_all_they_do),
        RIG(of_a_folder_on_the_way_only_what_comes_is_seen),
        RIG(watching_again_adds_and_never_takes_away),
        RIG(a_folder_with_two_paths_is_seen_under_both),
        RIG(a_paused_watch_keeps_its_events),
        RIG(a_folder_made_anew_can_be_watched_anew),
        RIG(what_is_no_folder_is_an_error),
        RIG(many_folders_are_told_apart),
        RIG(a_held_folder_is_watched_until_it_is_let_go_as_often),
        RIG(what_is_watched_for_good_outlives_its_holds),
        RIG(a_folder_may_be_let_go_by_its_own_event),
        RIG(a_held_folder_that_is_gone_can_be_let_go),
        RIG(doubted_folders_are_dropped_unless_they_are_watched_again_or_held),
        RIG(used_up_watches_are_an_error_until_there_are_some_again),
        RIG(without_an_instance_it_is_tried_again_with_each_folder),
    };
    log_init(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
