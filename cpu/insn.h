/*
 * One decoded instruction, and the table of all instructions (cpu/insn.def).
 *
 * A block is an array of struct insn; running an instruction is calling its op function. Fields are
 * named after where their value stands in the encoding, not after its role (source, destination):
 * the op function knows its operands.
 * Source: Intel SDM volume 2A, chapter 2 and appendix A.
 */
#ifndef CPU_INSN_H
#define CPU_INSN_H

#include <stdbool.h>
#include <stdint.h>

struct vcpu;
struct insn;

typedef void op_fn(struct vcpu *cpu, const struct insn *i);

/* Indices into vcpu.gpr beyond the sixteen registers, used as base or index of an address. */
enum gpr_slot {
    GPR_RAX,
    GPR_RCX,
    GPR_RDX,
    GPR_RBX,
    GPR_RSP,
    GPR_RBP,
    GPR_RSI,
    GPR_RDI,
    GPR_ZERO = 16,    /* always 0: no base, no index */
    GPR_IP_BASE = 17, /* RIP at the start of the linear page that the block lies in */
    GPR_8192 = 18,    /* always 8192: index where a displacement would overflow 32 bits */
    GPR_SLOT_COUNT = 19,
};

enum segment_index {
    SEG_ES,
    SEG_CS,
    SEG_SS,
    SEG_DS,
    SEG_FS,
    SEG_GS,
    SEG_NONE, /* base 0: the flat segments of 64-bit mode */
    SEG_COUNT,
};

enum insn_flags {
    INSN_MEM = 1 << 0,   /* the ModRM operand is memory (or the row has a moffs operand) */
    INSN_FLAT = 1 << 1,  /* no segment checks: linear = base + effective address */
    INSN_A32 = 1 << 2,   /* address size 32: effective addresses wrap at 4 GiB */
    INSN_A16 = 1 << 3,   /* address size 16 */
    INSN_LOCK = 1 << 4,  /* LOCK prefix (or XCHG with memory) */
    INSN_REP = 1 << 5,   /* F3 prefix, where it is not part of the opcode */
    INSN_REPNE = 1 << 6, /* F2 prefix, likewise */
    INSN_LAST = 1 << 7,  /* the last instruction of its block */
};

struct insn {
    op_fn *op;        /* what it does */
    int64_t imm;      /* immediate, extended as the row says, and in EVEX rows the bits of the
                         prefix from bit 8 on (enum insn_evex); for near branches the target as an
                         offset from GPR_IP_BASE; for far pointers selector << 32 | offset; for
                         x87 rows the opcode as FNSTENV stores it, 11 bits */
    int32_t disp;     /* displacement of the memory operand (RIP-relative: from GPR_IP_BASE) */
    uint16_t row;     /* index into insn_rows */
    uint16_t ip_next; /* offset of the next instruction from GPR_IP_BASE */
    uint8_t reg;      /* ModRM.reg with REX.R; for byte registers a byte offset, see below */
    uint8_t rm;       /* ModRM.rm with REX.B if mod is 3; or the register in the opcode's low bits;
                         for byte registers a byte offset */
    uint8_t base;     /* gpr slot of the memory operand's base */
    uint8_t index;    /* gpr slot of its index; A_VSIB: vector register */
    uint8_t scale;    /* shift of the index, 0 to 3 */
    uint8_t seg;      /* enum segment_index of the memory operand */
    uint8_t vvvv;     /* VEX.vvvv register (A_VVVV), with EVEX.V', else 0 */
    uint8_t flags;    /* enum insn_flags */
};

_Static_assert(sizeof(struct insn) == 32 || sizeof(void *) != 8, "two decoded insns a cache line");

/*
 * Byte registers are addressed by their byte offset in vcpu.gpr, so that AH..BH need no branch:
 * register n is n * 8, AH..BH are (n - 4) * 8 + 1 (mirrored on big-endian hosts).
 */

