/*
 * Decoded blocks and their cache. A block is a run of instructions in one linear page (or the one
 * instruction that straddles two), keyed by the machine address of its first byte and the mode
 * word. Blocks do not depend on their linear address. Frames that blocks come from are watched
 * (FRAME_WATCH_CODE): a store into the bytes of a block invalidates it.
 *
 * Memory: blocks are carved out of one arena; an invalidated block stays where it is (somebody may
 * be running it) until the arena is full and everything is dropped at a block boundary.
 */
#ifndef CPU_BLOCK_H
#define CPU_BLOCK_H

#include "cpu/cpu.h"
#include "cpu/mode.h"

#define BLOCK_MAX_INSNS 64
#define BLOCK_STALE     (INT64_MAX / 2) /* no budget is that large */

/* Linear look-up: follows the TLB through mmu.code_epoch. */
struct block_lookup {
    uint64_t linear;
    uint64_t key; /* block_key, or BLOCK_NO_KEY */
    struct block *block;
    uint64_t unused;
};

#define BLOCK_LOOKUP_SIZE (1u << 14)
#define BLOCK_NO_KEY      UINT64_MAX

struct block {
    uint64_t address;     /* machine address of the first byte */
    const uint8_t *host;  /* host address of the same */
    uint64_t second;      /* machine address of the second page's frame if it straddles, else ~0 */
    uint32_t mode;        /* mode word it was decoded for */
    uint16_t count;       /* instructions, the sentinel not counted */
    uint16_t start;       /* offset of the first byte in its page */
    uint16_t length;      /* bytes */
    bool debug;           /* an execution point may lie at its start; cpu/debug.h */
    int64_t chain_cost;   /* count; BLOCK_STALE once invalidated, so that no chain enters it */
    /* Where a direct branch within the page goes: 0 not taken (or only way), 1 taken. Valid
     * wherever the block is mapped, since both lie in the same frame. block_nowhere: unknown yet,
     * or out of the page. */
    const struct block *chain[2];
    struct block *hash_next;
    struct block *frame_next[2]; /* other blocks of the same frame: first, second */
    struct insn insns[]; /* count + 1: the last is op_block_end */
};

/* What nothing can enter: its chain_cost is BLOCK_STALE. */
extern const struct block block_nowhere;

/* Remembers for crash reports that a block at rip is entered. */
FORCE_INLINE void block_remember(struct vcpu *cpu, uint64_t rip)
{
    cpu->recent[cpu->recent_count++ % ARRAY_SIZE(cpu->recent)] = rip;
}

struct block_cache *block_cache_create(struct vcpu *cpu);
void block_cache_destroy(struct block_cache *cache);

/* The block at vcpu.rip in vcpu.mode | extra (MODE_SINGLE or 0), decoded if need be; also sets
 * GPR_IP_BASE. Raises the fetch's fault at vcpu.rip. */
const struct block *block_find(struct vcpu *cpu, uint32_t extra);

/* Drops every block. Only at a block boundary. */
void block_cache_drop(struct vcpu *cpu);

/* Links the block that follows into the one that asked for it (vcpu.chain_slot), if any. */
static inline void block_link(struct vcpu *cpu, const struct block *next)
{
    if (cpu->chain_slot != NULL) {
        /* What the second page of a straddling block maps to can change, and breakpoints are for
         * the run loop: always looked up. */
        if (next->second == UINT64_MAX && !next->debug && !cpu->trace_blocks)
            *cpu->chain_slot = next;
        cpu->chain_slot = NULL;
    }
}

/* What a look-up must match besides the address. */
FORCE_INLINE uint64_t block_key(const struct vcpu *cpu, uint32_t mode)
{
    return cpu->mmu.code_epoch << MODE_BITS | mode;
}

FORCE_INLINE struct block_lookup *block_lookup_slot(const struct vcpu *cpu, uint64_t linear)
{
    return &cpu->lookup[(linear ^ (linear >> 12)) & (BLOCK_LOOKUP_SIZE - 1)];
}

/* May this block run next without the run loop's having a look at the world? Then it is accounted
 * for. */
FORCE_INLINE bool block_enter(struct vcpu *cpu, const struct block *next)
{
    int64_t left = cpu->budget - next->chain_cost;

    if (unlikely(left < 0) ||
        unlikely(atomic_load_explicit(&cpu->wanted, memory_order_relaxed) != 0))
        return false;
    cpu->budget = left;
    cpu->block = next;
    return true;
}

/* In builds where a call in tail position is a jump, blocks follow each other without a return to
 * the run loop. */
#if defined(GNOMON_THREADED)

/* 64-bit mode: the block at rip, whatever page it is in, accounted for; NULL if that is not simple.
 * What it finds has been fetched: rip is canonical. */
FORCE_INLINE const struct block *block_follow(struct vcpu *cpu, uint64_t rip)
{
    const struct block_lookup *l = block_lookup_slot(cpu, rip);
    const struct block *b = l->block;

    if (likely(l->linear == rip) && likely(l->key == block_key(cpu, cpu->mode)) &&
        block_enter(cpu, b)) {
        cpu->gpr[GPR_IP_BASE] = rip & PAGE_MASK;
        block_remember(cpu, rip);
        return b;
    }
    return NULL;
}

/* 64-bit mode: continues at rip; in the run loop if that is not simple. */
FORCE_INLINE void block_jump(struct vcpu *cpu, uint64_t rip)
{
    const struct block *b = block_follow(cpu, rip);

    if (likely(b != NULL))
        b->insns[0].op(cpu, &b->insns[0]);
    else
        cpu->rip = rip;
}

/* What block_chain does when it cannot go on by itself. */
__attribute__((noinline)) void block_chain_stop(struct vcpu *cpu, unsigned slot, uint64_t offset);

/*
 * 64-bit mode: leaves a block by a direct branch to `offset` from GPR_IP_BASE: straight into the
 * following block when it is known, lies in the same page, fits the budget and nothing is pending;
 * else by way of the look-up, or back to the run loop, which finds it and links it.
 */
FORCE_INLINE void block_chain(struct vcpu *cpu, unsigned slot, uint64_t offset)
{
    const struct block *next = cpu->block->chain[slot];

    if (block_enter(cpu, next))
        next->insns[0].op(cpu, &next->insns[0]);
    else
        block_chain_stop(cpu, slot, offset);
}

#else

FORCE_INLINE const struct block *block_follow(struct vcpu *cpu __attribute__((unused)),
                                              uint64_t rip __attribute__((unused)))
{
    return NULL;
}

FORCE_INLINE void block_jump(struct vcpu *cpu, uint64_t rip)
{
    cpu->rip = rip;
}

FORCE_INLINE void block_chain(struct vcpu *cpu, unsigned slot __attribute__((unused)),
                              uint64_t offset)
{
    cpu->rip = cpu->gpr[GPR_IP_BASE] + offset;
}

#endif

/* RIP of an instruction of the running block. */
uint64_t cpu_insn_start(const struct vcpu *cpu, const struct insn *i);

/* RIP of the instruction after it. */
static inline uint64_t cpu_insn_next(const struct vcpu *cpu, const struct insn *i)
{
    return (cpu->gpr[GPR_IP_BASE] + i->ip_next) & cpu->ip_mask;
}

/* Position of an instruction in its block, counted in guest instructions. */
static inline unsigned block_index(const struct block *b, const struct insn *i)
{
    return (unsigned)(i - b->insns);
}

#endif
