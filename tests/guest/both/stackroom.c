/*
 * Instructions that use the stack when there is no room: #SS(0) at the segment's limit or at an
 * address that is not canonical, #PF at a page that is absent. Whatever has been pushed by then, no
 * register has changed (SDM 2A and 2B; for ENTER, that the final stack pointer is probed, too).
 */
#ifdef __x86_64__
#include "64/paging.h"
#endif
#include "segments.h"

#define WORD_SIZE ((unsigned)sizeof(long))

#ifdef __x86_64__
#define AX   "rax"
#define BASE WINDOW
#else
#define AX   "eax"
#define BASE 0x40000000u
#define PF_W 0x2
#define PF_U 0x4

static volatile uint32_t directory[1024] __attribute__((aligned(4096)));
static volatile uint32_t table[1024] __attribute__((aligned(4096)));
static volatile uint8_t frames[1][4096] __attribute__((aligned(4096)));
#endif

#define PAGE (BASE + 0x1000u) /* present; its neighbours are not */
#define GONE (BASE + 0x5000u)

static void start(void)
{
#ifdef __x86_64__
    window_map(1, frame_pa(0), PTE_P | PTE_W | PTE_U);
    window_flush();
#else
    for (unsigned n = 0; n < 1024; n++)
        directory[n] = n < 4 ? n << 22 | 0x87 : 0;
    directory[BASE >> 22] = (uint32_t)table | 7;
    table[1] = (uint32_t)frames[0] | 7;
    write_cr4(read_cr4() | CR4_PSE);
    write_cr3((uint32_t)directory);
    write_cr0(read_cr0() | CR0_PG);
#endif
}

USER_CODE(do_push, "push %" AX);
USER_CODE(do_push_imm, "push $1");
USER_CODE(do_pushf, "pushf");
USER_CODE(do_push_mem, "push (%" AX ")");
USER_CODE(do_pop, "pop %" AX);
USER_CODE(do_popf, "popf");
USER_CODE(do_pop_mem, "pop (%" AX ")");
USER_CODE(do_call, "call 1f\n 1: nop");
USER_CODE(do_call_reg, "call *%" AX);
USER_CODE(do_ret, "ret");
USER_CODE(do_leave, "leave");
USER_CODE(enter0, "enter $0, $0");
USER_CODE(enter16, "enter $16, $0");
USER_CODE(enter0_1, "enter $0, $1");
USER_CODE(enter0_2, "enter $0, $2");
USER_CODE(enter0_3, "enter $0, $3");
USER_CODE(enter32_3, "enter $32, $3");
USER_CODE(enter_far, "enter $0x3000, $0");
#ifndef __x86_64__
USER_CODE(do_pusha, "pusha");
USER_CODE(do_popa, "popa");
USER_CODE(do_push_es, "push %es");
USER_CODE(enter_w, "enterw $0, $1");
USER_CODE(push_w, "pushw %ax");
#endif

/* How much room an instruction has below (or above, for those that pop) the stack pointer, in words
 * and bytes. Words that it needs and those that are there differ by one. */
static const struct row {
    const char *name, *code;
    unsigned words, bytes; /* that it needs */
    bool up;
} rows[] = {
    {"PUSH", do_push, 1, 0, false},
    {"PUSH imm", do_push_imm, 1, 0, false},
    {"PUSHF", do_pushf, 1, 0, false},
    {"CALL", do_call, 1, 0, false},
    {"POP", do_pop, 1, 0, true},
    {"POPF", do_popf, 1, 0, true},
    {"RET", do_ret, 1, 0, true},
    {"ENTER 0, 0", enter0, 1, 0, false},
    {"ENTER 16, 0", enter16, 1, 16, false},
    {"ENTER 0, 1", enter0_1, 2, 0, false},
    {"ENTER 0, 2", enter0_2, 3, 0, false},
    {"ENTER 0, 3", enter0_3, 4, 0, false},
    {"ENTER 32, 3", enter32_3, 4, 32, false},
#ifndef __x86_64__
    {"PUSHA", do_pusha, 8, 0, false},
    {"POPA", do_popa, 8, 0, true},
    {"PUSH ES", do_push_es, 1, 0, false},
#endif
};

