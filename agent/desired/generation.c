#include <string.h>

#include "agent/desired/build.h"
#include "proto/base/id.h"

/* A text that is missing differs from an empty one. */
static uint64_t add_text(uint64_t hash, const char *text)
{
    return hash64_mix(hash, text != NULL ? hash64_string(text) : 1);
}

/* The count goes first, so that an entry cannot pass for one of the next list. */
static uint64_t add_texts(uint64_t hash, const char *const *texts)
{
    uint64_t count = 0;

    while (texts[count] != NULL)
        count++;
    hash = hash64_mix(hash, count);
    for (uint64_t i = 0; i < count; i++)
        hash = add_text(hash, texts[i]);
    return hash;
}

static uint64_t add_hook(uint64_t hash, const struct desired_hook *hook)
{
    if (hook->command == NULL)
        return hash64_mix(hash, 1);
    return hash64_mix(add_texts(hash, hook->command), hook->timeout_s);
}

/* How its process is kept: all of it takes effect at a start alone. */
static uint64_t add_process(uint64_t hash, const struct desired_workload *w)
{
    const struct desired_security *s = &w->security;

    hash = hash64_mix(hash, w->memory_limit);
    hash = hash64_mix(hash, w->cpu_limit_milli);
    hash = hash64_mix(hash, w->pids_limit);
    hash = hash64_mix(hash, w->open_files_limit);
    hash = hash64_mix(hash, (uint64_t)w->oom_score_adjust);
    hash = hash64_mix(hash, (uint64_t)s->writable_root << 3 | (uint64_t)s->shared_tmp << 2 |
                                (uint64_t)s->may_escalate << 1 | (uint64_t)s->unfiltered);
    hash = hash64_mix(hash, s->capabilities);
    if (s->writable_paths != NULL)
        hash = add_texts(hash, s->writable_paths);
    hash = add_hook(hash, &w->pre_start);
    hash = add_hook(hash, &w->post_stop);
    hash = hash64_mix(hash, w->log_bytes);
    hash = hash64_mix(hash, w->log_age_s);
    return hash64_mix(hash, w->hand_over);
}

uint64_t workload_generation(const struct desired_workload *w)
{
    uint64_t hash = 2; /* of this recipe: another number restarts everything once */

    hash = add_texts(hash, w->command);
    hash = hash64_mix(hash, w->env.count);
    for (size_t i = 0; i < w->env.count; i++) {
        hash = add_text(hash, w->env.pairs[i].name);
        hash = add_text(hash, w->env.pairs[i].value);
    }
    hash = hash64_mix(hash, w->port_count);
    for (size_t i = 0; i < w->port_count; i++) {
        hash = add_text(hash, w->ports[i].name);
        hash = hash64_mix(hash, w->ports[i].port);
    }
    hash = add_process(hash, w);
    hash = add_text(hash, w->user);
    hash = add_text(hash, w->working_dir);
    hash = hash64_mix(hash, (uint64_t)w->listen);
    for (size_t i = 0; i < w->file_count; i++) {
        if (w->files[i].change != DESIRED_CHANGE_RESTART)
            continue;
        hash = add_text(hash, w->files[i].path);
        hash = add_text(hash, w->files[i].text);
        hash = hash64_mix(hash, w->files[i].mode);
    }
    hash = hash64_mix(hash, w->singleton);
    hash = hash64_mix(hash, w->cron);
    return hash != 0 ? hash : 1;
}

static uint64_t add_probe(uint64_t hash, const struct desired_probe *p)
{
    hash = hash64_mix(hash, (uint64_t)p->kind);
    hash = add_text(add_text(hash, p->path), p->port);
    if (p->command != NULL)
        hash = add_texts(hash, p->command);
    hash = hash64_mix(hash, (uint64_t)p->initial_delay_s << 32 | p->period_s);
    hash = hash64_mix(hash, (uint64_t)p->timeout_s << 32 | p->success_threshold);
    return hash64_mix(hash, p->failure_threshold);
}

uint64_t workload_digest(const struct desired_workload *w)
{
    uint64_t hash = w->generation;

    hash = add_probe(hash, &w->startup);
    hash = add_probe(hash, &w->readiness);
    hash = add_probe(hash, &w->liveness);
    hash = hash64_mix(hash, (uint64_t)w->replicas << 32 | (uint64_t)w->restart);
    hash = hash64_mix(hash, hash64_mix(w->memory_request, w->cpu_request_milli));
    for (size_t i = 0; i < w->node_selector.count; i++) {
        hash = add_text(hash, w->node_selector.pairs[i].name);
        hash = add_text(hash, w->node_selector.pairs[i].value);
    }
    for (size_t i = 0; i < w->file_count; i++) {
        hash = add_text(add_text(hash, w->files[i].path), w->files[i].text);
        hash = hash64_mix(hash, (uint64_t)w->files[i].change);
    }
    hash = add_texts(hash, w->depends_on);
    hash = add_texts(hash, w->depends_objects);
    return hash != 0 ? hash : 1;
}
