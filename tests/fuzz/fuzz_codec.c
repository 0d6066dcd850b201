/* Bodies of authentic datagrams: an admitted node may still be broken, or evil. */
#include <stdlib.h>
#include <string.h>

#include "proto/wire/codec.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t body[CODEC_BODY_MAX];
    struct msg m;
    size_t len;

    if (codec_decode(data, size, &m) != WIRE_OK)
        return 0;
    /* A message has one form. Larger ones than a datagram holds cannot be encoded. */
    if (codec_encode(&m, body, &len) != ERR_NONE) {
        if (size <= sizeof body)
            abort();
    } else if (len != size || memcmp(body, data, len) != 0) {
        abort();
    }
    return 0;
}
