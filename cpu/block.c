#include "cpu/block.h"

#include "base/check.h"
#include "base/host/host.h"
#include "base/log.h"
#include "cpu/decode.h"
#include "cpu/mem.h"
#include "cpu/mode.h"
#include "cpu/special.h"
#include "mmu/guest_access.h"

#include <stdlib.h>
#include <string.h>

#define HASH_SIZE     (1u << 16)
#define FRAME_SIZE    (1u << 12)
#define ARENA_SIZE    ((size_t)64 << 20)
#define FRAME_MAX     (1u << 18) /* frames that blocks come from */
#define CODE_AHEAD    48u        /* bytes of code copied beyond an instruction */
#define GRANULE_SHIFT 7          /* 128-byte granules: 32 in a frame */

/* A frame that blocks come from. */
struct code_frame {
    uint64_t frame;          /* frame number */
    uint32_t granules;       /* bit n: some block has bytes in granule n */
    struct block *blocks;    /* through frame_next[0] or [1] */
    struct code_frame *next; /* same hash slot */
    bool watched;            /* this processor hears of stores */
};

struct block_cache {
    struct block_lookup lookup[BLOCK_LOOKUP_SIZE];
    struct block *hash[HASH_SIZE];
    struct code_frame *frames[FRAME_SIZE];
    uint8_t *arena;
    size_t used;                    /* bytes of the arena */
    struct code_frame *frame_arena; /* FRAME_MAX */
    unsigned frames_used;
    uint64_t decoding; /* the frame whose code is about to be decoded, or ~0: its watch stays */
    uint64_t changes;  /* stores to code that were heard of */
    struct special *special;
    struct vcpu *cpu;
};

const struct block block_nowhere = {.chain_cost = BLOCK_STALE};

static unsigned hash_slot(uint64_t address, uint32_t mode)
{
    uint64_t h = (address ^ ((uint64_t)mode << 40)) * 0x9e3779b97f4a7c15ull;

    return (unsigned)(h >> 48) & (HASH_SIZE - 1);
}

static void *arena_take(struct block_cache *c, size_t size)
{
    void *p = c->arena + c->used;

    c->used += align_up(size, 64);
    CHECK(c->used <= ARENA_SIZE);
    return p;
}

static struct code_frame **frame_slot(struct block_cache *c, uint64_t frame)
{
    struct code_frame **link = &c->frames[frame & (FRAME_SIZE - 1)];

    while (*link != NULL && (*link)->frame != frame)
        link = &(*link)->next;
    return link;
}

static uint32_t granule_mask(unsigned offset, unsigned length)
{
    unsigned first = offset >> GRANULE_SHIFT, last = (offset + length - 1) >> GRANULE_SHIFT;

    return (uint32_t)((BIT64(last + 1) - 1) & ~(BIT64(first) - 1));
}

/* The part of a block that lies in the frame: offset and length there. */
static void block_part(const struct block *b, uint64_t frame, unsigned *offset, unsigned *length)
{
    unsigned first = MIN((unsigned)b->length, PAGE_SIZE - b->start);

    if (frame == b->address >> PAGE_SHIFT) {
        *offset = b->start;
        *length = first;
    } else {
        *offset = 0;
        *length = b->length - first;
    }
}

static struct block **block_frame_link(struct block *b, uint64_t frame)
{
    return &b->frame_next[frame == b->address >> PAGE_SHIFT ? 0 : 1];
}

static struct code_frame *frame_at(struct block_cache *c, uint64_t frame)
{
    struct code_frame **link = frame_slot(c, frame), *f = *link;

    if (f != NULL)
        return f;
    CHECK(c->frames_used < FRAME_MAX);
    f = &c->frame_arena[c->frames_used++];
    *f = (struct code_frame){.frame = frame};
    *link = f;
    return f;
}

/* What is decoded from the frame is to follow stores there. False if this took a wait for others,
 * in which everything may have changed. */
static bool watch(struct block_cache *c, mpa_t where)
{
    struct code_frame *f = frame_at(c, mpa_frame(where));

    if (f->watched)
        return true;
    f->watched = true;
    if (mmu_frame_watch(&c->cpu->mmu, where, FRAME_WATCH_CODE))
        return true;
    c->decoding = f->frame;
    mmu_frame_wait(&c->cpu->mmu, where);
    c->decoding = UINT64_MAX;
    return false;
}

