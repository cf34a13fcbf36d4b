/*
 * Translations of other processors (SDM 3A 4.10.4, 4.10.5, 8.1.2.1). Processor 0 changes entries of
 * tables that all use and interrupts the others; their handler invalidates and answers. From its
 * own answer on, a processor must not see what was before, however the handler invalidated; until
 * then it may see what was there at any instant since its last answer.
 */
#include "paging.h"
#include "smp.h"

#define SHOOTDOWN  0xe1
#define ICR_ASSERT 0x4000
#define NO_FLUSH   (1ull << 63)
#define RIGHTS     (PTE_P | PTE_W)

#ifndef ROUNDS
#define ROUNDS 60 /* changes in each run */
#endif

/* ---- Two ways down from each level, with a frame of its own at each end ---- */

#define WAYS 2
static volatile uint64_t ways[WAYS][3][512] __attribute__((aligned(4096)));

#define WORD_OF(way) (*(volatile uint64_t *)frame_pa(way))
#define SCRATCH(way) (((volatile uint64_t *)frame_pa(way))[1])
#define MARK(way)    (0xabc0u + (way))

/* Everything above level goes to way 0; below it, each way has its own tables. */
static void build(void)
{
    for (unsigned way = 0; way < WAYS; way++) {
        WORD_OF(way) = MARK(way);
        ways[way][0][0] = frame_pa(way) | RIGHTS;
        ways[way][1][0] = (uint64_t)ways[way][0] | RIGHTS;
        ways[way][2][0] = (uint64_t)ways[way][1] | RIGHTS;
    }
    pml4[2] = (uint64_t)ways[0][2] | RIGHTS;
}

static volatile uint64_t *entry_of(unsigned level)
{
    return level == 4 ? &pml4[2] : &ways[0][level - 1][0];
}

static uint64_t entry_to(unsigned level, unsigned way)
{
    return (level == 1 ? frame_pa(way) : (uint64_t)ways[way][level - 2]) | RIGHTS;
}

/* ---- What holds after change g ---- */

enum what { BOTH, READ_ONLY, NOTHING };
struct state {
    unsigned way;
    enum what what;
};

/* Moves, protects, takes away, by turns. */
static struct state state_of(unsigned g)
{
    static const struct state states[] = {{0, BOTH},    {1, BOTH}, {1, READ_ONLY}, {0, BOTH},
                                          {0, NOTHING}, {1, BOTH}, {1, NOTHING},   {0, READ_ONLY}};

    return states[g % COUNT(states)];
}

static uint64_t entry_in(unsigned level, struct state s)
{
    uint64_t entry = entry_to(level, s.way);

    if (s.what == READ_ONLY)
        entry &= ~PTE_W;
    return s.what == NOTHING ? 0 : entry;
}

/* ---- The others ---- */

enum method {
    BY_INVLPG,
    BY_CR3,
    BY_PGE,
    BY_INVPCID_ONE,
    BY_INVPCID_ALL,
    BY_INVPCID_LOCAL,
    METHODS
};
static const char *const method_names[] = {
    "INVLPG", "MOV to CR3", "CR4.PGE", "INVPCID 0", "INVPCID 2", "INVPCID 3",
};

#define NO_CHANGE ~0u

static enum method method;
static volatile unsigned published;         /* change that has begun */
static volatile unsigned answered[CPU_MAX]; /* change after which the handler invalidated */
static volatile unsigned checked[CPU_MAX];  /* change whose effect has been looked at */
static volatile struct {
    unsigned count, change;
    uint64_t value;
    unsigned long read, write;
} wrong[CPU_MAX];

static void invpcid(uint64_t type, uint64_t pcid, uint64_t address)
{
    struct {
        uint64_t pcid, address;
    } d = {pcid, address};

    asm volatile("invpcid %0, %1" : : "m"(d), "r"(type) : "memory");
}

static void invalidate(void)
{
    switch (method) {
    case BY_INVLPG:
        invlpg((void *)WINDOW);
        break;
    case BY_CR3:
        write_cr3(read_cr3());
        break;
    case BY_PGE:
        write_cr4(read_cr4() ^ CR4_PGE);
        write_cr4(read_cr4() ^ CR4_PGE);
        break;
    case BY_INVPCID_ONE:
        invpcid(0, 0, WINDOW);
        break;
    case BY_INVPCID_ALL:
        invpcid(2, 0, 0);
        break;
    default:
        invpcid(3, 0, 0);
        break;
    }
}

