#include "agent/io/os_child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/io/os_child_inside.h"

#define OUTPUT_FIRST 4096 /* bytes that stdout's buffer begins with; doubled when full */
#define QUOTE_MAX 240     /* bytes of stderr in an error's text */
#define FIRST_SIGNAL 128  /* added to a signal's number in a status, as shells do */

static int64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void feed_input(struct child *child)
{
    const char *input = child->spec->input;
    size_t left = child->spec->input_size - child->written;
    ssize_t n = left > 0 ? write(child->in, input + child->written, left) : 0;

    if (n > 0)
        child->written += (size_t)n;
    if (child->written == child->spec->input_size || (n < 0 && errno != EAGAIN && errno != EINTR))
        child_close_fd(&child->in); /* all is written, or the program reads no more */
}

static int grow_output(struct child *child, struct err *err)
{
    size_t most = child->spec->output_max + 1; /* one byte more tells that there is too much */
    size_t capacity = child->capacity == 0 ? OUTPUT_FIRST : child->capacity * 2;
    char *output;

    if (capacity > most)
        capacity = most;
    output = realloc(child->output, capacity + 1);
    if (output == NULL)
        return err_set(err, ERR_NOMEM, "cannot read what %s prints: out of memory",
                       child->spec->argv[0]);
    child->output = output;
    child->capacity = capacity;
    return ERR_NONE;
}

static int take_output(struct child *child, struct err *err)
{
    ssize_t n;

    if (child->size == child->capacity) {
        int rc = grow_output(child, err);
        if (rc != ERR_NONE)
            return rc;
    }
    n = read(child->out, child->output + child->size, child->capacity - child->size);
    if (n > 0)
        child->size += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        child_close_fd(&child->out);
    if (child->size > child->spec->output_max)
        return err_set(err, ERR_LIMIT, "%s printed more than %zu bytes", child->spec->argv[0],
                       child->spec->output_max);
    return ERR_NONE;
}

static void take_errors(struct child *child)
{
    char rest[1024];
    size_t left = CHILD_ERRORS_MAX - 1 - child->errors_size;
    ssize_t n;

    if (left > 0)
        n = read(child->errors, child->result->errors + child->errors_size, left);
    else
        n = read(child->errors, rest, sizeof rest); /* nobody reads it, but it must not block */
    if (n > 0 && left > 0)
        child->errors_size += (size_t)n;
    else if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        child_close_fd(&child->errors);
}

/* Whether the child has ended, without reaping it: its process group stays its own until then. */
static bool has_ended(const struct child *child)
{
    siginfo_t info = {0};

    return waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == child->pid;
}

/* Moves bytes until the child has ended and its pipes are drained, or the time is up. A descendant
 * that keeps the pipes open does not hold up the end. */
static int pump(struct child *child, int64_t deadline, struct err *err)
{
    for (;;) {
        struct pollfd fds[4] = {{.fd = child->in, .events = POLLOUT},
                                {.fd = child->out, .events = POLLIN},
                                {.fd = child->errors, .events = POLLIN},
                                {.fd = child->pidfd, .events = POLLIN}};
        int64_t left = deadline - now_ms();
        bool ended = has_ended(child);
        int ready, rc;

        if (ended && child->out < 0 && child->errors < 0)
            return ERR_NONE;
        if (left <= 0)
            return ended ? ERR_NONE
                         : err_set(err, ERR_TIMEOUT, "%s did not end within %d ms; it was stopped",
                                   child->spec->argv[0], child->spec->timeout_ms);
        /* Without a pidfd (Linux before 5.3) the end of a child that closed its pipes is looked for
         * now and then. */
        if (child->pidfd < 0 && left > 50)
            left = 50;
        ready = poll(fds, 4, ended ? 0 : (int)left);
        if (ready < 0 && errno != EINTR)
            return err_errno(err, ERR_IO, errno, "cannot wait for %s", child->spec->argv[0]);
        if (ready <= 0) {
            if (ended)
                return ERR_NONE;
            continue;
        }
        if (fds[0].revents != 0)
            feed_input(child);
        rc = fds[1].revents != 0 ? take_output(child, err) : ERR_NONE;
        if (rc != ERR_NONE)
            return rc;
        if (fds[2].revents != 0)
            take_errors(child);
        if (ended && fds[1].revents == 0 && fds[2].revents == 0)
            return ERR_NONE;
    }
}

