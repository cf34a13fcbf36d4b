/*
 * Anybody may type anything into the monitor: the input is what a client sends to a stopped
 * machine, whose guest is a loop in long mode. A run ends after some thousand instructions. Files
 * of the host are out of reach.
 */
#include "frontend/disassemble.h"
#include "frontend/monitor_client.h"
#include "tests/fuzz/fuzz_machine.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INSTRUCTIONS 5000
#define MEMORY       (4u << 20)
#define WALKS        20000 /* of one listing */

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_machine f;
    struct typist *t = calloc(1, sizeof(*t));
    struct machine_result result;

    t->data = data;
    t->left = size;
    fuzz_machine_begin(&f, guest, sizeof(guest), LOADER_ENTRY_FLAT64, MEMORY, t, wait);
    t->machine = f.machine;
    monitor_client_begin(&t->client, t->machine, &tools, -1, heard, t);
    t->client.monitor.no_files = true;
    t->client.monitor.walks = WALKS;
    machine_stop(t->machine);
    machine_run(t->machine, INSTRUCTIONS, &result);
    monitor_client_ended(&t->client, result.text);
    monitor_client_end(&t->client);
    fuzz_machine_end(&f);
    free(t);
    return 0;
}
