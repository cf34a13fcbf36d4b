#include "mmu/inspect.h"

#include "base/bits.h"
#include "mmu/guest_access.h"
#include "mmu/memory.h"
#include "mmu/tlb.h"

#include <inttypes.h>

/* An entry without what the processor writes into it. */
#define WITHOUT_AD(entry) ((entry) & ~(uint64_t)(PTE_A | PTE_D))

void mmu_inspect_root(const struct mmu_context *m, uint64_t cr3, struct mmu_context *copy)
{
    *copy = *m;
    copy->cr3 = cr3;
    copy->events = NULL;
    if (mmu_walk_mode(m) != WALK_PAE)
        return;
    for (unsigned n = 0; n < 4; n++) {
        mpa_t where;

        copy->pdpte[n] =
            p2m_find(m->p2m, gpa(((cr3 & 0xffffffe0) + 8 * n) & m->a20_mask), &where) &&
                    machine_memory_contains(m->memory, where, 8)
                ? guest_load64(machine_memory_host(m->memory, where))
                : 0;
    }
}

/* --- Walks --- */

void mmu_inspect_print_rights(FILE *out, unsigned rights, bool global)
{
    fprintf(out, "%c%c%c%s", rights & WALK_USER ? 'u' : '-', rights & WALK_WRITABLE ? 'w' : '-',
            rights & WALK_EXECUTABLE ? 'x' : '-', global ? "g" : "");
}

/* The entry's own bits by their names in the manual (SDM 3A tables 4-4 to 4-20). */
static void print_bits(FILE *out, const struct mmu_walk *w, const struct walk_level *l)
{
    static const struct {
        uint64_t bit;
        const char *name;
    } bits[] = {
        {PTE_P, "P"}, {PTE_RW, "RW"}, {PTE_US, "US"}, {BIT64(3), "PWT"}, {BIT64(4), "PCD"},
        {PTE_A, "A"}, {PTE_D, "D"},   {PTE_PS, "PS"}, {PTE_G, "G"},      {PTE_XD, "XD"},
    };
    bool any = false;

    for (unsigned n = 0; n < ARRAY_SIZE(bits); n++) {
        const char *name = bits[n].bit == PTE_PS && l->level == 1 ? "PAT" : bits[n].name;

        if (!(l->entry & bits[n].bit))
            continue;
        fprintf(out, "%s%s", any ? " " : "", name);
        any = true;
        if (!(l->entry & PTE_P))
            break;
    }
    fputs(any ? "" : "not present", out);
    if (w->mode >= WALK_4LEVEL && (l->entry & PTE_P) && bits_get(l->entry, 59, 4) != 0 &&
        (l->level == 1 || (l->entry & PTE_PS)))
        fprintf(out, " key=%u", (unsigned)bits_get(l->entry, 59, 4));
}

static void print_level(FILE *out, const struct mmu_walk *w, const struct walk_level *l)
{
    static const char *const names[] = {"", "PT", "PD", "PDPT", "PML4", "PML5"};
    static const char *const sources[] = {"", " (ROM)", " (device or hole)", " (register)"};
    unsigned size = w->mode == WALK_32BIT ? 4 : 8;

    fprintf(out, "  level %u, %s[%u] at %#" PRIx64 ": %0*" PRIx64 " ", l->level, names[l->level],
            (unsigned)((l->address.v & (PAGE_SIZE - 1)) / size), l->address.v, (int)size * 2,
            l->entry);
    print_bits(out, w, l);
    fputs(sources[l->source], out);
    if (l->source != WALK_FROM_IO && l->at.v != l->address.v)
        fprintf(out, " (machine %#" PRIx64 ")", l->at.v);
    if (l->entry & PTE_P) {
        fputs("; so far ", out);
        mmu_inspect_print_rights(out, l->rights, false);
    }
    fputc('\n', out);
}

void mmu_inspect_print_walk(const struct mmu_context *m, FILE *out, const struct mmu_walk *w)
{
    static const char *const accesses[] = {"read", "write", "fetch"};
    static const char *const views[] = {"supervisor", "supervisor with AC", "user"};
    mpa_t at;

    fprintf(out, "%s of %#" PRIx64 ", %s, paging %s: %s", accesses[w->access], w->address.v,
            views[w->view], walk_mode_word(w->mode), walk_outcome_word(w->outcome));
    if (w->error_code != 0 || w->outcome == WALK_NOT_PRESENT)
        fprintf(out, ", error code %#x", (unsigned)w->error_code);
    fputc('\n', out);
    for (unsigned n = 0; n < w->count; n++)
        print_level(out, w, &w->levels[n]);
    if (w->outcome != WALK_OK && w->outcome != WALK_DENIED)
        return;
    fprintf(out, "  physical %#" PRIx64, w->gpa.v);
    if (!p2m_find(m->p2m, w->gpa, &at))
        fputs(" (not in the VM's map)", out);
    else if (at.v != w->gpa.v)
        fprintf(out, " (machine %#" PRIx64 ")", at.v);
    fprintf(out, ", page of %" PRIu64 " KiB, ", (uint64_t)(BIT64(w->mapping.shift) >> 10));
    mmu_inspect_print_rights(out, w->mapping.rights, false);
    fprintf(out, "%s%s, key %u\n", w->mapping.global ? " global" : "",
            w->mapping.dirty ? " dirty" : "", w->mapping.pkey);
}

