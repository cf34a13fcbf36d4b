/*
 * XSAVE and its kin: layout, compaction, the init optimisation, what restoring checks; XSETBV and
 * XGETBV (SDM 1 chapter 13).
 */
#include "segments.h"

#define X87     1
#define SSE     2
#define AVX     4
#define COMPACT (1ull << 63)

struct area {
    uint8_t legacy[512];
    uint64_t xstate_bv, xcomp_bv, reserved[6];
    uint8_t extended[2048];
} __attribute__((aligned(64)));

static volatile struct area area;
static unsigned avx_offset;

static bool start(void)
{
    if (!HAS_1C(26)) {
        TRY_FAULT(UD, 0, "xgetbv", : : "c"(0) : "eax", "edx");
        TRY_FAULT(GP, 0, "mov %0, %%cr4", : : "r"(read_cr4() | CR4_OSXSAVE));
        skip("no XSAVE");
        return false;
    }
    write_cr4(read_cr4() | CR4_OSXSAVE | CR4_OSFXSR);
    asm volatile("xsetbv" : : "a"(HAS_1C(28) ? 7 : 3), "d"(0), "c"(0));
    avx_offset = cpuid(0xd, 2).b;
    asm volatile("fninit");
    return true;
}

static void fill(uint8_t value)
{
    for (unsigned n = 0; n < sizeof(area); n++)
        ((volatile uint8_t *)&area)[n] = value;
}

static void clear_header(void)
{
    area.xstate_bv = area.xcomp_bv = 0;
    for (unsigned n = 0; n < 6; n++)
        area.reserved[n] = 0;
}

#define XS(name, mask)                                                                             \
    asm volatile(name " %0"                                                                        \
                 : "+m"(area)                                                                      \
                 : "a"(mask), "d"((uint32_t)((uint64_t)(mask) >> 32))                              \
                 : "memory")

static void set_registers(uint32_t x0, uint32_t upper)
{
    asm volatile("movd %0, %%xmm0\n pshufd $0, %%xmm0, %%xmm0\n movaps %%xmm0, %%xmm15"
                 :
                 : "r"(x0));
    if (upper != 0)
        asm volatile("vmovd %0, %%xmm1\n vpshufd $0, %%xmm1, %%xmm1\n"
                     "vinsertf128 $1, %%xmm1, %%ymm0, %%ymm0"
                     :
                     : "r"(upper));
}

static uint32_t word(unsigned offset)
{
    return *(volatile uint32_t *)((volatile uint8_t *)&area + offset);
}

static uint32_t xmm0(void)
{
    uint32_t v;

    asm volatile("movd %%xmm0, %0" : "=r"(v));
    return v;
}

static uint32_t ymm0_upper(void)
{
    uint32_t v;

    asm volatile("vextractf128 $1, %%ymm0, %%xmm1\n vmovd %%xmm1, %0" : "=r"(v));
    return v;
}

