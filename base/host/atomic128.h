/*
 * A 16-byte compare-and-swap on memory, for CMPXCHG16B. The compiler's own would call a library on
 * most hosts.
 */
#ifndef BASE_HOST_ATOMIC128_H
#define BASE_HOST_ATOMIC128_H

#include <stdbool.h>
#include <stdint.h>

/*
 * p is 16-byte aligned; element 0 of the arrays stands for the lower address. Stores desired if the
 * memory equals expected and returns true; else copies the memory to expected and returns false.
 * Sequentially consistent. Not atomic where HOST_CAS128 is 0: nobody else may access it meanwhile.
 */
#if defined(__x86_64__) || defined(__aarch64__)
#define HOST_CAS128 1
#else
#define HOST_CAS128 0
#endif

static inline bool host_cas128(void *p, uint64_t expected[2], const uint64_t desired[2])
{
#if defined(__x86_64__)
    bool done;

    __asm__ volatile("lock cmpxchg16b %1"
                     : "=@ccz"(done), "+m"(*(unsigned __int128 *)p), "+a"(expected[0]),
                       "+d"(expected[1])
                     : "b"(desired[0]), "c"(desired[1])
                     : "memory");
    return done;
#elif defined(__aarch64__)
    uint64_t found0, found1, new0, new1;
    uint32_t failed;
    bool done;

    /* Stores what it found when the comparison fails: only then was the load one access. */
    __asm__ volatile("1: ldaxp %0, %1, [%6]\n"
                     "   cmp %0, %7\n"
                     "   ccmp %1, %8, #0, eq\n"
                     "   csel %2, %9, %0, eq\n"
                     "   csel %3, %10, %1, eq\n"
                     "   cset %w5, eq\n"
                     "   stlxp %w4, %2, %3, [%6]\n"
                     "   cbnz %w4, 1b\n"
                     : "=&r"(found0), "=&r"(found1), "=&r"(new0), "=&r"(new1), "=&r"(failed),
                       "=&r"(done)
                     : "r"(p), "r"(expected[0]), "r"(expected[1]), "r"(desired[0]), "r"(desired[1])
                     : "cc", "memory");
    expected[0] = found0;
    expected[1] = found1;
    return done;
#else
    uint64_t *words = p;
    bool done = words[0] == expected[0] && words[1] == expected[1];

    expected[0] = words[0];
    expected[1] = words[1];
    if (done) {
        words[0] = desired[0];
        words[1] = desired[1];
    }
    return done;
#endif
}

#endif
