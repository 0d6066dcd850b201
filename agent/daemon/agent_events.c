/* Events into the node, effects out of it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/daemon/agent.h"
#include "agent/io/os_clock.h"

#define MEMBERS_TOLD_MAX 64
#define REPEAT_MS 60000      /* a report is not repeated within this time, */
#define REPEATS_LOOKED_AT 16 /* nor if it is among the newest so many */

struct queued_event {
    struct queued_event *next;
    char canary[DESIRED_CANARY_MAX];
    struct node_event event;
    char instance[INSTANCE_MAX];
    char reason[ERR_TEXT_MAX];
    char subject[VALUE_REASON_MAX];
};

/* ---- the journal ---- */

/* Words of peers and of git come here too: one line, and nothing that steers a terminal. */
static void copy_line(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from);
    for (char *c = to; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
}

static void note(struct agent *agent, enum effect_severity severity, const char *subject,
                 const char *text)
{
    static const char *const words[] = {
        [EFFECT_INFO] = "info", [EFFECT_WARNING] = "warning", [EFFECT_ERROR] = "error"};
    /* What journald reads as the priority of a line (sd-daemon(3)). */
    static const int priorities[] = {[EFFECT_INFO] = 6, [EFFECT_WARNING] = 4, [EFFECT_ERROR] = 3};
    struct agent_event *event = &agent->events[agent->event_count % AGENT_EVENTS_MAX];

    event->time_ms = os_clock_wall_ms();
    event->number = ++agent->event_count;
    event->severity = severity;
    copy_line(event->subject, sizeof event->subject, subject);
    copy_line(event->text, sizeof event->text, text);
    if (getenv("JOURNAL_STREAM") != NULL)
        fprintf(stderr, "<%d>%s: %s\n", priorities[severity], event->subject, event->text);
    else
        fprintf(stderr, "%-7s %s: %s\n", words[severity], event->subject, event->text);
    agent_store_event(agent, event);
    agent_api_changed(agent);
}

/* What goes on failing would fill the journal, and wear out the flash that it lies on. */
static bool was_said(const struct agent *agent, const char *subject, const char *text)
{
    int64_t now = os_clock_wall_ms();

    for (uint64_t back = 1; back <= REPEATS_LOOKED_AT && back <= agent->event_count; back++) {
        const struct agent_event *event =
            &agent->events[(agent->event_count - back) % AGENT_EVENTS_MAX];
        if (event->time_ms <= now && now - event->time_ms < REPEAT_MS &&
            strcmp(event->subject, subject) == 0 && strcmp(event->text, text) == 0)
            return true;
    }
    return false;
}

