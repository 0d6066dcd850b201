/* agentctl logs: lines of a workload's instances on all nodes, in the order of time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/agentctl/agentctl.h"

#define LINES_DEFAULT 100
#define LINES_MAX 10000
#define FOLLOW_MS 200
#define RETRY_MS 1000
#define PATH_SIZE 20480

struct logs {
    const struct context *context;
    const char *app;
    const char *node;
    const char *level;
    long lines; /* −1: not said; 0: all */
    long long since_ms;
    bool follow;
    bool previous;
    bool raw;
    bool any; /* line was printed */
    char *cursor;
    char *problem; /* that was told last */
};

/* ---- how a line looks ---- */

/* What a terminal would obey is not for a log to say. */
static void put_text(const char *text, size_t len)
{
    for (const char *c = text; c < text + len; c++) {
        unsigned char byte = (unsigned char)*c;
        /* U+0080 to U+009F are control characters too: C2 80 to C2 9F. */
        if (byte == 0xc2 && (unsigned char)c[1] >= 0x80 && (unsigned char)c[1] <= 0x9f) {
            putchar('?');
            c++;
        } else {
            putchar((byte < ' ' && byte != '\t') || byte == 0x7f ? '?' : *c);
        }
    }
}

static void put_string(const json_t *string)
{
    put_text(json_string_value(string), json_string_length(string));
}

static void put_value(const json_t *value)
{
    char *text;

    if (json_is_string(value)) {
        const char *s = json_string_value(value);
        bool plain = s[0] != '\0' && strpbrk(s, " \"=\t") == NULL;
        if (!plain)
            putchar('"');
        put_string(value);
        if (!plain)
            putchar('"');
        return;
    }
    /* 15 digits give every number back as it was written: 179.98, not 179.97999999999999. */
    text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    if (text != NULL)
        put_text(text, strlen(text));
    free(text);
}

/* The first of some keys that is a string, and which it was. */
static const json_t *first_string(const json_t *fields, const char *const *keys, const char **key)
{
    for (; *keys != NULL; keys++) {
        const json_t *value = json_object_get(fields, *keys);
        if (json_is_string(value)) {
            *key = *keys;
            return value;
        }
    }
    return NULL;
}

/* A line of JSON: level, message, then the other fields. */
static void put_fields(const char *level, const json_t *fields)
{
    static const char *const messages[] = {"msg", "message", "text", "event", NULL};
    static const char *const left_out[] = {"level", "severity", "lvl",        "loglevel",
                                           "time",  "ts",       "@timestamp", "timestamp"};
    const char *message_key = "";
    const json_t *message = first_string(fields, messages, &message_key);
    const char *key;
    json_t *value;

    printf("%-7s ", level);
    if (message != NULL)
        put_string(message);
    json_object_foreach((json_t *)fields, key, value)
    {
        bool shown = strcmp(key, message_key) != 0;
        for (size_t i = 0; i < sizeof left_out / sizeof left_out[0]; i++)
            shown = shown && strcmp(key, left_out[i]) != 0;
        if (!shown)
            continue;
        putchar(' ');
        put_text(key, strlen(key));
        putchar('=');
        put_value(value);
    }
}

static const char *color_of(const char *level, const char *stream)
{
    if (strcmp(level, "error") == 0 || strcmp(level, "fatal") == 0)
        return "\033[31m";
    if (strcmp(level, "warning") == 0 || strcmp(stream, "shim") == 0)
        return "\033[33m";
    return strcmp(level, "debug") == 0 || strcmp(level, "trace") == 0 ? "\033[2m" : NULL;
}

static void print_line(const struct logs *logs, const char *json, const json_t *line)
{
    const char *level = member_string(line, "level");
    const char *stream = member_string(line, "stream");
    const json_t *fields = json_object_get(line, "fields");
    const char *color = logs->context->color ? color_of(level, stream) : NULL;

    if (logs->context->json) {
        puts(json);
        return;
    }
    if (!logs->raw)
        printf("%s %s@%s ", member_string(line, "time"), member_string(line, "instance"),
               member_string(line, "node"));
    if (color != NULL)
        fputs(color, stdout);
    if (!logs->raw && strcmp(stream, "shim") == 0)
        fputs("agent-shim: ", stdout);
    if (json_is_object(fields) && !logs->raw)
        put_fields(level, fields);
    else
        put_string(json_object_get(line, "text"));
    puts(color != NULL ? "\033[0m" : "");
}

/* ---- asking ---- */

