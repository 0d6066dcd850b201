#include <string.h>

#include "store/db.h"

static size_t address_size(const struct addr *addr)
{
    return addr->family == 6 ? 16 : addr->family == 4 ? 4 : 0;
}

static int check_room(struct store *store, const struct store_peer *peer, struct err *err)
{
    static const char what[] = "count the peers";
    struct query q;
    int64_t others = 0;
    int rc;

    query_start(&q, store, "SELECT count(*) FROM peers WHERE id <> ?");
    query_int(&q, (int64_t)peer->id.v);
    if (query_row(&q))
        others = query_get_int(&q, 0, 0, INT64_MAX);
    rc = query_end(&q, err, what);
    if (rc == ERR_NONE && others >= STORE_PEERS_MAX)
        rc = err_set(err, ERR_FULL, "cannot remember peer %s: %d peers are known already",
                     peer->name, STORE_PEERS_MAX);
    return rc;
}

int store_peer_put(struct store *store, const struct store_peer *peer, struct err *err)
{
    static const char what[] = "remember a peer";
    struct query q;
    int rc = db_check_text(peer->name, sizeof peer->name, "a node's name", err);

    if (rc == ERR_NONE)
        rc = db_begin(store, DB_DURABLE, err);
    if (rc != ERR_NONE)
        return rc;
    rc = check_room(store, peer, err);
    if (rc == ERR_NONE) {
        query_start(&q, store,
                    "INSERT INTO peers (id, public_key, name, role, serial, admission,"
                    " address_family, address, port, revoked) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (id) DO UPDATE SET public_key = excluded.public_key,"
                    " name = excluded.name, role = excluded.role, serial = excluded.serial,"
                    " admission = excluded.admission, address_family = excluded.address_family,"
                    " address = excluded.address, port = excluded.port,"
                    " revoked = max(revoked, excluded.revoked)"
                    " WHERE public_key <> excluded.public_key OR name <> excluded.name"
                    " OR role <> excluded.role OR serial <> excluded.serial"
                    " OR admission <> excluded.admission"
                    " OR address_family <> excluded.address_family"
                    " OR address <> excluded.address OR port <> excluded.port"
                    " OR revoked < excluded.revoked");
        query_int(&q, (int64_t)peer->id.v);
        query_blob(&q, peer->public_key, sizeof peer->public_key);
        query_text(&q, peer->name);
        query_int(&q, peer->role);
        query_int(&q, peer->serial);
        query_blob(&q, peer->admission, sizeof peer->admission);
        query_int(&q, peer->addr.family);
        query_blob(&q, peer->addr.ip, address_size(&peer->addr));
        query_int(&q, peer->addr.port);
        query_int(&q, peer->revoked);
        rc = query_finish(&q, err, what);
    }
    return db_end(store, rc, err, what);
}

static void read_peer(struct query *q, struct store_peer *peer)
{
    peer->id.v = (uint64_t)query_get_int(q, 0, INT64_MIN, INT64_MAX);
    query_get_blob(q, 1, peer->public_key, sizeof peer->public_key);
    query_get_text(q, 2, peer->name, sizeof peer->name);
    peer->role = (uint8_t)query_get_int(q, 3, 0, UINT8_MAX);
    peer->serial = (uint32_t)query_get_int(q, 4, 0, UINT32_MAX);
    query_get_blob(q, 5, peer->admission, sizeof peer->admission);
    peer->addr.family = (uint8_t)query_get_int(q, 6, 0, 6);
    query_get_blob(q, 7, peer->addr.ip, address_size(&peer->addr));
    peer->addr.port = (uint16_t)query_get_int(q, 8, 0, UINT16_MAX);
    peer->revoked = query_get_int(q, 9, 0, 1) != 0;
}

int store_peers(struct store *store, struct store_peer **list, size_t *count, struct err *err)
{
    struct rows rows = {.size = sizeof **list};
    struct query q;
    void *data = NULL;
    int rc;

    query_start(&q, store,
                "SELECT id, public_key, name, role, serial, admission, address_family, address,"
                " port, revoked FROM peers ORDER BY name, id");
    while (query_row(&q)) {
        struct store_peer *peer = rows_add(&rows, &q);
        if (peer != NULL)
            read_peer(&q, peer);
    }
    rc = rows_give(&rows, query_end(&q, err, "list the peers"), &data, count);
    if (rc == ERR_NONE)
        *list = data;
    return rc;
}
