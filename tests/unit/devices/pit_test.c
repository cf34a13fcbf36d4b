#include "devices/pit.h"

#include "tests/unit/devices/irqchip_bench.h"
#include "tests/unit/run_suite.h"

#include <string.h>

static struct bench bench;
static struct wire irq0;
static struct pit *pit;

static void setup(void)
{
    bench_init(&bench);
    memset(&irq0, 0, sizeof(irq0));
    pit = pit_create(bench.bus, &bench.log, &bench.clock, wire_line(&irq0), NULL);
    ck_assert_ptr_nonnull(pit);
}

static void teardown(void)
{
    pit_destroy(pit);
    bench_done(&bench);
}

/* The first nanosecond at which the CLK pulse has been. */
static uint64_t ns(uint64_t pulse)
{
    return (pulse * NS_PER_SECOND + PIT_HZ - 1) / PIT_HZ;
}

static void at_pulse(uint64_t pulse)
{
    bench_run_to(&bench, ns(pulse));
}

static void program(unsigned channel, unsigned mode, uint16_t count)
{
    out8(&bench, 0x43, channel << 6 | 0x30 | mode << 1);
    out8(&bench, 0x40 + channel, count & 0xff);
    out8(&bench, 0x40 + channel, count >> 8);
}

static uint16_t read_count(unsigned channel)
{
    uint16_t low = in8(&bench, 0x40 + channel);

    return in8(&bench, 0x40 + channel) << 8 | low;
}

static bool out(unsigned channel)
{
    out8(&bench, 0x43, 0xe0 | 2u << channel);
    return (in8(&bench, 0x40 + channel) & 0x80) != 0;
}

/* OUT of channel 2 before each of the pulses [from, to] has passed, as '0' and '1'. */
static const char *trace(uint64_t from, uint64_t to)
{
    static char text[64];
    unsigned n = 0;

    for (uint64_t pulse = from; pulse <= to; pulse++) {
        at_pulse(pulse);
        text[n++] = in8(&bench, 0x61) & 0x20 ? '1' : '0';
    }
    text[n] = '\0';
    return text;
}

static void gate2(bool on)
{
    out8(&bench, 0x61, on);
}

START_TEST(mode_0_raises_out_when_the_count_ends)
{
    gate2(true);
    program(2, 0, 4); /* loaded by pulse 1, at zero with pulse 5 */
    ck_assert_str_eq(trace(0, 8), "000001111");
}
END_TEST

START_TEST(mode_0_stops_while_the_gate_is_low)
{
    gate2(true);
    program(2, 0, 10);
    at_pulse(4);
    gate2(false);
    ck_assert_uint_eq(read_count(2), 7);
    at_pulse(100);
    ck_assert_uint_eq(read_count(2), 7);
    gate2(true);
    at_pulse(102);
    ck_assert_uint_eq(read_count(2), 5);
}
END_TEST

START_TEST(mode_0_stops_at_the_first_byte_of_a_new_count)
{
    gate2(true);
    program(2, 0, 3);
    at_pulse(10);
    ck_assert(out(2));
    out8(&bench, 0x42, 0x02);
    ck_assert(!out(2));
    at_pulse(20);
    ck_assert(!out(2));
    out8(&bench, 0x42, 0x00);
    ck_assert_str_eq(trace(20, 24), "00011");
}
END_TEST

START_TEST(mode_0_counts_on_through_zero)
{
    gate2(true);
    program(2, 0, 3);
    at_pulse(6);
    ck_assert_uint_eq(read_count(2), 0xfffe);
}
END_TEST

START_TEST(mode_1_is_a_one_shot_that_the_gate_triggers)
{
    program(2, 1, 3);
    ck_assert_str_eq(trace(0, 3), "1111");
    gate2(true); /* pulse 4 loads */
    ck_assert_str_eq(trace(3, 9), "1000111");
}
END_TEST

START_TEST(mode_1_can_be_triggered_again)
{
    program(2, 1, 3);
    gate2(true);
    at_pulse(2);
    gate2(false);
    gate2(true);
    ck_assert_str_eq(trace(2, 8), "0000111");
}
END_TEST

START_TEST(mode_2_is_low_for_the_last_pulse_of_each_period)
{
    gate2(true);
    program(2, 2, 4);
    ck_assert_str_eq(trace(0, 13), "11110111011101");
}
END_TEST

START_TEST(mode_2_takes_a_new_count_at_the_end_of_the_period)
{
    gate2(true);
    program(2, 2, 4);
    at_pulse(2);
    out8(&bench, 0x42, 3);
    out8(&bench, 0x42, 0);
    ck_assert_str_eq(trace(2, 12), "11011011011");
}
END_TEST

