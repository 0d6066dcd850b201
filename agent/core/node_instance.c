/* One workload instance on this node: drives its supervision and probes, publishes its record. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"
#include "proto/record/value_codec.h"

struct instance *node_find_instance(const struct node *node, const char *name)
{
    for (size_t i = 0; i < node->instance_count; i++)
        if (node->instances[i]->elder == NULL && strcmp(node->instances[i]->name, name) == 0)
            return node->instances[i];
    return NULL;
}

const char *node_instance_process(const struct instance *instance)
{
    return instance->second ? instance->other : instance->name;
}

struct instance *node_find_process(const struct node *node, const char *process)
{
    for (size_t i = 0; i < node->instance_count; i++)
        if (strcmp(node_instance_process(node->instances[i]), process) == 0)
            return node->instances[i];
    return NULL;
}

void node_instance_free(struct instance *instance)
{
    if (instance == NULL)
        return;
    node_rendering_free(&instance->rendering);
    free(instance);
}

static uint8_t shown_state(const struct instance *instance)
{
    static const uint8_t shown[SUPERVISE_STATES] = {
        [SUPERVISE_STOPPED] = VALUE_WAITING,     [SUPERVISE_WAITING] = VALUE_WAITING,
        [SUPERVISE_STARTING] = VALUE_STARTING,   [SUPERVISE_RUNNING] = VALUE_RUNNING,
        [SUPERVISE_READY] = VALUE_READY,         [SUPERVISE_STOPPING] = VALUE_STOPPING,
        [SUPERVISE_BACKOFF] = VALUE_BACKOFF,     [SUPERVISE_FAILED] = VALUE_FAILED,
        [SUPERVISE_COMPLETED] = VALUE_COMPLETED,
    };
    const struct supervise_exit *exit = &instance->machine.last_exit;

    if (instance->machine.state == SUPERVISE_COMPLETED &&
        (exit->kind != SUPERVISE_EXIT_CODE || exit->value != 0))
        return VALUE_FAILED;
    return shown[instance->machine.state];
}

static int32_t shown_exit(const struct supervise_exit *exit)
{
    switch (exit->kind) {
    case SUPERVISE_EXIT_CODE:
        return exit->value;
    case SUPERVISE_EXIT_SIGNAL:
        return 128 + exit->value;
    case SUPERVISE_EXIT_FAILED:
        return 127;
    case SUPERVISE_EXIT_LOST:
        return 255;
    default:
        return -1;
    }
}

/* Why the next version has not taken over yet. */
static void tell_elder(struct node *node, const struct instance *heir)
{
    if (heir->doomed || heir->reason[0] == '\0')
        return;
    snprintf(heir->elder->reason, sizeof heir->elder->reason, "its next version: %.130s",
             heir->reason);
    node_instance_publish(node, heir->elder);
}

/* What matters most of what there is to say. */
static void shown_reason(const struct instance *instance, char text[VALUE_REASON_MAX])
{
    if (instance->reason[0] != '\0')
        snprintf(text, VALUE_REASON_MAX, "%s", instance->reason);
    else if (instance->note[0] != '\0')
        snprintf(text, VALUE_REASON_MAX, "%s", instance->note);
    else if (instance->before[0] != '\0' && supervise_alive(&instance->machine))
        snprintf(text, VALUE_REASON_MAX, "last run %.*s", VALUE_REASON_MAX - 10, instance->before);
}

void node_instance_publish(struct node *node, struct instance *instance)
{
    struct value_instance value = {0};
    uint8_t bytes[RECORD_VALUE_MAX];
    char key[RECORD_KEY_MAX];
    size_t len;

    value.state = shown_state(instance);
    if (value.state != instance->shown) {
        instance->shown = value.state;
        instance->since = node->wall;
        if (value.state == VALUE_READY || value.state == VALUE_STARTING)
            instance->reason[0] = '\0';
        node->work_dirty = true;
    }
    if (instance->elder != NULL) { /* people see it when it has taken its place */
        tell_elder(node, instance);
        return;
    }
    value.generation = instance->machine.run_generation;
    value.pid = (uint32_t)instance->machine.pid;
    if (instance->workload == NULL || !instance->workload->cron) /* its runs are no restarts */
        value.restarts = (uint32_t)instance->machine.restarts;
    value.since = instance->since;
    value.exit_code = shown_exit(&instance->machine.last_exit);
    value.port_count = instance->port_count;
    memcpy(value.ports, instance->ports, sizeof value.ports);
    shown_reason(instance, value.reason);
    if (memcmp(&value, &instance->published, sizeof value) == 0)
        return;
    instance->published = value;
    snprintf(key, sizeof key, "instance/%.100s", instance->name);
    if (value_instance_encode(&value, bytes, sizeof bytes, &len) == ERR_NONE)
        node_publish(node, key, bytes, len);
}

