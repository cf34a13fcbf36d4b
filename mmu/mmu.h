/*
 * The memory-management unit as one vCPU sees it: its context, the software TLB in it, and loads
 * and stores by linear address. mmu/ never sees the processor: struct mmu_context is embedded in
 * the vCPU, and a fault comes back as a struct mmu_fault which cpu/ turns into #PF.
 *
 *   hit    tlb_find_*() below, inlined into the interpreter: compare a tag, add an addend
 *   miss   mmu_load/mmu_store/...: page walk (mmu/walk.h), fill, watches, MMIO, page crossing
 *
 * All functions run on the vCPU's own thread, or while it is parked (mmu/safepoint.h).
 * Source: Intel SDM volume 3A, chapters 4 and 5.
 */
#ifndef MMU_MMU_H
#define MMU_MMU_H

#include "base/addr.h"
#include "base/bits.h"
#include "mmu/bus.h"
#include "mmu/memory.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct mmu_events;

/* Control register bits that matter for translation; cpu/ copies the registers in whole. */
#define CR0_PG     BIT64(31)
#define CR0_WP     BIT64(16)
#define CR4_PSE    BIT64(4)
#define CR4_PAE    BIT64(5)
#define CR4_PGE    BIT64(7)
#define CR4_LA57   BIT64(12)
#define CR4_PCIDE  BIT64(17)
#define CR4_SMEP   BIT64(20)
#define CR4_SMAP   BIT64(21)
#define CR4_PKE    BIT64(22)
#define EFER_LMA   BIT64(10)
#define EFER_NXE   BIT64(11)

enum mmu_access {
    MMU_READ,
    MMU_WRITE,
    MMU_FETCH,
};

/* Error code bits of #PF (SDM 3A 4.7). */
enum pf_error {
    PF_PRESENT = 1 << 0,
    PF_WRITE = 1 << 1,
    PF_USER = 1 << 2,
    PF_RESERVED = 1 << 3,
    PF_FETCH = 1 << 4,
    PF_PROTECTION_KEY = 1 << 5,
};

enum mmu_status {
    MMU_OK,
    MMU_PAGE_FAULT,    /* fault filled: deliver #PF */
    MMU_NOT_CANONICAL, /* fault.address filled: #GP(0) or #SS(0) */
    /* Nothing has happened yet: the access must be the last thing in its block (a device access in
     * exact mode, a store into code of the running block). See mmu_context.exact_point. */
    MMU_RESTART,
};

struct mmu_fault {
    gva_t address;       /* of the first byte that faulted: CR2 */
    uint32_t error_code; /* enum pf_error bits */
};

/*
 * One slot of the software TLB. A tag is the page's linear address, or TLB_NO_TAG. A probe indexes
 * with the page of the first byte and compares with the page of the last one, so that an access
 * that crosses pages can never hit.
 */
struct tlb_entry {
    uint64_t read_tag;
    uint64_t write_tag; /* only if dirty, writable and the frame has no watch */
    uint64_t exec_tag;
    uint64_t addend; /* host address = linear address + addend */
};

#define TLB_NO_TAG    UINT64_MAX
#define TLB_SIZE_LOG2 12
#define TLB_SIZE      (1u << TLB_SIZE_LOG2)

/* Views of a space: translations differ by privilege, so each has a table of its own. */
enum tlb_view {
    TLB_VIEW_SUPERVISOR,    /* CPL 0-2, SMAP off or EFLAGS.AC clear */
    TLB_VIEW_SUPERVISOR_AC, /* CPL 0-2, SMAP on and EFLAGS.AC set */
    TLB_VIEW_USER,          /* CPL 3 */
    TLB_VIEW_COUNT,
};

/* What a context sees of FRAME_SMRAM; the chipset decides. */
enum mmu_smram {
    MMU_SMRAM_HIDDEN, /* nothing: the window's device answers */
    MMU_SMRAM_CODE,   /* instruction fetches only */
    MMU_SMRAM_OPEN,   /* everything */
};

