/* What is told about a guest that died. */
#include "machine/report.h"
#include "mmu/bus.h"

#include <time.h>

#include "tests/unit/machine/guests.h"
#include "tests/unit/machine/machine_rig.h"
#include "tests/unit/run_suite.h"

static struct rig rig;
static char *text;
static size_t text_size;

static void teardown(void)
{
    if (rig.machine != NULL)
        rig_destroy(&rig);
    free(text);
    text = NULL;
}

/* A disassembler that knows one thing. */
static size_t disassemble(void *opaque, const uint8_t *bytes, size_t count, uint64_t address,
                          unsigned bits, char *out, size_t size)
{
    (void)opaque, (void)address;
    if (count < 2)
        return 0;
    snprintf(out, size, "insn%u %02x", bits, bytes[0]);
    return 2;
}

/* Runs the guest to its end and returns the report about it. */
static const char *report(enum machine_end end, const struct symbols *symbols)
{
    const struct report_tools tools = {.disassemble = disassemble, .symbols = symbols};
    FILE *out;

    rig_create(&rig);
    ck_assert_msg(rig_run(&rig, UINT64_MAX) == end, "%s", rig.result.text);
    out = open_memstream(&text, &text_size);
    machine_report(rig.machine, out, &tools);
    fclose(out);
    return text;
}

static void assert_has(const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "'%s' is not in:\n%s", part, text);
}

START_TEST(a_triple_fault_shows_registers_and_how_it_came_about)
{
    RIG64(&rig, triple_fault);
    report(MACHINE_END_TRIPLE_FAULT, NULL);
    assert_has("RBX=0000008000001234");
    assert_has("64-bit");
    assert_has("CR0=");
    assert_has("CR2=0000008000001234");
    assert_has("#PF error 2 at 100011  instruction 2, address 8000001234");
    assert_has("#GP error 73 at 100011");
    assert_has("while delivering #PF");
    assert_has("while delivering #DF");
}
END_TEST

START_TEST(the_walk_of_the_faulting_address_is_shown_as_the_access_did_it)
{
    RIG64(&rig, triple_fault);
    report(MACHINE_END_TRIPLE_FAULT, NULL);
    assert_has("write of 0x8000001234, supervisor, paging 4-level: not present, error code 0x2");
    assert_has("level 4 at");
}
END_TEST

START_TEST(tables_and_stack_are_shown)
{
    RIG64(&rig, triple_fault);
    report(MACHINE_END_TRIPLE_FAULT, NULL);
    assert_has("code 64 type b DPL 0");
    assert_has("stack:\n  9f000: 0000000000000000");
    assert_has("local APIC: requested none, in service none; TPR 00");
    assert_has("PIC: IRR 00 ISR 00 IMR ");
    assert_has("timers: none");
}
END_TEST

START_TEST(the_last_blocks_are_shown_with_their_instructions)
{
    RIG64(&rig, triple_fault);
    report(MACHINE_END_TRIPLE_FAULT, NULL);
    assert_has("-- block at 0x100000\n   0000000000100000: 0f 01  insn64 0f\n");
    assert_has("=> 0000000000100011: c6 03  insn64 c6\n");
}
END_TEST

START_TEST(addresses_have_names_if_there_are_symbols)
{
    static const char map[] = "0000000000100000 T start_here\n000000000009f000 T stack_top\n";
    struct symbols *symbols = symbols_parse("map", map, strlen(map), NULL);
    char place[64];

    RIG64(&rig, triple_fault);
    report(MACHINE_END_TRIPLE_FAULT, symbols);
    assert_has("start_here+0:");
    assert_has("#PF error 2 at 100011 start_here+0x11");
    machine_describe_place(rig.machine, symbols, place, sizeof(place));
    ck_assert_str_eq(place, "0x100011 start_here+0x11");
    symbols_destroy(symbols);
}
END_TEST

START_TEST(a_block_that_ran_many_times_in_a_row_is_shown_once)
{
    const char *first;

    RIG16(&rig, spin);
    rig.config.guest_timeout_instructions = 1000;
    report(MACHINE_END_GUEST_TIMEOUT, NULL);
    assert_has("real");
    assert_has("insn16 40");
    assert_has("-- block at 0x7c00, 64 times");
    first = strstr(text, "-- block");
    ck_assert_ptr_null(strstr(first + 1, "-- block"));
}
END_TEST

