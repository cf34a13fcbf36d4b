#include "frontend/monitor_client.h"

#include "base/bits.h"
#include "base/check.h"
#include "frontend/line_editor.h"

#include <stdlib.h>
#include <string.h>

#define CTRL_C 3

static void say(struct monitor_client *c, const char *text)
{
    c->send(c->opaque, text, strlen(text));
}

/* Asks for the next line. */
static void prompt(struct monitor_client *c)
{
    if (c->editor != NULL)
        line_editor_begin(c->editor);
    else
        say(c, MONITOR_PROMPT);
}

/* Hands on what `print` writes. */
static bool answer(struct monitor_client *c, bool (*print)(struct monitor *m, FILE *out))
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    bool done;

    CHECK(out != NULL);
    done = print(&c->monitor, out);
    fclose(out);
    if (size > 0)
        c->send(c->opaque, text, size);
    free(text);
    return done;
}

/* A whole line. */
static void run_line(struct monitor_client *c, const char *line)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    CHECK(out != NULL);
    monitor_command(&c->monitor, line, out);
    fclose(out);
    if (size > 0)
        c->send(c->opaque, text, size);
    free(text);
    if (c->monitor.wait == MONITOR_READY || answer(c, monitor_stopped))
        prompt(c);
}

/* --- Input --- */

static void take_byte(struct monitor_client *c, char byte)
{
    bool second = byte == '\n' && c->was_return;

    c->was_return = byte == '\r';
    if (second)
        return;
    if (byte != '\n' && byte != '\r') {
        if (c->line_count < MONITOR_LINE_MAX)
            c->line[c->line_count++] = byte != '\0' ? byte : ' ';
        else
            c->too_long = true;
        return;
    }
    c->line[c->line_count] = '\0';
    c->line_count = 0;
    if (c->too_long) {
        c->too_long = false;
        say(c, "that line is too long\n");
        prompt(c);
        return;
    }
    run_line(c, c->line);
}

/* The editor takes what it can; how many bytes. */
static size_t edit(struct monitor_client *c)
{
    char line[MONITOR_LINE_MAX + 1];
    size_t used = 0;

    switch (line_editor_input(c->editor, c->input, c->input_count, &used, line, sizeof(line))) {
    case LINE_EDITOR_MORE:
        break;
    case LINE_EDITOR_LINE:
        run_line(c, line);
        break;
    case LINE_EDITOR_TOO_LONG:
        say(c, "that line is too long\n");
        prompt(c);
        break;
    }
    return used;
}

/* Works on what waits, until a command waits itself. */
static void work(struct monitor_client *c)
{
    size_t used = 0, more;

    if (c->busy)
        return;
    c->busy = true;
    while (c->input_count > 0 && c->monitor.wait == MONITOR_READY) {
        if (c->editor != NULL) {
            used = edit(c);
        } else {
            used = 1;
            take_byte(c, c->input[0]);
        }
        if (used == 0)
            break;
        more = c->input_count - used;
        memmove(c->input, c->input + used, more);
        c->input_count = more;
    }
    c->busy = false;
}

static void store(struct monitor_client *c, const char *bytes, size_t count)
{
    if (count == 0)
        return;
    if (c->input_count + count > MONITOR_INPUT_MAX) {
        if (!c->dropped)
            say(c, "too much input while a command waits: the rest is dropped\n");
        c->dropped = true;
        return;
    }
    c->dropped = false;
    if (c->input_count + count > c->input_size) {
        c->input_size = MAX(2 * c->input_size, c->input_count + count);
        c->input = realloc(c->input, c->input_size);
        CHECK(c->input != NULL);
    }
    memcpy(c->input + c->input_count, bytes, count);
    c->input_count += count;
}

/* Ctrl-C: the line, or the waiting, is given up. */
static void interrupt(struct monitor_client *c)
{
    bool waited = c->monitor.wait != MONITOR_READY;

    c->input_count = c->line_count = 0;
    c->too_long = false;
    monitor_cancel(&c->monitor);
    if (c->editor != NULL && !waited)
        line_editor_end(c->editor);
    say(c, "\n");
    prompt(c);
}

void monitor_client_input(struct monitor_client *c, const void *bytes, size_t count)
{
    const char *b = bytes, *stop;

    while ((stop = memchr(b, CTRL_C, count)) != NULL) {
        store(c, b, (size_t)(stop - b));
        work(c);
        count -= (size_t)(stop - b) + 1;
        b = stop + 1;
        interrupt(c);
    }
    while (count > 0) { /* in pieces, so that much input is no more than a few lines at a time */
        size_t part = MIN(count, 4096u);

        store(c, b, part);
        work(c);
        b += part;
        count -= part;
    }
}

/* --- The machine --- */

void monitor_client_parked(struct monitor_client *c)
{
    if (c->monitor.wait == MONITOR_READY || !answer(c, monitor_stopped))
        return;
    prompt(c);
    work(c);
}

static bool follow(struct monitor *monitor, FILE *out)
{
    monitor_follow(monitor, out);
    return false;
}

void monitor_client_tick(struct monitor_client *c)
{
    if (c->monitor.wait == MONITOR_FOLLOW)
        answer(c, follow);
}

void monitor_client_ended(struct monitor_client *c, const char *text)
{
    if (c->editor != NULL)
        line_editor_end(c->editor);
    if (c->monitor.wait != MONITOR_READY) {
        say(c, "the machine has ended: ");
        say(c, text);
        say(c, "\n");
    }
    c->monitor.wait = MONITOR_READY;
}

/* --- Life --- */

void monitor_client_enter(struct monitor_client *c)
{
    if (c->monitor.wait == MONITOR_READY)
        prompt(c);
}

void monitor_client_leave(struct monitor_client *c)
{
    if (c->editor != NULL && c->monitor.wait == MONITOR_READY)
        line_editor_end(c->editor);
}

void monitor_client_begin(struct monitor_client *c, struct machine *machine,
                          const struct report_tools *tools, int terminal,
                          void (*send)(void *opaque, const void *bytes, size_t count), void *opaque)
{
    *c = (struct monitor_client){
        .monitor = {.machine = machine, .tools = tools}, .send = send, .opaque = opaque};
    if (terminal >= 0)
        c->editor = line_editor_create(terminal, MONITOR_PROMPT, send, opaque);
    say(c, "Gnomon's monitor; 'help' lists the commands\n");
    prompt(c);
}

void monitor_client_end(struct monitor_client *c)
{
    monitor_cancel(&c->monitor);
    line_editor_destroy(c->editor);
    free(c->input);
    c->editor = NULL;
    c->input = NULL;
    c->input_count = c->input_size = 0;
}
