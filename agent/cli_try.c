/* `splashdam try`: what standard input gives at once is a batch (or several), so that a person at
 * a terminal sees each line's record when he has typed it. The bytes stay in the buffer until their
 * batch is printed; what is left of them, an incomplete line, moves to its beginning. */
#include "agent/cli.h"

#include "agent/batch.h"
#include "agent/chain.h"
#include "agent/clock.h"
#include "agent/encode.h"
#include "agent/frame.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define READ_SIZE ((size_t)256 * 1024)
#define MEMORY    ((size_t)1024 * 1024 * 1024) /* the most of one batch */

struct attempt {
    const struct config *config;
    const struct config_stream *stream;
    struct chain *chain;
    struct frame *frame; /* NULL: each line is a record */
    struct frame_state framing;
    struct batch_pool pool;
    struct origin origin;
    char host_json[8 * 256];
    char *bytes;
    size_t room;
    size_t len;
    uint64_t offset; /* of the first byte in the input */
    bool cut;
    bool held; /* lines wait in the buffer for others that may join them */
};

static int print_records(const struct batch *batch)
{
    for (uint32_t i = 0; i < batch->n_records; i++) {
        const struct record *record = &batch->records[i];
        if (!record_is_left(record))
            continue;
        if (record->payload.len != 0)
            fwrite(record->payload.ptr, 1, record->payload.len, stdout);
        putchar('\n');
    }
    return fflush(stdout) == 0 ? 0 : -1;
}

/* Chain, encoding, output. */
static int run_batch(struct attempt *attempt, struct batch_private *batch, struct error *error)
{
    uint64_t replaced = 0;
    bool room = true;
    for (uint32_t i = 0; i < batch->b.n_records && room; i++) {
        struct record *record = &batch->b.records[i];
        room = record_add(&batch->b, record, SLICE("message"), record->line, FIELD_STRING) == 0;
    }
    room = room && chain_run(attempt->chain, &batch->b) == 0;
    if (room && attempt->stream->ship.encode == ENCODE_JSON)
        room = encode_json(&batch->b, &batch->out, &replaced) == 0;
    else if (room)
        encode_raw(&batch->b);
    if (!room)
        return error_set(error, "the records need more memory than %zu MiB", MEMORY >> 20);
    if (print_records(&batch->b) == -1)
        return error_set(error, "standard output can't be written: %s", strerror(errno));
    return 0;
}

/* The next records of the bytes. */
static int take_lines(struct attempt *attempt, struct batch_private *batch, struct lines *lines,
                      bool flush)
{
    struct frame_read read = {
        .state = &attempt->framing, .arena = &batch->b.arena, .flush = flush, .fields = true};
    if (attempt->frame == NULL) {
        lines_split(batch, lines);
        if (lines->offset == 0 && batch->b.n_records > 0)
            batch->b.records[0].line = lines_without_mark(batch->b.records[0].line);
        return 0;
    }
    if (lines->offset == 0)
        frame_look(attempt->frame, &attempt->framing, lines->bytes, 0);
    int result = frame_split(attempt->frame, &read, batch, lines);
    attempt->held = read.held;
    return result;
}

/* All lines that are complete; with `flush`, also those that others might join, at the `end` one without an end, too. */
static int run_lines(struct attempt *attempt, bool flush, bool end, struct error *error)
{
    size_t done = 0;
    struct lines lines;
    do {
        struct batch_private *batch = batch_take(&attempt->pool, slice_str(attempt->config->host));
        if (batch == NULL)
            return error_set(error, "out of memory");
        batch->origins[0] = &attempt->origin;
        batch->n_origins = 1;
        lines = (struct lines){
            .bytes = slice_of(attempt->bytes + done, attempt->len - done),
            .offset = attempt->offset + done,
            .max_line = attempt->frame != NULL ? frame_max_line(attempt->frame)
                                               : attempt->stream->tail.max_line,
            .time = clock_real(),
            .incomplete = end,
            .cut = attempt->cut,
        };
        int result = take_lines(attempt, batch, &lines, flush);
        attempt->cut = lines.cut;
        done += lines.consumed;
        result = result == -1 ? error_set(error, "out of memory") : run_batch(attempt, batch, error);
        batch_give(&attempt->pool, batch);
        if (result == -1)
            return -1;
    } while (lines.consumed != 0);
    memmove(attempt->bytes, attempt->bytes + done, attempt->len - done);
    attempt->len -= done;
    attempt->offset += done;
    return 0;
}

/* False: what is held back has waited long enough. */
static bool more_comes(const struct attempt *attempt)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return !attempt->held || poll(&input, 1, (int)(frame_wait(attempt->frame) / NS_PER_MS)) != 0;
}

static int run_input(struct attempt *attempt, struct error *error)
{
    for (;;) {
        if (attempt->len == attempt->room || !more_comes(attempt)) {
            if (run_lines(attempt, true, false, error) == -1)
                return -1;
            continue;
        }
        ssize_t got =
            read(STDIN_FILENO, attempt->bytes + attempt->len, attempt->room - attempt->len);
        if (got == -1 && errno == EINTR)
            continue;
        if (got == -1)
            return error_set(error, "standard input can't be read: %s", strerror(errno));
        attempt->len += (size_t)got;
        if (run_lines(attempt, got == 0, got == 0, error) == -1)
            return -1;
        if (got == 0)
            return 0;
    }
}

static int run_attempt(struct attempt *attempt, struct error *error)
{
    struct slice host = slice_str(attempt->config->host);
    struct slice path = {"", 0};
    assert(encode_origin_room(host, path) <= sizeof(attempt->host_json));
    size_t len = encode_origin(attempt->host_json, host, path);
    attempt->origin = (struct origin){.path = path, .json = slice_of(attempt->host_json, len)};
    const char *key;
    if (frame_wanted(&attempt->stream->tail) &&
        (attempt->frame = frame_new(&attempt->stream->tail, &key, error)) == NULL)
        return -1;
    attempt->room = READ_SIZE + (attempt->frame != NULL ? frame_span(attempt->frame)
                                                        : attempt->stream->tail.max_line + 2);
    attempt->bytes = (char *)malloc(attempt->room);
    if (attempt->bytes == NULL)
        return error_set(error, "out of memory");
    attempt->chain = chain_open(attempt->config, attempt->stream->chain, error);
    if (attempt->chain == NULL)
        return -1;
    batch_pool_init(&attempt->pool, 64, MEMORY);
    int result = run_input(attempt, error);
    batch_pool_fini(&attempt->pool);
    return result;
}

int cli_try(const char *file, const char *stream)
{
    struct error error;
    struct attempt attempt = {.len = 0};
    struct config *config = config_load(file, &error);
    int result = -1;
    if (config != NULL) {
        attempt.config = config;
        attempt.stream = config_stream(config, stream, &error);
    }
    if (attempt.stream != NULL) {
        error = (struct error){.line = 0};
        result = run_attempt(&attempt, &error);
    }
    if (result == -1)
        cli_print_error(&error);
    chain_close(&attempt.chain);
    frame_free(&attempt.frame);
    free(attempt.bytes);
    config_free(&config);
    return result == -1 ? 1 : 0;
}
