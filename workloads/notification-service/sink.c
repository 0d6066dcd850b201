#include "workloads/notification-service/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "workloads/lib/emit.h"
#include "workloads/lib/scan.h"
#include "workloads/lib/out.h"

#define LINE_MAX_BYTES 4096

struct sink {
    char *program;
    pthread_mutex_t lock;
    pid_t child; /* 0: it does not run */
    int to;      /* its standard input */
    int from;    /* its standard output */
    struct {
        size_t len;
        char text[LINE_MAX_BYTES];
    } line;
};

int sink_new(struct sink **out, const char *program, struct err *err)
{
    struct sink *sink = calloc(1, sizeof *sink);

    if (sink == NULL)
        return err_set(err, ERR_NOMEM, "make the sink of notifications");
    pthread_mutex_init(&sink->lock, NULL);
    if (program != NULL) {
        sink->program = strdup(program);
        if (sink->program == NULL) {
            sink_free(sink);
            return err_set(err, ERR_NOMEM, "make the sink of notifications");
        }
    }
    *out = sink;
    return ERR_NONE;
}

/* The end of its input ends the program; one that hangs is killed. */
static void end_child(struct sink *sink)
{
    if (sink->child == 0)
        return;
    close(sink->to);
    close(sink->from);
    kill(sink->child, SIGTERM);
    while (waitpid(sink->child, NULL, 0) < 0 && errno == EINTR)
        ;
    sink->child = 0;
}

void sink_free(struct sink *sink)
{
    if (sink == NULL)
        return;
    end_child(sink);
    pthread_mutex_destroy(&sink->lock);
    free(sink->program);
    free(sink);
}

static int spawn(struct sink *sink, int in, int out_fd)
{
    char *const argv[] = {sink->program, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t pipe_signal;
    int rc;

    sigemptyset(&none);
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    rc = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &pipe_signal);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (rc == 0)
        rc = posix_spawn(&sink->child, sink->program, &actions, &attributes, argv, environ);
    if (rc != 0)
        sink->child = 0;
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return rc;
}

static int start_child(struct sink *sink, struct err *err)
{
    int in[2];
    int out_pipe[2];
    int rc;

    if (pipe2(in, O_CLOEXEC) != 0)
        return err_errno(err, ERR_IO, errno, "start %s", sink->program);
    if (pipe2(out_pipe, O_CLOEXEC) != 0) {
        rc = err_errno(err, ERR_IO, errno, "start %s", sink->program);
        close(in[0]);
        close(in[1]);
        return rc;
    }
    rc = spawn(sink, in[0], out_pipe[1]);
    close(in[0]);
    close(out_pipe[1]);
    sink->to = in[1];
    sink->from = out_pipe[0];
    sink->line.len = 0;
    if (rc == 0)
        return ERR_NONE;
    close(sink->to);
    close(sink->from);
    return err_errno(err, ERR_IO, rc, "start %s", sink->program);
}

static int write_request(struct sink *sink, const struct notice *notice, struct err *err)
{
    char storage[LINE_MAX_BYTES];
    struct out o;
    size_t at = 0;

    out_init(&o, storage, sizeof storage, 0);
    emit_object(&o);
    emit_key_string(&o, "id", notice->id);
    emit_key_string(&o, "to", notice->to);
    emit_key_string(&o, "text", notice->text);
    emit_object_end(&o);
    out_char(&o, '\n');
    if (o.failed)
        return err_set(err, ERR_LIMIT, "the notification is too long");
    while (at < o.len) { /* less than a pipe holds, and it waits for each: no blocking */
        ssize_t n = write(sink->to, o.data + at, o.len - at);
        if (n < 0 && errno != EINTR)
            return err_errno(err, ERR_IO, errno, "write to %s", sink->program);
        at += n > 0 ? (size_t)n : 0;
    }
    return ERR_NONE;
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Reads one line, which lies in sink->line without its end. */
static int read_answer(struct sink *sink, struct err *err)
{
    int64_t end = now_ms() + SINK_WAIT_S * INT64_C(1000);

    sink->line.len = 0;
    for (;;) {
        struct pollfd p = {.fd = sink->from, .events = POLLIN};
        int64_t left = end - now_ms();
        ssize_t n;
        if (left <= 0)
            return err_set(err, ERR_TIMEOUT, "%s did not answer in %d s", sink->program,
                           SINK_WAIT_S);
        if (poll(&p, 1, (int)left) <= 0)
            continue;
        n = read(sink->from, sink->line.text + sink->line.len,
                 sizeof sink->line.text - sink->line.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set(err, ERR_IO, "%s ended; its reason is on standard error", sink->program);
        sink->line.len += (size_t)n;
        if (sink->line.text[sink->line.len - 1] == '\n') {
            sink->line.len--;
            return ERR_NONE;
        }
        if (sink->line.len == sizeof sink->line.text)
            return err_set(err, ERR_LIMIT, "%s answered with too long a line", sink->program);
    }
}

/* {"id":"...","result":"sent|later|refused","reason":"..."} */
static enum job_end understand(struct sink *sink, const struct notice *notice, struct err *err)
{
    char id[NOTICE_ID_TEXT] = "";
    char result[16] = "";
    char reason[256] = "";
    struct scan in;
    struct span key;

    scan_begin(&in, sink->line.text, sink->line.len);
    if (scan_object(&in))
        while (scan_member(&in, &key)) {
            if (span_is(key, "id"))
                (void)scan_string(&in, id, sizeof id);
            else if (span_is(key, "result"))
                (void)scan_string(&in, result, sizeof result);
            else if (span_is(key, "reason"))
                (void)scan_string(&in, reason, sizeof reason);
            else
                (void)scan_skip(&in);
        }
    if (!scan_end(&in) || strcmp(id, notice->id) != 0) {
        end_child(sink);
        err_set(err, ERR_INVALID, "%s answered with something else", sink->program);
        return JOB_LATER;
    }
    if (strcmp(result, "sent") == 0)
        return JOB_DONE;
    err_set(err, ERR_IO, "mail: %s", reason);
    return strcmp(result, "refused") == 0 ? JOB_REFUSE : JOB_LATER;
}

enum job_end sink_send(struct sink *sink, const struct notice *notice, struct err *err)
{
    enum job_end end = JOB_LATER;

    if (sink->program == NULL)
        return JOB_DONE;
    pthread_mutex_lock(&sink->lock);
    if (sink->child != 0 || start_child(sink, err) == ERR_NONE) {
        if (write_request(sink, notice, err) != ERR_NONE || read_answer(sink, err) != ERR_NONE)
            end_child(sink);
        else
            end = understand(sink, notice, err);
    }
    pthread_mutex_unlock(&sink->lock);
    return end;
}
