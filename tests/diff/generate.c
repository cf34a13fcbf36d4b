/* Makes cases: a legal encoding of a row with random operands, and a random state in which its
 * memory operands mostly point into the data pages. */
#include "diff.h"

#include "base/bits.h"
#include "cpu/insn.h"

#include <string.h>

/* Rows that a user program cannot run the same way on two machines, or that end a case elsewhere
 * than at its INT3 for reasons that have their own tests. By mnemonic. */
static const char *const excluded[] = {
    "xsetbv",   "rdtsc",   "rdtscp",   "cpuid",    "rdrand",   "rdseed",    "rdpid",   "syscall",
    "sysenter", "int",     "int3",     "into",     "int1",     "ljmp",      "lcall",   "retf",
    "iret",     "les",     "lds",      "lss",      "lfs",      "lgs",       "sldt",    "str",
    "sgdt",     "sidt",    "smsw",     "lar",      "lsl",      "verr",      "verw",    "arpl",
    "popf",     "xgetbv",  "xsave",    "xsaveopt", "xrstor",   "fxsave",    "fxrstor", "rdpkru",
    "wrpkru",   "rdpmc",   "rdfsbase", "rdgsbase", "wrfsbase", "wrgsbase",  "fnsave",  "frstor",
    "fldenv",   "fnstenv", "in",       "out",      "ins",      "outs",      "insb",    "outsb",
    "pushf",    "bound",   "cli",      "sti",      "clzero",   "prefetchw", "rsm",
};

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static unsigned below(uint64_t *state, unsigned n)
{
    return (unsigned)(next_random(state) % n);
}

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
    bool rex_w, prefix66, vex;
    uint8_t rex;
    uint8_t vvvv, vex_l;
    int pointer;          /* register that the memory operand is based on, or -1 */
    unsigned rip_disp_at; /* offset of a RIP-relative displacement, 0: none */
    uint64_t target;      /* linear address that the memory operand means */
};

static void emit(struct encoder *e, uint64_t value, unsigned bytes)
{
    for (unsigned n = 0; n < bytes; n++)
        e->c->code[e->c->length++] = (uint8_t)(value >> (8 * n));
}

/* Values that find errors: corners of every width, else random bits. */
static uint64_t interesting(uint64_t *random)
{
    static const uint64_t corners[] = {
        0,
        1,
        2,
        0x7f,
        0x80,
        0xff,
        0x7fff,
        0x8000,
        0xffff,
        0x7fffffff,
        0x80000000,
        0xffffffff,
        0x7fffffffffffffff,
        0x8000000000000000,
        UINT64_MAX,
        0x0f0f0f0f0f0f0f0f,
    };
    uint64_t v = next_random(random);

    switch (below(random, 5)) {
    case 0:
        return corners[v % ARRAY_SIZE(corners)];
    case 1:
        return v & 0xff;
    case 2:
        return (uint64_t)(int64_t)(int32_t)v;
    default:
        return v;
    }
}

static double interesting_double(uint64_t *random)
{
    static const double corners[] = {0.0,  -0.0, 1.0,    -1.0,   0.5,   3.0, 1e300, -1e-300,
                                     1e30, 1e10, 123.75, -255.5, 65537, 0.1, 1e-45, 2147483648.0};

    return corners[below(random, ARRAY_SIZE(corners))];
}

static uint64_t interesting_lane(uint64_t *random)
{
    uint64_t v;
    double d;
    float f[2];

    switch (below(random, 5)) {
    case 0:
        d = interesting_double(random);
        memcpy(&v, &d, 8);
        return v;
    case 1:
        f[0] = (float)interesting_double(random);
        f[1] = (float)interesting_double(random);
        memcpy(&v, f, 8);
        return v;
    case 2: { /* infinities, NaNs, denormals of both widths */
        static const uint64_t specials[] = {
            0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000001, 0x7ff0000000000001,
            0x0000000000000001, 0x800fffffffffffff, 0x7f800000ff800000, 0x7fc000017f800001,
            0x0000000180000001, 0x007fffff00800000, 0x7fefffffffffffff, 0x7f7fffffff7fffff,
        };
        return specials[below(random, ARRAY_SIZE(specials))];
    }
    default:
        return interesting(random);
    }
}

