#include "tests/model/world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *full(const struct world *world, const char *path)
{
    static char room[2][256];
    static unsigned turn;
    char *text = room[turn++ % 2];
    snprintf(text, sizeof(room[0]), "%s/%s", world->folder, path);
    return text;
}

static void must(int result, const char *what, const char *path)
{
    if (result == -1)
        model_fail("%s %s: %s", what, path, strerror(errno));
}

/* ---- names ---- */

struct name *world_find(struct world *world, const char *path)
{
    for (size_t i = 0; i < world->n_names; i++)
        if (strcmp(world->names[i].path, path) == 0)
            return &world->names[i];
    return NULL;
}

static void add_name(struct world *world, const char *path, struct generation *in, bool link)
{
    if (world->n_names == NAMES)
        model_fail("more than %d names", NAMES);
    struct name *name = &world->names[world->n_names++];
    *name = (struct name){.in = in, .link = link};
    snprintf(name->path, sizeof(name->path), "%s", path);
}

static bool matches(const struct world *world, const struct name *name)
{
    size_t len = strlen(name->path);
    if (strncmp(name->path, "out/", 4) == 0)
        return false;
    return world->wide ? strstr(name->path, ".log") != NULL
                       : len > 4 && strcmp(name->path + len - 4, ".log") == 0;
}

static bool is_led_to(const struct world *world, const struct generation *in)
{
    for (size_t i = 0; i < world->n_names; i++)
        if (world->names[i].in == in && matches(world, &world->names[i]))
            return true;
    return false;
}

static bool is_unsettled(const struct generation *in)
{
    return in->copy_of != NULL && !in->settled;
}

static void break_chain(struct world *world, const struct generation *gone)
{
    for (size_t i = 0; i < world->model.n_generations; i++) {
        struct generation *in = world->model.generations[i];
        if (in->copy_of == gone->copy_of && is_unsettled(in) && in->number > gone->number &&
            in->chained) {
            in->told = in->told_saved = false;
            in->unordered = true;
        }
    }
}

/* Whoever has no name any more is read on only if it is open. */
static void drop_name(struct world *world, struct name *name)
{
    struct generation *in = name->in;
    struct writer *writer = &world->writers[in->log];
    in->links -= !name->link;
    *name = world->names[--world->n_names];
    if (writer->copy == in)
        writer->copy = NULL;
    if (is_unsettled(in))
        break_chain(world, in);
    if (in->links > 0 && (world->writers[in->log].scheme != LINKED || is_led_to(world, in)))
        return;
    bool held = in->open && !world->closing;
    in->quiet = held ? world->model.now : INT64_MIN / 2;
    if (!held)
        model_destroy(&world->model, in);
}

/* ---- files ---- */

/* Generations of one log are told apart by birth, which has the grain of the kernel's clock: made until it is another. */
static int make_file(struct world *world, struct writer *writer, const char *path,
                     struct generation **ret_in)
{
    struct statx stx;
    int fd;
    for (;;) {
        fd = open(full(world, path), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
        must(fd, "open", path);
        must(statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &stx), "statx", path);
        if ((stx.stx_mask & STATX_BTIME) == 0)
            model_fail("the file system of %s keeps no births: set TMPDIR to another", path);
        int64_t birth = (int64_t)stx.stx_btime.tv_sec * 1000000000 + stx.stx_btime.tv_nsec;
        if (birth > writer->born) {
            writer->born = birth;
            break;
        }
        must(unlink(full(world, path)), "unlink", path);
        close(fd);
    }
    *ret_in = model_create(&world->model, (unsigned)(writer - world->writers));
    add_name(world, path, *ret_in, false);
    return fd;
}

void world_create(struct world *world, struct writer *writer, const char *path)
{
    writer->fd = make_file(world, writer, path, &writer->in);
}

void world_rename(struct world *world, const char *from, const char *to)
{
    must(rename(full(world, from), full(world, to)), "rename", from);
    struct name *replaced = world_find(world, to);
    if (replaced != NULL)
        drop_name(world, replaced);
    struct name *name = world_find(world, from);
    snprintf(name->path, sizeof(name->path), "%s", to);
}

void world_unlink(struct world *world, const char *path)
{
    must(unlink(full(world, path)), "unlink", path);
    drop_name(world, world_find(world, path));
}

void world_hard_link(struct world *world, const char *from, const char *to)
{
    must(link(full(world, from), full(world, to)), "link", from);
    struct generation *in = world_find(world, from)->in;
    in->links++;
    in->unordered |= !in->known;
    add_name(world, to, in, false);
}

