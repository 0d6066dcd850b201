/* A worker thread beside a libuv loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include <uv.h>

#include "agent/io/uv_worker.h"
#include "tests/unit/store_dir.h"

#define JOBS 1000

struct bench {
    uv_loop_t loop;
    struct worker *worker;
    pthread_t loop_thread;
    int done; /* jobs that came back */
    bool stopped;
    int left; /* jobs still to be submitted by those that come back */
};

struct job {
    struct worker_job base; /* first, so that a worker_job is a job */
    struct bench *bench;
    int number;
    int code;              /* what the store said */
    uint32_t boot;         /* by the store */
    pthread_t thread;      /* that ran it */
    pthread_mutex_t *gate; /* run waits for it; may be NULL */
};

static void run_boot(struct worker_job *base, struct store *store)
{
    struct job *job = (struct job *)base;

    job->thread = pthread_self();
    if (job->gate != NULL) {
        pthread_mutex_lock(job->gate);
        pthread_mutex_unlock(job->gate);
    }
    job->code = store == NULL ? ERR_NOTFOUND : store_next_boot(store, 1, &job->boot, NULL);
}

static void on_stopped(void *arg)
{
    struct bench *bench = arg;

    assert_false(bench->stopped);
    bench->stopped = true;
}

/* In order, on the loop's thread, with what run left behind. */
static void check_done(struct job *job)
{
    struct bench *bench = job->bench;

    assert_true(pthread_equal(pthread_self(), bench->loop_thread));
    assert_false(pthread_equal(job->thread, bench->loop_thread));
    assert_int_equal(job->number, bench->done);
    assert_false(bench->stopped);
    bench->done++;
}

static void done_plain(struct worker_job *base)
{
    check_done((struct job *)base);
}

/* Submits itself again as long as there are jobs left, then stops the worker. */
static void done_again(struct worker_job *base)
{
    struct job *job = (struct job *)base;
    struct bench *bench = job->bench;
    struct err err = {0};

    check_done(job);
    assert_int_equal(job->code, ERR_NONE);
    assert_int_equal(job->boot, 1 + (unsigned)(bench->done - 1) * STORE_BOOT_STRIDE);
    if (bench->left > 0) {
        bench->left--;
        job->number += 8;
        OK(worker_submit(bench->worker, base, &err));
    } else if (worker_pending(bench->worker) == 0) {
        worker_stop(bench->worker, on_stopped, bench);
        assert_int_equal(worker_submit(bench->worker, base, &err), ERR_BUSY);
    }
}

static void make_worker(struct bench *bench, const struct store_dir *dir)
{
    struct store *store = NULL;
    struct err err = {0};

    bench->loop_thread = pthread_self();
    assert_int_equal(uv_loop_init(&bench->loop), 0);
    if (dir != NULL)
        OK(store_open(dir->path, &store, NULL, &err));
    OK(worker_create(&bench->loop, store, &bench->worker, &err));
}

static void end_loop(struct bench *bench)
{
    assert_int_equal(uv_run(&bench->loop, UV_RUN_DEFAULT), 0);
    assert_true(bench->stopped);
    assert_int_equal(uv_loop_close(&bench->loop), 0);
}

static void jobs_run_in_order_and_come_back(void **state)
{
    const struct store_dir *dir = *state;
    struct bench bench = {.left = JOBS - 8};
    struct job jobs[8];
    struct store *store;
    struct err err = {0};
    uint32_t boot = 0;

    make_worker(&bench, dir);
    for (int i = 0; i < 8; i++) {
        jobs[i] = (struct job){
            .base = {.run = run_boot, .done = done_again}, .bench = &bench, .number = i};
        OK(worker_submit(bench.worker, &jobs[i].base, &err));
    }
    end_loop(&bench);
    assert_int_equal(bench.done, JOBS);
    /* The worker has closed the store: it can be opened again, and holds what was done. */
    OK(store_open(dir->path, &store, NULL, &err));
    OK(store_next_boot(store, 1, &boot, &err));
    assert_int_equal(boot, 1 + JOBS * STORE_BOOT_STRIDE);
    store_close(store);
}

static void queue_is_bounded(void **state)
{
    static struct job jobs[WORKER_QUEUE_MAX + 1];
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    struct bench bench = {0};
    struct err err = {0};
    (void)state;

    make_worker(&bench, NULL);
    pthread_mutex_lock(&gate);
    for (int i = 0; i <= WORKER_QUEUE_MAX; i++)
        jobs[i] = (struct job){.base = {.run = run_boot, .done = done_plain},
                               .bench = &bench,
                               .number = i,
                               .gate = &gate};
    for (int i = 0; i < WORKER_QUEUE_MAX; i++)
        OK(worker_submit(bench.worker, &jobs[i].base, &err));
    FAILS(worker_submit(bench.worker, &jobs[WORKER_QUEUE_MAX].base, &err), ERR_BUSY, "128 jobs");
    assert_int_equal(worker_pending(bench.worker), WORKER_QUEUE_MAX);
    /* What was taken is done before the worker stops, though stopping was asked for first. */
    worker_stop(bench.worker, on_stopped, &bench);
    FAILS(worker_submit(bench.worker, &jobs[WORKER_QUEUE_MAX].base, &err), ERR_BUSY, "stopping");
    pthread_mutex_unlock(&gate);
    end_loop(&bench);
    assert_int_equal(bench.done, WORKER_QUEUE_MAX);
    assert_int_equal(jobs[0].code, ERR_NOTFOUND);
}

static void idle_worker_stops(void **state)
{
    struct bench bench = {0};

    make_worker(&bench, *state);
    worker_stop(bench.worker, on_stopped, &bench);
    end_loop(&bench);
    assert_int_equal(bench.done, 0);
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, store_dir_make, store_dir_remove)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(jobs_run_in_order_and_come_back),
        cmocka_unit_test(queue_is_bounded),
        IN_FOLDER(idle_worker_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
