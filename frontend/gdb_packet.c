#include "frontend/gdb_packet.h"

#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum state { IDLE, DATA, SUM_HIGH, SUM_LOW };

int gdb_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum gdb_event parse_idle(struct gdb_parser *p, uint8_t byte)
{
    switch (byte) {
    case '$':
        p->state = DATA;
        p->escaped = p->too_long = false;
        p->sum = 0;
        p->length = 0;
        return GDB_NOTHING;
    case '+':
        return GDB_ACK;
    case '-':
        return GDB_NACK;
    case 3:
        return GDB_INTERRUPT;
    default:
        return GDB_NOTHING;
    }
}

static void parse_data(struct gdb_parser *p, uint8_t byte)
{
    if (byte == '#') {
        p->state = SUM_HIGH;
        return;
    }
    p->sum = (uint8_t)(p->sum + byte);
    if (byte == '}' && !p->escaped) {
        p->escaped = true;
        return;
    }
    if (p->length < GDB_PACKET_MAX)
        p->data[p->length++] = (char)(p->escaped ? byte ^ 0x20 : byte);
    else
        p->too_long = true;
    p->escaped = false;
}

enum gdb_event gdb_parse(struct gdb_parser *p, uint8_t byte)
{
    int digit = gdb_hex_digit((char)byte);

    switch ((enum state)p->state) {
    case IDLE:
        return parse_idle(p, byte);
    case DATA:
        parse_data(p, byte);
        return GDB_NOTHING;
    case SUM_HIGH:
        p->expected = (uint8_t)((unsigned)digit << 4);
        p->too_long |= digit < 0;
        p->state = SUM_LOW;
        return GDB_NOTHING;
    case SUM_LOW:
        break;
    }
    p->state = IDLE;
    if (digit < 0 || p->too_long || (p->expected | digit) != p->sum)
        return GDB_BAD;
    p->data[p->length] = '\0';
    return GDB_PACKET;
}

void gdb_reply_add(struct gdb_reply *r, const void *bytes, size_t count)
{
    if (r->length + count + 1 > r->capacity) {
        r->capacity = (r->length + count + 1) * 2;
        r->text = realloc(r->text, r->capacity);
        CHECK(r->text != NULL);
    }
    memcpy(r->text + r->length, bytes, count);
    r->length += count;
    r->text[r->length] = '\0';
}

void gdb_reply_text(struct gdb_reply *r, const char *text)
{
    gdb_reply_add(r, text, strlen(text));
}

void gdb_reply_format(struct gdb_reply *r, const char *format, ...)
{
    char text[512];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    CHECK(n >= 0 && (size_t)n < sizeof(text));
    gdb_reply_add(r, text, (size_t)n);
}

void gdb_reply_hex(struct gdb_reply *r, const void *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *b = bytes;

    for (size_t n = 0; n < count; n++)
        gdb_reply_add(r, (const char[]){digits[b[n] >> 4], digits[b[n] & 15]}, 2);
}

void gdb_reply_binary(struct gdb_reply *r, const void *bytes, size_t count)
{
    const char *b = bytes;

    for (size_t n = 0; n < count; n++) {
        if (strchr("#$*}", b[n]) != NULL && b[n] != '\0')
            gdb_reply_add(r, (const char[]){'}', (char)(b[n] ^ 0x20)}, 2);
        else
            gdb_reply_add(r, &b[n], 1);
    }
}

void gdb_reply_free(struct gdb_reply *r)
{
    free(r->text);
    *r = (struct gdb_reply){0};
}

void gdb_reply_frame(struct gdb_reply *out, const struct gdb_reply *r)
{
    uint8_t sum = 0;

    for (size_t n = 0; n < r->length; n++)
        sum = (uint8_t)(sum + (uint8_t)r->text[n]);
    gdb_reply_add(out, "$", 1);
    if (r->length > 0)
        gdb_reply_add(out, r->text, r->length);
    gdb_reply_format(out, "#%02x", sum);
}

bool gdb_take_hex(const char **text, uint64_t *value)
{
    const char *start = *text;
    int digit;

    *value = 0;
    while (*text - start < 16 && (digit = gdb_hex_digit(**text)) >= 0) {
        *value = *value << 4 | (unsigned)digit;
        ++*text;
    }
    return *text != start && gdb_hex_digit(**text) < 0;
}

bool gdb_take_bytes(const char **text, uint8_t *bytes, size_t count)
{
    for (size_t n = 0; n < count; n++, *text += 2) {
        int high = gdb_hex_digit((*text)[0]), low = high < 0 ? -1 : gdb_hex_digit((*text)[1]);

        if (low < 0)
            return false;
        bytes[n] = (uint8_t)(high << 4 | low);
    }
    return true;
}
