/* Logs that are symbolic links: rig->folder has `links`, whose files the glob matches, and `pods` and `docker`, of which
 * no glob knows. Nothing here is found by a rescan unless a test says so. */
#include "agent/tail_inner.h"

#include "tests/agent/inotify_faults.h"
#include "tests/agent/tail_rig.h"

static int link_setup(void **state)
{
    watches_left = instances_left = INT_MAX;
    rig_setup(state);
    struct rig *rig = (struct rig *)*state;
    free((void *)(uintptr_t)rig->paths[0]);
    rig->paths[0] = strdup(at(rig, "links/*.log"));
    static const char *const folders[] = {"links", "pods", "docker"};
    for (size_t i = 0; i < ROWS(folders); i++)
        assert_int_equal(mkdir(at(rig, folders[i]), 0755), 0);
    return 0;
}

static void put_link(const struct rig *rig, const char *name, const char *target)
{
    assert_int_equal(symlink(target[0] == '/' ? target : at(rig, target), at(rig, name)), 0);
}

/* As `ln -sf`: there is no moment without one. */
static void replace_link(const struct rig *rig, const char *name, const char *target)
{
    put_link(rig, "links/new", target);
    move(rig, "links/new", name);
}

/* By events alone. */
static void assert_seen(struct rig *rig, const char *expected)
{
    ev_run(rig->loop, EVRUN_NOWAIT);
    assert_false(tail_of(rig)->wants_rescan);
    assert_read(rig, expected);
}

/* How many folders this process watches. */
static int watched(void)
{
    char path[64];
    int count = 0;
    for (int fd = 0; fd < 64; fd++) {
        snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
        char *text = NULL;
        size_t room = 0;
        FILE *file = fopen(path, "re");
        while (file != NULL && getline(&text, &room, file) != -1)
            count += strncmp(text, "inotify wd:", 11) == 0;
        free(text);
        if (file != NULL)
            fclose(file);
    }
    return count;
}

static void appends_to_the_target_are_seen_at_once(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "pods/0.log"), "1\n");
    put_link(rig, "links/a.log", "pods/0.log");
    start(rig);
    assert_seen(rig, "1 ");
    for (int i = 0; i < 3; i++) {
        harness_append(at(rig, "pods/0.log"), "x\n");
        assert_seen(rig, "x ");
    }
    assert_string_equal(tail_of(rig)->sources->origin.path.ptr, at(rig, "links/a.log"));
    /* One that comes later, dangling, and relative. */
    assert_int_equal(symlink("../pods/late.log", at(rig, "links/b.log")), 0);
    assert_seen(rig, "");
    harness_put(at(rig, "pods/late.log"), "late\n");
    assert_seen(rig, "late ");
    harness_append(at(rig, "pods/late.log"), "later\n");
    assert_seen(rig, "later ");
}

static void a_target_that_is_rotated_is_finished_before_the_next_one(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "pods/0.log"), "1\n");
    put_link(rig, "links/a.log", "pods/0.log");
    start(rig);
    assert_seen(rig, "1 ");
    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof(name), "pods/0.log.2025013%d-101010", i);
        harness_append(at(rig, "pods/0.log"), "last\n");
        move(rig, "pods/0.log", name);
        harness_put(at(rig, "pods/0.log"), "first\n");
        harness_append(at(rig, name), "very-last\n");
        assert_seen(rig, "last very-last first ");
    }
}

