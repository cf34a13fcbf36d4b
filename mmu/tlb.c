#include "mmu/tlb.h"

#include "base/host/host.h"
#include "base/log.h"
#include "mmu/coherency.h"
#include "mmu/frame_set.h"
#include "mmu/guest_access.h"
#include "mmu/shadow.h"

#include <string.h>

#define WALKS_MAX 4u /* for one miss, while others store to the tables */

static unsigned large_kind(unsigned shift)
{
    return shift == 21 ? 0 : shift == 22 ? 1 : 2;
}

struct tlb *tlb_create(void)
{
    struct tlb *t = host_alloc_lazy(sizeof(*t));

    memset(t->chains, 0xff, sizeof(t->chains));
    t->generation[0] = t->generation[1] = 1; /* entries of generation 0 are empty */
    space_create(t);                         /* the common one */
    t->space = space_create(t);
    return t;
}

void tlb_destroy(struct tlb *t)
{
    if (t == NULL)
        return;
    for (unsigned n = 0; n < t->space_count; n++)
        space_destroy(t->spaces[n]);
    if (t->empty != NULL)
        host_free_lazy(t->empty, TLB_SIZE * sizeof(*t->empty));
    host_free_lazy(t, sizeof(*t));
}

static unsigned slot_index(uint64_t address)
{
    return (address >> PAGE_SHIFT) & (TLB_SIZE - 1);
}

/* --- Chains: from a frame to the slots that may be writable --- */

static uint32_t *chain_of(struct tlb *t, uint64_t frame)
{
    return &t->chains[frame & (TLB_CHAINS - 1)];
}

static struct tlb_table *table_at(struct tlb *t, uint32_t slot)
{
    uint32_t table = slot / TLB_SIZE;

    return &t->spaces[table / TLB_VIEW_COUNT]->tables[table % TLB_VIEW_COUNT];
}

static struct tlb_side *side_at(struct tlb *t, uint32_t slot)
{
    return &table_at(t, slot)->side[slot % TLB_SIZE];
}

/* The machine address behind a slot. */
static mpa_t side_mpa(const struct tlb_side *side)
{
    return mpa((uint64_t)side->frame << PAGE_SHIFT);
}

static void link_slot(struct tlb *t, uint32_t slot)
{
    struct tlb_side *side = side_at(t, slot);
    uint32_t *head = chain_of(t, side->frame);

    side->next = *head;
    side->prev = TLB_NO_SLOT;
    side->linked = true;
    if (*head != TLB_NO_SLOT)
        side_at(t, *head)->prev = slot;
    *head = slot;
}

static void unlink_slot(struct tlb *t, struct tlb_side *side)
{
    if (side->prev != TLB_NO_SLOT)
        side_at(t, side->prev)->next = side->next;
    else
        *chain_of(t, side->frame) = side->next;
    if (side->next != TLB_NO_SLOT)
        side_at(t, side->next)->prev = side->prev;
    side->linked = false;
}

void tlb_revoke_write(struct mmu_context *m, mpa_t frame)
{
    struct tlb *t = m->tlb;
    uint32_t slot = *chain_of(t, mpa_frame(frame));

    while (slot != TLB_NO_SLOT) {
        struct tlb_side *side = side_at(t, slot);
        struct tlb_entry *e = &table_at(t, slot)->entries[slot % TLB_SIZE];

        if (side->frame == mpa_frame(frame) && e->write_tag != TLB_NO_TAG) {
            e->write_tag = TLB_NO_TAG;
            MMU_EMIT(m, WATCH_REVOKE, .mpa = frame.v, .gva = side->page,
                     .view = (uint8_t)(slot / TLB_SIZE % TLB_VIEW_COUNT));
        }
        slot = side->next;
    }
}

/* --- Slots --- */

static uint32_t *large_live(struct tlb *t, uint64_t address, unsigned shift)
{
    /* Hashed, for a kernel's direct map is a run of such pages as long as any table. */
    uint64_t key = (address >> shift) * 0x9e3779b97f4a7c15u;

    return &t->large_live[large_kind(shift)][key >> 32 & (TLB_LARGE_LIVE - 1)];
}