/* To standard error, once until it changes. */
static void tell_problems(struct logs *logs, const json_t *page)
{
    char *text = json_dumps(json_object_get(page, "problems"), JSON_COMPACT | JSON_ENCODE_ANY);
    const json_t *problem;
    size_t i;

    if (text != NULL && logs->problem != NULL && strcmp(text, logs->problem) == 0) {
        free(text);
        return;
    }
    fflush(stdout);
    json_array_foreach(json_object_get(page, "problems"), i, problem)
    {
        fprintf(stderr, "agentctl: %s\n", json_string_value(problem));
    }
    free(logs->problem);
    logs->problem = text;
}

/* Prints a page; *more: there is more already. */
static int print_page(struct logs *logs, char *text, bool *more, struct err *err)
{
    char *rest = NULL;

    *more = false;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        json_t *object = json_loads(line, JSON_ALLOW_NUL, NULL);
        if (object == NULL)
            return err_set(err, ERR_IO, "the agent's answer is no JSON");
        if (strcmp(member_string(object, "kind"), "LogPage") == 0) {
            free(logs->cursor);
            logs->cursor = strdup(member_string(object, "cursor"));
            *more = json_is_true(json_object_get(object, "more"));
            tell_problems(logs, object);
        } else {
            print_line(logs, line, object);
            logs->any = true;
        }
        json_decref(object);
    }
    fflush(stdout);
    return ERR_NONE;
}

static int ask(struct logs *logs, bool *more, struct err *err)
{
    char path[PATH_SIZE];
    char *text = NULL;
    int n = snprintf(
        path, sizeof path, "/v1/logs?name=%s&lines=%ld&since=%lld&follow=%d%s%s%s%s%s%s%s",
        logs->app, logs->lines, logs->since_ms, logs->follow, logs->previous ? "&previous=1" : "",
        logs->node != NULL ? "&node=" : "", logs->node != NULL ? logs->node : "",
        logs->level != NULL ? "&level=" : "", logs->level != NULL ? logs->level : "",
        logs->cursor != NULL ? "&after=" : "", logs->cursor != NULL ? logs->cursor : "");
    int rc;

    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(err, ERR_LIMIT, "too many instances: name one of them");
    rc = client_request(logs->context, "GET", path, NULL, NULL, &text, err);
    if (rc == ERR_NONE)
        rc = print_page(logs, text, more, err);
    free(text);
    return rc;
}

/* An agent that restarts is waited for by whoever follows: the cursor is good for the next one. */
static int run(struct logs *logs)
{
    const struct timespec pause = {.tv_nsec = FOLLOW_MS * 1000000L};
    const struct timespec retry = {.tv_sec = RETRY_MS / 1000};
    struct err err;
    bool more = true;
    bool away = false;

    while (more || logs->follow) {
        int rc = ask(logs, &more, &err);
        if (rc != ERR_NONE &&
            !(logs->follow && logs->cursor != NULL && (rc == ERR_UNREACHABLE || rc == ERR_TIMEOUT)))
            return fail(&err);
        if (rc != ERR_NONE && !away)
            fprintf(stderr, "agentctl: %s; waiting for it\n", err.text);
        away = rc != ERR_NONE;
        if (away)
            nanosleep(&retry, NULL);
        else if (!more && logs->follow)
            nanosleep(&pause, NULL);
    }
    if (logs->previous && !logs->any)
        fprintf(stderr, "agentctl: %s: no run that has ended has written a line\n", logs->app);
    return 0;
}

/* ---- arguments ---- */

/* "90s", "10m", "1h30m", "2d": seconds, or −1. */
static long long read_duration(const char *text)
{
    long long total = 0;

    while (*text != '\0') {
        char *end;
        long long n = *text >= '0' && *text <= '9' ? strtoll(text, &end, 10) : -1;
        int unit = n < 0         ? 0
                   : *end == 's' ? 1
                   : *end == 'm' ? 60
                   : *end == 'h' ? 3600
                   : *end == 'd' ? 86400
                                 : 0;
        if (unit == 0 || n > 100000000)
            return -1;
        total += n * unit;
        text = end + 1;
    }
    return total;
}

/* RFC 3339 ("2026-01-31T13:37:00Z", "…+01:00"), or the same without zone, seconds or time of day as
 * the local clock reads: milliseconds, or −1. */
