/* What is written to the store: jobs on the worker that owns it. A write that fails is reported;
 * what runs goes on. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/daemon/agent.h"
#include "agent/io/os_start.h"
#include "proto/record/value_codec.h"

#define BATCH_DELAY_MS 2000 /* events are written together: flash wears out by the page */

/* A damaged store is set aside and rebuilt where that is done anyway: at the start. The leases go
 * on and the workloads do not notice. */
static void check_damage(struct agent *agent, int rc)
{
    if (rc != ERR_CORRUPT || agent->stopping)
        return;
    agent_report(agent, EFFECT_ERROR, "store",
                 "the store is damaged: agentd ends, to be started anew with a rebuilt one");
    agent_end(agent, 1);
}

/* ---- peers, keys, voters, boot numbers ---- */

enum write_kind {
    WRITE_PEER,
    WRITE_VOTERS,
    WRITE_BOOT,
    WRITE_DRAIN,
    WRITE_REGISTER,
    WRITE_EPOCHS,
    WRITE_REVOCATION,
    WRITE_MARKS,
    WRITE_SUSPENDED,
    WRITE_POOL,
    WRITE_CRON
};

struct write_job {
    struct worker_job job; /* first */
    struct agent *agent;
    enum write_kind kind;
    struct store_peer peer;
    struct voters_state voters;
    uint32_t boot;
    bool drain;
    bool kept;
    struct keystore_epochs epochs;
    struct keys_revocation revocation;
    struct effect_marks marks;
    struct suspension *suspended; /* malloc */
    size_t suspended_count;
    struct pool *pool; /* malloc */
    struct effect_cron cron;
    int rc;
    struct err err;
};

/* In the store, and beside it for the day when the store is lost. */
static int write_peer(struct write_job *write, struct store *store)
{
    const struct store_peer *peer = &write->peer;
    struct kept_peer kept = {.admission = {.role = peer->role, .serial = peer->serial},
                             .addr = peer->addr};
    int rc;

    memcpy(kept.admission.public_key, peer->public_key, KEYS_PUBLIC);
    memcpy(kept.admission.name, peer->name, sizeof kept.admission.name);
    memcpy(kept.admission.signature, peer->admission, KEYS_SIGNATURE);
    if (peer->revoked)
        rc = kept_drop_peer(write->agent->kept, peer->id, &write->err);
    else
        rc = kept_save_peer(write->agent->kept, &kept, &write->err);
    return rc == ERR_NONE ? store_peer_put(store, peer, &write->err) : rc;
}

/* The file first: it is signed, and outlives the store. */
static int write_revocation(struct write_job *write, struct store *store)
{
    int rc = kept_save_revocation(write->agent->kept, &write->revocation, &write->err);

    if (rc == ERR_NONE)
        rc = kept_drop_peer(write->agent->kept, write->peer.id, &write->err);
    return rc == ERR_NONE ? store_peer_put(store, &write->peer, &write->err) : rc;
}

/* The marks are one value, so that they are whole; why a commit was given up stands in the history.
 */
static int write_marks(struct write_job *write, struct store *store)
{
    const struct rollout_marks *marks = &write->marks.marks;
    struct store_commit commit = {.applied_at = (int64_t)time(NULL)};
    int rc = store_meta_set(store, AGENT_MARKS_META, marks, sizeof *marks, &write->err);

    if (rc != ERR_NONE || write->marks.reason[0] == '\0')
        return rc;
    snprintf(commit.commit, sizeof commit.commit, "%s", marks->bad[0]);
    return store_fail_commit(store, &commit, write->marks.reason, &write->err);
}

/* What is equal to what is stored is not written. */
static int write_suspended(struct write_job *write, struct store *store)
{
    static_assert(sizeof(struct suspension) <= STORE_VALUE_MAX, "one fits a value");
    int rc = ERR_NONE;

    for (size_t i = 0; i < write->suspended_count && rc == ERR_NONE; i++) {
        const struct suspension *item = &write->suspended[i];
        char key[sizeof AGENT_SUSPENDED_META + sizeof item->app];
        snprintf(key, sizeof key, AGENT_SUSPENDED_META "%s", item->app);
        rc = store_meta_set(store, key, item, sizeof *item, &write->err);
    }
    return rc;
}

