/* Last-branch records: IA32_DEBUGCTL.LBR, the last branch, and the last before an exception or
 * interrupt (SDM 3B 17.4; the MSRs are those of the P6 family and of AMD64). */
#include "debug.h"
#include "segments.h"

#define MSR_DEBUGCTL    0x1d9
#define MSR_BRANCH_FROM 0x1db
#define MSR_BRANCH_TO   0x1dc
#define MSR_INT_FROM    0x1dd
#define MSR_INT_TO      0x1de
#define LBR             1
#define BTF             2

#ifdef __x86_64__
#define AX      "rax"
#define SP_NAME "rsp"
#else
#define AX      "eax"
#define SP_NAME "esp"
#endif

static bool there(void)
{
    TRY("wrmsr", : : "c"(MSR_DEBUGCTL), "a"(LBR), "d"(0));
    if (trap.vector == NO_TRAP) {
        TRY("rdmsr", : : "c"(MSR_BRANCH_FROM) : "eax", "edx");
        wrmsr(MSR_DEBUGCTL, 0);
    }
    if (trap.vector == NO_TRAP)
        return true;
    skip("no LBR, or other MSRs");
    return false;
}

static void expect_branch(const void *from, const void *to)
{
    EXPECT_EQ(rdmsr(MSR_BRANCH_FROM), (unsigned long)from);
    EXPECT_EQ(rdmsr(MSR_BRANCH_TO), (unsigned long)to);
}

/* Code between two WRMSR, which turn LBR on and off; it may use EAX and the stack. */
#define RECORDED(name, code)                                                                       \
    extern const char name[], name##_from[], name##_to[];                                          \
    asm(".pushsection .text\n" #name                                                               \
        ": mov $0x1d9, %ecx\n xor %edx, %edx\n mov $1, %eax\n wrmsr\n" code                        \
        "\n mov $0x1d9, %ecx\n xor %edx, %edx\n xor %eax, %eax\n wrmsr\n ret\n .popsection")

RECORDED(rec_jmp, "nop\n rec_jmp_from: jmp rec_jmp_to\n nop\n rec_jmp_to:");
RECORDED(rec_jmp32, "rec_jmp32_from: .byte 0xe9\n .long 5\n .fill 5, 1, 0x90\n rec_jmp32_to:");
RECORDED(rec_back, "jmp 2f\n rec_back_to: jmp 3f\n 2: rec_back_from: jmp rec_back_to\n 3: nop");
RECORDED(rec_jcc, "xor %eax, %eax\n rec_jcc_from: jz rec_jcc_to\n nop\n rec_jcc_to:");
RECORDED(rec_not, "rec_not_from: jmp rec_not_to\n nop\n rec_not_to: xor %eax, %eax\n jnz 1f\n nop\n"
                  "1: nop");
RECORDED(rec_loop, "mov $2, %ecx\n rec_loop_to: nop\n rec_loop_from: loop rec_loop_to");
RECORDED(rec_call, "rec_call_from: call rec_call_to\n nop\n jmp 1f\n"
                   "rec_call_to: pop %" AX "\n 1:");
RECORDED(rec_ret, "call 1f\n rec_ret_to: nop\n mov $0x1d9, %ecx\n xor %edx, %edx\n xor %eax, %eax\n"
                  "wrmsr\n ret\n 1: nop\n rec_ret_from: ret");
RECORDED(rec_call_next, "rec_call_next_from: call rec_call_next_to\n rec_call_next_to: pop %" AX);
RECORDED(rec_jmp_next, "rec_jmp_next_from: jmp rec_jmp_next_to\n rec_jmp_next_to:");
RECORDED(rec_self, "mov $3, %ecx\n rec_self_from: rec_self_to: loop rec_self_to");
RECORDED(rec_indirect, "mov $rec_indirect_to, %" AX "\n rec_indirect_from: jmp *%" AX "\n nop\n"
                       "rec_indirect_to:");
RECORDED(rec_rep, "rec_rep_from: jmp rec_rep_to\n nop\n rec_rep_to: mov $5, %ecx\n"
                  "mov $rec_rep, %" AX "\n push %" AX "\n"
#ifdef __x86_64__
                  "pop %rsi\n"
#else
                  "pop %esi\n"
#endif
                  "rep lodsb");

static void call_recorded(const char *code)
{
    asm volatile("call *%0" : : "r"(code) : "eax", "ecx", "edx", "esi", "memory", "cc");
}

static void branches(void)
{
#define ROW(name)                                                                                  \
    {                                                                                              \
#name, name, name##_from, name##_to                                                        \
    }
    const struct {
        const char *name, *code, *from, *to;
    } rows[] = {
        ROW(rec_jmp),  ROW(rec_jmp32),     ROW(rec_jcc),      ROW(rec_not),
        ROW(rec_loop), ROW(rec_call_next), ROW(rec_jmp_next), ROW(rec_self),
        ROW(rec_call), ROW(rec_ret),       ROW(rec_indirect), ROW(rec_rep),
    };

    if (!there())
        return;
    for (unsigned n = 0; n < COUNT(rows); n++) {
        context("%s", rows[n].name);
        call_recorded(rows[n].code);
        EXPECT_EQ(rdmsr(MSR_DEBUGCTL), 0);
        expect_branch(rows[n].from, rows[n].to);
    }
    context("the last of several");
    call_recorded(rec_back);
    EXPECT_EQ(rdmsr(MSR_BRANCH_FROM), (unsigned long)rec_back_to);
}

