/* Specifications, records and requests of the shim as text: there and back, and any bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/shim/shim.h"
#include "proto/base/rng.h"

static struct shim_record full_record(void)
{
    struct shim_record r = {
        .generation = UINT64_MAX,
        .state = SHIM_FAILED,
        .shim_pid = INT32_MAX,
        .pid = INT32_MAX,
        .start_ticks = UINT64_MAX,
        .started_ms = INT64_MAX,
        .started_wall_ms = INT64_MAX,
        .ended_ms = INT64_MAX,
        .ended_wall_ms = INT64_MAX,
        .exit = SHIM_EXIT_SIGNAL,
        .exit_value = -INT32_MAX,
        .cause = SHIM_CAUSE_DEADLINE,
        .deadline_ms = INT64_MAX,
        .log_lines = UINT64_MAX,
        .log_dropped = UINT64_MAX,
        .garbage = UINT64_MAX,
        .code = ERR_NOTFOUND,
        .errnum = 2,
    };

    memset(r.instance, 'x', sizeof r.instance - 1);
    memset(r.note, 'n', sizeof r.note - 1);
    memset(r.text, '=', sizeof r.text - 1);
    return r;
}

static void a_record_comes_back(void **state)
{
    struct shim_record record = full_record();
    struct shim_record read;
    char buffer[SHIM_RECORD_MAX];
    size_t len = shim_record_encode(&record, buffer);
    (void)state;

    memset(&read, 0, sizeof read);
    assert_true(len < SHIM_RECORD_MAX);
    assert_int_equal(shim_record_decode(buffer, len, &read), ERR_NONE);
    assert_string_equal(read.instance, record.instance);
    assert_string_equal(read.text, record.text);
    assert_string_equal(read.note, record.note);
    assert_int_equal(shim_record_encode(&read, buffer), len);
    record.text[3] = '\n';
    len = shim_record_encode(&record, buffer);
    assert_int_equal(shim_record_decode(buffer, len, &read), ERR_NONE);
    assert_int_equal(read.text[3], ' ');
}

static int decode_text(const char *text, struct shim_record *record)
{
    return shim_record_decode(text, strlen(text), record);
}

static void versions_and_unknown_keys(void **state)
{
    struct shim_record r;
    (void)state;

    assert_int_equal(decode_text("covey-shim 1\ninstance=a\nnews=1\nstate=running\n", &r),
                     ERR_NONE);
    assert_int_equal(r.state, SHIM_RUNNING);
    assert_int_equal(decode_text("covey-shim 2\ninstance=a\n", &r), ERR_VERSION);
    assert_int_equal(decode_text("covey-shim 1\nstate=running\n", &r), ERR_INVALID);
    assert_int_equal(decode_text("covey-shim 1\ninstance=a\nstate=dancing\n", &r), ERR_INVALID);
    assert_int_equal(decode_text("covey-shim 1\ninstance=a\npid=-3\n", &r), ERR_INVALID);
    assert_int_equal(decode_text("covey-shim 1\ninstance=a\npid=3", &r), ERR_INVALID);
    assert_int_equal(decode_text("covey-shim 1\ninstance=../a\n", &r), ERR_INVALID);
    assert_int_equal(decode_text("", &r), ERR_INVALID);
}

static void a_request_comes_back(void **state)
{
    const struct shim_request stop = {
        .type = SHIM_ASK_STOP, .signal = 15, .timeout_ms = 100, .deadline_ms = INT64_MAX};
    struct shim_request read;
    char buffer[SHIM_REQUEST_MAX];
    size_t len = shim_request_encode(&stop, buffer);
    (void)state;

    assert_int_equal(shim_request_decode(buffer, len, &read), ERR_NONE);
    assert_int_equal(read.type, stop.type);
    assert_int_equal(read.signal, 15);
    assert_int_equal(read.timeout_ms, 100);
    assert_true(read.deadline_ms == INT64_MAX);
}

static struct shim_spec full_spec(void)
{
    return (struct shim_spec){
        .instance = "shop/web.0",
        .generation = UINT64_MAX,
        .note = "ports=1,2",
        .dir = "/run/x",
        .log_dir = "/log",
        .log_file_bytes = 5,
        .log_files = 6,
        .working_dir = "/w",
        .cgroups = {"/sys/fs/cgroup/x", "/sys/fs/cgroup/y"},
        .sandbox = {.private_tmp = true,
                    .read_only = true,
                    .bound = true,
                    .capability = UINT64_MAX,
                    .paths = {"/p", "/q"},
                    .seccomp = "/s"},
        .log_age_s = 60,
        .oom_score = -1000,
        .listen = 2,
        .pre_start = {.argv = {"init", "-x"}, .timeout_ms = 14},
        .post_stop = {.argv = {"tidy"}, .timeout_ms = 15},
        .switch_user = true,
        .no_new_privileges = true,
        .uid = 7,
        .gid = 8,
        .groups = {9, 10},
        .group_count = 2,
        .nofile = 11,
        .stop_signal = 12,
        .stop_timeout_ms = 13,
        .deadline_ms = INT64_MAX,
        .argv = {"/bin/x", "", "a=b\n"},
        .env = {"A=1", "B="},
    };
}

static void a_specification_comes_back(void **state)
{
    static char buffer[SHIM_SPEC_MAX];
    static char again[SHIM_SPEC_MAX];
    struct shim_spec spec = full_spec();
    struct shim_spec read;
    size_t len;
    size_t len_again;
    struct err err;
    (void)state;

    assert_int_equal(shim_spec_encode(&spec, buffer, sizeof buffer, &len, &err), ERR_NONE);
    assert_int_equal(shim_spec_decode(buffer, len, &read, &err), ERR_NONE);
    assert_string_equal(read.note, "ports=1,2");
    assert_string_equal(read.argv[1], "");
    assert_string_equal(read.argv[2], "a=b\n");
    assert_null(read.argv[3]);
    assert_int_equal(read.groups[1], 10);
    assert_true(read.no_new_privileges && read.switch_user);
    assert_string_equal(read.cgroups[1], "/sys/fs/cgroup/y");
    assert_int_equal(read.oom_score, -1000);
    assert_string_equal(read.pre_start.argv[1], "-x");
    assert_int_equal(read.post_stop.timeout_ms, 15);
    assert_int_equal(shim_spec_encode(&read, again, sizeof again, &len_again, &err), ERR_NONE);
    assert_int_equal(len, len_again);
    assert_memory_equal(buffer, again, len);
    assert_int_equal(shim_spec_decode(buffer, len - 1, &read, &err), ERR_INVALID);
    assert_int_equal(shim_spec_encode(&spec, again, len - 1, &len_again, &err), ERR_LIMIT);
    buffer[strlen("version=covey-shim-spec ")] = '9';
    assert_int_equal(shim_spec_decode(buffer, len, &read, &err), ERR_VERSION);
}

static void impossible_specifications_are_refused(void **state)
{
    static char buffer[SHIM_SPEC_MAX];
    static const char *const names[] = {"", ".", "../x", "/x", "a b", "a\n", "a@b"};
    struct shim_spec spec;
    struct err err;
    size_t len;
    (void)state;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_false(shim_instance_valid(names[i]));
    spec = full_spec();
    spec.argv[0] = NULL;
    assert_int_equal(shim_spec_encode(&spec, buffer, sizeof buffer, &len, &err), ERR_INVALID);
    spec = full_spec();
    spec.note = "two\nlines";
    assert_int_equal(shim_spec_encode(&spec, buffer, sizeof buffer, &len, &err), ERR_INVALID);
    spec = full_spec();
    spec.stop_signal = 0;
    assert_int_equal(shim_spec_encode(&spec, buffer, sizeof buffer, &len, &err), ERR_INVALID);
    spec = full_spec();
    spec.oom_score = 1001;
    assert_int_equal(shim_spec_encode(&spec, buffer, sizeof buffer, &len, &err), ERR_INVALID);
    spec = full_spec();
    spec.deadline_ms = -1;
    assert_int_equal(shim_spec_encode(&spec, buffer, sizeof buffer, &len, &err), ERR_INVALID);
    spec = full_spec();
    spec.dir = "relative";
    assert_int_equal(shim_spec_encode(&spec, buffer, sizeof buffer, &len, &err), ERR_INVALID);
}

/* Whatever comes, the decoders return; the sanitizers watch how. Exact allocations, so that a byte
 * read beyond the end is seen. */
