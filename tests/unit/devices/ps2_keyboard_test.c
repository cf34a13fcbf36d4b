#include "devices/ps2.h"

#include "tests/unit/devices/device_rig.h"

struct bench {
    struct log log;
    struct ps2_keyboard k;
};

static void bench_init(struct bench *b)
{
    memset(b, 0, sizeof(*b));
    log_init(&b->log);
    ps2_keyboard_init(&b->k, &b->log);
}

/* Everything the keyboard has for the host, as hexadecimal digits. */
static const char *taken(struct bench *b, char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    while (ps2_keyboard_ready(&b->k) && used + 4 < size)
        used += (size_t)snprintf(text + used, size - used, "%s%02x", used > 0 ? " " : "",
                                 ps2_keyboard_take(&b->k));
    return text;
}

static void expect(struct bench *b, const char *bytes)
{
    char text[256];

    ck_assert_str_eq(taken(b, text, sizeof(text)), bytes);
}

START_TEST(keys_are_sent_in_set_2)
{
    struct bench b;

    bench_init(&b);
    ps2_keyboard_key(&b.k, true, 0x1e);
    ps2_keyboard_key(&b.k, false, 0x1e);
    expect(&b, "1c f0 1c");
}
END_TEST

START_TEST(extended_keys_have_a_prefix)
{
    struct bench b;

    bench_init(&b);
    ps2_keyboard_key(&b.k, true, 0xe048);
    ps2_keyboard_key(&b.k, false, 0xe048);
    expect(&b, "e0 75 e0 f0 75");
}
END_TEST

START_TEST(f7_and_alt_sysrq_have_their_high_codes)
{
    struct bench b;

    bench_init(&b);
    ps2_keyboard_key(&b.k, true, 0x41);
    ps2_keyboard_key(&b.k, true, 0x54);
    expect(&b, "83 84");
}
END_TEST

START_TEST(print_screen_comes_with_a_shift)
{
    struct bench b;

    bench_init(&b);
    ps2_keyboard_key(&b.k, true, 0xe037);
    ps2_keyboard_key(&b.k, false, 0xe037);
    expect(&b, "e0 12 e0 7c e0 f0 7c e0 f0 12");
}
END_TEST

START_TEST(pause_has_no_break_code)
{
    struct bench b;

    bench_init(&b);
    ps2_keyboard_key(&b.k, true, 0xe11d);
    ps2_keyboard_key(&b.k, false, 0xe11d);
    expect(&b, "e1 14 77 e1 f0 14 f0 77");
}
END_TEST

START_TEST(set_1_can_be_chosen)
{
    struct bench b;

    bench_init(&b);
    ps2_keyboard_write(&b.k, 0xf0);
    ps2_keyboard_write(&b.k, 1);
    expect(&b, "fa fa");
    ps2_keyboard_key(&b.k, true, 0xe048);
    ps2_keyboard_key(&b.k, false, 0x1e);
    ps2_keyboard_key(&b.k, true, 0xe11d);
    expect(&b, "e0 48 9e e1 1d 45 e1 9d c5");
    ps2_keyboard_write(&b.k, 0xf0);
    ps2_keyboard_write(&b.k, 0);
    expect(&b, "fa fa 01");
}
END_TEST

START_TEST(set_3_is_refused)
{
    struct bench b;

    bench_init(&b);
    ps2_keyboard_write(&b.k, 0xf0);
    ps2_keyboard_write(&b.k, 3);
    expect(&b, "fa fe");
}
END_TEST

START_TEST(every_set_1_code_survives_the_way_through_set_2)
{
    struct bench b;

    bench_init(&b);
    for (uint8_t code = 1; code < 0x80; code++) {
        ps2_keyboard_key(&b.k, true, code);
        ck_assert(ps2_keyboard_ready(&b.k));
        ck_assert_uint_eq(ps2_translate(ps2_keyboard_take(&b.k)), code);
        ck_assert(!ps2_keyboard_ready(&b.k));
    }
}
END_TEST

