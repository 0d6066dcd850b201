/* The agent: its life, its loop, and the effects of its node. The order is agentd's: a step, its
 * effects one by one, then what these effects have posted, then the socket, then the timer. */
#include "tests/sim/cluster_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIRE_OVERHEAD (24 + 16 + 28) /* envelope, IPv4 and UDP headers of a datagram */
#define TIMERS_NOW_MAX 100           /* timer steps within a millisecond: more is a loop */
#define TIMERS_SECOND_MAX 400        /* and within a second, besides 20 for each node */

/* ---- life ---- */

static void post_known(struct machine *m)
{
    for (size_t i = 0; i < m->cluster->options.nodes; i++) {
        struct node_event event = {.type = NODE_ADMIT};
        if (i == m->index || !m->known[i])
            continue;
        event.peer.id = m->cluster->machines[i].id;
        event.peer.head = m->heads[i];
        agent_post(m, &event);
    }
}

void agent_begin(struct machine *m)
{
    struct cluster *c = m->cluster;
    struct node_event first = {.type = NODE_TIMER};
    struct node_config config = {.self = m->id,
                                 .head = m->heads[m->index],
                                 .boot = ++m->boot,
                                 .coordinator = m->index == 0,
                                 .seed = rng_next(c->rng),
                                 .wall = world_wall(c),
                                 .voters = m->voters,
                                 .adopted = m->voters.current,
                                 .register_kept = m->register_kept};
    struct err err;

    if (!m->powered) {
        m->born = world_now(c) - world_range(c, 2000, 5000);
        m->born = m->born < m->off_at ? m->off_at : m->born;
    }
    m->powered = true;
    config.now = world_local(m);
    config.first_since_boot = !m->agent_ran;
    config.saved = m->saved_valid ? &m->saved : NULL;
    config.marks = &m->marks;
    config.pool = &m->pool;
    config.crons = m->crons;
    config.cron_count = m->cron_count;
    config.facts.started = config.wall;
    config.facts.cpus = 4;
    thief_crypto(m, &config.crypto);
    m->agent_ran = true;
    m->life++;
    c->stats.agent_starts++;
    world_trace(c, "pi%zu agent starts, boot %u%s", m->index + 1, (unsigned)m->boot,
                m->saved_valid ? ", with what the former saved" : "");
    simnet_start(c->net, m->index);
    memset(m->heard, 0, c->options.nodes * sizeof *m->heard);
    memset(m->addrs, 0, c->options.nodes * sizeof *m->addrs);
    m->sync = (struct sync){.applied = -1, .apply = -1, .instead = -1};
    m->runs = -1;
    if (node_create(&config, &m->node, &err) != ERR_NONE) {
        cluster_break(c, "the node could not be made: %s", err.text);
        return;
    }
    m->working = true; /* everything is posted before the first step */
    post_known(m);
    machine_scan(m);
    if (m->drained) {
        struct node_event drain = {.type = NODE_DRAIN, .drain = true};
        agent_post(m, &drain);
    }
    m->working = false;
    agent_post(m, &first);
    git_branch(m);
}

void agent_end(struct machine *m)
{
    if (m->node == NULL)
        return;
    node_free(m->node);
    m->node = NULL;
    m->life++;
    m->busy = false;
    m->working = false;
    m->persist_due = false;
    m->clock_read = false;
    m->paused_until = 0;
    while (m->first != NULL) {
        struct posted *posted = m->first;
        m->first = posted->next;
        if (posted->event.type == NODE_DESIRED)
            desired_free(posted->event.desired.desired);
        free(posted);
    }
    m->last = NULL;
    for (size_t i = 0; i < PROCESSES_MAX; i++)
        m->processes[i].orphan |= m->processes[i].state == PROCESS_STARTING;
    simnet_stop(m->cluster->net, m->index);
}

