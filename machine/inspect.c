#include "machine/inspect.h"

#include "base/bits.h"
#include "machine/debug.h"
#include "machine/internal.h"
#include "mmu/inspect.h"
#include "mmu/p2m.h"

#include <inttypes.h>

void machine_print_registers(struct machine *m, FILE *out)
{
    vcpu_dump(machine_looked_at(m), out);
}

/* --- Translations --- */

/* The processor's context, or a copy with another root. */
static const struct mmu_context *context_of(struct machine *m, bool any_root, uint64_t root,
                                            struct mmu_context *copy)
{
    if (any_root)
        return &machine_looked_at(m)->mmu;
    mmu_inspect_root(&machine_looked_at(m)->mmu, root, copy);
    return copy;
}

void machine_print_walk(struct machine *m, FILE *out, const struct machine_walk *walk)
{
    struct mmu_context copy;
    struct mmu_walk w;

    mmu_walk_inspect(context_of(m, walk->any_root, walk->root, &copy), gva(walk->address),
                     (enum mmu_access)walk->access,
                     walk->user ? TLB_VIEW_USER : TLB_VIEW_SUPERVISOR, &w);
    mmu_inspect_print_walk(&machine_looked_at(m)->mmu, out, &w);
}

static bool rights_match(const struct machine_filter *f, unsigned rights, bool global)
{
    unsigned have = (rights & WALK_WRITABLE ? MACHINE_RIGHT_WRITE : 0) |
                    (rights & WALK_USER ? MACHINE_RIGHT_USER : 0) |
                    (rights & WALK_EXECUTABLE ? MACHINE_RIGHT_EXECUTE : 0) |
                    (global ? MACHINE_RIGHT_GLOBAL : 0);

    return (have & f->must) == f->must && (have & f->must_not) == 0;
}

/* "4 KiB", "2 MiB", "1 GiB" */
static void print_size(FILE *out, uint64_t size)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    unsigned n = 0;

    for (size >>= 10; n + 1 < ARRAY_SIZE(units) && size >= 1024 && size % 1024 == 0; n++)
        size >>= 10;
    fprintf(out, "%" PRIu64 " %s", size, units[n]);
}

static void print_mapping(FILE *out, const struct mmu_mapping *map)
{
    fprintf(out, "%016" PRIx64 "-%016" PRIx64 " ", map->first, map->last);
    if (map->repeated) {
        fputs("the same tables as in the ", out);
        print_size(out, BIT64(map->shift));
        fprintf(out, " before, %" PRIu64 " more times\n",
                (uint64_t)((map->last - map->first) >> map->shift) + 1);
        return;
    }
    mmu_inspect_print_rights(out, map->rights, map->global);
    fputs(map->global ? " " : "  ", out);
    print_size(out, map->last - map->first + 1);
    fputs(" in pages of ", out);
    print_size(out, BIT64(map->shift));
    fprintf(out, map->linear ? " at 0x%" PRIx64 "\n" : " from 0x%" PRIx64 " on, scattered\n",
            map->gpa.v);
}

void machine_print_maps(struct machine *m, FILE *out, const struct machine_filter *filter)
{
    struct mmu_context copy;
    const struct mmu_context *context = context_of(m, filter->any_root, filter->root, &copy);
    struct mmu_mapping map;
    struct mmu_maps maps;
    uint64_t lines = 0;
    bool hidden = false; /* the last range was not shown: nor are its repetitions */

    if (mmu_walk_mode(context) == WALK_PAGING_OFF) {
        fputs("paging is off: linear addresses are physical ones\n", out);
        return;
    }
    mmu_maps_begin(&maps, context, filter->first, filter->last, filter->budget);
    maps.split_physical = filter->physical;
    while (mmu_maps_next(&maps, &map)) {
        if (!map.repeated)
            hidden = !rights_match(filter, map.rights, map.global);
        if (hidden)
            continue;
        if (lines++ == filter->most) {
            fprintf(out, "more follow, from %#" PRIx64 " on\n", map.first);
            return;
        }
        print_mapping(out, &map);
    }
    if (!maps.finished)
        fprintf(out, "the tables go on for too long: looked at up to %#" PRIx64 "\n", maps.next);
    else if (lines == 0)
        fputs("nothing like that is mapped\n", out);
}

