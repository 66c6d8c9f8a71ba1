#include "agent/headers.h"

static char *put_text(char *to, struct slice text)
{
    to = varint_put(to, text.len);
    if (text.len > 0)
        memcpy(to, text.ptr, text.len);
    return to + text.len;
}

char *headers_put(char *to, struct slice name, struct slice value)
{
    return put_text(put_text(to, name), value);
}

static bool take_varint(struct slice *rest, uint64_t *ret_number)
{
    uint64_t number = 0;
    for (unsigned shift = 0; rest->len > 0 && shift < 64; shift += 7) {
        unsigned char byte = (unsigned char)*rest->ptr++;
        rest->len--;
        number |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *ret_number = number;
            return true;
        }
    }
    return false;
}

static bool take_text(struct slice *rest, struct slice *ret_text)
{
    uint64_t len;
    if (!take_varint(rest, &len) || len > rest->len)
        return false;
    *ret_text = slice_of(rest->ptr, len);
    *rest = slice_of(rest->ptr + len, rest->len - len);
    return true;
}

int headers_next(struct slice *rest, struct slice *ret_name, struct slice *ret_value)
{
    if (rest->len == 0)
        return 0;
    return take_text(rest, ret_name) && take_text(rest, ret_value) ? 1 : -1;
}