/* What becomes of derived state at a coherency event. */
enum mmu_policy {
    MMU_POLICY_FLUSH,    /* everything goes that the guest asks for: the plain emulator */
    MMU_POLICY_COHERENT, /* patches bring it up to date, and all of it stays */
    MMU_POLICY_PARANOID, /* coherent, and every Nth event compares all of it with fresh walks */
};

/* What a consumer does with a patch: use or make the new value, or forget the old one. */
enum mmu_consumer { MMU_CONSUMER_APPLY, MMU_CONSUMER_INVALIDATE };

/* What a patch carries: the address; the value derived from the new entry as well, if the frame has
 * a single producer; or that value and a validator. */
enum mmu_patch { MMU_PATCH_ADDRESS, MMU_PATCH_VALUE, MMU_PATCH_VALIDATED };

/* Whose shadow pages a vCPU uses: its own, or those of all vCPUs that share. */
enum mmu_tables { MMU_TABLES_PRIVATE, MMU_TABLES_SHARED };

struct mmu_options {
    enum mmu_policy policy;
    enum mmu_consumer consumer;
    enum mmu_patch patch;
    unsigned paranoid; /* N of MMU_POLICY_PARANOID */
    unsigned spaces;   /* kept warm: 2 to 63 */
    unsigned slots;    /* of a patch channel in use: a power of two from 2 to 1024 */
    unsigned pages;    /* shadow pages: 16 to 4096 */
    unsigned flood;    /* stores to a table page without a walk before it is given up: 0 to 255 */
    enum mmu_tables tables;
};

extern const struct mmu_options mmu_default_options;

struct mmu_stats {
    uint64_t events;                           /* coherency events */
    uint64_t space_switches;                   /* CR3 and mode changes to another space... */
    uint64_t space_switches_warm;              /* ...that was there */
    uint64_t spaces_evicted;
    uint64_t shadow_fills;                     /* TLB fills without a walk */
    uint64_t shadow_pages;                     /* created */
    uint64_t faults_known;                     /* page faults without a walk */
    uint64_t consumptions;                     /* times that patches were taken */
    uint64_t patches_taken;                    /* of which each word that it concerned was... */
    uint64_t patches_applied;                  /* ...replaced by the patch's value */
    uint64_t patches_rederived;                /* ...made anew from the guest's entry */
    uint64_t patches_invalidated;              /* ...made unknown */
    uint64_t patches_dropped;                  /* nothing was derived from it any more */
    uint64_t frames_dropped;                   /* written too often between walks */
    uint64_t slots_dropped;                    /* TLB slots that patches dropped */
    uint64_t rebuilds;                         /* everything dropped: no room */
    uint64_t compositions;                     /* TLB fills through a p2m; 0 while bare */
    uint64_t p2m_dropped;                      /* TLB slots that p2m changes dropped */
    uint64_t paranoid_checks, paranoid_errors; /* entries compared; found wrong */
};

struct tlb;

struct mmu_context {
    struct tlb_entry *table; /* of the current view: TLB_SIZE slots; without tags if all_slow */
    enum tlb_view view;      /* follows CPL, AC and CR4.SMAP */

    /* What the guest set; changed only through the mmu_set_* functions. */
    uint64_t cr0, cr3, cr4, efer;
    uint64_t pdpte[4]; /* PAE paging: loaded with CR3 (SDM 3A 4.4.1) */
    uint32_t pkru;
    uint8_t cpl;
    bool ac;                 /* EFLAGS.AC */
    uint8_t physical_bits;   /* MAXPHYADDR */
    bool gib_pages;          /* CPUID says that 1 GiB pages exist */
    uint64_t a20_mask;       /* ANDed with every physical address: all ones, or bit 20 clear */

    enum mmu_smram smram;

    /* True if the current instruction may touch devices and change running code right now, because
     * it is the last of its block and the clock is exact. The vCPU loop sets it per block; while it
     * is false and `exact` is true, such an access returns MMU_RESTART with nothing done. */
    bool exact_point;
    bool exact;

