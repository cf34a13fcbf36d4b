/*
 * A process of a Linux guest that asks for what changes page tables: fork and copy on write, mmap,
 * munmap, mremap, mprotect with faults, shared memory, memory given back, swap, and fifty processes
 * that pass a token round; with several processors also threads that store to pages while another
 * takes these away. Everything that is read is compared; the first difference ends it with
 * status 1. Arguments: rounds (default 1).
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE      4096ul
#define PAGES     128ul
#define BYTES     (PAGES * PAGE)
#define PROCESSES 50

#define NEED(condition) need(condition, #condition, __LINE__)

static void need(int ok, const char *what, int line)
{
    if (ok)
        return;
    printf("memory.c:%d: %s\n", line, what);
    fflush(stdout);
    _exit(1);
}

/* A page is read-only for a moment: the store is tried again. */
static void on_busy(int number)
{
    (void)number;
    sched_yield();
}

static uint64_t stamp(uint64_t seed, uint64_t page)
{
    return (seed * 1000003 + page) * 0x9e3779b97f4a7c15ull;
}

static volatile uint64_t *word(uint8_t *memory, uint64_t page)
{
    return (volatile uint64_t *)(memory + page * PAGE + page % 512 * 8);
}

static void fill(uint8_t *memory, uint64_t pages, uint64_t seed)
{
    for (uint64_t n = 0; n < pages; n++)
        *word(memory, n) = stamp(seed, n);
}

static int holds(uint8_t *memory, uint64_t pages, uint64_t seed)
{
    for (uint64_t n = 0; n < pages; n++) {
        if (*word(memory, n) != stamp(seed, n))
            return 0;
    }
    return 1;
}

static uint8_t *map(uint64_t bytes, int flags)
{
    uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

    NEED(p != MAP_FAILED);
    return p;
}

