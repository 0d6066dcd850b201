#include "agent/shim/life.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/shim/files.h"
#include "agent/shim/processes.h"

#define KILL_AGAIN_MAX_MS 2000 /* the longest pause between two SIGKILL to everything */
#define RECORD_AGAIN_MS 5000   /* between attempts to write the exit record */

enum {
    POLL_SIGNAL,
    POLL_TIMER,
    POLL_LISTENER,
    POLL_OUTPUT,
    POLL_ERROR,
    POLL_STANDBY,
    POLL_CLIENTS
};

/* ---- time ---- */

static void arm(struct shim *s)
{
    struct itimerspec at = {{0, 0}, {0, 0}};
    int64_t wake;

    if (s->record_at > 0)
        wake = s->record_at;
    else if (s->next_until > 0)
        wake = s->next_until;
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
    s->record.log_bytes = s->log.bytes;
    s->record.log_dropped = s->log.dropped;
    s->record.log_errnum = s->log.dropped > 0 ? s->log.errnum : 0;
    s->record.log_binary = s->log.binary;
}

static void write_control(int dir, const char *name, const char *text)
{
    int fd = dir >= 0 ? openat(dir, name, O_WRONLY | O_CLOEXEC) : -1;

    if (fd < 0)
        return; /* not with this controller, or this version of cgroups */
    if (write(fd, text, strlen(text)) < 0)
        errno = 0;
    close(fd);
}

/* First no new process can come, however fast they fork; then whoever is there goes. */
static void kill_all(struct shim *s, int64_t now)
{
    next_discard(s);
    s->killing = true;
    for (size_t i = 0; i < SHIM_CGROUPS_MAX; i++) {
        write_control(s->cgroups[i], "pids.max", "0");
        write_control(s->cgroups[i], "cgroup.kill", "1");
    }
    shim_processes_signal(SIGKILL, 0);
    s->kill_at = now + s->kill_again_ms;
    if (s->kill_again_ms < KILL_AGAIN_MAX_MS)
        s->kill_again_ms *= 2;
}

/* Probes that entered the groups from outside, and what they have left there, are no descendants of
 * this shim. */
static void end_guests(struct shim *s)
{
    for (size_t i = 0; i < SHIM_CGROUPS_MAX; i++)
        shim_processes_kill_group(s->cgroups[i]);
}

static void stop(struct shim *s, int signal, int64_t timeout_ms)
{
    int64_t now = life_clock(CLOCK_BOOTTIME);
    bool alive = s->phase == LIFE_MAIN && s->record.exit == SHIM_EXIT_NONE;

    if (s->record.state == SHIM_EXITED)
        return;
    if (timeout_ms < 0)
        timeout_ms = s->stop_timeout_ms;
    s->asked_to_stop = true;
    next_discard(s);
    if (s->phase != LIFE_PRE_START)
        s->record.state = SHIM_STOPPING;
    if (alive && s->record.cause == SHIM_CAUSE_SELF)
        s->record.cause = SHIM_CAUSE_STOP;
    if (timeout_ms == 0) {
        kill_all(s, now);
    } else if (s->phase == LIFE_PRE_START) {
        shim_processes_signal(SIGTERM, s->next.process.pid);
        s->kill_at = now + timeout_ms;
    } else if (s->phase == LIFE_MAIN) {
        if (s->kill_at == 0 || now + timeout_ms < s->kill_at)
            s->kill_at = now + timeout_ms;
        if (alive) {
            kill(s->record.pid, signal != 0 ? signal : s->stop_signal);
            kill(s->record.pid, SIGCONT);
        }
    } /* a post-stop hook has a time of its own */
    shim_clients_push(&s->clients, &s->record);
}

/* The instance's folder was removed: no agent can find this shim, or miss its record. */
static bool abandoned(const struct shim *s)
{
    struct stat st;

    return s->clients.count == 0 && fstat(s->dir, &st) == 0 && st.st_nlink == 0;
}

static void log_end(struct shim *s)
{
    char text[32];

    snprintf(text, sizeof text, "%s %d", s->record.exit == SHIM_EXIT_SIGNAL ? "signal" : "code",
             s->record.exit_value);
    shim_log_end(&s->log, text);
}

/* Everything has ended and is reaped. The record first, then the lock, then the news: who hears it
 * may start the next run at once. */
