/* What a file's age decides: where it is begun, whether it is opened at all, and which one is begun first. */
#include "agent/clock.h"
#include "agent/tail_inner.h"

#include <stdlib.h>

static bool is_older_than(const struct file_facts *facts, int64_t ms)
{
    return clock_real() - facts->changed > ms * NS_PER_MS;
}

bool tail_ignores(struct tail *tail, const struct file_facts *facts)
{
    int64_t limit = tail->stream->config->tail.ignore_older;
    struct mark mark;
    if (limit <= 0 || !is_older_than(facts, limit))
        return false;
    bool read_in_part =
        positions_find(tail->place.positions, tail->stream->config->name, &facts->id, &mark) &&
        mark.offset > 0 && mark.offset != facts->size;
    return !read_in_part;
}

/* Has it come since it was looked for last? */
static bool is_new(const struct tail *tail, const struct source *source)
{
    return tail->started ||
           (tail->before != NULL && tail_config_matches(tail->before, source->path));
}

static enum source_begin where_to_begin(struct tail *tail, const struct source *source,
                                        const struct file_facts *facts)
{
    int64_t start = tail->stream->config->tail.start;
    if (is_new(tail, source) || start == START_BEGINNING || positions_damaged(tail->place.positions))
        return BEGIN_AT_START;
    return start == START_END || is_older_than(facts, start) ? BEGIN_AT_END : BEGIN_AT_START;
}

void tail_set_out(struct tail *tail, struct source *source, const struct file_facts *facts,
                  bool known)
{
    source->changed = facts->changed;
    source->begin = known ? BEGIN_RESUME : where_to_begin(tail, source, facts);
    if (known) {
        source->offset = source->position->mark.offset;
    } else if (source->begin == BEGIN_AT_END) { /* that end, also when it is opened later */
        struct mark mark = {.offset = facts->size, .shipped = {.end = facts->size}};
        source_go_on_at(source, &mark);
        positions_set(tail->place.positions, source->position, &mark);
    }
}

/* ---- which one first ---- */

static int compare_changed(const void *left, const void *right)
{
    const struct source *a = *(struct source *const *)left;
    const struct source *b = *(struct source *const *)right;
    if (a->changed != b->changed)
        return a->changed < b->changed ? -1 : 1;
    return a->position->sequence < b->position->sequence ? -1 : 1;
}

static int compare_newest(const void *left, const void *right)
{
    return compare_changed(right, left);
}

void tail_order_found(struct tail *tail)
{
    size_t n = 0, at = 0;
    for (struct source *source = tail->first_ready; source != NULL; source = source->next_ready)
        n += source->begin != BEGUN;
    struct source **found = (struct source **)malloc((n + 1) * sizeof(struct source *));
    if (found == NULL)
        return; /* in the order in which they were found */
    for (struct source *source = tail->first_ready, *next; source != NULL; source = next) {
        next = source->next_ready;
        if (source->begin == BEGUN)
            continue;
        tail_leave_ready(tail, source);
        found[at++] = source;
    }
    bool newest = tail->stream->config->tail.read_order == ORDER_NEWEST;
    qsort(found, n, sizeof(struct source *), newest ? compare_newest : compare_changed);
    for (size_t i = 0; i < n; i++) {
        tail_make_ready(tail, found[i]);
        if (tail_free_files(tail) > 0)
            tail_wake(tail, found[i]);
    }
    free((void *)found);
}
