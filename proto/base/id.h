/* Value types that name things: nodes, addresses, leases, commits, workload instances. */
#ifndef COVEY_BASE_ID_H
#define COVEY_BASE_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

/* First 8 bytes, big endian, of the BLAKE2b-256 hash of the node's Ed25519 public key. Zero is no
 * node. */
typedef struct {
    uint64_t v;
} node_id;

#define NODE_NONE ((node_id){0})
/* Nodes that a flock may have: each table of them has room for so many. */
#define FLOCK_NODES_MAX 1024
#define NODE_ID_TEXT 17  /* 16 hexadecimal digits and the terminating zero */
#define NODE_NAME_MAX 63 /* bytes of a node's name: a DNS label (RFC 1123) */
#define COMMIT_TEXT 41   /* a SHA-1 commit id in hexadecimal, and the terminating zero */
#define INSTANCE_MAX 128 /* bytes of "app/workload.replica", terminating zero included */

static inline bool node_id_equal(node_id a, node_id b)
{
    return a.v == b.v;
}

static inline bool node_id_none(node_id a)
{
    return a.v == 0;
}

void node_id_format(node_id id, char text[NODE_ID_TEXT]);
int node_id_parse(const char *text, node_id *id); /* ERR_INVALID */

/* An IPv4 or IPv6 address with a port. family 0 is no address. */
struct addr {
    uint8_t family; /* 0, 4 or 6 */
    uint8_t ip[16]; /* network order; the first 4 bytes for IPv4 */
    uint16_t port;  /* host order */
};

#define ADDR_TEXT 56 /* "[ipv6]:65535" and the terminating zero */

bool addr_equal(const struct addr *a, const struct addr *b);
void addr_format(const struct addr *a, char text[ADDR_TEXT]);    /* "10.0.0.1:8801" */
void addr_format_ip(const struct addr *a, char text[ADDR_TEXT]); /* "10.0.0.1" */

/* Reads "10.0.0.1", "10.0.0.1:8801", "fe80::1" or "[fe80::1]:8801"; without a port it is
 * @default_port. No names are looked up. Errors: ERR_INVALID. */
int addr_parse(const char *text, uint16_t default_port, struct addr *a, struct err *err);

/* A lower-case DNS label: a-z, 0-9 and '-', not at the ends, 1 to 63 bytes (RFC 1123). */
bool name_valid(const char *name);

/* 64-bit FNV-1a hash, finished by splitmix64's mixer: for rendezvous hashing and lease ids, where
 * every node must come to the same number. Never for anything that an attacker may choose. */
uint64_t hash64(const void *data, size_t len);
uint64_t hash64_string(const char *text);
uint64_t hash64_mix(uint64_t a, uint64_t b);

#endif
