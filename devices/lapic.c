/* The local APIC's interrupts: acceptance, priorities, acknowledgement, local inputs. */
#include "devices/lapic_internal.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/host/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DFR_FLAT 15

/* --- Sets of vectors --- */

static void vector_set(_Atomic uint32_t *set, unsigned vector, bool value)
{
    if (value)
        atomic_fetch_or(&set[vector / 32], BIT(vector % 32));
    else
        atomic_fetch_and(&set[vector / 32], ~BIT(vector % 32));
}

static bool vector_get(const _Atomic uint32_t *set, unsigned vector)
{
    return (set[vector / 32] & BIT(vector % 32)) != 0;
}

/* The highest vector of the set, or -1. */
static int highest(const _Atomic uint32_t *set)
{
    for (int i = 7; i >= 0; i--) {
        uint32_t word = set[i];

        if (word != 0)
            return 32 * i + 31 - __builtin_clz(word);
    }
    return -1;
}

/* --- Priorities: section "Task and Processor Priorities" --- */

uint8_t lapic_ppr(const struct lapic *l)
{
    int isrv = highest(l->isr);
    uint8_t tpr = l->tpr;

    return isrv < 0 || tpr >> 4 >= isrv >> 4 ? tpr : isrv & 0xf0;
}

uint8_t lapic_arbitration_priority(const struct lapic *l)
{
    int isrv = MAX(highest(l->isr), 0);
    int irrv = MAX(highest(l->irr), 0);
    uint8_t tpr = l->tpr;

    if (tpr >> 4 >= irrv >> 4 && tpr >> 4 > isrv >> 4)
        return tpr;
    return MAX(tpr & 0xf0, MAX(isrv & 0xf0, irrv & 0xf0));
}

/* The vector that the processor would be given, or -1. */
static int lapic_deliverable(const struct lapic *l)
{
    int vector;

    if (!lapic_software_enabled(l))
        return -1;
    vector = highest(l->irr);
    return vector >= 0 && vector >> 4 > lapic_ppr(l) >> 4 ? vector : -1;
}

/* An entry passes the PIC's request on: always level sensitive (section "Local Vector Table"). */
static bool lint_is_extint(uint32_t lvt)
{
    return !(lvt & LVT_MASK) && LVT_MODE(lvt) == APIC_DELIVERY_EXTINT;
}

static bool lapic_extint_pending(const struct lapic *l)
{
    return l->extint_message || (l->lint[0] && lint_is_extint(l->lvt[LAPIC_LVT_LINT0])) ||
           (l->lint[1] && lint_is_extint(l->lvt[LAPIC_LVT_LINT1]));
}

bool lapic_intr(const struct lapic *l)
{
    if (!lapic_enabled(l)) /* LINT0 is the INTR pin of a processor without APIC */
        return l->lint[0];
    return lapic_extint_pending(l) || lapic_deliverable(l) >= 0;
}

/*
 * After any change of what lapic_intr looks at, which several threads may make at once. Who lowers
 * the pin looks once more: what another one has changed and announced before, it sees then, so
 * that no interrupt is lost. The pin may be raised for nothing, by who comes late.
 */
void lapic_check_intr(struct lapic *l)
{
    bool level = lapic_intr(l);

    irq_set(&l->intr, level);
    if (!level && lapic_intr(l))
        irq_set(&l->intr, true);
}

/* --- Acceptance --- */

/* Section "Interrupt Acceptance for Fixed Interrupts". */
static void lapic_accept(struct lapic *l, uint8_t vector, bool level_triggered)
{
    if (vector < LOWEST_LEGAL_VECTOR) {
        lapic_error(l, ESR_RECEIVED_ILLEGAL_VECTOR);
        return;
    }
    vector_set(l->tmr, vector, level_triggered);
    vector_set(l->irr, vector, true);
    lapic_check_intr(l);
}

