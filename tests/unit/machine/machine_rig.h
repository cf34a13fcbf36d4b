/* A machine for tests: a guest of guests.h, a serial port that collects what is sent. */
#ifndef TESTS_UNIT_MACHINE_MACHINE_RIG_H
#define TESTS_UNIT_MACHINE_MACHINE_RIG_H

#include "base/bits.h"
#include "base/log.h"
#include "devices/chardev.h"
#include "machine/debug.h"
#include "machine/machine.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct rig {
    struct machine_config config;
    struct log log;
    struct chardev serial;
    char path[64];      /* the guest's image */
    char output[4096];  /* of the serial port */
    size_t output_count;
    struct machine *machine;
    struct machine_result result;
};

static void rig_send(struct chardev *c, const uint8_t *bytes, size_t count)
{
    struct rig *r = container_of(c, struct rig, serial);

    for (size_t n = 0; n < count && r->output_count < sizeof(r->output) - 1; n++)
        r->output[r->output_count++] = (char)bytes[n];
}

static void rig_init(struct rig *r, const uint8_t *image, const uint8_t *end,
                     enum loader_entry entry)
{
    int fd;

    memset(r, 0, sizeof(*r));
    log_init(&r->log);
    strcpy(r->path, "/tmp/gnomon-test-XXXXXX");
    fd = mkstemp(r->path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, image, (size_t)(end - image)), end - image);
    close(fd);
    r->serial.send = rig_send;
    r->config = (struct machine_config){
        .memory_size = 32 << 20,
        .deterministic = true,
        .icount_shift = 6,
        .hpet = true,
        .kernel = r->path,
        .kernel_entry = entry,
        .serial = {&r->serial},
        .log = &r->log,
    };
}

#define RIG16(r, name) rig_init((r), guest_##name, guest_##name##_end, LOADER_ENTRY_FLAT16)
#define RIG64(r, name) rig_init((r), guest_##name, guest_##name##_end, LOADER_ENTRY_FLAT64)

/* A machine of the rig's configuration. */
static inline struct machine *rig_create(struct rig *r)
{
    struct error err = {0};

    r->machine = machine_create(&r->config, &err);
    ck_assert_msg(r->machine != NULL, "%s", err.text);
    return r->machine;
}

static inline enum machine_end rig_run(struct rig *r, uint64_t instructions)
{
    machine_run(r->machine, instructions, &r->result);
    return r->result.end;
}

/* The value of a register of the processor that is looked at. */
static inline uint64_t rig_register(struct rig *r, const char *name)
{
    uint8_t bytes[MACHINE_REGISTER_BYTES_MAX];
    uint64_t value = 0;

    for (unsigned n = 0; n < machine_register_count(); n++) {
        if (strcmp(machine_register_info(n)->name, name) != 0)
            continue;
        machine_register_get(r->machine, n, bytes);
        for (unsigned k = 8; k-- > 0;)
            value = value << 8 | bytes[k];
        return value;
    }
    ck_abort_msg("no register %s", name);
}

static inline void rig_destroy(struct rig *r)
{
    machine_destroy(r->machine);
    r->machine = NULL;
    unlink(r->path);
}

/* The seed of this run: GNOMON_SEED, or the time. */
static inline uint64_t rig_seed(void)
{
    const char *text = getenv("GNOMON_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);

    printf("GNOMON_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

#endif
