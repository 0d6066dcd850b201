/* Who is told what, and when: pushes of own changes, rumours, digests on a difference, deltas. */
#include <string.h>

#include "proto/record/table.h"

#define DIGEST_DELAY_MS 20 /* a difference may end by itself: pushes are under way */
#define DIGEST_SPREAD_MS 100
#define DIGEST_NEXT_MS 20 /* between digests of one exchange */
#define BACKOFF_MIN_MS 500
#define BACKOFF_MAX_MS 30000
#define REPEAT_MS 200      /* until own changes are told again to peers that did not acknowledge, */
#define REPEAT_MAX_MS 3500 /* then after intervals that grow by half, up to this one */
#define JOB_MS 20          /* between batches of deltas */
#define JOBS_PER_BATCH 4
#define HOT_MS 100 /* between rounds of a rumour */
#define HOT_ROUNDS 4
#define HOT_FANOUT 3

bool sync_room(const struct records *r, size_t sends)
{
    return r->out->send_count + sends <= RECORDS_SENDS_MAX;
}

static bool eager(const struct records *r)
{
    return r->count <= RECORDS_EAGER_MAX;
}

static struct msg *send_to(struct records *r, node_id to)
{
    struct records_send *s = &r->out->sends[r->out->send_count++];

    s->to = to;
    return &s->msg;
}

/* Sends the delta of @a from @from on. Returns the version that it reaches, @from when there is
 * nothing to send. */
static uint64_t send_delta(struct records *r, node_id to, const struct author *a, uint64_t from)
{
    struct msg *msg;

    if (a->version <= from)
        return from;
    msg = send_to(r, to);
    delta_fill(a, from, msg);
    return msg->delta.to;
}

static void send_head(struct records *r, node_id to, const struct author *a)
{
    struct msg *msg = send_to(r, to);

    if (!delta_head(a, msg))
        r->out->send_count--;
}

/* Jobs */

/* Deltas of @author from @from on, or its head, shall go to @peer. A full queue forgets: the next
 * exchange of digests finds it. */
void sync_job(struct records *r, node_id peer, node_id author, uint64_t from)
{
    if (r->job_count == 0)
        r->job_next = r->now;
    for (size_t i = 0; i < r->job_count; i++) {
        struct job *j = &r->jobs[i];
        if (node_id_equal(j->peer, peer) && node_id_equal(j->author, author)) {
            if (from < j->from)
                j->from = from;
            return;
        }
    }
    if (r->job_count < JOBS_MAX)
        r->jobs[r->job_count++] = (struct job){.peer = peer, .author = author, .from = from};
}

static void jobs_tick(struct records *r)
{
    size_t done = 0;

    if (r->job_count == 0 || !mono_reached(r->now, r->job_next) || !sync_room(r, JOBS_PER_BATCH))
        return;
    for (size_t n = 0; n < JOBS_PER_BATCH && done < r->job_count; n++) {
        struct job *j = &r->jobs[done];
        const struct author *a = table_author(r, j->author);
        if (a != NULL && j->from == HEAD_ONLY)
            send_head(r, j->peer, a);
        else if (a != NULL)
            j->from = send_delta(r, j->peer, a, j->from);
        if (a == NULL || j->from >= a->version)
            done++;
    }
    r->job_count -= done;
    memmove(r->jobs, &r->jobs[done], r->job_count * sizeof *r->jobs);
    r->job_next = mono_add(r->now, JOB_MS);
}

/* Digests */

static struct sync *sync_of(struct records *r, node_id peer)
{
    for (size_t i = 0; i < SYNCS_MAX; i++)
        if (node_id_equal(r->syncs[i].peer, peer))
            return &r->syncs[i];
    return NULL;
}

/* Digests shall be exchanged with @peer soon. Too many at once are forgotten: its next probe shows
 * the difference again. */
void sync_request(struct records *r, struct author *peer, bool forced)
{
    struct sync *s = sync_of(r, peer->id);
    int64_t delay = rng_range(&r->rng, DIGEST_DELAY_MS, DIGEST_DELAY_MS + DIGEST_SPREAD_MS);

    if (s != NULL) {
        s->forced = s->forced || forced;
        return;
    }
    s = sync_of(r, NODE_NONE);
    if (s == NULL)
        return;
    if (!eager(r))
        delay *= 4; /* a rumour takes some rounds */
    *s = (struct sync){.peer = peer->id, .at = mono_add(r->now, delay), .forced = forced};
}

/* Exchanges that bring nothing are repeated ever less often, until one of the tables changes. */
void sync_root_seen(struct records *r, struct author *peer, uint64_t root)
{
    int64_t wait = peer->backoff_ms;

    peer->seen_root = root;
    if (root == r->root) {
        peer->agreed = true;
        peer->backoff_ms = 0;
        return;
    }
    if (wait < BACKOFF_MIN_MS || peer->synced_root != hash64_mix(root, r->root))
        wait = BACKOFF_MIN_MS;
    if (peer->synced.ms == 0 || mono_diff(r->now, peer->synced) >= wait)
        sync_request(r, peer, false);
}

