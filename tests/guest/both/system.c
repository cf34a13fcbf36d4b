/* System instructions and registers by mode and privilege: UMIP, RDPMC, MONITOR and MWAIT, INVPCID,
 * IA32_DEBUGCTL and single steps, machine check registers. */
#include "segments.h"

static void set_cr4(unsigned long bits, bool on)
{
    write_cr4(on ? read_cr4() | bits : read_cr4() & ~bits);
}

/* ---- UMIP ---- */

#ifdef __x86_64__
#define MEMORY "user_bytes(%rip)"
#else
#define MEMORY "user_bytes"
#endif
USER_DATA uint8_t user_bytes[16];

USER_CODE(user_sgdt, "sgdt " MEMORY);
USER_CODE(user_sidt, "sidt " MEMORY);
USER_CODE(user_sldt, "sldt " MEMORY);
USER_CODE(user_sldt_r, "sldt %eax");
USER_CODE(user_str, "str " MEMORY);
USER_CODE(user_str_r, "str %eax");
USER_CODE(user_smsw, "smsw " MEMORY);
USER_CODE(user_smsw_r, "smsw %eax");

static void umip(void)
{
    static const char *const codes[] = {user_sgdt, user_sidt,  user_sldt, user_sldt_r,
                                        user_str,  user_str_r, user_smsw, user_smsw_r};

    if (!HAS_7C(2)) {
        skip("no UMIP");
        return;
    }
    for (unsigned n = 0; n < COUNT(codes); n++) {
        context("row %u", n);
        set_cr4(CR4_UMIP, false);
        run_user(codes[n]);
        EXPECT_RETURN();
        set_cr4(CR4_UMIP, true);
        run_user(codes[n]);
        EXPECT_FAULT(GP, 0);
    }
    context("CPL 0");
    TRY_OK("sgdt %0", : "=m"(user_bytes));
    TRY_OK("sidt %0", : "=m"(user_bytes));
    TRY_OK("sldt %%eax\n str %%eax\n smsw %%eax", : : : "eax");
}

#ifndef __x86_64__
#define TASK ((volatile uint8_t *)0x8000)

static void run_v86(const uint8_t code[4])
{
    uint32_t frame[9] = {0, 0x800, FL_VM | 2, 0x1000, 0x800, 0x800, 0x800, 0, 0};

    for (unsigned n = 0; n < 4; n++)
        TASK[n] = code[n];
    TASK[4] = 0xf4;
    TRY("mov %0, %%esp\n iretl", : : "r"(frame) : "memory", "eax");
    EXPECT_EQ(trap.flags & FL_VM, FL_VM);
}

/* Virtual-8086 mode is CPL 3: three of them fault, the others do not exist there. */
static void umip_v86(void)
{
    static const struct {
        const char *name;
        uint8_t code[4];
        bool exists;
    } rows[] = {
        {"SGDT", {0x0f, 0x01, 0x07, 0x90}, true}, {"SIDT", {0x0f, 0x01, 0x0f, 0x90}, true},
        {"SMSW", {0x0f, 0x01, 0xe0, 0x90}, true}, {"SLDT", {0x0f, 0x00, 0xc0, 0x90}, false},
        {"STR", {0x0f, 0x00, 0xc8, 0x90}, false},
    };

    if (!HAS_7C(2)) {
        skip("no UMIP");
        return;
    }
    for (unsigned n = 0; n < COUNT(rows); n++) {
        for (unsigned on = 0; on < 2; on++) {
            context("%s, UMIP %u", rows[n].name, on);
            set_cr4(CR4_UMIP, on);
            run_v86(rows[n].code);
            if (rows[n].exists) {
                EXPECT_TRAP(GP, 0); /* HLT's, or its own */
                EXPECT_EQ(trap.ip, on ? 0 : 4);
            } else {
                EXPECT_TRAP(UD, 0);
                EXPECT_EQ(trap.ip, 0);
            }
        }
    }
}
#endif

/* ---- Counters, MONITOR ---- */

USER_CODE(user_rdpmc, "xor %ecx, %ecx\n rdpmc");
USER_CODE(user_rdtsc, "rdtsc");
USER_CODE(user_monitor, "monitor");
USER_CODE(user_mwait, "mwait");

