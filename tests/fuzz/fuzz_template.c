/* Any bytes as a template: it compiles and renders, or it is refused with words. */
#include "agent/template.h"
#include "tests/fuzz/sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error error = {.text = ""};
    char *text = sample_text(data, size);
    struct template *template = template_new(text, &error);
    assert((template == NULL) == (error.text[0] != '\0'));
    if (template != NULL) {
        struct sample sample;
        struct slice rendered, again;
        sample_init(&sample);
        int missing = template_render(template, sample.batch, sample.record, &rendered);
        assert(template_render(template, sample.batch, sample.record, &again) == missing);
        assert(missing == -1 || slice_equal(rendered, again));
        sample_fini(&sample);
    }
    template_free(&template);
    free(text);
    return 0;
}
