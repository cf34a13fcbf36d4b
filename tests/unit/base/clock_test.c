#include "base/clock.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What fired, in order: the names joined. */
struct record {
    char names[64];
    uint64_t now;       /* of the last one */
    struct timer *self; /* periodic: armed again by fire */
    uint64_t period;
};

struct named {
    struct timer timer;
    struct record *record;
};

static void fire(void *opaque, uint64_t now)
{
    struct named *n = opaque;

    ck_assert(!timer_armed(&n->timer));
    strcat(n->record->names, n->timer.name);
    n->record->now = now;
}

static void add(struct named *n, struct clock *c, const char *name, struct record *record)
{
    n->record = record;
    timer_init(&n->timer, c, name, fire, n);
}

START_TEST(deterministic_time_is_instructions_shifted_plus_skips)
{
    struct clock c;

    clock_init(&c, CLOCK_DETERMINISTIC, 3);
    ck_assert_uint_eq(clock_now(&c), 0);
    c.instructions = 5;
    ck_assert_uint_eq(clock_now(&c), 40);
    clock_skip_to(&c, 100);
    ck_assert_uint_eq(clock_now(&c), 100);
    c.instructions = 6;
    ck_assert_uint_eq(clock_now(&c), 108);
}
END_TEST

START_TEST(a_skip_into_the_past_has_no_effect)
{
    struct clock c;

    clock_init(&c, CLOCK_DETERMINISTIC, 0);
    c.instructions = 50;
    clock_skip_to(&c, 20);
    ck_assert_uint_eq(clock_now(&c), 50);
}
END_TEST

START_TEST(timers_fire_by_deadline_and_then_by_registration)
{
    struct clock c;
    struct record record = {0};
    struct named a, b, d;

    clock_init(&c, CLOCK_DETERMINISTIC, 0);
    add(&a, &c, "a", &record);
    add(&b, &c, "b", &record);
    add(&d, &c, "d", &record);
    timer_arm(&d.timer, 10);
    timer_arm(&b.timer, 20);
    timer_arm(&a.timer, 20);
    c.instructions = 30;
    clock_run_due(&c);
    ck_assert_str_eq(record.names, "dab");
    ck_assert_uint_eq(record.now, 30);
    ck_assert_uint_eq(c.next_deadline, CLOCK_NEVER);
}
END_TEST

START_TEST(a_timer_that_is_not_due_stays_armed)
{
    struct clock c;
    struct record record = {0};
    struct named a, b;

    clock_init(&c, CLOCK_DETERMINISTIC, 0);
    add(&a, &c, "a", &record);
    add(&b, &c, "b", &record);
    timer_arm(&a.timer, 10);
    timer_arm(&b.timer, 11);
    c.instructions = 10;
    clock_run_due(&c);
    ck_assert_str_eq(record.names, "a");
    ck_assert(timer_armed(&b.timer));
    ck_assert_uint_eq(c.next_deadline, 11);
}
END_TEST

START_TEST(a_cancelled_timer_does_not_fire)
{
    struct clock c;
    struct record record = {0};
    struct named a, b;

    clock_init(&c, CLOCK_DETERMINISTIC, 0);
    add(&a, &c, "a", &record);
    add(&b, &c, "b", &record);
    timer_arm(&a.timer, 10);
    timer_arm(&b.timer, 20);
    timer_cancel(&a.timer);
    ck_assert_uint_eq(c.next_deadline, 20);
    c.instructions = 30;
    clock_run_due(&c);
    ck_assert_str_eq(record.names, "b");
}
END_TEST

START_TEST(moving_a_timer_later_moves_the_next_deadline)
{
    struct clock c;
    struct record record = {0};
    struct named a;

    clock_init(&c, CLOCK_DETERMINISTIC, 0);
    add(&a, &c, "a", &record);
    timer_arm(&a.timer, 10);
    timer_arm(&a.timer, 500);
    ck_assert_uint_eq(c.next_deadline, 500);
}
END_TEST

static void fire_periodic(void *opaque, uint64_t now)
{
    struct record *record = opaque;
    uint64_t due = record->now + record->period;

    ck_assert_uint_le(due, now);
    record->now = due;
    strcat(record->names, "p");
    timer_arm(record->self, due + record->period);
}

