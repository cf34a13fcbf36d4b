/*
 * What a guest can do to its page tables, control registers and caches, as operations on the real
 * code that check themselves: each access must go where tests/mmu/model.h says that it may, each
 * fault must be the one that the tables ask for now, memory must hold what it should afterwards,
 * and whatever a look-up cache of code may still use must be legal.
 *
 * The fuzz harness chooses operations by the bytes of its input, tests/mmu/random.c by a seed. All
 * of them are done by the vCPU d->v, but where another is named. A broken promise ends the program.
 */
#ifndef TESTS_MMU_DRIVER_H
#define TESTS_MMU_DRIVER_H

#include "tests/mmu/model.h"

/* --- Accesses; the status is that of the real code --- */

/* `system`: an implicit supervisor access. *value may be read on MMU_OK. */
enum mmu_status driver_load(struct driver *d, uint64_t linear, unsigned size, bool system,
                            uint64_t *value);
enum mmu_status driver_store(struct driver *d, uint64_t linear, unsigned size, bool system,
                             uint64_t value);
enum mmu_status driver_probe(struct driver *d, uint64_t linear, unsigned size, bool write);
enum mmu_status driver_fetch(struct driver *d, uint64_t linear);

/* Stores `desired` if memory holds *expected, else loads that into *expected. */
enum mmu_status driver_exchange(struct driver *d, uint64_t linear, unsigned size,
                                uint64_t *expected, uint64_t desired);

/* Writes memory past paging: DMA (to the device, too), or a physical access of the vCPU (to RAM).
 * Within one page. */
void driver_dma(struct driver *d, uint64_t physical, const void *bytes, unsigned size);
void driver_write_physical(struct driver *d, uint64_t physical, const void *bytes, unsigned size);

/* --- Registers and invalidations --- */

/* False: the PDPTE registers cannot be loaded (#GP), nothing has changed. */
bool driver_control(struct driver *d, uint64_t cr0, uint64_t cr4, uint64_t efer);
bool driver_cr3(struct driver *d, uint64_t cr3, bool keep);
void driver_invlpg(struct driver *d, uint64_t linear);
void driver_invpcid(struct driver *d, unsigned type, uint16_t pcid, uint64_t linear);
void driver_privilege(struct driver *d, unsigned cpl, bool ac);
void driver_pkru(struct driver *d, uint32_t pkru);
void driver_a20(struct driver *d, bool enabled);
void driver_exact(struct driver *d, bool exact, bool exact_point);
void driver_flush_all(struct driver *d);

/* Sets or clears watch bits of a frame. */
void driver_watch(struct driver *d, uint64_t physical, uint32_t watch, bool on);

/* The VM's map has the frame at the page from now on; MODEL_NO_FRAME: nothing. */
void driver_p2m(struct driver *d, uint64_t page, uint16_t frame);

/* The page, which has memory, moves to the frame with what it holds. */
void driver_move_page(struct driver *d, uint64_t page, uint16_t frame);

/* Goes on with the vCPU of the number. */
void driver_select(struct driver *d, unsigned vcpu);

#endif
