/* Copies of a log, made to truncate the log in place (copytruncate): until the log is truncated, what they hold is in the log, too,
 * and is read there. Such a file is held: not read, looked at again when it changes. What becomes of it:
 *   the log is truncated     the copy is read on from where the log was (tail_truncated.c)
 *   it gets lines of its own it is read from the line on in which it first differs from the log, once the log is delivered so far
 */
#include "agent/content.h"
#include "agent/tail_inner.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/inotify.h>

#define COMPARE_MOST ((uint64_t)16 << 20) /* bytes in one look */

struct held {
    char *path;
    struct identity id;
    struct identity of; /* the log's file */
    uint64_t same;      /* it was seen to be equal to the log's file up to there */
    uint64_t compared;  /* byte for byte */
    bool own;           /* has lines of its own, and no glob matches it */
    bool pending;       /* looked at by tail_tick() until that is over */
    struct line_end end;
    unsigned looked; /* the look in which it had its turn */
    struct held *next;
};

static struct held *find_held(const struct tail *tail, const struct identity *id)
{
    struct held *held = tail->held;
    while (held != NULL && !identity_equal(&held->id, id))
        held = held->next;
    return held;
}

static void drop(struct tail *tail, struct held *held)
{
    struct held **at = &tail->held;
    while (*at != held)
        at = &(*at)->next;
    *at = held->next;
    free(held->path);
    free(held);
}

void tail_drop_held(struct tail *tail, const struct identity *id)
{
    struct held *held = find_held(tail, id);
    if (held != NULL)
        drop(tail, held);
}

void tail_free_held(struct tail *tail)
{
    while (tail->held != NULL)
        drop(tail, tail->held);
}

static struct held *hold(struct tail *tail, const char *path, const struct identity *id,
                         const struct source *log)
{
    struct held *held = (struct held *)calloc(1, sizeof(*held));
    char *copy = strdup(path);
    if (held == NULL || copy == NULL) {
        free(held);
        free(copy);
        return NULL;
    }
    *held = (struct held){
        .path = copy, .id = *id, .of = log->id, .end = *source_line_end(log), .next = tail->held};
    tail->held = held;
    return held;
}

uint64_t tail_held_same(const struct tail *tail, const struct source *log, const struct identity *id)
{
    const struct held *held = find_held(tail, id);
    return held != NULL && identity_equal(&held->of, &log->id) ? held->same : 0;
}

bool tail_bears_log_name(const struct source *source)
{
    struct file_facts facts;
    const char *log = source->origin.path.ptr;
    return strcmp(source->path, log) == 0 && file_facts(log, &facts) == 0 &&
           identity_equal(&facts.id, &source->id);
}

/* The source that reads the log's own file, which is looked at first where it isn't known yet. NULL: there is none. */
static struct source *source_of_log(struct tail *tail, const char *path)
{
    char room[PATH_MAX];
    const char *log = tail_log_of(tail, path, room);
    if (log == path)
        return NULL;
    struct source *source = tail_newest(tail, log);
    if (source == NULL || !tail_bears_log_name(source)) {
        tail_look(tail, log);
        source = tail_newest(tail, log);
    }
    return source != NULL && tail_bears_log_name(source) ? source : NULL;
}

enum verdict {
    VERDICT_HELD,
    VERDICT_OTHER, /* a file of its own */
    VERDICT_OWN,   /* has lines of its own from *ret_begin on */
    VERDICT_ANEW,  /* the log's file holds something else than what was read of it */
};

static enum verdict judge_lines(struct source *log, struct held *held, int fd, uint64_t common,
                                uint64_t *ret_begin)
{
    *ret_begin = content_line_start(fd, common, source_line_end(log));
    held->pending = true;
    return log->position->mark.offset >= *ret_begin ? VERDICT_OWN : VERDICT_HELD;
}

/* `ours`: the log's file, open, with `ours_size` bytes; `still`: it bears the log's name. */
static enum verdict compare_copy(struct source *log, struct held *held, int ours, uint64_t ours_size,
                                 int fd, uint64_t size, bool still, uint64_t *ret_begin)
{
    if (size < held->same)
        held->same = held->compared = 0; /* it was written anew itself */
    held->pending = !still;
    uint64_t both = size < ours_size ? size : ours_size;
    size_t head = both < FINGERPRINT_MAX ? (size_t)both : FINGERPRINT_MAX;
    if (size == 0)
        return VERDICT_HELD;
    if (head == 0 || (held->same == 0 && !content_same(fd, ours, 0, head)))
        return VERDICT_OTHER;
    size_t end = size < TAIL_MAX ? (size_t)size : TAIL_MAX;
    if (size <= ours_size && content_same(fd, ours, size - end, end)) {
        held->same = size;
        return still ? VERDICT_HELD : judge_lines(log, held, fd, size, ret_begin);
    }
    switch (content_common(fd, ours, both, COMPARE_MOST, &held->compared)) {
    case COMMON_LATER: held->pending = true; return VERDICT_HELD;
    case COMMON_ALL:
        if (size <= ours_size)
            return VERDICT_HELD;
        break;
    case COMMON_PART: break;
    }
    return judge_lines(log, held, fd, held->compared, ret_begin);
}

