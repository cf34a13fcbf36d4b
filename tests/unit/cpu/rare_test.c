/* Instructions that tests/diff cannot hold against the host's processor: few hosts have them, or
 * none lets programs run them. The others of these have tests of their own: direct_test.c
 * (MOVDIRI, MOVDIR64B), tests/guest/64/syscall.c (SYSCALL, SYSENTER, SGDT, SIDT, SLDT, STR, SMSW).
 */
#include "mmu/memory.h"
#include "tests/unit/cpu/op_rig.h"
#include "tests/unit/run_suite.h"

static struct rig *rig;
static struct machine_memory memory; /* the rig's page and nothing else */

static void setup(void)
{
    rig = rig_create();
    rig->cpu.mmu.cr4 |= CR4_PKE;
    rig->cpu.monitor_address = UINT64_MAX;
    memory.base = rig->page;
    rig->cpu.mmu.memory = &memory;
}

static void teardown(void)
{
    rig_destroy(rig);
}

/* The op function that bytes decode to at CPL 3. */
static op_fn *decoded_for_user(const uint8_t *bytes, unsigned length)
{
    uint32_t mode = (rig->cpu.mode & ~(uint32_t)MODE_CPL0) | MODE_CPL3, attrs;
    struct insn i;

    memset(&i, 0, sizeof(i));
    ck_assert_int_eq(decode_insn(&rig->cpu, mode, bytes, length, 0, &i, &attrs), DECODE_OK);
    return i.op;
}

#define USER_OP(...)                                                                               \
    decoded_for_user((const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}))

/* ---- MONITOR, MWAIT ------------------------------------------------------------------------- */

#define MONITOR 0x0f, 0x01, 0xc8
#define MWAIT   0x0f, 0x01, 0xc9

START_TEST(monitor_arms_the_address_in_rax)
{
    rig->cpu.gpr[GPR_RAX] = RIG_OPERAND;
    RIG_RUN(rig, MONITOR);
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(rig->cpu.monitor_address, RIG_OPERAND);
    ck_assert_uint_eq(rig->cpu.monitor_at, RIG_OFFSET);
}
END_TEST

START_TEST(monitor_takes_address_size_and_segment)
{
    rig->cpu.gpr[GPR_RAX] = 0x500000000 + RIG_OFFSET;
    rig->cpu.seg[SEG_FS].base = RIG_PAGE;
    RIG_RUN(rig, 0x64, 0x67, MONITOR);
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(rig->cpu.monitor_address, RIG_OPERAND);
}
END_TEST

START_TEST(monitor_knows_no_extensions)
{
    rig->cpu.gpr[GPR_RAX] = RIG_OPERAND;
    rig->cpu.gpr[GPR_RCX] = 1;
    RIG_RUN(rig, MONITOR);
    ck_assert_int_eq(rig->raised, EXC_GP);
    ck_assert_uint_eq(rig->cpu.monitor_address, UINT64_MAX);
}
END_TEST

START_TEST(mwait_sleeps_if_armed_and_disarms)
{
    rig->cpu.monitor_address = RIG_OPERAND;
    rig->cpu.monitor_at = 0;
    RIG_RUN(rig, MWAIT);
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_ne(rig->cpu.attention & VCPU_ATTENTION_HALTED, 0);
    ck_assert_uint_eq(rig->cpu.monitor_address, UINT64_MAX);
}
END_TEST

START_TEST(a_store_to_the_line_wakes)
{
    rig->cpu.gpr[GPR_RAX] = RIG_OPERAND + 20;
    RIG_RUN(rig, MONITOR);
    RIG_RUN(rig, MWAIT);
    ck_assert(vcpu_asleep(&rig->cpu));
    rig->page[RIG_OFFSET - 1] = rig->page[RIG_OFFSET + 64] = 1; /* neighbours */
    ck_assert(vcpu_asleep(&rig->cpu));
    rig->page[RIG_OFFSET + 63] = 1;
    ck_assert(!vcpu_asleep(&rig->cpu));
}
END_TEST

START_TEST(mwait_goes_on_if_not_armed)
{
    RIG_RUN(rig, MWAIT);
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(rig->cpu.attention & VCPU_ATTENTION_HALTED, 0);
}
END_TEST

START_TEST(mwait_knows_one_extension)
{
    rig->cpu.gpr[GPR_RCX] = 1;
    RIG_RUN(rig, MWAIT);
    ck_assert_int_eq(rig->raised, -1);
    rig->cpu.gpr[GPR_RCX] = 2;
    RIG_RUN(rig, MWAIT);
    ck_assert_int_eq(rig->raised, EXC_GP);
}
END_TEST

