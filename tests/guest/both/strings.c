/*
 * String instructions in every operand and address size, both directions, with and without REP;
 * faults in the middle leave registers so that the instruction can go on (SDM 2B, REP).
 */
#include "segments.h"

/* Below 64 KiB, so that 16-bit addresses reach it, too. */
#define SOURCE 0x8000ul
#define TARGET 0x9000ul

static volatile uint8_t *source = (volatile uint8_t *)SOURCE;
static volatile uint8_t *target = (volatile uint8_t *)TARGET;

struct regs {
    unsigned long a, c, si, di, flags;
};
static struct regs r;

#if defined(__x86_64__)
#define PUSHF "pushfq\n popq %4\n"
#else
#define PUSHF "pushfl\n popl %4\n"
#endif

/* Runs one string instruction on r; DF is clear again afterwards. */
#define RUN(code)                                                                                  \
    asm volatile(code "\n" PUSHF "cld"                                                             \
                 : "+a"(r.a), "+c"(r.c), "+S"(r.si), "+D"(r.di), "=rm"(r.flags)                    \
                 :                                                                                 \
                 : "memory", "cc")

static void reset(void)
{
    for (unsigned n = 0; n < 256; n++) {
        source[n] = (uint8_t)(n * 7 + 1);
        target[n] = 0xee;
    }
}

#define HIGH (sizeof(long) == 8 ? 0x5a5a0000ul << 28 : 0x5a5a0000ul)

/* Name, prefix of the address size, the bits of it. */
#if defined(__x86_64__)
#define ADDRESS_SIZES(X) X("", 64) X("addr32 ", 32)
#define SIZES(X, addr, bits)                                                                       \
    X(addr, bits, "b", 1) X(addr, bits, "w", 2) X(addr, bits, "l", 4) X(addr, bits, "q", 8)
#else
#define ADDRESS_SIZES(X)     X("", 32) X("addr16 ", 16)
#define SIZES(X, addr, bits) X(addr, bits, "b", 1) X(addr, bits, "w", 2) X(addr, bits, "l", 4)
#endif

/* What a register is after moving by `by`: the upper part stays, or is cleared in 64-bit mode. */
static unsigned long moved(unsigned long from, long by, unsigned bits)
{
    if (bits == 16)
        return (from & ~0xfffful) | (uint16_t)(from + (unsigned long)by);
    if (bits == 32)
        return (uint32_t)(from + (unsigned long)by);
    return from + (unsigned long)by;
}

/* Garbage above the address size. */
static unsigned long dirty(unsigned long v, unsigned bits)
{
    return bits == 8 * sizeof(long) ? v : v | HIGH;
}

static void setup(unsigned bits, unsigned size, unsigned long count, bool down)
{
    unsigned long last = down ? (count - 1) * size : 0;

    reset();
    r = (struct regs){0, dirty(count, bits), dirty(SOURCE + 16 + last, bits),
                      dirty(TARGET + 16 + last, bits), 0};
}

static void expect_moved(const struct regs *before, unsigned bits, unsigned size, long count,
                         bool down, bool si, bool di)
{
    long by = (down ? -1 : 1) * (long)size * count;

    EXPECT_EQ(r.si, si ? moved(before->si, by, bits) : before->si);
    EXPECT_EQ(r.di, di ? moved(before->di, by, bits) : before->di);
}

