/* The process of a workload, from fork to execve. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/shim/failure.h"
#include "agent/shim/processes.h"
#include "agent/shim/sandbox.h"

#define LISTEN_FDS_START 3 /* sd_listen_fds(3) */

/* ---- the child, between fork and execve ---- */

static int write_pid(const char *cgroup)
{
    char path[4096];
    char text[16];
    int n = snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
    int fd;
    int rc;

    if (n < 0 || (size_t)n >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    n = snprintf(text, sizeof text, "%d", (int)getpid());
    rc = write(fd, text, (size_t)n) == n ? 0 : -1;
    close(fd);
    return rc;
}

/* Whether fork_into has put this process there: v2 has one group, and its name ends the line. */
static bool is_in(const char *cgroup)
{
    char text[1024];
    size_t len;
    ssize_t n;
    int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 1 || text[n - 1] != '\n' || strncmp(text, "0::/", 4) != 0)
        return false;
    text[n - 1] = '\0';
    len = strlen(text + 3);
    return strlen(cgroup) >= len && strcmp(cgroup + strlen(cgroup) - len, text + 3) == 0;
}

static int switch_user(const struct shim_spec *s)
{
    gid_t groups[SHIM_GROUPS_MAX];

    if (!s->switch_user)
        return 0;
    for (size_t i = 0; i < s->group_count; i++)
        groups[i] = s->groups[i];
    if (setgroups(s->group_count, groups) != 0 || setresgid(s->gid, s->gid, s->gid) != 0)
        return -1;
    return setresuid(s->uid, s->uid, s->uid);
}

/* More than the agent's own may take a privilege that the agent lacks: then as many as it has. */
static int set_limits(const struct shim_spec *s)
{
    struct rlimit limit = {.rlim_cur = (rlim_t)s->nofile, .rlim_max = (rlim_t)s->nofile};
    struct rlimit own;

    if (s->nofile == 0 || setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return 0;
    if (getrlimit(RLIMIT_NOFILE, &own) != 0 || own.rlim_max >= limit.rlim_max)
        return -1;
    own.rlim_cur = own.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &own);
}

/* A workload may be killed to save memory; its shim is not (see main.c), so that the end of the
 * one is recorded by the other. Less than the agent's own only root may ask for. */
static void set_oom_score(int score)
{
    char text[8];
    int n = snprintf(text, sizeof text, "%d", score);
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (write(fd, text, (size_t)n) != n)
        errno = 0;
    close(fd);
}

static int reset_signals(void)
{
    sigset_t none;

    for (int i = 1; i <= SIGRTMAX; i++)
        signal(i, SIG_DFL);
    sigemptyset(&none);
    return sigprocmask(SIG_SETMASK, &none, NULL);
}

static int redirect(int output, int error)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0)
        return -1;
    return dup2(error, STDERR_FILENO) < 0 ? -1 : 0;
}

static const char *search_path(const struct shim_spec *s)
{
    for (size_t i = 0; s->env[i] != NULL; i++) {
        if (strncmp(s->env[i], "PATH=", 5) == 0)
            return s->env[i] + 5;
    }
    return "/usr/local/bin:/usr/bin:/bin";
}

/* execvp without its fall-back to a shell, which would turn a program of the wrong architecture
 * into a syntax error. Returns an errno. */
static int execute(const struct shim_spec *s, const char *const *arguments, char *const env[])
{
    const char *command = arguments[0];
    char *const *argv = (char *const *)arguments;
    int errnum = ENOENT;

    if (strchr(command, '/') != NULL) {
        execve(command, argv, env);
        return errno;
    }
    for (const char *p = search_path(s); *p != '\0';) {
        size_t len = strcspn(p, ":");
        char path[4096];
        int n = snprintf(path, sizeof path, "%.*s/%s", (int)len, p, command);
        if (len > 0 && n > 0 && (size_t)n < sizeof path) {
            execve(path, argv, env);
            if (errno != ENOENT && errno != ENOTDIR)
                errnum = errno;
        }
        p += len + (p[len] == ':' ? 1 : 0);
    }
    return errnum;
}

/* Listening sockets go down to where sd_listen_fds(3) has them. The shim's own descriptors are all
 * closed by execve. */
static int place_sockets(const struct shim_spec *s)
{
    for (int i = 0; i < (int)s->listen; i++) {
        if (dup2(SHIM_FD_LISTEN + i, LISTEN_FDS_START + i) < 0)
            return -1;
    }
    for (int i = (int)s->listen; i < SHIM_FD_LISTEN - LISTEN_FDS_START + (int)s->listen; i++)
        close(LISTEN_FDS_START + i);
    return 0;
}

/* Everything that needs privileges, then their end. */
static struct failure restrict_self(const struct shim_spec *s)
{
    bool early = !s->no_new_privileges; /* without it a filter needs a privilege */
    struct sandbox_filter filter;

