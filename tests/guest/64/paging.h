/* A window of virtual addresses with tables of its own, and frames to map there. */
#ifndef GUEST_PAGING_H
#define GUEST_PAGING_H

#include "guest.h"

#define PTE_P    0x1ull
#define PTE_W    0x2ull
#define PTE_U    0x4ull
#define PTE_A    0x20ull
#define PTE_D    0x40ull
#define PTE_PS   0x80ull
#define PTE_G    0x100ull
#define PTE_NX   (1ull << 63)
#define PTE_PKEY (0xfull << 59)

/* Error code of #PF. */
#define PF_P    0x1
#define PF_W    0x2
#define PF_U    0x4
#define PF_RSVD 0x8
#define PF_I    0x10
#define PF_PK   0x20

#define HAS_NX HAS_EXTD(20)
/* What the error code of a fetch has if SMEP is off. */
#define PF_FETCH (rdmsr(MSR_EFER) & EFER_NXE ? PF_I : 0)

/* The first address of PML4 entry 2; nothing else is mapped there. */
#define WINDOW 0x10000000000ull
#define FRAMES 8

extern volatile uint64_t pml4[512];

static volatile uint64_t window_tables[3][512] __attribute__((aligned(4096)));
static volatile uint8_t frames[FRAMES][4096] __attribute__((aligned(4096)));

static inline uint64_t frame_pa(unsigned n)
{
    return (uint64_t)frames[n];
}

/* The entry of the walk to WINDOW; level 4 is the PML4's, 1 the page's. */
static inline volatile uint64_t *window_entry(unsigned level)
{
    return level == 4 ? &pml4[2] : &window_tables[level - 1][0];
}

/* Maps page n (up to 511) of the window, upper levels with all rights. */
static inline void window_map(unsigned n, uint64_t pa, uint64_t bits)
{
    pml4[2] = (uint64_t)window_tables[2] | PTE_P | PTE_W | PTE_U;
    window_tables[2][0] = (uint64_t)window_tables[1] | PTE_P | PTE_W | PTE_U;
    window_tables[1][0] = (uint64_t)window_tables[0] | PTE_P | PTE_W | PTE_U;
    window_tables[0][n] = pa | bits;
}

/* Gives one entry of the walk these rights (P, W, U, NX) and keeps the rest. */
static inline void window_limit(unsigned level, uint64_t rights)
{
    *window_entry(level) = (*window_entry(level) & ~(PTE_P | PTE_W | PTE_U | PTE_NX)) | rights;
}

static inline void window_flush(void)
{
    write_cr3(read_cr3());
}

#endif
