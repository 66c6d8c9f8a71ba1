/* Lines of container logs: what the runtime wrote around the application's own line.
 *
 * CRI (containerd, CRI-O, podman's k8s-file):   2016-10-06T00:17:09.669794202Z stdout P log content
 *   By Kubernetes' design "kubelet-cri-logging" and the kubelet's reader (pkg/kubelet/kuberuntime/logs/logs.go):
 *   tags are separated by ':', the first is P (a part) or F (the whole, or the last part), others are for the future.
 *
 * Docker (json-file):   {"log":"text\n","stream":"stdout","attrs":{…},"time":"2019-01-01T00:00:00.1Z"}
 *   By moby's daemon/logger/jsonfilelog: a line of more than 16 KiB is written in parts, and only the last part's log
 *   ends with a newline.
 *
 * Lines come without their own line end. Each parser returns NULL, or why the line is no such line: a constant text;
 * such a line is best shipped as it is. *ret_line is only written on success. Nothing is kept between lines. */
#ifndef SPLASHDAM_CONTAINER_H
#define SPLASHDAM_CONTAINER_H

#include "plugins/plugin.h"

enum container_stream { CONTAINER_STDOUT, CONTAINER_STDERR };

enum container_format { CONTAINER_NEITHER, CONTAINER_CRI, CONTAINER_DOCKER };

struct container_line {
    int64_t time; /* ns since 1970-01-01T00:00:00Z; range: rfc3339.h */
    enum container_stream stream;
    bool partial;         /* the content goes on in the next line of the same stream */
    struct slice content; /* in the line, or, when its JSON has escapes, in the arena; never NULL */
    struct slice attrs; /* Docker: a valid raw JSON object, in the line; ptr NULL: there is none */
};

/* What `stream` is called in the log. */
struct slice container_stream_name(enum container_stream stream);

const char *container_parse_cri(struct slice line, struct container_line *ret_line);

/* Members may come in any order, and others than the four are skipped; of two with one name the last counts. The
 * newline that ends the log, with a \r before it, is not part of the content. The arena gets decoded strings; when it
 * has no room, that is a reason, too, and arena->overflowed says so. */
const char *container_parse_docker(struct slice line, struct arena *arena,
                                   struct container_line *ret_line);

/* Which of the two a line can be, by its first byte that is no blank: none of one format ever looks like the other. */
enum container_format container_format_of(struct slice line);

/* Parses by container_format_of(). */
const char *container_parse(struct slice line, struct arena *arena, struct container_line *ret_line);

/* ---- joining parts ---- */

/* One for each stream of a log, as the parts of stdout and stderr stand between each other. Begins zeroed, with its
 * limit. What it has is worth nothing any more when the arena or the lines are gone. */
struct container_join {
    size_t limit;      /* bytes that are kept of a joined line, >= 1; the rest is left out */
    struct slice text; /* so far; the only part's own content, or in the arena */
    size_t room;       /* of the text in the arena; 0: it isn't there */
    int64_t time;      /* of the first part */
    uint64_t cut;      /* bytes left out of this text */
    bool open;         /* parts were added, but not yet the last one */
};

/* Adds a line of the join's stream. 1: it was the last part, or is whole by itself, and text, time and cut say all;
 * the next one begins anew. 0: more parts follow. -1: the arena has no room; the join is as it was. All the
 * parts of a text take less than four times its length of the arena, one part alone takes nothing. */
int container_join_add(struct container_join *join, const struct container_line *line,
                       struct arena *arena);

#endif
