/* Encodes one instruction of a row: legal, with random operands, and with memory operands that
 * mostly lie in the data pages. */
#include "base/bits.h"
#include "cpu/decode.h"
#include "values.h"

#include <string.h>

/* An encoding under construction. */
struct encoder {
    struct diff_case *c;
    const struct insn_row *row;
    uint64_t *random;
    bool alone;     /* no other instruction: registers can still be chosen */
    bool is_long;   /* 64-bit code */
    bool gs;        /* with a GS prefix */
    unsigned start; /* where it starts in the code */
    unsigned operand_bits, address_bits;
    bool rex_w, prefix66, vex, evex;
    uint8_t rex;
    uint8_t vvvv, vex_l;
    uint8_t reg_high, v_high; /* EVEX.R', EVEX.V' */
    bool zeroing, b;
    uint8_t opmask;
    uint64_t target;             /* linear address of the memory operand, or 0 */
    unsigned rip_disp_at;        /* offset of a RIP-relative displacement, 0: none */
    unsigned jump_at, jump_size; /* offset of a branch's displacement */
};

static void emit(struct encoder *e, uint64_t value, unsigned bytes)
{
    for (unsigned n = 0; n < bytes; n++)
        e->c->code[e->c->length++] = (uint8_t)(value >> (8 * n));
}

static unsigned below(struct encoder *e, unsigned n)
{
    return random_below(e->random, n);
}

static unsigned any_register(struct encoder *e)
{
    unsigned n = below(e, e->is_long ? 16 : 8);

    /* In sequences, spare those that point to something: mostly. */
    if (!e->alone && n >= GPR_RBX && n <= GPR_RDI && below(e, 8) != 0)
        n = e->is_long ? 8 + below(e, 8) : below(e, 3);
    return n;
}

/* Where the memory operand points: mostly aligned to 16, inside the data, now and then across the
 * page boundary or out of the data. */
static uint64_t random_target(struct encoder *e)
{
    uint64_t t = DATA_BASE + below(e, (DATA_SIZE - 1024) / 16) * 16ull;
    bool aligned = (e->row->attrs & A_ALIGN16) != 0;

    switch (below(e, 16)) {
    case 0:
        return t + (aligned && !e->alone ? 0 : below(e, 16));
    case 1:
        return DATA_BASE + 4096 - (aligned && !e->alone ? 16 : below(e, 32));
    case 2:
        return aligned ? t : t + 1 + below(e, 15);
    case 3: /* also what is behind a segment's limit */
        return DATA_BASE + DATA_SIZE - below(e, 20) -
               (mode_is_segmented(e->c) && below(e, 2) ? 0x100 : 0);
    default:
        return t;
    }
}

/* EDX:EAX is the second operand, and must not be chosen at random. */
static bool takes_component_mask(const struct insn_row *row)
{
    return strncmp(row->mnemonic, "xsave", 5) == 0 || strncmp(row->mnemonic, "xrstor", 6) == 0;
}

/* Makes an index register of elements that mostly lead from the target into the data again. */
static void vector_index(struct encoder *e, unsigned index, unsigned scale)
{
    bool dwords = strchr(e->row->mnemonic, 'r')[1] == 'd';
    struct diff_state *s = &e->c->in;

    for (unsigned n = 0; n < (dwords ? 16u : 8u); n++) {
        uint64_t to = DATA_BASE + below(e, DATA_SIZE - 8);
        uint64_t element = (uint64_t)((int64_t)(to - e->target) >> scale);
        uint64_t *quad = diff_quad(s, index, dwords ? n / 2 : n);

        if (below(e, 64) == 0)
            element = value_integer(e->random);
        if (!dwords)
            *quad = element;
        else if (n % 2)
            *quad = (uint32_t)*quad | element << 32;
        else
            *quad = (uint32_t)element;
    }
}

static bool one_in(struct encoder *e, unsigned n)
{
    return below(e, n) == 0;
}

