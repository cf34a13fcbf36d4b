/*
 * Comparison of a case's results. Where the manuals leave a choice, or processors of different
 * makers are known to differ, an allowance brings our result to the host's if it is one of the
 * answers that are right; what differs then is an error.
 */
#include "base/bits.h"
#include "cpu/insn.h"
#include "diff.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define VECTOR_DE 0
#define VECTOR_BP 3
#define VECTOR_XM 19

#define SW_C1       0x0200u
#define SW_UE       0x0010u
#define SW_PE       0x0020u
#define SW_ES       0x0080u
#define SW_B        0x8000u
#define MXCSR_OE_UE 0x0018u
#define MXCSR_PE    0x0020u

/* ---- Allowances ---------------------------------------------------------------------------- */

typedef void allow_fn(const struct diff_case *c, const struct diff_result *host,
                      struct diff_result *ours);

static const struct insn_row *row_of(const struct diff_case *c)
{
    return &insn_rows[c->row];
}

static bool is_legacy_prefix(uint8_t byte)
{
    return byte != 0 && strchr("\x26\x36\x3e\x66\x67\xf0\xf2\xf3", byte) != NULL;
}

static bool has_operand_size_prefix(const struct diff_case *c)
{
    for (unsigned n = 0; n < c->length && is_legacy_prefix(c->code[n]); n++)
        if (c->code[n] == 0x66)
            return true;
    return false;
}

static bool has_rex_w(const struct diff_case *c)
{
    unsigned n = 0;

    while (n < c->length && is_legacy_prefix(c->code[n]))
        n++;
    return !c->compat && (c->code[n] & 0xf8) == 0x48;
}

/* The host's kernel pretends that everything beyond the user's last page is mapped; the address
 * sanitizer's shadow, from here on, is. */
static void kernel_address(const struct diff_case *c, const struct diff_result *host,
                           struct diff_result *ours)
{
#if defined(__SANITIZE_ADDRESS__)
    const uint64_t start = 0x7fff8000;
#else
    const uint64_t start = 0x7ffffffff000;
#endif

    (void)c;
    if (host->out.cr2 >= start)
        ours->out.error_code |= host->out.error_code & 1;
}

/* A 32-bit CMPXCHG that does not match writes its register operand back: Intel's clear the upper
 * half then, AMD's do not. */
static void cmpxchg(const struct diff_case *c, const struct diff_result *host,
                    struct diff_result *ours)
{
    (void)c;
    for (unsigned n = 0; n < 16; n++)
        if (n != GPR_RAX && ours->out.gpr[n] == (uint32_t)host->out.gpr[n])
            ours->out.gpr[n] = host->out.gpr[n];
}

/* If both operands fault, either may be reported. */
static void two_operands(const struct diff_case *c, const struct diff_result *host,
                         struct diff_result *ours)
{
    const struct diff_state *x = &host->out;
    struct diff_state *y = &ours->out;

    (void)c;
    if ((x->vector == 13 || x->vector == 14) && (y->vector == 13 || y->vector == 14)) {
        y->vector = x->vector;
        y->cr2 = x->cr2;
        y->error_code = x->error_code;
    }
}

/* With operand size 16 Intel's read 16 bits, AMD's 32: these may fault where those do not. */
static void movsxd(const struct diff_case *c, const struct diff_result *host,
                   struct diff_result *ours)
{
    unsigned offset = c->target & 4095;

    if ((offset == 4093 || offset == 4094) && host->out.vector == 14 && ours->out.vector == 3 &&
        host->out.cr2 == ((c->target + 3) & ~4095ull))
        *ours = *host;
}

/* FCOMI and kin clear C1 (SDM 2A "FCOMI"); AMD's leave it alone unless the stack is at fault. */
static void fcomi(const struct diff_case *c, const struct diff_result *host,
                  struct diff_result *ours)
{
    unsigned top = (c->in.fsw >> 11) & 7, rm = c->code[c->length - 1] & 7;
    bool full = (c->in.ftw >> top & 1) && (c->in.ftw >> ((top + rm) & 7) & 1);

    if (full && (host->out.fsw & SW_C1) == (c->in.fsw & SW_C1))
        ours->out.fsw |= c->in.fsw & SW_C1;
}

/* #XM for an overflow or underflow: the result's inexactness is reported as well (SDM 1 4.9.1.6),
 * but not by AMD's. */
