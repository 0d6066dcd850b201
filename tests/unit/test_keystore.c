/* Key files: written whole, read back, refused when open to others or damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/io/os_keystore.h"
#include "proto/wire/envelope.h"

static char dir[64];
static struct keystore *store;

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/covey-keystore-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(keystore_open(dir, &store, NULL), ERR_NONE);
    return 0;
}

static void path_of(const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", dir, name);
}

static int tear_down(void **state)
{
    const struct dirent *entry;
    DIR *d;
    char path[512];

    (void)state;
    keystore_close(store);
    d = opendir(dir);
    assert_non_null(d);
    while ((entry = readdir(d)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (entry->d_name[0] != '.')
            assert_int_equal(unlink(path), 0);
    }
    closedir(d);
    assert_int_equal(rmdir(dir), 0); /* nothing temporary is left */
    return 0;
}

static size_t slurp(const char *name, char text[4096])
{
    char path[128];
    ssize_t n;
    int fd;

    path_of(name, path);
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    n = read(fd, text, 4095);
    assert_true(n >= 0);
    text[n] = '\0';
    close(fd);
    return (size_t)n;
}

static void spill(const char *name, const char *text, size_t len)
{
    char path[128];
    int fd;

    path_of(name, path);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    close(fd);
}

static void test_identity(void **state)
{
    struct keys_identity first, second;
    char text[4096], path[128];
    struct stat st;
    bool created;

    (void)state;
    assert_int_equal(keystore_identity(store, &first, &created, NULL), ERR_NONE);
    assert_true(created);
    assert_int_equal(keystore_identity(store, &second, &created, NULL), ERR_NONE);
    assert_false(created);
    assert_memory_equal(&first, &second, sizeof first);
    path_of("identity.key", path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    slurp("identity.key", text);
    assert_int_equal(strncmp(text,
                             "Covey identity key, version 1\nSECRET: whoever has this file speaks "
                             "as this node. Do not copy or share it.\npublic key = ",
                             115),
                     0);
}

static void test_every_file(void **state)
{
    struct keys_identity cluster, cluster_back;
    struct keys_admission admission, admission_back;
    struct keystore_epochs epochs, epochs_back;
    uint8_t public_key[KEYS_PUBLIC];

    (void)state;
    keys_generate(&cluster);
    assert_int_equal(keystore_load_cluster(store, &cluster_back, NULL), ERR_NOTFOUND);
    assert_int_equal(keystore_save_cluster(store, &cluster, NULL), ERR_NONE);
    assert_int_equal(keystore_load_cluster(store, &cluster_back, NULL), ERR_NONE);
    assert_memory_equal(&cluster, &cluster_back, sizeof cluster);

    assert_int_equal(keystore_load_cluster_key(store, public_key, NULL), ERR_NOTFOUND);
    assert_int_equal(keystore_save_cluster_key(store, cluster.public_key, NULL), ERR_NONE);
    assert_int_equal(keystore_load_cluster_key(store, public_key, NULL), ERR_NONE);
    assert_memory_equal(public_key, cluster.public_key, KEYS_PUBLIC);

    memset(&admission, 0, sizeof admission);
    memset(admission.public_key, 7, KEYS_PUBLIC);
    strcpy(admission.name, "pi1");
    admission.role = 2;
    admission.serial = UINT32_MAX;
    keys_sign_admission(&cluster, &admission);
    assert_int_equal(keystore_load_admission(store, &admission_back, NULL), ERR_NOTFOUND);
    assert_int_equal(keystore_save_admission(store, &admission, NULL), ERR_NONE);
    assert_int_equal(keystore_load_admission(store, &admission_back, NULL), ERR_NONE);
    assert_memory_equal(&admission, &admission_back, sizeof admission);

    memset(&epochs, 0, sizeof epochs);
    epochs.count = KEYSTORE_EPOCHS;
    for (uint32_t i = 0; i < KEYSTORE_EPOCHS; i++) {
        epochs.epochs[i].number = ENVELOPE_EPOCH_MAX - i;
        memset(epochs.epochs[i].secret, 0xe0 + (int)i, KEYS_EPOCH_SECRET);
        epochs.epochs[i].revoked = UINT16_MAX;
        epochs.epochs[i].revoked_digest = UINT64_MAX - i;
        keys_sign_epoch(&cluster, &epochs.epochs[i]);
    }
    assert_int_equal(keystore_load_epochs(store, &epochs_back, NULL), ERR_NOTFOUND);
    assert_int_equal(keystore_save_epochs(store, &epochs, NULL), ERR_NONE);
    assert_int_equal(keystore_load_epochs(store, &epochs_back, NULL), ERR_NONE);
    assert_memory_equal(&epochs, &epochs_back, sizeof epochs);
    epochs.count = 1; /* replaces */
    assert_int_equal(keystore_save_epochs(store, &epochs, NULL), ERR_NONE);
    assert_int_equal(keystore_load_epochs(store, &epochs_back, NULL), ERR_NONE);
    assert_int_equal(epochs_back.count, 1);
    assert_true(keys_verify_epoch(cluster.public_key, &epochs_back.epochs[0]));
    epochs.count = 0; /* a flock without an epoch there is not */
    assert_int_equal(keystore_save_epochs(store, &epochs, NULL), ERR_NONE);
    assert_int_equal(keystore_load_epochs(store, &epochs_back, NULL), ERR_CORRUPT);
}

/* Any changed, lost or added byte is seen; a lost identity is never replaced by a new one. */
static void test_damage(void **state)
{
    struct keys_identity identity;
    char text[4096];
    struct err err;
    size_t len;
    char expected[ERR_TEXT_MAX];

    (void)state;
    assert_int_equal(keystore_identity(store, &identity, NULL, NULL), ERR_NONE);
    len = slurp("identity.key", text);
    for (size_t i = 0; i < len; i++) {
        int rc;

        text[i] ^= 1;
        spill("identity.key", text, len);
        rc = keystore_identity(store, &identity, NULL, &err);
        assert_true(rc == ERR_CORRUPT || rc == ERR_VERSION);
        text[i] ^= 1;
        spill("identity.key", text, i);
        assert_int_equal(keystore_identity(store, &identity, NULL, &err), ERR_CORRUPT);
    }
    snprintf(expected, sizeof expected,
             "%s/identity.key is damaged: restore it from a backup of this node, or move it away "
             "and join again as a new node",
             dir);
    assert_string_equal(err.text, expected);
    text[len] = '\n';
    spill("identity.key", text, len + 1);
    assert_int_equal(keystore_identity(store, &identity, NULL, &err), ERR_CORRUPT);
    memset(text, 'x', sizeof text);
    spill("identity.key", text, sizeof text);
    assert_int_equal(keystore_identity(store, &identity, NULL, &err), ERR_CORRUPT);
}

static void test_access(void **state)
{
    struct keys_identity identity;
    char path[128], other[128], expected[ERR_TEXT_MAX];
    uint8_t public_key[KEYS_PUBLIC] = {1};
    struct err err;

    (void)state;
    assert_int_equal(keystore_identity(store, &identity, NULL, NULL), ERR_NONE);
    path_of("identity.key", path);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(keystore_identity(store, &identity, NULL, &err), ERR_DENIED);
    snprintf(expected, sizeof expected,
             "%s is open to other users (mode 640): run `chmod 600 %s`, and replace the key if "
             "somebody may have read it",
             path, path);
    assert_string_equal(err.text, expected);
    assert_int_equal(chmod(path, 0600), 0);
    path_of("moved", other);
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(symlink(other, path), 0);
    assert_int_equal(keystore_identity(store, &identity, NULL, &err), ERR_DENIED);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* must not hang */
    assert_int_equal(keystore_identity(store, &identity, NULL, &err), ERR_DENIED);

    assert_int_equal(keystore_save_cluster_key(store, public_key, NULL), ERR_NONE);
    path_of("cluster.pub", path);
    assert_int_equal(chmod(path, 0644), 0); /* no secret: may be read */
    assert_int_equal(keystore_load_cluster_key(store, public_key, &err), ERR_NONE);
    assert_int_equal(chmod(path, 0664), 0);
    assert_int_equal(keystore_load_cluster_key(store, public_key, &err), ERR_DENIED);
}

static void test_version(void **state)
{
    static const char newer[] = "Covey identity key, version 2\nsomething else\n";
    struct keys_identity identity;
    struct err err;

    (void)state;
    spill("identity.key", newer, sizeof newer - 1);
    assert_int_equal(keystore_identity(store, &identity, NULL, &err), ERR_VERSION);
}

/* What a crash in the middle of a save has left is no obstacle. */
static void test_leftover(void **state)
{
    struct keys_identity identity;

    (void)state;
    spill(".identity.key.new", "half", 4);
    assert_int_equal(keystore_identity(store, &identity, NULL, NULL), ERR_NONE);
}

static void test_no_directory(void **state)
{
    struct keystore *other;
    struct err err;

    (void)state;
    assert_int_equal(keystore_open("/nonexistent/covey", &other, &err), ERR_NOTFOUND);
    assert_string_equal(err.text, "open the state directory /nonexistent/covey: No such file or "
                                  "directory");
    keystore_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_identity, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_access, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_version, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_leftover, set_up, tear_down),
        cmocka_unit_test(test_no_directory),
    };

    if (keys_start(NULL) != ERR_NONE)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
