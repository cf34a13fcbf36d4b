#include "devices/pm.h"

#include "tests/unit/devices/device_rig.h"

#define BASE PM_DEFAULT_BASE
#define SCI  PM_SCI_IRQ

struct board {
    struct rig rig;
    struct rig_irq irq;
    struct pci_host *host;
    struct pm *pm;
    unsigned offs, smis;
};

static void count_power_off(void *opaque)
{
    ((struct board *)opaque)->offs++;
}

static void count_smi(void *opaque)
{
    ((struct board *)opaque)->smis++;
}

static struct board *board_create_at(uint16_t base)
{
    struct board *b = calloc(1, sizeof(*b));
    struct pci_wiring pci_wiring = {0};
    struct pm_wiring wiring = {.power_off = count_power_off, .smi = count_smi, .opaque = b};

    rig_create(&b->rig);
    wiring.sci = rig_line(&b->irq, SCI);
    b->host = pci_create(b->rig.bus, &b->rig.log, &pci_wiring, NULL);
    b->pm = pm_create(b->rig.bus, &b->rig.log, &b->rig.clock, b->host, PCI_DEVFN(1, 3), base,
                      &wiring, NULL);
    ck_assert(b->pm != NULL);
    return b;
}

static struct board *board_create(void)
{
    return board_create_at(BASE);
}

static void board_destroy(struct board *b)
{
    pm_destroy(b->pm);
    pci_destroy(b->host);
    rig_destroy(&b->rig);
    free(b);
}

static uint16_t in16(struct board *b, unsigned offset)
{
    return (uint16_t)bus_port_read(b->rig.bus, (uint16_t)(BASE + offset), 2);
}

static void out16(struct board *b, unsigned offset, uint16_t value)
{
    bus_port_write(b->rig.bus, (uint16_t)(BASE + offset), value, 2);
}

static uint32_t timer(struct board *b)
{
    return bus_port_read(b->rig.bus, BASE + PM_TMR, 4);
}

START_TEST(it_is_function_3_of_the_isa_bridge)
{
    struct board *b = board_create();

    ck_assert_uint_eq(pci_config_read(&b->pm->f, 0, 4), 0x71138086);
    ck_assert_uint_eq(pci_config_read(&b->pm->f, 0x40, 4), BASE | 1);
    ck_assert_uint_eq(pci_config_read(&b->pm->f, 0x80, 1), 1);
    ck_assert_uint_eq(pci_config_read(&b->host->isa, PCI_HEADER_TYPE, 1), 0x80);
    board_destroy(b);
}
END_TEST

START_TEST(the_timer_is_exact_after_a_year)
{
    struct board *b = board_create();
    uint64_t seconds = 365 * 24 * 3600;

    clock_skip_to(&b->rig.clock, seconds * NS_PER_SECOND);
    ck_assert_uint_eq(timer(b), seconds * PM_TIMER_HZ & 0xffffff);
    clock_skip_to(&b->rig.clock, seconds * NS_PER_SECOND + 279); /* a tick is 279.4 ns */
    ck_assert_uint_eq(timer(b), seconds * PM_TIMER_HZ & 0xffffff);
    clock_skip_to(&b->rig.clock, seconds * NS_PER_SECOND + 280);
    ck_assert_uint_eq(timer(b), (seconds * PM_TIMER_HZ + 1) & 0xffffff);
    board_destroy(b);
}
END_TEST

START_TEST(the_timer_can_be_read_in_bytes)
{
    struct board *b = board_create();

    clock_skip_to(&b->rig.clock, 1234567890);
    ck_assert_uint_eq(rig_in(&b->rig, BASE + 9), timer(b) >> 8 & 0xff);
    ck_assert_uint_eq(in16(b, 10), timer(b) >> 16);
    board_destroy(b);
}
END_TEST

START_TEST(timer_status_is_set_whenever_bit_23_changes)
{
    struct board *b = board_create();

    for (unsigned i = 0; i < 3; i++) {
        uint64_t last = mul_div((i + 1) * 0x800000ull, NS_PER_SECOND, PM_TIMER_HZ);
        clock_skip_to(&b->rig.clock, last);
        ck_assert_uint_eq(in16(b, PM1_STS), 0);
        clock_skip_to(&b->rig.clock, last + 1);
        ck_assert_uint_eq(timer(b) & 0x7fffff, 0);
        ck_assert_uint_eq(in16(b, PM1_STS), PM1_TMR);
        out16(b, PM1_STS, PM1_TMR);
        ck_assert_uint_eq(in16(b, PM1_STS), 0);
    }
    board_destroy(b);
}
END_TEST

