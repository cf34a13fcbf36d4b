/* The local APIC's registers: memory-mapped, as MSRs, and the commands that writes start. */
#include "devices/lapic_internal.h"

#include "base/bits.h"

/* Register numbers: xAPIC offset >> 4, x2APIC MSR - 800h. */
enum lapic_register {
    REG_ID = 0x02,
    REG_VERSION = 0x03,
    REG_TPR = 0x08,
    REG_APR = 0x09,
    REG_PPR = 0x0a,
    REG_EOI = 0x0b,
    REG_RRD = 0x0c,
    REG_LDR = 0x0d,
    REG_DFR = 0x0e,
    REG_SVR = 0x0f,
    REG_ISR = 0x10,
    REG_TMR = 0x18,
    REG_IRR = 0x20,
    REG_ESR = 0x28,
    REG_ICR_LOW = 0x30,
    REG_ICR_HIGH = 0x31,
    REG_LVT = 0x32,
    REG_INITIAL_COUNT = 0x38,
    REG_CURRENT_COUNT = 0x39,
    REG_DIVIDE = 0x3e,
    REG_SELF_IPI = 0x3f,
    REG_COUNT = 0x40
};

#define VERSION              0x14u
#define VERSION_EOI_SUPPRESS 0x1000000u

/* Interrupt command register */
#define ICR_LOGICAL     0x800u
#define ICR_ASSERT      0x4000u
#define ICR_LEVEL       0x8000u
#define ICR_SHORTHAND   0xc0000u
#define ICR_TO_SELF     0x40000u
#define ICR_TO_ALL      0x80000u
#define ICR_TO_OTHERS   0xc0000u
#define ICR_WRITABLE    0xccfffu
#define ICR_DEST_SHIFT  32
#define ICR_XDEST_SHIFT 56

/* How a register may be accessed: in the page, and as MSR. */
#define R  1
#define W  2
#define RW (R | W)

struct register_access {
    uint8_t xapic, x2apic; /* R, W; zero: reserved address */
    uint32_t x2_writable;  /* bits that WRMSR may set; others mean #GP */
};

/* SDM tables "Local APIC Register Address Map", "...Address Map Supported by x2APIC". */
static const struct register_access accesses[REG_COUNT] = {
    [REG_ID] = {RW, R, 0},
    [REG_VERSION] = {R, R, 0},
    [REG_TPR] = {RW, RW, 0xff},
    [REG_APR] = {R, 0, 0},
    [REG_PPR] = {R, R, 0},
    [REG_EOI] = {W, W, 0},
    [REG_RRD] = {R, 0, 0},
    [REG_LDR] = {RW, R, 0},
    [REG_DFR] = {RW, 0, 0},
    [REG_SVR] = {RW, RW, SVR_VECTOR | SVR_ENABLE | SVR_FOCUS | SVR_EOI_SUPPRESS},
    [REG_ISR... REG_ESR - 1] = {R, R, 0},
    [REG_ESR] = {RW, RW, 0},
    [REG_ICR_LOW] = {RW, RW, ICR_WRITABLE},
    [REG_ICR_HIGH] = {RW, 0, 0},
    [REG_LVT... REG_LVT + LAPIC_LVT_COUNT - 1] = {RW, RW, 0xffffffff}, /* lvt_writable */
    [REG_INITIAL_COUNT] = {RW, RW, 0xffffffff},
    [REG_CURRENT_COUNT] = {R, R, 0},
    [REG_DIVIDE] = {RW, RW, 0xb},
    [REG_SELF_IPI] = {0, W, 0xff},
};

