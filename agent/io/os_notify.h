/* What systemd wants to know (sd_notify(3)) and hands over (sd_listen_fds(3)), without its library:
 * one datagram, two environment variables. */
#ifndef COVEY_IO_OS_NOTIFY_H
#define COVEY_IO_OS_NOTIFY_H

/* "READY=1", "STOPPING=1", "STATUS=…", "WATCHDOG=1". Nothing happens without NOTIFY_SOCKET. */
void os_notify(const char *state);

/* The first listening socket that was passed in, or −1. It becomes close-on-exec, and the variables
 * are removed, so that no child takes them for its own. */
int os_notify_listen_fd(void);

#endif
