/* The time-stamp counter of several processors (SDM 3B 17.17): a token goes round, and nobody who
 * gets it reads less than the one before. */
#include "smp.h"

#define HANDOVERS      1200
#define MSR_TSC        0x10
#define MSR_TSC_ADJUST 0x3b
#define TSC_AHEAD      (1ull << 40)

enum reading { BY_RDTSC, BY_RDTSCP, BY_RDMSR };

static volatile unsigned turn;
static volatile uint64_t last;
static enum reading how;

/* What went wrong first. */
static volatile struct {
    unsigned count, turn, cpu;
    uint64_t last, seen;
} backwards;

static uint64_t read_tsc(void)
{
    uint32_t low, high;

    if (how == BY_RDMSR)
        return rdmsr(MSR_TSC);
    if (how == BY_RDTSCP)
        asm volatile("rdtscp" : "=a"(low), "=d"(high) : : "ecx", "memory");
    else
        asm volatile("lfence\n rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static void hand_over(void *unused)
{
    unsigned me = this_cpu()->index;

    (void)unused;
    for (unsigned t = me; t < HANDOVERS; t += cpu_count) {
        uint64_t now;

        if (!WAIT_FOR(turn == t))
            return;
        now = read_tsc();
        if (now < last && backwards.count++ == 0) {
            backwards.turn = t;
            backwards.cpu = me;
            backwards.last = last;
            backwards.seen = now;
        }
        last = now;
        turn = t + 1;
    }
}

static void rounds(enum reading reading)
{
    how = reading;
    turn = 0;
    last = 0;
    backwards.count = 0;
    smp_all(cpu_count, hand_over, NULL);
    EXPECT_EQ(turn, HANDOVERS);
    EXPECT_EQ(backwards.count, 0);
    if (backwards.count != 0)
        print("turn %u, processor %u: %llx after %llx\n", backwards.turn, backwards.cpu,
              (unsigned long long)backwards.seen, (unsigned long long)backwards.last);
}

static void by_rdtsc(void)
{
    if (smp_begin())
        rounds(BY_RDTSC);
}

static void by_rdtscp(void)
{
    if (!HAS_EXTD(27)) {
        skip("no RDTSCP");
        return;
    }
    if (smp_begin())
        rounds(BY_RDTSCP);
}

static void by_rdmsr(void)
{
    if (smp_begin())
        rounds(BY_RDMSR);
}

/* INIT does not touch it (table 9-1). */
static void through_init(void)
{
    uint64_t before;

    if (!smp_begin())
        return;
    before = rdtsc();
    for (unsigned n = 1; n < cpu_count; n++) {
        cpus[n].state = CPU_OFF;
        smp_begin();
    }
    how = BY_RDTSC;
    rounds(BY_RDTSC);
    EXPECT(last > before);
}

/* Each has its own: a write moves nobody else's. */
static volatile uint64_t seen_tsc[CPU_MAX], seen_adjust[CPU_MAX], seen_aux[CPU_MAX];

static void note(void *unused)
{
    unsigned me = this_cpu()->index;

    (void)unused;
    seen_tsc[me] = rdtsc();
    seen_adjust[me] = HAS_7B(1) ? rdmsr(MSR_TSC_ADJUST) : 0;
    if (HAS_EXTD(27)) {
        uint32_t aux;

        asm volatile("rdtscp" : "=c"(aux) : : "eax", "edx");
        seen_aux[me] = aux;
    }
}

static void move_ahead(void *unused)
{
    (void)unused;
    wrmsr(MSR_TSC, rdtsc() + TSC_AHEAD);
    if (HAS_EXTD(27))
        wrmsr(MSR_TSC_AUX, 0xabc0 + this_cpu()->index);
}

static void move_back(void *unused)
{
    (void)unused;
    wrmsr(MSR_TSC_ADJUST, 0);
    if (HAS_EXTD(27))
        wrmsr(MSR_TSC_AUX, 0);
}

static void own_counters(void)
{
    if (!HAS_7B(1)) {
        skip("no TSC_ADJUST");
        return;
    }
    if (!smp_begin())
        return;
    smp_all(cpu_count, note, NULL);
    for (unsigned n = 0; n < cpu_count; n++) {
        context("processor %u", n);
        EXPECT_EQ(seen_adjust[n], 0);
    }
    smp_call(1, move_ahead, NULL);
    smp_all(cpu_count, note, NULL);
    for (unsigned n = 0; n < cpu_count; n++) {
        context("processor %u, after a write on processor 1", n);
        EXPECT_EQ(seen_tsc[n] >= TSC_AHEAD, n == 1);
        EXPECT_EQ(seen_adjust[n] >= TSC_AHEAD / 2, n == 1);
        if (HAS_EXTD(27))
            EXPECT_EQ(seen_aux[n], n == 1 ? 0xabc1 : 0);
    }
    smp_call(1, move_back, NULL);
    context("after the way back");
    rounds(BY_RDTSC);
}

const struct test_case cases[] = {
    {"RDTSC", by_rdtsc},
    {"RDTSCP", by_rdtscp},
    {"RDMSR", by_rdmsr},
    {"through INIT", through_init},
    {"each its own", own_counters},
};
PROGRAM("smp_tsc");
