#include "workloads/lib/amqp/window.h"

#include <assert.h>
#include <stdlib.h>

/* Entries stand in a ring: those that may be acknowledged, among or behind them those that wait for
 * the broker, then those that were not worked on. Publications are numbered in the same order. */
struct entry {
    uint64_t tag;
    uint64_t seq; /* 0: nothing was published */
    int64_t due;
    bool settled; /* worked on, and confirmed where that was needed */
};

struct window {
    size_t capacity;
    size_t head;  /* the oldest */
    size_t count; /* all */
    size_t done;  /* of those, worked on */
    size_t ready; /* of those, the settled ones before the first that is not */
    size_t unconfirmed;
    struct entry entries[];
};

int window_new(struct window **out, size_t capacity, struct err *err)
{
    struct window *window;

    assert(capacity >= 1 && capacity <= WINDOW_MAX);
    window = calloc(1, sizeof *window + capacity * sizeof window->entries[0]);
    if (window == NULL)
        return err_set(err, ERR_NOMEM, "make a window for %zu deliveries", capacity);
    window->capacity = capacity;
    *out = window;
    return ERR_NONE;
}

void window_free(struct window *window)
{
    free(window);
}

void window_reset(struct window *window)
{
    window->head = 0;
    window->count = 0;
    window->done = 0;
    window->ready = 0;
    window->unconfirmed = 0;
}

static size_t slot(const struct window *window, size_t index)
{
    size_t at = window->head + index;
    return at < window->capacity ? at : at - window->capacity;
}

size_t window_add(struct window *window, uint64_t tag)
{
    size_t at;

    if (window->count == window->capacity)
        return window->capacity;
    at = slot(window, window->count++);
    window->entries[at] = (struct entry){.tag = tag};
    return at;
}

size_t window_next(const struct window *window)
{
    return window->done < window->count ? slot(window, window->done) : window->capacity;
}

int64_t window_due(const struct window *window)
{
    size_t next = window_next(window);
    return next < window->capacity ? window->entries[next].due : INT64_MAX;
}

void window_plan(struct window *window, size_t at, int64_t due)
{
    assert(at < window->capacity);
    window->entries[at].due = due;
}

static void advance(struct window *window)
{
    while (window->ready < window->done && window->entries[slot(window, window->ready)].settled)
        window->ready++;
}

void window_done(struct window *window, uint64_t seq)
{
    size_t next = window_next(window);

    assert(next < window->capacity);
    window->entries[next].seq = seq;
    window->entries[next].settled = seq == 0;
    window->unconfirmed += seq != 0;
    window->done++;
    advance(window);
}

bool window_confirm(struct window *window, uint64_t seq, bool multiple)
{
    bool found = false;

    for (size_t i = window->ready; i < window->done; i++) {
        struct entry *entry = &window->entries[slot(window, i)];
        if (entry->seq > seq)
            break;
        if (entry->settled || (!multiple && entry->seq != seq))
            continue;
        entry->settled = true;
        window->unconfirmed--;
        found = true;
    }
    advance(window);
    return found;
}

size_t window_ready(const struct window *window)
{
    return window->ready;
}

uint64_t window_take(struct window *window)
{
    uint64_t tag;

    if (window->ready == 0)
        return 0;
    tag = window->entries[slot(window, window->ready - 1)].tag;
    window->head = slot(window, window->ready);
    window->count -= window->ready;
    window->done -= window->ready;
    window->ready = 0;
    if (window->count == 0)
        window->head = 0; /* the same few slots again: their jobs' memory is warm, and little */
    advance(window);
    return tag;
}

size_t window_unconfirmed(const struct window *window)
{
    return window->unconfirmed;
}

bool window_empty(const struct window *window)
{
    return window->count == 0;
}
