/* The table of commands, and how a line finds its row. */
#include "frontend/monitor.h"

#include "base/bits.h"
#include "frontend/monitor_commands.h"
#include "frontend/monitor_pipe.h"
#include "frontend/values.h"
#include "machine/debug.h"

#include <stdlib.h>
#include <string.h>

enum mode { ACT, LOOK };

#define WORDS UINT8_MAX

#define HELP_COLUMN 31

struct command {
    const char *name, *syntax, *help;
    uint8_t least, most; /* words after the name */
    uint8_t mode;        /* enum mode */
    void (*run)(struct call *c);
};

static const struct command commands[] = {
#define COMMAND(name, syntax, help, least, most, mode, handler)                                    \
    {name, syntax, help, least, most, mode, monitor_run_##handler},
#include "frontend/monitor.def"
};

/* Other spellings, as QEMU and GDB have them. */
static const struct {
    const char *name, *means;
} aliases[] = {
    {"?", "help"}, {"c", "cont"}, {"continue", "cont"}, {"p", "print"},
    {"q", "quit"}, {"s", "step"}, {"stepi", "step"},
};

static const struct command *find_command(const char *name)
{
    for (unsigned n = 0; n < ARRAY_SIZE(aliases); n++)
        if (strcmp(aliases[n].name, name) == 0)
            name = aliases[n].means;
    for (unsigned n = 0; n < ARRAY_SIZE(commands); n++)
        if (strcmp(commands[n].name, name) == 0)
            return &commands[n];
    return NULL;
}

static const char *command_word(const void *opaque, size_t n)
{
    (void)opaque;
    return n < ARRAY_SIZE(commands) ? commands[n].name : NULL;
}

/* --- Help --- */

static void print_row(FILE *out, const struct command *c)
{
    const char *syntax = c->syntax[0] == '@' ? "[WHAT]" : c->syntax;
    int column = fprintf(out, "%s%s%s", c->name, *syntax != '\0' ? " " : "", syntax);

    if (column >= HELP_COLUMN) {
        fputc('\n', out);
        column = 0;
    }
    fprintf(out, "%*s%s\n", HELP_COLUMN - column, "", c->help);
}

void monitor_print_help(FILE *out)
{
    for (unsigned n = 0; n < ARRAY_SIZE(commands); n++)
        print_row(out, &commands[n]);
    fputs(
        "Addresses are numbers, registers or symbols, with + and -: 0x1000, $rip+8, start_kernel.\n"
        "COMMAND | head N, | tail N, | grep TEXT: only these lines of the answer.\n",
        out);
}

void monitor_run_help(struct call *c)
{
    const struct command *command = c->count > 1 ? find_command(c->words[1]) : NULL;

    if (c->count > 1 && command == NULL)
        fprintf(c->out, "there is no command '%s'\n", c->words[1]);
    else if (command != NULL)
        print_row(c->out, command);
    else
        monitor_print_help(c->out);
}

void monitor_usage(struct call *c)
{
    const struct command *command = find_command(c->words[0]);

    if (command != NULL)
        fprintf(c->out, "%s %s\n", command->name,
                command->syntax[0] == '@' ? "[WHAT]" : command->syntax);
}

/* --- Lines --- */

/* Cuts `copy`, a copy of the line, into words. False if there are too many. */
static bool split(struct call *c, char *copy)
{
    char *p = copy;

    for (;;) {
        p += strspn(p, " \t\r\n");
        if (*p == '\0')
            return true;
        if (c->count == MONITOR_WORDS_MAX)
            return false;
        c->at[c->count] = (size_t)(p - copy);
        c->words[c->count++] = p;
        p += strcspn(p, " \t\r\n");
        if (*p != '\0')
            *p++ = '\0';
    }
}

static void unknown(FILE *out, const char *name)
{
    const char *near = value_nearest(name, command_word, NULL);

    fprintf(out, "there is no command '%s'; ", name);
    if (near != NULL)
        fprintf(out, "did you mean '%s'? ", near);
    fputs("'help' lists them\n", out);
}

/* "x/4xw" is "x /4xw": the slash begins a word behind x and xp. */
static void part_format(char *line, size_t size)
{
    size_t start = strspn(line, " \t"), name = strcspn(line + start, "/ \t"), at = start + name;

    if (line[at] != '/' || at + 1 >= size || strlen(line) + 1 >= size ||
        !((name == 1 && line[start] == 'x') || (name == 2 && strncmp(line + start, "xp", 2) == 0)))
        return;
    memmove(line + at + 1, line + at, strlen(line + at) + 1);
    line[at] = ' ';
}

bool monitor_choose(struct monitor *monitor, unsigned cpu)
{
    struct machine_stop_reason why;

    if (cpu >= machine_processor_count(monitor->machine))
        return false;
    machine_debug_parked(monitor->machine, &why);
    monitor->cpu = cpu;
    monitor->cpu_chosen = true;
    monitor->cpu_stop = why.stop;
    return true;
}

void monitor_select(struct monitor *monitor)
{
    struct machine_stop_reason why;

    machine_debug_parked(monitor->machine, &why);
    monitor->cpu_chosen &= monitor->cpu_stop == why.stop;
    machine_debug_select(monitor->machine,
                         monitor->cpu_chosen ? monitor->cpu : MACHINE_PROCESSOR_STOPPED);
}

static void run(struct monitor *monitor, char *line, FILE *out)
{
    struct call c = {.monitor = monitor, .out = out, .line = line};
    char copy[MONITOR_LINE_MAX + 2];
    const struct command *command;

    part_format(line, sizeof(copy));
    strcpy(copy, line);
    if (!split(&c, copy)) {
        fputs("that line has too many words\n", out);
        return;
    }
    if (c.count == 0)
        return;
    command = find_command(c.words[0]);
    if (command == NULL) {
        unknown(out, c.words[0]);
        return;
    }
    if (c.count - 1 < command->least || (command->most != WORDS && c.count - 1 > command->most)) {
        monitor_usage(&c);
        return;
    }
    if (command->mode == LOOK) {
        machine_hold(monitor->machine);
        monitor_select(monitor);
    }
    command->run(&c);
    if (command->mode == LOOK)
        machine_release(monitor->machine);
}

void monitor_command(struct monitor *monitor, const char *line, FILE *out)
{
    char copy[MONITOR_LINE_MAX + 2], *text = NULL;
    struct monitor_pipe pipe;
    size_t size = 0;
    FILE *answer;

    monitor->wait = MONITOR_READY;
    if (strlen(line) > MONITOR_LINE_MAX) {
        fputs("that line is too long\n", out);
        return;
    }
    strcpy(copy, line);
    if (!monitor_pipe_cut(&pipe, copy, out))
        return;
    if (pipe.kind == MONITOR_PIPE_NONE) {
        run(monitor, copy, out);
        return;
    }
    answer = open_memstream(&text, &size);
    if (answer == NULL) {
        fputs("no memory for the answer\n", out);
        return;
    }
    run(monitor, copy, answer);
    fclose(answer);
    monitor_pipe_print(&pipe, text, out);
    free(text);
}

/* --- Completion --- */

bool monitor_complete(const char *line, size_t length, unsigned n, char *word, size_t size,
                      size_t *typed)
{
    size_t start = length;
    const char *name;

    while (start > 0 && line[start - 1] != ' ')
        start--;
    *typed = length - start;
    for (size_t k = 0;; k++) {
        if (start == 0 || (start == 5 && strncmp(line, "help ", 5) == 0))
            name = command_word(NULL, k);
        else if (start == 5 && strncmp(line, "info ", 5) == 0)
            name = monitor_info_word(k);
        else
            return false;
        if (name == NULL)
            return false;
        if (strncmp(name, line + start, *typed) == 0 && n-- == 0) {
            snprintf(word, size, "%s", name);
            return true;
        }
    }
}
