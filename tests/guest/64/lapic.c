/* The local APIC: priorities, IPIs to itself, its timer, errors, x2APIC mode (SDM 3A chapter 11).
 */
#include "apic.h"
#include "segments.h"

static void enable(void)
{
    APIC(APIC_SVR) = 0x1ff;
    APIC(APIC_TPR) = 0;
    irq_end = true;
    while (irq_take() != 0)
        ;
}

static void self(unsigned vector)
{
    APIC(APIC_ICR) = ICR_SELF | vector;
}

/* ---- Registers ---- */

static void registers(void)
{
    static const uint16_t lvt[] = {APIC_LVT_TIMER, APIC_LVT_LINT1, APIC_LVT_ERROR};

    EXPECT(rdmsr(MSR_APIC_BASE) & APIC_BASE_ENABLE);
    EXPECT(rdmsr(MSR_APIC_BASE) & APIC_BASE_BSP);
    EXPECT_EQ(rdmsr(MSR_APIC_BASE) >> 12, 0xfee00);
    EXPECT_EQ(APIC(APIC_VERSION) & 0xf0, 0x10);
    EXPECT_EQ(APIC(APIC_ID) >> 24, cpuid(1, 0).b >> 24);
    context("software disabled: every LVT entry is masked");
    APIC(APIC_SVR) = 0xff;
    for (unsigned n = 0; n < COUNT(lvt); n++) {
        APIC(lvt[n]) = 0x40;
        EXPECT_EQ(APIC(lvt[n]), LVT_MASKED | 0x40);
    }
    context("enabled");
    enable();
    for (unsigned n = 0; n < COUNT(lvt); n++) {
        EXPECT_EQ(APIC(lvt[n]), LVT_MASKED | 0x40);
        APIC(lvt[n]) = 0x41;
        EXPECT_EQ(APIC(lvt[n]), 0x41);
    }
    APIC(APIC_SVR) = 0xff;
    for (unsigned n = 0; n < COUNT(lvt); n++)
        EXPECT_EQ(APIC(lvt[n]), LVT_MASKED | 0x41);
    enable();
    context("read-only bits");
    APIC(APIC_LDR) = 0xffffffff;
    EXPECT_EQ(APIC(APIC_LDR), 0xff000000);
    APIC(APIC_DFR) = 0;
    EXPECT_EQ(APIC(APIC_DFR), 0x0fffffff);
    APIC(APIC_DFR) = 0xffffffff;
    APIC(APIC_PPR) = 0x55;
    EXPECT_EQ(APIC(APIC_PPR), 0);
    APIC(APIC_IRR) = 0xffffffff;
    EXPECT_EQ(APIC(APIC_IRR), 0);
    APIC(APIC_ICR_HIGH) = 0;
}

/* ---- Priorities ---- */

static void priorities(void)
{
    enable();
    irq_end = false;
    self(0x41);
    self(0x62);
    self(0x55);
    EXPECT(apic_bit(APIC_IRR, 0x41) && apic_bit(APIC_IRR, 0x62) && apic_bit(APIC_IRR, 0x55));
    EXPECT_EQ(irq_take(), 1); /* the highest; the others wait for its end */
    EXPECT_EQ(irq_vectors[0], 0x62);
    EXPECT(apic_bit(APIC_ISR, 0x62) && !apic_bit(APIC_IRR, 0x62));
    EXPECT_EQ(APIC(APIC_PPR), 0x60);
    context("a higher class interrupts, the same class does not");
    self(0x6f);
    EXPECT_EQ(irq_take(), 0);
    self(0x70);
    EXPECT_EQ(irq_take(), 1);
    EXPECT_EQ(irq_vectors[0], 0x70);
    EXPECT_EQ(APIC(APIC_PPR), 0x70);
    context("EOI ends the highest");
    APIC(APIC_EOI) = 0;
    EXPECT(!apic_bit(APIC_ISR, 0x70) && apic_bit(APIC_ISR, 0x62));
    EXPECT_EQ(APIC(APIC_PPR), 0x60);
    APIC(APIC_EOI) = 0;
    EXPECT_EQ(APIC(APIC_PPR), 0);
    irq_end = true;
    EXPECT_EQ(irq_take(), 3);
    EXPECT_EQ(irq_vectors[0], 0x6f);
    EXPECT_EQ(irq_vectors[1], 0x55);
    EXPECT_EQ(irq_vectors[2], 0x41);
    context("a vector that is pending twice comes once, one in service again");
    self(0x41);
    self(0x41);
    EXPECT_EQ(irq_take(), 1);
}

