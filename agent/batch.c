#include "agent/batch.h"

#include <stdlib.h>

void batch_pool_init(struct batch_pool *pool, size_t max_chunks, size_t scratch_limit)
{
    *pool = (struct batch_pool){.scratch_limit = scratch_limit};
    arena_pool_init(&pool->chunks, max_chunks);
}

void batch_pool_fini(struct batch_pool *pool)
{
    while (pool->all != NULL) { /* those that are still in flight, too */
        struct batch_private *batch = pool->all;
        pool->all = batch->all_next;
        arena_reset(&batch->b.arena);
        arena_reset(&batch->out);
        free(batch->b.records);
        free(batch);
    }
    pool->free = NULL;
    while (pool->free_ranges != NULL) {
        struct range *range = pool->free_ranges;
        pool->free_ranges = range->next;
        free(range);
    }
    free(pool->free_records);
    pool->free_records = NULL;
    arena_pool_fini(&pool->chunks);
}

struct batch_private *batch_take(struct batch_pool *pool, struct slice host)
{
    struct record *records = pool->free_records;
    if (records == NULL)
        records = (struct record *)malloc(BATCH_RECORDS * sizeof(*records));
    pool->free_records = records;
    if (records == NULL)
        return NULL;
    struct batch_private *batch = pool->free;
    if (batch != NULL) {
        pool->free = batch->next;
    } else {
        batch = (struct batch_private *)malloc(sizeof(*batch));
        if (batch == NULL)
            return NULL;
        batch->all_next = pool->all;
        pool->all = batch;
    }
    pool->free_records = NULL;
    batch->b =
        (struct batch){.records = records, .origins = batch->origins, .host = host, .own = batch};
    arena_init(&batch->b.arena, &pool->chunks, pool->scratch_limit);
    arena_init(&batch->out, &pool->chunks, pool->scratch_limit);
    batch->stream = NULL;
    batch->ranges = NULL;
    batch->last_range = &batch->ranges;
    batch->time = 0;
    batch->timed = batch->late = false;
    batch->messages = NULL;
    batch->extras = NULL;
    batch->positions = NULL;
    batch->n_positions = batch->sent_positions = batch->resent = batch->replaced = 0;
    batch->has_suspects = false;
    batch->stopped_by = 0;
    batch->n_read = 0;
    batch->cut_lines = batch->cut_bytes = 0;
    batch->joined = batch->limited = batch->decoded = 0;
    batch->n_origins = batch->next_send = batch->n_messages = 0;
    atomic_init(&batch->unfinished, 0);
    batch->finished_here = false;
    batch->cost = 0;
    batch->with_client = batch->read_back = false;
    batch->frame = 0;
    batch->older = batch->newer = NULL;
    batch->next = NULL;
    return batch;
}

void batch_shrink(struct batch_private *batch)
{
    arena_reset(&batch->b.arena);
}

void batch_drop_records(struct batch_pool *pool, struct batch_private *batch)
{
    if (batch->b.records == NULL)
        return;
    if (pool->free_records == NULL)
        pool->free_records = batch->b.records;
    else
        free(batch->b.records);
    batch->b.records = NULL;
}

void batch_give(struct batch_pool *pool, struct batch_private *batch)
{
    batch_drop_records(pool, batch);
    arena_reset(&batch->b.arena);
    arena_reset(&batch->out);
    batch->next = pool->free;
    pool->free = batch;
}

struct range *batch_add_range(struct batch_pool *pool, struct batch_private *batch,
                              const struct origin *origin)
{
    if (batch->n_origins == BATCH_ORIGINS)
        return NULL;
    struct range *range = pool->free_ranges;
    if (range != NULL)
        pool->free_ranges = range->next;
    else
        range = (struct range *)malloc(sizeof(*range));
    if (range == NULL)
        return NULL;
    *range = (struct range){0};
    batch->origins[batch->n_origins++] = origin;
    *batch->last_range = range;
    batch->last_range = &range->batch_next;
    return range;
}

void batch_remove_last_range(struct batch_pool *pool, struct batch_private *batch,
                             struct range *range)
{
    struct range **at = &batch->ranges;
    while (*at != range)
        at = &(*at)->batch_next;
    assert(range->batch_next == NULL);
    *at = NULL;
    batch->last_range = at;
    batch->n_origins--;
    batch_give_range(pool, range);
}

void batch_give_range(struct batch_pool *pool, struct range *range)
{
    range->next = pool->free_ranges;
    pool->free_ranges = range;
}
