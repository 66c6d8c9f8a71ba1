#include "tests/model/generator.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ALIKE 120 /* bytes of lines that end alike */
#define KEEP  5   /* rotated files of a log */

static bool chance(unsigned percent)
{
    return world_random(100) < percent;
}

static struct writer *any_writer(struct trial *trial)
{
    return &trial->world.writers[world_random(LOGS)];
}

/* ---- the tail ---- */

static bool op_look(struct trial *trial)
{
    generator_note("the tail looks");
    subject_look(&trial->subject);
    world_looked(&trial->world, false);
    return true;
}

static bool op_fill(struct trial *trial)
{
    size_t bytes = 4096 + world_random(40000);
    generator_note("a batch of %zu bytes", bytes);
    subject_fill(&trial->subject, bytes, false);
    return true;
}

static bool op_undo(struct trial *trial)
{
    generator_note("a batch that can't be built");
    subject_fill(&trial->subject, 16384, true);
    return true;
}

static bool op_finish(struct trial *trial)
{
    unsigned which = (unsigned)world_random(FLIGHTS);
    generator_note("batch %u is delivered", which);
    subject_finish(&trial->subject, which);
    return true;
}

static bool op_save(struct trial *trial)
{
    generator_note("positions are saved");
    subject_save(&trial->subject);
    return true;
}

static bool op_tick(struct trial *trial)
{
    generator_note("a second passes");
    subject_tick(&trial->subject);
    return true;
}

static bool op_quiet(struct trial *trial)
{
    generator_note("six seconds pass");
    subject_tick(&trial->subject);
    subject_pass(&trial->subject, QUIET_NS);
    subject_tick(&trial->subject);
    return true;
}

static bool op_rescan(struct trial *trial)
{
    generator_note("a rescan");
    subject_look(&trial->subject);
    subject_rescan(&trial->subject);
    world_looked(&trial->world, false);
    return true;
}

static bool op_overflow(struct trial *trial)
{
    generator_note("events are lost");
    subject_overflow(&trial->subject);
    world_looked(&trial->world, false);
    return true;
}

static bool op_drain(struct trial *trial)
{
    generator_note("all is read and delivered");
    world_looked(&trial->world, false);
    world_settle(&trial->world);
    subject_drain(&trial->subject);
    model_check(&trial->world.model);
    return true;
}

static bool op_stop(struct trial *trial)
{
    generator_note("the tail is stopped");
    subject_stop(&trial->subject);
    world_stopped(&trial->world, false);
    return true;
}

static bool op_kill(struct trial *trial)
{
    unsigned n = (unsigned)world_random(FLIGHTS + 1);
    generator_note("the tail is killed, %u batches arrive", n);
    subject_kill(&trial->subject, n);
    world_stopped(&trial->world, true);
    return true;
}

static bool op_start(struct trial *trial)
{
    generator_note("the tail starts");
    subject_start(&trial->subject);
    world_looked(&trial->world, true);
    return true;
}

/* ---- writing ---- */

static void write_note(const struct writer *writer, const char *what, size_t len)
{
    generator_note("%s: %s %zu bytes to generation %u", writer->path, what, len, writer->in->number);
}

static void end_line(struct trial *trial, struct writer *writer)
{
    if (writer->rest_len == 0)
        return;
    write_note(writer, "the rest of a line,", writer->rest_len);
    world_write(writer, writer->rest, writer->rest_len);
    writer->rest_len = 0;
    model_end_line(&trial->world.model, writer->line);
}

static bool is_alike(const struct trial *trial, const struct writer *writer)
{
    return (trial->world.model.alike >> (writer - trial->world.writers) & 1) != 0;
}

static uint32_t random_length(void)
{
    unsigned kind = (unsigned)world_random(100);
    if (kind < 70)
        return (uint32_t)(24 + world_random(100));
    if (kind < 97)
        return (uint32_t)(24 + world_random(3000));
    return (uint32_t)(24 + world_random(40000)); /* some are cut */
}

