#include "devices/ps2.h"

#include "tests/unit/devices/device_rig.h"

struct bench {
    struct log log;
    struct ps2_mouse m;
};

static void bench_init(struct bench *b)
{
    memset(b, 0, sizeof(*b));
    log_init(&b->log);
    ps2_mouse_init(&b->m, &b->log);
}

static void expect(struct bench *b, const char *bytes)
{
    char text[256] = "";
    size_t used = 0;

    while (ps2_mouse_ready(&b->m) && used + 4 < sizeof(text))
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%02x", used > 0 ? " " : "",
                                 ps2_mouse_take(&b->m));
    ck_assert_str_eq(text, bytes);
}

static void write_all(struct bench *b, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ps2_mouse_write(&b->m, bytes[i]);
    while (ps2_mouse_ready(&b->m))
        ps2_mouse_take(&b->m);
}

static void enable(struct bench *b)
{
    write_all(b, (const uint8_t[]){0xf4}, 1);
}

static void ask_for_wheel(struct bench *b)
{
    write_all(b, (const uint8_t[]){0xf3, 200, 0xf3, 100, 0xf3, 80}, 6);
}

static void ask_for_five_buttons(struct bench *b)
{
    write_all(b, (const uint8_t[]){0xf3, 200, 0xf3, 200, 0xf3, 80}, 6);
}

START_TEST(reset_answers_with_test_result_and_id)
{
    struct bench b;

    bench_init(&b);
    ps2_mouse_write(&b.m, 0xff);
    expect(&b, "fa aa 00");
}
END_TEST

START_TEST(nothing_is_reported_until_enabled)
{
    struct bench b;

    bench_init(&b);
    ps2_mouse_move(&b.m, 5, 5, 0, PS2_MOUSE_LEFT);
    expect(&b, "");
    enable(&b);
    ps2_mouse_move(&b.m, 5, -3, 0, PS2_MOUSE_LEFT);
    expect(&b, "09 05 03");
}
END_TEST

START_TEST(negative_movement_has_sign_bits)
{
    struct bench b;

    bench_init(&b);
    enable(&b);
    ps2_mouse_move(&b.m, -1, 2, 0, 0);
    expect(&b, "38 ff fe");
}
END_TEST

START_TEST(far_movement_takes_several_reports)
{
    struct bench b;

    bench_init(&b);
    enable(&b);
    ps2_mouse_move(&b.m, 300, 0, 0, 0);
    expect(&b, "08 ff 00 08 2d 00");
}
END_TEST

START_TEST(movement_adds_up_while_a_report_waits)
{
    struct bench b;

    bench_init(&b);
    enable(&b);
    for (unsigned i = 0; i < 10; i++)
        ps2_mouse_move(&b.m, 1, 0, 0, 0);
    expect(&b, "08 01 00 08 09 00");
}
END_TEST

START_TEST(a_click_between_reports_is_not_lost)
{
    struct bench b;

    bench_init(&b);
    enable(&b);
    ps2_mouse_move(&b.m, 1, 0, 0, 0);
    ps2_mouse_move(&b.m, 0, 0, 0, PS2_MOUSE_RIGHT);
    ps2_mouse_move(&b.m, 0, 0, 0, 0);
    expect(&b, "08 01 00 0a 00 00 08 00 00");
}
END_TEST

START_TEST(the_rate_sequence_turns_on_the_wheel)
{
    struct bench b;

    bench_init(&b);
    ask_for_wheel(&b);
    ps2_mouse_write(&b.m, 0xf2);
    expect(&b, "fa 03");
    enable(&b);
    ps2_mouse_move(&b.m, 0, 0, -1, 0);
    expect(&b, "08 00 00 ff");
}
END_TEST

