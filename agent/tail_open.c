#include "agent/clock.h"
#include "agent/siblings.h"
#include "agent/tail_inner.h"

#include <stdlib.h>
#include <xxhash.h>

/* Rotated names of one log hash alike: what rotation adds at the end does not count. */
bool tail_owns(const char *path, int worker, int workers)
{
    if (workers == 1)
        return true;
    size_t len = strlen(path);
    size_t kept = len;
    while (kept > 1 && strchr("0123456789.-_", path[kept - 1]) != NULL && path[kept - 2] != '/')
        kept--;
    return XXH3_64bits(path, kept) % (uint64_t)workers == (uint64_t)worker;
}

static bool owns_log(const char *path, void *arg)
{
    const struct tail *tail = (const struct tail *)arg;
    return tail_owns(path, tail->place.worker, tail->place.workers);
}

static void forget_gone(struct tail *tail, const struct sibling *sibling)
{
    bool known;
    struct position *position =
        positions_claim(tail->place.positions, tail->stream->config->name, &sibling->id,
                        sibling->path, tail->place.worker, &known);
    if (position == NULL)
        return;
    positions_forget(tail->place.positions, &position);
}

static void is_gone(struct tail *tail, const struct sibling *sibling)
{
    log_warn("tail",
             "a file is gone since the last run: what it held behind the offset, if anything, is "
             "lost path=%s inode=%ju offset=%ju stream=%s",
             log_quote(sibling->path), (uintmax_t)sibling->id.ino, (uintmax_t)sibling->offset,
             tail->stream->config->name);
    forget_gone(tail, sibling);
}

void tail_prune(struct tail *tail)
{
    struct siblings siblings;
    siblings_find(&siblings, tail->place.positions, tail->stream->config->name, owns_log, tail);
    for (size_t i = 0; i < siblings.n; i++)
        if (siblings.items[i].found == NULL && siblings.items[i].looked)
            forget_gone(tail, &siblings.items[i]);
    siblings_free(&siblings);
}

/* Files of before that no glob has led to: renamed while the agent was down. */
static void find_renamed(struct tail *tail)
{
    struct siblings siblings;
    struct file_facts facts;
    siblings_find(&siblings, tail->place.positions, tail->stream->config->name, owns_log, tail);
    for (size_t i = 0; i < siblings.n; i++) {
        const struct sibling *sibling = &siblings.items[i];
        if (sibling->found == NULL && sibling->looked)
            is_gone(tail, sibling);
        else if (sibling->found != NULL && file_facts(sibling->found, &facts) == 0 &&
                 identity_equal(&facts.id, &sibling->id))
            tail_open_generation(tail, sibling->found, &facts);
    }
    siblings_free(&siblings);
    int64_t now = clock_monotonic();
    for (struct source *source = tail->sources; source != NULL; source = source->next)
        source->quiet_since = now;
}

static int compare_generations(const void *left, const void *right)
{
    const struct position *a = (*(struct source *const *)left)->position;
    const struct position *b = (*(struct source *const *)right)->position;
    int order = strcmp(a->path, b->path);
    return order != 0 ? order : a->sequence < b->sequence ? -1 : 1;
}

/* Generations of one log, by the order in which they were found, before the restart or after it. */
static int order_generations(struct tail *tail)
{
    size_t n = 0;
    for (struct source *source = tail->sources; source != NULL; source = source->next)
        n++;
    struct source **all = (struct source **)malloc((n + 1) * sizeof(struct source *));
    if (all == NULL)
        return -1;
    n = 0;
    for (struct source *source = tail->sources; source != NULL; source = source->next)
        all[n++] = source;
    qsort(all, n, sizeof(struct source *), compare_generations);
    for (size_t i = 0; i < n; i++)
        tail_unlink_generations(all[i]);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && strcmp(all[i]->position->path, all[i - 1]->position->path) == 0)
            tail_succeed(all[i], all[i - 1]);
        tail_set_newest(tail, all[i]);
    }
    free(all);
    return 0;
}

struct tail *tail_open(struct stream *stream, const struct tail_place *place, struct error *error)
{
    struct tail *tail = (struct tail *)calloc(1, sizeof(*tail));
    if (tail == NULL) {
        error_set(error, "out of memory");
        return NULL;
    }
    tail->stream = stream;
    tail->place = *place;
    tail->last_ready = &tail->first_ready;
    tail_rescan(tail);
    find_renamed(tail);
    if (order_generations(tail) == -1) {
        error_set(error, "out of memory");
        tail_close(&tail);
        return NULL;
    }
    tail->started = true;
    return tail;
}

void tail_close(struct tail **tail_ptr)
{
    struct tail *tail = *tail_ptr;
    if (tail == NULL)
        return;
    while (tail->sources != NULL)
        tail_free_source(tail, tail->sources);
    free(tail);
    *tail_ptr = NULL;
}
