/* The keyring by itself: what it believes, what it hands on to whom. How it behaves in a flock is
 * tests/sim/sim_keys.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proto/keys/keyring.h"

static struct keys_identity cluster, self, peer, other, stranger;
static struct keys_epoch first;
static struct keyring_out out;

static struct keys_identity make(uint8_t fill)
{
    struct keys_identity identity;
    uint8_t seed[KEYS_SEED];

    memset(seed, fill, sizeof seed);
    keys_from_seed(seed, &identity);
    return identity;
}

static int setup(void **state)
{
    (void)state;
    assert_int_equal(keys_start(NULL), ERR_NONE);
    cluster = make(1);
    self = make(2);
    peer = make(3);
    other = make(4);
    stranger = make(5);
    first = (struct keys_epoch){.number = 1, .secret = {7}};
    keys_sign_epoch(&cluster, &first);
    return 0;
}

static struct keyring *start(bool holder)
{
    struct keyring_config config = {
        .self = self.id, .cluster = holder ? &cluster : NULL, .seed = 1};
    struct keyring *ring = NULL;

    memcpy(config.cluster_key, cluster.public_key, KEYS_PUBLIC);
    assert_int_equal(keyring_create(&config, (mono_t){1000}, &ring), ERR_NONE);
    assert_int_equal(keyring_load_epoch(ring, &first), ERR_NONE);
    assert_int_equal(keyring_add_peer(ring, peer.id), ERR_NONE);
    assert_int_equal(keyring_add_peer(ring, other.id), ERR_NONE);
    return ring;
}

static int step(struct keyring *ring, int64_t now, const struct keyring_event *event)
{
    return keyring_step(ring, (mono_t){now}, event, &out);
}

static int receive(struct keyring *ring, int64_t now, node_id from, const struct keymsg *msg)
{
    struct keyring_event event = {.type = KEYRING_MESSAGE, .from = from, .msg = msg};

    return step(ring, now, &event);
}

/* The message of this type to @to among what goes out; NULL. */
static const struct keymsg *sent(node_id to, uint8_t type)
{
    for (size_t i = 0; i < out.send_count; i++)
        if (node_id_equal(out.sends[i].to, to) && out.sends[i].msg.type == type)
            return &out.sends[i].msg;
    return NULL;
}

static uint32_t newest(const struct keyring *ring)
{
    size_t count;

    return keyring_epochs(ring, &count)->number;
}

static struct keys_revocation revocation_of(const struct keys_identity *node,
                                            const struct keys_identity *by)
{
    struct keys_revocation r = {.name = "pi3", .time = 99};

    memcpy(r.public_key, node->public_key, KEYS_PUBLIC);
    keys_sign_revocation(by, &r);
    return r;
}

/* A node whose card is in wrong hands can say what it likes: without the cluster's signature no
 * epoch and no revocation counts, whoever brings it, and nothing of it is handed on. */
static void test_forged(void **state)
{
    struct keyring *ring = start(false);
    struct keymsg msg = {.type = KEYMSG_EPOCH};
    size_t count;

    (void)state;
    msg.epoch = (struct keys_epoch){.number = 2, .secret = {9}};
    assert_int_equal(receive(ring, 1000, peer.id, &msg), ERR_AUTH);
    keys_sign_epoch(&peer, &msg.epoch); /* by itself */
    assert_int_equal(receive(ring, 1001, peer.id, &msg), ERR_AUTH);
    msg.epoch = first; /* a true one, with anything changed */
    msg.epoch.number = ENVELOPE_EPOCH_MAX;
    assert_int_equal(receive(ring, 1002, peer.id, &msg), ERR_AUTH);
    msg.epoch = first;
    msg.epoch.secret[0] ^= 1;
    assert_int_equal(receive(ring, 1003, peer.id, &msg), ERR_AUTH);
    msg.epoch = first;
    msg.epoch.revoked = 1;
    assert_int_equal(receive(ring, 1004, peer.id, &msg), ERR_AUTH);
    assert_false(out.epochs);
    keyring_epochs(ring, &count);
    assert_int_equal(count, 1);
    assert_int_equal(newest(ring), 1);

    msg.type = KEYMSG_REVOKED;
    msg.revoked.count = 1;
    msg.revoked.list[0] = revocation_of(&other, &peer);
    assert_int_equal(receive(ring, 1005, peer.id, &msg), ERR_AUTH);
    msg.revoked.list[0] = revocation_of(&stranger, &cluster); /* a true one, of somebody else */
    memcpy(msg.revoked.list[0].public_key, other.public_key, KEYS_PUBLIC);
    assert_int_equal(receive(ring, 1006, peer.id, &msg), ERR_AUTH);
    assert_int_equal(out.revoked_count, 0);
    assert_int_equal(keyring_revoked_count(ring), 0);
    assert_int_equal(keyring_add_peer(ring, other.id), ERR_NONE);
    keyring_destroy(ring);
}