#define MOVES(addr, bits, letter, size)                                                            \
    for (unsigned down = 0; down < 2; down++) {                                                    \
        struct regs before;                                                                        \
                                                                                                   \
        context("%smovs%s, down %u", addr, letter, down);                                          \
        setup(bits, size, 1, down);                                                                \
        before = r;                                                                                \
        if (down)                                                                                  \
            RUN("std\n " addr "movs" letter);                                                      \
        else                                                                                       \
            RUN(addr "movs" letter);                                                               \
        expect_moved(&before, bits, size, 1, down, true, true);                                    \
        EXPECT_EQ(r.c, before.c);                                                                  \
        for (unsigned n = 0; n < size; n++)                                                        \
            EXPECT_EQ(target[16 + n], source[16 + n]);                                             \
        EXPECT_EQ(target[16 + size], 0xee);                                                        \
        context("rep %smovs%s, down %u", addr, letter, down);                                      \
        setup(bits, size, 7, down);                                                                \
        before = r;                                                                                \
        if (down)                                                                                  \
            RUN("std\n " addr "rep movs" letter);                                                  \
        else                                                                                       \
            RUN(addr "rep movs" letter);                                                           \
        expect_moved(&before, bits, size, 7, down, true, true);                                    \
        EXPECT_EQ(r.c, moved(before.c, -7, bits));                                                 \
        for (unsigned n = 0; n < 7 * size; n++)                                                    \
            EXPECT_EQ(target[16 + n], source[16 + n]);                                             \
        EXPECT_EQ(target[16 + 7 * size], 0xee);                                                    \
        EXPECT_EQ(target[15], 0xee);                                                               \
        context("stos%s, lods%s with REP, down %u", letter, letter, down);                         \
        setup(bits, size, 5, down);                                                                \
        before = r;                                                                                \
        r.a = (unsigned long)0x1122334455667788ull;                                                \
        if (down)                                                                                  \
            RUN("std\n " addr "rep stos" letter);                                                  \
        else                                                                                       \
            RUN(addr "rep stos" letter);                                                           \
        expect_moved(&before, bits, size, 5, down, false, true);                                   \
        for (unsigned n = 0; n < 5 * size; n++)                                                    \
            EXPECT_EQ(target[16 + n], (uint8_t)(0x1122334455667788ull >> 8 * (n % size)));         \
        EXPECT_EQ(target[16 + 5 * size], 0xee);                                                    \
        r.c = before.c;                                                                            \
        if (down)                                                                                  \
            RUN("std\n " addr "rep lods" letter);                                                  \
        else                                                                                       \
            RUN(addr "rep lods" letter);                                                           \
        EXPECT_EQ((uint8_t)r.a, source[16 + (down ? 0 : 4 * size)]);                               \
        EXPECT_EQ(r.si, moved(before.si, (down ? -5 : 5) * (long)size, bits));                     \
    }
#define MOVES_OF(addr, bits) SIZES(MOVES, addr, bits)

static void moving(void)
{
    ADDRESS_SIZES(MOVES_OF)
}

#define COMPARES(addr, bits, letter, size)                                                         \
    {                                                                                              \
        struct regs before;                                                                        \
                                                                                                   \
        context("%scmps%s", addr, letter);                                                         \
        setup(bits, size, 9, false);                                                               \
        for (unsigned n = 0; n < 9 * size; n++)                                                    \
            target[16 + n] = source[16 + n];                                                       \
        target[16 + 4 * size] ^= 0x80;                                                             \
        before = r;                                                                                \
        RUN(addr "repe cmps" letter);                                                              \
        EXPECT_EQ(r.c, moved(before.c, -5, bits)); /* the one that differs counts */               \
        EXPECT_EQ(r.flags &FL_ZF, 0);                                                              \
        expect_moved(&before, bits, size, 5, false, true, true);                                   \
        RUN(addr "repe cmps" letter);                                                              \
        EXPECT_EQ(r.c, moved(before.c, -9, bits));                                                 \
        EXPECT(r.flags &FL_ZF);                                                                    \
        context("%sscas%s", addr, letter);                                                         \
        setup(bits, size, 9, false);                                                               \
        r.a = 0;                                                                                   \
        for (unsigned n = 0; n < size; n++)                                                        \
            target[16 + 6 * size + n] = 0;                                                         \
        before = r;                                                                                \
        RUN(addr "repne scas" letter);                                                             \
        EXPECT_EQ(r.c, moved(before.c, -7, bits));                                                 \
        EXPECT(r.flags &FL_ZF);                                                                    \
        expect_moved(&before, bits, size, 7, false, false, true);                                  \
        context("count of zero: flags and registers stay, %s%s", addr, letter);                    \
        r.c = moved(before.c, -9, bits);                                                           \
        before = r;                                                                                \
        RUN("cmp %%eax, %%eax\n stc\n " addr "repne scas" letter);                                 \
        EXPECT(r.flags &FL_CF);                                                                    \
        EXPECT(r.flags &FL_ZF);                                                                    \
        expect_moved(&before, bits, size, 0, false, false, false);                                 \
        EXPECT_EQ(r.c, before.c);                                                                  \
    }
