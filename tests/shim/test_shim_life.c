/* Real workloads under real shims: how they start, what they are given, who may talk to them. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/shim/rig.h"

static void runs_as_specified_and_reports_the_exit(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(
        rig, "shop/web.0",
        "echo \"$0 $1 $COLOUR $(pwd) $(ulimit -n) $(cat | wc -c) $(cat /proc/self/oom_score_adj)\" "
        ">$FIFO; cat $FIFO.go; exit 42");
    struct shim_record started;
    struct shim_record end;
    struct os_shim *shim;
    char go[128];
    char line[128];
    struct stat st;
    (void)state;

    snprintf(go, sizeof go, "%s.go", rig->fifo_path);
    assert_int_equal(mkfifo(go, 0600), 0);
    spec.note = "ports=8000";
    spec.argv[3] = "zero";
    spec.argv[4] = "one two";
    spec.env[2] = "COLOUR=blue";
    spec.working_dir = "/usr";
    spec.nofile = 77;
    spec.oom_score = 321;
    shim = rig_start(rig, &spec, &started);
    assert_string_equal(started.instance, "shop/web.0");
    assert_int_equal(started.generation, 7);
    assert_string_equal(started.note, "ports=8000");
    assert_int_equal(getsid(started.pid), started.pid);
    assert_int_equal(getpgid(started.pid), started.pid);
    assert_int_not_equal(getpgid(started.shim_pid), getpgid(0));
    assert_true(rig_exists(rig, "shop@web.0/sock"));
    snprintf(line, sizeof line, "%s/shim/shop@web.0/sock", rig->run_dir);
    assert_int_equal(stat(line, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    rig_line(rig, line, sizeof line);
    assert_string_equal(line, "zero one two blue /usr 77 0 321");
    close(open(go, O_WRONLY));
    rig_wait(shim, OS_SHIM_EXITED, &end);
    assert_int_equal(end.pid, started.pid);
    assert_int_equal(end.exit, SHIM_EXIT_CODE);
    assert_int_equal(end.exit_value, 42);
    assert_int_equal(end.cause, SHIM_CAUSE_SELF);
    assert_true(end.ended_ms >= end.started_ms && end.started_ms > 0);
    assert_true(end.ended_wall_ms >= end.started_wall_ms);
    assert_true(rig_exists(rig, "shop@web.0/exit"));
    assert_false(rig_exists(rig, "shop@web.0/sock"));
    os_shim_acknowledge(&rig->where, "shop/web.0", shim);
    assert_false(rig_exists(rig, "shop@web.0"));
    os_shim_close(shim);
    rig_wait_gone(started.shim_pid);
}

static void a_second_start_is_refused(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "a", "echo $$ >$FIFO; exec sleep 1000");
    struct shim_record first;
    struct shim_record record;
    struct os_shim *shim = rig_start(rig, &spec, &first);
    struct os_shim *second;

    assert_int_equal(rig_pid(rig), first.pid);
    assert_int_equal(os_shim_start(&rig->where, &spec, &second, NULL), ERR_NONE);
    rig_wait(second, OS_SHIM_FAILED, &record);
    assert_int_equal(record.code, ERR_EXISTS);
    assert_string_equal(record.instance, "a");
    os_shim_close(second);
    /* It has not touched what is the first one's. */
    os_shim_acknowledge(&rig->where, "a", NULL);
    assert_int_equal(rig_scan(rig, &record), OS_SHIM_FOUND_ALIVE);
    assert_int_equal(record.pid, first.pid);
    assert_int_equal(os_shim_connect(&rig->where, "a", &second, NULL), ERR_NONE);
    rig_wait(second, OS_SHIM_STATUS, &record);
    os_shim_stop(second, 0, -1, NULL);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    assert_int_equal(record.exit_value, SIGTERM);
    /* Whoever hears of the end may start again at once. */
    os_shim_close(shim);
    shim = rig_start(rig, &spec, &record);
    assert_int_not_equal(record.pid, first.pid);
    rig_wait(second, OS_SHIM_EXITED, &first);
    os_shim_close(second);
    os_shim_close(shim);
}

