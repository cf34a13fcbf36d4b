/* System management mode: what RSM refuses, and what waits until RSM. */
#include "cpu/smm.h"
#include "tests/unit/cpu/vcpu_rig.h"

#define CODE    0x1000u
#define HANDLER (SMM_BASE_RESET + 0x8000u)
#define AREA    (SMM_BASE_RESET + 0xfe00u)

static struct vcpu_rig rig;
static struct bus *bus;
static struct vcpu *cpu;

static void setup(void)
{
    vcpu_rig_open(&rig, NULL);
    cpu = rig.cpu;
    bus = rig.bus;
    vcpu_set_segment(cpu, SEG_CS, 0, 0, 0xffff,
                     SEGMENT_PRESENT | SEGMENT_S | SEGMENT_WRITABLE | SEGMENT_ACCESSED);
    cpu->rip = CODE;
    bus_write(bus, gpa(CODE), "\x90\xfb\x90\x90\x90\x90", 6); /* nop; sti; nops */
    bus_write(bus, gpa(HANDLER), "\x90\x0f\xaa", 3);          /* nop; rsm */
}

static void teardown(void)
{
    vcpu_rig_close(&rig);
}

/* In SMM, before the RSM. */
static void enter(void)
{
    vcpu_signal(cpu, VCPU_PENDING_SMI, 0);
    ck_assert_int_eq(vcpu_run(cpu, 1), VCPU_EXIT_BUDGET);
    ck_assert(cpu->smm);
    ck_assert_uint_eq(cpu->rip, 0x8001);
}

static void patch(unsigned offset, uint64_t value)
{
    value = htole64(value);
    bus_write(bus, gpa(AREA + offset), &value, 8);
}

#define AT_EFER   0xd0
#define AT_CR4    0x148
#define AT_CR3    0x150
#define AT_CR0    0x158
#define AT_DR7    0x160
#define AT_DR6    0x168
#define AT_RFLAGS 0x170

static const struct {
    const char *what;
    uint64_t cr0, cr3, cr4, efer, rflags;
    bool runs;
} states[] = {
    {"real mode", CR0_ET, 0, 0, 0, 2, true},
    {"reserved bits of CR0 that are ignored", CR0_ET | 0x10000fc0, 0, 0, 0, 2, true},
    {"VM in real mode", CR0_ET, 0, 0, 0, EFLAGS_VM, true},
    {"PG without PE", CR0_PG, 0, 0, 0, 2, false},
    {"NW without CD", CR0_NW, 0, 0, 0, 2, false},
    {"upper half of CR0", BIT64(32), 0, 0, 0, 2, false},
    {"reserved bit of CR4", CR0_ET, 0, BIT64(15), 0, 2, false},
    {"PCIDE outside long mode", CR0_ET, 0, CR4_PCIDE, 0, 2, false},
    {"reserved bit of EFER", CR0_ET, 0, 0, BIT64(1), 2, false},
    {"LME in real mode", CR0_ET, 0, 0, EFER_LME, 2, true},
    {"LMA without paging", CR0_PE, 0, CR4_PAE, EFER_LME | EFER_LMA, 2, false},
    {"LMA without LME", CR0_PE | CR0_PG, 0, CR4_PAE, EFER_LMA, 2, false},
    {"paging with LME, no LMA", CR0_PE | CR0_PG, 0, CR4_PAE, EFER_LME, 2, false},
    {"long mode", CR0_PE | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, 2, true},
    {"long mode without PAE", CR0_PE | CR0_PG, 0, 0, EFER_LME | EFER_LMA, 2, false},
    {"long mode with VM", CR0_PE | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, EFLAGS_VM, false},
    {"CR3 above the address width", CR0_PE | CR0_PG, BIT64(60), CR4_PAE, EFER_LME | EFER_LMA, 2,
     false},
    {"PDPTE with a reserved bit", CR0_PE | CR0_PG, 0x2000, CR4_PAE, 0, 2, false},
    {"PAE paging", CR0_PE | CR0_PG, 0x3000, CR4_PAE, 0, 2, true},
};

