/* `splashdam spool`: looks at the spool's files as they are. ls, check and dump only read, so they may run beside the agent;
 * salvage appends to a spool as the agent does, and takes its lock. */
#include "agent/cli.h"

#include "agent/arena.h"
#include "agent/clock.h"
#include "agent/json.h"
#include "agent/spool_crypt.h"
#include "agent/spool_inner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEMORY ((size_t)3 << 30)

static const char usage[] =
    "usage: splashdam spool ls|check|dump|salvage [-c FILE | --state DIR [--key-file FILE]]\n"
    "                       [-s STREAM] [-q] [--raw] [SEGMENT]\n\n"
    "  ls       streams, their files, and what is in them; and what is in quarantine\n"
    "  check    verifies every frame; says file and offset of what is bad, and exits 1\n"
    "  dump     records as JSON, one a line\n"
    "  salvage  appends the valid frames of the file SEGMENT to a stream's spool, for the agent "
    "to\n"
    "           send; the file is kept, as SEGMENT.salvaged. The agent must not run.\n\n"
    "  -c FILE          the configuration, which has the state folder and the key file\n"
    "  --state DIR      the state folder, without a configuration\n"
    "  --key-file FILE  keys of an encrypted spool, with --state\n"
    "  -s STREAM        only this stream; for salvage: the stream to which it goes\n"
    "  -q               dump: what is in quarantine\n"
    "  --raw            dump: payloads as they are, a newline behind each\n"
    "  SEGMENT          dump, check: only this file, wherever it is\n";

struct look {
    const char *command, *config_file, *state, *key_file, *stream, *segment;
    bool quarantine, raw;
    struct config *tree; /* of -c */
    struct config_spool config;
    int state_fd, folder;
    struct spool_keys *keys;
    struct arena arena;
    bool bad;
};

struct totals {
    uint64_t segments, frames, records, bytes;
    int64_t oldest;  /* ms */
    uint64_t key_id; /* of the frame seen last */
    uint64_t last;   /* sequence */
    struct spool_acked acked;
};

/* ---- frames ---- */

static void print_json(const char *name, struct slice text)
{
    uint64_t replaced = 0;
    char *room = (char *)malloc(JSON_STRING_ROOM(text.len));
    if (room == NULL)
        return;
    const char *end = json_write_string(room, text, &replaced);
    printf("\"%s\":%.*s", name, (int)(end - room), room);
    free(room);
}

static void print_record(const struct look *look, const char *where, uint64_t sequence,
                         const struct spool_record *record)
{
    if (look->raw) {
        fwrite(record->payload.ptr, 1, record->payload.len, stdout);
        putchar('\n');
        return;
    }
    putchar('{');
    print_json("segment", slice_str(where));
    printf(",\"sequence\":%" PRIu64 ",", sequence);
    print_json("topic", record->topic);
    printf(",\"partition\":%" PRId32 ",\"timestamp\":%" PRId64 ",", record->partition,
           record->timestamp);
    if (record->key.ptr == NULL)
        printf("\"key\":null,");
    else {
        print_json("key", record->key);
        putchar(',');
    }
    if (record->headers.len > 0) {
        printf("\"headers\":\"");
        for (size_t i = 0; i < record->headers.len; i++)
            printf("%02x", (unsigned char)record->headers.ptr[i]);
        printf("\",");
    }
    print_json("payload", record->payload);
    printf("}\n");
}

static void say_bad(struct look *look, const char *where, uint64_t offset, const char *what)
{
    look->bad = true;
    fprintf(stderr, "%s:%" PRIu64 ": %s\n", where, offset, what);
}

/* A hole that is neither acknowledged nor given up. */
static bool is_hole(const struct totals *totals, uint64_t sequence)
{
    uint64_t from = totals->last + 1;
    if (from <= totals->acked.sequence)
        from = totals->acked.sequence + 1;
    if (from >= totals->acked.dropped_from && from <= totals->acked.dropped_to)
        from = totals->acked.dropped_to + 1;
    return sequence > from;
}

