/* Loads, stores and fetches by linear address, the slow way. */
#include "mmu/guest_access.h"
#include "mmu/safepoint.h"
#include "mmu/tlb.h"

#include <string.h>

/* An access in one piece, or in two where it crosses pages. */
struct pieces {
    struct tlb_place place[2];
    unsigned length[2]; /* bytes of each */
    unsigned count;     /* 1 or 2 */
};

/* The address `n` bytes on; outside long mode linear addresses have 32 bits (SDM 1 3.3.7). */
static uint64_t advance(const struct mmu_context *m, uint64_t address, unsigned n)
{
    address += n;
    return m->efer & EFER_LMA ? address : address & 0xffffffff;
}

/* Translates every byte of the access; nothing but A and D bits has happened when it returns. */
static enum mmu_status resolve(struct mmu_context *m, gva_t address, unsigned size,
                               enum mmu_access access, enum tlb_view view, struct pieces *p,
                               struct mmu_fault *fault)
{
    unsigned room = PAGE_SIZE - (unsigned)(address.v & ~PAGE_MASK);
    enum mmu_status status;
    uint64_t second, consumed, flushes;
    unsigned again = 0;

    p->count = 1;
    p->length[0] = size;
    if (likely(size <= room))
        return tlb_translate(m, address.v, access, view, &p->place[0], fault);
    second = advance(m, address.v, room);
    if (!mmu_address_canonical(m, address.v) || !mmu_address_canonical(m, second)) {
        *fault = (struct mmu_fault){.address = address};
        return MMU_NOT_CANONICAL;
    }
    p->count = 2;
    p->length[0] = room;
    p->length[1] = size - room;
    do { /* Patches that were taken for the second page may be about the first. So may what was
          * dropped to make room: one more look, for two pages may not fit at once. */
        consumed = m->stats.consumptions;
        flushes = m->flushes;
        status = tlb_translate(m, address.v, access, view, &p->place[0], fault);
        if (status != MMU_OK)
            return status;
        status = tlb_translate(m, second, access, view, &p->place[1], fault);
    } while (status == MMU_OK &&
             (m->stats.consumptions != consumed || (m->flushes != flushes && again++ == 0)));
    return status;
}

/* Would the write change decoded code? */
static bool hits_code(struct mmu_context *m, const struct tlb_place *place, unsigned length)
{
    const struct machine_memory *memory = m->memory;

    if (place->backing != TLB_BACKING_RAM ||
        !(atomic_load(&machine_memory_frame(memory, place->mpa)->watch) & FRAME_WATCH_CODE))
        return false;
    return memory->code_overlaps == NULL || memory->code_overlaps(m, place->mpa, length);
}

static bool touches_device(const struct pieces *p)
{
    return p->place[0].backing == TLB_BACKING_IO ||
           (p->count == 2 && p->place[1].backing == TLB_BACKING_IO);
}

/* Registers of the processor's own? */
static bool is_own(const struct mmu_context *m, const struct pieces *p)
{
    return m->own_page != 0 && p->count == 1 && (p->place[0].gpa.v & PAGE_MASK) == m->own_page;
}

/* In exact mode, devices and code are touched at exact points only. */
static enum mmu_status admit(struct mmu_context *m, const struct pieces *p, enum mmu_access access)
{
    if (!m->exact || m->exact_point)
        return MMU_OK;
    for (unsigned i = 0; i < p->count; i++)
        if (p->place[i].backing == TLB_BACKING_IO ||
            (access == MMU_WRITE && hits_code(m, &p->place[i], p->length[i])))
            return MMU_RESTART;
    return MMU_OK;
}

/*
 * Resolves an access that is to happen. With the device lock in *locked if it reaches a device,
 * other than registers of the processor's own. A vCPU that waits for the lock is parked, so that
 * afterwards the other piece may lie elsewhere.
 */
static enum mmu_status begin(struct mmu_context *m, gva_t address, unsigned size,
                             enum mmu_access access, enum tlb_view view, struct pieces *p,
                             bool *locked, struct mmu_fault *fault)
{
    enum mmu_status status = resolve(m, address, size, access, view, p, fault);

    *locked = false;
    if (status == MMU_OK)
        status = admit(m, p, access);
    if (status != MMU_OK || likely(!touches_device(p)) || is_own(m, p))
        return status;
    mmu_lock_devices(m);
    *locked = true;
    return p->count == 1 ? MMU_OK : resolve(m, address, size, access, view, p, fault);
}