START_TEST(a_periodic_timer_catches_up)
{
    struct clock c;
    struct timer t;
    struct record record = {.self = &t, .period = 10};

    clock_init(&c, CLOCK_DETERMINISTIC, 0);
    timer_init(&t, &c, "p", fire_periodic, &record);
    timer_arm(&t, 10);
    c.instructions = 35;
    clock_run_due(&c);
    ck_assert_str_eq(record.names, "ppp");
    ck_assert_uint_eq(c.next_deadline, 40);
}
END_TEST

START_TEST(a_destroyed_timer_is_forgotten)
{
    struct clock c;
    struct record record = {0};
    struct named a, b;

    clock_init(&c, CLOCK_DETERMINISTIC, 0);
    add(&a, &c, "a", &record);
    add(&b, &c, "b", &record);
    timer_arm(&a.timer, 10);
    timer_destroy(&a.timer);
    ck_assert_uint_eq(c.next_deadline, CLOCK_NEVER);
    ck_assert_ptr_eq(c.timers, &b.timer);
    ck_assert_ptr_null(b.timer.next);
}
END_TEST

static void count(void *opaque)
{
    ++*(int *)opaque;
}

START_TEST(the_owner_is_told_when_the_next_deadline_becomes_earlier)
{
    struct clock c;
    struct record record = {0};
    struct named a, b;
    int told = 0;

    clock_init(&c, CLOCK_DETERMINISTIC, 0);
    c.deadline_moved = count;
    c.deadline_opaque = &told;
    add(&a, &c, "a", &record);
    add(&b, &c, "b", &record);
    timer_arm(&a.timer, 100);
    ck_assert_int_eq(told, 1);
    timer_arm(&b.timer, 200);
    ck_assert_int_eq(told, 1);
    timer_arm(&b.timer, 50);
    ck_assert_int_eq(told, 2);
    timer_arm(&b.timer, 300);
    ck_assert_int_eq(told, 2);
}
END_TEST

START_TEST(the_instruction_budget_ends_exactly_at_the_deadline)
{
    struct clock c;
    struct record record = {0};
    struct named a;

    clock_init(&c, CLOCK_DETERMINISTIC, 3);
    add(&a, &c, "a", &record);
    ck_assert_uint_eq(clock_instructions_until_deadline(&c, 1000), 1000);
    timer_arm(&a.timer, 80);
    ck_assert_uint_eq(clock_instructions_until_deadline(&c, 1000), 10);
    timer_arm(&a.timer, 81);
    ck_assert_uint_eq(clock_instructions_until_deadline(&c, 1000), 11);
    ck_assert_uint_eq(clock_instructions_until_deadline(&c, 4), 4);
    c.instructions = 10;
    ck_assert_uint_eq(clock_instructions_until_deadline(&c, 1000), 1);
    c.instructions = 11;
    ck_assert_uint_eq(clock_instructions_until_deadline(&c, 1000), 0);
    timer_arm(&a.timer, CLOCK_NEVER - 1);
    ck_assert_uint_eq(clock_instructions_until_deadline(&c, UINT64_MAX),
                      (CLOCK_NEVER - 1 - 88 + 7) >> 3);
}
END_TEST

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

START_TEST(parallel_time_runs_only_between_start_and_stop)
{
    struct clock c;
    uint64_t t;

    clock_init(&c, CLOCK_PARALLEL, 0);
    nap();
    ck_assert_uint_eq(clock_now(&c), 0);
    clock_start(&c);
    nap();
    ck_assert_uint_ge(clock_now(&c), 2000000);
    clock_stop(&c);
    t = clock_now(&c);
    nap();
    ck_assert_uint_eq(clock_now(&c), t);
    clock_start(&c);
    ck_assert_uint_ge(clock_now(&c), t);
    ck_assert_uint_lt(clock_now(&c), t + 60 * NS_PER_SECOND);
}
END_TEST

/* Saves one clock with its timer and loads both into another pair. */
static void transfer(struct clock *from, struct timer *from_timer, struct clock *to,
                     struct timer *to_timer)
{
    struct state *out = state_create_saving();
    struct state *in;
    struct error err = {0};
    const void *bytes;
    size_t length;

