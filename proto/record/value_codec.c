#include "proto/record/value_codec.h"

#include <string.h>

#include "proto/wire/codec_io.h"

static int finish(const struct pack *p, size_t *len)
{
    *len = p->full ? 0 : p->len;
    return p->full ? ERR_LIMIT : ERR_NONE;
}

static int finish_read(struct unpack *u)
{
    return unpack_end(u) == WIRE_OK ? ERR_NONE : ERR_INVALID;
}

/* A name, which is not to be altered. */
static bool plain(const char *text, size_t size)
{
    size_t len = strnlen(text, size);

    return len < size && text_valid(text, len);
}

static bool commit_valid(const char commit[COMMIT_TEXT])
{
    size_t len = strnlen(commit, COMMIT_TEXT);

    return len == 0 ||
           (len == COMMIT_TEXT - 1 && strspn(commit, "0123456789abcdef") == COMMIT_TEXT - 1);
}

static bool head_valid(const struct value_head *v)
{
    return strnlen(v->name, sizeof v->name) < sizeof v->name && name_valid(v->name) &&
           v->role >= VALUE_ROLE_AGENT && v->role <= VALUE_ROLE_WITNESS &&
           (v->addr.family == 0 || v->addr.family == 4 || v->addr.family == 6);
}

int value_head_encode(const struct value_head *v, uint8_t *out, size_t cap, size_t *len)
{
    struct pack p;

    *len = 0;
    if (!head_valid(v))
        return ERR_INVALID;
    pack_begin(&p, out, cap);
    pack_array(&p, 7);
    pack_bin(&p, v->public_key, sizeof v->public_key);
    pack_text(&p, v->name, sizeof v->name);
    pack_uint(&p, v->role);
    pack_uint(&p, v->serial);
    pack_bin(&p, v->admission, sizeof v->admission);
    pack_addr(&p, &v->addr);
    pack_text(&p, v->version, sizeof v->version);
    return finish(&p, len);
}

int value_head_decode(const uint8_t *data, size_t len, struct value_head *v)
{
    struct unpack u;

    unpack_begin(&u, data, len);
    unpack_fields(&u, 7);
    unpack_bytes(&u, v->public_key, sizeof v->public_key);
    unpack_text(&u, v->name, sizeof v->name);
    v->role = (uint8_t)unpack_uint(&u, VALUE_ROLE_AGENT, VALUE_ROLE_WITNESS);
    v->serial = (uint32_t)unpack_uint(&u, 0, UINT32_MAX);
    unpack_bytes(&u, v->admission, sizeof v->admission);
    unpack_addr(&u, &v->addr);
    unpack_text(&u, v->version, sizeof v->version);
    if (!head_valid(v))
        unpack_fail(&u, WIRE_BODY_VALUE);
    return finish_read(&u);
}

int value_node_encode(const struct value_node *v, uint8_t *out, size_t cap, size_t *len)
{
    struct pack p;

    *len = 0;
    if (v->label_count > VALUE_LABELS_MAX)
        return ERR_INVALID;
    pack_begin(&p, out, cap);
    pack_array(&p, 6);
    pack_int(&p, v->facts.started);
    pack_uint(&p, v->facts.cpus);
    pack_uint(&p, v->facts.memory_mib);
    pack_bool(&p, v->facts.draining);
    pack_bool(&p, v->facts.gateway);
    pack_array(&p, v->label_count);
    for (size_t i = 0; i < v->label_count; i++) {
        const struct value_label *label = &v->labels[i];
        if (!plain(label->key, sizeof label->key) || !plain(label->value, sizeof label->value))
            return ERR_INVALID;
        pack_array(&p, 2);
        pack_text(&p, label->key, sizeof label->key);
        pack_text(&p, label->value, sizeof label->value);
    }
    return finish(&p, len);
}

int value_node_decode(const uint8_t *data, size_t len, struct value_node *v)
{
    struct unpack u;

    unpack_begin(&u, data, len);
    unpack_fields(&u, 6);
    v->facts.started = unpack_int(&u, INT64_MIN, INT64_MAX);
    v->facts.cpus = (uint32_t)unpack_uint(&u, 0, UINT32_MAX);
    v->facts.memory_mib = (uint32_t)unpack_uint(&u, 0, UINT32_MAX);
    v->facts.draining = unpack_bool(&u);
    v->facts.gateway = unpack_bool(&u);
    v->label_count = (uint8_t)unpack_array(&u, VALUE_LABELS_MAX);
    for (size_t i = 0; i < v->label_count; i++) {
        unpack_fields(&u, 2);
        unpack_text(&u, v->labels[i].key, sizeof v->labels[i].key);
        unpack_text(&u, v->labels[i].value, sizeof v->labels[i].value);
    }
    return finish_read(&u);
}

