/*
 * What vCPUs on different threads want of each other. Nobody but a vCPU's own thread touches its
 * TLB, shadow pages and decoded code while it runs; others leave a request in its mailbox, and it
 * answers at its next safepoint, between two blocks. While it is parked (outside of vcpu_run, or
 * waiting for the device lock or for another vCPU) whoever asks does the work himself.
 *
 *   asked for        answered by
 *   write tags       holder: drops them, then leaves FRAME_HOLDERS. Nobody waits: what depends
 *                    on the watch is not kept while another vCPU is there
 *   decoded code     who is in FRAME_DECODERS: drops blocks of the bytes. Nobody waits
 *   hold             everybody parks and stays there until it is over: locked accesses that no
 *                    host can do in one (mmu_compare_exchange), changes of a p2m, policy `paranoid`
 *
 * Locks: the mailbox's is a leaf but for the frames' (machine_memory_lock_traces). The device lock
 * may be held when a request is made; a vCPU that waits for it is parked. Whoever needs it while he
 * holds the others takes it before.
 *
 * Where all vCPUs take turns on one thread, those without the turn are parked: then everything is
 * done at once, but write tags if their answers are to be late.
 */
#ifndef MMU_SAFEPOINT_H
#define MMU_SAFEPOINT_H

#include "mmu/mmu.h"

struct mmu_safepoint;

/* A new context is parked. */
struct mmu_safepoint *mmu_safepoint_create(void);
void mmu_safepoint_destroy(struct mmu_safepoint *s);

/*
 * From now on the vCPU gives up write tags up to `most` safepoints after it was asked to, parked or
 * not; a generator that starts at `seed` says how many. Whoever waits has his answer at once, and
 * decoded code is never late: serialising instructions count on it. Answers what was asked for; it
 * is parked.
 */
void mmu_delay_answers(struct mmu_context *m, unsigned most, uint64_t seed);

/* Answers all that was asked for, and starts the generator again. On the vCPU's own thread, or it
 * is parked. */
void mmu_restart_answers(struct mmu_context *m);

/* --- The vCPU's own thread --- */

/* Begins to run; waits while somebody holds it. */
void mmu_unpark(struct mmu_context *m);

/* The same without waiting: false, and still parked, if it is held. */
bool mmu_try_unpark(struct mmu_context *m);

/* Parked: waits until nobody holds it. */
void mmu_wait_free(struct mmu_context *m);

/* Answers what is due, and runs no more: everything of the context may change until it is
 * unparked, but registers. */
void mmu_park(struct mmu_context *m);

/* Answers what is due; mmu_context.interrupt was called for it, and is again if not all is. */
void mmu_answer(struct mmu_context *m);

/* Is it parked? */
bool mmu_is_parked(const struct mmu_context *m);

/* --- Any thread; `m` is the vCPU that is asked --- */

/* It is to give up its write tags for the frame. May be lost if too much is asked for: ask again
 * as long as it is among the holders. */
void mmu_ask_revoke(struct mmu_context *m, mpa_t frame);

/* Somebody waits for its answers: parked, it gives them now, else at its next safepoint. */
void mmu_hurry(struct mmu_context *m);

/* Bytes that it may have decoded have changed. */
void mmu_ask_code(struct mmu_context *m, mpa_t address, unsigned length);

/* How often others have asked it for anything. Any thread. */
uint64_t mmu_times_asked(const struct mmu_context *m);

/* --- Holds --- */

/* Returns when all vCPUs of the memory but `self` (NULL: all) are parked, and keeps them so. On the
 * thread of `self`, which counts as parked while it waits; nested for the same one. Does nothing if
 * `self` is parked already: whoever acts for it has seen to the others. */
void mmu_hold(struct machine_memory *memory, struct mmu_context *self);
void mmu_release(struct machine_memory *memory, struct mmu_context *self);

#endif
