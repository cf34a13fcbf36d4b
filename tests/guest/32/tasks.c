/* Hardware tasks: switches by JMP, CALL, IRET and interrupts, through task gates and without, 16-
 * and 32-bit TSSs, and what goes wrong (SDM 3A chapter 7). */
#include "segments.h"

#define SEL_B    SEL(0)
#define SEL_GATE SEL(1)
#define SEL_C    SEL(2)
#define SEL_LDT  SEL(3)
#define SEL_BAD  SEL(4)

#define TSS32(t)   descriptor((uint32_t)(t), 0x67, ACC_P | ACC_TSS, 0)
#define IS_BUSY(s) (gdt[(s) / 8] >> 41 & 1)

/* The other task, the task of fault handlers, and the stacks of both. */
static volatile struct tss b, c;
static uint32_t stack_b[1024], stack_c[1024];
static volatile uint64_t ldt[4];

/* What task B saw when it ran. */
static volatile struct {
    uint32_t runs, eax, ebx, ecx, edx, esi, edi, ebp, esp, flags, tr, ldtr;
    uint32_t cs, ss, ds, es, fs, gs, cr0;
} seen;

/* Notes everything, then goes back as `b_return` says: 0 IRET, 1 JMP to the first task. Runs on
 * from where it left when it is switched to again. */
extern const char task_b[];
volatile uint32_t b_return;
asm("task_b: push %ds\n push %eax\n mov $0x10, %eax\n mov %ax, %ds\n popl seen_at + 4\n"
    "popl seen_at + 56\n"
    "incl seen_at\n mov %ebx, seen_at + 8\n mov %ecx, seen_at + 12\n mov %edx, seen_at + 16\n"
    "mov %esi, seen_at + 20\n mov %edi, seen_at + 24\n mov %ebp, seen_at + 28\n"
    "mov %esp, seen_at + 32\n pushf\n popl seen_at + 36\n str seen_at + 40\n sldt seen_at + 44\n"
    "mov %cs, seen_at + 48\n mov %ss, seen_at + 52\n mov %es, seen_at + 60\n"
    "mov %fs, seen_at + 64\n mov %gs, seen_at + 68\n mov %cr0, %eax\n mov %eax, seen_at + 72\n"
    "mov $0xbbbbbbbb, %eax\n cmpl $0, b_return\n jne 1f\n iret\n jmp task_b\n"
    "1: ljmp $0x50, $0\n jmp task_b");
asm(".set seen_at, seen");

/* Task C: notes the error code on its stack, then ends TRY as if the event had come through an
 * interrupt gate: with the registers that the first task had when it was left. */
extern const char task_c[];
volatile uint32_t c_error;
asm("task_c: popl c_error\n mov tss + 0x34, %ebx\n mov tss + 0x3c, %ebp\n"
    "mov tss + 0x40, %esi\n mov tss + 0x44, %edi\n int $0x81\n jmp task_c");

static void task_init(volatile struct tss *t, const void *entry, uint32_t *stack)
{
    for (unsigned n = 0; n < 0x68; n++)
        ((volatile uint8_t *)t)[n] = 0;
    t->eip = (uint32_t)entry;
    t->esp = (uint32_t)stack;
    t->eflags = 2;
    t->cs = SEL_CODE;
    t->ss = t->ds = t->es = t->fs = t->gs = SEL_DATA;
    t->cr3 = read_cr3();
    t->esp0 = (uint32_t)stack;
    t->ss0 = SEL_DATA;
    t->io_map = 0xdfff;
}

static void tasks_init(void)
{
    segments_init();
    task_init(&b, task_b, stack_b + 1024);
    task_init(&c, task_c, stack_c + 1024);
    gdt_set(SEL_B, TSS32(&b));
    gdt_set(SEL_C, TSS32(&c));
    gdt_set(SEL_GATE, gate(SEL_B, 0, ACC_P | ACC_TASK, 0));
    seen.runs = 0;
    b_return = 0;
}

/* Runs the handler of a vector as task C. */
static void handle_by_task(unsigned vector)
{
    idt[vector] = gate(SEL_C, 0, ACC_P | ACC_TASK, 0);
}

