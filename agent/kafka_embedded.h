/* The embedded broker: librdkafka's mock cluster (rdkafka_mock.h), in memory, one broker, on
 * loopback. For trying splashdam out and for fast tests; what it holds is gone with the process. */
#ifndef SPLASHDAM_KAFKA_EMBEDDED_H
#define SPLASHDAM_KAFKA_EMBEDDED_H

#include "plugins/plugin.h"

struct kafka_embedded;

struct kafka_embedded *kafka_embedded_new(struct error *error);
void kafka_embedded_free(struct kafka_embedded **embedded);
const char *kafka_embedded_bootstrap(const struct kafka_embedded *embedded); /* host:port */

/* The mock cluster itself, an rd_kafka_mock_cluster_t: for tests that inject faults. */
struct rd_kafka_mock_cluster_s *kafka_embedded_cluster(const struct kafka_embedded *embedded);

#endif
