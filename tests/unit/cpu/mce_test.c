/* Machine check: what banks keep, when #MC is raised, and what it comes before. On a processor in
 * real mode. */
#include "cpu/mce.h"
#include "cpu/system.h"
#include "tests/unit/cpu/vcpu_rig.h"

#define CODE    0x1000u
#define HANDLER 0x2000u
#define OTHER   0x3000u /* handler of everything else */
#define STACK   0x8000u

#define MCG_CAP_MSR    0x179
#define MCG_STATUS_MSR 0x17a
#define MCG_CTL_MSR    0x17b
#define MC_MSR(n)      (0x400u + 4 * (n))

#define CORRECTED   (MCI_STATUS_ADDRV | 0x0151)
#define UNCORRECTED (MCI_STATUS_UC | MCI_STATUS_ADDRV | MCI_STATUS_MISCV | 0x0135)
#define LOGGED      (MCI_STATUS_VAL | MCI_STATUS_EN)

static struct vcpu_rig rig;
static struct vcpu *cpu;

static int acknowledge(void *opaque)
{
    (void)opaque;
    vcpu_signal(cpu, 0, VCPU_PENDING_INTR);
    return 0x40;
}

static void enable(void)
{
    ck_assert(cpu_write_msr(cpu, MCG_CTL_MSR, UINT64_MAX));
    for (unsigned n = 0; n < MCE_BANK_COUNT; n++)
        ck_assert(cpu_write_msr(cpu, MC_MSR(n), UINT64_MAX));
    vcpu_set_control(cpu, CR0_ET, 0, CR4_MCE, 0);
}

static void setup(void)
{
    const struct vcpu_platform platform = {.acknowledge = acknowledge};

    vcpu_rig_open(&rig, &platform);
    cpu = rig.cpu;
    vcpu_rig_start_real(&rig, CODE, STACK);
    vcpu_rig_set_vector(&rig, EXC_MC, HANDLER);
    vcpu_rig_set_vector(&rig, EXC_DB, OTHER);
    vcpu_rig_set_vector(&rig, EXC_NMI, OTHER);
    vcpu_rig_set_vector(&rig, 0x40, OTHER);
    vcpu_rig_put(&rig, HANDLER, "\x90\xcf", 2); /* nop; iret */
    vcpu_rig_put(&rig, OTHER, "\x90\xcf", 2);
    vcpu_rig_put(&rig, CODE, "\x90\x90\x90\x90\x90\x90", 6);
    enable();
}

static void teardown(void)
{
    vcpu_rig_close(&rig);
}

static uint64_t msr(uint32_t index)
{
    uint64_t value = 0;

    ck_assert_msg(cpu_read_msr(cpu, index, &value), "MSR %#x", index);
    return value;
}

static enum mce_outcome inject(unsigned bank, uint64_t status, uint64_t addr)
{
    const struct mce_error e = {
        .bank = bank, .status = status, .addr = addr, .misc = 0x86, .ripv = true};

    return mce_inject(cpu, &e);
}

static void expect_bank(unsigned n, uint64_t status, uint64_t addr, uint64_t misc)
{
    ck_assert_uint_eq(msr(MC_MSR(n) + 1), status);
    ck_assert_uint_eq(msr(MC_MSR(n) + 2), addr);
    ck_assert_uint_eq(msr(MC_MSR(n) + 3), misc);
}

START_TEST(there_are_ten_banks)
{
    uint64_t value;

    ck_assert_uint_eq(msr(MCG_CAP_MSR), 0x10a);
    ck_assert(!cpu_write_msr(cpu, MCG_CAP_MSR, 0));
    ck_assert_uint_eq(msr(MC_MSR(9)), UINT64_MAX);
    ck_assert(!cpu_read_msr(cpu, MC_MSR(10), &value));
    ck_assert(!cpu_write_msr(cpu, MC_MSR(10), 0));
    ck_assert_int_eq(inject(10, UNCORRECTED, 0), MCE_NO_BANK);
}
END_TEST

