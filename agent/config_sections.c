/* The option tables. Helps are printed in the reference: whole sentences, for a reader who has not seen the code. */
#include "agent/config_sections.h"

#include "agent/log.h"

#include <stddef.h>

static const char *const log_levels[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
    NULL,
};
static const char *const auto_word[] = {"auto", NULL};
static const char *const deliveries[] = {
    [DELIVERY_AT_LEAST_ONCE] = "at-least-once",
    [DELIVERY_EXACTLY_ONCE] = "exactly-once",
    NULL,
};
static const char *const always[] = {"always", NULL};
static const char *const never[] = {"never", NULL};
static const char *const when_full[] = {
    [SPOOL_BLOCK] = "block",
    [SPOOL_DROP_OLDEST] = "drop_oldest",
    [SPOOL_DROP_NEWEST] = "drop_newest",
    NULL,
};
static const char *const compressions[] = {
    [SPOOL_PLAIN] = "none",
    [SPOOL_LZ4] = "lz4",
    [SPOOL_ZSTD] = "zstd",
    NULL,
};
static const char *const encodings[] = {
    [ENCODE_JSON] = "json",
    [ENCODE_RAW] = "raw",
    NULL,
};
static const char *const timestamps[] = {
    [TIMESTAMP_RECORD] = "record",
    [TIMESTAMP_READ] = "read",
    NULL,
};
static const char *const max_ages[] = {"auto", "off", NULL};
const char *const ship_partitioners[] = {
    "random",         "consistent", "consistent_random", "murmur2",
    "murmur2_random", "fnv1a",      "fnv1a_random",      NULL,
};

const struct option file_keys[] = {
    {.name = "agent", .type = OPTION_MAP, .help = "The agent itself."},
    {.name = "include",
     .type = OPTION_LIST,
     .help = "Further files, as globs relative to this file. Their sections are merged, in the "
             "order of their "
             "names: each of agent, kafka and spool, and each stream, may stand in one file only. "
             "A file "
             "is read once, "
             "and included files may include others."},
    {.name = "kafka", .type = OPTION_MAP, .help = "Where to ship to."},
    {.name = "spool", .type = OPTION_MAP, .help = "Where records wait while Kafka is away."},
    {.name = "streams",
     .type = OPTION_MAP,
     .help = "What to ship: name and definition of each stream."},
    OPTION_END,
};

const struct option stream_keys[] = {
    {.name = "tail", .type = OPTION_MAP, .help = "The files whose lines are read."},
    {.name = "chain",
     .type = OPTION_LIST,
     .help = "The steps that each record goes through, in this order: a plugin's name with its "
             "options."},
    {.name = "ship", .type = OPTION_MAP, .help = "Where the records go."},
    OPTION_END,
};

static const struct option agent_options[] = {
    {.name = "id",
     .type = OPTION_STRING,
     .offset = offsetof(struct config_agent, id),
     .help = "The agent's name, letters, digits, dots, dashes and underscores. Without it the "
             "host's name."},
    {.name = "state",
     .type = OPTION_STRING,
     .offset = offsetof(struct config_agent, state),
     .fallback = "/var/lib/splashdam",
     .help = "Folder of what the agent has to remember, such as the positions in files. One agent "
             "a folder."},
    {.name = "workers",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct config_agent, workers),
     .fallback = "1",
     .help =
         "Threads that read and parse. `auto` is one for each processor that the agent may use.",
     .min = 1,
     .max = 256,
     .choices = auto_word},
    {.name = "drain",
     .type = OPTION_TIME,
     .offset = offsetof(struct config_agent, drain),
     .fallback = "10s",
     .help = "How long a stopping agent waits for Kafka's acknowledgements. What is not "
             "acknowledged by then is "
             "read again at the next start.",
     .min = 0,
     .max = 1 * DAYS},
    {.name = "memory",
     .type = OPTION_SIZE,
     .offset = offsetof(struct config_agent, memory),
     .fallback = "32MiB",
     .help = "Memory for records that are not acknowledged yet, of all streams together. When it "
             "is used up the "
             "agent stops reading until there is room again.",
     .min = 1 * MIB,
     .max = INT64_MAX},
    {.name = "open_files",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct config_agent, open_files),
     .fallback = "auto",
     .help =
         "The most log files that are open at once, of all streams together; each worker has an "
         "equal part. When they are used up, the file that has been idle for the longest time is "
         "closed, and opened again when it changes. `auto` is what the system allows "
         "(LimitNOFILE=) "
         "less 64.",
     .min = 8,
     .max = 1 << 30,
     .choices = auto_word},
    {.name = "log_level",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct config_agent, log_level),
     .fallback = "info",
     .help = "The least important messages that are logged.",
     .choices = log_levels},
    {.name = "plugins",
     .type = OPTION_STRING,
     .offset = offsetof(struct config_agent, plugins),
     .help = "Folder of the plugins. Without it: the variable SPLASHDAM_PLUGINS, else plugins/ "
             "beside the program, "
             "else where it was installed."},
    OPTION_END,
};