static void cron_stored(struct machine *m, const struct task *task)
{
    struct node_event event = {.type = NODE_CRON};
    size_t i = 0;

    while (i < m->cron_count && strcmp(m->crons[i].workload, task->cron.workload) != 0)
        i++;
    if (i == CRONS_MAX) {
        cluster_break(m->cluster, "more than %d crons", CRONS_MAX);
        return;
    }
    if (!task->fails) {
        snprintf(m->crons[i].workload, sizeof m->crons[i].workload, "%s", task->cron.workload);
        m->crons[i].value = task->cron.value;
        m->cron_count += i == m->cron_count;
    }
    event.cron.workload = task->cron.workload;
    event.cron.number = task->cron.number;
    event.cron.failed = task->fails;
    agent_post(m, &event);
}

void agent_task(struct machine *m, struct task *task)
{
    struct node_event event = {.type = NODE_VOTERS};

    if (task->kind == TASK_CRON) {
        cron_stored(m, task);
        return;
    }
    if (task->kind == TASK_PEER) {
        m->known[task->peer] = !task->revoked;
        m->heads[task->peer] = task->head;
        return;
    }
    if (!task->fails) {
        m->voters = task->voters;
        event.voters = task->voters;
    }
    agent_post(m, &event);
}

/* ---- what is checked after every step ---- */

/* Where a lease is extended solo, the silence that this rests on must be long enough (docs/vip.md).
 */
static void note_solo(struct machine *m)
{
    struct cluster *c = m->cluster;
    int64_t term = leases_term(m->node->leases);

    for (size_t i = 0; i < m->out.count; i++) {
        const struct effect *effect = &m->out.effects[i];
        struct lease_view view;
        size_t vip;
        size_t peer;
        int64_t silence;
        if (effect->type != EFFECT_FENCE_OPEN)
            continue;
        vip = machine_vip(&effect->fence.address);
        if (!leases_get(m->node->leases, world_local(m), effect->fence.lease, &view) ||
            !view.solo || view.vote_count != 2) {
            m->solo[vip] = false;
            m->claimed[vip] = false;
            continue;
        }
        peer = world_index(c, view.votes[node_id_equal(view.votes[0].voter, m->id)].voter);
        silence = world_now(c) - m->heard[peer] + 5;
        m->solo[vip] = true;
        m->claimed[vip] |= silence >= term + 50;
        if (view.reason != LEASE_WHY_RESUMED && silence < term / 10 * 6)
            cluster_break(c, "pi%zu extends a lease alone, and heard its peer %lld ms ago",
                          m->index + 1, (long long)silence);
    }
}

static void check_step(struct machine *m, const struct node_event *event)
{
    struct cluster *c = m->cluster;
    int64_t now = world_now(c);

    for (size_t i = 0; i < m->node->instance_count; i++)
        if (m->node->instances[i]->machine.illegal > 0)
            cluster_break(c, "pi%zu: supervision of %s refused an event", m->index + 1,
                          m->node->instances[i]->name);
    if (event->type != NODE_TIMER)
        return;
    m->timers_now = m->timer_ms == now ? m->timers_now + 1 : 1;
    m->timers_second = m->timer_second == now / 1000 ? m->timers_second + 1 : 1;
    m->timer_ms = now;
    m->timer_second = now / 1000;
    if (m->timers_now > TIMERS_NOW_MAX)
        cluster_break(c, "pi%zu: the deadline stands still (%lld ms ago)", m->index + 1,
                      (long long)(world_local(m).ms - node_deadline(m->node).ms));
    if (m->timers_second > TIMERS_SECOND_MAX + 20 * c->options.nodes)
        cluster_break(c, "pi%zu: %u timer steps within a second", m->index + 1, m->timers_second);
}

/* ---- effects ---- */

static bool is_lease(uint8_t type)
{
    return type == MSG_LEASE_REQUEST || type == MSG_LEASE_REPLY || type == MSG_LEASE_RELEASE ||
           type == MSG_LEASE_TRANSFER;
}