#define COMPARES_OF(addr, bits) SIZES(COMPARES, addr, bits)

static void comparing(void)
{
    ADDRESS_SIZES(COMPARES_OF)
}

/* Overlap: bytes move one by one, as if each iteration were an instruction of its own. */
static void overlap(void)
{
    uint8_t model[64];

    for (unsigned n = 0; n < 64; n++)
        target[n] = (uint8_t)n;
    r = (struct regs){.c = 40, .si = TARGET, .di = TARGET + 1};
    RUN("rep movsb");
    for (unsigned n = 0; n < 41; n++)
        EXPECT_EQ(target[n], 0);
    EXPECT_EQ(target[41], 41);
    for (unsigned n = 0; n < 64; n++)
        target[n] = (uint8_t)n;
    r = (struct regs){.c = 10, .si = TARGET, .di = TARGET + 3};
    RUN("rep movsl");
    for (unsigned n = 0; n < 64; n++)
        model[n] = (uint8_t)n;
    for (unsigned n = 0; n < 40; n += 4) {
        uint8_t element[4] = {model[n], model[n + 1], model[n + 2], model[n + 3]};

        for (unsigned k = 0; k < 4; k++)
            model[n + 3 + k] = element[k];
    }
    for (unsigned n = 0; n < 64; n++)
        EXPECT_EQ(target[n], model[n]);
    context("downwards, no damage");
    for (unsigned n = 0; n < 64; n++)
        target[n] = (uint8_t)n;
    r = (struct regs){.c = 40, .si = TARGET + 39, .di = TARGET + 40};
    RUN("std\n rep movsb");
    for (unsigned n = 0; n < 40; n++)
        EXPECT_EQ(target[n + 1], n);
}

#if !defined(__x86_64__)
/* Segment limits in the middle: what fits is done, registers point at the one that does not. */
static void limits(void)
{
    unsigned long si, di, c;

    gdt_set(SEL(0), descriptor(TARGET, 63, ACC_P | ACC_DATA | ACC_W, SEG_D));
    reset();
    asm volatile("mov %w0, %%es" : : "r"(SEL(0)));
    TRY("rep movsb", : "=S"(si), "=D"(di), "=c"(c) : "0"(SOURCE), "1"(32), "2"(50));
    asm volatile("push %ds\n pop %es");
    EXPECT_TRAP(GP, 0);
    EXPECT_EQ(c, 50 - 32);
    EXPECT_EQ(di, 64);
    EXPECT_EQ(si, SOURCE + 32);
    EXPECT_EQ(target[63], source[31]);
    EXPECT_EQ(target[64], 0xee);
    context("an operand across the limit is not written at all");
    reset();
    asm volatile("mov %w0, %%es" : : "r"(SEL(0)));
    TRY("rep stosl", : "=D"(di), "=c"(c) : "0"(50), "1"(9), "a"(0x01010101));
    asm volatile("push %ds\n pop %es");
    EXPECT_TRAP(GP, 0);
    EXPECT_EQ(di, 62);
    EXPECT_EQ(c, 6);
    EXPECT_EQ(target[61], 1);
    EXPECT_EQ(target[62], 0xee);
    context("a null source segment");
    TRY("mov %w1, %%fs\n fs lodsb", : : "S"(SOURCE), "r"(0) : "eax");
    EXPECT_TRAP(GP, 0);
    EXPECT_EQ(trap.ip, try_start + 2);
}