/* What struct insn.imm holds of an EVEX prefix, by bit position. */
enum insn_evex {
    EVEX_IMM8 = 0,
    EVEX_MASK = 8,      /* aaa: opmask register, 0 for none */
    EVEX_ZEROING = 11,  /* z: elements that the mask leaves out are cleared, not kept */
    EVEX_B = 12,        /* b: broadcast, or embedded rounding, or no exceptions */
    EVEX_LENGTH = 13,   /* two bits: 128, 256 or 512 bits; 512 where L'L means something else */
    EVEX_ROUNDING = 15, /* two bits: L'L as it stood there; rounding where b says so */
};

/* ---- The table -------------------------------------------------------------------------- */

/* Opcode maps; those of VEX- and EVEX-encoded instructions apart. */
enum insn_map {
    MAP_1B,
    MAP_0F,
    MAP_0F38,
    MAP_0F3A,
    MAP_VEX_0F,
    MAP_VEX_0F38,
    MAP_VEX_0F3A,
    MAP_EVEX_0F,
    MAP_EVEX_0F38,
    MAP_EVEX_0F3A,
    MAP_COUNT,
};

/* Prefix that is part of the opcode. */
enum insn_prefix {
    PFX_ANY, /* 66, F2 and F3 are ordinary prefixes */
    PFX_NP,  /* none of 66, F2, F3 may be there */
    PFX_66,
    PFX_F3,
    PFX_F2,
    PFX_NO_REP, /* neither F2 nor F3; 66 is the ordinary operand-size prefix */
};

/* What the row asks of ModRM. In the table: NO_MODRM, ANY, MEM, REG, EXT(n), MEM_EXT(n),
 * REG_EXT(n), EXACT(byte). */
enum insn_modrm_class {
    MODRM_NONE,
    MODRM_ANY,
    MODRM_MEM,
    MODRM_REG,
    MODRM_EXT,     /* reg field must be n */
    MODRM_MEM_EXT, /* and mod != 3 */
    MODRM_REG_EXT, /* and mod == 3 */
    MODRM_EXACT,   /* the whole byte */
};

/* In which modes the row exists. */
enum insn_modes {
    IN_ALL,
    IN_NO64,      /* not in 64-bit mode */
    IN_64,        /* only in 64-bit mode */
    IN_PROT,      /* not in real-address or virtual-8086 mode */
    IN_PROT_NO64, /* nor in 64-bit mode */
    IN_NO_B,      /* not with REX.B: PAUSE */
};

/* How the operand size is found; it selects the op function. */
enum insn_size {
    SZ_B,   /* 8 */
    SZ_V,   /* 16, 32, 64 by prefixes */
    SZ_V64, /* as SZ_V, but 64 by default in 64-bit mode (no 32 there): PUSH, POP, ... */
    SZ_F64, /* as SZ_V64, and 66 is ignored in 64-bit mode: near branches */
    SZ_Y,   /* 32, or 64 with REX.W; 66 does not matter */
    SZ_W,   /* 16 */
    SZ_D,   /* 32 */
    SZ_Q,   /* 64 */
    SZ_X,   /* vectors by VEX.L: entry 0 of the op functions is for 128 bits, 1 for 256 */
    /* EVEX rows have one op function for all lengths; their size is the tuple type, which tells how
     * many bytes the memory operand has and so what an 8-bit displacement counts (SDM 2A 2.7.5). */
    SZ_FV,  /* the vector's length; a broadcast element has 4 bytes, 8 with W */
    SZ_HV,  /* half of it; likewise, 4 bytes */
    SZ_FVM, /* the vector's length; no broadcast */
    SZ_HVM, /* half, a quarter, an eighth of it */
    SZ_QVM,
    SZ_OVM,
    SZ_DUP, /* 8 bytes for 128 bits, else the vector's length */
    SZ_E1,  /* 1 to 32 bytes, whatever the length */
    SZ_E2,
    SZ_E4,
    SZ_E8,
    SZ_E16,
    SZ_E32,
    SZ_S4, /* scalars: 4 and 8 bytes, and EVEX.L'L does not matter */
    SZ_S8,
};