static void control(void)
{
    uint32_t low, high;

    if (!start())
        return;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    EXPECT_EQ(low, HAS_1C(28) ? 7 : 3);
    EXPECT_EQ(high, 0);
    TRY_FAULT(GP, 0, "xsetbv", : : "a"(2), "d"(0), "c"(0)); /* x87 is always on */
    TRY_FAULT(GP, 0, "xsetbv", : : "a"(3), "d"(0), "c"(1));
    TRY_FAULT(GP, 0, "xsetbv", : : "a"(3), "d"(1), "c"(0));
    TRY_FAULT(GP, 0, "xsetbv", : : "a"(3), "d"(1 << 31), "c"(0));
    TRY_FAULT(GP, 0, "xsetbv", : : "a"(0xe3), "d"(0), "c"(0)); /* AVX-512 without AVX */
    TRY_FAULT(GP, 0, "xsetbv", : : "a"(0xb), "d"(0), "c"(0));  /* half of MPX */
    TRY_OK("xsetbv", : : "a"(3), "d"(0), "c"(0));
    EXPECT_EQ(cpuid(0xd, 0).b, 576); /* what XCR0 enables now */
    asm volatile("xsetbv" : : "a"(HAS_1C(28) ? 7 : 3), "d"(0), "c"(0));
    EXPECT_EQ(cpuid(0xd, 0).b, HAS_1C(28) ? avx_offset + 256 : 576);
    EXPECT(cpuid(0xd, 0).c >= cpuid(0xd, 0).b);
    TRY_FAULT(GP, 0, "xgetbv", : : "c"(2) : "eax", "edx");
    if (cpuid(0xd, 1).a & 4)
        TRY_OK("xgetbv", : : "c"(1) : "eax", "edx");
    else
        TRY_FAULT(GP, 0, "xgetbv", : : "c"(1) : "eax", "edx");
    context("OSXSAVE clear");
    write_cr4(read_cr4() & ~(unsigned long)CR4_OSXSAVE);
    TRY_FAULT(UD, 0, "xgetbv", : : "c"(0) : "eax", "edx");
    TRY_FAULT(UD, 0, "xsetbv", : : "a"(3), "d"(0), "c"(0));
    TRY_FAULT(UD, 0, "xsave %0", : : "m"(area), "a"(3), "d"(0));
    TRY_FAULT(UD, 0, "xrstor %0", : : "m"(area), "a"(3), "d"(0));
    write_cr4(read_cr4() | CR4_OSXSAVE);
    context("TS, alignment");
    TRY_FAULT(GP, 0, "xsave 32(%0)", : : "r"(&area), "a"(3), "d"(0));
    TRY_FAULT(GP, 0, "xrstor 16(%0)", : : "r"(&area), "a"(3), "d"(0));
    write_cr0(read_cr0() | CR0_TS);
    TRY_FAULT(NM, 0, "xsave 32(%0)", : : "r"(&area), "a"(3), "d"(0));
    TRY_FAULT(NM, 0, "xrstor 32(%0)", : : "r"(&area), "a"(3), "d"(0));
    TRY_OK("xgetbv", : : "c"(0) : "eax", "edx");
    asm volatile("clts");
}

USER_CODE(user_xgetbv, "xor %ecx, %ecx\n xgetbv");
USER_CODE(user_xsetbv, "xor %ecx, %ecx\n xsetbv");

static void privilege(void)
{
    if (!start())
        return;
    run_user(user_xgetbv);
    EXPECT_RETURN();
    run_user(user_xsetbv);
    EXPECT_TRAP(GP, 0);
}

/* XSAVE writes what is asked for, and nothing else; XSTATE_BV's other bits stay. */
static void standard(void)
{
    bool avx;

    if (!start())
        return;
    avx = HAS_1C(28);
    set_registers(0x11111111, avx ? 0x22222222 : 0);
    asm volatile("fld1");
    fill(0xee);
    clear_header();
    XS("xsave", 7);
    EXPECT_EQ(area.xstate_bv, avx ? 7 : 3);
    EXPECT_EQ(area.xcomp_bv, 0);
    EXPECT_EQ(word(160), 0x11111111);           /* XMM0 */
    EXPECT_EQ(word(160 + 15 * 16), 0x11111111); /* XMM15 */
    EXPECT_EQ(word(0) & 0xffff, 0x37f);
    EXPECT_EQ(word(24), 0x1f80);
    EXPECT_EQ(word(464), 0xeeeeeeee); /* for software */
    if (avx)
        EXPECT_EQ(word(avx_offset), 0x22222222);
    context("SSE alone");
    fill(0xee);
    clear_header();
    area.xstate_bv = 0xf5;
    XS("xsave", SSE);
    EXPECT_EQ(area.xstate_bv, 0xf7);
    EXPECT_EQ(word(0), 0xeeeeeeee);
    EXPECT_EQ(word(24), 0x1f80);
    EXPECT_EQ(word(160), 0x11111111);
    EXPECT_EQ(word(32), 0xeeeeeeee);
    context("x87 alone");
    fill(0xee);
    clear_header();
    XS("xsave", X87);
    EXPECT_EQ(word(0) & 0xffff, 0x37f);
    EXPECT_EQ(word(24), 0xeeeeeeee);
    EXPECT_EQ(word(160), 0xeeeeeeee);
    if (avx) {
        context("AVX alone: MXCSR is written, too");
        fill(0xee);
        clear_header();
        XS("xsave", AVX);
        EXPECT_EQ(word(24), 0x1f80);
        EXPECT_EQ(word(160), 0xeeeeeeee);
        EXPECT_EQ(word(avx_offset), 0x22222222);
    }
    context("no register asked for");
    fill(0xee);
    clear_header();
    XS("xsave", 0);
    EXPECT_EQ(word(24), 0xeeeeeeee);
    EXPECT_EQ(area.xstate_bv, 0);
    asm volatile("fninit");
}

