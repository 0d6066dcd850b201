/* The two fences of a virtual address on a real kernel: what answers for it, and for how long. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/io/os_sysctl.h"
#include "agent/io/os_watch.h"
#include "agent/io/os_wifi.h"
#include "tests/lab/edge_fixture.h"

#define SLACK_MS 50 /* what the protocol allows the fence to be late (F) */

/* How much later than the one before each of the next readings of the clock is: there the agent was
 * stopped. */
static const int64_t *stops;
static size_t stop_count;
static int64_t stopped_ms;

mono_t __real_os_clock_now(void);
mono_t __wrap_os_clock_now(void);

mono_t __wrap_os_clock_now(void)
{
    if (stop_count > 0) {
        stop_count--;
        stopped_ms += *stops++;
    }
    return mono_add(__real_os_clock_now(), stopped_ms);
}

static void stop_between_readings(const int64_t *ms, size_t count)
{
    stops = ms;
    stop_count = count;
}

static void open_fence(struct edge *e, int host, int64_t ms)
{
    edge_ok(e, os_fence_open(e->host[host].fence, &e->vip, mono_add(os_clock_now(), ms), &e->err));
}

static int64_t left_of(struct edge *e, int host)
{
    struct os_fence_entry entries[4];
    size_t count = 0;
    size_t i;

    edge_ok(e, os_fence_list(e->host[host].fence, entries, 4, &count, &e->err));
    for (i = 0; i < count; i++) {
        if (addr_equal(&entries[i].vip, &e->vip))
            return entries[i].left_ms;
    }
    return -1;
}

static bool has_vip(struct edge *e, int host, struct os_address *found)
{
    struct os_address addresses[16];
    size_t count = 0;
    size_t i;

    edge_ok(e, os_address_list(e->host[host].netlink, e->host[host].link.index, addresses, 16,
                               &count, &e->err));
    for (i = 0; i < count; i++) {
        if (addr_equal(&addresses[i].ip, &e->vip)) {
            *found = addresses[i];
            return true;
        }
    }
    return false;
}

static struct os_watch *open_watch(struct edge *e, int host)
{
    struct os_watch *watch;

    netlab_enter(e->lab.host[host]);
    edge_ok(e, os_watch_open(&watch, &e->err));
    netlab_enter(e->lab.home);
    return watch;
}

struct awaited {
    enum os_watch_kind kind;
    const struct addr *vip; /* NULL: a link that is not up */
    bool seen;
};

static void note_event(const struct os_watch_event *event, void *context)
{
    struct awaited *a = context;

    if (event->kind != a->kind)
        return;
    if (a->vip != NULL ? addr_equal(&event->address.ip, a->vip) : !event->link.up)
        a->seen = true;
}

static bool await(struct edge *e, struct os_watch *watch, struct awaited *a)
{
    mono_t bound = mono_add(os_clock_now(), BOUND_MS);

    while (!a->seen && mono_before(os_clock_now(), bound)) {
        struct pollfd fd = {.fd = os_watch_fd(watch), .events = POLLIN};

        poll(&fd, 1, BOUND_MS);
        edge_ok(e, os_watch_read(watch, note_event, a, &e->err));
    }
    return a->seen;
}

static void an_address_goes_by_itself(void **state)
{
    struct edge *e = *state;
    struct edge_host *h = &e->host[HOLDER];
    struct os_watch *watch = open_watch(e, HOLDER);
    struct awaited gone = {.kind = OS_WATCH_ADDRESS_GONE, .vip = &e->vip};
    struct os_address found;

    edge_ok(e, os_address_set(h->netlink, h->link.index, &e->vip, 1, &e->err));
    assert_true(has_vip(e, HOLDER, &found));
    assert_true(found.ours);
    assert_int_equal(found.prefix, 32);
    /* Setting it again is a refresh. */
    edge_ok(e, os_address_set(h->netlink, h->link.index, &e->vip, 30, &e->err));
    assert_true(has_vip(e, HOLDER, &found));
    assert_in_range(found.lifetime_s, 2, 30);
    edge_ok(e, os_address_set(h->netlink, h->link.index, &e->vip, 1, &e->err));
    assert_true(await(e, watch, &gone));
    assert_false(has_vip(e, HOLDER, &found));
    os_watch_close(watch);
}

