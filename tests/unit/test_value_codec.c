/* Values of records to bytes and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proto/record/value_codec.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"

/* Encodes @v, checks that every shorter form and one byte more are refused, and leaves in the
 * structure @back what decoding gives. Both start as zeros, so that they can be compared whole. */
#define ROUND_TRIP(NAME, v, back)                                                                  \
    do {                                                                                           \
        uint8_t form[RECORD_VALUE_MAX + 1];                                                        \
        size_t form_len;                                                                           \
        assert_int_equal(value_##NAME##_encode(&(v), form, RECORD_VALUE_MAX, &form_len),           \
                         ERR_NONE);                                                                \
        for (size_t cut = 0; cut < form_len; cut++) {                                              \
            size_t none;                                                                           \
            uint8_t small[RECORD_VALUE_MAX];                                                       \
            assert_int_equal(value_##NAME##_decode(form, cut, &(back)), ERR_INVALID);              \
            assert_int_equal(value_##NAME##_encode(&(v), small, cut, &none), ERR_LIMIT);           \
            assert_int_equal(none, 0);                                                             \
        }                                                                                          \
        form[form_len] = 0;                                                                        \
        assert_int_equal(value_##NAME##_decode(form, form_len + 1, &(back)), ERR_INVALID);         \
        memset(&(back), 0, sizeof(back));                                                          \
        assert_int_equal(value_##NAME##_decode(form, form_len, &(back)), ERR_NONE);                \
    } while (0)

static void test_head(void **state)
{
    struct value_head v, back;
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;

    (void)state;
    memset(&v, 0, sizeof v);
    strcpy(v.name, "pi1");
    v.role = VALUE_ROLE_AGENT;
    v.serial = 3;
    v.addr = (struct addr){.family = 4, .ip = {10, 77, 0, 2}, .port = 8801};
    strcpy(v.version, "0.1.0");
    memset(v.public_key, 0x11, sizeof v.public_key);
    memset(v.admission, 0x22, sizeof v.admission);
    ROUND_TRIP(head, v, back);
    assert_memory_equal(&back, &v, sizeof v);
    v.name[0] = 'P';
    assert_int_equal(value_head_encode(&v, bytes, sizeof bytes, &len), ERR_INVALID);
    v.name[0] = 'p';
    v.role = 3;
    assert_int_equal(value_head_encode(&v, bytes, sizeof bytes, &len), ERR_INVALID);
    v.role = VALUE_ROLE_WITNESS;
    v.addr.family = 5;
    assert_int_equal(value_head_encode(&v, bytes, sizeof bytes, &len), ERR_INVALID);
}

static void test_node(void **state)
{
    struct value_node v, back;
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;

    (void)state;
    memset(&v, 0, sizeof v);
    v.facts.started = 1700000000;
    v.facts.cpus = 4;
    v.facts.memory_mib = 3794;
    v.facts.gateway = true;
    v.label_count = 2;
    strcpy(v.labels[0].key, "role");
    strcpy(v.labels[0].value, "edge");
    strcpy(v.labels[1].key, "disk");
    ROUND_TRIP(node, v, back);
    assert_memory_equal(&back, &v, sizeof v);
    v.labels[1].value[0] = '\n';
    assert_int_equal(value_node_encode(&v, bytes, sizeof bytes, &len), ERR_INVALID);
    v.label_count = VALUE_LABELS_MAX;
    for (size_t i = 0; i < VALUE_LABELS_MAX; i++) {
        memset(v.labels[i].key, 'k', VALUE_LABEL_MAX - 1);
        memset(v.labels[i].value, 'v', VALUE_LABEL_MAX - 1);
    }
    assert_int_equal(value_node_encode(&v, bytes, sizeof bytes, &len), ERR_LIMIT);
    assert_int_equal(len, 0);
}

static void test_commit(void **state)
{
    struct value_commit v, back;
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;

    (void)state;
    memset(&v, 0, sizeof v);
    strcpy(v.commit, COMMIT);
    v.state = VALUE_COMMIT_FAILED;
    v.health = VALUE_HEALTH_BACK;
    strcpy(v.bad, COMMIT);
    strcpy(v.next, COMMIT);
    v.applied = -1;
    strcpy(v.subject, "shop: two replicas");
    strcpy(v.reason, "apps/shop/api.yaml:7: \"replicas\" must be a number");
    ROUND_TRIP(commit, v, back);
    assert_memory_equal(&back, &v, sizeof v);
    memset(v.reason, 'r', sizeof v.reason - 1); /* the largest value fits */
    memset(v.subject, 's', sizeof v.subject - 1);
    assert_int_equal(value_commit_encode(&v, bytes, sizeof bytes, &len), ERR_NONE);
    strcpy(v.reason, "red \x1b[31m");
    assert_int_equal(value_commit_encode(&v, bytes, sizeof bytes, &len), ERR_NONE);
    assert_int_equal(value_commit_decode(bytes, len, &back), ERR_NONE);
    assert_string_equal(back.reason, "red  [31m");
    v.commit[3] = 'X';
    assert_int_equal(value_commit_encode(&v, bytes, sizeof bytes, &len), ERR_INVALID);
    v.commit[3] = '\0';
    assert_int_equal(value_commit_encode(&v, bytes, sizeof bytes, &len), ERR_INVALID);
    v.commit[0] = '\0';
    assert_int_equal(value_commit_encode(&v, bytes, sizeof bytes, &len), ERR_NONE);
}

static void test_instance(void **state)
{
    struct value_instance v, back;
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;

    (void)state;
    memset(&v, 0, sizeof v);
    v.state = VALUE_READY;
    v.generation = UINT64_MAX;
    v.pid = 4711;
    v.restarts = 2;
    v.since = 1700000000;
    v.exit_code = -1;
    v.port_count = 2;
    strcpy(v.ports[0].name, "http");
    v.ports[0].port = 20001;
    strcpy(v.ports[1].name, "metrics");
    v.ports[1].port = 65535;
    strcpy(v.reason, "answers");
    ROUND_TRIP(instance, v, back);
    assert_memory_equal(&back, &v, sizeof v);
    v.state = 0;
    assert_int_equal(value_instance_encode(&v, bytes, sizeof bytes, &len), ERR_INVALID);
    v.state = VALUE_READY;
    v.port_count = VALUE_PORTS_MAX + 1;
    assert_int_equal(value_instance_encode(&v, bytes, sizeof bytes, &len), ERR_INVALID);
}

static void test_small_ones(void **state)
{
    struct value_vip vip, vip_back;
    struct value_voters voters, voters_back;
    struct value_adopted adopted = {.number = UINT32_MAX}, adopted_back;
    struct value_register kept = {.kept = true}, kept_back;
    struct value_keys keys = {.epoch = UINT32_MAX, .holder = true}, keys_back;
    struct value_paths paths = {0}, paths_back;
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;

    (void)state;
    memset(&vip, 0, sizeof vip);
    vip.holding = true;
    vip.epoch = UINT64_C(1) << 40;
    vip.since = 1700000000;
    strcpy(vip.reason, "by majority");
    vip.before.v = 9;
    ROUND_TRIP(vip, vip, vip_back);
    assert_memory_equal(&vip_back, &vip, sizeof vip);
    vip.foreign = true;
    memset(vip.foreign_mac, 0x5a, sizeof vip.foreign_mac);
    ROUND_TRIP(vip, vip, vip_back);
    assert_memory_equal(&vip_back, &vip, sizeof vip);

    memset(&voters, 0, sizeof voters);
    voters.number = 7;
    voters.count = 2;
    voters.voters[0].v = 1;
    voters.voters[1].v = UINT64_MAX;
    ROUND_TRIP(voters, voters, voters_back);
    assert_memory_equal(&voters_back, &voters, sizeof voters);
    voters.voters[1].v = 0;
    assert_int_equal(value_voters_encode(&voters, bytes, sizeof bytes, &len), ERR_INVALID);

    paths.count = 2;
    paths.paths[0] = (struct value_path){.from = {5}, .hears = true, .rtt_ms = 300};
    paths.paths[1] = (struct value_path){.from = {6}, .rtt_ms = UINT16_MAX, .loss_pct = 100};
    ROUND_TRIP(paths, paths, paths_back);
    assert_int_equal(paths_back.paths[0].rtt_ms, 300);
    assert_true(paths_back.paths[0].hears);
    assert_int_equal(paths_back.paths[1].from.v, 6);
    assert_int_equal(paths_back.paths[1].loss_pct, 100);
    paths.paths[1].from.v = 5; /* not ascending */
    assert_int_equal(value_paths_encode(&paths, bytes, sizeof bytes, &len), ERR_INVALID);
    paths.count = VALUE_PATHS_MAX;
    for (uint64_t i = 0; i < VALUE_PATHS_MAX; i++)
        paths.paths[i] = (struct value_path){
            .from = {UINT64_MAX - VALUE_PATHS_MAX + i}, .rtt_ms = UINT16_MAX, .loss_pct = 100};
    ROUND_TRIP(paths, paths, paths_back); /* the longest fits a record */

    ROUND_TRIP(adopted, adopted, adopted_back);
    assert_int_equal(adopted_back.number, adopted.number);
    ROUND_TRIP(register, kept, kept_back);
    assert_true(kept_back.kept);
    ROUND_TRIP(keys, keys, keys_back);
    assert_int_equal(keys_back.epoch, keys.epoch);
    assert_true(keys_back.holder);
}

static void test_clients(void **state)
{
    static const uint8_t odd[] = {0x91, 0xc4, 0x03, 1, 2, 3};
    struct value_clients clients, back;
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;

    (void)state;
    memset(&clients, 0, sizeof clients);
    ROUND_TRIP(clients, clients, back);
    assert_int_equal(back.count, 0);
    clients.count = VALUE_CLIENTS_MAX; /* as many as may be fit a record */
    for (size_t i = 0; i < VALUE_CLIENTS_MAX; i++)
        memset(&clients.clients[i], (int)i, sizeof clients.clients[i]);
    ROUND_TRIP(clients, clients, back);
    assert_memory_equal(&back, &clients, sizeof clients);
    assert_int_equal(value_clients_decode(odd, sizeof odd, &back), ERR_INVALID);
    clients.count++;
    assert_int_equal(value_clients_encode(&clients, bytes, sizeof bytes, &len), ERR_INVALID);
}

static void test_pool(void **state)
{
    struct value_pool pool = {.ip = {10, 77, 0, 210}, .number = INT64_MAX, .stamp = INT64_MAX};
    struct value_pool back;
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;
    (void)state;

    ROUND_TRIP(pool, pool, back);
    assert_memory_equal(back.ip, pool.ip, sizeof back.ip);
    assert_int_equal(back.number, pool.number);
    assert_int_equal(back.stamp, pool.stamp);
    pool.number++; /* there must be one behind it */
    assert_int_equal(value_pool_encode(&pool, bytes, sizeof bytes, &len), ERR_INVALID);
    pool.number = 0;
    assert_int_equal(value_pool_encode(&pool, bytes, sizeof bytes, &len), ERR_INVALID);
    pool.number = 1;
    pool.stamp = -1;
    assert_int_equal(value_pool_encode(&pool, bytes, sizeof bytes, &len), ERR_INVALID);
}

static void test_suspend(void **state)
{
    struct value_suspend suspend = {.on = true, .stamp = INT64_MAX, .until = INT64_MAX}, back;
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;

    (void)state;
    memset(suspend.commit, 'a', COMMIT_TEXT - 1);
    memset(suspend.by, 'p', NODE_NAME_MAX);
    memset(suspend.reason, 'r', VALUE_REASON_MAX - 1);
    ROUND_TRIP(suspend, suspend, back); /* the longest fits a record */
    assert_memory_equal(&back, &suspend, sizeof back);
    suspend.commit[3] = 'x';
    assert_int_equal(value_suspend_encode(&suspend, bytes, sizeof bytes, &len), ERR_INVALID);
    memset(suspend.commit, 0, sizeof suspend.commit);
    ROUND_TRIP(suspend, suspend, back);
    suspend.by[0] = '\0'; /* nobody says nothing */
    assert_int_equal(value_suspend_encode(&suspend, bytes, sizeof bytes, &len), ERR_INVALID);
}

static void test_drift(void **state)
{
    struct value_drift drift = {.since = INT64_MAX}, back;
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;

    (void)state;
    memset(drift.app, 'a', NODE_NAME_MAX);
    memset(drift.what, 'w', VALUE_REASON_MAX - 1);
    ROUND_TRIP(drift, drift, back); /* the longest fits a record */
    assert_memory_equal(&back, &drift, sizeof back);
    memset(drift.app, 0, sizeof drift.app); /* a process of no app */
    ROUND_TRIP(drift, drift, back);
    drift.what[0] = '\0';
    assert_int_equal(value_drift_encode(&drift, bytes, sizeof bytes, &len), ERR_INVALID);
}

static void test_turn(void **state)
{
    struct value_turn turn = {0}, back;
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;

    (void)state;
    turn.number = UINT64_MAX;
    turn.inside = true;
    turn.count = VALUE_TURN_REPLICAS_MAX;
    turn.seen_count = VALUE_TURN_SEEN_MAX;
    for (uint8_t i = 0; i < VALUE_TURN_REPLICAS_MAX; i++)
        turn.replicas[i] = (uint16_t)(UINT16_MAX - VALUE_TURN_REPLICAS_MAX + i);
    for (uint8_t i = 0; i < VALUE_TURN_SEEN_MAX; i++)
        turn.seen[i] = (struct value_seen){{UINT64_MAX - VALUE_TURN_SEEN_MAX + i}, UINT64_MAX};
    ROUND_TRIP(turn, turn, back); /* the longest fits a record */
    assert_int_equal(back.replicas[7], turn.replicas[7]);
    assert_int_equal(back.seen[15].node.v, turn.seen[15].node.v);
    turn.seen[3] = turn.seen[2];
    assert_int_equal(value_turn_encode(&turn, bytes, sizeof bytes, &len), ERR_INVALID);
    turn = (struct value_turn){.inside = true}; /* whose? */
    assert_int_equal(value_turn_encode(&turn, bytes, sizeof bytes, &len), ERR_INVALID);
}

static void test_cron(void **state)
{
    struct value_cron cron = {0}, back;
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;

    (void)state;
    ROUND_TRIP(cron, cron, back); /* nothing claimed, nothing accepted */
    cron.accepted = (struct value_claim){UINT32_MAX, {UINT64_MAX}, UINT64_MAX, UINT8_MAX};
    cron.count = VALUE_RUNS_MAX;
    for (int i = 0; i < VALUE_RUNS_MAX; i++)
        cron.runs[i] = (struct value_run){.tick = (int64_t)UINT32_MAX - i,
                                          .number = UINT64_MAX - (uint64_t)i,
                                          .state = VALUE_RUN_ENDED,
                                          .attempt = UINT8_MAX,
                                          .process = VALUE_RUN_PROCESSES_MAX - 1,
                                          .exit_code = 255,
                                          .started = UINT32_MAX,
                                          .ended = UINT32_MAX};
    ROUND_TRIP(cron, cron, back); /* the longest fits a record */
    assert_memory_equal(&back.runs[19], &cron.runs[19], sizeof cron.runs[19]);
    cron.runs[4].process = 0;
    ROUND_TRIP(cron, cron, back);
    cron.runs[4].process = VALUE_RUN_PROCESSES_MAX;
    assert_int_equal(value_cron_encode(&cron, bytes, sizeof bytes, &len), ERR_INVALID);
    cron.runs[4].process = 0;
    cron.runs[4].state = 0;
    assert_int_equal(value_cron_encode(&cron, bytes, sizeof bytes, &len), ERR_INVALID);
    cron.count = 0;
    cron.accepted.node = NODE_NONE; /* of nobody */
    assert_int_equal(value_cron_encode(&cron, bytes, sizeof bytes, &len), ERR_INVALID);
}

/* As agents wrote it that knew of one process only, and the form that has a shorter one. */
static void test_cron_process(void **state)
{
    static const uint8_t older[] = {0x95, 0, 0, 0, 0, 0x91, 0x97, 5, 1, 3, 1, 0, 6, 7};
    static const uint8_t beside[] = {0x95, 0, 0, 0, 0, 0x91, 0x98, 5, 1, 3, 1, 0, 6, 7, 2};
    uint8_t longer[sizeof beside];
    struct value_cron cron;

    (void)state;
    assert_int_equal(value_cron_decode(older, sizeof older, &cron), ERR_NONE);
    assert_int_equal(cron.runs[0].process, 0);
    assert_int_equal(cron.runs[0].ended, 7);
    assert_int_equal(value_cron_decode(beside, sizeof beside, &cron), ERR_NONE);
    assert_int_equal(cron.runs[0].process, 2);
    memcpy(longer, beside, sizeof longer);
    longer[sizeof longer - 1] = 0;
    assert_int_equal(value_cron_decode(longer, sizeof longer, &cron), ERR_INVALID);
    longer[sizeof longer - 1] = VALUE_RUN_PROCESSES_MAX;
    assert_int_equal(value_cron_decode(longer, sizeof longer, &cron), ERR_INVALID);
}

static void test_admission(void **state)
{
    struct keys_identity cluster;
    struct keys_admission admission = {.name = "pi2", .role = VALUE_ROLE_AGENT, .serial = 9}, back;
    struct value_head head = {.version = "0.1.0"};
    uint8_t seed[KEYS_SEED] = {4};

    (void)state;
    keys_from_seed(seed, &cluster);
    memset(admission.public_key, 0x33, KEYS_PUBLIC);
    keys_sign_admission(&cluster, &admission);
    value_head_admit(&head, &admission);
    value_head_admission(&head, &back);
    assert_true(keys_verify_admission(cluster.public_key, &back));
    assert_string_equal(back.name, "pi2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head),         cmocka_unit_test(test_node),
        cmocka_unit_test(test_commit),       cmocka_unit_test(test_instance),
        cmocka_unit_test(test_small_ones),   cmocka_unit_test(test_clients),
        cmocka_unit_test(test_admission),    cmocka_unit_test(test_turn),
        cmocka_unit_test(test_suspend),      cmocka_unit_test(test_cron),
        cmocka_unit_test(test_cron_process), cmocka_unit_test(test_pool),
        cmocka_unit_test(test_drift),
    };

    if (keys_start(NULL) != ERR_NONE)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
