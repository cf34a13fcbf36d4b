/*
 * What is reported if several things go wrong at one instruction, or at one boundary between two
 * (SDM 3A table 6-2, from the top: traps of the previous instruction, NMI, interrupts, code
 * breakpoints, fetching, decoding, execution).
 */
#include "debug.h"
#include "paging.h"
#include "segments.h"

/* ---- At one boundary ---- */

#define APIC(reg)   (*(volatile uint32_t *)(0xfee00000ul + (reg)))
#define APIC_ID     0x20
#define APIC_EOI    0xb0
#define APIC_SVR    0xf0
#define APIC_ICR    0x300
#define APIC_ICR_HI 0x310
#define ICR_NMI     0x400
#define ICR_SELF    0x40000
#define IRQ         0x51

/* Events in their order. */
static struct {
    unsigned long vector, ip;
} seen[16];
static unsigned seen_count;

static bool note_hook(struct frame *f)
{
    if (f->vector != DB && f->vector != NMI && f->vector != IRQ)
        return false;
    if (seen_count < COUNT(seen)) {
        seen[seen_count].vector = f->vector;
        seen[seen_count].ip = f->ip;
    }
    seen_count++;
    if (f->vector == IRQ)
        APIC(APIC_EOI) = 0;
    if (f->vector == DB)
        f->flags |= FL_RF;
    return true;
}

static void note_start(void)
{
    APIC(APIC_SVR) = 0x1ff;
    seen_count = 0;
    trap_hook = note_hook;
}

static void expect_seen(unsigned n, unsigned long vector, const void *ip)
{
    context("event %u", n);
    EXPECT(n < seen_count);
    EXPECT_EQ(seen[n].vector, vector);
    EXPECT_EQ(seen[n].ip, (unsigned long)ip);
}

/* RDI is the address of the ICR. Both things are pending at the label. */
#define BOUNDARY(name, code)                                                                       \
    extern char name##_at[];                                                                       \
    extern void name(volatile uint32_t *icr);                                                      \
    asm(".pushsection .text\n" #name ": cli\n" code "\n" #name "_at: nop\n cli\n ret\n"            \
        ".popsection")

BOUNDARY(after_sti, "movl $0x40051, (%rdi)\n sti\n nop");
BOUNDARY(after_popf, "movl $0x40051, (%rdi)\n pushf\n orl $0x200, (%rsp)\n popfq");
BOUNDARY(nmi_and_irq, "movl $0x40051, (%rdi)\n sti\n movl $0x400, (%rdi)");
BOUNDARY(step_and_irq, "movl $0x40051, (%rdi)\n pushf\n orl $0x300, (%rsp)\n popfq");
BOUNDARY(step_and_nmi, "pushf\n orl $0x100, (%rsp)\n popfq\n movl $0x400, (%rdi)");

static void shadow_of_sti(void)
{
    note_start();
    after_sti(&APIC(APIC_ICR));
    EXPECT_EQ(seen_count, 1);
    expect_seen(0, IRQ, after_sti_at);
    note_start();
    after_popf(&APIC(APIC_ICR));
    expect_seen(0, IRQ, after_popf_at);
}

static void nmi_before_interrupts(void)
{
    note_start();
    nmi_and_irq(&APIC(APIC_ICR));
    EXPECT_EQ(seen_count, 2);
    expect_seen(0, NMI, nmi_and_irq_at);
    expect_seen(1, IRQ, nmi_and_irq_at);
}

static void interrupts_before_breakpoints(void)
{
    note_start();
    point_set(0, POINT_EXEC, (unsigned long)after_sti_at, 1);
    after_sti(&APIC(APIC_ICR));
    EXPECT_EQ(seen_count, 2);
    expect_seen(0, IRQ, after_sti_at);
    expect_seen(1, DB, after_sti_at);
    note_start();
    point_set(0, POINT_EXEC, (unsigned long)nmi_and_irq_at, 1);
    nmi_and_irq(&APIC(APIC_ICR));
    EXPECT_EQ(seen_count, 3);
    expect_seen(2, DB, nmi_and_irq_at);
    points_clear();
}

