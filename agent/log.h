/* The agent's own log, on standard error: one line a message, one write(2) a line, any thread.
 *
 *     2026-11-23T12:00:00.123Z info tail: opened path="/var/log/x.log" inode=12
 *
 * Under systemd (JOURNAL_STREAM names standard error) the time and level become journald's
 * priority `<6>`. Never on a record's path. Text from outside (file names, lines, other programs'
 * errors) goes through log_quote(). */
#ifndef SPLASHDAM_LOG_H
#define SPLASHDAM_LOG_H

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_init(int level);
void log_set_level(int level); /* any thread */
void log_text(int level, const char *subsystem, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(...) log_text(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_text(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_text(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_text(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* The text in double quotes, with quotes, backslashes, control and non-ASCII bytes escaped, cut at some 900 bytes;
 * one of eight buffers of this thread, used in turn. */
const char *log_quote(const char *text);
const char *log_quote_len(const char *text, size_t len);

/* A message that may repeat: true at first, then at most once a minute. *ret_times is how often it was asked for
 * since it was last true. One object belongs to one thread. */
struct log_limit {
    int64_t next; /* ns, CLOCK_MONOTONIC */
    unsigned times;
};
int log_allowed(struct log_limit *limit, unsigned *ret_times);

#endif
