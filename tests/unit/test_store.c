/* What the store remembers, across closing and opening. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>

#include "store/store.h"
#include "tests/unit/store_dir.h"

static struct store *open_store(const struct store_dir *dir)
{
    struct store *store = NULL;
    struct store_opened opened;
    struct err err = {0};

    if (store_open(dir->path, &store, &opened, &err) != ERR_NONE)
        fail_msg("%s", err.text);
    assert_string_equal(opened.set_aside, "");
    return store;
}

static struct store *reopen(const struct store_dir *dir, struct store *store)
{
    store_close(store);
    return open_store(dir);
}

static void boot_number_rises(void **state)
{
    struct err err = {0};
    const struct store_dir *dir = *state;
    struct store *store = open_store(dir);
    uint32_t boot = 0;

    OK(store_next_boot(store, 1700000000, &boot, &err));
    assert_int_equal(boot, 1700000000);
    store = reopen(dir, store);
    /* The clock may have gone back: it counts no more. */
    OK(store_next_boot(store, 5, &boot, &err));
    assert_int_equal(boot, 1700000000 + STORE_BOOT_STRIDE);
    OK(store_raise_boot(store, 1800000000, &err));
    OK(store_raise_boot(store, 3, &err));
    store = reopen(dir, store);
    OK(store_next_boot(store, 5, &boot, &err));
    assert_int_equal(boot, 1800000000 + STORE_BOOT_STRIDE);
    OK(store_raise_boot(store, UINT32_MAX, &err));
    FAILS(store_next_boot(store, 5, &boot, &err), ERR_LIMIT, "used up");
    assert_int_equal(boot, 1800000000 + STORE_BOOT_STRIDE);
    store_close(store);
}

static struct store_commit commit_number(unsigned number)
{
    struct store_commit commit = {.applied_at = 1000 + (int64_t)number};

    snprintf(commit.commit, sizeof commit.commit, "%040x", number);
    snprintf(commit.parent, sizeof commit.parent, "%040x", number - 1);
    snprintf(commit.subject, sizeof commit.subject, "change %u", number);
    return commit;
}

static void commit_is_applied_with_its_objects(void **state)
{
    struct err err = {0};
    const struct store_dir *dir = *state;
    struct store *store = open_store(dir);
    struct store_commit commit = commit_number(1), found;
    const struct store_object first[] = {
        {"Workload", "shop", "api", "apps/shop/api.yaml", 1, UINT64_MAX, 7},
        {"VirtualIP", "shop", "front", "apps/shop/api.yaml", 20, 0, 8},
        {"Workload", "shop", "job", "apps/shop/job.yaml", 1, 3, 9},
    };
    const struct store_object second[] = {
        {"Workload", "shop", "api", "apps/shop/api.yaml", 1, 2, 10},
        {"CronWorkload", "shop", "job", "apps/shop/job.yaml", 1, 3, 9},
    };
    struct store_object *list = NULL;
    size_t count = 0;

    FAILS(store_applied(store, &found, &err), ERR_NOTFOUND, "no commit");
    OK(store_objects(store, &list, &count, &err));
    assert_null(list);
    OK(store_apply_commit(store, &commit, first, 3, &err));
    store = reopen(dir, store);
    OK(store_objects(store, &list, &count, &err));
    assert_int_equal(count, 3);
    assert_string_equal(list[0].file, "apps/shop/api.yaml");
    assert_int_equal(list[0].line, 1);
    assert_true(list[0].generation == UINT64_MAX);
    assert_string_equal(list[1].kind, "VirtualIP");
    assert_string_equal(list[2].name, "job");
    free(list);

    commit = commit_number(2);
    OK(store_apply_commit(store, &commit, second, 2, &err));
    OK(store_objects(store, &list, &count, &err));
    assert_int_equal(count, 2);
    assert_int_equal(list[0].digest, 10);
    assert_string_equal(list[1].kind, "CronWorkload");
    free(list);
    OK(store_applied(store, &found, &err));
    assert_string_equal(found.commit, commit.commit);
    assert_string_equal(found.parent, commit.parent);
    assert_string_equal(found.subject, "change 2");
    assert_int_equal(found.applied_at, 1002);
    store_close(store);
}

