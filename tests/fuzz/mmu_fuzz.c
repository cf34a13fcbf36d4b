/*
 * A guest that does anything to its page tables, control registers and caches, on two vCPUs,
 * against the paging oracle and a model of what a processor may have cached (SDM 3A 4.10): an
 * access must go where the tables say now, or where an earlier access went that no invalidation
 * since then has covered. A fault must be the one that the tables ask for now.
 *
 * What the coherent policies keep over an invalidation must be what a processor could have cached
 * again right behind it.
 *
 * The first byte chooses the policy. Each operation is a byte that chooses it and up to four more.
 */
#include "tests/fuzz/mmu_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- Addresses and entries out of input --- */

/* Few enough that tables, pages and slots are met again and again. */
static uint64_t linear_address(struct fuzz *f)
{
    static const uint16_t offsets[] = {0, 8, 0x123, 0xff4, 0xff8, 0xffc, 0xffe, 0xfff};
    static const uint16_t index9[] = {0, 1, 2, 511};
    unsigned n = next(f) | next(f) << 8;
    uint64_t linear = offsets[n & 7];
    enum oracle_mode mode = oracle_mode_of(f->v->m);

    for (unsigned level = 0; level < 5; level++)
        linear |= (uint64_t)index9[n >> (3 + 2 * level) & 3] << (12 + 9 * level);
    if (mode < ORACLE_4LEVEL)
        return linear & 0xffffffff;
    if (n >> 13 == 7)
        return linear; /* canonical or not */
    return sign_extend(linear, mode == ORACLE_5LEVEL ? 56 : 47);
}

static uint64_t entry_value(struct fuzz *f)
{
    static const uint32_t far_targets[] = {0x200000, 0x400000, RIG_ROM, RIG_IO,
                                           RIG_HOLE, 0x100000, 0,       0x40000000};
    uint8_t target = next(f), low = next(f), high = next(f);
    uint64_t entry = target & 0x80 ? far_targets[target & 7] : (target % FRAMES) << 12;

    entry |= low & 0x7f;
    entry |= low & 0x80 ? PTE_G : 0;
    entry |= target & 0x40 ? PTE_PS : 0;
    if (high & 3)
        entry |= 7; /* mostly open */
    entry |= (high & 0x1c) == 4 ? PTE_XD : 0;
    entry |= (high & 0x1c) == 8 ? BIT64(51) : 0;
    entry |= (high & 0x1c) == 12 ? BIT64(20) : 0;
    entry |= (uint64_t)(high >> 5) << 59;
    return entry;
}

static void op_write_entry(struct fuzz *f)
{
    static const uint16_t indices[] = {0, 1, 2, 511, 1023, 4, 0, 1};
    uint8_t where = next(f);
    uint64_t entry = entry_value(f);
    bool narrow = oracle_mode_of(f->v->m) == ORACLE_32BIT;
    unsigned size = narrow ? 4 : 8;
    uint64_t at = (where % TABLES) * 4096 + (indices[where >> 5] * size & 0xfff);

    TRACE(f, "entry at %#llx: %#llx, %u bytes\n", (unsigned long long)at, (unsigned long long)entry,
          size);
    entry = htole64(entry);
    bus_write(f->r.bus, gpa(at), &entry, size);
    memcpy(f->mirror + at, &entry, size);
}

/* --- Accesses --- */

struct request {
    uint64_t linear;
    unsigned size;
    enum mmu_access access;
    enum tlb_view view;
    enum oracle_who who;
};

static void apply(struct fuzz *f, const struct oracle_answer *a)
{
    for (unsigned i = 0; i < a->update_count; i++) {
        uint64_t value = htole64(a->update[i].value);

        if (machine_memory_kind(f->r.memory, mpa(a->update[i].physical)) != FRAME_RAM)
            continue;
        mirror_write(f, a->update[i].physical, &value, a->update[i].size);
        if (a->update[i].physical < WINDOW) {
            memcpy(f->before + a->update[i].physical, &value, a->update[i].size);
            memcpy(f->v->instant + a->update[i].physical, &value, a->update[i].size);
        }
    }
}

