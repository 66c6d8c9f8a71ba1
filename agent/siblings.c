#include "agent/siblings.h"

#include "agent/clock.h"
#include "agent/link.h"
#include "agent/source.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

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

static const char *place_of(const struct sibling *sibling)
{
    return sibling->place == NULL ? sibling->path : sibling->place;
}

static int compare_folders(const void *a, const void *b)
{
    return siblings_compare_folders(place_of(*(struct sibling *const *)a),
                                    place_of(*(struct sibling *const *)b));
}

static int compare_ids(const void *a, const void *b)
{
    return identity_compare(&(*(struct sibling *const *)a)->id, &(*(struct sibling *const *)b)->id);
}

/* Does the error say that there is nothing to look at, or nothing that we may see? Any other one may go over. */
static bool is_answer(int error)
{
    return error == ENOENT || error == ENOTDIR || error == ELOOP || error == ENAMETOOLONG ||
           error == EACCES || error == EPERM;
}

/* Is this file one of them? False: that can't be told. */
static bool check(struct sibling **by_id, size_t n, const char *path)
{
    struct file_facts facts;
    if (file_facts(path, &facts) == -1)
        return is_answer(errno);
    if (!facts.regular)
        return true;
    struct sibling wanted = {.id = facts.id}, *key = &wanted;
    struct sibling **found =
        (struct sibling **)bsearch(&key, by_id, n, sizeof(struct sibling *), compare_ids);
    if (found == NULL || (*found)->found != NULL)
        return true;
    (*found)->found = strdup(path);
    return (*found)->found != NULL;
}

DIR *siblings_open_folder(const char *file, char *ret_folder)
{
    int len = (int)folder_len(file);
    if (snprintf(ret_folder, PATH_MAX, "%.*s/", len, file) >= PATH_MAX)
        return NULL;
    return opendir(ret_folder);
}

int64_t siblings_changed(const char *folder)
{
    struct stat st;
    if (stat(folder, &st) == -1)
        return -1;
    return (int64_t)st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec;
}

static bool all_found(struct sibling **some, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (some[i]->found == NULL)
            return false;
    return true;
}

enum walked { WALKED, WALKED_NOT, WALKED_IN_PART };

/* The folder's name ends with a slash. NOT: it is not there, or can't be read by us; IN_PART: it may be, later. */
static enum walked walk(struct sibling **by_id, size_t n, const char *folder)
{
    char path[PATH_MAX + NAME_MAX + 2];
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return is_answer(errno) ? WALKED_NOT : WALKED_IN_PART;
    struct dirent *entry;
    bool whole = true;
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        /* d_ino may differ from the inode on stacked file systems: only statx tells. */
        snprintf(path, sizeof(path), "%s%s", folder, entry->d_name);
        whole &= check(by_id, n, path);
    }
    whole &= errno == 0;
    closedir(dir);
    return whole ? WALKED : WALKED_IN_PART;
}

/* Rotation may have moved them to a folder in this one. False: something could not be looked at. */
static bool walk_folders_in(struct sibling **by_id, size_t n, const char *folder)
{
    char path[PATH_MAX + NAME_MAX + 2];
    DIR *dir = opendir(folder);
    struct dirent *entry;
    bool whole = dir != NULL;
    while (errno = 0, dir != NULL && !all_found(by_id, n) && (entry = readdir(dir)) != NULL) {
        bool maybe = entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN;
        if (!maybe || strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof(path), "%s%s/", folder, entry->d_name);
        whole &= walk(by_id, n, path) != WALKED_IN_PART;
    }
    whole &= errno == 0;
    if (dir != NULL)
        closedir(dir);
    return whole;
}

/* by_id[0..n), all of one folder: it is walked once, however many they are. False: something could not be looked at. */
static bool look_into(struct sibling **by_id, size_t n, const struct option_list *also)
{
    char folder[PATH_MAX], path[PATH_MAX * 2];
    const char *place = place_of(by_id[0]);
    if (snprintf(folder, PATH_MAX, "%.*s/", (int)folder_len(place), place) >= PATH_MAX)
        return true;
    qsort(by_id, n, sizeof(struct sibling *), compare_ids);
    enum walked walked = walk(by_id, n, folder);
    if (walked == WALKED_NOT)
        return true;
    bool whole = walked == WALKED;
    if (!all_found(by_id, n))
        whole &= walk_folders_in(by_id, n, folder);
    for (size_t i = 0; i < also->n && !all_found(by_id, n); i++) {
        const char *other = also->items[i];
        snprintf(path, sizeof(path), "%s%s/", other[0] == '/' ? "" : folder, other);
        whole &= walk(by_id, n, path) != WALKED_IN_PART;
    }
    for (size_t i = 0; i < n; i++)
        by_id[i]->looked = whole;
    return whole || all_found(by_id, n);
}

static bool look_into_all(struct sibling **some, size_t n, const struct option_list *also)
{
    bool whole = true;
    qsort(some, n, sizeof(struct sibling *), compare_folders);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n; end++)
            if (compare_folders(&some[i], &some[end]) != 0)
                break;
        whole &= look_into(some + i, end - i, also);
    }
    return whole;
}

/* A file that was read through a symbolic link was renamed where it stands. */
static bool is_linked(struct sibling *sibling)
{
    char end[PATH_MAX];
    if (sibling->found != NULL || !link_end(sibling->path, end))
        return false;
    sibling->place = strdup(end);
    sibling->looked = false;
    return sibling->place != NULL;
}

void siblings_find(struct siblings *siblings, struct positions *positions, const char *stream,
                   const struct option_list *also, siblings_wanted_fn *wanted, void *arg)
{
    struct collect c = {siblings, 0, wanted, arg};
    *siblings = (struct siblings){0};
    positions_each_unclaimed(positions, stream, collect, &c);
    if (siblings->n == 0)
        return;
    struct sibling **some = (struct sibling **)malloc(siblings->n * sizeof(struct sibling *));
    if (some == NULL) {
        siblings->failed = true;
        return;
    }
    for (size_t i = 0; i < siblings->n; i++)
        some[i] = &siblings->items[i];
    siblings->failed |= !look_into_all(some, siblings->n, also);
    size_t n = 0;
    for (size_t i = 0; i < siblings->n; i++)
        if (is_linked(&siblings->items[i]))
            some[n++] = &siblings->items[i];
    siblings->failed |= !look_into_all(some, n, also);
    free(some);
}

void siblings_free(struct siblings *siblings)
{
    for (size_t i = 0; i < siblings->n; i++) {
        free(siblings->items[i].path);
        free(siblings->items[i].place);
        free(siblings->items[i].found);
    }
    free(siblings->items);
    *siblings = (struct siblings){0};
}
