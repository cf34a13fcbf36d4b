/*
 * Real mode (SDM 3A chapter 20, volume 2 "Real-Address Mode Exceptions"): code, pointers and the
 * stack at the end of their segments, hardware interrupts, double faults.
 */
#include "guest.h"

#define SOFT 0x60   /* a vector of INT */
#define FAR  0x2000 /* a segment above what the program uses */

extern struct {
    uint16_t limit;
    uint32_t base;
} __attribute__((packed)) idt_pointer;

static uint32_t *volatile vectors; /* at 0 */

/* Keeps the compiler from knowing an address that is no object's. */
static volatile uint8_t *at(uint32_t address)
{
    asm("" : "+r"(address));
    return (volatile uint8_t *)address;
}

/* Bytes at FAR:offset; the offset wraps. */
static void put_far(uint16_t offset, const char *bytes, unsigned count)
{
    asm volatile("mov %0, %%gs" : : "r"(FAR));
    for (unsigned n = 0; n < count; n++)
        asm volatile("movb %1, %%gs:(%0)"
                     :
                     : "r"((uint32_t)(uint16_t)(offset + n)), "q"(bytes[n])
                     : "memory");
    asm volatile("mov %0, %%gs" : : "r"(0));
}

/* ---- Code at the end of its segment ---- */

#define GO(offset) TRY("ljmpw $0x2000, $" #offset, : : : "eax", "ecx", "memory")

static void expect_far(unsigned vector, uint16_t ip)
{
    EXPECT_TRAP(vector, 0);
    EXPECT_EQ(trap.cs, FAR);
    EXPECT_EQ(trap.ip, ip);
}

/* A peer without limits goes on with whatever lies there. */
static bool has_limits(void)
{
    if (!on_gnomon())
        skip("QEMU checks no limits");
    return on_gnomon();
}

static void running_off(void)
{
    if (!has_limits())
        return;
    context("one byte too many");
    put_far(0xfffe, "\xb8\x34", 2); /* mov $.., %ax */
    put_far(0, "\x12\xcd\x60", 3);
    GO(0xfffe);
    expect_far(GP, 0xfffe);
    context("the last byte");
    put_far(0xffff, "\xb8", 1);
    GO(0xffff);
    expect_far(GP, 0xffff);
    context("a prefix there");
    put_far(0xffff, "\x66", 1);
    GO(0xffff);
    expect_far(GP, 0xffff);
    context("an instruction that ends there");
    put_far(0xfffe, "\xcd\x60", 2);
    GO(0xfffe);
    EXPECT_TRAP(SOFT, 0);
    EXPECT_EQ(trap.cs, FAR);
}

/* A 16-bit branch wraps, a 32-bit one does not. */
static void wrapping_branches(void)
{
    static const struct {
        const char *name;
        char code[6];
        unsigned length;
    } rows[] = {
        {"JMP rel8", {(char)0xeb, 0x20}, 2}, {"JMP rel16", {(char)0xe9, 0x1f, 0x00}, 3},
        {"JZ rel8", {0x74, 0x20}, 2},        {"CALL rel16", {(char)0xe8, 0x1f, 0x00}, 3},
        {"LOOP", {(char)0xe2, 0x20}, 2},
    };

    for (unsigned n = 0; n < COUNT(rows); n++) {
        context("%s", rows[n].name);
        put_far(0xfff0, rows[n].code, rows[n].length);
        put_far(0x12, "\xcd\x60", 2);
        TRY("xor %%eax, %%eax\n mov $5, %%ecx\n ljmpw $0x2000, $0xfff0",
            :
            :
            : "eax", "ecx", "memory");
        expect_far(SOFT, 0x14);
    }
    context("backwards");
    put_far(0x10, "\xeb\xde", 2);
    put_far(0xfff0, "\xcd\x60", 2);
    GO(0x10);
    expect_far(SOFT, 0xfff2);
    if (!on_gnomon())
        return; /* QEMU goes there */
    context("JMP rel32");
    put_far(0xfff0, "\x66\xe9\x1c\x00\x00\x00", 6);
    GO(0xfff0);
    expect_far(GP, 0xfff0);
    context("CALL rel32");
    put_far(0xfff0, "\x66\xe8\x1c\x00\x00\x00", 6);
    GO(0xfff0);
    expect_far(GP, 0xfff0);
}

/* ---- Operands at the end of theirs ---- */

