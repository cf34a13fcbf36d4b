#include "mmu/shadow.h"

#include "base/check.h"
#include "base/host/host.h"
#include "mmu/coherency.h"
#include "mmu/guest_access.h"

#include <string.h>

#define HASH_SIZE      4096u
#define WORDS_PER_PAGE 1024u /* a 32-bit table has that many entries, the others half */
#define ALL_RIGHTS     (WALK_WRITABLE | WALK_USER | WALK_EXECUTABLE)

struct shadow {
    struct shadow_page *pages; /* by number; 0 is nobody's */
    _Atomic uint64_t *words;
    unsigned max;         /* numbers are below */
    unsigned used, fresh; /* pages in use; the first number that was never used */
    uint16_t free;
    uint16_t dying[SHADOW_PAGES_MAX]; /* nobody points to them any more; freed by reap */
    unsigned dying_count;
    uint16_t hash[HASH_SIZE]; /* by frame */
};

/* --- Normal form --- */

uint64_t shadow_normal(struct walk_role role, unsigned level, uint64_t raw)
{
    struct walk_entry e = walk_decode(role, level, raw);
    uint64_t word;

    if (e.kind == WALK_ENTRY_ABSENT)
        return SHADOW_ABSENT;
    if (e.kind == WALK_ENTRY_RESERVED)
        return SHADOW_UNKNOWN;
    word = (uint64_t)e.rights << SHADOW_RIGHTS_SHIFT | (raw & PTE_A ? SHADOW_A : 0) | e.base;
    if (e.kind == WALK_ENTRY_TABLE)
        return word | SHADOW_TABLE;
    word |= (raw & PTE_G ? SHADOW_G : 0) | (raw & PTE_D ? SHADOW_D : 0);
    if (role.mode >= WALK_4LEVEL)
        word |= bits_get(raw, 59, 4) << SHADOW_PKEY_SHIFT;
    return word | SHADOW_LEAF;
}

unsigned shadow_shape(struct walk_role role, unsigned level)
{
    return level | (unsigned)role.mode << 3 | (unsigned)role.nxe << 6 | (unsigned)role.pse << 7 |
           (unsigned)role.gib_pages << 8;
}

struct walk_role shadow_shape_role(unsigned shape, uint8_t physical_bits)
{
    return (struct walk_role){
        .mode = (enum walk_mode)(shape >> 3 & 7),
        .nxe = shape >> 6 & 1,
        .pse = shape >> 7 & 1,
        .gib_pages = shape >> 8 & 1,
        .physical_bits = physical_bits,
    };
}

static uint64_t child_of(uint64_t word)
{
    return word >> SHADOW_CHILD_SHIFT;
}

bool shadow_same(uint64_t old, uint64_t new)
{
    const uint64_t marks = SHADOW_A | SHADOW_D, meaning = BIT64(SHADOW_CHILD_SHIFT) - 1;

    return ((old ^ new) & ~marks & meaning) == 0 && (old & ~new &marks) == 0;
}

/* --- Pages --- */

struct shadow *shadow_create(unsigned pages)
{
    struct shadow *s = host_alloc_lazy(sizeof(*s));

    CHECK(pages >= 16 && pages <= SHADOW_PAGES_MAX);
    s->max = pages;
    s->fresh = 1;
    s->pages = host_alloc_lazy(pages * sizeof(*s->pages));
    s->words = host_alloc_lazy(pages * WORDS_PER_PAGE * sizeof(*s->words));
    return s;
}

void shadow_destroy(struct shadow *s)
{
    if (s == NULL)
        return;
    host_free_lazy(s->words, s->max * WORDS_PER_PAGE * sizeof(*s->words));
    host_free_lazy(s->pages, s->max * sizeof(*s->pages));
    host_free_lazy(s, sizeof(*s));
}

unsigned shadow_page_count(const struct shadow *s)
{
    return s->used;
}

const struct shadow_page *shadow_page_at(const struct shadow *s, unsigned number)
{
    return number < s->max && s->pages[number].words != NULL ? &s->pages[number] : NULL;
}

static unsigned hash(uint64_t frame)
{
    return (unsigned)((frame >> PAGE_SHIFT) * 0x9e3779b97f4a7c15u >> 52);
}