static const char *const views[] = {"supervisor", "supervisor_ac", "user"};

static void print_tlb_line(FILE *out, const struct mmu_tlb_line *l)
{
    fprintf(out, "%-13s %016" PRIx64 " -> %#012" PRIx64 " ", views[l->view], l->page.v,
            l->to.page.v);
    if (l->at.v != l->to.page.v)
        fprintf(out, "(machine %#012" PRIx64 ") ", l->at.v);
    mmu_inspect_print_rights(out, l->to.rights, l->to.global);
    fprintf(out, "%s %s, hits %c%c%c, page of ", l->to.global ? "" : " ", l->backing,
            l->tags & BIT(MMU_READ) ? 'r' : '-', l->tags & BIT(MMU_WRITE) ? 'w' : '-',
            l->tags & BIT(MMU_FETCH) ? 'x' : '-');
    print_size(out, BIT64(l->to.shift));
    fputc('\n', out);
}

/* What has been counted of all spaces shown. */
struct tlb_listing {
    const struct machine_filter *filter;
    uint64_t count[TLB_VIEW_COUNT], lines;
    unsigned spaces;
};

static void print_tlb_space(struct machine *m, FILE *out, uint32_t space,
                            struct tlb_listing *listing)
{
    const struct machine_filter *filter = listing->filter;
    struct mmu_tlb_line l;
    uint32_t cursor = 0;

    listing->spaces++;
    while (mmu_tlb_next(&machine_looked_at(m)->mmu, space, &cursor, &l)) {
        listing->count[l.view]++;
        if (l.page.v < filter->first || l.page.v > filter->last || !(filter->views & BIT(l.view)) ||
            !rights_match(filter, l.to.rights, l.to.global))
            continue;
        if (listing->lines++ < filter->most)
            print_tlb_line(out, &l);
    }
}

/* Those of the filter, with a line above each. */
static void print_tlb_spaces(struct machine *m, FILE *out, struct tlb_listing *listing)
{
    const struct machine_filter *filter = listing->filter;
    struct mmu_space_line s;
    uint32_t cursor = 0;

    while (mmu_space_next(&machine_looked_at(m)->mmu, &cursor, &s)) {
        if ((filter->space != MACHINE_ANY_SPACE && s.number != filter->space) ||
            (!filter->any_root && (s.common || ((s.root ^ filter->root) & PAGE_MASK) != 0)))
            continue;
        if (s.common)
            fprintf(out, "space %u, common to all:\n", s.number);
        else
            fprintf(out, "space %u, root %#" PRIx64 ", paging %s%s:\n", s.number, s.root, s.paging,
                    s.current ? ", current" : "");
        print_tlb_space(m, out, s.number, listing);
    }
}

void machine_print_tlb(struct machine *m, FILE *out, const struct machine_filter *filter)
{
    struct tlb_listing listing = {.filter = filter};

    if (filter->any_root && filter->space == MACHINE_ANY_SPACE && !filter->every_space)
        print_tlb_space(m, out, MMU_SPACE_CURRENT, &listing);
    else
        print_tlb_spaces(m, out, &listing);
    if (listing.spaces == 0) {
        fputs("no such space is kept: see spaces\n", out);
        return;
    }
    if (listing.lines > filter->most)
        fprintf(out, "and %" PRIu64 " more of these\n", listing.lines - filter->most);
    fprintf(out, "live:");
    for (unsigned n = 0; n < TLB_VIEW_COUNT; n++)
        fprintf(out, "%s %s %" PRIu64, n > 0 ? "," : "", views[n], listing.count[n]);
    fputc('\n', out);
}

/* --- The machine --- */

