#include "agent/clock.h"
#include "agent/tail_inner.h"

#include <search.h>
#include <stdlib.h>

static int compare_path(const void *a, const void *b)
{
    return strcmp(((const struct source *)a)->path, ((const struct source *)b)->path);
}

static int compare_id(const void *a, const void *b)
{
    return identity_compare(&((const struct source *)a)->id, &((const struct source *)b)->id);
}

struct source *tail_by_path(struct tail *tail, const char *path)
{
    union { /* only compared */
        const char *in;
        char *out;
    } name = {path};
    struct source wanted = {.path = name.out};
    void *node = tfind(&wanted, &tail->by_path, compare_path);
    return node == NULL ? NULL : *(struct source **)node;
}

struct source *tail_by_id(struct tail *tail, const struct identity *id)
{
    struct source wanted = {.id = *id};
    void *node = tfind(&wanted, &tail->by_id, compare_id);
    return node == NULL ? NULL : *(struct source **)node;
}

void tail_clear_name(struct tail *tail, struct source *source)
{
    if (!source->named)
        return;
    tdelete(source, &tail->by_path, compare_path);
    tail->stirred = true;
    source->named = false;
    tail_note_idle(tail, source);
    tail->nameless++;
    source->quiet_since = clock_monotonic();
}

char *tail_copy_path(const struct source *source, const char *path)
{
    char *log = source->position->path;
    return strcmp(log, path) == 0 ? log : strdup(path);
}

void tail_set_name(struct tail *tail, struct source *source, const char *path)
{
    struct source *other = tail_by_path(tail, path);
    char *copy = other == source ? NULL : tail_copy_path(source, path);
    if (copy == NULL)
        return;
    if (other != NULL)
        tail_clear_name(tail, other);
    tail_clear_name(tail, source);
    if (source->path != source->origin.path.ptr)
        free(source->path);
    source->path = copy;
    source->named = tsearch(source, &tail->by_path, compare_path) != NULL;
    tail->nameless -= source->named;
    tail_note_idle(tail, source);
}

int tail_add_id(struct tail *tail, struct source *source)
{
    if (tsearch(source, &tail->by_id, compare_id) == NULL)
        return -1;
    tail->nameless++; /* until it is given one */
    return 0;
}

void tail_remove_id(struct tail *tail, struct source *source)
{
    tdelete(source, &tail->by_id, compare_id);
    tail->nameless--;
}

/* ---- by log ---- */

static int compare_log(const void *a, const void *b)
{
    return strcmp(((const struct source *)a)->origin.path.ptr,
                  ((const struct source *)b)->origin.path.ptr);
}

struct source *tail_newest(struct tail *tail, const char *log)
{
    struct source wanted = {.origin.path = slice_str(log)};
    void *node = tfind(&wanted, &tail->by_log, compare_log);
    return node == NULL ? NULL : *(struct source **)node;
}

int tail_set_newest(struct tail *tail, struct source *source)
{
    struct source **node = (struct source **)tsearch(source, &tail->by_log, compare_log);
    if (node == NULL)
        return -1;
    *node = source; /* the key is the same text */
    return 0;
}

void tail_unset_newest(struct tail *tail, struct source *source)
{
    struct source **node = (struct source **)tfind(source, &tail->by_log, compare_log);
    if (node == NULL || *node != source)
        return;
    if (source->older != NULL && compare_log(source, source->older) == 0)
        *node = source->older;
    else
        tdelete(source, &tail->by_log, compare_log);
}