static void pointers(void)
{
    uint32_t al = 0, si, di;

    if (!has_limits())
        return;
    TRY_FAULT(GP, 0, "lesw (%%ebx), %%ax", : : "b"(0xfffd) : "eax");
    TRY_FAULT(GP, 0, "ldsl (%%ebx), %%eax", : : "b"(0xfffb) : "eax");
    TRY_FAULT(GP, 0, "ljmpw *(%%ebx)", : : "b"(0xfffe));
    TRY_FAULT(GP, 0, "lcallw *(%%ebx)", : : "b"(0xfffd) : "memory");
    TRY_FAULT(GP, 0, "boundw %%ax, (%%ebx)", : : "b"(0xfffd));
    TRY_FAULT(GP, 0, "lidtw (%%ebx)", : : "b"(0xfffb));
    TRY_FAULT(GP, 0, "sgdtw (%%ebx)", : : "b"(0xfffb) : "memory");
    TRY_FAULT(SS, 0, "lssw %%ss:(%%ebx), %%ax", : : "b"(0xfffd) : "eax");
    TRY_FAULT(GP, 0, "fldl (%%ebx)", : : "b"(0xfffc));
    TRY_FAULT(GP, 0, "btsw %%ax, (%%ebx)", : : "a"(0), "b"(0xffff) : "memory");
    context("strings");
    TRY_FAULT(GP, 0, "lodsw", : : "S"(0xffff) : "eax");
    TRY_FAULT(GP, 0, "scasw", : : "D"(0xffff), "a"(0));
    TRY_FAULT(GP, 0, "outsw", : : "S"(0xffff), "d"(0x80));
    TRY_FAULT(GP, 0, "insw", : : "D"(0xffff), "d"(0x80) : "memory");
    TRY_FAULT(GP, 0, "movsl", : : "S"(0x100), "D"(0xfffd) : "memory");
    TRY_FAULT(SS, 0, "lodsw %%ss:(%%si), %%ax", : : "S"(0xffff) : "eax");
    context("downwards over 0");
    *at(0xffff) = 0x77;
    TRY_OK("std\n rep lodsb\n cld", : "=a"(al), "=S"(si) : "S"(0x50000), "c"(2), "a"(0));
    EXPECT_EQ(al & 0xff, 0x77);
    EXPECT_EQ(si, 0x5fffe);
    context("XLAT");
    TRY_OK("xlatb", : "=a"(al) : "a"(1), "b"(0xfffe));
    EXPECT_EQ(al & 0xff, 0x77);
    context("SCASB until the end");
    TRY_OK("repne scasb", : "=D"(di) : "D"(0xfffe), "c"(2), "a"(0x77));
    EXPECT_EQ(di & 0xffff, 0);
}

/* ---- The stack ---- */

static void stack_wraps(void)
{
    uint32_t old = vectors[0], seen, after;

    context("a far CALL");
    asm volatile("mov %%esp, %%ebx\n mov $2, %%esp\n lcallw $0, $1f\n nop\n"
                 "1: mov %%esp, %1\n mov 0xfffe, %%ax\n mov %%ebx, %%esp\n movzwl %%ax, %0"
                 : "=&c"(seen), "=&d"(after)
                 :
                 : "eax", "ebx", "memory");
    EXPECT_EQ(after, 0xfffe);
    EXPECT_EQ(vectors[0] & 0xffff, 0); /* CS */
    EXPECT(seen != 0);
    vectors[0] = old;
    context("POP at the last word");
    *at(0xfffe) = 0x34;
    *at(0xffff) = 0x12;
    asm volatile("mov %%esp, %%ebx\n mov $0xfffe, %%esp\n popw %%ax\n mov %%esp, %1\n"
                 "mov %%ebx, %%esp\n movzwl %%ax, %0"
                 : "=&c"(seen), "=&d"(after)
                 :
                 : "eax", "ebx", "memory");
    EXPECT_EQ(seen, 0x1234);
    EXPECT_EQ(after, 0);
    if (!on_gnomon())
        return;
    context("words across the end");
    TRY("mov $0xffff, %%esp\n popw %%ax", : : : "eax");
    EXPECT_TRAP(SS, 0);
    EXPECT_EQ(trap.sp & 0xffff, 0xffff);
    TRY("mov $0xffff, %%esp\n retw", :);
    EXPECT_TRAP(SS, 0);
    TRY("mov $0xffff, %%esp\n lretw", :);
    EXPECT_TRAP(SS, 0);
    TRY("mov $0xffff, %%esp\n iretw", :);
    EXPECT_TRAP(SS, 0);
    TRY("mov $0xfffd, %%esp\n popl %%eax", : : : "eax");
    EXPECT_TRAP(SS, 0);
    TRY("mov $0xfff1, %%esp\n popaw", : : : "eax", "ebx", "ecx", "edx");
    EXPECT_TRAP(SS, 0);
    EXPECT_EQ(trap.sp & 0xffff, 0xfff1);
}

