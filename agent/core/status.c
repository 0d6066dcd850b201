/* The snapshot that people see, made from the node's machine. */
#include "agent/core/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"
#include "agent/core/status_parts.h"
#include "proto/record/value_codec.h"

const char *status_member_state_name(enum status_member_state state)
{
    static const char *const names[] = {[STATUS_ALIVE] = "alive",
                                        [STATUS_SUSPECT] = "suspect",
                                        [STATUS_DEAD] = "dead",
                                        [STATUS_LEFT] = "left",
                                        [STATUS_QUARANTINED] = "quarantined"};
    return names[state];
}

const char *status_instance_state_name(uint8_t state)
{
    static const char *const names[] = {
        [VALUE_WAITING] = "waiting", [VALUE_STARTING] = "starting",  [VALUE_RUNNING] = "running",
        [VALUE_READY] = "ready",     [VALUE_STOPPING] = "stopping",  [VALUE_BACKOFF] = "backoff",
        [VALUE_FAILED] = "failed",   [VALUE_COMPLETED] = "completed"};
    return state >= VALUE_WAITING && state <= VALUE_COMPLETED ? names[state] : "unknown";
}

void status_free(struct status *status)
{
    if (status == NULL)
        return;
    free(status->nodes);
    free(status->vips);
    for (size_t i = 0; status->apps != NULL && i < status->app_count; i++)
        free(status->apps[i].runs);
    free(status->apps);
    free(status->instances);
    free(status->paths);
    free(status->drifts);
    free(status);
}

static enum status_member_state member_state(uint8_t state)
{
    switch (state) {
    case MEMBER_ALIVE:
        return STATUS_ALIVE;
    case MEMBER_SUSPECT:
        return STATUS_SUSPECT;
    case MEMBER_LEFT:
        return STATUS_LEFT;
    default:
        return STATUS_DEAD;
    }
}

static int by_name(const void *a, const void *b)
{
    const struct status_node *x = a;
    const struct status_node *y = b;

    return strcmp(x->name, y->name);
}

static void fill_nodes(const struct node *node, mono_t now, struct status *status)
{
    for (size_t i = 0; i < node->peer_count; i++) {
        const struct peer *peer = &node->peers[i];
        struct status_node *out = &status->nodes[status->node_count++];
        struct member_view view;

        *out = (struct status_node){.id = peer->id,
                                    .name = peer->head.name,
                                    .self = peer->self,
                                    .state = member_state(peer->state),
                                    .addr = peer->head.addr,
                                    .rtt_ms = -1,
                                    .role = peer->head.role,
                                    .version = peer->head.version,
                                    .facts = peer->facts,
                                    .commit = peer->commit,
                                    .keys = peer->keys};
        memcpy(out->public_key, peer->head.public_key, sizeof out->public_key);
        if (peer->quarantined)
            out->state = STATUS_QUARANTINED;
        if (peer->self || membership_find(node->members, peer->id, &view) != ERR_NONE)
            continue;
        out->heard_ms = view.heard.ms == 0 ? -1 : mono_diff(now, view.heard);
        if (view.rtt_ms > 0)
            out->rtt_ms = (int32_t)view.rtt_ms;
        if (view.addr.family != 0)
            out->addr = view.addr;
    }
    qsort(status->nodes, status->node_count, sizeof *status->nodes, by_name);
}

/* Of nodes that are here, about nodes that are or should be. The nodes stand sorted by name. */
static void fill_paths(const struct node *node, struct status *status, size_t room)
{
    for (size_t i = 0; i < status->node_count; i++) {
        const struct peer *to = node_find_peer(node, status->nodes[i].id);
        struct value_paths paths;
        if (to == NULL || (!to->self && !node_peer_present(to)) || !node_paths_of(node, to, &paths))
            continue;
        for (size_t k = 0; k < status->node_count; k++)
            for (size_t j = 0; j < paths.count && status->path_count < room; j++)
                if (node_id_equal(paths.paths[j].from, status->nodes[k].id))
                    status->paths[status->path_count++] =
                        (struct status_path){.to = to->head.name,
                                             .from = status->nodes[k].name,
                                             .hears = paths.paths[j].hears,
                                             .rtt_ms = paths.paths[j].rtt_ms,
                                             .loss_pct = paths.paths[j].loss_pct,
                                             .stream = value_path_streams(&paths.paths[j])};
    }
}

