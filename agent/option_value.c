/* One option's value: from a node to a member, by the option's type. The member owns what it points to. */
#include "agent/option.h"

#include "agent/expr.h"
#include "agent/quantity.h"
#include "agent/quote.h"
#include "agent/template.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* How the option's value is refused: what it must be, and what it is. */
static int refuse(const struct option *option, const struct yaml_node *node, struct error *error)
{
    char allowed[OPTION_TEXT_ROOM];
    option_allowed(option, allowed);
    if (yaml_is_null(node))
        return yaml_error(node, error, "%s has no value; it must be %s", option->name, allowed);
    if (node->kind != YAML_SCALAR)
        return yaml_error(node, error, "%s must be %s, not %s", option->name, allowed,
                          yaml_kind_name(node));
    return yaml_error(node, error, "%s must be %s, not %s", option->name, allowed,
                      quote_str(node->text).text);
}

static bool in_range(const struct option *option, int64_t value)
{
    bool limited = option->min != 0 || option->max != 0;
    return !limited || (value >= option->min && value <= option->max);
}

static int word_index(const struct option *option, const char *word)
{
    for (int i = 0; option->choices != NULL && option->choices[i] != NULL; i++)
        if (strcmp(option->choices[i], word) == 0)
            return i;
    return -1;
}

/* ---- scalars ---- */

typedef int value_fn(const struct option *option, const struct yaml_node *node, void *to,
                     struct error *error);

static int set_bool(const struct option *option, const struct yaml_node *node, void *to,
                    struct error *error)
{
    bool yes = strcmp(node->text, "true") == 0;
    if (!yes && strcmp(node->text, "false") != 0)
        return refuse(option, node, error);
    *(bool *)to = yes;
    return 0;
}

/* A number that `parse` knows, or a word. */
static int set_number(const struct option *option, const struct yaml_node *node,
                      int (*parse)(const char *text, int64_t *ret_value), void *to,
                      struct error *error)
{
    int64_t value;
    int word = word_index(option, node->text);
    if (word >= 0)
        value = -1 - word;
    else if (parse(node->text, &value) == -1 || !in_range(option, value))
        return refuse(option, node, error);
    *(int64_t *)to = value;
    return 0;
}

static int set_integer(const struct option *option, const struct yaml_node *node, void *to,
                       struct error *error)
{
    return set_number(option, node, quantity_integer, to, error);
}

static int set_size(const struct option *option, const struct yaml_node *node, void *to,
                    struct error *error)
{
    int64_t bytes;
    if (quantity_size(node->text, &bytes) == -1 || !in_range(option, bytes))
        return refuse(option, node, error);
    *(uint64_t *)to = (uint64_t)bytes;
    return 0;
}

static int set_time(const struct option *option, const struct yaml_node *node, void *to,
                    struct error *error)
{
    return set_number(option, node, quantity_time, to, error);
}

static int set_choice(const struct option *option, const struct yaml_node *node, void *to,
                      struct error *error)
{
    int word = word_index(option, node->text);
    if (word < 0)
        return refuse(option, node, error);
    *(int *)to = word;
    return 0;
}

static int copy_text(const struct yaml_node *node, const char **to, struct error *error)
{
    char *copy = strdup(node->text);
    if (copy == NULL)
        return yaml_error(node, error, "out of memory");
    *to = copy;
    return 0;
}

static int set_string(const struct option *option, const struct yaml_node *node, void *to,
                      struct error *error)
{
    if (!in_range(option, (int64_t)node->len))
        return refuse(option, node, error);
    return copy_text(node, (const char **)to, error);
}

/* What a compiler of texts said, behind the option's name and with the node's place. */
static int compile_error(const char *name, const struct yaml_node *node, struct error *error)
{
    char why[sizeof(error->text)];
    memcpy(why, error->text, sizeof(why));
    return yaml_error(node, error, "%s: %.*s", name, (int)sizeof(why) - 64, why);
}

