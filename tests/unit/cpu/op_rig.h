/*
 * Runs single instructions, given as bytes, through decoder and op function on a bare vCPU in
 * 64-bit mode with one page of memory at linear address RIG_PAGE. RBX holds RIG_OPERAND, so that
 * ModRM bytes with mod 0 and rm 3 name an operand there.
 */
#ifndef TESTS_UNIT_CPU_OP_RIG_H
#define TESTS_UNIT_CPU_OP_RIG_H

#include "cpu/block.h"
#include "cpu/decode.h"
#include "cpu/flags.h"
#include "cpu/fpu.h"
#include "cpu/mode.h"
#include "cpu/softfloat.h"
#include "mmu/guest_access.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define RIG_PAGE    0x10000ull
#define RIG_OFFSET  0x100u /* of the operand in its page */
#define RIG_OPERAND (RIG_PAGE + RIG_OFFSET)
#define RIG_CODE    0x40u /* offset of the instruction in its own page, which holds nothing else */

struct rig {
    struct vcpu cpu;
    struct tlb_entry tlb[TLB_SIZE];
    uint8_t page[4096] __attribute__((aligned(4096)));
    struct block *block;
    struct decoder *decoder;
    int raised; /* vector that the last instruction raised, or -1 */
};

static inline struct rig *rig_create(void)
{
    struct rig *rig = aligned_alloc(4096, align_up(sizeof(*rig), 4096));
    struct vcpu *cpu = &rig->cpu;

    memset(rig, 0, sizeof(*rig));
    rig->decoder = decoder_create();
    rig->block = calloc(1, sizeof(*rig->block) + 2 * sizeof(struct insn));
    rig->block->chain[0] = rig->block->chain[1] = &block_nowhere;
    memset(cpu->features, 0xff, sizeof(cpu->features));
    cpu->lookup = calloc(BLOCK_LOOKUP_SIZE, sizeof(*cpu->lookup));
    cpu->decoder = rig->decoder;
    cpu->ip_mask = UINT64_MAX;
    cpu->mode = MODE_64 | MODE_LONG | MODE_PROT | MODE_FLAT | MODE_OSFXSR | MODE_OSXSAVE |
                MODE_AVX | MODE_CPL0;
    cpu->mmu.cr0 = CR0_PE | CR0_NE;
    cpu->mmu.cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    cpu->mmu.table = rig->tlb;
    memset(rig->tlb, 0xff, sizeof(rig->tlb));
    *tlb_slot(&cpu->mmu, RIG_PAGE) = (struct tlb_entry){
        .read_tag = RIG_PAGE,
        .write_tag = RIG_PAGE,
        .exec_tag = TLB_NO_TAG,
        .addend = (uint64_t)(uintptr_t)rig->page - RIG_PAGE,
    };
    cpu->gpr[GPR_RBX] = RIG_OPERAND;
    cpu->mxcsr = MXCSR_RESET;
    cpu->xcr0 = 3;
    fpu_x87_init(cpu);
    return rig;
}

static inline void rig_destroy(struct rig *rig)
{
    decoder_destroy(rig->decoder);
    free(rig->cpu.lookup);
    free(rig->block);
    free(rig);
}

/* Runs one instruction; rig->raised tells how it ended. */
static inline void rig_run(struct rig *rig, const uint8_t *bytes, unsigned length)
{
    struct vcpu *cpu = &rig->cpu;
    struct block *b = rig->block;
    uint32_t attrs;

    ck_assert_int_eq(decode_insn(cpu, cpu->mode, bytes, length, RIG_CODE, &b->insns[0], &attrs),
                     DECODE_OK);
    b->insns[1] = (struct insn){.op = op_block_end, .ip_next = (uint16_t)(RIG_CODE + length)};
    b->start = RIG_CODE;
    b->count = 1;
    b->mode = cpu->mode;
    cpu->block = b;
    rig->raised = -1;
    fpu_host_enter(cpu);
    if (_setjmp(cpu->landing) == 0)
        b->insns[0].op(cpu, &b->insns[0]);
    else
        rig->raised = cpu->raised.vector;
    fpu_host_leave(cpu);
    cpu->block = NULL;
}

/* RIG_RUN(rig, 0xd9, 0xe8): the bytes of an instruction. */
#define RIG_RUN(rig, ...)                                                                          \
    do {                                                                                           \
        static const uint8_t rig_bytes[] = {__VA_ARGS__};                                          \
        rig_run((rig), rig_bytes, sizeof(rig_bytes));                                              \
    } while (0)

/* The operand in memory. */
static inline uint8_t *rig_operand(struct rig *rig)
{
    return rig->page + RIG_OFFSET;
}

/* ---- x87 ------------------------------------------------------------------------------------- */

#define F80(sign_exponent, significand) ((struct float80){significand, sign_exponent})
#define DEFAULT_NAN F80(0xffff, 0xc000000000000000)

/* A fresh unit. soft: without the host's. */
static inline void rig_start(struct rig *rig, bool soft, uint16_t control)
{
    rig->cpu.fpu_soft = soft;
    fpu_x87_init(&rig->cpu);
    fpu_x87_set_control(&rig->cpu, control);
}

static inline struct float80 *rig_st(struct rig *rig, unsigned n)
{
    return &rig->cpu.x87.r[(rig->cpu.x87.top + n) & 7];
}

static inline void rig_push(struct rig *rig, struct float80 value)
{
    struct x87 *x = &rig->cpu.x87;

    x->top = (x->top - 1) & 7;
    x->r[x->top] = value;
    x->valid |= (uint8_t)(1u << x->top);
}

/* Status word without TOP. */
static inline unsigned rig_status(const struct rig *rig)
{
    return fpu_x87_status(&rig->cpu) & ~SW_TOP;
}

static inline void rig_check_float80(const char *what, struct float80 is, struct float80 wanted)
{
    ck_assert_msg(is.significand == wanted.significand && is.sign_exponent == wanted.sign_exponent,
                  "%s: %04x:%016llx, not %04x:%016llx", what, is.sign_exponent,
                  (unsigned long long)is.significand, wanted.sign_exponent,
                  (unsigned long long)wanted.significand);
}

#endif
