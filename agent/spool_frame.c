#include "agent/spool_frame.h"

#include "agent/spool_crypt.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include <lz4.h>
#include <xxhash.h>
#include <zstd.h>

#define SUMMED        72u /* bytes of the header that its checksum covers */
#define AUTHENTICATED 64u
#define NO_KEY        UINT32_MAX
#define BUFFER_LEAST  ((size_t)64 * 1024)
#define ZSTD_LEVEL    1

static const char magic[4] = SPOOL_MAGIC;

/* ---- integers ---- */

static void put8(char **to, unsigned value)
{
    *(*to)++ = (char)value;
}

static void put16(char **to, uint16_t value)
{
    value = htole16(value);
    memcpy(*to, &value, sizeof(value));
    *to += sizeof(value);
}

static void put32(char **to, uint32_t value)
{
    value = htole32(value);
    memcpy(*to, &value, sizeof(value));
    *to += sizeof(value);
}

static void put64(char **to, uint64_t value)
{
    value = htole64(value);
    memcpy(*to, &value, sizeof(value));
    *to += sizeof(value);
}

static void put_bytes(char **to, struct slice bytes)
{
    if (bytes.len > 0)
        memcpy(*to, bytes.ptr, bytes.len);
    *to += bytes.len;
}

/* What is left of bytes that are being read. Too few of them: `wrong`, and everything read from then on is 0 or empty. */
struct reader {
    struct slice left;
    bool wrong;
};

static struct slice get_bytes(struct reader *reader, size_t len)
{
    if (reader->wrong || len > reader->left.len) {
        reader->wrong = true;
        return (struct slice){"", 0};
    }
    struct slice bytes = slice_of(reader->left.ptr, len);
    reader->left.ptr += len;
    reader->left.len -= len;
    return bytes;
}

static uint64_t get(struct reader *reader, size_t len)
{
    uint64_t value = 0;
    struct slice bytes = get_bytes(reader, len);
    memcpy(&value, bytes.ptr, bytes.len);
    return le64toh(value);
}

/* ---- building ---- */

/* Room for `more` bytes behind those that are there; NULL: no memory, or too large. */
static char *reserve(struct spool_buffer *buffer, size_t more)
{
    if (more > buffer->room - buffer->len) {
        size_t need = buffer->len + more;
        if (need > SPOOL_BODY_MAX)
            return NULL;
        size_t room = need * 2 > BUFFER_LEAST ? need * 2 : BUFFER_LEAST;
        char *grown = (char *)realloc(buffer->bytes, room);
        if (grown == NULL)
            return NULL;
        buffer->bytes = grown;
        buffer->room = room;
    }
    return buffer->bytes + buffer->len;
}

static void commit(struct spool_buffer *buffer, const char *end)
{
    buffer->len = (size_t)(end - buffer->bytes);
}

void spool_batch_reset(struct spool_batch *batch)
{
    batch->positions.len = batch->records.len = 0;
    batch->n_positions = batch->n_records = 0;
    batch->topic_len = 0;
    batch->failed = false;
}

void spool_batch_fini(struct spool_batch *batch)
{
    free(batch->positions.bytes);
    free(batch->records.bytes);
    ZSTD_freeCCtx((ZSTD_CCtx *)batch->zstd);
    *batch = (struct spool_batch){.n_records = 0};
}

void spool_batch_add_record(struct spool_batch *batch, const struct spool_record *record)
{
    struct slice topic = record->topic;
    if (batch->topic_len > 0 &&
        slice_equal(topic, slice_of(batch->records.bytes + batch->topic, batch->topic_len)))
        topic = SLICE("");
    size_t key_len = record->key.ptr == NULL ? 0 : record->key.len;
    char *to = NULL;
    if (record->topic.len > 0 && record->topic.len <= SPOOL_TOPIC_MAX &&
        record->payload.len <= SPOOL_BODY_MAX && key_len <= SPOOL_BODY_MAX &&
        record->headers.len <= SPOOL_BODY_MAX)
        to = reserve(&batch->records,
                     32 + topic.len + key_len + record->headers.len + record->payload.len);
    if (to == NULL) {
        batch->failed = true;
        return;
    }
    put32(&to, (uint32_t)record->payload.len);
    put32(&to, record->key.ptr == NULL ? NO_KEY : (uint32_t)key_len);
    put32(&to, (uint32_t)record->headers.len);
    put64(&to, (uint64_t)record->timestamp);
    put32(&to, (uint32_t)record->partition);
    put8(&to, (unsigned)topic.len);
    if (topic.len > 0) {
        batch->topic = (size_t)(to - batch->records.bytes);
        batch->topic_len = topic.len;
    }
    put_bytes(&to, topic);
    put_bytes(&to, slice_of(record->key.ptr, key_len));
    put_bytes(&to, record->headers);
    put_bytes(&to, record->payload);
    commit(&batch->records, to);
    batch->n_records++;
}

