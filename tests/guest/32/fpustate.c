/*
 * What FNSTENV, FNSAVE and FXSAVE store: the four layouts by operand size and mode (SDM 1 8.1.10),
 * and the pointers to the last instruction.
 */
#include "segments.h"

static volatile uint8_t image[512] __attribute__((aligned(16)));
static volatile float operand = 1.5f;
extern char last_at[];

static unsigned half(unsigned offset)
{
    return *(volatile uint16_t *)(image + offset);
}

static uint32_t word(unsigned offset)
{
    return *(volatile uint32_t *)(image + offset);
}

static void clear(void)
{
    for (unsigned n = 0; n < sizeof(image); n++)
        image[n] = 0xee;
}

/* Two numbers on the stack, the last instruction at last_at with a memory operand. */
static __attribute__((noinline)) void prepare(void)
{
    asm volatile("fninit\n fldpi\n .globl last_at\nlast_at: flds %0" : : "m"(operand));
}

static bool has_selectors(void)
{
    return !HAS_7B(13);
}

static void check_env32(void)
{
    EXPECT_EQ(half(0), 0x37f);
    EXPECT_EQ(half(4), 0x3000); /* TOP is 6 */
    EXPECT_EQ(half(8), 0x0fff); /* registers 7 and 6 are valid */
    EXPECT_EQ(word(12), (uint32_t)last_at);
    if (has_selectors()) {
        EXPECT_EQ(half(16), SEL_CODE);
        EXPECT_EQ(half(24), SEL_DATA);
    }
    EXPECT_EQ(half(18) & 0xf800, 0);
    EXPECT_EQ(word(20), (uint32_t)&operand);
}

static void protected_32(void)
{
    uint16_t cw;

    prepare();
    clear();
    asm volatile("fnstenv %0" : "=m"(image));
    check_env32();
    EXPECT_EQ(image[28], 0xee);
    asm volatile("fnstcw %0" : "=m"(cw));
    EXPECT_EQ(cw, 0x37f);
    context("all exceptions are masked then");
    asm volatile("fldcw %0\n fnstenv %1\n fnstcw %2"
                 :
                 : "m"((uint16_t){0x340}), "m"(image), "m"(cw)
                 : "memory");
    EXPECT_EQ(half(0), 0x340);
    EXPECT_EQ(cw, 0x37f);
    context("FNSAVE");
    prepare();
    clear();
    asm volatile("fnsave %0" : "=m"(image));
    check_env32();
    EXPECT_EQ(word(28), 0); /* 1.5 */
    EXPECT_EQ(word(32), 0xc0000000);
    EXPECT_EQ(half(36), 0x3fff);
    EXPECT_EQ(half(46), 0x4000); /* pi */
    EXPECT_EQ(image[108], 0xee);
    asm volatile("fnstenv %0" : "=m"(image));
    context("FNSAVE initializes");
    EXPECT_EQ(half(4), 0);
    EXPECT_EQ(half(8), 0xffff);
    EXPECT_EQ(word(12), 0);
    EXPECT_EQ(word(20), 0);
}

static void protected_16(void)
{
    prepare();
    clear();
    asm volatile("data16 fnstenv %0" : "=m"(image));
    EXPECT_EQ(half(0), 0x37f);
    EXPECT_EQ(half(2), 0x3000);
    EXPECT_EQ(half(4), 0x0fff);
    EXPECT_EQ(half(6), (uint16_t)(uint32_t)last_at);
    EXPECT_EQ(half(10), (uint16_t)(uint32_t)&operand);
    if (has_selectors()) {
        EXPECT_EQ(half(8), SEL_CODE);
        EXPECT_EQ(half(12), SEL_DATA);
    }
    EXPECT_EQ(image[14], 0xee);
    context("FNSAVE");
    prepare();
    clear();
    asm volatile("data16 fnsave %0" : "=m"(image));
    EXPECT_EQ(half(4), 0x0fff);
    EXPECT_EQ(half(14 + 8), 0x3fff);
    EXPECT_EQ(half(24 + 8), 0x4000);
    EXPECT_EQ(image[94], 0xee);
    context("FRSTOR");
    asm volatile("fninit\n data16 frstor %0\n fnstenv %1" : : "m"(image), "m"(image) : "memory");
    EXPECT_EQ(half(4), 0x3000);
    EXPECT_EQ(half(8), 0x0fff);
}

/* FLDENV and FRSTOR read what the others store, in both sizes. */
static void loading(void)
{
    prepare();
    asm volatile("fnstenv %0" : "=m"(image));
    image[8] = 0xf0; /* tags: register 0 and 1 valid, too */
    *(volatile uint16_t *)(image + 4) = 0x4700;
    *(volatile uint16_t *)(image + 0) = 0x27f;
    asm volatile("fldenv %0\n fnstenv %0" : "+m"(image));
    EXPECT_EQ(half(0), 0x27f);
    EXPECT_EQ(half(4), 0x4700);
    EXPECT_EQ(word(12), (uint32_t)last_at);
    context("a pending error is loaded, and reported later");
    asm volatile("fninit\n fnstenv %0" : "=m"(image));
    *(volatile uint16_t *)(image + 0) = 0x37b;
    *(volatile uint16_t *)(image + 4) = 0x0004; /* ZE, without ES */
    asm volatile("fldenv %0" : : "m"(image));
    TRY_FAULT(MF, 0, "fwait", :);
    asm volatile("fnstsw %0\n fninit" : "=m"(image));
    EXPECT_EQ(half(0), 0x8084);
}

