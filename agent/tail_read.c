#include "agent/clock.h"
#include "agent/tail_inner.h"

#include <errno.h>
#include <stdio.h>

/* ---- ready ---- */

static void append(struct source ***last, struct source *source)
{
    source->next_ready = NULL;
    **last = source;
    *last = &source->next_ready;
}

void tail_make_ready(struct tail *tail, struct source *source)
{
    tail->stirred = true;
    if (source->ready || source->position == NULL)
        return;
    source->ready = true;
    tail_note_idle(tail, source);
    append(&tail->last_ready, source);
}

void tail_wait_for_file(struct tail *tail, struct source *source)
{
    tail_leave_ready(tail, source);
    source->ready = source->waiting = true;
    append(&tail->last_waiting, source);
}

/* What an older one needs that has to go first, too: without that its turn would come to nothing, again and again. */
static unsigned files_for(const struct source *source)
{
    for (const struct source *s = source; s != NULL; s = s->older)
        if (s->packed && (s == source || s->waiting))
            return FILES_TO_UNPACK;
    return 1;
}

/* As many of those that wait for a descriptor as there are; one that needs more does not keep the others from what it can't use. */
static void admit_waiting(struct tail *tail)
{
    unsigned n = tail->first_waiting == NULL ? 0 : tail_free_files(tail);
    for (struct source **at = &tail->first_waiting; *at != NULL && n > 0;) {
        struct source *source = *at;
        unsigned needed = files_for(source);
        if (n < needed) {
            at = &source->next_ready;
            continue;
        }
        n -= needed;
        *at = source->next_ready;
        if (*at == NULL)
            tail->last_waiting = at;
        source->waiting = false;
        append(&tail->last_ready, source);
    }
}

/* Back to the front, for the next batch: behind others it might never find an empty one. */
static void put_back(struct tail *tail, struct source *source)
{
    tail_leave_ready(tail, source); /* waking it may have queued it already */
    source->ready = true;
    source->next_ready = tail->first_ready;
    tail->first_ready = source;
    if (source->next_ready == NULL)
        tail->last_ready = &source->next_ready;
}

static struct source *take_ready(struct tail *tail)
{
    struct source *source = tail->first_ready;
    tail->first_ready = source->next_ready;
    if (tail->first_ready == NULL)
        tail->last_ready = &tail->first_ready;
    source->ready = false;
    return source;
}

void tail_leave_ready(struct tail *tail, struct source *source)
{
    if (!source->ready)
        return;
    struct source **at = source->waiting ? &tail->first_waiting : &tail->first_ready;
    struct source ***last = source->waiting ? &tail->last_waiting : &tail->last_ready;
    while (*at != source)
        at = &(*at)->next_ready;
    *at = source->next_ready;
    if (*at == NULL)
        *last = at;
    source->ready = source->waiting = false;
}

static void empty(struct source **first, struct source ***last)
{
    for (struct source *source = *first; source != NULL; source = source->next_ready)
        source->ready = source->waiting = false;
    *first = NULL;
    *last = first;
}

void tail_leave_all_ready(struct tail *tail)
{
    empty(&tail->first_ready, &tail->last_ready);
    empty(&tail->first_waiting, &tail->last_waiting);
}

static bool could_be_admitted(const struct tail *tail)
{
    unsigned n = tail->first_waiting == NULL ? 0 : tail_free_files(tail);
    const struct source *source = n == 0 ? NULL : tail->first_waiting;
    while (source != NULL && files_for(source) > n)
        source = source->next_ready;
    return source != NULL;
}

bool tail_ready(const struct tail *tail)
{
    return tail->first_ready != NULL || could_be_admitted(tail);
}

/* ---- reading ---- */

static bool has_more(struct tail *tail, struct source *source)
{
    struct file_facts facts;
    if (source->packed)
        return !source->failed;
    if (source->failed || tail_facts(tail, source, &facts) == -1)
        return false;
    if (facts.size < source->offset)
        return true; /* truncated, and nobody has told */
    return source->ready || (facts.size > source->offset + source->scanned &&
                             (source->begin == BEGUN || !tail_ignores(tail, &facts)));
}

/* Queued behind an older one. When that has no descriptor, it can have this one's. */
static bool queue_behind(struct tail *tail, struct source *source, const struct source *older)
{
    if (!older->waiting) {
        tail_make_ready(tail, source);
        return true;
    }
    if (source->named)
        tail_close_file(tail, source);
    tail_learn_head(tail, source);
    tail_wait_for_file(tail, source);
    return true;
}

static bool is_in_batch(const struct source *source, const struct batch_private *batch)
{
    for (const struct range *range = batch->ranges; range != NULL; range = range->batch_next)
        if (range->source == source)
            return true;
    return false;
}

/* Has the generation before it something left? Asked after this one was seen to have data. What stands in this very batch
 * may still be undone. */
static bool waits_for_older(struct tail *tail, struct source *source,
                            const struct batch_private *batch)
{
    struct source *older = source->older;
    if (older == NULL)
        return false;
    if (is_in_batch(older, batch)) {
        tail_make_ready(tail, source);
        return true;
    }
    if (has_more(tail, older)) {
        tail_make_ready(tail, older);
        return queue_behind(tail, source, older);
    }
    if (!older->failed && !older->gone && tail_flush_now(tail, older))
        return queue_behind(tail, source, older);
    if (older->older != NULL && waits_for_older(tail, older, batch))
        return queue_behind(tail, source, older);
    tail_unlink_generations(older);
    return false;
}

