/* Non-maskable interrupts, interrupt shadows and INIT, on a processor in real mode. */
#include "cpu/system.h"
#include "tests/unit/cpu/vcpu_rig.h"

#define CODE   0x1000u
#define NMI    0x2000u /* handlers */
#define INTR   0x3000u
#define STACK  0x8000u
#define VECTOR 0x40

static struct vcpu_rig rig;
static struct vcpu *cpu;
static unsigned acknowledged;

static int acknowledge(void *opaque)
{
    (void)opaque;
    acknowledged++;
    vcpu_signal(cpu, 0, VCPU_PENDING_INTR);
    return VECTOR;
}

static void put(uint64_t address, const void *bytes, unsigned size)
{
    vcpu_rig_put(&rig, address, bytes, size);
}

static void setup(void)
{
    const struct vcpu_platform platform = {.acknowledge = acknowledge};

    vcpu_rig_open(&rig, &platform);
    cpu = rig.cpu;
    vcpu_rig_start_real(&rig, CODE, STACK);
    vcpu_rig_set_vector(&rig, EXC_NMI, NMI);
    vcpu_rig_set_vector(&rig, VECTOR, INTR);
    put(NMI, "\x90\xcf", 2); /* nop; iret */
    put(INTR, "\x90\xcf", 2);
    acknowledged = 0;
}

static void teardown(void)
{
    vcpu_rig_close(&rig);
}

/* The return address on the stack of the handler that has just begun. */
static uint16_t pushed_ip(void)
{
    return vcpu_rig_stack(&rig, 0);
}

/* Instructions whose successor is not interrupted, by an NMI and by INTR. */
static const struct {
    const char *name, *code;
    uint8_t length;
    bool nmi, intr;
} shadows[] = {
    {"mov ss, ax", "\x8e\xd0", 2, true, true},
    {"pop ss", "\x17", 1, true, true},
    {"mov ds, ax", "\x8e\xd8", 2, false, false},
    {"pop ds", "\x1f", 1, false, false},
    {"lss sp, [0]", "\x0f\xb2\x26\x00\x00", 5, false, false},
    {"nop", "\x90", 1, false, false},
};

/* Up to the handler's second instruction. */
static void run_shadow(unsigned n, uint32_t pending, bool shadowed)
{
    put(CODE, shadows[n].code, shadows[n].length);
    put(CODE + shadows[n].length, "\x90\x90\x90\x90", 4);
    put(0, "\x00\x80\x00\x00", 4); /* what LSS loads */
    put(STACK, "\x00\x00", 2);
    vcpu_set_rflags(cpu, EFLAGS_IF);
    ck_assert_int_eq(vcpu_run(cpu, 1), VCPU_EXIT_BUDGET);
    vcpu_signal(cpu, pending, 0);
    ck_assert_int_eq(vcpu_run(cpu, shadowed ? 2 : 1), VCPU_EXIT_BUDGET);
    ck_assert_msg(pushed_ip() == CODE + shadows[n].length + shadowed, "%s", shadows[n].name);
}

START_TEST(mov_ss_shadows_the_next_instruction_from_nmi)
{
    run_shadow((unsigned)_i, VCPU_PENDING_NMI, shadows[_i].nmi);
    ck_assert_uint_eq(cpu->rip, NMI + 1);
}
END_TEST

START_TEST(mov_ss_shadows_the_next_instruction_from_intr)
{
    run_shadow((unsigned)_i, VCPU_PENDING_INTR, shadows[_i].intr);
    ck_assert_uint_eq(cpu->rip, INTR + 1);
    ck_assert_uint_eq(acknowledged, 1);
}
END_TEST

START_TEST(sti_lets_the_next_instruction_run)
{
    put(CODE, "\xfb\x40\x40\x40", 4); /* sti; inc ax */
    vcpu_signal(cpu, VCPU_PENDING_INTR, 0);
    ck_assert_int_eq(vcpu_run(cpu, 3), VCPU_EXIT_BUDGET); /* sti, inc, nop of the handler */
    ck_assert_uint_eq(cpu->rip, INTR + 1);
    ck_assert_uint_eq(cpu->gpr[GPR_RAX] & 0xffff, 1);
    ck_assert_uint_eq(pushed_ip(), CODE + 2);
}
END_TEST

