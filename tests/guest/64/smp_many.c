/*
 * Many processors: more than an emulator has bits in a word, and with local APIC ids above 254 more
 * than the xAPIC can name (SDM 3A 10.12, ACPI 5.2.12.12). Each is reached, tells of what it sees of
 * others' page tables and code, and is told, whatever its number.
 */
#include "paging.h"
#include "smp.h"

#define ICR_ASSERT 0x4000
#define CALL       0xe1
#define ROUNDS     2 /* changes by each who changes */

/* For loops over processors that take long: at both sides of every 64th, and the last. */
static unsigned next_of_many(unsigned n)
{
    unsigned next = n % 64 == 63 ? n + 1 : (n | 63);

    return n + 1 < cpu_count && next >= cpu_count ? cpu_count - 1 : next;
}

/* ---- Who is there ---- */

static volatile struct {
    uint32_t leaf, apic, x2apic;
} identities[CPU_MAX];
static volatile uint64_t sum;

static void identify(void *unused)
{
    unsigned me = this_cpu()->index;

    (void)unused;
    identities[me].leaf = apic_initial_id();
    identities[me].apic = apic_own_id();
    identities[me].x2apic = x2apic_on();
    __atomic_add_fetch(&sum, me, __ATOMIC_SEQ_CST);
}

static void identity(void)
{
    bool wide = false;

    if (!smp_begin())
        return;
    sum = 0;
    smp_all(cpu_count, identify, NULL);
    EXPECT_EQ(sum, (uint64_t)cpu_count * (cpu_count - 1) / 2);
    for (unsigned n = 0; n < cpu_count; n++)
        wide = wide || cpus[n].apic_id > 254;
    for (unsigned n = 0; n < cpu_count; n++) {
        context("processor %u", n);
        EXPECT_EQ(identities[n].leaf, cpus[n].apic_id);
        EXPECT_EQ(identities[n].apic, cpus[n].apic_id);
        EXPECT_EQ(identities[n].x2apic, wide);
        EXPECT(n == 0 || cpus[n].apic_id > cpus[n - 1].apic_id);
    }
}

/* ---- Interrupts reach each of them ---- */

#define NOBODY CPU_MAX
static volatile unsigned calls, opened, changer;

static void change(void);

static bool count_call(struct frame *f)
{
    if (f->vector != CALL)
        return false;
    this_cpu()->taken[CALL]++;
    __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    apic_set(APIC_EOI, 0);
    return true;
}

static void take_until_stop(void *unused)
{
    (void)unused;
    __atomic_add_fetch(&opened, 1, __ATOMIC_SEQ_CST);
    while (!smp_stop) {
        if (changer == this_cpu()->index) {
            change();
            changer = NOBODY;
        }
        smp_window();
    }
}

/* All but processor 0 take interrupts. */
static bool open_others(bool (*hook)(struct frame *))
{
    smp_stop = false;
    opened = calls = 0;
    changer = NOBODY;
    for (unsigned n = 0; n < cpu_count; n++)
        cpus[n].hook = hook;
    for (unsigned n = 1; n < cpu_count; n++)
        smp_start(n, take_until_stop, NULL);
    return WAIT_FOR(opened == cpu_count - 1);
}

static void close_others(void)
{
    smp_stop = true;
    for (unsigned n = 1; n < cpu_count; n++)
        smp_await(n);
}

/* Sends; who has the id, or is in the cluster, takes it once, and nobody else. */
static void expect_calls(uint32_t destination, uint32_t low, uint32_t id, uint32_t id_mask)
{
    unsigned expected = 0;

    for (unsigned n = 0; n < cpu_count; n++)
        expected += (cpus[n].apic_id & id_mask) == id;
    calls = 0;
    EXPECT(ipi_send(destination, low | ICR_ASSERT | CALL));
    EXPECT(WAIT_FOR((smp_window(), calls >= expected)));
    smp_window();
    EXPECT_EQ(calls, expected);
    for (unsigned n = 0; n < cpu_count; n++) {
        EXPECT_EQ(cpus[n].taken[CALL], (cpus[n].apic_id & id_mask) == id);
        cpus[n].taken[CALL] = 0;
    }
}

