#include "agent/kafka_embedded.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdlib.h>

struct kafka_embedded {
    rd_kafka_t *client; /* the mock cluster lives in a client's threads */
    rd_kafka_mock_cluster_t *cluster;
};

struct kafka_embedded *kafka_embedded_new(struct error *error)
{
    struct kafka_embedded *embedded = (struct kafka_embedded *)calloc(1, sizeof(*embedded));
    char text[256] = "out of memory";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    /* This client connects to nothing; it need not warn that it has no brokers. */
    rd_kafka_conf_set(conf, "log_level", "3", NULL, 0);
    if (embedded != NULL)
        embedded->client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    if (embedded == NULL || embedded->client == NULL)
        rd_kafka_conf_destroy(conf);
    if (embedded != NULL && embedded->client != NULL)
        embedded->cluster = rd_kafka_mock_cluster_new(embedded->client, 1);
    if (embedded != NULL && embedded->cluster != NULL)
        return embedded;
    error_set(error, "cannot start the embedded broker: %s", text);
    kafka_embedded_free(&embedded);
    return NULL;
}

void kafka_embedded_free(struct kafka_embedded **embedded_ptr)
{
    struct kafka_embedded *embedded = *embedded_ptr;
    if (embedded == NULL)
        return;
    if (embedded->cluster != NULL)
        rd_kafka_mock_cluster_destroy(embedded->cluster);
    if (embedded->client != NULL)
        rd_kafka_destroy(embedded->client);
    free(embedded);
    *embedded_ptr = NULL;
}

const char *kafka_embedded_bootstrap(const struct kafka_embedded *embedded)
{
    return rd_kafka_mock_cluster_bootstraps(embedded->cluster);
}

struct rd_kafka_mock_cluster_s *kafka_embedded_cluster(const struct kafka_embedded *embedded)
{
    return embedded->cluster;
}
