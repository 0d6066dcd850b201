#include "agent/io/os_child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <grp.h>

#define OUTPUT_FIRST 4096 /* bytes that stdout's buffer begins with; doubled when full */
#define QUOTE_MAX 240     /* bytes of stderr in an error's text */
#define FIRST_SIGNAL 128  /* added to a signal's number in a status, as shells do */

/* What the child could not do before it became the program. */
enum step { STEP_CHDIR, STEP_IDS, STEP_FILES, STEP_EXEC };

struct failure {
    enum step step;
    int errnum;
};

/* A child under way. Descriptors are -1 once they are closed. */
struct child {
    const struct child_spec *spec;
    pid_t pid;
    int pidfd;  /* readable when the child has ended */
    int in;     /* we write its stdin */
    int out;    /* we read its stdout */
    int errors; /* we read its stderr */
    size_t written;
    char *output;
    size_t size, capacity;
    size_t errors_size;
    struct child_result *result;
};

static int64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Finds argv[0] as execvp would, before the fork: afterwards nothing may allocate. */
static int find_program(const char *name, char path[PATH_MAX], struct err *err)
{
    const char *part = CHILD_PATH;

    if (strchr(name, '/') != NULL) {
        if (snprintf(path, PATH_MAX, "%s", name) >= PATH_MAX)
            return err_set(err, ERR_LIMIT, "cannot run a program: its path is too long");
        return ERR_NONE;
    }
    while (*part != '\0') {
        size_t length = strcspn(part, ":");

        if (snprintf(path, PATH_MAX, "%.*s/%s", (int)length, part, name) < PATH_MAX &&
            access(path, X_OK) == 0)
            return ERR_NONE;
        part += length;
        part += *part == ':';
    }
    return err_set(err, ERR_NOTFOUND, "cannot run %s: no such program in %s; is it installed?",
                   name, CHILD_PATH);
}

/* ---- In the child: only async-signal-safe calls, other threads may have held any lock. ---------
 */

__attribute__((noreturn)) static void give_up(int report, enum step step)
{
    struct failure failure = {.step = step, .errnum = errno};
    ssize_t n = write(report, &failure, sizeof failure);

    (void)n; /* the parent takes an empty report for an unknown failure */
    _exit(127);
}

static void reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < _NSIG; number++)
        (void)sigaction(number, &action, NULL); /* SIGKILL and SIGSTOP refuse, as they should */
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static int become_user(const struct child_spec *spec)
{
    gid_t gid = spec->gid;

    /* The raw calls: glibc's would have every thread of this process follow, which after a fork are
     * not there. */
    if (syscall(SYS_setgroups, 1, &gid) != 0 || syscall(SYS_setresgid, gid, gid, gid) != 0)
        return -1;
    return (int)syscall(SYS_setresuid, spec->uid, spec->uid, spec->uid);
}

/* Puts the three descriptors in place; each is above 2, so none is overwritten before its turn. */
static int place_files(const int files[3], int report)
{
    for (int i = 0; i < 3; i++) {
        if (dup2(files[i], i) < 0)
            return -1;
    }
    /* Descriptors that were opened without O_CLOEXEC. Kernels before 5.9 lack the call. */
    if (report > 3)
        (void)syscall(SYS_close_range, 3u, (unsigned)report - 1u, 0u);
    (void)syscall(SYS_close_range, (unsigned)report + 1u, ~0u, 0u);
    return 0;
}

__attribute__((noreturn)) static void run_child(const struct child_spec *spec, const char *path,
                                                const char *const *env, const int files[3],
                                                int report)
{
    (void)setpgid(0, 0);
    reset_signals();
    if (place_files(files, report) != 0)
        give_up(report, STEP_FILES);
    if (spec->cwd != NULL && chdir(spec->cwd) != 0)
        give_up(report, STEP_CHDIR);
    if (spec->set_ids && become_user(spec) != 0)
        give_up(report, STEP_IDS);
    /* The child must not outlive the agent; SIGTERM lets git remove its lock files. After the
     * change of user, which clears it. */
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    execve(path, (char *const *)(uintptr_t)spec->argv, (char *const *)(uintptr_t)env);
    give_up(report, STEP_EXEC);
}

