/* The daemon: one object that holds the node's machine and everything that carries out its effects.
 *
 *   agent_start.c   configuration and keys to a running agent
 *   agent_end.c     and back to nothing
 *   agent_flock.c   from keys to a node: its machine, its executors, the peers it knows
 *   agent_join.c    entering a flock: init, join
 *   agent_welcome.c taking newcomers in
 *   agent_knock.c   joining without a token: who waits for approval
 *   agent_keys.c    epochs, revocations, copied cards: what the keyring wants done
 *   agent_net.c     datagrams to messages and back; the one timer
 *   agent_events.c  events into the node, effects out of it
 *   agent_store.c   what is written to the store, on its worker
 *   agent_peer.c    requests of other agents over the TCP link
 *   agent_hooks.c   programs of the operator, run when an address has another holder
 *   agent_logs.c    log lines of all nodes, merged; agent_room.c: how much of them is kept
 *   agent_api.c     what the control socket may ask; agent_api_page.c: the page; agent_api_flock.c:
 *                   who belongs to the flock; agent_api_join.c: entering it; agent_api_vip.c:
 * moving an address
 *
 * Everything here runs on the loop's thread. */
#ifndef COVEY_DAEMON_AGENT_H
#define COVEY_DAEMON_AGENT_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "agent/config/config.h"
#include "agent/core/node.h"
#include "agent/io/os_git.h"
#include "agent/io/os_kept.h"
#include "agent/io/os_keystore.h"
#include "agent/io/os_saved.h"
#include "agent/io/os_trial.h"
#include "agent/io/os_udp.h"
#include "agent/io/uv_instances.h"
#include "agent/io/uv_link.h"
#include "agent/io/uv_sync.h"
#include "agent/io/uv_vip.h"
#include "agent/io/uv_worker.h"
#include "agent/web/uv_http.h"
#include "proto/keys/keyring.h"
#include "proto/wire/knock.h"
#include "proto/wire/channel.h"
#include "proto/wire/keys.h"

#define AGENT_SYNCS_MAX 16                 /* requests that wait for one look at the branch */
#define AGENT_DRAIN_META "node/drain"      /* in the store: bool */
#define AGENT_REGISTER_META "vip/register" /* in the store: bool, EFFECT_GATEWAY_KEEP */
#define AGENT_CRON_META "cron/"            /* and the name: struct value_cron, as in its record */
#define AGENT_MARKS_META "rollout/marks"   /* in the store: struct rollout_marks */
#define AGENT_SUSPENDED_META "suspend/"    /* in the store, and the app: struct suspension */
#define AGENT_POOL_META "pool/"            /* and the name: struct value_pool, as in its record */
#define AGENT_EVENTS_MAX 200               /* kept in memory for the page and the command line */
#define AGENT_UDP_OVERHEAD 28              /* IPv4 and UDP headers: counted as sent */
#define AGENT_TCP_OVERHEAD (20 + 52)       /* of a message in a session: frame, IPv4 and TCP */
#define AGENT_REVOKED_TEXT                                                                         \
    "this node was revoked by its flock. To make it a member again, stop agentd, remove its "      \
    "state "                                                                                       \
    "directory, start agentd, and join with a new token"

struct agent_event { /* one line of the journal, as people see it */
    int64_t time_ms;
    uint64_t number; /* rising, from 1 at each start */
    enum effect_severity severity;
    char subject[INSTANCE_MAX];
    char text[EFFECT_TEXT_MAX];
};

struct joining;   /* agent_join.c */
struct log_query; /* agent/logs/os_pages.h */

#define AGENT_KNOCKS_MAX 16
struct agent_knock { /* a newcomer without a token */
    struct knock knock;
    struct token token; /* of its join, once it is approved */
    mono_t heard;
    bool approved;
};
struct agent_knocks; /* agent_knock.c */

struct agent_room { /* agent_room.c */
    uv_timer_t timer;
    bool looking;
    mono_t began;
    uint64_t bytes; /* of all logs, at the last look */
    uint64_t removed_bytes;
    int64_t told_s; /* that files are removed for want of room; 0: not yet */
};

