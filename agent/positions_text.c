#include "agent/positions_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#define HEAD         "splashdam-positions 1\n"
#define NUMBERS_ROOM 320 /* the most that a line takes beside its two names */

int position_list_add(struct position_list *list, struct position *position)
{
    if (list->n == list->room) {
        size_t room = list->room == 0 ? 16 : list->room * 2;
        struct position **items =
            (struct position **)reallocarray(list->items, room, sizeof(struct position *));
        if (items == NULL)
            return -1;
        list->items = items;
        list->room = room;
    }
    position->place = (uint32_t)list->n;
    list->items[list->n++] = position;
    return 0;
}

void position_list_remove(struct position_list *list, struct position *position)
{
    struct position *last = list->items[--list->n];
    last->place = position->place;
    list->items[last->place] = last;
}

void position_free(struct position *position)
{
    if (position == NULL)
        return;
    free(position->stream);
    free(position->path);
    free(position);
}

void position_list_free(struct position_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        position_free(list->items[i]);
    free(list->items);
    *list = (struct position_list){0};
}

static char *write_name(char *at, const char *name)
{
    for (const unsigned char *c = (const unsigned char *)name; *c != '\0'; c++) {
        if (*c <= 0x20 || *c == '%' || *c >= 0x7f)
            at += snprintf(at, 4, "%%%02X", *c);
        else
            *at++ = (char)*c;
    }
    return at;
}

/* By hand: tens of thousands of entries are written four times a second, and snprintf(3) would take most of the time. */
static char *write_number(char *at, uint64_t number)
{
    char digits[20];
    char *digit = digits + sizeof(digits);
    do
        *--digit = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    size_t len = (size_t)(digits + sizeof(digits) - digit);
    memcpy(at, digit, len);
    at[len] = ' ';
    return at + len + 1;
}

static char *write_signed(char *at, int64_t number)
{
    if (number < 0)
        *at++ = '-';
    return write_number(at, number < 0 ? -(uint64_t)number : (uint64_t)number);
}

static char *write_hex(char *at, uint64_t number)
{
    for (int shift = 60; shift >= 0; shift -= 4)
        *at++ = "0123456789abcdef"[number >> shift & 15];
    *at++ = ' ';
    return at;
}

static char *write_hash(char *at, const struct content_hash *hash)
{
    return write_hex(write_number(at, hash->len), hash->hash);
}

static char *write_entry(char *at, const struct position *p)
{
    at = write_name(at, p->stream);
    *at++ = ' ';
    at = write_number(at, p->id.dev);
    at = write_number(at, p->id.ino);
    at = write_signed(at, p->id.birth);
    at = write_signed(at, p->copied);
    at = write_number(at, p->sequence);
    at = write_hex(at, p->generation);
    at = write_number(at, p->mark.offset);
    at = write_number(at, p->mark.cut);
    at = write_hash(at, &p->mark.head);
    at = write_hash(at, &p->mark.tail);
    at = write_number(at, p->mark.shipped.end);
    at = write_number(at, p->mark.shipped.any);
    at = write_number(at, p->mark.shipped.dropped);
    at = write_name(at, p->path);
    *at++ = '\n';
    return at;
}

char *positions_format(const struct position_list *list, size_t *ret_len)
{
    size_t room = sizeof(HEAD) + NUMBERS_ROOM;
    for (size_t i = 0; i < list->n; i++)
        room += 3 * (strlen(list->items[i]->stream) + strlen(list->items[i]->path)) + NUMBERS_ROOM;
    char *text = (char *)malloc(room);
    if (text == NULL)
        return NULL;
    memcpy(text, HEAD, sizeof(HEAD) - 1);
    char *at = text + sizeof(HEAD) - 1;
    for (size_t i = 0; i < list->n; i++)
        at = write_entry(at, list->items[i]);
    uint64_t sum = XXH3_64bits(text, (size_t)(at - text));
    at += snprintf(at, NUMBERS_ROOM, "end %zu %016" PRIx64 "\n", list->n, sum);
    *ret_len = (size_t)(at - text);
    return text;
}

/* ---- parsing ---- */

/* The part up to the next blank; false when there is none. */
static bool take_part(struct slice *line, struct slice *ret_part)
{
    const char *blank = (const char *)memchr(line->ptr, ' ', line->len);
    if (blank == NULL || blank == line->ptr)
        return false;
    *ret_part = slice_of(line->ptr, (size_t)(blank - line->ptr));
    line->len -= ret_part->len + 1;
    line->ptr = blank + 1;
    return true;
}

