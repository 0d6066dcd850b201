/* The three clocks of the agent. Pure layers get their values as arguments. */
#ifndef COVEY_IO_OS_CLOCK_H
#define COVEY_IO_OS_CLOCK_H

#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/mono.h"

#define OS_BOOT_ID_TEXT 37 /* a UUID with dashes and the terminating zero */

/* CLOCK_BOOTTIME, rounded down to milliseconds. Never fails, never goes back within one boot. */
mono_t os_clock_now(void);

/* Milliseconds since 1970 (UTC). It jumps when somebody sets the clock, and a Pi without a battery
 * starts in the past: for what people read, never for a decision. */
int64_t os_clock_wall_ms(void);

/* The kernel's id of this boot. Times of another boot mean nothing in this one, so whatever is kept
 * in a file with a mono_t is kept together with it. Errors: ERR_IO, ERR_INVALID. */
int os_clock_boot_id(char id[OS_BOOT_ID_TEXT], struct err *err);

#endif
