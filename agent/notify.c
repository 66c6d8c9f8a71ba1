#include "agent/notify.h"

#include "agent/clock.h"
#include "agent/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path == NULL || (path[0] != '/' && path[0] != '@'))
        return;
    size_t len = strlen(path);
    if (len >= sizeof(address.sun_path))
        return;
    memcpy(address.sun_path, path, len);
    if (path[0] == '@') /* an abstract one */
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
               (const struct sockaddr *)&address, size) == -1)
        log_warn("main", "NOTIFY_SOCKET cannot be told of %s: %s", log_quote(state),
                 strerror(errno));
    close(fd);
}

void notify_reloading(void)
{
    char state[64];
    snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%" PRId64, clock_monotonic() / 1000);
    notify(state);
}
