/*
 * Locked instructions of several processors on the same memory (SDM 3A 8.1): nothing is lost, in
 * any size, at any place; and what plain accesses promise.
 */
#include "paging.h"
#include "smp.h"

#ifndef ROUNDS
#define ROUNDS 600 /* of each instruction at each place, by each processor */
#endif

/* ---- Places ---- */

struct place {
    const char *name;
    unsigned offset; /* in two pages whose frames are not neighbours */
};

static const struct place places[] = {
    {"aligned", 64},
    {"misaligned in a line", 64 + 3},
    {"across a line", 127},
    {"across a page", 4095},
};

static volatile void *place_address(const struct place *p)
{
    volatile uint8_t *at = (volatile uint8_t *)WINDOW + p->offset;

    window_map(0, frame_pa(5), PTE_P | PTE_W);
    window_map(1, frame_pa(2), PTE_P | PTE_W);
    for (unsigned n = 0; n < 8; n++)
        at[n] = 0;
    return at;
}

static uint64_t load(const volatile void *at, unsigned size)
{
    switch (size) {
    case 1:
        return *(const volatile uint8_t *)at;
    case 2:
        return *(const volatile uint16_t *)at;
    case 4:
        return *(const volatile uint32_t *)at;
    default:
        return *(const volatile uint64_t *)at;
    }
}

static uint64_t low_bits(uint64_t value, unsigned size)
{
    return size == 8 ? value : value & ((1ull << (8 * size)) - 1);
}

/* ---- One instruction that reads and writes ---- */

typedef uint64_t instruction(volatile void *at, uint64_t operand);

/* s: suffix, a: the accumulator, %0: the operand and what is left in it, %1: the address. */
#define INSTRUCTION(name, bits, CODE, s, a)                                                        \
    static uint64_t name##bits(volatile void *at, uint64_t operand)                                \
    {                                                                                              \
        uint##bits##_t value = (uint##bits##_t)operand;                                            \
                                                                                                   \
        asm volatile(CODE(s, a) : "+q"(value) : "r"(at) : "rax", "memory", "cc");                  \
        return value;                                                                              \
    }
#define INSTRUCTIONS(name, CODE)                                                                   \
    INSTRUCTION(name, 8, CODE, "b", "%%al")                                                        \
    INSTRUCTION(name, 16, CODE, "w", "%%ax")                                                       \
    INSTRUCTION(name, 32, CODE, "l", "%%eax")                                                      \
    INSTRUCTION(name, 64, CODE, "q", "%%rax")

#define ADD_CODE(s, a)  "lock add" s " %0, (%1)"
#define ADDI_CODE(s, a) "lock add" s " $1, (%1)"
#define INC_CODE(s, a)  "lock inc" s " (%1)"
#define SUB_CODE(s, a)  "lock sub" s " %0, (%1)"
#define DEC_CODE(s, a)  "lock dec" s " (%1)"
#define ADC_CODE(s, a)  "stc\n lock adc" s " $0, (%1)"
#define SBB_CODE(s, a)  "stc\n lock sbb" s " $0, (%1)"
#define XADD_CODE(s, a) "lock xadd" s " %0, (%1)"
#define CMPXCHG_CODE(s, a)                                                                         \
    "mov (%1), " a "\n1: mov " a ", %0\n inc" s " %0\n lock cmpxchg" s " %0, (%1)\n jnz 1b"
#define OR_CODE(s, a)   "lock or" s " %0, (%1)"
#define AND_CODE(s, a)  "lock and" s " %0, (%1)"
#define XOR_CODE(s, a)  "lock xor" s " %0, (%1)"
#define NOT_CODE(s, a)  "lock not" s " (%1)"
#define NEG_CODE(s, a)  "lock neg" s " (%1)"
#define XCHG_CODE(s, a) "xchg" s " %0, (%1)"

