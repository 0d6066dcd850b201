#include "agent/core/supervise.h"
#include "agent/core/supervise_inside.h"

#include <assert.h>
#include <signal.h>
#include <string.h>

#include "proto/base/id.h"

/* Changes the machine, adds effects and returns the next state; never sets m->state itself. */
typedef enum supervise_state action(struct supervise *m, const struct step *s);

static struct supervise_effect *emit(const struct step *s, enum supervise_effect_type type)
{
    struct supervise_effect *effect;

    assert(s->out->effects < SUPERVISE_EFFECTS_MAX);
    effect = &s->out->effect[s->out->effects++];
    *effect = (struct supervise_effect){.type = type};
    return effect;
}

static void probes_begin(struct supervise *m, const struct step *s)
{
    if (m->probing)
        return;
    m->probing = true;
    emit(s, SUPERVISE_DO_PROBE_BEGIN)->started_at = m->started_at;
}

void supervise_probes_end(struct supervise *m, const struct step *s)
{
    if (!m->probing)
        return;
    m->probing = false;
    emit(s, SUPERVISE_DO_PROBE_END);
}

enum supervise_state supervise_start(struct supervise *m, const struct step *s)
{
    if (!m->wanted)
        return SUPERVISE_STOPPED;
    if (!m->permitted || (m->policy.needs_lease && !m->leased))
        return SUPERVISE_WAITING;
    if (m->starts > 0)
        m->restarts++;
    m->starts++;
    m->run_generation = m->generation;
    m->unhealthy = false;
    m->left = false;
    emit(s, SUPERVISE_DO_START)->generation = m->generation;
    return SUPERVISE_STARTING;
}

static enum supervise_state stop(struct supervise *m, const struct step *s)
{
    struct supervise_effect *effect;

    supervise_probes_end(m, s);
    effect = emit(s, SUPERVISE_DO_STOP);
    effect->signal = m->policy.stop_signal != 0 ? m->policy.stop_signal : SIGTERM;
    effect->timeout_ms = m->policy.stop_timeout_ms;
    m->wake_at = mono_add(s->now, m->policy.stop_timeout_ms + SUPERVISE_KILL_AGAIN_MS);
    return SUPERVISE_STOPPING;
}

static enum supervise_state kill_now(struct supervise *m, const struct step *s)
{
    supervise_probes_end(m, s);
    emit(s, SUPERVISE_DO_KILL);
    m->wake_at = mono_add(s->now, SUPERVISE_KILL_AGAIN_MS);
    return SUPERVISE_STOPPING;
}

/* Before a run counts as stable, but not for one that ends soon; and not for all in one moment,
 * where many were started or found together. */
static mono_t prepare_time(const struct supervise *m, const struct step *s)
{
    int64_t stable = m->policy.stable_ms;
    uint64_t spread = hash64_mix((uint64_t)m->pid, m->run_generation);

    return mono_add(s->now, stable / 2 + (int64_t)(spread % (uint64_t)(stable / 3 + 1)));
}

/* A process lives: is it the one that is wanted? */
static enum supervise_state settle(struct supervise *m, const struct step *s)
{
    if (!m->wanted || m->generation != m->run_generation)
        return stop(m, s);
    probes_begin(m, s);
    return m->policy.probed ? SUPERVISE_RUNNING : SUPERVISE_READY;
}

static void take_wish(struct supervise *m, const struct step *s)
{
    m->wanted = true;
    m->generation = s->event->generation;
    m->policy = s->event->policy;
}

/* ---- actions of the table ---- */

static enum supervise_state stay(struct supervise *m, const struct step *s)
{
    (void)s;
    return m->state;
}

/* WANT_RUN where no process lives. A run of that very generation may have ended before its wish
 * was known (the agent was away): then its policy speaks first. */
static enum supervise_state want_fresh(struct supervise *m, const struct step *s)
{
    take_wish(m, s);
    if (m->unjudged && m->generation == m->run_generation)
        return supervise_judge(m, s);
    m->unjudged = false;
    m->failures = 0;
    return supervise_start(m, s);
}

