/* The inside of struct node, shared by the node_*.c files alone. */
#ifndef COVEY_CORE_NODE_INTERNAL_H
#define COVEY_CORE_NODE_INTERNAL_H

#include "agent/desired/cron.h"
#include "agent/core/health.h"
#include "agent/core/node.h"
#include "agent/core/place.h"
#include "agent/core/pool.h"
#include "agent/core/rollout.h"
#include "agent/core/supervise.h"
#include "proto/base/rng.h"
#include "proto/lease/lease.h"
#include "proto/lease/voters.h"
#include "proto/member/member.h"
#include "proto/record/record.h"

#define NODE_SETTLED_MS 30000  /* a member that was gone gets work again after this */
#define NODE_HANDOVER_MS 60000 /* a replica placed elsewhere runs on at most this long */
#define NODE_ELSEWHERE_MS                                                                          \
    5000                   /* an endpoint must be gone this long before who uses it is replaced */
#define NODE_DRIFT_MS 1500 /* between looks at the files of a process */
#define NODE_FETCH_RETRY_MS 2000
#define NODE_FETCH_RETRY_MAX_MS 60000
#define NODE_COMMITS_MAX 8 /* commits of others whose fate is remembered */

struct peer {
    node_id id;
    struct value_head head;
    struct value_facts facts;
    struct value_commit commit;
    struct value_keys keys;
    bool self;
    bool quarantined; /* two machines use its identity: it gets nothing to do */
    uint8_t state;    /* enum member_state; MEMBER_ALIVE for self */
    mono_t since;     /* of the state */
    bool was_gone;    /* dead longer than the hold-down; cleared when settled again */
    const struct desired_map *labels;
};

/* A workload's texts with their references filled in. */
struct rendering {
    char *text; /* owns the strings, save those of files without references: the desired state's */
    size_t *offsets; /* while it is being made */
    struct desired_pair *env;
    size_t env_count;
    const char **args; /* ends with NULL */
    struct desired_content *files;
    size_t file_count;
    uint64_t generation; /* with what needs a restart when it differs */
    uint64_t contents;   /* hash of the files whose change needs none */
};

/* One workload replica that runs here, is to run here, or is being moved away. */
struct instance {
    char name[INSTANCE_MAX];
    char other[INSTANCE_MAX]; /* name of its second process */
    bool second;              /* it is that one */
    struct instance *elder;   /* it is to take the place of that one; NULL: it is the instance */
    const struct desired_workload *judge; /* whose probes judge the process: it was started by it */
    const struct desired *judge_state;    /* where that lies; kept as long as it is named here */
    uint64_t judge_generation;            /* of it; 0: not known, or nothing was started */
    const struct desired_workload *workload; /* NULL: unknown to the desired state */
    bool placed;                             /* placed here by the last placement */
    mono_t placed_at;                        /* it came here */
    bool doomed;                             /* told to stop for good */
    mono_t moving;                           /* placed elsewhere since; MONO_NEVER: it is not */
    node_id moved_to;
    struct supervise machine;
    struct health health;
    struct value_port ports[VALUE_PORTS_MAX];
    uint8_t port_count;
    char reason[VALUE_REASON_MAX]; /* of its present state; "": none */
    char note[VALUE_REASON_MAX];   /* what is wrong with it although it runs */
    char before[VALUE_REASON_MAX]; /* how its last run ended, if that was not in order */
    struct rendering rendering;
    uint64_t rendered;   /* number of the desired state that it is of; 0: none yet */
    mono_t check_at;     /* its files are looked at again; MONO_NEVER: it has none */
    uint64_t delivered;  /* contents that the process has, as far as is known; 0: not known */
    bool unprobed;       /* found alive: whether it is ready is not known yet */
    uint16_t probe_port; /* its own, where its sockets are shared; 0: none */
    bool succeeded;      /* its next version is on the way to take its place */
    bool outdated;       /* ready, and waits for its turn to be replaced */
    mono_t elsewhere;    /* then the process is replaced, for it leads elsewhere; or MONO_NEVER */
    uint64_t wished;     /* generation of the last wish; 0: none */
    uint64_t document;   /* generation of the document of the last wish; 0: not known */
    struct cron cron;
    bool cron_valid;
    uint64_t cron_generation;
    int64_t cron_due; /* Unix seconds; CRON_NEVER: none */
    uint64_t lease;   /* singleton: id of its lease, else 0 */
    struct value_instance published;
    int64_t since; /* Unix seconds of the present state */
    uint8_t shown; /* enum value_instance_state that @since belongs to */
    bool extra;    /* found while the desired state was known: somebody has started it */
    bool differ;   /* its files, as was told last */
    uint8_t drift; /* enum drift_kind that people are shown */
};

