/* Segments, canonical addresses, far transfers and interrupts of long mode (SDM 3A chapters 3.4.4,
 * 5.8, 6.14). */
#include "segments.h"

#define HOLE 0x800000000000ull /* the first address that is not canonical */

struct far_pointer {
    uint64_t offset;
    uint16_t selector;
} __attribute__((packed));

struct far_pointer32 {
    uint32_t offset;
    uint16_t selector;
} __attribute__((packed));

static volatile struct far_pointer far64;
static volatile struct far_pointer32 far32;
static volatile uint64_t buffer[512];
static uint64_t stack2[256], stack3[256];

/* Lands here; the 32-bit one is fit for both sizes. */
extern const char landing[], landing_end[];
asm("landing: int $0x80\n landing_end:");

static void data_segments(void)
{
    unsigned a;

    context("null DS");
    TRY_OK("mov %1, %%ds\n mov %1, %%es\n mov %2, %0", : "=r"(a) : "r"(0), "m"(buffer[0]));
    context("limits and types are ignored");
    gdt_set(SEL(0), descriptor(0x1000, 0, ACC_P | ACC_DATA, 0));
    TRY_OK("mov %1, %%ds\n incl %0\n movl $1, %0", : "+m"(buffer[0]) : "r"(SEL(0)));
    context("checks when loaded stay");
    TRY_FAULT(GP, SEL_TSS, "mov %0, %%ds", : : "r"(SEL_TSS));
    gdt_set(SEL(0), descriptor(0, 0, ACC_DATA | ACC_W, 0));
    TRY_FAULT(NP, SEL(0), "mov %0, %%es", : : "r"(SEL(0)));
    TRY_FAULT(GP, 0xfff8, "mov %0, %%fs", : : "r"(0xfff8));
    context("null SS at CPL 0");
    TRY_OK("mov %1, %%ss\n mov %%ss, %0\n mov %2, %%ss", : "=&r"(a) : "r"(0), "r"(SEL_DATA));
    EXPECT_EQ(a, 0);
    TRY_FAULT(GP, 0, "mov %0, %%ss", : : "r"(1));
    TRY_FAULT(GP, 0, "mov %0, %%ss", : : "r"(3));
    asm volatile("mov %0, %%ds\n mov %0, %%es" : : "r"(SEL_DATA));
}

USER_CODE(user_null_ss, "xor %eax, %eax\n mov %ax, %ss");
USER_CODE(user_null_ss3, "mov $3, %eax\n mov %ax, %ss");
USER_CODE(user_load_ss, "mov %ax, %ss");

static void user_stack_segment(void)
{
    run_user(user_null_ss);
    EXPECT_TRAP(GP, 0);
    run_user(user_null_ss3);
    EXPECT_TRAP(GP, 0);
    user_regs[UAX] = SEL_DATA;
    run_user(user_load_ss);
    EXPECT_FAULT(GP, SEL_DATA);
    user_regs[UAX] = SEL_UDATA | 3;
    run_user(user_load_ss);
    EXPECT_RETURN();
}

static void fs_gs_bases(void)
{
    uint64_t a;

    gdt_set(SEL(0), descriptor((uint32_t)(uint64_t)buffer, 0, ACC_P | ACC_DATA | ACC_W, 0));
    buffer[1] = 0x1122334455667788;
    wrmsr(MSR_FS_BASE, 0x123456789000);
    TRY_OK("mov %1, %%fs\n mov %%fs:8, %0", : "=r"(a) : "r"(SEL(0)));
    EXPECT_EQ(a, 0x1122334455667788);
    EXPECT_EQ(rdmsr(MSR_FS_BASE), (uint32_t)(uint64_t)buffer);
    wrmsr(MSR_GS_BASE, (uint64_t)buffer + 8);
    TRY_OK("mov %%gs:0, %0", : "=r"(a));
    EXPECT_EQ(a, 0x1122334455667788);
    context("addition wraps at 64 bits");
    wrmsr(MSR_GS_BASE, (uint64_t)-16);
    TRY_OK("mov %%gs:(%1), %0", : "=r"(a) : "r"((uint64_t)&buffer[1] + 16));
    EXPECT_EQ(a, 0x1122334455667788);
    context("32-bit address size: the offset wraps first");
    wrmsr(MSR_GS_BASE, (uint64_t)&buffer[1]);
    TRY_OK("mov %%gs:(%k1, %k2), %0", : "=r"(a) : "r"(0xfffffff0u), "r"(0x10));
    EXPECT_EQ(a, 0x1122334455667788);
    context("not canonical");
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(MSR_FS_BASE), "a"(0), "d"(0x8000));
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(MSR_GS_BASE), "a"(0), "d"(0xffff0000));
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(MSR_KERNEL_GS_BASE), "a"(0), "d"(0x8000));
    wrmsr(MSR_GS_BASE, 0x7ffffffff000);
    TRY_FAULT(GP, 0, "mov %%gs:0x1000, %0", : "=r"(a));
    TRY_FAULT(GP, 0, "mov %%gs:0xffc, %0", : "=r"(a));
    wrmsr(MSR_GS_BASE, 0);
    asm volatile("mov %0, %%fs" : : "r"(0));
    EXPECT_EQ(rdmsr(MSR_FS_BASE), 0);
}