START_TEST(five_buttons_need_the_wheel_first)
{
    struct bench b;

    bench_init(&b);
    ask_for_five_buttons(&b);
    ck_assert_uint_eq(b.m.id, 0);
    ask_for_wheel(&b);
    ask_for_five_buttons(&b);
    ps2_mouse_write(&b.m, 0xf2);
    expect(&b, "fa 04");
    enable(&b);
    ps2_mouse_move(&b.m, 0, 0, 1, PS2_MOUSE_FOURTH);
    expect(&b, "08 00 00 11");
}
END_TEST

START_TEST(status_shows_buttons_and_settings)
{
    struct bench b;

    bench_init(&b);
    write_all(&b, (const uint8_t[]){0xe8, 3, 0xf3, 40, 0xe7, 0xf4}, 6);
    ps2_mouse_move(&b.m, 0, 0, 0, PS2_MOUSE_LEFT);
    ps2_mouse_write(&b.m, 0xe9);
    expect(&b, "fa 34 03 28");
}
END_TEST

START_TEST(remote_mode_reports_on_request)
{
    struct bench b;

    bench_init(&b);
    write_all(&b, (const uint8_t[]){0xf0}, 1);
    ps2_mouse_move(&b.m, 7, 0, 0, 0);
    expect(&b, "");
    ps2_mouse_write(&b.m, 0xeb);
    expect(&b, "fa 08 07 00");
}
END_TEST

START_TEST(wrap_mode_echoes_until_it_is_left)
{
    struct bench b;

    bench_init(&b);
    ps2_mouse_write(&b.m, 0xee);
    ps2_mouse_write(&b.m, 0xf4);
    ps2_mouse_write(&b.m, 0x12);
    ps2_mouse_write(&b.m, 0xec);
    expect(&b, "fa f4 12 fa");
}
END_TEST

START_TEST(scaling_changes_stream_reports)
{
    struct bench b;

    bench_init(&b);
    write_all(&b, (const uint8_t[]){0xe7, 0xf4}, 2);
    ps2_mouse_move(&b.m, 3, 10, 0, 0);
    expect(&b, "28 03 ec");
}
END_TEST

START_TEST(unknown_commands_and_arguments_ask_for_a_resend)
{
    struct bench b;

    bench_init(&b);
    ps2_mouse_write(&b.m, 0xe1);
    expect(&b, "fe");
    ps2_mouse_write(&b.m, 0xe8);
    ps2_mouse_write(&b.m, 4);
    expect(&b, "fa fe");
}
END_TEST

START_TEST(extreme_movement_does_no_harm)
{
    struct bench b;

    bench_init(&b);
    enable(&b);
    for (unsigned i = 0; i < 100; i++) {
        ps2_mouse_move(&b.m, INT32_MIN, INT32_MIN, INT32_MIN, 0xff);
        ps2_mouse_move(&b.m, INT32_MAX, INT32_MAX, INT32_MAX, 0);
    }
    ck_assert_uint_le(b.m.packets.count, PS2_QUEUE_SIZE);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("ps2_mouse");

    tcase_add_test(tc, reset_answers_with_test_result_and_id);
    tcase_add_test(tc, nothing_is_reported_until_enabled);
    tcase_add_test(tc, negative_movement_has_sign_bits);
    tcase_add_test(tc, far_movement_takes_several_reports);
    tcase_add_test(tc, movement_adds_up_while_a_report_waits);
    tcase_add_test(tc, a_click_between_reports_is_not_lost);
    tcase_add_test(tc, the_rate_sequence_turns_on_the_wheel);
    tcase_add_test(tc, five_buttons_need_the_wheel_first);
    tcase_add_test(tc, status_shows_buttons_and_settings);
    tcase_add_test(tc, remote_mode_reports_on_request);
    tcase_add_test(tc, wrap_mode_echoes_until_it_is_left);
    tcase_add_test(tc, scaling_changes_stream_reports);
    tcase_add_test(tc, unknown_commands_and_arguments_ask_for_a_resend);
    tcase_add_test(tc, extreme_movement_does_no_harm);
    return run_suite("ps2_mouse", tc);
}