/* Does memory hold the bits that the walk sets? All or none of them are new. */
static bool bits_in_memory(const struct fuzz *f, const struct oracle_answer *a)
{
    for (unsigned i = 0; i < a->update_count; i++) {
        const struct oracle_update *u = &a->update[i];
        uint8_t low;

        if (machine_memory_kind(f->r.memory, mpa(u->physical)) != FRAME_RAM)
            continue;
        low = guest_load8(machine_memory_host(f->r.memory, mpa(u->physical)));
        if (~low & u->value & 0x60)
            return false;
    }
    return true;
}

/* Were the bits set? Memory says so where the number of walks does not; the access itself may have
 * overwritten them. */
static bool applied(const struct fuzz *f, const struct oracle_answer *a)
{
    if (f->walks == 0 || f->walks >= f->pages)
        return f->walks != 0;
    return bits_in_memory(f, a);
}

/* A page of an access that has gone well: where it went must be legal. */
static uint64_t check_place(struct fuzz *f, const struct request *q, uint64_t linear)
{
    enum oracle_kind kind = oracle_kind_of(q->access);
    struct oracle_cpu cpu = processor(f);
    struct oracle_answer now = oracle_access(&cpu, linear, kind, q->who);
    struct mmu_fault fault;
    struct tlb_place place;
    bool old;

    REQUIRE(f, tlb_translate(f->v->m, linear, q->access, q->view, &place, &fault) == MMU_OK);
    TRACE(f, "  %#llx is at %#llx, by the tables %u at %#llx\n", (unsigned long long)linear,
          (unsigned long long)place.gpa.v, now.end, (unsigned long long)now.physical);
    old = in_history(f, linear, place.gpa.v, kind, q->who);
    if (now.end == ORACLE_TRANSLATED && now.physical == place.gpa.v && (!old || applied(f, &now))) {
        apply(f, &now);
        remember(f, linear, &now);
    } else {
        REQUIRE(f, old);
    }
    return place.gpa.v;
}

static void check_fault(struct fuzz *f, const struct request *q, uint64_t linear,
                        enum mmu_status status, const struct mmu_fault *fault)
{
    struct oracle_cpu cpu = processor(f);
    struct oracle_answer now = oracle_access(&cpu, linear, oracle_kind_of(q->access), q->who);

    if (status == MMU_NOT_CANONICAL) {
        REQUIRE(f, now.end == ORACLE_NOT_CANONICAL);
        return;
    }
    REQUIRE(f, now.end == ORACLE_FAULT);
    REQUIRE(f, now.error == fault->error_code);
    REQUIRE(f, linear == fault->address.v);
    forget(f->v, true, false, current_pcid(f->v->m), &linear);
}

/* The page was translated and then not accessed: A and D bits may have been set. */
static void settle(struct fuzz *f, const struct request *q, uint64_t linear)
{
    struct oracle_cpu cpu = processor(f);
    struct oracle_answer now = oracle_access(&cpu, linear, oracle_kind_of(q->access), q->who);

    if (now.end == ORACLE_TRANSLATED && bits_in_memory(f, &now)) {
        apply(f, &now);
        remember(f, linear, &now);
    }
}

static uint64_t byte_at(struct fuzz *f, uint64_t physical, unsigned at, unsigned size)
{
    uint64_t word;

    if (machine_memory_kind(f->r.memory, mpa(physical + at)) != FRAME_HOLE)
        return f->mirror[physical + at];
    /* The bus reads aligned pieces: a byte's value must not depend on how. */
    word = bus_mmio_read(f->r.bus, gpa(physical), size);
    return word >> 8 * at & 0xff;
}

/* Compares what was loaded, or stores into the mirror. */
static void check_data(struct fuzz *f, const struct request *q, const uint64_t place[2],
                       unsigned first, uint64_t value)
{
    for (unsigned i = 0; i < q->size; i++) {
        unsigned piece = i >= first;
        unsigned at = piece ? i - first : i;
        enum frame_kind kind = machine_memory_kind(f->r.memory, mpa(place[piece]));

        if (q->access == MMU_WRITE && kind == FRAME_RAM &&
            (machine_memory_frame(f->r.memory, mpa(place[piece]))->watch & FRAME_WATCH_CODE))
            REQUIRE(f, f->code_writes > 0);
        if (q->access == MMU_WRITE && kind == FRAME_RAM)
            mirror_write(f, place[piece] + at, &(uint8_t){(uint8_t)(value >> 8 * i)}, 1);
        else if (q->access == MMU_READ && kind != FRAME_HOLE)
            REQUIRE(f, (value >> 8 * i & 0xff) == byte_at(f, place[piece], at, q->size));
    }
}