static void inexact_fault(const struct diff_case *c, const struct diff_result *host,
                          struct diff_result *ours)
{
    unsigned unmasked = ~(c->in.mxcsr >> 7) & MXCSR_OE_UE;

    if (host->out.vector == VECTOR_XM && (host->out.mxcsr & unmasked) &&
        (ours->out.mxcsr ^ host->out.mxcsr) == MXCSR_PE)
        ours->out.mxcsr = host->out.mxcsr;
}

/* An image is stored and loaded piece by piece: the address that faults may be that of a piece. */
static void image_fault(const struct diff_case *c, const struct diff_result *host,
                        struct diff_result *ours)
{
    (void)c;
    if (host->out.vector == 14 && ours->out.vector == 14 &&
        host->out.cr2 >> 12 == ours->out.cr2 >> 12)
        ours->out.cr2 = host->out.cr2;
}

/* With five-level paging. */
static bool is_canonical(uint64_t address)
{
    return (uint64_t)((int64_t)(address << 7) >> 7) == address;
}

/* Pointers that are no canonical addresses may become such. */
static void canonical_pointers(const struct diff_case *c, const struct diff_result *host,
                               struct diff_result *ours)
{
    const struct diff_state *x = &host->out;
    struct diff_state *y = &ours->out;

    (void)c;
    if (((x->fip ^ y->fip) << 16) == 0 && is_canonical(x->fip))
        y->fip = x->fip;
    if (((x->fdp ^ y->fdp) << 16) == 0 && is_canonical(x->fdp))
        y->fdp = x->fdp;
}

static void take_bytes(const struct diff_case *c, const struct diff_result *host,
                       struct diff_result *ours, unsigned offset, unsigned size)
{
    uint64_t at = c->target + offset - DATA_BASE;

    if (at + size <= DATA_SIZE)
        memcpy(ours->data + at, host->data + at, size);
}

/* FNSTENV and FNSAVE without a pending exception: see compare_pointers. A processor that keeps the
 * pointers loses them whenever the kernel switches tasks. */
static void environment(const struct diff_case *c, const struct diff_result *host,
                        struct diff_result *ours)
{
    bool wide = !has_operand_size_prefix(c);

    if (!(c->in.fsw & SW_ES))
        take_bytes(c, host, ours, wide ? 12 : 6, wide ? 16 : 8);
}

/* The pointers of an FXSAVE area without a pending exception: see compare_pointers. Selectors are
 * obsolete. MXCSR_MASK: AMD's have a bit more. */
static void area(const struct diff_case *c, const struct diff_result *host,
                 struct diff_result *ours)
{
    if (!(c->in.fsw & SW_ES))
        take_bytes(c, host, ours, 6, 18);
    take_bytes(c, host, ours, 28, 4);
}

/* a and b in units of the last place, as one number each. */
static bool close_to(struct diff_float80 a, struct diff_float80 b)
{
    const uint64_t fraction = BIT64(63) - 1;
    __int128 x = (__int128)(a.sign_exponent & 0x7fff) << 63, y;

    x |= a.significand & fraction;
    y = (__int128)(b.sign_exponent & 0x7fff) << 63 | (b.significand & fraction);
    return (a.sign_exponent ^ b.sign_exponent) < 0x8000 && x - y <= 2 && y - x <= 2;
}

/* Transcendental functions come from the host's unit, but for results that it cannot deliver: those
 * of unmasked overflow and underflow. The last place may differ then, and what it tells. */
static void transcendental(const struct diff_case *c, const struct diff_result *host,
                           struct diff_result *ours)
{
    const struct diff_state *x = &host->out;
    struct diff_state *y = &ours->out;

    const unsigned told = SW_C1 | SW_PE | SW_UE;
    const unsigned inexact = told | (~c->in.fcw & told ? SW_ES | SW_B : 0);

    if (!ours->soft && (~c->in.fcw & 0x18) == 0)
        return;
    for (unsigned n = 0; n < 2; n++)
        if (close_to(x->st[n], y->st[n]))
            y->st[n] = x->st[n];
    y->fsw = (uint16_t)((y->fsw & ~inexact) | (x->fsw & inexact));
}

/* Outside of +-(1 - sqrt(1/2)) the manual leaves the result undefined (SDM 2A "FYL2XP1"). */
static void fyl2xp1(const struct diff_case *c, const struct diff_result *host,
                    struct diff_result *ours)
{
    const struct diff_float80 x = c->in.st[0];
    unsigned exponent = x.sign_exponent & 0x7fff;

