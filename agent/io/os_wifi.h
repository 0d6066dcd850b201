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

/* Does the radio's firmware answer ARP requests by itself (brcmfmac, the Pi's)? It knows eight
 * addresses at most and asks no fence; the interface's promiscuous flag turns that off. @sysfs is
 * "/sys", another folder in tests. */
bool os_wifi_answers_arp(const char *sysfs, const char *interface);

/* Errors: as above, and ERR_DENIED (needs CAP_NET_ADMIN). */
int os_wifi_power_save_set(unsigned int index, bool on, struct err *err);

#endif
