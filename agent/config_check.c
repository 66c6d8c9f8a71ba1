/* What option tables can't say of a section: forms of names, words that exclude each other. */
#include "agent/config_sections.h"

#include "agent/producer.h"
#include "agent/proof.h"
#include "agent/quantity.h"
#include "agent/quote.h"
#include "agent/spool_crypt.h"
#include "agent/template.h"

#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>

static bool name_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

bool config_name_valid(struct slice name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!name_char(name.ptr[i]))
            return false;
    return name.len > 0 && name.len <= CONFIG_NAME_MAX;
}

const struct yaml_node *config_item_node(const struct yaml_node *section, const char *option,
                                         size_t i)
{
    const struct yaml_node *node = yaml_get(section, option);
    return node->kind == YAML_LIST ? node->items[i] : node;
}

int config_check_absolute(const char *path, const struct yaml_node *node, const char *name,
                          struct error *error)
{
    if (path[0] == '/')
        return 0;
    return yaml_error(node, error, "%s must be absolute: begin with a /, not as %s does", name,
                      quote_str(path).text);
}

/* ---- agent ---- */

/* Processors that this process may run on. */
static int64_t processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == -1)
        return 1;
    int n = CPU_COUNT(&set);
    return n < 1 ? 1 : n;
}

#define FILES_OF_WORKER 4 /* the least with which it gets on */

int config_check_agent(struct config_agent *agent, const struct yaml_node *node, struct error *error)
{
    if (agent->workers < 0)
        agent->workers = processors();
    if (agent->open_files >= 0 && agent->open_files < FILES_OF_WORKER * agent->workers)
        return yaml_error(yaml_get(node, "open_files"), error,
                          "open_files must be at least %d for each of the %" PRId64 " workers",
                          FILES_OF_WORKER, agent->workers);
    const struct yaml_node *id = yaml_get(node, "id");
    if (id != NULL && !config_name_valid(slice_str(agent->id)))
        return yaml_error(id, error, "id must be of 1 to %u letters, digits, and . _ -, not %s",
                          CONFIG_NAME_MAX, quote_str(agent->id).text);
    const struct yaml_node *state = yaml_get(node, "state");
    if (state != NULL && config_check_absolute(agent->state, state, "state", error) == -1)
        return -1;
    const struct yaml_node *plugins = yaml_get(node, "plugins");
    return plugins == NULL ? 0 : config_check_absolute(agent->plugins, plugins, "plugins", error);
}

/* ---- kafka ---- */

static bool port_valid(const char *text)
{
    int64_t port;
    return text[0] != '-' && quantity_integer(text, &port) == 0 && port >= 1 && port <= 65535;
}

/* name:port, 192.0.2.1:port or [2001:db8::1]:port. */
static bool broker_valid(const char *broker)
{
    const char *colon = strrchr(broker, ':');
    if (colon == NULL || colon == broker || !port_valid(colon + 1))
        return false;
    if (broker[0] == '[' && colon[-1] == ']' && colon - broker > 2)
        return strspn(broker + 1, "0123456789abcdefABCDEF:.%") >= (size_t)(colon - broker - 2);
    for (const char *at = broker; at < colon; at++)
        if (!name_char(*at))
            return false;
    return true;
}

/* Adds the parts between commas, without blanks around them. */
static int split_brokers(const char *text, struct option_list *list, const struct yaml_node *node,
                         struct error *error)
{
    for (const char *at = text;;) {
        size_t len = strcspn(at, ",");
        const char *next = at[len] == ',' ? at + len + 1 : NULL;
        for (; len > 0 && at[0] == ' '; len--)
            at++;
        while (len > 0 && at[len - 1] == ' ')
            len--;
        const char **grown =
            (const char **)realloc((void *)list->items, (list->n + 1) * sizeof(*list->items));
        if (grown == NULL)
            return yaml_error(node, error, "out of memory");
        list->items = grown;
        list->items[list->n] = strndup(at, len);
        if (list->items[list->n] == NULL)
            return yaml_error(node, error, "out of memory");
        list->n++;
        if (!broker_valid(list->items[list->n - 1]))
            return yaml_error(node, error,
                              "%s is no broker: brokers must be host:port, as in kafka-1:9092, or "
                              "the one word embedded",
                              quote_str(list->items[list->n - 1]).text);
        if (next == NULL)
            return 0;
        at = next;
    }
}