static void send_message(struct machine *m, const struct effect_send *send)
{
    struct cluster *c = m->cluster;
    size_t to = world_index(c, send->to);
    struct addr addr = send->addr.family != 0 ? send->addr : m->addrs[to];
    struct packet packet = {.life = m->life, .kind = PACKET_MESSAGE};
    const struct value_head *head = node_peer(m->node, send->to);
    struct addr there = world_addr(&c->machines[to]);
    struct msg msg = send->msg;
    uint8_t forged[RECORD_VALUE_MAX];
    size_t len;

    if (addr.family == 0 && head != NULL)
        addr = head->addr;
    thief_forge(m, &msg, forged, sizeof forged);
    if (codec_encode(&msg, packet.body, &len) != ERR_NONE) {
        cluster_break(c, "pi%zu: a message of type %u cannot be encoded", m->index + 1,
                      (unsigned)send->msg.type);
        return;
    }
    if (is_lease(send->msg.type))
        c->stats.lease_bytes += len + WIRE_OVERHEAD;
    else
        c->stats.gossip_bytes += len + WIRE_OVERHEAD;
    if (addr_equal(&addr, &there))
        simnet_send(c->net, m->index, to, &packet, offsetof(struct packet, body) + len,
                    len + WIRE_OVERHEAD);
}

static void ask_gateway(struct machine *m)
{
    struct packet packet = {.life = m->life, .sent = world_local(m).ms, .kind = PACKET_GATEWAY};

    simnet_send(m->cluster->net, m->index, m->cluster->options.nodes, &packet,
                offsetof(struct packet, body), CLUSTER_ARP_BYTES);
}

/* Every gateway keeps its cache by the last writer. */
static void test_gateway(struct machine *m)
{
    struct node_event event = {.type = NODE_REGISTER, .kept = true};

    agent_post(m, &event);
}

static void keep_voters(struct machine *m, const struct voters_state *voters)
{
    struct cluster *c = m->cluster;
    struct task *task = world_task(m, TASK_VOTERS, world_range(c, 5, 80), m->life);

    task->voters = *voters;
    task->fails = world_chance(c, c->chances.store_fails);
}

static void keep_cron(struct machine *m, const struct effect_cron *cron)
{
    struct cluster *c = m->cluster;
    struct task *task = world_task(m, TASK_CRON, world_range(c, 5, 80), m->life);

    task->cron = *cron;
    task->fails = world_chance(c, c->chances.store_fails);
}

static void keep_peer(struct machine *m, const struct effect_peer *peer)
{
    struct task *task = world_task(m, TASK_PEER, world_range(m->cluster, 5, 60), m->life);

    task->peer = world_index(m->cluster, peer->id);
    task->revoked = peer->revoked;
    if (!peer->revoked)
        task->head = *peer->head;
}

static void report(struct machine *m, const struct effect_event *event)
{
    static const char *const words[] = {"info", "WARN", "ERROR"};

    m->cluster->stats.events[event->severity]++;
    world_trace(m->cluster, "pi%zu   %-5s %s: %s", m->index + 1, words[event->severity],
                event->subject, event->text);
}

/* True: @effect may not be carried out as long as the leases are not written; what waits for its
 * result is told. */
static bool withheld(struct machine *m, const struct effect *effect)
{
    struct node_event refusal;

    if (!m->persist_due || !node_rests_on_leases(effect))
        return false;
    if (node_refuse(effect, &refusal))
        agent_post(m, &refusal);
    return true;
}