/* The bits of EVEX that are not registers; now and then what is undefined. */
static void evex_bits(struct encoder *e, bool memory)
{
    uint32_t attrs = e->row->attrs, lengths = attrs & (A_VEX_L0 | A_VEX_L1);
    bool rounds = !memory && (attrs & (A_RC | A_SAE));

    if (!(attrs & A_NO_MASK) || one_in(e, 64))
        e->opmask = (uint8_t)(one_in(e, 3) ? 0 : below(e, 8));
    if ((attrs & A_NEEDS_MASK) && !one_in(e, 64))
        e->opmask |= 1;
    if (!(attrs & (A_NO_MASK | A_NO_ZEROING)) && !(memory && (attrs & A_WRITES)) && e->opmask != 0)
        e->zeroing = one_in(e, 2);
    e->zeroing ^= !(attrs & A_NO_MASK) && one_in(e, 64); /* AMD's ignore it there */
    e->b = (rounds || (memory && (e->row->size == SZ_FV || e->row->size == SZ_HV)))
               ? one_in(e, 2)
               : memory && one_in(e, 64);
    e->vex_l = (uint8_t)(lengths == A_VEX_L0   ? 0
                         : lengths == A_VEX_L1 ? 1 + below(e, 2)
                         : lengths != 0        ? 2
                                               : below(e, 3));
    if ((rounds && e->b) || one_in(e, 64))
        e->vex_l = (uint8_t)below(e, 4);
}

/* What an 8-bit displacement counts. */
static int32_t disp8_scale(const struct encoder *e)
{
    if (!e->evex)
        return 1;
    return (int32_t)evex_memory_bytes(e->row, 16u << (e->vex_l < 3 ? e->vex_l : 2), e->b);
}

/* The offset that the target has in its segment. */
static uint64_t target_offset(const struct encoder *e)
{
    return e->target - case_data_base(e->c) - (e->gs ? e->c->in.gs_base : 0);
}

/* Sets a base register of a 16-bit address: the upper half does not count. */
static void set_low(struct encoder *e, unsigned reg, uint64_t value)
{
    uint64_t *r = &e->c->in.gpr[reg];

    *r = (*r & ~0xffffull) | (value & 0xffff);
}

/* ModRM, with a displacement, of a 16-bit address (SDM 2A table 2-1). */
static void memory_operand16(struct encoder *e, unsigned reg)
{
    static const struct {
        uint8_t base, index; /* index 0: none */
    } forms[8] = {{GPR_RBX, GPR_RSI}, {GPR_RBX, GPR_RDI}, {GPR_RBP, GPR_RSI}, {GPR_RBP, GPR_RDI},
                  {GPR_RSI, 0},       {GPR_RDI, 0},       {GPR_RBP, 0},       {GPR_RBX, 0}};
    unsigned mod = e->alone ? below(e, 3) : 2, rm = e->alone ? below(e, 8) : 4 + below(e, 4);
    uint64_t disp = mod == 1 ? (uint64_t)(int8_t)random_next(e->random) : random_next(e->random);
    uint64_t offset = target_offset(e);

    if (below(e, 5) == 0)
        mod = 0, rm = 6;
    if (mod == 0 && rm == 6) {
        emit(e, (reg & 7) << 3 | 6, 1);
        emit(e, offset, 2);
        return;
    }
    if (!e->alone)
        disp = offset - e->c->in.gpr[forms[rm].base];
    else if (mod == 0)
        disp = 0;
    emit(e, mod << 6 | (reg & 7) << 3 | rm, 1);
    emit(e, disp, mod);
    if (!e->alone)
        return;
    offset -= disp * (uint64_t)(mod == 1 ? disp8_scale(e) : 1);
    if (forms[rm].index != 0)
        offset -= e->c->in.gpr[forms[rm].index];
    set_low(e, forms[rm].base, offset);
}