START_TEST(a_sleeping_guest_is_called_asleep)
{
    char place[64];

    RIG16(&rig, halt);
    report(MACHINE_END_HALTED, NULL);
    assert_has("HLT=1");
    machine_describe_place(rig.machine, NULL, place, sizeof(place));
    ck_assert_str_eq(place, "0x7c02 (asleep)");
}
END_TEST

START_TEST(a_report_changes_nothing)
{
    uint64_t hash;

    RIG64(&rig, triple_fault);
    report(MACHINE_END_TRIPLE_FAULT, NULL);
    hash = machine_state_hash(rig.machine);
    free(text);
    text = NULL;
    machine_destroy(rig.machine);
    rig_create(&rig);
    rig_run(&rig, UINT64_MAX);
    ck_assert_uint_eq(hash, machine_state_hash(rig.machine));
}
END_TEST

/* Records of the log, as -d in_asm, exec, cpu write them. */
static const char *log_of(uint32_t mask)
{
    static const struct report_tools tools = {.disassemble = disassemble};

    RIG16(&rig, spin);
    rig.config.tools = &tools;
    rig.config.guest_timeout_instructions = 10;
    rig.log.stream = open_memstream(&text, &text_size);
    rig.log.mask = mask;
    rig_create(&rig);
    rig_run(&rig, UINT64_MAX);
    fclose(rig.log.stream);
    rig.log.stream = stderr;
    rig.log.mask = 0;
    return text;
}

static unsigned occurrences(const char *part)
{
    unsigned n = 0;

    for (const char *p = text; (p = strstr(p, part)) != NULL; p++)
        n++;
    return n;
}

START_TEST(in_asm_logs_each_block_once)
{
    log_of(LOG_IN_ASM);
    ck_assert_uint_eq(occurrences("----------------\n=> 0000000000007c00: 40 eb  insn16 40\n"), 1);
    ck_assert_uint_eq(occurrences("7c02"), 1); /* the odd byte of three, of an instruction of 2 */
    ck_assert_uint_eq(occurrences("7c04"), 0);
}
END_TEST

START_TEST(exec_logs_each_run_of_a_block)
{
    log_of(LOG_EXEC);
    ck_assert_uint_eq(occurrences("cpu0: 0000:0000000000007c00 instruction "), 5);
    ck_assert_uint_eq(occurrences("instruction 8 "), 1);
}
END_TEST

START_TEST(cpu_logs_the_registers_before_each_block)
{
    log_of(LOG_CPU);
    ck_assert_uint_eq(occurrences("RAX=0000000000000000"), 1);
    ck_assert_uint_eq(occurrences("RAX=0000000000000004"), 1);
    ck_assert_uint_eq(occurrences("RIP="), 5);
}
END_TEST

START_TEST(what_is_logged_does_not_change_what_runs)
{
    uint64_t hash[2];

    for (unsigned n = 0; n < 2; n++) {
        RIG64(&rig, worker);
        rig.config.exit_port = true;
        rig.config.guest_timeout_instructions = 20000;
        rig.log.stream = fopen("/dev/null", "w");
        rig.log.mask = n == 0 ? 0 : UINT32_MAX;
        rig_create(&rig);
        rig_run(&rig, UINT64_MAX);
        hash[n] = machine_state_hash(rig.machine);
        fclose(rig.log.stream);
        rig.log.stream = stderr;
        rig.log.mask = 0;
        rig_destroy(&rig);
    }
    ck_assert_uint_eq(hash[0], hash[1]);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("report");

    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_add_test(tc, a_triple_fault_shows_registers_and_how_it_came_about);
    tcase_add_test(tc, the_walk_of_the_faulting_address_is_shown_as_the_access_did_it);
    tcase_add_test(tc, tables_and_stack_are_shown);
    tcase_add_test(tc, the_last_blocks_are_shown_with_their_instructions);
    tcase_add_test(tc, addresses_have_names_if_there_are_symbols);
    tcase_add_test(tc, a_block_that_ran_many_times_in_a_row_is_shown_once);
    tcase_add_test(tc, a_sleeping_guest_is_called_asleep);
    tcase_add_test(tc, a_report_changes_nothing);
    tcase_add_test(tc, in_asm_logs_each_block_once);
    tcase_add_test(tc, exec_logs_each_run_of_a_block);
    tcase_add_test(tc, cpu_logs_the_registers_before_each_block);
    tcase_add_test(tc, what_is_logged_does_not_change_what_runs);
    return run_suite("report", tc);
}