/* WANT_RUN after a run of this instance: only another generation starts at once, and what was left
 * killed, but shall not be any more. */
static enum supervise_state want_other(struct supervise *m, const struct step *s)
{
    bool other =
        s->event->generation != m->run_generation || (m->left && !s->event->policy.leave_killed);

    take_wish(m, s);
    if (!other)
        return m->state;
    m->failures = 0;
    return supervise_start(m, s);
}

static enum supervise_state want_note(struct supervise *m, const struct step *s)
{
    take_wish(m, s);
    return m->state;
}

static enum supervise_state want_alive(struct supervise *m, const struct step *s)
{
    bool known = m->wanted;
    bool probed = m->policy.probed;

    take_wish(m, s);
    if (!known || m->generation != m->run_generation)
        return settle(m, s);
    /* Ready is what the present policy calls so. */
    if (probed == m->policy.probed)
        return m->state;
    return m->policy.probed ? SUPERVISE_RUNNING : SUPERVISE_READY;
}

static enum supervise_state unwant_note(struct supervise *m, const struct step *s)
{
    (void)s;
    m->wanted = false;
    return m->state;
}

/* A hook before its start may take long: the shim is told at once. What it answers is the end. */
static enum supervise_state unwant_starting(struct supervise *m, const struct step *s)
{
    struct supervise_effect *effect = emit(s, SUPERVISE_DO_STOP);

    effect->signal = m->policy.stop_signal != 0 ? m->policy.stop_signal : SIGTERM;
    effect->timeout_ms = m->policy.stop_timeout_ms;
    m->wanted = false;
    return m->state;
}

static enum supervise_state unwant_idle(struct supervise *m, const struct step *s)
{
    (void)s;
    m->wanted = false;
    return SUPERVISE_STOPPED;
}

static enum supervise_state unwant_alive(struct supervise *m, const struct step *s)
{
    m->wanted = false;
    return stop(m, s);
}

static enum supervise_state permit(struct supervise *m, const struct step *s)
{
    m->permitted = true;
    return m->state == SUPERVISE_WAITING ? supervise_start(m, s) : m->state;
}

static enum supervise_state forbid(struct supervise *m, const struct step *s)
{
    (void)s;
    m->permitted = false;
    return m->state;
}

static enum supervise_state lease_gained(struct supervise *m, const struct step *s)
{
    m->leased = true;
    return m->state == SUPERVISE_WAITING ? supervise_start(m, s) : m->state;
}

static enum supervise_state lease_lost(struct supervise *m, const struct step *s)
{
    (void)s;
    m->leased = false;
    return m->state;
}

static enum supervise_state lease_lost_alive(struct supervise *m, const struct step *s)
{
    m->leased = false;
    return m->policy.needs_lease ? kill_now(m, s) : m->state;
}

static enum supervise_state started(struct supervise *m, const struct step *s)
{
    m->pid = s->event->pid;
    m->started_at = s->now;
    m->prepare_at = prepare_time(m, s);
    if (m->policy.needs_lease && !m->leased)
        return kill_now(m, s);
    return settle(m, s);
}

static enum supervise_state found(struct supervise *m, const struct step *s)
{
    m->pid = s->event->pid;
    m->started_at = s->event->started_at;
    m->run_generation = s->event->generation;
    m->prepare_at = prepare_time(m, s);
    m->unhealthy = false;
    m->unjudged = false; /* an end before this one needs no judgement */
    if (m->starts == 0)
        m->starts = 1;
    if (s->event->stopping)
        return stop(m, s);
    /* Before the first wish nothing is known: it runs on, and no probe judges it. */
    if (!m->wanted && m->state == SUPERVISE_STOPPED)
        return SUPERVISE_RUNNING;
    return settle(m, s);
}

static enum supervise_state probe_ready(struct supervise *m, const struct step *s)
{
    (void)m;
    (void)s;
    return SUPERVISE_READY;
}