static uint64_t following_page(const struct fuzz *f, uint64_t linear)
{
    uint64_t page = (linear & PAGE_MASK) + PAGE_SIZE;

    return f->v->m->efer & EFER_LMA ? page : page & 0xffffffff;
}

static void finish_access(struct fuzz *f, const struct request *q, enum mmu_status status,
                          const struct mmu_fault *fault, uint64_t value, bool has_data)
{
    unsigned room = PAGE_SIZE - (q->linear & 0xfff), first = MIN(room, q->size);
    uint64_t second = following_page(f, q->linear), place[2] = {0, 0};
    bool crosses = room < q->size;
    struct oracle_cpu cpu = processor(f);

    f->walks = f->v->m->walks - f->walks;
    f->pages = crosses ? 2 : 1;
    if (f->walks > 0)
        memcpy(f->v->instant, f->before, WINDOW);
    TRACE(f, "cpu%u: access %u of %#llx, %u bytes, by %u: status %u, value %#llx\n", f->v->m->vcpu,
          q->access, (unsigned long long)q->linear, q->size, q->who, status,
          (unsigned long long)value);
    if (status == MMU_NOT_CANONICAL) {
        REQUIRE(f,
                !oracle_canonical(&cpu, q->linear) || (crosses && !oracle_canonical(&cpu, second)));
        return;
    }
    if (status == MMU_RESTART) {
        REQUIRE(f, f->v->m->exact && !f->v->m->exact_point);
        settle(f, q, q->linear);
        if (crosses)
            settle(f, q, second);
        return;
    }
    if (status == MMU_PAGE_FAULT && fault->address.v == q->linear) {
        check_fault(f, q, q->linear, status, fault);
        return;
    }
    if (status == MMU_PAGE_FAULT) {
        REQUIRE(f, crosses);
        settle(f, q, q->linear); /* what it used may be gone: both may lie in one large page */
        check_fault(f, q, second, status, fault);
        return;
    }
    place[0] = check_place(f, q, q->linear);
    if (crosses)
        place[1] = check_place(f, q, second);
    if (has_data)
        check_data(f, q, place, first, value);
}

/* A hit of the inlined probe must be legal without any walk. */
static void check_fast_path(struct fuzz *f, const struct request *q)
{
    struct mmu_context *m = f->v->m;
    struct oracle_cpu cpu = processor(f);
    enum oracle_kind kind = oracle_kind_of(q->access);
    const uint8_t *host;
    struct oracle_answer now;
    uint64_t physical;

    if (q->view != m->view)
        return;
    host = q->access == MMU_READ    ? tlb_find_read(m, q->linear, q->size)
           : q->access == MMU_WRITE ? tlb_find_write(m, q->linear, q->size)
                                    : tlb_find_exec(m, q->linear);
    if (host == NULL)
        return;
    physical = (uint64_t)(host - f->r.memory->base);
    if (q->access == MMU_WRITE) {
        REQUIRE(f, machine_memory_kind(f->r.memory, mpa(physical)) == FRAME_RAM);
        REQUIRE(f, machine_memory_frame(f->r.memory, mpa(physical))->watch == 0);
    }
    now = oracle_access(&cpu, q->linear, kind, q->who);
    if (now.end == ORACLE_TRANSLATED && now.physical == physical && now.update_count == 0)
        return;
    REQUIRE(f, in_history(f, q->linear, physical, kind, q->who));
}

static struct request data_request(struct fuzz *f, uint8_t how, bool write)
{
    struct mmu_context *m = f->v->m;
    struct request q = {.size = 1u << (how & 3), .access = write ? MMU_WRITE : MMU_READ};

