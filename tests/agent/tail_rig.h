/* Tails without a worker round them: a folder of logs, a state folder, and one or two workers' sides, driven by hand.
 * What is read is collected in rig->text, each line with a blank behind it. */
#ifndef SPLASHDAM_TAIL_RIG_H
#define SPLASHDAM_TAIL_RIG_H

#include "agent/log.h"
#include "agent/stream.h"
#include "agent/tail.h"
#include "tests/agent/harness.h"

#define WORKERS 2

/* One worker's part. */
struct side {
    struct config_stream config;
    struct stream stream;
    struct watch *watch;
    struct open_files files;
};

struct rig {
    char *folder;
    char *state;
    const char *paths[2];
    const char *exclude[2];
    struct ev_loop *loop;
    struct flusher *flusher;
    struct positions *positions;
    struct batch_pool pool;
    int workers;
    struct side sides[WORKERS];
    char text[16384];
};

static inline void on_event(const char *path, uint32_t mask, void *arg)
{
    struct side *side = (struct side *)arg;
    tail_event(side->stream.tail, path, mask);
}

static inline void start(struct rig *rig)
{
    struct error error;
    rig->positions = positions_open(rig->state, rig->flusher, &error);
    if (rig->positions == NULL)
        fail_msg("%s", error.text);
    for (int i = 0; i < rig->workers; i++) {
        struct side *side = &rig->sides[i];
        side->watch = watch_open(rig->loop, on_event, side);
        assert_non_null(side->watch);
        struct tail_place place = {side->watch, rig->positions, &rig->pool,
                                   i,           rig->workers,   &side->files};
        side->stream.tail = tail_open(&side->stream, &place, &error);
        assert_non_null(side->stream.tail);
    }
}

static inline void stop(struct rig *rig)
{
    for (int i = 0; i < rig->workers; i++) {
        tail_close(&rig->sides[i].stream.tail);
        watch_close(&rig->sides[i].watch);
    }
    if (rig->positions != NULL)
        assert_int_equal(positions_save_wait(rig->positions), 0);
    positions_close(&rig->positions);
}

static inline int rig_setup(void **state)
{
    struct rig *rig = (struct rig *)calloc(1, sizeof(*rig));
    assert_non_null(rig);
    rig->folder = harness_folder();
    rig->state = harness_folder();
    rig->paths[0] = strdup(harness_path(rig->folder, "*.log"));
    rig->loop = ev_loop_new(0);
    rig->flusher = flusher_new();
    batch_pool_init(&rig->pool, 4, (size_t)4 << 20);
    rig->workers = 1;
    for (int i = 0; i < WORKERS; i++) {
        struct side *side = &rig->sides[i];
        side->config = (struct config_stream){
            .name = "s",
            .tail = {.paths = {1, rig->paths}, .max_line = 1000, .start = START_BEGINNING}};
        side->stream.config = &side->config;
        side->stream.host = SLICE("h");
        side->stream.read_size = 16384;
    }
    *state = rig;
    return 0;
}

static inline int rig_teardown(void **state)
{
    struct rig *rig = (struct rig *)*state;
    stop(rig);
    batch_pool_fini(&rig->pool);
    flusher_free(&rig->flusher);
    ev_loop_destroy(rig->loop);
    harness_remove(rig->folder);
    harness_remove(rig->state);
    free((void *)(uintptr_t)rig->paths[0]);
    free(rig);
    return 0;
}

/* What the kernel has to tell is told at once: an event is queued before the call that causes it returns. */
static inline void events(struct rig *rig)
{
    ev_run(rig->loop, EVRUN_NOWAIT);
    for (int i = 0; i < rig->workers; i++)
        if (tail_wants_rescan(rig->sides[i].stream.tail))
            tail_rescan(rig->sides[i].stream.tail);
    for (int i = 0; i < rig->workers; i++)
        tail_look_for_missed(rig->sides[i].stream.tail);
}

/* Fills a batch and appends its lines to rig->text, each as `line ` . */
static inline struct batch_private *take(struct rig *rig, int worker)
{
    struct stream *stream = &rig->sides[worker].stream;
    struct batch_private *batch = batch_take(&rig->pool, stream->host);
    size_t len = strlen(rig->text);
    batch->stream = stream;
    tail_fill(stream->tail, batch);
    for (uint32_t i = 0; i < batch->b.n_records && len < sizeof(rig->text); i++)
        len += (size_t)snprintf(rig->text + len, sizeof(rig->text) - len, "%.*s ",
                                (int)batch->b.records[i].line.len, batch->b.records[i].line.ptr);
    assert_true(len < sizeof(rig->text));
    return batch;
}

static inline void finish(struct rig *rig, struct batch_private *batch)
{
    tail_finished(batch);
    batch_give(&rig->pool, batch);
}

/* Reads and delivers all there is. */
static inline void drain(struct rig *rig)
{
    events(rig);
    for (int i = 0; i < rig->workers; i++) {
        for (int rounds = 0; tail_ready(rig->sides[i].stream.tail); rounds++) {
            assert_true(rounds < 1000); /* it comes to an end */
            struct batch_private *batch = take(rig, i);
            tail_commit(batch);
            finish(rig, batch);
        }
    }
}

static inline void assert_text(struct rig *rig, const char *expected)
{
    assert_string_equal(rig->text, expected);
    rig->text[0] = '\0';
}

static inline void assert_read(struct rig *rig, const char *expected)
{
    drain(rig);
    assert_text(rig, expected);
}

static inline const char *at(const struct rig *rig, const char *name)
{
    return harness_path(rig->folder, name);
}

static inline void move(const struct rig *rig, const char *from, const char *to)
{
    assert_int_equal(rename(at(rig, from), at(rig, to)), 0);
}

/* Births are told apart: the clock of file times has moved on when a new file is younger. */
static inline void next_birth(const struct rig *rig)
{
    struct file_facts first, next;
    harness_put(at(rig, "clock"), "");
    assert_int_equal(file_facts(at(rig, "clock"), &first), 0);
    do {
        assert_int_equal(unlink(at(rig, "clock")), 0);
        harness_put(at(rig, "clock"), "");
        assert_int_equal(file_facts(at(rig, "clock"), &next), 0);
    } while (next.id.birth <= first.id.birth);
    assert_int_equal(unlink(at(rig, "clock")), 0);
}

static inline void put_later(const struct rig *rig, const char *name, const char *text)
{
    next_birth(rig);
    harness_put(at(rig, name), text);
}

static inline struct tail *tail_of(struct rig *rig)
{
    return rig->sides[0].stream.tail;
}

static inline uint64_t count_of(struct rig *rig, enum stat_id stat)
{
    uint64_t sums[STAT_COUNT] = {0};
    stats_read(&rig->sides[0].stream.stats, sums);
    return sums[stat];
}

#define RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

#endif
