/* ARP frames: their bytes, what is refused, what they mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/io/arp_frame.h"

static const struct mac own = {{0xb8, 0x27, 0xeb, 0, 0, 1}};
static const struct mac other = {{0x00, 0x1c, 0x42, 0, 0, 2}};
static const struct ipv4 vip = {{192, 168, 0, 210}};
static const struct ipv4 client = {{192, 168, 0, 33}};

/* A reply as a client sends it to our notify_request, padded to Ethernet's 60 bytes. */
static const uint8_t reply[60] = {0xb8, 0x27, 0xeb, 0, 0, 1,   0,   0x1c, 0x42, 0,  0,
                                  2,    8,    6,    0, 1, 8,   0,   6,    4,    0,  2,
                                  0,    0x1c, 0x42, 0, 0, 2,   192, 168,  0,    33, 0xb8,
                                  0x27, 0xeb, 0,    0, 1, 192, 168, 0,    210};

static void frames_have_the_bytes_of_the_rfc(void **state)
{
    static const uint8_t expected[ARP_FRAME_LEN] = {
        0, 0x1c, 0x42, 0,    0, 2, 0xb8, 0x27, 0xeb, 0, 0,   1, 8, 6, 0, 1, 8, 0,   6,   4, 0,
        1, 0xb8, 0x27, 0xeb, 0, 0, 1,    192,  168,  0, 210, 0, 0, 0, 0, 0, 0, 192, 168, 0, 33};
    uint8_t bytes[ARP_FRAME_LEN];
    struct arp_frame f;
    (void)state;

    arp_notify_request(&f, own, vip, other, client);
    arp_encode(&f, bytes);
    assert_memory_equal(bytes, expected, sizeof expected);

    arp_probe(&f, own, vip);
    assert_true(mac_equal(f.to, ARP_BROADCAST));
    assert_true(ipv4_equal(f.sender_ip, (struct ipv4){{0}}));

    arp_ask(&f, own, client, vip, NULL);
    assert_true(mac_equal(f.to, ARP_BROADCAST));
    arp_ask(&f, own, client, vip, &other);
    assert_true(mac_equal(f.to, other));
}

static void what_is_written_is_read_back(void **state)
{
    uint8_t bytes[ARP_FRAME_LEN];
    uint8_t again[ARP_FRAME_LEN];
    struct arp_frame f;
    struct arp_frame g;
    (void)state;

    arp_notify_reply(&f, own, vip, other, client);
    arp_encode(&f, bytes);
    assert_true(arp_decode(bytes, sizeof bytes, &g));
    arp_encode(&g, again);
    assert_memory_equal(bytes, again, sizeof bytes);

    assert_true(arp_decode(reply, sizeof reply, &g));
    assert_int_equal(g.operation, ARP_REPLY);
    assert_true(ipv4_equal(g.sender_ip, client));
    assert_true(mac_equal(g.sender_mac, other));
}

static void truncated_frames_are_refused_at_every_length(void **state)
{
    struct arp_frame f;
    size_t len;
    (void)state;

    for (len = 0; len < ARP_FRAME_LEN; len++) {
        /* A block of exactly that size, so that a reader of more is caught. */
        uint8_t *bytes = malloc(len > 0 ? len : 1);

        assert_non_null(bytes);
        memcpy(bytes, reply, len);
        assert_false(arp_decode(bytes, len, &f));
        free(bytes);
    }
    assert_true(arp_decode(reply, ARP_FRAME_LEN, &f));
}

static void every_wrong_field_is_refused(void **state)
{
    /* Ethertype, hardware, protocol, lengths, operation, and the sender's group bit. */
    static const size_t fixed[] = {12, 13, 14, 15, 16, 17, 18, 19, 20};
    struct arp_frame f;
    uint8_t bytes[sizeof reply];
    size_t i;
    (void)state;

    for (i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        memcpy(bytes, reply, sizeof reply);
        bytes[fixed[i]] ^= 0x10;
        assert_false(arp_decode(bytes, sizeof bytes, &f));
    }
    memcpy(bytes, reply, sizeof reply);
    bytes[21] = 3; /* RARP */
    assert_false(arp_decode(bytes, sizeof bytes, &f));
    memcpy(bytes, reply, sizeof reply);
    bytes[22] |= 1;
    assert_false(arp_decode(bytes, sizeof bytes, &f));
}

static void frames_mean_what_they_should(void **state)
{
    struct arp_frame f;
    (void)state;

    assert_true(arp_decode(reply, sizeof reply, &f));
    assert_int_equal(arp_meaning(&f, own, vip), ARP_ANSWER);
    assert_int_equal(arp_meaning(&f, own, client), ARP_CLAIM);
    assert_int_equal(arp_meaning(&f, other, client), ARP_NOTHING); /* an echo of our own */

    arp_announce_request(&f, other, vip);
    assert_int_equal(arp_meaning(&f, own, vip), ARP_CLAIM);
    arp_announce_reply(&f, other, vip);
    assert_int_equal(arp_meaning(&f, own, vip), ARP_CLAIM);
    arp_probe(&f, other, vip);
    assert_int_equal(arp_meaning(&f, own, vip), ARP_RIVAL);
    arp_ask(&f, other, client, vip, NULL); /* a client looks for us */
    assert_int_equal(arp_meaning(&f, own, vip), ARP_NOTHING);
    arp_announce_request(&f, other, client);
    assert_int_equal(arp_meaning(&f, own, vip), ARP_NOTHING);

    /* An answer that is for somebody else. */
    assert_true(arp_decode(reply, sizeof reply, &f));
    f.target_mac = other;
    assert_int_equal(arp_meaning(&f, own, vip), ARP_NOTHING);
}

static void addresses_convert_only_from_ipv4(void **state)
{
    struct addr six = {.family = 6};
    struct addr four = ipv4_to_addr(vip);
    struct ipv4 ip = client;
    char text[ARP_MAC_TEXT];
    (void)state;

    assert_false(ipv4_from_addr(&six, &ip));
    assert_true(ipv4_equal(ip, client));
    assert_true(ipv4_from_addr(&four, &ip));
    assert_true(ipv4_equal(ip, vip));
    mac_format(own, text);
    assert_string_equal(text, "b8:27:eb:00:00:01");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_have_the_bytes_of_the_rfc),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(truncated_frames_are_refused_at_every_length),
        cmocka_unit_test(every_wrong_field_is_refused),
        cmocka_unit_test(frames_mean_what_they_should),
        cmocka_unit_test(addresses_convert_only_from_ipv4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
