/* ARP frames as they come from a network that anybody may send to. */
#include <stdlib.h>
#include <string.h>

#include "agent/io/arp_frame.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t bytes[ARP_FRAME_LEN];
    struct arp_frame frame;
    enum arp_meaning meaning;

    if (!arp_decode(data, size, &frame))
        return 0;
    /* What is believed is written back byte by byte. */
    arp_encode(&frame, bytes);
    if (memcmp(bytes, data, sizeof bytes) != 0)
        abort();
    meaning = arp_meaning(&frame, frame.to, frame.target_ip);
    if (meaning != ARP_NOTHING && mac_equal(frame.sender_mac, frame.to))
        abort();
    return 0;
}
