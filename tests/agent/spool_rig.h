/* What tests of the spool share: a store and one spool in a folder of their own, batches of known records, and a look at what
 * comes back. */
#ifndef SPLASHDAM_SPOOL_RIG_H
#define SPLASHDAM_SPOOL_RIG_H

#include "agent/arena.h"
#include "agent/spool_inner.h"
#include "tests/agent/harness.h"

#include <dirent.h>
#include <errno.h>

struct spool_rig {
    char *folder; /* the state folder */
    int fd;
    struct config_spool config;
    size_t n_streams;
    struct flusher *flusher;
    struct spool_store *store;
    struct spool *spool;
    struct spool_batch batch;
    struct arena arena;
    struct error error;
    /* of the events */
    uint64_t last_offset; /* of the newest position at opening */
    unsigned positions;
    uint64_t dropped; /* records */
};

static inline int rig_setup(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)calloc(1, sizeof(*rig));
    assert_non_null(rig);
    log_init(-1);
    rig->folder = harness_folder();
    rig->fd = open(rig->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rig->flusher = flusher_new();
    assert_non_null(rig->flusher);
    rig->config = (struct config_spool){.max_bytes = 64 << 20,
                                        .fsync = 60000,
                                        .segment_bytes = 64 << 10,
                                        .max_age = -1,
                                        .compression = SPOOL_LZ4};
    rig->n_streams = 1;
    arena_init(&rig->arena, NULL, (size_t)64 << 20);
    *state = rig;
    return 0;
}

static inline void rig_close(struct spool_rig *rig)
{
    spool_close(&rig->spool);
    spool_store_close(&rig->store);
}

static inline int rig_teardown(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    rig_close(rig);
    flusher_free(&rig->flusher);
    spool_batch_fini(&rig->batch);
    arena_reset(&rig->arena);
    close(rig->fd);
    harness_remove(rig->folder);
    free(rig);
    return 0;
}

static inline void rig_position(const struct spool_position *range, void *arg)
{
    struct spool_rig *rig = (struct spool_rig *)arg;
    rig->positions++;
    rig->last_offset = range->mark.offset;
}

static inline void rig_dropped(const struct spool_position *range, void *arg)
{
    ((struct spool_rig *)arg)->dropped += range->records;
}

static inline bool rig_try_open(struct spool_rig *rig, const char *stream)
{
    struct spool_events events = {.position = rig_position, .dropped = rig_dropped, .arg = rig};
    rig->positions = 0;
    rig->last_offset = 0;
    if (rig->store == NULL)
        rig->store =
            spool_store_open(&rig->config, rig->fd, rig->n_streams, rig->flusher, &rig->error);
    rig->spool = rig->store == NULL ? NULL : spool_open(rig->store, stream, &events, &rig->error);
    return rig->spool != NULL;
}

static inline void rig_open(struct spool_rig *rig)
{
    if (!rig_try_open(rig, "s"))
        fail_msg("%s", rig->error.text);
}

static inline void rig_reopen(struct spool_rig *rig)
{
    rig_close(rig);
    rig_open(rig);
}

/* The bytes of frame `n`: the same every time, and not all alike. */
static inline struct slice rig_payload(uint64_t n, uint32_t record, size_t len)
{
    static char bytes[1 << 16];
    uint64_t value = n * 0x9e3779b97f4a7c15u + record;
    assert_true(len <= sizeof(bytes));
    for (size_t i = 0; i < len; i++) {
        value = value * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (char)(i % 16 < 8 ? 'a' : value >> 56);
    }
    return slice_of(bytes, len);
}

/* The nth batch: `records` records of `len` bytes, one position that ends at offset 1000 * n. */
static inline void rig_batch(struct spool_rig *rig, uint64_t n, uint32_t records, size_t len)
{
    spool_batch_reset(&rig->batch);
    for (uint32_t i = 0; i < records; i++) {
        struct spool_record record = {.topic = i % 3 == 2 ? SLICE("other") : SLICE("topic"),
                                      .payload = rig_payload(n, i, len),
                                      .timestamp = (int64_t)n * 100 + i,
                                      .partition = (int32_t)i - 1};
        if (i % 2 != 0)
            record.key = i % 4 == 1 ? SLICE("") : SLICE("key");
        if (i % 5 == 0)
            record.headers = SLICE("\0head");
        spool_batch_add_record(&rig->batch, &record);
    }
    struct spool_position position = {.stream = SLICE("s"),
                                      .path = SLICE("/var/log/a b.log"),
                                      .id = {7, 8, -9},
                                      .begin = 1000 * (n - 1),
                                      .generation = 7,
                                      .records = records,
                                      .mark = {1000 * n, n % 2 != 0, {1024, n}, {64, ~n}}};
    spool_batch_add_position(&rig->batch, &position);
}