struct agent_upgrade { /* agent_upgrade.c */
    struct os_trial trial;
    char **argv;                /* of this process, borrowed */
    char program[4096];         /* that is to be become; "": none */
    bool under_way;             /* asked for, or on trial */
    int64_t gap_ms;             /* without supervision, at the last upgrade; −1: none */
    char failure[ERR_TEXT_MAX]; /* of the last attempt; "": none */
    uv_timer_t timer;
};

struct agent {
    uv_loop_t *loop;
    struct config *config;
    struct addr address; /* where peers reach this agent */
    bool power_save_told;
    int fd_page; /* listening socket of the status page that was passed in; −1: none */

    struct keystore *keys;
    struct kept *kept;
    struct keys_identity identity;
    struct keys_admission admission; /* own */
    struct keyring *ring;
    struct keyring_out *keys_out;
    mono_t rotated_at;            /* by people, or for a revocation */
    bool revoked;                 /* this node is a member no more */
    struct keys_identity cluster; /* coordinator only */
    uint8_t cluster_key[KEYS_PUBLIC];
    bool coordinator; /* holds the cluster key: admits nodes, authors the voter set */
    char name[NODE_NAME_MAX + 1];
    uint32_t boot;
    bool new_identity;     /* made at this start: this node has never voted */
    bool first_since_boot; /* no agent ran before in this boot of the machine */
    bool restarted;        /* another one did, and this one goes on with its leases */
    node_id last_author;   /* whose head was verified last, and its key */
    uint8_t last_author_key[KEYS_PUBLIC];

    /* read from the store before its worker took it, and from what is kept beside it */
    struct store_peer *known;
    size_t known_count;
    struct voters_state known_voters;
    bool known_drain;
    bool known_register; /* as stored: AGENT_REGISTER_META */
    struct rollout_marks known_marks;
    struct suspension known_suspended[SUSPEND_MAX];
    size_t known_suspended_count;
    struct pool known_pool;
    struct node_cron *known_crons;
    size_t known_cron_count;

    struct worker *store;
    struct worker *git;
    struct worker *hooks;
    struct git_repo repo;
    char repo_path[4096];
    char agentctl[4096]; /* beside agentd, for the hooks */
    char shim[4096];
    char seccomp[4096];
    char config_path[4096];
    struct agent_upgrade upgrade;
    char files_dir[4096 + 8]; /* of workloads; the node's as long as it lives */

    struct node *node; /* NULL until this node is in a flock */
    struct channel *channel;
    struct uv_vip *vip;
    struct uv_instances *instances;
    struct uv_sync *sync;
    struct uv_link *link;
    struct uv_http *control;
    struct uv_http *page;
    struct joining *joining;
    struct agent_knocks *knocks; /* NULL: nobody has knocked yet */
    unsigned welcoming;          /* newcomers that are being admitted */
    mono_t answered_at;          /* when the present second of answers to strangers began */
    unsigned answered;           /* answers in it */

    int udp;
    uv_poll_t udp_poll;
    uv_timer_t timer;
    uv_timer_t poll; /* of the remotes */
    struct git_remote remotes[CONFIG_REMOTES_MAX];
    bool remote_silent; /* no remote answers: said once */
    struct agent_room room;
    uv_timer_t slow;           /* once a minute: what needs no precision */
    uint64_t sent_bytes;       /* datagrams without lease messages, IP and UDP headers included */
    uint64_t sent_lease_bytes; /* lease messages likewise */

    struct queued_event *queue_first, *queue_last;
    bool draining;
    struct os_saved *saved;       /* the file of EFFECT_LEASE_PERSIST */
    struct os_fence_begun *fence; /* until the executors are open */
    bool persist_due;             /* it could not be written yet */

    struct agent_event events[AGENT_EVENTS_MAX];
    uint64_t event_count;
    struct event_batch *batch; /* on its way to the store, or being filled */
    uv_timer_t batch_timer;

    struct http_request *syncing[AGENT_SYNCS_MAX]; /* wait until the branch was looked at */
    size_t syncing_count;
    bool sync_failed;         /* a commit could not be stored: tried again by the slow timer */
    uv_timer_t changed_timer; /* streams are told at most once in a while */

    uv_signal_t signals[2];
    uv_timer_t leave_timer;
    bool stopping; /* nothing new is begun */
    bool closed;   /* what carries out effects is gone: events are dropped */
    bool released; /* leases were given up in order: nothing is to be resumed */
    int exit_status;
};

