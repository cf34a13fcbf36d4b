/* The context: reset state, control registers, privilege, invalidations, watches. */
#include "base/check.h"
#include "base/host/host.h"
#include "base/log.h"
#include "mmu/coherency.h"
#include "mmu/safepoint.h"
#include "mmu/shadow.h"
#include "mmu/tlb.h"

#include <string.h>

#define CR0_RESET   0x60000010u /* SDM 3A table 9-1 */
#define CR3_NOFLUSH BIT64(63)

static enum tlb_view current_view(const struct mmu_context *m)
{
    if (m->cpl == 3)
        return TLB_VIEW_USER;
    return m->ac && (m->cr4 & CR4_SMAP) ? TLB_VIEW_SUPERVISOR_AC : TLB_VIEW_SUPERVISOR;
}

static void select_view(struct mmu_context *m)
{
    tlb_enter_view(m, current_view(m));
}

void mmu_init(struct mmu_context *m, struct bus *bus, struct machine_memory *memory,
              struct log *log, unsigned vcpu)
{
    machine_memory_reserve_vcpu(memory, vcpu);
    memset(m, 0, sizeof(*m));
    m->cr0 = CR0_RESET;
    m->physical_bits = 40;
    m->a20_mask = UINT64_MAX;
    m->bus = bus;
    m->p2m = bus_p2m(bus);
    m->memory = memory;
    m->log = log;
    m->vcpu = vcpu;
    m->tlb = tlb_create();
    m->safepoint = mmu_safepoint_create();
    memory->contexts[vcpu] = m;
    memory->context_end = MAX(memory->context_end, vcpu + 1);
    mmu_configure(m, &mmu_default_options);
}

void mmu_destroy(struct mmu_context *m)
{
    if (m->tlb == NULL)
        return;
    if (m->memory->contexts[m->vcpu] == m)
        m->memory->contexts[m->vcpu] = NULL;
    mmu_drop_derived(m, MMU_CAUSE_TOOL);
    shadow_detach(m);
    if (m->memory->channels[m->vcpu] != NULL)
        host_free_lazy(m->memory->channels[m->vcpu],
                       PATCH_PRODUCERS * sizeof(struct patch_channel));
    m->memory->channels[m->vcpu] = NULL;
    mmu_safepoint_destroy(m->safepoint);
    m->safepoint = NULL;
    tlb_destroy(m->tlb);
    m->tlb = NULL;
    m->table = NULL;
}

/* --- Coherency events --- */

/* Policy `flush`: drops what the guest asks for. The others: nothing goes but globals that all
 * spaces share, for all of it is made coherent. */
static void flush(struct mmu_context *m, bool globals, enum mmu_event_cause cause)
{
    unsigned dropped;

    if (m->tlb->shadow != NULL) {
        if (globals)
            tlb_flush(m, true);
        coherency_event(m, cause);
        return;
    }
    dropped = tlb_flush(m, globals);
    if (m->log != NULL)
        LOG(m->log, LOG_MMU, "cpu%u: %s flushes %u TLB entries\n", m->vcpu, mmu_cause_word(cause),
            dropped);
    MMU_EMIT(m, TLB_FLUSH, .cause = (uint8_t)cause, .count = dropped);
}

static unsigned drop_page(struct mmu_context *m, uint64_t address, enum mmu_event_cause cause)
{
    m->page_invalidations++;
    if (m->tlb->shadow != NULL)
        coherency_event(m, cause);
    return tlb_drop_page(m, address);
}

static uint64_t current_pcid(const struct mmu_context *m)
{
    return m->cr4 & CR4_PCIDE ? m->cr3 & 0xfff : 0;
}

void mmu_set_cr3(struct mmu_context *m, uint64_t cr3, bool keep)
{
    uint64_t old = m->cr3, old_pcid = current_pcid(m);

    m->cr3 = cr3 & ~CR3_NOFLUSH;
    MMU_EMIT(m, CR3_LOAD, .old_entry = old, .new_entry = m->cr3);
    /* Policy `flush` has one space: what belongs to another PCID cannot be kept beside it. The
     * others make every load an event, whether it flushes or not: so it does not matter which PCID
     * a space was filled under. */
    if (m->tlb->shadow != NULL || !keep || current_pcid(m) != old_pcid)
        flush(m, false, MMU_CAUSE_CR3);
    if (m->tlb->shadow != NULL) {
        space_switch(m);
        select_view(m);
    }
}

/* Bits whose change drops all translations, globals included (SDM 3A 4.10.4.1), or gives entries
 * another meaning. */
#define CR0_FLUSH  CR0_PG
#define CR4_FLUSH  (CR4_PSE | CR4_PAE | CR4_PGE | CR4_LA57 | CR4_PCIDE | CR4_SMEP)
#define EFER_FLUSH (EFER_LMA | EFER_NXE)

