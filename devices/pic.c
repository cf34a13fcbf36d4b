#include "devices/pic.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/host/host.h"

#include <stdlib.h>
#include <string.h>

#define MASTER 0
#define SLAVE  1

#define CASCADE_IR  2
#define SPURIOUS_IR 7
#define NO_RANK     8 /* of an empty mask: below all */

/* ICW1: bit 4 with A0 = 0 */
#define ICW1_SELECT 0x10
#define ICW1_SNGL   0x02
#define ICW1_IC4    0x01
/* ICW4 */
#define ICW4_SFNM 0x10
#define ICW4_AEOI 0x02
#define ICW4_UPM  0x01
/* OCW3: bit 3 with A0 = 0 */
#define OCW3_SELECT 0x08
#define OCW3_ESMM   0x40
#define OCW3_SMM    0x20
#define OCW3_P      0x04
#define OCW3_RR     0x02
#define OCW3_RIS    0x01
/* Poll word */
#define POLL_I 0x80

/* Inputs whose trigger cannot be changed: timer, keyboard, cascade; real-time clock, FERR#. */
static const uint8_t elcr_writable[2] = {0xf8, 0xde};

/* Rank (0 is highest) of the highest-priority bit of the mask. */
static unsigned chip_rank(const struct pic_chip *c, uint8_t mask)
{
    for (unsigned rank = 0; rank < 8; rank++) {
        if (mask & BIT((c->lowest + 1 + rank) & 7))
            return rank;
    }
    return NO_RANK;
}

static unsigned chip_ir_of_rank(const struct pic_chip *c, unsigned rank)
{
    return (c->lowest + 1 + rank) & 7;
}

/* The input that the chip would deliver now, or -1. */
static int chip_pending(const struct pic_chip *c, bool master)
{
    unsigned rank, limit;
    uint8_t serving = c->isr;

    if (c->icw_next != 0)
        return -1;
    rank = chip_rank(c, c->irr & ~c->imr);
    if (rank == NO_RANK)
        return -1;
    if (c->special_mask)
        serving &= ~c->imr;
    limit = chip_rank(c, serving);
    /* Special fully nested: a slave in service may request again for a higher input of its own. */
    if (master && (c->icw4 & ICW4_SFNM) && chip_ir_of_rank(c, rank) == CASCADE_IR && rank == limit)
        limit++;
    return rank < limit ? (int)chip_ir_of_rank(c, rank) : -1;
}

static void chip_set_line(struct pic_chip *c, unsigned ir, bool level)
{
    uint8_t bit = BIT(ir);

    if (!level)
        c->irr &= ~bit;
    else if ((c->elcr & bit) || !(c->lines & bit))
        c->irr |= bit;
    c->lines = level ? c->lines | bit : c->lines & ~bit;
}

/* Acknowledges what is pending: in service from now on. The input, or -1 if there was none. */
static int chip_acknowledge(struct pic_chip *c, bool master)
{
    int ir = chip_pending(c, master);
    uint8_t bit;

    if (ir < 0)
        return -1;
    bit = BIT(ir);
    if (!(c->elcr & bit))
        c->irr &= ~bit;
    if (!(c->icw4 & ICW4_AEOI))
        c->isr |= bit;
    else if (c->rotate_aeoi)
        c->lowest = ir;
    return ir;
}

/* Brings the cascade and the INT output in line with the registers. */
static void pic_update(struct pic *pic)
{
    bool level;

    chip_set_line(&pic->chip[MASTER], CASCADE_IR, chip_pending(&pic->chip[SLAVE], false) >= 0);
    level = chip_pending(&pic->chip[MASTER], true) >= 0;
    if (level != pic->intr_level) {
        pic->intr_level = level;
        irq_set(&pic->intr, level);
    }
}

/* The slave's INT falls with each acknowledgement, so that a further request makes an edge. */
static int slave_acknowledge(struct pic *pic)
{
    int ir = chip_acknowledge(&pic->chip[SLAVE], false);

    chip_set_line(&pic->chip[MASTER], CASCADE_IR, false);
    return ir;
}

void pic_set_irq(void *opaque, unsigned irq, bool level)
{
    struct pic *pic = opaque;

    CHECK(irq < 16);
    if (irq == CASCADE_IR)
        return;
    chip_set_line(&pic->chip[irq >> 3], irq & 7, level);
    pic_update(pic);
}

