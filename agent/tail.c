#include "agent/tail.h"

#include "agent/clock.h"
#include "agent/glob.h"
#include "agent/inflate.h"
#include "agent/tail_inner.h"

#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define PRUNE_EVERY 60 /* rescans */

/* ---- sources come and go ---- */

void tail_leave(struct tail *tail, struct source *source)
{
    tail_clear_name(tail, source);
    tail_leave_ready(tail, source);
    tail_leave_holding(tail, source);
    if (source->link == NULL)
        return;
    tail_unset_newest(tail, source);
    tail_remove_id(tail, source);
    *source->link = source->next; /* next stays: who walks the list may stand here */
    if (source->next != NULL)
        source->next->link = source->link;
    source->link = NULL;
}

void tail_free_source(struct tail *tail, struct source *source)
{
    tail_leave(tail, source);
    tail_unlink_generations(source);
    while (source->first != NULL) { /* given up at the end: not delivered, read again next time */
        struct range *range = source->first;
        source->first = range->next;
        batch_give_range(tail->place.pool, range);
    }
    if (source->position != NULL)
        positions_release(tail->place.positions, source->position);
    tail_close_file(tail, source);
    tail_free_framing(source);
    source_forget_json(source);
    if (source->path != source->origin.path.ptr)
        free(source->path);
    free(source);
}

void tail_forget_source(struct tail *tail, struct source *source)
{
    struct position *position = source->position;
    source->position = NULL;
    tail_free_source(tail, source); /* it has texts of the position */
    positions_forget(tail->place.positions, &position);
}

void tail_set_origin(struct source *source)
{
    source_forget_json(source);
    source->origin.path = slice_str(source->position->path);
}

struct source *tail_new_source(struct tail *tail, const char *path, const struct identity *id,
                               struct position *position, int fd)
{
    struct source *source = (struct source *)calloc(1, sizeof(*source));
    if (source == NULL) {
        positions_release(tail->place.positions, position);
        tail_drop_file(tail, fd);
        return NULL;
    }
    source->stream = tail->stream;
    source->fd = fd;
    source->packed_fd = -1;
    source->id = *id;
    source->position = position;
    source->last = &source->first;
    source->want = tail->stream->read_size;
    tail_set_origin(source);
    source->path = tail_copy_path(source, path);
    if (source->path == NULL || tail_add_framing(tail, source) == -1 ||
        tail_add_id(tail, source) == -1) {
        tail_free_source(tail, source);
        return NULL;
    }
    source->link = &tail->sources;
    source->next = tail->sources;
    if (source->next != NULL)
        source->next->link = &source->next;
    tail->sources = source;
    return source;
}

void tail_set_mark(struct tail *tail, struct source *source)
{
    struct mark mark;
    source_mark(source, &mark);
    positions_set(tail->place.positions, source->position, &mark);
}

/* A file that was known before this start: goes on where it was, if it is still what it was, or in its copy. -1: it can't be
 * read now. */
static int resume(struct tail *tail, struct source *source, uint64_t size)
{
    const struct mark *mark = &source->position->mark;
    enum source_content content = source_compare(source->fd, size, mark);
    if (content == CONTENT_UNKNOWN)
        return -1;
    source->begin = BEGUN;
    source_go_on_at(source, mark);
    switch (content) {
    case CONTENT_SAME:
        source->rested = true; /* until its first read it may be written anew, too */
        return 0;
    case CONTENT_SHORTER:
        log_warn("tail",
                 "a file is shorter than what was delivered of it: truncated meanwhile, "
                 "it is read from its beginning path=%s delivered=%ju size=%ju",
                 log_quote(source->path), (uintmax_t)mark->offset, (uintmax_t)size);
        break;
    default:
        log_warn("tail",
                 "a file has other content than what was delivered of it: it is read from "
                 "its beginning path=%s delivered=%ju size=%ju",
                 log_quote(source->path), (uintmax_t)mark->offset, (uintmax_t)size);
        break;
    }
    enum go_on on = tail_go_on_in_copy(tail, source);
    if (on == GO_ON_COPY || on == GO_ON_LATER)
        return 0; /* later: it is found out once more when it is read */
    source_restart(source);
    source->epoch = 0; /* nothing is in flight */
    positions_renew(tail->place.positions, source->position);
    tail_set_mark(tail, source);
    tail_find_missed_copies(tail, source->origin.path.ptr);
    return 0;
}

/* `start: end`: from the size that it had; when that is inside a line, from the line after it. */
static void start_at_end(struct tail *tail, struct source *source)
{
    source->cut = source_is_inside(source);
    tail_set_mark(tail, source);
}

/* Nothing is known of it that would do: closed, it is as if it had not been opened. */
static int begin_later(struct tail *tail, struct source *source)
{
    char what[128];
    snprintf(what, sizeof(what), "cannot read a file, trying again later: %s", strerror(errno));
    tail_complain(tail, COMPLAINT_READ, what, source->path);
    tail_close_file(tail, source);
    return -1;
}

