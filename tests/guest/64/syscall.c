/* SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS, and what CPL 3 may not do in long mode. */
#include "segments.h"

#define HOLE 0x800000000000ull

extern const char enter_64[], enter_noted[];
/* The kernel's entry: notes flags and ends TRY. */
asm("enter_64: int $0x80\n"
    "enter_noted: mov %ss, %eax\n mov %eax, %r10d\n pushf\n pop %rdx\n int $0x80");

USER_CODE(user_syscall, "stc\n std\n syscall");
USER_CODE(user_sysenter, "mov %rsp, %rcx\n sysenter");
USER_CODE(user_sysret, "sysretq");
USER_CODE(user_sysexit, "sysexitl");
USER_CODE(user_swapgs, "swapgs");
USER_CODE(user_nothing, "nop");

static void star_setup(void)
{
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
    wrmsr(MSR_STAR, (uint64_t)(SEL_USER32 | 3) << 48 | (uint64_t)SEL_CODE << 32);
    wrmsr(MSR_LSTAR, (uint64_t)enter_noted);
    wrmsr(MSR_CSTAR, (uint64_t)enter_64);
    wrmsr(MSR_FMASK, 0);
}

static void syscall_64(void)
{
    star_setup();
    run_user(user_syscall);
    EXPECT_RETURN();
    EXPECT_EQ(trap.cs, SEL_CODE);
    EXPECT_EQ(trap.ss, SEL_DATA);
    EXPECT_EQ(user_regs[UCX], (uint64_t)user_syscall + 4);
    EXPECT_EQ(user_regs[UDX], 0x403);                    /* no flag masked */
    EXPECT_EQ(user_regs[USP], (uint64_t)user_stack_top); /* RSP stays */
    context("mask");
    wrmsr(MSR_FMASK, 0x401);
    run_user(user_syscall);
    EXPECT_RETURN();
    EXPECT_EQ(user_regs[UDX], 2);
    context("IF");
    wrmsr(MSR_FMASK, 0x200);
    run_user_with(user_syscall, SEL_USER64, (uint64_t)user_stack_top, 0x202);
    EXPECT_RETURN();
    EXPECT_EQ(user_regs[UDX], 0x403);
    context("selectors of STAR are not looked up");
    wrmsr(MSR_STAR, (uint64_t)0xff3 << 32);
    run_user(user_syscall);
    EXPECT_RETURN();
    EXPECT_EQ(trap.cs, 0xff0);
    EXPECT_EQ(trap.ss, 0xff8);
    context("from CPL 0");
    star_setup();
    TRY("syscall", : : : "rax", "rcx", "rdx", "r10", "r11");
    EXPECT_TRAP(0x80, 0);
    EXPECT_EQ(trap.cs, SEL_CODE);
    context("off");
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(uint64_t)EFER_SCE);
    TRY_FAULT(UD, 0, "syscall", :);
    TRY_FAULT(UD, 0, "sysretq", :);
}

static uint64_t user_r11;

/* SYSRET to CPL 3. */
static void sysret(bool wide, uint64_t rip, uint64_t flags)
{
    user_r11 = flags;
    if (wide)
        TRY("mov %1, %%r11\n mov %%rsp, %%rbx\n sysretq",
            :
            : "c"(rip), "r"(flags)
            : "r11", "rax", "rbx", "rdx");
    else
        TRY("mov %1, %%r11\n mov %%rsp, %%rbx\n sysretl",
            :
            : "c"(rip), "r"(flags)
            : "r11", "rax", "rbx", "rdx");
}

USER_CODE(user_show_flags, "pushf\n pop %rdx");