    struct bus *bus;               /* of the VM */
    struct p2m *p2m;               /* of the bus, which changes it; NULL: GPA is MPA */
    struct machine_memory *memory; /* of the machine */
    struct tlb *tlb;               /* tables of all views, created by mmu_init */
    struct mmu_safepoint *safepoint; /* what others ask for: mmu/safepoint.h */
    struct mmu_events *events;     /* NULL: nobody listens */
    unsigned vcpu;                 /* number, for sets of vCPUs and events */
    struct log *log;

    /* Any thread: makes the vCPU call mmu_answer soon. NULL: nobody waits for it. */
    void (*interrupt)(struct mmu_context *m);
    /* The device lock, around accesses to whatever is no memory. NULL: there is none. */
    void (*lock)(struct mmu_context *m);
    void (*unlock)(struct mmu_context *m);
    unsigned lock_depth;

    /* A page of registers, by guest physical address, that are the processor's own: tried without
     * the lock. False: nothing has happened, and the bus has to be asked. 0: there is none. */
    uint64_t own_page;
    bool (*own_read)(struct mmu_context *m, unsigned offset, unsigned size, uint64_t *value);
    bool (*own_write)(struct mmu_context *m, unsigned offset, unsigned size, uint64_t value);

    _Atomic uint64_t monitored; /* the frame of mmu_monitor_begin, plus 1; 0: none */

    /* Linear pages whose loads and stores all take the slow way: data breakpoints. */
    const uint64_t *slow_pages;
    unsigned slow_page_count;
    bool all_slow; /* every access takes the slow way: alignment checking */

    /* Block look-up caches follow the TLB: what was looked up is good where this has the value that
     * it had then. Every space has a value for CPL 3 and one for the others; it moves on when a
     * translation has gone that was fetched through, or by mmu_end_lookups. */
    uint64_t code_epoch;

    /* Where the processor is, filled in by cpu/ on slow paths, for event records. */
    uint64_t origin_rip;
    uint64_t origin_instructions;

    /* Patches wait: bit n, in the channel of a producer whose number is n modulo 64. Set by
     * producers. */
    _Atomic uint64_t pending;
    struct mmu_options options; /* set by mmu_configure */

    /* Counters. */
    uint64_t walks, fills, flushes, page_invalidations;
    struct mmu_stats stats;
};

/* Prepares a context at processor reset state (paging off, supervisor, 40 physical address bits,
 * A20 open); fields that describe the processor model are set by the caller afterwards. vcpu is
 * below MACHINE_VCPU_MAX and no other live context of the memory has it. log may be NULL. */
void mmu_init(struct mmu_context *m, struct bus *bus, struct machine_memory *memory,
              struct log *log, unsigned vcpu);
void mmu_destroy(struct mmu_context *m);

/* Chooses policies; drops everything derived. The context is not running. */
void mmu_configure(struct mmu_context *m, const struct mmu_options *options);

/* Prints the counters, one line each: name and number, behind "mmu: ". */
void mmu_report(const struct mmu_context *m, FILE *out);

/* Look-ups of code that were made in any space so far are over. */
void mmu_end_lookups(struct mmu_context *m);

/* --- Coherency events: the processor's own instructions, named as in the manual --- */

/* MOV CR3 and its equals; the caller has loaded pdpte if PAE paging asks for it. Non-global
 * translations are dropped (policy `flush`) unless keep (bit 63 with PCIDs). */
void mmu_set_cr3(struct mmu_context *m, uint64_t cr3, bool keep);

/* Loads m->pdpte from the table that a CR3 value points to; PAE paging only (SDM 3A 4.4.1). False,
 * and nothing changed, if a present entry has a reserved bit set: #GP(0). Called before
 * mmu_set_cr3, and before mmu_set_control where that instruction loads them too. */
bool mmu_load_pdptes(struct mmu_context *m, uint64_t cr3);

/* CR0, CR4, EFER as the processor now holds them; flushes when the change asks for it. */
void mmu_set_control(struct mmu_context *m, uint64_t cr0, uint64_t cr4, uint64_t efer);

