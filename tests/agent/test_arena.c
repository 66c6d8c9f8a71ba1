#include "agent/arena.h"

#include "tests/agent/harness.h"

static void allocations_are_aligned_and_do_not_overlap(void **state)
{
    (void)state;
    struct arena arena;
    char *at[300];
    arena_init(&arena, NULL, (size_t)1 << 30);
    for (size_t i = 0; i < ROWS(at); i++) {
        size_t size = i * i; /* up to larger than a chunk */
        at[i] = (char *)arena_alloc(&arena, size);
        assert_non_null(at[i]);
        assert_int_equal((uintptr_t)at[i] % ARENA_ALIGN, 0);
        memset(at[i], (int)(i % 251), size);
    }
    for (size_t i = 0; i < ROWS(at); i++)
        for (size_t j = 0; j < i * i; j++)
            assert_int_equal((unsigned char)at[i][j], i % 251);
    assert_false(arena.overflowed);
    arena_reset(&arena);
}

static void sizes_round_a_chunk_all_fit(void **state)
{
    (void)state;
    for (size_t size = ARENA_CHUNK - 100; size < ARENA_CHUNK + 100; size++) {
        struct arena arena;
        arena_init(&arena, NULL, 4 * ARENA_CHUNK);
        char *first = (char *)arena_alloc(&arena, size);
        char *second = (char *)arena_alloc(&arena, 1);
        assert_non_null(first);
        assert_non_null(second);
        memset(first, 'x', size);
        *second = 'y';
        assert_int_equal(first[size - 1], 'x');
        arena_reset(&arena);
    }
}

static void overflow_is_sticky_until_the_reset(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, NULL, ARENA_CHUNK);
    assert_non_null(arena_alloc(&arena, 100));
    assert_null(arena_alloc(&arena, ARENA_CHUNK));
    assert_true(arena.overflowed);
    assert_non_null(arena_alloc(&arena, 100)); /* the chunk still has room */
    assert_true(arena.overflowed);
    assert_true(arena.size <= arena.limit);
    arena_reset(&arena);
    assert_false(arena.overflowed);
    assert_non_null(arena_alloc(&arena, 100));
    arena_reset(&arena);
}

static void a_limit_below_a_chunk_and_absurd_sizes_fail_cleanly(void **state)
{
    (void)state;
    static const struct {
        size_t limit, size;
    } rows[] = {
        {ARENA_CHUNK - 1, 1}, {0, 0}, {(size_t)1 << 40, SIZE_MAX - 64}, {SIZE_MAX, SIZE_MAX - 16},
        {1 << 20, 1 << 20},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct arena arena;
        arena_init(&arena, NULL, rows[i].limit);
        assert_null(arena_grow(&arena, rows[i].size));
        assert_true(arena.overflowed);
        assert_int_equal(arena.size, 0);
        arena_reset(&arena);
    }
}

static void what_is_not_committed_is_free_again(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, NULL, 8 * ARENA_CHUNK);
    char *at = arena_reserve(&arena, 1000);
    assert_non_null(at);
    assert_ptr_equal(arena_reserve(&arena, 500), at);
    memcpy(at, "hello", 5);
    struct slice text = arena_commit(&arena, at + 5);
    assert_ptr_equal(text.ptr, at);
    assert_int_equal(text.len, 5);
    char *next = (char *)arena_alloc(&arena, 8);
    assert_ptr_equal(next, at + ARENA_ALIGN);
    assert_memory_equal(text.ptr, "hello", 5);
    at = arena_reserve(&arena, 3 * ARENA_CHUNK); /* more than a standard chunk */
    assert_non_null(at);
    memset(at, 'z', 3 * ARENA_CHUNK);
    assert_int_equal(arena_commit(&arena, at + 3 * ARENA_CHUNK).len, 3 * ARENA_CHUNK);
    assert_null(arena_reserve(&arena, 8 * ARENA_CHUNK));
    assert_true(arena.overflowed);
    arena_reset(&arena);
}

static void a_copy_is_a_copy_or_empty(void **state)
{
    (void)state;
    struct arena arena;
    char text[] = "ab\0c";
    arena_init(&arena, NULL, ARENA_CHUNK);
    struct slice copy = arena_copy(&arena, slice_of(text, 4));
    memset(text, 'x', 4);
    assert_int_equal(copy.len, 4);
    assert_memory_equal(copy.ptr, "ab\0c", 4);
    assert_int_equal(arena_copy(&arena, slice_of(NULL, 0)).len, 0);
    assert_false(arena.overflowed);
    assert_int_equal(arena_copy(&arena, slice_of(text, ARENA_CHUNK)).len, 0);
    assert_true(arena.overflowed);
    arena_reset(&arena);
}

static void standard_chunks_go_round_and_no_more_than_max_free_are_kept(void **state)
{
    (void)state;
    struct arena_pool pool;
    struct arena arena;
    arena_pool_init(&pool, 2);
    arena_init(&arena, &pool, (size_t)1 << 30);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++)
            assert_non_null(arena_alloc(&arena, ARENA_CHUNK_ROOM));
        assert_non_null(arena_alloc(&arena, 2 * ARENA_CHUNK));
        assert_int_equal(pool.n_free, 0);
        arena_reset(&arena);
        assert_int_equal(pool.n_free, 2);
        assert_int_equal(arena.size, 0);
    }
    const struct arena_chunk *kept = pool.free;
    assert_non_null(arena_alloc(&arena, 1));
    assert_ptr_equal(arena.chunks, kept);
    assert_int_equal(pool.n_free, 1);
    arena_reset(&arena);
    arena_pool_fini(&pool);
    assert_null(pool.free);
    assert_int_equal(pool.n_free, 0);
}

static void order_is_the_order_of_allocation_across_chunks(void **state)
{
    (void)state;
    struct arena arena;
    const char *at[40];
    arena_init(&arena, NULL, (size_t)1 << 30);
    for (size_t i = 0; i < ROWS(at); i++)
        at[i] = (const char *)arena_alloc(&arena, 5000);
    for (size_t i = 0; i < ROWS(at); i++) {
        for (size_t j = 0; j < ROWS(at); j++) {
            int order = arena_order(&arena, at[i], at[j]);
            assert_int_equal(order < 0 ? -1 : order > 0, i < j ? -1 : i > j);
        }
    }
    arena_reset(&arena);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_and_do_not_overlap),
        cmocka_unit_test(sizes_round_a_chunk_all_fit),
        cmocka_unit_test(overflow_is_sticky_until_the_reset),
        cmocka_unit_test(a_limit_below_a_chunk_and_absurd_sizes_fail_cleanly),
        cmocka_unit_test(what_is_not_committed_is_free_again),
        cmocka_unit_test(a_copy_is_a_copy_or_empty),
        cmocka_unit_test(standard_chunks_go_round_and_no_more_than_max_free_are_kept),
        cmocka_unit_test(order_is_the_order_of_allocation_across_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