static void look_at_frame(struct look *look, const char *where, char *bytes,
                          const struct segment_piece *piece, struct totals *totals)
{
    const struct spool_header *header = &piece->header;
    struct spool_frame frame;
    struct spool_record record;
    totals->frames++;
    totals->records += header->n_records;
    totals->key_id = header->key_id;
    if (totals->oldest == 0 || header->time < totals->oldest)
        totals->oldest = header->time;
    if (strcmp(look->command, "ls") == 0)
        return;
    arena_reset(&look->arena);
    switch (spool_frame_open(bytes, header, look->keys, &look->arena, &frame)) {
    case OPEN_OK: break;
    case OPEN_NO_KEY: say_bad(look, where, piece->from, "its key is not among those given"); return;
    case OPEN_FULL: say_bad(look, where, piece->from, "too large for the memory"); return;
    default: say_bad(look, where, piece->from, "damaged, or tampered with"); return;
    }
    while (strcmp(look->command, "dump") == 0 && spool_frame_record(&frame, &record))
        print_record(look, where, frame.sequence, &record);
}

/* Pieces that are no frames are told of by `check`, and by others, too, on standard error. `totals->last` is 0 where sequences mean
 * nothing. */
static void look_through(struct look *look, const char *where, int fd, struct segment_name name,
                         struct totals *totals, bool in_spool)
{
    struct stat st;
    struct segment_scan scan = {.fd = -1};
    struct segment_piece piece;
    enum segment_found found;
    if (fstat(fd, &st) == -1)
        return;
    segment_scan_init(&scan, fd, name.salt, 0, (uint64_t)st.st_size);
    totals->segments++;
    totals->bytes += (uint64_t)st.st_size;
    while ((found = segment_next(&scan, &piece)) != FOUND_END && found != FOUND_FAILED) {
        if (found == FOUND_FRAME) {
            if (in_spool && is_hole(totals, piece.header.sequence))
                say_bad(look, where, piece.from, "frames before this one are missing");
            if (in_spool && piece.header.sequence > totals->last)
                totals->last = piece.header.sequence;
            look_at_frame(look, where, scan.bytes, &piece, totals);
        } else if (found == FOUND_LATER)
            say_bad(look, where, piece.from, "of a later version of splashdam");
        else if (found == FOUND_DAMAGE)
            say_bad(look, where, piece.from, "damaged");
        else /* the agent may be writing it just now, and cuts it off when it starts */
            fprintf(stderr, "%s:%" PRIu64 ": an incomplete end\n", where, piece.from);
    }
    if (found == FOUND_FAILED)
        say_bad(look, where, piece.from, "too large for the memory");
    segment_scan_fini(&scan);
}

/* ---- folders ---- */

static void print_totals(const char *what, const struct totals *totals)
{
    char time[32] = "-";
    struct tm parts;
    time_t seconds = (time_t)(totals->oldest / 1000);
    if (totals->oldest != 0 && gmtime_r(&seconds, &parts) != NULL)
        strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%SZ", &parts);
    printf("%s segments=%" PRIu64 " frames=%" PRIu64 " records=%" PRIu64 " bytes=%" PRIu64
           " oldest=%s",
           what, totals->segments, totals->frames, totals->records, totals->bytes, time);
    if (totals->key_id != 0)
        printf(" key=%016" PRIx64, totals->key_id);
    putchar('\n');
}

