#include "machine/report.h"

#include "base/bits.h"
#include "cpu/mode.h"
#include "machine/internal.h"
#include "mmu/guest_access.h"
#include "mmu/walk.h"

#include <inttypes.h>
#include <string.h>

#define BLOCKS_SHOWN       12
#define INSTRUCTIONS_SHOWN 12 /* of each block */
#define INSTRUCTION_MAX    15
#define STACK_WORDS_SHOWN  16
#define GDT_ENTRIES_SHOWN  16
#define IDT_ENTRIES_SHOWN  32

/* --- Looking at guest memory --- */

/* Bytes at a linear address as a supervisor read of the processor would see them; how many could be
 * read. */
static size_t peek(const struct machine *m, const struct vcpu *cpu, uint64_t address, uint8_t *out,
                   size_t count)
{
    struct mmu_walk w;
    size_t n;
    mpa_t a;

    for (n = 0; n < count; n++, address++) {
        if (n == 0 || (address & ~PAGE_MASK) == 0)
            mmu_walk_inspect(&cpu->mmu, gva(address), MMU_READ, TLB_VIEW_SUPERVISOR, &w);
        if (w.outcome != WALK_OK && w.outcome != WALK_DENIED)
            break;
        if (!p2m_find(bus_p2m(m->bus), gpa(w.mapping.page.v | (address & ~PAGE_MASK)), &a) ||
            !machine_memory_contains(m->memory, a, 1))
            break;
        out[n] = guest_load8(machine_memory_host(m->memory, a));
    }
    return n;
}

static bool peek_word(const struct machine *m, uint64_t address, unsigned size, uint64_t *value)
{
    uint8_t bytes[8];

    *value = 0;
    if (peek(m, machine_looked_at(m), address, bytes, size) < size)
        return false;
    for (unsigned n = size; n-- > 0;)
        *value = *value << 8 | bytes[n];
    return true;
}

/* --- Code --- */

unsigned machine_code_bits(const struct vcpu *cpu)
{
    if (cpu->mode & MODE_64)
        return 64;
    return cpu->seg[SEG_CS].attributes & SEGMENT_DB ? 32 : 16;
}

uint64_t machine_code_address(const struct vcpu *cpu, uint64_t rip)
{
    return cpu->mode & MODE_64 ? rip : (uint32_t)(rip + cpu->seg[SEG_CS].base);
}

/* Blocks end here. */
static bool leaves_block(const char *text)
{
    static const char *const words[] = {"j",   "call", "ret",   "iret", "sys",  "int",
                                        "hlt", "loop", "lcall", "ljmp", "lret", "ud"};

    for (size_t n = 0; n < ARRAY_SIZE(words); n++) {
        if (strncmp(text, words[n], strlen(words[n])) == 0)
            return true;
    }
    return false;
}

static void print_bytes(FILE *out, const uint8_t *bytes, size_t count)
{
    for (size_t n = 0; n < count; n++)
        fprintf(out, "%02x ", bytes[n]);
}

void machine_print_code(struct machine *m, const struct vcpu *cpu, FILE *out, uint64_t address,
                        unsigned length, unsigned most, const struct report_tools *tools)
{
    uint64_t here = machine_code_address(cpu, cpu->rip), start = address;
    char text[160];

    if (symbols_text(tools->symbols, address, text, sizeof(text))[0] != '\0')
        fprintf(out, "%s:\n", text);
    for (unsigned n = 0; n < most && (length == 0 || address - start < length); n++) {
        uint8_t bytes[INSTRUCTION_MAX];
        size_t count = peek(m, cpu, address, bytes, sizeof(bytes)), size = 0;

        if (tools->disassemble != NULL)
            size = tools->disassemble(tools->opaque, bytes, count, address, machine_code_bits(cpu),
                                      text, sizeof(text));
        fprintf(out, "%s %016" PRIx64 ": ", address == here ? "=>" : "  ", address);
        print_bytes(out, bytes, size > 0 ? size : count);
        fprintf(out, " %s\n",
                size > 0                     ? text
                : count == 0                 ? "(not mapped)"
                : tools->disassemble != NULL ? "(no instruction)"
                                             : "");
        if (size == 0 || (length == 0 && leaves_block(text)))
            break;
        address += size;
    }
}

