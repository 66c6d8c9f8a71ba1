/* The tail's inside, for the tail_*.c files only: tail.c finds files and follows them, tail_read.c reads them, and
 * each other one says at its functions below what it does. */
#ifndef SPLASHDAM_TAIL_INNER_H
#define SPLASHDAM_TAIL_INNER_H

#include "agent/log.h"
#include "agent/stream.h"
#include "agent/tail.h"

/* So long a file that has no name, or none that a glob matches, must not have grown before it counts as finished. */
#define QUIET_NS (5 * NS_PER_S)

enum complaint {
    COMPLAINT_OPEN,
    COMPLAINT_KIND,
    COMPLAINT_READ,
    COMPLAINT_TRUNCATED,
    COMPLAINT_LOST,
    COMPLAINT_COUNT
};

struct tail {
    struct stream *stream;
    struct tail_place place;
    struct source *sources;
    void *by_path; /* tsearch(3) trees: the named ones, */
    void *by_id;   /* and all; */
    void *by_log;  /* the newest generation of each log */
    struct source *first_ready, **last_ready;
    struct source *holding; /* sources that hold something back */
    int64_t flush_at;       /* when the first of them may be due; ns, monotonic */
    struct source *first_waiting, **last_waiting; /* for a descriptor */
    const struct config_tail *before; /* at its first look: what was followed until then */
    bool started;                     /* the first look is over: what appears now is new */
    bool wants_rescan;
    bool stirred; /* something happened, or could not be done, since the last look at everything */
    unsigned looks_to_skip; /* of the regular ones, */
    unsigned pause;         /* and how many were to be skipped at the last one */
    bool finding;           /* in tail_look_for_missed() */
    bool gathering;         /* files are opened when all are found and in order */
    bool has_strays;        /* rotated files were found whose log has no file of its own name */
    unsigned nameless;      /* sources without a name: looked at by tail_tick() */
    unsigned rescans;       /* counted, for tail_prune() */
    struct link *links;     /* symbolic ones that lead to logs */
    void *links_by_path, *links_by_target; /* tsearch(3) trees */
    unsigned polled_links;                 /* of these, not wholly watched */
    struct polled *polled;                 /* folders */
    void *polled_by_path;                  /* tsearch(3) tree */
    int64_t next_poll;                     /* ns, monotonic */
    struct missed *missed;                 /* generations to look for */
    size_t n_missed, room_missed;
    bool renamed_left;       /* not everything could be looked at by tail_find_renamed() */
    struct rotated *rotated; /* the folder that was listed last */
    bool told_compressed;    /* that such a file is not read */
    struct held *held;       /* copies of logs that are not read */
    unsigned held_looks;
    struct source *retired; /* only waiting for what is in flight of them */
    struct log_limit complaints[COMPLAINT_COUNT];
};

/* tail_names.c */
struct source *tail_by_path(struct tail *tail, const char *path);
struct source *tail_by_id(struct tail *tail, const struct identity *id);
int tail_add_id(struct tail *tail, struct source *source); /* -1: no memory */
void tail_remove_id(struct tail *tail, struct source *source);
/* The newest generation of the log that bears this name, if one is being read. */
struct source *tail_newest(struct tail *tail, const char *log);
/* Makes it the newest one of its log. -1: no memory. */
int tail_set_newest(struct tail *tail, struct source *source);
/* Before it is freed. */
void tail_unset_newest(struct tail *tail, struct source *source);
/* Gives the source its name, taking it from whoever has it. */
void tail_set_name(struct tail *tail, struct source *source, const char *path);
/* For source->path: the position's own text where it is the same. */
char *tail_copy_path(const struct source *source, const char *path);
/* It has no name any more; path stays, for people. */
void tail_clear_name(struct tail *tail, struct source *source);

/* tail_log.c */
/* The name that a rotated file had: app.log for app.log.1, app.log-20250131, app-20250131.log. False: it does not look
 * rotated. ret_base has room for PATH_MAX bytes. */
bool tail_rotation_base(const char *path, char *ret_base);
/* The log that a file found under `path` belongs to: its rotation base, when the globs match that and it is there or being
 * read, else the path. `room` is for PATH_MAX bytes. */
