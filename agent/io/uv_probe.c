#include "agent/io/uv_probe.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define REQUEST_MAX 2048
#define STATUS_LINE_MAX 256 /* bytes of an answer that are looked at */

struct uv_probe {
    uv_tcp_t tcp;
    uv_process_t process;
    uv_timer_t timer;
    uv_connect_t connect;
    uv_write_t write;
    enum desired_probe_kind kind;
    bool process_runs;
    bool done;
    int handles;
    char request[REQUEST_MAX];
    char answer[STATUS_LINE_MAX];
    size_t used;
    void (*report)(void *context, bool success, const char *reason);
    void *context;
};

static void closed(uv_handle_t *handle)
{
    struct uv_probe *probe = handle->data;

    if (--probe->handles == 0)
        free(probe);
}

static void close_all(struct uv_probe *probe)
{
    uv_handle_t *main_handle = probe->kind == DESIRED_PROBE_EXEC ? (uv_handle_t *)&probe->process
                                                                 : (uv_handle_t *)&probe->tcp;

    if (!uv_is_closing((uv_handle_t *)&probe->timer))
        uv_close((uv_handle_t *)&probe->timer, closed);
    if (!uv_is_closing(main_handle))
        uv_close(main_handle, closed);
}

static void finish(struct uv_probe *probe, bool success, const char *reason)
{
    if (probe->done)
        return;
    probe->done = true;
    probe->report(probe->context, success, reason);
    /* A child that is being killed keeps its handle until it is reaped. */
    if (!probe->process_runs)
        close_all(probe);
}

static void give_up(struct uv_probe *probe, const char *reason)
{
    if (probe->process_runs)
        (void)kill(-probe->process.pid, SIGKILL);
    finish(probe, false, reason);
}

static void on_timeout(uv_timer_t *timer)
{
    give_up(timer->data, "no answer in time");
}

void uv_probe_cancel(struct uv_probe *probe)
{
    give_up(probe, "given up");
}

/* ---- HTTP and TCP ---- */

static void judge_status(struct uv_probe *probe)
{
    char reason[PROBE_REASON_MAX];
    long status = 0;

    probe->answer[probe->used] = '\0';
    if (strncmp(probe->answer, "HTTP/1.", 7) == 0 && probe->used > 9)
        status = strtol(probe->answer + 9, NULL, 10);
    if (status >= 200 && status <= 399) {
        finish(probe, true, "");
        return;
    }
    if (status == 0)
        snprintf(reason, sizeof reason, "the answer is no HTTP");
    else
        snprintf(reason, sizeof reason, "HTTP status %ld", status);
    finish(probe, false, reason);
}

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct uv_probe *probe = handle->data;

    (void)suggested;
    *buffer = uv_buf_init(probe->answer + probe->used,
                          (unsigned)(sizeof probe->answer - 1 - probe->used));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct uv_probe *probe = stream->data;

    (void)buffer;
    if (n > 0)
        probe->used += (size_t)n;
    if (n < 0 || probe->used >= 12 || memchr(probe->answer, '\n', probe->used) != NULL)
        judge_status(probe);
}

static void on_connect(uv_connect_t *connect, int status)
{
    struct uv_probe *probe = connect->data;
    char reason[PROBE_REASON_MAX];
    uv_buf_t buffer;

    if (probe->done)
        return;
    if (status != 0) {
        snprintf(reason, sizeof reason, "connect: %s", uv_strerror(status));
        finish(probe, false, reason);
        return;
    }
    if (probe->kind == DESIRED_PROBE_TCP) {
        finish(probe, true, "");
        return;
    }
    buffer = uv_buf_init(probe->request, (unsigned)strlen(probe->request));
    status = uv_write(&probe->write, (uv_stream_t *)&probe->tcp, &buffer, 1, NULL);
    if (status == 0)
        status = uv_read_start((uv_stream_t *)&probe->tcp, give_buffer, on_read);
    if (status != 0)
        finish(probe, false, uv_strerror(status));
}

