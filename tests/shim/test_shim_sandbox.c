/* What a workload is kept from, seen from its inside; as root. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/io/os_cgroup.h"
#include "agent/io/os_users.h"
#include "tests/shim/rig.h"

#define OWN_USER 2000012345u
#define BASE "covey-test-shim"

/* Runs @script in @sandbox as a user of its own; its output comes through the fifo, which lies in
 * the folder that stays writable. */
static struct os_shim *run(struct rig *rig, const struct shim_sandbox *sandbox, const char *script)
{
    struct shim_spec spec = rig_shell(rig, "shop/web.0", script);
    struct shim_record record;

    spec.switch_user = true;
    spec.uid = OWN_USER;
    spec.gid = OWN_USER;
    spec.no_new_privileges = true;
    spec.sandbox = *sandbox;
    return rig_start(rig, &spec, &record);
}

static void end(struct os_shim *shim)
{
    struct shim_record record;

    assert_int_equal(os_shim_stop(shim, 0, 0, NULL), ERR_NONE);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    os_shim_close(shim);
}

static void expect(struct rig *rig, const struct shim_sandbox *sandbox, const char *script,
                   const char *expected)
{
    struct os_shim *shim = run(rig, sandbox, script);
    char line[256];

    rig_line(rig, line, sizeof line);
    assert_string_equal(line, expected);
    end(shim);
}

static void the_root_is_read_only_and_tmp_its_own(void **state)
{
    struct rig *rig = *state;
    const struct shim_sandbox sandbox = {
        .private_tmp = true, .read_only = true, .paths = {rig->base}};
    char script[512];

    assert_int_equal(chmod(rig->base, 0777), 0);
    snprintf(script, sizeof script,
             "r=; touch /var/lib/covey-x 2>/dev/null || r=$r-root; "
             "touch %s/x && r=$r+own; touch /tmp/x && r=$r+tmp; touch /dev/shm/x && r=$r+shm; "
             "test \"$(ls /tmp)\" = \"$(basename %s)\nx\" && r=$r+private; "
             "echo x >/dev/null && r=$r+dev; echo $r >$FIFO; sleep 1000",
             rig->base, rig->base);
    expect(rig, &sandbox, script, "-root+own+tmp+shm+private+dev");
    assert_int_not_equal(access("/tmp/x", F_OK), 0);
}

static void without_a_sandbox_it_may_what_its_user_may(void **state)
{
    struct rig *rig = *state;
    const struct shim_sandbox sandbox = {0};

    expect(rig, &sandbox,
           "touch /tmp/covey-test-shared && rm /tmp/covey-test-shared && echo shared >$FIFO; "
           "sleep 1000",
           "shared");
}

static void capabilities_are_bounded_and_kept_by_name(void **state)
{
    struct rig *rig = *state;
    const struct shim_sandbox none = {.bound = true};
    const struct shim_sandbox one = {.bound = true, .capability = UINT64_C(1) << 10};
    const char *script =
        "awk '/CapEff|CapBnd|CapAmb|NoNewPrivs/{printf \"%s \", $2}' "
        "/proc/self/status >/dev/shm/covey-test-$$; "
        "cat /dev/shm/covey-test-$$ >$FIFO; echo >$FIFO; rm /dev/shm/covey-test-$$;"
        "sleep 1000";

    expect(rig, &none, script, "0000000000000000 0000000000000000 0000000000000000 1 ");
    expect(rig, &one, script, "0000000000000400 0000000000000400 0000000000000400 1 ");
}

static void system_calls_are_filtered(void **state)
{
    struct rig *rig = *state;
    char filter[128];
    struct shim_sandbox sandbox = {.seccomp = filter};
    char command[512];

    snprintf(filter, sizeof filter, "%s/seccomp.bpf", rig->base);
    snprintf(command, sizeof command, "%s %s", AGENT_SECCOMP, filter);
    assert_int_equal(system(command), 0);
    expect(rig, &sandbox,
           "r=; unshare -U true 2>/dev/null || r=$r-unshare; mount 2>/dev/null >&2; "
           "(sleep 0 | cat) && r=$r+fork; echo $r >$FIFO; sleep 1000",
           "-unshare+fork");
    sandbox.seccomp = NULL;
    expect(rig, &sandbox, "grep Seccomp: /proc/self/status | tr -d '\\t' >$FIFO; sleep 1000",
           "Seccomp:0");
}

