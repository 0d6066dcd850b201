/* The keys of this node on disk: small text files in the state directory, mode 0600, written
 * whole or not at all (temporary file, fsync, rename, fsync of the directory).
 *
 *   identity.key   this node's key pair; made at the first start
 *   cluster.pub    the cluster's public key, pinned at init or join
 *   cluster.key    the cluster's key pair: only where `agentctl init` ran
 *   admission      this node's admission, signed by the cluster's key
 *   epoch.keys     the newest key epochs, signed by the cluster's key
 *
 * The first line says what a file is, and that it is secret; the last one is a checksum, so that
 * damage is seen and no key is silently another one. Files that others may read or write, or that
 * belong to somebody else, are refused. */
#ifndef COVEY_IO_OS_KEYSTORE_H
#define COVEY_IO_OS_KEYSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/wire/keys.h"

#define KEYSTORE_EPOCHS 4

struct keystore_epochs {
    size_t count; /* 1 to KEYSTORE_EPOCHS */
    struct keys_epoch epochs[KEYSTORE_EPOCHS];
};

struct keystore;

/* Opens the directory, which must exist. The caller ends *store with keystore_close. Errors:
 * ERR_NOTFOUND, ERR_IO, ERR_NOMEM. */
int keystore_open(const char *state_dir, struct keystore **store, struct err *err);
void keystore_close(struct keystore *store); /* NULL is allowed */

/* This node's identity; makes and saves one if there is none, and says so in @created (may be
 * NULL): with an admission beside it that is for another key, the identity was lost. Errors: as
 * keystore_load_*, keystore_save_*, but no ERR_NOTFOUND. */
int keystore_identity(struct keystore *store, struct keys_identity *identity, bool *created,
                      struct err *err);

/* Loading leaves its result untouched on errors: ERR_NOTFOUND no such file, which is normal before
 * init or join; ERR_DENIED it is open to others, or not ours; ERR_CORRUPT damaged; ERR_VERSION made
 * by a newer release; ERR_IO. @err says what to do. Saving replaces: ERR_IO, ERR_NOSPACE; the old
 * file then still stands. */
int keystore_load_cluster_key(struct keystore *store, uint8_t public_key[KEYS_PUBLIC],
                              struct err *err);
int keystore_save_cluster_key(struct keystore *store, const uint8_t public_key[KEYS_PUBLIC],
                              struct err *err);

int keystore_load_cluster(struct keystore *store, struct keys_identity *cluster, struct err *err);
int keystore_save_cluster(struct keystore *store, const struct keys_identity *cluster,
                          struct err *err);

int keystore_load_admission(struct keystore *store, struct keys_admission *admission,
                            struct err *err);
int keystore_save_admission(struct keystore *store, const struct keys_admission *admission,
                            struct err *err);

int keystore_load_epochs(struct keystore *store, struct keystore_epochs *epochs, struct err *err);
int keystore_save_epochs(struct keystore *store, const struct keystore_epochs *epochs,
                         struct err *err);

#endif
