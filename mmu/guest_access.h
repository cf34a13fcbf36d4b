/*
 * The one place where C code reads and writes guest memory through a host pointer. Values are in
 * host order on the C side and little endian in memory. An access that is naturally aligned is one
 * relaxed atomic access; an unaligned one is never torn below what the host does for a plain
 * unaligned access of that width (x86 hosts) or below bytes (others). Locked forms are atomic on
 * host memory. The guest's own races are not ours: ThreadSanitizer sees atomics here.
 */
#ifndef MMU_GUEST_ACCESS_H
#define MMU_GUEST_ACCESS_H

#include "base/bits.h"

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define GUEST_ACCESS_DEFINE(bits, swap_in, swap_out)                                               \
    static inline uint##bits##_t guest_load##bits(const void *p)                                   \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        if (likely(((uintptr_t)p & (bits / 8 - 1)) == 0))                                          \
            v = __atomic_load_n((const uint##bits##_t *)p, __ATOMIC_RELAXED);                      \
        else                                                                                       \
            memcpy(&v, p, sizeof(v));                                                              \
        return swap_in(v);                                                                         \
    }                                                                                              \
    static inline void guest_store##bits(void *p, uint##bits##_t value)                            \
    {                                                                                              \
        uint##bits##_t v = swap_out(value);                                                        \
        if (likely(((uintptr_t)p & (bits / 8 - 1)) == 0))                                          \
            __atomic_store_n((uint##bits##_t *)p, v, __ATOMIC_RELAXED);                            \
        else                                                                                       \
            memcpy(p, &v, sizeof(v));                                                              \
    }                                                                                              \
    /* p must be aligned. Stores desired if *p equals *expected and returns true; else loads      \
     * *expected and returns false. Sequentially consistent. */                                    \
    static inline bool guest_cas##bits(void *p, uint##bits##_t *expected, uint##bits##_t desired)  \
    {                                                                                              \
        uint##bits##_t e = swap_out(*expected), d = swap_out(desired);                             \
        bool done = __atomic_compare_exchange_n((uint##bits##_t *)p, &e, d, false,                 \
                                                __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);               \
        *expected = swap_in(e);                                                                    \
        return done;                                                                               \
    }

GUEST_ACCESS_DEFINE(8, , )
GUEST_ACCESS_DEFINE(16, le16toh, htole16)
GUEST_ACCESS_DEFINE(32, le32toh, htole32)
GUEST_ACCESS_DEFINE(64, le64toh, htole64)
#undef GUEST_ACCESS_DEFINE

/* size is 1, 2, 4 or 8. */
static inline uint64_t guest_load(const void *p, unsigned size)
{
    switch (size) {
    case 1:
        return guest_load8(p);
    case 2:
        return guest_load16(p);
    case 4:
        return guest_load32(p);
    default:
        return guest_load64(p);
    }
}

static inline void guest_store(void *p, uint64_t value, unsigned size)
{
    switch (size) {
    case 1:
        guest_store8(p, (uint8_t)value);
        break;
    case 2:
        guest_store16(p, (uint16_t)value);
        break;
    case 4:
        guest_store32(p, (uint32_t)value);
        break;
    default:
        guest_store64(p, value);
        break;
    }
}

#endif
