/* The store, its space, and opening and closing a stream's spool. */
#include "agent/spool_inner.h"

#include "agent/clock.h"
#include "agent/spool_crypt.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define FOLDER        "spool"
#define IT_MUST_BE    " (it must be a folder, no link, that only the agent may write to)"
#define SEGMENT_LEAST ((uint64_t)64 * 1024)
#define SEGMENTS      4 /* into which a stream's own part is divided, at least */

/* ---- the store ---- */

/* Bytes that are kept for each stream. */
static uint64_t reserve_of(const struct spool_store *store)
{
    size_t n = store->n_streams > store->n_spools ? store->n_streams : store->n_spools;
    return store->config.max_bytes / 2 / n;
}

static int open_folders(struct spool_store *store, int state_folder, struct error *error)
{
    store->folder = spool_folder(state_folder, FOLDER, true);
    if (store->folder == -1)
        return error_set(error,
                         "cannot use the folder " FOLDER " in the state folder: %s" IT_MUST_BE,
                         strerror(errno));
    store->quarantine = spool_folder(store->folder, SPOOL_QUARANTINE, true);
    if (store->quarantine == -1)
        return error_set(error,
                         "cannot use the folder " FOLDER "/" SPOOL_QUARANTINE
                         " in the state folder: %s" IT_MUST_BE,
                         strerror(errno));
    store->aside = spool_aside_size(store->quarantine);
    return 0;
}

struct spool_store *spool_store_open(const struct config_spool *config, int state_folder,
                                     size_t n_streams, struct flusher *flusher, struct error *error)
{
    struct spool_store *store = (struct spool_store *)calloc(1, sizeof(*store));
    if (store == NULL) {
        error_set(error, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&store->lock, NULL);
    store->config = *config;
    store->flusher = flusher;
    store->state_folder = state_folder;
    store->folder = store->quarantine = -1;
    store->n_streams = n_streams;
    store->segment_max = config->segment_bytes;
    if (store->segment_max > reserve_of(store) / SEGMENTS)
        store->segment_max = reserve_of(store) / SEGMENTS;
    if (store->segment_max < SEGMENT_LEAST)
        store->segment_max = SEGMENT_LEAST;
    if (spool_keys_load(config->key_file, &store->keys, error) == -1 ||
        open_folders(store, state_folder, error) == -1)
        spool_store_close(&store);
    return store;
}

void spool_store_close(struct spool_store **store_ptr)
{
    struct spool_store *store = *store_ptr;
    if (store == NULL)
        return;
    assert(store->n_spools == 0);
    spool_keys_free(&store->keys);
    if (store->quarantine != -1)
        close(store->quarantine);
    if (store->folder != -1)
        close(store->folder);
    pthread_mutex_destroy(&store->lock);
    free(store);
    *store_ptr = NULL;
}

int spool_store_each(struct spool_store *store, spool_stream_fn *each, void *arg)
{
    char name[SPOOL_NAME_ROOM];
    int fd = spool_folder(store->folder, ".", false);
    DIR *dir = fd == -1 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        if (fd != -1)
            close(fd);
        return -1;
    }
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, SPOOL_QUARANTINE) == 0 || !spool_stream_name(entry->d_name, name))
            continue;
        int folder = spool_folder(store->folder, entry->d_name, false);
        if (folder == -1)
            continue;
        close(folder);
        each(name, arg);
    }
    closedir(dir);
    return 0;
}

/* ---- space ---- */

/* What the others do not use of their parts is kept for them. */
bool spool_may_take(struct spool *spool, uint64_t bytes)
{
    struct spool_store *store = spool->store;
    pthread_mutex_lock(&store->lock);
    const uint64_t reserve = reserve_of(store);
    size_t n_unopened = store->n_streams > store->n_spools ? store->n_streams - store->n_spools : 0;
    uint64_t kept = n_unopened * reserve;
    for (const struct spool *other = store->spools; other != NULL; other = other->next)
        if (other != spool && other->used < reserve)
            kept += reserve - other->used;
    bool may = store->used + bytes + kept <= store->config.max_bytes;
    pthread_mutex_unlock(&store->lock);
    return may;
}

