#include "devices/rtc.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/host/host.h"

#include <stdlib.h>
#include <string.h>

/* Register A */
#define A_UIP      0x80
#define A_DV       0x70
#define A_DV_32KHZ 0x20 /* the crystal of every PC; the values below it are other crystals */
#define A_RS       0x0f
#define A_WRITABLE 0x7f
#define A_POWER_ON (A_DV_32KHZ | 6)
/* Register B */
#define B_SET  0x80
#define B_PIE  0x40
#define B_AIE  0x20
#define B_UIE  0x10
#define B_SQWE 0x08
#define B_DM   0x04 /* binary, else BCD */
#define B_24H  0x02
#define B_DSE  0x01
/* Register C; PF, AF, UF stand at the places of PIE, AIE, UIE */
#define C_IRQF 0x80
#define C_PF   0x40
#define C_AF   0x20
#define C_UF   0x10
/* Register D */
#define D_VRT 0x80

#define HOURS_PM        0x80
#define ALARM_DONT_CARE 0xc0 /* both bits set: matches always */
#define CRYSTAL_HZ      32768
#define UIP_NS          2228000 /* 244 us + 1984 us before the end of the update */
#define SECONDS_PER_DAY 86400
#define TIME_LIMIT      (1ll << 62) /* ns that no machine reaches */

static unsigned decode(const struct rtc *rtc, uint8_t v)
{
    return rtc->cmos[RTC_REGISTER_B] & B_DM ? v : (v >> 4) * 10u + (v & 15);
}

static uint8_t encode(const struct rtc *rtc, unsigned v)
{
    return rtc->cmos[RTC_REGISTER_B] & B_DM ? v : (v / 10 % 16) << 4 | v % 10;
}

/* An hour register's value as 0 to 23 (or more, when a guest stored nonsense). */
static unsigned decode_hours(const struct rtc *rtc, uint8_t v)
{
    unsigned hours;

    if (rtc->cmos[RTC_REGISTER_B] & B_24H)
        return decode(rtc, v);
    hours = decode(rtc, v & ~HOURS_PM) % 12;
    return v & HOURS_PM ? hours + 12 : hours;
}

static uint8_t encode_hours(const struct rtc *rtc, unsigned hours)
{
    if (rtc->cmos[RTC_REGISTER_B] & B_24H)
        return encode(rtc, hours);
    return encode(rtc, hours % 12 ? hours % 12 : 12) | (hours >= 12 ? HOURS_PM : 0);
}

static unsigned days_in_month(unsigned month, unsigned year)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    if (month < 1 || month > 12)
        return 31;
    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

static void rtc_next_year(struct rtc *rtc)
{
    unsigned year = decode(rtc, rtc->cmos[RTC_YEAR]) + 1;

    if (year > 99) {
        year = 0;
        rtc->cmos[RTC_CENTURY] = encode(rtc, decode(rtc, rtc->cmos[RTC_CENTURY]) + 1);
    }
    rtc->cmos[RTC_YEAR] = encode(rtc, year);
}

static void rtc_next_day(struct rtc *rtc)
{
    unsigned year = decode(rtc, rtc->cmos[RTC_CENTURY]) * 100 + decode(rtc, rtc->cmos[RTC_YEAR]);
    unsigned month = decode(rtc, rtc->cmos[RTC_MONTH]);
    unsigned day = decode(rtc, rtc->cmos[RTC_DAY_OF_MONTH]) + 1;
    unsigned day_of_week = decode(rtc, rtc->cmos[RTC_DAY_OF_WEEK]) + 1;

    rtc->cmos[RTC_DAY_OF_WEEK] = encode(rtc, day_of_week > 7 ? 1 : day_of_week);
    if (day > days_in_month(month, year)) {
        day = 1;
        if (++month > 12) {
            month = 1;
            rtc_next_year(rtc);
        }
        rtc->cmos[RTC_MONTH] = encode(rtc, month);
    }
    rtc->cmos[RTC_DAY_OF_MONTH] = encode(rtc, day);
}

static bool alarm_field_matches(uint8_t alarm, unsigned wanted, unsigned value)
{
    return (alarm & ALARM_DONT_CARE) == ALARM_DONT_CARE || wanted == value;
}

static bool alarm_matches(const struct rtc *rtc, unsigned second_of_day)
{
    const uint8_t *r = rtc->cmos;

    return alarm_field_matches(r[RTC_SECONDS_ALARM], decode(rtc, r[RTC_SECONDS_ALARM]),
                               second_of_day % 60) &&
           alarm_field_matches(r[RTC_MINUTES_ALARM], decode(rtc, r[RTC_MINUTES_ALARM]),
                               second_of_day / 60 % 60) &&
           alarm_field_matches(r[RTC_HOURS_ALARM], decode_hours(rtc, r[RTC_HOURS_ALARM]),
                               second_of_day / 3600);
}

