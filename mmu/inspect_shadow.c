/* What is derived, for people: shadow entries beside the guest's, spaces, frames. Reads only. */
#include "mmu/frame_set.h"
#include "mmu/inspect.h"
#include "mmu/shadow.h"

#include <inttypes.h>

static const char no_shadow[] = "policy flush keeps no shadow tables: start with -mmu coherent\n";

/* --- shadow --- */

static void print_word(FILE *out, uint64_t word)
{
    switch (shadow_state(word)) {
    case SHADOW_UNKNOWN:
        fputs("unknown", out);
        return;
    case SHADOW_ABSENT:
        fputs("known to be absent", out);
        return;
    default:
        fprintf(out, "%s %#" PRIx64 " ", shadow_state(word) == SHADOW_LEAF ? "page" : "table",
                (uint64_t)(word & SHADOW_BASE));
        mmu_inspect_print_rights(out, (unsigned)(word >> SHADOW_RIGHTS_SHIFT) & 7, word & SHADOW_G);
        fprintf(out, "%s%s", word & SHADOW_A ? " A" : "", word & SHADOW_D ? " D" : "");
    }
}

/* One level: the guest's entry, ours, and whether they agree. True: there is a next page. */
static bool print_level(const struct mmu_context *m, FILE *out, const struct shadow_page *p,
                        uint64_t address, unsigned *next)
{
    unsigned index = shadow_index(p, address);
    uint64_t word = p->words[index], raw;
    bool coherent;

    if (p->frame == SHADOW_NO_FRAME) {
        fprintf(out, "level %u: nothing; the table lies elsewhere now\n", p->level);
        return false;
    }
    raw = shadow_raw(m, p, index);
    coherent = shadow_state(word) == SHADOW_UNKNOWN ||
               shadow_same(word, shadow_normal(p->role, p->level, raw));

    fprintf(out, "level %u, entry %u at %#" PRIx64 ": guest %016" PRIx64 ", derived: ", p->level,
            index, shadow_entry_address(p, index), raw);
    print_word(out, word);
    fprintf(out, "%s\n",
            !shadow_traced(m, p) ? " (the table is not traced)"
            : coherent           ? ""
                                 : " (stale: a store to it waits for the next coherency event)");
    *next = (unsigned)(word >> SHADOW_CHILD_SHIFT);
    return shadow_state(word) == SHADOW_TABLE && *next != 0;
}

void mmu_print_shadow(const struct mmu_context *m, FILE *out, gva_t address)
{
    const struct mmu_space *space = m->tlb->space;
    unsigned number = space->roots[space->role.mode == WALK_PAE ? bits_get(address.v, 30, 2) : 0];
    const struct shadow_page *p;

    if (m->tlb->shadow == NULL) {
        fputs(no_shadow, out);
        return;
    }
    if (space->role.mode == WALK_PAGING_OFF) {
        fputs("paging is off\n", out);
        return;
    }
    if (!mmu_address_canonical(m, address.v)) {
        fputs("not canonical\n", out);
        return;
    }
    if (number == 0)
        fprintf(out, "nothing is derived from the root %#" PRIx64 " yet\n", space->root);
    while (number != 0 && (p = shadow_page_at(m->tlb->shadow, number)) != NULL &&
           print_level(m, out, p, address.v, &number))
        continue;
}

/* --- spaces --- */

/* Live slots of one view. */
static unsigned live(const struct tlb_table *table)
{
    unsigned count = 0;

    for (unsigned i = 0; table->side != NULL && i < TLB_SIZE; i++)
        count += tlb_side_live(&table->side[i]);
    return count;
}

void mmu_print_spaces(const struct mmu_context *m, FILE *out)
{
    const struct tlb *t = m->tlb;
    struct mmu_space_line line;
    uint32_t cursor = 0;

    if (t->shadow != NULL)
        fprintf(out, "  %2u: common to all; entries: supervisor %u\n", TLB_COMMON,
                live(&t->spaces[TLB_COMMON]->tables[TLB_VIEW_SUPERVISOR]));
    while (mmu_space_next(m, &cursor, &line)) {
        const struct mmu_space *s = t->spaces[line.number];

        if (line.common)
            continue;
        fprintf(out,
                "%c %2u: root %#012" PRIx64 ", paging %s; entries: supervisor %u, with AC %u, "
                "user %u; last entered %" PRIu64 " switches ago\n",
                line.current ? '*' : ' ', line.number, line.root, line.paging,
                live(&s->tables[TLB_VIEW_SUPERVISOR]), live(&s->tables[TLB_VIEW_SUPERVISOR_AC]),
                live(&s->tables[TLB_VIEW_USER]), t->switches - s->used);
    }
    if (t->shadow != NULL)
        fprintf(out, "%u of %u shadow pages\n", shadow_page_count(t->shadow), m->options.pages);
    else
        fputs(no_shadow, out);
}

