#include "agent/io/uv_worker.h"

#include <assert.h>
#include <stdlib.h>

#include <uv.h>

#define STACK_SIZE (512 * 1024)

struct queue {
    struct worker_job *first, *last;
};

struct worker {
    /* The loop's thread alone. */
    uv_async_t wake;
    uv_thread_t thread;
    size_t pending;
    bool stopping;
    void (*stopped)(void *arg);
    void *arg;

    /* The worker's thread alone. */
    struct store *store;

    /* Both, under the lock. */
    uv_mutex_t lock;
    uv_cond_t work; /* a job was added, or ending was set */
    struct queue todo, finished;
    bool ending; /* no more jobs will come */
    bool ended;  /* the thread has closed the store and touches nothing any more */
};

static void push(struct queue *queue, struct worker_job *job)
{
    job->next = NULL;
    if (queue->last != NULL)
        queue->last->next = job;
    else
        queue->first = job;
    queue->last = job;
}

static struct worker_job *pop(struct queue *queue)
{
    struct worker_job *job = queue->first;

    if (job == NULL)
        return NULL;
    queue->first = job->next;
    if (queue->first == NULL)
        queue->last = NULL;
    return job;
}

/* Waits for a job; NULL when there will be none. */
static struct worker_job *next_job(struct worker *worker)
{
    struct worker_job *job;

    uv_mutex_lock(&worker->lock);
    while ((job = pop(&worker->todo)) == NULL && !worker->ending)
        uv_cond_wait(&worker->work, &worker->lock);
    uv_mutex_unlock(&worker->lock);
    return job;
}

static void work(void *arg)
{
    struct worker *worker = arg;
    struct worker_job *job;

    while ((job = next_job(worker)) != NULL) {
        job->run(job, worker->store);
        uv_mutex_lock(&worker->lock);
        push(&worker->finished, job);
        uv_mutex_unlock(&worker->lock);
        uv_async_send(&worker->wake);
    }
    store_close(worker->store);
    uv_mutex_lock(&worker->lock);
    worker->ended = true;
    uv_mutex_unlock(&worker->lock);
    uv_async_send(&worker->wake);
}

static void on_closed(uv_handle_t *handle)
{
    struct worker *worker = handle->data;
    void (*stopped)(void *) = worker->stopped;
    void *arg = worker->arg;

    uv_cond_destroy(&worker->work);
    uv_mutex_destroy(&worker->lock);
    free(worker);
    if (stopped != NULL)
        stopped(arg);
}

static void on_wake(uv_async_t *wake)
{
    struct worker *worker = wake->data;
    struct worker_job *job;
    struct queue finished;
    bool ended;

    uv_mutex_lock(&worker->lock);
    finished = worker->finished;
    worker->finished = (struct queue){NULL, NULL};
    ended = worker->ended;
    uv_mutex_unlock(&worker->lock);

    while ((job = pop(&finished)) != NULL) {
        worker->pending--;
        job->done(job); /* may free it, submit it again, or stop the worker */
    }
    if (ended && !uv_is_closing((uv_handle_t *)wake)) {
        assert(worker->pending == 0);
        uv_thread_join(&worker->thread);
        uv_close((uv_handle_t *)wake, on_closed);
    }
}

int worker_create(struct uv_loop_s *loop, struct store *store, struct worker **worker,
                  struct err *err)
{
    static const char what[] = "cannot start a worker thread";
    const uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE,
                                         .stack_size = STACK_SIZE};
    struct worker *w = calloc(1, sizeof *w);
    int rc;

    if (w == NULL)
        return err_set(err, ERR_NOMEM, "%s: out of memory", what);
    w->store = store;
    rc = uv_mutex_init(&w->lock);
    if (rc != 0)
        goto err_after_alloc;
    rc = uv_cond_init(&w->work);
    if (rc != 0)
        goto err_after_lock;
    rc = uv_async_init(loop, &w->wake, on_wake);
    if (rc != 0)
        goto err_after_cond;
    w->wake.data = w;
    rc = uv_thread_create_ex(&w->thread, &options, work, w);
    if (rc != 0) {
        /* From here on the handle is the loop's, which frees the rest. */
        uv_close((uv_handle_t *)&w->wake, on_closed);
        return err_set(err, ERR_IO, "%s: %s", what, uv_strerror(rc));
    }
    *worker = w;
    return ERR_NONE;

err_after_cond:
    uv_cond_destroy(&w->work);
err_after_lock:
    uv_mutex_destroy(&w->lock);
err_after_alloc:
    free(w);
    return err_set(err, rc == UV_ENOMEM ? ERR_NOMEM : ERR_IO, "%s: %s", what, uv_strerror(rc));
}

int worker_submit(struct worker *worker, struct worker_job *job, struct err *err)
{
    if (worker->stopping)
        return err_set(err, ERR_BUSY, "the worker takes no more jobs: agentd is stopping");
    if (worker->pending >= WORKER_QUEUE_MAX)
        return err_set(err, ERR_BUSY, "%d jobs wait for the disk already; try again later",
                       WORKER_QUEUE_MAX);
    worker->pending++;
    uv_mutex_lock(&worker->lock);
    push(&worker->todo, job);
    uv_cond_signal(&worker->work);
    uv_mutex_unlock(&worker->lock);
    return ERR_NONE;
}

size_t worker_pending(const struct worker *worker)
{
    return worker->pending;
}

void worker_stop(struct worker *worker, void (*stopped)(void *arg), void *arg)
{
    assert(!worker->stopping);
    worker->stopping = true;
    worker->stopped = stopped;
    worker->arg = arg;
    uv_mutex_lock(&worker->lock);
    worker->ending = true;
    uv_cond_signal(&worker->work);
    uv_mutex_unlock(&worker->lock);
}