const struct section agent_section = {
    .name = "agent",
    .help = "The agent itself: its name, what it may use, where it keeps its state.",
    .example = "agent:\n"
               "  id: web-1\n"
               "  workers: auto\n"
               "  memory: 64MiB\n",
    .options = agent_options,
};

static const struct option kafka_options[] = {
    {.name = "brokers",
     .type = OPTION_LIST,
     .offset = offsetof(struct config_kafka, brokers),
     .help = "Brokers to begin with, each `host:port`: a list, or one text with commas. The word "
             "`embedded` is a "
             "broker within the agent that keeps nothing: for trying things out.",
     .required = true,
     .min = 1,
     .max = INT64_MAX},
    {.name = "delivery",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct config_kafka, delivery),
     .fallback = "at-least-once",
     .help = "`at-least-once`: every line arrives; after a crash some may arrive twice. "
             "`exactly-once`: records and positions go to Kafka in one transaction, so a consumer "
             "with isolation.level=read_committed sees every line once; "
             "[exactly-once.md](exactly-once.md).",
     .choices = deliveries},
    {.name = "positions",
     .type = OPTION_STRING,
     .offset = offsetof(struct config_kafka, positions),
     .fallback = "splashdam.positions",
     .help = "With `exactly-once`: the topic of the positions in files. It is made when it is "
             "missing, compacted."},
    {.name = "transaction",
     .type = OPTION_TIME,
     .offset = offsetof(struct config_kafka, transaction),
     .fallback = "1s",
     .help = "With `exactly-once`: how long a transaction is open at most. It ends sooner when "
             "nothing more is to be sent. Consumers see its records when it ended.",
     .min = 10,
     .max = 60 * SECONDS},
    {.name = "properties",
     .type = OPTION_MAP,
     .offset = offsetof(struct config_kafka, properties),
     .help = "Any property of librdkafka's producer, TLS and SASL included. Those that the agent's "
             "promises rest on "
             "can't be set."},
    OPTION_END,
};

const struct section kafka_section = {
    .name = "kafka",
    .help = "Where the records go. Passwords are best taken from the environment.",
    .example = "kafka:\n"
               "  brokers: [kafka-1:9093, kafka-2:9093]\n"
               "  properties:\n"
               "    compression.codec: zstd\n"
               "    linger.ms: 20\n"
               "    security.protocol: sasl_ssl\n"
               "    sasl.mechanism: SCRAM-SHA-512\n"
               "    sasl.username: '${KAFKA_USER}'\n"
               "    sasl.password: '${KAFKA_PASSWORD}'\n",
    .options = kafka_options,
};

static const struct option spool_options[] = {
    {.name = "max_bytes",
     .type = OPTION_SIZE,
     .offset = offsetof(struct config_spool, max_bytes),
     .fallback = "1GiB",
     .help =
         "The most that all streams together have on disk, in the folder spool/ of `agent.state`. "
         "Half of it is divided equally and kept for each stream, the other half is for those "
         "that need more. 0: no spool; the files wait for Kafka.",
     .min = 0,
     .max = INT64_MAX},
    {.name = "after",
     .type = OPTION_TIME,
     .offset = offsetof(struct config_spool, after),
     .fallback = "5s",
     .help = "How long a stream's deliveries stall before its records go to disk.",
     .min = 100,
     .max = 1 * DAYS},
    {.name = "when_full",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct config_spool, when_full),
     .fallback = "block",
     .help = "What a stream does whose share is used up. `block`: it stops reading, its files keep "
             "the lines. `drop_oldest`, `drop_newest`: records are given up, counted.",
     .choices = when_full},
    {.name = "fsync",
     .type = OPTION_TIME,
     .offset = offsetof(struct config_spool, fsync),
     .fallback = "1s",
     .help = "How long what was written may wait until it is made safe from a power cut. `always` "
             "does not wait. No position moves before: this loses no line either way.",
     .min = 1,
     .max = 60 * SECONDS,
     .choices = always},
    {.name = "segment_bytes",
     .type = OPTION_SIZE,
     .offset = offsetof(struct config_spool, segment_bytes),
     .fallback = "16MiB",
     .help = "Size of one file of the spool; smaller where max_bytes or the number of streams asks "
             "for it. Space is given back file by file.",
     .min = 64 * KIB,
     .max = 1024 * MIB},
    {.name = "max_age",
     .type = OPTION_TIME,
     .offset = offsetof(struct config_spool, max_age),
     .fallback = "never",
     .help =
         "Files of the spool of which every record has waited for longer are given up, counted.",
     .min = 1 * SECONDS,
     .max = 3650 * DAYS,
     .choices = never},
    {.name = "compression",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct config_spool, compression),
     .fallback = "lz4",
     .help = "How records are compressed on disk: `lz4` costs least time, `zstd` takes least "
             "space. What was written otherwise is read all the same.",
     .choices = compressions},
    {.name = "key_file",
     .type = OPTION_STRING,
     .offset = offsetof(struct config_spool, key_file),
     .help =
         "A file of keys with which the spool is encrypted (AES-256-GCM): 64 hexadecimal digits a "
         "line, the first one encrypts, all decrypt. Nobody else may read it. Without it: the "
         "systemd credential `spool.key` if there is one, else nothing is encrypted."},
    OPTION_END,
};

