#include "mmu/walk.h"

#include "mmu/events.h"
#include "mmu/guest_access.h"
#include "mmu/shadow.h"

#include <string.h>

/* Bits [high:low], both included; none if low > high. */
static uint64_t bit_range(unsigned high, unsigned low)
{
    return low > high ? 0 : (~0ull >> (63 - high)) & ~(BIT64(low) - 1);
}

#define ADDRESS_BITS 0x000ffffffffff000ull /* [51:12] */

/* The shape of a mode's tables. */
struct format {
    const char *word;
    uint8_t levels;     /* of the walk, the PDPTE registers included */
    uint8_t entry_size; /* bytes */
    uint8_t index_bits;
};

static const struct format formats[] = {
    [WALK_PAGING_OFF] = {"off", 0, 0, 0}, [WALK_32BIT] = {"32-bit", 2, 4, 10},
    [WALK_PAE] = {"PAE", 3, 8, 9},        [WALK_4LEVEL] = {"4-level", 4, 8, 9},
    [WALK_5LEVEL] = {"5-level", 5, 8, 9},
};

/* Outcomes, with their word in reports and events. */
static const struct {
    const char *word;
    enum mmu_event_cause cause;
} outcomes[] = {
    [WALK_OK] = {"translated", MMU_CAUSE_OK},
    [WALK_NOT_PRESENT] = {"not present", MMU_CAUSE_NOT_PRESENT},
    [WALK_RESERVED] = {"reserved bit set", MMU_CAUSE_RESERVED},
    [WALK_DENIED] = {"access denied", MMU_CAUSE_DENIED},
    [WALK_NOT_CANONICAL] = {"not canonical", MMU_CAUSE_NOT_CANONICAL},
    [WALK_RESTART] = {"needs an exact point", MMU_CAUSE_RESTART},
};

const char *walk_mode_word(enum walk_mode mode)
{
    return formats[mode].word;
}

const char *walk_outcome_word(enum walk_outcome outcome)
{
    return outcomes[outcome].word;
}

/* SDM 3A 4.1.1 */
enum walk_mode mmu_walk_mode(const struct mmu_context *m)
{
    if (!(m->cr0 & CR0_PG))
        return WALK_PAGING_OFF;
    if (!(m->cr4 & CR4_PAE))
        return WALK_32BIT;
    if (!(m->efer & EFER_LMA))
        return WALK_PAE;
    return m->cr4 & CR4_LA57 ? WALK_5LEVEL : WALK_4LEVEL;
}

bool mmu_address_canonical(const struct mmu_context *m, uint64_t address)
{
    if (!(m->efer & EFER_LMA))
        return true;
    return sign_extend(address, m->cr4 & CR4_LA57 ? 56 : 47) == address;
}

/* --- Rights --- */

/* True if protection keys deny the data access (SDM 3A 4.6.2). */
static bool pkey_denies(const struct mmu_context *m, enum tlb_view view,
                        const struct mmu_translation *t, bool write)
{
    bool access_disable = m->pkru >> 2 * t->pkey & 1, write_disable = m->pkru >> 2 * t->pkey & 2;

    if (!(m->cr4 & CR4_PKE) || !(m->efer & EFER_LMA) || !(t->rights & WALK_USER))
        return false;
    if (access_disable)
        return true;
    return write && write_disable && (view == TLB_VIEW_USER || (m->cr0 & CR0_WP));
}

unsigned mmu_rights_allowed(const struct mmu_context *m, enum tlb_view view,
                            const struct mmu_translation *t)
{
    bool user_mode = view == TLB_VIEW_USER, user_page = t->rights & WALK_USER;
    bool read, write, fetch;

    if (!(m->cr0 & CR0_PG))
        return BIT(MMU_READ) | BIT(MMU_WRITE) | BIT(MMU_FETCH);
    if (user_mode) {
        read = fetch = user_page;
        write = user_page && (t->rights & WALK_WRITABLE);
    } else {
        read = !user_page || !(m->cr4 & CR4_SMAP) || view == TLB_VIEW_SUPERVISOR_AC;
        write = read && ((t->rights & WALK_WRITABLE) || !(m->cr0 & CR0_WP));
        fetch = !user_page || !(m->cr4 & CR4_SMEP);
    }
    read = read && !pkey_denies(m, view, t, false);
    write = write && !pkey_denies(m, view, t, true);
    fetch = fetch && (t->rights & WALK_EXECUTABLE);
    return (read ? BIT(MMU_READ) : 0) | (write ? BIT(MMU_WRITE) : 0) | (fetch ? BIT(MMU_FETCH) : 0);
}

