#include "agent/io/os_fence.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "agent/io/os_clock.h"
#include "agent/io/os_fence_rules.h"
#include "agent/io/os_mnl.h"

#define TABLE "covey"
#define SET_VIPS "vips"
#define SET_LEASED "leased"
#define OPEN_ATTEMPTS 3 /* of writing a fence before its lateness counts */
#define BATCH_MAX 1024  /* bytes: six elements of less than 100 and both ends */

static const uint8_t families[] = {NFPROTO_INET, NFPROTO_ARP};
#define FAMILIES (sizeof families / sizeof families[0])

struct os_fence {
    struct os_mnl netlink;
};

/* One transaction of nftables: all of it or nothing. */
struct batch {
    _Alignas(struct nlmsghdr) char bytes[BATCH_MAX];
    size_t len;
    uint32_t first; /* sequence number of its first message */
    uint32_t messages;
    uint32_t acks;
};

static struct nlmsghdr *batch_add(struct batch *b, uint16_t type, uint16_t flags, uint8_t family,
                                  uint16_t resource)
{
    struct nlmsghdr *message = mnl_nlmsg_put_header(b->bytes + b->len);
    struct nfgenmsg *head;

    message->nlmsg_type = type;
    message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    message->nlmsg_seq = b->first + b->messages++;
    head = mnl_nlmsg_put_extra_header(message, sizeof *head);
    head->nfgen_family = family;
    head->version = NFNETLINK_V0;
    head->res_id = htons(resource);
    return message;
}

static void batch_begin(struct batch *b, const struct os_mnl *netlink)
{
    struct nlmsghdr *message;

    *b = (struct batch){.first = netlink->seq + 1};
    message = batch_add(b, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    b->len += message->nlmsg_len;
}

/* Adds or deletes (by @type) one element. @timeout_ms 0 is none. Without NLM_F_EXCL adding what is
 * there already succeeds and changes nothing. */
static void batch_element(struct batch *b, uint16_t type, uint8_t family, const char *set,
                          uint32_t ip, uint64_t timeout_ms)
{
    uint16_t flags = NLM_F_ACK | (type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0);
    struct nlmsghdr *message =
        batch_add(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, family, 0);
    struct nlattr *elements;
    struct nlattr *element;
    struct nlattr *key;

    mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, TABLE);
    mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set);
    elements = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
    element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
    key = mnl_attr_nest_start(message, NFTA_SET_ELEM_KEY);
    mnl_attr_put_u32(message, NFTA_DATA_VALUE, ip);
    mnl_attr_nest_end(message, key);
    if (timeout_ms != 0)
        mnl_attr_put_u64(message, NFTA_SET_ELEM_TIMEOUT, htobe64(timeout_ms));
    mnl_attr_nest_end(message, element);
    mnl_attr_nest_end(message, elements);
    b->len += message->nlmsg_len;
    b->acks++;
}

/* Returns 0 or the kernel's errno; nothing has changed then. */
static int batch_commit(struct batch *b, struct os_mnl *netlink)
{
    struct nlmsghdr *message = batch_add(b, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);

    b->len += message->nlmsg_len;
    return os_mnl_transact(netlink, b->bytes, b->len, b->messages, b->acks);
}

static int report(struct err *err, int errnum, const char *verb, const struct addr *vip)
{
    char text[ADDR_TEXT];

    if (errnum == 0)
        return ERR_NONE;
    addr_format_ip(vip, text);
    if (errnum == ENOENT)
        return err_set(err, ERR_NOTFOUND,
                       "%s %s: the fence's tables are gone; somebody flushed the nftables rules",
                       verb, text);
    if (errnum == ENFILE)
        return err_set(err, ERR_FULL, "%s %s: more than %d virtual addresses", verb, text,
                       OS_FENCE_VIPS_MAX);
    return err_errno(err, os_mnl_code(errnum), errnum, "%s %s", verb, text);
}

void os_fence_free(struct os_fence *fence)
{
    if (fence == NULL)
        return;
    os_mnl_close(&fence->netlink);
    free(fence);
}

