/* Flocks made by hand, as an agent would describe them: for tests of what people are shown. */
#ifndef COVEY_TESTS_STATUS_FIXTURE_H
#define COVEY_TESTS_STATUS_FIXTURE_H

#include "agent/core/status.h"
#include "agent/web/page.h"

#define STATUS_FIXTURE_NODES 20
#define STATUS_FIXTURE_NOW INT64_C(1795366962) /* 2026-11-22T17:02:42Z */

struct status_fixture {
    struct status status;
    bool outside; /* of any flock: the page gets NULL */
    struct status_node nodes[STATUS_FIXTURE_NODES];
    struct status_vip vips[STATUS_FIXTURE_NODES];
    struct status_app apps[4];
    struct status_instance instances[8];
    struct status_path paths[6];
    struct status_drift drifts[4];
    struct desired_foreign foreign[2];
    struct page_event events[8];
    size_t event_count;
};

/* @name: "healthy" (two Pis with the example workloads), "degraded" (one of them is dead and took
 * work with it), "empty" (one node, nothing pushed), "outside", "crowd" (20 nodes), "hostile"
 * (every text tries to be markup). False: there is none of that name. */
bool status_fixture(const char *name, struct status_fixture *fixture);

#endif