/* agent_start.c: runs until a signal or a fatal error; returns the exit status. @argv and @path (of
 * the configuration) are borrowed: a new program is given the same. */
int agent_run(struct config *config, const char *path, char **argv, const struct os_trial *trial);

/* Opens or makes the repository, and its hooks; at a restart on the thread of git, which is there.
 */
int agent_open_repository(struct agent *agent, struct err *err);
int agent_open_store(struct agent *agent,
                     struct err *err); /* agent_load.c; and what lies beside it */
int agent_open_kept(struct agent *agent, struct err *err);

/* agent_repository.c */
int agent_open_sync(struct agent *agent, struct err *err); /* after the workers */
void agent_poll_begin(struct agent *agent);                /* of the remotes */

/* agent_end.c */
/* Ends the agent in order; the workloads live on. */
void agent_stop(struct agent *agent, int exit_status);
/* As agent_stop, but without a good-bye: leases are kept, for the next life to resume. */
void agent_end(struct agent *agent, int exit_status);
void agent_close(struct agent *agent); /* what was opened so far; the loop ends some time later */
void agent_free(struct agent *agent);  /* after the loop */

/* agent_flock.c */
int agent_enter(struct agent *agent, struct err *err); /* keys are complete: make the node */
void agent_admit(struct agent *agent, const struct value_head *head); /* of a signed admission */

/* agent_join.c */
int agent_found(struct agent *agent, struct err *err); /* agentctl init */
/* agentctl join, by a token, or by the address of the cluster key's holder: then @done is called
 * when this node waits there for approval, and it goes on waiting. @done (NULL: nobody asks) is
 * called once if ERR_NONE is returned. */
int agent_join(struct agent *agent, const char *token_or_address,
               void (*done)(void *context, int code, const char *text), void *context,
               struct err *err);
void agent_join_end(struct agent *agent); /* whoever waits for it is told that the agent ends */
/* A holder has answered a knock. */
void agent_join_known(struct agent *agent, const struct knock_reply *reply,
                      const struct addr *from);
/* What a node that waits for approval shows to people; false: it does not wait. */
bool agent_join_waits(const struct agent *agent, char *text, size_t size);
void agent_join_configured(struct agent *agent); /* knocks at the addresses of agent.yaml */
void agent_join_datagram(struct agent *agent, const struct os_udp_datagram *datagram);
void agent_join_refused(struct agent *agent, enum wire_reason reason); /* counts it */

/* agent_welcome.c: a request to join */
void agent_welcome(struct agent *agent, const struct os_udp_datagram *datagram);

/* agent_knock.c */
void agent_knock_datagram(struct agent *agent, const struct os_udp_datagram *datagram);
const struct agent_knock *agent_knocks(struct agent *agent, size_t *count); /* who waits here */
const struct agent_knock *agent_knock_of_token(struct agent *agent, const uint8_t id[TOKEN_ID]);
/* Lets in who waits with this fingerprint. Errors: ERR_CONFLICT not the holder; ERR_NOTFOUND. */
int agent_knock_approve(struct agent *agent, const char *fingerprint, char name[NODE_NAME_MAX + 1],
                        struct err *err);
void agent_knocks_free(struct agent *agent);

/* Strangers are answered a few times a second: what they say can be replayed. */
bool agent_may_answer(struct agent *agent);

/* agent_keys.c */
int agent_keys_open(struct agent *agent, struct err *err); /* after the channel */
void agent_keys_close(struct agent *agent);
void agent_keys_tell(struct agent *agent); /* the others, which epoch this node has */
int agent_keys_add_peer(struct agent *agent, const struct value_head *head, struct err *err);
void agent_keys_take(struct agent *agent,
                     const struct channel_in *in); /* every datagram's outcome */
void agent_keys_timer(struct agent *agent);
void agent_keys_introduce(struct agent *agent, const struct channel_datagram *hello);
void agent_keys_unknown(struct agent *agent, const struct os_udp_datagram *datagram);
void agent_keys_notice(struct agent *agent, const struct os_udp_datagram *datagram);
/* By people. Errors: ERR_CONFLICT this node does not hold the cluster key; ERR_BUSY. */
int agent_keys_rotate(struct agent *agent, struct err *err);
/* Besides: ERR_DENIED the holder itself; ERR_EXISTS; ERR_FULL. Not on the disk yet: that follows,
 * before any later job of the store's worker. */
