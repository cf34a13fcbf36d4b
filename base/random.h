/* A generator of numbers that come again by their seed: a 64-bit linear congruence (Knuth's MMIX).
 * For choices of the emulator's own and of tests; nothing of a guest's randomness depends on it. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdint.h>

/* The next state, from any state; the upper half of its bits is of use. */
static inline uint64_t random_next(uint64_t *state)
{
    return *state = *state * 6364136223846793005u + 1442695040888963407u;
}

#endif