/* In a sequence: RBX, RBP, RSI or RDI, which point to something, and a displacement from there. */
static void memory_operand_pointer(struct encoder *e, unsigned reg)
{
    static const uint8_t pointers[] = {GPR_RBX, GPR_RBP, GPR_RSI, GPR_RDI};
    unsigned base = pointers[below(e, 4)];

    emit(e, 0x80 | (reg & 7) << 3 | base, 1);
    emit(e, target_offset(e) - e->c->in.gpr[base], 4);
}

/* RIP-relative, or absolute in 32-bit code. */
static void memory_operand_fixed(struct encoder *e, unsigned reg)
{
    emit(e, (reg & 7) << 3 | 5, 1);
    e->rip_disp_at = e->c->length;
    emit(e, target_offset(e), 4);
}

static void memory_operand(struct encoder *e, unsigned reg)
{
    const bool vsib = (e->row->attrs & A_VSIB) != 0;
    unsigned mod = below(e, 3), base = below(e, e->is_long ? 16 : 8);
    unsigned index = 4, scale = 0; /* none */
    bool sib = vsib || below(e, 3) == 0;
    int32_t disp;
    uint64_t address;

    if (mod == 0 && (base & 7) == 5)
        mod = 1;
    disp = mod == 0   ? 0
           : mod == 1 ? (int8_t)random_next(e->random)
                      : (int32_t)(random_next(e->random) & 0xfffff) - 0x80000;
    if (base == GPR_RSP || takes_component_mask(e->row))
        base = GPR_RBX;
    sib = sib || (base & 7) == 4;
    if (vsib || (sib && below(e, 2) == 0)) {
        index = below(e, !e->is_long ? 8 : vsib && e->evex ? 32 : 16);
        scale = below(e, 4);
        e->v_high = vsib ? index & 16 : e->v_high;
        if (vsib)
            vector_index(e, index, scale);
        else if (index == base) /* it would move the target */
            index = 4;
    }
    e->rex |= (base & 8 ? 1 : 0) | (index & 8 ? 2 : 0);
    emit(e, mod << 6 | (reg & 7) << 3 | (sib ? 4 : base & 7), 1);
    if (sib)
        emit(e, scale << 6 | (index & 7) << 3 | (base & 7), 1);
    emit(e, (uint32_t)disp, mod == 2 ? 4 : mod);
    disp *= mod == 1 ? disp8_scale(e) : 1;
    address = target_offset(e) - (uint64_t)(int64_t)disp;
    if (index != 4 && !vsib)
        address -= e->c->in.gpr[index] << scale;
    if (e->address_bits == 32)
        address = (uint32_t)address | (e->is_long ? random_next(e->random) << 32 : 0);
    e->c->in.gpr[base] = address;
}

static void any_memory_operand(struct encoder *e, unsigned reg)
{
    e->target = random_target(e);
    if (e->address_bits == 16)
        memory_operand16(e, reg);
    else if (!(e->row->attrs & A_VSIB) && below(e, e->alone ? 12 : 2) == 0)
        memory_operand_fixed(e, reg);
    else if (e->alone)
        memory_operand(e, reg);
    else
        memory_operand_pointer(e, reg);
}

static void modrm(struct encoder *e)
{
    const struct insn_row *row = e->row;
    unsigned reg = any_register(e), rm = any_register(e);
    bool memory = below(e, 2);

    switch (row->modrm_class) {
    case MODRM_NONE:
        return;
    case MODRM_EXACT:
        emit(e, row->modrm_value, 1);
        return;
    case MODRM_REG:
    case MODRM_REG_EXT:
        memory = false;
        break;
    case MODRM_MEM:
    case MODRM_MEM_EXT:
        memory = true;
        break;
    }
    if (strstr(row->operands, "Kg") != NULL)
        reg &= 7;
    if (e->evex) {
        evex_bits(e, memory);
        if (e->is_long && (strstr(row->operands, "Vx") != NULL || one_in(e, 64)))
            e->reg_high = one_in(e, 2);
        if (e->is_long && !memory && strpbrk(row->operands, "UW") != NULL)
            e->rex |= one_in(e, 2) ? 2 : 0;
    }
    if (row->modrm_class == MODRM_EXT || row->modrm_class == MODRM_MEM_EXT ||
        row->modrm_class == MODRM_REG_EXT)
        reg = row->modrm_value;
    e->rex |= reg & 8 ? 4 : 0;
    if (memory) {
        any_memory_operand(e, reg);
        return;
    }
    e->rex |= rm & 8 ? 1 : 0;
    emit(e, 0xc0 | (reg & 7) << 3 | (rm & 7), 1);
}