static void sysret_64(void)
{
    star_setup();
    sysret(true, (uint64_t)user_nothing, 2);
    EXPECT_RETURN();
    EXPECT_EQ(trap.cs, SEL_USER64 | 3);
    EXPECT_EQ(trap.ss, SEL_UDATA | 3);
    EXPECT_EQ(trap.sp, try_sp);
    EXPECT_EQ(trap.flags & ~FL_RF, 2);
    sysret(true, (uint64_t)user_nothing, 0x247ed7 | FL_VM | FL_RF);
    EXPECT_RETURN();
    EXPECT_EQ(trap.flags, 0x247ed7);
    context("compatibility mode");
    sysret(false, (uint64_t)user_nothing | 0xffffffff00000000, 2);
    EXPECT_RETURN();
    EXPECT_EQ(trap.cs, SEL_USER32 | 3);
    EXPECT_EQ(trap.ss, SEL_UDATA | 3);
    EXPECT_EQ(trap.ip, (uint64_t)user_nothing + 3);
    context("not canonical");
    sysret(true, HOLE, 2);
    EXPECT_TRAP(GP, 0);
    EXPECT_EQ(trap.cs, SEL_CODE);
    context("at CPL 3");
    run_user(user_sysret);
    EXPECT_FAULT(GP, 0);
}

/* Code of compatibility mode at CPL 3. */
USER_CODE(user_syscall_32, ".code32\n syscall\n int $0x80\n .code64");
USER_CODE(user_sysenter_32, ".code32\n sysenter\n int $0x80\n .code64");
USER_CODE(user_swapgs_32, ".code32\n .byte 0x0f, 0x01, 0xf8\n int $0x80\n .code64");

static void compatibility(void)
{
    star_setup();
    context("Intel: no SYSCALL in compatibility mode");
    if (cpuid(0, 0).b == 0x756e6547) {
        run_user_with(user_syscall_32, SEL_USER32, (uint64_t)user_stack_top, 2);
        EXPECT_FAULT(UD, 0);
    }
    run_user_with(user_swapgs_32, SEL_USER32, (uint64_t)user_stack_top, 2);
    EXPECT_FAULT(UD, 0);
}

static void sysenter(void)
{
    wrmsr(MSR_SYSENTER_CS, 0);
    run_user(user_sysenter);
    EXPECT_TRAP(GP, 0);
    wrmsr(MSR_SYSENTER_CS, 3);
    run_user(user_sysenter);
    EXPECT_TRAP(GP, 0);
    wrmsr(MSR_SYSENTER_CS, SEL_CODE | 3);
    wrmsr(MSR_SYSENTER_EIP, (uint64_t)enter_64);
    wrmsr(MSR_SYSENTER_ESP, 0x12345000);
    wrmsr(MSR_SYSENTER_ESP, (uint64_t)fault_stack_top - 64);
    run_user_with(user_sysenter, SEL_USER64, (uint64_t)user_stack_top, 0x202);
    EXPECT_RETURN();
    EXPECT_EQ(trap.cs, SEL_CODE);
    EXPECT_EQ(trap.ss, SEL_DATA);
    EXPECT_EQ(trap.sp, (uint64_t)fault_stack_top - 64);
    EXPECT_EQ(trap.flags & FL_IF, 0);
    context("from compatibility mode");
    run_user_with(user_sysenter_32, SEL_USER32, (uint64_t)user_stack_top, 0x202);
    EXPECT_RETURN();
    EXPECT_EQ(trap.cs, SEL_CODE);
    EXPECT_EQ(trap.sp, (uint64_t)fault_stack_top - 64);
    context("MSRs hold canonical addresses");
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(MSR_SYSENTER_EIP), "a"(0), "d"(0x8000));
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(MSR_SYSENTER_ESP), "a"(0), "d"(0x8000));
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(MSR_LSTAR), "a"(0), "d"(0x8000));
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(MSR_CSTAR), "a"(0), "d"(0x8000));
}

