#include "frontend/disassemble.h"

#include <capstone/capstone.h>
#include <stdio.h>

size_t disassemble(void *opaque, const uint8_t *bytes, size_t count, uint64_t address,
                   unsigned bits, char *text, size_t size)
{
    cs_mode mode = bits == 64 ? CS_MODE_64 : bits == 32 ? CS_MODE_32 : CS_MODE_16;
    csh handle;
    cs_insn *insn;
    size_t length = 0;

    (void)opaque;
    if (cs_open(CS_ARCH_X86, mode, &handle) != CS_ERR_OK)
        return 0;
    if (cs_disasm(handle, bytes, count, address, 1, &insn) == 1) {
        snprintf(text, size, "%s %s", insn[0].mnemonic, insn[0].op_str);
        length = insn[0].size;
        cs_free(insn, 1);
    }
    cs_close(&handle);
    return length;
}
