#include "tests/unit/devices/lapic_bench.h"
#include "tests/unit/run_suite.h"

/* --- Reset state, identification --- */

START_TEST(after_reset_registers_are_as_in_the_manual)
{
    ck_assert_uint_eq(rdmsr(MSR_IA32_APIC_BASE), 0xfee00900);
    ck_assert_uint_eq(get(VERSION), 0x01050014);
    ck_assert_uint_eq(get(SVR), 0xff);
    ck_assert_uint_eq(get(DFR), 0xffffffff);
    ck_assert_uint_eq(get(LDR), 0);
    ck_assert_uint_eq(get(TPR), 0);
    ck_assert_uint_eq(get(LVTT), 0x10000);
    ck_assert_uint_eq(get(LVT1), 0x10000);
    ck_assert_uint_eq(get(LVTERR), 0x10000);
    ck_assert_uint_eq(get_of(2, ID), 0x02000000);
    ck_assert_uint_eq(lapic_base(cpus[2].lapic), 0xfee00000);
}
END_TEST

/* --- LINT0, virtual wire mode --- */

START_TEST(after_reset_the_pic_reaches_the_boot_processor)
{
    lapic_set_lint(l, 0, true);
    ck_assert(cpus[0].intr.level);
    ck_assert_int_eq(lapic_acknowledge(l), LAPIC_ACK_EXTINT);
    lapic_set_lint(l, 0, false);
    ck_assert(!cpus[0].intr.level);
}
END_TEST

START_TEST(after_reset_the_pic_does_not_reach_other_processors)
{
    lapic_set_lint(cpus[1].lapic, 0, true);
    ck_assert(!cpus[1].intr.level);
}
END_TEST

START_TEST(extint_goes_through_lint0_when_it_is_open)
{
    put(SVR, 0x1ff);
    put(LVT0, 0x10700);
    lapic_set_lint(l, 0, true);
    ck_assert(!cpus[0].intr.level);
    put(LVT0, 0x8700);
    ck_assert(cpus[0].intr.level);
    put(TPR, 0xff); /* ExtINT has no priority */
    ck_assert(cpus[0].intr.level);
    put(LVT0, 0x10700);
    ck_assert(!cpus[0].intr.level);
}
END_TEST

START_TEST(globally_disabled_intr_passes_straight_through)
{
    put(SVR, 0x1ff);
    put(LVT0, 0x10700);
    ck_assert(wrmsr(MSR_IA32_APIC_BASE, 0xfee00100));
    lapic_set_lint(l, 0, true);
    ck_assert(cpus[0].intr.level);
    ck_assert_int_eq(lapic_acknowledge(l), LAPIC_ACK_EXTINT);
    lapic_set_lint(l, 1, true);
    ck_assert_uint_eq(cpus[0].nmi_count, 1);
}
END_TEST

START_TEST(lint0_can_be_a_fixed_edge_interrupt)
{
    put(SVR, 0x1ff);
    put(LVT0, 0x31);
    lapic_set_lint(l, 0, true);
    ck_assert_int_eq(lapic_acknowledge(l), 0x31);
    put(EOI, 0);
    ck_assert(!cpus[0].intr.level);
    lapic_set_lint(l, 0, false);
    lapic_set_lint(l, 0, true);
    ck_assert(cpus[0].intr.level);
}
END_TEST

START_TEST(a_fixed_level_on_lint0_comes_again_until_it_drops)
{
    put(SVR, 0x1ff);
    put(LVT0, 0x8031);
    lapic_set_lint(l, 0, true);
    ck_assert_uint_eq(get(LVT0), 0xc031);
    ck_assert_int_eq(lapic_acknowledge(l), 0x31);
    put(EOI, 0);
    ck_assert(cpus[0].intr.level);
    ck_assert_int_eq(lapic_acknowledge(l), 0x31);
    lapic_set_lint(l, 0, false);
    put(EOI, 0);
    ck_assert(!cpus[0].intr.level);
    ck_assert_uint_eq(get(LVT0), 0x8031);
}
END_TEST

START_TEST(lint1_delivers_nmi_on_its_edge)
{
    put(SVR, 0x1ff);
    put(LVT1, 0x400);
    lapic_set_lint(l, 1, true);
    lapic_set_lint(l, 1, true);
    ck_assert_uint_eq(cpus[0].nmi_count, 1);
    put(LVT1, 0x10400);
    lapic_set_lint(l, 1, false);
    lapic_set_lint(l, 1, true);
    ck_assert_uint_eq(cpus[0].nmi_count, 1);
}
END_TEST