static void commit_that_is_refused_changes_nothing(void **state)
{
    struct err err = {0};
    struct store *store = open_store(*state);
    struct store_commit commit = commit_number(1), found;
    const struct store_object good[] = {{"Workload", "a", "a", "apps/a/a.yaml", 1, 1, 1}};
    const struct store_object bad[] = {{"Workload", "a", "b", "apps/a/b.yaml", 1, 1, 1},
                                       {"Workload", "a", "c", "apps/a/b.yaml", 1, 1, 1}};
    struct store_object *list;
    size_t count;

    OK(store_apply_commit(store, &commit, good, 1, &err));
    commit = commit_number(2);
    FAILS(store_apply_commit(store, &commit, bad, 2, &err), ERR_INVALID, "apps/a/b.yaml:1");
    FAILS(store_apply_commit(store, &commit, bad, STORE_OBJECTS_MAX + 1, &err), ERR_LIMIT, "8193");
    OK(store_applied(store, &found, &err));
    assert_int_equal(found.applied_at, 1001);
    OK(store_objects(store, &list, &count, &err));
    assert_int_equal(count, 1);
    assert_string_equal(list[0].name, "a");
    free(list);
    store_close(store);
}

static void history_keeps_failures_and_is_bounded(void **state)
{
    struct err err = {0};
    struct store *store = open_store(*state);
    struct store_commit commit = commit_number(1), found;
    struct store_history *list;
    char reason[ERR_TEXT_MAX];
    size_t count;

    OK(store_apply_commit(store, &commit, NULL, 0, &err));
    FAILS(store_failed(store, commit.commit, reason, &err), ERR_NOTFOUND, "has not failed");
    commit = commit_number(2);
    OK(store_fail_commit(store, &commit, "api.yaml:3: no such field", &err));
    OK(store_fail_commit(store, &commit, "api.yaml:3: no such field", &err));
    OK(store_failed(store, commit.commit, reason, &err));
    assert_string_equal(reason, "api.yaml:3: no such field");
    OK(store_history(store, 10, &list, &count, &err));
    assert_int_equal(count, 2);
    assert_int_equal(list[0].state, STORE_FAILED);
    assert_int_equal(list[1].state, STORE_APPLIED);
    free(list);

    for (unsigned i = 3; i < 300; i++) {
        commit = commit_number(i);
        OK(store_fail_commit(store, &commit, "bad", &err));
    }
    /* The applied commit is never forgotten. */
    OK(store_applied(store, &found, &err));
    assert_int_equal(found.applied_at, 1001);
    OK(store_history(store, 1000, &list, &count, &err));
    assert_int_equal(count, STORE_HISTORY_MAX);
    assert_int_equal(list[0].commit.applied_at, 1299);
    free(list);

    /* Applied after it failed: no failure any more. */
    OK(store_apply_commit(store, &commit, NULL, 0, &err));
    FAILS(store_failed(store, commit.commit, reason, &err), ERR_NOTFOUND, "has not failed");
    OK(store_applied(store, &found, &err));
    assert_int_equal(found.applied_at, 1299);
    store_close(store);
}

