/*
 * One virtual processor: architectural state, and the calls by which a machine builds, runs, stops
 * and saves it. The processor leaves to the machine only through the structs in here that the
 * machine fills (struct vcpu_platform, the bus in mmu.bus, the clock); with a zeroed platform it is
 * a bare processor without an interrupt controller.
 *
 * Threads: everything on the vCPU's own thread, except vcpu_signal.
 * Source: Intel SDM volumes 1 and 3A.
 */
#ifndef CPU_CPU_H
#define CPU_CPU_H

#include "base/bits.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/state.h"
#include "cpu/debug.h"
#include "cpu/insn.h"
#include "cpu/mce.h"
#include "cpu/topology.h"
#include "mmu/mmu.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define EFLAGS_CF   BIT(0)
#define EFLAGS_ONE  BIT(1)
#define EFLAGS_PF   BIT(2)
#define EFLAGS_AF   BIT(4)
#define EFLAGS_ZF   BIT(6)
#define EFLAGS_SF   BIT(7)
#define EFLAGS_TF   BIT(8)
#define EFLAGS_IF   BIT(9)
#define EFLAGS_DF   BIT(10)
#define EFLAGS_OF   BIT(11)
#define EFLAGS_IOPL (3u << 12)
#define EFLAGS_NT   BIT(14)
#define EFLAGS_RF   BIT(16)
#define EFLAGS_VM   BIT(17)
#define EFLAGS_AC   BIT(18)
#define EFLAGS_VIF  BIT(19)
#define EFLAGS_VIP  BIT(20)
#define EFLAGS_ID   BIT(21)
#define EFLAGS_STATUS                                                                              \
    (EFLAGS_CF | EFLAGS_PF | EFLAGS_AF | EFLAGS_ZF | EFLAGS_SF | EFLAGS_OF)

#define DR6_BD     BIT(13)
#define DR6_BS     BIT(14)
#define DR6_BT     BIT(15)
#define DEBUGCTL_LBR BIT64(0) /* record branches */
#define DEBUGCTL_BTF BIT64(1) /* single-step on branches */
#define DR6_RESET  0xffff0ff0ull /* what reads as one */
#define DR7_LOCALS 0x155ull /* L0-L3, LE */
#define DR7_GD     BIT64(13)

#define CR0_PE BIT64(0)
#define CR0_MP BIT64(1)
#define CR0_EM BIT64(2)
#define CR0_TS BIT64(3)
#define CR0_ET BIT64(4)
#define CR0_NE BIT64(5)
#define CR0_AM BIT64(18)
#define CR0_NW BIT64(29)
#define CR0_CD BIT64(30)

#define CR4_VME        BIT64(0)
#define CR4_PVI        BIT64(1)
#define CR4_TSD        BIT64(2)
#define CR4_DE         BIT64(3)
#define CR4_MCE        BIT64(6)
#define CR4_PCE        BIT64(8)
#define CR4_OSFXSR     BIT64(9)
#define CR4_OSXMMEXCPT BIT64(10)
#define CR4_UMIP       BIT64(11)
#define CR4_FSGSBASE   BIT64(16)
#define CR4_OSXSAVE    BIT64(18)

/* State components: bits of XCR0 (SDM 1 13.1). */
#define XSTATE_X87 BIT64(0)
#define XSTATE_SSE BIT64(1)
#define XSTATE_AVX BIT64(2)
#define XSTATE_OPMASK     BIT64(5)
#define XSTATE_ZMM_HI256  BIT64(6) /* upper halves of ZMM0 to ZMM15 */
#define XSTATE_HI16_ZMM   BIT64(7) /* ZMM16 to ZMM31 */
#define XSTATE_AVX512     (XSTATE_OPMASK | XSTATE_ZMM_HI256 | XSTATE_HI16_ZMM)

#define EFER_SCE BIT64(0)
#define EFER_LME BIT64(8)

/* Exceptions (SDM 3A table 6-1). */
enum exception_vector {
    EXC_DE = 0,
    EXC_DB = 1,
    EXC_NMI = 2,
    EXC_BP = 3,
    EXC_OF = 4,
    EXC_BR = 5,
    EXC_UD = 6,
    EXC_NM = 7,
    EXC_DF = 8,
    EXC_TS = 10,
    EXC_NP = 11,
    EXC_SS = 12,
    EXC_GP = 13,
    EXC_PF = 14,
    EXC_MF = 16,
    EXC_AC = 17,
    EXC_MC = 18,
    EXC_XM = 19,
};

