#include "guest.h"

void *memset(void *to, int value, size_t size)
{
    uint8_t *p = to;

    for (size_t n = 0; n < size; n++)
        p[n] = (uint8_t)value;
    return to;
}

void *memcpy(void *to, const void *from, size_t size)
{
    uint8_t *p = to;
    const uint8_t *q = from;

    for (size_t n = 0; n < size; n++)
        p[n] = q[n];
    return to;
}

/* Where formatted text goes. */
struct sink {
    char *out;
    unsigned room, used;
};

static void put(struct sink *s, char c)
{
    if (s->used + 1 < s->room)
        s->out[s->used++] = c;
}

static void put_hex(struct sink *s, uint64_t value, unsigned width)
{
    unsigned digits = 1;

    while (digits < 16 && value >> (4 * digits) != 0)
        digits++;
    while (width > digits) {
        put(s, '0');
        width--;
    }
    while (digits-- > 0)
        put(s, "0123456789abcdef"[(value >> (4 * digits)) & 15]);
}

static void put_decimal(struct sink *s, unsigned value)
{
    char digits[10];
    unsigned count = 0;

    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    while (count-- > 0)
        put(s, digits[count]);
}

static void put_text(struct sink *s, const char *text)
{
    while (*text != '\0')
        put(s, *text++);
}

unsigned format_text(char *out, unsigned size, const char *format, __builtin_va_list arguments)
{
    struct sink s = {out, size, 0};

    for (; *format != '\0'; format++) {
        unsigned width = 0, longs = 0;
        int number;

        if (*format != '%') {
            put(&s, *format);
            continue;
        }
        for (format++; *format >= '0' && *format <= '9'; format++)
            width = width * 10 + (unsigned)(*format - '0');
        for (; *format == 'l'; format++)
            longs++;
        switch (*format) {
        case 's':
            put_text(&s, __builtin_va_arg(arguments, const char *));
            break;
        case 'c':
            put(&s, (char)__builtin_va_arg(arguments, int));
            break;
        case 'd':
            number = __builtin_va_arg(arguments, int);
            if (number < 0)
                put(&s, '-');
            put_decimal(&s, number < 0 ? 0u - (unsigned)number : (unsigned)number);
            break;
        case 'u':
            put_decimal(&s, __builtin_va_arg(arguments, unsigned));
            break;
        case 'p':
            put_hex(&s, __builtin_va_arg(arguments, unsigned long), 0);
            break;
        case 'x':
            put_hex(&s,
                    longs == 2   ? __builtin_va_arg(arguments, uint64_t)
                    : longs == 1 ? __builtin_va_arg(arguments, unsigned long)
                                 : __builtin_va_arg(arguments, unsigned),
                    width);
            break;
        default:
            put(&s, *format);
            break;
        }
    }
    if (size > 0)
        out[s.used] = '\0';
    return s.used;
}

void print(const char *format, ...)
{
    char text[400];
    __builtin_va_list arguments;
    unsigned length;

    __builtin_va_start(arguments, format);
    length = format_text(text, sizeof(text), format, arguments);
    __builtin_va_end(arguments);
    for (unsigned n = 0; n < length; n++)
        outb(0xe9, (uint8_t)text[n]);
}