/* Empties a slot that holds something. Returns true if it could be executed from. */
static bool clear_slot(struct tlb *t, struct mmu_space *space, enum tlb_view view, unsigned index)
{
    struct tlb_entry *e = &space->tables[view].entries[index];
    struct tlb_side *side = &space->tables[view].side[index];
    bool exec = e->exec_tag != TLB_NO_TAG;

    if (side->linked)
        unlink_slot(t, side);
    if (side->to.shift != PAGE_SHIFT)
        --*large_live(t, side->page, side->to.shift);
    e->read_tag = e->write_tag = e->exec_tag = TLB_NO_TAG;
    side->to.shift = 0;
    return exec;
}

/* Must every access to the linear page take the slow way? */
static bool is_slow_page(const struct mmu_context *m, uint64_t page)
{
    for (unsigned n = 0; n < m->slow_page_count; n++)
        if (m->slow_pages[n] == page)
            return true;
    return false;
}

/*
 * Gives the slot a write tag if a store may go to the frame without anybody hearing of it. The
 * holder is entered before the watch bits are tested, and a watch sets its bit before it reads the
 * holders: one of the two sees the other.
 */
static void grant_write(struct mmu_context *m, struct mmu_space *space, enum tlb_view view,
                        unsigned index)
{
    struct tlb_entry *e = &space->tables[view].entries[index];
    struct tlb_side *side = &space->tables[view].side[index];
    struct frame *frame;

    if (side->backing != TLB_BACKING_RAM || !(side->allowed & BIT(MMU_WRITE)) || !side->to.dirty ||
        is_slow_page(m, side->page))
        return;
    frame = machine_memory_frame(m->memory, side_mpa(side));
    if (atomic_load_explicit(&frame->watch, memory_order_relaxed) != 0)
        return;
    frame_set_add(m->memory, side_mpa(side), FRAME_HOLDERS, m->vcpu);
    if (atomic_load(&frame->watch) != 0) {
        tlb_revoke_write(m, side_mpa(side));
        frame_set_remove(m->memory, side_mpa(side), FRAME_HOLDERS, m->vcpu);
        return;
    }
    e->write_tag = side->page;
    if (!side->linked)
        link_slot(m->tlb, tlb_slot_number(space, view, index));
}

/* Derives the tags of a slot from its side; an exec tag is only taken away here. */
static void set_tags(struct mmu_context *m, struct mmu_space *space, enum tlb_view view,
                     unsigned index)
{
    struct tlb_entry *e = &space->tables[view].entries[index];
    struct tlb_side *side = &space->tables[view].side[index];

    side->allowed = (uint8_t)mmu_rights_allowed(m, view, &side->to);
    e->read_tag = e->write_tag = TLB_NO_TAG;
    if (side->backing < TLB_BACKING_IO && (side->allowed & BIT(MMU_READ)) &&
        !is_slow_page(m, side->page))
        e->read_tag = side->page;
    grant_write(m, space, view, index);
    if (e->exec_tag != TLB_NO_TAG && !(side->allowed & BIT(MMU_FETCH))) {
        e->exec_tag = TLB_NO_TAG;
        tlb_lose_exec(space, view, side);
    }
}

/* What is behind the page, and where: at is left where there is only the bus. */
static enum tlb_backing backing_of(const struct mmu_context *m, gpa_t page, mpa_t *at)
{
    switch (mmu_locate(m, page, MMU_READ, at)) {
    case FRAME_RAM:
        return TLB_BACKING_RAM;
    case FRAME_ROM:
        return TLB_BACKING_ROM;
    default:
        return mmu_locate(m, page, MMU_FETCH, at) == FRAME_RAM ? TLB_BACKING_CODE : TLB_BACKING_IO;
    }
}

static void log_slot(struct tlb_table *table, unsigned index, bool global)
{
    struct tlb_log *log = &table->log[global];

    if (table->side[index].logged & BIT(global))
        return;
    table->side[index].logged |= BIT(global);
    log->slots[log->count++] = (uint16_t)index;
}

/* The space to fill a slot in. */
static struct mmu_space *space_to_fill(struct mmu_context *m, enum tlb_view view, bool global)
{
    struct mmu_space *space = tlb_owner(m->tlb, view);

    if (space->number != TLB_COMMON || global ||
        space->tables[view].log[false].count < TLB_COMMON_MAX)
        return space;
    tlb_leave_common(m);
    space_make_own(m->tlb->space);
    tlb_enter_view(m, m->view);
    return m->tlb->space;
}