/* A segment register with its hidden part. */
struct segment {
    uint64_t base;
    uint32_t limit;      /* in bytes, expanded by G */
    uint16_t selector;
    uint16_t attributes; /* SEGMENT_* */
    bool usable;         /* false: a null selector was loaded */
};

/* Bits 8 to 23 of a descriptor's upper half, shifted down (SDM 3A 3.4.5). */
enum segment_attributes {
    SEGMENT_TYPE = 0xf,
    SEGMENT_ACCESSED = 1 << 0,
    SEGMENT_WRITABLE = 1 << 1, /* data; readable for code */
    SEGMENT_EXPAND_DOWN = 1 << 2, /* data; conforming for code */
    SEGMENT_CODE = 1 << 3,
    SEGMENT_S = 1 << 4, /* code or data, not system */
    SEGMENT_DPL_SHIFT = 5,
    SEGMENT_PRESENT = 1 << 7,
    SEGMENT_LONG = 1 << 13,
    SEGMENT_DB = 1 << 14,
    SEGMENT_GRANULARITY = 1 << 15,
};

struct descriptor_table {
    uint64_t base;
    uint16_t limit;
};

/* A vector register, wide enough for every extension; 64-bit parts in host order, part 0 lowest.
 * Narrower lanes go through the VREG_* macros, which work on hosts of either byte order. */
union vreg {
    uint64_t q[8];
    uint32_t d_[16];
    uint16_t w_[32];
    uint8_t b_[64];
    double f64_[8];
    float f32_[16];
};

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define LANE_FLIP(n, per_quad) ((n) ^ ((per_quad)-1))
#else
#define LANE_FLIP(n, per_quad) (n)
#endif
#define VREG_B(r, n)   ((r).b_[LANE_FLIP(n, 8)])
#define VREG_W(r, n)   ((r).w_[LANE_FLIP(n, 4)])
#define VREG_D(r, n)   ((r).d_[LANE_FLIP(n, 2)])
#define VREG_F32(r, n) ((r).f32_[LANE_FLIP(n, 2)])
#define VREG_F64(r, n) ((r).f64_[n])

/* An x87 register. Layout in memory as FSTP m80 on little-endian hosts. MMX registers are the
 * significands. */
struct float80 {
    uint64_t significand;
    uint16_t sign_exponent; /* bit 15: sign */
} __attribute__((aligned(16)));

struct x87 {
    struct float80 r[8]; /* physical registers R0 to R7; ST(n) is r[(top + n) & 7] */
    uint16_t control;
    uint16_t status;     /* without TOP: bits 11 to 13 are 0 here */
    uint8_t top;         /* 0 to 7 */
    uint8_t valid;       /* bit n: physical register n is not empty */
    uint16_t opcode;     /* last instruction: 11 bits */
    uint64_t ip, dp;     /* its address and that of its operand */
    uint16_t cs, ds;
};

/* Model-specific registers that are plain storage or belong to the processor; the table of all is
 * cpu/msr.def. */
struct vcpu_msrs {
    uint64_t star, lstar, cstar, fmask;
    uint64_t kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t tsc_aux;
    uint64_t tsc_adjust;
    uint64_t pat;
    uint64_t misc_enable;
    uint64_t mtrr_def_type, mtrr_fixed[11], mtrr_base[8], mtrr_mask[8];
    uint64_t mcg_status, mcg_ctl;
    uint64_t mcg_next; /* bits of mcg_status that come with the pending #MC */
    struct mce_bank mc[MCE_BANK_COUNT];
    uint64_t feature_control;
    uint64_t microcode_rev;
    uint64_t debugctl;
    uint64_t last_branch_from, last_branch_to, last_int_from, last_int_to;
};

