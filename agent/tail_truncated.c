/* A file was truncated, and perhaps written anew. What had not been read of it may stand in a copy that was made just before
 * (copytruncate): then the source goes on in the copy, and the truncated file is the log's next generation. */
#include "agent/content.h"
#include "agent/tail_inner.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum match {
    MATCH_NONE,
    MATCH_SHORTER, /* what it holds was all read before the truncation */
    MATCH_WHOLE,   /* holds all that was read */
};

struct candidate {
    enum match match;
    bool taken;   /* some file that is read already begins as what the source has not read at all */
    bool starved; /* some file could not be opened, as too many are */
    bool held;    /* seen to be the same as the log before the truncation */
    char path[PATH_MAX + NAME_MAX + 2];
    struct file_facts facts;
};

/* The newest position of the source within the file's first `size` bytes; what lies before it was delivered or is on its way. */
static const struct mark *mark_within(const struct source *source, uint64_t size)
{
    const struct mark *best = NULL;
    if (source->position->mark.offset <= size)
        best = &source->position->mark;
    for (const struct range *range = source->first; range != NULL; range = range->next)
        if (range->epoch == source->epoch && range->mark.offset <= size)
            best = &range->mark;
    return best;
}

struct mark tail_mark_of(const struct source *source)
{
    if (source->begin == BEGIN_RESUME) /* not opened yet */
        return source->position->mark;
    return (struct mark){.offset = source->offset,
                         .cut = source->cut,
                         .head = source->head,
                         .tail = source->tail,
                         .shipped = source->shipped};
}

static enum match match_content(struct tail *tail, const struct source *source, int fd,
                                const struct file_facts *facts)
{
    const struct mark all = tail_mark_of(source);
    const struct mark head = {.head = all.head};
    uint64_t same = tail_held_same(tail, source, &facts->id);
    bool later = facts->id.birth == 0 || facts->id.birth >= source->id.birth;
    bool sure = all.head.len == FINGERPRINT_MAX;
    if (same > 0 && same >= (facts->size < all.offset ? facts->size : all.offset))
        return facts->size < all.offset ? MATCH_SHORTER : MATCH_WHOLE;
    if (all.head.len == 0)
        return MATCH_NONE; /* nothing is known to compare */
    if (facts->size >= all.offset)
        return (later || sure) && source_compare(fd, facts->size, &all) == CONTENT_SAME
                   ? MATCH_WHOLE
                   : MATCH_NONE;
    const struct mark *within = mark_within(source, facts->size);
    bool covers = within != NULL && within->offset == facts->size && within->head.len == facts->size;
    if (covers && later && source_compare(fd, facts->size, within) == CONTENT_SAME)
        return MATCH_SHORTER;
    if (!later || !sure || facts->size < FINGERPRINT_MAX ||
        source_compare(fd, facts->size, &head) != CONTENT_SAME)
        return MATCH_NONE;
    return within == NULL || source_compare(fd, facts->size, within) == CONTENT_SAME ? MATCH_SHORTER
                                                                                     : MATCH_NONE;
}

/* Is the file read already, or finished, as what it is now? */
static bool is_taken(struct tail *tail, int fd, const struct file_facts *facts)
{
    struct mark mark;
    const struct source *source = tail_by_id(tail, &facts->id);
    if (source != NULL)
        mark = tail_mark_of(source);
    else if (!positions_find(tail->place.positions, tail->stream->config->name, &facts->id, &mark))
        return false;
    return source_compare(fd, facts->size, &mark) == CONTENT_SAME;
}

/* Nothing of the source was read; is it what this file begins with? */
static bool holds_unread(const struct source *source, int fd, const struct file_facts *facts)
{
    const struct mark mark = tail_mark_of(source);
    return mark.offset == 0 && mark.head.len > 0 &&
           source_compare(fd, facts->size, &mark) == CONTENT_SAME;
}

/* Of copies of the log as it was, the longest. Of files that only begin alike, the oldest: later ones were made of what
 * came after. */
static bool is_better(const struct candidate *one, const struct candidate *than)
{
    if (one->held != than->held)
        return one->held;
    return one->held ? one->facts.size > than->facts.size
                     : one->facts.id.birth < than->facts.id.birth;
}

static void try_candidate(struct tail *tail, const struct source *source, struct candidate *one,
                          struct candidate *best)
{
    int fd = tail_open_to_compare(tail, one->path, &one->facts.id);
    if (fd == -1) {
        best->starved |= errno == EMFILE || errno == ENFILE;
        return;
    }
    one->held = tail_held_same(tail, source, &one->facts.id) > 0;
    one->match = MATCH_NONE;
    if (is_taken(tail, fd, &one->facts))
        best->taken |= holds_unread(source, fd, &one->facts);
    else
        one->match = match_content(tail, source, fd, &one->facts);
    one->starved = best->starved;
    one->taken = best->taken;
    tail_drop_file(tail, fd);
    if (one->match > best->match ||
        (one->match == best->match && one->match != MATCH_NONE && is_better(one, best)))
        *best = *one;
}

