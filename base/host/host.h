/*
 * What the emulator needs of the host operating system, and nothing more: time, processors, lazily
 * allocated memory, whole files. The only folder where #if on the host is at home.
 */
#ifndef BASE_HOST_HOST_H
#define BASE_HOST_HOST_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Monotonic host time in nanoseconds. */
uint64_t host_monotonic_ns(void);

/* Seconds since 1970-01-01 UTC. */
int64_t host_wall_seconds(void);

/* How many processors of the host this process may run on; 1 if it does not say. */
unsigned host_processor_count(void);

/* Reserves address space of `size` bytes (a multiple of the page size) that nothing may touch yet;
 * NULL and err when the host refuses. */
void *host_reserve(size_t size, struct error *err);

/* Makes [base + offset, + size) of a reservation readable and writable, zero-filled, allocated by
 * the host page by page when first touched, shared through a memory file where the host has one. */
bool host_commit(void *base, size_t offset, size_t size, struct error *err);

/* Gives the pages back to the host; they read as zero afterwards and stay accessible. */
void host_discard(void *base, size_t size);

void host_release(void *base, size_t size);

/* Zero-filled private memory, allocated lazily; aborts when the host is out of address space.
 * For tables that are large and sparse. */
void *host_alloc_lazy(size_t size);
void host_free_lazy(void *memory, size_t size);

/* Calloc that aborts when out of memory: for the emulator's own fixed needs. */
void *host_alloc(size_t size);

/* Reads a whole file of at most `limit` bytes. NULL and err (naming the path) when it cannot be
 * opened or read, or is larger. The result is freed with free(). */
void *host_read_file(const char *path, size_t limit, size_t *length, struct error *err);

#endif