START_TEST(an_extint_message_is_acknowledged_once)
{
    struct apic_message message = {.delivery_mode = APIC_DELIVERY_EXTINT, .assert = true};

    put(SVR, 0x1ff);
    lapic_deliver(l, &message);
    ck_assert(cpus[0].intr.level);
    ck_assert_int_eq(lapic_acknowledge(l), LAPIC_ACK_EXTINT);
    ck_assert(!cpus[0].intr.level);
}
END_TEST

/* --- Priorities --- */

START_TEST(an_interrupt_is_requested_served_and_ended)
{
    put(SVR, 0x1ff);
    fixed(0x51, false);
    ck_assert(cpus[0].intr.level);
    ck_assert_uint_eq(get(IRR + 0x20), 0x00020000);
    ck_assert_int_eq(lapic_acknowledge(l), 0x51);
    ck_assert_uint_eq(get(IRR + 0x20), 0);
    ck_assert_uint_eq(get(ISR + 0x20), 0x00020000);
    ck_assert_uint_eq(get(PPR), 0x50);
    put(EOI, 0);
    ck_assert_uint_eq(get(ISR + 0x20), 0);
    ck_assert_uint_eq(get(PPR), 0);
    ck_assert_uint_eq(cpus[0].eoi_count, 0);
}
END_TEST

START_TEST(only_a_higher_class_interrupts_a_service)
{
    put(SVR, 0x1ff);
    fixed(0x51, false);
    lapic_acknowledge(l);
    fixed(0x5f, false);
    ck_assert(!cpus[0].intr.level);
    fixed(0x61, false);
    ck_assert(cpus[0].intr.level);
    ck_assert_int_eq(lapic_acknowledge(l), 0x61);
    put(EOI, 0);
    ck_assert(!cpus[0].intr.level);
    put(EOI, 0);
    ck_assert_int_eq(lapic_acknowledge(l), 0x5f);
}
END_TEST

START_TEST(the_task_priority_holds_its_class_and_below_back)
{
    put(SVR, 0x1ff);
    put(TPR, 0x50);
    fixed(0x5f, false);
    ck_assert(!cpus[0].intr.level);
    ck_assert_uint_eq(get(PPR), 0x50);
    lapic_set_tpr(l, 0x4f);
    ck_assert(cpus[0].intr.level);
    ck_assert_uint_eq(lapic_tpr(l), 0x4f);
}
END_TEST

START_TEST(an_interrupt_masked_after_it_was_announced_is_none)
{
    put(SVR, 0x1ef);
    fixed(0x51, false);
    put(TPR, 0xf0);
    ck_assert(!cpus[0].intr.level);
    ck_assert_int_eq(lapic_acknowledge(l), LAPIC_ACK_NONE);
    ck_assert_uint_eq(get(ISR + 0x20), 0);
    put(TPR, 0);
    ck_assert_int_eq(lapic_acknowledge(l), 0x51);
}
END_TEST

START_TEST(the_end_of_a_level_interrupt_is_broadcast)
{
    put(SVR, 0x1ff);
    fixed(0x51, true);
    ck_assert_uint_eq(get(TMR + 0x20), 0x00020000);
    lapic_acknowledge(l);
    put(EOI, 0);
    ck_assert_uint_eq(cpus[0].eoi_count, 1);
    ck_assert_uint_eq(cpus[0].eoi_vector, 0x51);
    fixed(0x51, false);
    ck_assert_uint_eq(get(TMR + 0x20), 0);
}
END_TEST

START_TEST(the_broadcast_can_be_suppressed)
{
    put(SVR, 0x11ff);
    fixed(0x51, true);
    lapic_acknowledge(l);
    put(EOI, 0);
    ck_assert_uint_eq(cpus[0].eoi_count, 0);
}
END_TEST

START_TEST(an_eoi_without_service_does_nothing)
{
    put(SVR, 0x1ff);
    put(EOI, 0);
    ck_assert_uint_eq(cpus[0].eoi_count, 0);
}
END_TEST

/* --- Software disable --- */

START_TEST(software_disabled_it_takes_no_fixed_interrupts)
{
    fixed(0x51, false);
    put(SVR, 0x1ff);
    ck_assert(!cpus[0].intr.level);
}
END_TEST

