#include "devices/ps2.h"

#include "base/bits.h"
#include "base/check.h"

#include <string.h>

#define COMMAND_LEDS         0xed /* + leds */
#define COMMAND_ECHO         0xee
#define COMMAND_SCAN_SET     0xf0 /* + set, 0 asks */
#define COMMAND_ALL_KEYS     0xf7 /* to FAh: modes of all keys, set 3 only */
#define COMMAND_ALL_KEYS_END 0xfa
#define COMMAND_ONE_KEY      0xfb /* to FDh, + keys: modes of single keys, set 3 only */
#define COMMAND_ONE_KEY_END  0xfd

#define ID_FIRST  0xab
#define ID_SECOND 0x83

#define TYPEMATIC_DEFAULT 0x2b /* 10.9 per second after 500 ms */

#define PREFIX_EXTENDED 0xe0
#define PREFIX_PAUSE    0xe1
#define SET1_BREAK      0x80
#define SET2_BREAK      0xf0

#define KEY_PRINT_SCREEN 0xe037
#define KEY_PAUSE        0xe11d
#define KEY_FAKE_SHIFT   0xe02a /* comes with print screen */

#define KEY_BYTES_MAX 8

/* From set 2 to set 1, as the keyboard controller translates (AT firmware). */
static const uint8_t set1_of_set2[] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29,
    0x59, 0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11,
    0x03, 0x5b, 0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14,
    0x13, 0x06, 0x5d, 0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24,
    0x16, 0x08, 0x09, 0x5f, 0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35,
    0x26, 0x27, 0x19, 0x0c, 0x61, 0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36,
    0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76, 0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c,
    0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f, 0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45,
    0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54, 0x80, 0x81, 0x82, 0x41, 0x54,
};

void ps2_queue_clear(struct ps2_queue *q)
{
    q->head = 0;
    q->count = 0;
}

bool ps2_queue_put(struct ps2_queue *q, const uint8_t *bytes, unsigned count)
{
    if (count > PS2_QUEUE_SIZE - q->count)
        return false;
    for (unsigned i = 0; i < count; i++)
        q->bytes[(q->head + q->count++) % PS2_QUEUE_SIZE] = bytes[i];
    return true;
}

uint8_t ps2_queue_take(struct ps2_queue *q)
{
    uint8_t byte = q->bytes[q->head];

    CHECK(q->count > 0);
    q->head = (q->head + 1) % PS2_QUEUE_SIZE;
    q->count--;
    return byte;
}

void ps2_queue_serialize(struct ps2_queue *q, struct state *s)
{
    state_bytes(s, q->bytes, sizeof(q->bytes));
    state_u8(s, &q->head);
    state_u8(s, &q->count);
    state_check(s, q->head < PS2_QUEUE_SIZE && q->count <= PS2_QUEUE_SIZE,
                "a PS/2 queue is out of range");
    if (state_failed(s)) /* leave nothing out of range behind */
        ps2_queue_clear(q);
}

uint8_t ps2_translate(uint8_t byte)
{
    return byte < sizeof(set1_of_set2) ? set1_of_set2[byte] : byte;
}

/* The set 2 code of a set 1 code, or 0. F7 and Alt+SysRq have two; the keyboard sends the higher.
 */
static uint8_t set2_of_set1(uint8_t code)
{
    for (unsigned i = sizeof(set1_of_set2); i-- > 1;) {
        if (set1_of_set2[i] == code)
            return (uint8_t)i;
    }
    return 0;
}

void ps2_keyboard_init(struct ps2_keyboard *k, struct log *log)
{
    k->log = log;
    ps2_keyboard_reset(k);
}

static void set_defaults(struct ps2_keyboard *k)
{
    ps2_queue_clear(&k->keys);
    k->scan_set = 2;
    k->typematic = TYPEMATIC_DEFAULT;
}

void ps2_keyboard_reset(struct ps2_keyboard *k)
{
    set_defaults(k);
    ps2_queue_clear(&k->replies);
    k->command = 0;
    k->last = 0;
    k->leds = 0;
    k->scanning = true;
}

/* A host that never reads loses replies: the queue holds more than any sequence needs. */
static void reply(struct ps2_keyboard *k, uint8_t byte)
{
    (void)ps2_queue_put(&k->replies, &byte, 1);
}

static void take_scan_set(struct ps2_keyboard *k, uint8_t set)
{
    if (set > 2) {
        LOG(k->log, LOG_UNIMP, "keyboard: scan code set %u is not implemented\n", set);
        reply(k, PS2_RESEND);
        return;
    }
    reply(k, PS2_ACK);
    if (set == 0) {
        reply(k, k->scan_set);
        return;
    }
    k->scan_set = set;
    ps2_queue_clear(&k->keys);
}

static void take_argument(struct ps2_keyboard *k, uint8_t byte)
{
    uint8_t command = k->command;

    k->command = 0;
    switch (command) {
    case COMMAND_LEDS:
        k->leds = byte & 7;
        LOG(k->log, LOG_DEVICE, "keyboard: leds %x\n", k->leds);
        reply(k, PS2_ACK);
        break;
    case COMMAND_SCAN_SET:
        take_scan_set(k, byte);
        break;
    case PS2_RATE:
        k->typematic = byte;
        reply(k, PS2_ACK);
        break;
    default: /* COMMAND_ONE_KEY: a list that the next command ends */
        k->command = command;
        reply(k, PS2_ACK);
        break;
    }
}

