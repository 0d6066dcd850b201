/* The log of a real workload: whole lines, counted, bounded, and never in its way. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/shim/rig.h"

struct frame {
    char stream[8];
    char mark;
    const char *text;
    size_t len;
};

typedef void take_frame(void *context, const struct frame *frame);

/* Cuts one frame off *@at and checks its shape. */
static void next_frame(const char **at, const char *end, struct frame *f)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddZ ";
    const char *stop = memchr(*at, '\n', (size_t)(end - *at));
    const char *p = *at;
    size_t name;

    assert_non_null(stop); /* no file ends within a frame */
    assert_true(stop - p > 30);
    for (size_t i = 0; shape[i] != '\0'; i++)
        assert_true(shape[i] == 'd' ? p[i] >= '0' && p[i] <= '9' : p[i] == shape[i]);
    p += sizeof shape - 1;
    name = strcspn(p, " ");
    assert_true(name < sizeof f->stream);
    memcpy(f->stream, p, name);
    f->stream[name] = '\0';
    p += name + 1;
    assert_true((p[0] == 'F' || p[0] == 'P') && p[1] == ' ');
    f->mark = p[0];
    f->text = p + 2;
    f->len = (size_t)(stop - f->text);
    assert_true(f->len <= SHIM_LINE_MAX);
    *at = stop + 1;
}

/* The ends of runs are counted and not taken; they say how. */
static unsigned read_file(const char *path, uint64_t limit, take_frame *take, void *context)
{
    unsigned ends = 0;
    struct stat st;
    struct frame f;
    char *data;
    const char *at;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    assert_true((uint64_t)st.st_size <= limit);
    data = malloc((size_t)st.st_size + 1);
    assert_non_null(data);
    assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
    close(fd);
    for (at = data; at < data + st.st_size;) {
        next_frame(&at, data + st.st_size, &f);
        if (strcmp(f.stream, "run") == 0) {
            assert_true(memcmp(f.text, "code ", 5) == 0 || memcmp(f.text, "signal ", 7) == 0);
            ends++;
        } else {
            take(context, &f);
        }
    }
    free(data);
    return ends;
}

/* All frames of the one run of instance "a", oldest first. Returns the number of files. */
static int read_log(const struct rig *rig, uint64_t limit, take_frame *take, void *context)
{
    char path[192];
    unsigned ends = 0;
    int files = 1;

    for (int n = SHIM_LOG_FILES_MAX; n > 0; n--) {
        snprintf(path, sizeof path, "%s/a/log.%d", rig->log_dir, n);
        if (access(path, F_OK) == 0) {
            files++;
            ends += read_file(path, limit, take, context);
        }
    }
    snprintf(path, sizeof path, "%s/a/log", rig->log_dir);
    ends += read_file(path, limit, take, context);
    assert_int_equal(ends, 1);
    return files;
}

static void run_to_end(struct rig *rig, const struct shim_spec *spec, struct shim_record *end)
{
    struct shim_record record;
    struct os_shim *shim = rig_start(rig, spec, &record);

    rig_wait(shim, OS_SHIM_EXITED, end);
    assert_int_equal(end->exit_value, 0);
    os_shim_close(shim);
}

struct count {
    unsigned long next;
    unsigned errors;
};

static void take_number(void *context, const struct frame *f)
{
    struct count *count = context;
    char text[32];

    if (strcmp(f->stream, "stderr") == 0) {
        assert_true(f->len == 4 && memcmp(f->text, "oops", 4) == 0);
        count->errors++;
        return;
    }
    assert_string_equal(f->stream, "stdout");
    assert_int_equal(f->mark, 'F');
    assert_true(f->len < sizeof text);
    memcpy(text, f->text, f->len);
    text[f->len] = '\0';
    assert_int_equal(strtoul(text, NULL, 10), count->next);
    count->next++;
}

