/* covers: agent/positions.c (positions_split(), positions_restore(), generations) */
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
    const struct mark mark = {.offset = 7,
                              .head = {7, 1},
                              .tail = {7, 2},
                              .shipped = {.end = 5, .dropped = 2, .any = true}};
    struct mark found;
    bool known;
    struct position *position = positions_claim(positions, "s", &log, "/l/a.log", 0, &known);
    positions_set(positions, position, &mark);
    const uint64_t generation = position->generation;
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
    assert_true(position->generation == generation && fresh->generation != generation);
    assert_true(positions_find(positions, "s", &copy, &found));
    assert_int_equal(found.offset, 7);
    assert_true(found.shipped.end == 5 && found.shipped.dropped == 2 && found.shipped.any);
    assert_true(positions_find(positions, "s", &log, &found));
    assert_int_equal(found.offset, 0);
    assert_true(found.shipped.end == 0 && found.shipped.dropped == 0 && !found.shipped.any);
    assert_false(positions_find(positions, "t", &log, &found));
    positions_release(positions, position);
    positions_release(positions, fresh);
    positions_close(&positions);
    flusher_free(&flusher);
    harness_remove(folder);
}

static uint64_t generation_of(const char *agent, const char *stream, const struct identity *id,
                              bool renewed)
{
    char *folder = harness_folder();
    struct flusher *flusher = flusher_new();
    struct error error;
    bool known;
    struct positions *positions = positions_open(folder, flusher, &error);
    assert_non_null(positions);
    positions_name_agent(positions, agent);
    struct position *position = positions_claim(positions, stream, id, "/l/a.log", 0, &known);
    if (renewed)
        positions_renew(positions, position);
    const uint64_t generation = position->generation;
    positions_close(&positions);
    flusher_free(&flusher);
    harness_remove(folder);
    return generation;
}

static void a_generation_is_the_same_when_it_is_found_anew_and_no_other_s(void **state)
{
    (void)state;
    const struct identity id = {1, 10, 100}, younger = {1, 10, 101};
    const uint64_t all[] = {
        generation_of("a", "s", &id, false),      generation_of("b", "s", &id, false),
        generation_of("a", "t", &id, false),      generation_of("a", "s", &id, true),
        generation_of("a", "s", &younger, false), generation_of("a", "s", &younger, true),
    };
    for (size_t i = 0; i < ROWS(all); i++)
        for (size_t j = 0; j < i; j++)
            assert_true(all[i] != all[j]);
    assert_true(generation_of("a", "s", &id, false) == all[0]);
    assert_true(generation_of("a", "s", &id, true) == all[3]);
}

/* What the spool holds a position of wins where it is ahead of what was saved, and nowhere else. */
static void what_is_ahead_is_restored(void **state)
{
    (void)state;
    static const struct {
        int saved, held; /* truncations of the file */
        uint64_t saved_offset, begin, held_offset, expected;
    } rows[] = {
        {0, 0, 10, 0, 20, 20},  {0, 0, 20, 0, 10, 20},
        {0, 1, 20, 0, 10, 10},  {1, 0, 10, 0, 20, 10},
        {0, 5, 20, 0, 0, 0},    {2, 2, 0, 0, 7, 7},
        {0, 0, 10, 10, 20, 20}, {0, 0, 10, 11, 20, 10} /* what is between is missing */,
        {0, 1, 20, 9, 10, 20},  {0, 0, 0, 3, 9, 9},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        char stream[] = "s", path[] = "/l/a.log";
        struct position held = {.stream = stream, .path = path, .id = {1, 10, 100}};
        struct mark mark = {.offset = rows[i].saved_offset}, found;
        char *folder = harness_folder();
        struct flusher *flusher = flusher_new();
        struct error error;
        bool known;
        struct positions *positions = positions_open(folder, flusher, &error);
        assert_non_null(positions);
        struct position *position = positions_claim(positions, stream, &held.id, path, 0, &known);
        held.generation = position->generation;
        for (int n = 0; n < rows[i].saved || n < rows[i].held; n++) {
            positions_renew(positions, position);
            if (n + 1 == rows[i].held)
                held.generation = position->generation;
        }
        if (rows[i].saved < rows[i].held) { /* these were not saved */
            positions_forget(positions, &position);
            position = positions_claim(positions, stream, &held.id, path, 0, &known);
            for (int n = 0; n < rows[i].saved; n++)
                positions_renew(positions, position);
        }
        positions_set(positions, position, &mark);
        positions_release(positions, position);
        held.mark.offset = rows[i].held_offset;
        assert_int_equal(positions_restore(positions, &held, rows[i].begin), 0);
        assert_true(positions_find(positions, stream, &held.id, &found));
        if (found.offset != rows[i].expected)
            fail_msg("row %zu: %ju", i, (uintmax_t)found.offset);
        held.id.ino++; /* one that was not saved at all */
        assert_int_equal(positions_restore(positions, &held, 0), 0);
        assert_true(positions_find(positions, stream, &held.id, &found));
        assert_int_equal(found.offset, rows[i].held_offset);
        positions_close(&positions);
        flusher_free(&flusher);
        harness_remove(folder);
    }
}

static void what_the_spool_knows_is_anyone_s_to_claim_and_wins_when_it_is_ahead(void **state)
{
    (void)state;
    char *folder = harness_folder();
    struct flusher *flusher = flusher_new();
    struct error error;
    struct positions *positions = positions_open(folder, flusher, &error);
    assert_non_null(positions);
    char stream[] = "s", path[] = "/l/a.log";
    struct position known = {
        .stream = stream, .path = path, .id = {1, 10, 100}, .generation = 5, .mark = {.offset = 7}};
    struct mark found;
    bool there;
    assert_int_equal(positions_restore(positions, &known, 0), 0);
    known.mark.offset = 6;
    assert_int_equal(positions_restore(positions, &known, 0), 0);
    assert_true(positions_find(positions, "s", &known.id, &found));
    assert_int_equal(found.offset, 7);
    struct position *position = positions_claim(positions, "s", &known.id, "/l/a.log", 1, &there);
    assert_non_null(position);
    assert_true(there && position->generation == 5);
    positions_release(positions, position);
    positions_close(&positions);
    flusher_free(&flusher);
    harness_remove(folder);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_split_gives_the_mark_to_the_copy_and_begins_the_log_anew),
        cmocka_unit_test(what_is_ahead_is_restored),
        cmocka_unit_test(a_generation_is_the_same_when_it_is_found_anew_and_no_other_s),
        cmocka_unit_test(what_the_spool_knows_is_anyone_s_to_claim_and_wins_when_it_is_ahead),
    };
    log_init(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