static struct addr probe_target(const struct node *node, const struct instance *instance,
                                const struct desired_probe *probe)
{
    struct addr target = node->config.head.addr;

    if (instance->probe_port != 0) /* its ports may be answered by another process of it */
        return (struct addr){.family = 4, .ip = {127, 0, 0, 1}, .port = instance->probe_port};
    if (instance->judge->listen != DESIRED_LISTEN_NODE)
        target = (struct addr){.family = 4, .ip = {127, 0, 0, 1}};
    target.port = 0;
    for (uint8_t i = 0; probe->port != NULL && i < instance->port_count; i++)
        if (strcmp(instance->ports[i].name, probe->port) == 0)
            target.port = instance->ports[i].port;
    return target;
}

static void health_effects(struct node *node, struct instance *instance,
                           const struct health_out *out)
{
    const struct desired_workload *w = instance->workload != NULL ? instance->judge : NULL;
    const struct desired_probe *probes[HEALTH_PROBES];

    if (w == NULL)
        return;
    probes[HEALTH_STARTUP] = &w->startup;
    probes[HEALTH_READINESS] = &w->readiness;
    probes[HEALTH_LIVENESS] = &w->liveness;
    for (int i = 0; i < HEALTH_PROBES; i++) {
        struct effect *effect;
        if (!out->probe[i].run)
            continue;
        effect = node_effect(node, EFFECT_PROBE);
        effect->probe = (struct effect_probe){.instance = node_instance_process(instance),
                                              .probe = probes[i],
                                              .which = (enum health_probe)i,
                                              .ticket = out->probe[i].ticket,
                                              .timeout_ms = out->probe[i].timeout_ms,
                                              .target = probe_target(node, instance, probes[i])};
    }
    if (out->ready_changed && instance->machine.policy.probed) {
        struct supervise_event event = {.type = instance->health.ready ? SUPERVISE_PROBE_READY
                                                                       : SUPERVISE_PROBE_UNREADY};
        node_instance_step(node, instance, &event);
    }
    if (out->dead) {
        struct supervise_event event = {.type = SUPERVISE_PROBE_DEAD};
        char subject[INSTANCE_MAX + 8];
        snprintf(subject, sizeof subject, "app/%s", instance->name);
        node_event(node, EFFECT_WARNING, subject, "%s is restarted: its probe failed (%s)",
                   instance->name,
                   instance->reason[0] != '\0' ? instance->reason : "no answer in time");
        node_instance_step(node, instance, &event);
    }
}

void node_instance_probes(struct node *node, struct instance *instance,
                          const struct health_policy probes[HEALTH_PROBES])
{
    bool active = instance->health.active;
    bool ready = instance->health.ready;
    struct health_out out;

    health_init(&instance->health, probes);
    instance->health.ready = ready;
    if (!active)
        return;
    health_begin(&instance->health, node->now, instance->machine.started_at, &out);
    health_effects(node, instance, &out);
}

void node_instance_extend(struct node *node, struct instance *instance, mono_t until)
{
    struct effect *effect;

    if (!supervise_alive(&instance->machine))
        return;
    effect = node_effect(node, EFFECT_EXTEND);
    effect->stop.instance = node_instance_process(instance);
    effect->stop.until = until;
}

static mono_t lease_end(const struct node *node, const struct instance *instance)
{
    struct lease_view view;

    if (instance->lease == 0)
        return MONO_NEVER;
    if (!leases_get(node->leases, node->now, instance->lease, &view))
        return node->now;
    return view.end;
}

