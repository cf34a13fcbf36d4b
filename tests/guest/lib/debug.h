/* Debug registers, and a hook that notes every #DB and goes on. */
#ifndef GUEST_DEBUG_H
#define GUEST_DEBUG_H

#include "guest.h"

#define DR6_INIT 0xffff0ff0u
#define DR6_B(n) (1u << (n))
#define DR6_BD   0x2000u
#define DR6_BS   0x4000u
#define DR6_BT   0x8000u
#define DR7_INIT 0x400u
#define DR7_GD   0x2000u

/* Kinds and lengths of a breakpoint as DR7 encodes them (SDM 3B 17.2.4). */
enum point_kind { POINT_EXEC, POINT_WRITE, POINT_IO, POINT_ACCESS };
#define DR7_LOCAL(n)             (1u << (2 * (n)))
#define DR7_GLOBAL(n)            (2u << (2 * (n)))
#define DR7_POINT(n, kind, code) ((unsigned)(kind) << (16 + 4 * (n)) | (code) << (18 + 4 * (n)))

#define DEFINE_DR(n)                                                                               \
    static inline unsigned long read_dr##n(void)                                                   \
    {                                                                                              \
        unsigned long v;                                                                           \
                                                                                                   \
        asm volatile("mov %%dr" #n ", %0" : "=r"(v));                                              \
        return v;                                                                                  \
    }                                                                                              \
    static inline void write_dr##n(unsigned long v)                                                \
    {                                                                                              \
        asm volatile("mov %0, %%dr" #n : : "r"(v) : "memory");                                     \
    }
DEFINE_DR(0)
DEFINE_DR(1)
DEFINE_DR(2)
DEFINE_DR(3)
DEFINE_DR(6)
DEFINE_DR(7)
#undef DEFINE_DR

static inline void write_dr(unsigned n, unsigned long v)
{
    n == 0 ? write_dr0(v) : n == 1 ? write_dr1(v) : n == 2 ? write_dr2(v) : write_dr3(v);
}

/* Breakpoint n at an address, enabled globally; length in bytes. */
static inline void point_set(unsigned n, enum point_kind kind, unsigned long address,
                             unsigned length)
{
    unsigned code = length == 8 ? 2 : length - 1;
    unsigned long mask = ~(unsigned long)(0xf0000u << (4 * n) | 3u << (2 * n));

    write_dr(n, address);
    write_dr7((read_dr7() & mask) | DR7_GLOBAL(n) | DR7_POINT(n, kind, code));
}

static inline void points_clear(void)
{
    write_dr7(DR7_INIT);
    write_dr6(DR6_INIT);
}

/* #DBs since the list was emptied. */
#define DEBUG_HITS 64
struct debug_hit {
    unsigned long ip, dr6, flags, cs;
};
static volatile struct debug_hit debug_hits[DEBUG_HITS];
static volatile unsigned debug_count;

/* A trap_hook: notes a #DB and goes on; a breakpoint at an instruction does not hit twice. */
static bool __attribute__((unused)) debug_hook(struct frame *f)
{
    if (f->vector != DB)
        return false;
    if (debug_count < DEBUG_HITS) {
        debug_hits[debug_count].ip = f->ip;
        debug_hits[debug_count].dr6 = read_dr6();
        debug_hits[debug_count].flags = f->flags;
        debug_hits[debug_count].cs = f->cs;
    }
    debug_count++;
    write_dr6(DR6_INIT);
    f->flags |= FL_RF;
    if (debug_count > 4 * DEBUG_HITS)
        f->flags &= ~(unsigned long)FL_TF;
    return true;
}

#define DEBUG_START() (debug_count = 0, trap_hook = debug_hook)

#endif
