/* The options of a stream's tail. Helps are printed in the reference: whole sentences, for a reader who has not seen the code. */
#include "agent/config_sections.h"
#include "agent/quote.h"

#include <stddef.h>

static const char *const starts[] = {
    [START_BEGINNING] = "beginning",
    [START_END] = "end",
    NULL,
};

static const struct option tail_options[] = {
    {.name = "paths",
     .type = OPTION_LIST,
     .offset = offsetof(struct config_tail, paths),
     .help = "Files, as absolute globs: `*`, `?` and `[…]` within a folder's or a file's name, "
             "`**` for any number "
             "of folders. Files that appear later are read too; compressed ones (`.gz .zst .xz "
             ".bz2 .lz4 .Z "
             ".zip`) never.",
     .required = true,
     .min = 1,
     .max = INT64_MAX},
    {.name = "exclude",
     .type = OPTION_LIST,
     .offset = offsetof(struct config_tail, exclude),
     .help = "Files that are left out although they match: globs on the whole path or, without a "
             "slash, on the "
             "file's name."},
    {.name = "start",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct config_tail, start),
     .fallback = "beginning",
     .help = "Where to begin in a file that is there when the agent sees this stream for the first "
             "time. Files that "
             "appear later are read from their beginning.",
     .choices = starts},
    {.name = "max_line",
     .type = OPTION_SIZE,
     .offset = offsetof(struct config_tail, max_line),
     .fallback = "1MiB",
     .help = "A longer line is cut there, marked and counted; reading goes on with the next line.",
     .min = 256,
     .max = 64 * MIB},
    {.name = "rescan",
     .type = OPTION_TIME,
     .offset = offsetof(struct config_tail, rescan),
     .fallback = "10s",
     .help = "How often to look at all folders, beside the notifications that the kernel gives.",
     .min = 10,
     .max = 1 * DAYS},
    OPTION_END,
};

const struct section tail_section = {
    .name = "tail",
    .help = "The files whose lines a stream reads.",
    .example = "tail:\n"
               "  paths: [/var/log/nginx/*.log, /srv/**/log/*.log]\n"
               "  exclude: ['*.gz']\n"
               "  start: end\n",
    .options = tail_options,
};

/* "**" stands for folders: behind it the files have to be named. */
static int check_names_files(const char *path, const struct yaml_node *node, struct error *error)
{
    size_t len = strlen(path);
    if (path[len - 1] != '/' && (len < 3 || strcmp(path + len - 3, "/**") != 0))
        return 0;
    return yaml_error(
        node, error, "paths must name files: %s names folders; end it with /* or with a file's name",
        quote_str(path).text);
}

int config_check_tail(const struct config_tail *tail, const struct yaml_node *node,
                      struct error *error)
{
    for (size_t i = 0; i < tail->paths.n; i++)
        if (config_check_absolute(tail->paths.items[i], config_item_node(node, "paths", i), "paths",
                                  error) == -1 ||
            check_names_files(tail->paths.items[i], config_item_node(node, "paths", i), error) == -1)
            return -1;
    return 0;
}
