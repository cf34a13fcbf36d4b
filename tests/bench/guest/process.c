/* Processes and threads: context switches, fork, exec. */
#include "bench.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ull

struct pair {
    int to_child[2], to_parent[2];
    uint8_t *memory; /* each side's own after the fork */
    uint64_t bytes;
};

/* One side of the exchange: waits for a byte, touches its memory, answers. */
static uint64_t answer(const struct pair *p, int in, int out)
{
    uint64_t sum = 0;
    uint8_t byte;

    if (read(in, &byte, 1) != 1)
        return 0;
    for (uint64_t n = 0; n < p->bytes; n += 64)
        sum += ++p->memory[n];
    byte++;
    return write(out, &byte, 1) == 1 ? sum | 1 : 0;
}

/* Two processes send a byte to and fro; a unit is 100 round trips. */
static uint64_t ping_pong(uint64_t units, uint64_t bytes)
{
    struct pair p = {.bytes = bytes};
    uint64_t sum = 0;
    uint8_t byte = 0;
    pid_t child;
    int status;

    if (bytes > 0)
        p.memory = map_pages(bytes);
    need(pipe(p.to_child) == 0 && pipe(p.to_parent) == 0, "pipe");
    child = fork();
    need(child >= 0, "fork");
    if (child == 0) {
        close(p.to_child[1]);
        while (answer(&p, p.to_child[0], p.to_parent[1]) != 0)
            ;
        _exit(0);
    }
    need(write(p.to_child[1], &byte, 1) == 1, "write to a pipe");
    for (uint64_t u = 0; u < units * 100; u++)
        sum = mix(sum, answer(&p, p.to_parent[0], p.to_child[1]));
    need(read(p.to_parent[0], &byte, 1) == 1, "read from a pipe");
    close(p.to_child[0]);
    close(p.to_child[1]);
    close(p.to_parent[0]);
    close(p.to_parent[1]);
    need(waitpid(child, &status, 0) == child && status == 0, "the child's end");
    if (bytes > 0)
        unmap_pages(p.memory, bytes);
    return sum;
}

static uint64_t run_switch(uint64_t units)
{
    return ping_pong(units, 0);
}

/* The same, and each touches 1 MiB of its own in every turn. */
static uint64_t run_switch_memory(uint64_t units)
{
    return ping_pong(units, 1 << 20);
}

static void *answer_all(void *opaque)
{
    const struct pair *p = opaque;

    while (answer(p, p->to_child[0], p->to_parent[1]) != 0)
        ;
    return NULL;
}

/* The same work as switch_memory between two threads: nobody changes the address space. */
static uint64_t run_switch_threads(uint64_t units)
{
    struct pair mine = {.bytes = 1 << 20}, other;
    uint64_t sum = 0;
    uint8_t byte = 0;
    pthread_t thread;

    mine.memory = map_pages(mine.bytes);
    need(pipe(mine.to_child) == 0 && pipe(mine.to_parent) == 0, "pipe");
    other = mine;
    other.memory = map_pages(mine.bytes);
    need(pthread_create(&thread, NULL, answer_all, &other) == 0, "thread");
    need(write(mine.to_child[1], &byte, 1) == 1, "write to a pipe");
    for (uint64_t u = 0; u < units * 100; u++)
        sum = mix(sum, answer(&mine, mine.to_parent[0], mine.to_child[1]));
    need(read(mine.to_parent[0], &byte, 1) == 1, "read from a pipe");
    close(mine.to_child[1]); /* the thread reads the end of its pipe */
    need(pthread_join(thread, NULL) == 0, "the thread's end");
    close(mine.to_child[0]);
    close(mine.to_parent[0]);
    close(mine.to_parent[1]);
    unmap_pages(mine.memory, mine.bytes);
    unmap_pages(other.memory, other.bytes);
    return sum;
}

static void wait_for(pid_t child)
{
    int status;

    need(child > 0, "fork");
    need(waitpid(child, &status, 0) == child && status == 0, "the child's end");
}

#define RING 50

/* Fifty processes with 64 KiB each pass a byte round; a unit is one round. */
static uint64_t run_ring(uint64_t units)
{
    struct pair p = {.bytes = 1 << 16};
    int pipes[RING + 1][2];
    pid_t children[RING];
    uint8_t byte = 0;

    p.memory = map_pages(p.bytes);
    for (unsigned n = 0; n <= RING; n++)
        need(pipe(pipes[n]) == 0, "pipe");
    for (unsigned n = 0; n < RING; n++) {
        children[n] = fork();
        if (children[n] == 0) {
            for (uint64_t u = 0; u < units; u++)
                need(answer(&p, pipes[n][0], pipes[n + 1][1]) != 0, "the ring");
            _exit(0);
        }
    }
    for (uint64_t u = 0; u < units; u++) {
        need(write(pipes[0][1], &byte, 1) == 1, "write to the ring");
        need(read(pipes[RING][0], &byte, 1) == 1, "read from the ring");
    }
    for (unsigned n = 0; n < RING; n++)
        wait_for(children[n]);
    for (unsigned n = 0; n <= RING; n++) {
        close(pipes[n][0]);
        close(pipes[n][1]);
    }
    unmap_pages(p.memory, p.bytes);
    return byte;
}

/* A unit is one child that leaves at once. */
static uint64_t run_fork(uint64_t units)
{
    for (uint64_t u = 0; u < units; u++) {
        pid_t child = fork();

        if (child == 0)
            _exit(0);
        wait_for(child);
    }
    return units;
}

/* The same with 4 MiB in the process, of which the child writes a quarter: copy on write. */
static uint64_t run_fork_write(uint64_t units)
{
    uint64_t bytes = 4 << 20;
    uint8_t *memory = map_pages(bytes);

    for (uint64_t n = 0; n < bytes; n += PAGE)
        memory[n] = 1;
    for (uint64_t u = 0; u < units; u++) {
        pid_t child = fork();

        if (child == 0) {
            for (uint64_t n = 0; n < bytes; n += 4 * PAGE)
                memory[n] = (uint8_t)u;
            _exit(0);
        }
        wait_for(child);
    }
    unmap_pages(memory, bytes);
    return units;
}

/* A unit is one program started. */
static uint64_t run_exec(uint64_t units)
{
    for (uint64_t u = 0; u < units; u++) {
        pid_t child = fork();

        if (child == 0) {
            execl(self_path, self_path, EXEC_ARGUMENT, (char *)NULL);
            _exit(1);
        }
        wait_for(child);
    }
    return units;
}

const struct program process_programs[] = {
    {"switch", "switches", 80, run_switch},
    {"switch_memory", "switches", 15, run_switch_memory},
    {"switch_threads", "switches", 15, run_switch_threads},
    {"ring", "switches", 100, run_ring},
    {"fork", "fork", 500, run_fork},
    {"fork_write", "fork", 60, run_fork_write},
    {"exec", "fork", 100, run_exec},
    {0},
};
