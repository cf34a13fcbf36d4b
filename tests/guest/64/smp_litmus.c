/*
 * Memory ordering (SDM 3A 8.2.2, 8.2.3): short programs of two to four processors, and outcomes
 * that the manual forbids. Instances lie side by side, each location in a line of its own;
 * processors meet before every few of them, and reach each at slightly different times.
 */
#include "smp.h"

#ifndef BATCHES
#define BATCHES 12
#endif
#define INSTANCES 240 /* between two meetings */

struct instance {
    volatile uint64_t x, pad_x[7], y, pad_y[7];
    volatile uint64_t seen[4][2]; /* what each processor read */
};

static struct instance instances[INSTANCES] __attribute__((aligned(64)));
static struct barrier meeting;

struct litmus {
    const char *name;
    unsigned processors;
    void (*roles[4])(struct instance *, uint64_t *seen);
    bool (*forbidden)(const struct instance *);
};

static const struct litmus *test;

/* ---- Accesses, as instructions ---- */

static inline void store(volatile uint64_t *at, uint64_t value)
{
    asm volatile("movq %1, %0" : "=m"(*at) : "r"(value) : "memory");
}

static inline uint64_t load(const volatile uint64_t *at)
{
    uint64_t value;

    asm volatile("movq %1, %0" : "=r"(value) : "m"(*at) : "memory");
    return value;
}

static inline void store_locked(volatile uint64_t *at, uint64_t value)
{
    asm volatile("xchgq %0, %1" : "+r"(value), "+m"(*at) : : "memory");
}

static inline void fence(void)
{
    asm volatile("mfence" ::: "memory");
}

/* A locked instruction on memory of nobody else. */
static inline void fence_locked(void)
{
    asm volatile("lock orl $0, (%%rsp)" ::: "memory", "cc");
}

static inline void serialise(void)
{
    (void)cpuid(0, 0);
}

/* ---- Roles ---- */

#define STORE_FENCE_LOAD(name, mine, other, barrier)                                               \
    static void name(struct instance *i, uint64_t *seen)                                           \
    {                                                                                              \
        store(&i->mine, 1);                                                                        \
        barrier();                                                                                 \
        seen[0] = load(&i->other);                                                                 \
    }
STORE_FENCE_LOAD(sb_x_mfence, x, y, fence)
STORE_FENCE_LOAD(sb_y_mfence, y, x, fence)
STORE_FENCE_LOAD(sb_x_lock, x, y, fence_locked)
STORE_FENCE_LOAD(sb_y_lock, y, x, fence_locked)
STORE_FENCE_LOAD(sb_x_cpuid, x, y, serialise)
STORE_FENCE_LOAD(sb_y_cpuid, y, x, serialise)

static void sb_x_xchg(struct instance *i, uint64_t *seen)
{
    store_locked(&i->x, 1);
    seen[0] = load(&i->y);
}

static void sb_y_xchg(struct instance *i, uint64_t *seen)
{
    store_locked(&i->y, 1);
    seen[0] = load(&i->x);
}

static void write_x_y(struct instance *i, uint64_t *seen)
{
    (void)seen;
    store(&i->x, 1);
    store(&i->y, 1);
}

static void read_y_x(struct instance *i, uint64_t *seen)
{
    seen[0] = load(&i->y);
    seen[1] = load(&i->x);
}

static void read_x_y(struct instance *i, uint64_t *seen)
{
    seen[0] = load(&i->x);
    seen[1] = load(&i->y);
}

static void read_x_write_y(struct instance *i, uint64_t *seen)
{
    seen[0] = load(&i->x);
    store(&i->y, 1);
}

static void read_y_write_x(struct instance *i, uint64_t *seen)
{
    seen[0] = load(&i->y);
    store(&i->x, 1);
}

static void write_x(struct instance *i, uint64_t *seen)
{
    (void)seen;
    store(&i->x, 1);
}

static void write_y(struct instance *i, uint64_t *seen)
{
    (void)seen;
    store(&i->y, 1);
}

static void xchg_x(struct instance *i, uint64_t *seen)
{
    (void)seen;
    store_locked(&i->x, 1);
}

static void xchg_y(struct instance *i, uint64_t *seen)
{
    (void)seen;
    store_locked(&i->y, 1);
}

static void write_x1_y2(struct instance *i, uint64_t *seen)
{
    (void)seen;
    store(&i->x, 1);
    store(&i->y, 2);
}

static void write_y1_x2(struct instance *i, uint64_t *seen)
{
    (void)seen;
    store(&i->y, 1);
    store(&i->x, 2);
}

static void write_y2_read_x(struct instance *i, uint64_t *seen)
{
    store(&i->y, 2);
    fence();
    seen[0] = load(&i->x);
}

static void read_x_x(struct instance *i, uint64_t *seen)
{
    seen[0] = load(&i->x);
    seen[1] = load(&i->x);
}

/* Bytes of one word, read together: forwarding must not make up a value. */
static void write_low_read_all(struct instance *i, uint64_t *seen)
{
    asm volatile("movl $1, %0" : "=m"(*(volatile uint32_t *)&i->x) : : "memory");
    fence();
    seen[0] = load(&i->x);
}

static void write_high_read_all(struct instance *i, uint64_t *seen)
{
    asm volatile("movl $1, %0" : "=m"(((volatile uint32_t *)&i->x)[1]) : : "memory");
    fence();
    seen[0] = load(&i->x);
}