/* --- frames --- */

static void print_watches(FILE *out, uint32_t watch)
{
    static const char *const words[] = {"code",          "page table", "dirty",    "private",
                                        "copy-on-write", "in flight",  "monitored"};
    bool any = false;

    for (unsigned n = 0; n < ARRAY_SIZE(words); n++) {
        if (!(watch & BIT(n)))
            continue;
        fprintf(out, "%s%s", any ? ", " : "", words[n]);
        any = true;
    }
    if (!any)
        fputs("none", out);
}

static void print_frame_pages(const struct mmu_context *m, FILE *out, uint64_t frame)
{
    for (unsigned n = 1; n < m->options.pages; n++) {
        const struct shadow_page *p = shadow_page_at(m->tlb->shadow, n);

        if (p != NULL && p->frame == frame)
            fprintf(out, "  shadow page %u: level %u, for %#" PRIx64 " on, %u point to it%s\n", n,
                    p->level, p->base, p->refs, shadow_traced(m, p) ? "" : ", not traced");
    }
}

static void print_frame_slots(const struct mmu_context *m, FILE *out, uint64_t frame)
{
    static const char *const views[] = {"supervisor", "supervisor_ac", "user"};

    for (unsigned n = 0; n < m->tlb->space_count; n++)
        for (unsigned view = 0; view < TLB_VIEW_COUNT; view++)
            for (unsigned i = 0; i < TLB_SIZE; i++) {
                const struct tlb_table *table = &m->tlb->spaces[n]->tables[view];
                const struct tlb_side *side = &table->side[i];

                if (!tlb_has_table(m->tlb->spaces[n], view))
                    break;
                if (tlb_side_live(side) && side->backing != TLB_BACKING_IO &&
                    (uint64_t)side->frame << PAGE_SHIFT == frame)
                    fprintf(out, "  TLB of space %u, %s: %#" PRIx64 "%s\n", n, views[view],
                            side->page,
                            table->entries[i].write_tag != TLB_NO_TAG ? ", writable" : "");
            }
}

/* "; derived from by cpu0, cpu2-5" */
static void print_set(FILE *out, const struct machine_memory *m, mpa_t frame, enum frame_set set,
                      const char *what)
{
    unsigned n = frame_set_next(m, frame, set, 0);

    fprintf(out, "; %s %s", what, n == FRAME_SET_END ? "nobody" : "");
    for (const char *before = ""; n < FRAME_SET_END; before = ", ") {
        unsigned last = n, next;

        while ((next = frame_set_next(m, frame, set, last + 1)) == last + 1)
            last = next;
        fprintf(out, "%scpu%u", before, n);
        if (last > n)
            fprintf(out, "-%u", last);
        n = next;
    }
}

void mmu_print_frame(const struct mmu_context *m, FILE *out, gpa_t address)
{
    static const char *const kinds[] = {"hole", "RAM", "ROM", "SMRAM"};
    const struct frame *f;
    uint64_t frame;
    mpa_t at;

    if (!p2m_find(m->p2m, gpa(address.v & PAGE_MASK), &at)) {
        fprintf(out, "guest physical %#" PRIx64 ": the VM's map has nothing there\n",
                address.v & PAGE_MASK);
        return;
    }
    frame = at.v;
    if (frame != (address.v & PAGE_MASK))
        fprintf(out, "guest physical %#" PRIx64 " lies at machine address %#" PRIx64 "\n",
                address.v & PAGE_MASK, frame);
    if (machine_memory_kind(m->memory, mpa(frame)) == FRAME_HOLE) {
        fprintf(out, "frame %#" PRIx64 ": no memory\n", frame);
        return;
    }
    f = machine_memory_frame(m->memory, mpa(frame));
    fprintf(out, "frame %#" PRIx64 ": %s; watches: ", frame, kinds[f->kind]);
    print_watches(out, f->watch);
    print_set(out, m->memory, mpa(frame), FRAME_HOLDERS, "may be writable in the TLBs of");
    print_set(out, m->memory, mpa(frame), FRAME_CONSUMERS, "derived from by");
    if (f->watch & FRAME_WATCH_PAGETABLE)
        fprintf(out, "; %u stores since it was walked", f->writes);
    fputc('\n', out);
    if (m->tlb->shadow != NULL)
        print_frame_pages(m, out, frame);
    print_frame_slots(m, out, frame);
}