static void random_fpu(struct encoder *e, struct diff_state *s)
{
    for (unsigned n = 0; n < 16; n++)
        for (unsigned k = 0; k < 2; k++)
            s->xmm[n][k] = interesting_lane(&e->random);
    s->mxcsr = 0x1f80 | (below(&e->random, 4) << 13);
    if (below(&e->random, 4) == 0)
        s->mxcsr = (uint32_t)(next_random(&e->random) & 0xffff);
    s->fcw = (uint16_t)(0x37f | below(&e->random, 4) << 10);
    if (below(&e->random, 4) == 0)
        s->fcw = (uint16_t)((next_random(&e->random) & 0x0f3f) | 0x40);
    if ((s->fcw & 0x300) == 0x100)
        s->fcw |= 0x300; /* precision control 1 is reserved */
    s->fsw = (uint16_t)((next_random(&e->random) & 0x4700) | below(&e->random, 8) << 11);
    s->ftw = (uint8_t)(below(&e->random, 3) ? 0xff : next_random(&e->random));
    for (unsigned n = 0; n < 8; n++) {
        uint64_t v = next_random(&e->random);

        s->st[n].significand = interesting(&e->random) | BIT64(63);
        s->st[n].sign_exponent = (uint16_t)(0x3fff - 40 + v % 80) | (uint16_t)(v >> 32 & 0x8000);
        switch (below(&e->random, 8)) {
        case 0: /* anything, pseudo-formats included */
            s->st[n].significand = interesting(&e->random);
            s->st[n].sign_exponent = (uint16_t)interesting(&e->random);
            break;
        case 1:
            s->st[n].significand = 0;
            s->st[n].sign_exponent &= 0x8000;
            break;
        case 2: /* infinity or NaN */
            s->st[n].significand = below(&e->random, 2) ? BIT64(63) : v | BIT64(63);
            s->st[n].sign_exponent |= 0x7fff;
            break;
        }
    }
}

static void random_state(struct encoder *e)
{
    struct diff_state *s = &e->c->in;

    for (unsigned n = 0; n < 16; n++)
        s->gpr[n] = interesting(&e->random);
    s->gpr[GPR_RCX] = below(&e->random, 2) ? below(&e->random, 70) : interesting(&e->random);
    s->gpr[GPR_RSP] = DATA_BASE + 0x800 + below(&e->random, 0x400) * 4;
    s->rflags = 0x202 | (next_random(&e->random) & 0x8d5);
    if (below(&e->random, 4) == 0)
        s->rflags |= BIT(10); /* DF */
    /* Implicit pointers. */
    if (e->row->attrs & A_REP || strstr(e->row->mnemonic, "maskmov") != NULL) {
        s->gpr[GPR_RSI] = DATA_BASE + 0x700 + below(&e->random, 0x1000);
        s->gpr[GPR_RDI] = DATA_BASE + 0x700 + below(&e->random, 0x1000);
        s->gpr[GPR_RCX] = below(&e->random, 100);
    }
    if (strncmp(e->row->mnemonic, "xlat", 4) == 0)
        s->gpr[GPR_RBX] = DATA_BASE + below(&e->random, 0x1000);
    if (strcmp(e->row->mnemonic, "leave") == 0 || strcmp(e->row->mnemonic, "enter") == 0)
        s->gpr[GPR_RBP] = DATA_BASE + 0x800 + below(&e->random, 0x400) * 4;
    random_fpu(e, s);
    for (unsigned n = 0; n < DATA_SIZE; n += 8) {
        uint64_t v = interesting_lane(&e->random);

        memcpy(e->c->data + n, &v, 8);
    }
}

/* Where the memory operand points: mostly aligned to 16, inside the data, now and then across the
 * page boundary or out of the data. */
static uint64_t random_target(struct encoder *e)
{
    uint64_t t = DATA_BASE + below(&e->random, (DATA_SIZE - 1024) / 16) * 16ull;

    switch (below(&e->random, 16)) {
    case 0:
        return t + below(&e->random, 16);
    case 1:
        return DATA_BASE + 4096 - below(&e->random, 32);
    case 2:
        return e->row->attrs & A_ALIGN16 ? t : t + 1 + below(&e->random, 15);
    case 3:
        return DATA_BASE + DATA_SIZE - below(&e->random, 20);
    default:
        return t;
    }
}

static void memory_operand(struct encoder *e, unsigned reg)
{
    unsigned mod = below(&e->random, 3);
    int32_t disp = mod == 1 ? (int8_t)next_random(&e->random)
                            : (int32_t)(next_random(&e->random) & 0xfffff) - 0x80000;
    unsigned base = below(&e->random, e->c->compat ? 8 : 16);
    bool sib = below(&e->random, 3) == 0 || (base & 7) == 4;

    e->target = random_target(e);
    if (mod == 0 && below(&e->random, 4) == 0) { /* RIP-relative, or absolute in 32-bit code */
        emit(e, (reg & 7) << 3 | 5, 1);
        e->rip_disp_at = e->c->length;
        emit(e, e->target, 4);
        return;
    }
    if (mod == 0 && (base & 7) == 5)
        mod = 1, disp = 8;
    if (base == GPR_RSP)
        base = GPR_RBX;
    sib = sib || (base & 7) == 4;
    e->rex |= base & 8 ? 1 : 0;
    emit(e, mod << 6 | (reg & 7) << 3 | (sib ? 4 : base & 7), 1);
    if (mod == 0)
        disp = 0;
    if (sib) { /* no index, or the base itself unscaled twice would move the target: keep to none */
        emit(e, 0x20 | (base & 7), 1);
    }
    if (mod == 1)
        emit(e, (uint8_t)disp, 1), disp = (int8_t)disp;
    else if (mod == 2)
        emit(e, (uint32_t)disp, 4);
    e->pointer = (int)base;
    e->c->in.gpr[base] = e->target - (uint64_t)(int64_t)disp;
    if (e->c->compat)
        e->c->in.gpr[base] &= UINT32_MAX;
}