/* A far pointer's selector: that of the code itself mostly. */
static uint16_t code_selector(struct encoder *e, unsigned slot)
{
    static const uint16_t others[] = {
        0,
        3,
        SELECTOR_CODE32,
        SELECTOR_DATA,
        0x10,
        0x0b,
        0x103,
        0x20,
        0xfff7,
        LDT_SELECTOR(LDT_EXECUTE),
        LDT_SELECTOR(LDT_ABSENT),
        LDT_SELECTOR(LDT_DATA16),
    };

    if (below(e, 3) == 0)
        return others[below(e, ARRAY_SIZE(others))];
    return LDT_SELECTOR(LDT_SLOTS + 2 * slot + below(e, 2));
}

static uint64_t branch_displacement(struct encoder *e, unsigned size)
{
    e->jump_at = e->c->length;
    e->jump_size = size;
    return below(e, 32);
}

static void immediate(struct encoder *e, const char *p, unsigned slot)
{
    unsigned z = e->operand_bits == 16 ? 2 : 4;

    if (strncmp(p, "Ib", 2) == 0 || strncmp(p, "Lx", 2) == 0) {
        emit(e, value_integer(e->random), 1);
    } else if (strncmp(p, "Iw", 2) == 0) {
        emit(e, below(e, 64), 2);
    } else if (strncmp(p, "Iz", 2) == 0) {
        emit(e, value_integer(e->random), z);
    } else if (strncmp(p, "Iv", 2) == 0) {
        emit(e, value_integer(e->random), e->operand_bits / 8);
    } else if (strncmp(p, "Jb", 2) == 0) {
        emit(e, branch_displacement(e, 1), 1);
    } else if (strncmp(p, "Jz", 2) == 0) {
        z = e->is_long ? 4 : z;
        emit(e, branch_displacement(e, z), z);
    } else if (strncmp(p, "Ap", 2) == 0) {
        emit(e, SLOT_ENTRY + BEHIND_CODE + below(e, 64), z);
        emit(e, code_selector(e, slot), 2);
    } else if (p[0] == 'O') {
        e->target = random_target(e);
        emit(e, target_offset(e), e->address_bits / 8);
    }
}

static void immediates(struct encoder *e, unsigned slot)
{
    for (const char *p = e->row->operands; *p != '\0';) {
        immediate(e, p, slot);
        p += strcspn(p, ",");
        p += *p == ',';
    }
}

static void address_size(struct encoder *e)
{
    static const uint8_t rare[DIFF_COUNT] = {8, 96, 6, 4};
    bool other = below(e, rare[e->c->mode]) == 0;

    e->address_bits = e->c->mode == DIFF_64 ? 64 : e->c->mode == DIFF_16 ? 16 : 32;
    if ((e->row->attrs & A_VSIB) && e->c->mode != DIFF_64)
        other = e->address_bits == 16; /* there are no vectors as indices of 16-bit addresses */
    /* A bit's number of 64 bits leads anywhere in an address space of 32, to the code, too. */
    if (e->is_long && strncmp(e->row->mnemonic, "bt", 2) == 0)
        other = false;
    if (!other)
        return;
    e->address_bits = e->address_bits == 32 ? 16 : 32;
    emit(e, 0x67, 1);
}

