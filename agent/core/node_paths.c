/* Who hears whom: each node publishes what membership measures of the paths to it. News of a cut
 * are told within seconds, drifting figures seldom: an idle flock sends nothing for this. */
#include <stdlib.h>

#include "agent/core/node_internal.h"
#include "proto/record/value_codec.h"

#define LOOK_MS 5000
#define FIGURES_MS 300000 /* between publications that only correct figures */
#define RTT_OFF_MS 20 /* figures that are off by less than this and by less than half are right */
#define LOSS_OFF_PCT 10

static uint8_t loss_of(const struct member_view *view)
{
    if (view->stream)
        return VALUE_PATH_STREAM;
    return view->loss_pct < VALUE_PATH_STREAM ? view->loss_pct : VALUE_PATH_STREAM - 1;
}

/* In a flock too large for one record: the neighbours, and whom it does not hear. */
static void measure(const struct node *node, struct value_paths *paths)
{
    size_t count = membership_count(node->members);

    paths->count = 0;
    for (size_t i = 0; i < count && paths->count < VALUE_PATHS_MAX; i++) {
        struct member_view view;
        membership_at(node->members, i, &view);
        if (view.heard.ms == 0 || view.state == MEMBER_LEFT || view.state == MEMBER_UNKNOWN ||
            (count > VALUE_PATHS_MAX && view.hears && !view.watched))
            continue;
        paths->paths[paths->count++] = (struct value_path){
            .from = view.id,
            .hears = view.hears,
            .rtt_ms = (uint16_t)(view.rtt_ms < UINT16_MAX ? view.rtt_ms : UINT16_MAX),
            .loss_pct = loss_of(&view)};
    }
}

enum difference { SAME, DRIFTED, CUT };

static enum difference compare(const struct value_paths *a, const struct value_paths *b)
{
    enum difference found = SAME;

    if (a->count != b->count)
        return CUT;
    for (size_t i = 0; i < a->count; i++) {
        const struct value_path *x = &a->paths[i];
        const struct value_path *y = &b->paths[i];
        int rtt_off = abs((int)x->rtt_ms - (int)y->rtt_ms);
        if (!node_id_equal(x->from, y->from) || x->hears != y->hears ||
            value_path_streams(x) != value_path_streams(y))
            return CUT;
        if ((rtt_off >= RTT_OFF_MS && rtt_off > x->rtt_ms / 2) ||
            abs((int)x->loss_pct - (int)y->loss_pct) >= LOSS_OFF_PCT)
            found = DRIFTED;
    }
    return found;
}

void node_paths_begin(struct node *node)
{
    node->paths_next = mono_add(node->now, LOOK_MS);
}

void node_paths_tick(struct node *node)
{
    struct value_paths now;
    enum difference difference;
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;

    if (!mono_reached(node->now, node->paths_next))
        return;
    node->paths_next = mono_add(node->now, LOOK_MS);
    measure(node, &now);
    difference = compare(&now, &node->paths);
    if (difference == SAME ||
        (difference == DRIFTED && mono_diff(node->now, node->paths_told) < FIGURES_MS))
        return;
    if (value_paths_encode(&now, bytes, sizeof bytes, &len) != ERR_NONE)
        return;
    node->paths = now;
    node->paths_told = node->now;
    node_publish(node, "paths", bytes, len);
}

mono_t node_paths_deadline(const struct node *node)
{
    return node->paths_next;
}

/* What @observer says of its paths; of this node the present state. */
bool node_paths_of(const struct node *node, const struct peer *observer, struct value_paths *paths)
{
    struct record_view view;

    if (observer->self) {
        measure(node, paths);
        return true;
    }
    return records_get(node->records, observer->id, "paths", &view) == ERR_NONE &&
           value_paths_decode(view.value, view.value_len, paths) == ERR_NONE;
}
