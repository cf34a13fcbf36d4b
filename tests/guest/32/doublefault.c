/*
 * A fault while another event is being delivered, in 32-bit protected mode: every cell of SDM 3A
 * table 6-5. The first event happens at CPL 3, so that the second can be any fault of its gate and
 * of the stack of ring 1. Benign ones are handled one after the other, contributory ones and page
 * faults make #DF. #DF while #DF is being delivered: 64/shutdown.c.
 */
#include "apic.h"
#include "segments.h"

#define SEL_ABSENT SEL(0) /* DPL 3, not present */
#define SEL_RING1  SEL(1) /* code; its stack is SEL_STACK1 or broken */
#define SEL_STACK1 SEL(2)
#define SEL_RING2  SEL(3) /* code without a stack */
#define SEL_GATE   SEL(4) /* a call gate to it */
#define SEL_TASK   SEL(5)
#define SEL_GONE   SEL(6) /* DPL 1, not present */

#define ABSENT 0x40000000u /* no page is there */
#define IRQ    0x51
#define PF_W   2u
#define EXT    1u

static volatile uint32_t directory[1024] __attribute__((aligned(4096)));

/* The low 16 MiB and the local APIC, for CPL 3, too. */
static void start_paging(void)
{
    for (unsigned n = 0; n < 1024; n++)
        directory[n] = n < 4 ? n << 22 | 0x87 : 0;
    directory[0xfee00000u >> 22] = 0xfec00083;
    write_cr4(read_cr4() | CR4_PSE);
    write_cr3((uint32_t)directory);
    write_cr0(read_cr0() | CR0_PG);
}

/* ---- The first event ---- */

USER_CODE(user_de, "xor %ecx, %ecx\n div %ecx");
USER_CODE(user_ts, "lcall $0x80, $0"); /* SEL_GATE */
USER_CODE(user_np, "mov $0x63, %eax\n mov %eax, %fs");
USER_CODE(user_ss, "mov $0x63, %eax\n mov %eax, %ss");
USER_CODE(user_gp, "hlt");
USER_CODE(user_pf, "mov 0x40000000, %eax");
USER_CODE(user_ud, "ud2");
USER_CODE(user_nm, "fnop");
USER_CODE(user_bp, "int3");
USER_CODE(user_of, "mov $0x7f, %al\n inc %al\n into");
USER_CODE(user_br, "mov $9, %eax\n bound %eax, user_bounds");
USER_CODE(user_db, ".byte 0xf1");
USER_CODE(user_int, "int $0x44");
USER_CODE(user_mf, "fwait");
USER_CODE(user_ac, "mov user_bounds + 1, %eax");
USER_CODE(user_xm, "divss %xmm0, %xmm1");
USER_CODE(user_nops, "nop\n nop\n nop\n nop\n nop\n nop\n nop\n nop");

USER_DATA volatile int32_t user_bounds[2] = {0, 5};

_Static_assert(SEL_ABSENT == 0x60 && SEL_GATE == 0x80, "as the code above has them");

static void set_ts(void)
{
    write_cr0(read_cr0() | CR0_TS);
}

static void set_am(void)
{
    write_cr0(read_cr0() | CR0_AM);
}

static void divide_x87(void)
{
    static const uint16_t unmasked = 0x037f & ~4;

    asm volatile("fninit\n fldcw %0\n fldz\n fld1\n .byte 0xd8, 0xf1" : : "m"(unmasked));
}

static void divide_sse(void)
{
    static const uint32_t unmasked = 0x1f80 & ~0x200;

    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
    asm volatile("ldmxcsr %0" : : "m"(unmasked));
    asm volatile("xorps %xmm0, %xmm0\n pcmpeqd %xmm1, %xmm1\n pslld $25, %xmm1\n psrld $2, %xmm1");
}

static void send_irq(void)
{
    APIC(APIC_SVR) = 0x1ff;
    APIC(APIC_ICR) = ICR_SELF | IRQ;
}

enum class { BENIGN, CONTRIBUTORY, PAGE };

