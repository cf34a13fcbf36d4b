#include "devices/pic.h"

#include "tests/unit/devices/irqchip_bench.h"
#include "tests/unit/run_suite.h"

#include <string.h>

static struct bench bench;
static struct wire intr;
static struct pic *pic;

/* As a PC's firmware: vectors 20h and 28h, cascade on 2, 8086 mode. */
static void program(uint8_t master_icw4)
{
    out8(&bench, 0x20, 0x11);
    out8(&bench, 0x21, 0x20);
    out8(&bench, 0x21, 0x04);
    out8(&bench, 0x21, master_icw4);
    out8(&bench, 0xa0, 0x11);
    out8(&bench, 0xa1, 0x28);
    out8(&bench, 0xa1, 0x02);
    out8(&bench, 0xa1, 0x01);
}

static void setup(void)
{
    bench_init(&bench);
    memset(&intr, 0, sizeof(intr));
    pic = pic_create(bench.bus, &bench.log, wire_line(&intr), NULL);
    ck_assert_ptr_nonnull(pic);
    program(0x01);
}

static void teardown(void)
{
    pic_destroy(pic);
    bench_done(&bench);
}

START_TEST(an_edge_raises_intr_and_is_acknowledged_with_its_vector)
{
    pic_set_irq(pic, 3, true);
    ck_assert(intr.level);
    ck_assert_int_eq(pic_acknowledge(pic), 0x23);
    ck_assert(!intr.level);
    out8(&bench, 0x20, 0x0b);
    ck_assert_uint_eq(in8(&bench, 0x20), 0x08);
}
END_TEST

START_TEST(the_slave_comes_through_input_2)
{
    pic_set_irq(pic, 12, true);
    ck_assert(intr.level);
    ck_assert_int_eq(pic_acknowledge(pic), 0x2c);
    ck_assert_uint_eq(pic->chip[0].isr, 0x04);
    ck_assert_uint_eq(pic->chip[1].isr, 0x10);
}
END_TEST

START_TEST(a_second_slave_request_waits_for_both_eois)
{
    pic_set_irq(pic, 12, true);
    pic_set_irq(pic, 14, true);
    pic_acknowledge(pic);
    ck_assert(!intr.level);
    out8(&bench, 0xa0, 0x20);
    ck_assert(!intr.level);
    out8(&bench, 0x20, 0x20);
    ck_assert(intr.level);
    ck_assert_int_eq(pic_acknowledge(pic), 0x2e);
}
END_TEST

START_TEST(a_lower_priority_waits_for_the_end_of_a_higher_one)
{
    pic_set_irq(pic, 1, true);
    pic_acknowledge(pic);
    pic_set_irq(pic, 4, true);
    ck_assert(!intr.level);
    pic_set_irq(pic, 0, true);
    ck_assert(intr.level);
    ck_assert_int_eq(pic_acknowledge(pic), 0x20);
    out8(&bench, 0x20, 0x20);
    ck_assert(!intr.level);
    out8(&bench, 0x20, 0x20);
    ck_assert_int_eq(pic_acknowledge(pic), 0x24);
}
END_TEST

START_TEST(a_masked_request_waits_in_irr)
{
    out8(&bench, 0x21, 0x08);
    pic_set_irq(pic, 3, true);
    ck_assert(!intr.level);
    ck_assert_uint_eq(in8(&bench, 0x20), 0x08);
    out8(&bench, 0x21, 0x00);
    ck_assert(intr.level);
}
END_TEST

START_TEST(an_edge_counts_once_however_long_the_line_is_high)
{
    pic_set_irq(pic, 3, true);
    pic_acknowledge(pic);
    out8(&bench, 0x20, 0x20);
    pic_set_irq(pic, 3, true);
    ck_assert(!intr.level);
    pic_set_irq(pic, 3, false);
    pic_set_irq(pic, 3, true);
    ck_assert(intr.level);
}
END_TEST

START_TEST(a_level_input_requests_again_while_it_is_high)
{
    out8(&bench, 0x4d0, 0x08);
    pic_set_irq(pic, 3, true);
    pic_acknowledge(pic);
    out8(&bench, 0x20, 0x20);
    ck_assert(intr.level);
    pic_set_irq(pic, 3, false);
    ck_assert(!intr.level);
}
END_TEST

START_TEST(the_elcr_bits_of_timer_keyboard_cascade_clock_and_fpu_stay_edge)
{
    out8(&bench, 0x4d0, 0xff);
    out8(&bench, 0x4d1, 0xff);
    ck_assert_uint_eq(in8(&bench, 0x4d0), 0xf8);
    ck_assert_uint_eq(in8(&bench, 0x4d1), 0xde);
}
END_TEST

START_TEST(a_request_that_drops_becomes_a_spurious_irq_7)
{
    pic_set_irq(pic, 3, true);
    pic_set_irq(pic, 3, false);
    ck_assert(!intr.level);
    ck_assert_int_eq(pic_acknowledge(pic), 0x27);
    ck_assert_uint_eq(pic->chip[0].isr, 0);
}
END_TEST

