#include "agent/source.h"

#include "agent/clock.h"
#include "agent/encode.h"
#include "agent/lines.h"
#include "agent/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <xxhash.h>

#define WANT_LEAST ((size_t)4096)

/* ---- what a file is ---- */

static int facts_of(int folder, const char *path, int flags, struct file_facts *ret_facts)
{
    struct statx stx;
    if (statx(folder, path, flags, STATX_BASIC_STATS | STATX_BTIME, &stx) == -1)
        return -1;
    bool link = ret_facts->link;
    *ret_facts = (struct file_facts){
        .id = {.dev = (dev_t)(((uint64_t)stx.stx_dev_major << 32) | stx.stx_dev_minor),
               .ino = stx.stx_ino},
        .size = stx.stx_size,
        .changed = (int64_t)stx.stx_mtime.tv_sec * 1000000000 + stx.stx_mtime.tv_nsec,
        .links = stx.stx_nlink,
        .regular = S_ISREG(stx.stx_mode),
        .link = link || S_ISLNK(stx.stx_mode),
    };
    if ((stx.stx_mask & STATX_BTIME) != 0)
        ret_facts->id.birth = (int64_t)stx.stx_btime.tv_sec * 1000000000 + stx.stx_btime.tv_nsec;
    return 0;
}

int file_facts(const char *path, struct file_facts *ret_facts)
{
    ret_facts->link = false;
    if (facts_of(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, ret_facts) == -1)
        return -1;
    return ret_facts->link ? facts_of(AT_FDCWD, path, 0, ret_facts) : 0;
}

int file_facts_fd(int fd, struct file_facts *ret_facts)
{
    ret_facts->link = false;
    return facts_of(fd, "", AT_EMPTY_PATH, ret_facts);
}

/* Files, not descriptors: brokers, the state folder and inotify must always find one free. */
static atomic_uint files_open;
static unsigned files_limit = UINT_MAX;

void source_limit_files(unsigned limit)
{
    files_limit = limit;
}

unsigned source_files_limit(void)
{
    return files_limit;
}

void source_count_file(void)
{
    atomic_fetch_add(&files_open, 1);
}

void source_close_file(int fd)
{
    close(fd);
    atomic_fetch_sub(&files_open, 1);
}

int source_open_file(const char *path, const struct identity *id)
{
    struct file_facts facts;
    if (atomic_fetch_add(&files_open, 1) >= files_limit) {
        atomic_fetch_sub(&files_open, 1);
        errno = EMFILE;
        return -1;
    }
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd == -1) {
        atomic_fetch_sub(&files_open, 1);
        return -1;
    }
    if (file_facts_fd(fd, &facts) == 0 && facts.regular && identity_equal(&facts.id, id))
        return fd;
    source_close_file(fd);
    errno = ESTALE; /* it changed between the look and the opening: looked at again soon */
    return -1;
}

/* Less than len only at the file's end. */
static ssize_t read_at(int fd, char *buffer, size_t len, uint64_t offset)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(fd, buffer + done, len - done, (off_t)(offset + done));
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static enum source_content compare_hash(int fd, uint64_t offset, const struct content_hash *hash)
{
    char bytes[FINGERPRINT_MAX];
    if (hash->len == 0)
        return CONTENT_SAME; /* nothing is known of it */
    if (hash->len > sizeof(bytes))
        return CONTENT_OTHER;
    ssize_t n = read_at(fd, bytes, hash->len, offset);
    if (n == -1)
        return CONTENT_UNKNOWN;
    bool same = n == (ssize_t)hash->len && XXH3_64bits(bytes, hash->len) == hash->hash;
    return same ? CONTENT_SAME : CONTENT_OTHER;
}

enum source_content source_compare(int fd, uint64_t size, const struct mark *mark)
{
    if (size < mark->offset)
        return CONTENT_SHORTER;
    if (mark->tail.len > mark->offset)
        return CONTENT_OTHER;
    enum source_content head = compare_hash(fd, 0, &mark->head);
    return head != CONTENT_SAME ? head
                                : compare_hash(fd, mark->offset - mark->tail.len, &mark->tail);
}

