/* Values of records: the first byte chooses the kind, the rest is the value. */
#include <stdlib.h>
#include <string.h>

#include "proto/record/value_codec.h"
#include "tests/fuzz/fuzz.h"

#define OUT_MAX 4096 /* more than any value that is taken */

static union {
    struct value_head head;
    struct value_node node;
    struct value_commit commit;
    struct value_instance instance;
    struct value_vip vip;
    struct value_voters voters;
    struct value_adopted adopted;
    struct value_keys keys;
    struct value_register registered;
    struct value_paths paths;
    struct value_clients clients;
    struct value_turn turn;
    struct value_cron cron;
    struct value_suspend suspend;
    struct value_pool pool;
    struct value_drift drift;
} value;

/* What was taken has one form. */
static void check(int encoded, const uint8_t *out, size_t len, const uint8_t *data, size_t size)
{
    if (encoded != ERR_NONE || len != size || memcmp(out, data, len) != 0)
        abort();
}

#define TRY_AS(NAME, PLACE)                                                                        \
    if (value_##NAME##_decode(data, size, &value.PLACE) == ERR_NONE) {                             \
        int rc = value_##NAME##_encode(&value.PLACE, out, sizeof out, &len);                       \
        check(rc, out, len, data, size);                                                           \
    }
#define TRY(NAME) TRY_AS(NAME, NAME)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t out[OUT_MAX];
    size_t len = 0;
    uint8_t kind;

    if (size == 0)
        return 0;
    kind = *data++;
    size--;
    switch (kind) {
    case 0:
        TRY(head)
        break;
    case 1:
        TRY(node)
        break;
    case 2:
        TRY(commit)
        break;
    case 3:
        TRY(instance)
        break;
    case 4:
        TRY(vip)
        break;
    case 5:
        TRY(voters)
        break;
    case 6:
        TRY(adopted)
        break;
    case 7:
        TRY(keys)
        break;
    case 8:
        TRY(paths)
        break;
    case 9:
        TRY(clients)
        break;
    case 10:
        TRY(turn)
        break;
    case 11:
        TRY(cron)
        break;
    case 12:
        TRY(suspend)
        break;
    case 14:
        TRY(pool)
        break;
    case 13:
        TRY_AS(register, registered)
        break;
    case 15:
        TRY(drift)
        break;
    default:
        break;
    }
    return 0;
}
