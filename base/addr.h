/*
 * Address types of the emulated machine. The three spaces are distinct struct types, so that
 * mixing them does not compile:
 *   gva_t  guest virtual (linear) address
 *   gpa_t  guest physical address
 *   mpa_t  machine physical address: an offset into the machine's memory region
 * Host pointers are plain pointers and exist for guest memory only inside mmu/.
 */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE  4096u
#define PAGE_MASK  (~(uint64_t)0xfff)

typedef struct {
    uint64_t v;
} gva_t;

typedef struct {
    uint64_t v;
} gpa_t;

typedef struct {
    uint64_t v;
} mpa_t;

static inline gva_t gva(uint64_t v)
{
    return (gva_t){v};
}

static inline gpa_t gpa(uint64_t v)
{
    return (gpa_t){v};
}

static inline mpa_t mpa(uint64_t v)
{
    return (mpa_t){v};
}

/* The number of the 4 KiB frame that holds the machine address. */
static inline uint64_t mpa_frame(mpa_t a)
{
    return a.v >> PAGE_SHIFT;
}

#endif
