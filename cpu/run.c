/* The run loop of a vCPU, and how instructions leave it. */
#include "base/check.h"
#include "base/log.h"
#include "cpu/block.h"
#include "cpu/cpu.h"
#include "cpu/decode.h"
#include "cpu/exception.h"
#include "cpu/fpu.h"
#include "cpu/mode.h"
#include "cpu/smm.h"
#include "mmu/guest_access.h"
#include "mmu/memory.h"
#include "mmu/safepoint.h"

#include <string.h>

#define SHADOWS (VCPU_ATTENTION_SHADOW | VCPU_ATTENTION_SHADOW_SS)

/* Values that longjmp carries to the landing point. */
enum landing {
    LANDING_NONE,
    LANDING_RAISED,
    LANDING_RESTART,
    LANDING_WAIT,
    LANDING_SHUTDOWN,
};

/* Takes the state back to the start of the current instruction: nothing of it has happened. */
static void unwind(struct vcpu *cpu, const struct insn *i)
{
    if (i != NULL)
        cpu->current = i;
    cpu->chain_slot = NULL;
    if (cpu->block == NULL)
        return;
    cpu->rip = cpu_insn_start(cpu, cpu->current);
    cpu->budget += cpu->block->count - block_index(cpu->block, cpu->current);
    cpu->block = NULL;
}

_Noreturn void cpu_raise_code(struct vcpu *cpu, const struct insn *i, enum exception_vector vector,
                              uint32_t error_code)
{
    unwind(cpu, i);
    cpu->raised.vector = (uint8_t)vector;
    cpu->raised.error_code = error_code;
    longjmp(cpu->landing, LANDING_RAISED);
}

_Noreturn void cpu_raise(struct vcpu *cpu, const struct insn *i, enum exception_vector vector)
{
    cpu_raise_code(cpu, i, vector, 0);
}

_Noreturn void cpu_restart(struct vcpu *cpu, const struct insn *i)
{
    CHECK(cpu->block == NULL || !(cpu->block->mode & MODE_SINGLE));
    unwind(cpu, i);
    cpu->restarts++;
    longjmp(cpu->landing, LANDING_RESTART);
}

_Noreturn void cpu_wait(struct vcpu *cpu, const struct insn *i)
{
    unwind(cpu, i);
    cpu->budget--; /* as one that faults */
    cpu->mmu.exact_point = false;
    cpu->attention &= ~(SHADOWS | VCPU_ATTENTION_SINGLE | VCPU_ATTENTION_ALONE);
    cpu->attention |= VCPU_ATTENTION_HALTED;
    cpu->monitor_waits = false;
    longjmp(cpu->landing, LANDING_WAIT);
}

_Noreturn void cpu_shutdown(struct vcpu *cpu, const struct insn *i, const char *why)
{
    unwind(cpu, i);
    cpu->budget--; /* the instruction counts, as one that faults does */
    cpu->mmu.exact_point = false;
    cpu->shutdown = why;
    longjmp(cpu->landing, LANDING_SHUTDOWN);
}

void cpu_sync_time(struct vcpu *cpu, const struct insn *i)
{
    cpu->current = i;
    vcpu_set_clock(cpu);
}

void vcpu_set_clock(struct vcpu *cpu)
{
    if (cpu->clock->mode == CLOCK_DETERMINISTIC)
        cpu->clock->instructions = vcpu_instructions(cpu) + cpu->clock_lead;
}

uint64_t vcpu_instructions(const struct vcpu *cpu)
{
    int64_t left = cpu->budget;

    if (cpu->block != NULL)
        left += cpu->block->count - block_index(cpu->block, cpu->current);
    return cpu->slice_end - (uint64_t)left;
}

void vcpu_signal(struct vcpu *cpu, uint32_t set, uint32_t clear)
{
    if (clear != 0)
        atomic_fetch_and(&cpu->pending, ~clear);
    if (set != 0)
        atomic_fetch_or(&cpu->pending, set);
}