/* A line, whole or only its beginning. */
static void write_line(struct trial *trial, struct writer *writer, bool whole)
{
    static char text[LINE_ROOM];
    struct model *model = &trial->world.model;
    uint32_t length = is_alike(trial, writer) ? ALIKE : random_length();
    writer->line = model_begin_line(model, writer->in, length);
    size_t len = model_text(model, writer->line, text);
    text[len++] = '\n';
    size_t now = whole ? len : 1 + world_random(len - 1);
    generator_note("%s: line %u, %zu of %zu bytes, to generation %u", writer->path, writer->line,
                   now, len, writer->in->number);
    world_write(writer, text, now);
    writer->rest_len = len - now;
    memcpy(writer->rest, text + now, writer->rest_len);
    if (whole)
        model_end_line(model, writer->line);
}

/* Opens what bears the log's name, or makes it. */
static void reopen(struct trial *trial, struct writer *writer)
{
    struct world *world = &trial->world;
    struct name *name = world_find(world, writer->path);
    if (writer->in != NULL) {
        if (name != NULL && name->in == writer->in)
            return;
        end_line(trial, writer);
        world_close(writer);
    }
    if (name != NULL)
        return;
    if (writer->scheme == LINKED) {
        char target[NAME_ROOM];
        snprintf(target, sizeof(target), "out/file-%u", world->counter++);
        world_create(world, writer, target);
        world_symlink(world, target, writer->path);
    } else {
        world_create(world, writer, writer->path);
    }
    generator_note("%s: made, generation %u", writer->path, writer->in->number);
}

static bool op_append(struct trial *trial)
{
    struct writer *writer = any_writer(trial);
    if (writer->in == NULL)
        reopen(trial, writer);
    if (writer->rest_len > 1 && chance(40)) {
        size_t now = 1 + world_random(writer->rest_len - 1);
        write_note(writer, "a piece of a line,", now);
        world_write(writer, writer->rest, now);
        writer->rest_len -= now;
        memmove(writer->rest, writer->rest + now, writer->rest_len);
        return true;
    }
    end_line(trial, writer);
    for (uint64_t n = chance(10) ? world_random(60) : world_random(4); n > 0; n--)
        write_line(trial, writer, true);
    if (chance(30))
        write_line(trial, writer, false);
    return true;
}

static bool op_reopen(struct trial *trial)
{
    reopen(trial, any_writer(trial));
    return true;
}

/* ---- rotating ---- */

/* Without a name no event tells of it. */
static bool can_truncate(const struct trial *trial, const struct writer *writer)
{
    return writer->in != NULL && (writer->in->quiet == NAMED || !is_alike(trial, writer));
}

/* Where all lines end alike, only the beginning tells that a file was written anew, and that is looked at when the file was
 * read to its end. */
static void truncate_file(struct trial *trial, struct writer *writer)
{
    if (trial->subject.up && is_alike(trial, writer))
        op_drain(trial);
    generator_note("%s: generation %u truncated", writer->path, writer->in->number);
    world_truncate(&trial->world, writer);
}

/* The writer notices at once, later, or closes and makes the new file when it has something to write. */
static void after_rotation(struct trial *trial, struct writer *writer)
{
    unsigned when = (unsigned)world_random(3);
    if (writer->in == NULL)
        return;
    if (when == 0) {
        reopen(trial, writer);
    } else if (when == 1) {
        end_line(trial, writer);
        world_close(writer);
    }
}

/* The file with the log's own name, too, or all but that. */
static void rotate_numbered(struct trial *trial, struct writer *writer, int first)
{
    char from[NAME_ROOM + 16], to[NAME_ROOM + 16];
    for (int i = KEEP; i >= first; i--) {
        snprintf(from, sizeof(from), i == 0 ? "%s" : "%s.%d", writer->path, i);
        snprintf(to, sizeof(to), "%s.%d", writer->path, i + 1);
        if (world_find(&trial->world, from) == NULL)
            continue;
        if (i == KEEP)
            world_unlink(&trial->world, from);
        else
            world_rename(&trial->world, from, to);
    }
}

