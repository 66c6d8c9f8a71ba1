/* Chains of records, as their headers tell them, from files that are tailed. */
#include "agent/proof.h"

#include "tests/agent/tail_rig.h"

static struct {
    char text[4096]; /* of each record that was shipped: `BEGIN-END from FROM` and what else is to be told */
    uint64_t last[2]; /* generations: the last two that differ, the newest first */
} seen;

static int note(struct batch_private *batch, const struct record *record, const struct proof *proof)
{
    (void)batch;
    const size_t len = strlen(seen.text);
    int n = snprintf(seen.text + len, sizeof(seen.text) - len, "%ju-%ju from %ju",
                     (uintmax_t)proof->begin, (uintmax_t)proof->end, (uintmax_t)proof->from);
    if (proof->dropped > 0)
        n += snprintf(seen.text + len + n, sizeof(seen.text) - len - (size_t)n, " dropped %ju",
                      (uintmax_t)proof->dropped);
    snprintf(seen.text + len + n, sizeof(seen.text) - len - (size_t)n, "%s; ",
             proof->first ? " first" : "");
    assert_int_equal(proof->end, record->end);
    if (proof->generation != seen.last[0]) {
        seen.last[1] = seen.last[0];
        seen.last[0] = proof->generation;
    }
    return 0;
}

static void assert_seen(const char *expected)
{
    assert_string_equal(seen.text, expected);
    seen.text[0] = '\0';
}

/* Lines that begin with a `-` are dropped, as a filter would. */
static struct batch_private *take_and_prove(struct rig *rig)
{
    struct batch_private *batch = take(rig, 0);
    for (uint32_t i = 0; i < batch->b.n_records; i++)
        if (batch->b.records[i].line.len > 0 && batch->b.records[i].line.ptr[0] == '-')
            record_drop(&batch->b, &batch->b.records[i]);
    assert_int_equal(proof_batch(batch, note), 0);
    return batch;
}

static void ship_all(struct rig *rig)
{
    events(rig);
    while (tail_ready(tail_of(rig))) {
        struct batch_private *batch = take_and_prove(rig);
        tail_commit(batch);
        finish(rig, batch);
    }
}

static int setup(void **state)
{
    memset(&seen, 0, sizeof(seen));
    return rig_setup(state);
}

static void a_header_has_the_documented_bytes(void **state)
{
    (void)state;
    struct proof proof = {.agent = 0x01020304,
                          .generation = 0x1112131415161718,
                          .from = 200,
                          .begin = 300,
                          .end = 500,
                          .dropped = 3};
    char bytes[PROOF_MOST];
    static const char plain[] = "\x01\x00\x01\x02\x03\x04\x11\x12\x13\x14\x15\x16\x17\x18"
                                "\xac\x02\xc8\x01\xc8\x01\x03";
    assert_int_equal(proof_encode(bytes, &proof), sizeof(plain) - 1);
    assert_memory_equal(bytes, plain, sizeof(plain) - 1);
    proof.first = true;
    proof.from = 301; /* it begins before */
    proof.dropped = 0;
    static const char before[] = "\x01\x01\x01\x02\x03\x04\x11\x12\x13\x14\x15\x16\x17\x18"
                                 "\xac\x02\xc8\x01\x01\x00";
    assert_int_equal(proof_encode(bytes, &proof), sizeof(before) - 1);
    assert_memory_equal(bytes, before, sizeof(before) - 1);
}

static void the_longest_header_has_room(void **state)
{
    (void)state;
    struct proof proof = {.begin = UINT64_MAX >> 1, .from = 0, .end = 0, .dropped = UINT64_MAX};
    char bytes[PROOF_MOST];
    proof.end = proof.begin - 1; /* wraps: the longest number */
    assert_int_equal(proof_encode(bytes, &proof), 14 + 9 + 10 + 10 + 10);
}

static void an_agent_is_the_crc_of_its_name(void **state)
{
    (void)state;
    assert_int_equal(proof_agent("123456789"), 0xcbf43926);
}

static void each_record_goes_on_where_the_last_one_that_was_shipped_ended(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "0\n-\n-\n3\n-\n");
    start(rig);
    ship_all(rig);
    assert_seen("0-2 from 0 first; 6-8 from 2 dropped 2; ");
    harness_append(at(rig, "a.log"), "5\n6\n");
    ship_all(rig);
    assert_seen("10-12 from 8 dropped 1; 12-14 from 12; ");
}

static void what_was_dropped_at_the_end_is_told_after_a_restart(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "0\n-\n-\n");
    start(rig);
    ship_all(rig);
    uint64_t generation = seen.last[0];
    assert_seen("0-2 from 0 first; ");
    stop(rig);
    harness_append(at(rig, "a.log"), "3\n");
    start(rig);
    ship_all(rig);
    assert_seen("6-8 from 2 dropped 2; ");
    assert_true(seen.last[0] == generation);
}

static void what_was_in_flight_at_a_crash_goes_on_from_the_mark(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "0\n-\n");
    start(rig);
    ship_all(rig);
    harness_append(at(rig, "a.log"), "2\n3\n");
    events(rig);
    struct batch_private *lost = take_and_prove(rig);
    tail_commit(lost);
    assert_seen("0-2 from 0 first; 4-6 from 2 dropped 1; 6-8 from 6; ");
    stop(rig);
    batch_give(&rig->pool, lost);
    start(rig);
    ship_all(rig);
    assert_seen("4-6 from 2 dropped 1; 6-8 from 6; ");
}