static void changes_made_by_others_are_seen(void **state)
{
    struct edge *e = *state;
    struct edge_host *h = &e->host[HOLDER];
    struct os_watch *watch = open_watch(e, HOLDER);
    struct awaited gone = {.kind = OS_WATCH_ADDRESS_GONE, .vip = &e->vip};
    struct awaited down = {.kind = OS_WATCH_LINK};
    struct arp_frame frame;

    edge_set_vip(e, HOLDER);
    assert_int_equal(netlab_run(e->lab.host[HOLDER], "ip address flush dev wlan0"), 0);
    assert_true(await(e, watch, &gone));
    assert_int_equal(netlab_run(e->lab.host[HOLDER], "ip link set wlan0 down"), 0);
    assert_true(await(e, watch, &down));
    edge_ok(e, os_link_get(h->netlink, "wlan0", &h->link, &e->err));
    assert_false(h->link.up);
    assert_false(h->link.carrier);
    arp_probe(&frame, h->link.mac, e->vip_ip);
    assert_int_equal(os_arp_send(h->arp, &frame, &e->err), ERR_UNREACHABLE);
    os_watch_close(watch);
}

static void deleting_an_address_twice_is_no_error(void **state)
{
    struct edge *e = *state;
    struct edge_host *h = &e->host[HOLDER];
    struct os_address found;

    edge_set_vip(e, HOLDER);
    edge_ok(e, os_address_delete(h->netlink, h->link.index, &e->vip, &e->err));
    assert_false(has_vip(e, HOLDER, &found));
    edge_ok(e, os_address_delete(h->netlink, h->link.index, &e->vip, &e->err));
    assert_int_equal(os_address_set(h->netlink, h->link.index, &e->vip, 0, &e->err), ERR_INVALID);
    assert_int_equal(os_address_set(h->netlink, 4711, &e->vip, 5, &e->err), ERR_NOTFOUND);
}

static void the_fence_is_shut_until_it_is_opened(void **state)
{
    struct edge *e = *state;
    struct prober p;

    prober_open(&p, e, CLIENT);
    edge_set_vip(e, HOLDER);
    prober_run(&p, mono_add(os_clock_now(), 30 * PROBE_MS));
    assert_int_equal(p.echo_answers + p.arp_answers, 0);

    open_fence(e, HOLDER, 5000);
    assert_true(prober_wait_answer(&p));
    assert_true(p.arp_answers > 0);
    assert_true(mac_equal(p.answered_by, e->host[HOLDER].link.mac));

    /* What was sent before may still be on its way; nothing sent later is answered. */
    edge_ok(e, os_fence_shut(e->host[HOLDER].fence, &e->vip, &e->err));
    prober_run(&p, mono_add(os_clock_now(), 3 * PROBE_MS));
    p.echo_answers = 0;
    p.arp_answers = 0;
    prober_run(&p, mono_add(os_clock_now(), 30 * PROBE_MS));
    assert_int_equal(p.echo_answers + p.arp_answers, 0);
    edge_ok(e, os_fence_shut(e->host[HOLDER].fence, &e->vip, &e->err));
    prober_close(&p);
}

/* Forks an agent that opens the fence for @ms and is then stopped or killed by @signal. Returns its
 * process id and when its lease ends. */
static pid_t hold_and_fall(struct edge *e, int64_t ms, int signal, mono_t *lease_end)
{
    int fds[2];
    pid_t pid;
    int status;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        mono_t end = mono_add(os_clock_now(), ms);

        if (os_fence_open(e->host[HOLDER].fence, &e->vip, end, NULL) != ERR_NONE ||
            write(fds[1], &end, sizeof end) != sizeof end)
            _exit(1);
        for (;;)
            pause();
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], lease_end, sizeof *lease_end), sizeof *lease_end);
    close(fds[0]);
    assert_int_equal(kill(pid, signal), 0);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status) || WIFSIGNALED(status));
    return pid;
}

