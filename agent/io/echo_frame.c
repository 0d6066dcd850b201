#include "agent/io/echo_frame.h"

#include <string.h>

/* Offsets in the frame: RFC 894, RFC 791, RFC 792. */
enum {
    AT_TO = 0,
    AT_FROM = 6,
    AT_ETHERTYPE = 12,
    AT_IP = 14,
    AT_LENGTH = AT_IP + 2,
    AT_FRAGMENT = AT_IP + 6,
    AT_TTL = AT_IP + 8,
    AT_PROTOCOL = AT_IP + 9,
    AT_IP_SUM = AT_IP + 10,
    AT_SOURCE = AT_IP + 12,
    AT_TARGET = AT_IP + 16,
    AT_ICMP = AT_IP + 20,
    AT_ICMP_SUM = AT_ICMP + 2,
    AT_IDENTIFIER = AT_ICMP + 4,
    AT_SEQUENCE = AT_ICMP + 6,
    AT_DATA = AT_ICMP + 8
};

#define ICMP_LEN (8 + ECHO_DATA_LEN)
#define IP_LEN (20 + ICMP_LEN)
#define PROTOCOL_ICMP 1
#define MORE_OR_OFFSET 0x3fff /* of the word of fragmentation */
#define DONT_FRAGMENT 0x4000
#define TYPE_REQUEST 8
#define TYPE_REPLY 0

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static void put16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* RFC 1071; @len is even. 0 over what carries its right sum. */
static uint16_t checksum(const uint8_t *bytes, size_t len)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < len; i += 2)
        sum += get16(bytes + i);
    while (sum > 0xffff)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

void echo_encode(const struct echo_frame *f, uint8_t bytes[ECHO_FRAME_LEN])
{
    memset(bytes, 0, ECHO_FRAME_LEN);
    memcpy(bytes + AT_TO, f->to.byte, ARP_MAC_LEN);
    memcpy(bytes + AT_FROM, f->from.byte, ARP_MAC_LEN);
    put16(bytes + AT_ETHERTYPE, 0x0800);
    bytes[AT_IP] = 0x45;
    put16(bytes + AT_LENGTH, IP_LEN);
    put16(bytes + AT_FRAGMENT, DONT_FRAGMENT);
    bytes[AT_TTL] = 1;
    bytes[AT_PROTOCOL] = PROTOCOL_ICMP;
    memcpy(bytes + AT_SOURCE, f->source.byte, sizeof f->source.byte);
    memcpy(bytes + AT_TARGET, f->target.byte, sizeof f->target.byte);
    put16(bytes + AT_IP_SUM, checksum(bytes + AT_IP, AT_ICMP - AT_IP));
    bytes[AT_ICMP] = TYPE_REQUEST;
    put16(bytes + AT_IDENTIFIER, f->identifier);
    put16(bytes + AT_SEQUENCE, f->sequence);
    memcpy(bytes + AT_DATA, f->data, sizeof f->data);
    put16(bytes + AT_ICMP_SUM, checksum(bytes + AT_ICMP, ICMP_LEN));
}

bool echo_decode(const uint8_t *bytes, size_t len, struct echo_frame *f)
{
    if (len < ECHO_FRAME_LEN || get16(bytes + AT_ETHERTYPE) != 0x0800 || bytes[AT_IP] != 0x45 ||
        get16(bytes + AT_LENGTH) != IP_LEN || bytes[AT_PROTOCOL] != PROTOCOL_ICMP ||
        (get16(bytes + AT_FRAGMENT) & MORE_OR_OFFSET) != 0 || bytes[AT_ICMP] != TYPE_REPLY ||
        bytes[AT_ICMP + 1] != 0)
        return false;
    if (checksum(bytes + AT_IP, AT_ICMP - AT_IP) != 0 || checksum(bytes + AT_ICMP, ICMP_LEN) != 0)
        return false;
    memcpy(f->to.byte, bytes + AT_TO, ARP_MAC_LEN);
    memcpy(f->from.byte, bytes + AT_FROM, ARP_MAC_LEN);
    memcpy(f->source.byte, bytes + AT_SOURCE, sizeof f->source.byte);
    memcpy(f->target.byte, bytes + AT_TARGET, sizeof f->target.byte);
    f->identifier = get16(bytes + AT_IDENTIFIER);
    f->sequence = get16(bytes + AT_SEQUENCE);
    memcpy(f->data, bytes + AT_DATA, sizeof f->data);
    return true;
}
