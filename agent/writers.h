/* Does anybody have a file open for writing? */
#ifndef SPLASHDAM_WRITERS_H
#define SPLASHDAM_WRITERS_H

enum writers {
    WRITERS_NONE, /* nobody: what is in it is all that there will be, until somebody opens it anew */
    WRITERS_SOME,
    WRITERS_UNKNOWN, /* the kernel doesn't tell: the file is another user's, or on a file system without leases */
};

/* fd is open for reading only. A read lease can be had only on a file that nobody has open for writing (fcntl(2), F_SETLEASE): it is
 * asked for, and given back at once. It takes CAP_LEASE, or the file's owner. */
enum writers writers_of(int fd);

/* Once, before the first call: somebody who opens a file for writing within that moment makes the kernel send a signal. */
void writers_init(void);

#endif
