#include "tests/unit/devices/lapic_bench.h"
#include "tests/unit/run_suite.h"

/* --- Timer --- */

START_TEST(the_current_count_runs_at_the_bus_clock_divided)
{
    static const uint32_t codes[] = {0xb, 0x0, 0x1, 0x2, 0x3, 0x8, 0x9, 0xa};

    for (unsigned i = 0; i < 8; i++) {
        put(TDCR, codes[i]);
        ck_assert_uint_eq(get(TDCR), codes[i]);
        put(TMICT, 1000000);
        bench_run(&bench, 12800);
        ck_assert_uint_eq(get(TMCCT), 1000000 - (12800 >> i));
    }
}
END_TEST

START_TEST(one_shot_fires_once_when_the_count_is_zero)
{
    put(SVR, 0x1ff);
    put(LVTT, 0x31);
    put(TDCR, 0xb);
    put(TMICT, 1000);
    bench_run(&bench, 999);
    ck_assert(!cpus[0].intr.level);
    bench_run(&bench, 1);
    ck_assert_int_eq(lapic_acknowledge(l), 0x31);
    ck_assert_uint_eq(get(TMCCT), 0);
    put(EOI, 0);
    bench_run(&bench, 100000);
    ck_assert(!cpus[0].intr.level);
    ck_assert_uint_eq(get(TMICT), 1000);
}
END_TEST

START_TEST(periodic_fires_without_drift)
{
    put(SVR, 0x1ff);
    put(LVTT, 0x20031);
    put(TDCR, 0x3); /* by 16 */
    put(TMICT, 62501);
    for (unsigned i = 1; i <= 100; i++) {
        bench_run_to(&bench, i * 62501ull * 16 - 1);
        ck_assert(!cpus[0].intr.level);
        bench_run(&bench, 1);
        ck_assert_int_eq(lapic_acknowledge(l), 0x31);
        put(EOI, 0);
        ck_assert_uint_eq(get(TMCCT), 62501);
    }
}
END_TEST

START_TEST(a_masked_timer_counts_and_stays_silent)
{
    put(SVR, 0x1ff);
    put(LVTT, 0x10031);
    put(TDCR, 0xb);
    put(TMICT, 0xffffffff);
    bench_run(&bench, 1000000);
    ck_assert_uint_eq(get(TMCCT), 0xffffffff - 1000000);
    ck_assert_uint_eq(bench.clock.next_deadline, CLOCK_NEVER);
    bench_run(&bench, 0xffffffff);
    put(LVTT, 0x31);
    ck_assert(!cpus[0].intr.level);
}
END_TEST

START_TEST(unmasking_a_running_timer_lets_the_next_expiry_through)
{
    put(SVR, 0x1ff);
    put(LVTT, 0x30031);
    put(TDCR, 0xb);
    put(TMICT, 10000);
    bench_run(&bench, 25000);
    put(LVTT, 0x20031);
    ck_assert(!cpus[0].intr.level);
    bench_run(&bench, 5000);
    ck_assert(cpus[0].intr.level);
}
END_TEST

START_TEST(an_initial_count_of_zero_stops_the_timer)
{
    put(SVR, 0x1ff);
    put(LVTT, 0x20031);
    put(TMICT, 1000);
    put(TMICT, 0);
    bench_run(&bench, 1000000);
    ck_assert(!cpus[0].intr.level);
    ck_assert_uint_eq(get(TMCCT), 0);
}
END_TEST

START_TEST(a_new_divider_takes_the_count_along)
{
    put(TDCR, 0xb);
    put(TMICT, 10000);
    bench_run(&bench, 4000);
    put(TDCR, 0x0);
    bench_run(&bench, 4000);
    ck_assert_uint_eq(get(TMCCT), 4000);
}
END_TEST

START_TEST(a_periodic_timer_of_one_nanosecond_does_not_stop_time)
{
    put(SVR, 0x1ff);
    put(LVTT, 0x20031);
    put(TDCR, 0xb);
    put(TMICT, 1);
    bench_run(&bench, 1000000);
    ck_assert(cpus[0].intr.level);
}
END_TEST

START_TEST(tsc_deadline_fires_when_the_tsc_reaches_it_and_disarms)
{
    put(SVR, 0x1ff);
    put(LVTT, 0x40031);
    ck_assert(wrmsr(MSR_IA32_TSC_DEADLINE, 2400001)); /* 1 ms and a bit */
    ck_assert_uint_eq(rdmsr(MSR_IA32_TSC_DEADLINE), 2400001);
    ck_assert_uint_eq(get(TMCCT), 0);
    bench_run_to(&bench, 1000000);
    ck_assert(!cpus[0].intr.level);
    bench_run_to(&bench, 1000001);
    ck_assert_int_eq(lapic_acknowledge(l), 0x31);
    ck_assert_uint_eq(rdmsr(MSR_IA32_TSC_DEADLINE), 0);
}
END_TEST

