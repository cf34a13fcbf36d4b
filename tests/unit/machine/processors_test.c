/*
 * A debugger's hold on a machine with two processors: which one it looks at, which ones go on, and
 * when the events of both were.
 */
#include "machine/events.h"
#include "machine/inspect.h"
#include "machine/report.h"
#include "tests/unit/machine/machine_rig.h"
#include "tests/unit/machine/guests.h"
#include "tests/unit/run_suite.h"

/* In the other processor's code of the guests. */
#define OTHER_LOOP   0x20007 /* pair: behind the count */
#define BEHIND_SLEEP 0x20006 /* sleeper: behind HLT */

static struct rig rig;
static void (*const *next)(void); /* what is done at each stop; NULL ends the run */
static struct machine_stop_reason why;

/* What was seen at the stop before. */
static uint64_t instructions, rips[2], counts[2];

static void parked(void *opaque, uint64_t ns)
{
    uint64_t before = why.stop;

    (void)opaque;
    (void)ns;
    ck_assert(machine_debug_parked(rig.machine, &why));
    if (why.stop != before)
        ck_assert_uint_eq(machine_debug_selected(rig.machine), why.processor);
    if (*next == NULL)
        machine_quit(rig.machine, MACHINE_END_QUIT, 0);
    else
        (*next++)();
}

/* Runs `first` instructions, stops, and does one of `steps` at each stop. */
static void run(uint64_t first, void (*const *steps)(void))
{
    rig.config.smp = (struct machine_smp){{1, 2, 1}, 2};
    rig.config.host.wait = parked;
    why.stop = 0;
    rig_create(&rig);
    if (first > 0)
        rig_run(&rig, first);
    machine_stop(rig.machine);
    next = steps;
    rig_run(&rig, first + 1000000);
    ck_assert_int_eq(rig.result.end, MACHINE_END_QUIT);
    ck_assert_ptr_null(*next);
    rig_destroy(&rig);
}

#define RUN(first, ...) run(first, (void (*const[])(void)){__VA_ARGS__, NULL})
#define SETTLED         50000

