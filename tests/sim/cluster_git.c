/* Repositories, the way of a commit into the node (as agent/io/uv_sync.c goes it), and what the
 * commits of a simulation say. */
#include "tests/sim/cluster_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOCUMENT_MAX 8192

/* ---- what commits say ---- */

static void write_cluster(const struct cluster *c, const struct cluster_spec *spec, char *text,
                          size_t size)
{
    size_t n =
        (size_t)snprintf(text, size,
                         "apiVersion: covey.dev/v1\nkind: Cluster\nmetadata: {name: sim}\n"
                         "spec:\n  pool: 10.77.0.210-10.77.0.230\n  holdDownSeconds: %u\n"
                         "  sync: {healthTimeoutSeconds: %u%s}\n  nodes:\n",
                         spec->hold_down_s, spec->health_s, spec->canary ? ", canary: pi1" : "");

    for (size_t i = 0; i < c->options.nodes && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "    - {name: pi%zu, labels: {zone: %s}}\n",
                              i + 1, i % 2 == 0 ? "a" : "b");
}

static size_t write_rest_api(const struct cluster_spec *spec, char *text, size_t size)
{
    static const char probes[] =
        "  readinessProbe: {httpGet: {path: /ready, port: http}, periodSeconds: 2}\n"
        "  livenessProbe: {httpGet: {path: /health, port: http}, initialDelaySeconds: 5, "
        "periodSeconds: 5, timeoutSeconds: 2}\n";

    return (size_t)snprintf(text, size,
                            "apiVersion: covey.dev/v1\nkind: Workload\n"
                            "metadata: {name: rest-api}\nspec:\n  replicas: %u\n"
                            "  command: [rest-api]\n  ports: [{name: http, port: 5000}]\n"
                            "  env: [{name: REVISION, value: \"%s%u\"}]\n"
                            "  terminationGracePeriodSeconds: 10\n"
                            "  updateStrategy: {maxUnavailable: %u, handOver: %s}\n%s",
                            spec->replicas, spec->fails ? PROCESS_SICK : "", spec->revision,
                            spec->away > 0 ? spec->away : 1, spec->hand_over ? "true" : "false",
                            spec->probed ? probes : "");
}

static size_t write_others(const struct cluster_spec *spec, char *text, size_t size)
{
    size_t n = 0;

    if (spec->web > 0)
        n += (size_t)snprintf(
            text + n, size - n,
            "---\napiVersion: covey.dev/v1\nkind: Workload\n"
            "metadata: {name: web}\nspec:\n  replicas: %u\n  command: [web]\n"
            "  ports: [{name: http, port: 8000}]\n%s"
            "  env: [{name: API_URL, value: \"http://${service:rest-api/http}\"}]\n"
            "  readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1}\n",
            spec->web, spec->web_depends ? "  dependsOn: [rest-api]\n" : "");
    if (spec->metrics)
        n += (size_t)snprintf(text + n, size - n,
                              "---\napiVersion: covey.dev/v1\nkind: Workload\n"
                              "metadata: {name: metrics-app}\nspec:\n  command: [metrics-app]\n"
                              "  nodeSelector: {zone: a}\n");
    if (spec->ledger)
        n += (size_t)snprintf(text + n, size - n,
                              "---\napiVersion: covey.dev/v1\nkind: Workload\n"
                              "metadata: {name: ledger}\nspec:\n  singleton: true\n"
                              "  command: [ledger]\n");
    if (spec->cron != NULL)
        n += (size_t)snprintf(text + n, size - n,
                              "---\napiVersion: covey.dev/v1\nkind: CronWorkload\n"
                              "metadata: {name: job}\nspec:\n  schedule: \"%s\"\n"
                              "  concurrencyPolicy: %s\n  command: [job]\n",
                              spec->cron, spec->overlap != NULL ? spec->overlap : "Forbid");
    return n;
}

static void write_vips(const struct cluster_spec *spec, char *text, size_t size)
{
    size_t n =
        (size_t)snprintf(text, size,
                         "apiVersion: covey.dev/v1\nkind: VirtualIP\nmetadata: {name: front}\n"
                         "spec: {mode: solo, address: 10.77.0.210}\n%s",
                         spec->strict_vip ? "---\napiVersion: covey.dev/v1\nkind: VirtualIP\n"
                                            "metadata: {name: back}\n"
                                            "spec: {mode: strict, address: 10.77.0.230}\n"
                                          : "");

    for (unsigned i = 0; i < spec->vips && n < size; i++)
        n += (size_t)snprintf(text + n, size - n,
                              "---\napiVersion: covey.dev/v1\nkind: VirtualIP\n"
                              "metadata: {name: pooled-%02u}\nspec: {mode: solo}\n",
                              i);
}

struct desired *git_desired(struct cluster *c, int commit)
{
    const struct cluster_spec *spec = &c->commits[commit].spec;
    char *text = world_must(malloc(3 * DOCUMENT_MAX));
    struct desired_file files[] = {
        {.path = "cluster.yaml", .data = text},
        {.path = "apps/web/all.yaml", .data = text + DOCUMENT_MAX},
        {.path = "apps/web/vip.yaml", .data = text + 2 * DOCUMENT_MAX},
    };
    struct desired *desired;
    struct err err;
    size_t n;

