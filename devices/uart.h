/*
 * One 16550A serial port of a PC (COM1 3F8h/IRQ4, COM2 2F8h/IRQ3, COM3 3E8h/IRQ4, COM4 2E8h/IRQ3).
 * National Semiconductor PC16550D datasheet, section 8; the interrupt passes the board's gate that
 * the chip's OUT2# output opens. OUT2# is inactive in loopback mode, and so is the interrupt.
 *
 * Transmission: the line is infinitely fast. A byte written to THR goes to the chardev at once, and
 * THR and TSR are empty again before the write returns, at every divisor; each write thereby makes
 * the step of THRE from 0 to 1 that raises the transmitter interrupt. Nothing ever waits in the
 * transmitter FIFO. Reception: the chardev delivers whenever there is room, so nothing from outside
 * is lost or late; overrun happens in loopback mode only. The character timeout (datasheet 8.4.3)
 * is real: a named timer of four characters at the programmed rate. Callers hold the device lock.
 */
#ifndef DEVICES_UART_H
#define DEVICES_UART_H

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/state.h"
#include "devices/chardev.h"
#include "devices/irq.h"
#include "mmu/bus.h"

#include <stdbool.h>
#include <stdint.h>

#define UART_CLOCK_HZ   1843200u /* the crystal; the baud rate is this / 16 / divisor */
#define UART_FIFO_SIZE  16u
#define UART_PORT_COUNT 8u

/* Registers, offsets from the base port. */
#define UART_RBR 0 /* read, DLAB = 0: receiver buffer */
#define UART_THR 0 /* write, DLAB = 0: transmitter holding */
#define UART_DLL 0 /* DLAB = 1: divisor latch, low */
#define UART_IER 1 /* DLAB = 0: interrupt enable */
#define UART_DLM 1 /* DLAB = 1: divisor latch, high */
#define UART_IIR 2 /* read: interrupt identification */
#define UART_FCR 2 /* write: FIFO control */
#define UART_LCR 3 /* line control */
#define UART_MCR 4 /* modem control */
#define UART_LSR 5 /* line status */
#define UART_MSR 6 /* modem status */
#define UART_SCR 7 /* scratch */

#define UART_IER_ERBFI 0x01 /* received data available, and timeout */
#define UART_IER_ETBEI 0x02 /* transmitter holding register empty */
#define UART_IER_ELSI  0x04 /* receiver line status */
#define UART_IER_EDSSI 0x08 /* modem status */

#define UART_IIR_NONE    0x01
#define UART_IIR_MODEM   0x00
#define UART_IIR_THRE    0x02
#define UART_IIR_DATA    0x04
#define UART_IIR_LINE    0x06
#define UART_IIR_TIMEOUT 0x0c
#define UART_IIR_FIFO    0xc0 /* FIFOs are enabled */

#define UART_FCR_ENABLE   0x01
#define UART_FCR_CLEAR_RX 0x02
#define UART_FCR_CLEAR_TX 0x04
#define UART_FCR_DMA_MODE 0x08
#define UART_FCR_TRIGGER  0xc0 /* 1, 4, 8, 14 characters */

#define UART_LCR_DLAB 0x80

#define UART_MCR_DTR  0x01
#define UART_MCR_RTS  0x02
#define UART_MCR_OUT1 0x04
#define UART_MCR_OUT2 0x08
#define UART_MCR_LOOP 0x10

#define UART_LSR_DR         0x01
#define UART_LSR_OE         0x02
#define UART_LSR_PE         0x04
#define UART_LSR_FE         0x08
#define UART_LSR_BI         0x10
#define UART_LSR_THRE       0x20
#define UART_LSR_TEMT       0x40
#define UART_LSR_FIFO_ERROR 0x80

#define UART_MSR_DCTS 0x01
#define UART_MSR_DDSR 0x02
#define UART_MSR_TERI 0x04
#define UART_MSR_DDCD 0x08
#define UART_MSR_CTS  0x10
#define UART_MSR_DSR  0x20
#define UART_MSR_RI   0x40
#define UART_MSR_DCD  0x80

struct uart {
    struct bus *bus;
    struct log *log;
    struct clock *clock;
    const char *name;        /* static: "com1" */
    uint16_t base;           /* first port */
    struct irq_line irq;     /* behind the OUT2 gate */
    bool irq_level;          /* what irq carries now */
    struct chardev *chardev; /* NULL: nothing is plugged in, all modem inputs are inactive */

    uint8_t ier;            /* bits 3:0 */
    uint8_t fcr;            /* as written, without the self-clearing bits; 0: FIFOs off */
    uint8_t lcr;
    uint8_t mcr;            /* bits 4:0 */
    uint8_t msr;            /* levels and deltas */
    uint8_t scr;
    uint8_t dll;
    uint8_t dlm;
    bool overrun;           /* LSR.OE */
    bool thre_interrupt;    /* THRE went to 1 and neither IIR nor THR was accessed since */
    bool timeout_interrupt; /* characters lie in the FIFO and nothing moved for four of them */

    /* Received characters, oldest at rx_head; without FIFOs at most one. */
    uint8_t rx_data[UART_FIFO_SIZE];
    uint8_t rx_errors[UART_FIFO_SIZE]; /* LSR bits PE, FE, BI that came with the character */
    uint8_t rx_head;                   /* 0 to 15 */
    uint8_t rx_count;                  /* 0 to 16 */
    uint8_t rbr;                       /* what a read of the empty receiver returns */

    struct timer timeout;  /* armed while characters wait and timeout_interrupt is false */
    char timeout_name[32]; /* "com1.timeout" */
};

/* Registers ports base..base + 7 in reset state. The chardev may be NULL; its device side is filled
 * in here. `name` is static and unique in the machine, at most 20 characters. NULL and err if a
 * port is taken. */
struct uart *uart_create(struct bus *bus, struct log *log, struct clock *clock, uint16_t base,
                         const char *name, struct irq_line irq, struct chardev *chardev,
                         struct error *err);

/* Master reset, datasheet table III: the divisor latch and the scratch register get the values 9600
 * baud and 0, and characters not yet read are lost. */
void uart_reset(struct uart *u);

/* Detaches from the chardev and unregisters the ports; bus, clock and chardev still exist. */
void uart_destroy(struct uart *u);

/* The other end holds the line in the break state for a character: BI with a zero. The front end's
 * way to send Linux's magic SysRq. Without effect in loopback mode. */
void uart_receive_break(struct uart *u);

/* A load drives no interrupt line, as the interrupt controller loads its own inputs, and does not
 * call chardev.ready: the machine has input offered anew once everything is loaded. */
void uart_serialize(struct uart *u, struct state *s);

#endif
