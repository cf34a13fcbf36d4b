/* APIC ids of processors, against the fields that the manuals describe. */
#include "cpu/topology.h"

#include "base/bits.h"
#include "tests/unit/run_suite.h"

#include <check.h>

static void check_ids(struct cpu_topology t, const uint32_t *ids, unsigned count)
{
    ck_assert_uint_eq(cpu_topology_count(&t), count);
    for (unsigned n = 0; n < count; n++)
        ck_assert_msg(cpu_topology_apic_id(&t, n) == ids[n], "processor %u: %u", n,
                      cpu_topology_apic_id(&t, n));
}

START_TEST(a_zeroed_topology_is_one_processor)
{
    struct cpu_topology t = {0, 0, 0};

    ck_assert_uint_eq(cpu_topology_count(&t), 1);
    ck_assert_uint_eq(cpu_topology_per_socket(&t), 1);
    ck_assert_uint_eq(cpu_topology_core_shift(&t), 0);
    ck_assert_uint_eq(cpu_topology_socket_shift(&t), 0);
    ck_assert_uint_eq(cpu_topology_apic_id(&t, 0), 0);
    ck_assert_uint_eq(cpu_topology_apic_id(&t, 7), 7); /* as many sockets as there are numbers */
}
END_TEST

START_TEST(powers_of_two_are_numbered_without_gaps)
{
    static const struct cpu_topology list[] = {{64, 1, 1}, {1, 64, 1}, {1, 32, 2},
                                               {2, 16, 2}, {4, 4, 4},  {1, 1, 1}};

    for (unsigned i = 0; i < ARRAY_SIZE(list); i++) {
        for (unsigned n = 0; n < cpu_topology_count(&list[i]); n++)
            ck_assert_uint_eq(cpu_topology_apic_id(&list[i], n), n);
    }
}
END_TEST

START_TEST(other_counts_leave_gaps_in_their_fields)
{
    check_ids((struct cpu_topology){2, 3, 1}, (const uint32_t[]){0, 1, 2, 4, 5, 6}, 6);
    check_ids((struct cpu_topology){3, 1, 1}, (const uint32_t[]){0, 1, 2}, 3);
    check_ids((struct cpu_topology){2, 1, 3}, (const uint32_t[]){0, 1, 2, 4, 5, 6}, 6);
    check_ids((struct cpu_topology){2, 3, 2},
              (const uint32_t[]){0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13}, 12);
}
END_TEST

/* All arrangements of up to 64: ids are distinct, ascend, their fields give the place back, and
 * none is FFh, which the xAPIC takes for everybody. */
START_TEST(ids_of_64_processors_are_distinct_and_fit_the_xapic)
{
    for (unsigned sockets = 1; sockets <= 64; sockets++)
        for (unsigned cores = 1; sockets * cores <= 64; cores++)
            for (unsigned threads = 1; sockets * cores * threads <= 64; threads++) {
                struct cpu_topology t = {sockets, cores, threads};

                for (unsigned n = 0; n < sockets * cores * threads; n++) {
                    uint32_t id = cpu_topology_apic_id(&t, n);

                    ck_assert_uint_lt(id, 255);
                    ck_assert(n == 0 || id > cpu_topology_apic_id(&t, n - 1));
                    ck_assert_uint_eq(id >> cpu_topology_socket_shift(&t), n / (cores * threads));
                    ck_assert_uint_eq(id & (BIT(cpu_topology_core_shift(&t)) - 1), n % threads);
                    ck_assert_uint_eq(
                        id >> cpu_topology_core_shift(&t) &
                            (BIT(cpu_topology_socket_shift(&t) - cpu_topology_core_shift(&t)) - 1),
                        n / threads % cores);
                }
            }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("topology");

    tcase_add_test(tc, a_zeroed_topology_is_one_processor);
    tcase_add_test(tc, powers_of_two_are_numbered_without_gaps);
    tcase_add_test(tc, other_counts_leave_gaps_in_their_fields);
    tcase_add_test(tc, ids_of_64_processors_are_distinct_and_fit_the_xapic);
    return run_suite("topology", tc);
}
