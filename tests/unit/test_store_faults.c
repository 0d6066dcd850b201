/* The store under damage, a full disk, kill -9 and a file of a newer release. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <sqlite3.h>

#include "proto/base/rng.h"
#include "store/store.h"
#include "tests/unit/store_dir.h"

#define OBJECTS 60

/* Commit @number has OBJECTS objects, each of which carries the number. */
static int apply(struct store *store, unsigned number, struct err *err)
{
    struct store_object objects[OBJECTS];
    char files[OBJECTS][32];
    struct store_commit commit = {.applied_at = number};

    snprintf(commit.commit, sizeof commit.commit, "%040x", number);
    for (int i = 0; i < OBJECTS; i++) {
        snprintf(files[i], sizeof files[i], "apps/a/%d-%u.yaml", i, number % 3);
        objects[i] = (struct store_object){"Workload", "a", files[i], files[i], 1, number, number};
    }
    return store_apply_commit(store, &commit, objects, OBJECTS, err);
}

/* The applied commit is there as a whole; gives its number. */
static unsigned whole_commit(struct store *store)
{
    struct store_commit commit;
    struct store_object *list;
    struct err err = {0};
    size_t count;
    int rc = store_applied(store, &commit, &err);

    if (rc == ERR_NOTFOUND) {
        OK(store_objects(store, &list, &count, &err));
        assert_int_equal(count, 0);
        return 0;
    }
    assert_int_equal(rc, ERR_NONE);
    OK(store_objects(store, &list, &count, &err));
    assert_int_equal(count, OBJECTS);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(list[i].generation, (uint64_t)commit.applied_at);
    free(list);
    return (unsigned)commit.applied_at;
}

static void fill(const struct store_dir *dir)
{
    struct err err = {0};
    struct store *store;

    OK(store_open(dir->path, &store, NULL, &err));
    for (unsigned i = 1; i <= 20; i++)
        OK(apply(store, i, &err));
    store_close(store);
}

static void overwrite(const struct store_dir *dir, off_t at, size_t size)
{
    unsigned char junk[4096];
    struct rng rng;
    char path[512];
    int fd;

    assert_true(size <= sizeof junk);
    rng_seed(&rng, 4711);
    for (size_t i = 0; i < size; i++)
        junk[i] = (unsigned char)rng_next(&rng);
    store_dir_file(dir, "covey.db", path);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, junk, size, at), (ssize_t)size);
    close(fd);
}

static int count_asides(const struct store_dir *dir)
{
    DIR *stream = opendir(dir->path);
    const struct dirent *entry;
    int count = 0;

    assert_non_null(stream);
    while ((entry = readdir(stream)) != NULL)
        count += strncmp(entry->d_name, "covey.db.corrupt-", 17) == 0 &&
                 strstr(entry->d_name, "-wal") == NULL;
    closedir(stream);
    return count;
}

static void expect_set_aside(const struct store_dir *dir)
{
    struct err err = {0};
    struct store_opened opened;
    struct store *store;
    struct stat st;
    uint32_t boot = 0;

    OK(store_open(dir->path, &store, &opened, &err));
    assert_true(opened.created);
    assert_true(strncmp(opened.set_aside, dir->path, strlen(dir->path)) == 0);
    assert_int_equal(stat(opened.set_aside, &st), 0);
    assert_non_null(strstr(opened.damage, "damaged"));
    assert_int_equal(whole_commit(store), 0);
    OK(store_next_boot(store, 1234, &boot, &err));
    assert_int_equal(boot, 1234);
    store_close(store);
    OK(store_open(dir->path, &store, &opened, &err));
    assert_false(opened.created);
    assert_string_equal(opened.set_aside, "");
    store_close(store);
}

static void damaged_header_is_set_aside(void **state)
{
    fill(*state);
    overwrite(*state, 0, 100);
    expect_set_aside(*state);
}

static void damaged_page_is_set_aside(void **state)
{
    const struct store_dir *dir = *state;
    char path[512];
    struct stat st;

    /* Every page after the first, in turn; at the end only the newest few files are kept. */
    fill(dir);
    store_dir_file(dir, "covey.db", path);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size > 8 * 4096);
    for (off_t at = 4096; at < 7 * 4096; at += 4096) {
        overwrite(dir, at, 64);
        expect_set_aside(dir);
        fill(dir);
    }
    assert_int_equal(count_asides(dir), STORE_SET_ASIDE_MAX);
}

