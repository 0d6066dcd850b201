/* The inside of the lease machine, shared by its files only.
 *
 *   lease.c   creation, the step, what is due and when
 *   vote.c    the voter: promises, answers to requests (rules 2, 6, 8, 11)
 *   claim.c   the candidate: campaign, grants, lease end, release (rules 1, 4, 6, 7, 10)
 *   round.c   the requests to all voters and their answers (rule 3)
 *   handover.c  the hand-over (rule 13)
 *   solo.c    two voters and a gateway (rules 15, 16, 17)
 *   register.c  the gateway's ARP cache (rule 18)
 *   timing.c  lengths of lease, heartbeat and back-off
 *   state.c   record of tmpfs (rules 8, 9) and views */
#ifndef COVEY_LEASE_INTERNAL_H
#define COVEY_LEASE_INTERNAL_H

#include "proto/base/rng.h"
#include "proto/lease/lease.h"

#define ROUNDS_MAX 128 /* requests in flight: more than T / h of them, twice */

/* A lease of this node as a candidate. Grants and refusals stand at the index of their voter in the
 * set. */
struct claim {
    bool used;
    bool wanted;
    bool solo; /* the end of the lease rests on the gateway's word */
    uint8_t kind;
    uint8_t mode;
    uint8_t rank;
    uint8_t state;
    uint8_t reason;
    uint8_t fails;         /* campaigns without success in a row, saturating */
    uint8_t open_failures; /* in a row */
    uint8_t refusals;      /* bit per voter: refused in this campaign */
    uint8_t agreed;        /* bit per voter: it has granted the session; a digest renews it */
    uint8_t release_left;  /* how often the release is still to be sent */
    uint64_t id;
    uint64_t session; /* of this campaign and holding; 0 when idle */
    uint64_t epoch;   /* session under which the present or last holding began */
    uint64_t release_session;
    uint32_t close_number;   /* of the last close */
    uint32_t first_sequence; /* of the first request that may carry the session */
    mono_t since;            /* of the last change */
    mono_t grants[MSG_VOTERS_MAX];
    mono_t solo_end; /* the gateway in the peer's place */
    mono_t end;      /* of the lease: latest end that was ever reached in this holding */
    mono_t free_at;  /* since or from when nobody else holds it, as far as is known here */
    mono_t retry_at; /* end of the back-off */
    mono_t campaign_end;
    mono_t invited_until; /* CAMPAIGN at the holder's invitation */
    mono_t closed_by;     /* CLOSING: the fence has ended by itself at the latest */
    mono_t release_at;
    bool unread;         /* the last read of the register is not answered */
    mono_t read_sent;    /* the last read of the register */
    mono_t read_named;   /* the last one that was answered to us: when it was sent */
    uint8_t reads;       /* of this campaign */
    uint8_t challenges;  /* failed, in a row */
    uint8_t defend_left; /* how often the peer is still to be told to write the register */
    mono_t defend_at;
    mono_t write_began; /* a challenge: its write was asked for */
    mono_t write_asked; /* until when its end is waited for */
    mono_t written;     /* the last one has left this machine; zero: there is no challenge */
    bool taken;         /* the gateway has answered it */
    uint8_t rewrites;   /* because it did not */
    mono_t rewrite_at;
    mono_t challenge_from; /* none before, unless the peer is heard meanwhile: */
    mono_t rest_from;      /* since when it rests so */
    node_id refused[MSG_VOTERS_MAX];
    node_id move_to; /* HELD: whom we invited */
    mono_t move_until;
    node_id hand_to; /* CLOSING: whose request waits */
    uint64_t hand_session;
    struct msg_lease hand; /* head of that request; no items */
};

struct round { /* a request that was sent to all voters */
    uint32_t sequence;
    uint32_t term;
    mono_t sent;
    uint64_t renewed[MSG_VOTERS_MAX]; /* bit per claim: a digest stood for it */
};
_Static_assert(LEASES_MAX <= 64, "a claim is a bit of struct round");

struct leases {
    node_id self;
    uint32_t boot;
    uint32_t session_count;
    uint32_t sequence;
    uint32_t op_number;
    uint32_t fence;
    uint32_t term_min;
    uint32_t term_max;
    uint32_t calm;
    struct rng rng;
    mono_t now; /* of the last step */
    mono_t due; /* what leases_deadline() answers */

    struct voter_set set;
    mono_t set_since;
    int self_index;      /* in the set; -1: no voter */
    mono_t silent_until; /* no vote before (rule 8) */
    struct lease_promise promises[LEASES_PROMISES_MAX];