    if (exponent > 0x3ffd || (exponent == 0x3ffd && x.significand > 0x95f619980c4336f7))
        ours->out = host->out;
}

static bool approximates(uint32_t host, uint32_t ours)
{
    float x, y;

    memcpy(&x, &host, 4);
    memcpy(&y, &ours, 4);
    if (fabsf(x) < 0x1.01p-126f && fabsf(y) < 0x1.01p-126f) /* tiny ones are flushed to 0 */
        return (host ^ ours) >> 31 == 0;
    return x - y <= fabsf(x) * 0x1.8p-11f && y - x <= fabsf(x) * 0x1.8p-11f;
}

/* Misaligned operands of the SHA instructions: Intel's raise #GP (SDM 2, exception class 4), AMD's
 * take them. */
static void sha_alignment(const struct diff_case *c, const struct diff_result *host,
                          struct diff_result *ours)
{
    if ((c->target & 15) && host->out.vector != 13 && ours->out.vector == 13)
        *ours = *host;
}

/* A gather that faults: the masks of lanes that are not done yet may have been filled from their
 * sign bits, as the manual's pseudo-code does first, or be as they were. */
static void gather_masks(const struct diff_case *c, const struct diff_result *host,
                         struct diff_result *ours)
{
    const char *end = strrchr(row_of(c)->mnemonic, '\0') - 1;
    bool dwords = *end == 's' || (*end == 'd' && end[-1] != 'p');

    if (host->out.vector < 12 || host->out.vector > 14 || (row_of(c)->attrs & A_AVX512))
        return;
    for (unsigned n = 0; n < 64; n++) {
        const uint64_t *x = n / 32 ? host->out.ymm[n % 16] : host->out.xmm[n % 16];
        uint64_t *y = n / 32 ? ours->out.ymm[n % 16] : ours->out.xmm[n % 16];
        unsigned quad = n / 16 % 2;

        for (unsigned shift = 0; shift < 64; shift += dwords ? 32 : 64) {
            uint64_t lane = (dwords ? UINT32_MAX : UINT64_MAX) << shift, sign = lane & ~(lane >> 1);

            if (((y[quad] & lane) == 0 || (y[quad] & lane) == lane) &&
                ((x[quad] ^ y[quad]) & sign) == 0)
                y[quad] = (y[quad] & ~lane) | (x[quad] & lane);
        }
    }
}

static void approximate_lane(const uint64_t *host, uint64_t *ours, unsigned half)
{
    unsigned shift = 32 * half;
    uint32_t x = (uint32_t)(*host >> shift);

    if (approximates(x, (uint32_t)(*ours >> shift)))
        *ours = (*ours & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)x << shift;
}

/* Both within 1.5 * 2^-12 of what they approximate. */
static void approximation(const struct diff_case *c, const struct diff_result *host,
                          struct diff_result *ours)
{
    (void)c;
    if (!ours->soft)
        return;
    for (unsigned n = 0; n < 64; n++) {
        approximate_lane(&host->out.xmm[n / 4][n / 2 % 2], &ours->out.xmm[n / 4][n / 2 % 2], n & 1);
        approximate_lane(&host->out.ymm[n / 4][n / 2 % 2], &ours->out.ymm[n / 4][n / 2 % 2], n & 1);
    }
}

/* A gather that faults: what lies above its vector may have been cleared or not. */
static void gather_rest(const struct diff_case *c, const struct diff_result *host,
                        struct diff_result *ours)
{
    struct diff_result theirs = *host;
    struct diff_state before = c->in;

    if (host->out.vector < 12 || host->out.vector > 14)
        return;
    for (unsigned n = 0; n < 32 * 8; n++) {
        uint64_t x = *diff_quad(&theirs.out, n / 8, n % 8);
        uint64_t *y = diff_quad(&ours->out, n / 8, n % 8);

        if (n % 8 > 0 && (*y == 0 || x == 0) && x + *y == *diff_quad(&before, n / 8, n % 8))
            *y = x;
    }
}

/* VREDUCE: the result is exact, but where rounding was not, the precision exception is reported
 * (SDM 2C "VREDUCEPS"), but not by AMD's. */
static void reduction(const struct diff_case *c, const struct diff_result *host,
                      struct diff_result *ours)
{
    if (!(host->out.mxcsr & ~c->in.mxcsr & MXCSR_PE) && (ours->out.mxcsr & MXCSR_PE)) {
        ours->out.mxcsr &= ~(MXCSR_PE & ~c->in.mxcsr);
        if (ours->out.vector == VECTOR_XM)
            *ours = *host;
    }
}