/* The blocks that ran last. One that ran several times in a row is shown once. */
static void print_blocks(struct machine *m, FILE *out, const struct report_tools *tools)
{
    const struct vcpu *cpu = machine_looked_at(m);
    unsigned size = ARRAY_SIZE(cpu->recent), count = MIN(cpu->recent_count, size);
    struct {
        uint64_t rip;
        unsigned times;
    } blocks[BLOCKS_SHOWN];
    unsigned kinds = 0;

    for (unsigned n = 1; n <= count; n++) {
        uint64_t rip = cpu->recent[(cpu->recent_count - n) % size];

        if (kinds > 0 && blocks[kinds - 1].rip == rip) {
            blocks[kinds - 1].times++;
            continue;
        }
        if (kinds == BLOCKS_SHOWN)
            break;
        blocks[kinds].rip = rip;
        blocks[kinds++].times = 1;
    }
    fprintf(out, "last blocks, newest last (code as memory is now):\n");
    while (kinds-- > 0) {
        fprintf(out, "-- block at %#" PRIx64, blocks[kinds].rip);
        if (blocks[kinds].times > 1)
            fprintf(out, ", %u times", blocks[kinds].times);
        fputc('\n', out);
        machine_print_code(m, cpu, out, machine_code_address(cpu, blocks[kinds].rip), 0,
                           INSTRUCTIONS_SHOWN, tools);
    }
    fprintf(out, "-- next instruction\n");
    machine_print_code(m, cpu, out, machine_code_address(cpu, cpu->rip), 0, 1, tools);
}

/* --- Tables and stack --- */

/* One descriptor of code, data or a system segment (SDM 3A 3.4.5). */
static void print_descriptor(FILE *out, unsigned selector, uint64_t d)
{
    uint64_t base = (d >> 16 & 0xffffff) | (d >> 32 & 0xff000000);
    uint32_t limit = (uint32_t)((d & 0xffff) | (d >> 32 & 0xf0000));
    unsigned attributes = (unsigned)(d >> 40);
    const char *kind = !(attributes & SEGMENT_S)      ? "system"
                       : !(attributes & SEGMENT_CODE) ? "data"
                       : attributes & SEGMENT_LONG    ? "code 64"
                       : attributes & SEGMENT_DB      ? "code 32"
                                                      : "code 16";

    if (attributes & SEGMENT_GRANULARITY)
        limit = limit << 12 | 0xfff;
    fprintf(out, "  %04x %016" PRIx64 " base %08" PRIx64 " limit %08x %s type %x DPL %u%s\n",
            selector, d, base, limit, kind, attributes & SEGMENT_TYPE,
            attributes >> SEGMENT_DPL_SHIFT & 3,
            attributes & SEGMENT_PRESENT ? "" : " not present");
}

static void print_gdt(struct machine *m, FILE *out)
{
    const struct descriptor_table *t = &machine_looked_at(m)->gdtr;
    unsigned count = MIN((t->limit + 1u) / 8, GDT_ENTRIES_SHOWN);
    uint64_t entry;

    if (!(machine_looked_at(m)->mode & MODE_PROT))
        return;
    fprintf(out, "GDT:\n");
    for (unsigned n = 0; n < count; n++) {
        if (!peek_word(m, t->base + 8 * n, 8, &entry)) {
            fprintf(out, "  %04x not mapped\n", 8 * n);
            return;
        }
        if (entry != 0)
            print_descriptor(out, 8 * n, entry);
    }
}

/* One gate: selector and offset (SDM 3A 6.11, 6.14.1). */
static bool print_gate(struct machine *m, FILE *out, unsigned vector, const struct symbols *symbols)
{
    bool wide = (machine_looked_at(m)->mode & MODE_LONG) != 0;
    uint64_t address = machine_looked_at(m)->idtr.base + (uint64_t)vector * (wide ? 16 : 8);
    uint64_t low, high = 0, offset;
    char text[128];

    if (!peek_word(m, address, 8, &low) || (wide && !peek_word(m, address + 8, 4, &high))) {
        fprintf(out, "  %02x not mapped\n", vector);
        return false;
    }
    if (!(low & BIT64(47)))
        return true;
    offset = (low & 0xffff) | (low >> 32 & 0xffff0000) | high << 32;
    fprintf(out, "  %02x %04x:%016" PRIx64 " type %x DPL %u %s\n", vector,
            (unsigned)(low >> 16 & 0xffff), offset, (unsigned)(low >> 40 & 0xf),
            (unsigned)(low >> 45 & 3), symbols_text(symbols, offset, text, sizeof(text)));
    return true;
}