static void rdpmc(void)
{
    bool counters = cpuid(0, 0).a >= 0xa && (cpuid(0xa, 0).a & 0xff) != 0;

    set_cr4(CR4_PCE, false);
    run_user(user_rdpmc);
    EXPECT_TRAP(GP, 0);
    if (!counters) {
        set_cr4(CR4_PCE, true);
        run_user(user_rdpmc);
        EXPECT_TRAP(GP, 0);
        TRY_FAULT(GP, 0, "rdpmc", : : "c"(0) : "eax", "edx");
        TRY_FAULT(GP, 0, "rdpmc", : : "c"(0x40000000) : "eax", "edx");
    }
    context("RDTSC");
    run_user(user_rdtsc);
    EXPECT_RETURN();
    set_cr4(CR4_TSD, true);
    run_user(user_rdtsc);
    EXPECT_FAULT(GP, 0);
    TRY_OK("rdtsc", : : : "eax", "edx");
}

static void monitor(void)
{
    static volatile uint32_t line[16];

    if (!HAS_1C(3)) {
        skip("no MONITOR");
        return;
    }
    TRY_OK("monitor", : : "a"(line), "c"(0), "d"(0));
    TRY_FAULT(GP, 0, "monitor", : : "a"(line), "c"(1), "d"(0));
    context("MWAIT");
    TRY_FAULT(GP, 0, "mwait", : : "a"(0), "c"(2));
    TRY_OK("mwait", : : "a"(0), "c"(1)); /* may return at once, and does with IF clear */
    context("CPL 3");
    run_user(user_monitor);
    EXPECT_FAULT(UD, 0);
    run_user(user_mwait);
    EXPECT_FAULT(UD, 0);
}

/* ---- INVPCID ---- */

#ifdef __x86_64__
USER_CODE(user_invpcid, "invpcid " MEMORY ", %rax");
#else
USER_CODE(user_invpcid, "invpcid " MEMORY ", %eax");
#endif

static void invpcid(void)
{
    static const struct {
        uint64_t pcid, address;
        unsigned long type;
        bool faults;
    } rows[] = {
        {0, 0x1000, 0, false},
        {0, 0, 1, false},
        {0, 0, 2, false},
        {0, 0, 3, false},
        {0, 0, 4, true},
        {0, 0, 0x80000000, true},
        {1, 0x1000, 0, true}, /* CR4.PCIDE is clear */
        {1, 0, 1, true},
        {1, 0, 2, false},
        {0x1000, 0x1000, 0, true}, /* reserved bits */
        {0x1000, 0, 1, true},
        {1ull << 63, 0, 2, true},
        {0x1000, 0, 3, true},
#ifdef __x86_64__
        {0, 0x8000000000000000, 0, true}, /* not canonical */
        {0, 0x8000000000000000, 1, false},
        {0, 0x8000000000000000, 2, false},
        {0, 0, 1ul << 32, true},
#endif
    };
    static volatile uint64_t descriptor[2];

    if (!HAS_7B(10)) {
        TRY_FAULT(UD, 0, "invpcid %0, %1", : : "m"(descriptor), "r"(2ul));
        skip("no INVPCID");
        return;
    }
    for (unsigned n = 0; n < COUNT(rows); n++) {
        context("row %u", n);
        descriptor[0] = rows[n].pcid;
        descriptor[1] = rows[n].address;
        TRY("invpcid %0, %1", : : "m"(descriptor), "r"(rows[n].type));
        if (rows[n].faults)
            EXPECT_FAULT(GP, 0);
        else
            EXPECT_NO_TRAP();
    }
    context("CPL 3");
    run_user(user_invpcid);
    EXPECT_TRAP(GP, 0);
}

/* ---- IA32_DEBUGCTL, single steps ---- */

#define MSR_DEBUGCTL 0x1d9
#define BTF          2

/* Sets TF; the next instruction is the first that is traced. */
#define TRACE "pushf\n or" WORD " $0x100, (" SP ")\n popf\n"

static volatile unsigned traps_inside;

/* An inner handler, which must not be traced. */
static bool inner(struct frame *f)
{
    if (f->vector == DB && f->ip >= (unsigned long)trap_stubs &&
        f->ip < (unsigned long)trap_stubs + 16 * 256)
        traps_inside++;
    return f->vector == 0x33;
}

static void single_step(void)
{
    unsigned long where;

    TRY(TRACE "nop\n 1: nop\n nop", : : : "memory");
    EXPECT_TRAP(DB, 0);
    asm volatile("" ::: "memory");
    context("INT n");
    traps_inside = 0;
    trap_hook = inner;
    TRY("mov" WORD " $1f, %0\n" TRACE "int $0x33\n nop\n 1: nop\n nop",
        : "=&r"(where)
        :
        : "memory");
    EXPECT_TRAP(DB, 0);
    EXPECT_EQ(trap.ip, where); /* behind the first instruction after the return */
    EXPECT_EQ(traps_inside, 0);
}

