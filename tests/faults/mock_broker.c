/* librdkafka's mock cluster as a program, for faults that no real broker has on order, and where hundreds of runs have
 * to be short. Prints `bootstrap=HOST:PORT`; obeys standard input, a line each, and ends with it:
 *
 *   topic NAME            makes a topic of one partition
 *   error NUMBER COUNT    the next COUNT produce requests are answered with that error of Kafka's protocol
 *   down | up             the broker goes, comes back */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PRODUCE 0 /* Kafka's number of the request */

/* The text behind the word and a blank; NULL: the line begins otherwise. */
static const char *after(const char *line, const char *word)
{
    size_t len = strlen(word);
    return strncmp(line, word, len) == 0 && line[len] == ' ' ? line + len + 1 : NULL;
}

/* Without its newline. */
static bool obey(rd_kafka_mock_cluster_t *cluster, const char *line)
{
    const char *rest;
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
    if ((rest = after(line, "topic")) != NULL)
        error = rd_kafka_mock_topic_create(cluster, rest, 1, 1);
    else if ((rest = after(line, "error")) != NULL) {
        char *count;
        long number = strtol(rest, &count, 10);
        for (long n = strtol(count, NULL, 10); n > 0; n--)
            rd_kafka_mock_push_request_errors(cluster, PRODUCE, 1, (rd_kafka_resp_err_t)number);
    } else if (strcmp(line, "down") == 0)
        error = rd_kafka_mock_broker_set_down(cluster, 1);
    else if (strcmp(line, "up") == 0)
        error = rd_kafka_mock_broker_set_up(cluster, 1);
    else
        return false;
    return error == RD_KAFKA_RESP_ERR_NO_ERROR;
}

int main(void)
{
    char text[256], line[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "log_level", "3", NULL, 0);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    rd_kafka_mock_cluster_t *cluster = client == NULL ? NULL : rd_kafka_mock_cluster_new(client, 1);
    if (cluster == NULL) {
        fprintf(stderr, "mock_broker: cannot start\n");
        return EXIT_FAILURE;
    }
    printf("bootstrap=%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
    fflush(stdout);
    int status = EXIT_SUCCESS;
    while (status == EXIT_SUCCESS && fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (obey(cluster, line)) {
            puts("done");
            fflush(stdout);
        } else {
            fprintf(stderr, "mock_broker: cannot obey %s\n", line);
            status = EXIT_FAILURE;
        }
    }
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(client);
    return status;
}
