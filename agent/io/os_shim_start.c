/* The start of a run under a new shim, and of the next one under the same. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/io/os_shim_inside.h"
#include "agent/shim/message.h"

/* Its text; the caller wipes and frees it. */
static int encode(const struct shim_spec *spec, char **text, size_t *len, struct err *err)
{
    int rc;

    *text = malloc(SHIM_SPEC_MAX);
    if (*text == NULL)
        return err_set(err, ERR_NOMEM, "start %s: out of memory", spec->instance);
    rc = shim_spec_encode(spec, *text, SHIM_SPEC_MAX, len, err);
    if (rc != ERR_NONE)
        free(*text);
    return rc;
}

/* In memory that only the shim can read: it may hold secrets. */
static int spec_file(const char *instance, const char *text, size_t len, int *fd, struct err *err)
{
    size_t done = 0;
    int f = memfd_create("covey-spec", MFD_CLOEXEC);

    if (f < 0)
        return err_errno(err, ERR_IO, errno, "start %s: make its specification", instance);
    while (done < len) {
        ssize_t n = write(f, text + done, len - done);
        if (n <= 0) {
            int rc = err_errno(err, ERR_IO, errno, "start %s: write its specification", instance);
            close(f);
            return rc;
        }
        done += (size_t)n;
    }
    *fd = f;
    return ERR_NONE;
}

/* Runs the program with @spec, @client and @sockets on the descriptors it expects. Returns an
 * errno.
 */
static int spawn(const char *program, const char *instance, int spec, int client,
                 const int *sockets, uint32_t count, pid_t *pid)
{
    char *const argv[] = {(char *)"agent-shim", (char *)instance, NULL};
    char *const env[] = {NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t all;
    int rc;

    sigemptyset(&none);
    sigfillset(&all);
    rc = posix_spawn_file_actions_init(&actions);
    if (rc != 0)
        return rc;
    rc = posix_spawnattr_init(&attributes);
    if (rc != 0)
        goto out_after_actions;
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    rc = posix_spawn_file_actions_adddup2(&actions, spec, SHIM_FD_SPEC);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&actions, client, SHIM_FD_CLIENT);
    for (uint32_t i = 0; i < count && rc == 0; i++)
        rc = posix_spawn_file_actions_adddup2(&actions, sockets[i], SHIM_FD_LISTEN + (int)i);
    if (rc == 0)
        rc = posix_spawn(pid, program, &actions, &attributes, argv, env);
    posix_spawnattr_destroy(&attributes);
out_after_actions:
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

/* Moves @fd above the numbers that spawn gives away: a dup2 must not close a later one's source. */
static int move_up(int *fd)
{
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, SHIM_FD_LISTEN + SHIM_LISTEN_MAX);

    if (moved < 0)
        return errno;
    close(*fd);
    *fd = moved;
    return 0;
}

/* Copies of the sockets, likewise above. Returns an errno; what was copied is in @copies. */
static int copy_sockets(const struct shim_spec *spec, int copies[SHIM_LISTEN_MAX], uint32_t *count)
{
    for (*count = 0; *count < spec->listen; ++*count) {
        copies[*count] =
            fcntl(spec->sockets[*count], F_DUPFD_CLOEXEC, SHIM_FD_LISTEN + SHIM_LISTEN_MAX);
        if (copies[*count] < 0)
            return errno;
    }
    return 0;
}

static int start_with(const struct os_shims *where, const struct shim_spec *spec,
                      struct os_shim *shim, struct err *err)
{
    int sockets[SHIM_LISTEN_MAX];
    uint32_t count = 0;
    int ends[2];
    int spec_fd = -1;
    int errnum;
    char *text;
    size_t len;
    int rc = encode(spec, &text, &len, err);

    if (rc != ERR_NONE)
        return rc;
    rc = spec_file(spec->instance, text, len, &spec_fd, err);
    explicit_bzero(text, len);
    free(text);
    if (rc != ERR_NONE)
        return rc;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) {
        close(spec_fd);
        return err_errno(err, ERR_IO, errno, "start %s: make a socket", spec->instance);
    }
    errnum = move_up(&spec_fd);
    if (errnum == 0)
        errnum = move_up(&ends[1]);
    if (errnum == 0)
        errnum = copy_sockets(spec, sockets, &count);
    if (errnum == 0)
        errnum =
            spawn(where->program, spec->instance, spec_fd, ends[1], sockets, count, &shim->starter);
    while (count > 0)
        close(sockets[--count]);
    close(spec_fd);
    close(ends[1]);
    if (errnum != 0) {
        close(ends[0]);
        return err_errno(err, errnum == ENOENT ? ERR_NOTFOUND : ERR_IO, errnum, "run %s",
                         where->program);
    }
    shim->fd = ends[0];
    return ERR_NONE;
}

/* @spec with its folders, which are made. */
static int complete(const struct os_shims *where, const struct shim_spec *spec,
                    struct shim_spec *whole, char dir[OS_SHIM_PATH], char log_dir[OS_SHIM_PATH],
                    struct err *err)
{
    char name[INSTANCE_MAX];
    int rc = os_shim_folder(where, spec->instance, dir, err);

