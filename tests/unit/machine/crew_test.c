/* Machines whose processors are threads: what they do together, and how it ends. */
#include "base/state.h"
#include "tests/unit/machine/crew_rig.h"
#include "tests/unit/run_suite.h"

/* --- Without anybody who interferes --- */

START_TEST(all_count_and_nothing_is_lost)
{
    CREATE(counter, _i);
    runs_to(MACHINE_END_POWER_OFF);
    counted();
    rig_destroy(&rig);
}
END_TEST

/* One that waits takes those with it that come meanwhile. */
static void went_round(void)
{
    ck_assert_uint_eq(word(TURN, 4), RING_TURNS);
    ck_assert_uint_gt(sum_of_own(), 0);
    ck_assert_uint_lt(sum_of_own(), RING_TURNS + count);
}

START_TEST(an_interrupt_wakes_a_processor_that_sleeps)
{
    CREATE(ring, _i);
    runs_to(MACHINE_END_POWER_OFF);
    went_round();
    rig_destroy(&rig);
}
END_TEST

START_TEST(an_interrupt_wakes_a_processor_that_is_about_to_sleep)
{
    CREATE(slow_ring, _i);
    runs_to(MACHINE_END_POWER_OFF);
    went_round();
    rig_destroy(&rig);
}
END_TEST

START_TEST(a_store_to_the_line_wakes_a_processor_in_mwait)
{
    CREATE(monitored, _i);
    runs_to(MACHINE_END_POWER_OFF);
    ck_assert_uint_eq(word(TURN, 4), RING_TURNS);
    ck_assert_uint_gt(sum_of_own(), 0);
    rig_destroy(&rig);
}
END_TEST

static struct chardev debugcon;
static unsigned debug_letters[MACHINE_VCPU_MAX];

static void take_letters(struct chardev *c, const uint8_t *bytes, size_t length)
{
    (void)c;
    for (size_t n = 0; n < length; n++)
        if (bytes[n] >= 'a')
            debug_letters[bytes[n] - 'a']++;
}

START_TEST(devices_serve_all_at_once)
{
    unsigned serial[256] = {0};

    RIG64(&rig, letters);
    count = (unsigned)_i;
    debugcon.send = take_letters;
    rig.config.debugcon = &debugcon;
    rig.config.debugcon_port = 0xe9;
    create();
    memset(debug_letters, 0, sizeof(debug_letters));
    runs_to(MACHINE_END_POWER_OFF);
    ck_assert_uint_eq(word(ERRORS, 4), 0);
    ck_assert_uint_eq(rig.output_count, count * LETTERS);
    for (size_t n = 0; n < rig.output_count; n++)
        serial[(uint8_t)rig.output[n]]++;
    for (unsigned n = 0; n < count; n++) {
        ck_assert_uint_eq(serial['a' + n], LETTERS);
        ck_assert_uint_eq(debug_letters[n], LETTERS);
    }
    rig_destroy(&rig);
}
END_TEST

/* --- Ends --- */

START_TEST(a_triple_fault_of_one_ends_the_run)
{
    CREATE(falls, _i);
    runs_to(MACHINE_END_TRIPLE_FAULT);
    rig_destroy(&rig);
}
END_TEST

START_TEST(triple_faults_of_all_reset_the_machine)
{
    RIG64(&rig, all_fall);
    rig.config.triple_fault_resets = true;
    count = (unsigned)_i;
    create();
    runs_to(MACHINE_END_POWER_OFF);
    ck_assert_uint_eq(word(STARTS, 4), 3);
    rig_destroy(&rig);
}
END_TEST

START_TEST(the_exit_port_ends_the_run_while_others_are_busy)
{
    CREATE(one_ends, _i);
    runs_to(MACHINE_END_EXIT_PORT);
    ck_assert_uint_eq(rig.result.value, 77);
    rig_destroy(&rig);
}
END_TEST

START_TEST(of_several_ends_one_counts)
{
    CREATE(all_end, _i);
    runs_to(MACHINE_END_EXIT_PORT);
    ck_assert_uint_ge(rig.result.value, 77);
    ck_assert_uint_lt(rig.result.value, 77 + count);
    rig_destroy(&rig);
}
END_TEST

START_TEST(a_machine_whose_processors_all_halt_ends)
{
    CREATE(all_halt, _i);
    runs_to(MACHINE_END_HALTED);
    rig_destroy(&rig);
}
END_TEST

START_TEST(a_machine_whose_processors_all_sleep_ends)
{
    CREATE(all_sleep, _i);
    runs_to(MACHINE_END_HALTED);
    rig_destroy(&rig);
}
END_TEST

START_TEST(the_host_ends_a_run)
{
    CREATE(until_told, _i);
    begin();
    hold_after_progress((const uint64_t[MACHINE_VCPU_MAX]){0});
    machine_release(rig.machine);
    machine_quit(rig.machine, MACHINE_END_QUIT, 0);
    ends(MACHINE_END_QUIT);
    rig_destroy(&rig);
}
END_TEST

START_TEST(a_guest_resets_the_machine)
{
    CREATE(resets, _i);
    runs_to(MACHINE_END_POWER_OFF);
    ck_assert_uint_eq(word(STARTS, 4), 3);
    rig_destroy(&rig);
}
END_TEST

