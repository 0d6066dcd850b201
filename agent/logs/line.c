#include "agent/logs/line.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define WORD_LOOK 96 /* bytes from a line's beginning in which a word tells its level */
#define PINO_STEP 10 /* trace is 10, fatal 60 */

static const char *const streams[LOG_STREAMS] = {
    [LOG_STDOUT] = "stdout", [LOG_STDERR] = "stderr", [LOG_SHIM] = "shim", [LOG_RUN] = "run"};

static const char *const levels[LOG_LEVELS] = {
    "",
    [LOG_TRACE] = "trace",
    [LOG_DEBUG] = "debug",
    [LOG_INFO] = "info",
    [LOG_WARNING] = "warning",
    [LOG_ERROR] = "error",
    [LOG_FATAL] = "fatal",
};

static const struct {
    const char *name;
    enum log_level level;
} names[] = {
    {"trace", LOG_TRACE}, {"debug", LOG_DEBUG}, {"info", LOG_INFO},       {"information", LOG_INFO},
    {"notice", LOG_INFO}, {"log", LOG_INFO},    {"warn", LOG_WARNING},    {"warning", LOG_WARNING},
    {"error", LOG_ERROR}, {"err", LOG_ERROR},   {"critical", LOG_FATAL},  {"crit", LOG_FATAL},
    {"alert", LOG_FATAL}, {"emerg", LOG_FATAL}, {"emergency", LOG_FATAL}, {"fatal", LOG_FATAL},
    {"panic", LOG_FATAL},
};

const char *log_stream_name(enum log_stream stream)
{
    return (unsigned)stream < LOG_STREAMS ? streams[stream] : "unknown";
}

const char *log_level_name(enum log_level level)
{
    return (unsigned)level < LOG_LEVELS ? levels[level] : "unknown";
}

enum log_level log_level_find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i].name) == len && strncasecmp(name, names[i].name, len) == 0)
            return names[i].level;
    return 0;
}

/* ---- time ---- */

static bool read_digits(const char *text, int count, int low, int high, int *value)
{
    *value = 0;
    for (int i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *value = *value * 10 + (text[i] - '0');
    }
    return *value >= low && *value <= high;
}

bool log_time_read(const char text[LOG_STAMP], int64_t *ms)
{
    static const char form[] = "    -  -  T  :  :  .   Z";
    struct tm tm = {0};
    int milli;

    for (int i = 0; i < LOG_STAMP; i++)
        if (form[i] != ' ' && form[i] != text[i])
            return false;
    if (!read_digits(text, 4, 1970, 9999, &tm.tm_year) ||
        !read_digits(text + 5, 2, 1, 12, &tm.tm_mon) ||
        !read_digits(text + 8, 2, 1, 31, &tm.tm_mday) ||
        !read_digits(text + 11, 2, 0, 23, &tm.tm_hour) ||
        !read_digits(text + 14, 2, 0, 59, &tm.tm_min) ||
        !read_digits(text + 17, 2, 0, 60, &tm.tm_sec) || !read_digits(text + 20, 3, 0, 999, &milli))
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ms = (int64_t)timegm(&tm) * 1000 + milli;
    return true;
}

void log_time_write(int64_t ms, char text[LOG_STAMP + 1])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm = {0};
    char whole[sizeof "2026-01-31T13:37:00"];

    text[0] = '\0';
    if (ms >= 0 && gmtime_r(&seconds, &tm) != NULL &&
        strftime(whole, sizeof whole, "%Y-%m-%dT%H:%M:%S", &tm) > 0)
        snprintf(text, LOG_STAMP + 1, "%s.%03dZ", whole, (int)(ms % 1000));
}

/* ---- frames ---- */

