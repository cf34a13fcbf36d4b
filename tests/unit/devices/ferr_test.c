#include "devices/ferr.h"

#include "tests/unit/devices/device_rig.h"

struct board {
    struct rig rig;
    struct rig_irq irq;
    struct ferr *f;
    unsigned ignored;
};

static void count_ignne(void *opaque)
{
    ((struct board *)opaque)->ignored++;
}

static void board_create(struct board *b)
{
    memset(b, 0, sizeof(*b));
    rig_create(&b->rig);
    b->f = ferr_create(b->rig.bus, rig_line(&b->irq, FERR_IRQ), count_ignne, b, NULL);
    ck_assert(b->f != NULL);
}

static void board_destroy(struct board *b)
{
    ferr_destroy(b->f);
    rig_destroy(&b->rig);
}

START_TEST(the_interrupt_stays_until_port_f0_is_written)
{
    struct board b;

    board_create(&b);
    ferr_raise(b.f);
    ferr_raise(b.f);
    ck_assert(b.irq.level[FERR_IRQ]);
    ck_assert_uint_eq(b.irq.rises[FERR_IRQ], 1);
    ck_assert_uint_eq(rig_in(&b.rig, FERR_PORT), 0xff);
    ck_assert(b.irq.level[FERR_IRQ]);
    ck_assert_uint_eq(b.ignored, 0);
    rig_out(&b.rig, FERR_PORT, 0);
    ck_assert(!b.irq.level[FERR_IRQ]);
    ck_assert_uint_eq(b.ignored, 1);
    ferr_raise(b.f);
    ck_assert_uint_eq(b.irq.rises[FERR_IRQ], 2);
    board_destroy(&b);
}
END_TEST

START_TEST(a_reset_takes_the_interrupt_back)
{
    struct board b;

    board_create(&b);
    ferr_raise(b.f);
    ferr_reset(b.f);
    ck_assert(!b.irq.level[FERR_IRQ]);
    ck_assert_uint_eq(b.ignored, 0);
    board_destroy(&b);
}
END_TEST

START_TEST(it_can_be_saved_and_restored)
{
    struct state *s = state_create_saving(), *l;
    struct board from, to;
    const void *bytes;
    size_t length;

    board_create(&from);
    board_create(&to);
    ferr_raise(from.f);
    ferr_serialize(from.f, s);
    bytes = state_data(s, &length);
    l = state_create_loading(bytes, length);
    ferr_serialize(to.f, l);
    ck_assert(state_finish(l, NULL));
    ck_assert(!to.irq.level[FERR_IRQ]); /* its listener loads that itself */
    rig_irq_set(&to.irq, FERR_IRQ, true);
    rig_out(&to.rig, FERR_PORT, 0);
    ck_assert(!to.irq.level[FERR_IRQ]);
    state_destroy(l);
    state_destroy(s);
    board_destroy(&to);
    board_destroy(&from);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("ferr");

    tcase_add_test(tc, the_interrupt_stays_until_port_f0_is_written);
    tcase_add_test(tc, a_reset_takes_the_interrupt_back);
    tcase_add_test(tc, it_can_be_saved_and_restored);
    return run_suite("ferr", tc);
}
