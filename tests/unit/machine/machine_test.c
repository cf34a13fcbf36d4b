/* Whole machines run small guests: how runs end, deterministic and parallel. */
#include "base/clock.h"
#include "machine/machine.h"
#include "machine/report.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "tests/unit/machine/guests.h"
#include "tests/unit/machine/machine_rig.h"
#include "tests/unit/run_suite.h"

static struct rig rig;

static void teardown(void)
{
    if (rig.machine != NULL)
        rig_destroy(&rig);
}

/* Creates the machine, runs it to its end and expects that end. */
static void expect(enum machine_end end)
{
    rig_create(&rig);
    rig_run(&rig, UINT64_MAX);
    ck_assert_msg(rig.result.end == end, "end %d: %s", rig.result.end, rig.result.text);
}

/* --- How a run ends --- */

START_TEST(a_power_off_ends_the_run)
{
    RIG64(&rig, power_off);
    expect(MACHINE_END_POWER_OFF);
}
END_TEST

START_TEST(with_no_shutdown_a_power_off_stops_the_machine)
{
    RIG64(&rig, power_off);
    rig.config.no_shutdown = true;
    expect(MACHINE_END_QUIT); /* nobody is there to continue it */
    ck_assert(machine_stopped(rig.machine));
}
END_TEST

START_TEST(a_reset_starts_the_guest_again)
{
    RIG16(&rig, reset_twice);
    expect(MACHINE_END_POWER_OFF);
}
END_TEST

START_TEST(with_no_reboot_a_reset_ends_the_run)
{
    RIG16(&rig, reset_twice);
    rig.config.no_reboot = true;
    expect(MACHINE_END_RESET);
}
END_TEST

START_TEST(a_kernel_that_is_gone_at_a_reset_is_an_error)
{
    RIG16(&rig, reset_twice);
    rig_create(&rig);
    unlink(rig.path);
    ck_assert_int_eq(rig_run(&rig, UINT64_MAX), MACHINE_END_BROKEN);
    ck_assert_ptr_nonnull(strstr(rig.result.text, rig.path));
}
END_TEST

START_TEST(isa_debug_exit_ends_with_an_odd_value)
{
    RIG16(&rig, debug_exit);
    rig.config.debug_exit = true;
    rig.config.debug_exit_port = 0xf4;
    rig.config.debug_exit_size = 4;
    expect(MACHINE_END_DEBUG_EXIT);
    ck_assert_uint_eq(rig.result.value, 0x43);
}
END_TEST

START_TEST(the_exit_port_ends_with_the_value)
{
    RIG16(&rig, exit_port);
    rig.config.exit_port = true;
    expect(MACHINE_END_EXIT_PORT);
    ck_assert_uint_eq(rig.result.value, 77);
}
END_TEST

START_TEST(pvpanic_ends_the_run)
{
    RIG16(&rig, panic);
    rig.config.pvpanic = true;
    expect(MACHINE_END_PANIC);
}
END_TEST

START_TEST(devices_that_are_not_there_end_nothing)
{
    RIG16(&rig, panic);
    rig.config.guest_timeout_instructions = 1000;
    expect(MACHINE_END_GUEST_TIMEOUT);
}
END_TEST

START_TEST(a_triple_fault_ends_the_run)
{
    RIG64(&rig, triple_fault);
    expect(MACHINE_END_TRIPLE_FAULT);
}
END_TEST

START_TEST(a_triple_fault_can_be_a_reset)
{
    RIG64(&rig, triple_once);
    rig.config.triple_fault_resets = true;
    expect(MACHINE_END_POWER_OFF);
}
END_TEST

START_TEST(sleep_with_interrupts_off_ends_the_run)
{
    RIG16(&rig, halt);
    expect(MACHINE_END_HALTED);
    ck_assert_uint_eq(machine_instructions(rig.machine), 2);
}
END_TEST

START_TEST(sleep_that_nothing_can_end_ends_the_run)
{
    RIG16(&rig, sleep);
    expect(MACHINE_END_HALTED);
}
END_TEST

START_TEST(the_guest_timeout_counts_instructions_exactly)
{
    RIG16(&rig, spin);
    rig.config.guest_timeout_instructions = 123457;
    expect(MACHINE_END_GUEST_TIMEOUT);
    ck_assert_uint_eq(machine_instructions(rig.machine), 123457);
}
END_TEST

START_TEST(the_guest_timeout_counts_virtual_time)
{
    RIG16(&rig, spin);
    rig.config.guest_timeout_ns = 1000000;
    expect(MACHINE_END_GUEST_TIMEOUT);
    ck_assert_uint_eq(machine_time(rig.machine), 1000000);
    ck_assert_uint_eq(machine_instructions(rig.machine), 1000000 >> 6);
}
END_TEST

static bool yes(void *opaque)
{
    (void)opaque;
    return true;
}

