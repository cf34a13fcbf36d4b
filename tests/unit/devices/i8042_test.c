#include "devices/i8042.h"

#include "tests/unit/devices/device_rig.h"

#define IRQ1  1
#define A20   2
#define IRQ12 12

struct board {
    struct rig rig;
    struct rig_irq irq;
    struct i8042 *k;
    unsigned resets;
};

static void count_reset(void *opaque)
{
    ((struct board *)opaque)->resets++;
}

static struct board *board_create(void)
{
    struct board *b = calloc(1, sizeof(*b));
    struct i8042_wiring wiring = {.reset = count_reset, .opaque = b};

    rig_create(&b->rig);
    wiring.irq1 = rig_line(&b->irq, IRQ1);
    wiring.irq12 = rig_line(&b->irq, IRQ12);
    wiring.a20 = rig_line(&b->irq, A20);
    b->k = i8042_create(b->rig.bus, &b->rig.log, &b->rig.clock, &wiring, NULL);
    ck_assert(b->k != NULL);
    return b;
}

static void board_destroy(struct board *b)
{
    i8042_destroy(b->k);
    rig_destroy(&b->rig);
    free(b);
}

static void command(struct board *b, uint8_t value)
{
    rig_out(&b->rig, 0x64, value);
}

static void data(struct board *b, uint8_t value)
{
    rig_out(&b->rig, 0x60, value);
}

static uint8_t status(struct board *b)
{
    return rig_in(&b->rig, 0x64);
}

static uint8_t read_byte(struct board *b)
{
    return rig_in(&b->rig, 0x60);
}

static void set_command_byte(struct board *b, uint8_t value)
{
    command(b, 0x60);
    data(b, value);
}

static uint8_t command_byte(struct board *b)
{
    command(b, 0x20);
    return read_byte(b);
}

/* The byte that arrives next from a device. */
static uint8_t next_byte(struct board *b)
{
    rig_advance(&b->rig, I8042_BYTE_NS);
    ck_assert(status(b) & I8042_STATUS_OBF);
    return read_byte(b);
}

START_TEST(the_self_test_passes_and_sets_the_system_flag)
{
    struct board *b = board_create();

    ck_assert_uint_eq(status(b), I8042_STATUS_UNLOCK);
    command(b, 0xaa);
    ck_assert_uint_eq(status(b), 0x1d);
    ck_assert_uint_eq(read_byte(b), 0x55);
    ck_assert_uint_eq(status(b), 0x1c);
    command(b, 0xab);
    ck_assert_uint_eq(read_byte(b), 0x00);
    command(b, 0xa9);
    ck_assert_uint_eq(read_byte(b), 0x00);
    board_destroy(b);
}
END_TEST

START_TEST(the_command_byte_is_read_and_written)
{
    struct board *b = board_create();

    ck_assert_uint_eq(command_byte(b), 0x43);
    set_command_byte(b, 0x30);
    ck_assert_uint_eq(command_byte(b), 0x30);
    board_destroy(b);
}
END_TEST

START_TEST(controller_ram_is_read_and_written)
{
    struct board *b = board_create();

    command(b, 0x7f);
    data(b, 0xa5);
    command(b, 0x3f);
    ck_assert_uint_eq(read_byte(b), 0xa5);
    ck_assert_uint_eq(command_byte(b), 0x43);
    board_destroy(b);
}
END_TEST

START_TEST(ports_are_enabled_and_disabled_in_the_command_byte)
{
    struct board *b = board_create();

    command(b, 0xa7);
    command(b, 0xad);
    ck_assert_uint_eq(command_byte(b), 0x73);
    command(b, 0xa8);
    command(b, 0xae);
    ck_assert_uint_eq(command_byte(b), 0x43);
    board_destroy(b);
}
END_TEST

START_TEST(the_keyboard_interrupts_when_its_byte_arrives)
{
    struct board *b = board_create();

    i8042_key(b->k, true, 0x1e);
    ck_assert(!b->irq.level[IRQ1]);
    rig_advance(&b->rig, I8042_BYTE_NS);
    ck_assert(b->irq.level[IRQ1]);
    ck_assert_uint_eq(status(b) & 0x21, 0x01);
    ck_assert_uint_eq(read_byte(b), 0x1e);
    ck_assert(!b->irq.level[IRQ1]);
    board_destroy(b);
}
END_TEST

START_TEST(each_byte_makes_an_edge)
{
    struct board *b = board_create();

    i8042_key(b->k, true, 0xe048);
    i8042_key(b->k, false, 0xe048);
    ck_assert_uint_eq(next_byte(b), 0xe0);
    ck_assert_uint_eq(next_byte(b), 0x48);
    ck_assert_uint_eq(next_byte(b), 0xe0);
    ck_assert_uint_eq(next_byte(b), 0xc8);
    ck_assert_uint_eq(b->irq.rises[IRQ1], 4);
    board_destroy(b);
}
END_TEST

