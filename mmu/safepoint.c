#include "mmu/safepoint.h"

#include "base/check.h"
#include "base/host/host.h"
#include "base/random.h"
#include "mmu/frame_set.h"
#include "mmu/tlb.h"

#include <pthread.h>
#include <stdlib.h>

#define REQUEST_MAX 64

struct request {
    mpa_t address;
    unsigned length; /* of the code that has changed; 0: write tags of the frame */
};

/* How late answers are. */
struct lateness {
    unsigned most, left; /* safepoints */
    uint64_t seed, state;
};

struct mmu_safepoint {
    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t changed;
    bool parked;
    bool held;
    unsigned holds; /* of others by this vCPU, nested; its own thread */
    bool code_lost; /* more code has changed than there was room to say */
    uint64_t asked; /* a counter of requests, answered or waiting */
    unsigned count;
    struct request requests[REQUEST_MAX];
    struct lateness late;
};

struct mmu_safepoint *mmu_safepoint_create(void)
{
    struct mmu_safepoint *s = host_alloc(sizeof(*s));

    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->parked = true;
    return s;
}

void mmu_safepoint_destroy(struct mmu_safepoint *s)
{
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* --- Answers: on the vCPU's thread, or its mailbox is locked and it is parked --- */

static void give_up_writes(struct mmu_context *m, mpa_t frame)
{
    tlb_revoke_write(m, frame);
    frame_set_remove(m->memory, frame, FRAME_HOLDERS, m->vcpu);
}

static void code_changed(struct mmu_context *m, mpa_t address, unsigned length)
{
    if (m->memory->code_changed != NULL)
        m->memory->code_changed(m, address, length);
}

static void answer(struct mmu_context *m, struct request r)
{
    if (r.length == 0)
        give_up_writes(m, r.address);
    else
        code_changed(m, r.address, r.length);
}

/* All, but write tags that are given up later. */
static void answer_due(struct mmu_context *m)
{
    struct mmu_safepoint *s = m->safepoint;
    unsigned kept = 0;

    for (unsigned n = 0; n < s->count; n++) {
        if (s->requests[n].length == 0 && s->late.left > 0)
            s->requests[kept++] = s->requests[n];
        else
            answer(m, s->requests[n]);
    }
    s->count = kept;
    if (s->code_lost)
        code_changed(m, mpa(0), 0);
    s->code_lost = false;
}

static void answer_all(struct mmu_context *m)
{
    m->safepoint->late.left = 0;
    answer_due(m);
}

/* Of what is asked for first. */
static void draw_lateness(struct lateness *l)
{
    l->left = (unsigned)((random_next(&l->state) >> 33) % (l->most + 1u));
}

void mmu_delay_answers(struct mmu_context *m, unsigned most, uint64_t seed)
{
    m->safepoint->late.most = most;
    m->safepoint->late.seed = seed;
    mmu_restart_answers(m);
}

void mmu_restart_answers(struct mmu_context *m)
{
    struct mmu_safepoint *s = m->safepoint;

    pthread_mutex_lock(&s->lock);
    answer_all(m);
    s->late.state = s->late.seed;
    pthread_mutex_unlock(&s->lock);
}

/* --- The vCPU's own thread --- */

bool mmu_try_unpark(struct mmu_context *m)
{
    struct mmu_safepoint *s = m->safepoint;
    bool free, asked;

    pthread_mutex_lock(&s->lock);
    CHECK(s->parked);
    free = !s->held;
    if (free) /* who holds it reads that it is parked */
        s->parked = false;
    asked = free && s->count > 0;
    pthread_mutex_unlock(&s->lock);
    if (asked && m->interrupt != NULL)
        m->interrupt(m);
    return free;
}

bool mmu_is_parked(const struct mmu_context *m)
{
    return m->safepoint->parked;
}

void mmu_wait_free(struct mmu_context *m)
{
    struct mmu_safepoint *s = m->safepoint;

    pthread_mutex_lock(&s->lock);
    while (s->held)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

void mmu_unpark(struct mmu_context *m)
{
    while (!mmu_try_unpark(m))
        mmu_wait_free(m);
}

void mmu_park(struct mmu_context *m)
{
    struct mmu_safepoint *s = m->safepoint;

    pthread_mutex_lock(&s->lock);
    CHECK(!s->parked);
    answer_due(m);
    s->parked = true;
    if (s->held)
        pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void mmu_answer(struct mmu_context *m)
{
    struct mmu_safepoint *s = m->safepoint;
    bool held, more;

    pthread_mutex_lock(&s->lock);
    answer_due(m);
    s->late.left -= s->late.left > 0;
    more = s->count > 0;
    held = s->held;
    pthread_mutex_unlock(&s->lock);
    if (more && m->interrupt != NULL)
        m->interrupt(m);
    if (held) {
        mmu_park(m);
        mmu_unpark(m);
    }
}

/* --- Requests --- */

/* Is the request waiting already? */
static bool is_asked(const struct mmu_safepoint *s, struct request r)
{
    for (unsigned n = 0; n < s->count; n++)
        if (s->requests[n].address.v == r.address.v && s->requests[n].length == r.length)
            return true;
    return false;
}

static void ask(struct mmu_context *m, struct request r)
{
    struct mmu_safepoint *s = m->safepoint;
    bool parked;

    pthread_mutex_lock(&s->lock);
    parked = s->parked;
    s->asked++;
    if (s->late.most > 0 && s->count == 0)
        draw_lateness(&s->late);
    if (parked && (s->late.most == 0 || r.length != 0))
        answer(m, r);
    else if (s->count < REQUEST_MAX && !is_asked(s, r))
        s->requests[s->count++] = r;
    else if (r.length != 0 && !is_asked(s, r))
        s->code_lost = true;
    pthread_mutex_unlock(&s->lock);
    if (!parked && m->interrupt != NULL)
        m->interrupt(m);
}

void mmu_ask_revoke(struct mmu_context *m, mpa_t frame)
{
    ask(m, (struct request){.address = mpa(frame.v & PAGE_MASK)});
}

void mmu_hurry(struct mmu_context *m)
{
    struct mmu_safepoint *s = m->safepoint;

    pthread_mutex_lock(&s->lock);
    s->late.left = 0;
    if (s->parked)
        answer_all(m);
    pthread_mutex_unlock(&s->lock);
}

void mmu_ask_code(struct mmu_context *m, mpa_t address, unsigned length)
{
    CHECK(length > 0);
    ask(m, (struct request){.address = address, .length = length});
}

uint64_t mmu_times_asked(const struct mmu_context *m)
{
    struct mmu_safepoint *s = m->safepoint;
    uint64_t asked;

    pthread_mutex_lock(&s->lock);
    asked = s->asked;
    pthread_mutex_unlock(&s->lock);
    return asked;
}

/* --- Holds --- */

static void begin_hold(struct mmu_context *m)
{
    struct mmu_safepoint *s = m->safepoint;
    bool parked;

    pthread_mutex_lock(&s->lock);
    s->held = true;
    parked = s->parked;
    pthread_mutex_unlock(&s->lock);
    if (!parked && m->interrupt != NULL)
        m->interrupt(m);
}

static void wait_parked(struct mmu_context *m)
{
    struct mmu_safepoint *s = m->safepoint;

    pthread_mutex_lock(&s->lock);
    while (!s->parked)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

static void end_hold(struct mmu_context *m)
{
    struct mmu_safepoint *s = m->safepoint;

    pthread_mutex_lock(&s->lock);
    s->held = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void for_each_other(const struct machine_memory *memory, const struct mmu_context *self,
                           void (*visit)(struct mmu_context *m))
{
    for (unsigned n = 0; n < memory->context_end; n++)
        if (memory->contexts[n] != NULL && memory->contexts[n] != self)
            visit(memory->contexts[n]);
}

/* What is done for a vCPU that is parked, its doer has seen to. */
static bool is_alone(const struct mmu_context *self)
{
    return self != NULL && (self->safepoint->parked || self->safepoint->holds > 0);
}

void mmu_hold(struct machine_memory *memory, struct mmu_context *self)
{
    if (is_alone(self)) {
        self->safepoint->holds++;
        return;
    }
    if (pthread_mutex_trylock(&memory->hold_lock) != 0) {
        if (self != NULL)
            mmu_park(self);
        pthread_mutex_lock(&memory->hold_lock);
        if (self != NULL)
            mmu_unpark(self); /* who held it before has let it go */
    }
    for_each_other(memory, self, begin_hold);
    for_each_other(memory, self, wait_parked);
    if (self != NULL)
        self->safepoint->holds++;
}

void mmu_release(struct machine_memory *memory, struct mmu_context *self)
{
    if (self != NULL) {
        self->safepoint->holds--;
        if (is_alone(self))
            return;
    }
    for_each_other(memory, self, end_hold);
    pthread_mutex_unlock(&memory->hold_lock);
}