static void peers_are_remembered(void **state)
{
    struct err err = {0};
    const struct store_dir *dir = *state;
    struct store *store = open_store(dir);
    struct store_peer peer = {.id = {UINT64_MAX - 1}, .name = "pi2", .role = 1, .serial = 4};
    struct store_peer *list;
    size_t count;

    memset(peer.public_key, 0xab, sizeof peer.public_key);
    memset(peer.admission, 0xcd, sizeof peer.admission);
    OK(addr_parse("[fd00::2]:8801", 0, &peer.addr, &err));
    OK(store_peer_put(store, &peer, &err));
    store = reopen(dir, store);
    OK(store_peers(store, &list, &count, &err));
    assert_int_equal(count, 1);
    assert_true(node_id_equal(list[0].id, peer.id));
    assert_memory_equal(list[0].public_key, peer.public_key, 32);
    assert_memory_equal(list[0].admission, peer.admission, 64);
    assert_true(addr_equal(&list[0].addr, &peer.addr));
    assert_string_equal(list[0].name, "pi2");
    assert_int_equal(list[0].serial, 4);
    assert_false(list[0].revoked);
    free(list);

    OK(addr_parse("10.0.0.7:8801", 0, &peer.addr, &err));
    peer.revoked = true;
    OK(store_peer_put(store, &peer, &err));
    peer.revoked = false;
    peer.addr.family = 0;
    OK(store_peer_put(store, &peer, &err));
    OK(store_peers(store, &list, &count, &err));
    assert_int_equal(count, 1);
    assert_true(list[0].revoked);
    assert_int_equal(list[0].addr.family, 0);
    free(list);

    for (unsigned i = 0; i < STORE_PEERS_MAX - 1; i++) {
        peer.id.v = i + 1;
        OK(store_peer_put(store, &peer, &err));
    }
    OK(store_peer_put(store, &peer, &err));
    peer.id.v = 1000000;
    FAILS(store_peer_put(store, &peer, &err), ERR_FULL, "1024");
    store_close(store);
}

static void token_admits_as_often_as_it_says(void **state)
{
    struct err err = {0};
    const struct store_dir *dir = *state;
    struct store *store = open_store(dir);
    struct store_token token = {.id = "t1", .secret = {1, 2, 3}, .secret_len = 3, .created = 100};
    struct store_token found;
    const uint8_t alice[32] = {1}, bob[32] = {2}, carol[32] = {3};
    bool again = true;

    token.expires = 200;
    token.uses_left = 2;
    OK(store_token_create(store, &token, &err));
    FAILS(store_token_create(store, &token, &err), ERR_EXISTS, "t1");
    FAILS(store_token_use(store, "t2", alice, 150, &again, &err), ERR_NOTFOUND, "t2");
    OK(store_token_use(store, "t1", alice, 150, &again, &err));
    assert_false(again);
    store = reopen(dir, store);
    OK(store_token_use(store, "t1", alice, 150, &again, &err));
    assert_true(again);
    FAILS(store_token_use(store, "t1", bob, 200, &again, &err), ERR_DENIED, "expired");
    OK(store_token_use(store, "t1", bob, 199, &again, &err));
    FAILS(store_token_use(store, "t1", carol, 150, &again, &err), ERR_DENIED, "used up");
    OK(store_token_use(store, "t1", bob, 5000, &again, &err));
    OK(store_token_get(store, "t1", &found, &err));
    assert_int_equal(found.uses_left, 0);
    assert_int_equal(found.used, 2);
    assert_int_equal(found.secret_len, 3);
    assert_memory_equal(found.secret, token.secret, 3);
    OK(store_token_revoke(store, "t1", &err));
    FAILS(store_token_use(store, "t1", alice, 150, &again, &err), ERR_DENIED, "revoked");
    FAILS(store_token_revoke(store, "t9", &err), ERR_NOTFOUND, "t9");
    store_close(store);
}

