/* The header `sd`: which bytes of which file a message has, so that a reader proves from Kafka alone that nothing is missing.
 * docs/proof.md has the bytes and the reader's rules.
 *
 *      shipped.end         begin         end
 *      |-- not shipped -----|-- record ---|        from = shipped.end
 *
 * `from` to `end` is what the record accounts for. In a log that two streams of a container write, a record may span lines
 * of others; so records count in the order of their ends, in which no two of a file are alike. */
#ifndef SPLASHDAM_PROOF_H
#define SPLASHDAM_PROOF_H

#include "agent/batch.h"

#define PROOF_HEADER  "sd"
#define PROOF_VERSION 1
#define PROOF_MOST    54u /* bytes of a header's value */

struct proof {
    bool first;     /* nothing of the chain was shipped before */
    uint32_t agent; /* proof_agent() */
    uint64_t generation;
    uint64_t from;       /* the end of the record shipped before it, or where the chain begins */
    uint64_t begin, end; /* the record's bytes in its file: [begin, end); may begin before `from` */
    uint64_t dropped;    /* records between the two that were not shipped: dropped or discarded */
};

/* CRC-32 of the agent's name. */
uint32_t proof_agent(const char *id);

/* At most PROOF_MOST bytes; returns how many. */
size_t proof_encode(char *to, const struct proof *proof);

/* Called for each record of a batch that is to be shipped. -1: no memory. */
typedef int proof_each_fn(struct batch_private *batch, const struct record *record,
                          const struct proof *proof);

/* Calls `each` with the proof of each record that is left, and has each range's mark know what was shipped before it. -1: `each`
 * said so; then it may be called anew. */
int proof_batch(struct batch_private *batch, proof_each_fn *each);
/* The same for a stream whose messages have no proof: its chains begin anew wherever that changes. */
void proof_skip(struct batch_private *batch);

#endif
