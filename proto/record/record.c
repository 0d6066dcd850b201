#include "proto/record/record.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/record/table.h"

int records_create(const struct records_config *config, mono_t now, struct records **result)
{
    struct records *r;
    int rc;

    if (node_id_none(config->self) || config->boot == 0 || config->boot > UINT32_MAX)
        return ERR_INVALID;
    r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    r->config = *config;
    if (r->config.author_max == 0)
        r->config.author_max = RECORDS_AUTHORS_MAX;
    if (r->config.bytes_per_author == 0)
        r->config.bytes_per_author = RECORDS_BYTES_PER_AUTHOR;
    r->now = now;
    r->repeat_at = MONO_NEVER;
    r->hot_next = MONO_NEVER;
    rng_seed(&r->rng, config->seed);
    r->authors = calloc(r->config.author_max, sizeof(struct author *));
    rc = r->authors == NULL ? ERR_NOMEM : table_admit(r, config->self, &r->self);
    if (rc != ERR_NONE) {
        records_destroy(r);
        return rc;
    }
    r->self->floor = config->boot << 32;
    r->self->version = r->self->floor;
    r->pushed = r->self->version;
    *result = r;
    return ERR_NONE;
}

void records_destroy(struct records *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->count; i++) {
        for (uint16_t k = 0; k < r->authors[i]->count; k++)
            free(r->authors[i]->records[k]);
        free(r->authors[i]->records);
        free(r->authors[i]);
    }
    free(r->authors);
    free(r);
}

static int take_message(struct records *r, const struct records_event *event)
{
    struct author *peer = table_author(r, event->from);
    const struct msg *msg = event->msg;

    if (msg == NULL)
        return ERR_INVALID;
    if (msg->type == MSG_DELTA)
        return delta_apply(r, peer, event->from, &msg->delta);
    if (msg->type != MSG_DIGEST || msg->digest.count > MSG_DIGEST_MAX ||
        node_id_none(msg->digest.first))
        return ERR_INVALID;
    for (size_t i = 0; i < msg->digest.count; i++) {
        node_id id = msg->digest.entries[i].author;
        if (id.v < msg->digest.first.v || id.v > msg->digest.last.v ||
            (i > 0 && id.v <= msg->digest.entries[i - 1].author.v))
            return ERR_INVALID;
    }
    if (peer == NULL)
        return ERR_NOTFOUND;
    sync_digest(r, peer, &msg->digest);
    return ERR_NONE;
}

static int admit(struct records *r, node_id id)
{
    struct author *a;
    int rc;

    if (node_id_none(id) || node_id_equal(id, r->config.self))
        return ERR_INVALID;
    if (table_author(r, id) != NULL)
        return ERR_NONE;
    rc = table_admit(r, id, &a);
    if (rc == ERR_NONE)
        sync_job(r, id, r->config.self, 0);
    return rc;
}

static int take_event(struct records *r, const struct records_event *event)
{
    struct author *peer = table_author(r, event->from);

    switch (event->type) {
    case RECORDS_TIMER:
        return ERR_NONE;
    case RECORDS_MESSAGE:
        return take_message(r, event);
    case RECORDS_ADMIT:
        return admit(r, event->from);
    case RECORDS_GREET:
    case RECORDS_ROOT:
    case RECORDS_PEER_UP:
    case RECORDS_PEER_DOWN:
    case RECORDS_REVOKE:
        break;
    default:
        return ERR_INVALID;
    }
    if (peer == NULL)
        return ERR_NOTFOUND;
    if (peer == r->self)
        return ERR_INVALID;
    if (event->type == RECORDS_GREET) {
        sync_job(r, event->from, r->config.self, HEAD_ONLY);
    } else if (event->type == RECORDS_ROOT) {
        sync_root_seen(r, peer, event->root);
    } else if (event->type == RECORDS_REVOKE) {
        sync_forget(r, event->from);
        change_report(r, RECORDS_REVOKED, event->from, NODE_NONE, NULL);
        table_revoke(r, peer);
    } else {
        if (event->type == RECORDS_PEER_UP && !peer->up)
            sync_job(r, event->from, r->config.self, HEAD_ONLY);
        peer->up = event->type == RECORDS_PEER_UP;
    }
    return ERR_NONE;
}

