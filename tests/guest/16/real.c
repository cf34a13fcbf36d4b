/*
 * Real mode (SDM 3A chapter 20): limits of 64 KiB, interrupts through the vector table, far
 * transfers, string instructions, debug registers, and what does not exist there. Behind a fault,
 * CS, DS, ES and SS are 0 again.
 */
#include "debug.h"
#include "guest.h"

#define SOFT 0x60 /* a vector of INT */

extern struct {
    uint16_t limit;
    uint32_t base;
} __attribute__((packed)) idt_pointer;

static uint32_t *volatile vectors; /* at 0 */
static uint8_t buffer[64] __attribute__((aligned(16)));

/* Keeps the compiler from knowing an address that is no object's. */
static volatile uint8_t *at(uint32_t address)
{
    asm("" : "+r"(address));
    return (volatile uint8_t *)address;
}

/* ---- Segments ---- */

static void limits(void)
{
    TRY_OK("movb (%%ebx), %%al", : : "b"(0xffff) : "eax");
    TRY_FAULT(GP, 0, "movw (%%ebx), %%ax", : : "b"(0xffff) : "eax");
    TRY_FAULT(GP, 0, "movl %%eax, (%%ebx)", : : "b"(0xfffd) : "memory");
    TRY_FAULT(GP, 0, "movb (%%ebx), %%al", : : "b"(0x10000) : "eax");
    TRY_FAULT(GP, 0, "movw (%%bx), %%ax", : : "b"(0xffff) : "eax");
}

/* The same through SS, by an override and by BP. */
static void stack_limits(void)
{
    TRY_FAULT(SS, 0, "movw %%ss:(%%ebx), %%ax", : : "b"(0xffff) : "eax");
    TRY("mov %%bp, %%cx\n mov $0xffff, %%bp\n movw (%%bp), %%ax\n mov %%cx, %%bp",
        :
        :
        : "eax", "ecx");
    EXPECT_TRAP(SS, 0);
}

static void wrapping(void)
{
    uint32_t al = 0;

    *at(0xffff) = 0x11;
    TRY_OK("movb 1(%%bx), %%al", : "=a"(al) : "b"(0xffff));
    EXPECT_EQ(al & 0xff, *at(0));
    /* A stack that is empty at 0 goes on at FFFEh; ESP's upper half stays. */
    TRY_OK("mov $0x50000, %%esp\n pushw $0x1234\n mov %%esp, %%eax", : "=a"(al) : : "memory");
    EXPECT_EQ(al, 0x5fffe);
    EXPECT_EQ(*at(0xfffe) | *at(0xffff) << 8, 0x1234);
}

static void bases(void)
{
    uint32_t seen, linear = (uint32_t)buffer;

    *(uint32_t *)buffer = 0x600d1dea;
    asm volatile("pushl %%es\n mov %1, %%es\n mov %%es:(%%ebx), %0\n popl %%es"
                 : "=r"(seen)
                 : "r"((uint16_t)(linear >> 4)), "b"(linear & 15));
    EXPECT_EQ(seen, 0x600d1dea);
    *(uint16_t *)(buffer + 16) = (uint16_t)(linear & 15);
    *(uint16_t *)(buffer + 18) = (uint16_t)(linear >> 4);
    asm volatile(
        "pushl %%fs\n lfsw (%1), %%bx\n movzwl %%bx, %%ebx\n mov %%fs:(%%ebx), %0\n popl %%fs"
        : "=r"(seen)
        : "r"(buffer + 16)
        : "ebx");
    EXPECT_EQ(seen, 0x600d1dea);
    /* Any value may be loaded, and 0 is a segment as any other. */
    TRY_OK("mov %0, %%gs\n mov %1, %%gs\n movb %%gs:(%2), %%al",
           :
           : "r"(0xfffb), "r"(0), "r"(buffer)
           : "eax");
}

static const uint64_t big_gdt[] = {0, 0x00cf93000000ffff, 0x000093000000ffff};