/* CPUID features that gate rows. X(NAME, word as in -cpu, leaf, subleaf, register, bit). */
#define CPU_FEATURES(X)                                                                            \
    X(BASE, "base", 0, 0, 0, 0) /* always there */                                                 \
    X(FPU, "fpu", 1, 0, EDX, 0)                                                                    \
    X(VME, "vme", 1, 0, EDX, 1)                                                                    \
    X(TSC, "tsc", 1, 0, EDX, 4)                                                                    \
    X(MSR, "msr", 1, 0, EDX, 5)                                                                    \
    X(CX8, "cx8", 1, 0, EDX, 8)                                                                    \
    X(SEP, "sep", 1, 0, EDX, 11)                                                                   \
    X(CMOV, "cmov", 1, 0, EDX, 15)                                                                 \
    X(CLFSH, "clflush", 1, 0, EDX, 19)                                                             \
    X(MMX, "mmx", 1, 0, EDX, 23)                                                                   \
    X(FXSR, "fxsr", 1, 0, EDX, 24)                                                                 \
    X(SSE, "sse", 1, 0, EDX, 25)                                                                   \
    X(SSE2, "sse2", 1, 0, EDX, 26)                                                                 \
    X(SSE3, "pni", 1, 0, ECX, 0)                                                                   \
    X(PCLMULQDQ, "pclmulqdq", 1, 0, ECX, 1)                                                        \
    X(MONITOR, "monitor", 1, 0, ECX, 3)                                                            \
    X(SSSE3, "ssse3", 1, 0, ECX, 9)                                                                \
    X(FMA, "fma", 1, 0, ECX, 12)                                                                   \
    X(CX16, "cx16", 1, 0, ECX, 13)                                                                 \
    X(PCID, "pcid", 1, 0, ECX, 17)                                                                 \
    X(SSE4_1, "sse4.1", 1, 0, ECX, 19)                                                             \
    X(SSE4_2, "sse4.2", 1, 0, ECX, 20)                                                             \
    X(X2APIC, "x2apic", 1, 0, ECX, 21)                                                             \
    X(MOVBE, "movbe", 1, 0, ECX, 22)                                                               \
    X(POPCNT, "popcnt", 1, 0, ECX, 23)                                                             \
    X(TSC_DEADLINE, "tsc-deadline", 1, 0, ECX, 24)                                                 \
    X(AES, "aes", 1, 0, ECX, 25)                                                                   \
    X(XSAVE, "xsave", 1, 0, ECX, 26)                                                               \
    X(AVX, "avx", 1, 0, ECX, 28)                                                                   \
    X(F16C, "f16c", 1, 0, ECX, 29)                                                                 \
    X(RDRAND, "rdrand", 1, 0, ECX, 30)                                                             \
    X(FSGSBASE, "fsgsbase", 7, 0, EBX, 0)                                                          \
    X(BMI1, "bmi1", 7, 0, EBX, 3)                                                                  \
    X(AVX2, "avx2", 7, 0, EBX, 5)                                                                  \
    X(TSC_ADJUST, "tsc_adjust", 7, 0, EBX, 1)                                                      \
    X(SMEP, "smep", 7, 0, EBX, 7)                                                                  \
    X(BMI2, "bmi2", 7, 0, EBX, 8)                                                                  \
    X(ERMS, "erms", 7, 0, EBX, 9)                                                                  \
    X(INVPCID, "invpcid", 7, 0, EBX, 10)                                                           \
    X(AVX512F, "avx512f", 7, 0, EBX, 16)                                                           \
    X(AVX512DQ, "avx512dq", 7, 0, EBX, 17)                                                         \
    X(RDSEED, "rdseed", 7, 0, EBX, 18)                                                             \
    X(ADX, "adx", 7, 0, EBX, 19)                                                                   \
    X(SMAP, "smap", 7, 0, EBX, 20)                                                                 \
    X(AVX512IFMA, "avx512ifma", 7, 0, EBX, 21)                                                     \
    X(CLFLUSHOPT, "clflushopt", 7, 0, EBX, 23)                                                     \
    X(CLWB, "clwb", 7, 0, EBX, 24)                                                                 \
    X(AVX512CD, "avx512cd", 7, 0, EBX, 28)                                                         \
    X(SHA, "sha-ni", 7, 0, EBX, 29)                                                                \
    X(AVX512BW, "avx512bw", 7, 0, EBX, 30)                                                         \
    X(AVX512VL, "avx512vl", 7, 0, EBX, 31)                                                         \
    X(AVX512VBMI, "avx512vbmi", 7, 0, ECX, 1)                                                      \
    X(UMIP, "umip", 7, 0, ECX, 2)                                                                  \
    X(PKU, "pku", 7, 0, ECX, 3)                                                                    \
    X(AVX512VBMI2, "avx512vbmi2", 7, 0, ECX, 6)                                                    \
    X(GFNI, "gfni", 7, 0, ECX, 8)                                                                  \
    X(VAES, "vaes", 7, 0, ECX, 9)                                                                  \
    X(VPCLMULQDQ, "vpclmulqdq", 7, 0, ECX, 10)                                                     \
    X(AVX512VNNI, "avx512vnni", 7, 0, ECX, 11)                                                     \
    X(AVX512BITALG, "avx512bitalg", 7, 0, ECX, 12)                                                 \
    X(AVX512VPOPCNTDQ, "avx512-vpopcntdq", 7, 0, ECX, 14)                                          \
    X(LA57, "la57", 7, 0, ECX, 16)                                                                 \
    X(RDPID, "rdpid", 7, 0, ECX, 22)                                                               \
    X(MOVDIRI, "movdiri", 7, 0, ECX, 27)                                                           \
    X(MOVDIR64B, "movdir64b", 7, 0, ECX, 28)                                                       \
    X(SERIALIZE, "serialize", 7, 0, EDX, 14)                                                       \
    X(AVX512BF16, "avx512-bf16", 7, 1, EAX, 5)                                                     \
    X(XSAVEOPT, "xsaveopt", 13, 1, EAX, 0)                                                         \
    X(XSAVEC, "xsavec", 13, 1, EAX, 1)                                                             \
    X(XGETBV1, "xgetbv1", 13, 1, EAX, 2)                                                           \
    X(XSAVES, "xsaves", 13, 1, EAX, 3)                                                             \
    X(LAHF64, "lahf-lm", 0x80000001, 0, ECX, 0)                                                    \
    X(LZCNT, "abm", 0x80000001, 0, ECX, 5)                                                         \
    X(PREFETCHW, "3dnowprefetch", 0x80000001, 0, ECX, 8)                                           \
    X(SYSCALL, "syscall", 0x80000001, 0, EDX, 11)                                                  \
    X(NX, "nx", 0x80000001, 0, EDX, 20)                                                            \
    X(PDPE1GB, "pdpe1gb", 0x80000001, 0, EDX, 26)                                                  \
    X(RDTSCP, "rdtscp", 0x80000001, 0, EDX, 27)                                                    \
    X(LM, "lm", 0x80000001, 0, EDX, 29)                                                            \
    X(WBNOINVD, "wbnoinvd", 0x80000008, 0, EBX, 9)

