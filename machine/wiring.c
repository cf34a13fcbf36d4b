/*
 * Who is connected to whom.
 *
 *   ISA interrupt n   -> PIC input n, I/O APIC pin n (0: pin 2, as the MADT says)
 *   PIRQA#..D#        -> I/O APIC pins 16 to 19; by way of the ISA bridge to ISA interrupts
 *   HPET              -> I/O APIC pins 20 to 23; in legacy replacement mode to interrupts 0 and 8
 *   PIC INT           -> LINT0 of the local APICs -> INTR of their processors
 *   I/O APIC, IPIs    -> local APICs
 *   FERR#             -> ISA interrupt 13; port F0h -> IGNNE#
 *   port 92h, 8042    -> A20 gate, reset
 */
#include "machine/internal.h"

#include "base/bits.h"
#include "base/check.h"
#include "machine/board.h"
#include "mmu/safepoint.h"

#define HPET_ROUTES        0x00f00000u
#define PM_DEVFN           PCI_DEVFN(1, 3)
#define ISA_PIN(source, n) ((unsigned)(source) << 8 | (n))

/* --- Interrupts --- */

/* An irq_line with a pin made by ISA_PIN. */
static void isa_irq_set(void *listener, unsigned pin, bool level)
{
    struct machine *m = listener;
    unsigned irq = pin & 0xff;
    uint8_t source = (uint8_t)BIT(pin >> 8), *sources;

    CHECK(irq < 16);
    if (m->pic == NULL) /* destroyed before a function that lets go of its interrupt */
        return;
    sources = &m->irq_sources[irq];
    *sources = level ? *sources | source : *sources & ~source;
    level = *sources != 0;
    pic_set_irq(m->pic, irq, level);
    ioapic_set_irq(m->ioapic, irq == PIT_IRQ ? PIT_IOAPIC_PIN : irq, level);
}

static struct irq_line isa_irq(struct machine *m, enum irq_source source, unsigned irq)
{
    return (struct irq_line){isa_irq_set, m, ISA_PIN(source, irq)};
}

static void pic_int_set(void *listener, unsigned pin, bool level)
{
    struct machine *m = listener;

    for (unsigned n = 0; n < m->processor_count; n++)
        if (m->processors[n].lapic != NULL) /* not yet, while the PIC is being created */
            lapic_set_lint(m->processors[n].lapic, pin, level);
}

/* From here to cpu_startup: with the device lock or without. */
static void cpu_intr_set(void *listener, unsigned pin, bool level)
{
    struct machine_processor *p = listener;

    (void)pin;
    if (((atomic_load(&p->vcpu->pending) & VCPU_PENDING_INTR) != 0) == level)
        return; /* and whoever raised it has woken the processor */
    vcpu_signal(p->vcpu, level ? VCPU_PENDING_INTR : 0, level ? 0 : VCPU_PENDING_INTR);
    if (level)
        machine_wake_processor(p);
}

/* One of those that accept the message, but not `except`: the least busy, and the first among
 * equals. */
static struct lapic *least_busy(struct machine *m, const struct apic_message *message,
                                const struct lapic *except)
{
    struct lapic *best = NULL;

    for (unsigned n = 0; n < m->processor_count; n++) {
        struct lapic *l = m->processors[n].lapic;

        if (l != except && lapic_accepts(l, message) && lapic_takes_interrupts(l) &&
            (best == NULL || lapic_arbitration_priority(l) < lapic_arbitration_priority(best)))
            best = l;
    }
    return best;
}

/* Interrupt messages, to all local APICs that accept them but `except`. */
static void route_message(struct machine *m, const struct apic_message *message,
                          const struct lapic *except)
{
    if (message->delivery_mode == APIC_DELIVERY_LOWEST) {
        struct lapic *l = least_busy(m, message, except);

        if (l != NULL)
            lapic_deliver(l, message);
        return;
    }
    for (unsigned n = 0; n < m->processor_count; n++) {
        struct lapic *l = m->processors[n].lapic;

        if (l != except && lapic_accepts(l, message))
            lapic_deliver(l, message);
    }
}

static void deliver_message(void *opaque, const struct apic_message *message)
{
    route_message(opaque, message, NULL);
}