static int set_compiled(const struct option *option, const struct yaml_node *node, void *to,
                        struct error *error)
{
    if (!in_range(option, (int64_t)node->len))
        return refuse(option, node, error);
    void *compiled = NULL;
    if (option->type == OPTION_REGEX)
        compiled = regex_new(node->text, error);
    else if (option->type == OPTION_CONDITION)
        compiled = condition_new(node->text, error);
    else
        compiled = template_new(node->text, error);
    if (compiled == NULL)
        return compile_error(option->name, node, error);
    *(void **)to = compiled;
    return 0;
}

/* ---- lists and maps ---- */

static int list_add(const struct option *option, const struct yaml_node *node, void *to,
                    struct error *error)
{
    struct option_list *list = (struct option_list *)to;
    if (node->kind != YAML_SCALAR || node->null)
        return yaml_error(node, error, "%s holds texts; %s is none", option->name,
                          yaml_kind_name(node));
    const char **grown =
        (const char **)realloc((void *)list->items, (list->n + 1) * sizeof(*list->items));
    if (grown == NULL)
        return yaml_error(node, error, "out of memory");
    list->items = grown;
    if (copy_text(node, &list->items[list->n], error) == -1)
        return -1;
    list->n++;
    return 0;
}

static int set_list(const struct option *option, const struct yaml_node *node, void *to,
                    struct error *error)
{
    size_t n = node->kind == YAML_LIST ? node->n : 1;
    if (node->kind == YAML_MAPPING || !in_range(option, (int64_t)n))
        return refuse(option, node, error);
    if (node->kind == YAML_SCALAR)
        return list_add(option, node, to, error);
    for (size_t i = 0; i < node->n; i++)
        if (list_add(option, node->items[i], to, error) == -1)
            return -1;
    return 0;
}

static int add_value(const struct option *option, const char *key, const struct yaml_node *value,
                     struct option_map *map, struct error *error)
{
    if (option->choices != NULL && word_index(option, value->text) < 0) {
        struct option choice = {.name = key, .type = OPTION_CHOICE, .choices = option->choices};
        return refuse(&choice, value, error);
    }
    struct option_pair *grown =
        (struct option_pair *)realloc(map->items, (map->n + 1) * sizeof(*map->items));
    if (grown == NULL)
        return yaml_error(value, error, "out of memory");
    map->items = grown;
    struct option_pair *pair = &map->items[map->n];
    *pair = (struct option_pair){.line = value->line, .column = value->column};
    pair->key = strdup(key);
    if (pair->key == NULL)
        return yaml_error(value, error, "out of memory");
    map->n++; /* from here on it is freed with the map */
    return copy_text(value, &pair->value, error);
}

static int add_template(const char *key, const struct yaml_node *value,
                        struct option_templates *map, struct error *error)
{
    void *grown = realloc(map->items, (map->n + 1) * sizeof(*map->items));
    if (grown == NULL)
        return yaml_error(value, error, "out of memory");
    map->items = grown;
    map->items[map->n].template = NULL;
    map->items[map->n].key = strdup(key);
    if (map->items[map->n].key == NULL)
        return yaml_error(value, error, "out of memory");
    map->n++;
    map->items[map->n - 1].template = template_new(value->text, error);
    if (map->items[map->n - 1].template == NULL)
        return compile_error(key, value, error);
    return 0;
}

int option_add_pair(const struct option *option, const struct yaml_node *key,
                    const struct yaml_node *value, void *to, struct error *error)
{
    if (value->null)
        return yaml_error(value, error, "%s has no value; write '' for an empty text",
                          quote_str(key->text).text);
    if (value->kind != YAML_SCALAR)
        return yaml_error(value, error, "%s must be a text, not %s", quote_str(key->text).text,
                          yaml_kind_name(value));
    if (option->type == OPTION_MAP)
        return add_value(option, key->text, value, (struct option_map *)to, error);
    return add_template(key->text, value, (struct option_templates *)to, error);
}

static int set_map(const struct option *option, const struct yaml_node *node, void *to,
                   struct error *error)
{
    if (node->kind != YAML_MAPPING || !in_range(option, (int64_t)node->n))
        return refuse(option, node, error);
    for (size_t i = 0; i < node->n; i++)
        if (option_add_pair(option, node->keys[i], node->items[i], to, error) == -1)
            return -1;
    return 0;
}