struct pending { /* replicas that run nowhere */
    char workload[NODE_NAME_MAX + 1];
    uint32_t replicas;
    char reason[VALUE_REASON_MAX];
};

/* Where all replicas of a desired state are placed, as this node sees the members. */
struct placement {
    uint64_t number; /* of the desired state; 0: none yet */
    size_t workload_count, node_count;
    int *owner; /* of workload k from first[k] on: indices of nodes, -1: nowhere */
    size_t *first;
    struct pending *pending;
    size_t pending_count;
};

struct held_vip {
    char name[NODE_NAME_MAX + 1];
    struct addr address;
    uint64_t lease;
    bool desired; /* false: left the desired state, being released */
    bool strict;
    mono_t conflict; /* a foreign host answered for it: not claimed before this; or MONO_NEVER */
    mono_t checked;  /* it was asked whether one does: likewise */
    node_id owner;   /* as this node knows, whichever node that is; NODE_NONE: nobody */
    node_id before;  /* the owner before */
    int64_t owner_since; /* Unix seconds */
    node_id preferred;   /* while it is held here: who shall have it by rendezvous hashing */
    mono_t steady;       /* since when that has not changed */
    bool handed;         /* it was handed to this node since */
    bool missing;        /* somebody has removed it from the interface, and it is left so */
    uint8_t drift;       /* enum drift_kind that people are shown */
    struct value_vip value;
};

struct foreign_commit {
    char commit[COMMIT_TEXT];
    node_id from;
    mono_t retry; /* MONO_NEVER: settled, or being fetched */
    int64_t delay_ms;
};

/* What is not as the repository says, where that is left so (node_drift.c). */
enum drift_kind { DRIFT_NONE, DRIFT_KILLED, DRIFT_FILES, DRIFT_EXTRA, DRIFT_MISSING };

/* Does the gateway keep its ARP cache by the last writer? */
enum node_register { NODE_REGISTER_UNTESTED, NODE_REGISTER_KEPT, NODE_REGISTER_LOST };

struct node {
    struct node_config config;
    struct rng rng;
    int64_t wall; /* of the present step */
    mono_t now;
    bool left;
    bool stepped;
    bool no_memory;

    struct membership *members;
    struct records *records;
    struct leases *leases;
    struct voters voters; /* coordinator only */
    struct voter_set adopted;
    bool voters_storing; /* EFFECT_VOTERS is under way, or failed and waits for voters_retry */
    mono_t voters_retry;
    uint64_t root; /* of the records, as the probes carry it */
    struct membership_out members_out;
    struct records_out records_out;
    struct leases_out leases_out;

    struct peer *peers; /* self included; sorted by id */
    size_t peer_count;

    struct desired *desired;
    struct rollout rollout;
    uint64_t *baseline; /* names and digests, in turn, of the workloads of the last good state */
    size_t baseline_count;
    struct node_event_desired held; /* waits until another node has tried it; .desired NULL: none */
    char held_subject[VALUE_REASON_MAX];
    char held_canary[DESIRED_CANARY_MAX];
    char held_for[NODE_NAME_MAX + 1]; /* the first that has not shown it ready */
    bool held_early;                  /* what ran before is stored as applied */
    bool held_missed;                 /* held_for is away, and people were told */
    mono_t held_missed_at;            /* then they are; MONO_NEVER: it is here, or they were */
    mono_t apply_retry;               /* EFFECT_APPLY is tried again */
    char apply_commit[COMMIT_TEXT];   /* with this one */
    uint64_t desired_number;          /* counts them, from 1 */
    struct desired **retired; /* replaced, but an effect or an instance may still name them */
    size_t retired_count;
    struct value_commit commit; /* own */
    struct foreign_commit commits[NODE_COMMITS_MAX];
    size_t commit_next;
    char fetching[COMMIT_TEXT];