static uint32_t word(uint64_t address)
{
    uint8_t b[4];

    ck_assert_uint_eq(machine_debug_read(rig.machine, address, true, b, 4), 4);
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static uint64_t rip_of(unsigned processor)
{
    ck_assert(machine_debug_select(rig.machine, processor));
    return rig_register(&rig, "rip");
}

static void note(void)
{
    instructions = machine_instructions(rig.machine);
    for (unsigned n = 0; n < 2; n++)
        rips[n] = rip_of(n);
    counts[0] = word(0x300000);
    counts[1] = word(0x600);
}

static void stopped(enum machine_stop_kind kind, unsigned processor)
{
    ck_assert_int_eq(why.kind, kind);
    ck_assert_uint_eq(why.processor, processor);
}

static void go(bool first_stands, bool second_stands, uint64_t steps, unsigned stepper)
{
    const struct machine_resume r = {
        .stands = {first_stands, second_stands}, .steps = steps, .stepper = stepper};

    note();
    machine_debug_resume(rig.machine, &r);
}

/* --- Looking --- */

static void look_at_both(void)
{
    ck_assert_uint_eq(machine_processor_count(rig.machine), 2);
    ck_assert_uint_ge(rip_of(0), 0x100000);
    ck_assert_uint_eq(rig_register(&rig, "rbx"), 0xfee00000);
    ck_assert_uint_lt(rip_of(1) - OTHER_LOOP, 8);
    ck_assert_uint_eq(rig_register(&rig, "rbx"), 0x1234);
    ck_assert_uint_eq(machine_debug_selected(rig.machine), 1);
    ck_assert_str_eq(machine_debug_state(rig.machine), "running");
    ck_assert(!machine_debug_select(rig.machine, 2));
    ck_assert_uint_eq(machine_debug_selected(rig.machine), 1);
    ck_assert(machine_debug_select(rig.machine, MACHINE_PROCESSOR_STOPPED));
    ck_assert_uint_eq(machine_debug_selected(rig.machine), why.processor);
}

START_TEST(each_processor_can_be_looked_at)
{
    RIG64(&rig, pair);
    RUN(SETTLED, look_at_both);
}
END_TEST

static void translate_both(void)
{
    uint64_t physical;

    machine_debug_select(rig.machine, 0); /* maps 4 GiB */
    ck_assert(!machine_translate(rig.machine, 0x100000000, &physical));
    machine_debug_select(rig.machine, 1); /* paging is off */
    ck_assert(machine_translate(rig.machine, 0x300000, &physical));
    ck_assert_uint_eq(physical, 0x300000);
    ck_assert_uint_eq(rig_register(&rig, "cr0") & 0x80000001, 0);
}

START_TEST(translations_are_those_of_the_one_looked_at)
{
    RIG64(&rig, pair);
    RUN(SETTLED, translate_both);
}
END_TEST

/* --- Steps --- */

static void step_second(void)
{
    note();
    machine_debug_select(rig.machine, 1);
    machine_debug_step(rig.machine, 1, false);
}

static void step_first(void)
{
    stopped(MACHINE_STOP_STEP, 1);
    ck_assert_uint_eq(machine_instructions(rig.machine), instructions + 1);
    ck_assert_uint_eq(rip_of(0), rips[0]);
    ck_assert_uint_ne(rip_of(1), rips[1]);
    note();
    machine_debug_select(rig.machine, 0);
    machine_debug_step(rig.machine, 20000, false);
}

static void first_has_stepped(void)
{
    stopped(MACHINE_STOP_STEP, 0);
    ck_assert_uint_eq(machine_instructions(rig.machine), instructions + 20000);
    ck_assert_uint_eq(word(0x300000), counts[0] + 10000);
    ck_assert_uint_eq(rip_of(1), rips[1]);
    ck_assert_uint_eq(word(0x600), counts[1]);
}

START_TEST(a_step_is_of_one_processor_while_the_other_stands)
{
    RIG64(&rig, pair);
    RUN(SETTLED, step_second, step_first, first_has_stepped);
}
END_TEST

static void step_with_others(void)
{
    go(false, false, 1, 1);
}

static void others_ran(void)
{
    stopped(MACHINE_STOP_STEP, 1);
    ck_assert_uint_gt(word(0x300000), counts[0] + 1000);
    ck_assert_uint_le(word(0x600), counts[1] + 1);
}

START_TEST(others_run_during_a_step_if_asked_to)
{
    RIG64(&rig, pair);
    RUN(SETTLED, step_second, step_with_others, others_ran);
}
END_TEST

static void second_alone(void)
{
    machine_debug_until(rig.machine, machine_instructions(rig.machine) + 40000, UINT64_MAX);
    go(true, false, 0, 0);
}

static void second_was_alone(void)
{
    stopped(MACHINE_STOP_UNTIL, 1);
    ck_assert_uint_eq(machine_instructions(rig.machine), instructions + 40000);
    ck_assert_uint_eq(word(0x600), counts[1] + 20000);
    ck_assert_uint_eq(word(0x300000), counts[0]);
}

static void both(void)
{
    second_was_alone();
    machine_debug_until(rig.machine, machine_instructions(rig.machine) + 40000, UINT64_MAX);
    note();
    machine_continue(rig.machine);
}

static void both_ran(void)
{
    ck_assert_int_eq(why.kind, MACHINE_STOP_UNTIL);
    ck_assert_uint_gt(word(0x600), counts[1]);
    ck_assert_uint_gt(word(0x300000), counts[0]);
}

START_TEST(one_processor_runs_alone_until_the_next_stop)
{
    RIG64(&rig, pair);
    RUN(SETTLED, second_alone, both, both_ran);
}
END_TEST

/* --- Turns --- */

static uint64_t behind_turns[2];

static void note_counts(void)
{
    machine_debug_select(rig.machine, 0);
    behind_turns[0] = word(0x300000);
    behind_turns[1] = word(0x600);
}

/* Where they are after turns of the length, by the seed. */
static void turns(unsigned least, unsigned most, uint64_t seed)
{
    RIG64(&rig, pair);
    rig.config.turn_least = least;
    rig.config.turn_most = most;
    rig.config.seed = seed;
    RUN(SETTLED, note_counts);
}

static uint64_t distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

START_TEST(turns_are_as_long_as_is_said)
{
    uint64_t lead, one, other;

    turns(10, 10, 1); /* one of the two has been started later */
    lead = distance(behind_turns[0], behind_turns[1]);
    turns(10, 10, 2);
    ck_assert_uint_eq(distance(behind_turns[0], behind_turns[1]), lead);
    turns(1, 3000, 1);
    one = behind_turns[0];
    turns(1, 3000, 1);
    ck_assert_uint_eq(behind_turns[0], one);
    turns(1, 3000, 2);
    other = behind_turns[0];
    ck_assert_uint_ne(other, one);
    turns(0, 0, 1);
    one = behind_turns[0];
    turns(5000, 9999, 1);
    ck_assert_uint_eq(behind_turns[0], one);
}
END_TEST

/* --- Points --- */

static struct machine_point point;

static void add_point(void)
{
    ck_assert(machine_debug_add(rig.machine, &point));
    machine_continue(rig.machine);
}

static void hit_execute(void)
{
    stopped(MACHINE_STOP_BREAKPOINT, 1);
    ck_assert_uint_eq(rig_register(&rig, "rip"), OTHER_LOOP);
    note();
    machine_continue(rig.machine);
}

static void hit_again(void)
{
    stopped(MACHINE_STOP_BREAKPOINT, 1);
    ck_assert_uint_eq(word(0x600), counts[1] + 1);
    ck_assert(machine_debug_remove(rig.machine, &point));
}

START_TEST(a_breakpoint_names_the_processor_that_hit_it)
{
    RIG64(&rig, pair);
    point = (struct machine_point){
        .kind = MACHINE_POINT_EXECUTE, .any_root = true, .address = OTHER_LOOP, .length = 1};
    RUN(SETTLED, add_point, hit_execute, hit_again);
}
END_TEST

static void hit_write(void)
{
    stopped(MACHINE_STOP_WRITE, why.address == 0x600);
}

START_TEST(a_watchpoint_names_the_processor_that_wrote)
{
    for (unsigned n = 0; n < 2; n++) {
        RIG64(&rig, pair);
        point = (struct machine_point){.kind = MACHINE_POINT_WRITE,
                                       .any_root = true,
                                       .address = n == 0 ? 0x300000 : 0x600,
                                       .length = 4};
        RUN(SETTLED, add_point, hit_write);
    }
}
END_TEST

/* --- Sleepers --- */

static void step_sleeper(void)
{
    machine_debug_select(rig.machine, 1);
    ck_assert_str_eq(machine_debug_state(rig.machine), "halted");
    step_second();
}

static void nothing_ran(void)
{
    stopped(MACHINE_STOP_STEP, 1);
    ck_assert_uint_eq(machine_instructions(rig.machine), instructions);
    ck_assert_uint_eq(rip_of(1), rips[1]);
    ck_assert_uint_eq(rips[1], BEHIND_SLEEP);
}

START_TEST(a_step_of_a_sleeper_is_over_at_once)
{
    RIG64(&rig, sleeper);
    RUN(SETTLED, step_sleeper, nothing_ran);
}
END_TEST

static void step_unstarted(void)
{
    machine_debug_select(rig.machine, 1);
    ck_assert_str_eq(machine_debug_state(rig.machine), "waiting for start-up");
    step_second();
}

static void unstarted(void)
{
    stopped(MACHINE_STOP_STEP, 1);
    ck_assert_uint_eq(machine_instructions(rig.machine), 0);
}

START_TEST(a_processor_that_was_not_started_steps_nowhere)
{
    RIG64(&rig, sleeper);
    RUN(0, step_unstarted, unstarted);
}
END_TEST

static void sleeper_alone(void)
{
    go(true, false, 0, 0);
}

static void stopped_by_itself(void)
{
    stopped(MACHINE_STOP_REQUEST, 1);
    ck_assert_uint_eq(machine_instructions(rig.machine), instructions);
}

START_TEST(a_sleeper_alone_that_nothing_wakes_stops_the_machine)
{
    RIG64(&rig, sleeper);
    RUN(SETTLED, sleeper_alone, stopped_by_itself);
}
END_TEST

static void wake_by_nmi(void)
{
    machine_debug_select(rig.machine, 1);
    machine_inject_nmi(rig.machine);
    machine_debug_step(rig.machine, 8, true);
}

static void nmi_was_taken(void)
{
    stopped(MACHINE_STOP_STEP, 1);
    ck_assert_uint_eq(word(0x608), 1);
}

START_TEST(an_nmi_goes_to_the_one_looked_at)
{
    RIG64(&rig, sleeper);
    RUN(SETTLED, wake_by_nmi, nmi_was_taken);
}
END_TEST

/* --- Texts --- */

static char text[64 << 10];

static void has(const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "no '%s' in %s", part, text);
}