    q.linear = linear_address(f);
    q.view = m->view;
    q.who = m->cpl == 3 ? ORACLE_USER : (m->ac ? ORACLE_AC : ORACLE_SUPERVISOR);
    return q;
}

static void op_load(struct fuzz *f)
{
    struct mmu_context *m = f->v->m;
    uint8_t how = next(f);
    struct request q = data_request(f, how, false);
    struct mmu_fault fault;
    enum mmu_status status;
    uint64_t value = 0;

    if (how & 0x30) {
        check_fast_path(f, &q);
        status = mmu_load(m, gva(q.linear), q.size, &value, &fault);
    } else {
        q.view = TLB_VIEW_SUPERVISOR;
        q.who = ORACLE_IMPLICIT;
        status = mmu_load_system(m, gva(q.linear), q.size, &value, &fault);
    }
    finish_access(f, &q, status, &fault, value, true);
}

static void op_store(struct fuzz *f)
{
    struct mmu_context *m = f->v->m;
    uint8_t how = next(f);
    struct request q = data_request(f, how, true);
    uint64_t value = next(f) * UINT64_C(0x0102030405060708);
    struct mmu_fault fault;
    enum mmu_status status;

    if (how & 0x30) {
        check_fast_path(f, &q);
        status = mmu_store(m, gva(q.linear), q.size, value, &fault);
    } else {
        q.view = TLB_VIEW_SUPERVISOR;
        q.who = ORACLE_IMPLICIT;
        status = mmu_store_system(m, gva(q.linear), q.size, value, &fault);
    }
    finish_access(f, &q, status, &fault, value, true);
}

static void op_probe(struct fuzz *f)
{
    uint8_t how = next(f);
    struct request q = data_request(f, how, how & 4);
    struct mmu_fault fault;
    enum mmu_status status;

    q.size = how & 8 ? 4096 : q.size;
    if (q.access == MMU_WRITE)
        status = mmu_probe_write(f->v->m, gva(q.linear), q.size, &fault);
    else
        status = mmu_probe_read(f->v->m, gva(q.linear), q.size, &fault);
    finish_access(f, &q, status, &fault, 0, false);
}

/* A compare that does not match, so that memory keeps its value; then one that does. */
static void op_exchange(struct fuzz *f)
{
    uint8_t how = next(f);
    struct request q = data_request(f, how, true);
    uint64_t expected = 0x5a5a5a5a5a5a5a5a, desired = next(f);
    struct mmu_fault fault;
    enum mmu_status status;

    status = mmu_compare_exchange(f->v->m, gva(q.linear), q.size, &expected, desired, &fault);
    finish_access(f, &q, status, &fault, expected, status == MMU_OK);
    if (status != MMU_OK)
        return;
    f->walks = f->v->m->walks;
    status = mmu_compare_exchange(f->v->m, gva(q.linear), q.size, &expected, desired, &fault);
    finish_access(f, &q, status, &fault, desired, status == MMU_OK);
}

static void op_fetch(struct fuzz *f)
{
    struct vcpu_model *v = f->v;
    struct request q = data_request(f, 0, false);
    struct mmu_fault fault;
    enum mmu_status status;
    const uint8_t *host = NULL;
    mpa_t where = mpa(0);

    q.access = MMU_FETCH;
    check_fast_path(f, &q);
    status = mmu_fetch(v->m, gva(q.linear), &host, &where, &fault);
    finish_access(f, &q, status, &fault, 0, false);
    /* Code outside memory is not kept. */
    if (status == MMU_OK && host != NULL)
        v->lookups[v->lookup_count++ % LOOKUP_MAX] = (struct lookup){
            .page = q.linear & PAGE_MASK,
            .physical = where.v & PAGE_MASK,
            .epoch = v->m->code_epoch,
            .view = v->m->view,
        };
}

/* Whatever a look-up cache may use now must be legal. */
static void check_lookups(struct fuzz *f)
{
    struct vcpu_model *v = f->v;
    struct request q = data_request(f, 0, false);
    struct oracle_cpu cpu = processor(f);
    bool user = v->m->view == TLB_VIEW_USER;

    for (unsigned i = 0; i < MIN(v->lookup_count, LOOKUP_MAX); i++) {
        const struct lookup *l = &v->lookups[i];
        struct oracle_answer now;

        if (user != (l->view == TLB_VIEW_USER) || l->epoch != v->m->code_epoch)
            continue;
        now = oracle_access(&cpu, l->page, ORACLE_FETCH, q.who);
        REQUIRE(f, (now.end == ORACLE_TRANSLATED && now.physical == l->physical) ||
                       in_history(f, l->page, l->physical, ORACLE_FETCH, q.who));
    }
}

