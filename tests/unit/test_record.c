/* The record table: what its calls promise, and two or three tables that talk to each other over a
 * perfect line. What flocks of it do under faults is tested by tests/sim. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/record/record.h"

#define NODES 3
#define QUEUE 256
#define BOOT(n) ((uint64_t)(n) << 32)

/* A message on its way: a deep copy. */
struct packet {
    size_t from;
    size_t to;
    struct msg msg;
    uint8_t data[MSG_DATAGRAM_MAX];
};

struct node {
    node_id id;
    struct records *r;
    struct records_out out;
    size_t changes[RECORDS_FUTURE + 1];
    struct records_change last[RECORDS_FUTURE + 1]; /* keys and values are stale */
    bool refuse;                                    /* what verify says */
    size_t verified;
};

struct fixture {
    mono_t now;
    struct node nodes[NODES];
    struct packet queue[QUEUE];
    size_t queued;
    size_t delivered[MSG_DELTA + 1];
    bool lose; /* nothing that is sent arrives */
};

static bool verify(void *ctx, node_id author, const struct msg_record *r)
{
    struct node *n = ctx;

    (void)author;
    (void)r;
    n->verified++;
    return !n->refuse;
}

static void copy(struct packet *p, const struct msg *msg)
{
    size_t used = 0;

    p->msg = *msg;
    for (size_t i = 0; msg->type == MSG_DELTA && i < msg->delta.count; i++) {
        struct msg_record *r = &p->msg.delta.records[i];
        assert_true(used + r->key_len + r->value_len <= sizeof p->data);
        memcpy(p->data + used, r->key, r->key_len);
        r->key = (const char *)p->data + used;
        used += r->key_len;
        memcpy(p->data + used, r->value, r->value_len);
        r->value = p->data + used;
        used += r->value_len;
    }
}

static int step(struct fixture *f, size_t n, const struct records_event *event)
{
    struct node *node = &f->nodes[n];
    int rc = records_step(node->r, f->now, event, &node->out);

    for (size_t i = 0; i < node->out.change_count; i++) {
        node->changes[node->out.changes[i].type]++;
        node->last[node->out.changes[i].type] = node->out.changes[i];
    }
    for (size_t i = 0; i < node->out.send_count && !f->lose; i++) {
        struct packet *p = &f->queue[f->queued++];
        assert_true(f->queued <= QUEUE);
        p->from = n;
        p->to = NODES;
        for (size_t k = 0; k < NODES; k++)
            if (node_id_equal(f->nodes[k].id, node->out.sends[i].to))
                p->to = k;
        copy(p, &node->out.sends[i].msg);
    }
    return rc;
}

static int event(struct fixture *f, size_t n, uint8_t type, size_t from)
{
    struct records_event e = {.type = type, .from = f->nodes[from].id};

    return step(f, n, &e);
}

static int deliver(struct fixture *f, size_t to, size_t from, const struct msg *msg)
{
    struct records_event e = {.type = RECORDS_MESSAGE, .from = f->nodes[from].id, .msg = msg};

    return step(f, to, &e);
}

static void flush(struct fixture *f)
{
    static struct packet p;

    for (size_t guard = 0; f->queued > 0; guard++) {
        assert_true(guard < 10000);
        p = f->queue[0];
        copy(&p, &f->queue[0].msg);
        f->queued--;
        for (size_t i = 0; i < f->queued; i++) {
            f->queue[i] = f->queue[i + 1];
            copy(&f->queue[i], &f->queue[i + 1].msg);
        }
        if (p.to == NODES || f->nodes[p.to].r == NULL)
            continue;
        f->delivered[p.msg.type]++;
        deliver(f, p.to, p.from, &p.msg);
    }
}

/* Time passes; all see each other's roots once a second. */
static void run(struct fixture *f, int64_t ms)
{
    for (int64_t i = 0; i < ms; i++) {
        f->now = mono_add(f->now, 1);
        for (size_t n = 0; n < NODES; n++) {
            struct records *r = f->nodes[n].r;
            if (r == NULL)
                continue;
            for (int k = 0; mono_reached(f->now, records_deadline(r)); k++) {
                assert_true(k < 1000);
                event(f, n, RECORDS_TIMER, n);
            }
            for (size_t k = 0; k < NODES && f->now.ms % 1000 == 0; k++) {
                struct records_event e = {.type = RECORDS_ROOT, .from = f->nodes[k].id};
                if (k == n || f->nodes[k].r == NULL || f->lose)
                    continue;
                e.root = records_root(f->nodes[k].r);
                step(f, n, &e);
            }
        }
        flush(f);
    }
}

