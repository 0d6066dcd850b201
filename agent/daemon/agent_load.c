/* What is kept on the disk, opened and read at the start: the store, and what lies beside it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/agent.h"
#include "agent/io/os_clock.h"
#include "agent/io/os_start.h"
#include "proto/record/value_codec.h"

/* An agent of this boot may have given votes that no record tells of any more; the first one knows
 * that there are none (docs/vip.md, rule 8). The boot's id is stored before the first vote. A store
 * that knows no id proves nothing, unless the node is new. */
static int note_boot(struct agent *agent, struct store *store, struct err *err)
{
    struct store_meta meta;
    char id[OS_BOOT_ID_TEXT] = "";
    int rc = os_clock_boot_id(id, err);

    if (rc != ERR_NONE)
        return rc;
    rc = store_meta_get(store, "boot/id", &meta, err);
    if (rc == ERR_NOTFOUND)
        agent->first_since_boot = agent->new_identity;
    else if (rc == ERR_NONE)
        agent->first_since_boot = strcmp((const char *)meta.value, id) != 0;
    else
        return rc;
    return store_meta_set(store, "boot/id", id, strlen(id), err);
}

/* What is not there, or longer, leaves @value as it is; what an older release wrote may be
 * shorter. */
static void load_meta(struct store *store, const char *key, void *value, size_t size)
{
    struct store_meta meta;

    if (store_meta_get(store, key, &meta, NULL) == ERR_NONE && meta.size <= size)
        memcpy(value, meta.value, meta.size);
}

static int load_crons(struct agent *agent, struct store *store, struct err *err)
{
    struct store_meta *list = NULL;
    size_t count = 0;
    int rc = store_meta_list(store, AGENT_CRON_META, &list, &count, err);

    agent->known_crons = rc == ERR_NONE ? calloc(count + 1, sizeof *agent->known_crons) : NULL;
    if (rc == ERR_NONE && agent->known_crons == NULL)
        rc = err_set(err, ERR_NOMEM, "load the runs of crons: %s", err_text(ERR_NOMEM));
    for (size_t i = 0; rc == ERR_NONE && i < count; i++) {
        struct node_cron *cron = &agent->known_crons[agent->known_cron_count];
        if (value_cron_decode(list[i].value, list[i].size, &cron->value) != ERR_NONE)
            continue;
        snprintf(cron->workload, sizeof cron->workload, "%s",
                 list[i].key + strlen(AGENT_CRON_META));
        agent->known_cron_count++;
    }
    free(list);
    return rc;
}

/* What cannot be read is learned from the peers, or given anew. */
static void load_pool(struct agent *agent, struct store *store)
{
    struct store_meta *list = NULL;
    size_t count = 0;

    if (store_meta_list(store, AGENT_POOL_META, &list, &count, NULL) != ERR_NONE)
        return;
    for (size_t i = 0; i < count; i++) {
        const char *name = list[i].key + strlen(AGENT_POOL_META);
        struct value_pool value;
        if (name_valid(name) && value_pool_decode(list[i].value, list[i].size, &value) == ERR_NONE)
            (void)pool_merge(&agent->known_pool, name, &value);
    }
    free(list);
}

/* A restart has leases to renew within a fraction of a second: it counts on from its former life,
 * and the worker writes the number down. */
static int count_start(struct agent *agent, struct store *store, struct err *err)
{
    const char *run_dir = agent->config->run_dir;
    int rc;

    agent->restarted = os_start_next(run_dir, &agent->boot, NULL) == ERR_NONE;
    if (agent->restarted)
        return ERR_NONE;
    rc = store_next_boot(store, (uint32_t)(os_clock_wall_ms() / 1000), &agent->boot, err);
    if (rc == ERR_NONE && os_start_raise(run_dir, agent->boot, err) != ERR_NONE)
        agent_report(agent, EFFECT_WARNING, "node", "the next start waits for the disk: %s",
                     err->text);
    return rc;
}

