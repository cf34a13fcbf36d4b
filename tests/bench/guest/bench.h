/*
 * The guest program of the benchmark: small programs that each do a fixed amount of work of one
 * kind and return a checksum, which must be the same on every machine. The same static binary runs
 * as process 1 of every guest and, natively, as an ordinary program.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>
#include <time.h>

struct program {
    const char *name;
    const char *kind; /* integer, branches, memory, sse, x87, syscalls, switches, fork, faults */
    uint64_t units;   /* of work at full scale */
    /* Does the work and returns a checksum. What it allocates it frees. */
    uint64_t (*run)(uint64_t units);
};

/* Each list ends with a program without a name. */
extern const struct program integer_programs[];
extern const struct program memory_programs[];
extern const struct program float_programs[];
extern const struct program system_programs[];
extern const struct program process_programs[];

/* Those that want two processors; only requests run them (serve.c). */
extern const struct program shootdown_programs[];
extern const struct program parallel_programs[];

/* Arguments by which the program, started by execve, ends at once, or does a job (jobs.c). */
#define EXEC_ARGUMENT "leave"
#define JOB_ARGUMENT "job"

/* Path of this binary, for execve. */
extern const char *self_path;

/* Zeroed pages of its own, or the end of the program. */
void *map_pages(uint64_t bytes);
void unmap_pages(void *pages, uint64_t bytes);

/* Ends the program with a message if ok is 0. */
void need(int ok, const char *what);

/* Pins the calling thread to the n-th processor of those that this program was started on, or
 * gives it back all of them. */
void pin_to(unsigned n);
void unpin(void);

#define CPUS_MAX 64

/* In ns. */
uint64_t now(clockid_t clock);

/* How many threads or copies are to run at once: BENCH_CPUS, else all processors. */
unsigned cpu_count(void);

/* Remembers the processors; before the first pin_to. */
void cpus_find(void);

/* Does what standard input asks for, to its end. */
void serve(void);

/* count: 0: a program runs as it is; else so many processes run it at once, each pinned to a
 * processor of its own: the first one, and those behind it. */
struct copies {
    unsigned count, first;
};

/* Runs a program and says so. number: what stands after the name in the line @S. */
void run_once(const struct program *p, struct copies copies, unsigned number,
              unsigned long scale);

/* Does the work at once in processes of their own; returns the checksum, which all must have, and
 * the time in ns that each took. */
uint64_t run_copies(const struct program *p, uint64_t units, struct copies copies,
                    uint64_t took[]);

/* The program of that name, or the end of this one. */
const struct program *find_program(const char *name);

/* A child of the program "jobs": arguments after JOB_ARGUMENT. Returns its status. */
int do_job(char **arguments);

/* Writes a line at once: nothing of it waits behind what was written before. */
void say(const char *line);

/* A variable of the environment, or otherwise if it is not a number above 0. */
unsigned long number_of(const char *variable, unsigned long otherwise);

/* Deterministic numbers; *state must not be 0. */
static inline uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return x * 0x2545f4914f6cdd1dull;
}

/* One step of a checksum. */
static inline uint64_t mix(uint64_t sum, uint64_t value)
{
    sum = (sum ^ value) * 0x9e3779b97f4a7c15ull;
    return sum ^ (sum >> 29);
}

#endif
