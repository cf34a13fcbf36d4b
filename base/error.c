#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Makes the text one clean line: control characters (a file name may hold them) become '?', and
 * a character that truncation cut in two is dropped. */
static void tidy(char *text, bool truncated)
{
    size_t length = strlen(text);

    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f)
            text[i] = '?';
    }
    if (!truncated)
        return;
    while (length > 0 && ((unsigned char)text[length - 1] & 0xc0) == 0x80)
        length--;
    if (length > 0 && ((unsigned char)text[length - 1] & 0x80) != 0)
        length--;
    text[length] = '\0';
}

bool error_set(struct error *err, const char *format, ...)
{
    va_list args;
    int wanted;

    if (err == NULL || err->set)
        return false;
    va_start(args, format);
    wanted = vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    tidy(err->text, wanted >= (int)sizeof(err->text));
    err->set = true;
    return false;
}

bool error_prefix(struct error *err, const char *format, ...)
{
    char prefix[sizeof(err->text)];
    va_list args;
    size_t prefix_length, room, length;
    bool truncated;

    if (err == NULL || !err->set)
        return false;
    va_start(args, format);
    vsnprintf(prefix, sizeof(prefix) - 2, format, args);
    va_end(args);
    strcat(prefix, ": ");

    prefix_length = strlen(prefix);
    room = sizeof(err->text) - 1 - prefix_length;
    length = strlen(err->text);
    truncated = length > room;
    if (truncated)
        length = room;
    memmove(err->text + prefix_length, err->text, length);
    memcpy(err->text, prefix, prefix_length);
    err->text[prefix_length + length] = '\0';
    tidy(err->text, truncated);
    return false;
}
