#include "agent/tail.h"

#include "agent/clock.h"
#include "agent/encode.h"
#include "agent/glob.h"
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
/* So long a file without a name must not have grown before it counts as finished. */
#define QUIET_NS (5 * NS_PER_S)

/* ---- sources come and go ---- */

static void free_origin(struct source *source)
{
    free((void *)(uintptr_t)source->origin.json.ptr);
    free((void *)(uintptr_t)source->origin.path.ptr);
}

void tail_free_source(struct tail *tail, struct source *source)
{
    tail_clear_name(tail, source);
    tail_leave_ready(tail, source);
    tail_leave_waiting(tail, source);
    if (source->link != NULL) {
        tail_unset_newest(tail, source);
        tail_remove_id(tail, source);
        *source->link = source->next;
        if (source->next != NULL)
            source->next->link = source->link;
    }
    tail_unlink_generations(source);
    while (source->first != NULL) { /* given up at the end: not delivered, read again next time */
        struct range *range = source->first;
        source->first = range->next;
        batch_give_range(tail->place.pool, range);
    }
    if (source->position != NULL)
        positions_release(tail->place.positions, source->position);
    if (source->fd != -1)
        source_close_file(source->fd);
    tail_free_framing(source);
    free_origin(source);
    free(source->path);
    free(source);
}

int tail_set_origin(struct tail *tail, struct source *source)
{
    struct slice host = tail->stream->host;
    struct slice path = slice_str(source->position->path);
    free_origin(source);
    char *copy = strdup(source->position->path);
    char *json = (char *)malloc(encode_origin_room(host, path) + 1);
    source->origin.path = slice_of(copy, path.len);
    source->origin.json = slice_of(json, 0);
    if (copy == NULL || json == NULL)
        return -1;
    source->origin.json.len = encode_origin(json, host, path);
    return 0;
}