    write_cluster(c, spec, text, DOCUMENT_MAX);
    n = write_rest_api(spec, text + DOCUMENT_MAX, DOCUMENT_MAX);
    write_others(spec, text + DOCUMENT_MAX + n, DOCUMENT_MAX - n);
    write_vips(spec, text + 2 * DOCUMENT_MAX, DOCUMENT_MAX);
    for (size_t i = 0; i < 3; i++)
        files[i].size = strlen(files[i].data);
    if (desired_parse(c->commits[commit].id, files, 3, &desired, NULL, &err) != ERR_NONE) {
        fprintf(stderr, "cluster: %s\n", err.text);
        abort();
    }
    free(text);
    return desired;
}

/* ---- commits ---- */

int git_find(const struct cluster *c, const char *id)
{
    for (int i = 0; i < c->commit_count; i++)
        if (strcmp(c->commits[i].id, id) == 0)
            return i;
    return -1;
}

bool git_descends(const struct cluster *c, int commit, int from)
{
    if (from < 0 || commit == from)
        return true;
    for (int i = 0; i < 2; i++)
        if (c->commits[commit].parents[i] >= from &&
            git_descends(c, c->commits[commit].parents[i], from))
            return true;
    return false;
}

static void take_objects(struct machine *m, int commit)
{
    const struct cluster *c = m->cluster;

    if (commit < 0 || m->repo[commit])
        return;
    m->repo[commit] = true;
    take_objects(m, c->commits[commit].parents[0]);
    take_objects(m, c->commits[commit].parents[1]);
}

static int make_commit(struct cluster *c, int parent, int second, const struct cluster_spec *spec)
{
    struct commit *commit = &c->commits[c->commit_count];
    int number = c->commit_count;

    if (number == COMMITS_MAX) {
        fprintf(stderr, "cluster: more than %d commits\n", COMMITS_MAX);
        abort();
    }
    c->commit_count++;
    *commit = (struct commit){.parents = {parent, second}, .spec = *spec};
    canary_name(c, commit);
    snprintf(commit->id, sizeof commit->id, "%08x%016" PRIx64 "%016" PRIx64, (unsigned)number,
             hash64_mix(c->options.seed, (uint64_t)number), hash64_mix((uint64_t)number, 7));
    return number;
}

/* The hook wakes the agent. */
static void land(struct machine *m, int commit)
{
    world_trace(m->cluster, "pi%zu takes the push of commit %d", m->index + 1, commit);
    take_objects(m, commit);
    m->head = commit;
    if (m->node != NULL)
        git_branch(m);
}

static void set_tip(struct cluster *c, int commit)
{
    c->tip = c->newest = commit;
    desired_free(c->desired);
    c->desired = git_desired(c, commit);
}

void cluster_expect_back(struct cluster *c)
{
    int newest = c->newest;

    set_tip(c, c->former);
    c->newest = newest;
}

void cluster_push(struct cluster *c, size_t node, const struct cluster_spec *spec)
{
    int commit = make_commit(c, c->newest, -1, spec);

    c->former = c->tip;
    set_tip(c, commit);
    land(&c->machines[node], commit);
}

void cluster_push_own(struct cluster *c, size_t node, const struct cluster_spec *spec)
{
    struct machine *m = &c->machines[node];
    int commit = make_commit(c, m->head, -1, spec);

    set_tip(c, commit);
    land(m, commit);
}

void cluster_push_merge(struct cluster *c, size_t node, const struct cluster_spec *spec)
{
    struct machine *m = &c->machines[node];
    int other = -1;
    int commit;

    for (size_t i = 0; i < c->options.nodes; i++)
        if (!git_descends(c, m->head, c->machines[i].head))
            other = c->machines[i].head;
    commit = make_commit(c, m->head, other, spec);
    set_tip(c, commit);
    land(m, commit);
}

/* ---- the way into the node ---- */

static void start(struct machine *m, enum sync_phase phase)
{
    struct cluster *c = m->cluster;
    int64_t delay = phase == SYNC_STORE ? world_range(c, 5, 60) : world_range(c, 15, 200);

    if (phase == SYNC_ASK)
        delay = world_range(c, 30, 400);
    m->sync.busy = true;
    m->sync.phase = phase;
    world_task(m, TASK_SYNC, delay, m->life);
}

static void next(struct machine *m)
{
    struct sync *s = &m->sync;

    s->busy = false;
    if (s->apply >= 0) {
        s->commit = s->apply;
        s->apply = -1;
        s->instead = -1;
        start(m, SYNC_STORE);
    } else if (s->branch_waits) {
        s->branch_waits = false;
        start(m, SYNC_BRANCH);
    } else if (s->waiting_count > 0) {
        s->commit = git_find(m->cluster, s->waiting[0].commit);
        s->from = world_index(m->cluster, s->waiting[0].from);
        memmove(&s->waiting[0], &s->waiting[1], --s->waiting_count * sizeof s->waiting[0]);
        start(m, SYNC_CHECK);
    }
}