/* Has somebody stored to the line that MWAIT waits for? */
static bool line_changed(const struct vcpu *cpu)
{
    const uint8_t *line;

    if (!cpu->monitor_waits)
        return false;
    line = machine_memory_host(cpu->mmu.memory, mpa(cpu->monitor_at));
    for (unsigned n = 0; n < ARRAY_SIZE(cpu->monitor_line); n++)
        if (guest_load64(line + 8 * n) != cpu->monitor_line[n])
            return true;
    return false;
}

/* Is nobody told yet to wake it? So it is in a machine that was restored. */
static bool wants_watch(const struct vcpu *cpu)
{
    return cpu->monitor_waits && cpu->mmu.memory->parallel &&
           !mmu_monitors(&cpu->mmu, mpa(cpu->monitor_at));
}

bool vcpu_asleep(const struct vcpu *cpu)
{
    return !wants_watch(cpu) &&
           (cpu->attention & (VCPU_ATTENTION_HALTED | VCPU_ATTENTION_STARTUP)) &&
           !vcpu_wakeable(cpu);
}

static bool wakes(const struct vcpu *cpu, uint32_t pending)
{
    if (cpu->attention & VCPU_ATTENTION_STARTUP)
        return pending & (VCPU_PENDING_INIT | VCPU_PENDING_STARTUP);
    if ((pending & VCPU_PENDING_STARTUP) || line_changed(cpu)) /* the message is thrown away */
        return true;
    if ((pending & VCPU_PENDING_MCE) || ((pending & VCPU_PENDING_NMI) && !cpu->nmi_blocked))
        return true;
    if ((pending & (VCPU_PENDING_INIT | VCPU_PENDING_SMI)) && !cpu->smm)
        return true;
    return (pending & VCPU_PENDING_INTR) && (cpu->eflags & EFLAGS_IF);
}

bool vcpu_wakeable(const struct vcpu *cpu)
{
    return wakes(cpu, atomic_load(&cpu->pending));
}

/* Runs the instructions of a block. */
FORCE_INLINE void block_run(struct vcpu *cpu, const struct block *b)
{
    cpu->budget -= b->count;
    cpu->block = b;
    block_remember(cpu, cpu->gpr[GPR_IP_BASE] + b->start);
#if defined(GNOMON_THREADED)
    b->insns[0].op(cpu, &b->insns[0]);
#else
    const struct insn *i = b->insns;

    for (; !(i->flags & INSN_LAST); i++)
        i->op(cpu, i);
    cpu->rip = cpu_insn_next(cpu, i); /* a jump overwrites it */
    i->op(cpu, i);
#endif
}

/* Jcc, LOOP, JRCXZ and INTO. */
static bool is_conditional(const struct insn_row *row)
{
    return (row->mnemonic[0] == 'j' && strcmp(row->mnemonic, "jmp") != 0) ||
           strncmp(row->mnemonic, "loop", 4) == 0 || strcmp(row->mnemonic, "into") == 0;
}

/* Has the instruction that just ran branched? A conditional branch to the next instruction is not
 * seen as one. A string instruction that is to go on is none. */
static bool has_branched(const struct vcpu *cpu, unsigned row, uint64_t next)
{
    return row != INSN_ROW_NONE && (insn_rows[row].attrs & (A_JUMP | A_REP)) == A_JUMP &&
           (cpu->rip != next || !is_conditional(&insn_rows[row]));
}

/* Does TF trap behind the instruction? With BTF only behind a branch (SDM 3B 17.4.3). */
static bool single_steps(const struct vcpu *cpu, unsigned row, uint64_t next)
{
    return likely(!(cpu->msr.debugctl & DEBUGCTL_BTF)) || has_branched(cpu, row, next);
}