/* What is behind the offset, and what was known of the lines before it, has to be looked at anew. */
void source_forget_seen(struct source *source)
{
    source->scanned = 0;
    source->held = false;
    source->flush = 0;
    source->read_to = 0;
    if (source->framing != NULL)
        source->framing->state = (struct frame_state){0};
}

void source_go_on_at(struct source *source, const struct mark *mark)
{
    source->offset = mark->offset;
    source->cut = mark->cut;
    source->head = mark->head;
    source->tail = mark->tail;
    source->shipped = mark->shipped;
}

void source_restart(struct source *source)
{
    source->offset = 0;
    source->cut = false;
    source_forget_seen(source);
    source->seen = 0;
    source->head = source->tail = (struct content_hash){0};
    source->shipped = (struct shipped){0};
    source->epoch++;
}

/* ---- reading ---- */

/* Fingerprint of the file's first bytes, as far as complete lines of it were read. */
static void update_head(struct source *source)
{
    char bytes[FINGERPRINT_MAX];
    uint64_t len = source->offset < FINGERPRINT_MAX ? source->offset : FINGERPRINT_MAX;
    if (source->head.len >= len || read_at(source->fd, bytes, len, 0) != (ssize_t)len)
        return;
    source->head = (struct content_hash){(uint32_t)len, XXH3_64bits(bytes, len)};
}

void source_know_head(struct source *source, uint64_t size)
{
    char bytes[FINGERPRINT_MAX];
    if (source->head.len > 0 || size == 0)
        return;
    ssize_t n = read_at(source->fd, bytes, sizeof(bytes), 0);
    const char *end = n > 0 ? (const char *)memrchr(bytes, '\n', (size_t)n) : NULL;
    if (end == NULL)
        return;
    size_t len = (size_t)(end - bytes) + 1;
    source->head = (struct content_hash){(uint32_t)len, XXH3_64bits(bytes, len)};
    source->rested = true; /* until its first read it may be written anew */
}

void source_mark(struct source *source, struct mark *ret_mark)
{
    char bytes[TAIL_MAX];
    uint32_t len = source->offset < TAIL_MAX ? (uint32_t)source->offset : TAIL_MAX;
    update_head(source);
    *ret_mark = (struct mark){.offset = source->offset,
                              .cut = source->cut,
                              .head = source->head,
                              .shipped = source->shipped};
    if (len > 0 && read_at(source->fd, bytes, len, source->offset - len) == (ssize_t)len)
        ret_mark->tail = (struct content_hash){len, XXH3_64bits(bytes, len)};
    source->tail = ret_mark->tail;
}

static void fill_mark(struct source *source, struct mark *mark, const char *consumed_end,
                      size_t consumed)
{
    uint32_t len = consumed < TAIL_MAX ? (uint32_t)consumed : TAIL_MAX;
    update_head(source);
    *mark = (struct mark){
        .offset = source->offset,
        .cut = source->cut,
        .head = source->head,
        .tail = {len, XXH3_64bits(consumed_end - len, len)},
        .shipped = source->shipped,
    };
    source->tail = mark->tail;
}

/* So much is read when one record needs it. */
static size_t most_of(const struct stream *stream)
{
    size_t most =
        stream->frame != NULL ? frame_span(stream->frame) : stream->config->tail.max_line + 2;
    return most < stream->read_size ? stream->read_size : most;
}

/* The next read asks for more when a record did not fit, for less when the batch had no room for all lines. */
static void adapt_want(struct source *source, size_t asked, size_t got, size_t consumed)
{
    size_t usual = source->stream->read_size;
    size_t most = most_of(source->stream);
    if (consumed == 0 && got == asked)
        source->want = asked * 2 > most ? most : asked * 2;
    else if (got == asked && consumed < got / 4 && !source->held)
        source->want = consumed * 2 > WANT_LEAST ? consumed * 2 : WANT_LEAST;
    else
        source->want = usual;
}

