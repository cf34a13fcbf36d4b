/*
 * Small arithmetic on integers: alignment, bit fields, sign extension, and the few compiler hints
 * that the hot paths want. Everything here is pure and has no dependencies.
 */
#ifndef BASE_BITS_H
#define BASE_BITS_H

#include <stddef.h>
#include <stdint.h>

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* For the few functions on the hot paths that the compiler would rather call than inline. */
#define FORCE_INLINE static inline __attribute__((always_inline))

#define BIT(n)        (1u << (n))
#define BIT64(n)      (1ull << (n))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Rounds down/up to a multiple of align, a power of two. */
static inline uint64_t align_down(uint64_t v, uint64_t align)
{
    return v & ~(align - 1);
}

static inline uint64_t align_up(uint64_t v, uint64_t align)
{
    return (v + align - 1) & ~(align - 1);
}

/* Bits [low + count - 1 : low] of v; count is 1 to 63. */
static inline uint64_t bits_get(uint64_t v, unsigned low, unsigned count)
{
    return (v >> low) & (BIT64(count) - 1);
}

/* v with the bit `from` copied into all bits above it. */
static inline uint64_t sign_extend(uint64_t v, unsigned from)
{
    unsigned shift = 63 - from;
    return (uint64_t)((int64_t)(v << shift) >> shift);
}

/* A mask of the low size * 8 bits; size is 1, 2, 4 or 8. */
static inline uint64_t size_mask(unsigned size)
{
    return ~0ull >> (64 - 8 * size);
}

#endif
