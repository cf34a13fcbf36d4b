#include "devices/pvpanic.h"

#include "tests/unit/devices/device_rig.h"

struct board {
    struct rig rig;
    struct pvpanic *p;
    unsigned count;
    uint8_t events;
};

static void record(void *opaque, uint8_t events)
{
    struct board *b = opaque;

    b->count++;
    b->events = events;
}

static void board_create(struct board *b)
{
    memset(b, 0, sizeof(*b));
    rig_create(&b->rig);
    b->p = pvpanic_create(b->rig.bus, &b->rig.log, record, b, NULL);
    ck_assert(b->p != NULL);
}

static void board_destroy(struct board *b)
{
    pvpanic_destroy(b->p);
    rig_destroy(&b->rig);
}

START_TEST(a_read_gives_the_events_it_understands)
{
    struct board b;

    board_create(&b);
    ck_assert_uint_eq(rig_in(&b.rig, 0x505), 0x07);
    board_destroy(&b);
}
END_TEST

START_TEST(a_panic_is_reported)
{
    struct board b;

    board_create(&b);
    rig_out(&b.rig, 0x505, PVPANIC_PANICKED);
    ck_assert_uint_eq(b.count, 1);
    ck_assert_uint_eq(b.events, PVPANIC_PANICKED);
    board_destroy(&b);
}
END_TEST

START_TEST(unknown_events_are_not_reported)
{
    struct board b;

    board_create(&b);
    rig_out(&b.rig, 0x505, 0xf8);
    ck_assert_uint_eq(b.count, 0);
    rig_out(&b.rig, 0x505, 0xf8 | PVPANIC_CRASH_LOADED);
    ck_assert_uint_eq(b.events, PVPANIC_CRASH_LOADED);
    board_destroy(&b);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("pvpanic");

    tcase_add_test(tc, a_read_gives_the_events_it_understands);
    tcase_add_test(tc, a_panic_is_reported);
    tcase_add_test(tc, unknown_events_are_not_reported);
    return run_suite("pvpanic", tc);
}
