#include "mmu/shadow.h"

#include "base/check.h"
#include "base/host/host.h"
#include "mmu/coherency.h"
#include "mmu/frame_set.h"
#include "mmu/guest_access.h"

#include <pthread.h>
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
    /* For each page and sharer (only one if `users` is 0), bit n: its space n may hold translations
     * that came through this page. */
    uint64_t *spaces;
    unsigned first;       /* bit n of masks is vCPU first + n */
    uint64_t users;       /* of these share them; 0: private */
    pthread_mutex_t lock; /* of shared pages */
};

static uint64_t child_of(uint64_t word)
{
    return word >> SHADOW_CHILD_SHIFT;
}

/* --- Pages --- */

/* The vCPU's bit in masks. */
static uint64_t bit_of(const struct mmu_context *m)
{
    return BIT64(m->vcpu % SHADOW_SHARERS);
}

/* The vCPU of the lowest bit of a mask. */
static struct mmu_context *first_of(const struct machine_memory *memory, const struct shadow *s,
                                    uint64_t mask)
{
    return memory->contexts[s->first + (unsigned)__builtin_ctzll(mask)];
}

/* Columns of `spaces`. */
static unsigned columns(const struct shadow *s)
{
    return s->users != 0 ? SHADOW_SHARERS : 1;
}

static uint64_t *spaces_of(struct shadow *s, const struct shadow_page *p, unsigned vcpu)
{
    size_t number = (size_t)(p - s->pages);

    return s->users != 0 ? &s->spaces[number * SHADOW_SHARERS + vcpu % SHADOW_SHARERS]
                         : &s->spaces[number];
}