INSTRUCTIONS(add, ADD_CODE)
INSTRUCTIONS(addi, ADDI_CODE)
INSTRUCTIONS(inc, INC_CODE)
INSTRUCTIONS(sub, SUB_CODE)
INSTRUCTIONS(dec, DEC_CODE)
INSTRUCTIONS(adc, ADC_CODE)
INSTRUCTIONS(sbb, SBB_CODE)
INSTRUCTIONS(xadd, XADD_CODE)
INSTRUCTIONS(cmpxchg, CMPXCHG_CODE)
INSTRUCTIONS(or, OR_CODE)
INSTRUCTIONS(and, AND_CODE)
INSTRUCTIONS(xor, XOR_CODE)
INSTRUCTIONS(not, NOT_CODE)
INSTRUCTIONS(neg, NEG_CODE)
INSTRUCTIONS(xchg, XCHG_CODE)

#define FOUR(name)                                                                                 \
    {                                                                                              \
        name##8, name##16, name##32, name##64                                                      \
    }

struct row {
    const char *name;
    instruction *sizes[4];
    int64_t step; /* what one with operand 1 adds */
};

/* What the processors do at once. */
static struct {
    const struct row *row;
    volatile void *at;
    unsigned log_size;
} job;

static struct barrier meeting;
static volatile uint64_t results[CPU_MAX];

static const struct row counters[] = {
    {"ADD", FOUR(add), 1},  {"ADD immediate", FOUR(addi), 1}, {"INC", FOUR(inc), 1},
    {"SUB", FOUR(sub), -1}, {"DEC", FOUR(dec), -1},           {"ADC", FOUR(adc), 1},
    {"SBB", FOUR(sbb), -1}, {"XADD", FOUR(xadd), 1},          {"CMPXCHG", FOUR(cmpxchg), 1},
};

static void count(void *unused)
{
    instruction *run = job.row->sizes[job.log_size];
    uint64_t sum = 0;

    (void)unused;
    barrier_wait(&meeting, cpu_count);
    for (unsigned n = 0; n < ROUNDS; n++)
        sum += run(job.at, 1);
    results[this_cpu()->index] = sum;
}

/* For each row, size and place. */
static void everywhere(const struct row *rows, unsigned row_count, void (*run)(void *),
                       void (*check)(unsigned size))
{
    for (unsigned r = 0; r < row_count; r++) {
        for (unsigned p = 0; p < COUNT(places); p++) {
            for (unsigned s = 0; s < 4; s++) {
                context("%s, %u bytes, %s", rows[r].name, 1u << s, places[p].name);
                job.row = &rows[r];
                job.at = place_address(&places[p]);
                job.log_size = s;
                if (!smp_all(cpu_count, run, NULL))
                    return;
                check(1u << s);
            }
        }
    }
}

static void check_count(unsigned size)
{
    uint64_t total = (uint64_t)ROUNDS * cpu_count, sum = 0;

    EXPECT_EQ(load(job.at, size), low_bits(total * (uint64_t)job.row->step, size));
    if (job.row->sizes[3] != xadd64 || (total > 255 && size == 1))
        return;
    for (unsigned n = 0; n < cpu_count; n++)
        sum += results[n];
    EXPECT_EQ(sum, total * (total - 1) / 2); /* each number was somebody's once */
}

static void counting(void)
{
    if (smp_begin())
        everywhere(counters, COUNT(counters), count, check_count);
}

/* ---- Bits of one word, one for each processor ---- */

static const struct row setters[] = {
    {"OR, AND and XOR", FOUR(or), 0},
};

/* The bits are spread over the bytes. 0: there are more processors than bits. */
static uint64_t bit_of(unsigned cpu, unsigned size)
{
    return cpu < 8 * size ? 1ull << (cpu % 8 * size + cpu / 8) : 0;
}