/* Figure "Local Vector Table (LVT)", without the read-only bits 12 and 14. */
static const uint32_t lvt_writable[LAPIC_LVT_COUNT] = {
    [LAPIC_LVT_TIMER] = LVT_VECTOR | LVT_MASK | LVT_TIMER_MODE,
    [LAPIC_LVT_THERMAL] = LVT_VECTOR | LVT_DELIVERY_MODE | LVT_MASK,
    [LAPIC_LVT_PERFORMANCE] = LVT_VECTOR | LVT_DELIVERY_MODE | LVT_MASK,
    [LAPIC_LVT_LINT0] = LVT_VECTOR | LVT_DELIVERY_MODE | LVT_POLARITY | LVT_LEVEL | LVT_MASK,
    [LAPIC_LVT_LINT1] = LVT_VECTOR | LVT_DELIVERY_MODE | LVT_POLARITY | LVT_LEVEL | LVT_MASK,
    [LAPIC_LVT_ERROR] = LVT_VECTOR | LVT_MASK,
};

#define LVT_READ_ONLY (LVT_REMOTE_IRR | 0x1000u) /* remote IRR, delivery status */

static uint32_t lvt_writable_bits(const struct lapic *l, unsigned entry)
{
    uint32_t bits = lvt_writable[entry];

    if (entry == LAPIC_LVT_TIMER && !l->config.tsc_deadline)
        bits &= ~LVT_TIMER_TSC_DEADLINE;
    return bits;
}

static uint32_t svr_writable_bits(const struct lapic *l)
{
    uint32_t bits = accesses[REG_SVR].x2_writable;

    return l->config.eoi_suppression ? bits : bits & ~SVR_EOI_SUPPRESS;
}

/* --- Interrupt command: section "Issuing Interprocessor Interrupts" --- */

static void lapic_send(struct lapic *l, uint32_t command, uint32_t destination)
{
    struct apic_message message = {
        .vector = command & 0xff,
        .delivery_mode = bits_get(command, 8, 3),
        .logical = (command & ICR_LOGICAL) != 0,
        .assert = true, /* IPIs are edges, whatever bits 15:14 say */
        .destination = destination,
    };
    unsigned mode = message.delivery_mode;

    if (mode == APIC_DELIVERY_INIT && (command & (ICR_LEVEL | ICR_ASSERT)) == ICR_LEVEL)
        return; /* INIT level de-assert: without effect since Pentium 4 */
    if (mode == 3 || mode == APIC_DELIVERY_EXTINT) {
        LOG(l->log, LOG_GUEST_ERROR, "lapic%u: command %08x is reserved\n", l->config.id, command);
        return;
    }
    if (mode <= APIC_DELIVERY_LOWEST && message.vector < LOWEST_LEGAL_VECTOR) {
        lapic_error(l, ESR_SEND_ILLEGAL_VECTOR);
        return;
    }
    LOG(l->log, LOG_INT, "lapic%u: sends %08x to %08x\n", l->config.id, command, destination);
    switch (command & ICR_SHORTHAND) {
    case ICR_TO_SELF:
        if (mode == APIC_DELIVERY_INIT || mode == APIC_DELIVERY_STARTUP)
            LOG(l->log, LOG_GUEST_ERROR, "lapic%u: INIT or startup to itself\n", l->config.id);
        else
            lapic_deliver(l, &message);
        return;
    case ICR_TO_ALL:
    case ICR_TO_OTHERS:
        message.logical = false;
        message.destination = APIC_DESTINATION_ALL;
        message.exclude_sender = (command & ICR_SHORTHAND) == ICR_TO_OTHERS;
        break;
    default:
        break;
    }
    l->callbacks.send(l->callbacks.opaque, &message);
}

static void lapic_write_icr_low(struct lapic *l, uint32_t value)
{
    uint32_t destination = l->icr >> ICR_XDEST_SHIFT;

    l->icr = (l->icr & ~0xffffffffull) | (value & ICR_WRITABLE);
    if (destination == 0xff && !(value & ICR_LOGICAL))
        destination = APIC_DESTINATION_ALL;
    lapic_send(l, value & ICR_WRITABLE, destination);
}

/* --- Registers --- */