/* Both within 2^-14 of what they approximate. */
static bool approximates_14(double host, double ours)
{
    return fabs(host - ours) <= fabs(host) * 0x1p-13;
}

static void approximation_14(const struct diff_case *c, const struct diff_result *host,
                             struct diff_result *ours)
{
    struct diff_result theirs = *host;
    bool doubles = row_of(c)->attrs & A_VEX_W1;

    for (unsigned n = 0; n < 32 * 8; n++) {
        const uint64_t *x = diff_quad(&theirs.out, n / 8, n % 8);
        uint64_t *y = diff_quad(&ours->out, n / 8, n % 8);
        double a[2];
        float b[2][2];

        memcpy(a, x, 8);
        memcpy(a + 1, y, 8);
        memcpy(b[0], x, 8);
        memcpy(b[1], y, 8);
        if (doubles ? approximates_14(a[0], a[1])
                    : (memcmp(&b[0][0], &b[1][0], 4) == 0 || approximates_14(b[0][0], b[1][0])) &&
                          (memcmp(&b[0][1], &b[1][1], 4) == 0 || approximates_14(b[0][1], b[1][1])))
            *y = *x;
    }
}

static const struct allowance {
    const char *name;
    const char *mnemonic; /* prefix; "" for all */
    uint32_t attrs;       /* enum insn_attr that the row must have one of; 0: any row */
    allow_fn *allow;
} allowances[] = {
    {"error code of a kernel address", "", 0, kernel_address},
    {"upper half after CMPXCHG", "cmpxchg", 0, cmpxchg},
    {"which of two operands faults", "cmps", 0, two_operands},
    {"bytes read by a 16-bit MOVSXD", "movsxd", 0, movsxd},
    {"C1 after FCOMI", "fcomi", A_X87, fcomi},
    {"C1 after FUCOMI", "fucomi", A_X87, fcomi},
    {"PE with an unmasked overflow or underflow", "", A_SSE | A_AVX, inexact_fault},
    {"last place of FSIN, FSINCOS", "fsin", A_X87, transcendental},
    {"last place of FCOS", "fcos", A_X87, transcendental},
    {"last place of FPTAN", "fptan", A_X87, transcendental},
    {"last place of FPATAN", "fpatan", A_X87, transcendental},
    {"last place of F2XM1", "f2xm1", A_X87, transcendental},
    {"last place of FYL2X, FYL2XP1", "fyl2x", A_X87, transcendental},
    {"FYL2XP1 out of range", "fyl2xp1", A_X87, fyl2xp1},
    {"approximation of a reciprocal", "rcp", A_SSE, approximation},
    {"approximation of a reciprocal", "vrcps", A_AVX, approximation},
    {"approximation of a reciprocal", "vrcpp", A_AVX, approximation},
    {"approximation of a reciprocal root", "vrsqrts", A_AVX, approximation},
    {"approximation of a reciprocal root", "vrsqrtp", A_AVX, approximation},
    {"approximation of a reciprocal to 14 bits", "vrcp14", A_AVX512, approximation_14},
    {"approximation of a reciprocal root to 14 bits", "vrsqrt14", A_AVX512, approximation_14},
    {"approximation of a reciprocal root", "rsqrt", A_SSE, approximation},
    {"alignment of operands of SHA", "sha", 0, sha_alignment},
    {"masks of a gather that faults", "vgather", 0, gather_masks},
    {"masks of a gather that faults", "vpgather", 0, gather_masks},
    {"rest of the register of a gather that faults", "vgather", A_AVX512, gather_rest},
    {"rest of the register of a gather that faults", "vpgather", A_AVX512, gather_rest},
    {"precision exception of VREDUCE", "vreduce", 0, reduction},
    {"address of a fault in an image", "fldenv", 0, image_fault},
    {"address of a fault in an image", "frstor", 0, image_fault},
    {"address of a fault in an image", "fnstenv", 0, image_fault},
    {"address of a fault in an image", "fnsave", 0, image_fault},
    {"address of a fault in an image", "fxrstor", 0, image_fault},
    {"address of a fault in an image", "fxsave", 0, image_fault},
    {"address of a fault in an image", "xrstor", 0, image_fault},
    {"address of a fault in an image", "xsave", 0, image_fault},
    {"pointers without an exception", "fnstenv", 0, environment},
    {"pointers without an exception", "fnsave", 0, environment},
    {"pointers without an exception, MXCSR_MASK", "fxsave", 0, area},
    {"pointers without an exception, MXCSR_MASK", "xsave", 0, area},
    {"pointers that are not canonical", "fxrstor", 0, canonical_pointers},
    {"pointers that are not canonical", "xrstor", 0, canonical_pointers},
};

