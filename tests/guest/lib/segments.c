#include "segments.h"

#include "internal.h"

volatile uint64_t gdt[GDT_COUNT] __attribute__((aligned(8)));
volatile struct tss tss;
struct table_pointer gdt_pointer = {sizeof(gdt) - 1, (unsigned long)gdt};
struct table_pointer idt_pointer = {sizeof(idt) - 1, (unsigned long)idt};
volatile unsigned long user_regs[8];
volatile bool user_running;

#if defined(__x86_64__)
volatile struct gate64 idt[256] __attribute__((aligned(8)));

void idt_set(unsigned vector, unsigned selector, const void *handler, unsigned access, unsigned ist)
{
    uint64_t address = (uint64_t)handler;

    idt[vector].low = gate(selector, (uint32_t)address, access, ist);
    idt[vector].high = address >> 32;
}

#define FLAT_CODE(dpl) FLAT_CODE64(dpl)
#else
volatile uint64_t idt[256] __attribute__((aligned(8)));

void idt_set(unsigned vector, unsigned selector, const void *handler, unsigned access, unsigned ist)
{
    idt[vector] = gate(selector, (uint32_t)handler, access, ist);
}

#define FLAT_CODE(dpl) FLAT_CODE32(dpl)
#endif

void idt_restore(unsigned vector)
{
    unsigned dpl = vector == BP || vector == OF || vector == VECTOR_RETURN ? 3 : 0;
    unsigned ist = sizeof(long) == 8 && vector == DF ? 1 : 0;

    idt_set(vector, SEL_CODE, trap_stubs + 16 * vector, ACC_P | ACC_DPL(dpl) | ACC_INT, ist);
}

static void tss_init(void)
{
    for (unsigned n = 0; n < sizeof(tss); n++)
        ((volatile uint8_t *)&tss)[n] = 0;
#if defined(__x86_64__)
    tss.rsp[0] = (uint64_t)kernel_stack_top;
    tss.ist[0] = (uint64_t)fault_stack_top;
#else
    tss.esp0 = (uint32_t)kernel_stack_top;
    tss.ss0 = SEL_DATA;
    tss.cr3 = read_cr3();
#endif
    for (unsigned n = 0; n < sizeof(tss.io_bitmap); n++)
        tss.io_bitmap[n] = 0xff;
    tss.io_map = offsetof(struct tss, io_bitmap);
}

void segments_init(void)
{
    unsigned long address = (unsigned long)&tss;

    for (unsigned n = 0; n < GDT_COUNT; n++)
        gdt[n] = 0;
    gdt_set(SEL_CODE, FLAT_CODE(0));
    gdt_set(SEL_DATA, FLAT_DATA(0));
    gdt_set(SEL_USER32, FLAT_CODE32(3));
    gdt_set(SEL_UDATA, FLAT_DATA(3));
    gdt_set(SEL_USER64, FLAT_CODE(3));
    gdt_set(SEL_UDATA2, FLAT_DATA(3));
    gdt_set(SEL_CODE32, FLAT_CODE32(0));
    gdt_set(SEL_CODE16, descriptor(0, 0xffff, ACC_P | ACC_CODE | ACC_R, 0));
    gdt_set(SEL_DATA16, descriptor(0, 0xffff, ACC_P | ACC_DATA | ACC_W, 0));
    gdt_set(SEL_TSS, descriptor((uint32_t)address, sizeof(tss) - 1, ACC_P | ACC_TSS, 0));
    tss_init();
    for (unsigned vector = 0; vector < 256; vector++)
        idt_restore(vector);
    asm volatile("lgdt %0" : : "m"(gdt_pointer));
    asm volatile("lidt %0" : : "m"(idt_pointer));
    asm volatile("lldt %w0" : : "r"(0));
    asm volatile("ltr %w0" : : "r"(SEL_TSS));
}

void run_user_with(const void *code, unsigned selector, unsigned long sp, unsigned long flags)
{
    unsigned long frame[5] = {(unsigned long)code, selector | 3, flags, sp, SEL_UDATA | 3};

    try_begin();
    try_start = (unsigned long)code;
    user_running = true;
    user_enter(frame);
    user_running = false;
}

void run_user(const void *code)
{
    run_user_with(code, SEL_USER64, (unsigned long)user_stack_top, 2);
}

void protected_note_regs(const struct frame *f)
{
#if defined(__x86_64__)
    const unsigned long regs[8] = {f->rax, f->rcx, f->rdx, f->rbx, f->sp, f->rbp, f->rsi, f->rdi};
#else
    const unsigned long regs[8] = {f->eax, f->ecx, f->edx, f->ebx, f->sp, f->ebp, f->esi, f->edi};
#endif

    for (unsigned n = 0; n < 8; n++)
        user_regs[n] = regs[n];
}
