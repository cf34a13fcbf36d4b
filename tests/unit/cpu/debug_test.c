/* Breakpoints in DR0-DR3 and those of a debugger on the host, on a processor in real mode whose #DB
 * handler halts. */
#include "cpu/debug.h"
#include "cpu/system.h"
#include "tests/unit/cpu/vcpu_rig.h"

#define CODE    0x1000u
#define HANDLER 0x3000u
#define DATA    0x5000u
#define STACK   0x8000u

#define DR7_EXEC(n)          (1ull << (2 * (n)))
#define DR7_DATA(n, rw, len) (1ull << (2 * (n)) | (uint64_t)((len) << 2 | (rw)) << (16 + 4 * (n)))

static struct vcpu_rig rig;
static struct bus *bus;
static struct vcpu *cpu;

static void setup(void)
{
    vcpu_rig_open(&rig, NULL);
    cpu = rig.cpu;
    bus = rig.bus;
    bus_write(bus, gpa(4), "\x00\x30\x00\x00", 4); /* vector 1: 0000:3000 */
    bus_write(bus, gpa(HANDLER), "\xf4", 1);       /* hlt */
}

static void teardown(void)
{
    vcpu_rig_close(&rig);
}

static void start(const void *code, size_t length)
{
    bus_write(bus, gpa(CODE), code, length);
    vcpu_rig_start_real(&rig, CODE, STACK);
    cpu->gpr[GPR_RBX] = DATA;
}

static void set_dr(unsigned n, uint64_t address, uint64_t dr7)
{
    cpu->dr[n] = address;
    cpu->dr[7] |= dr7;
    debug_registers_changed(cpu);
}

/* IP and FLAGS that the #DB handler finds. */
static uint16_t pushed(unsigned n)
{
    return vcpu_rig_stack(&rig, n);
}

static void expect_trap(uint64_t dr6, uint16_t ip)
{
    ck_assert_int_eq(vcpu_run(cpu, 1000), VCPU_EXIT_HALTED);
    ck_assert_uint_eq(cpu->rip, HANDLER + 1);
    ck_assert_uint_eq(cpu->dr[6] & 0xe00f, dr6);
    ck_assert_uint_eq(pushed(0), ip);
}

/* inc ax; inc ax; inc ax; inc ax; hlt */
#define FOUR_INCS "\x40\x40\x40\x40\xf4"

START_TEST(execution_faults_before_the_instruction)
{
    start(FOUR_INCS, 5);
    set_dr(0, CODE + 2, DR7_EXEC(0));
    expect_trap(1, CODE + 2);
    ck_assert_uint_eq(cpu->gpr[GPR_RAX], 2);
}
END_TEST

START_TEST(execution_hits_code_that_was_decoded_before)
{
    start(FOUR_INCS, 5);
    ck_assert_int_eq(vcpu_run(cpu, 1000), VCPU_EXIT_HALTED);
    ck_assert_uint_eq(cpu->gpr[GPR_RAX], 4);
    cpu->attention = 0;
    start(FOUR_INCS, 5);
    set_dr(3, CODE + 3, DR7_EXEC(3));
    expect_trap(8, CODE + 3);
    ck_assert_uint_eq(cpu->gpr[GPR_RAX], 7);
}
END_TEST

START_TEST(resume_flag_lets_one_instruction_pass)
{
    start(FOUR_INCS, 5);
    set_dr(0, CODE + 0, DR7_EXEC(0));
    set_dr(1, CODE + 1, DR7_EXEC(1));
    vcpu_set_rflags(cpu, EFLAGS_RF | EFLAGS_ONE);
    expect_trap(2, CODE + 1);
    ck_assert_uint_eq(cpu->gpr[GPR_RAX], 1);
}
END_TEST

START_TEST(a_disabled_point_does_nothing)
{
    start(FOUR_INCS, 5);
    set_dr(0, CODE + 2, 0);
    ck_assert_int_eq(vcpu_run(cpu, 1000), VCPU_EXIT_HALTED);
    ck_assert_uint_eq(cpu->rip, CODE + 5);
    ck_assert_uint_eq(cpu->gpr[GPR_RAX], 4);
}
END_TEST

/* inc ax; mov [bx], ax; inc ax; hlt: the write's address is DATA */
#define WRITE_CODE "\x40\x89\x07\x40\xf4"
/* inc ax; mov cx, [bx]; inc ax; hlt */
#define READ_CODE "\x40\x8b\x0f\x40\xf4"

START_TEST(a_write_traps_after_the_instruction)
{
    start(WRITE_CODE, 5);
    set_dr(1, DATA, DR7_DATA(1, 1, 1));
    expect_trap(2, CODE + 3);
    ck_assert_uint_eq(cpu->gpr[GPR_RAX], 1);
    bus_read(bus, gpa(DATA), &(uint8_t){0}, 1);
}
END_TEST