const char *tail_log_of(struct tail *tail, const char *path, char *room);
/* Puts a new source among the generations of its log: those that are older are read to their end first. */
void tail_join_generations(struct tail *tail, struct source *source);
void tail_link_generations(struct source *older, struct source *newer); /* one may be NULL */
void tail_unlink_generations(struct source *source);
/* Puts all generations of each log in order, oldest first, whether they were found before the restart or after it, and finds
 * those that were missed. -1: no memory. */
int tail_order_generations(struct tail *tail);

/* Was the log's own file copied and truncated in place, as far as is known? */
bool tail_is_copied(const struct source *source);
/* Of the generation and its copies. */
int64_t tail_youngest_birth(const struct source *source);
/* A generation of the log that was born after the log's own file is a copy of that. */
void tail_note_copy(struct tail *tail, const char *log, int64_t birth);

/* tail_rotated.c */
/* The paths of all files beside the log with a rotated name of it, plain ones or compressed ones, in the order of their names;
 * one block of memory, to be freed. NULL: there is none, or the folder can't be read. A listing that was made since `since` (ns since
 * 1970) will do although the folder has changed; 0: none will. */
char **tail_list_rotated(struct tail *tail, const char *log, bool compressed, int64_t since,
                         size_t *ret_n);
/* Gives back the memory of the last listing; the next one reads the folder. */
void tail_forget_rotated(struct tail *tail);

/* tail_missed.c */
/* Asks for generations of the log that had its name so shortly that nobody looked: files beside it, with a rotated
 * name, born from `after` to `before` (ns; 0: not known, then nothing is asked). tail_look_for_missed() finds them. */
void tail_find_missed(struct tail *tail, const char *log, int64_t after, int64_t before);
void tail_forget_missed(struct tail *tail);
/* The same for a log that is copied and truncated: its own file is older than its older generations. */
void tail_ask_for_missed_copies(struct tail *tail, const char *log);
/* And looks for them at once. */
void tail_find_missed_copies(struct tail *tail, const char *log);

/* tail_close.c */
/* It may have become idle, or be so no more. */
void tail_note_idle(struct tail *tail, struct source *source);
/* How many files could be opened now. */
unsigned tail_free_files(const struct tail *tail);
/* There are descriptors for n more, now that idle files may have been closed. */
bool tail_make_room(struct tail *tail, unsigned n);
/* -1 and errno, as source_open_file(); EMFILE: and no other file could be closed instead. */
int tail_open_file(struct tail *tail, const char *path, const struct identity *id);
/* For a moment, at most FILES_TO_COMPARE at once; never refused for the worker's share, so that what is found need not wait to be told. */
int tail_open_to_compare(struct tail *tail, const char *path, const struct identity *id);
void tail_count_file(struct tail *tail);        /* one that was opened otherwise */
void tail_drop_file(struct tail *tail, int fd); /* one that no source has */
void tail_close_file(struct tail *tail, struct source *source);
/* Closes those that were idle for long. */
void tail_close_idle(struct tail *tail);
/* Sources that lost their name are given the one that their file has now, if it is in the folder of `path`. */
void tail_look_beside(struct tail *tail, const char *path);
/* Only where the link of this path leads to, if it is one. */
void tail_look_beside_targets(struct tail *tail, const char *path);
/* Of the source's file, open or not. -1: it is away. */
int tail_facts(struct tail *tail, const struct source *source, struct file_facts *ret_facts);
/* The source waits for a descriptor, and nothing of it was read yet: what it begins with is noted. */
void tail_learn_head(struct tail *tail, struct source *source);
/* Opens it if it is closed. -1: not now; it is seen to that it is tried again. */
int tail_wake(struct tail *tail, struct source *source);

/* tail_age.c */
/* Too old to be opened, and nothing of it is waited for. */
bool tail_ignores(struct tail *tail, const struct file_facts *facts);
/* Where a new source begins. */
void tail_set_out(struct tail *tail, struct source *source, const struct file_facts *facts,
                  bool known);
/* Puts the ready sources that were not opened yet in the order of tail.read_order, and opens them. */
void tail_order_found(struct tail *tail);

/* tail.c */
/* The file of a source was opened for the first time: finds out where to read on. -1: it can't be read now; closed again. */
int tail_begin(struct tail *tail, struct source *source);
void tail_look_at(struct tail *tail, struct source *source, const struct file_facts *facts);
/* If the path leads to one of ours, it is that one's name, unless it still has another one. */
void tail_look_for_ours(struct tail *tail, const char *path);
/* Opens a generation that is not being read yet. NULL: not now, or another worker has it. */
struct source *tail_open_generation(struct tail *tail, const char *path,
                                    const struct file_facts *facts);