/* Reasons to look up from running blocks; polled at block boundaries. */
enum vcpu_pending {
    VCPU_PENDING_INTR = 1 << 0,  /* the INTR wire is up (level) */
    VCPU_PENDING_NMI = 1 << 1,
    VCPU_PENDING_SMI = 1 << 2,
    VCPU_PENDING_INIT = 1 << 3,
    VCPU_PENDING_RESET = 1 << 4, /* the machine wants vcpu_run to return: a reset was asked for */
    VCPU_PENDING_EXIT = 1 << 5,  /* vcpu_run returns at the next boundary: clock or user wants it */
    VCPU_PENDING_DROP = 1 << 6,  /* decoded blocks are to be dropped: breakpoints changed */
    VCPU_PENDING_MCE = 1 << 7,   /* mce_inject */
    VCPU_PENDING_STARTUP = 1 << 8, /* a start-up message, for the vector vcpu.startup_vector */
    VCPU_PENDING_SAFEPOINT = 1 << 9, /* another vCPU asks for something: mmu/safepoint.h */
    VCPU_PENDING_CHIPSET = 1 << 10, /* vcpu_platform.chipset is to be called */
};

/* The same, known to the vCPU's own thread only. */
enum vcpu_attention {
    VCPU_ATTENTION_HALTED = 1 << 0, /* in HLT or MWAIT */
    VCPU_ATTENTION_SHADOW = 1 << 1, /* STI, MOV SS or POP SS just ran: no interrupt before the
                                       next instruction has run */
    VCPU_ATTENTION_SINGLE = 1 << 2, /* the next instruction runs as a block of its own */
    VCPU_ATTENTION_TRAP = 1 << 3,   /* EFLAGS.TF is set */
    VCPU_ATTENTION_DEBUG = 1 << 4,  /* the last instruction hit data or I/O points: vcpu.debug */
    VCPU_ATTENTION_RESUME = 1 << 5, /* EFLAGS.RF is set: cleared by the next instruction */
    VCPU_ATTENTION_ALONE = 1 << 6,  /* a block of one instruction runs: nothing is chained to it */
    VCPU_ATTENTION_VIRTUAL = 1 << 7, /* VIF and VIP are set where they count: #GP(0) */
    VCPU_ATTENTION_SHADOW_SS = 1 << 8, /* MOV SS or POP SS just ran: no #DB either (SDM 3A 6.8.3) */
    VCPU_ATTENTION_STEPPED = 1 << 9, /* the running instruction sees to its own single-step trap */
    VCPU_ATTENTION_RECORD = 1 << 10, /* IA32_DEBUGCTL.LBR is set: look at every instruction */
    VCPU_ATTENTION_STARTUP = 1 << 11, /* waits for a start-up message; but for INIT, nothing else */
    VCPU_ATTENTION_YIELD = 1 << 12,   /* PAUSE just ran, and vcpu.yields */
};

enum vcpu_exit {
    VCPU_EXIT_BUDGET,   /* all instructions of the budget retired */
    VCPU_EXIT_HALTED,   /* HLT, MWAIT, or no start-up message yet: nothing to do until something is
                           pending */
    VCPU_EXIT_YIELD,    /* PAUSE: it waits for another processor */
    VCPU_EXIT_REQUEST,  /* VCPU_PENDING_EXIT or _RESET was set (the bits are cleared) */
    VCPU_EXIT_SHUTDOWN, /* vcpu.shutdown says why */
    VCPU_EXIT_DEBUG,    /* a point of a debugger on the host: vcpu.debug.stop */
};

/* What the machine provides. Every pointer may be NULL. Called on the vCPU's thread; the machine
 * takes its device lock inside. */
struct vcpu_platform {
    void *opaque;
    /* INTA: the vector to deliver, or -1 if the interrupt has gone. */
    int (*acknowledge)(void *opaque);
    /* VCPU_PENDING_INTR may have been set late, for nothing: clears it then. NULL: it never is. */
    void (*check_intr)(void *opaque);
    /* It sleeps in MWAIT, and its line may have changed. On any vCPU's thread, with or without the
     * device lock. May be NULL. */
    void (*wake)(void *opaque);
    /* INIT has reset the processor: what belongs to it is to do the same. May be NULL. */
    void (*init)(void *opaque);
    /* MSRs that live in the local APIC (0x1b, 0x6e0, 0x800-0x8ff): false means #GP(0). */
    bool (*apic_msr_read)(void *opaque, uint32_t msr, uint64_t *value);
    bool (*apic_msr_write)(void *opaque, uint32_t msr, uint64_t value);
    uint8_t (*cr8_read)(void *opaque);
    void (*cr8_write)(void *opaque, uint8_t value);
    /* FERR# rises: the machine interrupts, and sets x87_ignore (IGNNE#) when the handler asks for
     * it. NULL: errors with CR0.NE = 0 are ignored. */
    void (*ferr)(void *opaque);
    /* SMIACT#: the processor enters or leaves system management mode. */
    void (*smm)(void *opaque, bool active);
    /* Device lock around port and MMIO accesses. Whoever waits for it is parked. */
    void (*lock)(void *opaque);
    void (*unlock)(void *opaque);
    /* mmu_context.own_read, own_write: mmu.own_page says where. */
    bool (*own_read)(void *opaque, unsigned offset, unsigned size, uint64_t *value);
    bool (*own_write)(void *opaque, unsigned offset, unsigned size, uint64_t value);
    /* What the chipset decides about the processor has changed: A20, SMRAM. */
    void (*chipset)(void *opaque);
    /* For the log: a block of `length` bytes at vcpu.rip has been decoded (LOG_IN_ASM), or with
     * length 0 is about to run (LOG_EXEC, LOG_CPU). Not called while the log wants none of them. */
    void (*trace_block)(void *opaque, unsigned length);
};

