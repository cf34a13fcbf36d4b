/*
 * A guest that does anything to its page tables, control registers and caches, on two vCPUs,
 * against the paging oracle and a model of what may be cached: tests/mmu/driver.h. Its deep,
 * seeded relative is tests/mmu/random.c.
 *
 * The first byte chooses the policy. Each operation is a byte that chooses it, up to four more, and
 * two that nobody reads.
 */
#include "tests/mmu/driver.h"

#define FRAMES 9u /* from 0: six tables, three data pages; also where large pages begin */
#define TABLES 6u

struct fuzz {
    struct driver *d;
    const uint8_t *data, *end;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t next(struct fuzz *f)
{
    return f->data < f->end ? *f->data++ : 0;
}

/* --- Addresses and entries out of input --- */

/* Few enough that tables, pages and slots are met again and again. */
static uint64_t linear_address(struct fuzz *f)
{
    static const uint16_t offsets[] = {0, 8, 0x123, 0xff4, 0xff8, 0xffc, 0xffe, 0xfff};
    static const uint16_t index9[] = {0, 1, 2, 511};
    unsigned n = next(f) | next(f) << 8;
    uint64_t linear = offsets[n & 7];
    enum oracle_mode mode = oracle_mode_of(f->d->v->m);

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
    uint64_t entry = htole64(entry_value(f));
    unsigned size = oracle_mode_of(f->d->v->m) == ORACLE_32BIT ? 4 : 8;
    uint64_t at = (where % TABLES) * 4096 + (indices[where >> 5] * size & 0xfff);

    TRACE(f->d, "entry at %#llx: %#llx, %u bytes\n", (unsigned long long)at,
          (unsigned long long)le64toh(entry), size);
    driver_dma(f->d, at, &entry, size);
}

/* --- Accesses --- */

static void op_load(struct fuzz *f)
{
    uint8_t how = next(f);
    uint64_t linear = linear_address(f), value;

    driver_load(f->d, linear, 1u << (how & 3), !(how & 0x30), &value);
}

static void op_store(struct fuzz *f)
{
    uint8_t how = next(f);
    uint64_t linear = linear_address(f), value = next(f) * UINT64_C(0x0102030405060708);

    driver_store(f->d, linear, 1u << (how & 3), !(how & 0x30), value);
}

static void op_probe(struct fuzz *f)
{
    uint8_t how = next(f);

    driver_probe(f->d, linear_address(f), how & 8 ? 4096 : 1u << (how & 3), how & 4);
}

/* A compare that is not likely to match, so that memory keeps its value; then one that does. */
static void op_exchange(struct fuzz *f)
{
    uint8_t how = next(f);
    uint64_t linear = linear_address(f), expected = 0x5a5a5a5a5a5a5a5a, desired = next(f);

    if (driver_exchange(f->d, linear, 1u << (how & 3), &expected, desired) == MMU_OK)
        driver_exchange(f->d, linear, 1u << (how & 3), &expected, desired);
}

static void op_fetch(struct fuzz *f)
{
    next(f);
    driver_fetch(f->d, linear_address(f));
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
    uint8_t mode = next(f), bits = next(f);
    const uint64_t *base = bases[mode % 5];
    uint64_t cr0 = base[0] | (bits & 1 ? CR0_WP : 0);
    uint64_t cr4 = base[1] | (bits & 2 ? CR4_PSE : 0) | (bits & 4 ? CR4_PGE : 0) |
                   (bits & 8 ? CR4_SMEP : 0) | (bits & 16 ? CR4_SMAP : 0);
    uint64_t efer = base[2] | (bits & 32 ? EFER_NXE : 0);

    cr4 |= (bits & 64) && base[2] ? CR4_PKE : 0;
    cr4 |= (bits & 128) && base[2] ? CR4_PCIDE : 0;
    driver_control(f->d, cr0, cr4, efer);
}

static void op_cr3(struct fuzz *f)
{
    const struct mmu_context *m = f->d->v->m;
    uint8_t n = next(f), flags = next(f);
    uint64_t cr3 = (n % TABLES) << 12;

    cr3 |= m->cr4 & CR4_PCIDE ? flags >> 1 & 3 : 0;
    if (oracle_mode_of(m) == ORACLE_PAE)
        cr3 |= flags & 0xe0;
    driver_cr3(f->d, cr3, (flags & 1) && (m->cr4 & CR4_PCIDE));
}

static void op_invlpg(struct fuzz *f)
{
    driver_invlpg(f->d, linear_address(f));
}

static void op_invpcid(struct fuzz *f)
{
    uint8_t how = next(f);
    uint16_t pcid = f->d->v->m->cr4 & CR4_PCIDE ? how >> 2 & 3 : 0;

    driver_invpcid(f->d, how & 3, pcid, linear_address(f));
}

static void op_privilege(struct fuzz *f)
{
    uint8_t n = next(f);

    driver_privilege(f->d, n & 1 ? 3 : 0, n & 2);
}

/* Pages that are met, and such that are not; frames of the same, so that some have several pages.
 */
static void op_p2m(struct fuzz *f)
{
    static const uint32_t far_pages[] = {0x200000, 0x400000, RIG_ROM,  RIG_IO,
                                         RIG_HOLE, 0x100000, 0x201000, 0x1000};
    uint8_t n = next(f), how = next(f);
    uint64_t page = n & 0x80 ? far_pages[n & 7] : (n % FRAMES) << 12, frame = how & 0x0f;

    if (how & 0x80)
        frame = (how & 0x40 ? (how & 0x20 ? RIG_ROM : 0x200000) >> 12 : MODEL_NO_FRAME);
    else if (how & 0x40)
        frame = machine_memory_kind(f->d->r.memory, mpa(page)) != FRAME_HOLE ? page >> 12
                                                                             : MODEL_NO_FRAME;
    driver_p2m(f->d, page, (uint16_t)frame);
}

static void op_registers(struct fuzz *f)
{
    uint8_t n = next(f);

    switch (n & 7) {
    case 0:
        driver_a20(f->d, n & 8);
        break;
    case 1:
        driver_flush_all(f->d);
        break;
    case 2:
        driver_exact(f->d, n & 8, n & 16);
        break;
    case 3:
        driver_select(f->d, f->d->v == &f->d->vcpu[0]);
        break;
    case 4:
        op_p2m(f);
        break;
    default:
        driver_pkru(f->d, next(f) * 0x01010101u);
        break;
    }
}

static void op_watch(struct fuzz *f)
{
    static const uint32_t watches[] = {FRAME_WATCH_CODE, FRAME_WATCH_DIRTY, FRAME_WATCH_COW,
                                       FRAME_WATCH_CODE | FRAME_WATCH_DIRTY};
    uint8_t n = next(f);

    driver_watch(f->d, (n % FRAMES) << 12, watches[n >> 5 & 3], !(n & 0x80));
}

static void run(struct fuzz *f)
{
    static void (*const ops[])(struct fuzz *) = {
        op_load,    op_store, op_load,     op_fetch,   op_write_entry, op_write_entry,
        op_control, op_cr3,   op_invlpg,   op_invpcid, op_privilege,   op_registers,
        op_watch,   op_probe, op_exchange, op_fetch,
    };

    while (f->data < f->end && !f->d->full) {
        ops[next(f) % ARRAY_SIZE(ops)](f);
        next(f);
        next(f);
    }
}

/* Both vCPUs' policies, by the first byte: few of everything, so that all of it runs out. */
static void choose_policy(struct driver *d, uint8_t n)
{
    struct mmu_options o = mmu_default_options;

    o.policy = n & 1 ? MMU_POLICY_PARANOID : n & 2 ? MMU_POLICY_COHERENT : MMU_POLICY_FLUSH;
    o.paranoid = 1;
    o.consumer = n & 4 ? MMU_CONSUMER_INVALIDATE : MMU_CONSUMER_APPLY;
    o.patch = !(n & 8) ? MMU_PATCH_VALIDATED : n & 16 ? MMU_PATCH_VALUE : MMU_PATCH_ADDRESS;
    o.tables = (n & 3) == 3 ? MMU_TABLES_SHARED : MMU_TABLES_PRIVATE;
    o.spaces = n & 16 ? 2 : 4;
    o.slots = n & 32 ? 2 : 16;
    o.pages = n & 64 ? 16 : 64;
    o.flood = n & 128 ? 2 : 255;
    for (unsigned i = 0; i < 2; i++)
        if (memcmp(&d->vcpu[i].m->options, &o, sizeof(o)) != 0)
            mmu_configure(d->vcpu[i].m, &o);
}

/* The data pages say where they are. */
static void fill_pages(struct driver *d)
{
    for (uint64_t at = TABLES * 4096; at < FRAMES * 4096; at += 8) {
        uint64_t word = htole64(at / 8 * 0x0001000100010000);

        model_poke(d, at, &word, 8);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct driver *d; /* created once: a TLB takes longer to create than an input to run */
    struct fuzz f = {.data = data, .end = data + MIN(size, 1024)};

    if (d == NULL) {
        d = model_create();
        d->window = FRAMES;
        d->window_period = 1;
    }
    f.d = d;
    choose_policy(d, next(&f));
    model_reset(d);
    fill_pages(d);
    run(&f);
    model_compare(d, true);
    return 0;
}
