/* Leases: who may hold what must exist at most once (a virtual address, a singleton workload).
 *
 * A pure state machine: no clock, no I/O, no log. One object per agent carries all its leases, as
 * candidate and as voter. The protocol, its rules by number and its proof are docs/vip.md.
 *
 * Time is CLOCK_BOOTTIME in milliseconds of this machine, and never crosses the wire. For an event
 * that came from outside (a message, a sign of life, an answer of the gateway, the result of a
 * fence operation) @now must have been read AFTER the thing was received: a promise made by an
 * older clock would be too short. Take all waiting datagrams from the socket before you give a
 * timer event. */
#ifndef COVEY_LEASE_LEASE_H
#define COVEY_LEASE_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/id.h"
#include "proto/base/mono.h"
#include "proto/lease/voters.h"
#include "proto/wire/msg.h"

#define LEASES_MAX 64           /* leases that one agent can want at a time */
#define LEASES_PROMISES_MAX 128 /* leases of the whole flock with a live promise */
#define LEASES_REGISTERS_MAX (2 * LEASES_MAX)
#define LEASES_SENDS_MAX 24 /* messages out of one step */

#define LEASE_TERM_MAX 4000  /* Tmax: longest lease, milliseconds */
#define LEASE_FENCE_MAX 1100 /* Fmax: latest that any fence may be, milliseconds */
#define LEASE_SILENCE_BOOT (LEASE_TERM_MAX + LEASE_FENCE_MAX + 100) /* B, with room for drift */

enum lease_kind { LEASE_VIP = 1, LEASE_SINGLETON = 2 };

/* What a lease does in a set of two voters when the other is silent (rules 14 and 15). */
enum lease_mode {
    LEASE_STRICT = 1, /* never without the other's grant: the default for singletons */
    LEASE_SOLO = 2,   /* with the gateway's answer in the other's place: the default for VIPs */
};

enum lease_state {
    LEASE_IDLE = 1,     /* wanted or not; somebody else may hold it */
    LEASE_CAMPAIGN = 2, /* asking for votes */
    LEASE_HELD = 3,
    LEASE_CLOSING = 4, /* given up; waits until the fence is known to be closed */
};

enum lease_reason {
    LEASE_WHY_NONE = 0,
    LEASE_WHY_MAJORITY = 1, /* acquired: by a majority of the voters */
    LEASE_WHY_SOLO = 2,     /* acquired: the peer is silent and the gateway answers */
    LEASE_WHY_RESUMED = 3,  /* acquired: by the record of the agent's former life */
    LEASE_WHY_EXPIRED = 4,  /* lost: no majority renewed it in time */
    LEASE_WHY_ISOLATED = 5, /* lost: neither the peer nor the gateway answered */
    LEASE_WHY_RELEASED = 6, /* lost: no longer wanted here, or the node drains */
    LEASE_WHY_MOVED = 7,    /* lost: handed to another node */
    LEASE_WHY_CONFLICT = 8, /* lost: two solo holders met, this one gave way */
    LEASE_WHY_FENCE = 9,    /* lost: the fence could not be opened */
    LEASE_WHY_HANDED = 10,  /* acquired: the holder before has handed it over */
};

const char *lease_state_name(int state);   /* "idle", "campaign", "held", "closing" */
const char *lease_reason_text(int reason); /* a clause for people: "no majority renewed it" */

struct leases_config {
    node_id self;
    uint32_t boot; /* the agent's start number, never used twice: sessions are boot << 32 | n */
    uint64_t seed; /* of the random part of the back-off */
    uint32_t term_min_ms; /* shortest lease: 125, 250, 500, 1000, 2000 or 4000; 0 is 250 */
    uint32_t term_max_ms; /* longest, of the same values, >= term_min_ms; 0 is 4000 */
    uint32_t calm_ms;     /* without loss before T becomes shorter, >= Tmax; 0 is ten minutes */
    uint32_t fence_ms;    /* F, 10 to LEASE_FENCE_MAX: no fence is later than this; 0 is 50 */
    /* True when this agent is known to be the first since the machine booted: then its silence ends
     * at BOOTTIME B. Otherwise, without a record to import, it ends B after the start (rule 8). */
    bool first_since_boot;
    struct voter_set voters; /* last adopted and stored; number 0 for none yet */
};

/* What must survive the agent but not the machine: a file on tmpfs, with the boot id beside it
 * (checked by whoever reads it) and a checksum. Rules 8 and 9. */
struct lease_promise {
    uint64_t lease;
    uint64_t session;
    node_id to;
    mono_t until;
};

struct lease_holding {
    uint64_t lease;
    uint64_t epoch;
    mono_t end;
    uint8_t kind; /* enum lease_kind */
    uint8_t mode; /* enum lease_mode */
    uint8_t rank;
    bool solo;
};