/* The log may be truncated at any moment, also while both are compared: so it is asked once more before the copy is taken for
 * a file with other text. */
static enum verdict judge(struct source *log, struct held *held, int ours, int fd, uint64_t size,
                          uint64_t *ret_begin)
{
    struct file_facts facts;
    if (file_facts_fd(ours, &facts) == -1)
        return VERDICT_OTHER;
    bool still = tail_bears_log_name(log);
    if (log->offset == 0 && ours == log->fd)
        source_know_head(log, facts.size);
    const struct mark mark = tail_mark_of(log);
    if (still && source_compare(ours, facts.size, &mark) != CONTENT_SAME)
        return VERDICT_ANEW;
    if (facts.size > log->seen)
        log->seen = facts.size;
    const struct held before = *held;
    enum verdict verdict = compare_copy(log, held, ours, facts.size, fd, size, still, ret_begin);
    if (verdict == VERDICT_HELD || !still || file_facts_fd(ours, &facts) == -1 ||
        source_compare(ours, facts.size, &mark) == CONTENT_SAME)
        return verdict;
    held->same = before.same;
    held->compared = before.compared;
    return VERDICT_ANEW;
}

/* From now on the file is one that was known before: read from `begin` on. */
static void remember(struct tail *tail, const char *path, const struct file_facts *facts, int fd,
                     uint64_t begin)
{
    char room[PATH_MAX];
    struct mark mark;
    bool known;
    if (content_mark(fd, begin, &mark) == -1)
        return;
    struct position *position =
        positions_claim(tail->place.positions, tail->stream->config->name, &facts->id,
                        tail_log_of(tail, path, room), tail->place.worker, &known);
    if (position == NULL)
        return;
    positions_set(tail->place.positions, position, &mark);
    tail_note_copy(tail, position->path, facts->id.birth);
    positions_release(tail->place.positions, position);
    log_info("tail", "a copy of a log is read from where it has lines of its own path=%s offset=%ju",
             log_quote(path), (uintmax_t)begin);
}

/* It was read before, or is known to be finished, and still is what it was. */
static bool is_known(struct tail *tail, int fd, const struct file_facts *facts)
{
    struct mark mark;
    return positions_find(tail->place.positions, tail->stream->config->name, &facts->id, &mark) &&
           source_compare(fd, facts->size, &mark) == CONTENT_SAME;
}

/* All of the log's file up to `covered` is delivered or read elsewhere, so is what the copy had in common with it. */
static bool outlived(struct tail *tail, struct held *held, const struct file_facts *facts, int fd,
                     uint64_t covered)
{
    uint64_t same = held->same > held->compared ? held->same : held->compared;
    if (same > facts->size)
        same = facts->size;
    if (same > covered)
        same = covered;
    if (same > 0)
        remember(tail, held->path, facts, fd, content_line_start(fd, same, &held->end));
    drop(tail, held);
    return false;
}

static bool hold_open(struct tail *tail, const char *path, const struct file_facts *facts, int fd)
{
    struct held *held = find_held(tail, &facts->id);
    struct source *log = held != NULL ? tail_by_id(tail, &held->of) : source_of_log(tail, path);
    uint64_t begin = 0;
    if (held != NULL && log == NULL)
        return outlived(tail, held, facts, fd, UINT64_MAX);
    if (held != NULL && log->unpacked) /* what is decompressed has a hole: nothing to compare with */
        return held->pending = true;
    if (log == NULL || identity_equal(&log->id, &facts->id) || is_known(tail, fd, facts))
        return tail_by_id(tail, &facts->id) != NULL;
    if (held == NULL && facts->id.birth != 0 && facts->id.birth < log->id.birth)
        return false;
    if (held == NULL && (held = hold(tail, path, &facts->id, log)) == NULL)
        return false;
    int ours = log->fd != -1 ? log->fd : tail_open_to_compare(tail, log->path, &log->id);
    enum verdict verdict =
        ours == -1 ? VERDICT_HELD : judge(log, held, ours, fd, facts->size, &begin);
    if (ours != -1 && ours != log->fd)
        tail_drop_file(tail, ours);
    if (verdict == VERDICT_HELD)
        return true;
    if (verdict == VERDICT_ANEW) {
        if (log->fd == -1 || !tail_truncated(tail, log)) {
            tail_make_ready(tail, log); /* reading it finds that out, and this copy */
            return held->pending = true;
        }
        return tail_by_id(tail, &facts->id) != NULL || hold_open(tail, path, facts, fd);
    }
    if (verdict == VERDICT_OWN && !tail_matches(tail, path)) { /* what is its own is nothing to us */
        held->pending = false;
        return held->own = true; /* stays, so that it is not compared from its beginning each time */
    }
    drop(tail, held);
    if (verdict == VERDICT_OWN)
        remember(tail, path, facts, fd, begin);
    return false;
}

