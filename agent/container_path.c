/* A path is read from its end, a component at a time. Every name is checked before it is believed: whoever can make
 * a file below a watched folder chooses its name. */
#include "agent/container_path.h"

enum { ID_LEN = 64, LABEL_MOST = 63, POD_MOST = 253, RESTART_MOST = 10 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c);
}

/* Begins and ends with a letter or digit; dashes, and dots where they are allowed, in between. */
static bool is_name(struct slice text, size_t most, bool dots)
{
    if (text.len == 0 || text.len > most || !is_plain(text.ptr[0]) ||
        !is_plain(text.ptr[text.len - 1]))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!is_plain(text.ptr[i]) && text.ptr[i] != '-' && !(dots && text.ptr[i] == '.'))
            return false;
    return true;
}

static bool is_id(struct slice text)
{
    if (text.len != ID_LEN)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!is_digit(text.ptr[i]) && !(text.ptr[i] >= 'a' && text.ptr[i] <= 'f'))
            return false;
    return true;
}

static bool is_number(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!is_digit(text.ptr[i]))
            return false;
    return text.len > 0 && text.len <= RESTART_MOST;
}

/* 20250101-000000, as the kubelet names what it has rotated. */
static bool is_date(struct slice text)
{
    return text.len == 15 && text.ptr[8] == '-' && is_number(slice_of(text.ptr, 8)) &&
           is_number(slice_of(text.ptr + 9, 6));
}

static bool ends_with(struct slice text, struct slice end)
{
    return text.len >= end.len && slice_equal(slice_of(text.ptr + text.len - end.len, end.len), end);
}

/* Takes what stands behind the last `mark` off the text, with the mark; without one, all of it. */
static struct slice take_last(struct slice *text, char mark)
{
    size_t at = text->len;
    while (at > 0 && text->ptr[at - 1] != mark)
        at--;
    struct slice last = slice_of(text->ptr + at, text->len - at);
    text->len = at > 0 ? at - 1 : 0;
    return last;
}

static void learn(struct slice *name, struct slice value)
{
    if (name->ptr == NULL)
        *name = value;
}

static void learn_all(struct container_names *names, const struct container_names *found)
{
    learn(&names->namespace, found->namespace);
    learn(&names->pod, found->pod);
    learn(&names->uid, found->uid);
    learn(&names->container, found->container);
    learn(&names->id, found->id);
}

/* <pod>_<namespace>_<container>-<id>.log */
static bool link_names(struct slice file, struct container_names *found)
{
    const struct slice end = SLICE(".log");
    if (!ends_with(file, end))
        return false;
    file.len -= end.len;
    struct slice rest = file;
    struct slice last = take_last(&rest, '_');
    found->namespace = take_last(&rest, '_');
    found->pod = rest;
    found->id = take_last(&last, '-');
    found->container = last;
    return is_name(found->pod, POD_MOST, true) && is_name(found->namespace, LABEL_MOST, false) &&
           is_name(found->container, LABEL_MOST, false) && is_id(found->id);
}

/* <n>.log, <n>.log.<date> */
static bool is_pod_file(struct slice file)
{
    struct slice last = take_last(&file, '.');
    if (is_date(last))
        last = take_last(&file, '.');
    return slice_equal(last, SLICE("log")) && is_number(file);
}

/* <namespace>_<pod>_<uid>/<container>/<n>.log */
static bool pod_names(struct slice path, struct container_names *found)
{
    if (!is_pod_file(take_last(&path, '/')))
        return false;
    found->container = take_last(&path, '/');
    struct slice folder = take_last(&path, '/');
    found->uid = take_last(&folder, '_');
    found->pod = take_last(&folder, '_');
    found->namespace = folder;
    return is_name(found->container, LABEL_MOST, false) && is_name(found->uid, LABEL_MOST, true) &&
           is_name(found->pod, POD_MOST, true) && is_name(found->namespace, LABEL_MOST, false);
}

/* <id>/<id>-json.log, and with .<n> behind it */
static bool docker_names(struct slice path, struct container_names *found)
{
    struct slice file = take_last(&path, '/');
    struct slice plain = file;
    if (is_number(take_last(&plain, '.')))
        file = plain;
    found->id = take_last(&path, '/');
    return is_id(found->id) && file.len > ID_LEN &&
           slice_equal(slice_of(file.ptr, ID_LEN), found->id) &&
           slice_equal(slice_of(file.ptr + ID_LEN, file.len - ID_LEN), SLICE("-json.log"));
}

/* <id>/userdata/ctr.log */
static bool podman_names(struct slice path, struct container_names *found)
{
    if (!slice_equal(take_last(&path, '/'), SLICE("ctr.log")) ||
        !slice_equal(take_last(&path, '/'), SLICE("userdata")))
        return false;
    found->id = take_last(&path, '/');
    return is_id(found->id);
}

bool container_path_names(struct slice path, struct container_names *names)
{
    static bool (*const shapes[])(struct slice, struct container_names *) = {
        pod_names, docker_names, podman_names};
    struct container_names found = {0};
    struct slice rest = path;
    if (path.len == 0)
        return false;
    bool fits = link_names(take_last(&rest, '/'), &found);
    for (size_t i = 0; !fits && i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        found = (struct container_names){0}; /* the shape before may have left something in it */
        fits = shapes[i](path, &found);
    }
    if (fits)
        learn_all(names, &found);
    return fits;
}
