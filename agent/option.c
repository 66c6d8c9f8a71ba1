/* Tables and mappings: which key is for which option, what is missing, what is not known, and in words what
 * is allowed. Values themselves are option_value.c's. */
#include "agent/option.h"

#include "agent/nearest.h"
#include "agent/quantity.h"
#include "agent/quote.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- words ---- */

/* A text that is put together, cut at its room. */
struct words {
    char *at;
    size_t room;
};

static void add_words(struct words *words, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add_words(struct words *words, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(words->at, words->room, format, args);
    va_end(args);
    size_t step = len < 0 ? 0 : (size_t)len;
    if (step >= words->room)
        step = words->room - 1;
    words->at += step;
    words->room -= step;
}

/* "a, b or c". */
static void add_choices(struct words *words, const char *const *choices)
{
    for (size_t i = 0; choices[i] != NULL; i++) {
        const char *between = i == 0 ? "" : choices[i + 1] == NULL ? " or " : ", ";
        add_words(words, "%s%s", between, choices[i]);
    }
}

static void add_number(struct words *words, enum option_type type, int64_t value)
{
    char text[QUANTITY_ROOM];
    if (type == OPTION_SIZE)
        quantity_size_text(text, value);
    else if (type == OPTION_TIME)
        quantity_time_text(text, value);
    else
        snprintf(text, sizeof(text), "%" PRId64, value);
    add_words(words, "%s", text);
}

static void add_range(struct words *words, const struct option *option, const char *unit)
{
    if (option->min == 0 && option->max == 0)
        return;
    bool open = option->max == INT64_MAX;
    if (open && option->min == 1 && *unit != '\0') {
        add_words(words, ", not empty");
        return;
    }
    add_words(words, open ? " of at least " : " from ");
    add_number(words, option->type, option->min);
    if (!open) {
        add_words(words, " to ");
        add_number(words, option->type, option->max);
    }
    add_words(words, "%s", unit);
}

void option_allowed(const struct option *option, char buffer[OPTION_TEXT_ROOM])
{
    static const char *const kinds[] = {
        [OPTION_BOOL] = "true or false",
        [OPTION_INTEGER] = "a whole number",
        [OPTION_SIZE] = "a size such as 64KiB, 1MB or 512,",
        [OPTION_TIME] = "a time such as 5s, 200ms, 2m or 1h,",
        [OPTION_STRING] = "a text",
        [OPTION_CHOICE] = "",
        [OPTION_REGEX] = "a regular expression",
        [OPTION_CONDITION] = "a condition such as 'status == 404'",
        [OPTION_TEMPLATE] = "a text, with %{field} for a field's value",
        [OPTION_LIST] = "a text or a list of texts",
        [OPTION_MAP] = "a mapping of names to texts",
        [OPTION_TEMPLATES] = "a mapping of names to texts, with %{field} for a field's value",
        [OPTION_SECTION] = "a mapping of options",
    };
    struct words words = {buffer, OPTION_TEXT_ROOM};
    bool range = option->min != 0 || option->max != 0;
    const char *kind = kinds[option->type];
    size_t len = strlen(kind);
    if (!range && option->choices == NULL && len != 0 && kind[len - 1] == ',')
        len--;
    buffer[0] = '\0';
    if (option->type == OPTION_MAP && option->choices != NULL) {
        add_words(&words, "a mapping of names to ");
        add_choices(&words, option->choices);
    } else {
        add_words(&words, "%.*s", (int)len, kind);
    }
    bool items = option->type == OPTION_LIST || option_is_map(option);
    bool bytes = option->type >= OPTION_STRING && !items;
    add_range(&words, option, items ? " items" : bytes ? " bytes" : "");
    if (option->choices != NULL && (option->type == OPTION_INTEGER || option->type == OPTION_TIME))
        add_words(&words, " or ");
    if (option->choices != NULL && !option_is_map(option))
        add_choices(&words, option->choices);
}

const char *option_type_name(const struct option *option)
{
    static const char *const names[] = {
        [OPTION_BOOL] = "true or false",
        [OPTION_INTEGER] = "number",
        [OPTION_SIZE] = "size",
        [OPTION_TIME] = "time",
        [OPTION_STRING] = "text",
        [OPTION_CHOICE] = "choice",
        [OPTION_REGEX] = "regular expression",
        [OPTION_CONDITION] = "condition",
        [OPTION_TEMPLATE] = "template",
        [OPTION_LIST] = "list",
        [OPTION_MAP] = "map",
        [OPTION_TEMPLATES] = "map of templates",
        [OPTION_SECTION] = "options",
    };
    return names[option->type];
}

/* ---- tables ---- */

const struct option *option_find(const struct option *options, const char *name)
{
    if (options == NULL || name == NULL)
        return NULL;
    for (const struct option *option = options; option->name != NULL; option++)
        if (strcmp(option->name, name) == 0)
            return option;
    return NULL;
}

static void *member(const struct option *option, void *into)
{
    return (char *)into + option->offset;
}

/* The option that a pair of the mapping is for, and where it goes; NULL: no such one. */
static const struct option *find_target(const struct option_target *target,
                                        const struct yaml_node *key, const struct yaml_node *value,
                                        void **ret_into)
{
    const struct option *option = option_find(target->options, key->text);
    bool for_rest = target->rest != NULL && strcmp(key->text, target->rest) == 0;
    *ret_into = target->into;
    if (option != NULL && (!for_rest || value->kind == YAML_MAPPING))
        return option;
    if (for_rest)
        return NULL;
    *ret_into = target->common_into;
    return option_find(target->common, key->text);
}

static void offer_names(struct nearest *nearest, const struct option *options)
{
    for (const struct option *option = options; option != NULL && option->name != NULL; option++)
        nearest_offer(nearest, option->name);
}

static void add_names(struct words *words, const struct option *options, const char **between)
{
    for (const struct option *option = options; option != NULL && option->name != NULL; option++) {
        add_words(words, "%s%s", *between, option->name);
        *between = ", ";
    }
}

int option_unknown_key(const struct option_target *target, const struct yaml_node *key,
                       struct error *error)
{
    struct nearest nearest;
    nearest_init(&nearest, key->text);
    offer_names(&nearest, target->options);
    offer_names(&nearest, target->common);
    struct quoted name = quote_str(key->text);
    if (nearest.best != NULL)
        return yaml_error(key, error, "unknown key %s in %s; did you mean \"%s\"?", name.text,
                          target->what, nearest.best);
    char known[OPTION_TEXT_ROOM] = "";
    const char *between = "";
    struct words words = {known, sizeof(known)};
    add_names(&words, target->options, &between);
    add_names(&words, target->common, &between);
    return yaml_error(key, error, "unknown key %s in %s; known are: %s", name.text, target->what,
                      known);
}

/* ---- filling ---- */

static int fill_pair(const struct option_target *target, const struct yaml_node *node, size_t i,
                     struct error *error)
{
    const struct yaml_node *key = node->keys[i];
    const struct yaml_node *value = node->items[i];
    void *into;
    const struct option *option = find_target(target, key, value, &into);
    if (option != NULL)
        return option_set(option, value, member(option, into), error);
    const struct option *rest = option_find(target->options, target->rest);
    if (rest == NULL)
        return option_unknown_key(target, key, error);
    const struct yaml_node *whole = yaml_get(node, target->rest);
    if (whole != NULL && whole->kind == YAML_MAPPING)
        return yaml_error(key, error, "%s must stand under \"%s\" like the others",
                          quote_str(key->text).text, target->rest);
    return option_add_pair(rest, key, value, member(rest, target->into), error);
}

/* Sets what the node has. */
static int fill_given(const struct option_target *target, const struct yaml_node *node,
                      struct error *error)
{
    if (yaml_is_null(node))
        return 0;
    if (node->kind == YAML_MAPPING) {
        for (size_t i = 0; i < node->n; i++)
            if (fill_pair(target, node, i, error) == -1)
                return -1;
        return 0;
    }
    const struct option *option = option_find(target->options, target->shorthand);
    if (option == NULL)
        return yaml_error(node, error, "%s must be a mapping of options, not %s", target->what,
                          yaml_kind_name(node));
    return option_set(option, node, member(option, target->into), error);
}

/* Was the option given by the node? */
static bool given(const struct option_target *target, const struct option *option,
                  const struct yaml_node *node)
{
    if (yaml_is_null(node))
        return false;
    if (node->kind != YAML_MAPPING)
        return target->shorthand != NULL && strcmp(option->name, target->shorthand) == 0;
    if (target->rest == NULL || strcmp(option->name, target->rest) != 0)
        return yaml_get(node, option->name) != NULL;
    /* Any key that is not another option's. */
    for (size_t i = 0; i < node->n; i++) {
        void *into;
        const struct option *found = find_target(target, node->keys[i], node->items[i], &into);
        if (found == NULL || found == option)
            return true;
    }
    return false;
}

static int fill_missing(const struct option_target *target, const struct option *options,
                        void *into, const struct yaml_node *node, const struct yaml_node *place,
                        struct error *error)
{
    for (const struct option *option = options; option != NULL && option->name != NULL; option++) {
        bool hidden = options == target->common && option_find(target->options, option->name);
        if (hidden || given(target, option, node))
            continue;
        if (option->required)
            return yaml_error(place, error, "%s needs \"%s\": %s", target->what, option->name,
                              option->help);
        if (option->fallback == NULL)
            continue;
        if (option_set_default(option, member(option, into), error) == -1) {
            char why[sizeof(error->text)];
            memcpy(why, error->text, sizeof(why));
            return yaml_error(place, error, "the default of %s in %s is wrong: %.*s", option->name,
                              target->what, (int)sizeof(why) - 128, why);
        }
    }
    return 0;
}

/* A map's number of items, where it came from several keys. */
static int check_rest(const struct option_target *target, const struct yaml_node *place,
                      struct error *error)
{
    const struct option *rest = option_find(target->options, target->rest);
    if (rest == NULL || (rest->min == 0 && rest->max == 0))
        return 0;
    void *map = member(rest, target->into);
    size_t n = rest->type == OPTION_MAP ? ((struct option_map *)map)->n
                                        : ((struct option_templates *)map)->n;
    if ((int64_t)n >= rest->min && (int64_t)n <= rest->max)
        return 0;
    char allowed[OPTION_TEXT_ROOM];
    option_allowed(rest, allowed);
    return yaml_error(place, error, "%s must be %s, not %zu", target->what, allowed, n);
}

int option_fill(const struct option_target *target, const struct yaml_node *node,
                const struct yaml_node *place, struct error *error)
{
    if (node != NULL && node->kind == YAML_MAPPING)
        place = node;
    if (fill_given(target, node, error) == 0 &&
        fill_missing(target, target->options, target->into, node, place, error) == 0 &&
        fill_missing(target, target->common, target->common_into, node, place, error) == 0 &&
        check_rest(target, place, error) == 0)
        return 0;
    option_free(target->options, target->into);
    if (target->common != NULL)
        option_free(target->common, target->common_into);
    return -1;
}

void option_free(const struct option *options, void *into)
{
    for (const struct option *option = options; option->name != NULL; option++)
        option_clear(option, member(option, into));
}
