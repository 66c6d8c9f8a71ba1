/* Records: fields in an array in the batch's arena, keys unique, in the order they were set. */
#include "agent/encode.h"
#include "plugins/plugin.h"

#include <inttypes.h>
#include <stdio.h>

#define FIELDS_FIRST 8u /* room of the first array */

/* The flag of a built-in field, 0 when the key is none. */
static unsigned builtin_flag(struct slice key)
{
    static const struct {
        struct slice key;
        unsigned flag;
    } builtins[] = {
        {{"@timestamp", 10}, RECORD_NO_TIME},
        {{"host.name", 9}, RECORD_NO_HOST},
        {{"log.file.path", 13}, RECORD_NO_PATH},
        {{"log.offset", 10}, RECORD_NO_OFFSET},
    };
    if (key.len < 9 || key.len > 13)
        return 0;
    for (size_t i = 0; i < sizeof(builtins) / sizeof(builtins[0]); i++)
        if (slice_equal(key, builtins[i].key))
            return builtins[i].flag;
    return 0;
}

static int fields_grow(struct batch *batch, struct record *record)
{
    unsigned room = record->fields_room == 0 ? FIELDS_FIRST : record->fields_room * 2u;
    if (room > RECORD_MAX_FIELDS)
        return -1;
    struct field *fields =
        (struct field *)arena_alloc(&batch->arena, (size_t)room * sizeof(struct field));
    if (fields == NULL)
        return -1;
    if (record->n_fields != 0)
        memcpy(fields, record->fields, record->n_fields * sizeof(struct field));
    record->fields = fields;
    record->fields_room = (uint16_t)room;
    return 0;
}

int record_add(struct batch *batch, struct record *record, struct slice key, struct slice value,
               enum field_type type)
{
    if (record->n_fields == record->fields_room && fields_grow(batch, record) == -1)
        return -1;
    record->flags |= (uint16_t)builtin_flag(key);
    record->fields[record->n_fields++] = (struct field){key, value, type};
    return 0;
}

int record_set(struct batch *batch, struct record *record, struct slice key, struct slice value,
               enum field_type type)
{
    struct field *field = record_find(record, key);
    if (field == NULL)
        return record_add(batch, record, key, value, type);
    field->value = value;
    field->type = type;
    return 0;
}

bool record_remove(struct record *record, struct slice key)
{
    struct field *field = record_find(record, key);
    unsigned flag = builtin_flag(key);
    bool builtin = flag != 0 && (record->flags & flag) == 0;
    record->flags |= (uint16_t)flag;
    if (field == NULL)
        return builtin;
    struct field *last = record->fields + record->n_fields - 1;
    memmove(field, field + 1, (size_t)(last - field) * sizeof(*field));
    record->n_fields--;
    return true;
}

static bool builtin_get(struct batch *batch, const struct record *record, unsigned flag,
                        struct field *ret_field)
{
    ret_field->type = FIELD_STRING;
    if (flag == RECORD_NO_HOST) {
        ret_field->value = batch->host;
        return batch->host.len != 0;
    }
    if (flag == RECORD_NO_PATH) {
        ret_field->value = batch->origins[record->origin]->path;
        return ret_field->value.len != 0;
    }
    char *at = arena_reserve(&batch->arena, ENCODE_TIME_LEN);
    if (at == NULL)
        return false;
    if (flag == RECORD_NO_TIME) {
        encode_time(at, record->time);
        ret_field->value = arena_commit(&batch->arena, at + ENCODE_TIME_LEN);
    } else {
        ret_field->type = FIELD_NUMBER;
        int len = snprintf(at, ENCODE_TIME_LEN, "%" PRIu64, record->begin);
        ret_field->value = arena_commit(&batch->arena, at + len);
    }
    return true;
}

bool record_get(struct batch *batch, const struct record *record, struct slice key,
                struct field *ret_field)
{
    const struct field *field = record_find(record, key);
    if (field != NULL) {
        *ret_field = *field;
        return true;
    }
    unsigned flag = builtin_flag(key);
    if (flag == 0 || (record->flags & flag) != 0)
        return false;
    ret_field->key = key;
    return builtin_get(batch, record, flag, ret_field);
}

void record_drop(struct batch *batch, struct record *record)
{
    assert((record->flags & RECORD_DROPPED) == 0);
    record->flags |= RECORD_DROPPED;
    batch->n_dropped++;
}

void record_fail(struct batch *batch, struct record *record, const char *step, const char *why)
{
    batch->n_failed++;
    size_t step_len = strlen(step);
    size_t why_len = strlen(why);
    char *text = (char *)arena_alloc(&batch->arena, step_len + why_len + 2);
    if (text == NULL)
        return;
    memcpy(text, step, step_len);
    memcpy(text + step_len, ": ", 2);
    memcpy(text + step_len + 2, why, why_len);
    record_set(batch, record, SLICE("error.message"), slice_of(text, step_len + why_len + 2),
               FIELD_STRING);
}
