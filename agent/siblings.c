#include "agent/siblings.h"

#include "agent/source.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

struct collect {
    struct siblings *siblings;
    siblings_wanted_fn *wanted;
    void *arg;
};

static void collect(const struct position *position, void *arg)
{
    struct collect *c = (struct collect *)arg;
    if (!c->wanted(position->path, c->arg))
        return;
    struct sibling *items = (struct sibling *)reallocarray(c->siblings->items, c->siblings->n + 1,
                                                           sizeof(struct sibling));
    if (items == NULL) {
        c->siblings->failed = true;
        return;
    }
    c->siblings->items = items;
    struct sibling *sibling = &items[c->siblings->n];
    *sibling = (struct sibling){
        .id = position->id, .offset = position->mark.offset, .path = strdup(position->path)};
    if (sibling->path == NULL)
        c->siblings->failed = true;
    else
        c->siblings->n++;
}

static size_t folder_len(const char *path)
{
    return (size_t)(strrchr(path, '/') - path);
}

static int compare(const void *left, const void *right)
{
    const struct sibling *a = (const struct sibling *)left;
    const struct sibling *b = (const struct sibling *)right;
    return strcmp(a->path, b->path);
}

static bool same_folder(const char *a, const char *b)
{
    return folder_len(a) == folder_len(b) && memcmp(a, b, folder_len(a)) == 0;
}

/* Is this file one of items[0..n), all of one folder? */
static void check(struct sibling *items, size_t n, const char *path)
{
    struct file_facts facts;
    if (file_facts(path, &facts) == -1 || !facts.regular)
        return;
    for (size_t i = 0; i < n; i++)
        if (items[i].found == NULL && identity_equal(&items[i].id, &facts.id))
            items[i].found = strdup(path);
}

static void look_into(struct sibling *items, size_t n)
{
    char folder[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
    int len = (int)folder_len(items[0].path);
    if ((size_t)snprintf(folder, sizeof(folder), "%.*s/", len, items[0].path) >= sizeof(folder))
        return;
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return;
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        /* d_ino may differ from the inode on stacked file systems: only statx tells. */
        snprintf(path, sizeof(path), "%s%s", folder, entry->d_name);
        check(items, n, path);
    }
    closedir(dir);
    for (size_t i = 0; i < n; i++)
        items[i].looked = true;
}

void siblings_find(struct siblings *siblings, struct positions *positions, const char *stream,
                   siblings_wanted_fn *wanted, void *arg)
{
    struct collect c = {siblings, wanted, arg};
    *siblings = (struct siblings){0};
    positions_each_unclaimed(positions, stream, collect, &c);
    if (siblings->n == 0)
        return;
    qsort(siblings->items, siblings->n, sizeof(struct sibling), compare);
    for (size_t i = 0, end; i < siblings->n; i = end) {
        for (end = i + 1; end < siblings->n; end++)
            if (!same_folder(siblings->items[i].path, siblings->items[end].path))
                break;
        look_into(siblings->items + i, end - i);
    }
}

void siblings_free(struct siblings *siblings)
{
    for (size_t i = 0; i < siblings->n; i++) {
        free(siblings->items[i].path);
        free(siblings->items[i].found);
    }
    free(siblings->items);
    *siblings = (struct siblings){0};
}
