/* The specification of a run: strings "key=value", each ended by a zero byte, which neither an
 * argument nor a variable can hold. */
#include "agent/shim/shim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION "covey-shim-spec 2"
#define OOM_SCORE_OFFSET 1000 /* numbers are written without a sign */

bool shim_instance_valid(const char *instance)
{
    size_t len = strlen(instance);

    return len > 0 && len < INSTANCE_MAX && instance[0] != '.' && instance[0] != '/' &&
           strspn(instance, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/") ==
               len;
}

void shim_instance_file(const char *instance, char name[INSTANCE_MAX])
{
    size_t i = 0;

    for (; instance[i] != '\0' && i < INSTANCE_MAX - 1; i++)
        name[i] = instance[i] == '/' ? '@' : instance[i];
    name[i] = '\0';
}

static int check(const struct shim_spec *s, struct err *err)
{
    if (s->instance == NULL || !shim_instance_valid(s->instance))
        return err_set(err, ERR_INVALID,
                       "an instance's name has 1 to %d of a-z, A-Z, 0-9, '.', '_', '-', '/', and "
                       "begins with none of './'",
                       INSTANCE_MAX - 1);
    if (s->dir == NULL || s->dir[0] != '/' || (s->log_dir != NULL && s->log_dir[0] != '/'))
        return err_set(err, ERR_INVALID, "instance %s: its folders must be absolute paths",
                       s->instance);
    if (s->note != NULL && (strlen(s->note) >= SHIM_NOTE_MAX || strchr(s->note, '\n') != NULL))
        return err_set(err, ERR_INVALID, "instance %s: its note is no line shorter than %d bytes",
                       s->instance, SHIM_NOTE_MAX);
    if (s->argv[0] == NULL || s->argv[0][0] == '\0')
        return err_set(err, ERR_INVALID, "instance %s has no command", s->instance);
    if (s->stop_signal < 1 || s->stop_signal > 64)
        return err_set(err, ERR_INVALID, "instance %s: %d is no signal to stop by", s->instance,
                       s->stop_signal);
    if (s->stop_timeout_ms < 0 || s->stop_timeout_ms > SHIM_TIMEOUT_MAX_MS)
        return err_set(err, ERR_INVALID,
                       "instance %s: a stop may take from 0 to %d ms, not %" PRId64, s->instance,
                       SHIM_TIMEOUT_MAX_MS, s->stop_timeout_ms);
    if (s->group_count > SHIM_GROUPS_MAX || s->log_files > SHIM_LOG_FILES_MAX)
        return err_set(err, ERR_LIMIT, "instance %s: more than %d groups or %d log files",
                       s->instance, SHIM_GROUPS_MAX, SHIM_LOG_FILES_MAX);
    if (s->oom_score < -1000 || s->oom_score > 1000 || s->listen > SHIM_LISTEN_MAX ||
        s->pre_start.timeout_ms < 0 || s->post_stop.timeout_ms < 0)
        return err_set(err, ERR_INVALID, "instance %s: a limit or a hook is out of range",
                       s->instance);
    if (s->deadline_ms < 0 || s->nofile > INT32_MAX)
        return err_set(err, ERR_INVALID, "instance %s: a deadline or limit is out of range",
                       s->instance);
    return ERR_NONE;
}

/* ---- writing ---- */

struct writer {
    char *at;
    size_t room;
    bool full;
};

static void put(struct writer *w, const char *key, const char *value)
{
    size_t key_len = strlen(key);
    size_t value_len = strlen(value);

    if (w->full || key_len + value_len + 2 > w->room) {
        w->full = true;
        return;
    }
    memcpy(w->at, key, key_len);
    w->at[key_len] = '=';
    memcpy(w->at + key_len + 1, value, value_len + 1);
    w->at += key_len + value_len + 2;
    w->room -= key_len + value_len + 2;
}

static void put_text(struct writer *w, const char *key, const char *value)
{
    if (value != NULL)
        put(w, key, value);
}

static void put_u64(struct writer *w, const char *key, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, value);
    put(w, key, text);
}

static void put_list(struct writer *w, const char *key, const char *const *texts, size_t max)
{
    for (size_t i = 0; i < max && texts[i] != NULL; i++)
        put(w, key, texts[i]);
}

static void put_hook(struct writer *w, const char *key, const char *timeout_key,
                     const struct shim_hook *hook)
{
    if (hook->argv[0] == NULL)
        return;
    put_list(w, key, hook->argv, SHIM_HOOK_ARGS_MAX);
    put_u64(w, timeout_key, (uint64_t)hook->timeout_ms);
}

static void put_sandbox(struct writer *w, const struct shim_sandbox *s)
{
    put_u64(w, "private_tmp", s->private_tmp ? 1 : 0);
    put_u64(w, "read_only", s->read_only ? 1 : 0);
    put_u64(w, "bound", s->bound ? 1 : 0);
    put_u64(w, "capability", s->capability);
    put_list(w, "writable", s->paths, SHIM_PATHS_MAX);
    put_text(w, "seccomp", s->seccomp);
}

