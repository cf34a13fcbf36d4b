/*
 * Memory as an op function sees it: effective address, segmentation, loads, stores, read-modify-
 * write, stack. The fast path is inlined (TLB probe); everything else goes through mem.c, which
 * raises what the manual asks for. Order inside an op: read, probe every write, commit memory, then
 * registers, flags, RIP.
 */
#ifndef CPU_MEM_H
#define CPU_MEM_H

#include "cpu/cpu.h"
#include "mmu/guest_access.h"

/* Tells the MMU which instruction is about to change it, for event records; without listeners
 * nothing is done. NULL: the next one is about to be fetched. */
void mem_note_place(struct vcpu *cpu, const struct insn *i);

/* Effective address of the memory operand: offset in its segment, wrapped to the address size. */
FORCE_INLINE uint64_t insn_ea(const struct vcpu *cpu, const struct insn *i)
{
    uint64_t a = cpu->gpr[i->base] + (cpu->gpr[i->index] << i->scale) + (uint64_t)(int64_t)i->disp;

    if (i->flags & (INSN_A32 | INSN_A16))
        a = i->flags & INSN_A32 ? (uint32_t)a : (uint16_t)a;
    return a;
}

/* Checks [offset, + size) of segment seg against limit, type and canonicality and returns the
 * linear address; raises #SS for SS (and for stack bases in 64-bit mode), else #GP. */
uint64_t mem_segment_linear(struct vcpu *cpu, const struct insn *i, unsigned seg, uint64_t offset,
                            unsigned size, enum mmu_access access);

/* Linear address of the memory operand. In flat modes no check: a non-canonical address never hits
 * the TLB and is found on the slow path. */
FORCE_INLINE uint64_t mem_linear(struct vcpu *cpu, const struct insn *i, unsigned size,
                                  enum mmu_access access)
{
    uint64_t ea = insn_ea(cpu, i);

    if (likely(i->flags & INSN_FLAT))
        return ea + cpu->seg[i->seg].base;
    return mem_segment_linear(cpu, i, i->seg, ea, size, access);
}

/* Linear address of offset in segment seg (an ES/SS/... fixed by the instruction). */
FORCE_INLINE uint64_t mem_linear_at(struct vcpu *cpu, const struct insn *i, unsigned seg,
                                     uint64_t offset, unsigned size, enum mmu_access access)
{
    if (likely(i->flags & INSN_FLAT))
        return offset + (seg == SEG_FS || seg == SEG_GS ? cpu->seg[seg].base : 0);
    return mem_segment_linear(cpu, i, seg, offset, size, access);
}

/* Slow paths; size 1, 2, 4, 8. They raise or return. */
uint64_t mem_load_slow(struct vcpu *cpu, const struct insn *i, uint64_t linear, unsigned size);
void mem_store_slow(struct vcpu *cpu, const struct insn *i, uint64_t linear, uint64_t value,
                    unsigned size);

/* Makes a store of size bytes (at most 4096) at linear certain to succeed, or raises. */
void mem_probe_write(struct vcpu *cpu, const struct insn *i, uint64_t linear, unsigned size);
void mem_probe_read(struct vcpu *cpu, const struct insn *i, uint64_t linear, unsigned size);

/* Any number of bytes up to 4096, all or nothing, in memory order. */
void mem_load_bytes(struct vcpu *cpu, const struct insn *i, uint64_t linear, void *buffer,
                    unsigned size);
void mem_store_bytes(struct vcpu *cpu, const struct insn *i, uint64_t linear, const void *buffer,
                     unsigned size);