static void cut_file_is_set_aside(void **state)
{
    const struct store_dir *dir = *state;
    char path[512];

    fill(dir);
    store_dir_file(dir, "covey.db", path);
    assert_int_equal(truncate(path, 3 * 4096 + 100), 0);
    expect_set_aside(dir);
}

/* Long events, more than the cache of an open store holds. */
static void fill_journal(struct store *store)
{
    struct store_event *batch = calloc(STORE_EVENT_BATCH_MAX, sizeof *batch);
    struct err err = {0};

    assert_non_null(batch);
    for (int i = 0; i < STORE_EVENT_BATCH_MAX; i++) {
        batch[i].severity = STORE_INFO;
        memset(batch[i].text, 'x', sizeof batch[i].text - 1);
    }
    for (int i = 0; i < 8; i++)
        OK(store_events_append(store, batch, STORE_EVENT_BATCH_MAX, &err));
    free(batch);
}

static void damage_in_use_is_answered_by_rebuild(void **state)
{
    const struct store_dir *dir = *state;
    struct store_opened opened;
    struct store_event *list = NULL;
    struct store *store;
    struct err err = {0};
    uint32_t boot = 0;
    char path[512];
    size_t count = 0;
    struct stat st;

    OK(store_open(dir->path, &store, NULL, &err));
    fill_journal(store);
    store_close(store);
    OK(store_open(dir->path, &store, NULL, &err));
    OK(store_next_boot(store, 99, &boot, &err));
    store_dir_file(dir, "covey.db", path);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size > 700 * 1024);
    for (off_t at = 8 * 4096; at < st.st_size; at += 4096)
        overwrite(dir, at, 4096);
    FAILS(store_events_newest(store, SIZE_MAX, &list, &count, &err), ERR_CORRUPT, "damaged");
    assert_null(list);
    /* From now on nothing is read or written until somebody decides. */
    FAILS(apply(store, 21, &err), ERR_CORRUPT, "damaged");
    OK(store_rebuild(store, &opened, &err));
    assert_true(opened.created);
    assert_int_equal(access(opened.set_aside, F_OK), 0);
    assert_int_equal(whole_commit(store), 0);
    OK(apply(store, 21, &err));
    OK(store_next_boot(store, 1, &boot, &err));
    assert_int_equal(boot, 99 + STORE_BOOT_STRIDE);
    store_close(store);
}

static void read_whole(const char *path, char **data, size_t *size)
{
    FILE *file = fopen(path, "rbe");
    struct stat st;

    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &st), 0);
    *size = (size_t)st.st_size;
    *data = malloc(*size);
    assert_non_null(*data);
    assert_int_equal(fread(*data, 1, *size, file), *size);
    fclose(file);
}

