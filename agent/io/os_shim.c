#include "agent/io/os_shim.h"

#include <assert.h>
#include <dirent.h>
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
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/shim/files.h"
#include "agent/shim/processes.h"

#define PATH_BYTES 4096
#define FOLDER "shim"

struct os_shim {
    int fd;
    int dir;       /* of the instance */
    pid_t starter; /* the program that was started: it forks the shim and ends. 0: reaped */
    struct shim_record last; /* shim_pid 0: none came yet */
};

/* ---- folders ---- */

static int make_folder(const char *path, mode_t mode, struct err *err)
{
    if (mkdir(path, mode) != 0 && errno != EEXIST)
        return err_errno(err, ERR_IO, errno, "make the folder %s", path);
    return ERR_NONE;
}

/* "<base>/<middle><name>"; errors: ERR_LIMIT. */
static int join(char path[PATH_BYTES], const char *base, const char *middle, const char *name,
                struct err *err)
{
    int n = snprintf(path, PATH_BYTES, "%s/%s%s", base, middle, name);

    if (n < 0 || n >= PATH_BYTES)
        return err_set(err, ERR_LIMIT, "the path %.64s… is longer than %d bytes", base, PATH_BYTES);
    return ERR_NONE;
}

static int instance_dir(const struct os_shims *where, const char *instance, char path[PATH_BYTES],
                        struct err *err)
{
    char name[INSTANCE_MAX];

    if (!shim_instance_valid(instance))
        return err_set(err, ERR_INVALID, "\"%.64s\" is no name of an instance", instance);
    shim_instance_file(instance, name);
    return join(path, where->run_dir, FOLDER "/", name, err);
}

static int open_instance(const struct os_shims *where, const char *instance, int *dir,
                         struct err *err)
{
    char path[PATH_BYTES];
    int rc = instance_dir(where, instance, path, err);

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
    char path[PATH_BYTES];
    int rc = join(path, where->run_dir, FOLDER, "", err);

    if (rc == ERR_NONE)
        rc = make_folder(path, 0700, err);
    if (rc == ERR_NONE && where->log_dir != NULL)
        rc = make_folder(where->log_dir, 0750, err);
    return rc;
}

/* ---- starting ---- */

/* The specification in memory that only the shim can read: it may hold secrets. */
static int spec_file(const struct shim_spec *spec, int *fd, struct err *err)
{
    char *buffer = malloc(SHIM_SPEC_MAX);
    size_t done = 0;
    size_t len = 0;
    int rc;
    int f;

    if (buffer == NULL)
        return err_set(err, ERR_NOMEM, "start %s: out of memory", spec->instance);
    rc = shim_spec_encode(spec, buffer, SHIM_SPEC_MAX, &len, err);
    if (rc != ERR_NONE)
        goto err_after_malloc;
    f = memfd_create("covey-spec", MFD_CLOEXEC);
    if (f < 0) {
        rc = err_errno(err, ERR_IO, errno, "start %s: make its specification", spec->instance);
        goto err_after_encode;
    }
    while (done < len) {
        ssize_t n = write(f, buffer + done, len - done);
        if (n <= 0) {
            rc = err_errno(err, ERR_IO, errno, "start %s: write its specification", spec->instance);
            close(f);
            goto err_after_encode;
        }
        done += (size_t)n;
    }
    *fd = f;
err_after_encode:
    explicit_bzero(buffer, len);
err_after_malloc:
    free(buffer);
    return rc;
}

/* Runs the program with @spec and @client on the descriptors it expects. Returns an errno. */
static int spawn(const char *program, const char *instance, int spec, int client, pid_t *pid)
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
    if (rc == 0)
        rc = posix_spawn(pid, program, &actions, &attributes, argv, env);
    posix_spawnattr_destroy(&attributes);
out_after_actions:
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

/* Moves @fd above the numbers that spawn gives away: the second dup2 must not close the first's
 * source. */
static int move_up(int *fd)
{
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, SHIM_FD_CLIENT + 1);

    if (moved < 0)
        return errno;
    close(*fd);
    *fd = moved;
    return 0;
}

static int start_with(const struct os_shims *where, const struct shim_spec *spec,
                      struct os_shim *shim, struct err *err)
{
    int ends[2];
    int spec_fd = -1;
    int errnum;
    int rc = spec_file(spec, &spec_fd, err);

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
        errnum = spawn(where->program, spec->instance, spec_fd, ends[1], &shim->starter);
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

int os_shim_start(const struct os_shims *where, const struct shim_spec *spec,
                  struct os_shim **result, struct err *err)
{
    struct shim_spec whole = *spec;
    char dir[PATH_BYTES];
    char log_dir[PATH_BYTES];
    char name[INSTANCE_MAX];
    struct os_shim *shim;
    int rc;

    rc = instance_dir(where, spec->instance, dir, err);
    if (rc == ERR_NONE)
        rc = make_folder(dir, 0700, err);
    if (rc == ERR_NONE && where->log_dir != NULL) {
        shim_instance_file(spec->instance, name);
        rc = join(log_dir, where->log_dir, "", name, err);
        if (rc == ERR_NONE)
            rc = make_folder(log_dir, 0750, err);
    }
    if (rc != ERR_NONE)
        return rc;
    whole.dir = dir;
    whole.log_dir = where->log_dir != NULL ? log_dir : NULL;
    shim = calloc(1, sizeof *shim);
    if (shim == NULL)
        return err_set(err, ERR_NOMEM, "start %s: out of memory", spec->instance);
    snprintf(shim->last.instance, sizeof shim->last.instance, "%s", spec->instance);
    shim->last.generation = spec->generation;
    rc = open_instance(where, spec->instance, &shim->dir, err);
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
    rc = open_instance(where, instance, &shim->dir, err);
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
        end.shim_pid == shim->last.shim_pid) {
        event->type = OS_SHIM_EXITED;
        event->record = end;
    }
}

