/* Any bytes as a line of Docker's json-file log, and their lines as parts that are joined (the input is a heap block
 * of its own, so what is read outside of it shows):
 *   - an accepted line's content lies in the line or in the arena, attrs in the line, as an object
 *   - a refused one leaves the result as it was and has a reason
 *   - either parser says the same as the one that is chosen by the first byte
 *   - joined parts and what was left out are as long as the parts together, and the text begins as they do */
#include "agent/container.h"

#include "agent/arena.h"
#include "tests/fuzz/sample.h"

#define UNTOUCHED INT64_C(-5)
#define LIMIT     ((size_t)64 << 20)

static bool lies_within(struct slice part, struct slice whole)
{
    return part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len;
}

/* Is it in one of the arena's chunks? Only told of arenas with one chunk; others are left to the sanitizer. */
static bool lies_in_arena(struct slice part, const struct arena *arena)
{
    const char *chunk = (const char *)(const void *)arena->chunks;
    if (arena->size > ARENA_CHUNK)
        return true;
    return chunk != NULL && lies_within(part, slice_of(chunk, (size_t)(arena->next - chunk)));
}

static void check_line(struct slice line, struct arena *arena)
{
    struct container_line got = {.time = UNTOUCHED};
    const char *why = container_parse_docker(line, arena, &got);
    struct container_line same = {.time = UNTOUCHED};
    if (container_format_of(line) == CONTAINER_DOCKER)
        assert((container_parse(line, arena, &same) == NULL) == (why == NULL));
    assert(!arena->overflowed);
    if (why != NULL) {
        assert(why[0] != '\0' && got.time == UNTOUCHED && got.content.ptr == NULL);
        return;
    }
    assert(got.content.ptr != NULL && got.content.len < line.len);
    assert(lies_within(got.content, line) || lies_in_arena(got.content, arena));
    assert(got.partial || !lies_within(got.content, line)); /* \n is an escape */
    volatile char last = got.content.len == 0 ? '\0' : got.content.ptr[got.content.len - 1];
    assert(!got.partial || last != '\n');
    if (got.attrs.ptr != NULL) {
        struct json_object object;
        assert(lies_within(got.attrs, line));
        assert(json_object_open(&object, got.attrs, arena) == 0);
    }
    if (container_format_of(line) == CONTAINER_DOCKER)
        assert(same.time == got.time && same.partial == got.partial &&
               slice_equal(same.content, got.content));
}

/* The text's lines are the parts; the last one is the whole's end. */
static void check_join(struct slice text, struct arena *arena)
{
    struct container_join join = {.limit = 1 + text.len / 2};
    size_t sum = 0;
    for (size_t at = 0; at <= text.len;) {
        const char *part = text.ptr + at;
        const char *end = at == text.len ? NULL : (const char *)memchr(part, '\n', text.len - at);
        size_t len = end == NULL ? text.len - at : (size_t)(end - part);
        struct container_line line = {.partial = end != NULL, .content = slice_of(part, len)};
        size_t before = join.text.len;
        int result = container_join_add(&join, &line, arena);
        assert(result == (end == NULL));
        assert(join.text.len >= before && join.text.len <= join.limit);
        sum += len;
        assert(join.text.len + join.cut == sum);
        assert(join.cut == 0 || join.text.len == join.limit);
        assert(join.text.len == before ||
               memcmp(join.text.ptr + before, part, join.text.len - before) == 0);
        at += len + 1;
    }
    assert(!join.open);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    char *copy = (char *)malloc(size == 0 ? 1 : size);
    if (copy == NULL)
        return 0;
    if (size != 0)
        memcpy(copy, data, size);
    arena_init(&arena, NULL, LIMIT);
    check_line(slice_of(copy, size), &arena);
    arena_reset(&arena);
    check_join(slice_of(copy, size), &arena);
    arena_reset(&arena);
    free(copy);
    return 0;
}
