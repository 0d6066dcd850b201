#include "workloads/lib/env.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void env_init(struct env *env)
{
    *env = (struct env){0};
}

static void append(struct env *env, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void append(struct env *env, const char *format, va_list args)
{
    size_t room = sizeof env->text - env->len;
    int n = vsnprintf(env->text + env->len, room, format, args);

    if (n > 0)
        env->len += (size_t)n < room ? (size_t)n : room - 1;
}

static void append_format(struct env *env, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void append_format(struct env *env, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    append(env, format, args);
    va_end(args);
}

void env_problem(struct env *env, const char *name, const char *expected, ...)
{
    const char *value = getenv(name);
    va_list args;

    env->problems++;
    if (value == NULL)
        append_format(env, "%s: expected ", name);
    else
        append_format(env, "%s=\"%.80s%s\": expected ", name, value,
                      strlen(value) > 80 ? "..." : "");
    va_start(args, expected);
    append(env, expected, args);
    va_end(args);
    append_format(env, "\n");
}

/* The value where there is one of acceptable length. */
static const char *lookup(struct env *env, const char *name)
{
    const char *value = getenv(name);

    if (value == NULL || *value == '\0')
        return NULL;
    if (strlen(value) > ENV_VALUE_MAX) {
        env_problem(env, name, "at most %d bytes", ENV_VALUE_MAX);
        return NULL;
    }
    return value;
}

const char *env_string(struct env *env, const char *name, const char *fallback)
{
    const char *value = lookup(env, name);
    return value == NULL ? fallback : value;
}

int64_t env_int(struct env *env, const char *name, int64_t fallback, int64_t min, int64_t max)
{
    const char *value = lookup(env, name);
    char *end;
    long long number;

    if (value == NULL)
        return fallback;
    errno = 0;
    number = strtoll(value, &end, 10);
    if (errno != 0 || *end != '\0' || strspn(value, "-0123456789") != strlen(value) ||
        number < min || number > max) {
        env_problem(env, name, "a whole number from %lld to %lld", (long long)min, (long long)max);
        return fallback;
    }
    return number;
}

double env_real(struct env *env, const char *name, double fallback, double min, double max)
{
    const char *value = lookup(env, name);
    char *end;
    double number;

    if (value == NULL)
        return fallback;
    number = strtod(value, &end);
    if (*end != '\0' || strspn(value, "-.0123456789") != strlen(value) || !isfinite(number) ||
        number < min || number > max) {
        env_problem(env, name, "a number from %g to %g", min, max);
        return fallback;
    }
    return number;
}

size_t env_choice(struct env *env, const char *name, const char *const *choices, size_t fallback)
{
    const char *value = lookup(env, name);
    char list[256];
    size_t used = 0;

    if (value == NULL)
        return fallback;
    list[0] = '\0';
    for (size_t i = 0; choices[i] != NULL; i++) {
        int n;
        if (strcmp(value, choices[i]) == 0)
            return i;
        n = snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", choices[i]);
        if (n > 0 && (size_t)n < sizeof list - used)
            used += (size_t)n;
    }
    env_problem(env, name, "one of %s", list);
    return fallback;
}

int env_check(const struct env *env, const char *program)
{
    const char *line = env->text;

    if (env->problems == 0)
        return 0;
    while (*line != '\0') {
        size_t len = strcspn(line, "\n");
        fprintf(stderr, "%s: %.*s\n", program, (int)len, line);
        line += len + (line[len] == '\n');
    }
    return ENV_EXIT;
}
