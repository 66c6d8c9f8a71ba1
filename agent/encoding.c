#include "agent/encoding.h"

#include "agent/quote.h"

#include <errno.h>
#include <iconv.h>
#include <stdlib.h>
#include <strings.h>

#define REPLACEMENT "\xef\xbf\xbd"
#define GROWTH      4u /* bytes of UTF-8 for one byte of any encoding, at most, one sequence at a time */

struct encoding {
    iconv_t decode;
    char name[32];
    unsigned unit; /* bytes of a code unit */
};

bool encoding_is_utf8(const char *name)
{
    return strcasecmp(name, "utf-8") == 0 || strcasecmp(name, "utf8") == 0 ||
           strcasecmp(name, "ascii") == 0 || strcasecmp(name, "us-ascii") == 0;
}

bool encoding_by_mark(const char *name)
{
    return strcasecmp(name, "utf-16") == 0 || strcasecmp(name, "utf-32") == 0;
}

const char *encoding_marked(const char *name, struct slice first)
{
    if (strcasecmp(name, "utf-16") == 0)
        return first.len >= 2 && memcmp(first.ptr, "\xfe\xff", 2) == 0 ? "utf-16be" : "utf-16le";
    return first.len >= 4 && memcmp(first.ptr, "\0\0\xfe\xff", 4) == 0 ? "utf-32be" : "utf-32le";
}

/* iconv's own name: what people write is taken too. */
static const char *iconv_name(const char *name)
{
    static const char *const names[][2] = {
        {"latin-1", "iso-8859-1"}, {"utf-16", "utf-16le"}, {"utf-32", "utf-32le"}};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcasecmp(name, names[i][0]) == 0)
            return names[i][1];
    return name;
}

/* Converts all of it in one call; the number of bytes written, or SIZE_MAX. */
static size_t convert(iconv_t how, const char *from, size_t len, char *to, size_t room)
{
    char *in = (char *)(uintptr_t)from;
    size_t left = room;
    iconv(how, NULL, NULL, NULL, NULL);
    if (iconv(how, &in, &len, &to, &left) == (size_t)-1 || len != 0)
        return SIZE_MAX;
    return room - left;
}

/* In every encoding that is taken, a line feed is a unit of its own that is part of no other character. Shown for the bytes: a
 * line feed is one unit, and each text of one or two bytes with 0x0a as its second one decodes to something that ends with it
 * or is ill-formed. */
static bool has_plain_line_ends(const struct encoding *encoding)
{
    if (encoding->unit != 1)
        return true;
    for (unsigned first = 0; first < 256; first++) {
        char to[16], from[2] = {(char)first, '\n'};
        size_t n = convert(encoding->decode, from, 2, to, sizeof(to));
        if (first == 0x0a || first == 0x1b || first == 0x0e || first == 0x0f)
            continue; /* itself, and what shifts in encodings with states, refused by name */
        if (n != SIZE_MAX && (n < 2 || to[n - 1] != '\n'))
            return false;
    }
    return true;
}

/* Those in which escape sequences change what the bytes after them mean. */
static bool has_states(const char *name)
{
    static const char *const with[] = {"iso-2022", "iso2022",   "utf-7", "utf7",
                                       "hz",       "csiso2022", "tscii", "ucs-2",
                                       "ucs2",     "unicode",   "ucs-4", "ucs4"};
    for (size_t i = 0; i < sizeof(with) / sizeof(with[0]); i++)
        if (strncasecmp(name, with[i], strlen(with[i])) == 0)
            return true;
    return false;
}

static unsigned unit_of(iconv_t encode)
{
    char to[16];
    size_t n = convert(encode, "\n", 1, to, sizeof(to));
    return n == 1 || n == 2 || n == 4 ? (unsigned)n : 0;
}

