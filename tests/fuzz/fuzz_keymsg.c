/* Messages about keys, as they come out of the channel. What is taken has one form. */
#include <stdlib.h>
#include <string.h>

#include "proto/keys/keymsg.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t again[KEYMSG_BODY_MAX];
    struct keymsg msg;
    size_t len;

    if (keymsg_decode(data, size, &msg) != WIRE_OK)
        return 0;
    if (keymsg_encode(&msg, again, &len) != ERR_NONE || len != size ||
        memcmp(again, data, len) != 0)
        abort();
    return 0;
}