void tail_settle_held(struct tail *tail, const struct identity *log, uint64_t covered)
{
    struct file_facts facts;
    for (struct held *held = tail->held, *next; held != NULL; held = next) {
        next = held->next;
        if (!identity_equal(&held->of, log))
            continue;
        int fd = tail_open_to_compare(tail, held->path, &held->id);
        if (fd == -1 || held->own || file_facts_fd(fd, &facts) == -1)
            drop(tail, held); /* gone, or told anew by its content */
        else
            outlived(tail, held, &facts, fd, covered);
        if (fd != -1)
            tail_drop_file(tail, fd);
    }
}

bool tail_hold_copy(struct tail *tail, const char *path, const struct file_facts *facts)
{
    char base[PATH_MAX];
    if (!tail_rotation_base(path, base))
        return false;
    int fd = tail_open_to_compare(tail, path, &facts->id);
    if (fd == -1) { /* what is known is opened when it can be; else it is looked at again later */
        struct mark mark;
        return errno == EMFILE && !positions_find(tail->place.positions, tail->stream->config->name,
                                                  &facts->id, &mark);
    }
    bool held = hold_open(tail, path, facts, fd);
    tail_drop_file(tail, fd);
    return held;
}

bool tail_hold_written_anew(struct tail *tail, struct source *source)
{
    struct file_facts facts;
    if (!source->named || strcmp(source->path, source->origin.path.ptr) == 0 ||
        file_facts(source->path, &facts) == -1 || !identity_equal(&facts.id, &source->id) ||
        !tail_hold_copy(tail, source->path, &facts))
        return false;
    if (source->position != NULL && find_held(tail, &facts.id) != NULL)
        tail_retire(tail, source);
    return source->position == NULL;
}

bool tail_holds_pending(const struct tail *tail)
{
    const struct held *held = tail->held;
    while (held != NULL && !held->pending)
        held = held->next;
    return held != NULL;
}

void tail_look_at_held(struct tail *tail)
{
    struct file_facts facts;
    char path[PATH_MAX];
    tail->held_looks++;
    for (struct held *held = tail->held, *next; held != NULL; held = next) {
        next = held->next;
        if (held->looked == tail->held_looks)
            continue;
        held->looked = tail->held_looks;
        if (file_facts(held->path, &facts) == -1 || !identity_equal(&facts.id, &held->id)) {
            drop(tail, held); /* gone, or found again under its new name */
        } else if (held->pending && strlen(held->path) < sizeof(path)) {
            memcpy(path, held->path, strlen(held->path) + 1);
            if (tail_matches(tail, path))
                tail_look(tail, path);
            else {
                held->pending = false; /* unless it is found to be so again */
                tail_copy_event(tail, path, IN_MODIFY);
            }
            next = tail->held; /* the list may be another one now */
        }
    }
}

void tail_look_for_copies(struct tail *tail, const struct source *log)
{
    for (struct held *held = tail->held; held != NULL; held = held->next)
        held->pending |= identity_equal(&held->of, &log->id);
    tail_look_at_held(tail);
    if (tail_is_copied(log))
        tail_find_missed_copies(tail, log->origin.path.ptr);
}

void tail_copy_event(struct tail *tail, const char *path, uint32_t mask)
{
    char base[PATH_MAX];
    if ((mask & (IN_CREATE | IN_MOVED_TO | IN_MODIFY | IN_CLOSE_WRITE)) == 0 ||
        !tail_rotation_base(path, base))
        return;
    const struct source *log = tail_newest(tail, base);
    struct file_facts facts;
    if (log == NULL || file_facts(path, &facts) == -1 || !facts.regular ||
        tail_by_id(tail, &facts.id) != NULL || facts.id.birth < log->id.birth)
        return;
    if (tail_hold_copy(tail, path, &facts))
        return;
    log = tail_newest(tail, base);
    if (log != NULL && log->offset == 0) /* else its truncation is seen by reading it */
        tail_find_missed_copies(tail, base);
}
