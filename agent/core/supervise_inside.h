/* Shared by supervise.c and supervise_end.c alone. */
#ifndef COVEY_CORE_SUPERVISE_INSIDE_H
#define COVEY_CORE_SUPERVISE_INSIDE_H

#include "agent/core/supervise.h"

struct step {
    mono_t now;
    const struct supervise_event *event;
    struct rng *rng;
    struct supervise_out *out;
};

/* No process lives: starts one if that is wanted and nothing is missing for it. */
enum supervise_state supervise_start(struct supervise *m, const struct step *s);
void supervise_probes_end(struct supervise *m, const struct step *s);

/* A run ended by itself: its policy says what follows. */
enum supervise_state supervise_judge(struct supervise *m, const struct step *s);

/* EXITED, or START_FAILED, without an order to stop; and EXITED after one: that is no failure,
 * unless a probe gave the order. */
enum supervise_state supervise_exited(struct supervise *m, const struct step *s);
enum supervise_state supervise_exited_stopping(struct supervise *m, const struct step *s);

#endif
