/*
 * Interrupts from one processor to others (SDM 3A 10.6, 10.12.10): destinations, shorthands, lowest
 * priority, NMI, HLT, task priority; and the I/O APIC's to a processor that is not the first
 * (82093AA datasheet). Who was meant takes each once, and nobody else does.
 */
#include "smp.h"

#define ICR_ASSERT   0x4000
#define ICR_LOWEST   0x100
#define RTE_LOGICAL  0x800
#define RTE_LEVEL    0x8000
#define RTE_REMOTE   0x4000
#define RTE_MASKED   0x10000
#define PIT_PIN      2
#define KEYBOARD_PIN 1
#define CLUSTER(n)   ((n) / 2 << 4 | 1u << (n) % 2)
#define EVERYBODY    (cpu_count == 64 ? ~0ull : (1ull << cpu_count) - 1)
#define FLAT         (EVERYBODY & 0xff) /* those that have a bit in the flat mode */

/* ---- The others take interrupts ---- */

static volatile unsigned open_count;

static void take_until_stop(void *unused)
{
    (void)unused;
    __atomic_add_fetch(&open_count, 1, __ATOMIC_SEQ_CST);
    while (!smp_stop)
        smp_window();
}

static bool open_all(void)
{
    open_count = 0;
    smp_stop = false;
    for (unsigned n = 1; n < cpu_count; n++)
        smp_start(n, take_until_stop, NULL);
    return WAIT_FOR(open_count == cpu_count - 1);
}

static void close_all(void)
{
    smp_stop = true;
    for (unsigned n = 1; n < cpu_count; n++)
        smp_await(n);
}

static uint64_t taken_mask(unsigned vector)
{
    uint64_t mask = 0;

    for (unsigned n = 0; n < cpu_count; n++)
        mask |= (uint64_t)(cpus[n].taken[vector] != 0) << n;
    return mask;
}

static unsigned taken_total(unsigned vector)
{
    unsigned total = 0;

    for (unsigned n = 0; n < cpu_count; n++)
        total += cpus[n].taken[vector];
    return total;
}

static unsigned bit_count(uint64_t mask)
{
    unsigned bits = 0;

    for (; mask != 0; mask &= mask - 1)
        bits++;
    return bits;
}

static void forget(void)
{
    for (unsigned n = 0; n < cpu_count; n++)
        for (unsigned vector = 0; vector < 256; vector++)
            cpus[n].taken[vector] = 0;
}

/* With open_all: lets what is on its way arrive. */
static void arrive(unsigned vector, unsigned total)
{
    for (unsigned n = 0; n < 1000000 && taken_total(vector) < total; n++)
        smp_window();
    for (unsigned n = 0; n < 4; n++) {
        smp_settle();
        smp_window();
    }
}

/* Sends; exactly the processors of mask take it, once each. */
static void expect_at(uint64_t mask, uint32_t destination, uint32_t low)
{
    unsigned vector = (low & 0x700) == ICR_NMI ? NMI : low & 0xff;

    EXPECT(ipi_send(destination, low | ICR_ASSERT));
    arrive(vector, bit_count(mask));
    EXPECT_EQ(taken_mask(vector), mask);
    EXPECT_EQ(taken_total(vector), bit_count(mask));
    forget();
}

/* The same, to one processor of mask. */
static void expect_at_one(uint64_t mask, uint32_t destination, uint32_t low)
{
    EXPECT(ipi_send(destination, low | ICR_ASSERT));
    arrive(low & 0xff, 1);
    EXPECT_EQ(taken_total(low & 0xff), 1);
    EXPECT_EQ(taken_mask(low & 0xff) & ~mask, 0);
    forget();
}

/* ---- Destinations ---- */