int pic_acknowledge(struct pic *pic)
{
    struct pic_chip *master = &pic->chip[MASTER];
    struct pic_chip *slave = &pic->chip[SLAVE];
    int ir = chip_acknowledge(master, true);
    int vector;

    if (ir == CASCADE_IR && !(master->icw1 & ICW1_SNGL) && (master->icw3 & BIT(CASCADE_IR))) {
        ir = slave_acknowledge(pic);
        vector = slave->icw2 | (ir < 0 ? SPURIOUS_IR : ir);
    } else {
        vector = master->icw2 | (ir < 0 ? SPURIOUS_IR : ir);
    }
    pic_update(pic);
    LOG(pic->log, LOG_INT, "pic: vector %02x acknowledged%s\n", vector, ir < 0 ? ", spurious" : "");
    return vector;
}

/* 8259A datasheet, "Initialization Command Words 1 and 2": what ICW1 resets. */
static void chip_write_icw1(struct pic_chip *c, uint8_t value)
{
    c->icw1 = value;
    c->icw4 = 0;
    c->icw_next = 2;
    c->irr &= c->elcr; /* the edge sense circuit is reset */
    c->isr = 0;
    c->imr = 0;
    c->lowest = 7;
    c->special_mask = false;
    c->read_isr = false;
    c->poll = false;
    c->rotate_aeoi = false;
}

static void chip_write_icw(struct pic *pic, struct pic_chip *c, uint8_t value)
{
    switch (c->icw_next) {
    case 2:
        c->icw2 = value & 0xf8;
        c->icw_next = !(c->icw1 & ICW1_SNGL) ? 3 : (c->icw1 & ICW1_IC4) ? 4 : 0;
        break;
    case 3:
        c->icw3 = value;
        c->icw_next = (c->icw1 & ICW1_IC4) ? 4 : 0;
        break;
    case 4:
        c->icw4 = value;
        c->icw_next = 0;
        break;
    }
    if (c->icw_next == 0 && !(c->icw4 & ICW4_UPM))
        LOG(pic->log, LOG_GUEST_ERROR, "pic: MCS-80 mode, treated as 8086 mode\n");
}

/* End of interrupt of one input; with rotation it gets the lowest priority. */
static void chip_eoi(struct pic_chip *c, unsigned ir, bool rotate)
{
    c->isr &= ~BIT(ir);
    if (rotate)
        c->lowest = ir;
}

/* OCW2 bits 7:5 are R, SL, EOI. */
static void chip_write_ocw2(struct pic_chip *c, uint8_t value)
{
    uint8_t serving = c->special_mask ? c->isr & ~c->imr : c->isr;
    unsigned rank = chip_rank(c, serving);
    bool rotate = (value & 0x80) != 0;

    switch (value >> 5) {
    case 0: /* clear rotate in automatic EOI mode */
    case 4: /* set it */
        c->rotate_aeoi = rotate;
        break;
    case 1: /* non-specific EOI, without and with rotation */
    case 5:
        if (rank != NO_RANK)
            chip_eoi(c, chip_ir_of_rank(c, rank), rotate);
        break;
    case 3: /* specific EOI, without and with rotation */
    case 7:
        chip_eoi(c, value & 7, rotate);
        break;
    case 6: /* set priority */
        c->lowest = value & 7;
        break;
    default: /* 2: no operation */
        break;
    }
}

static void chip_write_ocw3(struct pic_chip *c, uint8_t value)
{
    if (value & OCW3_ESMM)
        c->special_mask = (value & OCW3_SMM) != 0;
    if (value & OCW3_P)
        c->poll = true;
    else if (value & OCW3_RR)
        c->read_isr = (value & OCW3_RIS) != 0;
}

static void pic_write(struct pic *pic, unsigned index, bool a0, uint8_t value)
{
    struct pic_chip *c = &pic->chip[index];

    if (a0 && c->icw_next != 0)
        chip_write_icw(pic, c, value);
    else if (a0)
        c->imr = value;
    else if (value & ICW1_SELECT)
        chip_write_icw1(c, value);
    else if (value & OCW3_SELECT)
        chip_write_ocw3(c, value);
    else
        chip_write_ocw2(c, value);
    pic_update(pic);
}

/* A poll is an acknowledgement by a read (datasheet, "Poll Command"). */
static uint8_t pic_read_poll(struct pic *pic, unsigned index)
{
    int ir;

    pic->chip[index].poll = false;
    if (index == SLAVE)
        ir = slave_acknowledge(pic);
    else
        ir = chip_acknowledge(&pic->chip[MASTER], true);
    pic_update(pic);
    return ir < 0 ? 0 : POLL_I | ir;
}