static void a_start_that_fails_says_why(void **state)
{
    struct rig *rig = *state;
    char junk[128];
    char plain[128];
    const struct {
        const char *command;
        const char *folder;
        int code;
        const char *text;
    } rows[] = {
        {"/no/such/program", NULL, ERR_NOTFOUND, "/no/such/program does not exist"},
        {"no-such-program", NULL, ERR_NOTFOUND, "is in no folder of PATH"},
        {plain, NULL, ERR_DENIED, "may not be executed"},
        {junk, NULL, ERR_INVALID, "is no program for this machine"},
        {"true", "/no/such/folder", ERR_NOTFOUND, "go to the working directory /no/such/folder"},
    };
    struct shim_record record;
    struct os_shim *shim;
    struct err err;
    FILE *f;

    snprintf(junk, sizeof junk, "%s/junk", rig->base);
    snprintf(plain, sizeof plain, "%s/plain", rig->base);
    f = fopen(junk, "w");
    assert_non_null(f);
    fputs("\177ELF of another machine", f);
    fclose(f);
    chmod(junk, 0755);
    close(open(plain, O_WRONLY | O_CREAT, 0644));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct shim_spec spec = rig_shell(rig, "a", "");
        spec.argv[0] = rows[i].command;
        spec.working_dir = rows[i].folder;
        assert_int_equal(os_shim_start(&rig->where, &spec, &shim, NULL), ERR_NONE);
        rig_wait(shim, OS_SHIM_FAILED, &record);
        assert_int_equal(record.code, rows[i].code);
        assert_int_not_equal(record.errnum, 0);
        if (strstr(record.text, rows[i].text) == NULL)
            fail_msg("%s", record.text);
        os_shim_close(shim);
        assert_false(rig_exists(rig, "a/status"));
    }
    rig->where.program = "/no/such/agent-shim";
    assert_int_equal(os_shim_start(&rig->where, &(struct shim_spec){.instance = "a"}, &shim, &err),
                     ERR_INVALID);
    {
        struct shim_spec spec = rig_shell(rig, "../a", "");
        assert_int_equal(os_shim_start(&rig->where, &spec, &shim, &err), ERR_INVALID);
        spec.instance = "a";
        assert_int_equal(os_shim_start(&rig->where, &spec, &shim, &err), ERR_NOTFOUND);
    }
}

static void becomes_another_user(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec =
        rig_shell(rig, "a", "echo $(id -u) $(id -g) $(id -G) >$FIFO; exec sleep 1000");
    struct shim_record record;
    struct os_shim *shim;
    char line[64];

    if (geteuid() != 0)
        fail_msg("this test needs root");
    spec.switch_user = true;
    spec.uid = 12345;
    spec.gid = 12346;
    spec.groups[0] = 12347;
    spec.group_count = 1;
    spec.no_new_privileges = true;
    shim = rig_start(rig, &spec, &record);
    rig_line(rig, line, sizeof line);
    assert_string_equal(line, "12345 12346 12346 12347");
    /* Not its own user's to talk to: its socket is root's. It dies with its shim all the same. */
    kill(record.shim_pid, SIGKILL);
    rig_wait_gone(record.pid);
    os_shim_close(shim);
}

static void a_record_that_cannot_be_written_waits_to_be_noted(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "a", "exec sleep 1000");
    struct shim_record record;
    struct os_shim *shim = rig_start(rig, &spec, &record);
    char command[256];

    /* With its folder gone the exit can be told, but not written. */
    snprintf(command, sizeof command, "rm -r %s/shim/a", rig->run_dir);
    assert_int_equal(system(command), 0);
    kill(record.pid, SIGKILL);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    assert_int_equal(record.exit_value, SIGKILL);
    assert_int_equal(kill(record.shim_pid, 0), 0);
    os_shim_acknowledge(&rig->where, "a", shim);
    rig_wait_gone(record.shim_pid);
    os_shim_close(shim);

    /* And when nobody can ever hear of it, it does not stay. */
    shim = rig_start(rig, &spec, &record);
    os_shim_close(shim);
    assert_int_equal(system(command), 0);
    kill(record.pid, SIGKILL);
    rig_wait_gone(record.shim_pid);
}