static void jump(void)
{
    uint32_t eip, esp;

    tasks_init();
    b_return = 1;
    b.eax = 1;
    b.ebx = 3;
    b.ecx = 5;
    b.edx = 7;
    b.esi = 9;
    b.edi = 11;
    b.ebp = 13;
    b.eflags = 0xcd7;
    b.es = SEL_UDATA;
    b.gs = 0;
    tss.link = 0x1234;
    b.link = 0x5678;
    TRY_OK("mov $0x1111, %%ebx\n mov $0x2222, %%ecx\n mov $0x3333, %%edx\n mov $0x4444, %%esi\n"
           "mov $0x5555, %%edi\n mov %%esp, %1\n movl $1f, %0\n stc\n ljmp %2, $0x12345678\n 1:",
           : "=m"(eip), "=m"(esp)
           : "i"(SEL_B)
           : "ebx", "ecx", "edx", "esi", "edi");
    EXPECT_EQ(seen.runs, 1);
    EXPECT_EQ(seen.eax, 1);
    EXPECT_EQ(seen.ebx, 3);
    EXPECT_EQ(seen.ecx, 5);
    EXPECT_EQ(seen.edx, 7);
    EXPECT_EQ(seen.esi, 9);
    EXPECT_EQ(seen.edi, 11);
    EXPECT_EQ(seen.ebp, 13);
    EXPECT_EQ(seen.esp, (uint32_t)(stack_b + 1024));
    EXPECT_EQ(seen.flags & ~0x8d5u, 0xcd7 & ~0x8d5u); /* INC changed the status flags */
    EXPECT_EQ(seen.tr & 0xffff, SEL_B);
    EXPECT_EQ(seen.es & 0xffff, SEL_UDATA);
    EXPECT_EQ(seen.gs & 0xffff, 0);
    EXPECT(seen.cr0 & CR0_TS);
    asm volatile("clts");
    context("saved state of the first task");
    EXPECT_EQ(tss.ebx, 0x1111);
    EXPECT_EQ(tss.ecx, 0x2222);
    EXPECT_EQ(tss.edx, 0x3333);
    EXPECT_EQ(tss.esi, 0x4444);
    EXPECT_EQ(tss.edi, 0x5555);
    EXPECT_EQ(tss.eip, eip);
    EXPECT_EQ(tss.esp, esp);
    EXPECT_EQ(tss.cs, SEL_CODE);
    EXPECT_EQ(tss.ds, SEL_DATA);
    EXPECT_EQ(tss.eflags & 3, 3);
    EXPECT_EQ(tss.link, 0x1234);
    EXPECT_EQ(b.link, 0x5678);
    context("saved state of the second");
    EXPECT_EQ(b.eax, 0xbbbbbbbb);
    EXPECT_EQ(b.eflags & FL_NT, 0);
    EXPECT_EQ(IS_BUSY(SEL_TSS), 1);
    EXPECT_EQ(IS_BUSY(SEL_B), 0);
    TRY_OK("ljmp %0, $0", : : "i"(SEL_B)); /* goes on behind its own jump */
    EXPECT_EQ(seen.runs, 2);
}

static void call(void)
{
    tasks_init();
    b.link = 0x5678;
    TRY_OK("lcall %0, $0", : : "i"(SEL_B));
    EXPECT_EQ(seen.runs, 1);
    EXPECT_EQ(seen.flags & FL_NT, FL_NT);
    EXPECT_EQ(b.link & 0xffff, SEL_TSS);
    EXPECT_EQ(IS_BUSY(SEL_TSS), 1);
    EXPECT_EQ(IS_BUSY(SEL_B), 0);
    EXPECT_EQ(b.eflags & FL_NT, 0); /* IRET saved it clear */
    EXPECT_EQ(read_flags() & FL_NT, 0);
    TRY_OK("lcall %0, $0", : : "i"(SEL_B));
    EXPECT_EQ(seen.runs, 2);
    context("through a gate");
    TRY_OK("lcall %0, $0", : : "i"(SEL_GATE));
    EXPECT_EQ(seen.runs, 3);
    b_return = 1;
    TRY_OK("ljmp %0, $0", : : "i"(SEL_GATE));
    EXPECT_EQ(seen.runs, 4);
    context("busy while nested");
    gdt_set(SEL_B, TSS32(&b) | (uint64_t)ACC_BUSY << 40);
    TRY_FAULT(GP, SEL_B, "lcall %0, $0", : : "i"(SEL_B));
    TRY_FAULT(GP, SEL_B, "ljmp %0, $0", : : "i"(SEL_B));
    TRY_FAULT(GP, SEL_B, "ljmp %0, $0", : : "i"(SEL_GATE));
    TRY_FAULT(GP, SEL_TSS, "ljmp %0, $0", : : "i"(SEL_TSS));
}

