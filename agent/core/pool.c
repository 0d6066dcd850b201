#include "agent/core/pool.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"

static uint32_t number_of(const uint8_t ip[4])
{
    return (uint32_t)ip[0] << 24 | (uint32_t)ip[1] << 16 | (uint32_t)ip[2] << 8 | ip[3];
}

static struct addr address_of(uint32_t number)
{
    struct addr a = {.family = 4};

    for (int i = 0; i < 4; i++)
        a.ip[i] = (uint8_t)(number >> (24 - 8 * i));
    return a;
}

/* ---- the register ---- */

/* The first whose name is not less; pool->count: none. */
static size_t place_of(const struct pool *pool, const char *name)
{
    size_t at = 0;

    while (at < pool->count && strcmp(pool->entries[at].name, name) < 0)
        at++;
    return at;
}

static struct pool_entry *find(struct pool *pool, const char *name)
{
    size_t at = place_of(pool, name);

    return at < pool->count && strcmp(pool->entries[at].name, name) == 0 ? &pool->entries[at]
                                                                         : NULL;
}

const struct pool_entry *pool_find(const struct pool *pool, const char *name)
{
    size_t at = place_of(pool, name);

    return at < pool->count && strcmp(pool->entries[at].name, name) == 0 ? &pool->entries[at]
                                                                         : NULL;
}

/* A total order of what may be said of one name, so that all come to the same. */
static bool before(const struct value_pool *a, const struct value_pool *b)
{
    if (a->number != b->number)
        return a->number > b->number;
    if (a->stamp != b->stamp)
        return a->stamp < b->stamp;
    return memcmp(a->ip, b->ip, sizeof a->ip) < 0;
}

static int set(struct pool *pool, const char *name, const struct value_pool *value)
{
    struct pool_entry *entry = find(pool, name);
    size_t at = place_of(pool, name);

    if (entry == NULL && pool->count >= POOL_MAX)
        return ERR_FULL;
    if (entry == NULL) {
        entry = &pool->entries[at];
        memmove(entry + 1, entry, (pool->count - at) * sizeof *entry);
        memset(entry, 0, sizeof *entry);
        snprintf(entry->name, sizeof entry->name, "%s", name);
        pool->count++;
    }
    entry->value = *value;
    entry->changed = true;
    return ERR_NONE;
}

int pool_merge(struct pool *pool, const char *name, const struct value_pool *value)
{
    const struct pool_entry *entry = pool_find(pool, name);

    if (entry != NULL && !before(value, &entry->value))
        return ERR_EXISTS;
    return set(pool, name, value);
}

static bool is_desired(const struct desired *desired, const char *name)
{
    for (size_t i = 0; desired != NULL && i < desired->vip_count; i++)
        if (strcmp(desired->vips[i].name, name) == 0)
            return true;
    return false;
}

bool pool_trim(struct pool *pool, const struct desired *desired, char name[NODE_NAME_MAX + 1])
{
    struct pool_entry *oldest = NULL;

    for (size_t i = 0; pool->count > POOL_KEPT && i < pool->count; i++) {
        struct pool_entry *entry = &pool->entries[i];
        if (!is_desired(desired, entry->name) &&
            (oldest == NULL || entry->value.stamp < oldest->value.stamp))
            oldest = entry;
    }
    if (oldest == NULL)
        return false;
    snprintf(name, NODE_NAME_MAX + 1, "%s", oldest->name);
    pool->count--;
    memmove(oldest, oldest + 1, (size_t)(&pool->entries[pool->count] - oldest) * sizeof *oldest);
    return true;
}

/* ---- giving ---- */

struct giving {
    struct pool *pool;
    const struct desired *desired;
    int64_t stamp;
    uint32_t first, last; /* of the pool */
    struct addr *addresses;
};

static bool given(const struct giving *g, uint32_t number)
{
    for (size_t i = 0; i < g->desired->vip_count; i++)
        if (g->addresses[i].family == 4 && number_of(g->addresses[i].ip) == number)
            return true;
    return false;
}

