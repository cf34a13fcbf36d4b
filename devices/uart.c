#include "devices/uart.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/host/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IER_MASK      0x0f
#define FCR_STORED    (UART_FCR_ENABLE | UART_FCR_DMA_MODE | UART_FCR_TRIGGER)
#define MCR_MASK      0x1f
#define MSR_DELTAS    0x0f
#define DIVISOR_RESET 12 /* 9600 baud */

#define CHARACTER_ERRORS (UART_LSR_PE | UART_LSR_FE | UART_LSR_BI)

#define TIMEOUT_CHARACTERS 4

/* What the modem inputs carry when something is plugged in. */
#define MODEM_READY (UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD)

static const uint8_t trigger_levels[4] = {1, 4, 8, 14};

static bool fifo_on(const struct uart *u)
{
    return (u->fcr & UART_FCR_ENABLE) != 0;
}

static bool loopback(const struct uart *u)
{
    return (u->mcr & UART_MCR_LOOP) != 0;
}

static unsigned rx_capacity(const struct uart *u)
{
    return fifo_on(u) ? UART_FIFO_SIZE : 1;
}

/* Line status without side effects. */
static uint8_t line_status(const struct uart *u)
{
    uint8_t lsr = UART_LSR_THRE | UART_LSR_TEMT;

    if (u->overrun)
        lsr |= UART_LSR_OE;
    if (u->rx_count > 0)
        lsr |= UART_LSR_DR | u->rx_errors[u->rx_head];
    for (unsigned i = 0; fifo_on(u) && i < u->rx_count; i++) {
        if (u->rx_errors[(u->rx_head + i) % UART_FIFO_SIZE] != 0)
            lsr |= UART_LSR_FIFO_ERROR;
    }
    return lsr;
}

/* The enabled interrupt of the highest priority, datasheet table V. */
static uint8_t interrupt_id(const struct uart *u)
{
    unsigned trigger = fifo_on(u) ? trigger_levels[u->fcr >> 6] : 1;

    if ((u->ier & UART_IER_ELSI) && (line_status(u) & (UART_LSR_OE | CHARACTER_ERRORS)))
        return UART_IIR_LINE;
    if ((u->ier & UART_IER_ERBFI) && u->rx_count >= trigger)
        return UART_IIR_DATA;
    if ((u->ier & UART_IER_ERBFI) && u->timeout_interrupt)
        return UART_IIR_TIMEOUT;
    if ((u->ier & UART_IER_ETBEI) && u->thre_interrupt)
        return UART_IIR_THRE;
    if ((u->ier & UART_IER_EDSSI) && (u->msr & MSR_DELTAS))
        return UART_IIR_MODEM;
    return UART_IIR_NONE;
}

static void update_irq(struct uart *u)
{
    bool gate = (u->mcr & UART_MCR_OUT2) && !loopback(u);
    bool level = gate && interrupt_id(u) != UART_IIR_NONE;

    if (level != u->irq_level) {
        u->irq_level = level;
        irq_set(&u->irq, level);
    }
}

/* Start, data, parity and stop bits of one character; the half stop bit counts as a whole. */
static uint64_t character_ns(const struct uart *u)
{
    unsigned bits = 1 + 5 + (u->lcr & 3) + ((u->lcr & 0x08) ? 1 : 0) + ((u->lcr & 0x04) ? 2 : 1);
    uint64_t divisor = u->dlm << 8 | u->dll;

    if (divisor == 0) /* the datasheet defines 1 and more only */
        divisor = 1;
    return mul_div(bits * 16 * divisor, NS_PER_SECOND, UART_CLOCK_HZ);
}

/* The receiver FIFO was filled or read: four character times start anew. */
static void restart_timeout(struct uart *u)
{
    if (!fifo_on(u) || u->rx_count == 0 || u->timeout_interrupt)
        timer_cancel(&u->timeout);
    else
        timer_arm(&u->timeout, clock_now(u->clock) + TIMEOUT_CHARACTERS * character_ns(u));
}

static void timeout_fired(void *opaque, uint64_t now)
{
    struct uart *u = opaque;

    (void)now;
    if (fifo_on(u) && u->rx_count > 0)
        u->timeout_interrupt = true;
    update_irq(u);
}

static void rx_clear(struct uart *u)
{
    u->rx_head = 0;
    u->rx_count = 0;
    u->timeout_interrupt = false;
    timer_cancel(&u->timeout);
}

/* Datasheet 8.4.1: without FIFOs an overrun destroys the character in RBR, with them the one in the
 * shift register. */
static void rx_push(struct uart *u, uint8_t data, uint8_t errors)
{
    unsigned slot;

    if (u->rx_count == rx_capacity(u)) {
        u->overrun = true;
        if (fifo_on(u))
            return;
        u->rx_count = 0;
    }
    slot = (u->rx_head + u->rx_count) % UART_FIFO_SIZE;
    u->rx_data[slot] = data;
    u->rx_errors[slot] = errors;
    u->rx_count++;
    restart_timeout(u);
}

