#include "devices/pm.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/host/host.h"

#include <stdlib.h>
#include <string.h>

/* Configuration registers, datasheet 7.1 */
#define PMBASE        0x40
#define PMBASE_MASK   0xffc0u
#define CNTA          0x44 /* here and up to PMREGMISC: device monitors, kept and ignored */
#define DEVACTB       0x58
#define DEVACTB_APMC  0x02000000u
#define PMREGMISC     0x80
#define PMREGMISC_PMI 0x01 /* PM I/O space enable */
#define SMBBA         0x90
#define SMBHSTCFG     0xd2

#define PM1_STS_MASK (PM1_TMR | 0x0010 | PM1_GBL | PM1_PWRBTN | PM1_RTC | PM1_WAK)
#define PM1_EN_MASK  (PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_RTC)
#define PM1_CNT_MASK (PM1_CNT_SCI_EN | 0x0002 | PM1_CNT_SUS_TYP)

#define TIMER_MASK 0xffffffu
#define HALF_TURN  0x800000ull /* ticks between two changes of bit 23 */
#define TICK_LIMIT (1ull << 62)

/* Registers without effect that keep what is written, datasheet 7.2. */
static const struct {
    uint8_t first;
    uint8_t count;
} storage[] = {
    {0x10, 4},                 /* PCNTRL */
    {0x20, 2},                 /* GLBEN */
    {PM_GLBCTL, 4}, {0x2c, 4}, /* DEVCTL */
    {0x34, 4},                 /* GPOREG */
};

static uint64_t ticks_at(uint64_t ns)
{
    return mul_div(ns, PM_TIMER_HZ, NS_PER_SECOND);
}

/* The first nanosecond at which the timer has counted that far. */
static uint64_t ns_of_tick(uint64_t tick)
{
    uint64_t ns = mul_div(tick, NS_PER_SECOND, PM_TIMER_HZ);

    return ticks_at(ns) < tick ? ns + 1 : ns;
}

uint32_t pm_timer(const struct pm *pm)
{
    return (uint32_t)(ticks_at(clock_now(pm->clock)) & TIMER_MASK);
}

/* The timer sets its status bit unseen; it is brought in before the status matters. */
static void collect_overflow(struct pm *pm)
{
    if (ticks_at(clock_now(pm->clock)) >= pm->overflow_tick)
        pm->pm1_sts |= PM1_TMR;
}

static void clear_overflow(struct pm *pm)
{
    pm->pm1_sts &= (uint16_t)~PM1_TMR;
    pm->overflow_tick = align_down(ticks_at(clock_now(pm->clock)), HALF_TURN) + HALF_TURN;
}

/* SCI and the overflow timer follow the registers. */
static void update(struct pm *pm)
{
    bool level;

    collect_overflow(pm);
    level = (pm->pm1_cnt & PM1_CNT_SCI_EN) &&
            ((pm->pm1_sts & pm->pm1_en) || (pm->gpe_sts & pm->gpe_en));
    if (level != pm->sci_level) {
        pm->sci_level = level;
        irq_set(&pm->wiring.sci, level);
    }
    if ((pm->pm1_en & PM1_TMR) && !(pm->pm1_sts & PM1_TMR))
        timer_arm(&pm->overflow, ns_of_tick(pm->overflow_tick));
    else
        timer_cancel(&pm->overflow);
}

static void overflow_fired(void *opaque, uint64_t now)
{
    (void)now;
    update(opaque);
}

void pm_power_button(struct pm *pm)
{
    pm->pm1_sts |= PM1_PWRBTN;
    update(pm);
}

void pm_rtc_alarm(struct pm *pm)
{
    pm->pm1_sts |= PM1_RTC;
    update(pm);
}

void pm_raise_gpe(struct pm *pm, unsigned n)
{
    CHECK(n < 16);
    pm->gpe_sts |= (uint16_t)BIT(n);
    update(pm);
}