_Static_assert(HASH_SIZE == 1 << 12, "the hash takes twelve bits");

unsigned shadow_index(const struct shadow_page *p, uint64_t address)
{
    return (unsigned)(address >> walk_level_shift(p->role.mode, p->level)) &
           (shadow_entry_count(p) - 1);
}

/* Bytes of linear address space behind an entry, or (above = 1) behind the whole page. */
static uint64_t entry_span(const struct shadow_page *p, unsigned above)
{
    return BIT64(walk_level_shift(p->role.mode, p->level + above));
}

/* The linear address that an entry maps first. */
static uint64_t entry_linear(const struct shadow_page *p, unsigned index)
{
    uint64_t linear = p->base + index * entry_span(p, 0);

    if (p->role.mode == WALK_4LEVEL && p->level == 4)
        return sign_extend(linear, 47);
    return p->role.mode == WALK_5LEVEL && p->level == 5 ? sign_extend(linear, 56) : linear;
}

static bool has_frame(const struct shadow *s, uint64_t frame)
{
    for (unsigned n = s->hash[hash(frame)]; n != 0; n = s->pages[n].next)
        if (s->pages[n].frame == frame && s->pages[n].traced)
            return true;
    return false;
}

/* From now on stores to the frame arrive as patches: first the bit, then the watch, and only what
 * is read after both may be kept. */
static void trace(struct mmu_context *m, struct shadow_page *p)
{
    struct frame *f = machine_memory_frame(m->memory, mpa(p->frame));
    uint16_t shape = (uint16_t)shadow_shape(p->role, p->level);

    p->traced = true;
    machine_memory_lock_traces(m->memory);
    if (atomic_load(&f->consumers) == 0)
        atomic_store(&f->shape, shape);
    else if (atomic_load(&f->shape) != shape)
        atomic_store(&f->shape, 0);
    atomic_store_explicit(&f->writes, 0, memory_order_relaxed);
    atomic_fetch_or(&f->consumers, BIT64(m->vcpu));
    if (!(atomic_load(&f->watch) & FRAME_WATCH_PAGETABLE))
        mmu_frame_watch(m, mpa(p->frame), FRAME_WATCH_PAGETABLE);
    machine_memory_unlock_traces(m->memory);
}

/* This vCPU derives nothing from the frame any more. */
static void untrace(struct mmu_context *m, uint64_t frame)
{
    struct frame *f = machine_memory_frame(m->memory, mpa(frame));

    machine_memory_lock_traces(m->memory);
    if (atomic_fetch_and(&f->consumers, ~BIT64(m->vcpu)) == BIT64(m->vcpu) &&
        (atomic_load(&f->watch) & FRAME_WATCH_PAGETABLE))
        mmu_frame_unwatch(m, mpa(frame), FRAME_WATCH_PAGETABLE);
    machine_memory_unlock_traces(m->memory);
}

static void unref(struct shadow *s, unsigned number)
{
    struct shadow_page *p = &s->pages[number];

    CHECK(p->refs > 0);
    if (--p->refs > 0 || p->dying)
        return;
    p->dying = true;
    s->dying[s->dying_count++] = (uint16_t)number;
}

/* Makes every word unknown. */
static void clear_words(struct shadow *s, struct shadow_page *p)
{
    unsigned count = shadow_entry_count(p);

    for (unsigned i = 0; p->level > 1 && i < count; i++)
        if (shadow_state(p->words[i]) == SHADOW_TABLE && child_of(p->words[i]) != 0)
            unref(s, (unsigned)child_of(p->words[i]));
    for (unsigned i = 0; i < count; i++)
        atomic_store_explicit(&p->words[i], 0, memory_order_relaxed);
}

static void free_page(struct mmu_context *m, unsigned number)
{
    struct shadow *s = m->tlb->shadow;
    struct shadow_page *p = &s->pages[number];
    uint16_t *link = &s->hash[hash(p->frame)];
    uint64_t frame = p->frame;
    bool traced = p->traced;

    MMU_EMIT(m, SHADOW_FREE, .gva = p->base, .mpa = frame, .level = p->level);
    clear_words(s, p);
    while (*link != number)
        link = &s->pages[*link].next;
    *link = p->next;
    *p = (struct shadow_page){.next = s->free};
    s->free = (uint16_t)number;
    s->used--;
    if (traced && !has_frame(s, frame))
        untrace(m, frame);
}

