/*
 * Special forms of op functions: when a block has been decoded, ops whose operands allow it are
 * replaced by shorter ones that do the same (cpu/ops/fast.h), and a comparison with the branch that
 * follows it by one op for both (cpu/ops/fused.c).
 */
#ifndef CPU_SPECIAL_H
#define CPU_SPECIAL_H

#include "cpu/insn.h"

struct special;

struct special *special_create(void);
void special_destroy(struct special *s);

/* Replaces ops of a decoded block of `count` instructions that run together, in 64-bit code those
 * of a comparison and a branch at its end, too. */
void special_apply(const struct special *s, struct insn *insns, unsigned count);

#endif