/* Accesses to what is not canonical: #GP(0), or #SS(0) where the stack is meant. */
static void canonical(void)
{
    uint64_t a, hole = HOLE;

    context("loads and stores");
    TRY_FAULT(GP, 0, "mov (%1), %0", : "=r"(a) : "r"(hole));
    TRY_FAULT(GP, 0, "mov %0, (%1)", : : "r"(0ull), "r"(hole));
    TRY_FAULT(GP, 0, "lock incq (%0)", : : "r"(hole));
    TRY_FAULT(GP, 0, "mov (%1), %0", : "=r"(a) : "r"(0xffff7fffffffffffull));
    TRY_FAULT(GP, 0, "mov (%1), %0", : "=r"(a) : "r"(hole - 1)); /* across */
    TRY_FAULT(GP, 0, "mov (%1), %0", : "=r"(a) : "r"(hole - 7));
    TRY("mov (%1), %0", : "=r"(a) : "r"(hole - 8)); /* canonical, but not mapped */
    EXPECT_FAULT(PF, 0);
    EXPECT_EQ(trap.cr2, hole - 8);
    TRY("mov (%1), %0", : "=r"(a) : "r"(-8ull));
    EXPECT_FAULT(PF, 0);
    TRY_FAULT(GP, 0, "lgdt (%0)", : : "r"(hole));
    TRY_FAULT(GP, 0, "ljmp *(%0)", : : "r"(hole));
    TRY_FAULT(GP, 0, "rep movsb", : : "S"(hole), "D"(buffer), "c"(1ull));
    TRY_FAULT(GP, 0, "rep stosb", : : "D"(hole), "a"(0), "c"(1ull));
    TRY_OK("rep stosb", : : "D"(hole), "a"(0), "c"(0ull));
    TRY_OK("invlpg (%0)", : : "r"(hole));
    TRY_OK("prefetcht0 (%0)", : : "r"(hole));
    TRY_OK("lea (%1), %0", : "=r"(a) : "r"(hole));
    TRY_OK("nopl (%0)", : : "r"(hole));
    context("through the stack");
    idt_set(SS, SEL_CODE, trap_stubs + 16 * SS, ACC_P | ACC_INT, 1);
    TRY_FAULT(SS, 0, "mov (%%rbp, %1), %0",
              : "=r"(a)
              : "r"(hole - (uint64_t)__builtin_frame_address(0)));
    TRY("mov %0, %%rsp\n push %%rax", : : "r"(hole + 8));
    EXPECT_TRAP(SS, 0);
    TRY("mov %0, %%rsp\n pop %%rax", : : "r"(hole) : "rax");
    EXPECT_TRAP(SS, 0);
    TRY("mov %0, %%rsp\n call landing", : : "r"(hole + 8));
    EXPECT_TRAP(SS, 0);
    TRY("mov %0, %%rsp\n ret", : : "r"(hole));
    EXPECT_TRAP(SS, 0);
    TRY("mov %0, %%rsp\n iretq", : : "r"(hole));
    EXPECT_TRAP(SS, 0);
    TRY("mov %0, %%rsp\n lretq", : : "r"(hole));
    EXPECT_TRAP(SS, 0);
    TRY("mov %0, %%rsp\n mov (%%rsp), %%rax", : : "r"(hole) : "rax");
    EXPECT_TRAP(SS, 0);
    TRY("mov %0, %%rsp\n enter $0, $0", : : "r"(hole + 8));
    EXPECT_TRAP(SS, 0);
}

