#include "devices/ps2.h"

#include "base/bits.h"

#include <stdlib.h>

#define COMMAND_SCALING_1_1 0xe6
#define COMMAND_SCALING_2_1 0xe7
#define COMMAND_RESOLUTION  0xe8 /* + resolution */
#define COMMAND_STATUS      0xe9
#define COMMAND_STREAM_MODE 0xea
#define COMMAND_READ_DATA   0xeb
#define COMMAND_RESET_WRAP  0xec
#define COMMAND_WRAP_MODE   0xee
#define COMMAND_REMOTE_MODE 0xf0

#define STATUS_REMOTE    0x40
#define STATUS_REPORTING 0x20
#define STATUS_SCALING   0x10

#define PACKET_Y_SIGN 0x20
#define PACKET_X_SIGN 0x10
#define PACKET_ALWAYS 0x08

#define BUTTON_MASK 0x1f

#define DEFAULT_RATE       100
#define DEFAULT_RESOLUTION 2

#define MOVEMENT_MAX 255 /* per report, 9 bits and sign */
#define BACKLOG_MAX  (1 << 20)

/* Sample rates that in this order ask for an extension. */
static const struct {
    uint8_t rates[3];
    uint8_t from; /* the id must be this or higher */
    uint8_t to;
} extensions[] = {
    {{200, 100, 80}, 0, 3},
    {{200, 200, 80}, 3, 4},
};

void ps2_mouse_init(struct ps2_mouse *m, struct log *log)
{
    m->log = log;
    ps2_mouse_reset(m);
}

static void clear_movement(struct ps2_mouse *m)
{
    ps2_queue_clear(&m->packets);
    m->x = 0;
    m->y = 0;
    m->z = 0;
}

static void set_defaults(struct ps2_mouse *m)
{
    clear_movement(m);
    m->sample_rate = DEFAULT_RATE;
    m->resolution = DEFAULT_RESOLUTION;
    m->scaling = false;
    m->remote = false;
    m->reporting = false;
}

void ps2_mouse_reset(struct ps2_mouse *m)
{
    set_defaults(m);
    ps2_queue_clear(&m->replies);
    m->command = 0;
    m->last = 0;
    m->id = 0;
    m->rates[0] = 0;
    m->rates[1] = 0;
    m->wrap = false;
    m->reported_buttons = m->buttons; /* the fingers stay where they are */
}

static void reply(struct ps2_mouse *m, uint8_t byte)
{
    (void)ps2_queue_put(&m->replies, &byte, 1);
}

/* At most `limit` of the movement in either direction; the rest stays for the next report. */
static int take_movement(int32_t *movement, int low, int high)
{
    int part = MAX(low, MIN(high, *movement));

    *movement -= part;
    return part;
}

/* Scaling 2:1, as the reference tabulates it. */
static int scale(int v)
{
    static const uint8_t small[] = {0, 1, 1, 3, 6, 9};
    int size = abs(v);

    size = size < (int)ARRAY_SIZE(small) ? small[size] : MIN(2 * size, MOVEMENT_MAX);
    return v < 0 ? -size : size;
}

/* Builds one report of what happened since the last one. */
static void report(struct ps2_mouse *m, struct ps2_queue *to, bool scaled)
{
    int x = take_movement(&m->x, -MOVEMENT_MAX, MOVEMENT_MAX);
    int y = take_movement(&m->y, -MOVEMENT_MAX, MOVEMENT_MAX);
    uint8_t packet[4];
    int z;

    if (scaled) {
        x = scale(x);
        y = scale(y);
    }
    packet[0] = PACKET_ALWAYS | (m->buttons & 7);
    packet[0] |= (x < 0 ? PACKET_X_SIGN : 0) | (y < 0 ? PACKET_Y_SIGN : 0);
    packet[1] = (uint8_t)x;
    packet[2] = (uint8_t)y;
    z = take_movement(&m->z, -8, 7);
    packet[3] = (uint8_t)z;
    if (m->id == 4)
        packet[3] = (uint8_t)((z & 0x0f) | (m->buttons & 0x18) << 1);
    if (m->id == 0)
        m->z = 0;
    m->reported_buttons = m->buttons;
    (void)ps2_queue_put(to, packet, m->id == 0 ? 3 : 4);
}

static bool moved(const struct ps2_mouse *m)
{
    return m->x != 0 || m->y != 0 || (m->z != 0 && m->id != 0) || m->buttons != m->reported_buttons;
}

/* Stream mode: movement waits until the last report has gone, buttons only for room. */
static void stream(struct ps2_mouse *m)
{
    bool now = m->packets.count == 0 || m->buttons != m->reported_buttons;

    if (m->reporting && !m->remote && !m->wrap && moved(m) && now &&
        m->packets.count + 4u <= PS2_QUEUE_SIZE)
        report(m, &m->packets, m->scaling);
}

static void take_rate(struct ps2_mouse *m, uint8_t rate)
{
    for (size_t i = 0; i < ARRAY_SIZE(extensions); i++) {
        if (m->rates[0] == extensions[i].rates[0] && m->rates[1] == extensions[i].rates[1] &&
            rate == extensions[i].rates[2] && m->id >= extensions[i].from)
            m->id = MAX(m->id, extensions[i].to);
    }
    m->rates[0] = m->rates[1];
    m->rates[1] = rate;
    m->sample_rate = rate;
}

static void take_argument(struct ps2_mouse *m, uint8_t byte)
{
    uint8_t command = m->command;

    m->command = 0;
    if (command == COMMAND_RESOLUTION && byte > 3) {
        reply(m, PS2_RESEND);
        return;
    }
    if (command == COMMAND_RESOLUTION)
        m->resolution = byte;
    else
        take_rate(m, byte);
    reply(m, PS2_ACK);
}