static void a_batch_that_is_undone_has_shipped_nothing(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "0\n");
    start(rig);
    ship_all(rig);
    harness_append(at(rig, "a.log"), "1\n2\n");
    events(rig);
    struct batch_private *batch = take_and_prove(rig);
    tail_undo(batch);
    batch_give(&rig->pool, batch);
    assert_seen("0-2 from 0 first; 2-4 from 2; 4-6 from 4; ");
    ship_all(rig);
    assert_seen("2-4 from 2; 4-6 from 4; ");
}

static void a_renamed_file_stays_in_its_chain_and_the_next_one_begins_another(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "0\n");
    start(rig);
    ship_all(rig);
    uint64_t first = seen.last[0];
    assert_seen("0-2 from 0 first; ");
    harness_append(at(rig, "a.log"), "1\n");
    move(rig, "a.log", "a.log.1");
    put_later(rig, "a.log", "0\n");
    ship_all(rig);
    assert_seen("2-4 from 2; 0-2 from 0 first; ");
    assert_true(seen.last[1] == first && seen.last[0] != first);
}

static void a_truncated_file_begins_another_chain_also_after_a_restart(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "0\n1\n");
    start(rig);
    ship_all(rig);
    uint64_t first = seen.last[0];
    assert_seen("0-2 from 0 first; 2-4 from 2; ");
    harness_put(at(rig, "a.log"), "x\n");
    ship_all(rig);
    assert_seen("0-2 from 0 first; ");
    uint64_t second = seen.last[0];
    assert_true(second != first);
    stop(rig);
    harness_put(at(rig, "a.log"), "y\n");
    start(rig);
    ship_all(rig);
    assert_seen("0-2 from 0 first; ");
    assert_true(seen.last[0] != first && seen.last[1] == second);
}

static void a_chain_goes_on_in_the_copy_of_a_truncated_log(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "0\n1\n");
    start(rig);
    ship_all(rig);
    uint64_t first = seen.last[0];
    assert_seen("0-2 from 0 first; 2-4 from 2; ");
    harness_append(at(rig, "a.log"), "2\n");
    put_later(rig, "a.log.1", "0\n1\n2\n");
    harness_put(at(rig, "a.log"), "x\n");
    ship_all(rig);
    assert_seen("4-6 from 4; 0-2 from 0 first; ");
    assert_true(seen.last[1] == first && seen.last[0] != first);
}

static void a_file_that_is_begun_at_its_end_has_a_chain_that_begins_there(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.start = START_END;
    harness_put(at(rig, "a.log"), "0\n1\n");
    start(rig);
    ship_all(rig);
    assert_seen("");
    stop(rig);
    harness_append(at(rig, "a.log"), "-\n3\n");
    start(rig);
    ship_all(rig);
    assert_seen("6-8 from 4 dropped 1 first; ");
}

static void records_count_in_the_order_of_their_ends(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "0\n1\n2\n3\n");
    start(rig);
    events(rig);
    struct batch_private *batch = take(rig, 0);
    struct record *records = batch->b.records;
    records[0].end = 6;      /* 0-6, which spans a record of another stream, */
    records[2] = records[3]; /* goes out before it */
    batch->b.n_records = 3;
    assert_int_equal(proof_batch(batch, note), 0);
    assert_seen("2-4 from 0 first; 0-6 from 4; 6-8 from 6; ");
    tail_commit(batch);
    finish(rig, batch);
}

static void without_proof_a_chain_begins_where_proof_begins(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "0\n1\n");
    start(rig);
    events(rig);
    struct batch_private *batch = take(rig, 0);
    proof_skip(batch);
    tail_commit(batch);
    finish(rig, batch);
    stop(rig);
    harness_append(at(rig, "a.log"), "2\n");
    start(rig);
    ship_all(rig);
    assert_seen("4-6 from 4 first; ");
}

#define CHAIN(test) cmocka_unit_test_setup_teardown(test, setup, rig_teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_has_the_documented_bytes),
        cmocka_unit_test(the_longest_header_has_room),
        cmocka_unit_test(an_agent_is_the_crc_of_its_name),
        CHAIN(each_record_goes_on_where_the_last_one_that_was_shipped_ended),
        CHAIN(what_was_dropped_at_the_end_is_told_after_a_restart),
        CHAIN(what_was_in_flight_at_a_crash_goes_on_from_the_mark),
        CHAIN(a_batch_that_is_undone_has_shipped_nothing),
        CHAIN(a_renamed_file_stays_in_its_chain_and_the_next_one_begins_another),
        CHAIN(a_truncated_file_begins_another_chain_also_after_a_restart),
        CHAIN(a_chain_goes_on_in_the_copy_of_a_truncated_log),
        CHAIN(a_file_that_is_begun_at_its_end_has_a_chain_that_begins_there),
        CHAIN(records_count_in_the_order_of_their_ends),
        CHAIN(without_proof_a_chain_begins_where_proof_begins),
    };
    log_init(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