    struct instance **instances;
    size_t instance_count;
    struct jobs *jobs;   /* likewise */
    struct turns *turns; /* NULL: there has been none yet */
    struct held_vip *vips;
    size_t vip_count;

    struct pool pool;
    struct addr vip_addresses[DESIRED_VIPS_MAX]; /* of the desired state's; family 0: it waits */
    uint64_t pool_number; /* of the desired state that they are for; 0: none yet */
    size_t pool_pending;  /* how many wait since the pool is exhausted, as people were told */
    mono_t pool_alone;    /* then addresses are given without having heard of anybody */
    bool pool_dirty;      /* a peer knew more */
    bool pool_waits;      /* addresses are not given before pool_alone, or somebody is heard */
    bool pool_unsaved;    /* the executor is to be told */

    struct value_paths paths; /* as published */
    mono_t paths_told;
    mono_t paths_next;

    struct placement placement;
    struct suspensions suspensions;
    bool suspend_dirty; /* the executor is to be told */
    mono_t suspend_at;  /* one of them ends; MONO_NEVER: none does */

    bool place_dirty;  /* members, labels or the desired state changed */
    bool work_dirty;   /* something that an instance waits for may have changed */
    mono_t place_at;   /* a hold-down or settling ends */
    mono_t balance_at; /* the spread of the addresses is looked at; MONO_NEVER: none is held */

    enum node_register register_tested; /* by this node, in this life */
    enum node_register register_used;   /* what the leases go by */
    bool register_doubted;              /* a test has failed, and is repeated before it counts */
    mono_t register_at;                 /* the next test; MONO_NEVER: no address is held */

    struct effect *effects;
    size_t effect_count;
    size_t effect_room;
    struct effect lost; /* written where memory ran out; never read */
    void **payloads;    /* freed at the next step */
    size_t payload_count;
    size_t payload_room;
};

