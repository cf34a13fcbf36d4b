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

#define BLOCK_MAX_INSNS 64

struct block {
    uint64_t address;     /* machine address of the first byte */
    uint64_t second;      /* machine address of the second page's frame if it straddles, else ~0 */
    uint32_t mode;        /* mode word it was decoded for */
    uint16_t count;       /* instructions, the sentinel not counted */
    uint16_t start;       /* offset of the first byte in its page */
    uint16_t length;      /* bytes */
    bool valid;
    struct block *hash_next;
    struct block *frame_next[2]; /* other blocks of the same frame: first, second */
    struct insn insns[]; /* count + 1: the last is op_block_end */
};

struct block_cache;

struct block_cache *block_cache_create(struct vcpu *cpu);
void block_cache_destroy(struct block_cache *cache);

/* The block at vcpu.rip in vcpu.mode | extra (MODE_SINGLE or 0), decoded if need be; also sets
 * GPR_IP_BASE. Raises the fetch's fault at vcpu.rip. */
const struct block *block_find(struct vcpu *cpu, uint32_t extra);

/* Drops every block. Only at a block boundary. */
void block_cache_drop(struct vcpu *cpu);

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
