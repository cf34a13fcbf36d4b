/*
 * The interrupt chips wired together as in the machine, and what a Linux kernel tries on them at
 * boot: the timer through the I/O APIC, through the 8259A by ExtINT, through the 8259A as a fixed
 * local interrupt, and from the HPET.
 */
#include "devices/hpet.h"
#include "devices/ioapic.h"
#include "devices/lapic.h"
#include "devices/pic.h"
#include "devices/pit.h"
#include "devices/rtc.h"

#include "tests/unit/devices/irqchip_bench.h"
#include "tests/unit/run_suite.h"

#include <string.h>

#define TICK_NS (NS_PER_SECOND * 4773 / PIT_HZ) /* HZ = 250 */

static struct bench bench;
static struct pic *pic;
static struct pit *pit;
static struct rtc *rtc;
static struct ioapic *ioapic;
static struct lapic *lapic;
static struct hpet *hpet;
static struct wire intr;

static void on_irq(void *opaque, unsigned irq, bool level)
{
    (void)opaque;
    pic_set_irq(pic, irq, level);
    ioapic_set_irq(ioapic, irq == 0 ? 2 : irq, level);
}

static void on_pic_intr(void *opaque, unsigned pin, bool level)
{
    (void)opaque;
    lapic_set_lint(lapic, pin, level);
}

static void on_message(void *opaque, const struct apic_message *message)
{
    (void)opaque;
    if (lapic_accepts(lapic, message))
        lapic_deliver(lapic, message);
}

static void on_eoi(void *opaque, uint8_t vector)
{
    (void)opaque;
    ioapic_eoi(ioapic, vector);
}

static void on_signal(void *opaque)
{
    (void)opaque;
}

static void on_startup(void *opaque, uint8_t vector)
{
    (void)opaque;
    (void)vector;
}

static void on_legacy(void *opaque, bool on)
{
    (void)opaque;
    pit_connect_irq0(pit, !on);
    rtc_connect_irq8(rtc, !on);
}

static void setup(void)
{
    struct lapic_config lapic_config = {.boot_processor = true,
                                        .physical_address_bits = 40,
                                        .tsc_hz = NS_PER_SECOND,
                                        .bus_hz = LAPIC_BUS_HZ};
    struct lapic_callbacks callbacks = {.send = on_message,
                                        .eoi = on_eoi,
                                        .nmi = on_signal,
                                        .smi = on_signal,
                                        .init = on_signal,
                                        .startup = on_startup};
    struct hpet_config hpet_config = {.timer_count = 3,
                                      .irq0 = {on_irq, NULL, 0},
                                      .irq8 = {on_irq, NULL, 8},
                                      .legacy = on_legacy};

    bench_init(&bench);
    memset(&intr, 0, sizeof(intr));
    lapic = lapic_create(&bench.log, &bench.clock, &lapic_config, &callbacks, wire_line(&intr));
    ioapic = ioapic_create(bench.bus, &bench.log, on_message, NULL, NULL);
    pic = pic_create(bench.bus, &bench.log, (struct irq_line){on_pic_intr, NULL, 0}, NULL);
    pit = pit_create(bench.bus, &bench.log, &bench.clock, (struct irq_line){on_irq, NULL, 0}, NULL);
    rtc = rtc_create(bench.bus, &bench.log, &bench.clock, 0, (struct irq_line){on_irq, NULL, 8},
                     NULL);
    hpet = hpet_create(bench.bus, &bench.log, &bench.clock, &hpet_config, NULL);
}

static void teardown(void)
{
    hpet_destroy(hpet);
    rtc_destroy(rtc);
    pit_destroy(pit);
    pic_destroy(pic);
    ioapic_destroy(ioapic);
    lapic_destroy(lapic);
    bench_done(&bench);
}

static void start_pit(void)
{
    out8(&bench, 0x43, 0x34);
    out8(&bench, 0x40, 4773 & 0xff);
    out8(&bench, 0x40, 4773 >> 8);
}

static void start_hpet(void)
{
    write32(&bench, HPET_BASE + 0x10, 2);
    write32(&bench, HPET_BASE + 0x100, 0x14c);
    write32(&bench, HPET_BASE + 0x108, 400000);
    write32(&bench, HPET_BASE + 0x108, 400000);
    write32(&bench, HPET_BASE + 0x10, 3);
}

static void init_pic(bool automatic_eoi)
{
    static const struct {
        uint8_t port, value;
    } writes[] = {{0x20, 0x11}, {0x21, 0x30}, {0x21, 0x04}, {0x21, 0x01}, {0xa0, 0x11},
                  {0xa1, 0x38}, {0xa1, 0x02}, {0xa1, 0x01}, {0xa1, 0xff}, {0x21, 0xff}};

    for (unsigned i = 0; i < sizeof(writes) / sizeof(writes[0]); i++)
        out8(&bench, writes[i].port, writes[i].value | (i == 3 && automatic_eoi ? 2 : 0));
}

