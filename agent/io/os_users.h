/* Users of workloads: one number each, without an entry in /etc/passwd. */
#ifndef COVEY_IO_OS_USERS_H
#define COVEY_IO_OS_USERS_H

#include <sys/types.h>

#include "proto/base/err.h"

/* Above every range that Debian and systemd give away (people, system users, DynamicUser,
 * subordinate and container ids), below 2^31, which old programs take for negative. */
#define OS_USERS_FIRST 2000000000u
#define OS_USERS_COUNT 65536u

/* The user of @workload: what <state_dir>/users says or, for a new one, a number that no other has,
 * which is written there. Nodes come to the same number unless two names collide. Errors: ERR_IO,
 * ERR_NOSPACE, ERR_FULL. */
int os_users_get(const char *state_dir, const char *workload, uid_t *uid, struct err *err);

#endif