/* Frees what nobody points to. What was filled through it has been dropped: whoever took the last
 * pointer away has seen to that. */
static void reap(struct mmu_context *m)
{
    struct shadow *s = m->tlb->shadow;

    while (s->dying_count > 0) {
        unsigned number = s->dying[--s->dying_count];

        s->pages[number].dying = false;
        if (s->pages[number].refs == 0)
            free_page(m, number);
    }
}

/* The number of the page for a table at this place, made if need be; 0 if there is no room. */
static unsigned get_page(struct mmu_context *m, uint64_t frame, unsigned level, uint64_t base)
{
    struct shadow *s = m->tlb->shadow;
    struct walk_role role = m->tlb->space->role;
    uint16_t *head = &s->hash[hash(frame)];
    struct shadow_page *p;
    unsigned n;

    for (n = *head; n != 0; n = s->pages[n].next) {
        p = &s->pages[n];
        if (p->frame == frame && p->level == level && p->base == base &&
            walk_roles_equal(p->role, role))
            return n;
    }
    if (s->free != 0) {
        n = s->free;
        s->free = s->pages[n].next;
    } else if (s->fresh < s->max) {
        n = s->fresh++;
    } else {
        return 0;
    }
    p = &s->pages[n];
    *p = (struct shadow_page){
        .frame = frame,
        .base = base,
        .role = role,
        .level = (uint8_t)level,
        .next = *head,
        .words = s->words + (size_t)n * WORDS_PER_PAGE,
    };
    *head = (uint16_t)n;
    s->used++;
    m->stats.shadow_pages++;
    MMU_EMIT(m, SHADOW_PAGE, .gva = base, .mpa = frame, .level = p->level);
    return n;
}

/* --- Words --- */

/* Enters a word; what came of one that meant something else goes. */
static void set_word(struct mmu_context *m, struct shadow_page *p, unsigned index, uint64_t word)
{
    uint64_t old = p->words[index];
    bool keeps = shadow_state(old) == SHADOW_TABLE && shadow_state(word) == SHADOW_TABLE &&
                 ((old ^ word) & SHADOW_BASE) == 0;

    if (keeps)
        word |= child_of(old) << SHADOW_CHILD_SHIFT;
    atomic_store_explicit(&p->words[index], word, memory_order_relaxed);
    if (shadow_same(old, word) || shadow_state(old) < SHADOW_TABLE)
        return;
    MMU_EMIT(m, SHADOW_DETACH, .gva = entry_linear(p, index), .mpa = shadow_entry_address(p, index),
             .level = p->level, .old_entry = old, .new_entry = word);
    tlb_drop_range(m, p->spaces, entry_linear(p, index), entry_span(p, 0));
    if (!keeps && shadow_state(old) == SHADOW_TABLE && child_of(old) != 0)
        unref(m->tlb->shadow, (unsigned)child_of(old));
}

uint64_t shadow_raw(const struct mmu_context *m, const struct shadow_page *p, unsigned index)
{
    const uint8_t *host = machine_memory_host(m->memory, mpa(shadow_entry_address(p, index)));

    return walk_entry_size(p->role.mode) == 4 ? guest_load32(host) : guest_load64(host);
}

/* --- Look-up --- */

/* Where the number of the page of the first level is kept. */
static uint16_t *root_of(struct mmu_space *space, uint64_t address)
{
    return &space->roots[space->role.mode == WALK_PAE ? bits_get(address, 30, 2) : 0];
}

