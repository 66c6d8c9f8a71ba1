/* Generations that came and went between two looks. */
#include "agent/tail_inner.h"

#include "tests/agent/tail_rig.h"

/* a.log to a.log.1, b.log to b.log.1, …: each log twice, unseen. */
static void rotate_twice(const struct rig *rig, const char *const *logs, size_t n)
{
    char first[64], second[64], text[64];
    for (size_t i = 0; i < n; i++) {
        snprintf(first, sizeof(first), "%s.1", logs[i]);
        snprintf(second, sizeof(second), "%s.2", logs[i]);
        move(rig, logs[i], second);
        snprintf(text, sizeof(text), "%s-2\n", logs[i]);
        put_later(rig, first, text);
        snprintf(text, sizeof(text), "%s-3\n", logs[i]);
        put_later(rig, logs[i], text);
    }
}

static void assert_three_each(struct rig *rig, const char *const *logs, size_t n)
{
    drain(rig);
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        char text[64];
        const char *place = rig->text;
        for (int line = 1; line <= 3; line++) {
            snprintf(text, sizeof(text), "%s-%d ", logs[i], line);
            const char *found = strstr(place, text); /* in this order */
            if (found == NULL)
                fail_msg("%sis not where it belongs in: %s", text, rig->text);
            place = found;
            len += strlen(text);
        }
    }
    assert_int_equal(strlen(rig->text), len);
}

static const char *const logs[] = {"a.log", "sub/b.log", "c.log", "sub/d.log", "e.log"};

static void put_firsts(struct rig *rig)
{
    char text[64];
    rig->paths[1] = strdup(at(rig, "sub/*.log"));
    rig->sides[0].config.tail.paths.n = 2;
    assert_int_equal(mkdir(at(rig, "sub"), 0755), 0);
    for (size_t i = 0; i < ROWS(logs); i++) {
        snprintf(text, sizeof(text), "%s-1\n", logs[i]);
        put_later(rig, logs[i], text);
    }
}

static void drop_second_path(struct rig *rig)
{
    stop(rig);
    free((void *)(uintptr_t)rig->paths[1]);
    rig->paths[1] = NULL;
}

static void of_several_logs_and_folders_all_are_found_while_running(void **state)
{
    struct rig *rig = (struct rig *)*state;
    put_firsts(rig);
    start(rig);
    drain(rig);
    rotate_twice(rig, logs, ROWS(logs));
    assert_three_each(rig, logs, ROWS(logs));
    drop_second_path(rig);
}

static void of_several_logs_and_folders_all_are_found_at_a_start(void **state)
{
    struct rig *rig = (struct rig *)*state;
    put_firsts(rig);
    start(rig);
    drain(rig);
    stop(rig);
    rotate_twice(rig, logs, ROWS(logs));
    start(rig);
    assert_three_each(rig, logs, ROWS(logs));
    drop_second_path(rig);
}

static void those_after_a_generation_that_is_gone_are_found(void **state)
{
    struct rig *rig = (struct rig *)*state;
    put_firsts(rig);
    start(rig);
    drain(rig);
    stop(rig);
    rig->text[0] = '\0';
    for (size_t i = 0; i < ROWS(logs); i++)
        assert_int_equal(unlink(at(rig, logs[i])), 0);
    put_later(rig, "c.log.2", "two\n");
    put_later(rig, "c.log.1", "three\n");
    put_later(rig, "x.log.1", "of a log that was not known\n");
    put_later(rig, "c.log", "four\n");
    start(rig);
    assert_read(rig, "two three four ");
    drop_second_path(rig);
}

static void only_what_was_born_in_between_is_wanted(void **state)
{
    struct rig *rig = (struct rig *)*state;
    put_later(rig, "a.log.9", "before\n");
    put_later(rig, "a.log", "1\n");
    start(rig);
    assert_read(rig, "1 ");
    move(rig, "a.log", "a.log.2");
    put_later(rig, "a.log.1", "2\n");
    put_later(rig, "ab.log.1", "of another log\n");
    put_later(rig, "a.log", "3\n");
    put_later(rig, "a.log.0", "after\n");
    assert_read(rig, "2 3 ");
}

static void what_was_asked_for_is_found_though_its_log_is_gone(void **state)
{
    struct rig *rig = (struct rig *)*state;
    put_later(rig, "a.log", "1\n");
    start(rig);
    drain(rig);
    move(rig, "a.log", "a.log.2");
    put_later(rig, "a.log.1", "2\n");
    put_later(rig, "a.log", "3\n");
    ev_run(rig->loop, EVRUN_NOWAIT);
    move(rig, "a.log", "gone");
    ev_run(rig->loop, EVRUN_NOWAIT);
    assert_read(rig, "1 2 3 ");
}

static void what_was_asked_for_is_forgotten_at_the_end(void **state)
{
    struct rig *rig = (struct rig *)*state;
    start(rig);
    struct tail *tail = rig->sides[0].stream.tail;
    tail_find_missed(tail, at(rig, "a.log"), 0, 1);
    tail_find_missed(tail, at(rig, "a.log"), 1, 0);
    assert_int_equal(tail->n_missed, 0); /* births are not known */
    tail_find_missed(tail, at(rig, "none/a.log"), 1, 2);
    assert_int_equal(tail->n_missed, 1);
    tail_look_for_missed(tail);
    assert_int_equal(tail->n_missed, 0);
    tail_find_missed(tail, at(rig, "a.log"), 1, 2); /* freed with the tail */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RIG(of_several_logs_and_folders_all_are_found_while_running),
        RIG(of_several_logs_and_folders_all_are_found_at_a_start),
        RIG(those_after_a_generation_that_is_gone_are_found),
        RIG(only_what_was_born_in_between_is_wanted),
        RIG(what_was_asked_for_is_found_though_its_log_is_gone),
        RIG(what_was_asked_for_is_forgotten_at_the_end),
    };
    log_init(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