/* Branches fault before they are taken: the address is the branch's. */
static void canonical_branches(void)
{
    uint64_t hole = HOLE;
    static volatile uint64_t pointer = HOLE;

    TRY_FAULT(GP, 0, "jmp *%0", : : "r"(hole));
    TRY_FAULT(GP, 0, "jmp *%0", : : "m"(pointer));
    TRY_FAULT(GP, 0, "call *%0", : : "r"(hole));
    TRY_FAULT(GP, 0, "call *%0", : : "m"(pointer));
    TRY("push %0\n 772: ret", : : "r"(hole));
    EXPECT_TRAP(GP, 0);
    EXPECT(trap.ip < HOLE);
    far64 = (struct far_pointer){HOLE, SEL_CODE};
    TRY_FAULT(GP, 0, "rex.w ljmp *%0", : : "m"(far64));
    TRY_FAULT(GP, 0, "rex.w lcall *%0", : : "m"(far64));
    TRY("push %1\n push %0\n lretq", : : "r"(hole), "i"(SEL_CODE));
    EXPECT_TRAP(GP, 0);
    EXPECT(trap.ip < HOLE);
    TRY("push %2\n push %%rsp\n pushf\n push %1\n push %0\n iretq",
        :
        : "r"(hole), "i"(SEL_CODE), "i"(SEL_DATA));
    EXPECT_TRAP(GP, 0);
    EXPECT(trap.ip < HOLE);
}

/* ---- Far transfers ---- */

static void far_transfers(void)
{
    uint64_t a, c;

    far64 = (struct far_pointer){(uint64_t)landing, SEL_CODE};
    TRY("rex.w ljmp *%0", : : "m"(far64));
    EXPECT_RETURN();
    EXPECT_EQ(trap.ip, (uint64_t)landing_end);
    TRY("rex.w lcall *%0", : : "m"(far64));
    EXPECT_RETURN();
    EXPECT_EQ(trap.sp, try_sp - 16);
    far32 = (struct far_pointer32){(uint32_t)(uint64_t)landing, SEL_CODE};
    TRY("ljmp *%0", : : "m"(far32));
    EXPECT_RETURN();
    TRY("lcall *%0", : : "m"(far32));
    EXPECT_RETURN();
    EXPECT_EQ(trap.sp, try_sp - 8);
    context("far returns of each size");
    TRY_OK("mov %%rsp, %%rbx\n push %1\n push $1f\n lretq\n 1: mov %%rbx, %0\n sub %%rsp, %0",
           : "=r"(a)
           : "i"(SEL_CODE)
           : "rbx");
    EXPECT_EQ(a, 0);
    TRY_OK("mov %%rsp, %%rbx\n sub $8, %%rsp\n movl %1, 4(%%rsp)\n movl $1f, (%%rsp)\n lretl\n"
           "1: mov %%rbx, %0\n sub %%rsp, %0",
           : "=r"(a)
           : "i"(SEL_CODE)
           : "rbx");
    EXPECT_EQ(a, 0);
    context("checks");
    far64.selector = SEL_DATA;
    TRY_FAULT(GP, SEL_DATA, "rex.w ljmp *%0", : : "m"(far64));
    far64.selector = SEL_TSS;
    TRY_FAULT(GP, SEL_TSS, "rex.w ljmp *%0", : : "m"(far64));
    TRY_FAULT(GP, SEL_TSS, "rex.w lcall *%0", : : "m"(far64));
    far64.selector = 0;
    TRY_FAULT(GP, 0, "rex.w ljmp *%0", : : "m"(far64));
    gdt_set(SEL(0), descriptor(0, 0xfffff, ACC_P | ACC_CODE | ACC_R, SEG_G | SEG_L | SEG_D));
    far64.selector = SEL(0);
    TRY_FAULT(GP, SEL(0), "rex.w ljmp *%0", : : "m"(far64));
    gdt_set(SEL(0), descriptor(0, 0, ACC_P | ACC_CODE, SEG_L)); /* base and limit are ignored */
    TRY("rex.w ljmp *%0", : : "m"(far64));
    EXPECT_RETURN();
    gdt_set(SEL(0), descriptor(0, 0xfffff, ACC_P | ACC_TSS, 0));
    TRY_FAULT(GP, SEL(0), "rex.w ljmp *%0", : : "m"(far64)); /* no task switches */
    gdt_set(SEL(0), gate(SEL_TSS, 0, ACC_P | ACC_TASK, 0));
    TRY_FAULT(GP, SEL(0), "rex.w ljmp *%0", : : "m"(far64));
    (void)c;
}

