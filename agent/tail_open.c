#include "agent/clock.h"
#include "agent/inflate.h"
#include "agent/siblings.h"
#include "agent/tail_inner.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <xxhash.h>

/* Rotated names of one log hash alike. */
bool tail_owns(const char *path, int worker, int workers)
{
    char base[PATH_MAX];
    if (workers == 1)
        return true;
    const char *log = tail_rotation_base(path, base) ? base : path;
    return XXH3_64bits(log, strlen(log)) % (uint64_t)workers == (uint64_t)worker;
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

/* Its text may be there all the same, compressed. */
static bool is_compressed(struct tail *tail, const struct sibling *sibling)
{
    bool known;
    struct position *position =
        positions_claim(tail->place.positions, tail->stream->config->name, &sibling->id,
                        sibling->path, tail->place.worker, &known);
    if (position == NULL || tail_read_compressed(tail, position))
        return true;
    positions_release(tail->place.positions, position);
    return false;
}

static void is_gone(struct tail *tail, const struct sibling *sibling)
{
    if (!is_compressed(tail, sibling)) {
        log_warn(
            "tail",
            "a file is gone since the last run: what it held behind the offset, if anything, is "
            "lost path=%s inode=%ju offset=%ju stream=%s",
            log_quote(sibling->path), (uintmax_t)sibling->id.ino, (uintmax_t)sibling->offset,
            tail->stream->config->name);
        forget_gone(tail, sibling);
    }
    const struct source *newest = tail_newest(tail, sibling->path);
    bool last = newest == NULL || identity_equal(&newest->id, &sibling->id);
    tail_find_missed(tail, sibling->path, sibling->id.birth, last ? INT64_MAX : newest->id.birth);
}

void tail_prune(struct tail *tail)
{
    struct siblings siblings;
    siblings_find(&siblings, tail->place.positions, tail->stream->config->name,
                  &tail->stream->config->tail.rotated_to, owns_log, tail);
    for (size_t i = 0; i < siblings.n; i++)
        if (siblings.items[i].found == NULL && siblings.items[i].looked)
            forget_gone(tail, &siblings.items[i]);
    siblings_free(&siblings);
}

/* The configuration was changed, and does not name the log any more. Its position is kept, in case it does again. */
static void leave_out(struct tail *tail, const struct sibling *sibling)
{
    if (sibling->found == NULL && sibling->looked)
        forget_gone(tail, sibling);
}

/* False: it can't be opened now. */
static bool open_renamed(struct tail *tail, const struct sibling *sibling)
{
    struct file_facts facts;
    bool there = file_facts(sibling->found, &facts) == 0;
    if (!there && errno != ENOENT)
        return false;
    if (!there || !identity_equal(&facts.id, &sibling->id)) {
        is_gone(tail, sibling); /* it went just now */
        return true;
    }
    struct source *source = tail_open_generation(tail, sibling->found, &facts);
    if (source != NULL)
        tail_set_name(tail, source, sibling->found); /* its writer may still be at it */
    return source != NULL;
}

/* Files of before that no glob has led to: renamed while the agent was down. What can't be looked at now is looked for
 * again at the next rescan. */
void tail_find_renamed(struct tail *tail)
{
    struct siblings siblings;
    siblings_find(&siblings, tail->place.positions, tail->stream->config->name,
                  &tail->stream->config->tail.rotated_to, owns_log, tail);
    tail->renamed_left = siblings.failed;
    for (size_t i = 0; i < siblings.n; i++) {
        const struct sibling *sibling = &siblings.items[i];
        if (!tail_matches(tail, sibling->path))
            leave_out(tail, sibling);
        else if (sibling->found == NULL && sibling->looked)
            is_gone(tail, sibling);
        else if (sibling->found == NULL)
            continue;
        else if (inflate_knows(sibling->found)) /* what was read in it was its text */
            is_gone(tail, sibling);
        else
            tail->renamed_left |= !open_renamed(tail, sibling);
    }
    siblings_free(&siblings);
    tail_look_for_missed(tail);
}

struct tail *tail_new(struct stream *stream, const struct tail_place *place, struct error *error)
{
    struct tail *tail = (struct tail *)calloc(1, sizeof(*tail));
    if (tail == NULL) {
        error_set(error, "out of memory");
        return NULL;
    }
    tail->stream = stream;
    tail->place = *place;
    tail->last_ready = &tail->first_ready;
    tail->flush_at = INT64_MAX;
    tail->last_waiting = &tail->first_waiting;
    return tail;
}

int tail_find(struct tail *tail, struct error *error)
{
    tail_rescan(tail);
    tail_find_renamed(tail);
    int64_t now = clock_monotonic();
    for (struct source *source = tail->sources; source != NULL; source = source->next)
        source->quiet_since = now;
    if (tail_order_generations(tail) == -1)
        return error_set(error, "out of memory");
    tail->started = true;
    return 0;
}

struct tail *tail_open(struct stream *stream, const struct tail_place *place, struct error *error)
{
    struct tail *tail = tail_new(stream, place, error);
    if (tail != NULL && tail_find(tail, error) == -1)
        tail_close(&tail);
    return tail;
}

void tail_close(struct tail **tail_ptr)
{
    struct tail *tail = *tail_ptr;
    if (tail == NULL)
        return;
    tail_leave_all_ready(tail);
    while (tail->sources != NULL)
        tail_free_source(tail, tail->sources);
    tail_free_retired(tail, true);
    tail_free_held(tail);
    tail_forget_missed(tail);
    tail_forget_rotated(tail);
    tail_poll_end(tail);
    tail_link_end(tail);
    free(tail);
    *tail_ptr = NULL;
}