START_TEST(monitor_and_mwait_are_undefined_for_users)
{
    ck_assert(USER_OP(MONITOR) == op_ud);
    ck_assert(USER_OP(MWAIT) == op_ud);
}
END_TEST

/* ---- WBNOINVD, SERIALIZE -------------------------------------------------------------------- */

static void check_changes_nothing(const uint8_t *bytes, unsigned length)
{
    static uint64_t before[16];

    for (unsigned n = 0; n < 16; n++)
        before[n] = rig->cpu.gpr[n];
    flags_update(&rig->cpu, EFLAGS_STATUS, EFLAGS_CF | EFLAGS_ZF);
    rig_run(rig, bytes, length);
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(vcpu_rflags(&rig->cpu) & EFLAGS_STATUS, EFLAGS_CF | EFLAGS_ZF);
    for (unsigned n = 0; n < 16; n++)
        ck_assert_uint_eq(rig->cpu.gpr[n], before[n]);
}

START_TEST(wbnoinvd_is_privileged_and_shows_nothing)
{
    static const uint8_t code[] = {0xf3, 0x0f, 0x09};

    check_changes_nothing(code, sizeof(code));
    ck_assert(decoded_for_user(code, sizeof(code)) == op_gp0);
}
END_TEST

START_TEST(serialize_is_for_everybody_and_shows_nothing)
{
    static const uint8_t code[] = {0x0f, 0x01, 0xe8};

    check_changes_nothing(code, sizeof(code));
    ck_assert(decoded_for_user(code, sizeof(code)) != op_ud);
    ck_assert(USER_OP(0xf3, 0x0f, 0x01, 0xe8) != decoded_for_user(code, sizeof(code)));
}
END_TEST

/* ---- RDPKRU, WRPKRU ------------------------------------------------------------------------- */

#define RDPKRU 0x0f, 0x01, 0xee
#define WRPKRU 0x0f, 0x01, 0xef

START_TEST(pkru_is_written_and_read)
{
    uint64_t *gpr = rig->cpu.gpr;

    gpr[GPR_RAX] = 0x1111222255556666;
    gpr[GPR_RCX] = gpr[GPR_RDX] = 0x7777777700000000; /* only the lower halves count */
    RIG_RUN(rig, WRPKRU);
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(rig->cpu.mmu.pkru, 0x55556666);
    gpr[GPR_RAX] = gpr[GPR_RDX] = UINT64_MAX;
    RIG_RUN(rig, RDPKRU);
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(gpr[GPR_RAX], 0x55556666);
    ck_assert_uint_eq(gpr[GPR_RDX], 0);
}
END_TEST

START_TEST(pkru_wants_ecx_zero_and_for_writes_edx)
{
    rig->cpu.gpr[GPR_RDX] = 1;
    RIG_RUN(rig, WRPKRU);
    ck_assert_int_eq(rig->raised, EXC_GP);
    RIG_RUN(rig, RDPKRU);
    ck_assert_int_eq(rig->raised, -1);
    rig->cpu.gpr[GPR_RDX] = 0;
    rig->cpu.gpr[GPR_RCX] = 1;
    RIG_RUN(rig, WRPKRU);
    ck_assert_int_eq(rig->raised, EXC_GP);
    RIG_RUN(rig, RDPKRU);
    ck_assert_int_eq(rig->raised, EXC_GP);
}
END_TEST

START_TEST(pkru_is_undefined_without_cr4_pke)
{
    rig->cpu.mmu.cr4 &= ~CR4_PKE;
    RIG_RUN(rig, RDPKRU);
    ck_assert_int_eq(rig->raised, EXC_UD);
    RIG_RUN(rig, WRPKRU);
    ck_assert_int_eq(rig->raised, EXC_UD);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("rows");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, monitor_arms_the_address_in_rax);
    tcase_add_test(t, monitor_takes_address_size_and_segment);
    tcase_add_test(t, monitor_knows_no_extensions);
    tcase_add_test(t, mwait_sleeps_if_armed_and_disarms);
    tcase_add_test(t, a_store_to_the_line_wakes);
    tcase_add_test(t, mwait_goes_on_if_not_armed);
    tcase_add_test(t, mwait_knows_one_extension);
    tcase_add_test(t, monitor_and_mwait_are_undefined_for_users);
    tcase_add_test(t, wbnoinvd_is_privileged_and_shows_nothing);
    tcase_add_test(t, serialize_is_for_everybody_and_shows_nothing);
    tcase_add_test(t, pkru_is_written_and_read);
    tcase_add_test(t, pkru_wants_ecx_zero_and_for_writes_edx);
    tcase_add_test(t, pkru_is_undefined_without_cr4_pke);
    return run_suite("rare", t);
}