int tail_begin(struct tail *tail, struct source *source)
{
    const enum source_begin begin = source->begin;
    struct file_facts facts;
    if (begin == BEGUN)
        return 0;
    if (file_facts_fd(source->fd, &facts) == -1 ||
        (begin == BEGIN_RESUME && resume(tail, source, facts.size) == -1))
        return begin_later(tail, source);
    source->begin = BEGUN;
    if (begin == BEGIN_AT_END)
        start_at_end(tail, source);
    else if (begin == BEGIN_AT_START)
        source_know_head(source, facts.size);
    if (source->offset == 0 && source->head.len > source->position->mark.head.len)
        tail_set_mark(tail, source);
    log_info("tail", "%s path=%s inode=%ju offset=%ju size=%ju stream=%s",
             begin == BEGIN_RESUME ? "going on with" : "found", log_quote(source->path),
             (uintmax_t)source->id.ino, (uintmax_t)source->offset, (uintmax_t)facts.size,
             tail->stream->config->name);
    return 0;
}

void tail_count(struct tail *tail, enum stat_id stat, uint64_t n)
{
    struct stats *stats = &tail->stream->stats;
    stats_begin(stats);
    stats_add(stats, stat, n);
    stats_end(stats);
}

void tail_complain(struct tail *tail, enum complaint kind, const char *what, const char *path)
{
    unsigned times;
    tail->stirred = true;
    if (log_allowed(&tail->complaints[kind], &times))
        log_warn("tail", "%s path=%s stream=%s times=%u", what, log_quote(path),
                 tail->stream->config->name, times);
}

/* Opens a generation that is not being read yet. NULL: not now, or another worker has it. */
struct source *tail_open_generation(struct tail *tail, const char *path,
                                    const struct file_facts *facts)
{
    char what[128], room[PATH_MAX];
    bool known;
    bool ignored = tail_ignores(tail, facts);
    bool later = ignored || tail->gathering;
    int fd = later ? -1 : tail_open_file(tail, path, &facts->id);
    if (fd == -1 && !later && errno != EMFILE) { /* without a descriptor it waits for one */
        if (errno == ESTALE)
            tail->wants_rescan = true;
        if (errno == ENOENT || errno == ESTALE)
            return NULL;
        snprintf(what, sizeof(what), "cannot open a file: %s", strerror(errno));
        tail_complain(tail, COMPLAINT_OPEN, what, path);
        return NULL;
    }
    struct position *position =
        positions_claim(tail->place.positions, tail->stream->config->name, &facts->id,
                        tail_log_of(tail, path, room), tail->place.worker, &known);
    if (position == NULL) {
        if (errno == ENOMEM)
            tail->wants_rescan = true;
        tail_drop_file(tail, fd);
        return NULL;
    }
    struct source *source = tail_new_source(tail, path, &facts->id, position, fd);
    if (source == NULL)
        return NULL;
    tail_set_out(tail, source, facts, known);
    tail_join_generations(tail, source);
    struct source *older = source->older;
    if (older != NULL)
        log_info("tail", "rotated path=%s inode=%ju before=%ju", log_quote(path),
                 (uintmax_t)facts->id.ino, (uintmax_t)older->id.ino);
    if (fd != -1 && tail_begin(tail, source) == -1)
        fd = -1;
    if (!identity_equal(&source->id, &facts->id))
        return tail_by_id(tail, &facts->id); /* it goes on in a copy, another one reads this file */
    source->seen = ignored ? 0 : facts->size;
    if (!ignored && (fd == -1 || facts->size > source->offset))
        tail_make_ready(tail, source);
    /* A truncated log may have been copied: what was born after it may be its copy. */
    if (older != NULL && tail->started && older->epoch == 0)
        tail_find_missed(tail, source->origin.path.ptr, tail_youngest_birth(older),
                         source->id.birth);
    return source;
}

/* ---- looking at one path ---- */

/* So much of it is there, to be counted as lost should it go before it is read. Not the size of other text in its place: reading finds
 * that out. */
static void see_size(struct source *source, uint64_t size)
{
    const struct mark mark = tail_mark_of(source);
    if (size == source->seen || (source->fd != -1 && !source->unpacked &&
                                 source_compare(source->fd, size, &mark) != CONTENT_SAME))
        return;
    source->seen = size;
}

