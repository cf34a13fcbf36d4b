/*
 * Runs the programs and talks to the runner on standard output (as process 1: the console), one
 * line each:
 *
 *   @UP                                    the program lives: the machine has booted
 *   @S <name> <repetition>                 work begins
 *   @E                                     and has ended; the runner takes the time in between
 *   @C <guest ns>                          of each copy, where copies were asked for
 *   @R <name> <kind> <units> <guest ns> <guest cpu ns> <checksum>
 *   @DONE
 *
 * BENCH_ONLY (names or kinds with commas between), BENCH_REPEAT and BENCH_SCALE (percent of the
 * full work) come from the environment; Linux passes words of its command line on to process 1.
 * With BENCH_ASK=1 it does what the runner asks for instead, see serve.c.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static const struct program *const lists[] = {
    integer_programs, memory_programs, float_programs, system_programs, process_programs,
};

static const struct program *const request_lists[] = {shootdown_programs, parallel_programs};

const char *self_path;

void need(int ok, const char *what)
{
    if (ok)
        return;
    printf("@FAILED %s\n", what);
    fflush(stdout);
    _exit(1);
}

void *map_pages(uint64_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    need(p != MAP_FAILED, "mmap");
    return p;
}

void unmap_pages(void *pages, uint64_t bytes)
{
    need(munmap(pages, bytes) == 0, "munmap");
}

void say(const char *line)
{
    size_t length = strlen(line);

    tcdrain(STDOUT_FILENO);
    need(write(STDOUT_FILENO, line, length) == (ssize_t)length, "write");
}

uint64_t now(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Processor time of this process and of its children that have ended. */
static uint64_t cpu_time(void)
{
    struct rusage u;

    getrusage(RUSAGE_CHILDREN, &u);
    return now(CLOCK_PROCESS_CPUTIME_ID) +
           (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000 +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000;
}

void run_once(const struct program *p, struct copies copies, unsigned number, unsigned long scale)
{
    uint64_t units = p->units * scale / 100, wall, cpu, sum, took[CPUS_MAX];
    char line[160];

    if (units == 0)
        units = 1;
    snprintf(line, sizeof(line), "@S %s %u\n", p->name, number);
    say(line);
    wall = now(CLOCK_MONOTONIC);
    cpu = cpu_time();
    sum = copies.count > 0 ? run_copies(p, units, copies, took) : p->run(units);
    cpu = cpu_time() - cpu;
    wall = now(CLOCK_MONOTONIC) - wall;
    need(write(STDOUT_FILENO, "@E\n", 3) == 3, "write");
    for (unsigned n = 0; n < copies.count; n++) {
        snprintf(line, sizeof(line), "@C %llu\n", (unsigned long long)took[n]);
        say(line);
    }
    snprintf(line, sizeof(line), "@R %s %s %llu %llu %llu %016llx\n", p->name, p->kind,
             (unsigned long long)units, (unsigned long long)wall, (unsigned long long)cpu,
             (unsigned long long)sum);
    say(line);
}

static const struct program *find_in(const struct program *list, const char *name)
{
    for (const struct program *p = list; p->name != NULL; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

const struct program *find_program(const char *name)
{
    const struct program *p = NULL;

    for (unsigned n = 0; n < sizeof(lists) / sizeof(lists[0]) && p == NULL; n++)
        p = find_in(lists[n], name);
    for (unsigned n = 0; n < sizeof(request_lists) / sizeof(request_lists[0]) && p == NULL; n++)
        p = find_in(request_lists[n], name);
    need(p != NULL, "there is no program of that name");
    return p;
}

/* Is the word one of the list's, which has commas between? */
static int listed(const char *list, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = list; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, word, length) == 0 && (at[length] == '\0' || at[length] == ','))
            return 1;
    }
    return 0;
}

unsigned long number_of(const char *variable, unsigned long otherwise)
{
    const char *text = getenv(variable);
    unsigned long n = text != NULL ? strtoul(text, NULL, 10) : 0;

    return n > 0 ? n : otherwise;
}

static void run_selection(void)
{
    const char *only = getenv("BENCH_ONLY");
    unsigned long repeat = number_of("BENCH_REPEAT", 1), scale = number_of("BENCH_SCALE", 100);

    for (unsigned n = 0; n < sizeof(lists) / sizeof(lists[0]); n++) {
        for (const struct program *p = lists[n]; p->name != NULL; p++) {
            if (only != NULL && !listed(only, p->name) && !listed(only, p->kind))
                continue;
            for (unsigned r = 0; r < repeat; r++)
                run_once(p, (struct copies){0, 0}, r, scale);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], EXEC_ARGUMENT) == 0)
        return 0;
    self_path = getpid() == 1 ? "/init" : argv[0];
    if (argc > 3 && strcmp(argv[1], JOB_ARGUMENT) == 0)
        return do_job(argv + 2);
    cpus_find();
    say("@UP\n");
    if (number_of("BENCH_ASK", 0) != 0)
        serve();
    else
        run_selection();
    say("@DONE\n");
    tcdrain(STDOUT_FILENO);
    if (getpid() == 1)
        reboot(RB_POWER_OFF);
    return 0;
}
