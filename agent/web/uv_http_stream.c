/* Streams of server-sent events: connections that stay suspended until there is something to say.
 */
#include "agent/web/uv_http_parts.h"

#include <stdlib.h>
#include <string.h>

#define STREAM_BLOCK 8192

static ssize_t read_stream(void *context, uint64_t position, char *buffer, size_t room)
{
    struct stream *stream = context;
    size_t n;

    (void)position;
    if (stream->gone)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (stream->exchange->http->closing)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (stream->pending == NULL) {
        stream->pending = stream->newest;
        stream->newest = NULL;
        stream->pending_sent = 0;
        stream->pending_size = stream->pending != NULL ? strlen(stream->pending) : 0;
    }
    if (stream->pending == NULL) { /* until the next broadcast */
        http_suspend(stream->exchange);
        return 0;
    }
    n = stream->pending_size - stream->pending_sent;
    if (n > room)
        n = room;
    memcpy(buffer, stream->pending + stream->pending_sent, n);
    stream->pending_sent += n;
    if (stream->pending_sent == stream->pending_size) {
        free(stream->pending);
        stream->pending = NULL;
    }
    return (ssize_t)n;
}

static void on_hangup(uv_poll_t *poll, int status, int events)
{
    struct stream *stream = poll->data;

    (void)status;
    (void)events;
    uv_poll_stop(poll);
    stream->gone = true;
    http_resume(stream->exchange);
}

static void stream_closed(uv_handle_t *handle)
{
    struct stream *stream = handle->data;

    free(stream->pending);
    free(stream->newest);
    free(stream);
}

void http_stream_end(struct stream *stream)
{
    uv_close((uv_handle_t *)&stream->hangup, stream_closed);
}

static struct stream *stream_create(struct exchange *exchange, const char *first)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct stream *stream = calloc(1, sizeof *stream);

    if (info == NULL || stream == NULL)
        goto err;
    stream->exchange = exchange;
    stream->newest = strdup(first);
    if (stream->newest == NULL ||
        uv_poll_init(exchange->http->loop, &stream->hangup, info->connect_fd) != 0)
        goto err;
    stream->hangup.data = stream;
    uv_poll_start(&stream->hangup, UV_DISCONNECT, on_hangup);
    return stream;

err:
    if (stream != NULL)
        free(stream->newest);
    free(stream);
    return NULL;
}

void uv_http_stream(struct http_request *request, const char *first)
{
    struct exchange *exchange = (struct exchange *)request;
    struct uv_http *http = exchange->http;

    if (strcmp(request->method, "HEAD") == 0) {
        uv_http_reply(request, MHD_HTTP_OK, "text/event-stream", NULL, 0, NULL);
        return;
    }
    if (exchange->connection == NULL || http->stream_count >= HTTP_STREAMS_MAX) {
        uv_http_text(request, 503, "%d pages watch already, which is the limit: close one\n",
                     HTTP_STREAMS_MAX);
        return;
    }
    exchange->stream = stream_create(exchange, first);
    if (exchange->stream == NULL) {
        uv_http_text(request, 503, "%s\n", err_text(ERR_NOMEM));
        return;
    }
    http->stream_count++;
    exchange->answered = true;
    exchange->status = MHD_HTTP_OK;
    exchange->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK,
                                                           read_stream, exchange->stream, NULL);
    if (exchange->response != NULL) {
        MHD_add_response_header(exchange->response, "Content-Type", "text/event-stream");
        http_add_headers(exchange->response, NULL);
    }
    http_resume(exchange);
}

size_t uv_http_streams(const struct uv_http *http)
{
    return http->stream_count;
}

void http_say(struct uv_http *http, const char *text, bool idle_only)
{
    for (struct exchange *e = http->exchanges; e != NULL; e = e->next) {
        struct stream *stream = e->stream;
        char *copy;
        if (stream == NULL || (idle_only && (stream->newest != NULL || stream->pending != NULL)))
            continue;
        copy = strdup(text);
        if (copy == NULL)
            continue;
        free(stream->newest);
        stream->newest = copy;
        http_resume(e);
    }
}

void uv_http_broadcast(struct uv_http *http, const char *text)
{
    http_say(http, text, false);
}
