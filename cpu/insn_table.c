/* The instruction table, expanded from cpu/insn.def. */
#include "cpu/insn.h"

#include <stddef.h>

/* First pass: declare every op function that a row names. */
#define OPS_1(s)  op_fn op_##s;
#define OPS_R1(s) op_fn op_##s;
#define OPS_M1(s) op_fn op_##s;
#define OPS_RM(s) op_fn op_##s##_r, op_##s##_m;
#define OPS_B(s)  op_fn op_##s##_r8, op_##s##_m8;
#define OPS_BR(s) op_fn op_##s##_8;
#define OPS_V(s)                                                                                   \
    op_fn op_##s##_r16, op_##s##_r32, op_##s##_r64, op_##s##_m16, op_##s##_m32, op_##s##_m64;
#define OPS_VM(s) op_fn op_##s##_m16, op_##s##_m32, op_##s##_m64;
#define OPS_VR(s) op_fn op_##s##_16, op_##s##_32, op_##s##_64;
#define OPS_V0(s) op_fn op_##s##_16, op_##s##_32, op_##s##_64;
#define OPS_Y0(s) op_fn op_##s##_32, op_##s##_64;
#define OPS_Y(s)  op_fn op_##s##_r32, op_##s##_r64, op_##s##_m32, op_##s##_m64;
#define OPS_L(s)  op_fn op_##s##_x_r, op_##s##_y_r, op_##s##_x_m, op_##s##_y_m;
#define OPS_LR(s) op_fn op_##s##_x, op_##s##_y;
#define OPS_LM(s) op_fn op_##s##_x, op_##s##_y;
#define INSN(id, mnemonic, map, opcode, prefix, modrm, modes, size, operands, feature, fr, fw, fu, \
             attrs, ops, policy, manual)                                                           \
    ops
#include "cpu/insn.def"
#undef INSN
#undef OPS_1
#undef OPS_R1
#undef OPS_M1
#undef OPS_RM
#undef OPS_B
#undef OPS_BR
#undef OPS_V
#undef OPS_VM
#undef OPS_VR
#undef OPS_V0
#undef OPS_Y0
#undef OPS_Y
#undef OPS_L
#undef OPS_LR
#undef OPS_LM

/* Second pass: the rows. */
#include "cpu/ops/ops.h"

#define NO_MODRM   MODRM_NONE, 0
#define ANY        MODRM_ANY, 0
#define MEM        MODRM_MEM, 0
#define REG        MODRM_REG, 0
#define EXT(n)     MODRM_EXT, n
#define MEM_EXT(n) MODRM_MEM_EXT, n
#define REG_EXT(n) MODRM_REG_EXT, n
#define EXACT(n)   MODRM_EXACT, n

/* clang-format off */
#define INSN(id, mnemonic, map, opcode, prefix, modrm, modes, size, operands, feature, fr, fw, fu, \
             attrs, ops, policy, manual)                                                           \
    {#id, mnemonic, map, opcode, prefix, modrm, modes, size, operands,                             \
     feature, fr, fw, fu, attrs, ops, policy, manual},
/* clang-format on */

const struct insn_row insn_rows[] = {
#include "cpu/insn.def"
};

const unsigned insn_row_count = ARRAY_SIZE(insn_rows);
