/* Spaces: which there are, which is current, which goes when another is wanted. */
#include "base/host/host.h"
#include "mmu/coherency.h"
#include "mmu/shadow.h"

#include <string.h>

static void add_table(struct tlb_table *table)
{
    table->entries = host_alloc_lazy(TLB_SIZE * sizeof(*table->entries));
    table->side = host_alloc_lazy(TLB_SIZE * sizeof(*table->side));
    for (unsigned global = 0; global < 2; global++)
        table->log[global].slots = host_alloc_lazy(TLB_SIZE * sizeof(uint16_t));
    memset(table->entries, 0xff, TLB_SIZE * sizeof(*table->entries));
}

struct mmu_space *space_create(struct tlb *t)
{
    struct mmu_space *space = host_alloc_lazy(sizeof(*space));

    space->number = t->space_count;
    t->spaces[t->space_count++] = space;
    for (unsigned view = 0; view < TLB_VIEW_COUNT; view++)
        if ((view == TLB_VIEW_SUPERVISOR) == (space->number == TLB_COMMON))
            add_table(&space->tables[view]);
    return space;
}

void space_make_own(struct mmu_space *space)
{
    space->own = true;
    if (!tlb_has_table(space, TLB_VIEW_SUPERVISOR))
        add_table(&space->tables[TLB_VIEW_SUPERVISOR]);
}

void space_destroy(struct mmu_space *space)
{
    for (unsigned view = 0; view < TLB_VIEW_COUNT; view++) {
        struct tlb_table *table = &space->tables[view];

        if (!tlb_has_table(space, view))
            continue;
        host_free_lazy(table->entries, TLB_SIZE * sizeof(*table->entries));
        host_free_lazy(table->side, TLB_SIZE * sizeof(*table->side));
        for (unsigned global = 0; global < 2; global++)
            host_free_lazy(table->log[global].slots, TLB_SIZE * sizeof(uint16_t));
    }
    host_free_lazy(space, sizeof(*space));
}

/* What a space is known by. */
struct key {
    uint64_t root, pdpte[4];
    struct walk_role role;
};

static struct key key_of(const struct mmu_context *m)
{
    struct key key = {.role = mmu_walk_role(m)};

    if (key.role.mode == WALK_PAGING_OFF)
        return key;
    key.root = m->cr3 & (key.role.mode == WALK_32BIT ? 0xfffff000 : 0x000ffffffffff000ull);
    if (key.role.mode == WALK_PAE) {
        key.root = m->cr3 & 0xffffffe0;
        memcpy(key.pdpte, m->pdpte, sizeof(key.pdpte));
    }
    return key;
}

static bool fits(const struct mmu_space *space, const struct key *key)
{
    return space->root == key->root && walk_roles_equal(space->role, key->role) &&
           memcmp(space->pdpte, key->pdpte, sizeof(key->pdpte)) == 0;
}

/* A space for another root: a new one, or the one that was not used for longest. */
static struct mmu_space *space_take(struct mmu_context *m, const struct key *key)
{
    struct tlb *t = m->tlb;
    struct mmu_space *space = t->spaces[TLB_COMMON + 1];

    for (unsigned n = TLB_COMMON + 2; n < t->space_count; n++)
        if (t->spaces[n]->used < space->used)
            space = t->spaces[n];
    if (space->used != 0 && t->space_count <= m->options.spaces) {
        space = space_create(t);
    } else if (space->used != 0) {
        m->stats.spaces_evicted++;
        MMU_EMIT(m, SPACE_EVICT, .old_entry = space->root, .count = space->number);
        space_empty(m, space);
        shadow_release(m, space);
    }
    space->own = false;
    space->root = key->root;
    space->role = key->role;
    memcpy(space->pdpte, key->pdpte, sizeof(space->pdpte));
    space->rights = t->rights;
    return space;
}

static void enter(struct mmu_context *m, struct mmu_space *space, bool warm)
{
    if (!m->tlb->space->own)
        tlb_leave_common(m);
    m->tlb->space = space;
    space->used = ++m->tlb->switches;
    tlb_retag_late(m);
    MMU_EMIT(m, SPACE_SWITCH, .new_entry = space->root, .count = space->number,
             .cause = warm ? MMU_CAUSE_WARM : MMU_CAUSE_COLD);
}

void space_switch(struct mmu_context *m)
{
    struct tlb *t = m->tlb;
    struct key key;

    if (t->shadow == NULL)
        return;
    key = key_of(m);
    if (fits(t->space, &key))
        return;
    m->stats.space_switches++;
    for (unsigned n = TLB_COMMON + 1; n < t->space_count; n++) {
        if (fits(t->spaces[n], &key)) {
            m->stats.space_switches_warm++;
            enter(m, t->spaces[n], true);
            return;
        }
    }
    enter(m, space_take(m, &key), false);
}
