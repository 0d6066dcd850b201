/* Datagrams to messages and back, and the one timer of the node's machine. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/daemon/agent.h"
#include "agent/io/os_clock.h"
#include "proto/wire/codec.h"

#define ROUNDS_MAX 8 /* batches of datagrams in one go, so that nothing else starves */

static bool is_lease(uint8_t type)
{
    return type == MSG_LEASE_REQUEST || type == MSG_LEASE_REPLY || type == MSG_LEASE_RELEASE ||
           type == MSG_LEASE_TRANSFER;
}

void agent_net_out(struct agent *agent, const struct channel_out *out, bool lease)
{
    for (size_t i = 0; i < out->count; i++) {
        const struct channel_datagram *d = &out->datagrams[i];
        if (os_udp_send(agent->udp, &d->to, d->bytes, d->len) != ERR_NONE)
            continue; /* as good as lost on the air */
        if (lease)
            agent->sent_lease_bytes += d->len + AGENT_UDP_OVERHEAD;
        else
            agent->sent_bytes += d->len + AGENT_UDP_OVERHEAD;
        if (envelope_kind(d->bytes, d->len) == ENVELOPE_HELLO)
            agent_keys_introduce(agent, d);
    }
}

void agent_net_send(struct agent *agent, const struct effect_send *send)
{
    const struct value_head *head = node_peer(agent->node, send->to);
    struct addr to = send->addr;
    uint8_t body[CODEC_BODY_MAX];
    struct channel_peer peer;
    struct channel_out out;
    size_t len;

    if (to.family == 0 && channel_find_peer(agent->channel, send->to, &peer) == ERR_NONE)
        to = peer.addr;
    if (to.family == 0 && head != NULL)
        to = head->addr;
    if (to.family == 0 && !send->stream)
        return; /* nobody has said yet where it lives */
    if (codec_encode(&send->msg, body, &len) != ERR_NONE) {
        agent_report(agent, EFFECT_ERROR, "wire", "a message of type %u could not be encoded",
                     (unsigned)send->msg.type);
        return;
    }
    if (send->stream) {
        agent_peer_send(agent, send->to, body, len);
        return;
    }
    out.count = 0;
    channel_seal(agent->channel, os_clock_now(), send->to, &to, body, len, &out);
    agent_net_out(agent, &out, is_lease(send->msg.type));
}

static void take_datagram(struct agent *agent, const struct os_udp_datagram *datagram)
{
    struct node_event event = {.type = NODE_HEARD};
    struct channel_out out;
    struct channel_in in = {0};
    struct msg msg;
    enum wire_reason reason;

    out.count = 0;
    reason = channel_open(agent->channel, os_clock_now(), &datagram->from, datagram->data,
                          datagram->len, &in, &out);
    agent_net_out(agent, &out, false);
    agent_keys_take(agent, &in);
    if (reason == WIRE_UNKNOWN_SENDER)
        agent_keys_unknown(agent, datagram);
    if (reason != WIRE_OK || node_id_none(in.from) || agent->revoked)
        return;
    event.message.from = in.from;
    event.message.addr = in.addr;
    event.message.restarted = in.restarted;
    if (in.body != NULL && !in.keys) {
        reason = codec_decode(in.body, in.len, &msg);
        if (reason != WIRE_OK) {
            channel_count(agent->channel, reason);
            return;
        }
        event.type = NODE_MESSAGE;
        event.message.msg = &msg;
    }
    agent_feed(agent, &event);
}

static void receive(struct agent *agent)
{
    struct os_udp_datagram batch[OS_UDP_BATCH];

    for (int round = 0; round < ROUNDS_MAX; round++) {
        size_t count = os_udp_receive(agent->udp, batch);
        for (size_t i = 0; i < count; i++) {
            uint8_t kind = envelope_kind(batch[i].data, batch[i].len);
            if (kind == ENVELOPE_JOIN_REQUEST || kind == ENVELOPE_JOIN_REPLY)
                agent_join_datagram(agent, &batch[i]);
            else if (kind == ENVELOPE_KNOCK || kind == ENVELOPE_KNOCK_REPLY)
                agent_knock_datagram(agent, &batch[i]);
            else if (agent->node == NULL || agent->revoked)
                continue;
            else if (kind == ENVELOPE_INTRODUCE || kind == ENVELOPE_NOTICE)
                agent_keys_notice(agent, &batch[i]);
            else
                take_datagram(agent, &batch[i]);
        }
        if (count < OS_UDP_BATCH)
            break;
    }
}

static void readable(uv_poll_t *poll, int status, int events)
{
    struct agent *agent = poll->data;

    (void)events;
    if (status != 0)
        return;
    receive(agent);
    if (agent->node != NULL) /* a datagram may have moved the channel's deadline alone */
        agent_net_arm(agent);
}

static void on_timer(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    struct node_event event = {.type = NODE_TIMER};
    struct channel_out out;
    mono_t now;

    /* An answer that waits in the socket counts before its absence is judged (the loop runs timers
     * first, also after a pause of the whole process). */
    receive(agent);
    if (agent->node == NULL)
        return;
    now = os_clock_now();
    for (int i = 0; i < ROUNDS_MAX && mono_reached(now, channel_deadline(agent->channel)); i++) {
        channel_step(agent->channel, now, &out);
        agent_net_out(agent, &out, false);
    }
    if (mono_reached(now, keyring_deadline(agent->ring)))
        agent_keys_timer(agent);
    if (mono_reached(os_clock_now(), node_deadline(agent->node)))
        agent_feed(agent, &event);
    agent_net_arm(agent);
}

void agent_net_arm(struct agent *agent)
{
    mono_t next = node_deadline(agent->node);
    int64_t wait;

    next = mono_min(next, channel_deadline(agent->channel));
    next = mono_min(next, keyring_deadline(agent->ring));
    wait = mono_diff(next, os_clock_now());
    if (wait < 0)
        wait = 0;
    if (wait > INT32_MAX)
        wait = INT32_MAX;
    uv_update_time(agent->loop);
    uv_timer_start(&agent->timer, on_timer, (uint64_t)wait, 0);
}

int agent_net_open(struct agent *agent, struct err *err)
{
    int rc = os_udp_open(&agent->config->listen, &agent->udp, err);

    if (rc != ERR_NONE)
        return rc;
    rc = uv_poll_init(agent->loop, &agent->udp_poll, agent->udp);
    if (rc != 0) {
        close(agent->udp);
        agent->udp = -1;
        return err_set(err, ERR_IO, "watch the socket of gossip: %s", uv_strerror(rc));
    }
    uv_timer_init(agent->loop, &agent->timer);
    agent->timer.data = agent;
    agent->udp_poll.data = agent;
    rc = uv_poll_start(&agent->udp_poll, UV_READABLE, readable);
    return rc == 0 ? ERR_NONE
                   : err_set(err, ERR_IO, "watch the socket of gossip: %s", uv_strerror(rc));
}

static void udp_closed(uv_handle_t *handle)
{
    struct agent *agent = handle->data;

    close(agent->udp);
    agent->udp = -1;
}

void agent_net_close(struct agent *agent)
{
    if (agent->udp < 0)
        return;
    uv_close((uv_handle_t *)&agent->timer, NULL);
    uv_close((uv_handle_t *)&agent->udp_poll, udp_closed);
}
