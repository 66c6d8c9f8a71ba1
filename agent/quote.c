#include "agent/quote.h"

/* How much of the text is shown: all, or QUOTE_MOST bytes at most, not ending within a UTF-8 sequence. */
static size_t shown(struct slice text)
{
    if (text.len <= QUOTE_MOST)
        return text.len;
    size_t len = QUOTE_MOST;
    while (len > QUOTE_MOST - 4 && ((unsigned char)text.ptr[len] & 0xC0) == 0x80)
        len--;
    return len;
}

struct quoted quote(struct slice text)
{
    static const char hex[] = "0123456789abcdef";
    struct quoted out;
    char *to = out.text;
    size_t len = shown(text);
    *to++ = '"';
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '"' || c == '\\') {
            *to++ = '\\';
            *to++ = (char)c;
        } else if (c < 0x20 || c == 0x7F) {
            *to++ = '\\';
            *to++ = 'x';
            *to++ = hex[c >> 4];
            *to++ = hex[c & 15];
        } else {
            *to++ = (char)c;
        }
    }
    *to++ = '"';
    if (len < text.len) {
        memcpy(to, "...", 3);
        to += 3;
    }
    *to = '\0';
    return out;
}

struct quoted quote_str(const char *text)
{
    return quote(slice_str(text));
}
