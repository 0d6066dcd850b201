#include "agent/io/os_kept.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/io/os_keyfile.h"

#define PEER_PREFIX "peer-"
#define REVOKED_PREFIX "revoked-"
#define NAME_SIZE (sizeof REVOKED_PREFIX + NODE_ID_TEXT)

struct kept {
    struct keyfile_dir dir;
    char path[];
};

static const struct keyfile_kind voters_file = {
    .name = "voters",
    .title = "Covey voter set",
    .notice = "Whose grants make a lease. Its number must never go back.",
    .remedy = "restore it from a backup, or move it away while agentd runs on no node of the flock",
};

static struct keyfile_kind peer_file(const char *name)
{
    return (struct keyfile_kind){.name = name,
                                 .title = "Covey peer",
                                 .notice = "A node of the flock, as its cluster key admitted it.",
                                 .remedy = "remove it"};
}

static struct keyfile_kind revoked_file(const char *name)
{
    return (struct keyfile_kind){.name = name,
                                 .title = "Covey revocation",
                                 .notice = "This node belongs to the flock no more.",
                                 .remedy = "remove it: the other nodes tell it again"};
}

static void file_name(const char *prefix, node_id id, char name[NAME_SIZE])
{
    char text[NODE_ID_TEXT];

    node_id_format(id, text);
    snprintf(name, NAME_SIZE, "%s%s", prefix, text);
}

int kept_open(const char *state_dir, struct kept **kept, struct err *err)
{
    size_t len = strlen(state_dir);
    struct kept *k = malloc(sizeof *k + len + 1);

    if (k == NULL)
        return err_set(err, ERR_NOMEM, "no memory for what is kept of the flock");
    memcpy(k->path, state_dir, len + 1);
    k->dir.path = k->path;
    k->dir.fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (k->dir.fd < 0) {
        int code = errno == ENOENT ? ERR_NOTFOUND : ERR_IO;
        err_errno(err, code, errno, "open the state directory %s", state_dir);
        free(k);
        return code;
    }
    *kept = k;
    return ERR_NONE;
}

void kept_close(struct kept *kept)
{
    if (kept == NULL)
        return;
    close(kept->dir.fd);
    free(kept);
}

/* ---- peers ---- */

static int load_peer(const struct kept *kept, const char *name, void *item, struct err *err)
{
    struct keyfile_kind kind = peer_file(name);
    struct kept_peer found = {0};
    struct keys_admission *admission = &found.admission;
    char value[KEYFILE_VALUE_MAX];
    struct keyfile t;
    uint32_t role = 0;
    int rc = keyfile_load(&kept->dir, &kind, &t, err);
    bool good;

    if (rc != ERR_NONE)
        return rc;
    good = keyfile_hex(&t, "public key", admission->public_key, KEYS_PUBLIC) &&
           keyfile_field(&t, "name", value) && name_valid(value);
    if (good)
        memcpy(admission->name, value, strlen(value));
    good = good && keyfile_number(&t, "role", &role) && role <= UINT8_MAX &&
           keyfile_number(&t, "serial", &admission->serial) &&
           keyfile_hex(&t, "signature", admission->signature, KEYS_SIGNATURE);
    admission->role = (uint8_t)role;
    good = good && keyfile_field(&t, "address", value) &&
           (strcmp(value, "unknown") == 0 || addr_parse(value, 0, &found.addr, NULL) == ERR_NONE);
    rc = keyfile_end(&kept->dir, &kind, &t, good, err);
    if (rc == ERR_NONE)
        memcpy(item, &found, sizeof found);
    return rc;
}

static bool same_peer(const struct kept_peer *a, const struct kept_peer *b)
{
    const struct keys_admission *x = &a->admission;
    const struct keys_admission *y = &b->admission;

    return memcmp(x->public_key, y->public_key, KEYS_PUBLIC) == 0 &&
           strcmp(x->name, y->name) == 0 && x->role == y->role && x->serial == y->serial &&
           memcmp(x->signature, y->signature, KEYS_SIGNATURE) == 0 &&
           addr_equal(&a->addr, &b->addr);
}

