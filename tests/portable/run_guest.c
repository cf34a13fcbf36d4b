/*
 * Runs a guest program of tests/guest/ on a whole machine, as tests/guest/run.sh does with the
 * emulator's front end, which builds without libraries do not have. The debug console goes to
 * standard output; the exit status is the guest's, or 100 if it did not end by the exit port.
 *
 *     run_guest <image> [-cpu MODEL] [-smp CORES] [-machine pc,triple-fault=reset] [-mmu POLICY]
 *               [-seed N] [parallel] [hash]
 *
 * With "hash" it prints how many instructions ran and a hash over all state, instead of the
 * console: the same numbers on every host.
 */
#include "base/log.h"
#include "devices/chardev.h"
#include "machine/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_EXIT_STATUS 100

static void send(struct chardev *c, const uint8_t *bytes, size_t count)
{
    (void)c;
    fwrite(bytes, 1, count, stdout);
}

/* The front end's -mmu, without its messages. */
static bool take_policy(const char *value, struct machine_config *config)
{
    struct mmu_options *o = &config->mmu;
    const struct {
        const char *format;
        unsigned *number;
    } numbers[] = {
        {"paranoid=%u", &o->paranoid}, {"slots=%u", &o->slots}, {"pages=%u", &o->pages},
        {"spaces=%u", &o->spaces},     {"flood=%u", &o->flood}, {"delay=%u", &config->mmu_delay},
    };
    char text[128], *rest;

    *o = mmu_default_options;
    o->policy = MMU_POLICY_COHERENT;
    snprintf(text, sizeof(text), "%s", value);
    for (char *word = strtok_r(text, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        bool known = strcmp(word, "coherent") == 0;

        for (unsigned n = 0; n < ARRAY_SIZE(numbers); n++)
            known |= sscanf(word, numbers[n].format, numbers[n].number) == 1;
        if (strcmp(word, "patch=address") == 0)
            o->patch = MMU_PATCH_ADDRESS;
        else if (strcmp(word, "patch=value") == 0)
            o->patch = MMU_PATCH_VALUE;
        else if (strcmp(word, "tables=shared") == 0)
            o->tables = MMU_TABLES_SHARED;
        else if (strcmp(word, "consumer=invalidate") == 0)
            o->consumer = MMU_CONSUMER_INVALIDATE;
        else if (strcmp(word, "flush") == 0)
            o->policy = MMU_POLICY_FLUSH;
        else if (strcmp(word, "p2m=scatter") == 0)
            config->p2m = MACHINE_P2M_SCATTER;
        else if (strcmp(word, "p2m=identity") == 0)
            config->p2m = MACHINE_P2M_IDENTITY;
        else if (!known)
            return false;
    }
    if (o->paranoid != 0)
        o->policy = MMU_POLICY_PARANOID;
    return true;
}

/* "N" cores, or "N,sockets=S,cores=C"; or "N,turn=LEAST-MOST". */
static bool take_processors(const char *value, struct machine_config *config)
{
    struct machine_smp *smp = &config->smp;
    struct cpu_topology *t = &smp->topology;
    int given = sscanf(value, "%u,sockets=%u,cores=%u", &smp->count, &t->sockets, &t->cores);

    if (strchr(value, 'u') != NULL && given == 1 &&
        sscanf(value, "%u,turn=%u-%u", &smp->count, &config->turn_least, &config->turn_most) != 3)
        return false;
    t->threads = 1;
    if (given == 1) {
        t->sockets = 1;
        t->cores = smp->count;
    }
    return (given == 1 || given == 3) && smp->count == cpu_topology_count(t);
}

/* The options of the front end that guest programs are run with, into the configuration. */
static bool take_options(char **argv, struct machine_config *config, bool *hash)
{
    for (char **arg = argv + 2; *arg != NULL; arg++) {
        if (strcmp(*arg, "hash") == 0)
            *hash = true;
        else if (strcmp(*arg, "parallel") == 0)
            config->deterministic = false;
        else if (strcmp(*arg, "-cpu") == 0 && arg[1] != NULL)
            config->cpu = *++arg;
        else if (strcmp(*arg, "-mmu") == 0 && arg[1] != NULL && take_policy(arg[1], config))
            arg++;
        else if (strcmp(*arg, "-smp") == 0 && arg[1] != NULL && take_processors(arg[1], config))
            arg++;
        else if (strcmp(*arg, "-seed") == 0 && arg[1] != NULL)
            config->seed = strtoull(*++arg, NULL, 0);
        else if (strcmp(*arg, "-machine") == 0 && arg[1] != NULL &&
                 strcmp(*++arg, "pc,triple-fault=reset") == 0)
            config->triple_fault_resets = true;
        else
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct chardev console = {.send = send};
    struct machine_result result;
    struct error err = {0};
    struct log log;
    struct machine_config config = {
        .rtc_start = 946684800,
        .memory_size = 32ull << 20,
        .deterministic = true,
        .kernel = argv[1],
        .debugcon = &console,
        .debugcon_port = 0xe9,
        .exit_port = true,
        .hpet = true,
        .guest_timeout_instructions = 400ull << 20,
        .log = &log,
    };
    struct machine *m;
    bool hash = false;

    if (argc < 2 || !take_options(argv, &config, &hash)) {
        fprintf(stderr,
                "usage: run_guest <image> [-cpu MODEL] [-smp CORES] "
                "[-machine pc,triple-fault=reset] [-mmu POLICY] [-seed N] [parallel] [hash]\n");
        return NO_EXIT_STATUS;
    }
    if (hash)
        config.debugcon = NULL;
    log_init(&log);
    m = machine_create(&config, &err);
    if (m == NULL) {
        fprintf(stderr, "run_guest: %s\n", err.text);
        return NO_EXIT_STATUS;
    }
    machine_run(m, UINT64_MAX, &result);
    if (hash)
        printf("%" PRIu64 " instructions, state %016" PRIx64 "\n", machine_instructions(m),
               machine_state_hash(m));
    fflush(stdout);
    if (result.end != MACHINE_END_EXIT_PORT)
        fprintf(stderr, "run_guest: %s\n", result.text);
    machine_destroy(m);
    return result.end == MACHINE_END_EXIT_PORT ? (int)(result.value & 0xff) : NO_EXIT_STATUS;
}