void world_symlink(struct world *world, const char *target, const char *path)
{
    const char *make = "out/new-link";
    must(symlink(full(world, target), full(world, make)), "symlink", path);
    must(rename(full(world, make), full(world, path)), "rename", path);
    struct name *replaced = world_find(world, path);
    if (replaced != NULL)
        drop_name(world, replaced);
    add_name(world, path, world_find(world, target)->in, true);
}

void world_write(struct writer *writer, const char *bytes, size_t len)
{
    if (write(writer->fd, bytes, len) != (ssize_t)len)
        model_fail("write: %s", strerror(errno));
}

/* ---- copies ---- */

/* A restart may find it yet, and then its lines come late. */
static void lost_sight_of(struct model *model, struct generation *in)
{
    model_destroy(model, in);
    in->unordered = true;
}

void world_copy(struct world *world, struct writer *writer, const char *path)
{
    char bytes[65536];
    ssize_t n;
    const struct generation *in = writer->in;
    int from = open(full(world, writer->path), O_RDONLY | O_CLOEXEC);
    must(from, "open", writer->path);
    int to = make_file(world, writer, path, &writer->copy);
    while ((n = read(from, bytes, sizeof(bytes))) > 0)
        must(write(to, bytes, (size_t)n) == n ? 0 : -1, "write", path);
    must((int)n, "read", writer->path);
    close(from);
    close(to);
    writer->copy->copy_of = writer->in;
    writer->copied = in->n_lines;
    if (in->n_lines > 0 && !world->model.lines[in->lines[in->n_lines - 1]].whole)
        writer->copied--;
}

/* Of a log of which a copy is found by what was read, later copies are found, too. */
static void hand_over(struct world *world, struct writer *writer)
{
    struct generation *copy = writer->copy, *in = writer->in;
    model_move_lines(&world->model, in, copy, writer->copied);
    copy->chained = !in->told;
    copy->told = in->told;
    copy->told_saved = in->told_saved;
    for (size_t i = 0; i < world->model.n_generations; i++) {
        const struct generation *other = world->model.generations[i];
        if (other->copy_of == in && other != copy && is_unsettled(other) && other->links > 0) {
            copy->told |= other->told;
            copy->told_saved |= other->told_saved;
        }
    }
    copy->unordered = in->unordered || !copy->told;
    writer->copy = NULL;
}

bool world_is_settled(const struct world *world, const struct writer *writer)
{
    for (size_t i = 0; i < world->model.n_generations; i++) {
        const struct generation *in = world->model.generations[i];
        if (&world->writers[in->log] == writer && in->links > 0 && in->copy_of != NULL &&
            !in->settled_saved)
            return false;
    }
    return true;
}

void world_settle(struct world *world)
{
    for (size_t i = 0; i < world->model.n_generations; i++) {
        struct generation *in = world->model.generations[i];
        if (!is_unsettled(in) || world->writers[in->log].copy == in)
            continue;
        in->settled = true;
        if (in->links > 0 && (in->told || world->wide))
            in->open = in->known = true;
        else
            lost_sight_of(&world->model, in);
    }
}

void world_truncate(struct world *world, struct writer *writer)
{
    must(ftruncate(writer->fd, 0), "ftruncate", writer->path);
    if (writer->copy != NULL)
        hand_over(world, writer);
    writer->in->told = writer->in->told_saved = false;
    model_destroy(&world->model, writer->in);
    writer->in->truncated = true;
    writer->rest_len = 0; /* the line that it was at is gone, too */
}

void world_close(struct writer *writer)
{
    close(writer->fd);
    writer->in = NULL;
}

/* ---- what the tail must have seen ---- */

/* Positions are looked for by identity in the folder of their log. */
static bool is_beside_its_log(const struct world *world, const struct generation *in)
{
    for (size_t i = 0; i < world->n_names; i++)
        if (world->names[i].in == in && !world->names[i].link &&
            world->names[i].path[0] == world->writers[in->log].path[0] &&
            strncmp(world->names[i].path, "out/", 4) != 0)
            return true;
    return false;
}

/* Is one of its generations being read as the log's? */
static bool log_is_read(const struct world *world, unsigned log)
{
    for (size_t i = 0; i < world->model.n_generations; i++) {
        const struct generation *in = world->model.generations[i];
        if (in->log == log && in->open && !in->unordered)
            return true;
    }
    return false;
}

/* The order among a log's generations needs that the tail saw it first under a name that tells the log, and the log with
 * it: rotated files alone are logs of their own. */