static void no_wait(void *opaque, uint64_t ns)
{
    (void)opaque, (void)ns;
}

START_TEST(the_guest_timeout_ends_sleep_at_its_time)
{
    RIG16(&rig, sleep);
    rig.config.guest_timeout_ns = 3600 * NS_PER_SECOND;
    rig.config.host = (struct machine_host){.input_possible = yes, .wait = no_wait};
    expect(MACHINE_END_GUEST_TIMEOUT);
    ck_assert_uint_eq(machine_time(rig.machine), 3600 * NS_PER_SECOND);
}
END_TEST

START_TEST(a_target_is_reached_exactly_and_the_run_goes_on)
{
    RIG16(&rig, spin);
    rig_create(&rig);
    for (uint64_t at = 1; at < 3000000; at = at * 7 + 3) {
        ck_assert_int_eq(rig_run(&rig, at), MACHINE_END_TARGET);
        ck_assert_uint_eq(machine_instructions(rig.machine), at);
    }
    machine_quit(rig.machine, MACHINE_END_QUIT, 0);
    ck_assert_int_eq(rig_run(&rig, UINT64_MAX), MACHINE_END_QUIT);
}
END_TEST

START_TEST(the_first_reason_to_end_is_kept)
{
    RIG16(&rig, spin);
    rig_create(&rig);
    machine_quit(rig.machine, MACHINE_END_INTERRUPTED, 15);
    machine_quit(rig.machine, MACHINE_END_TIMEOUT, 0);
    ck_assert_int_eq(rig_run(&rig, UINT64_MAX), MACHINE_END_INTERRUPTED);
    ck_assert_uint_eq(rig.result.value, 15);
}
END_TEST

/* --- Descriptions that are wrong --- */

START_TEST(a_bad_description_is_an_error_that_says_why)
{
    static const struct {
        struct machine_config change;
        const char *text;
    } rows[] = {
        {{.memory_size = 0}, "RAM"},
        {{.memory_size = 1ull << 50}, "RAM"},
        {{.memory_size = 4 << 20, .cpu = "486"}, "486"},
        {{.memory_size = 4 << 20, .kernel = "/nonexistent"}, "/nonexistent"},
        {{.memory_size = 4 << 20}, "-kernel"},
        {{.memory_size = 4 << 20,
          .debug_exit = true,
          .debug_exit_port = 0x60,
          .debug_exit_size = 1},
         "isa-debug-exit"},
        {{.memory_size = 4 << 20, .debugcon_port = 0x3f8}, "debug console"},
    };

    RIG16(&rig, spin);
    for (size_t n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
        struct machine_config c = rows[n].change;
        struct error err = {0};

        c.log = &rig.log;
        c.serial[0] = &rig.serial;
        c.debugcon = c.debugcon_port != 0 ? &rig.serial : NULL;
        ck_assert_ptr_null(machine_create(&c, &err));
        ck_assert_msg(strstr(err.text, rows[n].text) != NULL, "%zu: %s", n, err.text);
    }
    unlink(rig.path);
}
END_TEST

/* --- Deterministic mode --- */

struct trail {
    uint64_t instructions, time, state;
    char output[sizeof(rig.output)];
};

static void run_worker(struct trail *t)
{
    expect(MACHINE_END_EXIT_PORT);
    t->instructions = machine_instructions(rig.machine);
    t->time = machine_time(rig.machine);
    t->state = machine_state_hash(rig.machine);
    memcpy(t->output, rig.output, sizeof(t->output));
    rig_destroy(&rig);
}

static void setup_worker(void)
{
    RIG64(&rig, worker);
    rig.config.exit_port = true;
    rig.config.memory_size = 16 << 20;
}

static void assert_same(const struct trail *a, const struct trail *b)
{
    ck_assert_uint_eq(a->instructions, b->instructions);
    ck_assert_uint_eq(a->time, b->time);
    ck_assert_str_eq(a->output, b->output);
    ck_assert_uint_eq(a->state, b->state);
}

START_TEST(two_runs_of_a_guest_are_alike_bit_for_bit)
{
    struct trail a, b;

    setup_worker();
    run_worker(&a);
    setup_worker();
    run_worker(&b);
    assert_same(&a, &b);
}
END_TEST

START_TEST(two_runs_differ_if_the_guest_is_told_something_else)
{
    struct trail a, b;

    setup_worker();
    run_worker(&a);
    setup_worker();
    rig.config.icount_shift = 5;
    run_worker(&b);
    ck_assert_uint_ne(a.instructions, b.instructions);
    setup_worker();
    rig.config.rtc_start = 1000000;
    run_worker(&b);
    ck_assert_uint_ne(a.state, b.state);
}
END_TEST

static atomic_uint looks;

