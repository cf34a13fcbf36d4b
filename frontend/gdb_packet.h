/*
 * Packets of GDB's remote protocol: $data#checksum, acknowledged by '+' or '-', and the single byte
 * 03h that interrupts. Source: the GDB manual, "Remote Protocol", "Overview" and "Packet
 * Acknowledgment".
 */
#ifndef FRONTEND_GDB_PACKET_H
#define FRONTEND_GDB_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GDB_PACKET_MAX 16384 /* bytes of data, told to the client as PacketSize */

enum gdb_event {
    GDB_NOTHING,
    GDB_PACKET, /* data[0..length), with a 0 behind it; escapes undone */
    GDB_BAD,    /* a packet with a wrong checksum, or too long: ask for it again */
    GDB_ACK,
    GDB_NACK,
    GDB_INTERRUPT,
};

struct gdb_parser {
    uint8_t state;
    bool escaped, too_long;
    uint8_t sum, expected;
    size_t length;
    char data[GDB_PACKET_MAX + 1];
};

/* One byte from the client. */
enum gdb_event gdb_parse(struct gdb_parser *p, uint8_t byte);

/* Text of a reply while it is put together; grows as needed. */
struct gdb_reply {
    char *text;
    size_t length, capacity;
};

void gdb_reply_add(struct gdb_reply *r, const void *bytes, size_t count);
void gdb_reply_text(struct gdb_reply *r, const char *text);
void gdb_reply_format(struct gdb_reply *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void gdb_reply_hex(struct gdb_reply *r, const void *bytes, size_t count);

/* Binary data: '#', '$', '*', '}' escaped. */
void gdb_reply_binary(struct gdb_reply *r, const void *bytes, size_t count);
void gdb_reply_free(struct gdb_reply *r);

/* "$text#xx" of the reply into another one. */
void gdb_reply_frame(struct gdb_reply *out, const struct gdb_reply *r);

/* Value of a hexadecimal digit, or -1. */
int gdb_hex_digit(char c);

/* Reads hexadecimal digits at *text, up to 64 bits, and moves *text behind them. False: none. */
bool gdb_take_hex(const char **text, uint64_t *value);

/* count bytes from twice as many digits; false if they are not there. */
bool gdb_take_bytes(const char **text, uint8_t *bytes, size_t count);

#endif
