/* Virtual-8086 mode with and without CR4.VME: where INT n goes, the virtual interrupt flag, what
 * faults to the monitor (SDM 3B 20.3). */
#include "segments.h"

/* The task's code and stack, as a segment of the first MiB. */
#define TASK_SEGMENT 0x800
#define TASK         ((volatile uint8_t *)(TASK_SEGMENT * 16))
#define TASK_SP      0x1000
#define HANDLER      0x100 /* where vector 21h of the task points */
#define VECTOR       0x21

static uint32_t saved_vector;

/* An entry of the task's vector table, at linear address 0. */
static volatile uint32_t *vector_entry(unsigned vector)
{
    volatile uint32_t *table;

    asm("xor %0, %0" : "=r"(table)); /* the compiler takes offence at an array at 0 */
    return table + vector;
}

/* A frame that IRETD takes to virtual-8086 mode. */
struct frame86 {
    uint32_t ip, cs, flags, sp, ss, es, ds, fs, gs;
};

static void poke(unsigned at, const void *code, unsigned size)
{
    for (unsigned n = 0; n < size; n++)
        TASK[at + n] = ((const uint8_t *)code)[n];
}

#define CODE(at, ...)                                                                              \
    do {                                                                                           \
        static const uint8_t bytes_[] = {__VA_ARGS__};                                             \
        poke(at, bytes_, sizeof(bytes_));                                                          \
    } while (0)

static uint16_t stack_word(unsigned offset)
{
    return *(volatile uint16_t *)&TASK[offset];
}

static void set_stack_word(unsigned offset, uint16_t value)
{
    *(volatile uint16_t *)&TASK[offset] = value;
}

/* Room for the redirection bitmap below the I/O bitmap; every vector is the monitor's. */
static void prepare(bool vme)
{
    tss.io_map = offsetof(struct tss, io_bitmap) + 32;
    for (unsigned n = 0; n < 32; n++)
        tss.io_bitmap[n] = 0xff;
    idt_set(VECTOR, SEL_CODE, trap_stubs + 16 * VECTOR, ACC_P | ACC_DPL(3) | ACC_INT, 0);
    write_cr4(vme ? read_cr4() | CR4_VME : read_cr4() & ~CR4_VME);
    saved_vector = *vector_entry(VECTOR);
    *vector_entry(VECTOR) = TASK_SEGMENT << 16 | HANDLER;
    CODE(HANDLER, 0xf4);
}

static void done(void)
{
    *vector_entry(VECTOR) = saved_vector;
}

static void redirect(unsigned vector, bool inside)
{
    if (inside)
        tss.io_bitmap[vector / 8] &= (uint8_t) ~(1u << vector % 8);
    else
        tss.io_bitmap[vector / 8] |= (uint8_t)(1u << vector % 8);
}

/* Runs the task from its offset 0 until something takes it out: HLT does by #GP. */
static void run_task_at(unsigned ip, unsigned flags, unsigned sp)
{
    struct frame86 f = {ip, TASK_SEGMENT, flags | FL_VM | 2, sp, TASK_SEGMENT, 0, 0, 0, 0};

    TRY("mov %0, %%esp\n iretl", : : "r"(&f) : "memory", "eax", "ebx", "ecx", "edx", "esi", "edi");
}

static void run_task(unsigned flags)
{
    run_task_at(0, flags, TASK_SP);
}

#define IOPL(n) ((n) << 12)

/* It ran to the HLT at this offset. */
static void check_halted(unsigned ip)
{
    EXPECT_TRAP(GP, 0);
    EXPECT_EQ(trap.ip, ip);
    EXPECT_EQ(trap.cs, TASK_SEGMENT);
    EXPECT(trap.flags & FL_VM);
}

/* ---- INT n ---- */

enum where { TO_MONITOR, TO_IDT, TO_TASK };

static const struct {
    uint8_t vme, iopl, inside, where;
} methods[] = {
    {0, 3, 0, TO_IDT},     {0, 3, 1, TO_IDT},     {0, 2, 0, TO_MONITOR}, {0, 0, 1, TO_MONITOR},
    {1, 2, 0, TO_MONITOR}, {1, 0, 0, TO_MONITOR}, {1, 3, 0, TO_IDT},     {1, 3, 1, TO_TASK},
    {1, 2, 1, TO_TASK},    {1, 0, 1, TO_TASK},
};