static void print_idt(struct machine *m, FILE *out, const struct symbols *symbols)
{
    unsigned size = machine_looked_at(m)->mode & MODE_LONG ? 16 : 8;
    unsigned count = MIN((machine_looked_at(m)->idtr.limit + 1u) / size, IDT_ENTRIES_SHOWN);

    if (!(machine_looked_at(m)->mode & MODE_PROT) && !(machine_looked_at(m)->mode & MODE_LONG))
        return; /* real mode has no gates */
    fprintf(out, "IDT, present gates:\n");
    for (unsigned n = 0; n < count && print_gate(m, out, n, symbols); n++)
        ;
}

static void print_stack(struct machine *m, FILE *out, const struct symbols *symbols)
{
    unsigned size = machine_code_bits(machine_looked_at(m)) / 8;
    uint64_t address = machine_looked_at(m)->gpr[GPR_RSP];
    char text[128];

    if (size != 8)
        address = (uint32_t)(address + machine_looked_at(m)->seg[SEG_SS].base);
    fprintf(out, "stack:\n");
    for (unsigned n = 0; n < STACK_WORDS_SHOWN; n++, address += size) {
        uint64_t value;

        if (!peek_word(m, address, size, &value)) {
            fprintf(out, "  %" PRIx64 ": not mapped\n", address);
            return;
        }
        fprintf(out, "  %" PRIx64 ": %0*" PRIx64 " %s\n", address, (int)(2 * size), value,
                symbols_text(symbols, value, text, sizeof(text)));
    }
}

/* --- Exceptions and time --- */

static const char *exception_name(unsigned vector)
{
    static const char *const names[] = {
        "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9",
        "#TS", "#NP", "#SS", "#GP", "#PF", "15",  "#MF", "#AC", "#MC", "#XM",
    };

    return vector < ARRAY_SIZE(names) ? names[vector] : "?";
}

/* Record n before the newest. */
static const struct exception_record *recent_exception(const struct vcpu *cpu, unsigned n)
{
    unsigned size = ARRAY_SIZE(cpu->recent_exceptions);

    return n < MIN(cpu->recent_exception_count, size)
               ? &cpu->recent_exceptions[(cpu->recent_exception_count - 1 - n) % size]
               : NULL;
}

static void print_exception(const struct exception_record *e, FILE *out,
                            const struct symbols *symbols)
{
    char text[128];

    fprintf(out, "  %s error %x at %" PRIx64 " %s instruction %" PRIu64, exception_name(e->vector),
            e->error_code, e->rip, symbols_text(symbols, e->rip, text, sizeof(text)),
            e->instruction);
    if (e->vector == EXC_PF)
        fprintf(out, ", address %" PRIx64, e->cr2);
    if (e->nested)
        fprintf(out, ", while delivering %s", exception_name(e->during));
    fputc('\n', out);
}

/* The newest `most` of them, and how many there were. */
static void print_exceptions(const struct vcpu *cpu, FILE *out, unsigned most,
                             const struct symbols *symbols)
{
    fprintf(out, "interrupts: %" PRIu64 "; exceptions:", cpu->interrupts);
    for (unsigned n = 0; n < ARRAY_SIZE(cpu->exceptions); n++) {
        if (cpu->exceptions[n] > 0)
            fprintf(out, " %s %" PRIu64, exception_name(n), cpu->exceptions[n]);
    }
    fprintf(out, "\n");
    for (unsigned n = most; n-- > 0;) {
        const struct exception_record *e = recent_exception(cpu, n);

        if (e != NULL)
            print_exception(e, out, symbols);
    }
}

