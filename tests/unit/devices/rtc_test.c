#include "devices/rtc.h"

#include "tests/unit/devices/irqchip_bench.h"
#include "tests/unit/run_suite.h"

#include <string.h>

#define EPOCH_2024 1709164799 /* 2024-02-28 23:59:59 UTC, a Wednesday */
#define EPOCH_2000 946684799  /* 1999-12-31 23:59:59 UTC, a Friday */

static struct bench bench;
static struct wire irq8;
static struct rtc *rtc;

static void create(int64_t start)
{
    bench_init(&bench);
    memset(&irq8, 0, sizeof(irq8));
    rtc = rtc_create(bench.bus, &bench.log, &bench.clock, start, wire_line(&irq8), NULL);
    ck_assert_ptr_nonnull(rtc);
}

static void setup(void)
{
    create(EPOCH_2024);
}

static void teardown(void)
{
    rtc_destroy(rtc);
    bench_done(&bench);
}

static uint8_t get(uint8_t index)
{
    out8(&bench, 0x70, index);
    return in8(&bench, 0x71);
}

static void put(uint8_t index, uint8_t value)
{
    out8(&bench, 0x70, index);
    out8(&bench, 0x71, value);
}

static void seconds(unsigned n)
{
    bench_run(&bench, n * NS_PER_SECOND);
}

/* "century year-month-day weekday hour:minute:second" in the registers' own digits. */
static const char *now(void)
{
    static char text[40];

    snprintf(text, sizeof(text), "%02x%02x-%02x-%02x %x %02x:%02x:%02x", get(RTC_CENTURY),
             get(RTC_YEAR), get(RTC_MONTH), get(RTC_DAY_OF_MONTH), get(RTC_DAY_OF_WEEK),
             get(RTC_HOURS), get(RTC_MINUTES), get(RTC_SECONDS));
    return text;
}

START_TEST(it_starts_at_the_given_second_in_bcd_and_24_hours)
{
    ck_assert_str_eq(now(), "2024-02-28 4 23:59:59");
    ck_assert_uint_eq(get(RTC_REGISTER_A), 0x26);
    ck_assert_uint_eq(get(RTC_REGISTER_B), 0x02);
    ck_assert_uint_eq(get(RTC_REGISTER_D), 0x80);
}
END_TEST

START_TEST(seconds_carry_into_a_leap_day)
{
    seconds(1);
    ck_assert_str_eq(now(), "2024-02-29 5 00:00:00");
    seconds(86400);
    ck_assert_str_eq(now(), "2024-03-01 6 00:00:00");
}
END_TEST

START_TEST(the_century_turns)
{
    teardown();
    create(EPOCH_2000);
    ck_assert_str_eq(now(), "1999-12-31 6 23:59:59");
    seconds(1);
    ck_assert_str_eq(now(), "2000-01-01 7 00:00:00");
}
END_TEST

START_TEST(a_jump_of_a_century_keeps_the_calendar)
{
    bench_run_to(&bench, (36524ull * 86400 + 1) * NS_PER_SECOND);
    ck_assert_str_eq(now(), "2124-02-29 3 00:00:00"); /* 2100 is no leap year */
}
END_TEST

START_TEST(extreme_start_times_stay_in_the_calendar)
{
    teardown();
    create(INT64_MAX);
    ck_assert_uint_eq(get(RTC_CENTURY), 0x99);
    ck_assert_uint_eq(get(RTC_MONTH), 0x12);
    ck_assert_uint_eq(get(RTC_DAY_OF_MONTH), 0x31);
    teardown();
    create(INT64_MIN);
    ck_assert_uint_eq(get(RTC_CENTURY), 0x19);
    ck_assert_uint_eq(get(RTC_YEAR), 0x70);
}
END_TEST

START_TEST(binary_mode_counts_in_binary)
{
    put(RTC_REGISTER_B, 0x86);
    put(RTC_SECONDS, 59);
    put(RTC_MINUTES, 29);
    put(RTC_HOURS, 10);
    put(RTC_REGISTER_B, 0x06);
    seconds(1);
    ck_assert_uint_eq(get(RTC_SECONDS), 0);
    ck_assert_uint_eq(get(RTC_MINUTES), 30);
    ck_assert_uint_eq(get(RTC_HOURS), 10);
}
END_TEST