/* An exception as it was raised, for crash reports. */
struct exception_record {
    uint64_t rip, cr2;
    uint64_t instruction; /* how many had retired */
    uint32_t error_code;  /* 0 if the vector has none */
    uint8_t vector;
    bool nested;          /* raised while `during` was being delivered (SDM 3A 6.15, #DF) */
    uint8_t during;
};

/* The last I/O instruction, for SMM's I/O instruction restart: registers from before it. */
struct smm_io {
    uint64_t rip, rcx, rsi, rdi;
    uint64_t end;  /* how many instructions have retired with it */
    uint32_t info; /* I/O trap information of the save area (AMD APM 2 10.2.4) */
};

struct block;
struct block_cache;
struct block_lookup;
struct decoder;
struct cpu_model;

struct vcpu {
    /* --- Hot: what op functions touch all the time --- */
    uint64_t gpr[GPR_SLOT_COUNT];
    uint64_t flags_result; /* lazy status flags, cpu/flags_lazy.h */
    uint32_t flags_aux;
    uint16_t flags_word;   /* or these: the host's, cpu/flags_host.h */
    uint32_t eflags;       /* all but the status flags; bit 1 set */
    uint64_t rip;          /* of the next instruction, at block boundaries */
    const struct insn *current;   /* the instruction that took a slow path */
    const struct block *block;    /* the block that runs */
    struct block_lookup *lookup;  /* blocks by linear address, cpu/block.h */
    struct segment seg[SEG_COUNT];
    int64_t budget;        /* instructions left in this slice, this block already taken off */
    const struct block **chain_slot; /* where the run loop links the next block to; NULL: nowhere */
    uint64_t slice_end;    /* instruction count at which budget is 0 */
    union {
        struct {
            _Atomic uint32_t pending; /* enum vcpu_pending */
            uint32_t attention; /* enum vcpu_attention: own reasons to leave the fast loop */
        };
        _Atomic uint64_t wanted; /* both, for one look: not 0 if the run loop is */
    };
    uint32_t mode;         /* cpu/mode.h: what decoding depends on */
    uint64_t ip_mask;      /* 0xffffffff or all ones, by mode */
    uint32_t code_limit;   /* CS.limit as mode_update last saw it */

    struct mmu_context mmu; /* control registers CR0, CR3, CR4, EFER, CPL live here */