void agent_report(struct agent *agent, enum effect_severity severity, const char *subject,
                  const char *format, ...)
{
    char whole[EFFECT_TEXT_MAX];
    char text[EFFECT_TEXT_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(whole, sizeof whole, format, args);
    va_end(args);
    copy_line(text, sizeof text, whole);
    if (!was_said(agent, subject, text))
        note(agent, severity, subject, text);
}

/* What the journal holds of earlier lives. */
void agent_load_events(struct agent *agent, const struct store_event *events, size_t count)
{
    for (size_t i = 0; i < count && i < AGENT_EVENTS_MAX; i++) {
        struct agent_event *event = &agent->events[agent->event_count % AGENT_EVENTS_MAX];
        event->time_ms = events[i].time_ms;
        event->number = ++agent->event_count;
        event->severity = (enum effect_severity)((int)events[i].severity - (int)STORE_INFO);
        snprintf(event->subject, sizeof event->subject, "%s", events[i].subject);
        snprintf(event->text, sizeof event->text, "%.*s", EFFECT_TEXT_MAX - 1, events[i].text);
    }
}

/* ---- effects ---- */

/* What the node has promised goes on record before anything else of the step. A write that failed
 * stays due with every later step: until it succeeds nothing of a lease may go on. */
static void persist(struct agent *agent, const struct node_out *out)
{
    bool failing = agent->persist_due;
    struct node_saved saved;
    struct err err;

    for (size_t i = 0; i < out->count; i++)
        agent->persist_due |= out->effects[i].type == EFFECT_LEASE_PERSIST;
    if (!agent->persist_due)
        return;
    node_export(agent->node, os_clock_now(), &saved);
    if (os_saved_write(agent->saved, &saved, &err) == ERR_NONE)
        agent->persist_due = false;
    else if (!failing)
        agent_report(agent, EFFECT_ERROR, "lease", "%s. No lease is taken or granted meanwhile",
                     err.text);
}

static void keep_peer(struct agent *agent, const struct effect_peer *peer)
{
    struct err err;

    if (peer->revoked)
        channel_remove_peer(agent->channel, peer->id);
    else if (agent_keys_add_peer(agent, peer->head, &err) != ERR_NONE)
        agent_report(agent, EFFECT_ERROR, "node", "%s cannot be talked to: %s", peer->head->name,
                     err.text);
    agent_store_peer(agent, peer);
}

/* Where the members live: what they announce is no foreign claim, and they are told of a moved
 * address like any neighbour. */
static void tell_members(struct agent *agent)
{
    struct addr addresses[MEMBERS_TOLD_MAX];
    struct status *status;
    size_t count = 0;

    if (node_status(agent->node, os_clock_now(), os_clock_wall_ms() / 1000, &status) != ERR_NONE)
        return;
    for (size_t i = 0; i < status->node_count && count < MEMBERS_TOLD_MAX; i++)
        if (!status->nodes[i].self && status->nodes[i].addr.family == 4)
            addresses[count++] = status->nodes[i].addr;
    status_free(status);
    uv_vip_members(agent->vip, addresses, count);
}

static void tell_clients(struct agent *agent)
{
    struct value_client clients[VALUE_CLIENTS_MAX];
    size_t count = node_clients(agent->node, clients, VALUE_CLIENTS_MAX);

    uv_vip_clients(agent->vip, clients, count);
}

static void watch_addresses(struct agent *agent)
{
    struct addr addresses[DESIRED_VIPS_MAX];

    uv_vip_watch(agent->vip, addresses, node_addresses(agent->node, addresses, DESIRED_VIPS_MAX));
}

static void carry_out(struct agent *agent, const struct effect *effect)
{
    switch (effect->type) {
    case EFFECT_SEND:
        agent_net_send(agent, effect->send);
        break;
    case EFFECT_LEASE_PERSIST:
        break; /* persist() */
    case EFFECT_VOTERS:
        agent_store_voters(agent, &effect->voters);
        break;
    case EFFECT_GATEWAY:
        uv_vip_gateway(agent->vip);
        break;
    case EFFECT_GATEWAY_WRITE:
        uv_vip_write(agent->vip, &effect->gateway);
        break;
    case EFFECT_GATEWAY_READ:
        uv_vip_read(agent->vip, &effect->gateway);
        break;
    case EFFECT_GATEWAY_TEST:
        uv_vip_test(agent->vip, &effect->gateway.address);
        break;
    case EFFECT_GATEWAY_KEEP:
        agent_store_register(agent, effect->gateway.kept);
        break;
    case EFFECT_FENCE_OPEN:
        uv_vip_open(agent->vip, &effect->fence);
        break;
    case EFFECT_FENCE_CLOSE:
        uv_vip_shut(agent->vip, &effect->fence);
        break;
    case EFFECT_ANNOUNCE:
        tell_clients(agent);
        uv_vip_announce(agent->vip, &effect->fence);
        break;
    case EFFECT_CHECK:
        uv_vip_check(agent->vip, &effect->fence.address);
        break;
    case EFFECT_OWNER:
        agent_hooks_owner(agent, effect->owner);
        break;
    case EFFECT_START:
        uv_instances_start(agent->instances, &effect->start);
        break;
    case EFFECT_PREPARE:
        uv_instances_prepare(agent->instances, &effect->start);
        break;
    case EFFECT_FILES:
        uv_instances_files(agent->instances, &effect->files);
        break;
    case EFFECT_STOP:
        uv_instances_stop(agent->instances, &effect->stop);
        break;
    case EFFECT_EXTEND:
        uv_instances_extend(agent->instances, &effect->stop);
        break;
    case EFFECT_FORGET:
        uv_instances_forget(agent->instances, &effect->stop);
        break;
    case EFFECT_PROBE:
        uv_instances_probe(agent->instances, &effect->probe);
        break;
    case EFFECT_FETCH:
        uv_sync_fetch(agent->sync, &effect->fetch);
        break;
    case EFFECT_MARKS:
        uv_sync_marks(agent->sync, &effect->marks->marks);
        agent_store_marks(agent, effect->marks);
        break;
    case EFFECT_SUSPENDED:
        agent_suspended(agent, effect->suspensions);
        break;
    case EFFECT_POOL:
        agent_store_pool(agent, effect->pool);
        watch_addresses(agent);
        break;
    case EFFECT_CRON:
        agent_store_cron(agent, effect->cron);
        break;
    case EFFECT_APPLY:
        uv_sync_apply(agent->sync, effect->apply.commit);
        break;
    case EFFECT_KEEP_PEER:
        keep_peer(agent, &effect->peer);
        tell_members(agent);
        break;
    case EFFECT_RAISE_BOOT:
        agent_store_boot(agent, effect->boot);
        break;
    case EFFECT_EVENT:
        note(agent, effect->event->severity, effect->event->subject, effect->event->text);
        break;
    }
}

static void execute(struct agent *agent, const struct node_out *out)
{
    persist(agent, out);
    for (size_t i = 0; i < out->count; i++) {
        struct node_event refusal;
        if (!agent->persist_due || !node_rests_on_leases(&out->effects[i]))
            carry_out(agent, &out->effects[i]);
        else if (node_refuse(&out->effects[i], &refusal))
            agent_feed(agent, &refusal);
    }
}

/* ---- events ---- */

static void step(struct agent *agent, struct node_event *event)
{
    struct node_out out;

    event->wall = os_clock_wall_ms() / 1000;
    /* The clock is read after the event came in: a promise by an older clock would be too short. */
    if (node_step(agent->node, os_clock_now(), event, &out) == ERR_NOMEM) {
        fprintf(stderr, "agentd: out of memory; ending, to be started anew. The workloads live "
                        "on, the addresses end with their leases\n");
        abort();
    }
    execute(agent, &out);
    agent_api_changed(agent);
    if (event->type == NODE_DESIRED)
        watch_addresses(agent);
}

static bool has_instance(const struct node_event *event)
{
    return event->type == NODE_FOUND || event->type == NODE_STARTED || event->type == NODE_EXITED ||
           event->type == NODE_PROBE || event->type == NODE_NOTE;
}

static const char *keep_text(char *copy, size_t size, const char *text)
{
    if (text == NULL)
        return NULL;
    snprintf(copy, size, "%s", text);
    return copy;
}

/* Copies what the event borrows. */
static struct queued_event *copy_event(const struct node_event *event)
{
    struct queued_event *copy = calloc(1, sizeof *copy);
    struct node_event *e;

    if (copy == NULL)
        return NULL;
    copy->event = *event;
    e = &copy->event;
    if (has_instance(event)) /* .instance stands first in both structures */
        snprintf(copy->instance, sizeof copy->instance, "%s", event->instance.instance);
    if (event->type == NODE_PROBE) {
        e->probe.instance = copy->instance;
        e->probe.reason = keep_text(copy->reason, sizeof copy->reason, e->probe.reason);
    } else if (has_instance(event)) {
        e->instance.instance = copy->instance;
        e->instance.reason = keep_text(copy->reason, sizeof copy->reason, e->instance.reason);
    } else if (event->type == NODE_DRIFT) {
        e->drift.instance = keep_text(copy->instance, sizeof copy->instance, e->drift.instance);
    } else if (event->type == NODE_SUSPEND) {
        snprintf(copy->instance, sizeof copy->instance, "%s", event->suspend.app);
        e->suspend.app = copy->instance;
        e->suspend.reason = keep_text(copy->reason, sizeof copy->reason, e->suspend.reason);
    } else if (event->type == NODE_COMMIT) {
        e->commit.reason = keep_text(copy->reason, sizeof copy->reason, e->commit.reason);
    } else if (event->type == NODE_FENCE) {
        e->fence.reason = keep_text(copy->reason, sizeof copy->reason, e->fence.reason);
    } else if (event->type == NODE_DESIRED) {
        e->desired.subject = keep_text(copy->subject, sizeof copy->subject, e->desired.subject);
        e->desired.canary = keep_text(copy->canary, sizeof copy->canary, e->desired.canary);
        e->desired.instead = keep_text(copy->reason, sizeof copy->reason, e->desired.instead);
    }
    return copy;
}

static void drain(struct agent *agent)
{
    while (agent->queue_first != NULL) {
        struct queued_event *first = agent->queue_first;
        agent->queue_first = first->next;
        step(agent, &first->event);
        free(first);
    }
}

void agent_drop_event(struct agent *agent)
{
    struct queued_event *first = agent->queue_first;

    agent->queue_first = first->next;
    if (first->event.type == NODE_DESIRED)
        desired_free(first->event.desired.desired);
    free(first);
}

void agent_feed(struct agent *agent, const struct node_event *event)
{
    struct node_event copy = *event;
    struct queued_event *queued;

    if (agent->node == NULL || agent->closed) {
        if (event->type == NODE_DESIRED)
            desired_free(event->desired.desired);
        return;
    }
    if (!agent->draining) {
        agent->draining = true;
        step(agent, &copy);
        drain(agent);
        agent->draining = false;
        agent_net_arm(agent);
        return;
    }
    queued = copy_event(event);
    if (queued == NULL)
        abort(); /* as in step() */
    if (agent->queue_first == NULL)
        agent->queue_first = queued;
    else
        agent->queue_last->next = queued;
    agent->queue_last = queued;
}

void agent_post(void *agent, const struct node_event *event)
{
    agent_feed(agent, event);
}
