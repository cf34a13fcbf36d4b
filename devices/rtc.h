/*
 * MC146818A real-time clock with 256 bytes of CMOS memory: ports 70h (index, and NMI mask in bit
 * 7) and 71h (data) reach bytes 00h to 7Fh; 72h and 73h reach the upper bank 80h to FFh, as in
 * PIIX4. MC146818A datasheet; century byte at 32h by PC convention (FADT).
 *
 * Time registers advance once a second as the chip's do, by counting on what they hold, whatever a
 * guest has stored there. They are brought up to date when somebody looks. The update is taken to
 * end on the second: UIP is set during the 2228 us before it (244 us notice, 1984 us update).
 * Callers hold the device lock.
 */
#ifndef DEVICES_RTC_H
#define DEVICES_RTC_H

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/state.h"
#include "devices/irq.h"
#include "mmu/bus.h"

#include <stdbool.h>
#include <stdint.h>

#define RTC_PORT       0x70
#define RTC_PORT_COUNT 4
#define RTC_CMOS_SIZE  256

/* Register numbers, datasheet "Address Map". */
enum rtc_register {
    RTC_SECONDS = 0x00,
    RTC_SECONDS_ALARM = 0x01,
    RTC_MINUTES = 0x02,
    RTC_MINUTES_ALARM = 0x03,
    RTC_HOURS = 0x04,
    RTC_HOURS_ALARM = 0x05,
    RTC_DAY_OF_WEEK = 0x06, /* 1 is Sunday */
    RTC_DAY_OF_MONTH = 0x07,
    RTC_MONTH = 0x08,
    RTC_YEAR = 0x09,
    RTC_REGISTER_A = 0x0a,
    RTC_REGISTER_B = 0x0b,
    RTC_REGISTER_C = 0x0c,
    RTC_REGISTER_D = 0x0d,
    RTC_CENTURY = 0x32,
};

struct rtc {
    struct bus *bus;
    struct log *log;
    struct clock *clock;
    struct irq_line irq8;        /* level: a flag of register C is set and enabled in B */
    struct timer update_timer;   /* "rtc.update": armed while UIE or AIE is set */
    struct timer periodic_timer; /* "rtc.periodic": armed while PIE is set */
    uint8_t cmos[RTC_CMOS_SIZE]; /* registers and memory; C is kept in flags */
    uint8_t flags;               /* register C bits 6:4: PF, AF, UF */
    uint8_t index;               /* 70h bits 6:0 */
    uint8_t bank_index;          /* 72h bits 6:0 */
    bool nmi_masked;             /* 70h bit 7 */
    bool irq8_connected;         /* false while an HPET replaces IRQ 8 */
    int64_t origin;              /* virtual ns at which the divider chain last stood at zero */
    uint64_t seconds_done;       /* updates since origin that the registers have seen */
    uint64_t periods_done;       /* periodic events since origin that PF has seen */
};

/* start_seconds: the time to show at creation, seconds since 1970-01-01 00:00:00 in the guest's
 * time zone of the clock (host_wall_seconds() or a fixed epoch). Registers the ports; NULL and err
 * if one is taken. */
struct rtc *rtc_create(struct bus *bus, struct log *log, struct clock *clock, int64_t start_seconds,
                       struct irq_line irq8, struct error *err);

/* Unregisters ports and timers; bus and clock must still exist. */
void rtc_destroy(struct rtc *rtc);

/* The RESET pin: interrupts off, flags clear; the battery keeps time and memory. */
void rtc_reset(struct rtc *rtc);

/* Puts a byte of CMOS memory (14 to 255: memory sizes, boot order); not for registers A to D. */
void rtc_set_cmos(struct rtc *rtc, uint8_t index, uint8_t value);

/* Port 70h bit 7: the machine holds NMIs back. */
static inline bool rtc_nmi_masked(const struct rtc *rtc)
{
    return rtc->nmi_masked;
}

/* Whether the interrupt output reaches IRQ 8. An HPET in legacy replacement mode disconnects it. */
void rtc_connect_irq8(struct rtc *rtc, bool connected);

void rtc_serialize(struct rtc *rtc, struct state *s);

#endif
