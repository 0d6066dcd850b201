#include "agent/io/arp_frame.h"

#include <stdio.h>
#include <string.h>

/* Offsets in the frame: RFC 894 and RFC 826. */
enum {
    AT_TO = 0,
    AT_FROM = 6,
    AT_ETHERTYPE = 12,
    AT_HARDWARE = 14,
    AT_PROTOCOL = 16,
    AT_LENGTHS = 18,
    AT_OPERATION = 20,
    AT_SENDER_MAC = 22,
    AT_SENDER_IP = 28,
    AT_TARGET_MAC = 32,
    AT_TARGET_IP = 38
};

/* Ethertype ARP, hardware Ethernet, protocol IPv4, their address lengths. */
static const uint8_t kind[] = {0x08, 0x06, 0x00, 0x01, 0x08, 0x00, ARP_MAC_LEN, 4};

bool mac_equal(struct mac a, struct mac b)
{
    return memcmp(a.byte, b.byte, sizeof a.byte) == 0;
}

bool ipv4_equal(struct ipv4 a, struct ipv4 b)
{
    return memcmp(a.byte, b.byte, sizeof a.byte) == 0;
}

bool ipv4_from_addr(const struct addr *a, struct ipv4 *ip)
{
    if (a->family != 4)
        return false;
    memcpy(ip->byte, a->ip, sizeof ip->byte);
    return true;
}

struct addr ipv4_to_addr(struct ipv4 ip)
{
    struct addr a = {.family = 4};

    memcpy(a.ip, ip.byte, sizeof ip.byte);
    return a;
}

void mac_format(struct mac m, char text[ARP_MAC_TEXT])
{
    snprintf(text, ARP_MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", m.byte[0], m.byte[1], m.byte[2],
             m.byte[3], m.byte[4], m.byte[5]);
}

void arp_probe(struct arp_frame *f, struct mac own, struct ipv4 ip)
{
    *f = (struct arp_frame){.to = ARP_BROADCAST,
                            .from = own,
                            .operation = ARP_REQUEST,
                            .sender_mac = own,
                            .target_ip = ip};
}

void arp_announce_request(struct arp_frame *f, struct mac own, struct ipv4 vip)
{
    arp_probe(f, own, vip);
    f->sender_ip = vip;
}

void arp_announce_reply(struct arp_frame *f, struct mac own, struct ipv4 vip)
{
    arp_notify_reply(f, own, vip, ARP_BROADCAST, vip);
}

void arp_notify_request(struct arp_frame *f, struct mac own, struct ipv4 vip, struct mac to,
                        struct ipv4 to_ip)
{
    arp_ask(f, own, vip, to_ip, &to);
}

void arp_notify_reply(struct arp_frame *f, struct mac own, struct ipv4 vip, struct mac to,
                      struct ipv4 to_ip)
{
    *f = (struct arp_frame){.to = to,
                            .from = own,
                            .operation = ARP_REPLY,
                            .sender_mac = own,
                            .sender_ip = vip,
                            .target_mac = own,
                            .target_ip = to_ip};
}

void arp_ask(struct arp_frame *f, struct mac own, struct ipv4 own_ip, struct ipv4 target,
             const struct mac *target_mac)
{
    *f = (struct arp_frame){.to = target_mac != NULL ? *target_mac : ARP_BROADCAST,
                            .from = own,
                            .operation = ARP_REQUEST,
                            .sender_mac = own,
                            .sender_ip = own_ip,
                            .target_ip = target};
}

void arp_encode(const struct arp_frame *f, uint8_t bytes[ARP_FRAME_LEN])
{
    memcpy(bytes + AT_TO, f->to.byte, ARP_MAC_LEN);
    memcpy(bytes + AT_FROM, f->from.byte, ARP_MAC_LEN);
    memcpy(bytes + AT_ETHERTYPE, kind, sizeof kind);
    bytes[AT_OPERATION] = 0;
    bytes[AT_OPERATION + 1] = (uint8_t)f->operation;
    memcpy(bytes + AT_SENDER_MAC, f->sender_mac.byte, ARP_MAC_LEN);
    memcpy(bytes + AT_SENDER_IP, f->sender_ip.byte, sizeof f->sender_ip.byte);
    memcpy(bytes + AT_TARGET_MAC, f->target_mac.byte, ARP_MAC_LEN);
    memcpy(bytes + AT_TARGET_IP, f->target_ip.byte, sizeof f->target_ip.byte);
}

bool arp_decode(const uint8_t *bytes, size_t len, struct arp_frame *f)
{
    if (len < ARP_FRAME_LEN || memcmp(bytes + AT_ETHERTYPE, kind, sizeof kind) != 0)
        return false;
    if (bytes[AT_OPERATION] != 0 ||
        (bytes[AT_OPERATION + 1] != ARP_REQUEST && bytes[AT_OPERATION + 1] != ARP_REPLY))
        return false;
    if (bytes[AT_SENDER_MAC] & 1)
        return false;
    f->operation = bytes[AT_OPERATION + 1] == ARP_REQUEST ? ARP_REQUEST : ARP_REPLY;
    memcpy(f->to.byte, bytes + AT_TO, ARP_MAC_LEN);
    memcpy(f->from.byte, bytes + AT_FROM, ARP_MAC_LEN);
    memcpy(f->sender_mac.byte, bytes + AT_SENDER_MAC, ARP_MAC_LEN);
    memcpy(f->sender_ip.byte, bytes + AT_SENDER_IP, sizeof f->sender_ip.byte);
    memcpy(f->target_mac.byte, bytes + AT_TARGET_MAC, ARP_MAC_LEN);
    memcpy(f->target_ip.byte, bytes + AT_TARGET_IP, sizeof f->target_ip.byte);
    return true;
}

enum arp_meaning arp_meaning(const struct arp_frame *f, struct mac own, struct ipv4 vip)
{
    static const struct ipv4 nobody = {{0}};

    if (mac_equal(f->sender_mac, own))
        return ARP_NOTHING; /* our own frame, echoed by an access point */
    if (ipv4_equal(f->sender_ip, vip))
        return ARP_CLAIM;
    if (!ipv4_equal(f->target_ip, vip))
        return ARP_NOTHING;
    if (f->operation == ARP_REPLY && mac_equal(f->target_mac, own))
        return ARP_ANSWER;
    if (f->operation == ARP_REQUEST && ipv4_equal(f->sender_ip, nobody))
        return ARP_RIVAL;
    return ARP_NOTHING;
}