static void deliver_ipi(void *opaque, const struct apic_message *message)
{
    struct machine_processor *p = opaque;

    route_message(p->machine, message, message->exclude_sender ? p->lapic : NULL);
}

static void end_of_interrupt(void *opaque, uint8_t vector)
{
    struct machine_processor *p = opaque;

    ioapic_eoi(p->machine->ioapic, vector);
}

static void cpu_signal_and_wake(struct machine_processor *p, uint32_t pending)
{
    vcpu_signal(p->vcpu, pending, 0);
    machine_wake_processor(p);
}

static void cpu_nmi(void *opaque)
{
    cpu_signal_and_wake(opaque, VCPU_PENDING_NMI);
}

static void cpu_smi(void *opaque)
{
    cpu_signal_and_wake(opaque, VCPU_PENDING_SMI);
}

/* A start-up message that it has not looked at came before, and means nothing behind it. */
static void cpu_init(void *opaque)
{
    struct machine_processor *p = opaque;

    vcpu_signal(p->vcpu, 0, VCPU_PENDING_STARTUP);
    cpu_signal_and_wake(p, VCPU_PENDING_INIT);
}

static void cpu_startup(void *opaque, uint8_t vector)
{
    struct machine_processor *p = opaque;

    atomic_store(&p->vcpu->startup_vector, vector);
    cpu_signal_and_wake(p, VCPU_PENDING_STARTUP);
}

/* The chipset's SMI# goes to the boot processor: nobody has given the others an SMRAM of their own
 * without firmware. */
static void chipset_smi(void *opaque)
{
    struct machine *m = opaque;

    cpu_smi(&m->processors[0]);
}

static void hpet_legacy(void *opaque, bool on)
{
    struct machine *m = opaque;

    pit_connect_irq0(m->pit, !on);
    rtc_connect_irq8(m->rtc, !on);
}

/* --- Resets, power, exits --- */

static void reset_request(void *opaque)
{
    machine_request_reset_locked(opaque);
}

/* There is no firmware that a processor reset would leave to put the rest in order, so both kinds
 * reset everything. */
static void pci_reset_request(void *opaque, bool hard)
{
    (void)hard;
    machine_request_reset_locked(opaque);
}

static void power_off(void *opaque)
{
    machine_request_power_off_locked(opaque);
}

static void debug_exit(void *opaque, uint32_t status)
{
    machine_end_locked(opaque, MACHINE_END_DEBUG_EXIT, status,
                       "the guest wrote %#x to isa-debug-exit", status >> 1);
}

static void exit_port(void *opaque, uint32_t status)
{
    machine_end_locked(opaque, MACHINE_END_EXIT_PORT, status,
                       "the guest wrote %#x to the exit port", status);
}

static void guest_panicked(void *opaque, uint8_t events)
{
    struct machine *m = opaque;

    if (events & PVPANIC_PANICKED)
        machine_end_locked(m, MACHINE_END_PANIC, 0, "the guest panicked (pvpanic)");
    else
        LOG(m->log, LOG_DEVICE, "machine: pvpanic events %#x\n", events);
}

/* Port F0h: IGNNE# is active as long as FERR# is. */
static void ignore_x87_error(void *opaque)
{
    struct machine *m = opaque;

    for (unsigned n = 0; n < m->processor_count; n++) {
        struct vcpu *cpu = m->processors[n].vcpu;

        cpu->x87_ignore = cpu->x87_error_pin;
    }
}

static void update_a20(struct machine_processor *p)
{
    mmu_set_a20(&p->vcpu->mmu, p->machine->a20_sources != 0 || p->vcpu->smm);
}

/* 82441FX datasheet 3.2.22 */
static enum mmu_smram smram_seen(const struct machine *m, const struct vcpu *cpu)
{
    if (!(m->smram & PCI_SMRAM_ENABLE))
        return MMU_SMRAM_HIDDEN;
    if (m->smram & PCI_SMRAM_OPEN)
        return MMU_SMRAM_OPEN;
    if (cpu->smm)
        return m->smram & PCI_SMRAM_CLOSE ? MMU_SMRAM_CODE : MMU_SMRAM_OPEN;
    return MMU_SMRAM_HIDDEN;
}