static void finish(struct shim *s)
{
    life_forget_spec(s);
    shim_log_finish(&s->log, &s->output);
    shim_log_finish(&s->log, &s->error);
    log_end(s);
    count_log(s);
    s->record.state = SHIM_EXITED;
    s->kill_at = 0;
    if (shim_file_write(s->dir, SHIM_EXIT, &s->record, true, NULL) != ERR_NONE && !abandoned(s)) {
        /* Memory is the only record now: stay until it was noted or can be written. */
        next_discard(s);
        s->record_at = life_clock(CLOCK_BOOTTIME) + RECORD_AGAIN_MS;
        shim_clients_push(&s->clients, &s->record);
        return;
    }
    if (s->record.standby == 0) {
        s->done = true;
        return;
    }
    s->next_until = life_clock(CLOCK_BOOTTIME) + SHIM_NEXT_MS;
    shim_clients_push(&s->clients, &s->record);
}

static void leave(struct shim *s)
{
    next_discard(s);
    end_guests(s);
    unlinkat(s->dir, SHIM_STATUS, 0);
    unlinkat(s->dir, SHIM_SOCKET, 0);
    close(s->lock);
    shim_clients_push(&s->clients, &s->record);
}

void life_fail(struct shim *s, int code, const struct err *err)
{
    next_discard(s);
    s->done = true;
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

/* How a hook failed, as "preStart: exit code 3"; false: it did not. */
static bool hook_failure(const struct shim *s, const char *name, struct err *err)
{
    int status = s->hook_status;

    if (s->killing)
        err_set(err, ERR_TIMEOUT, "%s took too long and was killed", name);
    else if (WIFSIGNALED(status))
        err_set(err, ERR_IO, "%s was ended by signal %d (%s)", name, WTERMSIG(status),
                strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0)
        err_set(err, ERR_IO, "%s ended with exit code %d; its log says why", name,
                WEXITSTATUS(status));
    else
        return false;
    return true;
}

static void after_pre_start(struct shim *s)
{
    struct err err;

    if (s->asked_to_stop)
        err_set(&err, ERR_BUSY, "was asked to stop while its preStart hook ran");
    else if (!hook_failure(s, "preStart", &err) && life_start_main(s, &err) == ERR_NONE) {
        shim_file_write(s->dir, SHIM_STATUS, &s->record, false, NULL);
        shim_clients_push(&s->clients, &s->record);
        return;
    }
    shim_log_finish(&s->log, &s->output);
    shim_log_finish(&s->log, &s->error);
    shim_log_end(&s->log, "failed 0");
    s->kill_at = 0;
    life_fail(s, err.code == ERR_BUSY ? ERR_CONFLICT : err.code, &err);
}

static void after_post_stop(struct shim *s)
{
    struct err err;

    if (hook_failure(s, "postStop", &err))
        shim_log_say(&s->log, err.text);
    finish(s);
}

/* Nothing of the present phase lives. */
static void next_phase(struct shim *s)
{
    struct err err;

    switch (s->phase) {
    case LIFE_PRE_START:
        after_pre_start(s);
        break;
    case LIFE_MAIN:
        if (s->spec == NULL || s->spec->post_stop.argv[0] == NULL) {
            finish(s);
        } else if (life_start_hook(s, LIFE_POST_STOP, &s->spec->post_stop, &err) != ERR_NONE) {
            shim_log_say(&s->log, err.text);
            finish(s);
        }
        break;
    case LIFE_POST_STOP:
        after_post_stop(s);
        break;
    }
}

static void main_ended(struct shim *s, int status)
{
    s->record.exit = WIFSIGNALED(status) ? SHIM_EXIT_SIGNAL : SHIM_EXIT_CODE;
    s->record.exit_value = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    s->record.ended_ms = life_clock(CLOCK_BOOTTIME);
    s->record.ended_wall_ms = life_clock(CLOCK_REALTIME);
}

/* The leader has ended, others of the phase have not: they get the time of a stop. */
static void end_rest(struct shim *s)
{
    int64_t latest = life_clock(CLOCK_BOOTTIME) + s->stop_timeout_ms;
    unsigned left;

    if (s->phase == LIFE_MAIN)
        s->record.state = SHIM_STOPPING;
    if (s->kill_at == 0 || latest < s->kill_at)
        s->kill_at = latest;
    left = shim_processes_signal(s->phase == LIFE_MAIN ? s->stop_signal : SIGTERM,
                                 s->next.process.pid);
    if (s->phase == LIFE_MAIN && !s->asked_to_stop)
        s->record.left = (int)left;
    shim_clients_push(&s->clients, &s->record);
}

/* A descendant's end comes here too: as subreaper the shim inherits whoever loses its parent, so
 * "no child left" means that nothing of the phase lives. */
static void reap(struct shim *s)
{
    bool ended = false;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0 || (pid < 0 && errno == EINTR)) {
        if (pid < 0)
            continue;
        if (s->phase != LIFE_MAIN && pid == s->hook) {
            s->hook = 0;
            s->hook_status = status;
            ended = true;
        } else if (s->phase == LIFE_MAIN && pid == s->record.pid &&
                   s->record.exit == SHIM_EXIT_NONE) {
            main_ended(s, status);
            ended = true;
        }
    }
    if (pid < 0)
        next_phase(s);
    else if (ended && !s->killing)
        end_rest(s);
}

