/* Recovery: every segment is looked through from its beginning to its end, in the order of names; nothing else is believed.
 *
 *   a torn end                       cut off
 *   bytes that are no valid frame    skipped, kept in quarantine, counted; it goes on at the next valid header
 *   a sequence that was seen before  skipped, counted: a segment was copied, or written anew
 *   a hole in the sequence           counted: a segment is missing, or what was damaged
 *   a segment without any frame of its own, of a later version, a link, no file: into quarantine
 *   the ack beyond all frames        new ones begin behind it
 *
 * What stops it is only what a person has to mend: no permission, no memory, no descriptors, a key that is not there. Keys are
 * looked for before anything is changed. Frames may not have been made durable by who wrote them: one fsync for all. */
#include "agent/spool_inner.h"

#include "agent/spool_crypt.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct recovery {
    struct spool *spool;
    struct error *error;
    bool look_only; /* for keys that are not there; all frames of a segment have the same key */
    bool ack_lost;
    struct segment **last;
};

/* What was found of one segment. */
struct finding {
    struct segment_name name;
    int fd;
    uint64_t size;
    struct segment *segment; /* to be added to the spool's */
    uint64_t own;            /* frames that stand nowhere else */
    uint64_t other;          /* frames of other segments */
    uint64_t later;          /* bytes of a later version */
};

static bool stops(int error)
{
    return error == EACCES || error == EPERM || error == ENOMEM || error == EMFILE ||
           error == ENFILE;
}

static int no_key(struct recovery *recovery, const struct finding *found, uint64_t id)
{
    return error_set(recovery->error,
                     "the spool of stream %s is encrypted with the key %016" PRIx64
                     ", which spool.key_file does not have (frame in %s/%020" PRIu64 "-%016" PRIx64
                     ".seg): add that key; nothing was changed",
                     recovery->spool->name, id, recovery->spool->folder, found->name.first,
                     found->name.salt);
}

/* ---- frames ---- */

static void count_hole(struct spool *spool, uint64_t from, uint64_t to)
{
    for (; from < to && from >= spool->dropped_from && from <= spool->dropped_to; from++)
        from = spool->dropped_to;
    if (from >= to)
        return;
    spool->stats.missing_frames += to - from;
    log_error("spool", "stream=%s: frames %" PRIu64 " to %" PRIu64 " are missing",
              log_quote(spool->name), from, to - 1);
}

static bool is_finished(const struct spool *spool, uint64_t sequence)
{
    return sequence <= spool->acked ||
           (sequence >= spool->dropped_from && sequence <= spool->dropped_to);
}

static void count_lost(struct spool *spool, const struct spool_header *header)
{
    if (!is_finished(spool, header->sequence))
        spool->stats.lost_records += header->n_records;
}

/* False: no valid frame, rules 4 and 5. */
static bool take_positions(struct spool *spool, char *bytes, const struct spool_header *header)
{
    struct spool_frame frame;
    struct spool_position position;
    if (spool_frame_open(bytes, header, spool->store->keys, NULL, &frame) != OPEN_OK)
        return false;
    while (spool_frame_position(&frame, &position)) {
        position.frame = is_finished(spool, header->sequence) ? 0 : header->sequence;
        if (spool->events.position != NULL)
            spool->events.position(&position, spool->events.arg);
    }
    return true;
}

static void take_frame(struct recovery *recovery, struct finding *found, struct segment_scan *scan,
                       const struct segment_piece *piece)
{
    struct spool *spool = recovery->spool;
    const struct spool_header *header = &piece->header;
    struct segment *segment = found->segment;
    if (header->sequence < found->name.first || header->sequence <= spool->written) {
        spool->stats.duplicate_frames++;
        found->other++;
        return;
    }
    if (!take_positions(spool, scan->bytes, header)) {
        spool_damaged(spool, found->fd, found->name, piece);
        count_lost(spool, header);
        return;
    }
    uint64_t before = spool->written > spool->acked ? spool->written : spool->acked;
    if (spool->written != 0 || !recovery->ack_lost)
        count_hole(spool, before + 1, header->sequence);
    found->own++;
    spool->written = segment->last = header->sequence;
    segment->oldest = segment->oldest == 0 ? header->time : segment->oldest;
    segment->newest = header->time;
    if (!is_finished(spool, header->sequence)) {
        spool->stats.frames++;
        spool->stats.records += header->n_records;
    }
}

/* Looks through it. -1 and *error. */
static int look_through(struct recovery *recovery, struct finding *found)
{
    struct spool *spool = recovery->spool;
    struct segment_scan scan = {.fd = -1};
    struct segment_piece piece;
    enum segment_found what;
    int result = 0;
    segment_scan_init(&scan, found->fd, found->name.salt, 0, found->size);
    while (result == 0 && (what = segment_next(&scan, &piece)) != FOUND_END) {
        const struct spool_header *header = &piece.header;
        if (what == FOUND_FAILED)
            result = error_set(recovery->error, "no memory for a frame of the spool");
        else if (recovery->look_only && what == FOUND_FRAME && header->cipher != SPOOL_CIPHER_NONE &&
                 !spool_keys_have(spool->store->keys, header->key_id))
            result = no_key(recovery, found, header->key_id);
        if (result == -1 || (recovery->look_only && what != FOUND_FRAME))
            continue;
        if (recovery->look_only)
            break;
        if (what == FOUND_FRAME)
            take_frame(recovery, found, &scan, &piece);
        else if (what == FOUND_LATER)
            found->later = piece.to - piece.from;
        else if (what == FOUND_DAMAGE) {
            spool_damaged(spool, found->fd, found->name, &piece);
            if (piece.known)
                count_lost(spool, header);
        } else if (ftruncate(found->fd, (off_t)piece.from) == 0) {
            spool->stats.torn_bytes += piece.to - piece.from;
            found->size = piece.from;
        }
    }
    segment_scan_fini(&scan);
    return result;
}