    struct claim claims[LEASES_MAX];
    bool draining;
    bool round_now; /* a request must not wait for the next heartbeat */
    bool probing;   /* the last round asked the gateway too */
    mono_t last_round;
    mono_t next_round;
    struct round rounds[ROUNDS_MAX];
    uint32_t listed_from[MSG_VOTERS_MAX]; /* round since when the voter is told everything anew */

    /* Solo (set of two): silence of the peer. */
    mono_t heard;       /* last sign of life of the peer, or since when we listen */
    mono_t listening;   /* since when without a pause */
    mono_t spoken;      /* last message to the peer */
    bool answered;      /* that was an answer: the next one is due with its next request */
    mono_t solo_from;   /* no right to solo before */
    mono_t asked;       /* the gateway's oldest probe without an answer behind it; zero: none */
    mono_t reached;     /* since when the gateway answers again, and so would the peer */
    bool register_kept; /* by the gateway: rule 18 */
    uint32_t peer_term; /* of its last request in this life; 0: not known */
    uint32_t peer_fence;
    uint32_t peer_sequence; /* of that request */
    mono_t peer_told;       /* when its T was told last, by a request or an answer */

    /* Timing. */
    uint32_t term;      /* T */
    uint32_t term_read; /* what counts for reads in the place of T until: */
    mono_t term_known;  /* the peer cannot have missed T, unless it counts a longer one */
    uint32_t rtt;       /* smoothed, milliseconds */
    uint32_t worst_age;
    bool lapsed; /* a lease was lost for want of answers, and no voter was heard since */
    mono_t calm_since;
    mono_t echoed[MSG_VOTERS_MAX]; /* send time of the latest request that the voter answered */
    bool met[MSG_VOTERS_MAX];      /* has answered in this life */
    mono_t back;                   /* when the last absence of the voters ended */

    struct leases_out *out; /* of the running step */
};

/* lease.c */
void lease_begin_step(struct leases *l, mono_t now, struct leases_out *out);
void lease_end_step(struct leases *l);
struct claim *lease_claim(struct leases *l, uint64_t id);                 /* NULL: none */
struct claim *lease_claim_new(struct leases *l, mono_t now, uint64_t id); /* NULL: full */
struct msg_lease *lease_send_begin(struct leases *l, enum msg_type type, struct lease_send **send);
void lease_send_to_voters(const struct leases *l, struct lease_send *send);
uint32_t lease_op(struct leases *l, const struct claim *c, enum lease_op_type type);
void lease_changed(struct leases *l, mono_t now, struct claim *c, enum lease_change_type type,
                   enum lease_reason reason);
int lease_voter_index(const struct leases *l, node_id node); /* -1: not in the set */

/* vote.c */
struct lease_promise *vote_find(struct leases *l, mono_t now, uint64_t lease); /* live, or NULL */
/* Rule 2 for @to, which may be ourselves (rule 3). False: refused. */
bool vote_give(struct leases *l, mono_t now, uint64_t lease, uint64_t session, node_id to,
               uint32_t promise_ms);
void vote_free(struct leases *l, mono_t now, uint64_t lease, uint64_t session, node_id to);
void vote_request(struct leases *l, mono_t now, node_id from, const struct msg_lease *m);
void vote_release(struct leases *l, mono_t now, node_id from, const struct msg_lease *m);

/* claim.c */
mono_t claim_campaign_at(struct leases *l, const struct claim *c);
void claim_begin(struct leases *l, mono_t now, struct claim *c);
void claim_campaign(struct leases *l, mono_t now, struct claim *c);
void claim_yield(struct leases *l, mono_t now, struct claim *c);
void claim_evaluate(struct leases *l, mono_t now, struct claim *c);
void claim_lose(struct leases *l, mono_t now, struct claim *c, enum lease_reason reason);
void claim_closed(struct leases *l, mono_t now, struct claim *c);
void claim_answered(struct leases *l, mono_t now, int voter, const struct round *r,
                    const struct msg_lease_item *item);
void claim_granted(struct leases *l, mono_t now, struct claim *c, int voter, const struct round *r);
bool claim_hopeless(const struct leases *l, const struct claim *c); /* refused by too many */
void claim_send_releases(struct leases *l, mono_t now);
void claim_remap(struct leases *l, const struct voter_set *old);
bool claim_active(const struct claim *c); /* CAMPAIGN or HELD */

/* round.c */
void round_begin(struct leases *l, mono_t now); /* one request for all claims to all voters */
void round_reply(struct leases *l, mono_t now, node_id from, const struct msg_lease *m);
const struct round *round_at(const struct leases *l, uint32_t sequence); /* NULL: too old */
void round_forget(struct leases *l);                                     /* the set has changed */
/* One more lease of a digest, which starts at 0 and does not depend on the order. */
uint64_t round_digest(uint64_t digest, uint64_t lease, uint64_t session);