/* ---- In the parent ----------------------------------------------------------------------------
 */

static int step_error(const struct child_spec *spec, const struct failure *failure, struct err *err)
{
    const char *name = spec->argv[0];

    switch (failure->step) {
    case STEP_CHDIR:
        return err_errno(err, ERR_IO, failure->errnum, "cannot run %s in %s", name, spec->cwd);
    case STEP_IDS:
        return err_errno(err, ERR_DENIED, failure->errnum, "cannot run %s as user %lu", name,
                         (unsigned long)spec->uid);
    case STEP_EXEC:
        return err_errno(err,
                         failure->errnum == ENOENT   ? ERR_NOTFOUND
                         : failure->errnum == EACCES ? ERR_DENIED
                                                     : ERR_IO,
                         failure->errnum, "cannot run %s", name);
    case STEP_FILES:
    default:
        return err_errno(err, ERR_IO, failure->errnum, "cannot prepare files for %s", name);
    }
}

/* A pipe whose ends are above 2 and closed by exec. */
static int make_pipe(int ends[2])
{
    int low[2];

    if (pipe2(low, O_CLOEXEC) != 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        ends[i] = low[i];
        if (low[i] > 2)
            continue;
        ends[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 3);
        close(low[i]);
    }
    if (ends[0] >= 0 && ends[1] >= 0)
        return 0;
    close_fd(&ends[0]);
    close_fd(&ends[1]);
    return -1;
}

enum { PIPE_IN, PIPE_OUT, PIPE_ERRORS, PIPE_REPORT, PIPES };

static void close_pipes(int pipes[PIPES][2])
{
    for (int i = 0; i < PIPES; i++) {
        close_fd(&pipes[i][0]);
        close_fd(&pipes[i][1]);
    }
}

static int make_pipes(int pipes[PIPES][2])
{
    for (int i = 0; i < PIPES; i++)
        pipes[i][0] = pipes[i][1] = -1;
    for (int i = 0; i < PIPES; i++) {
        if (make_pipe(pipes[i]) != 0) {
            int errnum = errno;
            close_pipes(pipes);
            errno = errnum;
            return -1;
        }
    }
    return 0;
}

/* Reads the report pipe, which ends without a word when the program runs. */
static int await_exec(struct child *child, int report, struct err *err)
{
    struct failure failure;
    ssize_t n;

    do
        n = read(report, &failure, sizeof failure);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return ERR_NONE;
    if (n != (ssize_t)sizeof failure)
        return err_set(err, ERR_IO, "cannot run %s: no word from the child", child->spec->argv[0]);
    return step_error(child->spec, &failure, err);
}

static void reap(struct child *child, int *status)
{
    while (waitpid(child->pid, status, 0) < 0 && errno == EINTR)
        ;
}

static int start(struct child *child, struct err *err)
{
    static const char *const plain[] = {("PATH=" CHILD_PATH), "LC_ALL=C.UTF-8", NULL};
    const struct child_spec *spec = child->spec;
    const char *const *env = spec->env != NULL ? spec->env : plain;
    int pipes[PIPES][2];
    char path[PATH_MAX];
    int status;
    int rc = find_program(spec->argv[0], path, err);

    if (rc != ERR_NONE)
        return rc;
    if (make_pipes(pipes) != 0)
        return err_errno(err, ERR_IO, errno, "cannot run %s: no pipe", spec->argv[0]);
    child->pid = fork();
    if (child->pid < 0) {
        rc = err_errno(err, ERR_IO, errno, "cannot run %s", spec->argv[0]);
        close_pipes(pipes);
        return rc;
    }
    if (child->pid == 0) {
        const int files[3] = {pipes[PIPE_IN][0], pipes[PIPE_OUT][1], pipes[PIPE_ERRORS][1]};
        run_child(spec, path, env, files, pipes[PIPE_REPORT][1]);
    }
    (void)setpgid(child->pid, child->pid); /* whoever of the two comes first */
    child->in = pipes[PIPE_IN][1];
    child->out = pipes[PIPE_OUT][0];
    child->errors = pipes[PIPE_ERRORS][0];
    pipes[PIPE_IN][1] = pipes[PIPE_OUT][0] = pipes[PIPE_ERRORS][0] = -1;
    close_fd(&pipes[PIPE_REPORT][1]);
    rc = await_exec(child, pipes[PIPE_REPORT][0], err);
    close_pipes(pipes);
    if (rc != ERR_NONE) {
        reap(child, &status);
        return rc;
    }
    (void)fcntl(child->in, F_SETFL, O_NONBLOCK);
    (void)fcntl(child->out, F_SETFL, O_NONBLOCK);
    (void)fcntl(child->errors, F_SETFL, O_NONBLOCK);
    child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
    return ERR_NONE;
}