static void find_copy(struct tail *tail, const struct source *source, struct candidate *best)
{
    struct candidate one;
    size_t n;
    best->match = MATCH_NONE;
    best->starved = best->taken = false;
    char **paths = tail_list_rotated(tail, source->origin.path.ptr, false, 0, &n);
    for (size_t i = 0; i < n; i++) {
        if ((size_t)snprintf(one.path, sizeof(one.path), "%s", paths[i]) < sizeof(one.path) &&
            file_facts(one.path, &one.facts) == 0 && one.facts.regular)
            try_candidate(tail, source, &one, best);
    }
    free(paths);
}

/* The copy ends before what was read: the positions of what is in flight end there, too. */
static void clamp(struct tail *tail, struct source *source, uint64_t size)
{
    struct mark end;
    uint64_t begin = content_line_start(source->fd, size, source_line_end(source));
    if (content_mark(source->fd, begin, &end) == -1)
        return;
    if (source->shipped.end <= begin)
        end.shipped = source->shipped;
    end.shipped.any = source->shipped.any;
    source_go_on_at(source, &end);
    for (struct range *range = source->first; range != NULL; range = range->next)
        if (range->mark.offset > begin)
            range->mark = end;
    if (source->position->sent.offset > begin)
        source->position->sent = end;
    if (source->position->mark.offset > begin)
        positions_set(tail->place.positions, source->position, &end);
}

/* The log's own file, as the newest generation, from its beginning. */
static void begin_newest(struct tail *tail, struct source *older, const char *path,
                         const struct identity *id, struct position *position, int fd)
{
    bool newest = tail_newest(tail, older->origin.path.ptr) == older;
    struct source *source = tail_new_source(tail, path, id, position, fd);
    if (source == NULL) {
        tail->wants_rescan = true;
        return;
    }
    tail_link_generations(source, older->newer);
    tail_link_generations(older, source);
    if (newest)
        tail_set_newest(tail, source);
    tail_set_name(tail, source, path);
    tail_make_ready(tail, source);
}

/* The birth of the youngest copy that is known then. When a file was compressed tells nothing of when the copy was made. */
static int64_t copied_at(const struct source *source, const struct candidate *copy, bool packed)
{
    int64_t before = tail_youngest_birth(source);
    return packed || copy->facts.id.birth < before ? before : copy->facts.id.birth;
}

/* Takes over fd; -1: the copy is compressed. */
static bool go_on_in(struct tail *tail, struct source *source, const struct candidate *copy, int fd)
{
    const struct identity log_id = source->id;
    const struct mark mark = tail_mark_of(source);
    const uint64_t offset = mark.offset, seen = source->seen;
    struct source *known = tail_by_id(tail, &copy->facts.id);
    char *log = strdup(source->path);
    if (log != NULL && known != NULL)
        tail_retire(tail, known);
    struct position *fresh =
        log == NULL ? NULL
                    : positions_split(tail->place.positions, source->position, &copy->facts.id,
                                      copied_at(source, copy, fd == -1));
    if (fresh == NULL) {
        tail_drop_file(tail, fd);
        free(log);
        return false;
    }
    int log_fd = source->fd;
    tail_remove_id(tail, source);
    source->id = copy->facts.id;
    tail_add_id(tail, source);
    source->fd = fd;
    source_forget_seen(source);
    source->seen = copy->facts.size;
    source->failed = false;
    source->begin = BEGUN;
    source_go_on_at(source, &mark);
    tail_set_name(tail, source, copy->path);
    if (copy->match == MATCH_SHORTER)
        clamp(tail, source, copy->facts.size);
    log_info("tail",
             "the rest of a truncated file is read from its copy path=%s copy=%s offset=%ju "
             "size=%ju",
             log_quote(log), log_quote(copy->path), (uintmax_t)source->offset,
             (uintmax_t)copy->facts.size);
    tail_lost(tail, source, copy->facts.size > offset ? copy->facts.size : offset, seen,
              "written between the copying and the truncation of a log, before it was read");
    tail_drop_held(tail, &copy->facts.id);
    tail_make_ready(tail, source);
    begin_newest(tail, source, log, &log_id, fresh, log_fd);
    tail_settle_held(tail, &log_id, copy->facts.size > offset ? copy->facts.size : offset);
    free(log);
    return true;
}

