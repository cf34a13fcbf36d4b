#include "devices/ioapic.h"

#include "tests/unit/devices/irqchip_bench.h"
#include "tests/unit/run_suite.h"

#include <string.h>

static struct bench bench;
static struct ioapic *ioapic;
static struct apic_message last;
static unsigned message_count;

static void deliver(void *opaque, const struct apic_message *message)
{
    (void)opaque;
    last = *message;
    message_count++;
}

static void setup(void)
{
    bench_init(&bench);
    message_count = 0;
    ioapic = ioapic_create(bench.bus, &bench.log, deliver, NULL, NULL);
    ck_assert_ptr_nonnull(ioapic);
}

static void teardown(void)
{
    ioapic_destroy(ioapic);
    bench_done(&bench);
}

static uint32_t get(uint8_t index)
{
    write32(&bench, IOAPIC_BASE, index);
    return read32(&bench, IOAPIC_BASE + 0x10);
}

static void put(uint8_t index, uint32_t value)
{
    write32(&bench, IOAPIC_BASE, index);
    write32(&bench, IOAPIC_BASE + 0x10, value);
}

static void put_rte(unsigned pin, uint64_t rte)
{
    put(0x11 + 2 * pin, rte >> 32);
    put(0x10 + 2 * pin, (uint32_t)rte);
}

START_TEST(the_version_register_shows_20h_and_24_entries)
{
    ck_assert_uint_eq(get(1), 0x00170020);
}
END_TEST

START_TEST(the_id_can_be_set)
{
    put(0, 0xff000000);
    ck_assert_uint_eq(get(0), 0x0f000000);
    ck_assert_uint_eq(get(2), 0x0f000000);
}
END_TEST

START_TEST(all_entries_are_masked_after_reset)
{
    for (unsigned pin = 0; pin < 24; pin++)
        ck_assert_uint_eq(get(0x10 + 2 * pin), 0x10000);
}
END_TEST

START_TEST(read_only_and_reserved_bits_of_an_entry_cannot_be_set)
{
    put_rte(5, 0xffffffffffff5000);
    ck_assert_uint_eq(get(0x1a), 0x00010000);
    ck_assert_uint_eq(get(0x1b), 0xff000000);
}
END_TEST

START_TEST(an_edge_sends_the_message_of_the_entry)
{
    put_rte(4, 0x0300000000000931);
    ioapic_set_irq(ioapic, 4, true);
    ck_assert_uint_eq(message_count, 1);
    ck_assert_uint_eq(last.vector, 0x31);
    ck_assert_uint_eq(last.delivery_mode, APIC_DELIVERY_LOWEST);
    ck_assert(last.logical);
    ck_assert(!last.level_triggered);
    ck_assert(last.assert);
    ck_assert_uint_eq(last.destination, 3);
    ioapic_set_irq(ioapic, 4, true);
    ck_assert_uint_eq(message_count, 1);
    ioapic_set_irq(ioapic, 4, false);
    ioapic_set_irq(ioapic, 4, true);
    ck_assert_uint_eq(message_count, 2);
}
END_TEST

START_TEST(a_physical_destination_of_ffh_is_a_broadcast)
{
    put_rte(4, 0xff00000000000031);
    ioapic_set_irq(ioapic, 4, true);
    ck_assert_uint_eq(last.destination, APIC_DESTINATION_ALL);
}
END_TEST

START_TEST(an_edge_on_a_masked_pin_is_lost)
{
    put_rte(2, 0x10030);
    ioapic_set_irq(ioapic, 2, true);
    put_rte(2, 0x30);
    ck_assert_uint_eq(message_count, 0);
}
END_TEST

START_TEST(a_level_pin_waits_for_eoi)
{
    put_rte(10, 0x8040);
    ioapic_set_irq(ioapic, 10, true);
    ck_assert_uint_eq(message_count, 1);
    ck_assert(last.level_triggered);
    ck_assert_uint_eq(get(0x24) & 0x4000, 0x4000);
    ioapic_set_irq(ioapic, 10, false);
    ioapic_set_irq(ioapic, 10, true);
    ck_assert_uint_eq(message_count, 1);
    ioapic_eoi(ioapic, 0x41);
    ck_assert_uint_eq(message_count, 1);
    ioapic_eoi(ioapic, 0x40);
    ck_assert_uint_eq(message_count, 2);
    ioapic_set_irq(ioapic, 10, false);
    ioapic_eoi(ioapic, 0x40);
    ck_assert_uint_eq(message_count, 2);
    ck_assert_uint_eq(get(0x24) & 0x4000, 0);
}
END_TEST