/* XRSTOR: initial state for what XSTATE_BV has clear. */
static void restoring(void)
{
    bool avx;
    uint16_t cw;

    if (!start())
        return;
    avx = HAS_1C(28);
    set_registers(0x33333333, avx ? 0x44444444 : 0);
    fill(0);
    XS("xsave", 7);
    set_registers(0x55555555, avx ? 0x66666666 : 0);
    XS("xrstor", SSE);
    EXPECT_EQ(xmm0(), 0x33333333);
    if (avx) {
        EXPECT_EQ(ymm0_upper(), 0x66666666);
        XS("xrstor", AVX);
        EXPECT_EQ(ymm0_upper(), 0x44444444);
    }
    context("XSTATE_BV clear");
    area.xstate_bv = 0;
    XS("xrstor", avx ? 6 : 2);
    EXPECT_EQ(xmm0(), 0);
    if (avx)
        EXPECT_EQ(ymm0_upper(), 0);
    asm volatile("fldcw %0" : : "m"((uint16_t){0x27f}));
    XS("xrstor", X87);
    asm volatile("fnstcw %0" : "=m"(cw));
    EXPECT_EQ(cw, 0x37f);
    context("MXCSR comes from memory whatever XSTATE_BV says");
    *(volatile uint32_t *)&area.legacy[24] = 0x1fa0;
    XS("xrstor", SSE);
    {
        uint32_t mxcsr;

        asm volatile("stmxcsr %0" : "=m"(mxcsr));
        EXPECT_EQ(mxcsr, 0x1fa0);
        asm volatile("ldmxcsr %0" : : "m"((uint32_t){0x1f80}));
    }
    *(volatile uint32_t *)&area.legacy[24] = 0x10000;
    TRY_FAULT(GP, 0, "xrstor %0", : : "m"(area), "a"(SSE), "d"(0));
    if (avx)
        TRY_FAULT(GP, 0, "xrstor %0", : : "m"(area), "a"(AVX), "d"(0));
    TRY_OK("xrstor %0", : : "m"(area), "a"(X87), "d"(0));
    *(volatile uint32_t *)&area.legacy[24] = 0x1f80;
    context("headers");
    for (unsigned bit = 0; bit < 64; bit++) {
        area.xstate_bv = 1ull << bit;
        if (bit < (avx ? 3 : 2))
            TRY_OK("xrstor %0", : : "m"(area), "a"(7), "d"(0));
        else
            TRY_FAULT(GP, 0, "xrstor %0", : : "m"(area), "a"(7), "d"(0));
    }
    area.xstate_bv = 0;
    for (unsigned n = 0; n < 16; n++) { /* bytes 23:8 of the header */
        ((volatile uint8_t *)&area.xcomp_bv)[n] = 1;
        TRY_FAULT(GP, 0, "xrstor %0", : : "m"(area), "a"(7), "d"(0));
        ((volatile uint8_t *)&area.xcomp_bv)[n] = 0;
    }
    area.reserved[2] = 1; /* bytes 63:24 are not looked at */
    TRY_OK("xrstor %0", : : "m"(area), "a"(7), "d"(0));
    area.reserved[2] = 0;
    asm volatile("fninit");
}

/* XSAVEOPT leaves out what is in its initial state; XSTATE_BV says so. */
static void initial_state(void)
{
    if (!start())
        return;
    if (!(cpuid(0xd, 1).a & 1)) {
        TRY_FAULT(UD, 0, "xsaveopt %0", : : "m"(area), "a"(7), "d"(0));
        skip("no XSAVEOPT");
        return;
    }
    fill(0);
    area.xstate_bv = 0;
    *(volatile uint32_t *)&area.legacy[24] = 0x1f80;
    XS("xrstor", 7); /* everything initial */
    fill(0xee);
    clear_header();
    XS("xsaveopt", 7);
    EXPECT_EQ(area.xstate_bv, 0);
    EXPECT_EQ(word(0), 0xeeeeeeee);
    EXPECT_EQ(word(160), 0xeeeeeeee);
    EXPECT_EQ(word(24), 0x1f80); /* MXCSR always */
    set_registers(0x77777777, 0);
    fill(0xee);
    clear_header();
    area.xstate_bv = 7;
    XS("xsaveopt", 7);
    EXPECT_EQ(area.xstate_bv & 3, SSE);
    EXPECT_EQ(word(160), 0x77777777);
}