    /* --- Rest of the architectural state --- */
    union vreg vreg[32];
    uint64_t opmask[8]; /* k0 to k7 of AVX-512 */
    uint64_t vec_high[2]; /* upper 128 bits of a 256-bit value that a function returns */
    uint32_t mxcsr;     /* control bits always; sticky flags via fpu_mxcsr_read, cpu/fpu.h */
    uint32_t host_mxcsr;  /* the host's own, while the guest's are loaded: host_fpu_loaded */
    uint16_t host_fpu_control;
    bool host_fpu_loaded; /* between fpu_host_enter and fpu_host_leave, on x86-64 hosts */
    bool fpu_soft;        /* never compute on the host's units: the same bits on every host */
    bool sse_fast;        /* SSE arithmetic may run on the host's unit: all exceptions masked */
    bool fma_fast;        /* FMA likewise, if the host has it */
    bool x87_fast;        /* x87 arithmetic likewise */
    struct x87 x87;
    uint64_t cr2;
    uint64_t dr[8];     /* 0 to 3, 6, 7 */
    uint64_t xcr0;
    uint64_t xss; /* IA32_XSS: no supervisor state exists, always 0 */
    struct segment ldtr, tr;
    struct descriptor_table gdtr, idtr;
    struct vcpu_msrs msr;
    uint64_t monitor_address; /* armed by MONITOR; ~0: not */
    uint64_t monitor_at;      /* machine address of the line; ~0: there is no RAM */
    uint64_t monitor_line[8]; /* the line as MONITOR found it */
    bool monitor_waits;       /* HALTED by MWAIT: a store to the line wakes it */
    bool application;         /* no boot processor: waits for a start-up message after a reset */
    bool yields;              /* VCPU_EXIT_YIELD is wanted */
    _Atomic uint8_t startup_vector; /* of the last start-up message */
    uint8_t cr8_shadow;       /* when there is no platform */
    bool nmi_blocked;         /* until IRET */
    bool smm;                 /* in system management mode */
    uint32_t smbase;
    uint32_t smm_hits;        /* DR6 bits of traps that wait for RSM */
    uint64_t smi_count;
    struct smm_io io;
    bool delivering;          /* an exception or interrupt is being delivered */
    uint8_t delivering_vector;
    uint8_t event_ext;        /* ERROR_EXT while an event from outside is being delivered */
    bool x87_error_pin;       /* FERR#, with CR0.NE = 0 */
    bool x87_ignore;          /* IGNNE#: set by the chipset, falls with FERR# */
    uint64_t instructions;    /* retired, at block boundaries; inside: vcpu_instructions */
    uint64_t clock_lead;      /* clock.instructions less this vCPU's: what others retired */
    uint64_t tsc_offset;      /* TSC = clock * tsc_hz + this */
    uint64_t random_state;    /* RDRAND: seeded, deterministic */

    /* --- What it is built of --- */
    const struct cpu_model *model;
    const struct decoder *decoder;
    struct block_cache *blocks;
    struct clock *clock;
    struct log *log;
    uint64_t tsc_hz;
    unsigned index;    /* number of this vCPU */
    uint32_t apic_id;  /* as the hardware assigned it; follows from topology and index */
    struct cpu_topology topology; /* of the machine */
    uint64_t features[(FEATURE_COUNT + 63) / 64]; /* bit n: enum cpu_feature n is on */
    struct vcpu_platform platform;
    jmp_buf landing; /* where cpu_raise returns to */
    struct {
        uint8_t vector;
        uint32_t error_code;
    } raised; /* what cpu_raise carries to the landing point */
    const char *shutdown; /* why, with VCPU_EXIT_SHUTDOWN */
    struct debug debug;
    /* For crash reports: RIP of the last blocks, but those that a direct branch within its page
     * led to. */
    uint64_t recent[64];
    unsigned recent_count;  /* ever noted; the newest is recent[(count - 1) % 64] */
    struct exception_record recent_exceptions[8];
    unsigned recent_exception_count; /* ever raised; the newest as for recent */
    bool trace_blocks;      /* the log wants every block that runs: none is chained */

    /* --- Counters --- */
    uint64_t blocks_decoded, blocks_invalidated, restarts, interrupts, exceptions[32];
    uint64_t gap_count;      /* #UD raised for bytes that no row knows */
    struct {
        uint8_t bytes[15];
        uint8_t length;
        uint64_t rip, count;
    } gaps[16];              /* the first distinct ones */
};

struct vcpu_config {
    unsigned index; /* 0 is the boot processor */
    const struct cpu_topology *topology; /* copied; NULL: one processor */
    const struct cpu_model *model; /* cpu/cpuid.h */
    struct bus *bus;
    struct machine_memory *memory;
    struct clock *clock;
    struct log *log;
    uint64_t tsc_hz;
    struct vcpu_platform platform;
};

/* A processor in the state after power-on (SDM 3A table 9-1). Aborts when out of memory. */
struct vcpu *vcpu_create(const struct vcpu_config *config);
void vcpu_destroy(struct vcpu *cpu);

/* RESET (or INIT, which keeps caches, FPU and most MSRs). */
void vcpu_reset(struct vcpu *cpu, bool init);

/* Runs until `instructions` more have retired (exactly, when mmu.exact) or something else ends
 * it. An exception counts as an instruction, so that a guest that does nothing but fault comes to
 * an end, too; those that follow the last instruction (a trap, faults of its delivery) are not put
 * off: up to three more than asked for. */
