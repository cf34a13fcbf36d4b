#include "frontend/monitor_pipe.h"

#include "base/bits.h"

#include <stdlib.h>
#include <string.h>

#define LINES_DEFAULT 10

static const char *const words[] = {
    [MONITOR_PIPE_HEAD] = "head",
    [MONITOR_PIPE_TAIL] = "tail",
    [MONITOR_PIPE_GREP] = "grep",
};

/* The filter that the text behind a '|' begins with; *rest is what follows its name. */
static unsigned find_kind(char *text, char **rest)
{
    for (unsigned n = MONITOR_PIPE_HEAD; n < ARRAY_SIZE(words); n++) {
        size_t length = strlen(words[n]);

        if (strncmp(text, words[n], length) != 0 || strchr(" \t\r\n", text[length]) == NULL)
            continue;
        *rest = text + length + strspn(text + length, " \t");
        (*rest)[strcspn(*rest, "\r\n")] = '\0';
        return n;
    }
    return MONITOR_PIPE_NONE;
}

bool monitor_pipe_cut(struct monitor_pipe *pipe, char *line, FILE *out)
{
    char *bar = strrchr(line, '|'), *rest, *end;

    *pipe = (struct monitor_pipe){.kind = MONITOR_PIPE_NONE, .count = LINES_DEFAULT};
    if (bar == NULL || (bar > line && bar[-1] == '|'))
        return true;
    pipe->kind = find_kind(bar + 1 + strspn(bar + 1, " \t"), &rest);
    if (pipe->kind == MONITOR_PIPE_NONE)
        return true;
    *bar = '\0';
    pipe->text = rest;
    if (pipe->kind == MONITOR_PIPE_GREP) {
        if (*rest != '\0')
            return true;
        fputs("grep: the text to look for is missing\n", out);
        return false;
    }
    if (*rest == '\0')
        return true;
    pipe->count = strtoull(rest, &end, 10);
    if (*rest >= '0' && *rest <= '9' && end[strspn(end, " \t")] == '\0')
        return true;
    fprintf(out, "%s: '%s' is no number of lines\n", words[pipe->kind], rest);
    return false;
}

static bool wanted(const struct monitor_pipe *pipe, const char *line, size_t length, uint64_t n,
                   uint64_t count)
{
    switch (pipe->kind) {
    case MONITOR_PIPE_HEAD:
        return n < pipe->count;
    case MONITOR_PIPE_TAIL:
        return count - n <= pipe->count;
    case MONITOR_PIPE_GREP:
        return memmem(line, length, pipe->text, strlen(pipe->text)) != NULL;
    default:
        return true;
    }
}

void monitor_pipe_print(const struct monitor_pipe *pipe, const char *text, FILE *out)
{
    uint64_t n = 0, count = 0;

    for (const char *p = text; *p != '\0'; p++)
        count += *p == '\n' || p[1] == '\0';
    for (const char *p = text; *p != '\0'; n++) {
        size_t length = strcspn(p, "\n");

        if (wanted(pipe, p, length, n, count))
            fprintf(out, "%.*s\n", (int)length, p);
        p += length + (p[length] == '\n');
    }
}