static void update_smram(struct machine_processor *p)
{
    mmu_set_smram(&p->vcpu->mmu, smram_seen(p->machine, p->vcpu));
}

/* Now, or when the processor that runs on another thread has come to the end of its block. */
static void update_all(struct machine *m, void (*update)(struct machine_processor *p))
{
    for (unsigned n = 0; n < m->processor_count; n++) {
        if (machine_runs_elsewhere(&m->processors[n]))
            vcpu_signal(m->processors[n].vcpu, VCPU_PENDING_CHIPSET, 0);
        else
            update(&m->processors[n]);
    }
}

void machine_update_a20(struct machine *m)
{
    update_all(m, update_a20);
}

void machine_update_smram(struct machine *m)
{
    update_all(m, update_smram);
}

static void smram_changed(void *opaque, uint8_t value)
{
    struct machine *m = opaque;

    m->smram = value;
    machine_update_smram(m);
}

static void a20_set(void *listener, unsigned pin, bool level)
{
    struct machine *m = listener;
    uint8_t bit = (uint8_t)BIT(pin);

    m->a20_sources = level ? m->a20_sources | bit : m->a20_sources & ~bit;
    machine_update_a20(m);
}

/* --- The processor's side: struct vcpu_platform --- */

/* The device lock, for a processor that runs: it is parked while it waits. It does not wait to be
 * let go by who holds it with the lock in its hands, for that one may want the lock, too. */
static void lock_for(struct machine_processor *p)
{
    struct machine *m = p->machine;
    struct mmu_context *mmu = &p->vcpu->mmu;

    if (m->crew.count == 0 || mmu_is_parked(mmu)) {
        machine_lock(m);
        return;
    }
    if (pthread_mutex_trylock(&m->device_lock) == 0)
        return;
    mmu_park(mmu);
    for (;;) {
        machine_lock(m);
        if (mmu_try_unpark(mmu))
            return;
        machine_unlock(m);
        mmu_wait_free(mmu);
    }
}

static void platform_lock(void *opaque)
{
    struct machine_processor *p = opaque;

    lock_for(p);
    p->machine->accessor = p;
}

static void platform_unlock(void *opaque)
{
    struct machine_processor *p = opaque;

    p->machine->accessor = NULL;
    machine_unlock(p->machine);
}

static int platform_acknowledge(void *opaque)
{
    struct machine_processor *p = opaque;
    struct machine *m = p->machine;
    int vector;

    if (!lapic_try_acknowledge(p->lapic, &vector)) {
        lock_for(p);
        vector = lapic_acknowledge(p->lapic);
        if (vector == LAPIC_ACK_EXTINT)
            vector = pic_acknowledge(m->pic);
        machine_unlock(m);
    }
    return vector == LAPIC_ACK_NONE ? -1 : vector;
}

static void platform_check_intr(void *opaque)
{
    lapic_check_intr(((struct machine_processor *)opaque)->lapic);
}

static void platform_wake(void *opaque)
{
    machine_wake_processor(opaque);
}

static void platform_init(void *opaque)
{
    struct machine_processor *p = opaque;

    lock_for(p);
    lapic_init(p->lapic);
    machine_unlock(p->machine);
}

static bool platform_own_read(void *opaque, unsigned offset, unsigned size, uint64_t *value)
{
    return lapic_try_mmio_read(((struct machine_processor *)opaque)->lapic, offset, size, value);
}

static bool platform_own_write(void *opaque, unsigned offset, unsigned size, uint64_t value)
{
    return lapic_try_mmio_write(((struct machine_processor *)opaque)->lapic, offset, size, value);
}

static bool platform_apic_msr_read(void *opaque, uint32_t msr, uint64_t *value)
{
    struct machine_processor *p = opaque;
    bool ok;

    if (lapic_try_msr_read(p->lapic, msr, value))
        return true;
    lock_for(p);
    lapic_set_tsc_offset(p->lapic, p->vcpu->tsc_offset);
    ok = lapic_msr_read(p->lapic, msr, value);
    machine_unlock(p->machine);
    return ok;
}

