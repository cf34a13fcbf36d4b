#include "devices/uart.h"

#include "tests/unit/devices/device_rig.h"

#define COM1 0x3f8
#define IRQ4 4

#define IER_ALL   0x0f
#define FIFO_ON   0x01
#define TRIGGER_8 0x80

/* Four characters of 8N1 at 9600 baud, rounded up. */
#define TIMEOUT_NS 4166668

struct port {
    struct rig rig;
    struct rig_irq irq;
    struct rig_chardev chardev;
    struct uart *uart;
};

static struct port *port_create(void)
{
    struct port *p = calloc(1, sizeof(*p));

    rig_create(&p->rig);
    rig_chardev_init(&p->chardev);
    p->uart = uart_create(p->rig.bus, &p->rig.log, &p->rig.clock, COM1, "com1",
                          rig_line(&p->irq, IRQ4), &p->chardev.c, NULL);
    ck_assert(p->uart != NULL);
    return p;
}

static void port_destroy(struct port *p)
{
    uart_destroy(p->uart);
    rig_destroy(&p->rig);
    free(p);
}

static uint8_t in(struct port *p, unsigned reg)
{
    return rig_in(&p->rig, (uint16_t)(COM1 + reg));
}

static void out(struct port *p, unsigned reg, uint8_t value)
{
    rig_out(&p->rig, (uint16_t)(COM1 + reg), value);
}

/* As drivers do it: 8N1, interrupts pass the gate. */
static struct port *port_open(uint8_t fcr, uint8_t ier)
{
    struct port *p = port_create();

