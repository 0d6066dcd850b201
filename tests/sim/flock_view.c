/* Questions to a flock. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/flock_inside.h"

bool flock_sees(const struct flock *f, size_t observer, size_t subject, uint8_t state)
{
    return flock_opinion_of(f, observer, subject)->state == state;
}

bool flock_streams(const struct flock *f, size_t observer, size_t subject)
{
    struct member_view view;

    return membership_find(f->nodes[observer].members, f->nodes[subject].id, &view) == ERR_NONE &&
           view.stream;
}

mono_t flock_since(const struct flock *f, size_t observer, size_t subject)
{
    return mono_add(SIMNET_START, flock_opinion_of(f, observer, subject)->since);
}

bool flock_heard(const struct flock *f, size_t author)
{
    const struct flock_node *a = &f->nodes[author];
    uint64_t version = records_version(a->records, a->id);

    for (size_t i = 0; i < f->count; i++)
        if (simnet_up(f->net, i) && records_version(f->nodes[i].records, a->id) < version)
            return false;
    return true;
}

bool flock_located(const struct flock *f, size_t node)
{
    struct member_view view;

    for (size_t i = 0; i < f->count; i++)
        if (i != node && simnet_up(f->net, i) &&
            (membership_find(f->nodes[i].members, f->nodes[node].id, &view) != ERR_NONE ||
             !addr_equal(&view.addr, &f->nodes[node].addr)))
            return false;
    return true;
}

bool flock_views_whole(const struct flock *f)
{
    for (size_t i = 0; i < f->count; i++) {
        if (!simnet_up(f->net, i) || f->nodes[i].revoked)
            continue;
        for (size_t k = 0; k < f->count; k++) {
            bool up = simnet_up(f->net, k) && !flock_revoked(f, i, k);
            if (k != i && up != flock_sees(f, i, k, MEMBER_ALIVE))
                return false;
        }
    }
    return true;
}

static bool holds_truth(const struct flock *f, size_t observer, size_t author)
{
    const struct flock_node *a = &f->nodes[author];
    struct record_view view;
    char key[16];

    for (size_t k = 0; k < FLOCK_KEYS; k++) {
        int rc;
        snprintf(key, sizeof key, "key/%02zu", k);
        rc = records_get(f->nodes[observer].records, a->id, key, &view);
        if ((rc == ERR_NONE) != (a->truth[k] != 0))
            return false;
        if (rc == ERR_NONE && memcmp(view.value, &a->truth[k], sizeof a->truth[k]) != 0)
            return false;
    }
    return true;
}

bool flock_records_equal(const struct flock *f)
{
    uint64_t root = 0;

    for (size_t i = 0; i < f->count; i++) {
        if (!simnet_up(f->net, i) || f->nodes[i].revoked)
            continue;
        for (size_t k = 0; k < f->count; k++)
            if (simnet_up(f->net, k) && !flock_revoked(f, i, k) && !holds_truth(f, i, k))
                return false;
        if (root != 0 && root != records_root(f->nodes[i].records))
            return false;
        root = records_root(f->nodes[i].records);
    }
    return true;
}

void flock_explain(const struct flock *f)
{
    for (size_t i = 0; i < f->count; i++) {
        if (!simnet_up(f->net, i))
            continue;
        for (size_t k = 0; k < f->count; k++) {
            bool up = simnet_up(f->net, k) && !flock_revoked(f, i, k);
            if (k != i && !f->nodes[i].revoked && up != flock_sees(f, i, k, MEMBER_ALIVE)) {
                printf("  node %zu sees node %zu (%s) %s since %" PRId64 " ms, gone since %" PRId64
                       " ms\n",
                       i, k, up ? "up" : "gone",
                       member_state_name(flock_opinion_of(f, i, k)->state),
                       mono_diff(flock_since(f, i, k), SIMNET_START),
                       mono_diff(f->nodes[k].crashed, SIMNET_START));
                return;
            }
            if (up && !f->nodes[i].revoked && !holds_truth(f, i, k)) {
                printf("  node %zu holds of node %zu up to %" PRIx64 ", its author %" PRIx64 "\n",
                       i, k, records_version(f->nodes[i].records, f->nodes[k].id),
                       records_version(f->nodes[k].records, f->nodes[k].id));
                return;
            }
        }
        printf("  node %zu (boot %" PRIu32 ") has root %016" PRIx64 "\n", i, f->nodes[i].boot,
               records_root(f->nodes[i].records));
    }
}
