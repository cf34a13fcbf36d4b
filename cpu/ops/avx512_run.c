/* What all EVEX-encoded instructions share (cpu/ops/avx512.h). */
#include "cpu/ops/avx512.h"

#include "cpu/decode.h"
#include "cpu/fpu.h"
#include "cpu/sse_fp.h"

static inline unsigned field(const struct insn *i, unsigned at, unsigned bits)
{
    return (unsigned)(i->imm >> at) & ((1u << bits) - 1);
}

/* ---- Memory ------------------------------------------------------------------------------- */

/* Linear address of byte `offset` of the memory operand. */
static uint64_t element_linear(struct evex *e, unsigned offset, unsigned bytes,
                               enum mmu_access access)
{
    uint64_t ea = insn_ea(e->cpu, e->i) + offset;

    if (e->i->flags & (INSN_A32 | INSN_A16))
        ea = e->i->flags & INSN_A32 ? (uint32_t)ea : (uint16_t)ea;
    return mem_linear_at(e->cpu, e->i, e->i->seg, ea, bytes, access);
}

static void load_element(struct evex *e, union vreg *v, unsigned n, unsigned bytes, uint64_t linear)
{
    switch (bytes) {
    case 1:
        VREG_B(*v, n) = mem_load8(e->cpu, e->i, linear);
        break;
    case 2:
        VREG_W(*v, n) = mem_load16(e->cpu, e->i, linear);
        break;
    case 4:
        VREG_D(*v, n) = mem_load32(e->cpu, e->i, linear);
        break;
    default:
        v->q[n] = mem_load64(e->cpu, e->i, linear);
        break;
    }
}

static void store_element(struct evex *e, const union vreg *v, unsigned n, unsigned bytes,
                          uint64_t linear)
{
    switch (bytes) {
    case 1:
        mem_store8(e->cpu, e->i, linear, VREG_B(*v, n));
        break;
    case 2:
        mem_store16(e->cpu, e->i, linear, VREG_W(*v, n));
        break;
    case 4:
        mem_store32(e->cpu, e->i, linear, VREG_D(*v, n));
        break;
    default:
        mem_store64(e->cpu, e->i, linear, v->q[n]);
        break;
    }
}

/* Is every element selected? */
static bool mask_is_full(const struct evex *e)
{
    return e->lanes == 64 ? e->mask == UINT64_MAX : e->mask == BIT64(e->lanes) - 1;
}

static void check_alignment(struct evex *e, unsigned bytes, enum mmu_access access)
{
    if (e->mask != 0 && (mem_linear(e->cpu, e->i, bytes, access) & (bytes - 1)))
        cpu_raise_code(e->cpu, e->i, EXC_GP, 0);
}

/* The operand in one piece, 1 to 64 bytes. */
static void load_whole(struct evex *e, unsigned bytes)
{
    uint64_t linear = mem_linear(e->cpu, e->i, bytes, MMU_READ);
    unsigned piece = bytes < 8 ? bytes : 8;

    if (bytes > 8 && tlb_find_read(&e->cpu->mmu, linear, bytes) == NULL)
        mem_probe_read(e->cpu, e->i, linear, bytes);
    for (unsigned n = 0; n < bytes / piece; n++)
        load_element(e, &e->b, n, piece, linear + n * piece);
}

static void load_selected(struct evex *e, unsigned bytes, unsigned repeats)
{
    uint64_t mask = e->mask;

    for (unsigned n = repeats; repeats != 0 && n < e->lanes; n += repeats)
        mask |= e->mask >> n;
    for (unsigned n = 0; n < (repeats == 0 ? e->lanes : repeats); n++)
        if (mask >> n & 1)
            load_element(e, &e->b, n, bytes, element_linear(e, n * bytes, bytes, MMU_READ));
}

/* As many elements as are selected, from the first on. */
static void load_packed(struct evex *e, unsigned bytes)
{
    unsigned count = (unsigned)__builtin_popcountll(e->mask);

    for (unsigned n = 0; n < count; n++)
        load_element(e, &e->b, n, bytes, element_linear(e, n * bytes, bytes, MMU_READ));
}

