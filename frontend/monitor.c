#include "frontend/monitor.h"

#include "base/bits.h"
#include "machine/debug.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 8
#define LINE_SIZE 512
#define DUMP_MAX  4096 /* units of x and xp */

struct call {
    struct monitor *monitor;
    FILE *out;
    unsigned count;
    const char *words[WORDS_MAX];
};

struct command {
    const char *name, *syntax, *help;
    unsigned least, most; /* words after the name */
    void (*run)(struct call *c);
};

static const struct command *find_command(const char *name);
static void print_help(FILE *out);

/* A number in C's notation, or the name of a register with or without '$'. */
static bool number(struct call *c, const char *word, uint64_t *value)
{
    uint8_t bytes[MACHINE_REGISTER_BYTES_MAX] = {0};
    char *end;

    errno = 0;
    *value = strtoull(word, &end, 0);
    if (end != word && *end == '\0' && errno == 0)
        return true;
    word += *word == '$';
    for (unsigned n = 0; n < machine_register_count(); n++) {
        if (strcmp(machine_register_info(n)->name, word) == 0 &&
            machine_register_info(n)->bits <= 64) {
            machine_register_get(c->monitor->machine, n, bytes);
            *value = 0;
            for (unsigned k = 8; k-- > 0;)
                *value = *value << 8 | bytes[k];
            return true;
        }
    }
    fprintf(c->out, "'%s' is neither a number nor a register\n", word);
    return false;
}

static void run_help(struct call *c)
{
    print_help(c->out);
}

static void run_info(struct call *c)
{
    if (strcmp(c->words[1], "registers") == 0)
        machine_print_registers(c->monitor->machine, c->out);
    else if (strcmp(c->words[1], "stats") == 0)
        machine_report_stats(c->monitor->machine, c->out);
    else if (strcmp(c->words[1], "report") == 0)
        machine_report(c->monitor->machine, c->out, c->monitor->tools);
    else
        fprintf(c->out, "info registers, info stats, info report; not '%s'\n", c->words[1]);
}

static void run_walk(struct call *c)
{
    uint64_t address;

    if (number(c, c->words[1], &address))
        machine_print_walk(c->monitor->machine, c->out, address);
}

static void run_gva2gpa(struct call *c)
{
    uint64_t address, physical;

    if (!number(c, c->words[1], &address))
        return;
    if (machine_translate(c->monitor->machine, address, &physical))
        fprintf(c->out, "gpa: %#" PRIx64 "\n", physical);
    else
        fprintf(c->out, "unmapped\n");
}

/* "8xb": how many, format (x), unit. */
static bool dump_format(const char *word, uint64_t *count, unsigned *size)
{
    char *end;

    *count = strtoull(word, &end, 10);
    if (end == word)
        *count = 1;
    if (*end == 'x')
        end++;
    *size = *end == 'b' ? 1 : *end == 'h' ? 2 : *end == 'w' ? 4 : *end == 'g' ? 8 : 0;
    if (*size == 0 && *end == '\0') {
        *size = 4;
        return true;
    }
    return *size != 0 && end[1] == '\0';
}

static void dump(struct call *c, bool physical)
{
    const char *format = c->count > 2 ? c->words[1] + (c->words[1][0] == '/') : "1xw";
    uint64_t count, address;
    unsigned size;

    if (!dump_format(format, &count, &size) || count > DUMP_MAX) {
        fprintf(c->out, "'%s': a count up to %u and a unit of b, h, w, g, as in 16xb\n", format,
                DUMP_MAX);
        return;
    }
    if (!number(c, c->words[c->count - 1], &address))
        return;
    for (uint64_t n = 0; n < count; n++, address += size) {
        uint8_t bytes[8] = {0};
        uint64_t value = 0;

        if (n % (16 / size) == 0)
            fprintf(c->out, "%s%016" PRIx64 ":", n == 0 ? "" : "\n", address);
        if (machine_debug_read(c->monitor->machine, address, physical, bytes, size) < size) {
            fprintf(c->out, " (no memory)");
            break;
        }
        for (unsigned k = size; k-- > 0;)
            value = value << 8 | bytes[k];
        fprintf(c->out, " %0*" PRIx64, (int)size * 2, value);
    }
    fprintf(c->out, "\n");
}

static void run_x(struct call *c)
{
    dump(c, false);
}

static void run_xp(struct call *c)
{
    dump(c, true);
}

/* break ADDRESS [cr3 ROOT], break-physical ADDRESS, and delete of the same. */
static void point(struct call *c, bool add, bool physical)
{
    struct machine_point p = {
        .kind = MACHINE_POINT_EXECUTE, .physical = physical, .any_root = true, .length = 1};
    bool known = true;

    if (!number(c, c->words[1], &p.address))
        return;
    if (c->count == 4 && strcmp(c->words[2], "cr3") == 0) {
        if (!number(c, c->words[3], &p.root))
            return;
        p.any_root = false;
    } else if (c->count != 2) {
        fprintf(c->out, "what follows the address is: cr3 ROOT\n");
        return;
    }
    if (add)
        known = machine_debug_add(c->monitor->machine, &p);
    else
        known = machine_debug_remove(c->monitor->machine, &p);
    fprintf(c->out,
            known ? "%s breakpoint at %#" PRIx64 "\n" : "no %s breakpoint at %#" PRIx64 "\n",
            physical ? "physical" : "linear", p.address);
}

