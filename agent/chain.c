/* Steps are one array; a batch goes through them in order.
 *
 * A step sees the records that are neither dropped nor, where its `when:` is false, skipped. `when`
 * is the agent's for plugins whose own table has none: skipped is set on the records before the step
 * and cleared behind it. A step without a condition costs no look at any record. */
#include "agent/chain.h"

#include "agent/expr.h"
#include "agent/option.h"

#include <stdlib.h>

struct step {
    const struct plugin *plugin;
    void *self;
    struct condition *when; /* NULL: every record */
    struct step_stats stats;
};

struct chain {
    size_t n;
    struct step steps[];
};

/* The option that every step has whose table has none of this name. */
static const struct option common_options[] = {
    {.name = "when",
     .type = OPTION_CONDITION,
     .offset = offsetof(struct step, when),
     .help = "Only records for which this is true go through the step; the others pass by."},
    OPTION_END,
};

const struct option *chain_common_options(void)
{
    return common_options;
}

/* ---- opening ---- */

/* The node of the step's plugin name, and that of its options (NULL: none). NULL and *error. */
static const struct yaml_node *step_parts(const struct yaml_node *node,
                                          const struct yaml_node **ret_options, struct error *error)
{
    *ret_options = NULL;
    if (node->kind == YAML_SCALAR && !node->null)
        return node;
    if (node->kind == YAML_MAPPING && node->n == 1) {
        *ret_options = node->items[0];
        return node->keys[0];
    }
    if (node->kind == YAML_MAPPING && node->n > 1)
        yaml_error(node->keys[1], error,
                   "a step has one plugin; begin the next with a dash, or indent the options of "
                   "this one further");
    else
        yaml_error(node, error,
                   "a step must be a plugin's name, or the name with its options, not %s",
                   yaml_kind_name(node));
    return NULL;
}

static void step_close(struct step *step)
{
    if (step->plugin->close != NULL)
        step->plugin->close(step->self);
    option_free(step->plugin->options, step->self);
    option_free(common_options, step);
    free(step->self);
}

/* On failure nothing is left of the step. A plugin whose open() failed is closed as well: it finds
 * what it has set so far, and zeroes. */
static int step_open(struct step *step, const char *folder, const struct yaml_node *node,
                     struct error *error)
{
    const struct yaml_node *options;
    const struct yaml_node *name = step_parts(node, &options, error);
    if (name == NULL)
        return -1;
    *error = (struct error){.line = 0};
    const struct plugin *plugin = chain_plugin(folder, name->text, error);
    if (plugin == NULL)
        return yaml_error_place(name, error);
    *step = (struct step){.plugin = plugin, .stats = {.name = plugin->name, .line = name->line}};
    step->self = calloc(1, plugin->size == 0 ? 1 : plugin->size);
    if (step->self == NULL)
        return yaml_error(name, error, "out of memory");
    struct option_target target = {
        .what = plugin->name,
        .options = plugin->options,
        .into = step->self,
        .shorthand = plugin->shorthand,
        .rest = plugin->rest,
        .common = option_find(plugin->options, "when") == NULL ? common_options : NULL,
        .common_into = step,
    };
    if (option_fill(&target, options, name, error) == 0) {
        *error = (struct error){.line = 0};
        if (plugin->open == NULL || plugin->open(step->self, error) == 0)
            return 0;
        step_close(step);
        yaml_error_place(name, error);
        return -1;
    }
    free(step->self);
    return -1;
}

struct chain *chain_open(const struct config *config, const struct yaml_node *steps,
                         struct error *error)
{
    const char *folder = chain_plugin_folder(config->agent.plugins);
    size_t n = steps == NULL ? 0 : steps->n;
    if (steps != NULL && steps->kind != YAML_LIST) {
        yaml_error(steps, error, "chain must be a list of steps, not %s", yaml_kind_name(steps));
        return NULL;
    }
    struct chain *chain = (struct chain *)calloc(1, sizeof(*chain) + n * sizeof(chain->steps[0]));
    if (chain == NULL) {
        error_set(error, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        int result = step_open(&chain->steps[i], folder, steps->items[i], error);
        chain->n = result == -1 ? i : i + 1;
        if (result == -1) {
            chain_close(&chain);
            return NULL;
        }
    }
    return chain;
}

void chain_close(struct chain **chain)
{
    if (*chain == NULL)
        return;
    for (size_t i = 0; i < (*chain)->n; i++)
        step_close(&(*chain)->steps[i]);
    free(*chain);
    *chain = NULL;
}

/* ---- running ---- */

/* Other threads read it while this one, the only writer, adds. */
static void count(uint64_t *counter, uint64_t n)
{
    if (n != 0)
        __atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* Marks the records that the step doesn't see; their number. */
static uint32_t skip_records(const struct step *step, struct batch *batch)
{
    uint32_t skipped = 0;
    struct record *record = NULL;
    while ((record = batch_next(batch, record)) != NULL)
        if (!condition_matches(step->when, batch, record)) {
            record->flags |= RECORD_SKIPPED;
            skipped++;
        }
    return skipped;
}

static void unskip_records(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->n_records; i++)
        batch->records[i].flags &= (uint16_t)~RECORD_SKIPPED;
}

static void step_run(struct step *step, struct batch *batch)
{
    uint32_t dropped = batch->n_dropped;
    uint32_t failed = batch->n_failed;
    uint32_t limited = batch->n_limited;
    uint32_t skipped = step->when == NULL ? 0 : skip_records(step, batch);
    uint32_t seen = batch->n_records - dropped - skipped;
    if (seen != 0)
        step->plugin->process(step->self, batch);
    if (skipped != 0)
        unskip_records(batch);
    count(&step->stats.seen, seen);
    count(&step->stats.dropped, batch->n_dropped - dropped);
    count(&step->stats.failed, batch->n_failed - failed);
    count(&step->stats.limited, batch->n_limited - limited);
}

int chain_run(struct chain *chain, struct batch *batch)
{
    for (size_t i = 0; i < chain->n; i++) {
        step_run(&chain->steps[i], batch);
        if (batch->arena.overflowed)
            return -1;
    }
    return 0;
}

size_t chain_step_count(const struct chain *chain)
{
    return chain->n;
}

const struct step_stats *chain_step(const struct chain *chain, size_t i)
{
    assert(i < chain->n);
    return &chain->steps[i].stats;
}
