/*
 * Requests: with BENCH_ASK=1 the program says @ASK when it is ready and reads a line,
 *
 *   <name> <copies> <percent of the full work>
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

#define CPUS_MAX 64

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
uint64_t run_copies(const struct program *p, uint64_t units, unsigned copies)
{
    uint64_t *sums = mmap(NULL, CPUS_MAX * sizeof(*sums), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int pinned = number_of("BENCH_FREE", 0) == 0;
    pid_t children[CPUS_MAX];
    uint64_t sum;

    need(sums != MAP_FAILED, "mmap of checksums");
    need(copies <= CPUS_MAX, "so many copies");
    for (unsigned n = 0; n < copies; n++) {
        children[n] = fork();
        need(children[n] >= 0, "fork of a copy");
        if (children[n] == 0) {
            if (pinned)
                pin_to(n);
            sums[n] = p->run(units);
            _exit(0);
        }
    }
    for (unsigned n = 0; n < copies; n++) {
        int status;

        need(waitpid(children[n], &status, 0) == children[n] && status == 0, "a copy's end");
    }
    sum = sums[0];
    for (unsigned n = 1; n < copies; n++)
        need(sums[n] == sum, "two copies, two checksums");
    unmap_pages(sums, CPUS_MAX * sizeof(*sums));
    return sum;
}

void serve(void)
{
    char line[128], name[64];
    unsigned copies;
    unsigned long scale;

    for (;;) {
        say("@ASK\n");
        if (fgets(line, sizeof(line), stdin) == NULL || line[0] == '\n')
            return;
        need(sscanf(line, "%63s %u %lu", name, &copies, &scale) == 3, "a request");
        run_once(find_program(name), copies, copies, scale);
    }
}
