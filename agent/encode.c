/* Records to payloads, written straight into the memory that Kafka's client is given.
 *
 * Room for the longest that a record can become is reserved once, so nothing is checked while writing.
 * Where that much is not left in the arena's chunk, the texts are looked at for a closer bound, so
 * that a long line does not take six times its length.
 *
 *     {"@timestamp":"…","host.name":"…","log.file.path":"…","log.offset":7,"message":"…",
 *                                                                                      └▶ }
 * Every member ends with a comma; the last one's becomes the closing bracket. */
#include "agent/encode.h"

#include "agent/batch.h"
#include "agent/json.h"

#define HOST_NAME "\"host.name\":"
#define PATH_NAME "\"log.file.path\":"

/* More than brackets, time, offset and flags take together. */
#define FRAME_ROOM 160u

static inline char *put(char *to, const char *text, size_t len)
{
    memcpy(to, text, len);
    return to + len;
}

#define PUT(to, literal) put(to, literal, sizeof(literal) - 1)

/* ---- numbers and time ---- */

static const char pairs[] = "0001020304050607080910111213141516171819"
                            "2021222324252627282930313233343536373839"
                            "4041424344454647484950515253545556575859"
                            "6061626364656667686970717273747576777879"
                            "8081828384858687888990919293949596979899";

static inline void put_pair(char *to, uint64_t value) /* 0..99 */
{
    memcpy(to, pairs + 2 * value, 2);
}

static char *put_number(char *to, uint64_t value)
{
    char digits[20];
    char *at = digits + sizeof(digits);
    while (value >= 100) {
        at -= 2;
        put_pair(at, value % 100);
        value /= 100;
    }
    if (value >= 10) {
        at -= 2;
        put_pair(at, value);
    } else {
        *--at = (char)('0' + value);
    }
    return put(to, at, (size_t)(digits + sizeof(digits) - at));
}

/* YYYY-MM-DD of a day counted from 1970-01-01, in the years 0 to 9999: Howard Hinnant's
 * civil_from_days(). A year begins in March, so that the leap day is its last; an era has 400 years,
 * 146097 days. */
static void put_date(char *to, int64_t days)
{
    uint64_t day = (uint64_t)(days + 719468); /* since 0000-03-01 */
    uint64_t of_era = day % 146097;
    uint64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t march_month = (5 * of_year + 2) / 153;
    uint64_t month = march_month < 10 ? march_month + 3 : march_month - 9;
    uint64_t year = year_of_era + day / 146097 * 400 + (month <= 2);
    put_pair(to, year / 100);
    put_pair(to + 2, year % 100);
    to[4] = '-';
    put_pair(to + 5, month);
    to[7] = '-';
    put_pair(to + 8, of_year - (153 * march_month + 2) / 5 + 1);
}

void encode_time(char *buffer, int64_t ns)
{
    int64_t seconds = ns / 1000000000;
    int64_t fraction = ns % 1000000000;
    if (fraction < 0) { /* before 1970 */
        fraction += 1000000000;
        seconds--;
    }
    int64_t days = seconds / 86400;
    int64_t of_day = seconds % 86400;
    if (of_day < 0) {
        of_day += 86400;
        days--;
    }
    put_date(buffer, days);
    buffer[10] = 'T';
    put_pair(buffer + 11, (uint64_t)of_day / 3600);
    buffer[13] = ':';
    put_pair(buffer + 14, (uint64_t)of_day / 60 % 60);
    buffer[16] = ':';
    put_pair(buffer + 17, (uint64_t)of_day % 60);
    buffer[19] = '.';
    buffer[20] = (char)('0' + fraction / 100000000);
    for (int i = 27; i >= 21; i -= 2) {
        put_pair(buffer + i, (uint64_t)fraction % 100);
        fraction /= 100;
    }
    buffer[29] = 'Z';
}

/* The time of the record before as text: a batch's records often share it. */
struct time_text {
    bool known;
    int64_t ns;
    char text[ENCODE_TIME_LEN];
};

static char *put_time(char *to, int64_t ns, struct time_text *last)
{
    if (!last->known || last->ns != ns) {
        encode_time(last->text, ns);
        last->ns = ns;
        last->known = true;
    }
    to = PUT(to, "\"@timestamp\":\"");
    to = put(to, last->text, ENCODE_TIME_LEN);
    return PUT(to, "\",");
}

/* ---- what a source's records share ---- */