void lapic_error(struct lapic *l, uint32_t esr_bit)
{
    uint32_t lvt = l->lvt[LAPIC_LVT_ERROR];

    atomic_fetch_or(&l->esr_pending, esr_bit);
    if (lvt & LVT_MASK)
        return;
    if ((lvt & LVT_VECTOR) < LOWEST_LEGAL_VECTOR)
        atomic_fetch_or(&l->esr_pending, ESR_RECEIVED_ILLEGAL_VECTOR);
    else
        lapic_accept(l, lvt & LVT_VECTOR, false);
}

/* Delivers by the mode of an entry that is not masked; fixed ones are edge triggered here. */
static void lvt_deliver(struct lapic *l, uint32_t lvt)
{
    switch (LVT_MODE(lvt)) {
    case APIC_DELIVERY_FIXED:
        lapic_accept(l, lvt & LVT_VECTOR, false);
        break;
    case APIC_DELIVERY_SMI:
        l->callbacks.smi(l->callbacks.opaque);
        break;
    case APIC_DELIVERY_NMI:
        l->callbacks.nmi(l->callbacks.opaque);
        break;
    case APIC_DELIVERY_INIT:
        l->callbacks.init(l->callbacks.opaque);
        break;
    case APIC_DELIVERY_EXTINT: /* a level: lapic_extint_pending */
        break;
    default:
        LOG(l->log, LOG_GUEST_ERROR, "lapic%u: local vector %05x has a reserved delivery mode\n",
            l->config.id, lvt);
        break;
    }
}

void lapic_signal_lvt(struct lapic *l, enum lapic_lvt entry)
{
    uint32_t lvt = l->lvt[entry];

    if (!lapic_enabled(l) || (lvt & LVT_MASK))
        return;
    if (entry == LAPIC_LVT_TIMER || entry == LAPIC_LVT_ERROR)
        lapic_accept(l, lvt & LVT_VECTOR, false); /* they have no delivery mode */
    else
        lvt_deliver(l, lvt);
}

static bool lint_is_level(uint32_t lvt)
{
    return LVT_MODE(lvt) == APIC_DELIVERY_FIXED && (lvt & LVT_LEVEL);
}

void lapic_evaluate_lint(struct lapic *l, enum lapic_lvt entry)
{
    uint32_t lvt = l->lvt[entry];

    if (!lapic_enabled(l) || !l->lint[entry - LAPIC_LVT_LINT0] || !lint_is_level(lvt) ||
        (lvt & (LVT_MASK | LVT_REMOTE_IRR)))
        return;
    if ((lvt & LVT_VECTOR) >= LOWEST_LEGAL_VECTOR)
        l->lvt[entry] = lvt | LVT_REMOTE_IRR;
    lapic_accept(l, lvt & LVT_VECTOR, true);
}

void lapic_set_lint(void *opaque, unsigned pin, bool level)
{
    struct lapic *l = opaque;
    enum lapic_lvt entry = pin == 0 ? LAPIC_LVT_LINT0 : LAPIC_LVT_LINT1;
    bool rises;

    CHECK(pin < 2);
    rises = level && !l->lint[pin];
    l->lint[pin] = level;
    if (!lapic_enabled(l)) {
        if (pin == 1 && rises)
            l->callbacks.nmi(l->callbacks.opaque);
    } else if (lint_is_level(l->lvt[entry])) {
        lapic_evaluate_lint(l, entry);
    } else if (rises && !(l->lvt[entry] & LVT_MASK)) {
        lvt_deliver(l, l->lvt[entry]);
    }
    lapic_check_intr(l);
}

/* Section "Logical Destination Mode": the message destination address against LDR and DFR. */
static bool lapic_accepts_logical(const struct lapic *l, uint32_t mda)
{
    if (lapic_x2apic_mode(l)) {
        uint32_t cluster = l->config.id >> 4 & 0xffff;
        return mda == APIC_DESTINATION_ALL ||
               (mda >> 16 == cluster && (mda & BIT(l->config.id & 15)) != 0);
    }
    if (mda == 0xff || mda == APIC_DESTINATION_ALL)
        return true;
    if (mda > 0xff)
        return false;
    if (l->dfr == DFR_FLAT)
        return (mda & l->ldr) != 0;
    return mda >> 4 == l->ldr >> 4u && (mda & l->ldr & 15) != 0;
}

