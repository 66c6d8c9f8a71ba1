/* Which log a file belongs to, and where among its generations it stands. */
#include "agent/tail_inner.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define DATE_DIGITS 6 /* the least that a date has */

/* Where `.1`, `-20250131`, `.2025-01-31_12` begin, which end at `end`; `end` when there is none. */
static const char *suffix_before(const char *name, const char *end)
{
    const char *at = end;
    size_t digits = 0;
    while (at > name + 1 && strchr("0123456789.-_", at[-1]) != NULL)
        digits += isdigit((unsigned char)*--at) != 0;
    return digits > 0 && !isdigit((unsigned char)*at) ? at : end;
}

bool tail_rotation_base(const char *path, char *ret_base)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    const char *end = name + strlen(name);
    const char *rest = end;
    const char *at = suffix_before(name, end);
    if (at == end) { /* app-20250131.log: only a date counts there, app-2.log is a log of its own */
        rest = strrchr(name, '.');
        at = rest == NULL ? end : suffix_before(name, rest);
        size_t digits = 0;
        for (const char *c = at; rest != NULL && c < rest; c++)
            digits += isdigit((unsigned char)*c) != 0;
        if (digits < DATE_DIGITS)
            return false;
    }
    return (size_t)snprintf(ret_base, PATH_MAX, "%.*s%s", (int)(at - path), path, rest) < PATH_MAX;
}

const char *tail_log_of(struct tail *tail, const char *path, char *room)
{
    if (!tail_rotation_base(path, room) || !tail_matches(tail, room) ||
        (tail_newest(tail, room) == NULL && access(room, F_OK) == -1))
        return path;
    return room;
}

/* By birth; where the file system has none, or it is the same, by the order in which they were found. */
static bool is_older(const struct source *source, const struct source *than)
{
    const int64_t a = source->id.birth, b = than->id.birth;
    if (a != 0 && b != 0 && a != b)
        return a < b;
    return source->position->sequence < than->position->sequence;
}

int tail_compare_generations(const void *left, const void *right)
{
    const struct source *a = *(struct source *const *)left;
    const struct source *b = *(struct source *const *)right;
    int order = strcmp(a->position->path, b->position->path);
    return order != 0 ? order : is_older(a, b) ? -1 : 1;
}

void tail_unlink_generations(struct source *source)
{
    if (source->newer != NULL)
        source->newer->older = source->older;
    if (source->older != NULL)
        source->older->newer = source->newer;
    source->older = source->newer = NULL;
}

/* Those that are read already stay in front of it, however old it is. */
void tail_join_generations(struct tail *tail, struct source *source)
{
    struct source *newer = NULL;
    struct source *older = tail_newest(tail, source->origin.path.ptr);
    while (older != NULL && older->offset == 0 && is_older(source, older)) {
        newer = older;
        older = older->older;
    }
    source->older = older;
    source->newer = newer;
    if (older != NULL)
        older->newer = source;
    if (newer != NULL)
        newer->older = source;
    else
        tail_set_newest(tail, source);
}

/* Is the file a generation of the log that was born in the given time and is not known? */
static bool is_missed(struct tail *tail, const char *path, const char *log, int64_t after,
                      int64_t before, struct file_facts *ret_facts)
{
    char base[PATH_MAX];
    return tail_rotation_base(path, base) && strcmp(base, log) == 0 &&
           file_facts(path, ret_facts) == 0 && ret_facts->regular && ret_facts->id.birth >= after &&
           ret_facts->id.birth <= before && tail_by_id(tail, &ret_facts->id) == NULL;
}

void tail_find_missed(struct tail *tail, const char *log, int64_t after, int64_t before)
{
    char folder[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
    struct dirent *entry;
    struct file_facts facts;
    size_t len = (size_t)(strrchr(log, '/') - log) + 1;
    if (after == 0 || before == 0 || len >= sizeof(folder) || tail->finding)
        return;
    memcpy(folder, log, len);
    folder[len] = '\0';
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return;
    tail->finding = true;
    while ((entry = readdir(dir)) != NULL) {
        snprintf(path, sizeof(path), "%s%s", folder, entry->d_name);
        if (!is_missed(tail, path, log, after, before, &facts))
            continue;
        struct source *source = tail_open_generation(tail, path, &facts);
        if (source != NULL)
            tail_set_name(tail, source, path);
    }
    tail->finding = false;
    closedir(dir);
}