START_TEST(software_disable_masks_the_local_vectors_and_keeps_them_masked)
{
    put(SVR, 0x1ff);
    put(LVTT, 0x31);
    put(SVR, 0xff);
    ck_assert_uint_eq(get(LVTT), 0x10031);
    put(LVTT, 0x32);
    ck_assert_uint_eq(get(LVTT), 0x10032);
}
END_TEST

START_TEST(software_disabled_it_still_takes_nmi_and_init)
{
    struct apic_message nmi = {.delivery_mode = APIC_DELIVERY_NMI, .assert = true};
    struct apic_message init = {.delivery_mode = APIC_DELIVERY_INIT, .assert = true};

    lapic_deliver(l, &nmi);
    lapic_deliver(l, &init);
    ck_assert_uint_eq(cpus[0].nmi_count, 1);
    ck_assert_uint_eq(cpus[0].init_count, 1);
}
END_TEST

/* --- Errors --- */

START_TEST(an_illegal_vector_received_is_an_error)
{
    put(SVR, 0x1ff);
    put(LVTERR, 0xfe);
    fixed(0x0f, false);
    ck_assert_int_eq(lapic_acknowledge(l), 0xfe);
    ck_assert_uint_eq(get(ESR), 0);
    put(ESR, 0);
    ck_assert_uint_eq(get(ESR), 0x40);
    put(ESR, 0);
    ck_assert_uint_eq(get(ESR), 0);
}
END_TEST

START_TEST(an_illegal_vector_sent_is_an_error)
{
    enable_all();
    put(ICR, 0x40005);
    put(ESR, 0);
    ck_assert_uint_eq(get(ESR), 0x20);
}
END_TEST

START_TEST(a_reserved_offset_is_an_error)
{
    put(SVR, 0x1ff);
    ck_assert_uint_eq(get(0x2f0), 0);
    put(ESR, 0);
    ck_assert_uint_eq(get(ESR), 0x80);
}
END_TEST

START_TEST(an_illegal_error_vector_does_not_loop)
{
    put(SVR, 0x1ff);
    put(LVTERR, 0x01);
    fixed(0x02, false);
    ck_assert(!cpus[0].intr.level);
}
END_TEST

/* --- Interprocessor interrupts --- */

START_TEST(an_ipi_reaches_the_physical_destination)
{
    enable_all();
    put(ICR2, 0x02000000);
    put(ICR, 0x61);
    ck_assert(!cpus[0].intr.level);
    ck_assert(!cpus[1].intr.level);
    ck_assert_int_eq(lapic_acknowledge(cpus[2].lapic), 0x61);
    ck_assert_uint_eq(get(ICR2), 0x02000000);
    ck_assert_uint_eq(get(ICR), 0x61);
}
END_TEST

START_TEST(shorthands_name_self_all_and_others)
{
    enable_all();
    put(ICR, 0x40061);
    ck_assert(cpus[0].intr.level && !cpus[1].intr.level && !cpus[2].intr.level);
    ck_assert_int_eq(lapic_acknowledge(l), 0x61);
    put(EOI, 0);
    put(ICR, 0xc0062);
    ck_assert(!cpus[0].intr.level && cpus[1].intr.level && cpus[2].intr.level);
    put(ICR, 0x80063);
    ck_assert(cpus[0].intr.level);
}
END_TEST

START_TEST(a_destination_of_ffh_is_everybody)
{
    enable_all();
    put(ICR2, 0xff000000);
    put(ICR, 0x61);
    ck_assert(cpus[0].intr.level && cpus[1].intr.level && cpus[2].intr.level);
}
END_TEST

START_TEST(logical_flat_destinations_are_masks)
{
    enable_all();
    for (unsigned i = 0; i < BENCH_CPUS; i++)
        put_of(i, LDR, 1u << (24 + i));
    put(ICR2, 0x06000000);
    put(ICR, 0x861);
    ck_assert(!cpus[0].intr.level && cpus[1].intr.level && cpus[2].intr.level);
}
END_TEST

START_TEST(logical_cluster_destinations_are_cluster_and_mask)
{
    struct apic_message message = {.logical = true, .assert = true};

    for (unsigned i = 0; i < BENCH_CPUS; i++)
        put_of(i, DFR, 0x0fffffff);
    put_of(0, LDR, 0x11000000);
    put_of(1, LDR, 0x12000000);
    put_of(2, LDR, 0x21000000);
    message.destination = 0x13;
    ck_assert(lapic_accepts(cpus[0].lapic, &message));
    ck_assert(lapic_accepts(cpus[1].lapic, &message));
    ck_assert(!lapic_accepts(cpus[2].lapic, &message));
    message.destination = 0xff;
    ck_assert(lapic_accepts(cpus[2].lapic, &message));
}
END_TEST

