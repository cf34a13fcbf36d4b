#include "devices/hpet.h"

#include "tests/unit/devices/irqchip_bench.h"
#include "tests/unit/run_suite.h"

#include <string.h>

#define CAP        (HPET_BASE + 0x000)
#define CONF       (HPET_BASE + 0x010)
#define STATUS     (HPET_BASE + 0x020)
#define COUNTER    (HPET_BASE + 0x0f0)
#define TN_CONF(n) (HPET_BASE + 0x100 + 0x20 * (n))
#define TN_COMP(n) (HPET_BASE + 0x108 + 0x20 * (n))

#define LEVEL      0x002u
#define ENABLE     0x004u
#define PERIODIC   0x008u
#define VAL_SET    0x040u
#define MODE32     0x100u
#define ROUTE(pin) ((uint32_t)(pin) << 9)

static struct bench bench;
static struct wire pins[24], irq0, irq8;
static int legacy; /* what the last notice said; -1: none */
static struct hpet *hpet;

static void on_legacy(void *opaque, bool on)
{
    (void)opaque;
    legacy = on;
}

static void setup(void)
{
    struct hpet_config config = {
        .timer_count = 3, .route_capability = 0x00f00000, .legacy = on_legacy};

    bench_init(&bench);
    memset(pins, 0, sizeof(pins));
    memset(&irq0, 0, sizeof(irq0));
    memset(&irq8, 0, sizeof(irq8));
    legacy = -1;
    for (unsigned i = 0; i < 24; i++)
        config.pins[i] = (struct irq_line){wire_listen, pins, i};
    config.irq0 = wire_line(&irq0);
    config.irq8 = wire_line(&irq8);
    hpet = hpet_create(bench.bus, &bench.log, &bench.clock, &config, NULL);
    ck_assert_ptr_nonnull(hpet);
}

static void teardown(void)
{
    hpet_destroy(hpet);
    bench_done(&bench);
}

static uint64_t read64(uint64_t address)
{
    return bus_mmio_read(bench.bus, gpa(address), 8);
}

static void write64(uint64_t address, uint64_t value)
{
    bus_mmio_write(bench.bus, gpa(address), value, 8);
}

START_TEST(the_capabilities_show_three_timers_of_10_ns)
{
    ck_assert_uint_eq(read64(CAP), 0x009896808086a201);
    ck_assert_uint_eq(read32(&bench, CAP + 4), 10000000);
    ck_assert_uint_eq(read64(TN_CONF(0)), 0x00f0000000000030);
}
END_TEST

START_TEST(the_counter_stands_until_enabled_and_then_counts_10_ns)
{
    bench_run(&bench, 5000);
    ck_assert_uint_eq(read64(COUNTER), 0);
    write32(&bench, CONF, 1);
    bench_run(&bench, 12345);
    ck_assert_uint_eq(read64(COUNTER), 1234);
    write32(&bench, CONF, 0);
    bench_run(&bench, 12345);
    ck_assert_uint_eq(read64(COUNTER), 1234);
}
END_TEST

START_TEST(the_counter_can_be_written_in_halves_while_halted)
{
    write32(&bench, COUNTER, 0xfffffff0);
    write32(&bench, COUNTER + 4, 7);
    write32(&bench, CONF, 1);
    bench_run(&bench, 200);
    ck_assert_uint_eq(read64(COUNTER), 0x800000004);
    ck_assert_uint_eq(read32(&bench, COUNTER + 4), 8);
}
END_TEST

START_TEST(the_counter_is_exact_after_a_year)
{
    write32(&bench, CONF, 1);
    bench_run(&bench, 365ull * 86400 * NS_PER_SECOND + 9);
    ck_assert_uint_eq(read64(COUNTER), 365ull * 86400 * 100000000);
}
END_TEST

START_TEST(a_one_shot_edge_comes_when_the_comparator_matches)
{
    write64(TN_COMP(0), 1000);
    write32(&bench, TN_CONF(0), ENABLE | ROUTE(20));
    write32(&bench, CONF, 1);
    bench_run_to(&bench, 9999);
    ck_assert_uint_eq(pins[20].rises, 0);
    bench_run_to(&bench, 10000);
    ck_assert_uint_eq(pins[20].rises, 1);
    bench_run(&bench, 100 * NS_PER_SECOND);
    ck_assert_uint_eq(pins[20].rises, 1);
}
END_TEST