/* One element into all places. */
static void load_broadcast(struct evex *e, unsigned bytes, bool always)
{
    uint64_t element;

    if (e->mask == 0 && !always)
        return;
    load_whole(e, bytes);
    element = bytes == 8 ? e->b.q[0] : VREG_D(e->b, 0) * 0x0000000100000001ull;
    for (unsigned n = 0; n < 8; n++)
        e->b.q[n] = element;
}

static void load_operand(struct evex *e, const struct evex_kernel *kernel)
{
    bool broadcast = field(e->i, EVEX_B, 1);
    unsigned bytes = evex_memory_bytes(&insn_rows[e->i->row], e->length, broadcast);

    memset(&e->b, 0, sizeof(e->b));
    if (kernel->aligned)
        check_alignment(e, bytes, MMU_READ);
    if (broadcast)
        load_broadcast(e, bytes, kernel->source == 0);
    else if (kernel->packed)
        load_packed(e, kernel->source);
    else if (kernel->source == 0 || mask_is_full(e))
        load_whole(e, bytes);
    else
        load_selected(e, kernel->source, kernel->repeats);
}

/* Makes the stores of store_operand certain to succeed, or raises. */
static void probe_operand(struct evex *e, const struct evex_kernel *kernel)
{
    unsigned bytes = kernel->lane;
    uint64_t linear;

    if (kernel->aligned)
        check_alignment(e, e->lanes * bytes, MMU_WRITE);
    if (kernel->strict || mask_is_full(e)) {
        linear = mem_linear(e->cpu, e->i, e->lanes * bytes, MMU_WRITE);
        if (tlb_find_write(&e->cpu->mmu, linear, e->lanes * bytes) == NULL)
            mem_probe_write(e->cpu, e->i, linear, e->lanes * bytes);
    } else {
        for (unsigned n = 0; n < e->lanes; n++) {
            if (!(e->mask >> n & 1))
                continue;
            linear = element_linear(e, n * bytes, bytes, MMU_WRITE);
            if (tlb_find_write(&e->cpu->mmu, linear, bytes) == NULL)
                mem_probe_write(e->cpu, e->i, linear, bytes);
        }
    }
}

/* The same with #AC, which all elements share: for kernels that report exceptions of their own
 * behind it. */
static void probe_before_report(struct evex *e, const struct evex_kernel *kernel)
{
    unsigned n = 0;

    probe_operand(e, kernel);
    while (n < e->lanes && !(e->mask >> n & 1))
        n++;
    if (n < e->lanes)
        mem_probe_write(e->cpu, e->i, element_linear(e, n * kernel->lane, kernel->lane, MMU_WRITE),
                        kernel->lane);
}

/* Elements that the mask selects. */
static void store_operand(struct evex *e, const struct evex_kernel *kernel)
{
    unsigned bytes = kernel->lane;

    probe_operand(e, kernel);
    for (unsigned n = 0; n < e->lanes; n++)
        if (e->mask >> n & 1)
            store_element(e, &e->r, n, bytes, element_linear(e, n * bytes, bytes, MMU_WRITE));
}

/* ---- Results ------------------------------------------------------------------------------ */

/* Puts the old elements, or zeros, where the mask has none. */
static void merge(struct evex *e, unsigned bytes)
{
    bool zeroing = field(e->i, EVEX_ZEROING, 1);

    for (unsigned n = 0; n < e->lanes; n++) {
        if (e->mask >> n & 1)
            continue;
        switch (bytes) {
        case 1:
            VREG_B(e->r, n) = zeroing ? 0 : VREG_B(e->d, n);
            break;
        case 2:
            VREG_W(e->r, n) = zeroing ? 0 : VREG_W(e->d, n);
            break;
        case 4:
            VREG_D(e->r, n) = zeroing ? 0 : VREG_D(e->d, n);
            break;
        default:
            e->r.q[n] = zeroing ? 0 : e->d.q[n];
            break;
        }
    }
}

