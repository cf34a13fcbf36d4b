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

/* Bytes at a linear address as a supervisor read would see them; how many could be read. */
static size_t peek(const struct machine *m, uint64_t address, uint8_t *out, size_t count)
{
    struct mmu_walk w;
    size_t n;

    for (n = 0; n < count; n++, address++) {
        if (n == 0 || (address & ~PAGE_MASK) == 0)
            mmu_walk_inspect(&m->cpu->mmu, gva(address), MMU_READ, TLB_VIEW_SUPERVISOR, &w);
        if (w.outcome != WALK_OK && w.outcome != WALK_DENIED)
            break;
        mpa_t a = mpa(w.mapping.page.v | (address & ~PAGE_MASK));
        if (!machine_memory_contains(m->memory, a, 1))
            break;
        out[n] = guest_load8(machine_memory_host(m->memory, a));
    }
    return n;
}

static bool peek_word(const struct machine *m, uint64_t address, unsigned size, uint64_t *value)
{
    uint8_t bytes[8];

    *value = 0;
    if (peek(m, address, bytes, size) < size)
        return false;
    for (unsigned n = size; n-- > 0;)
        *value = *value << 8 | bytes[n];
    return true;
}

/* --- Code --- */

static unsigned code_bits(const struct vcpu *cpu)
{
    if (cpu->mode & MODE_64)
        return 64;
    return cpu->seg[SEG_CS].attributes & SEGMENT_DB ? 32 : 16;
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

static void print_block(struct machine *m, FILE *out, uint64_t address,
                        const struct report_tools *tools)
{
    uint64_t here = m->cpu->rip + m->cpu->seg[SEG_CS].base;
    char text[160];

    fprintf(out, "%016" PRIx64 " %s\n", address,
            symbols_text(tools->symbols, address, text, sizeof(text)));
    for (unsigned n = 0; n < INSTRUCTIONS_SHOWN; n++) {
        uint8_t bytes[INSTRUCTION_MAX];
        size_t count = peek(m, address, bytes, sizeof(bytes)), length = 0;

        if (tools->disassemble != NULL)
            length = tools->disassemble(tools->opaque, bytes, count, address, code_bits(m->cpu),
                                        text, sizeof(text));
        fprintf(out, "  %s %" PRIx64 ": ", address == here ? "=>" : "  ", address);
        print_bytes(out, bytes, length > 0 ? length : count);
        fprintf(out, " %s\n", length > 0 ? text : count == 0 ? "(not mapped)" : "");
        if (length == 0 || leaves_block(text))
            break;
        address += length;
    }
}

static void print_blocks(struct machine *m, FILE *out, const struct report_tools *tools)
{
    const struct vcpu *cpu = m->cpu;
    unsigned size = ARRAY_SIZE(cpu->recent);
    unsigned count = MIN(MIN(cpu->recent_count, size), BLOCKS_SHOWN);
    uint64_t here = cpu->rip + cpu->seg[SEG_CS].base;

    fprintf(out, "last blocks, newest last (as memory is now):\n");
    for (unsigned n = cpu->recent_count - count; n != cpu->recent_count; n++)
        print_block(m, out, cpu->recent[n % size], tools);
    fprintf(out, "next instruction:\n");
    print_block(m, out, here, tools);
}

/* --- Tables and stack --- */

static void print_gdt(struct machine *m, FILE *out)
{
    const struct descriptor_table *t = &m->cpu->gdtr;
    unsigned count = MIN((t->limit + 1u) / 8, GDT_ENTRIES_SHOWN);
    uint64_t entry;

    fprintf(out, "GDT:\n");
    for (unsigned n = 0; n < count; n++) {
        if (!peek_word(m, t->base + 8 * n, 8, &entry)) {
            fprintf(out, "  %04x not mapped\n", 8 * n);
            return;
        }
        if (entry != 0)
            fprintf(out, "  %04x %016" PRIx64 "\n", 8 * n, entry);
    }
}

/* One gate: selector and offset (SDM 3A 6.11, 6.14.1). */
static bool print_gate(struct machine *m, FILE *out, unsigned vector, const struct symbols *symbols)
{
    bool wide = (m->cpu->mode & MODE_LONG) != 0;
    uint64_t address = m->cpu->idtr.base + (uint64_t)vector * (wide ? 16 : 8);
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
    unsigned size = m->cpu->mode & MODE_LONG ? 16 : 8;
    unsigned count = MIN((m->cpu->idtr.limit + 1u) / size, IDT_ENTRIES_SHOWN);

    if (!(m->cpu->mode & MODE_PROT) && !(m->cpu->mode & MODE_LONG))
        return; /* real mode has no gates */
    fprintf(out, "IDT, present gates:\n");
    for (unsigned n = 0; n < count && print_gate(m, out, n, symbols); n++)
        ;
}

static void print_stack(struct machine *m, FILE *out, const struct symbols *symbols)
{
    unsigned size = code_bits(m->cpu) / 8;
    uint64_t address = m->cpu->gpr[GPR_RSP];
    char text[128];

    if (size != 8)
        address = (uint32_t)(address + m->cpu->seg[SEG_SS].base);
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

static void print_exceptions(const struct vcpu *cpu, FILE *out)
{
    fprintf(out, "exceptions so far:");
    for (unsigned n = 0; n < ARRAY_SIZE(cpu->exceptions); n++) {
        if (cpu->exceptions[n] > 0)
            fprintf(out, " #%u: %" PRIu64, n, cpu->exceptions[n]);
    }
    fprintf(out, "; interrupts: %" PRIu64 "\n", cpu->interrupts);
}

static void print_fault(struct machine *m, FILE *out)
{
    struct mmu_walk w;

    if (m->cpu->exceptions[EXC_PF] == 0 || !(m->cpu->mmu.cr0 & CR0_PG))
        return;
    fprintf(out, "walk of the last page fault's address (CR2):\n");
    mmu_walk_inspect(&m->cpu->mmu, gva(m->cpu->cr2), MMU_READ, TLB_VIEW_SUPERVISOR, &w);
    mmu_walk_print(out, &w);
}

void machine_report(struct machine *m, FILE *out, const struct report_tools *tools)
{
    machine_lock(m);
    fprintf(out, "--- processor, virtual time %llu.%09llu s ---\n", machine_time(m) / NS_PER_SECOND,
            machine_time(m) % NS_PER_SECOND);
    vcpu_dump(m->cpu, out);
    print_exceptions(m->cpu, out);
    print_fault(m, out);
    print_gdt(m, out);
    print_idt(m, out, tools->symbols);
    print_stack(m, out, tools->symbols);
    print_blocks(m, out, tools);
    fprintf(out, "accesses nobody answered: %" PRIu64 "\n---\n", bus_unclaimed_count(m->bus));
    machine_unlock(m);
}

void machine_describe_place(struct machine *m, const struct symbols *symbols, char *text,
                            size_t size)
{
    uint64_t address = m->cpu->rip + (m->cpu->mode & MODE_64 ? 0 : m->cpu->seg[SEG_CS].base);
    char name[96];

    symbols_text(symbols, address, name, sizeof(name));
    snprintf(text, size, "%#" PRIx64 "%s%s", address, name[0] != '\0' ? " " : "", name);
}

void machine_report_gaps(struct machine *m, FILE *out)
{
    vcpu_report_gaps(m->cpu, out);
}