START_TEST(a_second_shot_makes_a_second_edge)
{
    write32(&bench, TN_CONF(0), ENABLE | ROUTE(20));
    write32(&bench, CONF, 1);
    write64(TN_COMP(0), 1000);
    bench_run_to(&bench, 20000);
    write64(TN_COMP(0), 3000);
    bench_run_to(&bench, 40000);
    ck_assert_uint_eq(pins[20].rises, 2);
}
END_TEST

START_TEST(in_32_bit_mode_a_one_shot_comes_again_when_the_counter_wraps)
{
    write32(&bench, TN_CONF(0), ENABLE | MODE32 | ROUTE(20));
    write32(&bench, TN_COMP(0), 1000);
    write32(&bench, CONF, 1);
    bench_run_to(&bench, 10000 + (10ull << 32) - 1);
    ck_assert_uint_eq(pins[20].rises, 1);
    bench_run(&bench, 1);
    ck_assert_uint_eq(pins[20].rises, 2);
}
END_TEST

START_TEST(a_comparator_in_the_past_waits_for_the_wrap)
{
    write32(&bench, TN_CONF(0), ENABLE | MODE32 | ROUTE(20));
    write32(&bench, CONF, 1);
    bench_run_to(&bench, 50000);
    write32(&bench, TN_COMP(0), 1000);
    bench_run(&bench, NS_PER_SECOND);
    ck_assert_uint_eq(pins[20].rises, 0);
}
END_TEST

START_TEST(periodic_mode_does_not_drift)
{
    write32(&bench, TN_CONF(0), ENABLE | PERIODIC | VAL_SET | ROUTE(21));
    write64(TN_COMP(0), 50001);
    write64(TN_COMP(0), 50001);
    write32(&bench, CONF, 1);
    bench_run_to(&bench, 1000ull * 500010 - 1);
    ck_assert_uint_eq(pins[21].rises, 999);
    bench_run(&bench, 1);
    ck_assert_uint_eq(pins[21].rises, 1000);
    ck_assert_uint_eq(read64(TN_COMP(0)), 1001ull * 50001);
}
END_TEST

START_TEST(val_set_sets_the_accumulator_and_the_next_write_the_period)
{
    write32(&bench, CONF, 1);
    bench_run_to(&bench, 100000);
    write32(&bench, TN_CONF(0), ENABLE | PERIODIC | VAL_SET | MODE32 | ROUTE(21));
    write32(&bench, TN_COMP(0), 10000 + 777);
    write32(&bench, TN_COMP(0), 500);
    ck_assert_uint_eq(read32(&bench, TN_COMP(0)), 10777);
    bench_run_to(&bench, 107770);
    ck_assert_uint_eq(pins[21].rises, 1);
    ck_assert_uint_eq(read32(&bench, TN_COMP(0)), 11277);
    bench_run_to(&bench, 112770);
    ck_assert_uint_eq(pins[21].rises, 2);
}
END_TEST

START_TEST(without_val_set_a_write_changes_the_period_only)
{
    write32(&bench, TN_CONF(0), ENABLE | PERIODIC | VAL_SET | ROUTE(21));
    write64(TN_COMP(0), 1000);
    write64(TN_COMP(0), 300);
    ck_assert_uint_eq(read64(TN_COMP(0)), 1000);
    write32(&bench, CONF, 1);
    bench_run_to(&bench, 10000);
    ck_assert_uint_eq(read64(TN_COMP(0)), 1300);
}
END_TEST

START_TEST(a_tiny_period_does_not_stop_time)
{
    write32(&bench, TN_CONF(0), ENABLE | PERIODIC | VAL_SET | ROUTE(21));
    write64(TN_COMP(0), 1);
    write32(&bench, CONF, 1);
    bench_run(&bench, 1000000);
    ck_assert_uint_ge(pins[21].rises, 900);
    ck_assert_uint_le(pins[21].rises, 1001);
}
END_TEST

START_TEST(a_period_of_zero_is_one_shot)
{
    write32(&bench, TN_CONF(0), ENABLE | PERIODIC | ROUTE(21));
    write64(TN_COMP(0), 0);
    hpet->timers[0].comparator = 100;
    write32(&bench, CONF, 1);
    bench_run(&bench, 1000000);
    ck_assert_uint_eq(pins[21].rises, 1);
}
END_TEST