static void a_chain_is_watched_at_each_step(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "docker/x-json.log"), "1\n");
    put_link(rig, "pods/0.log", "docker/x-json.log");
    put_link(rig, "links/a.log", "pods/0.log");
    start(rig);
    assert_seen(rig, "1 ");
    harness_append(at(rig, "docker/x-json.log"), "2\n");
    assert_seen(rig, "2 ");
    move(rig, "docker/x-json.log", "docker/x-json.log.1");
    harness_append(at(rig, "docker/x-json.log.1"), "3\n");
    harness_put(at(rig, "docker/x-json.log"), "4\n");
    assert_seen(rig, "3 4 ");
    harness_put(at(rig, "docker/y-json.log"), "5\n");
    assert_seen(rig, "");
    assert_int_equal(unlink(at(rig, "pods/0.log")), 0);
    put_link(rig, "pods/0.log", "docker/y-json.log"); /* the middle leads elsewhere */
    ev_run(rig->loop, EVRUN_NOWAIT);
    assert_read(rig, "5 ");
    harness_append(at(rig, "docker/y-json.log"), "6\n");
    ev_run(rig->loop, EVRUN_NOWAIT);
    assert_read(rig, "6 ");
}

static void a_retargeted_link_finishes_the_old_target_first(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "pods/0.log"), "1\n");
    harness_put(at(rig, "docker/1.log"), "3\n");
    put_link(rig, "links/a.log", "pods/0.log");
    start(rig);
    assert_seen(rig, "1 ");
    harness_append(at(rig, "pods/0.log"), "2\n");
    replace_link(rig, "links/a.log", "docker/1.log");
    ev_run(rig->loop, EVRUN_NOWAIT);
    assert_read(rig, "2 3 ");
    harness_append(at(rig, "docker/1.log"), "4\n");
    assert_seen(rig, "4 ");
    assert_string_equal(tail_of(rig)->sources->origin.path.ptr, at(rig, "links/a.log"));
}

static void folders_are_watched_only_while_a_link_leads_there(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "pods/0.log"), "1\n");
    harness_put(at(rig, "docker/0.log"), "2\n");
    start(rig);
    int none = watched();
    put_link(rig, "links/a.log", "pods/0.log");
    put_link(rig, "links/b.log", "pods/0.log");
    ev_run(rig->loop, EVRUN_NOWAIT);
    drain(rig);
    assert_int_equal(watched(), none + 1);
    replace_link(rig, "links/a.log", "docker/0.log");
    ev_run(rig->loop, EVRUN_NOWAIT);
    drain(rig);
    assert_int_equal(watched(), none + 2);
    assert_int_equal(unlink(at(rig, "links/b.log")), 0);
    ev_run(rig->loop, EVRUN_NOWAIT);
    assert_int_equal(watched(), none + 1);
    assert_int_equal(unlink(at(rig, "links/a.log")), 0);
    tail_rescan(tail_of(rig)); /* seen by a look instead */
    assert_int_equal(watched(), none);
    put_link(rig, "links/dead.log", "pods/none.log");
    tail_rescan(tail_of(rig));
    assert_int_equal(watched(), none + 1);
    assert_int_equal(unlink(at(rig, "links/dead.log")), 0);
    tail_rescan(tail_of(rig)); /* no source ever had this name */
    assert_int_equal(watched(), none);
    harness_put(at(rig, "links/c.log"), "a file takes the place of a link\n");
    assert_null(tail_of(rig)->links);
}

static void a_link_into_a_folder_that_is_not_there_yet_waits_for_it(void **state)
{
    struct rig *rig = (struct rig *)*state;
    put_link(rig, "links/a.log", "pods/x/y/0.log");
    start(rig);
    assert_read(rig, "");
    assert_int_equal(mkdir(at(rig, "pods/x"), 0755), 0);
    events(rig);
    assert_int_equal(mkdir(at(rig, "pods/x/y"), 0755), 0);
    events(rig);
    harness_put(at(rig, "pods/x/y/0.log"), "1\n");
    assert_seen(rig, "1 ");
    harness_append(at(rig, "pods/x/y/0.log"), "2\n");
    assert_seen(rig, "2 ");
    harness_remove(strdup(at(rig, "pods/x")));
    events(rig);
    assert_int_equal(mkdir(at(rig, "pods/x"), 0755), 0);
    events(rig);
    assert_int_equal(mkdir(at(rig, "pods/x/y"), 0755), 0);
    events(rig);
    harness_put(at(rig, "pods/x/y/0.log"), "3\n");
    assert_seen(rig, "3 ");
}

