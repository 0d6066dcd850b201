#include "agent/io/os_keystore.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/io/os_keyfile.h"
#include "proto/base/id.h"

struct keystore {
    struct keyfile_dir dir;
    char path[];
};

static const struct keyfile_kind identity_key = {
    .name = "identity.key",
    .title = "Covey identity key",
    .notice = "SECRET: whoever has this file speaks as this node. Do not copy or share it.",
    .secret = true,
    .remedy = "restore it from a backup of this node, or move it away and join again as a new node",
};

static const struct keyfile_kind cluster_pub = {
    .name = "cluster.pub",
    .title = "Covey cluster public key",
    .notice = "Who is admitted to the flock is signed by the key that belongs to this one.",
    .remedy = "copy it from another node of the flock, or join again",
};

static const struct keyfile_kind cluster_key = {
    .name = "cluster.key",
    .title = "Covey cluster key",
    .notice =
        "SECRET: whoever has this file admits nodes to the flock. Keep a copy in a safe place.",
    .secret = true,
    .remedy = "restore it from a backup; without it no node can be admitted",
};

static const struct keyfile_kind admission_file = {
    .name = "admission",
    .title = "Covey admission",
    .notice = "This node belongs to the flock.",
    .remedy = "restore it from a backup, or join again",
};

static const struct keyfile_kind epoch_keys = {
    .name = "epoch.keys",
    .title = "Covey epoch keys",
    .notice = "SECRET: the flock's traffic is sealed with these. Do not copy or share them.",
    .secret = true,
    .remedy = "copy it from another node of the flock, or join again",
};

int keystore_open(const char *state_dir, struct keystore **store, struct err *err)
{
    size_t len = strlen(state_dir);
    struct keystore *s = malloc(sizeof *s + len + 1);

    if (s == NULL)
        return err_set(err, ERR_NOMEM, "no memory for the key store");
    memcpy(s->path, state_dir, len + 1);
    s->dir.path = s->path;
    s->dir.fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir.fd < 0) {
        int code = errno == ENOENT ? ERR_NOTFOUND : ERR_IO;
        err_errno(err, code, errno, "open the state directory %s", state_dir);
        free(s);
        return code;
    }
    *store = s;
    return ERR_NONE;
}

void keystore_close(struct keystore *store)
{
    if (store == NULL)
        return;
    close(store->dir.fd);
    free(store);
}

/* The public key stands beside the seed for people, and must belong to it. */
static int load_pair(const struct keystore *s, const struct keyfile_kind *kind,
                     struct keys_identity *pair, struct err *err)
{
    struct keyfile t;
    struct keys_identity found;
    uint8_t seed[KEYS_SEED], public_key[KEYS_PUBLIC];
    int rc = keyfile_load(&s->dir, kind, &t, err);
    bool good;

    if (rc != ERR_NONE)
        return rc;
    good = keyfile_hex(&t, "public key", public_key, sizeof public_key) &&
           keyfile_hex(&t, "seed", seed, sizeof seed);
    if (good) {
        keys_from_seed(seed, &found);
        good = keys_equal(found.public_key, public_key, KEYS_PUBLIC);
    }
    rc = keyfile_end(&s->dir, kind, &t, good, err);
    if (rc == ERR_NONE)
        *pair = found;
    keys_wipe(&found, sizeof found);
    keys_wipe(seed, sizeof seed);
    return rc;
}

static int save_pair(const struct keystore *s, const struct keyfile_kind *kind,
                     const struct keys_identity *pair, struct err *err)
{
    struct keyfile t;

    keyfile_begin(kind, &t);
    keyfile_put_hex(&t, "public key = ", pair->public_key, KEYS_PUBLIC);
    keyfile_put_hex(&t, "seed = ", pair->seed, KEYS_SEED);
    return keyfile_save(&s->dir, kind, &t, err);
}

int keystore_identity(struct keystore *store, struct keys_identity *identity, bool *created,
                      struct err *err)
{
    struct keys_identity fresh;
    int rc = load_pair(store, &identity_key, identity, err);

    if (created != NULL)
        *created = rc == ERR_NOTFOUND;
    if (rc != ERR_NOTFOUND)
        return rc;
    keys_generate(&fresh);
    rc = save_pair(store, &identity_key, &fresh, err);
    if (rc == ERR_NONE)
        *identity = fresh;
    keys_wipe(&fresh, sizeof fresh);
    return rc;
}

int keystore_load_cluster(struct keystore *store, struct keys_identity *cluster, struct err *err)
{
    return load_pair(store, &cluster_key, cluster, err);
}

int keystore_save_cluster(struct keystore *store, const struct keys_identity *cluster,
                          struct err *err)
{
    return save_pair(store, &cluster_key, cluster, err);
}

int keystore_load_cluster_key(struct keystore *store, uint8_t public_key[KEYS_PUBLIC],
                              struct err *err)
{
    struct keyfile t;
    uint8_t found[KEYS_PUBLIC];
    int rc = keyfile_load(&store->dir, &cluster_pub, &t, err);