START_TEST(a_tsc_deadline_in_the_past_fires_at_once)
{
    put(SVR, 0x1ff);
    put(LVTT, 0x40031);
    bench_run(&bench, 1000);
    ck_assert(wrmsr(MSR_IA32_TSC_DEADLINE, 1));
    ck_assert(cpus[0].intr.level);
}
END_TEST

START_TEST(a_tsc_deadline_of_zero_disarms)
{
    put(SVR, 0x1ff);
    put(LVTT, 0x40031);
    ck_assert(wrmsr(MSR_IA32_TSC_DEADLINE, 2400));
    ck_assert(wrmsr(MSR_IA32_TSC_DEADLINE, 0));
    bench_run(&bench, 100000);
    ck_assert(!cpus[0].intr.level);
}
END_TEST

START_TEST(the_far_future_is_no_overflow)
{
    put(SVR, 0x1ff);
    put(LVTT, 0x40031);
    bench_run(&bench, 1000);
    ck_assert(wrmsr(MSR_IA32_TSC_DEADLINE, UINT64_MAX));
    bench_run(&bench, 1000000);
    ck_assert(!cpus[0].intr.level);
}
END_TEST

START_TEST(a_tsc_offset_moves_the_deadline)
{
    put(SVR, 0x1ff);
    put(LVTT, 0x40031);
    ck_assert(wrmsr(MSR_IA32_TSC_DEADLINE, 2400000));
    lapic_set_tsc_offset(l, 1200000);
    bench_run_to(&bench, 499999);
    ck_assert(!cpus[0].intr.level);
    bench_run_to(&bench, 500000);
    ck_assert(cpus[0].intr.level);
}
END_TEST

START_TEST(in_other_modes_tsc_deadline_reads_zero_and_ignores_writes)
{
    put(SVR, 0x1ff);
    put(LVTT, 0x31);
    ck_assert(wrmsr(MSR_IA32_TSC_DEADLINE, 2400));
    ck_assert_uint_eq(rdmsr(MSR_IA32_TSC_DEADLINE), 0);
    put(LVTT, 0x40031);
    put(TMICT, 1000);
    bench_run(&bench, 10000);
    ck_assert(!cpus[0].intr.level);
}
END_TEST

START_TEST(changing_to_or_from_tsc_deadline_mode_disarms)
{
    put(SVR, 0x1ff);
    put(LVTT, 0x31);
    put(TDCR, 0xb);
    put(TMICT, 1000);
    put(LVTT, 0x40031);
    ck_assert(wrmsr(MSR_IA32_TSC_DEADLINE, 240000));
    put(LVTT, 0x31);
    bench_run(&bench, 1000000);
    ck_assert(!cpus[0].intr.level);
}
END_TEST

/* In parallel mode time goes on while the local APIC looks at it. */
START_TEST(a_deadline_that_passes_meanwhile_is_not_lost)
{
    put(SVR, 0x1ff);
    put(LVTT, 0x40031);
    bench.clock.mode = CLOCK_PARALLEL;
    clock_start(&bench.clock);
    for (unsigned n = 0; n < 100000; n++) {
        uint64_t now = clock_now(&bench.clock);

        wrmsr(MSR_IA32_TSC_DEADLINE, mul_div(now + n % 4096, TSC_HZ, NS_PER_SECOND));
        for (unsigned k = 0; k < 3; k++)
            lapic_set_tsc_offset(l, 0);
        ck_assert(l->tsc_deadline == 0 || l->timer.deadline < now + NS_PER_SECOND);
    }
    clock_stop(&bench.clock);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("lapic_timer");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, the_current_count_runs_at_the_bus_clock_divided);
    tcase_add_test(tc, one_shot_fires_once_when_the_count_is_zero);
    tcase_add_test(tc, periodic_fires_without_drift);
    tcase_add_test(tc, a_masked_timer_counts_and_stays_silent);
    tcase_add_test(tc, unmasking_a_running_timer_lets_the_next_expiry_through);
    tcase_add_test(tc, an_initial_count_of_zero_stops_the_timer);
    tcase_add_test(tc, a_new_divider_takes_the_count_along);
    tcase_add_test(tc, a_periodic_timer_of_one_nanosecond_does_not_stop_time);
    tcase_add_test(tc, tsc_deadline_fires_when_the_tsc_reaches_it_and_disarms);
    tcase_add_test(tc, a_tsc_deadline_in_the_past_fires_at_once);
    tcase_add_test(tc, a_tsc_deadline_of_zero_disarms);
    tcase_add_test(tc, the_far_future_is_no_overflow);
    tcase_add_test(tc, a_tsc_offset_moves_the_deadline);
    tcase_add_test(tc, in_other_modes_tsc_deadline_reads_zero_and_ignores_writes);
    tcase_add_test(tc, a_deadline_that_passes_meanwhile_is_not_lost);
    tcase_add_test(tc, changing_to_or_from_tsc_deadline_mode_disarms);
    return run_suite("lapic_timer", tc);
}