static void answers_end_with_the_lease(struct edge *e, int signal)
{
    struct os_address found;
    struct prober p;
    mono_t lease_end;
    pid_t pid;

    prober_open(&p, e, CLIENT);
    edge_set_vip(e, HOLDER);
    pid = hold_and_fall(e, 500, signal, &lease_end);
    prober_run(&p, mono_add(lease_end, 500));
    assert_true(p.echo_answers > 0);
    assert_true(p.arp_answers > 0);
    /* The address is there still: it was the fence. */
    assert_true(has_vip(e, HOLDER, &found));
    if (signal == SIGSTOP) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    assert_true(p.last_answer.ms <= lease_end.ms + SLACK_MS);
    assert_int_equal(left_of(e, HOLDER), 0);
    prober_close(&p);
}

static void a_killed_agent_answers_no_longer_than_its_lease(void **state)
{
    answers_end_with_the_lease(*state, SIGKILL);
}

static void a_stopped_agent_answers_no_longer_than_its_lease(void **state)
{
    answers_end_with_the_lease(*state, SIGSTOP);
}

static void refreshing_loses_no_answer(void **state)
{
    struct edge *e = *state;
    struct prober p;
    int i;

    prober_open(&p, e, CLIENT);
    edge_set_vip(e, HOLDER);
    for (i = 0; i < 20; i++) {
        open_fence(e, HOLDER, 2000);
        prober_run(&p, mono_add(os_clock_now(), 5 * PROBE_MS));
    }
    assert_true(prober_all_answered(&p));
    assert_true(p.sent > 20);
    prober_close(&p);
}

static void a_restarted_agent_resumes_without_a_lost_answer(void **state)
{
    struct edge *e = *state;
    struct prober p;
    mono_t lease_end;
    pid_t pid;
    int status = 0;

    prober_open(&p, e, CLIENT);
    edge_set_vip(e, HOLDER);
    hold_and_fall(e, 8000, SIGKILL, &lease_end);
    assert_true(prober_wait_answer(&p));
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct os_fence *fence;

        netlab_enter(e->lab.host[HOLDER]);
        if (os_fence_setup("wlan0", &e->vip, 1, &fence, NULL) != ERR_NONE ||
            os_fence_open(fence, &e->vip, lease_end, NULL) != ERR_NONE)
            _exit(1);
        _exit(0);
    }
    do {
        prober_run(&p, mono_add(os_clock_now(), PROBE_MS));
    } while (waitpid(pid, &status, WNOHANG) == 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    prober_run(&p, mono_add(os_clock_now(), 5 * PROBE_MS));
    assert_true(prober_all_answered(&p));
    prober_close(&p);
}

static void setting_up_again_keeps_what_is_there(void **state)
{
    struct edge *e = *state;
    struct os_fence *again;
    struct addr another;

    edge_ok(e, addr_parse("10.77.0.211", 0, &another, &e->err));
    open_fence(e, HOLDER, 8000);
    netlab_enter(e->lab.host[HOLDER]);
    edge_ok(e, os_fence_setup("wlan0", &another, 1, &again, &e->err));
    netlab_enter(e->lab.home);
    assert_true(left_of(e, HOLDER) > 0);
    os_fence_free(again);
    assert_int_equal(
        netlab_run(e->lab.host[HOLDER], "test $(nft list ruleset | grep -c drop) -eq 6"), 0);
}

/* After an upgrade the tables may be of another make. They are replaced, the leases go, but no
 * address is left unguarded. */
static void tables_of_another_make_are_replaced(void **state)
{
    struct edge *e = *state;
    struct os_fence *fence;

    assert_int_equal(netlab_run(e->lab.host[SECOND],
                                "nft 'flush ruleset; add table inet covey; "
                                "add set inet covey vips { type ipv4_addr; }; "
                                "add set inet covey leased { type ipv4_addr; size 7; }; "
                                "add element inet covey vips { 10.77.0.210 }; "
                                "add element inet covey leased { 10.77.0.210 }'"),
                     0);
    netlab_enter(e->lab.host[SECOND]);
    edge_ok(e, os_fence_setup("wlan0", NULL, 0, &fence, &e->err));
    netlab_enter(e->lab.home);
    assert_int_equal(left_of(e, SECOND), 0);
    os_fence_free(fence);
}

