/* A small deterministic machine with a guest of a few bytes, for harnesses that talk to it. */
#ifndef TESTS_FUZZ_FUZZ_MACHINE_H
#define TESTS_FUZZ_FUZZ_MACHINE_H

#include "base/error.h"
#include "base/log.h"
#include "machine/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fuzz_machine {
    char path[64]; /* of the guest's image */
    struct log log;
    struct machine *machine;
};

/* opaque and wait are the host's, as in struct machine_host. */
static inline void fuzz_machine_begin(struct fuzz_machine *f, const uint8_t *guest, size_t size,
                                      enum loader_entry entry, uint64_t memory, void *opaque,
                                      void (*wait)(void *opaque, uint64_t ns))
{
    struct machine_config config = {
        .memory_size = memory,
        .deterministic = true,
        .kernel = f->path,
        .kernel_entry = entry,
        .log = &f->log,
        .host = {.opaque = opaque, .wait = wait},
    };
    struct error err = {0};
    int fd;

    strcpy(f->path, "/tmp/gnomon-fuzz-XXXXXX");
    fd = mkstemp(f->path);
    if (fd < 0 || write(fd, guest, size) != (ssize_t)size)
        abort();
    close(fd);
    log_init(&f->log);
    f->machine = machine_create(&config, &err);
    if (f->machine == NULL) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
}

static inline void fuzz_machine_end(struct fuzz_machine *f)
{
    machine_destroy(f->machine);
    unlink(f->path);
}

#endif