/* Makes records of the lines by the stream's frame. -1: no memory. */
static int split_framed(struct source *source, struct batch_private *batch, struct lines *lines,
                        struct arena *arena, bool flush)
{
    const struct stream *stream = source->stream;
    struct frame_read read = {.state = &source->framing->state,
                              .names = &source->framing->names,
                              .arena = arena,
                              .flush = flush,
                              .fields = stream->fields};
    struct lines again = *lines;
    if (frame_split(stream->frame, &read, batch, lines) == -1)
        return -1;
    /* No more of what is open may be held back. */
    if (lines->consumed == 0 && lines->bytes.len >= most_of(stream)) {
        *lines = again;
        read.flush = true;
        if (frame_split(stream->frame, &read, batch, lines) == -1)
            return -1;
    }
    source->held = read.held;
    batch->joined += read.joined;
    batch->limited += read.limited;
    batch->decoded += read.replaced;
    return 0;
}

static int split_lines(struct source *source, struct batch_private *batch, struct lines *lines,
                       struct arena *arena, bool flush)
{
    uint32_t first = batch->b.n_records;
    char *end = (char *)(uintptr_t)lines->bytes.ptr + lines->bytes.len;
    if (source->stream->frame != NULL) {
        arena_commit(arena, end); /* texts that are made come behind it */
        return split_framed(source, batch, lines, arena, flush);
    }
    lines_split(batch, lines);
    arena_commit(arena, end - lines->bytes.len + lines->consumed);
    if (lines->offset == 0 && batch->b.n_records > first)
        batch->b.records[first].line = lines_without_mark(batch->b.records[first].line);
    return 0;
}

/* Encoded while there are batches with lines of it: an idle source does not need it. */
static int make_json(struct source *source)
{
    struct slice host = source->stream->host, path = source->origin.path;
    if (source->origin.json.ptr != NULL || source->stream->raw)
        return 0;
    char *json = (char *)malloc(encode_origin_room(host, path) + 1);
    if (json == NULL)
        return -1;
    source->origin.json = slice_of(json, encode_origin(json, host, path));
    return 0;
}

void source_forget_json(struct source *source)
{
    free((void *)(uintptr_t)source->origin.json.ptr);
    source->origin.json = (struct slice){0};
}

static int take_lines(struct source *source, struct batch_pool *pool, struct batch_private *batch,
                      struct lines *lines, struct arena *arena, bool flush)
{
    struct range *range =
        make_json(source) == -1 ? NULL : batch_add_range(pool, batch, &source->origin);
    if (range == NULL) {
        errno = ENOMEM;
        return -1;
    }
    range->source = source;
    range->begin = source->offset;
    range->begin_cut = source->cut;
    range->begin_head = source->head;
    range->begin_tail = source->tail;
    range->begin_shipped = source->shipped;
    range->epoch = source->epoch;
    range->generation = source->position == NULL ? 0 : source->position->generation;
    lines->origin = (uint16_t)(batch->n_origins - 1);
    if (split_lines(source, batch, lines, arena, flush) == -1) {
        batch_remove_last_range(pool, batch, range);
        errno = ENOMEM;
        return -1;
    }
    source->offset += lines->consumed;
    source->cut = lines->cut;
    batch->cut_lines += lines->cut_lines;
    batch->cut_bytes += lines->cut_bytes;
    if (lines->consumed > 0)
        fill_mark(source, &range->mark, lines->bytes.ptr + lines->consumed, lines->consumed);
    else
        batch_remove_last_range(pool, batch, range);
    return 0;
}

const struct line_end *source_line_end(const struct source *source)
{
    return source->stream->frame != NULL
               ? frame_line_end(source->stream->frame, &source->framing->state)
               : &line_end_usual;
}