static void mark_synced(struct records *r, struct author *peer)
{
    uint64_t roots = hash64_mix(peer->seen_root, r->root);
    unsigned backoff = peer->synced_root == roots ? 2u * peer->backoff_ms : BACKOFF_MIN_MS;

    peer->synced = r->now;
    peer->synced_root = roots;
    if (backoff < BACKOFF_MIN_MS)
        backoff = BACKOFF_MIN_MS;
    peer->backoff_ms = (uint16_t)(backoff > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff);
}

/* Sends one digest of the authors from @first on, at most up to @last. Returns the author where the
 * next digest starts, NODE_NONE when @last is reached. */
static node_id send_digest(struct records *r, node_id to, node_id first, node_id last, bool reply)
{
    struct msg *msg = send_to(r, to);
    struct msg_digest *d = &msg->digest;
    size_t at = table_lower_bound(r, first);

    msg->type = MSG_DIGEST;
    d->reply = reply;
    d->first = first;
    d->last = last;
    d->count = 0;
    for (; at < r->count && r->authors[at]->id.v <= last.v; at++) {
        if (d->count == MSG_DIGEST_MAX) {
            d->last = (node_id){r->authors[at]->id.v - 1};
            return r->authors[at]->id;
        }
        d->entries[d->count++] = (struct msg_digest_entry){.author = r->authors[at]->id,
                                                           .version = r->authors[at]->version};
    }
    return NODE_NONE;
}

static void syncs_tick(struct records *r)
{
    for (size_t i = 0; i < SYNCS_MAX; i++) {
        struct sync *s = &r->syncs[i];
        struct author *peer;
        bool started = !node_id_none(s->next);
        if (node_id_none(s->peer) || !mono_reached(r->now, s->at) || !sync_room(r, 1))
            continue;
        peer = table_author(r, s->peer);
        if (peer == NULL || (!started && !s->forced && peer->seen_root == r->root)) {
            *s = (struct sync){0};
            continue;
        }
        if (!started) {
            mark_synced(r, peer);
            s->next = (node_id){1};
        }
        s->next = send_digest(r, s->peer, s->next, (node_id){UINT64_MAX}, true);
        s->at = mono_add(r->now, DIGEST_NEXT_MS);
        if (node_id_none(s->next))
            *s = (struct sync){0};
    }
}

/* The peer's digest: it gets what it lacks, and our digest when it has something for us. */
void sync_digest(struct records *r, struct author *peer, const struct msg_digest *d)
{
    struct sync *own = sync_of(r, peer->id);
    size_t at = table_lower_bound(r, d->first);
    size_t i = 0;
    bool behind = false;
    bool acknowledges = !d->reply && node_id_equal(d->first, d->last);

    if (d->reply && own != NULL && node_id_none(own->next)) {
        mark_synced(r, peer); /* its exchange serves ours too */
        *own = (struct sync){0};
    }
    while (i < d->count || (at < r->count && r->authors[at]->id.v <= d->last.v)) {
        const struct author *a = at < r->count ? r->authors[at] : NULL;
        const struct msg_digest_entry *theirs = i < d->count ? &d->entries[i] : NULL;
        if (a != NULL && a->id.v > d->last.v)
            a = NULL;
        if (theirs == NULL || (a != NULL && a->id.v < theirs->author.v)) {
            sync_job(r, peer->id, a->id, 0);
            at++;
        } else if (a == NULL || theirs->author.v < a->id.v) {
            behind = behind || theirs->version > 0;
            i++;
        } else {
            if (a == r->self)
                peer->acked = theirs->version;
            if (a->version > theirs->version && !(acknowledges && a == r->self))
                sync_job(r, peer->id, a->id, theirs->version);
            behind = behind || theirs->version > a->version;
            at++;
            i++;
        }
    }
    if (!d->reply || !behind)
        return;
    for (node_id next = d->first; !node_id_none(next) && sync_room(r, 1);)
        next = send_digest(r, peer->id, next, d->last, false);
}

/* Own changes and rumours */

/* What changed in @author's records after @from is passed on for some rounds. */
void sync_hot(struct records *r, node_id author, uint64_t from)
{
    struct hot *slot = &r->hot[0];

    if (eager(r))
        return;
    for (size_t i = 0; i < HOT_MAX; i++) {
        struct hot *h = &r->hot[i];
        if (node_id_equal(h->author, author)) {
            h->rounds = HOT_ROUNDS;
            if (from < h->from)
                h->from = from;
            return;
        }
        if (h->rounds < slot->rounds)
            slot = h;
    }
    *slot = (struct hot){.author = author, .from = from, .rounds = HOT_ROUNDS};
    if (mono_is_never(r->hot_next))
        r->hot_next = r->now;
}

