/* The daemon: starts the parts, handles signals, stops them in order. */
#ifndef SPLASHDAM_AGENT_H
#define SPLASHDAM_AGENT_H

/* Runs until SIGTERM or SIGINT. The exit status: 0, or 1 when it could not start or something was left. */
int agent_run(const char *config_file);

#endif