int os_fence_guard(struct os_fence *fence, const struct addr *vip, struct err *err)
{
    struct batch b;
    uint32_t ip;
    size_t i;
    int rc = os_mnl_ipv4(vip, &ip, err);

    if (rc != ERR_NONE)
        return rc;
    batch_begin(&b, &fence->netlink);
    for (i = 0; i < FAMILIES; i++)
        batch_element(&b, NFT_MSG_NEWSETELEM, families[i], SET_VIPS, ip, 0);
    return report(err, batch_commit(&b, &fence->netlink), "guard", vip);
}

int os_fence_unguard(struct os_fence *fence, const struct addr *vip, struct err *err)
{
    struct batch b;
    uint32_t ip;
    size_t i;
    int rc = os_mnl_ipv4(vip, &ip, err);

    if (rc != ERR_NONE)
        return rc;
    batch_begin(&b, &fence->netlink);
    for (i = 0; i < FAMILIES; i++) {
        /* Deleting what is not there would undo the batch. */
        batch_element(&b, NFT_MSG_NEWSETELEM, families[i], SET_VIPS, ip, 0);
        batch_element(&b, NFT_MSG_DELSETELEM, families[i], SET_VIPS, ip, 0);
    }
    return report(err, batch_commit(&b, &fence->netlink), "stop guarding", vip);
}

/* Sets the end of @ip's lease in both tables, or deletes it when @timeout_ms is 0. Each element is
 * added (no change if it is there), deleted and added again: a batch with a failing message is
 * undone, which costs the kernel a grace period of some 30 ms against microseconds for one that
 * succeeds, and adding alone would leave the end of an element as it was (before Linux 6.12).
 * Packets see the last step only. Returns 0 or an errno. */
static int lease(struct os_fence *fence, uint32_t ip, uint64_t timeout_ms)
{
    int attempts = 2;
    int errnum;

    do {
        struct batch b;
        size_t i;

        batch_begin(&b, &fence->netlink);
        for (i = 0; i < FAMILIES; i++) {
            batch_element(&b, NFT_MSG_NEWSETELEM, families[i], SET_LEASED, ip,
                          timeout_ms != 0 ? timeout_ms : OS_FENCE_LEASE_MAX_MS);
            batch_element(&b, NFT_MSG_DELSETELEM, families[i], SET_LEASED, ip, 0);
            if (timeout_ms != 0)
                batch_element(&b, NFT_MSG_NEWSETELEM, families[i], SET_LEASED, ip, timeout_ms);
        }
        errnum = batch_commit(&b, &fence->netlink);
        /* One that expires between the first step and the second cannot be deleted. */
    } while (errnum == ENOENT && --attempts > 0);
    return errnum;
}

static int shut(struct os_fence *fence, uint32_t ip)
{
    return lease(fence, ip, 0);
}

/* Writes the rest of the lease and reads the clock again. */
static int write_lease(struct os_fence *fence, const struct addr *vip, uint32_t ip,
                       mono_t lease_end, struct err *err)
{
    mono_t before = os_clock_now();
    int64_t left = mono_diff(lease_end, before);
    mono_t after;
    int errnum;

    if (left > OS_FENCE_LEASE_MAX_MS)
        return err_set(err, ERR_LIMIT, "the lease ends in %lld ms; at most %d are believed",
                       (long long)left, OS_FENCE_LEASE_MAX_MS);
    if (left < OS_FENCE_LEASE_MIN_MS)
        return err_set(err, ERR_TIMEOUT, "the lease has %lld ms left, too few to open the fence",
                       (long long)left);
    errnum = lease(fence, ip, (uint64_t)left - 1); /* the clock was rounded down */
    after = os_clock_now();
    if (errnum != 0)
        return report(err, errnum, "open the fence for", vip);
    if (mono_diff(after, before) < OS_FENCE_LATE_MS && mono_before(after, lease_end))
        return ERR_NONE;
    return err_set(err, ERR_TIMEOUT, "writing the fence took %lld ms: shut again",
                   (long long)mono_diff(after, before));
}

int os_fence_open(struct os_fence *fence, const struct addr *vip, mono_t lease_end, struct err *err)
{
    int attempts = OPEN_ATTEMPTS;
    uint32_t ip;
    int rc = os_mnl_ipv4(vip, &ip, err);

    if (rc != ERR_NONE)
        return rc;
    /* A late write is taken back by the next one, which knows the time better: on a busy machine
     * the address need not go for that. */
    do
        rc = write_lease(fence, vip, ip, lease_end, err);
    while (rc == ERR_TIMEOUT && --attempts > 0);
    if (rc != ERR_NONE)
        shut(fence, ip);
    return rc;
}