/* ---- segments ---- */

/* Into the spool's list, or out of the way. */
static void place(struct recovery *recovery, struct finding *found, const char *name)
{
    struct spool *spool = recovery->spool;
    struct segment *segment = found->segment;
    if (found->own > 0) {
        segment->len = segment->durable_len = found->size;
        segment->fd = found->fd;
        found->segment = NULL;
        found->fd = -1;
        *recovery->last = segment;
        recovery->last = &segment->next;
        spool->stats.segments++;
        spool_account(spool, (int64_t)found->size);
        if (found->later > 0)
            log_error("spool", "stream=%s: %s ends with frames of a later version; they are skipped",
                      log_quote(spool->name), name);
    } else if (found->later > 0) {
        spool_aside_file(spool, name, "is of a later version of splashdam");
    } else if (found->other > 0) {
        spool_aside_file(spool, name, "has only frames that stand in other segments");
    } else if (found->size == 0) {
        unlinkat(spool->fd, name, 0);
    } else {
        spool_aside_file(spool, name, "has no valid frame");
    }
}

static int recover_segment(struct recovery *recovery, struct segment_name name)
{
    char text[SEGMENT_NAME_ROOM];
    struct spool *spool = recovery->spool;
    struct stat st;
    segment_name_format(text, name);
    struct finding found = {.name = name};
    found.fd = segment_open(spool->fd, text, recovery->look_only ? O_RDONLY : O_RDWR);
    if (found.fd == -1 && stops(errno))
        return error_set(recovery->error, "cannot open the spool's %s/%s: %s", spool->folder, text,
                         strerror(errno));
    if (found.fd == -1 || fstat(found.fd, &st) == -1) {
        if (!recovery->look_only)
            spool_aside_file(spool, text, "can't be opened, or is no regular file");
        return 0;
    }
    found.size = (uint64_t)st.st_size;
    found.segment = (struct segment *)calloc(1, sizeof(struct segment));
    int result = -1;
    if (found.segment == NULL) {
        error_set(recovery->error, "out of memory");
    } else {
        *found.segment = (struct segment){.name = name, .last = name.first - 1};
        result = look_through(recovery, &found);
    }
    if (result == 0 && !recovery->look_only)
        place(recovery, &found, text);
    free(found.segment);
    if (found.fd != -1)
        close(found.fd);
    return result;
}

/* ---- fsync ---- */

struct sync_job {
    struct flush_job job;
    struct spool *spool;
};

static void sync_all(struct flush_job *job)
{
    struct spool *spool = ((struct sync_job *)job)->spool;
    int result = 0;
    for (const struct segment *s = spool->segments; s != NULL; s = s->next)
        if (flusher_sync(s->fd) == -1)
            result = -1;
    if (result == -1 || flusher_sync(spool->fd) == -1) {
        spool->stats.fsync_failures++;
        log_error("spool",
                  "stream=%s: fsync of what was found failed: %s; it could be read just now, and "
                  "may be gone after a power cut",
                  log_quote(spool->name), strerror(errno));
    }
}

static void make_durable(struct spool *spool)
{
    struct sync_job sync = {.job = {.run = sync_all}, .spool = spool};
    if (spool->segments != NULL) {
        flusher_submit(spool->store->flusher, &sync.job);
        flusher_wait(spool->store->flusher);
    }
    for (struct segment *s = spool->segments; s != NULL; s = s->next) {
        close(s->fd);
        s->fd = -1;
    }
}

/* ---- all of it ---- */

int spool_recover(struct spool *spool, struct error *error)
{
    struct recovery recovery = {
        .spool = spool, .error = error, .look_only = true, .last = &spool->segments};
    struct segment_name *names = NULL;
    size_t n = 0;
    if (segment_list(spool->fd, &names, &n) == -1)
        return error_set(error, "cannot list the spool's folder %s: %s", spool->folder,
                         strerror(errno));
    int result = 0;
    for (size_t i = 0; i < n && result == 0; i++)
        result = recover_segment(&recovery, names[i]);
    recovery.look_only = false;
    if (result == 0)
        recovery.ack_lost = spool_load_ack(spool) == -1;
    for (size_t i = 0; i < n && result == 0; i++)
        result = recover_segment(&recovery, names[i]);
    free(names);
    if (result == -1)
        return -1;
    make_durable(spool);
    if (spool->dropped_to > spool->written)
        spool->written = spool->dropped_to;
    if (spool->acked > spool->written)
        spool->written = spool->acked;
    spool->durable = spool->written;
    spool->cursor.sequence = spool->acked;
    spool_settle(spool);
    for (struct segment *s = spool->segments; s != NULL; s = s->next)
        if (!s->doomed && s->last <= spool->acked)
            spool_doom(spool, s);
    return 0;
}