static void gate_set(unsigned selector, unsigned target, uint64_t offset, unsigned access)
{
    gdt_set(selector, gate(target, (uint32_t)offset, access, 0));
    gdt_set(selector + 8, offset >> 32);
}

USER_CODE(user_far_call, "lcall *(%eax)");
extern const char gate_target[], ring0_gate[];
asm("ring0_gate: mov (%rsp), %rcx\n mov 8(%rsp), %rdx\n mov 16(%rsp), %rbx\n mov 24(%rsp), %rbp\n"
    "mov %ss, %esi\n mov %rsp, %rdi\n int $0x80");
asm("gate_target: lretq");

static void call_gates(void)
{
    far32 = (struct far_pointer32){0, SEL(0)};
    gate_set(SEL(0), SEL_CODE, (uint64_t)gate_target, ACC_P | ACC_CALL);
    TRY_OK("lcall *%0", : : "m"(far32));
    context("to an inner level");
    gate_set(SEL(0), SEL_CODE, (uint64_t)ring0_gate, ACC_P | ACC_DPL(3) | ACC_CALL);
    *(volatile struct far_pointer32 *)user_start = far32;
    user_regs[UAX] = (uint64_t)user_start;
    run_user(user_far_call);
    EXPECT_RETURN();
    EXPECT_EQ(trap.cs, SEL_CODE);
    EXPECT_EQ(trap.ss, 0); /* a null selector with RPL = CPL */
    EXPECT_EQ(trap.sp, tss.rsp[0] - 32);
    context("checks");
    gate_set(SEL(0), SEL_CODE, (uint64_t)gate_target, ACC_P | ACC_CALL);
    run_user(user_far_call);
    EXPECT_FAULT(GP, SEL(0));
    gate_set(SEL(0), SEL_CODE, (uint64_t)gate_target, ACC_CALL);
    TRY_FAULT(NP, SEL(0), "lcall *%0", : : "m"(far32));
    gate_set(SEL(0), SEL_CODE32, (uint64_t)gate_target, ACC_P | ACC_CALL);
    TRY_FAULT(GP, SEL_CODE32, "lcall *%0", : : "m"(far32));
    gate_set(SEL(0), SEL_DATA, (uint64_t)gate_target, ACC_P | ACC_CALL);
    TRY_FAULT(GP, SEL_DATA, "lcall *%0", : : "m"(far32));
    gate_set(SEL(0), 0, (uint64_t)gate_target, ACC_P | ACC_CALL);
    TRY_FAULT(GP, 0, "lcall *%0", : : "m"(far32));
    gate_set(SEL(0), SEL_CODE, HOLE, ACC_P | ACC_CALL);
    TRY_FAULT(GP, 0, "lcall *%0", : : "m"(far32));
    gate_set(SEL(0), SEL_CODE, (uint64_t)gate_target, ACC_P | ACC_CALL16);
    TRY_FAULT(GP, SEL(0), "lcall *%0", : : "m"(far32));
    gate_set(SEL(0), SEL_CODE, (uint64_t)gate_target, ACC_P | ACC_CALL);
    gdt[SEL(1) / 8] |= 1ull << 40; /* the type field of the upper half must be 0 */
    TRY_FAULT(GP, SEL(0), "lcall *%0", : : "m"(far32));
}

/* ---- System descriptors are 16 bytes ---- */

