/* A frame: one batch in a segment. Integers are little-endian.
 *
 *     offset size
 *          0    4  magic: a5 53 44 f1
 *          4    1  version: 1
 *          5    1  compression of the records: 0 none, 1 LZ4 block, 2 Zstandard
 *          6    1  cipher: 0 none, 1 AES-256-GCM
 *          7    1  0
 *          8    8  sequence within the stream, from 1
 *         16    8  time when it was appended, ms since 1970
 *         24    4  length of the body, the bytes behind this header
 *         28    4  of these, the positions, which are not compressed
 *         32    4  length of the records before compression
 *         36    4  number of positions
 *         40    4  number of records
 *         44    8  key id, 0 without a cipher (spool_crypt.h)
 *         52   12  nonce, 0 without a cipher
 *         64    8  XXH3-64 of the body
 *         72    8  XXH3-64 of bytes 0 to 71, seeded with the segment's salt
 *         80       body: positions, records; with a cipher all of it encrypted, bytes 0 to 63 authenticated
 *                  with it, and the tag of 16 bytes behind
 *
 *     position  u8 length, stream; u16 length, path; u64 dev, ino; i64 birth; u64 begin, generation; u32 records; u64 offset;
 *               u8 cut; u32, u64 head; u32, u64 tail; u64 end, dropped of what was shipped; u8 any
 *     record    u32 length of payload; u32 length of key, 2^32-1 none; u32 length of headers; i64 timestamp; i32 partition;
 *               u8 length of topic, 0: that of the record before; topic; key; headers; payload
 *
 * Bytes are a valid frame if and only if
 *   1. magic and the header's checksum agree: then all lengths are as they were written;
 *   2. version, compression and cipher are ones that are known, byte 7 is 0, and positions fit into the body;
 *   3. the whole body is there and its checksum agrees;
 *   4. with a cipher, the key is there and the tag agrees;
 *   5. the records decompress to the length given, and both parts hold exactly as many items as given, each whole.
 * Magic, version and checksum stay where they are in later versions, so that a later version (1 holds, 2 does
 * not) is told from damage (1 does not hold). The salt stands in the segment's name and nowhere in it: text that a log
 * brings with it can't be taken for a frame when what is behind a damaged place is looked for. */
#ifndef SPLASHDAM_SPOOL_FRAME_H
#define SPLASHDAM_SPOOL_FRAME_H

#include "agent/spool.h"

#define SPOOL_HEADER      80u
#define SPOOL_VERSION     1
#define SPOOL_CIPHER_NONE 0
#define SPOOL_CIPHER_GCM  1
#define SPOOL_NONCE       12u
#define SPOOL_TAG         16u
#define SPOOL_BODY_MAX    ((size_t)1 << 30)
#define SPOOL_MAGIC       "\xa5\x53\x44\xf1"
#define SPOOL_TOPIC_MAX   249u

struct spool_keys;
struct segment;

struct spool_header {
    uint8_t version, compression, cipher;
    uint64_t sequence;
    int64_t time;
    uint32_t body_len, positions_len, records_len;
    uint32_t n_positions, n_records;
    uint64_t key_id;
    uint64_t body_sum;
};

/* A frame in memory, ready to be written but for what frame_seal() sets. */
struct spool_packed {
    struct spool_packed *next;
    struct segment *segment; /* where it stands; NULL: nowhere, it has to be written anew */
    uint64_t end;            /* offset behind it there */
    uint64_t sequence;
    uint32_t n_records;
    size_t len;   /* of bytes: header and body */
    char bytes[]; /* room for a tag behind */
};

/* NULL: errno ENOMEM or EFBIG. */
struct spool_packed *spool_frame_pack(struct spool_batch *batch, int compression);
/* Encrypts with the first key, where there are keys, and sets sequence, time and sums. -1: encryption failed. Once a frame. */
int spool_frame_seal(struct spool_packed *frame, uint64_t sequence, int64_t time,
                     const struct spool_keys *keys);
/* The header's checksum, for the segment with that salt. */
void spool_frame_salt(struct spool_packed *frame, uint64_t salt);

enum spool_header_result { HEADER_OK, HEADER_WRONG, HEADER_LATER };
/* Rules 1 and 2. */
enum spool_header_result spool_header_read(const char bytes[SPOOL_HEADER], uint64_t salt,
                                           struct spool_header *ret_header);
/* Rule 3, for a body of header->body_len bytes. */
bool spool_body_valid(const struct spool_header *header, const char *body);

enum spool_open_result { OPEN_OK, OPEN_WRONG, OPEN_NO_KEY, OPEN_FULL };
/* Rules 4 and 5. `bytes` are the whole frame, decrypted in place; records that have to be decompressed go into the arena, as
 * which NULL means that only positions are wanted. The frame's slices point to both. */
enum spool_open_result spool_frame_open(char *bytes, const struct spool_header *header,
                                        const struct spool_keys *keys, struct arena *arena,
                                        struct spool_frame *ret_frame);

#endif