static void take_command(struct ps2_keyboard *k, uint8_t byte)
{
    k->command = 0;
    switch (byte) {
    case COMMAND_ECHO:
        reply(k, COMMAND_ECHO);
        return;
    case PS2_REPEAT_LAST:
        reply(k, k->last);
        return;
    case COMMAND_LEDS:
    case COMMAND_SCAN_SET:
    case PS2_RATE:
    case COMMAND_ONE_KEY ... COMMAND_ONE_KEY_END:
        k->command = byte;
        break;
    case PS2_ENABLE:
        ps2_queue_clear(&k->keys);
        k->scanning = true;
        break;
    case PS2_DISABLE:
        set_defaults(k);
        k->scanning = false;
        break;
    case PS2_SET_DEFAULTS:
        set_defaults(k);
        break;
    case PS2_RESET:
        ps2_keyboard_reset(k);
        break;
    case PS2_IDENTIFY:
    case COMMAND_ALL_KEYS ... COMMAND_ALL_KEYS_END:
        break;
    default:
        reply(k, PS2_RESEND);
        return;
    }
    reply(k, PS2_ACK);
    if (byte == PS2_IDENTIFY) {
        reply(k, ID_FIRST);
        reply(k, ID_SECOND);
    } else if (byte == PS2_RESET) {
        reply(k, PS2_BAT_OK);
    }
}

/* A command byte where an argument is due is a command: no argument has bit 7 set. */
void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t byte)
{
    if (k->command != 0 && byte < 0x80)
        take_argument(k, byte);
    else
        take_command(k, byte);
}

bool ps2_keyboard_ready(const struct ps2_keyboard *k)
{
    return k->replies.count > 0 || k->keys.count > 0;
}

uint8_t ps2_keyboard_take(struct ps2_keyboard *k)
{
    k->last = ps2_queue_take(k->replies.count > 0 ? &k->replies : &k->keys);
    return k->last;
}

/* Appends the bytes for one key to buf; returns their number, 0 if the set lacks the key. */
static unsigned encode(const struct ps2_keyboard *k, uint8_t *buf, bool down, uint16_t scancode)
{
    uint8_t code = scancode & 0x7f;
    unsigned count = 0;

    if (k->scan_set == 2)
        code = set2_of_set1(code);
    if (code == 0)
        return 0;
    if (scancode >> 8 == PREFIX_EXTENDED)
        buf[count++] = PREFIX_EXTENDED;
    if (!down && k->scan_set == 2)
        buf[count++] = SET2_BREAK;
    else if (!down)
        code |= SET1_BREAK;
    buf[count++] = code;
    return count;
}

static unsigned encode_pause(const struct ps2_keyboard *k, uint8_t *buf)
{
    static const uint8_t set1[] = {PREFIX_PAUSE, 0x1d, 0x45, PREFIX_PAUSE, 0x9d, 0xc5};
    static const uint8_t set2[] = {PREFIX_PAUSE, 0x14, 0x77,       PREFIX_PAUSE,
                                   SET2_BREAK,   0x14, SET2_BREAK, 0x77};

    if (k->scan_set == 1) {
        memcpy(buf, set1, sizeof(set1));
        return sizeof(set1);
    }
    memcpy(buf, set2, sizeof(set2));
    return sizeof(set2);
}

/* A key that does not fit is lost; the first one lost leaves a mark, for which a place is kept. */
static void add_key(struct ps2_keyboard *k, const uint8_t *bytes, unsigned count)
{
    struct ps2_queue *q = &k->keys;
    uint8_t overrun = k->scan_set == 1 ? 0xff : 0x00;

    if (q->count + count < PS2_QUEUE_SIZE)
        (void)ps2_queue_put(q, bytes, count);
    else if (q->bytes[(q->head + q->count - 1u) % PS2_QUEUE_SIZE] != overrun)
        (void)ps2_queue_put(q, &overrun, 1);
}

void ps2_keyboard_key(struct ps2_keyboard *k, bool down, uint16_t scancode)
{
    uint8_t buf[KEY_BYTES_MAX];
    unsigned count = 0;

    if (!k->scanning)
        return;
    if (scancode == KEY_PAUSE) {
        count = down ? encode_pause(k, buf) : 0; /* it has no break code */
    } else if (scancode == KEY_PRINT_SCREEN) {
        count = encode(k, buf, down, down ? KEY_FAKE_SHIFT : KEY_PRINT_SCREEN);
        count += encode(k, buf + count, down, down ? KEY_PRINT_SCREEN : KEY_FAKE_SHIFT);
    } else {
        count = encode(k, buf, down, scancode);
    }
    add_key(k, buf, count);
}

void ps2_keyboard_serialize(struct ps2_keyboard *k, struct state *s)
{
    ps2_queue_serialize(&k->replies, s);
    ps2_queue_serialize(&k->keys, s);
    state_u8(s, &k->command);
    state_u8(s, &k->last);
    state_u8(s, &k->scan_set);
    state_u8(s, &k->leds);
    state_u8(s, &k->typematic);
    state_bool(s, &k->scanning);
    state_check(s, k->scan_set == 1 || k->scan_set == 2, "a keyboard's scan code set is unknown");
    if (state_failed(s))
        ps2_keyboard_reset(k);
}
