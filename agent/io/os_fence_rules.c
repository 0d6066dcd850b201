#include "agent/io/os_fence_rules.h"

#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/io/os_command.h"
#include "agent/io/os_fence.h"

#define NFT_TIMEOUT_MS 5000
#define SCRIPT_MAX 32768

/* "add" of a table, set or base chain that is there already changes nothing, so the elements stay;
 * the chains are emptied and filled anew in the same transaction. Priorities: before connection
 * tracking and every redirection on the way in, after all of them on the way out.
 * %s: the guarded interface. */
static const char tables[] =
    "add table inet covey\n"
    "add set inet covey vips { type ipv4_addr; size 256; }\n"
    "add set inet covey leased { type ipv4_addr; size 256; flags timeout; }\n"
    "add chain inet covey prerouting { type filter hook prerouting priority -400; }\n"
    "add chain inet covey input { type filter hook input priority -400; }\n"
    "add chain inet covey output { type filter hook output priority -400; }\n"
    "add chain inet covey postrouting { type filter hook postrouting priority 400; }\n"
    "flush chain inet covey prerouting\n"
    "flush chain inet covey input\n"
    "flush chain inet covey output\n"
    "flush chain inet covey postrouting\n"
    "add table arp covey\n"
    "add set arp covey vips { type ipv4_addr; size 256; }\n"
    "add set arp covey leased { type ipv4_addr; size 256; flags timeout; }\n"
    "add chain arp covey input { type filter hook input priority 0; }\n"
    "add chain arp covey output { type filter hook output priority 0; }\n"
    "flush chain arp covey input\n"
    "flush chain arp covey output\n";

static const char rules[] =
    "add rule inet covey prerouting iifname \"%s\" ip daddr @vips ip daddr != @leased drop\n"
    "add rule inet covey input ip daddr @vips ip daddr != @leased drop\n"
    "add rule inet covey output ip saddr @vips ip saddr != @leased drop\n"
    "add rule inet covey postrouting oifname \"%s\" ip saddr @vips ip saddr != @leased drop\n"
    "add rule arp covey input arp daddr ip @vips arp daddr ip != @leased drop\n"
    "add rule arp covey output arp saddr ip @vips arp saddr ip != @leased drop\n";

static const char removal[] = "add table inet covey\n"
                              "delete table inet covey\n"
                              "add table arp covey\n"
                              "delete table arp covey\n";

struct script {
    char text[SCRIPT_MAX];
    size_t len;
    bool overflow;
};

__attribute__((format(printf, 2, 3))) static void put(struct script *s, const char *format, ...)
{
    size_t room = sizeof s->text - s->len;
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(s->text + s->len, room, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= room)
        s->overflow = true;
    else
        s->len += (size_t)n;
}

static void put_vips(struct script *s, const char *family, const struct addr *vips, size_t count)
{
    char text[ADDR_TEXT];
    size_t i;

    if (count == 0)
        return;
    put(s, "add element %s covey vips { ", family);
    for (i = 0; i < count; i++) {
        addr_format_ip(&vips[i], text);
        put(s, "%s%s", i > 0 ? ", " : "", text);
    }
    put(s, " }\n");
}

/* The name stands between quotes in the script, so nothing in it may end them. */
static bool name_is_safe(const char *interface)
{
    size_t len = strlen(interface);

    return len > 0 && len < IFNAMSIZ &&
           strspn(interface, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                             "._-@:") == len;
}

static const char *const nft_argv[] = {"nft", "-f", "-", NULL};

static int run_nft(const char *script, struct err *err)
{
    int rc = os_command_run(nft_argv, script, NFT_TIMEOUT_MS, err);

    if (rc == ERR_NOTFOUND)
        err_set(err, rc, "there is no program nft in PATH: install the package nftables");
    return rc;
}

int os_fence_rules_apply(const char *interface, const struct addr *vips, size_t count, bool replace,
                         struct err *err)
{
    struct script s = {.len = 0};
    size_t i;

    if (!name_is_safe(interface))
        return err_set(err, ERR_INVALID, "\"%s\" is not the name of an interface", interface);
    for (i = 0; i < count; i++) {
        if (vips[i].family != 4)
            return err_set(err, ERR_INVALID, "a virtual IP must be an IPv4 address");
    }
    if (replace)
        put(&s, "%s", removal);
    put(&s, "%s", tables);
    put(&s, rules, interface, interface);
    put_vips(&s, "inet", vips, count);
    put_vips(&s, "arp", vips, count);
    if (s.overflow)
        return err_set(err, ERR_LIMIT, "%zu addresses make more rules than fit", count);
    return run_nft(s.text, err);
}

int os_fence_rules_begin(const char *interface, struct os_command *nft, struct err *err)
{
    struct script s = {.len = 0};

    if (!name_is_safe(interface))
        return err_set(err, ERR_INVALID, "\"%s\" is not the name of an interface", interface);
    put(&s, "%s", tables);
    put(&s, rules, interface, interface);
    return os_command_begin(nft_argv, s.text, nft, err);
}

int os_fence_rules_end(struct os_command *nft, struct err *err)
{
    return os_command_end(nft, NFT_TIMEOUT_MS, err);
}

int os_fence_rules_remove(struct err *err)
{
    return run_nft(removal, err);
}
