/* The inside of the world: keys_world.c (what happens on the air and in a node), keys_life.c (what
 * happens to nodes, what people do, what is seen). */
#ifndef COVEY_TESTS_KEYS_WORLD_INSIDE_H
#define COVEY_TESTS_KEYS_WORLD_INSIDE_H

#include "tests/sim/keys_world.h"

#define RECORDED_MAX 2048
#define EPOCHS_MAX 512
#define TAG_REPLAY 1
#define TAG_WRITE 1000 /* and the machine */

struct disk {
    struct keys_epoch epochs[KEYRING_EPOCHS];
    size_t epoch_count;
    struct keys_revocation revoked[KEYRING_REVOKED_MAX];
    size_t revoked_count;
};

struct machine {
    size_t identity; /* whose card it is: its own number, unless it is a copy */
    struct keys_identity keys;
    struct disk disk;  /* what survives a power cut */
    struct disk cache; /* and what a crash of the agent alone */
    struct channel *channel;
    struct keyring *ring;
    uint8_t version_max;
    mono_t ping;
    bool heard[WORLD_NODES_MAX]; /* a ping under the newest epoch, by identity */
    uint64_t life;
};

struct ping {
    uint64_t number;
};

/* Every epoch that was ever made, and who had been revoked then. */
struct made {
    uint32_t number;
    uint64_t mark;
    bool revoked[WORLD_NODES_MAX];
};

struct world {
    struct world_options options;
    struct simnet *net;
    struct rng *rng;
    struct keys_identity cluster;
    struct machine *machines;
    size_t count; /* copies included */
    bool revoked[WORLD_NODES_MAX];
    struct made made[EPOCHS_MAX];
    size_t made_count;
    bool *delivered;
    struct channel_datagram *recorded;
    size_t recorded_count;
    struct world_counts counts;
    struct keyring_out out;
    char broken[256];
};

void world_trace(const struct world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
node_id world_id(const struct world *w, size_t identity);
void world_secret(struct world *w, uint8_t secret[KEYS_EPOCH_SECRET]);
bool world_chance(struct world *w, double probability);
void world_arm(struct world *w, size_t machine);
void world_step(struct world *w, size_t machine, const struct keyring_event *event);

#endif