void spool_batch_add_position(struct spool_batch *batch, const struct spool_position *p)
{
    char *to = NULL;
    if (p->stream.len <= UINT8_MAX && p->path.len <= UINT16_MAX)
        to = reserve(&batch->positions, 160 + p->stream.len + p->path.len);
    if (to == NULL) {
        batch->failed = true;
        return;
    }
    put8(&to, (unsigned)p->stream.len);
    put_bytes(&to, p->stream);
    put16(&to, (uint16_t)p->path.len);
    put_bytes(&to, p->path);
    put64(&to, p->id.dev);
    put64(&to, p->id.ino);
    put64(&to, (uint64_t)p->id.birth);
    put64(&to, p->begin);
    put64(&to, p->generation);
    put32(&to, p->records);
    put64(&to, p->mark.offset);
    put8(&to, p->mark.cut);
    put32(&to, p->mark.head.len);
    put64(&to, p->mark.head.hash);
    put32(&to, p->mark.tail.len);
    put64(&to, p->mark.tail.hash);
    put64(&to, p->mark.shipped.end);
    put64(&to, p->mark.shipped.dropped);
    put8(&to, p->mark.shipped.any);
    commit(&batch->positions, to);
    batch->n_positions++;
}

/* ---- packing ---- */

static size_t compress_bound(size_t len, int compression)
{
    switch (compression) {
    case SPOOL_LZ4: return len <= LZ4_MAX_INPUT_SIZE ? (size_t)LZ4_compressBound((int)len) : len;
    case SPOOL_ZSTD: return ZSTD_compressBound(len);
    default: return len;
    }
}

/* Bytes written; 0: not compressed, or not smaller. */
static size_t compress(struct spool_batch *batch, char *to, size_t room, int compression)
{
    const struct spool_buffer *from = &batch->records;
    size_t len = 0;
    if (compression == SPOOL_LZ4)
        len = (size_t)LZ4_compress_default(from->bytes, to, (int)from->len, (int)room);
    if (compression == SPOOL_ZSTD) {
        if (batch->zstd == NULL)
            batch->zstd = ZSTD_createCCtx();
        if (batch->zstd != NULL)
            len = ZSTD_compressCCtx((ZSTD_CCtx *)batch->zstd, to, room, from->bytes, from->len,
                                    ZSTD_LEVEL);
        if (ZSTD_isError(len))
            len = 0;
    }
    return len < from->len ? len : 0;
}

static void write_header(struct spool_packed *frame, const struct spool_batch *batch,
                         int compression)
{
    char *to = frame->bytes;
    memset(to, 0, SPOOL_HEADER);
    put_bytes(&to, slice_of(magic, sizeof(magic)));
    put8(&to, SPOOL_VERSION);
    put8(&to, (unsigned)compression);
    to += 2 + 8 + 8; /* the rest by spool_frame_seal() */
    put32(&to, (uint32_t)(frame->len - SPOOL_HEADER));
    put32(&to, (uint32_t)batch->positions.len);
    put32(&to, (uint32_t)batch->records.len);
    put32(&to, batch->n_positions);
    put32(&to, batch->n_records);
}

struct spool_packed *spool_frame_pack(struct spool_batch *batch, int compression)
{
    size_t positions = batch->positions.len;
    size_t bound = compress_bound(batch->records.len, compression);
    if (batch->failed || positions + batch->records.len > SPOOL_BODY_MAX - SPOOL_TAG) {
        errno = batch->failed && batch->records.len < SPOOL_BODY_MAX / 2 ? ENOMEM : EFBIG;
        return NULL;
    }
    size_t room = SPOOL_HEADER + positions + bound + SPOOL_TAG;
    struct spool_packed *frame = (struct spool_packed *)malloc(sizeof(*frame) + room);
    if (frame == NULL)
        return NULL;
    char *to = frame->bytes + SPOOL_HEADER;
    put_bytes(&to, slice_of(batch->positions.bytes, positions));
    size_t packed = compress(batch, to, bound, compression);
    if (packed == 0) {
        compression = SPOOL_PLAIN;
        put_bytes(&to, slice_of(batch->records.bytes, batch->records.len));
    } else {
        to += packed;
    }
    *frame =
        (struct spool_packed){.n_records = batch->n_records, .len = (size_t)(to - frame->bytes)};
    write_header(frame, batch, compression);
    /* Frames wait in memory for their fsync: what was reserved for text that does not compress goes back. */
    struct spool_packed *shrunk =
        (struct spool_packed *)realloc(frame, sizeof(*frame) + frame->len + SPOOL_TAG);
    return shrunk == NULL ? frame : shrunk;
}