static void task_priority(void)
{
    enable();
    APIC(APIC_TPR) = 0x4f;
    EXPECT_EQ(APIC(APIC_PPR), 0x4f);
    self(0x4e);
    EXPECT_EQ(irq_take(), 0);
    self(0x50);
    EXPECT_EQ(irq_take(), 1);
    EXPECT_EQ(irq_vectors[0], 0x50);
    context("CR8");
    asm volatile("mov %0, %%cr8" : : "r"(3ull));
    EXPECT_EQ(APIC(APIC_TPR), 0x30);
    EXPECT_EQ(irq_take(), 1);
    EXPECT_EQ(irq_vectors[0], 0x4e);
    APIC(APIC_TPR) = 0x9c;
    {
        uint64_t v;

        asm volatile("mov %%cr8, %0" : "=r"(v));
        EXPECT_EQ(v, 9);
    }
    TRY_FAULT(GP, 0, "mov %0, %%cr8", : : "r"(16ull));
    context("PPR with something in service");
    APIC(APIC_TPR) = 0x20;
    irq_end = false;
    self(0x35);
    irq_take();
    EXPECT_EQ(APIC(APIC_PPR), 0x30);
    APIC(APIC_TPR) = 0x3a; /* the same class: TPR as it is */
    EXPECT_EQ(APIC(APIC_PPR), 0x3a);
    APIC(APIC_EOI) = 0;
    APIC(APIC_TPR) = 0;
    irq_end = true;
}

/* ---- IPIs ---- */

static void destinations(void)
{
    uint32_t id = APIC(APIC_ID) & 0xff000000;

    enable();
    context("physical");
    APIC(APIC_ICR_HIGH) = id;
    APIC(APIC_ICR) = 0x45;
    EXPECT_EQ(irq_take(), 1);
    APIC(APIC_ICR_HIGH) = 0xff000000;
    APIC(APIC_ICR) = 0x46;
    EXPECT_EQ(irq_take(), 1);
    APIC(APIC_ICR_HIGH) = id ^ 0x01000000;
    APIC(APIC_ICR) = 0x47;
    EXPECT_EQ(irq_take(), 0);
    context("logical, flat");
    APIC(APIC_DFR) = 0xffffffff;
    APIC(APIC_LDR) = 0x04000000;
    APIC(APIC_ICR_HIGH) = 0x06000000;
    APIC(APIC_ICR) = ICR_LOGICAL | 0x48;
    EXPECT_EQ(irq_take(), 1);
    APIC(APIC_ICR_HIGH) = 0x0b000000;
    APIC(APIC_ICR) = ICR_LOGICAL | 0x48;
    EXPECT_EQ(irq_take(), 0);
    context("logical, clusters");
    APIC(APIC_DFR) = 0x0fffffff;
    APIC(APIC_LDR) = 0x24000000;
    APIC(APIC_ICR_HIGH) = 0x26000000;
    APIC(APIC_ICR) = ICR_LOGICAL | 0x48;
    EXPECT_EQ(irq_take(), 1);
    APIC(APIC_ICR_HIGH) = 0x16000000;
    APIC(APIC_ICR) = ICR_LOGICAL | 0x48;
    EXPECT_EQ(irq_take(), 0);
    APIC(APIC_DFR) = 0xffffffff;
    context("shorthands");
    APIC(APIC_ICR) = ICR_ALL | 0x49;
    EXPECT_EQ(irq_take(), 1);
    APIC(APIC_ICR) = ICR_OTHERS | 0x49;
    EXPECT_EQ(irq_take(), 0);
    EXPECT_EQ(APIC(APIC_ICR) & 0x1000, 0); /* sent */
    context("lowest priority");
    APIC(APIC_ICR_HIGH) = id;
    APIC(APIC_ICR) = 0x100 | 0x4a;
    EXPECT_EQ(irq_take(), 1);
    APIC(APIC_ICR_HIGH) = 0;
}

