/* A stream's chain of steps in one worker: loads the plugins, runs them over batches, and counts
 * what each step dropped and failed. */
#ifndef SPLASHDAM_CHAIN_H
#define SPLASHDAM_CHAIN_H

#include "agent/config.h"

struct chain;

/* One step's counters; written by the chain's worker only, read by any thread (relaxed atomics). */
struct step_stats {
    const char *name; /* the plugin's */
    int line;         /* of the step in its file */
    uint64_t seen, dropped, failed, limited;
};

/* Opens the steps of `steps` (NULL: none; the chain is then empty). NULL and *error when one is wrong. */
struct chain *chain_open(const struct config *config, const struct yaml_node *steps,
                         struct error *error);
void chain_close(struct chain **chain);
/* Runs every step over the batch. Returns -1 when the batch's arena had no room. */
int chain_run(struct chain *chain, struct batch *batch);
size_t chain_step_count(const struct chain *chain);
const struct step_stats *chain_step(const struct chain *chain, size_t i);

/* Plugins known by name: shared objects in the plugin folder, loaded once for the whole process and checked (ABI). */
const struct plugin *chain_plugin(const char *folder, const char *name, struct error *error);
/* Calls `each` for every plugin in the folder, in the order of names. -1 and *error when one can't be loaded. */
typedef void chain_each_plugin(const struct plugin *plugin, void *arg);
int chain_plugins(const char *folder, chain_each_plugin *each, void *arg, struct error *error);
/* The folder where plugins are looked for: configured, SPLASHDAM_PLUGINS, plugins/ beside the
 * binary, else the installed one. */
const char *chain_plugin_folder(const char *configured);

/* The options that every step has beside its plugin's own, where that has none of the name: `when`. */
const struct option *chain_common_options(void);

#endif