void git_branch(struct machine *m)
{
    if (m->sync.busy)
        m->sync.branch_waits = true;
    else
        start(m, SYNC_BRANCH);
}

void git_fetch(struct machine *m, const struct effect_fetch *fetch)
{
    struct sync *s = &m->sync;

    if (s->waiting_count == SYNC_WAITING_MAX)
        memmove(&s->waiting[0], &s->waiting[1], --s->waiting_count * sizeof s->waiting[0]);
    s->waiting[s->waiting_count++] = *fetch;
    if (!s->busy)
        next(m);
}

void git_apply(struct machine *m, const char *commit)
{
    m->sync.apply = git_find(m->cluster, commit);
    if (!m->sync.busy)
        next(m);
}

static bool is_bad(const struct machine *m, int commit)
{
    for (size_t i = 0; i < ROLLOUT_BAD_MAX; i++)
        if (strcmp(m->marks.bad[i], m->cluster->commits[commit].id) == 0)
            return true;
    return false;
}

/* What the branch stands at, or the last good one where that was given up. */
static void take_branch(struct machine *m)
{
    struct sync *s = &m->sync;

    s->commit = m->head;
    s->instead = -1;
    if (m->head >= 0 && is_bad(m, m->head)) {
        s->instead = m->head;
        s->commit = git_find(m->cluster, m->marks.good[0]);
    }
    if (s->commit < 0 || s->commit == s->applied)
        next(m);
    else
        start(m, SYNC_STORE);
}

static void finish(struct machine *m, enum node_commit_result result)
{
    struct node_event event = {.type = NODE_COMMIT};

    snprintf(event.commit.commit, sizeof event.commit.commit, "%s",
             m->cluster->commits[m->sync.commit].id);
    event.commit.result = result;
    event.commit.reason = "it does not continue what this node has accepted";
    agent_post(m, &event);
    next(m);
}

/* The objects are here: is it of interest? */
static void judge(struct machine *m)
{
    const struct cluster *c = m->cluster;
    int commit = m->sync.commit;

    if (m->head >= 0 && git_descends(c, m->head, commit)) {
        finish(m, NODE_COMMIT_OLDER);
    } else if (!git_descends(c, commit, m->head)) {
        finish(m, NODE_COMMIT_DIVERGED);
    } else {
        m->head = commit;
        m->sync.instead = -1;
        if (is_bad(m, commit))
            finish(m, NODE_COMMIT_OLDER);
        else
            start(m, SYNC_STORE);
    }
}

static void receive_bundle(struct machine *m)
{
    struct cluster *c = m->cluster;
    const struct machine *from = &c->machines[m->sync.from];

    if (from->node == NULL || world_now(c) < from->paused_until ||
        !world_linked(c, m->index, from->index) || !from->repo[m->sync.commit] ||
        world_chance(c, c->chances.fetch_fails)) {
        finish(m, NODE_COMMIT_UNREACHABLE);
        return;
    }
    take_objects(m, m->sync.commit);
    judge(m);
}

static void stored(struct machine *m)
{
    struct node_event event = {.type = NODE_DESIRED};

    m->sync.applied = m->sync.commit;
    m->applied_at[m->sync.commit] = world_now(m->cluster) + 1;
    event.desired.desired = git_desired(m->cluster, m->sync.commit);
    event.desired.subject = "a commit";
    event.desired.canary = m->cluster->commits[m->sync.commit].canary;
    event.desired.applied = world_wall(m->cluster);
    if (m->sync.instead >= 0)
        event.desired.instead = m->cluster->commits[m->sync.instead].id;
    world_trace(m->cluster, "pi%zu stores commit %d", m->index + 1, m->sync.commit);
    agent_post(m, &event);
    if (m->given_up[m->sync.commit] && m->node != NULL &&
        strcmp(m->node->commit.commit, m->cluster->commits[m->sync.commit].id) == 0)
        cluster_break(m->cluster, "pi%zu applies commit %d again, which it has given up",
                      m->index + 1, m->sync.commit);
    next(m);
}

void git_task(struct machine *m)
{
    struct sync *s = &m->sync;

    switch (s->phase) {
    case SYNC_BRANCH:
        take_branch(m);
        break;
    case SYNC_CHECK:
        if (m->repo[s->commit])
            judge(m);
        else
            start(m, SYNC_ASK);
        break;
    case SYNC_ASK:
        receive_bundle(m);
        break;
    case SYNC_STORE:
        stored(m);
        break;
    }
}

void git_marked(struct machine *m)
{
    for (size_t i = 0; i < ROLLOUT_BAD_MAX; i++) {
        int commit = m->marks.bad[i][0] != '\0' ? git_find(m->cluster, m->marks.bad[i]) : -1;
        if (commit >= 0)
            m->given_up[commit] = true;
    }
}
