/* Makes cases: a legal encoding of a row with random operands, and a random state in which its
 * memory operands mostly point into the data pages. */
#include "base/bits.h"
#include "cpu/decode.h"
#include "values.h"

#include <string.h>

/* Rows that a user program cannot run the same way on two machines, or that end a case elsewhere
 * than at its INT3 for reasons that have their own tests. By mnemonic. */
static const char *const excluded[] = {
    "xsetbv",   "rdtsc",  "rdtscp", "cpuid",  "rdrand",    "rdseed",   "rdpid",     "syscall",
    "sysenter", "int",    "int3",   "into",   "int1",      "ljmp",     "lcall",     "retf",
    "iret",     "les",    "lds",    "lss",    "lfs",       "lgs",      "sldt",      "str",
    "sgdt",     "sidt",   "smsw",   "lar",    "lsl",       "verr",     "verw",      "arpl",
    "popf",     "xgetbv", "rdpkru", "wrpkru", "rdpmc",     "rdfsbase", "rdgsbase",  "wrfsbase",
    "wrgsbase", "in",     "out",    "ins",    "outs",      "insb",     "outsb",     "pushf",
    "bound",    "cli",    "sti",    "clzero", "prefetchw", "rsm",      "movdir64b",
};

bool generate_row_eligible(unsigned n, bool compat)
{
    const struct insn_row *row = &insn_rows[n];

    if (row->attrs & (A_CPL0 | A_IO))
        return false;
    if (row->modes == (compat ? IN_64 : IN_NO64))
        return false;
    if (strstr(row->operands, "Sw") != NULL)
        return false; /* MOV with segment registers */
    for (unsigned k = 0; k < ARRAY_SIZE(excluded); k++)
        if (strcmp(row->mnemonic, excluded[k]) == 0)
            return false;
    /* PUSH and POP of segment registers. */
    if (strlen(row->operands) == 2 && row->operands[1] == 's' &&
        strchr("cdefgs", row->operands[0]) != NULL)
        return false;
    return host_has_feature(row->feature);
}

/* An encoding under construction. */
struct encoder {
    struct diff_case *c;
    const struct insn_row *row;
    uint64_t random;
    unsigned operand_bits;
    bool rex_w, prefix66, prefix67, vex, evex;
    uint8_t rex;
    uint8_t vvvv, vex_l;
    uint8_t reg_high, v_high; /* EVEX.R', EVEX.V' */
    bool zeroing, b;
    uint8_t opmask;
    int pointer;          /* register that the memory operand is based on, or -1 */
    unsigned rip_disp_at; /* offset of a RIP-relative displacement, 0: none */
};

static void emit(struct encoder *e, uint64_t value, unsigned bytes)
{
    for (unsigned n = 0; n < bytes; n++)
        e->c->code[e->c->length++] = (uint8_t)(value >> (8 * n));
}

/* Where the memory operand points: mostly aligned to 16, inside the data, now and then across the
 * page boundary or out of the data. */
