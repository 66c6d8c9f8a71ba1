/* A stream's configuration was changed: what its successor takes over. */
#include "agent/tail_inner.h"

#include <stdlib.h>

/* ---- the tail itself, when files are found and read as before ---- */

static void give_to(struct source *source, struct stream *successor)
{
    source->stream = successor;
    source_forget_json(source); /* the host's name is in it */
}

static void move(struct stream *stream, struct stream *successor)
{
    struct tail *tail = stream->tail;
    struct frame *frame = successor->frame;
    successor->frame = stream->frame; /* the sources' states are this one's */
    stream->frame = frame;
    tail->stream = successor;
    for (struct source *source = tail->sources; source != NULL; source = source->next)
        give_to(source, successor);
    for (struct source *source = tail->retired; source != NULL; source = source->next)
        give_to(source, successor);
    stream->tail = NULL;
    successor->tail = tail;
}

/* ---- a new tail ---- */

/* A file without a name: only its descriptor leads to it. */
struct orphan {
    struct orphan *next;
    char *path; /* where it was */
    struct identity id;
    int fd;
};

/* What was decompressed is looked for anew, by what the position knows. */
static bool is_orphan(const struct source *source)
{
    return !source->named && source->fd != -1 && !source->gone && !source->unpacked &&
           source->inflate == NULL;
}

static struct orphan *take_orphans(struct tail *tail)
{
    struct orphan *first = NULL;
    for (struct source *source = tail->sources; source != NULL; source = source->next) {
        struct orphan *orphan = is_orphan(source) ? (struct orphan *)malloc(sizeof(*orphan)) : NULL;
        char *path = orphan == NULL ? NULL : strdup(source->path);
        if (path == NULL) {
            free(orphan);
            continue;
        }
        *orphan = (struct orphan){first, path, source->id, source->fd};
        source->fd = -1; /* it stays counted as open */
        first = orphan;
    }
    return first;
}

static void adopt(struct tail *tail, const struct orphan *orphan)
{
    struct file_facts facts;
    bool known;
    struct position *position = NULL;
    if (file_facts_fd(orphan->fd, &facts) == 0)
        position = positions_claim(tail->place.positions, tail->stream->config->name, &orphan->id,
                                   orphan->path, tail->place.worker, &known);
    bool left_out = position != NULL && !tail_matches(tail, position->path);
    if (left_out)
        positions_release(tail->place.positions, position);
    if (left_out || position == NULL) {
        tail_drop_file(tail, orphan->fd);
        return;
    }
    struct source *source = tail_new_source(tail, orphan->path, &orphan->id, position, orphan->fd);
    if (source == NULL)
        return;
    tail_set_out(tail, source, &facts, known);
    tail_join_generations(tail, source);
    tail_begin(tail, source);
    source->seen = facts.size;
    tail_make_ready(tail, source);
}

static void adopt_all(struct tail *tail, struct orphan *orphan)
{
    while (orphan != NULL) {
        struct orphan *next = orphan->next;
        adopt(tail, orphan);
        free(orphan->path);
        free(orphan);
        orphan = next;
    }
}

/* Everything that was found has a position, and is known to the new one by it. */
static int replace(struct stream *stream, struct stream *successor, struct error *error)
{
    struct tail *tail = tail_new(successor, &stream->tail->place, error);
    if (tail == NULL)
        return -1;
    struct orphan *orphans = take_orphans(stream->tail);
    tail_close(&stream->tail);
    tail->before = &stream->config->tail;
    adopt_all(tail, orphans);
    int result = tail_find(tail, error);
    tail->before = NULL;
    if (result == -1)
        tail_close(&tail);
    successor->tail = tail;
    return result;
}

int tail_succeed(struct stream *stream, struct stream *successor, struct error *error)
{
    tail_rescan(stream->tail); /* what came meanwhile is begun as something new */
    if (config_tail_equal(stream->config, successor->config)) {
        move(stream, successor);
        return 0;
    }
    return replace(stream, successor, error);
}