START_TEST(rsm_refuses_impossible_states)
{
    bus_write(bus, gpa(0x2000), "\xe1", 1);
    enter();
    patch(AT_CR0, states[_i].cr0);
    patch(AT_CR3, states[_i].cr3);
    patch(AT_CR4, states[_i].cr4);
    patch(AT_EFER, states[_i].efer);
    patch(AT_RFLAGS, states[_i].rflags);
    ck_assert_msg(vcpu_run(cpu, 1) == (states[_i].runs ? VCPU_EXIT_BUDGET : VCPU_EXIT_SHUTDOWN),
                  "%s", states[_i].what);
    ck_assert_uint_eq(vcpu_instructions(cpu), 2);
    if (!states[_i].runs) {
        ck_assert_ptr_nonnull(cpu->shutdown);
        return;
    }
    ck_assert(!cpu->smm);
    ck_assert_uint_eq(cpu->rip, CODE);
    ck_assert_uint_eq(cpu->mmu.efer, states[_i].efer);
}
END_TEST

START_TEST(rsm_refuses_debug_registers_above_32_bits)
{
    enter();
    patch(_i == 0 ? AT_DR6 : AT_DR7, BIT64(40));
    ck_assert_int_eq(vcpu_run(cpu, 1), VCPU_EXIT_SHUTDOWN);
}
END_TEST

START_TEST(an_init_in_smm_waits_until_rsm)
{
    enter();
    vcpu_signal(cpu, VCPU_PENDING_INIT, 0);
    ck_assert(!vcpu_wakeable(cpu));
    ck_assert_int_eq(vcpu_run(cpu, 1), VCPU_EXIT_BUDGET);
    ck_assert(!cpu->smm);
    ck_assert_uint_eq(cpu->rip, 0xfff0); /* right behind the RSM */
    ck_assert_uint_eq(cpu->seg[SEG_CS].selector, 0xf000);
    ck_assert_uint_eq(cpu->smbase, SMM_BASE_RESET);
}
END_TEST

START_TEST(init_keeps_smbase_and_reset_does_not)
{
    enter();
    patch(0x100, 0x40000);
    vcpu_run(cpu, 1);
    ck_assert_uint_eq(cpu->smbase, 0x40000);
    vcpu_reset(cpu, true);
    ck_assert_uint_eq(cpu->smbase, 0x40000);
    vcpu_reset(cpu, false);
    ck_assert_uint_eq(cpu->smbase, SMM_BASE_RESET);
}
END_TEST

START_TEST(an_smi_does_not_split_sti_from_the_next_instruction)
{
    uint64_t rip;

    vcpu_run(cpu, 2); /* nop; sti */
    vcpu_signal(cpu, VCPU_PENDING_SMI, 0);
    vcpu_run(cpu, 1);
    ck_assert(cpu->smm);
    bus_read(bus, gpa(AREA + 0x178), &rip, 8);
    ck_assert_uint_eq(le64toh(rip), CODE + 3);
}
END_TEST

START_TEST(an_smi_wakes_and_sleep_goes_on)
{
    cpu->attention |= VCPU_ATTENTION_HALTED;
    ck_assert(!vcpu_wakeable(cpu));
    vcpu_signal(cpu, VCPU_PENDING_SMI, 0);
    ck_assert(vcpu_wakeable(cpu));
    ck_assert_int_eq(vcpu_run(cpu, 3), VCPU_EXIT_HALTED);
    ck_assert(!cpu->smm);
    ck_assert_uint_eq(vcpu_instructions(cpu), 2);
    ck_assert_uint_eq(cpu->smi_count, 1);
}
END_TEST

START_TEST(smm_can_be_saved_and_restored)
{
    struct state *s = state_create_saving(), *l;
    struct error err = {0};
    const void *bytes;
    size_t length;

    cpu->nmi_blocked = true;
    enter();
    vcpu_serialize(cpu, s);
    vcpu_destroy(cpu);
    cpu = rig.cpu = vcpu_rig_create_cpu(&rig, NULL);
    bytes = state_data(s, &length);
    l = state_create_loading(bytes, length);
    vcpu_serialize(cpu, l);
    ck_assert(state_finish(l, &err));
    ck_assert(cpu->smm);
    vcpu_run(cpu, 1);
    ck_assert(!cpu->smm);
    ck_assert(cpu->nmi_blocked);
    ck_assert_uint_eq(cpu->rip, CODE);
    state_destroy(l);
    state_destroy(s);
}
END_TEST