uint32_t mmu_walk_error_code(const struct mmu_context *m, const struct mmu_walk *w)
{
    bool nx = (m->cr4 & CR4_PAE) && (m->efer & EFER_NXE);
    uint32_t code = 0;

    if (w->outcome != WALK_NOT_PRESENT)
        code |= PF_PRESENT;
    if (w->outcome == WALK_RESERVED)
        code |= PF_RESERVED;
    if (w->access == MMU_WRITE)
        code |= PF_WRITE;
    if (w->view == TLB_VIEW_USER)
        code |= PF_USER;
    if (w->access == MMU_FETCH && (nx || (m->cr4 & CR4_SMEP)))
        code |= PF_FETCH;
    if (w->outcome == WALK_DENIED && w->access != MMU_FETCH &&
        pkey_denies(m, w->view, &w->mapping, w->access == MMU_WRITE))
        code |= PF_PROTECTION_KEY;
    return code;
}

/* --- Entries --- */

struct walk_role mmu_walk_role(const struct mmu_context *m)
{
    return (struct walk_role){
        .mode = mmu_walk_mode(m),
        .nxe = (m->efer & EFER_NXE) != 0,
        .pse = (m->cr4 & CR4_PSE) != 0,
        .gib_pages = m->gib_pages,
        .a20 = m->a20_mask == UINT64_MAX,
        .smram = m->smram,
        .physical_bits = m->physical_bits,
    };
}

static bool is_leaf(struct walk_role r, unsigned level, uint64_t entry)
{
    switch (level) {
    case 1:
        return true;
    case 2:
        return (entry & PTE_PS) && (r.mode != WALK_32BIT || r.pse);
    case 3:
        return (entry & PTE_PS) && r.mode >= WALK_4LEVEL && r.gib_pages;
    default:
        return false;
    }
}

/* Bits that must be clear in a present entry (SDM 3A tables 4-4 to 4-20). */
static uint64_t reserved_bits(struct walk_role r, unsigned level, bool leaf)
{
    unsigned width = r.physical_bits;
    uint64_t bits;

    if (r.mode == WALK_32BIT) /* PSE-36: address bits 39:32 lie in [20:13] */
        return level == 2 && leaf ? bit_range(21, MIN(MAX(width, 32u), 40u) - 19) : 0;
    if (r.mode == WALK_PAE && level == 3)
        return 0; /* looked at when the register was loaded */
    bits = bit_range(r.mode == WALK_PAE ? 62 : 51, width);
    if (!r.nxe)
        bits |= PTE_XD;
    if (leaf && level > 1)
        bits |= bit_range(level == 2 ? 20 : 29, 13);
    if (!leaf && level >= 3) /* PS where no page may be */
        bits |= PTE_PS;
    return bits;
}

static uint8_t entry_rights(struct walk_role r, unsigned level, uint64_t entry)
{
    uint8_t rights = 0;

    if (r.mode == WALK_PAE && level == 3)
        return WALK_WRITABLE | WALK_USER | WALK_EXECUTABLE;
    if (entry & PTE_RW)
        rights |= WALK_WRITABLE;
    if (entry & PTE_US)
        rights |= WALK_USER;
    if (r.mode == WALK_32BIT || !r.nxe || !(entry & PTE_XD))
        rights |= WALK_EXECUTABLE;
    return rights;
}

unsigned walk_level_shift(enum walk_mode mode, unsigned level)
{
    return PAGE_SHIFT + formats[mode].index_bits * (level - 1u);
}

unsigned walk_entry_size(enum walk_mode mode)
{
    return formats[mode].entry_size;
}

/* The page that a leaf maps, as base address. */
static uint64_t leaf_base(struct walk_role r, unsigned level, uint64_t entry)
{
    uint64_t address = entry & ADDRESS_BITS & ~(BIT64(walk_level_shift(r.mode, level)) - 1);

    if (r.mode == WALK_32BIT && level == 2)
        address |= bits_get(entry, 13, 8) << 32; /* SDM 3A 4.3, PSE-36 */
    return address;
}