static void carry_out(struct machine *m, const struct effect *effect)
{
    switch (effect->type) {
    case EFFECT_SEND:
        send_message(m, effect->send);
        break;
    case EFFECT_LEASE_PERSIST:
        break; /* before the first effect: agent_work */
    case EFFECT_VOTERS:
        keep_voters(m, &effect->voters);
        break;
    case EFFECT_GATEWAY:
        ask_gateway(m);
        break;
    case EFFECT_GATEWAY_WRITE:
    case EFFECT_GATEWAY_READ:
        gateway_access(m, effect);
        break;
    case EFFECT_GATEWAY_TEST:
        test_gateway(m);
        break;
    case EFFECT_GATEWAY_KEEP:
        m->register_kept = effect->gateway.kept;
        break;
    case EFFECT_FENCE_OPEN:
        machine_open_fence(m, &effect->fence);
        break;
    case EFFECT_FENCE_CLOSE:
        machine_shut_fence(m, &effect->fence);
        break;
    case EFFECT_ANNOUNCE:
        client_announce(m, machine_vip(&effect->fence.address));
        break;
    case EFFECT_CHECK:
    case EFFECT_OWNER:
        break;
    case EFFECT_START:
        machine_start(m, &effect->start);
        break;
    case EFFECT_PREPARE:
    case EFFECT_FILES:
        break;
    case EFFECT_STOP:
        machine_stop(m, &effect->stop);
        break;
    case EFFECT_EXTEND:
        machine_extend(m, &effect->stop);
        break;
    case EFFECT_PROBE:
        machine_probe(m, &effect->probe);
        break;
    case EFFECT_FORGET:
        break;
    case EFFECT_MARKS:
        m->marks = effect->marks->marks;
        git_marked(m);
        break;
    case EFFECT_SUSPENDED: /* nobody suspends anything here */
        break;
    case EFFECT_POOL:
        m->pool = *effect->pool;
        break;
    case EFFECT_CRON:
        keep_cron(m, effect->cron);
        break;
    case EFFECT_APPLY:
        git_apply(m, effect->apply.commit);
        break;
    case EFFECT_FETCH:
        git_fetch(m, &effect->fetch);
        break;
    case EFFECT_KEEP_PEER:
        keep_peer(m, &effect->peer);
        break;
    case EFFECT_RAISE_BOOT:
        if (m->boot < effect->boot)
            m->boot = effect->boot;
        break;
    case EFFECT_EVENT:
        report(m, effect->event);
        break;
    }
}

/* ---- the loop ---- */

static void persist(struct machine *m)
{
    for (size_t i = 0; i < m->out.count; i++)
        m->persist_due |= m->out.effects[i].type == EFFECT_LEASE_PERSIST;
    if (!m->persist_due || m->persist_fails)
        return;
    node_export(m->node, world_local(m), &m->saved);
    m->saved_valid = true;
    m->persist_due = false;
}

/* Now and then the process is stopped right here. */
static bool stops(struct machine *m)
{
    if (m->next != m->pause_at)
        return false;
    m->pause_at = SIZE_MAX;
    if (m->next < m->out.count && m->out.effects[m->next].type == EFFECT_FENCE_OPEN) {
        m->clock = world_local(m).ms; /* in the middle of rule 5 */
        m->clock_read = true;
    }
    cluster_stop(m->cluster, m->index, m->pause_ms);
    return true;
}

static void plan_pause(struct machine *m)
{
    static const int64_t longest[] = {30, 300, 3000, 9000};
    struct cluster *c = m->cluster;

    m->pause_at = SIZE_MAX;
    if (m->out.count == 0 || !world_chance(c, c->chances.pause))
        return;
    m->pause_at = rng_index(c->rng, m->out.count + 1);
    m->pause_ms = world_range(c, 1, longest[rng_below(c->rng, 4)]);
}

static void step(struct machine *m, struct node_event *event)
{
    event->wall = world_wall(m->cluster);
    m->cluster->stats.steps++;
    if (node_step(m->node, world_local(m), event, &m->out) != ERR_NONE)
        cluster_break(m->cluster, "pi%zu: a step failed", m->index + 1);
    m->busy = true;
    m->next = 0;
    canary_look(m);
    note_solo(m);
    check_step(m, event);
    plan_pause(m);
}

static bool take_posted(struct machine *m)
{
    struct posted *posted = m->first;
    struct process *p;

    if (posted == NULL)
        return false;
    m->first = posted->next;
    if (m->first == NULL)
        m->last = NULL;
    if (posted->event.type == NODE_EXITED) { /* the shim is told that its end is known */
        p = machine_process(m, posted->name);
        if (p != NULL && p->state == PROCESS_ENDED)
            p->state = PROCESS_NONE;
    }
    step(m, &posted->event);
    free(posted);
    return true;
}

