#include "agent/core/health.h"

#include <assert.h>

struct health_policy health_policy_default(void)
{
    return (struct health_policy){
        .period_ms = 10000,
        .timeout_ms = 1000,
        .success_threshold = 1,
        .failure_threshold = 3,
    };
}

void health_init(struct health *h, const struct health_policy policy[HEALTH_PROBES])
{
    *h = (struct health){.active = false};
    for (int i = 0; i < HEALTH_PROBES; i++) {
        assert(!policy[i].present ||
               (policy[i].period_ms >= 1 && policy[i].timeout_ms >= 1 &&
                policy[i].success_threshold >= 1 && policy[i].failure_threshold >= 1));
        h->probe[i] =
            (struct health_track){.policy = policy[i], .next = MONO_NEVER, .timeout = MONO_NEVER};
    }
}

static bool in_flight(const struct health_track *t)
{
    return !mono_is_never(t->timeout);
}

static void schedule(struct health_track *t, mono_t at)
{
    t->next = at;
    t->regular = at;
}

static void set_ready(struct health *h, bool ready, struct health_out *out)
{
    if (h->ready == ready)
        return;
    h->ready = ready;
    out->ready_changed = true;
}

/* The startup probe has succeeded, or there is none: the others begin. */
static void begin_others(struct health *h, mono_t now, struct health_out *out)
{
    h->started = true;
    for (int i = HEALTH_READINESS; i < HEALTH_PROBES; i++) {
        struct health_track *t = &h->probe[i];
        if (t->policy.present)
            schedule(t, mono_max(now, mono_add(h->started_at, t->policy.initial_delay_ms)));
    }
    if (!h->probe[HEALTH_READINESS].policy.present)
        set_ready(h, true, out);
}

static void give_up(struct health *h, struct health_out *out)
{
    health_end(h);
    set_ready(h, false, out);
    out->dead = true;
}

static void judge(struct health *h, mono_t now, enum health_probe probe, bool success,
                  struct health_out *out)
{
    struct health_track *t = &h->probe[probe];

    t->timeout = MONO_NEVER;
    schedule(t, mono_max(t->regular, now));
    if (success) {
        t->eager_ms = 0;
    } else if (t->eager_ms > 0) {
        t->next = mono_min(t->regular, mono_add(now, t->eager_ms));
        if (t->eager_ms < t->policy.period_ms)
            t->eager_ms *= 2;
        if (!t->counts)
            return;
    }
    t->successes = success ? t->successes + 1 : 0;
    t->failures = success ? 0 : t->failures + 1;
    if (t->successes >= t->policy.success_threshold) {
        if (probe == HEALTH_READINESS) {
            set_ready(h, true, out);
        } else if (probe == HEALTH_STARTUP) {
            schedule(t, MONO_NEVER);
            begin_others(h, now, out);
        }
    } else if (t->failures >= t->policy.failure_threshold) {
        if (probe == HEALTH_READINESS)
            set_ready(h, false, out);
        else
            give_up(h, out);
    }
}

/* Starts what is due. A regular run's successor is due a period after its start. */
static void run_due(struct health *h, mono_t now, struct health_out *out)
{
    for (int i = 0; i < HEALTH_PROBES; i++) {
        struct health_track *t = &h->probe[i];
        if (!h->active || in_flight(t) || !mono_reached(now, t->next))
            continue;
        t->counts = mono_reached(now, t->regular);
        if (t->counts)
            t->regular = mono_add(now, t->policy.period_ms);
        t->timeout = mono_add(now, t->policy.timeout_ms + HEALTH_RESULT_GRACE_MS);
        t->ticket++;
        out->probe[i] = (struct health_run){
            .run = true, .ticket = t->ticket, .timeout_ms = t->policy.timeout_ms};
    }
}

void health_begin(struct health *h, mono_t now, mono_t started_at, struct health_out *out)
{
    *out = (struct health_out){.dead = false};
    health_end(h);
    set_ready(h, false, out);
    h->active = true;
    h->started_at = started_at;
    h->started = false;
    for (int i = 0; i < HEALTH_PROBES; i++) {
        h->probe[i].successes = 0;
        h->probe[i].failures = 0;
        h->probe[i].eager_ms = i == HEALTH_LIVENESS ? 0 : HEALTH_EAGER_MS;
    }
    if (h->probe[HEALTH_STARTUP].policy.present)
        schedule(
            &h->probe[HEALTH_STARTUP],
            mono_max(now, mono_add(started_at, h->probe[HEALTH_STARTUP].policy.initial_delay_ms)));
    else
        begin_others(h, now, out);
    run_due(h, now, out);
}

void health_end(struct health *h)
{
    h->active = false;
    for (int i = 0; i < HEALTH_PROBES; i++) {
        schedule(&h->probe[i], MONO_NEVER);
        h->probe[i].timeout = MONO_NEVER;
    }
}

void health_result(struct health *h, mono_t now, enum health_probe probe, uint32_t ticket,
                   bool success, struct health_out *out)
{
    struct health_track *t = &h->probe[probe];

    *out = (struct health_out){.dead = false};
    if (!h->active || !in_flight(t) || ticket != t->ticket)
        return;
    judge(h, now, probe, success, out);
    run_due(h, now, out);
}

void health_tick(struct health *h, mono_t now, struct health_out *out)
{
    *out = (struct health_out){.dead = false};
    for (int i = 0; i < HEALTH_PROBES; i++) {
        if (h->active && in_flight(&h->probe[i]) && mono_reached(now, h->probe[i].timeout))
            judge(h, now, (enum health_probe)i, false, out);
    }
    run_due(h, now, out);
}

mono_t health_deadline(const struct health *h)
{
    mono_t wake = MONO_NEVER;

    for (int i = 0; i < HEALTH_PROBES && h->active; i++) {
        const struct health_track *t = &h->probe[i];
        wake = mono_min(wake, in_flight(t) ? t->timeout : t->next);
    }
    return wake;
}
