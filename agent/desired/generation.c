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

uint64_t workload_generation(const struct desired_workload *w)
{
    uint64_t hash = 1; /* of this recipe: another number restarts everything once */

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
    hash = hash64_mix(hash, w->memory_limit);
    hash = hash64_mix(hash, w->cpu_limit_milli);
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
