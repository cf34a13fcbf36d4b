/* IN, OUT, INS, OUTS. Order: permission, then memory faults, then the port (SDM 2A "INS/INSB/...").
 */
#include "cpu/ops/alu.h"
#include "cpu/ops/string.h"
#include "cpu/smm.h"
#include "cpu/system.h"

static uint32_t port_read(struct vcpu *cpu, uint16_t port, unsigned size)
{
    uint32_t v;

    mmu_lock_devices(&cpu->mmu);
    if (unlikely(cpu->debug.io_count != 0))
        debug_io(cpu, port, size);
    v = bus_port_read(cpu->mmu.bus, port, size);
    mmu_unlock_devices(&cpu->mmu);
    return v;
}

static void port_write(struct vcpu *cpu, uint16_t port, uint32_t value, unsigned size)
{
    mmu_lock_devices(&cpu->mmu);
    if (unlikely(cpu->debug.io_count != 0))
        debug_io(cpu, port, size);
    bus_port_write(cpu->mmu.bus, port, value, size);
    mmu_unlock_devices(&cpu->mmu);
}

static inline uint32_t in(struct vcpu *cpu, const struct insn *i, uint16_t port, unsigned size)
{
    cpu_check_io(cpu, i, port, size);
    cpu_sync_time(cpu, i);
    smm_note_io(cpu, cpu_insn_start(cpu, i), port, size, SMM_IO_IN);
    return port_read(cpu, port, size);
}

static inline void out(struct vcpu *cpu, const struct insn *i, uint16_t port, uint32_t value,
                       unsigned size)
{
    cpu_check_io(cpu, i, port, size);
    cpu_sync_time(cpu, i);
    smm_note_io(cpu, cpu_insn_start(cpu, i), port, size, 0);
    port_write(cpu, port, value, size);
}

static inline void ins(struct vcpu *cpu, const struct insn *i, unsigned size)
{
    uint64_t linear = string_destination(cpu, i, size, MMU_WRITE);
    uint32_t v;

    if (tlb_find_write(&cpu->mmu, linear, size) == NULL)
        mem_probe_write(cpu, i, linear, size);
    v = port_read(cpu, reg_get16(cpu, GPR_RDX), size);
    string_store(cpu, i, linear, v, size);
    string_advance(cpu, i, GPR_RDI, 1, size);
}

static inline void outs(struct vcpu *cpu, const struct insn *i, unsigned size)
{
    uint64_t v = string_load(cpu, i, string_source(cpu, i, size), size);

    port_write(cpu, reg_get16(cpu, GPR_RDX), (uint32_t)v, size);
    string_advance(cpu, i, GPR_RSI, 1, size);
}

static inline void io_begin(struct vcpu *cpu, const struct insn *i, unsigned size, unsigned how)
{
    cpu_check_io(cpu, i, reg_get16(cpu, GPR_RDX), size);
    cpu_sync_time(cpu, i);
    smm_note_io(cpu, cpu_insn_start(cpu, i), reg_get16(cpu, GPR_RDX), size, how | SMM_IO_STRING);
}

static inline void rep_ins(struct vcpu *cpu, const struct insn *i, unsigned size)
{
    io_begin(cpu, i, size, SMM_IO_IN | SMM_IO_REP);
    for (uint64_t n = rep_begin(cpu, i, STRING_DESTINATION, size); n > 0; n--) {
        ins(cpu, i, size);
        rep_count_down(cpu, i, 1);
    }
    rep_end(cpu, i, true);
}

static inline void rep_outs(struct vcpu *cpu, const struct insn *i, unsigned size)
{
    io_begin(cpu, i, size, SMM_IO_REP);
    for (uint64_t n = rep_begin(cpu, i, STRING_SOURCE, size); n > 0; n--) {
        outs(cpu, i, size);
        rep_count_down(cpu, i, 1);
    }
    rep_end(cpu, i, true);
}

/* form is the size of the row, bits that of the access: there are no 64-bit ports, REX.W means
 * nothing. */
#define IO_FORMS(form, bits)                                                                       \
    OP(in_AI_##form)                                                                               \
    {                                                                                              \
        uint32_t v = in(cpu, i, (uint8_t)i->imm, bits / 8);                                        \
        reg_set##bits(cpu, ACCUMULATOR_##bits, (uint##bits##_t)v);                                 \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(in_ADX_##form)                                                                              \
    {                                                                                              \
        uint32_t v = in(cpu, i, reg_get16(cpu, GPR_RDX), bits / 8);                                \
        reg_set##bits(cpu, ACCUMULATOR_##bits, (uint##bits##_t)v);                                 \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(out_IA_##form)                                                                              \
    {                                                                                              \
        out(cpu, i, (uint8_t)i->imm, reg_get##bits(cpu, ACCUMULATOR_##bits), bits / 8);            \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(out_DXA_##form)                                                                             \
    {                                                                                              \
        uint16_t port = reg_get16(cpu, GPR_RDX);                                                   \
        out(cpu, i, port, reg_get##bits(cpu, ACCUMULATOR_##bits), bits / 8);                       \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(ins_##form)                                                                                 \
    {                                                                                              \
        io_begin(cpu, i, bits / 8, SMM_IO_IN);                                                     \
        ins(cpu, i, bits / 8);                                                                     \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(outs_##form)                                                                                \
    {                                                                                              \
        io_begin(cpu, i, bits / 8, 0);                                                             \
        outs(cpu, i, bits / 8);                                                                    \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(rep_ins_##form)                                                                             \
    {                                                                                              \
        rep_ins(cpu, i, bits / 8);                                                                 \
    }                                                                                              \
    OP(rep_outs_##form)                                                                            \
    {                                                                                              \
        rep_outs(cpu, i, bits / 8);                                                                \
    }

IO_FORMS(8, 8)
IO_FORMS(16, 16)
IO_FORMS(32, 32)
IO_FORMS(64, 32)
