/* Echo replies as they come from a network that anybody may send to. */
#include <stdlib.h>
#include <string.h>

#include "agent/io/echo_frame.h"
#include "tests/fuzz/fuzz.h"

#define ICMP_AT 34

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t bytes[ECHO_FRAME_LEN];
    struct echo_frame frame;

    if (!echo_decode(data, size, &frame))
        return 0;
    /* What is believed is what stands there. */
    echo_encode(&frame, bytes);
    if (memcmp(bytes, data, 12) != 0 ||
        memcmp(bytes + ICMP_AT + 4, data + ICMP_AT + 4, sizeof bytes - ICMP_AT - 4) != 0)
        abort();
    return 0;
}