static size_t uart_can_receive(void *device)
{
    struct uart *u = device;

    return loopback(u) ? 0 : rx_capacity(u) - u->rx_count;
}

static void uart_receive(void *device, const uint8_t *bytes, size_t count)
{
    struct uart *u = device;

    CHECK(count <= uart_can_receive(u));
    for (size_t i = 0; i < count; i++)
        rx_push(u, bytes[i], 0);
    update_irq(u);
}

void uart_receive_break(struct uart *u)
{
    if (loopback(u))
        return;
    rx_push(u, 0, UART_LSR_BI);
    update_irq(u);
}

/* Comes last in an access: the chardev may deliver at once. */
static void notify_room(struct uart *u)
{
    if (u->chardev != NULL && u->chardev->ready != NULL && uart_can_receive(u) > 0)
        u->chardev->ready(u->chardev);
}

static uint8_t read_rbr(struct uart *u)
{
    if (u->rx_count == 0)
        return u->rbr;
    u->rbr = u->rx_data[u->rx_head];
    u->rx_head = (u->rx_head + 1) % UART_FIFO_SIZE;
    u->rx_count--;
    u->timeout_interrupt = false;
    restart_timeout(u);
    update_irq(u);
    notify_room(u);
    return u->rbr;
}

static void write_thr(struct uart *u, uint8_t value)
{
    if (loopback(u))
        rx_push(u, value, 0);
    else if (u->chardev != NULL)
        u->chardev->send(u->chardev, &value, 1);
    u->thre_interrupt = true;
}

/* Enabling the transmitter interrupt while THR is empty raises it; drivers rely on that. */
static void write_ier(struct uart *u, uint8_t value)
{
    uint8_t raised = value & ~u->ier;

    u->ier = value & IER_MASK;
    if (raised & UART_IER_ETBEI)
        u->thre_interrupt = true;
}

/* Datasheet 8.4: a read of IIR that shows the transmitter interrupt clears it. */
static uint8_t read_iir(struct uart *u)
{
    uint8_t id = interrupt_id(u);

    if (id == UART_IIR_THRE) {
        u->thre_interrupt = false;
        update_irq(u);
    }
    return id | (fifo_on(u) ? UART_IIR_FIFO : 0);
}

/* Datasheet 8.3: switching the FIFOs on or off empties them; the other bits are taken only together
 * with the enable bit. There is never anything to clear in the transmitter. */
static void write_fcr(struct uart *u, uint8_t value)
{
    bool switched = ((value ^ u->fcr) & UART_FCR_ENABLE) != 0;

    if (switched || ((value & UART_FCR_ENABLE) && (value & UART_FCR_CLEAR_RX)))
        rx_clear(u);
    u->fcr = (value & UART_FCR_ENABLE) ? value & FCR_STORED : 0;
}

/* Takes new levels of the modem inputs and notes what changed. */
static void set_modem_inputs(struct uart *u, uint8_t levels)
{
    uint8_t changed = (u->msr ^ levels) & ~MSR_DELTAS;
    uint8_t deltas = changed >> 4;

    if (levels & UART_MSR_RI) /* only the trailing edge counts */
        deltas &= ~UART_MSR_TERI;
    u->msr = levels | deltas | (u->msr & MSR_DELTAS);
}

/* Datasheet 8.6.2: in loopback mode the modem outputs are the modem inputs. */
static uint8_t modem_inputs(const struct uart *u)
{
    uint8_t levels = 0;

    if (!loopback(u))
        return u->chardev != NULL ? MODEM_READY : 0;
    if (u->mcr & UART_MCR_RTS)
        levels |= UART_MSR_CTS;
    if (u->mcr & UART_MCR_DTR)
        levels |= UART_MSR_DSR;
    if (u->mcr & UART_MCR_OUT1)
        levels |= UART_MSR_RI;
    if (u->mcr & UART_MCR_OUT2)
        levels |= UART_MSR_DCD;
    return levels;
}

/* Reading clears the error bits; those of a character go with the character on top. */
static uint8_t read_lsr(struct uart *u)
{
    uint8_t lsr = line_status(u);

    u->overrun = false;
    if (u->rx_count > 0)
        u->rx_errors[u->rx_head] = 0;
    update_irq(u);
    return lsr;
}

static uint8_t read_msr(struct uart *u)
{
    uint8_t msr = u->msr;

    u->msr &= ~MSR_DELTAS;
    update_irq(u);
    return msr;
}

static uint64_t uart_read(void *device, uint64_t offset, unsigned size)
{
    struct uart *u = device;
    bool dlab = (u->lcr & UART_LCR_DLAB) != 0;

    (void)size;
    switch (offset) {
    case UART_RBR:
        return dlab ? u->dll : read_rbr(u);
    case UART_IER:
        return dlab ? u->dlm : u->ier;
    case UART_IIR:
        return read_iir(u);
    case UART_LCR:
        return u->lcr;
    case UART_MCR:
        return u->mcr;
    case UART_LSR:
        return read_lsr(u);
    case UART_MSR:
        return read_msr(u);
    default:
        return u->scr;
    }
}

