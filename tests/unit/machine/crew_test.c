/*
 * Machines with several processors by the host's clock, each processor on a thread of its own. What
 * a guest leaves behind does not depend on how they share time, and no guest is ended by time.
 */
#include "base/state.h"
#include "machine/debug.h"
#include "machine/inspect.h"
#include "tests/unit/machine/crew_guests.h"
#include "tests/unit/machine/machine_rig.h"
#include "tests/unit/run_suite.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

static struct rig rig;
static unsigned count; /* of processors; those of the test are 2 to 4 */

/* The thread of machine_run, and what it tells. */
static pthread_t runner;
static sem_t news; /* posted for each stop, and at the end */
static atomic_bool ended;
static struct machine_stop_reason why;

/* --- Runs --- */

static void create(void)
{
    rig.config.deterministic = false;
    rig.config.smp = (struct machine_smp){{1, count, 1}, count};
    rig.config.exit_port = true;
    rig_create(&rig);
}

/* The guest and how many processors it has. */
#define CREATE(guest, processors)                                                                  \
    do {                                                                                           \
        RIG64(&rig, guest);                                                                        \
        count = (unsigned)(processors);                                                            \
        create();                                                                                  \
    } while (0)

static void parked(void *opaque)
{
    (void)opaque;
    sem_post(&news);
}

static void *run(void *opaque)
{
    (void)opaque;
    rig_run(&rig, UINT64_MAX);
    atomic_store(&ended, true);
    sem_post(&news);
    return NULL;
}

/* machine_run on a thread of its own. */
static void begin(void)
{
    sem_init(&news, 0, 0);
    atomic_store(&ended, false);
    machine_debug_attach(rig.machine, MACHINE_TOOL_MONITOR, parked, NULL);
    ck_assert_int_eq(pthread_create(&runner, NULL, run, NULL), 0);
}

/* Waits for the next stop; false: the run has ended. */
static bool next_stop(void)
{
    while (sem_wait(&news) != 0)
        ;
    return !atomic_load(&ended) && machine_debug_parked(rig.machine, &why);
}

static void ends(enum machine_end end)
{
    pthread_join(runner, NULL);
    ck_assert_msg(rig.result.end == end, "%d: %s", rig.result.end, rig.result.text);
}

/* Runs to the end, here. */
static void runs_to(enum machine_end end)
{
    rig_run(&rig, UINT64_MAX);
    ck_assert_msg(rig.result.end == end, "%d: %s", rig.result.end, rig.result.text);
}

/* --- What is in memory --- */

static uint64_t word(uint64_t address, unsigned bytes)
{
    uint8_t b[8] = {0};
    uint64_t value = 0;

    ck_assert_uint_eq(machine_debug_read(rig.machine, address, true, b, bytes), bytes);
    for (unsigned k = 8; k-- > 0;)
        value = value << 8 | b[k];
    return value;
}

static uint64_t own(unsigned processor)
{
    return word(OWN + 8 * processor, 8);
}

static uint64_t sum_of_own(void)
{
    uint64_t sum = 0;

    for (unsigned n = 0; n < count; n++)
        sum += own(n);
    return sum;
}

static void tell(void)
{
    ck_assert_uint_eq(machine_debug_write(rig.machine, TOLD, true, (const uint8_t[]){1}, 1), 1);
}

/* Held from now on, and all processors have counted since OWN was `before`. */
static void hold_after_progress(const uint64_t before[])
{
    unsigned n;

    for (;;) {
        machine_hold(rig.machine);
        for (n = 0; n < count && own(n) > before[n]; n++)
            ;
        if (n == count)
            return;
        machine_release(rig.machine);
        sched_yield();
    }
}

static uint64_t get(const char *name)
{
    uint8_t bytes[MACHINE_REGISTER_BYTES_MAX];
    uint64_t value = 0;

    for (unsigned n = 0; n < machine_register_count(); n++) {
        if (strcmp(machine_register_info(n)->name, name) != 0)
            continue;
        machine_register_get(rig.machine, n, bytes);
        for (unsigned k = 8; k-- > 0;)
            value = value << 8 | bytes[k];
        return value;
    }
    ck_abort_msg("no register %s", name);
}

static uint64_t rip_of(unsigned processor)
{
    ck_assert(machine_debug_select(rig.machine, processor));
    return get("rip");
}

/* --- Without anybody who interferes --- */

static void counted(void)
{
    ck_assert_uint_eq(word(COUNT, 8), (uint64_t)count * COUNTER_ROUNDS);
    ck_assert_uint_eq(word(GUARDED, 8), (uint64_t)count * COUNTER_ROUNDS);
    ck_assert_uint_eq(word(GUARDED + 8, 8), (uint64_t)count * COUNTER_ROUNDS);
    for (unsigned n = 0; n < count; n++)
        ck_assert_uint_eq(own(n), COUNTER_ROUNDS);
}