static void physical(void)
{
    if (!smp_begin() || !open_all())
        return;
    for (unsigned n = 0; n < cpu_count; n = smp_next(n)) {
        context("to processor %u", n);
        expect_at(1ull << n, cpus[n].apic_id, 0x41);
        expect_at(1ull << n, cpus[n].apic_id, 0xf1);
    }
    context("to everybody");
    expect_at(EVERYBODY, 0xff, 0x42);
    context("to nobody");
    expect_at(0, 0x70, 0x43);
    context("lowest priority to one is as fixed");
    expect_at(2, cpus[1].apic_id, ICR_LOWEST | 0x44);
    close_all();
}

static void flat(void)
{
    if (!smp_begin() || !open_all())
        return;
    for (unsigned mask = 0; mask <= FLAT; mask += FLAT > 0xf ? 11 : 1) {
        context("to %x", mask);
        expect_at(mask, mask, ICR_LOGICAL | 0x51);
    }
    if (cpu_count < 8) {
        context("to everybody");
        expect_at(EVERYBODY, 0xff, ICR_LOGICAL | 0x52);
        context("to nobody");
        expect_at(0, 0x80, ICR_LOGICAL | 0x53);
    }
    close_all();
}

static void set_cluster(void *unused)
{
    (void)unused;
    APIC(APIC_DFR) = 0x0fffffff;
    APIC(APIC_LDR) = CLUSTER(this_cpu()->index) << 24;
}

static void set_flat(void *unused)
{
    (void)unused;
    APIC(APIC_DFR) = 0xffffffff;
    APIC(APIC_LDR) = this_cpu()->index < 8 ? 1u << (24 + this_cpu()->index) : 0;
}

static void cluster(void)
{
    if (!smp_begin())
        return;
    if (cpu_count > 30) {
        skip("more than fifteen clusters");
        return;
    }
    smp_all(cpu_count, set_cluster, NULL);
    if (!open_all())
        return;
    for (unsigned n = 0; n < cpu_count; n = smp_next(n)) {
        context("to processor %u", n);
        expect_at(1ull << n, CLUSTER(n), ICR_LOGICAL | 0x61);
    }
    for (unsigned c = 0; c <= cpu_count / 2; c++) {
        context("to all of cluster %u", c);
        expect_at(EVERYBODY & 3ull << (2 * c), c << 4 | 0xf, ICR_LOGICAL | 0x62);
        context("to nobody of cluster %u", c);
        expect_at(0, c << 4 | 0xc, ICR_LOGICAL | 0x63);
    }
    context("to everybody");
    expect_at(EVERYBODY, 0xff, ICR_LOGICAL | 0x64);
    context("lowest priority in cluster 0");
    expect_at_one(EVERYBODY & 3, 0x03, ICR_LOGICAL | ICR_LOWEST | 0x65);
    close_all();
    smp_all(cpu_count, set_flat, NULL);
}

static void shorthands(void)
{
    if (!smp_begin() || !open_all())
        return;
    context("self");
    expect_at(1, 0, ICR_SELF | 0x71);
    context("all");
    expect_at(EVERYBODY, 0, ICR_ALL | 0x72);
    context("all but self");
    expect_at(EVERYBODY & ~1ull, 0, ICR_OTHERS | 0x73);
    context("NMI to all but self");
    expect_at(EVERYBODY & ~1ull, 0, ICR_OTHERS | ICR_NMI);
    close_all();
}

static void send_by_argument(void *low)
{
    (void)ipi_send(0, (uint32_t)(uint64_t)low | ICR_ASSERT);
    while (!smp_stop)
        smp_window();
}

/* Processor 1 sends. */
static void from_another(void)
{
    static const struct {
        const char *name;
        uint32_t low;
        uint64_t not, only;
    } rows[] = {
        {"self", ICR_SELF | 0x75, 0, 2},
        {"all", ICR_ALL | 0x76, 0, ~0ull},
        {"all but self", ICR_OTHERS | 0x77, 2, ~0ull},
    };

    for (unsigned n = 0; n < COUNT(rows); n++) {
        unsigned vector = rows[n].low & 0xff;
        uint64_t mask;

        if (!smp_begin())
            return;
        mask = EVERYBODY & rows[n].only & ~rows[n].not ;
        context("%s", rows[n].name);
        open_count = 0;
        for (unsigned p = 2; p < cpu_count; p++)
            smp_start(p, take_until_stop, NULL);
        (void)WAIT_FOR(open_count == cpu_count - 2);
        smp_start(1, send_by_argument, (void *)(uint64_t)rows[n].low);
        arrive(vector, bit_count(mask));
        EXPECT_EQ(taken_mask(vector), mask);
        EXPECT_EQ(taken_total(vector), bit_count(mask));
        close_all();
    }
}