bool lapic_accepts(const struct lapic *l, const struct apic_message *message)
{
    if (!lapic_enabled(l))
        return false;
    if (message->logical)
        return lapic_accepts_logical(l, message->destination);
    return message->destination == APIC_DESTINATION_ALL ||
           message->destination == (lapic_x2apic_mode(l) ? l->config.id : l->id);
}

bool lapic_takes_interrupts(const struct lapic *l)
{
    return lapic_enabled(l) && lapic_software_enabled(l);
}

void lapic_deliver(struct lapic *l, const struct apic_message *message)
{
    if (!lapic_enabled(l) || !message->assert)
        return;
    switch (message->delivery_mode) {
    case APIC_DELIVERY_FIXED:
    case APIC_DELIVERY_LOWEST:
        if (lapic_software_enabled(l))
            lapic_accept(l, message->vector, message->level_triggered);
        break;
    case APIC_DELIVERY_SMI:
        l->callbacks.smi(l->callbacks.opaque);
        break;
    case APIC_DELIVERY_NMI:
        l->callbacks.nmi(l->callbacks.opaque);
        break;
    case APIC_DELIVERY_INIT:
        l->callbacks.init(l->callbacks.opaque);
        break;
    case APIC_DELIVERY_STARTUP:
        l->callbacks.startup(l->callbacks.opaque, message->vector);
        break;
    case APIC_DELIVERY_EXTINT:
        l->extint_message = true;
        lapic_check_intr(l);
        break;
    default:
        LOG(l->log, LOG_GUEST_ERROR, "lapic%u: message with a reserved delivery mode\n",
            l->config.id);
        break;
    }
}

/* --- The processor's side --- */

bool lapic_try_acknowledge(struct lapic *l, int *vector)
{
    if (!lapic_enabled(l) || lapic_extint_pending(l))
        return false;
    *vector = lapic_deliverable(l);
    if (*vector >= 0) {
        vector_set(l->isr, *vector, true);
        vector_set(l->irr, *vector, false);
    } else {
        *vector = LAPIC_ACK_NONE;
    }
    lapic_check_intr(l);
    return true;
}

int lapic_acknowledge(struct lapic *l)
{
    int vector;

    if (lapic_try_acknowledge(l, &vector))
        return vector;
    if (lapic_enabled(l)) {
        l->extint_message = false;
        lapic_check_intr(l);
    }
    return LAPIC_ACK_EXTINT;
}

/* An edge has nobody to be told of its end. */
bool lapic_try_end_of_interrupt(struct lapic *l)
{
    int vector = highest(l->isr);

    if (vector >= 0) {
        if (vector_get(l->tmr, vector))
            return false;
        vector_set(l->isr, vector, false);
        lapic_check_intr(l);
    }
    return true;
}

/* Section "Signaling Interrupt Servicing Completion". */
void lapic_end_of_interrupt(struct lapic *l)
{
    int vector = highest(l->isr);

    if (vector < 0)
        return;
    vector_set(l->isr, vector, false);
    if (vector_get(l->tmr, vector)) {
        for (unsigned e = LAPIC_LVT_LINT0; e <= LAPIC_LVT_LINT1; e++) {
            if ((l->lvt[e] & LVT_REMOTE_IRR) && (l->lvt[e] & LVT_VECTOR) == (unsigned)vector) {
                l->lvt[e] &= ~LVT_REMOTE_IRR;
                lapic_evaluate_lint(l, e);
            }
        }
        if (!(l->svr & SVR_EOI_SUPPRESS))
            l->callbacks.eoi(l->callbacks.opaque, vector);
    }
    lapic_check_intr(l);
}

void lapic_set_tpr(struct lapic *l, uint8_t tpr)
{
    l->tpr = tpr;
    lapic_check_intr(l);
}

/* --- Life --- */

