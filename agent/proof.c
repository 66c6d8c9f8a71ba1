#include "agent/proof.h"

#include "agent/headers.h"
#include "agent/stream.h"

#include <stdlib.h>
#include <zlib.h>

enum { FLAG_FIRST = 1 };

uint32_t proof_agent(const char *id)
{
    return (uint32_t)crc32(0, (const unsigned char *)id, (unsigned)strlen(id));
}

/* ---- bytes ---- */

static char *put_big_endian(char *to, uint64_t number, unsigned bytes)
{
    while (bytes-- > 0)
        *to++ = (char)(number >> 8 * bytes);
    return to;
}

size_t proof_encode(char *to, const struct proof *proof)
{
    char *start = to;
    /* How far it begins behind `from`, or before it: 0 1 2 … stand for 0 -1 1 -2 2 … */
    uint64_t gap = proof->begin - proof->from;
    gap = gap << 1 ^ (proof->begin < proof->from ? UINT64_MAX : 0);
    *to++ = PROOF_VERSION;
    *to++ = proof->first ? FLAG_FIRST : 0;
    to = put_big_endian(to, proof->agent, 4);
    to = put_big_endian(to, proof->generation, 8);
    to = varint_put(to, proof->begin);
    to = varint_put(to, proof->end - proof->begin);
    to = varint_put(to, gap);
    to = varint_put(to, proof->dropped);
    return (size_t)(to - start);
}

/* ---- batches ---- */

/* What was shipped before the range: of the same source, one may stand before it in the batch. */
static struct shipped shipped_before(const struct batch_private *batch, const struct range *range)
{
    struct shipped shipped = range->begin_shipped;
    for (const struct range *r = batch->ranges; r != range; r = r->batch_next)
        if (r->source == range->source && r->epoch == range->epoch)
            shipped = r->mark.shipped;
    return shipped;
}

static int compare_ends(const void *left, const void *right)
{
    const struct record *a = *(const struct record *const *)left;
    const struct record *b = *(const struct record *const *)right;
    return a->end < b->end ? -1 : a->end > b->end;
}

/* The records from `first` on that are the range's, in the order of their ends; returns how many. */
static uint32_t by_end(const struct batch_private *batch, uint32_t first, uint16_t origin,
                       const struct record **records)
{
    uint32_t n = 0;
    bool sorted = true;
    for (uint32_t i = first; i < batch->b.n_records && batch->b.records[i].origin == origin; i++) {
        const struct record *record = &batch->b.records[i];
        sorted &= n == 0 || record->end > records[n - 1]->end;
        records[n++] = record;
    }
    if (!sorted)
        qsort((void *)records, n, sizeof(records[0]), compare_ends);
    return n;
}

static int prove_range(struct batch_private *batch, struct range *range,
                       const struct record *const *records, uint32_t n, proof_each_fn *each)
{
    struct shipped shipped = shipped_before(batch, range);
    struct proof proof = {.agent = batch->stream->agent, .generation = range->generation};
    for (uint32_t i = 0; i < n; i++) {
        if (!record_is_left(records[i])) {
            shipped.dropped++;
            continue;
        }
        proof.first = !shipped.any;
        proof.from = shipped.end;
        proof.begin = records[i]->begin;
        proof.end = records[i]->end;
        proof.dropped = shipped.dropped;
        if (each(batch, records[i], &proof) == -1)
            return -1;
        shipped = (struct shipped){.end = proof.end, .any = true};
    }
    range->mark.shipped = shipped;
    return 0;
}

int proof_batch(struct batch_private *batch, proof_each_fn *each)
{
    const struct record *records[BATCH_RECORDS];
    uint32_t first = 0;
    uint16_t origin = 0;
    for (struct range *range = batch->ranges; range != NULL; range = range->batch_next) {
        uint32_t n = by_end(batch, first, origin++, records);
        if (prove_range(batch, range, records, n, each) == -1)
            return -1;
        first += n;
    }
    return 0;
}

void proof_skip(struct batch_private *batch)
{
    for (struct range *range = batch->ranges; range != NULL; range = range->batch_next)
        range->mark.shipped = (struct shipped){.end = range->mark.offset};
}