static bool shootdown(struct frame *f)
{
    struct cpu *cpu = this_cpu();
    unsigned change;

    if (f->vector != SHOOTDOWN)
        return false;
    change = published;
    invalidate();
    answered[cpu->index] = change;
    apic_set(APIC_EOI, 0);
    return true;
}

static void note_wrong(unsigned change, unsigned long read, unsigned long write, uint64_t value)
{
    unsigned me = this_cpu()->index;

    if (wrong[me].count++ != 0)
        return;
    wrong[me].change = change;
    wrong[me].read = read;
    wrong[me].write = write;
    wrong[me].value = value;
}

/* Is what two accesses did what state s allows? */
static bool fits(struct state s, unsigned long read, unsigned long write, uint64_t value)
{
    if (read != (s.what == NOTHING ? PF : NO_TRAP))
        return false;
    if (read == NO_TRAP && value != MARK(s.way))
        return false;
    return write == (s.what == BOTH ? NO_TRAP : PF);
}

/* Uses the page; what it sees is judged if no change began meanwhile. */
static void use_page(unsigned me)
{
    unsigned change = answered[me];
    uint64_t value;
    unsigned long read, write;

    read = probe_read((void *)WINDOW, &value);
    if (change % 2 != 0)
        smp_pause();
    write = probe_write((void *)(WINDOW + 8), change);
    if (read == NO_TRAP && value != MARK(0) && value != MARK(1))
        note_wrong(change, read, write, value);
    if (change == NO_CHANGE || published != change || answered[me] != change)
        return;
    if (!fits(state_of(change), read, write, value))
        note_wrong(change, read, write, value);
    checked[me] = change;
}

static void use_until_stop(void *unused)
{
    unsigned me = this_cpu()->index;

    (void)unused;
    asm volatile("sti");
    while (!smp_stop) {
        use_page(me);
        smp_pause();
    }
    asm volatile("cli");
}

/* ---- Processor 0 ---- */

static void begin_users(void (*user)(void *))
{
    published = 0;
    smp_stop = false;
    for (unsigned n = 0; n < cpu_count; n++) {
        cpus[n].hook = shootdown;
        wrong[n].count = 0;
        checked[n] = answered[n] = NO_CHANGE;
    }
    for (unsigned n = 1; n < cpu_count; n++)
        smp_start(n, user, NULL);
}

/* For all: change g is everywhere and has been looked at. */
static bool await_users(unsigned g)
{
    for (unsigned n = 1; n < cpu_count; n++)
        if (!WAIT_FOR(checked[n] == g || cpus[n].state == CPU_DEAD) || cpus[n].state == CPU_DEAD)
            return false;
    return true;
}

static void end_users(void)
{
    smp_stop = true;
    for (unsigned n = 1; n < cpu_count; n++) {
        smp_await(n);
        EXPECT_EQ(wrong[n].count, 0);
        if (wrong[n].count == 0)
            continue;
        print("processor %u after change %u (way %u, rights %u): read %lx, write %lx, value %llx\n",
              n, wrong[n].change, state_of(wrong[n].change).way, state_of(wrong[n].change).what,
              wrong[n].read, wrong[n].write, (unsigned long long)wrong[n].value);
    }
}

static bool answers(unsigned g)
{
    for (unsigned n = 1; n < cpu_count; n++)
        if (!WAIT_FOR(answered[n] == g || cpus[n].state == CPU_DEAD) || answered[n] != g)
            return false;
    return true;
}

static void change(unsigned level, unsigned g)
{
    volatile uint64_t *entry = entry_of(level);

    published = g;
    if (g % 3 == 0)
        (void)__atomic_exchange_n(entry, entry_in(level, state_of(g)), __ATOMIC_SEQ_CST);
    else
        *entry = entry_in(level, state_of(g));
    for (unsigned n = 0; n < g % 4; n++)
        smp_pause(); /* the others use the page: as it was or as it is now */
    invalidate();    /* processor 0 has looked, too */
    EXPECT(ipi_send(0, ICR_OTHERS | ICR_ASSERT | SHOOTDOWN));
    EXPECT(answers(g));
}

static void shoot(unsigned level, unsigned rounds, void (*user)(void *))
{
    build();
    *entry_of(level) = entry_in(level, state_of(0));
    invalidate();
    begin_users(user);
    for (unsigned g = 1; g < rounds; g++) {
        uint64_t value;

        change(level, g);
        if (!await_users(g)) {
            EXPECT_EQ(checked[1], g);
            break;
        }
        (void)probe_read((void *)WINDOW, &value);
    }
    end_users();
    pml4[2] = 0;
}

