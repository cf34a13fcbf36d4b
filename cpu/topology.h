/*
 * How the processors of a machine are arranged: sockets (packages) of cores of threads, and the
 * APIC ids that follow. An id is made of three fields, thread lowest, each just wide enough for its
 * numbers; so ids have gaps when a count is no power of two. Intel SDM 3A 9.9, "Hierarchical
 * Topology"; AMD64 APM 3 E.5.1.
 *
 * A count of 0 means 1 everywhere: a zeroed topology is one processor.
 */
#ifndef CPU_TOPOLOGY_H
#define CPU_TOPOLOGY_H

#include <stdint.h>

struct cpu_topology {
    unsigned sockets;
    unsigned cores;   /* of each socket */
    unsigned threads; /* of each core */
};

/* How many processors that is. */
unsigned cpu_topology_count(const struct cpu_topology *t);

/* How many of them a socket has. */
unsigned cpu_topology_per_socket(const struct cpu_topology *t);

/* How far an APIC id is shifted right to give the number of the core within the machine... */
unsigned cpu_topology_core_shift(const struct cpu_topology *t);

/* ...and that of the socket. */
unsigned cpu_topology_socket_shift(const struct cpu_topology *t);

/* The APIC id of processor n (from 0): threads of a core have neighbouring numbers, then cores,
 * then sockets. Ids below 255 fit the 8 bits of the xAPIC, as those of 64 processors always do;
 * others are for the x2APIC. */
uint32_t cpu_topology_apic_id(const struct cpu_topology *t, unsigned n);

#endif