static long long read_moment(const char *text)
{
    static const char *const forms[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M",
                                        "%Y-%m-%d %H:%M", "%Y-%m-%d"};

    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct tm tm = {.tm_isdst = -1};
        const char *end = strptime(text, forms[i], &tm);
        struct tm zone = {0};
        time_t seconds;
        long long ms = 0;
        if (end == NULL)
            continue;
        if (*end == '.') {
            size_t digits = strspn(++end, "0123456789");
            for (size_t d = 0; d < 3; d++)
                ms = ms * 10 + (d < digits ? end[d] - '0' : 0);
            end += digits;
        }
        if (*end == '\0')
            seconds = mktime(&tm);
        else if (strcmp(end, "Z") == 0)
            seconds = timegm(&tm);
        else if ((end = strptime(end, "%z", &zone)) != NULL && *end == '\0')
            seconds = timegm(&tm) - zone.tm_gmtoff;
        else
            continue;
        return seconds < 0 ? -1 : (long long)seconds * 1000 + ms;
    }
    return -1;
}

static bool read_since(const char *text, long long *ms)
{
    struct timespec now;
    long long ago = read_duration(text);

    clock_gettime(CLOCK_REALTIME, &now);
    *ms = ago >= 0 && *text != '\0' ? ((long long)now.tv_sec - ago) * 1000 + now.tv_nsec / 1000000
                                    : read_moment(text);
    return *ms > 0;
}

static bool read_lines(const char *text, long *lines)
{
    char *end;

    if (strcmp(text, "all") == 0 || strcmp(text, "-1") == 0) {
        *lines = 0;
        return true;
    }
    *lines = strtol(text, &end, 10);
    return end != text && *end == '\0' && *lines > 0 && *lines <= LINES_MAX;
}

static bool is_name(const char *text)
{
    return text[0] != '\0' && strlen(text) < 128 && strcspn(text, " ?#%&+,:~@") == strlen(text);
}

/* The value of an option, "--name VALUE" or "--name=VALUE"; NULL: this is another. */
static const char *option(const char *name, int argc, char **argv, int *i)
{
    size_t len = strlen(name);

    if (strcmp(argv[*i], name) == 0 && *i + 1 < argc)
        return argv[++*i];
    return strncmp(argv[*i], name, len) == 0 && argv[*i][len] == '=' ? argv[*i] + len + 1 : NULL;
}

static int read_arguments(struct logs *logs, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        const char *value;
        if (strcmp(argv[i], "-f") == 0 || strcmp(argv[i], "--follow") == 0) {
            logs->follow = true;
        } else if (strcmp(argv[i], "-p") == 0 || strcmp(argv[i], "--previous") == 0) {
            logs->previous = true;
        } else if (strcmp(argv[i], "--raw") == 0) {
            logs->raw = true;
        } else if ((value = option("-n", argc, argv, &i)) != NULL ||
                   (value = option("--tail", argc, argv, &i)) != NULL) {
            if (!read_lines(value, &logs->lines))
                return usage("logs", "-n: a number up to %d, or all, is expected", LINES_MAX);
        } else if ((value = option("--since", argc, argv, &i)) != NULL) {
            if (!read_since(value, &logs->since_ms))
                return usage("logs", "--since: a time such as 10m, 1h30m, 2d, "
                                     "2026-01-31T13:37:00Z or \"2026-01-31 13:37\" is expected");
        } else if ((value = option("--node", argc, argv, &i)) != NULL) {
            if (!is_name(value))
                return usage("logs", "\"%s\" is no name of a node", value);
            logs->node = value;
        } else if ((value = option("--level", argc, argv, &i)) != NULL) {
            if (!is_name(value))
                return usage("logs", "\"%s\" is no level", value);
            logs->level = value;
        } else if (argv[i][0] != '-' && logs->app == NULL) {
            logs->app = argv[i];
        } else {
            return usage("logs", "does not understand \"%s\"", argv[i]);
        }
    }
    if (logs->previous && logs->follow)
        return usage("logs", "-p: a run that has ended cannot be followed");
    if (logs->app == NULL)
        return usage("logs", "needs the name of a workload or of one of its instances");
    if (!is_name(logs->app))
        return usage("logs", "\"%s\" is no name of a workload", logs->app);
    if (logs->lines < 0) /* as journalctl: who says since when wants all of it */
        logs->lines = logs->since_ms > 0 ? 0 : LINES_DEFAULT;
    return 0;
}

int cmd_logs(const struct context *context, int argc, char **argv)
{
    struct logs logs = {.context = context, .lines = -1};
    int status = read_arguments(&logs, argc, argv);

    if (status == 0)
        status = run(&logs);
    free(logs.cursor);
    free(logs.problem);
    return status;
}