int kept_save_peer(struct kept *kept, const struct kept_peer *peer, struct err *err)
{
    const struct keys_admission *admission = &peer->admission;
    char name[NAME_SIZE];
    char address[ADDR_TEXT] = "unknown";
    struct keyfile_kind kind;
    struct kept_peer before;
    struct keyfile t;

    file_name(PEER_PREFIX, keys_node_id(admission->public_key), name);
    if (load_peer(kept, name, &before, NULL) == ERR_NONE && same_peer(&before, peer))
        return ERR_NONE;
    kind = peer_file(name);
    if (peer->addr.family != 0)
        addr_format(&peer->addr, address);
    keyfile_begin(&kind, &t);
    keyfile_put_hex(&t, "public key = ", admission->public_key, KEYS_PUBLIC);
    keyfile_put(&t, "name = %s\nrole = %u\nserial = %" PRIu32 "\n", admission->name,
                admission->role, admission->serial);
    keyfile_put_hex(&t, "signature = ", admission->signature, KEYS_SIGNATURE);
    keyfile_put(&t, "address = %s\n", address);
    return keyfile_save(&kept->dir, &kind, &t, err);
}

int kept_drop_peer(struct kept *kept, node_id id, struct err *err)
{
    char name[NAME_SIZE];

    file_name(PEER_PREFIX, id, name);
    if (unlinkat(kept->dir.fd, name, 0) != 0 && errno != ENOENT)
        return err_errno(err, ERR_IO, errno, "remove %s/%s", kept->dir.path, name);
    return ERR_NONE;
}

static DIR *list_folder(const struct kept *kept)
{
    int fd = openat(kept->dir.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;

    if (folder == NULL && fd >= 0)
        close(fd);
    return folder;
}

/* Loads every file whose name begins with @prefix: @load fills an item of @size bytes. */
static int load_all(const struct kept *kept, const char *prefix, size_t size, size_t max,
                    int (*load)(const struct kept *kept, const char *name, void *item,
                                struct err *err),
                    void **list, size_t *count, struct err *err)
{
    char *items = NULL;
    const struct dirent *entry;
    size_t used = 0;
    size_t room = 0;
    DIR *folder = list_folder(kept);

    if (folder == NULL)
        return err_errno(err, ERR_IO, errno, "list the folder %s", kept->dir.path);
    while ((entry = readdir(folder)) != NULL && used < max) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
            continue;
        if (used == room) {
            char *grown;
            room = room == 0 ? 8 : room * 2;
            grown = realloc(items, room * size);
            if (grown == NULL) {
                free(items);
                closedir(folder);
                return err_set(err, ERR_NOMEM, "read the peers: %s", err_text(ERR_NOMEM));
            }
            items = grown;
        }
        if (load(kept, entry->d_name, items + used * size, NULL) == ERR_NONE)
            used++;
    }
    closedir(folder);
    *list = items;
    *count = used;
    return ERR_NONE;
}

int kept_load_peers(struct kept *kept, struct kept_peer **list, size_t *count, struct err *err)
{
    void *items = NULL;
    int rc =
        load_all(kept, PEER_PREFIX, sizeof **list, KEPT_PEERS_MAX, load_peer, &items, count, err);

    if (rc == ERR_NONE)
        *list = items;
    return rc;
}

/* ---- revocations ---- */

#define TIME_BYTES 8

