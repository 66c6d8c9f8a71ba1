/* Exactly-once: what of the positions Kafka is told beside the ranges of batches, and what it tells at the start. News of a stream go
 * with its worker's next batch, before that batch's own positions: so Kafka has them in the order in which they happened. */
#include "agent/positions_inner.h"

#include <stdlib.h>

void positions_keep_news(struct positions *positions)
{
    positions->keeps_news = true;
}

void position_news_free(struct position_news *news)
{
    while (news != NULL) {
        struct position_news *next = news->next;
        free(news->stream);
        free(news->text);
        free(news);
        news = next;
    }
}

/* Without memory it is not told: then Kafka has an entry too many, or under another identity. */
void positions_add_news(struct positions *positions, const struct position *p)
{
    if (!positions->keeps_news)
        return;
    struct position_news *news = (struct position_news *)calloc(1, sizeof(*news));
    if (news == NULL || (news->stream = strdup(p->stream)) == NULL) {
        free(news);
        return;
    }
    news->id = p->id;
    news->worker = p->owner;
    *positions->last_news = news;
    positions->last_news = &news->next;
}

static void fill_news(struct positions *positions, struct position_news *news)
{
    const struct position *p = positions_entry_find(positions, news->stream, &news->id);
    if (p == NULL)
        return;
    struct position then = *p, *one = &then;
    if (p->sent.offset > p->mark.offset)
        then.mark = p->sent;
    const struct position_list list = {.items = &one, .n = 1};
    news->text = positions_format(&list, &news->len);
}

struct position_news *positions_take_news(struct positions *positions, const char *stream,
                                          int worker)
{
    struct position_news *taken = NULL, **last = &taken;
    pthread_mutex_lock(&positions->lock);
    struct position_news **at = &positions->news;
    while (*at != NULL) {
        struct position_news *news = *at;
        if (news->worker != worker || strcmp(news->stream, stream) != 0) {
            at = &news->next;
            continue;
        }
        *at = news->next;
        news->next = NULL;
        fill_news(positions, news);
        *last = news;
        last = &news->next;
    }
    positions->last_news = at;
    pthread_mutex_unlock(&positions->lock);
    return taken;
}

void positions_return_news(struct positions *positions, struct position_news *news)
{
    if (news == NULL)
        return;
    pthread_mutex_lock(&positions->lock);
    struct position_news *last = news;
    for (;; last = last->next) {
        free(last->text);
        last->text = NULL;
        if (last->next == NULL)
            break;
    }
    last->next = positions->news;
    if (positions->news == NULL)
        positions->last_news = &last->next;
    positions->news = news;
    pthread_mutex_unlock(&positions->lock);
}

static bool is_ahead(const struct position *p, const struct position *from)
{
    return p->generation == from->generation ? p->mark.offset >= from->mark.offset
                                             : positions_is_later(p->generation, from->generation);
}

static void note_kafka(struct position *p, const struct position *from)
{
    p->kafka_generation = from->generation;
    p->kafka_offset = from->mark.offset;
    p->kafka_head = from->mark.head;
}

int positions_adopt(struct positions *positions, const struct position *from)
{
    int result = 0;
    pthread_mutex_lock(&positions->lock);
    struct position *p = positions_entry_find(positions, from->stream, &from->id);
    if (p != NULL) {
        note_kafka(p, from);
    }
    if (p != NULL && (p->owner != -1 || is_ahead(p, from)))
        goto out;
    char *path = strdup(from->path);
    if (path != NULL && p == NULL)
        p = positions_entry_new(positions, from->stream, &from->id, path);
    if (path == NULL || p == NULL) {
        free(path);
        result = -1;
        goto out;
    }
    free(p->path);
    p->path = path;
    p->owner = -1;
    p->copied = from->copied;
    p->sequence = from->sequence;
    p->generation = from->generation;
    p->mark = from->mark;
    note_kafka(p, from);
    if (p->sequence >= positions->next_sequence)
        positions->next_sequence = p->sequence + 1;
    positions_set_dirty(positions);
out:
    pthread_mutex_unlock(&positions->lock);
    return result;
}

int positions_kafka_marks(struct positions *positions, const char *stream,
                          struct kafka_mark **ret_marks, size_t *ret_n)
{
    size_t n = 0;
    pthread_mutex_lock(&positions->lock);
    struct kafka_mark *marks = (struct kafka_mark *)malloc((positions->list.n + 1) * sizeof(*marks));
    for (size_t i = 0; marks != NULL && i < positions->list.n; i++) {
        const struct position *p = positions->list.items[i];
        if (p->kafka_generation != 0 && strcmp(p->stream, stream) == 0)
            marks[n++] = (struct kafka_mark){p->kafka_generation, p->kafka_offset, p->kafka_head};
    }
    pthread_mutex_unlock(&positions->lock);
    *ret_marks = marks;
    *ret_n = n;
    return marks == NULL ? -1 : 0;
}

bool positions_kafka_is_later(struct positions *positions, const char *stream,
                              const struct identity *id, uint64_t generation)
{
    pthread_mutex_lock(&positions->lock);
    const struct position *p = positions_entry_find(positions, stream, id);
    bool later = p != NULL && p->kafka_generation != 0 &&
                 positions_is_later(p->kafka_generation, generation);
    pthread_mutex_unlock(&positions->lock);
    return later;
}

/* Is the same queued already? */
static bool has_news(const struct positions *positions, const struct position *p)
{
    const struct position_news *news = positions->news;
    while (news != NULL && (news->worker != p->owner || !identity_equal(&news->id, &p->id) ||
                            strcmp(news->stream, p->stream) != 0))
        news = news->next;
    return news != NULL;
}

uint64_t positions_sequence(struct positions *positions, const char *stream,
                            const struct identity *id, int worker, int64_t *ret_copied)
{
    uint64_t sequence = 0;
    pthread_mutex_lock(&positions->lock);
    const struct position *p = positions_entry_find(positions, stream, id);
    *ret_copied = 0;
    if (p != NULL) {
        sequence = p->sequence;
        *ret_copied = p->copied;
    } else {
        const struct position gone = {
            .stream = (char *)(uintptr_t)stream, .id = *id, .owner = worker};
        if (!has_news(positions, &gone))
            positions_add_news(positions, &gone);
    }
    pthread_mutex_unlock(&positions->lock);
    return sequence;
}