START_TEST(twelve_hour_mode_goes_from_11_am_to_12_pm_to_1_pm)
{
    put(RTC_REGISTER_B, 0x80);
    put(RTC_SECONDS, 0x59);
    put(RTC_MINUTES, 0x59);
    put(RTC_HOURS, 0x11);
    put(RTC_REGISTER_B, 0x00);
    seconds(1);
    ck_assert_uint_eq(get(RTC_HOURS), 0x92);
    seconds(3600);
    ck_assert_uint_eq(get(RTC_HOURS), 0x81);
    seconds(11 * 3600);
    ck_assert_uint_eq(get(RTC_HOURS), 0x12);
}
END_TEST

START_TEST(set_holds_the_time_and_keeps_the_phase)
{
    bench_run(&bench, 300000000);
    put(RTC_REGISTER_B, 0x82);
    seconds(10);
    ck_assert_uint_eq(get(RTC_SECONDS), 0x59);
    put(RTC_SECONDS, 0x10);
    put(RTC_REGISTER_B, 0x02);
    bench_run(&bench, 699999999);
    ck_assert_uint_eq(get(RTC_SECONDS), 0x10);
    bench_run(&bench, 1);
    ck_assert_uint_eq(get(RTC_SECONDS), 0x11);
}
END_TEST

START_TEST(set_clears_the_update_interrupt_enable)
{
    put(RTC_REGISTER_B, 0x12);
    put(RTC_REGISTER_B, 0x92);
    ck_assert_uint_eq(get(RTC_REGISTER_B), 0x82);
}
END_TEST

START_TEST(the_first_update_comes_half_a_second_after_divider_reset)
{
    bench_run(&bench, 100000000);
    put(RTC_REGISTER_A, 0x76);
    seconds(5);
    ck_assert_uint_eq(get(RTC_SECONDS), 0x59);
    put(RTC_REGISTER_A, 0x26);
    bench_run(&bench, 499999999);
    ck_assert_uint_eq(get(RTC_SECONDS), 0x59);
    bench_run(&bench, 1);
    ck_assert_uint_eq(get(RTC_SECONDS), 0x00);
}
END_TEST

START_TEST(uip_announces_an_update_for_2228_microseconds)
{
    bench_run_to(&bench, NS_PER_SECOND - 2228001);
    ck_assert_uint_eq(get(RTC_REGISTER_A) & 0x80, 0);
    bench_run(&bench, 1);
    ck_assert_uint_eq(get(RTC_REGISTER_A) & 0x80, 0x80);
    bench_run_to(&bench, NS_PER_SECOND - 1);
    ck_assert_uint_eq(get(RTC_REGISTER_A) & 0x80, 0x80);
    bench_run(&bench, 1);
    ck_assert_uint_eq(get(RTC_REGISTER_A) & 0x80, 0);
}
END_TEST

START_TEST(uip_is_clear_while_set)
{
    put(RTC_REGISTER_B, 0x82);
    bench_run_to(&bench, NS_PER_SECOND - 1000);
    ck_assert_uint_eq(get(RTC_REGISTER_A) & 0x80, 0);
}
END_TEST

START_TEST(register_c_clears_when_read)
{
    seconds(1);
    ck_assert_uint_eq(get(RTC_REGISTER_C), 0x70); /* 1024 Hz, midnight's alarm, update */
    ck_assert_uint_eq(get(RTC_REGISTER_C), 0x00);
}
END_TEST

START_TEST(the_update_ended_interrupt_comes_on_the_second)
{
    get(RTC_REGISTER_C);
    put(RTC_REGISTER_B, 0x12);
    bench_run_to(&bench, NS_PER_SECOND - 1);
    ck_assert(!irq8.level);
    bench_run(&bench, 1);
    ck_assert(irq8.level);
    ck_assert_uint_eq(get(RTC_REGISTER_C) & 0x90, 0x90);
    ck_assert(!irq8.level);
    seconds(1);
    ck_assert(irq8.level);
    ck_assert_uint_eq(irq8.rises, 2);
}
END_TEST

START_TEST(the_line_stays_high_until_register_c_is_read)
{
    put(RTC_REGISTER_B, 0x12);
    seconds(5);
    ck_assert(irq8.level);
    ck_assert_uint_eq(irq8.rises, 1);
}
END_TEST

