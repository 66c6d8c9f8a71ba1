#include "agent/writers.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

enum writers writers_of(int fd)
{
    if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
        fcntl(fd, F_SETLEASE, F_UNLCK);
        return WRITERS_NONE;
    }
    return errno == EAGAIN ? WRITERS_SOME : WRITERS_UNKNOWN;
}

void writers_init(void)
{
    signal(SIGIO, SIG_IGN);
}
