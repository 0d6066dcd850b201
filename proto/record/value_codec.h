/* The values of records to and from bytes: msgpack arrays, one form per value, as in wire/codec.h.
 *
 *   head      [public key, name, role, serial, admission, address, version]
 *   node      [started, cpus, memory_mib, draining, gateway, [[label, value]...]]
 *   commit    [commit, state, applied, subject, reason]
 *   instance  [state, generation, pid, restarts, since, exit_code, [[name, port]...], reason]
 *   vip       [holding, epoch, since, reason, before, foreign MAC]; no MAC: empty
 *   clients   [ip and MAC, one after the other]
 *   voters    [number, [voter...]]
 *   adopted   [number]
 *   register  [kept]
 *   paths     [[from, hears, rtt_ms, loss_pct]...]
 *   turn      [number, inside, [replica...], [[node, number]...]]
 *   cron      [tick, node, number, attempt,
 *              [[tick, number, state, attempt, exit_code, started, ended]...]]
 *   suspend   [on, stamp, until, commit, by, reason]
 *   pool      [address, number, stamp]
 *   drift     [since, app, what]
 *
 * Strict: a value with a field more or fewer is not taken. Extension is by new keys, which older
 * agents keep and pass on without reading them.
 *
 * Encoding returns ERR_LIMIT if the value is longer than @cap, ERR_INVALID if decoding would refuse
 * it, with @len 0. In texts for people (subject, reason, version) what is no UTF-8 or a control
 * character is replaced. A buffer of RECORD_VALUE_MAX holds every value but that of a node with
 * many long labels. Decoding returns ERR_INVALID for what is malformed or out of the ranges of
 * value.h; the value is unspecified then. */
#ifndef COVEY_RECORD_VALUE_CODEC_H
#define COVEY_RECORD_VALUE_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "proto/record/value.h"
#include "proto/wire/keys.h"

int value_head_encode(const struct value_head *v, uint8_t *out, size_t cap, size_t *len);
int value_head_decode(const uint8_t *data, size_t len, struct value_head *v);

int value_node_encode(const struct value_node *v, uint8_t *out, size_t cap, size_t *len);
int value_node_decode(const uint8_t *data, size_t len, struct value_node *v);

int value_commit_encode(const struct value_commit *v, uint8_t *out, size_t cap, size_t *len);
int value_commit_decode(const uint8_t *data, size_t len, struct value_commit *v);

int value_instance_encode(const struct value_instance *v, uint8_t *out, size_t cap, size_t *len);
int value_instance_decode(const uint8_t *data, size_t len, struct value_instance *v);

int value_vip_encode(const struct value_vip *v, uint8_t *out, size_t cap, size_t *len);
int value_vip_decode(const uint8_t *data, size_t len, struct value_vip *v);

int value_clients_encode(const struct value_clients *v, uint8_t *out, size_t cap, size_t *len);
int value_clients_decode(const uint8_t *data, size_t len, struct value_clients *v);

int value_voters_encode(const struct value_voters *v, uint8_t *out, size_t cap, size_t *len);
int value_voters_decode(const uint8_t *data, size_t len, struct value_voters *v);

int value_adopted_encode(const struct value_adopted *v, uint8_t *out, size_t cap, size_t *len);
int value_adopted_decode(const uint8_t *data, size_t len, struct value_adopted *v);
int value_register_encode(const struct value_register *v, uint8_t *out, size_t cap, size_t *len);
int value_register_decode(const uint8_t *data, size_t len, struct value_register *v);

int value_keys_encode(const struct value_keys *v, uint8_t *out, size_t cap, size_t *len);
int value_keys_decode(const uint8_t *data, size_t len, struct value_keys *v);

int value_suspend_encode(const struct value_suspend *v, uint8_t *out, size_t cap, size_t *len);
int value_suspend_decode(const uint8_t *data, size_t len, struct value_suspend *v);

/* value_pool.c */
int value_pool_encode(const struct value_pool *v, uint8_t *out, size_t cap, size_t *len);
int value_pool_decode(const uint8_t *data, size_t len, struct value_pool *v);

int value_drift_encode(const struct value_drift *v, uint8_t *out, size_t cap, size_t *len);
int value_drift_decode(const uint8_t *data, size_t len, struct value_drift *v);

int value_paths_encode(const struct value_paths *v, uint8_t *out, size_t cap, size_t *len);
int value_paths_decode(const uint8_t *data, size_t len, struct value_paths *v);

/* value_work.c */
int value_turn_encode(const struct value_turn *v, uint8_t *out, size_t cap, size_t *len);
int value_turn_decode(const uint8_t *data, size_t len, struct value_turn *v);

int value_cron_encode(const struct value_cron *v, uint8_t *out, size_t cap, size_t *len);
int value_cron_decode(const uint8_t *data, size_t len, struct value_cron *v);

/* The admission that a head carries, and a head with that admission put in. */
void value_head_admission(const struct value_head *head, struct keys_admission *admission);
void value_head_admit(struct value_head *head, const struct keys_admission *admission);

#endif