/* Runs one instruction, with everything that asks for one at a time. */
static void run_single(struct vcpu *cpu)
{
    uint32_t before = cpu->attention;
    const struct block *b = block_find(cpu, MODE_SINGLE);
    uint64_t start = cpu->rip, next = (start + b->length) & cpu->ip_mask;
    unsigned row = b->insns[0].row;

    if (unlikely(b->debug) && debug_exec(cpu, b))
        return;
    if (before & VCPU_ATTENTION_RESUME) {
        cpu->eflags &= ~EFLAGS_RF; /* after the look at breakpoints (SDM 3B 17.3.1.1) */
        cpu->attention &= ~VCPU_ATTENTION_RESUME;
    }
    if (unlikely(cpu->trace_blocks))
        cpu->platform.trace_block(cpu->platform.opaque, 0);
    cpu->mmu.exact_point = true;
    cpu->attention |= VCPU_ATTENTION_ALONE;
    block_run(cpu, b);
    cpu->mmu.exact_point = false;
    cpu->block = NULL;
    if (unlikely(before & VCPU_ATTENTION_RECORD) && has_branched(cpu, row, next))
        debug_record_branch(cpu, start, cpu->rip);
    cpu->attention &= ~((before & (SHADOWS | VCPU_ATTENTION_SINGLE)) | VCPU_ATTENTION_ALONE);
    if ((before & VCPU_ATTENTION_TRAP) &&
        !(cpu->attention & (VCPU_ATTENTION_SHADOW_SS | VCPU_ATTENTION_STEPPED)) &&
        single_steps(cpu, row, next)) {
        cpu->debug.hits |= DR6_BS;
        cpu->attention |= VCPU_ATTENTION_DEBUG;
    }
    cpu->attention &= ~VCPU_ATTENTION_STEPPED;
}

void cpu_step_now(struct vcpu *cpu)
{
    if (cpu->eflags & EFLAGS_TF) {
        cpu->debug.hits |= DR6_BS;
        cpu->attention |= VCPU_ATTENTION_DEBUG;
    }
    if (cpu->attention & VCPU_ATTENTION_ALONE)
        cpu->attention |= VCPU_ATTENTION_STEPPED;
}

/* Traps that the last instruction earned. */
static void debug_trap(struct vcpu *cpu)
{
    uint32_t hits = cpu->debug.hits;

    if (cpu->attention & VCPU_ATTENTION_SHADOW_SS)
        return; /* with the next instruction's */
    cpu->attention &= ~VCPU_ATTENTION_DEBUG;
    if (hits == 0)
        return;
    cpu->debug.hits = 0;
    cpu->dr[6] |= hits;
    cpu_raise(cpu, NULL, EXC_DB);
}

static void deliver_interrupt(struct vcpu *cpu, uint8_t vector)
{
    struct event e = {.kind = EVENT_INTERRUPT, .vector = vector, .return_rip = cpu->rip};

    LOG(cpu->log, LOG_INT, "cpu%u: interrupt %#x at %#llx, instruction %llu\n", cpu->index, vector,
        (unsigned long long)cpu->rip, (unsigned long long)vcpu_instructions(cpu));
    cpu->delivering = true;
    cpu->delivering_vector = vector;
    cpu->mmu.exact_point = true; /* between two instructions */
    event_deliver(cpu, &e);
    debug_record_event(cpu, e.return_rip);
    cpu->mmu.exact_point = false;
    cpu->delivering = false;
}

/* Interrupts that may be taken now. */
static void take_interrupts(struct vcpu *cpu, uint32_t pending)
{
    if ((pending & VCPU_PENDING_NMI) && !cpu->nmi_blocked) {
        vcpu_signal(cpu, 0, VCPU_PENDING_NMI);
        cpu->nmi_blocked = true;
        cpu->interrupts++;
        deliver_interrupt(cpu, EXC_NMI);
    } else if ((pending & VCPU_PENDING_INTR) && (cpu->eflags & EFLAGS_IF) &&
               cpu->platform.acknowledge != NULL) {
        int vector;

        vcpu_set_clock(cpu);
        vector = cpu->platform.acknowledge(cpu->platform.opaque);
        if (vector >= 0) {
            cpu->interrupts++;
            deliver_interrupt(cpu, (uint8_t)vector);
        }
    }
}

