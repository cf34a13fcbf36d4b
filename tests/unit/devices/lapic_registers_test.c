#include "base/bits.h"
#include "tests/unit/devices/lapic_bench.h"
#include "tests/unit/run_suite.h"

/* --- IA32_APIC_BASE and x2APIC --- */

START_TEST(illegal_apic_base_values_are_refused)
{
    ck_assert(!wrmsr(MSR_IA32_APIC_BASE, 0xfee00901));    /* reserved low bit */
    ck_assert(!wrmsr(MSR_IA32_APIC_BASE, 0x100fee00900)); /* beyond 40 address bits */
    ck_assert(!wrmsr(MSR_IA32_APIC_BASE, 0xfee00500));    /* EXTD without EN */
    ck_assert(wrmsr(MSR_IA32_APIC_BASE, 0xfee00100));     /* disabled */
    ck_assert(!wrmsr(MSR_IA32_APIC_BASE, 0xfee00d00));    /* disabled to x2APIC */
    ck_assert(wrmsr(MSR_IA32_APIC_BASE, 0xfee00900));     /* to xAPIC */
    ck_assert(wrmsr(MSR_IA32_APIC_BASE, 0xfee00d00));     /* to x2APIC */
    ck_assert(!wrmsr(MSR_IA32_APIC_BASE, 0xfee00900));    /* not back to xAPIC */
    ck_assert(wrmsr(MSR_IA32_APIC_BASE, 0xfee00100));     /* but to disabled */
    ck_assert_uint_eq(rdmsr(MSR_IA32_APIC_BASE), 0xfee00100);
}
END_TEST

START_TEST(the_page_can_move)
{
    ck_assert(wrmsr(MSR_IA32_APIC_BASE, 0xd0000900));
    ck_assert_uint_eq(lapic_base(l), 0xd0000000);
    ck_assert(lapic_mmio_enabled(l));
}
END_TEST

START_TEST(disabling_forgets_the_registers)
{
    put(SVR, 0x1ff);
    put(TPR, 0x30);
    ck_assert(wrmsr(MSR_IA32_APIC_BASE, 0xfee00100));
    ck_assert(wrmsr(MSR_IA32_APIC_BASE, 0xfee00900));
    ck_assert_uint_eq(get(SVR), 0xff);
    ck_assert_uint_eq(get(TPR), 0);
}
END_TEST

START_TEST(x2apic_msrs_need_x2apic_mode)
{
    uint64_t value;

    ck_assert(!lapic_msr_read(l, 0x802, &value));
    ck_assert(!wrmsr(0x80b, 0));
    enter_x2apic();
    ck_assert_uint_eq(rdmsr(0x802), 0);
    ck_assert_uint_eq(rdmsr(0x803), 0x01050014);
    ck_assert_uint_eq(get(VERSION), 0xffffffff); /* the page is gone */
}
END_TEST

START_TEST(entering_x2apic_keeps_the_state_and_makes_the_logical_id)
{
    put(SVR, 0x1ff);
    put(TPR, 0x20);
    enter_x2apic();
    ck_assert_uint_eq(rdmsr(0x80f), 0x1ff);
    ck_assert_uint_eq(rdmsr(0x808), 0x20);
    ck_assert_uint_eq(rdmsr(0x80d), 0x00000001);
    ck_assert_uint_eq(rdmsr(0x830), 0);
}
END_TEST

START_TEST(x2apic_reads_of_write_only_and_reserved_msrs_fault)
{
    static const uint16_t msrs[] = {0x800, 0x801, 0x804, 0x809, 0x80b, 0x80c, 0x80e,
                                    0x82f, 0x831, 0x83a, 0x83d, 0x83f, 0x840, 0x8ff};
    uint64_t value;

    enter_x2apic();
    for (unsigned i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++)
        ck_assert_msg(!lapic_msr_read(l, msrs[i], &value), "%03x", msrs[i]);
}
END_TEST