/* CPL or EFLAGS.AC changed: switches the view, drops nothing. Cheap. */
void mmu_set_privilege(struct mmu_context *m, unsigned cpl, bool ac);
void mmu_set_pkru(struct mmu_context *m, uint32_t pkru);

/* Takes the pages off the fast way (any order, repeated ones allowed). The array is kept by
 * reference; call again before it changes or goes. */
void mmu_set_slow_pages(struct mmu_context *m, const uint64_t *pages, unsigned count);

/* Takes everything off the fast way, or puts it back. */
void mmu_set_all_slow(struct mmu_context *m, bool all_slow);
void mmu_set_a20(struct mmu_context *m, bool enabled);

/* Shows or hides SMRAM; drops everything when that changes. */
void mmu_set_smram(struct mmu_context *m, enum mmu_smram smram);

/* INVLPG: drops what is derived for the page of this address, large pages and globals included. */
void mmu_invlpg(struct mmu_context *m, gva_t address);

/* INVPCID of SDM 2A; type 0 to 3, already checked. */
void mmu_invpcid(struct mmu_context *m, unsigned type, uint64_t pcid, gva_t address);

/* Drops everything, globals included: reset, snapshot, tool. */
void mmu_flush_all(struct mmu_context *m);

/* --- Loads and stores by linear address, the slow way; the fast way is below --- */

/* size is 1, 2, 4 or 8; pages and devices may be crossed. A fault leaves everything as it was (both
 * pages of a crossing access are probed first). */
enum mmu_status mmu_load(struct mmu_context *m, gva_t address, unsigned size, uint64_t *value,
                         struct mmu_fault *fault);
enum mmu_status mmu_store(struct mmu_context *m, gva_t address, unsigned size, uint64_t value,
                          struct mmu_fault *fault);

/* Implicit supervisor accesses: descriptor tables, TSS, interrupt stacks (SDM 3A 4.6.1). */
enum mmu_status mmu_load_system(struct mmu_context *m, gva_t address, unsigned size,
                                uint64_t *value, struct mmu_fault *fault);
enum mmu_status mmu_store_system(struct mmu_context *m, gva_t address, unsigned size,
                                 uint64_t value, struct mmu_fault *fault);

/* Physical accesses of the processor itself, as the SMM state save: any size and alignment, through
 * the context's view of SMRAM and with all watches served. Between instructions only. */
void mmu_read_physical(struct mmu_context *m, gpa_t address, void *buffer, unsigned size);
void mmu_write_physical(struct mmu_context *m, gpa_t address, const void *buffer, unsigned size);

/* Makes sure that a following mmu_store (mmu_load) of [address, + size) cannot fault (size up to
 * 4096). In exact mode also that it will not answer MMU_RESTART. Reads nothing, writes nothing but
 * A/D bits. */
enum mmu_status mmu_probe_write(struct mmu_context *m, gva_t address, unsigned size,
                                struct mmu_fault *fault);
enum mmu_status mmu_probe_read(struct mmu_context *m, gva_t address, unsigned size,
                               struct mmu_fault *fault);

/* Compare-and-store on memory as LOCK asks for it; size 1, 2, 4, 8. *expected receives what was
 * found; returns MMU_OK whether or not it matched (compare to see). An operand that crosses words
 * of 8 bytes is accessed while all other vCPUs are held. A device is stored to and matches always:
 * the caller has loaded from it, and a second time would find something else. */
enum mmu_status mmu_compare_exchange(struct mmu_context *m, gva_t address, unsigned size,
                                     uint64_t *expected, uint64_t desired,
                                     struct mmu_fault *fault);

/* The same for 16 bytes, aligned; element 0 is the lower half. */
enum mmu_status mmu_compare_exchange_pair(struct mmu_context *m, gva_t address,
                                          uint64_t expected[2], const uint64_t desired[2],
                                          struct mmu_fault *fault);

/*
 * Instruction fetch: the host address of the byte and its machine address, valid to the end of the
 * page. Watching the frame for writes is the block cache's business. Code outside RAM and
 * ROM (MMIO) gives MMU_OK with *host NULL and *where the guest physical address: fetch byte-wise
 * with bus_read. Never answers MMU_RESTART.
 */