static void rotate_dated(struct trial *trial, struct writer *writer)
{
    char to[NAME_ROOM + 32];
    int stem = (int)(strlen(writer->path) - strlen(".log"));
    unsigned n = 2025010100 + writer->counter++;
    if (writer->scheme == DATED)
        snprintf(to, sizeof(to), "%s-%u", writer->path, n);
    else
        snprintf(to, sizeof(to), "%.*s-%u.log", stem, writer->path, n);
    world_rename(&trial->world, writer->path, to);
    if (writer->counter <= KEEP)
        return;
    n -= KEEP;
    if (writer->scheme == DATED)
        snprintf(to, sizeof(to), "%s-%u", writer->path, n);
    else
        snprintf(to, sizeof(to), "%.*s-%u.log", stem, writer->path, n);
    if (world_find(&trial->world, to) != NULL)
        world_unlink(&trial->world, to);
}

/* What is written between the copying and the truncation is lost, unless it is read in that moment. That a copy is shorter than what was read
 * of its log is known only by what was seen of both. */
static bool write_between(struct trial *trial, struct writer *writer)
{
    if (!trial->subject.up || is_alike(trial, writer) || writer->rest_len > 0 || chance(80))
        return false;
    op_look(trial);
    write_line(trial, writer, true);
    if (chance(50))
        op_fill(trial);
    return true;
}

/* As logrotate does it. */
static bool rotate_copied(struct trial *trial, struct writer *writer)
{
    char to[NAME_ROOM + 16];
    if (!can_truncate(trial, writer) || world_find(&trial->world, writer->path) == NULL ||
        world_find(&trial->world, writer->path)->in != writer->in)
        return false;
    if (trial->subject.up && is_alike(trial, writer))
        op_drain(trial);
    rotate_numbered(trial, writer, 1);
    snprintf(to, sizeof(to), "%s.1", writer->path);
    world_copy(&trial->world, writer, to);
    generator_note("%s: generation %u copied to %s, generation %u", writer->path,
                   writer->in->number, to, writer->copy->number);
    if (trial->subject.up && chance(20))
        op_look(trial);
    if (trial->subject.up && chance(20))
        op_fill(trial);
    bool drain = write_between(trial, writer);
    generator_note("%s: generation %u truncated", writer->path, writer->in->number);
    world_truncate(&trial->world, writer);
    return drain ? op_drain(trial) : true;
}

/* Where its link led to is nobody's any more, once the tail has closed it. */
static void relink(struct trial *trial, struct writer *writer)
{
    char target[NAME_ROOM];
    if (writer->in != NULL) {
        end_line(trial, writer);
        world_close(writer);
    }
    snprintf(target, sizeof(target), "out/file-%u", trial->world.counter++);
    world_create(&trial->world, writer, target);
    world_symlink(&trial->world, target, writer->path);
}

static bool op_rotate(struct trial *trial)
{
    struct writer *writer = any_writer(trial);
    if (world_find(&trial->world, writer->path) == NULL)
        return false;
    generator_note("%s: rotated, scheme %d", writer->path, (int)writer->scheme);
    switch (writer->scheme) {
    case NUMBERED: rotate_numbered(trial, writer, 0); break;
    case DATED:
    case DATED_BEFORE: rotate_dated(trial, writer); break;
    case REPLACED: world_unlink(&trial->world, writer->path); break;
    case LINKED: relink(trial, writer); return true;
    case COPIED:
    default: return rotate_copied(trial, writer);
    }
    after_rotation(trial, writer);
    return true;
}

static bool op_truncate(struct trial *trial)
{
    struct writer *writer = any_writer(trial);
    if (!can_truncate(trial, writer))
        return false;
    truncate_file(trial, writer);
    for (uint64_t n = world_random(5); n > 0; n--)
        write_line(trial, writer, true);
    return true;
}

/* A log's copies are looked for while it bears its name. */
static bool can_go(struct trial *trial, const struct writer *writer)
{
    return world_find(&trial->world, writer->path) != NULL &&
           world_is_settled(&trial->world, writer);
}

static bool op_delete(struct trial *trial)
{
    struct writer *writer = any_writer(trial);
    if (!can_go(trial, writer))
        return false;
    generator_note("%s: deleted", writer->path);
    world_unlink(&trial->world, writer->path);
    after_rotation(trial, writer);
    return true;
}