static bool platform_apic_msr_write(void *opaque, uint32_t msr, uint64_t value)
{
    struct machine_processor *p = opaque;
    bool ok;

    if (lapic_try_msr_write(p->lapic, msr, value))
        return true;
    lock_for(p);
    lapic_set_tsc_offset(p->lapic, p->vcpu->tsc_offset);
    ok = lapic_msr_write(p->lapic, msr, value);
    if (ok && msr == MSR_IA32_APIC_BASE)
        machine_map_lapics(p->machine);
    machine_unlock(p->machine);
    return ok;
}

static uint8_t platform_cr8_read(void *opaque)
{
    return lapic_tpr(((struct machine_processor *)opaque)->lapic) >> 4;
}

static void platform_cr8_write(void *opaque, uint8_t value)
{
    lapic_set_tpr(((struct machine_processor *)opaque)->lapic, (uint8_t)(value << 4));
}

static void platform_ferr(void *opaque)
{
    struct machine_processor *p = opaque;
    struct machine *m = p->machine;

    lock_for(p);
    ferr_raise(m->ferr);
    machine_unlock(m);
}

static void platform_chipset(void *opaque)
{
    struct machine_processor *p = opaque;

    lock_for(p);
    update_smram(p);
    update_a20(p);
    machine_unlock(p->machine);
}

static void platform_smm(void *opaque, bool active)
{
    (void)active; /* vcpu.smm says it, too */
    platform_chipset(opaque);
}

struct vcpu_platform machine_platform(struct machine_processor *p)
{
    return (struct vcpu_platform){
        .opaque = p,
        .acknowledge = platform_acknowledge,
        .check_intr = platform_check_intr,
        .wake = platform_wake,
        .init = platform_init,
        .apic_msr_read = platform_apic_msr_read,
        .apic_msr_write = platform_apic_msr_write,
        .cr8_read = platform_cr8_read,
        .cr8_write = platform_cr8_write,
        .ferr = platform_ferr,
        .smm = platform_smm,
        .chipset = platform_chipset,
        .lock = platform_lock,
        .unlock = platform_unlock,
        .own_read = platform_own_read,
        .own_write = platform_own_write,
        .trace_block = machine_trace_block,
    };
}

/* The local APIC that a processor reaches at the page of another's; NULL: none. */
static struct lapic *reached_lapic(const struct machine_processor *page)
{
    const struct machine_processor *p = page->machine->accessor;

    if (p == NULL)
        p = page; /* a tool's access */
    return lapic_mmio_enabled(p->lapic) && lapic_base(p->lapic) == lapic_base(page->lapic)
               ? p->lapic
               : NULL;
}

static uint64_t lapic_page_read(void *device, uint64_t offset, unsigned size)
{
    struct lapic *l = reached_lapic(device);

    return l != NULL ? lapic_mmio_ops.read(l, offset, size) : UINT64_MAX;
}

static void lapic_page_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct lapic *l = reached_lapic(device);

    if (l != NULL)
        lapic_mmio_ops.write(l, offset, value, size);
}

static const struct bus_region_ops lapic_page_ops = {"lapic", lapic_page_read, lapic_page_write, 4};

static uint64_t wanted_page(const struct machine_processor *p)
{
    return lapic_mmio_enabled(p->lapic) ? lapic_base(p->lapic) : 0;
}

/* Has a processor before this one its page at the same place? */
static bool page_is_shared(const struct machine *m, unsigned n)
{
    for (unsigned k = 0; k < n; k++)
        if (wanted_page(&m->processors[k]) == wanted_page(&m->processors[n]))
            return true;
    return false;
}

static void map_page(struct machine_processor *p, uint64_t base)
{
    struct machine *m = p->machine;
    struct error err = {0};

    if (base == p->lapic_mapped)
        return;
    if (p->lapic_mapped != 0)
        bus_remove_mmio(m->bus, gpa(p->lapic_mapped));
    p->lapic_mapped = 0;
    if (base == 0)
        return;
    if (bus_add_mmio(m->bus, gpa(base), LAPIC_PAGE_SIZE, &lapic_page_ops, p, &err))
        p->lapic_mapped = base;
    else
        LOG(m->log, LOG_GUEST_ERROR, "machine: the local APIC cannot be at %#llx: %s\n",
            (unsigned long long)base, err.text);
}

