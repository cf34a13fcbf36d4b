/*
 * EVEX-encoded instructions as op functions see them. Every one is a kernel: a function that
 * computes all elements of the result from whole operands, and a few facts about the elements.
 * evex_run fetches the operands, calls it, and does what they share: lengths, broadcasts, embedded
 * rounding, writemasks, faults that masks suppress, exceptions.
 * Source: Intel SDM volume 1, chapter 15; volume 2A, 2.7.
 */
#ifndef CPU_OPS_AVX512_H
#define CPU_OPS_AVX512_H

#include "cpu/avx_vec.h"
#include "cpu/softfloat.h"

/* One instruction while it runs. */
struct evex {
    struct vcpu *cpu;
    const struct insn *i;
    unsigned length; /* of the vectors, in bytes: 16, 32, 64 */
    unsigned lanes;  /* elements that the mask governs */
    unsigned imm;    /* the immediate byte */
    uint64_t mask;   /* bit n: element n is selected; without a mask all are */
    bool quiet;      /* SAE: no exceptions, no flags */
    struct softfloat_env env; /* for floating point: control bits as the instruction sees them */
    union vreg d;    /* destination as it was */
    union vreg a, b; /* H and W (of stores V); a broadcast element is in all places */
    union vreg r;    /* result: the kernel sets as many elements as there are lanes */
    uint64_t k;      /* or a result that is no vector */
};

typedef void evex_fn(struct evex *e);

/* Where the result goes. */
enum evex_to {
    EVEX_TO_V, /* e->r, by the mask */
    EVEX_TO_H,
    EVEX_TO_W,     /* likewise, register or memory; the source is V */
    EVEX_TO_K,     /* e->k, and zeros where the mask has them */
    EVEX_TO_G,     /* e->k: general register in ModRM.reg */
    EVEX_TO_E,     /* e->k: general register in ModRM.rm, or memory; the source is V */
    EVEX_TO_FLAGS, /* e->k: status flags */
};

struct evex_kernel {
    evex_fn *run;
    uint8_t lane;   /* bytes of an element of the result: what one bit of the mask governs */
    uint8_t source; /* bytes of memory that belong to it; 0: the mask suppresses no faults */
    uint8_t wide;   /* there are length / wide lanes; 0: one, the rest of 128 bits is that of H */
    bool keeps;     /* or of the destination */
    uint8_t to;     /* enum evex_to */
    bool aligned;   /* #GP(0) unless the memory operand is aligned to its size */
    bool general;   /* the register form of W is a general register */
    bool packed;    /* memory has as many elements as the mask selects */
    bool strict;    /* a store may fault at elements that the mask leaves out */
    uint8_t repeats; /* memory has this many elements, which make lane after lane; 0: one each */
};

/* Runs the instruction. May raise before anything has changed. */
void evex_run(struct vcpu *cpu, const struct insn *i, const struct evex_kernel *kernel);

/* op_evex_<name> of a kernel. */
#define EVEX_OP(name, ...)                                                                         \
    OP(evex_##name)                                                                                \
    {                                                                                              \
        static const struct evex_kernel kernel = {__VA_ARGS__};                                    \
        evex_run(cpu, i, &kernel);                                                                 \
        NEXT;                                                                                      \
    }

/* Element n of a vector, by its bytes. */
#define LANE_1(v, n) VREG_B(v, n)
#define LANE_2(v, n) VREG_W(v, n)
#define LANE_4(v, n) VREG_D(v, n)
#define LANE_8(v, n) ((v).q[n])

#define UINT_1 uint8_t
#define UINT_2 uint16_t
#define UINT_4 uint32_t
#define UINT_8 uint64_t
#define SINT_1 int8_t
#define SINT_2 int16_t
#define SINT_4 int32_t
#define SINT_8 int64_t

/* A kernel whose elements are an expression of x and y, elements of H and W of type T, and z, that
 * of the destination; n is its number. from: the source of the kernel, 0 if masks suppress no
 * fault. */
#define EVEX_LANES(name, bytes, T, expression) EVEX_LANES_FROM(name, bytes, bytes, T, expression)
#define EVEX_LANES_FROM(name, bytes, from, T, expression)                                         \
    static void run_##name(struct evex *e)                                                         \
    {                                                                                              \
        for (unsigned n = 0; n < e->lanes; n++) {                                                  \
            T x = (T)LANE_##bytes(e->a, n), y = (T)LANE_##bytes(e->b, n);                          \
            T z = (T)LANE_##bytes(e->d, n);                                                        \
            (void)x;                                                                               \
            (void)y;                                                                               \
            (void)z;                                                                               \
            LANE_##bytes(e->r, n) = (UINT_##bytes)(expression);                                    \
        }                                                                                          \
    }                                                                                              \
    EVEX_OP(name, .run = run_##name, .lane = bytes, .source = from, .wide = bytes)

/* The same for signed and for unsigned elements. */
#define EVEX_UNSIGNED(name, bytes, expression) EVEX_LANES(name, bytes, UINT_##bytes, expression)
#define EVEX_SIGNED(name, bytes, expression)   EVEX_LANES(name, bytes, SINT_##bytes, expression)

/* A comparison: bit n of the result is a condition on x and y. */
#define EVEX_TEST(name, bytes, T, condition)                                                       \
    static void run_##name(struct evex *e)                                                         \
    {                                                                                              \
        for (unsigned n = 0; n < e->lanes; n++) {                                                  \
            T x = (T)LANE_##bytes(e->a, n), y = (T)LANE_##bytes(e->b, n);                          \
            e->k |= (uint64_t)(condition) << n;                                                    \
        }                                                                                          \
    }                                                                                              \
    EVEX_OP(name, .run = run_##name, .lane = bytes, .source = bytes, .wide = bytes,                \
            .to = EVEX_TO_K)

/* A kernel of a function on 16-byte values: r of a (H) and b (W), for each 128 bits. bytes: what
 * the mask governs; from: as above. */
#define EVEX_128(name, bytes, from, expression)                                                    \
    static void run_##name(struct evex *e)                                                         \
    {                                                                                              \
        for (unsigned n = 0; n < e->length / 8; n += 2) {                                          \
            union vec a = vec_from64(e->a.q[n], e->a.q[n + 1]);                                    \
            union vec b = vec_from64(e->b.q[n], e->b.q[n + 1]);                                    \
            union vec r = expression;                                                              \
            e->r.q[n] = r.q[0];                                                                    \
            e->r.q[n + 1] = r.q[1];                                                                \
        }                                                                                          \
    }                                                                                              \
    EVEX_OP(name, .run = run_##name, .lane = bytes, .source = from, .wide = bytes)

/* The result is the W operand (evex_run does the rest): moves. */
evex_fn evex_move;

#endif