static void frame_attach(struct block_cache *c, struct block *b, uint64_t frame)
{
    struct code_frame *f = *frame_slot(c, frame);
    unsigned offset, length;

    block_part(b, frame, &offset, &length);
    f->granules |= granule_mask(offset, length);
    *block_frame_link(b, frame) = f->blocks;
    f->blocks = b;
}

/* The cache has nothing of the frame any more. */
static void unwatch(struct block_cache *c, struct code_frame *f)
{
    if (!f->watched || f->frame == c->decoding)
        return;
    f->watched = false;
    mmu_frame_unwatch(&c->cpu->mmu, mpa(f->frame << PAGE_SHIFT), FRAME_WATCH_CODE);
}

static void frame_detach(struct block_cache *c, struct block *b, uint64_t frame)
{
    struct code_frame *f = *frame_slot(c, frame);
    struct block **link = &f->blocks;

    while (*link != b)
        link = block_frame_link(*link, frame);
    *link = *block_frame_link(b, frame);
    f->granules = 0;
    for (struct block *other = f->blocks; other != NULL; other = *block_frame_link(other, frame)) {
        unsigned offset, length;

        block_part(other, frame, &offset, &length);
        f->granules |= granule_mask(offset, length);
    }
    if (f->blocks == NULL)
        unwatch(c, f);
}

static void block_invalidate(struct block_cache *c, struct block *b)
{
    struct block **link = &c->hash[hash_slot(b->address, b->mode)];

    while (*link != b)
        link = &(*link)->hash_next;
    *link = b->hash_next;
    frame_detach(c, b, b->address >> PAGE_SHIFT);
    if (b->second != UINT64_MAX)
        frame_detach(c, b, b->second >> PAGE_SHIFT);
    b->chain_cost = BLOCK_STALE;
    c->cpu->blocks_invalidated++;
    mmu_end_lookups(&c->cpu->mmu);
}

/* The next block of the frame, from `b` on, that has bytes in [offset, offset + length). */
static struct block *overlapping(struct block *b, uint64_t frame, unsigned offset, unsigned length)
{
    for (; b != NULL; b = *block_frame_link(b, frame)) {
        unsigned o, l;

        block_part(b, frame, &o, &l);
        if (offset < o + l && o < offset + length)
            return b;
    }
    return NULL;
}

static bool overlaps(struct block_cache *c, mpa_t address, unsigned length)
{
    const struct code_frame *f = *frame_slot(c, mpa_frame(address));
    unsigned offset = address.v & 0xfff;

    if (f == NULL || !(f->granules & granule_mask(offset, length)))
        return false;
    return overlapping(f->blocks, f->frame, offset, length) != NULL;
}

static void invalidate(struct block_cache *c, mpa_t address, unsigned length)
{
    struct code_frame *f = *frame_slot(c, mpa_frame(address));
    unsigned offset = address.v & 0xfff;
    struct block *b, *next;

    if (f == NULL)
        return;
    if (f->blocks == NULL)
        unwatch(c, f); /* nothing came of it: decoding ended with a fault */
    if (!(f->granules & granule_mask(offset, length)))
        return;
    for (b = overlapping(f->blocks, f->frame, offset, length); b != NULL;
         b = overlapping(next, f->frame, offset, length)) {
        next = *block_frame_link(b, f->frame);
        block_invalidate(c, b);
    }
}

/* machine_memory.code_overlaps */
static bool code_overlaps(struct mmu_context *m, mpa_t address, unsigned length)
{
    return overlaps(vcpu_of(m)->blocks, address, length);
}

/* machine_memory.code_changed */
static void code_changed(struct mmu_context *m, mpa_t address, unsigned length)
{
    struct block_cache *c = vcpu_of(m)->blocks;

    if (c == NULL) /* the processor is being created or destroyed */
        return;
    c->changes++;
    if (length != 0)
        invalidate(c, address, length);
    else
        vcpu_signal(c->cpu, VCPU_PENDING_DROP, 0);
}

static void forget_lookups(struct block_cache *c)
{
    for (unsigned n = 0; n < BLOCK_LOOKUP_SIZE; n++)
        c->lookup[n] = (struct block_lookup){.key = BLOCK_NO_KEY};
}

struct block_cache *block_cache_create(struct vcpu *cpu)
{
    struct block_cache *c = host_alloc_lazy(sizeof(*c));