/* One that says so alone does not decide that this node is a copy. */
static void test_cloned(void **state)
{
    struct keyring *ring = start(false);
    struct keyring_event heard = {.type = KEYRING_HEARD, .from = other.id};
    struct keyring_event timer = {.type = KEYRING_TIMER};
    struct keymsg msg = {.type = KEYMSG_CLONED};

    (void)state;
    step(ring, 1000, &heard);
    receive(ring, 1001, peer.id, &msg);
    assert_false(keyring_cloned(ring));
    receive(ring, 1002, other.id, &msg);
    assert_true(out.cloned_changed && keyring_cloned(ring));
    step(ring, 1002 + KEYRING_CLONED_MS, &timer); /* nobody says so any more */
    assert_true(out.cloned_changed);
    assert_false(keyring_cloned(ring));
    receive(ring, 200000, peer.id, &msg); /* the only one that is heard at all */
    assert_true(keyring_cloned(ring));
    keyring_destroy(ring);
}

/* The revocation first; the epoch to nobody who has not said that it knows of it. */
static void test_order(void **state)
{
    struct keyring *ring = start(true);
    struct keyring_event event = {.type = KEYRING_REVOKE};
    struct keyring_event timer = {.type = KEYRING_TIMER};
    struct keymsg msg = {.type = KEYMSG_STATE, .state = {.epoch = 1}};
    struct keyring_peer view;

    (void)state;
    msg.state.mark = keys_epoch_mark(&first);
    receive(ring, 1000, peer.id, &msg);
    assert_int_equal(keyring_find_peer(ring, peer.id, &view), ERR_NONE);
    assert_true(view.current);
    event.revocation = revocation_of(&other, &stranger);
    assert_int_equal(step(ring, 2000, &event), ERR_NONE);
    assert_int_equal(out.revoked_count, 1);
    assert_true(out.rotate);
    assert_false(keyring_is_complete(ring));
    assert_non_null(sent(peer.id, KEYMSG_REVOKED));
    assert_int_equal(keyring_find_peer(ring, other.id, &view), ERR_NOTFOUND);
    assert_int_equal(keyring_add_peer(ring, other.id), ERR_DENIED);
    event.type = KEYRING_ROTATE;
    assert_int_equal(step(ring, 2000, &event), ERR_NONE);
    assert_false(out.rotate);
    assert_true(keyring_is_complete(ring));
    for (int64_t now = 2010; now < 6000; now += 10) {
        step(ring, now, &timer);
        assert_null(sent(peer.id, KEYMSG_EPOCH));
        assert_null(sent(other.id, KEYMSG_EPOCH));
    }
    msg.state.revoked = 1;
    msg.state.digest = keys_revoked_digest(&other.id, 1);
    receive(ring, 6000, peer.id, &msg);
    assert_non_null(sent(peer.id, KEYMSG_EPOCH));
    assert_int_equal(sent(peer.id, KEYMSG_EPOCH)->epoch.number, 2);
    assert_int_equal(receive(ring, 6001, other.id, &msg), ERR_NOTFOUND);
    keyring_destroy(ring);
}

/* A newcomer got the newest epoch with its welcome, and knows of no revocation yet: it hands the
 * epoch on to nobody, the revoked one among them. */
