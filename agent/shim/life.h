/* One workload under its shim, from its start to its recorded end. */
#ifndef COVEY_SHIM_LIFE_H
#define COVEY_SHIM_LIFE_H

#include <sys/types.h>
#include <time.h>

#include "agent/shim/clients.h"
#include "agent/shim/log.h"
#include "agent/shim/processes.h"
#include "agent/shim/shim.h"

/* Nothing lives between two phases; within one, whatever descends from the shim is of that phase.
 */
enum life_phase { LIFE_PRE_START, LIFE_MAIN, LIFE_POST_STOP };

/* The process that is kept ready for the next run, and what is to be known of that. Ready when its
 * ticket stands in the record. */
struct life_next {
    struct shim_standby process;
    uint64_t ticket; /* 0: none */
    uint64_t ticks;  /* its start time */
    int output;      /* read ends of its streams; -1: none */
    int error;
    const struct shim_spec *spec; /* kept for the post-stop hook; else NULL */
    void *text;
    size_t size;
    uint64_t generation;
    int stop_signal;
    int64_t stop_timeout_ms;
    char note[SHIM_NOTE_MAX];
};

struct shim {
    struct shim_record record;
    struct shim_clients clients;
    struct shim_log log;
    struct shim_stream output;
    struct shim_stream error;
    int dir;
    int lock;
    int signals;
    int timer;
    int walls;                     /* the mount namespace of what runs; -1: none */
    int cgroups[SHIM_CGROUPS_MAX]; /* their folders; -1: none */
    enum life_phase phase;
    const struct shim_spec *spec; /* while anything of it is to be started; else NULL */
    void *spec_text;              /* what it borrows from: may hold secrets */
    size_t spec_size;
    pid_t hook; /* the hook's process while it lives; else 0 */
    int hook_status;
    bool asked_to_stop;
    int stop_signal;
    int64_t stop_timeout_ms;
    int64_t armed;   /* what the timer is set to; 0: nothing */
    int64_t kill_at; /* CLOCK_BOOTTIME ms; 0: nobody is to be killed */
    int64_t kill_again_ms;
    int64_t record_at; /* next attempt to write the exit record; 0: none is due */
    bool killing;      /* SIGKILL was sent */
    struct life_next next;
    int64_t next_until; /* it has ended, and may go on with the next until then; 0: it lives */
    bool done;
};

#define LIFE_KILL_AGAIN_MIN_MS 20 /* between one SIGKILL to everything and the next: doubles */

/* Starts the pre-start hook or, where there is none, the program itself. @s is prepared; its spec
 * is set and stays borrowed until it is forgotten. Errors: as shim_process_start. */
int life_begin(struct shim *s, struct err *err);

/* Serves until all of it has ended and that is recorded, or it could not be started. */
void life_run(struct shim *s);

/* The last words: it could not be started. */
void life_fail(struct shim *s, int code, const struct err *err);

/* ---- shared by os_begin.c and os_life.c alone ---- */

int64_t life_clock(clockid_t clock); /* ms */

/* Errors of this and the next: as shim_process_start; the second: ERR_TIMEOUT too, its lease is
 * over. */
int life_start_hook(struct shim *s, enum life_phase phase, const struct shim_hook *hook,
                    struct err *err);
int life_start_main(struct shim *s, struct err *err);
void life_forget_spec(struct shim *s);

/* SHIM_ASK_PREPARE, with the specification @fd, the caller's; next_report when next_fd is
 * readable; SHIM_ASK_NEXT. */
void next_prepare(struct shim *s, const struct shim_request *request, int fd);
int next_fd(const struct shim *s);
void next_report(struct shim *s);
void next_begin(struct shim *s, const struct shim_request *request);
/* Ends the process, if there is one. */
void next_discard(struct shim *s);

#endif