static void traps_before_interrupts(void)
{
    note_start();
    step_and_nmi(&APIC(APIC_ICR)); /* stepped: MOV, then NOP, CLI, RET and this function */
    write_flags(2);
    expect_seen(0, NMI, trap_stubs + 16 * DB); /* in the handler of the trap */
    expect_seen(1, DB, step_and_nmi_at);
    note_start();
    point_set(0, POINT_WRITE, 0xfee00300, 4);
    nmi_and_irq(&APIC(APIC_ICR));
    points_clear();
    expect_seen(0, DB, (char *)nmi_and_irq + 7);
    expect_seen(1, NMI, trap_stubs + 16 * DB);
    expect_seen(2, DB, nmi_and_irq_at);
    expect_seen(3, IRQ, nmi_and_irq_at);
    note_start();
    step_and_irq(&APIC(APIC_ICR)); /* an interrupt before the stepped instruction */
    write_flags(2);
    expect_seen(0, IRQ, step_and_irq_at);
    expect_seen(1, DB, step_and_irq_at + 1);
}

/* Between two iterations of REP: RF is set, so that a breakpoint at it does not hit again. */
extern char rep_at[];
static struct frame rep_frame;

static bool rep_hook(struct frame *f)
{
    if (f->vector == IRQ && f->ip == (unsigned long)rep_at)
        rep_frame = *f;
    return note_hook(f);
}

static void interrupts_in_repetition(void)
{
    volatile uint8_t *to = (volatile uint8_t *)0x400000;
    unsigned long di = 0x400000, count = 0x100000;

    note_start();
    trap_hook = rep_hook;
    point_set(0, POINT_EXEC, (unsigned long)rep_at, 1);
    APIC(0x3e0) = 0xb;
    APIC(0x320) = IRQ;
    APIC(0x380) = 300; /* ns: the handler of #DB, and some of 256 pages later */
    asm volatile("sti\n nop\n .globl rep_at\n rep_at: rep stosb\n cli"
                 : "+D"(di), "+c"(count)
                 : "a"(0x5a)
                 : "memory");
    APIC(0x380) = 0;
    APIC(0x320) = 0x10000;
    points_clear();
    EXPECT_EQ(seen_count, 2);
    expect_seen(0, DB, rep_at);
    expect_seen(1, IRQ, rep_at);
    context("the frame");
    EXPECT(rep_frame.flags & FL_RF);
    EXPECT(rep_frame.rcx > 0 && rep_frame.rcx < 0x100000);
    EXPECT_EQ(rep_frame.rdi, 0x500000 - rep_frame.rcx);
    EXPECT_EQ(count, 0);
    EXPECT_EQ(to[0xfffff], 0x5a);
}

/* ---- Fetching and decoding ---- */

static void put_code(unsigned at, const char *bytes, unsigned count)
{
    for (unsigned n = 0; n < count; n++)
        frames[0][at + n] = (uint8_t)bytes[n];
}

/* The window's first page present, the second not. */
static void window_half(void)
{
    window_map(0, frame_pa(0), PTE_P | PTE_W | PTE_U);
    window_map(1, 0, 0);
    window_flush();
}

static void breakpoint_before_fetch(void)
{
    window_map(0, 0, 0);
    window_flush();
    DEBUG_START();
    point_set(0, POINT_EXEC, WINDOW, 1);
    TRY("call *%0", : : "r"(WINDOW));
    EXPECT_TRAP(PF, PF_FETCH);
    EXPECT_EQ(debug_count, 1);
    EXPECT_EQ(debug_hits[0].ip, WINDOW);
    context("before decoding");
    window_half();
    put_code(0, "\x0f\x0b", 2);
    debug_count = 0;
    TRY("call *%0", : : "r"(WINDOW));
    EXPECT_TRAP(UD, 0);
    EXPECT_EQ(debug_count, 1);
    context("an address that is not canonical");
    debug_count = 0;
    point_set(0, POINT_EXEC, 0x800000000000, 1);
    TRY("jmp *%0", : : "r"(0x800000000000));
    EXPECT_FAULT(GP, 0); /* of the jump */
    EXPECT_EQ(debug_count, 0);
    points_clear();
}