static inline enum spool_append rig_append(struct spool_rig *rig, uint64_t n, uint32_t records,
                                           size_t len)
{
    uint64_t sequence = 0;
    rig_batch(rig, n, records, len);
    enum spool_append result = spool_append(rig->spool, &rig->batch, false, &sequence);
    if (result == SPOOL_APPENDED)
        assert_int_equal(sequence, n);
    return result;
}

/* Frames from..to, whose sequences are their numbers, of three records. */
static inline void rig_fill(struct spool_rig *rig, uint64_t from, uint64_t to, size_t len)
{
    for (uint64_t n = from; n <= to; n++)
        assert_int_equal(rig_append(rig, n, 3, len), SPOOL_APPENDED);
}

/* The frame is the nth that rig_batch() made. */
static inline void rig_assert_frame(const struct spool_frame *read, uint64_t n)
{
    struct spool_frame frame = *read;
    struct spool_record record;
    struct spool_position position;
    uint32_t i = 0;
    assert_int_equal(frame.sequence, n);
    for (; spool_frame_record(&frame, &record); i++) {
        struct slice expected = rig_payload(n, i, record.payload.len);
        assert_true(slice_equal(record.payload, expected));
        assert_true(slice_equal(record.topic, i % 3 == 2 ? SLICE("other") : SLICE("topic")));
        assert_int_equal(record.timestamp, n * 100 + i);
        assert_int_equal(record.partition, (int32_t)i - 1);
        assert_int_equal(record.key.ptr == NULL, i % 2 == 0);
        assert_int_equal(record.key.len, i % 4 == 3 ? 3 : 0);
        assert_int_equal(record.headers.len, i % 5 == 0 ? 5 : 0);
    }
    assert_int_equal(i, read->n_records);
    assert_true(spool_frame_position(&frame, &position));
    assert_int_equal(position.records, i);
    assert_int_equal(position.begin, 1000 * (n - 1));
    assert_int_equal(position.mark.offset, 1000 * n);
    assert_int_equal(position.mark.tail.hash, ~n);
    assert_true(slice_equal(position.path, SLICE("/var/log/a b.log")));
    assert_false(spool_frame_position(&frame, &position));
}

/* The next frame's number, or 0 at the end; it is as it was made. */
static inline uint64_t rig_next(struct spool_rig *rig)
{
    struct spool_frame frame;
    arena_reset(&rig->arena);
    enum spool_read result = spool_next(rig->spool, &rig->arena, &frame);
    assert_int_not_equal(result, SPOOL_READ_FULL);
    if (result == SPOOL_READ_END)
        return 0;
    rig_assert_frame(&frame, frame.sequence);
    return frame.sequence;
}

static inline void rig_expect(struct spool_rig *rig, uint64_t from, uint64_t to)
{
    for (uint64_t n = from; n <= to; n++)
        assert_int_equal(rig_next(rig), n);
}

static inline struct spool_stats rig_stats(struct spool_rig *rig)
{
    struct spool_stats stats;
    spool_stats(rig->spool, &stats);
    return stats;
}

/* What is due later is done now, and waited for. */
static inline void rig_flush(struct spool_rig *rig)
{
    spool_tick(rig->spool, INT64_MAX - 1);
    flusher_wait(rig->flusher);
}

/* Path of the ith segment on disk (from 0), in one of harness_path()'s buffers; NULL: there are fewer. */
static inline const char *rig_segment(const struct spool_rig *rig, size_t i)
{
    struct segment_name *names = NULL;
    size_t n = 0;
    char name[SEGMENT_NAME_ROOM], path[128];
    int fd = open(harness_path(rig->folder, "spool/s"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(segment_list(fd, &names, &n), 0);
    close(fd);
    if (i < n)
        segment_name_format(name, names[i]);
    free(names);
    if (i >= n)
        return NULL;
    snprintf(path, sizeof(path), "spool/s/%s", name);
    return harness_path(rig->folder, path);
}

/* Bytes of all files of segments. */
static inline uint64_t rig_on_disk(const struct spool_rig *rig)
{
    uint64_t size = 0;
    struct stat st;
    const char *path;
    for (size_t i = 0; (path = rig_segment(rig, i)) != NULL; i++)
        if (stat(path, &st) == 0)
            size += (uint64_t)st.st_size;
    return size;
}

static inline size_t rig_count(const struct spool_rig *rig, const char *folder)
{
    size_t n = 0;
    DIR *dir = opendir(harness_path(rig->folder, folder));
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

#endif