    out(p, UART_LCR, 0x03);
    out(p, UART_FCR, fcr);
    out(p, UART_MCR, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
    in(p, UART_MSR);
    out(p, UART_IER, ier);
    return p;
}

START_TEST(reset_state_is_that_of_the_datasheet)
{
    struct port *p = port_create();

    ck_assert_uint_eq(in(p, UART_IER), 0x00);
    ck_assert_uint_eq(in(p, UART_IIR), 0x01);
    ck_assert_uint_eq(in(p, UART_LCR), 0x00);
    ck_assert_uint_eq(in(p, UART_MCR), 0x00);
    ck_assert_uint_eq(in(p, UART_LSR), 0x60);
    ck_assert_uint_eq(in(p, UART_MSR), 0xb0);
    port_destroy(p);
}
END_TEST

START_TEST(without_a_chardev_the_modem_inputs_are_inactive)
{
    struct rig rig;
    struct uart *u;

    rig_create(&rig);
    u = uart_create(rig.bus, &rig.log, &rig.clock, COM1, "com1", (struct irq_line){0}, NULL, NULL);
    ck_assert_uint_eq(rig_in(&rig, COM1 + UART_MSR), 0);
    rig_out(&rig, COM1, 'x');
    uart_destroy(u);
    rig_destroy(&rig);
}
END_TEST

START_TEST(taken_ports_are_an_error)
{
    struct port *p = port_create();
    struct error err = {0};

    ck_assert(uart_create(p->rig.bus, &p->rig.log, &p->rig.clock, COM1 + 4, "com2",
                          (struct irq_line){0}, NULL, &err) == NULL);
    ck_assert(err.set);
    port_destroy(p);
}
END_TEST

START_TEST(the_divisor_latch_hides_data_and_interrupt_enable)
{
    struct port *p = port_create();

    out(p, UART_LCR, UART_LCR_DLAB);
    out(p, UART_DLL, 0x34);
    out(p, UART_DLM, 0x12);
    ck_assert_uint_eq(in(p, UART_DLL), 0x34);
    ck_assert_uint_eq(in(p, UART_DLM), 0x12);
    out(p, UART_LCR, 0);
    ck_assert_uint_eq(in(p, UART_IER), 0);
    ck_assert_uint_eq(p->chardev.sent_count, 0);
    port_destroy(p);
}
END_TEST

START_TEST(a_byte_is_sent_at_once_and_the_transmitter_stays_empty)
{
    struct port *p = port_create();

    out(p, UART_THR, 'A');
    ck_assert_uint_eq(p->chardev.sent_count, 1);
    ck_assert_uint_eq(p->chardev.sent[0], 'A');
    ck_assert_uint_eq(in(p, UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
    port_destroy(p);
}
END_TEST

START_TEST(received_bytes_are_read_in_order)
{
    struct port *p = port_open(FIFO_ON, 0);

    ck_assert_uint_eq(rig_chardev_offer(&p->chardev, "abc"), 3);
    ck_assert_uint_eq(in(p, UART_RBR), 'a');
    ck_assert_uint_eq(in(p, UART_RBR), 'b');
    ck_assert_uint_eq(in(p, UART_LSR), 0x61);
    ck_assert_uint_eq(in(p, UART_RBR), 'c');
    ck_assert_uint_eq(in(p, UART_LSR), 0x60);
    port_destroy(p);
}
END_TEST

START_TEST(the_fifo_takes_16_bytes_and_asks_for_more_when_read)
{
    struct port *p = port_open(FIFO_ON, 0);

    ck_assert_uint_eq(rig_chardev_offer(&p->chardev, "0123456789abcdefgh"), 16);
    ck_assert_uint_eq(rig_chardev_offer(&p->chardev, "g"), 0);
    p->chardev.ready_count = 0;
    in(p, UART_RBR);
    ck_assert_uint_eq(p->chardev.ready_count, 1);
    ck_assert_uint_eq(rig_chardev_offer(&p->chardev, "gh"), 1);
    port_destroy(p);
}
END_TEST

START_TEST(without_fifos_one_byte_is_taken)
{
    struct port *p = port_open(0, 0);

    ck_assert_uint_eq(rig_chardev_offer(&p->chardev, "ab"), 1);
    ck_assert_uint_eq(in(p, UART_IIR), 0x01);
    port_destroy(p);
}
END_TEST

START_TEST(data_interrupt_comes_at_the_trigger_level_and_goes_below_it)
{
    struct port *p = port_open(FIFO_ON | TRIGGER_8, UART_IER_ERBFI);

    rig_chardev_offer(&p->chardev, "1234567");
    ck_assert(!p->irq.level[IRQ4]);
    rig_chardev_offer(&p->chardev, "8");
    ck_assert(p->irq.level[IRQ4]);
    ck_assert_uint_eq(in(p, UART_IIR), 0xc0 | UART_IIR_DATA);
    in(p, UART_RBR);
    ck_assert(!p->irq.level[IRQ4]);
    ck_assert_uint_eq(in(p, UART_IIR), 0xc0 | UART_IIR_NONE);
    port_destroy(p);
}
END_TEST

START_TEST(fewer_bytes_interrupt_after_four_character_times)
{
    struct port *p = port_open(FIFO_ON | TRIGGER_8, UART_IER_ERBFI);

    rig_chardev_offer(&p->chardev, "12");
    rig_advance(&p->rig, TIMEOUT_NS - 10);
    ck_assert(!p->irq.level[IRQ4]);
    rig_advance(&p->rig, 10);
    ck_assert(p->irq.level[IRQ4]);
    ck_assert_uint_eq(in(p, UART_IIR), 0xc0 | UART_IIR_TIMEOUT);
    port_destroy(p);
}
END_TEST

START_TEST(reading_clears_the_timeout_and_starts_the_next)
{
    struct port *p = port_open(FIFO_ON | TRIGGER_8, UART_IER_ERBFI);

    rig_chardev_offer(&p->chardev, "12");
    rig_advance(&p->rig, TIMEOUT_NS);
    in(p, UART_RBR);
    ck_assert(!p->irq.level[IRQ4]);
    rig_advance(&p->rig, TIMEOUT_NS);
    ck_assert(p->irq.level[IRQ4]);
    in(p, UART_RBR);
    rig_advance(&p->rig, 10 * TIMEOUT_NS);
    ck_assert(!p->irq.level[IRQ4]);
    port_destroy(p);
}
END_TEST

START_TEST(a_new_byte_postpones_the_timeout)
{
    struct port *p = port_open(FIFO_ON | TRIGGER_8, UART_IER_ERBFI);

    rig_chardev_offer(&p->chardev, "1");
    rig_advance(&p->rig, TIMEOUT_NS - 10);
    rig_chardev_offer(&p->chardev, "2");
    rig_advance(&p->rig, TIMEOUT_NS - 10);
    ck_assert(!p->irq.level[IRQ4]);
    port_destroy(p);
}
END_TEST

START_TEST(enabling_the_transmitter_interrupt_raises_it_each_time)
{
    struct port *p = port_open(FIFO_ON, 0);

    for (unsigned i = 0; i < 3; i++) {
        out(p, UART_IER, UART_IER_ETBEI);
        ck_assert(p->irq.level[IRQ4]);
        ck_assert_uint_eq(in(p, UART_LSR), 0x60);
        ck_assert_uint_eq(in(p, UART_IIR), 0xc0 | UART_IIR_THRE);
        ck_assert(!p->irq.level[IRQ4]);
        ck_assert_uint_eq(in(p, UART_IIR), 0xc0 | UART_IIR_NONE);
        out(p, UART_IER, 0);
    }
    port_destroy(p);
}
END_TEST

START_TEST(each_written_byte_raises_the_transmitter_interrupt_again)
{
    struct port *p = port_open(FIFO_ON, UART_IER_ETBEI);

    in(p, UART_IIR);
    out(p, UART_THR, 'x');
    ck_assert(p->irq.level[IRQ4]);
    ck_assert_uint_eq(in(p, UART_IIR), 0xc0 | UART_IIR_THRE);
    port_destroy(p);
}
END_TEST

START_TEST(reading_another_cause_leaves_the_transmitter_interrupt)
{
    struct port *p = port_open(FIFO_ON, UART_IER_ETBEI | UART_IER_ERBFI);

    rig_chardev_offer(&p->chardev, "1");
    ck_assert_uint_eq(in(p, UART_IIR), 0xc0 | UART_IIR_DATA);
    in(p, UART_RBR);
    ck_assert_uint_eq(in(p, UART_IIR), 0xc0 | UART_IIR_THRE);
    port_destroy(p);
}
END_TEST

START_TEST(causes_are_shown_by_priority)
{
    struct port *p = port_open(FIFO_ON, IER_ALL);

    out(p, UART_MCR, UART_MCR_OUT2 | UART_MCR_LOOP); /* the modem inputs change */
    out(p, UART_MCR, UART_MCR_OUT2);
    uart_receive_break(p->uart);
    ck_assert_uint_eq(in(p, UART_IIR) & 0x0f, UART_IIR_LINE);
    ck_assert_uint_eq(in(p, UART_LSR), 0xf1);
    ck_assert_uint_eq(in(p, UART_IIR) & 0x0f, UART_IIR_DATA);
    in(p, UART_RBR);
    ck_assert_uint_eq(in(p, UART_IIR) & 0x0f, UART_IIR_THRE);
    ck_assert_uint_eq(in(p, UART_IIR) & 0x0f, UART_IIR_MODEM);
    in(p, UART_MSR);
    ck_assert_uint_eq(in(p, UART_IIR) & 0x0f, UART_IIR_NONE);
    port_destroy(p);
}
END_TEST

START_TEST(out2_gates_the_interrupt)
{
    struct port *p = port_open(FIFO_ON, UART_IER_ERBFI);

    out(p, UART_MCR, 0);
    rig_chardev_offer(&p->chardev, "1");
    ck_assert(!p->irq.level[IRQ4]);
    out(p, UART_MCR, UART_MCR_OUT2);
    ck_assert(p->irq.level[IRQ4]);
    out(p, UART_MCR, UART_MCR_OUT2 | UART_MCR_LOOP);
    ck_assert(!p->irq.level[IRQ4]);
    port_destroy(p);
}
END_TEST

START_TEST(loopback_returns_bytes_and_modem_outputs)
{
    struct port *p = port_open(FIFO_ON, 0);

    out(p, UART_MCR, UART_MCR_LOOP | UART_MCR_RTS | UART_MCR_OUT2);
    ck_assert_uint_eq(in(p, UART_MSR) & 0xf0, UART_MSR_CTS | UART_MSR_DCD);
    out(p, UART_MCR, UART_MCR_LOOP | UART_MCR_DTR | UART_MCR_OUT1);
    ck_assert_uint_eq(in(p, UART_MSR) & 0xf0, UART_MSR_DSR | UART_MSR_RI);
    out(p, UART_THR, 'L');
    ck_assert_uint_eq(p->chardev.sent_count, 0);
    ck_assert_uint_eq(in(p, UART_RBR), 'L');
    port_destroy(p);
}
END_TEST

START_TEST(loopback_holds_bytes_from_outside_back)
{
    struct port *p = port_open(FIFO_ON, 0);

    out(p, UART_MCR, UART_MCR_LOOP);
    ck_assert_uint_eq(rig_chardev_offer(&p->chardev, "x"), 0);
    p->chardev.ready_count = 0;
    out(p, UART_MCR, 0);
    ck_assert_uint_eq(p->chardev.ready_count, 1);
    ck_assert_uint_eq(rig_chardev_offer(&p->chardev, "x"), 1);
    port_destroy(p);
}
END_TEST

START_TEST(modem_deltas_show_what_changed_and_reading_clears_them)
{
    struct port *p = port_open(FIFO_ON, 0);

    out(p, UART_MCR, UART_MCR_LOOP | UART_MCR_OUT1 | UART_MCR_RTS); /* DSR, DCD drop, RI comes */
    ck_assert_uint_eq(in(p, UART_MSR) & 0x0f, UART_MSR_DDSR | UART_MSR_DDCD);
    ck_assert_uint_eq(in(p, UART_MSR) & 0x0f, 0);
    out(p, UART_MCR, UART_MCR_LOOP | UART_MCR_RTS);
    ck_assert_uint_eq(in(p, UART_MSR) & 0x0f, UART_MSR_TERI);
    port_destroy(p);
}
END_TEST

START_TEST(overrun_in_the_fifo_keeps_the_old_bytes)
{
    struct port *p = port_open(FIFO_ON, UART_IER_ELSI);

    out(p, UART_MCR, UART_MCR_LOOP);
    for (unsigned i = 0; i < 17; i++)
        out(p, UART_THR, (uint8_t)i);
    ck_assert_uint_eq(in(p, UART_IIR), 0xc0 | UART_IIR_LINE);
    ck_assert_uint_eq(in(p, UART_LSR), 0x63);
    ck_assert_uint_eq(in(p, UART_LSR), 0x61);
    for (unsigned i = 0; i < 16; i++)
        ck_assert_uint_eq(in(p, UART_RBR), i);
    port_destroy(p);
}
END_TEST

START_TEST(overrun_without_fifos_keeps_the_new_byte)
{
    struct port *p = port_open(0, 0);

    out(p, UART_MCR, UART_MCR_LOOP);
    out(p, UART_THR, 1);
    out(p, UART_THR, 2);
    ck_assert_uint_eq(in(p, UART_LSR), 0x63);
    ck_assert_uint_eq(in(p, UART_RBR), 2);
    port_destroy(p);
}
END_TEST

START_TEST(a_break_belongs_to_its_character)
{
    struct port *p = port_open(FIFO_ON, 0);

    rig_chardev_offer(&p->chardev, "a");
    uart_receive_break(p->uart);
    ck_assert_uint_eq(in(p, UART_LSR), 0xe1);
    in(p, UART_RBR);
    ck_assert_uint_eq(in(p, UART_LSR), 0xf1);
    ck_assert_uint_eq(in(p, UART_LSR), 0x61);
    ck_assert_uint_eq(in(p, UART_RBR), 0);
    port_destroy(p);
}
END_TEST

START_TEST(fifo_control_clears_the_receiver)
{
    struct port *p = port_open(FIFO_ON, 0);

    rig_chardev_offer(&p->chardev, "ab");
    out(p, UART_FCR, UART_FCR_CLEAR_RX); /* without the enable bit: switches the FIFOs off */
    ck_assert_uint_eq(in(p, UART_LSR), 0x60);
    ck_assert_uint_eq(in(p, UART_IIR), 0x01);
    out(p, UART_FCR, FIFO_ON);
    rig_chardev_offer(&p->chardev, "ab");
    out(p, UART_FCR, FIFO_ON | UART_FCR_CLEAR_RX);
    ck_assert_uint_eq(in(p, UART_LSR), 0x60);
    port_destroy(p);
}
END_TEST

/* What Linux's 8250 driver asks to tell the 16550A from its relatives. */
START_TEST(it_looks_like_a_16550a_and_no_newer_chip)
{
    struct port *p = port_create();

    out(p, UART_IER, 0xff);
    ck_assert_uint_eq(in(p, UART_IER), 0x0f);
    out(p, UART_SCR, 0xa5);
    ck_assert_uint_eq(in(p, UART_SCR), 0xa5);
    out(p, UART_FCR, 0x01);
    ck_assert_uint_eq(in(p, UART_IIR) >> 6, 3);
    out(p, UART_LCR, 0x80);
    out(p, UART_FCR, 0x21); /* the 64-byte FIFO of a 16750 */
    ck_assert_uint_eq(in(p, UART_IIR) >> 5, 6);
    out(p, UART_LCR, 0xbf); /* the enhanced registers of a 16650 */
    ck_assert_uint_ne(in(p, 2), 0);
    port_destroy(p);
}
END_TEST

START_TEST(reset_drops_the_interrupt_and_the_bytes)
{
    struct port *p = port_open(FIFO_ON, IER_ALL);

    rig_chardev_offer(&p->chardev, "ab");
    ck_assert(p->irq.level[IRQ4]);
    uart_reset(p->uart);
    ck_assert(!p->irq.level[IRQ4]);
    ck_assert_uint_eq(in(p, UART_LSR), 0x60);
    ck_assert(!timer_armed(&p->uart->timeout));
    port_destroy(p);
}
END_TEST

static void serialize(void *device, struct state *s)
{
    uart_serialize(((struct port *)device)->uart, s);
}

START_TEST(a_restored_port_goes_on_where_the_saved_one_was)
{
    struct port *from = port_open(FIFO_ON | TRIGGER_8, UART_IER_ERBFI), *to = port_create();

    rig_chardev_offer(&from->chardev, "abc");
    in(from, UART_RBR);
    ck_assert(rig_load(serialize, to, rig_save(serialize, from), 0));
    rig_advance(&to->rig, TIMEOUT_NS);
    ck_assert_uint_eq(in(to, UART_IIR), 0xc0 | UART_IIR_TIMEOUT);
    ck_assert(to->irq.level[IRQ4]);
    ck_assert_uint_eq(in(to, UART_RBR), 'b');
    ck_assert_uint_eq(in(to, UART_RBR), 'c');
    ck_assert(!to->irq.level[IRQ4]);
    port_destroy(from);
    port_destroy(to);
}
END_TEST

START_TEST(a_state_with_an_impossible_fifo_is_refused)
{
    struct port *from = port_open(FIFO_ON, 0), *to = port_create();

    from->uart->rx_count = 17;
    ck_assert(!rig_load(serialize, to, rig_save(serialize, from), 0));
    ck_assert_uint_eq(in(to, UART_LSR) & UART_LSR_DR, 0);
    from->uart->rx_count = 1;
    from->uart->rx_head = 16;
    ck_assert(!rig_load(serialize, to, rig_save(serialize, from), 0));
    from->uart->rx_head = 0;
    port_destroy(from);
    port_destroy(to);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("uart");

    tcase_add_test(tc, reset_state_is_that_of_the_datasheet);
    tcase_add_test(tc, without_a_chardev_the_modem_inputs_are_inactive);
    tcase_add_test(tc, taken_ports_are_an_error);
    tcase_add_test(tc, the_divisor_latch_hides_data_and_interrupt_enable);
    tcase_add_test(tc, a_byte_is_sent_at_once_and_the_transmitter_stays_empty);
    tcase_add_test(tc, received_bytes_are_read_in_order);
    tcase_add_test(tc, the_fifo_takes_16_bytes_and_asks_for_more_when_read);
    tcase_add_test(tc, without_fifos_one_byte_is_taken);
    tcase_add_test(tc, data_interrupt_comes_at_the_trigger_level_and_goes_below_it);
    tcase_add_test(tc, fewer_bytes_interrupt_after_four_character_times);
    tcase_add_test(tc, reading_clears_the_timeout_and_starts_the_next);
    tcase_add_test(tc, a_new_byte_postpones_the_timeout);
    tcase_add_test(tc, enabling_the_transmitter_interrupt_raises_it_each_time);
    tcase_add_test(tc, each_written_byte_raises_the_transmitter_interrupt_again);
    tcase_add_test(tc, reading_another_cause_leaves_the_transmitter_interrupt);
    tcase_add_test(tc, causes_are_shown_by_priority);
    tcase_add_test(tc, out2_gates_the_interrupt);
    tcase_add_test(tc, loopback_returns_bytes_and_modem_outputs);
    tcase_add_test(tc, loopback_holds_bytes_from_outside_back);
    tcase_add_test(tc, modem_deltas_show_what_changed_and_reading_clears_them);
    tcase_add_test(tc, overrun_in_the_fifo_keeps_the_old_bytes);
    tcase_add_test(tc, overrun_without_fifos_keeps_the_new_byte);
    tcase_add_test(tc, a_break_belongs_to_its_character);
    tcase_add_test(tc, fifo_control_clears_the_receiver);
    tcase_add_test(tc, it_looks_like_a_16550a_and_no_newer_chip);
    tcase_add_test(tc, reset_drops_the_interrupt_and_the_bytes);
    tcase_add_test(tc, a_restored_port_goes_on_where_the_saved_one_was);
    tcase_add_test(tc, a_state_with_an_impossible_fifo_is_refused);
    return run_suite("uart", tc);
}