struct walk_entry walk_decode(struct walk_role r, unsigned level, uint64_t raw)
{
    bool leaf = is_leaf(r, level, raw);
    struct walk_entry e = {.kind = leaf ? WALK_ENTRY_LEAF : WALK_ENTRY_TABLE,
                           .rights = entry_rights(r, level, raw)};

    if (!(raw & PTE_P))
        e.kind = WALK_ENTRY_ABSENT;
    else if (raw & reserved_bits(r, level, leaf))
        e.kind = WALK_ENTRY_RESERVED;
    else if (leaf)
        e.base = leaf_base(r, level, raw);
    else
        e.base = raw & (r.mode == WALK_32BIT ? 0xfffff000 : ADDRESS_BITS);
    return e;
}

/* Devices must not be read now: their time would not be exact. Fetches happen between blocks, where
 * it is. */
static bool must_wait(const struct mmu_context *m, enum mmu_access access)
{
    return m->exact && !m->exact_point && access != MMU_FETCH;
}

/* Reads the entry at l->address from memory, or, if `ask`, from whatever device is there. */
static void read_entry(const struct mmu_context *m, struct walk_level *l, unsigned size, bool ask)
{
    enum frame_kind kind = mmu_locate(m, l->address, MMU_READ, &l->at);
    uint64_t raw = UINT64_MAX;

    if (kind != FRAME_HOLE) {
        const uint8_t *host = machine_memory_host(m->memory, l->at);

        l->source = kind == FRAME_RAM ? WALK_FROM_RAM : WALK_FROM_ROM;
        l->entry = size == 4 ? guest_load32(host) : guest_load64(host);
        return;
    }
    l->source = WALK_FROM_IO;
    if (ask) { /* a walk for an access: the context is not somebody else's */
        mmu_lock_devices((struct mmu_context *)m);
        raw = bus_mmio_read(m->bus, l->address, size);
        mmu_unlock_devices((struct mmu_context *)m);
    }
    l->entry = raw & size_mask(size);
}

/* Reads every level down to the leaf, or to where the walk ends; writes nothing. */
static void descend(const struct mmu_context *m, struct mmu_walk *w, bool real)
{
    const struct format *f = &formats[w->mode];
    struct walk_role role = mmu_walk_role(m);
    uint8_t rights = WALK_WRITABLE | WALK_USER | WALK_EXECUTABLE;
    uint64_t table = w->mode == WALK_32BIT ? m->cr3 & 0xfffff000 : m->cr3 & ADDRESS_BITS;

    w->count = 0;
    for (unsigned level = f->levels; level > 0; level--) {
        struct walk_level *l = &w->levels[w->count++];
        unsigned shift = walk_level_shift(w->mode, level);
        uint64_t index = bits_get(w->address.v, shift, f->index_bits);
        struct walk_entry e;

        l->level = (uint8_t)level;
        if (w->mode == WALK_PAE && level == 3) {
            index &= 3;
            l->address = gpa(((m->cr3 & 0xffffffe0) + index * 8) & m->a20_mask);
            l->at = mpa(l->address.v);
            l->entry = m->pdpte[index];
            l->source = WALK_FROM_REGISTER;
        } else {
            l->address = gpa((table + index * f->entry_size) & m->a20_mask);
            read_entry(m, l, f->entry_size, real && !must_wait(m, w->access));
        }
        w->outcome = WALK_RESTART;
        if (real && l->source == WALK_FROM_IO && must_wait(m, w->access))
            return;
        e = walk_decode(role, level, l->entry);
        l->rights = rights &= e.rights;
        w->outcome = e.kind == WALK_ENTRY_ABSENT     ? WALK_NOT_PRESENT
                     : e.kind == WALK_ENTRY_RESERVED ? WALK_RESERVED
                                                     : WALK_OK;
        if (w->outcome != WALK_OK)
            return;
        if (e.kind == WALK_ENTRY_LEAF) {
            uint64_t in_page = w->address.v & (BIT64(shift) - 1);

            w->gpa = gpa((e.base | in_page) & m->a20_mask);
            w->mapping.shift = (uint8_t)shift;
            return;
        }
        table = e.base;
    }
}

