/* Configuration from the environment.
 *
 * Every reader returns a usable value, so that one run names all that is wrong: a variable that is
 * set but not acceptable yields its default and one line in `text`:
 *     PORT="abc": expected a whole number from 0 to 65535
 * A variable that is set to nothing counts as not set. A program reads everything, then asks
 * env_check and, when that is not 0, exits with it. */
#ifndef COVEY_WORKLOADS_ENV_H
#define COVEY_WORKLOADS_ENV_H

#include <stddef.h>
#include <stdint.h>

#define ENV_TEXT_MAX 2048 /* bytes of all complaints together; later ones are cut */
#define ENV_VALUE_MAX 4096
#define ENV_EXIT 2 /* exit code of a program that is configured wrongly */

struct env {
    unsigned problems;
    size_t len;
    char text[ENV_TEXT_MAX]; /* one line for each problem, terminated by a zero */
};

void env_init(struct env *env);

/* The returned text is the environment's own, or @fallback (which may be NULL). */
const char *env_string(struct env *env, const char *name, const char *fallback);

int64_t env_int(struct env *env, const char *name, int64_t fallback, int64_t min, int64_t max);

/* A plain decimal number: no infinity, no NaN, no hexadecimal. */
double env_real(struct env *env, const char *name, double fallback, double min, double max);

/* The index of the value among @choices, which ends with NULL. Case matters. */
size_t env_choice(struct env *env, const char *name, const char *const *choices, size_t fallback);

/* Adds "NAME="value": expected ..." for a rule that concerns more than the value's form. */
void env_problem(struct env *env, const char *name, const char *expected, ...)
    __attribute__((format(printf, 3, 4)));

/* 0, or, after writing every problem to stderr with @program before it, ENV_EXIT. */
int env_check(const struct env *env, const char *program);

#endif
