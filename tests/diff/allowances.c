/*
 * Where the manuals leave a choice, or processors of different
 * makers are known to differ, an allowance brings our result to the host's if it is one of the
 * answers that are right; what differs then is an error.
 */
#include "base/bits.h"
#include "cpu/insn.h"
#include "diff.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

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
    return byte != 0 && strchr("\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3", byte) != NULL;
}

static bool has_operand_size_16(const struct diff_case *c)
{
    for (unsigned n = 0; n < c->length && is_legacy_prefix(c->code[n]); n++)
        if (c->code[n] == 0x66)
            return c->mode != DIFF_16;
    return c->mode == DIFF_16;
}

static bool is_memory_fault(unsigned vector)
{
    return vector == 12 || vector == 13 || vector == 14 || vector == 17;
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

/* What the address sanitizer maps for itself, programs can read and write. */
static void sanitizer_address(const struct diff_case *c, const struct diff_result *host,
                              struct diff_result *ours)
{
    (void)c;
#if defined(__SANITIZE_ADDRESS__)
    if (ours->out.vector == 14 && ours->out.cr2 >= 0x7fff7000 && ours->out.cr2 < 0x10007fff8000) {
        ours->out = host->out;
        memcpy(ours->data, host->data, DATA_SIZE);
    }
#else
    (void)host;
    (void)ours;
#endif
}

/* AMD's MXCSR has a bit 17, which is reserved elsewhere. */
static void mxcsr_mm(const struct diff_case *c, const struct diff_result *host,
                     struct diff_result *ours)
{
    (void)c;
    if (host->out.mxcsr & BIT(17)) {
        ours->out = host->out;
        memcpy(ours->data, host->data, DATA_SIZE);
    }
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
    if (is_memory_fault(x->vector) && is_memory_fault(y->vector)) {
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
    bool crosses = (offset == 4093 || offset == 4094) && host->out.vector == 14 &&
                   host->out.cr2 == ((c->target + 3) & ~4095ull);

    if (ours->out.vector == 3 && (crosses || (host->out.vector == 17 && (c->target & 3) == 2)))
        ours->out = host->out;
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
    unsigned unmasked = ~(host->out.mxcsr >> 7) & MXCSR_OE_UE;

    (void)c;
    if (host->out.vector == VECTOR_XM && (host->out.mxcsr & unmasked) &&
        (ours->out.mxcsr ^ host->out.mxcsr) == MXCSR_PE)
        ours->out.mxcsr = host->out.mxcsr;
}

/* An image is stored and loaded piece by piece: the address that faults may be that of a piece. */
static void image_fault(const struct diff_case *c, const struct diff_result *host,
                        struct diff_result *ours)
{
    uint64_t distance = host->out.cr2 - ours->out.cr2;

    (void)c;
    if (host->out.vector == 14 && ours->out.vector == 14 && distance + 4096 < 8192)
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
    bool wide = !has_operand_size_16(c);

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
        ours->out = host->out; /* these do not write memory */
}

/* A gather that faults: the masks of lanes that are not done yet may have been filled from their
 * sign bits, as the manual's pseudo-code does first, or be as they were. */
static void gather_masks(const struct diff_case *c, const struct diff_result *host,
                         struct diff_result *ours)
{
    const char *end = strrchr(row_of(c)->mnemonic, '\0') - 1;
    bool dwords = *end == 's' || (*end == 'd' && end[-1] != 'p');

    if (!is_memory_fault(host->out.vector) || (row_of(c)->attrs & A_AVX512))
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

static void take_register(const struct diff_result *host, struct diff_result *ours, unsigned n,
                          uint64_t mask)
{
    if (((host->out.gpr[n] ^ ours->out.gpr[n]) & ~mask) == 0)
        ours->out.gpr[n] = host->out.gpr[n];
}

/* CPUID, RDTSC, XGETBV: what they tell is the system's. */
static void told(const struct diff_case *c, const struct diff_result *host,
                 struct diff_result *ours)
{
    const char *name = row_of(c)->mnemonic;

    take_register(host, ours, GPR_RAX, UINT32_MAX);
    take_register(host, ours, GPR_RDX, UINT32_MAX);
    if (name[0] == 'c')
        take_register(host, ours, GPR_RBX, UINT32_MAX);
    if (name[0] == 'c' || strcmp(name, "rdtscp") == 0)
        take_register(host, ours, GPR_RCX, UINT32_MAX);
}

/* RDRAND, RDSEED, RDPID. */
static void told_one(const struct diff_case *c, const struct diff_result *host,
                     struct diff_result *ours)
{
    unsigned n = c->code[c->length - 1] & 7, rex = c->length < 4 ? 0 : c->code[c->length - 4];

    if (c->mode == DIFF_64 && (rex & 0xf1) == 0x41)
        n += 8;
    take_register(host, ours, n, has_operand_size_16(c) ? 0xffff : UINT64_MAX);
}

/* A hypervisor that passes INT1 on may forget to step over it. */
static void int1(const struct diff_case *c, const struct diff_result *host,
                 struct diff_result *ours)
{
    if (host->out.vector == 1 && ours->out.rip == host->out.rip + c->length)
        ours->out.rip = host->out.rip;
}

/* PUSH of a segment register writes all of a 32-bit operand, or its lower half (SDM 2B "PUSH"). */
static void push_segment(const struct diff_case *c, const struct diff_result *host,
                         struct diff_result *ours)
{
    uint64_t sp = host->out.gpr[GPR_RSP], at;

    if (c->mode == DIFF_64 || row_of(c)->operands[1] != 's')
        return;
    if (host->out.vector == 17) {
        ours->out = host->out;
        memcpy(ours->data, host->data, DATA_SIZE);
        return;
    }
    if (c->in.selector[SEG_SS] == LDT_SELECTOR(LDT_DATA16))
        sp &= 0xffff;
    at = sp + case_data_base(c) - DATA_BASE + 2;
    if (at + 2 <= DATA_SIZE && host->data[at] == 0 && host->data[at + 1] == 0)
        memset(ours->data + at, 0, 2);
}

/* MASKMOVQ and MASKMOVDQU may fault for bytes that they do not write (SDM 2B "MASKMOVDQU"). */
static void masked_bytes(const struct diff_case *c, const struct diff_result *host,
                         struct diff_result *ours)
{
    if (is_memory_fault(host->out.vector) && ours->out.vector == 3) {
        ours->out = host->out;
        memcpy(ours->data, host->data, DATA_SIZE);
    }
    image_fault(c, host, ours);
}

/* The row of the instruction at RIP, or -1. */
static int row_at(const struct diff_case *c, uint64_t rip)
{
    unsigned offset = (unsigned)(mode_is_segmented(c) ? rip : rip % SLOT_SIZE) - SLOT_ENTRY;

    if (c->count == 1)
        return (int)c->row;
    for (unsigned n = 0; n < c->count; n++)
        if (c->step[n].start == offset)
            return c->step[n].row;
    return -1;
}

static bool is_aligned_row(const struct insn_row *row)
{
    return (row->attrs & A_ALIGN16) || strncmp(row->mnemonic, "xsave", 5) == 0 ||
           strncmp(row->mnemonic, "xrstor", 6) == 0 || strncmp(row->mnemonic, "fx", 2) == 0;
}

/* Of several faults of one operand any may come first (SDM 3A table 6-2): that of operands that
 * have to be aligned, limit of the stack segment; page fault, alignment check; those of the
 * elements that a mask lets through. */
static void order_of_faults(const struct diff_case *c, const struct diff_result *host,
                            struct diff_result *ours)
{
    int n = row_at(c, host->out.rip);
    unsigned x = host->out.vector, y = ours->out.vector;

    if (n < 0 || host->out.rip != ours->out.rip)
        return;
    if ((x == 13 && y == 12 && is_aligned_row(&insn_rows[n])) ||
        (is_memory_fault(x) && is_memory_fault(y) &&
         (x == 17 || y == 17 || (insn_rows[n].attrs & A_AVX512)))) {
        ours->out.vector = host->out.vector;
        ours->out.error_code = host->out.error_code;
        ours->out.cr2 = host->out.cr2;
    }
}

/* Alignment checks of operands of more than 8 bytes, and of the parts of x87 images, are the
 * processor's choice (SDM 3A table 6-7); so is whether ENTER checks the stack that it leaves. */
static void vector_alignment(const struct diff_case *c, const struct diff_result *host,
                             struct diff_result *ours)
{
    const struct diff_state *x = &host->out, *y = &ours->out, *first = x->rip < y->rip ? x : y;
    int n;

    if (x->rip == y->rip)
        first = x->vector == 17 ? x : y;
    if (first->vector != 17 || !(c->in.rflags & BIT(18)) ||
        (x->rip == y->rip && x->vector == y->vector))
        return;
    n = row_at(c, first->rip);
    if (n < 0 || (!(insn_rows[n].attrs & (A_SSE | A_AVX | A_X87 | A_MMX)) &&
                  strcmp(insn_rows[n].mnemonic, "enter") != 0))
        return;
    ours->out = host->out;
    memcpy(ours->data, host->data, DATA_SIZE);
}

/* ENTER and PUSHA may have pushed something when a later push or copy faults. */
static void pushed_before_fault(const struct diff_case *c, const struct diff_result *host,
                                struct diff_result *ours)
{
    (void)c;
    if (is_memory_fault(host->out.vector))
        memcpy(ours->data, host->data, DATA_SIZE);
}

/* POPA may have loaded some registers when a later pop faults. */
static void popped_before_fault(const struct diff_case *c, const struct diff_result *host,
                                struct diff_result *ours)
{
    (void)c;
    if (!is_memory_fault(host->out.vector))
        return;
    for (unsigned n = 0; n < 8; n++)
        if (n != GPR_RSP)
            ours->out.gpr[n] = host->out.gpr[n];
}

/* CS, SS and the new RIP are all checked; vector and error code tell which check failed first: an
 * AMD processor looks at RIP (#GP(0)) before it finds the stack segment absent (#SS). */
static void iret_checks(const struct diff_case *c, const struct diff_result *host,
                        struct diff_result *ours)
{
    (void)c;
    if (host->out.vector == 13 && ours->out.vector == 13)
        ours->out.error_code = host->out.error_code;
    if (host->out.vector == 13 && host->out.error_code == 0 && ours->out.vector == 12) {
        ours->out.vector = 13;
        ours->out.error_code = 0;
    }
}

/* MASKMOVQ may have entered MMX state when its store faults. */
static void mmx_before_fault(const struct diff_case *c, const struct diff_result *host,
                             struct diff_result *ours)
{
    struct diff_state *y = &ours->out;

    if (!is_memory_fault(host->out.vector) || (host->out.fsw & 0x3800) != 0 ||
        host->out.ftw != 0xff || y->fsw != c->in.fsw)
        return;
    y->fsw = host->out.fsw;
    y->ftw = host->out.ftw;
    memcpy(y->st, host->out.st, sizeof(y->st));
}

/* Repeated comparisons that fault in the middle: Intel's keep the flags from before them (SDM 2B
 * "REP"), AMD's have those of the last one. */
static void repeated_flags(const struct diff_case *c, const struct diff_result *host,
                           struct diff_result *ours)
{
    (void)c;
    if (is_memory_fault(host->out.vector))
        ours->out.rflags = (ours->out.rflags & ~0x8d5ull) | (host->out.rflags & 0x8d5);
}

/* The kernel's IRET clears selectors that are null but for their RPL. */
static void null_selectors(const struct diff_case *c, const struct diff_result *host,
                           struct diff_result *ours)
{
    (void)c;
    for (unsigned n = 0; n < 6; n++)
        if (host->out.selector[n] == 0 && ours->out.selector[n] < 4)
            ours->out.selector[n] = 0;
}

/* Null selectors loaded into FS and GS: Intel's clear the base, AMD's may not. */
static void null_base(const struct diff_case *c, const struct diff_result *host,
                      struct diff_result *ours)
{
    (void)c;
    if (host->out.selector[SEG_FS] < 4 && ours->out.fs_base == 0)
        ours->out.fs_base = host->out.fs_base;
    if (host->out.selector[SEG_GS] < 4 && ours->out.gs_base == 0)
        ours->out.gs_base = host->out.gs_base;
}

/* A gather that faults: what lies above its vector may have been cleared or not. */
static void gather_rest(const struct diff_case *c, const struct diff_result *host,
                        struct diff_result *ours)
{
    struct diff_state theirs = host->out;
    struct diff_state before = c->in;

    if (!is_memory_fault(host->out.vector))
        return;
    for (unsigned n = 0; n < 32 * 8; n++) {
        uint64_t x = *diff_quad(&theirs, n / 8, n % 8);
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
            ours->out = host->out;
    }
}

static const struct allowance {
    const char *name;
    const char *mnemonic; /* how it begins, or all of it with a $ at its end; "" for all rows */
    uint32_t attrs;       /* enum insn_attr that the row must have one of; 0: any row */
    allow_fn *allow;
} allowances[] = {
    {"error code of a kernel address", "", 0, kernel_address},
    {"addresses of the sanitizer", "", 0, sanitizer_address},
    {"MXCSR.MM", "", 0, mxcsr_mm},
    {"order of faults", "", 0, order_of_faults},
    {"alignment of vectors and images", "", 0, vector_alignment},
    {"RIP of INT1", "int1", 0, int1},
    {"upper half of a segment register's operand", "push", 0, push_segment},
    {"upper half after CMPXCHG", "cmpxchg", 0, cmpxchg},
    {"RPL of a null selector", "", 0, null_selectors},
    {"which of two operands faults", "cmps$", 0, two_operands},
    {"which of two operands faults", "movs$", 0, two_operands},
    {"which of two operands faults", "rep movs", 0, two_operands},
    {"which of two operands faults", "repe cmps", 0, two_operands},
    {"which of two operands faults", "repne cmps", 0, two_operands},
    {"flags of a comparison that faults", "repe ", 0, repeated_flags},
    {"flags of a comparison that faults", "repne ", 0, repeated_flags},
    {"fault of bytes that are not chosen", "maskmov", 0, masked_bytes},
    {"MMX state of a store that faults", "maskmovq", 0, mmx_before_fault},
    {"pushes before one that faults", "enter", 0, pushed_before_fault},
    {"pushes before one that faults", "pusha", 0, pushed_before_fault},
    {"pops before one that faults", "popa", 0, popped_before_fault},
    {"which check of IRET fails first", "iret", 0, iret_checks},
    {"fault of bytes that are not chosen", "vmaskmovdqu", 0, masked_bytes},
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
    {"rest of the register of a gather that faults", "vgather", A_AVX512, gather_rest},
    {"rest of the register of a gather that faults", "vpgather", A_AVX512, gather_rest},
    {"precision exception of VREDUCE", "vreduce", 0, reduction},
    {"approximation of a reciprocal root", "rsqrt", A_SSE, approximation},
    {"alignment of operands of SHA", "sha", 0, sha_alignment},
    {"masks of a gather that faults", "vgather", 0, gather_masks},
    {"masks of a gather that faults", "vpgather", 0, gather_masks},
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
    {"what the system tells", "cpuid", 0, told},
    {"what the system tells", "rdtsc", 0, told},
    {"what the system tells", "xgetbv", 0, told},
    {"what the system tells", "rdrand", 0, told_one},
    {"what the system tells", "rdseed", 0, told_one},
    {"what the system tells", "rdpid", 0, told_one},
    {"base of a null segment", "mov", 0, null_base},
    {"base of a null segment", "pop", 0, null_base},
    {"base of a null segment", "lfs", 0, null_base},
    {"base of a null segment", "lgs", 0, null_base},
};

static uint64_t uses[ARRAY_SIZE(allowances)];

static bool is_for(const struct allowance *a, const struct insn_row *row)
{
    size_t length = strcspn(a->mnemonic, "$");

    return strncmp(row->mnemonic, a->mnemonic, length) == 0 &&
           (a->mnemonic[length] == '\0' || row->mnemonic[length] == '\0') &&
           (a->attrs == 0 || (row->attrs & a->attrs));
}

bool allowance_exists(unsigned row)
{
    for (unsigned n = 0; n < ARRAY_SIZE(allowances); n++)
        if (allowances[n].mnemonic[0] != '\0' && allowances[n].allow != null_base &&
            allowances[n].allow != push_segment && is_for(&allowances[n], &insn_rows[row]))
            return true;
    return false;
}

/* In sequences, only what does not depend on the row. */
static bool applies(const struct allowance *a, const struct diff_case *c)
{
    bool all = a->mnemonic[0] == '\0';

    return c->count == 1 ? is_for(a, row_of(c)) : all;
}

void allow(const struct diff_case *c, const struct diff_result *host, struct diff_result *ours)
{
    for (unsigned n = 0; n < ARRAY_SIZE(allowances); n++) {
        struct diff_state before = ours->out;

        if (!applies(&allowances[n], c))
            continue;
        allowances[n].allow(c, host, ours);
        uses[n] += memcmp(&before, &ours->out, sizeof(before)) != 0;
    }
}

void allow_print(void)
{
    for (unsigned n = 0; n < ARRAY_SIZE(allowances); n++)
        if (uses[n] != 0)
            printf("  allowed %" PRIu64 " times: %s (%s)\n", uses[n], allowances[n].name,
                   allowances[n].mnemonic);
}
