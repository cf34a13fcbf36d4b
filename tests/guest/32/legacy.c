/*
 * ENTER and LEAVE with nesting levels, decimal arithmetic, PUSHA and POPA (SDM 2A, 2B).
 */
#include "segments.h"

/* ---- ENTER, LEAVE ---- */

static uint32_t stack[256];

/* ENTER as the manual describes it, in C, on an array. */
struct machine {
    uint32_t esp, ebp;
};

static void enter_model(struct machine *m, unsigned size, unsigned level)
{
    uint32_t frame;

    m->esp -= 4;
    frame = m->esp;
    for (unsigned n = 1; n < level; n++) {
        m->ebp -= 4;
        m->esp -= 4;
    }
    if (level > 0)
        m->esp -= 4;
    m->ebp = frame;
    m->esp -= size;
}

#define ENTER_CASE(size, level)                                                                    \
    do {                                                                                           \
        uint32_t esp = (uint32_t)(stack + 200), ebp = (uint32_t)(stack + 240), seen_sp, seen_bp;   \
        struct machine m = {esp, ebp};                                                             \
                                                                                                   \
        context("ENTER %u, %u", size, level);                                                      \
        for (unsigned n = 0; n < COUNT(stack); n++)                                                \
            stack[n] = 0x1000 + n;                                                                 \
        asm volatile("push %%ebp\n mov %%esp, %%esi\n mov %2, %%esp\n mov %3, %%ebp\n"             \
                     "enter %4, %5\n mov %%esp, %0\n mov %%ebp, %1\n"                              \
                     "leave\n mov %%esp, %2\n mov %%ebp, %3\n mov %%esi, %%esp\n pop %%ebp"        \
                     : "=&a"(seen_sp), "=&d"(seen_bp), "+b"(esp), "+c"(ebp)                        \
                     : "i"(size), "i"(level)                                                       \
                     : "esi", "memory");                                                           \
        enter_model(&m, size, (level) % 32);                                                       \
        EXPECT_EQ(seen_sp, m.esp);                                                                 \
        EXPECT_EQ(seen_bp, m.ebp);                                                                 \
        EXPECT_EQ(esp, (uint32_t)(stack + 200)); /* LEAVE undoes it */                             \
        EXPECT_EQ(ebp, (uint32_t)(stack + 240));                                                   \
        EXPECT_EQ(stack[199], (uint32_t)(stack + 240));                                            \
        for (int n = 1; n < (level) % 32; n++)                                                     \
            EXPECT_EQ(stack[199 - n], 0x1000 + 240 - n); /* the outer frames' pointers */          \
        if ((level) % 32 > 0)                                                                      \
            EXPECT_EQ(stack[199 - (level) % 32], (uint32_t)(stack + 199));                         \
        EXPECT_EQ(stack[199 - (level) % 32 - 1], 0x1000 + 199 - (level) % 32 - 1);                 \
    } while (0)

static void enter_leave(void)
{
    ENTER_CASE(0, 0);
    ENTER_CASE(16, 0);
    ENTER_CASE(0, 1);
    ENTER_CASE(20, 2);
    ENTER_CASE(8, 3);
    ENTER_CASE(4, 31);
    ENTER_CASE(12, 32); /* levels count modulo 32 */
    ENTER_CASE(12, 37);
}

/* ---- Decimal arithmetic, all operands ---- */

static void decimal_adjust(void)
{
    for (unsigned n = 0; n < 1024; n++) {
        unsigned al = n & 0xff, cf = n >> 8 & 1, af = n >> 9 & 1;
        uint32_t flags = 2 | cf | af << 4, a, f;
        unsigned expected = al, ecf, eaf = (al & 15) > 9 || af;

        context("AL %x, CF %u, AF %u", al, cf, af);
        expected += eaf ? 6 : 0;
        ecf = al > 0x99 || cf;
        expected += ecf ? 0x60 : 0;
        asm volatile("push %2\n popf\n daa\n pushf\n pop %1"
                     : "=a"(a), "=&r"(f)
                     : "r"(flags), "0"(al | 0x5500)
                     : "cc");
        EXPECT_EQ(a, (expected & 0xff) | 0x5500);
        EXPECT_EQ(f & (FL_CF | FL_AF), ecf | eaf << 4);
        EXPECT_EQ(!!(f & FL_ZF), (expected & 0xff) == 0);
        EXPECT_EQ(!!(f & FL_SF), expected >> 7 & 1);
        expected = al - (eaf ? 6 : 0) - (ecf ? 0x60 : 0);
        asm volatile("push %2\n popf\n das\n pushf\n pop %1"
                     : "=a"(a), "=&r"(f)
                     : "r"(flags), "0"(al | 0x5500)
                     : "cc");
        EXPECT_EQ(a, (expected & 0xff) | 0x5500);
        EXPECT_EQ(f & FL_AF, eaf << 4);
        EXPECT_EQ(f & FL_CF, ecf || (eaf && al < 6));
        asm volatile("push %2\n popf\n aaa\n pushf\n pop %1"
                     : "=a"(a), "=&r"(f)
                     : "r"(flags), "0"(al | 0x5500)
                     : "cc");
        EXPECT_EQ(a, ((eaf ? (al | 0x5500) + 0x106 : al | 0x5500)) & 0xff0f);
        EXPECT_EQ(f & (FL_CF | FL_AF), eaf ? FL_CF | FL_AF : 0);
        asm volatile("push %2\n popf\n aas\n pushf\n pop %1"
                     : "=a"(a), "=&r"(f)
                     : "r"(flags), "0"(al | 0x5500)
                     : "cc");
        EXPECT_EQ(a, (eaf ? (al | 0x5500) - 6 - 0x100 : al | 0x5500) & 0xff0f);
        EXPECT_EQ(f & (FL_CF | FL_AF), eaf ? FL_CF | FL_AF : 0);
    }
}

