/* The commands that a person runs beside the agent. Each returns the exit status: 0, or 1 with the
 * reason on standard error, as `file:line:column: text`. */
#ifndef SPLASHDAM_CLI_H
#define SPLASHDAM_CLI_H

#include "plugins/plugin.h"

/* The plugins with a line each; with a name that one's options and example. */
int cli_plugins(const char *name);
/* Loads the configuration; prints `FILE: ok` and what it has. */
int cli_check(const char *file);
/* Standard input's lines through the stream's chain and encoding to standard output. */
int cli_try(const char *file, const char *stream);

/* `spool ls|check|dump|salvage`, with their own arguments: argv[0] is `spool`. 2: wrong usage. */
int cli_spool(int argc, char **argv, const char *config);

/* The error on standard error, with its place. */
void cli_print_error(const struct error *error);

#endif