START_TEST(x2apic_writes_of_read_only_msrs_and_reserved_bits_fault)
{
    static const struct {
        uint16_t msr;
        uint64_t value;
    } writes[] = {
        {0x802, 0},      {0x803, 0},          {0x808, 0x100},   {0x80a, 0},
        {0x80b, 1},      {0x80d, 0},          {0x80f, 0x400},   {0x80f, 1ull << 32},
        {0x810, 0},      {0x818, 0},          {0x820, 0},       {0x828, 1},
        {0x830, 0x1000}, {0x830, 0x2000},     {0x830, 0x10000}, {0x831, 0},
        {0x832, 0x100},  {0x832, 0x80000},    {0x832, 0x60031}, {0x835, 0x20700},
        {0x837, 0x700},  {0x838, 1ull << 32}, {0x839, 0},       {0x83e, 0x4},
        {0x83f, 0x100},
    };

    enter_x2apic();
    for (unsigned i = 0; i < sizeof(writes) / sizeof(writes[0]); i++)
        ck_assert_msg(!wrmsr(writes[i].msr, writes[i].value), "%03x", writes[i].msr);
}
END_TEST

START_TEST(x2apic_ipis_take_one_write_with_a_32_bit_destination)
{
    enable_all();
    enter_x2apic();
    ck_assert(wrmsr(0x830, 0x0000000200000061));
    ck_assert_uint_eq(rdmsr(0x830), 0x0000000200000061);
    ck_assert_int_eq(lapic_acknowledge(cpus[2].lapic), 0x61);
    ck_assert(wrmsr(0x830, 0xffffffff00000072));
    ck_assert(cpus[0].intr.level && cpus[1].intr.level && cpus[2].intr.level);
}
END_TEST

START_TEST(x2apic_self_ipi_and_eoi_work)
{
    put(SVR, 0x1ff);
    enter_x2apic();
    ck_assert(wrmsr(0x83f, 0x44));
    ck_assert_int_eq(lapic_acknowledge(l), 0x44);
    ck_assert_uint_eq(rdmsr(0x812), 0x10);
    ck_assert(wrmsr(0x80b, 0));
    ck_assert_uint_eq(rdmsr(0x812), 0);
}
END_TEST

START_TEST(x2apic_logical_destinations_are_cluster_and_mask)
{
    struct apic_message message = {.logical = true, .assert = true};

    for (unsigned i = 0; i < BENCH_CPUS; i++)
        ck_assert(lapic_apic_base_write(cpus[i].lapic, 0xfee00c00));
    message.destination = 0x00000005;
    ck_assert(lapic_accepts(cpus[0].lapic, &message));
    ck_assert(!lapic_accepts(cpus[1].lapic, &message));
    ck_assert(lapic_accepts(cpus[2].lapic, &message));
    message.destination = 0x00010001;
    ck_assert(!lapic_accepts(cpus[0].lapic, &message));
}
END_TEST

START_TEST(init_keeps_x2apic_mode)
{
    enter_x2apic();
    lapic_init(l);
    ck_assert(lapic_x2apic_mode(l));
    ck_assert_uint_eq(rdmsr(0x80f), 0xff);
}
END_TEST

/* --- Without the device lock --- */

START_TEST(what_needs_no_lock_does_the_same)
{
    uint64_t value;

    enable_all();
    ck_assert(lapic_try_mmio_write(l, TPR, 4, 0x20));
    ck_assert_uint_eq(get(TPR), 0x20);
    ck_assert(lapic_try_mmio_read(l, TPR, 4, &value));
    ck_assert_uint_eq(value, 0x20);
    ck_assert(lapic_try_mmio_read(l, SVR + 1, 1, &value));
    ck_assert_uint_eq(value, 1);
    ck_assert(lapic_try_mmio_write(l, ICR2, 4, 0x02000000));
    ck_assert(lapic_try_mmio_write(l, ICR, 4, 0x61));
    ck_assert(cpus[2].intr.level);
    ck_assert_int_eq(lapic_acknowledge(cpus[2].lapic), 0x61);
    ck_assert(lapic_try_mmio_write(cpus[2].lapic, EOI, 4, 0));
    ck_assert_uint_eq(get_of(2, ISR + 0x30), 0);
}
END_TEST

START_TEST(the_end_of_a_level_takes_the_lock)
{
    int vector;

    enable_all();
    fixed(0x51, true);
    ck_assert(lapic_try_acknowledge(l, &vector));
    ck_assert_int_eq(vector, 0x51);
    ck_assert(!lapic_try_mmio_write(l, EOI, 4, 0));
    ck_assert_uint_eq(get(ISR + 0x20), 1u << 17);
    put(EOI, 0);
    ck_assert_uint_eq(cpus[0].eoi_count, 1);
}
END_TEST