START_TEST(mode_2_starts_over_when_the_gate_rises)
{
    gate2(true);
    program(2, 2, 4);
    at_pulse(4);
    ck_assert(!out(2));
    gate2(false);
    ck_assert(out(2));
    at_pulse(10);
    ck_assert(out(2));
    gate2(true); /* pulse 11 loads */
    ck_assert_str_eq(trace(10, 16), "1111011");
}
END_TEST

START_TEST(mode_3_divides_an_even_count_evenly)
{
    gate2(true);
    program(2, 3, 4);
    ck_assert_str_eq(trace(0, 12), "1110011001100");
}
END_TEST

START_TEST(mode_3_is_high_one_pulse_longer_for_an_odd_count)
{
    gate2(true);
    program(2, 3, 5);
    ck_assert_str_eq(trace(0, 13), "11110011100111");
}
END_TEST

START_TEST(mode_3_counts_by_two)
{
    gate2(true);
    program(2, 3, 100);
    at_pulse(11);
    ck_assert_uint_eq(read_count(2), 80);
    at_pulse(61);
    ck_assert_uint_eq(read_count(2), 80);
    ck_assert(!out(2));
}
END_TEST

START_TEST(mode_4_strobes_once_when_the_count_ends)
{
    gate2(true);
    program(2, 4, 3);
    ck_assert_str_eq(trace(0, 7), "11110111");
    at_pulse(70000);
    ck_assert_str_eq(trace(70000, 70001), "11");
}
END_TEST

START_TEST(mode_5_strobes_after_the_gate_has_triggered_it)
{
    program(2, 5, 3);
    ck_assert_str_eq(trace(0, 6), "1111111");
    gate2(true);
    ck_assert_str_eq(trace(6, 12), "1111011");
}
END_TEST

START_TEST(modes_6_and_7_are_2_and_3)
{
    out8(&bench, 0x43, 0x3c);
    ck_assert_uint_eq(pit->channel[0].mode, 2);
    out8(&bench, 0x43, 0x3e);
    ck_assert_uint_eq(pit->channel[0].mode, 3);
}
END_TEST

START_TEST(a_count_of_zero_is_65536)
{
    program(0, 0, 0);
    at_pulse(65536);
    ck_assert(!irq0.level);
    at_pulse(65537);
    ck_assert(irq0.level);
}
END_TEST

START_TEST(bcd_counts_in_decimal)
{
    out8(&bench, 0x43, 0x31);
    out8(&bench, 0x40, 0x00);
    out8(&bench, 0x40, 0x10);
    at_pulse(2);
    ck_assert_uint_eq(read_count(0), 0x0999);
    at_pulse(1001);
    ck_assert(irq0.level);
    at_pulse(1002);
    ck_assert_uint_eq(read_count(0), 0x9999);
}
END_TEST

START_TEST(a_latched_count_holds_until_both_bytes_are_read)
{
    program(0, 2, 1000);
    at_pulse(11);
    out8(&bench, 0x43, 0x00);
    at_pulse(500);
    out8(&bench, 0x43, 0x00); /* ignored: the first one has not been read */
    ck_assert_uint_eq(read_count(0), 990);
    ck_assert_uint_eq(read_count(0), 501);
}
END_TEST

START_TEST(read_back_latches_status_and_count_of_several_channels)
{
    gate2(true);
    program(0, 2, 1000);
    program(2, 0, 500);
    at_pulse(11);
    out8(&bench, 0x43, 0xca); /* count and status of channels 0 and 2 */
    at_pulse(300);
    ck_assert_uint_eq(in8(&bench, 0x40), 0xb4);
    ck_assert_uint_eq(read_count(0), 990);
    ck_assert_uint_eq(in8(&bench, 0x42), 0x30);
    ck_assert_uint_eq(read_count(2), 490);
}
END_TEST

START_TEST(the_null_count_bit_says_that_a_count_has_not_been_loaded)
{
    program(0, 2, 1000);
    out8(&bench, 0x43, 0xe2);
    ck_assert_uint_eq(in8(&bench, 0x40) & 0x40, 0x40);
    at_pulse(1);
    out8(&bench, 0x43, 0xe2);
    ck_assert_uint_eq(in8(&bench, 0x40) & 0x40, 0);
}
END_TEST

START_TEST(single_byte_access_modes_leave_the_other_byte_zero)
{
    out8(&bench, 0x43, 0x14);
    out8(&bench, 0x40, 200);
    at_pulse(1);
    ck_assert_uint_eq(in8(&bench, 0x40), 200);
    out8(&bench, 0x43, 0x24);
    out8(&bench, 0x40, 2);
    at_pulse(2);
    ck_assert_uint_eq(pit->channel[0].cr, 0x200);
    ck_assert_uint_eq(in8(&bench, 0x40), 2);
}
END_TEST