int agent_open_store(struct agent *agent, struct err *err)
{
    struct store_opened opened;
    struct store *store;
    struct store_event *events = NULL;
    size_t count = 0;
    int rc = store_open(agent->config->state_dir, &store, &opened, err);

    /* The program that failed its trial has left a store that this one does not understand. */
    if (rc == ERR_VERSION && agent->upgrade.trial.state == OS_TRIAL_ROLLED_BACK &&
        store_restore(agent->config->state_dir, err) == ERR_NONE)
        rc = store_open(agent->config->state_dir, &store, &opened, err);
    if (rc != ERR_NONE)
        return rc;
    if (opened.set_aside[0] != '\0')
        agent_report(agent, EFFECT_ERROR, "store",
                     "the store was damaged (%.80s) and is set aside as %.100s; it is rebuilt from "
                     "Git and the peers",
                     opened.damage, opened.set_aside);
    rc = count_start(agent, store, err);
    if (rc != ERR_NONE)
        goto err_after_open;
    rc = note_boot(agent, store, err);
    if (rc != ERR_NONE)
        goto err_after_open;
    rc = store_peers(store, &agent->known, &agent->known_count, err);
    if (rc != ERR_NONE)
        goto err_after_open;
    load_meta(store, AGENT_DRAIN_META, &agent->known_drain, sizeof agent->known_drain);
    load_meta(store, AGENT_REGISTER_META, &agent->known_register, sizeof agent->known_register);
    load_meta(store, AGENT_MARKS_META, &agent->known_marks, sizeof agent->known_marks);
    agent_suspended_load(agent, store);
    load_pool(agent, store);
    rc = load_crons(agent, store, err);
    if (rc != ERR_NONE)
        goto err_after_open;
    if (store_events_newest(store, AGENT_EVENTS_MAX / 2, &events, &count, NULL) == ERR_NONE)
        agent_load_events(agent, events, count);
    free(events);
    rc = worker_create(agent->loop, store, &agent->store, err);
    if (rc == ERR_NONE && agent->restarted)
        agent_store_boot(agent, agent->boot);
    if (rc == ERR_NONE)
        return rc;

err_after_open:
    store_close(store);
    return rc;
}

/* ---- what is known of the flock even without the store ---- */

static bool is_known(const struct agent *agent, const struct kept_peer *peer)
{
    for (size_t i = 0; i < agent->known_count; i++)
        if (memcmp(agent->known[i].public_key, peer->admission.public_key, KEYS_PUBLIC) == 0)
            return true;
    return false;
}

/* Peers that the store does not know any more; that it is rebuilt brings them back into it. */
static int add_kept_peers(struct agent *agent, const struct kept_peer *peers, size_t count,
                          struct err *err)
{
    struct store_peer *grown =
        realloc(agent->known, (agent->known_count + count + 1) * sizeof *grown);

    if (grown == NULL)
        return err_set(err, ERR_NOMEM, "read the peers: %s", err_text(ERR_NOMEM));
    agent->known = grown;
    for (size_t i = 0; i < count; i++) {
        const struct keys_admission *admission = &peers[i].admission;
        struct store_peer *to = &agent->known[agent->known_count];
        if (is_known(agent, &peers[i]))
            continue;
        *to = (struct store_peer){.id = keys_node_id(admission->public_key),
                                  .role = admission->role,
                                  .serial = admission->serial,
                                  .addr = peers[i].addr};
        memcpy(to->public_key, admission->public_key, sizeof to->public_key);
        memcpy(to->admission, admission->signature, sizeof to->admission);
        memcpy(to->name, admission->name, sizeof to->name);
        agent->known_count++;
    }
    return ERR_NONE;
}

int agent_open_kept(struct agent *agent, struct err *err)
{
    struct kept_peer *peers = NULL;
    size_t count = 0;
    int rc = kept_open(agent->config->state_dir, &agent->kept, err);

    if (rc == ERR_NONE)
        rc = kept_load_peers(agent->kept, &peers, &count, err);
    if (rc == ERR_NONE)
        rc = add_kept_peers(agent, peers, count, err);
    free(peers);
    if (rc == ERR_NONE)
        rc = kept_load_voters(agent->kept, &agent->known_voters, err);
    return rc == ERR_NOTFOUND ? ERR_NONE : rc;
}
