/*
 * Several processors (64-bit programs; linked to those that include this header). smp_begin finds
 * the processors in the ACPI tables and starts them by INIT and SIPI; each has a stack, GDT and TSS
 * of its own and waits for functions to run. Processor 0 is the boot processor and runs the cases.
 *
 * Only processor 0 uses EXPECT, TRY, print and context; the others leave results in memory. PROBE
 * is for them: an access that may fault. Waits are bounded: what does not come is reported, and the
 * case goes on. Loops that wait contain smp_pause.
 */
#ifndef GUEST_SMP_H
#define GUEST_SMP_H

#include "segments.h"

#define CPU_MAX 512

/* Offsets in struct cpu, for assembly. */
#define CPU_SELF      0
#define CPU_STACK_TOP 8
#define CPU_RESUME    16

#ifndef __ASSEMBLER__
#include "apic.h"

/* Registers at the first instruction after a SIPI (SDM 3A table 9-1), as the trampoline notes. */
struct startup {
    uint32_t eax, ebx, ecx, edx, esi, edi, ebp, esp; /* at 0 */
    uint32_t flags, cr0, cr2, cr3, cr4;              /* at 32 */
    uint32_t cs, ds, es, fs, gs, ss;                 /* at 52 */
    uint32_t dr6, dr7;                               /* at 76 */
    uint8_t gdtr[6], idtr[6];                        /* at 84: limit, base */
} __attribute__((packed));

/* The local APIC then. */
struct startup_apic {
    uint64_t base; /* IA32_APIC_BASE */
    uint32_t id, version, tpr, ldr, dfr, svr, lvt_timer, lvt_error, icr, initial_count, irr, isr;
};

enum cpu_state {
    CPU_OFF,  /* waits for a SIPI, or never came */
    CPU_IDLE, /* waits for a function */
    CPU_RUNS,
    CPU_DEAD, /* an event that nobody expected: event says which */
};

struct cpu {
    struct cpu *self; /* at GS:0 */
    uint64_t stack_top;
    volatile uint64_t resume; /* PROBE: where a fault goes on; 0: none is expected */
    unsigned index;
    uint32_t apic_id; /* of the MADT */
    volatile unsigned state;
    volatile unsigned starts; /* how often it came up */
    void (*volatile function)(void *);
    void *volatile argument;
    /* Sees every event first, as trap_hook does; at once, on this processor. */
    bool (*volatile hook)(struct frame *);
    volatile uint32_t taken[256]; /* interrupts that came, by vector; NMIs at 2 */
    volatile uint8_t order[32];   /* their vectors in order, the first ones */
    volatile unsigned order_count;
    volatile bool keep_service; /* no EOI */
    volatile struct trap fault; /* the last PROBE's */
    volatile struct trap event; /* why it is dead */
    struct startup startup;
    struct startup_apic startup_apic;
    uint64_t gdt[SEL_FREE / 8];
    uint8_t tss[104] __attribute__((aligned(16)));
};

extern struct cpu cpus[CPU_MAX];
extern unsigned cpu_count; /* processors in the MADT, which are cpus[0] to cpus[cpu_count - 1] */
extern volatile unsigned startup_count; /* how often the trampoline was entered */

static inline struct cpu *this_cpu(void)
{
    struct cpu *cpu;

    asm volatile("mov %%gs:0, %0" : "=r"(cpu));
    return cpu;
}

static inline void smp_pause(void)
{
    asm volatile("pause" ::: "memory");
}

/* ---- Starting ---- */

/* The trampoline's page: a SIPI's vector. */
#define SMP_VECTOR 0x08

/* The first line of every case. All processors idle, local APICs enabled with task priority 0 and
 * logical destinations 1 << index (flat; none from the ninth on), counters of interrupts 0. False
 * if one does not come. */
bool smp_begin(void);

/* Puts the trampoline at another page; vectors up to 9Fh. */
void smp_place_trampoline(unsigned vector);

/* INIT to a processor, and SIPI; smp_await waits for it to be idle. */
void smp_init(unsigned cpu);
void smp_sipi(unsigned cpu, unsigned vector);
bool smp_await(unsigned cpu);

/* For loops over processors that take long: after n, all of few, or the first ones and the last. */
static inline unsigned smp_next(unsigned n)
{
    return n >= 3 && n + 1 < cpu_count && cpu_count > 8 ? cpu_count - 1 : n + 1;
}

/* ---- Running ---- */

/* A processor other than 0 begins to run function(argument). */
void smp_start(unsigned cpu, void (*function)(void *), void *argument);
/* Waits for its end. */
bool smp_wait(unsigned cpu);
/* Both. */
bool smp_call(unsigned cpu, void (*function)(void *), void *argument);
/* All processors up to count, 0 included, run the function; returns when all have. */
bool smp_all(unsigned count, void (*function)(void *), void *argument);

/* All of count processors meet; may be used again at once. */
struct barrier {
    volatile unsigned arrived, phase;
};
void barrier_wait(struct barrier *b, unsigned count);

/* Until condition holds, but not for ever; whether it did. */
#define SMP_PATIENCE 5000000u
#define WAIT_FOR(condition)                                                                        \
    ({                                                                                             \
        unsigned patience_ = SMP_PATIENCE;                                                         \
                                                                                                   \
        while (!(condition) && --patience_ != 0)                                                   \
            smp_pause();                                                                           \
        patience_ != 0;                                                                            \
    })

/* Lets the others do something: for what must not happen. */
void smp_settle(void);

/* Ends WAIT_FOR loops of all processors that look at it. */
extern volatile bool smp_stop;

/* ---- Local APIC, in whichever mode the processor is ---- */

bool x2apic_on(void);
uint32_t apic_get(unsigned reg);
void apic_set(unsigned reg, uint32_t value);
uint32_t apic_own_id(void);
uint32_t apic_initial_id(void); /* by CPUID */
/* Sends; destination as the mode writes it, without shifting. False if it does not leave. */
bool ipi_send(uint32_t destination, uint32_t low);
/* Physical fixed, to one processor. */
bool ipi_to(unsigned cpu, unsigned vector);

/* Takes interrupts for a moment. */
static inline void smp_window(void)
{
    asm volatile("sti\n nop\n pause\n cli" ::: "memory");
}

/* ---- Accesses that may fault ---- */

/* Runs one instruction; the vector of its fault or NO_TRAP. More of it in this_cpu()->fault. */
#define PROBE(code, ...)                                                                           \
    ({                                                                                             \
        this_cpu()->fault.vector = NO_TRAP;                                                        \
        asm volatile("movq $772f, %%gs:16\n" code "\n772: movq $0, %%gs:16\n" __VA_ARGS__);        \
        asm volatile("" ::: "memory");                                                             \
        this_cpu()->fault.vector;                                                                  \
    })

static inline unsigned long probe_read(const volatile void *address, uint64_t *value)
{
    uint64_t seen = 0;
    unsigned long vector = PROBE("mov (%1), %0", : "+r"(seen) : "r"(address) : "memory");

    *value = seen;
    return vector;
}

static inline unsigned long probe_write(volatile void *address, uint64_t value)
{
    return PROBE("mov %1, (%0)", : : "r"(address), "r"(value) : "memory");
}

/* The handler of all events on processors other than 0; on processor 0 trap_hook calls it. */
bool smp_event(struct frame *f);

#endif
#endif