static enum supervise_state probe_unready(struct supervise *m, const struct step *s)
{
    (void)m;
    (void)s;
    return SUPERVISE_RUNNING;
}

static enum supervise_state probe_dead(struct supervise *m, const struct step *s)
{
    m->unhealthy = true;
    return stop(m, s);
}

static enum supervise_state tick_retry(struct supervise *m, const struct step *s)
{
    return mono_reached(s->now, m->wake_at) ? supervise_start(m, s) : m->state;
}

static enum supervise_state tick_run(struct supervise *m, const struct step *s)
{
    if (mono_diff(s->now, m->started_at) >= m->policy.stable_ms)
        m->failures = 0;
    if (!mono_reached(s->now, m->prepare_at))
        return m->state;
    m->prepare_at = MONO_NEVER;
    if (m->policy.restart != SUPERVISE_NEVER && m->wanted && m->generation == m->run_generation)
        emit(s, SUPERVISE_DO_PREPARE)->generation = m->generation;
    return m->state;
}

static enum supervise_state tick_kill(struct supervise *m, const struct step *s)
{
    return mono_reached(s->now, m->wake_at) ? kill_now(m, s) : m->state;
}

/* ---- the table ---- */

enum {
    STOPPED = 1 << SUPERVISE_STOPPED,
    WAITING = 1 << SUPERVISE_WAITING,
    STARTING = 1 << SUPERVISE_STARTING,
    RUNNING = 1 << SUPERVISE_RUNNING,
    READY = 1 << SUPERVISE_READY,
    STOPPING = 1 << SUPERVISE_STOPPING,
    BACKOFF = 1 << SUPERVISE_BACKOFF,
    FAILED = 1 << SUPERVISE_FAILED,
    COMPLETED = 1 << SUPERVISE_COMPLETED,
    /* What may follow where nothing lives, where something was just found to live, and an end. */
    BEGIN = WAITING | STARTING,
    SETTLED = RUNNING | READY | STOPPING,
    ENDED = STOPPED | BEGIN | BACKOFF | FAILED | COMPLETED
};

