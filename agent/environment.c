/* One pass from `$` to `$`, into a text that grows. */
#include "agent/environment.h"

#include "agent/quote.h"

#include <stdlib.h>

/* A text that grows, up to `most` bytes. */
struct text {
    char *bytes;
    size_t len;
    size_t room;
    size_t most;
};

static int text_add(struct text *text, const char *bytes, size_t len, struct error *error)
{
    if (len > text->most - text->len)
        return error_set(error, "the text is longer than %zu bytes with its variables replaced",
                         text->most);
    if (text->len + len + 1 > text->room) {
        size_t room = (text->len + len + 1) * 2;
        char *grown = (char *)realloc(text->bytes, room);
        if (grown == NULL)
            return error_set(error, "out of memory");
        text->bytes = grown;
        text->room = room;
    }
    if (len != 0)
        memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
    text->bytes[text->len] = '\0';
    return 0;
}

static bool name_char(char c, bool first)
{
    return c == '_' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (!first && c >= '0' && c <= '9');
}

/* What stands between the braces: NAME or NAME:-default. */
static int add_variable(struct text *text, struct slice inside, struct error *error)
{
    char name[128];
    size_t len = 0;
    while (len < inside.len && name_char(inside.ptr[len], len == 0))
        len++;
    bool fallback = inside.len >= len + 2 && memcmp(inside.ptr + len, ":-", 2) == 0;
    if (len == 0 || len >= sizeof(name) || (!fallback && len != inside.len))
        return error_set(error,
                         "no variable between ${ and }: %s; ${NAME} and ${NAME:-default} are "
                         "known, with NAME of letters, digits and _; a plain ${ is written $${",
                         quote(inside).text);
    memcpy(name, inside.ptr, len);
    name[len] = '\0';
    const char *value = getenv(name);
    if (fallback && (value == NULL || value[0] == '\0'))
        return text_add(text, inside.ptr + len + 2, inside.len - len - 2, error);
    if (value == NULL)
        return error_set(error,
                         "the environment has no %s; set it, or write ${%s:-default}, or $${ for a "
                         "plain ${",
                         name, name);
    return text_add(text, value, strlen(value), error);
}

/* From `at`, which is at a `$`: adds what it stands for and returns where it ends; NULL and *error. */
static const char *add_dollar(struct text *text, const char *at, const char *end, bool *ret_used,
                              struct error *error)
{
    if (end - at >= 3 && memcmp(at, "$${", 3) == 0)
        return text_add(text, "${", 2, error) == -1 ? NULL : at + 3;
    if (end - at < 2 || at[1] != '{')
        return text_add(text, at, 1, error) == -1 ? NULL : at + 1;
    const char *inside = at + 2;
    const char *close = (const char *)memchr(inside, '}', (size_t)(end - inside));
    if (close == NULL) {
        error_set(error, "${ without its }; a plain ${ is written $${");
        return NULL;
    }
    *ret_used = true;
    if (add_variable(text, slice_of(inside, (size_t)(close - inside)), error) == -1)
        return NULL;
    return close + 1;
}

bool environment_in(struct slice text)
{
    return text.len != 0 && memmem(text.ptr, text.len, "${", 2) != NULL;
}

char *environment_expand(struct slice text, size_t most, size_t *ret_len, bool *ret_used,
                         struct error *error)
{
    struct text out = {.most = most};
    const char *at = text.ptr;
    const char *end = text.ptr + text.len;
    bool used = false;
    if (text_add(&out, "", 0, error) == -1)
        return NULL;
    while (at != NULL && at < end) {
        const char *dollar = (const char *)memchr(at, '$', (size_t)(end - at));
        const char *plain_end = dollar == NULL ? end : dollar;
        if (text_add(&out, at, (size_t)(plain_end - at), error) == -1)
            at = NULL;
        else
            at = dollar == NULL ? end : add_dollar(&out, dollar, end, &used, error);
    }
    if (at == NULL) {
        free(out.bytes);
        return NULL;
    }
    *ret_len = out.len;
    *ret_used = used;
    return out.bytes;
}
