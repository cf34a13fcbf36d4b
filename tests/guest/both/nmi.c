/* Non-maskable interrupts: blocked until IRET, one kept, HLT, every mode (SDM 3A 6.7). */
#include "segments.h"

#define LAPIC(offset) (*(volatile uint32_t *)(0xfee00000ul + (offset)))
#define SVR           0xf0
#define ICR           0x300
#define LVT_LINT0     0x350

#define INNER 0x33 /* a vector whose handler does nothing but IRET */

static volatile struct {
    unsigned count; /* NMIs that have come */
    unsigned depth; /* handlers that have not returned */
    unsigned deepest;
    unsigned long ip, cs, flags;
    void (*action)(void);
} seen;

static USER_DATA volatile uint32_t user_flag;

static bool on_nmi(struct frame *f)
{
    if (f->vector == INNER)
        return true;
    if (f->vector != NMI)
        return false;
    seen.count++;
    seen.depth++;
    if (seen.depth > seen.deepest)
        seen.deepest = seen.depth;
    seen.ip = f->ip;
    seen.cs = f->cs;
    seen.flags = f->flags;
    user_flag = 1;
    if (seen.action != NULL)
        seen.action();
    seen.depth--;
    return true;
}

static void prepare(void (*action)(void))
{
    seen.count = seen.depth = seen.deepest = 0;
    seen.action = action;
    user_flag = 0;
    trap_hook = on_nmi;
    LAPIC(SVR) = 0x1ff;
}

/* An NMI to this processor; others take it some instructions later. */
static void send_nmi(void)
{
    LAPIC(ICR + 0x10) = LAPIC(0x20) & 0xff000000;
    LAPIC(ICR) = 0x4400;
    for (unsigned n = 0; n < 20; n++)
        asm volatile("pause" : : : "memory");
}

/* An NMI in about 100 us, from channel 0 of the PIT by way of LINT0. */
static void send_late(void)
{
    static const uint8_t init[][2] = {
        {0x20, 0x11}, {0x21, 0x70}, {0x21, 4},   {0x21, 1}, {0x21, 0xff},
        {0x43, 0x30}, {0x21, 0xfe}, {0x40, 120}, {0x40, 0},
    };

    LAPIC(LVT_LINT0) = 0x400;
    for (unsigned n = 0; n < COUNT(init); n++)
        outb(init[n][0], init[n][1]);
}

static void late_done(void)
{
    LAPIC(LVT_LINT0) = 0x10700;
    outb(0x21, 0xff);
}

static void delivered(void)
{
    prepare(NULL);
    send_nmi();
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.cs, SEL_CODE);
    EXPECT_EQ(seen.flags & FL_IF, 0);
    send_nmi();
    EXPECT_EQ(seen.count, 2);
}

static void send_twice(void)
{
    if (seen.count > 1)
        return;
    send_nmi();
    send_nmi();
}

static void blocked(void)
{
    prepare(send_twice);
    send_nmi();
    EXPECT_EQ(seen.count, 2); /* the one that came, and one of the two inside */
    EXPECT_EQ(seen.deepest, 1);
}

static void send_and_return(void)
{
    if (seen.count > 1)
        return;
    send_nmi();
    EXPECT_EQ(seen.count, 1);
    asm volatile("int %0" : : "i"(INNER));
    EXPECT_EQ(seen.count, 2);
}

/* Any IRET ends the blocking, be it of another handler. */
static void inner_iret(void)
{
    prepare(send_and_return);
    send_nmi();
    EXPECT_EQ(seen.count, 2);
    EXPECT_EQ(seen.deepest, 2);
}

/* A handler that is left in another way stays the only one. */
static void left_without_iret(void)
{
    prepare(NULL);
    trap_hook = NULL;
    TRY("movl $0x4400, (%0)\n pause\n pause\n pause\n pause\n pause\n pause\n pause",
        :
        : "r"(&LAPIC(ICR)));
    EXPECT_TRAP(NMI, 0);
    trap_hook = on_nmi;
    send_nmi();
    EXPECT_EQ(seen.count, 0);
    asm volatile("int %0" : : "i"(INNER));
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.deepest, 1);
}

static void halt(void)
{
    unsigned long where;

    prepare(NULL);
    send_late();
    asm volatile("cli\n hlt\n 1: mov" WORD " $1b, %0" : "=r"(where) : : "memory");
    late_done();
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.ip, where);
}

#ifdef __x86_64__
#define FLAG "user_flag(%rip)"
#else
#define FLAG "user_flag"
#endif
USER_CODE(user_wait, "1: cmpl $0, " FLAG "\n je 1b");

static void user(void)
{
    prepare(NULL);
    send_late();
    run_user(user_wait);
    late_done();
    EXPECT_RETURN();
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.cs & 3, 3);
    EXPECT(seen.ip >= (unsigned long)user_wait && seen.ip < (unsigned long)user_wait_end);
}

#ifndef __x86_64__
#define TASK ((volatile uint8_t *)0x8000)

static void tell_task(void)
{
    TASK[0x100] = 1;
}

static void v86(void)
{
    /* 0: CMP BYTE [100h], 0; JE 0; HLT */
    static const uint8_t code[] = {0x80, 0x3e, 0x00, 0x01, 0x00, 0x74, 0xf9, 0xf4};
    uint32_t frame[9] = {0, 0x800, FL_VM | 2, 0x1000, 0x800, 0x800, 0x800, 0, 0};

    prepare(tell_task);
    for (unsigned n = 0; n < sizeof(code); n++)
        TASK[n] = code[n];
    TASK[0x100] = 0;
    send_late();
    TRY("mov %0, %%esp\n iretl", : : "r"(frame) : "memory");
    late_done();
    EXPECT_TRAP(GP, 0);
    EXPECT_EQ(trap.ip, 7);
    EXPECT_EQ(seen.count, 1);
    EXPECT(seen.flags & FL_VM);
    EXPECT_EQ(seen.cs, 0x800);
}
#endif

const struct test_case cases[] = {
    {"delivery", delivered},
    {"blocking", blocked},
    {"an inner IRET", inner_iret},
    {"left without IRET", left_without_iret},
    {"HLT", halt},
    {"CPL 3", user},
#ifndef __x86_64__
    {"virtual-8086 mode", v86},
#endif
};
PROGRAM("nmi");