/* 16-bit addresses wrap at 64 KiB. */
static void wrapping(void)
{
    unsigned long si, di, c;
    volatile uint8_t *segment = (volatile uint8_t *)0x10000ul;

    gdt_set(SEL(0), descriptor(0x10000, 0xffff, ACC_P | ACC_DATA | ACC_W, 0));
    for (unsigned n = 0; n < 8; n++) {
        segment[0xfff8 + n] = (uint8_t)n;
        segment[n] = (uint8_t)(8 + n);
    }
    reset();
    asm volatile("mov %w0, %%fs" : : "r"(SEL(0)));
    TRY("addr16 rep fs movsb", : "=S"(si), "=D"(di), "=c"(c) : "0"(0xfff8), "1"(TARGET), "2"(16));
    EXPECT_NO_TRAP();
    EXPECT_EQ(si, 8);
    EXPECT_EQ(c, 0);
    for (unsigned n = 0; n < 16; n++)
        EXPECT_EQ(target[n], n);
    context("an operand across the wrap");
    TRY("addr16 fs lodsl", : "=S"(si) : "0"(0xfffe) : "eax");
    EXPECT_TRAP(GP, 0);
    asm volatile("push %ds\n pop %fs");
}
#else
/* Page faults in the middle of 64-bit moves. */
#include "64/paging.h"

static void faults(void)
{
    unsigned long si, di, c;

    for (unsigned down = 0; down < 2; down++) {
        for (unsigned n = 0; n < 4096; n++)
            frames[0][n] = 0xee;
        reset();
        window_map(down, frame_pa(0), PTE_P | PTE_W);
        window_map(!down, 0, 0);
        window_flush();
        context("down %u", down);
        if (down)
            TRY("std\n rep movsw",
                : "=S"(si), "=D"(di), "=c"(c)
                : "0"(SOURCE + 126), "1"(WINDOW + 4096 + 20), "2"(40ul));
        else
            TRY("rep movsw",
                : "=S"(si), "=D"(di), "=c"(c)
                : "0"(SOURCE), "1"(WINDOW + 4096 - 20), "2"(40ul));
        EXPECT_TRAP(PF, PF_W);
        EXPECT_EQ(trap.cr2, WINDOW + (down ? 4094 : 4096));
        EXPECT_EQ(c, down ? 29 : 30);
        EXPECT_EQ(di, WINDOW + (down ? 4094 : 4096));
        EXPECT_EQ(si, down ? SOURCE + 126 - 22 : SOURCE + 20);
        EXPECT(trap.flags & FL_RF);
        context("made good, down %u", down);
        window_map(!down, frame_pa(1), PTE_P | PTE_W);
        if (down)
            TRY_OK("std\n rep movsw", : "+S"(si), "+D"(di), "+c"(c));
        else
            TRY_OK("rep movsw", : "+S"(si), "+D"(di), "+c"(c));
        EXPECT_EQ(c, 0);
        EXPECT_EQ(frames[down ? 1 : 0][down ? 4095 : 4077], source[down ? 105 : 1]);
    }
    context("an absent source: nothing is written");
    window_map(0, frame_pa(0), PTE_P | PTE_W);
    window_map(1, 0, 0);
    window_flush();
    TRY("rep movsb",
        : "=S"(si), "=D"(di), "=c"(c)
        : "0"(WINDOW + 4096 - 3), "1"(TARGET), "2"(10ul));
    EXPECT_TRAP(PF, 0);
    EXPECT_EQ(c, 7);
    EXPECT_EQ(di, TARGET + 3);
    context("the last byte of all addresses");
    TRY("std\n rep stosb", : "=D"(di), "=c"(c) : "0"(-1ul), "1"(5ul), "a"(1));
    EXPECT_TRAP(PF, PF_W);
    EXPECT_EQ(trap.cr2, -1ul);
    EXPECT_EQ(c, 5);
    TRY("std\n rep lodsb", : "=S"(si), "=c"(c) : "0"(-1ul), "1"(5ul) : "rax");
    EXPECT_TRAP(PF, 0);
    EXPECT_EQ(c, 5);
    context("REPE CMPS stops before it gets there");
    frames[0][4094] = target[1] = 1;
    frames[0][4095] = 2;
    target[2] = 3;
    TRY_OK("repe cmpsb",
           : "=S"(si), "=D"(di), "=c"(c)
           : "0"(WINDOW + 4096 - 2), "1"(TARGET + 1), "2"(10ul));
    EXPECT_EQ(c, 8);
}
#endif

const struct test_case cases[] = {
    {"MOVS, STOS, LODS", moving},
    {"CMPS, SCAS", comparing},
    {"overlap", overlap},
#if defined(__x86_64__)
    {"faults", faults},
#else
    {"limits", limits},           {"16-bit addresses", wrapping},
#endif
};
PROGRAM("strings");