START_TEST(a_second_read_gives_the_same_byte)
{
    struct board *b = board_create();

    i8042_key(b->k, true, 0xe048);
    ck_assert_uint_eq(next_byte(b), 0xe0);
    ck_assert_uint_eq(read_byte(b), 0xe0);
    ck_assert_uint_eq(next_byte(b), 0x48);
    board_destroy(b);
}
END_TEST

START_TEST(without_translation_set_2_comes_through)
{
    struct board *b = board_create();

    set_command_byte(b, I8042_CTR_KBD_INT);
    i8042_key(b->k, false, 0x1e);
    ck_assert_uint_eq(next_byte(b), 0xf0);
    ck_assert_uint_eq(next_byte(b), 0x1c);
    board_destroy(b);
}
END_TEST

START_TEST(a_disabled_keyboard_waits)
{
    struct board *b = board_create();

    command(b, 0xad);
    i8042_key(b->k, true, 0x1e);
    rig_advance(&b->rig, 10 * I8042_BYTE_NS);
    ck_assert_uint_eq(status(b) & I8042_STATUS_OBF, 0);
    command(b, 0xae);
    ck_assert_uint_eq(next_byte(b), 0x1e);
    board_destroy(b);
}
END_TEST

START_TEST(data_without_a_command_goes_to_the_keyboard_and_enables_it)
{
    struct board *b = board_create();

    command(b, 0xad);
    data(b, 0xf2);
    ck_assert_uint_eq(next_byte(b), 0xfa);
    ck_assert_uint_eq(next_byte(b), 0xab);
    ck_assert_uint_eq(next_byte(b), 0x41); /* 83h, translated */
    ck_assert_uint_eq(command_byte(b), 0x43);
    board_destroy(b);
}
END_TEST

START_TEST(the_mouse_answers_through_its_own_interrupt)
{
    struct board *b = board_create();

    command(b, 0xd4);
    data(b, 0xff);
    rig_advance(&b->rig, I8042_BYTE_NS);
    ck_assert(b->irq.level[IRQ12]);
    ck_assert(!b->irq.level[IRQ1]);
    ck_assert_uint_eq(status(b) & 0x21, 0x21);
    ck_assert_uint_eq(read_byte(b), 0xfa);
    ck_assert_uint_eq(next_byte(b), 0xaa);
    ck_assert_uint_eq(next_byte(b), 0x00);
    board_destroy(b);
}
END_TEST

START_TEST(mouse_movement_arrives)
{
    struct board *b = board_create();

    command(b, 0xd4);
    data(b, 0xf4);
    ck_assert_uint_eq(next_byte(b), 0xfa);
    i8042_mouse(b->k, 2, -1, 0, PS2_MOUSE_LEFT);
    ck_assert_uint_eq(next_byte(b), 0x09);
    ck_assert_uint_eq(next_byte(b), 0x02);
    ck_assert_uint_eq(next_byte(b), 0x01);
    board_destroy(b);
}
END_TEST

START_TEST(the_auxiliary_loop_returns_the_byte_and_interrupts)
{
    struct board *b = board_create();

    command(b, 0xd3);
    data(b, 0x5a);
    ck_assert_uint_eq(status(b) & 0x21, 0x21);
    ck_assert(b->irq.level[IRQ12]);
    ck_assert_uint_eq(read_byte(b), 0x5a);
    command(b, 0xd2);
    data(b, 0x5b);
    ck_assert_uint_eq(status(b) & 0x21, 0x01);
    ck_assert(b->irq.level[IRQ1]);
    board_destroy(b);
}
END_TEST

START_TEST(an_answer_goes_before_a_waiting_key_and_loses_nothing)
{
    struct board *b = board_create();

    i8042_key(b->k, true, 0x1e);
    rig_advance(&b->rig, I8042_BYTE_NS);
    ck_assert_uint_eq(command_byte(b), 0x43);
    ck_assert_uint_eq(status(b) & 0x21, 0x01);
    ck_assert_uint_eq(read_byte(b), 0x1e);
    ck_assert_uint_eq(status(b) & 0x01, 0x00);
    board_destroy(b);
}
END_TEST

