/* Generations that had their log's name so shortly that nobody looked. */
#include "agent/clock.h"
#include "agent/siblings.h"
#include "agent/tail_inner.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

struct missed {
    char *log;
    int64_t after, before; /* births */
};

/* Those of one folder stand together. */
static int compare(const void *a, const void *b)
{
    const char *left = ((const struct missed *)a)->log, *right = ((const struct missed *)b)->log;
    int order = siblings_compare_folders(left, right);
    return order != 0 ? order : strcmp(left, right);
}

/* A file that lost its name and is found again: it may have been written anew. */
static void name_again(struct tail *tail, struct source *source, const char *path)
{
    if (source->named || source->unpacked)
        return;
    tail_set_name(tail, source, path);
    tail_make_ready(tail, source);
}

/* Is the file a generation born in time, and not known? */
static bool is_missed(struct tail *tail, const struct missed *wanted, const char *path,
                      struct file_facts *ret_facts)
{
    if (file_facts(path, ret_facts) == -1 || !ret_facts->regular ||
        ret_facts->id.birth < wanted->after || ret_facts->id.birth > wanted->before)
        return false;
    struct source *source = tail_by_id(tail, &ret_facts->id);
    if (source != NULL)
        name_again(tail, source, path);
    return source == NULL && !tail_hold_copy(tail, path, ret_facts);
}

/* `since`: all that is wanted was asked for before. */
static void look_for(struct tail *tail, const struct missed *wanted, int64_t since)
{
    struct file_facts facts;
    size_t n;
    char **paths = tail_list_rotated(tail, wanted->log, false, since, &n);
    for (size_t i = 0; i < n; i++) {
        if (!is_missed(tail, wanted, paths[i], &facts))
            continue;
        struct source *source = tail_open_generation(tail, paths[i], &facts);
        if (source != NULL)
            tail_set_name(tail, source, paths[i]);
    }
    free(paths);
}

static int add(struct tail *tail, const struct missed *missed)
{
    if (tail->n_missed == tail->room_missed) {
        size_t room = tail->room_missed == 0 ? 16 : tail->room_missed * 2;
        struct missed *all =
            (struct missed *)reallocarray(tail->missed, room, sizeof(struct missed));
        if (all == NULL)
            return -1;
        tail->missed = all;
        tail->room_missed = room;
    }
    tail->missed[tail->n_missed++] = *missed;
    return 0;
}

struct births {
    struct tail *tail;
    int64_t after, before;
};

static void ask(const char *log, void *arg)
{
    const struct births *births = (const struct births *)arg;
    struct missed missed = {strdup(log), births->after, births->before};
    if (missed.log != NULL && add(births->tail, &missed) == 0)
        return;
    free(missed.log);
    log_error("tail", "out of memory: generations of a log may be missed path=%s", log_quote(log));
}

void tail_find_missed(struct tail *tail, const char *log, int64_t after, int64_t before)
{
    struct births births = {tail, after, before};
    /* What is found while looking asks for nothing more: it was found. */
    if (after == 0 || before == 0 || tail->finding)
        return;
    ask(log, &births);
    tail_each_target(tail, log, ask,
                     &births); /* its generations stand beside what a link leads to */
}

void tail_look_for_missed(struct tail *tail)
{
    if (tail->n_missed == 0 || tail->finding) /* what is found may ask again */
        return;
    struct missed *all = tail->missed;
    size_t n = tail->n_missed;
    const int64_t since = clock_real();
    tail->finding = true;
    qsort(all, n, sizeof(*all), compare);
    for (size_t i = 0; i < n; i++)
        look_for(tail, &all[i], since);
    tail->finding = false;
    tail_forget_missed(tail);
}

void tail_forget_missed(struct tail *tail)
{
    for (size_t i = 0; i < tail->n_missed; i++)
        free(tail->missed[i].log);
    free(tail->missed);
    tail->missed = NULL;
    tail->n_missed = tail->room_missed = 0;
}