enum shadow_answer shadow_find(struct mmu_context *m, uint64_t address, struct mmu_translation *to,
                               mpa_t *at)
{
    struct mmu_space *space = m->tlb->space;
    struct shadow *s = m->tlb->shadow;
    unsigned number = *root_of(space, address), rights = ALL_RIGHTS;

    if (!mmu_address_canonical(m, address))
        return SHADOW_MISS;
    while (number != 0) {
        struct shadow_page *p = &s->pages[number];
        unsigned shift = walk_level_shift(p->role.mode, p->level), index = shadow_index(p, address);
        uint64_t word = p->words[index];

        p->spaces |= BIT64(space->number);
        if (shadow_state(word) == SHADOW_ABSENT) {
            *at = mpa(shadow_entry_address(p, index));
            return SHADOW_FAULT;
        }
        if (shadow_state(word) == SHADOW_UNKNOWN || !(word & SHADOW_A))
            return SHADOW_MISS;
        rights &= (unsigned)(word >> SHADOW_RIGHTS_SHIFT);
        number = (unsigned)child_of(word);
        if (shadow_state(word) == SHADOW_LEAF) {
            uint64_t inside = address & PAGE_MASK & (BIT64(shift) - 1);

            *to = (struct mmu_translation){
                .page = gpa(((word & SHADOW_BASE) | inside) & m->a20_mask),
                .rights = (uint8_t)(rights & ALL_RIGHTS),
                .pkey = (uint8_t)bits_get(word, SHADOW_PKEY_SHIFT, 4),
                .shift = (uint8_t)shift,
                .global = (word & SHADOW_G) && (m->cr4 & CR4_PGE),
                .dirty = (word & SHADOW_D) != 0,
            };
            return SHADOW_FOUND;
        }
    }
    return SHADOW_MISS;
}

/* --- Learning --- */

/* The page that a level of a walk has read, linked to the one above; NULL if there is no room. */
static struct shadow_page *link_level(struct mmu_context *m, const struct mmu_walk *w, unsigned i,
                                      struct shadow_page *above)
{
    struct shadow *s = m->tlb->shadow;
    const struct walk_level *l = &w->levels[i];
    uint64_t frame = l->at.v & PAGE_MASK;
    unsigned top = walk_level_shift(w->mode, l->level + 1u), index = 0, number, old;
    uint16_t *root = root_of(m->tlb->space, w->address.v);
    uint64_t base = i == 0 ? 0 : w->address.v & ~(BIT64(top) - 1);

    if (above != NULL) {
        index = shadow_index(above, w->address.v);
        old = (unsigned)child_of(above->words[index]);
    } else {
        old = *root;
    }
    if (old != 0 && s->pages[old].frame == frame)
        return &s->pages[old];
    number = get_page(m, frame, l->level, base);
    if (number == 0)
        return NULL;
    s->pages[number].refs++;
    if (above != NULL)
        above->words[index] = (above->words[index] & (BIT64(SHADOW_CHILD_SHIFT) - 1)) |
                              (uint64_t)number << SHADOW_CHILD_SHIFT;
    else
        *root = (uint16_t)number;
    if (old != 0)
        unref(s, old);
    return &s->pages[number];
}

/* Is the entry what it was, but for A and D bits that were set meanwhile? */
static bool only_marked(uint64_t old, uint64_t new)
{
    return ((old ^ new) & ~(PTE_A | PTE_D)) == 0 && (old & ~new) == 0;
}

bool shadow_learn(struct mmu_context *m, const struct mmu_walk *w)
{
    struct mmu_space *space = m->tlb->space;
    struct shadow_page *p = NULL;
    bool complete = true;

    for (unsigned i = 0; i < w->count && complete; i++) {
        const struct walk_level *l = &w->levels[i];
        unsigned index;

        if (l->source == WALK_FROM_REGISTER) /* part of the space's key */
            continue;
        if (l->source == WALK_FROM_IO)
            return false;
        p = link_level(m, w, i, p);
        if (p == NULL) {
            m->stats.rebuilds++;
            mmu_drop_derived(m, MMU_CAUSE_NO_ROOM);
            return false;
        }
        p->spaces |= BIT64(space->number);
        index = shadow_index(p, w->address.v);
        if (!p->traced) {
            trace(m, p);
            complete = only_marked(l->entry, shadow_raw(m, p, index));
        } else {
            atomic_store_explicit(&machine_memory_frame(m->memory, mpa(p->frame))->writes, 0,
                                  memory_order_relaxed);
        }
        if (complete)
            set_word(m, p, index, shadow_normal(p->role, p->level, l->entry));
    }
    reap(m);
    return complete;
}

/* --- Patches --- */

