/* Records to payloads. */
#ifndef SPLASHDAM_ENCODE_H
#define SPLASHDAM_ENCODE_H

#include "plugins/plugin.h"

/* Fills in `payload` of each record that is neither dropped nor discarded, written into `out` (not the
 * batch's own arena, which is given back as soon as everything is encoded).
 * JSON: one object, ECS names at the top level: @timestamp (RFC 3339, UTC, nanoseconds), then the origin's
 * ready-made text (host.name, log.file.path), log.offset (a number: record->begin), then the record's fields in their order. Bytes that are
 * not UTF-8 become U+FFFD, counted in *ret_replaced (added to). -1: `out` has no room. */
int encode_json(struct batch *batch, struct arena *out, uint64_t *ret_replaced);
/* The line as it was; nothing is copied. */
void encode_raw(struct batch *batch);

/* The text that `origin->json` needs, in the caller's buffer of at least encode_origin_room() bytes:
 * `"host.name":"…","log.file.path":"…",` each only where not empty. Returns its length.
 * A record with RECORD_NO_HOST or _NO_PATH set is written member by member instead. */
size_t encode_origin_room(struct slice host, struct slice path);
size_t encode_origin(char *buffer, struct slice host, struct slice path);

/* RFC 3339, UTC, nanoseconds, 30 bytes: 2026-11-23T12:00:00.000000000Z. Years 1970 to 2262. */
#define ENCODE_TIME_LEN 30
void encode_time(char *buffer, int64_t ns);

#endif