static const struct first {
    const char *name, *code;
    void (*prepare)(void);
    unsigned vector;
    enum class class;
    unsigned long flags;
    bool software; /* no EXT in the second's error code */
} firsts[] = {
    {"#DE", user_de, NULL, DE, CONTRIBUTORY, 2, false},
    {"#TS", user_ts, NULL, TS, CONTRIBUTORY, 2, false},
    {"#NP", user_np, NULL, NP, CONTRIBUTORY, 2, false},
    {"#SS", user_ss, NULL, SS, CONTRIBUTORY, 2, false},
    {"#GP", user_gp, NULL, GP, CONTRIBUTORY, 2, false},
    {"#PF", user_pf, NULL, PF, PAGE, 2, false},
    {"#UD", user_ud, NULL, UD, BENIGN, 2, false},
    {"#NM", user_nm, set_ts, NM, BENIGN, 2, false},
    {"#BP", user_bp, NULL, BP, BENIGN, 2, true},
    {"#OF", user_of, NULL, OF, BENIGN, 2, true},
    {"#BR", user_br, NULL, BR, BENIGN, 2, false},
    {"#DB", user_db, NULL, DB, BENIGN, 2, false},
    {"INT", user_int, NULL, 0x44, BENIGN, 2, true},
    {"#MF", user_mf, divide_x87, MF, BENIGN, 2, false},
    {"#AC", user_ac, set_am, AC, BENIGN, 2 | FL_AC, false},
    {"#XM", user_xm, divide_sse, XM, BENIGN, 2, false},
    {"interrupt", user_nops, send_irq, IRQ, BENIGN, 2 | FL_IF, false},
};

/* ---- What goes wrong with its delivery ---- */

static void gate_set(unsigned vector, unsigned selector, unsigned access)
{
    idt_set(vector, selector, trap_stubs + 16 * vector, access | ACC_DPL(3), 0);
}

static void gate_absent(unsigned vector)
{
    gate_set(vector, SEL_CODE, ACC_INT);
}

static void gate_data(unsigned vector)
{
    gate_set(vector, SEL_CODE, ACC_P | ACC_CALL);
}

static void gate_null(unsigned vector)
{
    gate_set(vector, 0, ACC_P | ACC_INT);
}

static void ring1_stack(unsigned vector, unsigned selector, uint32_t esp)
{
    tss.ss1 = selector;
    tss.esp1 = esp;
    gate_set(vector, SEL_RING1, ACC_P | ACC_INT);
}

static void stack_null(unsigned vector)
{
    ring1_stack(vector, 0, 0x1000);
}

static void stack_gone(unsigned vector)
{
    ring1_stack(vector, SEL_GONE | 1, 0x1000);
}

static void stack_full(unsigned vector)
{
    gdt_set(SEL_STACK1, descriptor(0, 0xf, ACC_P | ACC_DPL(1) | ACC_DATA | ACC_W, SEG_D));
    ring1_stack(vector, SEL_STACK1 | 1, 16);
}

static void stack_unmapped(unsigned vector)
{
    ring1_stack(vector, SEL_STACK1 | 1, ABSENT + 0x800);
}

static const struct second {
    const char *name;
    void (*prepare)(unsigned vector);
    unsigned vector;
    enum class class;
    unsigned code;   /* without EXT */
    bool names_gate; /* the error code has the vector of the gate */
} seconds[] = {
    {"#NP", gate_absent, NP, CONTRIBUTORY, 0, true},
    {"#GP of the gate", gate_data, GP, CONTRIBUTORY, 0, true},
    {"#GP of the selector", gate_null, GP, CONTRIBUTORY, 0, false},
    {"#TS", stack_null, TS, CONTRIBUTORY, 0, false},
    {"#SS, not present", stack_gone, SS, CONTRIBUTORY, SEL_GONE, false},
    {"#SS, no room", stack_full, SS, CONTRIBUTORY, SEL_STACK1, false},
    {"#PF", stack_unmapped, PF, PAGE, PF_W, false},
};

static void prepare(void)
{
    segments_init();
    gdt_set(SEL_ABSENT, FLAT_DATA(3) & ~((uint64_t)ACC_P << 40));
    gdt_set(SEL_RING1, FLAT_CODE32(1));
    gdt_set(SEL_STACK1, FLAT_DATA(1));
    gdt_set(SEL_RING2, FLAT_CODE32(2));
    gdt_set(SEL_GATE, gate(SEL_RING2, 0, ACC_P | ACC_DPL(3) | ACC_CALL, 0));
    gdt_set(SEL_GONE, FLAT_DATA(1) & ~((uint64_t)ACC_P << 40));
    tss.ss2 = 0;
}

static void run_first(const struct first *f)
{
    if (f->prepare != NULL)
        f->prepare();
    run_user_with(f->code, SEL_USER32, (unsigned long)user_stack_top, f->flags);
    if (f->vector == IRQ)
        APIC(APIC_EOI) = 0;
    asm volatile("clts\n fninit");
}

/* Each first event by itself is what the table says. */
static void alone(void)
{
    start_paging();
    for (unsigned n = 0; n < COUNT(firsts); n++) {
        context("%s", firsts[n].name);
        prepare();
        if (firsts[n].vector == 0x44)
            gate_set(0x44, SEL_CODE, ACC_P | ACC_INT);
        run_first(&firsts[n]);
        EXPECT_EQ(trap.vector, firsts[n].vector);
    }
}