/* `count` update cycles: the time registers move on, UF and AF are set. */
static void rtc_advance(struct rtc *rtc, uint64_t count)
{
    unsigned s = MIN(decode(rtc, rtc->cmos[RTC_SECONDS]), 59u);
    unsigned m = MIN(decode(rtc, rtc->cmos[RTC_MINUTES]), 59u);
    unsigned h = MIN(decode_hours(rtc, rtc->cmos[RTC_HOURS]), 23u);
    uint64_t time = h * 3600u + m * 60u + s;

    rtc->flags |= C_UF;
    for (uint64_t i = 1; !(rtc->flags & C_AF) && i <= MIN(count, SECONDS_PER_DAY); i++) {
        if (alarm_matches(rtc, (time + i) % SECONDS_PER_DAY))
            rtc->flags |= C_AF;
    }
    time += count;
    for (uint64_t days = time / SECONDS_PER_DAY; days > 0; days--)
        rtc_next_day(rtc);
    time %= SECONDS_PER_DAY;
    rtc->cmos[RTC_SECONDS] = encode(rtc, time % 60);
    rtc->cmos[RTC_MINUTES] = encode(rtc, time / 60 % 60);
    rtc->cmos[RTC_HOURS] = encode_hours(rtc, time / 3600);
}

/* Register A: DV 11x holds the divider chain in reset. */
static bool divider_runs(const struct rtc *rtc)
{
    return (rtc->cmos[RTC_REGISTER_A] & A_DV) <= A_DV_32KHZ;
}

/* True while update cycles happen. */
static bool updates_run(const struct rtc *rtc)
{
    return divider_runs(rtc) && !(rtc->cmos[RTC_REGISTER_B] & B_SET);
}

/* Nanoseconds that the divider chain has run since its origin. */
static uint64_t rtc_elapsed(const struct rtc *rtc)
{
    return clock_now(rtc->clock) - (uint64_t)rtc->origin;
}

/* Crystal cycles between periodic events (datasheet, "Periodic Interrupt Rate"), 0 for none. */
static uint32_t periodic_cycles(const struct rtc *rtc)
{
    unsigned rate = rtc->cmos[RTC_REGISTER_A] & A_RS;

    if (rate == 0 || !divider_runs(rtc))
        return 0;
    return 1u << (rate <= 2 ? rate + 6 : rate - 1);
}

static uint64_t periods_elapsed(const struct rtc *rtc)
{
    uint32_t cycles = periodic_cycles(rtc);

    return cycles == 0 ? 0 : mul_div(rtc_elapsed(rtc), CRYSTAL_HZ, NS_PER_SECOND) / cycles;
}

/* The output and register C bit 7 follow the flags. */
static bool rtc_irqf(const struct rtc *rtc)
{
    return (rtc->flags & rtc->cmos[RTC_REGISTER_B] & (C_PF | C_AF | C_UF)) != 0;
}

static void rtc_update_irq(struct rtc *rtc)
{
    if (rtc->irq8_connected)
        irq_set(&rtc->irq8, rtc_irqf(rtc));
}

/* Accounts for everything that happened until now. */
static void rtc_sync(struct rtc *rtc)
{
    uint64_t seconds = rtc_elapsed(rtc) / NS_PER_SECOND;
    uint64_t periods = periods_elapsed(rtc);

    if (updates_run(rtc) && seconds > rtc->seconds_done)
        rtc_advance(rtc, seconds - rtc->seconds_done);
    if (periods > rtc->periods_done)
        rtc->flags |= C_PF;
    rtc->seconds_done = seconds;
    rtc->periods_done = periods;
    rtc_update_irq(rtc);
}

/* The first nanosecond after the origin at which the crystal has made so many cycles. */
static uint64_t ns_of_cycle(uint64_t cycle)
{
    return (uint64_t)(((unsigned __int128)cycle * NS_PER_SECOND + CRYSTAL_HZ - 1) / CRYSTAL_HZ);
}

/* Arms the timers of enabled interrupts whose flag is not set yet. */
static void rtc_arm(struct rtc *rtc)
{
    uint8_t wanted = rtc->cmos[RTC_REGISTER_B] & ~rtc->flags;
    uint64_t origin = (uint64_t)rtc->origin;
    uint32_t cycles = periodic_cycles(rtc);

    if ((wanted & (B_UIE | B_AIE)) && updates_run(rtc))
        timer_arm(&rtc->update_timer, origin + (rtc->seconds_done + 1) * NS_PER_SECOND);
    else
        timer_cancel(&rtc->update_timer);
    if ((wanted & B_PIE) && cycles != 0)
        timer_arm(&rtc->periodic_timer, origin + ns_of_cycle((rtc->periods_done + 1) * cycles));
    else
        timer_cancel(&rtc->periodic_timer);
}

