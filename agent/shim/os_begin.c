/* How a run of the workload begins: from its specification, or from the process that was kept ready
 * for it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/shim/files.h"
#include "agent/shim/life.h"

int64_t life_clock(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The environment may hold secrets: it was the workload's, and is no longer here. */
void life_forget_spec(struct shim *s)
{
    if (s->spec == NULL)
        return;
    s->spec = NULL;
    munmap(s->spec_text, s->spec_size);
}

static int open_pipe(int *read_end, int *write_end, struct err *err)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_errno(err, ERR_IO, errno, "make a pipe for its output");
    /* Only this end: the workload's writes wait for room, as it expects. */
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *read_end = ends[0];
    *write_end = ends[1];
    return ERR_NONE;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int start(struct shim *s, const char *const *argv, pid_t *pid, struct err *err)
{
    int output = -1;
    int error = -1;
    int rc;

    shim_log_finish(&s->log, &s->output);
    shim_log_finish(&s->log, &s->error);
    rc = open_pipe(&s->output.fd, &output, err);
    if (rc == ERR_NONE)
        rc = open_pipe(&s->error.fd, &error, err);
    if (rc == ERR_NONE)
        rc = shim_process_start(s->spec, argv, output, error, pid, &s->record.errnum, err);
    close_fd(&output);
    close_fd(&error);
    return rc;
}

int life_start_hook(struct shim *s, enum life_phase phase, const struct shim_hook *hook,
                    struct err *err)
{
    int rc = start(s, hook->argv, &s->hook, err);

    if (rc != ERR_NONE)
        return rc;
    s->phase = phase;
    s->killing = false;
    s->kill_again_ms = LIFE_KILL_AGAIN_MIN_MS;
    s->kill_at = hook->timeout_ms > 0 ? life_clock(CLOCK_BOOTTIME) + hook->timeout_ms : 0;
    return ERR_NONE;
}

/* Its mount namespace is held: the kernel takes it apart when the last one lets go, and the end of
 * a run is not to wait for that. */
static void hold_walls(struct shim *s, pid_t pid)
{
    char path[32];
    int before = s->walls;

    snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)pid);
    s->walls = open(path, O_RDONLY | O_CLOEXEC);
    if (before >= 0)
        close(before);
}

static void note_start(struct shim *s, pid_t pid, uint64_t ticks)
{
    s->phase = LIFE_MAIN;
    s->kill_at = 0;
    s->record.pid = pid;
    s->record.start_ticks = ticks;
    s->record.started_ms = life_clock(CLOCK_BOOTTIME);
    s->record.started_wall_ms = life_clock(CLOCK_REALTIME);
    s->record.state = SHIM_RUNNING;
}

int life_start_main(struct shim *s, struct err *err)
{
    const struct shim_spec *spec = s->spec;
    pid_t pid;
    int rc;

    if (s->record.deadline_ms > 0 && life_clock(CLOCK_BOOTTIME) >= s->record.deadline_ms)
        return err_set(err, ERR_TIMEOUT, "the lease of %s ended before its start", spec->instance);
    rc = start(s, spec->argv, &pid, err);
    if (rc != ERR_NONE)
        return rc;
    note_start(s, pid, shim_process_ticks(pid));
    hold_walls(s, pid);
    if (spec->post_stop.argv[0] == NULL)
        life_forget_spec(s);
    return ERR_NONE;
}

int life_begin(struct shim *s, struct err *err)
{
    if (s->spec->pre_start.argv[0] != NULL)
        return life_start_hook(s, LIFE_PRE_START, &s->spec->pre_start, err);
    return life_start_main(s, err);
}

/* ---- the process that is kept ready ---- */

int next_fd(const struct shim *s)
{
    return s->next.process.pid != 0 ? s->next.process.report : -1;
}

void next_discard(struct shim *s)
{
    struct life_next *next = &s->next;

    shim_standby_end(&next->process);
    close_fd(&next->output);
    close_fd(&next->error);
    if (next->text != NULL)
        munmap(next->text, next->size);
    next->text = NULL;
    next->ticket = 0;
    s->record.standby = 0;
}

/* Only while it runs, and only what a fork alone can prepare: no hook has to come first, and no
 * socket to be passed. */
static bool may_prepare(const struct shim *s, const struct shim_spec *spec)
{
    return s->phase == LIFE_MAIN && s->record.state == SHIM_RUNNING &&
           strcmp(spec->instance, s->record.instance) == 0 && spec->pre_start.argv[0] == NULL &&
           spec->listen == 0 && s->clients.sockets == 0;
}

