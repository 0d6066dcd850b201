/* The environment of a workload instance, and the note that its shim keeps about its ports. */
#ifndef COVEY_IO_INSTANCE_ENV_H
#define COVEY_IO_INSTANCE_ENV_H

#include "agent/core/effect.h"
#include "agent/io/uv_instances.h"
#include "proto/base/err.h"
#include "proto/record/value.h"

struct instance_env;

/* @sockets: its ports are passed as listening sockets, and one more for probes behind them.
 * PATH, HOME (@folder), LANG, NODE_NAME, INSTANCE, HOST, PORT (the first port), METRICS_PORT (the
 * port of that name), PORT_<NAME>, LISTEN_FDNAMES (with @sockets), then the effect's variables,
 * which win, with the secrets that they name. Freed by instance_env_free. Errors: ERR_NOMEM, those
 * of instance_secret_text. */
int instance_env_build(const struct uv_instances_config *config, const struct effect_start *effect,
                       const struct value_port *ports, uint8_t port_count, bool sockets,
                       const char *folder, struct instance_env **env, struct err *err);
void instance_env_free(struct instance_env *env); /* NULL is allowed */

/* "NAME=value" pointers into @env, at most @max, NULL behind them (@out has room for max + 1). */
void instance_env_copy(const struct instance_env *env, const char **out, size_t max);

/* "http=5000,metrics=8001,@probe=40001": what a restarted agent must know. */
void instance_note_write(const struct value_port *ports, uint8_t port_count, uint16_t probe_port,
                         char *note, size_t size);
uint8_t instance_note_read(const char *note, struct value_port ports[VALUE_PORTS_MAX],
                           uint16_t *probe_port);

#endif
