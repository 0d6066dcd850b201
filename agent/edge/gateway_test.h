/* Does the gateway keep its ARP cache by the last writer (docs/vip.md, rule 18)? Only a gateway
 * that does may say who holds an address. One round: name a MAC that nobody has as the address's,
 * ask the gateway for an echo, name ourselves, ask again. Where the last writer counts, the first
 * reply goes astray and the second comes here; an entry that was set by hand, a gateway that guards
 * its cache, and one that answers no echo requests come out otherwise. All frames of a round leave
 * together, so the address is astray for no longer than they are on the air. Pure: the caller sends
 * what gateway_test_step hands out and reports the replies. */
#ifndef COVEY_EDGE_GATEWAY_TEST_H
#define COVEY_EDGE_GATEWAY_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/mono.h"

#define GATEWAY_TEST_ROUND_MS 300 /* no reply is waited for longer */
#define GATEWAY_TEST_ROUNDS 12    /* then it has failed: frames are lost too often */
#define GATEWAY_TEST_ALIKE 2      /* rounds in a row decide, if the first reply tells the same */
#define GATEWAY_TEST_SILENT 3     /* so do rounds in a row that failed in any way */
#define GATEWAY_TEST_STEPS 5

enum gateway_test_action { /* what is sent, in this order */
                           GATEWAY_TEST_STRAY =
                               1,             /* write: the address is at a MAC that nobody has */
                           GATEWAY_TEST_OWN,  /* write: it is at ours */
                           GATEWAY_TEST_READ, /* an echo request, with .read */
};

struct gateway_test_step {
    enum gateway_test_action action;
    uint8_t read;
};

struct gateway_test {
    bool running;
    uint8_t round;          /* counted from 1 */
    uint8_t good, bad;      /* rounds in a row */
    bool astray, came_home; /* replies of this round: the first, the second */
    mono_t due;
};

enum gateway_test_result { GATEWAY_TEST_RUNS, GATEWAY_TEST_KEPT, GATEWAY_TEST_LOST };

/* gateway_test_step is due at once. */
void gateway_test_start(struct gateway_test *t, mono_t now);
void gateway_test_cancel(struct gateway_test *t); /* without a result */

/* At or after gateway_test_deadline: judges the round that ends, and begins the next one: *@count
 * of @steps are to be done. With a result the test has ended; the address is then to be announced
 * once more, whatever the last round has left behind. */
enum gateway_test_result gateway_test_step(struct gateway_test *t, mono_t now,
                                           struct gateway_test_step steps[GATEWAY_TEST_STEPS],
                                           size_t *count);

/* The reply to the read with this number. */
void gateway_test_answered(struct gateway_test *t, uint8_t read);

mono_t gateway_test_deadline(const struct gateway_test *t); /* MONO_NEVER: it does not run */

#endif