/* The walk of the newest page fault's address, as the access that faulted would do it now. */
static void print_fault(struct machine *m, FILE *out)
{
    const struct vcpu *cpu = machine_looked_at(m);
    const struct exception_record *e = NULL;
    struct mmu_walk w;

    for (unsigned n = 0; (e = recent_exception(cpu, n)) != NULL && e->vector != EXC_PF; n++)
        ;
    if (e == NULL || !(machine_looked_at(m)->mmu.cr0 & CR0_PG))
        return;
    fprintf(out, "walk of the last page fault's address:\n");
    mmu_walk_inspect(&machine_looked_at(m)->mmu, gva(e->cr2),
                     e->error_code & PF_FETCH   ? MMU_FETCH
                     : e->error_code & PF_WRITE ? MMU_WRITE
                                                : MMU_READ,
                     e->error_code & PF_USER ? TLB_VIEW_USER : TLB_VIEW_SUPERVISOR, &w);
    mmu_walk_print(out, &w);
}

/* "31 ec": the vectors of an IRR or ISR. */
static void print_vectors(FILE *out, const char *name, const _Atomic uint32_t set[8])
{
    bool any = false;

    fprintf(out, " %s", name);
    for (unsigned n = 0; n < 256; n++) {
        if (set[n / 32] & BIT(n % 32)) {
            fprintf(out, " %02x", n);
            any = true;
        }
    }
    fputs(any ? "" : " none", out);
}

void machine_print_lapic_locked(const struct lapic *l, FILE *out)
{
    fprintf(out, "local APIC:");
    print_vectors(out, "requested", l->irr);
    fputc(',', out);
    print_vectors(out, "in service", l->isr);
    fprintf(out, "; TPR %02x SVR %03x LVT timer %05x LINT0 %05x; INTR %s\n", l->tpr, l->svr,
            l->lvt[LAPIC_LVT_TIMER], l->lvt[LAPIC_LVT_LINT0], lapic_intr(l) ? "high" : "low");
}

void machine_print_pic_locked(struct machine *m, FILE *out)
{
    for (unsigned n = 0; n < ARRAY_SIZE(m->pic->chip); n++) {
        const struct pic_chip *c = &m->pic->chip[n];

        fprintf(out, "%sIRR %02x ISR %02x IMR %02x inputs %02x%s", n == 0 ? "PIC: " : "; second ",
                c->irr, c->isr, c->imr, c->lines, n == 0 ? "" : "\n");
    }
}

void machine_print_timers_locked(struct machine *m, FILE *out)
{
    uint64_t now = machine_time(m);

    fprintf(out, "timers:");
    for (const struct timer *t = m->clock.timers; t != NULL; t = t->next) {
        if (timer_armed(t))
            fprintf(out, " %s in %" PRId64 " us", t->name, (int64_t)(t->deadline - now) / 1000);
    }
    fprintf(out, "%s\n", m->clock.next_deadline == CLOCK_NEVER ? " none" : "");
}

/* A processor beside the one that the report is about. */
static void print_other(const struct machine_processor *p, FILE *out, const struct symbols *symbols)
{
    const struct vcpu *cpu = p->vcpu;
    char name[128];

    symbols_text(symbols, machine_code_address(cpu, cpu->rip), name, sizeof(name));
    fprintf(out, "--- processor %u, %s ---\n", cpu->index, machine_processor_word(cpu));
    fprintf(out,
            "RIP=%016" PRIx64 "%s%s RFL=%08" PRIx64 " RSP=%016" PRIx64 " CPL=%u %u-bit"
            " INSNS=%" PRIu64 "\n",
            cpu->rip, name[0] != '\0' ? " " : "", name, vcpu_rflags(cpu), cpu->gpr[GPR_RSP],
            cpu->mmu.cpl, machine_code_bits(cpu), cpu->instructions);
    fprintf(out,
            "CR0=%08" PRIx64 " CR2=%016" PRIx64 " CR3=%016" PRIx64 " CR4=%08" PRIx64
            " EFER=%04" PRIx64 "\n",
            cpu->mmu.cr0, cpu->cr2, cpu->mmu.cr3, cpu->mmu.cr4, cpu->mmu.efer);
    print_exceptions(cpu, out, 1, symbols);
    machine_print_lapic_locked(p->lapic, out);
}