/* Nobody else touches the own bit, so it is always as it was left. */
static void own_bit(void *unused)
{
    unsigned me = this_cpu()->index, s = job.log_size, size = 1u << s, wrong = 0;
    static instruction *const and_sizes[4] = FOUR(and), *const xor_sizes[4] = FOUR(xor);
    uint64_t bit = bit_of(me, size);

    (void)unused;
    barrier_wait(&meeting, cpu_count);
    for (unsigned n = 0; n < ROUNDS / 4 && bit != 0; n++) {
        job.row->sizes[s](job.at, bit);
        wrong += (load(job.at, size) & bit) == 0;
        and_sizes[s](job.at, ~bit);
        wrong += (load(job.at, size) & bit) != 0;
        xor_sizes[s](job.at, bit);
        wrong += (load(job.at, size) & bit) == 0;
        xor_sizes[s](job.at, bit);
        wrong += (load(job.at, size) & bit) != 0;
    }
    xor_sizes[s](job.at, bit);
    results[me] = wrong;
}

static void check_bits(unsigned size)
{
    uint64_t bits = 0;

    for (unsigned n = 0; n < cpu_count; n++) {
        EXPECT_EQ(results[n], 0);
        bits |= bit_of(n, size);
    }
    EXPECT_EQ(load(job.at, size), bits);
}

static void bits(void)
{
    if (smp_begin())
        everywhere(setters, COUNT(setters), own_bit, check_bits);
}

/* NOT twice the number of rounds, NEG of something in {1, -1}: where a lost one shows. */
static const struct row togglers[] = {
    {"NOT", FOUR(not ), 0},
    {"NEG", FOUR(neg), 1},
};

static void toggle(void *unused)
{
    (void)unused;
    if (this_cpu()->index == 0 && job.row->step != 0)
        add8(job.at, 1);
    barrier_wait(&meeting, cpu_count);
    for (unsigned n = 0; n < ROUNDS + (this_cpu()->index == 0); n++)
        job.row->sizes[job.log_size](job.at, 0);
}

static void check_toggled(unsigned size)
{
    /* An odd number of them if ROUNDS is even. */
    EXPECT_EQ(load(job.at, size), low_bits(~0ull, size));
}

static void toggling(void)
{
    _Static_assert(ROUNDS % 2 == 0, "check_toggled");
    if (smp_begin())
        everywhere(togglers, COUNT(togglers), toggle, check_toggled);
}

/* ---- XCHG, without a prefix: tokens change hands and none is lost or doubled ---- */

static const struct row exchangers[] = {
    {"XCHG", FOUR(xchg), 0},
};

static void exchange(void *unused)
{
    unsigned me = this_cpu()->index;
    uint64_t token = 1ull << me;

    (void)unused;
    barrier_wait(&meeting, cpu_count);
    for (unsigned n = 0; n < ROUNDS; n++)
        token = job.row->sizes[job.log_size](job.at, token);
    results[me] = token;
}

static void check_tokens(unsigned size)
{
    uint64_t sum = load(job.at, size);

    for (unsigned n = 0; n < cpu_count; n++)
        sum += results[n];
    /* Those of processors that have no bit in the operand are nothing. */
    EXPECT_EQ(sum, low_bits(~0ull >> (64 - cpu_count), size));
}

static void exchanging(void)
{
    if (smp_begin())
        everywhere(exchangers, COUNT(exchangers), exchange, check_tokens);
}

/* ---- BTS, BTR, BTC: each bit is claimed by one processor ---- */

#define CLAIM_BITS 128

static volatile uint32_t claims[CPU_MAX][3];

static bool bit_changed(unsigned kind, volatile void *at, uint64_t bit)
{
    bool was;

    if (kind == 0)
        asm volatile("lock btsq %2, (%1)" : "=@ccc"(was) : "r"(at), "r"(bit) : "memory");
    else if (kind == 1)
        asm volatile("lock btrq %2, (%1)" : "=@ccc"(was) : "r"(at), "r"(bit) : "memory");
    else
        asm volatile("lock btcq %2, (%1)" : "=@ccc"(was) : "r"(at), "r"(bit) : "memory");
    return was;
}

