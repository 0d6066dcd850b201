/* Two ends of the TCP link on loopback, for the tests of it. */
#ifndef COVEY_TESTS_LINK_WORLD_H
#define COVEY_TESTS_LINK_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "agent/io/uv_link.h"

#define BOUND_MS 20000 /* what has not happened by then never will */
#define EPOCH 3

struct side {
    struct keys_identity identity;
    struct uv_link *link;
    struct addr at;
    uint8_t secret[KEYS_EPOCH_SECRET];
    const struct side *knows; /* whom its keys admit */
    /* what it serves */
    unsigned served;
    node_id asked_by;
    size_t asked_len;
    struct link_request *ticket; /* left unanswered */
    int answer_code;
    size_t answer_size;
    bool hold; /* keep the ticket */
    /* messages of sessions */
    bool no_sessions; /* as a release before them */
    unsigned refused; /* so often */
    unsigned messages;
    node_id told_by;
    uint8_t message[LINK_MESSAGE_MAX];
    size_t message_len;
};

struct world {
    uv_loop_t loop;
    uv_timer_t bound;
    bool late;
    struct side a, b;
    uint32_t timeout_ms;
    /* the answer that came to the side that asked */
    unsigned done;
    int code;
    uint8_t *data;
    size_t size;
    char reason[512];
    unsigned closed;
};

uint8_t link_pattern(size_t i);
void link_note_done(void *context, int code, uint8_t *data, size_t size, const char *reason);
void link_note_closed(void *context);
void link_note_late(uv_timer_t *timer);
/* Runs the loop until *counter reaches @count. */
void link_run_until(struct world *w, const unsigned *counter, unsigned count);
void link_start(struct world *w, struct side *side);
void link_stop(struct world *w, struct side *side);
int link_set_up(void **state);
int link_tear_down(void **state);
/* All links anew, with a time limit of their own. */
void link_restart(struct world *w, uint32_t timeout_ms);
void link_ask(struct world *w, size_t len);
void link_ask_and_wait(struct world *w, size_t len);

#endif