/* A page is given up in the middle of other work on pages. */
static void init_lock(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attributes;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

void shadow_lock(struct shadow *s)
{
    if (s->users != 0)
        pthread_mutex_lock(&s->lock);
}

void shadow_unlock(struct shadow *s)
{
    if (s->users != 0)
        pthread_mutex_unlock(&s->lock);
}

static struct shadow *create(unsigned pages, unsigned first, uint64_t users)
{
    struct shadow *s = host_alloc_lazy(sizeof(*s));

    CHECK(pages >= 16 && pages <= SHADOW_PAGES_MAX);
    s->max = pages;
    s->fresh = 1;
    s->first = first;
    s->users = users;
    init_lock(&s->lock);
    s->pages = host_alloc_lazy(pages * sizeof(*s->pages));
    s->words = host_alloc_lazy(pages * WORDS_PER_PAGE * sizeof(*s->words));
    s->spaces = host_alloc_lazy(pages * columns(s) * sizeof(*s->spaces));
    return s;
}

static void destroy(struct shadow *s)
{
    host_free_lazy(s->spaces, s->max * columns(s) * sizeof(*s->spaces));
    pthread_mutex_destroy(&s->lock);
    host_free_lazy(s->words, s->max * WORDS_PER_PAGE * sizeof(*s->words));
    host_free_lazy(s->pages, s->max * sizeof(*s->pages));
    host_free_lazy(s, sizeof(*s));
}

/* The shadow pages that the vCPU's neighbours of the same VM share. */
static struct shadow *shared(const struct mmu_context *m)
{
    unsigned first = m->vcpu - m->vcpu % SHADOW_SHARERS;

    for (unsigned n = first; n < first + SHADOW_SHARERS; n++) {
        const struct mmu_context *other = m->memory->contexts[n];

        if (other != NULL && other->bus == m->bus && other->tlb->shadow != NULL &&
            other->tlb->shadow->users != 0)
            return other->tlb->shadow;
    }
    return NULL;
}

void shadow_attach(struct mmu_context *m)
{
    uint64_t users = m->options.tables == MMU_TABLES_SHARED ? bit_of(m) : 0;
    struct shadow *s = users != 0 ? shared(m) : NULL;

    if (s != NULL)
        s->users |= users;
    else
        s = create(m->options.pages, m->vcpu - m->vcpu % SHADOW_SHARERS, users);
    m->tlb->shadow = s;
}

void shadow_detach(struct mmu_context *m)
{
    struct shadow *s = m->tlb->shadow;

    m->tlb->shadow = NULL;
    if (s != NULL && (s->users & ~bit_of(m)) != 0)
        s->users &= ~bit_of(m);
    else if (s != NULL)
        destroy(s);
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

/* Bytes of linear address space behind an entry. */
static uint64_t entry_span(const struct shadow_page *p)
{
    return BIT64(p->shift);
}

/* Behind the whole page. */
static uint64_t page_span(const struct shadow_page *p)
{
    return entry_span(p) * shadow_entry_count(p);
}

/* The linear address that an entry maps first. */
static uint64_t entry_linear(const struct shadow_page *p, unsigned index)
{
    uint64_t linear = p->base + index * entry_span(p);

    if (p->role.mode == WALK_4LEVEL && p->level == 4)
        return sign_extend(linear, 47);
    return p->role.mode == WALK_5LEVEL && p->level == 5 ? sign_extend(linear, 56) : linear;
}

/* The sharers that have entered themselves as consumers of its frame. */
static uint64_t consumers(const struct shadow_page *p)
{
    return p->traced | p->waiting;
}

/* Those that trace the frame for one page or another. */
static uint64_t tracers(const struct shadow *s, uint64_t frame)
{
    uint64_t traced = 0;

    for (unsigned n = s->hash[hash(frame)]; n != 0; n = s->pages[n].next)
        if (s->pages[n].frame == frame)
            traced |= consumers(&s->pages[n]);
    return traced;
}

/* From now on stores to the frame arrive as patches: first the consumer, then the watch, and only
 * what is read after both may be kept. False: another vCPU can still store there unheard. */
static bool set_trace(struct mmu_context *m, struct shadow_page *p)
{
    struct frame *f = machine_memory_frame(m->memory, mpa(p->frame));
    uint16_t shape = (uint16_t)shadow_shape(p->role, p->level);

    machine_memory_lock_traces(m->memory);
    if (!frame_set_has_others(m->memory, mpa(p->frame), FRAME_CONSUMERS, FRAME_SET_END))
        atomic_store(&f->shape, shape);
    else if (shadow_frame_shape(f) != shape)
        atomic_fetch_and(&f->shape, (uint16_t)~SHADOW_SHAPE_MASK);
    atomic_store_explicit(&f->writes, 0, memory_order_relaxed);
    frame_set_add(m->memory, mpa(p->frame), FRAME_CONSUMERS, m->vcpu);
    machine_memory_unlock_traces(m->memory);
    return mmu_frame_watch(m, mpa(p->frame), FRAME_WATCH_PAGETABLE);
}

/* May somebody else be storing to the page's frame, unheard so far? Whoever is to keep what an
 * entry says asks first and reads then. */
static bool others_store(const struct mmu_context *m, const struct shadow_page *p)
{
    return frame_set_has_others(m->memory, mpa(p->frame), FRAME_HOLDERS, m->vcpu) ||
           atomic_load(&m->memory->device_store) == p->frame;
}

/*
 * Is the page traced now? A value without validator is the entry's only if its producer's stores
 * are all known to the frame. So what comes with such values must be of stores that began after
 * this: nobody is storing now, and what others have stored is not on its way any more.
 */
static bool trace(struct mmu_context *m, struct shadow_page *p)
{
    bool settled = set_trace(m, p);

    if (m->options.patch == MMU_PATCH_VALUE)
        settled = settled && !others_store(m, p) && atomic_load(&m->pending) == 0;
    p->waiting &= ~bit_of(m);
    *(settled ? &p->traced : &p->waiting) |= bit_of(m);
    return settled;
}

/* Of those who share the pages these derive nothing from the frame any more. */
static void untrace(struct mmu_context *m, uint64_t frame, uint64_t sharers)
{
    uint32_t old = 0;

    if (sharers == 0)
        return;
    machine_memory_lock_traces(m->memory);
    atomic_fetch_and(frame_set_word(m->memory, mpa(frame), FRAME_CONSUMERS, m->vcpu), ~sharers);
    if (!frame_set_has_others(m->memory, mpa(frame), FRAME_CONSUMERS, FRAME_SET_END))
        old = atomic_fetch_and(&machine_memory_frame(m->memory, mpa(frame))->watch,
                               ~(uint32_t)FRAME_WATCH_PAGETABLE);
    machine_memory_unlock_traces(m->memory);
    if (old & FRAME_WATCH_PAGETABLE)
        MMU_EMIT(m, WATCH_CLEAR, .mpa = frame, .count = FRAME_WATCH_PAGETABLE);
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
    for (unsigned i = p->known_from; i < p->known_to; i++) {
        uint64_t old = p->words[i];

        atomic_store_explicit(&p->words[i], 0, memory_order_relaxed);
        if (child_of(old) != 0)
            unref(s, (unsigned)child_of(old));
    }
    p->known_from = p->known_to = 0;
}

static void free_page(struct mmu_context *m, unsigned number)
{
    struct shadow *s = m->tlb->shadow;
    struct shadow_page *p = &s->pages[number];
    uint16_t *link = &s->hash[hash(p->frame)];
    uint64_t frame = p->frame, traced = consumers(p);

    MMU_EMIT(m, SHADOW_FREE, .gva = p->base, .mpa = frame, .level = p->level);
    clear_words(s, p);
    while (*link != number)
        link = &s->pages[*link].next;
    *link = p->next;
    *p = (struct shadow_page){.next = s->free};
    s->free = (uint16_t)number;
    s->used--;
    untrace(m, frame, traced & ~tracers(s, frame));
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
        .shift = (uint8_t)walk_level_shift(role.mode, level),
        .entry_shift = walk_entry_size(role.mode) == 4 ? 2 : 3,
        .next = *head,
        .words = s->words + (size_t)n * WORDS_PER_PAGE,
    };
    *head = (uint16_t)n;
    memset(s->spaces + (size_t)n * columns(s), 0, columns(s) * sizeof(*s->spaces));
    s->used++;
    m->stats.shadow_pages++;
    MMU_EMIT(m, SHADOW_PAGE, .gva = base, .mpa = frame, .level = p->level);
    return n;
}

/* --- Words --- */

/* What this vCPU has filled through the entry goes. */
static void drop_entry(struct mmu_context *m, const struct shadow_page *p, unsigned index)
{
    tlb_drop_range(m, *spaces_of(m->tlb->shadow, p, m->vcpu), entry_linear(p, index),
                   entry_span(p));
}

static void note_known(struct shadow_page *p, unsigned index)
{
    if (p->known_to == 0)
        p->known_from = (uint16_t)index;
    p->known_from = MIN(p->known_from, (uint16_t)index);
    p->known_to = MAX(p->known_to, (uint16_t)(index + 1));
}

/*
 * Enters a word; what came of one that meant something else goes. A word that is only unknown, as
 * while somebody stores to the frame, keeps the page below if others may have come through it: no
 * patch has to be on its way to them, and without that page they would not hear of its frame.
 */
static void set_word(struct mmu_context *m, struct shadow_page *p, unsigned index, uint64_t word)
{
    uint64_t old = p->words[index], child = child_of(old);
    bool keeps =
        child != 0 && shadow_state(word) == SHADOW_TABLE && ((old ^ word) & SHADOW_BASE) == 0;

    if (keeps) {
        word |= child << SHADOW_CHILD_SHIFT;
    } else if (child != 0 && word == SHADOW_UNKNOWN && (p->traced & ~bit_of(m)) != 0) {
        keeps = true;
        word = old & ~(uint64_t)SHADOW_STATE;
    }
    atomic_store_explicit(&p->words[index], word, memory_order_relaxed);
    note_known(p, index);
    if (!keeps && child != 0)
        unref(m->tlb->shadow, (unsigned)child);
    if (shadow_same(old, word) || shadow_state(old) < SHADOW_TABLE)
        return;
    MMU_EMIT(m, SHADOW_DETACH, .gva = entry_linear(p, index), .mpa = shadow_entry_address(p, index),
             .level = p->level, .old_entry = old, .new_entry = word);
    drop_entry(m, p, index);
}

uint64_t shadow_raw(const struct mmu_context *m, const struct shadow_page *p, unsigned index)
{
    const uint8_t *host = machine_memory_host(m->memory, mpa(shadow_entry_address(p, index)));

    return p->entry_shift == 2 ? guest_load32(host) : guest_load64(host);
}

/* What may be kept of an entry. */
static uint64_t word_now(const struct mmu_context *m, const struct shadow_page *p, unsigned index)
{
    return others_store(m, p) ? SHADOW_UNKNOWN
                              : shadow_normal(p->role, p->level, shadow_raw(m, p, index));
}

/* --- Look-up --- */

/* Where the number of the page of the first level is kept. */
static uint16_t *root_of(struct mmu_space *space, uint64_t address)
{
    return &space->roots[space->role.mode == WALK_PAE ? bits_get(address, 30, 2) : 0];
}

static enum shadow_answer find(struct mmu_context *m, uint64_t address, struct mmu_translation *to,
                               mpa_t *at)
{
    struct mmu_space *space = m->tlb->space;
    struct shadow *s = m->tlb->shadow;
    unsigned number, rights = ALL_RIGHTS;

    if (!mmu_address_canonical(m, address))
        return SHADOW_MISS;
    if (s->users != 0)
        coherency_catch_up(m);
    number = *root_of(space, address);
    while (number != 0) {
        struct shadow_page *p = &s->pages[number];
        unsigned index = shadow_index(p, address);
        uint64_t word = p->words[index];

        if (!shadow_traced(m, p))
            return SHADOW_MISS;
        *spaces_of(s, p, m->vcpu) |= BIT64(space->number);
        if (shadow_state(word) == SHADOW_ABSENT) {
            *at = mpa(shadow_entry_address(p, index));
            return SHADOW_FAULT;
        }
        if (shadow_state(word) == SHADOW_UNKNOWN || !(word & SHADOW_A))
            return SHADOW_MISS;
        rights &= (unsigned)(word >> SHADOW_RIGHTS_SHIFT);
        number = (unsigned)child_of(word);
        if (shadow_state(word) == SHADOW_LEAF) {
            uint64_t inside = address & PAGE_MASK & (entry_span(p) - 1);

            *to = (struct mmu_translation){
                .page = gpa(((word & SHADOW_BASE) | inside) & m->a20_mask),
                .rights = (uint8_t)(rights & ALL_RIGHTS),
                .pkey = (uint8_t)bits_get(word, SHADOW_PKEY_SHIFT, 4),
                .shift = p->shift,
                .global = (word & SHADOW_G) && (m->cr4 & CR4_PGE),
                .dirty = (word & SHADOW_D) != 0,
            };
            return SHADOW_FOUND;
        }
    }
    return SHADOW_MISS;
}

enum shadow_answer shadow_find(struct mmu_context *m, uint64_t address, struct mmu_translation *to,
                               mpa_t *at)
{
    enum shadow_answer answer;

    shadow_lock(m->tlb->shadow);
    answer = find(m, address, to, at);
    shadow_unlock(m->tlb->shadow);
    return answer;
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

/* The vCPU has just become a consumer of the page's frame. What others have derived from it may
 * wait for patches that were not posted to this one: all of it is made as the entries are now. */
static void adopt(struct mmu_context *m, struct shadow_page *p)
{
    for (unsigned i = p->known_from; i < p->known_to; i++)
        if (shadow_state(p->words[i]) != SHADOW_UNKNOWN)
            set_word(m, p, i, word_now(m, p, i));
}

static bool learn(struct mmu_context *m, const struct mmu_walk *w)
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
            shadow_make_room(m);
            return false;
        }
        *spaces_of(m->tlb->shadow, p, m->vcpu) |= BIT64(space->number);
        index = shadow_index(p, w->address.v);
        if (!shadow_traced(m, p)) {
            bool others = p->traced != 0;

            complete = trace(m, p);
            if (complete && others)
                adopt(m, p);
        } else {
            atomic_store_explicit(&machine_memory_frame(m->memory, mpa(p->frame))->writes, 0,
                                  memory_order_relaxed);
        }
        complete =
            complete && !others_store(m, p) && only_marked(l->entry, shadow_raw(m, p, index));
        if (complete)
            set_word(m, p, index, shadow_normal(p->role, p->level, l->entry));
    }
    reap(m);
    return complete;
}

