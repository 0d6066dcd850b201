/* What survives an agent: the kernel's fences, and workloads under their shims. Safety is checked
 * here, where something comes to hold: it counts what the kernel answers for and which processes
 * live, not what a node believes. */
#include "tests/sim/cluster_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define OMEGA_MS 20 /* rule 5: an older clock reading does not count */
#define JIFFY_MS 10 /* the kernel's timers are late by up to this */
#define REFERENCE "API_URL"

/* ---- fences ---- */

size_t machine_vip(const struct addr *address)
{
    return (size_t)(address->ip[3] - 210);
}

bool machine_fence_open(const struct machine *m, size_t vip)
{
    return m->fences[vip].open_until > world_now(m->cluster);
}

/* G3 of docs/vip.md: two solo leases, at least one claimed after P, neither of them still within a
 * lease that the peer had granted. */
static bool excused(int64_t now, const struct fence *a, const struct fence *b)
{
    return a->solo && b->solo && (a->claimed || b->claimed) && a->granted_until <= now &&
           b->granted_until <= now;
}

/* The one hole that docs/vip.md names beside G3: who was cut off before it heard that its set of
 * two became one of three may be solo while the new set's majority has another holder. */
static bool left_behind(const struct cluster *c, const struct fence *a, const struct fence *b)
{
    return c->disturbed && a->solo && a->claimed && a->set < b->set;
}

/* A fence opens only by being written, so no overlap begins anywhere else. */
static void check_overlap(struct machine *m, size_t vip)
{
    struct cluster *c = m->cluster;

    for (size_t i = 0; i < c->options.nodes; i++) {
        struct machine *other = &c->machines[i];
        if (other == m || !machine_fence_open(other, vip))
            continue;
        if (excused(world_now(c), &m->fences[vip], &other->fences[vip]) ||
            left_behind(c, &m->fences[vip], &other->fences[vip]) ||
            left_behind(c, &other->fences[vip], &m->fences[vip]))
            c->stats.solo_overlaps++;
        else
            cluster_break(c, "pi%zu and pi%zu both answer for address %zu (solo: %d %d)",
                          m->index + 1, i + 1, vip, m->fences[vip].solo, other->fences[vip].solo);
    }
}

static void answer_fence(struct machine *m, const struct effect_fence *fence, bool open,
                         bool failed)
{
    struct node_event event = {.type = NODE_FENCE};

    event.fence.lease = fence->lease;
    event.fence.number = fence->number;
    event.fence.open = open;
    event.fence.failed = failed;
    event.fence.reason = failed ? "it was written too late" : NULL;
    agent_post(m, &event);
}

/* Rule 5: read the clock, write a relative timeout, read again. The agent may stop behind the first
 * reading (cluster_agent.c). */
void machine_open_fence(struct machine *m, const struct effect_fence *effect)
{
    struct cluster *c = m->cluster;
    size_t vip = machine_vip(&effect->address);
    struct fence *fence = &m->fences[vip];
    int64_t local = world_local(m).ms;
    int64_t read = m->clock_read ? m->clock : local;
    int64_t left = effect->until.ms - read;

    m->clock_read = false;
    if (left <= 0 || local - read > OMEGA_MS) {
        c->stats.late_writes += left > 0;
        fence->open_until = world_now(c);
        answer_fence(m, effect, false, true);
        return;
    }
    fence->open_until = world_now(c) + left + world_range(c, 0, JIFFY_MS);
    fence->solo = m->solo[vip];
    fence->claimed = m->claimed[vip];
    fence->set = leases_voters_number(m->node->leases);
    if (!fence->solo)
        fence->granted_until = world_now(c) + effect->until.ms - local;
    check_overlap(m, vip);
    answer_fence(m, effect, true, false);
}

void machine_shut_fence(struct machine *m, const struct effect_fence *effect)
{
    struct fence *fence = &m->fences[machine_vip(&effect->address)];

    fence->open_until = world_now(m->cluster);
    fence->granted_until = fence->open_until;
    answer_fence(m, effect, false, false);
}

/* ---- processes ---- */

struct process *machine_process(struct machine *m, const char *name)
{
    for (size_t i = 0; i < PROCESSES_MAX; i++)
        if (m->processes[i].state != PROCESS_NONE && strcmp(m->processes[i].name, name) == 0)
            return &m->processes[i];
    return NULL;
}

static struct process *by_serial(struct machine *m, uint64_t serial)
{
    for (size_t i = 0; i < PROCESSES_MAX; i++)
        if (m->processes[i].state != PROCESS_NONE && m->processes[i].serial == serial)
            return &m->processes[i];
    return NULL;
}

bool process_healthy(const struct machine *m, const struct process *p)
{
    return p->state == PROCESS_RUNNING && !p->sick && !p->fails &&
           world_now(m->cluster) >= p->healthy_at;
}