START_TEST(what_software_may_write)
{
    inject(3, CORRECTED, 0x1000);
    for (unsigned n = 1; n <= 3; n++) {
        ck_assert(!cpu_write_msr(cpu, MC_MSR(3) + n, 1));
        ck_assert(!cpu_write_msr(cpu, MC_MSR(3) + n, UINT64_MAX));
        ck_assert(cpu_write_msr(cpu, MC_MSR(3) + n, 0));
        ck_assert_uint_eq(msr(MC_MSR(3) + n), 0);
    }
    ck_assert(cpu_write_msr(cpu, MC_MSR(3), 0x123));
    ck_assert_uint_eq(msr(MC_MSR(3)), 0x123);
    ck_assert(!cpu_write_msr(cpu, MCG_CTL_MSR, 1));
    ck_assert(cpu_write_msr(cpu, MCG_CTL_MSR, 0));
    ck_assert(!cpu_write_msr(cpu, MCG_STATUS_MSR, 8));
    ck_assert(cpu_write_msr(cpu, MCG_STATUS_MSR, 7));
}
END_TEST

START_TEST(a_corrected_error_is_logged_only)
{
    ck_assert_int_eq(inject(2, CORRECTED, 0x5000), MCE_LOGGED);
    vcpu_run(cpu, 1);
    ck_assert_uint_eq(cpu->rip, CODE + 1);
    expect_bank(2, LOGGED | CORRECTED, 0x5000, 0); /* no MISCV */
    ck_assert_uint_eq(msr(MCG_STATUS_MSR), 0);
}
END_TEST

START_TEST(an_uncorrected_error_raises_mc)
{
    vcpu_set_rflags(cpu, EFLAGS_IF);
    ck_assert_int_eq(inject(4, UNCORRECTED, 0x7000), MCE_RAISED);
    ck_assert_int_eq(vcpu_run(cpu, 1), VCPU_EXIT_BUDGET);
    ck_assert_uint_eq(cpu->rip, HANDLER + 1);
    ck_assert_uint_eq(vcpu_rig_stack(&rig, 0), CODE);
    ck_assert_uint_eq(vcpu_rig_stack(&rig, 2), EFLAGS_IF | EFLAGS_ONE);
    ck_assert_uint_eq(cpu->eflags & EFLAGS_IF, 0);
    ck_assert_uint_eq(msr(MCG_STATUS_MSR), MCG_STATUS_RIPV | MCG_STATUS_MCIP);
    expect_bank(4, LOGGED | UNCORRECTED, 0x7000, 0x86);
    ck_assert(cpu_write_msr(cpu, MCG_STATUS_MSR, 0));
    vcpu_run(cpu, 2);
    ck_assert_uint_eq(cpu->rip, CODE + 1); /* once */
    ck_assert_uint_eq(cpu->exceptions[EXC_MC], 1);
}
END_TEST

START_TEST(eipv_is_the_errors)
{
    const struct mce_error e = {.bank = 0, .status = UNCORRECTED, .eipv = true};

    ck_assert_int_eq(mce_inject(cpu, &e), MCE_RAISED);
    vcpu_run(cpu, 1);
    ck_assert_uint_eq(msr(MCG_STATUS_MSR), MCG_STATUS_EIPV | MCG_STATUS_MCIP);
}
END_TEST

/* Disabled in the bank or everywhere: logged without EN. */
START_TEST(a_disabled_error_raises_nothing)
{
    cpu_write_msr(cpu, _i ? MCG_CTL_MSR : MC_MSR(1), 0);
    ck_assert_int_eq(inject(1, UNCORRECTED, 0x1000), MCE_LOGGED);
    vcpu_run(cpu, 1);
    ck_assert_uint_eq(cpu->rip, CODE + 1);
    expect_bank(1, MCI_STATUS_VAL | UNCORRECTED, 0x1000, 0x86);
}
END_TEST

START_TEST(without_cr4_mce_it_is_shutdown)
{
    vcpu_set_control(cpu, CR0_ET, 0, 0, 0);
    ck_assert_int_eq(inject(1, UNCORRECTED, 0x1000), MCE_SHUTDOWN);
    ck_assert_int_eq(vcpu_run(cpu, 1), VCPU_EXIT_SHUTDOWN);
    ck_assert_ptr_nonnull(cpu->shutdown);
    ck_assert_uint_eq(cpu->rip, CODE);
}
END_TEST

