/* agent-shim: keeps one workload, its output and its exit status, whatever happens to agentd.
 * What it is told and what it says is described in shim.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/shim/clients.h"
#include "agent/shim/files.h"
#include "agent/shim/log.h"
#include "agent/shim/processes.h"
#include "agent/shim/shim.h"

#define KILL_AGAIN_MIN_MS 20   /* between one SIGKILL to everything and the next: doubles … */
#define KILL_AGAIN_MAX_MS 2000 /* … up to this */
#define RECORD_AGAIN_MS 5000   /* between attempts to write the exit record */
#define SWEEP_TRIES 100        /* and pauses of 20 ms, for what a killed shim left */

enum { POLL_SIGNAL, POLL_TIMER, POLL_LISTENER, POLL_OUTPUT, POLL_ERROR, POLL_CLIENTS };

struct shim {
    struct shim_record record;
    struct shim_clients clients;
    struct shim_log log;
    struct shim_stream output;
    struct shim_stream error;
    int dir;
    int lock;
    int signals;
    int timer;
    int stop_signal;
    int64_t stop_timeout_ms;
    int64_t armed;   /* what the timer is set to; 0: nothing */
    int64_t kill_at; /* CLOCK_BOOTTIME ms; 0: nobody is to be killed */
    int64_t kill_again_ms;
    int64_t record_at; /* next attempt to write the exit record; 0: none is due */
    bool killing;      /* SIGKILL was sent */
    bool done;
};

/* In static storage: its pages are touched only where a workload writes much. */
static struct shim shim;

static int64_t clock_ms(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- time ---- */

static void arm(struct shim *s)
{
    struct itimerspec at = {{0, 0}, {0, 0}};
    int64_t wake;

    if (s->record_at > 0)
        wake = s->record_at;
    else if (s->record.deadline_ms > 0 && !s->killing &&
             (s->kill_at == 0 || s->record.deadline_ms < s->kill_at))
        wake = s->record.deadline_ms;
    else
        wake = s->kill_at;
    if (wake == s->armed)
        return;
    s->armed = wake;
    if (wake > 0) {
        at.it_value.tv_sec = (time_t)(wake / 1000);
        /* All zero would disarm it. */
        at.it_value.tv_nsec = (long)(wake % 1000) * 1000000 + 1;
    }
    timerfd_settime(s->timer, TFD_TIMER_ABSTIME, &at, NULL);
}

/* ---- the end of the workload ---- */

static void count_log(struct shim *s)
{
    s->record.log_lines = s->log.lines;
    s->record.log_dropped = s->log.dropped;
}

static void kill_all(struct shim *s, int64_t now)
{
    s->killing = true;
    shim_processes_signal(SIGKILL);
    s->kill_at = now + s->kill_again_ms;
    if (s->kill_again_ms < KILL_AGAIN_MAX_MS)
        s->kill_again_ms *= 2;
}

static void stop(struct shim *s, int signal, int64_t timeout_ms)
{
    int64_t now = clock_ms(CLOCK_BOOTTIME);
    bool alive = s->record.exit == SHIM_EXIT_NONE;

    if (s->record.state == SHIM_EXITED)
        return;
    if (timeout_ms < 0)
        timeout_ms = s->stop_timeout_ms;
    s->record.state = SHIM_STOPPING;
    if (alive && s->record.cause == SHIM_CAUSE_SELF)
        s->record.cause = SHIM_CAUSE_STOP;
    if (timeout_ms == 0) {
        kill_all(s, now);
    } else {
        if (s->kill_at == 0 || now + timeout_ms < s->kill_at)
            s->kill_at = now + timeout_ms;
        if (alive) {
            kill(s->record.pid, signal != 0 ? signal : s->stop_signal);
            kill(s->record.pid, SIGCONT);
        }
    }
    shim_clients_push(&s->clients, &s->record);
}

/* The instance's folder was removed: no agent can find this shim, or miss its record. */
static bool abandoned(const struct shim *s)
{
    struct stat st;

    return s->clients.count == 0 && fstat(s->dir, &st) == 0 && st.st_nlink == 0;
}

/* Everything has ended and is reaped. The record first, then the lock, then the news: who hears it
 * may start the next run at once. */
static void finish(struct shim *s)
{
    shim_log_finish(&s->log, &s->output);
    shim_log_finish(&s->log, &s->error);
    count_log(s);
    s->record.state = SHIM_EXITED;
    s->kill_at = 0;
    if (shim_file_write(s->dir, SHIM_EXIT, &s->record, true, NULL) != ERR_NONE && !abandoned(s)) {
        /* Memory is the only record now: stay until it was noted or can be written. */
        s->record_at = clock_ms(CLOCK_BOOTTIME) + RECORD_AGAIN_MS;
        shim_clients_push(&s->clients, &s->record);
        return;
    }
    s->done = true;
}

static void leave(struct shim *s)
{
    unlinkat(s->dir, SHIM_STATUS, 0);
    unlinkat(s->dir, SHIM_SOCKET, 0);
    close(s->lock);
    shim_clients_push(&s->clients, &s->record);
}

static void main_ended(struct shim *s, int status)
{
    s->record.exit = WIFSIGNALED(status) ? SHIM_EXIT_SIGNAL : SHIM_EXIT_CODE;
    s->record.exit_value = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    s->record.ended_ms = clock_ms(CLOCK_BOOTTIME);
    s->record.ended_wall_ms = clock_ms(CLOCK_REALTIME);
}

/* A descendant's end comes here too: as subreaper the shim inherits whoever loses its parent, so
 * "no child left" means that nothing of the workload lives. */
static void reap(struct shim *s)
{
    bool ended = false;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0 || (pid < 0 && errno == EINTR)) {
        if (pid == s->record.pid && s->record.exit == SHIM_EXIT_NONE) {
            main_ended(s, status);
            ended = true;
        }
    }
    if (pid < 0) {
        finish(s);
    } else if (ended && !s->killing) {
        s->record.state = SHIM_STOPPING;
        if (s->kill_at == 0)
            s->kill_at = clock_ms(CLOCK_BOOTTIME) + s->stop_timeout_ms;
        shim_processes_signal(s->stop_signal);
        shim_clients_push(&s->clients, &s->record);
    }
}