int value_commit_encode(const struct value_commit *v, uint8_t *out, size_t cap, size_t *len)
{
    struct pack p;

    *len = 0;
    if (!commit_valid(v->commit) || !commit_valid(v->bad) || !commit_valid(v->next) ||
        v->state > VALUE_COMMIT_DIVERGED || v->health > VALUE_HEALTH_HELD)
        return ERR_INVALID;
    pack_begin(&p, out, cap);
    pack_array(&p, 8);
    pack_text(&p, v->commit, sizeof v->commit);
    pack_uint(&p, v->state);
    pack_uint(&p, v->health);
    pack_text(&p, v->bad, sizeof v->bad);
    pack_text(&p, v->next, sizeof v->next);
    pack_int(&p, v->applied);
    pack_text(&p, v->subject, sizeof v->subject);
    pack_text(&p, v->reason, sizeof v->reason);
    return finish(&p, len);
}

int value_commit_decode(const uint8_t *data, size_t len, struct value_commit *v)
{
    struct unpack u;

    unpack_begin(&u, data, len);
    unpack_fields(&u, 8);
    unpack_text(&u, v->commit, sizeof v->commit);
    v->state = (uint8_t)unpack_uint(&u, 0, VALUE_COMMIT_DIVERGED);
    v->health = (uint8_t)unpack_uint(&u, 0, VALUE_HEALTH_HELD);
    unpack_text(&u, v->bad, sizeof v->bad);
    unpack_text(&u, v->next, sizeof v->next);
    v->applied = unpack_int(&u, INT64_MIN, INT64_MAX);
    unpack_text(&u, v->subject, sizeof v->subject);
    unpack_text(&u, v->reason, sizeof v->reason);
    if (!commit_valid(v->commit) || !commit_valid(v->bad) || !commit_valid(v->next))
        unpack_fail(&u, WIRE_BODY_VALUE);
    return finish_read(&u);
}

int value_instance_encode(const struct value_instance *v, uint8_t *out, size_t cap, size_t *len)
{
    struct pack p;

    *len = 0;
    if (v->state < VALUE_WAITING || v->state > VALUE_COMPLETED || v->port_count > VALUE_PORTS_MAX)
        return ERR_INVALID;
    pack_begin(&p, out, cap);
    pack_array(&p, 8);
    pack_uint(&p, v->state);
    pack_uint(&p, v->generation);
    pack_uint(&p, v->pid);
    pack_uint(&p, v->restarts);
    pack_int(&p, v->since);
    pack_int(&p, v->exit_code);
    pack_array(&p, v->port_count);
    for (size_t i = 0; i < v->port_count; i++) {
        if (!plain(v->ports[i].name, sizeof v->ports[i].name))
            return ERR_INVALID;
        pack_array(&p, 2);
        pack_text(&p, v->ports[i].name, sizeof v->ports[i].name);
        pack_uint(&p, v->ports[i].port);
    }
    pack_text(&p, v->reason, sizeof v->reason);
    return finish(&p, len);
}

int value_instance_decode(const uint8_t *data, size_t len, struct value_instance *v)
{
    struct unpack u;

    unpack_begin(&u, data, len);
    unpack_fields(&u, 8);
    v->state = (uint8_t)unpack_uint(&u, VALUE_WAITING, VALUE_COMPLETED);
    v->generation = unpack_uint(&u, 0, UINT64_MAX);
    v->pid = (uint32_t)unpack_uint(&u, 0, UINT32_MAX);
    v->restarts = (uint32_t)unpack_uint(&u, 0, UINT32_MAX);
    v->since = unpack_int(&u, INT64_MIN, INT64_MAX);
    v->exit_code = (int32_t)unpack_int(&u, INT32_MIN, INT32_MAX);
    v->port_count = (uint8_t)unpack_array(&u, VALUE_PORTS_MAX);
    for (size_t i = 0; i < v->port_count; i++) {
        unpack_fields(&u, 2);
        unpack_text(&u, v->ports[i].name, sizeof v->ports[i].name);
        v->ports[i].port = (uint16_t)unpack_uint(&u, 0, UINT16_MAX);
    }
    unpack_text(&u, v->reason, sizeof v->reason);
    return finish_read(&u);
}