    c->arena = host_alloc_lazy(ARENA_SIZE);
    c->frame_arena = host_alloc_lazy(FRAME_MAX * sizeof(*c->frame_arena));
    c->decoding = UINT64_MAX;
    c->special = special_create();
    c->cpu = cpu;
    cpu->lookup = c->lookup;
    forget_lookups(c);
    cpu->mmu.memory->code_changed = code_changed;
    cpu->mmu.memory->code_overlaps = code_overlaps;
    return c;
}

void block_cache_destroy(struct block_cache *c)
{
    if (c == NULL)
        return;
    host_free_lazy(c->arena, ARENA_SIZE);
    host_free_lazy(c->frame_arena, FRAME_MAX * sizeof(*c->frame_arena));
    special_destroy(c->special);
    host_free_lazy(c, sizeof(*c));
}

void block_cache_drop(struct vcpu *cpu)
{
    struct block_cache *c = cpu->blocks;

    for (unsigned n = 0; n < FRAME_SIZE; n++)
        for (struct code_frame *f = c->frames[n]; f != NULL; f = f->next)
            unwatch(c, f);
    memset(c->frames, 0, sizeof(c->frames));
    memset(c->hash, 0, sizeof(c->hash));
    c->used = 0;
    c->frames_used = 0;
    cpu->chain_slot = NULL;
    mmu_end_lookups(&cpu->mmu);
    forget_lookups(c);
}

/* Where the bytes of a block being decoded come from. */
struct source {
    const uint8_t *host; /* to the end of the page; NULL: not in RAM or ROM */
    mpa_t where;
    uint64_t linear;
    uint64_t second; /* frame of the second page, once looked at */
};

static void fetch_fault(struct vcpu *cpu, enum mmu_status status, const struct mmu_fault *fault)
{
    if (status == MMU_PAGE_FAULT) {
        cpu->cr2 = fault->address.v;
        cpu_raise_code(cpu, NULL, EXC_PF, fault->error_code);
    }
    cpu_raise_code(cpu, NULL, EXC_GP, 0);
}

static void fetch_page(struct vcpu *cpu, uint64_t linear, const uint8_t **host, mpa_t *where)
{
    struct mmu_fault fault;
    enum mmu_status status;

    mem_note_place(cpu, NULL);
    status = mmu_fetch(&cpu->mmu, gva(linear), host, where, &fault);
    if (status != MMU_OK)
        fetch_fault(cpu, status, &fault);
    if (*host == NULL) {
        LOG(cpu->log, LOG_GUEST_ERROR, "cpu%u: code fetch from a device or hole at %#llx\n",
            cpu->index, (unsigned long long)linear);
        cpu_raise_code(cpu, NULL, EXC_GP, 0);
    }
}

/* Decodes the instruction that straddles this page and the next; room: bytes of it that the segment
 * limit allows. False: as for watch. */
static bool decode_straddling(struct vcpu *cpu, struct block *b, const struct source *s,
                              unsigned offset, uint64_t room)
{
    uint8_t bytes[INSN_MAX_LENGTH];
    unsigned first = PAGE_SIZE - offset;
    const uint8_t *host;
    enum decode_result result;
    uint32_t attrs;
    mpa_t where;

    guest_copy_out(bytes, s->host + (offset - b->start), first);
    fetch_page(cpu, (s->linear & PAGE_MASK) + PAGE_SIZE, &host, &where);
    if (!watch(cpu->blocks, where))
        return false;
    guest_copy_out(bytes + first, host, INSN_MAX_LENGTH - first);
    result = decode_insn(cpu, b->mode, bytes, (unsigned)MIN((uint64_t)INSN_MAX_LENGTH, room),
                         offset, &b->insns[0], &attrs);
    if (result != DECODE_OK)
        cpu_raise_code(cpu, NULL, EXC_GP, 0);
    b->second = where.v & PAGE_MASK;
    b->count = 1;
    return true;
}

/* Bytes of code that may still be fetched before the segment limit cuts in. */
static uint64_t limit_room(const struct vcpu *cpu, uint64_t rip)
{
    if ((cpu->mode & MODE_64) || cpu->seg[SEG_CS].limit == UINT32_MAX)
        return UINT64_MAX; /* addresses wrap at 4 GiB */
    if (rip > cpu->seg[SEG_CS].limit)
        return 0;
    return cpu->seg[SEG_CS].limit - rip + 1;
}