static void interrupt(void)
{
    tasks_init();
    idt[0x33] = gate(SEL_B, 0, ACC_P | ACC_TASK, 0);
    TRY_OK("int $0x33", :);
    EXPECT_EQ(seen.runs, 1);
    EXPECT_EQ(seen.flags & FL_NT, FL_NT);
    EXPECT_EQ(b.link & 0xffff, SEL_TSS);
    TRY_OK("sti\n int $0x33\n pushf\n pop %%eax\n cli\n test $0x200, %%eax\n jnz 1f\n ud2\n 1:",
           :
           :
           : "eax"); /* the new flags are the TSS's, the old come back */
    EXPECT_EQ(seen.flags & FL_IF, 0);
    context("bad gates");
    idt[0x33] = gate(SEL_B, 0, ACC_TASK, 0);
    TRY_FAULT(NP, 0x33 * 8 + 2, "int $0x33", :);
    idt[0x33] = gate(SEL_DATA, 0, ACC_P | ACC_TASK, 0);
    TRY("int $0x33", :);
    EXPECT_TRAP(GP, SEL_DATA);
    idt[0x33] = gate(0, 0, ACC_P | ACC_TASK, 0);
    TRY("int $0x33", :);
    EXPECT_TRAP(GP, 0);
    idt[0x33] = gate(SEL_TSS, 0, ACC_P | ACC_TASK, 0); /* busy */
    TRY("int $0x33", :);
    EXPECT_TRAP(GP, SEL_TSS);
}

/* Exceptions through a task gate push their error code on the new task's stack. */
static void exception(void)
{
    tasks_init();
    handle_by_task(GP);
    TRY("mov %0, %%fs", : : "r"(SEL_BAD));
    EXPECT_TRAP(0x81, 0);
    EXPECT_EQ(c_error, SEL_BAD);
    EXPECT_EQ(c.link & 0xffff, SEL_TSS);
    EXPECT_EQ(tss.eip, try_start);
    EXPECT_EQ(tss.eflags & FL_RF, FL_RF);
    context("double fault with a stack that does not work");
    tasks_init();
    handle_by_task(DF);
    gdt_set(SEL_BAD, descriptor(0, 0xf, ACC_P | ACC_DATA | ACC_W, SEG_D));
    TRY("mov %0, %%ss\n 772: ud2", : : "r"(SEL_BAD));
    EXPECT_TRAP(0x81, 0);
    EXPECT_EQ(c_error, 0);
    EXPECT_EQ(tss.ss, SEL_BAD);
    EXPECT_EQ(c.link & 0xffff, SEL_TSS);
}

USER_CODE(user_jump_tss, "ljmp *(%eax)");
USER_CODE(user_int_33, "int $0x33");