/* What its records say of where they come from, by the name of its position. */
void tail_set_origin(struct source *source);
/* Adds to one of the stream's counters. */
void tail_count(struct tail *tail, enum stat_id stat, uint64_t n);
void tail_complain(struct tail *tail, enum complaint kind, const char *what, const char *path);
/* Takes over position and fd. NULL: no memory, both are given back. */
struct source *tail_new_source(struct tail *tail, const char *path, const struct identity *id,
                               struct position *position, int fd);
/* The position of a source that has nothing in flight. */
void tail_set_mark(struct tail *tail, struct source *source);
/* A glob matches the path and nothing excludes it. */
bool tail_config_matches(const struct config_tail *config, const char *path);
bool tail_matches(const struct tail *tail, const char *path);
void tail_free_source(struct tail *tail, struct source *source);
/* With its position. */
void tail_forget_source(struct tail *tail, struct source *source);

/* Its file was written to. */
void tail_modified(struct tail *tail, struct source *source);
/* Looks at the file that has this name now, which a source has or tail_matches(). */
void tail_look(struct tail *tail, const char *path);
/* A glob_file_fn: looks at it if it is any of ours; arg is the tail. */
void tail_on_file(const char *path, void *arg);

/* tail_poll.c */
/* Has the folder watched, or polled, or both; again at each rescan. */
void tail_watch_folder(struct tail *tail, const char *folder, bool leaf);
/* After a rescan: folders for which that was not asked again, or that can be watched now, are not polled any longer. */
void tail_poll_sweep(struct tail *tail);
void tail_poll_end(struct tail *tail);

/* tail_link.c */
/* The path is looked at: what it leads to is watched if it is a symbolic link, and not any longer if it is none. */
void tail_follow_link(struct tail *tail, const char *path, bool is_link);
/* Does a link lead through the folder, or to it? */
bool tail_link_leads(const struct tail *tail, const char *folder);
/* Something happened to what a link leads to, or not. */
void tail_link_event(struct tail *tail, const char *path, uint32_t mask);
/* The link that leads to this path, or NULL. */
const char *tail_linked_log(const struct tail *tail, const char *target);
/* Calls `each` for all paths that the link leads through. */
typedef void tail_target_fn(const char *target, void *arg);
void tail_each_target(const struct tail *tail, const char *log, tail_target_fn *each, void *arg);
/* Looks at the links that can't be watched. */
void tail_link_poll(struct tail *tail);
/* After a rescan: links that are not there any more are forgotten. */
void tail_link_sweep(struct tail *tail);
void tail_link_end(struct tail *tail);
/* Takes it from all lists and trees of the tail, except its generations. */
void tail_leave(struct tail *tail, struct source *source);

/* tail_copy.c */
/* Is the path the log's name, and leads to this very file? */
bool tail_bears_log_name(const struct source *source);
/* Is the file that nobody reads a copy of its log, as far as can be told now? Then it is held, not read. (Or it is read by
 * a source by now: a truncation was found out.) */
bool tail_hold_copy(struct tail *tail, const char *path, const struct file_facts *facts);
/* A rotated file was truncated: true when it became a copy of the log's present file. The source is retired. */
bool tail_hold_written_anew(struct tail *tail, struct source *source);
/* How far a held copy was seen to be the same as the log's file; 0: it is none. */
uint64_t tail_held_same(const struct tail *tail, const struct source *log,
                        const struct identity *id);
/* The log, as which the source was read, was truncated; its first `covered` bytes are delivered or read elsewhere. Copies that
 * are still held are read from there on, or from where they differ from what the log was. */
void tail_settle_held(struct tail *tail, const struct identity *log, uint64_t covered);
void tail_drop_held(struct tail *tail, const struct identity *id);
void tail_free_held(struct tail *tail);
bool tail_holds_pending(const struct tail *tail);
void tail_look_at_held(struct tail *tail);
/* Nothing was read of the log yet, and nothing is there: it may have been copied and truncated unseen. */
void tail_look_for_copies(struct tail *tail, const struct source *log);
/* An event of a file that no glob matches. */
void tail_copy_event(struct tail *tail, const char *path, uint32_t mask);

