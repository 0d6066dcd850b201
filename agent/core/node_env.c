/* Services: which endpoints are ready, and the environment that refers to them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"
#include "agent/desired/reference.h"
#include "proto/record/value_codec.h"

#define ENDPOINTS_MAX 64 /* ready endpoints of one workload that are looked at */
#define CHOICES_MAX 64   /* ways to render an environment that are looked at */

static uint16_t port_named(const struct value_port *ports, uint8_t count, const char *name)
{
    for (uint8_t i = 0; i < count; i++)
        if (strcmp(ports[i].name, name) == 0)
            return ports[i].port;
    return 0;
}

/* The value of the record of @replica on @peer, if it is ready. */
static bool ready_record(const struct node *node, const struct peer *peer,
                         const struct desired_workload *workload, uint32_t replica,
                         struct value_instance *value)
{
    char key[RECORD_KEY_MAX];
    struct record_view record;

    snprintf(key, sizeof key, "instance/%s.%u", workload->name, (unsigned)replica);
    if (records_get(node->records, peer->id, key, &record) != ERR_NONE)
        return false;
    return value_instance_decode(record.value, record.value_len, value) == ERR_NONE &&
           value->state == VALUE_READY;
}

struct endpoints {
    struct addr list[ENDPOINTS_MAX];
    unsigned count;
};

/* Adds the ready replicas on @peer; @port NULL: whatever their ports. */
static void add_ready(const struct node *node, const struct peer *peer,
                      const struct desired_workload *workload, const char *port,
                      struct endpoints *found)
{
    for (uint32_t r = 0; r < workload->replicas && found->count < ENDPOINTS_MAX; r++) {
        struct value_instance value;
        uint16_t number = 0;
        struct addr *endpoint = &found->list[found->count];
        if (!ready_record(node, peer, workload, r, &value))
            continue;
        if (port != NULL && (number = port_named(value.ports, value.port_count, port)) == 0)
            continue;
        *endpoint = peer->head.addr;
        if (workload->listen == DESIRED_LISTEN_LOCAL)
            *endpoint = (struct addr){.family = 4, .ip = {127, 0, 0, 1}};
        endpoint->port = number;
        found->count++;
    }
}

/* The most welcome first: those of this node, then by node id. */
static void find_ready(const struct node *node, const char *name, const char *port,
                       struct endpoints *found)
{
    const struct desired_workload *w =
        node->desired != NULL ? desired_workload(node->desired, name) : NULL;
    bool local_only = w != NULL && w->listen == DESIRED_LISTEN_LOCAL && port != NULL;

    found->count = 0;
    for (int others = 0; w != NULL && others <= 1; others++)
        for (size_t i = 0; i < node->peer_count; i++) {
            const struct peer *peer = &node->peers[i];
            if (peer->self == (others == 0) && node_peer_present(peer) && !(local_only && others))
                add_ready(node, peer, w, port, found);
        }
}

bool node_workload_ready(const struct node *node, const char *workload)
{
    struct endpoints found;

    find_ready(node, workload, NULL, &found);
    return found.count > 0;
}

/* Which of several endpoints each reference leads to: a number with one digit for each reference,
 * in the order in which they are rendered, to the base of how many endpoints it has. 0 is the most
 * welcome of each. */
struct choice {
    unsigned left; /* not 0 after the last reference: there is no such choice */
};

/* Text that grows. */
struct buffer {
    char *bytes;
    size_t used, room;
    bool no_memory;
    uint64_t sealed; /* of the sealed values that its texts name */
};

static void put(struct buffer *buffer, const char *text, size_t len)
{
    if (buffer->no_memory)
        return;
    if (len > buffer->room - buffer->used) {
        size_t room = 2 * buffer->room + len + 256;
        char *grown = realloc(buffer->bytes, room);
        if (grown == NULL) {
            buffer->no_memory = true;
            return;
        }
        buffer->bytes = grown;
        buffer->room = room;
    }
    memcpy(buffer->bytes + buffer->used, text, len);
    buffer->used += len;
}

