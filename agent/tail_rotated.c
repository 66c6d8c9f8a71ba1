/* The files beside a log whose names rotation gave. Their folder is listed once for all its logs: when thousands are rotated at the same
 * time, each of them asks. */
#include "agent/clock.h"
#include "agent/inflate.h"
#include "agent/siblings.h"
#include "agent/tail_inner.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* A folder that changed so shortly before it was listed may change again without another time: the kernel's clock for that
 * ticks every 10 ms at the slowest, and some file systems keep whole seconds, in two of them. */
#define TICK_NS   (20 * NS_PER_MS)
#define COARSE_NS (3 * NS_PER_S)

struct rotated {
    char folder[PATH_MAX]; /* with a slash at its end */
    int64_t changed;       /* ns since 1970: the folder, seen before it was listed */
    int64_t listed;        /* ns since 1970 */
    size_t n, room;
    struct rotated_name {
        char *base; /* the log's path, */
        char *path; /* and the file's */
        bool compressed;
    } * names; /* in this order */
};

void tail_forget_rotated(struct tail *tail)
{
    struct rotated *all = tail->rotated;
    for (size_t i = 0; all != NULL && i < all->n; i++) {
        free(all->names[i].base);
        free(all->names[i].path);
    }
    if (all != NULL)
        free(all->names);
    free(all);
    tail->rotated = NULL;
}

/* The log of a compressed file is that of its plain name, which may be the log's own. */
static bool base_of(const char *path, bool compressed, char *ret_base)
{
    char plain[PATH_MAX];
    if (!compressed)
        return tail_rotation_base(path, ret_base);
    int len = (int)(strrchr(path, '.') - path);
    if ((size_t)snprintf(plain, sizeof(plain), "%.*s", len, path) >= sizeof(plain))
        return false;
    if (!tail_rotation_base(plain, ret_base))
        memcpy(ret_base, plain, (size_t)len + 1);
    return true;
}

static int compare(const void *a, const void *b)
{
    const struct rotated_name *left = (const struct rotated_name *)a;
    const struct rotated_name *right = (const struct rotated_name *)b;
    int order = strcmp(left->base, right->base);
    return order != 0 ? order : strcmp(left->path, right->path);
}

static int add(struct rotated *all, const char *path)
{
    char base[PATH_MAX];
    bool compressed = inflate_knows(path);
    if (!base_of(path, compressed, base))
        return 0;
    if (all->n == all->room) {
        size_t room = all->room == 0 ? 64 : all->room * 2;
        struct rotated_name *names =
            (struct rotated_name *)reallocarray(all->names, room, sizeof(*names));
        if (names == NULL)
            return -1;
        all->names = names;
        all->room = room;
    }
    all->names[all->n++] = (struct rotated_name){strdup(base), strdup(path), compressed};
    const struct rotated_name *last = &all->names[all->n - 1];
    return last->base == NULL || last->path == NULL ? -1 : 0;
}

static bool is_fresh(const struct rotated *all, const char *folder, int64_t since)
{
    if (all == NULL || strcmp(all->folder, folder) != 0)
        return false;
    if (since != 0 && all->listed >= since)
        return true;
    int64_t coarse = all->changed % NS_PER_S == 0 ? COARSE_NS : TICK_NS;
    return siblings_changed(folder) == all->changed && all->listed - all->changed > coarse;
}

/* Lists the folder of the log, unless that was done and it has not changed. False: it can't be. */
static bool list(struct tail *tail, const char *log, int64_t since)
{
    char folder[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
    struct dirent *entry;
    int len = (int)(strrchr(log, '/') + 1 - log);
    if (snprintf(folder, sizeof(folder), "%.*s", len, log) >= (int)sizeof(folder))
        return false;
    if (is_fresh(tail->rotated, folder, since))
        return true;
    tail_forget_rotated(tail);
    struct rotated *all = (struct rotated *)calloc(1, sizeof(*all));
    tail->rotated = all;
    if (all != NULL) {
        memcpy(all->folder, folder, strlen(folder) + 1);
        all->changed = siblings_changed(folder);
        all->listed = clock_real();
    }
    DIR *dir = opendir(folder);
    bool listed = all != NULL && dir != NULL;
    while (listed && (entry = readdir(dir)) != NULL) {
        snprintf(path, sizeof(path), "%s%s", folder, entry->d_name);
        listed = add(all, path) == 0;
    }
    if (dir != NULL)
        closedir(dir);
    if (!listed)
        tail_forget_rotated(tail);
    else if (all->n > 0)
        qsort(all->names, all->n, sizeof(*all->names), compare);
    return listed;
}

/* The first of the log's names. */
static size_t find(const struct rotated *all, const char *log)
{
    size_t low = 0, high = all->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(all->names[middle].base, log) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

char **tail_list_rotated(struct tail *tail, const char *log, bool compressed, int64_t since,
                         size_t *ret_n)
{
    *ret_n = 0;
    if (!list(tail, log, since))
        return NULL;
    const struct rotated *all = tail->rotated;
    size_t first = find(all, log), end = first, room = 0, n = 0;
    for (; end < all->n && strcmp(all->names[end].base, log) == 0; end++)
        room += sizeof(char *) + strlen(all->names[end].path) + 1;
    char **paths = room == 0 ? NULL : (char **)malloc(room);
    if (paths == NULL)
        return NULL;
    char *text = (char *)(paths + (end - first));
    for (size_t i = first; i < end; i++) {
        if (all->names[i].compressed != compressed)
            continue;
        size_t len = strlen(all->names[i].path) + 1;
        paths[n++] = (char *)memcpy(text, all->names[i].path, len);
        text += len;
    }
    *ret_n = n;
    return paths;
}