static void check_redirected(unsigned iopl, unsigned before)
{
    unsigned image = before, after = before & ~(unsigned)FL_TF;

    check_halted(HANDLER);
    EXPECT_EQ(trap.sp, TASK_SP - 6);
    EXPECT_EQ(stack_word(TASK_SP - 6), 2);
    EXPECT_EQ(stack_word(TASK_SP - 4), TASK_SEGMENT);
    if (iopl < 3) {
        image = (before & ~(unsigned)FL_IF) | FL_IOPL | (before & FL_VIF ? FL_IF : 0);
        after &= ~(unsigned)FL_VIF;
    } else {
        after &= ~(unsigned)FL_IF;
    }
    EXPECT_EQ(stack_word(TASK_SP - 2), (image & 0xffff) | 2);
    EXPECT_EQ(trap.flags, after | FL_VM | FL_RF | 2);
}

static void software_interrupts(void)
{
    static const unsigned flags[] = {0, FL_VIF, FL_CF | FL_NT, FL_VIP, FL_VIF | FL_AC | FL_ID};

    for (unsigned n = 0; n < COUNT(methods); n++) {
        for (unsigned k = 0; k < COUNT(flags); k++) {
            unsigned before = flags[k] | IOPL(methods[n].iopl);

            context("VME %u, IOPL %u, bit %u, flags %x", methods[n].vme, methods[n].iopl,
                    !methods[n].inside, before);
            prepare(methods[n].vme);
            CODE(0, 0xcd, VECTOR, 0xf4);
            redirect(VECTOR, methods[n].inside);
            run_task(before);
            if (methods[n].where == TO_TASK) {
                check_redirected(methods[n].iopl, before);
            } else if (methods[n].where == TO_IDT) {
                EXPECT_EQ(trap.vector, VECTOR);
                EXPECT_EQ(trap.ip, 2);
                EXPECT_EQ(trap.flags, before | FL_VM | 2);
            } else {
                check_halted(0);
            }
            done();
        }
    }
}

/* Each vector has its own bit, bytes upwards from 32 below the I/O bitmap. */
static void bitmap_bits(void)
{
    prepare(true);
    for (unsigned vector = 0x20; vector < 0x100; vector += 0x1b) {
        uint32_t old = *vector_entry(vector);

        context("vector %x", vector);
        for (unsigned n = 0; n < 32; n++)
            tss.io_bitmap[n] = 0xff;
        redirect(vector, true);
        *vector_entry(vector) = TASK_SEGMENT << 16 | HANDLER;
        poke(0, (const uint8_t[]){0xcd, (uint8_t)vector, 0xf4}, 3);
        run_task(0);
        *vector_entry(vector) = old;
        check_halted(HANDLER);
    }
    done();
}

/* INT3, INTO and events from outside do not look at the bitmap. */
static void other_interrupts(void)
{
    prepare(true);
    for (unsigned n = 0; n < 32; n++)
        tss.io_bitmap[n] = 0;
    context("INT3");
    CODE(0, 0xcc, 0xf4);
    run_task(0);
    EXPECT_TRAP(BP, 0);
    EXPECT_EQ(trap.ip, 1);
    context("INTO");
    CODE(0, 0xce, 0xf4);
    run_task(FL_OF);
    EXPECT_TRAP(OF, 0);
    EXPECT_EQ(trap.ip, 1);
    context("#UD");
    CODE(0, 0x0f, 0x0b);
    run_task(0);
    EXPECT_TRAP(UD, 0);
    done();
}

/* Without a bitmap to look at there is nothing but #GP. */
static void bitmap_limit(void)
{
    unsigned map = offsetof(struct tss, io_bitmap) + 32, at = map - 32 + VECTOR / 8;
    uint32_t base = (uint32_t)&tss;

    prepare(true);
    redirect(VECTOR, true);
    CODE(0, 0xcd, VECTOR, 0xf4);
    for (unsigned fits = 0; fits < 2; fits++) {
        context("the byte is %s", fits ? "the last" : "beyond the limit");
        gdt_set(SEL(0), descriptor(base, at - 1 + fits, ACC_P | ACC_TSS, 0));
        asm volatile("ltr %w0" : : "r"(SEL(0)));
        run_task(IOPL(3));
        check_halted(fits ? HANDLER : 0);
    }
    context("a bitmap that would begin before the TSS");
    gdt_set(SEL(0), descriptor(base, 0x67, ACC_P | ACC_TSS, 0));
    asm volatile("ltr %w0" : : "r"(SEL(0)));
    tss.io_map = 8;
    run_task(IOPL(3));
    check_halted(0);
    done();
}

