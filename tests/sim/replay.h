/* Recorded datagrams sent once more: none is accepted. */
#ifndef COVEY_TESTS_REPLAY_H
#define COVEY_TESTS_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

/* Prints what came of it; false when a replayed datagram was accepted. */
bool replay_run(uint64_t seed, bool json);

#endif