static void end(struct mmu_context *m, bool locked)
{
    if (unlikely(locked))
        mmu_unlock_devices(m);
}

/* Around a change of bytes of one frame. */
static void prepare(struct mmu_context *m, mpa_t address, unsigned length)
{
    machine_memory_prepare_write(m->memory, address);
    if (m->memory->parallel)
        mmu_store_begin(m, address, length);
}

static void finish(struct mmu_context *m, mpa_t address, unsigned length)
{
    machine_memory_finish_write(m->memory, m->vcpu, address, length);
    if (m->memory->parallel)
        mmu_store_end(m, address);
}

/* Whoever watches the bytes of the access hears of it before they change. */
static void announce(struct mmu_context *m, const struct pieces *p, gva_t address)
{
    for (unsigned i = 0; i < p->count; i++) {
        const struct tlb_place *place = &p->place[i];

        if (place->backing != TLB_BACKING_RAM)
            continue;
        if (atomic_load(&machine_memory_frame(m->memory, place->mpa)->watch) & FRAME_WATCH_CODE)
            MMU_EMIT(m, CODE_WRITE, .mpa = place->mpa.v, .gva = address.v, .count = p->length[i]);
        prepare(m, place->mpa, p->length[i]);
    }
}

/* The bytes have changed: consumers of tables hear of it. */
static void settle(struct mmu_context *m, const struct pieces *p)
{
    for (unsigned i = 0; i < p->count; i++)
        if (p->place[i].backing == TLB_BACKING_RAM)
            finish(m, p->place[i].mpa, p->length[i]);
}

static uint64_t device_read(struct mmu_context *m, const struct pieces *p, unsigned size)
{
    gpa_t at = p->place[0].gpa;
    uint64_t value;

    if (is_own(m, p) && m->own_read(m, at.v & ~PAGE_MASK, size, &value))
        return value;
    mmu_lock_devices(m);
    value = bus_mmio_read(m->bus, at, size);
    mmu_unlock_devices(m);
    return value;
}

static void device_write(struct mmu_context *m, const struct pieces *p, unsigned size,
                         uint64_t value)
{
    gpa_t at = p->place[0].gpa;

    value &= size_mask(size);
    if (is_own(m, p) && m->own_write(m, at.v & ~PAGE_MASK, size, value))
        return;
    mmu_lock_devices(m);
    bus_mmio_write(m->bus, at, value, size);
    mmu_unlock_devices(m);
}

static uint64_t read_pieces(struct mmu_context *m, const struct pieces *p, unsigned size)
{
    uint8_t bytes[8] = {0};
    unsigned done = 0;

    if (p->count == 1)
        return p->place[0].host != NULL ? guest_load(p->place[0].host, size)
                                        : device_read(m, p, size);
    for (unsigned i = 0; i < 2; done += p->length[i++]) {
        if (p->place[i].host != NULL)
            guest_copy_out(bytes + done, p->place[i].host, p->length[i]);
        else
            bus_read(m->bus, p->place[i].gpa, bytes + done, p->length[i]);
    }
    return guest_load64(bytes);
}

static void write_pieces(struct mmu_context *m, const struct pieces *p, unsigned size,
                         uint64_t value)
{
    uint8_t bytes[8];
    unsigned done = 0;

    if (p->count == 1) {
        if (p->place[0].backing == TLB_BACKING_RAM)
            guest_store(p->place[0].host, value, size);
        else if (p->place[0].backing == TLB_BACKING_IO)
            device_write(m, p, size, value);
        return;
    }
    guest_store64(bytes, value);
    for (unsigned i = 0; i < 2; done += p->length[i++]) {
        if (p->place[i].backing == TLB_BACKING_RAM)
            guest_copy_in(p->place[i].host, bytes + done, p->length[i]);
        else if (p->place[i].backing == TLB_BACKING_IO)
            bus_write(m->bus, p->place[i].gpa, bytes + done, p->length[i]);
    }
}

