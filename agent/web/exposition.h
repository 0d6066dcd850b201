/* Metrics as text: Prometheus' format 0.0.4 and OpenMetrics 1.0. Families first, then their
 * samples:
 *
 *   exposition_family(e, "covey_restarts_total", EXPOSITION_COUNTER, "Starts after the first.");
 *   exposition_sample(e, 3, "instance", "rest-api.0", NULL);
 */
#ifndef COVEY_WEB_EXPOSITION_H
#define COVEY_WEB_EXPOSITION_H

#include <stdbool.h>
#include <stddef.h>

struct exposition;

enum exposition_type { EXPOSITION_GAUGE, EXPOSITION_COUNTER };

/* NULL only when memory ran out. */
struct exposition *exposition_create(bool open_metrics);

/* @name and @help are borrowed until the next family. A counter's name ends in "_total". */
void exposition_family(struct exposition *e, const char *name, enum exposition_type type,
                       const char *help);

/* One sample of the present family; labels are pairs of name and value, ended by NULL. Values may
 * hold anything. */
void exposition_sample(struct exposition *e, double value, ...) __attribute__((sentinel));

/* Ends and frees @e. *text is the caller's (free). Errors: ERR_NOMEM. */
int exposition_finish(struct exposition *e, char **text, size_t *size);

/* The format that the header Accept (NULL is allowed) asks for, and its content type. */
bool exposition_wants_open_metrics(const char *accept);
const char *exposition_content_type(bool open_metrics);

#endif