static void rtc_fire(void *opaque, uint64_t now)
{
    struct rtc *rtc = opaque;

    (void)now;
    rtc_sync(rtc);
    rtc_arm(rtc);
}

/* Datasheet, "Update In Progress". */
static bool rtc_uip(const struct rtc *rtc)
{
    return updates_run(rtc) && rtc_elapsed(rtc) % NS_PER_SECOND >= NS_PER_SECOND - UIP_NS;
}

static void rtc_write_a(struct rtc *rtc, uint8_t value)
{
    bool ran = divider_runs(rtc);

    rtc->cmos[RTC_REGISTER_A] = value & A_WRITABLE;
    if (!ran && divider_runs(rtc)) { /* the first update comes half a second later */
        rtc->origin = (int64_t)(clock_now(rtc->clock) - NS_PER_SECOND / 2);
        rtc->seconds_done = 0;
    }
    rtc->periods_done = periods_elapsed(rtc);
}

static void rtc_write_b(struct rtc *rtc, uint8_t value)
{
    if (value & B_SET)
        value &= ~B_UIE;
    if (value & B_DSE)
        LOG(rtc->log, LOG_UNIMP, "rtc: daylight saving is not implemented\n");
    rtc->cmos[RTC_REGISTER_B] = value;
}

static void rtc_write_register(struct rtc *rtc, uint8_t index, uint8_t value)
{
    rtc_sync(rtc);
    switch (index) {
    case RTC_REGISTER_A:
        rtc_write_a(rtc, value);
        break;
    case RTC_REGISTER_B:
        rtc_write_b(rtc, value);
        break;
    case RTC_REGISTER_C:
    case RTC_REGISTER_D:
        LOG(rtc->log, LOG_GUEST_ERROR, "rtc: write of read-only register %02x\n", index);
        break;
    default:
        rtc->cmos[index] = value;
        break;
    }
    rtc_update_irq(rtc);
    rtc_arm(rtc);
}

static uint8_t rtc_read_register(struct rtc *rtc, uint8_t index)
{
    uint8_t value;

    rtc_sync(rtc);
    switch (index) {
    case RTC_REGISTER_A:
        return rtc->cmos[RTC_REGISTER_A] | (rtc_uip(rtc) ? A_UIP : 0);
    case RTC_REGISTER_C:
        value = rtc->flags | (rtc_irqf(rtc) ? C_IRQF : 0);
        rtc->flags = 0;
        rtc_update_irq(rtc);
        rtc_arm(rtc);
        return value;
    case RTC_REGISTER_D:
        return D_VRT;
    default:
        return rtc->cmos[index];
    }
}

static uint64_t rtc_read(void *device, uint64_t offset, unsigned size)
{
    struct rtc *rtc = device;

    (void)size;
    switch (offset) {
    case 0:
        return rtc->index | (rtc->nmi_masked ? 0x80 : 0);
    case 1:
        return rtc_read_register(rtc, rtc->index);
    case 2:
        return rtc->bank_index;
    default:
        return rtc->cmos[0x80 | rtc->bank_index];
    }
}

static void rtc_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct rtc *rtc = device;

    (void)size;
    switch (offset) {
    case 0:
        rtc->index = value & 0x7f;
        rtc->nmi_masked = (value & 0x80) != 0;
        break;
    case 1:
        rtc_write_register(rtc, rtc->index, value);
        break;
    case 2:
        rtc->bank_index = value & 0x7f;
        break;
    default:
        rtc->cmos[0x80 | rtc->bank_index] = value;
        break;
    }
}

static const struct bus_region_ops rtc_ops = {"rtc", rtc_read, rtc_write, 1};

