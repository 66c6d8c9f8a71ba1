/* Reading in order, and acknowledging.
 *
 * The cursor goes through segments by sequence, so it does not matter when one of them is deleted or written anew behind its
 * back. What it has read stands in a ring until everything before it is acknowledged, too. */
#include "agent/spool_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- the cursor ---- */

void spool_cursor_reset(struct spool *spool)
{
    struct spool_cursor *cursor = &spool->cursor;
    if (cursor->segment != NULL)
        close(cursor->scan.fd);
    cursor->segment = NULL;
    cursor->scan.fd = -1;
}

/* Opens the first segment in which something behind the cursor stands. False: there is none. */
static bool cursor_open(struct spool *spool)
{
    struct spool_cursor *cursor = &spool->cursor;
    char name[SEGMENT_NAME_ROOM];
    for (struct segment *s = spool->segments; s != NULL; s = s->next) {
        if (s->doomed || s->last <= cursor->sequence)
            continue;
        segment_name_format(name, s->name);
        /* One that is being written to is read through the same file, whatever its name leads to by now. */
        int fd = s->fd != -1 ? fcntl(s->fd, F_DUPFD_CLOEXEC, 0)
                             : segment_open(spool->fd, name, O_RDONLY);
        if (fd == -1) {
            const int error = errno;
            spool_complain(spool, COMPLAIN_DAMAGE, "cannot open a segment", error);
            if (error != ENOENT && error != ELOOP && error != ENXIO)
                return false; /* such as for want of a descriptor: later */
            /* It is gone: what is behind it is still to be had. */
            spool->stats.missing_frames += s->last - cursor->sequence;
            cursor->sequence = s->last;
            continue;
        }
        cursor->segment = s;
        segment_scan_init(&cursor->scan, fd, s->name.salt, 0, s->len);
        return true;
    }
    return false;
}

int spool_cursor_reserve(struct spool *spool)
{
    struct spool_cursor *cursor = &spool->cursor;
    if (cursor->n < cursor->room)
        return 0;
    assert(cursor->n == cursor->room);
    size_t room = cursor->room == 0 ? 64 : cursor->room * 2;
    struct spool_flight *ring = (struct spool_flight *)malloc(room * sizeof(*ring));
    if (ring == NULL)
        return -1;
    for (size_t i = 0; i < cursor->n; i++)
        ring[i] = cursor->flights[(cursor->first + i) % cursor->room];
    free(cursor->flights);
    cursor->flights = ring;
    cursor->room = room;
    cursor->first = 0;
    return 0;
}

void spool_cursor_pass(struct spool *spool, uint64_t sequence, uint32_t n_records)
{
    struct spool_cursor *cursor = &spool->cursor;
    assert(cursor->n < cursor->room);
    cursor->flights[(cursor->first + cursor->n++) % cursor->room] =
        (struct spool_flight){sequence, n_records, false};
    cursor->sequence = sequence;
}

/* The frame that the scan has found. */
static enum spool_read take(struct spool *spool, const struct segment_piece *piece,
                            struct arena *arena, struct spool_frame *ret_frame)
{
    struct spool_cursor *cursor = &spool->cursor;
    const struct spool_header *header = &piece->header;
    enum spool_open_result result =
        spool_frame_open(cursor->scan.bytes, header, spool->store->keys, arena, ret_frame);
    if (result == OPEN_FULL || (result == OPEN_OK && spool_cursor_reserve(spool) == -1)) {
        cursor->scan.at = piece->from;
        return SPOOL_READ_FULL;
    }
    if (result == OPEN_OK) {
        spool_cursor_pass(spool, header->sequence, header->n_records);
        return SPOOL_READ;
    }
    cursor->sequence = header->sequence;
    /* Its sum was right: made by somebody else, or of a key that was taken away meanwhile. */
    spool_damaged(spool, cursor->scan.fd, cursor->segment->name, piece);
    return SPOOL_READ_END;
}

/* A crash came before its segment was deleted. */
static bool is_given_up(const struct spool *spool, const struct spool_header *header)
{
    return header->sequence >= spool->dropped_from && header->sequence <= spool->dropped_to;
}

