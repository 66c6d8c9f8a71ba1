#include "agent/flusher.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct flusher {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a job came, or the queue ran empty, or stopping */
    struct flush_job *first;
    struct flush_job **last;
    bool running; /* a job is being run */
    bool stopping;
};

static void *flusher_main(void *arg)
{
    struct flusher *flusher = (struct flusher *)arg;
    pthread_setname_np(pthread_self(), "flusher");
    pthread_mutex_lock(&flusher->lock);
    while (!flusher->stopping || flusher->first != NULL) {
        struct flush_job *job = flusher->first;
        if (job == NULL) {
            pthread_cond_wait(&flusher->changed, &flusher->lock);
            continue;
        }
        flusher->first = job->next;
        if (flusher->first == NULL)
            flusher->last = &flusher->first;
        flusher->running = true;
        pthread_mutex_unlock(&flusher->lock);
        job->run(job);
        atomic_store_explicit(&job->busy, false, memory_order_release);
        pthread_mutex_lock(&flusher->lock);
        flusher->running = false;
        pthread_cond_broadcast(&flusher->changed);
    }
    pthread_mutex_unlock(&flusher->lock);
    return NULL;
}

struct flusher *flusher_new(void)
{
    struct flusher *flusher = (struct flusher *)calloc(1, sizeof(*flusher));
    if (flusher == NULL)
        return NULL;
    pthread_mutex_init(&flusher->lock, NULL);
    pthread_cond_init(&flusher->changed, NULL);
    flusher->last = &flusher->first;
    int error = pthread_create(&flusher->thread, NULL, flusher_main, flusher);
    if (error != 0) {
        free(flusher);
        errno = error;
        return NULL;
    }
    return flusher;
}

void flusher_free(struct flusher **flusher_ptr)
{
    struct flusher *flusher = *flusher_ptr;
    if (flusher == NULL)
        return;
    pthread_mutex_lock(&flusher->lock);
    flusher->stopping = true;
    pthread_cond_broadcast(&flusher->changed);
    pthread_mutex_unlock(&flusher->lock);
    pthread_join(flusher->thread, NULL);
    pthread_cond_destroy(&flusher->changed);
    pthread_mutex_destroy(&flusher->lock);
    free(flusher);
    *flusher_ptr = NULL;
}

void flusher_submit(struct flusher *flusher, struct flush_job *job)
{
    atomic_store_explicit(&job->busy, true, memory_order_relaxed);
    job->next = NULL;
    pthread_mutex_lock(&flusher->lock);
    *flusher->last = job;
    flusher->last = &job->next;
    pthread_cond_broadcast(&flusher->changed);
    pthread_mutex_unlock(&flusher->lock);
}

void flusher_wait(struct flusher *flusher)
{
    pthread_mutex_lock(&flusher->lock);
    while (flusher->first != NULL || flusher->running)
        pthread_cond_wait(&flusher->changed, &flusher->lock);
    pthread_mutex_unlock(&flusher->lock);
}

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            return -1;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

int flusher_sync(int fd)
{
    int result;
    do
        result = fsync(fd);
    while (result == -1 && errno == EINTR);
    return result;
}

static int write_temporary(int folder, const char *name, const char *bytes, size_t len,
                           const char **ret_step)
{
    *ret_step = "unlink of the temporary file";
    if (unlinkat(folder, name, 0) == -1 && errno != ENOENT)
        return -1;
    *ret_step = "open of the temporary file";
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd == -1)
        return -1;
    *ret_step = "write";
    int result = write_all(fd, bytes, len);
    if (result == 0) {
        *ret_step = "fsync";
        result = flusher_sync(fd);
    }
    int saved = errno;
    if (close(fd) == -1 && result == 0) {
        *ret_step = "close";
        return -1;
    }
    errno = saved;
    return result;
}

int flusher_replace(int folder, const char *name, const char *previous, const char *bytes,
                    size_t len, const char **ret_step)
{
    char temporary[256];
    snprintf(temporary, sizeof(temporary), "%s.tmp", name);
    if (write_temporary(folder, temporary, bytes, len, ret_step) == -1)
        return -1;
    *ret_step = "rename to the previous one's name";
    if (previous != NULL && renameat(folder, name, folder, previous) == -1 && errno != ENOENT)
        return -1;
    *ret_step = "rename";
    if (renameat(folder, temporary, folder, name) == -1)
        return -1;
    *ret_step = "fsync of the folder";
    return flusher_sync(folder);
}
