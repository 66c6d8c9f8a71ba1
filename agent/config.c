/* Reading goes in two steps: all files to trees, of which the sections are noted; then the sections
 * into structs. So the order of files doesn't matter, and the plugin folder is known before chains.
 *
 * config_private owns everything: the trees (chains and all places point into them) and the structs
 * that option tables filled; struct config's members are copies that share their pointers. */
#include "agent/config_sections.h"

#include "agent/chain.h"
#include "agent/nearest.h"
#include "agent/quote.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILES         1024u
#define MAX_INCLUDE_DEPTH 8u
#define MAX_STREAMS       4096u

struct stream_section {
    const struct yaml_node *key;
    const struct yaml_node *node;
    struct config_tail tail;
    struct ship_section ship;
};

struct config_private {
    size_t n_trees;
    struct yaml_tree *trees[MAX_FILES];
    size_t n_streams;
    struct stream_section *streams;
    struct config_agent agent;
    struct config_kafka kafka;
    struct config_spool spool;
    char *file;
    char host[256];
};

struct loader {
    struct config_private *own;
    bool includes; /* allowed */
    struct error *error;
    /* Key and value nodes of the sections that stand in one file only. */
    const struct yaml_node *agent_key, *agent;
    const struct yaml_node *kafka_key, *kafka;
    const struct yaml_node *spool_key, *spool;
    size_t n_seen;
    struct {
        dev_t device;
        ino_t inode;
    } seen[MAX_FILES];
};

static int load_file(struct loader *loader, const char *file, const struct yaml_node *place,
                     unsigned depth);

/* ---- files ---- */