static void count_look(void *opaque)
{
    char place[64];

    (void)opaque;
    machine_describe_place(rig.machine, NULL, place, sizeof(place));
    if (strncmp(place, "0x7c0", 5) == 0)
        atomic_fetch_add(&looks, 1);
}

/* A host that disturbs at every opportunity: whatever it does, the guest does not see it. */
static unsigned disturbances;

static void disturb(void *opaque)
{
    (void)opaque;
    disturbances++;
    machine_kick(rig.machine);
    machine_look(rig.machine);
    machine_stop(rig.machine);
    machine_continue(rig.machine);
}

static void disturb_waiting(void *opaque, uint64_t ns)
{
    (void)ns;
    disturb(opaque);
}

START_TEST(what_the_host_does_meanwhile_changes_nothing)
{
    struct trail a, b, c;

    setup_worker();
    run_worker(&a);
    setup_worker();
    rig.config.host =
        (struct machine_host){.poll = disturb, .wait = disturb_waiting, .look = count_look};
    rig.config.idle_sleeps = true;
    run_worker(&b);
    ck_assert_uint_gt(disturbances, 0);
    assert_same(&a, &b);

    setup_worker(); /* in many short runs */
    rig_create(&rig);
    for (uint64_t at = 1777; rig_run(&rig, at) == MACHINE_END_TARGET; at += 1777)
        ;
    c.instructions = machine_instructions(rig.machine);
    c.time = machine_time(rig.machine);
    c.state = machine_state_hash(rig.machine);
    memcpy(c.output, rig.output, sizeof(c.output));
    assert_same(&a, &c);
}
END_TEST

START_TEST(two_machines_in_one_process_do_not_meet)
{
    struct rig *other = malloc(sizeof(*other));
    enum machine_end a, b;

    setup_worker();
    rig_create(&rig);
    *other = rig;
    other->config.serial[0] = &other->serial;
    rig_create(other);
    for (uint64_t at = 5000;; at += 5000) {
        a = rig_run(&rig, at);
        b = rig_run(other, at);
        ck_assert_int_eq(a, b);
        if (a != MACHINE_END_TARGET)
            break;
    }
    ck_assert_int_eq(a, MACHINE_END_EXIT_PORT);
    ck_assert_uint_eq(machine_state_hash(rig.machine), machine_state_hash(other->machine));
    ck_assert_str_eq(rig.output, other->output);
    machine_destroy(other->machine);
    free(other);
}
END_TEST

START_TEST(a_stopped_machine_waits_for_the_host)
{
    RIG16(&rig, spin);
    rig.config.host = (struct machine_host){.wait = disturb_waiting};
    rig.config.guest_timeout_instructions = 1000;
    rig_create(&rig);
    machine_stop(rig.machine);
    ck_assert(machine_stopped(rig.machine));
    rig_run(&rig, UINT64_MAX);
    ck_assert_int_eq(rig.result.end, MACHINE_END_GUEST_TIMEOUT);
    ck_assert_uint_eq(disturbances, 1);
}
END_TEST

/* --- Parallel mode --- */

static void *run_thread(void *opaque)
{
    (void)opaque;
    rig_run(&rig, UINT64_MAX);
    return NULL;
}

static pthread_t start_parallel(void)
{
    pthread_t thread;

    rig.config.deterministic = false;
    rig_create(&rig);
    ck_assert_int_eq(pthread_create(&thread, NULL, run_thread, NULL), 0);
    return thread;
}

/* A turn for the other thread. */
static void pause_ms(unsigned ms)
{
    const struct timespec t = {.tv_nsec = ms * 1000000};

    nanosleep(&t, NULL);
}