/* Nothing was read of the log yet: had it been copied and truncated before, that would stand in no offset. True: what was found goes
 * first. */
static bool waits_for_copy(struct tail *tail, struct source *source,
                           const struct batch_private *batch)
{
    if (source->offset != 0 || source->unpacked)
        return false;
    tail_look_for_copies(tail, source);
    return source->position == NULL || waits_for_older(tail, source, batch);
}

/* Shorter than what was read of it, or `changed`: other text in its place. */
static void look_for_truncation(struct tail *tail, struct source *source, bool changed)
{
    struct file_facts facts;
    if (source->inflate != NULL || file_facts_fd(source->fd, &facts) == -1)
        return;
    if (changed || facts.size < source->offset)
        tail_truncated(tail, source);
}

static void read_failed(struct tail *tail, struct source *source)
{
    char what[128];
    snprintf(what, sizeof(what), "cannot read a file, trying again later: %s", strerror(errno));
    tail_complain(tail, COMPLAINT_READ, what, source->path);
    source->failed = true;
}

/* False: the batch is full. */
static bool fill_from(struct tail *tail, struct source *source, struct batch_private *batch,
                      int64_t time)
{
    bool begun = source->begin == BEGUN;
    if (tail_wake(tail, source) == -1)
        return true;
    if (!begun && waits_for_older(tail, source, batch))
        return true; /* it was found to be truncated, and its copies go first */
    uint64_t before = source->offset, seen = before + source->scanned;
    enum source_read result = source_read(source, tail->place.pool, batch, time);
    if (!source->named && source->offset + source->scanned > seen)
        source->quiet_since = clock_monotonic(); /* it has grown, whoever saw it first */
    if (source->offset + source->scanned > source->seen)
        source->seen = source->offset + source->scanned;
    switch (result) {
    case READ_MORE: tail_make_ready(tail, source); return true;
    case READ_END:
        if (source->offset == before)
            look_for_truncation(tail, source, false);
        tail_hold(tail, source);
        if (source->unpacked && source->inflate == NULL)
            tail_finish_unpacked(tail, source,
                                 source->offset > before || is_in_batch(source, batch));
        return true;
    case READ_FULL: put_back(tail, source); return false;
    case READ_CHANGED: look_for_truncation(tail, source, true); return true;
    case READ_FAILED: read_failed(tail, source); return true;
    }
    return false;
}

void tail_fill(struct tail *tail, struct batch_private *batch)
{
    int64_t time = batch->time = clock_real();
    tail_free_retired(tail, false);
    admit_waiting(tail);
    /* Every source that is ready now has one turn, so that none waits for a fast one. */
    struct source *last = NULL;
    for (struct source *s = tail->first_ready; s != NULL; s = s->next_ready)
        last = s;
    while (tail->first_ready != NULL) {
        struct source *source = take_ready(tail);
        bool more = waits_for_older(tail, source, batch) || waits_for_copy(tail, source, batch) ||
                    (source->unpacked && tail_inflate(tail, source)) ||
                    fill_from(tail, source, batch, time);
        tail_note_idle(tail, source);
        if (!more || source == last)
            break;
    }
}

/* ---- batches ---- */

/* Of a file of which nothing is delivered yet the beginning is saved, too: by it a copy is found, should the file be
 * truncated and the agent killed. */
static void note_head(struct tail *tail, const struct range *range)
{
    const struct source *source = range->source;
    struct position *position = source->position;
    if (position == NULL || position->mark.offset != 0 || range->epoch != source->epoch ||
        position->mark.head.len >= range->mark.head.len)
        return;
    const struct mark mark = {.head = range->mark.head};
    positions_set(tail->place.positions, position, &mark);
}

void tail_commit(struct batch_private *batch)
{
    struct tail *tail = batch->stream->tail;
    for (struct range *range = batch->ranges; range != NULL; range = range->batch_next) {
        source_commit_range(range);
        note_head(tail, range);
    }
}

void tail_undo(struct batch_private *batch)
{
    struct range *ranges[BATCH_ORIGINS];
    size_t n = 0;
    for (struct range *range = batch->ranges; range != NULL; range = range->batch_next)
        ranges[n++] = range;
    while (n > 0) { /* last first: a source may have more than one */
        struct range *range = ranges[--n];
        struct tail *tail = range->source->stream->tail;
        source_undo_range(range);
        tail_make_ready(tail, range->source);
        batch_give_range(tail->place.pool, range);
    }
    batch->ranges = NULL;
}

void tail_finished(struct batch_private *batch)
{
    struct tail *tail = batch->stream->tail;
    struct mark mark;
    for (struct range *range = batch->ranges; range != NULL; range = range->batch_next)
        range->finished = true;
    for (struct range *range = batch->ranges, *next; range != NULL; range = next) {
        struct source *source = range->source;
        next = range->batch_next;
        if (source->first == range && source_advance(source, tail->place.pool, &mark))
            positions_set(tail->place.positions, source->position, &mark);
        if (source->first == NULL)
            source_forget_json(source);
        tail_note_idle(tail, source);
    }
    batch->ranges = NULL;
}
