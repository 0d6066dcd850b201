/* The inside of the membership machine, for the files of this folder only. */
#ifndef COVEY_MEMBER_MACHINE_H
#define COVEY_MEMBER_MACHINE_H

#include "proto/base/rng.h"
#include "proto/member/member.h"

#define MEMBER_BYTES_MAX 96
#define DOUBTS_MAX 256 /* members whose life is in question at one time */
#define RELAYS_MAX 16  /* probes made for others at one time */
#define RUMOURS_MAX 64 /* updates being passed on */
#define ACCUSERS_MAX 4 /* distinct ones that are remembered */
#define NEIGHBOURS_MAX 2
#define EAGER_MAX 16 /* nodes up to which own updates go to every member directly */
#define HEALTH_MAX 8 /* Lifeguard, section IV.A */
#define TOLD_ENOUGH                                                                                \
    3                /* packets to a member that carry our incarnation until it counts as known    \
                      */
#define GONE_MS 3000 /* probe of a member that is gone, at first */
#define NO_DOUBT UINT16_MAX
#define LOSS_SHIFT 5 /* weight of a sample: 1/32 */
#define LOSS_PRIOR (LOSS_ONE / 4)
#define LOSS_ONE 65535u /* fixed point: certain loss */

enum member_flag {
    FLAG_TELL = 1, /* we suspected it, it lives: it shall refute, for those who still suspect it */
    FLAG_WARM = 2, /* a neighbour whose TCP session is to be opened before it is needed */
};

/* Round-trip time by RFC 6298, in quarters of a millisecond. */
struct rtt {
    uint16_t smoothed;  /* 0: none measured */
    uint16_t variation; /* 0: none measured but a first answer */
};

/* A silence that ended well. */
struct gap {
    uint32_t at_s; /* when it ended, in seconds of the clock */
    uint16_t ms;
};

/* At most 96 bytes, so that flocks of thousands fit. */
struct member {
    node_id id;
    uint64_t incarnation; /* 0: not known */
    mono_t heard;
    mono_t since;
    mono_t due; /* next probe: of a neighbour, or of a member that is gone */
    struct addr addr;
    struct gap gap;
    struct rtt rtt;
    uint16_t loss;       /* of LOSS_ONE: smoothed share of lost round trips */
    uint16_t first_loss; /* the same of those probes only that did not follow a lost one */
    uint16_t doubt;      /* index, or NO_DOUBT */
    uint16_t appeared_s; /* when it came, came back or started again: of the clock's seconds, the
                          * lower bits */
    uint8_t state;
    uint8_t flags;
    uint8_t told;
    uint8_t samples;  /* of loss, up to UINT8_MAX */
    uint8_t relayed;  /* proofs of life by others since its last packet to us */
    uint8_t streamed; /* proofs of life over TCP, for want of datagrams, since its last one */
};

/* Evidence against one member: probes in a row that got no answer. */
struct doubt {
    uint16_t member;
    uint8_t probes; /* sent, unanswered */
    uint8_t needed; /* for a verdict, all confirmed */
    bool probing;   /* false: others probe it, we wait for their verdict */
    bool accused;   /* we told the flock */
    bool told_dead; /* another told the flock that it is dead */
    bool relays_asked;
    bool relays_answered;
    uint8_t accuser_count;
    node_id accusers[ACCUSERS_MAX]; /* others than us */
    uint16_t interval;              /* ms between probes */
    mono_t began;
    mono_t next;
    struct msg_update accusation; /* to tell the subject; kind 0: none */
};

/* A probe that we make for another (PING_REQ). */
struct relay {
    node_id requester; /* none: slot is free */
    struct addr addr;
    uint32_t sequence;
    node_id target;
    bool nacked;
    mono_t nack_at;
    mono_t until;
};

struct rumour {
    struct msg_update update; /* kind 0: slot is free */
    uint8_t sends_left;       /* as a passenger, or in rounds of gossip */
    bool own;                 /* announced by us in rounds: next is the time of the next */
    uint8_t round;
    mono_t next;
};

struct membership {
    struct membership_config config;
    struct rng rng;
    mono_t now;
    struct membership_out *out; /* during a step */

    uint64_t incarnation;
    struct msg_update self; /* our signed MSG_ALIVE */
    bool leaving;
    uint64_t root;
    uint32_t health;
    struct rtt rtt; /* of all members together, for those that were not measured yet */
    struct gap gap; /* the longest that a member survived */
    uint16_t sequence;

    struct member *slots;
    uint16_t *order; /* slots ascending by id */
    size_t count;
    size_t slots_used; /* high-water mark */
    size_t present;    /* alive or suspect */
    size_t unknown;
    size_t gone;          /* dead or left */
    uint16_t *gone_slots; /* which they are, in no order */

    struct doubt *doubts;
    size_t doubt_max;
    size_t doubt_count;
    struct relay relays[RELAYS_MAX];
    size_t relay_count;
    struct rumour rumours[RUMOURS_MAX];
    size_t rumours_left;  /* with sends_left; a look at all of them for each packet was a third of
                           * the work of a large flock */
    mono_t announce_next; /* the earliest of our own */

