#include "tests/lab/vip_world.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void world_hear(void *context, const struct node_event *event)
{
    struct heard *h = context;

    if (event->type == NODE_FENCE) {
        h->fence = event->fence;
        h->failed += event->fence.failed;
        h->opened += !event->fence.failed && event->fence.open;
        h->closed += !event->fence.failed && !event->fence.open;
        strcpy(h->reason, event->fence.reason != NULL ? event->fence.reason : "");
    } else if (event->type == NODE_GATEWAY) {
        h->gateway++;
        h->gateway_sent = event->gateway.sent;
    } else if (event->type == NODE_WROTE) {
        assert_int_equal(event->reading.lease, LEASE_ID);
        h->wrote++;
    } else if (event->type == NODE_WRITTEN) {
        h->written++;
    } else if (event->type == NODE_READ) {
        h->reads++;
        h->read_sent = event->reading.sent;
    } else if (event->type == NODE_CLIENTS) {
        h->clients++;
        h->last_clients = event->clients;
    } else if (event->type == NODE_DRIFT) {
        assert_true(event->drift.instance == NULL && !event->drift.left);
        h->drifts++;
    } else {
        assert_int_equal(event->type, NODE_CONFLICT);
        h->conflicts++;
        h->conflict = event->conflict;
    }
}

int world_create(struct world *w, int host, size_t resumed)
{
    struct post post = {.event = world_hear, .context = &w->heard[host]};
    struct edge *e = w->edge;
    int rc;

    netlab_enter(e->lab.host[host]);
    rc = uv_vip_create(&w->loop, "wlan0", NULL, &e->vip, resumed, post, &w->vip[host], &e->err);
    netlab_enter(e->lab.home);
    return rc;
}

static void note_closed(void *context)
{
    struct world *w = context;

    w->closed++;
}

void world_end(struct world *w, int host, bool keep)
{
    unsigned before = w->closed;

    uv_vip_close(w->vip[host], keep, note_closed, w);
    w->vip[host] = NULL;
    while (w->closed == before)
        uv_run(&w->loop, UV_RUN_ONCE);
}

int world_set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    if (w == NULL || edge_set_up(state) != 0)
        return -1;
    w->edge = *state;
    *state = w;
    assert_int_equal(uv_loop_init(&w->loop), 0);
    edge_ok(w->edge, world_create(w, HOLDER, 0));
    return 0;
}

int world_tear_down(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < NETLAB_HOSTS; i++)
        world_end(w, i, false);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    *state = w->edge;
    free(w);
    return edge_tear_down(state);
}

struct effect_fence world_effect(const struct world *w, int64_t ms)
{
    return (struct effect_fence){.lease = LEASE_ID,
                                 .address = w->edge->vip,
                                 .until = mono_add(os_clock_now(), ms),
                                 .number = 7};
}

mono_t world_hold(struct world *w, int host, int64_t ms)
{
    struct effect_fence open = world_effect(w, ms);
    unsigned before = w->heard[host].opened;

    uv_vip_open(w->vip[host], &open);
    if (w->heard[host].opened != before + 1)
        fail_msg("not opened: %s", w->heard[host].reason);
    assert_int_equal(w->heard[host].fence.lease, LEASE_ID);
    assert_int_equal(w->heard[host].fence.number, 7);
    return open.until;
}

void world_shut(struct world *w, int host)
{
    struct effect_fence close = world_effect(w, 0);
    unsigned before = w->heard[host].closed;

    uv_vip_shut(w->vip[host], &close);
    assert_int_equal(w->heard[host].closed, before + 1);
}

void world_announce(struct world *w, int host)
{
    struct effect_fence what = world_effect(w, 0);

    uv_vip_announce(w->vip[host], &what);
}

void world_turn(struct world *w)
{
    struct pollfd fd = {.fd = uv_backend_fd(&w->loop), .events = POLLIN};

    uv_run(&w->loop, UV_RUN_NOWAIT);
    poll(&fd, 1, 5);
    uv_run(&w->loop, UV_RUN_NOWAIT);
}

bool world_becomes(struct world *w, bool (*true_now)(struct world *w))
{
    mono_t bound = mono_add(os_clock_now(), BOUND_MS);

    while (!true_now(w)) {
        if (mono_reached(os_clock_now(), bound))
            return false;
        world_turn(w);
    }
    return true;
}

bool world_find(struct world *w, int host, const struct addr *ip, struct os_address *found)
{
    struct edge *e = w->edge;
    struct edge_host *h = &e->host[host];
    struct os_address addresses[16];
    size_t count = 0;

    if (os_link_get(h->netlink, "wlan0", &h->link, &e->err) != ERR_NONE)
        return false;
    edge_ok(e, os_address_list(h->netlink, h->link.index, addresses, 16, &count, &e->err));
    for (size_t i = 0; i < count; i++) {
        *found = addresses[i];
        if (addr_equal(&found->ip, ip))
            return true;
    }
    return false;
}

bool world_has_vip(struct world *w)
{
    struct os_address found;

    return world_find(w, HOLDER, &w->edge->vip, &found);
}

bool world_has_no_vip(struct world *w)
{
    return !world_has_vip(w);
}

/* -1: not under lease control. */
int64_t world_left_of(struct world *w, int host)
{
    struct edge *e = w->edge;
    struct os_fence_entry entries[4];
    size_t count = 0;

    edge_ok(e, os_fence_list(e->host[host].fence, entries, 4, &count, &e->err));
    for (size_t i = 0; i < count; i++)
        if (addr_equal(&entries[i].vip, &e->vip))
            return entries[i].left_ms;
    return -1;
}

void world_run(struct world *w, const char *command)
{
    assert_int_equal(netlab_run(w->edge->lab.host[HOLDER], "%s", command), 0);
}

unsigned world_answers(struct prober *p)
{
    prober_run(p, mono_add(os_clock_now(), 3 * PROBE_MS));
    p->echo_answers = 0;
    p->arp_answers = 0;
    prober_run(p, mono_add(os_clock_now(), 30 * PROBE_MS));
    return p->echo_answers + p->arp_answers;
}

bool world_holder_seen_by(struct world *w, int host, struct mac *mac)
{
    struct edge *e = w->edge;
    struct os_neighbour list[16];
    size_t count = 0;

    edge_ok(e, os_neighbour_list(e->host[host].netlink, e->host[host].link.index, list, 16, &count,
                                 &e->err));
    for (size_t i = 0; i < count; i++) {
        *mac = list[i].mac;
        if (ipv4_equal(list[i].ip, e->vip_ip))
            return true;
    }
    return false;
}
