#include "cpu/decode.h"

#include "cpu/decode_index.h"
#include "cpu/mode.h"

/* An instruction while it is being taken apart. */
struct parse {
    const struct vcpu *cpu;
    uint32_t mode;
    const uint8_t *bytes;
    unsigned available;
    unsigned length; /* bytes taken so far */
    bool overrun;    /* more bytes were wanted than there are */
    uint8_t rex;
    uint8_t rep; /* 0, 0xf2 or 0xf3: the last one */
    bool prefix66, prefix67, lock;
    uint8_t segment;          /* override, or SEG_COUNT */
    bool vex;                 /* VEX-encoded: W, R, X, B are in rex, pp in prefix66 and rep */
    bool vex_bad;             /* and that cannot be, with what stands before it: #UD */
    uint8_t vex_l, vvvv;      /* VEX.L, or the length that EVEX.L'L says: 0, 1, 2 */
    bool evex;                /* vex, too: EVEX-encoded */
    uint8_t evex_p2;          /* z, L'L, b, V', aaa */
    uint8_t reg_high, v_high; /* 16 if R', V' are set */
    uint8_t disp8_scale;      /* what displacements of one byte count */
    uint8_t map, opcode;
    uint8_t modrm;
    bool has_modrm;
    unsigned operand_bits, address_bits;
};

#define REX_W 8
#define REX_R 4
#define REX_X 2
#define REX_B 1

static uint64_t take(struct parse *p, unsigned size)
{
    uint64_t v = 0;

    if (p->length + size > p->available) {
        p->overrun = true;
        return 0;
    }
    for (unsigned n = 0; n < size; n++)
        v |= (uint64_t)p->bytes[p->length + n] << (8 * n);
    p->length += size;
    return v;
}

static bool parse_prefix(struct parse *p, uint8_t byte)
{
    static const uint8_t segment_prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};

    switch (byte) {
    case 0x66:
        p->prefix66 = true;
        return true;
    case 0x67:
        p->prefix67 = true;
        return true;
    case 0xf0:
        p->lock = true;
        return true;
    case 0xf2:
    case 0xf3:
        p->rep = byte;
        return true;
    }
    for (unsigned n = 0; n < ARRAY_SIZE(segment_prefixes); n++) {
        if (byte == segment_prefixes[n]) {
            /* In 64-bit mode the first four are ignored, even as the last of several. */
            if (!(p->mode & MODE_64) || n >= SEG_FS)
                p->segment = (uint8_t)n;
            return true;
        }
    }
    return false;
}

/* C4h and C5h start a VEX prefix where they cannot be LES and LDS (SDM 2A 2.3.5.1). */
static bool starts_vex(const struct parse *p, uint8_t byte)
{
    if ((byte != 0xc4 && byte != 0xc5) || !(p->mode & (MODE_64 | MODE_PROT)))
        return false;
    return (p->mode & MODE_64) ||
           (p->length < p->available && (p->bytes[p->length] & 0xc0) == 0xc0);
}

/* The rest of a VEX prefix and the opcode byte. R, X, B and vvvv are stored inverted. */
static void parse_vex(struct parse *p, uint8_t first)
{
    static const uint8_t reps[4] = {0, 0, 0xf3, 0xf2};
    uint8_t rxb = (uint8_t)take(p, 1), last = rxb;
    unsigned map = 1;

    p->vex = true;
    p->vex_bad = p->rex != 0 || p->prefix66 || p->rep != 0 || p->lock;
    p->rex = rxb & 0x80 ? 0 : REX_R;
    if (first == 0xc4) {
        last = (uint8_t)take(p, 1);
        map = rxb & 0x1f;
        p->rex |= (rxb & 0x40 ? 0 : REX_X) | (rxb & 0x20 ? 0 : REX_B) | (last & 0x80 ? REX_W : 0);
    }
    if (!(p->mode & MODE_64))
        p->rex &= REX_W;
    p->vvvv = (uint8_t)(~last >> 3) & 15;
    p->vex_l = (last >> 2) & 1;
    p->prefix66 = (last & 3) == 1;
    p->rep = reps[last & 3];
    p->opcode = (uint8_t)take(p, 1);
    p->vex_bad |= map < 1 || map > 3;
    p->map = (uint8_t)(p->vex_bad ? MAP_VEX_0F : MAP_VEX_0F + map - 1);
}

