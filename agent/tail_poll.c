/* Folders of which inotify does not tell enough, or nothing: looked at by a timer, with the files in them. */
#include "agent/clock.h"
#include "agent/remote.h"
#include "agent/siblings.h"
#include "agent/tail_inner.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A folder that changed so shortly before it was listed may change again without another time: file systems keep
 * times as coarse as two seconds. */
#define COARSE_NS (3 * NS_PER_S)

struct polled {
    struct polled *next;
    const char *path; /* behind this; also the node's key in the tail's tree */
    bool leaf;
    unsigned walked; /* the tail's rescan that came through it last */
    int64_t changed; /* ns: the time of its last change, when it was listed last */
    int64_t listed;  /* ns, real */
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct polled *)a)->path, ((const struct polled *)b)->path);
}

static struct polled *find(const struct tail *tail, const char *path)
{
    struct polled wanted = {.path = path};
    void *node = tfind(&wanted, &tail->polled_by_path, compare);
    return node == NULL ? NULL : *(struct polled **)node;
}

static struct polled *add(struct tail *tail, const char *path)
{
    size_t len = strlen(path);
    struct polled *polled = (struct polled *)calloc(1, sizeof(*polled) + len + 1);
    if (polled == NULL)
        return NULL;
    polled->path = (const char *)memcpy(polled + 1, path, len + 1);
    if (tsearch(polled, &tail->polled_by_path, compare) == NULL) {
        free(polled);
        return NULL;
    }
    polled->next = tail->polled;
    tail->polled = polled;
    return polled;
}

/* It is about to be listed. */
static void note_change(struct polled *polled)
{
    polled->changed = siblings_changed(polled->path);
    polled->listed = clock_real();
}

/* Is it to be polled, since it can't be watched? One that can't be read has nothing to list, but its files may have known names. */
static bool falls_back(const char *folder, bool leaf, int error)
{
    if (error == ENOENT || error == ENOTDIR)
        return false;
    return error != EACCES || (leaf && access(folder, X_OK) == 0);
}

void tail_watch_folder(struct tail *tail, const char *folder, bool leaf)
{
    int mode = tail->stream->config->tail.watch;
    bool watched = mode != WATCH_POLL && watch_folder(tail->place.watch, folder, leaf) == 0;
    bool fallback = mode != WATCH_POLL && !watched;
    tail->stirred |= fallback;
    if (fallback && !falls_back(folder, leaf, errno))
        return;
    if (mode == WATCH_POLL && access(folder, X_OK) == -1 && errno == EACCES)
        tail_complain(tail, COMPLAINT_OPEN, "cannot look into a folder: Permission denied", folder);
    const char *remote = watched && mode == WATCH_AUTO ? remote_name(folder) : NULL;
    if (watched && remote == NULL)
        return; /* if it was polled before, tail_poll_sweep() ends that */
    struct polled *polled = find(tail, folder);
    if (polled == NULL) {
        polled = add(tail, folder);
        if (polled == NULL) {
            log_error("tail", "out of memory: a folder is looked at only every tail.rescan path=%s",
                      log_quote(folder));
            return;
        }
        if (fallback)
            tail_count(tail, STAT_watch_fallbacks, 1);
        if (remote != NULL)
            log_info("tail",
                     "a folder is polled, since inotify does not see what others write to it "
                     "path=%s filesystem=\"%s\" stream=%s",
                     log_quote(folder), remote, tail->stream->config->name);
    }
    polled->leaf |= leaf;
    polled->walked = tail->rescans;
    note_change(polled);
}

void tail_poll_sweep(struct tail *tail)
{
    for (struct polled **at = &tail->polled; *at != NULL;) {
        struct polled *polled = *at;
        if (polled->walked == tail->rescans) {
            at = &polled->next;
            continue;
        }
        *at = polled->next;
        tdelete(polled, &tail->polled_by_path, compare);
        free(polled);
    }
}

/* Looks at all its files; true: there may be folders among them. */
static bool list(struct tail *tail, const struct polled *polled)
{
    char path[PATH_MAX + NAME_MAX + 2];
    bool folders = false;
    struct dirent *entry;
    DIR *dir = opendir(polled->path);
    if (dir == NULL)
        return true;
    while ((entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", polled->path[1] == '\0' ? "" : polled->path, name);
        folders |= entry->d_type != DT_REG;
        tail_on_file(path, tail);
    }
    closedir(dir);
    return folders;
}

static void look_at_folder(struct tail *tail, struct polled *polled)
{
    int64_t changed = siblings_changed(polled->path);
    bool same = changed == polled->changed;
    if (same && polled->listed - changed >= COARSE_NS)
        return;
    note_change(polled);
    bool folders = !polled->leaf || list(tail, polled);
    if (!same && folders) /* one may have come that a glob goes through */
        tail->wants_rescan = true;
}

static void look_at_files(struct tail *tail)
{
    if (tail->polled == NULL)
        return;
    for (struct source *source = tail->sources, *next; source != NULL; source = next) {
        char folder[PATH_MAX];
        next = source->next;
        size_t len = (size_t)(strrchr(source->path, '/') - source->path);
        if (!source->named || len >= sizeof(folder))
            continue;
        memcpy(folder, source->path, len);
        memcpy(folder + len, len == 0 ? "/" : "", len == 0 ? 2 : 1);
        if (find(tail, folder) != NULL)
            tail_look(tail, source->path);
    }
}

int64_t tail_poll_at(const struct tail *tail)
{
    return tail->polled == NULL && tail->polled_links == 0 ? INT64_MAX : tail->next_poll;
}

int64_t tail_due_at(const struct tail *tail)
{
    int64_t flush = tail_flush_at(tail), poll = tail_poll_at(tail);
    return flush < poll ? flush : poll;
}

void tail_poll(struct tail *tail, int64_t now)
{
    if (now < tail_poll_at(tail))
        return;
    tail->next_poll = now + tail->stream->config->tail.poll * NS_PER_MS;
    look_at_files(tail);
    tail_link_poll(tail);
    for (struct polled *polled = tail->polled; polled != NULL; polled = polled->next)
        look_at_folder(tail, polled);
}

/* The stats of ten thousand files every ten seconds would be most of what an idle agent costs. */
#define PAUSE_MOST 15 /* looks that are left out between two */

void tail_look_regularly(struct tail *tail)
{
    bool watched = tail_poll_at(tail) == INT64_MAX;
    if (tail->looks_to_skip > 0 && !tail->stirred && watched) {
        tail->looks_to_skip--;
        tail_close_idle(tail);
        return;
    }
    bool calm = watched && !tail->stirred;
    tail->stirred = false;
    tail_rescan(tail);
    tail->pause = calm && !tail->stirred ? tail->pause * 2 + 1 : 0;
    if (tail->pause > PAUSE_MOST)
        tail->pause = PAUSE_MOST;
    tail->looks_to_skip = tail->pause;
}

void tail_poll_end(struct tail *tail)
{
    tdestroy(tail->polled_by_path, free);
}
