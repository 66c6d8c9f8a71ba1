/* The configuration reference, from the option tables and the plugins in the folder: in Markdown for
 * people (docs/configuration.md), as JSON Schema for editors (docs/splashdam.schema.json).
 * Each returns 0, or -1 with the reason on standard error and nothing printed. */
#ifndef SPLASHDAM_REFERENCE_H
#define SPLASHDAM_REFERENCE_H

#include <stdio.h>

int reference_markdown(FILE *out);
int reference_schema(FILE *out);

#endif