static void modrm(struct encoder *e)
{
    const struct insn_row *row = e->row;
    unsigned reg = below(&e->random, e->c->compat ? 8 : 16), rm = below(&e->random, 16);
    bool memory = below(&e->random, 2);

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

        if (strncmp(p, "Ib", 2) == 0)
            emit(e, interesting(&e->random), 1);
        else if (strncmp(p, "Iw", n) == 0 && n == 2)
            emit(e, below(&e->random, 64), 2);
        else if (strncmp(p, "Iz", n) == 0 && n == 2)
            emit(e, interesting(&e->random), z);
        else if (strncmp(p, "Iv", n) == 0 && n == 2)
            emit(e, interesting(&e->random), e->operand_bits / 8);
        else if (strncmp(p, "Jb", n) == 0 && n == 2)
            emit(e, below(&e->random, 32), 1);
        else if (strncmp(p, "Jz", n) == 0 && n == 2)
            emit(e, below(&e->random, 32),
                 e->row->size == SZ_F64 && !e->c->compat ? 4
                 : e->prefix66                           ? 2
                                                         : 4);
        else if (p[0] == 'O')
            emit(e, random_target(e), e->c->compat ? 4 : 8);
        p += n + (p[n] == ',');
    }
}

/* Prefixes and operand size. Leaves room for REX, which is known at the end. */
static void prefixes(struct encoder *e)
{
    const struct insn_row *row = e->row;
    bool sized = row->size == SZ_V || row->size == SZ_V64;

    e->operand_bits = row->size == SZ_B ? 8 : 32;
    if (e->vex) {
        bool any_w = !e->c->compat || row->size == SZ_X;

        e->rex_w =
            (row->attrs & A_VEX_W1) || (!(row->attrs & A_VEX_W0) && any_w && below(&e->random, 2));
        e->vex_l = (row->attrs & A_VEX_L1) ||
                   (!(row->attrs & A_VEX_L0) && row->size == SZ_X && below(&e->random, 2));
        if (row->attrs & A_VVVV)
            e->vvvv = (uint8_t)below(&e->random, e->c->compat ? 8 : 16);
        return;
    }
    if (row->prefix == PFX_66)
        emit(e, 0x66, 1);
    else if (row->prefix == PFX_F3 || row->prefix == PFX_F2)
        emit(e, row->prefix == PFX_F3 ? 0xf3 : 0xf2, 1);
    if (sized && row->prefix != PFX_66 && below(&e->random, 3) == 0) {
        e->prefix66 = true;
        e->operand_bits = 16;
        emit(e, 0x66, 1);
    } else if ((sized || row->size == SZ_Y) && !e->c->compat && below(&e->random, 2)) {
        e->rex_w = true;
        e->operand_bits = 64;
    }
    if (row->size == SZ_V64 && !e->c->compat && !e->prefix66)
        e->operand_bits = 64;
    if ((row->attrs & A_REP) && below(&e->random, 2))
        emit(e, below(&e->random, 2) ? 0xf3 : 0xf2, 1);
    if ((row->attrs & A_LOCK) && below(&e->random, 8) == 0)
        emit(e, 0xf0, 1);
}

static void opcode(struct encoder *e)
{
    bool in_opcode = strchr(e->row->operands, 'Z') != NULL;
    unsigned low = in_opcode ? below(&e->random, e->c->compat ? 8 : 16) : 0;

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
        if (!e->c->compat && (e->rex != 0 || below(&e->random, 6) == 0))
            *insert(e, at, 1) = 0x40 | e->rex;
        return;
    }
    last = (uint8_t)((~e->vvvv & 15) << 3 | e->vex_l << 2 | pp[row->prefix]);
    if (row->map == MAP_VEX_0F && (e->rex & ~4) == 0 && below(&e->random, 2)) {
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
    *c = (struct diff_case){.seed = seed, .row = row, .compat = compat};
    random_state(&e);
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
        uint32_t disp = (uint32_t)(e.target - (slot_address(slot) + c->length));

        memcpy(c->code + e.rip_disp_at, &disp, 4);
    }
    if (compat)
        for (unsigned n = 0; n < 16; n++)
            c->in.gpr[n] = n < 8 ? (uint32_t)c->in.gpr[n] : c->in.gpr[n];
}