static void file_of_a_newer_release_is_left_alone(void **state)
{
    const struct store_dir *dir = *state;
    struct store *store = NULL;
    struct err err = {0};
    char path[512], *before, *after;
    size_t before_size, after_size;
    sqlite3 *db;

    fill(dir);
    store_dir_file(dir, "covey.db", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=9999", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    read_whole(path, &before, &before_size);
    assert_int_equal(store_open(dir->path, &store, NULL, &err), ERR_VERSION);
    assert_non_null(strstr(err.text, "newer release"));
    assert_null(store);
    read_whole(path, &after, &after_size);
    assert_int_equal(before_size, after_size);
    assert_memory_equal(before, after, after_size);
    assert_int_equal(count_asides(dir), 0);
    free(before);
    free(after);
}

/* In the child: applies commits until it is killed, and tells each one that has succeeded. */
static void apply_until_killed(const char *path, int told)
{
    struct store *store;
    unsigned number;

    if (store_open(path, &store, NULL, NULL) != ERR_NONE)
        _exit(1);
    number = whole_commit(store);
    for (;;) {
        number++;
        if (apply(store, number, NULL) != ERR_NONE ||
            write(told, &number, sizeof number) != sizeof number)
            _exit(1);
    }
}

static void kill_at_any_moment_leaves_a_whole_commit(void **state)
{
    struct err err = {0};
    const struct store_dir *dir = *state;
    struct rng rng;
    unsigned reached = 0;

    rng_seed(&rng, 1);
    for (int round = 0; round < 30; round++) {
        struct timespec moment = {.tv_nsec = (long)rng_below(&rng, 30000000)};
        struct store_opened opened;
        struct store *store;
        unsigned number = 0, told = reached;
        int ends[2], status;
        pid_t pid;

        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            apply_until_killed(dir->path, ends[1]);
        close(ends[1]);
        /* Not before the first commit, so that every round does something. */
        assert_int_equal(read(ends[0], &told, sizeof told), (ssize_t)sizeof told);
        nanosleep(&moment, NULL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        while (read(ends[0], &number, sizeof number) == (ssize_t)sizeof number)
            told = number;
        close(ends[0]);

        OK(store_open(dir->path, &store, &opened, &err));
        assert_string_equal(opened.set_aside, "");
        reached = whole_commit(store);
        /* What was reported is there; at most one more was under way. */
        assert_true(reached == told || reached == told + 1);
        store_close(store);
    }
}

/* Mounts a file system of @kib KiB in a mount namespace of this process. */
static void mount_small(const char *path, int kib)
{
    char options[64];

    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        fail_msg("this test needs a mount namespace of its own (root): %s", strerror(errno));
    snprintf(options, sizeof options, "size=%dk,mode=0700", kib);
    if (mount("covey-test", path, "tmpfs", MS_NOSUID | MS_NODEV, options) != 0)
        fail_msg("this test needs to mount a small tmpfs (root): %s", strerror(errno));
}

/* Fills what is left of the disk. */
static void fill_disk(const struct store_dir *dir)
{
    static const char zeros[4096];
    char path[512];
    int fd;

    store_dir_file(dir, "ballast", path);
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (write(fd, zeros, sizeof zeros) > 0)
        ;
    assert_int_equal(errno, ENOSPC);
    close(fd);
}

static void full_disk_leaves_the_applied_state(void **state)
{
    const struct store_dir *dir = *state;
    struct store *store = NULL;
    struct err err = {0};
    unsigned number = 1;
    char path[512];

    mount_small(dir->path, 1024);
    store_dir_file(dir, "ballast", path);

    /* Too full for a new store: refused, and nothing in the way of the next attempt. */
    fill_disk(dir);
    assert_int_equal(store_open(dir->path, &store, NULL, &err), ERR_NOSPACE);
    assert_non_null(strstr(err.text, "is full"));
    assert_int_equal(unlink(path), 0);

    OK(store_open(dir->path, &store, NULL, &err));
    for (; number <= 5; number++)
        OK(apply(store, number, &err));
    fill_disk(dir);
    while (apply(store, number, &err) == ERR_NONE)
        assert_true(++number < 1000);
    assert_int_equal(err.code, ERR_NOSPACE);
    assert_non_null(strstr(err.text, dir->path));
    assert_non_null(strstr(err.text, "nothing was changed"));
    assert_int_equal(whole_commit(store), number - 1);
    assert_int_equal(apply(store, number, &err), ERR_NOSPACE);
    assert_int_equal(whole_commit(store), number - 1);
    /* Room again: it goes on by itself. */
    assert_int_equal(unlink(path), 0);
    OK(apply(store, number, &err));
    assert_int_equal(whole_commit(store), number);
    fill_disk(dir);
    store_close(store);
    OK(store_open(dir->path, &store, NULL, &err));
    assert_int_equal(whole_commit(store), number);
    store_close(store);
    assert_int_equal(umount(dir->path), 0);
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, store_dir_make, store_dir_remove)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(damaged_header_is_set_aside),
        IN_FOLDER(damaged_page_is_set_aside),
        IN_FOLDER(cut_file_is_set_aside),
        IN_FOLDER(damage_in_use_is_answered_by_rebuild),
        IN_FOLDER(file_of_a_newer_release_is_left_alone),
        IN_FOLDER(kill_at_any_moment_leaves_a_whole_commit),
        IN_FOLDER(full_disk_leaves_the_applied_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
