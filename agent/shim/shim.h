/* What agentd and agent-shim say to each other.
 *
 * One agent-shim runs per workload instance and outlives agentd. All that belongs to an instance
 * lies in its own folder, <run_dir>/shim/<name>/ (0700), where <name> is the instance with '@' for
 * '/':
 *   lock    locked (OFD write lock) while the shim lives and its workload may: the one proof of
 * life sock    SOCK_SEQPACKET socket, 0600; each message is one record or request status  a record:
 * what runs, or the last that is known of it when the shim was killed exit    a record: how the
 * workload ended, synced; stays until an agent has taken note
 *
 * Records and requests are text, "covey-shim 1\n" and then "key=value\n" lines. Unknown keys are
 * skipped, so that an older agent understands a newer shim and the other way round. On connecting a
 * client gets the present record, and with it (SCM_RIGHTS) the listening sockets that the workload
 * was given; each request is answered by one; changes are pushed as one.
 *
 * Logs are <log_dir>/log and, older, log.1, log.2 … One frame per line, in the format of the
 * Container Runtime Interface with milliseconds:
 *   2026-01-31T13:37:00.123Z stdout F text of the line
 * The stream is stdout, stderr, shim (the shim's own words, such as a count of lost lines), or run
 * (what stands before it is one run of the workload; the text says how that ended). F
 * ends a line; P is a part of one that is longer than SHIM_LINE_MAX: the next frame of that stream
 * goes on with it. The text is what the workload wrote, byte for byte, control characters and all:
 * readers escape. A frame is never split over two files. Where a frame cannot be written (full
 * disk), it is dropped and counted; the workload never waits for a reader of its log.
 *
 * A start takes time: control groups (with v1 a grace period of the kernel's), mounts, a filter. So
 * a shim keeps a process ready for the run that follows, if it is asked to (SHIM_ASK_PREPARE): in
 * its groups, behind its walls, under its user, it waits for a word to call execve. When the
 * workload has ended by itself, its exit is recorded and pushed as ever, with the ticket in it, and
 * the shim waits SHIM_NEXT_MS for SHIM_ASK_NEXT. Anything else, or nothing, and it ends as ever. */
#ifndef COVEY_SHIM_SHIM_H
#define COVEY_SHIM_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/id.h"

#define SHIM_FD_SPEC 3   /* agent-shim reads its specification from here */
#define SHIM_FD_CLIENT 4 /* and has its first client here */
#define SHIM_FD_LISTEN 5 /* listening sockets that are passed to the workload, if any */

#define SHIM_SPEC_MAX 262144         /* bytes of a specification */
#define SHIM_ARGS_MAX 256            /* entries of argv */
#define SHIM_ENV_MAX 512             /* entries of the environment */
#define SHIM_GROUPS_MAX 16           /* supplementary groups */
#define SHIM_CGROUPS_MAX 4           /* one with cgroup v2, one per controller with v1 */
#define SHIM_PATHS_MAX 20            /* writable paths */
#define SHIM_HOOK_ARGS_MAX 32        /* entries of a hook's argv */
#define SHIM_LISTEN_MAX 8            /* listening sockets */
#define SHIM_RECORD_MAX 2048         /* bytes of a record */
#define SHIM_REQUEST_MAX 256         /* bytes of a request */
#define SHIM_TEXT_MAX 256            /* bytes of a record's text, terminating zero included */
#define SHIM_NOTE_MAX 256            /* bytes of the caller's note, terminating zero included */
#define SHIM_CLIENTS_MAX 4           /* connections at a time */
#define SHIM_LINE_MAX 16384          /* bytes of text in a frame */
#define SHIM_LOG_FILE_MIN 65536      /* a smaller limit of a log file is raised to this */
#define SHIM_LOG_FILES_MAX 99        /* rotated log files */
#define SHIM_TIMEOUT_MAX_MS 86400000 /* of a stop */
#define SHIM_NEXT_MS 1000            /* from an exit, for the word to run the next process */

