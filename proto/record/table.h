/* The inside of the record table, for the files of this folder only. */
#ifndef COVEY_RECORD_TABLE_H
#define COVEY_RECORD_TABLE_H

#include "proto/base/rng.h"
#include "proto/record/record.h"

#define SYNCS_MAX 8  /* exchanges of digests that are due or under way */
#define JOBS_MAX 128 /* deltas waiting to be sent */
#define HEAD_ONLY UINT64_MAX
#define HOT_MAX 32 /* changes being passed on as rumours */

struct record {
    uint64_t version;
    uint64_t floor;
    uint16_t value_len; /* 0: tombstone */
    uint8_t key_len;
    uint8_t signature[MSG_SIGNATURE];
    char data[]; /* the key, a zero, the value */
};

struct author {
    node_id id;
    uint64_t floor;          /* in force: every record held is above */
    uint64_t version;        /* all live records up to this one are held */
    uint64_t hash;           /* over the records */
    struct record **records; /* ascending by key */
    uint16_t count;
    uint16_t capacity;
    uint16_t tombstones;
    uint32_t bytes; /* of keys and values */

    /* the author as our peer */
    bool up;
    uint64_t acked; /* up to which it holds our records, as it last said */
    uint16_t backoff_ms;
    mono_t synced;        /* when digests were last exchanged with it */
    uint64_t synced_root; /* both roots at that time, mixed */
    uint64_t seen_root;   /* its root as last seen */
    bool agreed;          /* it was ours, at some time in this life */
};

struct sync {
    node_id peer; /* none: slot is free */
    mono_t at;
    bool forced;  /* also when the roots agree: a delta did not fit */
    node_id next; /* first author of the next digest */
};

/* Deltas of @author from @from on, for @peer. */
struct job {
    node_id peer;
    node_id author;
    uint64_t from; /* or HEAD_ONLY */
};

struct hot {
    node_id author; /* none: slot is free */
    uint64_t from;
    uint8_t rounds;
};

struct records {
    struct records_config config;
    struct rng rng;
    mono_t now;
    struct records_out *out; /* during a step */
    struct author **authors; /* ascending by id */
    size_t count;
    struct author *self;
    uint64_t root;

    uint64_t pushed;   /* own version up to which peers were told */
    mono_t repeat_at;  /* peers that have not acknowledged are told again */
    int64_t repeat_ms; /* after which interval */
    struct sync syncs[SYNCS_MAX];
    struct job jobs[JOBS_MAX]; /* a queue */
    size_t job_count;
    mono_t job_next;
    struct hot hot[HOT_MAX];
    mono_t hot_next;
};

/* table.c */
struct author *table_author(const struct records *r, node_id id); /* NULL: unknown */
/* Index of the first author >= @id. */
size_t table_lower_bound(const struct records *r, node_id id);
int table_admit(struct records *r, node_id id, struct author **a); /* ERR_FULL, ERR_NOMEM */
void table_revoke(struct records *r, struct author *a);
struct record *table_record(const struct author *a, const char *key, size_t key_len);
/* Stores a copy; replaces what has this key. ERR_FULL, ERR_NOMEM. */
int table_store(struct records *r, struct author *a, const struct msg_record *record);
/* Drops all records at or below @floor; true when there were any that were live. */
bool table_raise_floor(struct records *r, struct author *a, uint64_t floor);
void table_sign(struct records *r, struct record *record);
/* Gives the own records new versions and drops tombstones. */
void table_compact(struct records *r);
/* Starts well above @version, which an own record of another life has. */
void table_jump(struct records *r, uint64_t version);

/* delta.c */
/* A delta of no range that carries the head alone; false when there is none. */
bool delta_head(const struct author *a, struct msg *msg);
void delta_fill(const struct author *a, uint64_t from, struct msg *msg);
int delta_apply(struct records *r, struct author *peer, node_id sender, const struct msg_delta *d);
void change_report(struct records *r, uint8_t type, node_id author, node_id peer,
                   const struct msg_record *record);

/* sync.c */
bool sync_room(const struct records *r, size_t sends);
void sync_request(struct records *r, struct author *peer, bool forced);
void sync_root_seen(struct records *r, struct author *peer, uint64_t root);
void sync_digest(struct records *r, struct author *peer, const struct msg_digest *d);
void sync_job(struct records *r, node_id peer, node_id author, uint64_t from);
void sync_hot(struct records *r, node_id author, uint64_t from);
void sync_acknowledge(struct records *r, const struct author *author);
void sync_forget(struct records *r, node_id id);
void sync_tick(struct records *r);
mono_t sync_deadline(const struct records *r);

#endif