/* What the file's first bytes tell of its lines. */
static void look_at_beginning(struct source *source)
{
    struct framing *framing = source->framing;
    const struct frame *frame = source->stream->frame;
    if (frame == NULL || (source->offset != 0 && !frame_wants_look(frame, &framing->state)))
        return;
    size_t len = source->offset > FRAME_LOOK ? FRAME_LOOK : source->offset < 4 ? 4 : source->offset;
    char *bytes = (char *)malloc(len);
    ssize_t n = bytes == NULL ? -1 : read_at(source->fd, bytes, len, 0);
    if (n >= 0)
        frame_look(frame, &framing->state, slice_of(bytes, (size_t)n), source->offset);
    free(bytes);
}

bool source_is_inside(struct source *source)
{
    char bytes[LINE_END_MAX];
    look_at_beginning(source);
    const struct line_end *end = source_line_end(source);
    if (source->offset < end->len)
        return source->offset > 0;
    return read_at(source->fd, bytes, end->len, source->offset - end->len) == end->len &&
           memcmp(bytes, end->bytes, end->len) != 0;
}

/* Does the offset stand inside a line of which all before was shipped? Only FLUSH_INCOMPLETE leaves it there. */
static bool goes_on(struct source *source)
{
    return source->stream->config->tail.incomplete_after != 0 && !source->cut &&
           source_is_inside(source);
}

/* What is to go out of a read of n bytes although more may come; nothing when there may be more in the file already, as a
 * record would be cut where the read ends. What grew meanwhile waits anew. */
static uint8_t flush_of(struct source *source, size_t want, size_t n)
{
    if (source->offset + n > source->read_to && (source->flush & FLUSH_GROWN) == 0)
        source->flush = 0;
    return n == want ? 0 : source->flush;
}

int64_t source_flush_at(const struct source *source, uint8_t *ret_flush)
{
    const struct config_tail *config = &source->stream->config->tail;
    int64_t lines = source->held ? frame_wait(source->stream->frame) : INT64_MAX;
    int64_t incomplete =
        config->incomplete_after == 0 ? INT64_MAX : config->incomplete_after * NS_PER_MS;
    if (source->scanned == 0 || (lines == INT64_MAX && incomplete == INT64_MAX))
        return INT64_MAX;
    *ret_flush = incomplete <= lines ? FLUSH_LINES | FLUSH_INCOMPLETE : FLUSH_LINES;
    return source->grown_at + (incomplete < lines ? incomplete : lines);
}

/* After a read up to `end`, at which the file ends if it is the end: what is left behind the offset waits since then. */
static void see(struct source *source, uint64_t end, bool is_end)
{
    if (end > source->read_to)
        source->grown_at = clock_monotonic();
    if (end > source->read_to || is_end)
        source->read_to = end;
    if (is_end)
        source->flush = 0;
}

/* How much more a batch that is not empty may take: what it holds is bounded, in one chunk. */
static size_t room_of(const struct source *source, const struct batch_private *batch,
                      const struct arena *arena)
{
    size_t most = source->stream->read_size;
    size_t left = batch->n_read < most ? most - batch->n_read : 0;
    size_t chunk = (size_t)(arena->end - arena->next);
    chunk = chunk > ARENA_ALIGN ? chunk - ARENA_ALIGN : 0;
    return left < chunk ? left : chunk;
}

/* Reads from offset on, and in the same call once more the bytes before it that were read last: *ret_changed when they are
 * others now. A file that has become shorter than that gives 0; the caller asks for its size. */
static ssize_t read_on(struct source *source, char *buffer, size_t want, bool *ret_changed)
{
    char before[TAIL_MAX];
    ssize_t seen = source->tail.len;
    struct iovec parts[2] = {{before, (size_t)seen}, {buffer, want}};
    ssize_t n;
    do
        n = preadv(source->fd, parts, 2, (off_t)source->offset - seen);
    while (n == -1 && errno == EINTR);
    *ret_changed = n >= seen && seen > 0 && XXH3_64bits(before, (size_t)seen) != source->tail.hash;
    return n == -1 ? -1 : n < seen ? 0 : n - seen;
}