static struct source *source_new(struct tail *tail, const char *path, const struct identity *id,
                                 struct position *position, int fd)
{
    struct source *source = (struct source *)calloc(1, sizeof(*source));
    if (source == NULL) {
        positions_release(tail->place.positions, position);
        source_close_file(fd);
        return NULL;
    }
    source->stream = tail->stream;
    source->fd = fd;
    source->id = *id;
    source->position = position;
    source->last = &source->first;
    source->want = tail->stream->read_size;
    source->path = strdup(path);
    if (source->path == NULL || tail_set_origin(tail, source) == -1 ||
        tail_add_framing(tail, source) == -1 || tail_add_id(tail, source) == -1) {
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

static void set_mark(struct tail *tail, struct source *source)
{
    struct mark mark;
    source_mark(source, &mark);
    positions_set(tail->place.positions, source->position, &mark);
}

/* A file that was known before this start: goes on where it was, if it is still what it was. */
static void resume(struct tail *tail, struct source *source, uint64_t size)
{
    const struct mark *mark = &source->position->mark;
    switch (source_compare(source->fd, size, mark)) {
    case CONTENT_SAME:
        source->offset = mark->offset;
        source->cut = mark->cut;
        source->head = mark->head;
        source->tail = mark->tail;
        return;
    case CONTENT_SHORTER:
        log_warn("tail",
                 "a file is shorter than what was delivered of it: truncated meanwhile, "
                 "it is read from its beginning path=%s delivered=%ju size=%ju",
                 log_quote(source->path), (uintmax_t)mark->offset, (uintmax_t)size);
        break;
    case CONTENT_OTHER:
        log_warn("tail",
                 "a file has other content than what was delivered of it: it is read from "
                 "its beginning path=%s delivered=%ju size=%ju",
                 log_quote(source->path), (uintmax_t)mark->offset, (uintmax_t)size);
        break;
    }
    set_mark(tail, source);
}

/* `start: end`: from the size on; when that is inside a line, from the line after it. */
static void start_at_end(struct tail *tail, struct source *source, uint64_t size)
{
    char last = '\n';
    source->offset = size;
    if (size > 0 && pread(source->fd, &last, 1, (off_t)size - 1) != 1)
        last = '\n';
    source->cut = last != '\n';
    set_mark(tail, source);
}

static void begin_source(struct tail *tail, struct source *source, uint64_t size, bool known)
{
    const struct config_tail *config = &tail->stream->config->tail;
    if (known)
        resume(tail, source, size);
    else if (config->start == START_END && !tail->started &&
             !positions_damaged(tail->place.positions))
        start_at_end(tail, source, size);
    log_info("tail", "%s path=%s inode=%ju offset=%ju size=%ju stream=%s",
             known ? "going on with" : "found", log_quote(source->path), (uintmax_t)source->id.ino,
             (uintmax_t)source->offset, (uintmax_t)size, tail->stream->config->name);
    if (size > source->offset)
        tail_make_ready(tail, source);
}

void tail_complain(struct tail *tail, enum complaint kind, const char *what, const char *path)
{
    unsigned times;
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
    int fd = source_open_file(path, &facts->id);
    if (fd == -1) {
        if (errno == ESTALE)
            tail->wants_rescan = true;
        if (errno == ENOENT || errno == ESTALE)
            return NULL;
        snprintf(what, sizeof(what), "cannot open a file: %s%s", strerror(errno),
                 errno == EMFILE ? "; raise the limit of open files (LimitNOFILE=)" : "");
        tail_complain(tail, COMPLAINT_OPEN, what, path);
        return NULL;
    }
    struct position *position =
        positions_claim(tail->place.positions, tail->stream->config->name, &facts->id,
                        tail_log_of(tail, path, room), tail->place.worker, &known);
    if (position == NULL) {
        if (errno == ENOMEM)
            tail->wants_rescan = true;
        source_close_file(fd);
        return NULL;
    }
    struct source *source = source_new(tail, path, &facts->id, position, fd);
    if (source == NULL)
        return NULL;
    tail_join_generations(tail, source);
    struct source *older = source->older;
    if (older != NULL)
        log_info("tail", "rotated path=%s inode=%ju before=%ju", log_quote(path),
                 (uintmax_t)facts->id.ino, (uintmax_t)older->id.ino);
    begin_source(tail, source, facts->size, known);
    /* A truncated log may have been copied: what was born after it may be its copy. */
    if (older != NULL && tail->started && older->epoch == 0)
        tail_find_missed(tail, source->origin.path.ptr, older->id.birth, source->id.birth);
    return source;
}

/* ---- looking at one path ---- */

void tail_truncated(struct tail *tail, struct source *source, uint64_t size)
{
    struct stats *stats = &tail->stream->stats;
    unsigned times;
    stats_begin(stats);
    stats_add(stats, STAT_truncations, 1);
    stats_end(stats);
    if (log_allowed(&tail->complaints[COMPLAINT_TRUNCATED], &times))
        log_warn("tail",
                 "truncated%s, reading from the beginning path=%s read=%ju size=%ju times=%u",
                 size < source->offset ? "" : " and written anew", log_quote(source->path),
                 (uintmax_t)source->offset, (uintmax_t)size, times);
    source_restart(source);
    set_mark(tail, source);
}

static void look_at_source(struct tail *tail, struct source *source, uint64_t size)
{
    source->looked = tail->rescans;
    if (size < source->offset)
        tail_truncated(tail, source, size);
    if (size < source->offset + source->scanned)
        source->scanned = source->held =
            0; /* what was left was taken back: what comes is other text */
    if (size > source->offset + source->scanned || (source->failed && size > source->offset))
        tail_make_ready(tail, source);
    source->failed = false;
}

/* What rotation compresses has no lines. By name: while it is being written its content doesn't tell yet. */
static bool is_compressed(const char *name)
{
    static const char *const ends[] = {".gz", ".zst", ".xz", ".bz2", ".lz4", ".Z", ".zip"};
    size_t len = strlen(name);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        size_t end = strlen(ends[i]);
        if (len > end && strcmp(name + len - end, ends[i]) == 0)
            return true;
    }
    return false;
}

bool tail_matches(const struct tail *tail, const char *path)
{
    const struct config_tail *config = &tail->stream->config->tail;
    const char *name = strrchr(path, '/') + 1;
    if (is_compressed(name))
        return false;
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

static void appeared(struct tail *tail, const char *path, const struct file_facts *facts)
{
    struct source *source = tail_by_id(tail, &facts->id);
    if (source == NULL) {
        if (!tail_owns(path, tail->place.worker, tail->place.workers) ||
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
    look_at_source(tail, source, facts->size);
}

static void look(struct tail *tail, const char *path)
{
    struct file_facts facts;
    struct source *source = tail_by_path(tail, path);
    if (file_facts(path, &facts) == -1) {
        char what[128];
        snprintf(what, sizeof(what), "cannot look at a file: %s", strerror(errno));
        if (source != NULL)
            tail_clear_name(tail, source);
        else if (errno != ENOENT && errno != ENOTDIR)
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
        look_at_source(tail, source, facts.size);
    else
        appeared(tail, path, &facts);
}

/* A file came to a name that no glob matches: if it is one of ours, its writer may still be at it. */
static void look_for_ours(struct tail *tail, const char *path)
{
    struct file_facts facts;
    struct source *source;
    if (file_facts(path, &facts) == -1 || !facts.regular ||
        (source = tail_by_id(tail, &facts.id)) == NULL)
        return;
    tail_set_name(tail, source, path);
    look_at_source(tail, source, facts.size);
}

/* ---- events and looks at everything ---- */

static bool is_link(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

void tail_event(struct tail *tail, const char *path, uint32_t mask)
{
    if (path == NULL || (mask & (IN_ISDIR | IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) != 0) {
        tail->wants_rescan = true;
        return;
    }
    struct source *source = tail_by_path(tail, path);
    if (source != NULL && (mask & ~(uint32_t)IN_MODIFY) == 0)
        tail_make_ready(tail, source); /* reading sees a truncation, too */
    else if (source != NULL || tail_matches(tail, path))
        look(tail, path);
    else if ((mask & (IN_MOVED_TO | IN_CREATE)) != 0 && is_link(path))
        tail->wants_rescan = true; /* it may lead to a folder that a glob goes through */
    else if ((mask & IN_MOVED_TO) != 0)
        look_for_ours(tail, path);
}

static void on_folder(const char *folder, bool leaf, void *arg)
{
    struct tail *tail = (struct tail *)arg;
    watch_folder(tail->place.watch, folder, leaf);
}

static void on_file(const char *path, void *arg)
{
    struct tail *tail = (struct tail *)arg;
    if (tail_by_path(tail, path) != NULL || tail_matches(tail, path))
        look(tail, path);
}

void tail_rescan(struct tail *tail)
{
    const struct config_tail *config = &tail->stream->config->tail;
    tail->wants_rescan = false;
    if (++tail->rescans % PRUNE_EVERY == 0)
        tail_prune(tail);
    for (size_t i = 0; i < config->paths.n; i++)
        glob_walk(config->paths.items[i], on_folder, on_file, tail);
    for (struct source *source = tail->sources, *next; source != NULL; source = next) {
        next = source->next;
        if (source->named && source->looked != tail->rescans) /* not led to by a glob */
            look(tail, source->path);
    }
}

bool tail_restless(const struct tail *tail)
{
    return tail->wants_rescan || tail->nameless > 0;
}

bool tail_wants_rescan(struct tail *tail)
{
    bool wants = tail->wants_rescan;
    tail->wants_rescan = false;
    return wants;
}

/* ---- files that lost their name ---- */

static void finish(struct tail *tail, struct source *source, const struct file_facts *facts)
{
    uint64_t left = facts->size - source->offset;
    bool gone = facts->links == 0;
    if (left > 0 && gone)
        log_warn("tail", "deleted with an incomplete last line path=%s offset=%ju bytes=%ju",
                 log_quote(source->path), (uintmax_t)source->offset, (uintmax_t)left);
    log_info("tail", "finished with %s file path=%s inode=%ju offset=%ju",
             gone ? "a deleted" : "a renamed", log_quote(source->path), (uintmax_t)source->id.ino,
             (uintmax_t)source->offset);
    if (gone)
        positions_forget(tail->place.positions, &source->position);
    tail_free_source(tail, source);
}

void tail_tick(struct tail *tail)
{
    int64_t now = clock_monotonic();
    for (struct source *source = tail->sources, *next; source != NULL; source = next) {
        struct file_facts facts;
        next = source->next;
        if (source->named || source->ready || file_facts_fd(source->fd, &facts) == -1)
            continue;
        uint64_t seen = source->offset + source->scanned;
        look_at_source(tail, source, facts.size);
        if (source->ready || facts.size != seen || source->first != NULL)
            source->quiet_since = now;
        else if (now - source->quiet_since >= QUIET_NS && !tail_flush_now(tail, source))
            finish(tail, source, &facts);
    }
}