static void claim(void *unused)
{
    unsigned me = this_cpu()->index;

    (void)unused;
    for (unsigned kind = 0; kind < 3; kind++) {
        uint32_t mine = 0;

        barrier_wait(&meeting, cpu_count);
        for (unsigned bit = 0; bit < CLAIM_BITS; bit++)
            mine += bit_changed(kind, job.at, bit) == (kind == 1);
        claims[me][kind] = mine;
    }
}

static void claiming(void)
{
    if (!smp_begin())
        return;
    for (unsigned p = 0; p < COUNT(places); p++) {
        uint64_t sums[3] = {0, 0, 0};

        job.at = place_address(&places[p]);
        ((volatile uint64_t *)job.at)[1] = 0;
        smp_all(cpu_count, claim, NULL);
        for (unsigned n = 0; n < cpu_count; n++)
            for (unsigned kind = 0; kind < 3; kind++)
                sums[kind] += claims[n][kind];
        context("BTS, %s", places[p].name);
        EXPECT_EQ(sums[0], CLAIM_BITS);
        context("BTR, %s", places[p].name);
        EXPECT_EQ(sums[1], CLAIM_BITS);
        context("BTC, %s", places[p].name); /* every other one finds it clear */
        EXPECT_EQ(sums[2], CLAIM_BITS * ((cpu_count + 1) / 2));
        EXPECT_EQ(load(job.at, 8), cpu_count % 2 != 0 ? ~0ull : 0);
    }
}

/* ---- CMPXCHG8B and CMPXCHG16B: both halves belong together ---- */

static void pairs8(void *unused)
{
    uint32_t wrong = 0;

    (void)unused;
    barrier_wait(&meeting, cpu_count);
    for (unsigned n = 0; n < ROUNDS; n++) {
        uint32_t low = 0, high = ~0u;
        bool done;

        do {
            wrong += high != ~low;
            asm volatile("lock cmpxchg8b (%3)"
                         : "=@ccz"(done), "+a"(low), "+d"(high)
                         : "r"(job.at), "b"(low + 1), "c"(~(low + 1))
                         : "memory");
        } while (!done);
    }
    results[this_cpu()->index] = wrong;
}

static void pairs16(void *unused)
{
    uint64_t wrong = 0;

    (void)unused;
    barrier_wait(&meeting, cpu_count);
    for (unsigned n = 0; n < ROUNDS; n++) {
        uint64_t low = 0, high = ~0ull;
        bool done;

        do {
            wrong += high != ~low;
            asm volatile("lock cmpxchg16b (%3)"
                         : "=@ccz"(done), "+a"(low), "+d"(high)
                         : "r"(job.at), "b"(low + 1), "c"(~(low + 1))
                         : "memory");
        } while (!done);
    }
    results[this_cpu()->index] = wrong;
}

static void check_pair(uint64_t low, uint64_t high, uint64_t all_ones)
{
    EXPECT_EQ(low, ROUNDS * cpu_count);
    EXPECT_EQ(high, ~low & all_ones);
    for (unsigned n = 0; n < cpu_count; n++)
        EXPECT_EQ(results[n], 0);
}

static void pairs(void)
{
    static volatile uint64_t pair[2] __attribute__((aligned(16)));

    if (!smp_begin())
        return;
    for (unsigned p = 0; p < COUNT(places); p++) {
        volatile uint32_t *at = place_address(&places[p]);

        context("CMPXCHG8B, %s", places[p].name);
        job.at = at;
        at[1] = ~0u;
        smp_all(cpu_count, pairs8, NULL);
        check_pair(at[0], at[1], ~0u);
    }
    if (!HAS_1C(13)) {
        skip("no CMPXCHG16B");
        return;
    }
    context("CMPXCHG16B");
    job.at = pair;
    pair[0] = 0;
    pair[1] = ~0ull;
    smp_all(cpu_count, pairs16, NULL);
    check_pair(pair[0], pair[1], ~0ull);
}

