/* What the files of the monitor's commands share: the words of a line, and how to read them. */
#ifndef FRONTEND_MONITOR_COMMANDS_H
#define FRONTEND_MONITOR_COMMANDS_H

#include "frontend/monitor.h"
#include "machine/inspect.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define MONITOR_WORDS_MAX 64

struct call {
    struct monitor *monitor;
    FILE *out;
    const char *line; /* as typed, without what follows " | " */
    unsigned count;
    const char *words[MONITOR_WORDS_MAX]; /* the first is the command */
    size_t at[MONITOR_WORDS_MAX];         /* where each begins in `line` */
};

#define COMMAND(name, syntax, help, least, most, mode, handler)                                    \
    void monitor_run_##handler(struct call *c);
#include "frontend/monitor.def"

/* Numbers in C's notation, names of registers with or without '$' and symbols, joined with + and -.
 * False, and told so, if it is something else. */
bool monitor_number(struct call *c, const char *word, uint64_t *value);

/* Is word n there, and this one? */
bool monitor_word_is(const struct call *c, unsigned n, const char *word);

/* Words from n on: "cr3 X", "in A-B", "from A", "rights u!wx", "physical", "head N", and
 * views. False, and told so, if one is none. */
bool monitor_filter(struct call *c, unsigned n, bool tlb, struct machine_filter *filter);

/* Name n of info's, or NULL. */
const char *monitor_info_word(size_t n);

/* The parts of break, delete, and step that deal with MMU events; listing answers how many. */
void monitor_break_mmu(struct call *c);
void monitor_delete_mmu(struct call *c);
unsigned monitor_list_mmu(struct call *c);
void monitor_step_mmu(struct call *c);

/* Says how it is used. */
void monitor_usage(struct call *c);

#endif
