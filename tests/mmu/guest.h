/*
 * A guest that lives for millions of steps: a source of operations for tests/mmu/driver.h that
 * comes from a seed. It keeps page tables of all formats, mostly sound, in 64 frames, comes back
 * to the addresses that it has used, changes the entries on their way, and uses them again with and
 * without an invalidation. Everything follows from the seed.
 */
#ifndef TESTS_MMU_GUEST_H
#define TESTS_MMU_GUEST_H

#include "tests/mmu/driver.h"

/* What has to be done often enough; counted when it has been done. */
#define GUEST_DEEDS(X)                                                                             \
    X(CHANGE_LEVEL1, "entries changed in tables of level 1")                                       \
    X(CHANGE_LEVEL2, "level 2")                                                                    \
    X(CHANGE_LEVEL3, "level 3")                                                                    \
    X(CHANGE_LEVEL4, "level 4")                                                                    \
    X(CHANGE_LEVEL5, "level 5")                                                                    \
    X(LEAF_SIZE, "large page put for a table, or a table for a large page")                        \
    X(CHANGE_RIGHTS, "rights changed")                                                             \
    X(CLEAR_A, "A cleared")                                                                        \
    X(CLEAR_D, "D cleared")                                                                        \
    X(CHANGE_DEVICE, "in a device's table")                                                        \
    X(MIXED, "tables read in entries of both sizes")                                               \
    X(SELF_MAP, "table entered in itself")                                                         \
    X(SHARE, "table shared below other rights")                                                    \
    X(WRITE_DMA, "entries written by DMA")                                                         \
    X(WRITE_GUEST, "by the guest's own store")                                                     \
    X(WRITE_EXCHANGE, "by compare and exchange")                                                   \
    X(WRITE_PHYSICAL, "by a physical access")                                                      \
    X(WRITE_OTHER, "by the other vCPU")                                                            \
    X(REWRITE_DMA, "whole tables rewritten by DMA")                                                \
    X(REWRITE_WORDS, "word by word")                                                               \
    X(TABLE_TO_DATA, "tables freed and used as data")                                              \
    X(DATA_TO_TABLE, "data pages that became tables")                                              \
    X(SWAP_OUT_PAGE, "pages swapped out")                                                          \
    X(SWAP_IN_PAGE, "swapped in")                                                                  \
    X(SWAP_COMPARE, "and compared")                                                                \
    X(SWAP_OUT_TABLE, "tables swapped out")                                                        \
    X(SWAP_IN_TABLE, "swapped in")                                                                 \
    X(INVLPG, "INVLPG")                                                                            \
    X(INVLPG_OTHER, "INVLPG by the other vCPU only")                                               \
    X(INVPCID0, "INVPCID, one address")                                                            \
    X(INVPCID1, "INVPCID, one PCID")                                                               \
    X(INVPCID2, "INVPCID, everything")                                                             \
    X(INVPCID3, "INVPCID, all but globals")                                                        \
    X(CR3_FLUSH, "CR3 loads that invalidate")                                                      \
    X(CR3_KEEP, "CR3 loads with bit 63")                                                           \
    X(PCID_SWITCH, "changes of PCID")                                                              \
    X(ISOLATION, "entries to the kernel by another root")                                          \
    X(PGE, "CR4.PGE changed")                                                                      \
    X(WP, "CR0.WP")                                                                                \
    X(SMEP, "CR4.SMEP")                                                                            \
    X(SMAP, "CR4.SMAP")                                                                            \
    X(PKE, "CR4.PKE")                                                                              \
    X(PKRU, "PKRU")                                                                                \
    X(NXE, "EFER.NXE")                                                                             \
    X(PSE, "CR4.PSE")                                                                              \
    X(PCIDE, "CR4.PCIDE")                                                                          \
    X(CPL, "CPL")                                                                                  \
    X(AC, "EFLAGS.AC")                                                                             \
    X(A20, "A20")                                                                                  \
    X(MODE_NONE, "paging switched off")                                                            \
    X(MODE_32BIT, "32-bit paging")                                                                 \
    X(MODE_PAE, "PAE")                                                                             \
    X(MODE_4LEVEL, "4 levels")                                                                     \
    X(MODE_5LEVEL, "5 levels")                                                                     \
    X(PDPTE_REFUSED, "PDPTE registers refused")                                                    \
    X(OTHER_VCPU, "changes of the vCPU")                                                           \
    X(FLUSH_ALL, "everything dropped by a tool")                                                   \
    X(P2M_MOVE, "pages moved by the monitor")                                                      \
    X(P2M_MOVE_TABLE, "among them tables")                                                         \
    X(P2M_SHARE, "pages given one frame")                                                          \
    X(P2M_ABSENT, "pages taken away for a while")                                                  \
    X(WATCH, "watches on frames")                                                                  \
    X(LOAD, "loads")                                                                               \
    X(STORE, "stores")                                                                             \
    X(FETCH, "fetches")                                                                            \
    X(SYSTEM, "implicit supervisor accesses")                                                      \
    X(PROBE, "probes")                                                                             \
    X(CROSSING, "accesses that cross pages")                                                       \
    X(TO_TABLE, "accesses that went to a table")                                                   \
    X(TO_DEVICE, "to a device")                                                                    \
    X(TO_ROM, "to ROM")                                                                            \
    X(BY_4K, "through a page of 4 KiB")                                                            \
    X(BY_2M, "2 MiB")                                                                              \
    X(BY_4M, "4 MiB")                                                                              \
    X(BY_1G, "1 GiB")                                                                              \
    X(BY_DEVICE, "through a table in a device")                                                    \
    X(BY_ROM, "through a table in ROM")                                                            \
    X(STALE, "legal but not what the tables said any more")                                        \
    X(LOOKUP, "look-ups of code that were still good")                                             \
    X(FAULT_ABSENT, "page faults: not present")                                                    \
    X(FAULT_DENIED, "denied")                                                                      \
    X(FAULT_RESERVED, "reserved bit")                                                              \
    X(FAULT_KEY, "protection key")                                                                 \
    X(NOT_CANONICAL, "addresses that are not canonical")                                           \
    X(RESTART, "accesses put off to an exact point")