#define P2_Z   0x80
#define P2_B   0x10
#define P2_V   0x08 /* stored inverted */
#define P2_AAA 0x07

/* 62h starts an EVEX prefix where it cannot be BOUND (SDM 2A 2.7.1). */
static bool starts_evex(const struct parse *p, uint8_t byte)
{
    if (byte != 0x62 || !(p->mode & (MODE_64 | MODE_PROT)))
        return false;
    return (p->mode & MODE_64) ||
           (p->length < p->available && (p->bytes[p->length] & 0xc0) == 0xc0);
}

/* The rest of an EVEX prefix and the opcode byte (SDM 2A table 2-30). */
static void parse_evex(struct parse *p)
{
    static const uint8_t reps[4] = {0, 0, 0xf3, 0xf2};
    uint8_t p0 = (uint8_t)take(p, 1), p1 = (uint8_t)take(p, 1), p2 = (uint8_t)take(p, 1);
    unsigned map = p0 & 7;

    p->vex = p->evex = true;
    p->vex_bad = p->rex != 0 || p->prefix66 || p->rep != 0 || p->lock || (p0 & 8) || !(p1 & 4) ||
                 map < 1 || map > 3;
    p->rex = (p0 & 0x80 ? 0 : REX_R) | (p0 & 0x40 ? 0 : REX_X) | (p0 & 0x20 ? 0 : REX_B) |
             (p1 & 0x80 ? REX_W : 0);
    p->reg_high = p0 & 0x10 ? 0 : 16;
    p->v_high = p2 & P2_V ? 0 : 16;
    if (!(p->mode & MODE_64)) {
        p->rex &= REX_W;
        p->reg_high = 0;
        p->vex_bad |= p->v_high != 0;
    }
    p->vvvv = (uint8_t)(~p1 >> 3) & 15;
    p->evex_p2 = p2;
    p->prefix66 = (p1 & 3) == 1;
    p->rep = reps[p1 & 3];
    p->opcode = (uint8_t)take(p, 1);
    p->map = (uint8_t)(p->vex_bad ? MAP_EVEX_0F : MAP_EVEX_0F + map - 1);
}

/* Prefixes, REX and opcode bytes. */
static void parse_opcode(struct parse *p)
{
    uint8_t byte = (uint8_t)take(p, 1);

    while (!p->overrun) {
        if ((p->mode & MODE_64) && (byte & 0xf0) == 0x40)
            p->rex = byte;
        else if (parse_prefix(p, byte))
            p->rex = 0; /* a REX that is not the last prefix is ignored */
        else
            break;
        byte = (uint8_t)take(p, 1);
    }
    p->map = MAP_1B;
    p->opcode = byte;
    if (starts_vex(p, byte)) {
        parse_vex(p, byte);
    } else if (starts_evex(p, byte)) {
        parse_evex(p);
    } else if (byte == 0x0f) {
        p->map = MAP_0F;
        p->opcode = (uint8_t)take(p, 1);
        if (p->opcode == 0x38 || p->opcode == 0x3a) {
            p->map = p->opcode == 0x38 ? MAP_0F38 : MAP_0F3A;
            p->opcode = (uint8_t)take(p, 1);
        }
    }
    if (p->mode & MODE_64)
        p->address_bits = p->prefix67 ? 32 : 64;
    else
        p->address_bits = !!(p->mode & MODE_CS32) ^ p->prefix67 ? 32 : 16;
}

