/*
 * Makes an nginx access log in the combined format: the same bytes for the same arguments, anywhere.
 *
 *     nginx_log FILE [LINES [SEED]]
 *
 * 2,000,000 lines of 200 bytes on average unless told. The spread is that of a public site: few clients
 * make most requests, nine of ten requests are GETs, about 5 % are answered 404, agents and referers repeat.
 * The last line on standard output says what was written.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CLIENTS      20000
#define FIRST_SECOND 1767225600 /* 2026-01-01T00:00:00Z */
#define LINE_MAX_LEN 1024

/* A value and the share of lines, in 1/1000, that have it; the shares of a table sum to 1000. */
struct choice {
    int share;
    const char *text;
};

static const struct choice methods[] = {
    {900, "GET"}, {60, "POST"}, {20, "HEAD"}, {8, "PUT"}, {7, "OPTIONS"}, {5, "DELETE"},
};

static const struct choice statuses[] = {
    {800, "200"}, {10, "201"}, {15, "204"}, {10, "206"}, {25, "301"}, {20, "302"}, {40, "304"},
    {5, "400"},   {5, "401"},  {8, "403"},  {50, "404"}, {3, "429"},  {5, "500"},  {4, "502"},
};

static const struct choice protocols[] = {{700, "HTTP/1.1"}, {280, "HTTP/2.0"}, {20, "HTTP/1.0"}};

static const struct choice referers[] = {
    {520, "-"},
    {220, "https://www.example.com/"},
    {60, "https://www.example.com/products?sort=price"},
    {60, "https://search.example.net/search?q=river+logs"},
    {70, "https://www.example.com/cart"},
    {50, "https://blog.example.org/2026/01/floating-logs-downstream/"},
    {20, "https://news.example.net/item?id=39482711"},
};

static const struct choice agents[] = {
    {310, "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
          "Chrome/124.0.0.0 Safari/537.36"},
    {180, "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15"},
    {140, "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0"},
    {110,
     "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
     "Version/17.4 Safari/605.1.15"},
    {90, "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"},
    {60, "curl/7.88.1"},
    {50, "kube-probe/1.29"},
    {40, "Prometheus/2.51.0"},
    {20, "-"},
};

static const struct choice paths[] = {
    {120, "/"},
    {110, "/api/v1/items/%u"},
    {100, "/static/js/app.%08x.js"},
    {90, "/static/css/main.%08x.css"},
    {90, "/images/products/%u/large.webp"},
    {90, "/products/%u"},
    {80, "/api/v1/search?q=item-%u&page=2&sort=price"},
    {80, "/api/v2/users/%u/orders?limit=50"},
    {60, "/healthz"},
    {60, "/blog/2026/01/post-%u.html"},
    {50, "/cart?session=%08x&utm_source=newsletter&utm_campaign=winter"},
    {40, "/favicon.ico"},
    {20, "/wp-login.php?attempt=%u"},
    {10, "/search?q=caf%%C3%%A9+%u"},
};

static uint64_t random_state;

/* xorshift64*: fast, and the same numbers on every machine. */
static uint32_t random_u32(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * UINT64_C(2685821657736338717)) >> 32);
}

static uint32_t random_below(uint32_t limit)
{
    return (uint32_t)(((uint64_t)random_u32() * limit) >> 32);
}

static const char *pick(const struct choice *table, size_t len)
{
    int left = (int)random_below(1000);
    for (size_t i = 0; i + 1 < len; i++) {
        left -= table[i].share;
        if (left < 0)
            return table[i].text;
    }
    return table[len - 1].text;
}

#define PICK(table) pick(table, ARRAY_LEN(table))

/* The smaller of two draws: low client numbers come often, high ones seldom. One in twenty has IPv6. */
static int put_client(char *out, size_t size)
{
    uint32_t a = random_below(CLIENTS);
    uint32_t b = random_below(CLIENTS);
    uint32_t hash = (a < b ? a : b) * UINT32_C(2654435761);
    if (hash % 20 == 0)
        return snprintf(out, size, "2001:db8:%x::%x", hash >> 16, hash & 0xffff);
    return snprintf(out, size, "%u.%u.%u.%u", 1 + (hash >> 24) % 223, (hash >> 16) & 255,
                    (hash >> 8) & 255, 1 + hash % 254);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the formats are the table above */
static int put_path(char *out, size_t size)
{
    return snprintf(out, size, PICK(paths), random_u32() & 0xfffff);
}
#pragma GCC diagnostic pop

static uint32_t body_size(const char *status)
{
    if (strcmp(status, "304") == 0 || strcmp(status, "204") == 0)
        return 0;
    uint32_t magnitude = random_below(16);
    return 150 + random_below(UINT32_C(64) << magnitude);
}

static int put_line(char *out, size_t size, const char *when)
{
    char client[64], path[256];
    put_client(client, sizeof(client));
    put_path(path, sizeof(path));
    const char *method = PICK(methods);
    const char *protocol = PICK(protocols);
    const char *status = PICK(statuses);
    const char *user = random_below(100) < 3 ? "alice" : "-";
    return snprintf(out, size, "%s - %s [%s] \"%s %s %s\" %s %u \"%s\" \"%s\"\n", client, user,
                    when, method, path, protocol, status, body_size(status), PICK(referers),
                    PICK(agents));
}

/* About 200 requests a second. Returns the bytes written, -1 with errno. */
static int64_t write_log(FILE *file, uint64_t lines)
{
    char when[40] = "";
    time_t second = FIRST_SECOND;
    int64_t bytes = 0;
    for (uint64_t i = 0; i < lines; i++) {
        if (i % 200 == 0) {
            struct tm tm;
            time_t now = second++;
            strftime(when, sizeof(when), "%d/%b/%Y:%H:%M:%S +0000", gmtime_r(&now, &tm));
        }
        char line[LINE_MAX_LEN];
        int len = put_line(line, sizeof(line), when);
        if (fwrite(line, 1, (size_t)len, file) != (size_t)len)
            return -1;
        bytes += len;
    }
    return bytes;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: nginx_log FILE [LINES [SEED]]\n");
        return 2;
    }
    uint64_t lines = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000000;
    random_state = argc > 3 ? strtoull(argv[3], NULL, 10) : 42;
    if (lines == 0 || random_state == 0) {
        fprintf(stderr, "nginx_log: LINES and SEED are positive numbers\n");
        return 2;
    }
    FILE *file = fopen(argv[1], "w");
    if (file == NULL) {
        fprintf(stderr, "nginx_log: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    int64_t bytes = write_log(file, lines);
    if (bytes == -1 || fclose(file) != 0) {
        fprintf(stderr, "nginx_log: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    printf("lines=%" PRIu64 " bytes=%" PRId64 " average=%.1f\n", lines, bytes,
           (double)bytes / (double)lines);
    return 0;
}
