/*
 * Compatibility mode: the segments, addresses and opcodes of 32-bit and 16-bit protected mode,
 * under the tables, gates and paging of 64-bit mode (SDM 3A 4.1.1, 5.8.1, 6.14, 3A table 2-2).
 */
#include "paging.h"
#include "segments.h"

#define SEL_SMALL  SEL(0) /* data, limit FFFh, at user_start */
#define SEL_DOWN   SEL(1) /* data, expand-down: above FFFh */
#define SEL_ABSENT SEL(2)
#define SEL_USER16 SEL(3)
#define SEL_CONF   SEL(4) /* conforming 32-bit code, DPL 0 */
#define SEL_GATE   SEL(6) /* 16 bytes */

/* 32-bit code for CPL 3 that ends with INT 80h. */
#define USER_CODE32(name, code) USER_CODE(name, ".code32\n" code "\n int $0x80\n .code64")
#define USER_CODE16(name, code) USER_CODE(name, ".code16\n" code "\n int $0x80\n .code64")

static void run32(const char *code)
{
    run_user_with(code, SEL_USER32, (unsigned long)user_stack_top, 2);
}

/* 16-bit code that begins at offset 0. */
static void set_user16(const char *code)
{
    gdt_set(SEL_USER16,
            descriptor((uint32_t)(uint64_t)code, 0xffff, ACC_P | ACC_DPL(3) | ACC_CODE | ACC_R, 0));
}

static void prepare(void)
{
    segments_init();
    gdt_set(SEL_SMALL, descriptor((uint32_t)(uint64_t)user_start, 0xfff,
                                  ACC_P | ACC_DPL(3) | ACC_DATA | ACC_W, SEG_D));
    gdt_set(SEL_DOWN,
            descriptor(0, 0xfff, ACC_P | ACC_DPL(3) | ACC_DATA | ACC_W | ACC_DOWN, SEG_D));
    gdt_set(SEL_ABSENT, FLAT_DATA(3) & ~((uint64_t)ACC_P << 40));
    gdt_set(SEL_CONF, descriptor(0, 0xfffff, ACC_P | ACC_CODE | ACC_R | ACC_CONF, SEG_G | SEG_D));
    for (unsigned n = 0; n < 8; n++)
        user_regs[n] = 0xaaaa000000000000 | n;
}

_Static_assert(SEL_SMALL == 0x60 && SEL_DOWN == 0x68 && SEL_ABSENT == 0x70 && SEL_USER16 == 0x78 &&
                   SEL_CONF == 0x80 && SEL_GATE == 0x90,
               "as the code below has them");

USER_DATA volatile uint32_t user_word = 0x600df00d;

/* ---- Opcodes ---- */

USER_CODE32(inc_dec, "mov $5, %eax\n inc %eax\n inc %eax\n dec %eax");
USER_CODE32(decimal, "mov $0x19, %al\n add $1, %al\n daa");
USER_CODE32(push_all, "mov $7, %ecx\n pusha\n xor %ecx, %ecx\n popa");
USER_CODE32(arpl, "mov $1, %eax\n mov $3, %ecx\n arpl %cx, %ax");
USER_CODE32(into, "mov $0x7f, %al\n inc %al\n into");
USER_CODE32(no_movsxd, ".byte 0x63, 0xc8"); /* ARPL, not MOVSXD */
#define LOAD_DS "mov $0x23, %ecx\n mov %ecx, %ds\n"
USER_CODE32(moffs, LOAD_DS "mov user_word, %eax");
USER_CODE32(push_es, "push %es\n pop %ecx");
USER_CODE32(swapgs, ".byte 0x0f, 0x01, 0xf8");
USER_CODE32(rdfsbase, ".byte 0xf3, 0x0f, 0xae, 0xc0");
USER_CODE16(inc16, "mov $0xffff, %ax\n inc %ax");

