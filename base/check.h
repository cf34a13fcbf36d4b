/*
 * CHECK states an invariant of the emulator itself: something no guest and no input can cause to
 * fail. It is on in every build. Guest errors become architectural exceptions, user errors become
 * struct error; neither ever reaches a CHECK.
 */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include "base/bits.h"

/* Prints the expression and its place to standard error and aborts. */
_Noreturn void check_failed(const char *expression, const char *file, int line);

#define CHECK(expression)                                                                          \
    do {                                                                                           \
        if (unlikely(!(expression)))                                                               \
            check_failed(#expression, __FILE__, __LINE__);                                         \
    } while (0)

#endif
