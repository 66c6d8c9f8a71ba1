/* The environment in texts: `${NAME}` is its value, an error when it is not set; `${NAME:-default}`
 * is `default` when it is not set or empty; `$${` is a plain `${`. Any other `$` is itself. What was
 * put in is not looked at again. */
#ifndef SPLASHDAM_ENVIRONMENT_H
#define SPLASHDAM_ENVIRONMENT_H

#include "plugins/plugin.h"

/* True when the text has anything to replace. */
bool environment_in(struct slice text);

/* The text with its variables replaced, on the heap, NUL-terminated, and its length. NULL and *error
 * (without a place) when a name is wrong or not set, or the text gets longer than `most`.
 * Values never stand in errors. */
char *environment_expand(struct slice text, size_t most, size_t *ret_len, bool *ret_used,
                         struct error *error);

#endif
