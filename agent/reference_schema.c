/* docs/splashdam.schema.json: draft-07, for the YAML language servers of editors. A text with a
 * variable in it (${NAME}) is allowed wherever a number or a word is. */
#include "agent/reference.h"

#include "agent/chain.h"
#include "agent/cli.h"
#include "agent/config_sections.h"

#include <inttypes.h>

/* ---- JSON ---- */

/* Writes members and brackets with commas and indentation where they belong. */
struct json_out {
    FILE *out;
    int depth;
    bool first; /* nothing stands yet in the innermost bracket */
};

static void put_string(struct json_out *json, const char *text)
{
    putc('"', json->out);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            fprintf(json->out, "\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            fprintf(json->out, "\\u%04x", (unsigned)*text);
        else
            putc(*text, json->out);
    }
    putc('"', json->out);
}

/* What stands before a value: a comma, a new line, and its key when it has one. */
static void put_key(struct json_out *json, const char *key)
{
    if (json->depth > 0)
        fprintf(json->out, "%s\n%*s", json->first ? "" : ",", 2 * json->depth, "");
    json->first = false;
    if (key == NULL)
        return;
    put_string(json, key);
    fputs(": ", json->out);
}

static void open_bracket(struct json_out *json, const char *key, char bracket)
{
    put_key(json, key);
    putc(bracket, json->out);
    json->depth++;
    json->first = true;
}

static void close_bracket(struct json_out *json, char bracket)
{
    json->depth--;
    if (!json->first)
        fprintf(json->out, "\n%*s", 2 * json->depth, "");
    putc(bracket, json->out);
    json->first = false;
}

static void put_text(struct json_out *json, const char *key, const char *text)
{
    put_key(json, key);
    put_string(json, text);
}

/* A value that is JSON already. */
static void put_raw(struct json_out *json, const char *key, const char *value)
{
    put_key(json, key);
    fputs(value, json->out);
}

static void put_number(struct json_out *json, const char *key, int64_t number)
{
    put_key(json, key);
    fprintf(json->out, "%" PRId64, number);
}

/* ---- values ---- */

#define VARIABLE   "\\$\\{"
#define ANY_SCALAR "[\"string\", \"number\", \"boolean\"]"

static void put_words(struct json_out *json, const char *const *words)
{
    open_bracket(json, NULL, '{');
    open_bracket(json, "enum", '[');
    for (size_t i = 0; words[i] != NULL; i++)
        put_text(json, NULL, words[i]);
    close_bracket(json, ']');
    close_bracket(json, '}');
}

static void put_variable(struct json_out *json)
{
    open_bracket(json, NULL, '{');
    put_text(json, "type", "string");
    put_text(json, "pattern", VARIABLE);
    close_bracket(json, '}');
}

static void put_limits(struct json_out *json, const struct option *option, const char *least,
                       const char *most)
{
    if (option->min == 0 && option->max == 0)
        return;
    put_number(json, least, option->min);
    if (option->max != INT64_MAX)
        put_number(json, most, option->max);
}

static void put_integer(struct json_out *json, const struct option *option)
{
    open_bracket(json, "anyOf", '[');
    open_bracket(json, NULL, '{');
    put_text(json, "type", "integer");
    put_limits(json, option, "minimum", "maximum");
    close_bracket(json, '}');
    if (option->choices != NULL)
        put_words(json, option->choices);
    put_variable(json);
    close_bracket(json, ']');
}

static void put_time(struct json_out *json, const struct option *option)
{
    open_bracket(json, "anyOf", '[');
    open_bracket(json, NULL, '{');
    put_text(json, "type", "string");
    put_text(json, "pattern", "^[0-9]+(ms|s|m|h|d)$|" VARIABLE);
    close_bracket(json, '}');
    if (option->choices != NULL)
        put_words(json, option->choices);
    close_bracket(json, ']');
}

static void put_items(struct json_out *json, const struct option *option)
{
    open_bracket(json, "anyOf", '[');
    put_raw(json, NULL, "{\"type\": " ANY_SCALAR "}");
    open_bracket(json, NULL, '{');
    put_text(json, "type", "array");
    put_raw(json, "items", "{\"type\": " ANY_SCALAR "}");
    put_limits(json, option, "minItems", "maxItems");
    close_bracket(json, '}');
    close_bracket(json, ']');
}

/* The schema of one value of a map, as a member. */
static void put_map_value(struct json_out *json, const struct option *option)
{
    if (option->choices == NULL) {
        put_raw(json, "additionalProperties", "{\"type\": " ANY_SCALAR "}");
        return;
    }
    open_bracket(json, "additionalProperties", '{');
    open_bracket(json, "anyOf", '[');
    put_words(json, option->choices);
    put_variable(json);
    close_bracket(json, ']');
    close_bracket(json, '}');
}