enum mmu_status mmu_fetch(struct mmu_context *m, gva_t address, const uint8_t **host, mpa_t *where,
                          struct mmu_fault *fault);

/* Sets watch bits of a frame (any address in it); with CODE the vCPU is among its decoders then,
 * with MONITOR it is what mmu_context.monitored says. Nobody gets a write tag for it any more.
 * False: another vCPU may still have one. It has been asked to give it up; until mmu_frame_settled,
 * stores to the frame may go unheard. */
bool mmu_frame_watch(struct mmu_context *m, mpa_t frame, uint32_t watch);

/* Has no other vCPU a write tag for a watched frame? Asks those that may. */
bool mmu_frame_settled(struct mmu_context *m, mpa_t frame);

/*
 * Around a store the slow way where several vCPUs run (machine_memory.parallel). It is one of the
 * frame's holders until its patches are posted: nobody keeps what he reads of the frame meanwhile,
 * so that no guest can see the store and miss the patch.
 */
void mmu_store_begin(struct mmu_context *m, mpa_t address, unsigned length);
void mmu_store_end(struct mmu_context *m, mpa_t address);

/* Clears them; CODE goes when no decoder is left, MONITOR when nobody monitors the frame. */
void mmu_frame_unwatch(struct mmu_context *m, mpa_t frame, uint32_t watch);

/* Waits, parked, until the frame is settled. */
void mmu_frame_wait(struct mmu_context *m, mpa_t frame);

/* Stores to the frame (any address in it) that come behind what the vCPU now finds there are told
 * to machine_memory.monitor_written. It has one such frame at a time. May wait, parked. */
void mmu_monitor_begin(struct mmu_context *m, mpa_t frame);
void mmu_monitor_end(struct mmu_context *m);

static inline bool mmu_monitors(const struct mmu_context *m, mpa_t frame)
{
    return atomic_load(&m->monitored) == (frame.v & PAGE_MASK) + 1;
}

/* Around accesses to devices; may be nested. While it waits the vCPU is parked. */
static inline void mmu_lock_devices(struct mmu_context *m)
{
    if (m->lock_depth++ == 0 && m->lock != NULL)
        m->lock(m);
}

static inline void mmu_unlock_devices(struct mmu_context *m)
{
    if (--m->lock_depth == 0 && m->unlock != NULL)
        m->unlock(m);
}

/* --- The fast way --- */

FORCE_INLINE struct tlb_entry *tlb_slot(const struct mmu_context *m, uint64_t address)
{
    return &m->table[(address >> PAGE_SHIFT) & (TLB_SIZE - 1)];
}

/* Never NULL, and the compiler knows. */
FORCE_INLINE void *tlb_host(const struct tlb_entry *e, uint64_t address)
{
    void *p = (void *)(uintptr_t)(address + e->addend);

    if (p == NULL)
        __builtin_unreachable();
    return p;
}

/* Host address of [address, + size), or NULL: take the slow way. size is 1 to 64. */
FORCE_INLINE void *tlb_find_read(const struct mmu_context *m, uint64_t address, unsigned size)
{
    const struct tlb_entry *e = tlb_slot(m, address);
    if (likely(((address + size - 1) & PAGE_MASK) == e->read_tag))
        return tlb_host(e, address);
    return NULL;
}

FORCE_INLINE void *tlb_find_write(const struct mmu_context *m, uint64_t address, unsigned size)
{
    const struct tlb_entry *e = tlb_slot(m, address);
    if (likely(((address + size - 1) & PAGE_MASK) == e->write_tag))
        return tlb_host(e, address);
    return NULL;
}

FORCE_INLINE const uint8_t *tlb_find_exec(const struct mmu_context *m, uint64_t address)
{
    const struct tlb_entry *e = tlb_slot(m, address);
    if (likely((address & PAGE_MASK) == e->exec_tag))
        return (const uint8_t *)(uintptr_t)(address + e->addend);
    return NULL;
}

#endif
