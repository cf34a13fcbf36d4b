#include "devices/port92.h"

#include "tests/unit/devices/device_rig.h"

struct board {
    struct rig rig;
    struct rig_irq a20; /* pin 1 */
    unsigned resets;
    struct port92 *p;
};

static void count_reset(void *opaque)
{
    ((struct board *)opaque)->resets++;
}

static struct board *board_create(void)
{
    struct board *b = calloc(1, sizeof(*b));

    rig_create(&b->rig);
    b->p = port92_create(b->rig.bus, &b->rig.log, rig_line(&b->a20, 1), count_reset, b, NULL);
    ck_assert(b->p != NULL);
    return b;
}

static void board_destroy(struct board *b)
{
    port92_destroy(b->p);
    rig_destroy(&b->rig);
    free(b);
}

START_TEST(bit_1_switches_the_a20_gate)
{
    struct board *b = board_create();

    rig_out(&b->rig, 0x92, 0x02);
    ck_assert(b->a20.level[1]);
    ck_assert_uint_eq(rig_in(&b->rig, 0x92), 0x02);
    rig_out(&b->rig, 0x92, 0x00);
    ck_assert(!b->a20.level[1]);
    ck_assert_uint_eq(b->resets, 0);
    board_destroy(b);
}
END_TEST

START_TEST(bit_0_resets_on_its_rise)
{
    struct board *b = board_create();

    rig_out(&b->rig, 0x92, 0x01);
    rig_out(&b->rig, 0x92, 0x01);
    ck_assert_uint_eq(b->resets, 1);
    rig_out(&b->rig, 0x92, 0x00);
    rig_out(&b->rig, 0x92, 0x03);
    ck_assert_uint_eq(b->resets, 2);
    board_destroy(b);
}
END_TEST

START_TEST(reset_turns_a20_off)
{
    struct board *b = board_create();

    rig_out(&b->rig, 0x92, 0x02);
    port92_reset(b->p);
    ck_assert(!b->a20.level[1]);
    ck_assert_uint_eq(rig_in(&b->rig, 0x92), 0);
    board_destroy(b);
}
END_TEST

static void serialize(void *device, struct state *s)
{
    port92_serialize(((struct board *)device)->p, s);
}

START_TEST(the_register_is_saved_and_restored)
{
    struct board *from = board_create(), *to = board_create();

    rig_out(&from->rig, 0x92, 0x42);
    ck_assert(rig_load(serialize, to, rig_save(serialize, from), 0));
    ck_assert_uint_eq(rig_in(&to->rig, 0x92), 0x42);
    ck_assert(!rig_load(serialize, to, rig_save(serialize, from), 1));
    board_destroy(from);
    board_destroy(to);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("port92");

    tcase_add_test(tc, bit_1_switches_the_a20_gate);
    tcase_add_test(tc, bit_0_resets_on_its_rise);
    tcase_add_test(tc, reset_turns_a20_off);
    tcase_add_test(tc, the_register_is_saved_and_restored);
    return run_suite("port92", tc);
}
