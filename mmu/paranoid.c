/*
 * Policy `paranoid`: compares what is derived with the guest's tables. Called right after a
 * coherency event, when nothing is pending: each live TLB slot of each space must be what a walk
 * from that space's root gives now, with A set on the whole path, and D if a store may hit; each
 * known shadow word must be its entry in normal form. A difference is an error of this program.
 */
#include "base/check.h"
#include "mmu/coherency.h"
#include "mmu/shadow.h"

#include <stdio.h>
#include <string.h>

#define SLOT_BUDGET 512u /* of each table, and shadow pages at a time */
#define PAGE_BUDGET 8u

/* The context as if the space were current. */
static struct mmu_context context_of(const struct mmu_context *m, const struct mmu_space *space)
{
    struct mmu_context as = *m;
    bool paging = space->role.mode != WALK_PAGING_OFF;

    as.events = NULL;
    as.log = NULL;
    as.cr3 = space->root;
    memcpy(as.pdpte, space->pdpte, sizeof(as.pdpte));
    as.cr0 = paging ? as.cr0 | CR0_PG : as.cr0 & ~CR0_PG;
    as.cr4 &= ~(CR4_PAE | CR4_LA57 | CR4_PSE);
    as.cr4 |= space->role.mode >= WALK_PAE ? CR4_PAE : 0;
    as.cr4 |= space->role.mode == WALK_5LEVEL ? CR4_LA57 : 0;
    as.cr4 |= space->role.pse ? CR4_PSE : 0;
    as.efer &= ~(EFER_LMA | EFER_NXE);
    as.efer |= space->role.mode >= WALK_4LEVEL ? EFER_LMA : 0;
    as.efer |= space->role.nxe ? EFER_NXE : 0;
    return as;
}

static void fail(struct mmu_context *m, const char *what, uint64_t address,
                 const struct mmu_walk *w)
{
    m->stats.paranoid_errors++;
    fprintf(stderr, "gnomon: mmu, paranoid: %s at %#llx is not what the tables say\n", what,
            (unsigned long long)address);
    if (w != NULL)
        mmu_walk_print(stderr, w);
    CHECK(!"derived state is not coherent");
}

static bool accessed(const struct mmu_walk *w)
{
    for (unsigned i = 0; i < w->count; i++)
        if (w->levels[i].source == WALK_FROM_RAM && !(w->levels[i].entry & PTE_A))
            return false;
    return true;
}

static void check_slot(struct mmu_context *m, const struct mmu_context *as, enum tlb_view view,
                       const struct tlb_side *side)
{
    struct mmu_walk w;

    m->stats.paranoid_checks++;
    mmu_walk_inspect(as, gva(side->page), MMU_READ, view, &w);
    if ((w.outcome != WALK_OK && w.outcome != WALK_DENIED) || w.mapping.page.v != side->to.page.v ||
        w.mapping.rights != side->to.rights || w.mapping.pkey != side->to.pkey ||
        w.mapping.shift != side->to.shift || !accessed(&w))
        fail(m, "a TLB entry", side->page, &w);
    if (side->to.dirty && !w.mapping.dirty && w.levels[w.count - 1].source == WALK_FROM_RAM)
        fail(m, "a TLB entry's D bit", side->page, &w);
}

/* Does the slot lead where the VM's map says? */
static void check_frame(struct mmu_context *m, const struct tlb_side *side)
{
    mpa_t at;

    if (mmu_locate(m, side->to.page, MMU_FETCH, &at) == FRAME_HOLE
            ? side->backing != TLB_BACKING_IO
            : side->backing == TLB_BACKING_IO || side->frame != mpa_frame(at))
        fail(m, "the frame of a TLB entry", side->page, NULL);
}

static void check_table(struct mmu_context *m, const struct mmu_context *as, enum tlb_view view,
                        const struct mmu_space *space)
{
    const struct tlb_table *table = &space->tables[view];
    unsigned budget = SLOT_BUDGET;

    for (unsigned k = 0; k < 2; k++) {
        const struct tlb_log *log = &table->log[k];
        /* Where the last look ended is not kept: the number of checks scatters the beginnings. */
        unsigned first = log->count > 0 ? (unsigned)(m->stats.paranoid_checks % log->count) : 0;

        for (unsigned i = 0; i < log->count && budget > 0; i++, budget--) {
            const struct tlb_side *side = &table->side[log->slots[(first + i) % log->count]];

            if (!tlb_side_live(side) || side->to.global != k)
                continue;
            check_frame(m, side);
            /* Globals of the common table follow instructions, not the tables. */
            if (k == 0 || space->number != TLB_COMMON)
                check_slot(m, as, view, side);
        }
    }
}

static void check_page(struct mmu_context *m, const struct shadow_page *p)
{
    for (unsigned i = 0; shadow_traced(m, p) && i < shadow_entry_count(p); i++) {
        uint64_t raw = shadow_raw(m, p, i), word = p->words[i];

        m->stats.paranoid_checks++;
        if (shadow_state(word) != SHADOW_UNKNOWN &&
            !shadow_same(word, shadow_normal(p->role, p->level, raw)))
            fail(m, "the shadow of an entry", shadow_entry_address(p, i), NULL);
    }
}

void paranoid_check(struct mmu_context *m)
{
    const struct tlb *t = m->tlb;

    for (unsigned n = 0; n < t->space_count; n++) {
        struct mmu_context as = context_of(m, n == TLB_COMMON ? t->space : t->spaces[n]);

        for (unsigned view = 0; view < TLB_VIEW_COUNT; view++)
            check_table(m, &as, view, t->spaces[n]);
    }
    for (unsigned n = 0; n < PAGE_BUDGET; n++) {
        const struct shadow_page *p = shadow_page_at(
            t->shadow, (unsigned)(m->stats.events * PAGE_BUDGET + n) % m->options.pages);

        if (p != NULL)
            check_page(m, p);
    }
}
