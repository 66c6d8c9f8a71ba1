/* The configuration: YAML to structs, through option tables.
 *
 * config_load() reads the file and what it includes, checks all of it (regexes, conditions and
 * templates too: each chain is opened once and closed again), and returns a tree that is not changed any more, so
 * every thread reads it without a lock. Chains are kept as YAML nodes: each worker opens its own
 * instances from them (chain_open()). */
#ifndef SPLASHDAM_CONFIG_H
#define SPLASHDAM_CONFIG_H

#include "plugins/plugin.h"

struct yaml_node; /* yaml.h */

/* What stands for a time in config_tail: the words of the options, as option.h has them. */
enum tail_start { START_BEGINNING = -1, START_END = -2 };
enum tail_order { ORDER_FOUND, ORDER_OLDEST, ORDER_NEWEST };
enum tail_watch { WATCH_AUTO, WATCH_INOTIFY, WATCH_POLL };
enum kafka_delivery { DELIVERY_AT_LEAST_ONCE, DELIVERY_EXACTLY_ONCE };
enum ship_encode { ENCODE_JSON, ENCODE_RAW };
enum ship_timestamp { TIMESTAMP_RECORD, TIMESTAMP_READ };
enum ship_max_age { MAX_AGE_AUTO = -1, MAX_AGE_OFF = -2 };

struct config_agent {
    const char *id;     /* default: the host's name */
    const char *state;  /* folder */
    int64_t workers;    /* >= 1; `auto` is already resolved */
    int64_t drain;      /* ms */
    uint64_t memory;    /* bytes of batches, all workers together */
    int64_t open_files; /* all workers together; < 0: what the process may have */
    int log_level;      /* enum log_level */
    const char *
        plugins; /* folder of the shared objects; NULL: beside the binary, else the installed one */
};

struct config_kafka {
    struct option_list brokers; /* host:port, or the one word "embedded" */
    bool embedded;
    int delivery;                 /* enum kafka_delivery */
    const char *positions;        /* exactly-once: the topic of positions */
    int64_t transaction;          /* exactly-once: ms that one is open, at most */
    struct option_map properties; /* librdkafka's, checked by producer_check_property() */
};

/* Which lines are one record: multiline.h. */
struct config_multiline {
    const char *start; /* expressions; NULL: not set */
    const char *continued;
    const char *end;
    struct option_list preset;
    int64_t max_lines;
    uint64_t max_bytes;
    int64_t timeout; /* ms */
};

enum tail_container { TAIL_PLAIN, TAIL_AUTO, TAIL_CRI, TAIL_DOCKER };

struct config_tail {
    struct option_list paths;      /* globs, absolute */
    struct option_list rotated_to; /* folders, absolute or relative to a log's */
    struct option_list exclude; /* globs on the whole path, or on the name when without a slash */
    int64_t start;         /* enum tail_start, or ms: the age of a file that is begun at its end */
    uint64_t max_line;     /* bytes */
    int64_t rescan;        /* ms between looks at all folders, as a safety net */
    int64_t close_idle;    /* ms, <= 0: never */
    bool close_removed;    /* at the end, without waiting for more */
    uint64_t unlinked_max; /* bytes, 0: no limit */
    int64_t ignore_older;  /* ms, <= 0: never */
    int read_order;        /* enum tail_order */
    const char *encoding;  /* of the files */
    const char *delimiter; /* between lines */
    int64_t incomplete_after; /* ms until a last line without an end goes out; 0: never */
    int64_t header_lines;     /* the first lines of each file, left out */
    int container;            /* enum tail_container */
    struct config_multiline multiline;
    int watch;    /* enum tail_watch */
    int64_t poll; /* ms between looks at folders that are polled */
};

struct config_ship {
    struct template *topic; /* shared, const: each worker renders it with its own batch */
    struct template *key;   /* NULL: no key */
    const char *partitioner;
    int encode; /* enum ship_encode */
    struct option_templates headers;
    bool proof;      /* each message has the header `sd` */
    int timestamp;   /* enum ship_timestamp */
    int64_t max_age; /* ms; or enum ship_max_age */
};

enum spool_full { SPOOL_BLOCK, SPOOL_DROP_OLDEST, SPOOL_DROP_NEWEST };
enum spool_compression { SPOOL_PLAIN, SPOOL_LZ4, SPOOL_ZSTD };

struct config_spool {
    uint64_t max_bytes;     /* 0: no spool */
    int64_t after;          /* ms that deliveries stall */
    int when_full;          /* enum spool_full */
    int64_t fsync;          /* ms; < 0: after each frame */
    uint64_t segment_bytes; /* of a file, about */
    int64_t max_age;        /* ms, <= 0: never */
    int compression;        /* enum spool_compression */
    const char *key_file;   /* NULL: the systemd credential, if there is one */
};

struct config_stream {
    const char *name;
    const struct yaml_node *node; /* all of it, as it stands in the file */
    struct config_tail tail;
    const struct yaml_node *chain; /* NULL: none */
    struct config_ship ship;
};

struct config {
    const char *file;
    const char *host; /* host.name */
    struct config_agent agent;
    const struct yaml_node *agent_node; /* NULL: there is none */
    struct config_kafka kafka;
    const struct yaml_node *kafka_node;
    struct config_spool spool;
    const struct yaml_node *spool_node; /* NULL: there is none */
    size_t n_streams;
    struct config_stream *streams;
    unsigned holders;
    struct config_private *own;
};

/* NULL and *error (with its place) when something is wrong. */
struct config *config_load(const char *file, struct error *error);
/* It lives until it was freed once more; the main thread's. */
struct config *config_hold(struct config *config);
void config_free(struct config **config);

/* The stream of that name, or NULL. */
const struct config_stream *config_named(const struct config *config, const char *name);
/* The stream of that name; NULL when there is none, with the nearest name in *error. */
const struct config_stream *config_stream(const struct config *config, const char *name,
                                          struct error *error);

/* ---- config_compare.c: what a reload has to change; sections are equal when they say the same, wherever they stand ---- */

/* Of one name: is the one read, processed and shipped as the other? */
bool config_stream_equal(const struct config *a, const struct config_stream *stream_a,
                         const struct config *b, const struct config_stream *stream_b);
bool config_tail_equal(const struct config_stream *a, const struct config_stream *b);
/* Would a Kafka client of the one do for the other? */
bool config_kafka_equal(const struct config *a, const struct config *b);
/* -1 and *error, with its place, when something is different that can't change while the agent runs. */
int config_check_reload(const struct config *old, const struct config *new, struct error *error);

#endif
