/*
 * A debugger's client may send anything: the input is packets, a length byte before each, framed
 * here so that the checksum is right (raw bytes if the length is 0xff and more follow). The guest
 * is a loop in real mode; a run ends after some thousand instructions.
 */
#include "frontend/gdb_session.h"
#include "tests/fuzz/fuzz_machine.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INSTRUCTIONS 5000

/* inc ax; inc eax; mov [600h], ax; jmp back to the start */
static const uint8_t guest[] = {0x40, 0x66, 0x40, 0xa3, 0x00, 0x06, 0xeb, 0xf8};

struct client {
    const uint8_t *data;
    size_t left;
    struct machine *machine;
    struct gdb_session session;
    size_t heard;
};

static const struct report_tools no_tools;

static void heard(void *opaque, const void *bytes, size_t count)
{
    struct client *c = opaque;
    const uint8_t *b = bytes;

    for (size_t n = 0; n < count; n++)
        c->heard += b[n]; /* all of it is there */
}

/* The machine is parked: the next packet. */
static void wait(void *opaque, uint64_t ns)
{
    struct client *c = opaque;
    struct gdb_reply in = {0}, out = {0};
    size_t length;

    (void)ns;
    gdb_session_parked(&c->session);
    if (c->left == 0 || c->session.detached) {
        machine_quit(c->machine, MACHINE_END_QUIT, 0);
        return;
    }
    length = *c->data++;
    c->left--;
    if (length == 0xff) {
        gdb_session_input(&c->session, c->data, c->left);
        c->left = 0;
        return;
    }
    length = length < c->left ? length : c->left;
    gdb_reply_binary(&in, c->data, length);
    gdb_reply_frame(&out, &in);
    gdb_session_input(&c->session, out.text, out.length);
    gdb_reply_free(&in);
    gdb_reply_free(&out);
    c->data += length;
    c->left -= length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_machine f;
    struct client *c = calloc(1, sizeof(*c));
    struct machine_result result;

    c->data = data;
    c->left = size;
    fuzz_machine_begin(&f, guest, sizeof(guest), LOADER_ENTRY_FLAT16, MACHINE_MEMORY_MIN, c, wait);
    c->machine = f.machine;
    gdb_session_begin(&c->session, c->machine, &no_tools, heard, c);
    machine_run(c->machine, INSTRUCTIONS, &result);
    gdb_session_ended(&c->session, 0);
    gdb_session_end(&c->session);
    fuzz_machine_end(&f);
    free(c);
    return 0;
}