static bool prefix_fits(const struct parse *p, uint8_t prefix)
{
    switch (prefix) {
    case PFX_NP:
        return !p->prefix66 && p->rep == 0;
    case PFX_66:
        return p->prefix66 && p->rep == 0;
    case PFX_F3:
        return p->rep == 0xf3;
    case PFX_F2:
        return p->rep == 0xf2;
    case PFX_NO_REP:
        return p->rep == 0;
    default:
        return true;
    }
}

static bool is_register_form(const struct parse *p)
{
    return p->modrm >> 6 == 3;
}

unsigned evex_memory_bytes(const struct insn_row *row, unsigned length, bool broadcast)
{
    switch (row->size) {
    case SZ_FV:
        return !broadcast ? length : row->attrs & A_VEX_W1 ? 8 : 4;
    case SZ_HV:
        return !broadcast ? length / 2 : 4;
    case SZ_FVM:
        return length;
    case SZ_HVM:
        return length / 2;
    case SZ_QVM:
        return length / 4;
    case SZ_OVM:
        return length / 8;
    case SZ_DUP:
        return length == 16 ? 8 : length;
    case SZ_S4:
        return 4;
    case SZ_S8:
        return 8;
    default: /* SZ_E1 to SZ_E32 */
        return 1u << (row->size - SZ_E1);
    }
}

/* The length that L'L says, if the row is for it. Embedded rounding means 512 bits. */
static bool evex_fits(struct parse *p, const struct insn_row *row)
{
    uint32_t lengths = row->attrs & (A_VEX_L0 | A_VEX_L1);
    bool scalar = row->size == SZ_S4 || row->size == SZ_S8;
    unsigned l = (p->evex_p2 >> 5) & 3;

    if ((row->attrs & (A_RC | A_SAE)) && (p->evex_p2 & P2_B) && is_register_form(p))
        l = 2;
    p->vex_l = (uint8_t)l;
    if (l == 3 || !cpu_has(p->cpu, FEATURE_AVX512F) ||
        (row->attrs & (p->rex & REX_W ? A_VEX_W0 : A_VEX_W1)))
        return false;
    if (l < 2 && !scalar && lengths != A_VEX_L0 && !cpu_has(p->cpu, FEATURE_AVX512VL))
        return false;
    return lengths == 0 || l == (lengths == A_VEX_L0 ? 0 : 2) || (lengths == A_VEX_L1 && l == 1);
}

/* Rows that differ in VEX.W or VEX.L only. */
static bool vex_fits(struct parse *p, const struct insn_row *row)
{
    uint32_t attrs = row->attrs;

    if (p->evex)
        return evex_fits(p, row);
    return !(attrs & (p->rex & REX_W ? A_VEX_W0 : A_VEX_W1)) &&
           !(attrs & (p->vex_l ? A_VEX_L0 : A_VEX_L1));
}

static bool mode_fits(const struct parse *p, uint8_t modes)
{
    switch (modes) {
    case IN_NO64:
        return !(p->mode & MODE_64);
    case IN_64:
        return p->mode & MODE_64;
    case IN_PROT:
        return p->mode & MODE_PROT;
    case IN_PROT_NO64:
        return (p->mode & (MODE_PROT | MODE_64)) == MODE_PROT;
    case IN_NO_B:
        return !(p->rex & REX_B);
    default:
        return true;
    }
}

static bool modrm_fits(struct parse *p, const struct insn_row *row)
{
    unsigned mod, ext;

    if (row->modrm_class == MODRM_NONE)
        return true;
    if (!p->has_modrm) {
        if (p->length >= p->available) {
            p->overrun = true;
            return false;
        }
        p->modrm = p->bytes[p->length];
        p->has_modrm = true;
    }
    mod = p->modrm >> 6;
    ext = (p->modrm >> 3) & 7;
    switch (row->modrm_class) {
    case MODRM_MEM:
        return mod != 3;
    case MODRM_REG:
        return mod == 3;
    case MODRM_EXT:
        return ext == row->modrm_value;
    case MODRM_MEM_EXT:
        return mod != 3 && ext == row->modrm_value;
    case MODRM_REG_EXT:
        return mod == 3 && ext == row->modrm_value;
    case MODRM_EXACT:
        return p->modrm == row->modrm_value;
    default:
        return true;
    }
}

