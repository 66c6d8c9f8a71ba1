/* Any bytes as a JSON object and as a text to be written:
 *   - the scanner reads nothing outside (the input is a heap block of its own) and either ends or says
 *     why not, with a place inside
 *   - an accepted object, written again member by member, is accepted and has the same members
 *   - what is written is UTF-8, fits into the room that was promised, and is read back as the same */
#include "agent/json.h"

#include "agent/arena.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LIMIT ((size_t)64 << 20)

/* By RFC 3629, section 4, written down a second time and without haste. */
static bool is_utf8(struct slice text)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *bytes = (const unsigned char *)text.ptr;
    for (size_t at = 0; at < text.len;) {
        unsigned char first = bytes[at];
        size_t len = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : 4;
        if (len == 4 && first >> 3 != 30)
            return false;
        if (len > text.len - at)
            return false;
        uint32_t code = len == 1 ? first : first & (0x7Fu >> len);
        for (size_t i = 1; i < len; i++) {
            if (bytes[at + i] >> 6 != 2)
                return false;
            code = code << 6 | (bytes[at + i] & 0x3F);
        }
        if (code < least[len] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
            return false;
        at += len;
    }
    return true;
}

/* The text made valid; what both writers make of it. In the arena. */
static struct slice repaired(struct slice text, struct arena *arena)
{
    uint64_t replaced = 0;
    char *to = arena_reserve(arena, JSON_RAW_ROOM(text.len));
    assert(to != NULL);
    struct slice made = arena_commit(arena, json_write_raw(to, text, &replaced));
    assert(is_utf8(made));
    assert((replaced == 0) == is_utf8(text));
    assert(replaced != 0 || slice_equal(made, text));
    return made;
}

/* Into a block of exactly the promised room; freed by the caller. */
static struct slice written(struct slice text)
{
    uint64_t replaced = 0;
    size_t most = json_string_most(text);
    assert(most <= JSON_STRING_ROOM(text.len));
    char *to = (char *)malloc(most);
    assert(to != NULL);
    struct slice made = {to, (size_t)(json_write_string(to, text, &replaced) - to)};
    assert(made.len <= most && is_utf8(made));
    assert((replaced == 0) == is_utf8(text));
    return made;
}

static char *put(char *to, struct slice text)
{
    if (text.len != 0)
        memcpy(to, text.ptr, text.len);
    return to + text.len;
}

/* {"key":value} as the encoder writes it; freed by the caller. */
static struct slice one_member(const struct field *member, struct arena *arena)
{
    struct slice key = written(member->key);
    struct slice value =
        member->type == FIELD_STRING ? written(member->value) : repaired(member->value, arena);
    char *object = (char *)malloc(key.len + value.len + 3);
    assert(object != NULL);
    char *to = object;
    *to++ = '{';
    to = put(to, key);
    *to++ = ':';
    to = put(to, value);
    *to++ = '}';
    free((void *)key.ptr);
    if (member->type == FIELD_STRING)
        free((void *)value.ptr);
    return slice_of(object, (size_t)(to - object));
}

static void check_member(const struct field *member, struct arena *arena)
{
    struct json_object object;
    struct field again;
    struct slice text = one_member(member, arena);
    assert(json_object_open(&object, text, arena) == 0);
    assert(json_object_next(&object, &again) == 1);
    assert(again.type == member->type);
    assert(slice_equal(again.key, repaired(member->key, arena)));
    assert(slice_equal(again.value, repaired(member->value, arena)));
    assert(member->type != FIELD_NUMBER || json_is_number(member->value));
    assert(json_object_next(&object, &again) == 0);
    free((void *)text.ptr);
}

static void scan(struct slice text, struct arena *arena)
{
    struct json_object object;
    struct field member;
    int result = json_object_open(&object, text, arena);
    while (result != -1 && (result = json_object_next(&object, &member)) == 1)
        check_member(&member, arena);
    assert(!arena->overflowed);
    assert((result == -1) == (object.error != NULL));
    assert(object.error_offset <= text.len);
    assert(json_object_next(&object, &member) == result); /* and stays so */
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
    struct slice text = slice_of(copy, size);
    scan(text, &arena);
    check_member(&(struct field){.key = text, .value = text, .type = FIELD_STRING}, &arena);
    arena_reset(&arena);
    free(copy);
    return 0;
}