static void to_x2apic(void *unused)
{
    (void)unused;
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_X2APIC);
    apic_set(APIC_SVR, 0x1ff);
}

static void to_xapic(void *unused)
{
    uint64_t base = rdmsr(MSR_APIC_BASE) & ~(uint64_t)APIC_BASE_X2APIC;

    (void)unused;
    wrmsr(MSR_APIC_BASE, base & ~(uint64_t)APIC_BASE_ENABLE);
    wrmsr(MSR_APIC_BASE, base);
    apic_set(APIC_SVR, 0x1ff);
}

static void destinations(void)
{
    bool was_on;

    if (!smp_begin())
        return;
    was_on = x2apic_on();
    if (!was_on)
        smp_all(cpu_count, to_x2apic, NULL);
    if (open_others(count_call)) {
        for (unsigned n = 0; n < cpu_count; n = next_of_many(n)) {
            uint32_t id = cpus[n].apic_id;

            context("physical, to processor %u", n);
            expect_calls(id, 0, id, ~0u);
            context("logical, to processor %u", n);
            expect_calls(id >> 4 << 16 | 1u << (id & 15), ICR_LOGICAL, id, ~0u);
            context("to the cluster of processor %u", n);
            expect_calls(id >> 4 << 16 | 0xffff, ICR_LOGICAL, id & ~15u, ~15u);
        }
        context("to everybody");
        expect_calls(0xffffffff, 0, 0, 0);
    }
    close_others();
    if (!was_on)
        smp_all(cpu_count, to_xapic, NULL);
}

/* ---- What one changes, all others see behind their own answer ---- */

#define MARK(round) (0x5000u + (round))

/* MOV EAX, imm32; RET: at the start of frame 7. */
#define CODE_IMM (*(volatile uint32_t *)&frames[7][1])

static volatile unsigned turn; /* how many changes there have been */
static volatile uint64_t seen[CPU_MAX], ran[CPU_MAX];

static void look(void)
{
    uint32_t value;

    asm volatile("call *%1" : "=a"(value) : "r"(frames[7]) : "memory", "cc");
    ran[this_cpu()->index] = value;
    seen[this_cpu()->index] = *(const volatile uint64_t *)WINDOW;
}

static bool invalidate_and_look(struct frame *f)
{
    if (f->vector != CALL)
        return false;
    invlpg((void *)WINDOW); /* serialises, too */
    look();
    __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    apic_set(APIC_EOI, 0);
    return true;
}

/* Makes a change and has all others look. */
static void change(void)
{
    unsigned round = turn + 1;

    window_tables[0][0] = frame_pa(round % 4) | PTE_P | PTE_W;
    CODE_IMM = MARK(round);
    invlpg((void *)WINDOW);
    calls = 0;
    turn = round;
    (void)ipi_send(0, ICR_OTHERS | ICR_ASSERT | CALL);
    (void)WAIT_FOR((smp_window(), calls == cpu_count - 1));
    look();
}

static void changes(void)
{
    if (!smp_begin())
        return;
    for (unsigned n = 0; n < 4; n++)
        *(volatile uint64_t *)frame_pa(n) = 0xabc0 + n;
    window_map(0, frame_pa(0), PTE_P | PTE_W);
    frames[7][0] = 0xb8;
    frames[7][5] = 0xc3;
    CODE_IMM = MARK(0);
    turn = 0;
    for (unsigned who = 0; who < cpu_count; who = next_of_many(who)) {
        if (!open_others(invalidate_and_look))
            break;
        for (unsigned k = 0; k < ROUNDS; k++) {
            changer = who;
            if (who == 0)
                change();
            EXPECT(who == 0 || WAIT_FOR((smp_window(), changer == NOBODY)));
            for (unsigned n = 0; n < cpu_count; n++) {
                context("change %u, by processor %u, as %u sees it", turn, who, n);
                EXPECT_EQ(seen[n], 0xabc0 + turn % 4);
                EXPECT_EQ(ran[n], MARK(turn));
            }
        }
        close_others();
    }
}

const struct test_case cases[] = {
    {"identity", identity},
    {"destinations", destinations},
    {"changes", changes},
};
PROGRAM("smp_many");
