/*
 * The decoder: bytes to struct insn, driven by the instruction table. The index over the table is
 * built once per decoder; decoders hold no other state and may be shared by vCPUs.
 * Source: Intel SDM volume 2A, chapter 2.
 */
#ifndef CPU_DECODE_H
#define CPU_DECODE_H

#include "cpu/cpu.h"

#define INSN_MAX_LENGTH 15

struct decoder;

/* Checks the table for contradictions (a CHECK: they are ours) and builds the index. */
struct decoder *decoder_create(void);
void decoder_destroy(struct decoder *d);

enum decode_result {
    DECODE_OK,
    DECODE_MORE,     /* the instruction goes on beyond the bytes given */
    DECODE_TOO_LONG, /* more than 15 bytes: #GP(0) */
};

/*
 * Decodes one instruction.
 *   cpu     for features and the table's gates; not changed
 *   mode    mode word, cpu/mode.h
 *   bytes   where it starts; available: how many bytes may be read, at least 1
 *   offset  of its first byte in its linear page, 0 to 4095
 *   out     filled on DECODE_OK; anything that no row fits becomes op_ud with its length
 *   attrs   receives enum insn_attr of the row (A_END for op_ud and the like)
 */
enum decode_result decode_insn(const struct vcpu *cpu, uint32_t mode, const uint8_t *bytes,
                               unsigned available, unsigned offset, struct insn *out,
                               uint32_t *attrs);

/* How many bytes the memory operand of an EVEX row has: of vectors of `length` bytes, or an element
 * that is broadcast. */
unsigned evex_memory_bytes(const struct insn_row *row, unsigned length, bool broadcast);

/* What the decoder puts in place of a row that may not run now; in ops/control.c. */
op_fn op_ud;        /* #UD */
op_fn op_gap;       /* #UD, counted and reported: Gnomon knows no such instruction */
op_fn op_gp0;       /* #GP(0): privileged */
op_fn op_nm;        /* #NM */
op_fn op_block_end; /* after the last instruction of a block that does not jump */

/* Row number of the entries above in insn.row. */
#define INSN_ROW_NONE 0xffff

#endif