START_TEST(all_count_and_nothing_is_lost)
{
    CREATE(counter, _i);
    runs_to(MACHINE_END_POWER_OFF);
    counted();
    rig_destroy(&rig);
}
END_TEST

START_TEST(an_interrupt_wakes_a_processor_that_sleeps)
{
    CREATE(ring, _i);
    runs_to(MACHINE_END_POWER_OFF);
    ck_assert_uint_eq(word(TURN, 4), RING_TURNS);
    /* One that waits takes those with it that come meanwhile. */
    ck_assert_uint_gt(sum_of_own(), 0);
    ck_assert_uint_lt(sum_of_own(), RING_TURNS + count);
    rig_destroy(&rig);
}
END_TEST

static struct chardev debugcon;
static unsigned debug_letters[MACHINE_VCPU_MAX];

static void take_letters(struct chardev *c, const uint8_t *bytes, size_t length)
{
    (void)c;
    for (size_t n = 0; n < length; n++)
        if (bytes[n] >= 'a' && bytes[n] < 'a' + MACHINE_VCPU_MAX)
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

START_TEST(a_restored_machine_goes_on)
{
    unsigned replaced = 0;

    CREATE(counter, _i);
    while (rig_run(&rig, machine_instructions(rig.machine) + 4 * PART) == MACHINE_END_TARGET) {
        replace();
        replaced++;
    }
    ck_assert_int_eq(rig.result.end, MACHINE_END_POWER_OFF);
    ck_assert_uint_gt(replaced, 0);
    counted();
    rig_destroy(&rig);
}
END_TEST

/* --- Held and stopped by the host --- */

#define HOLDS 24

/* All counts, and that nothing changes meanwhile. */
static void note(uint64_t counts[])
{
    uint64_t instructions = machine_instructions(rig.machine);

    for (unsigned n = 0; n < count; n++)
        counts[n] = own(n);
    sched_yield();
    for (unsigned n = 0; n < count; n++)
        ck_assert_uint_eq(counts[n], own(n));
    ck_assert_uint_eq(machine_instructions(rig.machine), instructions);
}

static void finish_told(void)
{
    ends(MACHINE_END_POWER_OFF);
    ck_assert_uint_eq(word(COUNT, 8), sum_of_own());
    rig_destroy(&rig);
}

START_TEST(a_machine_is_held_again_and_again)
{
    uint64_t counts[MACHINE_VCPU_MAX] = {0};

    CREATE(until_told, _i);
    begin();
    for (unsigned n = 0; n < HOLDS; n++) {
        if (n % 2 == 0)
            hold_after_progress(counts);
        else
            machine_hold(rig.machine);
        note(counts);
        if (n == HOLDS - 1)
            tell();
        machine_release(rig.machine);
    }
    finish_told();
}
END_TEST

/* Without anybody but the guest who knows when it is over. */
START_TEST(a_machine_may_end_while_it_is_to_be_held)
{
    CREATE(counter, _i);
    begin();
    while (!atomic_load(&ended)) {
        machine_hold(rig.machine);
        machine_release(rig.machine);
        sched_yield();
    }
    ends(MACHINE_END_POWER_OFF);
    counted();
    rig_destroy(&rig);
}
END_TEST

START_TEST(a_machine_stops_and_continues_again_and_again)
{
    uint64_t counts[MACHINE_VCPU_MAX] = {0};

    CREATE(until_told, _i);
    begin();
    for (unsigned n = 0; n < HOLDS; n++) {
        if (n % 4 == 0) {
            hold_after_progress(counts);
            machine_release(rig.machine);
        }
        machine_stop(rig.machine);
        ck_assert(next_stop());
        ck_assert_int_eq(why.kind, MACHINE_STOP_REQUEST);
        note(counts);
        if (n == HOLDS - 1)
            tell();
        machine_continue(rig.machine);
    }
    finish_told();
}
END_TEST

/* Has the machine run since there were so many instructions, or ended? */
static bool has_run(uint64_t instructions)
{
    bool has;

    machine_hold(rig.machine);
    has = machine_instructions(rig.machine) != instructions || atomic_load(&ended);
    machine_release(rig.machine);
    return has;
}

START_TEST(a_machine_may_end_while_it_is_to_stop)
{
    uint64_t before;

    CREATE(counter, _i);
    begin();
    do {
        before = machine_instructions(rig.machine);
        machine_continue(rig.machine);
        while (!has_run(before))
            sched_yield();
        machine_stop(rig.machine);
    } while (next_stop());
    ends(MACHINE_END_POWER_OFF);
    counted();
    rig_destroy(&rig);
}
END_TEST

/* --- Steps --- */

#define STEP_ROUNDS 20u

START_TEST(one_steps_while_others_stand)
{
    uint64_t counts[MACHINE_VCPU_MAX] = {0}, before;

    CREATE(until_told, _i);
    begin();
    for (unsigned n = 0; n < 3 * count; n++) {
        hold_after_progress(counts);
        machine_release(rig.machine);
        machine_stop(rig.machine);
        ck_assert(next_stop());
        note(counts);
        before = machine_instructions(rig.machine);
        ck_assert(machine_debug_select(rig.machine, n % count));
        machine_debug_step(rig.machine, STEP_ROUNDS * UNTIL_TOLD_ROUND, false);
        ck_assert(next_stop());
        ck_assert_int_eq(why.kind, MACHINE_STOP_STEP);
        ck_assert_uint_eq(why.processor, n % count);
        ck_assert_uint_eq(machine_instructions(rig.machine),
                          before + STEP_ROUNDS * UNTIL_TOLD_ROUND);
        counts[n % count] += STEP_ROUNDS;
        for (unsigned k = 0; k < count; k++)
            ck_assert_uint_eq(own(k), counts[k]);
        if (n == 3 * count - 1)
            tell();
        machine_continue(rig.machine);
    }
    finish_told();
}
END_TEST

/* --- Breakpoints --- */

static void break_here(void)
{
    const struct machine_point point = {
        .kind = MACHINE_POINT_EXECUTE,
        .any_root = true,
        .address = 0x100000 + (uint64_t)(guest_points_here - guest_points),
        .length = 1,
    };

    ck_assert(machine_debug_add(rig.machine, &point));
}

/* Several hit it before any of them can tell: for that they need the device lock. */
static void go_on(void)
{
    machine_continue(rig.machine);
    nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    machine_lock(rig.machine);
    nanosleep(&(struct timespec){.tv_nsec = 300000}, NULL);
    machine_unlock(rig.machine);
}

/* The stop is that of a processor which is at the point. */
static void is_hit(void)
{
    uint64_t here = 0x100000 + (uint64_t)(guest_points_here - guest_points);

    ck_assert_int_eq(why.kind, MACHINE_STOP_BREAKPOINT);
    ck_assert_uint_eq(why.address, here);
    ck_assert_uint_eq(rip_of(why.processor), here);
}

START_TEST(each_processor_that_hits_a_breakpoint_stops_the_machine)
{
    unsigned hits[MACHINE_VCPU_MAX] = {0};

    CREATE(points, _i);
    break_here();
    begin();
    while (next_stop()) {
        is_hit();
        ck_assert_uint_eq(own(why.processor), hits[why.processor]);
        hits[why.processor]++;
        go_on();
    }
    ends(MACHINE_END_POWER_OFF);
    for (unsigned n = 0; n < count; n++)
        ck_assert_uint_eq(hits[n], POINTS_ROUNDS);
    rig_destroy(&rig);
}
END_TEST

/* Another one than that which has hit it steps, from where it may have hit it, too. */
START_TEST(what_one_has_stepped_over_it_does_not_hit)
{
    unsigned stops = 0;

    CREATE(points, _i);
    break_here();
    begin();
    while (next_stop()) {
        if (why.kind == MACHINE_STOP_BREAKPOINT) {
            is_hit();
            if (++stops % 3 == 0) {
                ck_assert(machine_debug_select(rig.machine, (why.processor + 1) % count));
                machine_debug_step(rig.machine, 1, false);
                continue;
            }
        }
        go_on();
    }
    ends(MACHINE_END_POWER_OFF);
    for (unsigned n = 0; n < count; n++)
        ck_assert_uint_eq(own(n), POINTS_ROUNDS);
    rig_destroy(&rig);
}
END_TEST

START_TEST(a_reset_forgets_who_has_hit_a_breakpoint)
{
    unsigned stops = 0;

    CREATE(points, _i);
    break_here();
    begin();
    while (next_stop()) {
        is_hit();
        if (++stops == POINTS_ROUNDS)
            machine_reset(rig.machine);
        go_on();
    }
    ends(MACHINE_END_POWER_OFF);
    ck_assert_uint_eq(word(STARTS, 4), 2);
    ck_assert_uint_eq(stops, POINTS_ROUNDS * (count + 1));
    rig_destroy(&rig);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        all_count_and_nothing_is_lost,
        an_interrupt_wakes_a_processor_that_sleeps,
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
        a_run_has_parts,
        a_restored_machine_goes_on,
        a_machine_is_held_again_and_again,
        a_machine_may_end_while_it_is_to_be_held,
        a_machine_stops_and_continues_again_and_again,
        a_machine_may_end_while_it_is_to_stop,
        one_steps_while_others_stand,
        each_processor_that_hits_a_breakpoint_stops_the_machine,
        what_one_has_stepped_over_it_does_not_hit,
        a_reset_forgets_who_has_hit_a_breakpoint,
    };
    TCase *tc = tcase_create("crew");

    for (size_t n = 0; n < sizeof(tests) / sizeof(tests[0]); n++)
        tcase_add_loop_test(tc, tests[n], 2, 5);
    return run_suite("crew", tc);
}