/* #MC comes before everything else, and no shadow keeps it back. Returns false if it cannot be
 * delivered. */
static bool take_machine_check(struct vcpu *cpu)
{
    if (!mce_begin(cpu)) {
        cpu->shutdown = "a machine check with CR4.MCE clear, or while another was handled";
        return false;
    }
    cpu->attention &= ~(SHADOWS | VCPU_ATTENTION_HALTED);
    cpu->exceptions[EXC_MC]++;
    deliver_interrupt(cpu, EXC_MC);
    return true;
}

/* SMI and INIT; SMM latches both until RSM (SDM 3C 32.3, APM 2 10.3.3). */
static void take_smi_or_init(struct vcpu *cpu, uint32_t pending)
{
    if ((pending & VCPU_PENDING_SMI) && !cpu->smm &&
        !(cpu->attention & (VCPU_ATTENTION_SHADOW | VCPU_ATTENTION_STARTUP)))
        smm_enter(cpu);
    if ((pending & VCPU_PENDING_INIT) && !cpu->smm) {
        vcpu_signal(cpu, 0, VCPU_PENDING_INIT);
        vcpu_reset(cpu, true);
        vcpu_set_clock(cpu);
        if (cpu->platform.init != NULL)
            cpu->platform.init(cpu->platform.opaque);
    }
}

/* A start-up message counts only for who waits for one (SDM 3A 9.4.4). */
static void take_startup(struct vcpu *cpu)
{
    uint8_t page;

    vcpu_signal(cpu, 0, VCPU_PENDING_STARTUP);
    if (!(cpu->attention & VCPU_ATTENTION_STARTUP))
        return;
    page = atomic_load(&cpu->startup_vector);
    cpu->attention &= ~VCPU_ATTENTION_STARTUP;
    cpu->seg[SEG_CS].selector = (uint16_t)(page << 8);
    cpu->seg[SEG_CS].base = (uint64_t)page << 12;
    cpu->rip = 0;
    mode_update(cpu);
}

/* Does it not sleep, or has something woken it? What another thread has sent since is for the next
 * look: it is not served in this one. */
static bool stays_awake(struct vcpu *cpu, uint32_t *pending)
{
    bool sleeps = cpu->attention & (VCPU_ATTENTION_HALTED | VCPU_ATTENTION_STARTUP);

    if (sleeps && (*pending & VCPU_PENDING_INTR) && cpu->platform.check_intr != NULL)
        cpu->platform.check_intr(cpu->platform.opaque);
    *pending &= atomic_load(&cpu->pending);
    return !sleeps || wakes(cpu, *pending);
}

/* Looks at everything that is not just running the next block, in the order of SDM 3A table 6-2.
 * Returns false when vcpu_run has to return *exit. */