void machine_report(struct machine *m, FILE *out, const struct report_tools *tools)
{
    const struct vcpu *cpu = machine_looked_at(m);
    uint64_t now;

    machine_lock(m);
    now = machine_time(m);
    fprintf(out, "--- processor %u, virtual time %" PRIu64 ".%09" PRIu64 " s ---\n", cpu->index,
            (uint64_t)(now / NS_PER_SECOND), (uint64_t)(now % NS_PER_SECOND));
    vcpu_dump(cpu, out);
    print_exceptions(cpu, out, ARRAY_SIZE(cpu->recent_exceptions), tools->symbols);
    print_fault(m, out);
    print_gdt(m, out);
    print_idt(m, out, tools->symbols);
    print_stack(m, out, tools->symbols);
    print_blocks(m, out, tools);
    machine_print_lapic_locked(m->processors[cpu->index].lapic, out);
    machine_print_pic_locked(m, out);
    machine_print_timers_locked(m, out);
    fprintf(out, "accesses nobody answered: %" PRIu64 "\n", bus_unclaimed_count(m->bus));
    for (unsigned n = 0; n < m->processor_count; n++)
        if (n != cpu->index)
            print_other(&m->processors[n], out, tools->symbols);
    fputs("---\n", out);
    machine_unlock(m);
}

void machine_describe(const struct vcpu *cpu, const struct symbols *symbols, char *text,
                      size_t size)
{
    uint64_t address = machine_code_address(cpu, cpu->rip);
    char name[96];

    symbols_text(symbols, address, name, sizeof(name));
    snprintf(text, size, "%#" PRIx64 "%s%s%s", address, name[0] != '\0' ? " " : "", name,
             cpu->attention & VCPU_ATTENTION_HALTED ? " (asleep)" : "");
}

void machine_describe_place(struct machine *m, const struct symbols *symbols, char *text,
                            size_t size)
{
    machine_describe(machine_looked_at(m), symbols, text, size);
}

static void print_stats(const struct vcpu *cpu, const char *prefix, FILE *out)
{
    fprintf(out,
            "%s: %" PRIu64 " blocks decoded, %" PRIu64 " invalidated, %" PRIu64 " restarts\n"
            "%s: %" PRIu64 " interrupts, %u exceptions, %" PRIu64 " page walks",
            prefix, cpu->blocks_decoded, cpu->blocks_invalidated, cpu->restarts, prefix,
            cpu->interrupts, cpu->recent_exception_count, cpu->mmu.walks);
}

void machine_report_stats(struct machine *m, FILE *out)
{
    uint64_t now = machine_time(m);
    char prefix[24];

    fprintf(out, "stats: %" PRIu64 " instructions, virtual time %" PRIu64 ".%09" PRIu64 " s\n",
            machine_instructions(m), (uint64_t)(now / NS_PER_SECOND),
            (uint64_t)(now % NS_PER_SECOND));
    if (m->processor_count == 1) {
        print_stats(m->cpu, "stats", out);
        fprintf(out, ", %" PRIu64 " accesses nobody answered\n", bus_unclaimed_count(m->bus));
        return;
    }
    fprintf(out, "stats: %" PRIu64 " accesses nobody answered\n", bus_unclaimed_count(m->bus));
    for (unsigned n = 0; n < m->processor_count; n++) {
        const struct vcpu *cpu = m->processors[n].vcpu;

        snprintf(prefix, sizeof(prefix), "stats cpu%u", n);
        fprintf(out, "%s: %" PRIu64 " instructions\n", prefix, cpu->instructions);
        print_stats(cpu, prefix, out);
        fputc('\n', out);
    }
}

void machine_report_mmu(struct machine *m, FILE *out)
{
    mmu_report(&machine_looked_at(m)->mmu, out);
}

void machine_report_mmus(struct machine *m, FILE *out)
{
    for (unsigned n = 0; n < m->processor_count; n++) {
        if (m->processor_count > 1)
            fprintf(out, "mmu: cpu%u\n", n);
        mmu_report(&m->processors[n].vcpu->mmu, out);
    }
}

void machine_report_gaps(struct machine *m, FILE *out)
{
    for (unsigned n = 0; n < m->processor_count; n++)
        vcpu_report_gaps(m->processors[n].vcpu, out);
}