/* The pointers do not move with control instructions. */
static void pointers(void)
{
    prepare();
    asm volatile("fnclex\n fldcw %0\n fnop\n fnstsw %%ax" : : "m"((uint16_t){0x37f}) : "eax");
    asm volatile("fnstenv %0" : "=m"(image));
    context("FNOP counts, FLDCW, FNCLEX and FNSTSW do not");
    EXPECT_EQ(word(20), (uint32_t)&operand);
    context("a register form leaves the data pointer");
    prepare();
    asm volatile("fadd %%st(1), %%st\n fnstenv %0" : "=m"(image));
    EXPECT(word(12) != (uint32_t)last_at);
    EXPECT_EQ(word(20), (uint32_t)&operand);
    context("FXSAVE");
    write_cr4(read_cr4() | CR4_OSFXSR);
    prepare();
    clear();
    asm volatile("fxsave %0" : "=m"(image));
    EXPECT_EQ(half(0), 0x37f);
    EXPECT_EQ(half(2), 0x3000);
    EXPECT_EQ(half(4), 0xc0); /* one bit for each register */
    EXPECT_EQ(word(8), (uint32_t)last_at);
    EXPECT_EQ(word(16), (uint32_t)&operand);
    if (has_selectors()) {
        EXPECT_EQ(half(12), SEL_CODE);
        EXPECT_EQ(half(20), SEL_DATA);
    }
    EXPECT_EQ(word(24), 0x1f80);
    EXPECT_EQ(half(40), 0x3fff); /* ST0 */
    EXPECT_EQ(half(56), 0x4000);
    EXPECT_EQ(image[464], 0xee);
    EXPECT_EQ(image[160 + 8 * 16], 0xee); /* XMM8 is for 64-bit mode */
    context("FXRSTOR of the tags");
    image[4] = 0x03;
    asm volatile("fxrstor %0\n fnstenv %0" : "+m"(image));
    EXPECT_EQ(half(8) & 0xf, 5); /* registers 0 and 1 hold zeroes */
    asm volatile("fninit");
}

/* ---- Real-address mode ---- */

/* Runs at 8000h in real mode: loads a number at 9ABCDh, stores both environments and comes back. */
extern char real_begin[], real_end[];
void real_run(void);
asm(".pushsection .text\n"
    "real_begin:\n"
    ".code16\n"
    "mov %cr0, %eax\n and $~1, %al\n mov %eax, %cr0\n ljmp $0, $0x8000 + 1f - real_begin\n"
    "1: xor %ax, %ax\n mov %ax, %ss\n mov $0x7000, %sp\n"
    "mov $0x9000, %ax\n mov %ax, %ds\n"
    "fninit\n"
    "2: flds 0xabcd\n"
    "xor %ax, %ax\n mov %ax, %ds\n"
    "fnstenv 0x6000\n" /* 16 bits */
    "data32 fnstenv 0x6040\n"
    "mov %cr0, %eax\n or $1, %al\n mov %eax, %cr0\n data32 ljmp $0x08, $real_back\n"
    "real_end:\n"
    ".set real_load, 2b - real_begin\n"
    ".code32\n"
    "real_run: pusha\n mov %esp, real_sp\n ljmp $0x40, $0x8000\n"
    "real_back: mov $0x10, %eax\n mov %eax, %ds\n mov %eax, %es\n mov %eax, %ss\n"
    "mov real_sp, %esp\n popa\n ret\n"
    ".popsection\n"
    ".pushsection .bss\n real_sp: .skip 4\n .popsection");
extern char real_load[];

static void real_mode(void)
{
    uint32_t low = 0x8000, environment = 0x6000, ip = 0x8000 + (uint32_t)real_load;

    for (unsigned n = 0; n < (unsigned)(real_end - real_begin); n++)
        ((volatile uint8_t *)low)[n] = (uint8_t)real_begin[n];
    real_run();
    for (unsigned n = 0; n < 128; n++)
        image[n] = ((volatile uint8_t *)environment)[n];
    context("16 bits");
    EXPECT_EQ(half(0), 0x37f);
    EXPECT_EQ(half(2), 0x3800);
    EXPECT_EQ(half(4), 0x3fff | (half(4) & 0xc000)); /* the value may count as valid or special */
    EXPECT_EQ(half(6), ip);
    EXPECT_EQ(half(8) >> 12, 0);
    EXPECT_EQ(half(10), 0xabcd);
    EXPECT_EQ(half(12) >> 12, 9);
    EXPECT_EQ(half(12) & 0xfff, 0);
    context("32 bits");
    EXPECT_EQ(half(0x40), 0x37f);
    EXPECT_EQ(half(0x44), 0x3800);
    EXPECT_EQ(half(0x4c), ip);
    EXPECT_EQ(word(0x50) >> 12, 0);
    EXPECT_EQ(half(0x54), 0xabcd);
    EXPECT_EQ(word(0x58), 9 << 12);
}

const struct test_case cases[] = {
    {"32 bits, protected", protected_32},
    {"16 bits, protected", protected_16},
    {"loading", loading},
    {"pointers", pointers},
    {"real mode", real_mode},
};
PROGRAM("fpustate");