static void run_break(struct call *c)
{
    point(c, true, false);
}

static void run_break_physical(struct call *c)
{
    point(c, true, true);
}

static void run_delete(struct call *c)
{
    point(c, false, false);
}

static void run_delete_physical(struct call *c)
{
    point(c, false, true);
}

static void on_off(struct call *c, const char *what, bool *setting)
{
    if (c->count > 1 && strcmp(c->words[1], "on") != 0 && strcmp(c->words[1], "off") != 0) {
        fprintf(c->out, "on or off, not '%s'\n", c->words[1]);
        return;
    }
    if (c->count > 1)
        *setting = strcmp(c->words[1], "on") == 0;
    fprintf(c->out, "%s: %s\n", what, *setting ? "on" : "off");
}

static void run_physical(struct call *c)
{
    on_off(c, "physical memory accesses", &c->monitor->physical);
}

static void run_step_interrupts(struct call *c)
{
    on_off(c, "interrupts in single steps", &c->monitor->step_interrupts);
}

/* mce BANK STATUS [ADDR [MISC [MCGSTATUS]]]; by default the program can go on. */
static void run_mce(struct call *c)
{
    static const char *const outcomes[] = {
        [MACHINE_ERROR_NO_BANK] = "there is no such bank",
        [MACHINE_ERROR_LOGGED] = "logged; not reported",
        [MACHINE_ERROR_RAISED] = "logged; #MC comes next",
        [MACHINE_ERROR_SHUTDOWN] = "logged; the guest cannot take #MC: shutdown comes next",
    };
    uint64_t values[5] = {[4] = 1}; /* RIPV */
    struct machine_error e;

    for (unsigned n = 1; n < c->count; n++)
        if (!number(c, c->words[n], &values[n - 1]))
            return;
    e = (struct machine_error){
        .bank = values[0] < UINT32_MAX ? (unsigned)values[0] : UINT32_MAX,
        .status = values[1],
        .addr = values[2],
        .misc = values[3],
        .mcg_status = values[4],
    };
    fprintf(c->out, "%s\n", outcomes[machine_inject_error(c->monitor->machine, &e)]);
}

static void run_quit(struct call *c)
{
    machine_quit(c->monitor->machine, MACHINE_END_QUIT, 0);
}

static const struct command commands[] = {
    {"help", "", "this text", 0, 0, run_help},
    {"info", "registers|stats|report", "registers; counters; all that a crash report has", 1, 1,
     run_info},
    {"walk", "ADDRESS", "the page walk, level by level", 1, 1, run_walk},
    {"gva2gpa", "ADDRESS", "the guest physical address of a linear one", 1, 1, run_gva2gpa},
    {"x", "[COUNTxUNIT] ADDRESS", "memory at a linear address; UNIT b, h, w, g", 1, 2, run_x},
    {"xp", "[COUNTxUNIT] ADDRESS", "the same at a physical address", 1, 2, run_xp},
    {"break", "ADDRESS [cr3 ROOT]", "breakpoint, in one address space only if a root is given", 1,
     3, run_break},
    {"break-physical", "ADDRESS", "breakpoint at a physical address", 1, 1, run_break_physical},
    {"delete", "ADDRESS [cr3 ROOT]", "takes such a breakpoint away", 1, 3, run_delete},
    {"delete-physical", "ADDRESS", "takes such a breakpoint away", 1, 1, run_delete_physical},
    {"physical", "[on|off]", "the debugger reads and writes physical memory", 0, 1, run_physical},
    {"step-interrupts", "[on|off]", "a single step takes interrupts first", 0, 1,
     run_step_interrupts},
    {"mce", "BANK STATUS [ADDR [MISC [MCG]]]", "a hardware error, logged in a bank; may raise #MC",
     2, 5, run_mce},
    {"quit", "", "ends the machine", 0, 0, run_quit},
};

static const struct command *find_command(const char *name)
{
    for (unsigned n = 0; n < ARRAY_SIZE(commands); n++)
        if (strcmp(commands[n].name, name) == 0)
            return &commands[n];
    return NULL;
}

static void print_help(FILE *out)
{
    for (unsigned n = 0; n < ARRAY_SIZE(commands); n++) {
        const struct command *c = &commands[n];

        fprintf(out, "%s %-*s %s\n", c->name, 38 - (int)strlen(c->name), c->syntax, c->help);
    }
    fprintf(out, "Addresses are numbers or registers: 0x1000, $rip.\n");
}

void monitor_command(struct monitor *monitor, const char *line, FILE *out)
{
    struct call c = {.monitor = monitor, .out = out};
    char copy[LINE_SIZE], *rest = copy, *word;
    const struct command *command;

    if (strlen(line) >= sizeof(copy)) {
        fprintf(out, "that line is too long\n");
        return;
    }
    strcpy(copy, line);
    while ((word = strsep(&rest, " \t\r\n")) != NULL) {
        if (*word != '\0' && c.count < WORDS_MAX)
            c.words[c.count++] = word;
    }
    if (c.count == 0)
        return;
    command = find_command(c.words[0]);
    if (command == NULL)
        fprintf(out, "there is no command '%s'; help lists them\n", c.words[0]);
    else if (c.count - 1 < command->least || c.count - 1 > command->most)
        fprintf(out, "%s %s\n", command->name, command->syntax);
    else
        command->run(&c);
}