static uint64_t random_target(struct encoder *e)
{
    uint64_t t = DATA_BASE + random_below(&e->random, (DATA_SIZE - 1024) / 16) * 16ull;

    switch (random_below(&e->random, 16)) {
    case 0:
        return t + random_below(&e->random, 16);
    case 1:
        return DATA_BASE + 4096 - random_below(&e->random, 32);
    case 2:
        return e->row->attrs & A_ALIGN16 ? t : t + 1 + random_below(&e->random, 15);
    case 3:
        return DATA_BASE + DATA_SIZE - random_below(&e->random, 20);
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
        uint64_t to = DATA_BASE + random_below(&e->random, DATA_SIZE - 8);
        uint64_t element = (uint64_t)((int64_t)(to - e->c->target) >> scale);
        uint64_t *quad = diff_quad(s, index, dwords ? n / 2 : n);

        if (random_below(&e->random, 64) == 0)
            element = value_integer(&e->random);
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
    return random_below(&e->random, n) == 0;
}

/* The bits of EVEX that are not registers; now and then what is undefined. */
static void evex_bits(struct encoder *e, bool memory)
{
    uint32_t attrs = e->row->attrs, lengths = attrs & (A_VEX_L0 | A_VEX_L1);
    bool rounds = !memory && (attrs & (A_RC | A_SAE));

    if (!(attrs & A_NO_MASK) || one_in(e, 64))
        e->opmask = (uint8_t)(one_in(e, 3) ? 0 : random_below(&e->random, 8));
    if ((attrs & A_NEEDS_MASK) && !one_in(e, 64))
        e->opmask |= 1;
    if (!(attrs & (A_NO_MASK | A_NO_ZEROING)) && !(memory && (attrs & A_WRITES)) && e->opmask != 0)
        e->zeroing = one_in(e, 2);
    e->zeroing ^= !(attrs & A_NO_MASK) && one_in(e, 64); /* AMD's ignore it there */
    e->b = (rounds || (memory && (e->row->size == SZ_FV || e->row->size == SZ_HV)))
               ? one_in(e, 2)
               : memory && one_in(e, 64);
    e->vex_l = (uint8_t)(lengths == A_VEX_L0   ? 0
                         : lengths == A_VEX_L1 ? 1 + random_below(&e->random, 2)
                         : lengths != 0        ? 2
                                               : random_below(&e->random, 3));
    if ((rounds && e->b) || one_in(e, 64))
        e->vex_l = (uint8_t)random_below(&e->random, 4);
}

static void memory_operand(struct encoder *e, unsigned reg)
{
    unsigned mod = random_below(&e->random, 3);
    int32_t disp = mod == 1 ? (int8_t)random_next(&e->random)
                            : (int32_t)(random_next(&e->random) & 0xfffff) - 0x80000;
    unsigned base = random_below(&e->random, e->c->compat ? 8 : 16);
    unsigned index = 4, scale = 0; /* none */
    bool sib = random_below(&e->random, 3) == 0 || (base & 7) == 4;

    uint64_t address;
    unsigned disp8_scale =
        e->evex ? evex_memory_bytes(e->row, 16u << (e->vex_l < 3 ? e->vex_l : 2), e->b) : 1;

    e->c->target = random_target(e);
    if (mod == 0 && !(e->row->attrs & A_VSIB) &&
        random_below(&e->random, 4) == 0) { /* RIP-relative, or absolute in 32-bit code */
        emit(e, (reg & 7) << 3 | 5, 1);
        e->rip_disp_at = e->c->length;
        emit(e, e->c->target, 4);
        return;
    }
    if (mod == 0 && (base & 7) == 5)
        mod = 1, disp = 8;
    if (base == GPR_RSP || takes_component_mask(e->row))
        base = GPR_RBX;
    sib = sib || (base & 7) == 4;
    if (e->row->attrs & A_VSIB) {
        sib = true;
        index = random_below(&e->random, e->c->compat ? 8 : e->evex ? 32 : 16);
        scale = random_below(&e->random, 4);
        e->v_high = index & 16;
        vector_index(e, index, scale);
    } else if (sib && random_below(&e->random, 2) == 0) {
        index = random_below(&e->random, e->c->compat ? 8 : 16);
        scale = random_below(&e->random, 4);
        if (index == base) /* it would move the target */
            index = 4;
    }
    e->rex |= (base & 8 ? 1 : 0) | (index & 8 ? 2 : 0);
    emit(e, mod << 6 | (reg & 7) << 3 | (sib ? 4 : base & 7), 1);
    if (mod == 0)
        disp = 0;
    if (sib)
        emit(e, scale << 6 | (index & 7) << 3 | (base & 7), 1);
    if (mod == 1)
        emit(e, (uint8_t)disp, 1), disp = (int8_t)disp * (int32_t)disp8_scale;
    else if (mod == 2)
        emit(e, (uint32_t)disp, 4);
    e->pointer = (int)base;
    address = e->c->target - (uint64_t)(int64_t)disp;
    if (index != 4 && !(e->row->attrs & A_VSIB))
        address -= e->c->in.gpr[index] << scale;
    if (e->c->compat || e->prefix67)
        address = (uint32_t)address | (e->c->compat ? 0 : random_next(&e->random) << 32);
    e->c->in.gpr[base] = address;
}

static void modrm(struct encoder *e)
{
    const struct insn_row *row = e->row;
    unsigned reg = random_below(&e->random, e->c->compat ? 8 : 16),
             rm = random_below(&e->random, 16);
    bool memory = random_below(&e->random, 2);

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
        if (!e->c->compat && (strstr(row->operands, "Vx") != NULL || one_in(e, 64)))
            e->reg_high = one_in(e, 2);
        if (!e->c->compat && !memory && strpbrk(row->operands, "UW") != NULL)
            e->rex |= one_in(e, 2) ? 2 : 0;
    }
    if (row->modrm_class == MODRM_EXT || row->modrm_class == MODRM_MEM_EXT ||
        row->modrm_class == MODRM_REG_EXT)
        reg = row->modrm_value;
    if (e->c->compat)
        rm &= 7;
    e->rex |= reg & 8 ? 4 : 0;
    if (memory) {
        memory_operand(e, reg);
        return;
    }
    e->rex |= rm & 8 ? 1 : 0;
    emit(e, 0xc0 | (reg & 7) << 3 | (rm & 7), 1);
}