static size_t pick_peers(struct records *r, size_t max, struct author **picked)
{
    size_t start = rng_index(&r->rng, r->count);
    size_t n = 0;

    for (size_t tries = 0; tries < 8 * max && n < max; tries++) {
        struct author *a = r->authors[rng_below(&r->rng, r->count)];
        bool usable = a->up;
        for (size_t k = 0; k < n; k++)
            usable = usable && picked[k] != a;
        if (usable)
            picked[n++] = a;
    }
    for (size_t i = 0; i < r->count && n == 0; i++)
        if (r->authors[(start + i) % r->count]->up)
            picked[n++] = r->authors[(start + i) % r->count];
    return n;
}

static void hot_tick(struct records *r)
{
    struct author *to[HOT_FANOUT];
    bool left = false;

    if (!mono_reached(r->now, r->hot_next))
        return;
    for (size_t i = 0; i < HOT_MAX; i++) {
        struct hot *h = &r->hot[i];
        const struct author *a = node_id_none(h->author) ? NULL : table_author(r, h->author);
        size_t n;
        if (h->rounds == 0 || a == NULL || !sync_room(r, HOT_FANOUT)) {
            left = left || (h->rounds > 0 && a != NULL);
            continue;
        }
        n = pick_peers(r, HOT_FANOUT, to);
        for (size_t k = 0; k < n; k++)
            if (!node_id_equal(to[k]->id, a->id))
                send_delta(r, to[k]->id, a, h->from);
        if (--h->rounds == 0)
            *h = (struct hot){0};
        else
            left = true;
    }
    r->hot_next = left ? mono_add(r->now, HOT_MS) : MONO_NEVER;
}

/* Tells all peers the same range, as many datagrams as it takes and the step has room for. */
static void push_all(struct records *r, size_t peers)
{
    while (r->pushed < r->self->version && sync_room(r, peers)) {
        uint64_t to = r->self->version;
        for (size_t i = 0; i < r->count; i++)
            if (r->authors[i]->up)
                to = send_delta(r, r->authors[i]->id, r->self, r->pushed);
        r->pushed = to;
    }
}

static void repeat_tick(struct records *r)
{
    bool missing = false;

    if (!mono_reached(r->now, r->repeat_at))
        return;
    for (size_t i = 0; i < r->count && eager(r); i++) {
        const struct author *peer = r->authors[i];
        if (!peer->up || peer->acked >= r->self->version)
            continue;
        sync_job(r, peer->id, r->config.self, peer->acked);
        missing = true;
    }
    r->repeat_ms += r->repeat_ms / 2;
    r->repeat_at =
        missing && r->repeat_ms <= REPEAT_MAX_MS ? mono_add(r->now, r->repeat_ms) : MONO_NEVER;
}

static void push_tick(struct records *r)
{
    size_t peers = 0;

    if (r->pushed == r->self->version)
        return;
    if (!eager(r)) {
        sync_hot(r, r->config.self, r->pushed);
        r->pushed = r->self->version;
        return;
    }
    for (size_t i = 0; i < r->count; i++)
        peers += r->authors[i]->up;
    push_all(r, peers);
    r->repeat_ms = REPEAT_MS;
    r->repeat_at = mono_add(r->now, REPEAT_MS);
}

/* A digest of one author tells it what we hold of its records. */
void sync_acknowledge(struct records *r, const struct author *author)
{
    if (eager(r) && sync_room(r, 1))
        send_digest(r, author->id, author->id, author->id, false);
}

void sync_forget(struct records *r, node_id id)
{
    size_t n = 0;

    for (size_t i = 0; i < r->job_count; i++)
        if (!node_id_equal(r->jobs[i].peer, id) && !node_id_equal(r->jobs[i].author, id))
            r->jobs[n++] = r->jobs[i];
    r->job_count = n;
    for (size_t i = 0; i < SYNCS_MAX; i++)
        if (node_id_equal(r->syncs[i].peer, id))
            r->syncs[i] = (struct sync){0};
    for (size_t i = 0; i < HOT_MAX; i++)
        if (node_id_equal(r->hot[i].author, id))
            r->hot[i] = (struct hot){0};
}

void sync_tick(struct records *r)
{
    push_tick(r);
    repeat_tick(r);
    syncs_tick(r);
    jobs_tick(r);
    hot_tick(r);
}

mono_t sync_deadline(const struct records *r)
{
    mono_t t = mono_min(r->repeat_at, r->hot_next);

    if (r->pushed < r->self->version)
        return r->now;
    if (r->job_count > 0)
        t = mono_min(t, r->job_next);
    for (size_t i = 0; i < SYNCS_MAX; i++)
        if (!node_id_none(r->syncs[i].peer))
            t = mono_min(t, r->syncs[i].at);
    return t;
}