static void checks(void)
{
    static volatile struct {
        uint32_t offset;
        uint16_t selector;
    } __attribute__((packed)) far;

    tasks_init();
    gdt_set(SEL_BAD, descriptor((uint32_t)&b, 0x67, ACC_TSS, 0));
    TRY_FAULT(NP, SEL_BAD, "ljmp %0, $0", : : "i"(SEL_BAD));
    gdt_set(SEL_BAD, descriptor((uint32_t)&b, 0x66, ACC_P | ACC_TSS, 0));
    TRY_FAULT(TS, SEL_BAD, "ljmp %0, $0", : : "i"(SEL_BAD));
    TRY_FAULT(TS, SEL_BAD, "lcall %0, $0", : : "i"(SEL_BAD));
    gdt_set(SEL_BAD, descriptor((uint32_t)&b, 0x2a, ACC_P | ACC_TSS16, 0));
    TRY_FAULT(TS, SEL_BAD, "ljmp %0, $0", : : "i"(SEL_BAD));
    gdt_set(SEL_GATE, gate(SEL_B, 0, ACC_TASK, 0));
    TRY_FAULT(NP, SEL_GATE, "ljmp %0, $0", : : "i"(SEL_GATE));
    gdt_set(SEL_GATE, gate(0, 0, ACC_P | ACC_TASK, 0));
    TRY_FAULT(GP, 0, "ljmp %0, $0", : : "i"(SEL_GATE));
    gdt_set(SEL_GATE, gate(SEL_DATA, 0, ACC_P | ACC_TASK, 0));
    TRY_FAULT(GP, SEL_DATA, "ljmp %0, $0", : : "i"(SEL_GATE));
    gdt_set(SEL_GATE, gate(SEL_B | 4, 0, ACC_P | ACC_TASK, 0));
    TRY_FAULT(GP, SEL_B | 4, "ljmp %0, $0", : : "i"(SEL_GATE));
    TRY_FAULT(GP, SEL_B, "ljmp %0, $0", : : "i"(SEL_B | 3)); /* RPL beyond DPL */
    context("from CPL 3");
    user_regs[UAX] = (uint32_t)&far;
    far.selector = SEL_B;
    run_user(user_jump_tss);
    EXPECT_FAULT(GP, SEL_B);
    gdt_set(SEL_GATE, gate(SEL_B, 0, ACC_P | ACC_TASK, 0));
    far.selector = SEL_GATE;
    run_user(user_jump_tss);
    EXPECT_FAULT(GP, SEL_GATE);
    idt[0x33] = gate(SEL_B, 0, ACC_P | ACC_TASK, 0);
    run_user(user_int_33);
    EXPECT_FAULT(GP, 0x33 * 8 + 2);
    /* The gate's DPL counts, not the TSS's. */
    idt[0x33] = gate(SEL_B, 0, ACC_P | ACC_DPL(3) | ACC_TASK, 0);
    run_user(user_int_33);
    EXPECT_RETURN();
    EXPECT_EQ(seen.runs, 1);
    EXPECT_EQ(seen.cs & 3, 0);
}

static void iret_nested(void)
{
    tasks_init();
    tss.link = 0;
    TRY("pushf\n orl $0x4000, (%%esp)\n popf\n iret", :);
    EXPECT_TRAP(TS, 0);
    tss.link = SEL_B; /* not busy */
    TRY("pushf\n orl $0x4000, (%%esp)\n popf\n iret", :);
    EXPECT_TRAP(TS, SEL_B);
    tss.link = SEL_DATA;
    TRY("pushf\n orl $0x4000, (%%esp)\n popf\n iret", :);
    EXPECT_TRAP(TS, SEL_DATA);
    tss.link = SEL_B | 4;
    TRY("pushf\n orl $0x4000, (%%esp)\n popf\n iret", :);
    EXPECT_TRAP(TS, SEL_B | 4);
    gdt_set(SEL_BAD, descriptor((uint32_t)&b, 0x67, ACC_TSS | ACC_BUSY, 0));
    tss.link = SEL_BAD;
    TRY("pushf\n orl $0x4000, (%%esp)\n popf\n iret", :);
    EXPECT_TRAP(NP, SEL_BAD);
}

