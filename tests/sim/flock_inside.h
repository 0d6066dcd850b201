/* The inside of a flock, for flock*.c only. */
#ifndef COVEY_TESTS_FLOCK_INSIDE_H
#define COVEY_TESTS_FLOCK_INSIDE_H

#include "tests/sim/flock.h"

void *flock_must(void *p); /* aborts when there is no memory */
void flock_check(struct flock *f, bool holds, const char *what);
size_t flock_index_of(const struct flock *f, node_id id); /* SIZE_MAX: nobody's */
bool flock_revoked(const struct flock *f, size_t observer, size_t subject);
struct flock_opinion *flock_opinion_of(const struct flock *f, size_t observer, size_t subject);

/* One step each, and all that follows from it. */
void flock_members_step(struct flock *f, size_t node, const struct membership_event *event);
void flock_records_step(struct flock *f, size_t node, const struct records_event *event);
void flock_admit(struct flock *f, size_t node, node_id id, const struct addr *addr);
void flock_settle(struct flock *f, size_t node); /* steps until nothing is due */

#endif