static void system_descriptors(void)
{
    static volatile uint64_t ldt[2] = {0, 0};
    uint64_t base = (uint64_t)ldt;
    unsigned a;

    gdt_set(SEL(0), descriptor((uint32_t)base, 15, ACC_P | ACC_LDT, 0));
    gdt_set(SEL(1), base >> 32);
    ldt[1] = FLAT_DATA(0);
    TRY_OK("lldt %w0", : : "r"(SEL(0)));
    TRY_OK("mov %0, %%fs", : : "r"(12));
    gdt_set(SEL(1), 0x12345678); /* a base that is not canonical */
    TRY_FAULT(GP, SEL(0), "lldt %w0", : : "r"(SEL(0)));
    gdt_set(SEL(1), 1ull << 40);
    TRY_FAULT(GP, SEL(0), "lldt %w0", : : "r"(SEL(0)));
    TRY_OK("lldt %w0", : : "r"(0));
    context("LTR");
    gdt_set(SEL(0), descriptor((uint32_t)(uint64_t)&tss, 0x67, ACC_P | ACC_TSS, 0));
    gdt_set(SEL(1), 0);
    TRY_OK("ltr %w0", : : "r"(SEL(0)));
    TRY_FAULT(GP, SEL(0), "ltr %w0", : : "r"(SEL(0)));
    gdt_set(SEL(0), descriptor((uint32_t)(uint64_t)&tss, 0x67, ACC_P | ACC_TSS16, 0));
    TRY_FAULT(GP, SEL(0), "ltr %w0", : : "r"(SEL(0)));
    gdt_set(SEL(0), descriptor((uint32_t)(uint64_t)&tss, 0x67, ACC_TSS, 0));
    TRY_FAULT(NP, SEL(0), "ltr %w0", : : "r"(SEL(0)));
    TRY_FAULT(GP, GDT_COUNT * 8 - 8, "ltr %w0", : : "r"(GDT_COUNT * 8 - 8));
    gdt_set(GDT_COUNT * 8 - 8, descriptor((uint32_t)(uint64_t)&tss, 0x67, ACC_P | ACC_TSS, 0));
    TRY_FAULT(GP, GDT_COUNT * 8 - 8, "ltr %w0", : : "r"(GDT_COUNT * 8 - 8));
    context("LAR and LSL");
    for (unsigned type = 0; type < 16; type++) {
        bool lar = type == 2 || type == 9 || type == 11 || type == 12;
        bool lsl = type == 2 || type == 9 || type == 11;
        uint8_t zf;

        context("type %u", type);
        gdt_set(SEL(0), descriptor(0, 0x67, ACC_P | type, 0));
        TRY_OK("lar %2, %0\n setz %1", : "=r"(a), "=q"(zf) : "r"(SEL(0)));
        EXPECT_EQ(zf, lar);
        TRY_OK("lsl %2, %0\n setz %1", : "=r"(a), "=q"(zf) : "r"(SEL(0)));
        EXPECT_EQ(zf, lsl);
    }
}

/* ---- IRETQ ---- */

static void iret_forms(void)
{
    uint64_t a, sp = (uint64_t)(stack2 + 256);
    unsigned ss;

    context("same level: always pops SS:RSP");
    TRY_OK("mov %%rsp, %%rbx\n push %3\n push %2\n push $0xcd7\n push %4\n push $1f\n iretq\n"
           "1: mov %%rsp, %0\n pushf\n pop %%rcx\n mov %%ss, %1\n mov %%rbx, %%rsp\n"
           "cmp $0xcd7, %%rcx\n jz 2f\n ud2\n 2:",
           : "=&r"(a), "=&r"(ss)
           : "r"(sp), "i"(SEL_DATA), "i"(SEL_CODE)
           : "rbx", "rcx");
    EXPECT_EQ(a, sp);
    EXPECT_EQ(ss, SEL_DATA);
    context("null SS at CPL 0");
    TRY_OK("mov %%rsp, %%rbx\n push $0\n push %2\n push $2\n push %3\n push $1f\n iretq\n"
           "1: mov %%ss, %1\n mov %%rbx, %%rsp\n mov %4, %0\n mov %0, %%ss",
           : "=&r"(a), "=&r"(ss)
           : "r"(sp), "i"(SEL_CODE), "i"(SEL_DATA)
           : "rbx");
    EXPECT_EQ(ss, 0);
    context("IRETD in 64-bit mode");
    TRY_OK("mov %%rsp, %%rbx\n sub $20, %%rsp\n movl $1f, (%%rsp)\n movl %3, 4(%%rsp)\n"
           "movl $2, 8(%%rsp)\n mov %k2, 12(%%rsp)\n movl %4, 16(%%rsp)\n iretl\n"
           "1: mov %%rsp, %0\n mov %%rbx, %%rsp",
           : "=&r"(a), "=&r"(ss)
           : "r"(sp), "i"(SEL_CODE), "i"(SEL_DATA)
           : "rbx");
    EXPECT_EQ(a, sp);
    context("NT");
    TRY("pushf\n orl $0x4000, (%%rsp)\n popf\n iretq", :);
    EXPECT_TRAP(GP, 0);
    context("checks");
    TRY("push %1\n push %0\n push $2\n push %2\n push $1f\n 1: iretq",
        :
        : "r"(sp), "i"(0), "i"(SEL_USER64 | 3));
    EXPECT_TRAP(GP, 0);
    TRY("push %1\n push %0\n push $2\n push %2\n push $1f\n 1: iretq",
        :
        : "r"(sp), "i"(3), "i"(SEL_USER64 | 3));
    EXPECT_TRAP(GP, 0);
    TRY("push %1\n push %0\n push $2\n push %2\n push $1f\n 1: iretq",
        :
        : "r"(sp), "i"(SEL_DATA), "i"(SEL_USER64 | 3));
    EXPECT_TRAP(GP, SEL_DATA);
    TRY("push %1\n push %0\n push $2\n push %2\n push $1f\n 1: iretq",
        :
        : "r"(sp), "i"(SEL_DATA), "i"(0));
    EXPECT_TRAP(GP, 0);
    TRY("push %1\n push %0\n push $2\n push %2\n push $1f\n 1: iretq",
        :
        : "r"(sp), "i"(SEL_DATA), "i"(SEL_USER64));
    EXPECT_TRAP(GP, SEL_USER64);
    TRY("push %1\n push %0\n push $2\n push %2\n push $1f\n 1: iretq",
        :
        : "r"(sp), "i"(0), "i"(SEL_CODE32)); /* compatibility mode wants a stack segment */
    EXPECT_TRAP(GP, 0);
    gdt_set(SEL(0), descriptor(0, 0xfffff, ACC_CODE, SEG_L | SEG_G));
    TRY("push %1\n push %0\n push $2\n push %2\n push $1f\n 1: iretq",
        :
        : "r"(sp), "i"(SEL_DATA), "i"(SEL(0)));
    EXPECT_TRAP(NP, SEL(0));
}