static void set_register(struct evex *e, const struct evex_kernel *kernel, unsigned to)
{
    unsigned bytes = e->lanes * kernel->lane;

    if (!mask_is_full(e))
        merge(e, kernel->lane);
    if (kernel->wide == 0) {
        const uint64_t *rest = kernel->keeps ? e->d.q : e->a.q;
        uint64_t low = bytes < 8 ? BIT64(8 * bytes) - 1 : UINT64_MAX;

        e->r.q[0] = (e->r.q[0] & low) | (rest[0] & ~low);
        e->r.q[1] = rest[1];
        bytes = 16;
    }
    if (bytes % 8 != 0)
        e->r.q[bytes / 8] &= BIT64(8 * (bytes % 8)) - 1;
    for (unsigned n = (bytes + 7) / 8; n < 8; n++)
        e->r.q[n] = 0;
    e->cpu->vreg[to] = e->r;
}

static void finish(struct evex *e, const struct evex_kernel *kernel)
{
    const struct insn *i = e->i;

    switch (kernel->to) {
    case EVEX_TO_V:
        set_register(e, kernel, i->reg);
        break;
    case EVEX_TO_H:
        set_register(e, kernel, i->vvvv);
        break;
    case EVEX_TO_W:
        if (i->flags & INSN_MEM)
            store_operand(e, kernel);
        else
            set_register(e, kernel, i->rm);
        break;
    case EVEX_TO_K:
        e->cpu->opmask[i->reg] = e->k & e->mask;
        break;
    case EVEX_TO_G:
        reg_set64(e->cpu, i->reg, e->k);
        break;
    case EVEX_TO_E:
        if (i->flags & INSN_MEM) {
            e->r.q[0] = e->k;
            store_element(e, &e->r, 0, kernel->lane,
                          mem_linear(e->cpu, i, kernel->lane, MMU_WRITE));
        } else {
            reg_set64(e->cpu, i->rm, e->k);
        }
        break;
    case EVEX_TO_FLAGS:
        flags_set(e->cpu, (uint32_t)e->k);
        break;
    }
}

/* ---- Operands ----------------------------------------------------------------------------- */

static void find_environment(struct evex *e)
{
    e->env = softfloat_env_mxcsr(e->cpu->mxcsr);
    e->quiet = field(e->i, EVEX_B, 1) && !(e->i->flags & INSN_MEM);
    if (!e->quiet)
        return;
    e->env.unmasked = 0;
    if (insn_rows[e->i->row].attrs & A_RC)
        e->env.rounding = (uint8_t)field(e->i, EVEX_ROUNDING, 2);
}

static void find_mask(struct evex *e)
{
    unsigned k = field(e->i, EVEX_MASK, 3);

    e->mask = e->lanes == 64 ? UINT64_MAX : BIT64(e->lanes) - 1;
    if (k != 0)
        e->mask &= e->cpu->opmask[k];
}

static void find_operands(struct evex *e, const struct evex_kernel *kernel)
{
    const struct vcpu *cpu = e->cpu;
    const struct insn *i = e->i;
    bool stores = kernel->to == EVEX_TO_W || kernel->to == EVEX_TO_E;

    e->a = cpu->vreg[i->vvvv];
    e->d = cpu->vreg[kernel->to == EVEX_TO_H ? i->vvvv : i->reg];
    e->k = 0;
    if (stores) {
        e->b = e->d;
        if (!(i->flags & INSN_MEM))
            e->d = cpu->vreg[i->rm];
    } else if (i->flags & INSN_MEM) {
        load_operand(e, kernel);
    } else if (kernel->general) {
        e->b.q[0] = cpu->gpr[i->rm];
    } else {
        e->b = cpu->vreg[i->rm];
    }
}

__attribute__((noinline)) void evex_run(struct vcpu *cpu, const struct insn *i,
                                        const struct evex_kernel *kernel)
{
    struct evex e;

    e.cpu = cpu;
    e.i = i;
    e.length = 16u << field(i, EVEX_LENGTH, 2);
    e.lanes = kernel->wide == 0 ? 1 : e.length / kernel->wide;
    e.imm = (uint8_t)i->imm;
    find_mask(&e);
    find_environment(&e);
    find_operands(&e, kernel);
    kernel->run(&e);
    if (e.env.flags != 0 && !e.quiet) {
        if (kernel->to == EVEX_TO_W && (i->flags & INSN_MEM))
            probe_before_report(&e, kernel);
        sse_fp_report(cpu, i, e.env.flags);
    }
    finish(&e, kernel);
}

void evex_move(struct evex *e)
{
    e->r = e->b;
}
