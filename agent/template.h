/* %{field} templates: text with fields in it, `%{field:-default}` where one may be missing, `%%{` for a plain `%{`. */
#ifndef SPLASHDAM_TEMPLATE_H
#define SPLASHDAM_TEMPLATE_H

#include "plugins/plugin.h"

/* NULL and *error when it is wrong. Rendering doesn't change a template: threads may share it. */
struct template *template_new(const char *text, struct error *error);
void template_free(struct template **template);
/* True when it has no field in it; its text is then in *ret_text. */
bool template_constant(const struct template *template, struct slice *ret_text);

#endif
