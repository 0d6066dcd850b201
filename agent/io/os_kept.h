/* What a node must know of its flock even when the store is lost: small text files in the state
 * directory beside the keys, written whole or not at all.
 *
 *   voters     the voter set that this node has adopted, with its predecessor where it decides them
 *   peer-ID    another node: its admission, signed by the cluster's key, and where it was last
 *   revoked-ID a node that is a member no more, likewise signed
 *
 * The store is rebuilt from Git and the peers; these files say who the peers are. And the numbers
 * of voter sets must never be given twice: two sets of one number could have a holder each. */
#ifndef COVEY_IO_OS_KEPT_H
#define COVEY_IO_OS_KEPT_H

#include <stddef.h>

#include "proto/base/err.h"
#include "proto/base/id.h"
#include "proto/lease/voters.h"
#include "proto/wire/keys.h"

#define KEPT_PEERS_MAX FLOCK_NODES_MAX
#define KEPT_REVOKED_MAX 256

struct kept;

struct kept_peer {
    struct keys_admission admission;
    struct addr addr; /* family 0: unknown */
};

/* Opens the directory, which must exist; kept_close ends it. Calls may come from several threads,
 * as long as no two write at a time. Errors: ERR_NOTFOUND, ERR_IO, ERR_NOMEM. */
int kept_open(const char *state_dir, struct kept **kept, struct err *err);
void kept_close(struct kept *kept); /* NULL is allowed */

/* Writes the file of a peer, unless it says the same already. Errors: ERR_IO. */
int kept_save_peer(struct kept *kept, const struct kept_peer *peer, struct err *err);
/* Forgets a peer; one that is not known is no error. Errors: ERR_IO. */
int kept_drop_peer(struct kept *kept, node_id id, struct err *err);
/* All peers; the caller frees *list. A file that is damaged is left out: what it said comes again
 * from that peer's neighbours. The admissions are not verified. Errors: ERR_IO, ERR_NOMEM. */
int kept_load_peers(struct kept *kept, struct kept_peer **list, size_t *count, struct err *err);

/* Likewise of revocations; there is no call that drops one. */
int kept_save_revocation(struct kept *kept, const struct keys_revocation *revocation,
                         struct err *err);
int kept_load_revocations(struct kept *kept, struct keys_revocation **list, size_t *count,
                          struct err *err);

/* Errors: ERR_IO; the old file then still stands. */
int kept_save_voters(struct kept *kept, const struct voters_state *state, struct err *err);
/* Errors, @state being left as it is: ERR_NOTFOUND there was no set yet; ERR_CORRUPT, ERR_DENIED,
 * ERR_VERSION, ERR_IO: the agent must not start, for it might hold or grant what it must not. */
int kept_load_voters(struct kept *kept, struct voters_state *state, struct err *err);

#endif
