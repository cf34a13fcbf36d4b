/* Machine check: what an error leaves in its bank, and whether #MC follows. */
#include "cpu/mce.h"

#include "base/log.h"
#include "cpu/cpu.h"

/* SDM 3B 16.3.2.2.1: an uncorrected error is never lost to a later one,
 * a corrected one is to an uncorrected. */
static void bank_log(struct mce_bank *b, const struct mce_error *e, bool enabled)
{
    uint64_t status = e->status & ~(MCI_STATUS_OVER | MCI_STATUS_EN);
    bool occupied = b->status & MCI_STATUS_VAL;

    if (occupied && ((b->status & MCI_STATUS_UC) || !(status & MCI_STATUS_UC))) {
        b->status |= MCI_STATUS_OVER;
        return;
    }
    status |= MCI_STATUS_VAL;
    status |= occupied ? MCI_STATUS_OVER : 0;
    status |= enabled ? MCI_STATUS_EN : 0;
    b->status = status;
    b->addr = status & MCI_STATUS_ADDRV ? e->addr : 0;
    b->misc = status & MCI_STATUS_MISCV ? e->misc : 0;
}

static bool deliverable(const struct vcpu *cpu)
{
    return (cpu->mmu.cr4 & CR4_MCE) && !(cpu->msr.mcg_status & MCG_STATUS_MCIP);
}

enum mce_outcome mce_inject(struct vcpu *cpu, const struct mce_error *e)
{
    bool enabled;

    if (e->bank >= MCE_BANK_COUNT)
        return MCE_NO_BANK;
    enabled = cpu->msr.mc[e->bank].ctl != 0 && cpu->msr.mcg_ctl != 0;
    bank_log(&cpu->msr.mc[e->bank], e, enabled);
    LOG(cpu->log, LOG_INT, "cpu%u: machine check, bank %u status %#llx addr %#llx misc %#llx\n",
        cpu->index, e->bank, (unsigned long long)e->status, (unsigned long long)e->addr,
        (unsigned long long)e->misc);
    if (!enabled || !(e->status & MCI_STATUS_UC))
        return MCE_LOGGED;
    cpu->msr.mcg_next = (e->ripv ? MCG_STATUS_RIPV : 0) | (e->eipv ? MCG_STATUS_EIPV : 0);
    vcpu_signal(cpu, VCPU_PENDING_MCE, 0);
    return deliverable(cpu) ? MCE_RAISED : MCE_SHUTDOWN;
}

bool mce_begin(struct vcpu *cpu)
{
    bool can = deliverable(cpu);

    vcpu_signal(cpu, 0, VCPU_PENDING_MCE);
    cpu->msr.mcg_status = cpu->msr.mcg_next | MCG_STATUS_MCIP;
    return can;
}
