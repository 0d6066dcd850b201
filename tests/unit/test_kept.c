/* What is kept of the flock beside the store: read back as it was, damage is seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/io/os_kept.h"

static char dir[64];
static struct kept *kept;

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/covey-kept-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(kept_open(dir, &kept, NULL), ERR_NONE);
    return 0;
}

static int drop(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    kept_close(kept);
    return nftw(dir, drop, 8, FTW_DEPTH | FTW_PHYS);
}

static struct kept_peer make_peer(const char *name, uint32_t serial, const char *address)
{
    struct kept_peer peer = {.admission = {.role = 1, .serial = serial}};
    struct keys_identity identity;
    struct keys_identity cluster;

    keys_generate(&identity);
    keys_generate(&cluster);
    memcpy(peer.admission.public_key, identity.public_key, KEYS_PUBLIC);
    snprintf(peer.admission.name, sizeof peer.admission.name, "%s", name);
    keys_sign_admission(&cluster, &peer.admission);
    if (address != NULL)
        assert_int_equal(addr_parse(address, 0, &peer.addr, NULL), ERR_NONE);
    return peer;
}

static void path_of_peer(const struct kept_peer *peer, char path[128])
{
    char id[NODE_ID_TEXT];

    node_id_format(keys_node_id(peer->admission.public_key), id);
    snprintf(path, 128, "%s/peer-%s", dir, id);
}

static void assert_same(const struct kept_peer *a, const struct kept_peer *b)
{
    assert_memory_equal(a->admission.public_key, b->admission.public_key, KEYS_PUBLIC);
    assert_memory_equal(a->admission.signature, b->admission.signature, KEYS_SIGNATURE);
    assert_string_equal(a->admission.name, b->admission.name);
    assert_int_equal(a->admission.role, b->admission.role);
    assert_int_equal(a->admission.serial, b->admission.serial);
    assert_true(addr_equal(&a->addr, &b->addr));
}

static size_t load(struct kept_peer **peers)
{
    size_t count = 99;

    assert_int_equal(kept_load_peers(kept, peers, &count, NULL), ERR_NONE);
    return count;
}

static void test_peers(void **state)
{
    struct kept_peer one = make_peer("pi2", 2, "10.0.0.2:8801");
    struct kept_peer two = make_peer("pi3", 4294967295u, NULL);
    struct kept_peer *found;

    (void)state;
    assert_int_equal(load(&found), 0);
    free(found);
    assert_int_equal(kept_save_peer(kept, &one, NULL), ERR_NONE);
    assert_int_equal(kept_save_peer(kept, &two, NULL), ERR_NONE);
    assert_int_equal(load(&found), 2);
    if (strcmp(found[0].admission.name, "pi2") == 0) {
        assert_same(&found[0], &one);
        assert_same(&found[1], &two);
    } else {
        assert_same(&found[0], &two);
        assert_same(&found[1], &one);
    }
    free(found);

    /* It has moved; the other is revoked. */
    assert_int_equal(addr_parse("[fe80::7]:99", 0, &one.addr, NULL), ERR_NONE);
    assert_int_equal(kept_save_peer(kept, &one, NULL), ERR_NONE);
    assert_int_equal(kept_drop_peer(kept, keys_node_id(two.admission.public_key), NULL), ERR_NONE);
    assert_int_equal(kept_drop_peer(kept, keys_node_id(two.admission.public_key), NULL), ERR_NONE);
    assert_int_equal(load(&found), 1);
    assert_same(&found[0], &one);
    free(found);
}

/* Flash wears out: what stands there already is not written again. */
static void test_unchanged(void **state)
{
    struct kept_peer peer = make_peer("pi2", 2, "10.0.0.2:8801");
    struct stat before, after;
    char path[128];

    (void)state;
    path_of_peer(&peer, path);
    assert_int_equal(kept_save_peer(kept, &peer, NULL), ERR_NONE);
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(kept_save_peer(kept, &peer, NULL), ERR_NONE);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    peer.admission.serial = 3;
    assert_int_equal(kept_save_peer(kept, &peer, NULL), ERR_NONE);
    assert_int_equal(stat(path, &after), 0);
    assert_int_not_equal(before.st_ino, after.st_ino);
}

static void spoil(const char *path)
{
    int fd = open(path, O_WRONLY);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "x", 1, 100), 1);
    close(fd);
}

static void test_damage(void **state)
{
    struct kept_peer good = make_peer("pi2", 2, NULL);
    struct kept_peer bad = make_peer("pi3", 3, NULL);
    struct voters_state voters = {.current = {.number = 1, .count = 1, .voters = {{7}}}};
    struct kept_peer *found;
    struct err err;
    char path[128];

    (void)state;
    assert_int_equal(kept_save_peer(kept, &good, NULL), ERR_NONE);
    assert_int_equal(kept_save_peer(kept, &bad, NULL), ERR_NONE);
    path_of_peer(&bad, path);
    spoil(path);
    assert_int_equal(load(&found), 1);
    assert_same(&found[0], &good);
    free(found);
    assert_int_equal(kept_save_peer(kept, &bad, NULL), ERR_NONE); /* heals it */
    assert_int_equal(load(&found), 2);
    free(found);

    assert_int_equal(kept_save_voters(kept, &voters, NULL), ERR_NONE);
    snprintf(path, sizeof path, "%s/voters", dir);
    spoil(path);
    assert_int_equal(kept_load_voters(kept, &voters, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.text, "/voters is damaged: "));
}

static void test_voters(void **state)
{
    struct voters_state state_one = {
        .current = {.number = 9, .count = 3, .voters = {{1}, {UINT64_MAX}, {3}}},
        .previous = {.number = 8, .count = 2, .voters = {{1}, {3}}}};
    struct voters_state found;

    (void)state;
    assert_int_equal(kept_load_voters(kept, &found, NULL), ERR_NOTFOUND);
    assert_int_equal(kept_save_voters(kept, &state_one, NULL), ERR_NONE);
    assert_int_equal(kept_load_voters(kept, &found, NULL), ERR_NONE);
    assert_memory_equal(&found, &state_one, sizeof found);
    memset(&state_one.previous, 0, sizeof state_one.previous);
    assert_int_equal(kept_save_voters(kept, &state_one, NULL), ERR_NONE);
    assert_int_equal(kept_load_voters(kept, &found, NULL), ERR_NONE);
    assert_memory_equal(&found, &state_one, sizeof found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_peers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unchanged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_voters, set_up, tear_down),
    };

    if (keys_start(NULL) != ERR_NONE)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
