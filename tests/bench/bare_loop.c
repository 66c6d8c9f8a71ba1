/*
 * The limit that the agent is measured against: the least that a program can do which ships a file's lines
 * through librdkafka and knows that each was delivered.
 *
 *     bare_loop FILE BROKERS TOPIC [NAME=VALUE …]
 *
 * The file is mapped, memchr finds the lines, rd_kafka_produce_batch() takes them without a copy of the payload,
 * the delivery reports are counted. Nothing is parsed and no position is kept. A full queue waits in rd_kafka_poll().
 * NAME=VALUE are librdkafka's properties, the same as the agent's.
 * Prints one line of name=value; exits 1 unless all was delivered.
 *
 * peak_rss_kib counts the mapped file's pages too; the agent, which reads, has none of these.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BATCH   1000
#define WAIT_MS 100

struct counts {
    uint64_t produced;
    uint64_t delivered;
    uint64_t failed;
};

struct lines {
    const char *next;
    const char *end;
};

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    (void)rk;
    struct counts *counts = opaque;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
        counts->delivered++;
    else
        counts->failed++;
}

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "bare_loop: %s: %s\n", what, why);
    return -1;
}

static int map_file(const char *path, struct lines *ret_lines)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1)
        return fail(path, strerror(errno));
    struct stat st;
    if (fstat(fd, &st) == -1 || st.st_size == 0) {
        close(fd);
        return fail(path, "cannot be measured, or is empty");
    }
    char *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return fail(path, strerror(errno));
    madvise(map, (size_t)st.st_size, MADV_SEQUENTIAL);
    *ret_lines = (struct lines){.next = map, .end = map + st.st_size};
    return 0;
}

static rd_kafka_t *producer_new(const char *brokers, char **properties, struct counts *counts)
{
    char text[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_opaque(conf, counts);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    bool ok = rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof(text)) ==
              RD_KAFKA_CONF_OK;
    for (; ok && *properties != NULL; properties++) {
        char *equals = strchr(*properties, '=');
        if (equals == NULL) {
            snprintf(text, sizeof(text), "%s is not NAME=VALUE", *properties);
            ok = false;
            break;
        }
        *equals = '\0';
        ok = rd_kafka_conf_set(conf, *properties, equals + 1, text, sizeof(text)) ==
             RD_KAFKA_CONF_OK;
        *equals = '=';
    }
    rd_kafka_t *rk = ok ? rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text)) : NULL;
    if (rk == NULL) {
        rd_kafka_conf_destroy(conf);
        fail("librdkafka", text);
    }
    return rk;
}

/* Fills up messages[len..BATCH) with the next lines; returns how many messages there are then. */
static int fill(rd_kafka_message_t *messages, int len, struct lines *lines)
{
    while (len < BATCH && lines->next < lines->end) {
        const char *newline = memchr(lines->next, '\n', (size_t)(lines->end - lines->next));
        if (newline == NULL) {
            lines->next = lines->end;
            break;
        }
        messages[len].payload = (void *)lines->next;
        messages[len].len = (size_t)(newline - lines->next);
        lines->next = newline + 1;
        len++;
    }
    return len;
}

/* Moves the messages that a full queue refused to the front; returns their number, -1 on any other error. */
static int keep_refused(rd_kafka_message_t *messages, int len)
{
    int kept = 0;
    for (int i = 0; i < len; i++) {
        if (messages[i].err == RD_KAFKA_RESP_ERR__QUEUE_FULL)
            messages[kept++] = messages[i];
        else if (messages[i].err != RD_KAFKA_RESP_ERR_NO_ERROR)
            return fail("produce", rd_kafka_err2str(messages[i].err));
    }
    return kept;
}

static int ship(rd_kafka_t *rk, rd_kafka_topic_t *topic, struct lines *lines, struct counts *counts)
{
    static rd_kafka_message_t messages[BATCH];
    for (int len = 0; (len = fill(messages, len, lines)) > 0;) {
        int taken = rd_kafka_produce_batch(topic, RD_KAFKA_PARTITION_UA, 0, messages, len);
        counts->produced += (uint64_t)taken;
        len = taken == len ? 0 : keep_refused(messages, len);
        if (len == -1)
            return -1;
        rd_kafka_poll(rk, len > 0 ? WAIT_MS : 0);
    }
    while (counts->delivered + counts->failed < counts->produced)
        rd_kafka_poll(rk, WAIT_MS);
    return 0;
}

static double seconds_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double seconds_of(struct timeval tv)
{
    return (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
}

static void report(const struct counts *counts, double wall)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
    double millions = (double)counts->delivered / 1e6;
    printf("lines=%" PRIu64 " failed=%" PRIu64
           " seconds=%.3f lines_per_second=%.0f cpu_seconds=%.3f "
           "cpu_per_million=%.3f peak_rss_kib=%ld\n",
           counts->delivered, counts->failed, wall, (double)counts->delivered / wall, cpu,
           cpu / millions, usage.ru_maxrss);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: bare_loop FILE BROKERS TOPIC [NAME=VALUE …]\n");
        return 2;
    }
    struct lines lines;
    if (map_file(argv[1], &lines) == -1)
        return 1;
    struct counts counts = {0};
    double start = seconds_now();
    rd_kafka_t *rk = producer_new(argv[2], argv + 4, &counts);
    if (rk == NULL)
        return 1;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, argv[3], NULL);
    if (topic == NULL) {
        fail(argv[3], rd_kafka_err2str(rd_kafka_last_error()));
        return 1;
    }
    int rc = ship(rk, topic, &lines, &counts);
    double wall = seconds_now() - start;
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(rk);
    report(&counts, wall);
    return rc == 0 && counts.failed == 0 ? 0 : 1;
}
