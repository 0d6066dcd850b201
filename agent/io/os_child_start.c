/* A program from fork to execve, and the pipes to it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <grp.h>

#include "agent/io/os_child_inside.h"

/* What the child could not do before it became the program. */
enum step { STEP_CHDIR, STEP_IDS, STEP_FILES, STEP_EXEC };

struct failure {
    enum step step;
    int errnum;
};

void child_close_fd(int *fd)
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
    child_close_fd(&ends[0]);
    child_close_fd(&ends[1]);
    return -1;
}

enum { PIPE_IN, PIPE_OUT, PIPE_ERRORS, PIPE_REPORT, PIPES };

static void close_pipes(int pipes[PIPES][2])
{
    for (int i = 0; i < PIPES; i++) {
        child_close_fd(&pipes[i][0]);
        child_close_fd(&pipes[i][1]);
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

void child_reap(struct child *child, int *status)
{
    while (waitpid(child->pid, status, 0) < 0 && errno == EINTR)
        ;
}

int child_start(struct child *child, struct err *err)
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
    child_close_fd(&pipes[PIPE_REPORT][1]);
    rc = await_exec(child, pipes[PIPE_REPORT][0], err);
    close_pipes(pipes);
    if (rc != ERR_NONE) {
        child_reap(child, &status);
        return rc;
    }
    (void)fcntl(child->in, F_SETFL, O_NONBLOCK);
    (void)fcntl(child->out, F_SETFL, O_NONBLOCK);
    (void)fcntl(child->errors, F_SETFL, O_NONBLOCK);
    child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
    return ERR_NONE;
}
