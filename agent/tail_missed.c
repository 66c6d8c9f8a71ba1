/* Generations that had their log's name so shortly that nobody looked. Wanted ones are collected, and looked for together:
 * when a thousand logs of a folder are rotated at once, it is walked once. */
#include "agent/siblings.h"
#include "agent/tail_inner.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

struct missed {
    char *log;
    int64_t after, before; /* births */
};

static int compare_log(const void *a, const void *b)
{
    return strcmp(((const struct missed *)a)->log, ((const struct missed *)b)->log);
}

static int compare_folder(const struct missed *a, const struct missed *b)
{
    return siblings_compare_folders(a->log, b->log);
}

static int compare(const void *a, const void *b)
{
    int order = compare_folder((const struct missed *)a, (const struct missed *)b);
    return order != 0 ? order : compare_log(a, b);
}

static bool born_in_time(const struct missed *wanted, size_t n, const struct missed *one,
                         int64_t birth)
{
    while (one > wanted && compare_log(one - 1, one) == 0)
        one--;
    for (const struct missed *log = one; one < wanted + n && compare_log(log, one) == 0; one++)
        if (one->after <= birth && birth <= one->before)
            return true;
    return false;
}

/* A file that lost its name and is found again: it may have been written anew. */
static void name_again(struct tail *tail, struct source *source, const char *path)
{
    if (source->named || source->unpacked)
        return;
    tail_set_name(tail, source, path);
    tail_make_ready(tail, source);
}

/* Is the file a generation of one of wanted[0..n), and not known? */
static bool is_missed(struct tail *tail, const struct missed *wanted, size_t n, const char *path,
                      struct file_facts *ret_facts)
{
    char base[PATH_MAX];
    if (!tail_rotation_base(path, base))
        return false;
    struct missed key = {.log = base};
    const struct missed *one =
        (const struct missed *)bsearch(&key, wanted, n, sizeof(*wanted), compare_log);
    if (one == NULL || file_facts(path, ret_facts) == -1 || !ret_facts->regular ||
        !born_in_time(wanted, n, one, ret_facts->id.birth))
        return false;
    struct source *source = tail_by_id(tail, &ret_facts->id);
    if (source != NULL)
        name_again(tail, source, path);
    return source == NULL && !tail_hold_copy(tail, path, ret_facts);
}

/* All of one folder, in order. */
static void walk(struct tail *tail, const struct missed *wanted, size_t n)
{
    char folder[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
    struct dirent *entry;
    struct file_facts facts;
    DIR *dir = siblings_open_folder(wanted->log, folder);
    if (dir == NULL)
        return;
    while ((entry = readdir(dir)) != NULL) {
        snprintf(path, sizeof(path), "%s%s", folder, entry->d_name);
        if (!is_missed(tail, wanted, n, path, &facts))
            continue;
        struct source *source = tail_open_generation(tail, path, &facts);
        if (source != NULL)
            tail_set_name(tail, source, path);
    }
    closedir(dir);
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
    tail->finding = true;
    qsort(all, n, sizeof(*all), compare);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n; end++)
            if (compare_folder(&all[i], &all[end]) != 0)
                break;
        walk(tail, all + i, end - i);
    }
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