static void lowest_priority(void)
{
    if (!smp_begin() || !open_all())
        return;
    for (unsigned n = 0; n < 6; n++) {
        context("to all, time %u", n);
        expect_at_one(FLAT, FLAT, ICR_LOGICAL | ICR_LOWEST | 0x81);
        context("to all but the first, time %u", n);
        expect_at_one(FLAT & ~1ull, FLAT & ~1ull, ICR_LOGICAL | ICR_LOWEST | 0x82);
        for (unsigned p = 0; p < cpu_count && p < 8; p++)
            expect_at_one(1u << p, 1u << p, ICR_LOGICAL | ICR_LOWEST | 0x83);
    }
    close_all();
}

/* One whose APIC is disabled by software takes no interrupts, so it is not chosen; NMI, INIT and
 * SIPI it takes (10.4.7.2). */
static void disable_and_stop(void *unused)
{
    (void)unused;
    apic_set(APIC_SVR, 0xff);
    __atomic_add_fetch(&open_count, 1, __ATOMIC_SEQ_CST);
    while (!smp_stop)
        smp_window();
    apic_set(APIC_SVR, 0x1ff);
}

static void disabled(void)
{
    if (!smp_begin())
        return;
    open_count = 0;
    smp_start(1, disable_and_stop, NULL);
    for (unsigned n = 2; n < cpu_count; n++)
        smp_start(n, take_until_stop, NULL);
    EXPECT(WAIT_FOR(open_count == cpu_count - 1));
    context("fixed");
    expect_at(0, cpus[1].apic_id, 0x84);
    expect_at(EVERYBODY & ~2ull, 0, ICR_ALL | 0x85);
    context("NMI");
    expect_at(2, cpus[1].apic_id, ICR_NMI);
    context("lowest priority");
    apic_set(APIC_TPR, 0x20); /* so that processor 1 would be preferred */
    expect_at_one(1, 3, ICR_LOGICAL | ICR_LOWEST | 0x86);
    apic_set(APIC_TPR, 0);
    close_all();
    cpus[1].state = CPU_OFF; /* INIT empties its APIC, whatever it took */
}

/* ---- Pending, held back, in service ---- */

static volatile unsigned step;

/* With IF clear: two vectors, one of them twice; then they come by priority. */
static void hold_with_flag(void *unused)
{
    (void)unused;
    step = 1;
    (void)WAIT_FOR(step == 2);
    smp_window();
    smp_window();
    smp_window();
}

static void held_by_flag(void)
{
    for (unsigned n = 1; n < cpu_count; n = smp_next(n)) {
        if (!smp_begin())
            return;
        context("processor %u", n);
        step = 0;
        smp_start(n, hold_with_flag, NULL);
        EXPECT(WAIT_FOR(step == 1));
        EXPECT(ipi_to(n, 0x45));
        EXPECT(ipi_to(n, 0x83));
        EXPECT(ipi_to(n, 0x45));
        EXPECT(ipi_to(n, 0x62));
        smp_settle();
        EXPECT_EQ(cpus[n].order_count, 0);
        step = 2;
        smp_await(n);
        EXPECT_EQ(cpus[n].order_count, 3);
        EXPECT_EQ(cpus[n].order[0], 0x83);
        EXPECT_EQ(cpus[n].order[1], 0x62);
        EXPECT_EQ(cpus[n].order[2], 0x45);
    }
}

static volatile uint32_t seen_irr, seen_ppr;

