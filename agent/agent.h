/* The daemon: starts the parts, handles signals, stops them in order. */
#ifndef SPLASHDAM_AGENT_H
#define SPLASHDAM_AGENT_H

/* Another agent took over this one's name: starting again would fence that one. splashdam.service does not restart then. */
#define AGENT_EXIT_FENCED 78

/* Runs until SIGTERM or SIGINT. The exit status: 0, 1 when it could not start or something was left, or AGENT_EXIT_FENCED. */
int agent_run(const char *config_file);

#endif