/* A cell without an action is an event that this state cannot have: it is refused and counted. */
static const struct cell {
    action *act;
    unsigned next; /* the states that the action may lead to */
} table[SUPERVISE_STATES][SUPERVISE_EVENTS] =
    {
        [SUPERVISE_STOPPED] =
            {
                [SUPERVISE_WANT_RUN] = {want_fresh, BEGIN | BACKOFF | FAILED | COMPLETED},
                [SUPERVISE_WANT_STOP] = {unwant_idle, STOPPED},
                [SUPERVISE_PERMIT] = {permit, STOPPED},
                [SUPERVISE_FORBID] = {forbid, STOPPED},
                [SUPERVISE_LEASE_GAINED] = {lease_gained, STOPPED},
                [SUPERVISE_LEASE_LOST] = {lease_lost, STOPPED},
                [SUPERVISE_FOUND] = {found, RUNNING | STOPPING},
                [SUPERVISE_TICK] = {stay, STOPPED},
            },
        [SUPERVISE_WAITING] =
            {
                [SUPERVISE_WANT_RUN] = {want_fresh, BEGIN},
                [SUPERVISE_WANT_STOP] = {unwant_idle, STOPPED},
                [SUPERVISE_PERMIT] = {permit, BEGIN},
                [SUPERVISE_FORBID] = {forbid, WAITING},
                [SUPERVISE_LEASE_GAINED] = {lease_gained, BEGIN},
                [SUPERVISE_LEASE_LOST] = {lease_lost, WAITING},
                [SUPERVISE_FOUND] = {found, SETTLED},
                [SUPERVISE_TICK] = {stay, WAITING},
            },
        [SUPERVISE_STARTING] =
            {
                [SUPERVISE_WANT_RUN] = {want_note, STARTING},
                [SUPERVISE_WANT_STOP] = {unwant_starting, STARTING},
                [SUPERVISE_PERMIT] = {permit, STARTING},
                [SUPERVISE_FORBID] = {forbid, STARTING},
                [SUPERVISE_LEASE_GAINED] = {lease_gained, STARTING},
                [SUPERVISE_LEASE_LOST] = {lease_lost, STARTING},
                [SUPERVISE_STARTED] = {started, SETTLED},
                [SUPERVISE_START_FAILED] = {supervise_exited, ENDED},
                [SUPERVISE_EXITED] = {supervise_exited, ENDED},
                [SUPERVISE_FOUND] = {found, SETTLED},
                [SUPERVISE_TICK] = {stay, STARTING},
            },
        [SUPERVISE_RUNNING] =
            {
                [SUPERVISE_WANT_RUN] = {want_alive, SETTLED},
                [SUPERVISE_WANT_STOP] = {unwant_alive, STOPPING},
                [SUPERVISE_PERMIT] = {permit, RUNNING},
                [SUPERVISE_FORBID] = {forbid, RUNNING},
                [SUPERVISE_LEASE_GAINED] = {lease_gained, RUNNING},
                [SUPERVISE_LEASE_LOST] = {lease_lost_alive, RUNNING | STOPPING},
                [SUPERVISE_EXITED] = {supervise_exited, ENDED},
                [SUPERVISE_PROBE_READY] = {probe_ready, READY},
                [SUPERVISE_PROBE_UNREADY] = {probe_unready, RUNNING},
                [SUPERVISE_PROBE_DEAD] = {probe_dead, STOPPING},
                [SUPERVISE_TICK] = {tick_run, RUNNING},
            },
        [SUPERVISE_READY] =
            {
                [SUPERVISE_WANT_RUN] = {want_alive, SETTLED},
                [SUPERVISE_WANT_STOP] = {unwant_alive, STOPPING},
                [SUPERVISE_PERMIT] = {permit, READY},
                [SUPERVISE_FORBID] = {forbid, READY},
                [SUPERVISE_LEASE_GAINED] = {lease_gained, READY},
                [SUPERVISE_LEASE_LOST] = {lease_lost_alive, READY | STOPPING},
                [SUPERVISE_EXITED] = {supervise_exited, ENDED},
                [SUPERVISE_PROBE_READY] = {probe_ready, READY},
                [SUPERVISE_PROBE_UNREADY] = {probe_unready, RUNNING},
                [SUPERVISE_PROBE_DEAD] = {probe_dead, STOPPING},
                [SUPERVISE_TICK] = {tick_run, READY},
            },
        [SUPERVISE_STOPPING] =
            {
                [SUPERVISE_WANT_RUN] = {want_note, STOPPING},
                [SUPERVISE_WANT_STOP] = {unwant_note, STOPPING},
                [SUPERVISE_PERMIT] = {permit, STOPPING},
                [SUPERVISE_FORBID] = {forbid, STOPPING},
                [SUPERVISE_LEASE_GAINED] = {lease_gained, STOPPING},
                [SUPERVISE_LEASE_LOST] = {lease_lost_alive, STOPPING},
                [SUPERVISE_EXITED] = {supervise_exited_stopping, ENDED},
                [SUPERVISE_TICK] = {tick_kill, STOPPING},
            },
        [SUPERVISE_BACKOFF] =
            {
                [SUPERVISE_WANT_RUN] = {want_other, BACKOFF | BEGIN},
                [SUPERVISE_WANT_STOP] = {unwant_idle, STOPPED},
                [SUPERVISE_PERMIT] = {permit, BACKOFF},
                [SUPERVISE_FORBID] = {forbid, BACKOFF},
                [SUPERVISE_LEASE_GAINED] = {lease_gained, BACKOFF},
                [SUPERVISE_LEASE_LOST] = {lease_lost, BACKOFF},
                [SUPERVISE_FOUND] = {found, SETTLED},
                [SUPERVISE_TICK] = {tick_retry, BACKOFF | BEGIN},
            },
        [SUPERVISE_FAILED] =
            {
                [SUPERVISE_WANT_RUN] = {want_other, FAILED | BEGIN},
                [SUPERVISE_WANT_STOP] = {unwant_idle, STOPPED},
                [SUPERVISE_PERMIT] = {permit, FAILED},
                [SUPERVISE_FORBID] = {forbid, FAILED},
                [SUPERVISE_LEASE_GAINED] = {lease_gained, FAILED},
                [SUPERVISE_LEASE_LOST] = {lease_lost, FAILED},
                [SUPERVISE_FOUND] = {found, SETTLED},
                [SUPERVISE_TICK] = {tick_retry, FAILED | BEGIN},
            },
        [SUPERVISE_COMPLETED] =
            {
                [SUPERVISE_WANT_RUN] = {want_other, COMPLETED | BEGIN},
                [SUPERVISE_WANT_STOP] = {unwant_idle, STOPPED},
                [SUPERVISE_PERMIT] = {permit, COMPLETED},
                [SUPERVISE_FORBID] = {forbid, COMPLETED},
                [SUPERVISE_LEASE_GAINED] = {lease_gained, COMPLETED},
                [SUPERVISE_LEASE_LOST] = {lease_lost, COMPLETED},
                [SUPERVISE_FOUND] = {found, SETTLED},
                [SUPERVISE_TICK] = {stay, COMPLETED},
            },
};