    clock_serialize(from, out);
    timer_serialize(from_timer, out);
    bytes = state_data(out, &length);
    in = state_create_loading(bytes, length);
    clock_serialize(to, in);
    timer_serialize(to_timer, in);
    ck_assert_msg(state_finish(in, &err), "%s", err.text);
    state_destroy(in);
    state_destroy(out);
}

START_TEST(a_restored_deterministic_clock_continues_exactly)
{
    struct clock c, d;
    struct record record = {0};
    struct named a, b;

    clock_init(&c, CLOCK_DETERMINISTIC, 2);
    clock_init(&d, CLOCK_DETERMINISTIC, 2);
    add(&a, &c, "a", &record);
    add(&b, &d, "a", &record);
    c.instructions = 77;
    clock_skip_to(&c, 1000);
    timer_arm(&a.timer, 1234);
    transfer(&c, &a.timer, &d, &b.timer);
    ck_assert_uint_eq(clock_now(&d), 1000);
    ck_assert_uint_eq(d.instructions, 77);
    ck_assert_uint_eq(d.skipped, c.skipped);
    ck_assert_uint_eq(b.timer.deadline, 1234);
    ck_assert_uint_eq(d.next_deadline, 1234);
}
END_TEST

START_TEST(time_moves_between_the_two_modes)
{
    struct clock c, d;
    struct record record = {0};
    struct named a, b;

    clock_init(&c, CLOCK_DETERMINISTIC, 2);
    clock_init(&d, CLOCK_PARALLEL, 0);
    add(&a, &c, "a", &record);
    add(&b, &d, "a", &record);
    clock_skip_to(&c, 5000000);
    transfer(&c, &a.timer, &d, &b.timer);
    ck_assert_uint_eq(clock_now(&d), 5000000);
    ck_assert(!timer_armed(&b.timer));
    d.stopped_at = 7000001;
    transfer(&d, &b.timer, &c, &a.timer);
    ck_assert_uint_eq(clock_now(&c), 7000001);
}
END_TEST

START_TEST(a_timer_loaded_from_a_failed_stream_is_not_armed)
{
    struct clock c;
    struct record record = {0};
    struct named a;
    struct state *in = state_create_loading("", 0);

    clock_init(&c, CLOCK_DETERMINISTIC, 0);
    add(&a, &c, "a", &record);
    timer_arm(&a.timer, 5);
    timer_serialize(&a.timer, in);
    ck_assert(!timer_armed(&a.timer));
    ck_assert_uint_eq(c.next_deadline, CLOCK_NEVER);
    state_destroy(in);
}
END_TEST

START_TEST(mul_div_does_not_overflow_in_between)
{
    ck_assert_uint_eq(mul_div(1ull << 62, 1193182, 1ull << 40), 1193182ull << 22);
}
END_TEST

static void add_deterministic(TCase *tc)
{
    tcase_add_test(tc, deterministic_time_is_instructions_shifted_plus_skips);
    tcase_add_test(tc, a_skip_into_the_past_has_no_effect);
    tcase_add_test(tc, timers_fire_by_deadline_and_then_by_registration);
    tcase_add_test(tc, a_timer_that_is_not_due_stays_armed);
    tcase_add_test(tc, a_cancelled_timer_does_not_fire);
    tcase_add_test(tc, moving_a_timer_later_moves_the_next_deadline);
    tcase_add_test(tc, a_periodic_timer_catches_up);
    tcase_add_test(tc, a_destroyed_timer_is_forgotten);
    tcase_add_test(tc, the_owner_is_told_when_the_next_deadline_becomes_earlier);
    tcase_add_test(tc, the_instruction_budget_ends_exactly_at_the_deadline);
}

int main(void)
{
    TCase *tc = tcase_create("clock");

    add_deterministic(tc);
    tcase_add_test(tc, parallel_time_runs_only_between_start_and_stop);
    tcase_add_test(tc, a_restored_deterministic_clock_continues_exactly);
    tcase_add_test(tc, time_moves_between_the_two_modes);
    tcase_add_test(tc, a_timer_loaded_from_a_failed_stream_is_not_armed);
    tcase_add_test(tc, mul_div_does_not_overflow_in_between);
    return run_suite("clock", tc);
}
