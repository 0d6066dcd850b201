/* agentd's own configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/config/config.h"

static void is_address(const struct addr *a, const char *expected)
{
    char text[ADDR_TEXT];

    addr_format(a, text);
    assert_string_equal(text, expected);
}

static struct config *accepted(const char *text)
{
    struct config *config;
    struct err err = {0};

    if (config_parse("agent.yaml", text, strlen(text), &config, NULL, &err) != 0)
        fail_msg("refused: %s", err.text);
    return config;
}

static void refused(const char *text, const char *expected)
{
    struct config *config;
    struct err err = {0};
    char *report;

    assert_int_not_equal(config_parse("agent.yaml", text, strlen(text), &config, &report, &err), 0);
    assert_string_equal(err.text, expected);
    assert_null(config);
    free(report);
}

static void every_key_is_read(void **state)
{
    struct config *c = accepted("node: pi1\n"
                                "interface: wlan1\n"
                                "listen: 192.168.1.11:9901\n"
                                "advertise: 10.0.0.1\n"
                                "join: [192.168.1.12, \"[fe80::2]:9000\"]\n"
                                "state_dir: /srv/covey\n"
                                "run_dir: /run/c1\n"
                                "role: witness\n"
                                "lease_min: 125ms\n"
                                "lease_max: 2s\n"
                                "power_save: true\n"
                                "promiscuous: \"off\"\n"
                                "arp_settings: set\n"
                                "hooks: /opt/hooks\n"
                                "web:\n"
                                "  enabled: false\n"
                                "  listen: 127.0.0.1\n"
                                "  hosts: [covey.local]\n"
                                "repository: {path: /srv/r.git, branch: live, user: git}\n"
                                "logs: {max_total: 2Gi, keep_days: 30}\n"
                                "workload_path: /opt/bin:/bin\n"
                                "workload_user: app\n");
    (void)state;

    assert_string_equal(c->node, "pi1");
    assert_string_equal(c->interface, "wlan1");
    is_address(&c->listen, "192.168.1.11:9901");
    is_address(&c->advertise, "10.0.0.1:9901");
    assert_int_equal(c->join_count, 2);
    is_address(&c->join[0], "192.168.1.12:8801");
    is_address(&c->join[1], "[fe80::2]:9000");
    assert_string_equal(c->state_dir, "/srv/covey");
    assert_string_equal(c->run_dir, "/run/c1");
    assert_int_equal(c->role, CONFIG_WITNESS);
    assert_int_equal(c->lease_min_ms, 125);
    assert_int_equal(c->lease_max_ms, 2000);
    assert_true(c->power_save);
    assert_int_equal(c->promiscuous, CONFIG_PROMISCUOUS_OFF);
    assert_int_equal(c->arp_settings, CONFIG_ARP_SET);
    assert_string_equal(c->hooks, "/opt/hooks");
    assert_false(c->web.enabled);
    is_address(&c->web.listen, "127.0.0.1:8800");
    assert_string_equal(c->web.hosts[0], "covey.local");
    assert_null(c->web.hosts[1]);
    assert_string_equal(c->repository.path, "/srv/r.git");
    assert_string_equal(c->repository.branch, "live");
    assert_string_equal(c->repository.user, "git");
    assert_int_equal(c->logs.max_total, 2ull << 30);
    assert_int_equal(c->logs.keep_days, 30);
    assert_string_equal(c->workload_path, "/opt/bin:/bin");
    assert_string_equal(c->workload_user, "app");
    config_free(c);
}

static void an_empty_file_means_the_defaults(void **state)
{
    static const char *const empty[] = {"", "# only a comment\n", "---\n", "join:\nweb:\n"};
    (void)state;

    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
        struct config *c = accepted(empty[i]);
        assert_null(c->node);
        assert_string_equal(c->interface, "wlan0");
        is_address(&c->listen, "0.0.0.0:8801");
        assert_int_equal(c->advertise.family, 0);
        assert_int_equal(c->join_count, 0);
        assert_string_equal(c->state_dir, "/var/lib/covey");
        assert_string_equal(c->run_dir, "/run/covey");
        assert_int_equal(c->role, CONFIG_AGENT);
        assert_int_equal(c->lease_min_ms, 250);
        assert_int_equal(c->lease_max_ms, 4000);
        assert_false(c->power_save);
        assert_int_equal(c->promiscuous, CONFIG_PROMISCUOUS_AUTO);
        assert_int_equal(c->arp_settings, CONFIG_ARP_CHECK);
        assert_string_equal(c->hooks, "/etc/covey/hooks.d");
        assert_true(c->web.enabled);
        is_address(&c->web.listen, "0.0.0.0:8800");
        assert_null(c->web.hosts[0]);
        assert_string_equal(c->repository.path, "/var/lib/covey/flock.git");
        assert_string_equal(c->repository.branch, "main");
        assert_null(c->repository.user);
        assert_int_equal(c->logs.max_total, CONFIG_LOGS_TOTAL);
        assert_int_equal(c->logs.keep_days, CONFIG_LOGS_DAYS);
        config_free(c);
    }
    config_free(NULL);
}

static void wrong_values_name_line_and_expectation(void **state)
{
    (void)state;
    refused("nod: pi1\n", "agent.yaml:1: nod: no such field; did you mean \"node\"?");
    refused("node: Pi_1\n", "agent.yaml:1: node: \"Pi_1\" is not possible here; expected a name of "
                            "at most 63 of a-z, 0-9 and -, such as rest-api");
    refused("node: pi1\nlisten: 0.0.0.0:99999\n",
            "agent.yaml:2: listen: \"0.0.0.0:99999\" is not possible here; expected an address, "
            "with a port if it is not 8801, such as 0.0.0.0:8801");
    refused("join: 10.0.0.1\n", "agent.yaml:1: join: \"10.0.0.1\" is not possible here; expected a "
                                "list of texts, such as [\"one\", \"two\"]");
    refused("join: [10.0.0.1, pi2.local]\n",
            "agent.yaml:1: join[1]: \"pi2.local\" is not possible here; expected the address of a "
            "host, with a port if it is not 8801, such as 192.168.1.10:8801");
    refused("join: [0.0.0.0]\n",
            "agent.yaml:1: join[0]: \"0.0.0.0\" is not possible here; expected the address of a "
            "host, with a port if it is not 8801, such as 192.168.1.10:8801");
    refused("state_dir: covey\n", "agent.yaml:1: state_dir: \"covey\" is not possible here; "
                                  "expected an absolute path, such as /var/lib/app");
    refused("lease_max: 125ms\n",
            "agent.yaml:1: lease_max: 125ms is shorter than lease_min, 250ms");
    refused("role: Agent\n", "agent.yaml:1: role: \"Agent\" is not possible here; did you mean "
                             "\"agent\"? (expected one of agent, witness)");
    refused("power_save: yes\n", "agent.yaml:1: power_save: \"yes\" is neither true nor false; "
                                 "expected true or false");
    refused("web:\n  port: 1\n",
            "agent.yaml:2: web.port: no such field; known here: enabled, listen, hosts");
    refused("workload_path: /bin:usr\n",
            "agent.yaml:1: workload_path: \"/bin:usr\" is not possible here; expected absolute "
            "folders with ':' between them, such as /usr/local/bin:/usr/bin");
    refused("repository: {branch: a..b}\n",
            "agent.yaml:1: repository.branch: \"a..b\" is not possible here; expected the name of "
            "a branch, such as main");
    refused("repository: {remotes: [{url: '--upload-pack=x'}]}\n",
            "agent.yaml:1: repository.remotes[0].url: \"--upload-pack=x\" is not possible here; "
            "expected https://…, ssh://…, git@host:path or file://…");
    refused("repository: {remotes: [{url: 'ssh://-oProxyCommand=x/y'}]}\n",
            "agent.yaml:1: repository.remotes[0].url: \"ssh://-oProxyCommand=x/y\" is not possible "
            "here; expected https://…, ssh://…, git@host:path or file://…");
    refused("repository: {poll_seconds: 1}\n",
            "agent.yaml:1: repository.poll_seconds: \"1\" is out of range; expected 5 to 3600");
    refused("interface: 'wlan 0'\n",
            "agent.yaml:1: interface: \"wlan 0\" is not possible here; expected the name of a "
            "network interface, such as wlan0");
}

static void what_is_no_configuration_is_refused(void **state)
{
    static char big[CONFIG_FILE_MAX + 2];
    (void)state;

    refused("- a\n", "agent.yaml:1: no configuration; expected keys and values, such as \"node: "
                     "pi1\"");
    refused("node: pi1\n---\nnode: pi2\n", "agent.yaml:3: a second document; expected one");
    refused("node: pi1\nnode: pi2\n", "agent.yaml:2: the key \"node\" stands here for the second "
                                      "time, first on line 1: remove one of them");
    refused("node: [\n", "agent.yaml:2: no valid YAML: did not find expected node content");
    refused("node: &a pi1\n", "agent.yaml:1: anchors (&name) are not supported: write the value "
                              "out wherever it is needed");
    memset(big, '#', sizeof big - 1);
    refused(big, "agent.yaml:1: the file has 65537 bytes; expected at most 65536");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(an_empty_file_means_the_defaults),
        cmocka_unit_test(wrong_values_name_line_and_expectation),
        cmocka_unit_test(what_is_no_configuration_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
