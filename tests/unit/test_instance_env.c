/* What a workload finds in its environment, and what its shim keeps about its ports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/io/instance_env.h"
#include "agent/shim/shim.h"

static const struct value_port ports[] = {{.name = "http", .port = 20001},
                                          {.name = "metrics", .port = 9100},
                                          {.name = "admin-api", .port = 65535}};

static const char *value_of(const char *const *env, const char *name)
{
    const char *found = NULL;
    size_t len = strlen(name);

    for (; *env != NULL; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=') {
            assert_null(found); /* once */
            found = *env + len + 1;
        }
    return found;
}

static struct instance_env *build(enum desired_listen listen, const struct desired_pair *pairs,
                                  size_t count)
{
    const struct desired_workload workload = {.listen = listen};
    const struct uv_instances_config config = {
        .path = "/opt/bin:/bin", .node_name = "pi1", .address = {.family = 4, .ip = {10, 0, 0, 7}}};
    const struct effect_start effect = {
        .instance = "api.0", .workload = &workload, .env = {.pairs = pairs, .count = count}};
    struct instance_env *env = NULL;
    struct err err;

    assert_int_equal(
        instance_env_build(&config, &effect, ports, 3, false, "/var/api.0", &env, &err), ERR_NONE);
    return env;
}

static void the_agents_variables_are_set(void **state)
{
    struct instance_env *env = build(DESIRED_LISTEN_NODE, NULL, 0);
    const char *out[SHIM_ENV_MAX + 1];

    (void)state;
    instance_env_copy(env, out, SHIM_ENV_MAX);
    assert_string_equal(value_of(out, "PATH"), "/opt/bin:/bin");
    assert_string_equal(value_of(out, "HOME"), "/var/api.0");
    assert_string_equal(value_of(out, "NODE_NAME"), "pi1");
    assert_string_equal(value_of(out, "INSTANCE"), "api.0");
    assert_string_equal(value_of(out, "HOST"), "10.0.0.7");
    assert_string_equal(value_of(out, "PORT"), "20001");
    assert_string_equal(value_of(out, "PORT_HTTP"), "20001");
    assert_string_equal(value_of(out, "METRICS_PORT"), "9100");
    assert_string_equal(value_of(out, "PORT_ADMIN_API"), "65535");
    instance_env_free(env);
}

static void the_documents_variables_win(void **state)
{
    const struct desired_pair pairs[] = {
        {"EMPTY", ""}, {"HOST", "example"}, {"PATHS", "x"}, {"PORT", "1"}};
    struct instance_env *env = build(DESIRED_LISTEN_ALL, pairs, 4);
    const char *out[SHIM_ENV_MAX + 1];

    (void)state;
    instance_env_copy(env, out, SHIM_ENV_MAX);
    assert_string_equal(value_of(out, "PORT"), "1");
    assert_string_equal(value_of(out, "HOST"), "example");
    assert_string_equal(value_of(out, "EMPTY"), "");
    assert_string_equal(value_of(out, "PATHS"), "x");
    assert_string_equal(value_of(out, "PATH"), "/opt/bin:/bin");
    instance_env_copy(env, out, 2);
    assert_non_null(out[1]);
    assert_null(out[2]);
    instance_env_free(env);
}

static void where_it_listens_is_its_host(void **state)
{
    const char *out[SHIM_ENV_MAX + 1];
    struct instance_env *env = build(DESIRED_LISTEN_ALL, NULL, 0);

    (void)state;
    instance_env_copy(env, out, SHIM_ENV_MAX);
    assert_string_equal(value_of(out, "HOST"), "0.0.0.0");
    instance_env_free(env);
    env = build(DESIRED_LISTEN_LOCAL, NULL, 0);
    instance_env_copy(env, out, SHIM_ENV_MAX);
    assert_string_equal(value_of(out, "HOST"), "127.0.0.1");
    instance_env_free(env);
}

static void a_note_tells_the_ports_again(void **state)
{
    struct value_port read[VALUE_PORTS_MAX];
    struct value_port many[VALUE_PORTS_MAX];
    char note[SHIM_NOTE_MAX];
    uint16_t probe;

    (void)state;
    instance_note_write(ports, 3, 40001, note, sizeof note);
    assert_string_equal(note, "http=20001,metrics=9100,admin-api=65535,@probe=40001");
    assert_int_equal(instance_note_read(note, read, &probe), 3);
    assert_int_equal(probe, 40001);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(read[i].name, ports[i].name);
        assert_int_equal(read[i].port, ports[i].port);
    }
    instance_note_write(NULL, 0, 0, note, sizeof note);
    assert_int_equal(instance_note_read(note, read, &probe), 0);
    /* The longest there can be fits. */
    memset(many, 0, sizeof many);
    for (int i = 0; i < VALUE_PORTS_MAX; i++) {
        memset(many[i].name, 'a' + i, VALUE_PORT_NAME_MAX - 1);
        many[i].port = 65535;
    }
    instance_note_write(many, VALUE_PORTS_MAX, 0, note, sizeof note);
    assert_int_equal(instance_note_read(note, read, &probe), VALUE_PORTS_MAX);
    assert_memory_equal(read, many, sizeof many);
}

static void a_note_that_is_too_long_loses_whole_ports(void **state)
{
    struct value_port read[VALUE_PORTS_MAX];
    char note[24];
    uint16_t probe;

    (void)state;
    for (size_t size = 1; size <= sizeof note; size++) {
        uint8_t count;
        memset(note, 'x', sizeof note);
        instance_note_write(ports, 3, 0, note, size);
        count = instance_note_read(note, read, &probe);
        assert_true(count <= 2);
        for (uint8_t i = 0; i < count; i++)
            assert_int_equal(read[i].port, ports[i].port);
    }
}

static void notes_of_others_are_read_with_care(void **state)
{
    static const char *const strange[] = {
        "",        "=1",         "http", "http=",     "http=x", "http=0",
        "http=-1", "http=65536", "a b",  "http=80;x", ",,,",    "averyveryverylongname=5"};
    struct value_port read[VALUE_PORTS_MAX];
    uint16_t probe;

    (void)state;
    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++)
        assert_int_equal(instance_note_read(strange[i], read, &probe), 0);
    assert_int_equal(instance_note_read("a=1,b=2,c=3,d=4,e=5,f=6,g=7,h=8,i=9,j=10", read, &probe),
                     VALUE_PORTS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_agents_variables_are_set),
        cmocka_unit_test(the_documents_variables_win),
        cmocka_unit_test(where_it_listens_is_its_host),
        cmocka_unit_test(a_note_tells_the_ports_again),
        cmocka_unit_test(a_note_that_is_too_long_loses_whole_ports),
        cmocka_unit_test(notes_of_others_are_read_with_care),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