static void flushed_rules_are_noticed_and_set_again(void **state)
{
    struct edge *e = *state;
    mono_t end = mono_add(os_clock_now(), 5000);
    struct os_fence *fence;

    assert_int_equal(netlab_run(e->lab.host[HOLDER], "nft flush ruleset"), 0);
    assert_int_equal(os_fence_open(e->host[HOLDER].fence, &e->vip, end, &e->err), ERR_NOTFOUND);
    netlab_enter(e->lab.host[HOLDER]);
    edge_ok(e, os_fence_setup("wlan0", &e->vip, 1, &fence, &e->err));
    netlab_enter(e->lab.home);
    os_fence_free(fence);
    open_fence(e, HOLDER, 5000);
    assert_true(left_of(e, HOLDER) > 0);
    netlab_enter(e->lab.host[HOLDER]);
    edge_ok(e, os_fence_purge(&e->err));
    edge_ok(e, os_fence_purge(&e->err));
    netlab_enter(e->lab.home);
}

static void a_lease_that_is_over_or_unbelievable_shuts_the_fence(void **state)
{
    static const int64_t wrong[] = {-1000, 0, OS_FENCE_LEASE_MIN_MS - 1,
                                    OS_FENCE_LEASE_MAX_MS + 60000, INT64_MAX / 2};
    struct edge *e = *state;
    size_t i;

    for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int rc;

        open_fence(e, HOLDER, 8000);
        assert_true(left_of(e, HOLDER) > 0);
        rc = os_fence_open(e->host[HOLDER].fence, &e->vip, mono_add(os_clock_now(), wrong[i]),
                           &e->err);
        assert_int_equal(rc, wrong[i] < OS_FENCE_LEASE_MIN_MS ? ERR_TIMEOUT : ERR_LIMIT);
        assert_int_equal(left_of(e, HOLDER), 0);
    }
}

/* Rule 5 of docs/vip.md: what is written is how long, so the clock is read before and after. */
static void a_fence_that_was_written_late_is_taken_back(void **state)
{
    static const int64_t late[] = {0, 100, 0, 100, 0, 100};
    static const int64_t beyond_the_lease[] = {0, 2000};
    struct edge *e = *state;
    struct os_fence *fence = e->host[HOLDER].fence;
    mono_t end = mono_add(os_clock_now(), 5000);

    stop_between_readings(late, 2); /* once: it is written anew, with what is left by then */
    edge_ok(e, os_fence_open(fence, &e->vip, end, &e->err));
    assert_true(left_of(e, HOLDER) > 0);
    assert_true(left_of(e, HOLDER) <= mono_diff(end, os_clock_now()) + 1);
    stop_between_readings(late, 6); /* and again: nothing is open */
    assert_int_equal(os_fence_open(fence, &e->vip, end, &e->err), ERR_TIMEOUT);
    assert_int_equal(left_of(e, HOLDER), 0);

    open_fence(e, HOLDER, 1000);
    end = mono_add(os_clock_now(), 1000);
    stop_between_readings(beyond_the_lease, 2);
    assert_int_equal(os_fence_open(fence, &e->vip, end, &e->err), ERR_TIMEOUT);
    assert_int_equal(left_of(e, HOLDER), 0);
}

static void an_address_that_another_holds_is_reached_through_the_guard(void **state)
{
    struct edge *e = *state;
    struct prober p;

    prober_open(&p, e, HOLDER);
    edge_set_vip(e, SECOND);
    open_fence(e, SECOND, 8000);
    assert_true(prober_wait_answer(&p));
    assert_true(mac_equal(p.answered_by, e->host[SECOND].link.mac));
    prober_close(&p);

    /* No longer under lease control: an ordinary address of HOLDER, fenced by nobody. */
    edge_ok(e, os_fence_shut(e->host[SECOND].fence, &e->vip, &e->err));
    edge_ok(e, os_fence_unguard(e->host[HOLDER].fence, &e->vip, &e->err));
    edge_ok(e, os_fence_unguard(e->host[HOLDER].fence, &e->vip, &e->err));
    assert_int_equal(left_of(e, HOLDER), -1);
    edge_set_vip(e, HOLDER);
    prober_open(&p, e, CLIENT);
    assert_true(prober_wait_answer(&p));
    assert_true(mac_equal(p.answered_by, e->host[HOLDER].link.mac));
    edge_ok(e, os_fence_guard(e->host[HOLDER].fence, &e->vip, &e->err));
    edge_ok(e, os_fence_guard(e->host[HOLDER].fence, &e->vip, &e->err));
    assert_int_equal(left_of(e, HOLDER), 0);
    prober_close(&p);
}

