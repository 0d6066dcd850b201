/* Running programs to their end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/io/os_child.h"

static struct child_spec shell(const char *const argv[])
{
    return (struct child_spec){.argv = argv, .output_max = 65536, .timeout_ms = 30000};
}

static void input_goes_in_and_output_comes_back(void **state)
{
    static const char *const argv[] = {"sh", "-c", "cat; echo warned >&2; exit 3", NULL};
    struct child_spec spec = shell(argv);
    struct child_result result;
    struct err err = {0};
    size_t size = 1 << 20; /* more than a pipe holds, both ways */
    char *input = malloc(size);
    (void)state;

    assert_non_null(input);
    for (size_t i = 0; i < size; i++)
        input[i] = (char)(i * 7);
    spec.input = input;
    spec.input_size = size;
    spec.output_max = size;
    assert_int_equal(child_run(&spec, &result, &err), ERR_NONE);
    assert_int_equal(result.status, 3);
    assert_int_equal(result.output_size, size);
    assert_memory_equal(result.output, input, size);
    assert_string_equal(result.errors, "warned\n");
    assert_int_equal(child_failed(&result, ERR_INVALID, &err, "copy"), ERR_INVALID);
    assert_string_equal(err.text, "copy: exit code 3: warned");
    child_result_free(&result);

    spec.output_max = size - 1;
    assert_int_equal(child_run(&spec, &result, &err), ERR_LIMIT);
    assert_non_null(strstr(err.text, "sh printed more than 1048575 bytes"));
    free(input);
}

static void environment_holds_nothing_of_ours(void **state)
{
    static const char *const argv[] = {"env", NULL};
    static const char *const one[] = {"ONE=1", NULL};
    struct child_spec spec = shell(argv);
    struct child_result result;
    (void)state;

    assert_int_equal(setenv("COVEY_TEST_SECRET", "s3cret", 1), 0);
    assert_int_equal(child_run(&spec, &result, NULL), ERR_NONE);
    assert_string_equal(result.output, "PATH=" CHILD_PATH "\nLC_ALL=C.UTF-8\n");
    child_result_free(&result);
    spec.env = one;
    assert_int_equal(child_run(&spec, &result, NULL), ERR_NONE);
    assert_string_equal(result.output, "ONE=1\n");
    child_result_free(&result);
}

static void files_and_signals_are_not_inherited(void **state)
{
    static const char *const argv[] = {
        "sh", "-c", "ls /proc/self/fd | wc -l; grep -E 'Sig(Blk|Ign)' /proc/self/status", NULL};
    struct child_spec spec = shell(argv);
    struct child_result result;
    sigset_t all, before;
    int leak = open("/dev/null", O_RDONLY); /* without O_CLOEXEC, as a library might */
    (void)state;

    assert_true(leak >= 0);
    sigfillset(&all);
    assert_int_equal(sigprocmask(SIG_BLOCK, &all, &before), 0);
    assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    assert_int_equal(child_run(&spec, &result, NULL), ERR_NONE);
    assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
    /* 0, 1, 2 and the folder that ls reads */
    assert_string_equal(result.output, "4\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    child_result_free(&result);
    close(leak);
}

/* Reads the process ids, one a line, and waits until none of them runs any more: a killed process
 * needs a moment. */
static void assert_all_gone(const char *pids)
{
    char *end;

    for (long pid = strtol(pids, &end, 10); pid > 0; pid = strtol(pids, &end, 10)) {
        struct pollfd gone = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};

        pids = end;
        if (gone.fd < 0) {
            assert_int_equal(errno, ESRCH);
            continue;
        }
        assert_int_equal(poll(&gone, 1, 20000), 1);
        close(gone.fd);
    }
}

static void time_limit_ends_the_whole_group(void **state)
{
    /* Deaf to SIGTERM, with a child of its own; the pids go to a file, as output is lost. */
    char script[256], name[] = "/tmp/covey-child-XXXXXX", pids[128] = "";
    const char *argv[] = {"sh", "-c", script, NULL};
    struct child_spec spec = shell(argv);
    struct child_result result;
    struct err err = {0};
    int fd = mkstemp(name);
    ssize_t n;
    (void)state;

    assert_true(fd >= 0);
    snprintf(script, sizeof script,
             "trap '' TERM; sleep 1000 & echo $$ >%s; echo $! >>%s; while :; do sleep 1000; done",
             name, name);
    spec.timeout_ms = 300;
    assert_int_equal(child_run(&spec, &result, &err), ERR_TIMEOUT);
    assert_string_equal(err.text, "sh did not end within 300 ms; it was stopped");
    n = read(fd, pids, sizeof pids - 1);
    assert_true(n > 2);
    assert_all_gone(pids);
    close(fd);
    unlink(name);
}

