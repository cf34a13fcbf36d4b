#include "devices/i8042.h"

#include "base/bits.h"
#include "base/host/host.h"

#include <stdlib.h>
#include <string.h>

/* Commands written to port 64h. */
#define COMMAND_READ_RAM      0x20 /* to 3Fh */
#define COMMAND_READ_RAM_END  0x3f
#define COMMAND_WRITE_RAM     0x60 /* to 7Fh, + byte */
#define COMMAND_WRITE_RAM_END 0x7f
#define COMMAND_TEST_PASSWORD 0xa4
#define COMMAND_AUX_DISABLE   0xa7
#define COMMAND_AUX_ENABLE    0xa8
#define COMMAND_AUX_TEST      0xa9
#define COMMAND_SELF_TEST     0xaa
#define COMMAND_KBD_TEST      0xab
#define COMMAND_KBD_DISABLE   0xad
#define COMMAND_KBD_ENABLE    0xae
#define COMMAND_READ_INPUT    0xc0
#define COMMAND_READ_OUTPUT   0xd0
#define COMMAND_WRITE_OUTPUT  0xd1 /* + output port */
#define COMMAND_KBD_LOOP      0xd2 /* + byte, as if from the keyboard */
#define COMMAND_AUX_LOOP      0xd3 /* + byte, as if from the mouse */
#define COMMAND_WRITE_AUX     0xd4 /* + byte for the mouse */
#define COMMAND_A20_OFF       0xdd
#define COMMAND_A20_ON        0xdf
#define COMMAND_READ_TEST     0xe0
#define COMMAND_PULSE         0xf0 /* to FFh: the output bits that are 0 in bits 3:0 */

#define ANSWER_SELF_TEST   0x55
#define ANSWER_TEST_PASSED 0x00
#define ANSWER_NO_PASSWORD 0xf1
#define ANSWER_INPUT_PORT  0xa0 /* not locked, no manufacturing jumper */
#define ANSWER_TEST_INPUTS 0x00

/* The output port's other lines: clocks and data of both plugs are idle, that is high. */
#define OUT_IDLE     0xcc
#define OUT_KBD_FULL 0x10
#define OUT_AUX_FULL 0x20
#define OUT_MASK     (I8042_OUT_RESET | I8042_OUT_A20)

#define CTR_RESET (I8042_CTR_KBD_INT | I8042_CTR_AUX_INT | I8042_CTR_TRANSLATE)

#define SET2_BREAK 0xf0
#define SET1_BREAK 0x80

static uint8_t ctr(const struct i8042 *k)
{
    return k->ram[0];
}

static void update_irqs(struct i8042 *k)
{
    bool irq1 =
        k->full && !k->aux && (ctr(k) & I8042_CTR_KBD_INT) && !(ctr(k) & I8042_CTR_KBD_DISABLE);
    bool irq12 = k->full && k->aux && (ctr(k) & I8042_CTR_AUX_INT);

    if (irq1 != k->irq1_level) {
        k->irq1_level = irq1;
        irq_set(&k->wiring.irq1, irq1);
    }
    if (irq12 != k->irq12_level) {
        k->irq12_level = irq12;
        irq_set(&k->wiring.irq12, irq12);
    }
}

static bool keyboard_ready(const struct i8042 *k)
{
    return !(ctr(k) & I8042_CTR_KBD_DISABLE) && ps2_keyboard_ready(&k->keyboard);
}

static bool mouse_ready(const struct i8042 *k)
{
    return !(ctr(k) & I8042_CTR_AUX_DISABLE) && ps2_mouse_ready(&k->mouse);
}

/* Comes after everything that may let a device's byte start its way, or change an interrupt. */
static void update(struct i8042 *k)
{
    update_irqs(k);
    if (!k->full && !timer_armed(&k->byte) && (keyboard_ready(k) || mouse_ready(k)))
        timer_arm(&k->byte, clock_now(k->clock) + I8042_BYTE_NS);
}

static void fill(struct i8042 *k, uint8_t byte, bool aux)
{
    k->output = byte;
    k->full = true;
    k->aux = aux;
    k->answer = false;
}

/* Set 2 into set 1: F0h is swallowed and becomes bit 7 of the byte that follows it. */
static void fill_from_keyboard(struct i8042 *k)
{
    uint8_t byte = ps2_keyboard_take(&k->keyboard);

    if (ctr(k) & I8042_CTR_TRANSLATE) {
        if (byte == SET2_BREAK) {
            k->break_prefix = true;
            return;
        }
        byte = ps2_translate(byte) | (k->break_prefix ? SET1_BREAK : 0);
    }
    k->break_prefix = false;
    fill(k, byte, false);
}

static void byte_arrives(void *opaque, uint64_t now)
{
    struct i8042 *k = opaque;

    (void)now;
    while (!k->full && keyboard_ready(k))
        fill_from_keyboard(k);
    if (!k->full && mouse_ready(k))
        fill(k, ps2_mouse_take(&k->mouse), true);
    update(k);
}

