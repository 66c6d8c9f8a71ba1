/* The options of a stream's tail. Helps are printed in the reference: whole sentences, for a reader who has not seen the code. */
#include "agent/config_sections.h"
#include "agent/frame.h"
#include "agent/quote.h"

#include <stddef.h>

static const char *const starts[] = {
    [-1 - START_BEGINNING] = "beginning",
    [-1 - START_END] = "end",
    NULL,
};
static const char *const never[] = {"never", NULL};
static const char *const orders[] = {
    [ORDER_FOUND] = "found",
    [ORDER_OLDEST] = "oldest",
    [ORDER_NEWEST] = "newest",
    NULL,
};

static const char *const containers[] = {
    [TAIL_PLAIN] = "off", [TAIL_AUTO] = "auto", [TAIL_CRI] = "cri", [TAIL_DOCKER] = "docker", NULL,
};

static const struct option multiline_options[] = {
    {.name = "start",
     .type = OPTION_STRING,
     .offset = offsetof(struct config_multiline, start),
     .help = "A regular expression: a line that matches begins a record, all others join it. With "
             "`end`, lines outside "
             "of what they enclose are records of their own.",
     .min = 1,
     .max = 65536},
    {.name = "continue",
     .type = OPTION_STRING,
     .offset = offsetof(struct config_multiline, continued),
     .help = "A regular expression: a line that matches joins the one before.",
     .min = 1,
     .max = 65536},
    {.name = "end",
     .type = OPTION_STRING,
     .offset = offsetof(struct config_multiline, end),
     .help = "A regular expression: a line that matches is the last one of its record.",
     .min = 1,
     .max = 65536},
    {.name = "preset",
     .type = OPTION_LIST,
     .offset = offsetof(struct config_multiline, preset),
     .help = "Stack traces as these languages write them, `java`, `python`, `go`, `ruby`, `php`, "
             "`dotnet`, `node`, with what "
             "caused them, are records; every other line is a record of its own. `indent`, which "
             "stands last, "
             "joins every line that begins with a blank to the one before.",
     .min = 1,
     .max = 8},
    {.name = "max_lines",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct config_multiline, max_lines),
     .fallback = "500",
     .help = "A record of so many lines ends; what would have joined it is the next one.",
     .min = 2,
     .max = 2000},
    {.name = "max_bytes",
     .type = OPTION_SIZE,
     .offset = offsetof(struct config_multiline, max_bytes),
     .fallback = "1MiB",
     .help = "A line that would make a record longer begins the next one.",
     .min = 1 * KIB,
     .max = 64 * MIB},
    {.name = "timeout",
     .type = OPTION_TIME,
     .offset = offsetof(struct config_multiline, timeout),
     .fallback = "2s",
     .help = "A record that may go on is shipped when the file has not grown for so long.",
     .min = 10,
     .max = 3600 * SECONDS},
    OPTION_END,
};