static void errors(void)
{
    enable();
    APIC(APIC_ESR) = 0;
    APIC(APIC_ESR) = 0;
    EXPECT_EQ(APIC(APIC_ESR), 0);
    APIC(APIC_LVT_ERROR) = 0x5a;
    self(0x05);
    EXPECT_EQ(irq_take(), 1); /* the error interrupt */
    EXPECT_EQ(irq_vectors[0], 0x5a);
    EXPECT_EQ(APIC(APIC_ESR), 0); /* not before a write */
    APIC(APIC_ESR) = 0;
    EXPECT_EQ(APIC(APIC_ESR) & 0x20, 0x20); /* sent an illegal vector */
    APIC(APIC_ESR) = 0;
    EXPECT_EQ(APIC(APIC_ESR), 0);
    context("a register that is not there");
    APIC(0x400) = 0;
    APIC(APIC_ESR) = 0;
    EXPECT_EQ(APIC(APIC_ESR) & 0x80, 0x80);
    EXPECT_EQ(irq_take(), 1);
    APIC(APIC_LVT_ERROR) = LVT_MASKED | 0x5a;
    self(0x0f);
    EXPECT_EQ(irq_take(), 0);
    APIC(APIC_ESR) = 0;
}

/* An interrupt that TPR holds back when it is acknowledged is spurious on real hardware only; what
 * can be looked at is that the vector is kept and disabling drops requests. */
static void software_disable(void)
{
    enable();
    self(0x44);
    APIC(APIC_SVR) = 0x2f;
    EXPECT_EQ(APIC(APIC_SVR), 0x2f);
    EXPECT_EQ(irq_take(), 0);
    self(0x45); /* not accepted */
    APIC(APIC_SVR) = 0x12f;
    EXPECT_EQ(apic_bit(APIC_IRR, 0x45), false);
    enable();
}

/* ---- Timer ---- */

static void wait_for_irq(unsigned count)
{
    irq_count = 0;
    trap_hook = irq_hook;
    for (unsigned n = 0; n < 50 && irq_count < count; n++)
        asm volatile("sti\n hlt\n cli" ::: "memory");
}