static void fetch_before_decode(void)
{
    window_half();
    context("UD2 ends the page");
    put_code(0xffe, "\x0f\x0b", 2);
    TRY("call *%0", : : "r"(WINDOW + 0xffe));
    EXPECT_TRAP(UD, 0);
    context("the opcode's second byte is absent");
    put_code(0xfff, "\x0f", 1);
    TRY("call *%0", : : "r"(WINDOW + 0xfff));
    EXPECT_TRAP(PF, PF_FETCH);
    EXPECT_EQ(trap.cr2, WINDOW + 0x1000);
    EXPECT_EQ(trap.ip, WINDOW + 0xfff);
    context("LOCK before an absent opcode");
    put_code(0xfff, "\xf0", 1);
    TRY("call *%0", : : "r"(WINDOW + 0xfff));
    EXPECT_TRAP(PF, PF_FETCH);
    context("14 prefixes, the rest absent");
    for (unsigned n = 0; n < 14; n++)
        put_code(0xff2 + n, "\x66", 1);
    TRY("call *%0", : : "r"(WINDOW + 0xff2));
    EXPECT_TRAP(PF, PF_FETCH);
    context("15 prefixes: too long already");
    put_code(0xff1, "\x66", 1);
    TRY("call *%0", : : "r"(WINDOW + 0xff1));
    EXPECT_TRAP(GP, 0);
    EXPECT_EQ(trap.ip, WINDOW + 0xff1);
}

USER_CODE(lock_hlt, "lock\n hlt");
USER_CODE(lock_clts, ".byte 0xf0\n clts");
USER_CODE(lock_wrmsr, ".byte 0xf0\n wrmsr");
USER_CODE(lock_cr3, ".byte 0xf0\n mov %cr3, %rax");
USER_CODE(lock_lgdt, ".byte 0xf0\n lgdt (%rax)");
USER_CODE(lock_cli, ".byte 0xf0\n cli");

static void undefined_before_privilege(void)
{
    static const char *const rows[] = {lock_hlt, lock_clts, lock_wrmsr,
                                       lock_cr3, lock_lgdt, lock_cli};

    for (unsigned n = 0; n < COUNT(rows); n++) {
        context("row %u", n);
        run_user(rows[n]);
        EXPECT_FAULT(UD, 0);
    }
}

#define ABSENT  (WINDOW + 0x1000)
#define STRANGE 0x800000000000ull /* not canonical */

static void undefined_before_not_available(void)
{
    write_cr4(read_cr4() | CR4_OSFXSR);
    write_cr0(read_cr0() | CR0_TS);
    TRY_FAULT(UD, 0, ".byte 0xf0\n flds (%0)", : : "r"(ABSENT));
    TRY_FAULT(UD, 0, ".byte 0xf0\n movaps (%0), %%xmm0", : : "r"(ABSENT));
    context("#NM before faults of operands");
    TRY_FAULT(NM, 0, "flds (%0)", : : "r"(ABSENT));
    TRY_FAULT(NM, 0, "flds (%0)", : : "r"(STRANGE));
    TRY_FAULT(NM, 0, "fstpl (%%rbp)", : : "a"(0));
    TRY_FAULT(NM, 0, "movaps 1(%0), %%xmm0", : : "r"(ABSENT));
    TRY_FAULT(NM, 0, "movq (%0), %%mm0", : : "r"(STRANGE));
    TRY_FAULT(NM, 0, "fxsave 1(%0)", : : "r"(STRANGE));
    TRY_FAULT(NM, 0, "fxrstor (%0)", : : "r"(ABSENT));
    TRY_FAULT(NM, 0, "ldmxcsr (%0)", : : "r"(ABSENT));
    context("a prefix too many");
    TRY_FAULT(GP, 0, ".fill 14, 1, 0x3e\n fld1", :);
}