START_TEST(a_level_interrupt_holds_until_its_status_is_cleared)
{
    write64(TN_COMP(1), 100);
    write32(&bench, TN_CONF(1), ENABLE | LEVEL | ROUTE(22));
    write32(&bench, CONF, 1);
    bench_run(&bench, 5000);
    ck_assert(pins[22].level);
    ck_assert_uint_eq(read32(&bench, STATUS), 2);
    write32(&bench, STATUS, 1);
    ck_assert(pins[22].level);
    write32(&bench, STATUS, 2);
    ck_assert(!pins[22].level);
    ck_assert_uint_eq(read32(&bench, STATUS), 0);
}
END_TEST

START_TEST(the_status_is_set_without_the_interrupt_enabled)
{
    write64(TN_COMP(1), 100);
    write32(&bench, TN_CONF(1), LEVEL | ROUTE(22));
    write32(&bench, CONF, 1);
    bench_run(&bench, 5000);
    ck_assert(!pins[22].level);
    ck_assert_uint_eq(read32(&bench, STATUS), 2);
    write32(&bench, TN_CONF(1), ENABLE | LEVEL | ROUTE(22));
    ck_assert(pins[22].level);
}
END_TEST

START_TEST(halting_lowers_the_wires)
{
    write64(TN_COMP(1), 100);
    write32(&bench, TN_CONF(1), ENABLE | LEVEL | ROUTE(22));
    write32(&bench, CONF, 1);
    bench_run(&bench, 5000);
    write32(&bench, CONF, 0);
    ck_assert(!pins[22].level);
    ck_assert_uint_eq(bench.clock.next_deadline, CLOCK_NEVER);
}
END_TEST

START_TEST(a_route_that_is_not_offered_reads_back_unchanged)
{
    write32(&bench, TN_CONF(0), ROUTE(23));
    write32(&bench, TN_CONF(0), ROUTE(5) | ENABLE);
    ck_assert_uint_eq(read32(&bench, TN_CONF(0)), ROUTE(23) | ENABLE | 0x30);
}
END_TEST

START_TEST(legacy_replacement_takes_over_irq_0_and_8)
{
    write32(&bench, CONF, 2);
    ck_assert_int_eq(legacy, 1);
    write32(&bench, TN_CONF(0), ENABLE | PERIODIC | VAL_SET | ROUTE(20));
    write64(TN_COMP(0), 1000);
    write32(&bench, TN_CONF(1), ENABLE | ROUTE(21));
    write64(TN_COMP(1), 1000);
    write32(&bench, CONF, 3);
    bench_run_to(&bench, 100000);
    ck_assert_uint_eq(irq0.rises, 10);
    ck_assert_uint_eq(irq8.rises, 1);
    ck_assert_uint_eq(pins[20].rises, 0);
    write32(&bench, CONF, 1);
    ck_assert_int_eq(legacy, 0);
    ck_assert(!irq0.level);
    bench_run_to(&bench, 110000);
    ck_assert_uint_eq(pins[20].rises, 1);
}
END_TEST

START_TEST(linux_can_run_its_tick_from_timer_0)
{
    uint32_t counter;

    write32(&bench, CONF, 1);
    bench_run(&bench, 123456789);
    write32(&bench, CONF, 3);
    write32(&bench, CONF, 2); /* hpet_set_periodic halts the counter */
    counter = read32(&bench, COUNTER);
    write32(&bench, TN_CONF(0), ENABLE | PERIODIC | VAL_SET | MODE32);
    write32(&bench, TN_COMP(0), counter + 400000);
    write32(&bench, TN_COMP(0), 400000); /* 250 Hz */
    write32(&bench, CONF, 3);
    bench_run(&bench, NS_PER_SECOND + 5);
    ck_assert_uint_eq(irq0.rises, 250);
}
END_TEST

START_TEST(bytes_are_not_written)
{
    bus_mmio_write(bench.bus, gpa(CONF), 1, 1);
    ck_assert_uint_eq(read32(&bench, CONF), 0);
}
END_TEST

START_TEST(reset_gives_the_legacy_interrupts_back)
{
    write32(&bench, CONF, 3);
    hpet_reset(hpet);
    ck_assert_int_eq(legacy, 0);
    ck_assert_uint_eq(read64(COUNTER), 0);
    ck_assert_uint_eq(read64(TN_COMP(2)), UINT64_MAX);
}
END_TEST