int os_fence_shut(struct os_fence *fence, const struct addr *vip, struct err *err)
{
    uint32_t ip;
    int rc = os_mnl_ipv4(vip, &ip, err);

    if (rc != ERR_NONE)
        return rc;
    return report(err, shut(fence, ip), "shut the fence for", vip);
}

struct listing {
    struct os_fence_entry *entries;
    size_t max;
    size_t count;
    bool leases; /* the rows are of the set of leases */
    bool overflow;
};

static void list_entry(struct listing *l, uint32_t ip, int64_t left_ms)
{
    struct addr vip = os_mnl_addr(ip);
    size_t i;

    for (i = 0; i < l->count && !addr_equal(&l->entries[i].vip, &vip); i++)
        ;
    if (i == l->count) {
        if (l->leases)
            return; /* leased but no longer guarded */
        if (l->count == l->max) {
            l->overflow = true;
            return;
        }
        l->entries[l->count++] = (struct os_fence_entry){.vip = vip};
    }
    if (left_ms > l->entries[i].left_ms)
        l->entries[i].left_ms = left_ms;
}

struct element {
    uint32_t ip;
    uint64_t left_ms;
    bool named;
};

static int element_key(const struct nlattr *attribute, void *context)
{
    struct element *e = context;

    if (mnl_attr_get_type(attribute) == NFTA_DATA_VALUE &&
        mnl_attr_get_payload_len(attribute) == sizeof e->ip) {
        memcpy(&e->ip, mnl_attr_get_payload(attribute), sizeof e->ip);
        e->named = true;
    }
    return MNL_CB_OK;
}

static int element_part(const struct nlattr *attribute, void *context)
{
    struct element *e = context;

    if (mnl_attr_get_type(attribute) == NFTA_SET_ELEM_KEY)
        return mnl_attr_parse_nested(attribute, element_key, e);
    if (mnl_attr_get_type(attribute) == NFTA_SET_ELEM_EXPIRATION &&
        mnl_attr_get_payload_len(attribute) == sizeof e->left_ms)
        e->left_ms = be64toh(mnl_attr_get_u64(attribute));
    return MNL_CB_OK;
}

static int list_element(const struct nlattr *attribute, void *context)
{
    struct element e = {.named = false};

    if (mnl_attr_parse_nested(attribute, element_part, &e) == MNL_CB_OK && e.named)
        list_entry(context, e.ip, e.left_ms < INT64_MAX ? (int64_t)e.left_ms : INT64_MAX);
    return MNL_CB_OK;
}

static int list_part(const struct nlattr *attribute, void *context)
{
    if (mnl_attr_get_type(attribute) == NFTA_SET_ELEM_LIST_ELEMENTS)
        return mnl_attr_parse_nested(attribute, list_element, context);
    return MNL_CB_OK;
}

static int list_row(const struct nlmsghdr *message, void *context)
{
    return mnl_attr_parse(message, sizeof(struct nfgenmsg), list_part, context);
}

static int list_set(struct os_fence *fence, uint8_t family, const char *set, struct listing *l)
{
    struct batch b = {.first = 0};
    struct nlmsghdr *message = batch_add(
        &b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM), NLM_F_DUMP, family, 0);

    mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, TABLE);
    mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set);
    return os_mnl_query(&fence->netlink, message, list_row, l);
}

/* Goes through all four sets, whatever happens to one of them. Returns 0 or the first errno. */
static int list_all(struct os_fence *fence, struct os_fence_entry *entries, size_t max,
                    struct listing *l)
{
    int first_error = 0;
    size_t i;

    *l = (struct listing){.entries = entries, .max = max};
    for (i = 0; i < 2 * FAMILIES; i++) {
        int errnum;

        l->leases = i >= FAMILIES;
        errnum = list_set(fence, families[i % FAMILIES], l->leases ? SET_LEASED : SET_VIPS, l);
        if (first_error == 0)
            first_error = errnum;
    }
    return first_error;
}

