#include "agent/io/os_shim.h"
#include "agent/io/os_shim_inside.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/shim/files.h"
#include "agent/shim/message.h"
#include "agent/shim/processes.h"

/* ---- folders ---- */

int os_shim_make_folder(const char *path, mode_t mode, struct err *err)
{
    if (mkdir(path, mode) != 0 && errno != EEXIST)
        return err_errno(err, ERR_IO, errno, "make the folder %s", path);
    return ERR_NONE;
}

/* "<base>/<middle><name>"; errors: ERR_LIMIT. */
int os_shim_join(char path[OS_SHIM_PATH], const char *base, const char *middle, const char *name,
                 struct err *err)
{
    int n = snprintf(path, OS_SHIM_PATH, "%s/%s%s", base, middle, name);

    if (n < 0 || n >= OS_SHIM_PATH)
        return err_set(err, ERR_LIMIT, "the path %.64s… is longer than %d bytes", base,
                       OS_SHIM_PATH);
    return ERR_NONE;
}

int os_shim_folder(const struct os_shims *where, const char *instance, char path[OS_SHIM_PATH],
                   struct err *err)
{
    char name[INSTANCE_MAX];

    if (!shim_instance_valid(instance))
        return err_set(err, ERR_INVALID, "\"%.64s\" is no name of an instance", instance);
    shim_instance_file(instance, name);
    return os_shim_join(path, where->run_dir, OS_SHIM_FOLDER "/", name, err);
}

int os_shim_open_folder(const struct os_shims *where, const char *instance, int *dir,
                        struct err *err)
{
    char path[OS_SHIM_PATH];
    int rc = os_shim_folder(where, instance, path, err);

    if (rc != ERR_NONE)
        return rc;
    *dir = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (*dir < 0)
        return err_errno(err, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, errno, "open the folder %s",
                         path);
    return ERR_NONE;
}

int os_shim_prepare(const struct os_shims *where, struct err *err)
{
    char path[OS_SHIM_PATH];
    int rc = os_shim_join(path, where->run_dir, OS_SHIM_FOLDER, "", err);

    if (rc == ERR_NONE)
        rc = os_shim_make_folder(path, 0700, err);
    if (rc == ERR_NONE && where->log_dir != NULL)
        rc = os_shim_make_folder(where->log_dir, 0750, err);
    return rc;
}

/* ---- talking ---- */

/* Connects by way of the folder's descriptor: the path may be longer than a socket's address. */
static int connect_socket(int dir, int *result)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return errno;
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/" SHIM_SOCKET, dir);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int errnum = errno;
        close(fd);
        return errnum;
    }
    *result = fd;
    return 0;
}

int os_shim_connect(const struct os_shims *where, const char *instance, struct os_shim **result,
                    struct err *err)
{
    struct os_shim *shim = calloc(1, sizeof *shim);
    int errnum;
    int rc;

    if (shim == NULL)
        return err_set(err, ERR_NOMEM, "connect to the shim of %s: out of memory", instance);
    rc = os_shim_open_folder(where, instance, &shim->dir, err);
    if (rc != ERR_NONE)
        goto err_after_calloc;
    errnum = connect_socket(shim->dir, &shim->fd);
    if (errnum != 0) {
        rc = err_errno(err, errnum == ENOENT || errnum == ECONNREFUSED ? ERR_NOTFOUND : ERR_IO,
                       errnum, "connect to the shim of %s", instance);
        goto err_after_open;
    }
    snprintf(shim->last.instance, sizeof shim->last.instance, "%s", instance);
    shim_file_read(shim->dir, SHIM_STATUS, &shim->last);
    *result = shim;
    return ERR_NONE;

err_after_open:
    close(shim->dir);
err_after_calloc:
    free(shim);
    return rc;
}

int os_shim_fd(const struct os_shim *shim)
{
    return shim->fd;
}

static void close_sockets(struct os_shim *shim)
{
    while (shim->socket_count > 0)
        close(shim->sockets[--shim->socket_count]);
}

static void reap_starter(struct os_shim *shim)
{
    /* It does nothing but fork, and has done so when the shim speaks or its socket is closed. */
    while (shim->starter > 0 && waitpid(shim->starter, NULL, 0) < 0 && errno == EINTR)
        ;
    shim->starter = 0;
}