bool shadow_learn(struct mmu_context *m, const struct mmu_walk *w)
{
    bool kept;

    shadow_lock(m->tlb->shadow);
    kept = learn(m, w);
    shadow_unlock(m->tlb->shadow);
    return kept;
}

/* --- Patches --- */

bool shadow_knows(const struct mmu_context *m, uint64_t address)
{
    const struct shadow *s = m->tlb->shadow;
    uint64_t frame = address & PAGE_MASK;

    if (s->users != 0)
        return true;
    for (unsigned n = s->hash[hash(frame)]; n != 0; n = s->pages[n].next) {
        const struct shadow_page *p = &s->pages[n];
        unsigned first = (unsigned)(address & ~PAGE_MASK) >> p->entry_shift;

        if (p->frame != frame)
            continue;
        if (shadow_state(p->words[first]) != SHADOW_UNKNOWN)
            return true;
        if (p->entry_shift == 2 && shadow_state(p->words[first + 1]) != SHADOW_UNKNOWN)
            return true;
    }
    return false;
}

/* Is the value that a patch carries that of the entry, as it is now? A single producer's last value
 * is; if there is another by now, his patch for this entry is here or on its way. */
static bool still_holds(const struct mmu_context *m, const struct shadow_page *p,
                        const struct patch *patch, uint64_t raw)
{
    if (!(patch->derived & SHADOW_NO_VALIDATOR))
        return raw == patch->raw;
    return shadow_frame_producer(machine_memory_frame(m->memory, mpa(p->frame))) !=
           SHADOW_PRODUCERS;
}

