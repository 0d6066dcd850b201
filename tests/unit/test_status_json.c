/* The JSON of the API against golden files: what scripts read must not change by accident.
 * COVEY_GOLDEN=write build/debug/bin/test_status_json writes them anew: look at the difference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "agent/web/flock_json.h"
#include "agent/web/status_json.h"
#include "tests/lib/status_fixture.h"
#include "tests/unit/golden.h"

static void whole_status(void **state)
{
    static const char *const names[] = {"healthy", "degraded", "empty", "hostile"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct status_fixture f;
        char file[32];
        assert_true(status_fixture(names[i], &f));
        snprintf(file, sizeof file, "status-%s", names[i]);
        expect_golden(status_json(&f.status), file);
    }
}

static void flock(void **state)
{
    static const struct flock_json_node nodes[] = {{.name = "pi1",
                                                    .id = "990eb3f567f1e72e",
                                                    .fingerprint = "QUBT-XLVZ-YJWT-7DQN-7D2L",
                                                    .state = "admitted",
                                                    .member = "alive",
                                                    .role = "agent",
                                                    .address = "10.77.0.11:8801",
                                                    .self = true,
                                                    .holder = true},
                                                   {.name = "pi3",
                                                    .id = "fb212659e037a23a",
                                                    .fingerprint = "HMFR-G2CP-KZYS-B2P5-7DTF",
                                                    .state = "pending",
                                                    .member = "",
                                                    .role = "",
                                                    .address = ""},
                                                   {.name = "pi2",
                                                    .id = "0a1c0daf9295a1cc",
                                                    .fingerprint = "TF6F-PT7M-5Y5O-QLR4-LJEZ",
                                                    .state = "revoked",
                                                    .member = "",
                                                    .role = "",
                                                    .address = "",
                                                    .since = STATUS_FIXTURE_NOW}};
    static const struct flock_json_token token = {.id = "3d272e96dbc8269e",
                                                  .state = "valid",
                                                  .created = STATUS_FIXTURE_NOW - 60,
                                                  .expires = STATUS_FIXTURE_NOW + 3540,
                                                  .uses_left = 2,
                                                  .used = 1};
    json_t *items = json_array();
    json_t *keys = json_array();

    (void)state;
    for (size_t i = 0; i < sizeof nodes / sizeof nodes[0]; i++)
        json_array_append_new(items, flock_json_node(&nodes[i]));
    expect_golden(status_json_list("NodeList", items), "admitted");
    items = json_array();
    json_array_append_new(items, flock_json_token(&token));
    expect_golden(status_json_list("TokenList", items), "tokens");
    json_array_append_new(keys, flock_json_key(&(struct flock_json_key){.name = "pi1",
                                                                        .member = "alive",
                                                                        .epoch = 5,
                                                                        .current = true,
                                                                        .holder = true,
                                                                        .self = true}));
    json_array_append_new(keys, flock_json_key(&(struct flock_json_key){
                                    .name = "pi2", .member = "dead", .epoch = 2}));
    expect_golden(flock_json_keys(5, true, 1, keys), "keys");
}

/* What agentctl vip has to show besides: held since a move, wanted in vain, a foreign host's. */
static void various_vips(struct status_fixture *f)
{
    struct status_vip *moved = &f->vips[0];
    struct status_vip *wanted = &f->vips[1];
    struct status_vip *foreign = &f->vips[2];

    moved->before = f->nodes[1].name;
    moved->gateway_register = "lost";
    snprintf(moved->reason, sizeof moved->reason, "the holder before handed it over");
    wanted->owner = NODE_NONE;
    wanted->owner_name = "";
    wanted->here = false;
    wanted->left_ms = -1;
    wanted->votes[0] =
        (struct status_vote){.voter = f->nodes[0].name, .granted_ms = 412, .refused_for = ""};
    wanted->votes[1] = (struct status_vote){.voter = f->nodes[1].name, .refused_for = "pi03"};
    wanted->votes[2] = (struct status_vote){.voter = f->nodes[2].name, .refused_for = "pi03"};
    wanted->vote_count = 3;
    snprintf(wanted->reason, sizeof wanted->reason, "no majority of the voters renewed it in time");
    foreign->owner = NODE_NONE;
    foreign->owner_name = "";
    foreign->foreign = true;
    foreign->foreign_mac[0] = 0x02;
    foreign->foreign_mac[5] = 0x99;
    snprintf(foreign->reason, sizeof foreign->reason,
             "not claimed: a host that is no member answers for it, 02:00:00:00:00:99");
}

static void lists(void **state)
{
    struct status_fixture f;

    (void)state;
    assert_true(status_fixture("crowd", &f));
    f.status.node_count = 10;
    various_vips(&f);
    expect_golden(status_json_list("NodeList", status_json_nodes(&f.status)), "nodes");
    expect_golden(status_json_list("VirtualIPList", status_json_vips(&f.status)), "vips");
    assert_true(status_fixture("healthy", &f));
    expect_golden(status_json_list("PathList", status_json_paths(&f.status)), "paths");
    assert_true(status_fixture("degraded", &f));
    expect_golden(status_json_list("WorkloadList", status_json_apps(&f.status)), "apps");
    assert_null(status_json_list("NodeList", NULL));
}

static void expect_time(int64_t seconds, const char *text)
{
    json_t *value = status_json_time(seconds);

    if (text == NULL)
        assert_true(json_is_null(value));
    else
        assert_string_equal(json_string_value(value), text);
    json_decref(value);
}

static void times(void **state)
{
    (void)state;
    expect_time(0, NULL);
    expect_time(1, "1970-01-01T00:00:01Z");
    expect_time(STATUS_FIXTURE_NOW, "2026-11-22T17:02:42Z");
    if (sizeof(time_t) > 4)
        expect_time(INT64_C(4102444800), "2100-01-01T00:00:00Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_status),
        cmocka_unit_test(flock),
        cmocka_unit_test(lists),
        cmocka_unit_test(times),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