static void lapic_put(unsigned offset, uint32_t value)
{
    lapic_mmio_ops.write(lapic, offset, value, 4);
}

static void ioapic_put_pin_2(uint32_t value)
{
    write32(&bench, IOAPIC_BASE, 0x14);
    write32(&bench, IOAPIC_BASE + 0x10, value);
}

/* A processor with interrupts on, for ten ticks: how often it took the vector, and no other. */
static unsigned ticks_taken(int wanted)
{
    unsigned count = 0;

    for (unsigned i = 0; i < 1000; i++) {
        bench_run(&bench, TICK_NS / 100);
        while (intr.level) {
            int vector = lapic_acknowledge(lapic);
            if (vector == LAPIC_ACK_EXTINT) {
                vector = pic_acknowledge(pic);
                out8(&bench, 0x20, 0x60);
            } else {
                lapic_put(0xb0, 0);
            }
            ck_assert_int_eq(vector, wanted);
            count++;
        }
    }
    return count;
}

START_TEST(the_timer_reaches_a_kernel_that_knows_the_8259a_only)
{
    init_pic(false);
    out8(&bench, 0x21, 0xfe);
    start_pit();
    ck_assert_uint_ge(ticks_taken(0x30), 9);
}
END_TEST

START_TEST(the_timer_works_through_the_io_apic)
{
    lapic_put(0xf0, 0x1ff);
    lapic_put(0x350, 0x10700);
    init_pic(true);
    ioapic_put_pin_2(0x30);
    start_pit();
    ck_assert_uint_ge(ticks_taken(0x30), 9);
}
END_TEST

START_TEST(the_timer_works_as_a_fixed_interrupt_on_lint0)
{
    lapic_put(0xf0, 0x1ff);
    lapic_put(0x350, 0x30);
    init_pic(true);
    out8(&bench, 0x21, 0xfe);
    start_pit();
    ck_assert_uint_ge(ticks_taken(0x30), 9);
}
END_TEST

START_TEST(the_timer_works_as_extint_on_lint0)
{
    lapic_put(0xf0, 0x1ff);
    init_pic(false);
    lapic_put(0x350, 0x700);
    out8(&bench, 0x21, 0xfe);
    start_pit();
    ck_assert_uint_ge(ticks_taken(0x30), 9);
}
END_TEST

START_TEST(the_hpet_ticks_in_the_place_of_the_pit_through_the_io_apic)
{
    lapic_put(0xf0, 0x1ff);
    lapic_put(0x350, 0x10700);
    init_pic(true);
    ioapic_put_pin_2(0x30);
    start_pit();
    start_hpet();
    ck_assert_uint_ge(ticks_taken(0x30), 9);
}
END_TEST

START_TEST(the_hpet_ticks_in_the_place_of_the_pit_through_the_8259a)
{
    init_pic(false);
    out8(&bench, 0x21, 0xfe);
    start_hpet();
    ck_assert_uint_ge(ticks_taken(0x30), 9);
}
END_TEST

START_TEST(a_level_interrupt_of_the_io_apic_is_ended_by_the_processor)
{
    lapic_put(0xf0, 0x1ff);
    ioapic_put_pin_2(0x8051);
    ioapic_set_irq(ioapic, 2, true);
    ck_assert_int_eq(lapic_acknowledge(lapic), 0x51);
    lapic_put(0xb0, 0);
    ck_assert(intr.level); /* still high: it comes again */
    ck_assert_int_eq(lapic_acknowledge(lapic), 0x51);
    ioapic_set_irq(ioapic, 2, false);
    lapic_put(0xb0, 0);
    ck_assert(!intr.level);
}
END_TEST

START_TEST(the_local_timer_is_calibrated_against_the_pit)
{
    uint32_t before, after;

    lapic_put(0xf0, 0x1ff);
    lapic_put(0x320, 0x10031);
    lapic_put(0x3e0, 0x3);
    lapic_put(0x380, 0xffffffff);
    start_pit();
    out8(&bench, 0x21, 0xfe);
    before = lapic_mmio_ops.read(lapic, 0x390, 4);
    bench_run(&bench, 100000000);
    after = lapic_mmio_ops.read(lapic, 0x390, 4);
    ck_assert_uint_eq(before - after, 6250000);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("irq_path");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, the_timer_reaches_a_kernel_that_knows_the_8259a_only);
    tcase_add_test(tc, the_timer_works_through_the_io_apic);
    tcase_add_test(tc, the_timer_works_as_a_fixed_interrupt_on_lint0);
    tcase_add_test(tc, the_timer_works_as_extint_on_lint0);
    tcase_add_test(tc, the_hpet_ticks_in_the_place_of_the_pit_through_the_io_apic);
    tcase_add_test(tc, the_hpet_ticks_in_the_place_of_the_pit_through_the_8259a);
    tcase_add_test(tc, a_level_interrupt_of_the_io_apic_is_ended_by_the_processor);
    tcase_add_test(tc, the_local_timer_is_calibrated_against_the_pit);
    return run_suite("irq_path", tc);
}