void tail_look_at(struct tail *tail, struct source *source, const struct file_facts *facts)
{
    const uint64_t size = facts->size;
    source->looked = tail->rescans;
    source->touched = false;
    if (source->begin != BEGUN && tail_ignores(tail, facts))
        return;
    if (size < source->offset) {
        if (source->fd == -1)
            tail_make_ready(tail, source); /* seen once more when it is open */
        else
            tail_truncated(tail, source);
        return;
    }
    see_size(source, size);
    if (source->waiting)
        tail_learn_head(tail, source);
    if (size < source->offset + source->scanned)
        source->scanned = source->held =
            0; /* what was left was taken back: what comes is other text */
    if (size > source->offset + source->scanned || source->failed)
        tail_make_ready(tail, source);
    source->failed = false;
}

/* What rotation compresses has no lines. By name: while it is being written its content doesn't tell yet. */
static bool is_compressed(const char *path)
{
    const char *name = strrchr(path, '/') + 1;
    static const char *const ends[] = {".gz", ".zst", ".xz", ".bz2", ".lz4", ".Z", ".zip"};
    size_t len = strlen(name);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        size_t end = strlen(ends[i]);
        if (len > end && strcmp(name + len - end, ends[i]) == 0)
            return true;
    }
    return false;
}

bool tail_config_matches(const struct config_tail *config, const char *path)
{
    const char *name = strrchr(path, '/') + 1;
    for (size_t i = 0; i < config->exclude.n; i++) {
        const char *exclude = config->exclude.items[i];
        if (strchr(exclude, '/') == NULL ? fnmatch(exclude, name, FNM_NOESCAPE) == 0
                                         : glob_match(exclude, path))
            return false;
    }
    for (size_t i = 0; i < config->paths.n; i++)
        if (glob_match(config->paths.items[i], path))
            return true;
    return false;
}

bool tail_matches(const struct tail *tail, const char *path)
{
    return !is_compressed(path) && tail_config_matches(&tail->stream->config->tail, path);
}

/* The first is told at a level that is seen. */
static void tell_compressed(struct tail *tail, const char *path)
{
    if (!is_compressed(path) || !tail_config_matches(&tail->stream->config->tail, path) ||
        !tail_owns(path, tail->place.worker, tail->place.workers))
        return;
    log_text(tail->told_compressed ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "tail",
             inflate_knows(path)
                 ? "a compressed file: not read, but for what was not read before it was "
                   "compressed path=%s"
                 : "a compressed file of a kind that can't be decompressed here: not read path=%s",
             log_quote(path));
    tail->told_compressed = true;
}

/* Another file has the name now that one of ours had, and no glob matches it. */
static void lose_name(struct tail *tail, const char *path)
{
    struct source *source = tail_by_path(tail, path);
    if (source != NULL)
        tail_clear_name(tail, source);
    tail_copy_event(tail, path, IN_CREATE);
}

static void appeared(struct tail *tail, const char *path, const struct file_facts *facts)
{
    struct source *source = tail_by_id(tail, &facts->id);
    if (source == NULL && !tail_matches(tail, path)) {
        lose_name(tail, path);
        return;
    }
    if (source != NULL && source->unpacked && !tail_read_plain(tail, source, path))
        return;
    if (source == NULL) {
        if (!tail_owns(path, tail->place.worker, tail->place.workers) ||
            tail_hold_copy(tail, path, facts) ||
            (source = tail_open_generation(tail, path, facts)) == NULL)
            return;
        tail_set_name(tail, source, path);
        return;
    }
    struct file_facts now;
    bool elsewhere = source->named && strcmp(source->path, path) != 0 &&
                     file_facts(source->path, &now) == 0 &&
                     identity_equal(&now.id, &source->id); /* a hard link: read once */
    if (!elsewhere)
        tail_set_name(tail, source, path);
    tail_look_at(tail, source, facts);
}

void tail_look(struct tail *tail, const char *path)
{
    struct file_facts facts;
    int error = file_facts(path, &facts) == -1 ? errno : 0;
    if (facts.link || tail->links != NULL)
        tail_follow_link(tail, path,
                         facts.link && error != ELOOP &&
                             tail_owns(path, tail->place.worker, tail->place.workers));
    if (facts.link) /* before its folder was watched, what it leads to may have come, or grown, without an event */
        error = file_facts(path, &facts) == -1 ? errno : 0;
    struct source *source = tail_by_path(tail, path);
    if (error != 0) {
        char what[128];
        snprintf(what, sizeof(what), "cannot look at a file: %s", strerror(error));
        if (source != NULL)
            tail_clear_name(tail, source);
        else if (error != ENOENT && error != ENOTDIR)
            tail_complain(tail, COMPLAINT_OPEN, what, path);
        return;
    }
    if (!facts.regular) {
        if (source != NULL)
            tail_clear_name(tail, source);
        tail_complain(tail, COMPLAINT_KIND, "not a regular file: not read", path);
        return;
    }
    if (source != NULL && identity_equal(&source->id, &facts.id))
        tail_look_at(tail, source, &facts);
    else
        appeared(tail, path, &facts);
}