static void branch_step(void)
{
    unsigned long where;

    TRY("wrmsr", : : "c"(MSR_DEBUGCTL), "a"(0), "d"(0));
    if (trap.vector != NO_TRAP) {
        skip("no IA32_DEBUGCTL");
        return;
    }
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(MSR_DEBUGCTL), "a"(4), "d"(0));
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(MSR_DEBUGCTL), "a"(0), "d"(1));
    wrmsr(MSR_DEBUGCTL, BTF);
    EXPECT_EQ(rdmsr(MSR_DEBUGCTL), BTF);
    TRY("mov" WORD " $1f, %0\n" TRACE "nop\n mov $3, %%ecx\n rep lodsb\n test %%ecx, %%ecx\n"
        "jnz 2f\n jmp 1f\n 2: nop\n 1: nop\n nop",
        : "=&r"(where)
        : "S"(user_bytes)
        : "memory", "ecx", "eax");
    EXPECT_TRAP(DB, 0);
    EXPECT_EQ(trap.ip, where);
    EXPECT_EQ(rdmsr(MSR_DEBUGCTL), 0);
    context("CALL to the next instruction");
    wrmsr(MSR_DEBUGCTL, BTF);
    TRY("mov" WORD " $1f, %0\n" TRACE "nop\n call 1f\n 1: nop\n nop", : "=&r"(where) : : "memory");
    EXPECT_TRAP(DB, 0);
    EXPECT_EQ(trap.ip, where);
    context("without TF");
    wrmsr(MSR_DEBUGCTL, BTF);
    TRY_OK("jmp 1f\n nop\n 1: nop", :);
    EXPECT_EQ(rdmsr(MSR_DEBUGCTL), BTF);
    wrmsr(MSR_DEBUGCTL, 0);
}

#ifdef __x86_64__
extern const char system_entry[];
asm("system_entry: sysretq");

USER_CODE(user_traced, "pushf\n orl $0x100, (%rsp)\n popf\n syscall\n"
                       ".globl user_traced_next\n user_traced_next: nop\n nop");
extern const char user_traced_next[];

/* FMASK keeps TF out of the kernel; the trap comes behind SYSRET. */
static void traced_syscall(void)
{
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
    wrmsr(MSR_STAR, (uint64_t)(SEL_USER32 | 3) << 48 | (uint64_t)SEL_CODE << 32);
    wrmsr(MSR_LSTAR, (uint64_t)system_entry);
    wrmsr(MSR_FMASK, FL_TF);
    run_user(user_traced);
    EXPECT_TRAP(DB, 0);
    EXPECT_EQ(trap.ip, (uint64_t)user_traced_next);
    EXPECT_EQ(trap.cs & 3, 3);
}

/* ---- Direct branches out of the lower half ---- */

#define LAST_PAGES 0x7fffffe00000ul /* the last 2 MiB below the hole, mapped to [2 MiB, 4 MiB) */
#define AT         0x1fffe0ul

extern uint64_t pml4[512];
static uint64_t third[512] __attribute__((aligned(4096)));
static uint64_t second[512] __attribute__((aligned(4096)));

static void direct_branches(void)
{
    static const struct {
        const char *name;
        uint8_t code[8];
        bool faults;
    } rows[] = {
        {"JMP rel32", {0xe9, 0x00, 0x01, 0, 0}, true},
        {"JMP rel8", {0xeb, 0x7e}, true},
        {"CALL rel32", {0xe8, 0x00, 0x01, 0, 0}, true},
        {"JZ rel8, taken", {0x74, 0x7e}, true},
        {"JZ rel32, taken", {0x0f, 0x84, 0, 1, 0, 0}, true},
        {"JNZ rel8, not taken", {0x75, 0x7e, 0xcd, 0x80}, false},
        {"LOOP", {0xe2, 0x7e}, true},
        {"JRCXZ, not taken", {0xe3, 0x7e, 0xcd, 0x80}, false},
        {"JMP rel32 inside", {0xeb, 0x01, 0xf4, 0xcd, 0x80}, false},
    };

    pml4[255] = (uint64_t)third | 7;
    third[511] = (uint64_t)second | 7;
    second[511] = 0x200000 | 0x83;
    for (unsigned n = 0; n < COUNT(rows); n++) {
        context("%s", rows[n].name);
        for (unsigned k = 0; k < sizeof(rows[n].code); k++)
            ((volatile uint8_t *)(0x200000 + AT))[k] = rows[n].code[k];
        TRY("xor %%eax, %%eax\n mov %%rsp, %%rbx\n jmp *%0",
            :
            : "r"(LAST_PAGES + AT), "c"(2)
            : "rax", "rbx", "cc", "memory");
        if (rows[n].faults) {
            EXPECT_TRAP(GP, 0);
            EXPECT_EQ(trap.ip, LAST_PAGES + AT);
            EXPECT_EQ(trap.sp, try_sp); /* CALL has pushed nothing */
        } else {
            EXPECT_RETURN();
        }
    }
    pml4[255] = 0;
    write_cr3(read_cr3());
}