static int check_brokers(struct config_kafka *kafka, const struct yaml_node *node,
                         struct error *error)
{
    struct option_list *brokers = &kafka->brokers;
    if (brokers->n == 1 && strcmp(brokers->items[0], "embedded") == 0) {
        kafka->embedded = true;
        return 0;
    }
    const struct option *option = option_find(kafka_section.options, "brokers");
    struct option_list split = {.n = 0};
    int result = 0;
    for (size_t i = 0; i < brokers->n && result == 0; i++)
        result =
            split_brokers(brokers->items[i], &split, config_item_node(node, "brokers", i), error);
    option_clear(option, brokers);
    *brokers = split;
    return result;
}

/* Is the property's value nothing to be shown? */
static bool property_secret(const char *name, const struct yaml_node *value)
{
    static const char *const parts[] = {"password", "secret", "key.pem", "oauthbearer", "jaas"};
    if (value->from_environment)
        return true;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (strstr(name, parts[i]) != NULL)
            return true;
    return false;
}

static int check_property(const struct option_pair *pair, const struct yaml_node *key,
                          const struct yaml_node *value, struct error *error)
{
    struct error why = {.line = 0};
    if (producer_check_property(pair->key, pair->value, &why) == 0)
        return 0;
    if (property_secret(pair->key, value))
        return yaml_error(key, error,
                          "the property %s is not known, not to be set here, or has a wrong value "
                          "(which is not shown)",
                          quote_str(pair->key).text);
    *error = why;
    return yaml_error_at(error, key->file, key->line, key->column);
}

int config_check_kafka(struct config_kafka *kafka, const struct yaml_node *node, struct error *error)
{
    if (!producer_topic_name_valid(slice_str(kafka->positions)))
        return yaml_error(yaml_get(node, "positions"), error,
                          "%s is no topic's name: it must be of 1 to 249 letters, digits, and . _ "
                          "-, and not . or ..",
                          quote_str(kafka->positions).text);
    if (check_brokers(kafka, node, error) == -1)
        return -1;
    const struct yaml_node *properties = yaml_get(node, "properties");
    for (size_t i = 0; i < kafka->properties.n; i++)
        if (check_property(&kafka->properties.items[i], properties->keys[i], properties->items[i],
                           error) == -1)
            return -1;
    return 0;
}

/* ---- spool ---- */

int config_check_spool(const struct config_spool *spool, const struct yaml_node *node,
                       struct error *error)
{
    if (spool->max_bytes != 0 && spool->max_bytes < 1 * MIB)
        return yaml_error(yaml_get(node, "max_bytes"), error,
                          "max_bytes must be 0, for no spool, or at least 1MiB");
    if (spool->key_file != NULL &&
        config_check_absolute(spool->key_file, yaml_get(node, "key_file"), "key_file", error) == -1)
        return -1;
    struct spool_keys *keys;
    struct error why = {.line = 0};
    if (spool->key_file == NULL || spool_keys_load(spool->key_file, &keys, &why) == 0) {
        if (spool->key_file != NULL)
            spool_keys_free(&keys);
        return 0;
    }
    return yaml_error(yaml_get(node, "key_file"), error, "%.400s", why.text);
}

/* ---- ship ---- */

static int check_headers(const struct config_ship *ship, const struct yaml_node *node,
                         struct error *error)
{
    const struct yaml_node *headers = yaml_get(node, "headers");
    for (size_t i = 0; i < ship->headers.n; i++) {
        const char *name = ship->headers.items[i].key;
        if (name[0] == '\0')
            return yaml_error(headers->keys[i], error, "a header needs a name");
        if (strcmp(name, PROOF_HEADER) == 0)
            return yaml_error(headers->keys[i], error,
                              "the header %s is splashdam's own: it is proof: true that adds it",
                              PROOF_HEADER);
    }
    return 0;
}

int config_check_ship(const struct config_ship *ship, const struct yaml_node *node,
                      struct error *error)
{
    struct slice topic;
    if (check_headers(ship, node, error) == -1)
        return -1;
    if (!template_constant(ship->topic, &topic) || producer_topic_name_valid(topic))
        return 0;
    return yaml_error(yaml_get(node, "topic"), error,
                      "%s is no topic's name: it must be of 1 to 249 letters, digits, and . _ -, "
                      "and not . or ..",
                      quote(topic).text);
}