START_TEST(a_slave_without_request_answers_a_spurious_irq_15)
{
    pic->chip[0].irr = 0x04; /* INT of the slave dropped between the two INTA pulses */
    ck_assert_int_eq(pic_acknowledge(pic), 0x2f);
    ck_assert_uint_eq(pic->chip[0].isr, 0x04);
    ck_assert_uint_eq(pic->chip[1].isr, 0);
}
END_TEST

START_TEST(a_specific_eoi_ends_the_named_level_only)
{
    pic_set_irq(pic, 5, true);
    pic_acknowledge(pic);
    pic_set_irq(pic, 1, true);
    pic_acknowledge(pic);
    out8(&bench, 0x20, 0x65);
    ck_assert_uint_eq(pic->chip[0].isr, 0x02);
}
END_TEST

START_TEST(rotate_on_eoi_gives_the_ended_level_the_lowest_priority)
{
    pic_set_irq(pic, 3, true);
    pic_acknowledge(pic);
    out8(&bench, 0x20, 0xa0);
    pic_set_irq(pic, 3, false);
    pic_set_irq(pic, 3, true);
    pic_set_irq(pic, 4, true);
    ck_assert_int_eq(pic_acknowledge(pic), 0x24);
}
END_TEST

START_TEST(rotate_on_specific_eoi_ends_and_rotates_the_named_level)
{
    pic_set_irq(pic, 3, true);
    pic_acknowledge(pic);
    out8(&bench, 0x20, 0xe3);
    ck_assert_uint_eq(pic->chip[0].isr, 0);
    ck_assert_uint_eq(pic->chip[0].lowest, 3);
}
END_TEST

START_TEST(set_priority_changes_the_order)
{
    out8(&bench, 0x20, 0xc4);
    pic_set_irq(pic, 1, true);
    pic_set_irq(pic, 5, true);
    ck_assert_int_eq(pic_acknowledge(pic), 0x25);
}
END_TEST

START_TEST(automatic_eoi_leaves_nothing_in_service)
{
    program(0x03);
    pic_set_irq(pic, 0, true);
    ck_assert_int_eq(pic_acknowledge(pic), 0x20);
    ck_assert_uint_eq(pic->chip[0].isr, 0);
    pic_set_irq(pic, 0, false);
    pic_set_irq(pic, 0, true);
    ck_assert(intr.level);
}
END_TEST

START_TEST(automatic_eoi_can_rotate)
{
    program(0x03);
    out8(&bench, 0x20, 0x80);
    pic_set_irq(pic, 3, true);
    pic_acknowledge(pic);
    ck_assert_uint_eq(pic->chip[0].lowest, 3);
    out8(&bench, 0x20, 0x00);
    pic_set_irq(pic, 4, true);
    pic_acknowledge(pic);
    ck_assert_uint_eq(pic->chip[0].lowest, 3);
}
END_TEST

START_TEST(special_mask_mode_lets_lower_levels_interrupt_a_masked_service)
{
    pic_set_irq(pic, 3, true);
    pic_acknowledge(pic);
    pic_set_irq(pic, 5, true);
    ck_assert(!intr.level);
    out8(&bench, 0x21, 0x08);
    ck_assert(!intr.level);
    out8(&bench, 0x20, 0x68);
    ck_assert(intr.level);
    ck_assert_int_eq(pic_acknowledge(pic), 0x25);
    out8(&bench, 0x20, 0x20); /* does not end the masked level */
    ck_assert_uint_eq(pic->chip[0].isr, 0x08);
    out8(&bench, 0x20, 0x48);
    ck_assert(!pic->chip[0].special_mask);
}
END_TEST

START_TEST(special_fully_nested_mode_lets_the_slave_interrupt_itself)
{
    program(0x11);
    pic_set_irq(pic, 12, true);
    pic_acknowledge(pic);
    pic_set_irq(pic, 9, true);
    ck_assert(intr.level);
    ck_assert_int_eq(pic_acknowledge(pic), 0x29);
    pic_set_irq(pic, 3, true);
    ck_assert(!intr.level);
}
END_TEST

START_TEST(without_special_fully_nested_mode_the_slave_waits)
{
    pic_set_irq(pic, 12, true);
    pic_acknowledge(pic);
    pic_set_irq(pic, 9, true);
    ck_assert(!intr.level);
}
END_TEST

START_TEST(a_poll_acknowledges_and_names_the_level)
{
    pic_set_irq(pic, 3, true);
    out8(&bench, 0x20, 0x0c);
    ck_assert_uint_eq(in8(&bench, 0x20), 0x83);
    ck_assert_uint_eq(pic->chip[0].isr, 0x08);
    ck_assert(!intr.level);
    out8(&bench, 0x20, 0x0c);
    ck_assert_uint_eq(in8(&bench, 0x20) & 0x80, 0);
    ck_assert_uint_eq(in8(&bench, 0x20), 0x00);
}
END_TEST