static void test_newcomer(void **state)
{
    struct keyring *ring = start(false);
    struct keys_epoch second = {.number = 2, .secret = {8}, .revoked = 1};
    struct keymsg msg = {.type = KEYMSG_STATE, .state = {.epoch = 1}};

    (void)state;
    second.revoked_digest = keys_revoked_digest(&other.id, 1);
    keys_sign_epoch(&cluster, &second);
    assert_int_equal(keyring_load_epoch(ring, &second), ERR_NONE);
    msg.state.mark = keys_epoch_mark(&first);
    for (int64_t now = 1000; now < 20000; now += 1000) {
        receive(ring, now, other.id, &msg);
        assert_null(sent(other.id, KEYMSG_EPOCH));
    }
    msg.type = KEYMSG_REVOKED;
    msg.revoked.count = 1;
    msg.revoked.list[0] = revocation_of(&other, &cluster);
    assert_int_equal(receive(ring, 20000, peer.id, &msg), ERR_NONE);
    assert_true(keyring_is_complete(ring));
    assert_non_null(keyring_revoked(ring, other.id));
    keyring_destroy(ring);
}

/* Of two epochs of one number all mean the same, in whatever order they come. */
static void test_conflict(void **state)
{
    struct keys_epoch a = {.number = 2, .secret = {1}}, b = {.number = 2, .secret = {2}};
    struct keys_epoch knows = {.number = 2, .secret = {3}, .revoked = 1, .revoked_digest = 4};
    struct keymsg msg = {.type = KEYMSG_EPOCH};
    uint64_t mark[2];

    (void)state;
    keys_sign_epoch(&cluster, &a);
    keys_sign_epoch(&cluster, &b);
    keys_sign_epoch(&cluster, &knows);
    for (int turn = 0; turn < 2; turn++) {
        struct keyring *ring = start(false);
        size_t count;

        msg.epoch = turn == 0 ? a : b;
        receive(ring, 1000, peer.id, &msg);
        msg.epoch = turn == 0 ? b : a;
        receive(ring, 1001, other.id, &msg);
        mark[turn] = keys_epoch_mark(keyring_epochs(ring, &count));
        assert_int_equal(count, 2);
        msg.epoch = knows; /* of a revocation that the others do not know of */
        receive(ring, 1002, other.id, &msg);
        assert_int_equal(keyring_epochs(ring, &count)->revoked, 1);
        keyring_destroy(ring);
    }
    assert_true(mark[0] == mark[1]);
}

/* Only a holder makes epochs and revokes, and not itself; nothing is revoked twice. */
static void test_holder(void **state)
{
    struct keyring_event event = {.type = KEYRING_ROTATE};
    struct keyring *ring = start(false);

    (void)state;
    assert_int_equal(step(ring, 1000, &event), ERR_DENIED);
    event.type = KEYRING_REVOKE;
    event.revocation = revocation_of(&other, &cluster);
    assert_int_equal(step(ring, 1000, &event), ERR_DENIED);
    keyring_destroy(ring);
    ring = start(true);
    assert_int_equal(step(ring, 1000, &event), ERR_NONE);
    assert_int_equal(step(ring, 1000, &event), ERR_EXISTS);
    event.revocation = revocation_of(&self, &cluster);
    assert_int_equal(step(ring, 1000, &event), ERR_DENIED);
    keyring_destroy(ring);
}

/* Who speaks under an epoch that this node lacks is asked what it knows; not oftener than it can
 * answer, for anybody can provoke it. */
static void test_doubt(void **state)
{
    struct keyring *ring = start(false);
    struct keyring_event doubt = {.type = KEYRING_DOUBT, .from = peer.id};
    const int64_t later = 1000 + KEYRING_DOUBT_MS;

    (void)state;
    assert_int_equal(step(ring, 1000, &doubt), ERR_NONE);
    assert_non_null(sent(peer.id, KEYMSG_STATE));
    assert_true(sent(peer.id, KEYMSG_STATE)->state.reply);
    assert_int_equal(sent(peer.id, KEYMSG_STATE)->state.epoch, 1);
    assert_null(sent(other.id, KEYMSG_STATE));
    assert_int_equal(step(ring, later - 1, &doubt), ERR_NONE);
    assert_null(sent(peer.id, KEYMSG_STATE));
    assert_int_equal(step(ring, later, &doubt), ERR_NONE);
    assert_non_null(sent(peer.id, KEYMSG_STATE));
    doubt.from = stranger.id;
    assert_int_equal(step(ring, later + 1, &doubt), ERR_NOTFOUND);
    assert_int_equal(out.send_count, 0);
    keyring_destroy(ring);
}

