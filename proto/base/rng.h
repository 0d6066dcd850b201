/* Seeded pseudo-random numbers (xoshiro256**, Blackman and Vigna 2018; seeded by splitmix64).
 * A state machine holds its own generator, so that a seed replays a run. Never for keys. */
#ifndef COVEY_BASE_RNG_H
#define COVEY_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_seed(struct rng *r, uint64_t seed);

uint64_t rng_next(struct rng *r);

/* Uniform in [0, bound); @bound > 0. */
uint64_t rng_below(struct rng *r, uint64_t bound);

/* The same of a place in an array, whose size a size_t is on every machine. */
size_t rng_index(struct rng *r, size_t count);

/* Uniform in [low, high], both included; low <= high. */
int64_t rng_range(struct rng *r, int64_t low, int64_t high);

/* Uniform in [0, 1). */
double rng_unit(struct rng *r);

#endif