#define MEM_DEFINE(bits)                                                                           \
    FORCE_INLINE uint##bits##_t mem_load##bits(struct vcpu *cpu, const struct insn *i,             \
                                                uint64_t linear)                                   \
    {                                                                                              \
        const void *p = tlb_find_read(&cpu->mmu, linear, bits / 8);                                \
        if (likely(p != NULL))                                                                     \
            return guest_load##bits(p);                                                            \
        return (uint##bits##_t)mem_load_slow(cpu, i, linear, bits / 8);                            \
    }                                                                                              \
    FORCE_INLINE void mem_store##bits(struct vcpu *cpu, const struct insn *i, uint64_t linear,     \
                                       uint##bits##_t value)                                       \
    {                                                                                              \
        void *p = tlb_find_write(&cpu->mmu, linear, bits / 8);                                     \
        if (likely(p != NULL))                                                                     \
            guest_store##bits(p, value);                                                           \
        else                                                                                       \
            mem_store_slow(cpu, i, linear, value, bits / 8);                                       \
    }                                                                                              \
    /* The memory operand, read. */                                                                \
    FORCE_INLINE uint##bits##_t mem_read##bits(struct vcpu *cpu, const struct insn *i)             \
    {                                                                                              \
        return mem_load##bits(cpu, i, mem_linear(cpu, i, bits / 8, MMU_READ));                     \
    }                                                                                              \
    FORCE_INLINE void mem_write##bits(struct vcpu *cpu, const struct insn *i,                      \
                                       uint##bits##_t value)                                       \
    {                                                                                              \
        mem_store##bits(cpu, i, mem_linear(cpu, i, bits / 8, MMU_WRITE), value);                   \
    }

MEM_DEFINE(8)
MEM_DEFINE(16)
MEM_DEFINE(32)
MEM_DEFINE(64)
#undef MEM_DEFINE

/*
 * Read-modify-write of the memory operand, atomic on host memory if INSN_LOCK is set.
 *
 *     struct mem_rmw m;
 *     uint32_t old, new;
 *     old = mem_rmw_begin32(cpu, i, &m);          // probes for writing, then reads; may raise
 *     do {
 *         new = old + 1;
 *     } while (!mem_rmw_commit32(cpu, i, &m, &old, new));   // false: old was reloaded, try again
 *
 * After commit nothing can fault: set registers and flags then.
 */
struct mem_rmw {
    void *host;      /* fast path: host address; NULL: slow path */
    uint64_t linear;
};

uint64_t mem_rmw_begin_slow(struct vcpu *cpu, const struct insn *i, uint64_t linear, unsigned size);
bool mem_rmw_commit_slow(struct vcpu *cpu, const struct insn *i, uint64_t linear, unsigned size,
                         uint64_t *old, uint64_t value);

#define MEM_RMW_DEFINE(bits)                                                                       \
    FORCE_INLINE uint##bits##_t mem_rmw_begin_at##bits(struct vcpu *cpu, const struct insn *i,     \
                                                        struct mem_rmw *m, uint64_t linear)        \
    {                                                                                              \
        m->linear = linear;                                                                        \
        m->host = tlb_find_write(&cpu->mmu, linear, bits / 8);                                     \
        if (likely(m->host != NULL))                                                               \
            return guest_load##bits(m->host);                                                      \
        return (uint##bits##_t)mem_rmw_begin_slow(cpu, i, linear, bits / 8);                       \
    }                                                                                              \
    FORCE_INLINE uint##bits##_t mem_rmw_begin##bits(struct vcpu *cpu, const struct insn *i,        \
                                                     struct mem_rmw *m)                            \
    {                                                                                              \
        return mem_rmw_begin_at##bits(cpu, i, m, mem_linear(cpu, i, bits / 8, MMU_WRITE));         \
    }                                                                                              \
    FORCE_INLINE bool mem_rmw_commit##bits(struct vcpu *cpu, const struct insn *i,                 \
                                            struct mem_rmw *m, uint##bits##_t *old,                \
                                            uint##bits##_t value)                                  \
    {                                                                                              \
        uint64_t wide;                                                                             \
        bool done;                                                                                 \
        if (likely(m->host != NULL)) {                                                             \
            if (likely(!(i->flags & INSN_LOCK))) {                                                 \
                guest_store##bits(m->host, value);                                                 \
                return true;                                                                       \
            }                                                                                      \
            if (likely(((uintptr_t)m->host & (bits / 8 - 1)) == 0))                                \
                return guest_cas##bits(m->host, old, value);                                       \
        }                                                                                          \
        wide = *old;                                                                               \
        done = mem_rmw_commit_slow(cpu, i, m->linear, bits / 8, &wide, value);                     \
        *old = (uint##bits##_t)wide;                                                               \
        return done;                                                                               \
    }

MEM_RMW_DEFINE(8)
MEM_RMW_DEFINE(16)
MEM_RMW_DEFINE(32)
MEM_RMW_DEFINE(64)
#undef MEM_RMW_DEFINE

/* Compares 16 bytes with the pair and stores the replacement if they are equal; else loads them
 * into the pair. As LOCK asks for it; linear is aligned. */
bool mem_compare_exchange_pair(struct vcpu *cpu, const struct insn *i, uint64_t linear,
                               uint64_t pair[2], const uint64_t replacement[2]);

/* 128-bit operands. The aligned forms raise #GP(0) on a misaligned address (legacy SSE). */
FORCE_INLINE void mem_load128(struct vcpu *cpu, const struct insn *i, uint64_t linear,
                               uint64_t out[2])
{
    const void *p = tlb_find_read(&cpu->mmu, linear, 16);

    if (likely(p != NULL)) {
        out[0] = guest_load64(p);
        out[1] = guest_load64((const uint8_t *)p + 8);
        return;
    }
    mem_probe_read(cpu, i, linear, 16);
    out[0] = mem_load64(cpu, i, linear);
    out[1] = mem_load64(cpu, i, linear + 8);
}

FORCE_INLINE void mem_store128(struct vcpu *cpu, const struct insn *i, uint64_t linear,
                                const uint64_t in[2])
{
    void *p = tlb_find_write(&cpu->mmu, linear, 16);

    if (likely(p != NULL)) {
        guest_store64(p, in[0]);
        guest_store64((uint8_t *)p + 8, in[1]);
        return;
    }
    mem_probe_write(cpu, i, linear, 16);
    mem_store64(cpu, i, linear, in[0]);
    mem_store64(cpu, i, linear + 8, in[1]);
}

static inline void mem_read128(struct vcpu *cpu, const struct insn *i, uint64_t out[2])
{
    mem_load128(cpu, i, mem_linear(cpu, i, 16, MMU_READ), out);
}

static inline void mem_write128(struct vcpu *cpu, const struct insn *i, const uint64_t in[2])
{
    mem_store128(cpu, i, mem_linear(cpu, i, 16, MMU_WRITE), in);
}

static inline void mem_read128_aligned(struct vcpu *cpu, const struct insn *i, uint64_t out[2])
{
    uint64_t linear = mem_linear(cpu, i, 16, MMU_READ);

    if (unlikely(linear & 15))
        cpu_raise_code(cpu, i, EXC_GP, 0);
    mem_load128(cpu, i, linear, out);
}

static inline void mem_write128_aligned(struct vcpu *cpu, const struct insn *i,
                                        const uint64_t in[2])
{
    uint64_t linear = mem_linear(cpu, i, 16, MMU_WRITE);

    if (unlikely(linear & 15))
        cpu_raise_code(cpu, i, EXC_GP, 0);
    mem_store128(cpu, i, linear, in);
}

/* Implicit supervisor accesses to descriptor tables and the TSS; linear address, never checked
 * against a segment. They raise at cpu->current. */
uint64_t mem_load_system(struct vcpu *cpu, uint64_t linear, unsigned size);
void mem_store_system(struct vcpu *cpu, uint64_t linear, uint64_t value, unsigned size);

#endif
