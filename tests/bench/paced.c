/*
 * Writes lines at a steady pace, each with the monotonic time of its writing, into files or straight to Kafka:
 *
 *     paced file FOLDER NAME FILES RATE SECONDS
 *     paced kafka BROKERS TOPIC RATE SECONDS [NAME=VALUE …]
 *
 * FILES files FOLDER/NAME-0.log … are appended to in turn, one write(2) a line; RATE is of all of them together, lines a
 * second, 0: as fast as it can. To Kafka goes the least a producer can do: rd_kafka_produce() and rd_kafka_poll().
 * A line is `t=NANOSECONDS src=NAME` and filling up to 100 bytes. Prints how many were written.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE      100 /* bytes with the end */
#define FILES_MAX 1000
#define NAP_NS    ((int64_t)500000) /* shorter waits are made up for by the next lines */
#define NS        ((int64_t)1000000000)

struct sink {
    const char *name;
    int fds[FILES_MAX];
    uint64_t files;
    rd_kafka_t *rk; /* NULL: files */
    rd_kafka_topic_t *topic;
};

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "paced: %s: %s\n", what, why);
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * NS + ts.tv_nsec;
}

static void write_line(struct sink *sink, uint64_t number)
{
    char line[LINE + 1];
    int len = snprintf(line, sizeof(line), "t=%" PRId64 " src=%s ", now_ns(), sink->name);
    memset(line + len, 'x', LINE - (size_t)len);
    line[LINE - 1] = '\n';
    if (sink->rk == NULL) {
        if (write(sink->fds[number % sink->files], line, LINE) != LINE)
            die("write", strerror(errno));
        return;
    }
    if (rd_kafka_produce(sink->topic, 0, RD_KAFKA_MSG_F_COPY, line, LINE - 1, NULL, 0, NULL) == -1)
        die("produce", rd_kafka_err2str(rd_kafka_last_error()));
    rd_kafka_poll(sink->rk, 0);
}

static void nap(int64_t until)
{
    struct timespec ts = {until / NS, until % NS};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
        ;
}

static uint64_t run(struct sink *sink, double rate, double seconds)
{
    int64_t start = now_ns(), end = start + (int64_t)(seconds * 1e9);
    uint64_t number = 0;
    for (;; number++) {
        int64_t due = rate > 0 ? start + (int64_t)((double)number / rate * 1e9) : now_ns();
        if (due >= end)
            return number;
        if (due - now_ns() > NAP_NS)
            nap(due);
        write_line(sink, number);
    }
}

static void open_files(struct sink *sink, const char *folder, uint64_t files)
{
    char path[4096];
    sink->files = files;
    if (files == 0 || files > FILES_MAX)
        die("FILES", "from 1 to 1000");
    for (uint64_t i = 0; i < files; i++) {
        snprintf(path, sizeof(path), "%s/%s-%" PRIu64 ".log", folder, sink->name, i);
        sink->fds[i] = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (sink->fds[i] == -1)
            die(path, strerror(errno));
    }
}

static void open_kafka(struct sink *sink, const char *brokers, const char *topic, char **properties)
{
    char text[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_res_t result =
        rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof(text));
    for (; result == RD_KAFKA_CONF_OK && *properties != NULL; properties++) {
        char *equals = strchr(*properties, '=');
        if (equals == NULL)
            die(*properties, "not NAME=VALUE");
        *equals = '\0';
        result = rd_kafka_conf_set(conf, *properties, equals + 1, text, sizeof(text));
    }
    if (result != RD_KAFKA_CONF_OK)
        die("configuration", text);
    sink->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    if (sink->rk == NULL)
        die("librdkafka", text);
    sink->topic = rd_kafka_topic_new(sink->rk, topic, NULL);
    if (sink->topic == NULL)
        die(topic, rd_kafka_err2str(rd_kafka_last_error()));
}

int main(int argc, char **argv)
{
    static struct sink sink = {.name = "bare"};
    uint64_t written;
    if (argc == 7 && strcmp(argv[1], "file") == 0) {
        sink.name = argv[3];
        open_files(&sink, argv[2], strtoull(argv[4], NULL, 10));
        written = run(&sink, strtod(argv[5], NULL), strtod(argv[6], NULL));
    } else if (argc >= 6 && strcmp(argv[1], "kafka") == 0) {
        open_kafka(&sink, argv[2], argv[3], argv + 6);
        written = run(&sink, strtod(argv[4], NULL), strtod(argv[5], NULL));
        if (rd_kafka_flush(sink.rk, 10000) != RD_KAFKA_RESP_ERR_NO_ERROR)
            die("flush", "not everything was delivered");
    } else {
        fprintf(stderr, "usage: paced file FOLDER NAME FILES RATE SECONDS\n"
                        "       paced kafka BROKERS TOPIC RATE SECONDS [NAME=VALUE …]\n");
        return 2;
    }
    printf("%" PRIu64 "\n", written);
    return 0;
}
