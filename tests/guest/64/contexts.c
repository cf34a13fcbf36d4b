/*
 * Address spaces that take turns, each with 1 MiB of its own at the same addresses: the traffic of
 * a multitasking system, by CR3 loads and by loads that keep translations (SDM 3A 4.10.4). Between
 * the turns tables change, in the space that runs and in those that do not; what a space sees after
 * an invalidation is checked.
 *
 * The test of counters and the benchmark build it with other numbers of rounds (tests/guest/
 * contexts.sh, tests/bench/contexts); a round is one turn of each space.
 */
#include "paging.h"
#include "segments.h"

#ifndef ROUNDS_PLAIN
#define ROUNDS_PLAIN 20
#endif
#ifndef ROUNDS_KEPT
#define ROUNDS_KEPT 20
#endif
#ifndef ROUNDS_STILL
#define ROUNDS_STILL 0 /* the same work without a switch: for the benchmark */
#endif

#define NO_FLUSH              (1ull << 63)
#define SPACES                4
#define PAGES                 256u
#define FRAME_PA(space, page) (DATA + ((uint64_t)(space)*PAGES + (page)) * 4096)
#define DATA                  0x800000ull /* RAM behind the program: 4 MiB, and some spare frames */
#define SPARE_PA(n)           (DATA + 0x400000 + (uint64_t)(n)*4096)

struct space {
    uint64_t levels[4][512]; /* [0] is the page table, [3] the PML4 */
} __attribute__((aligned(4096)));

static volatile struct space spaces[SPACES];

#define WORD_OF(page) (*(volatile uint64_t *)(WINDOW + (uint64_t)(page)*4096 + (page) % 512 * 8))

static uint64_t stamp(unsigned space, unsigned page, unsigned round)
{
    return (uint64_t)(space + 1) << 48 | (uint64_t)page << 32 | round;
}

static void build(unsigned n)
{
    volatile struct space *s = &spaces[n];

    for (unsigned i = 0; i < 512; i++)
        s->levels[3][i] = pml4[i];
    s->levels[3][2] = (uint64_t)s->levels[2] | PTE_P | PTE_W | PTE_U;
    s->levels[2][0] = (uint64_t)s->levels[1] | PTE_P | PTE_W | PTE_U;
    s->levels[1][0] = (uint64_t)s->levels[0] | PTE_P | PTE_W | PTE_U;
    for (unsigned page = 0; page < PAGES; page++) {
        s->levels[0][page] = FRAME_PA(n, page) | PTE_P | PTE_W;
        *(volatile uint64_t *)(FRAME_PA(n, page) + page % 512 * 8) = stamp(n, page, 0);
    }
}

static void build_all(void)
{
    for (unsigned n = 0; n < SPACES; n++)
        build(n);
}

/* pcid is 0 while CR4.PCIDE is clear. */
static void enter(unsigned n, unsigned pcid, bool keep)
{
    write_cr3((uint64_t)spaces[n].levels[3] | pcid | (keep ? NO_FLUSH : 0));
}

/* Looks at the current space's working set and leaves the next round's stamps there; how many pages
 * were wrong. */
static unsigned touch(unsigned n, unsigned round)
{
    unsigned wrong = 0;

    for (unsigned page = 0; page < PAGES; page++) {
        wrong += WORD_OF(page) != stamp(n, page, round);
        WORD_OF(page) = stamp(n, page, round + 1);
    }
    return wrong;
}

/* What the benchmark's clock goes by. */
static void mark(const char *what)
{
    if (ROUNDS_STILL > 0)
        print("@%s\n", what);
}

enum form { PLAIN, KEPT, STILL };

static void take_turns(enum form form, unsigned count, unsigned rounds)
{
    unsigned wrong = 0;

    for (unsigned n = 0; n < count; n++) {
        if (form == STILL)
            continue;
        enter(n, form == KEPT ? n + 1 : 0, false);
    }
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned n = 0; n < count; n++) {
            if (form != STILL)
                enter(n, form == KEPT ? n + 1 : 0, form == KEPT);
            else if (round == 0 && n == 0)
                enter(0, 0, false);
            wrong += touch(form == STILL ? 0 : n, form == STILL ? round * count + n : round);
        }
    }
    EXPECT_EQ(wrong, 0);
}

static void plain(void)
{
    build_all();
    mark("S plain");
    take_turns(PLAIN, 2, ROUNDS_PLAIN);
    mark("E");
    context("as many as there are");
    build_all();
    take_turns(PLAIN, SPACES, 3);
}

static void kept(void)
{
    if (!HAS_1C(17)) {
        skip("no PCID");
        return;
    }
    build_all();
    enter(0, 0, false);
    write_cr4(read_cr4() | CR4_PCIDE);
    mark("S kept");
    take_turns(KEPT, 2, ROUNDS_KEPT);
    mark("E");
    context("as many as there are");
    build_all();
    take_turns(KEPT, SPACES, 3);
    enter(0, 0, false);
    write_cr4(read_cr4() & ~(uint64_t)CR4_PCIDE);
}

static void still(void)
{
    build_all();
    mark("S still");
    take_turns(STILL, 2, ROUNDS_STILL);
    mark("E");
}

/* Both spaces have been walked; then pages of the one that does not run are moved, taken away and
 * protected, and it runs again. */
