/* x87 errors the PC-AT way: with CR0.NE clear FERR# becomes IRQ 13, port F0h answers with IGNNE#
 * (SDM 1 8.7.2, appendix D). */
#include "segments.h"

#define VECTOR 0x7d /* IRQ 13 */

static volatile struct {
    unsigned interrupts;
    unsigned long ip;
    uint16_t status;
    bool clear, acknowledge;
} seen;

static uint16_t fpu_status(void)
{
    uint16_t status;

    asm volatile("fnstsw %0" : "=a"(status));
    return status;
}

static void end_of_interrupt(void)
{
    outb(0xa0, 0x20);
    outb(0x20, 0x20);
}

static bool on_interrupt(struct frame *f)
{
    if (f->vector != VECTOR)
        return false;
    seen.interrupts++;
    seen.ip = f->ip;
    seen.status = fpu_status();
    if (seen.acknowledge)
        outb(0xf0, 0);
    if (seen.clear)
        asm volatile("fnclex");
    end_of_interrupt();
    return true;
}

/* The 8259s at 70h and 78h with nothing but IRQ 13 open; x87 with unmasked division by zero. */
static void prepare(bool native)
{
    static const uint8_t init[][2] = {
        {0x20, 0x11}, {0x21, 0x70}, {0x21, 4}, {0x21, 1}, {0x21, 0xfb},
        {0xa0, 0x11}, {0xa1, 0x78}, {0xa1, 2}, {0xa1, 1}, {0xa1, 0xdf},
    };

    for (unsigned n = 0; n < COUNT(init); n++)
        outb(init[n][0], init[n][1]);
    write_cr0(native ? read_cr0() | CR0_NE : read_cr0() & ~(unsigned long)CR0_NE);
    seen.interrupts = 0;
    seen.ip = 0;
    seen.clear = seen.acknowledge = true;
    trap_hook = on_interrupt;
    asm volatile("fninit\n fldcw %0" : : "m"((uint16_t){0x37b}));
}

static void done(void)
{
    asm volatile("cli\n fninit");
    outb(0xf0, 0);
    outb(0xa1, 0xff);
    outb(0x21, 0xff);
}

#define DIVIDE "fld1\n fldz\n fdivrp\n" /* 1 / 0: the error waits */

/* QEMU's TCG aborts at the first FERR#. */
static bool wired(void)
{
    if (!on_gnomon())
        skip("CR0.NE = 0 ends that emulator");
    return on_gnomon();
}

static void interrupt(void)
{
    unsigned long where;

    if (!wired())
        return;
    prepare(false);
    asm volatile("sti\n" DIVIDE "nop\n 1: fwait\n cli\n mov" WORD " $1b, %0" : "=r"(where));
    EXPECT_EQ(seen.interrupts, 1);
    EXPECT_EQ(seen.ip, where); /* the waiting instruction has not run */
    EXPECT_EQ(seen.status & 0x84, 0x84);
    EXPECT_EQ(fpu_status() & 0x80ff, 0);
    context("once more");
    asm volatile("sti\n fninit\n fldcw %0\n" DIVIDE "fld1\n cli" : : "m"((uint16_t){0x37b}));
    EXPECT_EQ(seen.interrupts, 2);
    done();
}

/* The error stays, and IGNNE# lets everything go on. */
static void ignored(void)
{
    uint32_t value = 0;

    if (!wired())
        return;
    prepare(false);
    seen.clear = false;
    asm volatile("sti\n" DIVIDE "fwait\n fld1\n fld1\n faddp\n fistpl %0\n fwait\n cli"
                 : "=m"(value));
    EXPECT_EQ(seen.interrupts, 1);
    EXPECT_EQ(value, 2);
    EXPECT_EQ(fpu_status() & 0x84, 0x84);
    context("IGNNE# falls with FERR#");
    asm volatile("fnclex");
    EXPECT_EQ(fpu_status() & 0x84, 0);
    seen.clear = true;
    asm volatile("sti\n fninit\n fldcw %0\n" DIVIDE "fwait\n cli" : : "m"((uint16_t){0x37b}));
    EXPECT_EQ(seen.interrupts, 2);
    done();
}

/* Port F0h without an error does not let later ones pass. */
static void early_acknowledge(void)
{
    if (!wired())
        return;
    prepare(false);
    outb(0xf0, 0);
    asm volatile("sti\n" DIVIDE "fwait\n cli");
    EXPECT_EQ(seen.interrupts, 1);
    done();
}

static void masked_interrupt(void)
{
    if (!wired())
        return;
    prepare(false);
    context("instructions that do not wait");
    asm volatile("sti\n" DIVIDE "fnstsw %%ax\n fnstcw %0\n nop\n fnclex\n fwait\n cli"
                 : "=m"(seen.status)
                 :
                 : "ax");
    EXPECT_EQ(seen.interrupts, 0);
    context("masked errors");
    asm volatile("fninit\n sti\n" DIVIDE "fwait\n cli");
    EXPECT_EQ(seen.interrupts, 0);
    done();
}

static void mmx(void)
{
    if (!HAS_1D(23)) {
        skip("no MMX");
        return;
    }
    if (!wired())
        return;
    prepare(false);
    asm volatile("sti\n" DIVIDE "emms\n cli");
    EXPECT_EQ(seen.interrupts, 1);
    done();
}

/* CR0.NE: #MF, and the wire stays down. */
static void native(void)
{
    prepare(true);
    TRY("sti\n" DIVIDE "fwait\n cli", :);
    EXPECT_TRAP(MF, 0);
    asm volatile("cli\n fnclex\n sti\n nop\n nop\n cli");
    EXPECT_EQ(seen.interrupts, 0);
    done();
}

const struct test_case cases[] = {
    {"IRQ 13", interrupt},
    {"IGNNE#", ignored},
    {"port F0h without an error", early_acknowledge},
    {"what does not wait", masked_interrupt},
    {"MMX", mmx},
    {"CR0.NE", native},
};
PROGRAM("ferr");
