/* smartbiz-ui: the page of SmartBiz, and its API under /api, so that a browser sees one origin.
 *
 *     API_URL      where smartbiz-api is (http://127.0.0.1:8000)
 *     API_TIMEOUT  seconds that it may take (10)
 *
 * and the variables of workloads/lib/service.h without HTTP_THREADS; PORT is 8080. The files of
 * web/ are part of the program, also as gzip and Brotli have packed them. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "workloads/lib/service.h"
#include "workloads/lib/stop.h"
#include "workloads/smartbiz-ui/files.h"
#include "workloads/smartbiz-ui/upstream.h"

#define API_BODY_MAX (1u << 20)

struct program {
    struct service service;
    struct upstream_config config;
    struct upstream *upstream;
    int stop_fd;
    bool stopping;
};

/* --- files -------------------------------------------------------------------------------- */

/* True when the list of codings has @coding and does not weigh it with 0 (RFC 9110, 12.5.3). */
static bool accepts(const struct request *request, const char *coding)
{
    const char *list = request_header(request, "Accept-Encoding");
    size_t len = strlen(coding);

    while (list != NULL && *list != '\0') {
        const char *end;
        list += strspn(list, " \t,");
        end = list + strcspn(list, ",");
        if (strncmp(list, coding, len) == 0 && strchr(" \t;,", list[len]) != NULL) {
            const char *weight = strstr(list, "q=");
            return weight == NULL || weight > end ||
                   strspn(weight + 2, "0.") < strcspn(weight + 2, ", \t");
        }
        list = end;
    }
    return false;
}

static const struct file_form *choose(const struct request *request, const struct file *file,
                                      const char **coding)
{
    *coding = "br";
    if (file->brotli.len > 0 && accepts(request, "br"))
        return &file->brotli;
    *coding = "gzip";
    if (file->gzip.len > 0 && accepts(request, "gzip"))
        return &file->gzip;
    *coding = NULL;
    return &file->plain;
}

static void add_headers(struct request *request, const struct file *file, const char *tag,
                        const char *coding)
{
    reply_header(request, "ETag", tag);
    reply_header(request, "Cache-Control",
                 "no-cache"); /* asked for each time, sent when it is new */
    reply_header(request, "Vary", "Accept-Encoding");
    if (coding != NULL)
        reply_header(request, "Content-Encoding", coding);
    reply_header(request, "X-Content-Type-Options", "nosniff");
    reply_header(request, "Referrer-Policy", "no-referrer");
    if (strncmp(file->type, "text/html", 9) == 0)
        reply_header(request, "Content-Security-Policy",
                     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                     "connect-src 'self'; form-action 'none'; base-uri 'none'; "
                     "frame-ancestors 'none'");
}

static void send_file(struct request *request, const struct file *file)
{
    const char *known = request_header(request, "If-None-Match");
    const struct file_form *form;
    const char *coding;
    char tag[48];

    form = choose(request, file, &coding);
    snprintf(tag, sizeof tag, "\"%s%s%s\"", file->hash, coding != NULL ? "-" : "",
             coding != NULL ? coding : "");
    if (known != NULL && strstr(known, tag) != NULL)
        reply_empty(request, 304);
    else
        reply_constant(request, 200, file->type, form->bytes, form->len);
    add_headers(request, file, tag, coding);
}

static void get_file(struct request *request, const char *name)
{
    for (size_t i = 0; i < file_count; i++) {
        if (strcmp(files[i].name, name) == 0) {
            send_file(request, &files[i]);
            return;
        }
    }
    reply_problem(request, 404, NULL, "there is nothing at this path");
}

static void get_index(struct request *request, void *context)
{
    (void)context;
    get_file(request, "index.html");
}

static void get_named(struct request *request, void *context)
{
    (void)context;
    get_file(request, request_param(request, 0));
}

/* --- the API ------------------------------------------------------------------------------ */

static void ask_api(struct request *request, void *context)
{
    struct program *program = context;

    upstream_ask(program->upstream, request);
}

static const struct route routes[] = {
    {"GET", "/api/*", ask_api, 0},
    {"POST", "/api/*", ask_api, API_BODY_MAX},
    {"PUT", "/api/*", ask_api, API_BODY_MAX},
    {"PATCH", "/api/*", ask_api, API_BODY_MAX},
    {"DELETE", "/api/*", ask_api, API_BODY_MAX},
    {"GET", "/health", handle_health, 0},
    {"GET", "/ready", handle_ready, 0},
    {"GET", "/metrics", handle_metrics, 0},
    {"GET", "/", get_index, 0},
    {"GET", "/{file}", get_named, 0},
};

/* --- the loop ------------------------------------------------------------------------------- */

static int shorter(int one, int other)
{
    return one < 0 ? other : other < 0 || one < other ? one : other;
}

static void turn(void *context, unsigned ms)
{
    struct program *program = context;
    struct http *http = program->service.http;
    struct pollfd fds[] = {{.fd = http_fd(http), .events = POLLIN},
                           {.fd = upstream_fd(program->upstream), .events = POLLIN},
                           {.fd = program->stop_fd, .events = POLLIN}};
    int wait = shorter(shorter(http_wait_ms(http), upstream_wait_ms(program->upstream)), (int)ms);

    if (poll(fds, program->stopping ? 2 : 3, wait) < 0 && errno != EINTR)
        return;
    if (fds[2].revents != 0)
        program->stopping = true;
    upstream_run(program->upstream);
    http_run(http);
}

static void cancel(void *context)
{
    struct program *program = context;

    upstream_cancel(program->upstream);
}

int main(void)
{
    struct program program = {.stop_fd = -1};
    struct service *service = &program.service;
    struct err err;
    int status = service_init(service, "smartbiz-ui", 8080);

    if (status != 0)
        goto out;
    program.config.url = env_string(&service->env, "API_URL", "http://127.0.0.1:8000");
    program.config.prefix = "/api";
    program.config.timeout_ms = (unsigned)env_int(&service->env, "API_TIMEOUT", 10, 1, 300) * 1000;
    service->config.turn = turn;
    service->config.cancel = cancel;
    status = env_check(&service->env, "smartbiz-ui");
    if (status != 0)
        goto out;
    program.stop_fd = stop_fd();
    if (program.stop_fd < 0 || upstream_new(&program.config, &program.upstream, &err) != ERR_NONE) {
        fprintf(stderr, "smartbiz-ui: %s\n", program.stop_fd < 0 ? strerror(errno) : err.text);
        status = 1;
        goto out;
    }
    status = service_start(service, routes, sizeof routes / sizeof routes[0], &program, true);
    if (status != 0)
        goto out;
    while (!program.stopping)
        turn(&program, 1000);
    status = service_stop(service);
out:
    upstream_free(program.upstream);
    if (program.stop_fd >= 0)
        close(program.stop_fd);
    service_free(service);
    return status;
}