static bool remembered(const struct giving *g, uint32_t number)
{
    for (size_t i = 0; i < g->pool->count; i++)
        if (number_of(g->pool->entries[i].value.ip) == number)
            return true;
    return false;
}

/* Of two desired names with one address, who keeps it: the one that got it later on purpose
 * (number), then the one that has had it longer. */
static bool precedes(const struct pool_entry *a, const struct pool_entry *b)
{
    if (a->value.number != b->value.number)
        return a->value.number > b->value.number;
    if (a->value.stamp != b->value.stamp)
        return a->value.stamp < b->value.stamp;
    return strcmp(a->name, b->name) < 0;
}

static bool keeps(const struct giving *g, const struct pool_entry *entry)
{
    uint32_t number = number_of(entry->value.ip);

    if (number < g->first || number > g->last)
        return false;
    for (size_t i = 0; i < g->desired->vip_count; i++) {
        const struct desired_vip *other = &g->desired->vips[i];
        const struct pool_entry *theirs = pool_find(g->pool, other->name);
        if (other->address.family == 4) {
            if (number_of(other->address.ip) == number)
                return false;
        } else if (theirs != NULL && theirs != entry && number_of(theirs->value.ip) == number &&
                   precedes(theirs, entry)) {
            return false;
        }
    }
    return true;
}

/* So that it counts before what was known of the name, and before whom the address was given to. */
static void enter(struct giving *g, size_t index, uint32_t number)
{
    const char *name = g->desired->vips[index].name;
    struct value_pool value = {.stamp = g->stamp};

    g->addresses[index] = address_of(number);
    memcpy(value.ip, g->addresses[index].ip, sizeof value.ip);
    for (size_t i = 0; i < g->pool->count; i++) {
        const struct pool_entry *entry = &g->pool->entries[i];
        if ((strcmp(entry->name, name) == 0 || number_of(entry->value.ip) == number) &&
            entry->value.number > value.number)
            value.number = entry->value.number;
    }
    value.number++;
    (void)set(g->pool, name, &value); /* a full one: given all the same, and remembered by nobody */
}

/* The lowest that nobody has or has had; then the lowest that nobody has. There are at most
 * DESIRED_VIPS_MAX + POOL_MAX of them, so that a wide pool costs nothing. */
static bool find_free(const struct giving *g, uint32_t *number)
{
    for (int pass = 0; pass < 2; pass++)
        for (uint64_t n = g->first; n <= g->last; n++)
            if (!given(g, (uint32_t)n) && (pass == 1 || !remembered(g, (uint32_t)n))) {
                *number = (uint32_t)n;
                return true;
            }
    return false;
}

void pool_assign(struct pool *pool, const struct desired *desired, int64_t stamp, bool fresh,
                 struct addr addresses[DESIRED_VIPS_MAX])
{
    struct giving g = {.pool = pool,
                       .desired = desired,
                       .stamp = stamp,
                       .first = number_of(desired->pool_first.ip),
                       .last = number_of(desired->pool_last.ip),
                       .addresses = addresses};

    for (size_t i = 0; i < desired->vip_count; i++) {
        const struct desired_vip *vip = &desired->vips[i];
        const struct pool_entry *entry = pool_find(pool, vip->name);
        addresses[i] = vip->address;
        if (vip->address.family == 0 && entry != NULL && keeps(&g, entry))
            addresses[i] = address_of(number_of(entry->value.ip));
    }
    for (size_t i = 0; i < desired->vip_count; i++) {
        const struct desired_vip *vip = &desired->vips[i];
        const struct pool_entry *entry = pool_find(pool, vip->name);
        uint32_t number;
        if (vip->address.family == 4 && (entry == NULL || memcmp(entry->value.ip, vip->address.ip,
                                                                 sizeof entry->value.ip) != 0))
            enter(&g, i, number_of(vip->address.ip));
        else if (addresses[i].family == 0 && fresh && find_free(&g, &number))
            enter(&g, i, number);
    }
}
