#include "agent/io/os_netlink.h"

#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "agent/io/os_mnl.h"
#include "agent/io/os_rtnl.h"

#define LIFETIME_MAX_S 60
#define REQUEST_MAX 256 /* bytes of one request: some five attributes */
#define DUMP_ATTEMPTS 3 /* a dump that another change disturbs is begun anew */

struct os_netlink {
    struct os_mnl mnl;
};

struct request {
    _Alignas(struct nlmsghdr) char bytes[REQUEST_MAX];
};

int os_netlink_open(struct os_netlink **netlink, struct err *err)
{
    struct os_netlink *n = calloc(1, sizeof *n);
    int rc;

    if (n == NULL)
        return err_set(err, ERR_NOMEM, "open a netlink socket");
    rc = os_mnl_open(&n->mnl, NETLINK_ROUTE, err);
    if (rc != ERR_NONE) {
        free(n);
        return rc;
    }
    *netlink = n;
    return ERR_NONE;
}

void os_netlink_close(struct os_netlink *netlink)
{
    if (netlink == NULL)
        return;
    os_mnl_close(&netlink->mnl);
    free(netlink);
}

/* Begins a message of @type with room for a family header of @size bytes, all zero. */
static struct nlmsghdr *begin(struct request *r, uint16_t type, uint16_t flags, size_t size,
                              void **head)
{
    struct nlmsghdr *message;

    /* libmnl does not write what pads an attribute. */
    *r = (struct request){.bytes = {0}};
    message = mnl_nlmsg_put_header(r->bytes);
    message->nlmsg_type = type;
    message->nlmsg_flags = flags;
    *head = mnl_nlmsg_put_extra_header(message, size);
    return message;
}

static int link_row(const struct nlmsghdr *message, void *context)
{
    struct os_link *link = context;

    os_rtnl_parse_link(message, link);
    return MNL_CB_OK;
}

int os_link_get(struct os_netlink *netlink, const char *name, struct os_link *link, struct err *err)
{
    struct request r;
    struct os_link found = {.index = 0};
    struct nlmsghdr *message;
    void *head;
    int errnum;

    if (name[0] == '\0' || strlen(name) >= OS_LINK_NAME)
        return err_set(err, ERR_INVALID, "\"%s\" is not the name of an interface", name);
    message = begin(&r, RTM_GETLINK, 0, sizeof(struct ifinfomsg), &head);
    mnl_attr_put_strz(message, IFLA_IFNAME, name);
    errnum = os_mnl_query(&netlink->mnl, message, link_row, &found);
    if (errnum == ENODEV)
        return err_set(err, ERR_NOTFOUND, "there is no interface %s", name);
    if (errnum != 0)
        return err_errno(err, os_mnl_code(errnum), errnum, "look up interface %s", name);
    if (found.index == 0)
        return err_set(err, ERR_INVALID, "interface %s has no Ethernet address", name);
    *link = found;
    return ERR_NONE;
}

int os_link_set_promiscuous(struct os_netlink *netlink, unsigned int index, bool on,
                            struct err *err)
{
    struct request r;
    struct nlmsghdr *message;
    struct ifinfomsg *info;
    void *head;
    int errnum;

    message = begin(&r, RTM_NEWLINK, 0, sizeof *info, &head);
    info = head;
    info->ifi_index = (int)index;
    info->ifi_change = IFF_PROMISC;
    info->ifi_flags = on ? IFF_PROMISC : 0;
    errnum = os_mnl_request(&netlink->mnl, message);
    if (errnum != 0)
        return err_errno(err, os_mnl_code(errnum), errnum, "%s promiscuous mode of interface %u",
                         on ? "set" : "clear", index);
    return ERR_NONE;
}

