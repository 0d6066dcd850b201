/* Three hosts with executors of virtual addresses (io/uv_vip.h) and what they tell their nodes. */
#ifndef COVEY_TESTS_VIP_WORLD_H
#define COVEY_TESTS_VIP_WORLD_H

#include <uv.h>

#include "agent/core/node.h"
#include "agent/io/uv_vip.h"
#include "tests/lab/edge_fixture.h"

#define SLACK_MS 50   /* what the protocol allows the fence to be late (F) */
#define RENEW_MS 100  /* heartbeat of a lease of half a second */
#define LEASE_MS 9000 /* of those that are not renewed */
#define LEASE_ID 4711

struct heard {
    unsigned opened, closed, failed, gateway, conflicts, clients, wrote, written, reads, drifts;
    struct node_event_fence fence; /* the last */
    char reason[ERR_TEXT_MAX];
    mono_t gateway_sent;
    mono_t read_sent;
    struct node_event_conflict conflict;
    struct value_clients last_clients;
};

struct world {
    struct edge *edge;
    uv_loop_t loop;
    struct uv_vip *vip[NETLAB_HOSTS];
    struct heard heard[NETLAB_HOSTS];
    unsigned closed;
};

void world_hear(void *context,
                const struct node_event *event); /* of a struct post; @context: its heard */
/* Makes the executor of a host; of its addresses the first @resumed are held already. */
int world_create(struct world *w, int host, size_t resumed);
/* Closes it; @keep: what is open stays open until its lease ends. */
void world_end(struct world *w, int host, bool keep);
/* cmocka set-up and tear-down of one test: *state is a struct world whose HOLDER has an executor.
 */
int world_set_up(void **state);
int world_tear_down(void **state);
struct effect_fence world_effect(const struct world *w, int64_t ms);
/* Opens, or renews, and returns when the lease ends. */
mono_t world_hold(struct world *w, int host, int64_t ms);
void world_shut(struct world *w, int host);
void world_announce(struct world *w, int host);
/* Lets the loop do what is due, waiting a few milliseconds for it. */
void world_turn(struct world *w);
/* False: it has not within BOUND_MS. */
bool world_becomes(struct world *w, bool (*true_now)(struct world *w));
/* The interface is looked up by name: its index may have changed. */
bool world_find(struct world *w, int host, const struct addr *ip, struct os_address *found);
bool world_has_vip(struct world *w);
bool world_has_no_vip(struct world *w);
/* Milliseconds that the fence is open still; -1: not under lease control. */
int64_t world_left_of(struct world *w, int host);
/* On HOLDER. */
void world_run(struct world *w, const char *command);
/* Answers from now on, with what is on its way read before. */
unsigned world_answers(struct prober *p);
bool world_holder_seen_by(struct world *w, int host, struct mac *mac);

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

#endif