START_TEST(reset_and_identify_answer)
{
    struct bench b;

    bench_init(&b);
    ps2_keyboard_write(&b.k, 0xff);
    expect(&b, "fa aa");
    ps2_keyboard_write(&b.k, 0xf2);
    expect(&b, "fa ab 83");
    ps2_keyboard_write(&b.k, 0xee);
    expect(&b, "ee");
}
END_TEST

START_TEST(leds_are_taken)
{
    struct bench b;

    bench_init(&b);
    ps2_keyboard_write(&b.k, 0xed);
    ps2_keyboard_write(&b.k, 0x05);
    expect(&b, "fa fa");
    ck_assert_uint_eq(b.k.leds, 5);
}
END_TEST

START_TEST(a_command_in_place_of_an_argument_is_a_command)
{
    struct bench b;

    bench_init(&b);
    ps2_keyboard_write(&b.k, 0xed);
    ps2_keyboard_write(&b.k, 0xf4);
    ps2_keyboard_write(&b.k, 0x05);
    expect(&b, "fa fa fe");
    ck_assert_uint_eq(b.k.leds, 0);
}
END_TEST

START_TEST(a_disabled_keyboard_reports_nothing)
{
    struct bench b;

    bench_init(&b);
    ps2_keyboard_key(&b.k, true, 0x1e);
    ps2_keyboard_write(&b.k, 0xf5);
    ps2_keyboard_key(&b.k, true, 0x1f);
    expect(&b, "fa");
    ps2_keyboard_write(&b.k, 0xf4);
    ps2_keyboard_key(&b.k, true, 0x1f);
    expect(&b, "fa 1b");
}
END_TEST

START_TEST(the_last_byte_is_repeated_on_request)
{
    struct bench b;

    bench_init(&b);
    ps2_keyboard_key(&b.k, true, 0x1e);
    expect(&b, "1c");
    ps2_keyboard_write(&b.k, 0xfe);
    expect(&b, "1c");
}
END_TEST

START_TEST(lost_keys_are_marked_once)
{
    struct bench b;
    unsigned count = 0;
    uint8_t byte = 0xff;

    bench_init(&b);
    for (unsigned i = 0; i < 100; i++)
        ps2_keyboard_key(&b.k, true, 0xe048);
    for (; ps2_keyboard_ready(&b.k); count++)
        byte = ps2_keyboard_take(&b.k);
    ck_assert_uint_le(count, PS2_QUEUE_SIZE);
    ck_assert_uint_eq(count % 2, 1);
    ck_assert_uint_eq(byte, 0x00);
}
END_TEST

START_TEST(a_host_that_never_reads_does_no_harm)
{
    struct bench b;

    bench_init(&b);
    for (unsigned i = 0; i < 1000; i++)
        ps2_keyboard_write(&b.k, (uint8_t)i);
    ck_assert_uint_le(b.k.replies.count, PS2_QUEUE_SIZE);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("ps2_keyboard");

    tcase_add_test(tc, keys_are_sent_in_set_2);
    tcase_add_test(tc, extended_keys_have_a_prefix);
    tcase_add_test(tc, f7_and_alt_sysrq_have_their_high_codes);
    tcase_add_test(tc, print_screen_comes_with_a_shift);
    tcase_add_test(tc, pause_has_no_break_code);
    tcase_add_test(tc, set_1_can_be_chosen);
    tcase_add_test(tc, set_3_is_refused);
    tcase_add_test(tc, every_set_1_code_survives_the_way_through_set_2);
    tcase_add_test(tc, reset_and_identify_answer);
    tcase_add_test(tc, leds_are_taken);
    tcase_add_test(tc, a_command_in_place_of_an_argument_is_a_command);
    tcase_add_test(tc, a_disabled_keyboard_reports_nothing);
    tcase_add_test(tc, the_last_byte_is_repeated_on_request);
    tcase_add_test(tc, lost_keys_are_marked_once);
    tcase_add_test(tc, a_host_that_never_reads_does_no_harm);
    return run_suite("ps2_keyboard", tc);
}