static void timer(void)
{
    uint32_t a, b;

    enable();
    APIC(APIC_DIVIDE) = 0xb; /* by 1 */
    APIC(APIC_LVT_TIMER) = 0x60;
    APIC(APIC_COUNT) = 1000;
    a = APIC(APIC_CURRENT);
    b = APIC(APIC_CURRENT);
    EXPECT(a <= 1000 && b <= a);
    wait_for_irq(1);
    EXPECT_EQ(irq_count, 1);
    EXPECT_EQ(irq_vectors[0], 0x60);
    EXPECT_EQ(APIC(APIC_CURRENT), 0);
    context("one-shot: once");
    for (volatile unsigned n = 0; n < 2000; n++)
        ;
    EXPECT_EQ(irq_take(), 0);
    context("periodic");
    APIC(APIC_LVT_TIMER) = 0x20061;
    APIC(APIC_COUNT) = 5000;
    wait_for_irq(5);
    EXPECT_EQ(irq_count, 5);
    EXPECT(APIC(APIC_CURRENT) != 0);
    context("stopped by a count of zero");
    APIC(APIC_COUNT) = 0;
    irq_take();
    for (volatile unsigned n = 0; n < 5000; n++)
        ;
    EXPECT_EQ(irq_take(), 0);
    EXPECT_EQ(APIC(APIC_CURRENT), 0);
    context("masked: counts, and no interrupt");
    APIC(APIC_LVT_TIMER) = LVT_MASKED | 0x62;
    APIC(APIC_COUNT) = 500;
    for (volatile unsigned n = 0; n < 2000; n++)
        ;
    EXPECT_EQ(APIC(APIC_CURRENT), 0);
    APIC(APIC_LVT_TIMER) = 0x62;
    EXPECT_EQ(irq_take(), 0);
    context("divided");
    APIC(APIC_DIVIDE) = 0xa; /* by 128 */
    APIC(APIC_COUNT) = 0xffffffff;
    a = APIC(APIC_CURRENT);
    for (volatile unsigned n = 0; n < 2000; n++)
        ;
    b = a - APIC(APIC_CURRENT);
    APIC(APIC_DIVIDE) = 0xb;
    APIC(APIC_COUNT) = 0xffffffff;
    a = APIC(APIC_CURRENT);
    for (volatile unsigned n = 0; n < 2000; n++)
        ;
    a -= APIC(APIC_CURRENT);
    EXPECT(a / 128 <= b + 2 && b <= a / 128 + 2);
    APIC(APIC_COUNT) = 0;
    APIC(APIC_LVT_TIMER) = LVT_MASKED;
}

static void tsc_deadline(void)
{
    if (!HAS_1C(24)) {
        skip("no TSC deadline");
        return;
    }
    enable();
    APIC(APIC_LVT_TIMER) = 0x40063;
    asm volatile("mfence");
    wrmsr(MSR_TSC_DEADLINE, rdtsc() + 20000);
    EXPECT(rdmsr(MSR_TSC_DEADLINE) != 0);
    wait_for_irq(1);
    EXPECT_EQ(irq_count, 1);
    EXPECT_EQ(irq_vectors[0], 0x63);
    EXPECT_EQ(rdmsr(MSR_TSC_DEADLINE), 0);
    context("in the past");
    wrmsr(MSR_TSC_DEADLINE, 1);
    EXPECT_EQ(irq_take(), 1);
    context("disarmed");
    wrmsr(MSR_TSC_DEADLINE, rdtsc() + 2000);
    wrmsr(MSR_TSC_DEADLINE, 0);
    for (volatile unsigned n = 0; n < 3000; n++)
        ;
    EXPECT_EQ(irq_take(), 0);
    context("the count register does nothing in this mode");
    APIC(APIC_COUNT) = 500;
    EXPECT_EQ(APIC(APIC_COUNT), 0);
    EXPECT_EQ(APIC(APIC_CURRENT), 0);
    context("the MSR does nothing in other modes");
    APIC(APIC_LVT_TIMER) = 0x63;
    wrmsr(MSR_TSC_DEADLINE, rdtsc() + 100);
    EXPECT_EQ(rdmsr(MSR_TSC_DEADLINE), 0);
    EXPECT_EQ(irq_take(), 0);
    APIC(APIC_LVT_TIMER) = LVT_MASKED;
}

/* ---- x2APIC: last, since the way back goes through a disabled APIC ---- */

