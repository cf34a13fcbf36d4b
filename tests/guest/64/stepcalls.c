/*
 * EFLAGS.TF through fast system calls and far returns: SYSCALL and SYSRET are stepped by TF as they
 * leave it, SYSENTER and SYSEXIT by TF as they find it; and in compatibility mode.
 */
#include "debug.h"
#include "segments.h"

extern const char kernel_entry[];
asm("kernel_entry: nop\n int $0x80");

USER_CODE(user_syscall, "syscall");
USER_CODE(user_sysenter, "sysenter");
USER_CODE(user_nops, "nop\n nop");

static void setup(void)
{
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
    wrmsr(MSR_STAR, (uint64_t)(SEL_USER32 | 3) << 48 | (uint64_t)SEL_CODE << 32);
    wrmsr(MSR_LSTAR, (uint64_t)kernel_entry);
    wrmsr(MSR_SYSENTER_CS, SEL_CODE);
    wrmsr(MSR_SYSENTER_EIP, (uint64_t)kernel_entry);
    wrmsr(MSR_SYSENTER_ESP, (uint64_t)fault_stack_top);
    DEBUG_START();
}

static void run_stepped(const char *code)
{
    run_user_with(code, SEL_USER64, (uint64_t)user_stack_top, 2 | FL_TF);
    EXPECT_RETURN();
}

static void syscall(void)
{
    setup();
    wrmsr(MSR_FMASK, FL_TF);
    run_stepped(user_syscall);
    EXPECT_EQ(debug_count, 0);
    EXPECT_EQ(trap.flags & FL_TF, 0);
    context("TF not masked");
    setup();
    wrmsr(MSR_FMASK, 0);
    run_stepped(user_syscall);
    EXPECT_EQ(debug_count, 2); /* behind SYSCALL, behind NOP */
    EXPECT_EQ(debug_hits[0].ip, (uint64_t)kernel_entry);
    EXPECT_EQ(debug_hits[0].cs, SEL_CODE);
    EXPECT_EQ(debug_hits[1].ip, (uint64_t)kernel_entry + 1);
}

static void sysret(void)
{
    setup();
    TRY("mov %1, %%r11\n sysretq",
        :
        : "c"(user_nops), "r"(2ul | FL_TF)
        : "r11", "rax", "rbx", "rdx");
    EXPECT_RETURN();
    EXPECT_EQ(debug_count, 3);
    EXPECT_EQ(debug_hits[0].ip, (uint64_t)user_nops); /* before its first instruction */
    EXPECT_EQ(debug_hits[0].cs, SEL_USER64 | 3);
    EXPECT_EQ(debug_hits[2].ip, (uint64_t)user_nops + 2);
    context("TF cleared");
    debug_count = 0;
    TRY("pushf\n orl $0x100, (%%rsp)\n popfq\n mov %1, %%r11\n sysretq",
        :
        : "c"(user_nops), "r"(2ul)
        : "r11", "rax", "rbx", "rdx");
    EXPECT_RETURN();
    EXPECT_EQ(debug_count, 1); /* behind MOV */
}

static void sysenter(void)
{
    setup();
    run_stepped(user_sysenter);
    EXPECT_EQ(debug_count, 2);
    EXPECT_EQ(debug_hits[0].ip, (uint64_t)kernel_entry);
    EXPECT_EQ(debug_hits[1].ip, (uint64_t)kernel_entry + 1);
    context("SYSEXIT");
    debug_count = 0;
    TRY("pushf\n orl $0x100, (%%rsp)\n popfq\n sysexitq",
        :
        : "c"(user_stack_top), "d"(user_nops)
        : "rax", "rbx");
    /* SYSEXIT's data and code follow SYSENTER_CS: 28h and 30h. */
    EXPECT_RETURN();
    EXPECT_EQ(debug_count, 3);
    EXPECT_EQ(debug_hits[0].ip, (uint64_t)user_nops);
}

/* 32- and 16-bit code at CPL 0: far calls, and breakpoints at linear addresses. */
extern char compat_code[], compat_second[], compat_16[];
asm(".pushsection .text\n"
    "compat_code: .code32\n nop\n"
    "compat_second: mov $5, %eax\n lret\n"
    "compat_16: .code16\n nop\n mov $7, %ax\n lretl\n"
    ".code64\n .popsection");

static void compatibility(void)
{
    static struct {
        uint32_t offset;
        uint16_t selector;
    } __attribute__((packed)) pointer;
    uint64_t value;

    pointer.offset = (uint32_t)(uint64_t)compat_code;
    pointer.selector = SEL_CODE32;
    DEBUG_START();
    asm volatile("pushf\n orl $0x100, (%%rsp)\n popfq\n lcall *%1\n"
                 "pushf\n andl $~0x100, (%%rsp)\n popfq\n nop"
                 : "=a"(value)
                 : "m"(pointer)
                 : "memory", "cc");
    EXPECT_EQ((uint32_t)value, 5);
    EXPECT_EQ(debug_count, 4 + 3);
    EXPECT_EQ(debug_hits[0].ip, (uint64_t)compat_code);
    EXPECT_EQ(debug_hits[0].cs, SEL_CODE32);
    EXPECT_EQ(debug_hits[2].ip, (uint64_t)compat_second + 5);
    EXPECT_EQ(debug_hits[3].cs, SEL_CODE);
    context("a breakpoint in 32-bit code");
    debug_count = 0;
    point_set(0, POINT_EXEC, (uint64_t)compat_second, 1);
    asm volatile("lcall *%1" : "=a"(value) : "m"(pointer) : "memory");
    EXPECT_EQ(debug_count, 1);
    EXPECT_EQ(debug_hits[0].ip, (uint64_t)compat_second);
    context("16-bit code with a base");
    gdt_set(SEL(0), descriptor((uint32_t)(uint64_t)compat_16, 0xffff, ACC_P | ACC_CODE | ACC_R, 0));
    pointer.offset = 0;
    pointer.selector = SEL(0);
    point_set(0, POINT_EXEC, (uint64_t)compat_16 + 1, 1);
    debug_count = 0;
    asm volatile("lcall *%1" : "=a"(value) : "m"(pointer) : "memory");
    EXPECT_EQ((uint16_t)value, 7);
    EXPECT_EQ(debug_count, 1);
    EXPECT_EQ(debug_hits[0].ip, 1);
    EXPECT_EQ(debug_hits[0].cs, SEL(0));
    context("not at the offset");
    point_set(0, POINT_EXEC, 1, 1);
    debug_count = 0;
    asm volatile("lcall *%1" : "=a"(value) : "m"(pointer) : "memory");
    EXPECT_EQ(debug_count, 0);
    points_clear();
}

/* The upper half of an address counts. */
static void wide_addresses(void)
{
    static volatile uint32_t word;

    DEBUG_START();
    point_set(0, POINT_WRITE, (uint64_t)&word | 1ull << 32, 4);
    word = 1;
    EXPECT_EQ(debug_count, 0);
    point_set(0, POINT_WRITE, (uint64_t)&word, 4);
    word = 1;
    EXPECT_EQ(debug_count, 1);
    points_clear();
}

const struct test_case cases[] = {
    {"SYSCALL", syscall},
    {"SYSRET", sysret},
    {"SYSENTER and SYSEXIT", sysenter},
    {"compatibility mode", compatibility},
    {"wide addresses", wide_addresses},
};
PROGRAM("stepcalls");
