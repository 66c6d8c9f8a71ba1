/* Scanning JSON objects (RFC 8259), a member at a time.
 *
 * Nothing is built: a member's name and value are slices into the text; only strings with escapes are
 * decoded, into the arena. Between two calls `at` stands on the quote of the next member's name, on the closing }, or
 * at the end, so the state is that one pointer. Nested values are validated whole by a loop with a
 * bit a level, no recursion.
 *
 * A string's bytes from 0x80 on are taken as they are, UTF-8 or not: whoever writes them repairs them
 * (json_write_string(), json_write_raw()). No byte outside the text is read. */
#include "agent/json.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define STEP 16 /* bytes looked at together */

static_assert(JSON_MAX_DEPTH <= 64, "a level is a bit of a uint64_t");

/* Notes what is wrong at `at`. Returns NULL. */
__attribute__((cold, noinline)) static const char *wrong(struct json_object *object, const char *at,
                                                         const char *why)
{
    object->error = at == object->end ? "the text ends too early" : why;
    object->error_offset = (size_t)(at - object->start);
    return NULL;
}

static inline const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

/* The byte there; NUL, which no valid text has outside its strings either, at the end. */
static inline char peek(const char *at, const char *end)
{
    return at < end ? *at : '\0';
}

/* ---- strings ---- */

/* The first byte that ends a plain part of a string: a quote, a backslash, a control character; or
 * the end. */
static inline const char *plain_end(const char *at, const char *end)
{
#ifdef __SSE2__
    const __m128i quotes = _mm_set1_epi8('"');
    const __m128i backslashes = _mm_set1_epi8('\\');
    const __m128i last_control = _mm_set1_epi8(0x1F);
    for (; end - at >= STEP; at += STEP) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i controls = _mm_cmpeq_epi8(_mm_min_epu8(bytes, last_control), bytes);
        __m128i found =
            _mm_or_si128(_mm_cmpeq_epi8(bytes, quotes), _mm_cmpeq_epi8(bytes, backslashes));
        unsigned mask = (unsigned)_mm_movemask_epi8(_mm_or_si128(found, controls));
        if (mask != 0)
            return at + __builtin_ctz(mask);
    }
#endif
    while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at > 0x1F)
        at++;
    return at;
}

/* Value of a hexadecimal digit, or -1. */
static inline int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Past the escape whose backslash is at `at`; NULL: wrong. */
static const char *escape_end(struct json_object *object, const char *at)
{
    const char *end = object->end;
    switch (peek(at + 1, end)) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't': return at + 2;
    case 'u':
        for (int i = 2; i < 6; i++)
            if (hex_value(peek(at + i, end)) == -1)
                return wrong(object, at + i, "\\u has four hexadecimal digits");
        return at + 6;
    default: return wrong(object, at + 1, "there is no such escape");
    }
}

/* The closing quote of the string that begins at `at`, behind its opening quote; NULL: wrong.
 * Sets *escapes when there are any. */
static inline const char *string_end(struct json_object *object, const char *at, bool *escapes)
{
    for (;;) {
        at = plain_end(at, object->end);
        if (at < object->end && *at == '"')
            return at;
        if (at == object->end || *at != '\\')
            return wrong(object, at, "a control character stands in a string");
        *escapes = true;
        at = escape_end(object, at);
        if (at == NULL)
            return NULL;
    }
}

static uint32_t hex4(const char *at)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++)
        value = value << 4 | (uint32_t)hex_value(at[i]);
    return value;
}

static char *put_utf8(char *to, uint32_t code)
{
    if (code < 0x80) {
        *to++ = (char)code;
        return to;
    }
    if (code < 0x800) {
        *to++ = (char)(0xC0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *to++ = (char)(0xE0 | code >> 12);
        } else {
            *to++ = (char)(0xF0 | code >> 18);
            *to++ = (char)(0x80 | (code >> 12 & 0x3F));
        }
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
    }
    *to++ = (char)(0x80 | (code & 0x3F));
    return to;
}

/* Decodes the valid escape at `at` to *to; returns past it. Surrogates that are no pair become U+FFFD. */
static const char *escape_decode(const char *at, const char *end, char **to)
{
    static const char plain[128] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
                                    ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};
    if (at[1] != 'u') {
        *(*to)++ = plain[(unsigned char)at[1] & 0x7F];
        return at + 2;
    }
    uint32_t code = hex4(at + 2);
    at += 6;
    if (code >= 0xD800 && code <= 0xDFFF) {
        uint32_t low =
            code <= 0xDBFF && end - at >= 6 && at[0] == '\\' && at[1] == 'u' ? hex4(at + 2) : 0;
        if (low >= 0xDC00 && low <= 0xDFFF) {
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            at += 6;
        } else {
            code = 0xFFFD;
        }
    }
    *to = put_utf8(*to, code);
    return at;
}