/* The bytes of a block as they are decoded: others may store to them at any time. */
struct code_copy {
    uint8_t bytes[BLOCK_MAX_INSNS * INSN_MAX_LENGTH];
    unsigned count;
};

/* The bytes at `taken`, `left` or as many as an instruction can have. */
static const uint8_t *code_at(struct code_copy *copy, const struct source *s, unsigned taken,
                              unsigned left)
{
    unsigned wanted = taken + MIN(left, INSN_MAX_LENGTH);

    if (copy->count < wanted) {
        wanted = MIN(MIN(taken + left, wanted + CODE_AHEAD), (unsigned)sizeof(copy->bytes));
        guest_copy_out(copy->bytes + copy->count, s->host + copy->count, wanted - copy->count);
        copy->count = wanted;
    }
    return copy->bytes + taken;
}

/* False: as for watch. */
static bool decode_block(struct vcpu *cpu, struct block *b, const struct source *s)
{
    unsigned max = b->mode & MODE_SINGLE ? 1 : BLOCK_MAX_INSNS;
    unsigned offset = b->start;
    uint64_t room = limit_room(cpu, cpu->rip);
    struct code_copy copy;
    uint32_t attrs = 0;

    copy.count = 0;
    while (b->count < max && offset < PAGE_SIZE) {
        unsigned taken = offset - b->start;
        unsigned available = (unsigned)MIN((uint64_t)(PAGE_SIZE - offset), room - taken);
        enum decode_result result = DECODE_MORE;

        if (room > taken)
            result = decode_insn(cpu, b->mode, code_at(&copy, s, taken, PAGE_SIZE - offset),
                                 available, offset, &b->insns[b->count], &attrs);
        if (result != DECODE_OK) {
            if (b->count > 0)
                break;
            if (result == DECODE_TOO_LONG || room - taken <= PAGE_SIZE - offset)
                cpu_raise_code(cpu, NULL, EXC_GP, 0);
            if (!decode_straddling(cpu, b, s, offset, room - taken))
                return false;
            offset = b->insns[0].ip_next;
            break;
        }
        offset = b->insns[b->count++].ip_next;
        if (attrs & (A_END | A_JUMP))
            break;
        if (debug_exec_at(cpu, offset))
            break;
    }
    b->length = (uint16_t)(offset - b->start);
    if (!(b->mode & MODE_SINGLE))
        special_apply(cpu->blocks->special, b->insns, b->count);
    b->insns[b->count - 1].flags |= INSN_LAST;
    b->insns[b->count] = (struct insn){
        .op = op_block_end,
        .row = INSN_ROW_NONE,
        .ip_next = (uint16_t)offset,
    };
    return true;
}

/* There is room for one more block. */
static void make_room(struct vcpu *cpu)
{
    const struct block_cache *c = cpu->blocks;
    size_t most = sizeof(struct block) + (BLOCK_MAX_INSNS + 1) * sizeof(struct insn);

    if (c->used + most + 64 > ARENA_SIZE || c->frames_used + 2 > FRAME_MAX)
        block_cache_drop(cpu);
}

/* NULL if somebody may have stored to the code meanwhile. */
static struct block *block_create(struct vcpu *cpu, const struct source *s, uint32_t mode)
{
    struct block_cache *c = cpu->blocks;
    uint64_t changes = c->changes;
    unsigned slot;
    struct block *b;

    if (!watch(c, s->where))
        return NULL;
    b = (struct block *)(c->arena + c->used);
    *b = (struct block){
        .address = s->where.v,
        .host = s->host,
        .second = UINT64_MAX,
        .mode = mode,
        .start = s->where.v & 0xfff,
        .chain = {&block_nowhere, &block_nowhere},
    };
    b->debug = debug_exec_at(cpu, b->start);
    if (!decode_block(cpu, b, s) || c->changes != changes)
        return NULL;
    b->chain_cost = b->count;
    arena_take(c, sizeof(*b) + (b->count + 1u) * sizeof(struct insn));
    slot = hash_slot(b->address, mode);
    b->hash_next = c->hash[slot];
    c->hash[slot] = b;
    frame_attach(c, b, b->address >> PAGE_SHIFT);
    if (b->second != UINT64_MAX)
        frame_attach(c, b, b->second >> PAGE_SHIFT);
    cpu->blocks_decoded++;
    if (log_on(cpu->log, LOG_IN_ASM) && cpu->platform.trace_block != NULL)
        cpu->platform.trace_block(cpu->platform.opaque, b->length);
    return b;
}