size_t encode_origin_room(struct slice host, struct slice path)
{
    return sizeof(HOST_NAME) + JSON_STRING_ROOM(host.len) + sizeof(PATH_NAME) +
           JSON_STRING_ROOM(path.len);
}

/* `"name":"text",`, or nothing for an empty text. What is replaced in it is not counted: it is no
 * byte of a record's. */
static char *put_text(char *to, struct slice name, struct slice text)
{
    uint64_t replaced = 0;
    if (text.len == 0)
        return to;
    to = put(to, name.ptr, name.len);
    to = json_write_string(to, text, &replaced);
    *to++ = ',';
    return to;
}

size_t encode_origin(char *buffer, struct slice host, struct slice path)
{
    char *to = put_text(buffer, SLICE(HOST_NAME), host);
    return (size_t)(put_text(to, SLICE(PATH_NAME), path) - buffer);
}

static inline bool has_whole_origin(const struct record *record)
{
    return (record->flags & (RECORD_NO_HOST | RECORD_NO_PATH)) == 0;
}

static char *put_origin(char *to, const struct batch *batch, const struct record *record)
{
    const struct origin *origin = batch->origins[record->origin];
    if (has_whole_origin(record))
        return origin->json.len == 0 ? to : put(to, origin->json.ptr, origin->json.len);
    if ((record->flags & RECORD_NO_HOST) == 0)
        to = put_text(to, SLICE(HOST_NAME), batch->host);
    if ((record->flags & RECORD_NO_PATH) == 0)
        to = put_text(to, SLICE(PATH_NAME), origin->path);
    return to;
}

/* ---- records ---- */

/* The most bytes that the record takes: from the lengths alone, or closer, from the texts. */
static inline size_t room_for(const struct batch *batch, const struct record *record, bool closer)
{
    const struct origin *origin = batch->origins[record->origin];
    size_t room =
        FRAME_ROOM + (has_whole_origin(record) ? origin->json.len
                                               : encode_origin_room(batch->host, origin->path));
    for (unsigned i = 0; i < record->n_fields; i++) {
        const struct field *field = &record->fields[i];
        if (closer)
            room += json_string_most(field->key) + json_string_most(field->value) + 2;
        else
            room += JSON_STRING_ROOM(field->key.len) + JSON_STRING_ROOM(field->value.len) + 2;
    }
    return room;
}

static inline char *put_field(char *to, const struct field *field, uint64_t *replaced)
{
    to = json_write_string(to, field->key, replaced);
    *to++ = ':';
    if (field->type == FIELD_STRING)
        to = json_write_string(to, field->value, replaced);
    else
        to = json_write_raw(to, field->value, replaced);
    *to++ = ',';
    return to;
}

static char *put_record(char *to, const struct batch *batch, const struct record *record,
                        struct time_text *last, uint64_t *replaced)
{
    *to++ = '{';
    char *first = to;
    if ((record->flags & RECORD_NO_TIME) == 0)
        to = put_time(to, record->time, last);
    to = put_origin(to, batch, record);
    if ((record->flags & RECORD_NO_OFFSET) == 0) {
        to = PUT(to, "\"log.offset\":");
        to = put_number(to, record->begin);
        *to++ = ',';
    }
    if ((record->flags & RECORD_CUT) != 0 && record_find(record, SLICE("log.flags")) == NULL)
        to = PUT(to, "\"log.flags\":[\"truncated\"],");
    for (unsigned i = 0; i < record->n_fields; i++)
        to = put_field(to, &record->fields[i], replaced);
    if (to == first)
        to++;
    to[-1] = '}';
    return to;
}

int encode_json(struct batch *batch, struct arena *out, uint64_t *ret_replaced)
{
    struct time_text last = {.known = false};
    for (uint32_t i = 0; i < batch->n_records; i++) {
        struct record *record = &batch->records[i];
        if (!record_is_left(record))
            continue;
        size_t room = room_for(batch, record, false);
        if (room + ARENA_ALIGN > (size_t)(out->end - out->next))
            room = room_for(batch, record, true);
        char *to = arena_reserve(out, room);
        if (to == NULL)
            return -1;
        record->payload = arena_commit(out, put_record(to, batch, record, &last, ret_replaced));
    }
    return 0;
}

void encode_raw(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->n_records; i++)
        if (record_is_left(&batch->records[i]))
            batch->records[i].payload = batch->records[i].line;
}
