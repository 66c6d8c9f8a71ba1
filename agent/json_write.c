/* Writing JSON: strings escaped (RFC 8259, section 7), everything made valid UTF-8.
 *
 * Plain ASCII is copied 16 bytes at a time, 8 and 4 at the end. Such a copy may write bytes that are not
 * yet decided on, but never more than are left in the text, and so never beyond the room that
 * callers have to give. */
#include "agent/json.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define REPLACEMENT     "\xEF\xBF\xBD" /* U+FFFD */
#define REPLACEMENT_LEN 3

/* ---- UTF-8 (RFC 3629) ---- */

/* What the second byte may be after a first byte (Unicode 15, table 3-7), and the sequence's length. */
struct lead {
    unsigned char len; /* 0: starts no sequence */
    unsigned char low, high;
};

static inline struct lead lead_of(unsigned char first)
{
    if (first < 0xC2 || first > 0xF4)
        return (struct lead){0, 0, 0};
    if (first < 0xE0)
        return (struct lead){2, 0x80, 0xBF};
    if (first < 0xF0)
        return (struct lead){3, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF};
    return (struct lead){4, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF};
}

/* The well-formed sequence at `at`, which is no ASCII: its length, 2 to 4; else minus the length of
 * the maximal ill-formed part there, -1 to -3. */
static inline int sequence(const char *at, const char *end)
{
    const unsigned char *bytes = (const unsigned char *)at;
    struct lead lead = lead_of(bytes[0]);
    int len = 1;
    while (len < lead.len) {
        if (at + len == end || bytes[len] < lead.low || bytes[len] > lead.high)
            return -len;
        lead.low = 0x80;
        lead.high = 0xBF;
        len++;
    }
    return lead.len == 0 ? -1 : len;
}

/* Copies bytes that are not ASCII up to the next that is, repaired. Returns how far it came. */
static const char *copy_sequences(char **to, const char *at, const char *end, uint64_t *replaced)
{
    char *out = *to;
    while (at < end && (unsigned char)*at >= 0x80) {
        int len = sequence(at, end);
        if (len > 0) {
            for (int i = 0; i < len; i++)
                *out++ = *at++;
        } else {
            memcpy(out, REPLACEMENT, REPLACEMENT_LEN);
            out += REPLACEMENT_LEN;
            at -= len;
            ++*replaced;
        }
    }
    *to = out;
    return at;
}

/* ---- strings ---- */

static inline bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

#ifdef __SSE2__
/* A bit for each byte that is not plain: less than 0x20 as a signed number (so all but ASCII, too), a
 * quote, a backslash. */
static inline unsigned special_mask(__m128i bytes)
{
    __m128i outside = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
    __m128i quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i backslashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(outside, _mm_or_si128(quotes, backslashes)));
}
#endif

/* Copies plain bytes; returns how many. */
static inline size_t copy_plain(char *to, const char *at, const char *end)
{
    const char *start = at;
#ifdef __SSE2__
    for (; end - at >= 16; at += 16, to += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        _mm_storeu_si128((__m128i *)(void *)to, bytes);
        unsigned mask = special_mask(bytes);
        if (mask != 0)
            return (size_t)(at - start) + (size_t)__builtin_ctz(mask);
    }
    if (end - at >= 8) {
        __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)at);
        _mm_storel_epi64((__m128i *)(void *)to, bytes);
        unsigned mask = special_mask(bytes) & 0xFF;
        if (mask != 0)
            return (size_t)(at - start) + (size_t)__builtin_ctz(mask);
        at += 8;
        to += 8;
    }
    if (end - at >= 4) {
        int four;
        memcpy(&four, at, sizeof(four));
        memcpy(to, &four, sizeof(four));
        unsigned mask = special_mask(_mm_cvtsi32_si128(four)) & 0xF;
        if (mask != 0)
            return (size_t)(at - start) + (size_t)__builtin_ctz(mask);
        at += 4;
        to += 4;
    }
#endif
    while (at < end && is_plain((unsigned char)*at))
        *to++ = *at++;
    return (size_t)(at - start);
}

static char *write_escape(char *to, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[128] = {['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
                                      ['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't'};
    *to++ = '\\';
    if (letters[c & 0x7F] != '\0') {
        *to++ = letters[c & 0x7F];
        return to;
    }
    memcpy(to, "u00", 3);
    to[3] = hex[c >> 4];
    to[4] = hex[c & 0xF];
    return to + 5;
}

char *json_write_string(char *to, struct slice text, uint64_t *replaced)
{
    const char *at = text.len == 0 ? "" : text.ptr;
    const char *end = at + text.len;
    *to++ = '"';
    while (at < end) {
        size_t n = copy_plain(to, at, end);
        at += n;
        to += n;
        if (at == end)
            break;
        if ((unsigned char)*at >= 0x80)
            at = copy_sequences(&to, at, end, replaced);
        else
            to = write_escape(to, (unsigned char)*at++);
    }
    *to++ = '"';
    return to;
}

size_t json_string_most(struct slice text)
{
    const char *at = text.len == 0 ? "" : text.ptr;
    const char *end = at + text.len;
    size_t most = text.len + 2;
    while (at < end) {
#ifdef __SSE2__
        if (end - at >= 16 && special_mask(_mm_loadu_si128((const __m128i *)(const void *)at)) == 0) {
            at += 16;
            continue;
        }
#endif
        const char *stop = end - at < 16 ? end : at + 16;
        for (; at < stop; at++) {
            unsigned char c = (unsigned char)*at;
            if (c < 0x20)
                most += 5; /* \u00XX */
            else if (c >= 0x80)
                most += REPLACEMENT_LEN - 1;
            else
                most += c == '"' || c == '\\';
        }
    }
    return most;
}

/* ---- raw values ---- */

/* Copies ASCII; returns how many bytes. */
static inline size_t copy_ascii(char *to, const char *at, const char *end)
{
    const char *start = at;
#ifdef __SSE2__
    for (; end - at >= 16; at += 16, to += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        _mm_storeu_si128((__m128i *)(void *)to, bytes);
        unsigned mask = (unsigned)_mm_movemask_epi8(bytes);
        if (mask != 0)
            return (size_t)(at - start) + (size_t)__builtin_ctz(mask);
    }
#endif
    while (at < end && (unsigned char)*at < 0x80)
        *to++ = *at++;
    return (size_t)(at - start);
}

char *json_write_raw(char *to, struct slice json, uint64_t *replaced)
{
    const char *at = json.len == 0 ? "" : json.ptr;
    const char *end = at + json.len;
    while (at < end) {
        size_t n = copy_ascii(to, at, end);
        to += n;
        at = copy_sequences(&to, at + n, end, replaced);
    }
    return to;
}