USER_CODE(user_iret_same, "mov %rsp, %rbx\n mov %ss, %eax\n push %rax\n push %rbx\n pushf\n"
                          "mov %cs, %eax\n push %rax\n push $1f\n iretq\n 1: cmp %rbx, %rsp\n"
                          "jz 2f\n ud2\n 2:");

static void iret_user(void)
{
    run_user(user_iret_same);
    EXPECT_RETURN();
    EXPECT_EQ(trap.cs, SEL_USER64 | 3);
    EXPECT_EQ(trap.ss, SEL_UDATA | 3);
    EXPECT_EQ(trap.sp, (uint64_t)user_stack_top);
}

/* ---- Interrupts ---- */

static void gate_types(void)
{
    for (unsigned type = 0; type < 32; type++) {
        context("type %x", type);
        idt_set(0x33, SEL_CODE, trap_stubs + 16 * 0x33, ACC_P | type, 0);
        TRY("int $0x33", :);
        if (type == ACC_INT || type == ACC_TRAP)
            EXPECT_TRAP(0x33, 0);
        else
            EXPECT_FAULT(GP, 0x33 * 8 + 2);
    }
    context("target");
    idt_set(0x33, SEL_CODE32, trap_stubs + 16 * 0x33, ACC_P | ACC_INT, 0);
    TRY_FAULT(GP, SEL_CODE32, "int $0x33", :);
    idt_set(0x33, SEL_DATA, trap_stubs + 16 * 0x33, ACC_P | ACC_INT, 0);
    TRY_FAULT(GP, SEL_DATA, "int $0x33", :);
    idt_set(0x33, SEL_USER64, trap_stubs + 16 * 0x33, ACC_P | ACC_INT, 0);
    TRY_FAULT(GP, SEL_USER64, "int $0x33", :);
    idt_set(0x33, 0, trap_stubs + 16 * 0x33, ACC_P | ACC_INT, 0);
    TRY_FAULT(GP, 0, "int $0x33", :);
    idt_set(0x33, SEL_CODE, (void *)HOLE, ACC_P | ACC_INT, 0);
    TRY_FAULT(GP, 0, "int $0x33", :);
    idt_set(0x33, SEL_CODE, trap_stubs + 16 * 0x33, ACC_INT, 0);
    TRY_FAULT(NP, 0x33 * 8 + 2, "int $0x33", :);
    context("limit");
    {
        struct table_pointer small = {0x33 * 16 + 14, idt_pointer.base};

        idt_restore(0x33);
        asm volatile("lidt %0" : : "m"(small));
        TRY_FAULT(GP, 0x33 * 8 + 2, "int $0x33", :);
        small.limit++;
        asm volatile("lidt %0" : : "m"(small));
        TRY("int $0x33", :);
        EXPECT_TRAP(0x33, 0);
    }
}

