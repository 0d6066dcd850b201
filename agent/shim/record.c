/* Records and requests as text. */
#include "agent/shim/shim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION_LINE "covey-shim 1\n"

static const char *const states[SHIM_STATES] = {
    [SHIM_STARTING] = "starting", [SHIM_RUNNING] = "running", [SHIM_STOPPING] = "stopping",
    [SHIM_EXITED] = "exited",     [SHIM_FAILED] = "failed",
};

static const char *const exits[SHIM_EXITS] = {
    [SHIM_EXIT_NONE] = "none", [SHIM_EXIT_CODE] = "code", [SHIM_EXIT_SIGNAL] = "signal"};

static const char *const causes[SHIM_CAUSES] = {
    [SHIM_CAUSE_SELF] = "self", [SHIM_CAUSE_STOP] = "stop", [SHIM_CAUSE_DEADLINE] = "deadline"};

static const char *const requests[SHIM_REQUESTS] = {
    [SHIM_ASK_STATUS] = "status",   [SHIM_ASK_STOP] = "stop",
    [SHIM_ASK_EXTEND] = "extend",   [SHIM_ASK_ACKNOWLEDGE] = "acknowledge",
    [SHIM_ASK_PREPARE] = "prepare", [SHIM_ASK_NEXT] = "next",
};

/* One "key=value" line of a message, cut out of it. */
struct line {
    char key[32];
    char value[SHIM_TEXT_MAX];
};

/* Reads the next line from *@at and moves it on. 1: a line, 0: the end, ERR_INVALID is -1. A value
 * that is too long for any key of ours belongs to a key of somebody newer, and is cut. */
static int next_line(const char **at, const char *end, struct line *line)
{
    const char *stop;
    const char *equals;
    size_t key;
    size_t value;

    if (*at == end)
        return 0;
    stop = memchr(*at, '\n', (size_t)(end - *at));
    if (stop == NULL || memchr(*at, '\0', (size_t)(stop - *at)) != NULL)
        return -1;
    equals = memchr(*at, '=', (size_t)(stop - *at));
    if (equals == NULL)
        return -1;
    key = (size_t)(equals - *at);
    if (key == 0 || key >= sizeof line->key)
        return -1;
    memcpy(line->key, *at, key);
    line->key[key] = '\0';
    value = (size_t)(stop - equals) - 1;
    if (value >= sizeof line->value)
        value = sizeof line->value - 1;
    memcpy(line->value, equals + 1, value);
    line->value[value] = '\0';
    *at = stop + 1;
    return 1;
}

static int check_version(const char **at, const char *end)
{
    size_t len = sizeof VERSION_LINE - 1;

    if ((size_t)(end - *at) < len || memcmp(*at, VERSION_LINE, len - 2) != 0)
        return ERR_INVALID;
    if (memcmp(*at, VERSION_LINE, len) != 0)
        return ERR_VERSION;
    *at += len;
    return ERR_NONE;
}

static int read_i64(const char *text, int64_t low, int64_t high, int64_t *value)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || v < low || v > high)
        return ERR_INVALID;
    *value = v;
    return ERR_NONE;
}

static int read_int(const char *text, int *value)
{
    int64_t v;

    if (read_i64(text, INT32_MIN, INT32_MAX, &v) != ERR_NONE)
        return ERR_INVALID;
    *value = (int)v;
    return ERR_NONE;
}

static int read_u64(const char *text, uint64_t *value)
{
    char *end;
    unsigned long long v;

    errno = 0;
    v = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-')
        return ERR_INVALID;
    *value = v;
    return ERR_NONE;
}

static int read_name(const char *text, const char *const *names, int count, int *value)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(text, names[i]) == 0) {
            *value = i;
            return ERR_NONE;
        }
    }
    return ERR_INVALID;
}

const char *shim_state_name(enum shim_state state)
{
    return (unsigned)state < SHIM_STATES ? states[state] : "unknown";
}

size_t shim_record_encode(const struct shim_record *r, char buffer[SHIM_RECORD_MAX])
{
    int n = snprintf(buffer, SHIM_RECORD_MAX,
                     VERSION_LINE
                     "instance=%s\ngeneration=%" PRIu64 "\nnote=%s\nstate=%s\nshim_pid=%" PRId32
                     "\npid=%" PRId32 "\nstart_ticks=%" PRIu64 "\nstarted_ms=%" PRId64
                     "\nstarted_wall_ms=%" PRId64 "\nended_ms=%" PRId64 "\nended_wall_ms=%" PRId64
                     "\nexit=%s\nexit_value=%d\ncause=%s\ndeadline_ms=%" PRId64
                     "\nlog_lines=%" PRIu64 "\nlog_bytes=%" PRIu64 "\nlog_dropped=%" PRIu64
                     "\nlog_errnum=%d\nlog_binary=%" PRIu64 "\nleft=%d\nkilled=%d\ngarbage=%" PRIu64
                     "\nstandby=%" PRIu64 "\ncode=%d\nerrnum=%d\ntext=",
                     r->instance, r->generation, r->note, states[r->state], r->shim_pid, r->pid,
                     r->start_ticks, r->started_ms, r->started_wall_ms, r->ended_ms,
                     r->ended_wall_ms, exits[r->exit], r->exit_value, causes[r->cause],
                     r->deadline_ms, r->log_lines, r->log_bytes, r->log_dropped, r->log_errnum,
                     r->log_binary, r->left, r->killed, r->garbage, r->standby, r->code, r->errnum);
    size_t len = (size_t)n;

    /* The text may hold anything that a path can. */
    for (const char *p = r->text; *p != '\0'; p++)
        buffer[len++] = *p == '\n' ? ' ' : *p;
    buffer[len++] = '\n';
    return len;
}