    for (size_t i = 0; s->cgroups[i] != NULL; i++) {
        if (!is_in(s->cgroups[i]) && write_pid(s->cgroups[i]) != 0)
            return (struct failure){STAGE_CGROUP, errno};
    }
    set_oom_score(s->oom_score);
    umask(022);
    if (set_limits(s) != 0)
        return (struct failure){STAGE_LIMITS, errno};
    if (sandbox_read_filter(&s->sandbox, &filter) != 0)
        return (struct failure){STAGE_FILTER, errno};
    if (sandbox_mount(&s->sandbox) != 0)
        return (struct failure){STAGE_MOUNT, errno};
    if (chdir(s->working_dir != NULL ? s->working_dir : "/") != 0)
        return (struct failure){STAGE_FOLDER, errno};
    if (early && sandbox_filter(&filter) != 0)
        return (struct failure){STAGE_FILTER, errno};
    if (sandbox_bound(&s->sandbox) != 0 || switch_user(s) != 0 || sandbox_keep(&s->sandbox) != 0)
        return (struct failure){STAGE_USER, errno};
    if (s->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return (struct failure){STAGE_USER, errno};
    if (!early && sandbox_filter(&filter) != 0)
        return (struct failure){STAGE_FILTER, errno};
    return (struct failure){STAGE_EXECUTE, 0};
}

/* Says that it is ready, and waits for the word to go on. Of the shim's descriptors it keeps none
 * but these two. */
static int await_word(int report, int go)
{
    const struct failure ready = {STAGE_READY, 0};
    int low = report < go ? report : go;
    int high = report < go ? go : report;
    ssize_t n;
    char word;

    prctl(PR_SET_NAME, "agent-standby");
    if (close_range(LISTEN_FDS_START, (unsigned)low - 1, 0) != 0 ||
        (high > low + 1 && close_range((unsigned)low + 1, (unsigned)high - 1, 0) != 0) ||
        close_range((unsigned)high + 1, ~0U, 0) != 0 ||
        write(report, &ready, sizeof ready) != (ssize_t)sizeof ready)
        return -1;
    do
        n = read(go, &word, 1);
    while (n < 0 && errno == EINTR);
    return n == 1 ? 0 : -1;
}

/* The descriptors that the child is left with, and who its parent is. */
struct birth {
    int output;
    int error;
    int report;
    int go; /* -1: does not wait */
    pid_t shim;
};

static struct failure become(const struct shim_spec *s, const char *const *argv,
                             const struct birth *birth)
{
    const char *env[SHIM_ENV_MAX + 4];
    struct failure failure;
    char sockets[32];
    char pid[32];
    char mark[4096];
    size_t n = 1;

    if (setsid() < 0 || reset_signals() != 0 || redirect(birth->output, birth->error) != 0)
        return (struct failure){STAGE_SETUP, errno};
    failure = restrict_self(s);
    if (failure.errnum != 0)
        return failure;
    /* Without its shim nobody would watch it: it dies with it. A change of user forgets this
     * setting, so it comes after; and the shim may have died before it took effect. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != birth->shim)
        return (struct failure){STAGE_SETUP, ESRCH};
    /* First, so that it is found however long the rest is. */
    snprintf(mark, sizeof mark, SHIM_MARK "=%s", s->dir);
    env[0] = mark;
    if (s->listen > 0) {
        snprintf(sockets, sizeof sockets, "LISTEN_FDS=%" PRIu32, s->listen);
        snprintf(pid, sizeof pid, "LISTEN_PID=%d", (int)getpid());
        env[n++] = sockets;
        env[n++] = pid;
        if (place_sockets(s) != 0)
            return (struct failure){STAGE_SETUP, errno};
    }
    for (size_t i = 0; s->env[i] != NULL; i++)
        env[n++] = s->env[i];
    env[n] = NULL;
    if (birth->go >= 0 && await_word(birth->report, birth->go) != 0)
        _exit(0);
    return (struct failure){STAGE_EXECUTE, execute(s, argv, (char *const *)env)};
}

/* ---- the shim's side ---- */

/* fork, with the child in its control group from the first instruction on: that spares the kernel's
 * grace period that a move costs. Where the kernel or the kind of group lacks it, become() moves.
 * Without an exit signal waitpid overlooks the child until it calls execve: that takes clone3. */
static pid_t fork_into(const struct shim_spec *spec, int exit_signal)
{
    struct clone_args args = {.exit_signal = (unsigned)exit_signal};
    pid_t child = -1;
    int fd = -1;

    if (spec->cgroups[0] != NULL && spec->cgroups[1] == NULL)
        fd = open(spec->cgroups[0], O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        args.flags = CLONE_INTO_CGROUP;
        args.cgroup = (unsigned)fd;
        child = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    }
    if (fd >= 0 && child != 0)
        close(fd);
    if (child >= 0 || exit_signal == SIGCHLD)
        return child >= 0 ? child : fork();
    args.flags = 0;
    return (pid_t)syscall(SYS_clone3, &args, CLONE_ARGS_SIZE_VER0);
}

/* The child's part. @birth's descriptors but for the streams go out of the way of the sockets that
 * are passed by number. */
__attribute__((noreturn)) static void run_child(const struct shim_spec *spec,
                                                const char *const *argv, struct birth birth)
{
    const int room = LISTEN_FDS_START + 2 * SHIM_LISTEN_MAX;
    struct failure failure;

    birth.report = fcntl(birth.report, F_DUPFD_CLOEXEC, room);
    if (birth.go >= 0)
        birth.go = fcntl(birth.go, F_DUPFD_CLOEXEC, room);
    if (birth.report < 0)
        _exit(126);
    failure = become(spec, argv, &birth);
    if (write(birth.report, &failure, sizeof failure) < 0)
        _exit(126);
    _exit(127);
}

static ssize_t read_report(int report, struct failure *failure)
{
    ssize_t n;

    do
        n = read(report, failure, sizeof *failure);
    while (n < 0 && errno == EINTR);
    return n;
}

static void reap(pid_t child)
{
    while (waitpid(child, NULL, __WALL) < 0 && errno == EINTR)
        ;
}

int shim_process_start(const struct shim_spec *spec, const char *const *argv, int output, int error,
                       pid_t *pid, int *errnum, struct err *err)
{
    struct birth birth = {.output = output, .error = error, .go = -1, .shim = getpid()};
    struct failure failure;
    int report[2];
    ssize_t n;
    pid_t child;

    if (pipe2(report, O_CLOEXEC) != 0) {
        *errnum = errno;
        return err_errno(err, ERR_IO, errno, "make a pipe for %s", spec->instance);
    }
    birth.report = report[1];
    child = fork_into(spec, SIGCHLD);
    if (child == 0)
        run_child(spec, argv, birth);
    *errnum = errno;
    close(report[1]);
    n = child > 0 ? read_report(report[0], &failure) : 0;
    close(report[0]);
    if (child < 0)
        return err_errno(err, ERR_IO, *errnum, "fork for %s", spec->instance);
    if (n == 0) {
        *pid = child;
        return ERR_NONE;
    }
    reap(child);
    if (n != (ssize_t)sizeof failure)
        failure = (struct failure){STAGE_SETUP, EIO};
    *errnum = failure.errnum;
    return failure_explain(spec, argv[0], &failure, err);
}

/* ---- one that waits ---- */

int shim_standby_fork(const struct shim_spec *spec, int output, int error,
                      struct shim_standby *standby, struct err *err)
{
    struct birth birth = {.output = output, .error = error, .shim = getpid()};
    int report[2];
    int go[2];
    int errnum;

