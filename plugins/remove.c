/* remove: fields that are not wanted. */
#include "plugins/plugin.h"

struct remove {
    struct option_list fields;
};

static void remove_process(void *arg, struct batch *batch)
{
    struct remove *self = (struct remove *)arg;
    for (struct record *record = NULL; (record = batch_next(batch, record)) != NULL;)
        for (size_t i = 0; i < self->fields.n; i++)
            record_remove(record, slice_str(self->fields.items[i]));
}

static const struct option options[] = {
    {.name = "fields",
     .type = OPTION_LIST,
     .offset = offsetof(struct remove, fields),
     .min = 1,
     .max = INT64_MAX,
     .help = "Names of the fields. The ones that the agent adds (@timestamp, host.name, "
             "log.file.path, log.offset) can be removed, too.",
     .required = true},
    OPTION_END,
};

PLUGIN = {
    .abi = PLUGIN_ABI,
    .name = "remove",
    .help = "Removes fields; one that is not there is no error.",
    .example = "- remove: [referer, user]",
    .options = options,
    .shorthand = "fields",
    .size = sizeof(struct remove),
    .process = remove_process,
};
