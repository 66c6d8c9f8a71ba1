/* `when:` conditions. The language is described at the head of expr.c. */
#ifndef SPLASHDAM_EXPR_H
#define SPLASHDAM_EXPR_H

#include "plugins/plugin.h"

/* NULL and *error (text with the column within the condition) when it is wrong. */
struct condition *condition_new(const char *text, struct error *error);
void condition_free(struct condition **condition);

#endif