static void by_level(void)
{
    for (unsigned level = 1; level <= 4; level++) {
        if (!smp_begin())
            return;
        context("entry of level %u", level);
        method = BY_INVLPG;
        shoot(level, ROUNDS, use_until_stop);
    }
}

static bool has_method(enum method m)
{
    return m < BY_INVPCID_ONE || HAS_7B(10);
}

static void by_method(void)
{
    for (unsigned m = 0; m < METHODS; m++) {
        for (unsigned level = 1; level <= 2 && has_method(m); level++) {
            if (!smp_begin())
                return;
            context("%s, entry of level %u", method_names[m], level);
            method = m;
            shoot(level, ROUNDS / 2, use_until_stop);
        }
    }
}

/* ---- Without interrupts: old or new, nothing else ---- */

static void look_until_stop(void *unused)
{
    unsigned me = this_cpu()->index;

    (void)unused;
    while (!smp_stop) {
        uint64_t value;
        unsigned long read = probe_read((void *)WINDOW, &value);

        if (read != PF && (read != NO_TRAP || (value != MARK(0) && value != MARK(1))))
            note_wrong(published, read, 0, value);
        checked[me] = published;
        smp_pause();
    }
}

static void without(void)
{
    for (unsigned level = 1; level <= 4; level++) {
        if (!smp_begin())
            return;
        context("entry of level %u", level);
        build();
        begin_users(look_until_stop);
        for (unsigned g = 1; g < ROUNDS; g++) {
            published = g;
            *entry_of(level) = entry_in(level, state_of(g));
            if (!await_users(g))
                break;
        }
        end_users();
        pml4[2] = 0;
    }
}

/* ---- The others reload CR3 by themselves, each change ---- */

static void reload_until_stop(void *unused)
{
    unsigned me = this_cpu()->index;

    (void)unused;
    while (!smp_stop) {
        unsigned now = published;

        if (answered[me] != now) {
            write_cr3(read_cr3());
            answered[me] = now;
        }
        use_page(me);
        smp_pause();
    }
}

/* The entry is changed before it is published, so a load of CR3 that comes later sees it. */
static void by_reload(void)
{
    for (unsigned level = 1; level <= 4; level++) {
        if (!smp_begin())
            return;
        context("entry of level %u", level);
        build();
        *entry_of(level) = entry_in(level, state_of(0));
        begin_users(reload_until_stop);
        for (unsigned g = 1; g < ROUNDS; g++) {
            /* While it changes, nobody has answered to it. */
            published = NO_CHANGE;
            for (unsigned n = 1; n < cpu_count; n++)
                (void)WAIT_FOR(answered[n] == NO_CHANGE);
            *entry_of(level) = entry_in(level, state_of(g));
            published = g;
            if (!await_users(g)) {
                EXPECT_EQ(checked[1], g);
                break;
            }
        }
        end_users();
        pml4[2] = 0;
    }
}

/* ---- Other roots above the same tables ---- */

/* In RAM behind the program. */
static volatile uint64_t (*const roots)[512] = (volatile uint64_t(*)[512])0x800000ul;

static void use_in_own_root(void *unused)
{
    unsigned me = this_cpu()->index;
    uint64_t cr3 = read_cr3();

    for (unsigned n = 0; n < 512; n++)
        roots[me][n] = pml4[n];
    write_cr3((uint64_t)roots[me]);
    use_until_stop(unused);
    write_cr3(cr3);
}

static void own_roots(void)
{
    for (unsigned level = 1; level <= 3; level++) {
        for (unsigned m = BY_INVLPG; m <= BY_CR3; m++) {
            if (!smp_begin())
                return;
            context("%s, entry of level %u", method_names[m], level);
            method = m;
            shoot(level, ROUNDS / 2, use_in_own_root);
        }
    }
}

/* ---- Process-context identifiers: what is kept for the one that does not run goes, too ---- */

#define PCIDS 3

enum pcid_method {
    BY_LOADS,
    BY_ADDRESS,
    BY_IDENTIFIER,
    BY_EVERYTHING,
    BY_ONE_OF_EACH,
    PCID_METHODS
};
static const char *const pcid_method_names[] = {"loads of CR3", "INVPCID 0", "INVPCID 1",
                                                "INVPCID 3", "INVLPG and INVPCID 0"};
static enum pcid_method pcid_method;

static void enter_pcid(unsigned pcid, bool keep)
{
    write_cr3((read_cr3() & ~0xfffull) | pcid | (keep ? NO_FLUSH : 0));
}

