/* What makes a node of keys: its machine, its channel, its executors, the peers that it knows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "agent/daemon/agent.h"
#include "agent/desired/cron.h"
#include "agent/io/os_clock.h"
#include "agent/io/os_zone.h"
#include "agent/io/os_wifi.h"
#include "proto/record/value_codec.h"

/* ---- signatures for the node ---- */

static void sign_update(void *context, struct msg_update *update)
{
    struct agent *agent = context;

    keys_sign_update(&agent->identity, update);
}

static bool verify_update(void *context, const struct msg_update *update)
{
    struct agent *agent = context;
    const struct value_head *head;

    if (node_id_equal(update->author, agent->identity.id))
        return keys_verify_update(agent->identity.public_key, update);
    head = node_peer(agent->node, update->author);
    return head != NULL && keys_verify_update(head->public_key, update);
}

static void sign_record(void *context, node_id author, struct msg_record *record)
{
    struct agent *agent = context;

    (void)author;
    keys_sign_record(&agent->identity, record);
}

/* A head vouches for itself: the cluster key has signed its key and name. */
static bool verify_head(struct agent *agent, node_id author, const struct msg_record *record)
{
    struct keys_admission admission;
    struct value_head head;

    if (value_head_decode(record->value, record->value_len, &head) != ERR_NONE ||
        !node_id_equal(keys_node_id(head.public_key), author) ||
        keyring_revoked(agent->ring, author) != NULL)
        return false;
    value_head_admission(&head, &admission);
    if (!keys_verify_admission(agent->cluster_key, &admission) ||
        !keys_verify_record(head.public_key, record))
        return false;
    agent->last_author = author;
    memcpy(agent->last_author_key, head.public_key, sizeof agent->last_author_key);
    return true;
}

static bool verify_record(void *context, node_id author, const struct msg_record *record)
{
    struct agent *agent = context;
    const struct value_head *head;

    if (record->key_len == 0)
        return verify_head(agent, author, record);
    if (node_id_equal(author, agent->identity.id))
        return keys_verify_record(agent->identity.public_key, record);
    /* The other records of a delta follow the head that has just admitted its author. */
    if (node_id_equal(author, agent->last_author))
        return keys_verify_record(agent->last_author_key, record);
    head = agent->node != NULL ? node_peer(agent->node, author) : NULL;
    return head != NULL && keys_verify_record(head->public_key, record);
}

/* ---- making the node ---- */

static int find_zone(void *context, const char *name, struct cron_zone *zone, struct err *err)
{
    char rule[OS_ZONE_TEXT];
    int rc = os_zone_rule(name, rule, err);

    (void)context;
    return rc == ERR_NONE ? cron_zone_parse(rule, zone, err) : rc;
}

static void fill_node_config(struct agent *agent, const struct keys_admission *admission,
                             const struct node_saved *saved, struct node_config *config)
{
    struct sysinfo info;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    memset(config, 0, sizeof *config);
    snprintf(agent->files_dir, sizeof agent->files_dir, "%s/files", agent->config->run_dir);
    config->self = agent->identity.id;
    config->streams = true;
    value_head_admit(&config->head, admission);
    config->head.addr = agent->address;
    snprintf(config->head.version, sizeof config->head.version, "%s", COVEY_VERSION);
    config->facts.started = os_clock_wall_ms() / 1000;
    config->facts.cpus = cpus > 0 ? (uint32_t)cpus : 1;
    if (sysinfo(&info) == 0)
        config->facts.memory_mib =
            (uint32_t)((uint64_t)info.totalram * info.mem_unit / (1024 * 1024));
    config->boot = agent->boot;
    config->files_dir = agent->files_dir;
    config->marks = &agent->known_marks;
    config->suspended = agent->known_suspended;
    config->suspended_count = agent->known_suspended_count;
    config->pool = &agent->known_pool;
    config->crons = agent->known_crons;
    config->cron_count = agent->known_cron_count;
    config->coordinator = agent->coordinator;
    keys_random(&config->seed, sizeof config->seed);
    config->now = os_clock_now();
    config->wall = os_clock_wall_ms() / 1000;
    config->lease_min_ms = agent->config->lease_min_ms;
    config->lease_max_ms = agent->config->lease_max_ms;
    config->first_since_boot = agent->first_since_boot;
    config->saved = saved;
    config->voters = agent->known_voters;
    config->adopted = agent->known_voters.current;
    config->register_kept = agent->known_register;
    config->crypto = (struct node_crypto){.context = agent,
                                          .sign_update = sign_update,
                                          .verify_update = verify_update,
                                          .sign_record = sign_record,
                                          .verify_record = verify_record};
    config->zones = (struct node_zones){.find = find_zone};
}