enum source_read source_read(struct source *source, struct batch_pool *pool,
                             struct batch_private *batch, int64_t time)
{
    struct arena *arena = source->stream->raw ? &batch->out : &batch->b.arena;
    if (batch->n_origins == BATCH_ORIGINS || batch->b.n_records == BATCH_RECORDS)
        return READ_FULL;
    size_t want = source->want;
    size_t room = batch->n_read == 0 ? want : room_of(source, batch, arena);
    bool less = room < want;
    if (less && (room < WANT_LEAST || want > source->stream->read_size))
        return READ_FULL;
    if (less)
        want = room;
    char *buffer = arena_reserve(arena, want);
    if (buffer == NULL) {
        errno = ENOMEM;
        return READ_FAILED;
    }
    bool changed;
    ssize_t n = read_on(source, buffer, want, &changed);
    /* Other text may end alike where the offset is: the beginning tells it, too. */
    enum source_content beginning =
        source->rested ? compare_hash(source->fd, 0, &source->head) : CONTENT_SAME;
    if (n == -1 || beginning == CONTENT_UNKNOWN)
        return READ_FAILED;
    source->rested = false;
    if (changed || beginning == CONTENT_OTHER)
        return READ_CHANGED;
    look_at_beginning(source);
    uint8_t flush = flush_of(source, want, (size_t)n);
    uint64_t end = source->offset + (uint64_t)n;
    struct lines lines = {
        .bytes = {buffer, (size_t)n},
        .offset = source->offset,
        .max_line = source->stream->frame != NULL ? frame_max_line(source->stream->frame)
                                                  : source->stream->config->tail.max_line,
        .time = time,
        .inside = goes_on(source),
        .incomplete = (flush & FLUSH_INCOMPLETE) != 0,
        .cut = source->cut,
    };
    if (n > 0 && take_lines(source, pool, batch, &lines, arena, flush != 0) == -1)
        return READ_FAILED;
    batch->n_read += lines.consumed;
    if (less && lines.consumed == 0 && (size_t)n == want)
        return READ_FULL; /* a line that has room in the next batch */
    if (lines.full && lines.consumed == 0)
        return READ_FULL;
    adapt_want(source, want, (size_t)n, lines.consumed);
    source->scanned = lines.full ? 0 : (size_t)n - lines.consumed;
    source->held &= source->scanned != 0;
    source->rested = (size_t)n < want && !lines.full;
    see(source, end, source->rested);
    return source->rested ? READ_END : READ_MORE;
}

/* ---- ranges ---- */

void source_commit_range(struct range *range)
{
    struct source *source = range->source;
    range->next = NULL;
    *source->last = range;
    source->last = &range->next;
    if (range->epoch == source->epoch)
        source->shipped = range->mark.shipped;
}

void source_undo_range(struct range *range)
{
    struct source *source = range->source;
    if (range->epoch != source->epoch)
        return; /* truncated since */
    source->offset = range->begin;
    source->cut = range->begin_cut;
    source->head = range->begin_head; /* what is read again may be other bytes by then */
    source->tail = range->begin_tail;
    source->rested = true; /* it may be a while until it is read again */
    source_forget_seen(source);
    source->want = WANT_LEAST;
}

bool source_advance(struct source *source, struct batch_pool *pool, struct mark *ret_mark)
{
    bool moved = false;
    while (source->first != NULL && source->first->finished) {
        struct range *range = source->first;
        source->first = range->next;
        if (source->first == NULL)
            source->last = &source->first;
        if (range->epoch == source->epoch) {
            *ret_mark = range->mark;
            moved = true;
        }
        batch_give_range(pool, range);
    }
    return moved;
}
