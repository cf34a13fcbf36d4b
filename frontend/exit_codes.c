#include "frontend/exit_codes.h"

int exit_status_of(const struct machine_result *result, uint64_t gap_count)
{
    switch (result->end) {
    case MACHINE_END_NONE:
    case MACHINE_END_TARGET:
    case MACHINE_END_BROKEN:
        break;
    case MACHINE_END_POWER_OFF:
    case MACHINE_END_RESET:
    case MACHINE_END_QUIT:
        return EXIT_STATUS_SUCCESS;
    case MACHINE_END_DEBUG_EXIT:
        return (int)(result->value & 0xff);
    case MACHINE_END_EXIT_PORT:
        return result->value > 255 ? 255 : (int)result->value;
    case MACHINE_END_PANIC:
        return EXIT_STATUS_PANIC;
    case MACHINE_END_TRIPLE_FAULT:
        return gap_count > 0 ? EXIT_STATUS_GAP : EXIT_STATUS_TRIPLE_FAULT;
    case MACHINE_END_HALTED:
        return gap_count > 0 ? EXIT_STATUS_GAP : EXIT_STATUS_HALTED;
    case MACHINE_END_GUEST_TIMEOUT:
        return EXIT_STATUS_GUEST_TIMEOUT;
    case MACHINE_END_TIMEOUT:
        return EXIT_STATUS_TIMEOUT;
    case MACHINE_END_INTERRUPTED:
        return EXIT_STATUS_SIGNAL + (int)(result->value & 0x7f);
    }
    return EXIT_STATUS_INTERNAL;
}

void exit_status_print(FILE *out)
{
#define X(name, status, text) fprintf(out, "  %3d  %s\n", status, text);
#include "frontend/exit_codes.def"
#undef X
}
