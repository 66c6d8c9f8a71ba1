/* covers: agent/positions.c (positions_split()) */
#include "agent/positions.h"

#include "agent/log.h"
#include "tests/agent/harness.h"

static void a_split_gives_the_mark_to_the_copy_and_begins_the_log_anew(void **state)
{
    (void)state;
    char *folder = harness_folder();
    struct flusher *flusher = flusher_new();
    struct error error;
    struct positions *positions = positions_open(folder, flusher, &error);
    assert_non_null(positions);
    const struct identity log = {1, 10, 100}, copy = {1, 11, 200};
    const struct mark mark = {.offset = 7, .head = {7, 1}, .tail = {7, 2}};
    struct mark found;
    bool known;
    struct position *position = positions_claim(positions, "s", &log, "/l/a.log", 0, &known);
    positions_set(positions, position, &mark);
    struct position *stale = positions_claim(positions, "s", &copy, "/l/other", 1, &known);
    assert_null(positions_split(positions, position, &copy, 7)); /* another worker has it */
    assert_true(identity_equal(&position->id, &log));
    positions_release(positions, stale);
    struct position *fresh = positions_split(positions, position, &copy, 7);
    assert_non_null(fresh);
    assert_true(identity_equal(&position->id, &copy));
    assert_true(identity_equal(&fresh->id, &log));
    assert_int_equal(fresh->copied, 7);
    assert_int_equal(fresh->owner, 0);
    assert_true(fresh->sequence > position->sequence);
    assert_string_equal(fresh->path, "/l/a.log");
    assert_true(positions_find(positions, "s", &copy, &found));
    assert_int_equal(found.offset, 7);
    assert_true(positions_find(positions, "s", &log, &found));
    assert_int_equal(found.offset, 0);
    assert_false(positions_find(positions, "t", &log, &found));
    positions_release(positions, position);
    positions_release(positions, fresh);
    positions_close(&positions);
    flusher_free(&flusher);
    harness_remove(folder);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_split_gives_the_mark_to_the_copy_and_begins_the_log_anew),
    };
    log_init(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
