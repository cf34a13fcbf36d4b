/*
 * A debugger's client may send anything: the input is packets, a length byte before each, framed
 * here so that the checksum is right (raw bytes if the length is 0xff and more follow). The guest
 * is a loop in real mode; a run ends after some thousand instructions.
 */
#include "base/log.h"
#include "base/error.h"
#include "frontend/gdb_session.h"
#include "machine/machine.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INSTRUCTIONS 5000
#define GUEST_PATH   "/tmp/gnomon-fuzz-gdb-XXXXXX"

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
    struct client *c = calloc(1, sizeof(*c));
    struct machine_result result;
    struct error err = {0};
    struct log log;

    write_guest(path);
    log_init(&log);
    c->data = data;
    c->left = size;
    c->machine = machine_create(
        &(struct machine_config){
            .memory_size = MACHINE_MEMORY_MIN,
            .deterministic = true,
            .kernel = path,
            .kernel_entry = LOADER_ENTRY_FLAT16,
            .log = &log,
            .host = {.opaque = c, .wait = wait},
        },
        &err);
    if (c->machine == NULL) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    gdb_session_begin(&c->session, c->machine, &no_tools, heard, c);
    machine_run(c->machine, INSTRUCTIONS, &result);
    gdb_session_ended(&c->session, 0);
    gdb_session_end(&c->session);
    machine_destroy(c->machine);
    unlink(path);
    free(c);
    return 0;
}