/* The row for the opcode, or NO_ENTRY. *known tells whether some row fits but is gated off, or
 * differs in VEX.W or L. */
static uint16_t find_row(struct parse *p, bool *known)
{
    const struct decoder *d = p->cpu->decoder;

    *known = false;
    for (uint16_t e = d->first[p->map][p->opcode]; e != NO_ENTRY; e = d->entries[e].next) {
        const struct insn_row *row = &insn_rows[d->entries[e].row];

        if (!prefix_fits(p, row->prefix) || !modrm_fits(p, row)) {
            if (p->overrun)
                return NO_ENTRY;
            continue;
        }
        *known = true;
        if (vex_fits(p, row) && mode_fits(p, row->modes) &&
            (row->feature == FEATURE_BASE || cpu_has(p->cpu, row->feature)))
            return d->entries[e].row;
    }
    return NO_ENTRY;
}

/* Operand size in bits. */
static unsigned operand_size(const struct parse *p, uint8_t size)
{
    bool long_mode = p->mode & MODE_64;
    unsigned by_prefix = !!(p->mode & MODE_CS32) ^ p->prefix66 ? 32 : 16;

    switch (size) {
    case SZ_B:
        return 8;
    case SZ_W:
        return 16;
    case SZ_D:
        return 32;
    case SZ_Q:
        return 64;
    case SZ_Y:
        return long_mode && (p->rex & REX_W) ? 64 : 32;
    case SZ_FV ... SZ_S8:
        return 8; /* the first op function */
    case SZ_X:
        return p->vex_l ? 16 : 8; /* the second op function, and the first */
    case SZ_F64:
        return long_mode ? 64 : by_prefix;
    case SZ_V64:
        if (long_mode)
            return p->prefix66 && !(p->rex & REX_W) ? 16 : 64;
        return by_prefix;
    default:
        if (long_mode)
            return p->rex & REX_W ? 64 : p->prefix66 ? 16 : 32;
        return by_prefix;
    }
}

/* Byte register number to byte offset in vcpu.gpr. */
static uint8_t byte_register(unsigned n, bool rex)
{
    unsigned offset = !rex && n >= 4 && n < 8 ? (n - 4) * 8 + 1 : n * 8;

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    offset ^= 7;
#endif
    return (uint8_t)offset;
}

static void memory_16(struct parse *p, struct insn *i, unsigned *segment)
{
    static const uint8_t bases[8] = {GPR_RBX, GPR_RBX, GPR_RBP, GPR_RBP,
                                     GPR_RSI, GPR_RDI, GPR_RBP, GPR_RBX};
    static const uint8_t indices[8] = {GPR_RSI,  GPR_RDI,  GPR_RSI,  GPR_RDI,
                                       GPR_ZERO, GPR_ZERO, GPR_ZERO, GPR_ZERO};
    unsigned mod = p->modrm >> 6, rm = p->modrm & 7;

    i->base = bases[rm];
    i->index = indices[rm];
    if (mod == 0 && rm == 6) {
        i->base = GPR_ZERO;
        i->disp = (int16_t)take(p, 2);
    } else if (mod == 1) {
        i->disp = (int8_t)take(p, 1) * p->disp8_scale;
    } else if (mod == 2) {
        i->disp = (int16_t)take(p, 2);
    }
    if (i->base == GPR_RBP)
        *segment = SEG_SS;
}