static int write_pool_entry(struct write_job *write, struct store *store,
                            const struct pool_entry *entry)
{
    char key[sizeof AGENT_POOL_META + sizeof entry->name];
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;
    int rc = value_pool_encode(&entry->value, bytes, sizeof bytes, &len);

    if (rc != ERR_NONE)
        return err_set(&write->err, rc, "store the address of %s: %s", entry->name, err_text(rc));
    snprintf(key, sizeof key, AGENT_POOL_META "%s", entry->name);
    return store_meta_set(store, key, bytes, len, &write->err);
}

/* What is equal to what is stored is not written; names that are not remembered any more go. */
static int write_pool(struct write_job *write, struct store *store)
{
    struct store_meta *list = NULL;
    size_t count = 0;
    int rc = store_meta_list(store, AGENT_POOL_META, &list, &count, &write->err);

    for (size_t i = 0; i < count && rc == ERR_NONE; i++)
        if (pool_find(write->pool, list[i].key + strlen(AGENT_POOL_META)) == NULL)
            rc = store_meta_set(store, list[i].key, NULL, 0, &write->err);
    for (size_t i = 0; i < write->pool->count && rc == ERR_NONE; i++)
        rc = write_pool_entry(write, store, &write->pool->entries[i]);
    free(list);
    return rc;
}

static int write_cron(struct write_job *write, struct store *store)
{
    const struct value_cron *value = &write->cron.value;
    bool forget = value->accepted.tick == 0 && value->count == 0;
    uint8_t bytes[RECORD_VALUE_MAX];
    char key[INSTANCE_MAX + sizeof AGENT_CRON_META];
    size_t len = 0;
    int rc = value_cron_encode(value, bytes, sizeof bytes, &len);

    if (rc != ERR_NONE)
        return err_set(&write->err, rc, "store the runs of %s: %s", write->cron.workload,
                       err_text(rc));
    snprintf(key, sizeof key, "%s%s", AGENT_CRON_META, write->cron.workload);
    return store_meta_set(store, key, forget ? NULL : bytes, len, &write->err);
}

static void run_write(struct worker_job *job, struct store *store)
{
    struct write_job *write = (struct write_job *)job;

    switch (write->kind) {
    case WRITE_PEER:
        write->rc = write_peer(write, store);
        break;
    case WRITE_VOTERS:
        write->rc = kept_save_voters(write->agent->kept, &write->voters, &write->err);
        break;
    case WRITE_BOOT:
        write->rc = store_raise_boot(store, write->boot, &write->err);
        break;
    case WRITE_EPOCHS:
        write->rc = keystore_save_epochs(write->agent->keys, &write->epochs, &write->err);
        break;
    case WRITE_REVOCATION:
        write->rc = write_revocation(write, store);
        break;
    case WRITE_MARKS:
        write->rc = write_marks(write, store);
        break;
    case WRITE_SUSPENDED:
        write->rc = write_suspended(write, store);
        break;
    case WRITE_POOL:
        write->rc = write_pool(write, store);
        break;
    case WRITE_REGISTER:
        write->rc = store_meta_set(store, AGENT_REGISTER_META, &write->kept, sizeof write->kept,
                                   &write->err);
        break;
    case WRITE_CRON:
        write->rc = write_cron(write, store);
        break;
    case WRITE_DRAIN:
        write->rc = store_meta_set(store, AGENT_DRAIN_META, &write->drain, sizeof write->drain,
                                   &write->err);
        break;
    }
}

/* Not stored, not adopted: the node tries again, some time later. */
static void answer_voters(struct agent *agent, const struct voters_state *stored)
{
    struct node_event event = {.type = NODE_VOTERS};

    if (stored != NULL)
        event.voters = *stored;
    agent_feed(agent, &event);
}

/* Not stored, not said, and nothing started: the node tries again. */
static void answer_cron(struct agent *agent, const struct effect_cron *cron, bool failed)
{
    struct node_event event = {.type = NODE_CRON};

    event.cron.workload = cron->workload;
    event.cron.number = cron->number;
    event.cron.failed = failed;
    agent_feed(agent, &event);
}

static void free_write(struct write_job *write) /* NULL is allowed */
{
    if (write == NULL)
        return;
    free(write->suspended);
    free(write->pool);
    free(write);
}