static void check_pair(const struct first *f, const struct second *s)
{
    bool twice = (f->class == CONTRIBUTORY && s->class == CONTRIBUTORY) ||
                 (f->class == PAGE && s->class != BENIGN);
    unsigned ext = f->software ? 0 : EXT;

    context("%s, then %s", f->name, s->name);
    prepare();
    s->prepare(f->vector);
    run_first(f);
    if (twice)
        EXPECT_TRAP(DF, 0);
    else if (s->vector == PF)
        EXPECT_TRAP(PF, PF_W);
    else
        EXPECT_TRAP(s->vector, (s->names_gate ? f->vector * 8 + 2 : s->code) | ext);
    EXPECT_EQ(trap.cs & 3, 3); /* of the instruction that began it */
    if (s->vector == PF)
        EXPECT_EQ(trap.cr2 & ~0xfffu, ABSENT);
}

static void pairs(void)
{
    start_paging();
    for (unsigned n = 0; n < COUNT(firsts); n++)
        for (unsigned k = 0; k < COUNT(seconds); k++)
            check_pair(&firsts[n], &seconds[k]);
}

/* ---- #DF through a task gate ---- */

static volatile struct tss df_task;
static uint32_t df_stack[256];
extern const char df_entry[];
volatile uint32_t df_error, df_sp;

/* Notes its error code and ends TRY, with the registers that the first task had. */
asm("df_entry: popl df_error\n mov %esp, df_sp\n mov tss + 0x34, %ebx\n mov tss + 0x3c, %ebp\n"
    "mov tss + 0x40, %esi\n mov tss + 0x44, %edi\n int $0x81\n jmp df_entry");

static void df_by_task(void)
{
    prepare();
    for (unsigned n = 0; n < 0x68; n++)
        ((volatile uint8_t *)&df_task)[n] = 0;
    df_task.eip = (uint32_t)df_entry;
    df_task.esp = (uint32_t)(df_stack + COUNT(df_stack));
    df_task.eflags = 2;
    df_task.cs = SEL_CODE;
    df_task.ss = df_task.ds = df_task.es = SEL_DATA;
    df_task.cr3 = read_cr3();
    df_task.io_map = 0xdfff;
    gdt_set(SEL_TASK, descriptor((uint32_t)&df_task, 0x67, ACC_P | ACC_TSS, 0));
    idt[DF] = gate(SEL_TASK, 0, ACC_P | ACC_TASK, 0);
    df_error = 1;
}

static void task_gate(void)
{
    start_paging();
    df_by_task();
    gate_absent(PF);
    TRY("mov (%0), %%eax", : : "r"(ABSENT + 0x234) : "eax");
    EXPECT_TRAP(0x81, 0);
    EXPECT_EQ(df_error, 0);
    EXPECT_EQ(df_sp, (uint32_t)(df_stack + COUNT(df_stack)));
    EXPECT_EQ(df_task.link & 0xffff, SEL_TSS);
    EXPECT_EQ(tss.eip, try_start);
    EXPECT_EQ(trap.cr2, ABSENT + 0x234);
    EXPECT(trap.flags & FL_NT);
    context("from #TS of a task switch");
    df_by_task();
    gate_absent(TS);
    gdt_set(SEL_ABSENT, descriptor((uint32_t)&df_task, 0x10, ACC_P | ACC_TSS, 0));
    TRY("ljmp %0, $0", : : "i"(SEL_ABSENT));
    EXPECT_TRAP(0x81, 0);
    EXPECT_EQ(df_error, 0);
    EXPECT_EQ(tss.eip, try_start);
    context("from #TS while an exception goes to a task gate");
    df_by_task();
    gdt_set(SEL_ABSENT, descriptor((uint32_t)&df_task, 0x10, ACC_P | ACC_TSS, 0));
    idt[GP] = gate(SEL_ABSENT, 0, ACC_P | ACC_TASK, 0);
    TRY("mov %0, %%fs", : : "r"(0xfff8));
    EXPECT_TRAP(0x81, 0);
    EXPECT_EQ(tss.eip, try_start);
    context("a benign event there is #TS alone");
    df_by_task();
    gdt_set(SEL_ABSENT, descriptor((uint32_t)&df_task, 0x10, ACC_P | ACC_TSS, 0));
    idt[UD] = gate(SEL_ABSENT, 0, ACC_P | ACC_TASK, 0);
    TRY_FAULT(TS, SEL_ABSENT | EXT, "ud2", :);
    segments_init();
}

const struct test_case cases[] = {
    {"first events", alone},
    {"pairs", pairs},
    {"task gate", task_gate},
};
PROGRAM("doublefault");
