#include "agent/inflate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define PIECE ((size_t)65536)

struct inflate {
    int in, out;
    uint64_t keep;
    uint64_t size;            /* of the text so far, written or left out */
    bool between;             /* at a member's or frame's end: the file may end here */
    bool any;                 /* there was a whole member: what follows and is none is padding */
    bool full;                /* the last call had more text than there was room for */
    enum inflate_result over; /* other than INFLATE_MORE: when the text is written */
    ZSTD_DStream *zstd;       /* or */
    z_stream gzip;
    size_t next, end;           /* of input */
    size_t text_next, text_end; /* of text: not written yet */
    unsigned char input[PIECE];
    unsigned char text[PIECE];
};

static bool ends_with(const char *path, const char *end)
{
    size_t len = strlen(path), end_len = strlen(end);
    return len > end_len && strcmp(path + len - end_len, end) == 0;
}

bool inflate_knows(const char *path)
{
    return ends_with(path, ".gz") || ends_with(path, ".zst");
}

struct inflate *inflate_open(const char *path, int in, int out, uint64_t keep)
{
    struct inflate *job = (struct inflate *)calloc(1, sizeof(*job));
    bool ready = job != NULL;
    if (ready && ends_with(path, ".zst"))
        ready = (job->zstd = ZSTD_createDStream()) != NULL;
    else if (ready)
        ready = inflateInit2(&job->gzip, 16 + MAX_WBITS) == Z_OK;
    if (!ready) {
        free(job);
        return NULL;
    }
    job->in = in;
    job->out = out;
    job->keep = keep;
    job->between = true;
    return job;
}

void inflate_close(struct inflate **job_ptr)
{
    struct inflate *job = *job_ptr;
    if (job == NULL)
        return;
    if (job->zstd != NULL)
        ZSTD_freeDStream(job->zstd);
    else
        inflateEnd(&job->gzip);
    free(job);
    *job_ptr = NULL;
}

uint64_t inflate_size(const struct inflate *job)
{
    return job->size;
}

/* The next part of the text that is either written or left out; -1 and errno. */
static int write_some(struct inflate *job)
{
    size_t len = job->text_end - job->text_next;
    uint64_t left_out_end = job->keep;
    if (job->size < INFLATE_HEAD && INFLATE_HEAD - job->size < len)
        len = (size_t)(INFLATE_HEAD - job->size);
    else if (job->size >= INFLATE_HEAD && job->size < left_out_end) {
        if (left_out_end - job->size < len)
            len = (size_t)(left_out_end - job->size);
        job->text_next += len;
        job->size += len;
        return 0;
    }
    ssize_t n = pwrite(job->out, job->text + job->text_next, len, (off_t)job->size);
    if (n == -1)
        return errno == EINTR ? 0 : -1;
    job->text_next += (size_t)n;
    job->size += (size_t)n;
    return 0;
}

static enum inflate_result decode_gzip(struct inflate *job)
{
    z_stream *gzip = &job->gzip;
    if (job->between)
        inflateReset(gzip);
    job->between = false;
    gzip->next_in = job->input + job->next;
    gzip->avail_in = (uInt)(job->end - job->next);
    gzip->next_out = job->text;
    gzip->avail_out = sizeof(job->text);
    int result = inflate(gzip, Z_NO_FLUSH);
    job->next = job->end - gzip->avail_in;
    job->text_end = sizeof(job->text) - gzip->avail_out;
    job->between = result == Z_STREAM_END;
    job->any |= job->between;
    if (result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR)
        return INFLATE_MORE;
    return job->any && gzip->total_out == 0 ? INFLATE_END : INFLATE_CORRUPT;
}

static enum inflate_result decode_zstd(struct inflate *job)
{
    ZSTD_inBuffer in = {job->input, job->end, job->next};
    ZSTD_outBuffer out = {job->text, sizeof(job->text), 0};
    size_t result = ZSTD_decompressStream(job->zstd, &out, &in);
    job->next = in.pos;
    job->text_end = out.pos;
    if (ZSTD_isError(result))
        return INFLATE_CORRUPT;
    job->between = result == 0;
    job->any |= job->between;
    return INFLATE_MORE;
}

/* The next text, which may be none; INFLATE_MORE, or why there is no more. */
static enum inflate_result decode(struct inflate *job)
{
    job->text_next = job->text_end = 0;
    if (job->over != INFLATE_MORE)
        return job->over;
    if (job->next == job->end && (!job->full || job->between)) {
        ssize_t n = read(job->in, job->input, sizeof(job->input));
        if (n == -1)
            return errno == EINTR ? INFLATE_MORE : INFLATE_FAILED;
        if (n == 0)
            return job->between && job->any ? INFLATE_END : INFLATE_CUT;
        job->next = 0;
        job->end = (size_t)n;
    }
    job->over = job->zstd != NULL ? decode_zstd(job) : decode_gzip(job);
    job->full = job->text_end == sizeof(job->text);
    return INFLATE_MORE;
}

enum inflate_result inflate_step(struct inflate *job, size_t most)
{
    uint64_t begin = job->size;
    while (job->size - begin < most) {
        enum inflate_result result = INFLATE_MORE;
        if (job->text_next == job->text_end)
            result = decode(job);
        else if (write_some(job) == -1)
            result = INFLATE_FAILED;
        if (result != INFLATE_MORE)
            return result;
    }
    return INFLATE_MORE;
}

size_t inflate_begin(const char *path, int in, char *ret_text, size_t most)
{
    struct inflate *job = inflate_open(path, in, -1, 0);
    size_t have = 0;
    while (job != NULL && have < most && decode(job) == INFLATE_MORE) {
        size_t len = job->text_end < most - have ? job->text_end : most - have;
        memcpy(ret_text + have, job->text, len);
        have += len;
    }
    inflate_close(&job);
    return have;
}