/* Where the processor reaches its local APIC: if the bus has room for a page there. */
static uint64_t own_page(const struct machine_processor *p)
{
    const struct machine *m = p->machine;

    for (unsigned n = 0; n < m->processor_count; n++)
        if (m->processors[n].lapic_mapped == wanted_page(p))
            return wanted_page(p);
    return 0;
}

/* One region for all local APICs with the same base, in the name of the first processor. What goes
 * comes before what is new: it may be at the same place. */
void machine_map_lapics(struct machine *m)
{
    for (unsigned n = 0; n < m->processor_count; n++) {
        struct machine_processor *p = &m->processors[n];

        if (page_is_shared(m, n) || wanted_page(p) != p->lapic_mapped)
            map_page(p, 0);
    }
    for (unsigned n = 0; n < m->processor_count; n++)
        if (!page_is_shared(m, n))
            map_page(&m->processors[n], wanted_page(&m->processors[n]));
    for (unsigned n = 0; n < m->processor_count; n++)
        if (!machine_runs_elsewhere(&m->processors[n])) /* else it did not ask for a move */
            m->processors[n].vcpu->mmu.own_page = own_page(&m->processors[n]);
}

/* --- Creation --- */

static void create_lapic(struct machine_processor *p)
{
    struct machine *m = p->machine;
    const struct lapic_config config = {
        .id = p->vcpu->apic_id,
        .boot_processor = p->vcpu->index == 0,
        .physical_address_bits = m->model.physical_bits,
        .tsc_hz = MACHINE_TSC_HZ,
        .bus_hz = LAPIC_BUS_HZ,
        .x2apic = cpu_has(p->vcpu, FEATURE_X2APIC),
        .tsc_deadline = cpu_has(p->vcpu, FEATURE_TSC_DEADLINE),
    };
    const struct lapic_callbacks callbacks = {
        .opaque = p,
        .send = deliver_ipi,
        .eoi = end_of_interrupt,
        .nmi = cpu_nmi,
        .smi = cpu_smi,
        .init = cpu_init,
        .startup = cpu_startup,
    };

    p->lapic =
        lapic_create(m->log, &m->clock, &config, &callbacks, (struct irq_line){cpu_intr_set, p, 0});
}

static bool create_interrupt_controllers(struct machine *m, struct error *err)
{
    m->pic = pic_create(m->bus, m->log, (struct irq_line){pic_int_set, m, 0}, err);
    if (m->pic == NULL)
        return false;
    m->ioapic = ioapic_create(m->bus, m->log, deliver_message, m, err);
    if (m->ioapic == NULL)
        return false;
    for (unsigned n = 0; n < m->processor_count; n++)
        create_lapic(&m->processors[n]);
    machine_map_lapics(m);
    return true;
}

static struct hpet_config hpet_wiring(struct machine *m)
{
    struct hpet_config c = {
        .timer_count = HPET_TIMER_COUNT,
        .route_capability = HPET_ROUTES,
        .irq0 = isa_irq(m, IRQ_SOURCE_HPET, PIT_IRQ),
        .irq8 = isa_irq(m, IRQ_SOURCE_HPET, RTC_IRQ),
        .legacy = hpet_legacy,
        .legacy_opaque = m,
    };

    for (unsigned pin = 0; pin < HPET_PIN_COUNT; pin++) {
        if (HPET_ROUTES & BIT(pin))
            c.pins[pin] = (struct irq_line){ioapic_set_irq, m->ioapic, pin};
    }
    return c;
}

static bool create_timers(struct machine *m, struct error *err)
{
    m->pit = pit_create(m->bus, m->log, &m->clock, isa_irq(m, IRQ_SOURCE_ISA, PIT_IRQ), err);
    if (m->pit == NULL)
        return false;
    m->rtc = rtc_create(m->bus, m->log, &m->clock, m->config.rtc_start,
                        isa_irq(m, IRQ_SOURCE_ISA, RTC_IRQ), err);
    if (m->rtc == NULL)
        return false;
    if (m->config.hpet) {
        struct hpet_config config = hpet_wiring(m);

        m->hpet = hpet_create(m->bus, m->log, &m->clock, &config, err);
        if (m->hpet == NULL)
            return false;
    }
    return true;
}

