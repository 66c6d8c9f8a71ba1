/* A YAML file as a tree of nodes that know their place: what the configuration is read from.
 *
 * A tree owns all its nodes and texts; they live until yaml_tree_free() and never change, so any
 * thread may read them. Texts hold no NUL and end with one. An aliased node stands in the tree in
 * several places, so it is a directed graph without cycles; its depth and its size, each alias
 * counted as often as it is used, are bounded: who walks it needs no bound of his own.
 *
 * The environment (environment.h) is already put into scalars. Tags, several documents in a file,
 * keys that are not scalars, and a key twice in a mapping are errors. */
#ifndef SPLASHDAM_YAML_H
#define SPLASHDAM_YAML_H

#include "plugins/plugin.h"

#define YAML_MAX_FILE    ((size_t)4 * 1024 * 1024)  /* bytes */
#define YAML_MAX_DEPTH   64u                        /* lists and mappings within each other */
#define YAML_MAX_WEIGHT  ((size_t)64 * 1024 * 1024) /* bytes of all texts, and 16 more a node */
#define YAML_MAX_ANCHORS 1024u

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAPPING };

struct yaml_node {
    enum yaml_kind kind;
    bool quoted;           /* scalar: in quotes, or a block (| or >) */
    bool null;             /* scalar: nothing, ~ or null, unquoted */
    bool from_environment; /* scalar: has the value of a variable in it; not to be shown */
    const char *file;
    int line; /* 1.. */
    int column;
    const char *text; /* scalar */
    size_t len;
    size_t n;                       /* list: items; mapping: pairs */
    const struct yaml_node **keys;  /* mapping: scalars */
    const struct yaml_node **items; /* list: items; mapping: values */
    size_t weight;
    unsigned height; /* 0: a scalar; else one more than the highest item's */
};

struct yaml_tree;

/* Reads a regular file. NULL and *error. */
struct yaml_tree *yaml_tree_read(const char *file, struct error *error);
/* `file` is for places. Variables are left alone unless `environment`. */
struct yaml_tree *yaml_tree_parse(struct slice text, const char *file, bool environment,
                                  struct error *error);
void yaml_tree_free(struct yaml_tree **tree);

/* NULL: the file has no node, or only a null. */
const struct yaml_node *yaml_tree_root(const struct yaml_tree *tree);

/* Value of the key in a mapping; NULL: no such key, or not a mapping (node NULL: none). */
const struct yaml_node *yaml_get(const struct yaml_node *mapping, const char *key);
/* Key node of it. */
const struct yaml_node *yaml_get_key(const struct yaml_node *mapping, const char *key);
/* NULL, or a scalar that is null. */
static inline bool yaml_is_null(const struct yaml_node *node)
{
    return node == NULL || node->null;
}

/* "a text", "a list", "a mapping", "nothing". */
const char *yaml_kind_name(const struct yaml_node *node);

/* Text with the node's place. Returns -1. */
int yaml_error(const struct yaml_node *node, struct error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Gives an error that has no place yet the node's. Returns -1. */
int yaml_error_place(const struct yaml_node *node, struct error *error);
int yaml_error_at(struct error *error, const char *file, int line, int column);

#endif
