/* Any lines, through every preset: each line is in one record, and the limits hold. The first byte chooses. */
#include "agent/multiline.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed(struct multiline *multiline, const struct multiline_config *config,
                 struct slice line, struct multiline_state *state)
{
    bool open = state->open;
    enum multiline_verdict verdict = multiline_line(multiline, state, line);
    assert(open || verdict == MULTILINE_NEW || verdict == MULTILINE_ALONE);
    assert(state->open == (verdict == MULTILINE_NEW || verdict == MULTILINE_JOIN));
    assert(!state->open || state->lines == 1 || state->bytes <= config->max_bytes);
    assert(!state->open || state->lines <= config->max_lines);
    assert(state->open || !multiline_may_go_on(multiline, state));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const char *names[] = {"java", "python", "go", "ruby", "php", "dotnet", "node", "indent"};
    size_t first = data[0] % 8;
    struct multiline_config config = {
        .presets = {data[0] >= 128 ? 8 - first : 1, names + first},
        .max_lines = 20,
        .max_bytes = 1000,
    };
    struct error error = {.text = ""};
    struct multiline_state state = {0};
    struct multiline *multiline = multiline_new(&config, &error);
    assert(multiline != NULL);
    const char *at = (const char *)data + 1, *end = (const char *)data + size;
    while (at < end) {
        const char *feed_at = (const char *)memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((feed_at == NULL ? end : feed_at) - at);
        /* In a block of its own, so that the address sanitizer sees a read past the line. */
        char *line = (char *)malloc(len == 0 ? 1 : len);
        assert(line != NULL);
        memcpy(line, at, len);
        feed(multiline, &config, slice_of(line, len), &state);
        free(line);
        at += len + 1;
    }
    multiline_free(&multiline);
    return 0;
}