static void immediates(struct encoder *e)
{
    const char *p = e->row->operands;
    unsigned z = e->operand_bits == 16 ? 2 : 4;

    while (*p != '\0') {
        size_t n = strcspn(p, ",");

        if (strncmp(p, "Ib", 2) == 0 || strncmp(p, "Lx", 2) == 0)
            emit(e, value_integer(&e->random), 1);
        else if (strncmp(p, "Iw", n) == 0 && n == 2)
            emit(e, random_below(&e->random, 64), 2);
        else if (strncmp(p, "Iz", n) == 0 && n == 2)
            emit(e, value_integer(&e->random), z);
        else if (strncmp(p, "Iv", n) == 0 && n == 2)
            emit(e, value_integer(&e->random), e->operand_bits / 8);
        else if (strncmp(p, "Jb", n) == 0 && n == 2)
            emit(e, random_below(&e->random, 32), 1);
        else if (strncmp(p, "Jz", n) == 0 && n == 2)
            emit(e, random_below(&e->random, 32),
                 e->row->size == SZ_F64 && !e->c->compat ? 4
                 : e->prefix66                           ? 2
                                                         : 4);
        else if (p[0] == 'O')
            emit(e, e->c->target = random_target(e), e->c->compat || e->prefix67 ? 4 : 8);
        p += n + (p[n] == ',');
    }
}

