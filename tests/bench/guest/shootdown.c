/*
 * TLB shootdowns: thread A changes mappings of a range, companions on all other processors touch
 * the pages before and behind it, so that every change must reach their TLBs. The same with
 * companions that are another process (the other processors are as busy, but hold no translation
 * of A's memory), and with companions that sleep: what the shootdown costs is the difference.
 */
#include "bench.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE          4096ull
#define RANGE         8ull /* pages that A changes */
#define NEIGHBOURS    8ull /* pages on either side, which companions touch */
#define PAGES         (RANGE + 2 * NEIGHBOURS)
#define COMPANION_MAX 63
#define ROUNDS        100 /* of a unit */

enum companion { COMPANION_THREAD, COMPANION_PROCESS, COMPANION_ASLEEP };

/* In memory that processes share. */
struct shootdown {
    enum companion kind;
    uint8_t *pages; /* NEIGHBOURS, RANGE, NEIGHBOURS; a companion's counter is at a place of its
                       own in each neighbour */
    sem_t ready;    /* a companion has touched its pages */
    sem_t end;      /* for those that sleep */
    atomic_int stop;
};

struct member {
    struct shootdown *in;
    unsigned number; /* of the companion, and of its processor: from 1 on */
    pthread_t thread;
    pid_t process;
};

static uint64_t *counter_of(const struct member *m, uint64_t neighbour)
{
    uint64_t page = neighbour < NEIGHBOURS ? neighbour : neighbour + RANGE;

    return (uint64_t *)(m->in->pages + page * PAGE + m->number * 64);
}

static void touch(const struct member *m)
{
    for (uint64_t n = 0; n < 2 * NEIGHBOURS; n++)
        ++*(volatile uint64_t *)counter_of(m, n);
}

static void *accompany(void *opaque)
{
    const struct member *m = opaque;
    struct shootdown *s = m->in;
    uint64_t rounds = 1;

    pin_to(m->number);
    touch(m);
    need(sem_post(&s->ready) == 0, "sem_post");
    if (s->kind == COMPANION_ASLEEP)
        need(sem_wait(&s->end) == 0, "sem_wait");
    for (; !atomic_load_explicit(&s->stop, memory_order_relaxed); rounds++)
        touch(m);
    for (uint64_t n = 0; n < 2 * NEIGHBOURS; n++)
        need(*counter_of(m, n) == rounds, "a neighbour's counter");
    return NULL;
}

static void start(struct member *m)
{
    if (m->in->kind != COMPANION_PROCESS) {
        need(pthread_create(&m->thread, NULL, accompany, m) == 0, "thread");
    } else {
        m->process = fork();
        need(m->process >= 0, "fork");
        if (m->process == 0) {
            accompany(m);
            _exit(0);
        }
    }
    need(sem_wait(&m->in->ready) == 0, "sem_wait");
}

static void join(const struct member *m)
{
    int status;

    if (m->in->kind != COMPANION_PROCESS)
        need(pthread_join(m->thread, NULL) == 0, "a companion's end");
    else
        need(waitpid(m->process, &status, 0) == m->process && status == 0, "a companion's end");
}

/* change: one round on the range; returns what its pages held. */
static uint64_t shoot(uint64_t units, enum companion kind, uint64_t (*change)(uint8_t *range))
{
    struct shootdown *s =
        mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct member members[COMPANION_MAX];
    unsigned count = cpu_count() - 1;
    uint64_t sum = 0;

    need(s != MAP_FAILED, "mmap");
    need(count >= 1 && count <= COMPANION_MAX, "this needs two processors");
    s->kind = kind;
    s->pages = map_pages(PAGES * PAGE);
    need(sem_init(&s->ready, 1, 0) == 0 && sem_init(&s->end, 1, 0) == 0, "sem_init");
    pin_to(0);
    for (unsigned n = 0; n < count; n++) {
        members[n] = (struct member){.in = s, .number = n + 1};
        start(&members[n]);
    }
    for (uint64_t n = 0; n < units * ROUNDS; n++)
        sum = mix(sum, change(s->pages + NEIGHBOURS * PAGE));
    atomic_store(&s->stop, 1);
    for (unsigned n = 0; n < count; n++)
        need(sem_post(&s->end) == 0, "sem_post");
    for (unsigned n = 0; n < count; n++)
        join(&members[n]);
    unpin();
    unmap_pages(s->pages, PAGES * PAGE);
    unmap_pages(s, sizeof(*s));
    return sum;
}

/* Writes to all pages, takes the right to write away and gives it back. */
static uint64_t change_rights(uint8_t *range)
{
    uint64_t sum = 0;

    for (uint64_t n = 0; n < RANGE; n++)
        sum += ++*(volatile uint8_t *)(range + n * PAGE);
    need(mprotect(range, RANGE * PAGE, PROT_READ) == 0, "mprotect");
    need(mprotect(range, RANGE * PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
    return sum;
}

/* Takes the pages away and puts new ones there, which it writes to. */
static uint64_t change_pages(uint8_t *range)
{
    uint64_t sum = 0;

    need(munmap(range, RANGE * PAGE) == 0, "munmap");
    need(mmap(range, RANGE * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
              -1, 0) == range,
         "mmap");
    for (uint64_t n = 0; n < RANGE; n++)
        sum += ++*(volatile uint8_t *)(range + n * PAGE);
    need(sum == RANGE, "a page that is not new");
    return sum;
}

static uint64_t run_protect_thread(uint64_t units)
{
    return shoot(units, COMPANION_THREAD, change_rights);
}

static uint64_t run_protect_process(uint64_t units)
{
    return shoot(units, COMPANION_PROCESS, change_rights);
}

static uint64_t run_protect_asleep(uint64_t units)
{
    return shoot(units, COMPANION_ASLEEP, change_rights);
}

static uint64_t run_unmap_thread(uint64_t units)
{
    return shoot(units, COMPANION_THREAD, change_pages);
}

static uint64_t run_unmap_process(uint64_t units)
{
    return shoot(units, COMPANION_PROCESS, change_pages);
}

static uint64_t run_unmap_asleep(uint64_t units)
{
    return shoot(units, COMPANION_ASLEEP, change_pages);
}

const struct program shootdown_programs[] = {
    {"shootdown_protect", "shootdown", 100, run_protect_thread},
    {"shootdown_protect_process", "shootdown", 100, run_protect_process},
    {"shootdown_protect_asleep", "shootdown", 100, run_protect_asleep},
    {"shootdown_unmap", "shootdown", 50, run_unmap_thread},
    {"shootdown_unmap_process", "shootdown", 50, run_unmap_process},
    {"shootdown_unmap_asleep", "shootdown", 50, run_unmap_asleep},
    {0},
};