static void lapic_write_lvt(struct lapic *l, unsigned entry, uint32_t value)
{
    uint32_t lvt = (value & lvt_writable_bits(l, entry)) | (l->lvt[entry] & LVT_REMOTE_IRR);

    if (!lapic_software_enabled(l))
        lvt |= LVT_MASK; /* section "Local APIC State After It Has Been Software Disabled" */
    if (entry == LAPIC_LVT_TIMER) {
        lapic_timer_write_lvt(l, lvt);
        return;
    }
    if (!(lvt & LVT_LEVEL) || LVT_MODE(lvt) != APIC_DELIVERY_FIXED)
        lvt &= ~LVT_REMOTE_IRR;
    l->lvt[entry] = lvt;
    if (entry == LAPIC_LVT_LINT0 || entry == LAPIC_LVT_LINT1)
        lapic_evaluate_lint(l, entry);
    lapic_check_intr(l);
}

static void lapic_write_svr(struct lapic *l, uint32_t value)
{
    l->svr = value & svr_writable_bits(l);
    if (!lapic_software_enabled(l)) {
        lapic_timer_sync(l);
        for (unsigned i = 0; i < LAPIC_LVT_COUNT; i++)
            l->lvt[i] |= LVT_MASK;
        lapic_timer_arm(l);
    }
    lapic_check_intr(l);
}

static void lapic_write_register(struct lapic *l, unsigned reg, uint32_t value)
{
    switch (reg) {
    case REG_ID:
        l->id = value >> 24;
        break;
    case REG_TPR:
        lapic_set_tpr(l, value);
        break;
    case REG_EOI:
        lapic_end_of_interrupt(l);
        break;
    case REG_LDR:
        l->ldr = value >> 24;
        break;
    case REG_DFR:
        l->dfr = value >> 28;
        break;
    case REG_SVR:
        lapic_write_svr(l, value);
        break;
    case REG_ESR: /* section "Error Handling": a write shows what has gathered */
        l->esr = atomic_exchange(&l->esr_pending, 0);
        break;
    case REG_ICR_LOW:
        lapic_write_icr_low(l, value);
        break;
    case REG_ICR_HIGH:
        l->icr = (l->icr & 0xffffffff) | (uint64_t)(value & 0xff000000) << 32;
        break;
    case REG_INITIAL_COUNT:
        lapic_timer_write_initial(l, value);
        break;
    case REG_DIVIDE:
        lapic_timer_write_divide(l, value);
        break;
    default:
        lapic_write_lvt(l, reg - REG_LVT, value);
        break;
    }
}

/* Section "Logical Destination Mode in x2APIC Mode": the logical id is made of the id. */
static uint32_t lapic_read_ldr(const struct lapic *l)
{
    if (lapic_x2apic_mode(l))
        return (l->config.id >> 4) << 16 | BIT(l->config.id & 15);
    return (uint32_t)l->ldr << 24;
}

static uint32_t lapic_read_register(struct lapic *l, unsigned reg)
{
    if (reg >= REG_ISR && reg < REG_TMR)
        return l->isr[reg - REG_ISR];
    if (reg >= REG_TMR && reg < REG_IRR)
        return l->tmr[reg - REG_TMR];
    if (reg >= REG_IRR && reg < REG_ESR)
        return l->irr[reg - REG_IRR];
    if (reg >= REG_LVT && reg < REG_LVT + LAPIC_LVT_COUNT)
        return l->lvt[reg - REG_LVT];
    switch (reg) {
    case REG_ID:
        return lapic_x2apic_mode(l) ? l->config.id : (uint32_t)l->id << 24;
    case REG_VERSION:
        return VERSION | (LAPIC_LVT_COUNT - 1) << 16 |
               (l->config.eoi_suppression ? VERSION_EOI_SUPPRESS : 0);
    case REG_TPR:
        return l->tpr;
    case REG_APR:
        return lapic_arbitration_priority(l);
    case REG_PPR:
        return lapic_ppr(l);
    case REG_LDR:
        return lapic_read_ldr(l);
    case REG_DFR:
        return (uint32_t)l->dfr << 28 | 0x0fffffff;
    case REG_SVR:
        return l->svr;
    case REG_ESR:
        return l->esr;
    case REG_ICR_LOW:
        return (uint32_t)l->icr;
    case REG_ICR_HIGH:
        return l->icr >> 32;
    case REG_INITIAL_COUNT:
        return l->initial_count;
    case REG_CURRENT_COUNT:
        return lapic_timer_current(l);
    case REG_DIVIDE:
        return l->divide;
    default: /* REG_RRD: there is no APIC bus to read over */
        return 0;
    }
}

