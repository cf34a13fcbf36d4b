#include "devices/pit.h"

#include "base/bits.h"
#include "base/host/host.h"

#include <stdlib.h>
#include <string.h>

#define PORT_CONTROL 3 /* 43h: control word register */

/* Control word */
#define CONTROL_BCD         0x01
#define CONTROL_SC_READBACK 3
#define CONTROL_RW_LATCH    0
/* Read-back command; the two are active low */
#define READBACK_NO_COUNT  0x20
#define READBACK_NO_STATUS 0x10
/* Status byte */
#define STATUS_OUT  0x80
#define STATUS_NULL 0x40

/* Port 61h, NMI status and control register */
#define PORT_B_GATE2    0x01
#define PORT_B_SPEAKER  0x02
#define PORT_B_WRITABLE 0x0f
#define PORT_B_REFRESH  0x10
#define PORT_B_OUT2     0x20

#define REFRESH_TICKS 18 /* memory was refreshed every 15 us; bit 4 toggles each time */

#define NO_EVENT   UINT64_MAX
#define TIME_LIMIT (1ull << 62) /* ns that no machine reaches */

static uint32_t modulus(const struct pit_channel *c)
{
    return c->bcd ? 10000 : 65536;
}

/* The count register as a number of CLK pulses, 1 to 65536. */
static uint32_t count_of_cr(const struct pit_channel *c)
{
    uint32_t n = c->cr;

    if (c->bcd) /* digits above 9 are the guest's nonsense: worth what they weigh */
        n = (n >> 12) * 1000 + ((n >> 8) & 15) * 100 + ((n >> 4) & 15) * 10 + (n & 15);
    n %= modulus(c);
    if (n == 0)
        n = modulus(c);
    if (n == 1 && (c->mode == 2 || c->mode == 3)) /* illegal there */
        n = 2;
    return n;
}

/* The counting element as a guest reads it. */
static uint16_t ce_as_read(const struct pit_channel *c)
{
    uint16_t n = c->ce;

    if (!c->bcd)
        return n;
    return n / 1000 << 12 | n / 100 % 10 << 8 | n / 10 % 10 << 4 | n % 10;
}

/* CR goes to CE. In mode 3 the element counts by two, so an odd count loses its low bit. */
static void channel_load(struct pit_channel *c)
{
    uint32_t n = count_of_cr(c);

    c->odd = false;
    if (c->mode == 3) {
        c->odd = (n & 1) != 0;
        n &= ~1u;
    }
    c->ce = n % modulus(c);
    c->null_count = false;
    c->counting = true;
}

/* Level gates stop the count; in modes 1 and 5 the gate only triggers. */
static bool channel_runs(const struct pit_channel *c)
{
    return c->counting && (c->gate || c->mode == 1 || c->mode == 5);
}

/* Pulses until CE passes zero; zero itself is the largest count. */
static uint32_t ce_left(const struct pit_channel *c)
{
    return c->ce != 0 ? c->ce : modulus(c);
}

/* CLK pulses until something other than plain counting happens (at least 1), or NO_EVENT. */
static uint64_t channel_next_event(const struct pit_channel *c)
{
    if (c->load_pending)
        return 1;
    if (!channel_runs(c))
        return NO_EVENT;
    switch (c->mode) {
    case 2: /* OUT falls at count 1; one pulse later it rises with the reload */
        return c->ce == 1 ? 1 : ce_left(c) - 1;
    case 3: /* end of the half period; of an odd count the high half is the longer one */
        if (c->odd)
            return c->ce / 2 + (c->out ? 1 : 0);
        return ce_left(c) / 2;
    case 4:
    case 5: /* the strobe lasts one pulse */
        if (!c->out)
            return 1;
        return c->active ? ce_left(c) : NO_EVENT;
    default:
        return c->active ? ce_left(c) : NO_EVENT;
    }
}

/* Counts `pulses` that hold no event. */
static void channel_count(struct pit_channel *c, uint64_t pulses)
{
    uint32_t m = modulus(c);
    uint64_t amount = c->mode == 3 ? 2 * pulses : pulses % m;

    c->ce = (c->ce + m - amount % m) % m;
}

/* The event after `pulses` as channel_next_event announced it. */
static void channel_event(struct pit_channel *c, uint64_t pulses)
{
    if (c->load_pending) {
        c->load_pending = false;
        channel_load(c);
        c->active = true;
        c->out = c->mode > 1;
        return;
    }
    switch (c->mode) {
    case 2:
        if (c->ce == 1) {
            channel_load(c);
            c->out = true;
        } else {
            c->ce = 1;
            c->out = false;
        }
        break;
    case 3:
        c->out = !c->out;
        channel_load(c);
        break;
    case 4:
    case 5:
        channel_count(c, pulses);
        c->active = false;
        c->out = !c->out;
        break;
    default:
        c->ce = 0;
        c->active = false;
        c->out = true;
        break;
    }
}