START_TEST(icw1_forgets_edges_masks_and_services)
{
    out8(&bench, 0x21, 0xfe);
    pic_set_irq(pic, 0, true);
    pic_acknowledge(pic);
    pic_set_irq(pic, 3, true);
    program(0x01);
    ck_assert_uint_eq(in8(&bench, 0x21), 0);
    ck_assert_uint_eq(in8(&bench, 0x20), 0);
    ck_assert_uint_eq(pic->chip[0].isr, 0);
    ck_assert(!intr.level);
}
END_TEST

START_TEST(nothing_interrupts_in_the_middle_of_initialisation)
{
    out8(&bench, 0x20, 0x11);
    pic_set_irq(pic, 0, true);
    ck_assert(!intr.level);
    out8(&bench, 0x21, 0x20);
    out8(&bench, 0x21, 0x04);
    out8(&bench, 0x21, 0x01);
    ck_assert(intr.level);
}
END_TEST

START_TEST(icw4_is_not_awaited_when_icw1_says_so)
{
    out8(&bench, 0x20, 0x10);
    out8(&bench, 0x21, 0x40);
    out8(&bench, 0x21, 0x04);
    out8(&bench, 0x21, 0xaa);
    ck_assert_uint_eq(in8(&bench, 0x21), 0xaa);
}
END_TEST

START_TEST(a_wire_on_the_cascade_input_is_ignored)
{
    pic_set_irq(pic, 2, true);
    ck_assert(!intr.level);
}
END_TEST

START_TEST(a_saved_pic_goes_on_after_loading)
{
    struct state *saving;
    bool ok;

    pic_set_irq(pic, 12, true);
    BENCH_SAVE(saving, pic_serialize(pic, s));
    pic_reset(pic);
    BENCH_LOAD(saving, pic_serialize(pic, s), ok);
    ck_assert(ok);
    ck_assert(pic_pending(pic));
    ck_assert_int_eq(pic_acknowledge(pic), 0x2c);
    state_destroy(saving);
}
END_TEST

START_TEST(a_hostile_snapshot_does_no_harm)
{
    struct state *saving;

    BENCH_SAVE(saving, pic_serialize(pic, s));
    BENCH_LOAD_DISTORTED(saving, pic_serialize(pic, s), {
        pic_set_irq(pic, round % 16, round & 1);
        pic_acknowledge(pic);
        out8(&bench, 0x20, round);
    });
    state_destroy(saving);
}
END_TEST

START_TEST(ports_in_use_are_an_error_and_leave_nothing_behind)
{
    struct error err = {0};

    ck_assert_ptr_null(pic_create(bench.bus, &bench.log, (struct irq_line){0}, &err));
    ck_assert(err.set);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("pic");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_edge_raises_intr_and_is_acknowledged_with_its_vector);
    tcase_add_test(tc, the_slave_comes_through_input_2);
    tcase_add_test(tc, a_second_slave_request_waits_for_both_eois);
    tcase_add_test(tc, a_lower_priority_waits_for_the_end_of_a_higher_one);
    tcase_add_test(tc, a_masked_request_waits_in_irr);
    tcase_add_test(tc, an_edge_counts_once_however_long_the_line_is_high);
    tcase_add_test(tc, a_level_input_requests_again_while_it_is_high);
    tcase_add_test(tc, the_elcr_bits_of_timer_keyboard_cascade_clock_and_fpu_stay_edge);
    tcase_add_test(tc, a_request_that_drops_becomes_a_spurious_irq_7);
    tcase_add_test(tc, a_slave_without_request_answers_a_spurious_irq_15);
    tcase_add_test(tc, a_specific_eoi_ends_the_named_level_only);
    tcase_add_test(tc, rotate_on_eoi_gives_the_ended_level_the_lowest_priority);
    tcase_add_test(tc, rotate_on_specific_eoi_ends_and_rotates_the_named_level);
    tcase_add_test(tc, set_priority_changes_the_order);
    tcase_add_test(tc, automatic_eoi_leaves_nothing_in_service);
    tcase_add_test(tc, automatic_eoi_can_rotate);
    tcase_add_test(tc, special_mask_mode_lets_lower_levels_interrupt_a_masked_service);
    tcase_add_test(tc, special_fully_nested_mode_lets_the_slave_interrupt_itself);
    tcase_add_test(tc, without_special_fully_nested_mode_the_slave_waits);
    tcase_add_test(tc, a_poll_acknowledges_and_names_the_level);
    tcase_add_test(tc, icw1_forgets_edges_masks_and_services);
    tcase_add_test(tc, nothing_interrupts_in_the_middle_of_initialisation);
    tcase_add_test(tc, icw4_is_not_awaited_when_icw1_says_so);
    tcase_add_test(tc, a_wire_on_the_cascade_input_is_ignored);
    tcase_add_test(tc, a_saved_pic_goes_on_after_loading);
    tcase_add_test(tc, a_hostile_snapshot_does_no_harm);
    tcase_add_test(tc, ports_in_use_are_an_error_and_leave_nothing_behind);
    return run_suite("pic", tc);
}