START_TEST(a_write_point_ignores_reads_and_neighbours)
{
    start(READ_CODE, 5);
    set_dr(1, DATA, DR7_DATA(1, 1, 1));
    ck_assert_int_eq(vcpu_run(cpu, 1000), VCPU_EXIT_HALTED);
    ck_assert_uint_eq(cpu->rip, CODE + 5);
    cpu->attention = 0;
    start(WRITE_CODE, 5);
    set_dr(1, DATA + 2, 0);
    ck_assert_int_eq(vcpu_run(cpu, 1000), VCPU_EXIT_HALTED);
    ck_assert_uint_eq(cpu->rip, CODE + 5);
}
END_TEST

START_TEST(an_access_point_hits_reads_that_only_touch_it)
{
    start(READ_CODE, 5);
    set_dr(2, DATA + 1, DR7_DATA(2, 3, 0)); /* the second byte of the word */
    expect_trap(4, CODE + 3);
    ck_assert_uint_eq(cpu->gpr[GPR_RAX], 1);
}
END_TEST

START_TEST(single_step_and_data_come_together)
{
    start(&WRITE_CODE[1], 4);
    set_dr(0, DATA, DR7_DATA(0, 1, 1));
    vcpu_set_rflags(cpu, EFLAGS_TF | EFLAGS_ONE);
    expect_trap(0x4001, CODE + 2);
}
END_TEST

/* A software interrupt clears TF before its own trap is due (SDM 3B 17.3.1.4). */
START_TEST(a_software_interrupt_is_not_stepped)
{
    static const uint8_t code[] = {0xcc}; /* int3 */

    start(code, sizeof(code));
    bus_write(bus, gpa(3 * 4), "\x10\x30\x00\x00", 4); /* vector 3: 0000:3010 */
    bus_write(bus, gpa(HANDLER + 0x10), "\xf4", 1);
    vcpu_set_rflags(cpu, EFLAGS_TF | EFLAGS_ONE);
    ck_assert_int_eq(vcpu_run(cpu, 100), VCPU_EXIT_HALTED);
    ck_assert_uint_eq(cpu->rip, HANDLER + 0x11);
    ck_assert_uint_eq(cpu->dr[6] & DR6_BS, 0);
}
END_TEST

START_TEST(a_repeated_store_traps_after_its_iteration)
{
    static const uint8_t code[] = {0xf3, 0xaa, 0xf4}; /* rep stosb; hlt */

    start(code, sizeof(code));
    cpu->gpr[GPR_RDI] = DATA;
    cpu->gpr[GPR_RCX] = 10;
    set_dr(0, DATA + 4, DR7_DATA(0, 1, 0));
    expect_trap(1, CODE); /* more iterations follow */
    ck_assert_uint_eq(cpu->gpr[GPR_RCX], 5);
    ck_assert_uint_eq(cpu->gpr[GPR_RDI], DATA + 5);
}
END_TEST

START_TEST(ports_trap_if_cr4_de_says_so)
{
    static const uint8_t code[] = {0xe6, 0x80, 0x40, 0xf4}; /* out 80h, al; inc ax; hlt */

    start(code, sizeof(code));
    vcpu_set_control(cpu, cpu->mmu.cr0, 0, CR4_DE, 0);
    set_dr(0, 0x80, DR7_DATA(0, 2, 0));
    expect_trap(1, CODE + 2);
}
END_TEST

static const struct debug_point host_exec = {.address = CODE + 1,
                                             .length = 1,
                                             .cr3 = DEBUG_ANY_CR3,
                                             .kind = DEBUG_EXEC,
                                             .owner = DEBUG_HOST};

START_TEST(a_host_breakpoint_stops_once_and_leaves_no_trace)
{
    start(FOUR_INCS, 5);
    debug_add(cpu, &host_exec);
    ck_assert_int_eq(vcpu_run(cpu, 1000), VCPU_EXIT_DEBUG);
    ck_assert_uint_eq(cpu->debug.stop.kind, DEBUG_EXEC);
    ck_assert_uint_eq(cpu->debug.stop.address, CODE + 1);
    ck_assert_uint_eq(cpu->rip, CODE + 1);
    ck_assert_uint_eq(cpu->gpr[GPR_RAX], 1);
    ck_assert_int_eq(vcpu_run(cpu, 1000), VCPU_EXIT_HALTED);
    ck_assert_uint_eq(cpu->gpr[GPR_RAX], 4);
    ck_assert_uint_eq(cpu->dr[6] & 0xf, 0);
    ck_assert(debug_remove(cpu, &host_exec));
    ck_assert(!debug_remove(cpu, &host_exec));
}
END_TEST

START_TEST(a_host_watchpoint_stops_after_the_access)
{
    const struct debug_point point = {.address = DATA,
                                      .length = 2,
                                      .cr3 = DEBUG_ANY_CR3,
                                      .kind = DEBUG_WRITE,
                                      .owner = DEBUG_HOST};

    start(WRITE_CODE, 5);
    debug_add(cpu, &point);
    ck_assert_int_eq(vcpu_run(cpu, 1000), VCPU_EXIT_DEBUG);
    ck_assert_uint_eq(cpu->debug.stop.kind, DEBUG_WRITE);
    ck_assert_uint_eq(cpu->debug.stop.address, DATA);
    ck_assert_uint_eq(cpu->rip, CODE + 3);
    ck_assert_int_eq(vcpu_run(cpu, 1000), VCPU_EXIT_HALTED);
    ck_assert_uint_eq(cpu->gpr[GPR_RAX], 2);
}
END_TEST