/* The frame that BP names lies in the upper half of the page. */
static void run_row(const char *code, unsigned long sp, unsigned long bp)
{
    for (unsigned n = 0; n < 8; n++)
        user_regs[n] = 0x1000 + n;
    user_regs[UBP] = bp;
    user_regs[UAX] = (unsigned long)user_start;
    run_user_with(code, SEL_USER64, sp, 2);
}

static void expect_unchanged(unsigned long sp, unsigned long bp)
{
    EXPECT_EQ(trap.sp, sp);
    EXPECT_EQ(user_regs[UBP], bp);
    EXPECT_EQ(user_regs[UAX], (unsigned long)user_start);
    EXPECT_EQ(user_regs[UBX], 0x1000 + UBX);
}

static void missing_pages(void)
{
    unsigned long bp = PAGE + 0xc00;

    start();
    for (unsigned n = 0; n < COUNT(rows); n++) {
        unsigned size = rows[n].words * WORD_SIZE + rows[n].bytes;
        unsigned long sp = rows[n].up ? PAGE + 0x1000 - size : PAGE + size;

        for (unsigned k = 1; k <= size; k += k < WORD_SIZE ? 1 : WORD_SIZE) {
            unsigned long at = rows[n].up ? sp + k : sp - k;

            context("%s, %u bytes short", rows[n].name, k);
            run_row(rows[n].code, at, bp);
            EXPECT_FAULT(PF, PF_U | (rows[n].up ? 0 : PF_W));
            expect_unchanged(at, bp);
        }
        context("%s, just room enough", rows[n].name);
        if (rows[n].up)
            continue;
        run_row(rows[n].code, sp, bp);
        EXPECT_RETURN();
    }
}

static void missing_operands(void)
{
    start();
    context("LEAVE");
    run_row(do_leave, PAGE + 0x800, GONE);
    EXPECT_FAULT(PF, PF_U);
    expect_unchanged(PAGE + 0x800, GONE);
    context("ENTER reads an outer frame");
    run_row(enter0_2, PAGE + 0x800, GONE);
    EXPECT_FAULT(PF, PF_U);
    EXPECT_EQ(trap.cr2, GONE - WORD_SIZE);
    expect_unchanged(PAGE + 0x800, GONE);
    run_row(enter0_3, PAGE + 0x800, PAGE + WORD_SIZE);
    EXPECT_FAULT(PF, PF_U);
    EXPECT_EQ(trap.cr2, PAGE - WORD_SIZE);
    expect_unchanged(PAGE + 0x800, PAGE + WORD_SIZE);
    context("ENTER with locals in another page");
    run_row(enter_far, PAGE + 0x800, PAGE + 0xc00);
    EXPECT_FAULT(PF, PF_U | PF_W);
    expect_unchanged(PAGE + 0x800, PAGE + 0xc00);
}

#ifdef __x86_64__
#define STRANGE 0x800000001000ul /* not canonical */

/* #SS, not #GP, where the stack is meant; also for LEAVE, which reads by RBP. */
static void strange_addresses(void)
{
    static const char *const codes[] = {do_push, do_push_imm, do_pushf,    do_pop,
                                        do_popf, do_call,     do_call_reg, do_ret,
                                        enter0,  enter0_1,    enter0_2,    enter16};

    start();
    for (unsigned n = 0; n < COUNT(codes); n++) {
        context("row %u", n);
        run_row(codes[n], STRANGE, PAGE + 0xc00);
        EXPECT_FAULT(SS, 0);
        expect_unchanged(STRANGE, PAGE + 0xc00);
    }
    context("LEAVE");
    run_row(do_leave, PAGE + 0x800, STRANGE);
    EXPECT_FAULT(SS, 0);
    expect_unchanged(PAGE + 0x800, STRANGE);
    context("ENTER reads an outer frame");
    run_row(enter0_2, PAGE + 0x800, STRANGE);
    EXPECT_FAULT(SS, 0);
    expect_unchanged(PAGE + 0x800, STRANGE);
}
#else
/* SS is 4 KiB at PAGE, all of it there; or the 12 bytes above it. */
#define SEL_SMALL SEL(0)