static void no_line_is_lost_or_cut_over_rotation(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "a", "echo oops >&2; seq 1 100000; echo oops >&2");
    struct count count = {.next = 1};
    struct shim_record end;

    spec.log_file_bytes = SHIM_LOG_FILE_MIN;
    spec.log_files = SHIM_LOG_FILES_MAX;
    run_to_end(rig, &spec, &end);
    assert_int_equal(end.log_lines, 100002);
    assert_int_equal(end.log_dropped, 0);
    assert_true(read_log(rig, SHIM_LOG_FILE_MIN, take_number, &count) > 50);
    assert_int_equal(count.next, 100001);
    assert_int_equal(count.errors, 2);
}

static void ignore(void *context, const struct frame *f)
{
    (void)f;
    ++*(unsigned long *)context;
}

static void old_files_go(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "a", "seq 1 20000");
    struct shim_record end;
    unsigned long frames = 0;

    spec.log_file_bytes = 0; /* raised to the least */
    spec.log_files = 2;
    run_to_end(rig, &spec, &end);
    assert_int_equal(read_log(rig, SHIM_LOG_FILE_MIN, ignore, &frames), 3);
    spec.log_files = 0;
    run_to_end(rig, &spec, &end);
    assert_int_equal(end.log_lines, 20000);
}

struct copy {
    char *data;
    size_t len;
    size_t size;
    unsigned parts;
};

static void take_bytes(void *context, const struct frame *f)
{
    struct copy *copy = context;

    assert_true(copy->len + f->len + 1 <= copy->size);
    memcpy(copy->data + copy->len, f->text, f->len);
    copy->len += f->len;
    if (f->mark == 'F')
        copy->data[copy->len++] = '\n';
    else
        copy->parts++;
}

/* Writes random bytes, then zeros without a line end, then lines about as long as a frame. */
static void make_input(const char *path)
{
    char command[512];

    snprintf(command, sizeof command,
             "{ head -c 300000 /dev/urandom; head -c 300000 /dev/zero; "
             "for n in 16382 16383 16384 16385 32768 32769; do echo; head -c $n /dev/zero | tr "
             "'\\0' x; done; echo; echo; echo end; } >%s",
             path);
    assert_int_equal(system(command), 0);
}

static void binary_output_and_endless_lines_come_back_byte_for_byte(void **state)
{
    struct rig *rig = *state;
    struct copy copy = {.size = 2000000};
    struct shim_record end;
    struct shim_spec spec;
    char path[128];
    char script[192];
    char *input;
    struct stat st;
    int fd;

    snprintf(path, sizeof path, "%s/input", rig->base);
    make_input(path);
    snprintf(script, sizeof script, "cat %s", path);
    spec = rig_shell(rig, "a", script);
    spec.log_files = 9;
    run_to_end(rig, &spec, &end);
    copy.data = malloc(copy.size);
    input = malloc(copy.size);
    assert_true(copy.data != NULL && input != NULL);
    read_log(rig, 1000000, take_bytes, &copy);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    assert_int_equal(read(fd, input, copy.size), st.st_size);
    close(fd);
    assert_int_equal(copy.len, st.st_size);
    assert_memory_equal(copy.data, input, copy.len);
    assert_true(copy.parts >= 300000 / SHIM_LINE_MAX);
    free(copy.data);
    free(input);
}

static void an_unfinished_last_line_is_kept(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "a", "printf 'one\\ntwo'");
    struct copy copy = {.size = 64};
    char data[64];
    struct shim_record end;

    copy.data = data;
    run_to_end(rig, &spec, &end);
    assert_int_equal(end.log_lines, 2);
    read_log(rig, 1000000, take_bytes, &copy);
    assert_int_equal(copy.len, 8);
    assert_memory_equal(data, "one\ntwo\n", 8);
}

