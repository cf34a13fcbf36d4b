/*
 * The two 8259A interrupt controllers of a PC as one device: the master at ports 20h/21h, the
 * slave (on the master's input 2) at A0h/A1h, the edge/level control registers (ELCR) at
 * 4D0h/4D1h. Intel 8259A datasheet (231468); ELCR: 82371AB (PIIX4) datasheet 4.3.
 * As in PIIX the ELCR replaces ICW1.LTIM, and only 8086 mode exists (MCS-80 is logged).
 * Callers hold the machine's device lock.
 */
#ifndef DEVICES_PIC_H
#define DEVICES_PIC_H

#include "base/error.h"
#include "base/log.h"
#include "base/state.h"
#include "devices/irq.h"
#include "mmu/bus.h"

#include <stdbool.h>
#include <stdint.h>

#define PIC_MASTER_PORT 0x20
#define PIC_SLAVE_PORT  0xa0
#define PIC_ELCR_PORT   0x4d0
#define PIC_PORT_COUNT  2 /* at each of them */

/* One 8259A. Bit n of each mask is input IRn. */
struct pic_chip {
    uint8_t irr;       /* interrupt request register */
    uint8_t isr;       /* in-service register */
    uint8_t imr;       /* interrupt mask register, OCW1 */
    uint8_t lines;     /* levels of the inputs now, for edge detection */
    uint8_t elcr;      /* 1: input is level sensitive */
    uint8_t icw1;      /* as written */
    uint8_t icw2;      /* vector base; bits 2:0 are zero */
    uint8_t icw3;      /* as written: master, inputs with slaves; slave, its id */
    uint8_t icw4;      /* as written, zero when ICW1.IC4 was 0 */
    uint8_t lowest;    /* the input that has the lowest priority now */
    uint8_t icw_next;  /* which ICW the next write with A0 = 1 is: 2 to 4; 0: OCW1 */
    bool special_mask; /* OCW3: special mask mode */
    bool read_isr;     /* OCW3: reads with A0 = 0 give ISR, else IRR */
    bool poll;         /* OCW3: the next read is a poll */
    bool rotate_aeoi;  /* OCW2: rotate in automatic EOI mode */
};

struct pic {
    struct bus *bus;
    struct log *log;
    struct pic_chip chip[2]; /* master, slave */
    struct irq_line intr;    /* the master's INT output: to the processor or LINT0 */
    bool intr_level;         /* what intr carries now */
};

/* Registers the ports. NULL and err if one is taken. */
struct pic *pic_create(struct bus *bus, struct log *log, struct irq_line intr, struct error *err);

/* Unregisters the ports; the bus must still exist. */
void pic_destroy(struct pic *pic);

/* Power-on state: everything masked, ELCR edge. The levels of the inputs are kept. */
void pic_reset(struct pic *pic);

/* Input irq (0 to 15) carries level now; 2, the cascade, is ignored. Fits irq_line.set. In edge
 * mode a request that drops before it is acknowledged is gone, as on the chip. */
void pic_set_irq(void *pic, unsigned irq, bool level);

/* The processor's INTA cycle: returns the vector. With no request left it is that of IR7 with no
 * in-service bit set (a spurious interrupt). */
int pic_acknowledge(struct pic *pic);

/* True while INT is asserted. */
static inline bool pic_pending(const struct pic *pic)
{
    return pic->intr_level;
}

void pic_serialize(struct pic *pic, struct state *s);

#endif
