/*
 * Breakpoints and watchpoints: those that the guest sets in DR0-DR3, and any number that a debugger
 * on the host sets. Nothing is ever patched into guest memory.
 *
 *   execution  blocks end before an address whose page offset some point has, and the block that
 *              begins there is never chained to: the run loop looks at the point when it gets there
 *   data       pages with a point have no TLB tags, so that every access takes the slow path, which
 *              looks (cpu/mem.c); a hit runs the instruction again as a block of its own, and the
 *              trap comes when it has completed
 *   I/O        looked at by IN, OUT, INS, OUTS
 *
 * With no point set nothing of this costs anything. Source: Intel SDM volume 3B, chapter 17.
 */
#ifndef CPU_DEBUG_H
#define CPU_DEBUG_H

#include <stdbool.h>
#include <stdint.h>

struct block;
struct insn;
struct vcpu;

enum debug_kind {
    DEBUG_NONE,
    DEBUG_EXEC,
    DEBUG_WRITE,
    DEBUG_READ,
    DEBUG_ACCESS, /* reads and writes */
    DEBUG_IO,
};

#define DEBUG_HOST    0x80 /* owner: from here on, a tool on the host */
#define DEBUG_ANY_CR3 UINT64_MAX

struct debug_point {
    uint64_t address; /* linear; physical if so marked; or a port */
    uint64_t length;  /* bytes; of execution points 1 */
    uint64_t cr3;     /* only while CR3's table is this one; DEBUG_ANY_CR3: always */
    uint8_t kind;     /* enum debug_kind */
    uint8_t owner;    /* 0 to 3: DRn; DEBUG_HOST and above: a tool's own number */
    bool physical;    /* execution points only: address is guest physical */
};

/* Why vcpu_run returned VCPU_EXIT_DEBUG. */
struct debug_stop {
    uint8_t kind;     /* of the point; DEBUG_NONE: no stop is due */
    uint64_t address; /* that was accessed, or of the instruction */
};

struct debug {
    struct debug_point *points;
    unsigned count, capacity;
    unsigned exec_count, data_count, io_count;
    uint64_t *slow_pages; /* what mmu.slow_pages points to */
    uint32_t hits;        /* DR6 bits of the traps that the last instruction earned */
    struct debug_stop stop;
    uint64_t passed; /* instruction count at which host execution points were reported */
};

/* Adds and removes a host point: vCPU's thread, between two calls of vcpu_run. Removal answers
 * false if there is no such point. */
void debug_add(struct vcpu *cpu, const struct debug_point *point);
bool debug_remove(struct vcpu *cpu, const struct debug_point *point);

/* After DR0-DR3 or DR7 changed. At a block boundary or in an instruction that ends its block. */
void debug_registers_changed(struct vcpu *cpu);

void debug_destroy(struct vcpu *cpu);

/* Does any execution point have this offset in its page? */
bool debug_exec_at(const struct vcpu *cpu, unsigned offset);

/* Raises #DB for a point of the guest's at this linear address: breakpoints come before all faults
 * of fetching and decoding (SDM 3A table 6-2). Does nothing where a host point is, too. */
void debug_exec_early(struct vcpu *cpu, uint64_t linear);

/* The run loop is about to enter a block that begins at such an offset. Raises #DB for a point of
 * the guest's; returns true if a host point hits: vcpu_run returns. */
bool debug_exec(struct vcpu *cpu, const struct block *b);

/* Branch records (SDM 3B 17.4): one pair of MSRs for the last branch, one for the last before an
 * exception or interrupt, as offsets in the code segment. While IA32_DEBUGCTL.LBR is set, every
 * instruction runs by itself (VCPU_ATTENTION_RECORD). INT n, INT3 and INTO count as branches; a
 * conditional branch to the next instruction is not seen as one. */
void debug_control_changed(struct vcpu *cpu);
void debug_record_branch(struct vcpu *cpu, uint64_t from, uint64_t to);
/* An event has been delivered that came at `from`. */
void debug_record_event(struct vcpu *cpu, uint64_t from);
/* #DB is about to be delivered: LBR and BTF are cleared, nothing is recorded. */
void debug_control_stop(struct vcpu *cpu);

/* Notes an access of the running instruction; may restart it (cpu_restart). Before the access. */
void debug_data(struct vcpu *cpu, const struct insn *i, uint64_t linear, unsigned size, bool write);
void debug_io(struct vcpu *cpu, uint16_t port, unsigned size);

#endif