static bool op_move(struct trial *trial)
{
    struct writer *writer = any_writer(trial);
    char to[NAME_ROOM];
    if (writer->scheme == LINKED ||
        writer->scheme == COPIED || /* copies are looked for beside the log's own name */
        !can_go(trial, writer))
        return false;
    snprintf(to, sizeof(to), "%c/moved-%c.log", writer->path[0] == 'a' ? 'b' : 'a',
             'a' + (int)world_random(20));
    if (world_find(&trial->world, to) != NULL)
        return false;
    generator_note("%s: moved to %s", writer->path, to);
    world_rename(&trial->world, writer->path, to);
    after_rotation(trial, writer);
    return true;
}

static bool op_hard_link(struct trial *trial)
{
    struct writer *writer = any_writer(trial);
    char to[NAME_ROOM];
    if (writer->scheme == LINKED ||
        writer->scheme == COPIED || /* copies are looked for by one name */
        is_alike(trial, writer) ||  /* events of one name tell of a change */
        !can_go(trial, writer))
        return false;
    /* Beside it: by a name in another folder a file is not found again after a restart. */
    snprintf(to, sizeof(to), "%c/linked-%c.log", writer->path[0], 'a' + (int)world_random(20));
    if (world_find(&trial->world, to) != NULL)
        return false;
    generator_note("%s: a hard link %s", writer->path, to);
    world_hard_link(&trial->world, writer->path, to);
    return true;
}

/* Of a file that is kept under another name than its log's. */
static bool op_unlink(struct trial *trial)
{
    struct world *world = &trial->world;
    if (world->n_names == 0)
        return false;
    const char *path = world->names[world_random(world->n_names)].path;
    char copy[NAME_ROOM];
    if (strstr(path, "linked-") == NULL && strstr(path, "moved-") == NULL)
        return false;
    snprintf(copy, sizeof(copy), "%s", path);
    generator_note("%s: removed", copy);
    world_unlink(world, copy);
    return true;
}

/* ---- the table ---- */

enum when { ALWAYS, UP, DOWN };

static const struct op {
    bool (*step)(struct trial *trial); /* false: not possible now */
    enum when when;
    unsigned weight;
} ops[] = {
    {op_append, ALWAYS, 300},  {op_reopen, ALWAYS, 40}, {op_rotate, ALWAYS, 60},
    {op_truncate, ALWAYS, 12}, {op_delete, ALWAYS, 8},  {op_move, ALWAYS, 6},
    {op_hard_link, ALWAYS, 6}, {op_unlink, ALWAYS, 8},  {op_look, UP, 120},
    {op_fill, UP, 200},        {op_undo, UP, 10},       {op_finish, UP, 150},
    {op_save, UP, 20},         {op_tick, UP, 10},       {op_quiet, UP, 6},
    {op_rescan, UP, 6},        {op_overflow, UP, 4},    {op_drain, UP, 15},
    {op_stop, UP, 6},          {op_kill, UP, 10},       {op_start, DOWN, 100},
};
#define OPS (sizeof(ops) / sizeof(ops[0]))

static bool is_possible(const struct op *op, bool up)
{
    return op->when == ALWAYS || (op->when == UP) == up;
}

void generator_step(struct trial *trial)
{
    unsigned sum = 0;
    size_t i = 0;
    bool up = trial->subject.up;
    for (i = 0; i < OPS; i++)
        sum += is_possible(&ops[i], up) ? ops[i].weight : 0;
    do {
        uint64_t at = world_random(sum);
        for (i = 0; i < OPS; i++) {
            unsigned weight = is_possible(&ops[i], up) ? ops[i].weight : 0;
            if (at < weight)
                break;
            at -= weight;
        }
    } while (!ops[i].step(trial));
}

void generator_end(struct trial *trial)
{
    if (!trial->subject.up)
        op_start(trial);
    for (unsigned i = 0; i < LOGS; i++)
        if (trial->world.writers[i].in != NULL)
            end_line(trial, &trial->world.writers[i]);
    op_drain(trial);
}
