/* A tail's open files. A source that has nothing to read needs no descriptor: it is closed when it was idle for long, or when
 * the worker's descriptors are used up and it is the one that was idle for the longest time. It stays a source: its folder is
 * watched, its identity known, and it is opened again by its path when it has to be read. */
#include "agent/clock.h"
#include "agent/siblings.h"
#include "agent/tail_inner.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the worker's open files that could be closed, the longest idle first ---- */

/* Read to its end, nothing held back, all of it delivered, and to be found again by its name. */
static bool could_be_closed(const struct source *source)
{
    return source->fd != -1 && source->named && !source->unpacked && !source->ready &&
           !source->failed && !source->held && !source->holding && source->first == NULL &&
           source->position->mark.offset == source->offset;
}

static void leave_idle(struct open_files *files, struct source *source)
{
    struct source *older = source->idle_older, *newer = source->idle_newer;
    if (!source->idle)
        return;
    *(older == NULL ? &files->oldest : &older->idle_newer) = newer;
    *(newer == NULL ? &files->newest : &newer->idle_older) = older;
    source->idle = false;
    files->idle--;
}

static void join_idle(struct open_files *files, struct source *source)
{
    source->idle_older = files->newest;
    source->idle_newer = NULL;
    *(files->newest == NULL ? &files->oldest : &files->newest->idle_newer) = source;
    files->newest = source;
    source->idle = true;
    source->quiet_since = clock_monotonic();
    files->idle++;
}

void tail_note_idle(struct tail *tail, struct source *source)
{
    bool idle = could_be_closed(source);
    if (!idle)
        leave_idle(tail->place.files, source);
    else if (!source->idle)
        join_idle(tail->place.files, source);
}

unsigned tail_free_files(const struct tail *tail)
{
    const struct open_files *files = tail->place.files;
    if (files->limit == 0)
        return UINT_MAX;
    return files->idle + (files->limit > files->open ? files->limit - files->open : 0);
}

/* ---- opening and closing ---- */

static void close_file(struct open_files *files, struct source *source)
{
    if (source->fd == -1)
        return;
    leave_idle(files, source);
    source_close_file(source->fd);
    source->fd = -1;
    files->open--;
}

void tail_close_file(struct tail *tail, struct source *source)
{
    tail_end_inflating(tail, source);
    close_file(tail->place.files, source);
}

static bool close_longest_idle(struct open_files *files)
{
    if (files->oldest == NULL)
        return false;
    close_file(files, files->oldest);
    return true;
}

int tail_open_to_compare(struct tail *tail, const char *path, const struct identity *id)
{
    struct open_files *files = tail->place.files;
    int fd = source_open_file(path, id);
    if (fd == -1 && errno == EMFILE && close_longest_idle(files)) /* others use them up */
        fd = source_open_file(path, id);
    files->open += fd != -1;
    return fd;
}

bool tail_make_room(struct tail *tail, unsigned n)
{
    struct open_files *files = tail->place.files;
    if (tail_free_files(tail) < n)
        return false;
    while (files->limit != 0 && files->open + n > files->limit && close_longest_idle(files))
        ;
    return true;
}

int tail_open_file(struct tail *tail, const char *path, const struct identity *id)
{
    if (!tail_make_room(tail, 1)) {
        errno = EMFILE;
        return -1;
    }
    return tail_open_to_compare(tail, path, id);
}

void tail_count_file(struct tail *tail)
{
    source_count_file();
    tail->place.files->open++;
}

void tail_drop_file(struct tail *tail, int fd)
{
    if (fd == -1)
        return;
    source_close_file(fd);
    tail->place.files->open--;
}

void tail_close_idle(struct tail *tail)
{
    const int64_t limit = tail->stream->config->tail.close_idle * NS_PER_MS;
    int64_t now = clock_monotonic();
    for (struct source *source = tail->place.files->oldest, *next; source != NULL; source = next) {
        int64_t quiet = now - source->quiet_since;
        next = source->idle_newer;
        if (quiet < QUIET_NS && (limit <= 0 || quiet < limit))
            break;
        if (source->stream != tail->stream)
            continue;
        if ((limit > 0 && quiet >= limit) ||
            (quiet >= QUIET_NS && !tail_matches(tail, source->path)))
            close_file(tail->place.files, source);
    }
}

/* ---- a closed file has to be looked at, or read ---- */