/* Prefixes and operand size. Leaves room for REX, which is known at the end. */
static void prefixes(struct encoder *e)
{
    const struct insn_row *row = e->row;
    bool sized = row->size == SZ_V || row->size == SZ_V64;

    static const uint8_t segments[] = {0x26, 0x36, 0x3e};

    e->operand_bits = row->size == SZ_B ? 8 : 32;
    if (random_below(&e->random, 24) == 0 && (row->attrs & (A_READS | A_WRITES)))
        emit(e, segments[random_below(&e->random, ARRAY_SIZE(segments))], 1);
    if (!e->c->compat && random_below(&e->random, 8) == 0) {
        e->prefix67 = true;
        emit(e, 0x67, 1);
    }
    if (e->vex) {
        bool any_w = !e->c->compat || row->size == SZ_X || row->size == SZ_D;
        bool any_l = (row->size == SZ_X || ((row->attrs & A_AVX) && row->size == SZ_D)) &&
                     (!(row->attrs & A_AVX2_L1) || host_has_feature(FEATURE_AVX2));

        e->rex_w = (row->attrs & A_VEX_W1) ||
                   (!(row->attrs & A_VEX_W0) && any_w && random_below(&e->random, 2));
        e->vex_l = (row->attrs & A_VEX_L1) ||
                   (!(row->attrs & A_VEX_L0) && any_l && random_below(&e->random, 2));
        if (row->attrs & A_VVVV)
            e->vvvv = (uint8_t)random_below(&e->random, e->c->compat ? 8 : 16);
        if (strstr(row->operands, "Kv") != NULL)
            e->vvvv &= 7;
        if (e->evex && !e->c->compat && (row->attrs & A_VVVV))
            e->v_high = one_in(e, 2) ? 16 : 0;
        return;
    }
    if (row->prefix == PFX_66)
        emit(e, 0x66, 1);
    else if (row->prefix == PFX_F3 || row->prefix == PFX_F2)
        emit(e, row->prefix == PFX_F3 ? 0xf3 : 0xf2, 1);
    if (sized && row->prefix != PFX_66 && random_below(&e->random, 3) == 0) {
        e->prefix66 = true;
        e->operand_bits = 16;
        emit(e, 0x66, 1);
    } else if ((sized || row->size == SZ_Y) && !e->c->compat && random_below(&e->random, 2)) {
        e->rex_w = true;
        e->operand_bits = 64;
    }
    if (row->size == SZ_V64 && !e->c->compat && !e->prefix66)
        e->operand_bits = 64;
    if ((row->attrs & A_REP) && random_below(&e->random, 2))
        emit(e, random_below(&e->random, 2) ? 0xf3 : 0xf2, 1);
    if ((row->attrs & A_LOCK) && random_below(&e->random, 8) == 0)
        emit(e, 0xf0, 1);
}

static void opcode(struct encoder *e)
{
    bool in_opcode = strchr(e->row->operands, 'Z') != NULL;
    unsigned low = in_opcode ? random_below(&e->random, e->c->compat ? 8 : 16) : 0;

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
        if (!e->c->compat && (e->rex != 0 || random_below(&e->random, 6) == 0))
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
    if (row->map == MAP_VEX_0F && (e->rex & ~4) == 0 && random_below(&e->random, 2)) {
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

void generate_case(struct diff_case *c, unsigned row, bool compat, uint64_t seed, unsigned slot)
{
    struct encoder e = {.c = c, .row = &insn_rows[row], .random = seed, .pointer = -1};
    unsigned rex_at;

    e.vex = e.row->map >= MAP_VEX_0F;
    e.evex = e.row->map >= MAP_EVEX_0F;
    *c = (struct diff_case){.seed = seed, .row = row, .compat = compat};
    state_registers(c, &e.random);
    prefixes(&e);
    rex_at = c->length;
    opcode(&e);
    modrm(&e);
    immediates(&e);
    if (strncmp(e.row->mnemonic, "sh", 2) == 0 && strlen(e.row->mnemonic) == 4 && e.prefix66) {
        /* SHLD and SHRD of 16 bits: a count above 16 leaves the result undefined. */
        c->in.gpr[GPR_RCX] &= ~0x1full;
        if (strstr(e.row->operands, "Ib") != NULL)
            c->code[c->length - 1] &= 0xf;
    }
    last_prefix(&e, rex_at);
    if (e.rip_disp_at != 0 && !compat) {
        uint32_t disp = (uint32_t)(c->target - (slot_address(slot) + c->length));

        memcpy(c->code + e.rip_disp_at, &disp, 4);
    }
    state_memory(c, e.operand_bits, &e.random);
    if (compat)
        for (unsigned n = 0; n < 16; n++)
            c->in.gpr[n] = n < 8 ? (uint32_t)c->in.gpr[n] : c->in.gpr[n];
}
