/* Symbolic links, by their texts: also those that lead to nothing. */
#ifndef SPLASHDAM_LINK_H
#define SPLASHDAM_LINK_H

#include <stdbool.h>

#define LINK_STEPS 40 /* more are ELOOP for the kernel */

/* Where the link leads, not looked at any further; room for PATH_MAX bytes. False: it is no link, or its target has no room. */
bool link_step(const char *path, char *ret_target);
/* The end of a chain of links: a path that is no link, and may not be there. False: it is no link, or a loop. */
bool link_end(const char *path, char *ret_end);

#endif
