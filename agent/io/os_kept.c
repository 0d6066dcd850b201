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
#define PEER_NAME_SIZE (sizeof PEER_PREFIX + NODE_ID_TEXT)

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

static void peer_name(node_id id, char name[PEER_NAME_SIZE])
{
    char text[NODE_ID_TEXT];

    node_id_format(id, text);
    snprintf(name, PEER_NAME_SIZE, PEER_PREFIX "%s", text);
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

static int load_peer(const struct kept *kept, const char *name, struct kept_peer *peer,
                     struct err *err)
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
        *peer = found;
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
    char name[PEER_NAME_SIZE];
    char address[ADDR_TEXT] = "unknown";
    struct keyfile_kind kind;
    struct kept_peer before;
    struct keyfile t;

    peer_name(keys_node_id(admission->public_key), name);
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
    char name[PEER_NAME_SIZE];

    peer_name(id, name);
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

int kept_load_peers(struct kept *kept, struct kept_peer **list, size_t *count, struct err *err)
{
    struct kept_peer *peers = NULL;
    const struct dirent *entry;
    size_t used = 0;
    size_t room = 0;
    DIR *folder = list_folder(kept);

    if (folder == NULL)
        return err_errno(err, ERR_IO, errno, "list the folder %s", kept->dir.path);
    while ((entry = readdir(folder)) != NULL && used < KEPT_PEERS_MAX) {
        if (strncmp(entry->d_name, PEER_PREFIX, strlen(PEER_PREFIX)) != 0)
            continue;
        if (used == room) {
            struct kept_peer *grown;
            room = room == 0 ? 8 : room * 2;
            grown = realloc(peers, room * sizeof *grown);
            if (grown == NULL) {
                free(peers);
                closedir(folder);
                return err_set(err, ERR_NOMEM, "read the peers: %s", err_text(ERR_NOMEM));
            }
            peers = grown;
        }
        if (load_peer(kept, entry->d_name, &peers[used], NULL) == ERR_NONE)
            used++;
    }
    closedir(folder);
    *list = peers;
    *count = used;
    return ERR_NONE;
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