START_TEST(a_high_level_is_sent_when_it_is_unmasked)
{
    put_rte(10, 0x18040);
    ioapic_set_irq(ioapic, 10, true);
    ck_assert_uint_eq(message_count, 0);
    put(0x24, 0x8040);
    ck_assert_uint_eq(message_count, 1);
}
END_TEST

START_TEST(the_eoi_register_ends_a_masked_interrupt_too)
{
    put_rte(10, 0x8040);
    ioapic_set_irq(ioapic, 10, true);
    put(0x24, 0x18040);
    ck_assert_uint_eq(get(0x24), 0x1c040);
    write32(&bench, IOAPIC_BASE + 0x40, 0x40);
    ck_assert_uint_eq(get(0x24), 0x18040);
    ck_assert_uint_eq(message_count, 1);
}
END_TEST

START_TEST(switching_to_edge_clears_remote_irr)
{
    put_rte(10, 0x8040);
    ioapic_set_irq(ioapic, 10, true);
    put(0x24, 0x10040);
    put(0x24, 0x18040);
    ck_assert_uint_eq(get(0x24), 0x18040);
}
END_TEST

START_TEST(nmi_is_sent_as_an_edge_whatever_the_trigger_mode)
{
    put_rte(3, 0x8400);
    ioapic_set_irq(ioapic, 3, true);
    ck_assert_uint_eq(message_count, 1);
    ck_assert_uint_eq(last.delivery_mode, APIC_DELIVERY_NMI);
    ck_assert(!last.level_triggered);
    ck_assert_uint_eq(get(0x16) & 0x4000, 0);
}
END_TEST

START_TEST(the_index_register_takes_a_byte)
{
    bus_mmio_write(bench.bus, gpa(IOAPIC_BASE), 1, 1);
    ck_assert_uint_eq(read32(&bench, IOAPIC_BASE + 0x10), 0x00170020);
    ck_assert_uint_eq(bus_mmio_read(bench.bus, gpa(IOAPIC_BASE), 1), 1);
}
END_TEST

START_TEST(a_saved_io_apic_goes_on)
{
    struct state *saving;
    bool ok;

    put_rte(10, 0x0700000000008040);
    ioapic_set_irq(ioapic, 10, true);
    BENCH_SAVE(saving, ioapic_serialize(ioapic, s));
    ioapic_reset(ioapic);
    ioapic_set_irq(ioapic, 10, false);
    BENCH_LOAD(saving, ioapic_serialize(ioapic, s), ok);
    ck_assert(ok);
    ck_assert_uint_eq(message_count, 1);
    ioapic_eoi(ioapic, 0x40);
    ck_assert_uint_eq(message_count, 2);
    ck_assert_uint_eq(last.destination, 7);
    state_destroy(saving);
}
END_TEST

START_TEST(a_hostile_snapshot_does_no_harm)
{
    struct state *saving;

    put_rte(10, 0x0700000000008040);
    BENCH_SAVE(saving, ioapic_serialize(ioapic, s));
    BENCH_LOAD_DISTORTED(saving, ioapic_serialize(ioapic, s), {
        ioapic_set_irq(ioapic, round % 24, round & 1);
        ioapic_eoi(ioapic, round);
        read32(&bench, IOAPIC_BASE + 0x10);
    });
    state_destroy(saving);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("ioapic");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, the_version_register_shows_20h_and_24_entries);
    tcase_add_test(tc, the_id_can_be_set);
    tcase_add_test(tc, all_entries_are_masked_after_reset);
    tcase_add_test(tc, read_only_and_reserved_bits_of_an_entry_cannot_be_set);
    tcase_add_test(tc, an_edge_sends_the_message_of_the_entry);
    tcase_add_test(tc, a_physical_destination_of_ffh_is_a_broadcast);
    tcase_add_test(tc, an_edge_on_a_masked_pin_is_lost);
    tcase_add_test(tc, a_level_pin_waits_for_eoi);
    tcase_add_test(tc, a_high_level_is_sent_when_it_is_unmasked);
    tcase_add_test(tc, the_eoi_register_ends_a_masked_interrupt_too);
    tcase_add_test(tc, switching_to_edge_clears_remote_irr);
    tcase_add_test(tc, nmi_is_sent_as_an_edge_whatever_the_trigger_mode);
    tcase_add_test(tc, the_index_register_takes_a_byte);
    tcase_add_test(tc, a_saved_io_apic_goes_on);
    tcase_add_test(tc, a_hostile_snapshot_does_no_harm);
    return run_suite("ioapic", tc);
}
