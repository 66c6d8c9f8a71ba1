/* What is different between two configurations, for a reload. */
#include "agent/config.h"

#include "agent/yaml.h"

#include <string.h>

static bool nodes_equal(const struct yaml_node *a, const struct yaml_node *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    if (a->kind != b->kind || a->n != b->n)
        return false;
    if (a->kind == YAML_SCALAR)
        return a->quoted == b->quoted && a->null == b->null && a->len == b->len &&
               memcmp(a->text, b->text, a->len) == 0;
    for (size_t i = 0; i < a->n; i++)
        if ((a->kind == YAML_MAPPING && !nodes_equal(a->keys[i], b->keys[i])) ||
            !nodes_equal(a->items[i], b->items[i]))
            return false;
    return true;
}

static bool texts_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool config_stream_equal(const struct config *a, const struct config_stream *stream_a,
                         const struct config *b, const struct config_stream *stream_b)
{
    return texts_equal(a->host, b->host) && texts_equal(a->agent.plugins, b->agent.plugins) &&
           nodes_equal(stream_a->node, stream_b->node);
}

bool config_tail_equal(const struct config_stream *a, const struct config_stream *b)
{
    return nodes_equal(yaml_get(a->node, "tail"), yaml_get(b->node, "tail"));
}

bool config_kafka_equal(const struct config *a, const struct config *b)
{
    const struct option_list *brokers[] = {&a->kafka.brokers, &b->kafka.brokers};
    const struct option_map *properties[] = {&a->kafka.properties, &b->kafka.properties};
    if (!texts_equal(a->agent.id, b->agent.id) || brokers[0]->n != brokers[1]->n ||
        properties[0]->n != properties[1]->n)
        return false;
    for (size_t i = 0; i < brokers[0]->n; i++)
        if (!texts_equal(brokers[0]->items[i], brokers[1]->items[i]))
            return false;
    for (size_t i = 0; i < properties[0]->n; i++)
        if (!texts_equal(properties[0]->items[i].key, properties[1]->items[i].key) ||
            !texts_equal(properties[0]->items[i].value, properties[1]->items[i].value))
            return false;
    return true;
}

/* ---- what needs a restart ---- */

/* The place of what is written in the section, or else of the file. */
static int needs_restart(const struct config *config, const struct yaml_node *section,
                         const char *name, const char *key, struct error *error)
{
    const struct yaml_node top = {.file = config->file, .line = 1, .column = 1};
    const struct yaml_node *node = yaml_get_key(section, key);
    return yaml_error(node != NULL ? node : &top, error,
                      "%s.%s is another one: that needs a restart, a reload can't change it", name,
                      key);
}

/* librdkafka keeps a topic's partitioner as long as the topic is in use. */
static int check_partitioners(const struct config *old, const struct config *new,
                              struct error *error)
{
    for (size_t i = 0; i < new->n_streams; i++) {
        const struct config_stream *stream = &new->streams[i];
        const struct config_stream *before = config_named(old, stream->name);
        if (before != NULL && strcmp(before->ship.partitioner, stream->ship.partitioner) != 0)
            return needs_restart(new, yaml_get(stream->node, "ship"), "ship", "partitioner", error);
    }
    return 0;
}

static const char *spool_difference(const struct config_spool *old, const struct config_spool *new)
{
    if (old->max_bytes != new->max_bytes)
        return "max_bytes";
    if (old->after != new->after)
        return "after";
    if (old->when_full != new->when_full)
        return "when_full";
    if (old->fsync != new->fsync)
        return "fsync";
    if (old->segment_bytes != new->segment_bytes)
        return "segment_bytes";
    if (old->max_age != new->max_age)
        return "max_age";
    if (old->compression != new->compression)
        return "compression";
    return texts_equal(old->key_file, new->key_file) ? NULL : "key_file";
}

/* Records in flight belong to one way of delivery; and what the agent is called, and where its positions are, is what a
 * transaction is known by. */
static int check_delivery(const struct config *old, const struct config *new, struct error *error)
{
    if (old->kafka.delivery != new->kafka.delivery)
        return needs_restart(new, new->kafka_node, "kafka", "delivery", error);
    if (old->kafka.delivery != DELIVERY_EXACTLY_ONCE)
        return 0;
    if (!texts_equal(old->kafka.positions, new->kafka.positions))
        return needs_restart(new, new->kafka_node, "kafka", "positions", error);
    if (!texts_equal(old->agent.id, new->agent.id))
        return needs_restart(new, new->agent_node, "agent", "id", error);
    return 0;
}

int config_check_reload(const struct config *old, const struct config *new, struct error *error)
{
    const char *key = NULL;
    if (old->agent.workers != new->agent.workers)
        key = "workers";
    else if (!texts_equal(old->agent.state, new->agent.state))
        key = "state";
    else if (old->agent.open_files != new->agent.open_files)
        key = "open_files";
    if (key != NULL)
        return needs_restart(new, new->agent_node, "agent", key, error);
    key = spool_difference(&old->spool, &new->spool);
    if (key != NULL)
        return needs_restart(new, new->spool_node, "spool", key, error);
    if (check_delivery(old, new, error) == -1)
        return -1;
    return check_partitioners(old, new, error);
}
