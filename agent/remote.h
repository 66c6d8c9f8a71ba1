/* File systems whose files others may change without this kernel noticing: inotify(7) then tells nothing of it. */
#ifndef SPLASHDAM_REMOTE_H
#define SPLASHDAM_REMOTE_H

/* What kind of them the folder is on; NULL: on none, as far as is known. */
const char *remote_name(const char *folder);

#endif
