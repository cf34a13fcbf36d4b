/*
 * Short forms of SSE op functions (cpu/ops/fast.h): moves to and from memory, and arithmetic while
 * the host's unit may do it. Everything else goes on as the general op.
 */
#include "cpu/ops/fast.h"
#include "cpu/sse_fp.h"

VEC_FN load128(const void *p)
{
    return vec_from64(guest_load64(p), guest_load64((const uint8_t *)p + 8));
}

static inline void store128(void *p, const uint64_t q[2])
{
    guest_store64(p, q[0]);
    guest_store64((uint8_t *)p + 8, q[1]);
}

#define ALIGNED ((linear & 15) == 0)

FAST_READ(movu_x_m, 16, xmm_set(cpu, i->reg, load128(p)))
FAST_WRITE(movu_store_m, 16, store128(p, cpu->vreg[i->reg].q))
FAST_READ_IF(mova_x_m, ALIGNED, 16, xmm_set(cpu, i->reg, load128(p)))
FAST_WRITE_IF(mova_store_m, ALIGNED, 16, store128(p, cpu->vreg[i->reg].q))
FAST_READ(movss_m, 4, xmm_set(cpu, i->reg, vec_from64(guest_load32(p), 0)))
FAST_READ(movsd_x_m, 8, xmm_set(cpu, i->reg, vec_from64(guest_load64(p), 0)))
FAST_WRITE(movss_store_m, 4, guest_store32(p, VREG_D(cpu->vreg[i->reg], 0)))
FAST_WRITE(movsd_x_store_m, 8, guest_store64(p, cpu->vreg[i->reg].q[0]))

#if defined(__x86_64__)
#define HOST_READY            cpu->sse_fast
#define HOST_UNIT(name, a, b) sse_host_##name(a, b, 0)
#else
#define HOST_READY            false
#define HOST_UNIT(name, a, b) ((void)(b), (a))
#endif

/* Sources in memory by type, and whether they are good. */
#define SOURCE_ps load128(p)
#define SOURCE_pd load128(p)
#define SOURCE_ss vec_from64(guest_load32(p), 0)
#define SOURCE_sd vec_from64(guest_load64(p), 0)
#define GOOD_ps   (HOST_READY && ALIGNED)
#define GOOD_pd   (HOST_READY && ALIGNED)
#define GOOD_ss   HOST_READY
#define GOOD_sd   HOST_READY
#define BYTES_ps  16
#define BYTES_pd  16
#define BYTES_ss  4
#define BYTES_sd  8

#define FP_FAST(name, type)                                                                        \
    OP(name##type##_r_fast)                                                                        \
    {                                                                                              \
        if (unlikely(!HOST_READY)) {                                                               \
            op_##name##type##_r(cpu, i);                                                           \
            return;                                                                                \
        }                                                                                          \
        xmm_set(cpu, i->reg, HOST_UNIT(name##type, xmm_get(cpu, i->reg), xmm_get(cpu, i->rm)));    \
        NEXT;                                                                                      \
    }                                                                                              \
    FAST_READ_IF(name##type##_m, GOOD_##type, BYTES_##type,                                        \
                 xmm_set(cpu, i->reg, HOST_UNIT(name##type, xmm_get(cpu, i->reg), SOURCE_##type)))

#define FP_FAST_4(name)                                                                            \
    op_fn op_##name##ps_r, op_##name##pd_r, op_##name##ss_r, op_##name##sd_r;                      \
    FP_FAST(name, ps)                                                                              \
    FP_FAST(name, pd)                                                                              \
    FP_FAST(name, ss)                                                                              \
    FP_FAST(name, sd)
SSE_FP_ARITHMETIC(FP_FAST_4)

#define FLAGS_FAST(name, type)                                                                     \
    op_fn op_##name##type##_r;                                                                     \
    OP(name##type##_r_fast)                                                                        \
    {                                                                                              \
        if (unlikely(!HOST_READY)) {                                                               \
            op_##name##type##_r(cpu, i);                                                           \
            return;                                                                                \
        }                                                                                          \
        flags_set(                                                                                 \
            cpu,                                                                                   \
            (uint32_t)HOST_UNIT(name##type, xmm_get(cpu, i->reg), xmm_get(cpu, i->rm)).vq[0]);     \
        NEXT;                                                                                      \
    }                                                                                              \
    FAST_READ_IF(                                                                                  \
        name##type##_m, HOST_READY, BYTES_##type,                                                  \
        flags_set(cpu,                                                                             \
                  (uint32_t)HOST_UNIT(name##type, xmm_get(cpu, i->reg), SOURCE_##type).vq[0]))
FLAGS_FAST(comi, ss)
FLAGS_FAST(comi, sd)
FLAGS_FAST(ucomi, ss)
FLAGS_FAST(ucomi, sd)