int spool_frame_seal(struct spool_packed *frame, uint64_t sequence, int64_t time,
                     const struct spool_keys *keys)
{
    char *head = frame->bytes;
    char *body = head + SPOOL_HEADER;
    size_t len = frame->len - SPOOL_HEADER;
    char *to = head + 8;
    frame->sequence = sequence;
    put64(&to, sequence);
    put64(&to, (uint64_t)time);
    if (keys != NULL) {
        head[6] = SPOOL_CIPHER_GCM;
        put32(&to, (uint32_t)(len + SPOOL_TAG));
        to = head + 44;
        put64(&to, spool_keys_first(keys));
        if (spool_encrypt(keys, head, AUTHENTICATED, to, body, len) == -1)
            return -1;
        len += SPOOL_TAG;
        frame->len += SPOOL_TAG;
    }
    to = head + 64;
    put64(&to, XXH3_64bits(body, len));
    return 0;
}

void spool_frame_salt(struct spool_packed *frame, uint64_t salt)
{
    char *to = frame->bytes + SUMMED;
    put64(&to, XXH3_64bits_withSeed(frame->bytes, SUMMED, salt));
}

/* ---- reading ---- */

enum spool_header_result spool_header_read(const char bytes[SPOOL_HEADER], uint64_t salt,
                                           struct spool_header *ret_header)
{
    struct spool_header *h = ret_header;
    struct reader r = {.left = {bytes, SPOOL_HEADER}};
    if (memcmp(bytes, magic, sizeof(magic)) != 0)
        return HEADER_WRONG;
    struct reader sum = {.left = {bytes + SUMMED, SPOOL_HEADER - SUMMED}};
    if (get(&sum, 8) != XXH3_64bits_withSeed(bytes, SUMMED, salt))
        return HEADER_WRONG;
    get(&r, sizeof(magic));
    h->version = (uint8_t)get(&r, 1);
    h->compression = (uint8_t)get(&r, 1);
    h->cipher = (uint8_t)get(&r, 1);
    unsigned zero = (unsigned)get(&r, 1);
    h->sequence = get(&r, 8);
    h->time = (int64_t)get(&r, 8);
    h->body_len = (uint32_t)get(&r, 4);
    h->positions_len = (uint32_t)get(&r, 4);
    h->records_len = (uint32_t)get(&r, 4);
    h->n_positions = (uint32_t)get(&r, 4);
    h->n_records = (uint32_t)get(&r, 4);
    h->key_id = get(&r, 8);
    get_bytes(&r, SPOOL_NONCE);
    h->body_sum = get(&r, 8);
    if (h->version > SPOOL_VERSION || h->compression > SPOOL_ZSTD || h->cipher > SPOOL_CIPHER_GCM)
        return HEADER_LATER;
    size_t tag = h->cipher == SPOOL_CIPHER_GCM ? SPOOL_TAG : 0;
    bool right = h->version == SPOOL_VERSION && zero == 0 && h->sequence > 0 &&
                 h->body_len <= SPOOL_BODY_MAX && h->records_len <= SPOOL_BODY_MAX &&
                 (size_t)h->positions_len + tag <= h->body_len;
    return right ? HEADER_OK : HEADER_WRONG;
}

bool spool_body_valid(const struct spool_header *header, const char *body)
{
    return XXH3_64bits(body, header->body_len) == header->body_sum;
}

static bool take_record(struct slice *left, struct slice *topic, struct spool_record *record)
{
    struct reader r = {.left = *left};
    size_t payload = (size_t)get(&r, 4);
    size_t key = (size_t)get(&r, 4);
    size_t headers = (size_t)get(&r, 4);
    record->timestamp = (int64_t)get(&r, 8);
    record->partition = (int32_t)get(&r, 4);
    size_t topic_len = (size_t)get(&r, 1);
    if (topic_len > 0)
        *topic = get_bytes(&r, topic_len);
    record->topic = *topic;
    record->key = key == NO_KEY ? (struct slice){NULL, 0} : get_bytes(&r, key);
    record->headers = get_bytes(&r, headers);
    record->payload = get_bytes(&r, payload);
    *left = r.left;
    return !r.wrong && topic->len > 0 && topic->len <= SPOOL_TOPIC_MAX;
}