static void put_choice(struct json_out *json, const struct option *option)
{
    open_bracket(json, "anyOf", '[');
    put_words(json, option->choices);
    put_variable(json);
    close_bracket(json, ']');
}

static void put_mapping(struct json_out *json, const struct option *options, const char *rest_name,
                        const struct option *common);

/* Members that say what the option's value may be. */
static void put_type(struct json_out *json, const struct option *option)
{
    switch (option->type) {
    case OPTION_BOOL:
        put_raw(json, "anyOf",
                "[{\"type\": \"boolean\"}, {\"type\": \"string\", \"pattern\": "
                "\"\\\\$\\\\{\"}]");
        break;
    case OPTION_INTEGER: put_integer(json, option); break;
    case OPTION_SIZE:
        put_raw(json, "type", "[\"string\", \"integer\"]");
        put_text(json, "pattern", "^[0-9]+(([KMGT]i|[kKMGT])?B)?$|" VARIABLE);
        break;
    case OPTION_TIME: put_time(json, option); break;
    case OPTION_CHOICE: put_choice(json, option); break;
    case OPTION_LIST: put_items(json, option); break;
    case OPTION_MAP:
    case OPTION_TEMPLATES:
        put_text(json, "type", "object");
        put_map_value(json, option);
        break;
    case OPTION_STRING:
    case OPTION_TEMPLATE: put_raw(json, "type", ANY_SCALAR); break;
    case OPTION_REGEX:
    case OPTION_CONDITION: put_text(json, "type", "string"); break;
    case OPTION_SECTION: put_mapping(json, option->options, NULL, NULL); break;
    }
}

static void put_default_node(struct json_out *json, const char *key, const struct yaml_node *node)
{
    if (node->kind == YAML_SCALAR) {
        put_text(json, key, node->text);
        return;
    }
    bool list = node->kind == YAML_LIST;
    open_bracket(json, key, list ? '[' : '{');
    for (size_t i = 0; i < node->n; i++)
        put_default_node(json, list ? NULL : node->keys[i]->text, node->items[i]);
    close_bracket(json, list ? ']' : '}');
}

static void put_default(struct json_out *json, const struct option *option)
{
    const char *text = option->fallback;
    if (text == NULL)
        return;
    bool plain = option->type == OPTION_BOOL ||
                 (option->type == OPTION_INTEGER && strspn(text, "-0123456789") == strlen(text));
    if (plain) {
        put_raw(json, "default", text);
        return;
    }
    struct error error;
    bool quoted = text[0] == '\'' || text[0] == '"';
    bool items = option->type == OPTION_LIST || option_is_map(option);
    struct yaml_tree *tree =
        quoted || items ? yaml_tree_parse(slice_str(text), "", false, &error) : NULL;
    if (tree != NULL && yaml_tree_root(tree) != NULL)
        put_default_node(json, "default", yaml_tree_root(tree));
    else
        put_text(json, "default", text);
    yaml_tree_free(&tree);
}

/* ---- mappings ---- */

static void put_property(struct json_out *json, const struct option *option)
{
    open_bracket(json, option->name, '{');
    put_text(json, "description", option->help);
    put_type(json, option);
    put_default(json, option);
    close_bracket(json, '}');
}

/* The property of a step's rest option: the map itself, or, as any other key, one value. */
static void put_rest_property(struct json_out *json, const struct option *rest)
{
    open_bracket(json, rest->name, '{');
    put_text(json, "description", rest->help);
    open_bracket(json, "anyOf", '[');
    open_bracket(json, NULL, '{');
    put_type(json, rest);
    close_bracket(json, '}');
    put_raw(json, NULL, "{\"type\": " ANY_SCALAR "}");
    close_bracket(json, ']');
    close_bracket(json, '}');
}

static bool any_required(const struct option *options, const char *but)
{
    for (const struct option *option = options; option->name != NULL; option++)
        if (option->required && (but == NULL || strcmp(option->name, but) != 0))
            return true;
    return false;
}

static void put_required(struct json_out *json, const struct option *options, const char *but)
{
    if (!any_required(options, but))
        return;
    open_bracket(json, "required", '[');
    for (const struct option *option = options; option->name != NULL; option++)
        if (option->required && (but == NULL || strcmp(option->name, but) != 0))
            put_text(json, NULL, option->name);
    close_bracket(json, ']');
}

/* Members of a schema for a mapping; may be left empty when nothing in it is required. */
static void put_mapping(struct json_out *json, const struct option *options, const char *rest_name,
                        const struct option *common)
{
    const struct option *rest = option_find(options, rest_name);
    bool needed = any_required(options, NULL);
    put_raw(json, "type", needed ? "\"object\"" : "[\"object\", \"null\"]");
    open_bracket(json, "properties", '{');
    for (const struct option *option = options; option->name != NULL; option++)
        if (option == rest)
            put_rest_property(json, option);
        else
            put_property(json, option);
    for (const struct option *option = common; option != NULL && option->name != NULL; option++)
        put_property(json, option);
    close_bracket(json, '}');
    if (rest != NULL)
        put_map_value(json, rest);
    else
        put_raw(json, "additionalProperties", "false");
    put_required(json, options, rest_name);
}