/* ---- Locks made of them ---- */

#define SECTIONS 300

static volatile uint32_t spin, next_ticket, now_serving;
static volatile uint64_t guarded[2];

static void section(void)
{
    guarded[0] = guarded[0] + 1;
    guarded[1] = guarded[1] + 1;
}

static void spin_section(void *unused)
{
    (void)unused;
    barrier_wait(&meeting, cpu_count);
    for (unsigned n = 0; n < SECTIONS; n++) {
        uint32_t taken = 1;

        for (;;) {
            asm volatile("xchg %0, %1" : "+r"(taken), "+m"(spin) : : "memory");
            if (taken == 0 || !WAIT_FOR(spin == 0))
                break;
            taken = 1;
        }
        section();
        asm volatile("" ::: "memory");
        spin = 0; /* a plain store lets go */
    }
}

static void ticket_section(void *unused)
{
    (void)unused;
    barrier_wait(&meeting, cpu_count);
    for (unsigned n = 0; n < SECTIONS; n++) {
        uint32_t ticket = 1;

        asm volatile("lock xadd %0, %1" : "+r"(ticket), "+m"(next_ticket) : : "memory");
        (void)WAIT_FOR(now_serving == ticket);
        section();
        asm volatile("" ::: "memory");
        now_serving = ticket + 1;
    }
}

static void sections(void)
{
    static void (*const kinds[])(void *) = {spin_section, ticket_section};

    if (!smp_begin())
        return;
    next_ticket = now_serving = spin = 0;
    for (unsigned kind = 0; kind < 2; kind++) {
        context(kind == 0 ? "spin lock" : "ticket lock");
        guarded[0] = guarded[1] = 0;
        smp_all(cpu_count, kinds[kind], NULL);
        EXPECT_EQ(guarded[0], SECTIONS * cpu_count);
        EXPECT_EQ(guarded[1], SECTIONS * cpu_count);
    }
}

/* ---- Plain accesses (8.1.1): whole when aligned, or within a line of memory that is cached ----
 */

static void torn(void *unused)
{
    unsigned me = this_cpu()->index;
    unsigned size = 1u << job.log_size;
    uint64_t wrong = 0;

    (void)unused;
    barrier_wait(&meeting, cpu_count);
    for (unsigned n = 0; n < 4 * ROUNDS; n++) {
        uint64_t value = n % 2 == 0 ? ~0ull : 0, seen;

        if (me % 2 != 0) {
            seen = load(job.at, size);
            wrong += seen != 0 && seen != low_bits(~0ull, size);
        } else if (size == 2) {
            *(volatile uint16_t *)job.at = (uint16_t)value;
        } else if (size == 4) {
            *(volatile uint32_t *)job.at = (uint32_t)value;
        } else {
            *(volatile uint64_t *)job.at = value;
        }
    }
    results[me] = wrong;
}

static void whole(void)
{
    if (!smp_begin())
        return;
    for (unsigned p = 0; p < 2; p++) {
        for (unsigned s = 1; s < 4; s++) {
            context("%u bytes, %s", 1u << s, places[p].name);
            job.at = place_address(&places[p]);
            job.log_size = s;
            smp_all(cpu_count, torn, NULL);
            for (unsigned n = 1; n < cpu_count; n += 2)
                EXPECT_EQ(results[n], 0);
        }
    }
}

const struct test_case cases[] = {
    {"counters", counting}, {"bits of one word", bits},  {"NOT and NEG", toggling},
    {"XCHG", exchanging},   {"claims by BTS", claiming}, {"pairs", pairs},
    {"locks", sections},    {"plain accesses", whole},
};
PROGRAM("smp_lock");
