/*
 * Machine-check architecture (SDM 3B chapter 16): banks that log hardware errors, and #MC. Nothing
 * here breaks by itself: errors are injected, by a debugger or a test.
 *
 *   MCG_CAP       MCE_BANK_COUNT banks, IA32_MCG_CTL; no CMCI, no software recovery, no LMCE
 *   MCi_CTL       all 64 enable bits exist; which one stands for an injected error is nobody's
 *                 business, so any set bit enables it
 *   MCi_STATUS    and ADDR, MISC: there in every bank; survive everything but power-off
 *
 * An error that is uncorrected, enabled in its bank and by IA32_MCG_CTL raises #MC at the next
 * boundary between two instructions, before everything else (SDM 3A table 6-2). All others are only
 * logged.
 */
#ifndef CPU_MCE_H
#define CPU_MCE_H

#include "base/bits.h"

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

#define MCE_BANK_COUNT 10
#define MCG_CAP        (MCE_BANK_COUNT | MCG_CAP_CTL)
#define MCG_CAP_CTL    0x100u /* IA32_MCG_CTL exists */

#define MCG_STATUS_RIPV BIT64(0) /* the program can go on at the pushed address */
#define MCG_STATUS_EIPV BIT64(1) /* the error is the instruction's there */
#define MCG_STATUS_MCIP BIT64(2) /* #MC is in progress: another one is shutdown */

#define MCI_STATUS_VAL   BIT64(63)
#define MCI_STATUS_OVER  BIT64(62) /* another error was lost */
#define MCI_STATUS_UC    BIT64(61) /* uncorrected */
#define MCI_STATUS_EN    BIT64(60) /* enabled in MCi_CTL: the processor's to set */
#define MCI_STATUS_MISCV BIT64(59)
#define MCI_STATUS_ADDRV BIT64(58)

/* The registers of a bank, in the order of their MSRs. */
struct mce_bank {
    uint64_t ctl, status, addr, misc;
};

/* A hardware error. */
struct mce_error {
    unsigned bank;
    uint64_t status;     /* as IA32_MCi_STATUS; VAL, OVER and EN are set by the processor */
    uint64_t addr, misc; /* logged if status has ADDRV, MISCV */
    bool ripv, eipv;     /* of IA32_MCG_STATUS, if #MC is raised */
};

enum mce_outcome {
    MCE_NO_BANK,  /* nothing happened */
    MCE_LOGGED,
    MCE_RAISED,   /* #MC comes next */
    MCE_SHUTDOWN, /* it would, but CR4.MCE is clear or another one is in progress */
};

/* An error happens now. vCPU's thread, or between two calls of vcpu_run. */
enum mce_outcome mce_inject(struct vcpu *cpu, const struct mce_error *e);

/* For the run loop, at a boundary with VCPU_PENDING_MCE: clears it and writes IA32_MCG_STATUS.
 * Returns false if #MC cannot be delivered: the processor shuts down. */
bool mce_begin(struct vcpu *cpu);

#endif