static void damaged_texts_are_survived(void **state)
{
    static char spec_text[SHIM_SPEC_MAX];
    char record_text[SHIM_RECORD_MAX];
    struct shim_record record = full_record();
    struct shim_spec spec = full_spec();
    size_t lens[2];
    struct rng rng;
    (void)state;

    rng_seed(&rng, 1);
    lens[0] = shim_record_encode(&record, record_text);
    assert_int_equal(shim_spec_encode(&spec, spec_text, sizeof spec_text, &lens[1], NULL),
                     ERR_NONE);
    for (int i = 0; i < 20000; i++) {
        int which = i % 2;
        size_t len = (size_t)rng_range(&rng, 1, (int64_t)lens[which]);
        char *copy = malloc(len);
        struct shim_request request;
        assert_non_null(copy);
        memcpy(copy, which == 0 ? record_text : spec_text, len);
        for (uint64_t n = rng_below(&rng, 4); n > 0; n--)
            copy[rng_below(&rng, len)] = (char)rng_below(&rng, 256);
        if (which == 0) {
            shim_record_decode(copy, len, &record);
            shim_request_decode(copy, len, &request);
        } else {
            copy[len - 1] = '\0';
            shim_spec_decode(copy, len, &spec, NULL);
        }
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_comes_back),
        cmocka_unit_test(versions_and_unknown_keys),
        cmocka_unit_test(a_request_comes_back),
        cmocka_unit_test(a_specification_comes_back),
        cmocka_unit_test(impossible_specifications_are_refused),
        cmocka_unit_test(damaged_texts_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
