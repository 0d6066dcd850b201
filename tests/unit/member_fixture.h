/* One membership machine whose messages a test writes and reads by hand. */
#ifndef COVEY_TESTS_MEMBER_FIXTURE_H
#define COVEY_TESTS_MEMBER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/member/member.h"

#define SELF 100u
#define PEER 200u
#define THIRD 300u
#define BOOT (7ull << 32)

struct fixture {
    struct membership *m;
    mono_t now;
    struct membership_out out;   /* of the last step */
    size_t sent[MSG_GOSSIP + 1]; /* by type, since the last count_reset */
    struct membership_send last[MSG_GOSSIP + 1];
    uint8_t state; /* of PEER, by the changes reported */
    size_t changes;
    size_t signatures;
    struct membership_send stream; /* the last over TCP */
    size_t streamed;               /* how many, since the last count_reset */
};

struct addr addr_of(uint64_t id);
void count_reset(struct fixture *f);
int step(struct fixture *f, const struct membership_event *event);
/* Lets time pass, keeping every deadline. */
void pass(struct fixture *f, int64_t ms);
int admit(struct fixture *f, uint64_t id);
int receive(struct fixture *f, uint64_t from, const struct msg *msg);
struct msg_update update(uint8_t kind, uint64_t subject, uint64_t author, uint64_t incarnation);
int tell(struct fixture *f, uint64_t from, struct msg_update u);
/* Answers the last ping, if there was one to @from since the count was reset. */
void answer(struct fixture *f, uint64_t from);
/* @from pings us: it lives. */
void ping(struct fixture *f, uint64_t from);
bool carries(const struct membership_send *s, uint8_t kind, uint64_t subject);
/* Lets both sides talk for a while, so that the path is known. */
void warm_up(struct fixture *f, uint64_t peer, int seconds);
/* For cmocka: *state is the struct fixture; with streams, members are reached over TCP too. */
int setup(void **state);
int setup_streams(void **state);
int teardown(void **state);

#endif
