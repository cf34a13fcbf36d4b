/* The local descriptor table of both sides. */
#include "diff.h"

struct diff_segment layout_segment(unsigned n)
{
    struct diff_segment s = {
        .base = (uint32_t)SEGMENT_BASE,
        .limit = SEGMENT_LIMIT_DATA,
        .big = true,
        .writable = true,
        .present = true,
    };

    if (n >= LDT_SLOTS) {
        s.base = (uint32_t)CODE_BASE + (n - LDT_SLOTS) / 2 * SLOT_SIZE;
        s.limit = SLOT_SIZE - 1;
        s.code = true;
        s.big = (n - LDT_SLOTS) % 2;
        return s;
    }
    switch ((enum diff_descriptor)n) {
    case LDT_DATA16:
        s.big = false;
        break;
    case LDT_READ:
        s.writable = false;
        break;
    case LDT_EXECUTE:
        s.code = true;
        s.writable = false; /* for code: readable */
        break;
    case LDT_ABSENT:
        s.present = false;
        break;
    case LDT_DOWN: /* what is above the limit, up to the data pages' last bytes and beyond */
        s.down = true;
        s.limit = 0x10ff;
        break;
    default:
        break;
    }
    return s;
}