/* Lets the channel see `pulses` CLK pulses. True if OUT rose at least once. */
static bool channel_advance(struct pit_channel *c, uint64_t pulses)
{
    bool rose = false;

    while (pulses > 0) {
        uint64_t next = channel_next_event(c);
        bool before = c->out;

        if (next > pulses) {
            if (channel_runs(c))
                channel_count(c, pulses);
            break;
        }
        channel_event(c, next);
        pulses -= next;
        if (c->out && !before) {
            rose = true;
            if (c->mode == 2 || c->mode == 3) /* just reloaded: whole periods change nothing */
                pulses %= count_of_cr(c);
        }
    }
    return rose;
}

/* Pulses until OUT has the next edge that IRQ 0 must see: any in modes 0, 1 and 3; in the others
 * the low phase is passed on together with the rising edge that ends it. */
static uint64_t channel_next_edge(const struct pit_channel *channel)
{
    struct pit_channel c = *channel;
    uint64_t pulses = 0;

    for (;;) {
        uint64_t next = channel_next_event(&c);
        bool before = c.out;

        if (next == NO_EVENT)
            return NO_EVENT;
        channel_event(&c, next);
        pulses += next;
        if (c.out != before && (c.out || c.mode <= 1 || c.mode == 3))
            return pulses;
    }
}

static uint64_t ticks_at(uint64_t ns)
{
    return mul_div(ns, PIT_HZ, NS_PER_SECOND);
}

/* The first nanosecond at which the pulse has been. */
static uint64_t ns_of_tick(uint64_t tick)
{
    unsigned __int128 ns = ((unsigned __int128)tick * NS_PER_SECOND + PIT_HZ - 1) / PIT_HZ;

    return ns < CLOCK_NEVER ? (uint64_t)ns : CLOCK_NEVER;
}

static void pit_set_irq0(struct pit *pit, bool level)
{
    if (pit->irq0_connected)
        irq_set(&pit->irq0, level);
}

static void pit_arm(struct pit *pit)
{
    uint64_t pulses = channel_next_edge(&pit->channel[0]);

    if (pulses == NO_EVENT)
        timer_cancel(&pit->irq0_timer);
    else
        timer_arm(&pit->irq0_timer, ns_of_tick(pit->tick + pulses));
}

/* Brings all channels to the present. */
static void pit_sync(struct pit *pit)
{
    uint64_t now = ticks_at(clock_now(pit->clock));
    uint64_t pulses;

    if (now <= pit->tick)
        return;
    pulses = now - pit->tick;
    pit->tick = now;
    for (unsigned i = 1; i < PIT_CHANNEL_COUNT; i++)
        channel_advance(&pit->channel[i], pulses);
    if (channel_advance(&pit->channel[0], pulses)) {
        pit_set_irq0(pit, false);
        pit_set_irq0(pit, true);
    }
    pit_set_irq0(pit, pit->channel[0].out || pit->channel[0].mode == 2);
}

/* After a guest changed channel 0, or time passed: IRQ 0 and the timer follow. */
static void pit_update_irq0(struct pit *pit)
{
    pit_set_irq0(pit, pit->channel[0].out || pit->channel[0].mode == 2);
    pit_arm(pit);
}

static void irq0_fire(void *opaque, uint64_t now)
{
    struct pit *pit = opaque;

    (void)now;
    pit_sync(pit);
    pit_arm(pit);
}

static void channel_set_gate(struct pit_channel *c, bool gate)
{
    bool rises = gate && !c->gate;

    c->gate = gate;
    switch (c->mode) {
    case 1:
    case 5:
        c->load_pending |= rises;
        break;
    case 2:
    case 3:
        if (!gate)
            c->out = true;
        c->load_pending |= rises && c->counting;
        break;
    default:
        break;
    }
}

static void channel_write_control(struct pit_channel *c, uint8_t value)
{
    uint8_t mode = (value >> 1) & 7;

    c->mode = mode > 5 ? mode - 4 : mode; /* bit 2 is don't care in modes 2 and 3 */
    c->access = (value >> 4) & 3;
    c->bcd = (value & CONTROL_BCD) != 0;
    c->out = c->mode != 0;
    c->counting = false;
    c->load_pending = false;
    c->active = false;
    c->null_count = true;
    c->write_msb_next = false;
    c->read_msb_next = false;
    c->count_latched = false;
    c->status_latched = false;
    c->cr = 0;
    c->ce %= modulus(c);
}