START_TEST(the_host_resets_the_machine)
{
    uint64_t starts;

    CREATE(restarted, _i);
    begin();
    for (unsigned n = 1; n < 3; n++) {
        hold_after_progress((const uint64_t[MACHINE_VCPU_MAX]){0});
        ck_assert_uint_eq(word(STARTS, 4), n);
        machine_release(rig.machine);
        machine_reset(rig.machine);
        do {
            machine_hold(rig.machine);
            starts = word(STARTS, 4);
            machine_release(rig.machine);
        } while (starts == n && !atomic_load(&ended));
    }
    ends(MACHINE_END_POWER_OFF);
    ck_assert_uint_eq(word(STARTS, 4), 3);
    rig_destroy(&rig);
}
END_TEST

START_TEST(with_gdb_a_triple_fault_stops_the_machine_first)
{
    CREATE(falls, _i);
    begin();
    machine_debug_attach(rig.machine, MACHINE_TOOL_GDB, parked, NULL);
    while (next_stop()) {
        ck_assert_int_eq(why.kind, MACHINE_STOP_TRIPLE_FAULT);
        ck_assert_uint_eq(why.processor, count - 1);
        sem_wait(&news); /* both tools were told */
        machine_continue(rig.machine);
    }
    ends(MACHINE_END_TRIPLE_FAULT);
    rig_destroy(&rig);
}
END_TEST

START_TEST(an_nmi_of_the_host_wakes_a_processor)
{
    bool asleep;

    CREATE(nmi, _i);
    begin();
    do {
        sched_yield();
        machine_hold(rig.machine);
        ck_assert(machine_debug_select(rig.machine, count - 1));
        asleep = word(TURN, 4) == 1 && strcmp(machine_debug_state(rig.machine), "halted") == 0;
        if (asleep)
            machine_inject_nmi(rig.machine);
        machine_release(rig.machine);
    } while (!asleep);
    ends(MACHINE_END_POWER_OFF);
    ck_assert_uint_eq(word(TOLD, 4), 1);
    rig_destroy(&rig);
}
END_TEST

/* --- Parts of a run --- */

#define PART 20000u

START_TEST(a_run_has_parts)
{
    enum machine_end end;
    uint64_t target = 0;

    CREATE(counter, _i);
    do {
        target = machine_instructions(rig.machine) + PART;
        end = rig_run(&rig, target);
    } while (end == MACHINE_END_TARGET && machine_instructions(rig.machine) >= target);
    ck_assert_msg(end == MACHINE_END_POWER_OFF, "%d: %s", end, rig.result.text);
    counted();
    rig_destroy(&rig);
}
END_TEST

/* Saves the machine, destroys it, and makes one of what was saved. */
static void replace(void)
{
    struct state *s = state_create_saving(), *loading;
    struct error err = {0};
    const void *bytes;
    size_t length;

    machine_save(rig.machine, s);
    ck_assert(state_finish(s, NULL));
    machine_destroy(rig.machine);
    rig_create(&rig);
    bytes = state_data(s, &length);
    loading = state_create_loading(bytes, length);
    ck_assert_msg(machine_load(rig.machine, loading, &err), "%s", err.text);
    state_destroy(loading);
    state_destroy(s);
}

/* To the power-off, in parts, each by another machine. */
static void run_replaced(uint64_t part)
{
    unsigned replaced = 0;

    while (rig_run(&rig, machine_instructions(rig.machine) + part) == MACHINE_END_TARGET) {
        replace();
        replaced++;
    }
    ck_assert_int_eq(rig.result.end, MACHINE_END_POWER_OFF);
    ck_assert_uint_gt(replaced, 0);
}

START_TEST(a_restored_machine_goes_on)
{
    CREATE(counter, _i);
    run_replaced(8 * PART);
    counted();
    rig_destroy(&rig);
}
END_TEST

START_TEST(a_restored_machine_goes_on_from_mwait)
{
    CREATE(monitored, _i);
    run_replaced(PART);
    ck_assert_uint_eq(word(TURN, 4), RING_TURNS);
    rig_destroy(&rig);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        all_count_and_nothing_is_lost,
        an_interrupt_wakes_a_processor_that_sleeps,
        an_interrupt_wakes_a_processor_that_is_about_to_sleep,
        a_store_to_the_line_wakes_a_processor_in_mwait,
        devices_serve_all_at_once,
        a_triple_fault_of_one_ends_the_run,
        triple_faults_of_all_reset_the_machine,
        the_exit_port_ends_the_run_while_others_are_busy,
        of_several_ends_one_counts,
        a_machine_whose_processors_all_halt_ends,
        a_machine_whose_processors_all_sleep_ends,
        the_host_ends_a_run,
        a_guest_resets_the_machine,
        the_host_resets_the_machine,
        with_gdb_a_triple_fault_stops_the_machine_first,
        an_nmi_of_the_host_wakes_a_processor,
        a_run_has_parts,
        a_restored_machine_goes_on,
        a_restored_machine_goes_on_from_mwait,
    };
    TCase *tc = tcase_create("crew");

    for (size_t n = 0; n < sizeof(tests) / sizeof(tests[0]); n++)
        tcase_add_loop_test(tc, tests[n], 2, 5);
    return run_suite("crew", tc);
}
