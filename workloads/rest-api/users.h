/* The users of rest-api: kept in memory, ordered by id, from 1 upwards. Safe to use from several
 * threads. */
#ifndef COVEY_WORKLOADS_REST_API_USERS_H
#define COVEY_WORKLOADS_REST_API_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "workloads/lib/out.h"

#define USERS_MAX 10000
#define USER_NAME_MAX 100  /* characters */
#define USER_EMAIL_MAX 254 /* bytes (RFC 5321) */

struct users;

/* Begins with five users, Alice to Eve. */
int users_new(struct users **out, struct err *err);
void users_free(struct users *users);

/* Writes one page, at most @limit users with ids greater than @after:
 * {"users":[...],"count":in the page,"total":in all,"next":the last id, or null at the end}. */
void users_emit_page(struct users *users, int64_t after, size_t limit, struct out *o);

/* The functions below write the user concerned, {"id":..,"name":..,"email":..}, when they succeed.
 * Errors: ERR_NOTFOUND the id; ERR_EXISTS another user has the e-mail address (compared without
 * regard to case); ERR_FULL; ERR_NOMEM. */
int users_emit(struct users *users, int64_t id, struct out *o);
int users_add(struct users *users, const char *name, const char *email, int64_t *id, struct out *o);
/* What is NULL stays as it is. */
int users_change(struct users *users, int64_t id, const char *name, const char *email,
                 struct out *o);
int users_remove(struct users *users, int64_t id);

#endif
