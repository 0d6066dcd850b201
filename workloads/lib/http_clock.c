/* Time for the HTTP server: deferred requests and clients that are too slow.
 *
 * The connections are few (http_config.connections), so one pass over their list finds both what is
 * due and the next time to look. */
#include <errno.h>
#include <sys/socket.h>
#include <time.h>

#include "workloads/lib/http_internal.h"

int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void clock_expect(struct http *http, int64_t when)
{
    if (when < http->clock_wakes)
        pthread_cond_signal(&http->clock_changed);
}

int64_t clock_look(struct http *http)
{
    int64_t now = now_us();
    int64_t next = NEVER;

    for (struct request *r = http->first; r != NULL; r = r->next) {
        int64_t deadline;
        if (r->resume_at != NEVER && (r->resume_at <= now || http->cancelled)) {
            r->resume_at = NEVER;
            atomic_store_explicit(&r->deadline, now + (int64_t)http->config.timeout_s * 1000000,
                                  memory_order_relaxed);
            MHD_resume_connection(r->connection);
        } else if (r->resume_at < next) {
            next = r->resume_at;
        }
        deadline = atomic_load_explicit(&r->deadline, memory_order_relaxed);
        if (deadline <= now) {
            /* The event thread sees the end of the stream and closes; until it has told so under
             * the lock, the descriptor stays this connection's. */
            shutdown(r->fd, SHUT_RDWR);
            atomic_store_explicit(&r->deadline, NEVER, memory_order_relaxed);
        } else if (deadline < next) {
            next = deadline;
        }
    }
    return next;
}

static void *run_clock(void *arg)
{
    struct http *http = arg;

    pthread_mutex_lock(&http->lock);
    while (!http->clock_stop) {
        http->clock_wakes = clock_look(http);
        if (http->clock_wakes == NEVER) {
            pthread_cond_wait(&http->clock_changed, &http->lock);
        } else {
            struct timespec until = {.tv_sec = (time_t)(http->clock_wakes / 1000000),
                                     .tv_nsec = (long)(http->clock_wakes % 1000000) * 1000};
            pthread_cond_timedwait(&http->clock_changed, &http->lock, &until);
        }
    }
    pthread_mutex_unlock(&http->lock);
    return NULL;
}

int clock_start(struct http *http, struct err *err)
{
    pthread_condattr_t attributes;
    int rc;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&http->clock_changed, &attributes);
    pthread_condattr_destroy(&attributes);
    http->clock_wakes = NEVER;
    rc = pthread_create(&http->clock, NULL, run_clock, http);
    if (rc != 0) {
        pthread_cond_destroy(&http->clock_changed);
        return err_errno(err, ERR_IO, rc, "start the clock thread of the HTTP server");
    }
    return ERR_NONE;
}

void clock_end(struct http *http)
{
    pthread_mutex_lock(&http->lock);
    http->clock_stop = true;
    pthread_cond_signal(&http->clock_changed);
    pthread_mutex_unlock(&http->lock);
    pthread_join(http->clock, NULL);
    pthread_cond_destroy(&http->clock_changed);
}