START_TEST(a_second_one_while_mcip_is_set_is_shutdown)
{
    inject(1, UNCORRECTED, 0x1000);
    vcpu_run(cpu, 1);
    ck_assert_int_eq(inject(2, UNCORRECTED, 0x2000), MCE_SHUTDOWN);
    ck_assert_int_eq(vcpu_run(cpu, 1), VCPU_EXIT_SHUTDOWN);
    expect_bank(2, LOGGED | UNCORRECTED, 0x2000, 0x86);
}
END_TEST

/* SDM 3B 16.3.2.2.1. */
START_TEST(which_error_a_full_bank_keeps)
{
    static const struct {
        uint64_t first, second;
        bool keeps_first;
    } rows[] = {
        {CORRECTED, CORRECTED, true},
        {CORRECTED, UNCORRECTED, false},
        {UNCORRECTED, CORRECTED, true},
        {UNCORRECTED, UNCORRECTED, true},
    };
    bool first = rows[_i].keeps_first;

    inject(5, rows[_i].first, 0x1000);
    inject(5, rows[_i].second, 0x2000);
    ck_assert_uint_eq(msr(MC_MSR(5) + 1),
                      LOGGED | MCI_STATUS_OVER | (first ? rows[_i].first : rows[_i].second));
    ck_assert_uint_eq(msr(MC_MSR(5) + 2), first ? 0x1000 : 0x2000);
}
END_TEST

/* A device whose access breaks something. */
static void breaking_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    (void)device, (void)offset, (void)value, (void)size;
    vcpu_signal(cpu, VCPU_PENDING_SMI | VCPU_PENDING_NMI | VCPU_PENDING_INTR, 0);
    inject(0, UNCORRECTED, 0);
}

static uint64_t breaking_read(void *device, uint64_t offset, unsigned size)
{
    (void)device, (void)offset, (void)size;
    return 0;
}

/* SDM 3A table 6-2: before the trap of the last instruction, SMI, NMI and interrupts. */
START_TEST(mc_comes_before_everything_else)
{
    static const struct bus_region_ops breaking = {"breaking", breaking_read, breaking_write, 1};
    struct error err = {0};

    ck_assert(bus_add_ports(rig.bus, 0x80, 1, &breaking, NULL, &err));
    vcpu_rig_put(&rig, CODE, "\xe6\x80\x90\x90", 4); /* out 80h, al */
    vcpu_rig_put(&rig, 0x38000, "\x0f\xaa", 2);      /* rsm */
    vcpu_set_rflags(cpu, EFLAGS_IF | EFLAGS_TF);
    vcpu_run(cpu, 1);
    ck_assert_uint_eq(cpu->exceptions[EXC_MC], 1);
    ck_assert(cpu->smm);
    ck_assert_uint_eq(cpu->gpr[GPR_RSP], STACK - 6);
    ck_assert_uint_eq(vcpu_rig_stack(&rig, 0), CODE + 2);
    ck_assert_uint_eq(vcpu_rig_stack(&rig, 2), EFLAGS_IF | EFLAGS_TF | EFLAGS_ONE);
    vcpu_run(cpu, 1); /* rsm */
    ck_assert_uint_eq(cpu->gpr[GPR_RSP], STACK - 18);
    ck_assert_uint_eq(vcpu_rig_stack(&rig, 3), HANDLER); /* #DB */
    ck_assert_uint_eq(vcpu_rig_stack(&rig, 0), OTHER);   /* NMI */
    ck_assert_uint_eq(cpu->interrupts, 1);
}
END_TEST

START_TEST(no_shadow_keeps_it_back)
{
    vcpu_rig_put(&rig, CODE, "\x8e\xd0\x90\x90", 4); /* mov ss, ax; nop */
    vcpu_run(cpu, 1);
    inject(0, UNCORRECTED, 0);
    vcpu_run(cpu, 1);
    ck_assert_uint_eq(cpu->rip, HANDLER + 1);
    ck_assert_uint_eq(vcpu_rig_stack(&rig, 0), CODE + 2);
}
END_TEST

