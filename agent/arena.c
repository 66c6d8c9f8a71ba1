#include "agent/arena.h"

#include <stdlib.h>

struct arena_chunk {
    struct arena_chunk *next;
    size_t size; /* with this head */
    _Alignas(16) char bytes[];
};

static_assert(sizeof(struct arena_chunk) + 2 * ARENA_ALIGN <= ARENA_CHUNK - ARENA_CHUNK_ROOM,
              "a standard chunk has room for what its header says");

void arena_pool_init(struct arena_pool *pool, size_t max_free)
{
    *pool = (struct arena_pool){.max_free = max_free};
}

void arena_pool_fini(struct arena_pool *pool)
{
    while (pool->free != NULL) {
        struct arena_chunk *chunk = pool->free;
        pool->free = chunk->next;
        free(chunk);
    }
    pool->n_free = 0;
}

static struct arena_chunk *chunk_take(struct arena_pool *pool, size_t size)
{
    if (size == ARENA_CHUNK && pool != NULL && pool->free != NULL) {
        struct arena_chunk *chunk = pool->free;
        pool->free = chunk->next;
        pool->n_free--;
        return chunk;
    }
    struct arena_chunk *chunk = (struct arena_chunk *)malloc(size);
    if (chunk != NULL)
        chunk->size = size;
    return chunk;
}

static void chunk_give(struct arena_pool *pool, struct arena_chunk *chunk)
{
    if (chunk->size != ARENA_CHUNK || pool == NULL || pool->n_free >= pool->max_free) {
        free(chunk);
        return;
    }
    chunk->next = pool->free;
    pool->free = chunk;
    pool->n_free++;
}

void arena_init(struct arena *arena, struct arena_pool *pool, size_t limit)
{
    *arena = (struct arena){.pool = pool, .limit = limit};
}

void arena_reset(struct arena *arena)
{
    while (arena->chunks != NULL) {
        struct arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        chunk_give(arena->pool, chunk);
    }
    arena_init(arena, arena->pool, arena->limit);
}

void *arena_grow(struct arena *arena, size_t size)
{
    size_t whole = ARENA_CHUNK;
    if (size > ARENA_CHUNK_ROOM)
        whole = size + sizeof(struct arena_chunk) + 2 * ARENA_ALIGN;
    if (whole < size || whole > arena->limit || arena->size > arena->limit - whole) {
        arena->overflowed = true;
        return NULL;
    }
    struct arena_chunk *chunk = chunk_take(arena->pool, whole);
    if (chunk == NULL) {
        arena->overflowed = arena->starved = true;
        return NULL;
    }
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    arena->size += whole;
    arena->next = chunk->bytes;
    arena->end = (char *)chunk + whole;
    return arena_alloc(arena, size);
}

struct slice arena_copy(struct arena *arena, struct slice text)
{
    char *copy = (char *)arena_alloc(arena, text.len);
    if (copy == NULL)
        return (struct slice){"", 0};
    if (text.len != 0)
        memcpy(copy, text.ptr, text.len);
    return slice_of(copy, text.len);
}

static bool chunk_has(const struct arena_chunk *chunk, const char *at)
{
    return at >= chunk->bytes && at <= (const char *)chunk + chunk->size;
}

int arena_order(const struct arena *arena, const char *a, const char *b)
{
    for (const struct arena_chunk *chunk = arena->chunks; chunk != NULL; chunk = chunk->next) {
        bool has_a = chunk_has(chunk, a);
        bool has_b = chunk_has(chunk, b);
        if (has_a && has_b)
            return a < b ? -1 : a > b;
        if (has_a || has_b) /* newest chunk first: the other one is older */
            return has_a ? 1 : -1;
    }
    return 0;
}

int arena_append(struct arena *arena, struct slice *text, size_t *room, struct slice more)
{
    size_t need = text->len + more.len;
    if (need > *room) {
        char *to = (char *)arena_alloc(arena, need * 2);
        if (to == NULL)
            return -1;
        if (text->len > 0)
            memcpy(to, text->ptr, text->len);
        text->ptr = to;
        *room = need * 2;
    }
    if (more.len > 0)
        memcpy((char *)(uintptr_t)text->ptr + text->len, more.ptr, more.len);
    text->len = need;
    return 0;
}