/* vsib: index 4 is a register, too. Returns true if the operand is relative to RIP. */
static bool memory_32_64(struct parse *p, struct insn *i, bool vsib, unsigned *segment)
{
    unsigned mod = p->modrm >> 6, rm = p->modrm & 7;
    bool rip_relative = false;

    i->base = (uint8_t)(rm | (p->rex & REX_B ? 8 : 0));
    if (rm == 4) {
        uint8_t sib = (uint8_t)take(p, 1);
        unsigned index = ((sib >> 3) & 7) | (p->rex & REX_X ? 8 : 0) | (vsib ? p->v_high : 0);

        i->scale = sib >> 6;
        i->index = index == 4 && !vsib ? GPR_ZERO : (uint8_t)index;
        i->base = (uint8_t)((sib & 7) | (p->rex & REX_B ? 8 : 0));
        if ((sib & 7) == 5 && mod == 0) {
            i->base = GPR_ZERO;
            i->disp = (int32_t)take(p, 4);
        }
    } else if (rm == 5 && mod == 0) {
        i->base = GPR_ZERO;
        i->disp = (int32_t)take(p, 4);
        rip_relative = p->mode & MODE_64;
    }
    if (i->base == GPR_RSP || i->base == GPR_RBP)
        *segment = SEG_SS;
    if (mod == 1)
        i->disp = (int8_t)take(p, 1) * p->disp8_scale;
    else if (mod == 2)
        i->disp = (int32_t)take(p, 4);
    return rip_relative;
}

/* ModRM, SIB, displacement and the segment. Returns true if relative to RIP. */
static bool parse_operands(struct parse *p, struct insn *i, const struct row_info *info)
{
    unsigned segment = SEG_DS;
    bool rip_relative = false, rex = p->rex != 0;

    i->base = i->index = GPR_ZERO;
    if (info->modrm) {
        unsigned reg = ((p->modrm >> 3) & 7) | (p->rex & REX_R ? 8 : 0);
        unsigned rm = (p->modrm & 7) | (p->rex & REX_B ? 8 : 0);

        reg |= p->reg_high;
        if (p->evex && !info->rm_general)
            rm |= p->rex & REX_X ? 16 : 0;
        if (info->mask_rm)
            rm &= 7;
        p->length++;
        i->reg = info->reg_is_byte ? byte_register(reg, rex) : (uint8_t)reg;
        if (p->modrm >> 6 == 3 || info->mod_reg) {
            i->rm = info->rm_is_byte ? byte_register(rm, rex) : (uint8_t)rm;
        } else {
            i->flags |= INSN_MEM;
            if (p->address_bits == 16)
                memory_16(p, i, &segment);
            else
                rip_relative = memory_32_64(p, i, info->vsib, &segment);
        }
    } else if (info->in_opcode) {
        unsigned rm = (p->opcode & 7) | (p->rex & REX_B ? 8 : 0);

        i->rm = info->rm_is_byte ? byte_register(rm, rex) : (uint8_t)rm;
    }
    if (p->segment != SEG_COUNT)
        segment = p->segment;
    if (p->mode & MODE_64) {
        i->seg = segment >= SEG_FS ? (uint8_t)segment : SEG_NONE;
        i->flags |= INSN_FLAT;
    } else {
        i->seg = (uint8_t)segment;
        if ((p->mode & MODE_FLAT) && segment < SEG_FS && segment != SEG_CS)
            i->flags |= INSN_FLAT;
    }
    if (p->address_bits == 32)
        i->flags |= INSN_A32;
    else if (p->address_bits == 16)
        i->flags |= INSN_A16;
    return rip_relative;
}

static int64_t take_signed(struct parse *p, unsigned bits)
{
    return (int64_t)sign_extend(take(p, bits / 8), bits - 1);
}

static int64_t parse_immediate(struct parse *p, uint8_t kind)
{
    unsigned z = p->operand_bits == 16 ? 16 : 32;
    uint64_t low;

    switch (kind) {
    case IMM_B:
        return (int64_t)take(p, 1);
    case IMM_BS:
    case IMM_JB:
        return take_signed(p, 8);
    case IMM_W:
        return (int64_t)take(p, 2);
    case IMM_Z:
    case IMM_JZ:
        return take_signed(p, z);
    case IMM_V:
        return take_signed(p, p->operand_bits);
    case IMM_WB:
        low = take(p, 2);
        return (int64_t)(low | take(p, 1) << 16);
    case IMM_FAR:
        low = take(p, z / 8);
        return (int64_t)(low | take(p, 2) << 32);
    case IMM_MOFFS:
        return (int64_t)take(p, p->address_bits / 8);
    default:
        return 0;
    }
}