static int put_service(struct node *node, struct instance *instance, struct choice *choice,
                       const struct reference *r, struct buffer *out)
{
    struct endpoints found;
    char text[ADDR_TEXT];

    find_ready(node, r->name, r->key, &found);
    if (found.count == 0) {
        snprintf(instance->reason, sizeof instance->reason,
                 "waits for a ready endpoint of %.64s/%.60s", r->name, r->key);
        return ERR_NOTFOUND;
    }
    addr_format(&found.list[choice->left % found.count], text);
    choice->left /= found.count;
    put(out, text, strlen(text));
    return ERR_NONE;
}

/* Stays a reference: whoever starts the process opens it. */
static void put_secret(const struct node *node, const struct reference *r, struct buffer *out)
{
    const struct desired_secret *secret = desired_secret(node->desired, r->name);
    const char *value = secret != NULL ? desired_map_get(&secret->data, r->key) : NULL;
    char text[sizeof r->name + sizeof r->key + 16];
    int len = snprintf(text, sizeof text, "${secret:%s/%s}", r->name, r->key);

    put(out, text, (size_t)len);
    out->sealed = hash64_mix(out->sealed, value != NULL ? hash64_string(value) : 1);
}

/* ERR_NOTFOUND: no ready endpoint. */
static int put_reference(struct node *node, struct instance *instance, struct choice *choice,
                         const struct reference *r, struct buffer *out)
{
    char address[ADDR_TEXT];
    const char *folder = node->config.files_dir != NULL ? node->config.files_dir : "files";

    switch (r->kind) {
    case REFERENCE_SERVICE:
        return put_service(node, instance, choice, r, out);
    case REFERENCE_NODE_NAME:
        put(out, node->config.head.name, strlen(node->config.head.name));
        break;
    case REFERENCE_NODE_ADDRESS:
        addr_format_ip(&node->config.head.addr, address);
        put(out, address, strlen(address));
        break;
    case REFERENCE_FILE:
        put(out, folder, strlen(folder));
        put(out, "/", 1);
        put(out, node_instance_process(instance), strlen(node_instance_process(instance)));
        put(out, "/", 1);
        put(out, r->key, strlen(r->key));
        break;
    default:
        put_secret(node, r, out);
        break;
    }
    return ERR_NONE;
}

/* Appends @text with its references filled in, and a zero; *at is where it begins. */
static int put_text(struct node *node, struct instance *instance, struct choice *choice,
                    const char *text, size_t max, struct buffer *out, size_t *at)
{
    struct reference r;
    size_t from = 0;
    int rc = ERR_NONE;

    *at = out->used;
    while (rc == ERR_NONE && reference_next(text, from, &r, NULL) == 1) {
        put(out, text + from, r.begin - from);
        rc = put_reference(node, instance, choice, &r, out);
        from = r.end;
    }
    if (rc == ERR_NONE)
        put(out, text + from, strlen(text + from) + 1);
    if (rc == ERR_NONE && out->used - *at > max)
        rc = ERR_LIMIT;
    return out->no_memory ? ERR_NOMEM : rc;
}

/* ---- a rendering ---- */

void node_rendering_free(struct rendering *r)
{
    free(r->text);
    free(r->offsets);
    free(r->env);
    free(r->args);
    free(r->files);
    *r = (struct rendering){.text = NULL};
}

static size_t args_count(const struct desired_workload *w)
{
    size_t count = 0;

    while (w->command[count] != NULL)
        count++;
    return count;
}

static int too_long(struct instance *instance, const char *what)
{
    snprintf(instance->reason, sizeof instance->reason, "%.64s is too long when it is rendered",
             what);
    return ERR_LIMIT;
}

/* What differs from the document is part of the generation. */
static void mix_rendered(struct rendering *r, const char *written, const char *rendered)
{
    if (strcmp(written, rendered) != 0)
        r->generation = hash64_mix(r->generation, hash64_string(rendered));
}

static int put_env(struct node *node, struct instance *instance, struct choice *choice,
                   struct buffer *out, struct rendering *r, size_t *n)
{
    const struct desired_map *env = &instance->workload->env;
    int rc = ERR_NONE;