static void print_all(void)
{
    static const struct report_tools tools;
    FILE *out = fmemopen(text, sizeof(text), "w");

    machine_debug_select(rig.machine, 1);
    machine_print_processors(rig.machine, out, NULL);
    machine_report(rig.machine, out, &tools);
    machine_report_stats(rig.machine, out);
    machine_print_lapic(rig.machine, out);
    fclose(out);
    has("  cpu0: at 0x100");
    has("* cpu1: at 0x20006 (asleep), CPL 0, 16-bit, paging off, cr3 0, halted, APIC id 1\n");
    has("--- processor 1, virtual time");
    has("--- processor 0, running ---\nRIP=0000000000100");
    has("CR3=0000000000008000");
    has("stats cpu0: ");
    has("stats cpu1: ");
    has("id 0x1, IA32_APIC_BASE 0xfee00800: xAPIC\n");
}

START_TEST(texts_tell_the_processors_apart)
{
    RIG64(&rig, sleeper);
    RUN(SETTLED, print_all);
}
END_TEST

/* --- Events --- */

/* What another processor takes away is the exception: its time is that of the event before. */
START_TEST(events_have_the_time_of_the_machine)
{
    uint64_t last = 0, own[2] = {0}, seen[2] = {0};

    RIG64(&rig, loaders);
    rig.config.smp = (struct machine_smp){{1, 2, 1}, 2};
    rig_create(&rig);
    ck_assert(machine_events_record(rig.machine, NULL, NULL));
    rig_run(&rig, SETTLED);
    for (uint64_t n = machine_events_oldest(rig.machine); n < machine_events_end(rig.machine);
         n++) {
        const struct mmu_event *e = machine_events_at(rig.machine, n);

        ck_assert_uint_le(own[e->vcpu], e->instructions);
        own[e->vcpu] = e->instructions;
        seen[e->vcpu]++;
        if (e->kind == MMU_EVENT_WATCH_REVOKE)
            continue;
        ck_assert_uint_le(last, e->instructions);
        last = e->instructions;
    }
    ck_assert_uint_gt(seen[0], 100);
    ck_assert_uint_gt(seen[1], 100);
    ck_assert_uint_le(last, machine_instructions(rig.machine));
    ck_assert_uint_gt(last, SETTLED - 1000);
    rig_destroy(&rig);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("processors");

    tcase_add_test(tc, each_processor_can_be_looked_at);
    tcase_add_test(tc, translations_are_those_of_the_one_looked_at);
    tcase_add_test(tc, a_step_is_of_one_processor_while_the_other_stands);
    tcase_add_test(tc, others_run_during_a_step_if_asked_to);
    tcase_add_test(tc, one_processor_runs_alone_until_the_next_stop);
    tcase_add_test(tc, turns_are_as_long_as_is_said);
    tcase_add_test(tc, a_breakpoint_names_the_processor_that_hit_it);
    tcase_add_test(tc, a_watchpoint_names_the_processor_that_wrote);
    tcase_add_test(tc, a_step_of_a_sleeper_is_over_at_once);
    tcase_add_test(tc, a_processor_that_was_not_started_steps_nowhere);
    tcase_add_test(tc, a_sleeper_alone_that_nothing_wakes_stops_the_machine);
    tcase_add_test(tc, an_nmi_goes_to_the_one_looked_at);
    tcase_add_test(tc, texts_tell_the_processors_apart);
    tcase_add_test(tc, events_have_the_time_of_the_machine);
    return run_suite("processors", tc);
}