START_TEST(the_timer_interrupts_when_enabled)
{
    struct board *b = board_create();

    out16(b, PM1_CNT, PM1_CNT_SCI_EN);
    out16(b, PM1_EN, PM1_TMR);
    rig_advance(&b->rig, 2343000000);
    ck_assert(!b->irq.level[SCI]);
    rig_advance(&b->rig, 1000000);
    ck_assert(b->irq.level[SCI]);
    out16(b, PM1_STS, PM1_TMR);
    ck_assert(!b->irq.level[SCI]);
    rig_advance(&b->rig, 2344000000);
    ck_assert_uint_eq(b->irq.rises[SCI], 2);
    board_destroy(b);
}
END_TEST

START_TEST(the_power_button_interrupts_once_acpi_is_enabled)
{
    struct board *b = board_create();

    out16(b, PM1_EN, PM1_PWRBTN);
    pm_power_button(b->pm);
    ck_assert(!b->irq.level[SCI]);
    rig_out(&b->rig, PM_SMI_CMD, PM_ACPI_ENABLE);
    ck_assert_uint_eq(in16(b, PM1_CNT), PM1_CNT_SCI_EN);
    ck_assert(b->irq.level[SCI]);
    out16(b, PM1_STS, PM1_PWRBTN);
    ck_assert(!b->irq.level[SCI]);
    rig_out(&b->rig, PM_SMI_CMD, PM_ACPI_DISABLE);
    ck_assert_uint_eq(in16(b, PM1_CNT), 0);
    board_destroy(b);
}
END_TEST

START_TEST(a_command_is_an_smi_once_both_switches_are_on)
{
    struct board *b = board_create();

    rig_out(&b->rig, PM_SMI_CMD, 0x12);
    ck_assert_uint_eq(b->smis, 0);
    out16(b, PM_GLBCTL, PM_GLBCTL_SMI_EN);
    rig_out(&b->rig, PM_SMI_CMD, 0x12);
    ck_assert_uint_eq(b->smis, 1);
    ck_assert_uint_eq(rig_in(&b->rig, PM_SMI_CMD), 0x12);
    ck_assert_uint_eq(in16(b, PM_GLBSTS), PM_GLBSTS_APM);
    out16(b, PM_GLBSTS, PM_GLBSTS_APM);
    ck_assert_uint_eq(in16(b, PM_GLBSTS), 0);
    rig_out(&b->rig, PM_SMI_CMD + 1, 0x34); /* the status port only keeps */
    ck_assert_uint_eq(b->smis, 1);
    rig_out(&b->rig, PM_SMI_CMD, PM_ACPI_ENABLE);
    ck_assert_uint_eq(b->smis, 2);
    ck_assert_uint_eq(in16(b, PM1_CNT), PM1_CNT_SCI_EN);
    pci_config_write(&b->pm->f, 0x58, 0, 4); /* DEVACTB.APMC_EN */
    rig_out(&b->rig, PM_SMI_CMD, 0x12);
    ck_assert_uint_eq(b->smis, 2);
    board_destroy(b);
}
END_TEST

START_TEST(status_bits_are_cleared_one_by_one)
{
    struct board *b = board_create();

    pm_power_button(b->pm);
    pm_rtc_alarm(b->pm);
    rig_out(&b->rig, BASE + PM1_STS + 1, PM1_PWRBTN >> 8);
    ck_assert_uint_eq(in16(b, PM1_STS), PM1_RTC);
    board_destroy(b);
}
END_TEST

START_TEST(a_general_purpose_event_interrupts)
{
    struct board *b = board_create();

    out16(b, PM1_CNT, PM1_CNT_SCI_EN);
    out16(b, PM_GPEN, 0x0008);
    pm_raise_gpe(b->pm, 3);
    ck_assert(b->irq.level[SCI]);
    ck_assert_uint_eq(in16(b, PM_GPSTS), 0x0008);
    ck_assert_uint_eq(bus_port_read(b->rig.bus, PM_GPE_ALIAS, 2), 0x0008);
    rig_out(&b->rig, PM_GPE_ALIAS, 0x08);
    ck_assert(!b->irq.level[SCI]);
    board_destroy(b);
}
END_TEST

START_TEST(sleep_type_0_powers_off)
{
    struct board *b = board_create();

    out16(b, PM1_CNT, PM1_CNT_SUS_EN);
    ck_assert_uint_eq(b->offs, 1);
    ck_assert_uint_eq(in16(b, PM1_CNT), 0);
    board_destroy(b);
}
END_TEST

START_TEST(other_sleeps_wake_at_once)
{
    struct board *b = board_create();

    out16(b, PM1_CNT, PM1_CNT_SUS_EN | PM_SUS_TYP_S3 << 10);
    ck_assert_uint_eq(b->offs, 0);
    ck_assert_uint_eq(in16(b, PM1_STS), PM1_WAK);
    board_destroy(b);
}
END_TEST

