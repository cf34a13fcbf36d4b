#include "base/ring.h"

#include "base/check.h"
#include "base/host/host.h"

#include <stdlib.h>

void ring_init(struct ring *r, size_t record_size, uint64_t capacity)
{
    uint64_t rounded = 1;

    CHECK(record_size > 0 && capacity <= BIT64(62) && capacity <= SIZE_MAX / 2 / record_size);
    while (rounded < capacity)
        rounded <<= 1;
    r->record_size = record_size;
    r->capacity = rounded;
    r->written = 0;
    r->records = host_alloc((size_t)rounded * record_size);
}

void ring_destroy(struct ring *r)
{
    free(r->records);
    r->records = NULL;
    r->capacity = 0;
    r->written = 0;
}

static void *slot(const struct ring *r, uint64_t n)
{
    return r->records + (size_t)(n & (r->capacity - 1)) * r->record_size;
}

void *ring_push(struct ring *r)
{
    return slot(r, r->written++);
}

uint64_t ring_oldest(const struct ring *r)
{
    return r->written > r->capacity ? r->written - r->capacity : 0;
}

const void *ring_at(const struct ring *r, uint64_t n)
{
    if (n < ring_oldest(r) || n >= r->written)
        return NULL;
    return slot(r, n);
}