static void feed_input(struct child *child)
{
    const char *input = child->spec->input;
    size_t left = child->spec->input_size - child->written;
    ssize_t n = left > 0 ? write(child->in, input + child->written, left) : 0;

    if (n > 0)
        child->written += (size_t)n;
    if (child->written == child->spec->input_size || (n < 0 && errno != EAGAIN && errno != EINTR))
        close_fd(&child->in); /* all is written, or the program reads no more */
}

static int grow_output(struct child *child, struct err *err)
{
    size_t most = child->spec->output_max + 1; /* one byte more tells that there is too much */
    size_t capacity = child->capacity == 0 ? OUTPUT_FIRST : child->capacity * 2;
    char *output;

    if (capacity > most)
        capacity = most;
    output = realloc(child->output, capacity + 1);
    if (output == NULL)
        return err_set(err, ERR_NOMEM, "cannot read what %s prints: out of memory",
                       child->spec->argv[0]);
    child->output = output;
    child->capacity = capacity;
    return ERR_NONE;
}

static int take_output(struct child *child, struct err *err)
{
    ssize_t n;

    if (child->size == child->capacity) {
        int rc = grow_output(child, err);
        if (rc != ERR_NONE)
            return rc;
    }
    n = read(child->out, child->output + child->size, child->capacity - child->size);
    if (n > 0)
        child->size += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        close_fd(&child->out);
    if (child->size > child->spec->output_max)
        return err_set(err, ERR_LIMIT, "%s printed more than %zu bytes", child->spec->argv[0],
                       child->spec->output_max);
    return ERR_NONE;
}

static void take_errors(struct child *child)
{
    char rest[1024];
    size_t left = CHILD_ERRORS_MAX - 1 - child->errors_size;
    ssize_t n;

    if (left > 0)
        n = read(child->errors, child->result->errors + child->errors_size, left);
    else
        n = read(child->errors, rest, sizeof rest); /* nobody reads it, but it must not block */
    if (n > 0 && left > 0)
        child->errors_size += (size_t)n;
    else if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        close_fd(&child->errors);
}

/* Whether the child has ended, without reaping it: its process group stays its own until then. */
static bool has_ended(const struct child *child)
{
    siginfo_t info = {0};

    return waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == child->pid;
}

/* Moves bytes until the child has ended and its pipes are drained, or the time is up. A descendant
 * that keeps the pipes open does not hold up the end. */
static int pump(struct child *child, int64_t deadline, struct err *err)
{
    for (;;) {
        struct pollfd fds[4] = {{.fd = child->in, .events = POLLOUT},
                                {.fd = child->out, .events = POLLIN},
                                {.fd = child->errors, .events = POLLIN},
                                {.fd = child->pidfd, .events = POLLIN}};
        int64_t left = deadline - now_ms();
        bool ended = has_ended(child);
        int ready, rc;

        if (ended && child->out < 0 && child->errors < 0)
            return ERR_NONE;
        if (left <= 0)
            return ended ? ERR_NONE
                         : err_set(err, ERR_TIMEOUT, "%s did not end within %d ms; it was stopped",
                                   child->spec->argv[0], child->spec->timeout_ms);
        /* Without a pidfd (Linux before 5.3) the end of a child that closed its pipes is looked for
         * now and then. */
        if (child->pidfd < 0 && left > 50)
            left = 50;
        ready = poll(fds, 4, ended ? 0 : (int)left);
        if (ready < 0 && errno != EINTR)
            return err_errno(err, ERR_IO, errno, "cannot wait for %s", child->spec->argv[0]);
        if (ready <= 0) {
            if (ended)
                return ERR_NONE;
            continue;
        }
        if (fds[0].revents != 0)
            feed_input(child);
        rc = fds[1].revents != 0 ? take_output(child, err) : ERR_NONE;
        if (rc != ERR_NONE)
            return rc;
        if (fds[2].revents != 0)
            take_errors(child);
        if (ended && fds[1].revents == 0 && fds[2].revents == 0)
            return ERR_NONE;
    }
}

