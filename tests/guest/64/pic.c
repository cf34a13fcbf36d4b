/*
 * The 8259A pair as a program sees it: priorities, ends of interrupts, special mask, polling,
 * rotation, the cascade, spurious interrupts (Intel 8259A datasheet, 231468).
 *
 * Requests come from the keyboard controller, which can be told to fill its output buffer as if by
 * keyboard (IRQ 1) or mouse (IRQ 12), and from the timer (IRQ 0).
 */
#include "segments.h"

#define BASE0 0x30
#define BASE1 0x38

/* ---- Vectors that came ---- */

static uint8_t vectors[16];
static unsigned vector_count;

static bool note_vector(struct frame *f)
{
    if (f->vector < BASE0 || f->vector >= BASE1 + 8)
        return false;
    if (vector_count < COUNT(vectors))
        vectors[vector_count] = (uint8_t)f->vector;
    vector_count++;
    return true;
}

/* Takes what is pending, each interrupt once: handlers leave it in service. */
static unsigned take(void)
{
    vector_count = 0;
    trap_hook = note_vector;
    asm volatile("sti\n nop\n nop\n nop\n nop\n cli" ::: "memory");
    return vector_count;
}

/* ---- Chips ---- */

static void init(unsigned icw4)
{
    outb(0x20, 0x11);
    outb(0x21, BASE0);
    outb(0x21, 4);
    outb(0x21, icw4);
    outb(0xa0, 0x11);
    outb(0xa1, BASE1);
    outb(0xa1, 2);
    outb(0xa1, 1);
    outb(0x21, 0);
    outb(0xa1, 0);
}

static uint8_t irr(uint16_t port)
{
    outb(port, 0x0a);
    return inb(port);
}

static uint8_t isr(uint16_t port)
{
    outb(port, 0x0b);
    return inb(port);
}

/* ---- Sources ---- */

static void controller(uint8_t command, uint8_t data)
{
    outb(0x64, command);
    outb(0x60, data);
}

static void sources_quiet(void)
{
    for (unsigned n = 0; n < 16 && (inb(0x64) & 1); n++)
        inb(0x60);
    outb(0x43, 0x30); /* channel 0: mode 0, no count: OUT stays low */
}

static void start(unsigned icw4)
{
    asm volatile("cli");
    init(icw4);
    controller(0x60, 0x03); /* both interrupts on */
    sources_quiet();
    init(icw4); /* forgets edges from before */
}

static void raise_1(void)
{
    controller(0xd2, 0x11);
}

static void raise_12(void)
{
    controller(0xd3, 0x12);
}

/* OUT of channel 0 goes high after a few pulses. */
static void raise_0(void)
{
    outb(0x43, 0x30);
    outb(0x40, 2);
    outb(0x40, 0);
    for (unsigned n = 0; n < 100000 && !(irr(0x20) & 1); n++)
        ;
}

/* ---- Cases ---- */

static void registers(void)
{
    start(1);
    outb(0x21, 0x5a);
    outb(0xa1, 0xa5);
    EXPECT_EQ(inb(0x21), 0x5a);
    EXPECT_EQ(inb(0xa1), 0xa5);
    context("ICW1 clears IMR and reads IRR");
    outb(0x20, 0x0b);
    outb(0x20, 0x11);
    outb(0x21, BASE0);
    outb(0x21, 4);
    outb(0x21, 1);
    EXPECT_EQ(inb(0x21), 0);
    raise_1();
    EXPECT_EQ(inb(0x20), 2);
    EXPECT_EQ(isr(0x20), 0);
    sources_quiet();
    context("the edge/level registers");
    outb(0x4d0, 0xff);
    outb(0x4d1, 0xff);
    EXPECT_EQ(inb(0x4d0), 0xf8);
    EXPECT_EQ(inb(0x4d1), 0xde);
    outb(0x4d0, 0);
    outb(0x4d1, 0);
}

static void requests(void)
{
    start(1);
    EXPECT_EQ(take(), 0);
    outb(0x21, 0x02);
    raise_1();
    context("masked");
    EXPECT_EQ(irr(0x20), 2);
    EXPECT_EQ(take(), 0);
    context("open");
    outb(0x21, 0);
    EXPECT_EQ(take(), 1);
    EXPECT_EQ(vectors[0], BASE0 + 1);
    EXPECT_EQ(irr(0x20), 0);
    EXPECT_EQ(isr(0x20), 2);
    context("an edge is one request");
    outb(0x20, 0x20);
    EXPECT_EQ(isr(0x20), 0);
    EXPECT_EQ(take(), 0);
    context("withdrawn before it was taken");
    sources_quiet();
    raise_1();
    EXPECT_EQ(irr(0x20), 2);
    sources_quiet();
    EXPECT_EQ(irr(0x20), 0);
    EXPECT_EQ(take(), 0);
}

static void nesting(void)
{
    start(1);
    raise_1();
    raise_0();
    EXPECT_EQ(take(), 1); /* the lower one waits */
    EXPECT_EQ(vectors[0], BASE0);
    EXPECT_EQ(isr(0x20), 1);
    EXPECT_EQ(irr(0x20) & 2, 2);
    outb(0x20, 0x20);
    EXPECT_EQ(take(), 1);
    EXPECT_EQ(vectors[0], BASE0 + 1);
    context("a higher one does not wait");
    raise_0();
    EXPECT_EQ(take(), 1);
    EXPECT_EQ(vectors[0], BASE0);
    EXPECT_EQ(isr(0x20), 3);
    context("EOI ends the highest");
    outb(0x20, 0x20);
    EXPECT_EQ(isr(0x20), 2);
    context("a specific EOI of another one");
    outb(0x20, 0x60);
    EXPECT_EQ(isr(0x20), 2);
    outb(0x20, 0x61);
    EXPECT_EQ(isr(0x20), 0);
    sources_quiet();
}