static struct effect_start start_of(const struct node *node, const struct instance *instance,
                                    uint64_t generation)
{
    return (struct effect_start){.instance = node_instance_process(instance),
                                 .desired = node->desired,
                                 .workload = instance->workload,
                                 .generation = generation,
                                 .env = {instance->rendering.env, instance->rendering.env_count},
                                 .args = instance->rendering.args,
                                 .files = instance->rendering.files,
                                 .file_count = instance->rendering.file_count,
                                 .lease_until = lease_end(node, instance)};
}

static void machine_effect(struct node *node, struct instance *instance,
                           const struct supervise_effect *from)
{
    struct health_out health;
    struct effect *effect;

    switch (from->type) {
    case SUPERVISE_DO_START:
        /* A run is what its environment makes it: that may have changed since the wish. */
        if (!instance->workload->cron)
            instance->machine.run_generation = instance->rendering.generation;
        instance->delivered = instance->rendering.contents;
        instance->judge_generation = instance->workload->generation;
        node_instance_judge(node, instance);
        instance->port_count = 0;
        instance->probe_port = 0;
        instance->unprobed = false;
        effect = node_effect(node, EFFECT_START);
        effect->start = start_of(node, instance, instance->machine.run_generation);
        break;
    case SUPERVISE_DO_STOP:
    case SUPERVISE_DO_KILL:
        effect = node_effect(node, EFFECT_STOP);
        effect->stop = (struct effect_stop){.instance = node_instance_process(instance),
                                            .signal = from->signal,
                                            .timeout_ms = from->timeout_ms};
        break;
    case SUPERVISE_DO_PROBE_BEGIN:
        health_begin(&instance->health, node->now, from->started_at, &health);
        health_effects(node, instance, &health);
        break;
    case SUPERVISE_DO_PROBE_END:
        health_end(&instance->health);
        break;
    case SUPERVISE_DO_PREPARE:
        if (instance->workload == NULL || instance->workload->cron)
            break;
        effect = node_effect(node, EFFECT_PREPARE);
        effect->start = start_of(node, instance, instance->rendering.generation);
        break;
    }
}

static void report(struct node *node, struct instance *instance,
                   const struct supervise_event *event, const struct supervise_out *out)
{
    char subject[INSTANCE_MAX + 8];

    snprintf(subject, sizeof subject, "app/%s", instance->name);
    if (out->illegal)
        node_event(node, EFFECT_ERROR, subject, "%s: the event %s came in the state %s; ignored",
                   instance->name, supervise_event_name(event->type),
                   supervise_state_name(out->from));
    if (out->start_limit)
        node_event(node, EFFECT_ERROR, subject,
                   "%s ended %u times in a row soon after its start; next try in 5 minutes. See "
                   "agentctl logs %s",
                   instance->name, instance->machine.failures, instance->name);
    if (out->from != out->to && out->to == SUPERVISE_READY &&
        !(instance->workload != NULL && instance->workload->cron))
        node_event(node, EFFECT_INFO, subject, "%s is ready", instance->name);
}

void node_instance_step(struct node *node, struct instance *instance,
                        const struct supervise_event *event)
{
    struct supervise_out out;

    supervise_step(&instance->machine, node->now, event, &node->rng, &out);
    report(node, instance, event, &out);
    for (size_t i = 0; i < out.effects; i++)
        machine_effect(node, instance, &out.effect[i]);
    node_instance_publish(node, instance);
}

/* ---- what the executor reports ---- */

static struct instance *known_instance(struct node *node, const char *name, const char *what)
{
    struct instance *instance = node_find_process(node, name);
    char subject[INSTANCE_MAX + 8];

    if (instance == NULL) {
        snprintf(subject, sizeof subject, "app/%.*s", INSTANCE_MAX - 1, name);
        node_event(node, EFFECT_WARNING, subject, "%s %s, which is not known here; ignored", name,
                   what);
    }
    return instance;
}

void node_work_started(struct node *node, const struct node_event_instance *event)
{
    struct instance *instance = known_instance(node, event->instance, "has started");
    struct supervise_event step = {.type = SUPERVISE_STARTED, .pid = event->pid};

    if (instance == NULL)
        return;
    instance->port_count = event->port_count;
    memcpy(instance->ports, event->ports, sizeof instance->ports);
    instance->probe_port = event->probe_port;
    node_instance_step(node, instance, &step);
}

