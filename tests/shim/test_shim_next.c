/* The process that a shim keeps ready: it becomes the next run, and nothing else. */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/shim/rig.h"

#define SCRIPT "echo $$ >$FIFO; while :; do sleep 1000; done"

/* Waits until the shim says that a process is ready (or, with false, that none is). */
static void await_ready(struct os_shim *shim, bool ready, struct shim_record *record)
{
    do
        rig_wait(shim, OS_SHIM_STATUS, record);
    while ((record->standby != 0) != ready);
}

static void keep_ready(struct rig *rig, struct os_shim *shim, const struct shim_spec *spec,
                       struct shim_record *record)
{
    struct err err = {0};

    if (os_shim_keep_ready(&rig->where, shim, spec, &err) != ERR_NONE)
        fail_msg("%s", err.text);
    await_ready(shim, true, record);
}

/* A run with a process ready for the next. */
static struct os_shim *begin(struct rig *rig, const struct shim_spec *spec,
                             struct shim_record *record)
{
    struct os_shim *shim = rig_start(rig, spec, record);

    assert_int_equal(rig_pid(rig), record->pid);
    keep_ready(rig, shim, spec, record);
    return shim;
}

/* The child of @shim that waits; 0: there is none. */
static pid_t standby_of(pid_t shim)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    pid_t found = 0;

    assert_non_null(proc);
    while (found == 0 && (entry = readdir(proc)) != NULL) {
        char path[300];
        char name[32] = "";
        char state;
        int parent = 0;
        FILE *file;
        snprintf(path, sizeof path, "/proc/%.200s/stat", entry->d_name);
        file = strtol(entry->d_name, NULL, 10) > 0 ? fopen(path, "r") : NULL;
        if (file == NULL)
            continue;
        if (fscanf(file, "%*d (%31[^)]) %c %d", name, &state, &parent) == 3 && parent == shim &&
            state != 'Z' && strcmp(name, "agent-standby") == 0)
            found = (pid_t)strtol(entry->d_name, NULL, 10);
        fclose(file);
    }
    closedir(proc);
    return found;
}

/* A SIGCONT that comes before it has stopped itself would be in vain. */
static void wait_stopped(pid_t pid)
{
    char path[64];
    char state = ' ';

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    while (state != 'T') {
        FILE *file = fopen(path, "re");
        assert_non_null(file);
        assert_int_equal(fscanf(file, "%*d (%*[^)]) %c", &state), 1);
        fclose(file);
        usleep(1000);
    }
}

static bool exit_recorded(const struct rig *rig, const char *name)
{
    char path[256];
    struct stat st;

    snprintf(path, sizeof path, "%s/shim/%s/exit", rig->run_dir, name);
    return stat(path, &st) == 0;
}

static void becomes_the_next_run_under_the_same_shim(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec =
        rig_shell(rig, "web.0", "echo $$ >$FIFO; echo line; kill -STOP $$; exit 9");
    struct shim_record first;
    struct shim_record end;
    struct shim_record next;
    struct os_shim *shim = begin(rig, &spec, &first);
    pid_t standby = standby_of(first.shim_pid);
    struct err err = {0};

    assert_true(standby > 0);
    kill(first.pid, SIGKILL);
    rig_wait(shim, OS_SHIM_EXITED, &end);
    assert_int_equal(end.pid, first.pid);
    assert_int_equal(end.exit, SHIM_EXIT_SIGNAL);
    assert_int_equal(end.standby, first.standby);
    assert_true(exit_recorded(rig, "web.0")); /* until somebody has taken note */
    assert_int_equal(os_shim_next(&rig->where, shim, &spec, &err), ERR_NONE);
    rig_wait(shim, OS_SHIM_STATUS, &next);
    assert_int_equal(next.state, SHIM_RUNNING);
    assert_int_equal(next.pid, standby);
    assert_int_equal(next.shim_pid, first.shim_pid);
    assert_int_equal(next.generation, spec.generation);
    assert_int_equal(next.exit, SHIM_EXIT_NONE);
    assert_int_equal(next.standby, 0);
    assert_int_equal(rig_pid(rig), standby);
    assert_int_equal(getsid(standby), standby);
    assert_false(exit_recorded(rig, "web.0"));
    /* Its own end is seen like that of the first. */
    wait_stopped(standby);
    kill(standby, SIGCONT);
    rig_wait(shim, OS_SHIM_EXITED, &end);
    assert_int_equal(end.exit_value, 9);
    assert_int_equal(end.log_lines, 1);
    assert_int_equal(end.standby, 0);
    os_shim_acknowledge(&rig->where, "web.0", shim);
    os_shim_close(shim);
}

static void without_a_word_it_ends_as_ever(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "web.0", SCRIPT);
    struct shim_record record;
    struct os_shim *shim = begin(rig, &spec, &record);
    pid_t standby = standby_of(record.shim_pid);

    kill(record.pid, SIGKILL);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    assert_int_not_equal(record.standby, 0);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    assert_int_equal(record.standby, 0);
    rig_wait_gone(standby);
    os_shim_close(shim);
    assert_int_equal(rig_scan(rig, &record), OS_SHIM_FOUND_ENDED);
    assert_int_equal(record.exit_value, SIGKILL);
}