static struct nlmsghdr *begin_address(struct request *r, uint16_t type, uint16_t flags,
                                      unsigned int index, uint32_t ip)
{
    struct nlmsghdr *message;
    struct ifaddrmsg *info;
    void *head;

    message = begin(r, type, flags, sizeof *info, &head);
    info = head;
    info->ifa_family = AF_INET;
    info->ifa_prefixlen = 32;
    info->ifa_index = index;
    info->ifa_scope = RT_SCOPE_UNIVERSE;
    mnl_attr_put_u32(message, IFA_LOCAL, ip);
    mnl_attr_put_u32(message, IFA_ADDRESS, ip);
    return message;
}

int os_address_set(struct os_netlink *netlink, unsigned int index, const struct addr *ip,
                   uint32_t lifetime_s, struct err *err)
{
    struct ifa_cacheinfo life = {.ifa_prefered = lifetime_s, .ifa_valid = lifetime_s};
    struct request r;
    struct nlmsghdr *message;
    char text[ADDR_TEXT];
    uint32_t raw;
    int errnum;
    int rc = os_mnl_ipv4(ip, &raw, err);

    if (rc != ERR_NONE)
        return rc;
    if (lifetime_s < 1 || lifetime_s > LIFETIME_MAX_S)
        return err_set(err, ERR_INVALID, "an address lives 1 to %d s, not %u", LIFETIME_MAX_S,
                       lifetime_s);
    message = begin_address(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, raw);
    mnl_attr_put_u32(message, IFA_FLAGS, IFA_F_NOPREFIXROUTE);
    mnl_attr_put(message, IFA_CACHEINFO, sizeof life, &life);
    mnl_attr_put_u8(message, IFA_PROTO, OS_ADDRESS_PROTOCOL);
    errnum = os_mnl_request(&netlink->mnl, message);
    if (errnum != 0) {
        addr_format_ip(ip, text);
        return err_errno(err, os_mnl_code(errnum), errnum, "set %s on interface %u", text, index);
    }
    return ERR_NONE;
}

int os_address_delete(struct os_netlink *netlink, unsigned int index, const struct addr *ip,
                      struct err *err)
{
    struct request r;
    char text[ADDR_TEXT];
    uint32_t raw;
    int errnum;
    int rc = os_mnl_ipv4(ip, &raw, err);

    if (rc != ERR_NONE)
        return rc;
    errnum = os_mnl_request(&netlink->mnl, begin_address(&r, RTM_DELADDR, 0, index, raw));
    if (errnum != 0 && errnum != EADDRNOTAVAIL && errnum != ENODEV) {
        addr_format_ip(ip, text);
        return err_errno(err, os_mnl_code(errnum), errnum, "delete %s from interface %u", text,
                         index);
    }
    return ERR_NONE;
}

/* One table for every dump: rows that pass the filter go to the next place, if there is one. */
struct rows {
    unsigned int index; /* 0: of every interface */
    size_t max;
    size_t count;
    bool overflow;
    union {
        struct os_address *addresses;
        struct os_neighbour *neighbours;
    };
    struct ipv4 gateway;
    uint32_t metric; /* of the best route so far */
};

static int dump(struct os_netlink *netlink, uint16_t type, size_t head_size, mnl_cb_t row,
                struct rows *rows)
{
    struct rows empty = *rows;
    int attempts = DUMP_ATTEMPTS;
    int errnum;

    do {
        struct request r;
        struct nlmsghdr *message;
        struct rtgenmsg *general;
        void *head;

        *rows = empty;
        /* Every family header begins with the family. */
        message = begin(&r, type, NLM_F_DUMP, head_size, &head);
        general = head;
        general->rtgen_family = AF_INET;
        errnum = os_mnl_query(&netlink->mnl, message, row, rows);
    } while (errnum == EINTR && --attempts > 0);
    return errnum;
}