    if (rc == ERR_NONE)
        rc = os_shim_make_folder(dir, 0700, err);
    if (rc == ERR_NONE && where->log_dir != NULL) {
        shim_instance_file(spec->instance, name);
        rc = os_shim_join(log_dir, where->log_dir, "", name, err);
        if (rc == ERR_NONE)
            rc = os_shim_make_folder(log_dir, 0750, err);
    }
    if (rc != ERR_NONE)
        return rc;
    *whole = *spec;
    whole->dir = dir;
    whole->log_dir = where->log_dir != NULL ? log_dir : NULL;
    return ERR_NONE;
}

int os_shim_start(const struct os_shims *where, const struct shim_spec *spec,
                  struct os_shim **result, struct err *err)
{
    struct shim_spec whole;
    char dir[OS_SHIM_PATH];
    char log_dir[OS_SHIM_PATH];
    struct os_shim *shim;
    int rc = complete(where, spec, &whole, dir, log_dir, err);

    if (rc != ERR_NONE)
        return rc;
    shim = calloc(1, sizeof *shim);
    if (shim == NULL)
        return err_set(err, ERR_NOMEM, "start %s: out of memory", spec->instance);
    snprintf(shim->last.instance, sizeof shim->last.instance, "%s", spec->instance);
    shim->last.generation = spec->generation;
    rc = os_shim_open_folder(where, spec->instance, &shim->dir, err);
    if (rc != ERR_NONE)
        goto err_after_calloc;
    rc = start_with(where, &whole, shim, err);
    if (rc != ERR_NONE)
        goto err_after_open;
    *result = shim;
    return ERR_NONE;

err_after_open:
    close(shim->dir);
err_after_calloc:
    free(shim);
    return rc;
}

/* ---- the run that follows ---- */

static uint64_t mix_file(uint64_t ticket, const char *path)
{
    struct stat st = {.st_ino = 0};

    if (stat(path, &st) != 0)
        return hash64_mix(ticket, 1);
    ticket = hash64_mix(hash64_mix(ticket, st.st_dev), st.st_ino);
    if (!S_ISREG(st.st_mode)) /* what is in a folder may change */
        return ticket;
    return hash64_mix(hash64_mix(ticket, (uint64_t)st.st_mtim.tv_sec),
                      (uint64_t)st.st_mtim.tv_nsec);
}

/* Names the text and whatever else a process that is kept ready has been made of: of another ticket
 * is what must be made anew. Never 0. */
static uint64_t ticket_of(const struct os_shims *where, const struct shim_spec *spec,
                          const char *text, size_t len)
{
    uint64_t ticket = mix_file(hash64(text, len), where->program);

    if (spec->sandbox.seccomp != NULL)
        ticket = mix_file(ticket, spec->sandbox.seccomp);
    for (size_t i = 0; spec->sandbox.paths[i] != NULL; i++)
        ticket = mix_file(ticket, spec->sandbox.paths[i]);
    return ticket != 0 ? ticket : 1;
}

/* The text and the ticket of @spec, but for its deadline, which is told when it runs. */
static int describe_next(const struct os_shims *where, const struct shim_spec *spec, char **text,
                         size_t *len, uint64_t *ticket, struct err *err)
{
    struct shim_spec whole;
    char dir[OS_SHIM_PATH];
    char log_dir[OS_SHIM_PATH];
    int rc = complete(where, spec, &whole, dir, log_dir, err);

    whole.deadline_ms = 0;
    if (rc == ERR_NONE)
        rc = encode(&whole, text, len, err);
    if (rc == ERR_NONE)
        *ticket = ticket_of(where, &whole, *text, *len);
    return rc;
}

static int send_spec(struct os_shim *shim, uint64_t ticket, int fd, struct err *err)
{
    const struct shim_request request = {.type = SHIM_ASK_PREPARE, .ticket = ticket};
    char buffer[SHIM_REQUEST_MAX];

    if (!shim_message_send(shim->fd, buffer, shim_request_encode(&request, buffer), &fd, 1))
        return err_errno(err, ERR_UNREACHABLE, errno, "ask the shim of %s", shim->last.instance);
    return ERR_NONE;
}

int os_shim_keep_ready(const struct os_shims *where, struct os_shim *shim,
                       const struct shim_spec *spec, struct err *err)
{
    uint64_t ticket;
    char *text;
    size_t len;
    int fd = -1;
    int rc = describe_next(where, spec, &text, &len, &ticket, err);

    if (rc != ERR_NONE)
        return rc;
    rc = spec_file(spec->instance, text, len, &fd, err);
    if (rc == ERR_NONE)
        rc = send_spec(shim, ticket, fd, err);
    if (fd >= 0)
        close(fd);
    explicit_bzero(text, len);
    free(text);
    return rc;
}

int os_shim_next(const struct os_shims *where, struct os_shim *shim, const struct shim_spec *spec,
                 struct err *err)
{
    struct shim_request request = {.type = SHIM_ASK_NEXT, .deadline_ms = spec->deadline_ms};
    char *text;
    size_t len;
    int rc = describe_next(where, spec, &text, &len, &request.ticket, err);

    if (rc != ERR_NONE)
        return rc;
    explicit_bzero(text, len);
    free(text);
    if (request.ticket != shim->last.standby)
        return err_set(err, ERR_CONFLICT, "the next process of %s was prepared for something else",
                       spec->instance);
    rc = os_shim_request(shim, &request, err);
    if (rc == ERR_NONE)
        shim->ended = shim->last.pid;
    return rc;
}
