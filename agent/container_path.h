/* What the path of a container's log says about the container. */
#ifndef SPLASHDAM_CONTAINER_PATH_H
#define SPLASHDAM_CONTAINER_PATH_H

#include "plugins/plugin.h"

/* Slices into the paths they came from; ptr NULL: not known. All are plain: letters, digits, dots and dashes. */
struct container_names {
    struct slice namespace; /* kubernetes.namespace: 1 to 63 bytes */
    struct slice pod;       /* kubernetes.pod.name: 1 to 253 bytes */
    struct slice uid; /* kubernetes.pod.uid: 1 to 63 bytes; of a static pod the hash of its manifest */
    struct slice container; /* kubernetes.container.name: 1 to 63 bytes */
    struct slice id;        /* container.id: 64 hexadecimal digits */
};

/* Fills in what is not yet known from a path that ends in one of
 *   <pod>_<namespace>_<container>-<id>.log                    Kubernetes' links: /var/log/containers
 *   <namespace>_<pod>_<uid>/<container>/<n>.log[.<date>]      the files they lead to: /var/log/pods
 *   <id>/<id>-json.log[.<n>]                                  Docker: /var/lib/docker/containers
 *   <id>/userdata/ctr.log                                     podman: …/storage/overlay-containers
 * The folders above are not looked at: all of them can be configured, or mounted elsewhere. One log may have
 * several such paths, one a link to the other: each is tried in turn on the same names. Where two paths say different
 * names, the first one counts.
 *
 * False when the path has no such end, or what stands for a name can't be one by Kubernetes' rules (RFC 1123 labels);
 * the names are then as they were. A link whose name the kubelet had to cut at 255 bytes has lost its id and is such
 * a path; what it leads to says more.
 *
 * Facts: kubelet's BuildContainerLogsDirectory(), logSymlink() and its log rotation (pkg/kubelet/kuberuntime,
 * pkg/kubelet/logs), moby's daemon/logger/jsonfilelog, podman's k8s-file log driver. */
bool container_path_names(struct slice path, struct container_names *names);

#endif