static int load_revocation(const struct kept *kept, const char *name, void *item, struct err *err)
{
    struct keyfile_kind kind = revoked_file(name);
    struct keys_revocation found = {0};
    char value[KEYFILE_VALUE_MAX];
    uint8_t time[TIME_BYTES];
    struct keyfile t;
    uint64_t seconds = 0;
    int rc = keyfile_load(&kept->dir, &kind, &t, err);
    bool good;

    if (rc != ERR_NONE)
        return rc;
    good = keyfile_hex(&t, "public key", found.public_key, KEYS_PUBLIC) &&
           keyfile_field(&t, "name", value) && name_valid(value);
    if (good)
        memcpy(found.name, value, strlen(value));
    good = good && keyfile_hex(&t, "time", time, sizeof time) &&
           keyfile_hex(&t, "signature", found.signature, KEYS_SIGNATURE);
    rc = keyfile_end(&kept->dir, &kind, &t, good, err);
    if (rc != ERR_NONE)
        return rc;
    for (size_t i = 0; i < sizeof time; i++)
        seconds = seconds << 8 | time[i];
    found.time = (int64_t)seconds;
    memcpy(item, &found, sizeof found);
    return ERR_NONE;
}

int kept_save_revocation(struct kept *kept, const struct keys_revocation *revocation,
                         struct err *err)
{
    char name[NAME_SIZE];
    struct keyfile_kind kind;
    struct keys_revocation before;
    struct keyfile t;
    uint8_t time[TIME_BYTES];

    file_name(REVOKED_PREFIX, keys_node_id(revocation->public_key), name);
    if (load_revocation(kept, name, &before, NULL) == ERR_NONE)
        return ERR_NONE; /* there is but one of a node */
    kind = revoked_file(name);
    for (size_t i = 0; i < sizeof time; i++)
        time[i] = (uint8_t)((uint64_t)revocation->time >> (8 * (sizeof time - 1 - i)));
    keyfile_begin(&kind, &t);
    keyfile_put_hex(&t, "public key = ", revocation->public_key, KEYS_PUBLIC);
    keyfile_put(&t, "name = %s\n", revocation->name);
    keyfile_put_hex(&t, "time = ", time, sizeof time);
    keyfile_put_hex(&t, "signature = ", revocation->signature, KEYS_SIGNATURE);
    return keyfile_save(&kept->dir, &kind, &t, err);
}

int kept_load_revocations(struct kept *kept, struct keys_revocation **list, size_t *count,
                          struct err *err)
{
    void *items = NULL;
    int rc = load_all(kept, REVOKED_PREFIX, sizeof **list, KEPT_REVOKED_MAX, load_revocation,
                      &items, count, err);

    if (rc == ERR_NONE)
        *list = items;
    return rc;
}

/* ---- voters ---- */

static void put_set(struct keyfile *t, const struct voter_set *set)
{
    char id[NODE_ID_TEXT];

    keyfile_put(t, "set = %" PRIu32 "\ncount = %u\n", set->number, set->count);
    for (uint8_t i = 0; i < set->count; i++) {
        node_id_format(set->voters[i], id);
        keyfile_put(t, "voter = %s\n", id);
    }
}

static bool read_set(struct keyfile *t, struct voter_set *set)
{
    char id[KEYFILE_VALUE_MAX];
    uint32_t count = 0;

    if (!keyfile_number(t, "set", &set->number) || !keyfile_number(t, "count", &count) ||
        count > MSG_VOTERS_MAX)
        return false;
    set->count = (uint8_t)count;
    for (uint32_t i = 0; i < count; i++)
        if (!keyfile_field(t, "voter", id) || node_id_parse(id, &set->voters[i]) != ERR_NONE)
            return false;
    return true;
}

int kept_save_voters(struct kept *kept, const struct voters_state *state, struct err *err)
{
    struct keyfile t;

    keyfile_begin(&voters_file, &t);
    put_set(&t, &state->current);
    put_set(&t, &state->previous);
    return keyfile_save(&kept->dir, &voters_file, &t, err);
}

int kept_load_voters(struct kept *kept, struct voters_state *state, struct err *err)
{
    struct voters_state found = {0};
    struct keyfile t;
    int rc = keyfile_load(&kept->dir, &voters_file, &t, err);

    if (rc != ERR_NONE)
        return rc;
    rc = keyfile_end(&kept->dir, &voters_file, &t,
                     read_set(&t, &found.current) && voter_set_valid(&found.current) &&
                         read_set(&t, &found.previous),
                     err);
    if (rc == ERR_NONE)
        *state = found;
    return rc;
}