/* The sleep that SUS_TYP names. Nothing but soft off is implemented: the others wake at once. */
static void enter_sleep(struct pm *pm)
{
    unsigned type = (pm->pm1_cnt & PM1_CNT_SUS_TYP) >> 10;

    if (type == PM_SUS_TYP_S5) {
        LOG(pm->log, LOG_DEVICE, "pm: soft off\n");
        if (pm->wiring.power_off != NULL)
            pm->wiring.power_off(pm->wiring.opaque);
        return;
    }
    LOG(pm->log, LOG_UNIMP, "pm: sleep type %u is not implemented, waking at once\n", type);
    pm->pm1_sts |= PM1_WAK;
}

static bool is_storage(unsigned offset)
{
    for (size_t i = 0; i < ARRAY_SIZE(storage); i++) {
        if (offset >= storage[i].first && offset < storage[i].first + storage[i].count)
            return true;
    }
    return false;
}

static uint16_t read_word(struct pm *pm, unsigned offset, uint32_t timer)
{
    switch (offset) {
    case PM1_STS:
        collect_overflow(pm);
        return pm->pm1_sts;
    case PM1_EN:
        return pm->pm1_en;
    case PM1_CNT:
        return pm->pm1_cnt;
    case PM_TMR:
        return (uint16_t)timer;
    case PM_TMR + 2:
        return (uint16_t)(timer >> 16);
    case PM_GPSTS:
        return pm->gpe_sts;
    case PM_GPEN:
        return pm->gpe_en;
    case PM_GLBSTS:
        return pm->glb_sts;
    default: /* other[] is 0 but for the storage; PLVL2 and PLVL3 read as 0, too */
        return (uint16_t)(pm->other[offset] | pm->other[offset + 1] << 8);
    }
}

static uint16_t merge(uint16_t old, uint16_t value, uint16_t mask)
{
    return (uint16_t)((old & ~mask) | (value & mask));
}

/* Writes the bits of mask (the bytes that the access covers) of the word at offset. */
static void write_word(struct pm *pm, unsigned offset, uint16_t value, uint16_t mask)
{
    switch (offset) {
    case PM1_STS:
        collect_overflow(pm);
        pm->pm1_sts &= (uint16_t) ~(value & mask & PM1_STS_MASK);
        if (value & mask & PM1_TMR)
            clear_overflow(pm);
        break;
    case PM1_EN:
        pm->pm1_en = merge(pm->pm1_en, value, mask & PM1_EN_MASK);
        break;
    case PM1_CNT:
        pm->pm1_cnt = merge(pm->pm1_cnt, value, mask & PM1_CNT_MASK);
        if (value & mask & PM1_CNT_SUS_EN)
            enter_sleep(pm);
        break;
    case PM_GPSTS:
        pm->gpe_sts &= (uint16_t) ~(value & mask);
        break;
    case PM_GLBSTS:
        pm->glb_sts &= (uint16_t) ~(value & mask);
        break;
    case PM_GPEN:
        pm->gpe_en = merge(pm->gpe_en, value, mask);
        break;
    default:
        if ((mask & 0xff) && is_storage(offset))
            pm->other[offset] = (uint8_t)value;
        if ((mask & 0xff00) && is_storage(offset + 1))
            pm->other[offset + 1] = (uint8_t)(value >> 8);
        break;
    }
}

static uint64_t pm_read(void *device, uint64_t offset, unsigned size)
{
    struct pm *pm = device;
    uint32_t timer = pm_timer(pm); /* once: a wide read is one sample */
    uint64_t value = 0;
    unsigned first = (unsigned)offset & ~1u, end = (unsigned)offset + size;

    for (unsigned word = first; word < end && word < PM_PORT_COUNT; word += 2)
        value |= (uint64_t)read_word(pm, word, timer) << 8 * (word - first);
    return value >> 8 * (offset - first);
}

static void pm_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct pm *pm = device;
    unsigned first = (unsigned)offset & ~1u, end = (unsigned)offset + size;
    uint64_t mask = size_mask(size) << 8 * (offset - first);

    value <<= 8 * (offset - first);
    for (unsigned word = first; word < end && word < PM_PORT_COUNT; word += 2) {
        unsigned shift = 8 * (word - first);
        write_word(pm, word, (uint16_t)(value >> shift), (uint16_t)(mask >> shift));
    }
    update(pm);
}