/* Fills the mapping from the leaf, once descend has reached one. */
static void describe(const struct mmu_context *m, struct mmu_walk *w)
{
    struct mmu_translation *t = &w->mapping;

    t->page = gpa(w->gpa.v & PAGE_MASK);
    if (w->mode == WALK_PAGING_OFF) {
        t->rights = WALK_WRITABLE | WALK_USER | WALK_EXECUTABLE;
        t->shift = PAGE_SHIFT;
        t->dirty = true;
        return;
    }
    t->rights = w->levels[w->count - 1].rights;
    t->dirty = w->levels[w->count - 1].entry & PTE_D;
    t->global = (w->levels[w->count - 1].entry & PTE_G) && (m->cr4 & CR4_PGE);
    if (w->mode >= WALK_4LEVEL)
        t->pkey = (uint8_t)bits_get(w->levels[w->count - 1].entry, 59, 4);
}

/* One look at the tables: everything but A and D. */
static void examine(const struct mmu_context *m, struct mmu_walk *w, bool real)
{
    w->mode = mmu_walk_mode(m);
    w->mapping = (struct mmu_translation){.shift = 0};
    w->gpa = gpa(0);
    w->error_code = 0;
    w->count = 0;
    w->outcome = WALK_OK;
    if (!mmu_address_canonical(m, w->address.v)) {
        w->outcome = WALK_NOT_CANONICAL;
        return;
    }
    if (w->mode == WALK_PAGING_OFF)
        w->gpa = gpa(w->address.v & 0xffffffff & m->a20_mask);
    else
        descend(m, w, real);
    if (w->outcome == WALK_OK) {
        describe(m, w);
        if (!(mmu_rights_allowed(m, w->view, &w->mapping) & BIT(w->access)))
            w->outcome = WALK_DENIED;
    }
    if (w->outcome != WALK_OK && w->outcome != WALK_RESTART)
        w->error_code = mmu_walk_error_code(m, w);
}

void mmu_walk_inspect(const struct mmu_context *m, gva_t address, enum mmu_access access,
                      enum tlb_view view, struct mmu_walk *w)
{
    w->address = address;
    w->access = access;
    w->view = view;
    examine(m, w, false);
}

/* --- A and D --- */

/* A and D bits that the walker sets mean nothing new to who has derived something from the table,
 * unless somebody reads its entries in another size. */
static void tell_others(struct mmu_context *m, mpa_t at, unsigned size)
{
    const struct frame *f = machine_memory_frame(m->memory, at);
    unsigned shape = shadow_frame_shape(f);

    if (shape == 0 || walk_entry_size(shadow_shape_role(shape, 0).mode) != size)
        machine_memory_finish_write(m->memory, m->vcpu, at, size);
    else if (atomic_load(&f->watch) & FRAME_WATCH_CODE)
        machine_memory_code_written(m->memory, m->vcpu, at, size);
}

/* Replaces an entry that still has the value walked; false if it has changed since. */
static bool replace_entry(struct mmu_context *m, const struct walk_level *l, unsigned size,
                          uint64_t value)
{
    uint64_t expected = l->entry;
    mpa_t at = l->at;

    if (l->source == WALK_FROM_IO) {
        mmu_lock_devices(m);
        bus_mmio_write(m->bus, l->address, value, size);
        mmu_unlock_devices(m);
        return true;
    }
    machine_memory_prepare_write(m->memory, at);
    if (!guest_cas(machine_memory_host(m->memory, at), size, &expected, value))
        return false;
    tell_others(m, at, size);
    return true;
}

/* Sets A in every entry used, and D in the leaf of a write, from the root down. False: an entry
 * is not what was walked; walk again. */
static bool mark(struct mmu_context *m, struct mmu_walk *w)
{
    unsigned size = formats[w->mode].entry_size;

    for (unsigned i = 0; i < w->count; i++) {
        struct walk_level *l = &w->levels[i];
        bool leaf = i == w->count - 1;
        uint64_t value = l->entry | PTE_A | (leaf && w->access == MMU_WRITE ? PTE_D : 0);

        /* ROM keeps what it has; registers have no A bit (SDM 3A 4.4.1). */
        if (value == l->entry || l->source == WALK_FROM_REGISTER || l->source == WALK_FROM_ROM)
            continue;
        if (!replace_entry(m, l, size, value))
            return false;
        MMU_EMIT(m, WALK_UPDATE, .gva = w->address.v, .level = l->level, .gpa = l->address.v,
                 .old_entry = l->entry, .new_entry = value);
        l->entry = value;
    }
    if (w->access == MMU_WRITE)
        w->mapping.dirty = true; /* also in ROM, or each store would walk again */
    return true;
}

