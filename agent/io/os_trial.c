#include "agent/io/os_trial.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FORMER "COVEY_TRIAL_FORMER" /* descriptor of the former program */
#define FROM "COVEY_TRIAL_FROM"
#define BEGAN "COVEY_TRIAL_BEGAN"
#define FAILED "COVEY_TRIAL_FAILED"
#define LEFT "COVEY_TRIAL_LEFT" /* descriptors, each with a space behind it */
#define ENV_MAX 128

/* What a signal handler needs: it has no argument to pass it by, and may neither allocate nor ask.
 * Written before the handlers are set, and by nobody afterwards. */
static struct {
    int former;
    char **argv;
    char *env[ENV_MAX + 2];
    char failed[OS_TRIAL_TEXT + sizeof FAILED + 1];
    char from[64];
} back = {.former = -1};

static const int crashes[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGALRM};

static int64_t boot_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Only calls that a signal handler may make. */
static void go_back(void)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    syscall(SYS_execveat, back.former, "", back.argv, back.env, AT_EMPTY_PATH);
    _exit(1);
}

static void on_crash(int number)
{
    char *at = back.failed + sizeof FAILED; /* behind "NAME=" */
    const char *text = number == SIGALRM ? "was not healthy in time" : "crashed by signal ";

    while (*text != '\0')
        *at++ = *text++;
    if (number != SIGALRM) {
        if (number >= 10)
            *at++ = (char)('0' + number / 10);
        *at++ = (char)('0' + number % 10);
    }
    *at = '\0';
    go_back();
}

static bool is_own(const char *variable)
{
    return strncmp(variable, "COVEY_TRIAL_", 12) == 0;
}

/* The environment for the way back. */
static void prepare_env(void)
{
    size_t n = 0;

    for (size_t i = 0; environ[i] != NULL && n < ENV_MAX; i++)
        if (!is_own(environ[i]))
            back.env[n++] = environ[i];
    snprintf(back.failed, sizeof back.failed, FAILED "=");
    snprintf(back.from, sizeof back.from, FROM "=%.32s", COVEY_VERSION);
    back.env[n++] = back.failed;
    back.env[n++] = back.from;
}

static void set_handlers(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};

    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
        sigaction(crashes[i], &action, NULL);
}

static void take_left(const char *list, struct os_trial *trial)
{
    char *end;

    while (trial->left_count < OS_TRIAL_LEFT_MAX) {
        long fd = strtol(list, &end, 10);
        if (end == list)
            return;
        list = end;
        if (fd > STDERR_FILENO && fd <= INT_MAX && fcntl((int)fd, F_SETFD, FD_CLOEXEC) == 0)
            trial->left[trial->left_count++] = (int)fd;
    }
}

void os_trial_begin(char **argv, struct os_trial *trial)
{
    const char *former = getenv(FORMER);
    const char *failed = getenv(FAILED);
    const char *from = getenv(FROM);
    const char *began = getenv(BEGAN);
    const char *left = getenv(LEFT);

    memset(trial, 0, sizeof *trial);
    snprintf(trial->from, sizeof trial->from, "%.31s", from != NULL ? from : "");
    if (failed != NULL) {
        trial->state = OS_TRIAL_ROLLED_BACK;
        snprintf(trial->reason, sizeof trial->reason, "%.190s", failed);
    } else if (former != NULL) {
        trial->state = OS_TRIAL_RUNNING;
        trial->began_us = began != NULL ? strtoll(began, NULL, 10) : 0;
        back.former = atoi(former);
        back.argv = argv;
        fcntl(back.former, F_SETFD, FD_CLOEXEC);
        take_left(left != NULL ? left : "", trial);
        prepare_env();
        set_handlers(on_crash);
        alarm(OS_TRIAL_S);
    }
    unsetenv(FORMER);
    unsetenv(FAILED);
    unsetenv(FROM);
    unsetenv(BEGAN);
    unsetenv(LEFT);
}

/* Whether execve keeps them. */
static void keep_left(const int *left, size_t count, bool keep)
{
    for (size_t i = 0; i < count; i++)
        fcntl(left[i], F_SETFD, keep ? 0 : FD_CLOEXEC);
}

int os_trial_start(const char *program, char **argv, const char *version, const int *left,
                   size_t left_count, struct err *err)
{
    char former[16];
    char began[32];
    char list[OS_TRIAL_LEFT_MAX * 12 + 1] = "";
    size_t used = 0;
    int rc;
    int fd = open("/proc/self/exe", O_RDONLY); /* stays open: the way back */

    if (fd < 0)
        return err_errno(err, ERR_IO, errno, "upgrade: open this program");
    snprintf(former, sizeof former, "%d", fd);
    snprintf(began, sizeof began, "%" PRId64, boot_us());
    for (size_t i = 0; i < left_count; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%d ", left[i]);
    keep_left(left, left_count, true);
    rc = setenv(FORMER, former, 1) != 0 || setenv(FROM, version, 1) != 0 ||
         setenv(BEGAN, began, 1) != 0 || setenv(LEFT, list, 1) != 0;
    if (rc == 0)
        execv(program, argv);
    rc = err_errno(err, ERR_IO, errno, "upgrade: become %s", program);
    keep_left(left, left_count, false);
    unsetenv(FORMER);
    unsetenv(FROM);
    unsetenv(BEGAN);
    unsetenv(LEFT);
    close(fd);
    return rc;
}

void os_trial_pass(void)
{
    if (back.former < 0)
        return;
    alarm(0);
    set_handlers(SIG_DFL);
    close(back.former);
    back.former = -1;
}

void os_trial_fail(const char *reason)
{
    if (back.former < 0)
        return;
    snprintf(back.failed, sizeof back.failed, FAILED "=%.180s", reason);
    go_back();
}
