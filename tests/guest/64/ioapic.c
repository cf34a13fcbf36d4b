/*
 * The I/O APIC: registers, edge and level, remote IRR and both kinds of EOI (82093AA datasheet,
 * 290566; SDM 3A 11.8.5). Lines: pin 1 is the keyboard's, pin 2 the timer's.
 */
#include "apic.h"
#include "segments.h"

#define RTE_LEVEL      0x8000
#define RTE_REMOTE_IRR 0x4000
#define RTE_PENDING    0x1000
#define RTE_MASKED     0x10000

static void rte_set(unsigned pin, uint32_t low)
{
    ioapic_write(0x10 + 2 * pin, RTE_MASKED);
    ioapic_write(0x11 + 2 * pin, APIC(APIC_ID));
    ioapic_write(0x10 + 2 * pin, low);
}

static uint32_t rte(unsigned pin)
{
    return ioapic_read(0x10 + 2 * pin);
}

static void keyboard_raise(void)
{
    outb(0x64, 0xd2);
    outb(0x60, 0x11);
}

static void keyboard_lower(void)
{
    for (unsigned n = 0; n < 16 && (inb(0x64) & 1); n++)
        inb(0x60);
}

static void start(void)
{
    asm volatile("cli");
    APIC(APIC_SVR) = 0x1ff;
    APIC(APIC_TPR) = 0;
    for (unsigned pin = 0; pin < 24; pin++)
        ioapic_write(0x10 + 2 * pin, RTE_MASKED);
    outb(0x64, 0x60);
    outb(0x60, 0x03);
    keyboard_lower();
    irq_end = true;
    while (irq_take() != 0)
        ;
}

static void registers(void)
{
    start();
    EXPECT_EQ(ioapic_read(1) & 0xff00ff, 0x170000 | (ioapic_read(1) & 0xff));
    EXPECT((ioapic_read(1) & 0xff) >= 0x11);
    ioapic_write(0, 0x05000000);
    EXPECT_EQ(ioapic_read(0), 0x05000000);
    ioapic_write(0, 0);
    ioapic_write(1, 0);
    EXPECT_EQ(ioapic_read(1) >> 16 & 0xff, 23);
    context("redirection entries");
    for (unsigned pin = 0; pin < 24; pin++) {
        ioapic_write(0x10 + 2 * pin, RTE_MASKED | RTE_REMOTE_IRR | RTE_PENDING | 0x2800 | 0x55);
        ioapic_write(0x11 + 2 * pin, 0xab000000);
        EXPECT_EQ(rte(pin), RTE_MASKED | 0x2855); /* status bits are read-only */
        EXPECT_EQ(ioapic_read(0x11 + 2 * pin) >> 24, 0xab);
    }
    start();
}

static void edge(void)
{
    start();
    rte_set(1, 0x51);
    keyboard_raise();
    EXPECT_EQ(rte(1) & RTE_REMOTE_IRR, 0);
    EXPECT_EQ(irq_take(), 1);
    EXPECT_EQ(irq_vectors[0], 0x51);
    EXPECT_EQ(apic_bit(APIC_TMR, 0x51), false);
    context("one edge, one message");
    EXPECT_EQ(irq_take(), 0);
    keyboard_lower();
    EXPECT_EQ(irq_take(), 0);
    keyboard_raise();
    EXPECT_EQ(irq_take(), 1);
    context("masked: the edge is lost");
    keyboard_lower();
    rte_set(1, RTE_MASKED | 0x51);
    keyboard_raise();
    keyboard_lower();
    rte_set(1, 0x51);
    EXPECT_EQ(irq_take(), 0);
    start();
}

