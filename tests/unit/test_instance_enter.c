/* A command beside a running instance: in its groups, and with nothing of its environment that
 * would have a program of root's run other code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/io/instance_enter.h"

static const char *const command[] = {"/bin/true", "with", "words", NULL};
static const char *const nowhere[] = {NULL};

/* A process with such an environment, which waits. */
static pid_t begin(char *const env[])
{
    char *const argv[] = {"cat", NULL};
    int ready[2], wait[2];
    pid_t pid;
    char byte;

    assert_int_equal(pipe2(ready, 0), 0);
    assert_int_equal(pipe2(wait, 0), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(wait[0], 0);
        dup2(ready[1], 1);
        close(wait[1]);
        execve("/bin/cat", argv, env);
        _exit(127);
    }
    close(wait[0]);
    assert_int_equal(write(wait[1], "x", 1), 1); /* and it stays open */
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static bool has(const struct instance_enter *enter, const char *variable)
{
    for (size_t i = 0; enter->env[i] != NULL; i++)
        if (strcmp(enter->env[i], variable) == 0)
            return true;
    return false;
}

static void its_environment_runs_no_code_of_its_own(void **state)
{
    char *const env[] = {"HOME=/x",
                         "LD_PRELOAD=",
                         "GLIBC_TUNABLES=x=1",
                         "TOKEN=a=b",
                         "LD_LIBRARY_PATH=/x",
                         "GCONV_PATH=/x",
                         "LDAP=1",
                         NULL};
    struct instance_enter enter;
    struct err err;
    pid_t pid = begin(env);
    size_t count = 0;

    (void)state;
    assert_int_equal(instance_enter(pid, 1234, 1235, nowhere, command, &enter, &err), ERR_NONE);
    while (enter.env[count] != NULL)
        count++;
    assert_int_equal(count, 3);
    assert_true(has(&enter, "HOME=/x"));
    assert_true(has(&enter, "TOKEN=a=b"));
    assert_true(has(&enter, "LDAP=1"));
    assert_string_equal(enter.argv[0], ENTER_PROGRAM);
    instance_enter_free(&enter);
    end(pid);
}

static void it_enters_the_groups_that_are_there(void **state)
{
    char folder[] = "/tmp/covey-enter-XXXXXX", file[64], text[16] = "";
    const char *groups[] = {"/nowhere/at all", folder, NULL};
    char *const env[] = {"HOME=/x", NULL};
    struct instance_enter enter;
    struct err err;
    pid_t pid = begin(env);
    FILE *written;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/cgroup.procs", folder);
    assert_int_equal(instance_enter(pid, 1234, 1235, groups, command, &enter, &err), ERR_NONE);
    for (size_t i = 0; enter.argv[i] != NULL; i++)
        if (strcmp(enter.argv[i], ENTER_PROGRAM) == 0)
            enter.argv[i] = "/bin/true"; /* this is about what comes before */
    if (fork() == 0) {
        execve(enter.argv[0], (char *const *)(uintptr_t)enter.argv,
               (char *const *)(uintptr_t)enter.env);
        _exit(127);
    }
    assert_true(wait(NULL) > 0);
    written = fopen(file, "r");
    assert_non_null(written);
    assert_non_null(fgets(text, sizeof text, written));
    assert_string_equal(text, "0\n"); /* the kernel's word for: whoever writes this */
    fclose(written);
    unlink(file);
    rmdir(folder);
    instance_enter_free(&enter);
    end(pid);
}

static void a_process_that_is_gone(void **state)
{
    struct instance_enter enter;
    struct err err;
    pid_t pid = fork();

    (void)state;
    if (pid == 0)
        _exit(0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(instance_enter(pid, 1, 1, nowhere, command, &enter, &err), ERR_NOTFOUND);
    instance_enter_free(&enter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_environment_runs_no_code_of_its_own),
        cmocka_unit_test(it_enters_the_groups_that_are_there),
        cmocka_unit_test(a_process_that_is_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
