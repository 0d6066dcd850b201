/* What can be wrong with a machine's network. */
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/io/os_command.h"
#include "agent/io/os_doctor_inside.h"
#include "agent/io/os_netlink.h"
#include "agent/io/os_wifi.h"

#define NFT_TIMEOUT_MS 5000
#define ADDRESSES_MAX 256

static int look_up(const struct doctor_where *where, struct os_link *link,
                   struct os_address *addresses, size_t *count, struct err *err)
{
    struct os_netlink *netlink;
    int rc = os_netlink_open(&netlink, err);

    *count = 0;
    if (rc != ERR_NONE)
        return rc;
    rc = os_link_get(netlink, where->interface, link, err);
    if (rc == ERR_NONE && addresses != NULL)
        rc = os_address_list(netlink, link->index, addresses, ADDRESSES_MAX, count, err);
    os_netlink_close(netlink);
    return rc;
}

void doctor_interface(const struct doctor_where *where, struct doctor_finding *f)
{
    struct os_address addresses[ADDRESSES_MAX];
    struct os_link link = {.index = 0};
    size_t count;
    size_t own = 0;
    struct err err;

    if (look_up(where, &link, addresses, &count, &err) != ERR_NONE) {
        doctor_seen(f, "%.200s", err.text);
        doctor_wrong(f, DOCTOR_BAD, "The flock's interface cannot be used");
        doctor_fix(f, "set interface: in /etc/covey/agent.yaml to one of those that ip link shows");
        return;
    }
    for (size_t i = 0; i < count; i++)
        own += !addresses[i].ours;
    doctor_seen(f, "%s is %s, %s, with %zu address%s of its own", link.name,
                link.up ? "up" : "down", link.carrier ? "connected" : "not connected", own,
                own == 1 ? "" : "es");
    if (!link.up || !link.carrier)
        doctor_wrong(f, DOCTOR_BAD, "This machine is cut off from the flock");
    else if (own == 0)
        doctor_wrong(f, DOCTOR_BAD, "The interface has no IPv4 address");
    else
        return;
    doctor_fix(f, "see ip address show %s and, for WiFi, iw dev %s link", link.name, link.name);
}

void doctor_power_save(const struct doctor_where *where, struct doctor_finding *f)
{
    unsigned int index = if_nametoindex(where->interface);
    struct err err;
    bool on;

    if (index == 0 || os_wifi_power_save_get(index, &on, &err) != ERR_NONE) {
        doctor_skip(f, "%.32s is no WiFi, or its driver does not tell", where->interface);
        return;
    }
    doctor_seen(f, "%.32s: power save is %s", where->interface, on ? "on" : "off");
    if (!on)
        return;
    doctor_wrong(f, DOCTOR_WARNING,
                 "A sleeping radio answers after 0.1 to 1.3 s, and addresses move as late");
    doctor_fix(f,
               "iw dev %.32s set power_save off; agentd does so unless its configuration says "
               "power_save: true",
               where->interface);
}

void doctor_firmware_arp(const struct doctor_where *where, struct doctor_finding *f)
{
    struct os_link link = {.index = 0};
    size_t count;

    if (!os_wifi_answers_arp(where->sys, where->interface)) {
        doctor_skip(f, "%.32s has no firmware that answers ARP by itself", where->interface);
        return;
    }
    if (look_up(where, &link, NULL, &count, NULL) != ERR_NONE) {
        doctor_skip(f, "there is no %.32s", where->interface);
        return;
    }
    doctor_seen(f, "%s (brcmfmac): the promiscuous flag is %s", link.name,
                link.promiscuous ? "set" : "not set");
    if (link.promiscuous)
        return;
    doctor_wrong(f, DOCTOR_BAD,
                 "The radio's firmware answers ARP for at most eight addresses, and "
                 "goes on when a lease has ended");
    doctor_fix(f, "ip link set %s promisc on; agentd does so with promiscuous: auto", link.name);
}

/* A setting of the interface; the kernel takes the greater of it and that of "all". -1: unknown. */
static int setting(const struct doctor_where *where, const char *name)
{
    const char *of[] = {"all", where->interface};
    int greatest = -1;

    for (size_t i = 0; i < 2; i++) {
        char path[128];
        char text[16];
        snprintf(path, sizeof path, "sys/net/ipv4/conf/%.32s/%s", of[i], name);
        if (doctor_read(where->proc, path, text, sizeof text) && atoi(text) > greatest)
            greatest = atoi(text);
    }
    return greatest;
}

