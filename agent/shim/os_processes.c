#include "agent/shim/processes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the child, between fork and execve ---- */

enum stage { STAGE_SETUP, STAGE_CGROUP, STAGE_LIMITS, STAGE_USER, STAGE_FOLDER, STAGE_EXECUTE };

struct failure {
    enum stage stage;
    int errnum;
};

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

static int set_limits(const struct shim_spec *s)
{
    struct rlimit limit = {.rlim_cur = (rlim_t)s->nofile, .rlim_max = (rlim_t)s->nofile};

    return s->nofile == 0 ? 0 : setrlimit(RLIMIT_NOFILE, &limit);
}

/* A workload may be killed to save memory; its shim is not (see main.c), so that the end of the
 * one is recorded by the other. */
static void reset_oom_score(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (write(fd, "0", 1) != 1)
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
static int execute(const struct shim_spec *s, char *const env[])
{
    const char *command = s->argv[0];
    char *const *argv = (char *const *)s->argv;
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

static struct failure become(const struct shim_spec *s, int output, int error, pid_t shim)
{
    const char *env[SHIM_ENV_MAX + 2];
    char mark[4096];
    size_t n = 0;

    if (setsid() < 0 || reset_signals() != 0 || redirect(output, error) != 0)
        return (struct failure){STAGE_SETUP, errno};
    if (s->cgroup != NULL && write_pid(s->cgroup) != 0)
        return (struct failure){STAGE_CGROUP, errno};
    reset_oom_score();
    umask(022);
    if (set_limits(s) != 0)
        return (struct failure){STAGE_LIMITS, errno};
    if (switch_user(s) != 0)
        return (struct failure){STAGE_USER, errno};
    if (chdir(s->working_dir != NULL ? s->working_dir : "/") != 0)
        return (struct failure){STAGE_FOLDER, errno};
    if (s->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return (struct failure){STAGE_USER, errno};
    /* Without its shim nobody would watch it: it dies with it. A change of user forgets this
     * setting, so it comes after; and the shim may have died before it took effect. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != shim)
        return (struct failure){STAGE_SETUP, ESRCH};
    /* First, so that it is found however long the rest is. */
    snprintf(mark, sizeof mark, SHIM_MARK "=%s", s->dir);
    env[0] = mark;
    for (; s->env[n] != NULL; n++)
        env[n + 1] = s->env[n];
    env[n + 1] = NULL;
    return (struct failure){STAGE_EXECUTE, execute(s, (char *const *)env)};
}

/* ---- the shim's side ---- */

static int explain(const struct shim_spec *s, const struct failure *f, struct err *err)
{
    const char *command = s->argv[0];

    switch (f->stage) {
    case STAGE_SETUP:
        return err_errno(err, ERR_IO, f->errnum, "prepare a process for %s", s->instance);
    case STAGE_CGROUP:
        return err_errno(err, ERR_IO, f->errnum, "enter the cgroup %s", s->cgroup);
    case STAGE_LIMITS:
        return err_errno(err, ERR_DENIED, f->errnum, "set the limit of %" PRIu64 " open files",
                         s->nofile);
    case STAGE_USER:
        return err_errno(err, ERR_DENIED, f->errnum, "become user %" PRIu32 ", group %" PRIu32,
                         s->uid, s->gid);
    case STAGE_FOLDER:
        return err_errno(err, ERR_NOTFOUND, f->errnum, "go to the working directory %s",
                         s->working_dir != NULL ? s->working_dir : "/");
    case STAGE_EXECUTE:
        break;
    }
    if (f->errnum == ENOENT)
        return err_set(err, ERR_NOTFOUND,
                       strchr(command, '/') != NULL
                           ? "%s does not exist (or the interpreter it names)"
                           : "%s is in no folder of PATH; give its whole path",
                       command);
    if (f->errnum == EACCES)
        return err_set(err, ERR_DENIED, "%s may not be executed; check its mode and owner",
                       command);
    if (f->errnum == ENOEXEC)
        return err_set(err, ERR_INVALID,
                       "%s is no program for this machine (another architecture, or a script "
                       "without #!)",
                       command);
    return err_errno(err, ERR_IO, f->errnum, "execute %s", command);
}

int shim_process_start(const struct shim_spec *spec, int output, int error, pid_t *pid, int *errnum,
                       struct err *err)
{
    struct failure failure;
    pid_t shim = getpid();
    int report[2];
    ssize_t n;
    pid_t child;

    if (pipe2(report, O_CLOEXEC) != 0) {
        *errnum = errno;
        return err_errno(err, ERR_IO, errno, "make a pipe for %s", spec->instance);
    }
    child = fork();
    if (child < 0) {
        *errnum = errno;
        close(report[0]);
        close(report[1]);
        return err_errno(err, ERR_IO, *errnum, "fork for %s", spec->instance);
    }
    if (child == 0) {
        failure = become(spec, output, error, shim);
        if (write(report[1], &failure, sizeof failure) < 0)
            _exit(126);
        _exit(127);
    }
    close(report[1]);
    do
        n = read(report[0], &failure, sizeof failure);
    while (n < 0 && errno == EINTR);
    close(report[0]);
    if (n == 0) {
        *pid = child;
        return ERR_NONE;
    }
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    if (n != (ssize_t)sizeof failure)
        failure = (struct failure){STAGE_SETUP, EIO};
    *errnum = failure.errnum;
    return explain(spec, &failure, err);
}

/* ---- /proc ---- */

struct process {
    pid_t pid;
    pid_t parent;
    pid_t session;
    uint64_t ticks;
    bool dead; /* a zombie */
};

/* Reads at most size - 1 bytes of /proc/<pid>/<name> and ends them by zero; -1: gone. */
static ssize_t read_proc(pid_t pid, const char *name, char *buffer, size_t size)
{
    char path[48];
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    n = read(fd, buffer, size - 1);
    close(fd);
    if (n >= 0)
        buffer[n] = '\0';
    return n;
}

static bool read_stat(pid_t pid, struct process *p)
{
    char text[1024];
    char state;
    char *after;
    int parent;
    int session;

    if (read_proc(pid, "stat", text, sizeof text) <= 0)
        return false;
    /* The name stands in parentheses and may itself hold some. */
    after = strrchr(text, ')');
    if (after == NULL ||
        sscanf(after + 1,
               " %c %d %*d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %" SCNu64,
               &state, &parent, &session, &p->ticks) != 4)
        return false;
    p->pid = pid;
    p->parent = parent;
    p->session = session;
    p->dead = state == 'Z' || state == 'X';
    return true;
}

uint64_t shim_process_ticks(pid_t pid)
{
    struct process p;

    return read_stat(pid, &p) ? p.ticks : 0;
}

/* The next process in @proc; false at the end. */
static bool next_process(DIR *proc, struct process *p)
{
    struct dirent *entry;

    while ((entry = readdir(proc)) != NULL) {
        char *end;
        long pid = strtol(entry->d_name, &end, 10);
        if (*end == '\0' && pid > 0 && read_stat((pid_t)pid, p))
            return true;
    }
    return false;
}

/* Whether @p descends from @ancestor, by walking up. The chain is bounded: it may change underway.
 */
static bool descends(struct process p, pid_t ancestor)
{
    for (int depth = 0; depth < 256 && p.parent > 1; depth++) {
        if (p.parent == ancestor)
            return true;
        if (!read_stat(p.parent, &p))
            return false;
    }
    return p.parent == ancestor;
}

unsigned shim_processes_signal(int signal)
{
    DIR *proc = opendir("/proc");
    pid_t self = getpid();
    struct process p;
    unsigned count = 0;

    if (proc == NULL)
        return 0;
    while (next_process(proc, &p)) {
        if (p.pid == self || p.dead || !descends(p, self))
            continue;
        count++;
        kill(p.pid, signal);
    }
    closedir(proc);
    return count;
}

static bool marked(pid_t pid, const char *mark)
{
    char text[4096]; /* it is the first variable, unless a program has moved it */
    size_t len = strlen(mark);
    ssize_t n = read_proc(pid, "environ", text, sizeof text);

    for (ssize_t at = 0; at < n; at += (ssize_t)strlen(text + at) + 1) {
        if (strncmp(text + at, mark, len + 1) == 0)
            return true;
    }
    return false;
}

unsigned shim_processes_sweep(const struct shim_record *record, const char *dir)
{
    uint64_t leader = record->pid > 0 ? shim_process_ticks(record->pid) : 0;
    /* The session's number may belong to somebody else by now: then its leader is another. */
    bool session = record->pid > 0 && (leader == 0 || leader == record->start_ticks);
    DIR *proc = opendir("/proc");
    char mark[4096];
    struct process p;
    unsigned count = 0;

    if (proc == NULL)
        return 0;
    snprintf(mark, sizeof mark, SHIM_MARK "=%s", dir);
    while (next_process(proc, &p)) {
        bool member = session && p.session == record->pid && p.ticks >= record->start_ticks;
        if (p.dead || p.pid == getpid() || !(member || marked(p.pid, mark)))
            continue;
        count++;
        kill(p.pid, SIGKILL);
    }
    closedir(proc);
    return count;
}