static void special_mask(void)
{
    start(1);
    raise_0();
    EXPECT_EQ(take(), 1);
    raise_1();
    EXPECT_EQ(take(), 0);
    context("special mask mode without the mask");
    outb(0x20, 0x68);
    EXPECT_EQ(take(), 0);
    context("with it");
    outb(0x21, 1);
    EXPECT_EQ(take(), 1);
    EXPECT_EQ(vectors[0], BASE0 + 1);
    EXPECT_EQ(isr(0x20), 3);
    context("EOI does not end what is masked");
    outb(0x20, 0x20);
    EXPECT_EQ(isr(0x20), 1);
    outb(0x20, 0x48);
    outb(0x21, 0);
    outb(0x20, 0x20);
    EXPECT_EQ(isr(0x20), 0);
    sources_quiet();
}

static void rotation(void)
{
    start(1);
    context("priorities set: input 0 is the lowest");
    outb(0x20, 0xc0);
    raise_1();
    raise_0();
    EXPECT_EQ(take(), 1);
    EXPECT_EQ(vectors[0], BASE0 + 1);
    context("rotation on EOI: input 1 is the lowest");
    outb(0x20, 0xa0);
    EXPECT_EQ(isr(0x20), 0);
    sources_quiet();
    raise_1();
    EXPECT_EQ(irr(0x20), 2); /* the timer's went with its line */
    raise_0();
    EXPECT_EQ(take(), 1);
    EXPECT_EQ(vectors[0], BASE0);
    context("specific rotation");
    outb(0x20, 0xe0);
    EXPECT_EQ(isr(0x20), 0);
    EXPECT_EQ(take(), 1);
    EXPECT_EQ(vectors[0], BASE0 + 1);
    outb(0x20, 0x20);
    outb(0x20, 0xc7);
    sources_quiet();
}

static void automatic_eoi(void)
{
    start(3);
    raise_1();
    EXPECT_EQ(take(), 1);
    EXPECT_EQ(isr(0x20), 0);
    sources_quiet();
    raise_1();
    EXPECT_EQ(take(), 1);
    sources_quiet();
}

static void polling(void)
{
    start(1);
    context("nothing there");
    outb(0x20, 0x0c);
    EXPECT_EQ(inb(0x20) & 0x80, 0);
    context("a request");
    raise_1();
    outb(0x20, 0x0c);
    EXPECT_EQ(inb(0x20), 0x81);
    EXPECT_EQ(isr(0x20), 2); /* the read was the acknowledgement */
    EXPECT_EQ(take(), 0);
    outb(0x20, 0x20);
    sources_quiet();
}

static void cascade(void)
{
    start(1);
    raise_12();
    EXPECT_EQ(irr(0x20), 4);
    EXPECT_EQ(irr(0xa0), 0x10);
    EXPECT_EQ(take(), 1);
    EXPECT_EQ(vectors[0], BASE1 + 4);
    EXPECT_EQ(isr(0x20), 4);
    EXPECT_EQ(isr(0xa0), 0x10);
    context("inputs below the cascade go before the slave's");
    raise_0();
    EXPECT_EQ(take(), 1);
    EXPECT_EQ(vectors[0], BASE0);
    outb(0x20, 0x20);
    context("EOI of the master alone");
    outb(0x20, 0x20);
    EXPECT_EQ(isr(0x20), 0);
    EXPECT_EQ(isr(0xa0), 0x10);
    outb(0xa0, 0x64);
    EXPECT_EQ(isr(0xa0), 0);
    context("the slave masked at the master");
    sources_quiet();
    outb(0x21, 4);
    raise_12();
    EXPECT_EQ(take(), 0);
    outb(0x21, 0);
    EXPECT_EQ(take(), 1);
    outb(0xa0, 0x20);
    outb(0x20, 0x20);
    sources_quiet();
}

/* An acknowledgement with no request left gives input 7, not in service. The I/O APIC's pin 2 (the
 * timer) asks the processor for one. */
static void spurious(void)
{
    volatile uint32_t *ioapic = (volatile uint32_t *)0xfec00000;

    start(1);
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
    ioapic[0] = 0x14;
    ioapic[4] = 0x700; /* ExtINT, edge */
    ioapic[0] = 0x15;
    ioapic[4] = 0;
    raise_0();
    EXPECT_EQ(take(), 1);
    EXPECT_EQ(vectors[0], BASE0 + 7);
    EXPECT_EQ(isr(0x20), 0);
    ioapic[0] = 0x14;
    ioapic[4] = 0x10000;
    sources_quiet();
}

const struct test_case cases[] = {
    {"registers", registers},
    {"requests", requests},
    {"nesting and EOI", nesting},
    {"special mask mode", special_mask},
    {"rotation", rotation},
    {"automatic EOI", automatic_eoi},
    {"polling", polling},
    {"cascade", cascade},
    {"spurious interrupts", spurious},
};
PROGRAM("pic");