/* ---- control groups ---- */

static struct os_cgroup *open_cgroups(void)
{
    struct os_cgroup *cgroup;
    char missing[ERR_TEXT_MAX];

    assert_int_equal(os_cgroup_open(BASE, &cgroup, missing, NULL), ERR_NONE);
    /* What this machine lacks it must say. */
    assert_int_equal(os_cgroup_version(cgroup) == 0 || !os_cgroup_has(cgroup, OS_CGROUP_MEMORY) ||
                         !os_cgroup_has(cgroup, OS_CGROUP_CPU) ||
                         !os_cgroup_has(cgroup, OS_CGROUP_PIDS),
                     missing[0] != '\0');
    return cgroup;
}

/* Those with @controller; a kernel that cannot limit @what skips the test. */
static struct os_cgroup *open_controller(enum os_cgroup_controller controller, const char *what)
{
    struct os_cgroup *cgroup = open_cgroups();

    if (!os_cgroup_has(cgroup, controller)) {
        os_cgroup_close(cgroup);
        print_message("this kernel cannot limit %s\n", what);
        skip();
    }
    return cgroup;
}

static struct shim_spec limited(struct rig *rig, struct os_cgroup *cgroup,
                                struct os_cgroup_limits limits, struct os_cgroup_place *place,
                                const char *script)
{
    struct shim_spec spec = rig_shell(rig, "shop/web.0", script);
    struct err err = {0};

    os_cgroup_place(cgroup, spec.instance, &limits, place);
    if (os_cgroup_make(cgroup, spec.instance, &limits, &err) != ERR_NONE)
        fail_msg("%s", err.text);
    memcpy(spec.cgroups, place->cgroups, sizeof spec.cgroups);
    return spec;
}

static void memory_beyond_its_limit_ends_it(void **state)
{
    struct rig *rig = *state;
    struct os_cgroup *cgroup = open_controller(OS_CGROUP_MEMORY, "memory");
    struct os_cgroup_place place;
    struct os_cgroup_usage usage;
    struct shim_record record;
    struct shim_spec spec;
    struct os_shim *shim;

    spec = limited(rig, cgroup, (struct os_cgroup_limits){.memory = 16 << 20}, &place,
                   "exec dd if=/dev/zero of=/dev/null bs=64M count=1000000");
    shim = rig_start(rig, &spec, &record);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    assert_int_equal(record.exit, SHIM_EXIT_SIGNAL);
    assert_int_equal(record.exit_value, SIGKILL);
    os_cgroup_usage(cgroup, spec.instance, &usage);
    assert_true(usage.oom_kills > 0);
    os_shim_close(shim);
    os_cgroup_remove(cgroup, spec.instance);
    assert_int_not_equal(access(place.cgroups[0], F_OK), 0);
    os_cgroup_close(cgroup);
}

static void a_fork_bomb_is_contained_and_ends_with_a_kill(void **state)
{
    struct rig *rig = *state;
    struct os_cgroup *cgroup = open_controller(OS_CGROUP_PIDS, "processes");
    struct os_cgroup_place place;
    struct os_cgroup_usage usage;
    struct shim_record record;
    struct shim_spec spec;
    struct os_shim *shim;

    spec = limited(rig, cgroup, (struct os_cgroup_limits){.pids = 40}, &place,
                   "exec perl -e 'fork while 1'");
    shim = rig_start(rig, &spec, &record);
    do {
        usleep(1000);
        os_cgroup_usage(cgroup, spec.instance, &usage);
        assert_true(usage.pids <= 40);
    } while (usage.pids_refused < 100);
    assert_int_equal(os_shim_stop(shim, 0, 0, NULL), ERR_NONE);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    os_cgroup_usage(cgroup, spec.instance, &usage);
    assert_int_equal(usage.pids, 0);
    os_shim_close(shim);
    os_cgroup_remove(cgroup, spec.instance);
    os_cgroup_close(cgroup);
}

/* A process with neither the session nor the environment of its workload is nobody's descendant
 * when the shim is killed. */
