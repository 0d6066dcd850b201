/* What people are told of an instance beside its state: why it ended, where more is known than its
 * exit status; and what is wrong with one that runs. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "agent/core/node.h"
#include "agent/io/os_folder.h"
#include "agent/io/uv_instances_inside.h"

#define LOOK_MS 5000
#define FLOOD_LINES 1000           /* a second */
#define FLOOD_BYTES (1024 * 1024)  /* a second */
#define FULL_PART 100              /* a disk with less than this part left is full */
#define FOLDER_FILES_MAX 20000     /* looked at, to find who has filled it */
#define FOLDER_LEAST (16ull << 20) /* bytes: less is not worth a word */

const char *instance_explain_end(const struct run *run, const struct shim_record *record,
                                 char *text, size_t size, bool *starved)
{
    struct os_cgroup_usage now;
    uint64_t limit = run->memory_limit >> 20;

    os_cgroup_refused(run->owner->keeper.cgroup, run->name, &now);
    *starved = now.oom_kills > run->before.oom_kills;
    if (*starved && limit > 0)
        snprintf(text, size, "for want of memory, at its limit of %" PRIu64 " MiB", limit);
    else if (*starved)
        snprintf(text, size, "for want of memory");
    else if (now.pids_refused > run->before.pids_refused)
        snprintf(text, size, "after %" PRIu64 " forks were refused, at its limit of processes",
                 now.pids_refused - run->before.pids_refused);
    else if (record->killed)
        snprintf(text, size, "as it had not ended in its time when it was asked to");
    else if (record->left > 0)
        snprintf(text, size,
                 "and left %d process%s behind, which had to end too: a workload "
                 "stays in the foreground",
                 record->left, record->left > 1 ? "es" : "");
    else
        return NULL;
    return text;
}

/* ---- of one that runs ---- */

struct notes {
    char text[VALUE_REASON_MAX];
    size_t used;
};

static void add(struct notes *notes, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct notes *notes, const char *format, ...)
{
    size_t room = sizeof notes->text - notes->used;
    va_list args;
    int n;

    if (notes->used > 0)
        n = snprintf(notes->text + notes->used, room, "; ");
    else
        n = 0;
    if (n < 0 || (size_t)n >= room)
        return;
    va_start(args, format);
    n += vsnprintf(notes->text + notes->used + n, room - (size_t)n, format, args);
    va_end(args);
    notes->used += (size_t)n < room ? (size_t)n : room - 1;
}

/* Rounded down, so that a steady flood is told of once: 1000, 10000 … */
static uint64_t magnitude(uint64_t n)
{
    uint64_t step = 1;

    while (step <= n / 10)
        step *= 10;
    return step;
}

static void note_log(struct run *run, uint64_t seconds, struct notes *notes)
{
    const struct shim_record *now = &run->counts;
    uint64_t lines = now->log_lines + now->log_dropped - run->seen_lines;
    uint64_t bytes = now->log_bytes - run->seen_bytes;

    if (now->log_dropped > 0)
        add(notes, "%" PRIu64 " lines of its log were lost: %s", now->log_dropped,
            strerror(now->log_errnum));
    if (run->seen && lines / seconds >= FLOOD_LINES)
        add(notes, "floods its log: more than %" PRIu64 " lines a second",
            magnitude(lines / seconds));
    else if (run->seen && bytes / seconds >= FLOOD_BYTES)
        add(notes, "floods its log: more than %" PRIu64 " MiB a second",
            magnitude(bytes / seconds >> 20));
    if (now->log_binary > 0)
        add(notes, "writes binary data to its output");
    run->seen = true;
    run->seen_lines = now->log_lines + now->log_dropped;
    run->seen_bytes = now->log_bytes;
}

static void note_limits(const struct run *run, struct notes *notes)
{
    struct os_cgroup_usage now;

    os_cgroup_refused(run->owner->keeper.cgroup, run->name, &now);
    if (now.pids_refused > run->before.pids_refused)
        add(notes, "%" PRIu64 " forks were refused, at its limit of processes",
            now.pids_refused - run->before.pids_refused);
    if (now.oom_kills > run->before.oom_kills)
        add(notes, "%" PRIu64 " of its processes were killed at its limit of memory",
            now.oom_kills - run->before.oom_kills);
}

