/*
 * What CPUID says about several processors, read as the manuals tell software to read it: each way
 * (leaf 0Bh, leaves 1 and 4, AMD's leaves) must find every processor's place.
 */
#include "tests/unit/cpu/cpuid_rig.h"
#include "tests/unit/run_suite.h"

#define FIELD(v, high, low) (((v) >> (low)) & (BIT((high) - (low) + 1) - 1))

static const struct cpu_topology arrangements[] = {
    {1, 2, 1}, {2, 1, 1},  {1, 1, 2},  {2, 3, 2}, {3, 2, 1},  {1, 64, 1},
    {2, 3, 3}, {1, 32, 2}, {64, 1, 1}, {4, 5, 3}, {1, 33, 1},
};

/* The processor becomes number n of an arrangement. */
static void become(const struct cpu_topology *t, unsigned n)
{
    cpu->topology = *t;
    cpu->index = n;
    cpu->apic_id = cpu_topology_apic_id(t, n);
}

static uint32_t cpuid(uint32_t leaf, uint32_t subleaf, unsigned reg)
{
    uint32_t out[4];

    cpu_cpuid(cpu, leaf, subleaf, out);
    return out[reg];
}

static uint32_t power_of_two_from(uint32_t n)
{
    uint32_t power = 1;

    while (power < n)
        power *= 2;
    return power;
}

/* Processor n sits where an id and the widths of its fields say. */
static void check_place(const struct cpu_topology *t, unsigned n, uint32_t id, uint32_t thread_ids,
                        uint32_t socket_ids)
{
    ck_assert_uint_eq(id % thread_ids, n % t->threads);
    ck_assert_uint_eq(id % socket_ids / thread_ids, n / t->threads % t->cores);
    ck_assert_uint_eq(id / socket_ids, n / t->threads / t->cores);
}

static void for_each_processor(void (*check)(const struct cpu_topology *t, unsigned n))
{
    for (unsigned i = 0; i < ARRAY_SIZE(arrangements); i++) {
        const struct cpu_topology *t = &arrangements[i];

        for (unsigned n = 0; n < t->sockets * t->cores * t->threads; n++) {
            become(t, n);
            check(t, n);
        }
    }
}

START_TEST(one_processor_says_nothing_of_others)
{
    static const uint32_t leaves[] = {4, 0xb, 0x80000005u, 0x80000006u, 0x8000001du, 0x8000001eu};
    static const char *const models[] = {"gnomon", "EPYC"};

    for (unsigned m = 0; m < ARRAY_SIZE(models); m++) {
        select_model(models[m]);
        become(&(struct cpu_topology){1, 1, 1}, 0);
        ck_assert_uint_eq(cpuid(1, 0, EBX), 1u << 16 | 8u << 8);
        ck_assert_uint_eq(cpuid(1, 0, EDX) & BIT(28), 0);
        ck_assert_uint_eq(cpuid(0x80000000u, 0, EAX), 0x80000008u);
        ck_assert_uint_eq(cpuid(0x80000001u, 0, ECX) & (BIT(22) | BIT(1)), 0);
        ck_assert_uint_eq(cpuid(0x80000008u, 0, ECX), 0);
        for (unsigned n = 0; n < ARRAY_SIZE(leaves); n++) {
            if (leaves[n] > 0x80000008u) /* as any leaf that is not there */
                ck_assert_uint_eq(cpuid(leaves[n], 0, EAX), cpuid(0x16, 0, EAX));
            else
                for (unsigned reg = EAX; reg <= EDX; reg++)
                    ck_assert_uint_eq(cpuid(leaves[n], 0, reg), 0);
        }
    }
}
END_TEST

/* SDM 3A 9.9.4: the widths are in leaf 0Bh. */
static void check_leaf_b(const struct cpu_topology *t, unsigned n)
{
    uint32_t id = cpuid(0xb, 0, EDX);

    ck_assert_uint_eq(cpuid(0xb, 0, EBX), t->threads);
    ck_assert_uint_eq(cpuid(0xb, 1, EBX), t->threads * t->cores);
    ck_assert_uint_eq(cpuid(0xb, 0, ECX), 0x100);
    ck_assert_uint_eq(cpuid(0xb, 1, ECX), 0x201);
    check_place(t, n, id, BIT(cpuid(0xb, 0, EAX)), BIT(cpuid(0xb, 1, EAX)));
    for (unsigned level = 0; level < 4; level++)
        ck_assert_uint_eq(cpuid(0xb, level, EDX), id);
    for (unsigned level = 2; level < 4; level++) { /* none */
        ck_assert_uint_eq(cpuid(0xb, level, EAX), 0);
        ck_assert_uint_eq(cpuid(0xb, level, EBX), 0);
        ck_assert_uint_eq(cpuid(0xb, level, ECX), level);
    }
}

