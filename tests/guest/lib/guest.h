/*
 * What guest programs are written with: named cases, checks that say what was expected and seen,
 * and TRY, which runs a few instructions and records the exception that they end with.
 *
 * The same header serves 16-, 32- and 64-bit programs. A program defines `program_name` and
 * `cases`; the library sets up segments, interrupt table and (64-bit) paging, runs the cases one
 * after another and ends the machine: status 0 if every check held.
 *
 * Expectations follow the Intel SDM.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Program ---- */

struct test_case {
    const char *name;
    void (*run)(void);
};

extern const char program_name[];
extern const struct test_case cases[];
extern const unsigned case_count;

#define PROGRAM(name)                                                                              \
    const char program_name[] = name;                                                              \
    const unsigned case_count = sizeof(cases) / sizeof(cases[0])

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Ends the machine: by Gnomon's exit port, else by isa-debug-exit at F4h. */
_Noreturn void guest_exit(unsigned status);

/* False under another emulator. For what would crash that one, never for expectations. */
bool on_gnomon(void);

/* Prints to port E9h: %s %c %d %u %x %lx %llx %p, and a width with leading zeros. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
unsigned format_text(char *out, unsigned size, const char *format, __builtin_va_list arguments);

/* ---- Checks ---- */

/* Names the row of a table that the following checks belong to, until the next call or the end of
 * the case. */
void context(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Counts a case as skipped, with the reason: for what CPUID does not report. */
void skip(const char *reason);

void check_equal(const char *file, int line, const char *what, uint64_t seen, uint64_t expected);
void check_true(const char *file, int line, const char *what, bool seen);

#define EXPECT(condition)      check_true(__FILE__, __LINE__, #condition, condition)
#define EXPECT_EQ(seen, value) check_equal(__FILE__, __LINE__, #seen, seen, value)

/* ---- Exceptions ---- */

enum vector {
    DE = 0,
    DB = 1,
    NMI = 2,
    BP = 3,
    OF = 4,
    BR = 5,
    UD = 6,
    NM = 7,
    DF = 8,
    TS = 10,
    NP = 11,
    SS = 12,
    GP = 13,
    PF = 14,
    MF = 16,
    AC = 17,
    XM = 19,
    VECTOR_RETURN = 0x80, /* how code at CPL 3 returns */
    NO_TRAP = 0x1000,     /* trap.vector: TRY ended without one */
};

/* The last event that TRY or run_user ended with, as it was pushed. */
struct trap {
    unsigned long vector;
    unsigned long error; /* 0 if the vector has none */
    unsigned long ip, cs, flags;
    unsigned long sp, ss; /* where the event pushed them, else those of the handler */
    unsigned long cr2;
};
extern volatile struct trap trap;

#if defined(__x86_64__)
#define TRAP_CODE ".quad"
#define WORD      "q"
#define SP        "%%rsp"
#else
#define TRAP_CODE ".long"
#define WORD      "l"
#define SP        "%%esp"
#endif

extern volatile unsigned long try_start, try_resume, try_sp;
void try_begin(void);

/*
 * TRY("instructions", : outputs : inputs : clobbers): runs them; an exception ends them, leaves
 * general registers as they were (but the stack pointer) and is recorded in `trap`.
 */
#define TRY(code, ...)                                                                             \
    do {                                                                                           \
        try_begin();                                                                               \
        asm volatile("mov" WORD " $770f, try_start\n"                                              \
                     "mov" WORD " $771f, try_resume\n"                                             \
                     "mov" WORD " " SP ", try_sp\n"                                                \
                     "770: " code "\n"                                                             \
                     "771: mov" WORD " $0, try_resume\n"                                           \
                     "mov" WORD " try_sp, " SP "\n cld\n" __VA_ARGS__);                            \
        asm volatile("" ::: "memory");                                                             \
    } while (0)

/* Where the recorded return address has to point. */
enum trap_place { AT_START, ANYWHERE };

void check_trap(const char *file, int line, unsigned vector, unsigned long error,
                enum trap_place place);

/* The first instruction of TRY raised it. */
#define EXPECT_FAULT(vector, error) check_trap(__FILE__, __LINE__, vector, error, AT_START)
/* Some instruction of TRY raised it, or it is a trap. */
#define EXPECT_TRAP(vector, error) check_trap(__FILE__, __LINE__, vector, error, ANYWHERE)
#define EXPECT_NO_TRAP()           check_trap(__FILE__, __LINE__, NO_TRAP, 0, ANYWHERE)
#define EXPECT_RETURN()            check_trap(__FILE__, __LINE__, VECTOR_RETURN, 0, ANYWHERE)

#define TRY_FAULT(vector, error, code, ...)                                                        \
    do {                                                                                           \
        TRY(code, __VA_ARGS__);                                                                    \
        EXPECT_FAULT(vector, error);                                                               \
    } while (0)
#define TRY_OK(code, ...)                                                                          \
    do {                                                                                           \
        TRY(code, __VA_ARGS__);                                                                    \
        EXPECT_NO_TRAP();                                                                          \
    } while (0)

#if defined(__x86_64__)
/* Registers at an event, lowest address first. */
struct frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error, ip, cs, flags, sp, ss;
};
#elif !defined(REAL_MODE)
struct frame {
    uint32_t gs, fs, es, ds, edi, esi, ebp, esp_unused, ebx, edx, ecx, eax;
    uint32_t vector, error, ip, cs, flags;
    uint32_t sp, ss; /* there only if the event came from an outer level */
    uint32_t v86_es, v86_ds, v86_fs, v86_gs;
};
#else
struct frame {
    uint32_t eax, ebx, ecx, edx, esi, edi, ebp, esp;
    uint32_t vector, error, ip, cs, flags, sp, ss, ds, es;
};
#endif

