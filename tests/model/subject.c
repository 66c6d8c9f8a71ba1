#include "tests/model/subject.h"

#include "agent/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what the linker puts in the place of the system's (-Wl,--wrap) ---- */

static int64_t monotonic;

int __real_clock_gettime(clockid_t id, struct timespec *ret_time);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret_time);
int __wrap_fsync(int fd);

int __wrap_clock_gettime(clockid_t id, struct timespec *ret_time)
{
    if (id != CLOCK_MONOTONIC)
        return __real_clock_gettime(id, ret_time);
    *ret_time = (struct timespec){monotonic / NS_PER_S, monotonic % NS_PER_S};
    return 0;
}

/* No power is cut here; waiting for the disk would be most of the time. */
int __wrap_fsync(int fd)
{
    (void)fd;
    return 0;
}

void subject_pass(struct subject *subject, int64_t ns)
{
    monotonic += ns;
    subject->model->now = monotonic;
}

/* ---- start and stop ---- */

static void on_event(const char *path, uint32_t mask, void *arg)
{
    struct subject *subject = (struct subject *)arg;
    tail_event(subject->stream.tail, path, mask);
}

void subject_init(struct subject *subject, struct model *model, const char *folder,
                  const char *const *globs, size_t n_globs)
{
    *subject = (struct subject){.model = model};
    snprintf(subject->state, sizeof(subject->state), "%s/state", folder);
    model->now = monotonic = 1000 * NS_PER_S;
    if (mkdir(subject->state, 0700) == -1)
        model_fail("cannot make %s", subject->state);
    subject->config = (struct config_stream){
        .name = "s",
        .tail = {.paths = {n_globs, (const char **)(uintptr_t)globs},
                 .max_line = MAX_LINE,
                 .start = START_BEGINNING},
    };
    subject->stream.config = &subject->config;
    subject->stream.host = SLICE("h");
    subject->loop = ev_loop_new(0);
    subject->flusher = flusher_new();
    batch_pool_init(&subject->pool, 256, (size_t)4 << 20);
}

void subject_fini(struct subject *subject)
{
    if (subject->up)
        subject_stop(subject);
    batch_pool_fini(&subject->pool);
    flusher_free(&subject->flusher);
    ev_loop_destroy(subject->loop);
    free(subject->settled);
}

void subject_start(struct subject *subject)
{
    struct error error;
    subject->stream.read_size = 16384;
    subject->files = (struct open_files){.limit = subject->files.limit};
    subject->positions = positions_open(subject->state, subject->flusher, &error);
    if (subject->positions == NULL)
        model_fail("positions: %s", error.text);
    subject->watch = watch_open(subject->loop, on_event, subject);
    if (subject->watch == NULL)
        model_fail("no inotify");
    struct tail_place place = {.watch = subject->watch,
                               .positions = subject->positions,
                               .pool = &subject->pool,
                               .workers = 1,
                               .files = &subject->files};
    subject->stream.tail = tail_open(&subject->stream, &place, &error);
    if (subject->stream.tail == NULL)
        model_fail("tail: %s", error.text);
    subject->up = true;
}

static void close_all(struct subject *subject)
{
    tail_close(&subject->stream.tail);
    watch_close(&subject->watch);
    positions_close(&subject->positions);
    subject->up = false;
}

void subject_stop(struct subject *subject)
{
    while (subject->n_flights > 0)
        subject_finish(subject, 0);
    tail_close(&subject->stream.tail);
    subject_save(subject);
    close_all(subject);
}

/* ---- batches ---- */

static void arrive(struct subject *subject, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct flight *flight = &subject->flights[i];
        for (uint32_t l = 0; !flight->arrived && l < flight->n_lines; l++)
            model_arrived(subject->model, flight->lines[l]);
        flight->arrived = true;
    }
}

static void free_lines(struct flight *flight)
{
    free(flight->lines);
    free(flight->from);
}

void subject_kill(struct subject *subject, unsigned arrive_n)
{
    arrive(subject, arrive_n < subject->n_flights ? arrive_n : subject->n_flights);
    close_all(subject);
    for (unsigned i = 0; i < subject->n_flights; i++) {
        struct flight *flight = &subject->flights[i];
        if (flight->batch != NULL)
            batch_give(&subject->pool, flight->batch);
        free_lines(flight);
    }
    subject->n_flights = 0;
    subject->n_settled = 0;
    model_crashed(subject->model);
}

static void recognize(struct subject *subject, struct flight *flight)
{
    const struct batch *batch = &flight->batch->b;
    flight->lines = (uint32_t *)calloc(batch->n_records + 1, sizeof(uint32_t));
    flight->from = (const struct origin **)calloc(batch->n_records + 1, sizeof(struct origin *));
    if (flight->lines == NULL || flight->from == NULL)
        abort();
    flight->n_origins = flight->batch->n_origins;
    memcpy(flight->origins, flight->batch->origins, sizeof(flight->origins));
    for (uint32_t i = 0; i < batch->n_records; i++) {
        struct slice line = batch->records[i].line;
        flight->from[flight->n_lines] = flight->origins[batch->records[i].origin];
        uint32_t *number = &flight->lines[flight->n_lines];
        if (!model_recognize(subject->model, line.ptr, line.len, number))
            continue;
        subject->model->lines[*number].in->told = true;
        flight->n_lines++;
    }
}