static void post_process(struct machine *m, const struct process *p, enum node_event_type type)
{
    struct node_event event = {.type = type};

    event.instance.instance = p->name;
    event.instance.generation = p->generation;
    event.instance.pid = p->pid;
    event.instance.started_at = p->started_at;
    event.instance.stopping = p->stopping;
    event.instance.probe_port = p->probe_port;
    event.instance.port_count = p->port_count;
    memcpy(event.instance.ports, p->ports, sizeof p->ports);
    if (type == NODE_EXITED)
        event.instance.exit = p->exit;
    agent_post(m, &event);
}

static void post_failed(struct machine *m, const char *name, int errnum, const char *reason)
{
    struct node_event event = {.type = NODE_EXITED};

    event.instance.instance = name;
    event.instance.exit = (struct supervise_exit){SUPERVISE_EXIT_FAILED, errnum};
    event.instance.reason = reason;
    agent_post(m, &event);
}

static struct started *find_started(struct cluster *c, uint64_t generation)
{
    for (size_t i = c->started_count < STARTED_MAX ? c->started_count : STARTED_MAX; i-- > 0;)
        if (c->started[i].generation == generation)
            return &c->started[i];
    return NULL;
}

/* One tick is one run, on one node; only its own agent, without a break, may try a failed one
 * again. */
static bool check_tick(struct machine *m, const struct effect_start *start)
{
    struct cluster *c = m->cluster;
    struct started *known = find_started(c, start->generation);

    if (known != NULL && (known->well || known->node != m->index || known->life != m->life)) {
        cluster_break(c, "pi%zu runs a tick of %s that pi%zu ran", m->index + 1, start->instance,
                      known->node + 1);
        return false;
    }
    if (known == NULL)
        c->started[c->started_count++ % STARTED_MAX] =
            (struct started){.generation = start->generation, .node = m->index, .life = m->life};
    return true;
}

void machine_end_process(struct machine *m, struct process *p, struct supervise_exit exit)
{
    struct cluster *c = m->cluster;

    world_trace(c, "pi%zu     %s ends (%d, %d)", m->index + 1, p->name, (int)exit.kind, exit.value);
    if (p->cron && exit.kind == SUPERVISE_EXIT_CODE && exit.value == 0) {
        struct started *started = find_started(c, p->generation);
        if (started != NULL)
            started->well = true;
        c->jobs++;
    }
    p->state = PROCESS_ENDED;
    p->exit = exit;
    post_process(m, p, NODE_EXITED);
}

static bool port_taken(struct machine *m, uint16_t port)
{
    for (size_t i = 0; i < PROCESSES_MAX; i++)
        for (uint8_t k = 0; k < m->processes[i].port_count; k++)
            if ((m->processes[i].state == PROCESS_STARTING ||
                 m->processes[i].state == PROCESS_RUNNING) &&
                m->processes[i].ports[k].port == port)
                return true;
    return false;
}

/* The other process of the instance holds the sockets that this one gets too. */
static const struct process *find_sharer(const struct machine *m, const struct process *p)
{
    char name[INSTANCE_MAX], other[INSTANCE_MAX];

    effect_base(p->name, name);
    for (size_t i = 0; i < PROCESSES_MAX; i++) {
        const struct process *q = &m->processes[i];
        effect_base(q->name, other);
        if (q != p && q->state != PROCESS_NONE && q->probe_port != 0 && strcmp(name, other) == 0)
            return q;
    }
    return NULL;
}

static void pick_ports(struct machine *m, struct process *p, const struct desired_workload *w)
{
    const struct process *sharer = w->hand_over ? find_sharer(m, p) : NULL;

    if (w->hand_over)
        p->probe_port = (uint16_t)world_range(m->cluster, 40000, 49999);
    if (sharer != NULL) {
        memcpy(p->ports, sharer->ports, sizeof p->ports);
        p->port_count = sharer->port_count;
        return;
    }
    for (size_t i = 0; i < w->port_count; i++) {
        uint16_t port = w->ports[i].port;
        while (port == 0 || port_taken(m, port))
            port = (uint16_t)world_range(m->cluster, 20000, 29999);
        snprintf(p->ports[i].name, sizeof p->ports[i].name, "%s", w->ports[i].name);
        p->ports[i].port = port;
        p->port_count++;
    }
}

static struct process *free_process(struct machine *m)
{
    for (size_t i = 0; i < PROCESSES_MAX; i++)
        if (m->processes[i].state == PROCESS_NONE)
            return &m->processes[i];
    return NULL;
}

