/* The real tail, driven by hand: without a worker, threads or Kafka. What it reads goes to the model. */
#ifndef SPLASHDAM_SUBJECT_H
#define SPLASHDAM_SUBJECT_H

#include "tests/model/model.h"

#include "agent/stream.h"
#include "agent/tail.h"

#define FLIGHTS 12

/* A batch on its way. */
struct flight {
    struct batch_private *batch; /* NULL: finished */
    uint32_t *lines;
    const struct origin **from; /* the lines' sources */
    uint32_t n_lines;
    const struct origin
        *origins[BATCH_ORIGINS]; /* all sources of which it holds a range, be it without lines */
    uint32_t n_origins;
    bool arrived;
};

struct subject {
    struct model *model;
    char state[64];
    struct config_stream config;
    struct stream stream;
    struct ev_loop *loop;
    struct watch *watch;
    struct open_files files;
    struct flusher *flusher;
    struct positions *positions;
    struct batch_pool pool;
    struct flight flights[FLIGHTS]; /* in the order in which they were sent */
    unsigned n_flights;
    uint32_t *settled; /* lines whose position has moved, but is not on disk yet */
    size_t n_settled, settled_room;
    bool up;
};

void subject_init(struct subject *subject, struct model *model, const char *folder,
                  const char *const *globs, size_t n_globs);
void subject_fini(struct subject *subject);

void subject_start(struct subject *subject);
/* Everything is finished and saved. */
void subject_stop(struct subject *subject);
/* Of what is in flight, so many batches arrive though nobody hears of it; at least up to the last finished one. */
void subject_kill(struct subject *subject, unsigned arrive);

/* Time as the agent sees it moves only when told to. */
void subject_pass(struct subject *subject, int64_t ns);
void subject_look(struct subject *subject); /* at what the kernel has to tell */
void subject_rescan(struct subject *subject);
void subject_overflow(struct subject *subject);
void subject_tick(struct subject *subject);
/* Reads a batch of about so many bytes; `undo`: it could not be built. */
void subject_fill(struct subject *subject, size_t bytes, bool undo);
void subject_finish(struct subject *subject, unsigned which);
void subject_save(struct subject *subject);
/* Reads and finishes all there is. */
void subject_drain(struct subject *subject);

#endif