static int open_channel(struct agent *agent, struct err *err)
{
    struct channel_config config = {.identity = &agent->identity};

    do
        keys_random(&config.boot, sizeof config.boot);
    while (config.boot == 0);
    if (channel_create(&config, &agent->channel, err) != ERR_NONE)
        return err_wrap(err, "prepare the encrypted channel");
    return agent_keys_open(agent, err);
}

void agent_admit(struct agent *agent, const struct value_head *head)
{
    struct node_event event = {.type = NODE_ADMIT};
    struct err err;

    event.peer.id = keys_node_id(head->public_key);
    if (node_id_equal(event.peer.id, agent->identity.id))
        return;
    if (agent_keys_add_peer(agent, head, &err) != ERR_NONE) {
        agent_report(agent, EFFECT_ERROR, "node", "%s cannot be talked to: %s", head->name,
                     err.text);
        return;
    }
    event.peer.head = *head;
    agent_feed(agent, &event);
}

/* What lies on the disk may be of another flock, or damaged. */
static bool is_admitted(const struct agent *agent, const struct store_peer *peer)
{
    struct keys_admission admission = {.role = peer->role, .serial = peer->serial};

    memcpy(admission.public_key, peer->public_key, sizeof admission.public_key);
    memcpy(admission.name, peer->name, sizeof admission.name);
    memcpy(admission.signature, peer->admission, sizeof admission.signature);
    return keys_verify_admission(agent->cluster_key, &admission);
}

static void admit_known(struct agent *agent)
{
    for (size_t i = 0; i < agent->known_count; i++) {
        const struct store_peer *peer = &agent->known[i];
        struct value_head head = {.role = peer->role, .serial = peer->serial, .addr = peer->addr};
        if (peer->revoked || keyring_revoked(agent->ring, peer->id) != NULL ||
            !is_admitted(agent, peer))
            continue;
        memcpy(head.public_key, peer->public_key, sizeof head.public_key);
        memcpy(head.admission, peer->admission, sizeof head.admission);
        snprintf(head.name, sizeof head.name, "%s", peer->name);
        agent_admit(agent, &head);
    }
    free(agent->known);
    agent->known = NULL;
    agent->known_count = 0;
}

static void report_missing(void *agent, const char *text)
{
    agent_report(agent, EFFECT_WARNING, "node", "%s", text);
}

/* A radio's firmware that answers ARP by itself knows eight addresses and asks no fence. */
static bool wants_promiscuous(const struct config *config)
{
    return config->promiscuous == CONFIG_PROMISCUOUS_ON ||
           (config->promiscuous == CONFIG_PROMISCUOUS_AUTO &&
            os_wifi_answers_arp("/sys", config->interface));
}

