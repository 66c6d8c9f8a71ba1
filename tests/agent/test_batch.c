#include "agent/batch.h"

#include "tests/agent/harness.h"

#include <pthread.h>

static int pool_setup(void **state)
{
    struct batch_pool *pool = (struct batch_pool *)malloc(sizeof(*pool));
    assert_non_null(pool);
    batch_pool_init(pool, 4, (size_t)1 << 20);
    *state = pool;
    return 0;
}

static int pool_teardown(void **state)
{
    batch_pool_fini((struct batch_pool *)*state);
    free(*state);
    return 0;
}

static void a_batch_taken_again_is_as_new(void **state)
{
    struct batch_pool *pool = (struct batch_pool *)*state;
    struct origin origin = {0};
    struct batch_private *batch = batch_take(pool, SLICE("h1"));
    assert_non_null(batch);
    assert_ptr_equal(batch_of(&batch->b), batch);
    const struct record *records = batch->b.records;
    batch->b.n_records = 7;
    batch->b.n_dropped = batch->b.n_failed = 3;
    batch->n_read = 99;
    batch->next_send = batch->n_messages = 5;
    batch->cut_lines = batch->cut_bytes = 5;
    batch->finished_here = true;
    batch->cost = 1;
    atomic_store(&batch->unfinished, 5);
    assert_non_null(arena_alloc(&batch->b.arena, 100));
    assert_non_null(arena_alloc(&batch->out, 100));
    batch_give_range(pool, batch_add_range(pool, batch, &origin));
    batch_give(pool, batch);

    struct batch_private *again = batch_take(pool, SLICE("h2"));
    assert_ptr_equal(again, batch);
    assert_ptr_equal(again->b.records, records);
    assert_true(slice_equal(again->b.host, SLICE("h2")));
    assert_int_equal(again->b.n_records + again->b.n_dropped + again->b.n_failed, 0);
    assert_int_equal(again->n_read + again->cut_lines + again->cut_bytes + again->cost, 0);
    assert_int_equal(again->next_send + again->n_messages + again->n_origins, 0);
    assert_int_equal(atomic_load(&again->unfinished), 0);
    assert_false(again->finished_here);
    assert_null(again->ranges);
    assert_ptr_equal(again->last_range, &again->ranges);
    assert_int_equal(again->b.arena.size + again->out.size, 0);
    batch_give(pool, again);
}

static void shrinking_keeps_what_kafka_gets(void **state)
{
    struct batch_pool *pool = (struct batch_pool *)*state;
    struct batch_private *batch = batch_take(pool, SLICE("h"));
    struct slice payload = arena_copy(&batch->out, SLICE("payload"));
    arena_copy(&batch->b.arena, SLICE("scratch"));
    batch_shrink(batch);
    assert_int_equal(batch->b.arena.size, 0);
    assert_true(slice_equal(payload, SLICE("payload")));
    batch_give(pool, batch);
}

static void the_array_of_records_is_lent(void **state)
{
    struct batch_pool *pool = (struct batch_pool *)*state;
    struct batch_private *first = batch_take(pool, SLICE("h"));
    const struct record *records = first->b.records;
    batch_drop_records(pool, first);
    batch_drop_records(pool, first); /* again: nothing */
    assert_null(first->b.records);
    struct batch_private *second = batch_take(pool, SLICE("h"));
    struct batch_private *third = batch_take(pool, SLICE("h"));
    assert_ptr_equal(second->b.records, records);
    assert_ptr_not_equal(third->b.records, records);
    batch_give(pool, second);
    batch_give(pool, third); /* two arrays come back, one is kept */
    assert_non_null(pool->free_records);
    batch_give(pool, first);
}

static void ranges_stand_in_their_order_up_to_the_limit(void **state)
{
    struct batch_pool *pool = (struct batch_pool *)*state;
    struct batch_private *batch = batch_take(pool, SLICE("h"));
    struct origin origins[BATCH_ORIGINS];
    struct range *ranges[BATCH_ORIGINS];
    for (size_t i = 0; i < BATCH_ORIGINS; i++) {
        ranges[i] = batch_add_range(pool, batch, &origins[i]);
        assert_non_null(ranges[i]);
    }
    assert_null(batch_add_range(pool, batch, &origins[0]));
    size_t n = 0;
    for (struct range *range = batch->ranges; range != NULL; range = range->batch_next, n++) {
        assert_ptr_equal(range, ranges[n]);
        assert_ptr_equal(batch->origins[n], &origins[n]);
    }
    assert_int_equal(n, BATCH_ORIGINS);
    for (size_t i = 0; i < BATCH_ORIGINS; i++)
        batch_give_range(pool, ranges[i]);
    batch_give(pool, batch);
}