static void seen_first(struct world *world, struct generation *in)
{
    const char *log = world->writers[in->log].path;
    size_t stem = strlen(log) - strlen(".log");
    if (world_find(world, log) == NULL && !log_is_read(world, in->log))
        in->unordered = true;
    for (size_t i = 0; i < world->n_names; i++) {
        const char *path = world->names[i].path;
        if (world->names[i].in == in && strncmp(path, "out/", 4) != 0 &&
            (strncmp(path, log, stem) != 0 || strstr(path, "linked") != NULL))
            in->unordered = true;
    }
}

static void open_generation(struct world *world, struct generation *in)
{
    if (!in->known)
        seen_first(world, in);
    in->open = in->known = true;
}

/* A generation that bore its log's name so shortly that nobody looked, and whose name no glob matches now: promised when
 * an older generation is known and a newer one has just come. */
static void look_for_missed(struct world *world, bool first)
{
    struct model *model = &world->model;
    for (size_t i = 0; i < model->n_generations; i++) {
        struct generation *in = model->generations[i];
        const struct generation *older = NULL, *newer = NULL;
        if (in->open || in->links == 0 || is_unsettled(in) || !is_beside_its_log(world, in))
            continue;
        for (size_t j = 0; j < model->n_generations; j++) {
            const struct generation *other = model->generations[j];
            if (other->log == in->log && other->number < in->number && other->known &&
                !other->unordered)
                older = other;
            if (other->log == in->log && other->number > in->number && other->open &&
                !other->unordered)
                newer = other;
        }
        if (newer == NULL)
            continue; /* found when there is one */
        /* A log whose last generation was deleted is forgotten but at a start. */
        if (older != NULL && !older->truncated && !newer->was_open && (first || older->links > 0))
            open_generation(world, in);
        else
            lost_sight_of(model, in);
    }
}

void world_looked(struct world *world, bool first)
{
    struct model *model = &world->model;
    for (size_t i = 0; i < model->n_generations; i++) {
        struct generation *in = model->generations[i];
        in->was_open = in->open;
        if (is_unsettled(in))
            continue;
        if (is_led_to(world, in) || (first && in->known && is_beside_its_log(world, in)))
            open_generation(world, in);
        else if (first && in->known)
            lost_sight_of(model, in); /* nothing leads to it any more */
    }
    look_for_missed(world, first);
    for (size_t i = 0; first && i < model->n_generations; i++)
        model->generations[i]->known &= model->generations[i]->open; /* else it is forgotten */
}

void world_stopped(struct world *world, bool crashed)
{
    for (size_t i = 0; i < world->model.n_generations; i++) {
        struct generation *in = world->model.generations[i];
        in->open = false;
        if (crashed) {
            in->known = in->saved;
            in->told = in->told_saved;
            in->settled = in->settled_saved;
        }
        if (in->links > 0)
            continue;
        model_destroy(&world->model, in);
        in->quiet = INT64_MIN / 2;
    }
}

/* ---- the whole ---- */

void world_init(struct world *world, const char *folder, bool copies)
{
    static const char *const folders[] = {"a", "b", "out"};
    memset(world, 0, sizeof(*world));
    model_init(&world->model, LOGS);
    snprintf(world->folder, sizeof(world->folder), "%s", folder);
    for (size_t i = 0; i < 3; i++)
        must(mkdir(full(world, folders[i]), 0755), "mkdir", folders[i]);
    world->copies = copies;
    world->wide = world_random(2) == 0;
    world->closing = world_random(3) == 0;
    for (size_t i = 0; i < 2; i++) {
        snprintf(world->globs[i], NAME_ROOM, "%s/%s/*.log%s", folder, folders[i],
                 world->wide ? "*" : "");
        world->glob_list[i] = world->globs[i];
    }
    for (unsigned i = 0; i < LOGS; i++) {
        struct writer *writer = &world->writers[i];
        do
            writer->scheme = (enum scheme)world_random(SCHEMES);
        while (writer->scheme == COPIED && !world->copies);
        /* Where no event tells of a change, a file of the same size that ends alike is the same. */
        if (writer->scheme != LINKED && !world->closing)
            world->model.alike |= (uint64_t)(world_random(3) == 0) << i;
        snprintf(writer->path, sizeof(writer->path), "%s/%c.log", folders[world_random(2)],
                 'p' + (int)i);
    }
}

void world_fini(struct world *world)
{
    for (unsigned i = 0; i < LOGS; i++)
        if (world->writers[i].in != NULL)
            world_close(&world->writers[i]);
    model_fini(&world->model);
}
