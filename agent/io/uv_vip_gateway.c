/* What is asked of the gateway: does it answer; whom does its ARP cache name for an address; does
 * it keep that cache by the last writer (docs/vip.md, rules 15 and 18). */
#include <string.h>

#include "agent/io/os_clock.h"
#include "agent/io/uv_vip_inside.h"

#define UNICASTS_MAX 2    /* unanswered requests before the gateway is asked by broadcast */
#define REPLIES_MAX 16    /* read in one go, */
#define ROUNDS_MAX 8      /* and so many goes before others get their turn */
#define WRITE_LATE_MS 500 /* what waited longer for the gateway's MAC is not written any more */

/* The data of an echo request. What comes back with our nonce was sent by this life of the agent.
 */
enum echo_purpose { ECHO_READ = 1, ECHO_TEST = 2 };

struct echo_data {
    uint64_t nonce;
    uint64_t lease;
    int64_t sent;
    uint8_t purpose; /* enum echo_purpose */
    uint8_t read;    /* of the test */
    uint8_t unused[6];
};
_Static_assert(sizeof(struct echo_data) == ECHO_DATA_LEN, "it is copied as it is");

/* ---- sending ---- */

static bool gateway_ready(struct uv_vip *vip)
{
    if (vip->link.index == 0)
        return false;
    vip_look_up(vip);
    if (!vip->gateway_known)
        return false;
    if (!vip->gateway.known)
        vip_ask(vip, vip->gateway.ip, NULL);
    return vip->gateway.known;
}

static bool write_entry(struct uv_vip *vip, struct ipv4 ip, struct mac mac)
{
    struct arp_frame frame;

    arp_notify_request(&frame, vip->link.mac, ip, vip->gateway.mac, vip->gateway.ip);
    frame.sender_mac = mac;
    return vip->arp != NULL && os_arp_send(vip->arp->arp, &frame, NULL) == ERR_NONE;
}

static void readable(uv_poll_t *poll, int status, int events);

static bool echo_ready(struct uv_vip *vip)
{
    struct vip_source source = {.echo = NULL};

    if (vip->echo != NULL)
        return true;
    if (vip->echo_nonce == 0 &&
        uv_random(NULL, NULL, &vip->echo_nonce, sizeof vip->echo_nonce, 0, NULL) != 0)
        return false;
    return os_echo_open(vip->link.index, (uint16_t)vip->echo_nonce, &source.echo, NULL) ==
               ERR_NONE &&
           vip_socket_open(vip, &source, readable, &vip->echo, NULL) == ERR_NONE;
}

/* What cannot be sent is as good as lost on the air. */
static void ask_echo(struct uv_vip *vip, struct ipv4 ip, struct echo_data *data)
{
    struct echo_frame frame = {.to = vip->gateway.mac,
                               .from = vip->link.mac,
                               .source = ip,
                               .target = vip->gateway.ip,
                               .identifier = (uint16_t)vip->echo_nonce,
                               .sequence = ++vip->echo_sequence};

    data->nonce = vip->echo_nonce;
    memcpy(frame.data, data, sizeof frame.data);
    os_echo_send(vip->echo->echo, &frame, NULL);
}

/* ---- the test ---- */

static struct mac stray(const struct uv_vip *vip)
{
    struct mac mac = vip->link.mac;

    mac.byte[0] ^= 0x02; /* of another kind, given by a maker or locally, than our own */
    mac.byte[5] ^= 0x5a;
    return mac;
}

static void take_step(struct uv_vip *vip, const struct vip_address *a,
                      const struct gateway_test_step *step)
{
    struct echo_data data = {.purpose = ECHO_TEST, .read = step->read};

    if (step->action == GATEWAY_TEST_READ)
        ask_echo(vip, a->ip, &data);
    else
        write_entry(vip, a->ip, step->action == GATEWAY_TEST_STRAY ? stray(vip) : vip->link.mac);
}

mono_t vip_gateway_run(struct uv_vip *vip, mono_t now)
{
    struct gateway_test_step steps[GATEWAY_TEST_STEPS];
    struct vip_address *a = vip_find(vip, vip->tested);
    enum gateway_test_result result;
    struct node_event event = {.type = NODE_REGISTER};
    size_t count;

    if (!mono_reached(now, gateway_test_deadline(&vip->test)))
        return gateway_test_deadline(&vip->test);
    if (a == NULL || !a->held || !gateway_ready(vip) || !echo_ready(vip)) {
        gateway_test_cancel(&vip->test);
        return MONO_NEVER;
    }
    result = gateway_test_step(&vip->test, now, steps, &count);
    for (size_t i = 0; i < count; i++)
        take_step(vip, a, &steps[i]);
    if (result == GATEWAY_TEST_RUNS)
        return gateway_test_deadline(&vip->test);
    event.kept = result == GATEWAY_TEST_KEPT;
    vip_announce(vip, a); /* whatever was lost, the gateway is told until it answers */
    vip->post.event(vip->post.context, &event);
    return MONO_NEVER;
}

void uv_vip_test(struct uv_vip *vip, const struct addr *address)
{
    struct ipv4 ip;

    if (!ipv4_from_addr(address, &ip) || vip->test.running)
        return;
    vip->tested = ip;
    gateway_test_start(&vip->test, os_clock_now());
    vip_arp_run(vip);
}

/* ---- hearing ---- */