/* --- Registers and invalidations --- */

static void op_control(struct fuzz *f)
{
    static const uint64_t bases[5][3] = {
        {1, 0, 0},
        {1 | CR0_PG, 0, 0},
        {1 | CR0_PG, CR4_PAE, 0},
        {1 | CR0_PG, CR4_PAE, EFER_LMA},
        {1 | CR0_PG, CR4_PAE | CR4_LA57, EFER_LMA},
    };
    struct vcpu_model *v = f->v;
    uint8_t mode = next(f), bits = next(f);
    const uint64_t *base = bases[mode % 5];
    uint64_t cr0 = base[0] | (bits & 1 ? CR0_WP : 0);
    uint64_t cr4 = base[1] | (bits & 2 ? CR4_PSE : 0) | (bits & 4 ? CR4_PGE : 0) |
                   (bits & 8 ? CR4_SMEP : 0) | (bits & 16 ? CR4_SMAP : 0);
    uint64_t efer = base[2] | (bits & 32 ? EFER_NXE : 0), old = v->m->cr4;
    struct oracle_cpu before = oracle_of(v->m), after;

    cr4 |= (bits & 64) && base[2] ? CR4_PKE : 0;
    cr4 |= (bits & 128) && base[2] ? CR4_PCIDE : 0;
    if (mode % 5 == 2 && !mmu_load_pdptes(v->m, v->m->cr3))
        return;
    TRACE(f, "CR0 %#llx CR4 %#llx EFER %#llx\n", (unsigned long long)cr0, (unsigned long long)cr4,
          (unsigned long long)efer);
    mmu_set_control(v->m, cr0, cr4, efer);
    after = oracle_of(v->m);
    /* SDM 3A 4.10.4.1; the width of the mode changes without paging only. */
    if (before.mode != after.mode || ((old ^ cr4) & CR4_PGE) || (old & ~cr4 & CR4_PCIDE))
        forget(v, true, true, 0, NULL);
    else if (~old & cr4 & CR4_SMEP)
        forget(v, false, false, current_pcid(v->m), NULL);
}

static void op_cr3(struct fuzz *f)
{
    struct vcpu_model *v = f->v;
    uint8_t n = next(f), flags = next(f);
    uint64_t cr3 = (n % TABLES) << 12;
    bool keep = (flags & 1) && (v->m->cr4 & CR4_PCIDE);

    cr3 |= v->m->cr4 & CR4_PCIDE ? flags >> 1 & 3 : 0;
    if (oracle_mode_of(v->m) == ORACLE_PAE) {
        cr3 |= flags & 0xe0;
        if (!mmu_load_pdptes(v->m, cr3))
            return;
    }
    mmu_set_cr3(v->m, cr3, keep);
    if (!keep)
        forget(v, false, false, current_pcid(v->m), NULL);
}

static void op_invlpg(struct fuzz *f)
{
    uint64_t linear = linear_address(f);

    mmu_invlpg(f->v->m, gva(linear));
    forget(f->v, true, false, current_pcid(f->v->m), &linear);
}

static void op_invpcid(struct fuzz *f)
{
    struct vcpu_model *v = f->v;
    uint8_t how = next(f);
    unsigned type = how & 3;
    uint16_t pcid = v->m->cr4 & CR4_PCIDE ? how >> 2 & 3 : 0;
    uint64_t linear = linear_address(f);

    mmu_invpcid(v->m, type, pcid, gva(linear));
    forget(v, type == 2, type >= 2, pcid, type == 0 ? &linear : NULL);
}

static void op_privilege(struct fuzz *f)
{
    uint8_t n = next(f);

    mmu_set_privilege(f->v->m, n & 1 ? 3 : 0, n & 2);
}