/* The new word of an entry that a patch is about. */
static uint64_t new_word(struct mmu_context *m, const struct shadow_page *p, unsigned index,
                         const struct patch *patch)
{
    bool settled = !others_store(m, p);
    uint64_t raw = shadow_raw(m, p, index);

    /* Others may have made more of the new entry by now. */
    if (m->options.consumer == MMU_CONSUMER_INVALIDATE && p->traced == bit_of(m)) {
        m->stats.patches_invalidated++;
        return SHADOW_UNKNOWN;
    }
    if (settled && patch->derived != 0 && still_holds(m, p, patch, raw) &&
        (child_of(patch->derived) & SHADOW_SHAPE_MASK) == shadow_shape(p->role, p->level)) {
        m->stats.patches_applied++;
        return patch->derived & (BIT64(SHADOW_CHILD_SHIFT) - 1);
    }
    m->stats.patches_rederived++;
    return settled ? shadow_normal(p->role, p->level, raw) : SHADOW_UNKNOWN;
}

static void apply_to_page(struct mmu_context *m, struct shadow_page *p, const struct patch *patch)
{
    unsigned index = (unsigned)(patch->address & ~PAGE_MASK) >> p->entry_shift;

    for (unsigned n = 0; n < 8u >> p->entry_shift; n++, index++) {
        uint64_t old = p->words[index], word = new_word(m, p, index, patch);

        MMU_EMIT(m, SHADOW_PATCH, .gva = entry_linear(p, index),
                 .mpa = shadow_entry_address(p, index), .level = p->level, .old_entry = old,
                 .new_entry = word);
        set_word(m, p, index, word);
        if (m->tlb->shadow->users != 0)
            drop_entry(m, p, index); /* another vCPU may have set the word before */
    }
}

