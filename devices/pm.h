/*
 * Power management after PIIX4 function 3 (8086:7113): the ACPI fixed hardware. 82371AB (PIIX4)
 * datasheet, chapter 7 (configuration 7.1, I/O 7.2); ACPI specification 6.4, 4.8.
 *
 *   PMBASE + 00h  PM1_STS, PM1_EN, PM1_CNT   fixed events; SCI_EN; sleep
 *   PMBASE + 08h  PM_TMR                     24 bits at 3.579545 MHz, a pure function of the clock
 *   PMBASE + 0Ch  GPSTS, GPEN                GPE0 block, 16 general purpose events
 *   AFE0h         the same GPE0 block again, where SeaBIOS's built-in tables say it is
 *   B2h, B3h      APMC, APMS                 system management command and status
 *
 * What tables must say: PM1a_EVT PMBASE (4), PM1a_CNT PMBASE + 4 (2), PM_TMR PMBASE + 8 (4), GPE0
 * PMBASE + 0Ch (4), SCI 9 level, active high as the ISA pin of the PIC, SMI_CMD B2h, ACPI_ENABLE
 * F1h, ACPI_DISABLE F0h, \_S5 type 0. ACPI_ENABLE sets SCI_EN here: no SMI handler has to. A write
 * to APMC makes an SMI when DEVACTB.APMC_EN and GLBCTL.SMI_EN are set; EOS is not looked at. Where
 * there is no firmware (PMBASE is set after reset), APMC_EN reads 1 from the start, SMI_EN 0. S3
 * (type 1) and the other sleeps wake at once. Not hardware-reduced.
 * Callers hold the device lock.
 */
#ifndef DEVICES_PM_H
#define DEVICES_PM_H

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/state.h"
#include "devices/irq.h"
#include "devices/pci.h"
#include "mmu/bus.h"

#include <stdbool.h>
#include <stdint.h>

#define PM_TIMER_HZ     3579545u
#define PM_DEFAULT_BASE 0x600 /* PMBASE for machines that start without firmware */
#define PM_PORT_COUNT   64
#define PM_SCI_IRQ      9
#define PM_GPE_ALIAS    0xafe0
#define PM_SMI_CMD      0xb2

#define PM_GPE_PORT_COUNT 4 /* at PM_GPSTS and at PM_GPE_ALIAS */
#define PM_SMI_PORT_COUNT 2

#define PM_ACPI_ENABLE  0xf1
#define PM_ACPI_DISABLE 0xf0

/* Offsets from PMBASE. */
#define PM1_STS  0x00
#define PM1_EN   0x02
#define PM1_CNT  0x04
#define PM_TMR   0x08
#define PM_GPSTS 0x0c
#define PM_GPEN  0x0e
#define PM_GLBSTS 0x18
#define PM_GLBCTL 0x28

#define PM_GLBSTS_APM    0x0020 /* a write to APMC made an SMI */
#define PM_GLBCTL_SMI_EN 0x01

/* PM1_STS, PM1_EN */
#define PM1_TMR    0x0001 /* bit 23 of the timer changed */
#define PM1_GBL    0x0020
#define PM1_PWRBTN 0x0100
#define PM1_RTC    0x0400
#define PM1_WAK    0x8000 /* status only */

/* PM1_CNT */
#define PM1_CNT_SCI_EN  0x0001
#define PM1_CNT_SUS_TYP 0x1c00
#define PM1_CNT_SUS_EN  0x2000

#define PM_SUS_TYP_S5 0 /* soft off */
#define PM_SUS_TYP_S3 1

struct pm_wiring {
    struct irq_line sci; /* to IRQ9; a level */
    /* S5. Called from inside the write; the machine stops after the instruction. May be NULL. */
    void (*power_off)(void *opaque);
    /* A write to APMC while SMIs are on. Called from inside the write. May be NULL. */
    void (*smi)(void *opaque);
    void *opaque;
};

struct pm {
    struct pci_function f; /* configuration space; its device is this struct */
    struct bus *bus;
    struct log *log;
    struct clock *clock;
    struct pm_wiring wiring;
    uint16_t default_base; /* PMBASE after reset; 0: as the chip, no I/O until firmware sets it */
    bool sci_level;        /* what wiring.sci carries now */

    bool mapped; /* the PM ports answer, at base */
    uint16_t base;
    uint16_t pm1_sts;
    uint16_t pm1_en;
    uint16_t pm1_cnt;
    uint16_t gpe_sts;
    uint16_t gpe_en;
    uint16_t glb_sts;
    uint8_t apmc;
    uint8_t apms;
    uint8_t other[PM_PORT_COUNT]; /* registers without effect, by offset: PCNTRL, GLBCTL, ... */
    uint64_t overflow_tick;       /* 64-bit timer count at which PM1_STS.TMR becomes set */
    struct timer overflow;        /* "pm.overflow": armed while that would raise SCI */
};

/* Function devfn (00:01.3 in a PC) with its ports. The wiring is copied. NULL and err if a place or
 * port is taken. */
struct pm *pm_create(struct bus *bus, struct log *log, struct clock *clock, struct pci_host *host,
                     uint8_t devfn, uint16_t default_base, const struct pm_wiring *wiring,
                     struct error *err);

/* Configuration space too. The timer goes on: it counts virtual time. */
void pm_reset(struct pm *pm);

/* PCI host, bus and clock still exist. */
void pm_destroy(struct pm *pm);

/* The user pressed the power button: PWRBTN_STS, and SCI if the guest wants it. Without ACPI in the
 * guest nothing comes of it. */
void pm_power_button(struct pm *pm);

/* General purpose event n (0 to 15) happened. */
void pm_raise_gpe(struct pm *pm, unsigned n);

/* The RTC alarm went off while armed: RTC_STS. */
void pm_rtc_alarm(struct pm *pm);

/* The timer as the guest reads it. */
uint32_t pm_timer(const struct pm *pm);

/* A load drives no interrupt line: the interrupt controller loads its own inputs. */
void pm_serialize(struct pm *pm, struct state *s);

#endif