void mmu_set_control(struct mmu_context *m, uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    uint64_t cr0_changed = m->cr0 ^ cr0, cr4_changed = m->cr4 ^ cr4, efer_changed = m->efer ^ efer;

    if (cr0_changed != 0)
        MMU_EMIT(m, CR0_LOAD, .old_entry = m->cr0, .new_entry = cr0);
    if (cr4_changed != 0)
        MMU_EMIT(m, CR4_LOAD, .old_entry = m->cr4, .new_entry = cr4);
    if (efer_changed != 0)
        MMU_EMIT(m, EFER_LOAD, .old_entry = m->efer, .new_entry = efer);
    m->cr0 = cr0;
    m->cr4 = cr4;
    m->efer = efer;
    if (cr0_changed & CR0_FLUSH)
        flush(m, true, MMU_CAUSE_CR0);
    else if (cr4_changed & CR4_FLUSH)
        flush(m, true, MMU_CAUSE_CR4);
    else if (efer_changed & EFER_FLUSH)
        flush(m, true, MMU_CAUSE_EFER);
    space_switch(m); /* also for PDPTE registers that were loaded again */
    if ((cr0_changed & CR0_WP) || (cr4_changed & (CR4_SMEP | CR4_SMAP | CR4_PKE)))
        tlb_retag(m);
    if (cr4_changed & CR4_SMEP)
        mmu_end_lookups(m); /* the only one of these that fetches depend on */
    select_view(m);
}

void mmu_set_privilege(struct mmu_context *m, unsigned cpl, bool ac)
{
    m->cpl = (uint8_t)cpl;
    m->ac = ac;
    select_view(m);
}

void mmu_set_pkru(struct mmu_context *m, uint32_t pkru)
{
    uint32_t old = m->pkru;

    if (old == pkru)
        return;
    m->pkru = pkru;
    MMU_EMIT(m, PKRU_LOAD, .old_entry = old, .new_entry = pkru);
    if ((m->cr4 & CR4_PKE) && (m->efer & EFER_LMA))
        tlb_retag(m);
}

void mmu_set_slow_pages(struct mmu_context *m, const uint64_t *pages, unsigned count)
{
    if (count == 0 && m->slow_page_count == 0)
        return;
    m->slow_pages = pages;
    m->slow_page_count = count;
    tlb_retag(m);
}

void mmu_set_all_slow(struct mmu_context *m, bool all_slow)
{
    if (all_slow && m->tlb->empty == NULL) {
        m->tlb->empty = host_alloc_lazy(TLB_SIZE * sizeof(*m->tlb->empty));
        memset(m->tlb->empty, 0xff, TLB_SIZE * sizeof(*m->tlb->empty));
    }
    m->all_slow = all_slow;
    select_view(m);
}

void mmu_set_a20(struct mmu_context *m, bool enabled)
{
    uint64_t mask = enabled ? UINT64_MAX : ~BIT64(20);

    if (mask == m->a20_mask)
        return;
    m->a20_mask = mask;
    mmu_drop_derived(m, MMU_CAUSE_A20);
    space_switch(m);
    select_view(m);
}

void mmu_set_smram(struct mmu_context *m, enum mmu_smram smram)
{
    if (smram == m->smram)
        return;
    m->smram = smram;
    mmu_drop_derived(m, MMU_CAUSE_SMM);
    space_switch(m);
    select_view(m);
}

void mmu_invlpg(struct mmu_context *m, gva_t address)
{
    unsigned dropped = drop_page(m, address.v, MMU_CAUSE_INVLPG);

    MMU_EMIT(m, INVLPG, .gva = address.v, .count = dropped);
}

void mmu_invpcid(struct mmu_context *m, unsigned type, uint64_t pcid, gva_t address)
{
    bool current = pcid == current_pcid(m);

    MMU_EMIT(m, INVPCID, .gva = address.v, .new_entry = pcid, .count = type);
    if (m->tlb->shadow != NULL) {
        m->page_invalidations += type == 0;
        flush(m, type == 2, MMU_CAUSE_INVPCID);
        return;
    }
    switch (type) {
    case 0: /* one address of a PCID; nothing is kept of any but the current one */
        if (current)
            drop_page(m, address.v, MMU_CAUSE_INVPCID);
        break;
    case 1: /* one PCID, but globals */
        if (current)
            flush(m, false, MMU_CAUSE_INVPCID);
        break;
    default: /* 2: all; 3: all but globals */
        flush(m, type == 2, MMU_CAUSE_INVPCID);
        break;
    }
}

void mmu_flush_all(struct mmu_context *m)
{
    mmu_restart_answers(m);
    mmu_drop_derived(m, MMU_CAUSE_TOOL);
    space_switch(m);
    select_view(m);
}