    if (pipe2(report, O_CLOEXEC) != 0)
        return err_errno(err, ERR_IO, errno, "make a pipe for %s", spec->instance);
    if (pipe2(go, O_CLOEXEC) != 0) {
        errnum = errno;
        close(report[0]);
        close(report[1]);
        return err_errno(err, ERR_IO, errnum, "make a pipe for %s", spec->instance);
    }
    birth.report = report[1];
    birth.go = go[0];
    standby->pid = fork_into(spec, 0);
    if (standby->pid == 0)
        run_child(spec, spec->argv, birth);
    errnum = errno;
    close(report[1]);
    close(go[0]);
    standby->report = report[0];
    standby->go = go[1];
    if (standby->pid > 0)
        return ERR_NONE;
    close(report[0]);
    close(go[1]);
    standby->pid = 0;
    return err_errno(err, ERR_IO, errnum, "fork for %s", spec->instance);
}

bool shim_standby_ready(const struct shim_standby *standby)
{
    struct failure failure;

    return read_report(standby->report, &failure) == (ssize_t)sizeof failure &&
           failure.stage == STAGE_READY;
}

int shim_standby_run(struct shim_standby *standby)
{
    struct failure failure = {STAGE_SETUP, ESRCH};
    siginfo_t info;
    ssize_t n = -1;

    if (write(standby->go, "", 1) == 1)
        n = read_report(standby->report, &failure);
    /* The end of the report is execve's doing, for then it is a child that can be waited for, or
     * its own end. */
    if (n == 0 && waitid(P_PID, (id_t)standby->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0) {
        close(standby->report);
        close(standby->go);
        standby->pid = 0;
        return 0;
    }
    shim_standby_end(standby);
    return n == (ssize_t)sizeof failure && failure.errnum != 0 ? failure.errnum : ESRCH;
}

void shim_standby_end(struct shim_standby *standby)
{
    if (standby->pid == 0)
        return;
    kill(standby->pid, SIGKILL);
    reap(standby->pid);
    close(standby->report);
    close(standby->go);
    standby->pid = 0;
}