static void arm(struct machine *m)
{
    mono_t due = node_deadline(m->node);

    if (!mono_is_never(due)) /* timers are late, never early */
        due = mono_add(due, m->born + world_range(m->cluster, 0, 1));
    simnet_wake(m->cluster->net, m->index, due);
}

void agent_work(struct machine *m)
{
    struct cluster *c = m->cluster;

    if (m->node == NULL || m->working || world_now(c) < m->paused_until)
        return;
    m->working = true;
    do {
        for (; m->busy; m->next++) {
            if (c->broken[0] != '\0' || stops(m))
                goto out;
            if (m->next == 0)
                persist(m);
            if (m->next == m->out.count)
                m->busy = false;
            else if (!withheld(m, &m->out.effects[m->next]))
                carry_out(m, &m->out.effects[m->next]);
        }
    } while (take_posted(m));
    arm(m);

out:
    m->working = false;
}

/* Copies what @event borrows; its object is the queue's. */
void agent_post(struct machine *m, const struct node_event *event)
{
    struct posted *posted;

    if (m->node == NULL) {
        if (event->type == NODE_DESIRED)
            desired_free(event->desired.desired);
        return;
    }
    posted = world_must(calloc(1, sizeof *posted));
    posted->event = *event;
    if (event->type == NODE_PROBE) {
        snprintf(posted->name, sizeof posted->name, "%s", event->probe.instance);
        posted->event.probe.instance = posted->name;
    } else if (event->type == NODE_CRON) {
        snprintf(posted->name, sizeof posted->name, "%s", event->cron.workload);
        posted->event.cron.workload = posted->name;
    } else if (event->type == NODE_FOUND || event->type == NODE_STARTED ||
               event->type == NODE_EXITED) {
        snprintf(posted->name, sizeof posted->name, "%s", event->instance.instance);
        posted->event.instance.instance = posted->name;
    }
    if (m->last == NULL)
        m->first = posted;
    else
        m->last->next = posted;
    m->last = posted;
    agent_work(m);
}

void agent_wake(struct machine *m)
{
    struct node_event event = {.type = NODE_TIMER};

    agent_work(m); /* what a pause has left */
    if (m->node == NULL || m->busy)
        return;
    if (world_now(m->cluster) == m->paused_until) { /* the socket is read before the timer */
        m->paused_until--;
        simnet_wake(m->cluster->net, m->index, simnet_now(m->cluster->net));
        return;
    }
    if (mono_reached(world_local(m), node_deadline(m->node)))
        agent_post(m, &event);
    else
        arm(m);
}

void agent_receive(struct machine *m, size_t from, const void *data, size_t len)
{
    const struct packet *packet = data;
    struct node_event event = {.type = NODE_MESSAGE};
    struct msg msg;

    agent_work(m);
    if (m->node == NULL)
        return;
    if (packet->kind == PACKET_GATEWAY) {
        event.type = NODE_GATEWAY;
        event.gateway.sent.ms = packet->sent;
        if (packet->life == m->life)
            agent_post(m, &event);
        return;
    }
    if (packet->kind != PACKET_MESSAGE) {
        gateway_replied(m, packet);
        return;
    }
    if (codec_decode(packet->body, len - offsetof(struct packet, body), &msg) != WIRE_OK) {
        cluster_break(m->cluster, "pi%zu: a message cannot be decoded", m->index + 1);
        return;
    }
    event.message.from = m->cluster->machines[from].id;
    event.message.addr = world_addr(&m->cluster->machines[from]);
    event.message.msg = &msg;
    m->addrs[from] = event.message.addr;
    m->heard[from] = world_now(m->cluster);
    if (m->busy) /* stopped once more, with this taken off the socket: as good as lost */
        return;
    agent_post(m, &event);
}
