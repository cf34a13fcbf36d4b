/* Watches of frames: who must hear of stores, and how those who can store unheard are told. */
#include "mmu/frame_set.h"
#include "mmu/safepoint.h"
#include "mmu/tlb.h"

#include <sched.h>

/* The vCPU's own write tags. */
static void give_up_own(struct mmu_context *m, mpa_t frame)
{
    if (!frame_set_has(m->memory, frame, FRAME_HOLDERS, m->vcpu))
        return;
    tlb_revoke_write(m, frame);
    frame_set_remove(m->memory, frame, FRAME_HOLDERS, m->vcpu);
}

void mmu_store_begin(struct mmu_context *m, mpa_t address, unsigned length)
{
    frame_set_add(m->memory, address, FRAME_HOLDERS, m->vcpu);
    if (atomic_load(&machine_memory_frame(m->memory, address)->watch) & FRAME_WATCH_PAGETABLE)
        machine_memory_announce_write(m->memory, m->vcpu, address, length);
}

void mmu_store_end(struct mmu_context *m, mpa_t address)
{
    if (atomic_load(&machine_memory_frame(m->memory, address)->watch) != 0)
        give_up_own(m, mpa(address.v & PAGE_MASK));
}

bool mmu_frame_settled(struct mmu_context *m, mpa_t frame)
{
    struct machine_memory *memory = m->memory;

    if (likely(!frame_set_has_others(memory, frame, FRAME_HOLDERS, m->vcpu)))
        return true;
    for (unsigned n = frame_set_next(memory, frame, FRAME_HOLDERS, 0); n < FRAME_SET_END;
         n = frame_set_next(memory, frame, FRAME_HOLDERS, n + 1)) {
        if (n == m->vcpu)
            continue;
        if (memory->contexts[n] != NULL)
            mmu_ask_revoke(memory->contexts[n], frame);
        else
            frame_set_remove(memory, frame, FRAME_HOLDERS, n); /* it is gone */
    }
    return !frame_set_has_others(memory, frame, FRAME_HOLDERS, m->vcpu);
}

/* Sets the bits and returns those that were; who uses the code, or monitors, is entered with its
 * watch. */
static uint32_t set_watch(struct mmu_context *m, mpa_t frame, uint32_t watch)
{
    struct frame *f = machine_memory_frame(m->memory, frame);
    uint32_t old;

    if (!(watch & (FRAME_WATCH_CODE | FRAME_WATCH_MONITOR)))
        return atomic_fetch_or(&f->watch, watch);
    machine_memory_lock_traces(m->memory);
    if (watch & FRAME_WATCH_CODE)
        frame_set_add(m->memory, frame, FRAME_DECODERS, m->vcpu);
    if (watch & FRAME_WATCH_MONITOR)
        atomic_store(&m->monitored, frame.v + 1);
    old = atomic_fetch_or(&f->watch, watch);
    machine_memory_unlock_traces(m->memory);
    return old;
}

bool mmu_frame_watch(struct mmu_context *m, mpa_t frame, uint32_t watch)
{
    bool settled;
    uint32_t old;

    frame.v &= PAGE_MASK;
    old = set_watch(m, frame, watch);
    give_up_own(m, frame);
    settled = mmu_frame_settled(m, frame);
    if ((old & watch) != watch)
        MMU_EMIT(m, WATCH_SET, .mpa = frame.v, .count = watch);
    return settled;
}

static bool is_monitored(struct machine_memory *m, mpa_t frame)
{
    for (unsigned n = 0; n < m->context_end; n++)
        if (m->contexts[n] != NULL && mmu_monitors(m->contexts[n], frame))
            return true;
    return false;
}

void mmu_frame_unwatch(struct mmu_context *m, mpa_t frame, uint32_t watch)
{
    struct frame *f = machine_memory_frame(m->memory, frame);

    frame.v &= PAGE_MASK;
    machine_memory_lock_traces(m->memory);
    if (watch & FRAME_WATCH_CODE) {
        frame_set_remove(m->memory, frame, FRAME_DECODERS, m->vcpu);
        if (frame_set_has_others(m->memory, frame, FRAME_DECODERS, m->vcpu))
            watch &= ~(uint32_t)FRAME_WATCH_CODE;
    }
    if (watch & FRAME_WATCH_MONITOR) {
        atomic_store(&m->monitored, 0);
        if (is_monitored(m->memory, frame))
            watch &= ~(uint32_t)FRAME_WATCH_MONITOR;
    }
    atomic_fetch_and(&f->watch, ~watch);
    machine_memory_unlock_traces(m->memory);
    if (watch != 0)
        MMU_EMIT(m, WATCH_CLEAR, .mpa = frame.v, .count = watch);
}

/* Those that may have write tags for the frame are not to be late. */
static void hurry_holders(struct mmu_context *m, mpa_t frame)
{
    for (unsigned n = frame_set_next(m->memory, frame, FRAME_HOLDERS, 0); n < FRAME_SET_END;
         n = frame_set_next(m->memory, frame, FRAME_HOLDERS, n + 1))
        if (n != m->vcpu && m->memory->contexts[n] != NULL)
            mmu_hurry(m->memory->contexts[n]);
}

void mmu_frame_wait(struct mmu_context *m, mpa_t frame)
{
    mmu_park(m);
    while (!mmu_frame_settled(m, frame)) {
        hurry_holders(m, frame);
        sched_yield();
    }
    mmu_unpark(m);
}

void machine_memory_code_written(struct machine_memory *m, unsigned producer, mpa_t a,
                                 unsigned length)
{
    for (unsigned n = frame_set_next(m, a, FRAME_DECODERS, 0); n < FRAME_SET_END;
         n = frame_set_next(m, a, FRAME_DECODERS, n + 1)) {
        if (m->contexts[n] == NULL)
            continue;
        if (n != producer)
            mmu_ask_code(m->contexts[n], a, length);
        else if (m->code_changed != NULL)
            m->code_changed(m->contexts[n], a, length);
    }
}

void mmu_monitor_begin(struct mmu_context *m, mpa_t frame)
{
    if (mmu_monitors(m, frame))
        return;
    mmu_monitor_end(m);
    if (!mmu_frame_watch(m, frame, FRAME_WATCH_MONITOR))
        mmu_frame_wait(m, frame);
}

void mmu_monitor_end(struct mmu_context *m)
{
    uint64_t word = atomic_load(&m->monitored);

    if (word != 0)
        mmu_frame_unwatch(m, mpa(word - 1), FRAME_WATCH_MONITOR);
}

void machine_memory_monitor_written(struct machine_memory *m, mpa_t a)
{
    for (unsigned n = 0; n < m->context_end && m->monitor_written != NULL; n++)
        if (m->contexts[n] != NULL && mmu_monitors(m->contexts[n], a))
            m->monitor_written(m->contexts[n]);
}