static void start(struct fixture *f, size_t n, uint64_t boot)
{
    struct records_config c = {
        .self = f->nodes[n].id, .boot = boot, .seed = n + 1, .verify = verify, .ctx = &f->nodes[n]};

    records_destroy(f->nodes[n].r);
    f->nodes[n].r = NULL;
    memset(f->nodes[n].changes, 0, sizeof f->nodes[n].changes);
    assert_int_equal(records_create(&c, f->now, &f->nodes[n].r), ERR_NONE);
    assert_int_equal(records_set(f->nodes[n].r, "", "head", 4), ERR_NONE);
}

static void meet(struct fixture *f, size_t a, size_t b)
{
    event(f, a, RECORDS_ADMIT, b);
    event(f, b, RECORDS_ADMIT, a);
    event(f, a, RECORDS_PEER_UP, b);
    event(f, b, RECORDS_PEER_UP, a);
}

static void set(struct fixture *f, size_t n, const char *key, const char *value)
{
    assert_int_equal(records_set(f->nodes[n].r, key, value, strlen(value)), ERR_NONE);
}

static bool holds(struct fixture *f, size_t n, size_t author, const char *key, const char *value)
{
    struct record_view v;

    if (records_get(f->nodes[n].r, f->nodes[author].id, key, &v) != ERR_NONE)
        return false;
    return v.value_len == strlen(value) && memcmp(v.value, value, v.value_len) == 0;
}

static bool absent(struct fixture *f, size_t n, size_t author, const char *key)
{
    struct record_view v;

    return records_get(f->nodes[n].r, f->nodes[author].id, key, &v) == ERR_NOTFOUND;
}

static bool equal(struct fixture *f)
{
    return records_root(f->nodes[0].r) == records_root(f->nodes[1].r);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->now = (mono_t){100000};
    for (size_t i = 0; i < NODES; i++)
        f->nodes[i].id = (node_id){(i + 1) * 1000};
    start(f, 0, 5);
    start(f, 1, 5);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < NODES; i++)
        records_destroy(f->nodes[i].r);
    free(f);
    return 0;
}

static void own_records_keep_to_the_rules(void **state)
{
    struct fixture *f = *state;
    struct records *r = f->nodes[0].r;
    struct records_config bad = {.self = {1}, .boot = 1ull << 32};
    struct records *none = NULL;
    uint8_t big[RECORD_VALUE_MAX + 1] = {1};
    char key[RECORD_KEY_MAX + 1];
    uint64_t version;

    assert_int_equal(records_create(&bad, MONO_ZERO, &none), ERR_INVALID);
    assert_int_equal(records_set(r, "a", big, RECORD_VALUE_MAX), ERR_NONE);
    version = records_version(r, f->nodes[0].id);
    assert_true(version == BOOT(5) + 2);
    assert_int_equal(records_set(r, "a", big, RECORD_VALUE_MAX), ERR_NONE);
    assert_true(records_version(r, f->nodes[0].id) == version); /* nothing changed */
    assert_int_equal(records_set(r, "a", big, sizeof big), ERR_LIMIT);
    assert_int_equal(records_set(r, "a", big, 0), ERR_LIMIT);
    memset(key, 'k', sizeof key);
    key[RECORD_KEY_MAX] = '\0';
    assert_int_equal(records_set(r, key, big, 1), ERR_LIMIT);
    key[RECORD_KEY_MAX - 1] = '\0';
    assert_int_equal(records_set(r, key, big, 1), ERR_NONE);
    assert_int_equal(records_delete(r, ""), ERR_INVALID);
    assert_int_equal(records_delete(r, "b"), ERR_NOTFOUND);
    assert_int_equal(records_delete(r, "a"), ERR_NONE);
    assert_int_equal(records_delete(r, "a"), ERR_NOTFOUND);
    assert_true(absent(f, 0, 0, "a"));
    bad.boot = 1;
    assert_int_equal(records_create(&bad, MONO_ZERO, &none), ERR_NONE);
    assert_int_equal(records_set(none, "a", "x", 1), ERR_INVALID); /* no head yet */
    records_destroy(none);
}

static bool count_one(void *ctx, const struct record_view *v)
{
    size_t *n = ctx;

    assert_int_equal(strlen(v->key), v->key_len);
    return ++*n < 3;
}

