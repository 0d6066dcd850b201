#include "workloads/lib/random.h"

#include <sys/random.h>
#include <time.h>
#include <unistd.h>

void random_seed(struct rng *rng)
{
    uint64_t seed;

    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        seed = ((uint64_t)now.tv_sec << 32 | (uint64_t)now.tv_nsec) ^ (uint64_t)getpid() << 48;
    }
    rng_seed(rng, seed);
}

void random_uuid(struct rng *rng, char text[UUID_TEXT])
{
    static const char hex[] = "0123456789abcdef";
    static const char form[UUID_TEXT] = "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx";
    uint64_t bits = 0;
    unsigned left = 0;

    for (unsigned i = 0; i < UUID_TEXT - 1; i++) {
        if (form[i] != 'x' && form[i] != 'y') {
            text[i] = form[i];
            continue;
        }
        if (left == 0) {
            bits = rng_next(rng);
            left = 16;
        }
        text[i] = hex[form[i] == 'y' ? (bits & 3) | 8 : bits & 15];
        bits >>= 4;
        left--;
    }
    text[UUID_TEXT - 1] = '\0';
}
