/* Which fault an instruction raises, and what it leaves undone: a processor in 32-bit protected
 * mode at CPL 3 without an IDT, so that the first exception ends in shutdown and stands in its
 * records. Code that gets through ends in HLT, which raises #GP. */
#include "cpu/fpu.h"
#include "cpu/mode.h"
#include "tests/unit/cpu/vcpu_rig.h"
#include "tests/unit/run_suite.h"

#define DIRECTORY 0x1000u
#define CODE      0x10000u
#define DATA      0x20000u
#define READ_ONLY 0x420000u /* DATA again */
#define ABSENT    0x820000u
#define STACK     0x8000u

#define PAGE_4MB 0xa7u /* present, writable, user, accessed, 4 MiB; not dirty */

static struct vcpu_rig rig;
static struct bus *bus;
static struct vcpu *cpu;

static void set_segments(void)
{
    uint16_t data = SEGMENT_PRESENT | 3u << SEGMENT_DPL_SHIFT | SEGMENT_S | SEGMENT_WRITABLE |
                    SEGMENT_ACCESSED | SEGMENT_DB | SEGMENT_GRANULARITY;

    cpu->mmu.cpl = 3;
    for (unsigned n = 0; n < SEG_NONE; n++)
        vcpu_set_segment(cpu, n, 0x23, 0, UINT32_MAX, data);
    vcpu_set_segment(cpu, SEG_CS, 0x1b, 0, UINT32_MAX, data | SEGMENT_CODE);
}

static void setup(void)
{
    static const uint32_t directory[2] = {PAGE_4MB, PAGE_4MB & ~2u};

    vcpu_rig_open(&rig, NULL);
    cpu = rig.cpu;
    bus = rig.bus;
    for (unsigned n = 0; n < 2; n++) {
        uint32_t entry = htole32(directory[n]);

        bus_write(bus, gpa(DIRECTORY + n * 4), &entry, 4);
    }
    cpu->idtr = (struct descriptor_table){0, 0};
    cpu->xcr0 = 7;
    vcpu_set_control(cpu, CR0_PE | CR0_NE | CR0_WP | CR0_AM | CR0_PG, DIRECTORY,
                     CR4_PSE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE, 0);
    set_segments();
    vcpu_set_rflags(cpu, EFLAGS_ONE);
    cpu->gpr[GPR_RSP] = STACK;
}

static void teardown(void)
{
    vcpu_rig_close(&rig);
}

/* Runs `size` bytes of code and a HLT, and returns the first exception. */
static const struct exception_record *run(const void *code, size_t size)
{
    bus_write(bus, gpa(CODE), code, size);
    bus_write(bus, gpa(CODE + size), "\xf4", 1);
    cpu->rip = CODE;
    ck_assert_int_eq(vcpu_run(cpu, 100), VCPU_EXIT_SHUTDOWN);
    ck_assert_uint_ge(cpu->recent_exception_count, 1);
    return &cpu->recent_exceptions[0];
}

#define RUN(code) run(code, sizeof(code) - 1)

static void check_fault(const struct exception_record *e, unsigned vector, unsigned error_code)
{
    ck_assert_uint_eq(e->vector, vector);
    ck_assert_uint_eq(e->error_code, error_code);
    ck_assert_uint_eq(e->rip, CODE);
}

static void check_none(const struct exception_record *e, unsigned length)
{
    ck_assert_uint_eq(e->vector, EXC_GP);
    ck_assert_uint_eq(e->rip, CODE + length);
}

static uint32_t load32(uint64_t at)
{
    uint32_t v;

    bus_read(bus, gpa(at), &v, 4);
    return le32toh(v);
}

START_TEST(a_control_register_that_is_not_there_is_undefined_at_any_privilege)
{
    check_fault(RUN("\x0f\x20\xc8"), EXC_UD, 0); /* mov eax, cr1 */
}
END_TEST

START_TEST(a_control_register_that_is_there_is_privileged)
{
    check_fault(RUN("\x0f\x20\xd0"), EXC_GP, 0); /* mov eax, cr2 */
}
END_TEST

START_TEST(enter_takes_all_of_esp_with_a_16_bit_stack)
{
    vcpu_set_segment(cpu, SEG_SS, 0x23, 0, 0xffff,
                     SEGMENT_PRESENT | 3u << SEGMENT_DPL_SHIFT | SEGMENT_S | SEGMENT_WRITABLE |
                         SEGMENT_ACCESSED);
    cpu->gpr[GPR_RSP] = 0xabcd8000;
    check_none(RUN("\xc8\x10\x00\x01"), 4); /* enter 16, 1 */
    ck_assert_uint_eq(cpu->gpr[GPR_RBP], 0xabcd7ffc);
    ck_assert_uint_eq(cpu->gpr[GPR_RSP], 0xabcd7fe8);
    ck_assert_uint_eq(load32(0x7ff8), 0xabcd7ffc);
}
END_TEST