void machine_start(struct machine *m, const struct effect_start *start)
{
    struct cluster *c = m->cluster;
    struct process *p = machine_process(m, start->instance);
    const char *reference = desired_map_get(&start->env, REFERENCE);
    const char *revision = desired_map_get(&start->env, "REVISION");

    if (p != NULL && p->orphan && p->state == PROCESS_STARTING) {
        post_failed(m, start->instance, EEXIST, "its shim lives");
        return;
    }
    if (p != NULL) {
        cluster_break(c, "pi%zu starts %s while a process of it lives", m->index + 1,
                      start->instance);
        return;
    }
    if (start->workload->cron && !check_tick(m, start))
        return;
    p = free_process(m);
    if (p == NULL) {
        cluster_break(c, "pi%zu has %d processes", m->index + 1, PROCESSES_MAX);
        return;
    }
    *p = (struct process){.state = PROCESS_STARTING,
                          .serial = ++c->serials,
                          .generation = start->generation,
                          .singleton = start->workload->singleton,
                          .cron = start->workload->cron,
                          .deadline = start->lease_until.ms,
                          .fails = revision != NULL &&
                                   strncmp(revision, PROCESS_SICK, strlen(PROCESS_SICK)) == 0};
    m->sick_starts += p->fails;
    snprintf(p->name, sizeof p->name, "%s", start->instance);
    snprintf(p->endpoint, sizeof p->endpoint, "%s", reference != NULL ? reference : "");
    pick_ports(m, p, start->workload);
    world_trace(c, "pi%zu     %s starts %s", m->index + 1, p->name, p->endpoint);
    c->starts += !p->cron;
    world_task(m, TASK_FORK, world_range(c, 5, 80), 0)->serial = p->serial;
}

static void end_later(struct machine *m, const struct process *p, int64_t delay_ms,
                      struct supervise_exit exit)
{
    struct task *task = world_task(m, TASK_EXIT, delay_ms, 0);

    task->serial = p->serial;
    task->exit = exit;
}

static void check_singleton(struct machine *m, const struct process *p)
{
    struct cluster *c = m->cluster;

    for (size_t i = 0; i < c->options.nodes && p->singleton; i++) {
        struct process *other = machine_process(&c->machines[i], p->name);
        if (other != NULL && other != p && other->state == PROCESS_RUNNING)
            cluster_break(c, "pi%zu and pi%zu both run the singleton %s", m->index + 1, i + 1,
                          p->name);
    }
}

static void forked(struct machine *m, struct process *p)
{
    struct cluster *c = m->cluster;
    bool late = p->deadline != FOREVER && world_local(m).ms >= p->deadline;
    bool orphan = p->orphan;

    if (late || world_chance(c, c->chances.start_fails)) {
        p->state = PROCESS_NONE;
        post_failed(m, p->name, ENOEXEC, late ? "its lease has ended" : "no such program");
        return;
    }
    p->state = PROCESS_RUNNING;
    p->pid = (int32_t)(p->serial & 0x3fffff) + 1;
    p->started_at = world_local(m);
    p->healthy_at = world_now(c) + world_range(c, 50, 1500);
    check_singleton(m, p);
    if (p->deadline != FOREVER)
        world_task(m, TASK_DEADLINE, p->deadline - world_local(m).ms, 0)->serial = p->serial;
    if (p->cron)
        end_later(
            m, p, world_range(c, 300, 12000),
            (struct supervise_exit){SUPERVISE_EXIT_CODE, world_chance(c, c->chances.job_fails)});
    if (p->stop_wanted)
        end_later(m, p, 3, (struct supervise_exit){SUPERVISE_EXIT_SIGNAL, SIGTERM});
    p->orphan = false;
    post_process(m, p, orphan ? NODE_FOUND : NODE_STARTED);
}

void cluster_require(struct cluster *c, unsigned least)
{
    c->least_ready = least;
}

static void check_least(struct machine *m, const struct process *stopped)
{
    struct cluster *c = m->cluster;
    unsigned others = 0;

    if (c->least_ready == 0 || stopped->stopping || !process_healthy(m, stopped) ||
        strncmp(stopped->name, "rest-api.", strlen("rest-api.")) != 0)
        return;
    for (size_t i = 0; i < c->options.nodes; i++)
        for (size_t k = 0; k < PROCESSES_MAX; k++) {
            const struct process *p = &c->machines[i].processes[k];
            others += p != stopped && !p->stopping && process_healthy(&c->machines[i], p) &&
                      strncmp(p->name, "rest-api.", strlen("rest-api.")) == 0;
        }
    if (others < c->least_ready)
        cluster_break(c, "pi%zu ends %s, and %u others are ready instead of %u", m->index + 1,
                      stopped->name, others, c->least_ready);
}