static void a_flood_leaves_the_shim_responsive(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "a", "yes flood & yes flood >&2 & exec yes flood");
    struct shim_record record;
    struct os_shim *shim;
    uint64_t lines = 0;
    unsigned long frames = 0;

    spec.log_file_bytes = SHIM_LOG_FILE_MIN;
    spec.log_files = 1;
    shim = rig_start(rig, &spec, &record);
    /* Each answer is later in the flood than the one before. */
    for (int i = 0; i < 50; i++) {
        do {
            assert_int_equal(os_shim_ask(shim, NULL), ERR_NONE);
            rig_wait(shim, OS_SHIM_STATUS, &record);
        } while (record.log_lines == lines);
        assert_true(record.log_lines > lines);
        lines = record.log_lines;
    }
    os_shim_stop(shim, 0, -1, NULL);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    assert_int_equal(record.log_dropped, 0);
    os_shim_close(shim);
    assert_int_equal(read_log(rig, SHIM_LOG_FILE_MIN, ignore, &frames), 2);
}

struct losses {
    unsigned long kept;
    unsigned long lost;
    unsigned reports;
};

static void take_loss(void *context, const struct frame *f)
{
    struct losses *l = context;

    if (strcmp(f->stream, "shim") != 0) {
        l->kept++;
        return;
    }
    l->lost += strtoul(f->text, NULL, 10);
    l->reports++;
    assert_true(memmem(f->text, f->len, "No space left", 13) != NULL);
}

/* A full disk: the workload goes on, each line is either in the log or counted as lost, and the
 * log says so when there is room again. */
static void a_full_disk_is_counted_and_reported(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(
        rig, "a",
        "seq 1 5000; echo full >$FIFO; cat $FIFO.go; seq 1 10; echo more >$FIFO; cat $FIFO.go");
    struct losses losses = {0};
    struct shim_record record;
    struct os_shim *shim;
    char go[128];
    char ballast[192];
    char line[16];

    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", rig->log_dir, "tmpfs", 0, "size=262144") != 0)
        fail_msg("this test needs root, to mount a small disk: %s", strerror(errno));
    snprintf(go, sizeof go, "%s.go", rig->fifo_path);
    assert_int_equal(mkfifo(go, 0600), 0);
    snprintf(ballast, sizeof ballast, "head -c 200000 /dev/zero >%s/ballast", rig->log_dir);
    assert_int_equal(system(ballast), 0);
    shim = rig_start(rig, &spec, &record);
    rig_line(rig, line, sizeof line);
    /* The lines are in the pipe; the answer that shows them taken comes in time. */
    do {
        os_shim_ask(shim, NULL);
        rig_wait(shim, OS_SHIM_STATUS, &record);
    } while (record.log_lines + record.log_dropped < 5000);
    assert_true(record.log_dropped > 0);
    snprintf(ballast, sizeof ballast, "%s/ballast", rig->log_dir);
    assert_int_equal(unlink(ballast), 0);
    close(open(go, O_WRONLY));
    rig_line(rig, line, sizeof line);
    close(open(go, O_WRONLY));
    rig_wait(shim, OS_SHIM_EXITED, &record);
    assert_int_equal(record.log_lines + record.log_dropped, 5010);
    os_shim_close(shim);
    read_log(rig, 1000000, take_loss, &losses);
    assert_int_equal(losses.kept, record.log_lines);
    assert_int_equal(losses.lost, record.log_dropped);
    assert_true(losses.reports >= 1);
    assert_int_equal(umount2(rig->log_dir, MNT_DETACH), 0);
}

static void without_a_folder_output_is_thrown_away(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "a", "seq 1 100000");
    struct shim_record end;

    rig->where.log_dir = NULL;
    run_to_end(rig, &spec, &end);
    assert_int_equal(end.log_lines, 0);
    assert_int_equal(end.log_dropped, 0);
}

#define LOG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

/* What stands in a file of "a", without times: "stdout F one|run F code 0|". */
static void expect_file(const struct rig *rig, const char *name, const char *wanted)
{
    char path[192];
    char text[1024] = "";
    char line[256];
    size_t n = 0;
    FILE *f;

    snprintf(path, sizeof path, "%s/a/%s", rig->log_dir, name);
    f = fopen(path, "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        assert_true(strlen(line) > 25);
        n += (size_t)snprintf(text + n, sizeof text - n, "%.*s|", (int)strcspn(line + 25, "\n"),
                              line + 25);
        assert_true(n < sizeof text);
    }
    fclose(f);
    assert_string_equal(text, wanted);
}