static uint32_t word(const struct sockaddr *address)
{
    struct sockaddr_in in;

    memcpy(&in, address, sizeof in);
    return in.sin_addr.s_addr;
}

static bool is_ipv4(const struct ifaddrs *a)
{
    return a->ifa_addr != NULL && a->ifa_netmask != NULL && a->ifa_addr->sa_family == AF_INET &&
           (a->ifa_flags & IFF_LOOPBACK) == 0 && (a->ifa_flags & IFF_UP) != 0;
}

/* Another interface that is up with an address in a network of ours; "" for none. */
static void find_twin(const struct doctor_where *where, char name[IF_NAMESIZE])
{
    struct ifaddrs *list;

    name[0] = '\0';
    if (getifaddrs(&list) != 0)
        return;
    for (const struct ifaddrs *a = list; a != NULL; a = a->ifa_next)
        for (const struct ifaddrs *b = list; b != NULL && is_ipv4(a); b = b->ifa_next)
            if (is_ipv4(b) && strcmp(a->ifa_name, where->interface) == 0 &&
                strcmp(b->ifa_name, where->interface) != 0 &&
                ((word(a->ifa_addr) ^ word(b->ifa_addr)) & word(a->ifa_netmask)) == 0)
                snprintf(name, IF_NAMESIZE, "%s", b->ifa_name);
    freeifaddrs(list);
}

void doctor_arp_ignore(const struct doctor_where *where, struct doctor_finding *f)
{
    int value = setting(where, "arp_ignore");
    char twin[IF_NAMESIZE];

    find_twin(where, twin);
    if (value < 0) {
        doctor_skip(f, "the kernel does not tell it");
        return;
    }
    doctor_seen(f, "arp_ignore is %d; %s", value,
                twin[0] != '\0' ? "another interface is in the same network"
                                : "no other interface is in the same network");
    if (value > 0 || twin[0] == '\0')
        return;
    doctor_wrong(f, DOCTOR_BAD, "%s answers ARP for the addresses of %.32s: clients come by either",
                 twin, where->interface);
    doctor_fix(f, "sysctl -w net.ipv4.conf.all.arp_ignore=1, and a file in /etc/sysctl.d");
}

void doctor_rp_filter(const struct doctor_where *where, struct doctor_finding *f)
{
    int value = setting(where, "rp_filter");
    char twin[IF_NAMESIZE];

    find_twin(where, twin);
    if (value < 0) {
        doctor_skip(f, "the kernel does not tell it");
        return;
    }
    doctor_seen(f, "rp_filter is %d; %s", value,
                twin[0] != '\0' ? "another interface is in the same network"
                                : "no other interface is in the same network");
    if (value != 1 || twin[0] == '\0')
        return;
    doctor_wrong(f, DOCTOR_BAD, "What comes by %.32s and would be answered by %s is dropped",
                 where->interface, twin);
    doctor_fix(f, "sysctl -w net.ipv4.conf.%.32s.rp_filter=2, or arp_settings: set in agent.yaml",
               where->interface);
}

/* Both tables, with both sets. */
void doctor_fence(const struct doctor_where *where, struct doctor_finding *f)
{
    static const char *const families[] = {"inet", "arp"};

    (void)where;
    if (geteuid() != 0) {
        doctor_skip(f, "only root may look at the rules: sudo agentctl doctor");
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        const char *const argv[] = {"nft", "list", "table", families[i], "covey", NULL};
        struct err err;
        int rc = os_command_run(argv, "", NFT_TIMEOUT_MS, &err);
        if (rc == ERR_NONE)
            continue;
        doctor_seen(f, "nft list table %s covey: %.160s", families[i], err.text);
        doctor_wrong(f, DOCTOR_BAD,
                     rc == ERR_NOTFOUND
                         ? "There is no nft program: no address can be held safely"
                         : "The fence is not there: a dead agent's address stays for "
                           "seconds");
        doctor_fix(f, rc == ERR_NOTFOUND
                          ? "apt-get install nftables"
                          : "is agentd running? What flushes the rules (nft flush ruleset)? Then "
                            "systemctl restart agentd");
        return;
    }
    doctor_seen(f, "the tables inet covey and arp covey are there");
}