static void records_are_visited_by_prefix(void **state)
{
    struct fixture *f = *state;
    size_t n = 0;

    set(f, 0, "vip/1", "x");
    set(f, 0, "instance/a", "x");
    set(f, 0, "instance/b", "x");
    records_delete(f->nodes[0].r, "instance/a");
    records_each(f->nodes[0].r, NODE_NONE, "instance/", count_one, &n);
    assert_int_equal(n, 1);
    n = 0;
    records_each(f->nodes[0].r, f->nodes[0].id, "", count_one, &n);
    assert_int_equal(n, 3);
    n = 0;
    set(f, 0, "instance/a", "x");
    records_each(f->nodes[0].r, NODE_NONE, "", count_one, &n);
    assert_int_equal(n, 3); /* of four: the visitor stopped it */
}

static void changes_reach_the_peer_at_once(void **state)
{
    struct fixture *f = *state;

    meet(f, 0, 1);
    run(f, 3000);
    assert_true(equal(f));
    set(f, 0, "commit", "abc");
    set(f, 0, "node", "facts");
    memset(f->delivered, 0, sizeof f->delivered);
    run(f, 1);
    assert_true(holds(f, 1, 0, "commit", "abc"));
    assert_true(holds(f, 1, 0, "node", "facts"));
    assert_true(equal(f));
    assert_int_equal(f->delivered[MSG_DELTA], 1); /* together */
    run(f, 10000);
    assert_int_equal(f->delivered[MSG_DELTA], 1); /* and acknowledged, so not repeated */
    assert_int_equal(f->nodes[1].changes[RECORDS_SET], 3);
}

static void what_a_lost_push_missed_is_repeated_and_synced(void **state)
{
    struct fixture *f = *state;

    meet(f, 0, 1);
    run(f, 3000);
    f->lose = true;
    set(f, 0, "commit", "abc");
    run(f, 150);
    f->lose = false;
    run(f, 200);
    assert_true(holds(f, 1, 0, "commit", "abc")); /* repeated */
    f->lose = true;
    set(f, 0, "commit", "def");
    run(f, 60000);
    f->lose = false;
    run(f, 1300);
    assert_true(holds(f, 1, 0, "commit", "def")); /* found by the roots */
    assert_true(equal(f));
}

static void a_stranger_needs_a_head_that_verifies(void **state)
{
    struct fixture *f = *state;
    struct msg_record record = {.key = "node",
                                .key_len = 4,
                                .value = (const uint8_t *)"x",
                                .value_len = 1,
                                .version = BOOT(3) + 2,
                                .floor = BOOT(3)};
    struct msg msg = {.type = MSG_DELTA};

    msg.delta.author = f->nodes[2].id;
    msg.delta.from = BOOT(3);
    msg.delta.to = BOOT(3) + 2;
    msg.delta.count = 1;
    msg.delta.records[0] = record;
    assert_int_equal(deliver(f, 0, 2, &msg), ERR_NOTFOUND);
    msg.delta.count = 2;
    msg.delta.records[0] = record;
    msg.delta.records[0].key_len = 0;
    msg.delta.records[0].version = BOOT(3) + 1;
    msg.delta.records[1] = record;
    f->nodes[0].refuse = true;
    assert_int_equal(deliver(f, 0, 2, &msg), ERR_NOTFOUND);
    assert_int_equal(f->nodes[0].changes[RECORDS_FORGED], 1);
    assert_int_equal(records_author_count(f->nodes[0].r), 1);
    f->nodes[0].refuse = false;
    assert_int_equal(deliver(f, 0, 2, &msg), ERR_NONE);
    assert_int_equal(f->nodes[0].changes[RECORDS_ADMITTED], 1);
    assert_true(holds(f, 0, 2, "node", "x"));
    assert_true(records_version(f->nodes[0].r, f->nodes[2].id) == BOOT(3) + 2);
    /* What is known is not verified again. */
    f->nodes[0].verified = 0;
    assert_int_equal(deliver(f, 0, 2, &msg), ERR_NONE);
    assert_int_equal(f->nodes[0].verified, 0);
}

