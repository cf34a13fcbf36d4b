/*
 * Debugging across task switches: the T bit, local enables, TF and RF of a TSS (SDM 3A 7.2.1, 3B
 * 17.3.1.5); breakpoints through segments with a base and in 16-bit code.
 */
#include "apic.h"
#include "debug.h"
#include "segments.h"

#define SEL_B SEL(0)

static volatile struct tss b;
static uint32_t stack_b[512];

extern char task_b[], task_b_next[];
volatile uint32_t b_dr7, b_runs;
asm(".pushsection .text\n"
    "task_b: incl b_runs\n"
    "task_b_next: mov %dr7, %eax\n mov %eax, b_dr7\n iret\n jmp task_b\n"
    ".popsection");

static void start(void)
{
    for (unsigned n = 0; n < 0x68; n++)
        ((volatile uint8_t *)&b)[n] = 0;
    b.eip = (uint32_t)task_b;
    b.esp = b.esp0 = (uint32_t)(stack_b + 512);
    b.eflags = 2;
    b.cs = SEL_CODE;
    b.ss = b.ss0 = b.ds = b.es = b.fs = b.gs = SEL_DATA;
    b.io_map = 0xdfff;
    gdt_set(SEL_B, descriptor((uint32_t)&b, 0x67, ACC_P | ACC_TSS, 0));
    b_runs = 0;
    DEBUG_START();
}

static void call_b(void)
{
    asm volatile("lcall %0, $0\n clts" : : "i"(SEL_B) : "eax", "memory", "cc");
}

static void local_enables(void)
{
    static volatile uint32_t local, global;

    start();
    write_dr0((uint32_t)&local);
    write_dr1((uint32_t)&global);
    write_dr7(0x300 | DR7_LOCAL(0) | DR7_GLOBAL(1) | DR7_LOCAL(2) | DR7_POINT(0, POINT_WRITE, 3) |
              DR7_POINT(1, POINT_WRITE, 3) | DR7_POINT(2, POINT_WRITE, 3));
    local = 1;
    global = 1;
    EXPECT_EQ(debug_count, 2);
    call_b();
    EXPECT_EQ(b_runs, 1);
    context("L0 to L3 and LE are clear in the new task");
    EXPECT_EQ(b_dr7 & 0x3ff, 0x200 | DR7_GLOBAL(1));
    debug_count = 0;
    local = 2;
    global = 2;
    EXPECT_EQ(debug_count, 1);
    EXPECT_EQ(debug_hits[0].dr6, DR6_INIT | DR6_B(1));
    points_clear();
}

static void trap_bit(void)
{
    start();
    b.trap = 1;
    call_b();
    EXPECT_EQ(b_runs, 1);
    EXPECT_EQ(debug_count, 1);
    EXPECT_EQ(debug_hits[0].ip, (uint32_t)task_b); /* before its first instruction */
    EXPECT_EQ(debug_hits[0].dr6, DR6_INIT | DR6_BT);
    context("the switch back has no T bit");
    EXPECT_EQ(tss.trap, 0);
    start();
    b.trap = 1;
    context("with a breakpoint at the first instruction");
    point_set(0, POINT_EXEC, (uint32_t)task_b, 1);
    call_b();
    EXPECT_EQ(debug_count, 1); /* the handler sets RF */
    EXPECT(debug_hits[0].dr6 & DR6_BT);
    points_clear();
}

#define TEST_IRQ 0x51
static unsigned long irq_ip, irq_after; /* where it came, and behind how many #DBs */

static bool note_irq(struct frame *f)
{
    if (f->vector != TEST_IRQ)
        return debug_hook(f);
    irq_ip = f->ip;
    irq_after = debug_count;
    APIC(APIC_EOI) = 0;
    return true;
}

/* SDM 3A table 6-2: the trap of the T bit comes before an interrupt that the new task lets in. */
static void trap_before_interrupt(void)
{
    if (!on_gnomon()) {
        skip("QEMU has no T bit");
        return;
    }
    start();
    trap_hook = note_irq;
    b.trap = 1;
    b.eflags = 2 | FL_IF;
    irq_ip = 0;
    APIC(APIC_SVR) = 0x1ff;
    APIC(APIC_ICR) = ICR_SELF | TEST_IRQ;
    call_b();
    EXPECT_EQ(debug_count, 1);
    EXPECT_EQ(debug_hits[0].ip, (uint32_t)task_b);
    EXPECT_EQ(irq_ip, (uint32_t)task_b);
    EXPECT_EQ(irq_after, 1);
    EXPECT_EQ(b_runs, 1);
}