START_TEST(init_and_startup_start_another_processor)
{
    put_of(1, SVR, 0x1ff);
    put(ICR2, 0x01000000);
    put(ICR, 0x0000c500); /* INIT, level assert */
    ck_assert_uint_eq(cpus[1].init_count, 1);
    ck_assert_uint_eq(get_of(1, SVR), 0xff);
    put(ICR, 0x00008500); /* INIT level de-assert */
    ck_assert_uint_eq(cpus[1].init_count, 1);
    put(ICR, 0x00000699);
    ck_assert_uint_eq(cpus[1].startup_count, 1);
    ck_assert_uint_eq(cpus[1].startup_vector, 0x99);
    ck_assert_uint_eq(cpus[0].init_count + cpus[2].init_count, 0);
}
END_TEST

START_TEST(nmi_and_smi_are_sent_too)
{
    put(ICR2, 0x01000000);
    put(ICR, 0x400);
    put(ICR, 0x200);
    ck_assert_uint_eq(cpus[1].nmi_count, 1);
    ck_assert_uint_eq(cpus[1].smi_count, 1);
}
END_TEST

START_TEST(a_disabled_local_apic_accepts_nothing)
{
    struct apic_message message = {.destination = APIC_DESTINATION_ALL, .assert = true};

    ck_assert(lapic_accepts(l, &message));
    ck_assert(wrmsr(MSR_IA32_APIC_BASE, 0xfee00100));
    ck_assert(!lapic_accepts(l, &message));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("lapic");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, after_reset_registers_are_as_in_the_manual);
    tcase_add_test(tc, after_reset_the_pic_reaches_the_boot_processor);
    tcase_add_test(tc, after_reset_the_pic_does_not_reach_other_processors);
    tcase_add_test(tc, extint_goes_through_lint0_when_it_is_open);
    tcase_add_test(tc, globally_disabled_intr_passes_straight_through);
    tcase_add_test(tc, lint0_can_be_a_fixed_edge_interrupt);
    tcase_add_test(tc, a_fixed_level_on_lint0_comes_again_until_it_drops);
    tcase_add_test(tc, lint1_delivers_nmi_on_its_edge);
    tcase_add_test(tc, an_extint_message_is_acknowledged_once);
    tcase_add_test(tc, an_interrupt_is_requested_served_and_ended);
    tcase_add_test(tc, only_a_higher_class_interrupts_a_service);
    tcase_add_test(tc, the_task_priority_holds_its_class_and_below_back);
    tcase_add_test(tc, an_interrupt_masked_after_it_was_announced_is_none);
    tcase_add_test(tc, the_end_of_a_level_interrupt_is_broadcast);
    tcase_add_test(tc, the_broadcast_can_be_suppressed);
    tcase_add_test(tc, an_eoi_without_service_does_nothing);
    tcase_add_test(tc, software_disabled_it_takes_no_fixed_interrupts);
    tcase_add_test(tc, software_disable_masks_the_local_vectors_and_keeps_them_masked);
    tcase_add_test(tc, software_disabled_it_still_takes_nmi_and_init);
    tcase_add_test(tc, an_illegal_vector_received_is_an_error);
    tcase_add_test(tc, an_illegal_vector_sent_is_an_error);
    tcase_add_test(tc, a_reserved_offset_is_an_error);
    tcase_add_test(tc, an_illegal_error_vector_does_not_loop);
    tcase_add_test(tc, an_ipi_reaches_the_physical_destination);
    tcase_add_test(tc, shorthands_name_self_all_and_others);
    tcase_add_test(tc, a_destination_of_ffh_is_everybody);
    tcase_add_test(tc, logical_flat_destinations_are_masks);
    tcase_add_test(tc, logical_cluster_destinations_are_cluster_and_mask);
    tcase_add_test(tc, init_and_startup_start_another_processor);
    tcase_add_test(tc, nmi_and_smi_are_sent_too);
    tcase_add_test(tc, a_disabled_local_apic_accepts_nothing);
    return run_suite("lapic", tc);
}