/* --- The page: registers are dwords at multiples of 16 --- */

/* Checks an access in the page; false if it has no effect (and reads zero). */
static bool mmio_access_ok(struct lapic *l, uint64_t offset, uint8_t wanted)
{
    unsigned reg = offset >> 4;
    uint8_t access = reg < REG_COUNT ? accesses[reg].xapic : 0;

    if (access == 0) {
        LOG(l->log, LOG_GUEST_ERROR, "lapic%u: access to reserved offset %03x\n", l->config.id,
            (unsigned)offset);
        lapic_error(l, ESR_ILLEGAL_REGISTER_ADDRESS);
        return false;
    }
    if (!(access & wanted)) {
        LOG(l->log, LOG_GUEST_ERROR, "lapic%u: register %03x is read or write only\n", l->config.id,
            (unsigned)offset);
        return false;
    }
    return true;
}

static uint64_t lapic_mmio_read(void *device, uint64_t offset, unsigned size)
{
    struct lapic *l = device;

    if (!lapic_mmio_enabled(l))
        return size_mask(size);
    if ((offset & 15) >= 4 || !mmio_access_ok(l, offset, R))
        return 0;
    return (uint64_t)lapic_read_register(l, offset >> 4) >> 8 * (offset & 3) & size_mask(size);
}

static void lapic_mmio_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct lapic *l = device;

    if (!lapic_mmio_enabled(l))
        return;
    if ((offset & 15) != 0 || size != 4) {
        LOG(l->log, LOG_GUEST_ERROR, "lapic%u: write of %u bytes at %03x\n", l->config.id, size,
            (unsigned)offset);
        return;
    }
    if (mmio_access_ok(l, offset, W))
        lapic_write_register(l, offset >> 4, value);
}

/* What it says of the timer depends on the clock's timers. */
static bool read_takes_lock(unsigned reg)
{
    return reg == REG_CURRENT_COUNT;
}

/* What may be written without the lock; EOI may turn out to need it. */
static bool write_may_try(unsigned reg)
{
    return reg == REG_TPR || reg == REG_EOI || reg == REG_ICR_LOW || reg == REG_ICR_HIGH ||
           reg == REG_SELF_IPI;
}

bool lapic_try_mmio_read(struct lapic *l, uint64_t offset, unsigned size, uint64_t *value)
{
    unsigned reg = offset >> 4;

    if (!lapic_mmio_enabled(l) || (offset & 15) + size > 4 || reg >= REG_COUNT ||
        !(accesses[reg].xapic & R) || read_takes_lock(reg))
        return false;
    *value = lapic_mmio_read(l, offset, size);
    return true;
}

bool lapic_try_mmio_write(struct lapic *l, uint64_t offset, unsigned size, uint64_t value)
{
    unsigned reg = offset >> 4;

    if (!lapic_mmio_enabled(l) || (offset & 15) != 0 || size != 4 || reg >= REG_COUNT ||
        !(accesses[reg].xapic & W) || !write_may_try(reg))
        return false;
    if (reg == REG_EOI)
        return lapic_try_end_of_interrupt(l);
    lapic_write_register(l, reg, value);
    return true;
}

const struct bus_region_ops lapic_mmio_ops = {"lapic", lapic_mmio_read, lapic_mmio_write, 4};

/* --- MSRs --- */

