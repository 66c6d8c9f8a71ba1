/* Option tables (struct option in plugins/plugin.h) to structs: from a YAML mapping, checked, with
 * defaults. The only way that anything of the configuration gets into a struct.
 *
 * What an option's value may be, beside what plugin.h says of its type:
 *   OPTION_BOOL        true or false
 *   OPTION_INTEGER, OPTION_TIME      where there are .choices, also one of these words; the value is then -1 less the
 *                      word's index, and .min must not be negative
 *   OPTION_SIZE        512, 64KiB, 1MB (quantity.h)
 *   OPTION_TIME        5s, 200ms (quantity.h)
 *   OPTION_STRING, OPTION_REGEX, OPTION_CONDITION, OPTION_TEMPLATE      .min and .max are lengths in bytes
 *   OPTION_LIST, OPTION_MAP, OPTION_TEMPLATES      .min and .max are numbers of items
 * The default stands as in YAML; for what is no list and no map it need not be quoted.
 *
 * Whatever option_fill() puts into a struct is the heap's and released by option_free(). */
#ifndef SPLASHDAM_OPTION_H
#define SPLASHDAM_OPTION_H

#include "agent/yaml.h"

/* One mapping's options and where they go. */
struct option_target {
    const char *what;             /* for errors: unknown key "x" in <what> */
    const struct option *options; /* ends with OPTION_END */
    void *into;                   /* zeroed */
    const char *shorthand;        /* option that a plain value or list stands for, or NULL */
    const char *rest; /* option that takes all other keys, or NULL; its own name is a key too
                                     when a mapping stands there */
    const struct option *common; /* further options, or NULL: those of the first table come first */
    void *common_into;
};

/* The node may be NULL or null: only defaults. The place is where a missing option is reported
 * when there is no mapping.
 * -1 and *error: nothing is left to be freed. */
int option_fill(const struct option_target *target, const struct yaml_node *node,
                const struct yaml_node *place, struct error *error);
void option_free(const struct option *options, void *into);

/* The option of that name, or NULL. */
const struct option *option_find(const struct option *options, const char *name);

/* That the key is none of the target's, with the nearest that is, or all. Returns -1. */
int option_unknown_key(const struct option_target *target, const struct yaml_node *key,
                       struct error *error);

#define OPTION_TEXT_ROOM 256u

/* What is allowed, in words, as in "must be …": `a size such as 64KiB, 1MB or 512, from 256 to 64MiB`. */
void option_allowed(const struct option *option, char buffer[OPTION_TEXT_ROOM]);
/* "size", "list", "regular expression" … */
const char *option_type_name(const struct option *option);

/* One value, by its type, into the member at `to`; NULL to free. In option_value.c. */
int option_set(const struct option *option, const struct yaml_node *node, void *to,
               struct error *error);
int option_set_default(const struct option *option, void *to, struct error *error);
void option_clear(const struct option *option, void *to);
/* A map's further pair. */
int option_add_pair(const struct option *option, const struct yaml_node *key,
                    const struct yaml_node *value, void *to, struct error *error);
bool option_is_map(const struct option *option);

#endif