int os_fence_list(struct os_fence *fence, struct os_fence_entry *entries, size_t max, size_t *count,
                  struct err *err)
{
    struct listing l;
    int attempts = 3;
    int errnum;

    do {
        errnum = list_all(fence, entries, max, &l);
        /* A refresh meanwhile disturbs the dump. */
    } while (errnum == EINTR && --attempts > 0);
    if (errnum != 0)
        return err_errno(err, os_mnl_code(errnum), errnum, "list the fenced addresses");
    if (l.overflow)
        return err_set(err, ERR_LIMIT, "more than %zu addresses are fenced", max);
    *count = l.count;
    return ERR_NONE;
}

int os_fence_setup(const char *interface, const struct addr *vips, size_t count,
                   struct os_fence **fence, struct err *err)
{
    struct os_fence_entry old[OS_FENCE_VIPS_MAX];
    struct addr all[2 * OS_FENCE_VIPS_MAX];
    struct os_fence *f;
    struct listing known;
    size_t i;
    int rc;

    if (count > OS_FENCE_VIPS_MAX)
        return err_set(err, ERR_LIMIT, "%zu virtual addresses; at most %d can be fenced", count,
                       OS_FENCE_VIPS_MAX);
    f = calloc(1, sizeof *f);
    if (f == NULL)
        return err_set(err, ERR_NOMEM, "set up the fence");
    rc = os_mnl_open(&f->netlink, NETLINK_NETFILTER, err);
    if (rc != ERR_NONE)
        goto err_after_alloc;
    rc = os_fence_rules_apply(interface, vips, count, false, err);
    if (rc == ERR_IO) {
        /* Tables of another make are in the way. New ones replace them in the same transaction;
         * they know no lease, which errs on the safe side, but must know the old addresses. */
        list_all(f, old, OS_FENCE_VIPS_MAX, &known);
        for (i = 0; i < known.count; i++)
            all[i] = old[i].vip;
        for (i = 0; i < count; i++)
            all[known.count + i] = vips[i];
        rc = os_fence_rules_apply(interface, all, known.count + count, true, err);
    }
    if (rc != ERR_NONE)
        goto err_after_open;
    *fence = f;
    return ERR_NONE;

err_after_open:
    os_mnl_close(&f->netlink);
err_after_alloc:
    free(f);
    err_wrap(err, "set up the fence of virtual addresses");
    return rc;
}

struct os_fence_begun {
    struct os_command nft;
};

struct os_fence_begun *os_fence_begin(const char *interface)
{
    struct os_fence_begun *begun = calloc(1, sizeof *begun);

    if (begun != NULL && os_fence_rules_begin(interface, &begun->nft, NULL) != ERR_NONE) {
        free(begun);
        return NULL;
    }
    return begun;
}

void os_fence_drop(struct os_fence_begun *begun)
{
    if (begun != NULL)
        (void)os_fence_rules_end(&begun->nft, NULL);
    free(begun);
}

/* The rules are set: what is missing is the addresses. */
static int finish_begun(const struct addr *vips, size_t count, struct os_fence **fence,
                        struct err *err)
{
    struct os_fence *f = calloc(1, sizeof *f);
    int rc = f != NULL ? os_mnl_open(&f->netlink, NETLINK_NETFILTER, err)
                       : err_set(err, ERR_NOMEM, "set up the fence");

    if (rc != ERR_NONE) {
        free(f);
        return rc;
    }
    for (size_t i = 0; i < count && rc == ERR_NONE; i++)
        rc = os_fence_guard(f, &vips[i], err);
    if (rc != ERR_NONE) {
        os_fence_free(f);
        return rc;
    }
    *fence = f;
    return ERR_NONE;
}

int os_fence_setup_begun(struct os_fence_begun *begun, const char *interface,
                         const struct addr *vips, size_t count, struct os_fence **fence,
                         struct err *err)
{
    int rc = begun != NULL ? os_fence_rules_end(&begun->nft, NULL) : ERR_NOTFOUND;

    free(begun);
    if (rc == ERR_NONE)
        rc = finish_begun(vips, count, fence, NULL);
    return rc == ERR_NONE ? rc : os_fence_setup(interface, vips, count, fence, err);
}

int os_fence_purge(struct err *err)
{
    return os_fence_rules_remove(err);
}
