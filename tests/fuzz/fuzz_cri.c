/* Any bytes as a line of a CRI log, as a time and as a path (the input is a heap block of its own, so what is read
 * outside of it shows):
 *   - an accepted line consists of what was found in it: time, stream and tags before the content, which is its end
 *   - a refused one leaves the result as it was and has a reason
 *   - names lie within the path and are plain text */
#include "agent/container.h"
#include "agent/container_path.h"
#include "agent/rfc3339.h"

#include "tests/fuzz/sample.h"

#define UNTOUCHED INT64_C(-5)

static bool lies_within(struct slice part, struct slice whole)
{
    return part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len;
}

static void check_line(struct slice line)
{
    struct container_line got = {.time = UNTOUCHED};
    const char *why = container_parse_cri(line, &got);
    if (why != NULL) {
        assert(why[0] != '\0' && got.time == UNTOUCHED && got.content.ptr == NULL);
        return;
    }
    assert(container_format_of(line) == CONTAINER_CRI);
    assert(lies_within(got.content, line));
    assert(got.content.ptr + got.content.len == line.ptr + line.len);
    assert(got.attrs.ptr == NULL);
    const char *space = (const char *)memchr(line.ptr, ' ', line.len);
    int64_t time;
    assert(space != NULL);
    assert(rfc3339_parse(slice_of(line.ptr, (size_t)(space - line.ptr)), &time) == NULL);
    assert(time == got.time);
    struct slice stream = slice_of(space + 1, 6);
    assert(slice_equal(stream, container_stream_name(got.stream)));
    assert(space[8] == (got.partial ? 'P' : 'F'));
}

static void check_time(struct slice text)
{
    int64_t time = UNTOUCHED;
    const char *why = rfc3339_parse(text, &time);
    assert(why == NULL || time == UNTOUCHED);
    assert(why != NULL || (time >= INT64_C(-9223372036) * 1000000000 && text.len >= 20));
}

static void check_name(struct slice name, struct slice path, size_t most)
{
    if (name.ptr == NULL)
        return;
    assert(lies_within(name, path) && name.len > 0 && name.len <= most);
    assert(name.ptr[0] != '.' && name.ptr[0] != '-');
    for (size_t i = 0; i < name.len; i++)
        assert(name.ptr[i] >= '-' && name.ptr[i] <= 'z' && name.ptr[i] != '/');
}

static void check_path(struct slice path)
{
    struct container_names names = {0};
    bool fits = container_path_names(path, &names);
    assert(fits == (names.id.ptr != NULL || names.uid.ptr != NULL));
    assert((names.pod.ptr == NULL) == (names.namespace.ptr == NULL));
    check_name(names.namespace, path, 63);
    check_name(names.pod, path, 253);
    check_name(names.uid, path, 63);
    check_name(names.container, path, 63);
    check_name(names.id, path, 64);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = (char *)malloc(size == 0 ? 1 : size);
    if (copy == NULL)
        return 0;
    if (size != 0)
        memcpy(copy, data, size);
    struct slice text = slice_of(copy, size);
    check_line(text);
    check_time(text);
    check_path(text);
    free(copy);
    return 0;
}
