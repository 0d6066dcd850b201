#include "agent/io/instance_enter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENVIRON_MAX 262144

/* Without the groups, what the command leaves behind would live on beyond its instance's end and
 * limits: Erlang's tools start a daemon. */
#define JOIN_GROUPS                                                                                \
    "n=$1; shift\n"                                                                                \
    "while [ $n -gt 0 ]; do { echo 0 >\"$1/cgroup.procs\"; } 2>/dev/null; shift; n=$((n - 1)); "   \
    "done\n"                                                                                       \
    "exec \"$@\""

/* glibc's list for set-user-ID programs (sysdeps/generic/unsecvars.h), without those that only name
 * a place for own files. */
static bool is_dangerous(const char *variable)
{
    static const char *const names[] = {
        "GCONV_PATH=", "GETCONF_DIR=", "GLIBC_TUNABLES=",   "HOSTALIASES=",
        "LD_",         "LOCALDOMAIN=", "LOCPATH=",          "MALLOC_TRACE=",
        "NIS_PATH=",   "NLSPATH=",     "RESOLV_HOST_CONF=", "RES_OPTIONS="};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

/* The environment that the process was started with; its variables end in zeroes. */
static int read_environ(pid_t pid, char **text, size_t *size, struct err *err)
{
    char path[32];
    ssize_t n = 1;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, ERR_NOTFOUND, errno, "its process is gone");
    *text = malloc(ENVIRON_MAX + 1);
    while (*text != NULL && n > 0 && *size < ENVIRON_MAX) {
        n = read(fd, *text + *size, ENVIRON_MAX - *size);
        *size += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    if (*text == NULL)
        return err_set(err, ERR_NOMEM, "read its environment: %s", err_text(ERR_NOMEM));
    (*text)[*size] = '\0';
    return ERR_NONE;
}

static int split_environ(struct instance_enter *enter, size_t size, struct err *err)
{
    size_t count = 0;
    size_t n = 0;

    for (size_t i = 0; i < size; i++)
        count += enter->text[i] == '\0';
    enter->env = calloc(count + 2, sizeof *enter->env);
    if (enter->env == NULL)
        return err_set(err, ERR_NOMEM, "read its environment: %s", err_text(ERR_NOMEM));
    for (size_t i = 0; i < size && n <= count; i += strlen(enter->text + i) + 1)
        if (!is_dangerous(enter->text + i))
            enter->env[n++] = enter->text + i;
    return ERR_NONE;
}

static void add(struct instance_enter *enter, size_t *n, const char *const *words, size_t max)
{
    for (size_t i = 0; i < max && words[i] != NULL; i++)
        enter->argv[(*n)++] = words[i];
}

int instance_enter(pid_t pid, uid_t uid, gid_t gid, const char *const *cgroups,
                   const char *const *command, struct instance_enter *enter, struct err *err)
{
    const char *const join[] = {"/bin/sh", "-c", JOIN_GROUPS, "sh", enter->numbers[3], NULL};
    const char *const own[] = {ENTER_PROGRAM,     "-t", enter->numbers[0], "-m", "-w", "-S",
                               enter->numbers[1], "-G", enter->numbers[2], "--", NULL};
    size_t size = 0;
    size_t groups = 0;
    size_t n = 0;
    int rc;

    memset(enter, 0, sizeof *enter);
    while (groups < SHIM_CGROUPS_MAX && cgroups[groups] != NULL)
        groups++;
    snprintf(enter->numbers[0], sizeof enter->numbers[0], "%d", (int)pid);
    snprintf(enter->numbers[1], sizeof enter->numbers[1], "%lu", (unsigned long)uid);
    snprintf(enter->numbers[2], sizeof enter->numbers[2], "%lu", (unsigned long)gid);
    snprintf(enter->numbers[3], sizeof enter->numbers[3], "%zu", groups);
    if (groups > 0)
        add(enter, &n, join, SIZE_MAX);
    add(enter, &n, cgroups, groups);
    add(enter, &n, own, SIZE_MAX);
    add(enter, &n, command, DESIRED_ARGS_MAX);
    rc = read_environ(pid, &enter->text, &size, err);
    return rc == ERR_NONE ? split_environ(enter, size, err) : rc;
}

void instance_enter_free(struct instance_enter *enter)
{
    free(enter->env);
    free(enter->text);
}
