/*
 * What the parts of the guest of tests/mmu/guest.h share: guest.c has frames and entries,
 * guest_access.c accesses, guest_tables.c what becomes of tables and pages, guest_acts.c registers
 * and the choice of what comes next.
 */
#ifndef TESTS_MMU_GUEST_INSIDE_H
#define TESTS_MMU_GUEST_INSIDE_H

#include "tests/mmu/guest.h"

/* --- Chance --- */

uint64_t guest_random(struct guest *g);
unsigned guest_below(struct guest *g, unsigned n); /* 0 to n - 1 */
bool guest_chance(struct guest *g, unsigned percent);

/* --- Frames and entries --- */

/* Some frame of the role, or of another one if there is none. */
unsigned guest_frame(struct guest *g, enum guest_role role);
unsigned guest_entry_size(enum guest_role role);
unsigned guest_level(enum guest_role role);
unsigned guest_index(struct guest *g, enum guest_role role);

/* A new entry for a table of the role that lies in the frame. */
uint64_t guest_entry(struct guest *g, enum guest_role role, unsigned table);

/* Contents for a frame by its role. */
void guest_make_page(struct guest *g, unsigned frame, uint8_t *bytes);

/* The value in the guest's byte order. */
void guest_put(void *bytes, uint64_t value, unsigned size);

/* --- Accesses --- */

/* The address in the mode's canonical form. */
uint64_t guest_canonical(enum oracle_mode mode, uint64_t linear);

/* An address in a page that was used, or near it, or anywhere. */
uint64_t guest_linear(struct guest *g);

/* Some access there; or a store. */
void guest_access(struct guest *g, uint64_t linear);
void guest_store_at(struct guest *g, uint64_t linear, unsigned size, uint64_t value);

/* One access of a random address, of any kind. */
void guest_act_access(struct guest *g);

/* What the tables say to a load by the supervisor, without any effect. */
struct oracle_answer guest_look(struct guest *g, uint64_t linear);

/* --- Tables --- */

/* Writes an entry in one of the ways there are, or in a given one. */
void guest_write_entry(struct guest *g, uint64_t at, uint64_t value, unsigned size);

void guest_act_change(struct guest *g);  /* an entry on the way of an address */
void guest_act_scatter(struct guest *g); /* an entry of any table */
void guest_act_rewrite(struct guest *g); /* a whole table */
void guest_act_reuse(struct guest *g);   /* a table becomes data, data becomes a table */
void guest_act_share(struct guest *g);
void guest_act_isolate(struct guest *g); /* makes a pair of roots: the kernel's and the user's */
void guest_act_swap(struct guest *g);
void guest_act_mixed(struct guest *g); /* one vCPU's table of long mode is the other's of 32 bits */

/* How many frames of a role there are at the beginning; of data whatever is left. */
extern const unsigned guest_plan[ROLE_COUNT];
void guest_restock(struct guest *g);

/* All tables are made anew. */
void guest_rebuild(struct guest *g);

/* --- Registers --- */

/* One invalidation of the address, or of more. */
void guest_invalidate(struct guest *g, uint64_t linear);
void guest_other_vcpu(struct guest *g);
void guest_set_mode(struct guest *g, enum oracle_mode mode);

/* Loads CR3; false if the PDPTE registers were refused. */
bool guest_load_cr3(struct guest *g, uint64_t cr3, bool keep);

#endif