void machine_stop(struct machine *m, const struct effect_stop *stop)
{
    struct cluster *c = m->cluster;
    struct process *p = machine_process(m, stop->instance);
    struct supervise_exit killed = {SUPERVISE_EXIT_SIGNAL, SIGKILL};

    if (p == NULL || p->state == PROCESS_ENDED)
        return;
    world_trace(c, "pi%zu     %s is told to end (%d)", m->index + 1, p->name, stop->signal);
    check_least(m, p);
    p->stopping = true;
    if (p->state == PROCESS_STARTING)
        p->stop_wanted = true;
    else if (stop->signal == 0)
        end_later(m, p, world_range(c, 1, 8), killed);
    else if (world_chance(c, 0.1)) /* it does not listen */
        end_later(m, p, stop->timeout_ms + 3, killed);
    else
        end_later(m, p, world_range(c, 5, 400),
                  (struct supervise_exit){SUPERVISE_EXIT_SIGNAL, stop->signal});
}

/* A deadline only moves away, and not after it has passed. */
void machine_extend(struct machine *m, const struct effect_stop *extend)
{
    struct process *p = machine_process(m, extend->instance);
    int64_t until = extend->until.ms;

    if (p == NULL || p->state == PROCESS_ENDED || p->deadline == FOREVER || until <= p->deadline ||
        world_local(m).ms >= p->deadline)
        return;
    p->deadline = until;
    if (p->state == PROCESS_RUNNING)
        world_task(m, TASK_DEADLINE, until - world_local(m).ms, 0)->serial = p->serial;
}

void machine_probe(struct machine *m, const struct effect_probe *probe)
{
    struct cluster *c = m->cluster;
    const struct process *p = machine_process(m, probe->instance);
    bool good = p != NULL && process_healthy(m, p);
    struct task *task;

    if (probe->target.port != 0 && p != NULL && p->state == PROCESS_RUNNING &&
        probe->target.port != (p->probe_port != 0 ? p->probe_port : p->ports[0].port))
        cluster_break(c, "pi%zu probes %s at port %u, where it does not listen", m->index + 1,
                      probe->instance, (unsigned)probe->target.port);
    task = world_task(m, TASK_PROBE, good ? world_range(c, 1, 60) : probe->timeout_ms, m->life);
    snprintf(task->name, sizeof task->name, "%s", probe->instance);
    task->event.type = NODE_PROBE;
    task->event.probe.which = probe->which;
    task->event.probe.ticket = probe->ticket;
    task->event.probe.success = good;
    task->event.probe.reason = good ? NULL : "no answer in time";
}

void machine_scan(struct machine *m)
{
    for (size_t i = 0; i < PROCESSES_MAX; i++) {
        struct process *p = &m->processes[i];
        if (p->state == PROCESS_RUNNING || p->state == PROCESS_ENDED)
            post_process(m, p, NODE_FOUND);
        if (p->state == PROCESS_ENDED)
            post_process(m, p, NODE_EXITED);
    }
}

void machine_task(struct machine *m, struct task *task)
{
    struct process *p = by_serial(m, task->serial);

    if (task->kind == TASK_PROBE) {
        task->event.probe.instance = task->name;
        agent_post(m, &task->event);
        return;
    }
    if (p == NULL || p->state == PROCESS_ENDED || !m->powered)
        return;
    switch (task->kind) {
    case TASK_FORK:
        forked(m, p);
        break;
    case TASK_EXIT:
        machine_end_process(m, p, task->exit);
        break;
    default: /* TASK_DEADLINE */
        if (world_local(m).ms >= p->deadline)
            machine_end_process(m, p, (struct supervise_exit){SUPERVISE_EXIT_LEASE, 0});
        break;
    }
}

/* ---- what may happen to them ---- */

static struct process *any_process(struct cluster *c, struct machine *m)
{
    struct process *found = NULL;
    uint64_t seen = 0;

    for (size_t i = 0; i < PROCESSES_MAX; i++)
        if (m->processes[i].state == PROCESS_RUNNING && rng_below(c->rng, ++seen) == 0)
            found = &m->processes[i];
    return found;
}

void cluster_crash_process(struct cluster *c, size_t node)
{
    static const struct supervise_exit ways[] = {{SUPERVISE_EXIT_CODE, 1},
                                                 {SUPERVISE_EXIT_CODE, 0},
                                                 {SUPERVISE_EXIT_SIGNAL, SIGSEGV},
                                                 {SUPERVISE_EXIT_LOST, 0}};
    struct machine *m = &c->machines[node];
    struct process *p = any_process(c, m);

    if (p != NULL && !p->cron)
        machine_end_process(m, p, ways[rng_below(c->rng, 4)]);
}

void cluster_sicken_process(struct cluster *c, size_t node)
{
    struct process *p = any_process(c, &c->machines[node]);

    if (p == NULL)
        return;
    world_trace(c, "pi%zu     %s answers no more", node + 1, p->name);
    p->sick = true;
}