START_TEST(the_ports_move_with_pmbase)
{
    struct board *b = board_create();

    pci_config_write(&b->pm->f, 0x40, 0xb001, 4);
    ck_assert_uint_eq(in16(b, PM1_STS), 0xffff);
    ck_assert_uint_eq(bus_port_read(b->rig.bus, 0xb000, 2), 0);
    pci_config_write(&b->pm->f, 0x80, 0, 1);
    ck_assert_uint_eq(bus_port_read(b->rig.bus, 0xb000, 2), 0xffff);
    board_destroy(b);
}
END_TEST

START_TEST(a_pmbase_on_other_ports_stays_unmapped)
{
    struct board *b = board_create();

    pci_config_write(&b->pm->f, 0x40, 0x0cc1, 4); /* on the configuration ports */
    ck_assert(!b->pm->mapped);
    ck_assert_uint_eq(bus_port_read(b->rig.bus, 0xcf8, 4), 0);
    board_destroy(b);
}
END_TEST

START_TEST(without_a_default_base_firmware_places_the_ports)
{
    struct board *b = board_create_at(0);

    ck_assert_uint_eq(in16(b, PM1_STS), 0xffff);
    pci_config_write(&b->pm->f, 0x40, BASE | 1, 4);
    pci_config_write(&b->pm->f, 0x80, 1, 1);
    ck_assert_uint_eq(in16(b, PM1_STS), 0);
    board_destroy(b);
}
END_TEST

START_TEST(reset_returns_to_the_default)
{
    struct board *b = board_create();

    out16(b, PM1_CNT, PM1_CNT_SCI_EN);
    out16(b, PM1_EN, PM1_PWRBTN);
    pm_power_button(b->pm);
    pci_config_write(&b->pm->f, 0x40, 0xb001, 4);
    pci_reset(b->host);
    pm_reset(b->pm);
    ck_assert(!b->irq.level[SCI]);
    ck_assert_uint_eq(in16(b, PM1_EN), 0);
    ck_assert_uint_eq(in16(b, PM1_STS), 0);
    board_destroy(b);
}
END_TEST

static void serialize(void *device, struct state *s)
{
    struct board *b = device;

    pm_serialize(b->pm, s);
    clock_serialize(&b->rig.clock, s);
}

START_TEST(a_restored_pm_goes_on_where_the_saved_one_was)
{
    struct board *from = board_create(), *to = board_create();

    clock_skip_to(&from->rig.clock, 2000000000);
    pci_config_write(&from->pm->f, 0x40, 0xb001, 4);
    bus_port_write(from->rig.bus, 0xb000 + PM1_EN, PM1_TMR, 2);
    bus_port_write(from->rig.bus, 0xb000 + PM1_CNT, PM1_CNT_SCI_EN, 2);
    ck_assert(rig_load(serialize, to, rig_save(serialize, from), 0));
    ck_assert_uint_eq(bus_port_read(to->rig.bus, 0xb000 + PM1_EN, 2), PM1_TMR);
    ck_assert_uint_eq(pm_timer(to->pm), pm_timer(from->pm));
    rig_advance(&to->rig, 344000000);
    ck_assert(to->irq.level[SCI]);
    board_destroy(from);
    board_destroy(to);
}
END_TEST

START_TEST(a_state_with_reserved_bits_is_refused)
{
    struct board *from = board_create(), *to = board_create();

    from->pm->pm1_en = 0x8000;
    ck_assert(!rig_load(serialize, to, rig_save(serialize, from), 0));
    board_destroy(from);
    board_destroy(to);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("pm");

    tcase_add_test(tc, it_is_function_3_of_the_isa_bridge);
    tcase_add_test(tc, the_timer_is_exact_after_a_year);
    tcase_add_test(tc, the_timer_can_be_read_in_bytes);
    tcase_add_test(tc, timer_status_is_set_whenever_bit_23_changes);
    tcase_add_test(tc, the_timer_interrupts_when_enabled);
    tcase_add_test(tc, the_power_button_interrupts_once_acpi_is_enabled);
    tcase_add_test(tc, a_command_is_an_smi_once_both_switches_are_on);
    tcase_add_test(tc, status_bits_are_cleared_one_by_one);
    tcase_add_test(tc, a_general_purpose_event_interrupts);
    tcase_add_test(tc, sleep_type_0_powers_off);
    tcase_add_test(tc, other_sleeps_wake_at_once);
    tcase_add_test(tc, the_ports_move_with_pmbase);
    tcase_add_test(tc, a_pmbase_on_other_ports_stays_unmapped);
    tcase_add_test(tc, without_a_default_base_firmware_places_the_ports);
    tcase_add_test(tc, reset_returns_to_the_default);
    tcase_add_test(tc, a_restored_pm_goes_on_where_the_saved_one_was);
    tcase_add_test(tc, a_state_with_reserved_bits_is_refused);
    return run_suite("pm", tc);
}