static void sysexit(void)
{
    uint64_t sp = (uint64_t)user_stack_top - 256;

    wrmsr(MSR_SYSENTER_CS, SEL_CODE);
    TRY("sysexitq", : : "c"(sp), "d"(user_nothing));
    EXPECT_RETURN();
    EXPECT_EQ(trap.cs, (SEL_CODE + 32) | 3);
    EXPECT_EQ(trap.ss, (SEL_CODE + 40) | 3);
    EXPECT_EQ(trap.sp, sp);
    TRY("sysexitl", : : "c"(sp | 0xffffffff00000000), "d"((uint64_t)user_nothing | 1ull << 40));
    EXPECT_RETURN();
    EXPECT_EQ(trap.cs, (SEL_CODE + 16) | 3);
    EXPECT_EQ(trap.ss, (SEL_CODE + 24) | 3);
    EXPECT_EQ(trap.sp, sp);
    context("checks");
    TRY_FAULT(GP, 0, "sysexitq", : : "c"(sp), "d"(HOLE));
    TRY_FAULT(GP, 0, "sysexitq", : : "c"(HOLE), "d"(user_nothing));
    run_user(user_sysexit);
    EXPECT_FAULT(GP, 0);
    wrmsr(MSR_SYSENTER_CS, 2);
    TRY_FAULT(GP, 0, "sysexitl", : : "c"(sp), "d"(user_nothing));
}

static void swapgs(void)
{
    wrmsr(MSR_GS_BASE, 0x1111);
    wrmsr(MSR_KERNEL_GS_BASE, 0xffff888800000000);
    TRY_OK("swapgs", :);
    EXPECT_EQ(rdmsr(MSR_GS_BASE), 0xffff888800000000);
    EXPECT_EQ(rdmsr(MSR_KERNEL_GS_BASE), 0x1111);
    run_user(user_swapgs);
    EXPECT_FAULT(GP, 0);
    wrmsr(MSR_GS_BASE, 0);
}

USER_CODE(user_rdfsbase, "rdfsbase %rax\n wrgsbase %rbx\n rdgsbase %rcx\n wrfsbase %rdx");

static void fsgsbase(void)
{
    uint64_t a;

    if (!HAS_7B(0)) {
        TRY_FAULT(UD, 0, "rdfsbase %0", : "=r"(a));
        skip("no FSGSBASE");
        return;
    }
    write_cr4(read_cr4() & ~(uint64_t)CR4_FSGSBASE);
    TRY_FAULT(UD, 0, "rdfsbase %0", : "=r"(a));
    TRY_FAULT(UD, 0, "wrgsbase %0", : : "r"(0ull));
    write_cr4(read_cr4() | CR4_FSGSBASE);
    wrmsr(MSR_FS_BASE, 0x123456789abc);
    TRY_OK("rdfsbase %0", : "=r"(a));
    EXPECT_EQ(a, 0x123456789abc);
    TRY_OK("rdfsbase %k0", : "=r"(a));
    EXPECT_EQ(a, 0x56789abc);
    TRY_OK("wrgsbase %k0", : : "r"(0xffffffff12345678ull));
    EXPECT_EQ(rdmsr(MSR_GS_BASE), 0x12345678);
    TRY_FAULT(GP, 0, "wrfsbase %0", : : "r"(HOLE));
    TRY_FAULT(UD, 0, ".byte 0xf3, 0x0f, 0xae, 0x00", : : "a"(&a)); /* memory form */
    user_regs[UBX] = 0xffff900000000000;
    user_regs[UDX] = 0x7000;
    run_user(user_rdfsbase);
    EXPECT_RETURN();
    EXPECT_EQ(user_regs[UAX], 0x123456789abc);
    EXPECT_EQ(user_regs[UCX], 0xffff900000000000);
    EXPECT_EQ(rdmsr(MSR_FS_BASE), 0x7000);
    wrmsr(MSR_FS_BASE, 0);
    wrmsr(MSR_GS_BASE, 0);
}