/* Copies up to the next backslash or the end; returns how many bytes. What `at` and `to` have room
 * for is the same. */
static size_t copy_plain(char *to, const char *at, const char *end)
{
    const char *start = at;
#ifdef __SSE2__
    const __m128i backslashes = _mm_set1_epi8('\\');
    for (; end - at >= STEP; at += STEP, to += STEP) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        _mm_storeu_si128((__m128i *)(void *)to, bytes);
        unsigned mask = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, backslashes));
        if (mask != 0)
            return (size_t)(at - start) + (size_t)__builtin_ctz(mask);
    }
#endif
    while (at < end && *at != '\\')
        *to++ = *at++;
    return (size_t)(at - start);
}

/* The text of the valid string in [at, end), decoded into the arena; ptr NULL: the arena has no room. An
 * escape is never shorter than what it stands for, so the string's own length is room enough. */
static struct slice string_decode(struct arena *arena, const char *at, const char *end)
{
    char *to = arena_reserve(arena, (size_t)(end - at));
    if (to == NULL)
        return (struct slice){NULL, 0};
    while (at < end) {
        size_t n = copy_plain(to, at, end);
        at += n;
        to += n;
        if (at < end)
            at = escape_decode(at, end, &to);
    }
    return arena_commit(arena, to);
}

/* The string whose opening quote is at `at`; returns past its closing one; NULL: wrong. */
static inline const char *string_scan(struct json_object *object, const char *at,
                                      struct slice *ret_text)
{
    bool escapes = false;
    const char *close = string_end(object, at + 1, &escapes);
    if (close == NULL)
        return NULL;
    struct slice text = slice_of(at + 1, (size_t)(close - at - 1));
    if (escapes) {
        text = string_decode(object->arena, at + 1, close);
        if (text.ptr == NULL)
            return wrong(object, at, "no memory left for the text");
    }
    *ret_text = text;
    return close + 1;
}

/* ---- other values ---- */

static inline const char *skip_digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

/* Past the number; NULL: there is none. */
static const char *number_end(const char *at, const char *end)
{
    if (peek(at, end) == '-')
        at++;
    const char *digits = at;
    at = peek(at, end) == '0' ? at + 1 : skip_digits(at, end);
    if (at == digits)
        return NULL;
    if (peek(at, end) == '.') {
        digits = ++at;
        at = skip_digits(at, end);
        if (at == digits)
            return NULL;
    }
    if (peek(at, end) == 'e' || peek(at, end) == 'E') {
        at++;
        if (peek(at, end) == '+' || peek(at, end) == '-')
            at++;
        digits = at;
        at = skip_digits(at, end);
        if (at == digits)
            return NULL;
    }
    return at;
}

bool json_is_number(struct slice text)
{
    return text.len != 0 && number_end(text.ptr, text.ptr + text.len) == text.ptr + text.len;
}

/* Past a number, true, false or null; NULL: wrong. */
static const char *word_end(struct json_object *object, const char *at, enum field_type *ret_type)
{
    static const struct {
        const char *text;
        size_t len;
        enum field_type type;
    } words[] = {{"true", 4, FIELD_BOOL}, {"false", 5, FIELD_BOOL}, {"null", 4, FIELD_NULL}};
    const char *past = number_end(at, object->end);
    *ret_type = FIELD_NUMBER;
    for (size_t i = 0; past == NULL && i < sizeof(words) / sizeof(words[0]); i++)
        if ((size_t)(object->end - at) >= words[i].len &&
            memcmp(at, words[i].text, words[i].len) == 0) {
            past = at + words[i].len;
            *ret_type = words[i].type;
        }
    return past != NULL ? past : wrong(object, at, "there is no valid value");
}

/* From where a name must stand to its value; NULL: wrong. */
static const char *name_end(struct json_object *object, const char *at)
{
    bool escapes;
    if (peek(at, object->end) != '"')
        return wrong(object, at, "a name in quotes is missing");
    at = string_end(object, at + 1, &escapes);
    if (at == NULL)
        return NULL;
    at = skip_blanks(at + 1, object->end);
    if (peek(at, object->end) != ':')
        return wrong(object, at, "a colon is missing");
    return skip_blanks(at + 1, object->end);
}

