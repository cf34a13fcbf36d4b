/*
 * Diagnostic log of one machine, selected by category (command line option -d). A disabled
 * category costs one load and test. What a hostile guest can cause is never above LOG_GUEST_ERROR.
 * Thread-safe: a record is written with one fprintf call.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* X(NAME, option word, help): the categories of -d. */
#define LOG_CATEGORIES(X)                                                                          \
    X(INT, "int", "interrupts and exceptions as they are delivered")                               \
    X(IN_ASM, "in_asm", "guest code of each block when it is decoded")                             \
    X(EXEC, "exec", "address of each block before it runs")                                        \
    X(CPU, "cpu", "registers before each block")                                                   \
    X(RESET, "cpu_reset", "registers at each processor reset")                                     \
    X(GUEST_ERROR, "guest_errors", "accesses no device answers, writes a datasheet forbids")       \
    X(UNIMP, "unimp", "features that are not implemented, when a guest uses one")                  \
    X(MMU, "mmu", "page walks and flushes")                                                        \
    X(DEVICE, "device", "state changes of devices")                                                \
    X(LOADER, "loader", "what the boot loader placed where")                                       \
    X(STATS, "stats", "counters, printed at exit")                                                 \
    X(MMU_STATS, "mmu-stats", "counters of translation and coherency, printed at exit")

enum log_category {
#define X(name, word, help) LOG_##name##_INDEX,
    LOG_CATEGORIES(X)
#undef X
        LOG_CATEGORY_COUNT
};

enum log_mask {
#define X(name, word, help) LOG_##name = 1 << LOG_##name##_INDEX,
    LOG_CATEGORIES(X)
#undef X
};

struct log {
    uint32_t mask; /* enum log_mask bits that are on */
    FILE *stream;  /* where records go; never NULL once initialised */
};

/* All categories off, standard error as the stream. */
void log_init(struct log *log);

/* Writes one record if any bit of mask is on. The text carries its own newline. */
void log_write(const struct log *log, uint32_t mask, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static inline bool log_on(const struct log *log, uint32_t mask)
{
    return (log->mask & mask) != 0;
}

#define LOG(log, mask, ...)                                                                        \
    do {                                                                                           \
        if (__builtin_expect(log_on((log), (mask)), 0))                                            \
            log_write((log), (mask), __VA_ARGS__);                                                 \
    } while (0)

#endif