START_TEST(arpl_reads_before_it_writes)
{
    cpu->gpr[GPR_RCX] = ABSENT;
    check_fault(RUN("\x63\x01"), EXC_PF, 4); /* arpl [ecx], ax: a user's read */
}
END_TEST

START_TEST(arpl_writes_only_a_new_rpl)
{
    bus_write(bus, gpa(DATA), "\x03\x00", 2);
    cpu->gpr[GPR_RCX] = READ_ONLY;
    cpu->gpr[GPR_RAX] = 2;
    check_none(RUN("\x63\x01"), 2);
}
END_TEST

START_TEST(arpl_faults_if_it_would_write)
{
    bus_write(bus, gpa(DATA), "\x01\x00", 2);
    cpu->gpr[GPR_RCX] = READ_ONLY;
    cpu->gpr[GPR_RAX] = 2;
    check_fault(RUN("\x63\x01"), EXC_PF, 7);
}
END_TEST

START_TEST(pending_x87_exceptions_come_before_the_limit_of_a_store)
{
    fpu_x87_set_control(cpu, 0x37e);
    cpu->x87.status = SW_ES | 1;
    vcpu_set_segment(cpu, SEG_DS, 0x23, 0, 0xff,
                     SEGMENT_PRESENT | 3u << SEGMENT_DPL_SHIFT | SEGMENT_S | SEGMENT_WRITABLE |
                         SEGMENT_ACCESSED | SEGMENT_DB);
    cpu->gpr[GPR_RCX] = DATA;
    check_fault(RUN("\xdf\x19"), EXC_MF, 0); /* fistp word [ecx] */
}
END_TEST

START_TEST(a_pop_from_beyond_the_stack_is_a_stack_fault)
{
    cpu->gpr[GPR_RSP] = 0xfffffffe;
    cpu->gpr[GPR_RCX] = DATA;
    check_fault(RUN("\x8f\x01"), EXC_SS, 0); /* pop dword [ecx] */
}
END_TEST

START_TEST(a_push_that_wraps_at_the_end_of_the_stack_is_one_too)
{
    cpu->gpr[GPR_RSP] = 1;
    cpu->gpr[GPR_RCX] = DATA;
    check_fault(RUN("\x66\xff\x31"), EXC_SS, 0); /* push word [ecx] */
}
END_TEST

START_TEST(a_pop_to_beyond_the_data_is_not)
{
    cpu->gpr[GPR_RCX] = 0xfffffffe;
    check_fault(RUN("\x8f\x01"), EXC_GP, 0);
}
END_TEST

static void check_alignment(void)
{
    vcpu_set_rflags(cpu, EFLAGS_ONE | EFLAGS_AC);
    cpu->gpr[GPR_RCX] = DATA + 1;
}

START_TEST(masked_moves_check_no_alignment)
{
    check_alignment();
    cpu->vreg[1].q[0] = UINT64_MAX;
    check_none(RUN("\xc4\xe2\x71\x2c\x01"), 5); /* vmaskmovps xmm0, xmm1, [ecx] */
}
END_TEST

START_TEST(gathers_check_no_alignment)
{
    check_alignment();
    cpu->vreg[1].q[0] = UINT64_MAX;
    check_none(RUN("\xc4\xe2\x71\x90\x04\x11"), 6); /* vpgatherdd xmm0, [ecx + xmm2], xmm1 */
}
END_TEST

START_TEST(a_conversion_that_is_misaligned_leaves_mxcsr_alone)
{
    check_alignment();
    cpu->vreg[1].q[0] = 0x3f800001;                          /* not exact in 16 bits */
    check_fault(RUN("\xc4\xe3\x79\x1d\x09\x00"), EXC_AC, 0); /* vcvtps2ph [ecx], xmm1, 0 */
    ck_assert_uint_eq(fpu_mxcsr_read(cpu), MXCSR_RESET);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("first");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_control_register_that_is_not_there_is_undefined_at_any_privilege);
    tcase_add_test(t, a_control_register_that_is_there_is_privileged);
    tcase_add_test(t, enter_takes_all_of_esp_with_a_16_bit_stack);
    tcase_add_test(t, arpl_reads_before_it_writes);
    tcase_add_test(t, arpl_writes_only_a_new_rpl);
    tcase_add_test(t, arpl_faults_if_it_would_write);
    tcase_add_test(t, pending_x87_exceptions_come_before_the_limit_of_a_store);
    tcase_add_test(t, a_pop_from_beyond_the_stack_is_a_stack_fault);
    tcase_add_test(t, a_push_that_wraps_at_the_end_of_the_stack_is_one_too);
    tcase_add_test(t, a_pop_to_beyond_the_data_is_not);
    tcase_add_test(t, masked_moves_check_no_alignment);
    tcase_add_test(t, gathers_check_no_alignment);
    tcase_add_test(t, a_conversion_that_is_misaligned_leaves_mxcsr_alone);
    return run_suite("fault", t);
}
