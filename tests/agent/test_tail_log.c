/* Generations of a log: told by their names and births, read oldest first, none missed. */
#include "agent/tail_inner.h"
#include "tests/agent/tail_rig.h"

#include <limits.h>
#include <unistd.h>

#define BIRTH_STEP_US 15000 /* the kernel's clock for births ticks every 4 to 10 ms */

/* The log gets its next generation, its only line being `text`; `n` numbered ones stay. */
static void rotate(struct rig *rig, int n, const char *text)
{
    char from[32], to[32];
    for (int i = n; i > 0; i--) {
        snprintf(from, sizeof(from), i == 1 ? "a.log" : "a.log.%d", i - 1);
        snprintf(to, sizeof(to), "a.log.%d", i);
        if (access(at(rig, from), F_OK) == 0)
            move(rig, from, to);
    }
    usleep(BIRTH_STEP_US);
    harness_put(at(rig, "a.log"), text);
}

static void rotated_names_lead_to_their_log_and_others_do_not(void **state)
{
    (void)state;
    static const struct {
        const char *path, *base; /* NULL: not rotated */
    } cases[] = {
        {"/l/a.log.1", "/l/a.log"},
        {"/l/a.log.25", "/l/a.log"},
        {"/l/a.log-20261123", "/l/a.log"},
        {"/l/a.log-20261123-1700000000", "/l/a.log"},
        {"/l/a.log.2026-11-23_10", "/l/a.log"},
        {"/l/a-20261123.log", "/l/a.log"},
        {"/l/a.2026-11-23.log", "/l/a.log"},
        {"/l/0.log.20261123-101112", "/l/0.log"},
        {"/l.1/a.log", NULL},
        {"/l/a.log", NULL},
        {"/l/a-2.log", NULL},
        {"/l/a1", NULL},
        {"/l/a1.log", NULL},
        {"/l/10.0.0.1", NULL},
        {"/l/.1", NULL},
        {"/l/1", NULL},
        {"/l/a.log.", NULL},
        {"/l/a.log.1.gz", NULL},
        {"/l/", NULL},
        {"a", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char base[PATH_MAX];
        bool rotated = tail_rotation_base(cases[i].path, base);
        if (rotated != (cases[i].base != NULL))
            fail_msg("%s", cases[i].path);
        if (rotated)
            assert_string_equal(base, cases[i].base);
    }
}

static void rotations_between_two_looks_are_read_oldest_first_though_all_names_match(void **state)
{
    struct rig *rig = (struct rig *)*state;
    const char *all = strdup(at(rig, "a.log*"));
    rig->sides[0].config.tail.paths.items = &all;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    harness_append(at(rig, "a.log"), "2\n");
    for (char text[] = "3\n"; *text <= '7'; ++*text)
        rotate(rig, 6, text);
    assert_read(rig, "2 3 4 5 6 7 ");
    free((void *)(uintptr_t)all);
}

static void generations_found_at_the_first_start_are_read_oldest_first_as_one_log(void **state)
{
    struct rig *rig = (struct rig *)*state;
    const char *all = strdup(at(rig, "a.log*"));
    rig->sides[0].config.tail.paths.items = &all;
    for (char text[] = "1\n"; *text <= '4'; ++*text)
        rotate(rig, 5, text);
    start(rig);
    for (unsigned batches = 0; tail_ready(rig->sides[0].stream.tail); batches++) {
        assert_in_range(batches, 0, 10);
        struct batch_private *batch = take(rig, 0);
        for (uint32_t i = 0; i < batch->n_origins; i++)
            assert_string_equal(batch->origins[i]->path.ptr, at(rig, "a.log"));
        tail_commit(batch);
        finish(rig, batch);
    }
    assert_text(rig, "1 2 3 4 ");
    free((void *)(uintptr_t)all);
}

static void a_generation_that_came_and_went_between_two_looks_is_found_beside_the_log(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    for (char text[] = "2\n"; *text <= '5'; ++*text)
        rotate(rig, 5, text);
    assert_read(rig, "2 3 4 5 ");
    rotate(rig, 6, "6\n");
    assert_read(rig, "6 ");
}

static void rotations_while_stopped_miss_no_generation(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    stop(rig);
    harness_append(at(rig, "a.log"), "2\n");
    for (char text[] = "3\n"; *text <= '5'; ++*text)
        rotate(rig, 5, text);
    start(rig);
    assert_read(rig, "2 3 4 5 ");
    stop(rig);
    start(rig);
    assert_read(rig, "");
}

/* Between the rename and the creation of the next file. */
static void a_start_in_the_middle_of_a_rotation_keeps_the_generations_in_order(void **state)
{
    struct rig *rig = (struct rig *)*state;
    const char *all = strdup(at(rig, "a.log*"));
    rig->sides[0].config.tail.paths.items = &all;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    stop(rig);
    harness_append(at(rig, "a.log"), "2\n");
    for (char text[] = "3\n"; *text <= '6'; ++*text)
        rotate(rig, 6, text);
    for (int i = 5; i > 0; i--) {
        char from[32], to[32];
        snprintf(from, sizeof(from), i == 1 ? "a.log" : "a.log.%d", i - 1);
        snprintf(to, sizeof(to), "a.log.%d", i);
        move(rig, from, to);
    }
    start(rig);
    harness_put(at(rig, "a.log"), "7\n");
    assert_read(rig, "2 3 4 5 6 7 ");
    free((void *)(uintptr_t)all);
}

static void a_first_start_in_the_middle_of_a_rotation_keeps_the_generations_in_order(void **state)
{
    struct rig *rig = (struct rig *)*state;
    const char *all = strdup(at(rig, "a.log*"));
    rig->sides[0].config.tail.paths.items = &all;
    for (char text[] = "1\n"; *text <= '4'; ++*text)
        rotate(rig, 6, text);
    move(rig, "a.log", "a.log.0");
    start(rig);
    harness_put(at(rig, "a.log"), "5\n");
    assert_read(rig, "1 2 3 4 5 ");
    usleep(BIRTH_STEP_US);
    move(rig, "a.log", "a.log.9");
    harness_put(at(rig, "a.log"), "6\n");
    assert_read(rig, "6 ");
    free((void *)(uintptr_t)all);
}

static void a_restart_brings_a_rotated_file_to_its_log_that_came_after_it(void **state)
{
    struct rig *rig = (struct rig *)*state;
    const char *all = strdup(at(rig, "a.log*"));
    rig->sides[0].config.tail.paths.items = &all;
    harness_put(at(rig, "a.log.1"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    stop(rig);
    usleep(BIRTH_STEP_US);
    harness_put(at(rig, "a.log"), "");
    start(rig);
    harness_append(at(rig, "a.log"), "3\n");
    harness_append(at(rig, "a.log.1"), "2\n");
    assert_read(rig, "2 3 ");
    free((void *)(uintptr_t)all);
}

static void what_came_after_a_file_that_is_gone_is_read_all_the_same(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    stop(rig);
    for (char text[] = "2\n"; *text <= '4'; ++*text)
        rotate(rig, 2, text); /* the first is overwritten */
    start(rig);
    assert_read(rig, "2 3 4 ");
}

static void older_files_than_the_log_that_is_known_are_not_read(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "old\n");
    rotate(rig, 3, "1\n");
    start(rig);
    assert_read(rig, "1 ");
    rotate(rig, 3, "2\n");
    assert_read(rig, "2 ");
}

static void copies_of_a_truncated_log_are_not_taken_for_generations(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    usleep(BIRTH_STEP_US);
    harness_put(at(rig, "a.log.1"), "1\n");
    assert_int_equal(truncate(at(rig, "a.log"), 0), 0);
    assert_read(rig, "");
    harness_append(at(rig, "a.log"), "2\n");
    rotate(rig, 3, "3\n");
    assert_read(rig, "2 3 ");
}

static void logs_that_only_look_numbered_are_logs_of_their_own(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "worker-1.log"), "1\n");
    harness_put(at(rig, "worker-2.log"), "2\n");
    harness_put(at(rig, "worker.log"), "0\n");
    start(rig);
    events(rig);
    struct batch_private *batch = take(rig, 0);
    assert_int_equal(batch->n_origins, 3);
    for (uint32_t i = 0; i < 3; i++)
        for (uint32_t j = 0; j < i; j++)
            assert_string_not_equal(batch->origins[i]->path.ptr, batch->origins[j]->path.ptr);
    tail_commit(batch);
    finish(rig, batch);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(rotated_names_lead_to_their_log_and_others_do_not),
        RIG(rotations_between_two_looks_are_read_oldest_first_though_all_names_match),
        RIG(generations_found_at_the_first_start_are_read_oldest_first_as_one_log),
        RIG(a_generation_that_came_and_went_between_two_looks_is_found_beside_the_log),
        RIG(rotations_while_stopped_miss_no_generation),
        RIG(a_start_in_the_middle_of_a_rotation_keeps_the_generations_in_order),
        RIG(a_first_start_in_the_middle_of_a_rotation_keeps_the_generations_in_order),
        RIG(a_restart_brings_a_rotated_file_to_its_log_that_came_after_it),
        RIG(what_came_after_a_file_that_is_gone_is_read_all_the_same),
        RIG(older_files_than_the_log_that_is_known_are_not_read),
        RIG(copies_of_a_truncated_log_are_not_taken_for_generations),
        RIG(logs_that_only_look_numbered_are_logs_of_their_own),
    };
    log_init(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
