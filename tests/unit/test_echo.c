/* Echo requests and replies as frames (io/echo_frame.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/io/echo_frame.h"

static const struct echo_frame request = {
    .to = {{0xb8, 0x27, 0xeb, 0, 0, 1}},
    .from = {{0x02, 0xc0, 0x7e, 0, 0, 0x11}},
    .source = {{10, 77, 0, 210}},
    .target = {{10, 77, 0, 1}},
    .identifier = 0x1234,
    .sequence = 7,
    .data = "what comes back is what was sent",
};

static uint16_t sum(const uint8_t *bytes, size_t len)
{
    uint32_t total = 0;

    for (size_t i = 0; i < len; i += 2)
        total += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
    while (total > 0xffff)
        total = (total & 0xffff) + (total >> 16);
    return (uint16_t)total;
}

/* What a host makes of it: addresses turned, type 0, the checksum by RFC 1624. */
static void answer(uint8_t bytes[ECHO_FRAME_LEN])
{
    uint8_t ip[4];
    uint16_t check;

    memcpy(ip, bytes + 26, 4);
    memcpy(bytes + 26, bytes + 30, 4);
    memcpy(bytes + 30, ip, 4);
    bytes[34] = 0;
    check = (uint16_t)~sum(
        (const uint8_t[]){(uint8_t)~bytes[36], (uint8_t)~bytes[37], 0xf7, 0xff, 0, 0}, 6);
    bytes[36] = (uint8_t)(check >> 8);
    bytes[37] = (uint8_t)check;
}

static void a_request_is_a_sound_packet(void **state)
{
    uint8_t bytes[ECHO_FRAME_LEN];
    struct echo_frame back;
    (void)state;

    echo_encode(&request, bytes);
    assert_memory_equal(bytes, request.to.byte, 6);
    assert_int_equal(sum(bytes + 14, 20), 0xffff);
    assert_int_equal(sum(bytes + 34, ECHO_FRAME_LEN - 34), 0xffff);
    assert_int_equal(bytes[22], 1);                        /* it crosses no router */
    assert_false(echo_decode(bytes, sizeof bytes, &back)); /* and is no reply */
}

static void a_reply_brings_back_what_was_sent(void **state)
{
    uint8_t bytes[ECHO_FRAME_LEN + 6] = {0};
    struct echo_frame back;
    (void)state;

    echo_encode(&request, bytes);
    answer(bytes);
    assert_true(echo_decode(bytes, sizeof bytes, &back)); /* padded */
    assert_memory_equal(back.source.byte, request.target.byte, 4);
    assert_memory_equal(back.target.byte, request.source.byte, 4);
    assert_int_equal(back.identifier, request.identifier);
    assert_int_equal(back.sequence, request.sequence);
    assert_memory_equal(back.data, request.data, ECHO_DATA_LEN);
}

static void what_is_damaged_is_no_reply(void **state)
{
    uint8_t bytes[ECHO_FRAME_LEN];
    struct echo_frame back;
    (void)state;

    echo_encode(&request, bytes);
    answer(bytes);
    for (size_t i = 12; i < sizeof bytes; i++) {
        bytes[i] ^= 0x10;
        assert_false(echo_decode(bytes, sizeof bytes, &back));
        bytes[i] ^= 0x10;
    }
    for (size_t len = 0; len < sizeof bytes; len++)
        assert_false(echo_decode(bytes, len, &back));
    assert_true(echo_decode(bytes, sizeof bytes, &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_a_sound_packet),
        cmocka_unit_test(a_reply_brings_back_what_was_sent),
        cmocka_unit_test(what_is_damaged_is_no_reply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