START_TEST(a_point_for_another_root_is_passed)
{
    struct debug_point point = host_exec;

    point.cr3 = 0x1000;
    start(FOUR_INCS, 5);
    debug_add(cpu, &point);
    ck_assert_int_eq(vcpu_run(cpu, 1000), VCPU_EXIT_HALTED);
    ck_assert_uint_eq(cpu->gpr[GPR_RAX], 4);
}
END_TEST

/* ---- Branch records; guest programs have the rest (lbr) ---- */

/* jmp +1; hlt; jmp +1; hlt; inc ax; hlt */
#define TWO_JUMPS "\xeb\x01\xf4\xeb\x01\xf4\x40\xf4"

static void expect_records(uint64_t from, uint64_t to, uint64_t int_from, uint64_t int_to)
{
    ck_assert_uint_eq(cpu->msr.last_branch_from, from);
    ck_assert_uint_eq(cpu->msr.last_branch_to, to);
    ck_assert_uint_eq(cpu->msr.last_int_from, int_from);
    ck_assert_uint_eq(cpu->msr.last_int_to, int_to);
}

START_TEST(branches_are_recorded_while_lbr_is_set)
{
    start(TWO_JUMPS, 8);
    ck_assert_int_eq(vcpu_run(cpu, 1), VCPU_EXIT_BUDGET);
    expect_records(0, 0, 0, 0);
    ck_assert(cpu_write_msr(cpu, 0x1d9, DEBUGCTL_LBR));
    ck_assert_int_eq(vcpu_run(cpu, 1000), VCPU_EXIT_HALTED);
    expect_records(CODE + 3, CODE + 6, 0, 0);
    ck_assert(cpu_write_msr(cpu, 0x1d9, 0));
    ck_assert_uint_eq(cpu->attention & VCPU_ATTENTION_RECORD, 0);
}
END_TEST

START_TEST(an_interrupt_keeps_the_branch_before_it)
{
    vcpu_rig_set_vector(&rig, EXC_NMI, HANDLER);
    start(TWO_JUMPS, 8);
    ck_assert(cpu_write_msr(cpu, 0x1d9, DEBUGCTL_LBR));
    vcpu_run(cpu, 1);
    vcpu_signal(cpu, VCPU_PENDING_NMI, 0);
    ck_assert_int_eq(vcpu_run(cpu, 1000), VCPU_EXIT_HALTED);
    expect_records(CODE + 3, HANDLER, CODE, CODE + 3);
}
END_TEST

START_TEST(records_go_on_after_a_load)
{
    struct state *s = state_create_saving(), *l;
    const void *bytes;
    size_t length;

    start(TWO_JUMPS, 8);
    ck_assert(cpu_write_msr(cpu, 0x1d9, DEBUGCTL_LBR));
    vcpu_run(cpu, 1);
    vcpu_serialize(cpu, s);
    vcpu_reset(cpu, false);
    ck_assert_uint_eq(cpu->attention, 0);
    bytes = state_data(s, &length);
    l = state_create_loading(bytes, length);
    vcpu_serialize(cpu, l);
    ck_assert(state_finish(l, NULL));
    expect_records(CODE, CODE + 3, 0, 0);
    ck_assert_int_eq(vcpu_run(cpu, 1000), VCPU_EXIT_HALTED);
    expect_records(CODE + 3, CODE + 6, 0, 0);
    state_destroy(l);
    state_destroy(s);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("debug");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, execution_faults_before_the_instruction);
    tcase_add_test(tc, execution_hits_code_that_was_decoded_before);
    tcase_add_test(tc, resume_flag_lets_one_instruction_pass);
    tcase_add_test(tc, a_disabled_point_does_nothing);
    tcase_add_test(tc, a_write_traps_after_the_instruction);
    tcase_add_test(tc, a_write_point_ignores_reads_and_neighbours);
    tcase_add_test(tc, an_access_point_hits_reads_that_only_touch_it);
    tcase_add_test(tc, single_step_and_data_come_together);
    tcase_add_test(tc, a_software_interrupt_is_not_stepped);
    tcase_add_test(tc, a_repeated_store_traps_after_its_iteration);
    tcase_add_test(tc, ports_trap_if_cr4_de_says_so);
    tcase_add_test(tc, a_host_breakpoint_stops_once_and_leaves_no_trace);
    tcase_add_test(tc, a_host_watchpoint_stops_after_the_access);
    tcase_add_test(tc, a_point_for_another_root_is_passed);
    tcase_add_test(tc, branches_are_recorded_while_lbr_is_set);
    tcase_add_test(tc, an_interrupt_keeps_the_branch_before_it);
    tcase_add_test(tc, records_go_on_after_a_load);
    return run_suite("debug", tc);
}