/* A file came to a name that no glob matches: if it is one of ours, its writer may still be at it. */
void tail_look_for_ours(struct tail *tail, const char *path)
{
    struct file_facts facts;
    const struct source *source;
    if (file_facts(path, &facts) == 0 && facts.regular &&
        (source = tail_by_id(tail, &facts.id)) != NULL && !source->unpacked)
        appeared(tail, path, &facts);
}

/* ---- events and looks at everything ---- */

static bool is_link(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

void tail_modified(struct tail *tail, struct source *source)
{
    if (source->fd == -1) {
        tail_look(tail, source->path); /* should it be gone before it is opened, its size is known */
        source->touched = !source->named;
        if (source->touched)
            return;
    }
    tail_make_ready(tail, source); /* reading sees a truncation, too */
}

static void events_were_lost(struct tail *tail)
{
    tail_count(tail, STAT_watch_overflows, 1);
    tail->wants_rescan = true;
}

/* Folders above those of the logs may see much that is nothing to us: /tmp, /var. */
static bool leads_to_files(const struct tail *tail, const char *folder)
{
    const struct option_list *paths = &tail->stream->config->tail.paths;
    for (size_t i = 0; i < paths->n; i++)
        if (glob_leads(paths->items[i], folder))
            return true;
    return tail_link_leads(tail, folder);
}

void tail_event(struct tail *tail, const char *path, uint32_t mask)
{
    if (path == NULL) {
        events_were_lost(tail);
        return;
    }
    if ((mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) != 0) {
        tail->wants_rescan = true;
        return;
    }
    if ((mask & IN_ISDIR) != 0) {
        tail->wants_rescan |= leads_to_files(tail, path);
        return;
    }
    if (tail->links != NULL)
        tail_link_event(tail, path, mask);
    struct source *source = tail_by_path(tail, path);
    if (source != NULL && (mask & ~(uint32_t)IN_MODIFY) == 0)
        tail_modified(tail, source);
    else if (source != NULL || tail_matches(tail, path))
        tail_look(tail, path);
    else if ((mask & (IN_MOVED_TO | IN_CREATE)) != 0 && is_link(path))
        tail->wants_rescan |=
            leads_to_files(tail, path); /* it may lead to a folder that a glob goes through */
    else {
        if ((mask & IN_MOVED_TO) != 0)
            tail_look_for_ours(tail, path);
        tail_copy_event(tail, path, mask);
        if ((mask & (IN_MOVED_TO | IN_CREATE)) != 0)
            tell_compressed(tail, path);
    }
}

static void on_folder(const char *folder, bool leaf, void *arg)
{
    struct tail *tail = (struct tail *)arg;
    tail_watch_folder(tail, folder, leaf);
}

static void pass_by(const char *path, void *arg)
{
    (void)path;
    (void)arg;
}

void tail_watch_again(struct tail *tail)
{
    const struct option_list *paths = &tail->stream->config->tail.paths;
    for (size_t i = 0; i < paths->n; i++)
        glob_walk(paths->items[i], on_folder, pass_by, tail);
}

void tail_on_file(const char *path, void *arg)
{
    struct tail *tail = (struct tail *)arg;
    if (tail_by_path(tail, path) != NULL || tail_matches(tail, path))
        tail_look(tail, path);
    else if (tail->rescans == 1)
        tell_compressed(tail, path);
}

void tail_rescan(struct tail *tail)
{
    const struct config_tail *config = &tail->stream->config->tail;
    tail->wants_rescan = false;
    if (++tail->rescans % PRUNE_EVERY == 0)
        tail_prune(tail);
    tail->gathering = config->read_order != ORDER_FOUND;
    for (size_t i = 0; i < config->paths.n; i++)
        glob_walk(config->paths.items[i], on_folder, tail_on_file, tail);
    tail_poll_sweep(tail);
    for (struct source *source = tail->sources, *next; source != NULL; source = next) {
        next = source->next;
        if (source->named && source->looked != tail->rescans) /* not led to by a glob */
            tail_look(tail, source->path);
        if (tail_is_copied(source) &&
            source->offset == 0) /* else its truncation is seen by reading it */
            tail_ask_for_missed_copies(tail, source->origin.path.ptr);
    }
    tail_look_for_missed(tail);
    if (tail->renamed_left)
        tail_find_renamed(tail);
    tail_link_sweep(tail);
    if (tail->gathering)
        tail_order_found(tail);
    tail->gathering = false;
    tail_look_at_held(tail);
    tail_close_idle(tail);
    tail_forget_rotated(tail);
}

bool tail_restless(const struct tail *tail)
{
    return tail->wants_rescan || tail->nameless > 0 || tail->first_waiting != NULL ||
           tail_holds_pending(tail);
}

bool tail_wants_rescan(struct tail *tail)
{
    bool wants = tail->wants_rescan;
    tail->wants_rescan = false;
    return wants;
}