static void the_last_range_can_be_taken_back(void **state)
{
    struct batch_pool *pool = (struct batch_pool *)*state;
    struct batch_private *batch = batch_take(pool, SLICE("h"));
    struct origin origin;
    for (int kept = 0; kept < 3; kept++) {
        struct range *range = batch_add_range(pool, batch, &origin);
        batch_remove_last_range(pool, batch, range);
        assert_int_equal(batch->n_origins, kept);
        int n = 0;
        for (struct range *r = batch->ranges; r != NULL; r = r->batch_next)
            n++;
        assert_int_equal(n, kept);
        assert_non_null(batch_add_range(pool, batch, &origin));
    }
    for (struct range *r = batch->ranges, *next; r != NULL; r = next) {
        next = r->batch_next;
        batch_give_range(pool, r);
    }
    batch_give(pool, batch);
}

static void a_pool_frees_batches_that_are_still_in_flight(void **state)
{
    (void)state; /* the leak checker is the judge */
    struct batch_pool pool;
    batch_pool_init(&pool, 1, (size_t)1 << 20);
    struct batch_private *batch = batch_take(&pool, SLICE("h"));
    assert_non_null(arena_alloc(&batch->out, 100000));
    batch_give(&pool, batch_take(&pool, SLICE("h")));
    batch_pool_fini(&pool);
    assert_null(pool.all);
}

#define PUSHERS 3
#define PUSHES  2000

struct pusher {
    pthread_t thread;
    struct batch_inbox *inbox;
    struct batch_private *batches; /* only `next` and `sequence` are used */
    unsigned wakes;
};

static void *push_all(void *arg)
{
    struct pusher *pusher = (struct pusher *)arg;
    for (size_t i = 0; i < PUSHES; i++)
        pusher->wakes += batch_inbox_push(pusher->inbox, &pusher->batches[i]);
    return NULL;
}

static void an_inbox_loses_nothing_between_threads(void **state)
{
    (void)state;
    struct batch_inbox inbox = {NULL};
    struct pusher pushers[PUSHERS];
    size_t taken = 0, full = 0, wakes = 0;
    for (int i = 0; i < PUSHERS; i++) {
        pushers[i] = (struct pusher){
            .inbox = &inbox,
            .batches = (struct batch_private *)calloc(PUSHES, sizeof(struct batch_private))};
        assert_non_null(pushers[i].batches);
        assert_int_equal(pthread_create(&pushers[i].thread, NULL, push_all, &pushers[i]), 0);
    }
    while (taken < (size_t)PUSHERS * PUSHES) {
        struct batch_private *batch = batch_inbox_take(&inbox);
        full += batch != NULL;
        for (; batch != NULL; batch = batch->next, taken++)
            assert_int_equal(batch->sequence++, 0); /* each once */
    }
    for (int i = 0; i < PUSHERS; i++) {
        pthread_join(pushers[i].thread, NULL);
        wakes += pushers[i].wakes;
        free(pushers[i].batches);
    }
    assert_null(batch_inbox_take(&inbox));
    assert_int_equal(wakes, full); /* one wake for each time that there was something */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_batch_taken_again_is_as_new, pool_setup, pool_teardown),
        cmocka_unit_test_setup_teardown(shrinking_keeps_what_kafka_gets, pool_setup, pool_teardown),
        cmocka_unit_test_setup_teardown(the_array_of_records_is_lent, pool_setup, pool_teardown),
        cmocka_unit_test_setup_teardown(ranges_stand_in_their_order_up_to_the_limit, pool_setup,
                                        pool_teardown),
        cmocka_unit_test_setup_teardown(the_last_range_can_be_taken_back, pool_setup, pool_teardown),
        cmocka_unit_test(a_pool_frees_batches_that_are_still_in_flight),
        cmocka_unit_test(an_inbox_loses_nothing_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
