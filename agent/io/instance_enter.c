#include "agent/io/instance_enter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENVIRON_MAX 262144

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
        enter->env[n++] = enter->text + i;
    return ERR_NONE;
}

int instance_enter(pid_t pid, uid_t uid, gid_t gid, const char *const *command,
                   struct instance_enter *enter, struct err *err)
{
    const char *const own[] = {ENTER_PROGRAM,     "-t", enter->numbers[0], "-m", "-w", "-S",
                               enter->numbers[1], "-G", enter->numbers[2], "--", NULL};
    size_t size = 0;
    size_t n = 0;
    int rc;

    memset(enter, 0, sizeof *enter);
    snprintf(enter->numbers[0], sizeof enter->numbers[0], "%d", (int)pid);
    snprintf(enter->numbers[1], sizeof enter->numbers[1], "%lu", (unsigned long)uid);
    snprintf(enter->numbers[2], sizeof enter->numbers[2], "%lu", (unsigned long)gid);
    for (; own[n] != NULL; n++)
        enter->argv[n] = own[n];
    for (size_t i = 0; command[i] != NULL && i < DESIRED_ARGS_MAX; i++)
        enter->argv[n++] = command[i];
    rc = read_environ(pid, &enter->text, &size, err);
    return rc == ERR_NONE ? split_environ(enter, size, err) : rc;
}

void instance_enter_free(struct instance_enter *enter)
{
    free(enter->env);
    free(enter->text);
}