static void a_gap_is_not_papered_over(void **state)
{
    struct fixture *f = *state;
    struct msg msg = {.type = MSG_DELTA};
    uint64_t known;

    meet(f, 0, 1);
    run(f, 3000);
    known = records_version(f->nodes[0].r, f->nodes[1].id);
    msg.delta.author = f->nodes[1].id;
    msg.delta.from = known + 5;
    msg.delta.to = known + 6;
    msg.delta.count = 1;
    msg.delta.records[0] = (struct msg_record){.key = "late",
                                               .key_len = 4,
                                               .value = (const uint8_t *)"x",
                                               .value_len = 1,
                                               .version = known + 6,
                                               .floor = BOOT(5)};
    memset(f->delivered, 0, sizeof f->delivered);
    assert_int_equal(deliver(f, 0, 2, &msg), ERR_NONE);
    assert_true(holds(f, 0, 1, "late", "x")); /* the newest state shows at once */
    assert_true(records_version(f->nodes[0].r, f->nodes[1].id) == known);
    assert_int_equal(deliver(f, 0, 1, &msg), ERR_NONE);
    run(f, 500);
    assert_true(f->delivered[MSG_DIGEST] > 0); /* it says what it lacks */
}

static void nothing_deleted_comes_back(void **state)
{
    struct fixture *f = *state;
    struct msg old = {.type = MSG_DELTA};
    char key[16];

    meet(f, 0, 1);
    set(f, 1, "a", "first");
    run(f, 3000);
    old.delta.author = f->nodes[1].id;
    old.delta.from = 0;
    old.delta.to = BOOT(5) + 2;
    old.delta.count = 1;
    old.delta.records[0] = (struct msg_record){.key = "a",
                                               .key_len = 1,
                                               .value = (const uint8_t *)"first",
                                               .value_len = 5,
                                               .version = BOOT(5) + 2,
                                               .floor = BOOT(5)};
    records_delete(f->nodes[1].r, "a");
    run(f, 10);
    assert_true(absent(f, 0, 1, "a"));
    assert_int_equal(f->nodes[0].changes[RECORDS_DELETED], 1);
    deliver(f, 0, 1, &old);
    assert_true(absent(f, 0, 1, "a"));
    /* Also after the tombstones were dropped. */
    for (int i = 0; i <= RECORDS_TOMBSTONES_MAX; i++) {
        snprintf(key, sizeof key, "k%d", i);
        set(f, 1, key, "x");
        records_delete(f->nodes[1].r, key);
    }
    run(f, 3000);
    assert_true(equal(f));
    deliver(f, 0, 1, &old);
    assert_true(absent(f, 0, 1, "a"));
    assert_true(equal(f));
}

/* A peer that was away while the author deleted and compacted. */
static void compaction_reaches_who_was_away(void **state)
{
    struct fixture *f = *state;
    char key[16];

    meet(f, 0, 1);
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "k%02d", i);
        set(f, 1, key, "here");
    }
    run(f, 3000);
    assert_true(equal(f));
    f->lose = true;
    for (int i = 0; i < 90; i++) {
        snprintf(key, sizeof key, "k%02d", i);
        assert_int_equal(records_delete(f->nodes[1].r, key), ERR_NONE);
    }
    run(f, 30000);
    f->lose = false;
    run(f, 5000);
    assert_true(equal(f));
    assert_true(absent(f, 0, 1, "k00"));
    assert_true(holds(f, 0, 1, "k99", "here"));
    assert_int_equal(f->nodes[0].changes[RECORDS_RESET] > 0, 1);
}

static void a_new_life_voids_the_one_before(void **state)
{
    struct fixture *f = *state;

    meet(f, 0, 1);
    set(f, 1, "vip/1", "held");
    run(f, 3000);
    assert_true(holds(f, 0, 1, "vip/1", "held"));
    start(f, 1, 6);
    event(f, 1, RECORDS_ADMIT, 0);
    event(f, 1, RECORDS_PEER_UP, 0);
    run(f, 50);
    assert_true(absent(f, 0, 1, "vip/1")); /* by the head alone */
    assert_int_equal(f->nodes[0].changes[RECORDS_RESET], 1);
    run(f, 3000);
    assert_true(equal(f));
}