static const char *const watches[] = {
    [WATCH_AUTO] = "auto",
    [WATCH_INOTIFY] = "inotify",
    [WATCH_POLL] = "poll",
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
    {.name = "rotated_to",
     .type = OPTION_LIST,
     .offset = offsetof(struct config_tail, rotated_to),
     .help = "Folders to which rotation moves files (logrotate's `olddir`), absolute or relative "
             "to a log's folder: files that were "
             "renamed while the agent was down are looked for there, too. The log's own folder and "
             "the folders in it need not be named."},
    {.name = "start",
     .type = OPTION_TIME,
     .offset = offsetof(struct config_tail, start),
     .fallback = "beginning",
     .help =
         "Where to begin in a file that is there when the agent sees this stream for the first "
         "time. With a time such as `1h`: files that were modified within it from their beginning, "
         "older ones from their end. Files that "
         "appear later are read from their beginning.",
     .choices = starts},
    {.name = "ignore_older",
     .type = OPTION_TIME,
     .offset = offsetof(struct config_tail, ignore_older),
     .fallback = "never",
     .help =
         "A file that was not modified for so long when it is found is not opened until it "
         "changes; it is then read from where `start` says. One that was read in part is finished.",
     .choices = never},
    {.name = "read_order",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct config_tail, read_order),
     .fallback = "found",
     .help =
         "Which of the files that are found together is begun first: the one found first, or, by "
         "the time when they were modified last, the `oldest` or the `newest`. The generations of "
         "one log keep their order.",
     .choices = orders},
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
     .help = "How often to look at all folders and files, beside the notifications that the kernel "
             "gives. While nothing "
             "happens at all, up to 16 times as rarely.",
     .min = 10,
     .max = 1 * DAYS},
    {.name = "encoding",
     .type = OPTION_STRING,
     .offset = offsetof(struct config_tail, encoding),
     .fallback = "utf-8",
     .help =
         "The files' encoding: `utf-16` (by their byte order mark, else little-endian), "
         "`utf-16le`, `utf-16be`, "
         "`latin-1`, `windows-1252`, `shift_jis`, or another one that `iconv -l` lists and in "
         "which a line's end is a "
         "character of its own. Records are UTF-8, `raw` ones too. A byte order mark is left out.",
     .min = 1,
     .max = 31},
    {.name = "delimiter",
     .type = OPTION_STRING,
     .offset = offsetof(struct config_tail, delimiter),
     .fallback = "\"\\n\"",
     .help = "What ends a line. With the default, a `\\r` before it belongs to the end. `nul` is a "
             "byte of zeros; in YAML "
             "`\"\\r\"` is a carriage return.",
     .min = 1,
     .max = 15},
    {.name = "incomplete_after",
     .type = OPTION_TIME,
     .offset = offsetof(struct config_tail, incomplete_after),
     .fallback = "0s",
     .help = "A last line without an end is shipped when the file has not grown for so long; what "
             "is written behind it is then "
             "a record of its own. `0s`: it waits for its end.",
     .max = 1 * DAYS},
    {.name = "header_lines",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct config_tail, header_lines),
     .fallback = "0",
     .help = "So many first lines of each file are left out, counted as dropped.",
     .max = 1000},
    {.name = "container",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct config_tail, container),
     .fallback = "off",
     .help = "What a container runtime writes round the lines is taken off: `cri` (containerd, "
             "CRI-O, podman's k8s-file), `docker` "
             "(json-file), or `auto`, by each line. Parts of a line are joined; `@timestamp` is "
             "the runtime's time; further fields are "
             "`stream`, `docker.attrs` and, from the file's path, `kubernetes.namespace`, "
             "`kubernetes.pod.name`, "
             "`kubernetes.pod.uid`, `kubernetes.container.name` and `container.id`.",
     .choices = containers},
    {.name = "multiline",
     .type = OPTION_SECTION,
     .offset = offsetof(struct config_tail, multiline),
     .help = "Several lines that are one record, told by `start`, `end` or both, by `continue`, or "
             "by `preset`. They are joined by line "
             "feeds; with `container` those of stdout and stderr apart.",
     .options = multiline_options},
    {.name = "close_idle",
     .type = OPTION_TIME,
     .offset = offsetof(struct config_tail, close_idle),
     .fallback = "5m",
     .help =
         "A file that was read to its end, with everything delivered, is closed when it has not "
         "grown for so long, and opened again when it does. Seen at the next `rescan`. With "
         "`never` "
         "(or `0s`) only files that were renamed to names outside of `paths` are closed.",
     .choices = never},
    {.name = "close_removed",
     .type = OPTION_BOOL,
     .offset = offsetof(struct config_tail, close_removed),
     .fallback = "false",
     .help =
         "A deleted file is closed as soon as it was read to its end and everything is delivered. "
         "Otherwise when nobody has it open for writing any more, or, where that can't be told, 20 "
         "s after it "
         "has last grown."},
    {.name = "unlinked_max_bytes",
     .type = OPTION_SIZE,
     .offset = offsetof(struct config_tail, unlinked_max),
     .fallback = "1GiB",
     .help =
         "Deleted files that are not read to their end are kept open, and so use disk space. When "
         "more bytes than this are unread in those of a stream (in one worker), the oldest are "
         "given "
         "up: logged, and counted in `lost_bytes`. 0 is no limit."},
    {.name = "watch",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct config_tail, watch),
     .fallback = "auto",
     .help = "How changes are noticed. `inotify`: the kernel tells. `poll`: folders and files are "
             "looked at every "
             "`poll`. `auto`: the kernel tells, and folders on file systems that others may change "
             "without its "
             "knowing (NFS, SMB, FUSE, 9p, …) are polled too. Folders for which the kernel has no "
             "watches left are always "
             "polled.",
     .choices = watches},
    {.name = "poll",
     .type = OPTION_TIME,
     .offset = offsetof(struct config_tail, poll),
     .fallback = "250ms",
     .help = "Time between two looks at what is polled. Nothing else is looked at.",
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

/* How lines become records: made once, to see that it can be. */
static int check_frame(const struct config_tail *tail, const struct yaml_node *node,
                       struct error *error)
{
    const char *key = NULL;
    struct error why = {.line = 0};
    const struct yaml_node *incomplete = yaml_get(node, "incomplete_after");
    const struct yaml_node *multiline = yaml_get(node, "multiline");
    if (tail->container != TAIL_PLAIN && tail->incomplete_after != 0)
        return yaml_error(
            incomplete, error,
            "incomplete_after and container exclude each other: a runtime writes whole lines");
    if (tail->container != TAIL_PLAIN && yaml_get(node, "encoding") != NULL)
        return yaml_error(yaml_get(node, "encoding"), error,
                          "encoding and container exclude each other: runtimes write UTF-8");
    if (!frame_wanted(tail))
        return multiline == NULL
                   ? 0
                   : yaml_error(multiline, error,
                                "multiline needs one of start, end, continue and preset");
    struct frame *frame = frame_new(tail, &key, &why);
    if (frame != NULL) {
        frame_free(&frame);
        return 0;
    }
    const struct yaml_node *at = yaml_get(node, key);
    return yaml_error(at != NULL ? at : node, error, "%s: %s", key, why.text);
}

int config_check_tail(const struct config_tail *tail, const struct yaml_node *node,
                      struct error *error)
{
    for (size_t i = 0; i < tail->paths.n; i++)
        if (config_check_absolute(tail->paths.items[i], config_item_node(node, "paths", i), "paths",
                                  error) == -1 ||
            check_names_files(tail->paths.items[i], config_item_node(node, "paths", i), error) == -1)
            return -1;
    return check_frame(tail, node, error);
}