static int raw_connect(const struct rig *rig, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s/shim/%s/sock", rig->run_dir, name);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void garbage_on_its_socket_is_survived(void **state)
{
    static const char *const bad[] = {
        "x",
        "covey-shim 1\n",
        "covey-shim 2\nrequest=status\n",
        "covey-shim 1\nrequest=explode\n",
        "covey-shim 1\nrequest=stop\nsignal=900\n",
        "covey-shim 1\nrequest=stop\ntimeout_ms=999999999999\n",
        "covey-shim 1\nrequest=stop\nno newline",
        "covey-shim 1\nnonsense\n",
    };
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "a", "exec sleep 1000");
    struct shim_record record;
    struct os_shim *shim = rig_start(rig, &spec, &record);
    char big[4096];
    char answer[SHIM_RECORD_MAX];
    int crowd[2 * SHIM_CLIENTS_MAX];

    memset(big, 'A', sizeof big);
    for (size_t i = 0; i <= sizeof bad / sizeof bad[0]; i++) {
        int fd = raw_connect(rig, "a");
        bool last = i == sizeof bad / sizeof bad[0];
        assert_true(recv(fd, answer, sizeof answer, 0) > 0);
        assert_true(send(fd, last ? big : bad[i], last ? sizeof big : strlen(bad[i]), 0) > 0);
        assert_int_equal(recv(fd, answer, sizeof answer, 0), 0); /* shown the door */
        close(fd);
    }
    /* Too many at a time: the oldest go, the newest is served. */
    for (size_t i = 0; i < sizeof crowd / sizeof crowd[0]; i++)
        crowd[i] = raw_connect(rig, "a");
    for (size_t i = 0; i < sizeof crowd / sizeof crowd[0]; i++) {
        assert_true(recv(crowd[i], answer, sizeof answer, 0) > 0);
        close(crowd[i]);
    }
    os_shim_close(shim);
    assert_int_equal(os_shim_connect(&rig->where, "a", &shim, NULL), ERR_NONE);
    rig_wait(shim, OS_SHIM_STATUS, &record);
    assert_int_equal(record.garbage, sizeof bad / sizeof bad[0] + 1);
    assert_int_equal(record.state, SHIM_RUNNING);
    os_shim_close(shim);
}

static void secrets_are_in_the_workload_only(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "a", "echo $SECRET >$FIFO; exec sleep 1000");
    struct shim_record record;
    struct os_shim *shim;
    char command[512];
    char line[64];

    spec.env[2] = "SECRET=correct-horse";
    shim = rig_start(rig, &spec, &record);
    rig_line(rig, line, sizeof line);
    assert_string_equal(line, "correct-horse");
    snprintf(command, sizeof command,
             "! cat /proc/%d/cmdline /proc/%d/environ | grep -aq correct-horse && "
             "! grep -raq correct-horse %s && ! grep -q covey-spec /proc/%d/maps",
             record.shim_pid, record.shim_pid, rig->run_dir, record.shim_pid);
    assert_int_equal(system(command), 0);
    os_shim_close(shim);
}

static void count_alive(void *context, enum os_shim_found found, const struct shim_record *record)
{
    assert_int_equal(found, OS_SHIM_FOUND_ALIVE);
    assert_int_equal(record->state, SHIM_RUNNING);
    ++*(int *)context;
}

static void all_of_many_are_found(void **state)
{
    enum { MANY = 40 };
    struct rig *rig = *state;
    struct os_shim *shims[MANY];
    struct shim_record record;
    char name[INSTANCE_MAX];
    unsigned damaged;
    int count = 0;

    for (int i = 0; i < MANY; i++) {
        struct shim_spec spec = rig_shell(rig, name, "exec sleep 1000");
        /* As long as a name can be: longer than the address of a socket. */
        memset(name, 'n', sizeof name - 1);
        snprintf(name + INSTANCE_MAX - 8, 8, "/%d", i);
        assert_int_equal(os_shim_start(&rig->where, &spec, &shims[i], NULL), ERR_NONE);
    }
    for (int i = 0; i < MANY; i++) {
        rig_wait(shims[i], OS_SHIM_STATUS, &record);
        os_shim_close(shims[i]);
    }
    assert_int_equal(os_shim_scan(&rig->where, count_alive, &count, &damaged, NULL), ERR_NONE);
    assert_int_equal(count, MANY);
    assert_int_equal(damaged, 0);
}

#define LIFE(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIFE(runs_as_specified_and_reports_the_exit),
        LIFE(a_second_start_is_refused),
        LIFE(a_start_that_fails_says_why),
        LIFE(becomes_another_user),
        LIFE(a_record_that_cannot_be_written_waits_to_be_noted),
        LIFE(garbage_on_its_socket_is_survived),
        LIFE(secrets_are_in_the_workload_only),
        LIFE(all_of_many_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