static uint64_t gpe_read(void *device, uint64_t offset, unsigned size)
{
    return pm_read(device, PM_GPSTS + offset, size) & size_mask(size);
}

static void gpe_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    pm_write(device, PM_GPSTS + offset, value, size);
}

static uint64_t smi_read(void *device, uint64_t offset, unsigned size)
{
    struct pm *pm = device;

    (void)size;
    return offset == 0 ? pm->apmc : pm->apms;
}

static bool smi_enabled(const struct pm *pm)
{
    return (pci_get_u32(&pm->f, DEVACTB) & DEVACTB_APMC) &&
           (pm->other[PM_GLBCTL] & PM_GLBCTL_SMI_EN);
}

static void smi_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct pm *pm = device;

    (void)size;
    if (offset != 0) {
        pm->apms = (uint8_t)value;
        return;
    }
    pm->apmc = (uint8_t)value;
    if (value == PM_ACPI_ENABLE)
        pm->pm1_cnt |= PM1_CNT_SCI_EN;
    else if (value == PM_ACPI_DISABLE)
        pm->pm1_cnt &= (uint16_t)~PM1_CNT_SCI_EN;
    update(pm);
    if (smi_enabled(pm)) {
        pm->glb_sts |= PM_GLBSTS_APM;
        if (pm->wiring.smi != NULL)
            pm->wiring.smi(pm->wiring.opaque);
    } else {
        LOG(pm->log, LOG_DEVICE, "pm: command %02x while SMIs are off\n", (unsigned)value);
    }
}

static const struct bus_region_ops pm_ops = {"pm", pm_read, pm_write, 4};
static const struct bus_region_ops gpe_ops = {"pm gpe", gpe_read, gpe_write, 2};
static const struct bus_region_ops smi_ops = {"pm smi", smi_read, smi_write, 1};

/* Brings the place of the PM ports in line with PMBASE and PMREGMISC. */
static bool update_base(struct pm *pm, struct error *err)
{
    uint16_t base = (uint16_t)(pci_get_u32(&pm->f, PMBASE) & PMBASE_MASK);
    bool wanted = (pm->f.config[PMREGMISC] & PMREGMISC_PMI) && base != 0;

    if (pm->mapped && wanted && base == pm->base)
        return true;
    if (pm->mapped)
        bus_remove_ports(pm->bus, pm->base);
    pm->base = base;
    pm->mapped = wanted && bus_add_ports(pm->bus, base, PM_PORT_COUNT, &pm_ops, pm, err);
    return pm->mapped || !wanted;
}

static void base_written(struct pm *pm)
{
    struct error err = {0};

    if (!update_base(pm, &err))
        LOG(pm->log, LOG_GUEST_ERROR, "pm: PMBASE stays unmapped: %s\n", err.text);
}

static void config_written(struct pci_function *f, unsigned offset, unsigned size)
{
    (void)size;
    if ((offset & 0xfc) == PMBASE || (offset & 0xfc) == PMREGMISC)
        base_written(f->device);
}

static void init_function(struct pm *pm)
{
    struct pci_function *f = &pm->f;

    pci_function_init(f, "PIIX4 PM", 0x8086, 0x7113, 3, 0x068000, 1);
    pci_set_u16(f, PCI_STATUS, 0x0280, 0);
    pci_set_u8(f, PCI_INTERRUPT_LINE, PM_SCI_IRQ, 0xff);
    pci_set_u32(f, PMBASE, pm->default_base | 1u, PMBASE_MASK);
    for (unsigned offset = CNTA; offset < PMREGMISC; offset += 4)
        pci_set_u32(f, offset, 0, 0xffffffff);
    pci_set_u32(f, DEVACTB, pm->default_base != 0 ? DEVACTB_APMC : 0, 0xffffffff);
    pci_set_u8(f, PMREGMISC, pm->default_base != 0 ? PMREGMISC_PMI : 0, PMREGMISC_PMI);
    pci_set_u32(f, SMBBA, 1, 0xfff0);
    pci_set_u8(f, SMBHSTCFG, 0, 0x0f);
    f->device = pm;
    f->config_written = config_written;
}