static void opcodes(void)
{
    prepare();
    run32(inc_dec);
    EXPECT_RETURN();
    EXPECT_EQ(user_regs[UAX], 6); /* the upper half is gone */
    run32(decimal);
    EXPECT_RETURN();
    EXPECT_EQ(user_regs[UAX] & 0xff, 0x20);
    run32(push_all);
    EXPECT_RETURN();
    EXPECT_EQ(user_regs[UCX], 7);
    run32(arpl);
    EXPECT_EQ(user_regs[UAX], 3);
    run32(no_movsxd);
    EXPECT_RETURN();
    run32(into);
    EXPECT_TRAP(OF, 0);
    run32(moffs);
    EXPECT_RETURN();
    EXPECT_EQ(user_regs[UAX], user_word);
    run32(push_es);
    EXPECT_RETURN();
    run32(swapgs);
    EXPECT_FAULT(UD, 0);
    write_cr4(read_cr4() | (HAS_7B(0) ? CR4_FSGSBASE : 0));
    run32(rdfsbase);
    EXPECT_FAULT(UD, 0);
    context("a 16-bit segment");
    set_user16(inc16);
    run_user_with(NULL, SEL_USER16, (unsigned long)user_stack_top, 2);
    EXPECT_TRAP(VECTOR_RETURN, 0);
    EXPECT_EQ(user_regs[UAX] & 0xffff, 0);
    EXPECT_EQ(trap.cs, SEL_USER16 | 3);
}

/* ---- Segments and addresses ---- */

USER_CODE32(small_last, "mov $0x63, %ecx\n mov %ecx, %es\n movb %es:0xfff, %al");
USER_CODE32(small_beyond, "mov $0x63, %ecx\n mov %ecx, %es\n movw %es:0xfff, %ax");
USER_CODE32(small_fs, "mov $0x63, %ecx\n mov %ecx, %fs\n movl %fs:0x1000, %eax");
USER_CODE32(small_ss, "mov $0x63, %ecx\n mov %ecx, %ss\n push %ss:0x1000");
USER_CODE32(down_below, "mov $0x6b, %ecx\n mov %ecx, %es\n movl %es:0xffc, %eax");
USER_CODE32(null_ds, "xor %ecx, %ecx\n mov %ecx, %es\n movl %es:0x1000, %eax");
USER_CODE32(absent, "mov $0x73, %ecx\n mov %ecx, %es");
USER_CODE32(absent_ss, "mov $0x73, %ecx\n mov %ecx, %ss");
USER_CODE32(write_code, "movl $1, %cs:user_start");
USER_CODE32(by_fs, "mov %fs:0x10, %eax");
USER_CODE32(wraps, LOAD_DS "mov $0xffffffff, %ecx\n mov user_word + 1(%ecx), %eax");

static void segments(void)
{
    prepare();
    run32(small_last);
    EXPECT_RETURN();
    run32(small_beyond);
    EXPECT_TRAP(GP, 0);
    run32(small_fs);
    EXPECT_TRAP(GP, 0);
    run32(small_ss);
    EXPECT_TRAP(SS, 0);
    run32(down_below);
    EXPECT_TRAP(GP, 0);
    run32(null_ds);
    EXPECT_TRAP(GP, 0);
    run32(absent);
    EXPECT_TRAP(NP, SEL_ABSENT);
    run32(absent_ss);
    EXPECT_TRAP(SS, SEL_ABSENT);
    run32(write_code);
    EXPECT_TRAP(GP, 0);
    context("addresses have 32 bits");
    run32(wraps);
    EXPECT_RETURN();
    EXPECT_EQ(user_regs[UAX], user_word);
    context("bases of FS beyond 4 GiB are cut");
    asm volatile("mov %0, %%fs" : : "r"(SEL_UDATA | 3));
    wrmsr(MSR_FS_BASE, 0x100000000ull + (uint64_t)&user_word - 0x10);
    run32(by_fs);
    EXPECT_RETURN();
    EXPECT_EQ(user_regs[UAX], user_word);
    asm volatile("mov %0, %%fs" : : "r"(0));
}

/* ---- Events: gates, stack and frame of 64-bit mode ---- */

USER_CODE32(fault_here, "nop\n ud2");
USER_CODE32(page_fault, LOAD_DS "mov 0x80000000, %eax");

static void events(void)
{
    prepare();
    run_user_with(fault_here, SEL_USER32, 0x12345678, 2);
    EXPECT_TRAP(UD, 0);
    EXPECT_EQ(trap.ip, (uint64_t)fault_here + 1);
    EXPECT_EQ(trap.cs, SEL_USER32 | 3);
    EXPECT_EQ(trap.ss, SEL_UDATA | 3);
    EXPECT_EQ(trap.sp, 0x12345678);
    context("#PF");
    run32(page_fault);
    EXPECT_TRAP(PF, PF_P | PF_U);
    EXPECT_EQ(trap.cr2, 0x80000000);
    context("an IST stack");
    tss.ist[1] = (uint64_t)fault_stack_top;
    idt_set(UD, SEL_CODE, trap_stubs + 16 * UD, ACC_P | ACC_INT, 2);
    run32(fault_here);
    EXPECT_TRAP(UD, 0);
    context("a handler must be 64-bit code");
    idt_set(UD, SEL_CODE32, trap_stubs + 16 * UD, ACC_P | ACC_INT, 0);
    run32(fault_here);
    EXPECT_TRAP(GP, SEL_CODE32 | 1);
    segments_init();
}

