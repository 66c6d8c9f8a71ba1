#include "agent/log.h"

#include "agent/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_ROOM  4096
#define QUOTE_ROOM 1024
#define LIMIT_NS   (60 * NS_PER_S)

static atomic_int log_level = LOG_LEVEL_INFO;
static bool log_journal; /* standard error is the journal: it wants a priority and has its own clock */

/* systemd.exec(5), JOURNAL_STREAM: device and inode of the stream that was connected. */
static bool is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    if (stream == NULL || fstat(STDERR_FILENO, &st) == -1)
        return false;
    char here[64];
    snprintf(here, sizeof(here), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, here) == 0;
}

void log_set_level(int level)
{
    atomic_store_explicit(&log_level, level, memory_order_relaxed);
}

void log_init(int level)
{
    log_set_level(level);
    log_journal = is_journal();
}

static size_t write_head(char *line, size_t room, int level, const char *subsystem)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    static const int priorities[] = {3, 4, 6, 7}; /* sd-daemon(3), SD_ERR … SD_DEBUG */
    if (log_journal)
        return (size_t)snprintf(line, room, "<%d>%s: ", priorities[level], subsystem);
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t len = strftime(line, room, "%Y-%m-%dT%H:%M:%S", &tm);
    return len + (size_t)snprintf(line + len, room - len, ".%03ldZ %s %s: ", now.tv_nsec / 1000000,
                                  names[level], subsystem);
}

void log_text(int level, const char *subsystem, const char *format, ...)
{
    if (level > atomic_load_explicit(&log_level, memory_order_relaxed))
        return;
    int saved = errno;
    char line[LINE_ROOM];
    size_t len = write_head(line, sizeof(line) - 1, level, subsystem);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line + len, sizeof(line) - 1 - len, format, args);
    va_end(args);
    if (n > 0)
        len += (size_t)n < sizeof(line) - 1 - len ? (size_t)n : sizeof(line) - 2 - len;
    for (size_t i = 0; i < len; i++) /* one message is one line */
        if (line[i] == '\n' || line[i] == '\r')
            line[i] = ' ';
    line[len++] = '\n';
    ssize_t written;
    do
        written = write(STDERR_FILENO, line, len);
    while (written == -1 && errno == EINTR);
    errno = saved; /* there is nowhere left to say that the log can't be written */
}

const char *log_quote_len(const char *text, size_t len)
{
    static _Thread_local char buffers[8][QUOTE_ROOM];
    static _Thread_local unsigned turn;
    char *buffer = buffers[turn++ % 8];
    char *at = buffer;
    *at++ = '"';
    size_t i = 0;
    for (; i < len && at < buffer + QUOTE_ROOM - 10; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            *at++ = '\\';
        if (c >= 0x20 && c < 0x7f)
            *at++ = (char)c;
        else
            at += snprintf(at, 5, "\\x%02x", c);
    }
    memcpy(at, i < len ? "…\"" : "\"", i < len ? sizeof("…\"") : 2);
    return buffer;
}

const char *log_quote(const char *text)
{
    return log_quote_len(text, strlen(text));
}

int log_allowed(struct log_limit *limit, unsigned *ret_times)
{
    int64_t now = clock_monotonic();
    limit->times++;
    if (now < limit->next)
        return 0;
    *ret_times = limit->times;
    limit->times = 0;
    limit->next = now + LIMIT_NS;
    return 1;
}