static bool vex_is_bad(const struct parse *p, uint32_t attrs)
{
    if (!p->vex)
        return false;
    /* A vector index wants a SIB byte. */
    if ((attrs & A_VSIB) && ((p->modrm & 7) != 4 || p->address_bits == 16))
        return true;
    return p->vex_bad || (!(attrs & A_VVVV) && p->vvvv != 0) ||
           ((attrs & A_AVX2_L1) && p->vex_l && !cpu_has(p->cpu, FEATURE_AVX2)) ||
           ((attrs & A_AVX) && !(p->mode & MODE_AVX)) ||
           ((attrs & A_AVX512) && !(p->mode & MODE_AVX512));
}

/* Combinations of z, b and aaa that are undefined (SDM 2A 2.7.11). */
static bool evex_is_bad(const struct parse *p, const struct insn_row *row)
{
    bool memory = !is_register_form(p), b = p->evex_p2 & P2_B, z = p->evex_p2 & P2_Z;
    unsigned aaa = p->evex_p2 & P2_AAA;

    if (b && !(memory ? row->size == SZ_FV || row->size == SZ_HV : row->attrs & (A_RC | A_SAE)))
        return true;
    if (p->v_high != 0 && !(row->attrs & (A_VVVV | A_VSIB)))
        return true;
    if (z && (aaa == 0 || (row->attrs & (A_NO_ZEROING | A_NO_MASK)) ||
              (memory && (row->attrs & A_WRITES))))
        return true;
    return aaa != 0 ? row->attrs & A_NO_MASK : row->attrs & A_NEEDS_MASK;
}

/* Names an opmask or general register that there is not. */
static bool register_is_bad(const struct parse *p, const struct row_info *info,
                            const struct insn *i)
{
    return ((info->mask_reg || info->reg_general) && p->reg_high) ||
           (info->mask_reg && i->reg > 7) || (info->mask_vvvv && p->vvvv + p->v_high > 7);
}

static int64_t evex_bits(const struct parse *p)
{
    return (int64_t)(p->evex_p2 & P2_AAA) << EVEX_MASK |
           (int64_t) !!(p->evex_p2 & P2_Z) << EVEX_ZEROING |
           (int64_t) !!(p->evex_p2 & P2_B) << EVEX_B | (int64_t)p->vex_l << EVEX_LENGTH |
           (int64_t)(p->evex_p2 >> 5 & 3) << EVEX_ROUNDING;
}

/* MOV of a control or debug register that does not exist: #UD at every privilege (SDM 2B "MOV"). */
static bool has_no_register(const struct insn_row *row, const struct insn *i)
{
    if (row->map != MAP_0F || row->opcode < 0x20 || row->opcode > 0x23)
        return false;
    if (row->opcode & 1) /* debug registers */
        return i->reg > 7;
    return i->reg == 1 || (i->reg > 4 && i->reg != 8);
}

/* Puts in place of the row's op what its gates say: privilege, FPU availability, LOCK. */
static op_fn *gated_op(const struct parse *p, const struct insn_row *row, const struct insn *i,
                       op_fn *op)
{
    if (op == NULL || vex_is_bad(p, row->attrs) || (p->evex && evex_is_bad(p, row)) ||
        register_is_bad(p, &p->cpu->decoder->info[i->row], i))
        return op_ud;
    if (p->lock && !((row->attrs & A_LOCK) && (i->flags & INSN_MEM)))
        return op_ud;
    if ((row->attrs & A_CPL0_UD) && !(p->mode & MODE_CPL0))
        return op_ud;
    if ((row->attrs & (A_MMX | A_SSE)) && (p->mode & MODE_EM))
        return op_ud;
    if ((row->attrs & A_SSE) && !(p->mode & MODE_OSFXSR))
        return op_ud;
    if ((row->attrs & (A_X87 | A_MMX | A_SSE | A_AVX)) && (p->mode & MODE_TS))
        return op_nm;
    if ((row->attrs & A_X87) && (p->mode & MODE_EM))
        return op_nm;
    if ((row->attrs & A_CPL0) && !(p->mode & MODE_CPL0))
        return has_no_register(row, i) ? op_ud : op_gp0;
    return op;
}

