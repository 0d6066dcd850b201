/* Real workloads under real shims: whatever is killed, nothing runs twice and no end is lost. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/shim/rig.h"

#define FOREVER "while :; do sleep 1000; done"

/* No such process, or one that is dead and waits to be reaped by somebody else. */
static bool dead(pid_t pid)
{
    char path[64];
    char text[256] = "";
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    f = fopen(path, "r");
    if (f == NULL)
        return true;
    if (fgets(text, sizeof text, f) == NULL)
        text[0] = '\0';
    fclose(f);
    return strstr(text, ") Z ") != NULL || text[0] == '\0';
}

static void survives_kill_9_of_its_starter(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec =
        rig_shell(rig, "a", "trap 'exit 5' TERM; sleep 1000 & echo $$ >$FIFO; wait");
    struct shim_record record;
    struct os_shim *shim;
    pid_t starter;
    pid_t workload;
    int status;

    starter = fork();
    if (starter == 0) {
        setpgid(0, 0);
        rig_start(rig, &spec, &record);
        kill(0, SIGKILL);
        _exit(1);
    }
    assert_int_equal(waitpid(starter, &status, 0), starter);
    assert_true(WIFSIGNALED(status));
    workload = rig_pid(rig);
    assert_int_equal(rig_scan(rig, &record), OS_SHIM_FOUND_ALIVE);
    assert_int_equal(record.pid, workload);
    assert_int_equal(record.generation, 7);
    assert_int_equal(kill(workload, 0), 0);
    assert_int_equal(os_shim_connect(&rig->where, "a", &shim, NULL), ERR_NONE);
    rig_wait(shim, OS_SHIM_STATUS, &record);
    assert_int_equal(record.state, SHIM_RUNNING);
    assert_int_equal(record.pid, workload);
    assert_int_equal(os_shim_stop(shim, 0, -1, NULL), ERR_NONE);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    assert_int_equal(record.cause, SHIM_CAUSE_STOP);
    assert_int_equal(record.exit_value, 5);
    os_shim_close(shim);
}

static void an_end_that_nobody_watched_is_known(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "a", "echo here >$FIFO; kill -KILL $$");
    struct shim_record record;
    struct os_shim *shim = rig_start(rig, &spec, &record);

    os_shim_close(shim);
    rig_wait_gone(record.shim_pid);
    assert_int_equal(rig_scan(rig, &record), OS_SHIM_FOUND_ENDED);
    assert_int_equal(record.exit, SHIM_EXIT_SIGNAL);
    assert_int_equal(record.exit_value, SIGKILL);
    assert_int_equal(record.cause, SHIM_CAUSE_SELF);
    assert_int_equal(os_shim_connect(&rig->where, "a", &shim, NULL), ERR_NOTFOUND);
    os_shim_acknowledge(&rig->where, "a", NULL);
    os_shim_acknowledge(&rig->where, "a", NULL);
    assert_false(rig_exists(rig, "a"));
}

static void whoever_ignores_sigterm_is_killed_with_all_its_descendants(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec =
        rig_shell(rig, "a",
                  "trap '' TERM INT HUP; echo $$ >$FIFO;"
                  "(setsid sh -c 'echo $$ >$FIFO; (sh -c \"echo \\$\\$ >$FIFO; " FOREVER
                  "\" &) ; " FOREVER "' &) ;" FOREVER);
    struct shim_record record;
    struct os_shim *shim = rig_start(rig, &spec, &record);
    pid_t pids[3];

    for (int i = 0; i < 3; i++)
        pids[i] = rig_pid(rig);
    os_shim_stop(shim, SIGTERM, 100, NULL);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    assert_int_equal(record.exit, SHIM_EXIT_SIGNAL);
    assert_int_equal(record.exit_value, SIGKILL);
    for (int i = 0; i < 3; i++)
        assert_true(dead(pids[i]));
    os_shim_close(shim);
}

static void what_a_main_process_leaves_is_ended_too(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec =
        rig_shell(rig, "a", "setsid sh -c 'echo $$ >$FIFO; exec sleep 1000' & read x <$FIFO.go");
    char go[128];
    struct shim_record record;
    struct os_shim *shim;
    pid_t left;

    snprintf(go, sizeof go, "%s.go", rig->fifo_path);
    assert_int_equal(mkfifo(go, 0600), 0);
    shim = rig_start(rig, &spec, &record);
    left = rig_pid(rig);
    close(open(go, O_WRONLY));
    rig_wait(shim, OS_SHIM_EXITED, &record);
    assert_int_equal(record.cause, SHIM_CAUSE_SELF);
    assert_true(dead(left));
    os_shim_close(shim);
}