bool lapic_apic_base_write(struct lapic *l, uint64_t value)
{
    uint64_t legal = APIC_BASE_BSP | APIC_BASE_ENABLE | (l->config.x2apic ? APIC_BASE_EXTD : 0) |
                     (BIT64(l->config.physical_address_bits) - 1 - 0xfff);
    bool enable = (value & APIC_BASE_ENABLE) != 0;
    bool extd = (value & APIC_BASE_EXTD) != 0;

    if (value & ~legal)
        return false;
    if (extd && (!enable || !lapic_enabled(l)))
        return false;
    if (lapic_x2apic_mode(l) && enable && !extd)
        return false;
    if (extd && !lapic_x2apic_mode(l))
        l->icr = 0;
    if (!enable) {
        lapic_initialise_registers(l);
        l->id = l->config.id;
    }
    l->apic_base = value;
    lapic_check_intr(l);
    return true;
}

/* Section "Reserved Bit Checking": what WRMSR refuses. */
static bool x2apic_write_ok(const struct lapic *l, unsigned reg, uint64_t value)
{
    uint32_t writable = accesses[reg].x2_writable;
    uint64_t tested = value;

    if (reg == REG_ICR_LOW)
        tested = (uint32_t)value; /* the high half is the destination */
    else if (reg == REG_SVR)
        writable = svr_writable_bits(l);
    else if (reg >= REG_LVT && reg < REG_LVT + LAPIC_LVT_COUNT)
        writable = lvt_writable_bits(l, reg - REG_LVT) | LVT_READ_ONLY;
    if (reg == REG_LVT + LAPIC_LVT_TIMER && (value & LVT_TIMER_MODE) == LVT_TIMER_MODE)
        return false;
    return (tested & ~(uint64_t)writable) == 0;
}

static bool x2apic_read(struct lapic *l, unsigned reg, uint64_t *value)
{
    if (!lapic_x2apic_mode(l) || reg >= REG_COUNT || !(accesses[reg].x2apic & R))
        return false;
    *value = reg == REG_ICR_LOW ? l->icr : lapic_read_register(l, reg);
    return true;
}

static bool x2apic_write(struct lapic *l, unsigned reg, uint64_t value)
{
    if (!lapic_x2apic_mode(l) || reg >= REG_COUNT || !(accesses[reg].x2apic & W) ||
        !x2apic_write_ok(l, reg, value))
        return false;
    if (reg == REG_SELF_IPI) {
        lapic_send(l, ICR_TO_SELF | (uint32_t)value, 0);
    } else if (reg == REG_ICR_LOW) {
        l->icr = value;
        lapic_send(l, (uint32_t)value, value >> ICR_DEST_SHIFT);
    } else {
        lapic_write_register(l, reg, value);
    }
    return true;
}

bool lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t *value)
{
    if (msr == MSR_IA32_APIC_BASE) {
        *value = l->apic_base;
        return true;
    }
    if (msr == MSR_IA32_TSC_DEADLINE && l->config.tsc_deadline) {
        *value = lapic_tsc_deadline_read(l);
        return true;
    }
    return msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST &&
           x2apic_read(l, msr - MSR_X2APIC_FIRST, value);
}

bool lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t value)
{
    if (msr == MSR_IA32_APIC_BASE)
        return lapic_apic_base_write(l, value);
    if (msr == MSR_IA32_TSC_DEADLINE && l->config.tsc_deadline) {
        lapic_tsc_deadline_write(l, value);
        return true;
    }
    return msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST &&
           x2apic_write(l, msr - MSR_X2APIC_FIRST, value);
}

bool lapic_try_msr_read(struct lapic *l, uint32_t msr, uint64_t *value)
{
    return msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST &&
           !read_takes_lock(msr - MSR_X2APIC_FIRST) &&
           x2apic_read(l, msr - MSR_X2APIC_FIRST, value);
}

bool lapic_try_msr_write(struct lapic *l, uint32_t msr, uint64_t value)
{
    unsigned reg = msr - MSR_X2APIC_FIRST;

    if (msr < MSR_X2APIC_FIRST || msr > MSR_X2APIC_LAST || !write_may_try(reg))
        return false;
    if (reg == REG_EOI)
        return lapic_x2apic_mode(l) && value == 0 && lapic_try_end_of_interrupt(l);
    return x2apic_write(l, reg, value);
}