/* ---- events ---- */

static void on_time(struct shim *s)
{
    int64_t now = clock_ms(CLOCK_BOOTTIME);
    uint64_t expirations;

    if (read(s->timer, &expirations, sizeof expirations) < 0)
        return;
    s->armed = 0;
    if (s->record_at > 0) {
        if (now >= s->record_at)
            finish(s);
        return;
    }
    if (s->record.deadline_ms > 0 && now >= s->record.deadline_ms && !s->killing) {
        if (s->record.exit == SHIM_EXIT_NONE)
            s->record.cause = SHIM_CAUSE_DEADLINE;
        s->record.state = SHIM_STOPPING;
        kill_all(s, now);
    } else if (s->kill_at > 0 && now >= s->kill_at) {
        kill_all(s, now);
    }
}

static void on_signal(struct shim *s)
{
    struct signalfd_siginfo info;

    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGTERM)
            stop(s, 0, -1);
    }
    if (s->record_at == 0)
        reap(s);
}

static void extend(struct shim *s, int64_t deadline_ms)
{
    /* One that has passed has been acted upon, or is about to be. */
    if (s->record.deadline_ms > clock_ms(CLOCK_BOOTTIME) && deadline_ms > s->record.deadline_ms)
        s->record.deadline_ms = deadline_ms;
}

static void on_request(struct shim *s, size_t client)
{
    struct shim_request request;
    int rc = shim_clients_read(&s->clients, client, &request);

    if (rc == ERR_INVALID || rc == ERR_VERSION)
        s->record.garbage++;
    if (rc != ERR_NONE)
        return;
    switch (request.type) {
    case SHIM_ASK_STOP:
        stop(s, request.signal, request.timeout_ms);
        return;
    case SHIM_ASK_ACKNOWLEDGE:
        s->done = s->record.state == SHIM_EXITED;
        return;
    case SHIM_ASK_EXTEND:
        extend(s, request.deadline_ms);
        break;
    default:
        break;
    }
    count_log(s);
    shim_clients_push(&s->clients, &s->record);
}