int shim_spec_encode(const struct shim_spec *s, char *buffer, size_t size, size_t *len,
                     struct err *err)
{
    struct writer w = {.at = buffer, .room = size < SHIM_SPEC_MAX ? size : SHIM_SPEC_MAX};
    int rc = check(s, err);

    if (rc != ERR_NONE)
        return rc;
    put(&w, "version", VERSION);
    put_text(&w, "instance", s->instance);
    put_u64(&w, "generation", s->generation);
    put_text(&w, "note", s->note);
    put_text(&w, "dir", s->dir);
    put_text(&w, "log_dir", s->log_dir);
    put_u64(&w, "log_file_bytes", s->log_file_bytes);
    put_u64(&w, "log_files", s->log_files);
    put_u64(&w, "log_age_s", s->log_age_s);
    put_text(&w, "working_dir", s->working_dir);
    put_list(&w, "cgroup", s->cgroups, SHIM_CGROUPS_MAX);
    put_sandbox(&w, &s->sandbox);
    if (s->switch_user) {
        put_u64(&w, "uid", s->uid);
        put_u64(&w, "gid", s->gid);
    }
    for (size_t i = 0; i < s->group_count; i++)
        put_u64(&w, "group", s->groups[i]);
    put_u64(&w, "no_new_privileges", s->no_new_privileges ? 1 : 0);
    put_u64(&w, "nofile", s->nofile);
    put_u64(&w, "oom_score", (uint64_t)(s->oom_score + OOM_SCORE_OFFSET));
    put_u64(&w, "listen", s->listen);
    put_hook(&w, "pre_start", "pre_start_ms", &s->pre_start);
    put_hook(&w, "post_stop", "post_stop_ms", &s->post_stop);
    put_u64(&w, "stop_signal", (uint64_t)s->stop_signal);
    put_u64(&w, "stop_timeout_ms", (uint64_t)s->stop_timeout_ms);
    put_u64(&w, "deadline_ms", (uint64_t)s->deadline_ms);
    put_list(&w, "arg", s->argv, SHIM_ARGS_MAX);
    put_list(&w, "env", s->env, SHIM_ENV_MAX);
    if (w.full)
        return err_set(err, ERR_LIMIT,
                       "instance %s: command and environment take more than %d bytes", s->instance,
                       SHIM_SPEC_MAX);
    *len = (size_t)(w.at - buffer);
    return ERR_NONE;
}

/* ---- reading ---- */

enum { LIST_ARG, LIST_ENV, LIST_CGROUP, LIST_WRITABLE, LIST_PRE_START, LIST_POST_STOP, LISTS };

struct reader {
    struct shim_spec *spec;
    size_t count[LISTS];
    bool version;
};

static int read_number(const char *text, uint64_t high, uint64_t *value)
{
    char *end;
    unsigned long long v;

    errno = 0;
    v = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-' || v > high)
        return ERR_INVALID;
    *value = v;
    return ERR_NONE;
}

static int read_text(struct shim_spec *s, const char *key, const char *value)
{
    const struct {
        const char *key;
        const char **value;
    } keys[] = {
        {"instance", &s->instance},
        {"note", &s->note},
        {"dir", &s->dir},
        {"log_dir", &s->log_dir},
        {"working_dir", &s->working_dir},
        {"seccomp", &s->sandbox.seccomp},
    };

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (strcmp(key, keys[i].key) == 0) {
            *keys[i].value = value;
            return ERR_NONE;
        }
    }
    return ERR_NOTFOUND;
}

/* A number that is at most UINT32_MAX - 1: the highest is no id to the kernel. */
static int read_u32(const char *text, uint32_t *value)
{
    uint64_t n;

    if (read_number(text, UINT32_MAX - 1, &n) != ERR_NONE)
        return ERR_INVALID;
    *value = (uint32_t)n;
    return ERR_NONE;
}

static int read_i64(const char *text, int64_t high, int64_t *value)
{
    uint64_t n;

    if (read_number(text, (uint64_t)high, &n) != ERR_NONE)
        return ERR_INVALID;
    *value = (int64_t)n;
    return ERR_NONE;
}

static int read_bool(const char *text, bool *value)
{
    int64_t n = 0;
    int rc = read_i64(text, 1, &n);

    *value = n == 1;
    return rc;
}

static int read_limits(struct shim_spec *s, const char *key, const char *value)
{
    uint64_t n = 0;
    int rc;

    if (strcmp(key, "oom_score") == 0) {
        rc = read_number(value, 2 * OOM_SCORE_OFFSET, &n);
        s->oom_score = (int)n - OOM_SCORE_OFFSET;
        return rc;
    }
    if (strcmp(key, "listen") == 0)
        return read_u32(value, &s->listen);
    if (strcmp(key, "pre_start_ms") == 0)
        return read_i64(value, SHIM_TIMEOUT_MAX_MS, &s->pre_start.timeout_ms);
    if (strcmp(key, "post_stop_ms") == 0)
        return read_i64(value, SHIM_TIMEOUT_MAX_MS, &s->post_stop.timeout_ms);
    if (strcmp(key, "log_age_s") == 0)
        return read_u32(value, &s->log_age_s);
    if (strcmp(key, "private_tmp") == 0)
        return read_bool(value, &s->sandbox.private_tmp);
    if (strcmp(key, "read_only") == 0)
        return read_bool(value, &s->sandbox.read_only);
    if (strcmp(key, "bound") == 0)
        return read_bool(value, &s->sandbox.bound);
    if (strcmp(key, "capability") == 0)
        return read_number(value, UINT64_MAX, &s->sandbox.capability);
    return ERR_NOTFOUND;
}

