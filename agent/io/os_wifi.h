/* WiFi power save, by nl80211. It is on by default, and a sleeping radio answers after 0.1 to 1.3
 * s: longer than a lease of half a second. */
#ifndef COVEY_IO_OS_WIFI_H
#define COVEY_IO_OS_WIFI_H

#include <stdbool.h>

#include "proto/base/err.h"

/* Is power save on? Drivers switch it on again by themselves (after a roam, a firmware restart), so
 * this is asked each minute. Errors: ERR_NOTFOUND (not a WiFi interface, or no WiFi in this
 * kernel), ERR_IO. */
int os_wifi_power_save_get(unsigned int index, bool *on, struct err *err);

/* Errors: as above, and ERR_DENIED (needs CAP_NET_ADMIN). */
int os_wifi_power_save_set(unsigned int index, bool on, struct err *err);

#endif
