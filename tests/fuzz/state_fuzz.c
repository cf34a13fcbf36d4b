/* A state stream is hostile input: the input's first bytes choose what a loader would ask for. */
#include "base/state.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void load_field(struct state *s, uint8_t kind)
{
    uint8_t u8, bytes[37];
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    bool flag;

    switch (kind % 7) {
    case 0:
        state_u8(s, &u8);
        break;
    case 1:
        state_u16(s, &u16);
        break;
    case 2:
        state_u32(s, &u32);
        state_check(s, u32 < 0x80000000, "out of range");
        break;
    case 3:
        state_u64(s, &u64);
        break;
    case 4:
        state_bool(s, &flag);
        break;
    case 5:
        state_section(s, "section", kind / 7);
        break;
    default:
        state_bytes(s, bytes, kind % sizeof(bytes));
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t fields = size > 0 ? data[0] % 64 : 0;
    struct error err = {0};
    struct state *s;

    if (size < 1 + fields)
        return 0;
    s = state_create_loading(data + 1 + fields, size - 1 - fields);
    for (size_t i = 0; i < fields; i++)
        load_field(s, data[1 + i]);
    if (!state_finish(s, &err) && strlen(err.text) == 0)
        __builtin_trap();
    state_destroy(s);
    return 0;
}