static int set_section(const struct option *option, const struct yaml_node *node, void *to,
                       struct error *error)
{
    struct option_target target = {.what = option->name, .options = option->options, .into = to};
    return option_fill(&target, node, node, error);
}

/* ---- all types ---- */

static value_fn *const setters[] = {
    [OPTION_BOOL] = set_bool,         [OPTION_INTEGER] = set_integer,
    [OPTION_SIZE] = set_size,         [OPTION_TIME] = set_time,
    [OPTION_STRING] = set_string,     [OPTION_CHOICE] = set_choice,
    [OPTION_REGEX] = set_compiled,    [OPTION_CONDITION] = set_compiled,
    [OPTION_TEMPLATE] = set_compiled, [OPTION_LIST] = set_list,
    [OPTION_MAP] = set_map,           [OPTION_TEMPLATES] = set_map,
    [OPTION_SECTION] = set_section,
};

static bool is_scalar(const struct option *option)
{
    return option->type != OPTION_LIST && option->type != OPTION_SECTION && !option_is_map(option);
}

bool option_is_map(const struct option *option)
{
    return option->type == OPTION_MAP || option->type == OPTION_TEMPLATES;
}

int option_set(const struct option *option, const struct yaml_node *node, void *to,
               struct error *error)
{
    bool scalar = is_scalar(option);
    if (yaml_is_null(node) || (scalar && node->kind != YAML_SCALAR))
        return refuse(option, node, error);
    return setters[option->type](option, node, to, error);
}

int option_set_default(const struct option *option, void *to, struct error *error)
{
    const char *text = option->fallback;
    bool scalar = is_scalar(option);
    if (scalar && text[0] != '\'' && text[0] != '"') {
        struct yaml_node node = {.kind = YAML_SCALAR,
                                 .quoted = true,
                                 .text = text,
                                 .len = strlen(text),
                                 .file = "",
                                 .line = 1,
                                 .column = 1};
        return option_set(option, &node, to, error);
    }
    struct yaml_tree *tree = yaml_tree_parse(slice_str(text), "", false, error);
    if (tree == NULL)
        return -1;
    int result = 0;
    if (yaml_tree_root(tree) != NULL)
        result = option_set(option, yaml_tree_root(tree), to, error);
    yaml_tree_free(&tree);
    return result;
}

static void clear_list(struct option_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free((void *)(uintptr_t)list->items[i]);
    free((void *)list->items);
    *list = (struct option_list){.n = 0};
}

static void clear_map(struct option_map *map)
{
    for (size_t i = 0; i < map->n; i++) {
        free((void *)(uintptr_t)map->items[i].key);
        free((void *)(uintptr_t)map->items[i].value);
    }
    free(map->items);
    *map = (struct option_map){.n = 0};
}

static void clear_templates(struct option_templates *map)
{
    for (size_t i = 0; i < map->n; i++) {
        free((void *)(uintptr_t)map->items[i].key);
        template_free(&map->items[i].template);
    }
    free(map->items);
    *map = (struct option_templates){.n = 0};
}

void option_clear(const struct option *option, void *to)
{
    switch (option->type) {
    case OPTION_STRING:
        free(*(void **)to);
        *(void **)to = NULL;
        break;
    case OPTION_REGEX: regex_free((struct regex **)to); break;
    case OPTION_CONDITION: condition_free((struct condition **)to); break;
    case OPTION_TEMPLATE: template_free((struct template **)to); break;
    case OPTION_LIST: clear_list((struct option_list *)to); break;
    case OPTION_MAP: clear_map((struct option_map *)to); break;
    case OPTION_TEMPLATES: clear_templates((struct option_templates *)to); break;
    case OPTION_SECTION: option_free(option->options, to); break;
    case OPTION_BOOL:
    case OPTION_INTEGER:
    case OPTION_SIZE:
    case OPTION_TIME:
    case OPTION_CHOICE: break;
    }
}
