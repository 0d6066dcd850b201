#include "proto/lease/voters.h"

#include "proto/lease/lease.h"

bool voter_set_has(const struct voter_set *set, node_id node)
{
    for (int i = 0; i < set->count; i++)
        if (node_id_equal(set->voters[i], node))
            return true;
    return false;
}

bool voter_set_valid(const struct voter_set *set)
{
    if (set->number == 0 || set->count < 1 || set->count > MSG_VOTERS_MAX)
        return false;
    for (int i = 0; i < set->count; i++) {
        struct voter_set before = {.count = (uint8_t)i};
        for (int j = 0; j < i; j++)
            before.voters[j] = set->voters[j];
        if (node_id_none(set->voters[i]) || voter_set_has(&before, set->voters[i]))
            return false;
    }
    return true;
}

unsigned voter_set_majority(const struct voter_set *set)
{
    return set->count / 2u + 1;
}

bool voters_adopt(const struct voter_set *mine, const struct voter_set *seen)
{
    return voter_set_valid(seen) && seen->number > mine->number;
}

void voters_init(struct voters *v, const struct voters_state *state)
{
    v->state = *state;
    v->settled = MONO_NEVER;
    v->due = MONO_NEVER;
}

static bool adopted(const struct voters_node *nodes, unsigned count, node_id id, uint32_t number)
{
    for (unsigned i = 0; i < count; i++)
        if (node_id_equal(nodes[i].id, id))
            return nodes[i].adopted >= number;
    return false;
}

static bool admitted(const struct voters_node *nodes, unsigned count, node_id id)
{
    return adopted(nodes, count, id, 0);
}

/* Whether the voters of the former set that have not adopted the present one are too few for a
 * lease under its number. In a set of two one alone may hold solo: there both must have adopted,
 * save one that was revoked, whom nothing here can stop. */
static bool former_set_is_over(const struct voters_state *s, const struct voters_node *nodes,
                               unsigned count)
{
    const struct voter_set *former = s->previous.count > 0 ? &s->previous : &s->current;
    unsigned behind = 0;

    if (s->current.number == 1)
        return true; /* there was no set before */
    for (int i = 0; i < former->count; i++) {
        if (adopted(nodes, count, former->voters[i], s->current.number))
            continue;
        behind++;
        if (s->previous.count == 0 ||
            (former->count == 2 && admitted(nodes, count, former->voters[i])))
            return false;
    }
    return behind < voter_set_majority(former);
}

/* The first admitted nodes: five if there are as many, else three, two or one. */
static void wish(const struct voters_node *nodes, unsigned count, struct voter_set *set)
{
    unsigned n = count >= 5 ? 5 : count >= 3 ? 3 : count;

    set->count = (uint8_t)n;
    for (unsigned i = 0; i < n; i++)
        set->voters[i] = nodes[i].id;
}

static node_id first_missing(const struct voter_set *from, const struct voter_set *in)
{
    for (int i = 0; i < from->count; i++)
        if (!voter_set_has(in, from->voters[i]))
            return from->voters[i];
    return NODE_NONE;
}

/* One step from @set towards @goal; false if they are the same. Where one voter replaces another,
 * the new one comes first while the set is small, so that it never shrinks to two on the way. */
static bool one_step(const struct voter_set *set, const struct voter_set *goal,
                     struct voter_set *next)
{
    node_id add = first_missing(goal, set);
    node_id drop = first_missing(set, goal);
    bool adds = !node_id_none(add) && set->count < MSG_VOTERS_MAX;

    if (node_id_none(add) && node_id_none(drop))
        return false;
    *next = *set;
    next->number++;
    if (adds && (node_id_none(drop) || set->count <= 3)) {
        next->voters[next->count++] = add;
        return true;
    }
    next->count = 0;
    for (int i = 0; i < set->count; i++)
        if (!node_id_equal(set->voters[i], drop))
            next->voters[next->count++] = set->voters[i];
    return true;
}

bool voters_next(struct voters *v, mono_t now, const struct voters_node *nodes, unsigned count,
                 struct voters_state *next)
{
    struct voter_set goal = {0};

    v->due = MONO_NEVER;
    if (mono_is_never(v->settled)) {
        if (!former_set_is_over(&v->state, nodes, count))
            return false;
        v->settled = now;
    }
    wish(nodes, count, &goal);
    if (goal.count == 0)
        return false;
    next->previous = v->state.current;
    if (!one_step(&v->state.current, &goal, &next->current))
        return false;
    if (v->state.current.number > 1 && mono_diff(now, v->settled) < LEASE_SILENCE_BOOT) {
        v->due = mono_add(v->settled, LEASE_SILENCE_BOOT);
        return false;
    }
    return true;
}

mono_t voters_deadline(const struct voters *v)
{
    return v->due;
}