static void descendant_that_keeps_the_pipes_does_not_hold_up_the_end(void **state)
{
    static const char *const argv[] = {"sh", "-c", "sleep 1000 & echo $!", NULL};
    struct child_spec spec = shell(argv);
    struct child_result result;
    (void)state;

    assert_int_equal(child_run(&spec, &result, NULL), ERR_NONE);
    assert_int_equal(result.status, 0);
    assert_true(result.output_size > 1);
    assert_all_gone(result.output);
    child_result_free(&result);
}

static void program_that_reads_nothing_is_no_error(void **state)
{
    static const char *const argv[] = {"true", NULL};
    struct child_spec spec = shell(argv);
    struct child_result result;
    char *input = calloc(1, 1 << 20);
    sigset_t pending;
    (void)state;

    assert_non_null(input);
    spec.input = input;
    spec.input_size = 1 << 20;
    assert_int_equal(child_run(&spec, &result, NULL), ERR_NONE);
    assert_int_equal(result.status, 0);
    assert_int_equal(sigpending(&pending), 0);
    assert_int_equal(sigismember(&pending, SIGPIPE), 0);
    child_result_free(&result);
    free(input);
}

static void death_by_signal_is_told(void **state)
{
    static const char *const argv[] = {"sh", "-c", "echo going >&2; kill -9 $$", NULL};
    struct child_spec spec = shell(argv);
    struct child_result result;
    struct err err = {0};
    (void)state;

    assert_int_equal(child_run(&spec, &result, &err), ERR_NONE);
    assert_int_equal(result.status, 137);
    (void)child_failed(&result, ERR_IO, &err, "go");
    assert_string_equal(err.text, "go: ended by signal 9 (Killed): going");
    child_result_free(&result);
}

static void what_cannot_start_says_why(void **state)
{
    static const char *const missing[] = {"covey-no-such-program", NULL};
    static const char *const missing_path[] = {"/nonexistent/program", NULL};
    static const char *const folder[] = {"/tmp", NULL};
    static const char *const fine[] = {"true", NULL};
    struct child_spec spec = shell(missing);
    struct child_result result;
    struct err err = {0};
    (void)state;

    assert_int_equal(child_run(&spec, &result, &err), ERR_NOTFOUND);
    assert_non_null(strstr(err.text, "covey-no-such-program"));
    spec = shell(missing_path);
    assert_int_equal(child_run(&spec, &result, &err), ERR_NOTFOUND);
    spec = shell(folder);
    assert_int_equal(child_run(&spec, &result, &err), ERR_DENIED);
    spec = shell(fine);
    spec.cwd = "/nonexistent";
    assert_int_equal(child_run(&spec, &result, &err), ERR_IO);
    assert_non_null(strstr(err.text, "/nonexistent"));
}

static void user_is_changed_for_good(void **state)
{
    static const char *const argv[] = {"sh", "-c", "id -u; id -g; id -G; pwd", NULL};
    struct child_spec spec = shell(argv);
    struct child_result result;
    struct err err = {0};
    (void)state;

    spec.set_ids = true;
    spec.uid = 65534;
    spec.gid = 65533;
    spec.cwd = "/usr";
    if (geteuid() != 0) {
        assert_int_equal(child_run(&spec, &result, &err), ERR_DENIED);
        return;
    }
    assert_int_equal(child_run(&spec, &result, &err), ERR_NONE);
    assert_string_equal(result.output, "65534\n65533\n65533\n/usr\n");
    child_result_free(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input_goes_in_and_output_comes_back),
        cmocka_unit_test(environment_holds_nothing_of_ours),
        cmocka_unit_test(files_and_signals_are_not_inherited),
        cmocka_unit_test(time_limit_ends_the_whole_group),
        cmocka_unit_test(descendant_that_keeps_the_pipes_does_not_hold_up_the_end),
        cmocka_unit_test(program_that_reads_nothing_is_no_error),
        cmocka_unit_test(death_by_signal_is_told),
        cmocka_unit_test(what_cannot_start_says_why),
        cmocka_unit_test(user_is_changed_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