#define SHIM_LOCK "lock"
#define SHIM_SOCKET "sock"
#define SHIM_STATUS "status"
#define SHIM_EXIT "exit"
#define SHIM_LOG "log"

/* The environment variable that marks the processes of an instance; its value is the folder. */
#define SHIM_MARK "COVEY_SHIM_DIR"

/* A program that runs before the workload's start or after its end, as the workload itself would.
 */
struct shim_hook {
    const char *argv[SHIM_HOOK_ARGS_MAX + 1]; /* argv[0] NULL: none */
    int64_t timeout_ms;                       /* then it is killed, and has failed */
};

/* What a workload may do. All zero: whatever its user may. Anything else needs root. */
struct shim_sandbox {
    bool private_tmp;    /* /tmp, /var/tmp and /dev/shm of its own, in memory */
    bool read_only;      /* every file system, but for @paths and its private tmp */
    bool bound;          /* gives up all capabilities but @capabilities, for ever */
    uint64_t capability; /* bit n: it keeps Linux' capability n */
    const char *paths[SHIM_PATHS_MAX + 1]; /* writable all the same; those that are missing are not
                                              made */
    const char *seccomp;                   /* file of a filter of system calls (BPF), or NULL */
};

/* What to run. Pointers are borrowed. */
struct shim_spec {
    const char *instance;
    uint64_t generation;     /* of the caller's choice; returned in every record */
    const char *note;        /* of the caller's choice, in one line, and returned likewise: what a
                                restarted agent must know (ports …); no secret. NULL: none */
    const char *dir;         /* the instance's folder, absolute; must exist */
    const char *log_dir;     /* absolute, must exist; NULL: output is thrown away */
    uint64_t log_file_bytes; /* a file is rotated before it grows beyond this */
    uint32_t log_files;      /* rotated files that are kept */
    uint32_t log_age_s;      /* a file is rotated too when it is older than this; 0: never */
    const char *working_dir; /* NULL: "/" */
    const char *cgroups[SHIM_CGROUPS_MAX + 1]; /* folders of cgroups for the workload */
    struct shim_sandbox sandbox;
    bool switch_user; /* to uid, gid and groups; needs root */
    bool no_new_privileges;
    uint32_t uid;
    uint32_t gid;
    uint32_t groups[SHIM_GROUPS_MAX];
    size_t group_count;
    uint64_t nofile; /* RLIMIT_NOFILE; 0: as the agent's */
    int oom_score;   /* oom_score_adj of the workload */
    uint32_t listen; /* sockets from SHIM_FD_LISTEN on, passed as LISTEN_FDS (sd_listen_fds(3)) */
    int sockets[SHIM_LISTEN_MAX]; /* that many, the agent's; not part of the text */
    struct shim_hook pre_start;
    struct shim_hook post_stop;
    int stop_signal; /* for SIGTERM to the shim, and for what the main process leaves */
    int64_t stop_timeout_ms;
    int64_t deadline_ms;                 /* CLOCK_BOOTTIME: kill everything then; 0: never */
    const char *argv[SHIM_ARGS_MAX + 1]; /* argv[0] without '/' is searched in env's PATH */
    const char *env[SHIM_ENV_MAX + 1];   /* "NAME=value", the whole environment but SHIM_MARK */
};

/* Writes @spec to @buffer. Errors: ERR_INVALID (instance, stop signal, no argv …), ERR_LIMIT. */
int shim_spec_encode(const struct shim_spec *spec, char *buffer, size_t size, size_t *len,
                     struct err *err);

/* Reads what shim_spec_encode wrote. @spec borrows from @buffer. Errors: ERR_INVALID, ERR_LIMIT,
 * ERR_VERSION. */
int shim_spec_decode(const char *buffer, size_t len, struct shim_spec *spec, struct err *err);

/* An instance's name: a-z, A-Z, 0-9, '.', '_', '-' and '/', not beginning with '.' or '/', shorter
 * than INSTANCE_MAX. */
bool shim_instance_valid(const char *instance);

/* The name of its folder. */
void shim_instance_file(const char *instance, char name[INSTANCE_MAX]);