    for (size_t i = 0; i < env->count && rc == ERR_NONE; i++) {
        r->offsets[*n] = out->used;
        put(out, env->pairs[i].name, strlen(env->pairs[i].name) + 1);
        rc = put_text(node, instance, choice, env->pairs[i].value, DESIRED_ENV_VALUE_MAX, out,
                      &r->offsets[*n + 1]);
        if (rc == ERR_NONE)
            mix_rendered(r, env->pairs[i].value, out->bytes + r->offsets[*n + 1]);
        *n += 2;
    }
    return rc == ERR_LIMIT ? too_long(instance, "the environment") : rc;
}

static int put_args(struct node *node, struct instance *instance, struct choice *choice,
                    struct buffer *out, struct rendering *r, size_t *n)
{
    const char *const *command = instance->workload->command;
    int rc = ERR_NONE;

    for (size_t i = 0; command[i] != NULL && rc == ERR_NONE; i++, (*n)++) {
        rc =
            put_text(node, instance, choice, command[i], DESIRED_CONTENT_MAX, out, &r->offsets[*n]);
        if (rc == ERR_NONE)
            mix_rendered(r, command[i], out->bytes + r->offsets[*n]);
    }
    return rc == ERR_LIMIT ? too_long(instance, "an argument") : rc;
}

/* Files whose change needs a restart belong to the generation; the others to r->contents. */
static int put_files(struct node *node, struct instance *instance, struct choice *choice,
                     bool restart, struct buffer *out, struct rendering *r)
{
    const struct desired_workload *w = instance->workload;
    size_t base = 2 * w->env.count + args_count(w);
    int rc = ERR_NONE;

    for (size_t i = 0; i < w->file_count && rc == ERR_NONE; i++) {
        const struct desired_content *file = &w->files[i];
        const char *text = file->text;
        if ((file->change == DESIRED_CHANGE_RESTART) != restart)
            continue;
        if (file->references) {
            rc = put_text(node, instance, choice, text, DESIRED_CONTENT_MAX, out,
                          &r->offsets[base + i]);
            if (rc != ERR_NONE)
                break;
            text = out->bytes + r->offsets[base + i];
            if (restart)
                mix_rendered(r, file->text, text);
        }
        if (!restart)
            r->contents = hash64_mix(
                hash64_mix(hash64_mix(r->contents, hash64_string(file->path)), out->sealed),
                hash64_mix(hash64_string(text), file->mode));
    }
    return rc == ERR_LIMIT ? too_long(instance, "a file") : rc;
}

/* Turns offsets into pointers, once the text moves no more. */
static int point(const struct desired_workload *w, struct rendering *r)
{
    size_t args = args_count(w), n = 0;

    r->env = calloc(w->env.count + 1, sizeof *r->env);
    r->args = calloc(args + 1, sizeof *r->args);
    r->files = calloc(w->file_count + 1, sizeof *r->files);
    if (r->env == NULL || r->args == NULL || r->files == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < w->env.count; i++, n += 2)
        r->env[i] = (struct desired_pair){r->text + r->offsets[n], r->text + r->offsets[n + 1]};
    for (size_t i = 0; i < args; i++)
        r->args[i] = r->text + r->offsets[n++];
    for (size_t i = 0; i < w->file_count; i++, n++) {
        r->files[i] = w->files[i];
        if (w->files[i].references)
            r->files[i].text = r->text + r->offsets[n];
    }
    r->env_count = w->env.count;
    r->file_count = w->file_count;
    return ERR_NONE;
}

/* Renders by @number (struct choice). ERR_NOTFOUND too where there is no such choice. */
static int render(struct node *node, struct instance *instance, unsigned number,
                  struct rendering *r)
{
    const struct desired_workload *w = instance->workload;
    struct choice choice = {number}, best = {0};
    struct buffer out = {0};
    size_t n = 0;
    int rc;

