/* What shims have left in the run folder: for the start of an agent, and after an end. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "agent/io/os_shim_inside.h"
#include "agent/shim/files.h"
#include "agent/shim/processes.h"

void os_shim_acknowledge(const struct os_shims *where, const char *instance, struct os_shim *shim)
{
    const struct shim_request request = {.type = SHIM_ASK_ACKNOWLEDGE};
    char path[OS_SHIM_PATH];
    int dir;
    int lock;

    if (shim != NULL)
        os_shim_request(shim, &request, NULL);
    if (os_shim_open_folder(where, instance, &dir, NULL) != ERR_NONE)
        return;
    /* Under its lock: a shim that starts meanwhile has its files, or makes them anew. */
    if (shim_lock_take(dir, &lock, NULL) == ERR_NONE) {
        unlinkat(dir, SHIM_EXIT, 0);
        unlinkat(dir, SHIM_STATUS, 0);
        unlinkat(dir, SHIM_SOCKET, 0);
        unlinkat(dir, SHIM_LOCK, 0);
        if (os_shim_folder(where, instance, path, NULL) == ERR_NONE)
            rmdir(path);
        close(lock);
    }
    close(dir);
}

static unsigned sweep_group(const char *folder)
{
    int group = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    unsigned count = shim_processes_kill_group(group);

    if (group >= 0)
        close(group);
    return count;
}

unsigned os_shim_sweep(const struct os_shims *where, const char *instance,
                       const char *const *cgroups)
{
    struct shim_record record;
    char path[OS_SHIM_PATH];
    unsigned count = 0;
    int dir;

    if (os_shim_folder(where, instance, path, NULL) != ERR_NONE ||
        os_shim_open_folder(where, instance, &dir, NULL) != ERR_NONE)
        return 0;
    if (!shim_lock_held(dir) && shim_file_read(dir, SHIM_STATUS, &record) == ERR_NONE) {
        count = shim_processes_sweep(&record, path);
        for (; cgroups != NULL && *cgroups != NULL; cgroups++)
            count += sweep_group(*cgroups);
    }
    close(dir);
    return count;
}

/* One instance's folder. True: nothing there, or visited; false: its record cannot be read. */
static bool visit_one(int dir, os_shim_visit *visit, void *context)
{
    struct shim_record record;
    int status = shim_file_read(dir, SHIM_STATUS, &record);

    if (shim_lock_held(dir)) {
        if (status == ERR_NONE)
            visit(context, OS_SHIM_FOUND_ALIVE, &record);
        return status == ERR_NONE;
    }
    /* Asked after the lock, a shim that has just ended has written it. */
    if (shim_file_read(dir, SHIM_EXIT, &record) == ERR_NONE) {
        visit(context, OS_SHIM_FOUND_ENDED, &record);
        return true;
    }
    status = shim_file_read(dir, SHIM_STATUS, &record);
    if (status == ERR_NONE)
        visit(context, OS_SHIM_FOUND_LOST, &record);
    return status == ERR_NONE || status == ERR_NOTFOUND;
}

int os_shim_scan(const struct os_shims *where, os_shim_visit *visit, void *context,
                 unsigned *damaged, struct err *err)
{
    char path[OS_SHIM_PATH];
    struct dirent *entry;
    DIR *folder;
    int rc = os_shim_join(path, where->run_dir, OS_SHIM_FOLDER, "", err);

    *damaged = 0;
    if (rc != ERR_NONE)
        return rc;
    folder = opendir(path);
    if (folder == NULL)
        return err_errno(err, ERR_IO, errno, "read the folder %s", path);
    while ((entry = readdir(folder)) != NULL) {
        int dir;
        if (entry->d_name[0] == '.')
            continue;
        dir = openat(dirfd(folder), entry->d_name, O_DIRECTORY | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (dir < 0 || !visit_one(dir, visit, context))
            ++*damaged;
        if (dir >= 0)
            close(dir);
    }
    closedir(folder);
    return ERR_NONE;
}
