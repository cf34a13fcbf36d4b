/*
 * Threads and processes that meet: on a futex, a pipe, a counter, a mutex. And jobs, a load that
 * resembles a build: processes that work on memory and leave a file.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPS         100ull /* of a unit */
#define THREADS_MAX 64

/* Two threads pass the turn to and fro; each adds to a count that needs no lock then. */
struct exchange {
    _Atomic uint32_t turn;
    uint64_t rounds, count;
    unsigned other_cpu;
};

static void take_turns(struct exchange *x, uint32_t me)
{
    for (uint64_t n = 0; n < x->rounds; n++) {
        uint32_t turn;

        while ((turn = atomic_load(&x->turn)) != me)
            syscall(SYS_futex, &x->turn, FUTEX_WAIT_PRIVATE, turn, NULL, NULL, 0);
        x->count++;
        atomic_store(&x->turn, 1 - me);
        syscall(SYS_futex, &x->turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

static void *take_second_turns(void *opaque)
{
    struct exchange *x = opaque;

    pin_to(x->other_cpu);
    take_turns(x, 1);
    return NULL;
}

/* A unit is 100 round trips. */
static uint64_t exchange_futex(uint64_t units, unsigned other_cpu)
{
    struct exchange x = {.rounds = units * OPS, .other_cpu = other_cpu};
    pthread_t thread;

    pin_to(0);
    need(pthread_create(&thread, NULL, take_second_turns, &x) == 0, "thread");
    take_turns(&x, 0);
    need(pthread_join(thread, NULL) == 0, "the thread's end");
    unpin();
    need(x.count == 2 * units * OPS, "the count of turns");
    return x.count;
}

static uint64_t run_futex_apart(uint64_t units)
{
    return exchange_futex(units, 1);
}

static uint64_t run_futex_together(uint64_t units)
{
    return exchange_futex(units, 0);
}

/* Two processes send a byte to and fro; each adds one to it. A unit is 100 round trips. */
static uint64_t exchange_pipe(uint64_t units, unsigned other_cpu)
{
    int to_child[2], to_parent[2], status;
    uint8_t byte = 0;
    pid_t child;

    need(pipe(to_child) == 0 && pipe(to_parent) == 0, "pipe");
    child = fork();
    need(child >= 0, "fork");
    if (child == 0) {
        close(to_child[1]);
        pin_to(other_cpu);
        while (read(to_child[0], &byte, 1) == 1) {
            byte++;
            need(write(to_parent[1], &byte, 1) == 1, "write to a pipe");
        }
        _exit(0);
    }
    pin_to(0);
    for (uint64_t n = 0; n < units * OPS; n++) {
        byte++;
        need(write(to_child[1], &byte, 1) == 1, "write to a pipe");
        need(read(to_parent[0], &byte, 1) == 1, "read from a pipe");
        need(byte == (uint8_t)(2 * (n + 1)), "the byte that came back");
    }
    unpin();
    close(to_child[0]);
    close(to_child[1]);
    close(to_parent[0]);
    close(to_parent[1]);
    need(waitpid(child, &status, 0) == child && status == 0, "the child's end");
    return units;
}

static uint64_t run_pipe_apart(uint64_t units)
{
    return exchange_pipe(units, 1);
}

static uint64_t run_pipe_together(uint64_t units)
{
    return exchange_pipe(units, 0);
}

/* One thread on every processor, all of them at one counter. */
struct contention {
    _Alignas(64) _Atomic uint64_t counter;
    _Alignas(64) pthread_mutex_t mutex;
    uint64_t guarded; /* by the mutex */
    _Alignas(64) uint64_t each;
    pthread_barrier_t start;
    void (*work)(struct contention *c);
};

struct contender {
    struct contention *in;
    unsigned cpu;
    pthread_t thread;
};

static void add_to_counter(struct contention *c)
{
    for (uint64_t n = 0; n < c->each; n++)
        atomic_fetch_add(&c->counter, 1);
}

static void exchange_counter(struct contention *c)
{
    for (uint64_t n = 0; n < c->each; n++) {
        uint64_t seen = atomic_load(&c->counter);

        while (!atomic_compare_exchange_strong(&c->counter, &seen, seen + 1))
            ;
    }
}

static void add_in_mutex(struct contention *c)
{
    for (uint64_t n = 0; n < c->each; n++) {
        pthread_mutex_lock(&c->mutex);
        c->guarded++;
        pthread_mutex_unlock(&c->mutex);
    }
}

static void *contend(void *opaque)
{
    const struct contender *c = opaque;

    pin_to(c->cpu);
    pthread_barrier_wait(&c->in->start);
    c->in->work(c->in);
    return NULL;
}

/* A unit is 100 additions of each thread. Returns the sum, which no thread may have lost from. */
static uint64_t run_contention(uint64_t units, void (*work)(struct contention *c))
{
    struct contention c = {.mutex = PTHREAD_MUTEX_INITIALIZER, .each = units * OPS, .work = work};
    struct contender contenders[THREADS_MAX];
    unsigned count = cpu_count();

    need(count >= 2 && count <= THREADS_MAX, "this needs two processors");
    need(pthread_barrier_init(&c.start, NULL, count) == 0, "barrier");
    for (unsigned n = 0; n < count; n++) {
        contenders[n] = (struct contender){.in = &c, .cpu = n};
        need(pthread_create(&contenders[n].thread, NULL, contend, &contenders[n]) == 0, "thread");
    }
    for (unsigned n = 0; n < count; n++)
        need(pthread_join(contenders[n].thread, NULL) == 0, "a thread's end");
    need(c.counter + c.guarded == count * c.each, "the sum");
    return c.counter + c.guarded;
}

static uint64_t run_counter(uint64_t units)
{
    return run_contention(units, add_to_counter);
}

static uint64_t run_exchanged_counter(uint64_t units)
{
    return run_contention(units, exchange_counter);
}

static uint64_t run_mutex(uint64_t units)
{
    return run_contention(units, add_in_mutex);
}

#define JOB_NUMBERS 4096u

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* Makes numbers from a seed, sorts them, and writes them to a file. */
int do_job(char **arguments)
{
    int file = atoi(arguments[0]);
    uint64_t state = strtoull(arguments[1], NULL, 10), bytes = JOB_NUMBERS * sizeof(uint32_t);
    uint32_t *numbers = map_pages(bytes);

    for (unsigned n = 0; n < JOB_NUMBERS; n++)
        numbers[n] = (uint32_t)next_random(&state);
    qsort(numbers, JOB_NUMBERS, sizeof(*numbers), compare_numbers);
    return write(file, numbers, bytes) == (ssize_t)bytes ? 0 : 1;
}

/* A unit is one job: a program is started, works for a while and leaves a file, which is read. */
static uint64_t run_jobs(uint64_t units)
{
    static uint32_t numbers[JOB_NUMBERS];
    uint64_t sum = 0;

    for (uint64_t u = 0; u < units; u++) {
        int file = memfd_create("job", 0), status;
        char file_number[16], seed[24];
        pid_t child;

        need(file >= 0, "memfd_create");
        snprintf(file_number, sizeof(file_number), "%d", file);
        snprintf(seed, sizeof(seed), "%llu", (unsigned long long)u + 1);
        child = fork();
        need(child >= 0, "fork");
        if (child == 0) {
            execl(self_path, self_path, JOB_ARGUMENT, file_number, seed, (char *)NULL);
            _exit(1);
        }
        need(waitpid(child, &status, 0) == child && status == 0, "a job's end");
        need(pread(file, numbers, sizeof(numbers), 0) == sizeof(numbers), "a job's file");
        sum = mix(sum, numbers[0] ^ numbers[JOB_NUMBERS / 2]);
        close(file);
    }
    return sum;
}

const struct program parallel_programs[] = {
    {"futex_apart", "exchange", 100, run_futex_apart},
    {"futex_together", "exchange", 100, run_futex_together},
    {"pipe_apart", "exchange", 100, run_pipe_apart},
    {"pipe_together", "exchange", 100, run_pipe_together},
    {"counter", "contention", 60000, run_counter},
    {"counter_cmpxchg", "contention", 60000, run_exchanged_counter},
    {"mutex", "contention", 10000, run_mutex},
    {"jobs", "fork", 50, run_jobs},
    {0},
};