START_TEST(leaf_b_gives_every_processor_its_place)
{
    select_model("gnomon");
    for_each_processor(check_leaf_b);
    select_model("EPYC");
    for_each_processor(check_leaf_b);
}
END_TEST

/* SDM 3A 9.9.4, for processors without leaf 0Bh: ids of a socket from leaf 1, of cores from 4. */
static void check_leaves_1_and_4(const struct cpu_topology *t, unsigned n)
{
    uint32_t socket_ids = power_of_two_from(FIELD(cpuid(1, 0, EBX), 23, 16));
    uint32_t core_ids = FIELD(cpuid(4, 0, EAX), 31, 26) + 1;

    ck_assert_uint_eq(FIELD(cpuid(1, 0, EDX), 28, 28), t->cores * t->threads > 1);
    check_place(t, n, FIELD(cpuid(1, 0, EBX), 31, 24), socket_ids / core_ids, socket_ids);
    for (uint32_t cache = 0; cache < 4; cache++)
        ck_assert_uint_eq(FIELD(cpuid(4, cache, EAX), 31, 26) + 1, core_ids);
}

START_TEST(leaves_1_and_4_give_every_processor_its_place)
{
    select_model("gnomon");
    for_each_processor(check_leaves_1_and_4);
}
END_TEST

/* Levels, types and sizes; threads of a core share levels 1 and 2, a socket level 3. */
static void check_caches(uint32_t leaf, const struct cpu_topology *t)
{
    static const struct {
        unsigned type, level, kib;
    } caches[] = {{1, 1, 32}, {2, 1, 32}, {3, 2, 1024}, {3, 3, 16384}};
    uint32_t thread_ids = power_of_two_from(t->threads);
    uint32_t socket_ids = thread_ids * power_of_two_from(t->cores);

    for (uint32_t n = 0; n < ARRAY_SIZE(caches); n++) {
        uint32_t eax = cpuid(leaf, n, EAX), ebx = cpuid(leaf, n, EBX);

        ck_assert_uint_eq(FIELD(eax, 4, 0), caches[n].type);
        ck_assert_uint_eq(FIELD(eax, 7, 5), caches[n].level);
        ck_assert_uint_eq(FIELD(eax, 25, 14) + 1, caches[n].level == 3 ? socket_ids : thread_ids);
        ck_assert_uint_eq((FIELD(ebx, 31, 22) + 1) * (FIELD(ebx, 21, 12) + 1) *
                              (FIELD(ebx, 11, 0) + 1) * (cpuid(leaf, n, ECX) + 1),
                          caches[n].kib * 1024);
    }
    for (unsigned reg = EAX; reg <= EDX; reg++) {
        ck_assert_uint_eq(cpuid(leaf, ARRAY_SIZE(caches), reg), 0);
        ck_assert_uint_eq(cpuid(leaf, UINT32_MAX, reg), 0);
    }
}

static void check_intel_caches(const struct cpu_topology *t, unsigned n)
{
    (void)n;
    check_caches(4, t);
}

static void check_amd_caches(const struct cpu_topology *t, unsigned n)
{
    (void)n;
    check_caches(0x8000001du, t);
    ck_assert_uint_eq(cpuid(4, 0, EAX), 0);                    /* reserved */
    ck_assert_uint_eq(cpuid(0x80000005u, 0, ECX), 0x20080140); /* 32 KiB, 8 ways */
    ck_assert_uint_eq(cpuid(0x80000005u, 0, EDX), 0x20080140);
    ck_assert_uint_eq(cpuid(0x80000006u, 0, ECX), 0x04008140); /* 1024 KiB, 16 ways */
    ck_assert_uint_eq(cpuid(0x80000006u, 0, EDX), 0x00808140); /* 32 times 512 KiB */
}

START_TEST(caches_are_shared_by_threads_and_by_the_socket)
{
    select_model("gnomon");
    for_each_processor(check_intel_caches);
    select_model("EPYC");
    for_each_processor(check_amd_caches);
}
END_TEST