/* The vCPU uses the page no more: nothing of it is left if it was the last one. */
static void leave_page(struct mmu_context *m, struct shadow_page *p)
{
    *spaces_of(m->tlb->shadow, p, m->vcpu) = 0;
    p->traced &= ~bit_of(m);
    p->waiting &= ~bit_of(m);
    if (p->traced == 0)
        clear_words(m->tlb->shadow, p);
}

/* Nothing that came through the page is kept. */
static void empty_page(struct mmu_context *m, struct shadow_page *p)
{
    MMU_EMIT(m, SHADOW_DROP, .gva = p->base, .mpa = p->frame, .level = p->level);
    tlb_drop_range(m, *spaces_of(m->tlb->shadow, p, m->vcpu), p->base, page_span(p));
    leave_page(m, p);
}

void shadow_apply(struct mmu_context *m, const struct patch *patch)
{
    struct shadow *s = m->tlb->shadow;
    uint64_t frame = patch->address & PAGE_MASK;
    bool whole = patch->address & PATCH_DROP_FRAME, any = false;

    for (unsigned n = s->hash[hash(frame)]; n != 0; n = s->pages[n].next) {
        struct shadow_page *p = &s->pages[n];

        if (p->frame != frame || !(consumers(p) & bit_of(m)))
            continue;
        any = true;
        if (whole)
            empty_page(m, p);
        else if (shadow_traced(m, p))
            apply_to_page(m, p, patch);
    }
    m->stats.patches_dropped += !any;
    m->stats.frames_dropped += whole && any;
    if (whole && any)
        untrace(m, frame, bit_of(m));
    reap(m);
}

