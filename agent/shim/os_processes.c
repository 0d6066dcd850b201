#include "agent/shim/processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

unsigned shim_processes_signal(int signal, pid_t but)
{
    DIR *proc = opendir("/proc");
    pid_t self = getpid();
    struct process p;
    unsigned count = 0;

    if (proc == NULL)
        return 0;
    while (next_process(proc, &p)) {
        if (p.pid == self || p.pid == but || p.dead || !descends(p, self))
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

unsigned shim_processes_kill_group(int group)
{
    int fd = group >= 0 ? openat(group, "cgroup.procs", O_RDONLY | O_CLOEXEC) : -1;
    FILE *list = fd >= 0 ? fdopen(fd, "r") : NULL;
    unsigned count = 0;
    int pid;

    if (list == NULL) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    while (fscanf(list, "%d", &pid) == 1)
        if (pid > 0 && pid != getpid()) /* 0: in another name space of processes */
            count += kill(pid, SIGKILL) == 0;
    fclose(list);
    return count;
}
