#include "agent/io/os_rtnl.h"

#include <linux/if.h>
#include <net/if_arp.h>
#include <string.h>

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#define ATTRIBUTES 64 /* attribute types below this are looked at */

/* The last attribute of each type. */
struct attributes {
    const struct nlattr *of[ATTRIBUTES];
};

static int collect(const struct nlattr *attribute, void *context)
{
    struct attributes *a = context;
    uint16_t type = mnl_attr_get_type(attribute);

    if (type < ATTRIBUTES)
        a->of[type] = attribute;
    return MNL_CB_OK;
}

/* False when the message is too short for its own header. */
static bool parse(const struct nlmsghdr *message, size_t head_size, struct attributes *a)
{
    *a = (struct attributes){.of = {NULL}};
    if (mnl_nlmsg_get_payload_len(message) < head_size)
        return false;
    return mnl_attr_parse(message, (unsigned int)head_size, collect, a) == MNL_CB_OK;
}

/* Copies an attribute's value; false when it is missing or shorter than @size. */
static bool value(const struct attributes *a, uint16_t type, void *out, size_t size)
{
    if (a->of[type] == NULL || mnl_attr_get_payload_len(a->of[type]) < size)
        return false;
    memcpy(out, mnl_attr_get_payload(a->of[type]), size);
    return true;
}

/* A value of exactly @size bytes: MAC addresses come in other lengths too. */
static bool exact(const struct attributes *a, uint16_t type, void *out, size_t size)
{
    return a->of[type] != NULL && mnl_attr_get_payload_len(a->of[type]) == size &&
           value(a, type, out, size);
}

bool os_rtnl_parse_link(const struct nlmsghdr *message, struct os_link *link)
{
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
    struct os_link found = {.index = 0};
    struct attributes a;
    size_t len;

    if ((message->nlmsg_type != RTM_NEWLINK && message->nlmsg_type != RTM_DELLINK) ||
        !parse(message, sizeof *info, &a))
        return false;
    if (info->ifi_type != ARPHRD_ETHER || a.of[IFLA_IFNAME] == NULL ||
        !exact(&a, IFLA_ADDRESS, &found.mac, sizeof found.mac))
        return false;
    len = mnl_attr_get_payload_len(a.of[IFLA_IFNAME]);
    if (len > sizeof found.name || !value(&a, IFLA_IFNAME, found.name, len))
        return false;
    found.name[sizeof found.name - 1] = '\0';
    found.index = (unsigned int)info->ifi_index;
    found.up = info->ifi_flags & IFF_UP;
    found.carrier = info->ifi_flags & IFF_LOWER_UP;
    found.promiscuous = info->ifi_flags & IFF_PROMISC;
    *link = found;
    return true;
}

bool os_rtnl_parse_address(const struct nlmsghdr *message, struct os_address *address)
{
    const struct ifaddrmsg *info = mnl_nlmsg_get_payload(message);
    struct ifa_cacheinfo life = {.ifa_valid = UINT32_MAX};
    struct attributes a;
    struct ipv4 ip;
    uint8_t protocol = 0;

    if ((message->nlmsg_type != RTM_NEWADDR && message->nlmsg_type != RTM_DELADDR) ||
        !parse(message, sizeof *info, &a) || info->ifa_family != AF_INET ||
        !value(&a, IFA_LOCAL, &ip, sizeof ip))
        return false;
    value(&a, IFA_CACHEINFO, &life, sizeof life);
    value(&a, IFA_PROTO, &protocol, sizeof protocol);
    *address = (struct os_address){.ip = ipv4_to_addr(ip),
                                   .index = info->ifa_index,
                                   .prefix = info->ifa_prefixlen,
                                   .ours = protocol == OS_ADDRESS_PROTOCOL,
                                   .lifetime_s = life.ifa_valid};
    return true;
}

bool os_rtnl_parse_neighbour(const struct nlmsghdr *message, unsigned int *index,
                             struct os_neighbour *neighbour)
{
    static const uint16_t known = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT;
    const struct ndmsg *info = mnl_nlmsg_get_payload(message);
    struct attributes a;

    if (message->nlmsg_type != RTM_NEWNEIGH || !parse(message, sizeof *info, &a) ||
        info->ndm_family != AF_INET || (info->ndm_state & known) == 0)
        return false;
    *index = (unsigned int)info->ndm_ifindex;
    return exact(&a, NDA_DST, &neighbour->ip, sizeof neighbour->ip) &&
           exact(&a, NDA_LLADDR, &neighbour->mac, sizeof neighbour->mac) &&
           (neighbour->mac.byte[0] & 1) == 0;
}

bool os_rtnl_parse_default_route(const struct nlmsghdr *message, unsigned int *index,
                                 struct ipv4 *gateway, uint32_t *metric)
{
    const struct rtmsg *info = mnl_nlmsg_get_payload(message);
    struct attributes a;
    uint32_t out;
    uint32_t table;

    if (message->nlmsg_type != RTM_NEWROUTE || !parse(message, sizeof *info, &a) ||
        info->rtm_family != AF_INET || info->rtm_dst_len != 0 || info->rtm_type != RTN_UNICAST)
        return false;
    table = info->rtm_table;
    value(&a, RTA_TABLE, &table, sizeof table);
    if (table != RT_TABLE_MAIN || !value(&a, RTA_OIF, &out, sizeof out) ||
        !exact(&a, RTA_GATEWAY, gateway, sizeof *gateway))
        return false;
    *index = out;
    *metric = 0;
    value(&a, RTA_PRIORITY, metric, sizeof *metric);
    return true;
}