static struct tlb_side *fill_slot(struct mmu_context *m, enum tlb_view view, uint64_t page,
                                  const struct mmu_translation *to)
{
    struct mmu_space *space = space_to_fill(m, view, to->global);
    struct tlb_table *table = &space->tables[view];
    unsigned index = slot_index(page);
    struct tlb_entry *e = &table->entries[index];
    struct tlb_side *side = &table->side[index];
    bool had_exec = false;
    mpa_t at;

    if (tlb_side_live(side)) {
        bool same = side->page == page && side->to.page.v == to->page.v &&
                    side->to.shift == to->shift && side->to.global == to->global;

        if (side->page != page)
            MMU_EMIT(m, TLB_EVICT, .gva = side->page, .gpa = side->to.page.v,
                     .view = (uint8_t)view);
        if (e->exec_tag != TLB_NO_TAG && !same)
            tlb_lose_exec(space, view, side);
        had_exec = clear_slot(m->tlb, space, view, index) && same;
    }
    m->fills++;
    side->page = page;
    side->to = *to;
    side->backing = (uint8_t)backing_of(m, to->page, &at);
    side->frame = (uint32_t)mpa_frame(at);
    if (to->shift != PAGE_SHIFT)
        ++*large_live(m->tlb, page, to->shift);
    log_slot(table, index, to->global);
    if (side->backing != TLB_BACKING_IO)
        e->addend = (uint64_t)(uintptr_t)machine_memory_host(m->memory, at) - page;
    if (unlikely(m->p2m != NULL)) {
        m->stats.compositions++;
        link_slot(m->tlb, tlb_slot_number(space, view, index));
    }
    if (had_exec)
        e->exec_tag = page;
    set_tags(m, space, view, index);
    MMU_EMIT(m, TLB_FILL, .gva = page, .gpa = to->page.v, .rights = to->rights, .shift = to->shift,
             .view = (uint8_t)view);
    return side;
}

/* --- Second level --- */

/* Pages that share a slot of the first level have places of their own here. */
static struct tlb_second *second_slot(struct tlb *t, uint64_t address, unsigned shift)
{
    uint64_t page = address >> PAGE_SHIFT;

    if (shift == PAGE_SHIFT)
        return &t->second[(page ^ page >> TLB_SIZE_LOG2) & (TLB_SECOND_SIZE - 1)];
    return &t->large[large_kind(shift)][address >> shift & (TLB_LARGE_SIZE - 1)];
}

/* The entry that translates the address with pages of the size, or NULL. */
static struct tlb_second *second_find_size(struct tlb *t, uint64_t address, unsigned shift)
{
    struct tlb_second *s = second_slot(t, address, shift);

    if (s->page == tlb_page_base(address, shift) && s->generation == t->generation[s->to.global])
        return s;
    return NULL;
}

static bool second_find(struct mmu_context *m, uint64_t address, struct mmu_translation *to)
{
    struct tlb_second *s = second_find_size(m->tlb, address, PAGE_SHIFT);

    for (unsigned i = 0; s == NULL && i < TLB_LARGE_KINDS; i++)
        s = second_find_size(m->tlb, address, tlb_large_shifts[i]);
    if (s == NULL)
        return false;
    *to = s->to;
    to->page.v |= address & PAGE_MASK & (BIT64(to->shift) - 1);
    to->page.v &= m->a20_mask;
    return true;
}

static void second_drop(struct tlb *t, uint64_t address)
{
    struct tlb_second *s = second_find_size(t, address, PAGE_SHIFT);

    if (s != NULL)
        s->generation = 0;
    for (unsigned i = 0; i < TLB_LARGE_KINDS; i++) {
        s = second_find_size(t, address, tlb_large_shifts[i]);
        if (s != NULL)
            s->generation = 0;
    }
}

/* Enters a walk's result; nothing else translates the page afterwards. */
static void second_fill(struct tlb *t, uint64_t address, const struct mmu_translation *to)
{
    struct tlb_second *s = second_slot(t, address, to->shift);

    second_drop(t, address);
    s->page = tlb_page_base(address, to->shift);
    s->generation = t->generation[to->global];
    s->to = *to;
    s->to.page.v = tlb_page_base(to->page.v, to->shift);
}

/* --- Slots without a trace --- */

/* The slot of the page is good until the next coherency event. */
static void note_transient(struct tlb *t, uint64_t page)
{
    t->transient_fills++;
    if (t->transient_count++ < TLB_TRANSIENT_MAX)
        t->transient[t->transient_count - 1] = (struct tlb_transient){t->space->number, page};
}

