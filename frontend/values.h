/*
 * Values of command-line options: numbers with units, key=value lists, words of a list; and the
 * nearest valid spelling for what is none of them. All functions are pure; errors name the option
 * (or property) and the bad text.
 */
#ifndef FRONTEND_VALUES_H
#define FRONTEND_VALUES_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An integer, decimal or 0x..., from 0 to `most`. */
bool value_number(const char *what, const char *text, uint64_t most, uint64_t *out,
                  struct error *err);

/* Bytes: a number, perhaps with a fraction, and B, K, M, G or T (powers of 1024); without a letter
 * the number counts `unit` bytes. */
bool value_size(const char *what, const char *text, uint64_t unit, uint64_t *out,
                struct error *err);

/* Nanoseconds: a number, perhaps with a fraction, and ns, us, ms, s, m or h; without, seconds. */
bool value_time(const char *what, const char *text, uint64_t *ns, struct error *err);

/* Virtual time or instructions: "5s", "20ms", "1h" set *ns; "1e9", "200M", "200Mi", "5000000" set
 * *instructions (K, M, G are powers of 1000). A small number without a unit is refused. */
bool value_guest_time(const char *what, const char *text, uint64_t *ns, uint64_t *instructions,
                      struct error *err);

/* on, yes, true, 1 or off, no, false, 0. */
bool value_switch(const char *what, const char *text, bool *out, struct error *err);

/* utc, localtime, YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS: seconds since 1970. */
bool value_date(const char *what, const char *text, int64_t *seconds, struct error *err);

/* The word of the list that is nearest to text, or NULL if none is near. word(opaque, n) gives the
 * words, NULL ends them. */
const char *value_nearest(const char *text, const char *(*word)(const void *opaque, size_t n),
                          const void *opaque);

/* A message about `text` being no valid word, with the nearest if there is one. Returns false. */
bool value_unknown(struct error *err, const char *what, const char *text,
                   const char *(*word)(const void *opaque, size_t n), const void *opaque);

/* Levenshtein distance, exchanges of neighbours counting once. */
unsigned value_distance(const char *a, const char *b);

/*
 * The next element of a list "a,b=c,d": copied to out (of `size` bytes; ",," is a comma within an
 * element). *text moves on. False at the end of the list, or, with err set, when it is too long.
 */
bool value_next(const char **text, char *out, size_t size, struct error *err);

#endif