START_TEST(the_alarm_comes_at_its_time)
{
    put(RTC_HOURS_ALARM, 0x00);
    put(RTC_MINUTES_ALARM, 0x01);
    put(RTC_SECONDS_ALARM, 0x30);
    put(RTC_REGISTER_B, 0x22);
    seconds(90);
    ck_assert(!irq8.level);
    seconds(1);
    ck_assert(irq8.level);
    ck_assert_uint_eq(get(RTC_REGISTER_C) & 0xa0, 0xa0);
    seconds(86399);
    ck_assert(!irq8.level);
    seconds(1);
    ck_assert(irq8.level);
}
END_TEST

START_TEST(dont_care_alarm_bytes_match_always)
{
    put(RTC_HOURS_ALARM, 0xff);
    put(RTC_MINUTES_ALARM, 0xc0);
    put(RTC_SECONDS_ALARM, 0x05);
    put(RTC_REGISTER_B, 0x22);
    seconds(6);
    ck_assert(irq8.level);
    get(RTC_REGISTER_C);
    seconds(59);
    ck_assert(!irq8.level);
    seconds(1);
    ck_assert(irq8.level);
}
END_TEST

START_TEST(an_alarm_is_noticed_after_a_jump_over_it)
{
    put(RTC_HOURS_ALARM, 0x12);
    put(RTC_MINUTES_ALARM, 0x00);
    put(RTC_SECONDS_ALARM, 0x00);
    seconds(86400);
    ck_assert_uint_eq(get(RTC_REGISTER_C) & 0x20, 0x20);
}
END_TEST

/* Interrupts in one second, each acknowledged at once. */
static unsigned periodic_rate(uint8_t rate)
{
    uint64_t end;
    unsigned count = 0;

    put(RTC_REGISTER_A, 0x20 | rate);
    put(RTC_REGISTER_B, 0x42);
    get(RTC_REGISTER_C);
    end = clock_now(&bench.clock) + NS_PER_SECOND;
    while (bench.clock.next_deadline <= end) {
        bench_run_to(&bench, bench.clock.next_deadline);
        count += irq8.level;
        get(RTC_REGISTER_C);
    }
    bench_run_to(&bench, end);
    put(RTC_REGISTER_B, 0x02);
    return count;
}

START_TEST(periodic_rates_are_those_of_the_table)
{
    static const unsigned rates[16] = {0,   256, 128, 8192, 4096, 2048, 1024, 512,
                                       256, 128, 64,  32,   16,   8,    4,    2};

    for (unsigned i = 0; i < 16; i++)
        ck_assert_uint_eq(periodic_rate(i), rates[i]);
}
END_TEST

START_TEST(the_periodic_interrupt_does_not_drift)
{
    uint64_t deadline;

    put(RTC_REGISTER_A, 0x23);
    put(RTC_REGISTER_B, 0x42);
    bench_run_to(&bench, 1000 * NS_PER_SECOND - 1);
    get(RTC_REGISTER_C);
    deadline = bench.clock.next_deadline;
    ck_assert_uint_eq(deadline, 1000 * NS_PER_SECOND);
}
END_TEST

START_TEST(reset_keeps_the_time_and_drops_interrupts)
{
    put(RTC_REGISTER_B, 0x7a);
    seconds(1);
    ck_assert(irq8.level);
    rtc_reset(rtc);
    ck_assert(!irq8.level);
    ck_assert_uint_eq(get(RTC_REGISTER_B), 0x02);
    ck_assert_str_eq(now(), "2024-02-29 5 00:00:00");
    ck_assert_uint_eq(bench.clock.next_deadline, CLOCK_NEVER);
}
END_TEST

START_TEST(cmos_memory_holds_what_is_stored)
{
    rtc_set_cmos(rtc, 0x15, 0x80);
    rtc_set_cmos(rtc, 0x16, 0x02);
    ck_assert_uint_eq(get(0x15), 0x80);
    put(0x7f, 0x5a);
    ck_assert_uint_eq(get(0x7f), 0x5a);
}
END_TEST

START_TEST(ports_72_and_73_reach_the_upper_bank)
{
    rtc_set_cmos(rtc, 0x85, 0x11);
    out8(&bench, 0x72, 0x05);
    ck_assert_uint_eq(in8(&bench, 0x73), 0x11);
    out8(&bench, 0x73, 0x22);
    ck_assert_uint_eq(rtc->cmos[0x85], 0x22);
    ck_assert_uint_ne(get(0x05), 0x22);
}
END_TEST