static bool attend(struct vcpu *cpu, enum vcpu_exit *exit)
{
    uint32_t pending = atomic_load(&cpu->pending);

    cpu->block = NULL;
    cpu->chain_slot = NULL;
    if (pending & VCPU_PENDING_SAFEPOINT) {
        vcpu_signal(cpu, 0, VCPU_PENDING_SAFEPOINT);
        mmu_answer(&cpu->mmu);
    }
    if (unlikely(pending & VCPU_PENDING_CHIPSET)) {
        vcpu_signal(cpu, 0, VCPU_PENDING_CHIPSET);
        cpu->platform.chipset(cpu->platform.opaque);
    }
    if (unlikely(pending & VCPU_PENDING_MCE) && !take_machine_check(cpu)) {
        *exit = VCPU_EXIT_SHUTDOWN;
        return false;
    }
    if ((cpu->attention & VCPU_ATTENTION_DEBUG) && cpu->debug.stop.kind != DEBUG_NONE) {
        *exit = VCPU_EXIT_DEBUG; /* the guest's own traps come when it goes on */
        return false;
    }
    if (unlikely(pending & (VCPU_PENDING_SMI | VCPU_PENDING_INIT)))
        take_smi_or_init(cpu, pending);
    if (unlikely(pending & VCPU_PENDING_STARTUP))
        take_startup(cpu);
    if (cpu->attention & VCPU_ATTENTION_DEBUG)
        debug_trap(cpu);
    if (pending & VCPU_PENDING_DROP) {
        vcpu_signal(cpu, 0, VCPU_PENDING_DROP);
        block_cache_drop(cpu);
    }
    if (pending & (VCPU_PENDING_EXIT | VCPU_PENDING_RESET)) {
        vcpu_signal(cpu, 0, VCPU_PENDING_EXIT | VCPU_PENDING_RESET);
        *exit = VCPU_EXIT_REQUEST;
        return false;
    }
    if (cpu->attention & VCPU_ATTENTION_YIELD) {
        cpu->attention &= ~VCPU_ATTENTION_YIELD;
        *exit = VCPU_EXIT_YIELD;
        return false;
    }
    if (!stays_awake(cpu, &pending)) {
        *exit = VCPU_EXIT_HALTED;
        return false;
    }
    if (cpu->attention & VCPU_ATTENTION_HALTED) {
        cpu->attention &= ~VCPU_ATTENTION_HALTED;
        cpu->monitor_waits = false;
        mmu_monitor_end(&cpu->mmu);
    }
    if (!(cpu->attention & VCPU_ATTENTION_SHADOW))
        take_interrupts(cpu, pending);
    if (unlikely(cpu->attention & VCPU_ATTENTION_VIRTUAL))
        cpu_raise_code(cpu, NULL, EXC_GP, 0);
    return true;
}

static enum vcpu_exit run_loop(struct vcpu *cpu)
{
    enum vcpu_exit exit = VCPU_EXIT_BUDGET;

    for (;;) {
        const struct block *b;

        if (unlikely(atomic_load_explicit(&cpu->wanted, memory_order_relaxed) != 0)) {
            if (!attend(cpu, &exit))
                return exit;
            if (cpu->attention != 0) {
                if (cpu->budget <= 0)
                    return VCPU_EXIT_BUDGET;
                run_single(cpu);
                if (unlikely(cpu->debug.stop.kind != DEBUG_NONE))
                    return VCPU_EXIT_DEBUG;
                continue;
            }
        }
        if (unlikely(cpu->budget <= 0))
            return VCPU_EXIT_BUDGET;
        b = block_find(cpu, 0);
        if (unlikely(b->debug) && debug_exec(cpu, b))
            return VCPU_EXIT_DEBUG;
        block_link(cpu, b);
        if (unlikely(b->count > cpu->budget)) {
            run_single(cpu);
            continue;
        }
        if (unlikely(cpu->trace_blocks))
            cpu->platform.trace_block(cpu->platform.opaque, 0);
        block_run(cpu, b);
    }
}

/* Remembers what cpu_raise brought. */
static void record_exception(struct vcpu *cpu)
{
    unsigned n = cpu->recent_exception_count++ % ARRAY_SIZE(cpu->recent_exceptions);

    cpu->recent_exceptions[n] = (struct exception_record){
        .rip = cpu->rip,
        .cr2 = cpu->cr2,
        .instruction = vcpu_instructions(cpu),
        .error_code = cpu->raised.error_code,
        .vector = cpu->raised.vector,
        .nested = cpu->delivering,
        .during = cpu->delivering_vector,
    };
}

