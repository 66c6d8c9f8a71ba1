/* Any bytes as a condition: it compiles and evaluates, or it is refused with words. */
#include "agent/expr.h"
#include "tests/fuzz/sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error error = {.text = ""};
    char *text = sample_text(data, size);
    struct condition *condition = condition_new(text, &error);
    assert((condition == NULL) == (error.text[0] != '\0'));
    if (condition != NULL) {
        struct sample sample;
        sample_init(&sample);
        bool first = condition_matches(condition, sample.batch, sample.record);
        assert(condition_matches(condition, sample.batch, sample.record) == first);
        sample_fini(&sample);
    }
    condition_free(&condition);
    free(text);
    return 0;
}