static void describe_exit(struct instance *instance, const struct node_event_instance *event)
{
    const char *more = event->reason != NULL ? event->reason : "";

    switch (event->exit.kind) {
    case SUPERVISE_EXIT_CODE:
        snprintf(instance->reason, sizeof instance->reason, "ended with exit code %d%s%.100s",
                 event->exit.value, more[0] != '\0' ? " " : "", more);
        break;
    case SUPERVISE_EXIT_SIGNAL:
        snprintf(instance->reason, sizeof instance->reason, "ended by signal %d (%s)%s%.90s",
                 event->exit.value, strsignal(event->exit.value), more[0] != '\0' ? " " : "", more);
        break;
    case SUPERVISE_EXIT_FAILED:
        snprintf(instance->reason, sizeof instance->reason, "could not be started: %.120s",
                 event->reason != NULL ? event->reason : strerror(event->exit.value));
        break;
    case SUPERVISE_EXIT_LEASE:
        snprintf(instance->reason, sizeof instance->reason,
                 "ended by its shim, as its lease was over");
        break;
    default:
        snprintf(instance->reason, sizeof instance->reason, "%.150s",
                 more[0] != '\0' ? more : "ended, how is not known");
        break;
    }
}

void node_work_exited(struct node *node, const struct node_event_instance *event)
{
    struct instance *instance = known_instance(node, event->instance, "has ended");
    struct supervise_event step = {.type = event->exit.kind == SUPERVISE_EXIT_FAILED
                                               ? SUPERVISE_START_FAILED
                                               : SUPERVISE_EXITED,
                                   .exit = event->exit,
                                   .starved = event->starved};
    char subject[INSTANCE_MAX + 8];
    bool expected;

    if (instance == NULL)
        return;
    expected = event->reason == NULL &&
               (instance->machine.state == SUPERVISE_STOPPING ||
                (event->exit.kind == SUPERVISE_EXIT_CODE && event->exit.value == 0));
    describe_exit(instance, event);
    instance->note[0] = '\0';
    snprintf(instance->before, sizeof instance->before, "%s", expected ? "" : instance->reason);
    snprintf(subject, sizeof subject, "app/%s", instance->name);
    if (!expected || instance->workload == NULL || !instance->workload->cron)
        node_event(node, expected ? EFFECT_INFO : EFFECT_WARNING, subject, "%s %s", instance->name,
                   instance->reason);
    node_instance_step(node, instance, &step);
    node_cron_exited(node, instance,
                     event->exit.kind == SUPERVISE_EXIT_LOST ? -1 : shown_exit(&event->exit));
}

void node_work_note(struct node *node, const struct node_event_instance *event)
{
    struct instance *instance = node_find_process(node, event->instance);
    const char *note = event->reason != NULL ? event->reason : "";
    char subject[INSTANCE_MAX + 8];

    if (instance == NULL || !supervise_alive(&instance->machine))
        return;
    if (instance->note[0] == '\0' && note[0] != '\0') {
        snprintf(subject, sizeof subject, "app/%s", instance->name);
        node_event(node, EFFECT_WARNING, subject, "%s: %s", instance->name, note);
    }
    snprintf(instance->note, sizeof instance->note, "%s", note);
    node_instance_publish(node, instance);
}

void node_work_probe(struct node *node, const struct node_event_probe *event)
{
    struct instance *instance = node_find_process(node, event->instance);
    struct health_out out;

    if (instance == NULL)
        return;
    if (event->which != HEALTH_LIVENESS)
        instance->unprobed = false;
    if (!event->success && event->reason != NULL)
        snprintf(instance->reason, sizeof instance->reason, "probe: %.140s", event->reason);
    health_result(&instance->health, node->now, event->which, event->ticket, event->success, &out);
    health_effects(node, instance, &out);
    if (!event->success && !instance->health.ready) /* people see why it is not ready */
        node_instance_publish(node, instance);
}

void node_instance_tick(struct node *node, struct instance *instance)
{
    struct supervise_event tick = {.type = SUPERVISE_TICK};
    struct health_out out;

    if (mono_reached(node->now, supervise_deadline(&instance->machine)))
        node_instance_step(node, instance, &tick);
    if (mono_reached(node->now, health_deadline(&instance->health))) {
        health_tick(&instance->health, node->now, &out);
        health_effects(node, instance, &out);
    }
}
