#include "tests/unit/lease_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct leases *l;
struct leases_out out;
struct leases_record record;

const node_id one = {1};
const node_id two = {2};
const node_id three = {3};

mono_t at(int64_t ms)
{
    return (mono_t){ms};
}

void make(node_id self, int voters, bool first_since_boot, int64_t now)
{
    static uint32_t boot = 7;
    struct leases_config config = {.self = self,
                                   .boot = boot++,
                                   .seed = 1,
                                   .term_min_ms = T,
                                   .first_since_boot = first_since_boot,
                                   .voters = {.number = 1, .count = (uint8_t)voters}};
    leases_destroy(l);
    for (int i = 0; i < voters; i++)
        config.voters.voters[i].v = (uint64_t)i + 1;
    l = leases_create(&config, at(now));
    assert_non_null(l);
    memset(&out, 0, sizeof out);
}

int teardown(void **state)
{
    (void)state;
    leases_destroy(l);
    l = NULL;
    return 0;
}

int step(int64_t now, struct leases_event ev)
{
    return leases_step(l, at(now), &ev, &out);
}

void timer(int64_t now)
{
    step(now, (struct leases_event){.type = LEASES_TIMER});
}

/* Lets the machine's own deadlines happen, punctually. */
void run_until(int64_t now)
{
    int64_t last = INT64_MIN;

    while (leases_deadline(l).ms <= now) {
        last = leases_deadline(l).ms;
        timer(last);
    }
    if (last != now)
        timer(now); /* else the effects of the last step are still to be seen */
}

const struct lease_op *op(int type)
{
    for (int i = out.op_count - 1; i >= 0; i--)
        if (out.ops[i].type == type)
            return &out.ops[i];
    return NULL;
}

const struct msg_lease *sent(int type, node_id to)
{
    for (int i = 0; i < out.send_count; i++)
        for (int j = 0; j < out.sends[i].to_count; j++)
            if (out.sends[i].msg.type == type && node_id_equal(out.sends[i].to[j], to))
                return &out.sends[i].msg.lease;
    return NULL;
}

const struct lease_change *change(int type)
{
    for (int i = 0; i < out.change_count; i++)
        if (out.changes[i].type == type)
            return &out.changes[i];
    return NULL;
}

void message(int64_t now, node_id from, int type, struct msg_lease lease)
{
    struct msg m = {.type = (uint8_t)type, .lease = lease};
    step(now, (struct leases_event){.type = LEASES_MESSAGE, .from = from, .msg = &m});
}

struct msg_lease one_item(uint32_t sequence, uint64_t session, int verdict)
{
    struct msg_lease m = {
        .sequence = sequence, .set = 1, .lease_ms = T, .fence_ms = F, .item_count = 1};
    m.items[0] =
        (struct msg_lease_item){.lease = LEASE, .session = session, .verdict = (uint8_t)verdict};
    return m;
}

/* A request of another node; true if it was granted. */
bool ask(int64_t now, node_id from, uint64_t session, uint16_t term)
{
    struct msg_lease m = one_item(1, session, MSG_ASK);
    const struct msg_lease *reply;

    m.lease_ms = term;
    message(now, from, MSG_LEASE_REQUEST, m);
    reply = sent(MSG_LEASE_REPLY, from);
    assert_non_null(reply);
    assert_int_equal(reply->item_count, 1);
    assert_true(reply->items[0].session == session);
    if (reply->items[0].verdict == MSG_GRANT)
        assert_true(out.persist); /* recorded before the grant leaves */
    return reply->items[0].verdict == MSG_GRANT;
}

void want(int64_t now, int mode)
{
    assert_int_equal(step(now, (struct leases_event){.type = LEASES_WANT,
                                                     .lease = LEASE,
                                                     .kind = LEASE_VIP,
                                                     .mode = (uint8_t)mode}),
                     ERR_NONE);
    /* What a former life may have left open is closed before anything is asked for. */
    assert_null(sent(MSG_LEASE_REQUEST, two));
    assert_non_null(op(LEASE_CLOSE));
    step(now, (struct leases_event){
                  .type = LEASES_CLOSED, .lease = LEASE, .number = op(LEASE_CLOSE)->number});
}

/* The request that has just been sent to the voters: that to the first of them. */
struct msg_lease requested(void)
{
    const struct msg_lease *m = NULL;
    for (uint64_t id = 1; id <= 5 && m == NULL; id++)
        m = sent(MSG_LEASE_REQUEST, (node_id){id});
    assert_non_null(m);
    return *m;
}

void reply(int64_t now, node_id from, struct msg_lease request, int verdict)
{
    if (request.digest != 0)
        request.renewed = (uint8_t)verdict;
    for (int i = 0; i < request.item_count; i++)
        request.items[i].verdict = (uint8_t)verdict;
    message(now, from, MSG_LEASE_REPLY, request);
}

struct lease_view view(int64_t now)
{
    struct lease_view v;
    assert_true(leases_get(l, at(now), LEASE, &v));
    return v;
}

/* Node 1 holds the lease by the grant of node 2, asked for at START. */
struct msg_lease hold(int voters, int mode)
{
    struct msg_lease request;

    make(one, voters, true, START);
    want(START, mode);
    request = requested();
    reply(START, two, request, MSG_GRANT);
    assert_int_equal(view(START).state, LEASE_HELD);
    assert_non_null(change(LEASE_ACQUIRED));
    return request;
}

void close_acknowledged(int64_t now)
{
    assert_non_null(op(LEASE_CLOSE));
    step(now, (struct leases_event){
                  .type = LEASES_CLOSED, .lease = LEASE, .number = op(LEASE_CLOSE)->number});
}

void restart_with_record(node_id self, int64_t now)
{
    leases_export(l, at(now), &record);
    make(self, 3, false, now);
    leases_import(l, at(now), &record, &out);
}

const struct lease_register *access_of(int type)
{
    for (int i = 0; i < out.register_count; i++)
        if (out.registers[i].type == type)
            return &out.registers[i];
    return NULL;
}

void wrote(int64_t now)
{
    step(now, (struct leases_event){.type = LEASES_WROTE, .lease = LEASE});
    step(now, (struct leases_event){.type = LEASES_WRITTEN, .lease = LEASE});
}

void read_answered(int64_t now, int64_t sent)
{
    step(now, (struct leases_event){.type = LEASES_READ, .lease = LEASE, .sent = at(sent)});
}

void peer_speaks(int64_t now)
{
    message(now, two, MSG_LEASE_REQUEST,
            (struct msg_lease){.set = 1, .lease_ms = T, .fence_ms = F});
}

/* Lets deadlines happen until something of @type is to be done; returns when. */
int64_t run_until_access(int type, int64_t limit)
{
    while (leases_deadline(l).ms <= limit) {
        int64_t due = leases_deadline(l).ms;
        timer(due);
        assert_false(out.probe); /* the gateway's mere presence is no evidence any more */
        if (access_of(type) != NULL)
            return due;
    }
    return limit + 1;
}

/* Node 1, whose peer speaks at START for the last time, and a gateway that passed the test. */
void challenger(void)
{
    make(one, 2, true, START - 1);
    step(START - 1, (struct leases_event){.type = LEASES_REGISTER, .on = true});
    want(START, LEASE_SOLO);
    peer_speaks(START);
}
