/* Authors and their records in memory; the root hash. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/record/table.h"

/* How far the boot number is raised over one of an earlier life: others may hold later records of
 * that life, or records of lives after it. */
#define BOOTS_SKIPPED 1000

size_t table_lower_bound(const struct records *r, node_id id)
{
    size_t low = 0;
    size_t high = r->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (r->authors[mid]->id.v < id.v)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct author *table_author(const struct records *r, node_id id)
{
    size_t at = table_lower_bound(r, id);

    if (at == r->count || !node_id_equal(r->authors[at]->id, id))
        return NULL;
    return r->authors[at];
}

int table_admit(struct records *r, node_id id, struct author **result)
{
    size_t at = table_lower_bound(r, id);
    struct author *a;

    if (at < r->count && node_id_equal(r->authors[at]->id, id)) {
        *result = r->authors[at];
        return ERR_NONE;
    }
    if (r->count == r->config.author_max)
        return ERR_FULL;
    a = calloc(1, sizeof *a);
    if (a == NULL)
        return ERR_NOMEM;
    a->id = id;
    memmove(&r->authors[at + 1], &r->authors[at], (r->count - at) * sizeof(struct author *));
    r->authors[at] = a;
    r->count++;
    *result = a;
    return ERR_NONE;
}

static uint64_t record_hash(const struct author *a, const struct record *record)
{
    uint64_t h = hash64_mix(a->id.v, hash64(record->data, record->key_len));

    return hash64_mix(h, record->version);
}

/* What the author contributes to the root. Without records its floor is unknown to others. */
static uint64_t author_hash(const struct author *a)
{
    return a->count == 0 ? 0 : a->hash ^ hash64_mix(a->id.v, a->floor);
}

static size_t record_bytes(const struct record *record)
{
    return (size_t)record->key_len + record->value_len;
}

/* Index of the first record whose key is not less than @key. */
static size_t key_lower_bound(const struct author *a, const char *key, size_t key_len)
{
    size_t low = 0;
    size_t high = a->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct record *x = a->records[mid];
        size_t common = x->key_len < key_len ? x->key_len : key_len;
        int order = memcmp(x->data, key, common);
        if (order < 0 || (order == 0 && x->key_len < key_len))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool key_at(const struct author *a, size_t at, const char *key, size_t key_len)
{
    return at < a->count && a->records[at]->key_len == key_len &&
           memcmp(a->records[at]->data, key, key_len) == 0;
}

struct record *table_record(const struct author *a, const char *key, size_t key_len)
{
    size_t at = key_lower_bound(a, key, key_len);

    return key_at(a, at, key, key_len) ? a->records[at] : NULL;
}

/* Takes the record at @at out of the sums and frees it; its place remains. */
static void drop(struct author *a, size_t at)
{
    struct record *old = a->records[at];

    a->hash ^= record_hash(a, old);
    a->bytes -= (uint32_t)record_bytes(old);
    a->tombstones = (uint16_t)(a->tombstones - (old->value_len == 0));
    free(old);
}

void table_revoke(struct records *r, struct author *a)
{
    size_t at = table_lower_bound(r, a->id);

    assert(a != r->self);
    r->root ^= author_hash(a);
    for (size_t i = 0; i < a->count; i++)
        free(a->records[i]);
    free(a->records);
    r->count--;
    memmove(&r->authors[at], &r->authors[at + 1], (r->count - at) * sizeof(struct author *));
    free(a);
}

/* A peer may hold, until it learns the new floor, what the author has and what it had. */
static unsigned slack(const struct records *r, const struct author *a)
{
    return a == r->self ? 1 : 2;
}

static int reserve(const struct records *r, struct author *a)
{
    uint16_t capacity = a->capacity == 0 ? 4 : (uint16_t)(a->capacity * 2);
    struct record **records;

    if (a->count < a->capacity)
        return ERR_NONE;
    if (a->count >= RECORDS_PER_AUTHOR_MAX * slack(r, a))
        return ERR_FULL;
    records = realloc(a->records, capacity * sizeof(struct record *));
    if (records == NULL)
        return ERR_NOMEM;
    a->records = records;
    a->capacity = capacity;
    return ERR_NONE;
}

static struct record *copy_of(const struct msg_record *from)
{
    struct record *x = malloc(sizeof *x + from->key_len + 1u + from->value_len);

    if (x == NULL)
        return NULL;
    x->version = from->version;
    x->floor = from->floor;
    x->value_len = from->value_len;
    x->key_len = from->key_len;
    memcpy(x->signature, from->signature, sizeof x->signature);
    if (from->key_len > 0)
        memcpy(x->data, from->key, from->key_len);
    x->data[from->key_len] = '\0';
    if (from->value_len > 0)
        memcpy(x->data + from->key_len + 1, from->value, from->value_len);
    return x;
}

int table_store(struct records *r, struct author *a, const struct msg_record *record)
{
    size_t at = key_lower_bound(a, record->key, record->key_len);
    bool replace = key_at(a, at, record->key, record->key_len);
    size_t bytes = a->bytes + record->key_len + (size_t)record->value_len;
    struct record *x;
    int rc;

    if (replace)
        bytes -= record_bytes(a->records[at]);
    /* A tombstone takes no more than what it replaces, so that deletion always works. */
    if (bytes > (size_t)r->config.bytes_per_author * slack(r, a) &&
        !(replace && record->value_len == 0))
        return ERR_FULL;
    rc = replace ? ERR_NONE : reserve(r, a);
    if (rc != ERR_NONE)
        return rc;
    x = copy_of(record);
    if (x == NULL)
        return ERR_NOMEM;

    r->root ^= author_hash(a);
    if (replace) {
        drop(a, at);
    } else {
        memmove(&a->records[at + 1], &a->records[at], (a->count - at) * sizeof(struct record *));
        a->count++;
    }
    a->records[at] = x;
    a->hash ^= record_hash(a, x);
    a->bytes += (uint32_t)record_bytes(x);
    a->tombstones = (uint16_t)(a->tombstones + (x->value_len == 0));
    r->root ^= author_hash(a);
    return ERR_NONE;
}

/* Frees what lies at or below the floor; true when there was a live record. */
static bool drop_void(struct author *a)
{
    bool live = false;
    uint16_t kept = 0;

    for (uint16_t i = 0; i < a->count; i++) {
        if (a->records[i]->version > a->floor) {
            a->records[kept++] = a->records[i];
            continue;
        }
        live = live || a->records[i]->value_len > 0;
        drop(a, i);
    }
    a->count = kept;
    return live;
}

bool table_raise_floor(struct records *r, struct author *a, uint64_t floor)
{
    bool live;

    if (floor <= a->floor)
        return false;
    r->root ^= author_hash(a);
    a->floor = floor;
    if (a->version < floor)
        a->version = floor; /* below it there is nothing to hold */
    live = drop_void(a);
    r->root ^= author_hash(a);
    return live;
}

void table_sign(struct records *r, struct record *record)
{
    struct msg_record m = {.key = record->data,
                           .key_len = record->key_len,
                           .value = (const uint8_t *)record->data + record->key_len + 1,
                           .value_len = record->value_len,
                           .version = record->version,
                           .floor = record->floor};

    if (r->config.sign != NULL)
        r->config.sign(r->config.ctx, r->config.self, &m);
    memcpy(record->signature, m.signature, sizeof record->signature);
}

static void renew(struct records *r, struct author *a, struct record *x)
{
    a->hash ^= record_hash(a, x);
    x->version = ++a->version;
    x->floor = a->floor;
    table_sign(r, x);
    a->hash ^= record_hash(a, x);
}

/* First every record but the head gets a new version under the old floor, then the head tells the
 * new floor: a peer that takes this in order never misses a record in between. */
void table_compact(struct records *r)
{
    struct author *a = r->self;
    uint64_t floor = a->version;

    r->root ^= author_hash(a);
    for (uint16_t i = 0; i < a->count; i++)
        if (a->records[i]->value_len > 0 && a->records[i]->key_len > 0)
            renew(r, a, a->records[i]);
    a->floor = floor;
    if (a->count > 0 && a->records[0]->key_len == 0)
        renew(r, a, a->records[0]);
    drop_void(a);
    r->root ^= author_hash(a);
}

void table_jump(struct records *r, uint64_t version)
{
    struct author *a = r->self;

    r->root ^= author_hash(a);
    a->floor = ((version >> 32) + BOOTS_SKIPPED) << 32;
    a->version = a->floor;
    for (uint16_t i = 0; i < a->count; i++) /* the head has the least key */
        renew(r, a, a->records[i]);
    r->root ^= author_hash(a);
}