static void another_specification_starts_anew(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "web.0", SCRIPT);
    struct shim_record record;
    struct shim_record next;
    struct os_shim *shim = begin(rig, &spec, &record);
    struct os_shim *other;
    struct err err = {0};
    pid_t standby = standby_of(record.shim_pid);

    kill(record.pid, SIGKILL);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    spec.env[2] = "COLOUR=blue";
    assert_int_equal(os_shim_next(&rig->where, shim, &spec, &err), ERR_CONFLICT);
    os_shim_acknowledge(&rig->where, "web.0", shim);
    /* At once: the new shim waits for the old one to leave. */
    other = rig_start(rig, &spec, &next);
    assert_int_not_equal(next.shim_pid, record.shim_pid);
    assert_int_equal(rig_pid(rig), next.pid);
    rig_wait_gone(standby);
    os_shim_close(shim);
    os_shim_close(other);
}

static void a_folder_that_was_replaced_starts_anew(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "web.0", SCRIPT);
    struct shim_record record;
    struct os_shim *shim;
    struct err err = {0};
    char folder[128];
    char aside[160];

    snprintf(folder, sizeof folder, "%s/data", rig->base);
    snprintf(aside, sizeof aside, "%s.old", folder);
    assert_int_equal(mkdir(folder, 0755), 0);
    spec.sandbox.paths[0] = folder;
    shim = begin(rig, &spec, &record);
    assert_int_equal(rename(folder, aside), 0);
    assert_int_equal(mkdir(folder, 0755), 0);
    kill(record.pid, SIGKILL);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    assert_int_equal(os_shim_next(&rig->where, shim, &spec, &err), ERR_CONFLICT);
    os_shim_close(shim);
}

static void a_newer_one_takes_the_place_of_the_first(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "web.0", SCRIPT);
    struct shim_record record;
    struct os_shim *shim = begin(rig, &spec, &record);
    pid_t first = standby_of(record.shim_pid);
    uint64_t ticket = record.standby;
    struct err err = {0};

    spec.generation = 8;
    assert_int_equal(os_shim_keep_ready(&rig->where, shim, &spec, &err), ERR_NONE);
    do
        await_ready(shim, true, &record);
    while (record.standby == ticket);
    rig_wait_gone(first);
    kill(record.pid, SIGKILL);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    assert_int_equal(os_shim_next(&rig->where, shim, &spec, &err), ERR_NONE);
    rig_wait(shim, OS_SHIM_STATUS, &record);
    assert_int_equal(record.generation, 8);
    assert_int_equal(rig_pid(rig), record.pid);
    os_shim_close(shim);
}

static void a_stop_ends_it_too(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "web.0", SCRIPT);
    struct shim_record record;
    struct os_shim *shim = begin(rig, &spec, &record);
    pid_t standby = standby_of(record.shim_pid);

    os_shim_stop(shim, 0, -1, NULL);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    assert_int_equal(record.standby, 0);
    rig_wait_gone(standby);
    os_shim_close(shim);
}

static void dies_with_its_shim(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "web.0", SCRIPT);
    struct shim_record record;
    struct shim_record end;
    struct os_shim *shim = begin(rig, &spec, &record);
    pid_t standby = standby_of(record.shim_pid);

    assert_true(standby > 0);
    kill(record.shim_pid, SIGKILL);
    rig_wait(shim, OS_SHIM_LOST, &end);
    rig_wait_gone(standby);
    rig_wait_gone(record.pid);
    os_shim_close(shim);
}

static void when_it_is_killed_the_shim_says_so(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "web.0", SCRIPT);
    struct shim_record record;
    struct os_shim *shim = begin(rig, &spec, &record);

    kill(standby_of(record.shim_pid), SIGKILL);
    await_ready(shim, false, &record);
    assert_int_equal(record.state, SHIM_RUNNING);
    keep_ready(rig, shim, &spec, &record); /* and makes another one */
    kill(record.pid, SIGKILL);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    assert_int_not_equal(record.standby, 0);
    os_shim_close(shim);
}

/* What the main process leaves behind must end first; the one that waits is not of it. */
static void is_no_part_of_what_ends(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec =
        rig_shell(rig, "web.0", "sleep 1000 & echo $$ >$FIFO; while :; do sleep 0.05; done");
    struct shim_record record;
    struct os_shim *shim = begin(rig, &spec, &record);
    struct err err = {0};

    kill(record.pid, SIGKILL);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    assert_true(record.left >= 1);
    assert_int_not_equal(record.standby, 0);
    assert_int_equal(os_shim_next(&rig->where, shim, &spec, &err), ERR_NONE);
    rig_wait(shim, OS_SHIM_STATUS, &record);
    assert_int_equal(rig_pid(rig), record.pid);
    assert_int_equal(record.left, 0);
    os_shim_close(shim);
}

static void a_program_that_is_gone_is_a_failed_start(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "web.0", SCRIPT);
    struct shim_record record;
    struct os_shim *shim = rig_start(rig, &spec, &record);
    struct err err = {0};

    assert_int_equal(rig_pid(rig), record.pid);
    spec.argv[0] = "/nowhere/at/all";
    keep_ready(rig, shim, &spec, &record);
    kill(record.pid, SIGKILL);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    assert_int_equal(os_shim_next(&rig->where, shim, &spec, &err), ERR_NONE);
    rig_wait(shim, OS_SHIM_FAILED, &record);
    assert_int_equal(record.errnum, 2 /* ENOENT */);
    os_shim_acknowledge(&rig->where, "web.0", shim);
    os_shim_close(shim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(becomes_the_next_run_under_the_same_shim, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(without_a_word_it_ends_as_ever, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(another_specification_starts_anew, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(a_folder_that_was_replaced_starts_anew, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(a_newer_one_takes_the_place_of_the_first, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(a_stop_ends_it_too, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(dies_with_its_shim, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(when_it_is_killed_the_shim_says_so, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(is_no_part_of_what_ends, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(a_program_that_is_gone_is_a_failed_start, rig_setup,
                                        rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