static void tokens_are_bounded_and_forgotten(void **state)
{
    struct err err = {0};
    struct store *store = open_store(*state);
    struct store_token token = {.created = 100, .expires = 200, .uses_left = 1};
    const uint8_t alice[32] = {1};
    struct store_token *list;
    size_t count;

    for (int i = 0; i < STORE_TOKENS_MAX; i++) {
        snprintf(token.id, sizeof token.id, "t%d", i);
        OK(store_token_create(store, &token, &err));
    }
    OK(store_token_use(store, "t3", alice, 150, NULL, &err));
    snprintf(token.id, sizeof token.id, "more");
    FAILS(store_token_create(store, &token, &err), ERR_FULL, "64");
    token.created = 200 + 7 * 24 * 3600 + 1;
    token.expires = token.created + 60;
    OK(store_token_create(store, &token, &err));
    OK(store_tokens(store, &list, &count, &err));
    assert_int_equal(count, 1);
    assert_string_equal(list[0].id, "more");
    free(list);
    store_close(store);
}

static void journal_is_bounded_and_in_order(void **state)
{
    struct err err = {0};
    const struct store_dir *dir = *state;
    struct store *store = open_store(dir);
    struct store_event *batch = calloc(STORE_EVENT_BATCH_MAX, sizeof *batch);
    struct store_event *list;
    int64_t last;
    size_t count;

    assert_non_null(batch);
    for (int i = 0; i < STORE_EVENT_BATCH_MAX; i++) {
        batch[i].severity = STORE_WARNING;
        batch[i].time_ms = i;
        snprintf(batch[i].kind, sizeof batch[i].kind, "member");
        snprintf(batch[i].subject, sizeof batch[i].subject, "pi%d", i);
        snprintf(batch[i].text, sizeof batch[i].text, "pi%d is suspected", i);
    }
    for (int i = 0; i < 10; i++)
        OK(store_events_append(store, batch, STORE_EVENT_BATCH_MAX, &err));
    store = reopen(dir, store);
    OK(store_events_newest(store, 5, &list, &count, &err));
    assert_int_equal(count, 5);
    assert_string_equal(list[4].subject, "pi255");
    assert_int_equal(list[4].id, 2560);
    assert_int_equal(list[0].id, 2556);
    assert_int_equal(list[0].severity, STORE_WARNING);
    last = list[4].id;
    free(list);
    OK(store_events_since(store, last - 2, 100, &list, &count, &err));
    assert_int_equal(count, 2);
    assert_int_equal(list[0].id, last - 1);
    free(list);
    OK(store_events_since(store, 0, SIZE_MAX, &list, &count, &err));
    assert_int_equal(count, STORE_EVENTS_MAX);
    assert_int_equal(list[0].id, 2560 - STORE_EVENTS_MAX + 1);
    free(list);

    memset(batch[1].kind, 'x', sizeof batch[1].kind);
    FAILS(store_events_append(store, batch, 2, &err), ERR_LIMIT, "kind");
    batch[0].severity = 0;
    FAILS(store_events_append(store, batch, 1, &err), ERR_INVALID, "severity");
    OK(store_events_newest(store, 1, &list, &count, &err));
    assert_int_equal(list[0].id, last);
    free(list);
    free(batch);
    store_close(store);
}

static void facts_are_kept_by_key(void **state)
{
    struct err err = {0};
    const struct store_dir *dir = *state;
    struct store *store = open_store(dir);
    struct store_meta meta, *list;
    size_t count;

    FAILS(store_meta_get(store, "port/a", &meta, &err), ERR_NOTFOUND, "port/a");
    OK(store_meta_set(store, "port/a", "8000", 4, &err));
    OK(store_meta_set(store, "port/b%", "1", 1, &err));
    OK(store_meta_set(store, "port/b%", "20001", 5, &err));
    OK(store_meta_set(store, "epoch/v", "", 0, &err));
    store = reopen(dir, store);
    OK(store_meta_get(store, "port/b%", &meta, &err));
    assert_int_equal(meta.size, 5);
    assert_string_equal((const char *)meta.value, "20001");
    OK(store_meta_list(store, "port/", &list, &count, &err));
    assert_int_equal(count, 2);
    assert_string_equal(list[0].key, "port/a");
    free(list);
    OK(store_meta_set(store, "port/a", NULL, 0, &err));
    OK(store_meta_list(store, "", &list, &count, &err));
    assert_int_equal(count, 2);
    assert_string_equal(list[0].key, "epoch/v");
    assert_int_equal(list[0].size, 0);
    free(list);
    FAILS(store_meta_set(store, "big", meta.value, STORE_VALUE_MAX + 1, &err), ERR_LIMIT, "1024");
    FAILS(store_meta_set(store, "", "x", 1, &err), ERR_INVALID, "empty");
    store_close(store);
}