static int start_connect(struct uv_probe *probe, const struct uv_probe_spec *spec)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(spec->target.port)};
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(spec->target.port)};
    const struct sockaddr *address = (const struct sockaddr *)&in4;
    char text[ADDR_TEXT];

    memcpy(&in4.sin_addr, spec->target.ip, 4);
    memcpy(&in6.sin6_addr, spec->target.ip, 16);
    if (spec->target.family == 6)
        address = (const struct sockaddr *)&in6;
    addr_format(&spec->target, text);
    /* HTTP/1.0: the answer ends with the connection, and no chunks need to be understood. */
    snprintf(probe->request, sizeof probe->request,
             "GET %.1500s HTTP/1.0\r\nHost: %s\r\nUser-Agent: covey-probe\r\n\r\n",
             spec->probe->path != NULL ? spec->probe->path : "/", text);
    probe->connect.data = probe;
    return uv_tcp_connect(&probe->connect, &probe->tcp, address, on_connect);
}

/* ---- exec ---- */

static void on_child_exit(uv_process_t *process, int64_t status, int signal)
{
    struct uv_probe *probe = process->data;
    char reason[PROBE_REASON_MAX];

    probe->process_runs = false;
    if (probe->done) {
        close_all(probe);
        return;
    }
    if (signal != 0)
        snprintf(reason, sizeof reason, "the command ended by signal %d", signal);
    else
        snprintf(reason, sizeof reason, "the command ended with exit code %d", (int)status);
    finish(probe, status == 0 && signal == 0, status == 0 && signal == 0 ? "" : reason);
}

static int start_exec(struct uv_probe *probe, uv_loop_t *loop, const struct uv_probe_spec *spec)
{
    const char *const *argv = spec->argv != NULL ? spec->argv : spec->probe->command;
    uv_process_options_t options = {0};
    int rc;

    options.file = argv[0];
    options.args = (char **)(uintptr_t)argv;
    options.env = (char **)(uintptr_t)spec->env;
    options.cwd = spec->cwd;
    options.exit_cb = on_child_exit;
    options.flags = UV_PROCESS_DETACHED; /* a group of its own: a timeout ends all of it */
    if (spec->set_ids) {
        options.flags |= UV_PROCESS_SETUID | UV_PROCESS_SETGID;
        options.uid = spec->uid;
        options.gid = spec->gid;
    }
    rc = uv_spawn(loop, &probe->process, &options);
    probe->process_runs = rc == 0;
    return rc;
}

/* Reports a start that failed, from the loop and not from within uv_probe_start. */
static void on_failed_start(uv_timer_t *timer)
{
    struct uv_probe *probe = timer->data;

    finish(probe, false, probe->answer);
}

int uv_probe_start(uv_loop_t *loop, const struct uv_probe_spec *spec, struct uv_probe **out)
{
    struct uv_probe *probe = calloc(1, sizeof *probe);
    int rc;

    if (probe == NULL)
        return ERR_NOMEM;
    probe->kind = spec->probe->kind;
    probe->report = spec->done;
    probe->context = spec->context;
    probe->handles = 2;
    uv_timer_init(loop, &probe->timer);
    probe->timer.data = probe->tcp.data = probe->process.data = probe;
    if (probe->kind == DESIRED_PROBE_EXEC) {
        rc = start_exec(probe, loop, spec);
    } else {
        uv_tcp_init(loop, &probe->tcp);
        rc = start_connect(probe, spec);
    }
    if (rc != 0) {
        snprintf(probe->answer, sizeof probe->answer, "start: %s", uv_strerror(rc));
        uv_timer_start(&probe->timer, on_failed_start, 0, 0);
    } else {
        uv_timer_start(&probe->timer, on_timeout,
                       spec->timeout_ms > 0 ? (uint64_t)spec->timeout_ms : 1, 0);
    }
    *out = probe;
    return ERR_NONE;
}
