#include "agent/io/instance_env.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/io/instance_secret.h"

#define FIXED_MAX (9 + 2 * VALUE_PORTS_MAX) /* variables of the agent's own */
#define NOTE_PROBE "@probe"                 /* no name of a port */

struct instance_env {
    size_t count;
    size_t room;
    bool failed;
    char **entries;
};

static void set(struct instance_env *env, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets NAME; a later value replaces an earlier one. */
static void set(struct instance_env *env, const char *name, const char *format, ...)
{
    size_t len = strlen(name);
    char *value = NULL;
    char *entry = NULL;
    va_list args;
    size_t i;
    int n;

    va_start(args, format);
    n = vasprintf(&value, format, args);
    va_end(args);
    if (n < 0 || asprintf(&entry, "%s=%s", name, value) < 0) {
        env->failed = true;
        if (n >= 0)
            free(value);
        return;
    }
    explicit_bzero(value, strlen(value)); /* it may be a secret */
    free(value);
    for (i = 0; i < env->count; i++)
        if (strncmp(env->entries[i], name, len) == 0 && env->entries[i][len] == '=')
            break;
    if (i == env->count && env->count == env->room) {
        env->failed = true;
        free(entry);
        return;
    }
    if (i == env->count)
        env->count++;
    else
        free(env->entries[i]);
    env->entries[i] = entry;
}

/* "PORT_ADMIN_API" of "admin-api". */
static void port_variable(const char *port, char *name, size_t size)
{
    size_t used = (size_t)snprintf(name, size, "PORT_");

    for (; *port != '\0' && used + 1 < size; port++)
        name[used++] = *port == '-' ? '_' : (char)toupper((unsigned char)*port);
    name[used] = '\0';
}

static void set_ports(struct instance_env *env, const struct value_port *ports, uint8_t count)
{
    char name[VALUE_PORT_NAME_MAX + 8];

    for (uint8_t i = 0; i < count; i++) {
        port_variable(ports[i].name, name, sizeof name);
        set(env, name, "%u", (unsigned)ports[i].port);
        if (i == 0)
            set(env, "PORT", "%u", (unsigned)ports[i].port);
        if (strcmp(ports[i].name, "metrics") == 0)
            set(env, "METRICS_PORT", "%u", (unsigned)ports[i].port);
    }
}

/* As sd_listen_fds_with_names(3). */
static void set_names(struct instance_env *env, const struct value_port *ports, uint8_t count)
{
    char names[VALUE_PORTS_MAX * VALUE_PORT_NAME_MAX + sizeof "probe"];
    size_t used = 0;

    for (uint8_t i = 0; i < count; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s:", ports[i].name);
    snprintf(names + used, sizeof names - used, "probe");
    set(env, "LISTEN_FDNAMES", "%s", names);
}

int instance_env_build(const struct uv_instances_config *config, const struct effect_start *effect,
                       const struct value_port *ports, uint8_t port_count, bool sockets,
                       const char *folder, struct instance_env **out, struct err *err)
{
    struct instance_env *env = calloc(1, sizeof *env);
    char host[ADDR_TEXT];
    char base[INSTANCE_MAX];

    if (env == NULL)
        goto err_memory;
    env->room = FIXED_MAX + effect->env.count;
    env->entries = calloc(env->room, sizeof *env->entries);
    if (env->entries == NULL)
        goto err_memory;
    addr_format_ip(&config->address, host);
    if (effect->workload->listen == DESIRED_LISTEN_ALL)
        snprintf(host, sizeof host, "0.0.0.0");
    else if (effect->workload->listen == DESIRED_LISTEN_LOCAL)
        snprintf(host, sizeof host, "127.0.0.1");
    set(env, "PATH", "%s", config->path);
    set(env, "HOME", "%s", folder);
    set(env, "LANG", "C.UTF-8");
    set(env, "NODE_NAME", "%s", config->node_name);
    effect_base(effect->instance, base);
    set(env, "INSTANCE", "%s", base);
    set(env, "HOST", "%s", host);
    if (effect->file_count > 0)
        set(env, "CONFIG_DIR", "%s/files/%s", config->run_dir, effect->instance);
    set_ports(env, ports, port_count);
    if (sockets)
        set_names(env, ports, port_count);
    for (size_t i = 0; i < effect->env.count; i++) {
        const struct desired_pair *pair = &effect->env.pairs[i];
        char *filled;
        int rc = instance_secret_text(config->identity, effect->desired, pair->value, &filled, err);
        if (rc != ERR_NONE) {
            instance_env_free(env);
            return rc;
        }
        set(env, pair->name, "%s", filled != NULL ? filled : pair->value);
        instance_secret_free(filled);
    }
    if (env->failed)
        goto err_memory;
    *out = env;
    return ERR_NONE;

err_memory:
    instance_env_free(env);
    return err_set(err, ERR_NOMEM, "build the environment of %s: %s", effect->instance,
                   err_text(ERR_NOMEM));
}

void instance_env_free(struct instance_env *env)
{
    if (env == NULL)
        return;
    for (size_t i = 0; env->entries != NULL && i < env->count; i++) {
        explicit_bzero(env->entries[i], strlen(env->entries[i]));
        free(env->entries[i]);
    }
    free(env->entries);
    free(env);
}

void instance_env_copy(const struct instance_env *env, const char **out, size_t max)
{
    size_t n = env->count < max ? env->count : max;

    for (size_t i = 0; i < n; i++)
        out[i] = env->entries[i];
    out[n] = NULL;
}

/* Half a number would be another port: what does not fit is left out. */
static bool add_note(char *note, size_t size, size_t *used, const char *name, uint16_t port)
{
    int n =
        snprintf(note + *used, size - *used, "%s%s=%u", *used > 0 ? "," : "", name, (unsigned)port);

    if (n < 0 || (size_t)n >= size - *used) {
        note[*used] = '\0';
        return false;
    }
    *used += (size_t)n;
    return true;
}

void instance_note_write(const struct value_port *ports, uint8_t port_count, uint16_t probe_port,
                         char *note, size_t size)
{
    size_t used = 0;

    note[0] = '\0';
    for (uint8_t i = 0; i < port_count; i++)
        if (!add_note(note, size, &used, ports[i].name, ports[i].port))
            return;
    if (probe_port != 0)
        add_note(note, size, &used, NOTE_PROBE, probe_port);
}

uint8_t instance_note_read(const char *note, struct value_port ports[VALUE_PORTS_MAX],
                           uint16_t *probe_port)
{
    uint8_t count = 0;

    *probe_port = 0;
    while (*note != '\0') {
        size_t len = strcspn(note, "=,");
        unsigned long port;
        char *end;
        if (note[len] != '=' || len == 0 || len >= VALUE_PORT_NAME_MAX)
            break;
        port = strtoul(note + len + 1, &end, 10);
        if (port == 0 || port > 65535 || (*end != ',' && *end != '\0'))
            break;
        if (len == strlen(NOTE_PROBE) && strncmp(note, NOTE_PROBE, len) == 0) {
            *probe_port = (uint16_t)port;
        } else {
            if (count == VALUE_PORTS_MAX)
                break;
            memset(&ports[count], 0, sizeof ports[count]);
            memcpy(ports[count].name, note, len);
            ports[count++].port = (uint16_t)port;
        }
        note = *end == ',' ? end + 1 : end;
    }
    return count;
}
