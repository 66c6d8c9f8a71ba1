#include "agent/stream.h"

#include "agent/frame.h"
#include "agent/producer.h"
#include "agent/proof.h"
#include "agent/template.h"

#include <stdlib.h>

static int open_frame(struct stream *stream, struct error *error)
{
    const char *key;
    if (!frame_wanted(&stream->config->tail))
        return 0;
    stream->frame = frame_new(&stream->config->tail, &key, error);
    return stream->frame == NULL ? -1 : 0;
}

static int open_parts(struct stream *stream, const struct config *config, struct producer *producer,
                      struct error *error)
{
    struct slice topic;
    stream->chain = chain_open(config, stream->config->chain, error);
    if (stream->chain == NULL)
        return -1;
    if (template_constant(stream->config->ship.topic, &topic)) {
        stream->topic = producer_topic(producer, topic, stream->config->ship.partitioner);
        if (stream->topic == NULL)
            return error_set(error, "stream %s: cannot use its topic", stream->config->name);
    }
    stream->fields = !stream->raw || chain_step_count(stream->chain) > 0 || stream->topic == NULL ||
                     stream->config->ship.key != NULL || stream->config->ship.headers.n > 0;
    return open_frame(stream, error);
}

struct stream *stream_new(const struct config *config, const struct config_stream *section,
                          struct worker *worker, struct producer *producer, struct error *error)
{
    struct stream *stream = (struct stream *)calloc(1, sizeof(*stream));
    if (stream == NULL) {
        error_set(error, "out of memory");
        return NULL;
    }
    stream->config = section;
    stream->worker = worker;
    stream->host = slice_str(config->host);
    stream->agent = proof_agent(config->agent.id);
    stream->raw = section->ship.encode == ENCODE_RAW;
    stream->read_usual = STREAM_READ_LEAST * 12;
    stream->read_size = stream->read_usual;
    if (open_parts(stream, config, producer, error) == -1)
        stream_free(&stream);
    return stream;
}

void stream_free(struct stream **stream_ptr)
{
    struct stream *stream = *stream_ptr;
    if (stream == NULL)
        return;
    frame_free(&stream->frame);
    chain_close(&stream->chain);
    free(stream);
    *stream_ptr = NULL;
}

void stream_counters(struct stream *stream, uint64_t *sums)
{
    stats_read(&stream->stats, sums);
    stats_read(&stream->delivery, sums);
}

static void add_relaxed(uint64_t *sum, const uint64_t *value)
{
    *sum += __atomic_load_n(value, __ATOMIC_RELAXED);
}

void stream_step(const struct stream *stream, size_t step, struct step_stats *sum)
{
    const struct step_stats *stats = chain_step(stream->chain, step);
    sum->name = stats->name;
    sum->line = stats->line;
    add_relaxed(&sum->seen, &stats->seen);
    add_relaxed(&sum->dropped, &stats->dropped);
    add_relaxed(&sum->failed, &stats->failed);
    add_relaxed(&sum->limited, &stats->limited);
}