/* The size and time of change of the file and its log. */
static void stamp(const struct store_dir *dir, struct stat st[2])
{
    char path[512];

    store_dir_file(dir, "covey.db", path);
    assert_int_equal(stat(path, &st[0]), 0);
    store_dir_file(dir, "covey.db-wal", path);
    assert_int_equal(stat(path, &st[1]), 0);
}

static void what_does_not_change_is_not_written(void **state)
{
    struct err err = {0};
    const struct store_dir *dir = *state;
    struct store *store = open_store(dir);
    struct store_commit commit = commit_number(1);
    const struct store_object objects[] = {{"Workload", "a", "a", "apps/a/a.yaml", 1, 1, 1}};
    struct store_peer peer = {.id = {5}, .name = "pi5"};
    struct stat before[2], after[2];

    OK(store_apply_commit(store, &commit, objects, 1, &err));
    OK(store_fail_commit(store, &(struct store_commit){.commit = "b"}, "bad", &err));
    OK(store_peer_put(store, &peer, &err));
    OK(store_meta_set(store, "k", "v", 1, &err));
    OK(store_raise_boot(store, 7, &err));
    stamp(dir, before);
    OK(store_apply_commit(store, &commit, objects, 1, &err));
    OK(store_fail_commit(store, &(struct store_commit){.commit = "b"}, "bad", &err));
    OK(store_peer_put(store, &peer, &err));
    OK(store_meta_set(store, "k", "v", 1, &err));
    OK(store_meta_set(store, "absent", NULL, 0, &err));
    OK(store_raise_boot(store, 7, &err));
    OK(store_events_append(store, NULL, 0, &err));
    stamp(dir, after);
    for (int i = 0; i < 2; i++) {
        assert_true(before[i].st_size == after[i].st_size);
        assert_true(before[i].st_mtim.tv_sec == after[i].st_mtim.tv_sec);
        assert_true(before[i].st_mtim.tv_nsec == after[i].st_mtim.tv_nsec);
    }
    /* The same test sees a write when there is one. */
    OK(store_meta_set(store, "k", "w", 1, &err));
    stamp(dir, after);
    assert_true(before[1].st_size != after[1].st_size);
    store_close(store);
}

static void second_process_is_refused(void **state)
{
    struct err err = {0};
    const struct store_dir *dir = *state;
    struct store *store = open_store(dir);
    struct store *second = NULL;
    char path[512];
    struct stat st;

    FAILS(store_open(dir->path, &second, NULL, &err), ERR_BUSY, "second agentd");
    assert_null(second);
    store_dir_file(dir, "covey.db", path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    OK(store_meta_set(store, "k", "v", 1, &err));
    store_close(store);
    FAILS(store_open("/nonexistent/covey", &second, NULL, &err), ERR_IO, "/nonexistent/covey");
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, store_dir_make, store_dir_remove)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(boot_number_rises),
        IN_FOLDER(commit_is_applied_with_its_objects),
        IN_FOLDER(commit_that_is_refused_changes_nothing),
        IN_FOLDER(history_keeps_failures_and_is_bounded),
        IN_FOLDER(peers_are_remembered),
        IN_FOLDER(token_admits_as_often_as_it_says),
        IN_FOLDER(tokens_are_bounded_and_forgotten),
        IN_FOLDER(journal_is_bounded_and_in_order),
        IN_FOLDER(facts_are_kept_by_key),
        IN_FOLDER(what_does_not_change_is_not_written),
        IN_FOLDER(second_process_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
