/* From records to what Kafka gets: topic, key and payload of each. */
#ifndef SPLASHDAM_SHIP_H
#define SPLASHDAM_SHIP_H

#include "agent/producer.h"
#include "agent/stream.h"

/* Fills in payload, key and topic of every record that is still there, all of it in batch->out. A
 * record whose topic's name is not valid is discarded and counted. -1: no memory. */
int ship_prepare(struct producer *producer, struct batch_private *batch, uint64_t *ret_discarded,
                 uint64_t *ret_replaced);

#endif