START_TEST(bit_7_of_the_index_masks_nmi)
{
    out8(&bench, 0x70, 0x8f);
    ck_assert(rtc_nmi_masked(rtc));
    ck_assert_uint_eq(in8(&bench, 0x70), 0x8f);
    out8(&bench, 0x70, 0x0f);
    ck_assert(!rtc_nmi_masked(rtc));
}
END_TEST

START_TEST(registers_c_and_d_cannot_be_written)
{
    put(RTC_REGISTER_C, 0xff);
    put(RTC_REGISTER_D, 0x00);
    ck_assert_uint_eq(get(RTC_REGISTER_C), 0);
    ck_assert_uint_eq(get(RTC_REGISTER_D), 0x80);
}
END_TEST

START_TEST(a_disconnected_irq_8_stays_low)
{
    rtc_connect_irq8(rtc, false);
    put(RTC_REGISTER_B, 0x12);
    seconds(2);
    ck_assert(!irq8.level);
    rtc_connect_irq8(rtc, true);
    ck_assert(irq8.level);
}
END_TEST

START_TEST(a_saved_clock_goes_on)
{
    struct state *saving;
    bool ok;

    put(RTC_REGISTER_B, 0x12);
    bench_run(&bench, 500000000);
    BENCH_SAVE(saving, rtc_serialize(rtc, s));
    rtc_reset(rtc);
    put(RTC_MINUTES, 0);
    BENCH_LOAD(saving, rtc_serialize(rtc, s), ok);
    ck_assert(ok);
    bench_run(&bench, 500000000);
    ck_assert(irq8.level);
    ck_assert_str_eq(now(), "2024-02-29 5 00:00:00");
    state_destroy(saving);
}
END_TEST

START_TEST(a_hostile_snapshot_does_no_harm)
{
    struct state *saving;

    put(RTC_REGISTER_B, 0x72);
    BENCH_SAVE(saving, rtc_serialize(rtc, s));
    BENCH_LOAD_DISTORTED(saving, rtc_serialize(rtc, s), {
        bench_run(&bench, 10000000);
        now();
        get(RTC_REGISTER_C);
    });
    state_destroy(saving);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("rtc");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, it_starts_at_the_given_second_in_bcd_and_24_hours);
    tcase_add_test(tc, seconds_carry_into_a_leap_day);
    tcase_add_test(tc, the_century_turns);
    tcase_add_test(tc, a_jump_of_a_century_keeps_the_calendar);
    tcase_add_test(tc, extreme_start_times_stay_in_the_calendar);
    tcase_add_test(tc, binary_mode_counts_in_binary);
    tcase_add_test(tc, twelve_hour_mode_goes_from_11_am_to_12_pm_to_1_pm);
    tcase_add_test(tc, set_holds_the_time_and_keeps_the_phase);
    tcase_add_test(tc, set_clears_the_update_interrupt_enable);
    tcase_add_test(tc, the_first_update_comes_half_a_second_after_divider_reset);
    tcase_add_test(tc, uip_announces_an_update_for_2228_microseconds);
    tcase_add_test(tc, uip_is_clear_while_set);
    tcase_add_test(tc, register_c_clears_when_read);
    tcase_add_test(tc, the_update_ended_interrupt_comes_on_the_second);
    tcase_add_test(tc, the_line_stays_high_until_register_c_is_read);
    tcase_add_test(tc, the_alarm_comes_at_its_time);
    tcase_add_test(tc, dont_care_alarm_bytes_match_always);
    tcase_add_test(tc, an_alarm_is_noticed_after_a_jump_over_it);
    tcase_add_test(tc, periodic_rates_are_those_of_the_table);
    tcase_add_test(tc, the_periodic_interrupt_does_not_drift);
    tcase_add_test(tc, reset_keeps_the_time_and_drops_interrupts);
    tcase_add_test(tc, cmos_memory_holds_what_is_stored);
    tcase_add_test(tc, ports_72_and_73_reach_the_upper_bank);
    tcase_add_test(tc, bit_7_of_the_index_masks_nmi);
    tcase_add_test(tc, registers_c_and_d_cannot_be_written);
    tcase_add_test(tc, a_disconnected_irq_8_stays_low);
    tcase_add_test(tc, a_saved_clock_goes_on);
    tcase_add_test(tc, a_hostile_snapshot_does_no_harm);
    return run_suite("rtc", tc);
}