/* A whole count has been written. */
static void channel_set_count(struct pit_channel *c, uint16_t cr)
{
    c->cr = cr;
    c->null_count = true;
    switch (c->mode) {
    case 0:
        c->out = false;
        c->load_pending = true;
        break;
    case 4:
        c->load_pending = true;
        break;
    case 2:
    case 3: /* a later count waits for the end of the (half) period */
        c->load_pending |= !c->counting;
        break;
    default: /* waits for the trigger */
        break;
    }
}

static void channel_write(struct pit_channel *c, uint8_t value)
{
    if (c->access == PIT_ACCESS_LSB) {
        channel_set_count(c, value);
    } else if (c->access == PIT_ACCESS_MSB) {
        channel_set_count(c, value << 8);
    } else if (c->write_msb_next) {
        c->write_msb_next = false;
        channel_set_count(c, value << 8 | c->write_lsb);
    } else {
        c->write_msb_next = true;
        c->write_lsb = value;
        if (c->mode == 0) { /* the first byte disables counting */
            c->counting = false;
            c->load_pending = false;
            c->out = false;
        }
    }
}

static void channel_latch_count(struct pit_channel *c)
{
    if (c->count_latched)
        return;
    c->count_latched = true;
    c->latched_count = ce_as_read(c);
}

static void channel_latch_status(struct pit_channel *c)
{
    if (c->status_latched)
        return;
    c->status_latched = true;
    c->latched_status = (c->out ? STATUS_OUT : 0) | (c->null_count ? STATUS_NULL : 0) |
                        c->access << 4 | c->mode << 1 | (c->bcd ? CONTROL_BCD : 0);
}

static uint8_t channel_read(struct pit_channel *c)
{
    uint16_t count = c->count_latched ? c->latched_count : ce_as_read(c);
    bool msb = c->access == PIT_ACCESS_MSB;

    if (c->status_latched) {
        c->status_latched = false;
        return c->latched_status;
    }
    if (c->access == PIT_ACCESS_BOTH) {
        msb = c->read_msb_next;
        c->read_msb_next = !msb;
        if (msb)
            c->count_latched = false;
    } else {
        c->count_latched = false;
    }
    return msb ? count >> 8 : count & 0xff;
}

static void pit_write_control(struct pit *pit, uint8_t value)
{
    unsigned select = value >> 6;

    if (select != CONTROL_SC_READBACK) {
        if (((value >> 4) & 3) == CONTROL_RW_LATCH)
            channel_latch_count(&pit->channel[select]);
        else
            channel_write_control(&pit->channel[select], value);
        return;
    }
    for (unsigned i = 0; i < PIT_CHANNEL_COUNT; i++) {
        if (!(value & 2u << i))
            continue;
        if (!(value & READBACK_NO_COUNT))
            channel_latch_count(&pit->channel[i]);
        if (!(value & READBACK_NO_STATUS))
            channel_latch_status(&pit->channel[i]);
    }
}

static uint64_t pit_read(void *device, uint64_t offset, unsigned size)
{
    struct pit *pit = device;

    (void)size;
    pit_sync(pit);
    if (offset == PORT_CONTROL) {
        LOG(pit->log, LOG_GUEST_ERROR, "pit: read of the control word register\n");
        return 0xff;
    }
    return channel_read(&pit->channel[offset]);
}

static void pit_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct pit *pit = device;

    (void)size;
    pit_sync(pit);
    if (offset == PORT_CONTROL)
        pit_write_control(pit, value);
    else
        channel_write(&pit->channel[offset], value);
    pit_update_irq0(pit);
}

static uint64_t port_b_read(void *device, uint64_t offset, unsigned size)
{
    struct pit *pit = device;

    (void)offset;
    (void)size;
    pit_sync(pit);
    return pit->port_b | (pit->tick / REFRESH_TICKS % 2 ? PORT_B_REFRESH : 0) |
           (pit->channel[2].out ? PORT_B_OUT2 : 0);
}

static void port_b_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct pit *pit = device;

    (void)offset;
    (void)size;
    pit_sync(pit);
    pit->port_b = value & PORT_B_WRITABLE;
    channel_set_gate(&pit->channel[2], (value & PORT_B_GATE2) != 0);
}