/* --- Translation --- */

static enum mmu_status fault_of(struct mmu_context *m, const struct mmu_walk *w,
                                struct mmu_fault *fault)
{
    fault->address = w->address;
    fault->error_code = w->error_code;
    if (w->outcome == WALK_RESTART)
        return MMU_RESTART;
    if (w->outcome == WALK_NOT_CANONICAL)
        return MMU_NOT_CANONICAL;
    if (m->log != NULL && log_on(m->log, LOG_MMU))
        mmu_walk_print(m->log->stream, w);
    tlb_drop_page(m, w->address.v);
    if (m->tlb->shadow != NULL)
        coherency_event(m, MMU_CAUSE_FAULT);
    MMU_EMIT(m, PAGE_FAULT, .gva = w->address.v, .access = (uint8_t)w->access,
             .view = (uint8_t)w->view, .error = w->error_code,
             .cause = w->outcome == WALK_NOT_PRESENT ? MMU_CAUSE_NOT_PRESENT
                      : w->outcome == WALK_RESERVED  ? MMU_CAUSE_RESERVED
                                                     : MMU_CAUSE_DENIED);
    return MMU_PAGE_FAULT;
}

/* May the access use the translation as it was cached? A store to a clean page must set D first. */
static bool usable(unsigned allowed, const struct mmu_translation *to, enum mmu_access access)
{
    return (allowed & BIT(access)) && (access != MMU_WRITE || to->dirty);
}

/* The access is to fault because the entry at `at` is known to be absent. */
static enum mmu_status known_absent(struct mmu_context *m, uint64_t address, enum mmu_access access,
                                    enum tlb_view view, struct mmu_fault *fault)
{
    struct mmu_walk w = {
        .address = gva(address), .access = access, .view = view, .outcome = WALK_NOT_PRESENT};

    m->stats.faults_known++;
    w.mode = mmu_walk_mode(m);
    w.error_code = mmu_walk_error_code(m, &w);
    return fault_of(m, &w, fault);
}

/* Is the entry absent in memory, too? */
static bool is_absent(const struct mmu_context *m, mpa_t at)
{
    return !(guest_load8(machine_memory_host(m->memory, at)) & PTE_P);
}

/* Asks the shadow pages. SHADOW_FAULT: the entry is absent in memory, too, and no patch says
 * otherwise. */
static enum shadow_answer ask_shadow(struct mmu_context *m, uint64_t address,
                                     struct mmu_translation *to)
{
    enum shadow_answer answer;
    mpa_t at;

    answer = shadow_find(m, address, to, &at);
    if (answer != SHADOW_FAULT)
        return answer;
    coherency_catch_up(m);
    answer = shadow_find(m, address, to, &at);
    return answer == SHADOW_FAULT && !is_absent(m, at) ? SHADOW_MISS : answer;
}

/* Walks with all patches taken that say what the walk may have read: false if there were more and
 * more of them, so that nothing of it can be put beside what was derived before. */
static bool walk_at_once(struct mmu_context *m, uint64_t address, enum mmu_access access,
                         enum tlb_view view, struct mmu_walk *w)
{
    for (unsigned n = 0; n < WALKS_MAX; n++) {
        coherency_catch_up(m);
        mmu_walk(m, gva(address), access, view, w);
        if (atomic_load(&m->pending) == 0)
            return true;
    }
    return false;
}

static enum mmu_status walk_and_fill(struct mmu_context *m, uint64_t address,
                                     enum mmu_access access, enum tlb_view view,
                                     struct tlb_side **side, struct mmu_fault *fault)
{
    bool paging = m->cr0 & CR0_PG, kept = true;
    struct mmu_walk w;

    if (m->tlb->shadow != NULL)
        kept = walk_at_once(m, address, access, view, &w);
    else
        mmu_walk(m, gva(address), access, view, &w);
    if (w.outcome == WALK_RESTART || w.outcome == WALK_NOT_CANONICAL)
        return fault_of(m, &w, fault);
    if (m->tlb->shadow != NULL && paging)
        kept = kept && shadow_learn(m, &w);
    if (w.outcome != WALK_OK)
        return fault_of(m, &w, fault);
    if (m->tlb->shadow == NULL && paging)
        second_fill(m->tlb, address, &w.mapping);
    *side = fill_slot(m, view, address & PAGE_MASK, &w.mapping);
    if (!kept)
        note_transient(m->tlb, address & PAGE_MASK);
    return MMU_OK;
}