enum vcpu_exit vcpu_run(struct vcpu *cpu, uint64_t instructions);

/* Any thread: sets or clears pending bits. */
void vcpu_signal(struct vcpu *cpu, uint32_t set, uint32_t clear);

/* True if something pending would wake a halted processor, or a processor that waits to be started.
 */
bool vcpu_wakeable(const struct vcpu *cpu);

/* True if vcpu_run would do nothing: it sleeps, and nothing wakes it. */
bool vcpu_asleep(const struct vcpu *cpu);

/* Makes the clock show the time of the instruction that runs. */
void vcpu_set_clock(struct vcpu *cpu);

/* Exact number of retired instructions and exceptions; also inside an op or device callback. */
uint64_t vcpu_instructions(const struct vcpu *cpu);

/* Time-stamp counter. */
uint64_t vcpu_tsc(struct vcpu *cpu);

/* All of RFLAGS, status flags computed. */
uint64_t vcpu_rflags(const struct vcpu *cpu);

/* Drops all derived state (TLB, decoded blocks): snapshots do it at a logged instruction. */
void vcpu_drop_derived(struct vcpu *cpu);

void vcpu_serialize(struct vcpu *cpu, struct state *s);

/* For loaders: sets a segment register with its hidden part as given. */
void vcpu_set_segment(struct vcpu *cpu, enum segment_index n, uint16_t selector, uint64_t base,
                      uint32_t limit, uint16_t attributes);

/* For loaders: writes CR0, CR3, CR4, EFER, RFLAGS and RIP together and updates everything that
 * depends on them. No checks. */
void vcpu_set_control(struct vcpu *cpu, uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer);
void vcpu_set_rflags(struct vcpu *cpu, uint64_t rflags);

/* Registers, segments, tables, control registers, in the manner of a crash report. */
void vcpu_dump(const struct vcpu *cpu, FILE *out);

/* Prints the instructions that raised #UD because Gnomon does not have them, if any. */
void vcpu_report_gaps(const struct vcpu *cpu, FILE *out);

static inline bool cpu_has(const struct vcpu *cpu, enum cpu_feature f)
{
    return (cpu->features[f / 64] >> (f % 64)) & 1;
}

/* The processor that has the context. */
static inline struct vcpu *vcpu_of(struct mmu_context *m)
{
    return container_of(m, struct vcpu, mmu);
}

static inline unsigned cpu_cpl(const struct vcpu *cpu)
{
    return cpu->mmu.cpl;
}

/* ---- Leaving an instruction --------------------------------------------------------------- */

/* Raises an exception at instruction i (NULL: at vcpu.current) and leaves for the run loop. The
 * instruction has changed nothing. Faults without an error code. */
_Noreturn void cpu_raise(struct vcpu *cpu, const struct insn *i, enum exception_vector vector);

/* The same with an error code (#TS, #NP, #SS, #GP, #PF, #AC). */
_Noreturn void cpu_raise_code(struct vcpu *cpu, const struct insn *i, enum exception_vector vector,
                              uint32_t error_code);

/* Abandons instruction i and runs it again as the only one of its block: exact mode. */
_Noreturn void cpu_restart(struct vcpu *cpu, const struct insn *i);

/* Instruction i waits for an interrupt and is tried again afterwards; it has changed nothing. */
_Noreturn void cpu_wait(struct vcpu *cpu, const struct insn *i);

/* Instruction i puts the processor into shutdown: vcpu_run returns VCPU_EXIT_SHUTDOWN. `why` is a
 * string that lasts. */
_Noreturn void cpu_shutdown(struct vcpu *cpu, const struct insn *i, const char *why);

/* For instructions whose single-step trap depends on EFLAGS.TF as they leave it (INT n, SYSCALL,
 * SYSRET), not as they found it: call when the flags are loaded. */
void cpu_step_now(struct vcpu *cpu);

/* What serialising instructions have in common (SDM 3A 8.3): all stores before are seen by others.
 * Their blocks end with them, so that what others have stored to the code that follows is seen. */
FORCE_INLINE void cpu_serialize(void)
{
    atomic_thread_fence(memory_order_seq_cst);
}

/* Makes clock and vcpu_instructions exact before time is read; call in ops that read time. */
void cpu_sync_time(struct vcpu *cpu, const struct insn *i);

#endif