static void invalidate_pcids(void)
{
    unsigned own = read_cr3() & 0xfff;

    if (pcid_method == BY_EVERYTHING)
        invpcid(3, 0, 0);
    for (unsigned n = 1; n <= PCIDS; n++) {
        if (pcid_method == BY_LOADS)
            enter_pcid(n, false);
        else if (pcid_method == BY_IDENTIFIER)
            invpcid(1, n, 0);
        else if (pcid_method == BY_ONE_OF_EACH && n == own)
            invlpg((void *)WINDOW);
        else if (pcid_method != BY_EVERYTHING)
            invpcid(0, n, WINDOW);
    }
    if (pcid_method == BY_LOADS)
        enter_pcid(own, true);
}

static bool shootdown_pcids(struct frame *f)
{
    struct cpu *cpu = this_cpu();
    unsigned change;

    if (f->vector != SHOOTDOWN)
        return false;
    change = published;
    invalidate_pcids();
    answered[cpu->index] = change;
    apic_set(APIC_EOI, 0);
    return true;
}

static void use_by_turns(void *unused)
{
    struct cpu *cpu = this_cpu();

    (void)unused;
    write_cr4(read_cr4() | CR4_PCIDE);
    cpu->hook = shootdown_pcids;
    for (unsigned n = 0; !smp_stop; n++) {
        enter_pcid(n % PCIDS + 1, true);
        asm volatile("sti" ::: "memory");
        use_page(cpu->index);
        smp_pause();
        asm volatile("cli" ::: "memory");
    }
    enter_pcid(0, false);
    write_cr4(read_cr4() & ~(uint64_t)CR4_PCIDE); /* drops everything */
}

static void identifiers(void)
{
    if (!HAS_1C(17)) {
        skip("no PCID");
        return;
    }
    for (unsigned m = 0; m < PCID_METHODS; m++) {
        for (unsigned level = 1; level <= 2 && (m == BY_LOADS || HAS_7B(10)); level++) {
            if (!smp_begin())
                return;
            context("%s, entry of level %u", pcid_method_names[m], level);
            method = BY_INVLPG; /* processor 0 */
            pcid_method = m;
            shoot(level, ROUNDS / 2, use_by_turns);
        }
    }
}

/* ---- A and D ---- */

static volatile unsigned writes[CPU_MAX], reads[CPU_MAX];

static void write_until_stop(void *unused)
{
    unsigned me = this_cpu()->index;

    (void)unused;
    asm volatile("sti");
    for (uint64_t n = 1; !smp_stop; n++) {
        if (probe_write((void *)(WINDOW + 8), n << 8 | me) == NO_TRAP)
            writes[me]++;
        smp_pause();
    }
    asm volatile("cli");
}

static void read_until_stop(void *unused)
{
    unsigned me = this_cpu()->index;
    uint64_t value;

    (void)unused;
    asm volatile("sti");
    while (!smp_stop) {
        if (probe_read((void *)(WINDOW + 8), &value) == NO_TRAP)
            reads[me]++;
        smp_pause();
    }
    asm volatile("cli");
}

static void shoot_now(unsigned g)
{
    published = g;
    invalidate();
    EXPECT(ipi_send(0, ICR_OTHERS | ICR_ASSERT | SHOOTDOWN));
    EXPECT(answers(g));
}

/* A page is taken away while others write to it: no write without D in what was there, and none
 * after the answers. */
static void dirty_when_taken(void)
{
    volatile uint64_t *entry = entry_of(1);

    if (!smp_begin())
        return;
    build();
    *entry = 0;
    method = BY_INVLPG;
    begin_users(write_until_stop);
    shoot_now(1);
    for (unsigned g = 2; g < 2 + ROUNDS; g++) {
        uint64_t before = SCRATCH(0), old, after;

        context("round %u", g);
        *entry = frame_pa(0) | RIGHTS;
        if (g % 2 != 0 && !WAIT_FOR(*entry & PTE_D)) {
            EXPECT(*entry & PTE_D);
            break;
        }
        for (unsigned n = 0; n < g * 7 % 40; n++)
            smp_pause();
        old = __atomic_exchange_n(entry, 0, __ATOMIC_SEQ_CST);
        shoot_now(g);
        after = SCRATCH(0);
        smp_settle();
        EXPECT_EQ(SCRATCH(0), after);
        if (after != before)
            EXPECT_EQ(old & (PTE_A | PTE_D), PTE_A | PTE_D);
        if (old & PTE_D)
            EXPECT(old & PTE_A);
        EXPECT_EQ(old & ~(PTE_A | PTE_D), frame_pa(0) | RIGHTS);
        EXPECT_EQ(*entry, 0);
    }
    end_users();
    pml4[2] = 0;
}

