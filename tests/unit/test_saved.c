/* The record of leases on tmpfs: comes back as it was written, and whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/io/os_saved.h"

static char dir[64];
static char path[96];
static struct os_saved *file;
static struct node_saved saved;
static bool found;

static void open_again(void)
{
    os_saved_close(file);
    memset(&saved, 0xee, sizeof saved);
    assert_int_equal(os_saved_open(dir, &file, &saved, &found, NULL), ERR_NONE);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/covey-saved-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/leases", dir);
    open_again();
    assert_false(found);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    os_saved_close(file);
    file = NULL;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
    return 0;
}

/* A record with so many entries; every byte of them depends on @seed. */
static struct node_saved make(uint8_t seed, uint32_t promises, uint32_t holdings,
                              uint32_t addresses)
{
    struct node_saved record;

    memset(&record, 0, sizeof record);
    record.leases.term_ms = 500u + seed;
    record.leases.silent_until = (mono_t){1000 + seed};
    record.leases.promise_count = promises;
    record.leases.holding_count = holdings;
    record.address_count = addresses;
    for (uint32_t i = 0; i < promises; i++)
        memset(&record.leases.promises[i], (int)(seed + i), sizeof record.leases.promises[i]);
    for (uint32_t i = 0; i < holdings; i++) {
        record.leases.holdings[i].lease = seed + i;
        record.leases.holdings[i].end = (mono_t){seed * 1000 + i};
        record.leases.holdings[i].solo = true;
    }
    for (uint32_t i = 0; i < addresses; i++)
        record.addresses[i].lease = seed * 100u + i;
    return record;
}

static void write_record(const struct node_saved *record)
{
    assert_int_equal(os_saved_write(file, record, NULL), ERR_NONE);
}

static void assert_read(const struct node_saved *record)
{
    open_again();
    assert_true(found);
    assert_memory_equal(&saved, record, sizeof saved);
}

static void it_comes_back_as_it_was_written(void **state)
{
    static const uint32_t counts[][3] = {
        {0, 0, 0}, {1, 1, 1}, {0, 0, 3}, {2, 0, 1}, {LEASES_PROMISES_MAX, LEASES_MAX, LEASES_MAX},
        {0, 1, 0},
    };
    (void)state;

    for (uint8_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct node_saved record = make(i, counts[i][0], counts[i][1], counts[i][2]);
        write_record(&record);
        assert_read(&record);
    }
}

static void the_last_of_many_counts(void **state)
{
    struct node_saved record;
    (void)state;

    for (uint8_t i = 0; i < 9; i++) { /* longer and shorter ones in turn, in the same places */
        record = make(i, i % 4 * 7, i % 3, 1);
        write_record(&record);
    }
    assert_read(&record);
}

static off_t size_of_file(void)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

/* Every byte of the newer record, one after the other: the older one is taken instead, or the newer
 * one as it was if the byte was of no use. */
static void a_damaged_record_yields_to_the_one_before(void **state)
{
    struct node_saved older = make(1, 2, 1, 1);
    struct node_saved newer = make(2, 1, 1, 1);
    off_t second;
    unsigned yielded = 0;
    int fd;
    (void)state;

    write_record(&older); /* number 1: the second place */
    second = size_of_file();
    write_record(&newer);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    for (off_t at = 0; at < 400 && at < second; at++) {
        uint8_t byte;
        uint8_t bad;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        bad = byte ^ 0x10;
        assert_int_equal(pwrite(fd, &bad, 1, at), 1);
        open_again();
        assert_true(found);
        if (memcmp(&saved, &older, sizeof saved) == 0)
            yielded++;
        else
            assert_memory_equal(&saved, &newer, sizeof saved);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
    assert_true(yielded > 150); /* all that was written of it */
    assert_read(&newer);
}

static void what_is_cut_off_is_not_taken(void **state)
{
    struct node_saved record = make(3, 5, 2, 2);
    off_t whole;
    (void)state;

    write_record(&record);
    whole = size_of_file();
    for (off_t cut = 1; cut <= 64; cut++) {
        assert_int_equal(truncate(path, whole - cut), 0);
        open_again();
        assert_false(found);
    }
}

static void more_than_there_can_be_is_refused(void **state)
{
    struct node_saved record = make(4, 0, 0, 0);
    struct err err;
    (void)state;

    record.leases.promise_count = LEASES_PROMISES_MAX + 1;
    assert_int_equal(os_saved_write(file, &record, &err), ERR_IO);
    open_again();
    assert_false(found);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(it_comes_back_as_it_was_written),           TEST(the_last_of_many_counts),
        TEST(a_damaged_record_yields_to_the_one_before), TEST(what_is_cut_off_is_not_taken),
        TEST(more_than_there_can_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