enum cpu_feature {
#define X(name, word, leaf, subleaf, reg, bit) FEATURE_##name,
    CPU_FEATURES(X)
#undef X
        FEATURE_COUNT
};

/* Attributes of a row. */
enum insn_attr {
    A_NONE = 0,
    A_END = 1 << 0,   /* the block ends after it: it can change mode, interrupts, mapping */
    A_JUMP = 1 << 1,  /* control transfer: it sets RIP itself; ends the block */
    A_LOCK = 1 << 2,  /* LOCK allowed with a memory operand */
    A_CPL0 = 1 << 3,  /* #GP(0) unless CPL is 0 (checked by the decoder) */
    A_X87 = 1 << 4,   /* #NM if CR0.EM or CR0.TS (checked by the decoder) */
    A_MMX = 1 << 5,   /* #UD if CR0.EM, #NM if CR0.TS (likewise) */
    A_SSE = 1 << 6,   /* #UD if CR0.EM or !CR4.OSFXSR, #NM if CR0.TS (likewise) */
    A_REP = 1 << 7,   /* string instruction: REP or REPE/REPNE have their meaning */
    A_READS = 1 << 8, /* the memory operand is read */
    A_WRITES = 1 << 9, /* the memory operand is written */
    A_IO = 1 << 10,    /* touches ports or time: an exact point in exact mode; ends the block */
    A_STACK = 1 << 11, /* implicit stack access */
    A_ALIGN16 = 1 << 12, /* legacy SSE: #GP(0) unless the memory operand is 16-byte aligned (checked
                            by the op through mem_load128_aligned and its sisters) */
    A_MOD_REG = 1 << 14,   /* the mod field is ignored: ModRM.rm always names a register */
    A_WAIT_SKIP = 1 << 13, /* x87 without wait: does not look at pending exceptions (FNxxx) */
    A_LOCKED = 1 << 15, /* a memory operand is locked without the prefix too: XCHG */
    A_VEX_L0 = 1 << 16, /* VEX: #UD unless L is 0 */
    A_VEX_L1 = 1 << 17, /* VEX: #UD unless L is 1 */
    A_VEX_W0 = 1 << 18, /* VEX: the row is for W = 0 */
    A_VEX_W1 = 1 << 19, /* VEX: the row is for W = 1 */
    A_VVVV = 1 << 20,   /* VEX: vvvv names a register; #UD for other rows unless it is 1111b */
    A_AVX = 1 << 21,    /* #UD unless the system has AVX state enabled, #NM if CR0.TS (likewise) */
    A_AVX2_L1 = 1 << 22, /* VEX.L = 1 is AVX2 */
    A_VSIB = 1 << 23,   /* the index of the memory operand, in insn.index, is a vector register */
    A_CPL0_UD = 1 << 24, /* #UD unless CPL is 0 (checked by the decoder) */
    A_AVX512 = 1 << 25, /* #UD unless the system has AVX-512 state enabled, too. In EVEX rows
                           A_VEX_L0 is for 128 bits only, A_VEX_L1 for 256 and 512, both for 512 */
    A_RC = 1 << 26,     /* EVEX.b with a register operand: rounding by L'L, no exceptions */
    A_SAE = 1 << 27,    /* likewise, no exceptions */
    A_NO_ZEROING = 1 << 28, /* EVEX.z is undefined whatever the destination */
    A_NO_MASK = 1 << 29,    /* neither has EVEX.aaa a meaning: #UD unless both are 0 */
    A_NEEDS_MASK = 1 << 30, /* #UD if EVEX.aaa is 0 */
};

