#include "agent/committed.h"

#include <stdlib.h>

struct committed_range {
    uint64_t frame; /* its sequence */
    char *stream, *path;
    struct identity id;
    uint64_t begin, generation;
    uint32_t records;
    struct mark mark;
};

int committed_note(struct committed *committed, const struct spool_position *range)
{
    if (committed->n_ranges == committed->room) {
        size_t room = committed->room == 0 ? 64 : committed->room * 2;
        struct committed_range *grown =
            (struct committed_range *)realloc(committed->ranges, room * sizeof(*grown));
        if (grown == NULL)
            return -1;
        committed->ranges = grown;
        committed->room = room;
    }
    struct committed_range *noted = &committed->ranges[committed->n_ranges++];
    *noted = (struct committed_range){.frame = range->frame,
                                      .stream = strndup(range->stream.ptr, range->stream.len),
                                      .path = strndup(range->path.ptr, range->path.len),
                                      .id = range->id,
                                      .begin = range->begin,
                                      .generation = range->generation,
                                      .records = range->records,
                                      .mark = range->mark};
    return noted->stream == NULL || noted->path == NULL ? -1 : 0;
}

static int compare_generations(const void *a, const void *b)
{
    const uint64_t left = ((const struct kafka_mark *)a)->generation;
    const uint64_t right = ((const struct kafka_mark *)b)->generation;
    return left < right ? -1 : left > right;
}

/* What Kafka has, by generation: a text may go on under another identity. */
struct kafka_marks {
    struct kafka_mark *items;
    size_t n;
};

/* Where file systems tell no births, a new file may have an old one's generation: then their beginnings are others. */
static bool same_head(const struct content_hash *a, const struct content_hash *b)
{
    return a->len != b->len || a->hash == b->hash;
}

static bool has_range(const struct kafka_marks *marks, struct positions *positions,
                      const struct committed_range *range)
{
    const struct kafka_mark wanted = {.generation = range->generation};
    const struct kafka_mark *mark =
        marks->n == 0 ? NULL
                      : (const struct kafka_mark *)bsearch(&wanted, marks->items, marks->n,
                                                           sizeof(wanted), compare_generations);
    if (mark != NULL)
        return range->mark.offset <= mark->offset && same_head(&range->mark.head, &mark->head);
    return positions_kafka_is_later(positions, range->stream, &range->id, range->generation);
}

static int restore(struct positions *positions, const struct committed_range *range)
{
    const struct position known = {.stream = range->stream,
                                   .path = range->path,
                                   .id = range->id,
                                   .generation = range->generation,
                                   .mark = range->mark};
    return positions_restore(positions, &known, range->begin);
}

/* The frame's ranges are those from `i` to before `end`. */
static int decide_frame(struct committed *committed, struct positions *positions,
                        const struct kafka_marks *marks, size_t i, size_t end, uint64_t *records)
{
    bool has = true;
    int result = 0;
    for (size_t r = i; r < end; r++)
        has &= has_range(marks, positions, &committed->ranges[r]);
    if (has)
        committed->frames[committed->n_frames++] = committed->ranges[i].frame;
    for (size_t r = i; r < end; r++)
        if (has)
            *records += committed->ranges[r].records;
        else if (restore(positions, &committed->ranges[r]) == -1)
            result = -1;
    return result;
}

static void forget_ranges(struct committed *committed)
{
    for (size_t i = 0; i < committed->n_ranges; i++) {
        free(committed->ranges[i].stream);
        free(committed->ranges[i].path);
    }
    free(committed->ranges);
    committed->ranges = NULL;
    committed->n_ranges = committed->room = 0;
}

int committed_decide(struct committed *committed, struct positions *positions, const char *stream,
                     uint64_t *ret_records)
{
    struct kafka_marks marks = {.n = 0};
    int result = positions_kafka_marks(positions, stream, &marks.items, &marks.n);
    *ret_records = 0;
    committed->frames = (uint64_t *)malloc((committed->n_ranges + 1) * sizeof(uint64_t));
    if (committed->frames == NULL)
        result = -1;
    if (result == 0 && marks.n > 0)
        qsort(marks.items, marks.n, sizeof(*marks.items), compare_generations);
    for (size_t i = 0, end; result == 0 && i < committed->n_ranges; i = end) {
        for (end = i + 1; end < committed->n_ranges &&
                          committed->ranges[end].frame == committed->ranges[i].frame;)
            end++;
        result = decide_frame(committed, positions, &marks, i, end, ret_records);
    }
    free(marks.items);
    forget_ranges(committed);
    return result;
}

bool committed_has(const struct committed *committed, uint64_t frame)
{
    size_t low = 0, high = committed->n_frames;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (committed->frames[middle] < frame)
            low = middle + 1;
        else
            high = middle;
    }
    return low < committed->n_frames && committed->frames[low] == frame;
}

void committed_fini(struct committed *committed)
{
    forget_ranges(committed);
    free(committed->frames);
    *committed = (struct committed){.n_frames = 0};
}
