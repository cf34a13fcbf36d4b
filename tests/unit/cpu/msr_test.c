/* Model-specific registers that CPUID promises. */
#include "base/log.h"
#include "cpu/cpuid.h"
#include "cpu/system.h"
#include "tests/unit/cpu/op_rig.h"
#include "tests/unit/run_suite.h"

#define MSR_MCG_CAP    0x179
#define MSR_MCG_STATUS 0x17a

static struct rig *rig;
static struct log quiet;

static void setup(void)
{
    rig = rig_create();
    log_init(&quiet);
    rig->cpu.log = &quiet;
    rig->cpu.model = &cpu_models[0];
}

static void teardown(void)
{
    rig_destroy(rig);
}

static uint64_t read(uint32_t index)
{
    uint64_t value = ~0ull;

    ck_assert_msg(cpu_read_msr(&rig->cpu, index, &value), "MSR %#x", index);
    return value;
}

/* MCE and MCA are told, so the registers are there; the banks: mce_test.c. */
START_TEST(machine_check_is_promised)
{
    uint32_t leaf[4];

    cpu_cpuid(&rig->cpu, 1, 0, leaf);
    ck_assert(leaf[3] & BIT(7));
    ck_assert(leaf[3] & BIT(14));
    ck_assert_uint_eq(read(MSR_MCG_CAP), 0x10a);
    ck_assert_uint_eq(read(0), 0);
    ck_assert_uint_eq(read(1), 0);
}
END_TEST

START_TEST(machine_check_status_holds_its_defined_bits)
{
    ck_assert_uint_eq(read(MSR_MCG_STATUS), 0);
    ck_assert(cpu_write_msr(&rig->cpu, MSR_MCG_STATUS, 4));
    ck_assert_uint_eq(read(MSR_MCG_STATUS), 4);
    ck_assert(cpu_write_msr(&rig->cpu, MSR_MCG_STATUS, 0));
    ck_assert(!cpu_write_msr(&rig->cpu, MSR_MCG_STATUS, 0x10));
    ck_assert_uint_eq(read(MSR_MCG_STATUS), 0);
}
END_TEST

START_TEST(an_unknown_register_is_refused)
{
    uint64_t value;

    ck_assert(!cpu_read_msr(&rig->cpu, 0xdeadbeef, &value));
    ck_assert(!cpu_write_msr(&rig->cpu, 0xdeadbeef, 0));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("msr");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, machine_check_is_promised);
    tcase_add_test(tc, machine_check_status_holds_its_defined_bits);
    tcase_add_test(tc, an_unknown_register_is_refused);
    return run_suite("msr", tc);
}