START_TEST(irq_0_comes_at_exactly_the_programmed_rate_for_a_whole_day)
{
    program(0, 2, 11932); /* about 100 Hz */
    bench_run_to(&bench, 86400 * NS_PER_SECOND);
    /* Loaded with pulse 1, first edge 11932 pulses later. */
    ck_assert_uint_eq(irq0.rises, 1 + (86400ull * PIT_HZ - 1) / 11932);
}
END_TEST

START_TEST(irq_0_rises_in_the_nanosecond_of_its_pulse)
{
    program(0, 2, 1000);
    bench_run_to(&bench, ns(1001) - 1);
    ck_assert_uint_eq(irq0.rises, 1); /* OUT went high with the control word */
    bench_run_to(&bench, ns(1001));
    ck_assert_uint_eq(irq0.rises, 2);
}
END_TEST

START_TEST(irq_0_follows_a_square_wave)
{
    program(0, 3, 1000);
    at_pulse(501);
    ck_assert(!irq0.level);
    at_pulse(1001);
    ck_assert(irq0.level);
    at_pulse(10001);
    ck_assert_uint_eq(irq0.rises, 11);
}
END_TEST

START_TEST(irq_0_comes_once_in_mode_0)
{
    program(0, 0, 1000);
    bench_run(&bench, NS_PER_SECOND);
    ck_assert_uint_eq(irq0.rises, 1);
    ck_assert_uint_eq(bench.clock.next_deadline, CLOCK_NEVER);
}
END_TEST

START_TEST(the_shortest_period_does_not_stop_time)
{
    program(0, 2, 1);
    bench_run(&bench, 1000000);
    ck_assert_uint_eq(irq0.rises, 597); /* an illegal count of 1 is taken as 2 */
}
END_TEST

START_TEST(a_disconnected_irq_0_stays_low)
{
    program(0, 2, 1000);
    pit_connect_irq0(pit, false);
    ck_assert(!irq0.level);
    irq0.rises = 0;
    bench_run(&bench, 10000000);
    ck_assert_uint_eq(irq0.rises, 0);
    pit_connect_irq0(pit, true);
    bench_run(&bench, 10000000);
    ck_assert_uint_ge(irq0.rises, 11);
}
END_TEST

START_TEST(linux_can_measure_fifty_milliseconds_with_channel_2)
{
    unsigned latch = PIT_HZ / 20;

    out8(&bench, 0x61, (in8(&bench, 0x61) & ~0x02) | 0x01);
    out8(&bench, 0x43, 0xb0);
    out8(&bench, 0x42, latch & 0xff);
    out8(&bench, 0x42, latch >> 8);
    ck_assert_uint_eq(in8(&bench, 0x61) & 0x20, 0);
    bench_run_to(&bench, 49999000);
    ck_assert_uint_eq(in8(&bench, 0x61) & 0x20, 0);
    bench_run_to(&bench, 50001000);
    ck_assert_uint_eq(in8(&bench, 0x61) & 0x20, 0x20);
}
END_TEST

START_TEST(unlatched_reads_alternate_between_the_bytes)
{
    gate2(true);
    program(2, 0, 0xffff);
    at_pulse(0x1001);
    ck_assert_uint_eq(in8(&bench, 0x42), 0xff);
    ck_assert_uint_eq(in8(&bench, 0x42), 0xef);
    ck_assert_uint_eq(in8(&bench, 0x42), 0xff);
}
END_TEST

START_TEST(the_refresh_bit_of_port_61_toggles_every_15_microseconds)
{
    unsigned toggles = 0;
    uint8_t last = in8(&bench, 0x61) & 0x10;

    for (unsigned us = 0; us < 1509; us++) {
        bench_run(&bench, 1000);
        toggles += (in8(&bench, 0x61) & 0x10) != last;
        last = in8(&bench, 0x61) & 0x10;
    }
    ck_assert_uint_eq(toggles, 100);
}
END_TEST

START_TEST(port_61_keeps_its_four_low_bits)
{
    out8(&bench, 0x61, 0xfe);
    ck_assert_uint_eq(in8(&bench, 0x61) & 0xcf, 0x0e);
}
END_TEST

START_TEST(the_speaker_sounds_with_gate_and_data_on)
{
    uint32_t hz;

    program(2, 3, 1193);
    ck_assert(!pit_speaker(pit, &hz));
    out8(&bench, 0x61, 3);
    at_pulse(2);
    in8(&bench, 0x61);
    ck_assert(pit_speaker(pit, &hz));
    ck_assert_uint_eq(hz, 1000);
}
END_TEST