/* What is wrong in the new task's TSS faults in the new task; task C handles it. */
static const struct {
    const char *name;
    uint8_t field; /* ES CS SS DS FS GS LDT: 0 to 6 */
    uint16_t selector;
    uint8_t access; /* of SEL_BAD */
    uint8_t vector;
    uint16_t code;
} bad_states[] = {
    {"null CS", 1, 0, 0, TS, 0},
    {"data as CS", 1, SEL_DATA, 0, TS, SEL_DATA},
    {"CS beyond the GDT", 1, 0xfff8, 0, TS, 0xfff8},
    {"CS with DPL 3, RPL 0", 1, SEL_USER32, 0, TS, SEL_USER32},
    {"absent CS", 1, SEL_BAD, ACC_CODE, NP, SEL_BAD},
    {"null SS", 2, 0, 0, TS, 0},
    {"code as SS", 2, SEL_CODE, 0, TS, SEL_CODE},
    {"read-only SS", 2, SEL_BAD, ACC_P | ACC_DATA, TS, SEL_BAD},
    {"SS with DPL 3", 2, SEL_UDATA, 0, TS, SEL_UDATA},
    {"SS with RPL 3", 2, SEL_DATA | 3, 0, TS, SEL_DATA},
    {"absent SS", 2, SEL_BAD, ACC_DATA | ACC_W, SS, SEL_BAD},
    {"DS with RPL 3", 3, SEL_DATA | 3, 0, TS, SEL_DATA},
    {"execute-only DS", 3, SEL_BAD, ACC_P | ACC_CODE, TS, SEL_BAD},
    {"TSS as ES", 0, SEL_TSS, 0, TS, SEL_TSS},
    {"absent FS", 4, SEL_BAD, ACC_DATA, NP, SEL_BAD},
    {"absent GS", 5, SEL_BAD, ACC_DATA, NP, SEL_BAD},
    {"data as LDT", 6, SEL_DATA, 0, TS, SEL_DATA},
    {"absent LDT", 6, SEL_BAD, ACC_LDT, TS, SEL_BAD},
    {"LDT in the LDT", 6, 12, 0, TS, 12},
};

static void bad_state(void)
{
    static const uint8_t offsets[] = {0x48, 0x4c, 0x50, 0x54, 0x58, 0x5c, 0x60};

    for (unsigned n = 0; n < COUNT(bad_states); n++) {
        if (!on_gnomon() && bad_states[n].vector == SS) /* QEMU takes another way */
            continue;
        context("%s", bad_states[n].name);
        tasks_init();
        handle_by_task(bad_states[n].vector);
        gdt_set(SEL_BAD, descriptor(0, 0xfffff, bad_states[n].access, SEG_G | SEG_D));
        *(volatile uint16_t *)((volatile char *)&b + offsets[bad_states[n].field]) =
            bad_states[n].selector;
        c_error = 0xdead;
        TRY("lcall %0, $0", : : "i"(SEL_B));
        EXPECT_TRAP(0x81, 0);
        EXPECT_EQ(c_error, bad_states[n].code);
        EXPECT_EQ(c.link & 0xffff, SEL_B);  /* the new task was interrupted */
        EXPECT_EQ(b.eip, (uint32_t)task_b); /* before its first instruction */
        EXPECT_EQ(seen.runs, 0);
    }
}

static void local_tables(void)
{
    tasks_init();
    ldt[1] = FLAT_DATA(0);
    gdt_set(SEL_LDT, descriptor((uint32_t)ldt, sizeof(ldt) - 1, ACC_P | ACC_LDT, 0));
    b.ldt = SEL_LDT;
    b.fs = 12;
    TRY_OK("lcall %0, $0", : : "i"(SEL_B));
    EXPECT_EQ(seen.runs, 1);
    EXPECT_EQ(seen.fs & 0xffff, 12);
    EXPECT_EQ(seen.ldtr & 0xffff, SEL_LDT);
    {
        unsigned now;

        asm volatile("sldt %0" : "=r"(now));
        EXPECT_EQ(now, 0);
    }
}