/* The same behind a comparison, which the interpreter may run as one with the branch: the branch
 * alone faults, and the flags are the comparison's. RBX: a word of 5 in memory, RCX: 5. */
static void fused_branches(void)
{
    static const struct {
        const char *name;
        uint8_t code[12];
        uint8_t at; /* of the branch */
        uint8_t zf;
        bool faults;
    } rows[] = {
        {"CMP r, r; JZ", {0x39, 0xc9, 0x74, 0x7e}, 2, 1, true},
        {"CMP r64, r64; JZ", {0x48, 0x39, 0xc9, 0x74, 0x7e}, 3, 1, true},
        {"CMP r8, r8; JZ", {0x38, 0xc9, 0x74, 0x7e}, 2, 1, true},
        {"CMP r16, r16; JZ", {0x66, 0x39, 0xc9, 0x74, 0x7e}, 3, 1, true},
        {"CMP r, imm8; JZ", {0x83, 0xf9, 0x05, 0x74, 0x7e}, 3, 1, true},
        {"CMP r, imm8; JB", {0x83, 0xf9, 0x06, 0x72, 0x7e}, 3, 0, true},
        {"CMP r, imm32; JNZ", {0x81, 0xf9, 1, 2, 3, 4, 0x75, 0x7e}, 6, 0, true},
        {"CMP m32, imm8; JZ", {0x83, 0x3b, 0x05, 0x74, 0x7e}, 3, 1, true},
        {"CMP m32, r; JNL", {0x39, 0x0b, 0x7d, 0x7e}, 2, 1, true},
        {"CMP r, m32; JNA", {0x3b, 0x0b, 0x76, 0x7e}, 2, 1, true},
        {"CMP m8, imm8; JNZ", {0x80, 0x3b, 0x06, 0x75, 0x7e}, 3, 0, true},
        {"TEST r, r; JNZ", {0x85, 0xc9, 0x75, 0x7e}, 2, 0, true},
        {"TEST r64, r64; JNS", {0x48, 0x85, 0xc9, 0x79, 0x7e}, 3, 0, true},
        {"TEST r8, r8; JNZ rel32", {0x84, 0xc9, 0x0f, 0x85, 0, 1, 0, 0}, 2, 0, true},
        {"TEST r8, imm; JZ", {0xf6, 0xc1, 0x02, 0x74, 0x7e}, 3, 1, true},
        {"TEST m8, imm; JZ", {0xf6, 0x03, 0x02, 0x74, 0x7e}, 3, 1, true},
        {"SUB; JZ", {0x83, 0xe9, 0x05, 0x74, 0x7e}, 3, 1, true},
        {"DEC; JNZ", {0xff, 0xc9, 0x75, 0x7e}, 2, 0, true},
        {"AND; JNZ", {0x83, 0xe1, 0x04, 0x75, 0x7e}, 3, 0, true},
        {"CMP; JNZ, not taken", {0x83, 0xf9, 0x05, 0x75, 0x7e, 0xcd, 0x80}, 5, 1, false},
        {"TEST m8; JNZ, not taken", {0xf6, 0x03, 0x02, 0x75, 0x7e, 0xcd, 0x80}, 5, 1, false},
        {"CMP; JZ inside", {0x83, 0xf9, 0x05, 0x74, 0x01, 0xf4, 0xcd, 0x80}, 6, 1, false},
    };
    static volatile uint32_t word = 5;

    pml4[255] = (uint64_t)third | 7;
    third[511] = (uint64_t)second | 7;
    second[511] = 0x200000 | 0x83;
    for (unsigned n = 0; n < COUNT(rows); n++) {
        context("%s", rows[n].name);
        for (unsigned k = 0; k < sizeof(rows[n].code); k++)
            ((volatile uint8_t *)(0x200000 + AT))[k] = rows[n].code[k];
        TRY("mov %%rsp, %%rdx\n jmp *%0",
            :
            : "r"(LAST_PAGES + AT), "b"(&word), "c"(5)
            : "rax", "rdx", "cc", "memory");
        if (rows[n].faults)
            EXPECT_TRAP(GP, 0);
        else
            EXPECT_RETURN();
        EXPECT_EQ(trap.ip, LAST_PAGES + AT + rows[n].at + (rows[n].faults ? 0 : 2));
        EXPECT_EQ(trap.flags >> 6 & 1, rows[n].zf);
    }
    pml4[255] = 0;
    write_cr3(read_cr3());
}

