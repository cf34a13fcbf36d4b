#include "base/log.h"

#include <stdarg.h>

void log_init(struct log *log)
{
    log->mask = 0;
    log->stream = stderr;
}

void log_write(const struct log *log, uint32_t mask, const char *format, ...)
{
    va_list args;

    if (!log_on(log, mask))
        return;
    va_start(args, format);
    vfprintf(log->stream, format, args);
    va_end(args);
}