static void look_at_stream(struct look *look, const char *folder_name)
{
    char name[SEGMENT_NAME_ROOM], where[2 * SPOOL_NAME_ROOM];
    struct segment_name *names = NULL;
    struct totals totals = {.last = 0};
    size_t n = 0;
    int folder = spool_folder(look->folder, folder_name, false);
    if (folder == -1 || segment_list(folder, &names, &n) == -1) {
        say_bad(look, folder_name, 0, strerror(errno));
        if (folder != -1)
            close(folder);
        return;
    }
    if (spool_read_ack(folder, &totals.acked) == -1)
        say_bad(look, folder_name, 0, "the ack is damaged");
    for (size_t i = 0; i < n; i++) {
        segment_name_format(name, names[i]);
        snprintf(where, sizeof(where), "%s/%s", folder_name, name);
        int fd = segment_open(folder, name, O_RDONLY);
        if (fd == -1 && errno == ENOENT)
            continue; /* acknowledged just now */
        if (fd == -1) {
            say_bad(look, where, 0, "can't be opened, or is no regular file");
            continue;
        }
        struct totals one = {.last = totals.last, .acked = totals.acked};
        look_through(look, where, fd, names[i], &one, true);
        close(fd);
        if (strcmp(look->command, "ls") == 0)
            print_totals(where, &one);
        totals.last = one.last;
        totals.segments++;
    }
    free(names);
    close(folder);
    if (strcmp(look->command, "ls") == 0)
        printf("stream=%s segments=%" PRIu64 " acknowledged=%" PRIu64 " newest=%" PRIu64 "\n",
               folder_name, totals.segments, totals.acked.sequence, totals.last);
}

static int look_at_file(struct look *look, int at, const char *path)
{
    struct segment_name name;
    struct totals totals = {.last = 0};
    const char *slash = strrchr(path, '/');
    int fd = segment_open(at, path, O_RDONLY);
    if (fd == -1) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    if (segment_name_find(slash == NULL ? path : slash + 1, &name))
        look_through(look, path, fd, name, &totals, false);
    else
        say_bad(look, path, 0, "no SEQUENCE-SALT in its name, without which it can't be read");
    close(fd);
    if (strcmp(look->command, "ls") == 0)
        print_totals(path, &totals);
    return 0;
}

static void look_at_quarantine(struct look *look)
{
    int folder = spool_folder(look->folder, SPOOL_QUARANTINE, false);
    DIR *dir = folder == -1 ? NULL : fdopendir(folder);
    for (const struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        struct segment_name name;
        if (strcmp(look->command, "ls") == 0 && entry->d_name[0] != '.')
            printf("quarantine/%s\n", entry->d_name);
        else if (segment_name_find(entry->d_name, &name))
            look_at_file(look, folder, entry->d_name);
    }
    if (dir != NULL)
        closedir(dir);
    else if (folder != -1)
        close(folder);
}