START_TEST(what_takes_the_lock_is_left_alone)
{
    static const struct {
        unsigned offset, size;
    } writes[] = {{SVR, 4}, {LVTT, 4},    {TMICT, 4}, {ESR, 4},   {VERSION, 4},
                  {ICR, 1}, {ICR + 4, 4}, {0x400, 4}, {0xff0, 4}, {TPR, 8}};
    uint64_t value = 77;
    int vector;

    put(SVR, 0x1ff);
    for (unsigned n = 0; n < ARRAY_SIZE(writes); n++)
        ck_assert(!lapic_try_mmio_write(l, writes[n].offset, writes[n].size, 0x1aa));
    ck_assert(!lapic_try_mmio_read(l, TMCCT, 4, &value));
    ck_assert(!lapic_try_mmio_read(l, EOI, 4, &value));
    ck_assert(!lapic_try_mmio_read(l, TPR + 2, 4, &value));
    ck_assert(!lapic_try_mmio_read(l, TPR, 8, &value));
    ck_assert(!lapic_try_mmio_read(l, 0x400, 4, &value));
    ck_assert(!lapic_try_msr_read(l, 0x808, &value)); /* not in x2APIC mode */
    ck_assert(!lapic_try_msr_write(l, 0x808, 0));
    ck_assert_uint_eq(get(SVR), 0x1ff);
    ck_assert_uint_eq(get(ESR), 0);
    lapic_set_lint(l, 0, true); /* ExtINT */
    ck_assert(!lapic_try_acknowledge(l, &vector));
    ck_assert_uint_eq(value, 77);
}
END_TEST

START_TEST(x2apic_registers_without_the_lock)
{
    uint64_t value;

    enter_x2apic();
    ck_assert(wrmsr(0x80f, 0x1ff));
    ck_assert(!lapic_try_mmio_write(l, TPR, 4, 0));
    ck_assert(!lapic_try_mmio_read(l, TPR, 4, &value));
    ck_assert(lapic_try_msr_write(l, 0x808, 0x30));
    ck_assert(lapic_try_msr_read(l, 0x808, &value));
    ck_assert_uint_eq(value, 0x30);
    ck_assert(!lapic_try_msr_write(l, 0x808, 0x100)); /* #GP, as the other one says */
    ck_assert(!lapic_try_msr_write(l, 0x80b, 1));
    ck_assert(lapic_try_msr_write(l, 0x83f, 0x71));
    ck_assert_int_eq(lapic_acknowledge(l), 0x71);
    ck_assert(lapic_try_msr_write(l, 0x80b, 0));
    ck_assert_uint_eq(rdmsr(0x813), 0);
    ck_assert(!lapic_try_msr_read(l, 0x839, &value));
    ck_assert(!lapic_try_msr_read(l, 0x80b, &value));
    ck_assert(!lapic_try_msr_read(l, MSR_IA32_APIC_BASE, &value));
    ck_assert(!lapic_try_msr_write(l, MSR_IA32_TSC_DEADLINE, 0));
}
END_TEST

/* --- Accesses to the page, MSI, snapshots --- */

START_TEST(narrow_writes_are_ignored_and_narrow_reads_are_not)
{
    lapic_mmio_ops.write(l, TPR, 0x55, 1);
    ck_assert_uint_eq(get(TPR), 0);
    lapic_mmio_ops.write(l, TPR + 4, 0x55, 4);
    ck_assert_uint_eq(get(TPR), 0);
    ck_assert_uint_eq(lapic_mmio_ops.read(l, VERSION + 2, 1), 5);
    ck_assert_uint_eq(lapic_mmio_ops.read(l, VERSION + 4, 4), 0);
}
END_TEST

START_TEST(an_msi_becomes_its_message)
{
    struct apic_message m = apic_message_from_msi(0xfee0200c, 0x4931);

    ck_assert_uint_eq(m.vector, 0x31);
    ck_assert_uint_eq(m.delivery_mode, APIC_DELIVERY_LOWEST);
    ck_assert(m.logical);
    ck_assert(!m.level_triggered);
    ck_assert(m.assert);
    ck_assert_uint_eq(m.destination, 2);
    m = apic_message_from_msi(0xfeeff000, 0x8031);
    ck_assert(m.level_triggered);
    ck_assert(!m.assert);
    ck_assert_uint_eq(m.destination, APIC_DESTINATION_ALL);
}
END_TEST