/* handover.c */
int handover_start(struct leases *l, mono_t now, uint64_t lease, node_id to);
void handover_invite(struct leases *l);
/* If it is the invited node that asks, the lease is given up for it. */
void handover_requested(struct leases *l, mono_t now, struct claim *c, node_id from,
                        const struct msg_lease *m, const struct msg_lease_item *item);
void handover_finish(struct leases *l, mono_t now, struct claim *c);
void handover_transfer(struct leases *l, mono_t now, node_id from, const struct msg_lease *m);

/* solo.c */
bool solo_candidate(const struct leases *l); /* a solo lease may be claimed or held here */
bool solo_set(const struct leases *l);       /* two voters, and we are one */
node_id solo_peer(const struct leases *l);   /* only if solo_set() */
mono_t solo_allowed_from(const struct leases *l, mono_t now, const struct claim *c);
bool solo_allowed(const struct leases *l, mono_t now, const struct claim *c);
bool solo_probe_due(const struct leases *l, mono_t now);
mono_t solo_deadline(const struct leases *l);
void solo_asks(struct leases *l, mono_t now); /* with each round */
void solo_gateway(struct leases *l, mono_t now, mono_t sent);
void solo_read(struct leases *l, mono_t now, struct claim *c, mono_t sent); /* LEASES_READ */
int64_t solo_claim_silence(const struct leases *l);                         /* P of the peer */
/* What the peer says of the length of its leases. */
void solo_told(struct leases *l, mono_t now, node_id from, const struct msg *msg);
void solo_restarted(struct leases *l, node_id from);
void solo_paused(struct leases *l, mono_t now);
void solo_heartbeat(struct leases *l, mono_t now);
/* A sign of life of one who has not heard of our set yet: who was its peer in a set of two may have
 * left that set, and must not be silent for it while it lives. */
void solo_answer_laggard(struct leases *l, node_id from, const struct msg_lease *m);
/* A message goes to @to, which may be the peer: it serves as a sign of life. */
void solo_spoke(struct leases *l, mono_t now, node_id to, bool answer);
/* The peer says that it holds @c on the gateway's word: who has the lower session gives way (rule
 * 17). */
void solo_met(struct leases *l, mono_t now, struct claim *c, node_id from, uint64_t session);

/* register.c. Rule 18 is in force for @c: solo rests on what the gateway's ARP cache names. */
bool register_rules(const struct leases *l, const struct claim *c);
mono_t register_campaign_at(const struct leases *l, const struct claim *c); /* not before */
/* Whether a campaign goes on after its time: its challenge has been taken, and not answered. */
bool register_holds(const struct leases *l); /* a lease here rests on reads */
bool register_goes_on(const struct leases *l, const struct claim *c);
void register_work(struct leases *l, mono_t now, struct claim *c);
void register_wrote(const struct leases *l, mono_t now, struct claim *c);
void register_written(mono_t now, struct claim *c);
int64_t register_term(uint32_t term); /* of a lease that rests on a read, in the place of T */
void register_yielded(struct leases *l, mono_t now, struct claim *c);
void register_round(struct leases *l, mono_t now, struct claim *c);
/* Whether a read that was sent at @sent, and named us, is evidence. */
bool register_reads(const struct leases *l, const struct claim *c, mono_t sent);
mono_t register_deadline(const struct leases *l, const struct claim *c);
void register_send_defend(struct leases *l, mono_t now);

/* timing.c */
bool timing_term_valid(uint32_t term);
uint32_t timing_heartbeat(uint32_t term);     /* h */
uint32_t timing_silence(uint32_t term);       /* S */
uint32_t timing_step(const struct leases *l); /* between two ranks */
uint32_t timing_campaign(const struct leases *l, const struct claim *c);
uint32_t timing_backoff(struct leases *l, const struct claim *c);
/* The one of which the peer knows, or has been silent for so long that it counts with it. */
uint32_t timing_told(const struct leases *l, mono_t now);
/* The longest T that one can have by which the other was silent for @silence. */
uint32_t timing_fitting(int64_t silence);
/* A read of the register is answered on which a lease stands that stood on one of @before. */
void timing_read(struct leases *l, mono_t now, mono_t before);
/* A request for @term has been granted: whose lease it is measures the links. */
void timing_follow(struct leases *l, mono_t now, uint32_t term);
/* Two answers in a row are missing, and the lease still lives: ask at twice the pace. */
bool timing_overdue(const struct leases *l, mono_t now);
void timing_stream_starts(struct leases *l, mono_t now);
void timing_new_set(struct leases *l, mono_t now);
void timing_heard(struct leases *l, mono_t now, node_id from);
void timing_restarted(struct leases *l, mono_t now, node_id voter);
void timing_answered(struct leases *l, mono_t now, int voter, const struct round *r);

#endif