    if (rc != ERR_NONE)
        return rc;
    rc = keyfile_end(&store->dir, &cluster_pub, &t,
                     keyfile_hex(&t, "public key", found, sizeof found), err);
    if (rc == ERR_NONE)
        memcpy(public_key, found, KEYS_PUBLIC);
    return rc;
}

int keystore_save_cluster_key(struct keystore *store, const uint8_t public_key[KEYS_PUBLIC],
                              struct err *err)
{
    struct keyfile t;

    keyfile_begin(&cluster_pub, &t);
    keyfile_put_hex(&t, "public key = ", public_key, KEYS_PUBLIC);
    return keyfile_save(&store->dir, &cluster_pub, &t, err);
}

int keystore_load_admission(struct keystore *store, struct keys_admission *admission,
                            struct err *err)
{
    struct keyfile t;
    struct keys_admission found;
    char name[KEYFILE_VALUE_MAX];
    uint32_t role = 0;
    int rc = keyfile_load(&store->dir, &admission_file, &t, err);
    bool good;

    if (rc != ERR_NONE)
        return rc;
    memset(&found, 0, sizeof found);
    good = keyfile_hex(&t, "public key", found.public_key, KEYS_PUBLIC) &&
           keyfile_field(&t, "name", name) && keyfile_number(&t, "role", &role) &&
           keyfile_number(&t, "serial", &found.serial) &&
           keyfile_hex(&t, "signature", found.signature, KEYS_SIGNATURE) && name_valid(name) &&
           role <= UINT8_MAX;
    rc = keyfile_end(&store->dir, &admission_file, &t, good, err);
    if (rc != ERR_NONE)
        return rc;
    memcpy(found.name, name, strlen(name));
    found.role = (uint8_t)role;
    *admission = found;
    return ERR_NONE;
}

int keystore_save_admission(struct keystore *store, const struct keys_admission *admission,
                            struct err *err)
{
    struct keyfile t;

    keyfile_begin(&admission_file, &t);
    keyfile_put_hex(&t, "public key = ", admission->public_key, KEYS_PUBLIC);
    keyfile_put(&t, "name = %s\nrole = %u\nserial = %" PRIu32 "\n", admission->name,
                admission->role, admission->serial);
    keyfile_put_hex(&t, "signature = ", admission->signature, KEYS_SIGNATURE);
    return keyfile_save(&store->dir, &admission_file, &t, err);
}

#define DIGEST_BYTES 8

static bool read_epochs(struct keyfile *t, struct keystore_epochs *epochs)
{
    while (t->at < t->len && epochs->count < KEYSTORE_EPOCHS) {
        struct keys_epoch *e = &epochs->epochs[epochs->count++];
        uint8_t digest[DIGEST_BYTES];
        uint32_t revoked = 0;
        if (!keyfile_number(t, "epoch", &e->number) ||
            !keyfile_hex(t, "secret", e->secret, KEYS_EPOCH_SECRET) ||
            !keyfile_number(t, "revoked", &revoked) || revoked > UINT16_MAX ||
            !keyfile_hex(t, "digest", digest, sizeof digest) ||
            !keyfile_hex(t, "signature", e->signature, KEYS_SIGNATURE))
            return false;
        e->revoked = (uint16_t)revoked;
        for (size_t i = 0; i < sizeof digest; i++)
            e->revoked_digest = e->revoked_digest << 8 | digest[i];
    }
    return epochs->count > 0;
}

int keystore_load_epochs(struct keystore *store, struct keystore_epochs *epochs, struct err *err)
{
    struct keyfile t;
    struct keystore_epochs found;
    int rc = keyfile_load(&store->dir, &epoch_keys, &t, err);

    if (rc != ERR_NONE)
        return rc;
    memset(&found, 0, sizeof found);
    rc = keyfile_end(&store->dir, &epoch_keys, &t, read_epochs(&t, &found), err);
    if (rc == ERR_NONE)
        *epochs = found;
    keys_wipe(&found, sizeof found);
    return rc;
}

int keystore_save_epochs(struct keystore *store, const struct keystore_epochs *epochs,
                         struct err *err)
{
    struct keyfile t;

    keyfile_begin(&epoch_keys, &t);
    for (size_t i = 0; i < epochs->count && i < KEYSTORE_EPOCHS; i++) {
        const struct keys_epoch *e = &epochs->epochs[i];
        uint8_t digest[DIGEST_BYTES];
        for (size_t k = 0; k < sizeof digest; k++)
            digest[k] = (uint8_t)(e->revoked_digest >> (8 * (sizeof digest - 1 - k)));
        keyfile_put(&t, "epoch = %" PRIu32 "\n", e->number);
        keyfile_put_hex(&t, "secret = ", e->secret, KEYS_EPOCH_SECRET);
        keyfile_put(&t, "revoked = %u\n", e->revoked);
        keyfile_put_hex(&t, "digest = ", digest, sizeof digest);
        keyfile_put_hex(&t, "signature = ", e->signature, KEYS_SIGNATURE);
    }
    return keyfile_save(&store->dir, &epoch_keys, &t, err);
}