static void reply_status(struct ps2_mouse *m)
{
    uint8_t status = 0;

    status |= m->remote ? STATUS_REMOTE : 0;
    status |= m->reporting ? STATUS_REPORTING : 0;
    status |= m->scaling ? STATUS_SCALING : 0;
    status |= (m->buttons & PS2_MOUSE_LEFT) ? 4 : 0;
    status |= (m->buttons & PS2_MOUSE_MIDDLE) ? 2 : 0;
    status |= (m->buttons & PS2_MOUSE_RIGHT) ? 1 : 0;
    reply(m, status);
    reply(m, m->resolution);
    reply(m, m->sample_rate);
}

/* What the command changes; false if there is no such command. */
static bool execute(struct ps2_mouse *m, uint8_t command)
{
    switch (command) {
    case COMMAND_SCALING_1_1:
    case COMMAND_SCALING_2_1:
        m->scaling = command == COMMAND_SCALING_2_1;
        return true;
    case COMMAND_RESOLUTION:
    case PS2_RATE:
        m->command = command;
        return true;
    case COMMAND_STREAM_MODE:
    case COMMAND_REMOTE_MODE:
        m->remote = command == COMMAND_REMOTE_MODE;
        clear_movement(m);
        return true;
    case COMMAND_RESET_WRAP:
    case COMMAND_WRAP_MODE:
        m->wrap = command == COMMAND_WRAP_MODE;
        return true;
    case PS2_ENABLE:
    case PS2_DISABLE:
        m->reporting = command == PS2_ENABLE;
        clear_movement(m);
        return true;
    case PS2_SET_DEFAULTS:
        set_defaults(m);
        return true;
    case PS2_RESET:
        ps2_mouse_reset(m);
        return true;
    case COMMAND_STATUS:
    case COMMAND_READ_DATA:
    case PS2_IDENTIFY:
        return true;
    default:
        return false;
    }
}

static void take_command(struct ps2_mouse *m, uint8_t command)
{
    ps2_queue_clear(&m->packets); /* a command abandons the report being sent */
    if (command == PS2_REPEAT_LAST) {
        reply(m, m->last);
        return;
    }
    if (!execute(m, command)) {
        LOG(m->log, LOG_GUEST_ERROR, "mouse: unknown command %02x\n", command);
        reply(m, PS2_RESEND);
        return;
    }
    reply(m, PS2_ACK);
    if (command == COMMAND_STATUS)
        reply_status(m);
    else if (command == COMMAND_READ_DATA)
        report(m, &m->replies, false);
    else if (command == PS2_IDENTIFY)
        reply(m, m->id);
    if (command == PS2_RESET) {
        reply(m, PS2_BAT_OK);
        reply(m, m->id);
    }
}

void ps2_mouse_write(struct ps2_mouse *m, uint8_t byte)
{
    if (m->wrap && byte != COMMAND_RESET_WRAP && byte != PS2_RESET)
        reply(m, byte);
    else if (m->command != 0)
        take_argument(m, byte);
    else
        take_command(m, byte);
}

bool ps2_mouse_ready(const struct ps2_mouse *m)
{
    return m->replies.count > 0 || m->packets.count > 0;
}

uint8_t ps2_mouse_take(struct ps2_mouse *m)
{
    m->last = ps2_queue_take(m->replies.count > 0 ? &m->replies : &m->packets);
    stream(m);
    return m->last;
}

static int32_t add_movement(int32_t sum, int by)
{
    by = MAX(-BACKLOG_MAX, MIN(BACKLOG_MAX, by));
    return MAX(-BACKLOG_MAX, MIN(BACKLOG_MAX, sum + by));
}

void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz, uint8_t buttons)
{
    m->buttons = buttons & BUTTON_MASK;
    if (!m->reporting && !m->remote)
        return;
    m->x = add_movement(m->x, dx);
    m->y = add_movement(m->y, -MAX(dy, -BACKLOG_MAX));
    m->z = add_movement(m->z, dz);
    stream(m);
}

static void movement_serialize(int32_t *v, struct state *s)
{
    uint32_t bits = (uint32_t)*v;

    state_u32(s, &bits);
    *v = (int32_t)bits;
    state_check(s, *v >= -BACKLOG_MAX && *v <= BACKLOG_MAX, "a mouse's movement is out of range");
}

void ps2_mouse_serialize(struct ps2_mouse *m, struct state *s)
{
    ps2_queue_serialize(&m->replies, s);
    ps2_queue_serialize(&m->packets, s);
    state_u8(s, &m->command);
    state_u8(s, &m->last);
    state_u8(s, &m->id);
    state_bytes(s, m->rates, sizeof(m->rates));
    state_u8(s, &m->sample_rate);
    state_u8(s, &m->resolution);
    state_bool(s, &m->scaling);
    state_bool(s, &m->remote);
    state_bool(s, &m->wrap);
    state_bool(s, &m->reporting);
    state_u8(s, &m->buttons);
    state_u8(s, &m->reported_buttons);
    movement_serialize(&m->x, s);
    movement_serialize(&m->y, s);
    movement_serialize(&m->z, s);
    state_check(s, m->id == 0 || m->id == 3 || m->id == 4, "a mouse's id is unknown");
    state_check(s, ((m->buttons | m->reported_buttons) & ~BUTTON_MASK) == 0,
                "a mouse has too many buttons");
    if (state_failed(s)) {
        m->buttons = 0;
        ps2_mouse_reset(m);
    }
}
