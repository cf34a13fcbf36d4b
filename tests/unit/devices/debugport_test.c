#include "devices/debugport.h"

#include "tests/unit/devices/device_rig.h"

struct exit_record {
    unsigned count;
    uint32_t status;
};

static void record_exit(void *opaque, uint32_t status)
{
    struct exit_record *r = opaque;

    r->count++;
    r->status = status;
}

START_TEST(bytes_written_go_to_the_chardev)
{
    struct rig rig;
    struct rig_chardev chardev;
    struct debugport *d;

    rig_create(&rig);
    rig_chardev_init(&chardev);
    d = debugport_create(rig.bus, DEBUGPORT_BOCHS, &chardev.c, NULL);
    rig_out(&rig, 0xe9, 'h');
    rig_out(&rig, 0xe9, 'i');
    ck_assert_uint_eq(chardev.sent_count, 2);
    ck_assert_mem_eq(chardev.sent, "hi", 2);
    debugport_destroy(d);
    rig_destroy(&rig);
}
END_TEST

START_TEST(a_read_gives_e9)
{
    struct rig rig;
    struct debugport *d;

    rig_create(&rig);
    d = debugport_create(rig.bus, DEBUGPORT_SEABIOS, NULL, NULL);
    ck_assert_uint_eq(rig_in(&rig, 0x402), 0xe9);
    rig_out(&rig, 0x402, 'x'); /* nowhere to go */
    debugport_destroy(d);
    rig_destroy(&rig);
}
END_TEST

START_TEST(isa_debug_exit_reports_twice_the_value_plus_one)
{
    struct rig rig;
    struct exit_record r = {0};
    struct exitport *e;

    rig_create(&rig);
    e = exitport_create_isa_debug(rig.bus, &rig.log, 0xf4, 4, record_exit, &r, NULL);
    bus_port_write(rig.bus, 0xf4, 0x10, 4);
    ck_assert_uint_eq(r.count, 1);
    ck_assert_uint_eq(r.status, 0x21);
    ck_assert_uint_eq(rig_in(&rig, 0xf4), 0);
    exitport_destroy(e);
    rig_destroy(&rig);
}
END_TEST

START_TEST(isa_debug_exit_takes_one_to_four_ports)
{
    struct rig rig;
    struct exit_record r = {0};
    struct error err = {0};
    struct exitport *e;

    rig_create(&rig);
    ck_assert(exitport_create_isa_debug(rig.bus, &rig.log, 0xf4, 5, record_exit, &r, &err) == NULL);
    ck_assert(err.set);
    ck_assert(exitport_create_isa_debug(rig.bus, &rig.log, 0xfffe, 4, record_exit, &r, NULL) ==
              NULL);
    e = exitport_create_isa_debug(rig.bus, &rig.log, 0x501, 1, record_exit, &r, NULL);
    rig_out(&rig, 0x501, 0);
    ck_assert_uint_eq(r.status, 1);
    exitport_destroy(e);
    rig_destroy(&rig);
}
END_TEST

START_TEST(the_own_exit_port_reports_the_value_itself)
{
    struct rig rig;
    struct exit_record r = {0};
    struct exitport *e;

    rig_create(&rig);
    e = exitport_create(rig.bus, &rig.log, record_exit, &r, NULL);
    ck_assert_uint_eq(bus_port_read(rig.bus, EXITPORT_BASE, 4), EXITPORT_SIGNATURE);
    bus_port_write(rig.bus, EXITPORT_BASE, 0x12345678, 4);
    ck_assert_uint_eq(r.status, 0x12345678);
    rig_out(&rig, EXITPORT_BASE, 0);
    ck_assert_uint_eq(r.status, 0);
    ck_assert_uint_eq(r.count, 2);
    rig_out(&rig, EXITPORT_BASE + 1, 7);
    ck_assert_uint_eq(r.count, 2);
    exitport_destroy(e);
    rig_destroy(&rig);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("debugport");

    tcase_add_test(tc, bytes_written_go_to_the_chardev);
    tcase_add_test(tc, a_read_gives_e9);
    tcase_add_test(tc, isa_debug_exit_reports_twice_the_value_plus_one);
    tcase_add_test(tc, isa_debug_exit_takes_one_to_four_ports);
    tcase_add_test(tc, the_own_exit_port_reports_the_value_itself);
    return run_suite("debugport", tc);
}