static enum mmu_status load(struct mmu_context *m, gva_t address, unsigned size, enum tlb_view view,
                            uint64_t *value, struct mmu_fault *fault)
{
    struct pieces p;
    bool locked;
    enum mmu_status status = begin(m, address, size, MMU_READ, view, &p, &locked, fault);

    if (status == MMU_OK)
        *value = read_pieces(m, &p, size);
    end(m, locked);
    return status;
}

static enum mmu_status store(struct mmu_context *m, gva_t address, unsigned size,
                             enum tlb_view view, uint64_t value, struct mmu_fault *fault)
{
    struct pieces p;
    bool locked;
    enum mmu_status status = begin(m, address, size, MMU_WRITE, view, &p, &locked, fault);

    if (status == MMU_OK) {
        announce(m, &p, address);
        write_pieces(m, &p, size, value);
        settle(m, &p);
    }
    end(m, locked);
    return status;
}

enum mmu_status mmu_load(struct mmu_context *m, gva_t address, unsigned size, uint64_t *value,
                         struct mmu_fault *fault)
{
    return load(m, address, size, m->view, value, fault);
}

enum mmu_status mmu_store(struct mmu_context *m, gva_t address, unsigned size, uint64_t value,
                          struct mmu_fault *fault)
{
    return store(m, address, size, m->view, value, fault);
}

enum mmu_status mmu_load_system(struct mmu_context *m, gva_t address, unsigned size,
                                uint64_t *value, struct mmu_fault *fault)
{
    return load(m, address, size, TLB_VIEW_SUPERVISOR, value, fault);
}

enum mmu_status mmu_store_system(struct mmu_context *m, gva_t address, unsigned size,
                                 uint64_t value, struct mmu_fault *fault)
{
    return store(m, address, size, TLB_VIEW_SUPERVISOR, value, fault);
}

static enum mmu_status probe(struct mmu_context *m, gva_t address, unsigned size,
                             enum mmu_access access, struct mmu_fault *fault)
{
    struct pieces p;
    enum mmu_status status = resolve(m, address, size, access, m->view, &p, fault);

    return status == MMU_OK ? admit(m, &p, access) : status;
}

enum mmu_status mmu_probe_write(struct mmu_context *m, gva_t address, unsigned size,
                                struct mmu_fault *fault)
{
    return probe(m, address, size, MMU_WRITE, fault);
}

enum mmu_status mmu_probe_read(struct mmu_context *m, gva_t address, unsigned size,
                               struct mmu_fault *fault)
{
    return probe(m, address, size, MMU_READ, fault);
}

/* Bytes of [address, + size) up to the end of its page. */
static unsigned page_part(gpa_t address, unsigned size)
{
    return MIN(size, PAGE_SIZE - (unsigned)(address.v & ~PAGE_MASK));
}

void mmu_read_physical(struct mmu_context *m, gpa_t address, void *buffer, unsigned size)
{
    uint8_t *out = buffer;

    for (unsigned n; size > 0; size -= n, out += n, address.v += n) {
        mpa_t at;

        n = page_part(address, size);
        if (mmu_locate(m, address, MMU_READ, &at) != FRAME_HOLE) {
            guest_copy_out(out, machine_memory_host(m->memory, at), n);
            continue;
        }
        mmu_lock_devices(m);
        bus_read(m->bus, address, out, n);
        mmu_unlock_devices(m);
    }
}

void mmu_write_physical(struct mmu_context *m, gpa_t address, const void *buffer, unsigned size)
{
    const uint8_t *in = buffer;

    for (unsigned n; size > 0; size -= n, in += n, address.v += n) {
        mpa_t at;

        n = page_part(address, size);
        if (mmu_locate(m, address, MMU_WRITE, &at) == FRAME_RAM) {
            prepare(m, at, n);
            guest_copy_in(machine_memory_host(m->memory, at), in, n);
            finish(m, at, n);
            continue;
        }
        mmu_lock_devices(m);
        bus_write(m->bus, address, in, n);
        mmu_unlock_devices(m);
    }
}

/* One aligned word of 8 bytes holds all of the operand. */
static bool in_one_word(uint64_t address, unsigned size)
{
    return (address & 7) + size <= 8;
}