START_TEST(a_late_fire_loses_ticks_but_never_the_edge)
{
    program(0, 2, 1000);
    irq0.rises = 0;
    clock_skip_to(&bench.clock, ns(10500));
    clock_run_due(&bench.clock);
    ck_assert_uint_eq(irq0.rises, 1);
    ck_assert_uint_eq(bench.clock.next_deadline, ns(11001));
}
END_TEST

START_TEST(a_saved_timer_goes_on_in_phase)
{
    struct state *saving;
    unsigned rises;
    bool ok;

    program(0, 2, 1000);
    at_pulse(5500);
    BENCH_SAVE(saving, pit_serialize(pit, s));
    at_pulse(9500);
    rises = irq0.rises;
    pit_reset(pit);
    bench.clock.skipped = ns(5500);
    BENCH_LOAD(saving, pit_serialize(pit, s), ok);
    ck_assert(ok);
    irq0 = (struct wire){.level = true, .rises = 6};
    at_pulse(9500);
    ck_assert_uint_eq(irq0.rises, rises);
    state_destroy(saving);
}
END_TEST

START_TEST(a_hostile_snapshot_does_no_harm)
{
    struct state *saving;

    program(0, 3, 1001);
    program(2, 5, 77);
    at_pulse(100);
    BENCH_SAVE(saving, pit_serialize(pit, s));
    BENCH_LOAD_DISTORTED(saving, pit_serialize(pit, s), {
        bench_run(&bench, 20000);
        read_count(round % 3);
        out8(&bench, 0x61, round);
    });
    state_destroy(saving);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("pit");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, mode_0_raises_out_when_the_count_ends);
    tcase_add_test(tc, mode_0_stops_while_the_gate_is_low);
    tcase_add_test(tc, mode_0_stops_at_the_first_byte_of_a_new_count);
    tcase_add_test(tc, mode_0_counts_on_through_zero);
    tcase_add_test(tc, mode_1_is_a_one_shot_that_the_gate_triggers);
    tcase_add_test(tc, mode_1_can_be_triggered_again);
    tcase_add_test(tc, mode_2_is_low_for_the_last_pulse_of_each_period);
    tcase_add_test(tc, mode_2_takes_a_new_count_at_the_end_of_the_period);
    tcase_add_test(tc, mode_2_starts_over_when_the_gate_rises);
    tcase_add_test(tc, mode_3_divides_an_even_count_evenly);
    tcase_add_test(tc, mode_3_is_high_one_pulse_longer_for_an_odd_count);
    tcase_add_test(tc, mode_3_counts_by_two);
    tcase_add_test(tc, mode_4_strobes_once_when_the_count_ends);
    tcase_add_test(tc, mode_5_strobes_after_the_gate_has_triggered_it);
    tcase_add_test(tc, modes_6_and_7_are_2_and_3);
    tcase_add_test(tc, a_count_of_zero_is_65536);
    tcase_add_test(tc, bcd_counts_in_decimal);
    tcase_add_test(tc, a_latched_count_holds_until_both_bytes_are_read);
    tcase_add_test(tc, read_back_latches_status_and_count_of_several_channels);
    tcase_add_test(tc, the_null_count_bit_says_that_a_count_has_not_been_loaded);
    tcase_add_test(tc, single_byte_access_modes_leave_the_other_byte_zero);
    tcase_add_test(tc, irq_0_comes_at_exactly_the_programmed_rate_for_a_whole_day);
    tcase_add_test(tc, irq_0_rises_in_the_nanosecond_of_its_pulse);
    tcase_add_test(tc, irq_0_follows_a_square_wave);
    tcase_add_test(tc, irq_0_comes_once_in_mode_0);
    tcase_add_test(tc, the_shortest_period_does_not_stop_time);
    tcase_add_test(tc, a_disconnected_irq_0_stays_low);
    tcase_add_test(tc, linux_can_measure_fifty_milliseconds_with_channel_2);
    tcase_add_test(tc, unlatched_reads_alternate_between_the_bytes);
    tcase_add_test(tc, the_refresh_bit_of_port_61_toggles_every_15_microseconds);
    tcase_add_test(tc, port_61_keeps_its_four_low_bits);
    tcase_add_test(tc, the_speaker_sounds_with_gate_and_data_on);
    tcase_add_test(tc, a_late_fire_loses_ticks_but_never_the_edge);
    tcase_add_test(tc, a_saved_timer_goes_on_in_phase);
    tcase_add_test(tc, a_hostile_snapshot_does_no_harm);
    return run_suite("pit", tc);
}