int value_vip_encode(const struct value_vip *v, uint8_t *out, size_t cap, size_t *len)
{
    struct pack p;

    pack_begin(&p, out, cap);
    pack_array(&p, 6);
    pack_bool(&p, v->holding);
    pack_uint(&p, v->epoch);
    pack_int(&p, v->since);
    pack_text(&p, v->reason, sizeof v->reason);
    pack_uint(&p, v->before.v);
    pack_bin(&p, v->foreign_mac, v->foreign ? sizeof v->foreign_mac : 0);
    return finish(&p, len);
}

int value_vip_decode(const uint8_t *data, size_t len, struct value_vip *v)
{
    const uint8_t *mac;
    struct unpack u;
    size_t size = 0;

    unpack_begin(&u, data, len);
    unpack_fields(&u, 6);
    v->holding = unpack_bool(&u);
    v->epoch = unpack_uint(&u, 0, UINT64_MAX);
    v->since = unpack_int(&u, INT64_MIN, INT64_MAX);
    unpack_text(&u, v->reason, sizeof v->reason);
    v->before.v = unpack_uint(&u, 0, UINT64_MAX);
    mac = unpack_bin(&u, 0, sizeof v->foreign_mac, &size);
    v->foreign = size == sizeof v->foreign_mac;
    memset(v->foreign_mac, 0, sizeof v->foreign_mac);
    if (mac != NULL && v->foreign)
        memcpy(v->foreign_mac, mac, sizeof v->foreign_mac);
    else if (size != 0)
        unpack_fail(&u, WIRE_BODY_VALUE);
    return finish_read(&u);
}

#define CLIENT_SIZE (sizeof(struct value_client)) /* of bytes alone: no padding */
_Static_assert(CLIENT_SIZE == 10, "written as it is");

int value_clients_encode(const struct value_clients *v, uint8_t *out, size_t cap, size_t *len)
{
    struct pack p;

    *len = 0;
    if (v->count > VALUE_CLIENTS_MAX)
        return ERR_INVALID;
    pack_begin(&p, out, cap);
    pack_array(&p, 1);
    pack_bin(&p, v->clients, v->count * CLIENT_SIZE);
    return finish(&p, len);
}

int value_clients_decode(const uint8_t *data, size_t len, struct value_clients *v)
{
    const uint8_t *bytes;
    struct unpack u;
    size_t size = 0;

    unpack_begin(&u, data, len);
    unpack_fields(&u, 1);
    bytes = unpack_bin(&u, 0, VALUE_CLIENTS_MAX * CLIENT_SIZE, &size);
    if (size % CLIENT_SIZE != 0)
        unpack_fail(&u, WIRE_BODY_VALUE);
    v->count = (uint8_t)(size / CLIENT_SIZE);
    if (bytes != NULL && size > 0)
        memcpy(v->clients, bytes, size - size % CLIENT_SIZE);
    return finish_read(&u);
}

int value_voters_encode(const struct value_voters *v, uint8_t *out, size_t cap, size_t *len)
{
    struct pack p;

    *len = 0;
    if (v->count > MSG_VOTERS_MAX)
        return ERR_INVALID;
    pack_begin(&p, out, cap);
    pack_array(&p, 2);
    pack_uint(&p, v->number);
    pack_array(&p, v->count);
    for (size_t i = 0; i < v->count; i++) {
        if (node_id_none(v->voters[i]))
            return ERR_INVALID;
        pack_uint(&p, v->voters[i].v);
    }
    return finish(&p, len);
}

int value_voters_decode(const uint8_t *data, size_t len, struct value_voters *v)
{
    struct unpack u;

    unpack_begin(&u, data, len);
    unpack_fields(&u, 2);
    v->number = (uint32_t)unpack_uint(&u, 0, UINT32_MAX);
    v->count = (uint8_t)unpack_array(&u, MSG_VOTERS_MAX);
    for (size_t i = 0; i < v->count; i++)
        v->voters[i].v = unpack_uint(&u, 1, UINT64_MAX);
    return finish_read(&u);
}