static enum os_shim_event_type classify(const struct shim_record *record)
{
    switch (record->state) {
    case SHIM_FAILED:
        return OS_SHIM_FAILED;
    case SHIM_EXITED:
        return OS_SHIM_EXITED;
    default:
        return OS_SHIM_STATUS;
    }
}

/* The connection is closed. Either the workload's end is recorded, or the shim was killed. */
static void read_end(struct os_shim *shim, struct os_shim_event *event)
{
    struct shim_record end;

    event->type = OS_SHIM_LOST;
    event->record = shim->last;
    if (shim->last.shim_pid != 0 && shim_file_read(shim->dir, SHIM_EXIT, &end) == ERR_NONE &&
        end.shim_pid == shim->last.shim_pid && end.pid != shim->ended) {
        event->type = OS_SHIM_EXITED;
        event->record = end;
    }
}

/* Said before it went on with the next run. */
static bool is_old(const struct os_shim *shim, const struct shim_record *record)
{
    return record->state == SHIM_EXITED && record->pid == shim->ended;
}

/* The first record that a shim sends may come with sockets. */
static ssize_t receive(struct os_shim *shim, char *buffer, size_t size)
{
    int sockets[SHIM_LISTEN_MAX];
    size_t count;
    ssize_t n = shim_message_receive(shim->fd, buffer, size, sockets, SHIM_LISTEN_MAX, &count);

    if (count == 0)
        return n;
    close_sockets(shim);
    memcpy(shim->sockets, sockets, count * sizeof *sockets);
    shim->socket_count = (uint32_t)count;
    return n;
}

uint32_t os_shim_take_sockets(struct os_shim *shim, int sockets[SHIM_LISTEN_MAX])
{
    uint32_t count = shim->socket_count;

    memcpy(sockets, shim->sockets, count * sizeof *sockets);
    shim->socket_count = 0;
    return count;
}

void os_shim_read(struct os_shim *shim, struct os_shim_event *event)
{
    char buffer[SHIM_RECORD_MAX];
    ssize_t n;

    for (;;) {
        n = receive(shim, buffer, sizeof buffer);
        /* A shim that ended without reading our last request: its last words come after this. */
        if (n < 0 && (errno == EINTR || errno == ECONNRESET))
            continue;
        if (n < 0 && errno == EAGAIN) {
            *event = (struct os_shim_event){.type = OS_SHIM_NONE};
            return;
        }
        reap_starter(shim);
        if (n <= 0) {
            read_end(shim, event);
            return;
        }
        /* Not understood, a record of some later version: what counts comes with the end. */
        if ((size_t)n <= sizeof buffer &&
            shim_record_decode(buffer, (size_t)n, &event->record) == ERR_NONE &&
            !is_old(shim, &event->record))
            break;
    }
    shim->last = event->record;
    event->type = classify(&event->record);
}

int os_shim_request(struct os_shim *shim, const struct shim_request *request, struct err *err)
{
    char buffer[SHIM_REQUEST_MAX];
    size_t len = shim_request_encode(request, buffer);

    if (!shim_message_send(shim->fd, buffer, len, NULL, 0))
        return err_errno(err, ERR_UNREACHABLE, errno, "ask the shim of %s", shim->last.instance);
    return ERR_NONE;
}

int os_shim_ask(struct os_shim *shim, struct err *err)
{
    const struct shim_request request = {.type = SHIM_ASK_STATUS};

    return os_shim_request(shim, &request, err);
}

int os_shim_stop(struct os_shim *shim, int signal, int64_t timeout_ms, struct err *err)
{
    const struct shim_request request = {
        .type = SHIM_ASK_STOP, .signal = signal, .timeout_ms = timeout_ms < 0 ? -1 : timeout_ms};

    return os_shim_request(shim, &request, err);
}

int os_shim_extend(struct os_shim *shim, int64_t deadline_ms, struct err *err)
{
    const struct shim_request request = {.type = SHIM_ASK_EXTEND, .deadline_ms = deadline_ms};

    return os_shim_request(shim, &request, err);
}

void os_shim_close(struct os_shim *shim)
{
    if (shim == NULL)
        return;
    reap_starter(shim);
    close_sockets(shim);
    close(shim->fd);
    close(shim->dir);
    free(shim);
}