START_TEST(a_saved_local_apic_goes_on)
{
    struct state *saving;
    bool ok;

    put(SVR, 0x1ff);
    put(LVTT, 0x20031);
    put(TDCR, 0xb);
    put(TMICT, 100000);
    fixed(0x51, true);
    lapic_acknowledge(l);
    bench_run(&bench, 50000);
    BENCH_SAVE(saving, lapic_serialize(l, s));
    lapic_reset(l);
    BENCH_LOAD(saving, lapic_serialize(l, s), ok);
    ck_assert(ok);
    ck_assert_uint_eq(get(TMCCT), 50000);
    put(EOI, 0);
    ck_assert_uint_eq(cpus[0].eoi_count, 1);
    bench_run(&bench, 50000);
    ck_assert_int_eq(lapic_acknowledge(l), 0x31);
    state_destroy(saving);
}
END_TEST

START_TEST(a_hostile_snapshot_does_no_harm)
{
    struct state *saving;

    put(SVR, 0x1ff);
    put(LVTT, 0x20031);
    put(TMICT, 10000);
    BENCH_SAVE(saving, lapic_serialize(l, s));
    BENCH_LOAD_DISTORTED(saving, lapic_serialize(l, s), {
        bench_run(&bench, 20000);
        get(TMCCT);
        lapic_acknowledge(l);
        put(EOI, 0);
        put(TDCR, round);
    });
    state_destroy(saving);
}
END_TEST

START_TEST(random_accesses_do_no_harm)
{
    const char *env = getenv("GNOMON_SEED");
    unsigned seed = env != NULL ? (unsigned)strtoul(env, NULL, 0) : 1;

    printf("GNOMON_SEED=%u\n", seed);
    for (unsigned i = 0; i < 100000; i++) {
        uint32_t value = (uint32_t)rand_r(&seed) << (rand_r(&seed) & 1) >> rand_r(&seed) % 31;
        unsigned reg = (unsigned)rand_r(&seed) % 0x48;
        uint64_t ignored;
        switch (rand_r(&seed) % 8) {
        case 0:
            lapic_msr_write(l, 0x800 + reg, value | (uint64_t)(rand_r(&seed) & 3) << 32);
            break;
        case 1:
            lapic_msr_read(l, 0x800 + reg, &ignored);
            break;
        case 2:
            get(reg << 4);
            break;
        case 3:
            lapic_set_lint(l, rand_r(&seed) & 1, rand_r(&seed) & 1);
            break;
        case 4:
            lapic_acknowledge(l);
            break;
        case 5:
            if (rand_r(&seed) % 64 == 0)
                lapic_apic_base_write(l, (uint64_t)(rand_r(&seed) & 15) << 8);
            else
                lapic_tsc_deadline_write(l, value);
            break;
        default:
            put(reg << 4, value);
            break;
        }
        bench_run(&bench, (unsigned)rand_r(&seed) % 3000);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("lapic_registers");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, illegal_apic_base_values_are_refused);
    tcase_add_test(tc, the_page_can_move);
    tcase_add_test(tc, disabling_forgets_the_registers);
    tcase_add_test(tc, x2apic_msrs_need_x2apic_mode);
    tcase_add_test(tc, entering_x2apic_keeps_the_state_and_makes_the_logical_id);
    tcase_add_test(tc, x2apic_reads_of_write_only_and_reserved_msrs_fault);
    tcase_add_test(tc, x2apic_writes_of_read_only_msrs_and_reserved_bits_fault);
    tcase_add_test(tc, x2apic_ipis_take_one_write_with_a_32_bit_destination);
    tcase_add_test(tc, x2apic_self_ipi_and_eoi_work);
    tcase_add_test(tc, x2apic_logical_destinations_are_cluster_and_mask);
    tcase_add_test(tc, what_needs_no_lock_does_the_same);
    tcase_add_test(tc, the_end_of_a_level_takes_the_lock);
    tcase_add_test(tc, what_takes_the_lock_is_left_alone);
    tcase_add_test(tc, x2apic_registers_without_the_lock);
    tcase_add_test(tc, init_keeps_x2apic_mode);
    tcase_add_test(tc, narrow_writes_are_ignored_and_narrow_reads_are_not);
    tcase_add_test(tc, an_msi_becomes_its_message);
    tcase_add_test(tc, a_saved_local_apic_goes_on);
    tcase_add_test(tc, a_hostile_snapshot_does_no_harm);
    tcase_add_test(tc, random_accesses_do_no_harm);
    return run_suite("lapic_registers", tc);
}