static void multiply_adjust(void)
{
    for (unsigned al = 0; al < 256; al++) {
        uint32_t a;

        context("AL %x", al);
        asm volatile("aam" : "=a"(a) : "0"(al | 0x7700) : "cc");
        EXPECT_EQ(a, (al / 10) << 8 | al % 10);
        asm volatile(".byte 0xd4, 7" : "=a"(a) : "0"(al) : "cc");
        EXPECT_EQ(a, (al / 7) << 8 | al % 7);
        asm volatile("aad" : "=a"(a) : "0"(al | 0x300) : "cc");
        EXPECT_EQ(a, (al + 30) & 0xff);
        asm volatile(".byte 0xd5, 16" : "=a"(a) : "0"(al | 0x200) : "cc");
        EXPECT_EQ(a, (al + 32) & 0xff);
    }
}

/* ---- PUSHA, POPA, and others that 64-bit mode lacks ---- */

static void all_registers(void)
{
    static uint32_t room[16];
    static uint32_t esp_seen;

    asm volatile("push %%ebp\n mov %%esp, %%edi\n mov %1, %%esp\n mov $0x11, %%eax\n"
                 "mov $0x22, %%ecx\n mov $0x33, %%edx\n mov $0x44, %%ebx\n mov $0x55, %%ebp\n"
                 "mov $0x66, %%esi\n pusha\n mov %%esp, %0\n popa\n mov %%edi, %%esp\n pop %%ebp"
                 : "=m"(esp_seen)
                 : "i"(room + 16)
                 : "eax", "ecx", "edx", "ebx", "esi", "edi", "memory");
    EXPECT_EQ(esp_seen, (uint32_t)(room + 8));
    EXPECT_EQ(room[15], 0x11);
    EXPECT_EQ(room[14], 0x22);
    EXPECT_EQ(room[13], 0x33);
    EXPECT_EQ(room[12], 0x44);
    EXPECT_EQ(room[11], (uint32_t)(room + 16)); /* ESP as it was */
    EXPECT_EQ(room[10], 0x55);
    EXPECT_EQ(room[9], 0x66);
    context("SALC");
    {
        uint32_t a;

        asm volatile("stc\n .byte 0xd6" : "=a"(a) : "0"(0x1200) : "cc");
        EXPECT_EQ(a, 0x12ff);
        asm volatile("clc\n .byte 0xd6" : "=a"(a) : "0"(0x12ff) : "cc");
        EXPECT_EQ(a, 0x1200);
    }
    context("ARPL");
    {
        uint32_t a = 0x11, zf;

        asm volatile("arpl %w2, %w0\n setz %b1" : "+r"(a), "=q"(zf) : "r"(0x22 | 3) : "cc");
        EXPECT_EQ(a, 0x13);
        EXPECT_EQ(zf & 1, 1);
        asm volatile("arpl %w2, %w0\n setz %b1" : "+r"(a), "=q"(zf) : "r"(1) : "cc");
        EXPECT_EQ(a, 0x13);
        EXPECT_EQ(zf & 1, 0);
    }
}

const struct test_case cases[] = {
    {"ENTER and LEAVE", enter_leave},
    {"DAA, DAS, AAA, AAS", decimal_adjust},
    {"AAM, AAD", multiply_adjust},
    {"PUSHA, SALC, ARPL", all_registers},
};
PROGRAM("legacy");