/* ---- CLI, STI ---- */

static void interrupt_flag(void)
{
    static const struct {
        uint8_t code;
        uint32_t iopl, flags;
        bool vme, faults;
        uint32_t after;
    } rows[] = {
        {0xfa, 0, FL_VIF, false, true, 0},
        {0xfb, 2, 0, false, true, 0},
        {0xfa, 0, FL_VIF | FL_IF, true, false, FL_IF},
        {0xfa, 2, FL_VIF | FL_VIP, true, true, 0}, /* faults before: see pending() */
        {0xfa, 0, FL_VIP, true, false, FL_VIP},
        {0xfb, 0, 0, true, false, FL_VIF},
        {0xfb, 2, FL_IF, true, false, FL_VIF | FL_IF},
        {0xfb, 2, FL_VIP, true, true, 0},
        {0xfa, 3, FL_VIF | FL_IF, true, false, FL_VIF},
        {0xfb, 3, FL_VIP, true, false, FL_VIP | FL_IF},
        {0xfb, 3, 0, false, false, FL_IF},
    };

    for (unsigned n = 0; n < COUNT(rows); n++) {
        context("%s, VME %u, IOPL %u, flags %x", rows[n].code == 0xfa ? "CLI" : "STI", rows[n].vme,
                rows[n].iopl, rows[n].flags);
        prepare(rows[n].vme);
        poke(0, (const uint8_t[]){rows[n].code, 0xf4}, 2);
        run_task(IOPL(rows[n].iopl) | rows[n].flags);
        check_halted(rows[n].faults ? 0 : 1);
        if (!rows[n].faults)
            EXPECT_EQ(trap.flags & (FL_IF | FL_VIF | FL_VIP), rows[n].after);
        done();
    }
}

/* ---- PUSHF, POPF, IRET ---- */

static void pushf(void)
{
    prepare(true);
    for (unsigned n = 0; n < 8; n++) {
        unsigned iopl = n & 1 ? 3 : 1;
        unsigned flags = IOPL(iopl) | (n & 2 ? FL_IF : 0) | (n & 4 ? FL_VIF : 0);
        unsigned image = flags | 2;

        context("PUSHF, flags %x", flags);
        if (iopl < 3)
            image = (image & ~(unsigned)FL_IF) | FL_IOPL | (flags & FL_VIF ? FL_IF : 0);
        CODE(0, 0x9c, 0xf4);
        run_task(flags);
        check_halted(1);
        EXPECT_EQ(stack_word(TASK_SP - 2), image & 0xffff);
        context("PUSHFD, flags %x", flags);
        CODE(0, 0x66, 0x9c, 0xf4);
        run_task(flags);
        check_halted(iopl < 3 ? 0 : 2);
    }
    done();
}

/* What POPF and IRET make of an image; both by the same rows. */
static const struct {
    uint32_t flags, image;
    bool faults;
    uint32_t after;
} loads[] = {
    {IOPL(1), FL_IF, false, IOPL(1) | FL_VIF},
    {IOPL(1) | FL_VIF | FL_IF, FL_CF, false, IOPL(1) | FL_IF | FL_CF},
    {IOPL(0) | FL_VIP, FL_IF, true, 0},
    {IOPL(0) | FL_VIP, FL_IOPL, false, FL_VIP},
    {IOPL(0), FL_TF, true, 0},
    {IOPL(0), FL_IOPL | FL_NT | FL_IF, false, FL_NT | FL_VIF},
    {IOPL(3) | FL_VIP, FL_IF, false, IOPL(3) | FL_VIP | FL_IF},
    {IOPL(3) | FL_VIF | FL_IF, 0, false, IOPL(3) | FL_VIF},
};

static void popf(void)
{
    for (unsigned n = 0; n < COUNT(loads); n++) {
        context("POPF %x, flags %x", loads[n].image, loads[n].flags);
        prepare(true);
        CODE(0, 0x9d, 0xf4);
        set_stack_word(TASK_SP - 2, (uint16_t)loads[n].image);
        run_task_at(0, loads[n].flags, TASK_SP - 2);
        check_halted(loads[n].faults ? 0 : 1);
        if (!loads[n].faults)
            EXPECT_EQ(trap.flags, loads[n].after | FL_VM | FL_RF | 2);
        EXPECT_EQ(trap.sp, loads[n].faults ? TASK_SP - 2 : TASK_SP);
        done();
    }
}

