/* "COMMAND | head N", "| tail N", "| grep TEXT": which lines of a command's answer are printed. */
#ifndef FRONTEND_MONITOR_PIPE_H
#define FRONTEND_MONITOR_PIPE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct monitor_pipe {
    enum {
        MONITOR_PIPE_NONE,
        MONITOR_PIPE_HEAD,
        MONITOR_PIPE_TAIL,
        MONITOR_PIPE_GREP,
    } kind;
    uint64_t count;
    const char *text; /* within the line */
};

/* Cuts the last " | head..." off the line. False, and told so, if what follows is malformed; a '|'
 * with anything else behind it is left to the command. */
bool monitor_pipe_cut(struct monitor_pipe *pipe, char *line, FILE *out);

void monitor_pipe_print(const struct monitor_pipe *pipe, const char *text, FILE *out);

#endif
