/*
 * AVX512_BF16: conversion to BF16, the upper half of a single, and sums of products of such
 * numbers. MXCSR plays no part: rounding is to nearest, denormals are zeros before and after, no
 * flag is set. Source: Intel SDM volume 2C, "VCVTNE2PS2BF16", "VCVTNEPS2BF16", "VDPBF16PS".
 */
#include "cpu/ops/avx512.h"

static uint16_t bf16_from_single(uint32_t a)
{
    uint32_t magnitude = a & 0x7fffffff;

    if (magnitude > 0x7f800000)
        return (uint16_t)(a >> 16 | 0x40);
    if (magnitude < 0x00800000)
        return a >> 16 & 0x8000;
    return (uint16_t)((a + 0x7fff + (a >> 16 & 1)) >> 16);
}

/* The lower half of the result is of W, the upper of H. */
static void run_vcvtne2ps2bf16(struct evex *e)
{
    for (unsigned n = 0; n < e->lanes / 2; n++) {
        VREG_W(e->r, n) = bf16_from_single(VREG_D(e->b, n));
        VREG_W(e->r, n + e->lanes / 2) = bf16_from_single(VREG_D(e->a, n));
    }
}
EVEX_OP(vcvtne2ps2bf16, .run = run_vcvtne2ps2bf16, .lane = 2, .wide = 2)

static void run_vcvtneps2bf16(struct evex *e)
{
    for (unsigned n = 0; n < e->lanes; n++)
        VREG_W(e->r, n) = bf16_from_single(VREG_D(e->b, n));
}
EVEX_OP(vcvtneps2bf16, .run = run_vcvtneps2bf16, .lane = 2, .source = 4, .wide = 4)

/* z and the product of the upper halves, and then that of the lower ones. */
static uint32_t dot(uint32_t x, uint32_t y, uint32_t z)
{
    struct softfloat_env env = {.rounding = SOFTFLOAT_NEAREST, .daz = true, .ftz = true};

    z = sf32_muladd(&env, x & 0xffff0000, y & 0xffff0000, z, 0);
    return sf32_muladd(&env, x << 16, y << 16, z, 0);
}
EVEX_UNSIGNED(vdpbf16ps, 4, dot(x, y, z))