/* ---- Execution ---- */

static void pending_x87(void)
{
    static const uint16_t unmasked = 0x037f & ~4;
    uint16_t status;

    write_cr4(read_cr4() | CR4_OSFXSR);
    asm volatile("fninit\n fldcw %0\n fldz\n fld1\n .byte 0xd8, 0xf1" : : "m"(unmasked));
    TRY_FAULT(MF, 0, "flds (%0)", : : "r"(ABSENT));
    TRY_FAULT(MF, 0, "fstpl (%0)", : : "r"(STRANGE));
    TRY_FAULT(MF, 0, "movq (%0), %%mm0", : : "r"(ABSENT));
    TRY_FAULT(MF, 0, "paddb %%mm0, %%mm1", :);
    TRY_FAULT(MF, 0, "emms", :);
    TRY_FAULT(MF, 0, "cvtpi2ps %%mm0, %%xmm0", :);
    TRY_FAULT(PF, PF_W, "fnsave (%0)", : : "r"(ABSENT));
    TRY_FAULT(PF, PF_W, "fnstcw (%0)", : : "r"(ABSENT));
    TRY_FAULT(PF, PF_W, "fxsave (%0)", : : "r"(ABSENT));
    TRY_FAULT(PF, 0, "movaps (%0), %%xmm0", : : "r"(ABSENT));
    TRY_OK("xorps %%xmm0, %%xmm0", :);
    TRY_OK("fnstsw %0", : "=m"(status));
    write_cr0(read_cr0() | CR0_TS);
    TRY_FAULT(NM, 0, "flds (%0)", : : "r"(ABSENT));
    TRY_FAULT(NM, 0, "fwait", :);
    TRY_FAULT(UD, 0, ".byte 0xf0\n fld1", :);
    asm volatile("clts\n fninit");
}

static void protection_before_pages(void)
{
    write_cr4(read_cr4() | CR4_OSFXSR);
    TRY_FAULT(GP, 0, "movaps 8(%0), %%xmm0", : : "r"(ABSENT));
    TRY_FAULT(GP, 0, "movntdq %%xmm0, 4(%0)", : : "r"(ABSENT));
    TRY_FAULT(GP, 0, "cmpxchg16b 8(%0)", : : "r"(ABSENT), "a"(0), "b"(0), "c"(0), "d"(0));
    TRY_FAULT(GP, 0, "fxsave 8(%0)", : : "r"(ABSENT));
    TRY_FAULT(GP, 0, "addps 1(%0), %%xmm0", : : "r"(ABSENT));
    TRY_FAULT(GP, 0, "mov (%0), %%eax", : : "r"(STRANGE) : "eax");
    TRY_FAULT(SS, 0, "mov (%%rsp, %0), %%eax", : : "r"(STRANGE) : "eax");
    context("memory before what is done with it");
    TRY_FAULT(PF, 0, "divl (%0)", : : "r"(ABSENT), "a"(1), "d"(1));
    TRY_FAULT(PF, 0, "ldmxcsr (%0)", : : "r"(ABSENT));
    TRY_FAULT(PF, 0, "mov (%0), %%ds", : : "r"(ABSENT));
    TRY_FAULT(PF, 0, "lldt (%0)", : : "r"(ABSENT));
    TRY_FAULT(PF, 0, "ljmp *(%0)", : : "r"(ABSENT));
    TRY_FAULT(PF, 0, "pushq (%0)", : : "r"(ABSENT));
    context("source before destination");
    TRY_FAULT(PF, 0, "movsb", : : "S"(ABSENT), "D"(STRANGE));
    TRY_FAULT(GP, 0, "movsb", : : "S"(STRANGE), "D"(ABSENT));
    TRY_FAULT(PF, 0, "cmpsb", : : "S"(ABSENT), "D"(ABSENT + 8));
    EXPECT_EQ(trap.cr2, ABSENT);
}

