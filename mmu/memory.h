/*
 * Machine memory: one reserved host region in which RAM and ROM lie at base + machine address, with
 * holes that nothing may touch (a PC's window below 4 GiB), and one descriptor per 4 KiB frame.
 * Pages are allocated by the host when first touched. Guest memory is read and written only
 * through mmu/guest_access.h.
 */
#ifndef MMU_MEMORY_H
#define MMU_MEMORY_H

#include "base/addr.h"
#include "base/error.h"
#include "base/state.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Why stores to a frame must take the slow path. */
enum frame_watch {
    FRAME_WATCH_CODE = 1 << 0,      /* decoded or translated instructions come from it */
    FRAME_WATCH_PAGETABLE = 1 << 1, /* holds guest table entries something was derived from */
    FRAME_WATCH_DIRTY = 1 << 2,     /* somebody counts writes (snapshot, display); the first write
                                       clears the bit: a frame whose bit is gone was written */
    FRAME_WATCH_PRIVATE = 1 << 3,   /* belongs to a TEE partition */
    FRAME_WATCH_COW = 1 << 4,       /* shared copy-on-write */
    FRAME_WATCH_IN_FLIGHT = 1 << 5, /* on its way in a message */
    FRAME_WATCH_MONITOR = 1 << 6,   /* a vCPU sleeps until a store to it: mmu_context.monitored */
};

enum frame_kind {
    FRAME_HOLE,
    FRAME_RAM,
    FRAME_ROM,
    FRAME_SMRAM, /* RAM behind a device's window: for contexts with mmu_set_smram only, a hole to
                    everybody else */
};

#define MACHINE_VCPU_MAX 512 /* vCPUs of one machine; a multiple of 64 */

/* Sets of vCPUs: mmu/frame_set.h. */
enum frame_set {
    FRAME_HOLDERS,   /* may hold a writable TLB entry for it, or is storing to it */
    FRAME_CONSUMERS, /* derived table entries from it */
    FRAME_DECODERS,  /* decoded instructions from it */
    FRAME_SETS,
};

struct frame {
    _Atomic uint32_t watch; /* enum frame_watch bits; nonzero: never entered as writable */
    uint8_t kind;           /* enum frame_kind; fixed once the machine is built */
    _Atomic uint8_t writes; /* PAGETABLE: stores since it was last walked, saturating */
    _Atomic uint16_t shape; /* PAGETABLE: how entries are read, and who writes (mmu/shadow.h) */
    _Atomic uint64_t sets[FRAME_SETS]; /* of the first 64 */
};

/* The sets' bits of the others. */
struct frame_far {
    _Atomic uint64_t sets[FRAME_SETS][MACHINE_VCPU_MAX / 64 - 1];
};

struct mmu_context;
struct patch_channel;

/* One machine_memory_add: the frames [start, start + size) are all of this kind. */
struct memory_range {
    mpa_t start;
    uint64_t size; /* bytes, a multiple of the page size */
    enum frame_kind kind;
};

#define MEMORY_RANGE_MAX 64
#define MEMORY_NO_FRAME  UINT64_MAX

#define MEMORY_SIZE_LIMIT (1ull << 44) /* frame numbers fit 32 bits */

struct machine_memory {
    uint8_t *base;        /* host address of machine address 0 */
    uint64_t size;        /* bytes of the reserved region, a multiple of the page size */
    struct frame *frames; /* size / PAGE_SIZE descriptors, allocated lazily */
    struct frame_far *far; /* as many, where there is a vCPU from 64 on, else NULL */
    uint64_t ram_size;    /* bytes of RAM in all ranges */

    struct memory_range ranges[MEMORY_RANGE_MAX]; /* sorted by start, no two overlap */
    unsigned range_count;

    /* The contexts that may hold translations to this memory, by vCPU number; mmu_init enters and
     * mmu_destroy removes them. NULL: no such vCPU. */
    struct mmu_context *contexts[MACHINE_VCPU_MAX];
    unsigned context_end; /* numbers of contexts are below */
    bool parallel;        /* they run at the same time, on threads of their own */

    /* The patch channel matrix, by consumer: one channel for each producer (mmu/patch.h). NULL:
     * that vCPU keeps nothing that would need patches. */
    struct patch_channel *channels[MACHINE_VCPU_MAX];

    /* Held while the consumers of a frame, its decoders, or who monitors it, and the watch change
     * together: a watch must not go when somebody who has just entered himself counts on it. */
    pthread_mutex_t trace_lock;

    /* The frame that a device is storing to (DMA; device lock), or MEMORY_NO_FRAME: as a vCPU among
     * the holders. */
    _Atomic uint64_t device_store;

    pthread_mutex_t hold_lock; /* of whoever holds all vCPUs: mmu/safepoint.h */

    /* Bytes [address, + length) of one frame have changed, and the vCPU may have decoded them.
     * length 0: any bytes. On its thread, or while it is parked. NULL: there is no decoder. */
    void (*code_changed)(struct mmu_context *m, mpa_t address, unsigned length);
    /* Somebody has stored to the frame that the vCPU monitors. On his thread. NULL: no matter. */
    void (*monitor_written)(struct mmu_context *m);
    /* Has the vCPU decoded any of these? NULL: assume so. On its thread. */
    bool (*code_overlaps)(struct mmu_context *m, mpa_t address, unsigned length);
};

