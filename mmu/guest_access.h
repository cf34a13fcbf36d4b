/*
 * The one place where C code reads and writes guest memory through a host pointer. Values are in
 * host order on the C side and little endian in memory. An access that is naturally aligned is one
 * relaxed atomic access; an unaligned one is never torn below what the host does for a plain
 * unaligned access of that width (x86 hosts) or below bytes (others). Locked forms are atomic on
 * host memory. The guest's own races are not ours: ThreadSanitizer sees atomics here.
 *
 * Order (SDM 3A 8.2.2): loads stay in order with what follows, stores with what precedes; only a
 * store may come after a later load. Hosts of that kind need nothing; on others a load acquires and
 * a store releases.
 */
#ifndef MMU_GUEST_ACCESS_H
#define MMU_GUEST_ACCESS_H

#include "base/bits.h"
#include "base/host/atomic128.h"

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Accesses that the host does in one instruction although C has no atomic type for them. */
#define GUEST_ACCESS_RACY __attribute__((no_sanitize("thread")))

#if defined(__x86_64__) || defined(__s390x__)
#define GUEST_LOAD_ORDER  __ATOMIC_RELAXED
#define GUEST_STORE_ORDER __ATOMIC_RELAXED
#else
#define GUEST_LOAD_ORDER  __ATOMIC_ACQUIRE
#define GUEST_STORE_ORDER __ATOMIC_RELEASE
#endif

/* For accesses that are no atomic ones: fences of the same order; none where that is relaxed. */
#define GUEST_ORDER_FENCE(order)                                                                   \
    do {                                                                                           \
        if ((order) != __ATOMIC_RELAXED)                                                           \
            __atomic_thread_fence(order);                                                          \
    } while (0)

#define GUEST_ACCESS_DEFINE(bits, swap_in, swap_out)                                               \
    GUEST_ACCESS_RACY static inline uint##bits##_t guest_unaligned_load##bits(const void *p)       \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        memcpy(&v, p, sizeof(v));                                                                  \
        GUEST_ORDER_FENCE(GUEST_LOAD_ORDER);                                                       \
        return v;                                                                                  \
    }                                                                                              \
    GUEST_ACCESS_RACY static inline void guest_unaligned_store##bits(void *p, uint##bits##_t v)    \
    {                                                                                              \
        GUEST_ORDER_FENCE(GUEST_STORE_ORDER);                                                      \
        memcpy(p, &v, sizeof(v));                                                                  \
    }                                                                                              \
    FORCE_INLINE uint##bits##_t guest_load##bits(const void *p)                                    \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        if (likely(((uintptr_t)p & (bits / 8 - 1)) == 0))                                          \
            v = __atomic_load_n((const uint##bits##_t *)p, GUEST_LOAD_ORDER);                      \
        else                                                                                       \
            v = guest_unaligned_load##bits(p);                                                     \
        return swap_in(v);                                                                         \
    }                                                                                              \
    FORCE_INLINE void guest_store##bits(void *p, uint##bits##_t value)                             \
    {                                                                                              \
        uint##bits##_t v = swap_out(value);                                                        \
        if (likely(((uintptr_t)p & (bits / 8 - 1)) == 0))                                          \
            __atomic_store_n((uint##bits##_t *)p, v, GUEST_STORE_ORDER);                           \
        else                                                                                       \
            guest_unaligned_store##bits(p, v);                                                     \
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

/* The same for 16 bytes, element 0 being the lower half; atomic if HOST_CAS128. */
static inline bool guest_cas128(void *p, uint64_t expected[2], const uint64_t desired[2])
{
    uint64_t e[2] = {htole64(expected[0]), htole64(expected[1])};
    uint64_t d[2] = {htole64(desired[0]), htole64(desired[1])};
    bool done = host_cas128(p, e, d);

    expected[0] = le64toh(e[0]);
    expected[1] = le64toh(e[1]);
    return done;
}

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

/* As guest_cas8..64 for size 1, 2, 4 or 8; p must be aligned to size. */
static inline bool guest_cas(void *p, unsigned size, uint64_t *expected, uint64_t desired)
{
    uint8_t e8 = (uint8_t)*expected;
    uint16_t e16 = (uint16_t)*expected;
    uint32_t e32 = (uint32_t)*expected;
    bool done;

    switch (size) {
    case 1:
        done = guest_cas8(p, &e8, (uint8_t)desired);
        *expected = e8;
        return done;
    case 2:
        done = guest_cas16(p, &e16, (uint16_t)desired);
        *expected = e16;
        return done;
    case 4:
        done = guest_cas32(p, &e32, (uint32_t)desired);
        *expected = e32;
        return done;
    default:
        return guest_cas64(p, expected, desired);
    }
}

/* Copies bytes out of and into guest memory, word by word where both the address and the length
 * allow. The bytes of one aligned 8-byte word are never torn. */
static inline void guest_copy_out(void *buffer, const void *p, size_t length)
{
    const uint8_t *from = p;
    uint8_t *to = buffer;

    for (; length > 0 && ((uintptr_t)from & 7) != 0; length--)
        *to++ = guest_load8(from++);
    for (; length >= 8; length -= 8, from += 8, to += 8) {
        uint64_t word = __atomic_load_n((const uint64_t *)(const void *)from, GUEST_LOAD_ORDER);

        memcpy(to, &word, 8);
    }
    for (; length > 0; length--)
        *to++ = guest_load8(from++);
}

static inline void guest_copy_in(void *p, const void *buffer, size_t length)
{
    const uint8_t *from = buffer;
    uint8_t *to = p;

    for (; length > 0 && ((uintptr_t)to & 7) != 0; length--)
        guest_store8(to++, *from++);
    for (; length >= 8; length -= 8, from += 8, to += 8) {
        uint64_t word;

        memcpy(&word, from, 8);
        __atomic_store_n((uint64_t *)(void *)to, word, GUEST_STORE_ORDER);
    }
    for (; length > 0; length--)
        guest_store8(to++, *from++);
}

#endif