static void uart_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct uart *u = device;
    bool dlab = (u->lcr & UART_LCR_DLAB) != 0;
    uint8_t byte = (uint8_t)value;

    (void)size;
    switch (offset) {
    case UART_THR:
        if (dlab)
            u->dll = byte;
        else
            write_thr(u, byte);
        break;
    case UART_IER:
        if (dlab)
            u->dlm = byte;
        else
            write_ier(u, byte);
        break;
    case UART_FCR:
        write_fcr(u, byte);
        break;
    case UART_LCR:
        u->lcr = byte;
        break;
    case UART_MCR:
        u->mcr = byte & MCR_MASK;
        set_modem_inputs(u, modem_inputs(u));
        break;
    case UART_SCR:
        u->scr = byte;
        break;
    default: /* LSR and MSR: factory tests only */
        LOG(u->log, LOG_GUEST_ERROR, "%s: write of a status register\n", u->name);
        break;
    }
    update_irq(u);
    if (offset == UART_FCR || offset == UART_MCR)
        notify_room(u);
}

static const struct bus_region_ops uart_ops = {"uart", uart_read, uart_write, 1};

static void reset_registers(struct uart *u)
{
    u->ier = 0;
    u->fcr = 0;
    u->lcr = 0;
    u->mcr = 0;
    u->msr = modem_inputs(u);
    u->scr = 0;
    u->dll = DIVISOR_RESET;
    u->dlm = 0;
    u->rbr = 0;
    u->overrun = false;
    u->thre_interrupt = false;
    rx_clear(u);
    update_irq(u);
}

struct uart *uart_create(struct bus *bus, struct log *log, struct clock *clock, uint16_t base,
                         const char *name, struct irq_line irq, struct chardev *chardev,
                         struct error *err)
{
    struct uart *u = host_alloc(sizeof(*u));

    u->bus = bus;
    u->log = log;
    u->clock = clock;
    u->name = name;
    u->base = base;
    u->irq = irq;
    u->chardev = chardev;
    if (!bus_add_ports(bus, base, UART_PORT_COUNT, &uart_ops, u, err)) {
        free(u);
        return NULL;
    }
    snprintf(u->timeout_name, sizeof(u->timeout_name), "%s.timeout", name);
    timer_init(&u->timeout, clock, u->timeout_name, timeout_fired, u);
    if (chardev != NULL) {
        chardev->device = u;
        chardev->can_receive = uart_can_receive;
        chardev->receive = uart_receive;
    }
    reset_registers(u);
    return u;
}

void uart_reset(struct uart *u)
{
    reset_registers(u);
    notify_room(u);
}

void uart_destroy(struct uart *u)
{
    if (u == NULL)
        return;
    if (u->chardev != NULL) {
        u->chardev->device = NULL;
        u->chardev->can_receive = NULL;
        u->chardev->receive = NULL;
    }
    timer_destroy(&u->timeout);
    bus_remove_ports(u->bus, u->base);
    free(u);
}

void uart_serialize(struct uart *u, struct state *s)
{
    state_section(s, u->name, 1);
    state_bool(s, &u->irq_level);
    state_u8(s, &u->ier);
    state_u8(s, &u->fcr);
    state_u8(s, &u->lcr);
    state_u8(s, &u->mcr);
    state_u8(s, &u->msr);
    state_u8(s, &u->scr);
    state_u8(s, &u->dll);
    state_u8(s, &u->dlm);
    state_bool(s, &u->overrun);
    state_bool(s, &u->thre_interrupt);
    state_bool(s, &u->timeout_interrupt);
    state_bytes(s, u->rx_data, sizeof(u->rx_data));
    state_bytes(s, u->rx_errors, sizeof(u->rx_errors));
    state_u8(s, &u->rx_head);
    state_u8(s, &u->rx_count);
    state_u8(s, &u->rbr);
    timer_serialize(&u->timeout, s);
    state_check(s, (u->ier & ~IER_MASK) == 0 && (u->mcr & ~MCR_MASK) == 0,
                "a serial port's register has reserved bits");
    state_check(s, fifo_on(u) ? (u->fcr & ~FCR_STORED) == 0 : u->fcr == 0,
                "a serial port's FIFO control is impossible");
    for (unsigned i = 0; i < UART_FIFO_SIZE; i++)
        state_check(s, (u->rx_errors[i] & ~CHARACTER_ERRORS) == 0,
                    "a serial port's character has impossible errors");
    state_check(s, u->rx_head < UART_FIFO_SIZE && u->rx_count <= rx_capacity(u),
                "a serial port's FIFO is out of range");
    if (state_failed(s)) { /* leave nothing out of range behind */
        u->fcr = 0;
        rx_clear(u);
    }
}
