#include "agent/siblings.h"

#include "agent/source.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

struct collect {
    struct siblings *siblings;
    size_t room;
    siblings_wanted_fn *wanted;
    void *arg;
};

static int make_room(struct collect *c)
{
    if (c->siblings->n < c->room)
        return 0;
    size_t room = c->room == 0 ? 16 : c->room * 2;
    struct sibling *items =
        (struct sibling *)reallocarray(c->siblings->items, room, sizeof(struct sibling));
    if (items == NULL)
        return -1;
    c->siblings->items = items;
    c->room = room;
    return 0;
}

static void collect(const struct position *position, void *arg)
{
    struct collect *c = (struct collect *)arg;
    struct siblings *siblings = c->siblings;
    if (!c->wanted(position->path, c->arg))
        return;
    char *path = strdup(position->path);
    if (path == NULL || make_room(c) == -1) {
        free(path);
        siblings->failed = true;
        return;
    }
    siblings->items[siblings->n++] =
        (struct sibling){.id = position->id, .offset = position->mark.offset, .path = path};
}

static size_t folder_len(const char *path)
{
    return (size_t)(strrchr(path, '/') - path);
}

int siblings_compare_folders(const char *a, const char *b)
{
    size_t a_len = folder_len(a), b_len = folder_len(b);
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order != 0 ? order : a_len < b_len ? -1 : a_len > b_len;
}

static int compare_folders(const void *a, const void *b)
{
    return siblings_compare_folders(((const struct sibling *)a)->path,
                                    ((const struct sibling *)b)->path);
}

static int compare_ids(const void *a, const void *b)
{
    return identity_compare(&(*(struct sibling *const *)a)->id, &(*(struct sibling *const *)b)->id);
}

/* Is this file one of them? */
static void check(struct sibling **by_id, size_t n, const char *path)
{
    struct file_facts facts;
    if (file_facts(path, &facts) == -1 || !facts.regular)
        return;
    struct sibling wanted = {.id = facts.id}, *key = &wanted;
    struct sibling **found =
        (struct sibling **)bsearch(&key, by_id, n, sizeof(struct sibling *), compare_ids);
    if (found != NULL && (*found)->found == NULL)
        (*found)->found = strdup(path);
}

DIR *siblings_open_folder(const char *file, char *ret_folder)
{
    int len = (int)folder_len(file);
    if (snprintf(ret_folder, PATH_MAX, "%.*s/", len, file) >= PATH_MAX)
        return NULL;
    return opendir(ret_folder);
}

/* by_id[0..n), all of one folder: it is walked once, however many they are. */
static void look_into(struct sibling **by_id, size_t n)
{
    char folder[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
    DIR *dir = siblings_open_folder(by_id[0]->path, folder);
    if (dir == NULL)
        return;
    qsort(by_id, n, sizeof(struct sibling *), compare_ids);
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        /* d_ino may differ from the inode on stacked file systems: only statx tells. */
        snprintf(path, sizeof(path), "%s%s", folder, entry->d_name);
        check(by_id, n, path);
    }
    closedir(dir);
    for (size_t i = 0; i < n; i++)
        by_id[i]->looked = true;
}

void siblings_find(struct siblings *siblings, struct positions *positions, const char *stream,
                   siblings_wanted_fn *wanted, void *arg)
{
    struct collect c = {siblings, 0, wanted, arg};
    *siblings = (struct siblings){0};
    positions_each_unclaimed(positions, stream, collect, &c);
    if (siblings->n == 0)
        return;
    struct sibling **by_id = (struct sibling **)malloc(siblings->n * sizeof(struct sibling *));
    if (by_id == NULL) {
        siblings->failed = true;
        return;
    }
    qsort(siblings->items, siblings->n, sizeof(struct sibling), compare_folders);
    for (size_t i = 0; i < siblings->n; i++)
        by_id[i] = &siblings->items[i];
    for (size_t i = 0, end; i < siblings->n; i = end) {
        for (end = i + 1; end < siblings->n; end++)
            if (compare_folders(by_id[i], by_id[end]) != 0)
                break;
        look_into(by_id + i, end - i);
    }
    free(by_id);
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
