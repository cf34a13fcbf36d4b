/*
 * Machines whose processors are threads, with somebody who interferes: holds, stops, steps,
 * breakpoints, events.
 */
#include "machine/events.h"
#include "machine/inspect.h"
#include "machine/internal.h"
#include "tests/unit/machine/crew_rig.h"
#include "tests/unit/run_suite.h"

static uint64_t rip_of(unsigned processor)
{
    ck_assert(machine_debug_select(rig.machine, processor));
    return rig_register(&rig, "rip");
}

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

static uint64_t point_address;

/* At an offset in the guest. */
static void break_at(ptrdiff_t offset)
{
    const struct machine_point point = {
        .kind = MACHINE_POINT_EXECUTE,
        .any_root = true,
        .address = 0x100000 + (uint64_t)offset,
        .length = 1,
    };

    ck_assert(machine_debug_add(rig.machine, &point));
    point_address = point.address;
}

static void break_here(void)
{
    break_at(guest_points_here - guest_points);
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
    ck_assert_int_eq(why.kind, MACHINE_STOP_BREAKPOINT);
    ck_assert_uint_eq(why.address, point_address);
    ck_assert_uint_eq(rip_of(why.processor), point_address);
}

/* Each has hit the point as often as it came by. */
static void finish_points(const unsigned hits[])
{
    ends(MACHINE_END_POWER_OFF);
    for (unsigned n = 0; n < count; n++)
        ck_assert_uint_eq(hits[n], POINTS_ROUNDS);
    rig_destroy(&rig);
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
    finish_points(hits);
}
END_TEST

START_TEST(a_step_leaves_a_breakpoint)
{
    unsigned hits[MACHINE_VCPU_MAX] = {0}, hitter;

    CREATE(points, _i);
    break_here();
    begin();
    while (next_stop()) {
        is_hit();
        hitter = why.processor;
        ck_assert(machine_debug_select(rig.machine, hitter));
        machine_debug_step(rig.machine, 1, false);
        ck_assert(next_stop());
        ck_assert_int_eq(why.kind, MACHINE_STOP_STEP);
        ck_assert_uint_eq(why.processor, hitter);
        ck_assert_uint_eq(own(hitter), ++hits[hitter]);
        go_on();
    }
    finish_points(hits);
}
END_TEST

START_TEST(a_watchpoint_stops_the_machine_for_each_write)
{
    const struct machine_point point = {
        .kind = MACHINE_POINT_WRITE,
        .any_root = true,
        .address = OWN,
        .length = 8 * (uint64_t)_i,
    };
    unsigned hits[MACHINE_VCPU_MAX] = {0};

    CREATE(points, _i);
    ck_assert(machine_debug_add(rig.machine, &point));
    begin();
    while (next_stop()) {
        if (own(why.processor) == 0) /* the first processor sets all to 0 */
            ck_assert_uint_eq(why.processor, 0);
        else
            ck_assert_uint_eq(own(why.processor), ++hits[why.processor]);
        go_on();
    }
    finish_points(hits);
}
END_TEST

/* --- Several at once --- */

/* All wait in the guest's loop, and have done so since SPINS was `before`. */
static bool all_spin(const uint64_t before[])
{
    for (unsigned n = 0; n < count; n++)
        if (word(SPINS + 8 * n, 8) == before[n])
            return false;
    return true;
}

/* Lets all go to the point in this round, while nobody can tell that he has hit it: for that they
 * need the device lock. */
static void hit_together(unsigned round)
{
    uint64_t before[MACHINE_VCPU_MAX];

    for (unsigned n = 0; n < count; n++)
        before[n] = word(SPINS + 8 * n, 8);
    machine_continue(rig.machine);
    machine_lock(rig.machine);
    while (!all_spin(before)) {
        machine_unlock(rig.machine);
        sched_yield();
        machine_lock(rig.machine);
    }
    bus_write(rig.machine->bus, gpa(TOLD), (const uint8_t[]){(uint8_t)round}, 1);
    for (unsigned n = 0; word(COUNT, 8) != (uint64_t)round * count && n < 200; n++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL); /* it is the next instruction */
    machine_unlock(rig.machine);
}

/* The processor, which has not been told of, steps. Returns whether it had hit the point: then it
 * is told of now, and has not moved. */
static bool step_has_hit(unsigned processor, unsigned round)
{
    ck_assert(machine_debug_select(rig.machine, processor));
    machine_debug_step(rig.machine, 1, false);
    ck_assert(next_stop());
    ck_assert_uint_eq(why.processor, processor);
    if (why.kind == MACHINE_STOP_BREAKPOINT) {
        is_hit();
        ck_assert_uint_eq(own(processor), round - 1);
        return true;
    }
    ck_assert_int_eq(why.kind, MACHINE_STOP_STEP);
    return false;
}