enum shim_state {
    SHIM_STARTING, /* pid 0: its pre-start hook runs, or is about to */
    SHIM_RUNNING,
    SHIM_STOPPING, /* asked to end, or its main process ended and others of it are left */
    SHIM_EXITED,   /* nothing of it lives */
    SHIM_FAILED,   /* could not be started: nothing of it ever lived; code and text say why */
    SHIM_STATES
};

enum shim_exit { SHIM_EXIT_NONE, SHIM_EXIT_CODE, SHIM_EXIT_SIGNAL, SHIM_EXITS };

enum shim_cause {
    SHIM_CAUSE_SELF,     /* ended by itself, or by somebody else's signal */
    SHIM_CAUSE_STOP,     /* was asked to stop */
    SHIM_CAUSE_DEADLINE, /* its lease ran out */
    SHIM_CAUSES
};

struct shim_record {
    char instance[INSTANCE_MAX];
    uint64_t generation;
    char note[SHIM_NOTE_MAX];
    enum shim_state state;
    int32_t shim_pid;
    int32_t pid;             /* of the main process, session and process group; 0 before it is */
    uint64_t start_ticks;    /* its start time in /proc: pid and ticks name a process for ever */
    int64_t started_ms;      /* CLOCK_BOOTTIME */
    int64_t started_wall_ms; /* since 1970 */
    int64_t ended_ms;        /* of the main process; 0 while it lives */
    int64_t ended_wall_ms;
    enum shim_exit exit; /* of the main process */
    int exit_value;      /* exit code or signal */
    enum shim_cause cause;
    int64_t deadline_ms;      /* 0: none */
    uint64_t log_lines;       /* frames ending a line that were written */
    uint64_t log_bytes;       /* of text, whether it could be written or not */
    uint64_t log_dropped;     /* frames that could not be written */
    int log_errnum;           /* why, of the last of them */
    uint64_t log_binary;      /* blocks of text with a zero byte in them */
    int left;                 /* processes that it left when its main process ended by itself */
    int killed;               /* 1: it was asked to stop, did not in its time, and was killed */
    uint64_t garbage;         /* messages that were no request */
    uint64_t standby;         /* ticket of the process that is kept ready; 0: none is */
    int code;                 /* enum err_code, of SHIM_FAILED */
    int errnum;               /* errno, of SHIM_FAILED; 0: unknown */
    char text[SHIM_TEXT_MAX]; /* of SHIM_FAILED */
};

/* Returns the length; a record always fits into SHIM_RECORD_MAX. */
size_t shim_record_encode(const struct shim_record *record, char buffer[SHIM_RECORD_MAX]);

/* Errors: ERR_INVALID, ERR_VERSION; @record is then unchanged. Takes any bytes. */
int shim_record_decode(const char *buffer, size_t len, struct shim_record *record);

enum shim_request_type {
    SHIM_ASK_STATUS,
    SHIM_ASK_STOP,        /* signal to the main process; after timeout_ms SIGKILL to all */
    SHIM_ASK_EXTEND,      /* deadline_ms: later than the present one, which must not have passed */
    SHIM_ASK_ACKNOWLEDGE, /* the exit was noted: the shim may end without a file of it */
    SHIM_ASK_PREPARE,     /* keep a process ready for the next run: ticket; comes with the
                             specification's descriptor (SCM_RIGHTS) */
    SHIM_ASK_NEXT,        /* the exit was noted: run the process of that ticket; deadline_ms */
    SHIM_REQUESTS
};

struct shim_request {
    enum shim_request_type type;
    int signal;         /* 0: the specification's */
    int64_t timeout_ms; /* 0: kill at once; < 0: the specification's */
    int64_t deadline_ms;
    uint64_t ticket; /* not 0 */
};

size_t shim_request_encode(const struct shim_request *request, char buffer[SHIM_REQUEST_MAX]);
int shim_request_decode(const char *buffer, size_t len, struct shim_request *request);

const char *shim_state_name(enum shim_state state);

#endif