static void registers(void)
{
    uint64_t from, to;

    if (!there())
        return;
    call_recorded(rec_jmp);
    from = rdmsr(MSR_BRANCH_FROM);
    to = rdmsr(MSR_BRANCH_TO);
    asm volatile("jmp 1f\n nop\n 1: call 2f\n 2: pop %%" AX : : : AX);
    EXPECT_EQ(rdmsr(MSR_BRANCH_FROM), from); /* off */
    EXPECT_EQ(rdmsr(MSR_BRANCH_TO), to);
    wrmsr(MSR_DEBUGCTL, LBR | BTF);
    EXPECT_EQ(rdmsr(MSR_DEBUGCTL), LBR | BTF);
    wrmsr(MSR_DEBUGCTL, 0);
    for (unsigned n = MSR_BRANCH_FROM; n <= MSR_INT_TO; n++)
        if (on_gnomon())
            TRY_FAULT(GP, 0, "wrmsr", : : "c"(n), "a"(0), "d"(0));
}

/* Notes the last branch as its first act, then goes on to the library's handler. */
extern const char note_entry[];
volatile uint32_t noted_from, noted_to;
extern volatile unsigned long note_next;
volatile unsigned long note_next;
asm("note_entry: push %" AX "\n push %" AX "\n"
#ifdef __x86_64__
    "push %rcx\n push %rdx\n"
#else
    "push %ecx\n push %edx\n"
#endif
    "mov $0x1db, %ecx\n rdmsr\n mov %eax, noted_from\n"
    "mov $0x1dc, %ecx\n rdmsr\n mov %eax, noted_to\n mov note_next, %" AX "\n"
#ifdef __x86_64__
    "mov %rax, 24(%rsp)\n pop %rdx\n pop %rcx\n pop %rax\n ret"
#else
    "mov %eax, 12(%esp)\n pop %edx\n pop %ecx\n pop %eax\n ret"
#endif
);

static void note_vector(unsigned vector)
{
    note_next = (unsigned long)(trap_stubs + 16 * vector);
    idt_set(vector, SEL_CODE, note_entry, ACC_P | ACC_INT, 0);
}

static void exceptions(void)
{
    unsigned long from, to;

    if (!there())
        return;
    note_vector(UD);
    TRY("mov" WORD " $1f, %0\n mov" WORD " $2f, %1\n mov $0x1d9, %%ecx\n xor %%edx, %%edx\n"
        "mov $1, %%eax\n wrmsr\n 1: jmp 2f\n nop\n 2: ud2",
        : "=&r"(from), "=&r"(to)
        :
        : "eax", "ecx", "edx");
    wrmsr(MSR_DEBUGCTL, 0);
    EXPECT_TRAP(UD, 0);
    EXPECT_EQ(trap.ip, to);
    EXPECT_EQ(rdmsr(MSR_INT_FROM), from);
    EXPECT_EQ(rdmsr(MSR_INT_TO), to);
    EXPECT_EQ(noted_from, (uint32_t)to); /* the exception itself */
    EXPECT_EQ(noted_to, (uint32_t)(unsigned long)note_entry);
    context("INT n is a branch");
    note_vector(0x44);
    TRY("mov" WORD " $2f, %0\n mov $0x1d9, %%ecx\n xor %%edx, %%edx\n mov $1, %%eax\n wrmsr\n"
        "jmp 2f\n nop\n 2: int $0x44",
        : "=&r"(from)
        :
        : "eax", "ecx", "edx");
    wrmsr(MSR_DEBUGCTL, 0);
    EXPECT_TRAP(0x44, 0);
    EXPECT_EQ(noted_from, (uint32_t)from);
    EXPECT_EQ(noted_to, (uint32_t)(unsigned long)note_entry);
}

/* #DB clears LBR and records nothing: its handler finds what went before. */
static void debug_exceptions(void)
{
    unsigned long from, to;

    if (!there())
        return;
    call_recorded(rec_jmp);
    TRY("mov" WORD " $1f, %0\n mov" WORD " $2f, %1\n mov $0x1d9, %%ecx\n xor %%edx, %%edx\n"
        "mov $1, %%eax\n wrmsr\n 1: jmp 2f\n nop\n 2: pushf\n orl $0x100, (%%" SP_NAME
        ")\n popf\n nop",
        : "=&r"(from), "=&r"(to)
        :
        : "eax", "ecx", "edx", "memory");
    EXPECT_TRAP(DB, 0);
    EXPECT_EQ(rdmsr(MSR_DEBUGCTL), 0);
    expect_branch((void *)from, (void *)to);
    context("with BTF, at the branch");
    TRY("mov" WORD " $1f, %0\n mov" WORD " $2f, %1\n mov $0x1d9, %%ecx\n xor %%edx, %%edx\n"
        "mov $3, %%eax\n wrmsr\n pushf\n orl $0x100, (%%" SP_NAME ")\n popf\n nop\n"
        "1: jmp 2f\n nop\n 2: nop",
        : "=&r"(from), "=&r"(to)
        :
        : "eax", "ecx", "edx", "memory");
    EXPECT_TRAP(DB, 0);
    EXPECT_EQ(trap.ip, to);
    EXPECT_EQ(rdmsr(MSR_DEBUGCTL), 0);
    expect_branch((void *)from, (void *)to);
    write_dr6(DR6_INIT);
}

const struct test_case cases[] = {
    {"branches", branches},
    {"registers", registers},
    {"exceptions", exceptions},
    {"debug exceptions", debug_exceptions},
};
PROGRAM("lbr");