/* The owner that the records of living nodes name, or that this node has voted for. */
static void find_owner(const struct node *node, const char *key, struct status_vip *out)
{
    for (size_t i = 0; i < node->peer_count; i++) {
        const struct peer *peer = &node->peers[i];
        struct record_view view;
        struct value_vip value;

        if (records_get(node->records, peer->id, key, &view) != ERR_NONE ||
            value_vip_decode(view.value, view.value_len, &value) != ERR_NONE)
            continue;
        if (value.holding && node_peer_present(peer) && (out->owner.v == 0 || peer->self)) {
            out->owner = peer->id;
            out->owner_name = peer->head.name;
        }
        if (value.foreign && (node_peer_present(peer) || peer->self)) {
            out->foreign = true;
            memcpy(out->foreign_mac, value.foreign_mac, sizeof out->foreign_mac);
        }
        if (value.since < out->since || (value.since == out->since && !value.holding))
            continue;
        out->since = value.since;
        out->epoch = value.epoch;
        out->before = node_id_none(value.before) ? "" : node_name(node, value.before);
        snprintf(out->reason, sizeof out->reason, "%s", value.reason);
    }
}

static void fill_votes(const struct node *node, mono_t now, const struct lease_view *view,
                       struct status_vip *out)
{
    for (uint8_t i = 0; i < view->vote_count; i++) {
        const struct lease_vote *vote = &view->votes[i];
        struct status_vote *to = &out->votes[out->vote_count++];
        int64_t left = mono_diff(vote->granted_until, now);

        to->voter = node_name(node, vote->voter);
        to->granted_ms = left > 0 ? left : 0;
        to->refused_for = node_id_none(vote->refused_for) ? "" : node_name(node, vote->refused_for);
    }
}

/* Another node's lease ends no later than what this one has promised it. */
static int64_t promised_ms(const struct node *node, mono_t now, const char *key, node_id owner)
{
    mono_t until;
    node_id to = leases_promised_to(node->leases, now, hash64_string(key), &until);

    return !node_id_none(to) && node_id_equal(to, owner) ? mono_diff(until, now) : -1;
}

