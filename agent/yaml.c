/* Nodes are built from libyaml's events (not its documents, which know no bounds), one level of
 * recursion a level of nesting. */
#include "agent/yaml.h"

#include "agent/environment.h"
#include "agent/quote.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#define NODE_WEIGHT 16u

/* Every allocation of a tree is one of these, in a list. */
struct block {
    struct block *next;
    _Alignas(16) char bytes[];
};

struct yaml_tree {
    struct block *blocks;
    char *file;
    struct yaml_node *root;
};

struct anchor {
    char *name;
    struct yaml_node *node; /* NULL: not complete yet */
};

struct builder {
    struct yaml_tree *tree;
    yaml_parser_t parser;
    bool environment;
    struct error *error;
    size_t n_anchors;
    struct anchor anchors[YAML_MAX_ANCHORS];
};

/* ---- errors ---- */

int yaml_error_at(struct error *error, const char *file, int line, int column)
{
    snprintf(error->file, sizeof(error->file), "%s", file);
    error->line = line;
    error->column = column;
    return -1;
}

int yaml_error_place(const struct yaml_node *node, struct error *error)
{
    if (error->line == 0)
        return yaml_error_at(error, node->file, node->line, node->column);
    if (error->file[0] == '\0')
        snprintf(error->file, sizeof(error->file), "%s", node->file);
    return -1;
}

int yaml_error(const struct yaml_node *node, struct error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return yaml_error_at(error, node->file, node->line, node->column);
}

static void error_at_mark(struct builder *builder, yaml_mark_t mark)
{
    yaml_error_at(builder->error, builder->tree->file, (int)mark.line + 1, (int)mark.column + 1);
}

/* Line and column of a byte that libyaml could not even decode. */
static void error_at_offset(struct builder *builder, struct slice text, size_t offset)
{
    int line = 1;
    int column = 1;
    for (size_t i = 0; i < offset && i < text.len; i++) {
        column++;
        if (text.ptr[i] == '\n') {
            line++;
            column = 1;
        }
    }
    yaml_error_at(builder->error, builder->tree->file, line, column);
}

static void parser_error(struct builder *builder)
{
    const yaml_parser_t *parser = &builder->parser;
    const char *problem = parser->problem != NULL ? parser->problem : "out of memory";
    if (parser->error == YAML_READER_ERROR) {
        error_set(builder->error, "not valid YAML: %s", problem);
        error_at_offset(builder,
                        slice_of((const char *)parser->input.string.start,
                                 (size_t)(parser->input.string.end - parser->input.string.start)),
                        parser->problem_offset);
        return;
    }
    if (parser->context != NULL && parser->context_mark.line != parser->problem_mark.line)
        error_set(builder->error, "not valid YAML: %s (%s that begins in line %zu)", problem,
                  parser->context, parser->context_mark.line + 1);
    else
        error_set(builder->error, "not valid YAML: %s", problem);
    error_at_mark(builder, parser->problem_mark);
}

/* ---- memory ---- */

static void *tree_alloc(struct builder *builder, size_t size)
{
    struct block *block = (struct block *)calloc(1, sizeof(*block) + size);
    if (block == NULL) {
        error_set(builder->error, "out of memory");
        return NULL;
    }
    block->next = builder->tree->blocks;
    builder->tree->blocks = block;
    return block->bytes;
}

static char *tree_copy(struct builder *builder, const char *bytes, size_t len)
{
    char *copy = (char *)tree_alloc(builder, len + 1);
    if (copy != NULL && len != 0)
        memcpy(copy, bytes, len);
    return copy;
}

/* An array of n pointers with room for one more; room doubles. */
static int array_reserve(struct builder *builder, const struct yaml_node ***array, size_t n)
{
    if (n != 0 && (n < 4 || (n & (n - 1)) != 0))
        return 0;
    size_t room = n < 4 ? 4 : n * 2;
    const struct yaml_node **grown =
        (const struct yaml_node **)tree_alloc(builder, room * sizeof(*grown));
    if (grown == NULL)
        return -1;
    if (n != 0)
        memcpy(grown, *array, n * sizeof(*grown));
    *array = grown;
    return 0;
}