/* effects: node_effects.c. All set node->no_memory when they fail. */
void node_effects_reset(struct node *node);
struct effect *node_effect(struct node *node, enum effect_type type);
/* @send is copied. */
void node_send(struct node *node, const struct effect_send *send);
void node_event(struct node *node, enum effect_severity severity, const char *subject,
                const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Keeps @memory until the next step, then frees it. */
void node_keep(struct node *node, void *memory);

/* who hears whom: node_paths.c */
void node_paths_begin(struct node *node);
void node_paths_tick(struct node *node);
mono_t node_paths_deadline(const struct node *node);
bool node_paths_of(const struct node *node, const struct peer *observer, struct value_paths *paths);

/* members: node_members.c */
void node_members_step(struct node *node, const struct membership_event *event);
bool node_streams(const struct node *node, node_id peer); /* it is reached over TCP alone */

/* peers and their records: node_peers.c */
void node_records_step(struct node *node, const struct records_event *event);
struct peer *node_add_peer(struct node *node, node_id id); /* NULL: no memory */
int node_peers_create(struct node *node, struct err *err);
void node_peers_free(struct node *node);
void node_peers_message(struct node *node, const struct node_event_message *event);
void node_peers_heard(struct node *node, const struct node_event_message *event);
void node_peers_settle(struct node *node);
void node_peers_admit(struct node *node, const struct node_event_peer *event);
void node_peers_revoke(struct node *node, node_id id);
void node_peers_address(struct node *node, const struct addr *addr);
void node_peers_leave(struct node *node);
void node_peers_tick(struct node *node);
void node_peers_labels(struct node *node); /* after the desired state changed */
struct peer *node_find_peer(const struct node *node, node_id id);
const char *node_name(const struct node *node, node_id id); /* its name, or its id in text */
bool node_peer_usable(struct node *node, struct peer *peer);
bool node_peer_present(const struct peer *peer); /* alive or suspect */
void node_publish(struct node *node, const char *key, const uint8_t *value, size_t len);
void node_unpublish(struct node *node, const char *key);
void node_publish_facts(struct node *node);

/* identities: node_identity.c */
void node_peers_quarantine(struct node *node, const struct node_event_quarantine *event);
void node_peers_keys(struct node *node, const struct value_keys *keys);

/* commits: node_commit.c */
void node_commit_publish(struct node *node);
void node_commit_seen(struct node *node, const struct peer *peer);
void node_commit_result(struct node *node, const struct node_event_commit *event);
void node_commit_applied(struct node *node, const struct node_event_desired *event);
void node_commit_tick(struct node *node);
mono_t node_commit_deadline(const struct node *node);

/* suspended apps: node_suspend.c */
void node_suspend_create(struct node *node, const struct suspension *stored, size_t count);
void node_suspend_seen(struct node *node, const struct record_view *record);
void node_suspend_said(struct node *node, const struct node_event_suspend *event);
void node_suspend_update(struct node *node);
mono_t node_suspend_deadline(const struct node *node);

/* the addresses of the pool: node_pool.c */
void node_pool_create(struct node *node, const struct pool *stored);
void node_pool_seen(struct node *node, const struct record_view *record);
bool node_pool_assign(struct node *node); /* of the desired state; true: some are different now */
void node_pool_update(struct node *node); /* at the end of a step */
mono_t node_pool_deadline(const struct node *node);

/* what somebody else changed: node_drift.c */
/* How drift of @app is treated, "" for what belongs to none; suspended apps are corrected. */
enum desired_drift node_drift_mode(const struct node *node, const char *app);
bool node_drift_leaves_extra(const struct node *node, const struct instance *instance);
bool node_drift_leaves_vip(const struct node *node, const struct held_vip *vip);
void node_drift_told(struct node *node, const struct node_event_drift *event);
void node_drift_update(struct node *node); /* at the end of a step: what people are shown */
void node_drift_forget(struct node *node, struct instance *instance);

void node_take_desired(struct node *node, const struct node_event_desired *event); /* node.c */

/* what becomes of an applied commit: node_rollout.c */
/* Whether the commit of @event was given up while it was on its way; it is dropped then. */
bool node_rollout_refuse(struct node *node, const struct node_event_desired *event);
void node_rollout_desired(struct node *node, const struct node_event_desired *event);
void node_rollout_seen(struct node *node, const struct peer *peer);
void node_rollout_fill(const struct node *node, struct value_commit *commit);
void node_rollout_update(struct node *node); /* at the end of a step */
mono_t node_rollout_deadline(const struct node *node);
void node_rollout_free(struct node *node);
/* To an earlier commit, or a held one. */
void node_rollout_go(struct node *node, const char *commit);
/* Kept in the marks: @commit was let go on here; this one runs while another waits, "" for none. */
void node_rollout_passed(struct node *node, const char *commit);
void node_rollout_before(struct node *node, const char *commit);
/* To what ran before the commit that waits; false: nothing is known. */
bool node_rollout_resume(struct node *node);

/* which nodes try a commit first: node_canary.c */
/* Whether @event waits for the canary; it is kept then. */
bool node_canary_hold(struct node *node, const struct node_event_desired *event);
void node_canary_passed(struct node *node, const struct node_event_desired *event);
void node_canary_drop(struct node *node);
void node_canary_update(struct node *node); /* lets it go on, or says for whom it waits */
/* Whether @peer keeps @commit back until others have tried it. */
bool node_canary_holds(const struct peer *peer, const char *commit);
void node_canary_fill(const struct node *node, struct value_commit *commit);
mono_t node_canary_deadline(const struct node *node);

/* workloads: node_place.c, node_work.c, node_cron.c, node_instance.c, node_env.c */
void node_place_all(struct node *node);
void node_placement_free(struct placement *placement);
/* Why replicas of @workload run nowhere; NULL: none does. */
const char *node_pending(const struct node *node, const char *workload);
/* Where each replica of @w is placed: owner[r] is an index into *nodes, or -1. Both are the
 * caller's, and NULL after ERR_NOMEM. */
int node_place_owners(struct node *node, const struct desired_workload *w,
                      struct place_node **nodes, int **owner);
uint64_t node_singleton_lease(const char *workload);
void node_cron_update(struct node *node, struct instance *instance);
uint8_t node_cron_process(const struct instance *instance); /* its number, WORKLOAD.number */
/* NULL and "UTC" are UTC. Errors: ERR_NOTFOUND. */
int node_cron_zone(const struct node *node, const char *name, struct cron_zone *zone,
                   struct err *err);
/* Makes @instance one of the same workload as @first, placed as that. */
void node_place_beside(struct node *node, struct instance *instance, const struct instance *first);
/* After its machine has taken note; @exit_code -1: not known. */
void node_cron_exited(struct node *node, const struct instance *instance, int exit_code);
void node_jobs_create(struct node *node, const struct node_cron *known, size_t count);
void node_jobs_update(struct node *node); /* whose claims are accepted */
void node_jobs_stored(struct node *node, const struct node_event_cron *event);
/* Runs of @w on all nodes, newest first, malloc; ERR_NOMEM. */
int node_jobs_runs(const struct node *node, const struct desired_workload *w,
                   struct status_run **runs, size_t *count);
mono_t node_jobs_deadline(const struct node *node);
void node_jobs_free(struct node *node);
struct instance *node_add_instance(struct node *node, const char *name);
void node_instance_want(struct node *node, struct instance *instance, uint64_t generation);
/* New probes take the place of those that it has. */
void node_instance_probes(struct node *node, struct instance *instance,
                          const struct health_policy probes[HEALTH_PROBES]);
/* From here on the document that it is bound to judges it. */
void node_instance_judge(struct node *node, struct instance *instance);
void node_instance_extend(struct node *node, struct instance *instance, mono_t until);
void node_work_desired(struct node *node);
void node_work_update(struct node *node);
void node_work_found(struct node *node, const struct node_event_instance *event);
void node_work_started(struct node *node, const struct node_event_instance *event);
void node_work_exited(struct node *node, const struct node_event_instance *event);
void node_work_note(struct node *node, const struct node_event_instance *event);
void node_work_probe(struct node *node, const struct node_event_probe *event);
void node_work_tick(struct node *node);
void node_work_lease(struct node *node, uint64_t lease, bool held, mono_t until);
void node_work_free(struct node *node);
mono_t node_work_deadline(const struct node *node);
/* By the name of the process. */
struct instance *node_find_process(const struct node *node, const char *process);
const char *node_instance_process(const struct instance *instance);
void node_instance_end(struct node *node, struct instance *instance); /* for good */
void node_work_adopt(struct node *node, struct instance *instance,
                     const struct node_event_instance *event);
struct instance *node_find_instance(const struct node *node, const char *name);
void node_instance_step(struct node *node, struct instance *instance,
                        const struct supervise_event *event);
void node_instance_publish(struct node *node, struct instance *instance);
void node_instance_tick(struct node *node, struct instance *instance);
void node_instance_free(struct instance *instance);

/* Renders the environment of @instance and gives its generation. @running (0: none) is that of the
 * process that runs: it stays as long as ready endpoints lead to it, whichever are preferred now.
 * Errors: ERR_NOTFOUND a service has no ready endpoint (the reason is in instance->reason);
 * ERR_LIMIT, ERR_NOMEM. The former environment stays then. */
int node_env_render(struct node *node, struct instance *instance, uint64_t running,
                    uint64_t *generation);
/* Hands over the files whose change needs no restart, if the process has others. */
void node_env_deliver(struct node *node, struct instance *instance);
void node_env_check(struct node *node, struct instance *instance); /* at instance->check_at */
void node_rendering_free(struct rendering *rendering);

/* whose turn it is to replace replicas: node_turn.c */
bool node_turn_needed(const struct desired_workload *w); /* else they are replaced at once */
bool node_turn_come(const struct node *node, const struct instance *instance);
bool node_turn_awaited(const struct node *node, const struct peer *peer); /* any, by that one */
void node_turns_update(struct node *node); /* after every look at the instances */
void node_turns_free(struct node *node);

/* the next process is ready before the former one ends: node_handover.c */
/* Whether @instance stays as it is, because its next version is to take it over; has taken it over
 * when instance->succeeded is false then. */
bool node_handover(struct node *node, struct instance *instance, uint64_t generation);
void node_handover_found(struct node *node, const struct node_event_instance *event,
                         struct instance *elder);
void node_handover_take(struct node *node, struct instance *heir);
bool node_handover_has_heir(const struct node *node, const struct instance *instance);
void node_place_heir(struct node *node, struct instance *heir);

bool node_workload_ready(const struct node *node, const char *workload);
/* "Kind/name" of a dependsOn; false: *@reason says what is missing. */
bool node_object_ready(const struct node *node, const char *object, char *reason, size_t size);

/* the lease machine: node_lease.c */
int node_lease_create(struct node *node, struct err *err);
void node_lease_run(struct node *node,
                    const struct leases_event *event); /* its step, its effects */
void node_lease_restarted(struct node *node, node_id from);
void node_lease_message(struct node *node, const struct node_event_message *event);
void node_lease_heard(struct node *node, node_id from);
void node_lease_gateway(struct node *node, mono_t sent);
void node_lease_reading(struct node *node, const struct node_event *event);
void node_lease_fence(struct node *node, const struct node_event_fence *event);
void node_lease_want_singleton(struct node *node, uint64_t lease, uint32_t rank);
void node_lease_unwant(struct node *node, uint64_t lease);
/* A lease that was taken up again, of a singleton that left the desired state while no agent ran.
 */
void node_lease_drop_singletons(struct node *node);
/* A member is back: hosts on its side of the network may still believe who held an address there.
 */
void node_lease_announce(struct node *node);
void node_lease_settle(struct node *node); /* singletons whose processes have ended are closed */
void node_lease_tick(struct node *node);
mono_t node_lease_deadline(const struct node *node);
void node_lease_free(struct node *node);

/* virtual addresses: node_vip.c */
void node_vip_desired(struct node *node);
void node_vip_ranks(struct node *node); /* after members or the desired state changed */
void node_vip_drain(struct node *node, bool on);
void node_vip_leave(struct node *node);
void node_vip_tick(struct node *node);
mono_t node_vip_deadline(const struct node *node);
struct held_vip *node_vip_find(struct node *node, uint64_t lease);            /* NULL: none */
struct held_vip *node_vip_add(struct node *node, const struct addr *address); /* NULL: no memory */
void node_vip_key(const struct held_vip *vip, char key[RECORD_KEY_MAX]);      /* of its record */

/* who holds the addresses: node_owner.c */
void node_owner_changed(struct node *node, struct held_vip *vip); /* vip->value has, by a lease */
void node_owner_seen(struct node *node, const struct peer *peer, const struct record_view *record);
void node_owner_conflict(struct node *node, const struct node_event_conflict *event);
/* Asks whether a foreign host answers for it, and claims it only when none has. */
void node_owner_check(struct node *node, struct held_vip *vip);
void node_owner_clients(struct node *node, const struct value_clients *clients);
void node_owner_move(struct node *node, const struct node_event_move *event);
void node_owner_tick(struct node *node);

/* the spread of the addresses: node_balance.c */
void node_balance_acquired(struct node *node, struct held_vip *vip, bool handed);
void node_balance_tick(struct node *node);
mono_t node_balance_deadline(const struct node *node);

/* the gateway's ARP cache: node_register.c */
void node_register_create(struct node *node);
void node_register_acquired(struct node *node); /* an address is held here from now on */
void node_register_tested(struct node *node, bool kept);
void node_register_seen(struct node *node); /* a "register" record changed */
void node_register_tick(struct node *node);
mono_t node_register_deadline(const struct node *node);
/* "kept", "lost", "untested"; "": the set of voters is no pair, so nothing depends on it. */
const char *node_register_text(const struct node *node);

/* the voter set: node_voters.c */
void node_voters_create(struct node *node);
void node_voters_seen(struct node *node); /* a "voters" or "adopted" record changed */
void node_voters_stored(struct node *node, const struct voters_state *stored);
void node_voters_tick(struct node *node);
mono_t node_voters_deadline(const struct node *node);

#endif