static int read_numbers(struct shim_spec *s, const char *key, const char *value)
{
    int64_t n = 0;
    int rc;

    if (strcmp(key, "generation") == 0)
        return read_number(value, UINT64_MAX, &s->generation);
    if (strcmp(key, "log_file_bytes") == 0)
        return read_number(value, INT64_MAX, &s->log_file_bytes);
    if (strcmp(key, "log_files") == 0)
        return read_u32(value, &s->log_files);
    if (strcmp(key, "nofile") == 0)
        return read_number(value, INT32_MAX, &s->nofile);
    if (strcmp(key, "stop_timeout_ms") == 0)
        return read_i64(value, SHIM_TIMEOUT_MAX_MS, &s->stop_timeout_ms);
    if (strcmp(key, "deadline_ms") == 0)
        return read_i64(value, INT64_MAX, &s->deadline_ms);
    if (strcmp(key, "gid") == 0)
        return read_u32(value, &s->gid);
    if (strcmp(key, "uid") == 0) {
        s->switch_user = true;
        return read_u32(value, &s->uid);
    }
    if (strcmp(key, "group") == 0) {
        if (s->group_count == SHIM_GROUPS_MAX)
            return ERR_LIMIT;
        return read_u32(value, &s->groups[s->group_count++]);
    }
    if (strcmp(key, "no_new_privileges") == 0)
        return read_bool(value, &s->no_new_privileges);
    if (strcmp(key, "stop_signal") == 0) {
        rc = read_i64(value, 64, &n);
        s->stop_signal = (int)n;
        return rc;
    }
    return read_limits(s, key, value);
}

/* Keys that may stand several times. */
static int read_entry(struct reader *r, const char *key, const char *value)
{
    struct shim_spec *s = r->spec;
    const struct {
        const char *key;
        const char **entries;
        size_t max;
    } lists[LISTS] = {
        [LIST_ARG] = {"arg", s->argv, SHIM_ARGS_MAX},
        [LIST_ENV] = {"env", s->env, SHIM_ENV_MAX},
        [LIST_CGROUP] = {"cgroup", s->cgroups, SHIM_CGROUPS_MAX},
        [LIST_WRITABLE] = {"writable", s->sandbox.paths, SHIM_PATHS_MAX},
        [LIST_PRE_START] = {"pre_start", s->pre_start.argv, SHIM_HOOK_ARGS_MAX},
        [LIST_POST_STOP] = {"post_stop", s->post_stop.argv, SHIM_HOOK_ARGS_MAX},
    };

    for (size_t i = 0; i < LISTS; i++) {
        if (strcmp(key, lists[i].key) != 0)
            continue;
        if (r->count[i] == lists[i].max)
            return ERR_LIMIT;
        lists[i].entries[r->count[i]++] = value;
        return ERR_NONE;
    }
    return ERR_NOTFOUND;
}

static int read_pair(struct reader *r, const char *key, const char *value)
{
    struct shim_spec *s = r->spec;
    int rc;

    if (!r->version) {
        r->version = strcmp(key, "version") == 0 && strcmp(value, VERSION) == 0;
        return r->version ? ERR_NONE : ERR_VERSION;
    }
    rc = read_entry(r, key, value);
    if (rc == ERR_NOTFOUND)
        rc = read_text(s, key, value);
    return rc == ERR_NOTFOUND ? read_numbers(s, key, value) : rc;
}

int shim_spec_decode(const char *buffer, size_t len, struct shim_spec *spec, struct err *err)
{
    struct reader r = {.spec = spec};
    const char *at = buffer;
    const char *end = buffer + len;

    memset(spec, 0, sizeof *spec);
    if (len > SHIM_SPEC_MAX || len == 0 || end[-1] != '\0')
        return err_set(err, ERR_INVALID, "the specification is cut or too long");
    while (at < end) {
        char key[32];
        const char *equals = strchr(at, '=');
        int rc;

        if (equals == NULL || (size_t)(equals - at) >= sizeof key)
            return err_set(err, ERR_INVALID, "the specification is damaged");
        memcpy(key, at, (size_t)(equals - at));
        key[equals - at] = '\0';
        rc = read_pair(&r, key, equals + 1);
        if (rc != ERR_NONE)
            return err_set(err, rc == ERR_NOTFOUND ? ERR_VERSION : rc,
                           "the specification's \"%s\" cannot be used (%s); agentd and agent-shim "
                           "must be of one version",
                           key, err_text(rc));
        at = equals + strlen(equals) + 1;
    }
    return check(spec, err);
}