static int open_executors(struct agent *agent, const struct node_saved *saved, struct err *err)
{
    const struct uv_instances_config instances = {.shim = agent->shim,
                                                  .run_dir = agent->config->run_dir,
                                                  .state_dir = agent->config->state_dir,
                                                  .path = agent->config->workload_path,
                                                  .node_name = agent->name,
                                                  .identity = &agent->identity,
                                                  .address = agent->address,
                                                  .user = agent->config->workload_user,
                                                  .seccomp = agent->seccomp,
                                                  .report = report_missing,
                                                  .report_context = agent};
    struct post post = {.event = agent_post, .context = agent};
    struct addr resumed[LEASES_MAX];
    size_t count = 0;
    int rc;

    for (uint32_t i = 0; saved != NULL && i < saved->address_count; i++)
        resumed[count++] = saved->addresses[i].address;
    rc = uv_vip_create(agent->loop, agent->config->interface, agent->fence, resumed, count, post,
                       &agent->vip, err);
    agent->fence = NULL;
    if (rc == ERR_NONE)
        uv_vip_promiscuous(agent->vip, wants_promiscuous(agent->config));
    if (rc == ERR_NONE)
        rc = uv_instances_create(agent->loop, &instances, post, &agent->instances, err);
    if (rc == ERR_NONE)
        rc = agent_peer_open(agent, err);
    return rc;
}

static void undone(void *context)
{
    (void)context;
}

/* As it was before agent_enter, which may be called again. What an earlier life left of a lease
 * ends by itself. */
static void undo_enter(struct agent *agent)
{
    uv_link_close(agent->link, undone, NULL);
    uv_instances_close(agent->instances, undone, NULL);
    uv_vip_close(agent->vip, true, undone, NULL);
    os_saved_close(agent->saved);
    agent_keys_close(agent);
    channel_destroy(agent->channel);
    agent->link = NULL;
    agent->instances = NULL;
    agent->vip = NULL;
    agent->saved = NULL;
    agent->channel = NULL;
}

/* A cluster key may be that of a flock that was never founded to the end: only the one that
 * admitted this node makes it the coordinator. */
static void load_cluster(struct agent *agent)
{
    struct err err;
    int rc = keystore_load_cluster(agent->keys, &agent->cluster, &err);

    agent->coordinator = rc == ERR_NONE && memcmp(agent->cluster.public_key, agent->cluster_key,
                                                  sizeof agent->cluster_key) == 0;
    if (rc != ERR_NONE && rc != ERR_NOTFOUND)
        agent_report(agent, EFFECT_ERROR, "node", "this node cannot admit others: %s", err.text);
}

int agent_enter(struct agent *agent, struct err *err)
{
    struct node_event first = {.type = NODE_TIMER};
    struct node_config config;
    struct node_saved saved;
    bool found = false;
    int rc;

    rc = keystore_load_cluster_key(agent->keys, agent->cluster_key, err);
    if (rc == ERR_NONE)
        rc = keystore_load_admission(agent->keys, &agent->admission, err);
    if (rc != ERR_NONE)
        return rc;
    snprintf(agent->name, sizeof agent->name, "%s", agent->admission.name);
    load_cluster(agent);
    rc = open_channel(agent, err);
    if (rc == ERR_NONE)
        rc = os_saved_open(agent->config->run_dir, &agent->saved, &saved, &found, err);
    if (rc == ERR_NONE)
        rc = open_executors(agent, found ? &saved : NULL, err);
    if (rc == ERR_NONE) {
        fill_node_config(agent, &agent->admission, found ? &saved : NULL, &config);
        rc = node_create(&config, &agent->node, err);
    }
    if (rc != ERR_NONE) {
        undo_enter(agent);
        return rc;
    }
    agent_feed(agent, &first); /* what resuming a lease has asked for */
    agent_keys_tell(agent);
    if (agent->known_drain)
        agent_feed(agent, &(struct node_event){.type = NODE_DRAIN, .drain = true});
    rc = uv_instances_scan(agent->instances, err);
    if (rc != ERR_NONE)
        agent_report(agent, EFFECT_ERROR, "node", "the workloads of before cannot be found: %s",
                     err->text);
    admit_known(agent);
    uv_sync_branch(agent->sync);
    agent_net_arm(agent);
    return ERR_NONE;
}