static void take_reply(struct uv_vip *vip, const struct echo_frame *frame)
{
    struct node_event event = {.type = NODE_READ};
    struct vip_address *a;
    struct echo_data data;

    memcpy(&data, frame->data, sizeof data);
    /* A reply to another host, overheard, is the very thing that must not count. */
    if (!mac_equal(frame->to, vip->link.mac) || data.nonce != vip->echo_nonce ||
        !vip->gateway_known || !ipv4_equal(frame->source, vip->gateway.ip))
        return;
    if (data.purpose == ECHO_TEST) {
        if (ipv4_equal(frame->target, vip->tested))
            gateway_test_answered(&vip->test, data.read);
        return;
    }
    a = vip_find(vip, frame->target);
    if (a != NULL)
        a->reading = false;
    event.reading.lease = data.lease;
    event.reading.sent.ms = data.sent;
    vip->post.event(vip->post.context, &event);
}

static void readable(uv_poll_t *poll, int status, int events)
{
    struct vip_socket *socket = poll->data;
    struct uv_vip *vip = socket->vip;
    struct echo_frame frames[REPLIES_MAX];

    (void)events;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        size_t count = os_echo_receive(socket->echo, frames, REPLIES_MAX);
        for (size_t i = 0; i < count && vip->echo == socket; i++)
            take_reply(vip, &frames[i]);
        if (count < REPLIES_MAX)
            break;
    }
    /* libuv stops when a socket reports an error, here that the link went down: the next request
     * opens another one. */
    if (status != 0 && vip->echo == socket) {
        vip_socket_close(socket);
        vip->echo = NULL;
    }
}

void vip_gateway_written(struct uv_vip *vip, struct vip_address *a)
{
    struct node_event event = {.type = NODE_WRITTEN, .reading.lease = a->lease};

    if (!a->writing)
        return;
    a->writing = false;
    vip->post.event(vip->post.context, &event);
}

void vip_gateway_answered(struct uv_vip *vip)
{
    struct node_event event = {.type = NODE_GATEWAY};

    if (reach_answered(&vip->reach, os_clock_now(), &event.gateway.sent))
        vip->post.event(vip->post.context, &event);
}

/* ---- what the node asks for ---- */

void uv_vip_gateway(struct uv_vip *vip)
{
    bool unicast;

    if (vip->link.index == 0)
        return;
    vip_look_up(vip);
    if (!vip->gateway_known || !vip->own_known)
        return;
    unicast = vip->gateway.known && vip->reach.count < UNICASTS_MAX;
    reach_sent(&vip->reach, os_clock_now());
    vip_ask(vip, vip->gateway.ip, unicast ? &vip->gateway.mac : NULL);
}

static void write_now(struct uv_vip *vip, struct vip_address *a)
{
    struct node_event event = {.type = NODE_WROTE, .reading.lease = a->lease};

    /* The gateway's packets come here from now on, and must find a shut fence. */
    if (vip_guard(vip, a, NULL) != ERR_NONE || !write_entry(vip, a->ip, vip->link.mac))
        return; /* it is asked for again */
    a->writing = true;
    vip->post.event(vip->post.context, &event);
}

/* NULL: it is not watched here. */
static struct vip_address *address_of(struct uv_vip *vip, const struct effect_gateway *effect)
{
    struct vip_address *a;
    struct ipv4 ip;

    a = ipv4_from_addr(&effect->address, &ip) ? vip_find(vip, ip) : NULL;
    if (a != NULL)
        a->lease = effect->lease;
    return a;
}

void uv_vip_write(struct uv_vip *vip, const struct effect_gateway *effect)
{
    struct vip_address *a = address_of(vip, effect);

    if (a == NULL)
        return;
    a->write_until = MONO_ZERO;
    /* No answer yet to the write before, or to the holder's last read: its MAC may have changed, as
     * when a router is replaced. */
    if ((a->writing || a->reading) && vip->gateway_known && vip->own_known)
        vip_ask(vip, vip->gateway.ip, NULL);
    if (gateway_ready(vip))
        write_now(vip, a);
    else
        a->write_until = mono_add(os_clock_now(), WRITE_LATE_MS);
}

static void read_now(struct uv_vip *vip, const struct vip_address *a)
{
    struct echo_data data = {.purpose = ECHO_READ, .lease = a->lease, .sent = a->read_sent.ms};

    if (gateway_ready(vip) && echo_ready(vip))
        ask_echo(vip, a->ip, &data);
}

void vip_gateway_learned(struct uv_vip *vip, bool changed)
{
    mono_t now = os_clock_now();

    for (size_t i = 0; i < vip->address_count; i++) {
        struct vip_address *a = vip->addresses[i];
        bool due = mono_before(now, a->write_until);
        a->write_until = MONO_ZERO;
        if (due || (changed && a->held && a->writing))
            write_now(vip, a);
        /* The next round would come too late for its lease. */
        if (changed && a->held && a->reading)
            read_now(vip, a);
    }
}

void vip_gateway_meet(struct uv_vip *vip)
{
    (void)gateway_ready(vip);
}

void uv_vip_read(struct uv_vip *vip, const struct effect_gateway *effect)
{
    struct vip_address *a = address_of(vip, effect);

    if (a == NULL)
        return;
    a->reading = true;
    a->read_sent = effect->sent;
    read_now(vip, a);
}