static void returns(void)
{
    if (!has_limits())
        return;
    context("IRETD beyond 64 KiB");
    TRY("pushl $2\n pushl $0\n pushl $0x10000\n iretl", :);
    EXPECT_TRAP(GP, 0);
    context("RETF beyond 64 KiB");
    TRY("pushl $0\n pushl $0x12345\n lretl", :);
    EXPECT_TRAP(GP, 0);
    context("RET");
    TRY("pushl $0x10000\n retl", :);
    EXPECT_TRAP(GP, 0);
    context("the selector's upper half is not looked at");
    TRY("pushl $2\n pushl $0x55550000\n pushl $1f\n iretl\n 1: int $0x60", :);
    EXPECT_TRAP(SOFT, 0);
    EXPECT_EQ(trap.cs, 0);
    context("any selector");
    put_far(0x30, "\xcd\x60", 2);
    TRY("pushw $0x2003\n pushw $0\n lretw", :); /* no RPL: 20030h */
    EXPECT_TRAP(SOFT, 0);
    EXPECT_EQ(trap.cs, FAR + 3);
    EXPECT_EQ(trap.ip, 2);
}

/* ---- Interrupts ---- */

static void set_table(uint16_t limit)
{
    idt_pointer.limit = limit;
    asm volatile("lidt idt_pointer");
}

/* A fault whose vector lies beyond the table is #DF, if there is that. */
static void double_faults(void)
{
    uint16_t limit = idt_pointer.limit;

    if (!has_limits())
        return;
    set_table(4 * DF + 3);
    TRY("movw (%%ebx), %%ax", : : "b"(0xffff) : "eax");
    EXPECT_TRAP(DF, 0);
    EXPECT_EQ(trap.ip, try_start);
    TRY("movw %%ss:(%%ebx), %%ax", : : "b"(0xffff) : "eax");
    EXPECT_TRAP(DF, 0);
    TRY("int $0x60", :); /* #GP of the INT, and of its delivery */
    EXPECT_TRAP(DF, 0);
    EXPECT_EQ(trap.ip, try_start);
    context("in the table");
    TRY_FAULT(DE, 0, "div %%cl", : : "c"(0) : "eax");
    TRY_FAULT(UD, 0, "ud2", :);
    set_table(4 * GP + 3);
    TRY("int $0x60", :);
    EXPECT_TRAP(GP, 0);
    EXPECT_EQ(trap.ip, try_start);
    set_table(limit);
}

static volatile uint16_t irq_count, irq_ip, irq_flags;
extern const char on_irq[];
asm("on_irq: pushw %ax\n pushw %bp\n movw %sp, %bp\n incw irq_count\n movw 4(%bp), %ax\n"
    "movw %ax, irq_ip\n pushfw\n popw irq_flags\n movb $0x20, %al\n outb %al, $0x20\n popw %bp\n"
    "popw %ax\n iretw");

/* Channel 0 of the PIT by the PIC's IR0 at vector 70h; about 100 us from now. */
static void start_irq(void)
{
    static const uint8_t init[][2] = {
        {0x20, 0x11}, {0x21, 0x70}, {0x21, 4},   {0x21, 1}, {0x21, 0xff},
        {0x43, 0x30}, {0x21, 0xfe}, {0x40, 120}, {0x40, 0},
    };

    irq_count = 0;
    vectors[0x70] = (uint32_t)on_irq;
    for (unsigned n = 0; n < COUNT(init); n++)
        outb(init[n][0], init[n][1]);
}

static void hardware(void)
{
    uint32_t where, flags;

    start_irq();
    asm volatile("movl $1f, %0\n sti\n hlt\n 1: pushfl\n popl %1\n cli"
                 : "=&r"(where), "=&r"(flags));
    EXPECT_EQ(irq_count, 1);
    EXPECT_EQ(irq_ip, (uint16_t)where);
    EXPECT_EQ(irq_flags & (FL_IF | FL_TF), 0);
    EXPECT(flags & FL_IF);
    context("with IF clear");
    start_irq();
    for (volatile unsigned n = 0; n < 100000; n++)
        continue;
    EXPECT_EQ(irq_count, 0);
    context("behind the instruction after STI");
    asm volatile("movl $1f, %0\n sti\n nop\n 1: nop\n cli" : "=&r"(where));
    EXPECT_EQ(irq_count, 1);
    EXPECT_EQ(irq_ip, (uint16_t)where);
    context("behind POPF");
    start_irq();
    for (volatile unsigned n = 0; n < 100000; n++)
        continue;
    asm volatile("movl $1f, %0\n pushfw\n orw $0x200, (%%esp)\n popfw\n 1: nop\n cli"
                 : "=&r"(where));
    EXPECT_EQ(irq_ip, (uint16_t)where);
    outb(0x21, 0xff);
    vectors[0x70] = vectors[0x71] - 16;
}

const struct test_case cases[] = {
    {"code at the end of a segment", running_off},
    {"branches over the end", wrapping_branches},
    {"operands at the end", pointers},
    {"the stack's end", stack_wraps},
    {"returns", returns},
    {"double faults", double_faults},
    {"hardware interrupts", hardware},
};
PROGRAM("realcode");
