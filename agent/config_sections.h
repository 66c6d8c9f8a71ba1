/* The sections of the configuration: their option tables, and the structs that these fill. Read by
 * config.c, and by reference.c for the documentation. */
#ifndef SPLASHDAM_CONFIG_SECTIONS_H
#define SPLASHDAM_CONFIG_SECTIONS_H

#include "agent/config.h"
#include "agent/option.h"

/* Ranges of options. */
#define KIB     INT64_C(1024)
#define MIB     (1024 * KIB)
#define SECONDS INT64_C(1000)
#define DAYS    (86400 * SECONDS)

struct ship_section {
    struct config_ship ship;
    int partitioner; /* index into ship_partitioners */
};

struct section {
    const char *name;
    const char *help;
    const char *example; /* as it stands in YAML, with its key */
    const struct option *options;
};

extern const struct section agent_section;
extern const struct section kafka_section;
extern const struct section spool_section;
extern const struct section tail_section;
extern const struct section ship_section;

/* Keys of a file, and of a stream: only their names and helps count. */
extern const struct option file_keys[];
extern const struct option stream_keys[];

extern const char *const ship_partitioners[];

/* Names of streams and agents: [A-Za-z0-9._-]{1,64}. */
#define CONFIG_NAME_MAX 64u
bool config_name_valid(struct slice name);

/* As config_load(), from a text and without includes, which are errors. For tests. */
struct config *config_load_text(struct slice text, const char *file, struct error *error);

/* ---- config_check.c: what tables can't say; each 0, or -1 and *error with the node's place ---- */

/* The node of a list option's item i. */
const struct yaml_node *config_item_node(const struct yaml_node *section, const char *option,
                                         size_t i);
int config_check_absolute(const char *path, const struct yaml_node *node, const char *name,
                          struct error *error);
/* Splits "a:1,b:2" into items, checks them, and sets kafka->embedded. */
int config_check_kafka(struct config_kafka *kafka, const struct yaml_node *node,
                       struct error *error);
int config_check_agent(struct config_agent *agent, const struct yaml_node *node,
                       struct error *error);
int config_check_spool(const struct config_spool *spool, const struct yaml_node *node,
                       struct error *error);
int config_check_ship(const struct config_ship *ship, const struct yaml_node *node,
                      struct error *error);

/* config_tail.c */
int config_check_tail(const struct config_tail *tail, const struct yaml_node *node,
                      struct error *error);

#endif