/* SIGTERM, and SIGKILL after the grace: git removes its lock files when it is asked to end. */
static void stop(struct child *child)
{
    int64_t until = now_ms() + CHILD_GRACE_MS;

    (void)kill(-child->pid, SIGTERM);
    while (!has_ended(child) && now_ms() < until) {
        struct pollfd end = {.fd = child->pidfd, .events = POLLIN};
        int64_t left = until - now_ms();

        if (child->pidfd < 0 && left > 50)
            left = 50;
        (void)poll(&end, 1, left > 0 ? (int)left : 0);
    }
}

/* Writing to a program that ended must not end this one; the signal is taken from this thread. */
static bool block_sigpipe(sigset_t *before)
{
    sigset_t pipe_only, pending;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    (void)sigpending(&pending);
    (void)pthread_sigmask(SIG_BLOCK, &pipe_only, before);
    return sigismember(&pending, SIGPIPE) == 1;
}

static void unblock_sigpipe(const sigset_t *before, bool was_pending)
{
    const struct timespec at_once = {0};
    sigset_t pipe_only;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    if (!was_pending)
        while (sigtimedwait(&pipe_only, NULL, &at_once) < 0 && errno == EINTR)
            ;
    (void)pthread_sigmask(SIG_SETMASK, before, NULL);
}

int child_run(const struct child_spec *spec, struct child_result *result, struct err *err)
{
    int64_t deadline = now_ms() + spec->timeout_ms;
    struct child_result found = {0};
    struct child child = {
        .spec = spec, .pidfd = -1, .in = -1, .out = -1, .errors = -1, .result = &found};
    sigset_t before;
    bool was_pending = block_sigpipe(&before);
    int status = 0;
    int rc = grow_output(&child, err);

    if (rc == ERR_NONE)
        rc = child_start(&child, err);
    if (rc != ERR_NONE)
        goto err_before_start;
    rc = pump(&child, deadline, err);
    if (rc != ERR_NONE)
        stop(&child);
    /* The child is not reaped yet, so its process group is still its own. */
    (void)kill(-child.pid, SIGKILL);
    child_reap(&child, &status);
    child_close_fd(&child.pidfd);
    child_close_fd(&child.in);
    child_close_fd(&child.out);
    child_close_fd(&child.errors);
err_before_start:
    unblock_sigpipe(&before, was_pending);
    if (rc != ERR_NONE) {
        free(child.output);
        return rc;
    }
    child.output[child.size] = '\0';
    found.output = child.output;
    found.output_size = child.size;
    found.status = WIFSIGNALED(status) ? FIRST_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
    *result = found;
    return ERR_NONE;
}

void child_result_free(struct child_result *result)
{
    free(result->output);
    result->output = NULL;
}

int child_failed(const struct child_result *result, int code, struct err *err, const char *what)
{
    char quote[QUOTE_MAX];
    size_t used = 0;

    /* Line ends become "; ", other control characters spaces: the text may stand in a table. */
    for (const char *p = result->errors; *p != '\0' && used + 3 < sizeof quote; p++) {
        if (*p == '\n' && p[1] != '\0') {
            quote[used++] = ';';
            quote[used++] = ' ';
        } else if (*p != '\n') {
            quote[used++] = (unsigned char)*p < ' ' || *p == 127 ? ' ' : *p;
        }
    }
    quote[used] = '\0';
    if (result->status > FIRST_SIGNAL)
        return err_set(err, code, "%s: ended by signal %d (%s): %s", what,
                       result->status - FIRST_SIGNAL, strsignal(result->status - FIRST_SIGNAL),
                       quote);
    return err_set(err, code, "%s: exit code %d: %s", what, result->status,
                   used > 0 ? quote : "it said nothing");
}