static void wait_for(pid_t child)
{
    int status;

    NEED(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

/* --- Faults that are expected --- */

static sigjmp_buf back;

static void on_fault(int signal)
{
    (void)signal;
    siglongjmp(back, 1);
}

static int writing_faults(volatile uint64_t *at)
{
    if (sigsetjmp(back, 1) != 0)
        return 1;
    *at = 1;
    return 0;
}

static int reading_faults(volatile uint64_t *at)
{
    if (sigsetjmp(back, 1) != 0)
        return 1;
    (void)*at;
    return 0;
}

/* --- What is done --- */

/* Children and grandchildren write to what they share with their parents until then. */
static void copy_on_write(uint64_t seed)
{
    uint8_t *memory = map(BYTES, MAP_PRIVATE);

    fill(memory, PAGES, seed);
    for (uint64_t n = 1; n <= 4; n++) {
        pid_t child = fork();

        if (child == 0) {
            pid_t grandchild;

            NEED(holds(memory, PAGES, seed + n - 1));
            fill(memory, PAGES / 2, seed + 100);
            grandchild = fork();
            if (grandchild == 0) {
                NEED(holds(memory, PAGES / 2, seed + 100));
                fill(memory, PAGES, seed + 200);
                NEED(holds(memory, PAGES, seed + 200));
                _exit(0);
            }
            NEED(holds(memory, PAGES / 2, seed + 100));
            wait_for(grandchild);
            NEED(holds(memory, PAGES / 2, seed + 100));
            _exit(0);
        }
        NEED(holds(memory, PAGES, seed + n - 1));
        fill(memory, PAGES, seed + n);
        wait_for(child);
        NEED(holds(memory, PAGES, seed + n));
    }
    NEED(munmap(memory, BYTES) == 0);
}

/* The same addresses, another time with nothing, with zeros, with a part of something else. */
static void map_and_unmap(uint64_t seed)
{
    uint8_t *memory = map(BYTES, MAP_PRIVATE);

    for (uint64_t n = 0; n < 8; n++) {
        fill(memory, PAGES, seed + n);
        NEED(munmap(memory + 8 * PAGE, 16 * PAGE) == 0);
        NEED(reading_faults(word(memory, 8)) && writing_faults(word(memory, 23)));
        NEED(holds(memory, 8, seed + n) && *word(memory, 24) == stamp(seed + n, 24));
        NEED(mmap(memory + 8 * PAGE, 16 * PAGE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == memory + 8 * PAGE);
        for (uint64_t page = 8; page < 24; page++)
            NEED(*word(memory, page) == 0);
        fill(memory, PAGES, seed + n + 1);
        NEED(madvise(memory, 4 * PAGE, MADV_DONTNEED) == 0);
        NEED(*word(memory, 0) == 0 && *word(memory, 3) == 0);
        NEED(*word(memory, 4) == stamp(seed + n + 1, 4));
    }
    NEED(munmap(memory, BYTES) == 0);
}

static void protect(uint64_t seed)
{
    uint8_t *memory = map(BYTES, MAP_PRIVATE);

    fill(memory, PAGES, seed);
    for (uint64_t n = 0; n < 16; n++) {
        uint8_t *some = memory + n * 4 * PAGE;

        NEED(mprotect(some, 4 * PAGE, PROT_READ) == 0);
        NEED(holds(memory, PAGES, seed));
        NEED(writing_faults(word(memory, n * 4 + n % 4)));
        NEED(mprotect(some, 4 * PAGE, PROT_NONE) == 0);
        NEED(reading_faults(word(memory, n * 4)));
        NEED(mprotect(some, 4 * PAGE, PROT_READ | PROT_WRITE) == 0);
        NEED(!writing_faults(word(memory, n * 4)));
        *word(memory, n * 4) = stamp(seed, n * 4);
        NEED(holds(memory, PAGES, seed));
    }
    NEED(munmap(memory, BYTES) == 0);
}

static void move(uint64_t seed)
{
    uint8_t *memory = map(BYTES, MAP_PRIVATE), *place = map(2 * BYTES, MAP_PRIVATE);

    fill(memory, PAGES, seed);
    for (unsigned n = 0; n < 4; n++) {
        uint8_t *other = mremap(memory, BYTES, 2 * BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, place);

        NEED(other == place && holds(other, PAGES, seed));
        NEED(reading_faults(word(memory, 5)) && *word(other, PAGES + 3) == 0);
        NEED(mremap(other, 2 * BYTES, BYTES, 0) == other);
        NEED(mremap(other, BYTES, BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, memory) == memory);
        NEED(holds(memory, PAGES, seed) && writing_faults(word(place, 0)));
    }
    NEED(munmap(memory, BYTES) == 0);
}

/* A file in memory at two addresses and in two processes, and its pages in another order. */
static void share(uint64_t seed)
{
    int file = memfd_create("memory", 0);
    uint8_t *first, *second;
    pid_t child;

    NEED(file >= 0 && ftruncate(file, BYTES) == 0);
    first = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    second = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    NEED(first != MAP_FAILED && second != MAP_FAILED);
    fill(first, PAGES, seed);
    NEED(holds(second, PAGES, seed));
    child = fork();
    if (child == 0) {
        NEED(holds(first, PAGES, seed));
        fill(second, PAGES, seed + 1);
        _exit(0);
    }
    wait_for(child);
    NEED(holds(first, PAGES, seed + 1));
    for (uint64_t n = 0; n < PAGES; n++)
        NEED(mmap(second + n * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file,
                  (off_t)((n ^ 1) * PAGE)) == second + n * PAGE);
    for (uint64_t n = 0; n < PAGES; n++)
        NEED(*(uint64_t *)(second + n * PAGE + (n ^ 1) % 512 * 8) == stamp(seed + 1, n ^ 1));
    NEED(munmap(first, BYTES) == 0 && munmap(second, BYTES) == 0 && close(file) == 0);
}

/* Pages go out, and come back when they are looked at; without swap the kernel keeps them. */
static void page_out(uint64_t seed)
{
    uint8_t *memory = map(BYTES, MAP_PRIVATE);

    for (uint64_t n = 0; n < 3; n++) {
        pid_t child;

        fill(memory, PAGES, seed + n);
        child = fork();
        if (child == 0) {
            NEED(madvise(memory, BYTES, MADV_PAGEOUT) == 0);
            NEED(holds(memory, PAGES, seed + n));
            fill(memory, PAGES, seed + 9);
            NEED(madvise(memory, BYTES, MADV_PAGEOUT) == 0);
            NEED(holds(memory, PAGES, seed + 9));
            _exit(0);
        }
        wait_for(child);
        NEED(madvise(memory, BYTES, MADV_PAGEOUT) == 0);
        NEED(holds(memory, PAGES, seed + n));
    }
    NEED(munmap(memory, BYTES) == 0);
}

/* One of the ring: waits, looks at its own memory, changes it, counts, passes on. */
static void pass(unsigned number, unsigned turns, int in, int out, volatile uint64_t *shared)
{
    uint8_t *memory = map(16 * PAGE, MAP_PRIVATE);
    uint64_t token;

    fill(memory, 16, number);
    for (unsigned turn = 0; turn < turns; turn++) {
        NEED(read(in, &token, sizeof(token)) == sizeof(token));
        NEED(holds(memory, 16, number + turn));
        NEED(token == (uint64_t)turn * PROCESSES + number && *shared == token);
        fill(memory, 16, number + turn + 1);
        *shared = ++token;
        NEED(write(out, &token, sizeof(token)) == sizeof(token));
    }
    _exit(0);
}

static void ring(unsigned turns)
{
    volatile uint64_t *shared = (volatile uint64_t *)map(PAGE, MAP_SHARED);
    int pipes[PROCESSES + 1][2];
    pid_t children[PROCESSES];
    uint64_t token = 0;

    for (unsigned n = 0; n <= PROCESSES; n++)
        NEED(pipe(pipes[n]) == 0);
    for (unsigned n = 0; n < PROCESSES; n++) {
        children[n] = fork();
        if (children[n] == 0)
            pass(n, turns, pipes[n][0], pipes[n + 1][1], shared);
    }
    for (unsigned turn = 0; turn < turns; turn++) {
        NEED(write(pipes[0][1], &token, sizeof(token)) == sizeof(token));
        NEED(read(pipes[PROCESSES][0], &token, sizeof(token)) == sizeof(token));
        NEED(token == (uint64_t)(turn + 1) * PROCESSES);
    }
    for (unsigned n = 0; n < PROCESSES; n++)
        wait_for(children[n]);
    for (unsigned n = 0; n <= PROCESSES; n++)
        NEED(close(pipes[n][0]) == 0 && close(pipes[n][1]) == 0);
    NEED(munmap((void *)shared, PAGE) == 0);
}

/* --- Pages that go while others store to them --- */

struct shootdown {
    uint8_t *memory;
    _Atomic int stop;
};

/* Stores growing values. A fault means that the page is read-only just now: the store is tried
 * again. */
static void *writer(void *opaque)
{
    struct shootdown *s = opaque;

    for (uint64_t value = 1; !s->stop; value++)
        for (uint64_t n = 0; n < 16; n++)
            *word(s->memory, n) = value;
    return NULL;
}

/* Nobody can store to what is read-only for all threads. */
static void freeze(struct shootdown *s)
{
    uint64_t seen[16];

    NEED(mprotect(s->memory, 16 * PAGE, PROT_READ) == 0);
    for (uint64_t n = 0; n < 16; n++)
        seen[n] = *word(s->memory, n);
    sched_yield();
    for (unsigned spin = 0; spin < 20; spin++)
        __asm__ volatile("pause");
    for (uint64_t n = 0; n < 16; n++)
        NEED(*word(s->memory, n) == seen[n]);
    NEED(mprotect(s->memory, 16 * PAGE, PROT_READ | PROT_WRITE) == 0);
}

/* Other pages may have the frames of what was given back: nobody stores to these. */
static void give_back(struct shootdown *s, uint64_t seed)
{
    uint8_t *other;

    NEED(madvise(s->memory, 16 * PAGE, MADV_DONTNEED) == 0);
    other = map(16 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS);
    fill(other, 16, seed);
    sched_yield();
    NEED(holds(other, 16, seed));
    NEED(munmap(other, 16 * PAGE) == 0);
}

static void shoot_down(uint64_t rounds)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned writers = processors > 1 ? (unsigned)processors - 1 : 0;
    struct sigaction retry = {.sa_handler = on_busy}, old;
    struct shootdown s = {0};
    pthread_t threads[64];

    if (writers == 0 || writers > 63)
        return;
    NEED(sigaction(SIGSEGV, &retry, &old) == 0);
    s.memory = map(16 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS);
    for (unsigned n = 0; n < writers; n++)
        NEED(pthread_create(&threads[n], NULL, writer, &s) == 0);
    for (uint64_t n = 0; n < rounds; n++) {
        freeze(&s);
        give_back(&s, n);
    }
    s.stop = 1;
    for (unsigned n = 0; n < writers; n++)
        NEED(pthread_join(threads[n], NULL) == 0);
    NEED(munmap(s.memory, 16 * PAGE) == 0);
    NEED(sigaction(SIGSEGV, &old, NULL) == 0);
}

int main(int argc, char **argv)
{
    unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    struct sigaction action = {.sa_handler = on_fault};

    NEED(sigaction(SIGSEGV, &action, NULL) == 0);
    for (uint64_t round = 0; round < rounds; round++) {
        copy_on_write(round);
        map_and_unmap(round);
        protect(round);
        move(round);
        share(round);
        page_out(round);
        ring(10);
        shoot_down(40);
    }
    printf("MEMORY_OK\n");
    return 0;
}