/* Cleared bits come back with the first access after the answers. */
static void cleared(void)
{
    volatile uint64_t *entry = entry_of(1);

    for (unsigned kind = 0; kind < 2; kind++) {
        uint64_t bit = kind == 0 ? PTE_D : PTE_A;
        volatile unsigned *counts = kind == 0 ? writes : reads;

        if (!smp_begin())
            return;
        build();
        method = BY_INVLPG;
        begin_users(kind == 0 ? write_until_stop : read_until_stop);
        for (unsigned g = 1; g < ROUNDS; g++) {
            unsigned last = cpu_count - 1, before;

            context("%s, round %u", kind == 0 ? "D" : "A", g);
            (void)__atomic_and_fetch(entry, ~bit, __ATOMIC_SEQ_CST);
            shoot_now(g);
            before = counts[last];
            EXPECT(WAIT_FOR(counts[last] >= before + 2));
            EXPECT_EQ(*entry & bit, bit);
            EXPECT_EQ(*entry & ~(PTE_A | PTE_D), frame_pa(0) | RIGHTS);
            if (kind != 0)
                EXPECT_EQ(*entry & PTE_D, 0);
        }
        end_users();
        pml4[2] = 0;
    }
}

/* The same in the entries above. */
static void cleared_above(void)
{
    if (!smp_begin())
        return;
    build();
    method = BY_INVLPG;
    begin_users(write_until_stop);
    for (unsigned g = 1; g < ROUNDS; g++) {
        unsigned level = g % 3 + 2, before;
        volatile uint64_t *entry = entry_of(level);

        context("level %u, round %u", level, g);
        (void)__atomic_and_fetch(entry, ~PTE_A, __ATOMIC_SEQ_CST);
        shoot_now(g);
        before = writes[1];
        EXPECT(WAIT_FOR(writes[1] >= before + 2));
        EXPECT_EQ(*entry & PTE_A, PTE_A);
    }
    end_users();
    pml4[2] = 0;
}

/* Processor 0 counts in bits that are software's by LOCK CMPXCHG while the others set A and D. */
#define COUNT_ONE  (1ull << 52)
#define COUNT_MASK (0x3full << 52)
#define COUNTS     48

static void access_once(void *unused)
{
    unsigned me = this_cpu()->index;

    (void)unused;
    for (unsigned g = 1; g <= ROUNDS; g++) {
        if (!WAIT_FOR((smp_window(), answered[me] == g)))
            return;
        for (unsigned n = 0; n < me * g % 5; n++)
            smp_pause();
        if (probe_write((void *)(WINDOW + 8 + 8 * me), g) == NO_TRAP)
            writes[me]++;
        checked[me] = g;
    }
}

static void counted(void)
{
    volatile uint64_t *entry = entry_of(1);

    if (!smp_begin())
        return;
    build();
    method = BY_INVLPG;
    begin_users(access_once);
    for (unsigned g = 1; g <= ROUNDS; g++) {
        unsigned n = 0;

        context("round %u", g);
        *entry = frame_pa(0) | RIGHTS;
        published = g;
        invalidate();
        EXPECT(ipi_send(0, ICR_OTHERS | ICR_ASSERT | SHOOTDOWN));
        while (n < COUNTS) {
            uint64_t old = *entry;

            n += __atomic_compare_exchange_n(entry, &old, old + COUNT_ONE, false, __ATOMIC_SEQ_CST,
                                             __ATOMIC_SEQ_CST);
            if (n % 8 == 0)
                smp_pause();
        }
        if (!await_users(g)) {
            EXPECT_EQ(checked[1], g);
            break;
        }
        EXPECT_EQ((*entry & COUNT_MASK) / COUNT_ONE, COUNTS);
        EXPECT_EQ(*entry & ~COUNT_MASK, frame_pa(0) | RIGHTS | PTE_A | PTE_D);
        for (unsigned p = 1; p < cpu_count; p++)
            EXPECT_EQ(((volatile uint64_t *)frame_pa(0))[1 + p], g);
    }
    end_users();
    pml4[2] = 0;
}

const struct test_case cases[] = {
    {"by level", by_level},
    {"by method", by_method},
    {"without interrupts", without},
    {"loads of CR3", by_reload},
    {"other roots", own_roots},
    {"identifiers", identifiers},
    {"taken away while written", dirty_when_taken},
    {"A and D cleared", cleared},
    {"A cleared above", cleared_above},
    {"counted by CMPXCHG", counted},
};
PROGRAM("smp_tlb");
