/*
 * System management mode for protected-mode programs: brings a handler under the SMI and hands what
 * it finds to C. The state save area has the AMD64 layout (AMD APM volume 2, table 10-1).
 */
#ifndef SMM_H
#define SMM_H

#include "segments.h"

#define SMM_AREA_SIZE 512

/* Offsets in the save area, from SMBASE + FE00h. */
#define AREA_SEGMENT(n) (16 * (n)) /* ES CS SS DS FS GS: selector, attributes, limit, base */
#define AREA_GDTR       0x60
#define AREA_LDTR       0x70
#define AREA_IDTR       0x80
#define AREA_TR         0x90
#define AREA_IO_INFO    0xc0
#define AREA_IO_RESTART 0xc8
#define AREA_HALTED     0xc9
#define AREA_EFER       0xd0
#define AREA_REVISION   0xfc
#define AREA_SMBASE     0x100
#define AREA_CR4        0x148
#define AREA_CR3        0x150
#define AREA_CR0        0x158
#define AREA_DR7        0x160
#define AREA_DR6        0x168
#define AREA_RFLAGS     0x170
#define AREA_RIP        0x178
#define AREA_GPR(n)     (0x1f8 - 8 * (n)) /* by register number */

/* What the handler found at its start; lowest address first. */
struct smm_entry {
    uint32_t ss, ds, cs, dr7, cr4, cr0, flags;
};

struct smm {
    unsigned count; /* SMIs so far */
    struct smm_entry entry;
    uint8_t image[SMM_AREA_SIZE]; /* the save area as the last SMI wrote it */
    uint32_t base;                /* SMBASE */
    void (*hook)(void);           /* runs in SMM, in 32-bit protected mode */
};
static volatile struct smm smm;

extern const char smm_stub[], smm_stub_end[];

static volatile uint8_t *area(void)
{
    return (volatile uint8_t *)(smm.base + 0xfe00);
}

/* Called by the stub. */
void smm_handle(const struct smm_entry *entry);

void smm_handle(const struct smm_entry *entry)
{
    smm.count++;
    smm.entry = *entry;
    for (unsigned n = 0; n < SMM_AREA_SIZE; n++)
        smm.image[n] = area()[n];
    if (smm.hook != NULL)
        smm.hook();
}

/* A field of the image. */
static uint64_t smm_image(unsigned offset, unsigned size)
{
    uint64_t value = 0;

    for (unsigned n = 0; n < size; n++)
        value |= (uint64_t)smm.image[offset + n] << (8 * n);
    return value;
}

/* For hooks: changes the save area. */
static void smm_patch(unsigned offset, unsigned size, uint64_t value)
{
    for (unsigned n = 0; n < size; n++)
        area()[offset + n] = (uint8_t)(value >> (8 * n));
}

/* SMRAM of the host bridge, register 72h. */
#define SMRAM_OPEN   0x40
#define SMRAM_CLOSE  0x20
#define SMRAM_LOCK   0x10
#define SMRAM_ENABLE 0x08

/* --- Configuration space of the host bridge (00:00.0) and power management (00:01.3) --- */

static void config_select(unsigned function, unsigned offset)
{
    outl(0xcf8, 0x80000000 | function << 8 | (offset & 0xfc));
}

static void smram_set(uint8_t value)
{
    config_select(0, 0x72);
    outb(0xcfe, value);
}

static uint8_t smram_get(void)
{
    config_select(0, 0x72);
    return inb(0xcfe);
}

#define PM_FUNCTION 0x0b
#define PMBASE      0x40
#define DEVACTB     0x58
#define APMC_EN     0x02000000
#define GLBCTL      0x28
#define SMI_EN      0x01

static void enable_smi(void)
{
    uint32_t base;

    config_select(PM_FUNCTION, DEVACTB);
    outl(0xcfc, inl(0xcfc) | APMC_EN);
    config_select(PM_FUNCTION, PMBASE);
    base = inl(0xcfc) & 0xffc0;
    outl((uint16_t)(base + GLBCTL), inl((uint16_t)(base + GLBCTL)) | SMI_EN);
}

static void install(uint32_t base)
{
    smm.base = base;
    for (unsigned n = 0; n < (unsigned)(smm_stub_end - smm_stub); n++)
        ((volatile uint8_t *)(base + 0x8000))[n] = (uint8_t)smm_stub[n];
}

static void relocate(void)
{
    smm_patch(AREA_SMBASE, 4, 0xa0000);
}

/* An SMI by port B2h. It comes right behind the instruction; other emulators take it later. */
static void smm_trigger(void)
{
    unsigned before = smm.count;

    outb(0xb2, 0x5a);
    for (unsigned n = 0; n < 100 && smm.count == before; n++)
        asm volatile("pause" : : : "memory");
}

/* Firmware has moved SMBASE already where there is one. */
static void smm_init(void)
{
    enable_smi();
    if (on_gnomon() && smm.base == 0) {
        install(0x30000);
        smm.hook = relocate;
        smm_trigger();
    }
    smm.hook = NULL;
    smm.count = 0;
    smram_set(SMRAM_ENABLE | SMRAM_OPEN | 2);
    install(0xa0000);
    smram_set(SMRAM_ENABLE | 2);
}

#endif