START_TEST(the_output_port_switches_a20)
{
    struct board *b = board_create();

    ck_assert(b->irq.level[A20]);
    command(b, 0xd1);
    data(b, 0xdd);
    ck_assert(!b->irq.level[A20]);
    command(b, 0xd0);
    ck_assert_uint_eq(read_byte(b) & 3, 1);
    command(b, 0xd1);
    data(b, 0xdf);
    ck_assert(b->irq.level[A20]);
    command(b, 0xdd);
    ck_assert(!b->irq.level[A20]);
    command(b, 0xdf);
    ck_assert(b->irq.level[A20]);
    ck_assert_uint_eq(b->resets, 0);
    board_destroy(b);
}
END_TEST

START_TEST(pulsing_bit_0_resets_the_processor)
{
    struct board *b = board_create();

    command(b, 0xff);
    ck_assert_uint_eq(b->resets, 0);
    command(b, 0xfe);
    ck_assert_uint_eq(b->resets, 1);
    command(b, 0xd1);
    data(b, 0x02);
    ck_assert_uint_eq(b->resets, 2);
    ck_assert(b->irq.level[A20]);
    board_destroy(b);
}
END_TEST

START_TEST(reset_forgets_bytes_and_opens_a20)
{
    struct board *b = board_create();

    command(b, 0xdd);
    i8042_key(b->k, true, 0x1e);
    rig_advance(&b->rig, I8042_BYTE_NS);
    i8042_reset(b->k);
    ck_assert(!b->irq.level[IRQ1]);
    ck_assert(b->irq.level[A20]);
    ck_assert_uint_eq(status(b), I8042_STATUS_UNLOCK);
    board_destroy(b);
}
END_TEST

static void serialize(void *device, struct state *s)
{
    struct board *b = device;

    i8042_serialize(b->k, s);
    clock_serialize(&b->rig.clock, s);
}

START_TEST(a_restored_controller_goes_on_where_the_saved_one_was)
{
    struct board *from = board_create(), *to = board_create();

    command(from, 0xd4);
    data(from, 0xf4);
    i8042_key(from->k, true, 0xe048);
    ck_assert_uint_eq(next_byte(from), 0xe0);
    i8042_mouse(from->k, 3, 0, 0, 0);
    ck_assert(rig_load(serialize, to, rig_save(serialize, from), 0));
    ck_assert_uint_eq(next_byte(to), 0x48);
    ck_assert_uint_eq(next_byte(to), 0xfa);
    ck_assert_uint_eq(next_byte(to), 0x08);
    ck_assert_uint_eq(next_byte(to), 0x03);
    board_destroy(from);
    board_destroy(to);
}
END_TEST

START_TEST(a_state_with_an_impossible_queue_is_refused)
{
    struct board *from = board_create(), *to = board_create();

    from->k->mouse.packets.head = PS2_QUEUE_SIZE;
    ck_assert(!rig_load(serialize, to, rig_save(serialize, from), 0));
    ck_assert_uint_lt(to->k->mouse.packets.head, PS2_QUEUE_SIZE);
    from->k->mouse.packets.head = 0;
    from->k->command = 0x20;
    ck_assert(!rig_load(serialize, to, rig_save(serialize, from), 0));
    from->k->command = 0;
    from->k->mouse.x = 1 << 30;
    ck_assert(!rig_load(serialize, to, rig_save(serialize, from), 0));
    board_destroy(from);
    board_destroy(to);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("i8042");

    tcase_add_test(tc, the_self_test_passes_and_sets_the_system_flag);
    tcase_add_test(tc, the_command_byte_is_read_and_written);
    tcase_add_test(tc, controller_ram_is_read_and_written);
    tcase_add_test(tc, ports_are_enabled_and_disabled_in_the_command_byte);
    tcase_add_test(tc, the_keyboard_interrupts_when_its_byte_arrives);
    tcase_add_test(tc, each_byte_makes_an_edge);
    tcase_add_test(tc, a_second_read_gives_the_same_byte);
    tcase_add_test(tc, without_translation_set_2_comes_through);
    tcase_add_test(tc, a_disabled_keyboard_waits);
    tcase_add_test(tc, data_without_a_command_goes_to_the_keyboard_and_enables_it);
    tcase_add_test(tc, the_mouse_answers_through_its_own_interrupt);
    tcase_add_test(tc, mouse_movement_arrives);
    tcase_add_test(tc, the_auxiliary_loop_returns_the_byte_and_interrupts);
    tcase_add_test(tc, an_answer_goes_before_a_waiting_key_and_loses_nothing);
    tcase_add_test(tc, the_output_port_switches_a20);
    tcase_add_test(tc, pulsing_bit_0_resets_the_processor);
    tcase_add_test(tc, reset_forgets_bytes_and_opens_a20);
    tcase_add_test(tc, a_restored_controller_goes_on_where_the_saved_one_was);
    tcase_add_test(tc, a_state_with_an_impossible_queue_is_refused);
    return run_suite("i8042", tc);
}