void machine_print_memory_map(struct machine *m, FILE *out)
{
    static const char *const kinds[] = {"hole", "ram", "rom", "smram"};
    const struct machine_memory *memory = m->memory;
    struct bus_region_info info;
    uint32_t cursor = 0;

    machine_lock(m);
    fputs("memory:\n", out);
    for (unsigned n = 0; n < memory->range_count; n++) {
        const struct memory_range *r = &memory->ranges[n];

        fprintf(out, "  %016" PRIx64 "-%016" PRIx64 " %s\n", r->start.v, r->start.v + r->size - 1,
                kinds[r->kind]);
    }
    if (bus_p2m(m->bus) != NULL)
        fprintf(out, "map: %" PRIu64 " guest physical pages lie elsewhere than at that address\n",
                p2m_moved_count(bus_p2m(m->bus)));
    fputs("devices:\n", out);
    for (unsigned n = 0; bus_mmio_region(m->bus, n, &info); n++)
        fprintf(out, "  %016" PRIx64 "-%016" PRIx64 " %s\n", info.base, info.base + info.size - 1,
                info.name);
    fputs("ports:\n", out);
    while (bus_port_region(m->bus, &cursor, &info))
        fprintf(out, "  %04" PRIx64 "-%04" PRIx64 " %s\n", info.base, info.base + info.size - 1,
                info.name);
    machine_unlock(m);
}

void machine_print_interrupts(struct machine *m, FILE *out)
{
    machine_lock(m);
    for (unsigned n = 0; n < m->processor_count; n++) {
        if (m->processor_count > 1)
            fprintf(out, "cpu%u: ", n);
        machine_print_lapic_locked(m->processors[n].lapic, out);
    }
    machine_print_pic_locked(m, out);
    machine_print_timers_locked(m, out);
    fprintf(out, "taken:");
    for (unsigned n = 0; n < m->processor_count; n++) {
        if (m->processor_count > 1)
            fprintf(out, "%s cpu%u", n > 0 ? "," : "", n);
        fprintf(out, " %" PRIu64, m->processors[n].vcpu->interrupts);
    }
    fputc('\n', out);
    machine_unlock(m);
}

void machine_print_lapic(struct machine *m, FILE *out)
{
    static const char *const entries[] = {"timer", "thermal", "performance",
                                          "LINT0", "LINT1",   "error"};
    const struct lapic *l = m->processors[machine_looked_at(m)->index].lapic;

    machine_lock(m);
    fprintf(out, "id %#x, IA32_APIC_BASE %#" PRIx64 ": %s\n",
            lapic_x2apic_mode(l) ? l->config.id : l->id, l->apic_base,
            !lapic_enabled(l)      ? "disabled"
            : lapic_x2apic_mode(l) ? "x2APIC"
                                   : "xAPIC");
    machine_print_lapic_locked(l, out);
    fprintf(out, "LDR %02x DFR %02x ICR %016" PRIx64 " ESR %02x\n", l->ldr, l->dfr, l->icr, l->esr);
    fprintf(out, "LVT:");
    for (unsigned n = 0; n < LAPIC_LVT_COUNT; n++)
        fprintf(out, " %s %05x", entries[n], l->lvt[n]);
    fprintf(out, "\ntimer: initial count %u, divide %x, TSC deadline %" PRIu64 "%s\n",
            l->initial_count, l->divide, l->tsc_deadline, timer_armed(&l->timer) ? ", armed" : "");
    machine_unlock(m);
}

void machine_print_processors(struct machine *m, FILE *out, const struct symbols *symbols)
{
    const struct vcpu *marked = machine_looked_at(m);
    char place[160];

    for (unsigned n = 0; n < m->processor_count; n++) {
        const struct vcpu *cpu = m->processors[n].vcpu;

        machine_describe(cpu, symbols, place, sizeof(place));
        fprintf(out,
                "%c cpu%u: at %s, CPL %u, %u-bit, paging %s, cr3 %#" PRIx64 ", %s, APIC id %u\n",
                cpu == marked ? '*' : ' ', n, place, cpu->mmu.cpl, machine_code_bits(cpu),
                walk_mode_word(mmu_walk_mode(&cpu->mmu)), cpu->mmu.cr3, machine_processor_word(cpu),
                cpu->apic_id);
    }
}