/* FS as descriptor n, in protected mode for a moment. */
static void load_limit(unsigned n)
{
    struct {
        uint16_t limit;
        uint32_t base;
    } __attribute__((packed)) pointer = {sizeof(big_gdt) - 1, (uint32_t)big_gdt};

    asm volatile("lgdt %0\n mov %%cr0, %%eax\n or $1, %%eax\n mov %%eax, %%cr0\n jmp 1f\n"
                 "1: mov %1, %%fs\n and $-2, %%eax\n mov %%eax, %%cr0\n jmp 2f\n 2:"
                 :
                 : "m"(pointer), "r"(8 * n)
                 : "eax", "memory");
}

/* A limit from protected mode outlives it, and later loads as well (SDM 3A 20.1.1 says 64 KiB: what
 * processors do is to leave limit and attributes alone). */
static void big_limits(void)
{
    uint32_t seen = 0;

    load_limit(1);
    TRY_OK("mov %%fs:(%1), %0", : "=r"(seen) : "r"(0x100000));
    EXPECT_EQ(seen, 0x1badb002);
    TRY_OK("mov %2, %%fs\n mov %%fs:(%1), %0", : "=r"(seen) : "r"(0xfff00), "r"(0x10));
    EXPECT_EQ(seen, 0x1badb002);
    load_limit(2);
    TRY_FAULT(GP, 0, "mov %%fs:(%1), %0", : "=r"(seen) : "r"(0x100000));
    asm volatile("mov %0, %%fs" : : "r"(0));
}

/* Port 92h and the keyboard controller: either opens the gate. */
static void set_a20(bool fast, bool slow)
{
    outb(0x92, fast ? inb(0x92) | 2 : inb(0x92) & ~2);
    outb(0x64, 0xd1);
    outb(0x60, slow ? 0xdf : 0xdd);
}

static void a20(void)
{
    for (unsigned n = 0; n < 4; n++) {
        uint32_t seen;

        context("port 92h %u, controller %u", n & 1, n >> 1);
        set_a20(n & 1, n & 2);
        asm volatile("mov %1, %%gs\n mov %%gs:0x10, %0" : "=r"(seen) : "r"(0xffff));
        EXPECT_EQ(seen, n != 0 ? 0x1badb002 : vectors[0]);
    }
    asm volatile("mov %0, %%gs" : : "r"(0));
}

/* ---- Interrupts ---- */

extern const char note_flags[], note_other[];
static volatile uint16_t noted_flags, noted_sp, noted_calls;
asm("note_flags: pushfw\n popw %cs:noted_flags\n movw %sp, %cs:noted_sp\n"
    "note_other: incw %cs:noted_calls\n iretw");

static void software(void)
{
    uint32_t old = vectors[SOFT], sp, flags;

    TRY("int $0x60", :);
    EXPECT_TRAP(SOFT, 0);
    EXPECT_EQ(trap.ip, try_start + 2);
    EXPECT_EQ(trap.cs, 0);
    /* The return address is relative to CS. */
    TRY("ljmpw $0x10, $(1f - 0x100)\n 1: int $0x60", :);
    EXPECT_TRAP(SOFT, 0);
    EXPECT_EQ(trap.cs, 0x10);
    EXPECT_EQ(trap.ip, try_start + 5 + 2 - 0x100);

    vectors[SOFT] = (uint32_t)note_flags;
    asm volatile("sti\n mov %%esp, %0\n int $0x60\n pushfl\n pop %1\n cli"
                 : "=&r"(sp), "=r"(flags));
    EXPECT_EQ(noted_flags & (FL_IF | FL_TF), 0);
    EXPECT_EQ(noted_sp, (uint16_t)(sp - 6));
    EXPECT_EQ(flags & FL_IF, FL_IF);
    vectors[SOFT] = old;
}

static void table_limit(void)
{
    uint16_t limit = idt_pointer.limit;

    idt_pointer.limit = 4 * SOFT - 1;
    asm volatile("lidt idt_pointer");
    TRY_FAULT(GP, 0, "int $0x60", :);
    idt_pointer.limit = 4 * SOFT + 3;
    asm volatile("lidt idt_pointer");
    TRY("int $0x60", :);
    EXPECT_TRAP(SOFT, 0);
    idt_pointer.limit = limit;
    asm volatile("lidt idt_pointer");
}