/* ---- Outcomes ---- */

static bool both_zero(const struct instance *i)
{
    return i->seen[0][0] == 0 && i->seen[1][0] == 0;
}

static bool both_one(const struct instance *i)
{
    return i->seen[0][0] == 1 && i->seen[1][0] == 1;
}

static bool flag_without_data(const struct instance *i)
{
    return i->seen[1][0] == 1 && i->seen[1][1] == 0;
}

static bool two_orders(const struct instance *i)
{
    return i->seen[2][0] == 1 && i->seen[2][1] == 0 && i->seen[3][0] == 1 && i->seen[3][1] == 0;
}

static bool not_transitive(const struct instance *i)
{
    return i->seen[1][0] == 1 && i->seen[2][0] == 1 && i->seen[2][1] == 0;
}

static bool first_stores_last(const struct instance *i)
{
    return i->x == 1 && i->y == 1;
}

static bool store_overtaken(const struct instance *i)
{
    return i->y == 2 && i->seen[1][0] == 0;
}

static bool back_in_time(const struct instance *i)
{
    return i->seen[1][0] == 1 && i->seen[1][1] == 0;
}

static bool halves_missed(const struct instance *i)
{
    return i->seen[0][0] == 1 && i->seen[1][0] == 1ull << 32;
}

static const struct litmus tests[] = {
    {"store buffering, MFENCE", 2, {sb_x_mfence, sb_y_mfence}, both_zero},
    {"store buffering, LOCK", 2, {sb_x_lock, sb_y_lock}, both_zero},
    {"store buffering, XCHG", 2, {sb_x_xchg, sb_y_xchg}, both_zero},
    {"store buffering, CPUID", 2, {sb_x_cpuid, sb_y_cpuid}, both_zero},
    {"store buffering, MFENCE and LOCK", 2, {sb_x_mfence, sb_y_lock}, both_zero},
    {"message passing", 2, {write_x_y, read_y_x}, flag_without_data},
    {"load buffering", 2, {read_x_write_y, read_y_write_x}, both_one},
    {"stores twice", 2, {write_x1_y2, write_y1_x2}, first_stores_last},
    {"store and load against stores", 2, {write_x_y, write_y2_read_x}, store_overtaken},
    {"one location", 2, {write_x, read_x_x}, back_in_time},
    {"halves of a word", 2, {write_low_read_all, write_high_read_all}, halves_missed},
    {"causality", 3, {write_x, read_x_write_y, read_y_x}, not_transitive},
    {"independent reads", 4, {write_x, write_y, read_x_y, read_y_x}, two_orders},
    {"independent reads of XCHG", 4, {xchg_x, xchg_y, read_x_y, read_y_x}, two_orders},
};

/* ---- Running ---- */

static volatile unsigned batch;

static void run(void *unused)
{
    unsigned me = this_cpu()->index;

    (void)unused;
    barrier_wait(&meeting, test->processors);
    for (unsigned n = 0; n < INSTANCES; n++) {
        /* Instances in an order of their own for every batch, delays that differ. */
        struct instance *i = &instances[(n * 7 + batch) % INSTANCES];

        for (unsigned d = (batch * (me + 1) + n) % 5; d > 0; d--)
            asm volatile("nop");
        test->roles[me](i, (uint64_t *)i->seen[me]);
    }
}

static unsigned run_batch(void)
{
    unsigned count = 0;

    for (unsigned n = 0; n < INSTANCES; n++) {
        instances[n].x = instances[n].y = 0;
        for (unsigned p = 0; p < 4; p++)
            instances[n].seen[p][0] = instances[n].seen[p][1] = 0;
    }
    smp_all(test->processors, run, NULL);
    for (unsigned n = 0; n < INSTANCES; n++) {
        const struct instance *i = &instances[n];

        if (!test->forbidden(i))
            continue;
        if (count++ == 0)
            print("batch %u: x %llx y %llx, seen %llx %llx, %llx %llx, %llx %llx, %llx %llx\n",
                  batch, (unsigned long long)i->x, (unsigned long long)i->y,
                  (unsigned long long)i->seen[0][0], (unsigned long long)i->seen[0][1],
                  (unsigned long long)i->seen[1][0], (unsigned long long)i->seen[1][1],
                  (unsigned long long)i->seen[2][0], (unsigned long long)i->seen[2][1],
                  (unsigned long long)i->seen[3][0], (unsigned long long)i->seen[3][1]);
    }
    return count;
}

static void of_processors(unsigned processors)
{
    if (!smp_begin())
        return;
    if (cpu_count < processors) {
        skip("not enough processors");
        return;
    }
    for (unsigned t = 0; t < COUNT(tests); t++) {
        unsigned count = 0;

        test = &tests[t];
        if (test->processors != processors)
            continue;
        context("%s", test->name);
        for (batch = 0; batch < BATCHES; batch++)
            count += run_batch();
        EXPECT_EQ(count, 0);
    }
}

static void two(void)
{
    of_processors(2);
}

static void three(void)
{
    of_processors(3);
}

static void four(void)
{
    of_processors(4);
}

const struct test_case cases[] = {
    {"two processors", two},
    {"three processors", three},
    {"four processors", four},
};
PROGRAM("smp_litmus");