/* Compare-and-store on a part of an aligned word. */
static void exchange_part(uint8_t *host, unsigned size, uint64_t *expected, uint64_t desired)
{
    unsigned shift = 8 * ((unsigned)(uintptr_t)host & 7);
    uint64_t *word = (uint64_t *)(void *)(host - shift / 8);
    uint64_t mask = size_mask(size), old = guest_load64(word), new, found;

    do {
        found = old >> shift & mask;
        if (found != *expected)
            break;
        new = (old & ~(mask << shift)) | (desired & mask) << shift;
    } while (!guest_cas64(word, &old, new));
    *expected = found;
}

/*
 * One compare-and-store of the host, or nobody else runs. A device's register may have another
 * value whenever it is read: what the instruction has loaded counts.
 */
static void exchange(struct mmu_context *m, const struct pieces *p, unsigned size,
                     uint64_t *expected, uint64_t desired)
{
    uint8_t *host = p->place[0].host;
    uint64_t found;

    if (p->place[0].backing == TLB_BACKING_RAM && in_one_word(p->place[0].mpa.v, size)) {
        if (((uintptr_t)host & (size - 1)) == 0)
            guest_cas(host, size, expected, desired);
        else
            exchange_part(host, size, expected, desired);
        return;
    }
    if (touches_device(p)) {
        write_pieces(m, p, size, desired);
        return;
    }
    found = read_pieces(m, p, size);
    /* SDM 2A CMPXCHG: always writes */
    write_pieces(m, p, size, found == *expected ? desired : found);
    *expected = found;
}

/* Nobody else runs, and the operand may be a device's. */
static void hold_all(struct mmu_context *m)
{
    mmu_lock_devices(m);
    mmu_hold(m->memory, m);
}

static void release_all(struct mmu_context *m)
{
    mmu_release(m->memory, m);
    mmu_unlock_devices(m);
}

enum mmu_status mmu_compare_exchange(struct mmu_context *m, gva_t address, unsigned size,
                                     uint64_t *expected, uint64_t desired, struct mmu_fault *fault)
{
    bool hold = !in_one_word(address.v, size), locked;
    enum mmu_status status;
    struct pieces p;

    if (hold)
        hold_all(m);
    status = begin(m, address, size, MMU_WRITE, m->view, &p, &locked, fault);
    if (status == MMU_OK) {
        *expected &= size_mask(size);
        announce(m, &p, address);
        exchange(m, &p, size, expected, desired);
        settle(m, &p);
    }
    end(m, locked);
    if (hold)
        release_all(m);
    return status;
}

enum mmu_status mmu_compare_exchange_pair(struct mmu_context *m, gva_t address,
                                          uint64_t expected[2], const uint64_t desired[2],
                                          struct mmu_fault *fault)
{
    enum mmu_status status;
    struct pieces p;
    bool locked, equal;

    if (!HOST_CAS128)
        hold_all(m);
    status = begin(m, address, 16, MMU_WRITE, m->view, &p, &locked, fault);
    if (status == MMU_OK && p.place[0].backing == TLB_BACKING_RAM) {
        announce(m, &p, address);
        guest_cas128(p.place[0].host, expected, desired);
        settle(m, &p);
    } else if (status == MMU_OK) {
        uint64_t found[2];
        struct pieces high = p;

        high.place[0].gpa.v += 8;
        high.place[0].host += p.place[0].host != NULL ? 8 : 0;
        found[0] = read_pieces(m, &p, 8);
        found[1] = read_pieces(m, &high, 8);
        equal = found[0] == expected[0] && found[1] == expected[1];
        write_pieces(m, &p, 8, equal ? desired[0] : found[0]);
        write_pieces(m, &high, 8, equal ? desired[1] : found[1]);
        expected[0] = found[0];
        expected[1] = found[1];
    }
    end(m, locked);
    if (!HOST_CAS128)
        release_all(m);
    return status;
}

enum mmu_status mmu_fetch(struct mmu_context *m, gva_t address, const uint8_t **host, mpa_t *where,
                          struct mmu_fault *fault)
{
    struct tlb_place place;
    enum mmu_status status = tlb_translate(m, address.v, MMU_FETCH, m->view, &place, fault);

    if (status != MMU_OK)
        return status;
    *host = place.host;
    *where = place.mpa;
    return MMU_OK;
}