#define IN_SMALL(name, code)                                                                       \
    USER_CODE(name, "mov $0x63, %ecx\n mov %ecx, %ss\n mov %edx, %esp\n" code)
IN_SMALL(small_push, "push %eax");
IN_SMALL(small_pusha, "pusha");
IN_SMALL(small_pop, "pop %ebx");
IN_SMALL(small_call, "call 1f\n 1: nop");
IN_SMALL(small_enter, "enter $0, $0");
IN_SMALL(small_enter16, "enter $16, $0");
IN_SMALL(small_enter2, "enter $0, $2");
IN_SMALL(small_leave, "leave");

static void limits(void)
{
    static const struct {
        const char *name, *code;
        uint32_t esp, ebp;
    } small[] = {
        {"PUSH at 0", small_push, 0, 0x800},
        {"PUSH at 3", small_push, 3, 0x800},
        {"PUSHA", small_pusha, 28, 0x800},
        {"POP", small_pop, 0xffd, 0x800},
        {"CALL", small_call, 2, 0x800},
        {"ENTER", small_enter, 3, 0x800},
        {"ENTER 16, 0", small_enter16, 19, 0x800},
        {"ENTER 0, 2 with room for two", small_enter2, 8, 0x800},
        {"ENTER 0, 2, the frame", small_enter2, 0x400, 2},
        {"LEAVE", small_leave, 0x400, 0xffd},
    };

    start();
    gdt_set(SEL_SMALL, descriptor(PAGE, 0xfff, ACC_P | ACC_DPL(3) | ACC_DATA | ACC_W, SEG_D));
    for (unsigned n = 0; n < COUNT(small); n++) {
        context("%s", small[n].name);
        user_regs[UDX] = small[n].esp;
        user_regs[UBP] = small[n].ebp;
        run_user(small[n].code);
        EXPECT_TRAP(SS, 0);
        EXPECT_EQ(trap.ip, (uint32_t)small[n].code + 9);
        EXPECT_EQ(trap.sp, small[n].esp);
        EXPECT_EQ(trap.ss, SEL_SMALL | 3);
        EXPECT_EQ(user_regs[UBP], small[n].ebp);
    }
}

/* Operands of 16 bits on a stack of 32. */
static void narrow(void)
{
    start();
    run_row(push_w, PAGE + 1, PAGE + 0xc00);
    EXPECT_FAULT(PF, PF_U | PF_W);
    expect_unchanged(PAGE + 1, PAGE + 0xc00);
    run_row(enter_w, PAGE + 3, PAGE + 0xc00);
    EXPECT_FAULT(PF, PF_U | PF_W);
    expect_unchanged(PAGE + 3, PAGE + 0xc00);
    run_row(enter_w, PAGE + 4, PAGE + 0xc00);
    EXPECT_RETURN();
}
#endif

/* POP to memory that is not there: the stack pointer has not moved. */
static void memory_operands(void)
{
    start();
    for (unsigned n = 0; n < 8; n++)
        user_regs[n] = 0x1000 + n;
    user_regs[UAX] = GONE;
    run_user_with(do_pop_mem, SEL_USER64, PAGE + 0x800, 2);
    EXPECT_FAULT(PF, PF_U | PF_W);
    EXPECT_EQ(trap.sp, PAGE + 0x800);
    user_regs[UAX] = GONE;
    run_user_with(do_push_mem, SEL_USER64, PAGE + 0x800, 2);
    EXPECT_FAULT(PF, PF_U);
    EXPECT_EQ(trap.sp, PAGE + 0x800);
    context("both are missing: the source first");
    user_regs[UAX] = GONE;
    run_user_with(do_push_mem, SEL_USER64, PAGE, 2);
    EXPECT_FAULT(PF, PF_U);
    EXPECT_EQ(trap.cr2, GONE);
}

const struct test_case cases[] = {
    {"pages that are missing", missing_pages},
    {"frames that are missing", missing_operands},
    {"memory operands", memory_operands},
#ifdef __x86_64__
    {"addresses that are not canonical", strange_addresses},
#else
    {"limits", limits},
    {"16-bit operands", narrow},
#endif
};
PROGRAM("stackroom");