int records_step(struct records *r, mono_t now, const struct records_event *event,
                 struct records_out *out)
{
    int rc;

    assert(!mono_before(now, r->now));
    out->send_count = 0;
    out->change_count = 0;
    r->out = out;
    r->now = now;
    rc = take_event(r, event);
    sync_tick(r);
    r->out = NULL;
    return rc;
}

mono_t records_deadline(const struct records *r)
{
    return sync_deadline(r);
}

/* Stores an own record under the next version, after a compaction when tombstones take the room. */
static int set_own(struct records *r, const char *key, const void *value, size_t len)
{
    struct author *a = r->self;
    struct msg_record m = {.key = key,
                           .key_len = (uint8_t)strlen(key),
                           .value = value,
                           .value_len = (uint16_t)len,
                           .version = a->version + 1,
                           .floor = a->floor};
    int rc;

    if (r->config.sign != NULL)
        r->config.sign(r->config.ctx, r->config.self, &m);
    rc = table_store(r, a, &m);
    if (rc == ERR_NONE)
        a->version = m.version;
    return rc;
}

int records_set(struct records *r, const char *key, const void *value, size_t len)
{
    struct record *old;
    int rc;

    if (strlen(key) >= RECORD_KEY_MAX || len < 1 || len > RECORD_VALUE_MAX)
        return ERR_LIMIT;
    if (key[0] != '\0' && table_record(r->self, "", 0) == NULL)
        return ERR_INVALID;
    old = table_record(r->self, key, strlen(key));
    if (old != NULL && old->value_len == len &&
        memcmp(old->data + old->key_len + 1, value, len) == 0)
        return ERR_NONE;
    rc = set_own(r, key, value, len);
    if (rc == ERR_FULL && r->self->tombstones > 0) {
        table_compact(r);
        rc = set_own(r, key, value, len);
    }
    return rc;
}

int records_delete(struct records *r, const char *key)
{
    struct record *old = table_record(r->self, key, strlen(key));
    int rc;

    if (key[0] == '\0')
        return ERR_INVALID;
    if (old == NULL || old->value_len == 0)
        return ERR_NOTFOUND;
    rc = set_own(r, key, "", 0);
    if (rc == ERR_NONE && r->self->tombstones > RECORDS_TOMBSTONES_MAX)
        table_compact(r);
    return rc;
}

uint64_t records_root(const struct records *r)
{
    return r->root;
}

static struct record_view view_of(const struct author *a, const struct record *x)
{
    return (struct record_view){.author = a->id,
                                .key = x->data,
                                .key_len = x->key_len,
                                .value = (const uint8_t *)x->data + x->key_len + 1,
                                .value_len = x->value_len,
                                .version = x->version,
                                .floor = x->floor};
}

int records_get(const struct records *r, node_id author, const char *key, struct record_view *view)
{
    const struct author *a = table_author(r, author);
    const struct record *x = a == NULL ? NULL : table_record(a, key, strlen(key));

    if (x == NULL || x->value_len == 0)
        return ERR_NOTFOUND;
    *view = view_of(a, x);
    return ERR_NONE;
}

void records_each(const struct records *r, node_id author, const char *prefix,
                  bool (*visit)(void *ctx, const struct record_view *view), void *ctx)
{
    size_t prefix_len = strlen(prefix);

    for (size_t i = 0; i < r->count; i++) {
        const struct author *a = r->authors[i];
        if (!node_id_none(author) && !node_id_equal(a->id, author))
            continue;
        for (uint16_t k = 0; k < a->count; k++) {
            const struct record *x = a->records[k];
            struct record_view view = view_of(a, x);
            if (x->value_len > 0 && x->key_len >= prefix_len &&
                memcmp(x->data, prefix, prefix_len) == 0 && !visit(ctx, &view))
                return;
        }
    }
}

size_t records_author_count(const struct records *r)
{
    return r->count;
}

node_id records_author_at(const struct records *r, size_t index)
{
    assert(index < r->count);
    return r->authors[index]->id;
}

uint64_t records_version(const struct records *r, node_id author)
{
    const struct author *a = table_author(r, author);

    return a == NULL ? 0 : a->version;
}

bool records_agreed(const struct records *r, node_id peer)
{
    const struct author *a = table_author(r, peer);

    return a != NULL && a->agreed;
}