struct leases_record {
    uint32_t term_ms; /* T: a resumed lease may be that long, and the requests must say so */
    uint32_t voters;  /* number of the adopted set */
    mono_t voters_since;
    mono_t silent_until; /* a silence that the former life had not ended */
    bool register_kept;  /* LEASES_REGISTER */
    uint32_t promise_count;
    uint32_t holding_count;
    struct lease_promise promises[LEASES_PROMISES_MAX];
    struct lease_holding holdings[LEASES_MAX];
};

enum leases_event_type {
    LEASES_TIMER = 1,      /* leases_deadline() has come; harmless at any time */
    LEASES_MESSAGE = 2,    /* from, msg: an authenticated lease message */
    LEASES_HEARD = 3,      /* from: any other authenticated packet of that node */
    LEASES_RESTARTED = 13, /* from: its agent has started again: the gap before says nothing about
                            * the link. Before the LEASES_MESSAGE or _HEARD that shows it */
    LEASES_GATEWAY = 4,    /* sent: the gateway answered the probe that was sent then */
    LEASES_WANT = 5,   /* lease, kind, mode, rank: be a candidate; repeat it to change the rank */
    LEASES_UNWANT = 6, /* lease: be none, and release it if it is held */
    LEASES_MOVE = 7,   /* lease, to: hand the lease, which is held here, to that node */
    LEASES_DRAIN = 8,  /* on: release everything and want nothing until it is off */
    LEASES_OPENED = 9, /* lease, number: that LEASE_OPEN was carried out */
    LEASES_CLOSED =
        10, /* lease, number: that LEASE_CLOSE is acknowledged, no open before it acts */
    LEASES_OPEN_FAILED = 11, /* lease, number: it failed or came too late: the fence is closed */
    LEASES_VOTERS = 12,      /* voters: a newer set (voters_adopt), which has been stored durably */
    LEASES_REGISTER = 14,    /* on: the gateway, tested, keeps its ARP cache by the last writer */
    LEASES_WROTE = 15,       /* lease: the frame of a LEASE_REGISTER_WRITE has left this machine */
    LEASES_WRITTEN = 17,     /* lease: the gateway has answered that frame */
    LEASES_READ = 16, /* lease, sent: the echo request that was sent then was answered to us */
};

struct leases_event {
    uint8_t type; /* enum leases_event_type */
    node_id from;
    const struct msg *msg; /* borrowed for the call */
    mono_t sent;
    uint64_t lease; /* hash64 of "vip/10.77.0.210" or "singleton/app/name" */
    uint8_t kind;   /* enum lease_kind */
    uint8_t mode;   /* enum lease_mode */
    /* 0 campaigns at once when the lease is free, r waits r steps (some 50 ms each). Count only
     * nodes that live and are able to hold it. */
    uint8_t rank;
    bool on;
    uint32_t number; /* of the struct lease_op that is answered */
    node_id to;
    const struct voter_set *voters; /* borrowed for the call */
};

enum lease_op_type { LEASE_OPEN = 1, LEASE_CLOSE = 2 };

/* LEASE_OPEN: let the fence be open until @until, and no longer by more than F, even if the agent
 * is stopped or killed now. With a relative timeout: read the clock, write `until - now`, read
 * again, and delete what was written if more than 20 ms have passed (rule 5); do not write if
 * @until has passed. Repeated as the lease is renewed. Answer LEASES_OPENED or LEASES_OPEN_FAILED.
 * LEASE_CLOSE: close it at once, whether it is open or not: the first WANT of a lease closes what a
 * former life of the agent may have left. Answer LEASES_CLOSED when the kernel has acknowledged
 * (for a singleton: when its processes are gone). A close that fails needs no answer: the machine
 * waits for the fence's own end. */
struct lease_op {
    uint8_t type; /* enum lease_op_type */
    uint8_t kind; /* enum lease_kind */
    uint32_t number;
    uint64_t lease;
    mono_t until;
};

enum lease_change_type {
    LEASE_ACQUIRED = 1,
    LEASE_LOST = 2,
    /* The holder is about to hand the lease to us: prepare behind the closed fence (rule 13). If
     * nothing follows within seconds, undo it. */
    LEASE_PREPARE = 3,
    /* Held here alone, and the peer, which held it too, gives way: tell the network once more who
     * has it. */
    LEASE_MET = 4,
    /* Rule 18: the peer is silent, and yet somebody answers the gateway for the address: the nodes
     * are cut off from each other, and the other holds it. */
    LEASE_DEFENDED = 5,
};

struct lease_change {
    uint8_t type;   /* enum lease_change_type */
    uint8_t reason; /* enum lease_reason */
    uint64_t lease;
    uint64_t epoch;
};

struct lease_send {
    uint8_t to_count; /* the same message to each of them */
    node_id to[MSG_VOTERS_MAX];
    struct msg msg;
};