static void what_a_killed_shim_left_is_found_by_its_groups(void **state)
{
    struct rig *rig = *state;
    struct os_cgroup *cgroup = open_controller(OS_CGROUP_PIDS, "processes");
    struct os_cgroup_place place;
    struct shim_record record;
    struct shim_spec spec;
    struct os_shim *shim;
    pid_t left;

    spec = limited(rig, cgroup, (struct os_cgroup_limits){.pids = 40}, &place,
                   "setsid env -i F=$FIFO sh -c 'echo $$ >$F; exec sleep 1000' & "
                   "while :; do sleep 1000; done");
    shim = rig_start(rig, &spec, &record);
    left = rig_pid(rig);
    kill(record.shim_pid, SIGKILL);
    rig_wait(shim, OS_SHIM_LOST, &record);
    os_shim_close(shim);
    rig_wait_gone(record.pid);
    while (os_shim_sweep(&rig->where, spec.instance, NULL) > 0)
        usleep(1000);
    assert_int_equal(kill(left, 0), 0);
    assert_true(os_shim_sweep(&rig->where, spec.instance, place.cgroups) > 0);
    rig_wait_gone(left);

    /* The next shim does the same before its start. */
    shim = rig_start(rig, &spec, &record);
    left = rig_pid(rig);
    kill(record.shim_pid, SIGKILL);
    rig_wait(shim, OS_SHIM_LOST, &record);
    os_shim_close(shim);
    shim = rig_start(rig, &spec, &record);
    rig_wait_gone(left);
    left = rig_pid(rig);
    end(shim);
    rig_wait_gone(left);
    os_cgroup_remove(cgroup, spec.instance);
    os_cgroup_close(cgroup);
}

/* Processor time of @pid. */
static int64_t used_ms(pid_t pid)
{
    unsigned long long ticks[2];
    char path[32];
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d (sh) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu",
                            &ticks[0], &ticks[1]),
                     2);
    fclose(file);
    return (int64_t)((ticks[0] + ticks[1]) * 1000 / (unsigned long long)sysconf(_SC_CLK_TCK));
}

static void a_share_of_the_processor_is_what_it_gets(void **state)
{
    struct rig *rig = *state;
    struct os_cgroup *cgroup = open_controller(OS_CGROUP_CPU, "the processor");
    struct os_cgroup_place place;
    struct shim_record record;
    struct shim_spec spec;
    struct os_shim *shim;
    int64_t began;

    spec = limited(rig, cgroup, (struct os_cgroup_limits){.cpu_milli = 100}, &place,
                   "while :; do :; done");
    began = rig_now_ms();
    shim = rig_start(rig, &spec, &record);
    usleep(1000000);
    /* A tenth, and two periods more than that at most. */
    assert_true(used_ms(record.pid) <= (rig_now_ms() - began) / 10 + 40);
    end(shim);
    os_cgroup_remove(cgroup, spec.instance);
    os_cgroup_close(cgroup);
}

/* ---- users ---- */

static void every_workload_has_a_user_of_its_own(void **state)
{
    struct rig *rig = *state;
    uid_t first = 0;
    uid_t again = 0;
    uid_t other = 0;

    assert_int_equal(os_users_get(rig->base, "rest-api", &first, NULL), ERR_NONE);
    assert_int_equal(os_users_get(rig->base, "metrics-app", &other, NULL), ERR_NONE);
    assert_int_equal(os_users_get(rig->base, "rest-api", &again, NULL), ERR_NONE);
    assert_int_equal(first, again);
    assert_int_not_equal(first, other);
    assert_true(first >= OS_USERS_FIRST && first < OS_USERS_FIRST + OS_USERS_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_root_is_read_only_and_tmp_its_own, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(without_a_sandbox_it_may_what_its_user_may, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(capabilities_are_bounded_and_kept_by_name, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(system_calls_are_filtered, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(memory_beyond_its_limit_ends_it, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(a_fork_bomb_is_contained_and_ends_with_a_kill, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(what_a_killed_shim_left_is_found_by_its_groups, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(a_share_of_the_processor_is_what_it_gets, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(every_workload_has_a_user_of_its_own, rig_setup,
                                        rig_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