/* ---- */

struct supervise_policy supervise_policy_default(void)
{
    return (struct supervise_policy){
        .restart = SUPERVISE_ALWAYS,
        .stop_signal = SIGTERM,
        .stop_timeout_ms = SUPERVISE_STOP_TIMEOUT_MS,
        .backoff_min_ms = SUPERVISE_BACKOFF_MIN_MS,
        .backoff_max_ms = SUPERVISE_BACKOFF_MAX_MS,
        .stable_ms = SUPERVISE_STABLE_MS,
        .start_limit = SUPERVISE_START_LIMIT,
    };
}

void supervise_init(struct supervise *m, mono_t now)
{
    *m = (struct supervise){
        .state = SUPERVISE_STOPPED,
        .since = now,
        .permitted = true,
        .prepare_at = MONO_NEVER,
        .policy = supervise_policy_default(),
    };
}

void supervise_step(struct supervise *m, mono_t now, const struct supervise_event *event,
                    struct rng *rng, struct supervise_out *out)
{
    const struct step s = {.now = now, .event = event, .rng = rng, .out = out};
    const struct cell *cell;
    enum supervise_state next;

    assert((unsigned)event->type < SUPERVISE_EVENTS);
    *out = (struct supervise_out){.from = m->state, .to = m->state};
    cell = &table[m->state][event->type];
    if (cell->act == NULL) {
        out->illegal = true;
        m->illegal++;
        return;
    }
    next = cell->act(m, &s);
    assert((cell->next & 1u << next) != 0);
    assert((m->pid != 0) == ((1u << next & (RUNNING | READY | STOPPING)) != 0));
    if (next != m->state)
        m->since = now;
    m->state = next;
    out->to = next;
}

mono_t supervise_deadline(const struct supervise *m)
{
    switch (m->state) {
    case SUPERVISE_STOPPING:
    case SUPERVISE_BACKOFF:
    case SUPERVISE_FAILED:
        return m->wake_at;
    case SUPERVISE_RUNNING:
    case SUPERVISE_READY:
        return mono_min(m->failures > 0 ? mono_add(m->started_at, m->policy.stable_ms) : MONO_NEVER,
                        m->wanted && m->policy.restart != SUPERVISE_NEVER ? m->prepare_at
                                                                          : MONO_NEVER);
    default:
        return MONO_NEVER;
    }
}

bool supervise_left(const struct supervise *m)
{
    return m->state == SUPERVISE_COMPLETED && m->left;
}

bool supervise_alive(const struct supervise *m)
{
    return (1u << m->state & (STARTING | RUNNING | READY | STOPPING)) != 0;
}
