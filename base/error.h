/*
 * Errors that the user can cause (a bad file, a bad option, a hostile image). A function that can
 * fail this way returns false (or NULL) and fills the struct error its caller passed; the text
 * names the thing and, where there is one, the remedy. Nothing is printed below the front end.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>

struct error {
    bool set;       /* an error has been recorded */
    char text[512]; /* one line, no newline, UTF-8 */
};

/*
 * Records a message; the first one recorded wins. err may be NULL (the caller does not care).
 * Always returns false, so that `return error_set(err, ...)` reads well.
 */
bool error_set(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "prefix: " before a recorded message. Always returns false. */
bool error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