/* tail_truncated.c */
/* The file holds something else than what was read of it, or less. Afterwards what there is to read is ready. False: no copy of it could
 * be opened now; nothing was changed. */
bool tail_truncated(struct tail *tail, struct source *source);
/* What is known of the text that was read of it. */
struct mark tail_mark_of(const struct source *source);
enum go_on {
    GO_ON_NONE, /* there is no copy */
    GO_ON_COPY, /* the source goes on in a copy; a new one reads the log's file from its beginning */
    GO_ON_TAKEN, /* nothing was read of it, and a copy is read already as a file that was missed */
    GO_ON_LATER, /* too many files are open to look into copies; nothing was changed */
};
/* What the source has not read is looked for in copies of the log beside it. */
enum go_on tail_go_on_in_copy(struct tail *tail, struct source *source);
/* The source's file is another one's, or gone: it is only kept for what is in flight. */
void tail_retire(struct tail *tail, struct source *source);
/* Frees those of which nothing is in flight any more. */
void tail_free_retired(struct tail *tail, bool all);

/* tail_open.c */
/* Without files. NULL and *error. */
struct tail *tail_new(struct stream *stream, const struct tail_place *place, struct error *error);
/* The first look. -1 and *error. */
int tail_find(struct tail *tail, struct error *error);
/* Forgets the positions of files that were finished, closed, and are gone by now. */
void tail_prune(struct tail *tail);
/* Opens the files of before that no glob has led to; those that can't be looked at now, at the next rescan. */
void tail_find_renamed(struct tail *tail);

/* tail_flush.c */
/* After a read: is something left that is to go out some time? */
void tail_hold(struct tail *tail, struct source *source);
void tail_leave_holding(struct tail *tail, struct source *source);
/* What the source holds back goes out with its next read, for which it is made ready. False: it holds nothing. */
bool tail_flush_now(struct tail *tail, struct source *source);
/* What the source needs for its stream's frame. -1: no memory. */
int tail_add_framing(struct tail *tail, struct source *source);
void tail_free_framing(struct source *source);

/* tail_inflate.c */
#define FILES_TO_UNPACK 2u /* the compressed one and its text */
enum packed {
    PACKED_NONE,
    PACKED_FOUND,
    PACKED_LATER, /* too many files are open to look into them */
};
/* Looks for a compressed file of the log that begins with what the fingerprint knows, behind `path` (room: PATH_MAX) in the order
 * of names. */
enum packed tail_find_packed(struct tail *tail, const char *log, const struct content_hash *head,
                             char *path);
/* The position's file is gone: is its text found compressed beside its log? Then a source reads it, and has the position. */
bool tail_read_compressed(struct tail *tail, struct position *position);
/* The same for a source whose file went while it was closed. */
bool tail_unpack(struct tail *tail, struct source *source);
/* The source, which has no file open, goes on in the compressed one of this path, as soon as there are descriptors for it. */
void tail_read_packed(struct tail *tail, struct source *source, const char *path);
/* A file that bears the identity is there, under this path: the source goes on in it. False: it is not the text, but what was
 * compressed. */
bool tail_read_plain(struct tail *tail, struct source *source, const char *path);
/* The next step. True: there is nothing to read of it yet, or it is gone. */
bool tail_inflate(struct tail *tail, struct source *source);
void tail_end_inflating(struct tail *tail, struct source *source);

/* tail_unlinked.c */
/* What was decompressed was read to its end; `grew`: just now. */
void tail_finish_unpacked(struct tail *tail, struct source *source, bool grew);

/* tail_lost.c */
/* Bytes of the file were gone before they could be read: counted and logged with the reason, a whole sentence's part such as
 * "truncated before it was read". */
void tail_lost(struct tail *tail, const struct source *source, uint64_t begin, uint64_t end,
               const char *why);

/* tail_read.c */
void tail_make_ready(struct tail *tail, struct source *source);
void tail_leave_ready(struct tail *tail, struct source *source);
/* All of them, before they are freed: to find each one in the queue would take long. */
void tail_leave_all_ready(struct tail *tail);
/* Ready as soon as there is a descriptor for it. */
void tail_wait_for_file(struct tail *tail, struct source *source);

#endif