static void table_base(void)
{
    static uint32_t other[256];
    uint16_t calls = noted_calls;

    for (unsigned n = 0; n < COUNT(other); n++)
        other[n] = vectors[n];
    other[SOFT] = (uint32_t)note_other;
    idt_pointer.base = (uint32_t)other;
    asm volatile("lidt idt_pointer");
    asm volatile("int $0x60");
    EXPECT_EQ(noted_calls, calls + 1);
    idt_pointer.base = 0;
    asm volatile("lidt idt_pointer");
}

static void exceptions(void)
{
    static const int16_t bounds[] = {1, 5};

    TRY_FAULT(DE, 0, "div %%cl", : : "c"(0) : "eax");
    TRY_FAULT(UD, 0, "ud2", :);
    TRY_FAULT(UD, 0, ".byte 0xf0, 0x90", :);
    TRY_FAULT(BR, 0, "boundw %%ax, (%1)", : : "a"(6), "r"(bounds));
    TRY_OK("boundw %%ax, (%1)", : : "a"(5), "r"(bounds));
    TRY("int3", :);
    EXPECT_TRAP(BP, 0);
    EXPECT_EQ(trap.ip, try_start + 1);
    TRY("mov $0x7f, %%al\n inc %%al\n into", : : : "eax");
    EXPECT_TRAP(OF, 0);
    TRY(".byte 0xf1", :);
    EXPECT_TRAP(DB, 0);
    write_cr0(read_cr0() | CR0_EM);
    TRY_FAULT(NM, 0, "fnop", :);
    write_cr0(read_cr0() & ~(unsigned long)CR0_EM);
    TRY_FAULT(GP, 0, "mov %0, %%cr0", : : "r"(read_cr0() | CR0_PG));
}

static void nowhere(void)
{
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x00, 0xc0", : : : "eax");         /* SLDT */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x00, 0xc8", : : : "eax");         /* STR */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x00, 0xd0", :);                   /* LLDT */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x00, 0xd8", :);                   /* LTR */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x00, 0xe0", :);                   /* VERR */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x00, 0xe8", :);                   /* VERW */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x02, 0xc0", : : : "eax");         /* LAR */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x03, 0xc0", : : : "eax");         /* LSL */
    TRY_FAULT(UD, 0, ".byte 0x63, 0xc0", : : : "eax");               /* ARPL */
    TRY_FAULT(UD, 0, ".byte 0x8e, 0xc8", :);                         /* MOV CS */
    TRY_FAULT(UD, 0, ".byte 0xc5, 0xf8, 0x77", :);                   /* VZEROUPPER */
    TRY_FAULT(UD, 0, ".byte 0x62, 0xf1, 0x7c, 0x48, 0x10, 0xc0", :); /* VMOVUPS ZMM */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0xaa", :);                         /* RSM */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x05", :);                         /* SYSCALL */
    TRY_FAULT(GP, 0, ".byte 0x0f, 0x34", :);                         /* SYSENTER */
    TRY_FAULT(GP, 0, ".byte 0x0f, 0x35", :);                         /* SYSEXIT */
    TRY_OK("sgdt (%0)\n sidt (%0)\n smsw %%ax\n invlpg (%0)", : : "r"(buffer) : "eax", "memory");
}

/* ---- Transfers ---- */

asm("far_w: movw %sp, %ax\n lretw\n far_l: movl %esp, %eax\n lretl $4");

static void transfers(void)
{
    uint32_t before, inside, after;

    asm volatile("mov %%esp, %0\n lcallw $0, $far_w\n mov %%esp, %2"
                 : "=&b"(before), "=&a"(inside), "=&c"(after));
    EXPECT_EQ(inside & 0xffff, (uint16_t)(before - 4));
    EXPECT_EQ(after, before);
    asm volatile("mov %%esp, %0\n pushl $0\n lcalll $0, $far_l\n mov %%esp, %2"
                 : "=&b"(before), "=&a"(inside), "=&c"(after));
    EXPECT_EQ(inside, before - 12);
    EXPECT_EQ(after, before);
    TRY_FAULT(GP, 0, "ljmpl $0, $0x10000", :);
    TRY_FAULT(GP, 0, "jmpl *%0", : : "r"(0x12345));
    TRY("pushl $0\n pushl $0x10000\n lretl", :);
    EXPECT_TRAP(GP, 0);
}

