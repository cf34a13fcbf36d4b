/*
 * The index over the instruction table: what the decoder wants to know of each row, and the rows
 * of each opcode. Only for cpu/decode*.c.
 */
#ifndef CPU_DECODE_INDEX_H
#define CPU_DECODE_INDEX_H

#include "cpu/decode.h"

#define NO_ENTRY 0xffff

/* How the immediate bytes of a row are read. */
enum imm_kind {
    IMM_NONE,
    IMM_B,     /* one byte, zero-extended */
    IMM_BS,    /* one byte, sign-extended */
    IMM_W,     /* two bytes */
    IMM_Z,     /* two or four by operand size, sign-extended */
    IMM_V,     /* two, four or eight by operand size */
    IMM_WB,    /* ENTER: a word, then a byte in bits 16 to 23 */
    IMM_JB,    /* branch displacement, one byte */
    IMM_JZ,    /* branch displacement, two or four by operand size */
    IMM_FAR,   /* offset by operand size, then selector */
    IMM_MOFFS, /* an address by address size */
};

/* A row, prepared for the decoder. */
struct row_info {
    uint8_t imm;      /* enum imm_kind */
    bool modrm;       /* a ModRM byte follows the opcode */
    bool rm_is_byte;  /* the E operand is a byte register or byte in memory */
    bool reg_is_byte; /* likewise G */
    bool in_opcode;   /* Z: register in the opcode */
    bool mod_reg;     /* ModRM.mod is taken for 3 */
    bool vsib;        /* the index is a vector register */
    bool rm_general;  /* ModRM.rm names a general register: EVEX.X does not extend it */
    bool reg_general; /* ModRM.reg likewise: EVEX.R' makes it undefined */
    bool mask_reg; /* opmask registers in ModRM.reg, ModRM.rm and VEX.vvvv: there are only eight */
    bool mask_rm, mask_vvvv;
    bool ends; /* the block ends after it */
};

struct entry {
    uint16_t row;
    uint16_t next; /* next entry of the same opcode, or NO_ENTRY */
};

struct decoder {
    uint16_t first[MAP_COUNT][256];
    struct row_info *info; /* one for each row */
    struct entry *entries;
    unsigned entry_count;
};

#endif
