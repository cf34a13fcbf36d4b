/*
 * A fault while another event is being delivered: every cell of SDM 3A table 6-5. Benign ones are
 * handled one after the other, contributory ones and page faults make #DF. #DF while #DF is being
 * delivered: 64/shutdown.c.
 */
#include "paging.h"
#include "segments.h"

#define STRANGE 0x800000000000ull /* not canonical */

/* ---- The first event ---- */

static void first_de(void)
{
    TRY("divl %0", : : "r"(0), "a"(1), "d"(0));
}

static void first_np(void)
{
    gdt_set(SEL(0), FLAT_DATA(0) & ~((uint64_t)ACC_P << 40));
    TRY("mov %0, %%fs", : : "r"(SEL(0)));
}

static void first_ss(void)
{
    TRY("mov (%%rsp, %0), %%eax", : : "r"(STRANGE) : "eax");
}

static void first_gp(void)
{
    TRY("mov (%0), %%eax", : : "r"(STRANGE) : "eax");
}

static void first_pf(void)
{
    TRY("mov (%0), %%eax", : : "r"(WINDOW) : "eax");
}

static void first_ud(void)
{
    TRY("ud2", :);
}

static void first_nm(void)
{
    write_cr0(read_cr0() | CR0_TS);
    TRY("fnop", :);
    asm volatile("clts");
}

static void first_bp(void)
{
    TRY("int3", :);
}

static void first_int(void)
{
    TRY("int $0x44", :);
}

static void first_db(void)
{
    TRY(".byte 0xf1", :);
}

static void first_mf(void)
{
    static const uint16_t unmasked = 0x037f & ~4;

    asm volatile("fninit\n fldcw %0\n fldz\n fld1\n .byte 0xd8, 0xf1" : : "m"(unmasked));
    TRY("fwait", :);
    asm volatile("fninit");
}

static void first_xm(void)
{
    static const uint32_t unmasked = 0x1f80 & ~0x200, masked = 0x1f80;

    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
    asm volatile("ldmxcsr %0" : : "m"(unmasked));
    asm volatile("xorps %xmm0, %xmm0\n pcmpeqd %xmm1, %xmm1\n pslld $25, %xmm1\n psrld $2, %xmm1");
    TRY("divss %%xmm0, %%xmm1", :);
    asm volatile("ldmxcsr %0" : : "m"(masked));
}

enum class { BENIGN, CONTRIBUTORY, PAGE };

static const struct first {
    const char *name;
    void (*raise)(void);
    unsigned vector;
    enum class class;
    bool software; /* no EXT in the second's error code */
} firsts[] = {
    {"#DE", first_de, DE, CONTRIBUTORY, false}, {"#NP", first_np, NP, CONTRIBUTORY, false},
    {"#SS", first_ss, SS, CONTRIBUTORY, false}, {"#GP", first_gp, GP, CONTRIBUTORY, false},
    {"#PF", first_pf, PF, PAGE, false},         {"#UD", first_ud, UD, BENIGN, false},
    {"#NM", first_nm, NM, BENIGN, false},       {"#BP", first_bp, BP, BENIGN, true},
    {"INT", first_int, 0x44, BENIGN, true},     {"#DB", first_db, DB, BENIGN, false},
    {"#MF", first_mf, MF, BENIGN, false},       {"#XM", first_xm, XM, BENIGN, false},
};

/* ---- What goes wrong with its delivery ---- */

static void gate_absent(unsigned vector)
{
    idt_set(vector, SEL_CODE, trap_stubs + 16 * vector, ACC_INT | ACC_DPL(3), 0);
}

static void gate_data(unsigned vector)
{
    idt_set(vector, SEL_CODE, trap_stubs + 16 * vector, ACC_P | ACC_CALL | ACC_DPL(3), 0);
}

static void gate_null(unsigned vector)
{
    idt_set(vector, 0, trap_stubs + 16 * vector, ACC_P | ACC_INT | ACC_DPL(3), 0);
}

static void gate_strange_stack(unsigned vector)
{
    tss.ist[1] = STRANGE + 64;
    idt_set(vector, SEL_CODE, trap_stubs + 16 * vector, ACC_P | ACC_INT | ACC_DPL(3), 2);
}

static void gate_absent_stack(unsigned vector)
{
    tss.ist[1] = WINDOW + 0x3000;
    idt_set(vector, SEL_CODE, trap_stubs + 16 * vector, ACC_P | ACC_INT | ACC_DPL(3), 2);
}

static const struct second {
    const char *name;
    void (*prepare)(unsigned vector);
    unsigned vector;
    enum class class;
    bool names_gate; /* the error code has the vector of the gate */
    bool exact;      /* the error code has no EXT either */
} seconds[] = {
    {"#NP", gate_absent, NP, CONTRIBUTORY, true, false},
    {"#GP of the gate", gate_data, GP, CONTRIBUTORY, true, false},
    {"#GP of the selector", gate_null, GP, CONTRIBUTORY, false, false},
    {"#SS", gate_strange_stack, SS, CONTRIBUTORY, false, false},
    {"#PF", gate_absent_stack, PF, PAGE, false, true},
};

static void matrix(void)
{
    for (unsigned n = 0; n < COUNT(firsts); n++)
        for (unsigned k = 0; k < COUNT(seconds); k++) {
            const struct first *f = &firsts[n];
            const struct second *s = &seconds[k];
            bool dbl = (f->class == CONTRIBUTORY && s->class == CONTRIBUTORY) ||
                       (f->class == PAGE && s->class != BENIGN);
            unsigned long code = (s->names_gate ? f->vector * 8 + 2 : 0) | (f->software ? 0 : 1);

            if (s->vector == f->vector && !dbl)
                continue; /* its own gate is the broken one: it would go on */
            context("%s, then %s", f->name, s->name);
            if (s->vector == PF) {
                pml4[2] = 0;
                code = PF_W;
            }
            s->prepare(f->vector);
            f->raise();
            if (dbl) {
                EXPECT_TRAP(DF, 0);
            } else if (s->vector == SS && !f->software) {
                /* Whether EXT is set for a stack that is not canonical: the SDM says so. */
                EXPECT_TRAP(SS, 1);
            } else {
                EXPECT_TRAP(s->vector, code);
            }
            segments_init();
        }
}

/* The #DF handler gets the address of the instruction that began it all, and #PF's CR2. */
static void saved_state(void)
{
    gate_absent(UD);
    TRY("nop\n ud2", :);
    EXPECT_TRAP(NP, UD * 8 + 2 + 1);
    EXPECT_EQ(trap.ip, try_start + 1);
    EXPECT(trap.flags & FL_RF);
    idt_restore(UD);
    gate_absent(PF);
    TRY("mov (%0), %%eax", : : "r"(WINDOW + 0x123) : "eax");
    EXPECT_FAULT(DF, 0);
    EXPECT_EQ(trap.cr2, WINDOW + 0x123);
    context("the limit of the IDT");
    idt_restore(PF);
    {
        struct table_pointer small = {16 * 14 - 1, idt_pointer.base}; /* up to #GP */

        asm volatile("lidt %0" : : "m"(small));
        TRY("mov (%0), %%eax", : : "r"(WINDOW) : "eax");
        EXPECT_FAULT(DF, 0);
        TRY("int $0x20", :);
        EXPECT_FAULT(GP, 0x20 * 8 + 2);
        asm volatile("lidt %0" : : "m"(idt_pointer));
    }
}

const struct test_case cases[] = {
    {"pairs", matrix},
    {"saved state", saved_state},
};
PROGRAM("doublefault");
