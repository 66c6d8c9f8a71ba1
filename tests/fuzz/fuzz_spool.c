/* Any bytes between two frames of a segment: both are found, and nothing is read that is not there. And any bytes as the
 * inside of a frame whose sums are right. The first byte chooses. */
#include "agent/arena.h"
#include "agent/spool_segment.h"

#include "tests/fuzz/sample.h"

#include <sys/mman.h>
#include <unistd.h>

#define SALT UINT64_C(0x5a17)

static struct spool_packed *make_frame(uint64_t sequence, int compression)
{
    struct spool_batch batch = {.n_records = 0};
    struct spool_record record = {
        .topic = SLICE("t"), .payload = SLICE("some payload"), .key = SLICE("k")};
    struct spool_position position = {.stream = SLICE("s"), .path = SLICE("/p")};
    for (int i = 0; i < 3; i++)
        spool_batch_add_record(&batch, &record);
    spool_batch_add_position(&batch, &position);
    struct spool_packed *frame = spool_frame_pack(&batch, compression);
    assert(frame != NULL && spool_frame_seal(frame, sequence, 1, NULL) == 0);
    spool_frame_salt(frame, SALT);
    spool_batch_fini(&batch);
    return frame;
}

/* Reads all of it; true: it was a whole frame. */
static bool read_frame(char *bytes, const struct spool_header *header)
{
    struct arena arena;
    struct spool_frame frame;
    struct spool_record record;
    struct spool_position position;
    uint32_t n = 0;
    arena_init(&arena, NULL, (size_t)1 << 20);
    bool whole = spool_frame_open(bytes, header, NULL, &arena, &frame) == OPEN_OK;
    for (; whole && spool_frame_record(&frame, &record); n++)
        assert(record.topic.len > 0 && record.payload.len <= header->records_len);
    assert(!whole || n == header->n_records);
    while (whole && spool_frame_position(&frame, &position))
        assert(position.path.len <= header->positions_len);
    arena_reset(&arena);
    return whole;
}

static void between_frames(const uint8_t *data, size_t size)
{
    struct segment_scan scan = {.fd = -1};
    struct segment_piece piece;
    struct spool_packed *first = make_frame(1, SPOOL_PLAIN), *second = make_frame(2, SPOOL_LZ4);
    int fd = memfd_create("segment", MFD_CLOEXEC);
    assert(write(fd, first->bytes, first->len) == (ssize_t)first->len);
    assert(write(fd, data, size) == (ssize_t)size);
    assert(write(fd, second->bytes, second->len) == (ssize_t)second->len);
    uint64_t end = first->len + size + second->len, at = 0;
    unsigned seen = 0;
    enum segment_found found;
    segment_scan_init(&scan, fd, SALT, 0, end);
    while ((found = segment_next(&scan, &piece)) != FOUND_END) {
        assert(piece.from == at && piece.to > at && piece.to <= end);
        at = piece.to;
        if (found == FOUND_FRAME && read_frame(scan.bytes, &piece.header))
            seen |= 1u << piece.header.sequence;
    }
    assert(at == end && seen == (1u << 1 | 1u << 2));
    segment_scan_fini(&scan);
    close(fd);
    free(first);
    free(second);
}

/* The bytes behind the sums of a header: 20 of lengths and numbers, then the body. */
static void inside_a_frame(const uint8_t *data, size_t size, int compression)
{
    struct spool_header header;
    struct spool_packed *frame = (struct spool_packed *)malloc(sizeof(*frame) + SPOOL_HEADER + size);
    assert(frame != NULL);
    struct spool_packed *whole = make_frame(1, SPOOL_PLAIN);
    memcpy(frame->bytes, whole->bytes, SPOOL_HEADER);
    frame->bytes[5] = (char)compression;
    if (size >= 8) { /* lengths that could be, more often than not */
        frame->bytes[28] = (char)data[0];
        frame->bytes[29] = frame->bytes[30] = frame->bytes[31] = 0;
        memcpy(frame->bytes + 32, data + 1, 2);
        frame->bytes[36] = (char)data[3];
        frame->bytes[40] = (char)data[4];
        data += 5;
        size -= 5;
    }
    uint32_t len = (uint32_t)size;
    memcpy(frame->bytes + 24, &len, sizeof(len));
    if (size > 0)
        memcpy(frame->bytes + SPOOL_HEADER, data, size);
    frame->len = SPOOL_HEADER + size;
    assert(spool_frame_seal(frame, 1, 1, NULL) == 0);
    spool_frame_salt(frame, SALT);
    if (spool_header_read(frame->bytes, SALT, &header) == HEADER_OK &&
        spool_body_valid(&header, frame->bytes + SPOOL_HEADER))
        read_frame(frame->bytes, &header);
    free(frame);
    free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 65536)
        return 0;
    if (data[0] % 4 == 0)
        between_frames(data + 1, size - 1);
    else
        inside_a_frame(data + 1, size - 1, data[0] % 4 - 1);
    return 0;
}
