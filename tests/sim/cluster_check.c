/* What must hold when the faults are over. */
#include "tests/sim/cluster_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MS 250 /* between looks at a flock that settles */
/* Longer than a node's silence after a power cut, in which the other's lease may run out: it lives
 * on the votes from before. */
#define STEADY_MS (LEASE_SILENCE_BOOT + 800)

struct why {
    char *text;
    size_t size;
};

static bool no(const struct why *why, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool no(const struct why *why, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(why->text, why->size, format, args);
    va_end(args);
    return false;
}

int cluster_vip_owner(const struct cluster *c, size_t vip)
{
    for (size_t i = 0; i < c->options.nodes; i++)
        if (machine_fence_open(&c->machines[i], vip))
            return (int)i;
    return -1;
}

static bool belongs(const char *instance, const char *workload)
{
    size_t len = strlen(workload);

    return strncmp(instance, workload, len) == 0 && instance[len] == '.';
}

unsigned cluster_ready(const struct cluster *c, const char *workload)
{
    unsigned ready = 0;

    for (size_t i = 0; i < c->options.nodes; i++)
        for (size_t k = 0; k < PROCESSES_MAX; k++) {
            const struct process *p = &c->machines[i].processes[k];
            ready += p->state == PROCESS_RUNNING && belongs(p->name, workload) &&
                     process_healthy(&c->machines[i], p);
        }
    return ready;
}

bool cluster_vouches(const struct cluster *c, size_t node, const char *workload)
{
    const struct machine *m = &c->machines[node];

    for (size_t k = 0; k < PROCESSES_MAX; k++) {
        const struct process *p = &m->processes[k];
        const struct instance *instance;
        if (p->state != PROCESS_RUNNING || !belongs(p->name, workload))
            continue;
        instance = m->node != NULL ? node_find_instance(m->node, p->name) : NULL;
        if (instance == NULL || instance->published.state != VALUE_READY)
            return false;
    }
    return true;
}

bool cluster_diverged(const struct cluster *c, size_t node)
{
    const struct node *n = c->machines[node].node;

    return n != NULL && n->commit.state == VALUE_COMMIT_DIVERGED;
}

bool cluster_applied(const struct cluster *c)
{
    for (size_t i = 0; i < c->options.nodes; i++) {
        const struct node *n = c->machines[i].node;
        if (n != NULL && strcmp(n->commit.commit, c->commits[c->tip].id) != 0)
            return false;
    }
    return true;
}

bool cluster_all_good(const struct cluster *c)
{
    for (size_t i = 0; i < c->options.nodes; i++) {
        const struct node *n = c->machines[i].node;
        if (n != NULL && n->rollout.state != ROLLOUT_GOOD)
            return false;
    }
    return true;
}

unsigned cluster_sick_starts(const struct cluster *c, size_t node)
{
    return c->machines[node].sick_starts;
}

#define ROLLOUT_SLACK_MS 8000 /* the load of the last good one, tried again after 5 s */

/* When the last node took the commit in. */
static int64_t latest(const struct cluster *c, int commit)
{
    int64_t at = 0;

    for (size_t i = 0; i < c->options.nodes; i++)
        if (c->machines[i].applied_at[commit] > at)
            at = c->machines[i].applied_at[commit];
    return at;
}

void cluster_check_rollout(struct cluster *c, bool calm)
{
    for (size_t i = 0; i < c->options.nodes; i++) {
        const struct machine *m = &c->machines[i];
        int commit = m->sync.applied;
        const struct rollout *rollout;
        int64_t limit;
        if (m->node == NULL || commit < 0 || !c->commits[commit].spec.fails ||
            m->node->held.desired != NULL || m->marks.good[0][0] == '\0')
            continue;
        /* Where nothing else is wrong nobody runs it any more, also after one replica waited for
         * its turn while another was tried; else nobody still waits for it past its deadline. */
        rollout = &m->node->rollout;
        limit = 2 * (int64_t)c->commits[commit].spec.health_s * 1000 + ROLLOUT_SLACK_MS;
        if (calm && world_now(c) - latest(c, commit) > limit)
            cluster_break(c, "pi%zu runs commit %d, which fails, %lld ms after it came", i + 1,
                          commit, (long long)(world_now(c) - latest(c, commit)));
        if (!calm && rollout->state == ROLLOUT_WAITING &&
            rollout_health(rollout, world_local(m)) == VALUE_HEALTH_TRYING &&
            world_local(m).ms > rollout->deadline.ms + ROLLOUT_SLACK_MS)
            cluster_break(c, "pi%zu waits for commit %d, which fails, past its deadline", i + 1,
                          commit);
    }
}

/* A node that takes part: no good-bye, not drained, agent running. */
static bool takes_part(const struct machine *m)
{
    return m->node != NULL && !m->node->left;
}

static bool check_views(const struct cluster *c, const struct machine *m, const struct why *why)
{
    size_t known = 0;

    for (size_t i = 0; i < m->node->peer_count; i++) {
        const struct peer *peer = &m->node->peers[i];
        size_t k = world_index(c, peer->id);
        bool alive = peer->state == MEMBER_ALIVE;
        known += takes_part(&c->machines[k]);
        if (alive != takes_part(&c->machines[k]))
            return no(why, "pi%zu sees pi%zu as %s", m->index + 1, k + 1,
                      member_state_name(peer->state));
    }
    for (size_t i = 0; i < c->options.nodes; i++)
        known -= takes_part(&c->machines[i]);
    return known == 0 || no(why, "pi%zu does not know every node", m->index + 1);
}

static bool check_agreement(struct cluster *c, const struct why *why)
{
    const struct machine *first = NULL;

    for (size_t i = 0; i < c->options.nodes; i++) {
        const struct machine *m = &c->machines[i];
        if (!takes_part(m))
            continue;
        if (world_now(c) < m->paused_until)
            return no(why, "pi%zu is stopped", i + 1);
        if (!check_views(c, m, why))
            return false;
        if (c->tip >= 0 && strcmp(m->node->commit.commit, c->commits[c->tip].id) != 0)
            return no(why, "pi%zu applies \"%.8s\" instead of commit %d", i + 1,
                      m->node->commit.commit, c->tip);
        if (m->node->commit.state == VALUE_COMMIT_DIVERGED)
            return no(why, "pi%zu shows a commit as diverged", i + 1);
        if (first == NULL)
            first = m;
        if (records_root(m->node->records) != records_root(first->node->records))
            return no(why, "pi%zu and pi%zu hold other records", first->index + 1, i + 1);
    }
    return true;
}

/* ---- workloads ---- */

static bool eligible(const struct cluster *c, const struct machine *m,
                     const struct desired_workload *w)
{
    const struct desired_node *known = desired_node(c->desired, m->heads[m->index].name);
    struct place_node node = {.name = m->heads[m->index].name,
                              .labels = known != NULL ? &known->labels : NULL};

    return takes_part(m) && !m->drained && place_eligible(w, &node);
}

/* The reference in its environment leads to a ready process. */
static bool check_endpoint(struct cluster *c, const struct process *p, const struct why *why)
{
    for (size_t i = 0; i < c->options.nodes && p->endpoint[0] != '\0'; i++) {
        struct machine *m = &c->machines[i];
        struct addr addr = world_addr(m);
        char text[ADDR_TEXT + 8] = "http://";
        for (size_t k = 0; k < PROCESSES_MAX; k++) {
            struct process *to = &m->processes[k];
            if (!belongs(to->name, "rest-api") || !process_healthy(m, to))
                continue;
            addr.port = to->ports[0].port;
            addr_format(&addr, text + strlen("http://"));
            if (strcmp(text, p->endpoint) == 0)
                return true;
        }
    }
    return p->endpoint[0] == '\0' ||
           no(why, "%s was told of %s, where nothing answers", p->name, p->endpoint);
}

/* What the flock shows of a process: its own node's record is the one that all others have. */
static bool check_record(const struct machine *m, const struct process *p, const struct why *why)
{
    const struct instance *instance = node_find_process(m->node, p->name);

    if (instance == NULL)
        return no(why, "pi%zu runs %s and does not know it", m->index + 1, p->name);
    if (instance->machine.state != SUPERVISE_READY)
        return no(why, "pi%zu has %s as %s", m->index + 1, p->name,
                  supervise_state_name(instance->machine.state));
    if (instance->published.state != VALUE_READY || instance->published.pid != (uint32_t)p->pid)
        return no(why, "pi%zu publishes %s wrongly", m->index + 1, p->name);
    if (instance->outdated || instance->elder != NULL)
        return no(why, "pi%zu: %s waits for its turn", m->index + 1, p->name);
    if (instance->machine.run_generation != p->generation)
        return no(why, "pi%zu: %s runs another generation", m->index + 1, p->name);
    return true;
}

/* Whether enough voters live for a lease. */
static bool majority_lives(const struct cluster *c)
{
    const struct voter_set *set = &c->machines[0].voters.current;
    unsigned alive = 0;

    for (int i = 0; i < set->count; i++)
        alive += c->machines[world_index(c, set->voters[i])].node != NULL;
    return set->count > 0 && alive >= voter_set_majority(set);
}

static bool check_count(const struct cluster *c, const struct desired_workload *w,
                        const unsigned *count, size_t nodes, const struct why *why)
{
    unsigned total = 0;
    unsigned least = UINT32_MAX;
    unsigned most = 0;

    for (size_t i = 0; i < c->options.nodes; i++) {
        total += count[i];
        if (!eligible(c, &c->machines[i], w))
            continue;
        least = count[i] < least ? count[i] : least;
        most = count[i] > most ? count[i] : most;
    }
    if (w->singleton && !majority_lives(c))
        return total == 0 || no(why, "%s runs without a majority", w->name);
    if (total != (nodes > 0 ? w->replicas : 0))
        return no(why, "%u processes of %s instead of %u", total, w->name, (unsigned)w->replicas);
    if (nodes > 0 && most > least + 1)
        return no(why, "%s is spread badly: %u on one node, %u on another", w->name, most, least);
    return true;
}

static bool check_workload(struct cluster *c, const struct desired_workload *w,
                           const struct why *why)
{
    unsigned count[CLUSTER_NODES_MAX] = {0};
    size_t nodes = 0;

    for (size_t i = 0; i < c->options.nodes; i++) {
        struct machine *m = &c->machines[i];
        nodes += eligible(c, m, w);
        for (size_t k = 0; k < PROCESSES_MAX; k++) {
            struct process *p = &m->processes[k];
            if (p->state == PROCESS_NONE || !belongs(p->name, w->name) || m->node == NULL)
                continue;
            count[i]++;
            if (!process_healthy(m, p) || p->stopping)
                return no(why, "pi%zu: %s is not ready", i + 1, p->name);
            if (!eligible(c, m, w))
                return no(why, "pi%zu runs %s and should not", i + 1, p->name);
            if (!check_record(m, p, why) || !check_endpoint(c, p, why))
                return false;
        }
    }
    return check_count(c, w, count, nodes, why);
}

/* Nothing runs, and nothing is shown, that the newest commit does not know. */
static bool check_strangers(struct cluster *c, const struct machine *m, const struct why *why)
{
    for (size_t k = 0; k < PROCESSES_MAX; k++) {
        const struct process *p = &m->processes[k];
        char name[INSTANCE_MAX];
        snprintf(name, sizeof name, "%s", p->name);
        if (strchr(name, '.') != NULL)
            *strchr(name, '.') = '\0';
        if (p->state != PROCESS_NONE && desired_workload(c->desired, name) == NULL)
            return no(why, "pi%zu runs %s, which left the desired state", m->index + 1, p->name);
    }
    for (size_t k = 0; k < m->node->instance_count; k++)
        if (m->node->instances[k]->doomed)
            return no(why, "pi%zu still has %s", m->index + 1, m->node->instances[k]->name);
    return true;
}

/* ---- virtual addresses ---- */

/* The address that all nodes give to VirtualIP @i: one that nobody else has, and the one that it
 * had when the flock was at rest before. */
static bool check_address(struct cluster *c, size_t i, struct addr *address, const struct why *why)
{
    const char *name = c->desired->vips[i].name;
    struct addr *before = NULL;
    unsigned number;

    *address = (struct addr){.family = 0};
    for (size_t k = 0; k < c->options.nodes; k++) {
        const struct node *node = c->machines[k].node;
        const struct addr *here;
        if (!takes_part(&c->machines[k]))
            continue;
        here = node_vip_address(node, &node->desired->vips[i]);
        if (address->family != 0 && !addr_equal(here, address))
            return no(why, "pi%zu has another address for %s", k + 1, name);
        if (here->family == 0)
            return no(why, "pi%zu has no address for %s", k + 1, name);
        *address = *here;
        for (size_t j = 0; j < i; j++)
            if (addr_equal(here, node_vip_address(node, &node->desired->vips[j])))
                return no(why, "%s has the address of another one", name);
    }
    if (sscanf(name, "pooled-%u", &number) == 1 && number < VIPS_MAX)
        before = &c->given[number];
    if (before != NULL && before->family != 0 && !addr_equal(before, address))
        cluster_break(c, "%s has got another address", name);
    if (before != NULL)
        *before = *address;
    return true;
}

static bool check_vip(struct cluster *c, const struct desired_vip *vip, const struct addr *address,
                      const struct why *why)
{
    size_t index = machine_vip(address);
    int owner = cluster_vip_owner(c, index);
    unsigned alive = 0;
    char ip[ADDR_TEXT];
    char key[RECORD_KEY_MAX];

    for (size_t i = 0; i < c->options.nodes; i++)
        alive += takes_part(&c->machines[i]) && !c->machines[i].drained;
    addr_format_ip(address, ip);
    snprintf(key, sizeof key, "vip/%s", ip);
    if (alive == 0 || (!majority_lives(c) && (vip->strict || c->options.nodes > 2)))
        return owner < 0 || no(why, "%s is held without a majority", ip);
    if (owner < 0)
        return no(why, "nobody holds %s", ip);
    for (size_t i = 0; i < c->options.nodes; i++) {
        const struct machine *m = &c->machines[i];
        struct status *status;
        node_id seen = NODE_NONE;
        if (!takes_part(m))
            continue;
        if (node_status(m->node, world_local(m), world_wall(c), &status) != ERR_NONE)
            return no(why, "no memory");
        for (size_t k = 0; k < status->vip_count; k++)
            if (addr_equal(&status->vips[k].address, address))
                seen = status->vips[k].owner;
        status_free(status);
        if (!node_id_equal(seen, c->machines[owner].id))
            return no(why, "pi%zu shows a wrong owner of %s", i + 1, ip);
    }
    return true;
}

bool cluster_converged(struct cluster *c, char *text, size_t size)
{
    const struct why why = {text, size};

    if (!check_agreement(c, &why))
        return false;
    for (size_t i = 0; c->desired != NULL && i < c->desired->vip_count; i++) {
        struct addr address;
        if (!check_address(c, i, &address, &why))
            return false;
        if (address.family != 0 && !check_vip(c, &c->desired->vips[i], &address, &why))
            return false;
    }
    for (size_t i = 0; c->desired != NULL && i < c->desired->workload_count; i++)
        if (!c->desired->workloads[i].cron && !check_workload(c, &c->desired->workloads[i], &why))
            return false;
    for (size_t i = 0; i < c->options.nodes; i++)
        if (c->desired != NULL && takes_part(&c->machines[i]) &&
            !check_strangers(c, &c->machines[i], &why))
            return false;
    return true;
}

bool cluster_settle(struct cluster *c, int64_t limit_ms)
{
    int64_t began = world_now(c);
    int64_t good = began;
    char why[CLUSTER_TEXT_MAX] = "";

    while (cluster_run(c, LOOK_MS)) {
        char now[CLUSTER_TEXT_MAX];
        if (!cluster_converged(c, now, sizeof now)) {
            good = world_now(c);
            snprintf(why, sizeof why, "%s", now);
        }
        if (world_now(c) - good >= STEADY_MS)
            return true;
        if (world_now(c) - began > limit_ms)
            cluster_break(c, "not settled after %lld s: %s", (long long)limit_ms / 1000, why);
    }
    return false;
}