/* What the channel says of a peer becomes an event; that two use its identity weighs most. */
static void test_what_the_channel_says(void **state)
{
    struct channel_in in = {0};
    struct keyring_event event;

    (void)state;
    assert_false(keyring_event_of(&in, &event));
    in.from = peer.id;
    in.restarted = true;
    assert_true(keyring_event_of(&in, &event));
    assert_int_equal(event.type, KEYRING_HEARD);
    assert_true(node_id_equal(event.from, peer.id));
    assert_true(event.restarted);
    in = (struct channel_in){.doubt = peer.id};
    assert_true(keyring_event_of(&in, &event));
    assert_int_equal(event.type, KEYRING_DOUBT);
    assert_true(node_id_equal(event.from, peer.id));
    in.clone = other.id;
    assert_true(keyring_event_of(&in, &event));
    assert_int_equal(event.type, KEYRING_CLONE);
    assert_true(node_id_equal(event.from, other.id));
}

/* Told by the others, this node learns that it is a member no more. */
static void test_self_revoked(void **state)
{
    struct keyring *ring = start(false);
    struct keyring_event event = {.type = KEYRING_NOTICE};

    (void)state;
    event.revocation = revocation_of(&self, &stranger);
    assert_int_equal(step(ring, 1000, &event), ERR_AUTH);
    assert_false(out.self_revoked);
    event.revocation = revocation_of(&self, &cluster);
    assert_int_equal(step(ring, 1000, &event), ERR_NONE);
    assert_true(out.self_revoked);
    keyring_destroy(ring);
}

/* Every message has one form. */
static void test_messages(void **state)
{
    struct keymsg messages[4] = {{.type = KEYMSG_STATE,
                                  .state = {.epoch = ENVELOPE_EPOCH_MAX,
                                            .mark = UINT64_MAX,
                                            .revoked = UINT16_MAX,
                                            .digest = 1,
                                            .reply = true}},
                                 {.type = KEYMSG_EPOCH},
                                 {.type = KEYMSG_REVOKED},
                                 {.type = KEYMSG_CLONED}};
    uint8_t body[KEYMSG_BODY_MAX], again[KEYMSG_BODY_MAX];
    struct keymsg back;
    size_t len, again_len;

    (void)state;
    messages[1].epoch = first;
    messages[2].revoked.count = KEYMSG_REVOCATIONS_MAX;
    for (size_t i = 0; i < KEYMSG_REVOCATIONS_MAX; i++) {
        messages[2].revoked.list[i] = revocation_of(&other, &cluster);
        memset(messages[2].revoked.list[i].name, 'n', NODE_NAME_MAX);
        messages[2].revoked.list[i].time = INT64_MIN;
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(keymsg_encode(&messages[i], body, &len), ERR_NONE);
        assert_int_equal(keymsg_decode(body, len, &back), WIRE_OK);
        assert_int_equal(keymsg_encode(&back, again, &again_len), ERR_NONE);
        assert_int_equal(again_len, len);
        assert_memory_equal(again, body, len);
        for (size_t cut = 0; cut < len; cut++)
            assert_int_not_equal(keymsg_decode(body, cut, &back), WIRE_OK);
        assert_int_equal(keymsg_decode(body, len + 1, &back), WIRE_BODY_TRAILING);
    }
    messages[2].revoked.count = 0;
    assert_int_equal(keymsg_encode(&messages[2], body, &len), ERR_INVALID);
    messages[1].epoch.number = 0;
    assert_int_equal(keymsg_encode(&messages[1], body, &len), ERR_INVALID);
    messages[3].type = 9;
    assert_int_equal(keymsg_encode(&messages[3], body, &len), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forged),       cmocka_unit_test(test_cloned),
        cmocka_unit_test(test_order),        cmocka_unit_test(test_newcomer),
        cmocka_unit_test(test_conflict),     cmocka_unit_test(test_holder),
        cmocka_unit_test(test_doubt),        cmocka_unit_test(test_what_the_channel_says),
        cmocka_unit_test(test_self_revoked), cmocka_unit_test(test_messages),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
