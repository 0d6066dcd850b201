/* A program that becomes another one: what it leaves open reaches that one and nobody else, and a
 * start that fails leaves everything as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/io/os_trial.h"

#define SELF "/proc/self/exe"

static int open_file(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static bool closed_by_exec(int fd)
{
    return fcntl(fd, F_GETFD) == FD_CLOEXEC;
}

/* The status is the line that found something wrong. */
#define CHECK(condition)                                                                           \
    if (!(condition))                                                                              \
    _exit(__LINE__ & 0xff)

/* The new program: @argv names what the former one left, and a descriptor that it did not. */
static void be_new(char **argv)
{
    struct os_trial trial;

    CHECK(getenv("COVEY_TRIAL_LEFT") != NULL);
    os_trial_begin(argv, &trial);
    CHECK(trial.state == OS_TRIAL_RUNNING);
    CHECK(strcmp(trial.from, "1.2.3") == 0);
    CHECK(trial.left_count == 2);
    for (int i = 0; i < 2; i++) {
        CHECK(trial.left[i] == atoi(argv[2 + i]));
        CHECK(closed_by_exec(trial.left[i]));
    }
    CHECK(fcntl(atoi(argv[4]), F_GETFD) < 0 && errno == EBADF);
    CHECK(getenv("COVEY_TRIAL_LEFT") == NULL);
    os_trial_pass();
    _exit(0);
}

static void leaves_what_is_slow_to_close(void **state)
{
    pid_t pid = fork();
    int status = -1;

    (void)state;
    if (pid == 0) {
        const int left[2] = {open_file(), open_file()};
        char texts[3][16];
        char *argv[] = {"test_trial", "new", texts[0], texts[1], texts[2], NULL};
        snprintf(texts[0], sizeof texts[0], "%d", left[0]);
        snprintf(texts[1], sizeof texts[1], "%d", left[1]);
        snprintf(texts[2], sizeof texts[2], "%d", open_file());
        (void)os_trial_start(SELF, argv, "1.2.3", left, 2, NULL);
        _exit(1);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void changes_nothing_where_it_fails(void **state)
{
    const int left[1] = {open_file()};
    char *argv[] = {"test_trial", NULL};
    struct err err;

    (void)state;
    assert_int_equal(os_trial_start("/no/such/agentd", argv, "1.2.3", left, 1, &err), ERR_IO);
    assert_non_null(strstr(err.text, "/no/such/agentd"));
    assert_true(closed_by_exec(left[0]));
    assert_null(getenv("COVEY_TRIAL_LEFT"));
    assert_null(getenv("COVEY_TRIAL_FORMER"));
    close(left[0]);
}

/* Whatever stands there, no descriptor that is not open and none of the standard ones is taken. */
static void takes_only_descriptors(void **state)
{
    static const char *const lists[] = {"",    "x", "1 2 ",        "-7 ",  "99999999999999999999 ",
                                        "64x", " ", "2147483648 ", "1000 "};
    char *argv[] = {"test_trial", NULL};
    struct os_trial trial;
    pid_t pid;
    int status = -1;

    (void)state;
    pid = fork(); /* a trial sets handlers of signals, and an alarm */
    if (pid == 0) {
        for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
            char former[16];
            snprintf(former, sizeof former, "%d", open_file());
            setenv("COVEY_TRIAL_FORMER", former, 1);
            setenv("COVEY_TRIAL_LEFT", lists[i], 1);
            os_trial_begin(argv, &trial);
            CHECK(trial.state == OS_TRIAL_RUNNING && trial.left_count == 0);
            os_trial_pass();
        }
        _exit(0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_what_is_slow_to_close),
        cmocka_unit_test(changes_nothing_where_it_fails),
        cmocka_unit_test(takes_only_descriptors),
    };

    if (argc == 5 && strcmp(argv[1], "new") == 0)
        be_new(argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