/* Bases and MSRs are checked for the widest paging that there is, whatever CR4.LA57 says. */
static void wide_addresses(void)
{
    const uint64_t wide = 0x00ff800000000000, wider = 0x01ff800000000000;
    bool la57 = HAS_7C(16);

    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
    TRY("wrmsr", : : "c"(MSR_LSTAR), "a"((uint32_t)wide), "d"((uint32_t)(wide >> 32)));
    if (la57)
        EXPECT_NO_TRAP();
    else
        EXPECT_FAULT(GP, 0);
    TRY_FAULT(GP, 0, "wrmsr",
              :
              : "c"(MSR_LSTAR), "a"((uint32_t)wider), "d"((uint32_t)(wider >> 32)));
    context("a branch");
    TRY_FAULT(GP, 0, "jmp *%0", : : "r"(wide));
    TRY_FAULT(GP, 0, "mov (%0), %%eax", : : "r"(wide) : "eax");
    if (HAS_7B(0)) {
        context("WRGSBASE");
        set_cr4(CR4_FSGSBASE, true);
        TRY("wrgsbase %0", : : "r"(wide));
        if (la57)
            EXPECT_NO_TRAP();
        else
            EXPECT_FAULT(GP, 0);
        TRY_FAULT(GP, 0, "wrgsbase %0", : : "r"(wider));
        TRY_OK("wrgsbase %0", : : "r"(0ul));
    }
}
#endif

/* ---- Machine check ---- */

static void machine_check(void)
{
    unsigned banks;

    if (!HAS_1D(14) || !HAS_1D(7)) {
        skip("no machine check");
        return;
    }
    TRY_OK("mov %0, %%cr4", : : "r"(read_cr4() | CR4_MCE));
    EXPECT(read_cr4() & CR4_MCE);
    banks = rdmsr(0x179) & 0xff;
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(0x179), "a"(0), "d"(0));
    wrmsr(0x17a, 4); /* MCG_STATUS.MCIP */
    EXPECT_EQ(rdmsr(0x17a), 4);
    wrmsr(0x17a, 0);
    TRY("rdmsr", : : "c"(0x17b) : "eax", "edx"); /* MCG_CTL: there if CAP says so */
    EXPECT_EQ(trap.vector, rdmsr(0x179) & 0x100 ? NO_TRAP : GP);
    if (rdmsr(0x179) & 0x100) {
        wrmsr(0x17b, ~0ull);
        EXPECT_EQ(rdmsr(0x17b), ~0ull);
        wrmsr(0x17b, 0);
        EXPECT_EQ(rdmsr(0x17b), 0);
    }
    context("banks");
    for (unsigned n = 0; n < banks; n++) {
        TRY_OK("rdmsr", : : "c"(0x400 + 4 * n) : "eax", "edx");
        TRY_OK("wrmsr", : : "c"(0x401 + 4 * n), "a"(0), "d"(0));
        TRY_FAULT(GP, 0, "wrmsr", : : "c"(0x401 + 4 * n), "a"(1), "d"(0));
        TRY_FAULT(GP, 0, "wrmsr", : : "c"(0x401 + 4 * n), "a"(0), "d"(1u << 31));
    }
    TRY_FAULT(GP, 0, "rdmsr", : : "c"(0x400 + 4 * banks) : "eax", "edx");
    TRY_FAULT(GP, 0, "rdmsr", : : "c"(0x401 + 4 * banks) : "eax", "edx");
}

const struct test_case cases[] = {
    {"UMIP", umip},
#ifndef __x86_64__
    {"UMIP in virtual-8086 mode", umip_v86},
#endif
    {"RDPMC", rdpmc},
    {"MONITOR", monitor},
    {"INVPCID", invpcid},
    {"single step", single_step},
    {"IA32_DEBUGCTL", branch_step},
#ifdef __x86_64__
    {"traced SYSCALL", traced_syscall},
    {"direct branches", direct_branches},
    {"fused branches", fused_branches},
    {"wide addresses", wide_addresses},
#endif
    {"machine check", machine_check},
};
PROGRAM("system");