#define GUEST_DEED(name, text) DEED_##name,
enum guest_deed { GUEST_DEEDS(GUEST_DEED) DEED_COUNT };
#undef GUEST_DEED

extern const char *const guest_deed_text[DEED_COUNT];

#define GUEST_FRAMES 64u
#define GUEST_HOT    48u
#define GUEST_SWAP   6u

/* What a frame is used for. Wide tables have entries of eight bytes. */
enum guest_role {
    ROLE_DATA,
    ROLE_WIDE1, /* numbers of wide tables are their levels */
    ROLE_WIDE2,
    ROLE_WIDE3,
    ROLE_WIDE4,
    ROLE_WIDE5,
    ROLE_NARROW1,
    ROLE_NARROW2,
    ROLE_PDPT, /* of PAE paging */
    ROLE_COUNT,
};

/* A page that was swapped out. */
struct guest_swapped {
    bool used, table;
    enum oracle_mode mode;
    uint64_t linear, entry_at, entry, cookie;
    uint64_t cr3; /* of the space that it was taken from */
    enum guest_role role;
    uint8_t bytes[4096];
};

struct guest {
    struct driver *d;
    uint64_t seed;
    bool p2m; /* the map of the VM changes, too */
    uint64_t deeds[DEED_COUNT];
    enum guest_role role[GUEST_FRAMES];
    uint64_t hot[GUEST_HOT];      /* linear pages that were used */
    uint64_t alias[GUEST_FRAMES]; /* where a frame was seen, 0: nowhere */
    struct guest_swapped swapped[GUEST_SWAP];
    unsigned recent_total, recent_good; /* accesses, and those that went well */
};

/* Builds the tables; the driver is as after model_reset. p2m: a monitor moves pages meanwhile. */
void guest_create(struct guest *g, struct driver *d, uint64_t seed, bool p2m);

/* One thing that a guest does: one or a few operations of the driver. */
void guest_act(struct guest *g);

#endif
