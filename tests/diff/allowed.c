/* Comparison of a case's results. What allowances (allowances.c) do not cover is an error. */
#include "base/bits.h"
#include "cpu/insn.h"
#include "diff.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define VECTOR_DE 0
#define VECTOR_BP 3

#define SW_ES 0x0080u

/* CF PF AF ZF SF TF DF OF NT AC ID. RF is not to be seen by programs, IF and IOPL stay. */
#define COMPARED_FLAGS 0x244dd5u

static bool is_legacy_prefix(uint8_t byte)
{
    return byte != 0 && strchr("\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3", byte) != NULL;
}

static bool has_rex_w(const struct diff_case *c)
{
    unsigned n = 0;

    while (n < c->length && is_legacy_prefix(c->code[n]))
        n++;
    return c->mode == DIFF_64 && (c->code[n] & 0xf8) == 0x48;
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
    if (!(c->in.fsw & SW_ES) && x->fop == 0 && x->fip == 0) /* a task switch before ES was set */
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

/* The status flags that a single row leaves open, except that shifts by 0 change nothing, and those
 * by 1 define OF (SDM 2B "SAL/SAR/SHL/SHR", "RCL/RCR/ROL/ROR"). Faults change nothing. */
static uint64_t undefined_by_row(const struct diff_case *c, const struct diff_state *host)
{
    static const char *const shifts[] = {"rol", "ror", "rcl", "rcr", "shl", "shr", "sal", "sar"};
    const struct insn_row *row = &insn_rows[c->row];
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

/* In a sequence: by the instruction that faulted; where it went somewhere else, all of them. */
static uint64_t undefined_flags(const struct diff_case *c, unsigned slot,
                                const struct diff_state *host)
{
    uint64_t at = host->rip - case_entry(c, slot) - (host->vector == VECTOR_BP), all = 0;

    if (c->count == 1)
        return undefined_by_row(c, host);
    for (unsigned n = 0; n <= c->count; n++) {
        if (c->step[n].start == at)
            return c->step[n].undefined_flags |
                   (host->vector == VECTOR_DE ? insn_rows[c->step[n].row].flags_undefined : 0u);
        all |= c->step[n].undefined_flags;
    }
    return all;
}

static void compare_general(const struct diff_case *c, unsigned slot, const struct diff_state *x,
                            const struct diff_state *y, struct report *r)
{
    static const char *const segment_names[6] = {"es", "cs", "ss", "ds", "fs", "gs"};
    uint64_t flags = COMPARED_FLAGS & ~undefined_flags(c, slot, x);
    unsigned count = mode_is_long(c) ? 16 : 8;

    differs(r, x->vector != y->vector, " vector %u/%u", x->vector, y->vector);
    differs(r, x->error_code != y->error_code, " error %x/%x", x->error_code, y->error_code);
    differs(r, x->cr2 != y->cr2, " cr2 %" PRIx64 "/%" PRIx64, x->cr2, y->cr2);
    differs(r, x->rip != y->rip, " rip %" PRIx64 "/%" PRIx64, x->rip, y->rip);
    differs(r, (x->rflags ^ y->rflags) & flags,
            " flags %03" PRIx64 "/%03" PRIx64 " (of %03" PRIx64 ")", x->rflags & COMPARED_FLAGS,
            y->rflags & COMPARED_FLAGS, flags);
    for (unsigned k = 0; k < count; k++)
        differs(r, x->gpr[k] != y->gpr[k], " %s %" PRIx64 "/%" PRIx64, register_names[k], x->gpr[k],
                y->gpr[k]);
    for (unsigned k = 0; k < 6; k++)
        differs(r, x->selector[k] != y->selector[k], " %s %04x/%04x", segment_names[k],
                x->selector[k], y->selector[k]);
    differs(r, x->fs_base != y->fs_base, " fs base %" PRIx64 "/%" PRIx64, x->fs_base, y->fs_base);
    differs(r, x->gs_base != y->gs_base, " gs base %" PRIx64 "/%" PRIx64, x->gs_base, y->gs_base);
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
    for (unsigned k = 0; k < (mode_is_long(c) ? 16 : 8); k++)
        compare_quads("zmm", k, 4, x->zmm[k], y->zmm[k], 4, r);
    for (unsigned k = 0; k < 16; k++)
        compare_quads("zmm", 16 + k, 0, x->high[k], y->high[k], 8, r);
    for (unsigned k = 0; k < 8; k++)
        compare_quads("k", k, 0, &x->opmask[k], &y->opmask[k], 1, r);
}

static void compare_states(const struct diff_case *c, unsigned slot, const struct diff_state *x,
                           const struct diff_state *y, struct report *r)
{
    unsigned count = mode_is_long(c) ? 16 : 8;

    compare_general(c, slot, x, y, r);
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

bool compare_results(const struct diff_case *c, unsigned slot, const struct diff_result *host,
                     const struct diff_result *ours, char *text, size_t size)
{
    struct report r = {text, size, 0};
    struct diff_result own;
    uint8_t data[DATA_SIZE];

    compare_states(c, slot, &host->out, &ours->out, &r);
    if (r.length == 0 && memcmp(host->data, ours->data, DATA_SIZE) == 0)
        return false;
    own = *ours;
    own.data = memcpy(data, ours->data, DATA_SIZE);
    allow(c, host, &own);
    r.length = 0;
    compare_states(c, slot, &host->out, &own.out, &r);
    for (unsigned k = 0, shown = 0; k < DATA_SIZE && shown < 4; k++) {
        if (host->data[k] == own.data[k])
            continue;
        differs(&r, true, " [data+%#x] %02x/%02x", k, host->data[k], own.data[k]);
        shown++;
    }
    return r.length != 0;
}