/* The new word of an entry that a patch is about. */
static uint64_t new_word(struct mmu_context *m, const struct shadow_page *p, unsigned index,
                         const struct patch *patch)
{
    uint64_t raw = shadow_raw(m, p, index);

    if (m->options.consumer == MMU_CONSUMER_INVALIDATE) {
        m->stats.patches_invalidated++;
        return SHADOW_UNKNOWN;
    }
    if (patch->derived != 0 && raw == patch->raw &&
        child_of(patch->derived) == shadow_shape(p->role, p->level)) {
        m->stats.patches_applied++;
        return patch->derived & (BIT64(SHADOW_CHILD_SHIFT) - 1);
    }
    m->stats.patches_rederived++;
    return shadow_normal(p->role, p->level, raw);
}

static void apply_to_page(struct mmu_context *m, struct shadow_page *p, const struct patch *patch)
{
    unsigned size = walk_entry_size(p->role.mode), index = (patch->address & 0xfff) / size;

    for (unsigned n = 0; n < 8 / size; n++, index++) {
        uint64_t old = p->words[index], word = new_word(m, p, index, patch);

        MMU_EMIT(m, SHADOW_PATCH, .gva = entry_linear(p, index),
                 .mpa = shadow_entry_address(p, index), .level = p->level, .old_entry = old,
                 .new_entry = word);
        set_word(m, p, index, word);
    }
}

/* Nothing that came through the page is kept. */
static void empty_page(struct mmu_context *m, struct shadow_page *p)
{
    MMU_EMIT(m, SHADOW_DROP, .gva = p->base, .mpa = p->frame, .level = p->level);
    tlb_drop_range(m, p->spaces, p->base, entry_span(p, 1));
    clear_words(m->tlb->shadow, p);
    p->traced = false;
}

void shadow_apply(struct mmu_context *m, const struct patch *patch)
{
    struct shadow *s = m->tlb->shadow;
    uint64_t frame = patch->address & PAGE_MASK;
    bool whole = patch->address & PATCH_DROP_FRAME, any = false;

    for (unsigned n = s->hash[hash(frame)]; n != 0; n = s->pages[n].next) {
        struct shadow_page *p = &s->pages[n];

        if (p->frame != frame || !p->traced)
            continue;
        any = true;
        if (!whole) {
            apply_to_page(m, p, patch);
            continue;
        }
        empty_page(m, p);
    }
    m->stats.patches_dropped += !any;
    m->stats.frames_dropped += whole && any;
    if (whole && any)
        untrace(m, frame);
    reap(m);
}

/* --- Dropping --- */

bool shadow_forget_frame(struct mmu_context *m, uint64_t frame)
{
    struct shadow *s = m->tlb->shadow;
    uint16_t *nowhere = &s->hash[hash(SHADOW_NO_FRAME)], *link = &s->hash[hash(frame)];
    bool traced = false;

    while (*link != 0) {
        uint16_t number = *link;
        struct shadow_page *p = &s->pages[number];

        if (p->frame != frame) {
            link = &p->next;
            continue;
        }
        if (p->traced) {
            traced = true;
            empty_page(m, p);
        }
        /* Words that point to it keep a page that knows nothing. Were it found again, for another
         * guest physical page of the frame, they would lead there. */
        *link = p->next;
        p->frame = SHADOW_NO_FRAME;
        p->next = *nowhere;
        *nowhere = number;
    }
    if (traced)
        untrace(m, frame);
    reap(m);
    return traced;
}

void shadow_release(struct mmu_context *m, struct mmu_space *space)
{
    for (unsigned i = 0; i < ARRAY_SIZE(space->roots); i++) {
        if (space->roots[i] != 0)
            unref(m->tlb->shadow, space->roots[i]);
        space->roots[i] = 0;
    }
    reap(m);
}

void shadow_drop_all(struct mmu_context *m)
{
    struct shadow *s = m->tlb->shadow;

    for (unsigned n = 1; n < s->fresh; n++) {
        struct shadow_page *p = &s->pages[n];

        if (p->words == NULL)
            continue;
        for (unsigned i = 0; i < shadow_entry_count(p); i++)
            atomic_store_explicit(&p->words[i], 0, memory_order_relaxed);
        if (p->traced)
            untrace(m, p->frame);
    }
    memset(s->pages, 0, s->fresh * sizeof(*s->pages));
    memset(s->hash, 0, sizeof(s->hash));
    s->free = 0;
    s->fresh = 1;
    s->used = s->dying_count = 0;
}