    *r = (struct rendering){.generation = w->generation, .contents = 1};
    r->offsets = calloc(2 * w->env.count + args_count(w) + w->file_count + 1, sizeof *r->offsets);
    rc = r->offsets != NULL ? ERR_NONE : ERR_NOMEM;
    if (rc == ERR_NONE)
        rc = put_env(node, instance, &choice, &out, r, &n);
    if (rc == ERR_NONE)
        rc = put_args(node, instance, &choice, &out, r, &n);
    if (rc == ERR_NONE)
        rc = put_files(node, instance, &choice, true, &out, r);
    if (rc == ERR_NONE && choice.left != 0)
        rc = ERR_NOTFOUND;
    if (rc == ERR_NONE)
        rc = put_files(node, instance, &best, false, &out, r);
    r->text = out.bytes;
    if (rc == ERR_NONE)
        rc = point(w, r);
    if (rc != ERR_NONE)
        node_rendering_free(r);
    return rc;
}

/* Looks for a way to render that leads to @running. */
static int prefer_running(struct node *node, struct instance *instance, uint64_t running,
                          struct rendering *best)
{
    for (unsigned number = 1; number < CHOICES_MAX && best->generation != running; number++) {
        struct rendering other;
        int rc = render(node, instance, number, &other);
        if (rc == ERR_NOMEM)
            return rc;
        if (rc != ERR_NONE)
            break;
        if (other.generation == running) {
            node_rendering_free(best);
            *best = other;
            break;
        }
        node_rendering_free(&other);
    }
    return ERR_NONE;
}

int node_env_render(struct node *node, struct instance *instance, uint64_t running,
                    uint64_t *generation)
{
    struct rendering *now = &instance->rendering;
    struct rendering best;
    int rc;

    if (!instance->workload->references && instance->rendered == node->desired_number) {
        *generation = now->generation;
        return ERR_NONE;
    }
    rc = render(node, instance, 0, &best);
    if (rc == ERR_NONE && running != 0)
        rc = prefer_running(node, instance, running, &best);
    if (rc != ERR_NONE) {
        if (instance->rendered != node->desired_number)
            now->file_count = 0; /* they may lie in a desired state that is gone */
        return rc;
    }
    /* An effect of this step may still borrow what is replaced. */
    node_keep(node, now->text);
    node_keep(node, now->env);
    node_keep(node, now->args);
    node_keep(node, now->files);
    free(now->offsets);
    *now = best;
    instance->rendered = node->desired_number;
    *generation = best.generation;
    return ERR_NONE;
}

static struct effect_files *files_effect(struct node *node, struct instance *instance)
{
    const struct rendering *r = &instance->rendering;
    struct effect *effect = node_effect(node, EFFECT_FILES);

    effect->files = (struct effect_files){.instance = node_instance_process(instance),
                                          .desired = node->desired,
                                          .workload = instance->workload,
                                          .files = r->files,
                                          .count = r->file_count,
                                          .all = r->generation == instance->machine.run_generation};
    instance->check_at = mono_add(node->now, NODE_DRIFT_MS);
    return &effect->files;
}

void node_env_deliver(struct node *node, struct instance *instance)
{
    const struct rendering *r = &instance->rendering;

    if (!supervise_alive(&instance->machine) || r->file_count == 0) {
        instance->check_at = MONO_NEVER;
        return;
    }
    if (mono_is_never(instance->check_at))
        instance->check_at = mono_add(node->now, NODE_DRIFT_MS);
    if (r->contents == instance->delivered)
        return;
    instance->delivered = r->contents;
    files_effect(node, instance);
}

void node_env_check(struct node *node, struct instance *instance)
{
    enum desired_drift drift;
    struct effect_files *files;

    instance->check_at = MONO_NEVER;
    if (instance->workload == NULL || !instance->placed || instance->rendering.file_count == 0 ||
        !supervise_alive(&instance->machine))
        return;
    drift = node_suspended(node, instance->workload->app) != NULL
                ? DESIRED_DRIFT_OFF
                : node_drift_mode(node, instance->workload->app);
    instance->check_at = mono_add(node->now, NODE_DRIFT_MS);
    if (drift == DESIRED_DRIFT_OFF)
        return;
    files = files_effect(node, instance);
    files->check = true;
    files->leave = drift == DESIRED_DRIFT_WARN;
    files->differ = instance->differ;
}