static int address_row(const struct nlmsghdr *message, void *context)
{
    struct rows *rows = context;
    struct os_address address;

    if (!os_rtnl_parse_address(message, &address))
        return MNL_CB_OK;
    if (rows->index != 0 && address.index != rows->index)
        return MNL_CB_OK;
    if (rows->count == rows->max)
        rows->overflow = true;
    else
        rows->addresses[rows->count++] = address;
    return MNL_CB_OK;
}

int os_address_list(struct os_netlink *netlink, unsigned int index, struct os_address *addresses,
                    size_t max, size_t *count, struct err *err)
{
    struct rows rows = {.index = index, .max = max, .addresses = addresses};
    int errnum = dump(netlink, RTM_GETADDR, sizeof(struct ifaddrmsg), address_row, &rows);

    if (errnum != 0)
        return err_errno(err, os_mnl_code(errnum), errnum, "list the addresses");
    if (rows.overflow)
        return err_set(err, ERR_LIMIT, "more than %zu addresses on interface %u", max, index);
    *count = rows.count;
    return ERR_NONE;
}

static int neighbour_row(const struct nlmsghdr *message, void *context)
{
    struct rows *rows = context;
    struct os_neighbour neighbour;
    unsigned int index;

    if (os_rtnl_parse_neighbour(message, &index, &neighbour) && index == rows->index &&
        rows->count < rows->max)
        rows->neighbours[rows->count++] = neighbour;
    return MNL_CB_OK;
}

int os_neighbour_list(struct os_netlink *netlink, unsigned int index,
                      struct os_neighbour *neighbours, size_t max, size_t *count, struct err *err)
{
    struct rows rows = {.index = index, .max = max, .neighbours = neighbours};
    int errnum = dump(netlink, RTM_GETNEIGH, sizeof(struct ndmsg), neighbour_row, &rows);

    if (errnum != 0)
        return err_errno(err, os_mnl_code(errnum), errnum, "list the neighbours");
    *count = rows.count;
    return ERR_NONE;
}

int os_neighbour_suggest(struct os_netlink *netlink, unsigned int index,
                         const struct os_neighbour *neighbour, struct err *err)
{
    struct request r;
    struct nlmsghdr *message;
    struct ndmsg *entry;
    void *head;
    int errnum;

    message = begin(&r, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL, sizeof *entry, &head);
    entry = head;
    entry->ndm_family = AF_INET;
    entry->ndm_ifindex = (int)index;
    entry->ndm_state = NUD_STALE;
    mnl_attr_put(message, NDA_DST, sizeof neighbour->ip.byte, neighbour->ip.byte);
    mnl_attr_put(message, NDA_LLADDR, sizeof neighbour->mac.byte, neighbour->mac.byte);
    errnum = os_mnl_request(&netlink->mnl, message);
    if (errnum != 0 && errnum != EEXIST)
        return err_errno(err, os_mnl_code(errnum), errnum, "add a neighbour on interface %u",
                         index);
    return ERR_NONE;
}

static int gateway_row(const struct nlmsghdr *message, void *context)
{
    struct rows *rows = context;
    struct ipv4 gateway;
    unsigned int index;
    uint32_t metric;

    if (!os_rtnl_parse_default_route(message, &index, &gateway, &metric) || index != rows->index)
        return MNL_CB_OK;
    if (rows->count == 0 || metric < rows->metric) {
        rows->count = 1;
        rows->gateway = gateway;
        rows->metric = metric;
    }
    return MNL_CB_OK;
}

int os_gateway_get(struct os_netlink *netlink, unsigned int index, struct ipv4 *gateway,
                   struct err *err)
{
    struct rows rows = {.index = index};
    int errnum = dump(netlink, RTM_GETROUTE, sizeof(struct rtmsg), gateway_row, &rows);

    if (errnum != 0)
        return err_errno(err, os_mnl_code(errnum), errnum, "look up the default route");
    if (rows.count == 0)
        return err_set(err, ERR_NOTFOUND, "there is no default route by interface %u", index);
    *gateway = rows.gateway;
    return ERR_NONE;
}