static bool take_position(struct slice *left, struct spool_position *p)
{
    struct reader r = {.left = *left};
    p->frame = 0;
    p->stream = get_bytes(&r, (size_t)get(&r, 1));
    p->path = get_bytes(&r, (size_t)get(&r, 2));
    p->id.dev = (dev_t)get(&r, 8);
    p->id.ino = (ino_t)get(&r, 8);
    p->id.birth = (int64_t)get(&r, 8);
    p->begin = get(&r, 8);
    p->generation = get(&r, 8);
    p->records = (uint32_t)get(&r, 4);
    p->mark.offset = get(&r, 8);
    p->mark.cut = get(&r, 1) != 0;
    p->mark.head.len = (uint32_t)get(&r, 4);
    p->mark.head.hash = get(&r, 8);
    p->mark.tail.len = (uint32_t)get(&r, 4);
    p->mark.tail.hash = get(&r, 8);
    p->mark.shipped.end = get(&r, 8);
    p->mark.shipped.dropped = get(&r, 8);
    p->mark.shipped.any = get(&r, 1) != 0;
    *left = r.left;
    return !r.wrong && p->mark.head.len <= FINGERPRINT_MAX && p->mark.tail.len <= TAIL_MAX;
}

bool spool_frame_record(struct spool_frame *frame, struct spool_record *ret_record)
{
    if (frame->n_records == 0 || !take_record(&frame->records, &frame->topic, ret_record))
        return false;
    frame->n_records--;
    return true;
}

bool spool_frame_position(struct spool_frame *frame, struct spool_position *ret_position)
{
    if (frame->n_positions == 0 || !take_position(&frame->positions, ret_position))
        return false;
    frame->n_positions--;
    return true;
}

/* Rule 5, without the decompression. Takes a copy: it is read to its end. */
static bool well_formed(struct spool_frame frame, bool records)
{
    struct spool_position position;
    struct spool_record record;
    while (spool_frame_position(&frame, &position))
        ;
    while (records && spool_frame_record(&frame, &record))
        ;
    return frame.n_positions == 0 && frame.positions.len == 0 &&
           (!records || (frame.n_records == 0 && frame.records.len == 0));
}

static bool decompress(struct slice from, const struct spool_header *header, char *to)
{
    switch (header->compression) {
    case SPOOL_PLAIN:
        if (from.len != header->records_len)
            return false;
        memcpy(to, from.ptr, from.len);
        return true;
    case SPOOL_LZ4:
        return LZ4_decompress_safe(from.ptr, to, (int)from.len, (int)header->records_len) ==
               (int)header->records_len;
    default:
        return ZSTD_decompress(to, header->records_len, from.ptr, from.len) == header->records_len;
    }
}

enum spool_open_result spool_frame_open(char *bytes, const struct spool_header *header,
                                        const struct spool_keys *keys, struct arena *arena,
                                        struct spool_frame *ret_frame)
{
    char *body = bytes + SPOOL_HEADER;
    size_t len = header->body_len;
    char *plain = NULL;
    if (arena != NULL) {
        plain = (char *)arena_alloc(arena, (size_t)header->positions_len + header->records_len + 1);
        if (plain == NULL)
            return OPEN_FULL;
    }
    if (header->cipher == SPOOL_CIPHER_GCM) {
        if (!spool_keys_have(keys, header->key_id))
            return OPEN_NO_KEY;
        len -= SPOOL_TAG;
        if (spool_decrypt(keys, header->key_id, bytes, AUTHENTICATED, bytes + 52, body, len) == -1)
            return OPEN_WRONG;
    }
    struct spool_frame frame = {.sequence = header->sequence,
                                .time = header->time,
                                .n_records = header->n_records,
                                .n_positions = header->n_positions,
                                .positions = {body, header->positions_len}};
    if (plain != NULL) {
        memcpy(plain, body, header->positions_len);
        frame.positions.ptr = plain;
        frame.records = slice_of(plain + header->positions_len, header->records_len);
        struct slice packed = {body + header->positions_len, len - header->positions_len};
        if (!decompress(packed, header, plain + header->positions_len))
            return OPEN_WRONG;
    }
    if (!well_formed(frame, plain != NULL))
        return OPEN_WRONG;
    *ret_frame = frame;
    return OPEN_OK;
}