enum spool_read spool_next(struct spool *spool, struct arena *arena, struct spool_frame *ret_frame)
{
    struct spool_cursor *cursor = &spool->cursor;
    struct segment_piece piece;
    enum spool_read result = SPOOL_READ_END;
    pthread_mutex_lock(&spool->lock);
    while (result == SPOOL_READ_END && (cursor->segment != NULL || cursor_open(spool))) {
        struct segment *segment = cursor->segment;
        cursor->scan.end = segment->len;
        switch (segment_next(&cursor->scan, &piece)) {
        case FOUND_FRAME:
            if (piece.header.sequence > cursor->sequence && !is_given_up(spool, &piece.header))
                result = take(spool, &piece, arena, ret_frame);
            break;
        case FOUND_FAILED: result = SPOOL_READ_FULL; break;
        case FOUND_END:
            /* What it had and could not be read was counted where it was found. */
            if (segment->last > cursor->sequence)
                cursor->sequence = segment->last;
            if (segment == spool->current)
                goto out; /* more may come: it goes on there */
            spool_cursor_reset(spool);
            break;
        default: spool_damaged(spool, cursor->scan.fd, segment->name, &piece);
        }
    }
out:
    if (cursor->n == 0)
        spool_settle(spool);
    /* A segment that can't be opened now, or frames that have to be written anew. */
    if (result == SPOOL_READ_END && cursor->sequence < spool->written)
        result = SPOOL_READ_FULL;
    pthread_mutex_unlock(&spool->lock);
    return result;
}

void spool_unread(struct spool *spool)
{
    struct spool_cursor *cursor = &spool->cursor;
    pthread_mutex_lock(&spool->lock);
    assert(cursor->n > 0);
    cursor->n--;
    cursor->sequence = cursor->flights[(cursor->first + cursor->n) % cursor->room].sequence - 1;
    spool_cursor_reset(spool);
    pthread_mutex_unlock(&spool->lock);
}

void spool_rewind(struct spool *spool)
{
    pthread_mutex_lock(&spool->lock);
    spool_cursor_reset(spool);
    spool->cursor.sequence = spool->acked;
    spool->cursor.n = 0;
    pthread_mutex_unlock(&spool->lock);
}

/* ---- acknowledging ---- */

/* Everything is acknowledged: records that are still counted were in damaged frames. */
static void settle_all(struct spool *spool)
{
    spool->stats.lost_records += spool->stats.records;
    spool->stats.records = spool->stats.frames = 0;
}

void spool_settle(struct spool *spool)
{
    struct spool_cursor *cursor = &spool->cursor;
    struct spool_stats *stats = &spool->stats;
    uint64_t before = spool->acked;
    while (cursor->n > 0 && cursor->flights[cursor->first].done) {
        const struct spool_flight *flight = &cursor->flights[cursor->first];
        spool->acked = flight->sequence;
        stats->acked_records += flight->n_records;
        stats->records -= flight->n_records < stats->records ? flight->n_records : stats->records;
        stats->frames -= stats->frames > 0;
        cursor->first = (cursor->first + 1) % cursor->room;
        cursor->n--;
    }
    if (cursor->n == 0) {
        if (spool->dropped_from <= cursor->sequence + 1 && spool->dropped_to > cursor->sequence)
            cursor->sequence = spool->dropped_to;
        if (cursor->sequence > spool->acked)
            spool->acked = cursor->sequence;
    }
    if (spool->acked == before)
        return;
    spool_ack_changed(spool);
    if (spool->acked > spool->durable)
        spool->durable = spool->acked;
    spool_forget_unsynced(spool, 0, spool->acked);
    for (struct segment *s = spool->segments; s != NULL; s = s->next)
        if (!s->doomed && s->len > 0 && s->last <= spool->acked &&
            (s != spool->current || spool->acked == spool->written))
            spool_doom(spool, s);
    if (spool->acked == spool->written)
        settle_all(spool);
}

void spool_ack(struct spool *spool, uint64_t sequence)
{
    struct spool_cursor *cursor = &spool->cursor;
    pthread_mutex_lock(&spool->lock);
    size_t low = 0, high = cursor->n; /* the ring is in the order of sequences */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (cursor->flights[(cursor->first + middle) % cursor->room].sequence < sequence)
            low = middle + 1;
        else
            high = middle;
    }
    struct spool_flight *flight =
        low == cursor->n ? NULL : &cursor->flights[(cursor->first + low) % cursor->room];
    if (flight != NULL && flight->sequence == sequence) {
        flight->done = true;
        spool_settle(spool);
    }
    pthread_mutex_unlock(&spool->lock);
}