static void reset_registers(struct pm *pm)
{
    pm->pm1_sts = 0;
    pm->pm1_en = 0;
    pm->pm1_cnt = 0;
    pm->gpe_sts = 0;
    pm->gpe_en = 0;
    pm->glb_sts = 0;
    pm->apmc = 0;
    pm->apms = 0;
    memset(pm->other, 0, sizeof(pm->other));
    clear_overflow(pm);
    update(pm);
}

struct pm *pm_create(struct bus *bus, struct log *log, struct clock *clock, struct pci_host *host,
                     uint8_t devfn, uint16_t default_base, const struct pm_wiring *wiring,
                     struct error *err)
{
    struct pm *pm = host_alloc(sizeof(*pm));

    CHECK((default_base & ~PMBASE_MASK) == 0);
    pm->bus = bus;
    pm->log = log;
    pm->clock = clock;
    pm->wiring = *wiring;
    pm->default_base = default_base;
    init_function(pm);
    if (!pci_add_function(host, &pm->f, devfn, err))
        goto no_function;
    if (!bus_add_ports(bus, PM_GPE_ALIAS, PM_GPE_PORT_COUNT, &gpe_ops, pm, err))
        goto no_gpe;
    if (!bus_add_ports(bus, PM_SMI_CMD, PM_SMI_PORT_COUNT, &smi_ops, pm, err))
        goto no_smi;
    if (!update_base(pm, err))
        goto no_base;
    timer_init(&pm->overflow, clock, "pm.overflow", overflow_fired, pm);
    reset_registers(pm);
    return pm;

no_base:
    bus_remove_ports(bus, PM_SMI_CMD);
no_smi:
    bus_remove_ports(bus, PM_GPE_ALIAS);
no_gpe:
    pci_remove_function(&pm->f);
no_function:
    free(pm);
    return NULL;
}

void pm_reset(struct pm *pm)
{
    pci_function_reset(&pm->f);
    base_written(pm);
    reset_registers(pm);
}

void pm_destroy(struct pm *pm)
{
    if (pm == NULL)
        return;
    timer_destroy(&pm->overflow);
    if (pm->mapped)
        bus_remove_ports(pm->bus, pm->base);
    bus_remove_ports(pm->bus, PM_SMI_CMD);
    bus_remove_ports(pm->bus, PM_GPE_ALIAS);
    pci_remove_function(&pm->f);
    free(pm);
}

void pm_serialize(struct pm *pm, struct state *s)
{
    state_section(s, "pm", 2);
    pci_function_serialize(&pm->f, s);
    state_bool(s, &pm->sci_level);
    state_u16(s, &pm->pm1_sts);
    state_u16(s, &pm->pm1_en);
    state_u16(s, &pm->pm1_cnt);
    state_u16(s, &pm->gpe_sts);
    state_u16(s, &pm->gpe_en);
    state_u16(s, &pm->glb_sts);
    state_check(s, !(pm->glb_sts & ~PM_GLBSTS_APM), "GLBSTS has reserved bits");
    state_u8(s, &pm->apmc);
    state_u8(s, &pm->apms);
    state_bytes(s, pm->other, sizeof(pm->other));
    state_u64(s, &pm->overflow_tick);
    timer_serialize(&pm->overflow, s);
    state_check(s,
                !(pm->pm1_sts & ~PM1_STS_MASK) && !(pm->pm1_en & ~PM1_EN_MASK) &&
                    !(pm->pm1_cnt & ~PM1_CNT_MASK),
                "a power management register has reserved bits");
    state_check(s, pm->overflow_tick < TICK_LIMIT && pm->overflow_tick % HALF_TURN == 0,
                "the power management timer is out of range");
    for (unsigned i = 0; i < PM_PORT_COUNT; i++)
        state_check(s, pm->other[i] == 0 || is_storage(i),
                    "a read-only power management register is not zero");
    if (!state_is_loading(s))
        return;
    if (state_failed(s))
        pm->overflow_tick = 0;
    base_written(pm);
}
