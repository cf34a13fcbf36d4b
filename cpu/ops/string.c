/*
 * MOVS, CMPS, STOS, LODS, SCAS with and without REP (SDM 2B "REP/REPE/REPZ/REPNE/REPNZ").
 *
 * A repeated instruction runs at most to the end of the page of either operand per dispatch, one
 * iteration under TF; if iterations are left, RIP stays at its start. Registers are exact after
 * every iteration, so a fault or restart in the middle needs no repair. Where a dispatch ends
 * depends on registers alone, never on what the TLB happens to hold.
 */
#include "cpu/ops/alu.h"
#include "cpu/ops/string.h"

/* ---- One element -------------------------------------------------------------------------- */

static inline void movs(struct vcpu *cpu, const struct insn *i, unsigned size)
{
    uint64_t v = string_load(cpu, i, string_source(cpu, i, size), size);

    string_store(cpu, i, string_destination(cpu, i, size, MMU_WRITE), v, size);
    string_advance(cpu, i, GPR_RSI, 1, size);
    string_advance(cpu, i, GPR_RDI, 1, size);
}

static inline void stos(struct vcpu *cpu, const struct insn *i, unsigned size)
{
    uint64_t linear = string_destination(cpu, i, size, MMU_WRITE);

    string_store(cpu, i, linear, cpu->gpr[GPR_RAX], size);
    string_advance(cpu, i, GPR_RDI, 1, size);
}

static inline void lods(struct vcpu *cpu, const struct insn *i, unsigned size)
{
    uint64_t v = string_load(cpu, i, string_source(cpu, i, size), size);

    if (size == 1)
        reg_set8(cpu, REG_AL, (uint8_t)v);
    else if (size == 2)
        reg_set16(cpu, GPR_RAX, (uint16_t)v);
    else
        reg_set64(cpu, GPR_RAX, v);
    string_advance(cpu, i, GPR_RSI, 1, size);
}

/* Operands of a comparison. */
struct pair {
    uint64_t a, b;
};

static inline struct pair cmps(struct vcpu *cpu, const struct insn *i, unsigned size)
{
    struct pair p;

    p.a = string_load(cpu, i, string_source(cpu, i, size), size);
    p.b = string_load(cpu, i, string_destination(cpu, i, size, MMU_READ), size);
    string_advance(cpu, i, GPR_RSI, 1, size);
    string_advance(cpu, i, GPR_RDI, 1, size);
    return p;
}

static inline struct pair scas(struct vcpu *cpu, const struct insn *i, unsigned size)
{
    struct pair p;

    p.a = size == 1 ? reg_get8(cpu, REG_AL) : cpu->gpr[GPR_RAX] & size_mask(size);
    p.b = string_load(cpu, i, string_destination(cpu, i, size, MMU_READ), size);
    string_advance(cpu, i, GPR_RDI, 1, size);
    return p;
}

static inline void compare_flags(struct vcpu *cpu, struct pair p, unsigned size)
{
    if (size == 1)
        flags_sub8(cpu, (uint8_t)p.a, (uint8_t)p.b, (uint8_t)(p.a - p.b));
    else if (size == 2)
        flags_sub16(cpu, (uint16_t)p.a, (uint16_t)p.b, (uint16_t)(p.a - p.b));
    else if (size == 4)
        flags_sub32(cpu, (uint32_t)p.a, (uint32_t)p.b, (uint32_t)(p.a - p.b));
    else
        flags_sub64(cpu, p.a, p.b, p.a - p.b);
}

/* ---- Many elements at once ---------------------------------------------------------------- */

/* May [offset, + bytes) of the segment be accessed, given that its first element may? "No" only
 * means: one by one. */
static bool segment_covers(const struct vcpu *cpu, const struct insn *i, unsigned seg,
                           uint64_t offset, uint64_t bytes)
{
    const struct segment *s = &cpu->seg[seg];

    if (i->flags & INSN_FLAT || (cpu->mode & MODE_64))
        return true;
    if ((s->attributes & (SEGMENT_CODE | SEGMENT_EXPAND_DOWN)) == SEGMENT_EXPAND_DOWN)
        return false;
    return offset + bytes - 1 <= s->limit;
}

/* Copies upwards, element by element as far as anyone can tell: where the destination begins inside
 * the source, what was copied is copied again. Eight bytes at a time do the same, unless the
 * destination begins inside the first eight. */
static void copy_up(void *to, const void *from, uint64_t count, unsigned size)
{
    uint8_t *d = to;
    const uint8_t *s = from;
    uint64_t bytes = count * size, n = 0;

    if ((uintptr_t)to - (uintptr_t)from >= 8)
        for (; n + 8 <= bytes; n += 8)
            guest_store64(d + n, guest_load64(s + n));
    for (; n < bytes; n += size)
        guest_store(d + n, guest_load(s + n, size), size);
}

static void fill_up(void *to, uint64_t value, uint64_t count, unsigned size)
{
    uint64_t bytes = count * size, n = 0, mask = size_mask(size);
    uint64_t word = (value & mask) * (UINT64_MAX / mask);
    uint8_t *d = to;

    for (; n + 8 <= bytes; n += 8)
        guest_store64(d + n, word);
    for (; n < bytes; n += size)
        guest_store(d + n, value, size);
}

