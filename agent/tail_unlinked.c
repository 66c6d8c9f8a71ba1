/* Files that have lost their name: read to their end through their descriptor, as long as there is room for that. */
#include "agent/clock.h"
#include "agent/tail_inner.h"
#include "agent/writers.h"

#include <limits.h>

/* So long a file must not have grown when it can't be told whether somebody still writes to it. */
#define QUIET_UNKNOWN_NS (20 * NS_PER_S)

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
        tail_forget_source(tail, source);
    else
        tail_free_source(tail, source);
}

void tail_finish_unpacked(struct tail *tail, struct source *source, bool grew)
{
    if (grew) { /* what was read may still be undone */
        tail_make_ready(tail, source);
        return;
    }
    if (tail_flush_now(tail, source))
        return;
    if (source->scanned > 0)
        log_warn("tail",
                 "a compressed file ends with an incomplete line path=%s offset=%ju bytes=%zu",
                 log_quote(source->path), (uintmax_t)source->offset, source->scanned);
    tail_leave_ready(tail, source);
    tail_leave_holding(tail, source);
    tail_close_file(tail, source);
    source->gone = source->unlinked = true; /* and freed when what is in flight is delivered */
}

/* ---- those that were closed when they lost it ---- */

static bool same_folder(const char *a, const char *b)
{
    size_t len = (size_t)(strrchr(a, '/') - a) + 1;
    return strncmp(a, b, len) == 0 && strchr(b + len, '/') == NULL;
}

static void could_not_be_read(struct tail *tail, struct source *source)
{
    tail_leave_ready(tail, source);
    source->gone = true;
    if (source->seen > source->offset + source->scanned)
        tail_lost(tail, source, source->offset, source->seen, "deleted before it was opened");
    else if (source->scanned > 0)
        log_warn("tail", "deleted with an incomplete last line path=%s offset=%ju bytes=%zu",
                 log_quote(source->path), (uintmax_t)source->offset, source->scanned);
    else if (source->touched)
        log_warn("tail",
                 "deleted or moved away while it was closed: what was written to it behind the "
                 "offset, if anything, is lost path=%s inode=%ju offset=%ju",
                 log_quote(source->path), (uintmax_t)source->id.ino, (uintmax_t)source->offset);
}

/* Gone, or only renamed? Its folder tells; `looked` is a path of the folder that was looked into last. */
static void tick_closed(struct tail *tail, struct source *source, char looked[PATH_MAX])
{
    if (!source->gone && same_folder(source->path, looked)) {
        tail_look_beside_targets(tail, source->path);
    } else if (!source->gone) {
        size_t len = strlen(source->path);
        tail_look_beside(tail, source->path);
        if (!source->named)
            memcpy(looked, source->path, len < PATH_MAX ? len + 1 : 0);
    }
    if (source->named)
        return;
    if (!source->gone && tail_unpack(tail, source))
        return;
    if (!source->gone)
        could_not_be_read(tail, source);
    if (source->first != NULL)
        return;
    log_info("tail", "finished with a file that is gone path=%s inode=%ju offset=%ju",
             log_quote(source->path), (uintmax_t)source->id.ino, (uintmax_t)source->offset);
    if (source->unlinked)
        tail_forget_source(tail, source);
    else
        tail_free_source(tail, source);
}

/* ---- too much to be kept ---- */

static uint64_t unread_of(const struct source *source, struct file_facts *ret_facts)
{
    if (source->named || source->unpacked || source->fd == -1 ||
        file_facts_fd(source->fd, ret_facts) == -1 || ret_facts->links > 0 ||
        ret_facts->size < source->offset)
        return 0;
    return ret_facts->size - source->offset;
}

/* Until no more than `limit` bytes are left, the file that was found first goes first. */
static void give_up(struct tail *tail, uint64_t unread, uint64_t limit)
{
    struct file_facts facts;
    while (unread > limit) {
        struct source *oldest = NULL;
        for (struct source *source = tail->sources; source != NULL; source = source->next)
            if (unread_of(source, &facts) > 0 &&
                (oldest == NULL || source->position->sequence < oldest->position->sequence))
                oldest = source;
        if (oldest == NULL)
            return;
        uint64_t bytes = unread_of(oldest, &facts);
        tail_lost(tail, oldest, oldest->offset, oldest->offset + bytes,
                  "deleted with more unread than tail.unlinked_max_bytes");
        unread -= bytes < unread ? bytes : unread;
        tail_leave_ready(tail, oldest);
        tail_leave_holding(tail, oldest);
        tail_close_file(tail, oldest);
        oldest->gone = oldest->unlinked = true; /* and freed when what is in flight is delivered */
    }
}

/* Will there be no more in it? As long as somebody has it open for writing it costs no disk space to wait. */
static bool is_over(const struct tail *tail, const struct source *source,
                    const struct file_facts *facts, int64_t now)
{
    int64_t quiet = now - source->quiet_since;
    if (facts->links == 0 && tail->stream->config->tail.close_removed)
        return true;
    if (quiet < QUIET_NS)
        return false;
    enum writers writers = writers_of(source->fd);
    return writers == WRITERS_NONE || (writers == WRITERS_UNKNOWN && quiet >= QUIET_UNKNOWN_NS);
}

void tail_tick(struct tail *tail)
{
    const struct config_tail *config = &tail->stream->config->tail;
    char looked[PATH_MAX] = "";
    int64_t now = clock_monotonic();
    uint64_t unread = 0;
    if (tail_holds_pending(tail))
        tail_look_at_held(tail);
    for (struct source *source = tail->sources, *next; source != NULL; source = next) {
        struct file_facts facts;
        next = source->next;
        if (source->named || source->position == NULL) /* retired since `next` was taken */
            continue;
        if (source->packed || source->inflate != NULL) {
            source->failed = false;
            tail_make_ready(tail, source);
        }
        if (source->packed)
            continue;
        if (source->fd == -1) {
            tick_closed(tail, source, looked);
            continue;
        }
        unread += unread_of(source, &facts);
        if (source->ready || file_facts_fd(source->fd, &facts) == -1)
            continue;
        uint64_t seen = source->offset + source->scanned;
        tail_look_at(tail, source, &facts);
        if (source->ready || facts.size != seen || source->first != NULL)
            source->quiet_since = now;
        else if (is_over(tail, source, &facts, now) && !tail_flush_now(tail, source))
            finish(tail, source, &facts);
    }
    if (config->unlinked_max > 0 && unread > config->unlinked_max)
        give_up(tail, unread, config->unlinked_max);
    tail_close_idle(tail);
}