static void set_ip_relative(struct insn *i)
{
    int64_t disp = (int64_t)i->disp + i->ip_next;

    i->base = GPR_IP_BASE;
    if (disp > INT32_MAX) {
        i->index = GPR_8192;
        disp -= 8192;
    }
    i->disp = (int32_t)disp;
}

static enum decode_result overrun_result(const struct parse *p)
{
    return p->available >= INSN_MAX_LENGTH ? DECODE_TOO_LONG : DECODE_MORE;
}

enum decode_result decode_insn(const struct vcpu *cpu, uint32_t mode, const uint8_t *bytes,
                               unsigned available, unsigned offset, struct insn *out,
                               uint32_t *attrs)
{
    struct parse p = {.cpu = cpu, .mode = mode, .bytes = bytes, .segment = SEG_COUNT};
    const struct insn_row *row;
    const struct row_info *info;
    bool known, rip_relative;
    uint16_t n;

    p.available = MIN(available, INSN_MAX_LENGTH);
    *out = (struct insn){.row = INSN_ROW_NONE};
    parse_opcode(&p);
    if (p.overrun)
        return overrun_result(&p);
    n = find_row(&p, &known);
    if (p.overrun)
        return overrun_result(&p);
    if (n == NO_ENTRY) {
        /* The one-byte map is complete: what it leaves out is undefined on every processor. */
        out->op = known || p.vex_bad || p.map == MAP_1B ? op_ud : op_gap;
        /* All bytes that were looked at: a store to any of them may make it another instruction. */
        out->ip_next = (uint16_t)(offset + p.length + p.has_modrm);
        *attrs = A_JUMP;
        return DECODE_OK;
    }
    row = &insn_rows[n];
    info = &cpu->decoder->info[n];
    p.operand_bits = operand_size(&p, row->size);
    p.disp8_scale = 1;
    if (p.evex)
        p.disp8_scale = (uint8_t)evex_memory_bytes(row, 16u << p.vex_l, p.evex_p2 & P2_B);
    rip_relative = parse_operands(&p, out, info);
    out->imm = parse_immediate(&p, info->imm);
    if (p.overrun)
        return overrun_result(&p);
    out->row = n;
    out->ip_next = (uint16_t)(offset + p.length);
    if (rip_relative)
        set_ip_relative(out);
    if (info->imm == IMM_JB || info->imm == IMM_JZ)
        out->imm += out->ip_next;
    if (info->imm == IMM_MOFFS)
        out->flags |= INSN_MEM;
    if (row->attrs & A_X87)
        out->imm = (p.opcode & 7) << 8 | p.modrm; /* what FNSTENV calls the opcode */
    if (p.lock || ((row->attrs & A_LOCKED) && (out->flags & INSN_MEM)))
        out->flags |= INSN_LOCK;
    if (row->attrs & A_VVVV)
        out->vvvv = p.mode & MODE_64 ? p.vvvv | p.v_high : p.vvvv & 7;
    if (p.evex)
        out->imm |= evex_bits(&p);
    if (p.rep == 0xf3 && row->prefix != PFX_F3)
        out->flags |= INSN_REP;
    if (p.rep == 0xf2 && row->prefix != PFX_F2)
        out->flags |= INSN_REPNE;
    *attrs = row->attrs;
    out->op =
        (out->flags & INSN_MEM ? row->ops.mem : row->ops.reg)[__builtin_ctz(p.operand_bits) - 3];
    out->op = gated_op(&p, row, out, out->op);
    if (out->op == op_ud || out->op == op_gp0 || out->op == op_nm)
        *attrs = A_JUMP;
    else if (info->ends)
        *attrs |= A_END;
    return DECODE_OK;
}