/* Finds the translation beyond the slot and fills the slot with it. */
static enum mmu_status refill(struct mmu_context *m, uint64_t address, enum mmu_access access,
                              enum tlb_view view, struct tlb_side **side, struct mmu_fault *fault)
{
    enum shadow_answer answer = SHADOW_MISS;
    struct mmu_translation to;

    if (m->cr0 & CR0_PG) {
        if (m->tlb->shadow != NULL)
            answer = ask_shadow(m, address, &to);
        else if (second_find(m, address, &to))
            answer = SHADOW_FOUND;
    }
    if (answer == SHADOW_FAULT)
        return known_absent(m, address, access, view, fault);
    if (answer == SHADOW_FOUND && usable(mmu_rights_allowed(m, view, &to), &to, access)) {
        m->stats.shadow_fills += m->tlb->shadow != NULL;
        *side = fill_slot(m, view, address & PAGE_MASK, &to);
        return MMU_OK;
    }
    return walk_and_fill(m, address, access, view, side, fault);
}

enum mmu_status tlb_translate(struct mmu_context *m, uint64_t address, enum mmu_access access,
                              enum tlb_view view, struct tlb_place *place, struct mmu_fault *fault)
{
    struct mmu_space *space = tlb_owner(m->tlb, view);
    unsigned index = slot_index(address);
    struct tlb_side *side = &space->tables[view].side[index];
    uint64_t offset = address & ~PAGE_MASK;

    if (side->page != (address & PAGE_MASK) || !tlb_side_live(side) ||
        !usable(side->allowed, &side->to, access)) {
        enum mmu_status status = refill(m, address, access, view, &side, fault);

        if (status != MMU_OK)
            return status;
    } else if (access == MMU_WRITE) {
        grant_write(m, space, view, index); /* a watch may have gone */
    }
    if (access == MMU_FETCH && side->backing != TLB_BACKING_IO)
        tlb_owner(m->tlb, view)->tables[view].entries[index].exec_tag = side->page;
    place->backing = side->backing;
    if (unlikely(place->backing == TLB_BACKING_CODE))
        place->backing = access == MMU_FETCH ? TLB_BACKING_RAM : TLB_BACKING_IO;
    place->gpa = gpa(side->to.page.v | offset);
    place->mpa = mpa(place->gpa.v);
    place->host = NULL;
    if (place->backing != TLB_BACKING_IO) {
        place->mpa = mpa(side_mpa(side).v | offset);
        place->host = machine_memory_host(m->memory, place->mpa);
    }
    return MMU_OK;
}

/* --- Dropping --- */

/* Empties the slots of one log. */
static unsigned flush_log(struct tlb *t, struct mmu_space *space, enum tlb_view view, bool global,
                          bool *exec)
{
    struct tlb_table *table = &space->tables[view];
    struct tlb_log *log = &table->log[global];
    unsigned dropped = 0;

    for (unsigned i = 0; i < log->count; i++) {
        unsigned index = log->slots[i];
        struct tlb_side *side = &table->side[index];

        side->logged &= (uint8_t)~BIT(global);
        if (!tlb_side_live(side) || side->to.global != global)
            continue;
        *exec |= clear_slot(t, space, view, index);
        dropped++;
    }
    log->count = 0;
    return dropped;
}

/* Empties a space, or all of it but global translations. */
static unsigned flush_space(struct mmu_context *m, struct mmu_space *space, bool globals)
{
    unsigned dropped = 0;

    for (unsigned view = 0; view < TLB_VIEW_COUNT; view++) {
        const struct tlb_code *code = &space->code[view];
        bool exec = code->any_lost[0] || (globals && code->any_lost[1]);

        dropped += flush_log(m->tlb, space, view, false, &exec);
        if (globals)
            dropped += flush_log(m->tlb, space, view, true, &exec);
        if (exec)
            tlb_end_lookups(m, space, view);
    }
    return dropped;
}

/* The space in which instructions drop what they name. */
static struct mmu_space *flushed_space(struct tlb *t)
{
    return t->shadow == NULL ? t->space : t->spaces[TLB_COMMON];
}