static void look_beside(const char *path, void *arg)
{
    struct tail *tail = (struct tail *)arg;
    char folder[PATH_MAX], name[PATH_MAX + NAME_MAX + 2];
    struct dirent *entry;
    DIR *dir = siblings_open_folder(path, folder);
    if (dir == NULL)
        return;
    while ((entry = readdir(dir)) != NULL) {
        snprintf(name, sizeof(name), "%s%s", folder, entry->d_name);
        tail_look_for_ours(tail, name);
    }
    closedir(dir);
}

void tail_look_beside_targets(struct tail *tail, const char *path)
{
    tail_each_target(tail, path, look_beside, tail);
}

void tail_look_beside(struct tail *tail, const char *path)
{
    char *copy = strdup(path); /* it may be a source's, which may be given another one */
    if (copy == NULL)
        return;
    look_beside(copy, tail);
    tail_look_beside_targets(tail, copy);
    free(copy);
}

int tail_facts(struct tail *tail, const struct source *source, struct file_facts *ret_facts)
{
    if (source->fd != -1)
        return file_facts_fd(source->fd, ret_facts);
    for (int looks = 0; looks < 2 && !source->gone; looks++) {
        if (file_facts(source->path, ret_facts) == 0 && identity_equal(&ret_facts->id, &source->id))
            return 0;
        if (looks == 0)
            tail_look_beside(tail, source->path);
    }
    return -1;
}

/* The path leads nowhere, or to another file. */
static bool is_away(int error)
{
    return error == ENOENT || error == ENOTDIR || error == ESTALE || error == ELOOP;
}

/* There is no descriptor for a file of which nothing was read. Should it be compressed or copied before there is one, it is known by its
 * first bytes. */
void tail_learn_head(struct tail *tail, struct source *source)
{
    struct file_facts facts;
    if (source->fd != -1 || source->begin != BEGIN_AT_START || source->head.len > 0)
        return;
    source->fd = tail_open_to_compare(tail, source->path, &source->id);
    if (source->fd == -1)
        return;
    if (file_facts_fd(source->fd, &facts) == 0)
        source_know_head(source, facts.size);
    if (source->head.len > 0)
        tail_set_mark(tail, source);
    tail_drop_file(tail, source->fd);
    source->fd = -1;
}

/* A file that can't be opened: when is it tried again? */
static void put_off(struct tail *tail, struct source *source, int error)
{
    char what[160];
    if (is_away(error)) { /* tail_tick() tells what is lost */
        tail_clear_name(tail, source);
        return;
    }
    snprintf(what, sizeof(what), "cannot open a file: %s%s", strerror(error),
             error == EMFILE ? "; raise the limit of open files (agent.open_files, LimitNOFILE=)"
                             : "");
    tail_complain(tail, COMPLAINT_OPEN, what, source->path);
    tail_learn_head(tail, source);
    if (error == EMFILE && tail_free_files(tail) == 0)
        tail_wait_for_file(tail, source);
    else
        source->failed = true;
}

/* It had been read to its end: if it holds other text now, nothing of what was seen since is lost. */
static void forget_other_size(struct source *source)
{
    const struct mark mark = tail_mark_of(source);
    struct file_facts facts;
    if (source->seen > source->offset && file_facts_fd(source->fd, &facts) == 0 &&
        source_compare(source->fd, facts.size, &mark) != CONTENT_SAME)
        source->seen = source->offset;
}

int tail_wake(struct tail *tail, struct source *source)
{
    if (source->fd != -1)
        return 0;
    if (source->gone)
        return -1;
    source->fd = tail_open_file(tail, source->path, &source->id);
    if (source->fd == -1 && is_away(errno)) {
        tail_look_beside(tail, source->path);
        source->fd = tail_open_file(tail, source->path, &source->id);
    }
    if (source->fd == -1) {
        put_off(tail, source, errno);
        return -1;
    }
    source->touched = false;
    source->rested = true; /* its first bytes are compared, too */
    if (tail_begin(tail, source) == -1) {
        source->failed = true;
        return -1;
    }
    if (source->fd ==
        -1) { /* it goes on in a compressed file, or a copy, as soon as that can be opened */
        if (!source->ready)
            put_off(tail, source, EMFILE);
        return -1;
    }
    forget_other_size(source);
    return 0;
}