static int look_at_all(struct look *look)
{
    char name[SPOOL_NAME_ROOM];
    if (look->segment != NULL)
        return look_at_file(look, AT_FDCWD, look->segment);
    DIR *dir = look->quarantine ? NULL : fdopendir(dup(look->folder));
    for (const struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        if (strcmp(entry->d_name, SPOOL_QUARANTINE) != 0 && spool_stream_name(entry->d_name, name) &&
            (look->stream == NULL || strcmp(look->stream, name) == 0))
            look_at_stream(look, entry->d_name);
    if (dir != NULL)
        closedir(dir);
    if (look->quarantine || strcmp(look->command, "ls") == 0)
        look_at_quarantine(look);
    return 0;
}

/* ---- salvage ---- */

/* The frame's records, without its positions: what is delivered late says nothing of where a file is to be read on. */
static int salvage_frame(struct spool *spool, struct flusher *flusher, struct spool_batch *batch,
                         struct spool_frame frame, struct error *error)
{
    struct spool_record record;
    uint64_t sequence;
    enum spool_append result;
    spool_batch_reset(batch);
    while (spool_frame_record(&frame, &record))
        spool_batch_add_record(batch, &record);
    while ((result = spool_append(spool, batch, false, &sequence)) == SPOOL_WAIT)
        flusher_wait(flusher);
    if (result == SPOOL_APPENDED)
        return 0;
    return error_set(error, "cannot append to the spool: %s",
                     result == SPOOL_FULL ? "it is full (spool.max_bytes)" : strerror(errno));
}

/* Returns the frames; -1 and *error. */
static int64_t salvage_frames(struct look *look, struct spool *spool, struct flusher *flusher,
                              struct error *error)
{
    struct segment_scan scan = {.fd = -1};
    struct segment_name name;
    struct segment_piece piece;
    struct spool_batch batch = {.n_records = 0};
    struct stat st;
    enum segment_found found;
    const char *slash = strrchr(look->segment, '/');
    int64_t n = 0;
    int fd = segment_open(AT_FDCWD, look->segment, O_RDONLY);
    if (fd == -1 || fstat(fd, &st) == -1)
        return error_set(error, "%s: %s", look->segment, strerror(errno));
    if (!segment_name_find(slash == NULL ? look->segment : slash + 1, &name)) {
        close(fd);
        return error_set(error, "%s has no SEQUENCE-SALT in its name", look->segment);
    }
    segment_scan_init(&scan, fd, name.salt, 0, (uint64_t)st.st_size);
    while (n != -1 && (found = segment_next(&scan, &piece)) != FOUND_END && found != FOUND_FAILED) {
        struct spool_frame frame;
        arena_reset(&look->arena);
        if (found != FOUND_FRAME || spool_frame_open(scan.bytes, &piece.header, look->keys,
                                                     &look->arena, &frame) != OPEN_OK)
            say_bad(look, look->segment, piece.from, "not salvaged: no valid frame");
        else if (salvage_frame(spool, flusher, &batch, frame, error) == -1)
            n = -1;
        else
            n++;
    }
    segment_scan_fini(&scan);
    spool_batch_fini(&batch);
    close(fd);
    return n;
}

/* The stream that the file's name begins with, as it does in quarantine: STREAM.SEQUENCE-SALT… */
static bool stream_of(const char *segment, char to[SPOOL_NAME_ROOM])
{
    char folder[SPOOL_NAME_ROOM], text[SEGMENT_NAME_ROOM];
    struct segment_name name;
    const char *slash = strrchr(segment, '/');
    const char *base = slash == NULL ? segment : slash + 1;
    if (!segment_name_find(base, &name))
        return false;
    segment_name_format(text, name);
    text[strlen(text) - strlen(".seg")] = '\0';
    const char *at = strstr(base, text);
    if (at == NULL || at == base || at[-1] != '.')
        return false;
    snprintf(folder, sizeof(folder), "%.*s", (int)(at - base - 1), base);
    return spool_stream_name(folder, to);
}

static int salvage_into(struct look *look, const char *stream, struct flusher *flusher,
                        struct error *error)
{
    char kept[4096];
    look->config.when_full = SPOOL_BLOCK;
    struct spool_store *store = spool_store_open(&look->config, look->state_fd, 1, flusher, error);
    struct spool *spool = store == NULL ? NULL : spool_open(store, stream, NULL, error);
    int64_t n = spool == NULL ? -1 : salvage_frames(look, spool, flusher, error);
    if (spool != NULL) {
        spool_tick(spool, INT64_MAX - 1);
        flusher_wait(flusher);
        struct spool_stats stats;
        spool_stats(spool, &stats);
        if (stats.fsync_failures > 0 && n != -1)
            n = error_set(error, "an fsync failed; the file stays as it is");
        spool_close(&spool);
    }
    spool_store_close(&store);
    if (n == -1)
        return -1;
    snprintf(kept, sizeof(kept), "%s.salvaged", look->segment);
    if (n > 0 && rename(look->segment, kept) == -1)
        return error_set(error, "cannot rename %s, which was salvaged: %s", look->segment,
                         strerror(errno));
    printf("%" PRId64 " frames go to stream %s when the agent runs\n", n, stream);
    return 0;
}

static int salvage(struct look *look, struct error *error)
{
    char stream[SPOOL_NAME_ROOM];
    if (look->stream == NULL && !stream_of(look->segment, stream))
        return error_set(error, "the file's name does not tell its stream: -s STREAM");
    int lock = openat(look->state_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (lock == -1)
        return error_set(error, "cannot open the state folder's lock: %s", strerror(errno));
    struct flusher *flusher = NULL;
    int result = -1;
    if (flock(lock, LOCK_EX | LOCK_NB) == -1)
        error_set(error, "the agent runs on this state folder; stop it first");
    else if ((flusher = flusher_new()) == NULL)
        error_set(error, "cannot make a thread: %s", strerror(errno));
    else
        result = salvage_into(look, look->stream != NULL ? look->stream : stream, flusher, error);
    flusher_free(&flusher);
    close(lock);
    return result;
}

/* ---- arguments ---- */

static int wrong(const char *what)
{
    fprintf(stderr, "splashdam spool: %s\n%s", what, usage);
    return 2;
}

/* The argument's value goes to *ret_value; true when it is this one. */
static bool takes_value(const char *name, int argc, char **argv, int *i, const char **ret_value)
{
    size_t len = strlen(name);
    if (strncmp(argv[*i], name, len) != 0)
        return false;
    if (argv[*i][len] == '=' && len > 2)
        *ret_value = argv[*i] + len + 1;
    else if (argv[*i][len] == '\0' && *i + 1 < argc)
        *ret_value = argv[++*i];
    else
        return false;
    return true;
}

/* 0; 1: -h was answered; 2: wrong usage. Not getopt_long(3): its struct option has the name of the agent's own. */
static int read_arguments(struct look *look, int argc, char **argv)
{
    static const char *const commands[] = {"ls", "check", "dump", "salvage"};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 1;
        }
        if (strcmp(argv[i], "-q") == 0)
            look->quarantine = true;
        else if (strcmp(argv[i], "--raw") == 0)
            look->raw = true;
        else if (takes_value("-c", argc, argv, &i, &look->config_file) ||
                 takes_value("--state", argc, argv, &i, &look->state) ||
                 takes_value("--key-file", argc, argv, &i, &look->key_file) ||
                 takes_value("-s", argc, argv, &i, &look->stream))
            continue;
        else if (argv[i][0] == '-')
            return wrong("wrong arguments");
        else if (look->command == NULL)
            look->command = argv[i];
        else if (look->segment == NULL)
            look->segment = argv[i];
        else
            return wrong("too many arguments");
    }
    for (size_t i = 0; look->command != NULL && i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(look->command, commands[i]) == 0)
            return i == 3 && look->segment == NULL ? wrong("which file is to be salvaged?") : 0;
    return wrong(look->command == NULL ? "which command?" : "no such command");
}