int value_adopted_encode(const struct value_adopted *v, uint8_t *out, size_t cap, size_t *len)
{
    struct pack p;

    pack_begin(&p, out, cap);
    pack_array(&p, 1);
    pack_uint(&p, v->number);
    return finish(&p, len);
}

int value_adopted_decode(const uint8_t *data, size_t len, struct value_adopted *v)
{
    struct unpack u;

    unpack_begin(&u, data, len);
    unpack_fields(&u, 1);
    v->number = (uint32_t)unpack_uint(&u, 0, UINT32_MAX);
    return finish_read(&u);
}

int value_register_encode(const struct value_register *v, uint8_t *out, size_t cap, size_t *len)
{
    struct pack p;

    pack_begin(&p, out, cap);
    pack_array(&p, 1);
    pack_bool(&p, v->kept);
    return finish(&p, len);
}

int value_register_decode(const uint8_t *data, size_t len, struct value_register *v)
{
    struct unpack u;

    unpack_begin(&u, data, len);
    unpack_fields(&u, 1);
    v->kept = unpack_bool(&u);
    return finish_read(&u);
}

int value_keys_encode(const struct value_keys *v, uint8_t *out, size_t cap, size_t *len)
{
    struct pack p;

    pack_begin(&p, out, cap);
    pack_array(&p, 2);
    pack_uint(&p, v->epoch);
    pack_bool(&p, v->holder);
    return finish(&p, len);
}

int value_keys_decode(const uint8_t *data, size_t len, struct value_keys *v)
{
    struct unpack u;

    unpack_begin(&u, data, len);
    unpack_fields(&u, 2);
    v->epoch = (uint32_t)unpack_uint(&u, 0, UINT32_MAX);
    v->holder = unpack_bool(&u);
    return finish_read(&u);
}

void value_head_admission(const struct value_head *head, struct keys_admission *admission)
{
    memset(admission, 0, sizeof *admission);
    memcpy(admission->public_key, head->public_key, KEYS_PUBLIC);
    memcpy(admission->name, head->name, sizeof admission->name);
    admission->role = head->role;
    admission->serial = head->serial;
    memcpy(admission->signature, head->admission, KEYS_SIGNATURE);
}

void value_head_admit(struct value_head *head, const struct keys_admission *admission)
{
    memcpy(head->public_key, admission->public_key, KEYS_PUBLIC);
    memcpy(head->name, admission->name, sizeof head->name);
    head->role = admission->role;
    head->serial = admission->serial;
    memcpy(head->admission, admission->signature, KEYS_SIGNATURE);
}

static bool paths_ascend(const struct value_paths *v)
{
    for (size_t i = 0; i < v->count; i++)
        if (node_id_none(v->paths[i].from) || v->paths[i].loss_pct > 100 ||
            (i > 0 && v->paths[i].from.v <= v->paths[i - 1].from.v))
            return false;
    return true;
}

int value_paths_encode(const struct value_paths *v, uint8_t *out, size_t cap, size_t *len)
{
    struct pack p;

    *len = 0;
    if (v->count > VALUE_PATHS_MAX || !paths_ascend(v))
        return ERR_INVALID;
    pack_begin(&p, out, cap);
    pack_array(&p, v->count);
    for (size_t i = 0; i < v->count; i++) {
        pack_array(&p, 4);
        pack_uint(&p, v->paths[i].from.v);
        pack_bool(&p, v->paths[i].hears);
        pack_uint(&p, v->paths[i].rtt_ms);
        pack_uint(&p, v->paths[i].loss_pct);
    }
    return finish(&p, len);
}

int value_paths_decode(const uint8_t *data, size_t len, struct value_paths *v)
{
    struct unpack u;
    int rc;

    unpack_begin(&u, data, len);
    v->count = (uint8_t)unpack_array(&u, VALUE_PATHS_MAX);
    for (size_t i = 0; i < v->count; i++) {
        unpack_fields(&u, 4);
        v->paths[i].from.v = unpack_uint(&u, 1, UINT64_MAX);
        v->paths[i].hears = unpack_bool(&u);
        v->paths[i].rtt_ms = (uint16_t)unpack_uint(&u, 0, UINT16_MAX);
        v->paths[i].loss_pct = (uint8_t)unpack_uint(&u, 0, 100);
    }
    rc = finish_read(&u);
    return rc == ERR_NONE && !paths_ascend(v) ? ERR_INVALID : rc;
}