/* The controller's own byte; it goes before one of a device. */
static void answer(struct i8042 *k, uint8_t byte, bool aux)
{
    if (k->full && !k->answer) {
        k->held = k->output;
        k->held_aux = k->aux;
        k->held_full = true;
        k->full = false;
        update_irqs(k); /* so that the answer makes an edge of its own */
    }
    fill(k, byte, aux);
    k->answer = true;
}

static uint8_t read_data(struct i8042 *k)
{
    uint8_t byte = k->output;

    k->full = false;
    update_irqs(k);
    if (k->held_full) {
        k->held_full = false;
        fill(k, k->held, k->held_aux);
    }
    update(k);
    return byte;
}

static uint8_t read_status(const struct i8042 *k)
{
    uint8_t status = I8042_STATUS_UNLOCK | (ctr(k) & I8042_CTR_SYS);

    if (k->full)
        status |= I8042_STATUS_OBF | (k->aux ? I8042_STATUS_AUX : 0);
    if (k->last_was_command)
        status |= I8042_STATUS_COMMAND;
    return status;
}

static void reset_processor(struct i8042 *k)
{
    LOG(k->log, LOG_DEVICE, "i8042: processor reset\n");
    if (k->wiring.reset != NULL)
        k->wiring.reset(k->wiring.opaque);
}

static void write_output_port(struct i8042 *k, uint8_t value)
{
    uint8_t old = k->output_port;

    k->output_port = value & OUT_MASK;
    if ((old ^ value) & I8042_OUT_A20)
        irq_set(&k->wiring.a20, (value & I8042_OUT_A20) != 0);
    if ((old & ~value) & I8042_OUT_RESET)
        reset_processor(k);
}

static uint8_t read_output_port(const struct i8042 *k)
{
    uint8_t value = OUT_IDLE | k->output_port;

    if (k->full)
        value |= k->aux ? OUT_AUX_FULL : OUT_KBD_FULL;
    return value;
}

/* Commands that have no answer and no data byte. */
static void execute(struct i8042 *k, uint8_t command)
{
    switch (command) {
    case COMMAND_AUX_DISABLE:
        k->ram[0] |= I8042_CTR_AUX_DISABLE;
        break;
    case COMMAND_AUX_ENABLE:
        k->ram[0] &= (uint8_t)~I8042_CTR_AUX_DISABLE;
        break;
    case COMMAND_KBD_DISABLE:
        k->ram[0] |= I8042_CTR_KBD_DISABLE;
        break;
    case COMMAND_KBD_ENABLE:
        k->ram[0] &= (uint8_t)~I8042_CTR_KBD_DISABLE;
        break;
    case COMMAND_A20_OFF:
        write_output_port(k, k->output_port & (uint8_t)~I8042_OUT_A20);
        break;
    case COMMAND_A20_ON:
        write_output_port(k, k->output_port | I8042_OUT_A20);
        break;
    default:
        if (command < COMMAND_PULSE)
            LOG(k->log, LOG_UNIMP, "i8042: unknown command %02x\n", command);
        else if (!(command & I8042_OUT_RESET))
            reset_processor(k);
        break;
    }
}

static void write_command(struct i8042 *k, uint8_t command)
{
    k->last_was_command = true;
    k->command = 0;
    switch (command) {
    case COMMAND_READ_RAM ... COMMAND_READ_RAM_END:
        answer(k, k->ram[command & 0x1f], false);
        break;
    case COMMAND_WRITE_RAM ... COMMAND_WRITE_RAM_END:
    case COMMAND_WRITE_OUTPUT:
    case COMMAND_KBD_LOOP:
    case COMMAND_AUX_LOOP:
    case COMMAND_WRITE_AUX:
        k->command = command;
        break;
    case COMMAND_TEST_PASSWORD:
        answer(k, ANSWER_NO_PASSWORD, false);
        break;
    case COMMAND_SELF_TEST:
        k->ram[0] |= I8042_CTR_SYS;
        answer(k, ANSWER_SELF_TEST, false);
        break;
    case COMMAND_AUX_TEST:
    case COMMAND_KBD_TEST:
        answer(k, ANSWER_TEST_PASSED, false);
        break;
    case COMMAND_READ_INPUT:
        answer(k, ANSWER_INPUT_PORT, false);
        break;
    case COMMAND_READ_OUTPUT:
        answer(k, read_output_port(k), false);
        break;
    case COMMAND_READ_TEST:
        answer(k, ANSWER_TEST_INPUTS, false);
        break;
    default:
        execute(k, command);
        break;
    }
    update(k);
}