static void hold_with_priority(void *unused)
{
    (void)unused;
    apic_set(APIC_TPR, 0x60);
    step = 1;
    while (step == 1)
        smp_window();
    seen_irr = apic_get(APIC_IRR + 0x20);
    seen_ppr = apic_get(APIC_PPR);
    asm volatile("mov %0, %%cr8" : : "r"(4ull) : "memory");
    smp_window();
    step = 3;
    while (step == 3)
        smp_window();
    apic_set(APIC_TPR, 0);
    smp_window();
    smp_window();
}

static void held_by_priority(void)
{
    for (unsigned n = 1; n < cpu_count; n = smp_next(n)) {
        if (!smp_begin())
            return;
        context("processor %u", n);
        step = 0;
        smp_start(n, hold_with_priority, NULL);
        EXPECT(WAIT_FOR(step == 1));
        EXPECT(ipi_to(n, 0x45));
        EXPECT(ipi_to(n, 0x55));
        EXPECT(ipi_to(n, 0x75));
        EXPECT(WAIT_FOR(cpus[n].taken[0x75] == 1));
        smp_settle();
        EXPECT_EQ(cpus[n].order_count, 1);
        step = 2;
        EXPECT(WAIT_FOR(step == 3));
        EXPECT_EQ(seen_irr, 1u << 0x15 | 1u << 5);
        EXPECT_EQ(seen_ppr, 0x60);
        EXPECT(WAIT_FOR(cpus[n].taken[0x55] == 1));
        smp_settle();
        EXPECT_EQ(cpus[n].taken[0x45], 0);
        step = 4;
        smp_await(n);
        EXPECT_EQ(cpus[n].taken[0x45], 1);
        EXPECT_EQ(cpus[n].order_count, 3);
    }
}

/* Without an EOI the lower and equal ones wait; the sender's APIC is not concerned. */
static void in_service(void)
{
    for (unsigned n = 1; n < cpu_count; n = smp_next(n)) {
        if (!smp_begin() || !open_all())
            return;
        context("processor %u", n);
        cpus[n].keep_service = true;
        EXPECT(ipi_to(n, 0x65));
        EXPECT(WAIT_FOR(cpus[n].taken[0x65] == 1));
        EXPECT(ipi_to(n, 0x65));
        EXPECT(ipi_to(n, 0x61));
        EXPECT(ipi_to(n, 0x71));
        EXPECT(WAIT_FOR(cpus[n].taken[0x71] == 1));
        smp_settle();
        EXPECT_EQ(cpus[n].taken[0x65], 1);
        EXPECT_EQ(cpus[n].taken[0x61], 0);
        close_all();
        cpus[n].state = CPU_OFF; /* INIT empties its APIC */
    }
}

/* ---- HLT and NMI ---- */

static void halt_open(void *unused)
{
    (void)unused;
    step = 1;
    asm volatile("sti\n hlt\n cli" ::: "memory");
    step = 2;
}

static void halt_closed(void *unused)
{
    (void)unused;
    step = 1;
    while (this_cpu()->taken[NMI] == 0)
        asm volatile("cli\n hlt" ::: "memory");
    step = 2;
}

static void halted(void)
{
    for (unsigned n = 1; n < cpu_count; n = smp_next(n)) {
        if (!smp_begin())
            return;
        for (unsigned times = 0; times < 20; times++) {
            context("an interrupt to processor %u, time %u", n, times);
            step = 0;
            smp_start(n, halt_open, NULL);
            EXPECT(WAIT_FOR(step == 1));
            if (times % 2 != 0)
                smp_settle();
            EXPECT(ipi_to(n, 0x91));
            EXPECT(smp_await(n));
            EXPECT_EQ(cpus[n].taken[0x91], times + 1);
        }
        context("processor %u with IF clear", n);
        step = 0;
        smp_start(n, halt_closed, NULL);
        EXPECT(WAIT_FOR(step == 1));
        smp_settle();
        EXPECT(ipi_to(n, 0x92));
        smp_settle();
        EXPECT_EQ(step, 1);
        EXPECT_EQ(cpus[n].taken[0x92], 0);
        context("an NMI to processor %u", n);
        /* It may come before HLT, then the next one wakes. */
        for (unsigned times = 0; times < 20 && step == 1; times++) {
            EXPECT(ipi_send(cpus[n].apic_id, ICR_ASSERT | ICR_NMI));
            smp_settle();
        }
        EXPECT(smp_await(n));
        EXPECT(cpus[n].taken[NMI] >= 1);
        EXPECT_EQ(cpus[n].taken[0x92], 0);
    }
}