START_TEST(sti_with_interrupts_on_shadows_nothing)
{
    put(CODE, "\x90\xfb\x40\x40", 4);
    vcpu_set_rflags(cpu, EFLAGS_IF);
    vcpu_run(cpu, 2);
    vcpu_signal(cpu, VCPU_PENDING_INTR, 0);
    vcpu_run(cpu, 1);
    ck_assert_uint_eq(pushed_ip(), CODE + 2);
    ck_assert_uint_eq(cpu->gpr[GPR_RAX] & 0xffff, 0);
}
END_TEST

START_TEST(sti_and_hlt_wait_for_the_interrupt)
{
    put(CODE, "\xfb\xf4\x90", 3);
    ck_assert_int_eq(vcpu_run(cpu, 10), VCPU_EXIT_HALTED);
    vcpu_signal(cpu, VCPU_PENDING_INTR, 0);
    ck_assert(vcpu_wakeable(cpu));
    vcpu_run(cpu, 1);
    ck_assert_uint_eq(pushed_ip(), CODE + 2);
}
END_TEST

START_TEST(an_nmi_ends_hlt_whatever_if_says)
{
    put(CODE, "\xf4\x90", 2);
    ck_assert_int_eq(vcpu_run(cpu, 10), VCPU_EXIT_HALTED);
    vcpu_signal(cpu, VCPU_PENDING_INTR, 0);
    ck_assert(!vcpu_wakeable(cpu));
    vcpu_signal(cpu, VCPU_PENDING_NMI, 0);
    ck_assert(vcpu_wakeable(cpu));
    ck_assert_int_eq(vcpu_run(cpu, 2), VCPU_EXIT_BUDGET);
    ck_assert_uint_eq(cpu->rip, CODE + 1); /* the handler has returned behind HLT */
    ck_assert_uint_eq(acknowledged, 0);
}
END_TEST

START_TEST(one_nmi_is_kept_while_blocked)
{
    put(CODE, "\x90\x90\x90\x90", 4);
    vcpu_signal(cpu, VCPU_PENDING_NMI, 0);
    vcpu_run(cpu, 1); /* the handler's nop */
    ck_assert(cpu->nmi_blocked);
    vcpu_signal(cpu, VCPU_PENDING_NMI, 0);
    vcpu_signal(cpu, VCPU_PENDING_NMI, 0);
    ck_assert(!vcpu_wakeable(cpu));
    vcpu_run(cpu, 3); /* iret; nop, iret of the second one */
    ck_assert_uint_eq(cpu->interrupts, 2);
    ck_assert(!cpu->nmi_blocked);
    vcpu_run(cpu, 2);
    ck_assert_uint_eq(cpu->rip, CODE + 2);
    ck_assert_uint_eq(cpu->interrupts, 2);
}
END_TEST

START_TEST(an_nmi_comes_before_intr)
{
    put(CODE, "\x90", 1);
    vcpu_set_rflags(cpu, EFLAGS_IF);
    vcpu_signal(cpu, VCPU_PENDING_NMI | VCPU_PENDING_INTR, 0);
    vcpu_run(cpu, 1);
    ck_assert_uint_eq(cpu->rip, NMI + 1);
    ck_assert_uint_eq(acknowledged, 0);
}
END_TEST

START_TEST(blocking_is_saved_and_restored)
{
    struct state *s = state_create_saving(), *l;
    const void *bytes;
    size_t length;

    put(CODE, "\x90", 1);
    vcpu_signal(cpu, VCPU_PENDING_NMI, 0);
    vcpu_run(cpu, 1);
    vcpu_signal(cpu, VCPU_PENDING_NMI, 0);
    vcpu_serialize(cpu, s);
    cpu->nmi_blocked = false;
    vcpu_signal(cpu, 0, VCPU_PENDING_NMI);
    bytes = state_data(s, &length);
    l = state_create_loading(bytes, length);
    vcpu_serialize(cpu, l);
    ck_assert(state_finish(l, NULL));
    ck_assert(cpu->nmi_blocked);
    ck_assert(!vcpu_wakeable(cpu));
    vcpu_run(cpu, 2);
    ck_assert_uint_eq(cpu->interrupts, 2);
    state_destroy(l);
    state_destroy(s);
}
END_TEST