/* Moves `count` elements, all within one page on either side, if both pages are at hand. */
static bool movs_many(struct vcpu *cpu, const struct insn *i, uint64_t count, unsigned size)
{
    uint64_t mask = address_mask(i), bytes = count * size;
    uint64_t from = cpu->gpr[GPR_RSI] & mask, to = cpu->gpr[GPR_RDI] & mask;
    const void *s;
    void *d;

    if (count < 2 || (cpu->eflags & EFLAGS_DF) || !segment_covers(cpu, i, i->seg, from, bytes) ||
        !segment_covers(cpu, i, SEG_ES, to, bytes))
        return false;
    s = tlb_find_read(&cpu->mmu, string_source(cpu, i, size), (unsigned)bytes);
    d = tlb_find_write(&cpu->mmu, string_destination(cpu, i, size, MMU_WRITE), (unsigned)bytes);
    if (s == NULL || d == NULL)
        return false;
    copy_up(d, s, count, size);
    string_advance(cpu, i, GPR_RSI, count, size);
    string_advance(cpu, i, GPR_RDI, count, size);
    return true;
}

static bool stos_many(struct vcpu *cpu, const struct insn *i, uint64_t count, unsigned size)
{
    uint64_t bytes = count * size;
    void *d;

    if (count < 2 || (cpu->eflags & EFLAGS_DF) ||
        !segment_covers(cpu, i, SEG_ES, cpu->gpr[GPR_RDI] & address_mask(i), bytes))
        return false;
    d = tlb_find_write(&cpu->mmu, string_destination(cpu, i, size, MMU_WRITE), (unsigned)bytes);
    if (d == NULL)
        return false;
    fill_up(d, cpu->gpr[GPR_RAX], count, size);
    string_advance(cpu, i, GPR_RDI, count, size);
    return true;
}

/* ---- Repetition --------------------------------------------------------------------------- */

static inline void rep_movs(struct vcpu *cpu, const struct insn *i, unsigned size)
{
    for (uint64_t n = rep_begin(cpu, i, STRING_BOTH, size), done; n > 0; n -= done) {
        done = movs_many(cpu, i, n, size) ? n : 1;
        if (done == 1)
            movs(cpu, i, size);
        rep_count_down(cpu, i, done);
    }
    rep_end(cpu, i, true);
}

static inline void rep_stos(struct vcpu *cpu, const struct insn *i, unsigned size)
{
    for (uint64_t n = rep_begin(cpu, i, STRING_DESTINATION, size), done; n > 0; n -= done) {
        done = stos_many(cpu, i, n, size) ? n : 1;
        if (done == 1)
            stos(cpu, i, size);
        rep_count_down(cpu, i, done);
    }
    rep_end(cpu, i, true);
}

static inline void rep_lods(struct vcpu *cpu, const struct insn *i, unsigned size)
{
    for (uint64_t n = rep_begin(cpu, i, STRING_SOURCE, size); n > 0; n--) {
        lods(cpu, i, size);
        rep_count_down(cpu, i, 1);
    }
    rep_end(cpu, i, true);
}

/* REPE (while == true) and REPNE. The flags change when the dispatch ends: after a fault they are
 * those from before, and the comparison that follows sets them anyway. */
#define REP_COMPARE(name, operands)                                                                \
    static inline void rep_##name(struct vcpu *cpu, const struct insn *i, bool equal,              \
                                  unsigned size)                                                   \
    {                                                                                              \
        uint64_t n = rep_begin(cpu, i, operands, size);                                            \
        struct pair p = {0, 0};                                                                    \
        bool any = n > 0, go_on = true;                                                            \
        for (; n > 0 && go_on; n--) {                                                              \
            p = name(cpu, i, size);                                                                \
            rep_count_down(cpu, i, 1);                                                             \
            go_on = (p.a == p.b) == equal;                                                         \
        }                                                                                          \
        if (any)                                                                                   \
            compare_flags(cpu, p, size);                                                           \
        rep_end(cpu, i, go_on);                                                                    \
    }

REP_COMPARE(cmps, STRING_BOTH)
REP_COMPARE(scas, STRING_DESTINATION)

#define STRING_FORMS(bits)                                                                         \
    OP(movs_##bits)                                                                                \
    {                                                                                              \
        movs(cpu, i, bits / 8);                                                                    \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(stos_##bits)                                                                                \
    {                                                                                              \
        stos(cpu, i, bits / 8);                                                                    \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(lods_##bits)                                                                                \
    {                                                                                              \
        lods(cpu, i, bits / 8);                                                                    \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(cmps_##bits)                                                                                \
    {                                                                                              \
        compare_flags(cpu, cmps(cpu, i, bits / 8), bits / 8);                                      \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(scas_##bits)                                                                                \
    {                                                                                              \
        compare_flags(cpu, scas(cpu, i, bits / 8), bits / 8);                                      \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(rep_movs_##bits)                                                                            \
    {                                                                                              \
        rep_movs(cpu, i, bits / 8);                                                                \
    }                                                                                              \
    OP(rep_stos_##bits)                                                                            \
    {                                                                                              \
        rep_stos(cpu, i, bits / 8);                                                                \
    }                                                                                              \
    OP(rep_lods_##bits)                                                                            \
    {                                                                                              \
        rep_lods(cpu, i, bits / 8);                                                                \
    }                                                                                              \
    OP(repe_cmps_##bits)                                                                           \
    {                                                                                              \
        rep_cmps(cpu, i, true, bits / 8);                                                          \
    }                                                                                              \
    OP(repne_cmps_##bits)                                                                          \
    {                                                                                              \
        rep_cmps(cpu, i, false, bits / 8);                                                         \
    }                                                                                              \
    OP(repe_scas_##bits)                                                                           \
    {                                                                                              \
        rep_scas(cpu, i, true, bits / 8);                                                          \
    }                                                                                              \
    OP(repne_scas_##bits)                                                                          \
    {                                                                                              \
        rep_scas(cpu, i, false, bits / 8);                                                         \
    }

STRING_FORMS(8)
STRING_FORMS(16)
STRING_FORMS(32)
STRING_FORMS(64)