static void run(struct shim *s)
{
    while (!s->done) {
        struct pollfd fds[POLL_CLIENTS + SHIM_CLIENTS_MAX] = {
            [POLL_SIGNAL] = {.fd = s->signals, .events = POLLIN},
            [POLL_TIMER] = {.fd = s->timer, .events = POLLIN},
            [POLL_LISTENER] = {.fd = s->clients.listener, .events = POLLIN},
            [POLL_OUTPUT] = {.fd = s->output.fd, .events = POLLIN},
            [POLL_ERROR] = {.fd = s->error.fd, .events = POLLIN},
        };
        size_t clients = s->clients.count;

        for (size_t i = 0; i < clients; i++)
            fds[POLL_CLIENTS + i] = (struct pollfd){.fd = s->clients.fd[i], .events = POLLIN};
        arm(s);
        if (poll(fds, (nfds_t)(POLL_CLIENTS + clients), -1) < 0)
            continue;
        if (fds[POLL_TIMER].revents != 0)
            on_time(s);
        if (fds[POLL_OUTPUT].revents != 0)
            shim_log_take(&s->log, &s->output);
        if (fds[POLL_ERROR].revents != 0)
            shim_log_take(&s->log, &s->error);
        /* Backwards: a client that goes moves only those behind it. A push may drop others as
         * well; the rest is then served in the next round. */
        for (size_t i = clients; i-- > 0 && s->clients.count == clients;) {
            if (fds[POLL_CLIENTS + i].revents != 0)
                on_request(s, i);
        }
        count_log(s);
        if (fds[POLL_LISTENER].revents != 0)
            shim_clients_accept(&s->clients, &s->record);
        if (fds[POLL_SIGNAL].revents != 0)
            on_signal(s);
    }
    leave(s);
}

/* ---- the beginning ---- */

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

/* What an earlier shim left when it was killed must be gone before the same instance starts. */
static int sweep(const struct shim_record *old, const char *dir, struct err *err)
{
    const struct timespec pause = {.tv_nsec = 20000000};

    for (int i = 0; i < SWEEP_TRIES; i++) {
        if (shim_processes_sweep(old, dir) == 0)
            return ERR_NONE;
        nanosleep(&pause, NULL);
    }
    return err_set(err, ERR_BUSY,
                   "processes of an earlier run of %s do not end, though they were killed",
                   old->instance);
}

static int open_pipe(struct shim_stream *stream, const char *name, int *write_end, struct err *err)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_errno(err, ERR_IO, errno, "make a pipe for %s", name);
    /* Only this end: the workload's writes wait for room, as it expects. */
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    stream->name = name;
    stream->fd = ends[0];
    *write_end = ends[1];
    return ERR_NONE;
}

