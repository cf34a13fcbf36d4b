/*
 * Several vCPUs that run at the same time, by each policy and with everything as small as it goes:
 * what they find behind their invalidations (tests/mmu/parallel.h). Once on threads, and once by
 * turns on one thread, where requests are answered late and a seed repeats the run.
 *
 *   GNOMON_SEED, GNOMON_STEPS   instead of 1, and of what each run has
 *   GNOMON_PLAN                 the only one to run
 *   GNOMON_FULL=1               64 times as many steps
 *   GNOMON_VERBOSE=1            says what was done
 */
#include "tests/mmu/option_words.h"
#include "tests/mmu/parallel.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <string.h>

#define THREADS false
#define TURNS   true

/* In the order of struct mmu_options: behind the words stand paranoid's N, spaces, slots, shadow
 * pages and flood. */
static const struct parallel_plan plans[] = {
    {"flush",
     PARALLEL_4LEVEL,
     3,
     THREADS,
     false,
     {FLUSH, APPLY, VALIDATED, 1, 16, 1024, 4096, 8, PRIVATE}},
    {"coherent",
     PARALLEL_4LEVEL,
     3,
     THREADS,
     false,
     {COHERENT, APPLY, VALIDATED, 1, 16, 1024, 4096, 8, PRIVATE}},
    {"two",
     PARALLEL_4LEVEL,
     2,
     THREADS,
     false,
     {COHERENT, APPLY, VALIDATED, 1, 16, 1024, 4096, 255, PRIVATE}},
    {"four",
     PARALLEL_4LEVEL,
     4,
     THREADS,
     false,
     {COHERENT, APPLY, VALIDATED, 1, 16, 1024, 4096, 255, PRIVATE}},
    {"paranoid",
     PARALLEL_4LEVEL,
     3,
     THREADS,
     false,
     {PARANOID, APPLY, VALIDATED, 64, 16, 1024, 4096, 8, PRIVATE}},
    {"invalidate",
     PARALLEL_4LEVEL,
     3,
     THREADS,
     false,
     {COHERENT, INVALIDATE, VALIDATED, 1, 16, 1024, 4096, 255, PRIVATE}},
    {"address",
     PARALLEL_4LEVEL,
     3,
     THREADS,
     false,
     {COHERENT, APPLY, ADDRESS, 1, 16, 1024, 4096, 255, PRIVATE}},
    {"value",
     PARALLEL_4LEVEL,
     3,
     THREADS,
     false,
     {COHERENT, APPLY, VALUE, 1, 16, 1024, 4096, 255, PRIVATE}},
    {"small",
     PARALLEL_4LEVEL,
     3,
     THREADS,
     false,
     {COHERENT, APPLY, VALIDATED, 1, 2, 2, 16, 0, PRIVATE}},
    {"medium",
     PARALLEL_4LEVEL,
     3,
     THREADS,
     false,
     {PARANOID, INVALIDATE, ADDRESS, 64, 2, 8, 64, 8, PRIVATE}},
    {"pae",
     PARALLEL_PAE,
     3,
     THREADS,
     false,
     {COHERENT, APPLY, VALIDATED, 1, 16, 1024, 4096, 8, PRIVATE}},
    {"pae-value",
     PARALLEL_PAE,
     3,
     THREADS,
     false,
     {PARANOID, APPLY, VALUE, 64, 3, 8, 4096, 255, PRIVATE}},
    {"32bit",
     PARALLEL_32BIT,
     3,
     THREADS,
     false,
     {COHERENT, APPLY, VALIDATED, 1, 16, 1024, 4096, 8, PRIVATE}},
    {"32bit-small",
     PARALLEL_32BIT,
     3,
     THREADS,
     false,
     {PARANOID, INVALIDATE, VALIDATED, 64, 2, 2, 32, 255, PRIVATE}},
    {"moves",
     PARALLEL_4LEVEL,
     3,
     THREADS,
     true,
     {COHERENT, APPLY, VALIDATED, 1, 16, 1024, 4096, 8, PRIVATE}},
    {"moves-flush",
     PARALLEL_4LEVEL,
     3,
     THREADS,
     true,
     {FLUSH, APPLY, VALIDATED, 1, 16, 1024, 4096, 8, PRIVATE}},
    {"moves-small",
     PARALLEL_4LEVEL,
     3,
     THREADS,
     true,
     {PARANOID, APPLY, VALIDATED, 64, 2, 2, 64, 8, PRIVATE}},
    {"turns",
     PARALLEL_4LEVEL,
     4,
     TURNS,
     false,
     {COHERENT, APPLY, VALIDATED, 1, 16, 1024, 4096, 8, PRIVATE}},
    {"turns-flush",
     PARALLEL_4LEVEL,
     3,
     TURNS,
     false,
     {FLUSH, APPLY, VALIDATED, 1, 16, 1024, 4096, 8, PRIVATE}},
    {"turns-value",
     PARALLEL_4LEVEL,
     3,
     TURNS,
     false,
     {COHERENT, APPLY, VALUE, 1, 16, 1024, 4096, 255, PRIVATE}},
    {"turns-small",
     PARALLEL_4LEVEL,
     3,
     TURNS,
     false,
     {COHERENT, INVALIDATE, ADDRESS, 1, 2, 2, 16, 0, PRIVATE}},
    {"turns-pae",
     PARALLEL_PAE,
     3,
     TURNS,
     false,
     {COHERENT, APPLY, VALIDATED, 1, 3, 2, 4096, 255, PRIVATE}},
    {"turns-32bit",
     PARALLEL_32BIT,
     3,
     TURNS,
     false,
     {COHERENT, APPLY, VALIDATED, 1, 16, 1024, 4096, 8, PRIVATE}},
    {"shared",
     PARALLEL_4LEVEL,
     3,
     THREADS,
     false,
     {COHERENT, APPLY, VALIDATED, 1, 16, 1024, 4096, 8, SHARED}},
    {"shared-four",
     PARALLEL_4LEVEL,
     4,
     THREADS,
     false,
     {COHERENT, INVALIDATE, ADDRESS, 1, 16, 1024, 4096, 255, SHARED}},
    {"shared-value",
     PARALLEL_4LEVEL,
     3,
     THREADS,
     false,
     {PARANOID, APPLY, VALUE, 64, 16, 1024, 4096, 255, SHARED}},
    {"shared-small",
     PARALLEL_4LEVEL,
     3,
     THREADS,
     false,
     {COHERENT, APPLY, VALIDATED, 1, 2, 2, 24, 0, SHARED}},
    {"shared-pae",
     PARALLEL_PAE,
     3,
     THREADS,
     false,
     {COHERENT, APPLY, VALIDATED, 1, 3, 8, 64, 8, SHARED}},
    {"shared-32bit",
     PARALLEL_32BIT,
     3,
     THREADS,
     false,
     {PARANOID, APPLY, VALIDATED, 64, 16, 1024, 4096, 8, SHARED}},
    {"shared-moves",
     PARALLEL_4LEVEL,
     3,
     THREADS,
     true,
     {COHERENT, APPLY, VALIDATED, 1, 16, 1024, 4096, 8, SHARED}},
    {"turns-shared",
     PARALLEL_4LEVEL,
     4,
     TURNS,
     false,
     {COHERENT, APPLY, VALIDATED, 1, 16, 1024, 4096, 8, SHARED}},
    {"turns-shared-small",
     PARALLEL_4LEVEL,
     3,
     TURNS,
     false,
     {COHERENT, INVALIDATE, VALUE, 1, 2, 2, 32, 0, SHARED}},
};

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

#define STEPS 150000 /* of each vCPU */

START_TEST(nothing_is_older_than_an_invalidation_allows)
{
    const char *only = getenv("GNOMON_PLAN");
    uint64_t steps = number("GNOMON_STEPS", STEPS);

    if (only != NULL && strcmp(only, plans[_i].name) != 0)
        return;
    if (getenv("GNOMON_FULL") != NULL)
        steps *= 64;
    parallel_run(&plans[_i], number("GNOMON_SEED", 1), steps);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("parallel");

    tcase_set_timeout(tc, 1800);
    tcase_add_loop_test(tc, nothing_is_older_than_an_invalidation_allows, 0, ARRAY_SIZE(plans));
    return run_suite("parallel", tc);
}
