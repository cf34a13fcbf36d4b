/* Local APIC (xAPIC) and I/O APIC as programs use them. */
#ifndef GUEST_APIC_H
#define GUEST_APIC_H

#include "guest.h"

#define APIC(reg) (*(volatile uint32_t *)(0xfee00000ul + (reg)))

#define APIC_ID        0x20
#define APIC_VERSION   0x30
#define APIC_TPR       0x80
#define APIC_PPR       0xa0
#define APIC_EOI       0xb0
#define APIC_LDR       0xd0
#define APIC_DFR       0xe0
#define APIC_SVR       0xf0
#define APIC_ISR       0x100
#define APIC_TMR       0x180
#define APIC_IRR       0x200
#define APIC_ESR       0x280
#define APIC_ICR       0x300
#define APIC_ICR_HIGH  0x310
#define APIC_LVT_TIMER 0x320
#define APIC_LVT_LINT0 0x350
#define APIC_LVT_LINT1 0x360
#define APIC_LVT_ERROR 0x370
#define APIC_COUNT     0x380
#define APIC_CURRENT   0x390
#define APIC_DIVIDE    0x3e0

#define ICR_NMI     0x400
#define ICR_LOGICAL 0x800
#define ICR_SELF    0x40000
#define ICR_ALL     0x80000
#define ICR_OTHERS  0xc0000
#define LVT_MASKED  0x10000

#define APIC_BASE_ENABLE 0x800
#define APIC_BASE_X2APIC 0x400
#define APIC_BASE_BSP    0x100
#define X2APIC(reg)      (0x800 + (reg) / 16)

/* Is the vector's bit set in ISR, TMR or IRR? */
static inline bool apic_bit(unsigned reg, unsigned vector)
{
    return APIC(reg + vector / 32 * 16) >> (vector % 32) & 1;
}

static inline void ioapic_write(unsigned index, uint32_t value)
{
    volatile uint32_t *io = (volatile uint32_t *)0xfec00000ul;

    io[0] = index;
    io[4] = value;
}

static inline uint32_t ioapic_read(unsigned index)
{
    volatile uint32_t *io = (volatile uint32_t *)0xfec00000ul;

    io[0] = index;
    return io[4];
}

/* Interrupts that came, in their order. */
static uint8_t irq_vectors[32];
static unsigned irq_count;
static bool irq_end = true; /* EOI at once */

static bool __attribute__((unused)) irq_hook(struct frame *f)
{
    if (f->vector < 0x20 || f->vector > 0xff)
        return false;
    if (irq_count < COUNT(irq_vectors))
        irq_vectors[irq_count] = (uint8_t)f->vector;
    irq_count++;
    if (irq_end)
        APIC(APIC_EOI) = 0;
    return true;
}

/* Takes what is pending; the number of interrupts. */
static inline unsigned irq_take(void)
{
    irq_count = 0;
    trap_hook = irq_hook;
    asm volatile("sti\n nop\n nop\n nop\n nop\n cli" ::: "memory");
    return irq_count;
}

#endif