static void vex_fields(struct encoder *e)
{
    const struct insn_row *row = e->row;
    bool any_w = e->is_long || row->size == SZ_X || row->size == SZ_D;
    bool any_l = (row->size == SZ_X || ((row->attrs & A_AVX) && row->size == SZ_D)) &&
                 (!(row->attrs & A_AVX2_L1) || host_has_feature(FEATURE_AVX2));

    e->rex_w = (row->attrs & A_VEX_W1) || (!(row->attrs & A_VEX_W0) && any_w && below(e, 2));
    e->vex_l = (row->attrs & A_VEX_L1) || (!(row->attrs & A_VEX_L0) && any_l && below(e, 2));
    if (row->attrs & A_VVVV)
        e->vvvv = (uint8_t)any_register(e);
    if (strstr(row->operands, "Kv") != NULL)
        e->vvvv &= 7;
    if (e->evex && e->is_long && (row->attrs & A_VVVV))
        e->v_high = one_in(e, 2) ? 16 : 0;
}

/* Prefixes and operand size. Leaves room for REX, which is known at the end. */
static void prefixes(struct encoder *e)
{
    static const uint8_t segments[] = {0x26, 0x36, 0x3e, 0x2e, 0x65};
    const struct insn_row *row = e->row;
    unsigned normal = e->c->mode == DIFF_16 ? 16 : 32;
    bool sized = row->size == SZ_V || row->size == SZ_V64 ||
                 (row->size == SZ_F64 && mode_is_segmented(e->c));

    /* Behind a CS prefix lies what cannot be written, behind GS nothing at all in 32-bit code. */
    if (below(e, 24) == 0 && (row->attrs & (A_READS | A_WRITES))) {
        uint8_t segment = segments[below(e, below(e, 4) == 0 && e->alone ? 5 : 3)];

        e->gs = segment == 0x65;
        emit(e, segment, 1);
    }
    address_size(e);
    e->operand_bits = row->size == SZ_B ? 8 : sized ? normal : 32;
    if (e->vex) {
        vex_fields(e);
        return;
    }
    if (row->prefix == PFX_66)
        emit(e, 0x66, 1);
    else if (row->prefix == PFX_F3 || row->prefix == PFX_F2)
        emit(e, row->prefix == PFX_F3 ? 0xf3 : 0xf2, 1);
    if (sized && row->prefix != PFX_66 && row->prefix != PFX_NP && below(e, 3) == 0) {
        e->prefix66 = true;
        e->operand_bits = 48 - normal;
        emit(e, 0x66, 1);
    } else if ((sized || row->size == SZ_Y) && e->is_long && below(e, 2) &&
               strstr(row->operands, "Mp") == NULL) { /* AMD's have no 64-bit far pointers */
        e->rex_w = true;
        e->operand_bits = 64;
    }
    if (row->size == SZ_V64 && e->is_long && !e->prefix66)
        e->operand_bits = 64;
    if ((row->attrs & A_REP) && below(e, 2))
        emit(e, below(e, 2) ? 0xf3 : 0xf2, 1);
    if ((row->attrs & A_LOCK) && below(e, 8) == 0)
        emit(e, 0xf0, 1);
}

static void opcode(struct encoder *e)
{
    bool in_opcode = strchr(e->row->operands, 'Z') != NULL;
    unsigned low = in_opcode ? any_register(e) : 0;

    if (e->row->map != MAP_1B && !e->vex)
        emit(e, 0x0f, 1);
    if (e->row->map == MAP_0F38)
        emit(e, 0x38, 1);
    else if (e->row->map == MAP_0F3A)
        emit(e, 0x3a, 1);
    e->rex |= low & 8 ? 1 : 0;
    emit(e, e->row->opcode + (low & 7), 1);
}