void machine_print_status(struct machine *m, FILE *out)
{
    static const char *const reasons[] = {
        [MACHINE_STOP_REQUEST] = "asked to stop",
        [MACHINE_STOP_STEP] = "steps done",
        [MACHINE_STOP_BREAKPOINT] = "breakpoint",
        [MACHINE_STOP_WRITE] = "watched memory was written",
        [MACHINE_STOP_READ] = "watched memory was read",
        [MACHINE_STOP_ACCESS] = "watched memory was accessed",
        [MACHINE_STOP_IO] = "I/O breakpoint",
        [MACHINE_STOP_TRIPLE_FAULT] = "triple fault",
        [MACHINE_STOP_UNTIL] = "run-until",
        [MACHINE_STOP_EVENT] = "MMU event",
    };
    struct machine_stop_reason why;
    bool parked = machine_debug_parked(m, &why);
    uint64_t now;

    machine_lock(m);
    now = machine_time(m);
    machine_unlock(m);
    if (parked)
        fprintf(out, "stopped (%s)", reasons[why.kind]);
    else
        fputs("running", out);
    if (parked && m->processor_count > 1)
        fprintf(out, " on cpu%u", why.processor);
    fprintf(out, "; %" PRIu64 " instructions, virtual time %" PRIu64 ".%09" PRIu64 " s\n",
            machine_instructions(m), (uint64_t)(now / NS_PER_SECOND),
            (uint64_t)(now % NS_PER_SECOND));
}

/* --- Memory --- */

bool machine_print_instructions(struct machine *m, FILE *out, uint64_t address, bool physical,
                                uint64_t count, const struct report_tools *tools)
{
    char text[160], name[128];

    for (uint64_t n = 0; n < count; n++) {
        uint8_t bytes[15];
        size_t length = machine_debug_read(m, address, physical, bytes, sizeof(bytes)), size = 0;

        if (length == 0)
            return false;
        if (tools->disassemble != NULL)
            size = tools->disassemble(tools->opaque, bytes, length, address,
                                      machine_code_bits(machine_looked_at(m)), text, sizeof(text));
        if (!physical && symbols_text(tools->symbols, address, name, sizeof(name))[0] != '\0')
            fprintf(out, "%#018" PRIx64 " <%s>: ", address, name);
        else
            fprintf(out, "%#018" PRIx64 ": ", address);
        for (size_t k = 0; k < (size > 0 ? size : 1); k++)
            fprintf(out, "%02x ", bytes[k]);
        fprintf(out, " %s\n", size > 0 ? text : "(no instruction)");
        address += size > 0 ? size : 1;
    }
    return true;
}

void machine_print_next(struct machine *m, FILE *out, const struct report_tools *tools)
{
    const struct vcpu *cpu = machine_looked_at(m);
    uint64_t address = machine_code_address(cpu, cpu->rip);

    fputs(cpu->attention & VCPU_ATTENTION_HALTED ? "(asleep) => " : "=> ", out);
    if (!machine_print_instructions(m, out, address, false, 1, tools))
        fprintf(out, "%#" PRIx64 ": no memory\n", address);
}

const char *machine_device_at(struct machine *m, uint64_t physical)
{
    struct bus_region_info info;
    const char *name = NULL;

    machine_lock(m);
    for (unsigned n = 0; name == NULL && bus_mmio_region(m->bus, n, &info); n++) {
        if (physical >= info.base && physical - info.base < info.size)
            name = info.name;
    }
    machine_unlock(m);
    return name;
}

void machine_print_shadow(struct machine *m, FILE *out, uint64_t address)
{
    mmu_print_shadow(&machine_looked_at(m)->mmu, out, gva(address));
}

void machine_print_spaces(struct machine *m, FILE *out)
{
    mmu_print_spaces(&machine_looked_at(m)->mmu, out);
}

void machine_print_frame(struct machine *m, FILE *out, uint64_t address)
{
    mmu_print_frame(&machine_looked_at(m)->mmu, out, gpa(address));
}