static int fork_next(struct shim *s, const struct shim_spec *spec, struct err *err)
{
    struct life_next *next = &s->next;
    int output = -1;
    int error = -1;
    int rc = open_pipe(&next->output, &output, err);

    if (rc == ERR_NONE)
        rc = open_pipe(&next->error, &error, err);
    if (rc == ERR_NONE)
        rc = shim_standby_fork(spec, output, error, &next->process, err);
    close_fd(&output);
    close_fd(&error);
    return rc;
}

/* Failures have no words of their own: the next start is as long as the first, and says why. */
void next_prepare(struct shim *s, const struct shim_request *request, int fd)
{
    static struct shim_spec rooms[2]; /* one may be the specification of what runs */
    struct shim_spec *spec = &rooms[s->spec == &rooms[0]];
    struct life_next *next = &s->next;
    struct err err;
    struct stat st;

    if (request->ticket == 0 || request->ticket == next->ticket)
        return;
    next_discard(s);
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size <= 0 || st.st_size > SHIM_SPEC_MAX)
        return;
    next->size = (size_t)st.st_size;
    next->text = mmap(NULL, next->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (next->text == MAP_FAILED)
        next->text = NULL;
    if (next->text == NULL || shim_spec_decode(next->text, next->size, spec, &err) != ERR_NONE ||
        !may_prepare(s, spec) || fork_next(s, spec, &err) != ERR_NONE) {
        next_discard(s);
        return;
    }
    next->ticket = request->ticket;
    next->spec = spec;
    next->generation = spec->generation;
    next->stop_signal = spec->stop_signal;
    next->stop_timeout_ms = spec->stop_timeout_ms;
    snprintf(next->note, sizeof next->note, "%s", spec->note != NULL ? spec->note : "");
    if (spec->post_stop.argv[0] != NULL)
        return;
    munmap(next->text, next->size); /* it has its own */
    next->text = NULL;
    next->spec = NULL;
}

void next_report(struct shim *s)
{
    if (s->next.process.pid == 0)
        return; /* discarded in this round */
    if (shim_standby_ready(&s->next.process)) {
        s->record.standby = s->next.ticket;
        s->next.ticks = shim_process_ticks(s->next.process.pid);
    } else {
        next_discard(s);
    }
    shim_clients_push(&s->clients, &s->record);
}

static void take_next(struct shim *s)
{
    struct life_next *next = &s->next;
    struct shim_record *record = &s->record;

    s->output.fd = next->output;
    s->error.fd = next->error;
    next->output = next->error = -1;
    s->spec = next->spec;
    s->spec_text = next->text;
    s->spec_size = next->size;
    next->text = NULL;
    s->stop_signal = next->stop_signal;
    s->stop_timeout_ms = next->stop_timeout_ms;
    s->asked_to_stop = s->killing = false;
    s->kill_again_ms = LIFE_KILL_AGAIN_MIN_MS;
    s->next_until = 0;
    s->log.lines = s->log.bytes = s->log.binary = s->log.dropped = 0;
    record->generation = next->generation;
    snprintf(record->note, sizeof record->note, "%s", next->note);
    record->ended_ms = record->ended_wall_ms = 0;
    record->exit = SHIM_EXIT_NONE;
    record->exit_value = 0;
    record->cause = SHIM_CAUSE_SELF;
    record->log_lines = record->log_bytes = record->log_binary = record->log_dropped = 0;
    record->log_errnum = record->left = record->killed = 0;
    record->standby = next->ticket = 0;
}

void next_begin(struct shim *s, const struct shim_request *request)
{
    struct err err;
    int errnum;

    if (s->next_until == 0)
        return; /* nothing waits: its end is told already */
    s->record.deadline_ms = request->deadline_ms;
    if (request->ticket != s->record.standby)
        err_set(&err, ERR_NOTFOUND, "no process is ready for this run of %s", s->record.instance);
    else if (request->deadline_ms > 0 && life_clock(CLOCK_BOOTTIME) >= request->deadline_ms)
        err_set(&err, ERR_TIMEOUT, "the lease of %s ended before its start", s->record.instance);
    else {
        take_next(s);
        note_start(s, s->next.process.pid, s->next.ticks);
        errnum = shim_standby_run(&s->next.process);
        if (errnum == 0) {
            shim_file_write(s->dir, SHIM_STATUS, &s->record, false, NULL);
            unlinkat(s->dir, SHIM_EXIT, 0);
            shim_clients_push(&s->clients, &s->record);
            hold_walls(s, s->record.pid);
            return;
        }
        s->record.errnum = errnum;
        err_errno(&err, ERR_IO, errnum, "execute the program of %s", s->record.instance);
    }
    s->record.pid = 0;
    shim_log_finish(&s->log, &s->output);
    shim_log_finish(&s->log, &s->error);
    life_forget_spec(s);
    life_fail(s, err.code, &err);
}
