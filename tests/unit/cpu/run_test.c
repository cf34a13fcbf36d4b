/* The run loop and its block cache, on a processor in real mode. */
#include "tests/unit/cpu/vcpu_rig.h"

#define CODE       0x1000u
#define STACK      0x8000u
#define DEVICE     0xf000u   /* offset in SS */
#define DEVICE_GPA 0x11f000u /* with SS at DEVICE_SS */
#define DEVICE_SS  0x110000u

static struct vcpu_rig rig;
static struct bus *bus;
static struct vcpu *cpu;
static uint64_t first_write; /* time of the device's first write */

static void device_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    (void)device, (void)offset, (void)value, (void)size;
    if (first_write == 0)
        first_write = clock_now(&rig.clock);
}

static uint64_t device_read(void *device, uint64_t offset, unsigned size)
{
    (void)device, (void)offset, (void)size;
    return 0;
}

static const struct bus_region_ops device_ops = {"device", device_read, device_write, 8};

static void set_segment(enum segment_index n, uint64_t base, uint32_t limit)
{
    vcpu_set_segment(cpu, n, 0, base, limit,
                     SEGMENT_PRESENT | SEGMENT_S | SEGMENT_WRITABLE | SEGMENT_ACCESSED |
                         (n == SEG_CS ? SEGMENT_CODE : 0));
}

static void set_handler(unsigned vector, uint16_t handler)
{
    vcpu_rig_set_vector(&rig, vector, handler);
}

static void setup(void)
{
    struct error err = {0};

    vcpu_rig_open(&rig, NULL);
    cpu = rig.cpu;
    bus = rig.bus;
    ck_assert(bus_add_mmio(bus, gpa(DEVICE_GPA), PAGE_SIZE, &device_ops, NULL, &err));
    vcpu_rig_start_real(&rig, CODE, STACK);
    first_write = 0;
}

static void teardown(void)
{
    vcpu_rig_close(&rig);
}

START_TEST(a_guest_that_does_nothing_but_fault_uses_up_its_budget)
{
    bus_write(bus, gpa(CODE), "\x0f\x0b", 2); /* ud2, and its handler */
    set_handler(EXC_UD, CODE);
    ck_assert_int_eq(vcpu_run(cpu, 1000), VCPU_EXIT_BUDGET);
    ck_assert_uint_eq(vcpu_instructions(cpu), 1000);
    ck_assert_uint_eq(cpu->exceptions[EXC_UD], 1000);
}
END_TEST

START_TEST(a_trap_behind_the_last_instruction_of_a_slice_is_not_put_off)
{
    bus_write(bus, gpa(CODE), "\x90\x90", 2);
    set_handler(EXC_DB, 0x3000);
    vcpu_set_rflags(cpu, EFLAGS_TF);
    ck_assert_int_eq(vcpu_run(cpu, 1), VCPU_EXIT_BUDGET);
    ck_assert_uint_eq(cpu->rip, 0x3000);
    ck_assert_uint_eq(vcpu_instructions(cpu), 2);
}
END_TEST

START_TEST(an_exception_frame_reaches_a_device_at_the_exact_time)
{
    bus_write(bus, gpa(CODE), "\x90\x90\x90\x0f\x0b", 5); /* three nops, ud2 */
    set_handler(EXC_UD, 0x3000);
    bus_write(bus, gpa(0x3000), "\xf4", 1);
    set_segment(SEG_SS, DEVICE_SS, 0xffff);
    cpu->gpr[GPR_RSP] = DEVICE + 0x100;
    ck_assert_int_eq(vcpu_run(cpu, 1000), VCPU_EXIT_HALTED);
    /* Three instructions, and the exception that is being delivered. */
    ck_assert_uint_eq(first_write, 4);
}
END_TEST

START_TEST(a_block_does_not_outlive_a_shrinking_code_limit)
{
    bus_write(bus, gpa(CODE), "\x90\x90\x90\x90\xf4", 5);
    set_handler(EXC_GP, 0x3000);
    bus_write(bus, gpa(0x3000), "\xf4", 1);
    ck_assert_int_eq(vcpu_run(cpu, 100), VCPU_EXIT_HALTED);
    ck_assert_uint_eq(cpu->rip, CODE + 5);
    cpu->attention = 0;
    cpu->rip = CODE;
    set_segment(SEG_CS, 0, CODE + 1);
    ck_assert_int_eq(vcpu_run(cpu, 100), VCPU_EXIT_HALTED); /* two nops, #GP, hlt */
    ck_assert_uint_eq(cpu->exceptions[EXC_GP], 1);
    ck_assert_uint_eq(cpu->rip, 0x3001);
}
END_TEST

START_TEST(code_that_changes_the_next_instruction_runs_the_new_one)
{
    /* mov byte [CODE + 5], 0x43; then inc ax, which has become inc bx; hlt */
    bus_write(bus, gpa(CODE), "\xc6\x06\x05\x10\x43\x40\xf4", 7);
    ck_assert_int_eq(vcpu_run(cpu, 100), VCPU_EXIT_HALTED);
    ck_assert_uint_eq(cpu->gpr[GPR_RAX], 0);
    ck_assert_uint_eq(cpu->gpr[GPR_RBX], 1);
    ck_assert_uint_eq(cpu->restarts, 1);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("run");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_guest_that_does_nothing_but_fault_uses_up_its_budget);
    tcase_add_test(tc, a_trap_behind_the_last_instruction_of_a_slice_is_not_put_off);
    tcase_add_test(tc, an_exception_frame_reaches_a_device_at_the_exact_time);
    tcase_add_test(tc, a_block_does_not_outlive_a_shrinking_code_limit);
    tcase_add_test(tc, code_that_changes_the_next_instruction_runs_the_new_one);
    return run_suite("run", tc);
}
