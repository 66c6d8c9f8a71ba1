/* Exactly-once: which frames of a stream's spool Kafka has already. A frame is committed with its files' positions, in one transaction; what Kafka
 * has of a text, by the positions that it told at the start, it has of the frames, too. */
#ifndef SPLASHDAM_COMMITTED_H
#define SPLASHDAM_COMMITTED_H

#include "agent/spool.h"

struct committed {
    struct committed_range
        *ranges; /* of all frames that were found, in their order, until it is decided */
    size_t n_ranges, room;
    uint64_t *frames; /* sequences of those that Kafka has, rising */
    size_t n_frames;
};

/* A range of a frame, while the spool is opened, in the frames' order. -1: no memory. */
int committed_note(struct committed *committed, const struct spool_position *range);
/* When the positions are known that Kafka has. The others' ranges are restored (positions_restore()), as Kafka's positions may have taken
 * the place of theirs. *ret_records: of the frames that it has. -1: no memory. */
int committed_decide(struct committed *committed, struct positions *positions, const char *stream,
                     uint64_t *ret_records);
bool committed_has(const struct committed *committed, uint64_t frame);
void committed_fini(struct committed *committed);

#endif