/* Status flags in the columns fr (read), fw (written), fu (left undefined). */
#define F_C 0x001
#define F_P 0x004
#define F_A 0x010
#define F_Z 0x040
#define F_S 0x080
#define F_O 0x800
#define F_NONE   0
#define F_OSZAPC (F_O | F_S | F_Z | F_A | F_P | F_C)
#define F_OSZAP  (F_O | F_S | F_Z | F_A | F_P)
#define F_OSZPC  (F_O | F_S | F_Z | F_P | F_C)

/* What the translator does with a row (cpu/jit/). */
enum insn_policy { JIT_REENCODE, JIT_EMIT, JIT_CALL };

/* Op functions of a row, indexed by operand size: 0 = 8, 1 = 16, 2 = 32, 3 = 64 bits. NULL: #UD. */
struct insn_ops {
    op_fn *reg[4]; /* ModRM names a register, or there is no ModRM */
    op_fn *mem[4]; /* ModRM names memory */
};

struct insn_row {
    const char *id;       /* "ADD_EvGv" */
    const char *mnemonic; /* "add" */
    uint8_t map;          /* enum insn_map */
    uint8_t opcode;
    uint8_t prefix;      /* enum insn_prefix */
    uint8_t modrm_class; /* enum insn_modrm_class */
    uint8_t modrm_value; /* the n or byte of the class */
    uint8_t modes;       /* enum insn_modes */
    uint8_t size;        /* enum insn_size */
    const char *operands; /* "Ev,Gv": as in SDM 2D appendix A.2, see cpu/insn.def */
    uint16_t feature;     /* enum cpu_feature */
    uint16_t flags_read, flags_written, flags_undefined;
    uint32_t attrs;       /* enum insn_attr */
    struct insn_ops ops;
    uint8_t policy;       /* enum insn_policy */
    const char *manual;   /* section of SDM volume 2: "ADD" */
};

extern const struct insn_row insn_rows[];
extern const unsigned insn_row_count;

#endif