static void a_lost_store_is_noticed_and_overcome(void **state)
{
    struct fixture *f = *state;

    meet(f, 0, 1);
    set(f, 1, "a", "old");
    set(f, 1, "b", "old");
    run(f, 3000);
    start(f, 1, 2); /* it was 5 */
    event(f, 1, RECORDS_ADMIT, 0);
    assert_false(records_agreed(f->nodes[1].r, f->nodes[0].id));
    event(f, 1, RECORDS_PEER_UP, 0);
    set(f, 1, "a", "new");
    run(f, 5000);
    assert_true(f->nodes[1].changes[RECORDS_FUTURE] >= 1);
    assert_true(f->nodes[1].last[RECORDS_FUTURE].version >> 32 > 5);
    assert_true(holds(f, 0, 1, "a", "new"));
    assert_true(absent(f, 0, 1, "b"));
    assert_true(equal(f));
    assert_true(records_agreed(f->nodes[1].r, f->nodes[0].id)); /* what was known there is here */
}

static void forged_records_of_our_own_change_nothing(void **state)
{
    struct fixture *f = *state;
    struct msg msg = {.type = MSG_DELTA};

    msg.delta.author = f->nodes[0].id;
    msg.delta.from = BOOT(9);
    msg.delta.to = BOOT(9) + 1;
    msg.delta.count = 1;
    msg.delta.records[0] = (struct msg_record){.key = "a",
                                               .key_len = 1,
                                               .value = (const uint8_t *)"x",
                                               .value_len = 1,
                                               .version = BOOT(9) + 1,
                                               .floor = BOOT(9)};
    f->nodes[0].refuse = true;
    assert_int_equal(deliver(f, 0, 1, &msg), ERR_NONE);
    assert_int_equal(f->nodes[0].changes[RECORDS_FUTURE], 0);
    assert_int_equal(f->nodes[0].changes[RECORDS_FORGED], 1);
    assert_true(records_version(f->nodes[0].r, f->nodes[0].id) == BOOT(5) + 1);
}

static void a_full_table_refuses_and_says_so(void **state)
{
    struct fixture *f = *state;
    struct records_config c = {.self = {1}, .boot = 5, .author_max = 2, .bytes_per_author = 2000};
    struct records *small = NULL;
    uint8_t value[RECORD_VALUE_MAX] = {0};
    char key[16];

    for (int i = 1; i < RECORDS_PER_AUTHOR_MAX; i++) {
        snprintf(key, sizeof key, "k%03d", i);
        set(f, 0, key, "x");
    }
    assert_int_equal(records_set(f->nodes[0].r, "more", "x", 1), ERR_FULL);
    records_delete(f->nodes[0].r, "k001");
    set(f, 0, "more", "x"); /* a tombstone gives way */
    meet(f, 0, 1);
    run(f, 6000);
    assert_true(equal(f));

    assert_int_equal(records_create(&c, f->now, &small), ERR_NONE);
    assert_int_equal(records_set(small, "", "head", 4), ERR_NONE);
    assert_int_equal(records_set(small, "a", value, sizeof value), ERR_NONE);
    assert_int_equal(records_set(small, "b", value, sizeof value), ERR_NONE);
    assert_int_equal(records_set(small, "c", value, sizeof value), ERR_FULL);
    assert_int_equal(records_delete(small, "a"), ERR_NONE);
    assert_int_equal(records_set(small, "c", value, sizeof value), ERR_NONE);
    records_destroy(f->nodes[0].r);
    f->nodes[0].r = small;
    assert_int_equal(event(f, 0, RECORDS_ADMIT, 1), ERR_NONE);
    assert_int_equal(event(f, 0, RECORDS_ADMIT, 2), ERR_FULL);
}

static void a_large_table_is_handed_over_whole(void **state)
{
    struct fixture *f = *state;
    uint8_t value[RECORD_VALUE_MAX];
    char key[RECORD_KEY_MAX];

    memset(value, 'v', sizeof value);
    memset(key, 'k', sizeof key);
    key[RECORD_KEY_MAX - 1] = '\0';
    for (int i = 0; i < 60; i++) {
        key[0] = (char)('A' + i);
        assert_int_equal(records_set(f->nodes[0].r, key, value, sizeof value), ERR_NONE);
    }
    assert_int_equal(records_set(f->nodes[0].r, "", value, sizeof value), ERR_NONE);
    meet(f, 0, 1);
    run(f, 5000);
    assert_true(equal(f));
    assert_int_equal(f->nodes[1].changes[RECORDS_REFUSED], 0);
}