/* ---- Far transfers ---- */

USER_CODE32(to_64, "ljmp $0x2b, $in_64\n"
                   ".code64\n in_64: mov $0x1122334455667788, %rax\n int $0x80\n .code32");
USER_CODE32(to_16, "ljmp $0x7b, $0\n"
                   ".code16\n in_16: mov $0x5566, %ax\n int $0x80\n .code32");
USER_CODE32(to_inner, "ljmp $0x08, $0");
USER_CODE32(to_conforming, "ljmp $0x83, $in_conf\n in_conf: mov %cs, %eax");
USER_CODE32(beyond, "ljmp $0x7b, $0x10000");
USER_CODE32(to_tss, "ljmp $0x53, $0");
USER_CODE32(far_return, "push $0x2b\n push $in_64b\n lret\n"
                        ".code64\n in_64b: mov %cs, %eax\n int $0x80\n .code32");
USER_CODE32(through_gate, "lcall $0x93, $0");
USER_CODE32(iret_32, "pushf\n push %cs\n push $1f\n iret\n 1: mov $9, %eax");

extern const char in_16[];

static void transfers(void)
{
    prepare();
    run32(to_64);
    EXPECT_RETURN();
    EXPECT_EQ(user_regs[UAX], 0x1122334455667788);
    set_user16(in_16);
    run32(to_16);
    EXPECT_TRAP(VECTOR_RETURN, 0);
    EXPECT_EQ(user_regs[UAX] & 0xffff, 0x5566);
    EXPECT_EQ(trap.cs, SEL_USER16 | 3);
    run32(to_inner);
    EXPECT_FAULT(GP, SEL_CODE);
    run32(to_conforming);
    EXPECT_RETURN();
    EXPECT_EQ(user_regs[UAX], SEL_CONF | 3);
    run32(beyond);
    EXPECT_FAULT(GP, 0);
    run32(far_return);
    EXPECT_RETURN();
    EXPECT_EQ(user_regs[UAX], SEL_USER64 | 3);
    run32(iret_32);
    EXPECT_RETURN();
    EXPECT_EQ(user_regs[UAX], 9);
    context("there are no task switches");
    gdt_set(SEL_TSS, gdt[SEL_TSS / 8] | (uint64_t)ACC_DPL(3) << 40);
    run32(to_tss);
    EXPECT_FAULT(GP, SEL_TSS);
    segments_init();
}

/* A 64-bit call gate pushes eight bytes each, from compatibility mode, too. */
extern const char gate_entry[];
volatile uint64_t gate_frame[4];
asm("gate_entry: pop gate_frame\n pop gate_frame + 8\n pop gate_frame + 16\n pop gate_frame + 24\n"
    "push gate_frame + 24\n push gate_frame + 16\n push gate_frame + 8\n push gate_frame\n lretq");

static void call_gates(void)
{
    prepare();
    gdt_set(SEL_GATE,
            gate(SEL_CODE, (uint32_t)(uint64_t)gate_entry, ACC_P | ACC_DPL(3) | ACC_CALL, 0));
    gdt_set(SEL_GATE + 8, (uint64_t)gate_entry >> 32);
    run32(through_gate);
    EXPECT_RETURN();
    EXPECT_EQ(gate_frame[0], (uint64_t)through_gate + 7);
    EXPECT_EQ(gate_frame[1], SEL_USER32 | 3);
    EXPECT_EQ(gate_frame[2], (uint64_t)user_stack_top);
    EXPECT_EQ(gate_frame[3], SEL_UDATA | 3);
    context("to 32-bit code");
    gdt_set(SEL_GATE, gate(SEL_CODE32, 0, ACC_P | ACC_DPL(3) | ACC_CALL, 0));
    run32(through_gate);
    EXPECT_FAULT(GP, SEL_CODE32);
    segments_init();
}

const struct test_case cases[] = {
    {"opcodes", opcodes},     {"segments", segments},     {"events", events},
    {"transfers", transfers}, {"call gates", call_gates},
};
PROGRAM("compat");