static void non_maskable(void)
{
    if (!smp_begin() || !open_all())
        return;
    for (unsigned n = 1; n < cpu_count; n = smp_next(n)) {
        context("to processor %u", n);
        expect_at(1ull << n, cpus[n].apic_id, ICR_NMI);
        if (n >= 8)
            continue;
        context("to processor %u, logical; the vector does not matter", n);
        EXPECT(ipi_send(1u << n, ICR_ASSERT | ICR_NMI | ICR_LOGICAL | 0x99));
        arrive(NMI, 1);
        EXPECT_EQ(taken_mask(NMI), 1u << n);
        EXPECT_EQ(taken_mask(0x99), 0);
        forget();
    }
    close_all();
}

/* ---- Many ---- */

#define HOPS (100 * cpu_count)
static volatile unsigned hops;

/* A handler that sends on to the next processor, from within its interrupt. */
static bool pass_on(struct frame *f)
{
    struct cpu *cpu = this_cpu();

    if (f->vector != 0xa1)
        return false;
    cpu->taken[0xa1]++;
    apic_set(APIC_EOI, 0);
    if (++hops < HOPS)
        ipi_to((cpu->index + 1) % cpu_count, 0xa1);
    return true;
}

static void ring(void)
{
    if (!smp_begin() || !open_all())
        return;
    hops = 0;
    for (unsigned n = 0; n < cpu_count; n++)
        cpus[n].hook = pass_on;
    EXPECT(ipi_to(1, 0xa1));
    EXPECT(WAIT_FOR((smp_window(), hops == HOPS)));
    EXPECT_EQ(hops, HOPS);
    for (unsigned n = 0; n < cpu_count; n++) {
        context("processor %u", n);
        EXPECT_EQ(cpus[n].taken[0xa1], 100);
    }
    close_all();
}

/* Everybody sends to all others and waits for answers by memory: none may be lost. */
#define CALLS 60
static volatile unsigned answers[CPU_MAX], finished;

static bool answer(struct frame *f)
{
    if (f->vector < 0xb0 || f->vector >= 0xb0 + CPU_MAX)
        return false;
    __atomic_add_fetch(&answers[f->vector - 0xb0], 1, __ATOMIC_SEQ_CST);
    apic_set(APIC_EOI, 0);
    return true;
}

static void call_others(void *unused)
{
    unsigned me = this_cpu()->index;

    (void)unused;
    for (unsigned n = 0; n < CALLS; n++) {
        answers[me] = 0;
        (void)ipi_send(0, ICR_OTHERS | ICR_ASSERT | (0xb0 + me));
        if (!WAIT_FOR((smp_window(), answers[me] == cpu_count - 1)))
            return;
    }
    __atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
    (void)WAIT_FOR((smp_window(), finished == cpu_count));
}

static void crossing(void)
{
    if (!smp_begin())
        return;
    finished = 0;
    for (unsigned n = 0; n < cpu_count; n++)
        cpus[n].hook = answer;
    smp_all(cpu_count, call_others, NULL);
    EXPECT_EQ(finished, cpu_count);
}

/* ---- I/O APIC ---- */

static void rte_set(unsigned pin, uint32_t destination, uint32_t low)
{
    ioapic_write(0x10 + 2 * pin, RTE_MASKED);
    ioapic_write(0x11 + 2 * pin, destination << 24);
    ioapic_write(0x10 + 2 * pin, low);
}

