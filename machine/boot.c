/* What the machine tells the boot loaders about itself. */
#include "machine/internal.h"

#include "base/bits.h"
#include "machine/loader.h"

#include <string.h>

static uint8_t serial_ports(const struct machine *m)
{
    const struct uart *ports[MACHINE_SERIAL_COUNT] = {m->com1, m->com2, m->com3, m->com4};
    unsigned bits = 0;

    for (unsigned n = 0; n < MACHINE_SERIAL_COUNT; n++) {
        if (ports[n] != NULL)
            bits |= BIT(n);
    }
    return (uint8_t)bits;
}

static void copy_mtrrs(struct vcpu *to, const struct vcpu *from)
{
    memcpy(to->msr.mtrr_fixed, from->msr.mtrr_fixed, sizeof(to->msr.mtrr_fixed));
    memcpy(to->msr.mtrr_base, from->msr.mtrr_base, sizeof(to->msr.mtrr_base));
    memcpy(to->msr.mtrr_mask, from->msr.mtrr_mask, sizeof(to->msr.mtrr_mask));
    to->msr.mtrr_def_type = from->msr.mtrr_def_type;
}

/* As firmware leaves the other processors; and where the xAPIC cannot name them all, it leaves the
 * x2APIC on. */
static bool hand_over(struct machine *m, struct error *err)
{
    uint32_t id_last = m->processors[m->processor_count - 1].vcpu->apic_id;

    for (unsigned n = 1; n < m->processor_count; n++)
        copy_mtrrs(m->processors[n].vcpu, m->cpu);
    if (id_last <= LAPIC_ID_LAST)
        return true;
    for (unsigned n = 0; n < m->processor_count; n++) {
        struct lapic *l = m->processors[n].lapic;

        if (!lapic_apic_base_write(l, l->apic_base | APIC_BASE_EXTD))
            return error_set(
                err, "APIC ids up to %u need the x2APIC, which this -cpu does not have", id_last);
    }
    machine_map_lapics(m);
    return true;
}

bool machine_boot(struct machine *m, struct error *err)
{
    uint64_t low = MIN(m->config.memory_size, RAM_LOW_END);
    const struct loader_target target = {
        .bus = m->bus,
        .cpu = m->cpu,
        .log = m->log,
        .ram_below_4g = low,
        .ram_above_4g = m->config.memory_size - low,
        .topology = m->config.smp.topology,
        .hpet = m->hpet != NULL,
        .pm_base = PM_DEFAULT_BASE,
        .pvpanic_port = m->pvpanic != NULL ? PVPANIC_PORT : 0,
        .serial_ports = serial_ports(m),
        .seed = m->config.seed,
    };
    const struct boot_options options = {
        .kernel = m->config.kernel,
        .initrd = m->config.initrd,
        .append = m->config.append,
        .entry = m->config.kernel_entry,
    };

    if (options.kernel == NULL)
        return error_set(err, "nothing to boot: give -kernel FILE (booting from firmware and "
                              "disks is not there yet)");
    return loader_boot(&target, &options, err) && hand_over(m, err);
}
