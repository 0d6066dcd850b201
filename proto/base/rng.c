#include "proto/base/rng.h"

#include <assert.h>

static uint64_t splitmix64(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void rng_seed(struct rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        r->s[i] = splitmix64(&seed);
}

uint64_t rng_next(struct rng *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *r, uint64_t bound)
{
    uint64_t limit;
    uint64_t x;

    assert(bound > 0);
    /* Values from the incomplete last interval would favour small results. */
    limit = UINT64_MAX - UINT64_MAX % bound;
    do
        x = rng_next(r);
    while (x >= limit);
    return x % bound;
}

size_t rng_index(struct rng *r, size_t count)
{
    return (size_t)rng_below(r, count);
}

int64_t rng_range(struct rng *r, int64_t low, int64_t high)
{
    assert(low <= high);
    return low + (int64_t)rng_below(r, (uint64_t)(high - low) + 1);
}

double rng_unit(struct rng *r)
{
    return (double)(rng_next(r) >> 11) * 0x1.0p-53;
}
