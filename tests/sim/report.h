/* Figures of membership and records: detection, false alarms, traffic, spread of a change. */
#ifndef COVEY_TESTS_REPORT_H
#define COVEY_TESTS_REPORT_H

#include <stdint.h>

/* Prints the tables; @hours of node time per entry of the table of false alarms; @ring_max as in
 * membership_config. Returns 0. */
int report_run(uint64_t seed, double hours, uint32_t ring_max);

#endif
