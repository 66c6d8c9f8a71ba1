/* Any bytes as a file that is read in one piece, and once more as it grows: each stream's records are the same. The first bytes
 * choose the configuration and where the file is cut. */
#include "agent/frame.h"

#include "tests/fuzz/sample.h"

#define HEAD 3
#define MOST ((size_t)BATCH_RECORDS - 1) /* bytes: so all lines have room in one batch */

static const char *const presets[] = {"java", "python", "go", "ruby", "node"};

static struct config_tail choose(unsigned which)
{
    struct config_tail config = {.max_line = 1 << 20, .encoding = "utf-8", .delimiter = "\n"};
    config.multiline = (struct config_multiline){.max_lines = 4, .max_bytes = 4096, .timeout = 2000};
    switch (which % 6) {
    case 0: config.multiline.start = "^[0-9]"; break;
    case 1: config.multiline.continued = "^ "; break;
    case 2:
        config.multiline.end = ";$";
        config.encoding = "utf-16le";
        break;
    case 3:
        config.container = TAIL_AUTO;
        config.multiline.preset = (struct option_list){5, (const char **)(uintptr_t)presets};
        break;
    case 4:
        config.container = TAIL_AUTO;
        config.multiline.start = "^[0-9]";
        break;
    case 5:
        config.delimiter = "--\n";
        config.header_lines = 2;
        break;
    }
    return config;
}

/* What is known of the records of one stream: how many there are, and a hash of all in their order. */
struct sums {
    uint64_t n, hash;
};

struct reading {
    struct frame *frame;
    struct frame_state state;
    struct batch_pool pool;
    struct sums sums[3]; /* of neither stream, stdout, stderr */
    uint64_t joined;
};

static void add(struct sums *sums, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sums->hash = (sums->hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3);
}

static void add_record(struct reading *reading, const struct record *record)
{
    const struct field *stream = record_find(record, SLICE("stream"));
    int which = stream == NULL ? 0 : slice_equal(stream->value, SLICE("stdout")) ? 1 : 2;
    struct sums *sums = &reading->sums[which];
    sums->n++;
    add(sums, &record->begin, sizeof(record->begin));
    add(sums, &record->end, sizeof(record->end));
    add(sums, &record->time, sizeof(record->time));
    add(sums, &record->flags, sizeof(record->flags));
    add(sums, &record->line.len, sizeof(record->line.len));
    add(sums, record->line.ptr, record->line.len);
}

static size_t feed(struct reading *reading, const char *bytes, size_t len, uint64_t offset,
                   bool last)
{
    struct batch_private *batch = batch_take(&reading->pool, SLICE("h"));
    char *copy = sample_text((const uint8_t *)bytes, len);
    struct frame_read read = {
        .state = &reading->state, .arena = &batch->b.arena, .flush = last, .fields = true};
    struct lines lines = {.bytes = {copy, len},
                          .offset = offset,
                          .max_line = frame_max_line(reading->frame),
                          .incomplete = last};
    int result = frame_split(reading->frame, &read, batch, &lines);
    assert(result == 0 && lines.consumed <= len && !lines.cut && !lines.full);
    uint64_t end = offset + lines.consumed;
    for (uint32_t i = 0; i < batch->b.n_records; i++) {
        const struct record *record = &batch->b.records[i];
        assert(record->begin >= offset && record->begin < record->end && record->end <= end);
        add_record(reading, record);
    }
    reading->joined += read.joined;
    free(copy);
    batch_give(&reading->pool, batch);
    return lines.consumed;
}

static void read_file(struct reading *reading, const struct config_tail *config, const char *file,
                      size_t len, size_t step)
{
    struct error error;
    const char *key;
    memset(reading, 0, sizeof(*reading));
    reading->frame = frame_new(config, &key, &error);
    assert(reading->frame != NULL);
    batch_pool_init(&reading->pool, 4, (size_t)64 << 20);
    frame_look(reading->frame, &reading->state, slice_of(file, len), 0);
    size_t offset = 0;
    for (size_t seen = step; seen < len; seen += step)
        offset += feed(reading, file + offset, seen - offset, offset, false);
    while (offset < len) {
        size_t n = feed(reading, file + offset, len - offset, offset, true);
        assert(n > 0);
        offset += n;
    }
    frame_free(&reading->frame);
    batch_pool_fini(&reading->pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct reading whole, parts;
    if (size < HEAD || size - HEAD > MOST)
        return 0;
    struct config_tail config = choose(data[0]);
    char *file = sample_text(data + HEAD, size - HEAD);
    size_t step = 1 + (size_t)data[1] + 256u * (data[2] % 4u);
    read_file(&whole, &config, file, size - HEAD, SIZE_MAX / 2);
    read_file(&parts, &config, file, size - HEAD, step);
    for (int i = 0; i < 3; i++)
        assert(whole.sums[i].n == parts.sums[i].n && whole.sums[i].hash == parts.sums[i].hash);
    assert(whole.joined == parts.joined);
    free(file);
    return 0;
}
