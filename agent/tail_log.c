/* Which log a file belongs to, and where among its generations it stands. */
#include "agent/tail_inner.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DATE_DIGITS 6 /* the least that a date has */

/* Where `.1`, `-20250131`, `.2025-01-31_12` begin, which end at `end`; `end` when there is none, or not one with so
 * many digits. */
static const char *suffix_before(const char *name, const char *end, size_t least_digits)
{
    const char *at = end;
    size_t digits = 0;
    while (at > name + 1 && strchr("0123456789.-_", at[-1]) != NULL)
        digits += isdigit((unsigned char)*--at) != 0;
    return digits >= least_digits && !isdigit((unsigned char)*at) ? at : end;
}

bool tail_rotation_base(const char *path, char *ret_base)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    const char *end = name + strlen(name);
    const char *rest = end;
    const char *at = suffix_before(name, end, 1);
    if (at == end) { /* app-20250131.log: only a date counts there, app-2.log is a log of its own */
        rest = strrchr(name, '.');
        if (rest == NULL || (at = suffix_before(name, rest, DATE_DIGITS)) == rest)
            return false;
    }
    return (size_t)snprintf(ret_base, PATH_MAX, "%.*s%s", (int)(at - path), path, rest) < PATH_MAX;
}

const char *tail_log_of(struct tail *tail, const char *path, char *room)
{
    if (!tail_rotation_base(path, room))
        return path;
    if (!tail_matches(tail, room)) {
        const char *link = tail_linked_log(tail, room);
        return link == NULL ? path : link;
    }
    if (tail_newest(tail, room) != NULL || access(room, F_OK) == 0)
        return room;
    tail->has_strays = true;
    return path;
}

/* A compressed one that is still to be looked for has no path of its own. */
static bool has_log_path(const struct source *source, const char *log)
{
    return !source->unpacked && strcmp(source->path, log) == 0;
}

/* The file that bears the log's own name is the newest, whenever it was born: it may have been copied and truncated. The others by
 * birth; where the file system has none, or it is the same, by the order in which they were found. */
static bool is_older(const struct source *source, const struct source *than)
{
    const int64_t a = source->id.birth, b = than->id.birth;
    const char *log = source->origin.path.ptr;
    bool own = has_log_path(source, log);
    if (strcmp(than->origin.path.ptr, log) == 0 && own != has_log_path(than, log) &&
        tail_bears_log_name(own ? source : than))
        return !own;
    if (a != 0 && b != 0 && a != b)
        return a < b;
    return source->position->sequence < than->position->sequence;
}

static int compare_generations(const void *left, const void *right)
{
    const struct source *a = *(struct source *const *)left;
    const struct source *b = *(struct source *const *)right;
    int order = strcmp(a->position->path, b->position->path);
    return order != 0 ? order : is_older(a, b) ? -1 : 1;
}

void tail_link_generations(struct source *older, struct source *newer)
{
    if (newer != NULL)
        newer->older = older;
    if (older != NULL)
        older->newer = newer;
}

void tail_unlink_generations(struct source *source)
{
    tail_link_generations(source->older, source->newer);
    source->older = source->newer = NULL;
}

/* Rotated files that were found while the log had no file of its own name, as between a rename and the creation of the next
 * one: they keep the name under which their lines go out, but are read before this first one. */
static void join_strays(struct tail *tail, struct source *first)
{
    char base[PATH_MAX];
    for (struct source *stray = tail->sources; stray != NULL; stray = stray->next) {
        const char *log = stray->origin.path.ptr;
        if (stray->older != NULL || stray->newer != NULL || !tail_rotation_base(log, base) ||
            strcmp(base, first->origin.path.ptr) != 0)
            continue;
        struct source *newer = first;
        while (newer->older != NULL && is_older(stray, newer->older))
            newer = newer->older;
        tail_link_generations(newer->older, stray);
        tail_link_generations(stray, newer);
    }
}

/* Those that are read already stay in front of it, however old it is. */
void tail_join_generations(struct tail *tail, struct source *source)
{
    struct source *newer = NULL;
    struct source *older = tail_newest(tail, source->origin.path.ptr);
    while (older != NULL && (older->offset == 0 || tail_bears_log_name(older)) &&
           is_older(source, older)) {
        newer = older;
        older = older->older;
    }
    tail_link_generations(older, source);
    tail_link_generations(source, newer);
    if (newer != NULL) {
        tail_note_copy(tail, source->origin.path.ptr, source->id.birth);
        return;
    }
    tail_set_newest(tail, source);
    if (older == NULL && tail->started && tail->has_strays)
        join_strays(tail, source);
}

bool tail_is_copied(const struct source *source)
{
    return source->position != NULL && source->position->copied != 0;
}

int64_t tail_youngest_birth(const struct source *source)
{
    return tail_is_copied(source) ? source->position->copied : source->id.birth;
}

void tail_note_copy(struct tail *tail, const char *log, int64_t birth)
{
    const struct source *newest = tail_newest(tail, log);
    if (newest != NULL && newest->position != NULL && birth > newest->id.birth &&
        birth > newest->position->copied && tail_bears_log_name(newest))
        positions_note_copy(tail->place.positions, newest->position, birth);
}

void tail_ask_for_missed_copies(struct tail *tail, const char *log)
{
    const struct source *newest = tail_newest(tail, log);
    if (newest != NULL && tail_is_copied(newest) && tail_bears_log_name(newest))
        tail_find_missed(tail, log, newest->position->copied, INT64_MAX);
}

void tail_find_missed_copies(struct tail *tail, const char *log)
{
    tail_ask_for_missed_copies(tail, log);
    tail_look_for_missed(tail); /* at once: the log's own file is ready to be read */
}

/* Of the generations before it. When nothing of the log's own file was delivered yet, it may have been copied and truncated before: a copy is
 * younger than the file. */
static int64_t latest_birth(const struct source *source)
{
    bool fresh = source->newer == NULL && source->position->mark.offset == 0;
    return fresh ? INT64_MAX : source->id.birth;
}

/* Generations that came and went while the agent was down: born between the last one that it knew and the present one. */
static void find_missed(struct tail *tail, struct source *const *all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct source *source = all[i], *older = all[i]->older;
        const char *log = source->origin.path.ptr;
        if (older != NULL)
            tail_note_copy(tail, log, older->id.birth);
        if (source->newer == NULL && tail_is_copied(source))
            tail_find_missed_copies(tail, log);
        else if (older != NULL)
            tail_find_missed(tail, log, tail_youngest_birth(older), latest_birth(source));
    }
}

/* At the start a stray can still become the log's: nothing is read that would have to stand behind it. */
static int bring_home(struct tail *tail, struct source *stray)
{
    char room[PATH_MAX];
    const char *log = tail_log_of(tail, stray->position->path, room);
    if (log == stray->position->path)
        return 0;
    if (stray->path == stray->origin.path.ptr) { /* the same key, in memory of its own */
        char *path = strdup(stray->path);
        if (path == NULL)
            return -1;
        stray->path = path;
    }
    tail_unset_newest(tail, stray);
    if (positions_rename(tail->place.positions, stray->position, log) == -1)
        return -1;
    tail_set_origin(stray);
    return 0;
}

int tail_order_generations(struct tail *tail)
{
    size_t n = 0;
    for (struct source *source = tail->sources; source != NULL; source = source->next) {
        n++;
        if (bring_home(tail, source) == -1)
            return -1;
    }
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
            tail_link_generations(all[i - 1], all[i]);
        tail_set_newest(tail, all[i]);
    }
    find_missed(tail, all, n);
    tail_look_for_missed(tail);
    free(all);
    return 0;
}
