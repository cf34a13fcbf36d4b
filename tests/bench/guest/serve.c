/*
 * Requests: with BENCH_ASK=1 the program says @ASK when it is ready and reads a line,
 *
 *   <name> <copies> <percent of the full work> [<processor of the first copy>]
 *
 * which it answers as it tells of any program (main.c). So several machines can be kept at hand,
 * idle, and asked in turn. An end of the input or an empty name is the end.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned cpus[CPUS_MAX]; /* numbers of the processors, the lowest first */
static unsigned cpus_found;

void cpus_find(void)
{
    cpu_set_t set;

    need(sched_getaffinity(0, sizeof(set), &set) == 0, "sched_getaffinity");
    for (unsigned n = 0; n < CPU_SETSIZE && cpus_found < CPUS_MAX; n++)
        if (CPU_ISSET(n, &set))
            cpus[cpus_found++] = n;
}

unsigned cpu_count(void)
{
    unsigned long wanted = number_of("BENCH_CPUS", cpus_found);

    need(wanted <= cpus_found, "there are not as many processors");
    return (unsigned)wanted;
}

void pin_to(unsigned n)
{
    cpu_set_t set;

    need(n < cpus_found, "there are not as many processors");
    CPU_ZERO(&set);
    CPU_SET(cpus[n], &set);
    need(sched_setaffinity(0, sizeof(set), &set) == 0, "sched_setaffinity");
}

void unpin(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    for (unsigned n = 0; n < cpus_found; n++)
        CPU_SET(cpus[n], &set);
    need(sched_setaffinity(0, sizeof(set), &set) == 0, "sched_setaffinity");
}

/* BENCH_FREE=1 leaves copies to the scheduler: natively, as it places an emulator's threads. */
uint64_t run_copies(const struct program *p, uint64_t units, struct copies c, uint64_t took[])
{
    struct result {
        uint64_t sum, took;
    } *results = mmap(NULL, CPUS_MAX * sizeof(*results), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int pinned = number_of("BENCH_FREE", 0) == 0;
    pid_t children[CPUS_MAX];
    uint64_t sum;

    need(results != MAP_FAILED, "mmap of results");
    need(c.count <= CPUS_MAX, "so many copies");
    for (unsigned n = 0; n < c.count; n++) {
        children[n] = fork();
        need(children[n] >= 0, "fork of a copy");
        if (children[n] == 0) {
            if (pinned)
                pin_to(c.first + n);
            results[n].took = now(CLOCK_MONOTONIC);
            results[n].sum = p->run(units);
            results[n].took = now(CLOCK_MONOTONIC) - results[n].took;
            _exit(0);
        }
    }
    for (unsigned n = 0; n < c.count; n++) {
        int status;

        need(waitpid(children[n], &status, 0) == children[n] && status == 0, "a copy's end");
    }
    sum = results[0].sum;
    for (unsigned n = 0; n < c.count; n++) {
        need(results[n].sum == sum, "two copies, two checksums");
        took[n] = results[n].took;
    }
    unmap_pages(results, CPUS_MAX * sizeof(*results));
    return sum;
}

void serve(void)
{
    char line[128], name[64];
    unsigned copies, first;
    unsigned long scale;

    for (;;) {
        say("@ASK\n");
        if (fgets(line, sizeof(line), stdin) == NULL || line[0] == '\n')
            return;
        first = 0;
        need(sscanf(line, "%63s %u %lu %u", name, &copies, &scale, &first) >= 3, "a request");
        run_once(find_program(name), (struct copies){copies, first}, copies, scale);
    }
}