static int prepare(struct encoding *encoding, const char *name, struct error *error)
{
    const char *own = iconv_name(name);
    if (own[0] == '\0' || strlen(own) >= sizeof(encoding->name) || strchr(own, '/') != NULL)
        return error_set(error, "there is no encoding %s", quote_str(name).text);
    memcpy(encoding->name, own, strlen(own) + 1);
    encoding->decode = iconv_open("UTF-8", own);
    if (encoding->decode == (iconv_t)-1)
        return error_set(error,
                         "there is no encoding %s; `iconv -l` lists those that this system knows",
                         quote_str(name).text);
    iconv_t encode = iconv_open(own, "UTF-8");
    if (encode == (iconv_t)-1)
        return error_set(error, "the encoding %s can only be read", quote_str(name).text);
    encoding->unit = unit_of(encode);
    iconv_close(encode);
    if (has_states(own) || encoding->unit == 0 || !has_plain_line_ends(encoding))
        return error_set(
            error,
            "in the encoding %s the ends of lines can't be told without decoding all before "
            "them: such files can't be followed",
            quote_str(name).text);
    return 0;
}

struct encoding *encoding_new(const char *name, struct error *error)
{
    struct encoding *encoding = (struct encoding *)calloc(1, sizeof(*encoding));
    if (encoding == NULL) {
        error_set(error, "out of memory");
        return NULL;
    }
    encoding->decode = (iconv_t)-1;
    if (prepare(encoding, name, error) == -1)
        encoding_free(&encoding);
    return encoding;
}

void encoding_free(struct encoding **encoding)
{
    if (*encoding == NULL)
        return;
    if ((*encoding)->decode != (iconv_t)-1)
        iconv_close((*encoding)->decode);
    free(*encoding);
    *encoding = NULL;
}

/* -1: it has no such characters, or no room. */
static int encode(const struct encoding *encoding, struct slice text, char *to, size_t room,
                  uint8_t *ret_len)
{
    iconv_t how = iconv_open(encoding->name, "UTF-8");
    size_t n = how == (iconv_t)-1 ? SIZE_MAX : convert(how, text.ptr, text.len, to, room);
    if (how != (iconv_t)-1)
        iconv_close(how);
    if (n == SIZE_MAX || n == 0)
        return -1;
    *ret_len = (uint8_t)n;
    return 0;
}

int encoding_line_end(struct encoding *encoding, struct slice text, bool with_cr,
                      struct line_end *ret_end, struct error *error)
{
    struct line_end end = {.unit = 1, .utf8 = encoding == NULL};
    if (encoding == NULL && text.len <= sizeof(end.bytes)) {
        memcpy(end.bytes, text.ptr, text.len);
        end.len = (uint8_t)text.len;
        end.cr[0] = '\r';
        end.cr_len = with_cr;
    } else if (encoding == NULL ||
               encode(encoding, text, end.bytes, sizeof(end.bytes), &end.len) == -1) {
        return error_set(error, "%s is too long for a line end, or can't be written in the encoding",
                         quote(text).text);
    } else {
        end.unit = (uint8_t)encoding->unit;
        if (with_cr && encode(encoding, SLICE("\r"), end.cr, sizeof(end.cr), &end.cr_len) == -1)
            end.cr_len = 0;
    }
    *ret_end = end;
    return 0;
}

int encoding_decode(struct encoding *encoding, struct slice text, struct arena *arena,
                    struct slice *ret_text, uint64_t *replaced)
{
    char *in = (char *)(uintptr_t)text.ptr;
    size_t len = text.len, room = len * GROWTH + sizeof(REPLACEMENT);
    char *start = arena_reserve(arena, room);
    char *out = start;
    bool running = false; /* the bytes before were ill-formed, too */
    if (start == NULL)
        return -1;
    iconv(encoding->decode, NULL, NULL, NULL, NULL);
    while (len > 0) {
        char *before = out;
        size_t result = iconv(encoding->decode, &in, &len, &out, &room);
        if (result != (size_t)-1)
            break;
        running = running && out == before;
        if (!running) {
            memcpy(out, REPLACEMENT, sizeof(REPLACEMENT) - 1);
            out += sizeof(REPLACEMENT) - 1;
            room -= sizeof(REPLACEMENT) - 1;
            ++*replaced;
        }
        running = true;
        size_t skip = encoding->unit < len ? encoding->unit : len;
        in += skip;
        len -= skip;
    }
    *ret_text = arena_commit(arena, out);
    return 0;
}