/* The handler's stack is aligned to 16, and SS:RSP are always pushed. */
static void frame_layout(void)
{
    static volatile uint64_t handler_sp;
    extern const char note_sp[];

    asm volatile goto("jmp %l0\n note_sp: mov %%rsp, seen_sp\n int $0x80\n" : : : : over);
over:
    asm(".lcomm seen_sp, 8");
    for (unsigned n = 0; n < 16; n += 3) {
        uint64_t seen;

        context("RSP off by %u", n);
        idt_set(0x33, SEL_CODE, note_sp, ACC_P | ACC_INT, 0);
        TRY("sub %0, %%rsp\n int $0x33", : : "r"((uint64_t)n));
        EXPECT_RETURN();
        asm volatile("mov seen_sp, %0" : "=r"(seen));
        EXPECT_EQ(seen, ((try_sp - n) & ~15ull) - 40);
    }
    (void)handler_sp;
}

static void stack_tables(void)
{
    uint64_t seen;

    context("IST");
    for (unsigned ist = 1; ist < 8; ist++) {
        tss.ist[ist - 1] = (uint64_t)(stack3 + 256) - 16 * ist + 3;
        idt_set(0x33, SEL_CODE, "\x48\x89\x24\x25", ACC_P | ACC_INT, ist);
    }
    {
        extern const char note_sp[];

        for (unsigned ist = 1; ist < 8; ist++) {
            context("IST %u", ist);
            idt_set(0x33, SEL_CODE, note_sp, ACC_P | ACC_INT, ist);
            TRY("int $0x33", :);
            EXPECT_RETURN();
            asm volatile("mov seen_sp, %0" : "=r"(seen));
            EXPECT_EQ(seen, (uint64_t)(stack3 + 256) - 16 * ist - 40);
            EXPECT_EQ(trap.ss, SEL_DATA); /* the level did not change: SS stays */
        }
    }
    context("IST that is not canonical");
    tss.ist[2] = HOLE;
    idt_set(0x33, SEL_CODE, trap_stubs, ACC_P | ACC_INT, 3);
    TRY("int $0x33", :);
    EXPECT_FAULT(SS, 0);
    context("TSS too short for it");
    gdt_set(SEL(0), descriptor((uint32_t)(uint64_t)&tss, 0x32, ACC_P | ACC_TSS, 0));
    gdt_set(SEL(1), 0);
    asm volatile("ltr %w0" : : "r"(SEL(0)));
    TRY("int $0x33", :);
    EXPECT_FAULT(TS, SEL(0));
}

USER_CODE(user_int_33, "int $0x33");

static void inner_level(void)
{
    extern const char note_sp[];
    uint64_t seen;

    idt_set(0x33, SEL_CODE, note_sp, ACC_P | ACC_DPL(3) | ACC_INT, 0);
    run_user(user_int_33);
    EXPECT_RETURN();
    asm volatile("mov seen_sp, %0" : "=r"(seen));
    EXPECT_EQ(seen, tss.rsp[0] - 40);
    EXPECT_EQ(trap.ss, 0);
    EXPECT_EQ(trap.cs, SEL_CODE);
    tss.rsp[0] = HOLE;
    idt_set(SS, SEL_CODE, trap_stubs + 16 * SS, ACC_P | ACC_INT, 1);
    run_user(user_int_33);
    EXPECT_FAULT(SS, 0);
    EXPECT_EQ(trap.cs, SEL_USER64 | 3);
}

const struct test_case cases[] = {
    {"data segments", data_segments},
    {"SS at CPL 3", user_stack_segment},
    {"bases of FS and GS", fs_gs_bases},
    {"canonical addresses", canonical},
    {"canonical branch targets", canonical_branches},
    {"far transfers", far_transfers},
    {"call gates", call_gates},
    {"system descriptors", system_descriptors},
    {"IRET", iret_forms},
    {"IRET at CPL 3", iret_user},
    {"gates of the IDT", gate_types},
    {"layout of the frame", frame_layout},
    {"IST", stack_tables},
    {"interrupt from CPL 3", inner_level},
};
PROGRAM("longmode");