static int record_line(const struct line *line, struct shim_record *r)
{
    const struct {
        const char *key;
        int64_t *value;
    } signed_keys[] = {
        {"started_ms", &r->started_ms},   {"started_wall_ms", &r->started_wall_ms},
        {"ended_ms", &r->ended_ms},       {"ended_wall_ms", &r->ended_wall_ms},
        {"deadline_ms", &r->deadline_ms},
    };
    const struct {
        const char *key;
        uint64_t *value;
    } unsigned_keys[] = {
        {"generation", &r->generation}, {"start_ticks", &r->start_ticks},
        {"log_lines", &r->log_lines},   {"log_dropped", &r->log_dropped},
        {"log_bytes", &r->log_bytes},   {"log_binary", &r->log_binary},
        {"garbage", &r->garbage},       {"standby", &r->standby},
    };
    const struct {
        const char *key;
        int *value;
    } int_keys[] = {
        {"shim_pid", &r->shim_pid}, {"pid", &r->pid},       {"exit_value", &r->exit_value},
        {"code", &r->code},         {"errnum", &r->errnum}, {"log_errnum", &r->log_errnum},
        {"left", &r->left},         {"killed", &r->killed},
    };
    const char *key = line->key;
    int which = 0;
    int rc;

    for (size_t i = 0; i < sizeof signed_keys / sizeof signed_keys[0]; i++) {
        if (strcmp(key, signed_keys[i].key) == 0)
            return read_i64(line->value, 0, INT64_MAX, signed_keys[i].value);
    }
    for (size_t i = 0; i < sizeof unsigned_keys / sizeof unsigned_keys[0]; i++) {
        if (strcmp(key, unsigned_keys[i].key) == 0)
            return read_u64(line->value, unsigned_keys[i].value);
    }
    for (size_t i = 0; i < sizeof int_keys / sizeof int_keys[0]; i++) {
        if (strcmp(key, int_keys[i].key) == 0)
            return read_int(line->value, int_keys[i].value);
    }
    if (strcmp(key, "instance") == 0) {
        if (!shim_instance_valid(line->value))
            return ERR_INVALID;
        snprintf(r->instance, sizeof r->instance, "%.*s", INSTANCE_MAX - 1, line->value);
    } else if (strcmp(key, "note") == 0) {
        snprintf(r->note, sizeof r->note, "%s", line->value);
    } else if (strcmp(key, "text") == 0) {
        snprintf(r->text, sizeof r->text, "%s", line->value);
    } else if (strcmp(key, "state") == 0) {
        rc = read_name(line->value, states, SHIM_STATES, &which);
        r->state = (enum shim_state)which;
        return rc;
    } else if (strcmp(key, "exit") == 0) {
        rc = read_name(line->value, exits, SHIM_EXITS, &which);
        r->exit = (enum shim_exit)which;
        return rc;
    } else if (strcmp(key, "cause") == 0) {
        rc = read_name(line->value, causes, SHIM_CAUSES, &which);
        r->cause = (enum shim_cause)which;
        return rc;
    }
    return ERR_NONE;
}

int shim_record_decode(const char *buffer, size_t len, struct shim_record *record)
{
    struct shim_record read = {.state = SHIM_STARTING};
    const char *at = buffer;
    const char *end = buffer + len;
    struct line line;
    int rc = check_version(&at, end);
    int more;

    if (rc != ERR_NONE)
        return rc;
    while ((more = next_line(&at, end, &line)) > 0) {
        if (record_line(&line, &read) != ERR_NONE)
            return ERR_INVALID;
    }
    if (more < 0 || read.instance[0] == '\0' || read.pid < 0 || read.shim_pid < 0)
        return ERR_INVALID;
    *record = read;
    return ERR_NONE;
}

size_t shim_request_encode(const struct shim_request *q, char buffer[SHIM_REQUEST_MAX])
{
    int n = snprintf(buffer, SHIM_REQUEST_MAX,
                     VERSION_LINE "request=%s\nsignal=%d\ntimeout_ms=%" PRId64
                                  "\ndeadline_ms=%" PRId64 "\nticket=%" PRIu64 "\n",
                     requests[q->type], q->signal, q->timeout_ms, q->deadline_ms, q->ticket);

    return (size_t)n;
}

int shim_request_decode(const char *buffer, size_t len, struct shim_request *request)
{
    struct shim_request read = {.timeout_ms = -1};
    const char *at = buffer;
    const char *end = buffer + len;
    struct line line;
    int which = -1;
    int rc = check_version(&at, end);
    int more;

    if (rc != ERR_NONE)
        return rc;
    while ((more = next_line(&at, end, &line)) > 0) {
        if (strcmp(line.key, "request") == 0)
            rc = read_name(line.value, requests, SHIM_REQUESTS, &which);
        else if (strcmp(line.key, "signal") == 0)
            rc = read_int(line.value, &read.signal);
        else if (strcmp(line.key, "timeout_ms") == 0)
            rc = read_i64(line.value, -1, SHIM_TIMEOUT_MAX_MS, &read.timeout_ms);
        else if (strcmp(line.key, "deadline_ms") == 0)
            rc = read_i64(line.value, 0, INT64_MAX, &read.deadline_ms);
        else if (strcmp(line.key, "ticket") == 0)
            rc = read_u64(line.value, &read.ticket);
        if (rc != ERR_NONE)
            return ERR_INVALID;
    }
    if (more < 0 || which < 0 || read.signal < 0 || read.signal > 64)
        return ERR_INVALID;
    read.type = (enum shim_request_type)which;
    *request = read;
    return ERR_NONE;
}