static void a_lease_that_ends_kills_without_any_agent(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(
        rig, "a", "trap '' TERM; setsid sh -c 'echo $$ >$FIFO; exec sleep 1000' & " FOREVER);
    struct shim_record record;
    struct os_shim *shim;
    pid_t left;

    spec.deadline_ms = rig_now_ms() + 1500;
    shim = rig_start(rig, &spec, &record);
    left = rig_pid(rig);
    os_shim_close(shim);
    rig_wait_gone(record.shim_pid);
    assert_true(rig_now_ms() >= spec.deadline_ms);
    assert_true(dead(left));
    assert_int_equal(rig_scan(rig, &record), OS_SHIM_FOUND_ENDED);
    assert_int_equal(record.cause, SHIM_CAUSE_DEADLINE);
    assert_int_equal(record.exit_value, SIGKILL);

    /* Not even started after its time. */
    assert_int_equal(os_shim_start(&rig->where, &spec, &shim, NULL), ERR_NONE);
    rig_wait(shim, OS_SHIM_FAILED, &record);
    assert_int_equal(record.code, ERR_TIMEOUT);
    os_shim_close(shim);
}

static void an_extended_lease_lasts_longer(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "a", "exec sleep 1000");
    struct shim_record record;
    struct os_shim *shim;
    int64_t later;

    spec.deadline_ms = rig_now_ms() + 10000;
    later = rig_now_ms() + 12000;
    shim = rig_start(rig, &spec, &record);
    os_shim_extend(shim, later, NULL);
    rig_wait(shim, OS_SHIM_STATUS, &record);
    assert_int_equal(record.deadline_ms, later);
    os_shim_extend(shim, later - 5000, NULL); /* never nearer */
    rig_wait(shim, OS_SHIM_STATUS, &record);
    assert_int_equal(record.deadline_ms, later);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    assert_true(rig_now_ms() >= later);
    assert_int_equal(record.cause, SHIM_CAUSE_DEADLINE);
    os_shim_close(shim);
}

static void kill_9_of_a_shim_doubles_nothing(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec =
        rig_shell(rig, "a", "setsid sh -c 'echo $$ >$FIFO; exec sleep 1000' & " FOREVER);
    struct shim_record first;
    struct shim_record record;
    struct os_shim *shim = rig_start(rig, &spec, &first);
    pid_t left = rig_pid(rig);

    kill(first.shim_pid, SIGKILL);
    rig_wait(shim, OS_SHIM_LOST, &record);
    assert_int_equal(record.pid, first.pid);
    os_shim_close(shim);
    rig_wait_gone(first.pid); /* dies with its shim */
    assert_int_equal(kill(left, 0), 0);
    assert_int_equal(rig_scan(rig, &record), OS_SHIM_FOUND_LOST);
    assert_int_equal(record.pid, first.pid);
    /* A new start first ends what is left. */
    shim = rig_start(rig, &spec, &record);
    assert_true(dead(left));
    left = rig_pid(rig);
    assert_int_equal(os_shim_sweep(&rig->where, "a", NULL), 0); /* not while a shim lives */
    kill(record.shim_pid, SIGKILL);
    rig_wait(shim, OS_SHIM_LOST, &record);
    assert_true(os_shim_sweep(&rig->where, "a", NULL) > 0);
    rig_wait_gone(left);
    os_shim_close(shim);
    os_shim_acknowledge(&rig->where, "a", NULL);
    assert_false(rig_exists(rig, "a"));
}

static void sigterm_to_a_shim_stops_its_workload(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "a", "exec sleep 1000");
    struct shim_record record;
    struct os_shim *shim = rig_start(rig, &spec, &record);

    kill(record.shim_pid, SIGTERM);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    assert_int_equal(record.cause, SHIM_CAUSE_STOP);
    assert_int_equal(record.exit_value, SIGTERM);
    os_shim_close(shim);
}

#define KILL(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        KILL(survives_kill_9_of_its_starter),
        KILL(an_end_that_nobody_watched_is_known),
        KILL(whoever_ignores_sigterm_is_killed_with_all_its_descendants),
        KILL(what_a_main_process_leaves_is_ended_too),
        KILL(a_lease_that_ends_kills_without_any_agent),
        KILL(an_extended_lease_lasts_longer),
        KILL(kill_9_of_a_shim_doubles_nothing),
        KILL(sigterm_to_a_shim_stops_its_workload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