USER_CODE(user_lgdt, "lgdt (%rax)");
USER_CODE(user_invlpg, "invlpg (%rax)");
USER_CODE(user_lmsw, "lmsw (%rax)");
USER_CODE(user_lldt, "lldt (%rax)");
USER_CODE(user_insb, "mov %rax, %rdi\n mov $0x80, %edx\n insb");
USER_CODE(user_outsb, "mov %rax, %rsi\n mov $0x80, %edx\n outsb");
USER_CODE(user_read, "mov 1(%rax), %ecx");
USER_CODE(user_write, "mov %ecx, 1(%rax)");
USER_CODE(user_divide, "xor %edx, %edx\n divl (%rax)");
USER_CODE(user_movaps, "movaps 1(%rax), %xmm0");

static void privilege_before_operands(void)
{
    static const char *const rows[] = {user_lgdt, user_lmsw, user_lldt};

    for (unsigned n = 0; n < COUNT(rows); n++) {
        context("row %u", n);
        user_regs[UAX] = ABSENT;
        run_user(rows[n]);
        EXPECT_FAULT(GP, 0);
        EXPECT_EQ(trap.cr2, read_cr2());
    }
    context("port permission before memory");
    user_regs[UAX] = ABSENT;
    run_user(user_insb);
    EXPECT_TRAP(GP, 0);
    user_regs[UAX] = ABSENT;
    run_user(user_outsb);
    EXPECT_TRAP(GP, 0);
    user_regs[UAX] = ABSENT;
    run_user(user_invlpg);
    EXPECT_FAULT(GP, 0);
}

static USER_DATA uint32_t zeroes[8] __attribute__((aligned(16)));

static void user_aligned(const char *code, uint64_t rax)
{
    user_regs[UAX] = rax;
    run_user_with(code, SEL_USER64, (unsigned long)user_stack_top, 2 | FL_AC);
}

static void alignment_last(void)
{
    write_cr4(read_cr4() | CR4_OSFXSR);
    write_cr0(read_cr0() | CR0_AM);
    user_aligned(user_read, (uint64_t)zeroes);
    EXPECT_FAULT(AC, 0);
    user_aligned(user_read, ABSENT);
    EXPECT_FAULT(PF, PF_U);
    user_aligned(user_write, ABSENT);
    EXPECT_FAULT(PF, PF_U | PF_W);
    user_aligned(user_write, (uint64_t)&gdt); /* present, but not the user's */
    EXPECT_FAULT(PF, PF_U | PF_W | PF_P);
    user_aligned(user_read, STRANGE);
    EXPECT_FAULT(GP, 0);
    user_aligned(user_movaps, (uint64_t)zeroes);
    EXPECT_FAULT(GP, 0);
    context("before what is done with the operand");
    user_aligned(user_divide, (uint64_t)zeroes + 1);
    EXPECT_TRAP(AC, 0);
    user_aligned(user_divide, (uint64_t)zeroes);
    EXPECT_TRAP(DE, 0);
}

const struct test_case cases[] = {
    {"shadow of STI", shadow_of_sti},
    {"NMI before interrupts", nmi_before_interrupts},
    {"interrupts before code breakpoints", interrupts_before_breakpoints},
    {"traps before interrupts", traps_before_interrupts},
    {"interrupts in REP", interrupts_in_repetition},
    {"code breakpoints before fetching", breakpoint_before_fetch},
    {"fetching before decoding", fetch_before_decode},
    {"#UD before #GP of privilege", undefined_before_privilege},
    {"#UD before #NM before operands", undefined_before_not_available},
    {"#MF", pending_x87},
    {"protection before pages", protection_before_pages},
    {"privilege before operands", privilege_before_operands},
    {"alignment last", alignment_last},
};
PROGRAM("priorities");
