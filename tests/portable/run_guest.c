/*
 * Runs a guest program of tests/guest/ on a whole machine, as tests/guest/run.sh does with the
 * emulator's front end, which builds without libraries do not have. The debug console goes to
 * standard output; the exit status is the guest's, or 100 if it did not end by the exit port.
 *
 *     run_guest <image> [-cpu MODEL] [-machine pc,triple-fault=reset] [hash]
 *
 * With "hash" it prints how many instructions ran and a hash over all state, instead of the
 * console: the same numbers on every host.
 */
#include "base/log.h"
#include "devices/chardev.h"
#include "machine/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NO_EXIT_STATUS 100

static void send(struct chardev *c, const uint8_t *bytes, size_t count)
{
    (void)c;
    fwrite(bytes, 1, count, stdout);
}

/* The options of the front end that guest programs are run with, into the configuration. */
static bool take_options(char **argv, struct machine_config *config, bool *hash)
{
    for (char **arg = argv + 2; *arg != NULL; arg++) {
        if (strcmp(*arg, "hash") == 0)
            *hash = true;
        else if (strcmp(*arg, "-cpu") == 0 && arg[1] != NULL)
            config->cpu = *++arg;
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
        fprintf(stderr, "usage: run_guest <image> [-cpu MODEL] "
                        "[-machine pc,triple-fault=reset] [hash]\n");
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