static void emit_walk(struct mmu_context *m, const struct mmu_walk *w)
{
    for (unsigned i = 0; i < w->count; i++) {
        const struct walk_level *l = &w->levels[i];

        MMU_EMIT(m, WALK_STEP, .gva = w->address.v, .level = l->level, .gpa = l->address.v,
                 .old_entry = l->entry, .rights = l->rights);
    }
}

void mmu_walk(struct mmu_context *m, gva_t address, enum mmu_access access, enum tlb_view view,
              struct mmu_walk *w)
{
    m->walks++;
    MMU_EMIT(m, WALK_START, .gva = address.v, .access = (uint8_t)access, .view = (uint8_t)view);
    w->address = address;
    w->access = access;
    w->view = view;
    do {
        examine(m, w, true);
        if (unlikely(m->events != NULL))
            emit_walk(m, w);
    } while (w->outcome == WALK_OK && !mark(m, w));
    MMU_EMIT(m, WALK_END, .gva = address.v, .gpa = w->gpa.v, .error = w->error_code,
             .cause = (uint8_t)outcomes[w->outcome].cause, .rights = w->mapping.rights,
             .shift = w->mapping.shift);
}

/* --- PDPTE registers --- */

bool mmu_load_pdptes(struct mmu_context *m, uint64_t cr3)
{
    uint64_t pdpte[4],
        reserved = bit_range(63, m->physical_bits) | bit_range(2, 1) | bit_range(8, 5);

    for (unsigned i = 0; i < 4; i++) {
        struct walk_level l = {.address = gpa(((cr3 & 0xffffffe0) + 8 * i) & m->a20_mask)};

        read_entry(m, &l, 8, true);
        if ((l.entry & PTE_P) && (l.entry & reserved))
            return false;
        pdpte[i] = l.entry;
    }
    memcpy(m->pdpte, pdpte, sizeof(pdpte));
    return true;
}

/* --- Reports --- */

static void print_rights(FILE *out, unsigned rights)
{
    fprintf(out, "%c%c%c", rights & WALK_USER ? 'u' : '-', rights & WALK_WRITABLE ? 'w' : '-',
            rights & WALK_EXECUTABLE ? 'x' : '-');
}

void mmu_walk_print(FILE *out, const struct mmu_walk *w)
{
    static const char *const accesses[] = {"read", "write", "fetch"};
    static const char *const views[] = {"supervisor", "supervisor with AC", "user"};
    static const char *const sources[] = {"", " (ROM)", " (device or hole)", " (register)"};

    fprintf(out, "%s of %#llx, %s, paging %s: %s", accesses[w->access],
            (unsigned long long)w->address.v, views[w->view], walk_mode_word(w->mode),
            walk_outcome_word(w->outcome));
    if (w->error_code != 0 || w->outcome == WALK_NOT_PRESENT)
        fprintf(out, ", error code %#x", (unsigned)w->error_code);
    fputc('\n', out);
    for (unsigned i = 0; i < w->count; i++) {
        const struct walk_level *l = &w->levels[i];

        fprintf(out, "  level %u at %#012llx: %016llx ", l->level, (unsigned long long)l->address.v,
                (unsigned long long)l->entry);
        print_rights(out, l->rights);
        fprintf(out, "%s%s%s%s\n", l->entry & PTE_P ? " P" : "", l->entry & PTE_A ? " A" : "",
                l->entry & PTE_D ? " D" : "", sources[l->source]);
    }
    if (w->outcome == WALK_OK || w->outcome == WALK_DENIED) {
        fprintf(out, "  physical %#llx, page of %llu KiB, ", (unsigned long long)w->gpa.v,
                (unsigned long long)(BIT64(w->mapping.shift) >> 10));
        print_rights(out, w->mapping.rights);
        fprintf(out, "%s, key %u\n", w->mapping.global ? " global" : "", w->mapping.pkey);
    }
}
