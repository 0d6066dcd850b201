/* The JSON log and the configuration from the environment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "workloads/lib/emit.h"
#include "workloads/lib/env.h"
#include "workloads/lib/log.h"
#include "workloads/lib/random.h"

struct pipe_log {
    int reader;
    int writer;
    struct log *log;
};

static struct pipe_log open_pipe(enum log_level limit)
{
    struct pipe_log p;
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    p.reader = ends[0];
    p.writer = ends[1];
    assert_int_equal(log_open(&p.log, p.writer, "service", "test", limit, NULL), ERR_NONE);
    return p;
}

static void close_pipe(struct pipe_log *p)
{
    log_close(p->log);
    close(p->reader);
    close(p->writer);
}

/* What one read gets; a write of less than PIPE_BUF bytes arrives whole. */
static json_t *read_line(struct pipe_log *p)
{
    static char text[LOG_LINE_MAX + 1];
    ssize_t n = read(p->reader, text, sizeof text - 1);
    json_t *root;

    assert_true(n > 0);
    text[n] = '\0';
    assert_ptr_equal(strchr(text, '\n'), text + n - 1); /* one line, and whole */
    root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    return root;
}

static const char *get(const json_t *root, const char *key)
{
    const char *text = json_string_value(json_object_get(root, key));
    return text != NULL ? text : "";
}

static void a_line_has_its_members_and_is_written_at_once(void **state)
{
    struct pipe_log p = open_pipe(LEVEL_INFO);
    json_t *root;
    struct out *o;
    int y, mo, d, h, mi, s, us;
    char z;
    (void)state;

    o = log_begin(p.log, LEVEL_WARNING, "a \"message\"");
    emit_key_int(o, "answer", 42);
    emit_key_string(o, "path", "/\xff\n");
    log_end(p.log);
    root = read_line(&p);
    assert_string_equal(get(root, "level"), "WARNING");
    assert_string_equal(get(root, "service"), "test");
    assert_string_equal(get(root, "message"), "a \"message\"");
    assert_string_equal(get(root, "path"), "/\xef\xbf\xbd\n");
    assert_int_equal(json_integer_value(json_object_get(root, "answer")), 42);
    assert_int_equal(sscanf(get(root, "timestamp"), "%4d-%2d-%2dT%2d:%2d:%2d.%6d%c", &y, &mo, &d,
                            &h, &mi, &s, &us, &z),
                     8);
    assert_int_equal(z, 'Z');
    json_decref(root);
    close_pipe(&p);
}

static void levels_below_the_limit_are_not_written(void **state)
{
    struct pipe_log p = open_pipe(LEVEL_ERROR);
    json_t *root;
    (void)state;

    assert_null(log_begin(p.log, LEVEL_WARNING, "no"));
    log_line(p.log, LEVEL_INFO, "no");
    log_line(p.log, LEVEL_CRITICAL, "yes");
    root = read_line(&p);
    assert_string_equal(get(root, "message"), "yes");
    json_decref(root);
    close_pipe(&p);
    p = open_pipe(LEVEL_OFF);
    assert_false(log_wants(p.log, LEVEL_CRITICAL));
    close_pipe(&p);
}

static void too_long_lines_stay_valid(void **state)
{
    struct pipe_log p = open_pipe(LEVEL_DEBUG);
    static char big[2 * LOG_LINE_MAX];
    json_t *root;
    struct out *o;
    (void)state;

    memset(big, '\\', sizeof big - 1);
    o = log_begin(p.log, LEVEL_INFO, "short");
    emit_key_string(o, "big", big);
    emit_key_int(o, "after", 1);
    log_end(p.log);
    root = read_line(&p);
    assert_string_equal(get(root, "message"), "short");
    assert_true(json_is_true(json_object_get(root, "truncated")));
    assert_null(json_object_get(root, "big"));
    json_decref(root);

    log_line(p.log, LEVEL_INFO, big);
    log_flush(p.log);
    root = read_line(&p);
    assert_string_equal(get(root, "level"), "INFO");
    assert_true(json_is_true(json_object_get(root, "truncated")));
    json_decref(root);
    close_pipe(&p);
}

#define WRITERS 4
#define LINES 5000

static void *write_lines(void *arg)
{
    struct log *log = arg;

    for (int i = 0; i < LINES; i++) {
        struct out *o = log_begin(log, LEVEL_INFO, "many");
        emit_key_int(o, "i", i);
        log_end(log);
    }
    return NULL;
}

static void lines_of_many_threads_are_whole_and_complete(void **state)
{
    struct pipe_log p = open_pipe(LEVEL_DEBUG);
    FILE *f = fdopen(dup(p.reader), "r");
    pthread_t threads[WRITERS];
    char line[512];
    long sum = 0;
    (void)state;

    assert_non_null(f);
    assert_int_equal(log_start_flusher(p.log, NULL), ERR_NONE);
    for (size_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, p.log), 0);
    /* The last lines come by the flusher: nobody else writes them before they are read. */
    for (int i = 0; i < WRITERS * LINES; i++) {
        json_t *root;
        assert_non_null(fgets(line, sizeof line, f));
        root = json_loads(line, 0, NULL);
        assert_non_null(root);
        sum += (long)json_integer_value(json_object_get(root, "i"));
        json_decref(root);
    }
    for (size_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(sum, (long)WRITERS * LINES * (LINES - 1) / 2);
    fclose(f);
    close_pipe(&p);
}

