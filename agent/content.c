#include "agent/content.h"

#include <errno.h>
#include <unistd.h>
#include <xxhash.h>

#define PIECE     ((size_t)65536)
#define LINE_MOST ((uint64_t)64 << 20) /* as long as tail.max_line may be */

/* All of it, or false. */
static bool read_all(int fd, char *buffer, size_t len, uint64_t offset)
{
    while (len > 0) {
        ssize_t n = pread(fd, buffer, len, (off_t)offset);
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        buffer += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return true;
}

int content_mark(int fd, uint64_t offset, struct mark *ret_mark)
{
    char head[FINGERPRINT_MAX], tail[TAIL_MAX];
    uint32_t head_len = offset < sizeof(head) ? (uint32_t)offset : (uint32_t)sizeof(head);
    uint32_t tail_len = offset < sizeof(tail) ? (uint32_t)offset : (uint32_t)sizeof(tail);
    if (!read_all(fd, head, head_len, 0) || !read_all(fd, tail, tail_len, offset - tail_len))
        return -1;
    *ret_mark = (struct mark){
        .offset = offset,
        .head = {head_len, head_len == 0 ? 0 : XXH3_64bits(head, head_len)},
        .tail = {tail_len, tail_len == 0 ? 0 : XXH3_64bits(tail, tail_len)},
        .shipped = {.end = offset},
    };
    return 0;
}

/* The last line end that stands whole in the bytes, of which the first is at `at` in the file; NULL: none does. */
static const char *last_end(const char *bytes, size_t len, uint64_t at, const struct line_end *end)
{
    for (size_t i = len; i >= end->len; i--) {
        size_t begin = i - end->len;
        if (memcmp(bytes + begin, end->bytes, end->len) == 0 && (at + begin) % end->unit == 0)
            return bytes + begin;
    }
    return NULL;
}

uint64_t content_line_start(int fd, uint64_t offset, const struct line_end *end)
{
    char piece[4096 + LINE_END_MAX];
    uint64_t at = offset;
    while (at > 0 && offset - at < LINE_MOST) {
        size_t len = at < 4096 ? (size_t)at : 4096;
        size_t more = offset - at < end->len - 1u ? (size_t)(offset - at) : end->len - 1u;
        at -= len;
        if (!read_all(fd, piece, len + more, at))
            return offset;
        const char *found = last_end(piece, len + more, at, end);
        if (found != NULL)
            return at + (uint64_t)(found - piece) + end->len;
    }
    return at == 0 ? 0 : offset;
}

bool content_same(int a, int b, uint64_t offset, size_t len)
{
    char left[FINGERPRINT_MAX], right[FINGERPRINT_MAX];
    return len <= sizeof(left) && read_all(a, left, len, offset) &&
           read_all(b, right, len, offset) && memcmp(left, right, len) == 0;
}

enum content_common content_common(int a, int b, uint64_t end, uint64_t most, uint64_t *same)
{
    static _Thread_local char left[PIECE], right[PIECE];
    while (*same < end) {
        size_t len = end - *same < PIECE ? (size_t)(end - *same) : PIECE;
        if (len > most || !read_all(a, left, len, *same) || !read_all(b, right, len, *same))
            return COMMON_LATER;
        if (memcmp(left, right, len) != 0) {
            size_t at = 0;
            while (left[at] == right[at])
                at++;
            *same += at;
            return COMMON_PART;
        }
        *same += len;
        most -= len;
    }
    return COMMON_ALL;
}