static uint64_t uses[ARRAY_SIZE(allowances)];

static void allow(const struct diff_case *c, const struct diff_result *host,
                  struct diff_result *ours)
{
    const struct insn_row *row = row_of(c);

    for (unsigned n = 0; n < ARRAY_SIZE(allowances); n++) {
        const struct allowance *a = &allowances[n];
        struct diff_result before = *ours;

        if (strncmp(row->mnemonic, a->mnemonic, strlen(a->mnemonic)) != 0 ||
            (a->attrs != 0 && !(row->attrs & a->attrs)))
            continue;
        a->allow(c, host, ours);
        uses[n] += memcmp(&before, ours, sizeof(before)) != 0;
    }
}

void compare_print_allowances(void)
{
    for (unsigned n = 0; n < ARRAY_SIZE(allowances); n++)
        if (uses[n] != 0)
            printf("  allowed %" PRIu64 " times: %s (%s)\n", uses[n], allowances[n].name,
                   allowances[n].mnemonic);
}

/* ---- Comparison ---------------------------------------------------------------------------- */

static const char *const register_names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                               "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                               "r12", "r13", "r14", "r15"};

struct report {
    char *text;
    size_t size, length;
};

static void __attribute__((format(printf, 3, 4)))
differs(struct report *r, bool condition, const char *format, ...)
{
    va_list args;

    if (!condition || r->length >= r->size)
        return;
    va_start(args, format);
    r->length += (size_t)vsnprintf(r->text + r->length, r->size - r->length, format, args);
    va_end(args);
}

/* Address and opcode of the last x87 instruction: processors are sure to keep, save and restore
 * them only while an exception is pending, those of AMD never else. */
static void compare_pointers(const struct diff_case *c, const struct diff_state *x,
                             const struct diff_state *y, struct report *r)
{
    if (!(x->fsw & SW_ES))
        return;
    differs(r, x->fop != y->fop, " fop %03x/%03x", x->fop, y->fop);
    differs(r, x->fip != y->fip, " fip %" PRIx64 "/%" PRIx64, x->fip, y->fip);
    if ((c->in.fsw & SW_ES) || c->target != 0)
        differs(r, x->fdp != y->fdp, " fdp %" PRIx64 "/%" PRIx64, x->fdp, y->fdp);
}

static void compare_x87(const struct diff_case *c, const struct diff_state *x,
                        const struct diff_state *y, struct report *r)
{
    differs(r, x->fcw != y->fcw, " fcw %x/%x", x->fcw, y->fcw);
    differs(r, x->fsw != y->fsw, " fsw %04x/%04x", x->fsw, y->fsw);
    differs(r, x->ftw != y->ftw, " ftw %02x/%02x", x->ftw, y->ftw);
    compare_pointers(c, x, y, r);
    for (unsigned k = 0; k < 8; k++)
        differs(r,
                x->st[k].significand != y->st[k].significand ||
                    x->st[k].sign_exponent != y->st[k].sign_exponent,
                " st%u %04x:%016" PRIx64 "/%04x:%016" PRIx64, k, x->st[k].sign_exponent,
                x->st[k].significand, y->st[k].sign_exponent, y->st[k].significand);
}

/* The status flags that the manual leaves open: the row's, except that shifts by 0 change nothing,
 * and those by 1 define OF (SDM 2B "SAL/SAR/SHL/SHR", "RCL/RCR/ROL/ROR"). Faults change nothing. */
static uint64_t undefined_flags(const struct diff_case *c, const struct diff_state *host)
{
    static const char *const shifts[] = {"rol", "ror", "rcl", "rcr", "shl", "shr", "sal", "sar"};
    const struct insn_row *row = row_of(c);
    unsigned count;

    if (host->vector != VECTOR_BP && host->vector != VECTOR_DE)
        return 0;
    for (unsigned n = 0; n < ARRAY_SIZE(shifts); n++) {
        if (strncmp(row->mnemonic, shifts[n], 3) != 0)
            continue;
        count = strstr(row->operands, "CL") != NULL   ? (unsigned)c->in.gpr[GPR_RCX]
                : strstr(row->operands, "Ib") != NULL ? c->code[c->length - 1]
                                                      : 1;
        count &= has_rex_w(c) ? 63 : 31;
        if (count < 2)
            return count == 0 ? 0 : row->flags_undefined & ~(unsigned)F_O;
    }
    return row->flags_undefined;
}

