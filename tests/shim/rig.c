#include "tests/shim/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

int64_t rig_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int rig_setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    struct err err = {0};

    assert_non_null(rig);
    snprintf(rig->base, sizeof rig->base, "/tmp/covey-test-shim-XXXXXX");
    assert_non_null(mkdtemp(rig->base));
    snprintf(rig->run_dir, sizeof rig->run_dir, "%s/run", rig->base);
    snprintf(rig->log_dir, sizeof rig->log_dir, "%s/log", rig->base);
    snprintf(rig->fifo_path, sizeof rig->fifo_path, "%s/fifo", rig->base);
    assert_int_equal(chmod(rig->base, 0755), 0);
    assert_int_equal(mkdir(rig->run_dir, 0755), 0);
    assert_int_equal(mkfifo(rig->fifo_path, 0622), 0);
    assert_int_equal(chmod(rig->fifo_path, 0622), 0);
    rig->fifo = open(rig->fifo_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    assert_true(rig->fifo >= 0);
    rig->where =
        (struct os_shims){.program = AGENT_SHIM, .run_dir = rig->run_dir, .log_dir = rig->log_dir};
    if (os_shim_prepare(&rig->where, &err) != ERR_NONE)
        fail_msg("%s", err.text);
    *state = rig;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void end_one(void *context, enum os_shim_found found, const struct shim_record *record)
{
    struct rig *rig = context;
    struct shim_record end;
    struct os_shim *shim;

    if (found == OS_SHIM_FOUND_LOST) {
        while (os_shim_sweep(&rig->where, record->instance, NULL) > 0)
            ;
    } else if (found == OS_SHIM_FOUND_ALIVE &&
               os_shim_connect(&rig->where, record->instance, &shim, NULL) == ERR_NONE) {
        os_shim_stop(shim, 0, 0, NULL);
        rig_wait(shim, OS_SHIM_EXITED, &end);
        os_shim_close(shim);
    }
}

int rig_teardown(void **state)
{
    struct rig *rig = *state;
    unsigned damaged;
    int rc = os_shim_scan(&rig->where, end_one, rig, &damaged, NULL);

    close(rig->fifo);
    nftw(rig->base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(rig);
    return rc == ERR_NONE && damaged == 0 ? 0 : -1;
}

struct shim_spec rig_shell(struct rig *rig, const char *instance, const char *script)
{
    static char fifo[128];

    snprintf(fifo, sizeof fifo, "FIFO=%s", rig->fifo_path);
    return (struct shim_spec){
        .instance = instance,
        .generation = 7,
        .log_file_bytes = 1000000,
        .log_files = 3,
        .stop_signal = SIGTERM,
        .stop_timeout_ms = 10000,
        .argv = {"/bin/sh", "-c", script},
        .env = {"PATH=/usr/local/bin:/usr/bin:/bin", fifo},
    };
}

struct os_shim *rig_start(struct rig *rig, const struct shim_spec *spec, struct shim_record *record)
{
    struct os_shim *shim;
    struct err err = {0};

    if (os_shim_start(&rig->where, spec, &shim, &err) != ERR_NONE)
        fail_msg("%s", err.text);
    rig_wait(shim, OS_SHIM_STATUS, record);
    assert_int_equal(record->state, SHIM_RUNNING);
    return shim;
}

static void wait_readable(int fd, const char *what)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n;

    do
        n = poll(&p, 1, RIG_WAIT_MS);
    while (n < 0 && errno == EINTR);
    if (n != 1)
        fail_msg("%s: nothing came within %d ms", what, RIG_WAIT_MS);
}

void rig_wait(struct os_shim *shim, enum os_shim_event_type type, struct shim_record *record)
{
    struct os_shim_event event;

    for (;;) {
        os_shim_read(shim, &event);
        if (event.type == OS_SHIM_NONE)
            wait_readable(os_shim_fd(shim), "event of the shim");
        else if (event.type == type)
            break;
        else if (event.type != OS_SHIM_STATUS)
            fail_msg("waited for event %d, got %d: %s", type, event.type, event.record.text);
    }
    *record = event.record;
}

void rig_line(struct rig *rig, char *line, size_t size)
{
    size_t len = 0;

    for (;;) {
        ssize_t n = read(rig->fifo, line + len, 1);
        if (n < 0)
            wait_readable(rig->fifo, "line of the workload");
        else if (line[len] == '\n' || ++len == size)
            break;
    }
    assert_true(len < size);
    line[len] = '\0';
}

pid_t rig_pid(struct rig *rig)
{
    char line[32];

    rig_line(rig, line, sizeof line);
    return (pid_t)strtol(line, NULL, 10);
}

void rig_wait_gone(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    if (fd < 0) {
        assert_int_equal(errno, ESRCH);
        return;
    }
    wait_readable(fd, "end of a process");
    close(fd);
}

struct only {
    enum os_shim_found found;
    struct shim_record *record;
    int count;
};

static void note(void *context, enum os_shim_found found, const struct shim_record *record)
{
    struct only *only = context;

    only->found = found;
    *only->record = *record;
    only->count++;
}

enum os_shim_found rig_scan(struct rig *rig, struct shim_record *record)
{
    struct only only = {.record = record};
    struct err err = {0};
    unsigned damaged;

    if (os_shim_scan(&rig->where, note, &only, &damaged, &err) != ERR_NONE)
        fail_msg("%s", err.text);
    assert_int_equal(only.count, 1);
    assert_int_equal(damaged, 0);
    return only.found;
}

bool rig_exists(const struct rig *rig, const char *name)
{
    char path[256];
    struct stat st;

    snprintf(path, sizeof path, "%s/shim/%s", rig->run_dir, name);
    return stat(path, &st) == 0;
}
