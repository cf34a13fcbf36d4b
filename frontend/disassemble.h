/* Capstone as the disassembler of machine/report.h. */
#ifndef FRONTEND_DISASSEMBLE_H
#define FRONTEND_DISASSEMBLE_H

#include <stddef.h>
#include <stdint.h>

/* As report_tools.disassemble; opaque is not used. */
size_t disassemble(void *opaque, const uint8_t *bytes, size_t count, uint64_t address,
                   unsigned bits, char *text, size_t size);

#endif