/* The gateway's ARP cache as a register (rule 18). WRITE: send it an ARP request whose sender is
 * the address, then give LEASES_WROTE, and LEASES_WRITTEN when it answers. READ: send it an echo
 * request from the address, whose reply comes to whom its cache names; answer that by LEASES_READ
 * with @sent, or with a later time read before the request left. Both work with the fence closed.
 */
enum lease_register_type { LEASE_REGISTER_WRITE = 1, LEASE_REGISTER_READ = 2 };

struct lease_register {
    uint8_t type; /* enum lease_register_type */
    uint64_t lease;
    mono_t sent;
};

/* Effects of one step. Carry them out in this order:
 *  1. persist: leases_export() and write it (tmpfs: no fsync). If that fails, it stays due with
 *     every later step until it succeeds, whether that step asks for it or not; as long as it
 * fails, carry out only the LEASE_CLOSE operations and the changes, drop the rest, and answer each
 *     dropped LEASE_OPEN by LEASES_OPEN_FAILED;
 *  2. ops, in order;
 *  3. probe: send one ARP request to the gateway; when it replies, answer LEASES_GATEWAY with
 *     @probe_sent, or with a later time read before the request left. No reply needs no event.
 *     Then the registers;
 *  4. sends, in order; 5. changes, in order. */
struct leases_out {
    bool persist;
    bool probe;
    mono_t probe_sent;
    uint16_t op_count;
    uint16_t send_count;
    uint16_t change_count;
    uint16_t register_count;
    struct lease_op ops[3 * LEASES_MAX];
    struct lease_send sends[LEASES_SENDS_MAX];
    struct lease_change changes[3 * LEASES_MAX];
    struct lease_register registers[LEASES_REGISTERS_MAX];
};

struct leases;

/* Returns NULL when memory is short or the configuration is out of its ranges. */
struct leases *leases_create(const struct leases_config *config, mono_t now);
void leases_destroy(struct leases *l); /* NULL is allowed */

/* To be called at once after leases_create, with a record of the same boot of the machine (its boot
 * id checked by the caller): ends the silence after a restart, and takes up leases whose recorded
 * end lies ahead. They count as wanted until LEASES_UNWANT. Fills @out as a step does. */
void leases_import(struct leases *l, mono_t now, const struct leases_record *record,
                   struct leases_out *out);
void leases_export(const struct leases *l, mono_t now, struct leases_record *record);

/* Advances the machine to @now and fills @out (reset here; valid until the next step). Never
 * allocates. Errors: ERR_FULL more than LEASES_MAX leases, ERR_NOTFOUND the lease is not held here
 * (MOVE), ERR_INVALID an event out of its ranges; the state is then as after a timer event. */
int leases_step(struct leases *l, mono_t now, const struct leases_event *ev,
                struct leases_out *out);

/* When the machine next wants an event; MONO_NEVER if it waits for others only. A call later than
 * this by more than the heartbeat interval counts as a pause of the agent (rule 16). */
mono_t leases_deadline(const struct leases *l);

/* For status and records. */
struct lease_vote {
    node_id voter;
    mono_t granted_until; /* end of its grant; MONO_ZERO for none */
    node_id refused_for;  /* to whom it had promised when it last refused; NODE_NONE: did not */
};

struct lease_view {
    uint64_t lease;
    uint8_t kind;   /* enum lease_kind */
    uint8_t mode;   /* enum lease_mode */
    uint8_t state;  /* enum lease_state */
    uint8_t reason; /* enum lease_reason: of the last change */
    uint8_t rank;
    bool wanted;
    bool solo;             /* held on the gateway's word */
    uint64_t epoch;        /* of the present, else of the last holding; 0 for none */
    mono_t since;          /* of the last change */
    uint32_t close_number; /* CLOSING: of the LEASE_CLOSE to be answered */
    mono_t end;            /* of the lease, if held */
    node_id owner; /* who holds it as far as this node's own votes tell; NODE_NONE: unknown */
    uint8_t vote_count;
    struct lease_vote votes[MSG_VOTERS_MAX];
};

/* False if this agent neither wants nor holds the lease. */
bool leases_get(const struct leases *l, mono_t now, uint64_t lease, struct lease_view *view);

/* Lists what is wanted, held or being given up; returns the number, at most @max. */
unsigned leases_list(const struct leases *l, mono_t now, struct lease_view *views, unsigned max);

/* To whom this node has promised the lease, and *until when (NULL is allowed): its holder's lease
 * ends no later. Works for every lease of the flock, if it is a voter. */
node_id leases_promised_to(const struct leases *l, mono_t now, uint64_t lease, mono_t *until);

uint32_t leases_voters_number(const struct leases *l); /* to publish as record "adopted" */
uint32_t leases_term(const struct leases *l);          /* T that is asked for now, milliseconds */
bool leases_released(const struct leases *l); /* nothing held nor closing: a drain has finished */

#endif
