/*
 * Lines typed on a terminal: editing, history and completion, by libedit. Keys come as bytes and
 * what is shown goes out as bytes, so that terminal and event loop stay with their owner; libedit
 * itself is given a pseudo-terminal that nobody reads. Event-loop thread.
 */
#ifndef FRONTEND_LINE_EDITOR_H
#define FRONTEND_LINE_EDITOR_H

#include <stdbool.h>
#include <stddef.h>

struct line_editor;

enum line_editor_result {
    LINE_EDITOR_MORE, /* no line is complete yet */
    LINE_EDITOR_LINE,
    LINE_EDITOR_TOO_LONG,
};

/* `terminal` is asked for its size. NULL if there can be none. */
struct line_editor *line_editor_create(int terminal, const char *prompt,
                                       void (*send)(void *opaque, const void *bytes, size_t count),
                                       void *opaque);
void line_editor_destroy(struct line_editor *e);

/* Shows the prompt and begins a line; or gives up the one that was begun. Both do nothing if that
 * is so already. */
void line_editor_begin(struct line_editor *e);
void line_editor_end(struct line_editor *e);

/* Keys. *used says how many of the bytes were taken: an unfinished escape sequence is left until
 * its rest has come. A complete line is without its newline, and ends the line. */
enum line_editor_result line_editor_input(struct line_editor *e, const char *bytes, size_t count,
                                          size_t *used, char *line, size_t size);

#endif
