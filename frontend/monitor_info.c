/* info WHAT. */
#include "base/bits.h"
#include "frontend/monitor_commands.h"

#include <string.h>

#ifndef GNOMON_VERSION
#define GNOMON_VERSION "development"
#endif

static void info_registers(struct call *c)
{
    machine_print_registers(c->monitor->machine, c->out);
}

static void info_cpus(struct call *c)
{
    machine_print_processors(c->monitor->machine, c->out, c->monitor->tools->symbols);
}

static void info_mem(struct call *c)
{
    struct machine_filter f;

    if (monitor_filter(c, 2, false, &f))
        machine_print_maps(c->monitor->machine, c->out, &f);
}

static void info_tlb(struct call *c)
{
    struct machine_filter f;

    if (monitor_filter(c, 2, true, &f))
        machine_print_tlb(c->monitor->machine, c->out, &f);
}

static void info_status(struct call *c)
{
    machine_print_status(c->monitor->machine, c->out);
}

static void info_version(struct call *c)
{
    fprintf(c->out, "Gnomon %s\n", GNOMON_VERSION);
}

static void info_mtree(struct call *c)
{
    machine_print_memory_map(c->monitor->machine, c->out);
}

static void info_irq(struct call *c)
{
    machine_print_interrupts(c->monitor->machine, c->out);
}

static void info_lapic(struct call *c)
{
    machine_print_lapic(c->monitor->machine, c->out);
}

static void info_stats(struct call *c)
{
    machine_report_stats(c->monitor->machine, c->out);
}

static void info_mmu(struct call *c)
{
    machine_report_mmu(c->monitor->machine, c->out);
}

static void info_report(struct call *c)
{
    machine_report(c->monitor->machine, c->out, c->monitor->tools);
}

static const struct {
    const char *name, *help;
    void (*run)(struct call *c);
} rows[] = {
    {"registers", "the processor's registers", info_registers},
    {"cpus", "where each processor is", info_cpus},
    {"mem", "what the tables map: as maps", info_mem},
    {"tlb", "what the TLB holds: as tlb", info_tlb},
    {"status", "running or stopped, instructions, virtual time", info_status},
    {"version", "of Gnomon", info_version},
    {"mtree", "RAM, ROM, devices and ports", info_mtree},
    {"irq", "interrupt controllers and timers", info_irq},
    {"lapic", "registers of the local APIC", info_lapic},
    {"stats", "counters", info_stats},
    {"mmu", "counters of translation and coherency", info_mmu},
    {"report", "all that a crash report has", info_report},
};

const char *monitor_info_word(size_t n)
{
    return n < ARRAY_SIZE(rows) ? rows[n].name : NULL;
}

void monitor_run_info(struct call *c)
{
    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
        if (!monitor_word_is(c, 1, rows[n].name))
            continue;
        if (c->count > 2 && rows[n].run != info_mem && rows[n].run != info_tlb)
            fprintf(c->out, "nothing follows 'info %s'\n", rows[n].name);
        else
            rows[n].run(c);
        return;
    }
    if (c->count > 1)
        fprintf(c->out, "there is no 'info %s'; there are:\n", c->words[1]);
    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++)
        fprintf(c->out, "info %-10s %s\n", rows[n].name, rows[n].help);
}