static void flags_of_tss(void)
{
    if (!on_gnomon()) {
        skip("QEMU loads no RF and does not come back");
        return;
    }
    start();
    b.eflags = 2 | FL_TF;
    call_b();
    EXPECT_EQ(b_runs, 1);
    EXPECT_EQ(debug_hits[0].ip, (uint32_t)task_b_next); /* behind the first instruction */
    EXPECT_EQ(debug_hits[0].dr6, DR6_INIT | DR6_BS);
    context("RF holds a breakpoint back");
    start();
    point_set(0, POINT_EXEC, (uint32_t)task_b, 1);
    b.eflags = 2 | FL_RF;
    call_b();
    EXPECT_EQ(b_runs, 1);
    EXPECT_EQ(debug_count, 0);
    start();
    b.eflags = 2;
    call_b();
    EXPECT_EQ(debug_count, 1);
    points_clear();
}

/* Breakpoints are at linear addresses. */
static void segments(void)
{
    static volatile uint32_t word[4];
    uint32_t value;

    start();
    gdt_set(SEL(2), descriptor((uint32_t)word - 0x100, 0xffff, ACC_P | ACC_DATA | ACC_W, SEG_D));
    asm volatile("mov %w0, %%fs" : : "r"(SEL(2)));
    point_set(0, POINT_ACCESS, (uint32_t)&word[1], 4);
    asm volatile("movl $5, %%fs:0x104" : : : "memory");
    EXPECT_EQ(debug_count, 1);
    asm volatile("movl %%fs:0x100, %0" : "=r"(value));
    EXPECT_EQ(debug_count, 1);
    point_set(0, POINT_ACCESS, 0x104, 4);
    asm volatile("movl %%fs:0x104, %0" : "=r"(value));
    EXPECT_EQ(debug_count, 1);
    asm volatile("push %ds\n pop %fs");
    points_clear();
    EXPECT_EQ(word[1], 5);
}

/* 16-bit code at CPL 0, stepped. */
extern char code16[], code16_end[];
asm(".pushsection .text\n .code16\n"
    "code16: nop\n mov $0x1234, %ax\n rep stosb\n lretl\n"
    "code16_end: .code32\n .popsection");
static uint8_t buffer[8];

static void sixteen_bits(void)
{
    static struct {
        uint32_t offset;
        uint16_t selector;
    } __attribute__((packed)) pointer = {0, SEL(3)};
    uint32_t di = 0, count = 2, value;

    start();
    gdt_set(SEL(3), descriptor((uint32_t)code16, (uint32_t)(code16_end - code16) - 1,
                               ACC_P | ACC_CODE | ACC_R, 0));
    gdt_set(SEL(4), descriptor((uint32_t)buffer, 7, ACC_P | ACC_DATA | ACC_W, 0));
    asm volatile("mov %w5, %%es\n pushf\n orl $0x100, (%%esp)\n popf\n lcall *%4\n"
                 "pushf\n andl $~0x100, (%%esp)\n popf\n nop\n push %%ds\n pop %%es"
                 : "=a"(value), "+D"(di), "+c"(count), "+m"(buffer)
                 : "m"(pointer), "b"(SEL(4))
                 : "memory", "cc");
    EXPECT_EQ((uint16_t)value, 0x1234);
    EXPECT_EQ(di, 2);
    EXPECT_EQ(buffer[1], 0x34);
    EXPECT_EQ(debug_count, 6 + 3);
    EXPECT_EQ(debug_hits[0].ip, 0);
    EXPECT_EQ(debug_hits[2].ip, 4);
    EXPECT_EQ(debug_hits[3].ip, 4);
    EXPECT_EQ(debug_hits[4].ip, 6);
    context("a breakpoint at its linear address");
    point_set(0, POINT_EXEC, (uint32_t)code16 + 1, 1);
    debug_count = 0;
    count = 0;
    asm volatile("lcall *%2" : "=a"(value), "+c"(count) : "m"(pointer) : "memory", "cc", "edi");
    EXPECT_EQ(debug_count, 1);
    EXPECT_EQ(debug_hits[0].ip, 1);
    points_clear();
}

const struct test_case cases[] = {
    {"local enables", local_enables},
    {"T bit", trap_bit},
    {"T bit before interrupts", trap_before_interrupt},
    {"TF and RF of a TSS", flags_of_tss},
    {"segments with a base", segments},
    {"16-bit code", sixteen_bits},
};
PROGRAM("steptasks");