/* Instructions that CPL 3 may not use: #GP(0) each. */
USER_CODE(up_hlt, "hlt");
USER_CODE(up_clts, "clts");
USER_CODE(up_lgdt, "lgdt (%rsp)");
USER_CODE(up_lidt, "lidt (%rsp)");
USER_CODE(up_lldt, "lldt %ax");
USER_CODE(up_ltr, "ltr %ax");
USER_CODE(up_lmsw, "lmsw %ax");
USER_CODE(up_cr0, "mov %cr0, %rax");
USER_CODE(up_to_cr0, "mov %rax, %cr0");
USER_CODE(up_cr2, "mov %cr2, %rax");
USER_CODE(up_cr3, "mov %cr3, %rax");
USER_CODE(up_cr4, "mov %rax, %cr4");
USER_CODE(up_cr8, "mov %cr8, %rax");
USER_CODE(up_dr0, "mov %db0, %rax");
USER_CODE(up_dr7, "mov %rax, %db7");
USER_CODE(up_invd, "invd");
USER_CODE(up_wbinvd, "wbinvd");
USER_CODE(up_invlpg, "invlpg (%rsp)");
USER_CODE(up_rdmsr, "rdmsr");
USER_CODE(up_wrmsr, "wrmsr");
USER_CODE(up_cli, "cli");
USER_CODE(up_sti, "sti");
USER_CODE(up_in, "inb $0x80, %al");
USER_CODE(up_out, "outb %al, $0x80");
USER_CODE(up_in_dx, "in (%dx), %eax");
USER_CODE(up_insb, "insb");
USER_CODE(up_outsb, "outsb");
USER_CODE(up_rdpmc, "rdpmc");

static void privileged(void)
{
    static const char *const codes[] = {
        up_hlt, up_clts,   up_lgdt,   up_lidt,   up_lldt,  up_ltr,   up_lmsw,
        up_cr0, up_to_cr0, up_cr2,    up_cr3,    up_cr4,   up_cr8,   up_dr0,
        up_dr7, up_invd,   up_wbinvd, up_invlpg, up_rdmsr, up_wrmsr, up_cli,
        up_sti, up_in,     up_out,    up_in_dx,  up_insb,  up_outsb, up_rdpmc};

    for (unsigned n = 0; n < COUNT(codes); n++) {
        context("row %u", n);
        user_regs[UDX] = 0x80;
        user_regs[UAX] = SEL_TSS;
        user_regs[UDI] = user_regs[USI] = (uint64_t)user_stack_top - 64;
        run_user(codes[n]);
        EXPECT_FAULT(GP, 0);
    }
}

/* What CR4 bits forbid at CPL 3 only. */
USER_CODE(user_rdtsc, "rdtsc");
USER_CODE(user_sgdt, "sgdt -32(%rsp)\n sidt -32(%rsp)\n sldt %eax\n str %eax\n smsw %eax");
USER_CODE(user_sidt, "sidt -32(%rsp)");
USER_CODE(user_sldt, "sldt %eax");
USER_CODE(user_str, "str %eax");
USER_CODE(user_smsw, "smsw %eax");
USER_CODE(user_sgdt1, "sgdt -32(%rsp)");

static void forbidden_by_cr4(void)
{
    static const char *const umip[] = {user_sgdt1, user_sidt, user_sldt, user_str, user_smsw};

    run_user(user_rdtsc);
    EXPECT_RETURN();
    write_cr4(read_cr4() | CR4_TSD);
    run_user(user_rdtsc);
    EXPECT_FAULT(GP, 0);
    rdtsc();
    run_user(user_sgdt);
    EXPECT_RETURN();
    if (!HAS_7C(2)) {
        TRY_FAULT(GP, 0, "mov %0, %%cr4", : : "r"(read_cr4() | CR4_UMIP));
        return;
    }
    write_cr4(read_cr4() | CR4_UMIP);
    for (unsigned n = 0; n < COUNT(umip); n++) {
        context("UMIP, row %u", n);
        run_user(umip[n]);
        EXPECT_FAULT(GP, 0);
    }
}

const struct test_case cases[] = {
    {"SYSCALL", syscall_64},
    {"SYSRET", sysret_64},
    {"in compatibility mode", compatibility},
    {"SYSENTER", sysenter},
    {"SYSEXIT", sysexit},
    {"SWAPGS", swapgs},
    {"FSGSBASE", fsgsbase},
    {"privileged instructions", privileged},
    {"forbidden by CR4", forbidden_by_cr4},
};
PROGRAM("syscall");