/* The compacted form, by XSAVEC and XSAVES. */
static void compacted(void)
{
    unsigned features = cpuid(0xd, 1).a;
    bool avx;

    if (!start())
        return;
    if (!(features & 2)) {
        TRY_FAULT(UD, 0, "xsavec %0", : : "m"(area), "a"(7), "d"(0));
        skip("no XSAVEC");
        return;
    }
    avx = HAS_1C(28);
    set_registers(0x12345678, avx ? 0x9abcdef0 : 0);
    fill(0xee);
    clear_header();
    XS("xsavec", 7);
    EXPECT_EQ(area.xcomp_bv, COMPACT | (avx ? 7 : 3));
    EXPECT_EQ(area.xstate_bv & 6, avx ? 6 : 2);
    EXPECT_EQ(word(160), 0x12345678);
    if (avx) {
        EXPECT_EQ(word(576), 0x9abcdef0);
        context("in use (XCR0 & XINUSE): a component that is initial keeps its place");
        set_registers(0, 0);
        fill(0xee);
        clear_header();
        XS("xsavec", AVX);
        EXPECT_EQ(area.xcomp_bv, COMPACT | AVX);
        EXPECT_EQ(word(576), 0x9abcdef0);
        EXPECT_EQ(word(160), 0xeeeeeeee);
        EXPECT_EQ(word(24), 0xeeeeeeee); /* MXCSR only with SSE here */
    }
    context("back by XRSTOR");
    set_registers(0x12345678, avx ? 0x9abcdef0 : 0);
    XS("xsavec", 7);
    set_registers(1, avx ? 2 : 0);
    XS("xrstor", 7);
    EXPECT_EQ(xmm0(), 0x12345678);
    if (avx)
        EXPECT_EQ(ymm0_upper(), 0x9abcdef0);
    context("headers");
    area.xcomp_bv = COMPACT | 2; /* XSTATE_BV beyond XCOMP_BV */
    area.xstate_bv = 3;
    TRY_FAULT(GP, 0, "xrstor %0", : : "m"(area), "a"(7), "d"(0));
    area.xcomp_bv = COMPACT | 1ull << 62 | 7;
    area.xstate_bv = 3;
    TRY_FAULT(GP, 0, "xrstor %0", : : "m"(area), "a"(7), "d"(0));
    area.xcomp_bv = COMPACT | 3;
    area.reserved[0] = 1; /* bytes 63:16 */
    TRY_FAULT(GP, 0, "xrstor %0", : : "m"(area), "a"(7), "d"(0));
    area.reserved[0] = 0;
    area.reserved[5] = 1ull << 63;
    TRY_FAULT(GP, 0, "xrstor %0", : : "m"(area), "a"(7), "d"(0));
    area.reserved[5] = 0;
    TRY_OK("xrstor %0", : : "m"(area), "a"(7), "d"(0));
}

USER_CODE(user_xsaves, "xsaves64 (%rax)");
USER_CODE(user_xrstors, "xrstors64 (%rax)");

static void supervisor(void)
{
    if (!start())
        return;
    if (!(cpuid(0xd, 1).a & 8)) {
        TRY_FAULT(UD, 0, "xsaves %0", : : "m"(area), "a"(7), "d"(0));
        TRY_FAULT(UD, 0, "xrstors %0", : : "m"(area), "a"(7), "d"(0));
        TRY_FAULT(GP, 0, "rdmsr", : : "c"(0xda0) : "eax", "edx");
        skip("no XSAVES");
        return;
    }
    run_user(user_xsaves);
    EXPECT_FAULT(GP, 0);
    run_user(user_xrstors);
    EXPECT_FAULT(GP, 0);
    set_registers(0x24681357, 0);
    fill(0xee);
    clear_header();
    XS("xsaves", 7);
    EXPECT(area.xcomp_bv & COMPACT);
    EXPECT_EQ(word(160), 0x24681357);
    set_registers(1, 0);
    XS("xrstors", 7);
    EXPECT_EQ(xmm0(), 0x24681357);
    context("XRSTORS takes the compacted form only");
    area.xcomp_bv = 0;
    TRY_FAULT(GP, 0, "xrstors %0", : : "m"(area), "a"(7), "d"(0));
    context("IA32_XSS");
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(0xda0), "a"(1), "d"(0));
    TRY_OK("wrmsr", : : "c"(0xda0), "a"(0), "d"(0));
}

const struct test_case cases[] = {
    {"XCR0", control},      {"privilege", privilege},    {"XSAVE", standard},
    {"XRSTOR", restoring},  {"XSAVEOPT", initial_state}, {"XSAVEC", compacted},
    {"XSAVES", supervisor},
};
PROGRAM("xsave");