unsigned tlb_flush(struct mmu_context *m, bool globals)
{
    m->flushes++;
    m->tlb->generation[0]++;
    if (globals)
        m->tlb->generation[1]++;
    return flush_space(m, flushed_space(m->tlb), globals);
}

void tlb_leave_common(struct mmu_context *m)
{
    flush_space(m, m->tlb->spaces[TLB_COMMON], false);
}

unsigned space_empty(struct mmu_context *m, struct mmu_space *space)
{
    return flush_space(m, space, true);
}

unsigned tlb_drop_all(struct mmu_context *m)
{
    unsigned dropped = 0;

    for (unsigned n = 0; n < m->tlb->space_count; n++)
        dropped += flush_space(m, m->tlb->spaces[n], true);
    m->flushes++;
    m->tlb->generation[0]++;
    m->tlb->generation[1]++;
    m->tlb->transient_count = 0;
    return dropped;
}

/* Drops every slot of a log that holds a page of [start, + size). */
static unsigned drop_logged(struct tlb *t, struct mmu_space *space, enum tlb_view view,
                            const struct tlb_log *log, uint64_t start, uint64_t size, bool *exec)
{
    unsigned dropped = 0;

    for (unsigned i = 0; i < log->count; i++) {
        const struct tlb_side *side = &space->tables[view].side[log->slots[i]];

        if (!tlb_side_live(side) || side->page - start >= size)
            continue;
        *exec |= clear_slot(t, space, view, log->slots[i]);
        dropped++;
    }
    return dropped;
}

/* Drops every slot of a log that holds a piece of the large page. */
static unsigned drop_pieces(struct tlb *t, struct mmu_space *space, enum tlb_view view,
                            const struct tlb_log *log, uint64_t start, unsigned shift, bool *exec)
{
    unsigned dropped = 0;

    for (unsigned i = 0; i < log->count; i++) {
        const struct tlb_side *side = &space->tables[view].side[log->slots[i]];

        if (side->to.shift != shift || tlb_page_base(side->page, shift) != start)
            continue;
        *exec |= clear_slot(t, space, view, log->slots[i]);
        dropped++;
    }
    return dropped;
}

/* Drops the slot of the page, if a view holds it. */
static unsigned drop_slot(struct tlb *t, struct mmu_space *space, enum tlb_view view, uint64_t page,
                          bool *exec)
{
    const struct tlb_side *side = &space->tables[view].side[slot_index(page)];

    if (side->page != page || !tlb_side_live(side))
        return 0;
    *exec |= clear_slot(t, space, view, slot_index(page));
    return 1;
}

/* Drops what a view holds for the page of the address, the large page around it included. */
static unsigned drop_from_view(struct tlb *t, struct mmu_space *space, enum tlb_view view,
                               uint64_t address, bool *exec)
{
    const struct tlb_table *table = &space->tables[view];
    unsigned dropped = drop_slot(t, space, view, address & PAGE_MASK, exec);

    for (unsigned i = 0; i < TLB_LARGE_KINDS; i++) {
        uint64_t start = tlb_page_base(address, tlb_large_shifts[i]);

        if (*large_live(t, address, tlb_large_shifts[i]) == 0)
            continue;
        for (unsigned k = 0; k < 2; k++)
            dropped +=
                drop_pieces(t, space, view, &table->log[k], start, tlb_large_shifts[i], exec);
    }
    return dropped;
}

unsigned tlb_drop_page(struct mmu_context *m, uint64_t address)
{
    struct tlb *t = m->tlb;
    struct mmu_space *space = flushed_space(t);
    unsigned dropped = 0;

    second_drop(t, address);
    for (unsigned view = 0; view < TLB_VIEW_COUNT; view++) {
        bool exec = tlb_exec_was_lost(&space->code[view], address);

        if (tlb_has_table(space, view))
            dropped += drop_from_view(t, space, view, address, &exec);
        if (exec)
            tlb_end_lookups(m, space, view);
    }
    return dropped;
}

/* Drops a range from a view: page by page, or slot by slot, whichever is less. */
static unsigned drop_range_from_view(struct tlb *t, struct mmu_space *space, enum tlb_view view,
                                     uint64_t start, uint64_t size, bool *exec)
{
    const struct tlb_log *log = space->tables[view].log;
    unsigned dropped = 0;

    if (size >> PAGE_SHIFT > log[0].count + log[1].count) {
        dropped += drop_logged(t, space, view, &log[0], start, size, exec);
        return dropped + drop_logged(t, space, view, &log[1], start, size, exec);
    }
    for (uint64_t page = start; page - start < size; page += PAGE_SIZE)
        dropped += drop_slot(t, space, view, page, exec);
    return dropped;
}