static void put_section(struct json_out *json, const struct section *section)
{
    open_bracket(json, section->name, '{');
    put_text(json, "description", section->help);
    put_mapping(json, section->options, NULL, NULL);
    close_bracket(json, '}');
}

/* ---- steps ---- */

static void put_step(const struct plugin *plugin, void *arg)
{
    struct json_out *json = (struct json_out *)arg;
    const struct option *shorthand = option_find(plugin->options, plugin->shorthand);
    const struct option *common =
        option_find(plugin->options, "when") == NULL ? chain_common_options() : NULL;
    open_bracket(json, plugin->name, '{');
    put_text(json, "description", plugin->help);
    if (shorthand != NULL) {
        open_bracket(json, "anyOf", '[');
        open_bracket(json, NULL, '{');
        put_type(json, shorthand);
        close_bracket(json, '}');
        open_bracket(json, NULL, '{');
    }
    put_mapping(json, plugin->options, plugin->rest, common);
    if (shorthand != NULL) {
        close_bracket(json, '}');
        close_bracket(json, ']');
    }
    close_bracket(json, '}');
}

static void put_step_name(const struct plugin *plugin, void *arg)
{
    if (!any_required(plugin->options, NULL))
        put_text((struct json_out *)arg, NULL, plugin->name);
}

static void put_chain(struct json_out *json, const char *folder, struct error *error)
{
    open_bracket(json, "step", '{');
    open_bracket(json, "anyOf", '[');
    open_bracket(json, NULL, '{');
    open_bracket(json, "enum", '[');
    chain_plugins(folder, put_step_name, json, error);
    close_bracket(json, ']');
    close_bracket(json, '}');
    open_bracket(json, NULL, '{');
    put_text(json, "type", "object");
    open_bracket(json, "properties", '{');
    chain_plugins(folder, put_step, json, error);
    close_bracket(json, '}');
    put_raw(json, "additionalProperties", "false");
    put_raw(json, "minProperties", "1");
    put_raw(json, "maxProperties", "1");
    close_bracket(json, '}');
    close_bracket(json, ']');
    close_bracket(json, '}');
}

/* ---- the whole ---- */

static void put_stream(struct json_out *json)
{
    open_bracket(json, "stream", '{');
    put_text(json, "type", "object");
    open_bracket(json, "properties", '{');
    put_section(json, &tail_section);
    open_bracket(json, "chain", '{');
    put_text(json, "description", option_find(stream_keys, "chain")->help);
    put_raw(json, "type", "[\"array\", \"null\"]");
    put_raw(json, "items", "{\"$ref\": \"#/definitions/step\"}");
    close_bracket(json, '}');
    put_section(json, &ship_section);
    close_bracket(json, '}');
    put_raw(json, "additionalProperties", "false");
    put_raw(json, "required", "[\"tail\", \"ship\"]");
    close_bracket(json, '}');
}

static void put_file(struct json_out *json)
{
    put_raw(json, "type", "[\"object\", \"null\"]");
    open_bracket(json, "properties", '{');
    put_section(json, &agent_section);
    put_property(json, option_find(file_keys, "include"));
    put_section(json, &kafka_section);
    put_section(json, &spool_section);
    open_bracket(json, "streams", '{');
    put_text(json, "description", option_find(file_keys, "streams")->help);
    put_raw(json, "type", "[\"object\", \"null\"]");
    put_raw(json, "propertyNames", "{\"pattern\": \"^[A-Za-z0-9._-]{1,64}$\"}");
    put_raw(json, "additionalProperties", "{\"$ref\": \"#/definitions/stream\"}");
    close_bracket(json, '}');
    close_bracket(json, '}');
    put_raw(json, "additionalProperties", "false");
}

static void load_plugin(const struct plugin *plugin, void *arg)
{
    (void)plugin;
    (void)arg;
}

int reference_schema(FILE *out)
{
    struct json_out json = {.out = out, .first = true};
    struct error error = {.line = 0};
    const char *folder = chain_plugin_folder(NULL);
    if (chain_plugins(folder, load_plugin, NULL, &error) == -1) {
        cli_print_error(&error);
        return -1;
    }
    open_bracket(&json, NULL, '{');
    put_text(&json, "$schema", "http://json-schema.org/draft-07/schema#");
    put_text(&json, "title", "splashdam's configuration");
    put_file(&json);
    open_bracket(&json, "definitions", '{');
    put_stream(&json);
    put_chain(&json, folder, &error);
    close_bracket(&json, '}');
    close_bracket(&json, '}');
    putc('\n', out);
    return 0;
}
