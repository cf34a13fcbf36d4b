/* What look-up caches of code may hold, and until when. */
#include "mmu/tlb.h"

#include <string.h>

const uint8_t tlb_large_shifts[TLB_LARGE_KINDS] = {21, 22, 30};

/* The bit of a page of the size around the address. */
static unsigned lost_bit(uint64_t address, unsigned shift)
{
    uint64_t key = (tlb_page_base(address, shift) | shift) * 0x9e3779b97f4a7c15u;

    return (unsigned)(key >> 32) & (TLB_LOST_BITS - 1);
}

void tlb_lose_exec(struct mmu_space *space, enum tlb_view view, const struct tlb_side *side)
{
    struct tlb_code *code = &space->code[view];
    unsigned bit = lost_bit(side->page, side->to.shift);

    code->lost[bit / 64] |= BIT64(bit % 64);
    code->any_lost[side->to.global] = true;
}

bool tlb_exec_was_lost(const struct tlb_code *code, uint64_t address)
{
    unsigned bit = lost_bit(address, PAGE_SHIFT);

    if (!code->any_lost[0] && !code->any_lost[1])
        return false;
    if (code->lost[bit / 64] >> bit % 64 & 1)
        return true;
    for (unsigned i = 0; i < TLB_LARGE_KINDS; i++) {
        bit = lost_bit(address, tlb_large_shifts[i]);
        if (code->lost[bit / 64] >> bit % 64 & 1)
            return true;
    }
    return false;
}

void tlb_end_lookups(struct mmu_context *m, struct mmu_space *space, enum tlb_view view)
{
    struct tlb_code *code = &space->code[view];

    code->epoch = ++m->tlb->last_epoch;
    if (view == m->view && space == tlb_owner(m->tlb, view))
        m->code_epoch = code->epoch;
    if (code->any_lost[0] || code->any_lost[1])
        memset(code->lost, 0, sizeof(code->lost));
    code->any_lost[0] = code->any_lost[1] = false;
}

void mmu_end_lookups(struct mmu_context *m)
{
    struct tlb_code *code = &tlb_owner(m->tlb, m->view)->code[m->view];

    m->tlb->ended_epochs = m->tlb->last_epoch;
    m->code_epoch = code->epoch = ++m->tlb->last_epoch;
}

void tlb_enter_view(struct mmu_context *m, enum tlb_view view)
{
    struct mmu_space *space = tlb_owner(m->tlb, view);
    struct tlb_code *code = &space->code[view];

    if (unlikely(code->epoch <= m->tlb->ended_epochs))
        code->epoch = ++m->tlb->last_epoch;
    m->view = view;
    m->table = m->all_slow ? m->tlb->empty : space->tables[view].entries;
    m->code_epoch = code->epoch;
}