/* No privileges: IOPL and NT change; the upper half only in the wide form, without VM. */
static void flags(void)
{
    uint32_t seen;

    asm volatile("pushw $0x7002\n popfw\n pushfl\n pop %0" : "=r"(seen));
    EXPECT_EQ(seen & 0x7fff, 0x7002);
    asm volatile("pushw $2\n pushw %%cs\n pushw $1f\n iretw\n 1: pushfl\n pop %0" : "=r"(seen));
    EXPECT_EQ(seen & 0x7fff, 2);
    asm volatile("pushl %1\n pushl $0\n pushl $1f\n iretl\n 1: pushfl\n pop %0"
                 : "=r"(seen)
                 : "i"(FL_AC | FL_ID | FL_VM | 2));
    EXPECT_EQ(seen & (FL_AC | FL_ID | FL_VM), FL_AC | FL_ID);
    write_flags(2);
}

/* ---- Strings ---- */

static void strings(void)
{
    uint32_t si, di, cx;

    /* 16-bit addresses: SI, DI and CX alone. */
    *at(0xfffe) = 0xa1;
    *at(0xffff) = 0xa2;
    TRY_OK("rep movsb",
           : "=S"(si), "=D"(di), "=c"(cx)
           : "S"(0x7fffe), "D"((uint32_t)buffer), "c"(0x90003)
           : "memory");
    EXPECT_EQ(si, 0x70001);
    EXPECT_EQ(di, (uint32_t)buffer + 3);
    EXPECT_EQ(cx, 0x90000);
    EXPECT_EQ(buffer[0], 0xa1);
    EXPECT_EQ(buffer[1], 0xa2);
    EXPECT_EQ(buffer[2], *at(0));
    /* A word at the limit: what came before stays done. */
    TRY("rep stosw", : "=D"(di), "=c"(cx) : "D"(0xfffd), "c"(5), "a"(0x5aa5) : "memory");
    EXPECT_FAULT(GP, 0);
    EXPECT_EQ(di, 0xffff);
    EXPECT_EQ(cx, 4);
    EXPECT_EQ(*at(0xfffd) | *at(0xfffe) << 8, 0x5aa5);
    /* 32-bit addresses do not wrap. */
    TRY_FAULT(GP, 0, "addr32 rep movsb",
              :
              : "S"(0x10000), "D"((uint32_t)buffer), "c"(1)
              : "memory");
}

/* ---- Debugging ---- */

extern const char point_target[];
asm("point_target: nop\n ret");

static void debugging(void)
{
    static volatile uint32_t word;

    TRY("pushfw\n orw $0x100, (%%esp)\n popfw\n nop\n nop", :);
    EXPECT_TRAP(DB, 0);
    EXPECT_EQ(read_dr6() & DR6_BS, DR6_BS);
    write_dr6(DR6_INIT);
    /* Linear addresses, whatever CS is. */
    point_set(0, POINT_EXEC, (unsigned long)point_target, 1);
    TRY("ljmpw $0x10, $(point_target - 0x100)", :);
    EXPECT_TRAP(DB, 0);
    EXPECT_EQ(trap.cs, 0x10);
    EXPECT_EQ(trap.ip, (unsigned long)point_target - 0x100);
    EXPECT_EQ(read_dr6() & 15, DR6_B(0));
    points_clear();
    point_set(1, POINT_WRITE, (unsigned long)&word, 4);
    TRY("movl $1, (%0)\n nop", : : "r"(&word) : "memory");
    EXPECT_TRAP(DB, 0);
    EXPECT_EQ(word, 1);
    EXPECT_EQ(read_dr6() & 15, DR6_B(1));
    points_clear();
}

const struct test_case cases[] = {
    {"limits", limits},
    {"limits of the stack", stack_limits},
    {"offsets that wrap", wrapping},
    {"bases", bases},
    {"limits of protected mode", big_limits},
    {"A20", a20},
    {"INT n", software},
    {"limit of the table", table_limit},
    {"base of the table", table_base},
    {"exceptions", exceptions},
    {"what does not exist", nowhere},
    {"far transfers", transfers},
    {"flags", flags},
    {"strings", strings},
    {"debug registers", debugging},
};
PROGRAM("real");