static void a_revoked_author_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t before = records_root(f->nodes[0].r);

    meet(f, 0, 1);
    set(f, 1, "a", "x");
    run(f, 3000);
    assert_true(records_root(f->nodes[0].r) != before);
    assert_int_equal(event(f, 0, RECORDS_REVOKE, 0), ERR_INVALID);
    assert_int_equal(event(f, 0, RECORDS_REVOKE, 1), ERR_NONE);
    assert_int_equal(f->nodes[0].changes[RECORDS_REVOKED], 1);
    assert_true(records_root(f->nodes[0].r) == before);
    assert_true(absent(f, 0, 1, "a"));
    assert_int_equal(event(f, 0, RECORDS_REVOKE, 1), ERR_NOTFOUND);
    f->nodes[0].refuse = true; /* as its verify does from now on */
    run(f, 5000);
    assert_int_equal(records_author_count(f->nodes[0].r), 1);
}

static void fruitless_exchanges_become_rare(void **state)
{
    struct fixture *f = *state;
    struct records_event e = {.type = RECORDS_ROOT, .from = f->nodes[1].id, .root = 12345};
    size_t digests = 0;

    event(f, 0, RECORDS_ADMIT, 1);
    for (int s = 0; s < 600; s++) {
        step(f, 0, &e);
        for (int ms = 0; ms < 1000; ms += 10) {
            f->now = mono_add(f->now, 10);
            while (mono_reached(f->now, records_deadline(f->nodes[0].r))) {
                event(f, 0, RECORDS_TIMER, 0);
                for (size_t i = 0; i < f->nodes[0].out.send_count; i++)
                    digests += f->nodes[0].out.sends[i].msg.type == MSG_DIGEST;
            }
        }
        f->queued = 0;
    }
    assert_in_range(digests, 10, 40); /* in ten minutes */
}

static void malformed_messages_change_nothing(void **state)
{
    struct fixture *f = *state;
    struct msg_record record = {.key = "a",
                                .key_len = 1,
                                .value = (const uint8_t *)"x",
                                .value_len = 1,
                                .version = BOOT(5) + 9,
                                .floor = BOOT(5)};
    struct msg msg = {.type = MSG_DELTA};
    uint64_t root;

    meet(f, 0, 1);
    run(f, 3000);
    root = records_root(f->nodes[0].r);
    msg.delta.author = f->nodes[1].id;
    msg.delta.to = BOOT(5) + 20;
    msg.delta.count = 2;
    msg.delta.records[0] = msg.delta.records[1] = record;
    assert_int_equal(deliver(f, 0, 1, &msg), ERR_INVALID); /* not ascending */
    msg.delta.records[1].version++;
    assert_int_equal(deliver(f, 0, 1, &msg), ERR_INVALID); /* one key twice */
    msg.delta.count = 1;
    msg.delta.records[0].floor = record.version;
    assert_int_equal(deliver(f, 0, 1, &msg), ERR_INVALID); /* void by itself */
    msg.delta.records[0] = record;
    msg.delta.from = BOOT(5) + 9;
    assert_int_equal(deliver(f, 0, 1, &msg), ERR_INVALID); /* outside of its range */
    msg.type = MSG_DIGEST;
    memset(&msg.digest, 0, sizeof msg.digest);
    assert_int_equal(deliver(f, 0, 1, &msg), ERR_INVALID); /* no range */
    msg.digest.first = (node_id){1};
    msg.digest.last = (node_id){100000};
    msg.digest.count = 2;
    msg.digest.entries[0].author = msg.digest.entries[1].author = f->nodes[1].id;
    assert_int_equal(deliver(f, 0, 1, &msg), ERR_INVALID); /* not ascending */
    msg.type = MSG_PING;
    assert_int_equal(deliver(f, 0, 1, &msg), ERR_INVALID);
    assert_true(records_root(f->nodes[0].r) == root);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(own_records_keep_to_the_rules),
        TEST(records_are_visited_by_prefix),
        TEST(changes_reach_the_peer_at_once),
        TEST(what_a_lost_push_missed_is_repeated_and_synced),
        TEST(a_stranger_needs_a_head_that_verifies),
        TEST(a_gap_is_not_papered_over),
        TEST(nothing_deleted_comes_back),
        TEST(compaction_reaches_who_was_away),
        TEST(a_new_life_voids_the_one_before),
        TEST(a_lost_store_is_noticed_and_overcome),
        TEST(forged_records_of_our_own_change_nothing),
        TEST(a_full_table_refuses_and_says_so),
        TEST(a_large_table_is_handed_over_whole),
        TEST(a_revoked_author_leaves_nothing),
        TEST(fruitless_exchanges_become_rare),
        TEST(malformed_messages_change_nothing),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