/* One edge on the timer's pin. */
static void timer_edge(void)
{
    outb(0x43, 0x30); /* channel 0, mode 0: the output rises at the end */
    outb(0x40, 50);
    outb(0x40, 0);
}

static void expect_timer(uint64_t mask, bool one, uint32_t destination, uint32_t low)
{
    unsigned total = one ? 1 : bit_count(mask);

    outb(0x43, 0x30); /* the output is low until a count is written */
    rte_set(PIT_PIN, destination, low);
    timer_edge();
    arrive(low & 0xff, total);
    EXPECT_EQ(taken_total(low & 0xff), total);
    EXPECT_EQ(taken_mask(low & 0xff) & ~mask, 0);
    rte_set(PIT_PIN, 0, RTE_MASKED);
    forget();
}

static void redirected(void)
{
    if (!smp_begin() || !open_all())
        return;
    for (unsigned pin = 0; pin < 24; pin++)
        ioapic_write(0x10 + 2 * pin, RTE_MASKED);
    for (unsigned n = 0; n < cpu_count; n = smp_next(n)) {
        context("physical, to processor %u", n);
        expect_timer(1ull << n, false, cpus[n].apic_id, 0x31);
        if (n >= 8)
            continue;
        context("logical, to processor %u", n);
        expect_timer(1ull << n, false, 1u << n, RTE_LOGICAL | 0x32);
    }
    context("logical, to all but the first");
    expect_timer(FLAT & ~1ull, false, FLAT & ~1u, RTE_LOGICAL | 0x33);
    if (cpu_count <= 8) {
        context("logical, to everybody");
        expect_timer(EVERYBODY, false, 0xff, RTE_LOGICAL | 0x34);
    }
    context("lowest priority");
    for (unsigned n = 0; n < 4; n++)
        expect_timer(FLAT & ~1ull, true, FLAT & ~1u, RTE_LOGICAL | ICR_LOWEST | 0x35);
    close_all();
}

static void keyboard_lower(void)
{
    for (unsigned n = 0; n < 16 && (inb(0x64) & 1); n++)
        inb(0x60);
}

/* A level-triggered one: its end on the other processor reaches the I/O APIC. */
static bool end_level(struct frame *f)
{
    struct cpu *cpu = this_cpu();

    if (f->vector != 0x37)
        return false;
    if (cpu->taken[0x37]++ == 2)
        keyboard_lower();
    apic_set(APIC_EOI, 0);
    return true;
}

static void level(void)
{
    if (!smp_begin() || !open_all())
        return;
    outb(0x64, 0x60);
    outb(0x60, 0x03);
    keyboard_lower();
    for (unsigned n = 1; n < cpu_count; n = smp_next(n)) {
        context("processor %u", n);
        cpus[n].hook = end_level;
        rte_set(KEYBOARD_PIN, cpus[n].apic_id, RTE_LEVEL | 0x37);
        outb(0x64, 0xd2);
        outb(0x60, 0x11);
        EXPECT(WAIT_FOR(cpus[n].taken[0x37] >= 3));
        smp_settle();
        EXPECT_EQ(taken_total(0x37), 3); /* twice again with the line still up */
        EXPECT_EQ(ioapic_read(0x10 + 2 * KEYBOARD_PIN) & RTE_REMOTE, 0);
        rte_set(KEYBOARD_PIN, 0, RTE_MASKED);
        forget();
    }
    close_all();
}

/* ---- x2APIC ---- */

static void to_x2apic(void *unused)
{
    (void)unused;
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_X2APIC);
    apic_set(APIC_SVR, 0x1ff);
    apic_set(APIC_TPR, 0);
}

static void to_xapic(void *unused)
{
    uint64_t base = rdmsr(MSR_APIC_BASE) & ~(uint64_t)APIC_BASE_X2APIC;

    (void)unused;
    wrmsr(MSR_APIC_BASE, base & ~(uint64_t)APIC_BASE_ENABLE);
    wrmsr(MSR_APIC_BASE, base);
    APIC(APIC_SVR) = 0x1ff;
    APIC(APIC_TPR) = 0;
    set_flat(NULL);
}

