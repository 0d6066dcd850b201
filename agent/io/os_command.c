#include "agent/io/os_command.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/io/os_clock.h"

#define OUTPUT_MAX 256 /* bytes of a program's complaint that an error can carry */

/* Files in memory stand in for pipes: the child can neither block on them nor outlive our reading.
 */
static int memory_file(const char *name, const char *content)
{
    size_t len = strlen(content);
    size_t done = 0;
    int fd = memfd_create(name, MFD_CLOEXEC);

    if (fd < 0)
        return -1;
    while (done < len) {
        ssize_t n = write(fd, content + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            goto err_after_create;
        done += (size_t)n;
    }
    if (lseek(fd, 0, SEEK_SET) < 0)
        goto err_after_create;
    return fd;

err_after_create:
    close(fd);
    return -1;
}

/* Starts the program with default signal dispositions and an empty mask: an agent blocks and
 * ignores signals that its children must see. Returns an errno. */
static int start(const char *const argv[], int in, int out, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t pipe_signal;
    int rc;

    sigemptyset(&none);
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    rc = posix_spawn_file_actions_init(&files);
    if (rc != 0)
        return rc;
    rc = posix_spawnattr_init(&attributes);
    if (rc != 0)
        goto err_after_files;
    if ((rc = posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO)) != 0 ||
        (rc = posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO)) != 0 ||
        (rc = posix_spawn_file_actions_adddup2(&files, out, STDERR_FILENO)) != 0 ||
        (rc = posix_spawnattr_setsigmask(&attributes, &none)) != 0 ||
        (rc = posix_spawnattr_setsigdefault(&attributes, &pipe_signal)) != 0 ||
        (rc = posix_spawnattr_setflags(&attributes,
                                       POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)) != 0)
        goto err_after_attributes;
    rc = posix_spawnp(pid, argv[0], &files, &attributes, (char *const *)argv, environ);

err_after_attributes:
    posix_spawnattr_destroy(&attributes);
err_after_files:
    posix_spawn_file_actions_destroy(&files);
    return rc;
}

/* Waits until @pid has ended, kills it when the time is over. Returns 0 or an errno. */
static int wait_bounded(pid_t pid, int timeout_ms, int *status)
{
    mono_t deadline = mono_add(os_clock_now(), timeout_ms);
    int result = 0;
    int ready;
    int fd = pidfd_open(pid, 0);
    struct pollfd poll_for = {.fd = fd, .events = POLLIN};

    if (fd < 0) {
        result = errno;
    } else {
        do {
            int64_t left = mono_diff(deadline, os_clock_now());
            ready = poll(&poll_for, 1, left > 0 ? (int)left : 0);
        } while (ready < 0 && errno == EINTR);
        if (ready == 0)
            result = ETIMEDOUT;
        else if (ready < 0)
            result = errno;
        close(fd);
    }
    if (result != 0)
        kill(pid, SIGKILL);
    while (waitpid(pid, status, 0) < 0) {
        if (errno != EINTR)
            return errno;
    }
    return result;
}

/* The first line that the program wrote, for the error text. */
static void first_line(int fd, char text[OUTPUT_MAX])
{
    ssize_t n = pread(fd, text, OUTPUT_MAX - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
}

int os_command_begin(const char *const argv[], const char *input, struct os_command *command,
                     struct err *err)
{
    int rc;

    command->name = argv[0];
    command->in = memory_file("covey-input", input);
    if (command->in < 0)
        return err_errno(err, ERR_IO, errno, "prepare the input of %s", argv[0]);
    command->out = memory_file("covey-output", "");
    if (command->out < 0) {
        rc = err_errno(err, ERR_IO, errno, "prepare the output of %s", argv[0]);
        goto err_after_in;
    }
    rc = start(argv, command->in, command->out, &command->pid);
    if (rc == 0)
        return ERR_NONE;
    rc = err_errno(err, rc == ENOENT ? ERR_NOTFOUND : ERR_IO, rc, "start %s", argv[0]);
    close(command->out);
err_after_in:
    close(command->in);
    return rc;
}

int os_command_end(struct os_command *command, int timeout_ms, struct err *err)
{
    const char *name = command->name;
    char said[OUTPUT_MAX];
    int status = 0;
    int rc = wait_bounded(command->pid, timeout_ms, &status);

    if (rc == ETIMEDOUT) {
        rc = err_set(err, ERR_TIMEOUT, "%s was killed: not done after %d ms", name, timeout_ms);
    } else if (rc != 0) {
        rc = err_errno(err, ERR_IO, rc, "wait for %s", name);
    } else if (!WIFEXITED(status)) {
        rc = err_set(err, ERR_IO, "%s was ended by signal %d", name, WTERMSIG(status));
    } else if (WEXITSTATUS(status) != 0) {
        first_line(command->out, said);
        rc = err_set(err, ERR_IO, "%s ended with status %d: %s", name, WEXITSTATUS(status), said);
    }
    close(command->out);
    close(command->in);
    return rc;
}

int os_command_run(const char *const argv[], const char *input, int timeout_ms, struct err *err)
{
    struct os_command command;
    int rc = os_command_begin(argv, input, &command, err);

    return rc == ERR_NONE ? os_command_end(&command, timeout_ms, err) : rc;
}