/* --- Mappings --- */

/* Bytes that an entry of the level stands for, as a shift. */
static unsigned entry_shift(enum walk_mode mode, unsigned level)
{
    return PAGE_SHIFT + (mode == WALK_32BIT ? 10 : 9) * (level - 1);
}

void mmu_maps_begin(struct mmu_maps *s, const struct mmu_context *m, uint64_t first, uint64_t last,
                    uint64_t budget)
{
    *s = (struct mmu_maps){
        .context = *m,
        .first = first & PAGE_MASK,
        .next = first & PAGE_MASK,
        .last = m->efer & EFER_LMA ? last : MIN(last, UINT32_MAX),
        .budget = budget,
        .shown = UINT64_MAX,
    };
    s->context.events = NULL;
    s->finished = s->next > s->last;
}

/* The shift of what a walk that ended so says about its surroundings. */
static unsigned covered_shift(const struct mmu_walk *w)
{
    if (w->outcome == WALK_OK || w->outcome == WALK_DENIED)
        return w->mapping.shift;
    return w->count > 0 ? entry_shift(w->mode, w->levels[w->count - 1].level) : PAGE_SHIFT;
}

/* Moves on to the first address behind the 1 << shift bytes around `address`. */
static void skip(struct mmu_maps *s, uint64_t address, unsigned shift)
{
    uint64_t end = address | (BIT64(shift) - 1);

    s->finished = end >= s->last;
    s->next = s->finished ? s->last : end + 1;
}

/* If the walk reads, at the start of what a table covers, the entry that stood in the slot before
 * it, all below is as it was there, which has been looked at from its start: the level of that
 * entry, else 0. */
static unsigned repeated_level(const struct mmu_maps *s, const struct mmu_walk *w)
{
    for (unsigned n = 0; n < w->count && n < s->walk.count; n++) {
        const struct walk_level *now = &w->levels[n], *then = &s->walk.levels[n];
        unsigned shift = entry_shift(w->mode, now->level);

        if (now->level < 2 || n + 1 >= w->count || n + 1 >= s->walk.count)
            return 0;
        if (WITHOUT_AD(now->entry) == WITHOUT_AD(then->entry) && now->rights == then->rights &&
            now->address.v != then->address.v)
            return (w->address.v & (BIT64(shift) - 1)) == 0 &&
                           w->address.v - s->first >= BIT64(shift) &&
                           w->address.v - 1 == (s->walk.address.v | (BIT64(shift) - 1))
                       ? now->level
                       : 0;
        if (now->address.v != then->address.v)
            return 0;
    }
    return 0;
}

static bool follows(const struct mmu_maps *s, const struct mmu_mapping *a,
                    const struct mmu_mapping *b)
{
    if (a->last + 1 != b->first || a->repeated != b->repeated || a->shift != b->shift)
        return false;
    if (a->repeated)
        return true;
    return a->rights == b->rights && a->global == b->global &&
           (!s->split_physical || a->gpa.v + (b->first - a->first) == b->gpa.v);
}

/* What was found becomes part of what waits, or pushes it out: then true, and *out is that. */
static bool add(struct mmu_maps *s, const struct mmu_mapping *found, struct mmu_mapping *out)
{
    bool pushed = s->pending_valid && !follows(s, &s->pending, found);

    s->shown = found->last;
    if (s->pending_valid && !pushed) {
        s->pending.linear &= s->pending.gpa.v + (found->first - s->pending.first) == found->gpa.v;
        s->pending.last = found->last;
        return false;
    }
    *out = s->pending;
    s->pending = *found;
    s->pending_valid = true;
    return pushed;
}

