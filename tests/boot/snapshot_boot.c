/*
 * snapshot_boot KERNEL INITRD PROCESSORS [SEED]: boots Linux in deterministic mode; then again, but
 * saved at a random instruction, destroyed, restored into a new machine and run to its end. Memory,
 * instruction count, virtual time and console must be those of the uninterrupted run.
 */
#include "base/log.h"
#include "base/state.h"
#include "devices/chardev.h"
#include "machine/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONSOLE_SIZE (1 << 20)

#define INSTRUCTION_LIMIT 6000000000ull

struct console {
    struct chardev chardev;
    size_t count;
    char text[CONSOLE_SIZE];
};

struct trail {
    uint64_t instructions, time, memory, state;
};

static void console_send(struct chardev *c, const uint8_t *bytes, size_t count)
{
    struct console *console = (struct console *)c;

    for (size_t n = 0; n < count && console->count < CONSOLE_SIZE - 1; n++)
        console->text[console->count++] = (char)bytes[n];
}

static struct machine *create(const struct machine_config *config)
{
    struct error err = {0};
    struct machine *m = machine_create(config, &err);

    if (m == NULL) {
        fprintf(stderr, "%s\n", err.text);
        exit(EXIT_FAILURE);
    }
    return m;
}

/* Runs to the power-off. */
static bool finish(struct machine *m, struct trail *t)
{
    struct machine_result result;

    machine_run(m, UINT64_MAX, &result);
    t->instructions = machine_instructions(m);
    t->time = machine_time(m);
    t->memory = machine_memory_state_hash(m);
    t->state = machine_state_hash(m);
    printf("%s after %llu instructions, %llu ns; memory %016llx, state %016llx\n", result.text,
           (unsigned long long)t->instructions, (unsigned long long)t->time,
           (unsigned long long)t->memory, (unsigned long long)t->state);
    return result.end == MACHINE_END_POWER_OFF;
}

/* The machine's state at instruction `at`; the machine itself is gone. */
static struct state *save_at(const struct machine_config *config, uint64_t at)
{
    struct machine *m = create(config);
    struct state *s = state_create_saving();
    struct machine_result result;

    machine_run(m, at, &result);
    if (result.end != MACHINE_END_TARGET) {
        fprintf(stderr, "the run to instruction %llu: %s\n", (unsigned long long)at, result.text);
        exit(EXIT_FAILURE);
    }
    machine_save(m, s);
    machine_destroy(m);
    return s;
}

static bool restored_run(const struct machine_config *config, uint64_t at, struct trail *t)
{
    struct state *saved = save_at(config, at), *s;
    struct machine *m = create(config);
    struct error err = {0};
    const void *bytes;
    size_t length;
    bool ok;

    bytes = state_data(saved, &length);
    printf("saved at instruction %llu: %zu MiB\n", (unsigned long long)at, length >> 20);
    s = state_create_loading(bytes, length);
    ok = machine_load(m, s, &err);
    if (!ok)
        fprintf(stderr, "%s\n", err.text);
    state_destroy(s);
    state_destroy(saved);
    ok = ok && finish(m, t);
    machine_destroy(m);
    return ok;
}

static uint64_t choose_instruction(int argc, char **argv, uint64_t most)
{
    const char *text = argc > 4 ? argv[4] : getenv("GNOMON_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);

    printf("GNOMON_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    for (unsigned n = 0; n < 3; n++)
        seed = (seed ^ seed >> 31) * 0x9e3779b97f4a7c15u;
    return (seed >> 8) % most;
}

int main(int argc, char **argv)
{
    struct console *first = calloc(1, sizeof(*first)), *second = calloc(1, sizeof(*second));
    struct trail whole, parts;
    struct machine *m;
    struct log log;
    bool ok;

    if (argc < 4 || first == NULL || second == NULL) {
        fprintf(stderr, "usage: %s KERNEL INITRD PROCESSORS [SEED]\n", argv[0]);
        return 2;
    }
    log_init(&log);
    first->chardev.send = second->chardev.send = console_send;
    struct machine_config config = {
        .memory_size = 128 << 20,
        .smp = {{1, (unsigned)atoi(argv[3]), 1}, (unsigned)atoi(argv[3])},
        .deterministic = true,
        .icount_shift = 3,
        .hpet = true,
        .rtc_start = 1704067200,
        .kernel = argv[1],
        .initrd = argv[2],
        .append = "console=ttyS0 panic=-1",
        .no_reboot = true,
        .serial = {&first->chardev},
        .guest_timeout_instructions = INSTRUCTION_LIMIT,
        .log = &log,
    };

    m = create(&config);
    ok = finish(m, &whole);
    machine_destroy(m);
    config.serial[0] = &second->chardev;
    ok = ok && restored_run(&config, choose_instruction(argc, argv, whole.instructions), &parts);
    ok = ok && memcmp(&whole, &parts, sizeof(whole)) == 0 &&
         strcmp(first->text, second->text) == 0 && strstr(first->text, "BOOT_OK") != NULL;
    printf("%s\n", ok ? "the same" : "DIFFERENT, or the boot failed");
    if (!ok)
        fwrite(second->text, 1, second->count, stdout);
    free(first);
    free(second);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