const struct section spool_section = {
    .name = "spool",
    .help = "Records on disk while Kafka is away.",
    .example = "spool:\n"
               "  max_bytes: 4GiB\n"
               "  when_full: block\n"
               "  compression: zstd\n"
               "  key_file: /etc/splashdam/spool.key\n",
    .options = spool_options,
};

static const struct option ship_options[] = {
    {.name = "topic",
     .type = OPTION_TEMPLATE,
     .offset = offsetof(struct ship_section, ship.topic),
     .help = "The topic's name, with `%{field}` for a field's value: letters, digits, dots, dashes "
             "and underscores, "
             "at most 249.",
     .required = true},
    {.name = "key",
     .type = OPTION_TEMPLATE,
     .offset = offsetof(struct ship_section, ship.key),
     .help = "The messages' key, with `%{field}` for a field's value. Without it messages have no "
             "key."},
    {.name = "partitioner",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct ship_section, partitioner),
     .fallback = "consistent_random",
     .help = "How a message's partition is chosen from its key; those that end with `_random` "
             "spread messages "
             "without a key. `murmur2_random` chooses as Kafka's Java clients do.",
     .choices = ship_partitioners},
    {.name = "encode",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct ship_section, ship.encode),
     .fallback = "json",
     .help = "`json`: an object of the record's fields with `@timestamp`, `host.name`, "
             "`log.file.path` and "
             "`log.offset`. `raw`: the line as it was, byte for byte.",
     .choices = encodings},
    {.name = "headers",
     .type = OPTION_TEMPLATES,
     .offset = offsetof(struct ship_section, ship.headers),
     .help = "Headers of the messages: names, and values with `%{field}` for a field's value. A "
             "header of which a field is missing is left out."},
    {.name = "proof",
     .type = OPTION_BOOL,
     .offset = offsetof(struct ship_section, ship.proof),
     .fallback = "false",
     .help =
         "Each message has a header `sd` of some 23 bytes, which says which bytes of which file "
         "it has and where the message before it ended: so a reader proves from Kafka alone "
         "that nothing is missing (docs/proof.md). It costs CPU time, see there."},
    {.name = "timestamp",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct ship_section, ship.timestamp),
     .fallback = "record",
     .help = "The messages' time in Kafka. `record`: the record's own, as in `@timestamp`. `read`: "
             "when it was read.",
     .choices = timestamps},
    {.name = "max_age",
     .type = OPTION_TIME,
     .offset = offsetof(struct ship_section, ship.max_age),
     .fallback = "auto",
     .help = "A record that is older gets the time when it was read, counted as `time_replaced`: "
             "Kafka would delete it at once. `auto` is what the topic keeps (`retention.ms`), for "
             "which Kafka is asked; where it does not tell, there is no limit. `off`: no limit.",
     .min = 1,
     .max = 3650 * DAYS,
     .choices = max_ages},
    OPTION_END,
};

const struct section ship_section = {
    .name = "ship",
    .help = "Where a stream's records go, and in which form.",
    .example = "ship:\n"
               "  topic: logs.%{app}\n"
               "  key: '%{client}'\n"
               "  partitioner: murmur2_random\n",
    .options = ship_options,
};
