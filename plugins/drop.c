/* drop: records for which a condition holds go no further. */
#include "plugins/plugin.h"

struct drop {
    struct condition *when;
};

static void drop_process(void *arg, struct batch *batch)
{
    struct drop *self = (struct drop *)arg;
    for (struct record *record = NULL; (record = batch_next(batch, record)) != NULL;)
        if (condition_matches(self->when, batch, record))
            record_drop(batch, record);
}

static const struct option options[] = {
    {.name = "when",
     .type = OPTION_CONDITION,
     .offset = offsetof(struct drop, when),
     .help = "Records for which this holds are dropped, and counted.",
     .required = true},
    OPTION_END,
};

PLUGIN = {
    .abi = PLUGIN_ABI,
    .name = "drop",
    .help = "Drops the records for which a condition holds.",
    .example = "- drop: {when: 'status == 404'}",
    .options = options,
    .shorthand = "when",
    .size = sizeof(struct drop),
    .process = drop_process,
};
