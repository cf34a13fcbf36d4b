/*
 * Moving lanes within and between vectors, MMX and XMM: PUNPCK, PACK, PSHUF, SHUF, PINSR, PEXTR,
 * BLEND, PMOVSX and PMOVZX, INSERTPS, EXTRACTPS. UNPCKxPS and UNPCKxPD are PUNPCK of their width.
 * Source: Intel SDM volume 2.
 */
#include "cpu/mode.h"
#include "cpu/sse_vec.h"

/* Positions of a host vector's lanes for __builtin_shufflevector, from the guest's numbering. */
#define POSITIONS_2(F)  F(0), F(1)
#define POSITIONS_4(F)  F(0), F(1), F(2), F(3)
#define POSITIONS_8(F)  POSITIONS_4(F), F(4), F(5), F(6), F(7)
#define POSITIONS_16(F) POSITIONS_8(F), F(8), F(9), F(10), F(11), F(12), F(13), F(14), F(15)

#define AT_B(n) LANE_FLIP(n, 8)
#define AT_W(n) LANE_FLIP(n, 4)
#define AT_D(n) LANE_FLIP(n, 2)

/* ---- Interleaving ------------------------------------------------------------------------- */

/* Lane n of the result is lane first + n / 2 of a (n even) or b (n odd). */
#define INTERLEAVE(n, first, lanes) (((n)&1) * (lanes) + (first) + (n) / 2)
#define LOW_B(p)                    AT_B(INTERLEAVE(AT_B(p), 0, 16))
#define LOW_W(p)                    AT_W(INTERLEAVE(AT_W(p), 0, 8))
#define LOW_D(p)                    AT_D(INTERLEAVE(AT_D(p), 0, 4))
#define HIGH_B(p)                   AT_B(INTERLEAVE(AT_B(p), 8, 16))
#define HIGH_W(p)                   AT_W(INTERLEAVE(AT_W(p), 4, 8))
#define HIGH_D(p)                   AT_D(INTERLEAVE(AT_D(p), 2, 4))

/* The upper halves of two MMX registers interleaved are the upper half of their low halves' 16
 * bytes interleaved. */
