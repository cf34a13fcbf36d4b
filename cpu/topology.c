#include "cpu/topology.h"

#include "base/bits.h"

static unsigned at_least_one(unsigned count)
{
    return MAX(count, 1u);
}

/* Bits that hold numbers below count. */
static unsigned width(unsigned count)
{
    unsigned bits = 0;

    while (bits < 31 && (1u << bits) < count)
        bits++;
    return bits;
}

unsigned cpu_topology_per_socket(const struct cpu_topology *t)
{
    return at_least_one(t->cores) * at_least_one(t->threads);
}

unsigned cpu_topology_count(const struct cpu_topology *t)
{
    return at_least_one(t->sockets) * cpu_topology_per_socket(t);
}

unsigned cpu_topology_core_shift(const struct cpu_topology *t)
{
    return width(t->threads);
}

unsigned cpu_topology_socket_shift(const struct cpu_topology *t)
{
    return width(t->threads) + width(t->cores);
}

uint32_t cpu_topology_apic_id(const struct cpu_topology *t, unsigned n)
{
    unsigned threads = at_least_one(t->threads), cores = at_least_one(t->cores);
    unsigned thread = n % threads, core = n / threads % cores, socket = n / threads / cores;

    return socket << cpu_topology_socket_shift(t) | core << cpu_topology_core_shift(t) | thread;
}