/* Makes room for `bytes` at the place of the prefix that comes last. */
static uint8_t *insert(struct encoder *e, unsigned at, unsigned bytes)
{
    struct diff_case *c = e->c;

    memmove(c->code + at + bytes, c->code + at, c->length - at);
    c->length += bytes;
    if (e->rip_disp_at != 0)
        e->rip_disp_at += bytes;
    if (e->jump_size != 0)
        e->jump_at += bytes;
    return c->code + at;
}

/* REX or VEX, now that all of it is known. */
static void last_prefix(struct encoder *e, unsigned at)
{
    static const uint8_t pp[] = {[PFX_66] = 1, [PFX_F3] = 2, [PFX_F2] = 3, [PFX_NO_REP] = 0};
    const struct insn_row *row = e->row;
    uint8_t last, *p;

    e->rex |= e->rex_w ? 8 : 0;
    if (!e->vex) {
        if (e->is_long && (e->rex != 0 || (below(e, 6) == 0 && row->modes != IN_NO_B)))
            *insert(e, at, 1) = 0x40 | e->rex;
        return;
    }
    if (e->evex) {
        p = insert(e, at, 4);
        p[0] = 0x62;
        p[1] =
            (uint8_t)((~e->rex & 7) << 5 | (e->reg_high ? 0 : 0x10) | (row->map - MAP_EVEX_0F + 1));
        p[2] = (uint8_t)((e->rex_w ? 0x80 : 0) | (~e->vvvv & 15) << 3 | 4 | pp[row->prefix]);
        p[3] = (uint8_t)((e->zeroing ? 0x80 : 0) | e->vex_l << 5 | (e->b ? 0x10 : 0) |
                         (e->v_high ? 0 : 8) | e->opmask);
        return;
    }
    last = (uint8_t)((~e->vvvv & 15) << 3 | e->vex_l << 2 | pp[row->prefix]);
    if (row->map == MAP_VEX_0F && (e->rex & ~4) == 0 && below(e, 2)) {
        p = insert(e, at, 2);
        p[0] = 0xc5;
        p[1] = (uint8_t)(last | (e->rex & 4 ? 0 : 0x80));
    } else {
        p = insert(e, at, 3);
        p[0] = 0xc4;
        p[1] = (uint8_t)((~e->rex & 7) << 5 | (row->map - MAP_VEX_0F + 1));
        p[2] = (uint8_t)(last | (e->rex_w ? 0x80 : 0));
    }
}

/* SHLD and SHRD of 16 bits: a count above 16 leaves the result undefined. */
static void limit_count(struct encoder *e)
{
    bool immediate_count = strstr(e->row->operands, "Ib") != NULL;

    if (strcmp(e->row->mnemonic, "shld") != 0 && strcmp(e->row->mnemonic, "shrd") != 0)
        return;
    if (e->operand_bits == 16 && immediate_count)
        e->c->code[e->c->length - 1] &= 0xf;
    else if (e->operand_bits == 16)
        e->c->in.gpr[GPR_RCX] &= ~0x1full;
}

struct encoded encode_step(struct diff_case *c, unsigned row, unsigned slot, bool alone,
                           uint64_t *random)
{
    struct encoder e = {.c = c, .row = &insn_rows[row], .random = random, .alone = alone};
    unsigned rex_at;

    e.vex = e.row->map >= MAP_VEX_0F;
    e.evex = e.row->map >= MAP_EVEX_0F;
    e.is_long = c->mode == DIFF_64;
    e.start = c->length;
    prefixes(&e);
    rex_at = c->length;
    opcode(&e);
    modrm(&e);
    immediates(&e, slot);
    limit_count(&e);
    last_prefix(&e, rex_at);
    if (e.rip_disp_at != 0 && e.is_long) {
        uint32_t disp = (uint32_t)(target_offset(&e) - (slot_address(slot) + c->length));

        memcpy(c->code + e.rip_disp_at, &disp, 4);
    }
    return (struct encoded){
        .target = e.target,
        .operand_bits = e.operand_bits,
        .jump_at = e.jump_at,
        .jump_size = e.jump_size,
    };
}
