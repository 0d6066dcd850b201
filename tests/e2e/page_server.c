/* page_server [SCENARIO [PORT]]: serves the status page of a flock made by hand
 * (tests/lib/status_fixture.h) on 127.0.0.1, as agentd serves its own, and prints the port (a free
 * one unless it is said). Beside the page: POST /scenario?name=NAME changes the flock and says so
 * to the streams, POST /quit ends, GET /streams says how many streams are open. */
#include <arpa/inet.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "agent/web/page.h"
#include "agent/web/status_json.h"
#include "agent/web/uv_http.h"
#include "tests/lib/status_fixture.h"

struct server {
    uv_loop_t loop;
    struct uv_http *http;
    struct status_fixture fixture;
};

static void get_page(struct server *s, struct http_request *request)
{
    const struct status *status = s->fixture.outside ? NULL : &s->fixture.status;
    char *html;
    size_t size;

    if (page_render(status, s->fixture.status.self_name, s->fixture.events, s->fixture.event_count,
                    &html, &size) != ERR_NONE)
        uv_http_text(request, 500, "out of memory\n");
    else
        uv_http_reply(request, 200, "text/html; charset=utf-8", html, size, page_headers());
}

static char *status_text(const struct server *s)
{
    json_t *document = status_json(&s->fixture.status);
    char *text = document != NULL ? json_dumps(document, JSON_COMPACT) : NULL;

    json_decref(document);
    return text != NULL ? text : strdup("{}");
}

static void get_asset(struct http_request *request, const struct page_asset *asset)
{
    char *copy = malloc(asset->size);

    if (copy == NULL)
        abort();
    memcpy(copy, asset->data, asset->size);
    uv_http_reply(request, 200, asset->type, copy, asset->size, asset->headers);
}

static void set_scenario(struct server *s, struct http_request *request)
{
    const char *name = http_query(request, "name");
    char *json;
    char *text;

    if (name == NULL || !status_fixture(name, &s->fixture)) {
        uv_http_text(request, 404, "there is no such scenario\n");
        return;
    }
    json = status_text(s);
    if (asprintf(&text, "event: status\ndata: %s\n\n", json) < 0)
        abort();
    uv_http_broadcast(s->http, text);
    free(text);
    free(json);
    uv_http_text(request, 200, "now it is %s\n", name);
}

static void closed(void *context)
{
    struct server *s = context;

    s->http = NULL;
}

static void post(struct server *s, struct http_request *request)
{
    if (strcmp(request->path, "/scenario") == 0) {
        set_scenario(s, request);
    } else if (strcmp(request->path, "/quit") == 0) {
        uv_http_text(request, 200, "good bye\n");
        uv_http_close(s->http, closed, s);
    } else {
        uv_http_text(request, 405, "the page is read-only\n");
    }
}

static void handle(void *context, struct http_request *request)
{
    struct server *s = context;
    const struct page_asset *asset = page_asset(request->path);
    char *json;

    if (strcmp(request->method, "POST") == 0) {
        post(s, request);
    } else if (strcmp(request->path, "/") == 0) {
        get_page(s, request);
    } else if (asset != NULL) {
        get_asset(request, asset);
    } else if (strcmp(request->path, "/v1/status") == 0) {
        json = status_text(s);
        uv_http_reply(request, 200, "application/json", json, strlen(json), NULL);
    } else if (strcmp(request->path, "/v1/stream") == 0) {
        uv_http_stream(request, "event: status\ndata: {}\n\n");
    } else if (strcmp(request->path, "/streams") == 0) {
        uv_http_text(request, 200, "%zu", uv_http_streams(s->http));
    } else {
        uv_http_text(request, 404, "there is nothing at %s\n", request->path);
    }
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, 64) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        perror("page_server: listen");
        exit(1);
    }
    printf("%u\n", (unsigned)ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    static struct server s;
    struct uv_http_config config = {.handle = handle, .context = &s};
    struct err err;

    if (!status_fixture(argc > 1 ? argv[1] : "healthy", &s.fixture)) {
        fprintf(stderr, "page_server: there is no scenario %s\n", argv[1]);
        return 2;
    }
    config.fd = listen_on(argc > 2 ? (uint16_t)strtoul(argv[2], NULL, 10) : 0);
    uv_loop_init(&s.loop);
    if (uv_http_create(&s.loop, &config, &s.http, &err) != ERR_NONE) {
        fprintf(stderr, "page_server: %s\n", err.text);
        return 1;
    }
    uv_run(&s.loop, UV_RUN_DEFAULT);
    return uv_loop_close(&s.loop) != 0;
}