/* Section "Local APIC State After Power-Up or Reset". */
void lapic_initialise_registers(struct lapic *l)
{
    l->tpr = 0;
    l->ldr = 0;
    l->dfr = DFR_FLAT;
    l->svr = 0xff;
    for (unsigned i = 0; i < 8; i++)
        l->isr[i] = l->tmr[i] = l->irr[i] = 0;
    l->esr = 0;
    l->esr_pending = 0;
    l->icr = 0;
    l->extint_message = false;
    for (unsigned i = 0; i < LAPIC_LVT_COUNT; i++)
        l->lvt[i] = LVT_MASK;
    if (l->config.boot_processor) /* see the header: virtual wire mode */
        l->lvt[LAPIC_LVT_LINT0] = APIC_DELIVERY_EXTINT << 8;
    lapic_timer_stop(l);
}

void lapic_init(struct lapic *l)
{
    lapic_initialise_registers(l);
    lapic_check_intr(l);
}

void lapic_reset(struct lapic *l)
{
    l->apic_base =
        LAPIC_DEFAULT_BASE | APIC_BASE_ENABLE | (l->config.boot_processor ? APIC_BASE_BSP : 0);
    l->id = l->config.id;
    lapic_init(l);
}

struct lapic *lapic_create(struct log *log, struct clock *clock, const struct lapic_config *config,
                           const struct lapic_callbacks *callbacks, struct irq_line intr)
{
    struct lapic *l = host_alloc(sizeof(*l));

    CHECK(config->tsc_hz != 0 && config->bus_hz != 0);
    CHECK(config->physical_address_bits >= 36 && config->physical_address_bits <= 52);
    l->log = log;
    l->clock = clock;
    l->config = *config;
    l->callbacks = *callbacks;
    l->intr = intr;
    snprintf(l->timer_name, sizeof(l->timer_name), "lapic%u.timer", (unsigned)config->id);
    lapic_timer_init(l);
    lapic_reset(l);
    return l;
}

void lapic_destroy(struct lapic *l)
{
    if (l == NULL)
        return;
    timer_destroy(&l->timer);
    free(l);
}

static void serialize_byte(struct state *s, _Atomic uint8_t *byte)
{
    uint8_t value = *byte;

    state_u8(s, &value);
    *byte = value;
}

static void serialize_flag(struct state *s, _Atomic bool *flag)
{
    bool value = *flag;

    state_bool(s, &value);
    *flag = value;
}

static void serialize_words(struct state *s, _Atomic uint32_t *words, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint32_t value = words[i];

        state_u32(s, &value);
        words[i] = value;
    }
}

static void serialize_base(struct lapic *l, struct state *s)
{
    uint64_t bits = APIC_BASE_BSP | APIC_BASE_ENABLE | (l->config.x2apic ? APIC_BASE_EXTD : 0) |
                    (BIT64(l->config.physical_address_bits) - 1 - 0xfff);
    uint64_t base = l->apic_base;

    state_u64(s, &base);
    state_check(
        s, (base & ~bits) == 0 && (base & (APIC_BASE_ENABLE | APIC_BASE_EXTD)) != APIC_BASE_EXTD,
        "IA32_APIC_BASE has an impossible value");
    l->apic_base = base;
}

void lapic_serialize(struct lapic *l, struct state *s)
{
    state_section(s, "lapic", 2);
    serialize_base(l, s);
    serialize_byte(s, &l->id);
    serialize_byte(s, &l->tpr);
    serialize_byte(s, &l->ldr);
    serialize_byte(s, &l->dfr);
    state_check(s, l->dfr < 16, "the destination format of a local APIC is out of range");
    serialize_words(s, &l->svr, 1);
    serialize_words(s, l->isr, 8);
    serialize_words(s, l->tmr, 8);
    serialize_words(s, l->irr, 8);
    state_u32(s, &l->esr);
    serialize_words(s, &l->esr_pending, 1);
    state_u64(s, &l->icr);
    serialize_words(s, l->lvt, LAPIC_LVT_COUNT);
    serialize_flag(s, &l->lint[0]);
    serialize_flag(s, &l->lint[1]);
    serialize_flag(s, &l->extint_message);
    lapic_timer_serialize(l, s);
}
