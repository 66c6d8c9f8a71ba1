/* What systemd, or whoever else sets NOTIFY_SOCKET, is told of the agent: sd_notify(3)'s protocol, one datagram a state. */
#ifndef SPLASHDAM_NOTIFY_H
#define SPLASHDAM_NOTIFY_H

/* "READY=1", "STOPPING=1". Without NOTIFY_SOCKET, and when nobody listens, nothing happens. */
void notify(const char *state);
/* RELOADING=1 with the time that Type=notify-reload asks for; notify("READY=1") ends it. */
void notify_reloading(void);

#endif
