/* HTTP/1.1 over the control socket: one request, one answer, one connection. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "tools/agentctl/agentctl.h"

#define ANSWER_MAX (32 * 1024 * 1024)
#define HEADER_MAX 24576

static int connect_agent(const struct context *context, int *fd, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval timeout = {.tv_sec = context->timeout_s};
    int code = ERR_UNREACHABLE;
    int s;

    if (strlen(context->socket) >= sizeof address.sun_path)
        return err_set(err, ERR_USAGE, "--socket: the path is longer than %zu bytes",
                       sizeof address.sun_path - 1);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", context->socket);
    s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s < 0)
        return err_errno(err, ERR_IO, errno, "make a socket");
    if (setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0 ||
        setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) != 0) {
        err_errno(err, ERR_IO, errno, "set the time limit");
        close(s);
        return ERR_IO;
    }
    if (connect(s, (struct sockaddr *)&address, sizeof address) == 0) {
        *fd = s;
        return ERR_NONE;
    }
    if (errno == EACCES || errno == EPERM)
        code = err_set(err, ERR_DENIED,
                       "the agent at %s may not be asked by this user: use sudo, or become a "
                       "member of the group covey",
                       context->socket);
    else
        err_set(err, code,
                "no agent answers at %s (%s). Is it running? systemctl status agentd; or name "
                "another socket by --socket",
                context->socket, strerror(errno));
    close(s);
    return code;
}

static int send_all(int fd, const char *data, size_t size, struct err *err)
{
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, ERR_UNREACHABLE, errno, "talk to the agent");
        data += n;
        size -= (size_t)n;
    }
    return ERR_NONE;
}

/* Everything until the agent closes; a zero behind it. */
static int receive_all(int fd, char **data, size_t *size, struct err *err)
{
    size_t room = 65536;
    size_t used = 0;
    char *buffer = malloc(room);

    while (buffer != NULL) {
        ssize_t n;
        if (used + 1 >= room) {
            char *grown = room < ANSWER_MAX ? realloc(buffer, room * 2) : NULL;
            if (grown == NULL)
                break;
            buffer = grown;
            room *= 2;
        }
        n = recv(fd, buffer + used, room - used - 1, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            bool late = errno == EAGAIN || errno == EWOULDBLOCK;
            free(buffer);
            if (late)
                return err_set(err, ERR_TIMEOUT,
                               "the agent did not answer in time. Raise --timeout, or see "
                               "journalctl -u agentd");
            return err_errno(err, ERR_UNREACHABLE, errno, "read the agent's answer");
        }
        if (n == 0) {
            buffer[used] = '\0';
            *data = buffer;
            *size = used;
            return ERR_NONE;
        }
        used += (size_t)n;
    }
    free(buffer);
    return err_set(err, ERR_LIMIT, "the agent's answer is too large");
}

/* Whether as many bytes came as the head said (RFC 9112, section 6.3). */
static bool is_whole(const char *head, size_t size)
{
    const char *length = strcasestr(head, "\r\ncontent-length:");

    return length == NULL || strtoull(strchr(length, ':') + 1, NULL, 10) == size;
}

static int code_of_status(long status)
{
    switch (status) {
    case 400:
        return ERR_INVALID;
    case 401:
    case 403:
        return ERR_DENIED;
    case 404:
        return ERR_NOTFOUND;
    case 409:
        return ERR_CONFLICT;
    case 503:
        return ERR_UNREACHABLE;
    case 504:
        return ERR_TIMEOUT;
    default:
        return ERR_IO;
    }
}

static int understand(char *data, size_t size, json_t **answer, char **text, struct err *err)
{
    char *body = strstr(data, "\r\n\r\n");
    json_error_t json_error;
    long status;
    bool is_json;

    if (size == 0)
        return err_set(err, ERR_UNREACHABLE, "the agent ended before it had answered");
    if (strncmp(data, "HTTP/1.1 ", 9) != 0 || body == NULL)
        return err_set(err, ERR_IO, "what answers at the socket is no agent");
    *body = '\0';
    body += 4;
    size -= (size_t)(body - data);
    status = strtol(data + 9, NULL, 10);
    is_json = strcasestr(data, "content-type: application/json") != NULL;
    if (!is_whole(data, size))
        return err_set(err, ERR_UNREACHABLE, "the agent's answer was cut off");
    if (status < 200 || status > 299) {
        size_t len = strcspn(body, "\n");
        if (len == 0)
            return err_set(err, code_of_status(status), "the agent answered with status %ld",
                           status);
        return err_set(err, code_of_status(status), "%.*s", (int)len, body);
    }
    if (!is_json && answer != NULL)
        return err_set(err, ERR_IO, "the agent's answer is no JSON");
    if (answer != NULL) {
        *answer = json_loadb(body, size, 0, &json_error);
        if (*answer == NULL)
            return err_set(err, ERR_IO, "the agent's answer is no JSON: %s", json_error.text);
    }
    if (text != NULL) {
        *text = malloc(size + 1);
        if (*text == NULL)
            return err_set(err, ERR_NOMEM, "read the answer: %s", err_text(ERR_NOMEM));
        memcpy(*text, body, size + 1);
    }
    return ERR_NONE;
}

/* Takes @payload, which may be NULL. */
static int request(const struct context *context, const char *method, const char *path,
                   char *payload, json_t **answer, char **text, struct err *err)
{
    size_t payload_size = payload != NULL ? strlen(payload) : 0;
    char header[HEADER_MAX];
    char *data = NULL;
    size_t size = 0;
    int fd = -1;
    int n;
    int rc;

    n = snprintf(header, sizeof header,
                 "%s %s HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n"
                 "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                 method, path, payload_size);
    if (n < 0 || (size_t)n >= sizeof header) {
        free(payload);
        return err_set(err, ERR_USAGE, "the request is too long");
    }
    rc = connect_agent(context, &fd, err);
    if (rc == ERR_NONE)
        rc = send_all(fd, header, (size_t)n, err);
    if (rc == ERR_NONE && payload != NULL)
        rc = send_all(fd, payload, payload_size, err);
    if (rc == ERR_NONE)
        rc = receive_all(fd, &data, &size, err);
    if (rc == ERR_NONE)
        rc = understand(data, size, answer, text, err);
    if (fd >= 0)
        close(fd);
    free(data);
    free(payload);
    return rc;
}

int client_request(const struct context *context, const char *method, const char *path,
                   const json_t *body, json_t **answer, char **text, struct err *err)
{
    return request(context, method, path, body != NULL ? json_dumps(body, JSON_COMPACT) : NULL,
                   answer, text, err);
}

int client_send(const struct context *context, const char *path, const char *text, json_t **answer,
                struct err *err)
{
    return request(context, "POST", path, strdup(text), answer, NULL, err);
}