static void compare_quads(const char *name, unsigned number, unsigned first, const uint64_t *x,
                          const uint64_t *y, unsigned count, struct report *r)
{
    for (unsigned q = 0; q < count; q++)
        differs(r, x[q] != y[q], " %s%u[%u] %016" PRIx64 "/%016" PRIx64, name, number, first + q,
                x[q], y[q]);
}

static void compare_avx512(const struct diff_case *c, const struct diff_state *x,
                           const struct diff_state *y, struct report *r)
{
    for (unsigned k = 0; k < (c->compat ? 8 : 16); k++)
        compare_quads("zmm", k, 4, x->zmm[k], y->zmm[k], 4, r);
    for (unsigned k = 0; k < 16; k++)
        compare_quads("zmm", 16 + k, 0, x->high[k], y->high[k], 8, r);
    for (unsigned k = 0; k < 8; k++)
        compare_quads("k", k, 0, &x->opmask[k], &y->opmask[k], 1, r);
}

static void compare_states(const struct diff_case *c, const struct diff_state *x,
                           const struct diff_state *y, struct report *r)
{
    uint64_t flags = 0xcd5 & ~undefined_flags(c, x);
    unsigned count = c->compat ? 8 : 16;

    differs(r, x->vector != y->vector, " vector %u/%u", x->vector, y->vector);
    differs(r, x->error_code != y->error_code, " error %x/%x", x->error_code, y->error_code);
    differs(r, x->cr2 != y->cr2, " cr2 %" PRIx64 "/%" PRIx64, x->cr2, y->cr2);
    differs(r, x->rip != y->rip, " rip %" PRIx64 "/%" PRIx64, x->rip, y->rip);
    differs(r, (x->rflags ^ y->rflags) & flags,
            " flags %03" PRIx64 "/%03" PRIx64 " (of %03" PRIx64 ")", x->rflags & 0xcd5,
            y->rflags & 0xcd5, flags);
    for (unsigned k = 0; k < count; k++)
        differs(r, x->gpr[k] != y->gpr[k], " %s %" PRIx64 "/%" PRIx64, register_names[k], x->gpr[k],
                y->gpr[k]);
    for (unsigned k = 0; k < count; k++)
        differs(r, memcmp(x->xmm[k], y->xmm[k], 16) != 0,
                " xmm%u %016" PRIx64 "%016" PRIx64 "/%016" PRIx64 "%016" PRIx64, k, x->xmm[k][1],
                x->xmm[k][0], y->xmm[k][1], y->xmm[k][0]);
    for (unsigned k = 0; k < count; k++)
        differs(r, memcmp(x->ymm[k], y->ymm[k], 16) != 0,
                " ymm%uh %016" PRIx64 "%016" PRIx64 "/%016" PRIx64 "%016" PRIx64, k, x->ymm[k][1],
                x->ymm[k][0], y->ymm[k][1], y->ymm[k][0]);
    compare_avx512(c, x, y, r);
    differs(r, x->mxcsr != y->mxcsr, " mxcsr %x/%x", x->mxcsr, y->mxcsr);
    compare_x87(c, x, y, r);
}

bool compare_results(const struct diff_case *c, const struct diff_result *host,
                     const struct diff_result *ours, char *text, size_t size)
{
    struct report r = {text, size, 0};
    struct diff_result own;

    compare_states(c, &host->out, &ours->out, &r);
    if (r.length == 0 && memcmp(host->data, ours->data, DATA_SIZE) == 0)
        return false;
    own = *ours;
    allow(c, host, &own);
    r.length = 0;
    compare_states(c, &host->out, &own.out, &r);
    for (unsigned k = 0, shown = 0; k < DATA_SIZE && shown < 4; k++) {
        if (host->data[k] == own.data[k])
            continue;
        differs(&r, true, " [data+%#x] %02x/%02x (was %02x)", k, host->data[k], own.data[k],
                c->data[k]);
        shown++;
    }
    return r.length != 0;
}