void spool_account(struct spool *spool, int64_t bytes)
{
    struct spool_store *store = spool->store;
    pthread_mutex_lock(&store->lock);
    spool->used += (uint64_t)bytes;
    store->used += (uint64_t)bytes;
    pthread_mutex_unlock(&store->lock);
}

static void store_add(struct spool_store *store, struct spool *spool)
{
    pthread_mutex_lock(&store->lock);
    spool->next = store->spools;
    store->spools = spool;
    store->n_spools++;
    pthread_mutex_unlock(&store->lock);
}

static void store_remove(struct spool_store *store, const struct spool *spool)
{
    pthread_mutex_lock(&store->lock);
    struct spool **link = &store->spools;
    while (*link != spool)
        link = &(*link)->next;
    *link = spool->next;
    store->n_spools--;
    store->used -= spool->used;
    pthread_mutex_unlock(&store->lock);
}

/* ---- a stream's ---- */

static void spool_free(struct spool *spool)
{
    spool_forget_unsynced(spool, 0, UINT64_MAX);
    spool_cursor_reset(spool);
    segment_scan_fini(&spool->cursor.scan);
    free(spool->cursor.flights);
    while (spool->segments != NULL) {
        struct segment *segment = spool->segments;
        spool->segments = segment->next;
        if (segment->fd != -1)
            close(segment->fd);
        free(segment);
    }
    store_remove(spool->store, spool);
    if (spool->fd != -1)
        close(spool->fd);
    pthread_mutex_destroy(&spool->lock);
    free(spool->name);
    free(spool);
}

struct spool *spool_open(struct spool_store *store, const char *stream,
                         const struct spool_events *events, struct error *error)
{
    struct spool *spool = (struct spool *)calloc(1, sizeof(*spool));
    if (spool == NULL || (spool->name = strdup(stream)) == NULL) {
        free(spool);
        error_set(error, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&spool->lock, NULL);
    spool->store = store;
    store_add(store, spool);
    spool->fd = spool->cursor.scan.fd = -1;
    if (events != NULL)
        spool->events = *events;
    spool->job.run = spool_job;
    spool->last_unsynced = &spool->unsynced;
    spool->sync_at = spool->ack_at = spool->age_at = INT64_MAX;
    int result = spool_folder_name(stream, spool->folder);
    if (result == -1)
        error_set(error, "the stream's name is too long for a spool");
    else if ((spool->fd = spool_folder(store->folder, spool->folder, true)) == -1)
        result = error_set(error,
                           "cannot use the folder " FOLDER "/%s in the state folder: %s" IT_MUST_BE,
                           spool->folder, strerror(errno));
    else
        result = spool_recover(spool, error);
    if (result == -1) {
        spool_free(spool);
        return NULL;
    }
    if (store->config.max_age > 0)
        spool->age_at = clock_monotonic();
    return spool;
}

void spool_close(struct spool **spool_ptr)
{
    struct spool *spool = *spool_ptr;
    if (spool == NULL)
        return;
    pthread_mutex_lock(&spool->lock);
    spool_kick(spool);
    pthread_mutex_unlock(&spool->lock);
    flusher_wait(spool->store->flusher);
    spool_free(spool);
    *spool_ptr = NULL;
}

uint64_t spool_durable(struct spool *spool)
{
    pthread_mutex_lock(&spool->lock);
    uint64_t durable = spool->durable;
    pthread_mutex_unlock(&spool->lock);
    return durable;
}

bool spool_is_empty(struct spool *spool)
{
    pthread_mutex_lock(&spool->lock);
    bool empty = spool->acked == spool->written;
    pthread_mutex_unlock(&spool->lock);
    return empty;
}

bool spool_is_saved(struct spool *spool)
{
    pthread_mutex_lock(&spool->lock);
    bool saved = !spool->ack_dirty && !spool->queued;
    pthread_mutex_unlock(&spool->lock);
    return saved;
}

void spool_stats(struct spool *spool, struct spool_stats *ret_stats)
{
    pthread_mutex_lock(&spool->lock);
    *ret_stats = spool->stats;
    ret_stats->bytes = spool->used;
    ret_stats->oldest = 0;
    for (const struct segment *s = spool->segments; s != NULL; s = s->next)
        if (!s->doomed && s->last > spool->acked && ret_stats->oldest == 0)
            ret_stats->oldest = s->oldest;
    pthread_mutex_unlock(&spool->lock);
}