static void write_done(struct worker_job *job)
{
    struct write_job *write = (struct write_job *)job;

    if (write->rc != ERR_NONE)
        agent_report(write->agent, EFFECT_ERROR, "store", "%s", write->err.text);
    if (write->kind == WRITE_VOTERS)
        answer_voters(write->agent, write->rc == ERR_NONE ? &write->voters : NULL);
    if (write->kind == WRITE_CRON)
        answer_cron(write->agent, &write->cron, write->rc != ERR_NONE);
    check_damage(write->agent, write->rc);
    keys_wipe(&write->epochs, sizeof write->epochs);
    free_write(write);
}

static struct write_job *new_write(struct agent *agent, enum write_kind kind)
{
    struct write_job *write = calloc(1, sizeof *write);

    if (write == NULL)
        return NULL;
    write->job.run = run_write;
    write->job.done = write_done;
    write->agent = agent;
    write->kind = kind;
    return write;
}

/* Takes @write, also on failure. */
static int submit(struct agent *agent, struct write_job *write)
{
    struct err err;
    int rc = write == NULL ? err_set(&err, ERR_NOMEM, "%s", err_text(ERR_NOMEM))
                           : worker_submit(agent->store, &write->job, &err);

    if (rc == ERR_NONE)
        return rc;
    agent_report(agent, EFFECT_ERROR, "store", "not stored: %s", err.text);
    free_write(write);
    return rc;
}

void agent_store_peer(struct agent *agent, const struct effect_peer *peer)
{
    struct write_job *write = new_write(agent, WRITE_PEER);
    struct store_peer *to;

    if (write != NULL) {
        to = &write->peer;
        to->id = peer->id;
        to->revoked = peer->revoked;
        memcpy(to->public_key, peer->head->public_key, sizeof to->public_key);
        memcpy(to->admission, peer->head->admission, sizeof to->admission);
        snprintf(to->name, sizeof to->name, "%s", peer->head->name);
        to->role = peer->head->role;
        to->serial = peer->head->serial;
        to->addr = peer->head->addr;
    }
    submit(agent, write);
}

void agent_store_voters(struct agent *agent, const struct voters_state *voters)
{
    struct write_job *write = new_write(agent, WRITE_VOTERS);

    if (write != NULL)
        write->voters = *voters;
    if (submit(agent, write) != ERR_NONE)
        answer_voters(agent, NULL);
}

void agent_store_boot(struct agent *agent, uint32_t at_least)
{
    struct write_job *write = new_write(agent, WRITE_BOOT);
    struct err err;

    if (os_start_raise(agent->config->run_dir, at_least, &err) != ERR_NONE)
        agent_report(agent, EFFECT_WARNING, "node", "%s", err.text);
    if (write != NULL)
        write->boot = at_least;
    submit(agent, write);
}

void agent_store_epochs(struct agent *agent)
{
    struct write_job *write = new_write(agent, WRITE_EPOCHS);
    size_t count;
    const struct keys_epoch *epochs = keyring_epochs(agent->ring, &count);

    if (write != NULL) {
        static_assert(KEYSTORE_EPOCHS == KEYRING_EPOCHS, "all are kept");
        memcpy(write->epochs.epochs, epochs, count * sizeof *epochs);
        write->epochs.count = count;
    }
    submit(agent, write);
}

void agent_store_revocation(struct agent *agent, const struct keys_revocation *revocation)
{
    struct write_job *write = new_write(agent, WRITE_REVOCATION);
    node_id id = keys_node_id(revocation->public_key);
    const struct value_head *head = node_peer(agent->node, id);

    if (write != NULL) {
        struct store_peer *to = &write->peer;
        write->revocation = *revocation;
        to->id = id;
        to->revoked = true;
        to->role = head != NULL ? head->role : VALUE_ROLE_AGENT;
        to->serial = head != NULL ? head->serial : 0;
        memcpy(to->public_key, revocation->public_key, sizeof to->public_key);
        snprintf(to->name, sizeof to->name, "%s", revocation->name);
    }
    submit(agent, write);
}

void agent_store_marks(struct agent *agent, const struct effect_marks *marks)
{
    struct write_job *write = new_write(agent, WRITE_MARKS);

    if (write != NULL)
        write->marks = *marks;
    submit(agent, write);
}