static const char *scalar_end(struct json_object *object, const char *at)
{
    bool escapes;
    enum field_type type;
    if (peek(at, object->end) != '"')
        return word_end(object, at, &type);
    at = string_end(object, at + 1, &escapes);
    return at == NULL ? NULL : at + 1;
}

/* Past the object or array that begins at `at`; NULL: wrong. */
static const char *container_end(struct json_object *object, const char *at)
{
    const char *end = object->end;
    uint64_t objects = 0; /* a bit a level, the innermost the lowest: an object, not an array */
    unsigned depth = 1;   /* the scanned object's own */
    for (;;) {
        /* Here a value begins. */
        char c = peek(at, end);
        if (c == '{' || c == '[') {
            if (depth == JSON_MAX_DEPTH)
                return wrong(object, at, "values are nested too deep");
            depth++;
            objects = objects << 1 | (c == '{');
            at = skip_blanks(at + 1, end);
            if (peek(at, end) != (c == '{' ? '}' : ']')) {
                if (c == '{' && (at = name_end(object, at)) == NULL)
                    return NULL;
                continue;
            }
        } else {
            at = scalar_end(object, at);
            if (at == NULL)
                return NULL;
            at = skip_blanks(at, end);
        }
        while (peek(at, end) == ((objects & 1) != 0 ? '}' : ']')) {
            at++;
            objects >>= 1;
            if (--depth == 1)
                return at;
            at = skip_blanks(at, end);
        }
        if (peek(at, end) != ',')
            return wrong(object, at, "a comma or a closing bracket is missing");
        at = skip_blanks(at + 1, end);
        if ((objects & 1) != 0 && (at = name_end(object, at)) == NULL)
            return NULL;
    }
}

/* ---- objects ---- */

int json_object_open(struct json_object *object, struct slice text, struct arena *arena)
{
    const char *start = text.len == 0 ? "" : text.ptr;
    const char *end = start + text.len;
    const char *at = skip_blanks(start, end);
    *object = (struct json_object){.at = at, .end = end, .start = start, .arena = arena};
    if (peek(at, end) != '{') {
        wrong(object, at, "no JSON object begins here");
        return -1;
    }
    at = skip_blanks(at + 1, end);
    if (peek(at, end) != '"' && peek(at, end) != '}') {
        wrong(object, at, "a name in quotes is missing");
        return -1;
    }
    object->at = at;
    return 0;
}

/* The closing bracket is at `at`. */
static int object_end(struct json_object *object)
{
    const char *at = skip_blanks(object->at + 1, object->end);
    if (at < object->end) {
        wrong(object, at, "something stands behind the object");
        return -1;
    }
    object->at = at;
    return 0;
}

static inline const char *value_scan(struct json_object *object, const char *at,
                                     struct field *member)
{
    char c = peek(at, object->end);
    if (c == '"') {
        member->type = FIELD_STRING;
        return string_scan(object, at, &member->value);
    }
    const char *past;
    if (c == '{' || c == '[') {
        member->type = FIELD_JSON;
        past = container_end(object, at);
    } else {
        past = word_end(object, at, &member->type);
    }
    member->value = slice_of(at, (size_t)((past == NULL ? at : past) - at));
    return past;
}

int json_object_next(struct json_object *object, struct field *ret_member)
{
    const char *end = object->end;
    const char *at = object->at;
    if (object->error != NULL)
        return -1;
    if (at == end)
        return 0;
    if (*at == '}')
        return object_end(object);
    struct field member;
    at = string_scan(object, at, &member.key);
    if (at == NULL)
        return -1;
    at = skip_blanks(at, end);
    if (peek(at, end) != ':') {
        wrong(object, at, "a colon is missing");
        return -1;
    }
    at = value_scan(object, skip_blanks(at + 1, end), &member);
    if (at == NULL)
        return -1;
    at = skip_blanks(at, end);
    if (peek(at, end) == ',') {
        at = skip_blanks(at + 1, end);
        if (peek(at, end) != '"')
            wrong(object, at, "a name in quotes is missing");
    } else if (peek(at, end) != '}') {
        wrong(object, at, "a comma or a closing bracket is missing");
    }
    if (object->error != NULL)
        return -1;
    object->at = at;
    *ret_member = member;
    return 1;
}