static uint8_t pic_read(struct pic *pic, unsigned index, bool a0)
{
    const struct pic_chip *c = &pic->chip[index];

    if (c->poll)
        return pic_read_poll(pic, index);
    if (a0)
        return c->imr;
    return c->read_isr ? c->isr : c->irr;
}

static uint64_t master_read(void *device, uint64_t offset, unsigned size)
{
    (void)size;
    return pic_read(device, MASTER, offset != 0);
}

static void master_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    (void)size;
    pic_write(device, MASTER, offset != 0, value);
}

static uint64_t slave_read(void *device, uint64_t offset, unsigned size)
{
    (void)size;
    return pic_read(device, SLAVE, offset != 0);
}

static void slave_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    (void)size;
    pic_write(device, SLAVE, offset != 0, value);
}

static uint64_t elcr_read(void *device, uint64_t offset, unsigned size)
{
    struct pic *pic = device;

    (void)size;
    return pic->chip[offset & 1].elcr;
}

static void elcr_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct pic *pic = device;
    struct pic_chip *c = &pic->chip[offset & 1];

    (void)size;
    c->elcr = value & elcr_writable[offset & 1];
    c->irr = (c->irr & ~c->elcr) | (c->lines & c->elcr); /* level inputs show in IRR as they are */
    pic_update(pic);
}

static const struct {
    uint16_t port;
    struct bus_region_ops ops;
} regions[] = {
    {PIC_MASTER_PORT, {"pic master", master_read, master_write, 1}},
    {PIC_SLAVE_PORT, {"pic slave", slave_read, slave_write, 1}},
    {PIC_ELCR_PORT, {"pic elcr", elcr_read, elcr_write, 1}},
};

struct pic *pic_create(struct bus *bus, struct log *log, struct irq_line intr, struct error *err)
{
    struct pic *pic = host_alloc(sizeof(*pic));

    pic->bus = bus;
    pic->log = log;
    for (size_t i = 0; i < ARRAY_SIZE(regions); i++) {
        if (!bus_add_ports(bus, regions[i].port, PIC_PORT_COUNT, &regions[i].ops, pic, err)) {
            while (i-- > 0)
                bus_remove_ports(bus, regions[i].port);
            free(pic);
            return NULL;
        }
    }
    pic->intr = intr;
    pic_reset(pic);
    return pic;
}

void pic_destroy(struct pic *pic)
{
    if (pic == NULL)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(regions); i++)
        bus_remove_ports(pic->bus, regions[i].port);
    free(pic);
}

void pic_reset(struct pic *pic)
{
    for (unsigned i = 0; i < 2; i++) {
        struct pic_chip *c = &pic->chip[i];
        uint8_t lines = c->lines;
        memset(c, 0, sizeof(*c));
        c->lines = lines;
        c->imr = 0xff;
        c->lowest = 7;
    }
    pic_update(pic);
}

static void chip_serialize(struct pic_chip *c, struct state *s)
{
    state_u8(s, &c->irr);
    state_u8(s, &c->isr);
    state_u8(s, &c->imr);
    state_u8(s, &c->lines);
    state_u8(s, &c->elcr);
    state_u8(s, &c->icw1);
    state_u8(s, &c->icw2);
    state_u8(s, &c->icw3);
    state_u8(s, &c->icw4);
    state_u8(s, &c->lowest);
    state_u8(s, &c->icw_next);
    state_bool(s, &c->special_mask);
    state_bool(s, &c->read_isr);
    state_bool(s, &c->poll);
    state_bool(s, &c->rotate_aeoi);
    state_check(s, c->lowest < 8, "the priority of an interrupt controller is out of range");
    state_check(s, c->icw_next != 1 && c->icw_next <= 4,
                "the initialization step of an interrupt controller is out of range");
    state_check(s, (c->icw2 & 7) == 0, "the vector base of an interrupt controller is odd");
    if (state_failed(s)) /* leave nothing out of range behind */
        *c = (struct pic_chip){.imr = 0xff, .lowest = 7};
}

void pic_serialize(struct pic *pic, struct state *s)
{
    state_section(s, "pic", 1);
    chip_serialize(&pic->chip[MASTER], s);
    chip_serialize(&pic->chip[SLAVE], s);
    state_bool(s, &pic->intr_level);
}
