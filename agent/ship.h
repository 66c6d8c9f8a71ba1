/* From records to what Kafka gets: topic, key, headers and payload of each. */
#ifndef SPLASHDAM_SHIP_H
#define SPLASHDAM_SHIP_H

#include "agent/producer.h"
#include "agent/stream.h"

/* Fills in payload, key, topic and headers of every record that is still there, all of it in batch->out. A
 * record whose topic's name is not valid is discarded and counted. -1: no memory. */
int ship_prepare(struct producer *producer, struct batch_private *batch, uint64_t *ret_discarded,
                 uint64_t *ret_replaced);

/* After that failed: a single line that needs more memory than a batch may have can't be shipped, and is discarded and counted.
 * False: it is to be tried again. */
bool ship_discard_last(struct batch_private *batch, uint64_t *discarded);

#endif