void subject_fill(struct subject *subject, size_t bytes, bool undo)
{
    tail_look_for_missed(subject->stream.tail);
    if (!tail_ready(subject->stream.tail))
        return;
    if (subject->n_flights == FLIGHTS)
        subject_finish(subject, 0);
    struct flight flight = {.batch = batch_take(&subject->pool, subject->stream.host)};
    if (flight.batch == NULL)
        model_fail("no batch");
    flight.batch->stream = &subject->stream;
    subject->stream.read_size = bytes;
    tail_fill(subject->stream.tail, flight.batch);
    if (flight.batch->ranges == NULL || undo) {
        if (flight.batch->ranges != NULL)
            tail_undo(flight.batch);
        batch_give(&subject->pool, flight.batch);
        return;
    }
    recognize(subject, &flight);
    tail_commit(flight.batch);
    subject->flights[subject->n_flights++] = flight;
}

static void settle(struct subject *subject, const struct flight *flight)
{
    size_t n = subject->n_settled + flight->n_lines;
    if (n > subject->settled_room) {
        subject->settled_room = n * 2;
        subject->settled = (uint32_t *)reallocarray(subject->settled, n * 2, sizeof(uint32_t));
        if (subject->settled == NULL)
            abort();
    }
    if (flight->n_lines > 0)
        memcpy(subject->settled + subject->n_settled, flight->lines,
               flight->n_lines * sizeof(uint32_t));
    subject->n_settled = n;
}

void subject_finish(struct subject *subject, unsigned which)
{
    if (subject->n_flights == 0)
        return;
    which %= subject->n_flights;
    arrive(subject, which + 1); /* a partition has what was sent before, too */
    struct flight *flight = &subject->flights[which];
    if (flight->batch != NULL) {
        tail_finished(flight->batch);
        batch_give(&subject->pool, flight->batch);
        flight->batch = NULL;
    }
    unsigned done = 0;
    while (done < subject->n_flights && subject->flights[done].batch == NULL) {
        settle(subject, &subject->flights[done]);
        free_lines(&subject->flights[done++]);
    }
    subject->n_flights -= done;
    memmove(subject->flights, subject->flights + done, subject->n_flights * sizeof(struct flight));
}

/* Is a range of the same file in flight before this batch? */
static bool is_held(const struct subject *subject, unsigned which, const struct origin *from)
{
    for (unsigned i = 0; i < which; i++) {
        const struct flight *flight = &subject->flights[i];
        for (uint32_t o = 0; flight->batch != NULL && o < flight->n_origins; o++)
            if (flight->origins[o] == from)
                return true;
    }
    return false;
}

void subject_save(struct subject *subject)
{
    struct model *model = subject->model;
    if (positions_save_wait(subject->positions) == -1)
        model_fail("positions could not be saved");
    for (size_t i = 0; i < subject->n_settled; i++)
        model->lines[subject->settled[i]].durable = true;
    subject->n_settled = 0;
    for (unsigned i = 0; i < subject->n_flights; i++) {
        const struct flight *flight = &subject->flights[i];
        for (uint32_t l = 0; flight->batch == NULL && l < flight->n_lines; l++) {
            struct line *line = &model->lines[flight->lines[l]];
            line->durable |= !is_held(subject, i, flight->from[l]);
        }
    }
    for (size_t i = 0; i < model->n_generations; i++) {
        struct generation *in = model->generations[i];
        in->saved = in->known;
        in->told_saved = in->told;
        in->settled_saved = in->settled;
    }
}

/* ---- looking ---- */

void subject_look(struct subject *subject)
{
    ev_run(subject->loop, EVRUN_NOWAIT);
    if (tail_wants_rescan(subject->stream.tail))
        tail_rescan(subject->stream.tail);
    tail_look_for_missed(subject->stream.tail);
}

void subject_rescan(struct subject *subject)
{
    tail_rescan(subject->stream.tail);
    tail_look_for_missed(subject->stream.tail);
}

void subject_overflow(struct subject *subject)
{
    tail_event(subject->stream.tail, NULL, IN_Q_OVERFLOW);
    subject_look(subject);
}

void subject_tick(struct subject *subject)
{
    subject_pass(subject, NS_PER_S);
    tail_tick(subject->stream.tail);
}

void subject_drain(struct subject *subject)
{
    /* Files without a name keep their descriptors from others until they are quiet. */
    int enough = subject->files.limit != 0 ? 8 : 2;
    subject_look(subject);
    subject_rescan(subject);
    for (int quiet = 0; quiet < enough; quiet++) {
        subject_tick(subject);
        for (int rounds = 0; tail_ready(subject->stream.tail); rounds++) {
            if (rounds > 100000)
                model_fail("the tail is ready again and again");
            subject_fill(subject, 16384, false);
            quiet = 0;
        }
        while (subject->n_flights > 0) { /* descriptors may become free by it */
            subject_finish(subject, 0);
            quiet = 0;
        }
    }
}