/* Sees every event first. True: handled, go on as the frame says; false: TRY gets it. Cleared when
 * a case ends. */
extern bool (*trap_hook)(struct frame *frame);

/* ---- Port I/O and processor registers ---- */

static inline void outb(uint16_t port, uint8_t value)
{
    asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void outl(uint16_t port, uint32_t value)
{
    asm volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
    uint8_t value;

    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline uint32_t inl(uint16_t port)
{
    uint32_t value;

    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

struct cpuid {
    uint32_t a, b, c, d;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r;

    asm volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(subleaf));
    return r;
}

/* Feature words as (leaf, register, bit). */
#define HAS_1C(bit)   ((cpuid(1, 0).c >> (bit)) & 1)
#define HAS_1D(bit)   ((cpuid(1, 0).d >> (bit)) & 1)
#define HAS_7B(bit)   ((cpuid(7, 0).b >> (bit)) & 1)
#define HAS_7C(bit)   ((cpuid(7, 0).c >> (bit)) & 1)
#define HAS_EXTD(bit) ((cpuid(0x80000001, 0).d >> (bit)) & 1)

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;

    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
    asm volatile("wrmsr" : : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(msr)
                 : "memory");
}

#define DEFINE_CR(n)                                                                               \
    static inline unsigned long read_cr##n(void)                                                   \
    {                                                                                              \
        unsigned long v;                                                                           \
                                                                                                   \
        asm volatile("mov %%cr" #n ", %0" : "=r"(v));                                              \
        return v;                                                                                  \
    }                                                                                              \
    static inline void write_cr##n(unsigned long v)                                                \
    {                                                                                              \
        asm volatile("mov %0, %%cr" #n : : "r"(v) : "memory");                                     \
    }
DEFINE_CR(0)
DEFINE_CR(2)
DEFINE_CR(3)
DEFINE_CR(4)
#undef DEFINE_CR

static inline void invlpg(const volatile void *address)
{
    asm volatile("invlpg (%0)" : : "r"(address) : "memory");
}

static inline unsigned long read_flags(void)
{
    unsigned long v;

    asm volatile("pushf\n pop %0" : "=r"(v) : : "memory");
    return v;
}

static inline void write_flags(unsigned long v)
{
    asm volatile("push %0\n popf" : : "r"(v) : "memory", "cc");
}

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;

    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

#define CR0_PE 0x1
#define CR0_MP 0x2
#define CR0_EM 0x4
#define CR0_TS 0x8
#define CR0_NE 0x20
#define CR0_WP 0x10000
#define CR0_AM 0x40000
#define CR0_NW 0x20000000
#define CR0_CD 0x40000000
#define CR0_PG 0x80000000

#define CR4_VME        0x1
#define CR4_PVI        0x2
#define CR4_TSD        0x4
#define CR4_DE         0x8
#define CR4_PSE        0x10
#define CR4_PAE        0x20
#define CR4_MCE        0x40
#define CR4_PGE        0x80
#define CR4_PCE        0x100
#define CR4_OSFXSR     0x200
#define CR4_OSXMMEXCPT 0x400
#define CR4_UMIP       0x800
#define CR4_LA57       0x1000
#define CR4_FSGSBASE   0x10000
#define CR4_PCIDE      0x20000
#define CR4_OSXSAVE    0x40000
#define CR4_SMEP       0x100000
#define CR4_SMAP       0x200000
#define CR4_PKE        0x400000

#define MSR_APIC_BASE      0x1b
#define MSR_SYSENTER_CS    0x174
#define MSR_SYSENTER_ESP   0x175
#define MSR_SYSENTER_EIP   0x176
#define MSR_PAT            0x277
#define MSR_TSC_DEADLINE   0x6e0
#define MSR_EFER           0xc0000080
#define MSR_STAR           0xc0000081
#define MSR_LSTAR          0xc0000082
#define MSR_CSTAR          0xc0000083
#define MSR_FMASK          0xc0000084
#define MSR_FS_BASE        0xc0000100
#define MSR_GS_BASE        0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define MSR_TSC_AUX        0xc0000103

#define EFER_SCE 0x1
#define EFER_LME 0x100
#define EFER_LMA 0x400
#define EFER_NXE 0x800

#define FL_CF   0x1
#define FL_PF   0x4
#define FL_AF   0x10
#define FL_ZF   0x40
#define FL_SF   0x80
#define FL_TF   0x100
#define FL_IF   0x200
#define FL_DF   0x400
#define FL_OF   0x800
#define FL_IOPL 0x3000
#define FL_NT   0x4000
#define FL_RF   0x10000
#define FL_VM   0x20000
#define FL_AC   0x40000
#define FL_VIF  0x80000
#define FL_VIP  0x100000
#define FL_ID   0x200000

#endif
