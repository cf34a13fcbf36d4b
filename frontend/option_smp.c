/* -smp: how many processors there are, and how they are arranged. What is given means what it means
 * to QEMU, but `turn`, which that has not. */
#include "base/bits.h"
#include "frontend/option_handlers.h"
#include "frontend/properties.h"
#include "frontend/values.h"

#include <stdio.h>
#include <string.h>

static bool set_count(unsigned *field, const char *what, const char *value, struct error *err)
{
    uint64_t count;

    if (!value_number(what, value, MACHINE_VCPU_MAX, &count, err))
        return false;
    *field = (unsigned)count;
    return count > 0 || error_set(err, "%s: 0: there is at least one", what);
}

static bool set_cpus(struct options *o, const char *what, const char *value, struct error *err)
{
    return set_count(&o->smp.cpus, what, value, err);
}

static bool set_sockets(struct options *o, const char *what, const char *value, struct error *err)
{
    return set_count(&o->smp.sockets, what, value, err);
}

static bool set_cores(struct options *o, const char *what, const char *value, struct error *err)
{
    return set_count(&o->smp.cores, what, value, err);
}

static bool set_threads(struct options *o, const char *what, const char *value, struct error *err)
{
    return set_count(&o->smp.threads, what, value, err);
}

static bool set_maxcpus(struct options *o, const char *what, const char *value, struct error *err)
{
    return set_count(&o->smp.maxcpus, what, value, err);
}

#define TURN_MAX 1000000u

/* LEAST-MOST, or a number that is both. */
static bool set_turn(struct options *o, const char *what, const char *value, struct error *err)
{
    const char *dash = strchr(value, '-');
    uint64_t least, most;
    char first[16];

    if (dash == NULL) {
        if (!value_number(what, value, TURN_MAX, &least, err))
            return false;
        most = least;
    } else {
        snprintf(first, sizeof(first), "%.*s", (int)(dash - value), value);
        if (!value_number(what, first, TURN_MAX, &least, err) ||
            !value_number(what, dash + 1, TURN_MAX, &most, err))
            return false;
    }
    if (least == 0 || most < least)
        return error_set(err, "%s: '%s' is not LEAST-MOST, from 1 to %u", what, value, TURN_MAX);
    o->machine.turn_least = (unsigned)least;
    o->machine.turn_most = (unsigned)most;
    return true;
}

bool opt_smp(struct options *o, const char *value, struct error *err)
{
    static const struct property properties[] = {
        {"cpus", set_cpus, NULL},
        {"maxcpus", set_maxcpus, NULL},
        {"sockets", set_sockets, NULL},
        {"cores", set_cores, NULL},
        {"threads", set_threads, NULL},
        {"turn", set_turn, NULL},
        /* Levels that this machine has not. */
        {"drawers", NULL, "1"},
        {"books", NULL, "1"},
        {"dies", NULL, "1"},
        {"clusters", NULL, "1"},
        {"modules", NULL, "1"},
    };

    return properties_set_first(o, "-smp", value, set_cpus, properties, ARRAY_SIZE(properties),
                                err);
}

/* Missing numbers follow from the others: one socket and one thread rather than many, so that cores
 * take what is left. A quotient that does not come out even shows in the product. */
static struct cpu_topology arrange(const struct smp_numbers *given, unsigned total)
{
    struct cpu_topology t = {given->sockets, given->cores, given->threads};

    if (t.cores == 0) {
        t.sockets = MAX(t.sockets, 1u);
        t.threads = MAX(t.threads, 1u);
        t.cores = total > 0 ? total / t.sockets / t.threads : 1;
    } else if (t.sockets == 0) {
        t.threads = MAX(t.threads, 1u);
        t.sockets = total > 0 ? total / t.cores / t.threads : 1;
    }
    if (t.threads == 0)
        t.threads = total > 0 ? total / t.sockets / t.cores : 1;
    return t;
}

bool options_check_smp(struct options *o, struct error *err)
{
    unsigned total = o->smp.maxcpus != 0 ? o->smp.maxcpus : o->smp.cpus, product, cpus;
    struct cpu_topology t = arrange(&o->smp, total);

    product = t.sockets * t.cores * t.threads;
    total = total != 0 ? total : product;
    cpus = o->smp.cpus != 0 ? o->smp.cpus : total;
    if (product != total)
        return error_set(err, "-smp: %u sockets x %u cores x %u threads are %u processors, not %u",
                         t.sockets, t.cores, t.threads, product, total);
    if (cpus > total)
        return error_set(err, "-smp: cpus=%u is more than maxcpus=%u", cpus, total);
    if (cpus < total)
        return error_set(err,
                         "-smp: cpus=%u is less than maxcpus=%u: there is no firmware that could "
                         "add processors later",
                         cpus, total);
    if (total > MACHINE_VCPU_MAX)
        return error_set(err, "-smp: %u processors, %u at most", total, MACHINE_VCPU_MAX);
    o->machine.smp = (struct machine_smp){.topology = t, .count = total};
    return true;
}