static int start(struct shim *s, const struct shim_spec *spec, struct err *err)
{
    int output = -1;
    int error = -1;
    pid_t pid;
    int rc;

    rc = shim_log_open(&s->log, spec->log_dir, spec->log_file_bytes, spec->log_files, err);
    if (rc == ERR_NONE)
        rc = open_pipe(&s->output, "stdout", &output, err);
    if (rc == ERR_NONE)
        rc = open_pipe(&s->error, "stderr", &error, err);
    if (rc == ERR_NONE && spec->deadline_ms > 0 && clock_ms(CLOCK_BOOTTIME) >= spec->deadline_ms)
        rc = err_set(err, ERR_TIMEOUT, "the lease of %s ended before its start", spec->instance);
    if (rc == ERR_NONE)
        rc = shim_process_start(spec, output, error, &pid, &s->record.errnum, err);
    if (output >= 0)
        close(output);
    if (error >= 0)
        close(error);
    if (rc != ERR_NONE)
        return rc;
    s->record.pid = pid;
    s->record.start_ticks = shim_process_ticks(pid);
    s->record.started_ms = clock_ms(CLOCK_BOOTTIME);
    s->record.started_wall_ms = clock_ms(CLOCK_REALTIME);
    s->record.state = SHIM_RUNNING;
    return ERR_NONE;
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
    rc = shim_lock_take(s->dir, &s->lock, err);
    if (rc != ERR_NONE)
        return rc;
    left = shim_file_read(s->dir, SHIM_STATUS, &old) == ERR_NONE;
    rc = shim_clients_listen(&s->clients, err);
    if (rc == ERR_NONE)
        rc = shim_file_write(s->dir, SHIM_STATUS, &s->record, false, err);
    if (rc == ERR_NONE && left && sweep(&old, spec->dir, err) != ERR_NONE) {
        /* Who tries again must know of them. */
        shim_file_write(s->dir, SHIM_STATUS, &old, false, NULL);
        return ERR_BUSY;
    }
    if (rc == ERR_NONE)
        rc = open_signals(s, err);
    if (rc == ERR_NONE)
        rc = start(s, spec, err);
    if (rc != ERR_NONE)
        return rc;
    /* The record of an earlier run's end: who asked for this run has seen it, or never will. */
    unlinkat(s->dir, SHIM_EXIT, 0);
    /* Without this file the run goes on; an agent that comes back asks the socket. */
    shim_file_write(s->dir, SHIM_STATUS, &s->record, false, NULL);
    shim_clients_push(&s->clients, &s->record);
    return ERR_NONE;
}

static void fail(struct shim *s, int code, const struct err *err)
{
    s->record.state = SHIM_FAILED;
    s->record.code = code;
    snprintf(s->record.text, sizeof s->record.text, "%.*s", SHIM_TEXT_MAX - 1, err->text);
    if (s->lock >= 0) {
        if (code != ERR_BUSY)
            unlinkat(s->dir, SHIM_STATUS, 0);
        unlinkat(s->dir, SHIM_SOCKET, 0);
        close(s->lock);
    }
    shim_clients_push(&s->clients, &s->record);
}

/* Away from whoever started it: no terminal, no parent, no descriptor but the two it was given. */
static void detach(void)
{
    int null;
    int oom;
    pid_t pid = fork();

    if (pid != 0)
        _exit(pid > 0 ? 0 : 1);
    setsid();
    umask(077);
    close_range(SHIM_FD_CLIENT + 1, ~0U, 0);
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
    struct shim_spec spec;
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
    detach();
    fcntl(SHIM_FD_CLIENT, F_SETFD, FD_CLOEXEC);
    shim.lock = -1;
    shim.clients.listener = -1;
    shim.output.fd = -1;
    shim.error.fd = -1;
    shim_clients_add(&shim.clients, SHIM_FD_CLIENT);
    snprintf(shim.record.instance, sizeof shim.record.instance, "unknown");
    shim.record.shim_pid = getpid();
    shim.kill_again_ms = KILL_AGAIN_MIN_MS;

    text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, SHIM_FD_SPEC, 0);
    rc = text == MAP_FAILED ? err_errno(&err, ERR_IO, errno, "read the specification")
                            : shim_spec_decode(text, (size_t)st.st_size, &spec, &err);
    close(SHIM_FD_SPEC);
    if (rc == ERR_NONE) {
        snprintf(shim.record.instance, sizeof shim.record.instance, "%s", spec.instance);
        shim.record.generation = spec.generation;
        if (spec.note != NULL)
            snprintf(shim.record.note, sizeof shim.record.note, "%s", spec.note);
        shim.record.deadline_ms = spec.deadline_ms;
        shim.stop_signal = spec.stop_signal;
        shim.stop_timeout_ms = spec.stop_timeout_ms;
        rc = begin(&shim, &spec, &err);
    }
    /* The environment may hold secrets: it was the workload's, and is no longer here. */
    if (text != MAP_FAILED)
        munmap(text, (size_t)st.st_size);
    if (rc != ERR_NONE) {
        fail(&shim, rc, &err);
        return 1;
    }
    run(&shim);
    return 0;
}