/* One round: each hits once, or has stepped over the point. Returns whether the one that stepped
 * had hit it. */
static bool round_together(unsigned round)
{
    uint64_t told = 0, all = BIT64(count) - 1;
    unsigned stepper;
    bool hit;

    ck_assert(next_stop());
    is_hit();
    told |= BIT64(why.processor);
    stepper = (why.processor + 1) % count;
    hit = step_has_hit(stepper, round);
    if (hit || own(stepper) == round)
        told |= BIT64(stepper);
    while (told != all) {
        machine_continue(rig.machine);
        ck_assert(next_stop());
        is_hit();
        ck_assert_uint_eq(told >> why.processor & 1, 0);
        ck_assert_uint_eq(own(why.processor), round - 1);
        told |= BIT64(why.processor);
    }
    return hit;
}

START_TEST(who_is_to_step_is_told_of_first_if_it_has_hit_a_breakpoint)
{
    unsigned hits = 0;

    CREATE(together, _i);
    break_at(guest_together_here - guest_together);
    begin();
    machine_stop(rig.machine);
    ck_assert(next_stop());
    for (unsigned round = 1; round <= POINTS_ROUNDS; round++) {
        hit_together(round);
        hits += round_together(round);
    }
    ck_assert_uint_gt(hits, 0);
    machine_continue(rig.machine);
    ck_assert(!next_stop());
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

/* --- Events --- */

START_TEST(events_of_all_are_seen)
{
    uint64_t own_events[MACHINE_VCPU_MAX] = {0};

    CREATE(shooters, _i);
    ck_assert(machine_events_record(rig.machine, "kind==invlpg", NULL));
    runs_to(MACHINE_END_POWER_OFF);
    ck_assert_uint_eq(machine_events_count(rig.machine, MMU_EVENT_INVLPG), SHOTS * count);
    for (uint64_t n = machine_events_oldest(rig.machine); n < machine_events_end(rig.machine); n++)
        own_events[machine_events_at(rig.machine, n)->vcpu]++;
    for (unsigned n = 0; n < count; n++)
        ck_assert_uint_eq(own_events[n], SHOTS);
    rig_destroy(&rig);
}
END_TEST

static void break_at_events(bool exact)
{
    struct machine_event_break b;
    unsigned number, stops = 0;

    number = machine_event_break_add(rig.machine, "kind==invlpg", false, exact, NULL);
    ck_assert_uint_gt(number, 0);
    begin();
    while (next_stop()) {
        ck_assert_int_eq(why.kind, MACHINE_STOP_EVENT);
        ck_assert_uint_eq(why.address, number);
        stops++;
        machine_continue(rig.machine);
    }
    ends(MACHINE_END_POWER_OFF);
    ck_assert(machine_event_break_at(rig.machine, 0, &b));
    ck_assert_uint_eq(b.hits, SHOTS * count);
    if (exact)
        ck_assert_uint_eq(stops, SHOTS * count);
    ck_assert_uint_ge(stops, SHOTS);
    ck_assert_uint_le(stops, SHOTS * count);
    rig_destroy(&rig);
}

START_TEST(an_event_of_any_processor_stops_the_machine)
{
    CREATE(shooters, _i);
    break_at_events(false);
}
END_TEST

START_TEST(the_machine_stops_behind_the_instruction_of_an_event)
{
    CREATE(shooters, _i);
    break_at_events(true);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_machine_is_held_again_and_again,
        a_machine_may_end_while_it_is_to_be_held,
        a_machine_stops_and_continues_again_and_again,
        a_machine_may_end_while_it_is_to_stop,
        one_steps_while_others_stand,
        each_processor_that_hits_a_breakpoint_stops_the_machine,
        a_step_leaves_a_breakpoint,
        a_watchpoint_stops_the_machine_for_each_write,
        who_is_to_step_is_told_of_first_if_it_has_hit_a_breakpoint,
        a_reset_forgets_who_has_hit_a_breakpoint,
        events_of_all_are_seen,
        an_event_of_any_processor_stops_the_machine,
        the_machine_stops_behind_the_instruction_of_an_event,
    };
    TCase *tc = tcase_create("crew_debug");

    for (size_t n = 0; n < sizeof(tests) / sizeof(tests[0]); n++)
        tcase_add_loop_test(tc, tests[n], 2, 5);
    return run_suite("crew_debug", tc);
}