static void op_registers(struct fuzz *f)
{
    struct vcpu_model *v = f->v;
    uint8_t n = next(f);

    TRACE(f, "registers %#x\n", n);
    switch (n & 7) {
    case 0:
        if (!(n & 8) == (v->m->a20_mask == UINT64_MAX))
            forget(v, true, true, 0, NULL);
        mmu_set_a20(v->m, n & 8);
        break;
    case 1:
        mmu_flush_all(v->m);
        forget(v, true, true, 0, NULL);
        break;
    case 2:
        v->m->exact = n & 8;
        v->m->exact_point = n & 16;
        break;
    case 3:
        f->v = v == &f->vcpu[0] ? &f->vcpu[1] : &f->vcpu[0];
        break;
    default:
        mmu_set_pkru(v->m, next(f) * 0x01010101u);
        break;
    }
}

static void op_watch(struct fuzz *f)
{
    static const uint32_t watches[] = {FRAME_WATCH_CODE, FRAME_WATCH_DIRTY, FRAME_WATCH_COW,
                                       FRAME_WATCH_CODE | FRAME_WATCH_DIRTY};
    uint8_t n = next(f);
    mpa_t frame = mpa((n % FRAMES) << 12);

    if (n & 0x80)
        mmu_frame_unwatch(f->v->m, frame, watches[n >> 5 & 3]);
    else
        mmu_frame_watch(f->v->m, frame, watches[n >> 5 & 3]);
}

static void run(struct fuzz *f)
{
    static void (*const ops[])(struct fuzz *) = {
        op_load,    op_store, op_load,     op_fetch,   op_write_entry, op_write_entry,
        op_control, op_cr3,   op_invlpg,   op_invpcid, op_privilege,   op_registers,
        op_watch,   op_probe, op_exchange, op_fetch,
    };

    while (f->data < f->end) {
        unsigned op = next(f) % ARRAY_SIZE(ops);
        struct vcpu_model *v = f->v;
        uint64_t events = v->m->stats.events;

        TRACE(f, "op %u\n", op);
        f->code_writes = 0;
        memcpy(f->before, f->mirror, WINDOW);
        f->walks = f->v->m->walks;
        ops[op](f);
        if (v->m->stats.events != events)
            memcpy(v->instant, f->mirror, WINDOW);
        check_lookups(f);
        REQUIRE(f, memcmp(f->mirror, f->r.memory->base, WINDOW) == 0);
    }
}

/* Pages beyond the window that were written, and ROM. */
static void check_other_memory(struct fuzz *f)
{
    for (unsigned i = 0; i < f->touched_count; i++)
        REQUIRE(f, memcmp(f->mirror + f->touched[i], f->r.memory->base + f->touched[i],
                          PAGE_SIZE) == 0);
    REQUIRE(f, memcmp(f->mirror + RIG_ROM, f->r.memory->base + RIG_ROM, 4 * PAGE_SIZE) == 0);
}

/* Both vCPUs' policies, by the first byte: few of everything, so that all of it runs out. */
static void choose_policy(struct fuzz *f, uint8_t n)
{
    struct mmu_options o = mmu_default_options;

    o.policy = n & 1 ? MMU_POLICY_PARANOID : n & 2 ? MMU_POLICY_COHERENT : MMU_POLICY_FLUSH;
    o.paranoid = 1;
    o.consumer = n & 4 ? MMU_CONSUMER_INVALIDATE : MMU_CONSUMER_APPLY;
    o.patch = n & 8 ? MMU_PATCH_ADDRESS : MMU_PATCH_VALIDATED;
    o.spaces = n & 16 ? 2 : 4;
    o.slots = n & 32 ? 2 : 16;
    o.pages = n & 64 ? 16 : 64;
    o.flood = n & 128 ? 2 : 255;
    for (unsigned i = 0; i < 2; i++)
        if (memcmp(&f->vcpu[i].m->options, &o, sizeof(o)) != 0)
            mmu_configure(f->vcpu[i].m, &o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz *f;

    if (f == NULL)
        f = create();
    f->data = data;
    f->end = data + MIN(size, 1024);
    choose_policy(f, next(f));
    reset(f);
    run(f);
    check_other_memory(f);
    return 0;
}
