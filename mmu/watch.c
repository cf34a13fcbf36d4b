/* Watches of frames: who must hear of stores, and how those who can store unheard are told. */
#include "mmu/safepoint.h"
#include "mmu/tlb.h"

#include <sched.h>

/* The vCPU's own write tags. */
static void give_up_own(struct mmu_context *m, mpa_t frame)
{
    struct frame *f = machine_memory_frame(m->memory, frame);

    if (!(atomic_load(&f->holders) & BIT64(m->vcpu)))
        return;
    tlb_revoke_write(m, frame);
    atomic_fetch_and(&f->holders, ~BIT64(m->vcpu));
}

void mmu_store_begin(struct mmu_context *m, mpa_t address, unsigned length)
{
    struct frame *f = machine_memory_frame(m->memory, address);

    if (!(atomic_load(&f->holders) & BIT64(m->vcpu)))
        atomic_fetch_or(&f->holders, BIT64(m->vcpu));
    if (atomic_load(&f->watch) & FRAME_WATCH_PAGETABLE)
        machine_memory_announce_write(m->memory, m->vcpu, address, length);
}

void mmu_store_end(struct mmu_context *m, mpa_t address)
{
    if (atomic_load(&machine_memory_frame(m->memory, address)->watch) != 0)
        give_up_own(m, mpa(address.v & PAGE_MASK));
}

bool mmu_frame_settled(struct mmu_context *m, mpa_t frame)
{
    struct frame *f = machine_memory_frame(m->memory, frame);
    uint64_t holders = atomic_load(&f->holders) & ~BIT64(m->vcpu);

    if (likely(holders == 0))
        return true;
    for (; holders != 0; holders &= holders - 1) {
        unsigned vcpu = (unsigned)__builtin_ctzll(holders);

        if (m->memory->contexts[vcpu] != NULL)
            mmu_ask_revoke(m->memory->contexts[vcpu], frame);
        else
            atomic_fetch_and(&f->holders, ~BIT64(vcpu)); /* it is gone */
    }
    return (atomic_load(&f->holders) & ~BIT64(m->vcpu)) == 0;
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
        atomic_fetch_or(&f->code, BIT64(m->vcpu));
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
    if ((watch & FRAME_WATCH_CODE) &&
        (atomic_fetch_and(&f->code, ~BIT64(m->vcpu)) & ~BIT64(m->vcpu)) != 0)
        watch &= ~(uint32_t)FRAME_WATCH_CODE;
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
    uint64_t holders = atomic_load(&machine_memory_frame(m->memory, frame)->holders);

    for (holders &= ~BIT64(m->vcpu); holders != 0; holders &= holders - 1) {
        struct mmu_context *holder = m->memory->contexts[__builtin_ctzll(holders)];

        if (holder != NULL)
            mmu_hurry(holder);
    }
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
    uint64_t users = atomic_load(&machine_memory_frame(m, a)->code);

    for (; users != 0; users &= users - 1) {
        unsigned vcpu = (unsigned)__builtin_ctzll(users);

        if (m->contexts[vcpu] == NULL)
            continue;
        if (vcpu != producer)
            mmu_ask_code(m->contexts[vcpu], a, length);
        else if (m->code_changed != NULL)
            m->code_changed(m->contexts[vcpu], a, length);
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