void os_shim_read(struct os_shim *shim, struct os_shim_event *event)
{
    char buffer[SHIM_RECORD_MAX];
    ssize_t n;

    for (;;) {
        n = recv(shim->fd, buffer, sizeof buffer, MSG_DONTWAIT | MSG_TRUNC);
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
            shim_record_decode(buffer, (size_t)n, &event->record) == ERR_NONE)
            break;
    }
    shim->last = event->record;
    event->type = classify(&event->record);
}

static int ask(struct os_shim *shim, const struct shim_request *request, struct err *err)
{
    char buffer[SHIM_REQUEST_MAX];
    size_t len = shim_request_encode(request, buffer);

    if (send(shim->fd, buffer, len, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)len)
        return err_errno(err, ERR_UNREACHABLE, errno, "ask the shim of %s", shim->last.instance);
    return ERR_NONE;
}

int os_shim_ask(struct os_shim *shim, struct err *err)
{
    const struct shim_request request = {.type = SHIM_ASK_STATUS};

    return ask(shim, &request, err);
}

int os_shim_stop(struct os_shim *shim, int signal, int64_t timeout_ms, struct err *err)
{
    const struct shim_request request = {
        .type = SHIM_ASK_STOP, .signal = signal, .timeout_ms = timeout_ms < 0 ? -1 : timeout_ms};

    return ask(shim, &request, err);
}

int os_shim_extend(struct os_shim *shim, int64_t deadline_ms, struct err *err)
{
    const struct shim_request request = {.type = SHIM_ASK_EXTEND, .deadline_ms = deadline_ms};

    return ask(shim, &request, err);
}

void os_shim_close(struct os_shim *shim)
{
    if (shim == NULL)
        return;
    reap_starter(shim);
    close(shim->fd);
    close(shim->dir);
    free(shim);
}

/* ---- what is left ---- */

void os_shim_acknowledge(const struct os_shims *where, const char *instance, struct os_shim *shim)
{
    const struct shim_request request = {.type = SHIM_ASK_ACKNOWLEDGE};
    char path[PATH_BYTES];
    int dir;
    int lock;

    if (shim != NULL)
        ask(shim, &request, NULL);
    if (open_instance(where, instance, &dir, NULL) != ERR_NONE)
        return;
    /* Under its lock: a shim that starts meanwhile has its files, or makes them anew. */
    if (shim_lock_take(dir, &lock, NULL) == ERR_NONE) {
        unlinkat(dir, SHIM_EXIT, 0);
        unlinkat(dir, SHIM_STATUS, 0);
        unlinkat(dir, SHIM_SOCKET, 0);
        unlinkat(dir, SHIM_LOCK, 0);
        if (instance_dir(where, instance, path, NULL) == ERR_NONE)
            rmdir(path);
        close(lock);
    }
    close(dir);
}

unsigned os_shim_sweep(const struct os_shims *where, const char *instance)
{
    struct shim_record record;
    char path[PATH_BYTES];
    unsigned count = 0;
    int dir;

    if (instance_dir(where, instance, path, NULL) != ERR_NONE ||
        open_instance(where, instance, &dir, NULL) != ERR_NONE)
        return 0;
    if (!shim_lock_held(dir) && shim_file_read(dir, SHIM_STATUS, &record) == ERR_NONE)
        count = shim_processes_sweep(&record, path);
    close(dir);
    return count;
}

/* One instance's folder. True: nothing there, or visited; false: its record cannot be read. */
static bool visit_one(int dir, os_shim_visit *visit, void *context)
{
    struct shim_record record;
    int status = shim_file_read(dir, SHIM_STATUS, &record);

    if (shim_lock_held(dir)) {
        if (status == ERR_NONE)
            visit(context, OS_SHIM_FOUND_ALIVE, &record);
        return status == ERR_NONE;
    }
    /* Asked after the lock, a shim that has just ended has written it. */
    if (shim_file_read(dir, SHIM_EXIT, &record) == ERR_NONE) {
        visit(context, OS_SHIM_FOUND_ENDED, &record);
        return true;
    }
    status = shim_file_read(dir, SHIM_STATUS, &record);
    if (status == ERR_NONE)
        visit(context, OS_SHIM_FOUND_LOST, &record);
    return status == ERR_NONE || status == ERR_NOTFOUND;
}

int os_shim_scan(const struct os_shims *where, os_shim_visit *visit, void *context,
                 unsigned *damaged, struct err *err)
{
    char path[PATH_BYTES];
    struct dirent *entry;
    DIR *folder;
    int rc = join(path, where->run_dir, FOLDER, "", err);

    *damaged = 0;
    if (rc != ERR_NONE)
        return rc;
    folder = opendir(path);
    if (folder == NULL)
        return err_errno(err, ERR_IO, errno, "read the folder %s", path);
    while ((entry = readdir(folder)) != NULL) {
        int dir;
        if (entry->d_name[0] == '.')
            continue;
        dir = openat(dirfd(folder), entry->d_name, O_DIRECTORY | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (dir < 0 || !visit_one(dir, visit, context))
            ++*damaged;
        if (dir >= 0)
            close(dir);
    }
    closedir(folder);
    return ERR_NONE;
}