static void changed_while_away(void)
{
    build_all();
    for (unsigned n = 0; n < 2; n++) {
        enter(n, 0, false);
        EXPECT_EQ(touch(n, 0), 0);
    }
    for (unsigned round = 1; round < 6; round++) {
        unsigned n = round % 2;
        volatile uint64_t *table = spaces[n].levels[0];

        context("round %u", round);
        *(volatile uint64_t *)(SPARE_PA(round) + 5 * 8) = 0x5a5a + round;
        table[5] = SPARE_PA(round) | PTE_P | PTE_W;
        table[6] = 0;
        table[7] = FRAME_PA(n, 7) | PTE_P;
        enter(n, 0, false);
        EXPECT_EQ(WORD_OF(5), 0x5a5a + round);
        EXPECT_EQ(table[5] & (PTE_A | PTE_D), PTE_A);
        TRY_FAULT(PF, 0, "mov (%0), %%rax", : : "r"(&WORD_OF(6)) : "rax");
        EXPECT_EQ(WORD_OF(7), stamp(n, 7, 1));
        TRY_FAULT(PF, PF_P | PF_W, "movl $0, (%0)", : : "r"(&WORD_OF(7)));
        EXPECT_EQ(WORD_OF(8), stamp(n, 8, 1));
        context("round %u, back", round);
        table[5] = FRAME_PA(n, 5) | PTE_P | PTE_W;
        table[6] = FRAME_PA(n, 6) | PTE_P | PTE_W;
        table[7] = FRAME_PA(n, 7) | PTE_P | PTE_W;
        invlpg(&WORD_OF(5));
        EXPECT_EQ(WORD_OF(5), stamp(n, 5, 1));
        EXPECT_EQ(WORD_OF(6), stamp(n, 6, 1)); /* not present before: no invalidation needed */
        invlpg(&WORD_OF(7));
        TRY_OK("orl $0, (%0)", : : "r"(&WORD_OF(7)));
    }
}

/* A table page that two spaces hang: a change shows in both. */
static void shared_table(void)
{
    build_all();
    for (unsigned level = 1; level <= 3; level++) {
        volatile uint64_t *first = spaces[0].levels[level], *second = spaces[1].levels[level];
        unsigned at = level == 3 ? 2 : 0;
        uint64_t own = second[at];

        context("below level %u", level + 1);
        second[at] = first[at];
        enter(1, 0, false);
        EXPECT_EQ(WORD_OF(9), stamp(0, 9, 0));
        enter(0, 0, false);
        EXPECT_EQ(WORD_OF(9), stamp(0, 9, 0));
        spaces[0].levels[0][9] = FRAME_PA(2, 9) | PTE_P | PTE_W;
        invlpg(&WORD_OF(9));
        EXPECT_EQ(WORD_OF(9), stamp(2, 9, 0));
        enter(1, 0, false);
        EXPECT_EQ(WORD_OF(9), stamp(2, 9, 0));
        spaces[0].levels[0][9] = FRAME_PA(0, 9) | PTE_P | PTE_W;
        second[at] = own;
        enter(1, 0, false);
        EXPECT_EQ(WORD_OF(9), stamp(1, 9, 0));
        enter(0, 0, false);
        EXPECT_EQ(WORD_OF(9), stamp(0, 9, 0));
    }
}

/* A page table becomes data and another page a table, as when memory is freed and used again. */
static void reused_table(void)
{
    build_all();
    for (unsigned round = 0; round < 40; round++) {
        volatile uint64_t *spare = (volatile uint64_t *)SPARE_PA(16 + round % 3);
        volatile uint64_t *leaf = round % 2 != 0 ? spare : spaces[0].levels[0];

        context("round %u", round);
        for (unsigned page = 0; page < PAGES; page++)
            leaf[page] = FRAME_PA((round + page) % SPACES, page) | PTE_P | PTE_W;
        spaces[0].levels[1][0] = (uint64_t)leaf | PTE_P | PTE_W;
        enter(round % 3 == 2, 0, false);
        enter(0, 0, false);
        for (unsigned page = 0; page < PAGES; page += 17)
            EXPECT_EQ(WORD_OF(page), stamp((round + page) % SPACES, page, 0));
        leaf[1] = 0; /* then the frame is data */
        invlpg(&WORD_OF(1));
        TRY_FAULT(PF, 0, "mov (%0), %%rax", : : "r"(&WORD_OF(1)) : "rax");
    }
}

/* A and D bits that the program clears come back with the next access after an invalidation. */
static void accessed_and_dirty(void)
{
    build_all();
    for (unsigned n = 0; n < 2; n++) {
        enter(n, 0, false);
        EXPECT_EQ(touch(n, 0), 0);
    }
    for (unsigned round = 0; round < 4; round++) {
        unsigned n = round % 2;
        volatile uint64_t *table = spaces[n].levels[0];

        context("round %u", round);
        for (unsigned page = 0; page < PAGES; page++)
            table[page] &= ~(PTE_A | PTE_D);
        enter(n, 0, false);
        for (unsigned page = 0; page < PAGES; page += 2)
            EXPECT_EQ(WORD_OF(page), stamp(n, page, 1));
        for (unsigned page = 0; page < PAGES; page += 4)
            WORD_OF(page) = stamp(n, page, 1);
        for (unsigned page = 0; page < PAGES; page += 4) {
            EXPECT_EQ(table[page] & (PTE_A | PTE_D), PTE_A | PTE_D);
            EXPECT_EQ(table[page + 2] & (PTE_A | PTE_D), PTE_A);
        }
    }
}

const struct test_case cases[] = {
    {"switches", plain},
    {"switches that keep", kept},
    {"the same without", still},
    {"changed while away", changed_while_away},
    {"a shared table", shared_table},
    {"a table used again", reused_table},
    {"A and D", accessed_and_dirty},
};
PROGRAM("contexts");