static void say_foreign(struct status_vip *out)
{
    const uint8_t *mac = out->foreign_mac;

    snprintf(out->reason, sizeof out->reason,
             "not claimed: a host that is no member answers for it, %02x:%02x:%02x:%02x:%02x:%02x",
             mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

static void fill_vips(const struct node *node, mono_t now, struct status *status)
{
    for (size_t i = 0; i < node->desired->vip_count; i++) {
        const struct desired_vip *want = &node->desired->vips[i];
        struct status_vip *out = &status->vips[status->vip_count++];
        struct lease_view view;
        char ip[ADDR_TEXT];
        char key[RECORD_KEY_MAX];

        *out = (struct status_vip){.name = want->name,
                                   .app = want->app,
                                   .address = *node_vip_address(node, want),
                                   .owner_name = "",
                                   .before = "",
                                   .left_ms = -1};
        if (out->address.family == 0) {
            snprintf(out->reason, sizeof out->reason, "%s",
                     node->pool_waits
                         ? "pending: waits, at most 10 s, for what other nodes know of the pool"
                         : "pending: the pool has no free address. Enlarge spec.pool in "
                           "cluster.yaml");
            continue;
        }
        if (!want->strict)
            out->gateway_register = node_register_text(node);
        addr_format_ip(&out->address, ip);
        snprintf(key, sizeof key, "vip/%s", ip);
        find_owner(node, key, out);
        if (out->foreign)
            say_foreign(out);
        out->left_ms = promised_ms(node, now, key, out->owner);
        if (!leases_get(node->leases, now, hash64_string(key), &view))
            continue;
        fill_votes(node, now, &view, out);
        if (view.state == LEASE_HELD) {
            out->here = true;
            out->left_ms = mono_diff(view.end, now);
            if (out->left_ms < 0)
                out->left_ms = 0;
        }
    }
}

struct gather {
    const struct node *node;
    struct status *status;
    size_t room;
    const struct desired_workload *workload;
};

/* "instance/NAME.3" belongs to the workload NAME. */
static bool belongs(const char *key, const char *workload)
{
    const char *name = key + strlen("instance/");
    size_t len = strlen(workload);

    return strncmp(name, workload, len) == 0 && name[len] == '.' &&
           strchr(name + len + 1, '.') == NULL;
}

static bool gather_instance(void *context, const struct record_view *view)
{
    struct gather *gather = context;
    struct status *status = gather->status;
    const struct peer *peer = node_find_peer(gather->node, view->author);
    struct status_instance *out;

    if (peer == NULL || status->instance_count >= gather->room ||
        !belongs(view->key, gather->workload->name))
        return true;
    out = &status->instances[status->instance_count];
    memset(out, 0, sizeof *out);
    if (value_instance_decode(view->value, view->value_len, &out->value) != ERR_NONE)
        return true;
    snprintf(out->name, sizeof out->name, "%.*s", INSTANCE_MAX - 1,
             view->key + strlen("instance/"));
    out->node = peer->id;
    out->node_name = peer->head.name;
    out->node_alive = node_peer_present(peer);
    out->placed = true;
    status->instance_count++;
    return true;
}

static bool count_instance(void *context, const struct record_view *view)
{
    size_t *count = context;

    (void)view;
    (*count)++;
    return true;
}

static int64_t next_run(const struct node *node, const struct desired_workload *w, int64_t wall)
{
    struct cron cron = {.handled_s = wall};
    int64_t next;

    if (!w->cron || w->schedule.suspend ||
        cron_parse(w->schedule.expression, &cron.schedule, NULL) != ERR_NONE ||
        node_cron_zone(node, w->schedule.time_zone, &cron.zone, NULL) != ERR_NONE)
        return 0;
    next = cron_next(&cron.schedule, &cron.zone, wall);
    return next == CRON_NEVER ? 0 : next;
}

static bool runs_now(const struct status *status, const struct status_app *app)
{
    for (size_t i = app->first; i < app->first + app->count; i++) {
        uint8_t state = status->instances[i].value.state;
        if (state >= VALUE_STARTING && state <= VALUE_STOPPING)
            return true;
    }
    return false;
}

static void fill_apps(const struct node *node, struct status *status, size_t room)
{
    for (size_t i = 0; i < node->desired->workload_count; i++) {
        const struct desired_workload *w = &node->desired->workloads[i];
        struct status_app *out = &status->apps[status->app_count++];
        struct gather gather = {.node = node, .status = status, .room = room, .workload = w};
        const struct suspension *suspended = node_suspended(node, w->app);

        *out = (struct status_app){.name = w->name,
                                   .app = w->app,
                                   .kind = w->cron ? "CronWorkload" : "Workload",
                                   .file = w->file,
                                   .desired = w->cron ? 0 : w->replicas,
                                   .schedule = w->cron ? w->schedule.expression : NULL,
                                   .next_run = next_run(node, w, status->now),
                                   .first = status->instance_count};
        out->pending = node_pending(node, w->name);
        if (w->cron && node_jobs_runs(node, w, &out->runs, &out->run_count) != ERR_NONE)
            out->run_count = 0;
        if (suspended != NULL)
            out->suspended = &suspended->value;
        records_each(node->records, NODE_NONE, "instance/", gather_instance, &gather);
        out->count = status->instance_count - out->first;
        for (size_t k = out->first; k < status->instance_count; k++)
            if (status->instances[k].node_alive && status->instances[k].value.state == VALUE_READY)
                out->ready++;
        out->off = w->cron ? w->schedule.suspend && !runs_now(status, out)
                           : w->replicas == 0 && out->count == 0;
    }
}

static void say(struct status *status, enum status_health health, const char *text)
{
    if (health < status->health || (health == status->health && status->headline[0] != '\0'))
        return;
    status->health = health;
    snprintf(status->headline, sizeof status->headline, "%s", text);
}

static void judge_nodes(struct status *status)
{
    const char *commit = NULL;
    char text[256];

    status->agreed = true;
    for (size_t i = 0; i < status->node_count; i++) {
        const struct status_node *n = &status->nodes[i];
        if (n->state == STATUS_QUARANTINED) {
            snprintf(text, sizeof text,
                     "Two machines use the identity of %s: a card was copied. Stop one of them, "
                     "remove its state directory and let it join anew",
                     n->name);
            say(status, STATUS_FAILED, text);
        }
        if (n->state == STATUS_DEAD) {
            snprintf(text, sizeof text, "%s is dead: it answers nobody", n->name);
            say(status, STATUS_DEGRADED, text);
        }
        if (n->state != STATUS_ALIVE && n->state != STATUS_SUSPECT)
            continue;
        if (n->commit.state == VALUE_COMMIT_FAILED || n->commit.state == VALUE_COMMIT_DIVERGED) {
            snprintf(text, sizeof text, "%s: commit %.200s", n->name, n->commit.reason);
            say(status, STATUS_DEGRADED, text);
        }
        if (n->commit.health == VALUE_HEALTH_BACK) {
            snprintf(text, sizeof text,
                     "Commit %.10s was given up: what it changed was not ready in time. %.10s runs "
                     "again; see agentctl history",
                     n->commit.bad, n->commit.commit);
            say(status, STATUS_DEGRADED, text);
        } else if (n->commit.health == VALUE_HEALTH_UNHEALTHY) {
            snprintf(text, sizeof text, "%s: what commit %.10s changed is not ready", n->name,
                     n->commit.commit);
            say(status, STATUS_DEGRADED, text);
        } else if (n->commit.health == VALUE_HEALTH_HELD) {
            snprintf(text, sizeof text, "%s: commit %.200s", n->name, n->commit.reason);
            say(status, STATUS_DEGRADED, text);
        }
        if (n->role == VALUE_ROLE_WITNESS)
            continue;
        if (commit != NULL && strcmp(commit, n->commit.commit) != 0)
            status->agreed = false;
        commit = n->commit.commit;
    }
}

/* "All good: 2 nodes, 3 workloads (1 off), 1 address" */
static void praise(struct status *status)
{
    char off_text[64] = "";
    size_t off = 0, suspended = 0;

    for (size_t i = 0; i < status->app_count; i++) {
        off += status->apps[i].off;
        suspended += status->apps[i].suspended != NULL;
    }
    if (off > 0 && suspended > 0)
        snprintf(off_text, sizeof off_text, " (%zu off, %zu suspended)", off, suspended);
    else if (off + suspended > 0)
        snprintf(off_text, sizeof off_text, " (%zu %s)", off + suspended,
                 off > 0 ? "off" : "suspended");
    snprintf(status->headline, sizeof status->headline,
             "All good: %zu node%s, %zu workload%s%s, %zu address%s", status->node_count,
             status->node_count == 1 ? "" : "s", status->app_count,
             status->app_count == 1 ? "" : "s", off_text, status->vip_count,
             status->vip_count == 1 ? "" : "es");
}

static void judge(struct status *status)
{
    char text[256];

    judge_nodes(status);
    for (size_t i = 0; i < status->vip_count; i++) {
        const struct status_vip *v = &status->vips[i];
        if (v->owner.v != 0)
            continue;
        snprintf(text, sizeof text, "The address %s is %s", v->name,
                 v->foreign || v->address.family == 0 ? v->reason : "held by nobody");
        say(status, STATUS_FAILED, text);
    }
    for (size_t i = 0; i < status->app_count; i++) {
        const struct status_app *a = &status->apps[i];
        if (a->ready >= a->desired)
            continue;
        snprintf(text, sizeof text, "%s has %u of %u replicas ready%s%.150s", a->name,
                 (unsigned)a->ready, (unsigned)a->desired, a->pending != NULL ? ": " : "",
                 a->pending != NULL ? a->pending : "");
        say(status, a->ready == 0 ? STATUS_FAILED : STATUS_DEGRADED, text);
    }
    for (size_t i = 0; i < status->drift_count; i++) {
        const struct status_drift *d = &status->drifts[i];
        snprintf(text, sizeof text, "%.80s %.90s on %.40s, and is left so (drift: warn)",
                 strchr(d->subject, '/') != NULL ? strchr(d->subject, '/') + 1 : d->subject,
                 d->value.what, d->node_name);
        say(status, STATUS_DEGRADED, text);
    }
    if (!status->agreed)
        say(status, STATUS_DEGRADED, "The nodes do not apply the same commit yet");
    if (status->health != STATUS_OK)
        return;
    if (status->node_count == 1 && status->app_count == 0)
        snprintf(status->headline, sizeof status->headline,
                 "Ready: one node and nothing to run yet. Push a desired state, or join a peer");
    else
        praise(status);
}

int node_status(const struct node *node, mono_t now, int64_t wall, struct status **out)
{
    struct status *status = calloc(1, sizeof *status);
    const struct desired *desired = node->desired;
    size_t instances = 0;

    if (status == NULL)
        return ERR_NOMEM;
    records_each(node->records, NODE_NONE, "instance/", count_instance, &instances);
    status->now = wall;
    status->self = node->config.self;
    status->self_name = node->config.head.name;
    status->lease_ms = leases_term(node->leases);
    status->cluster = desired != NULL && desired->cluster_name != NULL ? desired->cluster_name : "";
    status->nodes = calloc(node->peer_count, sizeof *status->nodes);
    status->vips = calloc(desired != NULL ? desired->vip_count + 1 : 1, sizeof *status->vips);
    status->apps = calloc(desired != NULL ? desired->workload_count + 1 : 1, sizeof *status->apps);
    status->instances = calloc(instances + 1, sizeof *status->instances);
    status->paths = calloc(node->peer_count * VALUE_PATHS_MAX, sizeof *status->paths);
    if (status->nodes == NULL || status->vips == NULL || status->apps == NULL ||
        status->instances == NULL || status->paths == NULL ||
        status_fill_drifts(node, status) != ERR_NONE) {
        status_free(status);
        return ERR_NOMEM;
    }
    fill_nodes(node, now, status);
    fill_paths(node, status, node->peer_count * VALUE_PATHS_MAX);
    if (desired != NULL) {
        fill_vips(node, now, status);
        fill_apps(node, status, instances);
        status->foreign = desired->foreign;
        status->foreign_count = desired->foreign_count;
    }
    judge(status);
    *out = status;
    return ERR_NONE;
}