/* Reserves a region of `size` bytes (a multiple of the page size, not 0, at most
 * MEMORY_SIZE_LIMIT), all holes. */
struct machine_memory *machine_memory_create(uint64_t size, struct error *err);
void machine_memory_destroy(struct machine_memory *m);

/* A vCPU of that number enters the memory; before it runs. */
void machine_memory_reserve_vcpu(struct machine_memory *m, unsigned vcpu);

/* Makes [start, start + size) RAM, ROM or SMRAM, page aligned, previously a hole; it reads as zero.
 * At most MEMORY_RANGE_MAX times. Before any vCPU runs. */
bool machine_memory_add(struct machine_memory *m, mpa_t start, uint64_t size, enum frame_kind kind,
                        struct error *err);

static inline struct frame *machine_memory_frame(const struct machine_memory *m, mpa_t a)
{
    return &m->frames[mpa_frame(a)];
}

/* What lies at an address; beyond the end of the region there is a hole. */
static inline enum frame_kind machine_memory_kind(const struct machine_memory *m, mpa_t a)
{
    return a.v < m->size ? (enum frame_kind)m->frames[mpa_frame(a)].kind : FRAME_HOLE;
}

/* The host address of a machine address that is not in a hole; for guest_access.h only. */
static inline uint8_t *machine_memory_host(const struct machine_memory *m, mpa_t a)
{
    return m->base + a.v;
}

/* True if [a, a + length) lies in RAM or ROM entirely. True for length 0. */
bool machine_memory_contains(const struct machine_memory *m, mpa_t a, uint64_t length);

/* To be called before bytes of one frame of RAM or ROM change, whoever changes them: serves the
 * watch DIRTY. */
static inline void machine_memory_prepare_write(struct machine_memory *m, mpa_t a)
{
    struct frame *f = machine_memory_frame(m, a);

    if (atomic_load_explicit(&f->watch, memory_order_relaxed) & FRAME_WATCH_DIRTY)
        atomic_fetch_and(&f->watch, ~(uint32_t)FRAME_WATCH_DIRTY);
}

/* A leaf: nobody takes another lock under it. */
static inline void machine_memory_lock_traces(struct machine_memory *m)
{
    pthread_mutex_lock(&m->trace_lock);
}

static inline void machine_memory_unlock_traces(struct machine_memory *m)
{
    pthread_mutex_unlock(&m->trace_lock);
}

/* Before a store to a frame with traced tables, where several vCPUs run: posts addresses to all
 * other consumers. Who sees the new bytes has the patch, or has taken it while the holders (or
 * device_store) said that they are about to change. */
void machine_memory_announce_write(struct machine_memory *m, unsigned producer, mpa_t a,
                                   unsigned length);

/* Around a store of a device: behind machine_memory_prepare_write, and behind
 * machine_memory_finish_write. */
void machine_memory_device_begin(struct machine_memory *m, mpa_t a, unsigned length);
void machine_memory_device_end(struct machine_memory *m);

/* To be called after bytes of one frame have changed, with who changed them (enum patch_producer,
 * or a vCPU's number): posts patches to everybody who derived something from a table there... */
void machine_memory_traced_write(struct machine_memory *m, unsigned producer, mpa_t a,
                                 unsigned length);

/* ...and tells everybody who decoded something there... */
void machine_memory_code_written(struct machine_memory *m, unsigned producer, mpa_t a,
                                 unsigned length);

/* ...or monitors the frame. */
void machine_memory_monitor_written(struct machine_memory *m, mpa_t a);

static inline void machine_memory_finish_write(struct machine_memory *m, unsigned producer, mpa_t a,
                                               unsigned length)
{
    uint32_t watch;

    /* The bytes are stored; now the watch, the sets. What a single vCPU reads of these it has
     * written itself. */
    if (m->context_end > 1 || producer >= MACHINE_VCPU_MAX)
        atomic_thread_fence(memory_order_seq_cst);
    watch = atomic_load_explicit(&machine_memory_frame(m, a)->watch, memory_order_relaxed);
    if (watch & FRAME_WATCH_PAGETABLE)
        machine_memory_traced_write(m, producer, a, length);
    if (watch & FRAME_WATCH_CODE)
        machine_memory_code_written(m, producer, a, length);
    if (watch & FRAME_WATCH_MONITOR)
        machine_memory_monitor_written(m, a);
}

/* A 64-bit hash over the contents of all RAM, independent of the host. The machine is stopped:
 * pages that hold only zeroes may be given back to the host. */
uint64_t machine_memory_hash(const struct machine_memory *m);

/* Saves or loads all RAM and ROM; pages of zeroes cost nothing. The layout must be equal. The
 * machine is stopped; after a load the caller drops everything derived from memory (mmu_flush_all,
 * decoded code). */
void machine_memory_serialize(struct machine_memory *m, struct state *s);

#endif