static int open_spool(struct look *look, struct error *error)
{
    const char *state = look->state;
    if (state == NULL) {
        look->tree = config_load(look->config_file, error);
        if (look->tree == NULL)
            return -1;
        state = look->tree->agent.state;
        look->config = look->tree->spool;
    } else {
        look->config = (struct config_spool){.max_bytes = (uint64_t)1 << 30,
                                             .fsync = 1000,
                                             .segment_bytes = (uint64_t)16 << 20,
                                             .max_age = -1,
                                             .compression = SPOOL_LZ4,
                                             .key_file = look->key_file};
    }
    if (spool_keys_load(look->config.key_file, &look->keys, error) == -1)
        return -1;
    look->state_fd = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (look->state_fd == -1)
        return error_set(error, "cannot open the state folder %s: %s", state, strerror(errno));
    look->folder = spool_folder(look->state_fd, "spool", false);
    if (look->folder == -1 && errno != ENOENT)
        return error_set(error, "cannot open %s/spool: %s", state, strerror(errno));
    return 0;
}

int cli_spool(int argc, char **argv, const char *config)
{
    struct error error = {.line = 0};
    struct look look = {.config_file = config, .state_fd = -1, .folder = -1};
    int status = read_arguments(&look, argc, argv);
    if (status != 0)
        return status == 1 ? 0 : 2;
    log_init(LOG_LEVEL_WARN);
    arena_init(&look.arena, NULL, MEMORY);
    int result = open_spool(&look, &error);
    if (result == 0 && strcmp(look.command, "salvage") == 0)
        result = salvage(&look, &error);
    else if (result == 0 && (look.folder != -1 || look.segment != NULL))
        result = look_at_all(&look);
    if (result == -1 && error.text[0] != '\0')
        cli_print_error(&error);
    if (result == 0 && strcmp(look.command, "check") == 0 && !look.bad)
        printf("ok\n");
    arena_reset(&look.arena);
    spool_keys_free(&look.keys);
    config_free(&look.tree);
    if (look.folder != -1)
        close(look.folder);
    if (look.state_fd != -1)
        close(look.state_fd);
    return result == -1 || look.bad ? 1 : 0;
}