/* ---- events ---- */

static void on_time(struct shim *s)
{
    int64_t now = life_clock(CLOCK_BOOTTIME);
    uint64_t expirations;

    if (read(s->timer, &expirations, sizeof expirations) < 0)
        return;
    s->armed = 0;
    if (s->record_at > 0) {
        if (now >= s->record_at)
            finish(s);
        return;
    }
    if (s->next_until > 0) {
        s->done = now >= s->next_until;
        return;
    }
    if (s->record.deadline_ms > 0 && now >= s->record.deadline_ms && !s->killing) {
        if (s->record.exit == SHIM_EXIT_NONE)
            s->record.cause = SHIM_CAUSE_DEADLINE;
        if (s->phase != LIFE_PRE_START)
            s->record.state = SHIM_STOPPING;
        kill_all(s, now);
    } else if (s->kill_at > 0 && now >= s->kill_at) {
        if (s->phase == LIFE_MAIN && s->asked_to_stop && s->record.exit == SHIM_EXIT_NONE)
            s->record.killed = 1;
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
    if (s->record_at == 0 && s->next_until == 0 && !s->done)
        reap(s);
}

static void extend(struct shim *s, int64_t deadline_ms)
{
    /* One that has passed has been acted upon, or is about to be. */
    if (s->record.deadline_ms > life_clock(CLOCK_BOOTTIME) && deadline_ms > s->record.deadline_ms)
        s->record.deadline_ms = deadline_ms;
}

static void on_request(struct shim *s, size_t client)
{
    struct shim_request request;
    int fd;
    int rc = shim_clients_read(&s->clients, client, &request, &fd);

    if (rc == ERR_INVALID || rc == ERR_VERSION)
        s->record.garbage++;
    if (rc != ERR_NONE)
        return;
    if (request.type == SHIM_ASK_PREPARE)
        next_prepare(s, &request, fd);
    if (fd >= 0)
        close(fd);
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
    case SHIM_ASK_NEXT:
        next_begin(s, &request);
        return;
    default:
        break;
    }
    count_log(s);
    shim_clients_push(&s->clients, &s->record);
}

static void serve(struct shim *s)
{
    struct pollfd fds[POLL_CLIENTS + SHIM_CLIENTS_MAX] = {
        [POLL_SIGNAL] = {.fd = s->signals, .events = POLLIN},
        [POLL_TIMER] = {.fd = s->timer, .events = POLLIN},
        [POLL_LISTENER] = {.fd = s->clients.listener, .events = POLLIN},
        [POLL_OUTPUT] = {.fd = s->output.fd, .events = POLLIN},
        [POLL_ERROR] = {.fd = s->error.fd, .events = POLLIN},
        [POLL_STANDBY] = {.fd = next_fd(s), .events = POLLIN},
    };
    size_t clients = s->clients.count;

    for (size_t i = 0; i < clients; i++)
        fds[POLL_CLIENTS + i] = (struct pollfd){.fd = s->clients.fd[i], .events = POLLIN};
    arm(s);
    if (poll(fds, (nfds_t)(POLL_CLIENTS + clients), -1) < 0)
        return;
    if (fds[POLL_TIMER].revents != 0)
        on_time(s);
    if (fds[POLL_OUTPUT].revents != 0)
        shim_log_take(&s->log, &s->output);
    if (fds[POLL_ERROR].revents != 0)
        shim_log_take(&s->log, &s->error);
    if (fds[POLL_STANDBY].revents != 0)
        next_report(s);
    /* Backwards: a client that goes moves only those behind it. A push may drop others as well; the
     * rest is then served in the next round. */
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

void life_run(struct shim *s)
{
    while (!s->done)
        serve(s);
    if (s->record.state != SHIM_FAILED)
        leave(s);
}