static void loops_are_left_alone_until_they_are_none(void **state)
{
    struct rig *rig = (struct rig *)*state;
    put_link(rig, "links/a.log", "links/b.log");
    put_link(rig, "links/b.log", "links/a.log");
    start(rig);
    assert_read(rig, "");
    assert_null(tail_of(rig)->links);
    harness_put(at(rig, "pods/0.log"), "1\n");
    replace_link(rig, "links/b.log", "pods/0.log");
    tail_rescan(tail_of(rig));
    assert_read(rig, "1 "); /* once, though both lead there */
    harness_append(at(rig, "pods/0.log"), "2\n");
    assert_seen(rig, "2 ");
}

static void a_target_rotated_while_the_agent_was_down_is_found_beside_it(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "docker/x.log"), "1\n");
    put_link(rig, "pods/0.log", "docker/x.log");
    put_link(rig, "links/a.log", "pods/0.log");
    start(rig);
    assert_read(rig, "1 ");
    stop(rig);
    harness_append(at(rig, "docker/x.log"), "2\n");
    move(rig, "docker/x.log", "docker/x.log.3");
    put_later(rig, "docker/x.log.2", "3\n");
    put_later(rig, "docker/x.log.1", "4\n");
    put_later(rig, "docker/x.log", "5\n");
    start(rig);
    assert_read(rig, "2 3 4 5 ");
    for (struct source *s = tail_of(rig)->sources; s != NULL; s = s->next)
        assert_string_equal(s->origin.path.ptr, at(rig, "links/a.log"));
    stop(rig);
    start(rig);
    assert_read(rig, "");
}

static void a_target_that_is_rotated_and_not_there_again_is_found_at_a_start(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "pods/0.log"), "1\n");
    put_link(rig, "links/a.log", "pods/0.log");
    start(rig);
    assert_read(rig, "1 ");
    stop(rig);
    harness_append(at(rig, "pods/0.log"), "2\n");
    move(rig, "pods/0.log", "pods/0.log.20250131-101010");
    start(rig);
    assert_read(rig, "2 ");
    harness_put(at(rig, "pods/0.log"), "3\n");
    assert_seen(rig, "3 ");
}

static void generations_that_nobody_saw_are_found_beside_the_target(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "pods/0.log"), "1\n");
    put_link(rig, "links/a.log", "pods/0.log");
    start(rig);
    assert_seen(rig, "1 ");
    move(rig, "pods/0.log", "pods/0.log.2");
    put_later(rig, "pods/0.log.1", "2\n");
    put_later(rig, "pods/0.log", "3\n");
    assert_seen(rig, "2 3 ");
}

static void without_watches_links_are_polled(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "pods/0.log"), "1\n");
    start(rig);
    assert_true(tail_poll_at(tail_of(rig)) == INT64_MAX);
    watches_left = 0;
    put_link(rig, "links/a.log", "pods/0.log");
    assert_seen(rig, "1 ");
    assert_true(tail_poll_at(tail_of(rig)) < INT64_MAX);
    harness_append(at(rig, "pods/0.log"), "2\n");
    assert_seen(rig, "");
    tail_poll(tail_of(rig), 1);
    assert_seen(rig, "2 ");
    watches_left = 1;
    tail_rescan(tail_of(rig));
    assert_true(tail_poll_at(tail_of(rig)) == INT64_MAX);
    harness_append(at(rig, "pods/0.log"), "3\n");
    assert_seen(rig, "3 ");
}