static const struct bus_region_ops pit_ops = {"pit", pit_read, pit_write, 1};
static const struct bus_region_ops port_b_ops = {"system port b", port_b_read, port_b_write, 1};

struct pit *pit_create(struct bus *bus, struct log *log, struct clock *clock, struct irq_line irq0,
                       struct error *err)
{
    struct pit *pit = host_alloc(sizeof(*pit));

    pit->bus = bus;
    pit->log = log;
    pit->clock = clock;
    if (!bus_add_ports(bus, PIT_PORT, PIT_PORT_COUNT, &pit_ops, pit, err)) {
        free(pit);
        return NULL;
    }
    if (!bus_add_ports(bus, PIT_PORT_B, 1, &port_b_ops, pit, err)) {
        bus_remove_ports(bus, PIT_PORT);
        free(pit);
        return NULL;
    }
    timer_init(&pit->irq0_timer, clock, "pit.irq0", irq0_fire, pit);
    pit->irq0 = irq0;
    pit_reset(pit);
    return pit;
}

void pit_destroy(struct pit *pit)
{
    if (pit == NULL)
        return;
    timer_destroy(&pit->irq0_timer);
    bus_remove_ports(pit->bus, PIT_PORT);
    bus_remove_ports(pit->bus, PIT_PORT_B);
    free(pit);
}

void pit_reset(struct pit *pit)
{
    for (unsigned i = 0; i < PIT_CHANNEL_COUNT; i++)
        pit->channel[i] = (struct pit_channel){.access = PIT_ACCESS_BOTH, .gate = i != 2};
    pit->tick = ticks_at(clock_now(pit->clock));
    pit->port_b = 0;
    pit->irq0_connected = true;
    pit_update_irq0(pit);
}

void pit_connect_irq0(struct pit *pit, bool connected)
{
    pit_sync(pit);
    if (!connected)
        pit_set_irq0(pit, false);
    pit->irq0_connected = connected;
    pit_update_irq0(pit);
}

bool pit_speaker(const struct pit *pit, uint32_t *hz)
{
    const struct pit_channel *c = &pit->channel[2];
    bool driven =
        (pit->port_b & (PORT_B_GATE2 | PORT_B_SPEAKER)) == (PORT_B_GATE2 | PORT_B_SPEAKER);

    *hz = driven && c->counting && (c->mode == 2 || c->mode == 3) ? PIT_HZ / count_of_cr(c) : 0;
    return driven;
}

static void channel_serialize(struct pit_channel *c, struct state *s)
{
    state_u8(s, &c->mode);
    state_u8(s, &c->access);
    state_bool(s, &c->bcd);
    state_bool(s, &c->gate);
    state_bool(s, &c->out);
    state_bool(s, &c->counting);
    state_bool(s, &c->load_pending);
    state_bool(s, &c->active);
    state_bool(s, &c->odd);
    state_bool(s, &c->null_count);
    state_bool(s, &c->write_msb_next);
    state_bool(s, &c->read_msb_next);
    state_bool(s, &c->count_latched);
    state_bool(s, &c->status_latched);
    state_u8(s, &c->write_lsb);
    state_u8(s, &c->latched_status);
    state_u16(s, &c->latched_count);
    state_u16(s, &c->cr);
    state_u16(s, &c->ce);
    state_check(s, c->mode <= 5, "the mode of a timer channel is out of range");
    state_check(s, c->access >= PIT_ACCESS_LSB && c->access <= PIT_ACCESS_BOTH,
                "the access mode of a timer channel is out of range");
    state_check(s, c->ce < modulus(c), "the count of a timer channel is out of range");
    state_check(s, c->mode != 3 || !c->counting || (c->ce & 1) == 0,
                "the count of a square wave is odd");
    state_check(s, !c->odd || (c->mode == 3 && (c->out || c->ce != 0)),
                "the half period of a square wave is empty");
    if (state_failed(s))
        *c = (struct pit_channel){.access = PIT_ACCESS_BOTH};
}

void pit_serialize(struct pit *pit, struct state *s)
{
    state_section(s, "pit", 1);
    for (unsigned i = 0; i < PIT_CHANNEL_COUNT; i++)
        channel_serialize(&pit->channel[i], s);
    state_u64(s, &pit->tick);
    state_u8(s, &pit->port_b);
    state_bool(s, &pit->irq0_connected);
    state_check(s, pit->tick <= ticks_at(TIME_LIMIT), "the time of the timer is out of range");
    state_check(s, (pit->port_b & ~PORT_B_WRITABLE) == 0, "port 61h holds reserved bits");
    timer_serialize(&pit->irq0_timer, s);
}
