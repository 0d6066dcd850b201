#include "tests/unit/link_world.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "agent/io/os_udp.h"

uint8_t link_pattern(size_t i)
{
    return (uint8_t)(i * 7 + i / 251);
}

static bool find_keys(void *context, node_id peer, uint32_t epoch, uint8_t public_key[KEYS_PUBLIC],
                      uint8_t secret[KEYS_EPOCH_SECRET])
{
    const struct side *side = context;

    if (side->knows == NULL || !node_id_equal(peer, side->knows->identity.id) || epoch != EPOCH)
        return false;
    memcpy(public_key, side->knows->identity.public_key, KEYS_PUBLIC);
    memcpy(secret, side->secret, KEYS_EPOCH_SECRET);
    return true;
}

static void serve(void *context, node_id peer, const uint8_t *request, size_t len,
                  struct link_request *ticket)
{
    struct side *side = context;
    uint8_t *data;

    if (side->no_sessions && len == strlen("session")) {
        side->refused++;
        uv_link_answer(ticket, ERR_INVALID, NULL, 0, "this agent does not know that request");
        return;
    }
    side->served++;
    side->asked_by = peer;
    side->asked_len = len;
    for (size_t i = 0; i < len; i++)
        assert_int_equal(request[i], link_pattern(i));
    if (side->hold) {
        side->ticket = ticket;
        return;
    }
    data = malloc(side->answer_size + 1);
    assert_non_null(data);
    for (size_t i = 0; i < side->answer_size; i++)
        data[i] = link_pattern(i);
    uv_link_answer(ticket, side->answer_code, data, side->answer_size, "it is not here");
}

static void note_message(void *context, node_id peer, const uint8_t *body, size_t len)
{
    struct side *side = context;

    assert_true(len <= LINK_MESSAGE_MAX);
    side->messages++;
    side->told_by = peer;
    memcpy(side->message, body, len);
    side->message_len = len;
}

void link_note_done(void *context, int code, uint8_t *data, size_t size, const char *reason)
{
    struct world *w = context;

    w->done++;
    w->code = code;
    free(w->data);
    w->data = data;
    w->size = size;
    strncpy(w->reason, reason, sizeof w->reason - 1);
}

void link_note_closed(void *context)
{
    struct world *w = context;

    w->closed++;
}

void link_note_late(uv_timer_t *timer)
{
    struct world *w = timer->data;

    w->late = true;
}

/* Runs the loop until *counter reaches @count. */
void link_run_until(struct world *w, const unsigned *counter, unsigned count)
{
    uv_timer_start(&w->bound, link_note_late, BOUND_MS, 0);
    while (*counter < count && !w->late)
        uv_run(&w->loop, UV_RUN_ONCE);
    assert_false(w->late);
    uv_timer_stop(&w->bound);
}

void link_start(struct world *w, struct side *side)
{
    struct uv_link_config config = {.identity = &side->identity,
                                    .epoch = EPOCH,
                                    .keys = find_keys,
                                    .timeout_ms = w->timeout_ms,
                                    .serve = serve,
                                    .message = side->no_sessions ? NULL : note_message,
                                    .context = side};
    struct sockaddr_in bound;
    socklen_t len = sizeof bound;
    struct err err;

    assert_int_equal(addr_parse("127.0.0.1", 0, &side->at, &err), ERR_NONE);
    if (os_tcp_listen(&side->at, &config.fd, &err) != ERR_NONE)
        fail_msg("%s", err.text);
    assert_int_equal(getsockname(config.fd, (struct sockaddr *)&bound, &len), 0);
    side->at.port = ntohs(bound.sin_port);
    assert_int_equal(uv_link_create(&w->loop, &config, &side->link, &err), ERR_NONE);
}

void link_stop(struct world *w, struct side *side)
{
    unsigned before = w->closed;

    if (side->link == NULL)
        return;
    uv_link_close(side->link, link_note_closed, w);
    side->link = NULL;
    link_run_until(w, &w->closed, before + 1);
}

int link_set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    if (w == NULL || keys_start(NULL) != ERR_NONE)
        return -1;
    *state = w;
    assert_int_equal(uv_loop_init(&w->loop), 0);
    uv_timer_init(&w->loop, &w->bound);
    w->bound.data = w;
    keys_generate(&w->a.identity);
    keys_generate(&w->b.identity);
    w->a.knows = &w->b;
    w->b.knows = &w->a;
    memset(w->a.secret, 5, sizeof w->a.secret);
    memset(w->b.secret, 5, sizeof w->b.secret);
    w->timeout_ms = BOUND_MS;
    link_start(w, &w->a);
    link_start(w, &w->b);
    return 0;
}

int link_tear_down(void **state)
{
    struct world *w = *state;

    link_stop(w, &w->a);
    link_stop(w, &w->b);
    if (w->a.ticket != NULL)
        uv_link_answer(w->a.ticket, ERR_NONE, NULL, 0, NULL);
    if (w->b.ticket != NULL)
        uv_link_answer(w->b.ticket, ERR_NONE, NULL, 0, NULL);
    uv_close((uv_handle_t *)&w->bound, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    free(w->data);
    free(w);
    return 0;
}

/* All links anew, with a time limit of their own. */
void link_restart(struct world *w, uint32_t timeout_ms)
{
    link_stop(w, &w->a);
    link_stop(w, &w->b);
    w->timeout_ms = timeout_ms;
    link_start(w, &w->a);
    link_start(w, &w->b);
}

void link_ask(struct world *w, size_t len)
{
    uint8_t request[LINK_REQUEST_MAX + 1];

    for (size_t i = 0; i < len; i++)
        request[i] = link_pattern(i);
    uv_link_ask(w->a.link, w->b.identity.id, &w->b.at, request, len, link_note_done, w);
}

void link_ask_and_wait(struct world *w, size_t len)
{
    unsigned before = w->done;

    link_ask(w, len);
    link_run_until(w, &w->done, before + 1);
}