START_TEST(it_ends_hlt)
{
    vcpu_rig_put(&rig, CODE, "\xf4\x90", 2);
    ck_assert_int_eq(vcpu_run(cpu, 5), VCPU_EXIT_HALTED);
    ck_assert(!vcpu_wakeable(cpu));
    inject(0, UNCORRECTED, 0);
    ck_assert(vcpu_wakeable(cpu));
    ck_assert_int_eq(vcpu_run(cpu, 1), VCPU_EXIT_BUDGET);
    ck_assert_uint_eq(vcpu_rig_stack(&rig, 0), CODE + 1);
}
END_TEST

/* #MC is benign: a fault of its delivery is handled by itself (SDM 3A table 6-4). */
START_TEST(a_fault_of_its_delivery_is_no_double_fault)
{
    cpu->idtr.limit = EXC_MC * 4 - 1;
    vcpu_rig_set_vector(&rig, EXC_GP, OTHER);
    inject(0, UNCORRECTED, 0);
    vcpu_run(cpu, 2);
    ck_assert_uint_eq(cpu->rip, OTHER + 1);
    ck_assert_uint_eq(cpu->recent_exceptions[0].vector, EXC_GP);
    ck_assert_uint_eq(cpu->exceptions[EXC_DF], 0);
}
END_TEST

START_TEST(a_reset_keeps_the_log)
{
    inject(6, CORRECTED, 0x3000);
    vcpu_reset(cpu, false);
    expect_bank(6, LOGGED | CORRECTED, 0x3000, 0);
    ck_assert_uint_eq(msr(MC_MSR(6)), 0);
    ck_assert_uint_eq(msr(MCG_CTL_MSR), 0);
    ck_assert_uint_eq(msr(MCG_STATUS_MSR), 0);
}
END_TEST

START_TEST(what_is_pending_is_saved)
{
    struct state *s = state_create_saving(), *l;
    const void *bytes;
    size_t length;

    inject(7, UNCORRECTED, 0x4000);
    vcpu_serialize(cpu, s);
    vcpu_signal(cpu, 0, VCPU_PENDING_MCE);
    cpu->msr.mc[7].status = 0;
    bytes = state_data(s, &length);
    l = state_create_loading(bytes, length);
    vcpu_serialize(cpu, l);
    ck_assert(state_finish(l, NULL));
    vcpu_run(cpu, 1);
    ck_assert_uint_eq(cpu->rip, HANDLER + 1);
    ck_assert_uint_eq(msr(MCG_STATUS_MSR), MCG_STATUS_RIPV | MCG_STATUS_MCIP);
    expect_bank(7, LOGGED | UNCORRECTED, 0x4000, 0x86);
    state_destroy(l);
    state_destroy(s);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("mce");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, there_are_ten_banks);
    tcase_add_test(tc, what_software_may_write);
    tcase_add_test(tc, a_corrected_error_is_logged_only);
    tcase_add_test(tc, an_uncorrected_error_raises_mc);
    tcase_add_test(tc, eipv_is_the_errors);
    tcase_add_loop_test(tc, a_disabled_error_raises_nothing, 0, 2);
    tcase_add_test(tc, without_cr4_mce_it_is_shutdown);
    tcase_add_test(tc, a_second_one_while_mcip_is_set_is_shutdown);
    tcase_add_loop_test(tc, which_error_a_full_bank_keeps, 0, 4);
    tcase_add_test(tc, mc_comes_before_everything_else);
    tcase_add_test(tc, no_shadow_keeps_it_back);
    tcase_add_test(tc, it_ends_hlt);
    tcase_add_test(tc, a_fault_of_its_delivery_is_no_double_fault);
    tcase_add_test(tc, a_reset_keeps_the_log);
    tcase_add_test(tc, what_is_pending_is_saved);
    return run_suite("mce", tc);
}
