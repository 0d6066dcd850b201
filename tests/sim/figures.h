/* The figures of membership: each scenario measures one of them, of ours or of memberlist's model.
 * Goals stand in docs/membership.md. */
#ifndef COVEY_TESTS_FIGURES_H
#define COVEY_TESTS_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct figure_request {
    size_t nodes;
    double loss;
    double hours; /* of all nodes together, where the figure wants them; negative: its default */
    uint64_t first, last;
    uint32_t ring_max; /* 0: as membership has it */
    bool peer;         /* memberlist's model instead of ours */
    bool json;
};

struct figure {
    const char *name;
    const char *help;
    size_t nodes;
    double hours;
    bool (*play)(const struct figure_request *request); /* prints; false: something did not hold */
};

extern const struct figure figures[];
extern const size_t figure_count;

#endif