static struct yaml_node *node_new(struct builder *builder, enum yaml_kind kind,
                                  const yaml_event_t *event)
{
    struct yaml_node *node = (struct yaml_node *)tree_alloc(builder, sizeof(*node));
    if (node == NULL)
        return NULL;
    node->kind = kind;
    node->file = builder->tree->file;
    node->line = (int)event->start_mark.line + 1;
    node->column = (int)event->start_mark.column + 1;
    node->weight = NODE_WEIGHT;
    return node;
}

/* ---- building ---- */

static int next_event(struct builder *builder, yaml_event_t *event)
{
    if (yaml_parser_parse(&builder->parser, event))
        return 0;
    parser_error(builder);
    return -1;
}

/* Remembers that an anchor's node begins. *ret_index is -1 when there is no anchor. */
static int anchor_begin(struct builder *builder, const yaml_char_t *name, const yaml_event_t *event,
                        int *ret_index)
{
    *ret_index = -1;
    if (name == NULL)
        return 0;
    size_t n = builder->n_anchors;
    error_at_mark(builder, event->start_mark);
    if (n == YAML_MAX_ANCHORS)
        return error_set(builder->error, "more than %u anchors", YAML_MAX_ANCHORS);
    char *copy = tree_copy(builder, (const char *)name, strlen((const char *)name));
    if (copy == NULL)
        return -1;
    builder->anchors[n] = (struct anchor){.name = copy};
    builder->n_anchors++;
    *ret_index = (int)n;
    return 0;
}

static void anchor_end(struct builder *builder, int index, struct yaml_node *node)
{
    if (index >= 0)
        builder->anchors[index].node = node;
}

/* An anchor's name may be given anew: the last one counts. */
static struct yaml_node *alias_node(struct builder *builder, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    error_at_mark(builder, event->start_mark);
    for (size_t i = builder->n_anchors; i-- > 0;) {
        if (strcmp(builder->anchors[i].name, name) != 0)
            continue;
        if (builder->anchors[i].node == NULL)
            error_set(builder->error, "*%s stands within what it names", name);
        return builder->anchors[i].node;
    }
    error_set(builder->error, "*%s names nothing: there is no &%s before it", name, name);
    return NULL;
}

static bool text_is_null(const char *text, size_t len)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    for (size_t i = 0; i < sizeof(nulls) / sizeof(nulls[0]); i++)
        if (slice_equal(slice_of(text, len), slice_str(nulls[i])))
            return true;
    return false;
}

static struct yaml_node *scalar_node(struct builder *builder, const yaml_event_t *event)
{
    const char *value = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    struct yaml_node *node = node_new(builder, YAML_SCALAR, event);
    if (node == NULL)
        return NULL;
    error_at_mark(builder, event->start_mark);
    if (len != 0 && memchr(value, '\0', len) != NULL) {
        error_set(builder->error, "a text must not have a NUL byte in it");
        return NULL;
    }
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node->null = !node->quoted && text_is_null(value, len);
    if (builder->environment && environment_in(slice_of(value, len))) {
        char *expanded = environment_expand(slice_of(value, len), YAML_MAX_FILE, &node->len,
                                            &node->from_environment, builder->error);
        if (expanded == NULL)
            return NULL;
        node->text = tree_copy(builder, expanded, node->len);
        free(expanded);
    } else {
        node->text = tree_copy(builder, value, len);
        node->len = len;
    }
    node->weight += node->len;
    return node->text == NULL ? NULL : node;
}

static struct yaml_node *build(struct builder *builder, const yaml_event_t *event, unsigned depth);

/* Adds the item to the parent; at the item's place when that is too much. */
static int node_add(struct builder *builder, struct yaml_node *parent, const struct yaml_node *item,
                    const yaml_event_t *event)
{
    parent->weight += item->weight;
    if (item->height + 1 > parent->height)
        parent->height = item->height + 1;
    error_at_mark(builder, event->start_mark);
    if (parent->weight > YAML_MAX_WEIGHT)
        return error_set(builder->error,
                         "too large, with each alias counted as often as it is "
                         "used: more than %zu MiB",
                         YAML_MAX_WEIGHT >> 20);
    return 0;
}

static int by_text(const void *a, const void *b)
{
    const struct yaml_node *x = *(const struct yaml_node *const *)a;
    const struct yaml_node *y = *(const struct yaml_node *const *)b;
    int order = strcmp(x->text, y->text);
    if (order != 0)
        return order;
    return x->line != y->line ? x->line - y->line : x->column - y->column;
}

