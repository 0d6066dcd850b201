/* Values of records about work: turns of a replacement, ticks of a cron. */
#include "proto/record/value_codec.h"
#include "proto/wire/codec_io.h"

static int finish(const struct pack *p, size_t *len)
{
    *len = p->full ? 0 : p->len;
    return p->full ? ERR_LIMIT : ERR_NONE;
}

/* ---- turns ---- */

static bool turn_valid(const struct value_turn *v)
{
    if (v->count > VALUE_TURN_REPLICAS_MAX || v->seen_count > VALUE_TURN_SEEN_MAX ||
        (v->number != 0) != (v->count > 0) || (v->inside && v->number == 0))
        return false;
    for (size_t i = 1; i < v->count; i++)
        if (v->replicas[i - 1] >= v->replicas[i])
            return false;
    for (size_t i = 0; i < v->seen_count; i++)
        if (v->seen[i].node.v == 0 || v->seen[i].number == 0 ||
            (i > 0 && v->seen[i - 1].node.v >= v->seen[i].node.v))
            return false;
    return true;
}

int value_turn_encode(const struct value_turn *v, uint8_t *out, size_t cap, size_t *len)
{
    struct pack p;

    *len = 0;
    if (!turn_valid(v))
        return ERR_INVALID;
    pack_begin(&p, out, cap);
    pack_array(&p, 4);
    pack_uint(&p, v->number);
    pack_bool(&p, v->inside);
    pack_array(&p, v->count);
    for (size_t i = 0; i < v->count; i++)
        pack_uint(&p, v->replicas[i]);
    pack_array(&p, v->seen_count);
    for (size_t i = 0; i < v->seen_count; i++) {
        pack_array(&p, 2);
        pack_uint(&p, v->seen[i].node.v);
        pack_uint(&p, v->seen[i].number);
    }
    return finish(&p, len);
}

int value_turn_decode(const uint8_t *data, size_t len, struct value_turn *v)
{
    struct unpack u;

    unpack_begin(&u, data, len);
    unpack_fields(&u, 4);
    v->number = unpack_uint(&u, 0, UINT64_MAX);
    v->inside = unpack_bool(&u);
    v->count = (uint8_t)unpack_array(&u, VALUE_TURN_REPLICAS_MAX);
    for (size_t i = 0; i < v->count; i++)
        v->replicas[i] = (uint16_t)unpack_uint(&u, 0, UINT16_MAX);
    v->seen_count = (uint8_t)unpack_array(&u, VALUE_TURN_SEEN_MAX);
    for (size_t i = 0; i < v->seen_count; i++) {
        unpack_fields(&u, 2);
        v->seen[i].node.v = unpack_uint(&u, 1, UINT64_MAX);
        v->seen[i].number = unpack_uint(&u, 1, UINT64_MAX);
    }
    return unpack_end(&u) == WIRE_OK && turn_valid(v) ? ERR_NONE : ERR_INVALID;
}

/* ---- ticks ---- */

#define RUN_FIELDS 7 /* and one more where several run side by side */

static bool run_valid(const struct value_run *run)
{
    return run->tick > 0 && run->number != 0 && run->state >= VALUE_RUN_CLAIMED &&
           run->state <= VALUE_RUN_UNKNOWN && run->attempt > 0 &&
           run->process < VALUE_RUN_PROCESSES_MAX && run->exit_code >= -1 &&
           run->exit_code <= 255 && run->started >= 0 && run->ended >= 0;
}

static bool cron_valid(const struct value_cron *v)
{
    const struct value_claim *a = &v->accepted;
    bool any = a->tick != 0;

    if (a->tick < 0 || (a->node.v != 0) != any || (a->number != 0) != any ||
        (a->attempt != 0) != any || v->count > VALUE_RUNS_MAX)
        return false;
    for (size_t i = 0; i < v->count; i++)
        if (!run_valid(&v->runs[i]))
            return false;
    return true;
}

int value_cron_encode(const struct value_cron *v, uint8_t *out, size_t cap, size_t *len)
{
    struct pack p;

    *len = 0;
    if (!cron_valid(v))
        return ERR_INVALID;
    pack_begin(&p, out, cap);
    pack_array(&p, 5);
    pack_int(&p, v->accepted.tick);
    pack_uint(&p, v->accepted.node.v);
    pack_uint(&p, v->accepted.number);
    pack_uint(&p, v->accepted.attempt);
    pack_array(&p, v->count);
    for (size_t i = 0; i < v->count; i++) {
        const struct value_run *run = &v->runs[i];
        pack_array(&p, run->process == 0 ? RUN_FIELDS : RUN_FIELDS + 1);
        pack_int(&p, run->tick);
        pack_uint(&p, run->number);
        pack_uint(&p, run->state);
        pack_uint(&p, run->attempt);
        pack_int(&p, run->exit_code);
        pack_int(&p, run->started);
        pack_int(&p, run->ended);
        if (run->process != 0)
            pack_uint(&p, run->process);
    }
    return finish(&p, len);
}

int value_cron_decode(const uint8_t *data, size_t len, struct value_cron *v)
{
    struct unpack u;

    unpack_begin(&u, data, len);
    unpack_fields(&u, 5);
    v->accepted.tick = unpack_int(&u, 0, INT64_MAX);
    v->accepted.node.v = unpack_uint(&u, 0, UINT64_MAX);
    v->accepted.number = unpack_uint(&u, 0, UINT64_MAX);
    v->accepted.attempt = (uint8_t)unpack_uint(&u, 0, UINT8_MAX);
    v->count = (uint8_t)unpack_array(&u, VALUE_RUNS_MAX);
    for (size_t i = 0; i < v->count; i++) {
        struct value_run *run = &v->runs[i];
        size_t fields = unpack_array(&u, RUN_FIELDS + 1);
        if (fields < RUN_FIELDS)
            unpack_fail(&u, WIRE_BODY_FIELDS);
        run->tick = unpack_int(&u, 1, INT64_MAX);
        run->number = unpack_uint(&u, 1, UINT64_MAX);
        run->state = (uint8_t)unpack_uint(&u, VALUE_RUN_CLAIMED, VALUE_RUN_UNKNOWN);
        run->attempt = (uint8_t)unpack_uint(&u, 1, UINT8_MAX);
        run->exit_code = (int16_t)unpack_int(&u, -1, 255);
        run->started = unpack_int(&u, 0, INT64_MAX);
        run->ended = unpack_int(&u, 0, INT64_MAX);
        run->process = 0;
        if (fields > RUN_FIELDS)
            run->process = (uint8_t)unpack_uint(&u, 1, VALUE_RUN_PROCESSES_MAX - 1);
    }
    return unpack_end(&u) == WIRE_OK && cron_valid(v) ? ERR_NONE : ERR_INVALID;
}