/* A chipset: OUT brings an SMI, or an INIT if the value is odd. */
static void chipset_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    (void)device, (void)offset, (void)size;
    vcpu_signal(cpu, value & 1 ? VCPU_PENDING_INIT : VCPU_PENDING_SMI, 0);
    vcpu_signal(cpu, VCPU_PENDING_NMI, 0);
}

static uint64_t chipset_read(void *device, uint64_t offset, unsigned size)
{
    (void)device, (void)offset, (void)size;
    return 0;
}

static void start_stepped_out(uint8_t value)
{
    static const struct bus_region_ops chipset = {"chipset", chipset_read, chipset_write, 1};
    struct error err = {0};

    ck_assert(bus_add_ports(bus, 0xb2, 1, &chipset, NULL, &err));
    vcpu_rig_start_real(&rig, CODE, 0x8000);
    vcpu_rig_set_vector(&rig, EXC_DB, 0x3000);
    vcpu_rig_set_vector(&rig, EXC_NMI, 0x4000);
    vcpu_rig_put(&rig, CODE, "\xe6\xb2\x90\x90", 4); /* out b2h, al */
    vcpu_rig_put(&rig, 0x3000, "\x90\x90\x90\x90", 4);
    vcpu_rig_put(&rig, 0x4000, "\x90\x90\x90\x90", 4);
    cpu->gpr[GPR_RAX] = value;
    vcpu_set_rflags(cpu, EFLAGS_ONE | EFLAGS_TF);
}

/* SDM 3A table 6-2: SMI, then traps of the last instruction, then NMI. */
START_TEST(an_smi_comes_before_a_trap_which_waits_for_rsm)
{
    start_stepped_out(0);
    ck_assert_int_eq(vcpu_run(cpu, 1), VCPU_EXIT_BUDGET);
    ck_assert(cpu->smm);
    ck_assert_uint_eq(cpu->exceptions[EXC_DB], 0);
    ck_assert_uint_eq(cpu->dr[6] & DR6_BS, 0);
    ck_assert_int_eq(vcpu_run(cpu, 2), VCPU_EXIT_BUDGET); /* nop, rsm, then what it let wait */
    ck_assert(!cpu->smm);
    ck_assert_uint_eq(cpu->exceptions[EXC_DB], 1);
    ck_assert_uint_eq(cpu->dr[6] & DR6_BS, DR6_BS);
    ck_assert_int_eq(vcpu_run(cpu, 1), VCPU_EXIT_BUDGET);
    ck_assert_uint_eq(cpu->rip, 0x4001);
    ck_assert_uint_eq(vcpu_rig_stack(&rig, 0), 0x3000);
    ck_assert_uint_eq(vcpu_rig_stack(&rig, 3), CODE + 2);
}
END_TEST

START_TEST(an_init_comes_before_a_trap_and_forgets_it)
{
    start_stepped_out(1);
    ck_assert_int_eq(vcpu_run(cpu, 1), VCPU_EXIT_BUDGET);
    ck_assert_uint_eq(cpu->exceptions[EXC_DB], 0);
    ck_assert_uint_eq(cpu->debug.hits, 0);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("smm");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, rsm_refuses_impossible_states, 0, (int)ARRAY_SIZE(states));
    tcase_add_loop_test(tc, rsm_refuses_debug_registers_above_32_bits, 0, 2);
    tcase_add_test(tc, an_init_in_smm_waits_until_rsm);
    tcase_add_test(tc, init_keeps_smbase_and_reset_does_not);
    tcase_add_test(tc, an_smi_does_not_split_sti_from_the_next_instruction);
    tcase_add_test(tc, an_smi_wakes_and_sleep_goes_on);
    tcase_add_test(tc, smm_can_be_saved_and_restored);
    tcase_add_test(tc, an_smi_comes_before_a_trap_which_waits_for_rsm);
    tcase_add_test(tc, an_init_comes_before_a_trap_and_forgets_it);
    return run_suite("smm", tc);
}