int agent_keys_revoke(struct agent *agent, const uint8_t public_key[KEYS_PUBLIC], const char *name,
                      struct err *err);
/* The living node that holds the cluster key; false, and @name as it is: none is known. */
bool agent_holder_name(struct agent *agent, char name[NODE_NAME_MAX + 1]);

/* agent_net.c */
int agent_net_open(struct agent *agent, struct err *err);
void agent_net_close(struct agent *agent);
void agent_net_send(struct agent *agent, const struct effect_send *send);
void agent_net_out(struct agent *agent, const struct channel_out *out, bool lease);
void agent_net_arm(struct agent *agent); /* the timer, after every change */

/* agent_peer.c */
int agent_peer_open(struct agent *agent, struct err *err);
/* Over the session with @to; dropped if there is none and none can be opened. */
void agent_peer_send(struct agent *agent, node_id to, const uint8_t *body, size_t len);
void agent_peer_fetch(struct agent *agent, node_id from, const char *have, const char *want);
/* From now on the logs of this node stay within their room. */
void agent_room_begin(struct agent *agent);

/* The page (agent/logs/page.h) of @node (a peer): @done once; @data (malloc) is its. */
void agent_peer_logs(struct agent *agent, node_id node, const struct log_query *query,
                     void (*done)(void *context, int code, uint8_t *data, size_t size,
                                  const char *reason),
                     void *context);

/* Hand @address, which @owner (a peer) holds, to @to: @done as above, without data. */
void agent_peer_move(struct agent *agent, node_id owner, const struct addr *address, node_id to,
                     void (*done)(void *context, int code, uint8_t *data, size_t size,
                                  const char *reason),
                     void *context);

/* agent_hooks.c */
int agent_hooks_open(struct agent *agent, struct err *err);
void agent_hooks_owner(struct agent *agent, const struct effect_owner *owner);

/* agent_api.c: requests of the control socket; changes are allowed */
void agent_api_control(void *context, struct http_request *request);
/* agent_api_page.c: of the page, read only */
void agent_api_page(void *context, struct http_request *request);
void agent_api_changed(struct agent *agent); /* streams are told soon */
/* agent_api.c again */
void agent_sync_idle(void *agent, bool failed); /* answers those who wait for a sync */

/* agent_events.c */
void agent_post(void *agent, const struct node_event *event); /* struct post's form of the next */
void agent_feed(struct agent *agent, const struct node_event *event);
void agent_drop_event(struct agent *agent);
void agent_load_events(struct agent *agent, const struct store_event *events, size_t count);
/* The same report again, within a minute, is left out. */
void agent_report(struct agent *agent, enum effect_severity severity, const char *subject,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));

/* agent_suspend.c */
void agent_suspended(struct agent *agent, const struct suspensions *suspensions);
/* At the start: what the store holds of it, and before the first look at the branch. */
void agent_suspended_load(struct agent *agent, struct store *store);
void agent_suspended_known(struct agent *agent);

/* agent_store.c */
void agent_store_peer(struct agent *agent, const struct effect_peer *peer);
void agent_store_voters(struct agent *agent, const struct voters_state *voters);
void agent_store_suspended(struct agent *agent, const struct suspensions *suspensions);
void agent_store_pool(struct agent *agent, const struct pool *pool);
void agent_store_marks(struct agent *agent, const struct effect_marks *marks);
void agent_store_cron(struct agent *agent, const struct effect_cron *cron);
void agent_store_boot(struct agent *agent, uint32_t at_least);
void agent_store_epochs(struct agent *agent); /* of the keyring */
void agent_store_revocation(struct agent *agent, const struct keys_revocation *revocation);
void agent_store_register(struct agent *agent, bool kept);
void agent_store_drain(struct agent *agent, bool drain); /* a drained node stays so at a restart */
void agent_store_event(struct agent *agent, const struct agent_event *event);
void agent_store_flush(struct agent *agent);

#endif