static void lines_that_nobody_can_read_are_counted(void **state)
{
    struct pipe_log p = open_pipe(LEVEL_DEBUG);
    (void)state;

    signal(SIGPIPE, SIG_IGN);
    close(p.reader);
    log_line(p.log, LEVEL_INFO, "lost");
    log_flush(p.log);
    assert_true(log_lost(p.log) > 0);
    log_close(p.log);
    close(p.writer);
}

static void uuids_have_their_form(void **state)
{
    char text[UUID_TEXT];
    struct rng rng;
    (void)state;

    rng_seed(&rng, 7);
    for (int i = 0; i < 100; i++) {
        random_uuid(&rng, text);
        assert_int_equal(strlen(text), 36);
        assert_int_equal(strspn(text, "0123456789abcdef-"), 36);
        assert_true(text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-');
        assert_int_equal(text[14], '4');
        assert_non_null(strchr("89ab", text[19]));
    }
}

static void the_environment_is_read(void **state)
{
    static const char *const choices[] = {"red", "green", NULL};
    struct env env;
    (void)state;

    env_init(&env);
    setenv("T_INT", "-12", 1);
    setenv("T_REAL", "0.25", 1);
    setenv("T_CHOICE", "green", 1);
    setenv("T_EMPTY", "", 1);
    unsetenv("T_NONE");
    assert_int_equal(env_int(&env, "T_INT", 1, -12, 5), -12);
    assert_true(env_real(&env, "T_REAL", 1, 0, 1) == 0.25);
    assert_int_equal(env_choice(&env, "T_CHOICE", choices, 0), 1);
    assert_string_equal(env_string(&env, "T_CHOICE", "x"), "green");
    assert_int_equal(env_int(&env, "T_EMPTY", 7, 0, 5), 7);
    assert_string_equal(env_string(&env, "T_NONE", "fallback"), "fallback");
    assert_int_equal(env_check(&env, "test"), 0);
}

static void every_wrong_variable_is_named(void **state)
{
    static const char *const choices[] = {"red", "green", NULL};
    static const char *const bad_ints[] = {
        "abc", "1x", "0x10", " 1", "1e3", "6", "-1", "99999999999999999999", "--1"};
    static const char *const bad_reals[] = {"abc", "inf", "nan", "0x1p3", "1,5", "1.5.2", "2", "-"};
    struct env env;
    (void)state;

    for (size_t i = 0; i < sizeof bad_ints / sizeof bad_ints[0]; i++) {
        env_init(&env);
        setenv("T_INT", bad_ints[i], 1);
        assert_int_equal(env_int(&env, "T_INT", 3, 0, 5), 3);
        assert_int_equal(env.problems, 1);
    }
    for (size_t i = 0; i < sizeof bad_reals / sizeof bad_reals[0]; i++) {
        env_init(&env);
        setenv("T_REAL", bad_reals[i], 1);
        assert_true(env_real(&env, "T_REAL", 0.5, 0, 1) == 0.5);
        assert_int_equal(env.problems, 1);
    }
    env_init(&env);
    setenv("T_INT", "abc", 1);
    setenv("T_CHOICE", "blue", 1);
    env_int(&env, "T_INT", 3, 0, 5);
    env_choice(&env, "T_CHOICE", choices, 0);
    env_problem(&env, "T_NONE", "not less than %d", 4);
    assert_string_equal(env.text, "T_INT=\"abc\": expected a whole number from 0 to 5\n"
                                  "T_CHOICE=\"blue\": expected one of red, green\n"
                                  "T_NONE: expected not less than 4\n");
}

static void complaints_are_cut_not_overrun(void **state)
{
    static char big[ENV_VALUE_MAX + 2];
    struct env env;
    (void)state;

    memset(big, '1', sizeof big - 1);
    setenv("T_INT", big, 1);
    env_init(&env);
    for (int i = 0; i < 200; i++)
        env_int(&env, "T_INT", 3, 0, 5);
    assert_int_equal(env.problems, 200);
    assert_int_equal(strlen(env.text), ENV_TEXT_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_its_members_and_is_written_at_once),
        cmocka_unit_test(levels_below_the_limit_are_not_written),
        cmocka_unit_test(too_long_lines_stay_valid),
        cmocka_unit_test(lines_of_many_threads_are_whole_and_complete),
        cmocka_unit_test(lines_that_nobody_can_read_are_counted),
        cmocka_unit_test(uuids_have_their_form),
        cmocka_unit_test(the_environment_is_read),
        cmocka_unit_test(every_wrong_variable_is_named),
        cmocka_unit_test(complaints_are_cut_not_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
