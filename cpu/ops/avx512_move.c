/*
 * Moves of EVEX encoding: whole vectors, single elements, broadcasts, parts of vectors, widening
 * and narrowing, compression and expansion. Source: Intel SDM volume 2, each by its name.
 */
#include "cpu/ops/avx512.h"

/* ---- Whole vectors ------------------------------------------------------------------------ */

/* op_evex_mov<bytes> and _store, by what the mask governs; mova: aligned. */
#define MOVE(bytes)                                                                                \
    EVEX_OP(mov##bytes, .run = evex_move, .lane = bytes, .source = bytes, .wide = bytes)           \
    EVEX_OP(mov##bytes##_store, .run = evex_move, .lane = bytes, .wide = bytes, .to = EVEX_TO_W)
#define MOVE_ALIGNED(bytes)                                                                        \
    EVEX_OP(mova##bytes, .run = evex_move, .lane = bytes, .source = bytes, .wide = bytes,          \
            .aligned = true)                                                                       \
    EVEX_OP(mova##bytes##_store, .run = evex_move, .lane = bytes, .wide = bytes, .to = EVEX_TO_W,  \
            .aligned = true)
MOVE(1)
MOVE(2)
MOVE(4)
MOVE(8)
MOVE_ALIGNED(4)
MOVE_ALIGNED(8)

/* VBLENDMPS and kin: H where the mask has no bit, unless that means zero. */
#define BLEND(bytes)                                                                               \
    static void run_blend##bytes(struct evex *e)                                                   \
    {                                                                                              \
        e->d = e->a;                                                                               \
        e->r = e->b;                                                                               \
    }                                                                                              \
    EVEX_OP(blend##bytes, .run = run_blend##bytes, .lane = bytes, .source = bytes, .wide = bytes)
BLEND(1)
BLEND(2)
BLEND(4)
BLEND(8)

/* VMOVDDUP, VMOVSLDUP, VMOVSHDUP: masks suppress no faults. */
static void run_vmovddup(struct evex *e)
{
    for (unsigned n = 0; n < e->lanes; n++)
        e->r.q[n] = e->b.q[n & ~1u];
}
EVEX_OP(vmovddup, .run = run_vmovddup, .lane = 8, .wide = 8)

EVEX_LANES_FROM(vmovsldup, 4, 0, uint32_t, (VREG_D(e->b, n & ~1u)))
EVEX_LANES_FROM(vmovshdup, 4, 0, uint32_t, (VREG_D(e->b, n | 1)))

/* ---- Single elements ---------------------------------------------------------------------- */

/* VMOVSS, VMOVSD: between registers the rest of 128 bits is that of H; loads clear it. */
#define SCALAR_MOVE(bytes)                                                                         \
    EVEX_OP(scalar##bytes, .run = evex_move, .lane = bytes)                                        \
    static void run_scalar##bytes##_load(struct evex *e)                                           \
    {                                                                                              \
        e->r = e->b;                                                                               \
        memset(&e->a, 0, sizeof(e->a));                                                            \
    }                                                                                              \
    EVEX_OP(scalar##bytes##_load, .run = run_scalar##bytes##_load, .lane = bytes, .source = bytes) \
    EVEX_OP(scalar##bytes##_store, .run = evex_move, .lane = bytes, .to = EVEX_TO_W)
SCALAR_MOVE(4)
SCALAR_MOVE(8)

/* Two quads: lane 1 of the result need not be that of H. */
#define QUADS(name, low, high)                                                                     \
    static void run_##name(struct evex *e)                                                         \
    {                                                                                              \
        e->r.q[0] = low;                                                                           \
        e->r.q[1] = high;                                                                          \
    }                                                                                              \
    EVEX_OP(name, .run = run_##name, .lane = 8, .wide = 8)
QUADS(vmovlps, e->b.q[0], e->a.q[1])
QUADS(vmovhps, e->a.q[0], e->b.q[0])
QUADS(vmovhlps, e->b.q[1], e->a.q[1])
QUADS(vmovlhps, e->a.q[0], e->b.q[0])
QUADS(vmovq, e->b.q[0], 0)

static void run_general(struct evex *e)
{
    e->r.q[0] = e->b.q[0];
    e->r.q[1] = 0;
}
EVEX_OP(vmovq_general, .run = run_general, .lane = 8, .wide = 8, .general = true)

static void run_general_32(struct evex *e)
{
    e->r.q[0] = (uint32_t)e->b.q[0];
    e->r.q[1] = 0;
}
EVEX_OP(vmovd_general, .run = run_general_32, .lane = 8, .wide = 8, .general = true)

/* The low quad, stored; a register has zeros above it. */
static void run_vmovq_store(struct evex *e)
{
    memset(&e->a, 0, sizeof(e->a));
    e->r = e->b;
}
EVEX_OP(vmovq_store, .run = run_vmovq_store, .lane = 8, .to = EVEX_TO_W)

static void run_high_store(struct evex *e)
{
    e->r.q[0] = e->b.q[1];
}
EVEX_OP(vmovhps_store, .run = run_high_store, .lane = 8, .to = EVEX_TO_W)

/* VPINSR, VPEXTR, VEXTRACTPS: imm names the element. */
#define ELEMENT(letter, bytes)                                                                     \
    static void run_vpinsr##letter(struct evex *e)                                                 \
    {                                                                                              \
        e->r = e->a;                                                                               \
        LANE_##bytes(e->r, e->imm % (16 / bytes)) = (UINT_##bytes)e->b.q[0];                       \
    }                                                                                              \
    EVEX_OP(vpinsr##letter, .run = run_vpinsr##letter, .lane = bytes, .wide = bytes,               \
            .general = true)                                                                       \
    static void run_vpextr##letter(struct evex *e)                                                 \
    {                                                                                              \
        e->k = LANE_##bytes(e->b, e->imm % (16 / bytes));                                          \
    }                                                                                              \
    EVEX_OP(vpextr##letter, .run = run_vpextr##letter, .lane = bytes, .wide = bytes,               \
            .to = EVEX_TO_E)
ELEMENT(b, 1)
ELEMENT(w, 2)
ELEMENT(d, 4)
ELEMENT(q, 8)
/* The older encoding: the element of a register. */
EVEX_OP(vpextrw_g, .run = run_vpextrw, .lane = 2, .wide = 2, .to = EVEX_TO_G)

/* VMOVD, VMOVQ to general registers or memory. */
#define LOW_ELEMENT(letter, bytes)                                                                 \
    static void run_vmov##letter##_to(struct evex *e)                                              \
    {                                                                                              \
        e->k = LANE_##bytes(e->b, 0);                                                              \
    }                                                                                              \
    EVEX_OP(vmov##letter##_to, .run = run_vmov##letter##_to, .lane = bytes, .wide = bytes,         \
            .to = EVEX_TO_E)
LOW_ELEMENT(d, 4)
LOW_ELEMENT(q, 8)

/* imm: element of a register, place in the result, elements to clear. */
static void run_vinsertps(struct evex *e)
{
    unsigned from = e->i->flags & INSN_MEM ? 0 : e->imm >> 6;

    e->r = e->a;
    VREG_D(e->r, e->imm >> 4 & 3) = VREG_D(e->b, from);
    for (unsigned n = 0; n < 4; n++)
        if (e->imm >> n & 1)
            VREG_D(e->r, n) = 0;
}
EVEX_OP(vinsertps, .run = run_vinsertps, .lane = 4, .wide = 4)

/* ---- Broadcasts --------------------------------------------------------------------------- */

/* op_evex_broadcast<bytes>[x<count>]: of `count` elements in vector register or memory. */
#define BROADCAST(name, bytes, count, from_general)                                                \
    static void run_##name(struct evex *e)                                                         \
    {                                                                                              \
        for (unsigned n = 0; n < e->lanes; n++)                                                    \
            LANE_##bytes(e->r, n) = LANE_##bytes(e->b, n % (count));                               \
    }                                                                                              \
    EVEX_OP(name, .run = run_##name, .lane = bytes, .source = bytes, .wide = bytes,                \
            .repeats = count, .general = from_general)
BROADCAST(broadcast1, 1, 1, false)
BROADCAST(broadcast2, 2, 1, false)
BROADCAST(broadcast4, 4, 1, false)
BROADCAST(broadcast8, 8, 1, false)
BROADCAST(broadcast1_general, 1, 1, true)
BROADCAST(broadcast2_general, 2, 1, true)
BROADCAST(broadcast4_general, 4, 1, true)
BROADCAST(broadcast8_general, 8, 1, true)
BROADCAST(broadcast4x2, 4, 2, false)
BROADCAST(broadcast4x4, 4, 4, false)
BROADCAST(broadcast4x8, 4, 8, false)
BROADCAST(broadcast8x2, 8, 2, false)
BROADCAST(broadcast8x4, 8, 4, false)

/* ---- Parts of vectors --------------------------------------------------------------------- */

/* 128 or 256 bits (`quads`) into H, or out of V, at the place that imm names. */
#define PART(name, bytes, quads)                                                                   \
    static void run_vinsert##name(struct evex *e)                                                  \
    {                                                                                              \
        unsigned places = e->length / 8 / (quads);                                                 \
        e->r = e->a;                                                                               \
        memcpy(e->r.q + (e->imm & (places - 1)) * (quads), e->b.q, (quads)*8);                     \
    }                                                                                              \
    EVEX_OP(vinsert##name, .run = run_vinsert##name, .lane = bytes, .wide = bytes)                 \
    static void run_vextract##name(struct evex *e)                                                 \
    {                                                                                              \
        unsigned places = e->length / 8 / (quads);                                                 \
        memcpy(e->r.q, e->b.q + (e->imm & (places - 1)) * (quads), (quads)*8);                     \
        e->lanes = (quads)*8 / bytes;                                                              \
        e->mask &= BIT64(e->lanes) - 1; /* only those count */                                     \
    }                                                                                              \
    EVEX_OP(vextract##name, .run = run_vextract##name, .lane = bytes, .wide = bytes,               \
            .to = EVEX_TO_W, .strict = true)
PART(32x4, 4, 2)
PART(64x2, 8, 2)
PART(32x8, 4, 4)
PART(64x4, 8, 4)

/* ---- Widening and narrowing --------------------------------------------------------------- */

#define WIDEN(name, TO, FROM, KIND)                                                                \
    static void run_##name(struct evex *e)                                                         \
    {                                                                                              \
        for (unsigned n = 0; n < e->lanes; n++)                                                    \
            LANE_##TO(e->r, n) = (UINT_##TO)(KIND##_##FROM)LANE_##FROM(e->b, n);                   \
    }                                                                                              \
    EVEX_OP(name, .run = run_##name, .lane = TO, .source = FROM, .wide = TO)
#define WIDEN_BOTH(type, TO, FROM)                                                                 \
    WIDEN(vpmovsx##type, TO, FROM, SINT)                                                           \
    WIDEN(vpmovzx##type, TO, FROM, UINT)
WIDEN_BOTH(bw, 2, 1)
WIDEN_BOTH(bd, 4, 1)
WIDEN_BOTH(bq, 8, 1)
WIDEN_BOTH(wd, 4, 2)
WIDEN_BOTH(wq, 8, 2)
WIDEN_BOTH(dq, 8, 4)

static int64_t saturate_signed(int64_t v, unsigned bytes)
{
    int64_t limit = (int64_t)(BIT64(8 * bytes - 1) - 1);

    return v > limit ? limit : v < -limit - 1 ? -limit - 1 : v;
}

static uint64_t saturate_unsigned(uint64_t v, unsigned bytes)
{
    uint64_t limit = BIT64(8 * bytes) - 1;

    return v > limit ? limit : v;
}

#define NARROW(name, TO, FROM, expression)                                                         \
    static void run_##name(struct evex *e)                                                         \
    {                                                                                              \
        for (unsigned n = 0; n < e->lanes; n++) {                                                  \
            UINT_##FROM x = LANE_##FROM(e->b, n);                                                  \
            LANE_##TO(e->r, n) = (UINT_##TO)(expression);                                          \
        }                                                                                          \
    }                                                                                              \
    EVEX_OP(name, .run = run_##name, .lane = TO, .wide = FROM, .to = EVEX_TO_W)
#define NARROW_ALL(type, TO, FROM)                                                                 \
    NARROW(vpmov##type, TO, FROM, x)                                                               \
    NARROW(vpmovs##type, TO, FROM, saturate_signed((SINT_##FROM)x, TO))                            \
    NARROW(vpmovus##type, TO, FROM, saturate_unsigned(x, TO))
NARROW_ALL(wb, 1, 2)
NARROW_ALL(db, 1, 4)
NARROW_ALL(qb, 1, 8)
NARROW_ALL(dw, 2, 4)
NARROW_ALL(qw, 2, 8)
NARROW_ALL(qd, 4, 8)

/* ---- Compression and expansion ------------------------------------------------------------ */

/*
 * Compression puts the selected elements next to each other: into memory only those, in a register
 * the rest stays or is cleared. Expansion is the other way round, and reads as many elements as are
 * selected.
 */
#define COMPRESS(bytes)                                                                            \
    static void run_compress##bytes(struct evex *e)                                                \
    {                                                                                              \
        unsigned count = 0;                                                                        \
        for (unsigned n = 0; n < e->lanes; n++)                                                    \
            if (e->mask >> n & 1)                                                                  \
                LANE_##bytes(e->r, count++) = LANE_##bytes(e->b, n);                               \
        e->mask = count == 64 ? UINT64_MAX : BIT64(count) - 1;                                     \
    }                                                                                              \
    EVEX_OP(compress##bytes, .run = run_compress##bytes, .lane = bytes, .wide = bytes,             \
            .to = EVEX_TO_W)                                                                       \
    static void run_expand##bytes(struct evex *e)                                                  \
    {                                                                                              \
        unsigned count = 0;                                                                        \
        for (unsigned n = 0; n < e->lanes; n++)                                                    \
            if (e->mask >> n & 1)                                                                  \
                LANE_##bytes(e->r, n) = LANE_##bytes(e->b, count++);                               \
    }                                                                                              \
    EVEX_OP(expand##bytes, .run = run_expand##bytes, .lane = bytes, .source = bytes,               \
            .wide = bytes, .packed = true)
COMPRESS(1)
COMPRESS(2)
COMPRESS(4)
COMPRESS(8)