/* Drops what is not global. */
static void drop_common_range(struct mmu_context *m, uint64_t address, uint64_t size)
{
    struct mmu_space *space = m->tlb->spaces[TLB_COMMON];
    bool exec = space->code[TLB_VIEW_SUPERVISOR].any_lost[0];

    if (size >= BIT64(47)) { /* both halves of the address space */
        m->stats.slots_dropped += flush_space(m, space, false);
        return;
    }
    m->stats.slots_dropped +=
        drop_logged(m->tlb, space, TLB_VIEW_SUPERVISOR,
                    &space->tables[TLB_VIEW_SUPERVISOR].log[false], address, size, &exec);
    if (exec)
        tlb_end_lookups(m, space, TLB_VIEW_SUPERVISOR);
}

void tlb_drop_range(struct mmu_context *m, uint64_t spaces, uint64_t address, uint64_t size)
{
    const struct mmu_space *current = m->tlb->space;

    if (!current->own && (spaces & BIT64(current->number)))
        drop_common_range(m, address, size);
    for (; spaces != 0; spaces &= spaces - 1) {
        struct mmu_space *space = m->tlb->spaces[__builtin_ctzll(spaces)];

        if (size >= BIT64(47)) { /* both halves of the address space */
            m->stats.slots_dropped += flush_space(m, space, true);
            continue;
        }
        for (unsigned view = 0; view < TLB_VIEW_COUNT; view++) {
            const struct tlb_code *code = &space->code[view];
            bool exec = size == PAGE_SIZE ? tlb_exec_was_lost(code, address)
                                          : code->any_lost[0] || code->any_lost[1];

            if (tlb_has_table(space, view))
                m->stats.slots_dropped +=
                    drop_range_from_view(m->tlb, space, view, address, size, &exec);
            if (exec)
                tlb_end_lookups(m, space, view);
        }
    }
}

void tlb_drop_gpa(struct mmu_context *m, gpa_t page, mpa_t frame)
{
    struct tlb *t = m->tlb;

    for (uint32_t slot = *chain_of(t, mpa_frame(frame)), next; slot != TLB_NO_SLOT; slot = next) {
        const struct tlb_side *side = side_at(t, slot);
        uint32_t table = slot / TLB_SIZE;

        next = side->next;
        if (side->to.page.v != page.v)
            continue;
        clear_slot(t, t->spaces[table / TLB_VIEW_COUNT], table % TLB_VIEW_COUNT, slot % TLB_SIZE);
        m->stats.p2m_dropped++;
    }
}

void tlb_drop_transient(struct mmu_context *m)
{
    struct tlb *t = m->tlb;
    unsigned count = MIN(t->transient_count, TLB_TRANSIENT_MAX);

    if (t->transient_count > TLB_TRANSIENT_MAX)
        mmu_drop_derived(m, MMU_CAUSE_NO_ROOM);
    for (unsigned n = 0; n < count; n++)
        tlb_drop_range(m, BIT64(t->transient[n].space), t->transient[n].page, PAGE_SIZE);
    t->transient_count = 0;
}

/* --- Rights --- */

/* Tags of a space are derived again if rights have changed since they were made. */
static void retag_space(struct mmu_context *m, struct mmu_space *space)
{
    if (space->rights == m->tlb->rights)
        return;
    space->rights = m->tlb->rights;
    for (unsigned view = 0; view < TLB_VIEW_COUNT; view++) {
        const struct tlb_table *table = &space->tables[view];

        for (unsigned k = 0; k < 2; k++)
            for (unsigned i = 0; i < table->log[k].count; i++)
                if (tlb_side_live(&table->side[table->log[k].slots[i]]))
                    set_tags(m, space, view, table->log[k].slots[i]);
    }
}

void tlb_retag_late(struct mmu_context *m)
{
    retag_space(m, m->tlb->space);
    if (!m->tlb->space->own)
        retag_space(m, m->tlb->spaces[TLB_COMMON]);
}

void tlb_retag(struct mmu_context *m)
{
    m->tlb->rights++;
    tlb_retag_late(m);
}