/* One walk. True if it completed a range. */
static bool advance(struct mmu_maps *s, struct mmu_mapping *out)
{
    struct mmu_mapping found = {.first = s->next, .linear = true};
    uint64_t address = s->next;
    struct mmu_walk w;
    unsigned level;

    mmu_walk_inspect(&s->context, gva(address), MMU_READ, TLB_VIEW_SUPERVISOR, &w);
    if (w.outcome == WALK_NOT_CANONICAL) { /* up to where addresses are canonical again */
        unsigned top = w.mode == WALK_5LEVEL ? 56 : 47;

        s->finished = s->last < ~(BIT64(top) - 1);
        s->next = s->finished ? s->last : ~(BIT64(top) - 1);
        return false;
    }
    level = repeated_level(s, &w);
    s->walk = w;
    if (level > 0) {
        found.shift = (uint8_t)entry_shift(w.mode, level);
        found.repeated = true;
        found.last = MIN(address | (BIT64(found.shift) - 1), s->last);
        skip(s, address, found.shift);
        s->walk.address.v = found.last; /* the span is done with */
        return s->shown != UINT64_MAX && address - s->shown <= BIT64(found.shift) &&
               add(s, &found, out);
    }
    skip(s, address, covered_shift(&w));
    if (w.outcome != WALK_OK && w.outcome != WALK_DENIED)
        return false;
    found.last = s->finished ? s->last : s->next - 1;
    found.gpa = w.gpa;
    found.rights = w.mapping.rights;
    found.shift = w.mapping.shift;
    found.global = w.mapping.global;
    return add(s, &found, out);
}

bool mmu_maps_next(struct mmu_maps *s, struct mmu_mapping *out)
{
    while (!s->finished && s->budget > 0) {
        s->budget--;
        if (advance(s, out))
            return true;
    }
    if (!s->pending_valid)
        return false;
    *out = s->pending;
    s->pending_valid = false;
    return true;
}

/* --- TLB --- */

bool mmu_space_next(const struct mmu_context *m, uint32_t *cursor, struct mmu_space_line *line)
{
    const struct tlb *t = m->tlb;
    const struct mmu_space *s;

    if (t->shadow == NULL && *cursor <= t->space->number)
        *cursor = t->space->number; /* policy `flush`: one for all roots, whatever else there was */
    else if (t->shadow == NULL)
        return false;
    if (*cursor >= t->space_count)
        return false;
    s = t->spaces[*cursor];
    *line = (struct mmu_space_line){
        .number = s->number,
        .current = s == t->space,
        .common = s->number == TLB_COMMON,
        .root = t->shadow != NULL ? s->root : m->cr3 & 0x000ffffffffff000u,
        .paging = walk_mode_word(t->shadow != NULL ? s->role.mode : mmu_walk_mode(m)),
    };
    ++*cursor;
    return true;
}

/* The tables of a view; NULL: the space has none of its own. */
static const struct tlb_table *view_table(const struct mmu_context *m, uint32_t space,
                                          enum tlb_view view)
{
    const struct mmu_space *s =
        space == MMU_SPACE_CURRENT ? tlb_owner(m->tlb, view) : m->tlb->spaces[space];

    return tlb_has_table(s, view) ? &s->tables[view] : NULL;
}

bool mmu_tlb_next(const struct mmu_context *m, uint32_t space, uint32_t *cursor,
                  struct mmu_tlb_line *line)
{
    static const char *const backings[] = {
        [TLB_BACKING_RAM] = "ram",
        [TLB_BACKING_ROM] = "rom",
        [TLB_BACKING_IO] = "io",
        [TLB_BACKING_CODE] = "smram",
    };

    for (; *cursor < TLB_VIEW_COUNT * TLB_SIZE; ++*cursor) {
        enum tlb_view view = (enum tlb_view)(*cursor / TLB_SIZE);
        const struct tlb_table *table = view_table(m, space, view);
        const struct tlb_side *side = table != NULL ? &table->side[*cursor % TLB_SIZE] : NULL;
        const struct tlb_entry *e;

        if (side == NULL || !tlb_side_live(side))
            continue;
        e = &table->entries[*cursor % TLB_SIZE];
        *line = (struct mmu_tlb_line){
            .view = view,
            .page = gva(side->page),
            .to = side->to,
            .at = side->backing == TLB_BACKING_IO ? mpa(side->to.page.v)
                                                  : mpa((uint64_t)side->frame << PAGE_SHIFT),
            .backing = backings[side->backing],
            .tags = (uint8_t)((e->read_tag != TLB_NO_TAG ? BIT(MMU_READ) : 0) |
                              (e->write_tag != TLB_NO_TAG ? BIT(MMU_WRITE) : 0) |
                              (e->exec_tag != TLB_NO_TAG ? BIT(MMU_FETCH) : 0)),
        };
        ++*cursor;
        return true;
    }
    return false;
}