static int check_keys(struct builder *builder, const struct yaml_node *mapping)
{
    if (mapping->n < 2)
        return 0;
    const struct yaml_node **keys = (const struct yaml_node **)malloc(mapping->n * sizeof(*keys));
    if (keys == NULL)
        return error_set(builder->error, "out of memory");
    int result = 0;
    memcpy(keys, mapping->keys, mapping->n * sizeof(*keys));
    qsort(keys, mapping->n, sizeof(*keys), by_text);
    for (size_t i = 1; i < mapping->n && result == 0; i++)
        if (strcmp(keys[i - 1]->text, keys[i]->text) == 0)
            result = yaml_error(keys[i], builder->error,
                                "key %s stands here twice; the first is in line %d",
                                quote_str(keys[i]->text).text, keys[i - 1]->line);
    free(keys);
    return result;
}

/* One item of a list (end YAML_SEQUENCE_END_EVENT) or one pair of a mapping. 1: added, 0: the end. */
static int build_item(struct builder *builder, struct yaml_node *parent, yaml_event_type_t end,
                      const struct yaml_node **ret_item, unsigned depth)
{
    yaml_event_t event;
    if (next_event(builder, &event) == -1)
        return -1;
    int result = -1;
    if (event.type == end) {
        result = 0;
    } else {
        *ret_item = build(builder, &event, depth);
        if (*ret_item != NULL && node_add(builder, parent, *ret_item, &event) == 0)
            result = 1;
    }
    yaml_event_delete(&event);
    return result;
}

static int build_list(struct builder *builder, struct yaml_node *list, unsigned depth)
{
    for (;;) {
        const struct yaml_node *item;
        int result = build_item(builder, list, YAML_SEQUENCE_END_EVENT, &item, depth);
        if (result <= 0)
            return result;
        if (array_reserve(builder, &list->items, list->n) == -1)
            return -1;
        list->items[list->n++] = item;
    }
}

static int build_mapping(struct builder *builder, struct yaml_node *mapping, unsigned depth)
{
    for (;;) {
        const struct yaml_node *key;
        const struct yaml_node *value;
        int result = build_item(builder, mapping, YAML_MAPPING_END_EVENT, &key, depth);
        if (result == 0)
            return check_keys(builder, mapping);
        if (result == -1)
            return -1;
        if (key->kind != YAML_SCALAR)
            return yaml_error(key, builder->error, "a key must be a text, not %s",
                              yaml_kind_name(key));
        /* A mapping's end can't stand behind a key: libyaml gives an empty scalar then. */
        if (build_item(builder, mapping, YAML_NO_EVENT, &value, depth) != 1)
            return -1;
        if (array_reserve(builder, &mapping->keys, mapping->n) == -1 ||
            array_reserve(builder, &mapping->items, mapping->n) == -1)
            return -1;
        mapping->keys[mapping->n] = key;
        mapping->items[mapping->n++] = value;
    }
}

static int check_tag(struct builder *builder, const yaml_event_t *event, const yaml_char_t *tag)
{
    if (tag == NULL)
        return 0;
    error_set(builder->error, "tags (%s) are not used here: leave it out",
              quote_str((const char *)tag).text);
    error_at_mark(builder, event->start_mark);
    return -1;
}

/* A list or a mapping; depth is that of its items. */
static struct yaml_node *build_inner(struct builder *builder, const yaml_event_t *event,
                                     unsigned depth)
{
    bool list = event->type == YAML_SEQUENCE_START_EVENT;
    int anchor;
    if (depth > YAML_MAX_DEPTH) {
        error_set(builder->error, "nested more than %u levels deep", YAML_MAX_DEPTH);
        error_at_mark(builder, event->start_mark);
        return NULL;
    }
    if (check_tag(builder, event,
                  list ? event->data.sequence_start.tag : event->data.mapping_start.tag) == -1 ||
        anchor_begin(builder,
                     list ? event->data.sequence_start.anchor : event->data.mapping_start.anchor,
                     event, &anchor) == -1)
        return NULL;
    struct yaml_node *node = node_new(builder, list ? YAML_LIST : YAML_MAPPING, event);
    if (node == NULL)
        return NULL;
    int result = list ? build_list(builder, node, depth) : build_mapping(builder, node, depth);
    if (result == -1)
        return NULL;
    anchor_end(builder, anchor, node);
    return node;
}