    bool ring_dirty;
    uint16_t neighbours[NEIGHBOURS_MAX];
    size_t neighbour_count;
    uint16_t *shuffle; /* round robin: slots in random order */
    size_t shuffle_count;
    size_t shuffle_at;
    size_t unknown_at; /* cursors into order */
    size_t mesh_at;

    mono_t robin_next;
    mono_t mesh_next;
    mono_t unknown_next;
    mono_t gone_next;
    mono_t gossip_next;
    mono_t remind_next;
    mono_t warm_next;
    size_t remind_at;
};

/* table.c */
struct member *table_find(const struct membership *m, node_id id);
struct member *table_insert(struct membership *m, node_id id); /* NULL: full */
void table_remove(struct membership *m, struct member *p);
uint16_t table_slot(const struct membership *m, const struct member *p);
void table_set_state(struct membership *m, struct member *p, uint8_t state);
void table_set_addr(struct membership *m, struct member *p, const struct addr *addr);
void table_appeared(const struct membership *m, struct member *p); /* just now */
void table_refresh_ring(struct membership *m);
bool table_ring_mode(const struct membership *m);
bool table_eager(const struct membership *m); /* small enough to tell every member directly */
bool member_present(const struct member *p);
/* Up to @max random present members without doubt, other than @except; returns how many. */
size_t table_pick(struct membership *m, const struct member *except, size_t max,
                  struct member **picked);
/* Whether this node is one of those that probe @p when it is suspected. */
bool table_verifies(const struct membership *m, const struct member *p);

/* How it is known that a member lives. */
enum proof {
    BY_DATAGRAM,
    BY_STREAM, /* over TCP */
    BY_RELAY,  /* another has heard it */
};

/* path.c: what is measured of the path to a member */
uint32_t path_rto(const struct membership *m, const struct member *p); /* ms */
uint8_t path_loss_pct(const struct member *p);
/* Unanswered probes in a row that its loss alone does not explain. */
uint8_t path_needed(const struct member *p);
uint32_t path_silence(const struct membership *m, const struct member *p); /* ms; 0: none */
/* An answer to the probe @sequence has come. */
void path_measure(struct membership *m, struct member *p, uint32_t sequence);
/* @d has ended well. */
void path_answered(struct membership *m, struct member *p, const struct doubt *d, enum proof by);

/* probe.c: sending, and evidence for and against life */
bool out_has_room(const struct membership *m, size_t sends);
struct membership_send *send_begin(struct membership *m, uint8_t type, node_id to,
                                   const struct addr *addr);
/* A message over TCP; the link knows where to. NULL: no room. */
struct membership_send *send_begin_stream(struct membership *m, uint8_t type,
                                          const struct member *p);
void probe_by_stream(struct membership *m, struct member *p);
bool probe_path_cut(const struct member *p); /* TCP alone goes through */
struct doubt *doubt_of(struct membership *m, const struct member *p);
struct doubt *doubt_begin(struct membership *m, struct member *p, bool probing);
void doubt_close(struct membership *m, struct member *p);
void doubt_add_accuser(struct doubt *d, node_id accuser);
unsigned probes_goal(const struct membership *m, const struct doubt *d);
void doubts_tick(struct membership *m);
void doubts_after_pause(struct membership *m, int64_t late);
/* A proof of life. @addr: where the datagram came from; else it is not looked at. */
void probe_heard(struct membership *m, struct member *p, enum proof by, const struct addr *addr);

/* watch.c: whom to probe when; probes for others */
void watch_tick(struct membership *m);
mono_t watch_deadline(const struct membership *m);
bool watch_is_neighbour(const struct membership *m, const struct member *p);
void watch_probed(struct membership *m, struct member *p, bool by_peer);
void relay_request(struct membership *m, struct member *from, const struct addr *addr,
                   const struct msg_probe *probe);
void relays_heard(struct membership *m, const struct member *p);
void relay_end(struct membership *m, struct relay *r);

/* gossip.c: updates */
void gossip_make(struct membership *m, uint8_t kind, node_id subject, uint64_t incarnation,
                 struct msg_update *u);
void gossip_announce(struct membership *m, const struct msg_update *u);
void gossip_withdraw(struct membership *m, node_id subject);
void gossip_forget(struct membership *m, node_id id);
void gossip_clear(struct membership *m); /* nothing is passed on any more */
/* Tells @to, which was away, who else is gone. */
void gossip_tell_gone(struct membership *m, const struct member *to);
void gossip_attach(struct membership *m, struct membership_send *s, struct member *to);
void gossip_renew_self(struct membership *m, uint64_t incarnation, bool announce);
/* Applies an update that @from passed on. Returns true when @from should be answered, because it
 * holds a wrong opinion of us. */
bool gossip_receive(struct membership *m, struct member *from, const struct msg_update *u);
void gossip_tick(struct membership *m);
mono_t gossip_deadline(const struct membership *m);

#endif