/* True if the block's second page, if any, is the one that is mapped there now. */
static bool second_page_fits(struct vcpu *cpu, const struct block *b, uint64_t linear)
{
    const uint8_t *host;
    mpa_t where;

    if (b->second == UINT64_MAX)
        return true;
    fetch_page(cpu, (linear & PAGE_MASK) + PAGE_SIZE, &host, &where);
    return (where.v & PAGE_MASK) == b->second;
}

static bool block_fits(struct vcpu *cpu, const struct block *b, const struct source *s,
                       uint32_t mode)
{
    return b->address == s->where.v && b->mode == mode && second_page_fits(cpu, b, s->linear) &&
           limit_room(cpu, cpu->rip) >= b->length;
}

static struct block *block_find_slow(struct vcpu *cpu, uint64_t linear, uint32_t mode)
{
    struct block_cache *c = cpu->blocks;
    struct source s = {.linear = linear};
    struct block *b;

    cpu->block = NULL;
    debug_exec_early(cpu, linear);
    if (limit_room(cpu, cpu->rip) == 0)
        cpu_raise_code(cpu, NULL, EXC_GP, 0);
    do {
        make_room(cpu);
        fetch_page(cpu, linear, &s.host, &s.where);
        b = c->hash[hash_slot(s.where.v, mode)];
        while (b != NULL && !block_fits(cpu, b, &s, mode))
            b = b->hash_next;
        if (b == NULL)
            b = block_create(cpu, &s, mode);
    } while (b == NULL);
    return b;
}

/* After the TLB has dropped translations: is the block that was found here still the right one?
 * Only where the TLB knows the page again. */
static bool still_there(const struct vcpu *cpu, const struct block_lookup *l, uint64_t linear,
                        uint32_t mode)
{
    const struct block *b = l->block;

    return l->linear == linear && l->key != BLOCK_NO_KEY && b->mode == mode &&
           b->chain_cost != BLOCK_STALE && b->second == UINT64_MAX && (mode & MODE_64) &&
           tlb_find_exec(&cpu->mmu, linear) == b->host;
}

const struct block *block_find(struct vcpu *cpu, uint32_t extra)
{
    uint32_t mode = cpu->mode | extra;
    uint64_t linear = cpu->rip + cpu->seg[SEG_CS].base;
    struct block_lookup *l;

    if (!(mode & MODE_64))
        linear = (uint32_t)linear;
    l = block_lookup_slot(cpu, linear);
    cpu->gpr[GPR_IP_BASE] = cpu->rip - (linear & 0xfff);
    if (likely(l->linear == linear && l->key == block_key(cpu, mode)))
        return l->block;
    if (!still_there(cpu, l, linear, mode)) {
        l->block = block_find_slow(cpu, linear, mode);
        l->linear = linear;
    }
    /* Decoding may have moved the epoch. What the run loop wants to see is not remembered, so that
     * no jump finds it. */
    l->key = l->block->debug || cpu->trace_blocks ? BLOCK_NO_KEY : block_key(cpu, mode);
    return l->block;
}

#if defined(GNOMON_THREADED)

void block_chain_stop(struct vcpu *cpu, unsigned slot, uint64_t offset)
{
    struct block *b = (struct block *)cpu->block;

    if (offset >= PAGE_SIZE) {
        block_jump(cpu, cpu->gpr[GPR_IP_BASE] + offset);
        return;
    }
    cpu->rip = cpu->gpr[GPR_IP_BASE] + offset;
    if (!(b->mode & MODE_SINGLE) && b->chain[slot]->chain_cost == BLOCK_STALE)
        cpu->chain_slot = &b->chain[slot];
}

#endif

uint64_t cpu_insn_start(const struct vcpu *cpu, const struct insn *i)
{
    const struct block *b = cpu->block;
    unsigned n = block_index(b, i);
    unsigned offset = n == 0 ? b->start : b->insns[n - 1].ip_next;

    return (cpu->gpr[GPR_IP_BASE] + offset) & cpu->ip_mask;
}