void agent_store_suspended(struct agent *agent, const struct suspensions *suspensions)
{
    struct write_job *write = new_write(agent, WRITE_SUSPENDED);
    size_t size = suspensions->count * sizeof *suspensions->items;

    if (write != NULL)
        write->suspended = malloc(size + 1);
    if (write != NULL && write->suspended != NULL) {
        memcpy(write->suspended, suspensions->items, size);
        write->suspended_count = suspensions->count;
    } else {
        free(write);
        write = NULL;
    }
    submit(agent, write);
}

void agent_store_pool(struct agent *agent, const struct pool *pool)
{
    struct write_job *write = new_write(agent, WRITE_POOL);

    if (write != NULL)
        write->pool = malloc(sizeof *pool);
    if (write != NULL && write->pool != NULL) {
        *write->pool = *pool;
    } else {
        free_write(write);
        write = NULL;
    }
    submit(agent, write);
}

void agent_store_drain(struct agent *agent, bool drain)
{
    struct write_job *write = new_write(agent, WRITE_DRAIN);

    if (write != NULL)
        write->drain = drain;
    submit(agent, write);
}

void agent_store_register(struct agent *agent, bool kept)
{
    struct write_job *write = new_write(agent, WRITE_REGISTER);

    if (write != NULL)
        write->kept = kept;
    submit(agent, write);
}

void agent_store_cron(struct agent *agent, const struct effect_cron *cron)
{
    struct write_job *write = new_write(agent, WRITE_CRON);

    if (write != NULL)
        write->cron = *cron;
    if (submit(agent, write) != ERR_NONE)
        answer_cron(agent, cron, true);
}

/* ---- the journal ---- */

struct event_batch {
    struct worker_job job; /* first */
    struct agent *agent;
    size_t count;
    struct store_event events[64];
    int rc;
    struct err err;
};

static void run_batch(struct worker_job *job, struct store *store)
{
    struct event_batch *batch = (struct event_batch *)job;

    batch->rc = store_events_append(store, batch->events, batch->count, &batch->err);
}

static void batch_done(struct worker_job *job)
{
    struct event_batch *batch = (struct event_batch *)job;

    /* To report it as an event would try to store that too. */
    if (batch->rc != ERR_NONE)
        fprintf(stderr, "error   store: events are not kept: %s\n", batch->err.text);
    check_damage(batch->agent, batch->rc);
    free(batch);
}

void agent_store_flush(struct agent *agent)
{
    struct event_batch *batch = agent->batch;
    struct err err;

    if (batch == NULL)
        return;
    agent->batch = NULL;
    if (worker_submit(agent->store, &batch->job, &err) == ERR_NONE)
        return;
    fprintf(stderr, "error   store: events are not kept: %s\n", err.text);
    free(batch);
}

static void on_batch(uv_timer_t *timer)
{
    agent_store_flush(timer->data);
}

void agent_store_event(struct agent *agent, const struct agent_event *event)
{
    static const enum store_severity severities[] = {
        [EFFECT_INFO] = STORE_INFO, [EFFECT_WARNING] = STORE_WARNING, [EFFECT_ERROR] = STORE_ERROR};
    struct store_event *to;
    size_t kind;

    if (agent->store == NULL)
        return;
    if (agent->batch == NULL) {
        agent->batch = calloc(1, sizeof *agent->batch);
        if (agent->batch == NULL)
            return;
        agent->batch->agent = agent;
        agent->batch->job.run = run_batch;
        agent->batch->job.done = batch_done;
        uv_timer_start(&agent->batch_timer, on_batch, BATCH_DELAY_MS, 0);
    }
    to = &agent->batch->events[agent->batch->count++];
    to->time_ms = event->time_ms;
    to->severity = severities[event->severity];
    snprintf(to->subject, sizeof to->subject, "%s", event->subject);
    snprintf(to->text, sizeof to->text, "%s", event->text);
    kind = strcspn(event->subject, "/");
    snprintf(to->kind, sizeof to->kind, "%.*s", kind < 31 ? (int)kind : 31, event->subject);
    if (agent->batch->count == sizeof agent->batch->events / sizeof agent->batch->events[0])
        agent_store_flush(agent);
}