/* Fills the time registers, in BCD and 24 hours. */
static void rtc_set_time(struct rtc *rtc, int64_t seconds)
{
    int64_t days = seconds / SECONDS_PER_DAY - (seconds % SECONDS_PER_DAY < 0 ? 1 : 0);
    unsigned second_of_day = (unsigned)(seconds - days * SECONDS_PER_DAY);
    unsigned year = 1970, month = 1;

    days = MAX(days, 0); /* before 1970, after 9999: the ends of the calendar */
    days = MIN(days, 8030 * 365 + 1946);
    rtc->cmos[RTC_DAY_OF_WEEK] = encode(rtc, (days + 4) % 7 + 1); /* 1970 began on a Thursday */
    for (;;) {
        unsigned length = days_in_month(month, year);
        if (days < length)
            break;
        days -= length;
        if (++month > 12) {
            month = 1;
            year++;
        }
    }
    rtc->cmos[RTC_SECONDS] = encode(rtc, second_of_day % 60);
    rtc->cmos[RTC_MINUTES] = encode(rtc, second_of_day / 60 % 60);
    rtc->cmos[RTC_HOURS] = encode_hours(rtc, second_of_day / 3600);
    rtc->cmos[RTC_DAY_OF_MONTH] = encode(rtc, (unsigned)days + 1);
    rtc->cmos[RTC_MONTH] = encode(rtc, month);
    rtc->cmos[RTC_YEAR] = encode(rtc, year % 100);
    rtc->cmos[RTC_CENTURY] = encode(rtc, year / 100);
}

struct rtc *rtc_create(struct bus *bus, struct log *log, struct clock *clock, int64_t start_seconds,
                       struct irq_line irq8, struct error *err)
{
    struct rtc *rtc = host_alloc(sizeof(*rtc));

    rtc->bus = bus;
    rtc->log = log;
    rtc->clock = clock;
    rtc->irq8 = irq8;
    rtc->irq8_connected = true;
    rtc->origin = (int64_t)clock_now(clock);
    rtc->cmos[RTC_REGISTER_A] = A_POWER_ON;
    rtc->cmos[RTC_REGISTER_B] = B_24H;
    rtc->cmos[RTC_REGISTER_D] = D_VRT;
    rtc_set_time(rtc, start_seconds);
    if (!bus_add_ports(bus, RTC_PORT, RTC_PORT_COUNT, &rtc_ops, rtc, err)) {
        free(rtc);
        return NULL;
    }
    timer_init(&rtc->update_timer, clock, "rtc.update", rtc_fire, rtc);
    timer_init(&rtc->periodic_timer, clock, "rtc.periodic", rtc_fire, rtc);
    return rtc;
}

void rtc_destroy(struct rtc *rtc)
{
    if (rtc == NULL)
        return;
    timer_destroy(&rtc->update_timer);
    timer_destroy(&rtc->periodic_timer);
    bus_remove_ports(rtc->bus, RTC_PORT);
    free(rtc);
}

void rtc_reset(struct rtc *rtc)
{
    rtc_sync(rtc);
    rtc->cmos[RTC_REGISTER_B] &= ~(B_PIE | B_AIE | B_UIE | B_SQWE);
    rtc->flags = 0;
    rtc->index = 0;
    rtc->bank_index = 0;
    rtc->nmi_masked = false;
    rtc->irq8_connected = true;
    rtc_update_irq(rtc);
    rtc_arm(rtc);
}

void rtc_set_cmos(struct rtc *rtc, uint8_t index, uint8_t value)
{
    CHECK(index > RTC_REGISTER_D);
    rtc->cmos[index] = value;
}

void rtc_connect_irq8(struct rtc *rtc, bool connected)
{
    rtc_sync(rtc);
    if (!connected)
        irq_set(&rtc->irq8, false);
    rtc->irq8_connected = connected;
    rtc_update_irq(rtc);
}

void rtc_serialize(struct rtc *rtc, struct state *s)
{
    uint64_t origin = (uint64_t)rtc->origin;

    state_section(s, "rtc", 1);
    state_bytes(s, rtc->cmos, sizeof(rtc->cmos));
    state_u8(s, &rtc->flags);
    state_u8(s, &rtc->index);
    state_u8(s, &rtc->bank_index);
    state_bool(s, &rtc->nmi_masked);
    state_bool(s, &rtc->irq8_connected);
    state_u64(s, &origin);
    state_u64(s, &rtc->seconds_done);
    state_u64(s, &rtc->periods_done);
    rtc->origin = (int64_t)origin;
    state_check(s, (rtc->cmos[RTC_REGISTER_A] & ~A_WRITABLE) == 0, "register A of the clock");
    state_check(s, (rtc->flags & ~(C_PF | C_AF | C_UF)) == 0, "register C of the clock");
    state_check(s, rtc->index < 0x80 && rtc->bank_index < 0x80, "the index of the clock");
    state_check(s, rtc->origin > -TIME_LIMIT && rtc->origin < TIME_LIMIT,
                "the origin of the clock is out of range");
    timer_serialize(&rtc->update_timer, s);
    timer_serialize(&rtc->periodic_timer, s);
    if (state_failed(s))
        rtc->index = rtc->bank_index = 0;
}