START_TEST(a_saved_hpet_goes_on)
{
    struct state *saving;
    bool ok;

    write32(&bench, TN_CONF(0), ENABLE | PERIODIC | VAL_SET | ROUTE(21));
    write64(TN_COMP(0), 1000);
    write32(&bench, CONF, 1);
    bench_run_to(&bench, 25000);
    BENCH_SAVE(saving, hpet_serialize(hpet, s));
    hpet_reset(hpet);
    BENCH_LOAD(saving, hpet_serialize(hpet, s), ok);
    ck_assert(ok);
    ck_assert_uint_eq(read64(COUNTER), 2500);
    pins[21] = (struct wire){.level = true};
    bench_run_to(&bench, 30000);
    ck_assert_uint_eq(pins[21].rises, 1);
    state_destroy(saving);
}
END_TEST

START_TEST(a_hostile_snapshot_does_no_harm)
{
    struct state *saving;

    write32(&bench, TN_CONF(0), ENABLE | PERIODIC | VAL_SET | ROUTE(21));
    write64(TN_COMP(0), 1000);
    write32(&bench, CONF, 3);
    BENCH_SAVE(saving, hpet_serialize(hpet, s));
    BENCH_LOAD_DISTORTED(saving, hpet_serialize(hpet, s), {
        bench_run(&bench, 20000);
        read64(TN_COMP(round % 3));
        write64(STATUS, round);
    });
    state_destroy(saving);
}
END_TEST

START_TEST(random_writes_do_no_harm)
{
    const char *env = getenv("GNOMON_SEED");
    unsigned seed = env != NULL ? (unsigned)strtoul(env, NULL, 0) : 1;

    printf("GNOMON_SEED=%u\n", seed);
    for (unsigned i = 0; i < 50000; i++) {
        static const unsigned registers[] = {0x10, 0x20, 0xf0, 0x100, 0x108, 0x120, 0x128, 0x148};
        uint64_t value = rand_r(&seed) >> rand_r(&seed) % 31;
        unsigned size = rand_r(&seed) & 1 ? 4 : 8;
        if (rand_r(&seed) % 8 == 0)
            value = ~value;
        bus_mmio_write(bench.bus, gpa(HPET_BASE + registers[rand_r(&seed) % 8]), value, size);
        bench_run(&bench, (unsigned)rand_r(&seed) % 2000);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("hpet");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, the_capabilities_show_three_timers_of_10_ns);
    tcase_add_test(tc, the_counter_stands_until_enabled_and_then_counts_10_ns);
    tcase_add_test(tc, the_counter_can_be_written_in_halves_while_halted);
    tcase_add_test(tc, the_counter_is_exact_after_a_year);
    tcase_add_test(tc, a_one_shot_edge_comes_when_the_comparator_matches);
    tcase_add_test(tc, a_second_shot_makes_a_second_edge);
    tcase_add_test(tc, in_32_bit_mode_a_one_shot_comes_again_when_the_counter_wraps);
    tcase_add_test(tc, a_comparator_in_the_past_waits_for_the_wrap);
    tcase_add_test(tc, periodic_mode_does_not_drift);
    tcase_add_test(tc, val_set_sets_the_accumulator_and_the_next_write_the_period);
    tcase_add_test(tc, without_val_set_a_write_changes_the_period_only);
    tcase_add_test(tc, a_tiny_period_does_not_stop_time);
    tcase_add_test(tc, a_period_of_zero_is_one_shot);
    tcase_add_test(tc, a_level_interrupt_holds_until_its_status_is_cleared);
    tcase_add_test(tc, the_status_is_set_without_the_interrupt_enabled);
    tcase_add_test(tc, halting_lowers_the_wires);
    tcase_add_test(tc, a_route_that_is_not_offered_reads_back_unchanged);
    tcase_add_test(tc, legacy_replacement_takes_over_irq_0_and_8);
    tcase_add_test(tc, linux_can_run_its_tick_from_timer_0);
    tcase_add_test(tc, bytes_are_not_written);
    tcase_add_test(tc, reset_gives_the_legacy_interrupts_back);
    tcase_add_test(tc, a_saved_hpet_goes_on);
    tcase_add_test(tc, a_hostile_snapshot_does_no_harm);
    tcase_add_test(tc, random_writes_do_no_harm);
    return run_suite("hpet", tc);
}