/* The copy may be compressed by now. */
static enum go_on go_on_compressed(struct tail *tail, struct source *source)
{
    const struct mark mark = tail_mark_of(source);
    struct candidate copy = {.match = MATCH_WHOLE, .path = ""};
    enum packed found = tail_find_packed(tail, source->origin.path.ptr, &mark.head, copy.path);
    if (found != PACKED_FOUND)
        return found == PACKED_LATER ? GO_ON_LATER : GO_ON_NONE;
    if (file_facts(copy.path, &copy.facts) == -1)
        return GO_ON_NONE;
    copy.facts.size = source->seen; /* of the text: not known yet */
    if (!go_on_in(tail, source, &copy, -1))
        return GO_ON_NONE;
    tail_clear_name(tail, source);
    tail_read_packed(tail, source, copy.path);
    return GO_ON_COPY;
}

/* The log's own file waits for a descriptor when there is only one for both. */
static int open_copy(struct tail *tail, struct source *source, const struct candidate *copy)
{
    int fd = tail_open_file(tail, copy->path, &copy->facts.id);
    if (fd != -1 || errno != EMFILE || source->fd == -1)
        return fd;
    tail_close_file(tail, source);
    return tail_open_file(tail, copy->path, &copy->facts.id);
}

enum go_on tail_go_on_in_copy(struct tail *tail, struct source *source)
{
    struct candidate copy;
    if (!tail_bears_log_name(source))
        return GO_ON_NONE;
    find_copy(tail, source, &copy);
    if (copy.match != MATCH_WHOLE && copy.starved)
        return GO_ON_LATER;
    int fd = copy.match == MATCH_NONE ? -1 : open_copy(tail, source, &copy);
    if (fd == -1 && copy.match != MATCH_NONE)
        return GO_ON_LATER;
    if (fd == -1 && copy.taken)
        return GO_ON_TAKEN;
    enum go_on on = GO_ON_NONE;
    if (fd == -1)
        on = go_on_compressed(tail, source);
    else if (go_on_in(tail, source, &copy, fd))
        on = GO_ON_COPY;
    if (on == GO_ON_COPY)
        tail_find_missed_copies(tail, source->origin.path.ptr);
    return on;
}

bool tail_truncated(struct tail *tail, struct source *source)
{
    if (source->unpacked) { /* the start of its file is not there: somebody has been at it */
        tail_lost(tail, source, source->offset, source->seen, "what was decompressed has changed");
        tail_retire(tail, source);
        return true;
    }
    struct file_facts facts = {0};
    const uint64_t offset = source->offset;
    unsigned times;
    file_facts(source->path, &facts);
    enum go_on on = tail_go_on_in_copy(tail, source);
    if (on == GO_ON_LATER) {
        tail_complain(
            tail, COMPLAINT_OPEN,
            "a file was truncated; its copies can't be looked at yet: too many open files",
            source->path);
        source->failed = true;
        return false;
    }
    tail_count(tail, STAT_truncations, 1);
    if (log_allowed(&tail->complaints[COMPLAINT_TRUNCATED], &times))
        log_warn("tail",
                 "truncated%s, reading from the beginning path=%s read=%ju size=%ju times=%u",
                 facts.size < offset ? "" : " and written anew",
                 log_quote(on == GO_ON_COPY ? source->origin.path.ptr : source->path),
                 (uintmax_t)offset, (uintmax_t)facts.size, times);
    if (on == GO_ON_COPY || tail_hold_written_anew(tail, source))
        return true;
    tail_settle_held(tail, &source->id, source->position->mark.offset);
    if (on != GO_ON_TAKEN)
        tail_lost(tail, source, source->offset, source->seen, "truncated before it was read");
    source_restart(source);
    source->seen = facts.size;
    positions_renew(tail->place.positions, source->position);
    tail_set_mark(tail, source);
    tail_make_ready(tail, source);
    tail_find_missed_copies(tail, source->origin.path.ptr);
    return true;
}

/* Its position has them, and goes. */
static void keep_texts(struct source *source)
{
    char *log = strdup(source->origin.path.ptr);
    if (source->path != source->origin.path.ptr)
        free(source->path);
    source->path = log;
    source->origin.path = slice_of(log, log == NULL ? 0 : source->origin.path.len);
}

void tail_retire(struct tail *tail, struct source *source)
{
    tail_leave(tail, source);
    tail_unlink_generations(source);
    keep_texts(source);
    positions_forget(tail->place.positions, &source->position);
    tail_close_file(tail, source);
    source->gone = true;
    source->epoch++; /* what is in flight of it moves nothing */
    source->next_ready = tail->retired;
    tail->retired = source;
}

void tail_free_retired(struct tail *tail, bool all)
{
    struct source **at = &tail->retired;
    while (*at != NULL) {
        struct source *source = *at;
        if (source->first != NULL && !all) {
            at = &source->next_ready;
            continue;
        }
        *at = source->next_ready;
        char *text = source->path;
        tail_free_source(tail, source);
        free(text);
    }
}