static void iret(void)
{
    for (unsigned n = 0; n < COUNT(loads); n++) {
        context("IRET %x, flags %x", loads[n].image, loads[n].flags);
        prepare(true);
        CODE(0, 0xcf);
        set_stack_word(TASK_SP - 6, HANDLER);
        set_stack_word(TASK_SP - 4, TASK_SEGMENT);
        set_stack_word(TASK_SP - 2, (uint16_t)loads[n].image);
        run_task_at(0, loads[n].flags, TASK_SP - 6);
        check_halted(loads[n].faults ? 0 : HANDLER);
        if (!loads[n].faults)
            EXPECT_EQ(trap.flags, loads[n].after | FL_VM | FL_RF | 2);
        EXPECT_EQ(trap.sp, loads[n].faults ? TASK_SP - 6 : TASK_SP);
        done();
    }
}

static void wide_forms(void)
{
    prepare(true);
    context("POPFD below IOPL 3");
    CODE(0, 0x66, 0x9d, 0xf4);
    run_task_at(0, IOPL(2), TASK_SP - 4);
    check_halted(0);
    context("IRETD below IOPL 3");
    CODE(0, 0x66, 0xcf);
    run_task_at(0, IOPL(2), TASK_SP - 12);
    check_halted(0);
    context("IRETD at IOPL 3 leaves VIF, VIP and IOPL alone");
    set_stack_word(TASK_SP - 12, HANDLER);
    set_stack_word(TASK_SP - 10, 0);
    set_stack_word(TASK_SP - 8, TASK_SEGMENT);
    set_stack_word(TASK_SP - 6, 0);
    set_stack_word(TASK_SP - 4, FL_CF);
    set_stack_word(TASK_SP - 2, (FL_VIF | FL_ID) >> 16);
    run_task_at(0, IOPL(3) | FL_VIP | FL_IF, TASK_SP - 12);
    check_halted(HANDLER);
    EXPECT_EQ(trap.flags, IOPL(3) | FL_VIP | FL_ID | FL_CF | FL_VM | FL_RF | 2);
    context("without VME");
    write_cr4(read_cr4() & ~(unsigned long)CR4_VME);
    CODE(0, 0x9c);
    run_task(IOPL(2));
    check_halted(0);
    CODE(0, 0x9d);
    run_task(IOPL(2));
    check_halted(0);
    CODE(0, 0xcf);
    run_task(IOPL(2));
    check_halted(0);
    done();
}

/* VIF and VIP at the beginning of an instruction: #GP before it runs. */
static void pending(void)
{
    prepare(true);
    CODE(0, 0x40, 0xf4); /* INC AX */
    context("VME, IOPL 0");
    run_task(FL_VIF | FL_VIP);
    check_halted(0);
    EXPECT_EQ(trap.flags, FL_VIF | FL_VIP | FL_VM | FL_RF | 2);
    context("VME, IOPL 3");
    run_task(IOPL(3) | FL_VIF | FL_VIP);
    check_halted(1);
    context("no VME");
    write_cr4(read_cr4() & ~(unsigned long)CR4_VME);
    run_task(FL_VIF | FL_VIP);
    check_halted(1);
    done();
}

static void features(void)
{
    if (HAS_1D(1)) {
        TRY_OK("mov %%cr4, %%eax\n or $3, %%eax\n mov %%eax, %%cr4", : : : "eax");
        EXPECT_EQ(read_cr4() & 3, CR4_VME | CR4_PVI);
    } else {
        TRY("mov %%cr4, %%eax\n or $1, %%eax\n mov %%eax, %%cr4", : : : "eax");
        EXPECT_TRAP(GP, 0);
    }
}

const struct test_case cases[] = {
    {"CPUID and CR4", features},
    {"INT n", software_interrupts},
    {"redirection bitmap", bitmap_bits},
    {"other interrupts", other_interrupts},
    {"limit of the bitmap", bitmap_limit},
    {"CLI and STI", interrupt_flag},
    {"PUSHF", pushf},
    {"POPF", popf},
    {"IRET", iret},
    {"wide forms", wide_forms},
    {"VIF and VIP", pending},
};
PROGRAM("vme");
