/* keep: only records for which a condition holds go on. */
#include "plugins/plugin.h"

struct keep {
    struct condition *when;
};

static void keep_process(void *arg, struct batch *batch)
{
    struct keep *self = (struct keep *)arg;
    for (struct record *record = NULL; (record = batch_next(batch, record)) != NULL;)
        if (!condition_matches(self->when, batch, record))
            record_drop(batch, record);
}

static const struct option options[] = {
    {.name = "when",
     .type = OPTION_CONDITION,
     .offset = offsetof(struct keep, when),
     .help = "Records for which this does not hold are dropped, and counted.",
     .required = true},
    OPTION_END,
};

PLUGIN = {
    .abi = PLUGIN_ABI,
    .name = "keep",
    .help = "Keeps the records for which a condition holds and drops the others.",
    .example = "- keep: {when: 'level in [\"error\", \"warn\"]'}",
    .options = options,
    .shorthand = "when",
    .size = sizeof(struct keep),
    .process = keep_process,
};