static struct yaml_node *build_alias(struct builder *builder, const yaml_event_t *event,
                                     unsigned depth)
{
    struct yaml_node *node = alias_node(builder, event);
    if (node == NULL || depth + node->height <= YAML_MAX_DEPTH)
        return node;
    error_set(builder->error, "nested more than %u levels deep by aliases", YAML_MAX_DEPTH);
    return NULL;
}

/* The node that begins with the event; `depth` lists and mappings are around it. */
static struct yaml_node *build(struct builder *builder, const yaml_event_t *event, unsigned depth)
{
    if (event->type == YAML_ALIAS_EVENT)
        return build_alias(builder, event, depth);
    if (event->type != YAML_SCALAR_EVENT)
        return build_inner(builder, event, depth + 1);
    int anchor;
    if (check_tag(builder, event, event->data.scalar.tag) == -1 ||
        anchor_begin(builder, event->data.scalar.anchor, event, &anchor) == -1)
        return NULL;
    struct yaml_node *node = scalar_node(builder, event);
    if (node != NULL)
        anchor_end(builder, anchor, node);
    return node;
}

/* One event of the stream around the documents. 1: go on, 0: the end. */
static int build_document(struct builder *builder, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_STREAM_END_EVENT: return 0;
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT: return 1;
    case YAML_DOCUMENT_START_EVENT:
        if (builder->tree->root == NULL)
            return 1;
        error_set(builder->error, "a second document begins here; a file holds one");
        error_at_mark(builder, event->start_mark);
        return -1;
    default:
        builder->tree->root = build(builder, event, 0);
        return builder->tree->root == NULL ? -1 : 1;
    }
}

static int build_tree(struct builder *builder)
{
    for (;;) {
        yaml_event_t event;
        if (next_event(builder, &event) == -1)
            return -1;
        int result = build_document(builder, &event);
        yaml_event_delete(&event);
        if (result <= 0)
            return result;
    }
}

/* ---- the interface ---- */

static struct yaml_tree *tree_new(const char *file, struct error *error)
{
    struct yaml_tree *tree = (struct yaml_tree *)calloc(1, sizeof(*tree));
    if (tree == NULL || (tree->file = strdup(file)) == NULL) {
        error_set(error, "out of memory");
        free(tree);
        return NULL;
    }
    return tree;
}

struct yaml_tree *yaml_tree_parse(struct slice text, const char *file, bool environment,
                                  struct error *error)
{
    struct yaml_tree *tree = tree_new(file, error);
    struct builder *builder = (struct builder *)calloc(1, sizeof(*builder));
    int result = -1;
    if (tree == NULL || builder == NULL) {
        error_set(error, "out of memory");
        goto out;
    }
    *error = (struct error){.line = 0};
    builder->tree = tree;
    builder->environment = environment;
    builder->error = error;
    const char *nul = text.len == 0 ? NULL : (const char *)memchr(text.ptr, '\0', text.len);
    if (nul != NULL) {
        error_set(error, "a NUL byte; the file must be text in UTF-8");
        error_at_offset(builder, text, (size_t)(nul - text.ptr));
        goto out;
    }
    if (!yaml_parser_initialize(&builder->parser)) {
        error_set(error, "out of memory");
        goto out;
    }
    yaml_parser_set_encoding(&builder->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&builder->parser, (const unsigned char *)text.ptr, text.len);
    result = build_tree(builder);
    yaml_parser_delete(&builder->parser);
out:
    free(builder);
    if (result == -1)
        yaml_tree_free(&tree);
    else
        *error = (struct error){.line = 0};
    return tree;
}

void yaml_tree_free(struct yaml_tree **tree)
{
    if (*tree == NULL)
        return;
    while ((*tree)->blocks != NULL) {
        struct block *block = (*tree)->blocks;
        (*tree)->blocks = block->next;
        free(block);
    }
    free((*tree)->file);
    free(*tree);
    *tree = NULL;
}

const struct yaml_node *yaml_tree_root(const struct yaml_tree *tree)
{
    return tree->root == NULL || tree->root->null ? NULL : tree->root;
}
