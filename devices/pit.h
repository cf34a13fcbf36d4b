/*
 * The 8254 programmable interval timer of a PC (ports 40h-43h) and the system control port B (61h)
 * that gates its channel 2. Intel 8254 datasheet (231164). Channel 0 drives IRQ 0, channel 1 was
 * the refresh of memory, channel 2 the speaker.
 *
 * Nothing runs between accesses: a counter is a pure function of the clock. CLK pulse number k is
 * at virtual time ceil(k * 10^9 / 1193182) ns, so there is no drift however long the machine runs.
 * Only rising edges of channel 0 have a timer ("pit.irq0"). Callers hold the device lock.
 */
#ifndef DEVICES_PIT_H
#define DEVICES_PIT_H

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/state.h"
#include "devices/irq.h"
#include "mmu/bus.h"

#include <stdbool.h>
#include <stdint.h>

#define PIT_PORT          0x40
#define PIT_PORT_COUNT    4
#define PIT_PORT_B        0x61
#define PIT_HZ            1193182u
#define PIT_CHANNEL_COUNT 3

/* What a channel's bytes go to: the RW field of the control word. */
enum pit_access { PIT_ACCESS_LSB = 1, PIT_ACCESS_MSB = 2, PIT_ACCESS_BOTH = 3 };

struct pit_channel {
    uint8_t mode;        /* 0 to 5 */
    uint8_t access;      /* enum pit_access */
    bool bcd;            /* counts 0 to 9999 instead of 0 to 65535 */
    bool gate;           /* GATE input */
    bool out;            /* OUT output at `tick` */
    bool counting;       /* the counting element has been loaded since the control word */
    bool load_pending;   /* the next CLK pulse loads the counting element from cr */
    bool active;         /* modes 0, 1, 4, 5: the terminal count is still to come */
    bool odd;            /* mode 3: the count in use is odd */
    bool null_count;     /* status bit 6: cr has not reached the counting element yet */
    bool write_msb_next; /* PIT_ACCESS_BOTH: which byte the next write is */
    bool read_msb_next;  /* PIT_ACCESS_BOTH: which byte the next read gives */
    bool count_latched;  /* latched_count holds, until it has been read */
    bool status_latched; /* latched_status holds, until it has been read */
    uint8_t write_lsb;   /* PIT_ACCESS_BOTH: the first byte of a count being written */
    uint8_t latched_status;
    uint16_t latched_count; /* as it is read: BCD digits in BCD mode */
    uint16_t cr;            /* count register as written; 0 means the largest count */
    uint16_t ce;            /* counting element at `tick`, a number, below 65536 or 10000 */
};

struct pit {
    struct bus *bus;
    struct log *log;
    struct clock *clock;
    struct irq_line irq0;    /* follows OUT of channel 0 while connected */
    struct timer irq0_timer; /* "pit.irq0": the next edge of channel 0 that matters */
    struct pit_channel channel[PIT_CHANNEL_COUNT];
    uint64_t tick;       /* CLK pulses that the channels have seen */
    uint8_t port_b;      /* 61h bits 3:0 as written: gate 2, speaker, PERR#, IOCHK# masks */
    bool irq0_connected; /* false while an HPET replaces IRQ 0 */
};

/* Registers the ports. NULL and err if one is taken. */
struct pit *pit_create(struct bus *bus, struct log *log, struct clock *clock, struct irq_line irq0,
                       struct error *err);

/* Unregisters ports and timer; bus and clock must still exist. */
void pit_destroy(struct pit *pit);

/* No channel counts, all gates but that of channel 2 are high. (The chip leaves it undefined.) */
void pit_reset(struct pit *pit);

/* Whether OUT of channel 0 reaches IRQ 0. An HPET in legacy replacement mode disconnects it. */
void pit_connect_irq0(struct pit *pit, bool connected);

/* True while the speaker is driven: port 61h bits 0 and 1; then its frequency in Hz, or 0. */
bool pit_speaker(const struct pit *pit, uint32_t *hz);

void pit_serialize(struct pit *pit, struct state *s);

#endif