static bool create_chipset(struct machine *m, struct error *err)
{
    struct pci_wiring pci = {.reset = pci_reset_request, .smram = smram_changed, .opaque = m};
    const struct pm_wiring pm = {
        .sci = isa_irq(m, IRQ_SOURCE_SCI, PM_SCI_IRQ),
        .power_off = power_off,
        .smi = chipset_smi,
        .opaque = m,
    };

    for (unsigned n = 0; n < 16; n++)
        pci.irq[n] = isa_irq(m, IRQ_SOURCE_PCI, n);
    for (unsigned n = 0; n < 4; n++)
        pci.pirq[n] = (struct irq_line){ioapic_set_irq, m->ioapic, PIRQ_FIRST_PIN + n};
    m->pci = pci_create(m->bus, m->log, &pci, err);
    if (m->pci == NULL)
        return false;
    m->pm = pm_create(m->bus, m->log, &m->clock, m->pci, PM_DEVFN, PM_DEFAULT_BASE, &pm, err);
    if (m->pm == NULL)
        return false;
    m->ferr = ferr_create(m->bus, isa_irq(m, IRQ_SOURCE_ISA, FERR_IRQ), ignore_x87_error, m, err);
    if (m->ferr == NULL)
        return false;
    m->port92 = port92_create(m->bus, m->log, (struct irq_line){a20_set, m, A20_PORT92},
                              reset_request, m, err);
    return m->port92 != NULL;
}

static bool create_keyboard(struct machine *m, struct error *err)
{
    const struct i8042_wiring wiring = {
        .irq1 = isa_irq(m, IRQ_SOURCE_ISA, KEYBOARD_IRQ),
        .irq12 = isa_irq(m, IRQ_SOURCE_ISA, MOUSE_IRQ),
        .a20 = {a20_set, m, A20_I8042},
        .reset = reset_request,
        .opaque = m,
    };

    m->i8042 = i8042_create(m->bus, m->log, &m->clock, &wiring, err);
    return m->i8042 != NULL;
}

static bool create_serial_ports(struct machine *m, struct error *err)
{
    static const struct board_serial rows[MACHINE_SERIAL_COUNT] = BOARD_SERIAL_PORTS;
    struct uart **fields[MACHINE_SERIAL_COUNT] = {&m->com1, &m->com2, &m->com3, &m->com4};

    for (unsigned n = 0; n < MACHINE_SERIAL_COUNT; n++) {
        /* Two ports share a wire, so each of them has its own switch to it. */
        enum irq_source source = n < 2 ? IRQ_SOURCE_ISA : IRQ_SOURCE_COM;

        if (m->config.serial[n] == NULL)
            continue;
        *fields[n] = uart_create(m->bus, m->log, &m->clock, rows[n].port, rows[n].name,
                                 isa_irq(m, source, rows[n].irq), m->config.serial[n], err);
        if (*fields[n] == NULL)
            return false;
    }
    return true;
}

static bool create_debug_ports(struct machine *m, struct error *err)
{
    const struct machine_config *c = &m->config;

    if (c->debugcon != NULL) {
        m->debugcon = debugport_create(m->bus, c->debugcon_port, c->debugcon, err);
        if (m->debugcon == NULL)
            return error_prefix(err, "debug console");
    }
    if (c->debug_exit) {
        m->debug_exit = exitport_create_isa_debug(m->bus, m->log, c->debug_exit_port,
                                                  c->debug_exit_size, debug_exit, m, err);
        if (m->debug_exit == NULL)
            return error_prefix(err, "isa-debug-exit");
    }
    if (c->exit_port) {
        m->exit_port = exitport_create(m->bus, m->log, exit_port, m, err);
        if (m->exit_port == NULL)
            return error_prefix(err, "exit port");
    }
    if (c->pvpanic) {
        m->pvpanic = pvpanic_create(m->bus, m->log, guest_panicked, m, err);
        if (m->pvpanic == NULL)
            return error_prefix(err, "pvpanic");
    }
    return true;
}

bool machine_wire(struct machine *m, struct error *err)
{
    return create_interrupt_controllers(m, err) && create_timers(m, err) &&
           create_chipset(m, err) && create_keyboard(m, err) && create_serial_ports(m, err) &&
           create_debug_ports(m, err);
}