static bool take_number(struct slice *line, int base, uint64_t max, uint64_t *ret_number)
{
    struct slice part;
    if (!take_part(line, &part) || part.len > 20)
        return false;
    uint64_t number = 0;
    for (size_t i = 0; i < part.len; i++) {
        char c = part.ptr[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 16;
        if (digit >= (unsigned)base || __builtin_mul_overflow(number, (uint64_t)base, &number) ||
            __builtin_add_overflow(number, digit, &number))
            return false;
    }
    *ret_number = number;
    return number <= max;
}

static bool take_signed(struct slice *line, int64_t *ret_number)
{
    bool negative = line->len > 0 && line->ptr[0] == '-';
    if (negative)
        *line = slice_of(line->ptr + 1, line->len - 1);
    uint64_t number;
    if (!take_number(line, 10, INT64_MAX, &number))
        return false;
    *ret_number = negative ? -(int64_t)number : (int64_t)number;
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static char *parse_name(struct slice text)
{
    char *name = (char *)malloc(text.len + 1);
    size_t len = 0;
    for (size_t i = 0; name != NULL && i < text.len; i++) {
        int value = (unsigned char)text.ptr[i];
        if (value == '%') {
            bool whole = text.len - i > 2;
            int high = whole ? hex_digit(text.ptr[i + 1]) : -1;
            int low = whole ? hex_digit(text.ptr[i + 2]) : -1;
            value = high < 0 || low < 0 ? 0 : high * 16 + low;
            i += 2;
        }
        if (value == 0) {
            free(name);
            return NULL;
        }
        name[len++] = (char)value;
    }
    if (name != NULL)
        name[len] = '\0';
    return name;
}

static bool parse_hash(struct slice *line, uint32_t max, struct content_hash *hash)
{
    uint64_t len;
    if (!take_number(line, 10, max, &len) || !take_number(line, 16, UINT64_MAX, &hash->hash))
        return false;
    hash->len = (uint32_t)len;
    return true;
}

static struct position *parse_entry(struct slice line)
{
    struct position *p = (struct position *)calloc(1, sizeof(*p));
    struct slice stream;
    uint64_t dev, ino, cut, any;
    if (p == NULL)
        return NULL;
    p->owner = -1;
    if (take_part(&line, &stream) && take_number(&line, 10, UINT64_MAX, &dev) &&
        take_number(&line, 10, UINT64_MAX, &ino) && take_signed(&line, &p->id.birth) &&
        take_signed(&line, &p->copied) && take_number(&line, 10, UINT64_MAX, &p->sequence) &&
        take_number(&line, 16, UINT64_MAX, &p->generation) &&
        take_number(&line, 10, INT64_MAX, &p->mark.offset) && take_number(&line, 10, 1, &cut) &&
        parse_hash(&line, FINGERPRINT_MAX, &p->mark.head) &&
        parse_hash(&line, TAIL_MAX, &p->mark.tail) &&
        take_number(&line, 10, INT64_MAX, &p->mark.shipped.end) && take_number(&line, 10, 1, &any) &&
        take_number(&line, 10, UINT64_MAX, &p->mark.shipped.dropped)) {
        p->mark.shipped.any = any != 0;
        p->id.dev = (dev_t)dev;
        p->id.ino = (ino_t)ino;
        p->mark.cut = cut != 0;
        p->stream = parse_name(stream);
        p->path = parse_name(line);
    }
    if (p->stream != NULL && p->path != NULL)
        return p;
    position_free(p);
    return NULL;
}

/* Rules 1 to 3. Leaves in *text only the entries' lines. */
static int check_frame(struct slice *text, uint64_t *ret_count, struct error *error)
{
    if (text->len < sizeof(HEAD) - 1 || memcmp(text->ptr, HEAD, sizeof(HEAD) - 1) != 0)
        return error_set(error, "its first line is not \"splashdam-positions 1\"");
    if (text->ptr[text->len - 1] != '\n')
        return error_set(error, "it is cut: its last line has no end");
    const char *last =
        (const char *)memrchr(text->ptr, '\n', text->len - 1) + 1; /* there is the first line's */
    struct slice end = slice_of(last, text->len - (size_t)(last - text->ptr));
    char room[64];
    uint64_t sum;
    struct slice word;
    if (end.len >= sizeof(room))
        return error_set(error, "it is cut: its last line is not \"end COUNT CHECKSUM\"");
    memcpy(room, end.ptr, end.len);
    room[end.len - 1] = ' '; /* each part ends with a blank */
    struct slice parts = slice_of(room, end.len);
    if (!take_part(&parts, &word) || !slice_equal(word, SLICE("end")) ||
        !take_number(&parts, 10, UINT64_MAX, ret_count) ||
        !take_number(&parts, 16, UINT64_MAX, &sum) || parts.len != 0)
        return error_set(error, "it is cut: its last line is not \"end COUNT CHECKSUM\"");
    if (sum != XXH3_64bits(text->ptr, (size_t)(last - text->ptr)))
        return error_set(error, "its checksum does not agree with its content");
    text->len = (size_t)(last - text->ptr) - (sizeof(HEAD) - 1);
    text->ptr += sizeof(HEAD) - 1;
    return 0;
}

int positions_parse(struct slice text, struct position_list *list, struct error *error)
{
    uint64_t count;
    *list = (struct position_list){0};
    if (check_frame(&text, &count, error) == -1)
        return -1;
    while (text.len > 0) {
        const char *newline = (const char *)memchr(text.ptr, '\n', text.len);
        size_t len = (size_t)(newline - text.ptr);
        struct position *p = parse_entry(slice_of(text.ptr, len));
        if (p == NULL || position_list_add(list, p) == -1) {
            position_free(p);
            error_set(error, "entry %zu is not readable", list->n + 1);
            position_list_free(list);
            return -1;
        }
        text = slice_of(newline + 1, text.len - len - 1);
    }
    if (list->n == count)
        return 0;
    error_set(error, "it says %" PRIu64 " entries and has %zu", count, list->n);
    position_list_free(list);
    return -1;
}
