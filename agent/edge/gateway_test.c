#include "agent/edge/gateway_test.h"

#include <string.h>

void gateway_test_start(struct gateway_test *t, mono_t now)
{
    memset(t, 0, sizeof *t);
    t->running = true;
    t->due = now;
}

void gateway_test_cancel(struct gateway_test *t)
{
    t->running = false;
}

static enum gateway_test_result judge(struct gateway_test *t)
{
    bool good = t->came_home && !t->astray;

    t->good = good ? (uint8_t)(t->good + 1) : 0;
    t->bad = good ? 0 : (uint8_t)(t->bad + 1);
    if (t->good == GATEWAY_TEST_ALIKE)
        return GATEWAY_TEST_KEPT;
    /* Without a second reply the address may still be astray: not for long. */
    if ((t->bad >= GATEWAY_TEST_ALIKE && t->astray) || t->bad >= GATEWAY_TEST_SILENT ||
        t->round == GATEWAY_TEST_ROUNDS)
        return GATEWAY_TEST_LOST;
    return GATEWAY_TEST_RUNS;
}

enum gateway_test_result gateway_test_step(struct gateway_test *t, mono_t now,
                                           struct gateway_test_step steps[GATEWAY_TEST_STEPS],
                                           size_t *count)
{
    enum gateway_test_result result = GATEWAY_TEST_RUNS;
    uint8_t first;

    *count = 0;
    if (!t->running || mono_before(now, t->due))
        return GATEWAY_TEST_RUNS;
    if (t->round > 0)
        result = judge(t);
    if (result != GATEWAY_TEST_RUNS) {
        t->running = false;
        return result;
    }
    first = (uint8_t)(2 * t->round);
    t->round++;
    t->astray = t->came_home = false;
    t->due = mono_add(now, GATEWAY_TEST_ROUND_MS);
    steps[0] = (struct gateway_test_step){.action = GATEWAY_TEST_STRAY};
    steps[1] = (struct gateway_test_step){.action = GATEWAY_TEST_READ, .read = first};
    /* Twice, for if it is lost the address stays astray until the next round. */
    steps[2] = steps[3] = (struct gateway_test_step){.action = GATEWAY_TEST_OWN};
    steps[4] =
        (struct gateway_test_step){.action = GATEWAY_TEST_READ, .read = (uint8_t)(first + 1)};
    *count = GATEWAY_TEST_STEPS;
    return GATEWAY_TEST_RUNS;
}

void gateway_test_answered(struct gateway_test *t, uint8_t read)
{
    if (!t->running || t->round == 0)
        return;
    if (read == 2 * (t->round - 1))
        t->astray = true;
    else if (read == 2 * (t->round - 1) + 1)
        t->came_home = true;
}

mono_t gateway_test_deadline(const struct gateway_test *t)
{
    return t->running ? t->due : MONO_NEVER;
}
