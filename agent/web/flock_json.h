/* Who is admitted, which node has which epoch, which tokens there are: the JSON of the listings
 * that are no part of the status. */
#ifndef COVEY_WEB_FLOCK_JSON_H
#define COVEY_WEB_FLOCK_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flock_json_node {
    const char *name, *id, *fingerprint;
    const char *state;  /* "admitted", "pending", "revoked" */
    const char *member; /* "alive"…; "" for none of the flock */
    const char *role;
    const char *address; /* "" unknown */
    bool self, holder;
    int64_t since; /* of a revocation, Unix seconds; 0 */
};

struct flock_json_key {
    const char *name, *member;
    uint32_t epoch;
    bool current, holder, self;
};

struct flock_json_token {
    const char *id, *state;
    int64_t created, expires; /* Unix seconds */
    uint32_t uses_left, used;
};

/* Items of a NodeList and of a TokenList; the whole Keys document. NULL: no memory. */
json_t *flock_json_node(const struct flock_json_node *node);
json_t *flock_json_token(const struct flock_json_token *token);
json_t *flock_json_key(const struct flock_json_key *key);
/* Takes @nodes, an array of flock_json_key. */
json_t *flock_json_keys(uint32_t epoch, bool agreed, size_t revoked, json_t *nodes);

#endif
