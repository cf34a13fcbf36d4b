/*
 * Random numbers, and how the bits of a case's registers and memory are chosen out of them: values
 * that find errors more often than uniform bits would. All floating-point values of a case lie
 * around one exponent, its theme, so that they meet: cancel, round, leave the range together.
 */
#ifndef TESTS_DIFF_VALUES_H
#define TESTS_DIFF_VALUES_H

#include "diff.h"

uint64_t random_next(uint64_t *state);
unsigned random_below(uint64_t *state, unsigned n);

/* Corners of every width, small numbers, random bits. */
uint64_t value_integer(uint64_t *random);

/* A theme for values that are used as `kind`. */
struct value_theme value_theme(enum value_kind kind, uint64_t *random);

uint32_t value_single(const struct value_theme *theme, uint64_t *random);
uint64_t value_double(const struct value_theme *theme, uint64_t *random);
/* Two singles, a double or an integer, by the theme's kind. */
uint64_t value_lane(const struct value_theme *theme, uint64_t *random);
/* Every class, the unsupported formats too. */
struct diff_float80 value_extended(const struct value_theme *theme, uint64_t *random);
/* Packed decimal; now and then with digits above nine. */
void value_decimal(uint8_t bcd[10], uint64_t *random);

/* A segment selector: of a descriptor that exists mostly. */
uint16_t value_selector(unsigned slot, uint64_t *random);

#endif
