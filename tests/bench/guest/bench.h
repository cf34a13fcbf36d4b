/*
 * The guest program of the benchmark: small programs that each do a fixed amount of work of one
 * kind and return a checksum, which must be the same on every machine. The same static binary runs
 * as process 1 of every guest and, natively, as an ordinary program.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>

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

/* Argument by which the program, started by execve, ends at once. */
#define EXEC_ARGUMENT "leave"

/* Path of this binary, for execve. */
extern const char *self_path;

/* Zeroed pages of its own, or the end of the program. */
void *map_pages(uint64_t bytes);
void unmap_pages(void *pages, uint64_t bytes);

/* Ends the program with a message if ok is 0. */
void need(int ok, const char *what);

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
