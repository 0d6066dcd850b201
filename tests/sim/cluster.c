#include "tests/sim/cluster_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WALL_START 1750000000

void *world_must(void *p)
{
    if (p == NULL) {
        fprintf(stderr, "cluster: out of memory\n");
        abort();
    }
    return p;
}

void world_trace(const struct cluster *c, const char *format, ...)
{
    va_list args;

    if (!c->options.trace)
        return;
    printf("%10.3f ", (double)cluster_now(c) / 1e3);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

void cluster_break(struct cluster *c, const char *format, ...)
{
    va_list args;
    int n;

    if (c->broken[0] != '\0')
        return;
    n = snprintf(c->broken, sizeof c->broken, "at %.3f s: ", (double)cluster_now(c) / 1e3);
    va_start(args, format);
    vsnprintf(c->broken + n, sizeof c->broken - (size_t)n, format, args);
    va_end(args);
    world_trace(c, "BROKEN %s", c->broken);
}

const char *cluster_broken(const struct cluster *c)
{
    return c->broken;
}

/* ---- time and chance ---- */

int64_t world_now(const struct cluster *c)
{
    return simnet_now(c->net).ms;
}

int64_t cluster_now(const struct cluster *c)
{
    return world_now(c) - SIMNET_START.ms;
}

mono_t world_local(const struct machine *m)
{
    return (mono_t){world_now(m->cluster) - m->born};
}

int64_t world_wall(const struct cluster *c)
{
    return WALL_START + cluster_now(c) / 1000;
}

bool world_chance(struct cluster *c, double probability)
{
    return probability > 0 && rng_unit(c->rng) < probability;
}

int64_t world_range(struct cluster *c, int64_t low, int64_t high)
{
    return rng_range(c->rng, low, high);
}

struct rng *cluster_rng(struct cluster *c)
{
    return c->rng;
}

double cluster_loss(const struct cluster *c)
{
    return c->options.loss;
}

size_t cluster_count(const struct cluster *c)
{
    return c->options.nodes;
}

struct simnet *cluster_net(struct cluster *c)
{
    return c->net;
}

const struct cluster_stats *cluster_stats(const struct cluster *c)
{
    return &c->stats;
}

uint64_t cluster_starts(const struct cluster *c)
{
    return c->starts;
}

uint64_t cluster_jobs(const struct cluster *c)
{
    return c->jobs;
}

/* ---- tasks ---- */

struct task *world_task(struct machine *m, enum task_kind kind, int64_t delay_ms, uint64_t life)
{
    struct cluster *c = m->cluster;
    size_t slot = c->task_free;

    if (slot == SIZE_MAX) {
        size_t room = c->task_room == 0 ? 64 : 2 * c->task_room;
        c->tasks = world_must(realloc(c->tasks, room * sizeof *c->tasks));
        for (size_t i = c->task_room; i < room; i++)
            c->tasks[i].next_free = i + 1 < room ? i + 1 : SIZE_MAX;
        slot = c->task_room;
        c->task_room = room;
    }
    c->task_free = c->tasks[slot].next_free;
    memset(&c->tasks[slot], 0, sizeof c->tasks[slot]);
    c->tasks[slot].kind = kind;
    c->tasks[slot].node = m->index;
    c->tasks[slot].life = life;
    simnet_script(c->net, mono_add(simnet_now(c->net), delay_ms), slot);
    return &c->tasks[slot];
}

static void run_task(struct cluster *c, size_t slot)
{
    struct task task = c->tasks[slot];
    struct machine *m = &c->machines[task.node];

    c->tasks[slot].next_free = c->task_free;
    c->task_free = slot;
    if (task.life != 0 && task.life != m->life)
        return;
    switch (task.kind) {
    case TASK_START:
        agent_begin(m);
        break;
    case TASK_END:
        world_trace(c, "pi%zu agent ends", m->index + 1);
        agent_end(m);
        m->saved_valid = false;
        break;
    case TASK_RESUME:
        agent_work(m);
        break;
    case TASK_ANNOUNCE:
        client_task(m, (size_t)task.serial);
        break;
    case TASK_SYNC:
        git_task(m);
        break;
    case TASK_CRON:
    case TASK_PEER:
    case TASK_VOTERS:
        agent_task(m, &task);
        break;
    default:
        machine_task(m, &task);
        break;
    }
}

/* ---- the flock ---- */

size_t world_index(const struct cluster *c, node_id id)
{
    for (size_t i = 0; i < c->options.nodes; i++)
        if (node_id_equal(c->machines[i].id, id))
            return i;
    return SIZE_MAX;
}

struct addr world_addr(const struct machine *m)
{
    return (struct addr){.family = 4,
                         .ip = {10, 1, (uint8_t)(m->moves % 256), (uint8_t)(m->index + 1)},
                         .port = 8801};
}

static void make_head(struct machine *m, size_t serial, struct value_head *head)
{
    memset(head, 0, sizeof *head);
    memset(head->public_key, (int)m->index + 1, sizeof head->public_key);
    snprintf(head->name, sizeof head->name, "pi%zu", m->index + 1);
    head->role = VALUE_ROLE_AGENT;
    head->serial = (uint32_t)serial + 1;
    head->addr = world_addr(m);
    snprintf(head->version, sizeof head->version, "0.1.0");
}

static void make_machine(struct cluster *c, size_t index)
{
    struct machine *m = &c->machines[index];
    char name[32];

    snprintf(name, sizeof name, "key of pi%zu", index + 1);
    m->cluster = c;
    m->index = index;
    m->id = (node_id){hash64_string(name)};
    m->born = world_now(c) - rng_range(c->rng, 0, 100000);
    m->head = -1;
    m->powered = true;
    m->life = 1; /* 0 in a task is the machine itself */
    m->pause_at = SIZE_MAX;
    m->known = world_must(calloc(c->options.nodes, sizeof *m->known));
    m->heads = world_must(calloc(c->options.nodes, sizeof *m->heads));
    m->addrs = world_must(calloc(c->options.nodes, sizeof *m->addrs));
    m->heard = world_must(calloc(c->options.nodes, sizeof *m->heard));
}

struct cluster *cluster_create(const struct cluster_options *options)
{
    struct cluster *c = world_must(calloc(1, sizeof *c));
    size_t n = options->nodes;

    c->options = *options;
    c->net = simnet_create(n + 1, options->seed);
    c->rng = simnet_rng(c->net);
    c->task_free = SIZE_MAX;
    client_create(c);
    c->tip = c->newest = -1;
    c->cuts = world_must(calloc((n + 1) * (n + 1), sizeof *c->cuts));
    c->machines = world_must(calloc(n, sizeof *c->machines));
    for (size_t i = 0; i < n; i++)
        make_machine(c, i);
    for (size_t i = 0; i < n; i++) {
        struct machine *m = &c->machines[i];
        make_head(m, i, &m->heads[i]);
        m->member = !options->strangers || i == 0;
        for (size_t k = 0; k < n && !options->strangers; k++) {
            m->known[k] = k != i;
            make_head(&c->machines[k], k, &m->heads[k]);
        }
        if (m->member)
            world_task(m, TASK_START, rng_range(c->rng, 0, 2000), m->life);
    }
    cluster_heal(c);
    return c;
}

void cluster_destroy(struct cluster *c)
{
    for (size_t i = 0; i < c->options.nodes; i++) {
        struct machine *m = &c->machines[i];
        agent_end(m);
        free(m->known);
        free(m->heads);
        free(m->addrs);
        free(m->heard);
    }
    desired_free(c->desired);
    simnet_destroy(c->net);
    free(c->cuts);
    free(c->tasks);
    free(c->machines);
    free(c);
}

static void gateway_answers(struct cluster *c, const struct simnet_event *event)
{
    if (!client_hears(c, event->from, event->data, event->len))
        gateway_hears(c, event->from, event->data, event->len);
}

bool cluster_run(struct cluster *c, int64_t ms)
{
    mono_t until = mono_add(simnet_now(c->net), ms);
    struct simnet_event event;

    while (c->broken[0] == '\0' && simnet_next(c->net, until, &event)) {
        if (event.kind == SIMNET_SCRIPT)
            run_task(c, (size_t)event.tag);
        else if (event.kind == SIMNET_DELIVER && event.node == c->options.nodes)
            gateway_answers(c, &event);
        else if (event.kind == SIMNET_DELIVER)
            agent_receive(&c->machines[event.node], event.from, event.data, event.len);
        else
            agent_wake(&c->machines[event.node]);
    }
    return c->broken[0] == '\0';
}

/* ---- faults ---- */

void cluster_cut(struct cluster *c, size_t from, size_t to, bool cut)
{
    if (from == to)
        return;
    world_trace(c, "link %zu to %zu %s", from + 1, to + 1, cut ? "cut" : "whole");
    c->disturbed |= cut;
    c->cuts[from * (c->options.nodes + 1) + to] = cut;
    simnet_cut(c->net, from, to, cut);
}

void cluster_partition(struct cluster *c, uint64_t sides, unsigned gateway)
{
    size_t n = c->options.nodes;

    for (size_t a = 0; a < n; a++) {
        bool left = sides >> (a % 64) & 1;
        bool reaches = gateway >> left & 1;
        for (size_t b = 0; b < n; b++)
            cluster_cut(c, a, b, left != (sides >> (b % 64) & 1));
        cluster_cut(c, a, n, !reaches);
        cluster_cut(c, n, a, !reaches);
    }
}

void cluster_heal(struct cluster *c)
{
    world_trace(c, "nothing is wrong any more");
    simnet_heal(c->net);
    simnet_set_loss(c->net, c->options.loss);
    simnet_set_delay(c->net, SIMNET_WIFI);
    memset(c->cuts, 0, (c->options.nodes + 1) * (c->options.nodes + 1) * sizeof *c->cuts);
    c->chances = (struct cluster_chances){0};
    c->disturbed = false;
    for (size_t i = 0; i < c->options.nodes; i++) {
        c->machines[i].persist_fails = false;
        for (size_t k = 0; k < PROCESSES_MAX; k++) /* what no liveness probe watches stays sick */
            c->machines[i].processes[k].sick = false;
    }
}

void cluster_set_chances(struct cluster *c, const struct cluster_chances *chances)
{
    c->chances = *chances;
}

void cluster_disturb(struct cluster *c)
{
    c->disturbed = true;
}

bool world_linked(const struct cluster *c, size_t a, size_t b)
{
    return !c->cuts[a * (c->options.nodes + 1) + b] && !c->cuts[b * (c->options.nodes + 1) + a];
}

bool cluster_running(const struct cluster *c, size_t node)
{
    return c->machines[node].node != NULL;
}

void cluster_kill(struct cluster *c, size_t node, int64_t restart_ms)
{
    struct machine *m = &c->machines[node];

    if (m->node == NULL)
        return;
    world_trace(c, "pi%zu agent killed", node + 1);
    agent_end(m);
    if (restart_ms != CLUSTER_NEVER)
        world_task(m, TASK_START, restart_ms, m->life);
}

void cluster_power_cut(struct cluster *c, size_t node, int64_t off_ms)
{
    struct machine *m = &c->machines[node];

    world_trace(c, "pi%zu loses power", node + 1);
    agent_end(m);
    m->powered = false;
    m->off_at = world_now(c);
    m->saved_valid = false;
    m->agent_ran = false;
    memset(m->processes, 0, sizeof m->processes);
    memset(m->fences, 0, sizeof m->fences);
    if (off_ms != CLUSTER_NEVER)
        world_task(m, TASK_START, off_ms + rng_range(c->rng, 3000, 12000), m->life);
}

void cluster_start(struct cluster *c, size_t node)
{
    struct machine *m = &c->machines[node];

    if (m->node == NULL && m->member) {
        m->life++; /* a start that was planned does not happen */
        agent_begin(m);
    }
}

void cluster_stop(struct cluster *c, size_t node, int64_t ms)
{
    struct machine *m = &c->machines[node];

    if (m->node == NULL || m->paused_until >= world_now(c) + ms)
        return;
    world_trace(c, "pi%zu agent stops for %lld ms", node + 1, (long long)ms);
    m->paused_until = world_now(c) + ms;
    simnet_pause(c->net, node, (mono_t){m->paused_until});
    world_task(m, TASK_RESUME, ms, m->life);
}

void cluster_move(struct cluster *c, size_t node)
{
    struct machine *m = &c->machines[node];
    struct node_event event = {.type = NODE_ADDRESS};

    m->moves++;
    m->heads[node].addr = world_addr(m);
    event.address = world_addr(m);
    world_trace(c, "pi%zu gets another address", node + 1);
    agent_post(m, &event);
}

void cluster_persist_fails(struct cluster *c, size_t node, bool fails)
{
    c->machines[node].persist_fails = fails;
}

/* ---- people ---- */

void cluster_admit(struct cluster *c, size_t node)
{
    struct machine *first = &c->machines[0];
    struct machine *m = &c->machines[node];
    struct node_event event = {.type = NODE_ADMIT, .peer.id = m->id};

    if (m->member || first->node == NULL)
        return;
    world_trace(c, "pi%zu joins", node + 1);
    m->member = true;
    m->known[0] = true;
    m->heads[0] = first->heads[0];
    first->known[node] = true; /* stored before the newcomer is answered */
    first->heads[node] = m->heads[node];
    event.peer.head = m->heads[node];
    agent_post(first, &event);
    world_task(m, TASK_START, 100, m->life);
}

void cluster_drain(struct cluster *c, size_t node, bool on)
{
    struct node_event event = {.type = NODE_DRAIN, .drain = on};

    world_trace(c, "pi%zu drains: %d", node + 1, on);
    c->machines[node].drained = on;
    agent_post(&c->machines[node], &event);
}

void cluster_leave(struct cluster *c, size_t node)
{
    struct machine *m = &c->machines[node];
    struct node_event event = {.type = NODE_LEAVE};

    if (m->node == NULL)
        return;
    world_trace(c, "pi%zu leaves", node + 1);
    m->drained = false;
    agent_post(m, &event);
    world_task(m, TASK_END, 500, m->life);
}