/* As prlimit(2) would tell a privileged agentd. UINT64_MAX: not known. */
static uint64_t may_open(pid_t pid)
{
    char path[32];
    char line[160];
    uint64_t most = UINT64_MAX;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/limits", (int)pid);
    file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Max open files %*u %" SCNu64, &most) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return most;
}

/* The shim sets as many as it may: fs.nr_open, or agentd's own where that is not privileged. */
static void note_files(const struct run *run, struct notes *notes)
{
    uint64_t most = run->open_files > 0 && run->pid > 0 ? may_open(run->pid) : UINT64_MAX;

    if (most < run->open_files)
        add(notes,
            "may open %" PRIu64 " files, not the %" PRIu64
            " of openFiles: the limit of agentd, or fs.nr_open",
            most, run->open_files);
}

static void note_disk(const struct run *run, struct notes *notes)
{
    char path[PATH_SIZE];
    uint64_t bytes;

    snprintf(path, sizeof path, "%.3800s/instances/%s", run->owner->config.state_dir, run->name);
    bytes = os_folder_bytes(path, FOLDER_FILES_MAX);
    if (bytes >= FOLDER_LEAST)
        add(notes, "the disk is full, and its folder holds %" PRIu64 " MiB", bytes >> 20);
}

static bool is_full(const char *folder)
{
    struct statvfs disk;

    return statvfs(folder, &disk) == 0 && disk.f_blocks > 0 &&
           disk.f_bavail < disk.f_blocks / FULL_PART;
}

static void tell(struct run *run, const char *text)
{
    struct node_event event = {.type = NODE_NOTE};

    if (strcmp(run->note, text) == 0)
        return;
    snprintf(run->note, sizeof run->note, "%s", text);
    event.instance.instance = run->name;
    event.instance.reason = run->note;
    run->owner->post.event(run->owner->post.context, &event);
}

/* ---- control groups that could not be removed at once ---- */

struct group_left {
    struct group_left *next;
    char name[INSTANCE_MAX];
};

/* True: there is nothing more to be done about it. */
static bool has_gone(struct uv_instances *instances, const char *name)
{
    return uv_instances_run(instances, name) != NULL || /* it is in use again */
           os_cgroup_remove(instances->keeper.cgroup, name);
}

/* What a probe has left is killed with its workload, and may take some time to die: the limit of
 * the processor that it had holds for that, too. */
void instance_groups_remove(struct uv_instances *instances, const char *name)
{
    struct group_left *left = instances->groups_left;

    while (left != NULL && strcmp(left->name, name) != 0)
        left = left->next;
    if (left != NULL || has_gone(instances, name))
        return;
    left = calloc(1, sizeof *left);
    if (left == NULL)
        return; /* an empty group costs little */
    snprintf(left->name, sizeof left->name, "%s", name);
    left->next = instances->groups_left;
    instances->groups_left = left;
}

static void look_at_groups(struct uv_instances *instances)
{
    struct group_left **at = &instances->groups_left;

    while (*at != NULL) {
        struct group_left *left = *at;
        if (has_gone(instances, left->name)) {
            *at = left->next;
            free(left);
        } else {
            at = &left->next;
        }
    }
}

void instance_groups_close(struct uv_instances *instances)
{
    while (instances->groups_left != NULL) {
        struct group_left *left = instances->groups_left;
        instances->groups_left = left->next;
        free(left);
    }
}

static void on_look(uv_timer_t *timer)
{
    struct uv_instances *instances = timer->data;
    bool full = is_full(instances->config.state_dir);

    instance_extras_look(instances);
    look_at_groups(instances);
    for (struct run *run = instances->runs; run != NULL; run = run->next) {
        struct notes notes = {.used = 0};
        if (run->over || run->shim == NULL || !run->started)
            continue;
        note_log(run, LOOK_MS / 1000, &notes);
        note_limits(run, &notes);
        note_files(run, &notes);
        if (full)
            note_disk(run, &notes);
        tell(run, notes.text);
        (void)os_shim_ask(run->shim, NULL); /* its counts, for the next time */
    }
}

void instance_notes_begin(struct uv_instances *instances)
{
    uv_timer_init(instances->loop, &instances->look);
    instances->look.data = instances;
    instances->handles++;
    uv_timer_start(&instances->look, on_look, LOOK_MS, LOOK_MS);
}