/* APM 3, E.5: ids of a socket from 80000008h, threads of a core from 8000001Eh. */
static void check_amd_leaves(const struct cpu_topology *t, unsigned n)
{
    uint32_t id = cpuid(0x8000001eu, 0, EAX), ebx = cpuid(0x8000001eu, 0, EBX);
    uint32_t threads = FIELD(ebx, 15, 8) + 1;
    uint32_t ids = BIT(FIELD(cpuid(0x80000008u, 0, ECX), 15, 12));
    unsigned per_socket = t->cores * t->threads;

    ck_assert_uint_eq(cpuid(0x80000000u, 0, EAX), 0x8000001eu);
    ck_assert_uint_eq(cpuid(0x80000001u, 0, ECX) >> 22 & 1, 1);
    ck_assert_uint_eq(cpuid(0x80000001u, 0, ECX) >> 1 & 1, per_socket > 1);
    ck_assert_uint_eq(FIELD(cpuid(0x80000008u, 0, ECX), 7, 0) + 1, per_socket);
    ck_assert_uint_eq(FIELD(cpuid(1, 0, EBX), 31, 24), id);
    ck_assert_uint_eq(FIELD(cpuid(1, 0, EBX), 23, 16), per_socket);
    ck_assert_uint_eq(threads, t->threads);
    check_place(t, n, id, power_of_two_from(threads), ids);
    ck_assert_uint_eq(FIELD(ebx, 7, 0), n / t->threads % t->cores);
    ck_assert_uint_eq(cpuid(0x8000001eu, 0, ECX), n / per_socket); /* one node a socket */
}

START_TEST(leaves_of_amd_give_every_processor_its_place)
{
    select_model("EPYC");
    for_each_processor(check_amd_leaves);
}
END_TEST

START_TEST(leaves_of_amd_are_not_there_on_intel_processors)
{
    select_model("gnomon");
    become(&arrangements[0], 1);
    ck_assert_uint_eq(cpuid(0x80000000u, 0, EAX), 0x80000008u);
    ck_assert_uint_eq(cpuid(0x80000001u, 0, ECX) & (BIT(22) | BIT(1)), 0);
    ck_assert_uint_eq(cpuid(0x80000008u, 0, ECX), 0);
    ck_assert_uint_eq(cpuid(0x8000001eu, 0, EAX), cpuid(0x16, 0, EAX));
}
END_TEST

/* What does not fit a field is its largest number, and spoils none beside it. */
START_TEST(counts_of_many_processors_stay_in_their_fields)
{
    static const struct cpu_topology many[] = {
        {1, 512, 1}, {1, 200, 2}, {2, 128, 2}, {1, 1, 512}, {512, 1, 1}};

    for (unsigned i = 0; i < ARRAY_SIZE(many); i++) {
        const struct cpu_topology *t = &many[i];
        unsigned per_socket = t->cores * t->threads, last = t->sockets * per_socket - 1;
        uint32_t ids = power_of_two_from(t->cores) * power_of_two_from(t->threads);

        select_model("gnomon");
        become(t, last);
        check_leaf_b(t, last);
        ck_assert_uint_eq(cpuid(1, 0, EBX), cpu->apic_id << 24 | MIN(ids, 0xffu) << 16 | 8 << 8);
        ck_assert_uint_eq(FIELD(cpuid(4, 3, EAX), 31, 26),
                          MIN(power_of_two_from(t->cores), 64u) - 1);
        check_caches(4, t);
        select_model("EPYC");
        become(t, last);
        check_leaf_b(t, last);
        ck_assert_uint_eq(FIELD(cpuid(1, 0, EBX), 23, 16), MIN(per_socket, 0xffu));
        ck_assert_uint_eq(FIELD(cpuid(0x80000008u, 0, ECX), 7, 0), MIN(per_socket, 0x100u) - 1);
        ck_assert_uint_eq(BIT(FIELD(cpuid(0x80000008u, 0, ECX), 15, 12)), ids);
        ck_assert_uint_eq(cpuid(0x8000001eu, 0, EAX), cpu->apic_id);
        ck_assert_uint_eq(cpuid(0x8000001eu, 0, EBX),
                          (MIN(t->threads, 0x100u) - 1) << 8 | ((t->cores - 1) & 0xff));
        ck_assert_uint_eq(cpuid(0x8000001eu, 0, ECX), (t->sockets - 1) & 0xff);
    }
}
END_TEST

/* A processor that is created without a topology has its number as its id. */
START_TEST(without_an_arrangement_the_id_is_the_number)
{
    select_model("gnomon");
    become(&(struct cpu_topology){0, 0, 0}, 5);
    ck_assert_uint_eq(cpuid(1, 0, EBX), 5u << 24 | 1u << 16 | 8u << 8);
    ck_assert_uint_eq(cpuid(0xb, 0, EDX), 0);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("cpuid_topology");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, one_processor_says_nothing_of_others);
    tcase_add_test(tc, leaf_b_gives_every_processor_its_place);
    tcase_add_test(tc, leaves_1_and_4_give_every_processor_its_place);
    tcase_add_test(tc, caches_are_shared_by_threads_and_by_the_socket);
    tcase_add_test(tc, leaves_of_amd_give_every_processor_its_place);
    tcase_add_test(tc, leaves_of_amd_are_not_there_on_intel_processors);
    tcase_add_test(tc, counts_of_many_processors_stay_in_their_fields);
    tcase_add_test(tc, without_an_arrangement_the_id_is_the_number);
    return run_suite("cpuid_topology", tc);
}
