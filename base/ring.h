/*
 * A ring of fixed-size records that keeps the newest: the writer never waits and overwrites the
 * oldest record when the ring is full. One thread writes and reads (MMU events of one vCPU); a
 * debugger on another thread stops the writer first.
 */
#ifndef BASE_RING_H
#define BASE_RING_H

#include <stddef.h>
#include <stdint.h>

struct ring {
    uint8_t *records;   /* capacity * record_size bytes */
    size_t record_size; /* bytes */
    uint64_t capacity;  /* records, a power of two */
    uint64_t written;   /* records ever written; the newest has number written - 1 */
};

/* Capacity is rounded up to a power of two. Aborts when the host is out of memory. */
void ring_init(struct ring *r, size_t record_size, uint64_t capacity);
void ring_destroy(struct ring *r);

/* The slot for the next record, to be filled by the caller. */
void *ring_push(struct ring *r);

/* The number of the oldest record still held. */
uint64_t ring_oldest(const struct ring *r);

/* Record number n (ring_oldest <= n < written), or NULL when it is not held. */
const void *ring_at(const struct ring *r, uint64_t n);

#endif
