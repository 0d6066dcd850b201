#include "agent/io/os_wifi.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <linux/genetlink.h>
#include <linux/nl80211.h>

#include "agent/io/os_mnl.h"

#define REQUEST_MAX 256 /* bytes of one request: some five attributes */

struct request {
    _Alignas(struct nlmsghdr) char bytes[REQUEST_MAX];
};

static struct nlmsghdr *begin(struct request *r, uint16_t family, uint8_t command)
{
    struct nlmsghdr *message;
    struct genlmsghdr *head;

    /* libmnl does not write what pads an attribute. */
    *r = (struct request){.bytes = {0}};
    message = mnl_nlmsg_put_header(r->bytes);
    message->nlmsg_type = family;
    head = mnl_nlmsg_put_extra_header(message, sizeof *head);
    head->cmd = command;
    head->version = 1;
    return message;
}

static int family_part(const struct nlattr *attribute, void *context)
{
    uint16_t *family = context;

    if (mnl_attr_get_type(attribute) == CTRL_ATTR_FAMILY_ID &&
        mnl_attr_get_payload_len(attribute) == sizeof *family)
        *family = mnl_attr_get_u16(attribute);
    return MNL_CB_OK;
}

static int family_row(const struct nlmsghdr *message, void *context)
{
    return mnl_attr_parse(message, sizeof(struct genlmsghdr), family_part, context);
}

/* Generic netlink families have no fixed numbers: asks for nl80211's. */
static int find_family(struct os_mnl *mnl, uint16_t *family, struct err *err)
{
    struct request r;
    struct nlmsghdr *message = begin(&r, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
    int errnum;

    *family = 0;
    mnl_attr_put_strz(message, CTRL_ATTR_FAMILY_NAME, NL80211_GENL_NAME);
    errnum = os_mnl_query(mnl, message, family_row, family);
    if (errnum == 0 && *family != 0)
        return ERR_NONE;
    if (errnum == ENOENT || errnum == 0)
        return err_set(err, ERR_NOTFOUND, "this kernel has no WiFi (nl80211)");
    return err_errno(err, os_mnl_code(errnum), errnum, "look for nl80211");
}

static int report(struct err *err, int errnum, const char *what, unsigned int index)
{
    if (errnum == 0)
        return ERR_NONE;
    if (errnum == ENODEV || errnum == EOPNOTSUPP)
        return err_set(err, ERR_NOTFOUND,
                       "interface %u is no WiFi, or its driver has no power save", index);
    return err_errno(err, os_mnl_code(errnum), errnum, "%s WiFi power save of interface %u", what,
                     index);
}

static int state_part(const struct nlattr *attribute, void *context)
{
    uint32_t *state = context;

    if (mnl_attr_get_type(attribute) == NL80211_ATTR_PS_STATE &&
        mnl_attr_get_payload_len(attribute) == sizeof *state)
        *state = mnl_attr_get_u32(attribute);
    return MNL_CB_OK;
}

static int state_row(const struct nlmsghdr *message, void *context)
{
    return mnl_attr_parse(message, sizeof(struct genlmsghdr), state_part, context);
}

int os_wifi_power_save_get(unsigned int index, bool *on, struct err *err)
{
    struct request r;
    struct nlmsghdr *message;
    struct os_mnl mnl;
    uint16_t family;
    uint32_t state = UINT32_MAX;
    int rc = os_mnl_open(&mnl, NETLINK_GENERIC, err);

    if (rc != ERR_NONE)
        return rc;
    rc = find_family(&mnl, &family, err);
    if (rc == ERR_NONE) {
        message = begin(&r, family, NL80211_CMD_GET_POWER_SAVE);
        mnl_attr_put_u32(message, NL80211_ATTR_IFINDEX, index);
        rc = report(err, os_mnl_query(&mnl, message, state_row, &state), "look up", index);
    }
    if (rc == ERR_NONE && state == UINT32_MAX)
        rc =
            err_set(err, ERR_IO, "the kernel does not say whether interface %u saves power", index);
    if (rc == ERR_NONE)
        *on = state == NL80211_PS_ENABLED;
    os_mnl_close(&mnl);
    return rc;
}

bool os_wifi_answers_arp(const char *sysfs, const char *interface)
{
    char path[512];
    char driver[512];
    const char *name;
    ssize_t n;

    if (snprintf(path, sizeof path, "%s/class/net/%s/device/driver", sysfs, interface) >=
        (int)sizeof path)
        return false;
    n = readlink(path, driver, sizeof driver - 1);
    if (n <= 0)
        return false;
    driver[n] = '\0';
    name = strrchr(driver, '/');
    return strcmp(name != NULL ? name + 1 : driver, "brcmfmac") == 0;
}

int os_wifi_power_save_set(unsigned int index, bool on, struct err *err)
{
    struct request r;
    struct nlmsghdr *message;
    struct os_mnl mnl;
    uint16_t family;
    int rc = os_mnl_open(&mnl, NETLINK_GENERIC, err);

    if (rc != ERR_NONE)
        return rc;
    rc = find_family(&mnl, &family, err);
    if (rc == ERR_NONE) {
        message = begin(&r, family, NL80211_CMD_SET_POWER_SAVE);
        mnl_attr_put_u32(message, NL80211_ATTR_IFINDEX, index);
        mnl_attr_put_u32(message, NL80211_ATTR_PS_STATE,
                         on ? NL80211_PS_ENABLED : NL80211_PS_DISABLED);
        rc = report(err, os_mnl_request(&mnl, message), "set", index);
    }
    os_mnl_close(&mnl);
    return rc;
}
