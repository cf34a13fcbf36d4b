/*
 * Anybody may type anything into the monitor: the input is what a client sends to a stopped
 * machine, whose guest is a loop in long mode. A run ends after some thousand instructions. Files
 * of the host are out of reach.
 */
#include "base/error.h"
#include "base/log.h"
#include "frontend/disassemble.h"
#include "frontend/monitor_client.h"
#include "machine/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INSTRUCTIONS 5000
#define MEMORY       (4u << 20)
#define WALKS        20000 /* of one listing */
#define GUEST_PATH   "/tmp/gnomon-fuzz-monitor-XXXXXX"

/* inc qword [300000h]; mov rax, cr3; mov cr3, rax; jmp back to the start */
static const uint8_t guest[] = {0x48, 0xff, 0x04, 0x25, 0x00, 0x00, 0x30, 0x00,
                                0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0xeb, 0xf0};

struct typist {
    const uint8_t *data;
    size_t left;
    struct machine *machine;
    struct monitor_client client;
    size_t heard;
};

static const struct report_tools tools = {.disassemble = disassemble};

static void heard(void *opaque, const void *bytes, size_t count)
{
    struct typist *t = opaque;
    const uint8_t *b = bytes;

    for (size_t n = 0; n < count; n++)
        t->heard += b[n]; /* all of it is there */
}

/* The machine is parked. */
static void wait(void *opaque, uint64_t ns)
{
    struct typist *t = opaque;

    (void)ns;
    monitor_client_parked(&t->client);
    if (t->left == 0) {
        machine_quit(t->machine, MACHINE_END_QUIT, 0);
        return;
    }
    monitor_client_input(&t->client, t->data, t->left);
    t->left = 0;
}

static void write_guest(char *path)
{
    int fd;

    strcpy(path, GUEST_PATH);
    fd = mkstemp(path);
    if (fd < 0 || write(fd, guest, sizeof(guest)) != sizeof(guest))
        abort();
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[sizeof(GUEST_PATH)];
    struct typist *t = calloc(1, sizeof(*t));
    struct machine_result result;
    struct error err = {0};
    struct log log;

    write_guest(path);
    log_init(&log);
    t->data = data;
    t->left = size;
    t->machine = machine_create(
        &(struct machine_config){
            .memory_size = MEMORY,
            .deterministic = true,
            .kernel = path,
            .kernel_entry = LOADER_ENTRY_FLAT64,
            .log = &log,
            .host = {.opaque = t, .wait = wait},
        },
        &err);
    if (t->machine == NULL) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    monitor_client_begin(&t->client, t->machine, &tools, -1, heard, t);
    t->client.monitor.no_files = true;
    t->client.monitor.walks = WALKS;
    machine_stop(t->machine);
    machine_run(t->machine, INSTRUCTIONS, &result);
    monitor_client_ended(&t->client, result.text);
    monitor_client_end(&t->client);
    machine_destroy(t->machine);
    unlink(path);
    free(t);
    return 0;
}
