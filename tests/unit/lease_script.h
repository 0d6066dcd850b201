/* A script against one lease machine: the test speaks for the clock, the kernel and the other
 * nodes, whose ids are 1, 2, 3. State is the test program's own; teardown frees it. */
#ifndef COVEY_TESTS_LEASE_SCRIPT_H
#define COVEY_TESTS_LEASE_SCRIPT_H

#include "proto/lease/lease.h"

#define LEASE 0x77u
#define T 500
#define F 50
#define START 10000 /* milliseconds since the machine booted: its silence has ended */

extern const node_id one;
extern const node_id two;
extern const node_id three;

extern struct leases *l;
extern struct leases_out out;
extern struct leases_record record;

mono_t at(int64_t ms);
void make(node_id self, int voters, bool first_since_boot, int64_t now);
int teardown(void **state);
int step(int64_t now, struct leases_event ev);
void timer(int64_t now);
void run_until(int64_t now);
const struct lease_op *op(int type);
const struct msg_lease *sent(int type, node_id to);
const struct lease_change *change(int type);
void message(int64_t now, node_id from, int type, struct msg_lease lease);
struct msg_lease one_item(uint32_t sequence, uint64_t session, int verdict);
bool ask(int64_t now, node_id from, uint64_t session, uint16_t term);
void want(int64_t now, int mode);
struct msg_lease requested(void);
void reply(int64_t now, node_id from, struct msg_lease request, int verdict);
struct lease_view view(int64_t now);
struct msg_lease hold(int voters, int mode);
void close_acknowledged(int64_t now);
void restart_with_record(node_id self, int64_t now); /* of three voters */

/* The gateway's ARP cache (rule 18). */
const struct lease_register *access_of(int type); /* of the last step; NULL: none */
void wrote(int64_t now);                          /* a write has left, and is answered */
void read_answered(int64_t now, int64_t sent);
void peer_speaks(int64_t now); /* node 2, which asks for T */
/* Lets deadlines happen until something of @type is to be done; returns when. */
int64_t run_until_access(int type, int64_t limit);
/* Node 1, whose peer speaks at START for the last time, and a gateway that passed the test. */
void challenger(void);

#endif