static void interface_settings_are_read_and_set(void **state)
{
    struct edge *e = *state;
    struct edge_host *h = &e->host[HOLDER];
    bool on;
    int value = -1;

    assert_true(h->link.up);
    assert_true(h->link.carrier);
    assert_false(h->link.promiscuous);
    edge_ok(e, os_link_set_promiscuous(h->netlink, h->link.index, true, &e->err));
    edge_ok(e, os_link_get(h->netlink, "wlan0", &h->link, &e->err));
    assert_true(h->link.promiscuous);
    edge_ok(e, os_link_set_promiscuous(h->netlink, h->link.index, false, &e->err));
    edge_ok(e, os_link_get(h->netlink, "wlan0", &h->link, &e->err));
    assert_false(h->link.promiscuous);

    netlab_enter(e->lab.host[HOLDER]);
    edge_ok(e, os_sysctl_set("wlan0", "arp_ignore", 1, &e->err));
    edge_ok(e, os_sysctl_get("wlan0", "arp_ignore", &value, &e->err));
    assert_int_equal(value, 1);
    assert_int_equal(os_sysctl_get("wlan9", "arp_ignore", &value, &e->err), ERR_NOTFOUND);
    assert_int_equal(os_sysctl_get("../lo", "arp_ignore", &value, &e->err), ERR_INVALID);
    /* An Ethernet link is no radio. */
    assert_int_equal(os_wifi_power_save_get(h->link.index, &on, &e->err), ERR_NOTFOUND);
    assert_int_equal(os_wifi_power_save_set(h->link.index, false, &e->err), ERR_NOTFOUND);
    netlab_enter(e->lab.home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_address_goes_by_itself, edge_set_up, edge_tear_down),
        cmocka_unit_test_setup_teardown(changes_made_by_others_are_seen, edge_set_up,
                                        edge_tear_down),
        cmocka_unit_test_setup_teardown(deleting_an_address_twice_is_no_error, edge_set_up,
                                        edge_tear_down),
        cmocka_unit_test_setup_teardown(the_fence_is_shut_until_it_is_opened, edge_set_up,
                                        edge_tear_down),
        cmocka_unit_test_setup_teardown(a_killed_agent_answers_no_longer_than_its_lease,
                                        edge_set_up, edge_tear_down),
        cmocka_unit_test_setup_teardown(a_stopped_agent_answers_no_longer_than_its_lease,
                                        edge_set_up, edge_tear_down),
        cmocka_unit_test_setup_teardown(refreshing_loses_no_answer, edge_set_up, edge_tear_down),
        cmocka_unit_test_setup_teardown(a_restarted_agent_resumes_without_a_lost_answer,
                                        edge_set_up, edge_tear_down),
        cmocka_unit_test_setup_teardown(setting_up_again_keeps_what_is_there, edge_set_up,
                                        edge_tear_down),
        cmocka_unit_test_setup_teardown(tables_of_another_make_are_replaced, edge_set_up,
                                        edge_tear_down),
        cmocka_unit_test_setup_teardown(flushed_rules_are_noticed_and_set_again, edge_set_up,
                                        edge_tear_down),
        cmocka_unit_test_setup_teardown(a_lease_that_is_over_or_unbelievable_shuts_the_fence,
                                        edge_set_up, edge_tear_down),
        cmocka_unit_test_setup_teardown(a_fence_that_was_written_late_is_taken_back, edge_set_up,
                                        edge_tear_down),
        cmocka_unit_test_setup_teardown(an_address_that_another_holds_is_reached_through_the_guard,
                                        edge_set_up, edge_tear_down),
        cmocka_unit_test_setup_teardown(interface_settings_are_read_and_set, edge_set_up,
                                        edge_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