static void level(void)
{
    start();
    rte_set(1, RTE_LEVEL | 0x52);
    irq_end = false;
    keyboard_raise();
    EXPECT_EQ(irq_take(), 1);
    EXPECT_EQ(irq_vectors[0], 0x52);
    EXPECT(apic_bit(APIC_TMR, 0x52));
    EXPECT(rte(1) & RTE_REMOTE_IRR);
    context("EOI with the line still up: again");
    APIC(APIC_EOI) = 0;
    EXPECT_EQ(irq_take(), 1);
    context("EOI with the line down");
    keyboard_lower();
    EXPECT(rte(1) & RTE_REMOTE_IRR);
    APIC(APIC_EOI) = 0;
    EXPECT_EQ(rte(1) & RTE_REMOTE_IRR, 0);
    EXPECT_EQ(irq_take(), 0);
    context("masked: no message until it is opened");
    rte_set(1, RTE_MASKED | RTE_LEVEL | 0x52);
    keyboard_raise();
    EXPECT_EQ(irq_take(), 0);
    ioapic_write(0x12, RTE_LEVEL | 0x52);
    EXPECT_EQ(irq_take(), 1);
    keyboard_lower();
    APIC(APIC_EOI) = 0;
    context("EOI of another vector");
    keyboard_raise();
    EXPECT_EQ(irq_take(), 1);
    APIC(APIC_ICR) = ICR_SELF | 0x99;
    EXPECT_EQ(irq_take(), 1);
    APIC(APIC_EOI) = 0;
    EXPECT(rte(1) & RTE_REMOTE_IRR);
    keyboard_lower();
    APIC(APIC_EOI) = 0;
    start();
}

/* The I/O APIC's own EOI register, version 20h. */
static void directed_eoi(void)
{
    volatile uint32_t *eoi = (volatile uint32_t *)0xfec00040ul;

    if ((ioapic_read(1) & 0xff) < 0x20) {
        skip("no EOI register");
        return;
    }
    start();
    rte_set(1, RTE_LEVEL | 0x53);
    irq_end = false;
    keyboard_raise();
    EXPECT_EQ(irq_take(), 1);
    keyboard_lower();
    *eoi = 0x54;
    EXPECT(rte(1) & RTE_REMOTE_IRR);
    *eoi = 0x53;
    EXPECT_EQ(rte(1) & RTE_REMOTE_IRR, 0);
    APIC(APIC_EOI) = 0;
    start();
}

static void timer_pin(void)
{
    start();
    rte_set(2, 0x54);
    outb(0x43, 0x34); /* channel 0, mode 2 */
    outb(0x40, 100);
    outb(0x40, 0);
    irq_count = 0;
    trap_hook = irq_hook;
    for (unsigned n = 0; n < 20 && irq_count < 5; n++)
        asm volatile("sti\n hlt\n cli" ::: "memory");
    EXPECT_EQ(irq_count, 5);
    EXPECT_EQ(irq_vectors[4], 0x54);
    outb(0x43, 0x30);
    context("an NMI by redirection");
    start();
    rte_set(1, 0x400);
    TRY("outb %%al, $0x64\n outb %%al, $0x60\n nop", : : "a"(0xd2));
    EXPECT_TRAP(NMI, 0);
    start();
}

/* HLT: an interrupt wakes only if it may be taken; MWAIT likewise. */
static void halt(void)
{
    start();
    rte_set(2, 0x55);
    outb(0x43, 0x30);
    outb(0x40, 100);
    outb(0x40, 0);
    irq_count = 0;
    trap_hook = irq_hook;
    asm volatile("sti\n hlt\n cli" ::: "memory");
    EXPECT_EQ(irq_count, 1);
    context("pending before HLT: the shadow of STI covers HLT");
    APIC(APIC_ICR) = ICR_SELF | 0x56;
    irq_count = 0;
    asm volatile("sti\n hlt\n cli" ::: "memory");
    EXPECT_EQ(irq_count, 1);
    EXPECT_EQ(irq_vectors[0], 0x56);
    context("an NMI wakes with IF clear");
    rte_set(2, 0x400);
    outb(0x43, 0x30);
    outb(0x40, 100);
    outb(0x40, 0);
    trap_hook = NULL;
    TRY("hlt\n nop", :);
    EXPECT_TRAP(NMI, 0);
    EXPECT_EQ(trap.ip, try_start + 1);
    start();
}

const struct test_case cases[] = {
    {"registers", registers},
    {"edge", edge},
    {"level", level},
    {"directed EOI", directed_eoi},
    {"the timer's pin, NMI", timer_pin},
    {"HLT", halt},
};
PROGRAM("ioapic");