static uint32_t logical_id(unsigned n)
{
    return cpus[n].apic_id >> 4 << 16 | 1u << (cpus[n].apic_id & 15);
}

static volatile uint32_t seen_ldr[CPU_MAX];

static void note_ldr(void *unused)
{
    (void)unused;
    seen_ldr[this_cpu()->index] = apic_get(APIC_LDR);
}

static void x2apic_destinations(void)
{
    for (unsigned n = 0; n < cpu_count; n++) {
        context("processor %u", n);
        EXPECT_EQ(seen_ldr[n], logical_id(n));
        expect_at(1ull << n, cpus[n].apic_id, 0xc1);
        context("logical, processor %u", n);
        expect_at(1ull << n, logical_id(n), ICR_LOGICAL | 0xc2);
    }
    context("to everybody");
    expect_at(EVERYBODY, 0xffffffff, 0xc3);
    context("the old mode's everybody is nobody");
    expect_at(0, 0xff, 0xc4);
    for (unsigned c = 0; c < 5; c++) {
        uint64_t members = 0;
        uint32_t bits = 0;

        for (unsigned n = 0; n < cpu_count; n++) {
            if (cpus[n].apic_id >> 4 != c)
                continue;
            members |= 1ull << n;
            bits |= logical_id(n) & 0xffff;
        }
        context("cluster %u", c);
        expect_at(members, c << 16 | 0xffff, ICR_LOGICAL | 0xc5);
        expect_at(0, c << 16, ICR_LOGICAL | 0xc6);
        expect_at(0, c << 16 | (~bits & 0xffff), ICR_LOGICAL | 0xc6);
        if (members != 0)
            expect_at_one(members, c << 16 | bits, ICR_LOGICAL | ICR_LOWEST | 0xc7);
    }
    context("shorthands");
    expect_at(1, 0, ICR_SELF | 0xc8);
    expect_at(EVERYBODY, 0, ICR_ALL | 0xc9);
    expect_at(EVERYBODY & ~1ull, 0, ICR_OTHERS | 0xca);
    context("NMI");
    expect_at(EVERYBODY & ~1ull, 0, ICR_OTHERS | ICR_NMI);
    expect_at(2, cpus[1].apic_id, ICR_NMI);
    context("the self-IPI register");
    wrmsr(0x83f, 0xcb);
    arrive(0xcb, 1);
    EXPECT_EQ(taken_mask(0xcb), 1);
    forget();
}

static void x2apic(void)
{
    if (!HAS_1C(21)) {
        skip("no x2APIC");
        return;
    }
    if (!smp_begin())
        return;
    smp_all(cpu_count, to_x2apic, NULL);
    smp_all(cpu_count, note_ldr, NULL);
    if (open_all())
        x2apic_destinations();
    close_all();
    context("INIT keeps the mode");
    smp_init(1);
    smp_settle();
    smp_sipi(1, SMP_VECTOR);
    if (smp_await(1))
        EXPECT_EQ(cpus[1].startup_apic.base, 0xfee00000 | APIC_BASE_ENABLE | APIC_BASE_X2APIC);
    smp_all(cpu_count, to_xapic, NULL);
}

const struct test_case cases[] = {
    {"physical", physical},
    {"flat", flat},
    {"clusters", cluster},
    {"shorthands", shorthands},
    {"shorthands of another", from_another},
    {"lowest priority", lowest_priority},
    {"disabled by software", disabled},
    {"held back by IF", held_by_flag},
    {"held back by task priority", held_by_priority},
    {"in service", in_service},
    {"HLT", halted},
    {"NMI", non_maskable},
    {"a ring", ring},
    {"crossing calls", crossing},
    {"I/O APIC", redirected},
    {"level-triggered", level},
    {"x2APIC", x2apic},
};
PROGRAM("smp_ipi");