static void many_links_to_one_file_are_told_of_its_changes(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char name[64];
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "links/%d.log", i);
        put_link(rig, name, "pods/0.log");
    }
    start(rig);
    harness_put(at(rig, "pods/0.log"), "1\n");
    assert_read(rig, "1 ");
    harness_append(at(rig, "pods/0.log"), "2\n");
    assert_seen(rig, "2 ");
    for (int i = 0; i < 20; i += 2) {
        snprintf(name, sizeof(name), "links/%d.log", i);
        assert_int_equal(unlink(at(rig, name)), 0);
        events(rig);
    }
    harness_append(at(rig, "pods/0.log"), "3\n");
    assert_seen(rig, "3 ");
}

/* The folder of the links is looked into once for all of them, those of the targets for each. */
static void closed_targets_that_grew_before_their_links_led_elsewhere_are_read(void **state)
{
    struct rig *rig = (struct rig *)*state;
    static const char *const names[] = {"a", "b"};
    char link[64], target[64];
    for (size_t i = 0; i < ROWS(names); i++) {
        snprintf(link, sizeof(link), "links/%s.log", names[i]);
        snprintf(target, sizeof(target), "%s/1.log", i == 0 ? "pods" : "docker");
        harness_put(at(rig, target), "1\n");
        put_link(rig, link, target);
    }
    start(rig);
    assert_read(rig, "1 1 ");
    harness_put(at(rig, "links/c.log"), "1\n"); /* looked for before them */
    assert_read(rig, "1 ");
    for (struct source *source = tail_of(rig)->sources; source != NULL; source = source->next)
        tail_close_file(tail_of(rig), source);
    for (size_t i = 0; i < ROWS(names); i++) {
        snprintf(link, sizeof(link), "links/%s.log", names[i]);
        snprintf(target, sizeof(target), "%s/1.log", i == 0 ? "pods" : "docker");
        harness_append(at(rig, target), "2\n");
        snprintf(target, sizeof(target), "%s/2.log", i == 0 ? "pods" : "docker");
        harness_put(at(rig, target), "");
        replace_link(rig, link, target);
    }
    assert_int_equal(unlink(at(rig, "links/c.log")), 0);
    events(rig);
    tail_tick(tail_of(rig));
    assert_read(rig, "2 2 ");
}

static void a_target_that_waits_for_a_descriptor_is_read_when_its_link_is_gone(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].files.limit = 1;
    harness_put(at(rig, "pods/a.log"), "1\n");
    put_link(rig, "links/a.log", "pods/a.log");
    start(rig);
    struct batch_private *batch = take(rig, 0);
    tail_commit(batch); /* its descriptor is free when it is delivered */
    harness_put(at(rig, "docker/b.log"), "2\n");
    put_link(rig, "links/b.log", "docker/b.log");
    assert_read(rig, "1 ");
    assert_int_equal(unlink(at(rig, "links/b.log")), 0);
    events(rig);
    finish(rig, batch);
    tail_tick(tail_of(rig));
    assert_read(rig, "2 ");
}

#define LINK(test) cmocka_unit_test_setup_teardown(test, link_setup, rig_teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        LINK(appends_to_the_target_are_seen_at_once),
        LINK(a_target_that_is_rotated_is_finished_before_the_next_one),
        LINK(a_chain_is_watched_at_each_step),
        LINK(a_retargeted_link_finishes_the_old_target_first),
        LINK(folders_are_watched_only_while_a_link_leads_there),
        LINK(a_link_into_a_folder_that_is_not_there_yet_waits_for_it),
        LINK(loops_are_left_alone_until_they_are_none),
        LINK(a_target_rotated_while_the_agent_was_down_is_found_beside_it),
        LINK(a_target_that_is_rotated_and_not_there_again_is_found_at_a_start),
        LINK(generations_that_nobody_saw_are_found_beside_the_target),
        LINK(without_watches_links_are_polled),
        LINK(many_links_to_one_file_are_told_of_its_changes),
        LINK(a_target_that_waits_for_a_descriptor_is_read_when_its_link_is_gone),
        LINK(closed_targets_that_grew_before_their_links_led_elsewhere_are_read),
    };
    log_init(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