/* SIGTERM, and SIGKILL after the grace: git removes its lock files when it is asked to end. */
static void stop(struct child *child)
{
    int64_t until = now_ms() + CHILD_GRACE_MS;

    (void)kill(-child->pid, SIGTERM);
    while (!has_ended(child) && now_ms() < until) {
        struct pollfd end = {.fd = child->pidfd, .events = POLLIN};
        int64_t left = until - now_ms();

        if (child->pidfd < 0 && left > 50)
            left = 50;
        (void)poll(&end, 1, left > 0 ? (int)left : 0);
    }
}

/* Writing to a program that ended must not end this one; the signal is taken from this thread. */
static bool block_sigpipe(sigset_t *before)
{
    sigset_t pipe_only, pending;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    (void)sigpending(&pending);
    (void)pthread_sigmask(SIG_BLOCK, &pipe_only, before);
    return sigismember(&pending, SIGPIPE) == 1;
}

static void unblock_sigpipe(const sigset_t *before, bool was_pending)
{
    const struct timespec at_once = {0};
    sigset_t pipe_only;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    if (!was_pending)
        while (sigtimedwait(&pipe_only, NULL, &at_once) < 0 && errno == EINTR)
            ;
    (void)pthread_sigmask(SIG_SETMASK, before, NULL);
}

int child_run(const struct child_spec *spec, struct child_result *result, struct err *err)
{
    int64_t deadline = now_ms() + spec->timeout_ms;
    struct child_result found = {0};
    struct child child = {
        .spec = spec, .pidfd = -1, .in = -1, .out = -1, .errors = -1, .result = &found};
    sigset_t before;
    bool was_pending = block_sigpipe(&before);
    int status = 0;
    int rc = grow_output(&child, err);

    if (rc == ERR_NONE)
        rc = start(&child, err);
    if (rc != ERR_NONE)
        goto err_before_start;
    rc = pump(&child, deadline, err);
    if (rc != ERR_NONE)
        stop(&child);
    /* The child is not reaped yet, so its process group is still its own. */
    (void)kill(-child.pid, SIGKILL);
    reap(&child, &status);
    close_fd(&child.pidfd);
    close_fd(&child.in);
    close_fd(&child.out);
    close_fd(&child.errors);
err_before_start:
    unblock_sigpipe(&before, was_pending);
    if (rc != ERR_NONE) {
        free(child.output);
        return rc;
    }
    child.output[child.size] = '\0';
    found.output = child.output;
    found.output_size = child.size;
    found.status = WIFSIGNALED(status) ? FIRST_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
    *result = found;
    return ERR_NONE;
}

void child_result_free(struct child_result *result)
{
    free(result->output);
    result->output = NULL;
}

int child_failed(const struct child_result *result, int code, struct err *err, const char *what)
{
    char quote[QUOTE_MAX];
    size_t used = 0;

    /* Line ends become "; ", other control characters spaces: the text may stand in a table. */
    for (const char *p = result->errors; *p != '\0' && used + 3 < sizeof quote; p++) {
        if (*p == '\n' && p[1] != '\0') {
            quote[used++] = ';';
            quote[used++] = ' ';
        } else if (*p != '\n') {
            quote[used++] = (unsigned char)*p < ' ' || *p == 127 ? ' ' : *p;
        }
    }
    quote[used] = '\0';
    if (result->status > FIRST_SIGNAL)
        return err_set(err, code, "%s: ended by signal %d (%s): %s", what,
                       result->status - FIRST_SIGNAL, strsignal(result->status - FIRST_SIGNAL),
                       quote);
    return err_set(err, code, "%s: exit code %d: %s", what, result->status,
                   used > 0 ? quote : "it said nothing");
}
