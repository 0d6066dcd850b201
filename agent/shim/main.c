/* agent-shim: keeps one workload, its output and its exit status, whatever happens to agentd.
 * What it is told and what it says is described in shim.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "agent/shim/files.h"
#include "agent/shim/life.h"
#include "agent/shim/processes.h"

#define SWEEP_TRIES 100 /* and pauses of 20 ms, for what a killed shim left */
#define LOCK_TRIES 100  /* and pauses of 5 ms, for a shim that is about to leave */

/* In static storage: its pages are touched only where a workload writes much. */
static struct shim shim;

static int open_signals(struct shim *s, struct err *err)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    s->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    s->timer = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (s->signals < 0 || s->timer < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
        return err_errno(err, ERR_IO, errno, "prepare the shim");
    return ERR_NONE;
}

/* What an earlier shim left when it was killed must be gone before the same instance starts: what
 * it had started, and whoever is in the groups of the instance. */
static int sweep(const struct shim *s, const struct shim_record *old, const char *dir,
                 struct err *err)
{
    const struct timespec pause = {.tv_nsec = 20000000};

    for (int i = 0; i < SWEEP_TRIES; i++) {
        unsigned count = shim_processes_sweep(old, dir);
        for (size_t j = 0; j < SHIM_CGROUPS_MAX; j++)
            count += shim_processes_kill_group(s->cgroups[j]);
        if (count == 0)
            return ERR_NONE;
        nanosleep(&pause, NULL);
    }
    return err_set(err, ERR_BUSY,
                   "processes of an earlier run of %s do not end, though they were killed",
                   old->instance);
}

/* Their folders, to end everything in them by. One that cannot be opened is not there to be entered
 * either: the start fails, and says so. */
static void open_cgroups(struct shim *s, const struct shim_spec *spec)
{
    for (size_t i = 0; i < SHIM_CGROUPS_MAX && spec->cgroups[i] != NULL; i++)
        s->cgroups[i] = open(spec->cgroups[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int take_lock(struct shim *s, struct err *err)
{
    const struct timespec pause = {.tv_nsec = 5000000};
    int rc = shim_lock_take(s->dir, &s->lock, err);

    for (int i = 0; i < LOCK_TRIES && rc == ERR_EXISTS; i++) {
        nanosleep(&pause, NULL);
        rc = shim_lock_take(s->dir, &s->lock, err);
    }
    return rc;
}

static int begin(struct shim *s, const struct shim_spec *spec, struct err *err)
{
    struct shim_record old;
    bool left;
    int rc;

    if (chdir(spec->dir) != 0)
        return err_errno(err, ERR_IO, errno, "go to the folder %s", spec->dir);
    s->dir = open(".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (s->dir < 0)
        return err_errno(err, ERR_IO, errno, "open the folder %s", spec->dir);
    rc = take_lock(s, err);
    if (rc != ERR_NONE)
        return rc;
    left = shim_file_read(s->dir, SHIM_STATUS, &old) == ERR_NONE;
    rc = shim_clients_listen(&s->clients, err);
    if (rc == ERR_NONE)
        rc = shim_file_write(s->dir, SHIM_STATUS, &s->record, false, err);
    open_cgroups(s, spec);
    if (rc == ERR_NONE && left && sweep(s, &old, spec->dir, err) != ERR_NONE) {
        /* Who tries again must know of them. */
        shim_file_write(s->dir, SHIM_STATUS, &old, false, NULL);
        return ERR_BUSY;
    }
    if (rc == ERR_NONE)
        rc = open_signals(s, err);
    if (rc == ERR_NONE)
        rc = shim_log_open(&s->log, spec, err);
    if (rc == ERR_NONE)
        rc = life_begin(s, err);
    if (rc != ERR_NONE)
        return rc;
    /* The record of an earlier run's end: who asked for this run has seen it, or never will. */
    unlinkat(s->dir, SHIM_EXIT, 0);
    /* Without this file the run goes on; an agent that comes back asks the socket. */
    shim_file_write(s->dir, SHIM_STATUS, &s->record, false, NULL);
    shim_clients_push(&s->clients, &s->record);
    return ERR_NONE;
}

/* Away from whoever started it: no terminal, no parent, no descriptor but those it was given. */
static void detach(uint32_t sockets)
{
    int null;
    int oom;
    pid_t pid = fork();

    if (pid != 0)
        _exit(pid > 0 ? 0 : 1);
    setsid();
    umask(077);
    close_range(SHIM_FD_LISTEN + sockets, ~0U, 0);
    null = open("/dev/null", O_RDWR);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        close(null);
    }
    /* The last to be killed for want of memory; only root may ask for that. */
    oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (oom >= 0) {
        if (write(oom, "-900", 4) < 0)
            errno = 0;
        close(oom);
    }
}

int main(int argc, char **argv)
{
    static struct shim_spec spec; /* too large for a stack that stays */
    struct err err = {.code = ERR_NONE};
    struct stat st;
    void *text;
    int rc;

    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        printf("agent-shim %s\n", COVEY_VERSION);
        return 0;
    }
    if (fstat(SHIM_FD_SPEC, &st) != 0 || fcntl(SHIM_FD_CLIENT, F_GETFD) < 0) {
        fputs("agent-shim is started by agentd: it expects a specification on descriptor 3 and a "
              "socket on descriptor 4.\n",
              stderr);
        return err_exit_status(ERR_USAGE);
    }
    text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, SHIM_FD_SPEC, 0);
    rc = text == MAP_FAILED ? err_errno(&err, ERR_IO, errno, "read the specification")
                            : shim_spec_decode(text, (size_t)st.st_size, &spec, &err);
    detach(rc == ERR_NONE ? spec.listen : 0);
    close(SHIM_FD_SPEC);
    fcntl(SHIM_FD_CLIENT, F_SETFD, FD_CLOEXEC);
    shim.lock = -1;
    shim.walls = -1;
    shim.clients.listener = -1;
    shim.output.fd = -1;
    shim.error.fd = -1;
    shim.output.name = "stdout";
    shim.error.name = "stderr";
    shim.next.output = -1;
    shim.next.error = -1;
    for (size_t i = 0; i < SHIM_CGROUPS_MAX; i++)
        shim.cgroups[i] = -1;
    shim_clients_add(&shim.clients, SHIM_FD_CLIENT);
    snprintf(shim.record.instance, sizeof shim.record.instance, "unknown");
    shim.record.shim_pid = getpid();
    shim.kill_again_ms = LIFE_KILL_AGAIN_MIN_MS;
    if (rc == ERR_NONE) {
        snprintf(shim.record.instance, sizeof shim.record.instance, "%s", spec.instance);
        shim.record.generation = spec.generation;
        if (spec.note != NULL)
            snprintf(shim.record.note, sizeof shim.record.note, "%s", spec.note);
        shim.record.deadline_ms = spec.deadline_ms;
        shim.clients.sockets = spec.listen;
        shim.stop_signal = spec.stop_signal;
        shim.stop_timeout_ms = spec.stop_timeout_ms;
        shim.spec = &spec;
        shim.spec_text = text;
        shim.spec_size = (size_t)st.st_size;
        rc = begin(&shim, &spec, &err);
    }
    if (rc != ERR_NONE) {
        life_fail(&shim, rc, &err);
        return 1;
    }
    life_run(&shim);
    return 0;
}