/* "folder/" of the file with what glob(3) takes as special escaped, then the pattern; on the heap. */
static char *beside(const char *file, const char *pattern)
{
    const char *slash = pattern[0] == '/' ? NULL : strrchr(file, '/');
    size_t folder_len = slash == NULL ? 0 : (size_t)(slash + 1 - file);
    size_t len = strlen(pattern);
    char *path = (char *)malloc(2 * folder_len + len + 1);
    if (path == NULL)
        return NULL;
    char *to = path;
    for (size_t i = 0; i < folder_len; i++) {
        if (strchr("*?[]\\", file[i]) != NULL)
            *to++ = '\\';
        *to++ = file[i];
    }
    memcpy(to, pattern, len + 1);
    return path;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int include_pattern(struct loader *loader, const struct yaml_node *node, unsigned depth)
{
    struct error *error = loader->error;
    if (node->kind != YAML_SCALAR || node->null || node->len == 0)
        return yaml_error(node, error, "include must be a glob or a list of globs, not %s",
                          node->kind == YAML_SCALAR ? "nothing" : yaml_kind_name(node));
    if (depth == MAX_INCLUDE_DEPTH)
        return yaml_error(node, error, "includes are nested more than %u deep", MAX_INCLUDE_DEPTH);
    char *pattern = beside(node->file, node->text);
    if (pattern == NULL)
        return yaml_error(node, error, "out of memory");
    glob_t found = {.gl_pathc = 0};
    bool literal = strpbrk(node->text, "*?[") == NULL;
    int status = glob(pattern, GLOB_NOSORT, NULL, &found);
    int result = 0;
    if (status == GLOB_NOMATCH && literal)
        result = yaml_error(node, error, "%s does not exist", quote_str(node->text).text);
    else if (status != 0 && status != GLOB_NOMATCH)
        result = yaml_error(node, error, "%s can't be looked up", quote_str(node->text).text);
    if (status == 0)
        qsort(found.gl_pathv, found.gl_pathc, sizeof(found.gl_pathv[0]), by_name);
    for (size_t i = 0; status == 0 && i < found.gl_pathc && result == 0; i++)
        result = load_file(loader, found.gl_pathv[i], node, depth + 1);
    globfree(&found);
    free(pattern);
    return result;
}

static int load_includes(struct loader *loader, const struct yaml_node *node, unsigned depth)
{
    if (yaml_is_null(node))
        return 0;
    if (!loader->includes)
        return yaml_error(node, loader->error, "include is not allowed here");
    if (node->kind != YAML_LIST)
        return include_pattern(loader, node, depth);
    for (size_t i = 0; i < node->n; i++)
        if (include_pattern(loader, node->items[i], depth) == -1)
            return -1;
    return 0;
}

/* Notes that the file is read. 1: for the first time, 0: it was read before, -1: too many. */
static int note_file(struct loader *loader, const char *file)
{
    struct stat status;
    if (stat(file, &status) == -1)
        return 1; /* opening it says why */
    for (size_t i = 0; i < loader->n_seen; i++)
        if (loader->seen[i].device == status.st_dev && loader->seen[i].inode == status.st_ino)
            return 0;
    if (loader->n_seen == MAX_FILES)
        return -1;
    loader->seen[loader->n_seen].device = status.st_dev;
    loader->seen[loader->n_seen++].inode = status.st_ino;
    return 1;
}

/* ---- sections of a file ---- */

static int note_section(struct loader *loader, const struct yaml_node *key,
                        const struct yaml_node *node, const struct yaml_node **key_slot,
                        const struct yaml_node **slot)
{
    if (*key_slot != NULL)
        return yaml_error(key, loader->error, "%s is configured twice: also at %s:%d:%d", key->text,
                          (*key_slot)->file, (*key_slot)->line, (*key_slot)->column);
    *key_slot = key;
    *slot = node;
    return 0;
}

static int note_stream(struct loader *loader, const struct yaml_node *key,
                       const struct yaml_node *node)
{
    struct config_private *own = loader->own;
    if (!config_name_valid(slice_of(key->text, key->len)))
        return yaml_error(key, loader->error,
                          "a stream's name must be of 1 to %u letters, digits, and . _ -, not %s",
                          CONFIG_NAME_MAX, quote_str(key->text).text);
    for (size_t i = 0; i < own->n_streams; i++) {
        const struct yaml_node *other = own->streams[i].key;
        if (strcmp(other->text, key->text) == 0)
            return yaml_error(key, loader->error,
                              "stream \"%s\" is configured twice: also at %s:%d:%d", key->text,
                              other->file, other->line, other->column);
    }
    struct stream_section *grown =
        (struct stream_section *)realloc(own->streams, (own->n_streams + 1) * sizeof(*own->streams));
    if (grown == NULL)
        return yaml_error(key, loader->error, "out of memory");
    own->streams = grown;
    own->streams[own->n_streams++] = (struct stream_section){.key = key, .node = node};
    return 0;
}

static int note_streams(struct loader *loader, const struct yaml_node *node)
{
    if (yaml_is_null(node))
        return 0;
    if (node->kind != YAML_MAPPING)
        return yaml_error(node, loader->error,
                          "streams must be a mapping of names to streams, not %s",
                          yaml_kind_name(node));
    for (size_t i = 0; i < node->n; i++)
        if (note_stream(loader, node->keys[i], node->items[i]) == -1)
            return -1;
    return 0;
}

static int note_key(struct loader *loader, const struct yaml_node *key, const struct yaml_node *node)
{
    if (strcmp(key->text, "agent") == 0)
        return note_section(loader, key, node, &loader->agent_key, &loader->agent);
    if (strcmp(key->text, "kafka") == 0)
        return note_section(loader, key, node, &loader->kafka_key, &loader->kafka);
    if (strcmp(key->text, "spool") == 0)
        return note_section(loader, key, node, &loader->spool_key, &loader->spool);
    if (strcmp(key->text, "streams") == 0)
        return note_streams(loader, node);
    if (strcmp(key->text, "include") == 0)
        return 0;
    struct option_target target = {.what = "the configuration", .options = file_keys};
    return option_unknown_key(&target, key, loader->error);
}

static int load_tree(struct loader *loader, const struct yaml_tree *tree, unsigned depth)
{
    const struct yaml_node *root = yaml_tree_root(tree);
    if (root == NULL)
        return 0;
    if (root->kind != YAML_MAPPING)
        return yaml_error(root, loader->error, "a configuration is a mapping, not %s",
                          yaml_kind_name(root));
    for (size_t i = 0; i < root->n; i++)
        if (note_key(loader, root->keys[i], root->items[i]) == -1)
            return -1;
    return load_includes(loader, yaml_get(root, "include"), depth);
}

/* `place`: of the include that names the file; NULL: it is the first. */
static int load_file(struct loader *loader, const char *file, const struct yaml_node *place,
                     unsigned depth)
{
    int first = note_file(loader, file);
    if (first == -1)
        return yaml_error(place, loader->error, "more than %u files", MAX_FILES);
    if (first == 0)
        return 0;
    struct yaml_tree *tree = yaml_tree_read(file, loader->error);
    if (tree == NULL) {
        if (place == NULL || loader->error->line != 0)
            return -1;
        struct error why = *loader->error;
        return yaml_error(place, loader->error, "%.250s: %.200s", file, why.text);
    }
    loader->own->trees[loader->own->n_trees++] = tree;
    return load_tree(loader, tree, depth);
}

/* ---- sections to structs ---- */

static int fill_section(const struct section *section, void *into, const struct yaml_node *node,
                        const struct yaml_node *place, struct error *error)
{
    struct option_target target = {.what = section->name, .options = section->options, .into = into};
    return option_fill(&target, node, place, error);
}

static int fill_agent(struct loader *loader, const struct yaml_node *top)
{
    struct config_private *own = loader->own;
    const struct yaml_node *place = loader->agent_key != NULL ? loader->agent_key : top;
    if (fill_section(&agent_section, &own->agent, loader->agent, place, loader->error) == -1 ||
        config_check_agent(&own->agent, loader->agent, loader->error) == -1)
        return -1;
    if (gethostname(own->host, sizeof(own->host)) == -1)
        return yaml_error(place, loader->error, "the host has no name that can be read");
    own->host[sizeof(own->host) - 1] = '\0';
    if (own->agent.id == NULL)
        own->agent.id = strdup(own->host);
    if (own->agent.id == NULL)
        return yaml_error(place, loader->error, "out of memory");
    return 0;
}

static int fill_kafka(struct loader *loader, const struct yaml_node *top)
{
    struct config_kafka *kafka = &loader->own->kafka;
    const struct yaml_node *place = loader->kafka_key != NULL ? loader->kafka_key : top;
    if (fill_section(&kafka_section, kafka, loader->kafka, place, loader->error) == -1)
        return -1;
    return config_check_kafka(kafka, loader->kafka, loader->error);
}

static int fill_spool(struct loader *loader, const struct yaml_node *top)
{
    struct config_spool *spool = &loader->own->spool;
    const struct yaml_node *place = loader->spool_key != NULL ? loader->spool_key : top;
    if (fill_section(&spool_section, spool, loader->spool, place, loader->error) == -1)
        return -1;
    return config_check_spool(spool, loader->spool, loader->error);
}

static int fill_stream(struct stream_section *stream, struct error *error)
{
    const struct yaml_node *node = stream->node;
    char what[CONFIG_NAME_MAX + 16];
    snprintf(what, sizeof(what), "stream \"%s\"", stream->key->text);
    if (yaml_is_null(node) || node->kind != YAML_MAPPING)
        return yaml_error(stream->key, error, "%s must be a mapping with tail and ship, not %s",
                          what, yaml_kind_name(node));
    for (size_t i = 0; i < node->n; i++) {
        struct option_target target = {.what = what, .options = stream_keys};
        if (option_find(stream_keys, node->keys[i]->text) == NULL)
            return option_unknown_key(&target, node->keys[i], error);
    }
    const struct yaml_node *tail = yaml_get_key(node, "tail");
    const struct yaml_node *ship = yaml_get_key(node, "ship");
    if (tail == NULL)
        return yaml_error(stream->key, error, "%s needs \"tail\": the files to read", what);
    if (ship == NULL)
        return yaml_error(stream->key, error, "%s needs \"ship\": where its records go", what);
    const struct yaml_node *tail_node = yaml_get(node, "tail");
    const struct yaml_node *ship_node = yaml_get(node, "ship");
    if (fill_section(&tail_section, &stream->tail, tail_node, tail, error) == -1 ||
        config_check_tail(&stream->tail, tail_node, error) == -1 ||
        fill_section(&ship_section, &stream->ship, ship_node, ship, error) == -1 ||
        config_check_ship(&stream->ship.ship, ship_node, error) == -1)
        return -1;
    stream->ship.ship.partitioner = ship_partitioners[stream->ship.partitioner];
    return 0;
}

/* Gives the config its streams, and opens each chain once. */
static int fill_streams(struct config *config, struct error *error)
{
    struct config_private *own = config->own;
    config->streams = (struct config_stream *)calloc(own->n_streams, sizeof(*config->streams));
    if (config->streams == NULL)
        return error_set(error, "out of memory");
    for (size_t i = 0; i < own->n_streams; i++) {
        struct stream_section *section = &own->streams[i];
        struct config_stream *stream = &config->streams[i];
        if (fill_stream(section, error) == -1)
            return -1;
        stream->name = section->key->text;
        stream->node = section->node;
        stream->tail = section->tail;
        stream->ship = section->ship.ship;
        stream->chain = yaml_get(section->node, "chain");
        if (yaml_is_null(stream->chain))
            stream->chain = NULL;
        config->n_streams++;
        struct chain *chain = chain_open(config, stream->chain, error);
        if (chain == NULL)
            return -1;
        chain_close(&chain);
    }
    return 0;
}

static int fill_config(struct config *config, struct loader *loader)
{
    struct config_private *own = config->own;
    struct yaml_node top = {.file = own->file, .line = 1, .column = 1};
    if (fill_agent(loader, &top) == -1)
        return -1;
    config->file = own->file;
    config->host = own->host;
    config->agent = own->agent;
    config->agent_node = loader->agent;
    config->kafka_node = loader->kafka;
    if (fill_kafka(loader, &top) == -1)
        return -1;
    config->kafka = own->kafka;
    if (fill_spool(loader, &top) == -1)
        return -1;
    config->spool = own->spool;
    config->spool_node = loader->spool;
    if (own->n_streams == 0)
        return yaml_error(&top, loader->error, "no stream is configured: streams has what to ship");
    return fill_streams(config, loader->error);
}

/* ---- the interface ---- */

static struct config *config_new(const char *file)
{
    struct config *config = (struct config *)calloc(1, sizeof(*config));
    if (config == NULL)
        return NULL;
    config->holders = 1;
    config->own = (struct config_private *)calloc(1, sizeof(*config->own));
    if (config->own == NULL || (config->own->file = strdup(file)) == NULL)
        config_free(&config);
    return config;
}

/* The text, or, when its ptr is NULL, the file. */
static struct config *load(struct slice text, const char *file, struct error *error)
{
    *error = (struct error){.line = 0};
    struct config *config = config_new(file);
    struct loader *loader = (struct loader *)calloc(1, sizeof(*loader));
    int result = error_set(error, "out of memory");
    if (config == NULL || loader == NULL)
        goto out;
    loader->own = config->own;
    loader->error = error;
    loader->includes = text.ptr == NULL;
    if (text.ptr == NULL) {
        result = load_file(loader, file, NULL, 0);
    } else {
        struct yaml_tree *tree = yaml_tree_parse(text, file, true, error);
        config->own->trees[0] = tree;
        config->own->n_trees = tree == NULL ? 0 : 1;
        result = tree == NULL ? -1 : load_tree(loader, tree, 0);
    }
    if (result == 0)
        result = fill_config(config, loader);
out:
    free(loader);
    if (result == -1 && config != NULL)
        config_free(&config);
    if (result == 0)
        *error = (struct error){.line = 0};
    return config;
}

struct config *config_load(const char *file, struct error *error)
{
    return load((struct slice){NULL, 0}, file, error);
}

struct config *config_load_text(struct slice text, const char *file, struct error *error)
{
    return load(text, file, error);
}

struct config *config_hold(struct config *config)
{
    config->holders++;
    return config;
}

void config_free(struct config **config)
{
    if (*config == NULL || --(*config)->holders > 0) {
        *config = NULL;
        return;
    }
    struct config_private *own = (*config)->own;
    if (own != NULL) {
        for (size_t i = 0; i < own->n_streams; i++) {
            option_free(tail_section.options, &own->streams[i].tail);
            option_free(ship_section.options, &own->streams[i].ship);
        }
        free(own->streams);
        option_free(kafka_section.options, &own->kafka);
        option_free(spool_section.options, &own->spool);
        option_free(agent_section.options, &own->agent);
        for (size_t i = 0; i < own->n_trees; i++)
            yaml_tree_free(&own->trees[i]);
        free(own->file);
        free(own);
    }
    free((*config)->streams);
    free(*config);
    *config = NULL;
}

const struct config_stream *config_named(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->n_streams; i++)
        if (strcmp(config->streams[i].name, name) == 0)
            return &config->streams[i];
    return NULL;
}

const struct config_stream *config_stream(const struct config *config, const char *name,
                                          struct error *error)
{
    struct nearest nearest;
    const struct config_stream *found = config_named(config, name);
    if (found != NULL)
        return found;
    nearest_init(&nearest, name);
    for (size_t i = 0; i < config->n_streams; i++)
        nearest_offer(&nearest, config->streams[i].name);
    *error = (struct error){.line = 0};
    if (nearest.best != NULL)
        error_set(error, "no stream %s in %s; did you mean \"%s\"?", quote_str(name).text,
                  config->file, nearest.best);
    else
        error_set(error, "no stream %s in %s; there is \"%s\"%s", quote_str(name).text,
                  config->file, config->streams[0].name, config->n_streams > 1 ? " and others" : "");
    return NULL;
}