static void x2apic(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE);
    uint32_t id = APIC(APIC_ID) >> 24;

    if (!HAS_1C(21)) {
        skip("no x2APIC");
        return;
    }
    enable();
    TRY_FAULT(GP, 0, "rdmsr", : : "c"(X2APIC(APIC_ID)) : "eax", "edx");
    context("x2APIC without enable");
    TRY_FAULT(GP, 0, "wrmsr",
              :
              : "c"(MSR_APIC_BASE), "d"((uint32_t)(base >> 32)),
                "a"(((uint32_t)base & ~APIC_BASE_ENABLE) | APIC_BASE_X2APIC));
    wrmsr(MSR_APIC_BASE, base | APIC_BASE_X2APIC);
    context("registers");
    EXPECT_EQ(rdmsr(X2APIC(APIC_ID)), id);
    EXPECT_EQ(rdmsr(X2APIC(APIC_LDR)), (id >> 4) << 16 | 1u << (id & 15));
    EXPECT_EQ(rdmsr(X2APIC(APIC_SVR)), 0x1ff);
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(X2APIC(APIC_ID)), "a"(0), "d"(0));
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(X2APIC(APIC_LDR)), "a"(0), "d"(0));
    TRY_FAULT(GP, 0, "rdmsr", : : "c"(X2APIC(APIC_DFR)) : "eax", "edx");
    TRY_FAULT(GP, 0, "rdmsr", : : "c"(X2APIC(APIC_ICR_HIGH)) : "eax", "edx");
    TRY_FAULT(GP, 0, "rdmsr", : : "c"(X2APIC(APIC_EOI)) : "eax", "edx");
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(X2APIC(APIC_EOI)), "a"(1), "d"(0));
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(X2APIC(APIC_ESR)), "a"(1), "d"(0));
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(X2APIC(APIC_TPR)), "a"(0x100), "d"(0));
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(X2APIC(APIC_SVR)), "a"(0x80000000), "d"(0));
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(X2APIC(APIC_IRR)), "a"(0), "d"(0));
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(X2APIC(APIC_CURRENT)), "a"(0), "d"(0));
    TRY_FAULT(GP, 0, "rdmsr", : : "c"(X2APIC(0x3f0)) : "eax", "edx"); /* self IPI: write only */
    context("IPIs");
    irq_end = false;
    trap_hook = irq_hook;
    wrmsr(X2APIC(0x3f0), 0x47);
    EXPECT_EQ(rdmsr(X2APIC(APIC_IRR + 0x20)), 1u << 7);
    EXPECT_EQ(irq_take(), 1);
    wrmsr(X2APIC(APIC_EOI), 0);
    wrmsr(X2APIC(APIC_ICR), (uint64_t)id << 32 | 0x48);
    EXPECT_EQ(irq_take(), 1);
    wrmsr(X2APIC(APIC_EOI), 0);
    wrmsr(X2APIC(APIC_ICR), 1ull << (32 + (id & 15)) | ICR_LOGICAL | 0x49);
    EXPECT_EQ(irq_take(), 1);
    wrmsr(X2APIC(APIC_EOI), 0);
    EXPECT_EQ(rdmsr(X2APIC(APIC_PPR)), 0);
    context("the way back");
    TRY_FAULT(GP, 0, "wrmsr",
              :
              : "c"(MSR_APIC_BASE), "a"((uint32_t)base), "d"((uint32_t)(base >> 32)));
    wrmsr(MSR_APIC_BASE, base & ~(uint64_t)APIC_BASE_ENABLE);
    EXPECT_EQ(cpuid(1, 0).d & 1 << 9, 0);
    TRY_FAULT(GP, 0, "wrmsr",
              :
              : "c"(MSR_APIC_BASE), "d"((uint32_t)(base >> 32)),
                "a"((uint32_t)base | APIC_BASE_X2APIC));
    wrmsr(MSR_APIC_BASE, base);
    EXPECT(cpuid(1, 0).d & 1 << 9);
    EXPECT_EQ(APIC(APIC_SVR), 0xff);
    context("reserved bits");
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(MSR_APIC_BASE), "d"(0xffffffff), "a"((uint32_t)base));
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(MSR_APIC_BASE), "d"(0), "a"((uint32_t)base | 1));
    irq_end = true;
}

const struct test_case cases[] = {
    {"registers", registers},
    {"priorities", priorities},
    {"task priority", task_priority},
    {"destinations", destinations},
    {"errors", errors},
    {"software disable", software_disable},
    {"timer", timer},
    {"TSC deadline", tsc_deadline},
    {"x2APIC", x2apic},
};
PROGRAM("lapic");