/* A byte for a device opens the way to it, otherwise its reply could not come back. */
static void write_data(struct i8042 *k, uint8_t byte)
{
    uint8_t command = k->command;

    k->last_was_command = false;
    k->command = 0;
    switch (command) {
    case 0:
        k->ram[0] &= (uint8_t)~I8042_CTR_KBD_DISABLE;
        ps2_keyboard_write(&k->keyboard, byte);
        break;
    case COMMAND_WRITE_OUTPUT:
        write_output_port(k, byte);
        break;
    case COMMAND_KBD_LOOP:
        answer(k, byte, false);
        break;
    case COMMAND_AUX_LOOP:
        answer(k, byte, true);
        break;
    case COMMAND_WRITE_AUX:
        k->ram[0] &= (uint8_t)~I8042_CTR_AUX_DISABLE;
        ps2_mouse_write(&k->mouse, byte);
        break;
    default: /* COMMAND_WRITE_RAM */
        k->ram[command & 0x1f] = byte;
        break;
    }
    update(k);
}

static uint64_t data_read(void *device, uint64_t offset, unsigned size)
{
    (void)offset;
    (void)size;
    return read_data(device);
}

static void data_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    (void)offset;
    (void)size;
    write_data(device, (uint8_t)value);
}

static uint64_t status_read(void *device, uint64_t offset, unsigned size)
{
    (void)offset;
    (void)size;
    return read_status(device);
}

static void command_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    (void)offset;
    (void)size;
    write_command(device, (uint8_t)value);
}

static const struct bus_region_ops data_ops = {"i8042 data", data_read, data_write, 1};
static const struct bus_region_ops command_ops = {"i8042 command", status_read, command_write, 1};

static void reset_registers(struct i8042 *k)
{
    memset(k->ram, 0, sizeof(k->ram));
    k->ram[0] = CTR_RESET;
    k->output_port = OUT_MASK;
    k->command = 0;
    k->last_was_command = false;
    k->output = 0;
    k->full = false;
    k->aux = false;
    k->answer = false;
    k->held_full = false;
    k->break_prefix = false;
}

struct i8042 *i8042_create(struct bus *bus, struct log *log, struct clock *clock,
                           const struct i8042_wiring *wiring, struct error *err)
{
    struct i8042 *k = host_alloc(sizeof(*k));

    k->bus = bus;
    k->log = log;
    k->clock = clock;
    k->wiring = *wiring;
    if (!bus_add_ports(bus, I8042_DATA_PORT, 1, &data_ops, k, err)) {
        free(k);
        return NULL;
    }
    if (!bus_add_ports(bus, I8042_COMMAND_PORT, 1, &command_ops, k, err)) {
        bus_remove_ports(bus, I8042_DATA_PORT);
        free(k);
        return NULL;
    }
    timer_init(&k->byte, clock, "i8042.byte", byte_arrives, k);
    ps2_keyboard_init(&k->keyboard, log);
    ps2_mouse_init(&k->mouse, log);
    reset_registers(k);
    irq_set(&k->wiring.a20, true);
    return k;
}

void i8042_reset(struct i8042 *k)
{
    bool a20 = (k->output_port & I8042_OUT_A20) != 0;

    reset_registers(k);
    ps2_keyboard_reset(&k->keyboard);
    ps2_mouse_reset(&k->mouse);
    timer_cancel(&k->byte);
    update_irqs(k);
    if (!a20)
        irq_set(&k->wiring.a20, true);
}

void i8042_destroy(struct i8042 *k)
{
    if (k == NULL)
        return;
    timer_destroy(&k->byte);
    bus_remove_ports(k->bus, I8042_DATA_PORT);
    bus_remove_ports(k->bus, I8042_COMMAND_PORT);
    free(k);
}

void i8042_key(struct i8042 *k, bool down, uint16_t scancode)
{
    ps2_keyboard_key(&k->keyboard, down, scancode);
    update(k);
}

void i8042_mouse(struct i8042 *k, int dx, int dy, int dz, uint8_t buttons)
{
    ps2_mouse_move(&k->mouse, dx, dy, dz, buttons);
    update(k);
}

static bool takes_data(uint8_t command)
{
    return command == 0 || (command >= COMMAND_WRITE_RAM && command <= COMMAND_WRITE_RAM_END) ||
           (command >= COMMAND_WRITE_OUTPUT && command <= COMMAND_WRITE_AUX);
}

void i8042_serialize(struct i8042 *k, struct state *s)
{
    state_section(s, "i8042", 1);
    state_bool(s, &k->irq1_level);
    state_bool(s, &k->irq12_level);
    state_bytes(s, k->ram, sizeof(k->ram));
    state_u8(s, &k->output_port);
    state_u8(s, &k->command);
    state_bool(s, &k->last_was_command);
    state_u8(s, &k->output);
    state_bool(s, &k->full);
    state_bool(s, &k->aux);
    state_bool(s, &k->answer);
    state_u8(s, &k->held);
    state_bool(s, &k->held_full);
    state_bool(s, &k->held_aux);
    state_bool(s, &k->break_prefix);
    ps2_keyboard_serialize(&k->keyboard, s);
    ps2_mouse_serialize(&k->mouse, s);
    timer_serialize(&k->byte, s);
    state_check(s, (k->output_port & ~OUT_MASK) == 0,
                "the keyboard controller's output port has reserved bits");
    state_check(s, takes_data(k->command),
                "the keyboard controller waits for the data of an unknown command");
    if (state_failed(s))
        reset_registers(k);
}
