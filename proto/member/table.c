/* The members: stable slots, an order by id, the ring, state changes. */
#include <assert.h>
#include <string.h>

#include "proto/member/machine.h"

#define VERIFIERS 3 /* beyond a ring: nodes that probe a suspected member besides its accuser */

static_assert(sizeof(struct member) <= MEMBER_BYTES_MAX, "an entry is as small as it was promised");

/* Index in order of the first id >= @id. */
static size_t lower_bound(const struct membership *m, node_id id)
{
    size_t low = 0;
    size_t high = m->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (m->slots[m->order[mid]].id.v < id.v)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct member *table_find(const struct membership *m, node_id id)
{
    size_t at = lower_bound(m, id);

    if (at == m->count || !node_id_equal(m->slots[m->order[at]].id, id))
        return NULL;
    return &m->slots[m->order[at]];
}

uint16_t table_slot(const struct membership *m, const struct member *p)
{
    return (uint16_t)(p - m->slots);
}

static size_t free_slot(struct membership *m)
{
    size_t slot = 0;

    if (m->count == m->slots_used)
        return m->slots_used++;
    while (!node_id_none(m->slots[slot].id))
        slot++;
    assert(slot < m->slots_used); /* fewer are taken than were used */
    return slot;
}

struct member *table_insert(struct membership *m, node_id id)
{
    size_t at = lower_bound(m, id);
    struct member *p;
    size_t slot;

    if (m->count == m->config.member_max)
        return NULL;
    slot = free_slot(m);
    p = &m->slots[slot];
    memset(p, 0, sizeof *p);
    p->id = id;
    p->doubt = NO_DOUBT;
    p->loss = LOSS_PRIOR; /* generous until measured */
    p->first_loss = LOSS_PRIOR;
    p->due = m->now;
    p->since = m->now;
    memmove(&m->order[at + 1], &m->order[at], (m->count - at) * sizeof *m->order);
    m->order[at] = (uint16_t)slot;
    m->count++;
    m->shuffle_count = 0; /* drawn anew */
    return p;
}

bool member_present(const struct member *p)
{
    return p->state == MEMBER_ALIVE || p->state == MEMBER_SUSPECT;
}

static size_t *state_counter(struct membership *m, uint8_t state)
{
    switch (state) {
    case MEMBER_UNKNOWN:
        return &m->unknown;
    case MEMBER_ALIVE:
    case MEMBER_SUSPECT:
        return &m->present;
    case MEMBER_DEAD:
    case MEMBER_LEFT:
        return &m->gone;
    default:
        return NULL;
    }
}

static struct membership_change *report(struct membership *m, const struct member *p)
{
    struct membership_change *c;

    /* Several changes of one member in one step are told as one. */
    for (size_t i = 0; i < m->out->change_count; i++)
        if (node_id_equal(m->out->changes[i].id, p->id))
            return &m->out->changes[i];
    assert(m->out->change_count < MEMBERSHIP_CHANGES_MAX);
    c = &m->out->changes[m->out->change_count++];
    *c = (struct membership_change){.id = p->id, .old_state = p->state};
    return c;
}

static bool is_gone(uint8_t state)
{
    return state == MEMBER_DEAD || state == MEMBER_LEFT;
}

/* Keeps the list of those that are gone; before m->gone changes. */
static void list_gone(struct membership *m, const struct member *p, uint8_t state)
{
    size_t i = 0;

    if (is_gone(p->state) == is_gone(state))
        return;
    if (is_gone(state)) {
        m->gone_slots[m->gone] = table_slot(m, p);
        return;
    }
    while (m->gone_slots[i] != table_slot(m, p))
        i++;
    m->gone_slots[i] = m->gone_slots[m->gone - 1];
}

void table_appeared(const struct membership *m, struct member *p)
{
    p->appeared_s = (uint16_t)(m->now.ms / 1000);
}

void table_set_state(struct membership *m, struct member *p, uint8_t state)
{
    struct membership_change *c;

    if (p->state == state)
        return;
    c = report(m, p);
    if (member_present(p) != (state == MEMBER_ALIVE || state == MEMBER_SUSPECT)) {
        m->ring_dirty = true;
        table_appeared(m, p);
    }
    list_gone(m, p, state);
    if (p->state != 0)
        --*state_counter(m, p->state);
    if (state != 0)
        ++*state_counter(m, state);
    p->state = state;
    p->since = m->now;
    if (is_gone(state)) {
        p->due = mono_add(m->now, GONE_MS);
        m->gone_next = mono_min(m->gone_next, p->due);
    }
    c->new_state = state;
    c->incarnation = p->incarnation;
}

void table_set_addr(struct membership *m, struct member *p, const struct addr *addr)
{
    struct membership_change *c;

    if (addr->family == 0 || addr_equal(&p->addr, addr))
        return;
    c = report(m, p);
    p->addr = *addr;
    c->new_state = p->state;
    c->incarnation = p->incarnation;
    c->moved = true;
}

void table_remove(struct membership *m, struct member *p)
{
    size_t at = lower_bound(m, p->id);

    assert(p->doubt == NO_DOUBT);
    table_set_state(m, p, 0);
    m->count--;
    memmove(&m->order[at], &m->order[at + 1], (m->count - at) * sizeof *m->order);
    p->id = NODE_NONE;
    m->shuffle_count = 0;
    m->ring_dirty = true;
}

bool table_ring_mode(const struct membership *m)
{
    return m->present + m->unknown + 1 <= m->config.ring_max;
}

bool table_eager(const struct membership *m)
{
    return m->count < EAGER_MAX;
}

/* The neighbours of this node: the next present member by id on either side, cyclically. */
void table_refresh_ring(struct membership *m)
{
    size_t at = lower_bound(m, m->config.self);
    uint16_t found[NEIGHBOURS_MAX];
    size_t found_count = 0;

    m->ring_dirty = false;
    for (size_t i = 0; i < m->count && found_count == 0; i++) {
        uint16_t slot = m->order[(at + i) % m->count];
        if (member_present(&m->slots[slot]))
            found[found_count++] = slot;
    }
    for (size_t i = 1; i <= m->count && found_count == 1; i++) {
        uint16_t slot = m->order[(at + m->count - i) % m->count];
        if (!member_present(&m->slots[slot]))
            continue;
        if (slot == found[0])
            break;
        found[found_count++] = slot;
    }
    for (size_t i = 0; i < found_count; i++) {
        struct member *p = &m->slots[found[i]];
        bool was = false;
        for (size_t k = 0; k < m->neighbour_count; k++)
            was = was || m->neighbours[k] == found[i];
        if (was)
            continue;
        p->flags |= FLAG_WARM;
        p->due = mono_add(m->now, rng_range(&m->rng, 0, m->config.period_ms));
    }
    memcpy(m->neighbours, found, found_count * sizeof *found);
    m->neighbour_count = found_count;
}

size_t table_pick(struct membership *m, const struct member *except, size_t max,
                  struct member **picked)
{
    size_t n = 0;
    size_t start;

    if (m->count == 0)
        return 0;
    /* Random tries in a large table, a walk from a random start for what they leave. */
    for (size_t tries = 0; tries < 4 * max && n < max && m->count > 4 * max; tries++) {
        struct member *p = &m->slots[m->order[rng_below(&m->rng, m->count)]];
        bool usable = p->state == MEMBER_ALIVE && p->doubt == NO_DOUBT && p != except;
        for (size_t k = 0; k < n; k++)
            usable = usable && picked[k] != p;
        if (usable)
            picked[n++] = p;
    }
    start = rng_index(&m->rng, m->count);
    for (size_t i = 0; i < m->count && n < max; i++) {
        struct member *p = &m->slots[m->order[(start + i) % m->count]];
        bool usable = p->state == MEMBER_ALIVE && p->doubt == NO_DOUBT && p != except;
        for (size_t k = 0; k < n; k++)
            usable = usable && picked[k] != p;
        if (usable)
            picked[n++] = p;
    }
    return n;
}

bool table_verifies(const struct membership *m, const struct member *p)
{
    uint64_t own = hash64_mix(p->id.v, m->config.self.v);
    size_t ahead = 0;

    if (table_ring_mode(m) && m->present < EAGER_MAX)
        return true;
    for (size_t i = 0; i < m->slots_used && ahead < VERIFIERS; i++) {
        const struct member *other = &m->slots[i];
        if (other != p && !node_id_none(other->id) && other->state == MEMBER_ALIVE &&
            hash64_mix(p->id.v, other->id.v) < own)
            ahead++;
    }
    return ahead < VERIFIERS;
}