/* SDM 3A table 9-1. */
START_TEST(init_keeps_what_the_manual_says)
{
    put(CODE, "\xf4", 1);
    cpu->msr.star = 0x1234;
    cpu->msr.pat = 0x0606060606060606;
    cpu->vreg[3].q[0] = 0x5555;
    cpu->x87.control = 0x27f;
    cpu->mxcsr = 0x1f81;
    cpu->tsc_offset = 77;
    cpu->dr[7] = 0x7ff;
    cpu->cr2 = 0x1000;
    vcpu_set_control(cpu, CR0_PE | CR0_ET | CR0_NW | CR0_CD | CR0_WP, 0x5000, CR4_PSE, 0);
    vcpu_signal(cpu, VCPU_PENDING_INIT, 0);
    ck_assert(vcpu_wakeable(cpu));
    ck_assert_int_eq(vcpu_run(cpu, 0), VCPU_EXIT_BUDGET);
    ck_assert_uint_eq(cpu->mmu.cr0, CR0_ET | CR0_NW | CR0_CD);
    ck_assert_uint_eq(cpu->mmu.cr3, 0);
    ck_assert_uint_eq(cpu->mmu.cr4, 0);
    ck_assert_uint_eq(cpu->cr2, 0);
    ck_assert_uint_eq(cpu->dr[7], 0x400);
    ck_assert_uint_eq(cpu->dr[6], 0xffff0ff0);
    ck_assert_uint_eq(cpu->rip, 0xfff0);
    ck_assert_uint_eq(cpu->seg[SEG_CS].base, 0xffff0000);
    ck_assert_uint_eq(cpu->gpr[GPR_RDX], cpu->model->signature);
    ck_assert_uint_eq(vcpu_rflags(cpu), 2);
    ck_assert_uint_eq(cpu->msr.star, 0x1234);
    ck_assert_uint_eq(cpu->msr.pat, 0x0606060606060606);
    ck_assert_uint_eq(cpu->vreg[3].q[0], 0x5555);
    ck_assert_uint_eq(cpu->x87.control, 0x27f);
    ck_assert_uint_eq(cpu->mxcsr, 0x1f81);
    ck_assert_uint_eq(cpu->tsc_offset, 77);
}
END_TEST

START_TEST(init_ends_hlt_and_nmi_blocking)
{
    put(CODE, "\x90\xf4", 2);
    put(NMI, "\xf4", 1);
    vcpu_signal(cpu, VCPU_PENDING_NMI, 0);
    ck_assert_int_eq(vcpu_run(cpu, 5), VCPU_EXIT_HALTED);
    ck_assert(cpu->nmi_blocked);
    vcpu_signal(cpu, VCPU_PENDING_INIT, 0);
    ck_assert_int_eq(vcpu_run(cpu, 0), VCPU_EXIT_BUDGET);
    ck_assert(!cpu->nmi_blocked);
    ck_assert_uint_eq(cpu->rip, 0xfff0);
}
END_TEST

START_TEST(a_triple_fault_is_shutdown)
{
    cpu->idtr.limit = 0;
    put(CODE, "\x0f\x0b", 2);
    ck_assert_int_eq(vcpu_run(cpu, 10), VCPU_EXIT_SHUTDOWN);
    ck_assert_ptr_nonnull(cpu->shutdown);
    ck_assert_uint_eq(cpu->rip, CODE);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("nmi");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, mov_ss_shadows_the_next_instruction_from_nmi, 0,
                        (int)ARRAY_SIZE(shadows));
    tcase_add_loop_test(tc, mov_ss_shadows_the_next_instruction_from_intr, 0,
                        (int)ARRAY_SIZE(shadows));
    tcase_add_test(tc, sti_lets_the_next_instruction_run);
    tcase_add_test(tc, sti_with_interrupts_on_shadows_nothing);
    tcase_add_test(tc, sti_and_hlt_wait_for_the_interrupt);
    tcase_add_test(tc, an_nmi_ends_hlt_whatever_if_says);
    tcase_add_test(tc, one_nmi_is_kept_while_blocked);
    tcase_add_test(tc, an_nmi_comes_before_intr);
    tcase_add_test(tc, blocking_is_saved_and_restored);
    tcase_add_test(tc, init_keeps_what_the_manual_says);
    tcase_add_test(tc, init_ends_hlt_and_nmi_blocking);
    tcase_add_test(tc, a_triple_fault_is_shutdown);
    return run_suite("nmi", tc);
}