bool log_frame_read(const char *data, size_t len, struct log_frame *frame)
{
    const char *end = data + len;
    const char *at = data + LOG_STAMP + 1;
    size_t name;

    if (len < LOG_STAMP + 1 || data[LOG_STAMP] != ' ' || !log_time_read(data, &frame->time_ms))
        return false;
    for (int s = 0; s < LOG_STREAMS; s++) {
        name = strlen(streams[s]);
        if ((size_t)(end - at) >= name + 3 && memcmp(at, streams[s], name) == 0 &&
            at[name] == ' ' && (at[name + 1] == 'F' || at[name + 1] == 'P') &&
            at[name + 2] == ' ') {
            frame->stream = (enum log_stream)s;
            frame->part = at[name + 1] == 'P';
            frame->text = at + name + 3;
            frame->len = (size_t)(end - frame->text);
            return true;
        }
    }
    return false;
}

/* ---- levels ---- */

static enum log_level level_of_json(const char *text, size_t len)
{
    static const char *const keys[] = {"level", "severity", "lvl", "loglevel"};
    json_t *document = json_loadb(text, len, JSON_ALLOW_NUL, NULL);
    enum log_level level = 0;

    for (size_t i = 0; level == 0 && i < sizeof keys / sizeof keys[0]; i++) {
        const json_t *value = json_object_get(document, keys[i]);
        json_int_t number = json_integer_value(value) / PINO_STEP;
        if (json_is_string(value))
            level = log_level_find(json_string_value(value), json_string_length(value));
        else if (json_is_integer(value) && number >= LOG_TRACE && number <= LOG_FATAL)
            level = (enum log_level)number;
    }
    json_decref(document);
    return level;
}

static size_t letters(const char *text, size_t len)
{
    size_t n = 0;

    while (n < len && isalpha((unsigned char)text[n]))
        n++;
    return n;
}

static bool all_upper(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!isupper((unsigned char)text[i]))
            return false;
    return len > 0;
}

/* level=error, lvl="warn" */
static enum log_level level_of_logfmt(const char *text, size_t len)
{
    static const char *const keys[] = {"level=", "lvl="};

    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
        size_t key = strlen(keys[k]);
        const char *at = memmem(text, len, keys[k], key);
        size_t left;
        if (at == NULL || (at > text && at[-1] != ' '))
            continue;
        at += key;
        left = len - (size_t)(at - text);
        if (left > 0 && *at == '"') {
            at++;
            left--;
        }
        return log_level_find(at, letters(at, left));
    }
    return 0;
}

/* A word stands for a level if it is written like one: ERROR, [error], error: at the beginning. */
static enum log_level level_of_words(const char *text, size_t len)
{
    size_t look = len < WORD_LOOK ? len : WORD_LOOK;

    for (size_t at = 0; at < look;) {
        size_t n = letters(text + at, len - at);
        char before = at > 0 ? text[at - 1] : ' ';
        char after = at + n < len ? text[at + n] : ' ';
        enum log_level level = n > 0 ? log_level_find(text + at, n) : 0;
        bool bracketed = before == '[' && after == ']';
        bool shouted = all_upper(text + at, n) && strchr(" [(|\t", before) != NULL &&
                       strchr(" ]):|\t-", after) != NULL;
        if (level != 0 && after != '\0' && (bracketed || shouted || (at == 0 && after == ':')))
            return level;
        at += n > 0 ? n : 1;
    }
    return 0;
}

enum log_level log_level_of(const char *text, size_t len)
{
    static const enum log_level syslog[8] = {LOG_FATAL,   LOG_FATAL, LOG_FATAL, LOG_ERROR,
                                             LOG_WARNING, LOG_INFO,  LOG_INFO,  LOG_DEBUG};
    enum log_level level;

    if (len > 0 && text[0] == '{')
        return level_of_json(text, len);
    if (len >= 3 && text[0] == '<' && text[1] >= '0' && text[1] <= '7' && text[2] == '>')
        return syslog[text[1] - '0'];
    level = level_of_logfmt(text, len);
    return level != 0 ? level : level_of_words(text, len);
}