/* Once @lines of it are counted. */
static void kill_shim_of(struct rig *rig, const struct shim_spec *spec, uint64_t lines)
{
    struct shim_record record;
    struct os_shim *shim = rig_start(rig, spec, &record);
    char line[16];

    rig_line(rig, line, sizeof line);
    while (record.log_lines < lines) {
        assert_int_equal(os_shim_ask(shim, NULL), ERR_NONE);
        rig_wait(shim, OS_SHIM_STATUS, &record);
    }
    kill(record.shim_pid, SIGKILL);
    rig_wait(shim, OS_SHIM_LOST, &record);
    os_shim_close(shim);
    rig_wait_gone(record.pid);
}

static void a_run_without_an_end_gets_it_from_the_next(void **state)
{
    struct rig *rig = *state;
    struct shim_spec quiet = rig_shell(rig, "a", "echo up >$FIFO; exec sleep 1000");
    struct shim_spec loud = rig_shell(rig, "a", "echo last words; echo up >$FIFO; exec sleep 1000");
    struct shim_spec spec = rig_shell(rig, "a", "echo one");
    struct shim_record end;
    char path[192];
    FILE *f;

    kill_shim_of(rig, &quiet, 0); /* it has written nothing */
    run_to_end(rig, &spec, &end);
    expect_file(rig, "log", "stdout F one|run F code 0|");
    kill_shim_of(rig, &loud, 1);
    run_to_end(rig, &spec, &end);
    expect_file(rig, "log",
                "stdout F one|run F code 0|stdout F last words|run F lost 0|"
                "stdout F one|run F code 0|");
    snprintf(path, sizeof path, "%s/a/log", rig->log_dir);
    f = fopen(path, "we");
    assert_non_null(f);
    fputs("2026-01-31T13:37:00.123Z stdout F of a power c", f);
    fclose(f);
    run_to_end(rig, &spec, &end);
    expect_file(rig, "log", "stdout F of a power c|run F lost 0|stdout F one|run F code 0|");
}

/* The time of its first line counts, also where a shim goes on with a file that another began. */
static void a_file_is_rotated_by_its_age(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "a", "echo one");
    struct shim_record end;
    char path[192];
    FILE *f;

    spec.log_files = 2;
    spec.log_age_s = 86400;
    run_to_end(rig, &spec, &end);
    run_to_end(rig, &spec, &end);
    expect_file(rig, "log", "stdout F one|run F code 0|stdout F one|run F code 0|");
    snprintf(path, sizeof path, "%s/a/log", rig->log_dir);
    f = fopen(path, "we"); /* its last change is of now */
    assert_non_null(f);
    fputs("2026-01-31T13:37:00.123Z stdout F old\n2026-01-31T13:37:01.123Z run F code 0\n", f);
    fclose(f);
    run_to_end(rig, &spec, &end);
    expect_file(rig, "log.1", "stdout F old|run F code 0|");
    expect_file(rig, "log", "stdout F one|run F code 0|");
    run_to_end(rig, &spec, &end);
    expect_file(rig, "log", "stdout F one|run F code 0|stdout F one|run F code 0|");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG(no_line_is_lost_or_cut_over_rotation),
        LOG(old_files_go),
        LOG(binary_output_and_endless_lines_come_back_byte_for_byte),
        LOG(an_unfinished_last_line_is_kept),
        LOG(a_flood_leaves_the_shim_responsive),
        LOG(without_a_folder_output_is_thrown_away),
        LOG(a_full_disk_is_counted_and_reported),
        LOG(a_run_without_an_end_gets_it_from_the_next),
        LOG(a_file_is_rotated_by_its_age),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
