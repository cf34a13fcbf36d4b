/* Operands: what the decoder put into struct insn against Capstone's detail. */
#include "decode_diff.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OPERANDS 5

enum register_class {
    CLASS_NONE,
    CLASS_GENERAL,
    CLASS_HIGH_BYTE, /* AH, CH, DH, BH: numbers 0 to 3 */
    CLASS_VECTOR,
    CLASS_MASK,
    CLASS_MMX,
    CLASS_SEGMENT,
    CLASS_CONTROL,
    CLASS_DEBUG,
    CLASS_STACK, /* ST(n) */
    CLASS_IP,
};

struct reg {
    enum register_class class;
    unsigned number;
};

struct check {
    const struct encoding *e;
    struct decoded *d;
    cs_x86_op operands[8]; /* Capstone's */
    unsigned count;
};

static bool differs(struct check *k, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool differs(struct check *k, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(k->d->operand, sizeof(k->d->operand), format, arguments);
    va_end(arguments);
    return false;
}

/* ---- Capstone's registers ------------------------------------------------------------------- */

static bool numbered(const char *name, const char *stem, struct reg *r, enum register_class class)
{
    size_t length = strlen(stem);

    if (strncmp(name, stem, length) != 0 || name[length] < '0' || name[length] > '9')
        return false;
    *r = (struct reg){class, (unsigned)atoi(name + length)};
    return true;
}

static bool listed(const char *name, const char *const *names, unsigned count, struct reg *r,
                   enum register_class class)
{
    for (unsigned n = 0; n < count; n++) {
        if (strcmp(names[n], name) == 0) {
            *r = (struct reg){class, n % 8};
            return true;
        }
    }
    return false;
}

static struct reg reg_of_name(const char *name)
{
    static const char *const general[] = {"al",  "cl",  "dl",  "bl",  "spl", "bpl", "sil", "dil",
                                          "ax",  "cx",  "dx",  "bx",  "sp",  "bp",  "si",  "di",
                                          "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi",
                                          "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"};
    static const char *const high[] = {"ah", "ch", "dh", "bh"};
    static const char *const segments[] = {"es", "cs", "ss", "ds", "fs", "gs"};
    struct reg r = {CLASS_NONE, 0};

    if (listed(name, general, 32, &r, CLASS_GENERAL) ||
        listed(name, high, 4, &r, CLASS_HIGH_BYTE) ||
        listed(name, segments, 6, &r, CLASS_SEGMENT) || numbered(name, "r", &r, CLASS_GENERAL) ||
        numbered(name, "xmm", &r, CLASS_VECTOR) || numbered(name, "ymm", &r, CLASS_VECTOR) ||
        numbered(name, "zmm", &r, CLASS_VECTOR) || numbered(name, "k", &r, CLASS_MASK) ||
        numbered(name, "mm", &r, CLASS_MMX) || numbered(name, "cr", &r, CLASS_CONTROL) ||
        numbered(name, "dr", &r, CLASS_DEBUG) || numbered(name, "st(", &r, CLASS_STACK))
        return r;
    if (strcmp(name, "st") == 0)
        r.class = CLASS_STACK;
    else if (strcmp(name, "rip") == 0 || strcmp(name, "eip") == 0)
        r.class = CLASS_IP;
    return r;
}

static struct reg reg_of(struct check *k, unsigned id)
{
    const char *name = id != X86_REG_INVALID && id != X86_REG_RIZ && id != X86_REG_EIZ
                           ? cs_reg_name(k->d->capstone, id)
                           : NULL;

    return name != NULL ? reg_of_name(name) : (struct reg){CLASS_NONE, 0};
}

/* ---- Ours ----------------------------------------------------------------------------------- */

unsigned operand_bits(const struct decoded *d)
{
    op_fn *const *ops = d->insn.flags & INSN_MEM ? d->row->ops.mem : d->row->ops.reg;
    unsigned bits = 0;

    if (d->row->size == SZ_X)
        return 0;
    for (unsigned n = 0; n < 4; n++) {
        if (ops[n] == d->insn.op) {
            if (bits != 0)
                return 0;
            bits = 8u << n;
        }
    }
    return bits;
}

/* Undoes what cpu/insn.h tells about byte registers. */
static struct reg byte_register(unsigned offset)
{
    if (offset % 8 == 1)
        return (struct reg){CLASS_HIGH_BYTE, offset / 8};
    return (struct reg){CLASS_GENERAL, offset / 8};
}

static struct reg slot(unsigned n)
{
    if (n == GPR_IP_BASE)
        return (struct reg){CLASS_IP, 0};
    return n == GPR_ZERO || n == GPR_8192 ? (struct reg){CLASS_NONE, 0}
                                          : (struct reg){CLASS_GENERAL, n};
}

/* The register that an operand of the table names; CLASS_NONE for others. */
static struct reg expected(const struct insn *i, const char *token)
{
    bool byte = strcmp(token + 1, "b") == 0;

    if (strcmp(token, "STi") == 0)
        return (struct reg){CLASS_STACK, i->rm & 7}; /* REX.B does not count */
    switch (token[0]) {
    case 'G':
        return byte ? byte_register(i->reg) : (struct reg){CLASS_GENERAL, i->reg};
    case 'E':
    case 'R':
    case 'Z':
        return byte ? byte_register(i->rm) : (struct reg){CLASS_GENERAL, i->rm};
    case 'B':
        return (struct reg){CLASS_GENERAL, i->vvvv};
    case 'V':
        return (struct reg){CLASS_VECTOR, i->reg};
    case 'W':
    case 'U':
        return (struct reg){CLASS_VECTOR, i->rm};
    case 'H':
        return (struct reg){CLASS_VECTOR, i->vvvv};
    case 'K':
        return (struct reg){CLASS_MASK, token[1] == 'g'   ? i->reg
                                        : token[1] == 'v' ? i->vvvv
                                                          : i->rm};
    case 'P':
        return (struct reg){CLASS_MMX, i->reg & 7}; /* REX.R and REX.B do not count */
    case 'Q':
    case 'N':
        return (struct reg){CLASS_MMX, i->rm & 7};
    case 'C':
    case 'D':
        if (token[1] == 'd') /* not CL, DX */
            return (struct reg){token[0] == 'C' ? CLASS_CONTROL : CLASS_DEBUG, i->reg};
        return (struct reg){CLASS_NONE, 0};
    default:
        return (struct reg){CLASS_NONE, 0};
    }
}

/* ---- Comparison ----------------------------------------------------------------------------- */

static bool same(struct reg a, struct reg b)
{
    return a.class == b.class && a.number == b.number;
}

/* The displacement as it stands in the code. */
static int64_t displacement(const struct insn *i)
{
    if (i->base == GPR_IP_BASE)
        return (int64_t)i->disp + (i->index == GPR_8192 ? 8192 : 0) - i->ip_next;
    return i->disp;
}

static bool memory_agrees(struct check *k, const x86_op_mem *m)
{
    const struct insn *i = &k->d->insn;
    struct reg base = reg_of(k, m->base), index = reg_of(k, m->index);
    struct reg segment = reg_of(k, m->segment);
    struct reg our_index =
        k->d->row->attrs & A_VSIB ? (struct reg){CLASS_VECTOR, i->index} : slot(i->index);
    uint64_t mask = i->flags & INSN_A16 ? 0xffff : 0xffffffff;

    if (!same(base, slot(i->base)))
        return differs(k, "base %u", i->base);
    if (!same(index, our_index))
        return differs(k, "index %u", i->index);
    if (index.class != CLASS_NONE && m->scale != 1 << i->scale)
        return differs(k, "scale %u", i->scale);
    if (((uint64_t)m->disp ^ (uint64_t)displacement(i)) & mask)
        return differs(k, "disp %#llx %#llx", (long long)displacement(i), (long long)m->disp);
    if (segment.class == CLASS_SEGMENT && k->e->mode == 64 && segment.number < SEG_FS)
        segment.number = SEG_NONE; /* overrides that do not count there */
    if (segment.class == CLASS_SEGMENT && segment.number != i->seg)
        return differs(k, "segment %u", i->seg);
    return true;
}

static bool offset_agrees(struct check *k, const x86_op_mem *m)
{
    if (m->disp != k->d->insn.imm)
        return differs(k, "offset %#llx %#llx", (long long)k->d->insn.imm, (long long)m->disp);
    return true;
}

static bool immediate_agrees(struct check *k, const char *token, int64_t theirs)
{
    bool sizes = k->e->prefixes & (WITH_66 | WITH_67);
    unsigned bits = strcmp(token, "Ib") == 0   ? 8
                    : strcmp(token, "Iw") == 0 ? 16
                    : k->d->bits != 0          ? k->d->bits
                                               : 8;

    /* Capstone cuts targets by other rules than processors. */
    if (token[0] == 'J')
        bits = k->e->mode == 16 || sizes ? 16 : 32;
    if (strcmp(k->d->row->operands, "Iw,Ib") == 0) /* ENTER: both, in one */
        theirs = token[1] == 'b' ? (int64_t)((uint64_t)theirs << 16) | (k->d->insn.imm & 0xffff)
                                 : (theirs & 0xffff) | (k->d->insn.imm & ~0xffff);

    if ((theirs ^ k->d->insn.imm) & (int64_t)(~0ull >> (64 - bits)))
        return differs(k, "immediate %#llx %#llx", (long long)k->d->insn.imm, (long long)theirs);
    return true;
}

static bool register_agrees(struct check *k, const char *token, unsigned id)
{
    struct reg ours = expected(&k->d->insn, token), theirs = reg_of(k, id);

    if (ours.class != CLASS_NONE && !same(ours, theirs))
        return differs(k, "%s: register %u", token, ours.number);
    return true;
}

static bool operand_agrees(struct check *k, const char *token, const cs_x86_op *op)
{
    char size = token[strlen(token) - 1];

    /* Fixed operands and strings are part of the row. */
    if (strchr("EGMRZ", token[0]) != NULL && (size == 'v' || size == 'y') && k->d->bits != 0 &&
        op->size * 8u != k->d->bits)
        return differs(k, "%s: size %u %u", token, k->d->bits, op->size * 8u);
    if (op->type == X86_OP_REG)
        return register_agrees(k, token, op->reg);
    if (op->type == X86_OP_IMM && (token[0] == 'I' || token[0] == 'J'))
        return immediate_agrees(k, token, op->imm);
    if (op->type == X86_OP_MEM && token[0] == 'O')
        return offset_agrees(k, &op->mem);
    return true;
}

static unsigned split(const char *operands, char *text, char *tokens[MAX_OPERANDS])
{
    unsigned count = 0;
    char *rest = strcpy(text, operands);

    while (*operands != '\0' && count < MAX_OPERANDS &&
           (tokens[count] = strsep(&rest, ",")) != NULL)
        count++;
    return count;
}

/* The fields of EVEX. Capstone counts the opmask register as an operand: the second. It goes. */
static bool evex_agrees(struct check *k)
{
    int64_t bits = k->d->insn.imm;
    unsigned mask = bits >> EVEX_MASK & 7, length = 16u << (bits >> EVEX_LENGTH & 3), longest = 0;
    bool b = bits >> EVEX_B & 1, broadcast = false;

    if (mask != 0) {
        struct reg r = k->count > 1 ? reg_of(k, k->operands[1].reg) : (struct reg){CLASS_NONE, 0};

        if (k->operands[1].type != X86_OP_REG || !same(r, (struct reg){CLASS_MASK, mask}))
            return differs(k, "opmask k%u", mask);
        if (k->operands[1].avx_zero_opmask != (bits >> EVEX_ZEROING & 1))
            return differs(k, "zeroing %u", k->operands[1].avx_zero_opmask);
        k->count--;
        memmove(k->operands + 1, k->operands + 2, (k->count - 1) * sizeof(k->operands[0]));
    }
    for (unsigned n = 0; n < k->count; n++) {
        broadcast |= k->operands[n].avx_bcast != X86_AVX_BCAST_INVALID;
        if (k->operands[n].type != X86_OP_IMM)
            longest = MAX(longest, k->operands[n].size);
    }
    if (broadcast != (b && (k->d->insn.flags & INSN_MEM)))
        return differs(k, "broadcast %u", broadcast);
    if (!b && k->d->row->size <= SZ_DUP && longest != length)
        return differs(k, "length %u %u", length, longest);
    return true;
}

bool operands_agree(const struct encoding *e, struct decoded *d)
{
    const cs_x86 *x86 = &d->theirs->detail->x86;
    struct check k = {.e = e, .d = d, .count = x86->op_count};
    char text[64], *tokens[MAX_OPERANDS];
    unsigned count = split(d->row->operands, text, tokens);

    memcpy(k.operands, x86->operands, sizeof(k.operands));
    if (e->map >= MAP_EVEX_0F && !evex_agrees(&k))
        return false;
    if ((d->insn.flags & INSN_MEM) && strchr(d->row->operands, 'O') == NULL)
        for (unsigned n = 0; n < k.count; n++)
            if (k.operands[n].type == X86_OP_MEM && !memory_agrees(&k, &k.operands[n].mem))
                return false;
    /* What is implied, one side may leave out. */
    for (unsigned n = 0; n < count && count == k.count; n++)
        if (!operand_agrees(&k, tokens[n], &k.operands[n]))
            return false;
    return true;
}