/* A 16-bit TSS: words, no CR3, FS and GS. */
static void tss_16(void)
{
    static volatile uint16_t t[0x2c / 2 + 1];

    tasks_init();
    for (unsigned n = 0; n < COUNT(t); n++)
        t[n] = 0;
    gdt_set(SEL_BAD,
            descriptor((uint32_t)task_b & ~0xffffu, 0xffff, ACC_P | ACC_CODE | ACC_R, SEG_D));
    t[7] = (uint16_t)(uint32_t)task_b; /* IP */
    t[8] = 2;                          /* flags */
    t[9] = 0x1111;                     /* AX */
    t[12] = 0x3333;                    /* BX */
    t[13] = (uint16_t)(uint32_t)(stack_b + 1024);
    t[14] = 0x5555;
    t[17] = SEL_DATA; /* ES CS SS DS */
    t[18] = SEL_BAD;
    t[20] = SEL_DATA;
    gdt_set(SEL_C,
            descriptor((uint32_t)(stack_b + 1024) & ~0xffffu, 0xffff, ACC_P | ACC_DATA | ACC_W, 0));
    t[19] = SEL_C;
    gdt_set(SEL_B, descriptor((uint32_t)t, 0x2b, ACC_P | ACC_TSS16, 0));
    TRY_OK("lcall %0, $0", : : "i"(SEL_B));
    EXPECT_EQ(seen.runs, 1);
    EXPECT_EQ(seen.eax & 0xffff, 0x1111);
    EXPECT_EQ(seen.ebx & 0xffff, 0x3333);
    EXPECT_EQ(seen.ebp & 0xffff, 0x5555);
    EXPECT_EQ(seen.flags & FL_NT, FL_NT);
    EXPECT_EQ(seen.fs & 0xffff, 0);
    EXPECT_EQ(t[0], SEL_TSS);
    EXPECT_EQ(t[9], 0xbbbb);
    EXPECT_EQ(gdt[SEL_B / 8] >> 40 & 0xf, ACC_TSS16);
}

/* The T bit of a TSS: #DB before the new task's first instruction. */
static void debug_trap(void)
{
    uint32_t dr6;

    tasks_init();
    b.trap = 1;
    handle_by_task(DB);
    asm volatile("mov %0, %%dr6" : : "r"(0xffff0ff0));
    TRY("lcall %0, $0", : : "i"(SEL_B));
    EXPECT_TRAP(0x81, 0);
    EXPECT_EQ(c.link & 0xffff, SEL_B);
    EXPECT_EQ(b.eip, (uint32_t)task_b);
    asm volatile("mov %%dr6, %0" : "=r"(dr6));
    EXPECT_EQ(dr6 & 0xe00f, 0x8000);
    EXPECT_EQ(seen.runs, 0);
}

/* CR3 belongs to the task when paging is on. */
static void page_tables(void)
{
    static volatile uint32_t tables[2][1024] __attribute__((aligned(4096)));

    tasks_init();
    for (unsigned n = 0; n < 1024; n++)
        tables[0][n] = tables[1][n] = n << 22 | 0x87;
    write_cr4(read_cr4() | CR4_PSE);
    write_cr3((uint32_t)tables[0]);
    write_cr0(read_cr0() | CR0_PG);
    tss.cr3 = (uint32_t)tables[0];
    b.cr3 = (uint32_t)tables[1];
    tables[1][0x10] = 0x87; /* 4000000h shows address 0 there */
    tables[0][0x10] = 0x400087;
    *(volatile uint32_t *)0 = 0x11111111;
    *(volatile uint32_t *)0x400000 = 0x22222222;
    b.eip = (uint32_t)task_b;
    EXPECT_EQ(*(volatile uint32_t *)0x4000000, 0x22222222);
    TRY_OK("lcall %0, $0", : : "i"(SEL_B));
    EXPECT_EQ(seen.runs, 1);
    EXPECT_EQ(read_cr3(), (uint32_t)tables[0]);
    EXPECT_EQ(*(volatile uint32_t *)0x4000000, 0x22222222);
    tss.cr3 = (uint32_t)tables[1]; /* not saved by a switch, only loaded */
    TRY_OK("lcall %0, $0", : : "i"(SEL_B));
    EXPECT_EQ(tss.cr3, (uint32_t)tables[1]);
    EXPECT_EQ(read_cr3(), (uint32_t)tables[1]);
    EXPECT_EQ(*(volatile uint32_t *)0x4000000, 0x11111111);
}

const struct test_case cases[] = {
    {"JMP to a TSS", jump},
    {"CALL and IRET", call},
    {"interrupts through task gates", interrupt},
    {"exceptions through task gates", exception},
    {"checks before the switch", checks},
    {"IRET with NT", iret_nested},
    {"faults in the new task", bad_state},
    {"LDT of a task", local_tables},
    {"16-bit TSS", tss_16},
    {"debug trap", debug_trap},
    {"CR3 of a task", page_tables},
};
PROGRAM("tasks");