START_TEST(another_thread_stops_continues_looks_and_quits)
{
    pthread_t thread;

    RIG16(&rig, spin);
    rig.config.host.look = count_look;
    thread = start_parallel();
    for (unsigned n = 0; n < 200; n++) {
        machine_stop(rig.machine);
        ck_assert(machine_stopped(rig.machine));
        if (n % 2 == 0)
            machine_look(rig.machine);
        if (n % 3 == 0)
            machine_send_break(rig.machine, n % 4);
        machine_continue(rig.machine);
        machine_kick(rig.machine);
        if (n % 16 == 0)
            pause_ms(1);
    }
    machine_look(rig.machine);
    while (atomic_load(&looks) == 0)
        pause_ms(1);
    machine_quit(rig.machine, MACHINE_END_QUIT, 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(rig.result.end, MACHINE_END_QUIT);
}
END_TEST

START_TEST(a_stopped_machine_looks_and_quits)
{
    pthread_t thread;

    RIG16(&rig, spin);
    rig.config.host.look = count_look;
    thread = start_parallel();
    machine_stop(rig.machine);
    pause_ms(2);
    machine_look(rig.machine);
    while (atomic_load(&looks) == 0)
        pause_ms(1);
    machine_quit(rig.machine, MACHINE_END_INTERRUPTED, 2);
    pthread_join(thread, NULL);
    ck_assert_int_eq(rig.result.end, MACHINE_END_INTERRUPTED);
}
END_TEST

START_TEST(input_from_another_thread_wakes_the_guest)
{
    const uint8_t byte = 42;
    pthread_t thread;

    RIG16(&rig, echo);
    rig.config.exit_port = true;
    rig.config.host.input_possible = yes;
    thread = start_parallel();
    pause_ms(20); /* by now it sleeps; if not, the byte waits in the port */
    machine_lock(rig.machine);
    ck_assert_uint_ge(rig.serial.can_receive(rig.serial.device), 1);
    rig.serial.receive(rig.serial.device, &byte, 1);
    machine_unlock(rig.machine);
    pthread_join(thread, NULL);
    ck_assert_msg(rig.result.end == MACHINE_END_EXIT_PORT, "%s", rig.result.text);
    ck_assert_uint_eq(rig.result.value, 42);
}
END_TEST

static atomic_bool input_is_possible;

static bool maybe(void *opaque)
{
    (void)opaque;
    return atomic_load(&input_is_possible);
}

START_TEST(sleep_ends_when_the_last_input_closes)
{
    pthread_t thread;

    RIG16(&rig, sleep);
    rig.config.host.input_possible = maybe;
    atomic_store(&input_is_possible, true);
    thread = start_parallel();
    pause_ms(5);
    atomic_store(&input_is_possible, false);
    machine_kick(rig.machine);
    pthread_join(thread, NULL);
    ck_assert_int_eq(rig.result.end, MACHINE_END_HALTED);
}
END_TEST

START_TEST(the_worker_does_its_work_in_parallel_mode)
{
    setup_worker();
    rig.config.deterministic = false;
    expect(MACHINE_END_EXIT_PORT);
    ck_assert_uint_eq(strlen(rig.output), 60);
    ck_assert_uint_gt(machine_time(rig.machine), 55000000);
}
END_TEST

static void add_ends(TCase *tc)
{
    tcase_add_test(tc, a_power_off_ends_the_run);
    tcase_add_test(tc, with_no_shutdown_a_power_off_stops_the_machine);
    tcase_add_test(tc, a_reset_starts_the_guest_again);
    tcase_add_test(tc, with_no_reboot_a_reset_ends_the_run);
    tcase_add_test(tc, a_kernel_that_is_gone_at_a_reset_is_an_error);
    tcase_add_test(tc, isa_debug_exit_ends_with_an_odd_value);
    tcase_add_test(tc, the_exit_port_ends_with_the_value);
    tcase_add_test(tc, pvpanic_ends_the_run);
    tcase_add_test(tc, devices_that_are_not_there_end_nothing);
    tcase_add_test(tc, a_triple_fault_ends_the_run);
    tcase_add_test(tc, a_triple_fault_can_be_a_reset);
    tcase_add_test(tc, sleep_with_interrupts_off_ends_the_run);
    tcase_add_test(tc, sleep_that_nothing_can_end_ends_the_run);
    tcase_add_test(tc, the_guest_timeout_counts_instructions_exactly);
    tcase_add_test(tc, the_guest_timeout_counts_virtual_time);
    tcase_add_test(tc, the_guest_timeout_ends_sleep_at_its_time);
    tcase_add_test(tc, a_target_is_reached_exactly_and_the_run_goes_on);
    tcase_add_test(tc, the_first_reason_to_end_is_kept);
    tcase_add_test(tc, a_bad_description_is_an_error_that_says_why);
}

int main(void)
{
    Suite *s = suite_create("machine");
    TCase *ends = tcase_create("ends"), *modes = tcase_create("modes");

    tcase_add_checked_fixture(ends, NULL, teardown);
    tcase_add_checked_fixture(modes, NULL, teardown);
    add_ends(ends);
    tcase_add_test(modes, two_runs_of_a_guest_are_alike_bit_for_bit);
    tcase_add_test(modes, two_runs_differ_if_the_guest_is_told_something_else);
    tcase_add_test(modes, what_the_host_does_meanwhile_changes_nothing);
    tcase_add_test(modes, two_machines_in_one_process_do_not_meet);
    tcase_add_test(modes, a_stopped_machine_waits_for_the_host);
    tcase_add_test(modes, another_thread_stops_continues_looks_and_quits);
    tcase_add_test(modes, a_stopped_machine_looks_and_quits);
    tcase_add_test(modes, input_from_another_thread_wakes_the_guest);
    tcase_add_test(modes, sleep_ends_when_the_last_input_closes);
    tcase_add_test(modes, the_worker_does_its_work_in_parallel_mode);
    suite_add_tcase(s, ends);
    suite_add_tcase(s, modes);
    return run_all(s);
}