/* Delivers what cpu_raise brought. Returns false on a triple fault. */
static bool deliver_raised(struct vcpu *cpu)
{
    struct event e = {
        .kind = EVENT_EXCEPTION,
        .vector = cpu->raised.vector,
        .error_code = cpu->raised.error_code,
        .return_rip = cpu->rip,
    };

    /* A debug exception wakes a halted processor, too; what a faulting instruction had hit is not
     * reported. */
    cpu->attention &= ~(SHADOWS | VCPU_ATTENTION_SINGLE | VCPU_ATTENTION_ALONE |
                        VCPU_ATTENTION_STEPPED | VCPU_ATTENTION_HALTED);
    cpu->debug.hits = 0;
    if (cpu->debug.stop.kind == DEBUG_NONE)
        cpu->attention &= ~VCPU_ATTENTION_DEBUG;
    cpu->mmu.exact_point = false;
    cpu->event_ext = 0;
    record_exception(cpu);
    switch (fault_merge(cpu->delivering, cpu->delivering_vector, e.vector)) {
    case MERGE_SHUTDOWN:
        cpu->delivering = false;
        cpu->shutdown = "triple fault: an exception while a double fault was being delivered";
        return false;
    case MERGE_DOUBLE_FAULT:
        e.vector = EXC_DF;
        e.error_code = 0;
        break;
    case MERGE_SERIAL:
        break;
    }
    e.has_error_code = exception_has_error_code(e.vector);
    LOG(cpu->log, LOG_INT, "cpu%u: exception %u error %#x at %#llx cr2 %#llx, instruction %llu\n",
        cpu->index, e.vector, e.error_code, (unsigned long long)cpu->rip,
        (unsigned long long)cpu->cr2, (unsigned long long)vcpu_instructions(cpu));
    cpu->budget--; /* time passes for a guest that does nothing but fault, too */
    cpu->exceptions[e.vector & 31]++;
    if (e.vector == EXC_DB)
        debug_control_stop(cpu); /* SDM 3B 17.4.3, 17.4.4 */
    cpu->delivering = true;
    cpu->delivering_vector = e.vector;
    cpu->mmu.exact_point = true; /* between two instructions */
    event_deliver(cpu, &e);
    debug_record_event(cpu, e.return_rip);
    cpu->mmu.exact_point = false;
    cpu->delivering = false;
    return true;
}

/* The log may have been told to trace, or not to, since the last run. */
static void update_trace(struct vcpu *cpu)
{
    bool trace = log_on(cpu->log, LOG_EXEC | LOG_CPU) && cpu->platform.trace_block != NULL;

    if (trace == cpu->trace_blocks)
        return;
    cpu->trace_blocks = trace;
    block_cache_drop(cpu); /* with its chains */
}

/* Where others run at the same time they are to tell of a store to the line that MWAIT waits for;
 * elsewhere somebody looks (vcpu_asleep). */
static void watch_line(struct vcpu *cpu, enum vcpu_exit exit)
{
    if (exit == VCPU_EXIT_HALTED && cpu->monitor_waits && cpu->mmu.memory->parallel)
        mmu_monitor_begin(&cpu->mmu, mpa(cpu->monitor_at));
    else
        mmu_monitor_end(&cpu->mmu);
}

enum vcpu_exit vcpu_run(struct vcpu *cpu, uint64_t instructions)
{
    enum vcpu_exit exit;

    mmu_unpark(&cpu->mmu);
    update_trace(cpu);
    if (instructions >= BLOCK_STALE)
        instructions = BLOCK_STALE - 1;
    cpu->debug.stop.kind = DEBUG_NONE;
    cpu->budget = (int64_t)instructions;
    cpu->slice_end = cpu->instructions + instructions;
    cpu->block = NULL;
    cpu->chain_slot = NULL;
    fpu_host_enter(cpu);
    switch (_setjmp(cpu->landing)) { /* keeps no signal mask */
    case LANDING_RAISED:
        exit = VCPU_EXIT_SHUTDOWN;
        if (!deliver_raised(cpu))
            break;
        exit = run_loop(cpu);
        break;
    case LANDING_SHUTDOWN:
        exit = VCPU_EXIT_SHUTDOWN;
        break;
    case LANDING_RESTART:
        cpu->attention |= VCPU_ATTENTION_SINGLE;
        exit = run_loop(cpu);
        break;
    case LANDING_WAIT:
    default:
        exit = run_loop(cpu);
        break;
    }
    fpu_host_leave(cpu);
    cpu->block = NULL;
    cpu->instructions = cpu->slice_end - (uint64_t)cpu->budget;
    watch_line(cpu, exit);
    mmu_park(&cpu->mmu);
    return exit;
}