/* --- Dropping --- */

/* Nobody finds the page at its frame again. Words that point to it keep a page that knows nothing:
 * were it found for another guest physical page of the frame, they would lead there. */
static void unlink_page(struct shadow *s, uint16_t *link)
{
    uint16_t *nowhere = &s->hash[hash(SHADOW_NO_FRAME)], number = *link;
    struct shadow_page *p = &s->pages[number];

    *link = p->next;
    p->frame = SHADOW_NO_FRAME;
    p->next = *nowhere;
    *nowhere = number;
}

void shadow_forget_frame(struct mmu_context *m, uint64_t frame)
{
    struct shadow *s = m->tlb->shadow;
    uint16_t *link = &s->hash[hash(frame)];
    uint64_t traced = 0;

    shadow_lock(s);
    while (*link != 0) {
        struct shadow_page *p = &s->pages[*link];

        if (p->frame != frame) {
            link = &p->next;
            continue;
        }
        traced |= consumers(p);
        for (uint64_t left = consumers(p); left != 0; left &= left - 1)
            empty_page(first_of(m->memory, s, left), p);
        unlink_page(s, link);
    }
    untrace(m, frame, traced);
    reap(m);
    for (; traced != 0; traced &= traced - 1)
        tlb_flush(first_of(m->memory, s, traced), true);
    shadow_unlock(s);
}

void shadow_release(struct mmu_context *m, struct mmu_space *space)
{
    shadow_lock(m->tlb->shadow);
    for (unsigned i = 0; i < ARRAY_SIZE(space->roots); i++) {
        if (space->roots[i] != 0)
            unref(m->tlb->shadow, space->roots[i]);
        space->roots[i] = 0;
    }
    reap(m);
    shadow_unlock(m->tlb->shadow);
}

void shadow_drop_all(struct mmu_context *m)
{
    struct tlb *t = m->tlb;
    struct shadow *s = t->shadow;

    shadow_lock(s);
    for (unsigned n = 1; n < s->fresh; n++) {
        struct shadow_page *p = &s->pages[n];

        if (p->words == NULL || !(consumers(p) & bit_of(m)))
            continue;
        leave_page(m, p);
        untrace(m, p->frame, bit_of(m) & ~tracers(s, p->frame));
    }
    for (unsigned n = 0; n < t->space_count; n++)
        shadow_release(m, t->spaces[n]);
    shadow_unlock(s);
}

void shadow_make_room(struct mmu_context *m)
{
    uint64_t others = m->tlb->shadow->users & ~bit_of(m);

    m->stats.rebuilds++;
    mmu_drop_derived(m, MMU_CAUSE_NO_ROOM);
    for (; others != 0; others &= others - 1)
        coherency_post_rebuild(first_of(m->memory, m->tlb->shadow, others), m->vcpu);
}