#define UNPACK(suffix, field, lanes, LETTER)                                                       \
    VEC_FN vec_punpckl##suffix(union vec a, union vec b, unsigned size)                            \
    {                                                                                              \
        (void)size;                                                                                \
        a.field = __builtin_shufflevector(a.field, b.field, POSITIONS_##lanes(LOW_##LETTER));      \
        return a;                                                                                  \
    }                                                                                              \
    VEC_FN vec_punpckh##suffix(union vec a, union vec b, unsigned size)                            \
    {                                                                                              \
        if (size == 8)                                                                             \
            return vec_from64(vec_punpckl##suffix(a, b, 16).vq[1], 0);                             \
        a.field = __builtin_shufflevector(a.field, b.field, POSITIONS_##lanes(HIGH_##LETTER));     \
        return a;                                                                                  \
    }                                                                                              \
    VEC_OP_X(punpckl##suffix)                                                                      \
    VEC_OP_MM_BITS(punpckl##suffix, 32)                                                            \
    VEC_OP(punpckh##suffix)

UNPACK(bw, vb, 16, B)
UNPACK(wd, vw, 8, W)
UNPACK(dq, vd, 4, D)

VEC_FN vec_punpcklqdq(union vec a, union vec b, unsigned size)
{
    (void)size;
    return vec_from64(a.vq[0], b.vq[0]);
}

VEC_FN vec_punpckhqdq(union vec a, union vec b, unsigned size)
{
    (void)size;
    return vec_from64(a.vq[1], b.vq[1]);
}
VEC_OP_X(punpcklqdq)
VEC_OP_X(punpckhqdq)

/* ---- Packing with saturation -------------------------------------------------------------- */

#define EVEN_B(p) AT_B(2 * AT_B(p))
#define EVEN_W(p) AT_W(2 * AT_W(p))

/* Lanes of x limited to [low, high]. */
#define CLAMP(field, x, low, high)                                                                 \
    do {                                                                                           \
        __typeof__(x.field) lowest = (__typeof__(x.field)){0} + (low);                             \
        __typeof__(x.field) highest = (__typeof__(x.field)){0} + (high);                           \
        __typeof__(x.field) under = x.field<lowest, over = x.field> highest;                       \
        x.field = (x.field & ~under & ~over) | (lowest & under) | (highest & over);                \
    } while (0)

/* Packs the wide lanes of a, then those of b; as MMX, of a's and b's low halves. */
#define PACK(name, wide, narrow, lanes, EVEN, low, high)                                           \
    VEC_FN vec_##name(union vec a, union vec b, unsigned size)                                     \
    {                                                                                              \
        if (size == 8)                                                                             \
            a = b = vec_from64(a.vq[0], b.vq[0]);                                                  \
        CLAMP(wide, a, low, high);                                                                 \
        CLAMP(wide, b, low, high);                                                                 \
        a.narrow = __builtin_shufflevector(a.narrow, b.narrow, POSITIONS_##lanes(EVEN));           \
        return a;                                                                                  \
    }

PACK(packsswb, sw, vb, 16, EVEN_B, -128, 127)
PACK(packuswb, sw, vb, 16, EVEN_B, 0, 255)
PACK(packssdw, sd, vw, 8, EVEN_W, -32768, 32767)
PACK(packusdw, sd, vw, 8, EVEN_W, 0, 65535)
VEC_OP(packsswb)
VEC_OP(packuswb)
VEC_OP(packssdw)
VEC_OP_X(packusdw)

/* ---- Shuffles ----------------------------------------------------------------------------- */

/* Two bits of imm choose each lane. */
static inline unsigned choice(unsigned imm, unsigned n)
{
    return (imm >> (2 * n)) & 3;
}

static inline uint64_t two_dwords(uint32_t low, uint32_t high)
{
    return (uint64_t)high << 32 | low;
}

static inline uint64_t shuffle_words(uint64_t q, unsigned imm)
{
    return (uint64_t)(uint16_t)(q >> (16 * choice(imm, 0))) |
           (uint64_t)(uint16_t)(q >> (16 * choice(imm, 1))) << 16 |
           (uint64_t)(uint16_t)(q >> (16 * choice(imm, 2))) << 32 |
           (q >> (16 * choice(imm, 3))) << 48;
}

VEC_FN vec_shufps(union vec a, union vec b, unsigned imm, unsigned size)
{
    (void)size;
    return vec_from64(two_dwords(VREG_D(a, choice(imm, 0)), VREG_D(a, choice(imm, 1))),
                      two_dwords(VREG_D(b, choice(imm, 2)), VREG_D(b, choice(imm, 3))));
}

VEC_FN vec_pshufd(union vec a, union vec b, unsigned imm, unsigned size)
{
    (void)a;
    return vec_shufps(b, b, imm, size);
}

VEC_FN vec_shufpd(union vec a, union vec b, unsigned imm, unsigned size)
{
    (void)size;
    return vec_from64(imm & 1 ? a.vq[1] : a.vq[0], imm & 2 ? b.vq[1] : b.vq[0]);
}

VEC_FN vec_pshuflw(union vec a, union vec b, unsigned imm, unsigned size)
{
    (void)a;
    (void)size;
    return vec_from64(shuffle_words(b.vq[0], imm), b.vq[1]);
}

VEC_FN vec_pshufhw(union vec a, union vec b, unsigned imm, unsigned size)
{
    (void)a;
    (void)size;
    return vec_from64(b.vq[0], shuffle_words(b.vq[1], imm));
}

VEC_FN vec_pshufw(union vec a, union vec b, unsigned imm, unsigned size)
{
    (void)a;
    (void)size;
    return vec_from64(shuffle_words(b.vq[0], imm), 0);
}
VEC_IMM_X(shufps)
VEC_IMM_X(shufpd)
VEC_IMM_X(pshufd)
VEC_IMM_X(pshuflw)
VEC_IMM_X(pshufhw)
VEX_IMM(shufps, 0)
VEX_IMM(shufpd, 2)
VEX_IMM(pshufd, 0)
VEX_IMM(pshuflw, 0)
VEX_IMM(pshufhw, 0)
VEC_IMM_MM(pshufw)

VEC_FN vec_pshufb(union vec a, union vec b, unsigned size)
{
    union vec r = {.vq = {0, 0}};

    for (unsigned n = 0; n < size; n++) {
        uint8_t from = VREG_B(b, n);

        VREG_B(r, n) = from & 0x80 ? 0 : VREG_B(a, from & (size - 1));
    }
    return r;
}
VEC_OP(pshufb)

/* ---- Duplicating moves of SSE3 ------------------------------------------------------------ */

VEC_FN vec_movsldup(union vec a, union vec b, unsigned size)
{
    return vec_pshufd(a, b, 0xa0, size);
}

VEC_FN vec_movshdup(union vec a, union vec b, unsigned size)
{
    return vec_pshufd(a, b, 0xf5, size);
}
VEC_OP_X(movsldup)
VEC_OP_X(movshdup)

OP(movddup)
{
    union vec s = xmm_operand64(cpu, i);

    xmm_set(cpu, i->reg, vec_from64(s.vq[0], s.vq[0]));
    NEXT;
}

OP(vmovddup_x)
{
    union vec s = xmm_operand64(cpu, i);

    xmm_set_clear(cpu, i->reg, vec_from64(s.vq[0], s.vq[0]));
    NEXT;
}

OP(vmovddup_y)
{
    struct vec2 s = ymm_operand(cpu, i);

    s.l = vec_from64(s.l.vq[0], s.l.vq[0]);
    s.h = vec_from64(s.h.vq[0], s.h.vq[0]);
    ymm_set(cpu, i->reg, s);
    NEXT;
}

/* ---- Blends ------------------------------------------------------------------------------- */

/* Bit n of imm chooses lane n of the source. */
VEC_FN vec_pblendw(union vec a, union vec b, unsigned imm, unsigned size)
{
#define BLEND_BIT(p) (1 << AT_W(p))
    const vec_u16 bits = {POSITIONS_8(BLEND_BIT)};
    union vec mask;

    (void)size;
    mask.vw = (vec_u16)((bits & (uint16_t)imm) != 0);
    return vec_select(mask, b, a);
}

VEC_FN vec_blendps(union vec a, union vec b, unsigned imm, unsigned size)
{
#define BLEND_BIT_D(p) (1 << AT_D(p))
    const vec_u32 bits = {POSITIONS_4(BLEND_BIT_D)};
    union vec mask;

    (void)size;
    mask.vd = (vec_u32)((bits & imm) != 0);
    return vec_select(mask, b, a);
}

VEC_FN vec_blendpd(union vec a, union vec b, unsigned imm, unsigned size)
{
    (void)size;
    return vec_from64(imm & 1 ? b.vq[0] : a.vq[0], imm & 2 ? b.vq[1] : a.vq[1]);
}
VEC_IMM_X(pblendw)
VEC_IMM_X(blendps)
VEC_IMM_X(blendpd)
VEX_IMM(pblendw, 0)
VEX_IMM(blendps, 4)
VEX_IMM(blendpd, 2)

/* The sign bits of XMM0's lanes choose; in AVX those of a register named by an immediate byte. */
static inline unsigned register_in_imm(const struct vcpu *cpu, const struct insn *i)
{
    return ((unsigned)i->imm >> 4) & (cpu->mode & MODE_64 ? 15 : 7);
}

#define BLEND_VARIABLE(name, field)                                                                \
    OP(name)                                                                                       \
    {                                                                                              \
        union vec b = xmm_operand(cpu, i), mask = xmm_get(cpu, 0);                                 \
        mask.field = (__typeof__(mask.field))(mask.field < (__typeof__(mask.field)){0});           \
        xmm_set(cpu, i->reg, vec_select(mask, b, xmm_get(cpu, i->reg)));                           \
        NEXT;                                                                                      \
    }                                                                                              \
    VEC_FN v##name##_half(union vec a, union vec b, union vec mask)                                \
    {                                                                                              \
        mask.field = (__typeof__(mask.field))(mask.field < (__typeof__(mask.field)){0});           \
        return vec_select(mask, b, a);                                                             \
    }                                                                                              \
    VEX_X(v##name, union vec mask = xmm_get(cpu, register_in_imm(cpu, i));                         \
          xmm_set_clear(cpu, i->reg, v##name##_half(xmm_get(cpu, i->vvvv), source, mask)))         \
    VEX_Y(v##name, struct vec2 mask = ymm_get(cpu, register_in_imm(cpu, i)),                       \
          a = ymm_get(cpu, i->vvvv);                                                               \
          a.l = v##name##_half(a.l, source.l, mask.l);                                             \
          a.h = v##name##_half(a.h, source.h, mask.h); ymm_set(cpu, i->reg, a))

BLEND_VARIABLE(pblendvb, sb)
BLEND_VARIABLE(blendvps, sd)
BLEND_VARIABLE(blendvpd, sq)

/* ---- One lane in, one lane out ------------------------------------------------------------ */

OP(pinsrb)
{
    union vec d = xmm_get(cpu, i->reg);

    VREG_B(d, i->imm & 15) = i->flags & INSN_MEM ? mem_read8(cpu, i) : (uint8_t)cpu->gpr[i->rm];
    xmm_set(cpu, i->reg, d);
    NEXT;
}

OP(pinsrw_x)
{
    union vec d = xmm_get(cpu, i->reg);

    VREG_W(d, i->imm & 7) = i->flags & INSN_MEM ? mem_read16(cpu, i) : (uint16_t)cpu->gpr[i->rm];
    xmm_set(cpu, i->reg, d);
    NEXT;
}

OP(pinsrw_mm)
{
    union vec d = vec_from64(mmx_get(cpu, i->reg), 0);

    mmx_check(cpu, i);
    VREG_W(d, i->imm & 3) = i->flags & INSN_MEM ? mem_read16(cpu, i) : (uint16_t)cpu->gpr[i->rm];
    fpu_mmx_enter(cpu, i);
    mmx_set(cpu, i->reg, d.vq[0]);
    NEXT;
}

static inline void pinsrd(struct vcpu *cpu, const struct insn *i, uint32_t value)
{
    VREG_D(cpu->vreg[i->reg], i->imm & 3) = value;
}

OP(pinsr_r32)
{
    pinsrd(cpu, i, (uint32_t)cpu->gpr[i->rm]);
    NEXT;
}

OP(pinsr_m32)
{
    pinsrd(cpu, i, mem_read32(cpu, i));
    NEXT;
}

OP(pinsr_r64)
{
    cpu->vreg[i->reg].q[i->imm & 1] = cpu->gpr[i->rm];
    NEXT;
}

OP(pinsr_m64)
{
    cpu->vreg[i->reg].q[i->imm & 1] = mem_read64(cpu, i);
    NEXT;
}

OP(pextrb)
{
    uint8_t v = VREG_B(cpu->vreg[i->reg], i->imm & 15);

    if (i->flags & INSN_MEM)
        mem_write8(cpu, i, v);
    else
        reg_set64(cpu, i->rm, v);
    NEXT;
}

/* The form with a memory operand, 0F 3A 15. */
OP(pextrw)
{
    uint16_t v = VREG_W(cpu->vreg[i->reg], i->imm & 7);

    if (i->flags & INSN_MEM)
        mem_write16(cpu, i, v);
    else
        reg_set64(cpu, i->rm, v);
    NEXT;
}

/* 0F C5: ModRM.rm is the vector, reg the general register. */
OP(pextrw_x)
{
    reg_set64(cpu, i->reg, VREG_W(cpu->vreg[i->rm], i->imm & 7));
    NEXT;
}

OP(pextrw_mm)
{
    uint64_t v = mmx_get(cpu, i->rm);

    fpu_mmx_enter(cpu, i);
    reg_set64(cpu, i->reg, (uint16_t)(v >> (16 * (i->imm & 3))));
    NEXT;
}

OP(extractps)
{
    uint32_t v = VREG_D(cpu->vreg[i->reg], i->imm & 3);

    if (i->flags & INSN_MEM)
        mem_write32(cpu, i, v);
    else
        reg_set32(cpu, i->rm, v);
    NEXT;
}

/* PEXTRD and PEXTRQ. */
OP(pextr_r32)
{
    reg_set32(cpu, i->rm, VREG_D(cpu->vreg[i->reg], i->imm & 3));
    NEXT;
}

OP(pextr_m32)
{
    mem_write32(cpu, i, VREG_D(cpu->vreg[i->reg], i->imm & 3));
    NEXT;
}

OP(pextr_r64)
{
    reg_set64(cpu, i->rm, cpu->vreg[i->reg].q[i->imm & 1]);
    NEXT;
}

OP(pextr_m64)
{
    mem_write64(cpu, i, cpu->vreg[i->reg].q[i->imm & 1]);
    NEXT;
}

/* imm: 7-6 source lane (register only), 5-4 destination lane, 3-0 lanes to clear. */
OP(insertps)
{
    unsigned imm = (uint8_t)i->imm;
    union vec d = xmm_get(cpu, i->reg);
    uint32_t v;

    v = i->flags & INSN_MEM ? mem_read32(cpu, i) : VREG_D(cpu->vreg[i->rm], imm >> 6);
    VREG_D(d, (imm >> 4) & 3) = v;
    for (unsigned n = 0; n < 4; n++)
        if (imm & (1u << n))
            VREG_D(d, n) = 0;
    xmm_set(cpu, i->reg, d);
    NEXT;
}

/* ---- Widening moves ----------------------------------------------------------------------- */

#define WIDEN(name, TO, FROM, T, lanes, bits)                                                      \
    VEC_FN vec_##name(union vec s)                                                                 \
    {                                                                                              \
        union vec r;                                                                               \
        for (unsigned n = 0; n < (lanes); n++)                                                     \
            TO(r, n) = (__typeof__(TO(r, n)))(T)FROM(s, n);                                        \
        return r;                                                                                  \
    }                                                                                              \
    OP(name##_r)                                                                                   \
    {                                                                                              \
        xmm_set(cpu, i->reg, vec_##name(xmm_get(cpu, i->rm)));                                     \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_m)                                                                                   \
    {                                                                                              \
        xmm_set(cpu, i->reg, vec_##name(vec_from64(mem_read##bits(cpu, i), 0)));                   \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(v##name##_x_r)                                                                              \
    {                                                                                              \
        xmm_set_clear(cpu, i->reg, vec_##name(xmm_get(cpu, i->rm)));                               \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(v##name##_x_m)                                                                              \
    {                                                                                              \
        xmm_set_clear(cpu, i->reg, vec_##name(vec_from64(mem_read##bits(cpu, i), 0)));             \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(v##name##_y_r)                                                                              \
    {                                                                                              \
        union vec s = xmm_get(cpu, i->rm);                                                         \
        ymm_set(cpu, i->reg, (struct vec2){vec_##name(s), vec_##name(upper_##bits(s))});           \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(v##name##_y_m)                                                                              \
    {                                                                                              \
        union vec s = READ_TWICE_##bits;                                                           \
        ymm_set(cpu, i->reg, (struct vec2){vec_##name(s), vec_##name(upper_##bits(s))});           \
        NEXT;                                                                                      \
    }

/* What the upper half of 256 bits is widened from: the source's bits from `bits` on. */
#define UPPER(bits, expression)                                                                    \
    VEC_FN upper_##bits(union vec s)                                                               \
    {                                                                                              \
        return vec_from64(expression, 0);                                                          \
    }
UPPER(16, s.vq[0] >> 16)
UPPER(32, s.vq[0] >> 32)
UPPER(64, s.vq[1])
#define READ_TWICE_16 vec_from64(mem_read32(cpu, i), 0)
#define READ_TWICE_32 vec_from64(mem_read64(cpu, i), 0)
#define READ_TWICE_64 xmm_read(cpu, i)

#define LANE_Q(v, n) ((v).q[n])
WIDEN(pmovsxbw, VREG_W, VREG_B, int8_t, 8, 64)
WIDEN(pmovsxbd, VREG_D, VREG_B, int8_t, 4, 32)
WIDEN(pmovsxbq, LANE_Q, VREG_B, int8_t, 2, 16)
WIDEN(pmovsxwd, VREG_D, VREG_W, int16_t, 4, 64)
WIDEN(pmovsxwq, LANE_Q, VREG_W, int16_t, 2, 32)
WIDEN(pmovsxdq, LANE_Q, VREG_D, int32_t, 2, 64)
WIDEN(pmovzxbw, VREG_W, VREG_B, uint8_t, 8, 64)
WIDEN(pmovzxbd, VREG_D, VREG_B, uint8_t, 4, 32)
WIDEN(pmovzxbq, LANE_Q, VREG_B, uint8_t, 2, 16)
WIDEN(pmovzxwd, VREG_D, VREG_W, uint16_t, 4, 64)
WIDEN(pmovzxwq, LANE_Q, VREG_W, uint16_t, 2, 32)
WIDEN(pmovzxdq, LANE_Q, VREG_D, uint32_t, 2, 64)
